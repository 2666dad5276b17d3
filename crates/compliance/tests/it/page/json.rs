//! The JSON: a closed list of members, so that nothing is published by accident.

use std::collections::BTreeSet;

use creta_compliance::page::HISTORY_INTERVALS_MAX;
use creta_compliance::{State, TrustReport};
use serde_json::Value;

use super::{REPORT, SITE, WORLD, World, rendered, world};

/// Every member that may occur. Whoever adds one decides that the world may read it.
const MEMBERS: &str = "
commitments commitments[].attack commitments[].attack_tests commitments[].behaviour commitments[].checks
commitments[].checks[].could_not commitments[].checks[].evidence commitments[].checks[].findings
commitments[].checks[].findings[].code commitments[].checks[].findings[].says commitments[].checks[].findings[].subject
commitments[].checks[].freshness commitments[].checks[].id commitments[].checks[].log_index
commitments[].checks[].noticed_planted_fault commitments[].checks[].observed_at commitments[].checks[].state
commitments[].checks[].subjects commitments[].checks[].title commitments[].class commitments[].evidence_age_s
commitments[].folded commitments[].held commitments[].history commitments[].history.failures commitments[].history.gaps
commitments[].history.intervals commitments[].history.intervals[].from commitments[].history.intervals[].state
commitments[].history.intervals[].until commitments[].history.met_ppm commitments[].id commitments[].mappings
commitments[].mappings.iso27001 commitments[].mappings.reviewed commitments[].mappings.soc2 commitments[].owner
commitments[].pillar commitments[].reason commitments[].refusals commitments[].state commitments[].text
commitments[].title counts documents documents[].date documents[].id documents[].met documents[].sections
documents[].sections[].heading documents[].sections[].lines documents[].sections[].lines[].answered_by
documents[].sections[].lines[].id documents[].sections[].lines[].says documents[].sections[].lines[].state
documents[].sections[].part documents[].title documents[].total environment exceptions format generated_at log log.origin
log.root log.size log.verifier_key log.witnesses met not_claimed organisation organisation.demonstration organisation.mode
organisation.name pillars pillars[].held_ppm pillars[].met pillars[].pillar
pillars[].refusals pillars[].state pillars[].subjects pillars[].total proofs software texts texts[].digest
texts[].log_index texts[].since total
";

fn published() -> Value {
    serde_json::from_slice(&SITE["trust/trust.json"].bytes).expect("JSON")
}

fn members(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                members(value, &path, found);
                found.insert(path);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| members(value, &format!("{path}[]"), found)),
        _ => {}
    }
}

#[test]
fn its_members_are_a_closed_list() {
    let mut found = BTreeSet::new();
    members(&published(), "", &mut found);
    let expected: BTreeSet<String> = MEMBERS.split_whitespace().map(str::to_owned).collect();
    let (more, fewer): (Vec<_>, Vec<_>) =
        (found.difference(&expected).collect(), expected.difference(&found).collect());
    assert!(more.is_empty() && fewer.is_empty(), "published and not listed: {more:?}; listed and absent: {fewer:?}");
}

#[test]
fn it_reads_back_as_the_report_that_the_pages_show() {
    let read: TrustReport = serde_json::from_value(published()).expect("a report");
    assert_eq!((read.met, read.total, &read.counts, &read.log), (REPORT.met, 91, &REPORT.counts, &REPORT.log));
    let states = |report: &TrustReport| -> Vec<(String, State)> {
        report.commitments.iter().map(|row| (row.id.to_string(), row.state)).collect()
    };
    assert_eq!(states(&read), states(&REPORT));
    let met: Vec<u64> =
        published()["documents"].as_array().expect("documents").iter().filter_map(|of| of["met"].as_u64()).collect();
    assert_eq!(met.len(), WORLD.registry.documents().count());
}

#[test]
fn a_long_history_is_cut_to_its_newest_part_and_its_numbers_are_not() {
    let busy = World::new(60_000).report(&world::organisation());
    let long = busy.commitments.iter().max_by_key(|row| row.history.intervals.len()).expect("rows");
    assert!(long.history.intervals.len() > HISTORY_INTERVALS_MAX, "{} stretches", long.history.intervals.len());
    let read: TrustReport = serde_json::from_slice(&rendered(&busy)["trust/trust.json"].bytes).expect("a report");
    let cut = read.commitment(&long.id).expect("the row");
    assert_eq!(cut.history.intervals.len(), HISTORY_INTERVALS_MAX);
    assert_eq!(cut.history.intervals.last(), long.history.intervals.last());
    assert_eq!((cut.history.met_ppm, cut.history.failures), (long.history.met_ppm, long.history.failures));
}
