//! How often somebody's password was guessed wrongly without a right one in between (NIST SP 800-63B section 3.2.2: at most a
//! hundred times).
//!
//! Slowing down ends no guessing: ten in a minute are five million in a year. So wrong ones are also counted without end, apart
//! for browsers that nobody knows and for those in which the password was right before. What strangers do closes the first
//! door and never the second, so that nobody keeps somebody out by guessing at their name; a right password in a browser that
//! is known, or an invitation, opens it again. After ten in a row each further one at a door makes the next wait, twice as long
//! each time up to an hour, and their owner is told of all of them once they come in. Kept with the accounts each minute: a crash forgives ten guesses.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use creta_audit::{Details, Event};
use creta_iam::PrincipalId;
use creta_model::{Instant, Problem, Span};
use serde::{Deserialize, Serialize};

use super::People;
use crate::control_plane::ControlPlane;
use crate::intake::{Pager, Urgency};
use crate::problem::from_audit;

/// After so many wrong ones in a row, none is looked at.
pub(crate) const GUESSES_MAX: u32 = 100;

/// So many wrong ones in a row cost no time beside what limits everybody; after each further one the next has to wait.
const FREE: u32 = 10;
/// How long at first; twice as long after each (NIST SP 800-63B section 3.2.2: from half a minute to an hour).
const WAIT_SECONDS: u32 = 30;
const WAIT_SECONDS_MAX: u32 = 3_600;
/// How long somebody is told that wrong ones were typed for their account.
const NOTICED_FOR: Span = Span::days(30);

/// Until when nothing is looked at, after so many wrong ones in a row, the last of them at `last`.
pub(super) fn until(wrong: u32, last: Option<Instant>) -> Option<Instant> {
    let doublings = wrong.checked_sub(FREE)?;
    let seconds = WAIT_SECONDS.checked_shl(doublings.min(8)).unwrap_or(WAIT_SECONDS_MAX).min(WAIT_SECONDS_MAX);
    Some(last?.plus(Span::seconds(seconds)))
}

/// That it is too early for another one.
pub(super) fn has_to_wait(now: Instant, until: Instant) -> Problem {
    let seconds = (until.micros() - now.micros()) / 1_000_000 + 1;
    Problem::new("auth/too-many-failures", format!("too many wrong ones in a row; wait {seconds} s"))
        .with_help("if they were not yours, somebody knows your password: choose another one")
}

/// Wrong ones that somebody typed before a right one: their owner is told, who may not have been the one who typed them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Noticed {
    pub(crate) wrong: u32,
    pub(crate) last: Instant,
}

impl Noticed {
    /// What is known after a right one, before which there were `wrong` in a row.
    pub(super) fn after(before: Option<Self>, wrong: u32, last: Option<Instant>) -> Option<Self> {
        let Some(last) = last.filter(|_| wrong > 0) else { return before };
        let before = before.filter(|before| before.is_new(last)).map_or(0, |before| before.wrong);
        Some(Self { wrong: before.saturating_add(wrong), last })
    }

    /// Whether it is still told.
    pub(crate) fn is_new(&self, now: Instant) -> bool {
        now <= self.last.plus(NOTICED_FOR)
    }
}

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
    /// When the last of each was typed.
    pub(super) at: [Option<Instant>; 2],
    /// What their owner is told.
    pub(super) noticed: Option<Noticed>,
    /// Whether they are not kept yet as they are.
    pub(super) changed: bool,
    /// Whether a door closed that nobody was told of yet.
    pub(super) closed: bool,
}

impl Counts {
    fn of(&mut self, door: Door) -> (&mut u32, &mut Option<Instant>) {
        let [unknown_at, known_at] = &mut self.at;
        match door {
            Door::Unknown => (&mut self.unknown, unknown_at),
            Door::Known => (&mut self.known, known_at),
        }
    }
}

impl Guesses {
    /// As they were kept.
    pub(super) fn load(kept: impl Iterator<Item = (PrincipalId, Counts)>) -> Self {
        Self(Mutex::new(kept.collect()))
    }

    /// Whether another guess is looked at: not after a hundred wrong ones, nor before the wait after the last one is over.
    /// Whoever guesses is told nothing of either, since of accounts that do not exist there is nothing to tell.
    pub(super) fn may(&self, person: &PrincipalId, door: Door, now: Instant) -> bool {
        let mut counts = self.lock().get(person).copied().unwrap_or_default();
        let (count, last) = counts.of(door);
        *count < GUESSES_MAX && until(*count, *last).is_none_or(|until| until <= now)
    }

