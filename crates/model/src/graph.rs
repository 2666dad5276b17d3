//! A project's definitions as data: what the Python package exports and everything else reads.
//!
//! The JSON form is canonical (RFC 8785) and versioned; its schema is `docs/reference/graph.schema.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::types::is_false;
use crate::{Expr, FeaturePath, Name, Span, Type};

/// The version that [`Graph::format`] must carry.
pub const GRAPH_FORMAT: &str = "creta.graph/1";

/// The version that [`Bundle::format`] must carry.
pub const BUNDLE_FORMAT: &str = "creta.bundle/1";

/// Everything a deployment consists of: definitions, the source they came from, and the packages they were locked to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// [`BUNDLE_FORMAT`].
    pub format: String,
    /// The definitions.
    pub graph: Graph,
    /// Source of the project's Python modules by path relative to the project folder: `features/flight.py`.
    pub modules: BTreeMap<String, String>,
    /// Interpreter and packages the resolvers run with.
    pub lock: PackageLock,
}

/// Interpreter and packages a bundle was checked with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageLock {
    /// Major and minor version: `3.11`.
    pub python: String,
    /// Third-party packages the project declares, by name.
    #[serde(default)]
    pub packages: BTreeMap<String, LockedPackage>,
}

/// One locked package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedPackage {
    /// Exact version.
    pub version: String,
    /// `sha256:<hex>` of each permitted file; at least one.
    pub hashes: Vec<String>,
}

/// A project's definitions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Graph {
    /// [`GRAPH_FORMAT`].
    pub format: String,
    /// Project name from `creta.toml`.
    pub project: String,
    /// Sorted by name.
    pub entities: Vec<Entity>,
    /// Sorted by name.
    #[serde(default)]
    pub resolvers: Vec<Resolver>,
    /// Sorted by name.
    #[serde(default)]
    pub sources: Vec<Source>,
    /// Sorted by name, then version.
    #[serde(default)]
    pub queries: Vec<NamedQuery>,
}

/// Where a definition stands in the user's project.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Location {
    /// Path relative to the project folder.
    pub file: String,
    /// First line is 1.
    pub line: u32,
}

/// A thing described by features.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entity {
    /// Class name.
    pub name: Name,
    /// From the docstring.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub doc: String,
    /// Who answers for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Inherited by every feature.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The name it had before, so that its history is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renamed_from: Option<Name>,
    /// In declaration order; keys come in this order too.
    pub features: Vec<Feature>,
    /// In declaration order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub relations: Vec<Relation>,
    /// Where it stands.
    pub location: Location,
}

/// What a feature is to its entity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Part of the key.
    Key,
    /// When a fact was true; type `datetime`.
    EventTime,
    /// Anything else.
    #[default]
    Value,
}

/// One typed fact about an entity.
///
/// Its value comes from: its key, an expression, a window, a resolver that outputs it, or else from ingested facts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feature {
    /// Class member name.
    pub name: Name,
    /// Type of its values. For a windowed feature: of one window's value.
    #[serde(rename = "type")]
    pub ty: Type,
    /// Whether null is one of its values (`float | None`).
    #[serde(default, skip_serializing_if = "is_false")]
    pub optional: bool,
    /// What it is to its entity.
    #[serde(default)]
    pub role: Role,
    /// Whether equal values mark versions of one event (rule S8).
    #[serde(default, skip_serializing_if = "is_false")]
    pub event_id: bool,
    /// From the `doc` option or the comment line above.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub doc: String,
    /// Overrides the entity's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// In addition to the entity's; `pii` has a meaning to access rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Physical unit for people: `min`, `km/h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// JSON value that replaces `missing` and `expired`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<serde_json::Value>,
    /// Checked when values come in and when resolvers answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<Validation>,
    /// Older stored values are `expired` (rule S5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Span>,
    /// Raised by hand when the meaning changes without the definition changing.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub version: u32,
    /// What to use instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deprecated: Option<String>,
    /// The name it had before, so that its history is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renamed_from: Option<Name>,
    /// Computed from other features of the entity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expression: Option<Expr>,
    /// Aggregated over a `many` relation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// Where it stands.
    pub location: Location,
}

