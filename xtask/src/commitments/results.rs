//! What test runners list and report: nextest's JSON list, pytest's list of node ids, JUnit files of both. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::judge::{Outcome, Outcomes};

/// Where the SDK's tests lie, as pytest sees it.
const PYTEST_FOLDER: &str = "tests/";

#[derive(Deserialize)]
struct List {
    #[serde(rename = "rust-suites")]
    suites: BTreeMap<String, Suite>,
}

#[derive(Deserialize)]
struct Suite {
    testcases: BTreeMap<String, serde::de::IgnoredAny>,
}

/// Every test of `cargo nextest list --message-format json`, as the registry names it: `<binary id> <test>`.
pub(crate) fn nextest_list(json: &str) -> Result<BTreeSet<String>, String> {
    let list: List = serde_json::from_str(json).map_err(|error| format!("nextest's list cannot be read: {error}"))?;
    let names = list
        .suites
        .iter()
        .flat_map(|(binary, suite)| suite.testcases.keys().map(move |test| format!("{binary} {test}")));
    Ok(names.collect())
}

/// Every test of `pytest --collect-only -q`, as the registry names it: `pytest <file>::<test>`. A test with parameters is
/// one test.
pub(crate) fn pytest_list(text: &str) -> BTreeSet<String> {
    text.lines().filter_map(pytest_name).collect()
}

fn pytest_name(node: &str) -> Option<String> {
    let node = node.split('[').next()?.strip_prefix(PYTEST_FOLDER)?;
    let (file, test) = node.split_once("::")?;
    (file.ends_with(".py") && !test.is_empty()).then(|| format!("pytest {file}::{test}"))
}

/// The results in a JUnit file of nextest.
pub(crate) fn nextest_results(xml: &str) -> Result<Outcomes, String> {
    results(xml, |suite, _, test| Some(format!("{suite} {test}")))
}

/// The results in a JUnit file of pytest, for tests that it listed. A test with parameters is as bad as its worst case.
pub(crate) fn pytest_results(xml: &str, listed: &BTreeSet<String>) -> Result<Outcomes, String> {
    // pytest writes `tests/a/test_x.py::TestY::test_z` as class `tests.a.test_x.TestY` and name `test_z`.
    let by_class: BTreeMap<String, &String> = listed
        .iter()
        .filter_map(|name| Some((format!("{PYTEST_FOLDER}{}", name.strip_prefix("pytest ")?), name)))
        .map(|(node, name)| (node.replacen(".py::", "::", 1).replace("::", ".").replace('/', "."), name))
        .collect();
    results(xml, |_, class, test| {
        let test = test.split('[').next().unwrap_or_default();
        by_class.get(&format!("{class}.{test}")).map(|name| (*name).clone())
    })
}

fn results(xml: &str, name: impl Fn(&str, &str, &str) -> Option<String>) -> Result<Outcomes, String> {
    let document = roxmltree::Document::parse(xml).map_err(|error| format!("test results cannot be read: {error}"))?;
    let mut outcomes = Outcomes::new();
    for case in document.descendants().filter(|node| node.has_tag_name("testcase")) {
        let of = |node: Option<roxmltree::Node<'_, '_>>, name| {
            node.and_then(|node| node.attribute(name).map(str::to_owned)).unwrap_or_default()
        };
        let (suite, class, test) = (of(case.parent(), "name"), of(Some(case), "classname"), of(Some(case), "name"));
        if let Some(name) = name(&suite, &class, &test) {
            let seen = outcome(case);
            outcomes.entry(name).and_modify(|known| *known = (*known).min(seen)).or_insert(seen);
        }
    }
    Ok(outcomes)
}

/// What a test case says. An element that is not known to be harmless is a failure.
fn outcome(case: roxmltree::Node<'_, '_>) -> Outcome {
    let of = |element: roxmltree::Node<'_, '_>| match element.tag_name().name() {
        "system-out" | "system-err" | "properties" => Outcome::Passed,
        "skipped" => Outcome::NotRun,
        _ => Outcome::Failed,
    };
    case.children().filter(roxmltree::Node::is_element).map(of).min().unwrap_or(Outcome::Passed)
}

/// What became of each wanted test: missing where nobody lists it, not run where it is listed without a result.
pub(crate) fn of_wanted<'a>(
    wanted: impl IntoIterator<Item = &'a str>,
    listed: &BTreeSet<String>,
    results: &Outcomes,
) -> Outcomes {
    wanted
        .into_iter()
        .map(|test| {
            let outcome = match results.get(test) {
                _ if !listed.contains(test) => Outcome::Missing,
                Some(outcome) => *outcome,
                None => Outcome::NotRun,
            };
            (test.to_owned(), outcome)
        })
        .collect()
}

