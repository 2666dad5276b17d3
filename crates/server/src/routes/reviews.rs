//! Reviews of access: what is under review, decisions on it, and the result.

use axum::response::Response;
use creta_audit::Details;
use creta_iam::Role;
use creta_model::{Instant, Problem};
use creta_programme::campaign::{Campaign, Line, Verdict};
use creta_programme::{PersonRef, SubjectId};
use creta_proof::Hash;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::context::{Admitted, Guarded, Input};
use crate::people::reviews::{Tried, subject_of};
use crate::problem::{Refusal, from_audit};
use crate::routes::access::as_person;
use crate::routes::json as answer;

/// A review in a list.
#[derive(Serialize)]
struct ReviewView {
    review: String,
    /// Of which quarter: `access-review@2026-10-01T00:00:00Z`.
    occurrence: String,
    opened: Instant,
    /// SHA-256 of everybody with all rights, as they were when it opened.
    population: Hash,
    identities: usize,
    decided: usize,
    /// How many still lack a decision or a refused trial.
    undone: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    closed: Option<Instant>,
}

impl From<&Campaign> for ReviewView {
    fn from(campaign: &Campaign) -> Self {
        Self {
            review: campaign.id.to_string(),
            occurrence: campaign.occurrence.clone(),
            opened: campaign.opened,
            population: campaign.population,
            identities: campaign.lines.len(),
            decided: campaign.lines.iter().filter(|line| line.decision.is_some()).count(),
            undone: campaign.lines.iter().filter(|line| line.pending().is_some()).count(),
            closed: campaign.closed,
        }
    }
}

/// One line, with what a decision on it has to name.
fn line_view(line: &Line, asking: Option<&PersonRef>) -> Value {
    let mut view = json!(line);
    view["digest"] = json!(line.digest());
    view["pending"] = json!(line.pending());
    view["conflict"] = json!(asking.and_then(|person| line.conflict(&person.person)));
    view
}

fn view(admitted: &Admitted<'_>, campaign: &Campaign) -> Value {
    let asking = admitted.person().ok().map(|person| person.reference());
    let lines: Vec<Value> = campaign.lines.iter().map(|line| line_view(line, asking.as_ref())).collect();
    let reviewers = reviewers(admitted);
    let nobody: Vec<SubjectId> = campaign.escalations(&reviewers).into_iter().map(|line| line.subject).collect();
    let mut view = json!(ReviewView::from(campaign));
    view["lines"] = json!(lines);
    // On these nobody who reviews today may decide, so somebody else has to be made a reviewer.
    view["nobody_may_decide"] = json!(nobody);
    view
}

fn reviewers(admitted: &Admitted<'_>) -> Vec<PersonRef> {
    let people = admitted.app.people.persons();
    let reviews =
        people.iter().filter(|p| p.is_active() && p.tenant.is_none() && p.roles.contains(&Role::SecurityLead));
    reviews.map(|person| person.reference()).collect()
}

/// All reviews, oldest first.
pub(super) async fn list(guarded: Guarded, _input: Input) -> Result<Response, Refusal> {
    let reviews = guarded
        .act(Details::none(), |admitted| {
            Ok(admitted.app.people.reviews.all().iter().map(ReviewView::from).collect::<Vec<_>>())
        })
        .await?;
    answer(&json!({ "reviews": reviews }))
}

/// One review, with all its lines.
pub(super) async fn show(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let id = input.path("id").to_owned();
    let shown = guarded
        .act(Details::none(), move |admitted| Ok(view(admitted, &admitted.app.people.reviews.require(&id)?)))
        .await?;
    answer(&shown)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Decision {
    subject: String,
    /// Of the line as it was shown.
    digest: String,
    verdict: Verdict,
    reason: String,
}

/// Keeps or revokes what one subject holds.
pub(super) async fn decide(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let Decision { subject, digest, verdict, reason } = input.json()?;
    let (id, subject) = (input.path("id").to_owned(), subject_of(&subject)?);
    let seen = hex::decode(&digest).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()).map(Hash::from_bytes);
    let seen = seen.ok_or_else(|| Problem::new("request/digest", "this is not a digest; give that of the line"))?;
    let details = Details::none().name("subject", subject.as_str()).map_err(|e| from_audit(&e))?;
    let line = guarded
        .act(details, move |admitted| {
            let people = &admitted.app.people;
            let about = (&subject, seen);
            let decided = as_person(admitted, |actor| people.decide_review(actor, &id, about, verdict, &reason))?;
            let line = decided.line(&subject).map_err(|error| Problem::new(error.code(), error.to_string()))?;
            Ok(line_view(line, None))
        })
        .await?;
    answer(&line)
}

/// Closes a review in which nothing is undone; else says what is.
pub(super) async fn close(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let id = input.path("id").to_owned();
    let closed = guarded
        .act(Details::none(), move |admitted| {
            let tried = as_person(admitted, |actor| admitted.app.people.close_review_by(actor, &id))?;
            Ok(match tried {
                Tried::Closed(entry) => json!({"closed": true, "undone": [], "entry": entry}),
                Tried::NotYet(undone) => {
                    let undone: Vec<Value> =
                        undone.iter().map(|(subject, lacks)| json!({"subject": subject, "lacks": lacks})).collect();
                    json!({"closed": false, "undone": undone})
                }
            })
        })
        .await?;
    answer(&closed)
}

/// The result of a closed review, and what shows that its digest is in the log.
pub(super) async fn result(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let id = input.path("id").to_owned();
    let result = guarded
        .act(Details::none(), move |admitted| {
            let filed = admitted.app.people.reviews.require_result(&id)?;
            let log = admitted.control.log();
            log.checkpoint().map_err(|e| from_audit(&e))?; // So that one covers the entry.
            let proof = log.inclusion_proof(filed.entry).map_err(|e| from_audit(&e))?;
            let result = String::from_utf8(filed.result.to_bytes()).map_err(|_| crate::problem::internal())?;
            Ok(json!({"result": result, "entry": filed.entry, "proof": proof.to_string()}))
        })
        .await?;
    answer(&result)
}