const fn one() -> u32 {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_one(version: &u32) -> bool {
    *version == 1
}

/// Bounds on a feature's values.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validation {
    /// Smallest permitted number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Largest permitted number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// Fewest characters, bytes or items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_length: Option<u32>,
    /// Most characters, bytes or items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_length: Option<u32>,
    /// Regular expression the whole text must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
}

/// A link from one entity to another, as of the row's instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relation {
    /// Class member name.
    pub name: Name,
    /// One or many.
    pub kind: RelationKind,
    /// The other entity.
    pub target: Name,
    /// Pairs (feature here, feature there) that must be equal. For `one` the features there are the whole key.
    pub on: Vec<(Name, Name)>,
    /// Where it stands.
    pub location: Location,
}

/// How many things a relation leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RelationKind {
    /// At most one, found by key.
    One,
    /// All facts of the target whose features equal those here.
    Many,
}

/// An aggregation over the facts of a `many` relation, one value per span.
///
/// Half open: facts with `as_of - span <= event_time < as_of` count (rules S3, S4).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "wire::Window")]
pub struct Window {
    /// A `many` relation of the same entity.
    pub relation: Name,
    /// How values become one.
    #[serde(flatten)]
    pub aggregate: Aggregate,
    /// What is aggregated, rooted at the relation's target; absent only for a count of rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Expr>,
    /// Facts for which this is not true do not count; rooted at the relation's target.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub filter: Option<Expr>,
    /// Sorted, without repeats, none of them zero.
    pub last: Vec<Span>,
    /// Whether the upper end is closed (rule S3).
    #[serde(default, skip_serializing_if = "is_false")]
    pub include_now: bool,
}

/// How the values of a window become one. Nulls are skipped; the empty window is rule S13.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "aggregate", rename_all = "snake_case")]
pub enum Aggregate {
    /// Rows, or non-null values when there is a value; 0 for none.
    Count,
    /// Correctly rounded sum (rule S26); an int sum that leaves 64 bits is an error cell.
    Sum,
    /// Correctly rounded mean.
    Mean,
    /// Smallest by IEEE total order.
    Min,
    /// Largest by IEEE total order.
    Max,
    /// Sample standard deviation; missing below two values.
    Std,
    /// Sample variance; missing below two values.
    Var,
    /// Earliest by rule S7.
    First,
    /// Latest by rule S7.
    Last,
    /// The latest `n`, oldest first, as a list.
    LastN {
        /// At least 1, at most 1000.
        n: u32,
    },
    /// How many different values; 0 for none.
    Distinct,
    /// The value below which so much of the values lies: where the place between two values falls, the one in between, exactly,
    /// rounded once.
    Percentile {
        /// Thousandths of a percent, more than 0 and less than 100,000: the median is 50,000.
        thousandths: u32,
    },
}

/// Resolver inputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum InputSource {
    /// A feature, rooted at the entity of the outputs.
    Path(FeaturePath),
    /// The row's instant (rule S23).
    Now,
}

/// One parameter of a resolver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResolverInput {
    /// Parameter name.
    pub name: String,
    /// Where its values come from.
    pub from: InputSource,
    /// Whether the resolver takes `None` (rule S32).
    #[serde(default, skip_serializing_if = "is_false")]
    pub optional: bool,
}

/// How a resolver is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResolverMode {
    /// Once per row with plain Python values.
    Scalar,
    /// Once per batch with a pandas `Series` per input.
    Pandas,
    /// Once per batch with a polars `Series` per input.
    Polars,
    /// Once per batch with a pyarrow `Array` per input.
    Arrow,
}

