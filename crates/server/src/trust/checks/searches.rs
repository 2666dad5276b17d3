//! No computer that people work from holds a value that was planted in customers' data (CH-14).

use creta_compliance::Observation;
use creta_identity::device::{LatestSearch, SearchAsked, canary};
use creta_model::{Instant, Span};
use serde_json::json;

use super::{Check, Seen, World};
use crate::people::devices::canary_of;

/// How long a search counts, as a report does at most.
const COUNTS: Span = Span::hours(24);

pub(super) struct WorkstationValues;

impl Check for WorkstationValues {
    fn id(&self) -> &'static str {
        "workstation-values"
    }

    /// A planted value in a file, searched for as devices do; a computer that found one, and one that was not searched.
    fn notices_planted_fault(&self, world: &World<'_>) -> Result<bool, String> {
        let (control, now) = (&world.app.control, world.app.control.platform().clock.now());
        let ours = canary_of(control, &world.probes.0[0].tenant);
        let asked = SearchAsked::new(&[], &[7; 32], [ours.clone()]);
        let finds = |text: &str| {
            let mut searching = asked.begin();
            text.as_bytes().chunks(5).for_each(|piece| searching.add(piece));
            searching.found()
        };
        let search =
            |found, made| Some(LatestSearch { made, files: 1, unreadable: 0, found, found_earlier: 0, since: None });
        let computers =
            [("clean", search(0, now)), ("bad", search(1, now)), ("old", search(0, now.minus(COUNTS))), ("none", None)];
        let computers = computers.map(|(name, search)| (name.to_owned(), search));
        let (seen, unknown) = look(&computers, now);
        let found: Vec<&str> = seen.0.findings.iter().map(|finding| finding.subject.as_str()).collect();
        Ok(finds(&format!("7,{ours}")) && !finds(&canary(&[7; 16])) && found == ["bad"] && unknown == 2)
    }

    fn observe(&self, world: &World<'_>) -> Result<Observation, String> {
        let devices = &world.app.people.devices;
        let standard = devices.require_standard().map_err(|problem| problem.message)?;
        if standard.search.is_none() {
            return Err("the standard for devices names no folders to search: `[devices.standard.search]`".to_owned());
        }
        let living = devices.living();
        if living.is_empty() {
            return Err("no computer is enrolled yet; `creta device enrol` enrols one".to_owned());
        }
        let named = |id: &str| format!("device:{}", id.get(..12).unwrap_or_default());
        let computers: Vec<_> =
            living.iter().map(|device| (named(device.id.as_str()), device.searched().cloned())).collect();
        let (seen, unknown) = look(&computers, world.app.control.platform().clock.now());
        if seen.0.findings.is_empty() && unknown > 0 {
            return Err(format!("{unknown} of {} computers were not searched within a day", computers.len()));
        }
        Ok(seen.raw(json!({ "computers": computers.len(), "not_searched": unknown })))
    }
}

/// Which computers hold a planted value, and how many were not searched lately.
fn look(computers: &[(String, Option<LatestSearch>)], now: Instant) -> (Seen, usize) {
    let (mut seen, mut unknown) = (Seen::default(), 0);
    for (name, searched) in computers {
        seen.subject(name);
        match searched {
            // What was found stays until a later search finds nothing.
            Some(searched) if searched.found > 0 => {
                let says =
                    format!("{} files on a computer hold a value that was planted in customers' data", searched.found);
                seen.finding(name, "workstation/value", says);
            }
            // Told apart: the value was replaced since, which frees nobody of what they copied before.
            Some(searched) if searched.found_earlier > 0 => {
                let says = format!(
                    "{} files on a computer hold a value that was planted in customers' data and replaced within 90 days",
                    searched.found_earlier
                );
                seen.finding(name, "workstation/earlier-value", says);
            }
            Some(searched) if now < searched.made.plus(COUNTS) => {}
            _ => unknown += 1,
        }
    }
    (seen, unknown)
}
