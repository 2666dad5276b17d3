//! How much one person learns of data that they may not see, in a day.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a person may ask in a day. Both can be configured downwards only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Budget {
    /// Questions about one feature.
    pub of_feature: u32,
    /// Questions about all features.
    pub of_day: u32,
}

impl Default for Budget {
    fn default() -> Self {
        Self::MOST
    }
}

impl Budget {
    /// The most there can be.
    pub const MOST: Budget = Budget { of_feature: 10, of_day: 50 };

    /// Whether neither number is beyond [`Budget::MOST`].
    pub fn is_within_most(self) -> bool {
        self.of_feature <= Self::MOST.of_feature && self.of_day <= Self::MOST.of_day
    }
}

/// What a person asked today.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spent {
    /// Days since 1970-01-01, UTC.
    pub day: i64,
    /// Questions by tenant and feature: `acme/User.age`.
    pub questions: BTreeMap<String, u32>,
}

/// A person asked more than their budget of the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the budget of {questions} questions a day {} is used up", if *.of_feature { "about this feature" } else { "about all features" })]
pub struct Overspent {
    /// The budget.
    pub questions: u32,
    /// Whether it is that of the feature, rather than of all.
    pub of_feature: bool,
}

impl Spent {
    /// With one more question on `day`; another day's are forgotten. Refused where the budget is used up.
    pub fn ask(&self, day: i64, about: &str, budget: Budget) -> Result<Self, Overspent> {
        // A clock that was set back does not give a second budget.
        let mut spent = if day > self.day { Self { day, ..Self::default() } } else { self.clone() };
        if spent.questions.values().copied().fold(0, u32::saturating_add) >= budget.of_day {
            return Err(Overspent { questions: budget.of_day, of_feature: false });
        }
        let of_feature = spent.questions.entry(about.to_owned()).or_default();
        if *of_feature >= budget.of_feature {
            return Err(Overspent { questions: budget.of_feature, of_feature: true });
        }
        *of_feature += 1;
        Ok(spent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(spent: Spent, day: i64, about: &str, times: u32) -> Result<Spent, Overspent> {
        (0..times).try_fold(spent, |spent, _| spent.ask(day, about, Budget { of_feature: 3, of_day: 5 }))
    }

    #[test]
    fn attack_ch19_a_budget_ends_for_a_feature_and_for_all_and_comes_back_with_the_next_day() {
        let spent = ask(Spent::default(), 7, "acme/User.age", 3).expect("three are there");
        assert_eq!(ask(spent.clone(), 7, "acme/User.age", 1), Err(Overspent { questions: 3, of_feature: true }));
        let spent = ask(spent, 7, "acme/User.city", 2).expect("five are there");
        assert_eq!(ask(spent.clone(), 7, "beta/User.age", 1), Err(Overspent { questions: 5, of_feature: false }));
        assert!(ask(spent.clone(), 6, "beta/User.age", 1).is_err(), "the clock was set back");
        assert_eq!(ask(spent, 8, "acme/User.age", 1).expect("a new day").questions.len(), 1);
    }

    #[test]
    fn a_budget_is_configured_downwards_only() {
        assert!(Budget::default().is_within_most());
        assert!(Budget { of_feature: 1, of_day: 0 }.is_within_most());
        assert!(!Budget { of_feature: 11, ..Budget::MOST }.is_within_most());
        assert!(!Budget { of_day: 51, ..Budget::MOST }.is_within_most());
    }
}
