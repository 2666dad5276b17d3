//! Tenants and service accounts.

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use creta_audit::Details;
use creta_iam::{ClientSecret, Place, Principal, PrincipalId, Role, is_reserved};
use creta_model::{Problem, Scope, Span, TenantId};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::accounts::{self, Account, Binding};
use crate::context::{Admitted, Guarded, Input, whole};
use crate::control_plane::no_account;
use crate::http::App;
use crate::people::duties::Given;
use crate::people::programs::{SecretShown, Shown};
use crate::problem::{Refusal, from_audit};
use crate::routes::json as answer;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TenantRequest {
    tenant: TenantId,
}

/// Makes a tenant.
pub(super) async fn create_tenant(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let TenantRequest { tenant } = input.json()?;
    let details = Details::none().name("tenant", tenant.as_str()).map_err(|e| from_audit(&e))?;
    let made =
        guarded.act(details, move |admitted| Ok(admitted.control.create_tenant(&tenant, &admitted.permit)?)).await?;
    Ok((StatusCode::CREATED, answer(&made)?).into_response())
}

/// Lists the tenants.
pub(super) async fn list_tenants(guarded: Guarded, _input: Input) -> Result<Response, Refusal> {
    let tenants = guarded.act(Details::none(), |admitted| Ok(admitted.control.tenants())).await?;
    answer(&json!({ "tenants": tenants }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceAccountRequest {
    tenant: TenantId,
    name: String,
    #[serde(deserialize_with = "Role::deserialize_of_program")]
    role: Role,
    #[serde(default)]
    require_proof: bool,
}

/// What everybody who may list accounts sees of one.
#[derive(Serialize)]
struct ServiceAccountView {
    client_id: String,
    /// None for an account of the environment.
    tenant: Option<TenantId>,
    name: String,
    role: Option<Role>,
    /// Whether its tokens are given and taken with proof of a key alone.
    require_proof: bool,
    created: creta_model::Instant,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked: Option<creta_model::Instant>,
    /// Until when the secret before the present one is taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_secret_until: Option<creta_model::Instant>,
}

impl From<&Account> for ServiceAccountView {
    fn from(account: &Account) -> Self {
        Self {
            client_id: account.client_id.clone(),
            tenant: account.principal.home().scope().map(|scope| scope.tenant.clone()),
            name: account.principal.id().to_string(),
            role: account.principal.role(),
            require_proof: account.binding == Binding::Always,
            created: account.created,
            revoked: account.revoked,
            previous_secret_until: account.previous_until(),
        }
    }
}

/// Makes a service account. The answer holds its secret, which nobody can see again.
pub(super) async fn create_service_account(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let ServiceAccountRequest { tenant, name, role, require_proof } = input.json()?;
    if [Role::Backup, Role::Monitor, Role::Checker].contains(&role) {
        let problem = Problem::new("request/role", format!("no account of a tenant is `{role}`"));
        let help = "backups are taken and metrics are read by accounts of the environment: `creta service-account create \
                    NAME --environment --role backup`, or `monitor`";
        return Err(problem.with_help(help).into());
    }
    let name = account_name(&name)?;
    let details = Details::none()
        .name("service-account", name.as_str())
        .and_then(|details| details.name("role", role.as_str()))
        .map_err(|e| from_audit(&e))?;
    let made = guarded
        .act_at(
            move |app| home_of(app, &tenant),
            details,
            move |admitted| {
                let (control, by) = (admitted.control, admitted.permit.principal());
                let made = Principal::service_account(name.clone(), admitted.scope()?.clone(), role);
                let people = &admitted.app.people;
                let scope = admitted.scope()?.clone();
                let shown = SecretShown { what: Shown::Create, scope, name: name.clone(), role };
                let make = || {
                    control.require_free(&name, &shown.scope.tenant)?;
                    people.show_secret(control, &admitted.permit, &shown, || {
                        let as_asked = (role, Binding::required(require_proof));
                        control.create_service_account(&name, as_asked, &admitted.permit, |id| people.is_here(id))
                    })
                };
                Ok(people.give(control, by, &Given::Program(&made), admitted.now(), make)?)
            },
        )
        .await?;
    Ok((StatusCode::CREATED, with_secret(&made)?).into_response())
}

/// Names of service accounts are stricter than ids of principals: an `@` stands between name and tenant, and dots are
/// left for later.
pub(super) fn account_name(name: &str) -> Result<PrincipalId, Problem> {
    let refused = || {
        Problem::new("request/name", "this is not a name for a service account")
            .with_help("use 1 to 40 lowercase letters, digits, `-` and `_`, starting with a letter or digit")
    };
    if name.len() > 40 || name.contains(['@', '.']) {
        return Err(refused());
    }
    PrincipalId::parse(name).map_err(|_| refused())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TenantQuery {
    tenant: TenantId,
}

/// The scope of a tenant by its name alone: whether there is such a tenant is asked once it is known who may know.
pub(super) fn home_of(app: &App, tenant: &TenantId) -> Result<Place, Problem> {
    if is_reserved(tenant) {
        return app.control.require_tenant(tenant).map(Place::Scope); // There is none of that name.
    }
    Ok(Place::Scope(Scope::new(tenant.clone(), app.control.environment().clone())))
}

/// Where an account of a tenant would belong, by its name alone: whoever may not look after that tenant is told the same of
/// accounts and tenants that are there and of those that are not. The environment's own are not found here.
fn home_of_account(app: &App, client_id: &str) -> Result<Place, Problem> {
    let tenant = client_id.rsplit_once('@').and_then(|(_, tenant)| TenantId::parse(tenant).ok());
    home_of(app, &tenant.filter(|tenant| !is_reserved(tenant)).ok_or_else(|| no_account(client_id))?)
}

/// Lists the service accounts of a tenant.
pub(super) async fn list_service_accounts(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let TenantQuery { tenant } = input.query()?;
    let accounts = guarded
        .act_at(
            move |app| home_of(app, &tenant),
            Details::none(),
            |admitted| {
                admitted.control.require_tenant(&admitted.scope()?.tenant)?;
                let accounts = admitted.control.service_accounts(admitted.permit.place());
                Ok(accounts.iter().map(ServiceAccountView::from).collect::<Vec<_>>())
            },
        )
        .await?;
    answer(&json!({ "service_accounts": accounts }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProvisionerRequest {
    name: String,
    #[serde(default)]
    role: OfEnvironment,
    #[serde(default)]
    require_proof: bool,
}

/// What an account of the environment is for.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum OfEnvironment {
    /// The organisation's directory provisions people by it.
    #[default]
    Provisioner,
    /// Copies of what is sealed are taken by it.
    Backup,
    /// The server's metrics are read by it.
    Monitor,
}

impl OfEnvironment {
    const fn role(self) -> Role {
        match self {
            Self::Provisioner => Role::Provisioner,
            Self::Backup => Role::Backup,
            Self::Monitor => Role::Monitor,
        }
    }
}

/// Makes an account of the environment: of a directory, of what takes backups, or of what reads metrics. Whoever may give
/// people roles may make one, that of a directory with another human's approval outside class development: who has its secret
/// can make people up.
pub(super) async fn create_provisioner(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let ProvisionerRequest { name, role, require_proof } = input.json()?;
    let (name, role) = (account_name(&name)?, role.role());
    let details = Details::none()
        .name("service-account", name.as_str())
        .and_then(|details| details.name("role", role.as_str()))
        .map_err(|e| from_audit(&e))?;
    let make = move |admitted: &Admitted<'_>| {
        let (control, people, permit) = (admitted.control, &admitted.app.people, &admitted.permit);
        let scope = creta_iam::control_plane(control.environment());
        let made = Principal::service_account(name.clone(), scope.clone(), role);
        let shown = SecretShown { what: Shown::Create, scope, name: name.clone(), role };
        let make = || {
            control.require_free(&name, &shown.scope.tenant)?;
            let as_asked = (role, Binding::required(require_proof));
            let create = || control.create_service_account(&name, as_asked, permit, |id| people.is_here(id));
            people.show_secret(control, permit, &shown, create)
        };
        Ok(people.give(control, permit.principal(), &Given::Program(&made), admitted.now(), make)?)
    };
    let made = guarded.act(details, make).await?;
    Ok((StatusCode::CREATED, with_secret(&made)?).into_response())
}

/// Lists these accounts.
pub(super) async fn list_provisioners(guarded: Guarded, _input: Input) -> Result<Response, Refusal> {
    let accounts = guarded
        .act(Details::none(), |admitted| {
            let accounts = admitted.control.service_accounts(admitted.permit.place());
            Ok(accounts.iter().map(ServiceAccountView::from).collect::<Vec<_>>())
        })
        .await?;
    answer(&json!({ "service_accounts": accounts }))
}

/// Gives one a new secret; the present one stays good for a while.
pub(super) async fn rotate_provisioner(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let (id, rotation, details) = rotation(&input)?;
    let rotate = move |admitted: &Admitted<'_>| {
        let (control, people, permit) = (admitted.control, &admitted.app.people, &admitted.permit);
        let shown = people.secret_of(control, &id)?;
        if shown.place() != *permit.place() {
            return Err(no_account(&id).into());
        }
        let rotate = || control.rotate_service_account(&id, rotation, permit, |id| people.is_here(id));
        Ok(people.show_secret(control, permit, &shown, rotate)?)
    };
    with_secret(&guarded.act(details, rotate).await?)
}

/// Ends one and its tokens.
pub(super) async fn revoke_provisioner(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let id = input.path("id").to_owned();
    let details = Details::none().keyed("client", id.as_bytes()).map_err(|e| from_audit(&e))?;
    let revoke = move |admitted: &Admitted<'_>| Ok(admitted.control.revoke_service_account(&id, &admitted.permit)?);
    answer(&ServiceAccountView::from(&guarded.act(details, revoke).await?))
}

fn with_secret((account, secret): &(Account, ClientSecret)) -> Result<Response, Refusal> {
    let mut view = serde_json::to_value(ServiceAccountView::from(account)).expect("an account has a JSON form");
    view["client_secret"] = secret.expose().as_str().into();
    answer(&view)
}

/// How long the secret before the new one stays good, unless the request says otherwise, and at most.
const OVERLAP_HOURS: u32 = 24;
const OVERLAP_HOURS_MAX: u32 = 168;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rotation {
    #[serde(default, deserialize_with = "whole")]
    overlap_hours: Option<u32>,
    /// Whether its tokens take proof of a key from now on; as before without it.
    #[serde(default)]
    require_proof: Option<bool>,
}

/// Gives a service account a new secret; the present one stays good for a while.
pub(super) async fn rotate_service_account(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let (id, rotation, details) = rotation(&input)?;
    let known = id.clone();
    let rotated = guarded
        .act_at(
            move |app| home_of_account(app, &known),
            details,
            move |admitted| {
                let (control, people) = (admitted.control, &admitted.app.people);
                let shown = people.secret_of(control, &id)?;
                let rotate =
                    || control.rotate_service_account(&id, rotation, &admitted.permit, |id| people.is_here(id));
                Ok(people.show_secret(control, &admitted.permit, &shown, rotate)?)
            },
        )
        .await?;
    with_secret(&rotated)
}

/// Which account, how long its present secret stays good and what its tokens are bound to, and what the log says about it.
fn rotation(input: &Input) -> Result<(String, accounts::Rotation, Details), Refusal> {
    let Rotation { overlap_hours, require_proof } = input.json()?;
    let hours = overlap_hours.unwrap_or(OVERLAP_HOURS);
    if hours > OVERLAP_HOURS_MAX {
        return Err(Problem::new(
            "request/overlap",
            format!("two secrets overlap by at most {OVERLAP_HOURS_MAX} hours"),
        )
        .with_help("give fewer hours; 0 ends the present secret at once")
        .into());
    }
    let id = input.path("id").to_owned();
    let details = Details::none()
        .keyed("client", id.as_bytes())
        .and_then(|details| details.count("overlap-hours", u64::from(hours)))
        .and_then(|details| match require_proof {
            Some(required) => details.name("proof", if required { "required" } else { "not-required" }),
            None => Ok(details),
        })
        .map_err(|e| from_audit(&e))?;
    Ok((id, (Span::hours(hours), require_proof.map(Binding::required)), details))
}

/// Ends a service account and its tokens.
pub(super) async fn revoke_service_account(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let id = input.path("id").to_owned();
    let known = id.clone();
    let revoked = guarded
        .act_at(
            move |app| home_of_account(app, &known),
            Details::none().keyed("client", id.as_bytes()).map_err(|e| from_audit(&e))?,
            move |admitted| Ok(admitted.control.revoke_service_account(&id, &admitted.permit)?),
        )
        .await?;
    answer(&ServiceAccountView::from(&revoked))
}
