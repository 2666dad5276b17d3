//! `cargo xtask commitments`: which commitments this build proves. The registry names the tests; here they are looked up,
//! run and judged. What an organisation has met is another number, and comes from evidence.

mod judge;
mod results;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use creta_compliance::{Commitment, Registry};
use serde::Serialize;

use self::judge::{Outcome, Outcomes, Verdict, judge, outcome_of};

/// The form of the file that this writes.
const FORMAT: &str = "creta.proven/1";
/// nextest writes results below the workspace, wherever it builds.
const NEXTEST_RESULTS: &str = "target/nextest/commitments/results.xml";
/// nextest ends with this when a test fails, pytest with 1.
const NEXTEST_FAILED: i32 = 100;
const PYTEST_FAILED: i32 = 1;

#[derive(Serialize)]
struct Proven<'a> {
    format: &'a str,
    version: &'a str,
    /// Absent outside a checkout.
    commit: Option<String>,
    /// Whether files differed from that commit.
    edited: bool,
    proven: usize,
    total: usize,
    commitments: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    id: &'a str,
    title: &'a str,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    faults: Vec<String>,
    positive_tests: Vec<Test<'a>>,
    attack_tests: Vec<Test<'a>>,
}

#[derive(Serialize)]
struct Test<'a> {
    test: &'a str,
    outcome: Outcome,
}

/// Runs everything and prints one line for each commitment. Gives whether every one whose software is here is proven; the
/// error says why that could not be found out.
pub(crate) fn run(root: &Path) -> Result<bool, String> {
    let registry = Registry::embedded();
    let named = || registry.commitments().flat_map(|row| row.positive_tests.iter().chain(&row.attack_tests));
    let (in_python, in_rust): (BTreeSet<&str>, BTreeSet<&str>) =
        named().map(String::as_str).partition(|test| test.starts_with("pytest "));
    let mut outcomes = rust(root, &in_rust)?;
    outcomes.extend(python(root, &in_python)?);

    let verdicts: Vec<(&Commitment, Verdict)> =
        registry.commitments().map(|row| (row, judge(row, &outcomes))).collect();
    let proven = verdicts.iter().filter(|(_, verdict)| *verdict == Verdict::Proven).count();
    let file = target(root).join("commitments.json");
    let written = serde_json::to_vec_pretty(&Proven {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION"),
        commit: git(root, &["rev-parse", "HEAD"]),
        edited: git(root, &["status", "--porcelain"]).is_none_or(|changes| !changes.is_empty()),
        proven,
        total: verdicts.len(),
        commitments: verdicts.iter().map(|(row, verdict)| report(row, verdict, &outcomes)).collect(),
    });
    let failed = |error: std::io::Error| format!("{}: {error}", file.display());
    std::fs::write(&file, written.expect("verdicts have a JSON form")).map_err(failed)?;

    let mut out = std::io::stdout().lock();
    for (row, verdict) in &verdicts {
        writeln!(out, "{:<6}  {:<60}  {verdict}", row.id.as_str(), row.title).map_err(failed)?;
    }
    writeln!(out, "proven {proven} of {} (this build)", verdicts.len()).map_err(failed)?;
    Ok(verdicts.iter().all(|(_, verdict)| !matches!(verdict, Verdict::NotProven(_))))
}

fn report<'a>(row: &'a Commitment, verdict: &Verdict, outcomes: &Outcomes) -> Row<'a> {
    let tests = |of: &'a [String]| of.iter().map(|test| Test { test, outcome: outcome_of(test, outcomes) }).collect();
    let faults = match verdict {
        Verdict::NotProven(faults) => faults.iter().map(ToString::to_string).collect(),
        Verdict::Proven | Verdict::ToCome => Vec::new(),
    };
    let (positive_tests, attack_tests) = (tests(&row.positive_tests), tests(&row.attack_tests));
    Row { id: row.id.as_str(), title: &row.title, verdict: verdict.as_str(), faults, positive_tests, attack_tests }
}

