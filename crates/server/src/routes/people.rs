//! People and their sessions.

use std::collections::{BTreeMap, BTreeSet};

use axum::response::Response;
use creta_audit::{Details, Event};
use creta_iam::{Action, FeatureSet, Place, PrincipalId, Role};
use creta_identity::oidc::Identity;
use creta_model::{Instant, Problem, Scope, TenantId};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::context::{Admitted, Guarded, Input, resource};
use crate::http::App;
use crate::people::access::Actor;
use crate::people::authenticators::{About, Agreed};
use crate::people::changes::PersonChange;
use crate::people::{Assigned, Client, PersonRecord, Session, Unvouched, no_person};
use crate::problem::{Refusal, from_audit};
use crate::routes::agreed::sign_first;
use crate::routes::json as answer;

/// What administrators see of a person.
#[derive(Serialize)]
struct PersonView {
    person: PrincipalId,
    human: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    /// Who they are to the provider, whatever they are called here.
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<Identity>,
    /// The human who made the account and for whom it stands until somebody else vouches for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    stands_for: Option<String>,
    /// None for staff.
    tenant: Option<TenantId>,
    roles: BTreeSet<Role>,
    /// Which need each role serves.
    needs: BTreeMap<Role, String>,
    created: Instant,
    #[serde(skip_serializing_if = "Option::is_none")]
    left: Option<Instant>,
}

impl From<&PersonRecord> for PersonView {
    fn from(person: &PersonRecord) -> Self {
        Self {
            person: person.id.clone(),
            human: person.human.as_str().to_owned(),
            email: person.email.clone(),
            identity: person.identity.clone(),
            stands_for: person.stands_for.as_ref().map(|human| human.as_str().to_owned()),
            tenant: person.tenant.clone(),
            roles: person.roles.clone(),
            needs: person.needs.clone(),
            created: person.created,
            left: person.left,
        }
    }
}

/// What a person sees of a session.
#[derive(Serialize)]
pub(super) struct SessionView {
    pub(super) session: String,
    /// What it is held in.
    pub(super) client: Client,
    pub(super) methods: Vec<String>,
    pub(super) user_verified: bool,
    pub(super) opened: Instant,
    pub(super) expires: Instant,
    pub(super) open: bool,
    /// Whether it is the one that asks.
    pub(super) this: bool,
    /// Until when a browser counts as the enrolled computer that vouched for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) vouched_until: Option<Instant>,
}

impl SessionView {
    fn of(session: &Session, asking: Option<&str>, now: Instant) -> Self {
        Self {
            session: session.id.clone(),
            client: session.client,
            methods: session.methods.clone(),
            user_verified: session.user_verified,
            opened: session.opened,
            expires: session.expires,
            open: session.is_open(now),
            this: asking == Some(session.id.as_str()),
            vouched_until: session.vouched.as_ref().map(|vouched| vouched.until).filter(|until| now < *until),
        }
    }
}

/// Who asks, and what is true of them now.
pub(super) async fn me(guarded: Guarded, _input: Input) -> Result<Response, Refusal> {
    let view = guarded
        .act(Details::none(), |admitted| {
            let person = admitted.person()?;
            let standing = admitted.permit.principal().person().map(creta_iam::Person::standing);
            let standing = standing.ok_or_else(crate::problem::internal)?;
            let grants: Vec<_> = standing
                .grants
                .iter()
                .map(|grant| json!({"grant": grant.id, "role": grant.role, "place": grant.place.to_string()}))
                .collect();
            Ok(json!({
                "person": PersonView::from(&person),
                "home": person.home(admitted.control.environment()).to_string(),
                "environment": admitted.control.environment(),
                "class": standing.class,
                "grants": grants,
                "user_verified": standing.assurance.user_verified,
                "device": standing.assurance.device.as_str(),
                "session": admitted.session,
            }))
        })
        .await?;
    answer(&view)
}

