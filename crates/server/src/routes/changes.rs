//! Requests for changes of somebody's account that take two people.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use creta_audit::Details;
use creta_iam::{Action, FeatureSet, PrincipalId, Role};
use creta_model::{Instant, Problem, TenantId};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::context::{Admitted, Guarded, Input, resource};
use crate::people::authenticators::{About, Agreed};
use crate::people::changes::{PersonChange, word_of};
use crate::problem::{Refusal, from_audit};
use crate::routes::agreed::sign_first;
use crate::routes::control::home_of;
use crate::routes::json as answer;
use crate::two_people::Proposal;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum What {
    Invite,
    ResetAuthenticators,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeRequest {
    what: What,
    person: String,
    /// Of an invitation.
    #[serde(default)]
    tenant: Option<TenantId>,
    #[serde(default)]
    roles: BTreeSet<Role>,
    #[serde(default)]
    need: Option<String>,
    reason: String,
}

/// What people see of a request.
#[derive(Serialize)]
struct ChangeView {
    request: String,
    state: &'static str,
    person: PrincipalId,
    reason: String,
    requested_by: String,
    requested: Instant,
    void_at: Instant,
    #[serde(skip_serializing_if = "Option::is_none")]
    agreed_by: Option<String>,
    /// In a sentence.
    says: String,
    /// What an agreement has to name.
    digest: String,
}

impl ChangeView {
    fn of(proposal: &Proposal<PersonChange>, now: Instant) -> Self {
        Self {
            request: proposal.id.to_string(),
            state: proposal.state_at(now),
            person: proposal.matter.person().clone(),
            reason: proposal.reason.clone(),
            requested_by: proposal.proposed_by.account.to_string(),
            requested: proposal.proposed,
            void_at: proposal.void_at(),
            agreed_by: proposal.approved_by().map(|by| by.account.to_string()),
            says: proposal.matter.says(),
            digest: proposal.digest().to_string(),
        }
    }
}

/// The account that a typed name would be.
pub(super) fn person_named(name: &str) -> Result<PrincipalId, Problem> {
    PrincipalId::parse(&name.to_ascii_lowercase()).map_err(|error| {
        Problem::new("request/person", error.to_string()).with_help("name an address, such as `ana@acme.example`")
    })
}

/// Asks for a change. Another person agrees to it; then it is made as always.
pub(super) async fn ask(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let ChangeRequest { what, person, tenant, roles, need, reason } = input.json()?;
    let person = person_named(&person)?;
    let details = Details::none().keyed("person", person.as_str().as_bytes()).map_err(|e| from_audit(&e))?;
    let place = tenant.clone();
    let change = match (what, tenant) {
        (What::Invite, Some(tenant)) => PersonChange::Invite { person, tenant, roles, need },
        (What::ResetAuthenticators, None) => PersonChange::ResetAuthenticators { person },
        _ => {
            let problem = Problem::new("request/malformed", "the body is not valid: `tenant` is of an invitation");
            return Err(problem.into());
        }
    };
    let view = guarded
        .act_at(
            move |app| match place {
                Some(tenant) => home_of(app, &tenant),
                None => Ok(app.control.place()),
            },
            details,
            move |admitted| {
                let people = &admitted.app.people;
                if let PersonChange::Invite { tenant, .. } = &change {
                    admitted.control.require_tenant(tenant)?;
                }
                let by = admitted.person()?.reference();
                let asked = people.person_changes.propose(admitted.control, &admitted.permit, by, change, &reason)?;
                Ok(ChangeView::of(&asked, admitted.now()))
            },
        )
        .await?;
    Ok((StatusCode::CREATED, answer(&view)?).into_response())
}

/// One's own requests, and those that one may agree to.
pub(super) async fn list(guarded: Guarded, _input: Input) -> Result<Response, Refusal> {
    let views = guarded
        .act(Details::none(), |admitted| {
            let (people, own) = (&admitted.app.people, admitted.person()?);
            let may = |matter: &PersonChange| {
                let asked = resource(&matter.place(admitted.control), FeatureSet::none());
                admitted.control.decide(admitted.permit.principal(), Action::AccessApprove, &asked).is_allowed()
            };
            let seen = |proposal: &Proposal<PersonChange>| {
                people.is_own(&own, &proposal.proposed_by.account) || may(&proposal.matter)
            };
            let listed = people.person_changes.list(seen);
            Ok(listed.iter().map(|proposal| ChangeView::of(proposal, admitted.now())).collect::<Vec<_>>())
        })
        .await?;
    answer(&json!({ "requests": views }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Agreement {
    /// Of the request as it was shown.
    digest: String,
}

/// Agrees that somebody else makes a change.
pub(super) async fn agree(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let Agreement { digest } = input.json()?;
    let (id, url) = (input.path("id").to_owned(), input.url.clone());
    let about = id.clone();
    let details = Details::none().keyed("request", id.as_bytes()).map_err(|e| from_audit(&e))?;
    let view = guarded
        .act_at(
            move |app| app.people.person_changes.require(&about).map(|asked| asked.matter.place(&app.control)),
            details,
            move |admitted| {
                let (people, by) = (&admitted.app.people, admitted.person()?.reference());
                let may = |asked: &Proposal<PersonChange>| people.require_may_agree(asked, &by);
                let seen = (id.as_str(), digest.as_str());
                let asked =
                    people.person_changes.require_approvable(admitted.control, &admitted.permit, &by, seen, may)?;
                let agreed = Agreed::Person { id: id.clone(), digest: digest.clone() };
                let view = |asked: &Proposal<PersonChange>| {
                    serde_json::to_value(ChangeView::of(asked, admitted.now())).expect("a request has a JSON form")
                };
                match sign_first(admitted, &url, agreed, agreed_to(&asked, &digest))? {
                    Some(verify) => {
                        let mut view = view(&asked);
                        view["verify"] = verify.into();
                        Ok(view)
                    }
                    None => Ok(view(&agree_now(admitted, &id, &digest)?)),
                }
            },
        )
        .await?;
    answer(&view)
}

/// What somebody's authenticator signs: exactly what is asked for.
fn agreed_to(asked: &Proposal<PersonChange>, seen: &str) -> About {
    let text = vec![
        format!("Agree that {} may {}.", asked.proposed_by.account, asked.matter.says()),
        format!("Their reason: {}", asked.reason),
        "Call the person it is about before you agree.".to_owned(),
    ];
    About { action: "person.agree", signed: seen.as_bytes().to_vec(), text, document: None }
}

/// Agrees, by the rules of this moment.
pub(super) fn agree_now(admitted: &Admitted<'_>, id: &str, digest: &str) -> Result<Proposal<PersonChange>, Refusal> {
    let (people, by) = (&admitted.app.people, admitted.person()?.reference());
    let may = |asked: &Proposal<PersonChange>| people.require_may_agree(asked, &by);
    Ok(people.person_changes.approve(admitted.control, &admitted.permit, by.clone(), (id, digest), may)?)
}

/// What whoever agreed is told: of an invitation the word that goes to whom it is about, by another way than the link.
pub(super) fn told(admitted: &Admitted<'_>, asked: &Proposal<PersonChange>) -> String {
    match &asked.matter {
        PersonChange::Invite { person, .. } => format!(
            "They may, within a day. Tell {person} this word yourself, and nobody else: {}. It is shown once, and the link is \
             good for nothing without it.",
            word_of(admitted.control.own_key(), asked)
        ),
        PersonChange::ResetAuthenticators { .. } => "They may, within a day.".to_owned(),
    }
}
