//! Refusals that come too fast for an entry each: one entry a minute and kind, with a count (R5).

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use creta_audit::{AuditError, Details, Event};
use creta_compliance::detail;
use creta_iam::Place;

use crate::control_plane::ControlPlane;

/// Between two entries of one kind.
const ENTRY_EVERY: Duration = Duration::from_secs(60);

/// What was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A report of a security issue, in a flood.
    Report,
    /// A TLS handshake that was not one, or offered nothing that is spoken here.
    Handshake,
    /// A store older than the log knows it.
    OlderStore,
    /// An artefact that the organisation issued to itself.
    OwnIssuer,
}

impl Kind {
    const fn action(self) -> &'static str {
        match self {
            Self::Report => "report.refused",
            Self::Handshake => "handshake.refused",
            Self::OlderStore => "older-store.refused",
            Self::OwnIssuer => "artefact.refused",
        }
    }

    /// The commitment that the refusal keeps.
    const fn commitment(self) -> &'static str {
        match self {
            Self::Report => "CH-63",
            Self::Handshake => "CI-13",
            Self::OlderStore => "CH-44",
            Self::OwnIssuer => "CI-04",
        }
    }
}

/// Counts what was refused since the last entry. Memory is bounded by the number of kinds.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<BTreeMap<Kind, Waiting>>);

#[derive(Debug, Default, Clone, Copy)]
struct Waiting {
    count: u64,
    written: Option<Duration>,
}

impl Refusals {
    /// Counts one. Never waits for a disk.
    pub(crate) fn count(&self, kind: Kind) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(kind).or_default().count += 1;
    }

    /// What has to be written now. `now` is monotonic time; with `all`, whatever waits, since nothing comes after.
    fn due(&self, now: Duration, all: bool) -> Vec<(Kind, u64)> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut due = Vec::new();
        for (kind, waiting) in waiting.iter_mut().filter(|(_, waiting)| waiting.count > 0) {
            if all || waiting.written.is_none_or(|written| now >= written + ENTRY_EVERY) {
                due.push((*kind, std::mem::take(&mut waiting.count)));
                waiting.written = Some(now);
            }
        }
        due
    }
}

/// Counts a refusal; it stands in the log within a minute.
pub(crate) fn count(control: &ControlPlane, kind: Kind) {
    control.refusals().count(kind);
    write(control, false);
}

/// Writes what is due; with `all`, whatever waits.
pub(crate) fn write(control: &ControlPlane, all: bool) {
    if control.log().halted().is_some() {
        return;
    }
    for (kind, count) in control.refusals().due(control.platform().clock.monotonic(), all) {
        match event(kind, count, control.place()) {
            Ok(event) => control.record(event),
            Err(error) => tracing::error!(%error, "refusals could not be recorded"),
        }
    }
}

/// The entry for some refusals of one kind.
pub(crate) fn event(kind: Kind, count: u64, place: Place) -> Result<Event, AuditError> {
    let details = Details::none().count(detail::COUNT, count)?;
    Ok(Event::new(kind.action(), place).with(details).for_commitment(kind.commitment()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_r5_a_flood_of_refusals_is_one_entry_a_minute_and_none_is_lost() {
        let refusals = Refusals::default();
        let (mut entries, mut counted) = (0, 0);
        for second in 0..300 {
            for _ in 0..1_000 {
                refusals.count(Kind::Handshake);
            }
            for (kind, count) in refusals.due(Duration::from_secs(second), false) {
                assert_eq!(kind, Kind::Handshake);
                entries += 1;
                counted += count;
            }
        }
        assert_eq!(entries, 5);
        counted += refusals.due(Duration::from_secs(300), true).iter().map(|(_, count)| count).sum::<u64>();
        assert_eq!(counted, 300_000);
        assert_eq!(refusals.due(Duration::from_secs(400), true), []);
    }

    #[test]
    fn kinds_do_not_wait_for_one_another() {
        let refusals = Refusals::default();
        refusals.count(Kind::Report);
        assert_eq!(refusals.due(Duration::ZERO, false), [(Kind::Report, 1)]);
        refusals.count(Kind::OlderStore);
        refusals.count(Kind::Report);
        assert_eq!(refusals.due(Duration::from_secs(1), false), [(Kind::OlderStore, 1)]);
        assert_eq!(refusals.due(Duration::from_secs(60), false), [(Kind::Report, 1)]);
    }
}
