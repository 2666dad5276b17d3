//! Made-up data by what is deployed. No fact is read for it.

use std::collections::BTreeMap;

use axum::response::Response;
use creta_audit::Details;
use creta_model::{Instant, Name, Problem};
use creta_synth::Options;
use serde::Deserialize;

use crate::arrow_body::{ARROW_STREAM, encode};
use crate::context::{Guarded, Input};
use crate::problem::{Refusal, logged};
use crate::routes::typed;

/// Most rows of each entity that a server makes; more are made where they are wanted.
const ROWS_MAX: u32 = 100_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SynthRequest {
    /// Whose facts to hand out.
    entity: Name,
    /// Rows of each entity.
    #[serde(default, deserialize_with = "crate::context::whole")]
    rows: Option<u32>,
    #[serde(default, deserialize_with = "crate::context::whole")]
    seed: Option<u32>,
    #[serde(default)]
    from: Option<Instant>,
    #[serde(default)]
    to: Option<Instant>,
}

/// Made-up facts of one entity, with relations that lead to those of others made with the same rows and seed.
pub(super) async fn synth(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let SynthRequest { entity, rows, seed, from, to } = input.json()?;
    let plain = Options::default();
    let rows = rows.unwrap_or(100);
    if rows > ROWS_MAX {
        let problem = Problem::new("too-large/rows", format!("a server makes at most {ROWS_MAX} rows of an entity"));
        return Err(problem.with_help("make more with `creta synth` in the project's folder").into());
    }
    let options = Options {
        rows: u64::from(rows),
        of_entity: BTreeMap::new(),
        seed: u64::from(seed.unwrap_or(1)),
        from: from.unwrap_or(plain.from),
        to: to.unwrap_or(plain.to),
        ..plain
    };
    let bytes = guarded
        .act(Details::none(), move |admitted| {
            let tables = admitted.engine()?.synth(&options, &admitted.permit)?;
            let table = tables.into_iter().find(|(made, _)| *made == entity).map(|(_, table)| table);
            let table = table.ok_or_else(|| {
                Problem::new("not-found/entity", format!("no entity with facts is called `{entity}`"))
                    .with_help("check the spelling, or deploy the project that declares it")
            })?;
            Ok(encode(&table.schema(), &[table]).map_err(|error| logged("an answer could not be encoded", &error))?)
        })
        .await?;
    Ok(typed(ARROW_STREAM, bytes))
}
