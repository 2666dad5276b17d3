//! Rules of RFC 5545 in local time, turned into instants.
//!
//! The rule is walked in local time, as if there were no zones, and each local time is turned into an instant only then.
//! (A library that walks it in a zone drops days on which midnight itself is skipped or doubled; a duty must not get lost
//! like that.) By RFC 5545 §3.3.5, a local time that a change of clocks skips is read with the offset before the change,
//! and one that it doubles means the first.

use chrono::{Days, LocalResult, NaiveDateTime, Offset as _, TimeDelta, TimeZone as _, Utc};
use creta_model::Instant;
use rrule::{Frequency, RRule, RRuleSet, Unvalidated};

use super::CadenceError;

const START_FORM: &str = "%Y-%m-%dT%H:%M:%S";

/// A rule must open at least once within so many days of its start: 29 February may take eight years.
const FIRST_WITHIN_DAYS: u64 = 9 * 366;

/// When something opens, again and again.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// In local time, written as if it were UTC.
    rule: RRuleSet,
    zone: chrono_tz::Tz,
}

impl Schedule {
    /// Reads a rule (`FREQ=MONTHLY;INTERVAL=3`), a local start (`2026-01-01T09:00:00`) and a zone (`Europe/Vienna`).
    ///
    /// Refused are rules finer than daily, with times of day (they come from the start), with `COUNT` or `UNTIL` (what is
    /// due does not end by itself), and rules that never open.
    pub fn parse(rule: &str, start: &str, zone: &str) -> Result<Self, CadenceError> {
        let wrong = |why| CadenceError::Rule { given: rule.to_owned(), rule: why };
        let local = NaiveDateTime::parse_from_str(start, START_FORM)
            .ok()
            .filter(|local| local.format(START_FORM).to_string() == start)
            .ok_or_else(|| CadenceError::Start { given: start.to_owned() })?;
        let zone: chrono_tz::Tz = zone.parse().map_err(|_| CadenceError::Zone { given: zone.to_owned() })?;
        let plain = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b"=;,+-".contains(&b);
        if rule.is_empty() || !rule.bytes().all(plain) {
            return Err(wrong("write it by RFC 5545, for example `FREQ=MONTHLY;INTERVAL=3`"));
        }
        let names = || rule.split(';').map(|part| part.split('=').next().unwrap_or_default());
        if names().any(|name| matches!(name, "COUNT" | "UNTIL")) {
            return Err(wrong("leave out `COUNT` and `UNTIL`; what is due does not end by itself"));
        }
        if names().any(|name| matches!(name, "BYHOUR" | "BYMINUTE" | "BYSECOND")) {
            return Err(wrong("leave out the time of day; it comes from the start"));
        }
        let parsed: RRule<Unvalidated> = rule.parse().map_err(|_| wrong("it is not a rule of RFC 5545"))?;
        if !matches!(parsed.get_freq(), Frequency::Daily | Frequency::Weekly | Frequency::Monthly | Frequency::Yearly) {
            return Err(wrong("use `DAILY`, `WEEKLY`, `MONTHLY` or `YEARLY`"));
        }
        let floating = rrule::Tz::UTC.from_utc_datetime(&local);
        let parsed = parsed.validate(floating).map_err(|_| wrong("its parts do not fit together"))?;
        let schedule = Self { rule: RRuleSet::new(floating).rrule(parsed).limit(), zone };
        let by = local.checked_add_days(Days::new(FIRST_WITHIN_DAYS));
        let first = schedule.locals().next();
        match first {
            Some(first) if by.is_some_and(|by| first <= by) => Ok(schedule),
            _ => Err(wrong("it does not open within nine years of its start")),
        }
    }

    /// Instants from `from` up to but not including `to`, in order, each once.
    pub fn between(&self, from: Instant, to: Instant) -> Vec<Instant> {
        let mut instants = self.up_to(to);
        instants.retain(|at| (from..to).contains(at));
        instants
    }

    /// Every instant up to and including `now`, in order, and the next one after it.
    pub fn until_after(&self, now: Instant) -> Vec<Instant> {
        // Two local days may lie more than a day apart from their instants, so the next is looked for among a few.
        let beyond = self.locals().filter_map(|local| self.instant(local)).filter(|at| *at > now).take(3).min();
        let mut instants = self.up_to(now);
        instants.retain(|at| *at <= now);
        instants.extend(beyond);
        instants
    }

    /// At least all instants up to and including `to`.
    fn up_to(&self, to: Instant) -> Vec<Instant> {
        let enough = utc(to).checked_add_days(Days::new(3)).unwrap_or(NaiveDateTime::MAX);
        let locals = self.locals().take_while(|local| *local <= enough);
        let mut instants: Vec<Instant> = locals.filter_map(|local| self.instant(local)).collect();
        instants.sort_unstable();
        instants.dedup();
        instants
    }

    fn locals(&self) -> impl Iterator<Item = NaiveDateTime> {
        self.rule.into_iter().map(|at| at.naive_utc())
    }

    /// `None` outside the years that an instant can show.
    fn instant(&self, local: NaiveDateTime) -> Option<Instant> {
        let at = match self.zone.from_local_datetime(&local) {
            LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => at.naive_utc(),
            LocalResult::None => local - self.offset_before(local),
        };
        Instant::from_micros(at.and_utc().timestamp_micros()).ok()
    }

    /// The offset in force before the change of clocks that skips `local`.
    fn offset_before(&self, local: NaiveDateTime) -> TimeDelta {
        let earlier =
            (1..=26).filter_map(|hours| self.zone.from_local_datetime(&(local - TimeDelta::hours(hours))).latest());
        let offset = earlier.map(|at| at.offset().fix().local_minus_utc()).next();
        TimeDelta::seconds(i64::from(offset.expect("no change of clocks skips more than a day")))
    }
}

fn utc(at: Instant) -> NaiveDateTime {
    chrono::DateTime::<Utc>::from_timestamp_micros(at.micros()).expect("an instant is in chrono's range").naive_utc()
}
