//! A scope's definitions: check, deploy, read, and compare online with offline.

use axum::response::Response;
use creta_audit::{Details, Event, Hash};
use creta_engine::VerifyOptions;
use creta_model::{Bundle, EnvironmentClass};
use serde_json::json;

use crate::context::{Guarded, Input};
use crate::data_policy::TagsDropped;
use crate::definition_text;
use crate::problem::Refusal;
use crate::routes::json as answer;

/// Says what deploying a bundle would change, or why it cannot be deployed. Changes nothing.
pub(super) async fn check(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let bundle: Bundle = input.json()?;
    let checked = guarded
        .act(Details::none(), |admitted| {
            require_words(&bundle)?;
            Ok(admitted.engine()?.check(bundle)?)
        })
        .await?;
    answer(&json!({ "warnings": checked.warnings, "diff": checked.diff }))
}

/// Makes a bundle the active one.
pub(super) async fn deploy(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let bundle: Bundle = input.json()?;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &input.body);
    let digest: [u8; 32] = digest.as_ref().try_into().expect("SHA-256 has 32 bytes");
    let details = Details::none().digest("body", digest).map_err(|e| crate::problem::from_audit(&e))?;
    let deployed = guarded
        .act(details, move |admitted| {
            if let Err(refusal) = require_words(&bundle) {
                let refused = Event::of(&admitted.permit, "deploy.refused").for_commitment("CH-22");
                admitted.control.record(refused);
                return Err(refusal);
            }
            let engine = admitted.engine()?;
            let policy = admitted.control.data_policy(admitted.scope()?)?;
            // On a developer's own machine there is nobody else, and nothing of worth.
            if admitted.control.class() != EnvironmentClass::Development {
                let dropped = engine.tags_dropped(&bundle)?;
                if !dropped.is_empty() {
                    let matter = TagsDropped { bundle: Hash::from_bytes(digest), dropped };
                    policy.drop_tags((admitted.control, &admitted.permit), admitted.human()?, matter)?;
                }
            }
            let deployed = engine.deploy(bundle, &admitted.permit)?;
            policy.settle((admitted.control, &engine, &admitted.permit))?;
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
        "resolvers": deployed.resolvers,
    }))
}

/// Definitions hold words: no secrets and no values (CH-22).
fn require_words(bundle: &Bundle) -> Result<(), Refusal> {
    let graph = serde_json::to_value(&bundle.graph).expect("a graph has a JSON form");
    definition_text::require_words(&graph).map_err(Refusal::from)
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