/// A function that makes features from features.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resolver {
    /// Unique in the project.
    pub name: Name,
    /// Python module, dotted, relative to the project folder.
    pub module: String,
    /// How it is called.
    pub mode: ResolverMode,
    /// Whether the function is `async def`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_async: bool,
    /// From the docstring.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub doc: String,
    /// Who answers for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// In parameter order.
    pub inputs: Vec<ResolverInput>,
    /// Features of one entity, in the order the function returns them.
    pub outputs: Vec<FeaturePath>,
    /// Environments it is enabled in; empty means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environments: Vec<String>,
    /// Longest time one call may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// How often a raising call is tried again.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retries: u32,
    /// Normalised text of the function, the project functions it calls and the constants it captures; feeds the fingerprint.
    pub code: String,
    /// Where it stands.
    pub location: Location,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_zero(retries: &u32) -> bool {
    *retries == 0
}

/// When Creta learned the facts of a load (rule S1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Arrival {
    /// A column of instants.
    Column(String),
    /// `event_time` plus this long.
    Delay(Span),
}

/// Where a load's event time comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum EventTime {
    /// A column of instants.
    Column(String),
    /// The same instant for every row.
    Constant(crate::Instant),
}

/// A place that facts of one entity are loaded from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "wire::Source")]
pub struct Source {
    /// Unique in the project.
    pub name: Name,
    /// Entity whose facts it holds.
    pub entity: Name,
    /// Format and place.
    #[serde(flatten)]
    pub format: SourceFormat,
    /// Feature to column, where the names differ.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<Name, String>,
    /// When the facts were true.
    pub event_time: EventTime,
    /// When they were known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrival: Option<Arrival>,
    /// IANA zone of naive datetimes; without it they are refused (rule S15).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Where it stands.
    pub location: Location,
}

/// Format and place of a source. Paths are relative to the project folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "format", rename_all = "snake_case")]
pub enum SourceFormat {
    /// One Parquet file.
    Parquet {
        /// Where it is.
        path: String,
    },
    /// One CSV file with a header line.
    Csv {
        /// Where it is.
        path: String,
    },
    /// One Arrow IPC file or stream.
    Arrow {
        /// Where it is.
        path: String,
    },
    /// A SQLite database.
    Sqlite {
        /// Where it is.
        path: String,
        /// One `select` statement.
        sql: String,
    },
}

/// A query with a name, checked and planned at deploy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedQuery {
    /// Name.
    pub name: Name,
    /// Raised when inputs or outputs change.
    pub version: u32,
    /// What the caller gives.
    pub inputs: Vec<FeaturePath>,
    /// What the caller gets, in this order.
    pub outputs: Vec<FeaturePath>,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub doc: String,
    /// Who answers for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Where it stands.
    pub location: Location,
}

impl Entity {
    /// The feature of that name.
    pub fn find_feature(&self, name: &Name) -> Option<&Feature> {
        self.features.iter().find(|f| &f.name == name)
    }

    /// The relation of that name.
    pub fn find_relation(&self, name: &Name) -> Option<&Relation> {
        self.relations.iter().find(|r| &r.name == name)
    }

    /// The features that make up the key, in order.
    pub fn keys(&self) -> impl Iterator<Item = &Feature> {
        self.features.iter().filter(|f| f.role == Role::Key)
    }
}

impl Graph {
    /// The entity of that name.
    pub fn find_entity(&self, name: &Name) -> Option<&Entity> {
        self.entities.iter().find(|e| &e.name == name)
    }
}

/// How windows and sources are read: flat, and without accepting members they do not have.
mod wire {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::{Aggregate, Arrival, EventTime, Location, SourceFormat};
    use crate::{Expr, Name, Span};

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct Window {
        relation: Name,
        aggregate: String,
        n: Option<u32>,
        thousandths: Option<u32>,
        value: Option<Expr>,
        #[serde(rename = "where")]
        filter: Option<Expr>,
        last: Vec<Span>,
        #[serde(default)]
        include_now: bool,
    }

    impl TryFrom<Window> for super::Window {
        type Error = String;

