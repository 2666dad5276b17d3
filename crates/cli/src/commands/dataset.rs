//! `creta dataset`: what there is, how it was made, how its columns spread, what changed, and its rows.

use std::io::Write as _;
use std::path::Path;

use creta_engine::{
    Change, ChangedFeature, ColumnKind, ColumnProfile, DatasetDiff, DatasetEntry, DatasetProfile, DatasetState,
    DatasetVersion, Numbers,
};
use serde::{Deserialize, Serialize};

use super::train::{floored_text, inputs, not_understood, read_spine, required, sample, show_sink};
use super::{arrow_stream, connect};
use crate::args::{Dataset, DatasetCommand, DatasetDownload, Train};
use crate::failure::Failure;
use crate::http::{ARROW_STREAM, encoded, query_string, read_json};
use crate::terminal::{Align, Terminal, counted, grouped, table};

const LEFT: Align = Align::Left;
const RIGHT: Align = Align::Right;

#[derive(Debug, Serialize, Deserialize)]
struct Listed {
    datasets: Vec<DatasetEntry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Renamed {
    name: String,
}

pub(super) fn run(command: DatasetCommand, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    match command {
        DatasetCommand::List(connection) => {
            let listed: Listed = connect(&connection)?.0.get("/v1/datasets")?;
            terminal.show(&listed, || listed_text(&listed));
        }
        DatasetCommand::Describe(which) => {
            let version: DatasetVersion = connect(&which.connection)?.0.get(&path(&which, ""))?;
            terminal.show(&version, || described_text(&version));
        }
        DatasetCommand::Profile(asked) => {
            let address = query_string(
                &path(&asked.dataset, "/profile"),
                &[("columns", names(&asked.columns)), ("preview", Some(asked.preview.to_string()))],
            );
            let profile: DatasetProfile = connect(&asked.dataset.connection)?.0.get(&address)?;
            terminal.show(&profile, || profile_text(&profile));
        }
        DatasetCommand::Diff(asked) => {
            let address = query_string(
                &format!("/v1/datasets/{}/diff", encoded(&asked.left)),
                &[("with", Some(asked.right.clone())), ("columns", names(&asked.columns))],
            );
            let diff: DatasetDiff = connect(&asked.connection)?.0.get(&address)?;
            terminal.show(&diff, || diff_text(&diff));
        }
        DatasetCommand::Download(asked) => return download(&asked, terminal),
        DatasetCommand::Rename { from, to, connection } => {
            let address = format!("/v1/datasets/{}/rename", encoded(&from));
            let renamed: Renamed = connect(&connection)?.0.post(&address, &serde_json::json!({ "to": to }))?;
            terminal.show(&renamed, || format!("`{from}` is called `{}` now", renamed.name));
        }
        DatasetCommand::Retire(which) => {
            let retired: DatasetVersion = connect(&which.connection)?.0.post_empty(&path(&which, "/retire"))?;
            terminal.show(&retired, || format!("`{}` is retired: its rows are gone", retired.reference()));
        }
    }
    Ok(())
}

/// `creta train --name`: the training set stays on the server.
pub(super) fn make(train: &Train, name: &str, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let spine = read_spine(&train.spine)?;
    let given = serde_json::to_string(&inputs(&train.input)?).expect("names have a JSON form");
    let features: Vec<String> = train.features.iter().map(ToString::to_string).collect();
    let tags = train.spine_tags.as_ref().map(|tags| {
        let tags: Vec<&String> = tags.iter().filter(|tag| *tag != "none").collect();
        serde_json::to_string(&tags).expect("texts have a JSON form")
    });
    let address = query_string(
        "/v1/datasets",
        &[
            ("name", Some(name.to_owned())),
            ("features", Some(features.join(","))),
            ("as_of", Some(train.as_of.clone())),
            ("inputs", Some(given)),
            ("sample", sample(train)?),
            ("required", required(train)),
            ("spine_tags", tags),
        ],
    );
    let (server, _) = connect(&train.connection)?;
    let bar = terminal.progress("building the dataset", 0);
    let answer = arrow_stream(&spine).and_then(|body| server.post_bytes(&address, ARROW_STREAM, &body));
    bar.finish_and_clear();
    let made: DatasetVersion = read_json(answer?)?;
    terminal.show(&made, || {
        let features = made.columns.iter().filter(|column| column.kind == ColumnKind::Feature).count() as u64;
        let rows = counted(made.rows.unwrap_or(0), "row", "rows");
        let features = counted(features, "feature", "features");
        let reference = made.reference();
        let floored = floored_text(made.floored);
        format!(
            "{rows} and {features}, kept as `{reference}`; look at it with: creta dataset profile {reference}{floored}"
        )
    });
    Ok(())
}

fn path(which: &Dataset, what: &str) -> String {
    format!("/v1/datasets/{}{what}", encoded(&which.dataset))
}

/// Columns as the server takes them; none for all.
fn names(columns: &[String]) -> Option<String> {
    (!columns.is_empty()).then(|| serde_json::to_string(columns).expect("texts have a JSON form"))
}

fn download(asked: &DatasetDownload, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let arrow = asked.out.as_ref().is_some_and(|out| out.extension().is_some_and(|extension| extension == "arrows"));
    let address = query_string(
        &path(&asked.dataset, "/rows"),
        &[
            ("columns", names(&asked.columns)),
            ("states", Some(asked.states.to_string())),
            ("format", Some(if arrow { "arrow" } else { "parquet" }.to_owned())),
            ("sink", asked.sink.clone()),
        ],
    );
    let (server, _) = connect(&asked.dataset.connection)?;
    let Some(out) = &asked.out else {
        let written = server.get_bytes(&address)?;
        return show_sink(&String::from_utf8(written).map_err(|error| not_understood(&error))?, terminal);
    };
    let bar = terminal.progress("fetching the rows", 0);
    let bytes = server.get_streamed(&address).and_then(|mut rows| write_whole(out, &mut rows));
    bar.finish_and_clear();
    let bytes = bytes?;
    let shown = serde_json::json!({ "file": out, "bytes": bytes });
    terminal.show(&shown, || format!("{} written to {}", counted(bytes, "byte", "bytes"), out.display()));
    Ok(())
}

/// Writes a file; one that was there stays until the new one is whole.
fn write_whole(file: &Path, rows: &mut impl std::io::Read) -> Result<u64, Failure> {
    let failed = |error: &std::io::Error| Failure::file("write", file, error);
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut temporary = tempfile::NamedTempFile::new_in(folder).map_err(|error| failed(&error))?;
    let bytes = std::io::copy(rows, &mut temporary).map_err(|error| crate::http::interrupted(&error))?;
    temporary.flush().map_err(|error| failed(&error))?;
    temporary.persist(file).map_err(|error| failed(&error.error))?;
    Ok(bytes)
}

fn listed_text(listed: &Listed) -> String {
    if listed.datasets.is_empty() {
        return "no datasets; make one with: creta train --name NAME".to_owned();
    }
    let of = |entry: &DatasetEntry| -> Vec<Vec<String>> {
        let line = |version: &creta_engine::VersionEntry| {
            let state = if version.state == DatasetState::Kept { "" } else { "retired" };
            vec![
                format!("{}@{}", entry.name, version.version),
                version.rows.map_or_else(|| "-".to_owned(), grouped),
                grouped(version.features as u64),
                version.made.to_string(),
                version.made_by.clone(),
                state.to_owned(),
            ]
        };
        entry.versions.iter().map(line).collect()
    };
    let lines: Vec<Vec<String>> = listed.datasets.iter().flat_map(of).collect();
    let headings =
        [("dataset", LEFT), ("rows", RIGHT), ("features", RIGHT), ("made", LEFT), ("by", LEFT), ("state", LEFT)];
    table(&headings, &lines)
}

fn described_text(version: &DatasetVersion) -> String {
    let spine_rows = grouped(version.spine_rows);
    let rows = match version.rows {
        Some(rows) => format!("{} of a spine of {spine_rows}", grouped(rows)),
        None => format!("those of a spine of {spine_rows} that have what is required"),
    };
    let state = match &version.state {
        DatasetState::Kept => "kept".to_owned(),
        DatasetState::Retired { by, at } => format!("retired by {by} at {at}"),
    };
    let entry = version.entry.map_or_else(|| "-".to_owned(), |entry| entry.to_string());
    let lines = [
        ("dataset", version.reference()),
        ("state", state),
        ("made", format!("{} by {}", version.made, version.made_by)),
        ("log entry", entry),
        ("rows", rows),
        ("known as of", version.known_as_of.clone()),
        ("definitions", format!("revision {}, {}", version.revision, version.bundle)),
        ("position", version.position.to_string()),
    ];
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text: String = lines.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect();
    let columns = version.columns.iter().map(|column| {
        let kind = match column.kind {
            ColumnKind::Given => "given",
            ColumnKind::Spine => "spine",
            ColumnKind::Feature => "feature",
        };
        let mut tags: Vec<&str> = column.tags.iter().map(String::as_str).collect();
        tags.extend(column.features.iter().flat_map(|feature| feature.tags.iter().map(String::as_str)));
        let fingerprint = column.features.first().and_then(|feature| feature.fingerprint.as_deref());
        let short = fingerprint.map(|text| text.chars().take(19).collect()).unwrap_or_default();
        vec![column.name.clone(), kind.to_owned(), column.ty.clone(), column.level.to_string(), tags.join(" "), short]
    });
    let headings =
        [("column", LEFT), ("from", LEFT), ("type", LEFT), ("level", LEFT), ("tags", LEFT), ("definition", LEFT)];
    text.push('\n');
    text + &table(&headings, &columns.collect::<Vec<_>>())
}

fn profile_text(profile: &DatasetProfile) -> String {
    let mut text = format!("{}, {}", profile.dataset, counted(profile.rows, "row", "rows"));
    if profile.rows_unseen > 0 {
        text += &format!(" ({} kept back by row rules)", grouped(profile.rows_unseen));
    }
    if !profile.facts.is_empty() {
        let facts = profile.facts.iter().map(|(entity, facts)| format!("{} of {entity}", grouped(*facts)));
        text += &format!("\nmade out of facts: {}", facts.collect::<Vec<_>>().join(", "));
    }
    text += "\n\n";
    let line = |column: &ColumnProfile| {
        let absent: Vec<String> =
            column.absent.iter().map(|(state, rows)| format!("{} {state}", grouped(*rows))).collect();
        let distinct = column.distinct.map(grouped).unwrap_or_default();
        let (low, high) = column.range.clone().unwrap_or_default();
        let (mean, std) = column.numbers.as_ref().map(figures).unwrap_or_default();
        let spread = column.numbers.as_ref().map(sparkline).unwrap_or_default();
        vec![column.name.clone(), grouped(column.values), absent.join(", "), distinct, low, high, mean, std, spread]
    };
    let headings = [
        ("column", LEFT),
        ("values", RIGHT),
        ("without", LEFT),
        ("different", RIGHT),
        ("least", RIGHT),
        ("greatest", RIGHT),
        ("mean", RIGHT),
        ("std", RIGHT),
        ("spread", LEFT),
    ];
    text += &table(&headings, &profile.columns.iter().map(line).collect::<Vec<_>>());
    if profile.preview.is_empty() {
        return text;
    }
    // A row of the dataset is a column here: wide tables stay readable that way.
    let numbers: Vec<String> = (1..=profile.preview.len()).map(|row| format!("row {row}")).collect();
    let mut headings = vec![("column", LEFT)];
    headings.extend(numbers.iter().map(|number| (number.as_str(), RIGHT)));
    let lines = profile.columns.iter().enumerate().map(|(at, column)| {
        let cells = profile.preview.iter().map(|row| row[at].clone().unwrap_or_default());
        [column.name.clone()].into_iter().chain(cells).collect()
    });
    format!("{text}\n\n{}", table(&headings, &lines.collect::<Vec<_>>()))
}

fn figures(numbers: &Numbers) -> (String, String) {
    (format!("{:.4}", numbers.mean), numbers.std.map(|std| format!("{std:.4}")).unwrap_or_default())
}

/// The bins as blocks of eight heights.
fn sparkline(numbers: &Numbers) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = numbers.bins.iter().map(|bin| bin.count).max().unwrap_or(0).max(1);
    let block =
        |count: u64| if count == 0 { ' ' } else { BLOCKS[((count * 8).div_ceil(most) as usize).clamp(1, 8) - 1] };
    numbers.bins.iter().map(|bin| block(bin.count)).collect()
}

