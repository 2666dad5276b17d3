//! `creta train --audit-leakage`: what a model could learn of a training set and not know later.

use std::collections::BTreeMap;

use creta_engine::{Leak, LeakageReport};
use creta_model::{FeaturePath, Problem};

use super::train::{inputs, read_spine, sample};
use super::{arrow_stream, connect};
use crate::args::Train;
use crate::failure::{Exit, Failure};
use crate::http::{ARROW_STREAM, query_string, read_json};
use crate::terminal::{Terminal, counted};

pub(super) fn audit(train: &Train, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let spine = read_spine(&train.spine)?;
    let given = serde_json::to_string(&inputs(&train.input)?).expect("names have a JSON form");
    let features: Vec<String> = train.features.iter().map(ToString::to_string).collect();
    let labels = serde_json::to_string(&labels(&train.label)?).expect("names have a JSON form");
    let address = query_string(
        "/v1/training-sets/leakage",
        &[
            ("features", Some(features.join(","))),
            ("as_of", Some(train.as_of.clone())),
            ("inputs", Some(given)),
            ("sample", sample(train)?),
            ("labels", Some(labels)),
        ],
    );
    let (server, _) = connect(&train.connection)?;
    let bar = terminal.progress("looking for leaks", 0);
    let answer = arrow_stream(&spine).and_then(|body| server.post_bytes(&address, ARROW_STREAM, &body));
    bar.finish_and_clear();
    let report: LeakageReport = read_json(answer?)?;
    terminal.show(&report, || text(&report));
    let certain = report.findings.iter().filter(|found| found.certain).count() as u64;
    let unjudged = report.findings.iter().any(|found| matches!(found.leak, Leak::NotJudged { .. }));
    if certain == 0 && unjudged {
        let problem =
            Problem::new("leakage/not-judged", "a label is withheld from you, so leaks of it would not be seen");
        return Err(Failure::new(Exit::Failed, problem.with_help("let a program that gets the label look")));
    }
    if certain == 0 {
        return Ok(());
    }
    let problem = Problem::new("leakage/found", format!("{} in this training set", counted(certain, "leak", "leaks")));
    Err(Failure::new(Exit::Failed, problem.with_help("docs/guide/leakage.md says what each means and what to do")))
}

/// `late=Flight.late`, or a column alone.
fn labels(given: &[String]) -> Result<BTreeMap<&str, Option<FeaturePath>>, Failure> {
    let label = |text: &String| -> Option<(usize, Option<FeaturePath>)> {
        match text.split_once('=') {
            None => Some((text.len(), None)),
            Some((column, path)) => Some((column.len(), Some(FeaturePath::parse(path).ok()?))),
        }
    };
    let parsed = given.iter().map(|text| label(text).map(|(end, path)| (&text[..end], path)));
    parsed.collect::<Option<_>>().ok_or_else(|| {
        let message = "a `--label` is not a column and a path";
        Failure::usage("request/bad-label", message, "write for example `--label late=Flight.late`")
    })
}

fn text(report: &LeakageReport) -> String {
    let looked = format!(
        "{} and {} looked at",
        counted(report.features, "feature", "features"),
        counted(report.rows, "row", "rows")
    );
    if report.findings.is_empty() {
        return format!("{looked}: no leak found");
    }
    let lines = report.findings.iter().map(|found| {
        let weight = if found.certain { "leak" } else { "look" };
        format!("{weight}  {}\n", found.says)
    });
    format!("{looked}\n{}", lines.collect::<String>().trim_end())
}
