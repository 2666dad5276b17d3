//! Planted credentials: made, listed, taken up again. What they are is in `planted.rs`.

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use creta_audit::Details;
use creta_model::{Instant, TenantId};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::control::{account_name, home_of};
use super::json as answer;
use crate::context::{Guarded, Input};
use crate::planted::{Planted, no_planted};
use crate::problem::{Refusal, from_audit};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlantRequest {
    tenant: TenantId,
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfTenant {
    tenant: TenantId,
}

/// What whoever may list accounts sees of one.
#[derive(Serialize)]
struct PlantedView {
    client_id: String,
    tenant: TenantId,
    planted: Instant,
    #[serde(skip_serializing_if = "Option::is_none")]
    planted_by: Option<String>,
    /// How often it was used.
    times: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    used: Option<Instant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<Instant>,
}

impl From<&Planted> for PlantedView {
    fn from(planted: &Planted) -> Self {
        Self {
            client_id: planted.client_id.clone(),
            tenant: planted.scope.tenant.clone(),
            planted: planted.planted,
            planted_by: planted.planted_by.as_ref().map(ToString::to_string),
            times: planted.times,
            used: planted.used,
            ended: planted.ended,
        }
    }
}

/// Plants a credential. The answer holds its secret, which nobody can see again.
pub(super) async fn plant(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let PlantRequest { tenant, name } = input.json()?;
    let name = account_name(&name)?;
    let details = Details::none().name("canary", name.as_str()).map_err(|e| from_audit(&e))?;
    let (planted, secret) = guarded
        .act_at(
            move |app| home_of(app, &tenant),
            details,
            move |admitted| Ok(admitted.control.plant_credential(&name, &admitted.permit)?),
        )
        .await?;
    let mut view = serde_json::to_value(PlantedView::from(&planted)).expect("a JSON form");
    view["client_secret"] = secret.expose().as_str().into();
    Ok((StatusCode::CREATED, answer(&view)?).into_response())
}

/// Those of a tenant, and what came of them.
pub(super) async fn list(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let OfTenant { tenant } = input.query()?;
    let planted = guarded
        .act_at(
            move |app| home_of(app, &tenant),
            Details::none(),
            |admitted| {
                let scope = admitted.control.require_tenant(&admitted.scope()?.tenant)?;
                Ok(admitted.control.planted().of(&scope).iter().map(PlantedView::from).collect::<Vec<_>>())
            },
        )
        .await?;
    answer(&json!({ "canary_tokens": planted }))
}

/// Takes one up again.
pub(super) async fn end(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let id = input.path("id").to_owned();
    let known = id.clone();
    let ended = guarded
        .act_at(
            move |app| {
                let tenant = known.rsplit_once('@').and_then(|(_, tenant)| TenantId::parse(tenant).ok());
                home_of(app, &tenant.ok_or_else(|| no_planted(&known))?)
            },
            Details::none().keyed("canary", id.as_bytes()).map_err(|e| from_audit(&e))?,
            move |admitted| Ok(admitted.control.end_planted(&id, &admitted.permit)?),
        )
        .await?;
    answer(&PlantedView::from(&ended))
}
