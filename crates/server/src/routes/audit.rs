//! The audit log: entries to read, tiles and proofs to verify it with.

use axum::response::Response;
use creta_audit::{AuditError, Details, Entry, Hash, Log};
use creta_model::Problem;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::context::{Guarded, Input};
use crate::limits::AUDIT_ENTRIES_MAX;
use crate::problem::{Refusal, from_audit};
use crate::routes::{json as answer, typed};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntriesQuery {
    /// Index of the first entry to look at.
    #[serde(default)]
    start: u64,
    /// How many entries to look at.
    #[serde(default = "entries_max")]
    limit: u64,
}

fn entries_max() -> u64 {
    AUDIT_ENTRIES_MAX
}

/// Entries in order, each with its index. An administrator sees all of them, a developer those of the own scope.
pub(super) async fn entries(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let EntriesQuery { start, limit } = input.query()?;
    if !(1..=AUDIT_ENTRIES_MAX).contains(&limit) {
        let problem = Problem::new("request/limit", format!("`limit` must be 1 to {AUDIT_ENTRIES_MAX}"));
        return Err(problem.into());
    }
    let found = guarded
        .act(Details::none(), move |admitted| {
            let log = admitted.control.log();
            let size = log.size();
            let (start, end) = (start.min(size), start.saturating_add(limit).min(size));
            let seen = log.read(&admitted.permit, start..end).map_err(|e| from_audit(&e))?;
            let entries: Vec<_> = seen.iter().map(|(index, entry)| json!({"index": index, "entry": entry})).collect();
            Ok(json!({"entries": entries, "next": end, "size": size}))
        })
        .await?;
    answer(&found)
}

/// Every access to the data and definitions of the caller's own scope, staff's too, as whoever owns them needs to read it.
pub(super) async fn access(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let EntriesQuery { start, limit } = input.query()?;
    if !(1..=AUDIT_ENTRIES_MAX).contains(&limit) {
        let problem = Problem::new("request/limit", format!("`limit` must be 1 to {AUDIT_ENTRIES_MAX}"));
        return Err(problem.into());
    }
    let range = move |size: u64| start.min(size)..start.saturating_add(limit).min(size);
    let Accesses { seen, size, .. } = accesses(guarded, range).await?;
    let shown: Vec<_> = seen.iter().map(|(index, entry)| one_access(*index, entry)).collect();
    answer(&json!({"accesses": shown, "next": range(size).end, "size": size}))
}

/// Entries about one's own scope, and where in the log they were looked for.
pub(super) struct Accesses {
    pub(super) seen: Vec<(u64, Entry)>,
    pub(super) start: u64,
    pub(super) size: u64,
}

/// The same for whichever door; `range` says which entries of a log of that size.
pub(super) async fn accesses(
    guarded: Guarded,
    range: impl FnOnce(u64) -> std::ops::Range<u64> + Send + 'static,
) -> Result<Accesses, Refusal> {
    guarded
        .act(Details::none(), move |admitted| {
            let log = admitted.control.log();
            log.flush_reads().map_err(|e| from_audit(&e))?; // What was just read is an access too.
            let size = log.size();
            let range = range(size);
            let start = range.start;
            let seen = log.read(&admitted.permit, range).map_err(|e| from_audit(&e))?;
            Ok(Accesses { seen, start, size })
        })
        .await
}

fn one_access(index: u64, entry: &Entry) -> Value {
    let mut access = json!({
        "index": index, "time": entry.time, "action": entry.action,
        "staff": entry.actor.as_ref().is_some_and(|actor| actor.scope().is_none()),
        "counts": entry.details.iter().filter_map(|(name, text)| Some((name.clone(), json!(text.parse::<u64>().ok()?))))
            .collect::<Map<String, Value>>(),
    });
    if let Some(actor) = &entry.actor {
        (access["kind"], access["id"]) = (json!(actor.kind()), json!(actor.id()));
    }
    for (name, value) in
        [("decision", json!(entry.decision)), ("features", json!(entry.features)), ("purpose", json!(entry.purpose))]
    {
        if !value.is_null() {
            access[name] = value;
        }
    }
    access
}

/// What shows that an entry about the caller's own scope is in the log. Entries about others are not found.
pub(super) async fn prove_access(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let missing = || Problem::new("not-found/entry", "the log has no such entry about what is yours");
    let index = input.path("id").parse::<u64>().ok();
    let proof = guarded
        .act(Details::none(), move |admitted| {
            let (log, index) = (admitted.control.log(), index.ok_or_else(missing)?);
            let seen = log.read(&admitted.permit, index..index.saturating_add(1)).map_err(|e| from_audit(&e))?;
            if seen.is_empty() {
                return Err(missing().into());
            }
            Ok(inclusion(log, index, None).map_err(|e| from_audit(&e))?)
        })
        .await?;
    answer(&proof)
}

