//! How many rows of values a person gets outside of development: enough to look at something, not enough to have it.

use std::sync::Arc;

use creta_model::Problem;

use super::counted::{DayCounts, Reserved};
use crate::register::Register;

/// Most rows of one question of a person.
pub(crate) const PERSON_QUESTION_ROWS_MAX: u64 = 100;
/// Most rows of all questions of a person in a day.
pub(crate) const PERSON_DAY_ROWS_MAX: u64 = 1_000;

/// What a restart may cost somebody of their day.
const RESERVE_ROWS: u64 = 50;

/// Rows that each person got today, over restarts.
pub(crate) struct PersonRows(DayCounts);

impl PersonRows {
    pub(super) fn open(kept: Arc<Register<Reserved>>) -> Self {
        Self(DayCounts::open(kept, "rows", (RESERVE_ROWS, PERSON_DAY_ROWS_MAX)))
    }

    /// Counts the rows of a question before it is answered, or refuses it.
    pub(crate) fn take(&self, who: &str, day: i64, rows: u64) -> Result<(), Problem> {
        if rows > PERSON_QUESTION_ROWS_MAX || !self.0.take(who, day, rows)? {
            return Err(no_download());
        }
        Ok(())
    }
}

/// Values in bulk do not go to people's machines.
pub(crate) fn no_download() -> Problem {
    Problem::new("access/no-download", "values of this environment do not go to people's machines in bulk").with_help(format!(
        "a person gets at most {PERSON_QUESTION_ROWS_MAX} rows of a question and {PERSON_DAY_ROWS_MAX} a day; build a training set \
         into a sink of your tenant (`creta train --sink NAME`), or work with made-up data (`creta synth`)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disclosure::counted::tests::{kept, memory};

    #[test]
    fn attack_ch14_small_questions_add_up() {
        let metadata = memory();
        let rows = PersonRows::open(kept(&metadata));
        assert_eq!(rows.take("ana", 7, 101).expect_err("in one question").code, "access/no-download");
        for _ in 0..1_000 {
            rows.take("ana", 7, 1).expect("within the day");
        }
        assert!(rows.take("ana", 7, 1).is_err(), "a row at a time is bulk too");
        let rows = PersonRows::open(kept(&metadata));
        assert!(rows.take("ana", 7, 1).is_err(), "nor does a restart begin the day anew");
        rows.take("eve", 7, 100).expect("somebody else");
        rows.take("ana", 8, 100).expect("the next day");
    }
}
