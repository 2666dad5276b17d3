//! `creta statistics`: what may be told of a feature to those who do not see its values.

use serde::{Deserialize, Serialize};

use super::connect;
use crate::args::Statistics;
use crate::failure::Failure;
use crate::http::query_string;
use crate::terminal::{Align, Terminal, grouped, table};

/// The server's answer.
#[derive(Debug, Serialize, Deserialize)]
struct Told {
    feature: String,
    as_of: String,
    group: u64,
    entities: u64,
    nulls: u64,
    null_share: f64,
    bins: Vec<Bin>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    forms: Vec<Form>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Bin {
    range: String,
    count: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Form {
    form: String,
    count: u64,
}

pub(crate) fn run(statistics: &Statistics, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let (server, _) = connect(&statistics.connection)?;
    let asked = [("tenant", Some(statistics.tenant.clone())), ("feature", Some(statistics.feature.to_string()))];
    let told: Told = server.get(&query_string("/v1/statistics", &asked))?;
    terminal.show(&told, || text(&told));
    Ok(())
}

fn text(told: &Told) -> String {
    let mut text = format!(
        "{} as of {}: at least {} entities, {:.0} % without a value; counts in groups of {}\n",
        told.feature,
        told.as_of,
        grouped(told.entities),
        told.null_share * 100.0,
        told.group
    );
    let lines = |rows: Vec<(&str, u64)>| -> Vec<Vec<String>> {
        rows.into_iter().map(|(what, count)| vec![what.to_owned(), grouped(count)]).collect()
    };
    for (heading, rows) in [
        ("values", told.bins.iter().map(|bin| (bin.range.as_str(), bin.count)).collect::<Vec<_>>()),
        ("forms", told.forms.iter().map(|form| (form.form.as_str(), form.count)).collect()),
    ] {
        if !rows.is_empty() {
            text.push('\n');
            text.push_str(&table(&[(heading, Align::Left), ("at least", Align::Right)], &lines(rows)));
        }
    }
    text
}