/// Runs tests of Rust, all in one run.
fn rust(root: &Path, wanted: &BTreeSet<&str>) -> Result<Outcomes, String> {
    let nextest = |word| {
        let mut command = Command::new("cargo");
        command.args(["nextest", word, "--locked", "--workspace"]).current_dir(root);
        command
    };
    let listed = results::nextest_list(&output(nextest("list").args(["--message-format", "json"]), &[])?)?;
    let there: Vec<&str> = wanted.iter().copied().filter(|test| listed.contains(*test)).collect();
    let seen = if there.is_empty() {
        Outcomes::new()
    } else {
        let filter = results::nextest_filter(there);
        let mut command = nextest("run");
        command.args(["--profile", "commitments", "--no-fail-fast", "--filterset", &filter]);
        results::nextest_results(&reported(&mut command, &root.join(NEXTEST_RESULTS), NEXTEST_FAILED)?)?
    };
    Ok(results::of_wanted(wanted.iter().copied(), &listed, &seen))
}

/// Runs tests of the SDK, all in one run, with the interpreter that `scripts/commitments` prepared.
fn python(root: &Path, wanted: &BTreeSet<&str>) -> Result<Outcomes, String> {
    let sdk = root.join("sdk/python");
    let nodes = |tests: &[&str]| -> Vec<String> {
        tests.iter().filter_map(|test| Some(format!("tests/{}", test.strip_prefix("pytest ")?))).collect()
    };
    let files: BTreeSet<String> = nodes(&wanted.iter().copied().collect::<Vec<_>>())
        .iter()
        .filter_map(|node| node.split("::").next().map(str::to_owned))
        .filter(|file| sdk.join(file).is_file())
        .collect();
    if files.is_empty() {
        return Ok(results::of_wanted(wanted.iter().copied(), &BTreeSet::new(), &Outcomes::new()));
    }
    let interpreter = std::env::var_os("CRETA_PYTHON").ok_or("`CRETA_PYTHON` is not set; run `make commitments`")?;
    let pytest = || {
        let mut command = Command::new(&interpreter);
        command.args(["-m", "pytest", "-q"]).current_dir(&sdk);
        command
    };
    // 2: a file that cannot be read, whose tests are then missing; 5: no tests at all.
    let listed = results::pytest_list(&output(pytest().arg("--collect-only").args(&files), &[2, 5])?);
    let there: Vec<&str> = wanted.iter().copied().filter(|test| listed.contains(*test)).collect();
    let seen = if there.is_empty() {
        Outcomes::new()
    } else {
        let file = target(root).join("commitments-pytest.xml");
        let mut command = pytest();
        command.arg(format!("--junitxml={}", file.display())).args(nodes(&there));
        results::pytest_results(&reported(&mut command, &file, PYTEST_FAILED)?, &listed)?
    };
    Ok(results::of_wanted(wanted.iter().copied(), &listed, &seen))
}

/// What a command prints. It may end with 0 or one of `also`.
fn output(command: &mut Command, also: &[i32]) -> Result<String, String> {
    let done = command.stderr(Stdio::inherit()).output().map_err(|error| could_not(command, &error.to_string()))?;
    if !done.status.success() && !done.status.code().is_some_and(|code| also.contains(&code)) {
        return Err(could_not(command, &done.status.to_string()));
    }
    String::from_utf8(done.stdout).map_err(|_| could_not(command, "what it printed is not text"))
}

/// Runs tests and reads the file in which they report. What an earlier run left there is removed first.
fn reported(command: &mut Command, file: &Path, failed: i32) -> Result<String, String> {
    let at = |error: std::io::Error| format!("{}: {error}", file.display());
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(at(error)),
        _ => {}
    }
    // Their own lines go where messages go: this program's answer is the table.
    let status = command.stdout(std::io::stderr()).status().map_err(|error| could_not(command, &error.to_string()))?;
    if !status.success() && status.code() != Some(failed) {
        return Err(could_not(command, &status.to_string()));
    }
    std::fs::read_to_string(file).map_err(at)
}

fn could_not(command: &Command, why: &str) -> String {
    let words: Vec<String> = command.get_args().take(3).map(|word| word.display().to_string()).collect();
    format!("{} {}: {why}", command.get_program().display(), words.join(" "))
}

fn target(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}

fn git(root: &Path, words: &[&str]) -> Option<String> {
    let done = Command::new("git").args(words).current_dir(root).stderr(Stdio::null()).output().ok()?;
    done.status.success().then(|| String::from_utf8_lossy(&done.stdout).trim().to_owned())
}
