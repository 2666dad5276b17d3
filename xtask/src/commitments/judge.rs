//! What follows from the results of tests: pure.

use std::collections::BTreeMap;
use std::fmt;

use creta_compliance::{Class, Commitment, Software};
use serde::Serialize;

/// What became of one named test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// No runner lists a test of this name.
    Missing,
    /// It ran and failed, or passed only when it was tried again.
    Failed,
    /// It is listed and did not run to its end: ignored, skipped, or the run broke off.
    NotRun,
    /// It ran once and passed.
    Passed,
}

/// Results by the tests' names in the registry.
pub(crate) type Outcomes = BTreeMap<String, Outcome>;

/// Whether a build proves a commitment. This says nothing of an organisation: what holds there is computed from evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A positive test, and where the bad case must be impossible an attack, ran; all passed.
    Proven,
    /// Its software is said to be here, and this stands against it; never empty.
    NotProven(Vec<Fault>),
    /// Its software is not said to be here.
    ToCome,
}

/// Why a commitment is not proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A named test did not pass.
    Test(String, Outcome),
    /// It names no test that shows it.
    NoPositive,
    /// Its bad case must be impossible, and it names no test that attacks it.
    NoAttack,
}

/// Judges one commitment. A test without a result is missing: nothing passes by being forgotten.
pub(crate) fn judge(row: &Commitment, outcomes: &Outcomes) -> Verdict {
    if row.software == Software::ToCome {
        return Verdict::ToCome;
    }
    let mut faults = Vec::new();
    if row.positive_tests.is_empty() {
        faults.push(Fault::NoPositive);
    }
    if row.attack_tests.is_empty() && row.class.contains(&Class::Enforced) {
        faults.push(Fault::NoAttack);
    }
    for test in row.positive_tests.iter().chain(&row.attack_tests) {
        match outcome_of(test, outcomes) {
            Outcome::Passed => {}
            outcome => faults.push(Fault::Test(test.clone(), outcome)),
        }
    }
    if faults.is_empty() { Verdict::Proven } else { Verdict::NotProven(faults) }
}

/// What became of a test.
pub(crate) fn outcome_of(test: &str, outcomes: &Outcomes) -> Outcome {
    outcomes.get(test).copied().unwrap_or(Outcome::Missing)
}

impl Verdict {
    /// `proven`, `not-proven` or `to-come`.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::NotProven(_) => "not-proven",
            Self::ToCome => "to-come",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Proven => f.write_str("proven"),
            Self::ToCome => f.write_str("to come"),
            Self::NotProven(faults) => {
                let faults: Vec<String> = faults.iter().map(Fault::to_string).collect();
                write!(f, "not proven: {}", faults.join("; "))
            }
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Test(test, Outcome::Missing) => write!(f, "`{test}` does not exist"),
            Self::Test(test, Outcome::NotRun) => write!(f, "`{test}` did not run"),
            Self::Test(test, Outcome::Failed | Outcome::Passed) => write!(f, "`{test}` failed"),
            Self::NoPositive => f.write_str("no test shows it"),
            Self::NoAttack => f.write_str("no test attacks it"),
        }
    }
}

#[cfg(test)]
mod tests {
    use creta_compliance::Registry;

    use super::*;

    const SHOWS: &str = "creta-x::it shows";
    const ATTACKS: &str = "pytest test_x.py::test_attack";

    /// An enforced commitment whose software is here, with one test of each kind.
    fn row() -> Commitment {
        let mut row = Registry::embedded().commitments().next().expect("some ship").clone();
        row.software = Software::Here;
        row.class = vec![Class::Enforced];
        row.positive_tests = vec![SHOWS.to_owned()];
        row.attack_tests = vec![ATTACKS.to_owned()];
        row
    }

    fn outcomes(of: &[(&str, Outcome)]) -> Outcomes {
        of.iter().map(|(test, outcome)| ((*test).to_owned(), *outcome)).collect()
    }

