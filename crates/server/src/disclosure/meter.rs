//! How much staff get in a day: measured for each of them, and bounded.

use std::sync::Arc;

use creta_model::Problem;

use super::counted::{DayCounts, Reserved};
use crate::register::Register;

/// Largest answer to staff: evidence packs are some megabytes.
pub(crate) const STAFF_ANSWER_BYTES_MAX: u64 = 64 << 20;
/// Most bytes to one of staff in a day.
pub(crate) const STAFF_DAY_BYTES_MAX: u64 = 512 << 20;
/// What a restart may cost somebody of their day.
const RESERVE_BYTES: u64 = 16 << 20;

/// Bytes that went to each of staff today, over restarts.
pub(crate) struct Meter(DayCounts);

impl Meter {
    pub(super) fn open(kept: Arc<Register<Reserved>>) -> Self {
        Self(DayCounts::open(kept, "bytes", (RESERVE_BYTES, STAFF_DAY_BYTES_MAX)))
    }

    /// Counts an answer, or refuses it.
    pub(crate) fn pass(&self, who: &str, day: i64, bytes: u64) -> Result<(), Problem> {
        if bytes > STAFF_ANSWER_BYTES_MAX || !self.0.take(who, day, bytes)? {
            let problem =
                Problem::new("access/staff-bytes", "whoever runs an environment gets no more than this from it");
            return Err(problem.with_help(format!(
                "ask for less: an answer has at most {} MiB, a day {} MiB",
                STAFF_ANSWER_BYTES_MAX >> 20,
                STAFF_DAY_BYTES_MAX >> 20
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disclosure::counted::tests::{kept, memory};

    #[test]
    fn attack_ch19_what_staff_get_ends_for_the_day_and_for_each() {
        let metadata = memory();
        let meter = Meter::open(kept(&metadata));
        for _ in 0..8 {
            meter.pass("ben", 7, STAFF_ANSWER_BYTES_MAX).expect("within the day");
        }
        assert_eq!(meter.pass("ben", 7, 1).expect_err("the day is used up").code, "access/staff-bytes");
        meter.pass("eve", 7, STAFF_ANSWER_BYTES_MAX).expect("somebody else");
        assert!(meter.pass("eve", 7, STAFF_ANSWER_BYTES_MAX + 1).is_err(), "one answer");
        let meter = Meter::open(kept(&metadata));
        assert!(meter.pass("ben", 7, 1).is_err(), "nor does a restart begin the day anew");
        meter.pass("ben", 8, 1).expect("the next day");
    }
}