/// Everybody who ever signed in or was provisioned.
pub(super) async fn list(guarded: Guarded, _input: Input) -> Result<Response, Refusal> {
    let persons = guarded
        .act(Details::none(), |admitted| {
            Ok(admitted.app.people.persons().iter().map(PersonView::from).collect::<Vec<_>>())
        })
        .await?;
    answer(&json!({ "persons": persons }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Assignment {
    /// Instead of those they have.
    roles: BTreeSet<Role>,
    /// The tenant whose user this is; without it, staff.
    #[serde(default)]
    tenant: Option<TenantId>,
    /// Another account of the same human.
    #[serde(default)]
    same_human_as: Option<PrincipalId>,
    /// Which need the roles serve that are new to them.
    #[serde(default)]
    need: Option<String>,
}

/// Gives somebody a home and roles.
pub(super) async fn assign(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let Assignment { roles, tenant, same_human_as, need } = input.json()?;
    let id = input.path("id").to_owned();
    let names: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
    let mut details = Details::none().keyed("person", id.as_bytes()).map_err(|e| from_audit(&e))?;
    if !names.is_empty() {
        details = details.name("roles", names.join("+")).map_err(|e| from_audit(&e))?;
    }
    let person = guarded
        .act(details, move |admitted| {
            let people = &admitted.app.people;
            require_somebody_else(admitted, &people.require_person(&id)?)?;
            if let Some(tenant) = &tenant {
                admitted.control.require_tenant(tenant)?;
            }
            let known = people.require_person(&id)?;
            people.require_no_staff((admitted.control, &admitted.permit), &known, tenant.as_ref())?;
            let human = same_human_as.map(|other| people.require_person(other.as_str())).transpose()?;
            let human = human.map(|other| PrincipalId::parse(other.human.as_str())).transpose();
            let human = human.map_err(|_| crate::problem::internal())?;
            let by = (admitted.control, admitted.permit.principal());
            let person = people.assign(by, &id, Assigned { tenant, roles, human, need })?;
            let (own, now) = (admitted.human()?, admitted.now());
            people.end_own_approvals(&Actor { control: by.0, principal: by.1, person: &own, now })?;
            Ok(PersonView::from(&person))
        })
        .await?;
    answer(&person)
}

/// Nobody gives roles to themselves, by whichever account.
pub(super) fn require_somebody_else(admitted: &Admitted<'_>, person: &PersonRecord) -> Result<(), Problem> {
    let Some(own) = admitted.permit.principal().person() else { return Ok(()) };
    let own = admitted.app.people.require_person(own.id().as_str())?;
    // Not whom the account stands for: whoever invited somebody looks after their account.
    if own.human != person.human {
        return Ok(());
    }
    let event = Event::new("person.assign-refused", admitted.control.place()).by(admitted.permit.principal());
    admitted.control.record(event.for_commitment("CH-35"));
    Err(Problem::new("access/own-roles", "nobody changes their own roles")
        .with_help("ask another administrator to do it"))
}

/// Forgets the authenticators of somebody who lost them.
pub(super) async fn reset_authenticators(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let id = input.path("id").to_owned();
    let details = Details::none().keyed("person", id.as_bytes()).map_err(|e| from_audit(&e))?;
    let person = guarded
        .act(details, move |admitted| {
            let people = &admitted.app.people;
            let person = people.require_person(&id)?;
            require_somebody_else(admitted, &person)?;
            let change = PersonChange::ResetAuthenticators { person: person.id.clone() };
            people.agreed_change(admitted.control, &admitted.permit, &change)?;
            admitted.control.record_first(&admitted.permit, "authenticator.reset", ("person", person.id.as_str()))?;
            people.reset_authenticators(&id, admitted.now())?;
            Ok(PersonView::from(&person))
        })
        .await?;
    answer(&person)
}

/// Says that somebody whom another invited is a human of their own; signed where one has an authenticator.
pub(super) async fn vouch(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let id = input.path("id").to_owned();
    let details = Details::none().keyed("person", id.as_bytes()).map_err(|e| from_audit(&e))?;
    let (whose, own, url) = (id.clone(), guarded.principal().scope().cloned(), input.url.clone());
    let home = move |app: &App| Ok(place_to_vouch(app, own.as_ref(), &whose));
    let view = guarded
        .act_at(home, details, move |admitted| {
            require_here(admitted, &id)?;
            let (people, by) = (&admitted.app.people, admitted.permit.principal());
            let seen = people.to_vouch_for((admitted.control, by), &admitted.person()?, &id)?;
            let view = |person: &PersonRecord| {
                serde_json::to_value(PersonView::from(person)).expect("a person has a JSON form")
            };
            let agreed = Agreed::Vouch { id: id.clone(), digest: seen.digest.clone() };
            match sign_first(admitted, &url, agreed, agreed_to(&seen))? {
                Some(verify) => {
                    let mut view = view(&seen.person);
                    view["verify"] = verify.into();
                    Ok(view)
                }
                None => Ok(view(&vouch_now(admitted, &id, &seen.digest)?)),
            }
        })
        .await?;
    answer(&view)
}

/// Where somebody is vouched for. Whoever is not here, or belongs to a tenant that is not the asker's, is looked for where the
/// asker belongs: who may not vouch is refused before they learn whether there is such a person.
pub(super) fn place_to_vouch(app: &App, own: Option<&Scope>, id: &str) -> Place {
    let environment = app.control.environment();
    let home = app.people.person(id).map(|person| person.home(environment));
    let home = home.filter(|home| own.is_none_or(|own| home.scope() == Some(own)));
    home.unwrap_or_else(|| own.map_or_else(|| Place::Environment(environment.clone()), |own| Place::Scope(own.clone())))
}

/// Refuses as if they were not there whoever belongs elsewhere than where was decided.
fn require_here(admitted: &Admitted<'_>, id: &str) -> Result<(), Problem> {
    let home = admitted.app.people.require_person(id)?.home(admitted.control.environment());
    if home == *admitted.permit.place() { Ok(()) } else { Err(no_person(id)) }
}

/// What somebody's authenticator signs: the account as it is, and who made it.
fn agreed_to(Unvouched { person, maker, digest }: &Unvouched) -> About {
    let of = person.tenant.as_ref().map_or_else(|| "the staff".to_owned(), |tenant| format!("tenant `{tenant}`"));
    let text = vec![
        format!("Say that {} of {of}, whom {maker} invited, is a human of their own.", person.id),
        format!("From then on {maker} and {} approve what the other asks for.", person.id),
        "Talk to them before you sign.".to_owned(),
    ];
    About { action: "person.vouch", signed: digest.as_bytes().to_vec(), text, document: None }
}

/// Vouches, by the rules of this moment.
pub(super) fn vouch_now(admitted: &Admitted<'_>, id: &str, digest: &str) -> Result<PersonRecord, Problem> {
    require_here(admitted, id)?;
    let (people, by) = (&admitted.app.people, admitted.permit.principal());
    people.vouch_for_person((admitted.control, by), &admitted.person()?, (id, digest))
}

/// Somebody left: their sessions, grants and roles end now.
pub(super) async fn leave(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let id = input.path("id").to_owned();
    let details = Details::none().keyed("person", id.as_bytes()).map_err(|e| from_audit(&e))?;
    let person = guarded
        .act(details, move |admitted| {
            let leaves = admitted.app.people.require_person(&id)?;
            admitted.control.record_first(&admitted.permit, "person.left", ("person", leaves.id.as_str()))?;
            let left = admitted.app.people.end_by_name(admitted.control, &id, admitted.now())?;
            Ok(PersonView::from(&left))
        })
        .await?;
    answer(&person)
}

/// Takes back that an account was ended by name: whom the directory vouches for gets a new one.
pub(super) async fn readmit(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let id = input.path("id").to_owned();
    let details = Details::none().keyed("person", id.as_bytes()).map_err(|e| from_audit(&e))?;
    let person = guarded
        .act(details, move |admitted| {
            let people = &admitted.app.people;
            require_somebody_else(admitted, &people.require_person(&id)?)?;
            admitted.control.record_done(&admitted.permit, "person.readmitted");
            people.readmit(admitted.control, &id, admitted.now())?;
            Ok(PersonView::from(&people.require_person(&id)?))
        })
        .await?;
    answer(&person)
}

/// The person's own sessions.
pub(super) async fn sessions(guarded: Guarded, _input: Input) -> Result<Response, Refusal> {
    answer(&json!({ "sessions": all_sessions(guarded).await? }))
}

/// The same for whichever door, newest last.
pub(super) async fn all_sessions(guarded: Guarded) -> Result<Vec<SessionView>, Refusal> {
    guarded
        .act(Details::none(), |admitted| {
            let (person, now) = (admitted.person()?, admitted.now());
            let sessions = admitted.app.people.sessions_of(person.id.as_str());
            Ok(sessions.iter().map(|session| SessionView::of(session, admitted.session, now)).collect())
        })
        .await
}

/// Ends a session: one's own, or that of somebody whose access one may revoke.
pub(super) async fn end_session(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    answer(&end_one(guarded, input.path("id").to_owned()).await?)
}

/// The same for whichever door.
pub(super) async fn end_one(guarded: Guarded, id: String) -> Result<SessionView, Refusal> {
    let details = Details::none().keyed("session", id.as_bytes()).map_err(|e| from_audit(&e))?;
    guarded
        .act(details, move |admitted| {
            let none = || Problem::new("not-found/session", "there is no such session that you can end");
            let people = &admitted.app.people;
            let session = people.session(&id).ok_or_else(none)?;
            let own = admitted.permit.principal().person().is_some_and(|person| *person.id() == session.person);
            if !own {
                let holder = people.require_person(session.person.as_str()).map_err(|_| none())?;
                let home = holder.home(admitted.control.environment());
                let asked = resource(&home, FeatureSet::none());
                let decision = admitted.control.decide(admitted.permit.principal(), Action::AccessRevoke, &asked);
                if !decision.is_allowed() {
                    return Err(none().into());
                }
                let _permit = admitted.control.admit(decision, Details::none())?;
            }
            let ended = people.end_session(&id, admitted.now())?.ok_or_else(none)?;
            admitted.control.record_done(&admitted.permit, "session.revoked");
            Ok(SessionView::of(&ended, admitted.session, admitted.now()))
        })
        .await
}