/// The filter of nextest that selects these tests and no others. They are named as the registry names them.
pub(crate) fn nextest_filter<'a>(tests: impl IntoIterator<Item = &'a str>) -> String {
    let mut by_binary: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (binary, test) in tests.into_iter().filter_map(|test| test.split_once(' ')) {
        by_binary.entry(binary).or_default().push(test);
    }
    let binaries: Vec<String> = by_binary
        .iter()
        .map(|(binary, tests)| {
            let tests: Vec<String> = tests.iter().map(|test| format!("test(={test})")).collect();
            format!("(binary_id(={binary}) & ({}))", tests.join(" | "))
        })
        .collect();
    binaries.join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_list_of_nextest_gives_full_names() {
        let json = r#"{"rust-build-meta":{},"test-count":2,"rust-suites":{
            "creta-x::it":{"status":"listed","testcases":{"a::b":{"ignored":false},"c":{"ignored":true}}},
            "creta-x":{"testcases":{}}}}"#;
        assert_eq!(nextest_list(json), Ok(set(&["creta-x::it a::b", "creta-x::it c"])));
        assert!(nextest_list("{}").is_err_and(|error| error.contains("rust-suites")));
    }

    #[test]
    fn results_of_nextest_are_read_as_they_are_or_worse() {
        let xml = r#"<?xml version="1.0"?><testsuites name="nextest-run">
            <testsuite name="creta-x::it"><testcase name="good" classname="creta-x::it"><system-out>x &lt;failure/&gt;</system-out></testcase>
              <testcase name="bad"><failure message="m"/><system-err/></testcase>
              <testcase name="flaky"><flakyFailure/></testcase>
              <testcase name="skipped"><skipped/></testcase>
              <testcase name="odd"><whatever/></testcase>
              <testcase name="twice"/><testcase name="twice"><error/></testcase><testcase name="twice"/></testsuite>
            <testsuite name="creta-x"><testcase name="good"><failure/></testcase></testsuite></testsuites>"#;
        let results = nextest_results(xml).expect("well-formed");
        let of = |test: &str| results.get(test).copied();
        assert_eq!(of("creta-x::it good"), Some(Outcome::Passed));
        assert_eq!(of("creta-x good"), Some(Outcome::Failed), "another binary's test of the same name");
        for test in ["bad", "flaky", "odd", "twice"] {
            assert_eq!(of(&format!("creta-x::it {test}")), Some(Outcome::Failed), "{test}");
        }
        assert_eq!(of("creta-x::it skipped"), Some(Outcome::NotRun));
        assert_eq!(of("creta-x::it nobody"), None);
        assert!(nextest_results("<testsuites>").is_err(), "a file that breaks off");
        assert!(nextest_results("").is_err());
    }

    #[test]
    fn results_of_pytest_are_found_by_class_and_a_parameter_that_fails_counts() {
        let listed = pytest_list(
            "tests/test_client.py::test_a\ntests/test_client.py::test_b[x::y/z]\ntests/test_client.py::test_b[2]\n\
             tests/deep/test_more.py::TestC::test_d\nother/test_e.py::test_f\n\n4 tests collected in 0.1s\n",
        );
        let (a, b) = ("pytest test_client.py::test_a", "pytest test_client.py::test_b");
        let d = "pytest deep/test_more.py::TestC::test_d";
        assert_eq!(listed, set(&[a, b, d]));
        let xml = r#"<testsuites><testsuite name="pytest">
            <testcase classname="tests.test_client" name="test_a"/>
            <testcase classname="tests.test_client" name="test_b[x::y/z]"/>
            <testcase classname="tests.test_client" name="test_b[2]"><failure/></testcase>
            <testcase classname="tests.deep.test_more.TestC" name="test_d"><skipped/></testcase>
            <testcase classname="" name="tests.test_gone"><error/></testcase></testsuite></testsuites>"#;
        let results = pytest_results(xml, &listed).expect("well-formed");
        let expected = [(a, Outcome::Passed), (b, Outcome::Failed), (d, Outcome::NotRun)];
        assert_eq!(results, expected.map(|(name, outcome)| (name.to_owned(), outcome)).into());
    }

    #[test]
    fn a_result_counts_only_for_a_test_that_is_listed() {
        let results = [("x a", Outcome::Passed), ("x gone", Outcome::Passed)].map(|(n, o)| (n.to_owned(), o)).into();
        let wanted = of_wanted(["x a", "x b", "x gone"], &set(&["x a", "x b"]), &results);
        let expected = [("x a", Outcome::Passed), ("x b", Outcome::NotRun), ("x gone", Outcome::Missing)];
        assert_eq!(wanted, expected.map(|(name, outcome)| (name.to_owned(), outcome)).into());
    }

    #[test]
    fn the_filter_names_each_test_with_its_binary() {
        assert_eq!(
            nextest_filter(["a::it one::x", "b y", "a::it z"]),
            "(binary_id(=a::it) & (test(=one::x) | test(=z))) | (binary_id(=b) & (test(=y)))"
        );
    }
}