fn diff_text(diff: &DatasetDiff) -> String {
    let mut text = format!(
        "{} to {}: {} in both, {} only before, {} only after\n",
        diff.left,
        diff.right,
        counted(diff.rows_both, "row", "rows"),
        grouped(diff.rows_left),
        grouped(diff.rows_right)
    );
    for changed in diff.spine.iter().chain(&diff.features) {
        text += &changed_text(changed);
    }
    for (feature, from, to) in &diff.definitions {
        let short =
            |print: &String| if print.is_empty() { "none".to_owned() } else { print.chars().take(19).collect() };
        text += &format!("definition of `{feature}`: {} to {}\n", short(from), short(to));
    }
    if diff.same {
        text += "the same\n";
    }
    text.trim_end().to_owned()
}

fn changed_text(changed: &ChangedFeature) -> String {
    let name = &changed.column;
    match changed.change {
        Change::Added => format!("+ {name}\n"),
        Change::Removed => format!("- {name}\n"),
        Change::Type => format!("~ {name}: of another type\n"),
        Change::Withheld => format!("? {name}: not compared, since you do not get it as it was kept\n"),
        Change::Values => {
            let rows = counted(changed.rows, "row", "rows");
            let mut text = format!(
                "~ {name}: {rows}, of which {} have a value now and {} have none any more\n",
                grouped(changed.appeared),
                grouped(changed.disappeared)
            );
            for why in &changed.why {
                text += &format!("    {why}\n");
            }
            let examples: Vec<String> = changed.examples.iter().map(ToString::to_string).collect();
            text + &format!("    for example row {}\n", examples.join(", "))
        }
    }
}