/// An entry with its proof in the tree of `size` entries, by default that of the newest checkpoint.
fn inclusion(log: &Log, index: u64, size: Option<u64>) -> Result<Value, AuditError> {
    let checkpoint = log.checkpoint()?;
    let size = size.unwrap_or(checkpoint.claimed().size);
    let (proof, root) = (log.prove_inclusion(index, size)?, log.root(size)?);
    let entry = String::from_utf8_lossy(&log.entry_bytes(index)?).into_owned();
    Ok(json!({
        "index": index, "size": size, "entry": entry, "proof": texts(&proof),
        "root": root.to_base64(), "checkpoint": checkpoint.as_str(),
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckpointQuery {
    /// The newest one that can be signed now, whether or not a witness has seen it.
    #[serde(default)]
    newest: bool,
}

/// The newest checkpoint that witnesses cosigned, as a signed note of C2SP tlog-checkpoint; the newest one where there are
/// no witnesses, where none has answered yet, or where that is asked for.
pub(super) async fn checkpoint(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let CheckpointQuery { newest } = input.query()?;
    let note = guarded
        .act(Details::none(), move |admitted| {
            let cosigned = admitted.control.witnesses().cosigned().filter(|_| !newest);
            let signed = cosigned.map_or_else(|| admitted.control.log().checkpoint(), Ok);
            Ok(signed.map_err(|e| from_audit(&e))?.to_string())
        })
        .await?;
    Ok(typed("text/plain; charset=utf-8", note))
}

/// A hash tile or an entry bundle of C2SP tlog-tiles.
pub(super) async fn tile(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let missing = || Problem::new("not-found/tile", "the log has no such tile");
    let (level, index) = (input.path("level").to_owned(), parse_index(input.path("index")));
    let bytes = guarded
        .act(Details::none(), move |admitted| {
            let (index, width) = index.ok_or_else(missing)?;
            let log = admitted.control.log();
            let tile = match level.as_str() {
                "entries" => log.entries_tile(index, width),
                level => level.parse().ok().and_then(|level| log.tile(level, index, width)),
            };
            Ok(tile.ok_or_else(missing)?)
        })
        .await?;
    Ok(typed("application/octet-stream", bytes))
}

/// Reads `x001/x234/067` or `067.p/17`: the index of a tile and how many hashes it has.
fn parse_index(path: &str) -> Option<(u64, u64)> {
    let (path, width) = match path.split_once(".p/") {
        Some((path, width)) => (path, width.parse().ok().filter(|width| (1..256).contains(width))?),
        None => (path, 256),
    };
    let mut index = 0_u64;
    let mut parts = path.split('/').peekable();
    while let Some(part) = parts.next() {
        let digits = if parts.peek().is_some() { part.strip_prefix('x')? } else { part };
        if digits.len() != 3 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        index = index.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
    }
    Some((index, width))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InclusionQuery {
    index: u64,
    /// Size of the tree to prove it in; by default that of the newest checkpoint.
    #[serde(default)]
    size: Option<u64>,
}

/// What shows that an entry is in the log.
pub(super) async fn prove_inclusion(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let InclusionQuery { index, size } = input.query()?;
    let proof = guarded
        .act(Details::none(), move |admitted| {
            Ok(inclusion(admitted.control.log(), index, size).map_err(|e| from_audit(&e))?)
        })
        .await?;
    answer(&proof)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConsistencyQuery {
    old: u64,
    new: u64,
}

/// What shows that the log of `old` entries is the beginning of that of `new`.
pub(super) async fn prove_consistency(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let ConsistencyQuery { old, new } = input.query()?;
    let proof = guarded
        .act(Details::none(), move |admitted| {
            let log = admitted.control.log();
            let prove = || {
                let (proof, old_root, new_root) = (log.prove_consistency(old, new)?, log.root(old)?, log.root(new)?);
                Ok::<_, AuditError>(json!({
                    "old": old, "new": new, "proof": texts(&proof),
                    "old_root": old_root.to_base64(), "new_root": new_root.to_base64(),
                }))
            };
            Ok(prove().map_err(|e| from_audit(&e))?)
        })
        .await?;
    answer(&proof)
}

/// Reads the whole log from disk and checks it against its signed checkpoint.
pub(super) async fn verify(guarded: Guarded, _input: Input) -> Result<Response, Refusal> {
    let report = guarded
        .act(Details::none(), |admitted| {
            let log = admitted.control.log();
            let report = log.checkpoint().and_then(|_| log.verify()).map_err(|e| from_audit(&e))?;
            Ok(json!({
                "verified": true,
                "verifier_key": report.verifier_key,
                "entries": report.entries,
                "checkpoint_size": report.checkpoint.size,
                "root": report.root.to_base64(),
                "first_time": report.first_time,
                "last_time": report.last_time,
                "clock_set_back": report.clock_set_back,
            }))
        })
        .await?;
    answer(&report)
}

fn texts(hashes: &[Hash]) -> Vec<String> {
    hashes.iter().map(Hash::to_base64).collect()
}

#[cfg(test)]
mod tests {
    use creta_audit::tile_path;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn tile_paths_are_read_as_they_are_written(index in 0..10_000_000_000_u64, width in 1..=256_u64) {
            let path = tile_path(0, index, width);
            prop_assert_eq!(parse_index(path.strip_prefix("tile/0/").expect("level")), Some((index, width)));
        }
    }

    #[test]
    fn other_paths_are_no_tiles() {
        for bad in ["", "1", "0001", "x001", "001/002", "001.p/0", "001.p/256", "001.p/", ".p/3", "x1/002", "../001"] {
            assert_eq!(parse_index(bad), None, "{bad}");
        }
    }
}
