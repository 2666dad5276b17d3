//! Two tenants of our own, with one planted value each, that checks use to see whether tenants stay apart.
//!
//! They are made as any tenant is, by an identity of the checks that exists inside this process only, and every step stands in the
//! log. Their accounts' secrets are thrown away: tokens are issued here, for checks.

use creta_audit::Details;
use creta_iam::{Action, FeatureSet, Place, Principal, PrincipalId, Role};
use creta_model::{Problem, Scope, TenantId};
use serde_json::{Value, json};

use super::client::Client;
use crate::accounts::client_id;
use crate::context::resource;
use crate::http::App;
use crate::people::devices::canary_of;

/// Names of the two.
const TENANTS: [&str; 2] = ["creta-probe-a", "creta-probe-b"];
/// Name of each one's entity that the other does not have.
const OWN_ENTITIES: [&str; 2] = ["OnlyA", "OnlyB"];
const ACCOUNT: &str = "probe";

/// Both tenants.
pub(crate) struct Probes(pub(crate) [Probe; 2]);

/// One of them.
pub(crate) struct Probe {
    pub(crate) tenant: TenantId,
    pub(crate) scope: Scope,
    /// An access token of its developer.
    pub(crate) token: String,
    /// An entity that only this tenant has.
    pub(crate) own_entity: &'static str,
    /// The value that nobody else may ever see, nor any disk in the clear.
    pub(crate) canary: String,
}

impl Probes {
    /// Sees to it that both are there, each with its definitions and its planted value.
    pub(crate) fn ensure(app: &App, client: &Client) -> Result<Self, String> {
        let [a, b] = TENANTS.map(|name| TenantId::parse(name).expect("a name of our own is valid"));
        let probe = |tenant: TenantId, own_entity| {
            let token = token(app, &tenant).map_err(|problem| format!("a probe tenant cannot be made: {problem}"))?;
            let scope = Scope::new(tenant.clone(), app.control.environment().clone());
            let canary = canary(app, client, &token, (own_entity, canary_of(&app.control, &tenant)))?;
            Ok::<_, String>(Probe { tenant, scope, token, own_entity, canary })
        };
        Ok(Self([probe(a, OWN_ENTITIES[0])?, probe(b, OWN_ENTITIES[1])?]))
    }

    /// Both orders of the two: who asks, and whose data it must not get.
    pub(crate) fn pairs(&self) -> [(&Probe, &Probe); 2] {
        [(&self.0[0], &self.0[1]), (&self.0[1], &self.0[0])]
    }
}

/// Whether it is an account that only checks use: nobody chose to give it anything, it reaches planted values alone, and so
/// nobody is asked about it in reviews and analyses. Another account in the same tenant is anybody's.
pub(crate) fn is_of_checks(client_id: &str) -> bool {
    client_id.rsplit_once('@').is_some_and(|(name, tenant)| name == ACCOUNT && TENANTS.contains(&tenant))
}

/// Who makes probes and runs checks, for the environment: nobody can log in as this, and it may do what checks need and
/// nothing else, in every class.
pub(crate) fn system(app: &App) -> Principal {
    Principal::environment_account(name_of_checks(), app.control.environment(), Role::Checker)
}

/// The same in a probe's tenant.
fn system_in(scope: &Scope) -> Principal {
    Principal::service_account(name_of_checks(), scope.clone(), Role::Checker)
}

fn name_of_checks() -> PrincipalId {
    PrincipalId::parse("trust-checks").expect("a name of our own is valid")
}

/// A token of a probe's developer; the tenant and the account are made when they are not there.
fn token(app: &App, tenant: &TenantId) -> Result<String, Problem> {
    let control = &app.control;
    let admit = |who: &Principal, action, place: &Place| {
        control.admit(control.decide(who, action, &resource(place, FeatureSet::none())), Details::none())
    };
    if control.require_tenant(tenant).is_err() {
        control.create_tenant(tenant, &admit(&system(app), Action::TenantCreate, &control.place())?)?;
    }
    let scope = control.require_tenant(tenant)?;
    let place = Place::Scope(scope.clone());
    let id = client_id(ACCOUNT, tenant);
    if control.account(&id).is_none() {
        let name = PrincipalId::parse(ACCOUNT).expect("a name of our own is valid");
        control.create_service_account(
            &name,
            (Role::Developer, crate::accounts::Binding::IfShown),
            &admit(&system_in(&scope), Action::ServiceAccountCreate, &place)?,
            |_| true,
        )?;
    }
    let account = control.account(&id).ok_or_else(crate::problem::internal)?;
    let asked = control.decide(&account.principal, Action::TokenIssue, &resource(&place, FeatureSet::none()));
    Ok(control.issue_token(
        &account,
        crate::control_plane::Narrowed::default(),
        &control.admit(asked, Details::none())?,
    ))
}

/// The planted value, read back if it is there, planted otherwise. All of it goes through the public interface.
fn canary(app: &App, client: &Client, token: &str, (own_entity, canary): (&str, String)) -> Result<String, String> {
    if read(client, token, "Probe")?.is_some_and(|known| known == canary) {
        return Ok(canary);
    }
    let failed = |what: &str, code: String| format!("a probe tenant cannot be {what}: {code}");
    let deployed = client.post("/v1/deploy", token, &bundle(own_entity))?;
    if deployed.status != 200 {
        return Err(failed("given its definitions", deployed.code()));
    }
    for entity in ["Probe", own_entity] {
        let now = app.control.platform().clock.now();
        let facts = json!({
            "load": {"entity": entity, "event_time": {"constant": now}, "arrival": {"delay": "0s"}},
            "rows": [{"id": 1, "canary": canary}],
        });
        let stored = client.post("/v1/facts", token, &facts)?;
        if stored.status != 200 {
            return Err(failed("given its value", stored.code()));
        }
    }
    match read(client, token, "Probe")? {
        Some(read) if read == canary => Ok(canary),
        _ => Err("a probe tenant does not give its own value back".to_owned()),
    }
}

fn read(client: &Client, token: &str, entity: &str) -> Result<Option<String>, String> {
    let reply = client.post("/v1/query", token, &question(entity))?;
    Ok(reply.json()["columns"][0]["values"][0].as_str().map(str::to_owned))
}

/// Asks for the planted value of an entity.
pub(crate) fn question(entity: &str) -> Value {
    json!({"inputs": {format!("{entity}.id"): [1]}, "outputs": [format!("{entity}.canary")]})
}

fn bundle(own_entity: &str) -> Value {
    let feature = |name: &str, ty: &str, role: &str| json!({"name": name, "type": {"kind": ty}, "role": role, "location": {"file": "probe.py", "line": 1}});
    let entity = |name: &str| {
        json!({
            "name": name,
            "features": [
                feature("id", "int", "key"), feature("seen", "datetime", "event_time"), feature("canary", "str", "value"),
            ],
            "location": {"file": "probe.py", "line": 1},
        })
    };
    json!({
        "format": "creta.bundle/1",
        "graph": {"format": "creta.graph/1", "project": "probe", "entities": [entity("Probe"), entity(own_entity)]},
        "modules": {},
        "lock": {"python": "3.11", "packages": {}},
    })
}
