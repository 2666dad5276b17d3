//! `creta verify`: do online and offline answers agree, and would we notice if they did not?

use std::collections::BTreeMap;

use creta_engine::{VerifyOptions, VerifyReport};
use creta_model::Problem;

use super::connect;
use crate::args::Verify;
use crate::failure::{Exit, Failure};
use crate::terminal::{Terminal, grouped};

pub(crate) fn run(verify: &Verify, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let options = VerifyOptions { samples: verify.samples, seed: verify.seed };
    let (server, _) = connect(&verify.connection)?;
    let bar = terminal.progress("replaying and comparing", 0);
    let report = server.post::<VerifyReport>("/v1/verify", &options);
    bar.finish_and_clear();
    let report = report?;
    terminal.show(&report, || text(&report));
    judge(&report)
}

fn text(report: &VerifyReport) -> String {
    let mut entities: BTreeMap<&str, usize> = BTreeMap::new();
    for feature in &report.features {
        *entities.entry(feature.root.as_str()).or_default() += 1;
    }
    let entities: Vec<String> = entities.iter().map(|(entity, features)| format!("{entity} {features}")).collect();
    let examples: Vec<String> = report.examples.iter().map(|example| format!("differs: {example}\n")).collect();
    format!(
        "replayed {} facts in arrival order, asked {} rows for {} features ({}) in {:.1} s\n{}\
         planted fault: {}\nverify: compared {}, differences {}",
        grouped(report.facts),
        grouped(report.rows),
        report.features.len(),
        entities.join(", "),
        report.seconds,
        examples.concat(),
        if report.planted_fault_seen { "seen" } else { "NOT seen" },
        grouped(report.compared),
        grouped(report.differences),
    )
}

/// A comparison of nothing, or one that would not notice a fault, proves nothing.
fn judge(report: &VerifyReport) -> Result<(), Failure> {
    let problem = match report {
        VerifyReport { planted_fault_seen: false, .. } => {
            Problem::new("verify/blind", "the planted fault was not seen, so the comparison proves nothing")
        }
        VerifyReport { compared: 0, .. } => Problem::new("verify/nothing", "there was nothing to compare")
            .with_help("ingest facts first: `creta ingest --all`"),
        VerifyReport { differences: 0, .. } => return Ok(()),
        VerifyReport { differences, .. } => {
            Problem::new("verify/differences", format!("online and offline answers differ in {differences} cells"))
        }
    };
    Err(Failure::new(Exit::Failed, problem))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(compared: u64, differences: u64, planted_fault_seen: bool) -> VerifyReport {
        VerifyReport { compared, differences, planted_fault_seen, ..VerifyReport::default() }
    }

    #[test]
    fn only_a_comparison_that_can_fail_and_did_not_is_a_success() {
        assert!(judge(&report(10, 0, true)).is_ok());
        let code = |report| judge(&report).expect_err("no success").problems[0].code.clone();
        assert_eq!(code(report(10, 0, false)), "verify/blind");
        assert_eq!(code(report(0, 0, true)), "verify/nothing");
        assert_eq!(code(report(10, 1, true)), "verify/differences");
    }

    #[test]
    fn the_last_lines_are_the_verdict() {
        let text = text(&report(10_000, 0, true));
        assert!(text.ends_with("planted fault: seen\nverify: compared 10,000, differences 0"), "{text}");
    }
}