    fn faults(row: &Commitment, of: &[(&str, Outcome)]) -> Vec<String> {
        match judge(row, &outcomes(of)) {
            Verdict::NotProven(faults) => faults.iter().map(Fault::to_string).collect(),
            verdict => panic!("{verdict}"),
        }
    }

    const ALL_PASSED: &[(&str, Outcome)] = &[(SHOWS, Outcome::Passed), (ATTACKS, Outcome::Passed)];

    #[test]
    fn what_ran_and_passed_is_proven() {
        assert_eq!(judge(&row(), &outcomes(ALL_PASSED)), Verdict::Proven);
    }

    #[test]
    fn each_test_that_did_not_pass_is_named() {
        for (outcome, says) in
            [(Outcome::Missing, "does not exist"), (Outcome::Failed, "failed"), (Outcome::NotRun, "did not run")]
        {
            for (test, other) in [(SHOWS, ATTACKS), (ATTACKS, SHOWS)] {
                let found = faults(&row(), &[(test, outcome), (other, Outcome::Passed)]);
                assert_eq!(found, [format!("`{test}` {says}")]);
            }
        }
        let found = faults(&row(), &[(SHOWS, Outcome::Failed), (ATTACKS, Outcome::NotRun)]);
        assert_eq!(found, [format!("`{SHOWS}` failed"), format!("`{ATTACKS}` did not run")]);
    }

    #[test]
    fn a_test_that_nobody_has_heard_of_proves_nothing() {
        assert_eq!(faults(&row(), &[(ATTACKS, Outcome::Passed)]), [format!("`{SHOWS}` does not exist")]);
        let close = [
            (ATTACKS, Outcome::Passed),
            ("creta-x::it shows_", Outcome::Passed),
            ("creta-x::it show", Outcome::Passed),
        ];
        assert_eq!(faults(&row(), &close), [format!("`{SHOWS}` does not exist")], "nearly the name is not the name");
        assert_eq!(faults(&row(), &[]).len(), 2);
    }

    #[test]
    fn without_a_test_that_shows_it_nothing_is_proven() {
        let mut row = row();
        row.positive_tests.clear();
        assert_eq!(faults(&row, ALL_PASSED), ["no test shows it"]);
        row.class = vec![Class::Checked];
        assert_eq!(faults(&row, ALL_PASSED), ["no test shows it"]);
    }

    #[test]
    fn what_is_enforced_needs_an_attack_and_other_attacks_count_too() {
        let mut row = row();
        row.attack_tests.clear();
        assert_eq!(faults(&row, ALL_PASSED), ["no test attacks it"]);
        row.class = vec![Class::Checked, Class::Enforced];
        assert_eq!(faults(&row, ALL_PASSED), ["no test attacks it"]);
        row.class = vec![Class::Checked, Class::Programme];
        assert_eq!(judge(&row, &outcomes(ALL_PASSED)), Verdict::Proven);
        row.attack_tests = vec![ATTACKS.to_owned()];
        assert_eq!(
            faults(&row, &[(SHOWS, Outcome::Passed), (ATTACKS, Outcome::Failed)]),
            [format!("`{ATTACKS}` failed")]
        );
    }

    #[test]
    fn what_is_to_come_is_not_proven_by_tests_that_pass() {
        let mut row = row();
        row.software = Software::ToCome;
        assert_eq!(judge(&row, &outcomes(ALL_PASSED)), Verdict::ToCome);
        assert_eq!(judge(&row, &outcomes(&[])), Verdict::ToCome);
    }

    #[test]
    fn a_verdict_reads_as_a_line() {
        assert_eq!(Verdict::Proven.to_string(), "proven");
        assert_eq!(Verdict::ToCome.to_string(), "to come");
        let faults = vec![Fault::Test(SHOWS.to_owned(), Outcome::Missing), Fault::NoAttack];
        assert_eq!(
            Verdict::NotProven(faults).to_string(),
            "not proven: `creta-x::it shows` does not exist; no test attacks it"
        );
    }
}
