//! Access for hours: requests, decisions on them, the grants they become; and what somebody may do at all.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use creta_audit::Details;
use creta_iam::{Action, FeatureSet, Place, PrincipalId, Role};
use creta_model::{FeaturePath, Instant, Problem, Scope, TenantId};
use creta_programme::PersonRef;
use creta_programme::access::{Asked, End, Grant, Kind, Reason, Request, Ticket, Verdict};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::context::{Admitted, Guarded, Input, resource, whole};
use crate::http::App;
use crate::people::access::Actor;
use crate::people::authenticators::Agreement;
use crate::people::duties::Given;
use crate::problem::{Refusal, from_audit};
use crate::routes::json as answer;

/// The reasons of somebody's last requests, of which a new one must not be a copy.
const REASONS_COMPARED: usize = 5;

/// Where access is asked for: one tenant's scope, or the environment as a whole.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Where {
    Environment,
    Tenant(TenantId),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AccessRequest {
    role: Role,
    /// Without it, where the person belongs.
    #[serde(default)]
    place: Option<Where>,
    reason: String,
    ticket: String,
    #[serde(deserialize_with = "whole")]
    hours: Option<u32>,
    /// Somebody else who is to get the access.
    #[serde(default, rename = "for")]
    beneficiary: Option<PrincipalId>,
}

/// What people see of a request.
#[derive(Serialize)]
struct RequestView {
    request: String,
    state: &'static str,
    requester: PrincipalId,
    #[serde(rename = "for")]
    beneficiary: PrincipalId,
    role: Role,
    place: String,
    reason: String,
    ticket: String,
    hours: u8,
    created: Instant,
    void_at: Instant,
    approved_by: Vec<PrincipalId>,
    /// What an approval has to name.
    digest: String,
}

impl From<&Request> for RequestView {
    fn from(request: &Request) -> Self {
        let terms = &request.terms;
        Self {
            request: terms.request.to_string(),
            state: request.state.as_str(),
            requester: terms.requester.account.clone(),
            beneficiary: terms.beneficiary.account.clone(),
            role: terms.role,
            place: terms.place.to_string(),
            reason: terms.reason.clone(),
            ticket: terms.ticket.as_str().to_owned(),
            hours: terms.hours,
            created: terms.created,
            void_at: terms.void_at(),
            approved_by: request.approvals.iter().map(|approval| approval.by.account.clone()).collect(),
            digest: request.digest.to_string(),
        }
    }
}

/// What people see of a grant.
#[derive(Serialize)]
struct GrantView {
    grant: String,
    holder: PrincipalId,
    role: Role,
    place: String,
    ticket: String,
    activated: Instant,
    expires: Instant,
    holds: bool,
    approved_by: Vec<PrincipalId>,
}

impl GrantView {
    fn of(grant: &Grant, now: Instant) -> Self {
        Self {
            grant: grant.id.to_string(),
            holder: grant.holder().account.clone(),
            role: grant.terms.role,
            place: grant.terms.place.to_string(),
            ticket: grant.terms.ticket.as_str().to_owned(),
            activated: grant.activated,
            expires: grant.expires,
            holds: grant.is_active(now),
            approved_by: grant.approvals.iter().map(|approval| approval.by.account.clone()).collect(),
        }
    }
}

