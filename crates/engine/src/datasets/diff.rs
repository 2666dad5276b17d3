//! What changed from one version of a dataset to another, and why.
//!
//! Rows are the same where the spine gave them the same features, instant and knowledge; of several that are, the first is
//! compared with the first. Columns of which whoever asks does not get what was kept are not compared, so that a difference
//! tells nothing of them. No value is told, only how many cells and which rows differ.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::Field;
use arrow::row::{RowConverter, SortField};
use creta_model::{FeaturePath, Problem};
use creta_registry::Registry;
use serde::{Deserialize, Serialize};

use super::making::computed_from;
use super::version::{ColumnKind, DatasetVersion};
use super::view::DatasetRows;
use crate::request::KnownAsOfColumn;
use crate::scope_engine::ScopeEngine;

/// Numbers of rows that are named of each column.
const EXAMPLES: usize = 5;

/// What changed from one version to another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatasetDiff {
    /// `name@version`.
    pub left: String,
    /// `name@version`.
    pub right: String,
    /// Whether all rows and columns that could be compared are the same, and none is in one of them alone.
    pub same: bool,
    /// Rows in both.
    pub rows_both: u64,
    /// Rows that only the left one has.
    pub rows_left: u64,
    /// Rows that only the right one has.
    pub rows_right: u64,
    /// Columns of the spine that differ.
    pub spine: Vec<ChangedFeature>,
    /// Features that differ, and those that could not be compared.
    pub features: Vec<ChangedFeature>,
    /// Features whose definition changed, whatever came of it: name, and the fingerprints; empty where there was none.
    pub definitions: Vec<(String, String, String)>,
}

/// A column that differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChangedFeature {
    /// Its name.
    pub column: String,
    /// How.
    pub change: Change,
    /// Rows of both in which it differs.
    pub rows: u64,
    /// Of these, rows that have a value by now.
    pub appeared: u64,
    /// Rows that have none any more.
    pub disappeared: u64,
    /// The first of these rows, as numbered in the right version, from 0.
    pub examples: Vec<u64>,
    /// What may have caused it.
    pub why: Vec<Why>,
}

/// How a column differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Some cells do.
    Values,
    /// Only the right version has it.
    Added,
    /// Only the left version has it.
    Removed,
    /// It holds values of another type.
    Type,
    /// You do not get what was kept of it, so it was not compared.
    Withheld,
}

/// What may have caused a difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "because")]
pub enum Why {
    /// The definition of a feature that it is computed from, or its own, changed.
    Definition {
        /// Which.
        feature: String,
    },
    /// More facts were known of an entity that it reads.
    NewFacts {
        /// Of which.
        entity: String,
        /// How many more there were; retractions count too. Not told to whom a row rule binds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        facts: Option<u64>,
    },
    /// It was asked what was known until another time.
    KnownAsOf {
        /// Before.
        from: String,
        /// After.
        to: String,
    },
    /// Stored values might be of another age.
    MaxAge,
    /// None of these: a resolver that does not give the same answer twice, for example.
    Unknown,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Definition { feature } => write!(f, "the definition of `{feature}` changed"),
            Self::NewFacts { entity, facts: Some(facts) } => write!(f, "{facts} more facts of `{entity}` were known"),
            Self::NewFacts { entity, facts: None } => write!(f, "other facts of `{entity}` were known"),
            Self::KnownAsOf { from, to } => write!(f, "known as of {from} before, and {to} now"),
            Self::MaxAge => write!(f, "another `max_age` was asked for"),
            Self::Unknown => write!(f, "not by definitions or facts: look at its resolvers"),
        }
    }
}

impl ScopeEngine {
    /// What changed from one version to another, as far as both are shown: `left` and `right` are shown with states. Time and
    /// memory that of the rows.
    pub fn diff_datasets(
        &self,
        left: (&DatasetVersion, &DatasetRows),
        right: (&DatasetVersion, &DatasetRows),
    ) -> Result<DatasetDiff, Problem> {
        let registry = self.deployment()?.registry.clone();
        let identity = identity(left, right)?;
        let (before, after) = (Side::new(left.1, &identity)?, Side::new(right.1, &identity)?);
        let pairs = pairs(&before, &after);
        let definitions = definitions(left.0, right.0);
        let is_bound = left.1.is_bound || right.1.is_bound;
        let cause = Cause { registry: &registry, left: left.0, right: right.0, definitions: &definitions, is_bound };
        let mut diff = DatasetDiff {
            left: left.0.reference(),
            right: right.0.reference(),
            same: false,
            rows_both: pairs.len() as u64,
            rows_left: (before.rows - pairs.len()) as u64,
            rows_right: (after.rows - pairs.len()) as u64,
            spine: Vec::new(),
            features: Vec::new(),
            definitions: definitions
                .iter()
                .map(|(name, (from, to))| (name.clone(), from.clone(), to.clone()))
                .collect(),
        };
        let mut seen = BTreeSet::new();
        for column in left.0.columns.iter().chain(&right.0.columns) {
            if !seen.insert(&column.name) || identity.contains(&column.name) {
                continue;
            }
            let Some(mut changed) = compared(&column.name, left, right, &pairs)? else { continue };
            if column.kind == ColumnKind::Feature {
                if changed.change == Change::Values {
                    changed.why = cause.of(&column.name);
                }
                diff.features.push(changed);
            } else {
                diff.spine.push(changed);
            }
        }
        let differs = |changed: &ChangedFeature| changed.change != Change::Withheld;
        diff.same =
            diff.rows_left == 0 && diff.rows_right == 0 && !diff.spine.iter().chain(&diff.features).any(differs);
        Ok(diff)
    }
}

