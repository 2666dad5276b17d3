//! Access for hours: requests, decisions on them, the grants they become; and what somebody may do at all.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use creta_audit::{Details, Event};
use creta_iam::{Action, FeatureSet, HeldGrant, Person, Place, Principal, PrincipalId, Role, Standing};
use creta_model::{FeaturePath, Instant, Problem, Scope, TenantId};
use creta_programme::PersonRef;
use creta_programme::access::{Asked, DecisionOrder, End, Grant, Kind, Reason, Request, Ticket, Verdict};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::context::{Admitted, Guarded, Input, resource, whole};
use crate::people::PersonRecord;
use crate::people::access::{APPROVE, Actor, order};
use crate::people::authenticators::{About, Agreed};
use crate::people::duties::Given;
use crate::problem::{Refusal, from_audit};
use crate::routes::agreed::{Signed, sign_first};
use crate::routes::json as answer;

/// The reasons of somebody's last requests, of which a new one must not be a copy.
const REASONS_COMPARED: usize = 5;

/// Where access is asked for: one tenant's scope, or the environment as a whole.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Where {
    Environment,
    Tenant(TenantId),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AccessRequest {
    pub(super) role: Role,
    /// Without it, where the person belongs.
    #[serde(default)]
    pub(super) place: Option<Where>,
    pub(super) reason: String,
    pub(super) ticket: String,
    #[serde(deserialize_with = "whole")]
    pub(super) hours: Option<u32>,
    /// Somebody else who is to get the access.
    #[serde(default, rename = "for")]
    pub(super) beneficiary: Option<PrincipalId>,
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
    let made = ask(guarded, input.json()?).await?;
    Ok((StatusCode::CREATED, answer(&RequestView::from(&made))?).into_response())
}

/// The request that comes of asking, by whichever door.
pub(super) async fn ask(guarded: Guarded, asked: AccessRequest) -> Result<Request, Refusal> {
    let ticket = Ticket::parse(&asked.ticket).map_err(|e| Problem::new(e.code(), e.to_string()))?;
    let details = Details::none()
        .name("role", asked.role.as_str())
        .and_then(|details| details.name("ticket", ticket.as_str()))
        .map_err(|e| from_audit(&e))?;
    guarded
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
            let people = &admitted.app.people;
            let before = access.requests(|request| people.is_own(&own, &request.terms.requester.account));
            let before: Vec<&str> =
                before.iter().rev().take(REASONS_COMPARED).map(|request| request.terms.reason.as_str()).collect();
            let reason = Reason::parse(&asked.reason, &ticket, &before)
                .map_err(|fault| Problem::new("access/reason", fault.to_string()))?;
            let beneficiary = match asked.beneficiary {
                Some(id) => beneficiary(admitted, &own, &place, id.as_str())?.reference(),
                None => own.reference(),
            };
            let hours = asked.hours.and_then(|hours| u8::try_from(hours).ok()).unwrap_or_default();
            let (role, kind) = (asked.role, Kind::Ordinary);
            let asked = Asked { beneficiary, role, place, reason, ticket, hours, kind };
            as_person(admitted, |actor| access.ask(actor, asked))
        })
        .await
}

/// Somebody for whom access is asked: of the tenant it is for, or of the staff where staff asks. Who else has an account is not
/// for whoever asks to know.
fn beneficiary(admitted: &Admitted<'_>, own: &PersonRecord, place: &Place, id: &str) -> Result<PersonRecord, Problem> {
    let found = admitted.app.people.require_person(id)?;
    let of_place = found.tenant.is_some() && found.tenant.as_ref() == place.scope().map(|scope| &scope.tenant);
    let both_staff = found.tenant.is_none() && own.tenant.is_none();
    if of_place || both_staff { Ok(found) } else { Err(crate::people::no_person(id)) }
}