    /// One that was wrong. Says whether it was the last that is looked at.
    pub(super) fn wrong(&self, person: &PrincipalId, door: Door, now: Instant) -> bool {
        let mut all = self.lock();
        let counts = all.entry(person.clone()).or_default();
        counts.changed = true;
        let (count, last) = counts.of(door);
        (*count, *last) = (count.saturating_add(1), Some(now));
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
        let [unknown_at, known_at] = counts.at;
        let noticed = Noticed::after(counts.noticed, counts.unknown, unknown_at);
        let after = match door {
            Door::Unknown => Counts { unknown: 0, at: [None, known_at], noticed, ..*counts },
            Door::Known => {
                let noticed = Noticed::after(noticed, counts.known, known_at);
                Counts { unknown: 0, known: 0, at: [None; 2], noticed, ..*counts }
            }
        };
        if after != *counts {
            *counts = Counts { changed: true, ..after };
        }
    }

    /// What somebody is told of wrong passwords.
    pub(super) fn noticed(&self, person: &PrincipalId) -> Option<Noticed> {
        self.lock().get(person).and_then(|counts| counts.noticed)
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
    /// What somebody is told: how many wrong passwords and wrong codes were typed for their account before right ones.
    pub(crate) fn noticed(&self, person: &PrincipalId, now: Instant) -> [Option<Noticed>; 2] {
        let codes = self.authenticators.with(person.as_str(), |own| own.noticed).flatten();
        [self.local.guesses.noticed(person), codes].map(|noticed| noticed.filter(|noticed| noticed.is_new(now)))
    }

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

    fn at(seconds: i64) -> Instant {
        Instant::from_micros(1_767_225_600_000_000 + seconds * 1_000_000).expect("valid")
    }

    #[test]
    fn attack_ci25_a_hundred_wrong_ones_in_a_row_close_their_door_and_no_other() {
        let (guesses, ana) = (Guesses::default(), PrincipalId::parse("ana").expect("valid"));
        for number in 1..=GUESSES_MAX {
            let now = at(i64::from(number) * 3_600);
            assert!(guesses.may(&ana, Door::Unknown, now), "{number}");
            assert_eq!(guesses.wrong(&ana, Door::Unknown, now), number == GUESSES_MAX, "{number}");
        }
        let now = at(1_000_000);
        assert!(!guesses.may(&ana, Door::Unknown, now) && guesses.may(&ana, Door::Known, now));
        guesses.right(&ana, Door::Known);
        assert!(guesses.may(&ana, Door::Unknown, now), "she was there");
        assert_eq!(guesses.noticed(&ana), Some(Noticed { wrong: 100, last: at(360_000) }));
        for _ in 1..FREE {
            guesses.wrong(&ana, Door::Unknown, now);
        }
        guesses.right(&ana, Door::Unknown);
        guesses.wrong(&ana, Door::Unknown, now);
        assert!(guesses.may(&ana, Door::Unknown, now), "in a row");
        assert_eq!(guesses.noticed(&ana), Some(Noticed { wrong: 109, last: now }));
        let kept = guesses.take_changed();
        assert!(matches!(kept.as_slice(), [(who, Counts { unknown: 1, known: 0, closed: true, .. })] if *who == ana));
        assert_eq!(guesses.take_changed(), []);
    }

    #[test]
    fn attack_ci25_each_wrong_one_after_ten_makes_the_next_wait_twice_as_long() {
        let (guesses, ana) = (Guesses::default(), PrincipalId::parse("ana").expect("valid"));
        for _ in 0..FREE {
            assert!(guesses.may(&ana, Door::Unknown, at(0)));
            guesses.wrong(&ana, Door::Unknown, at(0));
        }
        let mut now = 0;
        for seconds in [30, 60, 120, 240, 480, 960, 1_920, 3_600, 3_600, 3_600] {
            assert!(!guesses.may(&ana, Door::Unknown, at(now + seconds - 1)), "{seconds}");
            assert!(guesses.may(&ana, Door::Known, at(now)), "what strangers do keeps nobody out where she is known");
            now += seconds;
            assert!(guesses.may(&ana, Door::Unknown, at(now)), "{seconds}");
            guesses.wrong(&ana, Door::Unknown, at(now));
        }
        // Over a restart too.
        let again = Guesses::load(guesses.take_changed().into_iter());
        assert!(!again.may(&ana, Door::Unknown, at(now + 3_599)) && again.may(&ana, Door::Unknown, at(now + 3_600)));
        again.right(&ana, Door::Unknown);
        assert!(again.may(&ana, Door::Unknown, at(now)), "a right one begins anew");
        // What was told a month ago is told no more.
        let told = again.noticed(&ana).expect("twenty");
        assert!(told.wrong == 20 && told.is_new(at(now)) && !told.is_new(at(now + 31 * 86_400)));
    }
}
