//! Health, readiness, metrics and the description of the API.

use std::sync::Arc;

use axum::response::Response;
use creta_audit::Details;
use creta_model::Problem;
use serde_json::json;

use crate::context::{Guarded, Input};
use crate::http::App;
use crate::problem::Refusal;
use crate::routes::{json as answer, typed};

/// The process answers.
pub(super) async fn health(_app: Arc<App>, _input: Input) -> Result<Response, Refusal> {
    answer(&json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")}))
}

/// The server takes requests: its control plane is open and it is not about to stop.
pub(super) async fn ready(app: Arc<App>, _input: Input) -> Result<Response, Refusal> {
    if app.is_ready() {
        answer(&json!({"status": "ready", "environment": app.control.environment(), "class": app.control.class()}))
    } else {
        Err(Problem::new("busy/stopping", "the server is about to stop").into())
    }
}

/// This API, in OpenAPI 3.1.
pub(super) async fn openapi(app: Arc<App>, _input: Input) -> Result<Response, Refusal> {
    Ok(typed("application/json", app.openapi.clone()))
}

/// Counts and times in Prometheus' text format.
pub(super) async fn metrics(guarded: Guarded, _input: Input) -> Result<Response, Refusal> {
    let text = guarded.act(Details::none(), |admitted| Ok(admitted.app.render_metrics())).await?;
    Ok(typed("text/plain; version=0.0.4; charset=utf-8", text))
}