/// People of a tenant ask for their own scope only: an approval for another would be worth nothing.
fn require_reach(person: &PersonRecord, place: &Place) -> Result<(), Problem> {
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

/// A request that somebody may see, and what it is to them.
pub(super) struct Seen {
    pub(super) request: Request,
    /// They asked, or it is for them, by this account or another of theirs.
    pub(super) own: bool,
    /// They asked by this account, and so may take it back.
    pub(super) asked: bool,
    /// They may approve at its place. Whether they may approve this one is asked when they do.
    pub(super) approves: bool,
}

fn seen(admitted: &Admitted<'_>, own: &PersonRecord, request: Request) -> Option<Seen> {
    let (people, terms) = (&admitted.app.people, &request.terms);
    let asked = terms.requester.account == own.id;
    let own = [&terms.requester, &terms.beneficiary].iter().any(|whose| people.is_own(own, &whose.account));
    let approves = may(admitted, Action::AccessApprove, &terms.place);
    (own || approves).then_some(Seen { request, own, asked, approves })
}

/// Requests that concern the person: own ones, and those they may decide on.
pub(super) async fn requests(guarded: Guarded, _input: Input) -> Result<Response, Refusal> {
    let seen = all_requests(guarded).await?;
    let views: Vec<RequestView> = seen.iter().map(|seen| RequestView::from(&seen.request)).collect();
    answer(&json!({ "requests": views }))
}

/// The same for whichever door, oldest first.
pub(super) async fn all_requests(guarded: Guarded) -> Result<Vec<Seen>, Refusal> {
    guarded
        .act(Details::none(), |admitted| {
            let own = admitted.person()?;
            let all = admitted.app.people.access.requests(|_| true);
            Ok(all.into_iter().filter_map(|request| seen(admitted, &own, request)).collect())
        })
        .await
}

/// One of them.
pub(super) async fn show(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let seen = one_request(guarded, input.path("id").to_owned()).await?;
    answer(&RequestView::from(&seen.request))
}

/// The same for whichever door.
pub(super) async fn one_request(guarded: Guarded, id: String) -> Result<Seen, Refusal> {
    guarded
        .act(Details::none(), move |admitted| {
            let own = admitted.person()?;
            let request = admitted.app.people.access.require_request(&id)?;
            let place = request.terms.place.clone();
            if let Some(seen) = seen(admitted, &own, request) {
                return Ok(seen);
            }
            require_assurance(admitted, Action::AccessApprove, &place)?;
            Err(crate::people::access::no_request(&id).into())
        })
        .await
}

/// Whether whoever acts may do this too, so that they are shown how.
pub(super) fn may(admitted: &Admitted<'_>, action: Action, place: &Place) -> bool {
    let resource = resource(place, FeatureSet::none());
    admitted.control.decide(admitted.permit.principal(), action, &resource).is_allowed()
}

/// Refuses, in the log and with what to do about it, what somebody may do but not as they are signed in or from where they
/// are. Everybody else learns nothing by it.
pub(super) fn require_assurance(admitted: &Admitted<'_>, action: Action, place: &Place) -> Result<(), Problem> {
    let resource = resource(place, FeatureSet::none());
    let decision = admitted.control.decide(admitted.permit.principal(), action, &resource);
    match admitted.control.lacks_assurance_alone(&decision) {
        true => admitted.control.admit(decision, Details::none()).map(drop),
        false => Ok(()),
    }
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
    let decided = decide_on(guarded, input.url.clone(), input.path("id").to_owned(), (verdict, digest)).await?;
    let (request, verify) = match &decided {
        Signed::Done(request) => (request, None),
        Signed::Asked { about, verify } => (about, Some(verify)),
    };
    let mut view = serde_json::to_value(RequestView::from(request)).expect("a JSON form");
    if let Some(verify) = verify {
        view["verify"] = verify.as_str().into();
    }
    answer(&view)
}

/// The same for whichever door. `url` is the address that the request was sent to.
pub(super) async fn decide_on(
    guarded: Guarded,
    url: String,
    id: String,
    (verdict, digest): (Verdict, String),
) -> Result<Signed<Request>, Refusal> {
    let about = id.clone();
    let details = Details::none().keyed("request", id.as_bytes()).map_err(|e| from_audit(&e))?;
    guarded
        .act_at(
            move |app| app.people.access.require_request(&about).map(|request| request.terms.place),
            details,
            move |admitted| {
                let request = admitted.app.people.access.require_request(&id)?;
                let own = admitted.person()?.reference();
                let order = order(admitted.control, &request, &own, verdict);
                let about = agreed_to(&request, &order);
                let order = Some(Box::new(order));
                let agreed = Agreed::Request { id: id.clone(), digest: digest.clone(), verdict, order };
                match sign_first(admitted, &url, agreed, about)? {
                    Some(verify) => Ok(Signed::Asked { about: request, verify }),
                    None => decide_now(admitted, &id, &digest, verdict, None).map(Signed::Done),
                }
            },
        )
        .await
}

/// What somebody's authenticator signs: the action, and the order, which names who decides on which terms, how, and when.
fn agreed_to(request: &Request, order: &DecisionOrder) -> About {
    let (action, word) = match order.verdict {
        Verdict::Approve => (APPROVE, "Approve"),
        Verdict::Deny => ("access.deny", "Deny"),
    };
    let text = words_of(request, word);
    About { action, signed: order.digest().to_string().into_bytes(), text, document: None }
}

/// The words that whoever decides is shown, signed with an authenticator or not.
pub(super) fn words_of(request: &Request, word: &str) -> Vec<String> {
    let terms = &request.terms;
    vec![
        format!(
            "{word} what {} asks: that {} is {} of {} for {} h.",
            terms.requester.account, terms.beneficiary.account, terms.role, terms.place, terms.hours
        ),
        format!("Ticket {}: {}", terms.ticket.as_str(), terms.reason),
    ]
}

/// Decides, by the rules of this moment.
pub(super) fn decide_now(
    admitted: &Admitted<'_>,
    id: &str,
    digest: &str,
    verdict: Verdict,
    order: Option<&DecisionOrder>,
) -> Result<Request, Refusal> {
    let people = &admitted.app.people;
    let (request, own) = (people.access.require_request(id)?, admitted.person()?.reference());
    let (terms, before) = (&request.terms, request.approvals.iter().map(|approval| &approval.by));
    let concerned = before.chain([&terms.requester, &terms.beneficiary]);
    people.require_other_human((admitted.control, &admitted.permit), &own, concerned)?;
    let rights = rights_of(admitted, &request.terms.place);
    let signed = order.zip(admitted.signature);
    as_person(admitted, |actor| people.access.decide(actor, &rights, (id, digest), verdict, signed))
}

/// The grants without which whoever acts could not decide at this place; none where a standing role lets them. Grants of other
/// roles, or for elsewhere, are no part of it.
fn rights_of(admitted: &Admitted<'_>, place: &Place) -> Vec<HeldGrant> {
    let (principal, granted) = (admitted.permit.principal(), admitted.permit.grants());
    let Some(person) = principal.person().filter(|_| !granted.is_empty()) else { return Vec::new() };
    let standing = Standing { grants: BTreeSet::new(), ..person.standing().clone() };
    let standing = Principal::Person(Person::new(person.id().clone(), principal.home(), standing));
    let asked = resource(place, FeatureSet::none());
    match admitted.control.decide(&standing, admitted.permit.action(), &asked).is_allowed() {
        true => Vec::new(),
        false => granted.to_vec(),
    }
}

/// Begins access that was approved: the hours run from now.
pub(super) async fn activate(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let (grant, now) = begin(guarded, input.path("id").to_owned()).await?;
    answer(&GrantView::of(&grant, now))
}

/// The same for whichever door: the grant, and when it was asked for.
pub(super) async fn begin(guarded: Guarded, id: String) -> Result<(Grant, Instant), Refusal> {
    let details = Details::none().keyed("request", id.as_bytes()).map_err(|e| from_audit(&e))?;
    guarded
        .act(details, move |admitted| {
            let people = &admitted.app.people;
            let request = people.access.require_request(&id)?;
            let terms = &request.terms;
            // Whose account it is now counts, not whose it was when it was asked for; and whoever approved it is still somebody
            // else, and still here.
            let holder = people.known_now(&terms.beneficiary);
            require_approved_by_others(admitted, &request, &holder)?;
            people.require_signed((admitted.control, &admitted.permit), terms, &request.approvals)?;
            let given = Given::Grant { holder: &holder, role: terms.role, place: &terms.place };
            let grant = as_person(admitted, |actor| {
                let begin = || people.access.activate(actor, &id);
                people.give(actor.control, actor.principal, &given, actor.now, begin)
            })?;
            Ok((grant, admitted.now()))
        })
        .await
}

/// Whoever approved a request is another human than its holder, by what is known now, and still here.
fn require_approved_by_others(admitted: &Admitted<'_>, request: &Request, holder: &PersonRef) -> Result<(), Problem> {
    let people = &admitted.app.people;
    let problem = request.approvals.iter().find_map(|approval| {
        let by = &approval.by;
        if !people.is_other_human(by, holder) {
            let message =
                format!("`{}`, who approved this, is known to be the same human as `{}`", by.account, holder.account);
            return Some(Problem::new("access/same-person", message));
        }
        let left = || Problem::new("access/approver-left", format!("`{}`, who approved this, has left", by.account));
        (!people.is_here(&by.account)).then(left)
    });
    let Some(problem) = problem else { return Ok(()) };
    admitted.control.record(Event::of(&admitted.permit, "access.refused").for_commitment("CH-43"));
    Err(problem.with_help("ask again, so that another human who is here approves it"))
}

/// Takes a request of one's own back.
pub(super) async fn withdraw(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    answer(&RequestView::from(&take_back(guarded, input.path("id").to_owned()).await?))
}

/// The same for whichever door.
pub(super) async fn take_back(guarded: Guarded, id: String) -> Result<Request, Refusal> {
    let details = Details::none().keyed("request", id.as_bytes()).map_err(|e| from_audit(&e))?;
    guarded
        .act(details, move |admitted| as_person(admitted, |actor| admitted.app.people.access.withdraw(actor, &id)))
        .await
}

/// A grant that somebody may see, and what it is to them.
pub(super) struct SeenGrant {
    pub(super) grant: Grant,
    pub(super) own: bool,
    pub(super) holds: bool,
}

/// Grants that concern the person: own ones, and those they may revoke.
pub(super) async fn grants(guarded: Guarded, _input: Input) -> Result<Response, Refusal> {
    let (grants, now) = all_grants(guarded).await?;
    let views: Vec<GrantView> = grants.iter().map(|seen| GrantView::of(&seen.grant, now)).collect();
    answer(&json!({ "grants": views }))
}

/// The same for whichever door, oldest first, and when that was.
pub(super) async fn all_grants(guarded: Guarded) -> Result<(Vec<SeenGrant>, Instant), Refusal> {
    guarded
        .act(Details::none(), |admitted| {
            let (people, me, now) = (&admitted.app.people, admitted.person()?, admitted.now());
            let own = |grant: &Grant| people.is_own(&me, &grant.holder().account);
            let seen =
                people.access.grants(|grant| own(grant) || may(admitted, Action::AccessRevoke, &grant.terms.place));
            let seen = seen.into_iter().map(|grant| SeenGrant { own: own(&grant), holds: grant.is_active(now), grant });
            Ok((seen.collect(), now))
        })
        .await
}

/// Gives a grant of one's own back.
pub(super) async fn give_back(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let (grant, now) = hand_back(guarded, input.path("id").to_owned()).await?;
    answer(&GrantView::of(&grant, now))
}

/// The same for whichever door.
pub(super) async fn hand_back(guarded: Guarded, id: String) -> Result<(Grant, Instant), Refusal> {
    let details = Details::none().keyed("grant", id.as_bytes()).map_err(|e| from_audit(&e))?;
    guarded
        .act(details, move |admitted| {
            let own = admitted.person()?;
            let access = &admitted.app.people.access;
            if !admitted.app.people.is_own(&own, &access.require_grant(&id)?.holder().account) {
                return Err(crate::people::access::no_grant(&id).into());
            }
            let grant = as_person(admitted, |actor| access.end(actor, &id, End::Returned))?;
            Ok((grant, admitted.now()))
        })
        .await
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
            // Definitions are looked into only where the person belongs, and by who may know them: staff learn nothing of a
            // tenant's features here, nor do people without a role.
            let knows = may(admitted, Action::CatalogueRead, &place) || may(admitted, action, &place);
            let engine = match (&place, names.is_empty()) {
                (Place::Scope(scope), false) if knows && own.tenant.as_ref() == Some(&scope.tenant) => {
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
            let explanation = admitted.control.explain(&decision, path);
            let mut view = serde_json::to_value(explanation).expect("an explanation has a JSON form");
            // Where nothing of definitions was looked into, nothing is said of them.
            let lifted = engine.as_ref().map(|engine| engine.declassified()).unwrap_or_default();
            let lifted = lifted.iter().filter(|(feature, _)| names.contains(&feature.as_str()));
            view["declassified"] = lifted.map(|(feature, tag)| json!({"feature": feature, "tag": tag})).collect();
            let rules = engine.as_ref().map(|engine| engine.binding_rules(admitted.permit.principal()));
            view["rows"] = json!(rules.unwrap_or_default());
            Ok(view)
        })
        .await?;
    answer(&explanation)
}

/// Takes a grant away.
pub(super) async fn revoke(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let (grant, now) = take_away(guarded, input.path("id").to_owned()).await?;
    answer(&GrantView::of(&grant, now))
}

/// The same for whichever door.
pub(super) async fn take_away(guarded: Guarded, id: String) -> Result<(Grant, Instant), Refusal> {
    let about = id.clone();
    let details = Details::none().keyed("grant", id.as_bytes()).map_err(|e| from_audit(&e))?;
    guarded
        .act_at(
            move |app| app.people.access.require_grant(&about).map(|grant| grant.terms.place),
            details,
            move |admitted| {
                let by = admitted.person()?.reference();
                let end = End::Revoked { by };
                let grant = as_person(admitted, |actor| admitted.app.people.access.end(actor, &id, end))?;
                Ok((grant, admitted.now()))
            },
        )
        .await
}

/// What is granted beside what is used.
pub(super) async fn analyze(guarded: Guarded, _input: Input) -> Result<Response, Refusal> {
    let analysed = guarded
        .act(Details::none(), |admitted| Ok(admitted.app.people.analyse(admitted.control, admitted.now())?))
        .await?;
    answer(&analysed)
}
