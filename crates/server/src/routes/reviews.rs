//! Reviews of access: what is under review, decisions on it, and the result.

use std::collections::BTreeMap;

use axum::response::Response;
use creta_audit::Details;
use creta_iam::{Action, Role};
use creta_model::{Instant, Problem};
use creta_programme::access::Reason;
use creta_programme::campaign::{Campaign, CampaignError, Line, Verdict};
use creta_programme::{PersonRef, SubjectId};
use creta_proof::Hash;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::context::{Admitted, Guarded, Input};
use crate::people::PersonRecord;
use crate::people::authenticators::{About, Agreed};
use crate::people::reviews::{Tried, subject_of};
use crate::problem::{Refusal, from_audit};
use crate::routes::access::{as_person, may};
use crate::routes::agreed::{Signed, sign_first};
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
/// What the roles of a line are for: no right, so it is shown as it is now.
fn needs_of(line: &Line, people: &[PersonRecord]) -> BTreeMap<Role, String> {
    let id = line.identity.subject.as_str().strip_prefix("person:");
    let person = people.iter().find(|person| Some(person.id.as_str()) == id);
    person.map(|person| person.needs.clone()).unwrap_or_default()
}

fn line_view(line: &Line, asking: Option<&PersonRef>, people: &[PersonRecord]) -> Value {
    let mut view = json!(line);
    view["needs"] = json!(needs_of(line, people));
    view["digest"] = json!(line.digest());
    view["pending"] = json!(line.pending());
    view["conflict"] = json!(asking.and_then(|person| line.conflict(&person.person)));
    view
}

fn view(admitted: &Admitted<'_>, campaign: &Campaign) -> Value {
    let asking = admitted.person().ok().map(|person| person.reference());
    let people = admitted.app.people.persons();
    let lines: Vec<Value> = campaign.lines.iter().map(|line| line_view(line, asking.as_ref(), &people)).collect();
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
    let reviews = all(guarded).await?;
    answer(&json!({ "reviews": reviews.iter().map(ReviewView::from).collect::<Vec<_>>() }))
}

/// The same for whichever door.
pub(super) async fn all(guarded: Guarded) -> Result<Vec<Campaign>, Refusal> {
    guarded.act(Details::none(), |admitted| Ok(admitted.app.people.reviews.all())).await
}

/// A review as somebody sees it.
pub(super) struct SeenReview {
    pub(super) campaign: Campaign,
    /// For each line, why they may not decide on it.
    pub(super) conflicts: Vec<Option<&'static str>>,
    /// For each line, which need each role of it serves, as it is now.
    pub(super) needs: Vec<BTreeMap<Role, String>>,
    /// They decide in reviews. Whether on a line is asked when they do.
    pub(super) decides: bool,
}

/// One review for a page.
pub(super) async fn seen(guarded: Guarded, id: String) -> Result<SeenReview, Refusal> {
    guarded
        .act(Details::none(), move |admitted| {
            let campaign = admitted.app.people.review_now(admitted.control, &id, admitted.now())?;
            let own = admitted.person()?.reference();
            let conflict = |line: &Line| line.conflict(&own.person);
            let conflicts = campaign.lines.iter().map(conflict).collect();
            let people = admitted.app.people.persons();
            let needs = campaign.lines.iter().map(|line| needs_of(line, &people)).collect();
            let decides = may(admitted, Action::ReviewDecide, &admitted.control.place());
            Ok(SeenReview { campaign, conflicts, needs, decides })
        })
        .await
}

