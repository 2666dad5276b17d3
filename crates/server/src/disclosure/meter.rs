//! How much staff get in a day: measured for each of them, and bounded.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use creta_model::Problem;

/// Largest answer to staff: evidence packs are some megabytes.
pub(crate) const STAFF_ANSWER_BYTES_MAX: u64 = 64 << 20;
/// Most bytes to one of staff in a day.
pub(crate) const STAFF_DAY_BYTES_MAX: u64 = 512 << 20;
/// How many of staff are counted apart; more than that share one count.
const COUNTED_MAX: usize = 10_000;

/// Bytes that went to each of staff today. Kept in memory: a restart, which nobody at a route can cause, begins anew.
#[derive(Default)]
pub(crate) struct Meter(Mutex<HashMap<String, (i64, u64)>>);

impl Meter {
    /// Counts an answer, or refuses it.
    pub(crate) fn pass(&self, who: &str, day: i64, bytes: u64) -> Result<(), Problem> {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counted.retain(|_, (of, _)| *of >= day);
        let who = if counted.len() < COUNTED_MAX || counted.contains_key(who) { who } else { "" };
        let (_, sent) = counted.entry(who.to_owned()).or_insert((day, 0));
        let total = sent.saturating_add(bytes);
        if bytes > STAFF_ANSWER_BYTES_MAX || total > STAFF_DAY_BYTES_MAX {
            let problem =
                Problem::new("access/staff-bytes", "whoever runs an environment gets no more than this from it");
            return Err(problem.with_help(format!(
                "ask for less: an answer has at most {} MiB, a day {} MiB",
                STAFF_ANSWER_BYTES_MAX >> 20,
                STAFF_DAY_BYTES_MAX >> 20
            )));
        }
        *sent = total;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_ch19_what_staff_get_ends_for_the_day_and_for_each() {
        let meter = Meter::default();
        for _ in 0..8 {
            meter.pass("ben", 7, STAFF_ANSWER_BYTES_MAX).expect("within the day");
        }
        assert_eq!(meter.pass("ben", 7, 1).expect_err("the day is used up").code, "access/staff-bytes");
        meter.pass("eve", 7, STAFF_ANSWER_BYTES_MAX).expect("somebody else");
        assert!(meter.pass("eve", 7, STAFF_ANSWER_BYTES_MAX + 1).is_err(), "one answer");
        meter.pass("ben", 8, 1).expect("the next day");
    }
}
