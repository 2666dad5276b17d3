//! Who saw a tenant's data: every access to it, staff's too, as the tenant's people may read it (CH-43).

use axum::response::Response;
use creta_audit::Entry;
use maud::{Markup, html};
use serde::Deserialize;

use super::frame::Frame;
use super::words::moment;
use crate::context::Guarded;
use crate::limits::AUDIT_ENTRIES_MAX;
use crate::problem::Refusal;
use crate::routes::audit::{Accesses, accesses};

/// Features that are named in a line.
const FEATURES_SHOWN: usize = 6;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// Entries of the log before this one; without it, the newest.
    #[serde(default)]
    before: Option<u64>,
}

pub(super) async fn page(guarded: Guarded, asked: Asked) -> Result<Response, Refusal> {
    let frame = Frame::of(&guarded);
    let Accesses { seen, start, size } = accesses(guarded, move |size| {
        let end = asked.before.unwrap_or(size).min(size);
        end.saturating_sub(AUDIT_ENTRIES_MAX)..end
    })
    .await?;
    let end = asked.before.unwrap_or(size).min(size);
    let body = html! {
        p { "Each access to your data and definitions is an entry of a log that nobody can change, those of staff included. "
            code { "creta audit access --prove FOLDER" } " writes proofs that you can check without this server." }
        @if seen.is_empty() { p class="none" { "No access to your data in these entries of the log." } }
        @else {
            div class="wide" tabindex="0" role="region" aria-label="Accesses" {
                table {
                    thead { tr { th scope="col" { "When" } th scope="col" { "Who" } th scope="col" { "What" } th scope="col" { "Features" } th scope="col" { "Decision" } } }
                    tbody { @for (_, entry) in seen.iter().rev() { (row(entry)) } }
                }
            }
        }
        nav aria-label="Other entries" {
            @if start > 0 { a href={ "/my/accesses?before=" (start) } { "Older" } " " }
            @if end < size { a href="/my/accesses" { "Newest" } }
        }
    };
    Ok(frame.page("/my/accesses", "Who saw our data", &body))
}

fn row(entry: &Entry) -> Markup {
    let named = entry.features.iter().flat_map(|features| features.names.iter().flatten()).take(FEATURES_SHOWN);
    let features: Vec<&str> = named.map(String::as_str).collect();
    let more = entry.features.as_ref().map_or(0, |features| features.count as usize).saturating_sub(features.len());
    html! {
        tr {
            td data-label="When" { (moment(entry.time)) }
            td data-label="Who" {
                @match &entry.actor {
                    Some(actor) => { (actor.id()) @if actor.scope().is_none() { " " strong class="alert" { "staff" } } },
                    None => "the server itself",
                }
            }
            td data-label="What" { (entry.action) }
            td data-label="Features" { (features.join(", ")) @if more > 0 { @if !features.is_empty() { " and " } (more) @if !features.is_empty() { " more" } } }
            td data-label="Decision" { @if let Some(decision) = &entry.decision { (serde_json::json!(decision).as_str().unwrap_or_default()) } }
        }
    }
}
