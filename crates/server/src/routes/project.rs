//! A scope's definitions: check, deploy, read, and compare online with offline.

use axum::response::Response;
use creta_audit::Details;
use creta_engine::VerifyOptions;
use creta_model::Bundle;
use serde_json::json;

use crate::context::{Guarded, Input};
use crate::problem::Refusal;
use crate::routes::json as answer;

/// Says what deploying a bundle would change, or why it cannot be deployed. Changes nothing.
pub(super) async fn check(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let bundle: Bundle = input.json()?;
    let checked = guarded.act(Details::none(), |admitted| Ok(admitted.engine()?.check(bundle)?)).await?;
    answer(&json!({ "warnings": checked.warnings, "diff": checked.diff }))
}

/// Makes a bundle the active one.
pub(super) async fn deploy(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let bundle: Bundle = input.json()?;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &input.body);
    let digest: [u8; 32] = digest.as_ref().try_into().expect("SHA-256 has 32 bytes");
    let details = Details::none().digest("body", digest).map_err(|e| crate::problem::from_audit(&e))?;
    let deployed = guarded
        .act(details, |admitted| {
            let deployed = admitted.engine()?.deploy(bundle, &admitted.permit)?;
            admitted.control.record_done(&admitted.permit, "deploy.done");
            Ok(deployed)
        })
        .await?;
    answer(&json!({
        "revision": deployed.revision,
        "digest": deployed.digest,
        "diff": deployed.diff,
        "warnings": deployed.warnings,
        "queries": deployed.queries,
    }))
}

/// The active definitions with lineage and documentation.
pub(super) async fn catalogue(guarded: Guarded, _input: Input) -> Result<Response, Refusal> {
    answer(&guarded.act(Details::none(), |admitted| Ok(admitted.engine()?.catalogue())).await?)
}

/// Counts of the scope: facts, positions, revision.
pub(super) async fn status(guarded: Guarded, _input: Input) -> Result<Response, Refusal> {
    answer(&guarded.act(Details::none(), |admitted| Ok(admitted.engine()?.statistics())).await?)
}

/// Replays the facts and compares online with offline answers.
pub(super) async fn verify(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let options: VerifyOptions = input.json()?;
    let report = guarded
        .act(Details::none(), move |admitted| Ok(admitted.engine()?.verify(&options, &admitted.permit, &|_, _| {})?))
        .await?;
    answer(&report)
}