/// Does something as the person who is signed in.
pub(super) fn as_person<T>(
    admitted: &Admitted<'_>,
    act: impl FnOnce(&Actor<'_>) -> Result<T, Problem>,
) -> Result<T, Refusal> {
    let person = admitted.person()?.reference();
    let (control, principal) = (admitted.control, admitted.permit.principal());
    Ok(act(&Actor { control, principal, person: &person, now: admitted.now() })?)
}

/// Asks for access for hours.
pub(super) async fn request(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let asked: AccessRequest = input.json()?;
    let ticket = Ticket::parse(&asked.ticket).map_err(|e| Problem::new(e.code(), e.to_string()))?;
    let details = Details::none()
        .name("role", asked.role.as_str())
        .and_then(|details| details.name("ticket", ticket.as_str()))
        .map_err(|e| from_audit(&e))?;
    let made = guarded
        .act(details, move |admitted| {
            let (access, own) = (&admitted.app.people.access, admitted.person()?);
            let place = match asked.place {
                None => own.home(admitted.control.environment()),
                Some(Where::Environment) => admitted.control.place(),
                Some(Where::Tenant(tenant)) if own.tenant.as_ref().is_none_or(|home| *home == tenant) => {
                    Place::Scope(admitted.control.require_tenant(&tenant)?)
                }
                // Whether there is such a tenant is not for another tenant's people to know.
                Some(Where::Tenant(tenant)) => Place::Scope(Scope::new(tenant, admitted.control.environment().clone())),
            };
            require_reach(&own, &place)?;
            let beneficiary = match asked.beneficiary {
                Some(id) => admitted.app.people.require_person(id.as_str())?.reference(),
                None => own.reference(),
            };
            let before = access.requests(|request| request.terms.requester.is_same_human(&own.reference()));
            let before: Vec<&str> =
                before.iter().rev().take(REASONS_COMPARED).map(|request| request.terms.reason.as_str()).collect();
            let reason = Reason::parse(&asked.reason, &ticket, &before)
                .map_err(|fault| Problem::new("access/reason", fault.to_string()))?;
            let hours = asked.hours.and_then(|hours| u8::try_from(hours).ok()).unwrap_or_default();
            let (role, kind) = (asked.role, Kind::Ordinary);
            let asked = Asked { beneficiary, role, place, reason, ticket, hours, kind };
            as_person(admitted, |actor| access.ask(actor, asked))
        })
        .await?;
    Ok((StatusCode::CREATED, answer(&RequestView::from(&made))?).into_response())
}

/// People of a tenant ask for their own scope only: an approval for another would be worth nothing.
fn require_reach(person: &crate::people::PersonRecord, place: &Place) -> Result<(), Problem> {
    let reaches = match (&person.tenant, place) {
        (None, _) => true,
        (Some(own), Place::Scope(scope)) => scope.tenant == *own,
        (Some(_), Place::Environment(_)) => false,
    };
    reaches.then_some(()).ok_or_else(|| {
        Problem::new("access/out-of-reach", "you belong to a tenant, and can only act in its own scope")
            .with_help("leave `place` out to ask for your own scope")
    })
}

/// Requests that concern the person: own ones, and those they may decide on.
pub(super) async fn requests(guarded: Guarded, _input: Input) -> Result<Response, Refusal> {
    let views = guarded
        .act(Details::none(), |admitted| {
            let own = admitted.person()?.reference();
            let seen = admitted.app.people.access.requests(|request| concerns(admitted, &own, request));
            Ok(seen.iter().map(RequestView::from).collect::<Vec<_>>())
        })
        .await?;
    answer(&json!({ "requests": views }))
}

/// One of them.
pub(super) async fn show(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let id = input.path("id").to_owned();
    let view = guarded
        .act(Details::none(), move |admitted| {
            let own = admitted.person()?.reference();
            let request = admitted.app.people.access.require_request(&id)?;
            match concerns(admitted, &own, &request) {
                true => Ok(RequestView::from(&request)),
                false => Err(crate::people::access::no_request(&id).into()),
            }
        })
        .await?;
    answer(&view)
}

fn concerns(admitted: &Admitted<'_>, own: &PersonRef, request: &Request) -> bool {
    let terms = &request.terms;
    terms.requester.is_same_human(own)
        || terms.beneficiary.is_same_human(own)
        || may(admitted, Action::AccessApprove, &terms.place)
}

fn may(admitted: &Admitted<'_>, action: Action, place: &Place) -> bool {
    let resource = resource(place, FeatureSet::none());
    admitted.control.decide(admitted.permit.principal(), action, &resource).is_allowed()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Decision {
    verdict: Verdict,
    /// Of the request as it was read.
    digest: String,
}

/// Approves or denies somebody else's request. Whoever has an authenticator signs what they decide with it, in a browser:
/// the answer then says where.
pub(super) async fn decide(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let Decision { verdict, digest } = input.json()?;
    let id = input.path("id").to_owned();
    let about = id.clone();
    let details = Details::none().keyed("request", id.as_bytes()).map_err(|e| from_audit(&e))?;
    let decided = guarded
        .act_at(
            move |app| app.people.access.require_request(&about).map(|request| request.terms.place),
            details,
            move |admitted| {
                let people = &admitted.app.people;
                let request = people.access.require_request(&id)?;
                let person = admitted.person()?.id;
                let session = admitted.session.unwrap_or_default().to_owned();
                let origin = people.public_url(&input.url)?;
                let agreement = Agreement { person, session, request: id.clone(), digest: digest.clone(), verdict };
                let about = agreed_to(&request, verdict);
                match people.ask_to_agree(admitted.control, &origin, agreement, about, admitted.now())? {
                    Some(prompt) => {
                        let mut view = serde_json::to_value(RequestView::from(&request)).expect("a JSON form");
                        view["verify"] = format!("{origin}/sign-in/verify?prompt={}", prompt.id).into();
                        Ok(view)
                    }
                    None => {
                        let decided = as_person(admitted, |actor| people.access.decide(actor, &id, &digest, verdict))?;
                        Ok(serde_json::to_value(RequestView::from(&decided)).expect("a JSON form"))
                    }
                }
            },
        )
        .await?;
    answer(&decided)
}

/// What somebody's authenticator signs: the action, the terms, and the words that they are shown.
fn agreed_to(request: &Request, verdict: Verdict) -> (&'static str, Vec<u8>, Vec<String>) {
    let (action, word) = match verdict {
        Verdict::Approve => ("access.approve", "Approve"),
        Verdict::Deny => ("access.deny", "Deny"),
    };
    let terms = &request.terms;
    let text = vec![
        format!(
            "{word} what {} asks: that {} is {} of {} for {} h.",
            terms.requester.account, terms.beneficiary.account, terms.role, terms.place, terms.hours
        ),
        format!("Ticket {}: {}", terms.ticket.as_str(), terms.reason),
    ];
    (action, request.digest.to_string().into_bytes(), text)
}

/// Decides as somebody agreed with their authenticator, if they still may: the word of the request's state.
pub(super) fn decide_as_agreed(app: &App, agreement: &Agreement) -> Result<&'static str, Problem> {
    let now = app.control.platform().clock.now();
    let principal = app.people.principal_in(&agreement.session, now).filter(|p| *p.id() == agreement.person);
    let principal = principal.ok_or_else(|| {
        Problem::new("auth/session-over", "the session that asked for this is over")
            .with_help("sign in again: `creta login`")
    })?;
    let place = app.people.access.require_request(&agreement.request)?.terms.place;
    let decision = app.control.decide(&principal, Action::AccessApprove, &resource(&place, FeatureSet::none()));
    let details = Details::none()
        .keyed("request", agreement.request.as_bytes())
        .and_then(|details| details.name("signed", "authenticator"))
        .map_err(|e| from_audit(&e))?;
    let permit = app.control.admit(decision, details)?;
    let person = app.people.require_person(agreement.person.as_str())?.reference();
    let actor = Actor { control: &app.control, principal: permit.principal(), person: &person, now };
    let Agreement { request, digest, verdict, .. } = agreement;
    Ok(app.people.access.decide(&actor, request, digest, *verdict)?.state.as_str())
}

/// Begins access that was approved: the hours run from now.
pub(super) async fn activate(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let id = input.path("id").to_owned();
    let details = Details::none().keyed("request", id.as_bytes()).map_err(|e| from_audit(&e))?;
    let view = guarded
        .act(details, move |admitted| {
            let people = &admitted.app.people;
            let terms = people.access.require_request(&id)?.terms;
            let given = Given::Grant { holder: &terms.beneficiary, role: terms.role, place: &terms.place };
            let grant = as_person(admitted, |actor| {
                let begin = || people.access.activate(actor, &id);
                people.give(actor.control, actor.principal, &given, actor.now, begin)
            })?;
            Ok(GrantView::of(&grant, admitted.now()))
        })
        .await?;
    answer(&view)
}

/// Takes a request of one's own back.
pub(super) async fn withdraw(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let id = input.path("id").to_owned();
    let details = Details::none().keyed("request", id.as_bytes()).map_err(|e| from_audit(&e))?;
    let withdrawn = guarded
        .act(details, move |admitted| as_person(admitted, |actor| admitted.app.people.access.withdraw(actor, &id)))
        .await?;
    answer(&RequestView::from(&withdrawn))
}

/// Grants that concern the person: own ones, and those they may revoke.
pub(super) async fn grants(guarded: Guarded, _input: Input) -> Result<Response, Refusal> {
    let views = guarded
        .act(Details::none(), |admitted| {
            let (own, now) = (admitted.person()?.reference(), admitted.now());
            let seen = admitted.app.people.access.grants(|grant| {
                grant.holder().is_same_human(&own) || may(admitted, Action::AccessRevoke, &grant.terms.place)
            });
            Ok(seen.iter().map(|grant| GrantView::of(grant, now)).collect::<Vec<_>>())
        })
        .await?;
    answer(&json!({ "grants": views }))
}

/// Gives a grant of one's own back.
pub(super) async fn give_back(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let id = input.path("id").to_owned();
    let details = Details::none().keyed("grant", id.as_bytes()).map_err(|e| from_audit(&e))?;
    let view = guarded
        .act(details, move |admitted| {
            let own = admitted.person()?.reference();
            let access = &admitted.app.people.access;
            if !access.require_grant(&id)?.holder().is_same_human(&own) {
                return Err(crate::people::access::no_grant(&id).into());
            }
            let grant = as_person(admitted, |actor| access.end(actor, &id, End::Returned))?;
            Ok(GrantView::of(&grant, admitted.now()))
        })
        .await?;
    answer(&view)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    action: String,
    /// `Entity.feature`, separated by commas.
    #[serde(default)]
    features: Option<String>,
    /// The tenant whose scope it is about; without it, where the person belongs.
    #[serde(default)]
    tenant: Option<TenantId>,
}

/// Whether the person may do something, which policies decide it, and what they could ask for.
pub(super) async fn explain(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let question: Question = input.query()?;
    let action = Action::parse(&question.action).map_err(|error| Problem::new("request/action", error.to_string()))?;
    let explanation = guarded
        .act(Details::none(), move |admitted| {
            let own = admitted.person()?;
            let environment = admitted.control.environment();
            let place = match question.tenant {
                Some(tenant) => Place::Scope(Scope::new(tenant, environment.clone())),
                None => own.home(environment),
            };
            require_reach(&own, &place)?;
            let names = question.features.as_deref().unwrap_or_default();
            let names: Vec<&str> = names.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
            // Definitions are looked into only where the person belongs: staff learn nothing of a tenant's features here.
            let engine = match (&place, names.is_empty()) {
                (Place::Scope(scope), false) if own.tenant.as_ref() == Some(&scope.tenant) => {
                    Some(admitted.control.engine(scope)?)
                }
                _ => None,
            };
            let mut tags = BTreeMap::new();
            for name in &names {
                let path = FeaturePath::parse(name).map_err(|e| Problem::new("request/query-string", e.to_string()))?;
                let known = engine.as_ref().map(|engine| engine.tags_of(&path)).transpose()?.flatten();
                tags.insert((*name).to_owned(), known.unwrap_or_default());
            }
            let features = FeatureSet::new(tags.iter().map(|(name, paths)| (name.clone(), paths.keys().cloned())));
            let decision = admitted.control.decide(admitted.permit.principal(), action, &resource(&place, features));
            let path = |feature: &str, tag: &str| tags.get(feature)?.get(tag).cloned();
            Ok(admitted.control.explain(&decision, path))
        })
        .await?;
    answer(&explanation)
}

/// Takes a grant away.
pub(super) async fn revoke(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let id = input.path("id").to_owned();
    let about = id.clone();
    let details = Details::none().keyed("grant", id.as_bytes()).map_err(|e| from_audit(&e))?;
    let view = guarded
        .act_at(
            move |app| app.people.access.require_grant(&about).map(|grant| grant.terms.place),
            details,
            move |admitted| {
                let by = admitted.person()?.reference();
                let end = End::Revoked { by };
                let grant = as_person(admitted, |actor| admitted.app.people.access.end(actor, &id, end))?;
                Ok(GrantView::of(&grant, admitted.now()))
            },
        )
        .await?;
    answer(&view)
}

/// What is granted beside what is used.
pub(super) async fn analyze(guarded: Guarded, _input: Input) -> Result<Response, Refusal> {
    let analysed = guarded
        .act(Details::none(), |admitted| Ok(admitted.app.people.analyse(admitted.control, admitted.now())?))
        .await?;
    answer(&analysed)
}
