//! How many rows of values a person gets outside of development: enough to look at something, not enough to have it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use creta_model::Problem;

/// Most rows of one question of a person.
pub(crate) const PERSON_QUESTION_ROWS_MAX: u64 = 100;
/// Most rows of all questions of a person in a day.
pub(crate) const PERSON_DAY_ROWS_MAX: u64 = 1_000;

/// Rows that each person got today. Kept in memory: a restart, which nobody at a route can cause, begins anew.
#[derive(Default)]
pub(crate) struct PersonRows(Mutex<HashMap<String, (i64, u64)>>);

impl PersonRows {
    /// Counts the rows of a question before it is answered, or refuses it.
    pub(crate) fn take(&self, who: &str, day: i64, rows: u64) -> Result<(), Problem> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.retain(|_, (of, _)| *of >= day);
        let (_, before) = taken.entry(who.to_owned()).or_insert((day, 0));
        let total = before.saturating_add(rows);
        if rows > PERSON_QUESTION_ROWS_MAX || total > PERSON_DAY_ROWS_MAX {
            return Err(no_download());
        }
        *before = total;
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

    #[test]
    fn attack_ch14_small_questions_add_up() {
        let rows = PersonRows::default();
        assert_eq!(rows.take("ana", 7, 101).expect_err("in one question").code, "access/no-download");
        for _ in 0..1_000 {
            rows.take("ana", 7, 1).expect("within the day");
        }
        assert!(rows.take("ana", 7, 1).is_err(), "a row at a time is bulk too");
        rows.take("eve", 7, 100).expect("somebody else");
        rows.take("ana", 8, 100).expect("the next day");
    }
}