/// The columns by which rows are told apart: what the spine gave, and when each row asks.
fn identity(
    left: (&DatasetVersion, &DatasetRows),
    right: (&DatasetVersion, &DatasetRows),
) -> Result<BTreeSet<String>, Problem> {
    let of = |version: &DatasetVersion| -> BTreeSet<String> {
        let known = match &version.request.known_as_of {
            Some(KnownAsOfColumn::Column(column)) => Some(column),
            _ => None,
        };
        let named = |name: &String| *name == version.request.as_of || Some(name) == known;
        let columns = version.columns.iter().filter(|column| column.kind == ColumnKind::Given || named(&column.name));
        columns.map(|column| column.name.clone()).collect()
    };
    let (before, after) = (of(left.0), of(right.0));
    let other = |what: String| {
        let problem =
            Problem::new("dataset/not-comparable", format!("the rows of the two cannot be told apart alike: {what}"));
        problem.with_help(
            "compare versions whose spines have the same columns for keys and instants, and that you get whole",
        )
    };
    if before != after {
        let names: Vec<String> = before.symmetric_difference(&after).map(|name| format!("`{name}`")).collect();
        return Err(other(format!("{} is a key or instant of one alone", names.join(", "))));
    }
    for (version, rows) in [left, right] {
        for name in &before {
            if rows.schema.index_of(name).is_err() || rows.withheld.contains(name) {
                return Err(other(format!("you do not get `{name}` of `{}`", version.reference())));
            }
        }
    }
    let ty = |rows: &DatasetRows, name: &String| {
        rows.schema.field_with_name(name).map(|field| field.data_type().clone()).ok()
    };
    match before.iter().find(|name| ty(left.1, name) != ty(right.1, name)) {
        Some(name) => Err(other(format!("`{name}` is of another type"))),
        None => Ok(before),
    }
}

/// The keys of one version's rows.
struct Side {
    rows: usize,
    keys: Option<arrow::row::Rows>,
}

impl Side {
    fn new(rows: &DatasetRows, identity: &BTreeSet<String>) -> Result<Self, Problem> {
        let columns = identity.iter().map(|name| rows.column(name)).collect::<Result<Vec<_>, _>>()?;
        let count = rows.batches.iter().map(arrow::array::RecordBatch::num_rows).sum();
        let keys = if columns.is_empty() { None } else { Some(in_rows(&columns)?) };
        Ok(Self { rows: count, keys })
    }

    fn key(&self, row: usize) -> &[u8] {
        self.keys.as_ref().map_or(&[], |keys| keys.row(row).data())
    }
}

/// Columns as bytes that are the same where all values are.
fn in_rows(columns: &[ArrayRef]) -> Result<arrow::row::Rows, Problem> {
    let failed = |error: arrow::error::ArrowError| {
        Problem::new("dataset/not-comparable", format!("a column cannot be compared: {error}"))
            .with_help("leave it out: name the columns to compare")
    };
    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
    let converter = RowConverter::new(fields).map_err(failed)?;
    converter.convert_columns(columns).map_err(failed)
}

/// Rows of both versions that are the same row, in the order of the right one.
fn pairs(left: &Side, right: &Side) -> Vec<(usize, usize)> {
    let mut open = HashMap::<&[u8], Vec<usize>>::with_capacity(left.rows);
    (0..left.rows).rev().for_each(|row| open.entry(left.key(row)).or_default().push(row));
    (0..right.rows).filter_map(|row| Some((open.get_mut(right.key(row))?.pop()?, row))).collect()
}