        fn try_from(window: Window) -> Result<Self, String> {
            let aggregate = match (window.aggregate.as_str(), window.n) {
                ("percentile", None) => match window.thousandths {
                    Some(thousandths) => Aggregate::Percentile { thousandths },
                    None => return Err("a window of `percentile` needs `thousandths`".into()),
                },
                (_, _) if window.thousandths.is_some() => {
                    return Err(format!("a window of `{}` has no `thousandths`", window.aggregate));
                }
                ("last_n", Some(n)) => Aggregate::LastN { n },
                ("last_n", None) => return Err("a window of `last_n` needs `n`".into()),
                (_, Some(_)) => return Err(format!("a window of `{}` has no `n`", window.aggregate)),
                ("count", None) => Aggregate::Count,
                ("sum", None) => Aggregate::Sum,
                ("mean", None) => Aggregate::Mean,
                ("min", None) => Aggregate::Min,
                ("max", None) => Aggregate::Max,
                ("std", None) => Aggregate::Std,
                ("var", None) => Aggregate::Var,
                ("first", None) => Aggregate::First,
                ("last", None) => Aggregate::Last,
                ("distinct", None) => Aggregate::Distinct,
                (unknown, None) => return Err(format!("there is no aggregate `{unknown}`")),
            };
            let Window { relation, value, filter, last, include_now, .. } = window;
            Ok(Self { relation, aggregate, value, filter, last, include_now })
        }
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct Source {
        name: Name,
        entity: Name,
        format: String,
        path: String,
        sql: Option<String>,
        #[serde(default)]
        columns: BTreeMap<Name, String>,
        event_time: EventTime,
        arrival: Option<Arrival>,
        zone: Option<String>,
        location: Location,
    }

    impl TryFrom<Source> for super::Source {
        type Error = String;

        fn try_from(source: Source) -> Result<Self, String> {
            let Source { name, entity, format, path, sql, columns, event_time, arrival, zone, location } = source;
            let format = match (format.as_str(), sql) {
                ("sqlite", Some(sql)) => SourceFormat::Sqlite { path, sql },
                ("sqlite", None) => return Err("a source of format `sqlite` needs `sql`".into()),
                (_, Some(_)) => return Err(format!("a source of format `{format}` has no `sql`")),
                ("parquet", None) => SourceFormat::Parquet { path },
                ("csv", None) => SourceFormat::Csv { path },
                ("arrow", None) => SourceFormat::Arrow { path },
                (unknown, None) => return Err(format!("there is no source format `{unknown}`")),
            };
            Ok(Self { name, entity, format, columns, event_time, arrival, zone, location })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_and_sources_survive_json_and_refuse_strangers() {
        let window = r#"{"relation":"flights","aggregate":"last_n","n":3,"last":["1d"]}"#;
        let read: Window = serde_json::from_str(window).expect("a window");
        assert_eq!(read.aggregate, Aggregate::LastN { n: 3 });
        assert_eq!(serde_json::to_string(&read).expect("JSON"), window);
        let window = r#"{"relation":"flights","aggregate":"percentile","thousandths":95000,"last":["1d"]}"#;
        let read: Window = serde_json::from_str(window).expect("a window");
        assert_eq!(read.aggregate, Aggregate::Percentile { thousandths: 95_000 });
        assert_eq!(serde_json::to_string(&read).expect("JSON"), window);
        let source = r#"{"name":"s","entity":"E","format":"sqlite","path":"a.db","sql":"select 1","event_time":{"column":"at"},"location":{"file":"f.py","line":1}}"#;
        let read: Source = serde_json::from_str(source).expect("a source");
        assert_eq!(serde_json::to_string(&read).expect("JSON"), source);
        for bad in [
            r#"{"relation":"r","aggregate":"count","n":3,"last":[]}"#,
            r#"{"relation":"r","aggregate":"count","thousandths":3,"last":[]}"#,
            r#"{"relation":"r","aggregate":"last_n","n":3,"thousandths":3,"last":[]}"#,
            r#"{"relation":"r","aggregate":"percentile","last":[]}"#,
            r#"{"relation":"r","aggregate":"percentile","n":3,"thousandths":3,"last":[]}"#,
            r#"{"relation":"r","aggregate":"count","last":[],"x":1}"#,
        ] {
            assert!(serde_json::from_str::<Window>(bad).is_err(), "{bad}");
        }
        assert!(serde_json::from_str::<Source>(&source.replace(r#""sql""#, r#""query""#)).is_err());
    }
}
