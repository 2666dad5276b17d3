//! Requests to see the secret of a service account that gets more of features than whoever asks.

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use creta_audit::Details;
use creta_iam::{Action, FeatureSet, Role};
use creta_model::{Instant, Problem, TenantId};
use creta_programme::PersonRef;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::context::{Admitted, Guarded, Input, resource};
use crate::people::authenticators::{About, Agreed};
use crate::people::programs::{SecretShown, Shown, client_id_of, described};
use crate::problem::{Refusal, from_audit};
use crate::routes::agreed::sign_first;
use crate::routes::control::{account_name, home_of};
use crate::routes::json as answer;
use crate::two_people::{Proposal, own_proposal};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretRequest {
    what: Shown,
    tenant: TenantId,
    name: String,
    /// Of a new account.
    #[serde(default)]
    role: Option<ProgramRole>,
    reason: String,
}

#[derive(Deserialize)]
#[serde(transparent)]
struct ProgramRole(#[serde(deserialize_with = "Role::deserialize_of_program")] Role);

/// What people see of a request.
#[derive(Serialize)]
struct SecretRequestView {
    request: String,
    state: &'static str,
    what: Shown,
    client_id: String,
    role: Role,
    reason: String,
    requested_by: String,
    requested: Instant,
    void_at: Instant,
    #[serde(skip_serializing_if = "Option::is_none")]
    approved_by: Option<String>,
    /// In a sentence.
    says: String,
    /// What an approval has to name.
    digest: String,
}

impl SecretRequestView {
    fn of(proposal: &Proposal<SecretShown>, now: Instant) -> Self {
        let matter = &proposal.matter;
        Self {
            request: proposal.id.to_string(),
            state: proposal.state_at(now),
            what: matter.what,
            client_id: client_id_of(matter),
            role: matter.role,
            reason: proposal.reason.clone(),
            requested_by: proposal.proposed_by.account.to_string(),
            requested: proposal.proposed,
            void_at: proposal.void_at(),
            approved_by: proposal.approved_by().map(|by| by.account.to_string()),
            says: described(matter),
            digest: proposal.digest().to_string(),
        }
    }
}

/// Asks to be shown a secret. Another person approves it; then the account is made or rotated as always.
pub(super) async fn request_secret(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let SecretRequest { what, tenant, name, role, reason } = input.json()?;
    let name = account_name(&name)?;
    let role = match (what, role) {
        (Shown::Rotate, _) => Role::Reader, // That of the account counts.
        (Shown::Create, Some(ProgramRole(role))) => role,
        (Shown::Create, None) => {
            return Err(Problem::new("request/malformed", "the body is not valid: missing field `role`").into());
        }
    };
    let details = Details::none().name("service-account", name.as_str()).map_err(|e| from_audit(&e))?;
    let view = guarded
        .act_at(
            move |app| home_of(app, &tenant),
            details,
            move |admitted| {
                let (control, people) = (admitted.control, &admitted.app.people);
                let by = admitted.person()?.reference();
                let scope = control.require_tenant(&admitted.scope()?.tenant)?;
                let shown = people.secret_asked_for(control, what, scope, (name, role))?;
                people.require_own_people((control, &admitted.permit), &shown)?;
                let proposal = people.shown_secrets.propose(control, &admitted.permit, by, shown, &reason)?;
                Ok(SecretRequestView::of(&proposal, admitted.now()))
            },
        )
        .await?;
    Ok((StatusCode::CREATED, answer(&view)?).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProvisionerSecretRequest {
    what: Shown,
    name: String,
    reason: String,
}

/// Asks to be shown the secret of an account by which the directory provisions. Whoever has it can make people, so another
/// person approves it outside class development.
pub(super) async fn request_provisioner(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let ProvisionerSecretRequest { what, name, reason } = input.json()?;
    let name = account_name(&name)?;
    let details = Details::none().name("service-account", name.as_str()).map_err(|e| from_audit(&e))?;
    let ask = move |admitted: &Admitted<'_>| {
        let (control, people) = (admitted.control, &admitted.app.people);
        let by = admitted.person()?.reference();
        let scope = creta_iam::control_plane(control.environment());
        let shown = people.secret_asked_for(control, what, scope, (name, Role::Provisioner))?;
        let proposal = people.shown_secrets.propose(control, &admitted.permit, by, shown, &reason)?;
        Ok(SecretRequestView::of(&proposal, admitted.now()))
    };
    let view = guarded.act(details, ask).await?;
    Ok((StatusCode::CREATED, answer(&view)?).into_response())
}

/// One's own requests, and those that one may decide on.
pub(super) async fn secret_requests(guarded: Guarded, _input: Input) -> Result<Response, Refusal> {
    let views = guarded
        .act(Details::none(), |admitted| {
            let (people, own) = (&admitted.app.people, admitted.person()?);
            let seen = people.shown_secrets.list(|proposal| {
                people.is_own(&own, &proposal.proposed_by.account) || may_approve(admitted, &proposal.matter)
            });
            let views = seen.iter().map(|proposal| SecretRequestView::of(proposal, admitted.now()));
            Ok(views.collect::<Vec<_>>())
        })
        .await?;
    answer(&json!({ "requests": views }))
}

fn may_approve(admitted: &Admitted<'_>, matter: &SecretShown) -> bool {
    let asked = resource(&matter.place(), FeatureSet::none());
    admitted.control.decide(admitted.permit.principal(), Action::AccessApprove, &asked).is_allowed()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Approval {
    /// Of the request as it was shown.
    digest: String,
}

/// Agrees that somebody else is shown a secret.
pub(super) async fn approve_secret(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let Approval { digest } = input.json()?;
    let (id, url) = (input.path("id").to_owned(), input.url.clone());
    let about = id.clone();
    let details = Details::none().keyed("request", id.as_bytes()).map_err(|e| from_audit(&e))?;
    let view = guarded
        .act_at(
            move |app| app.people.shown_secrets.require(&about).map(|proposal| proposal.matter.place()),
            details,
            move |admitted| {
                let (people, by) = (&admitted.app.people, admitted.person()?.reference());
                let (seen, other) = ((id.as_str(), digest.as_str()), other_human(admitted, &by));
                let requests = &people.shown_secrets;
                let request = requests.require_approvable(admitted.control, &admitted.permit, &by, seen, other)?;
                let agreed = Agreed::Secret { id: id.clone(), digest: digest.clone() };
                match sign_first(admitted, &url, agreed, agreed_to(&request, &digest)?)? {
                    Some(verify) => {
                        let view = SecretRequestView::of(&request, admitted.now());
                        let mut view = serde_json::to_value(view).expect("a request has a JSON form");
                        view["verify"] = verify.into();
                        Ok(view)
                    }
                    None => {
                        let approved = approve_now(admitted, &id, &digest)?;
                        let view = SecretRequestView::of(&approved, admitted.now());
                        Ok(serde_json::to_value(view).expect("a request has a JSON form"))
                    }
                }
            },
        )
        .await?;
    answer(&view)
}

/// What somebody's authenticator signs: exactly what is asked for.
fn agreed_to(request: &Proposal<SecretShown>, seen: &str) -> Result<About, Problem> {
    let text = vec![
        format!("Agree that {} may {}.", request.proposed_by.account, described(&request.matter)),
        "They will see its secret, and with it may do what they may not do themselves.".to_owned(),
        format!("Their reason: {}", request.reason),
    ];
    Ok(About { action: "service-account.approve", signed: seen.as_bytes().to_vec(), text, document: None })
}

fn other_human<'a>(
    admitted: &'a Admitted<'_>,
    own: &'a PersonRef,
) -> impl FnOnce(&Proposal<SecretShown>) -> Result<(), Problem> + 'a {
    move |request| match admitted.app.people.is_other_human(&request.proposed_by, own) {
        true => Ok(()),
        false => Err(own_proposal()),
    }
}

/// Approves it, by the rules of this moment.
pub(super) fn approve_now(admitted: &Admitted<'_>, id: &str, digest: &str) -> Result<Proposal<SecretShown>, Refusal> {
    let (people, by) = (&admitted.app.people, admitted.person()?.reference());
    let may = other_human(admitted, &by);
    Ok(people.shown_secrets.approve(admitted.control, &admitted.permit, by.clone(), (id, digest), may)?)
}