/// A column of both, compared over the rows of both; `None` where it is the same.
fn compared(
    name: &str,
    left: (&DatasetVersion, &DatasetRows),
    right: (&DatasetVersion, &DatasetRows),
    pairs: &[(usize, usize)],
) -> Result<Option<ChangedFeature>, Problem> {
    let changed = |change| ChangedFeature {
        column: name.to_owned(),
        change,
        rows: 0,
        appeared: 0,
        disappeared: 0,
        examples: Vec::new(),
        why: Vec::new(),
    };
    let has = |version: &DatasetVersion| version.columns.iter().any(|column| column.name == name);
    match (has(left.0), has(right.0)) {
        (true, false) => return Ok(Some(changed(Change::Removed))),
        (false, true) => return Ok(Some(changed(Change::Added))),
        _ => {}
    }
    let field =
        |rows: &DatasetRows| rows.schema.field_with_name(name).ok().map(|field: &Field| field.data_type().clone());
    let (Some(before), Some(after)) = (field(left.1), field(right.1)) else { return Ok(None) }; // Not selected.
    if left.1.withheld.contains(name) || right.1.withheld.contains(name) {
        return Ok(Some(changed(Change::Withheld)));
    }
    if before != after {
        return Ok(Some(changed(Change::Type)));
    }
    let side = |rows: &DatasetRows, side: &UInt64Array| -> Result<(ArrayRef, arrow::row::Rows), Problem> {
        let failed = |error: arrow::error::ArrowError| Problem::new("internal/engine", error.to_string());
        let values = take(&rows.column(name)?, side, None).map_err(failed)?;
        let mut columns = vec![Arc::clone(&values)];
        if let Ok(states) = rows.column(&format!("{name}__state")) {
            columns.push(take(&states, side, None).map_err(failed)?);
        }
        let rows = in_rows(&columns)?;
        Ok((values, rows))
    };
    let indices = |of: fn(&(usize, usize)) -> usize| pairs.iter().map(|pair| of(pair) as u64).collect::<UInt64Array>();
    let (before, before_rows) = side(left.1, &indices(|pair| pair.0))?;
    let (after, after_rows) = side(right.1, &indices(|pair| pair.1))?;
    let mut found = changed(Change::Values);
    for (at, (_, row)) in pairs.iter().enumerate() {
        if before_rows.row(at) == after_rows.row(at) {
            continue;
        }
        found.rows += 1;
        found.appeared += u64::from(before.is_null(at) && after.is_valid(at));
        found.disappeared += u64::from(before.is_valid(at) && after.is_null(at));
        if found.examples.len() < EXAMPLES {
            found.examples.push(*row as u64);
        }
    }
    Ok((found.rows > 0).then_some(found))
}

type Definitions = BTreeMap<String, (String, String)>;

/// Features whose definitions differ.
fn definitions(left: &DatasetVersion, right: &DatasetVersion) -> Definitions {
    let names: BTreeSet<&String> = left.definitions.keys().chain(right.definitions.keys()).collect();
    let of = |version: &DatasetVersion, name: &String| version.definitions.get(name).cloned().unwrap_or_default();
    let both = names.into_iter().map(|name| (name.clone(), (of(left, name), of(right, name))));
    both.filter(|(_, (from, to))| from != to).collect()
}

struct Cause<'a> {
    registry: &'a Registry,
    left: &'a DatasetVersion,
    right: &'a DatasetVersion,
    definitions: &'a Definitions,
    is_bound: bool,
}

impl Cause<'_> {
    fn of(&self, column: &str) -> Vec<Why> {
        let made =
            self.right.columns.iter().find(|other| other.name == column).and_then(|column| column.features.first());
        let Some(made) = made else { return vec![Why::Unknown] };
        let read = computed_from(self.registry, &made.path);
        let names: BTreeSet<String> = read.iter().map(ToString::to_string).chain([made.feature.clone()]).collect();
        let mut why: Vec<Why> =
            self.definitions_of(&names).into_iter().map(|feature| Why::Definition { feature }).collect();
        let entities: BTreeSet<String> = read.iter().map(|feature| feature.entity.to_string()).collect();
        for (entity, after) in self.right.facts.iter().filter(|(entity, _)| entities.contains(*entity)) {
            let before = self.left.facts.get(entity).copied().unwrap_or(0);
            if *after != before {
                let facts = (!self.is_bound).then(|| after.saturating_sub(before));
                why.push(Why::NewFacts { entity: entity.clone(), facts });
            }
        }
        if self.left.known_as_of != self.right.known_as_of {
            let (from, to) = (self.left.known_as_of.clone(), self.right.known_as_of.clone());
            why.push(Why::KnownAsOf { from, to });
        }
        let age = |version: &DatasetVersion, path: &FeaturePath| version.request.max_age.get(path).copied();
        if age(self.left, &made.path) != age(self.right, &made.path) {
            why.push(Why::MaxAge);
        }
        if why.is_empty() {
            why.push(Why::Unknown);
        }
        why
    }

    /// Of the features that one is computed from, those whose own definition changed: a feature that is only computed from
    /// such a one has another fingerprint too, and is not the cause.
    fn definitions_of(&self, names: &BTreeSet<String>) -> Vec<String> {
        let changed = |name: &String| self.definitions.contains_key(name);
        let own = |name: &&String| {
            let inputs = FeaturePath::parse(name)
                .map(|path| self.registry.inputs_of(&creta_registry::FeatureRef::new(&path.root, &path.feature)));
            !inputs.is_ok_and(|inputs| inputs.iter().any(|input| changed(&input.to_string())))
        };
        names.iter().filter(|name| changed(name)).filter(own).cloned().collect()
    }
}
