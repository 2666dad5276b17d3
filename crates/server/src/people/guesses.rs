//! How often somebody's password was guessed wrongly without a right one in between (NIST SP 800-63B section 3.2.2: at most a
//! hundred times).
//!
//! Slowing down ends no guessing: ten in a minute are five million in a year. So wrong ones are also counted without end, apart
//! for browsers that nobody knows and for those in which the password was right before. What strangers do closes the first
//! door and never the second, so that nobody keeps somebody out by guessing at their name; a right password in a browser that
//! is known, or an invitation, opens it again. Kept with the accounts each minute: a crash forgives ten guesses.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use creta_audit::{Details, Event};
use creta_iam::PrincipalId;
use creta_model::{Instant, Problem};

use super::People;
use crate::control_plane::ControlPlane;
use crate::intake::{Pager, Urgency};
use crate::problem::from_audit;

/// After so many wrong ones in a row, none is looked at.
pub(crate) const GUESSES_MAX: u32 = 100;

/// Which browsers guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Door {
    /// Any browser.
    Unknown,
    /// One in which that person's password was right before, or their own session.
    Known,
}

/// Wrong guesses in a row, of accounts that exist.
#[derive(Default)]
pub(super) struct Guesses(Mutex<BTreeMap<PrincipalId, Counts>>);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) unknown: u32,
    pub(super) known: u32,
    /// Whether they are not kept yet as they are.
    pub(super) changed: bool,
    /// Whether a door closed that nobody was told of yet.
    pub(super) closed: bool,
}

impl Counts {
    fn at(&mut self, door: Door) -> &mut u32 {
        match door {
            Door::Unknown => &mut self.unknown,
            Door::Known => &mut self.known,
        }
    }
}

impl Guesses {
    /// As they were kept.
    pub(super) fn load(kept: impl Iterator<Item = (PrincipalId, Counts)>) -> Self {
        Self(Mutex::new(kept.collect()))
    }

    /// Whether another guess is looked at.
    pub(super) fn may(&self, person: &PrincipalId, door: Door) -> bool {
        *self.lock().get(person).copied().unwrap_or_default().at(door) < GUESSES_MAX
    }

    /// One that was wrong. Says whether it was the last that is looked at.
    pub(super) fn wrong(&self, person: &PrincipalId, door: Door) -> bool {
        let mut all = self.lock();
        let counts = all.entry(person.clone()).or_default();
        counts.changed = true;
        let count = counts.at(door);
        *count = count.saturating_add(1);
        let closes = *count == GUESSES_MAX;
        counts.closed |= closes;
        closes
    }

    /// Whoever is invited anew begins anew.
    pub(super) fn forget(&self, person: &PrincipalId) {
        self.lock().remove(person);
    }

    /// One that was right: its door is as at first, and by the known one both are.
    pub(super) fn right(&self, person: &PrincipalId, door: Door) {
        let mut all = self.lock();
        let Some(counts) = all.get_mut(person) else { return };
        let after = match door {
            Door::Unknown => Counts { unknown: 0, ..*counts },
            Door::Known => Counts { unknown: 0, known: 0, ..*counts },
        };
        if after != *counts {
            *counts = Counts { changed: true, ..after };
        }
    }

    /// Those that changed since they were kept.
    pub(super) fn take_changed(&self) -> Vec<(PrincipalId, Counts)> {
        let mut all = self.lock();
        let changed = |(person, counts): (&PrincipalId, &mut Counts)| {
            let taken = (person.clone(), *counts);
            counts.closed = false;
            std::mem::take(&mut counts.changed).then_some(taken)
        };
        all.iter_mut().filter_map(changed).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PrincipalId, Counts>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl People {
    /// Keeps the counts of guesses, and wakes somebody where a door closed: each minute.
    pub(crate) fn keep_guesses(&self, control: &ControlPlane, pager: &Pager, now: Instant) -> Result<(), Problem> {
        for (person, counts) in self.local.guesses.take_changed() {
            self.local.keep(&person, counts)?;
            if !counts.closed {
                continue;
            }
            let details = Details::none().name("person", person.as_str()).map_err(|e| from_audit(&e))?;
            let event = Event::new("password.suspended", control.place()).with(details);
            control.record(event.for_commitment("CI-25"));
            let reference = format!(
                "guesses-{}",
                hex::encode(&creta_proof::Hash::of(&[person.as_str().as_bytes()]).as_bytes()[..8])
            );
            if let Err(error) = pager.ask(&reference, now, Urgency::Urgent) {
                tracing::error!(%error, "that somebody has to be paged could not be noted");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_ci25_a_hundred_wrong_ones_in_a_row_close_their_door_and_no_other() {
        let (guesses, ana) = (Guesses::default(), PrincipalId::parse("ana").expect("valid"));
        for number in 1..=GUESSES_MAX {
            assert!(guesses.may(&ana, Door::Unknown));
            assert_eq!(guesses.wrong(&ana, Door::Unknown), number == GUESSES_MAX, "{number}");
        }
        assert!(!guesses.may(&ana, Door::Unknown) && guesses.may(&ana, Door::Known));
        guesses.right(&ana, Door::Known);
        assert!(guesses.may(&ana, Door::Unknown), "she was there");
        for _ in 1..GUESSES_MAX {
            guesses.wrong(&ana, Door::Unknown);
        }
        guesses.right(&ana, Door::Unknown);
        guesses.wrong(&ana, Door::Unknown);
        assert!(guesses.may(&ana, Door::Unknown), "in a row");
        let kept = guesses.take_changed();
        assert!(matches!(kept.as_slice(), [(who, Counts { unknown: 1, known: 0, closed: true, .. })] if *who == ana));
        assert_eq!(guesses.take_changed(), []);
    }
}