/// One review, with all its lines.
pub(super) async fn show(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let id = input.path("id").to_owned();
    let shown = guarded
        .act(Details::none(), move |admitted| {
            Ok(view(admitted, &admitted.app.people.review_now(admitted.control, &id, admitted.now())?))
        })
        .await?;
    answer(&shown)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Decision {
    pub(super) subject: String,
    /// Of the line as it was shown.
    pub(super) digest: String,
    pub(super) verdict: Verdict,
    pub(super) reason: String,
}

/// Keeps or revokes what one subject holds. Whoever has an authenticator signs it first: the answer then says where.
pub(super) async fn decide(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let decision = input.json()?;
    let view = match decide_on(guarded, input.url.clone(), input.path("id").to_owned(), decision).await? {
        Signed::Done(line) => line_view(&line, None, &[]),
        Signed::Asked { about, verify } => {
            let mut view = line_view(&about, None, &[]);
            view["verify"] = verify.into();
            view
        }
    };
    answer(&view)
}

/// The same for whichever door.
pub(super) async fn decide_on(
    guarded: Guarded,
    url: String,
    id: String,
    decision: Decision,
) -> Result<Signed<Line>, Refusal> {
    let Decision { subject, digest, verdict, reason } = decision;
    let subject = subject_of(&subject)?;
    let seen = hex::decode(&digest).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()).map(Hash::from_bytes);
    let seen = seen.ok_or_else(|| Problem::new("request/digest", "this is not a digest; give that of the line"))?;
    let details = Details::none().name("subject", subject.as_str()).map_err(|e| from_audit(&e))?;
    guarded
        .act(details, move |admitted| {
            let campaign = admitted.app.people.review_now(admitted.control, &id, admitted.now())?;
            let line = campaign.line(&subject).map_err(|error| Problem::new(error.code(), error.to_string()))?.clone();
            // Before anything is signed: nobody signs what is refused afterwards.
            Reason::without_ticket(&reason).map_err(|fault| {
                let error = CampaignError::from(fault);
                Problem::new(error.code(), error.to_string())
            })?;
            if line.digest() != seen {
                let error = CampaignError::Changed { subject };
                return Err(Problem::new(error.code(), error.to_string()).into());
            }
            let about = agreed_to(&id, &line, seen, verdict, &reason);
            let (review, line_of, why) = (id.clone(), subject.clone(), reason.clone());
            let agreed = Agreed::Review { id: review, subject: line_of, seen, verdict, reason: why };
            match sign_first(admitted, &url, agreed, about)? {
                Some(verify) => Ok(Signed::Asked { about: line, verify }),
                None => decide_now(admitted, &id, (&subject, seen), verdict, &reason).map(Signed::Done),
            }
        })
        .await
}

/// What somebody's authenticator signs: the line as it was shown, the verdict and the reason.
fn agreed_to(id: &str, line: &Line, seen: Hash, verdict: Verdict, reason: &str) -> About {
    let (action, word) = match verdict {
        Verdict::Keep => ("review.keep", "keeps"),
        Verdict::Revoke => ("review.revoke", "loses"),
    };
    let given: Vec<&str> = line.identity.given().collect();
    let given = if given.is_empty() { "nothing".to_owned() } else { given.join(", ") };
    let mut text = vec![format!("In this review of access, {} {word} {given}.", line.identity.subject)];
    let actions: Vec<&str> = line.identity.actions().collect();
    if !actions.is_empty() {
        text.push(format!("By the policies in force that is: {}.", actions.join(", ")));
    }
    text.push(reason.to_owned());
    let signed = json!({ "review": id, "line": seen, "verdict": verdict, "reason": reason });
    About { action, signed: signed.to_string().into_bytes(), text, document: None }
}

/// Decides, by the rules of this moment: the line as it is then.
pub(super) fn decide_now(
    admitted: &Admitted<'_>,
    id: &str,
    about: (&SubjectId, Hash),
    verdict: Verdict,
    reason: &str,
) -> Result<Line, Refusal> {
    let people = &admitted.app.people;
    require_no_conflict(admitted, id, about.0)?;
    let decided = as_person(admitted, |actor| people.decide_review(actor, id, about, verdict, reason))?;
    let line = decided.line(about.0).map_err(|error| Problem::new(error.code(), error.to_string()))?;
    Ok(line.clone())
}

/// Refuses to decide on one's own access by what is known now: accounts may have become known as one human's since the review
/// opened.
fn require_no_conflict(admitted: &Admitted<'_>, id: &str, subject: &SubjectId) -> Result<(), Problem> {
    let (people, own) = (&admitted.app.people, admitted.person()?.reference().person);
    let campaign = people.review_now(admitted.control, id, admitted.now())?;
    let line = campaign.line(subject).map_err(|error| Problem::new(error.code(), error.to_string()))?;
    let (held, given) = (&line.identity.people, &line.identity.granted_by);
    match held.iter().chain(given).any(|human| people.human_now(human) == own) {
        true => Err(Problem::new(
            "review/conflict",
            "this line is your own, or you gave it, by this account or another of yours",
        )
        .with_help("another reviewer has to decide on it")),
        false => Ok(()),
    }
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
