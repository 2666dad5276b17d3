//! Definitions as short text, so that a golden case fits on a screen. One definition a line; members are indented;
//! options stand behind two spaces. The line number in a case is the line of the definition.
//!
//! ```text
//! entity Carrier  owner=ops
//!   key code: str
//!   many flights: Flight on code = carrier
//!   delay_mean: float = mean(flights: dep_delay) where dep_delay > 0 last 1h 1d
//!   late: bool = delay_mean[1d] > 15
//! resolver risk(delay: Flight.operator.delay_mean[1d], wind: Flight.weather.wind | None, at: now) -> Flight.risk  env=prod
//! source flights of Flight csv data/flights.csv  event_time=departed columns=dep_delay:delay
//! query risk/1 (Flight.id) -> Flight.risk
//! ```

use std::collections::BTreeMap;

use creta_model::{
    Aggregate, Arrival, BUNDLE_FORMAT, Bundle, Entity, EventTime, Feature, FeaturePath, GRAPH_FORMAT, Graph,
    InputSource, Location, LockedPackage, Name, NamedQuery, PackageLock, Relation, RelationKind, Resolver,
    ResolverInput, ResolverMode, Role, Source, SourceFormat, Span, StructField, Type, Validation, Window,
};

use crate::dsl_expr::parse_expr;

/// The file that locations of a case name.
const FILE: &str = "features.py";

/// Reads the definitions of a case. `first_line` is the line of the case's first definition.
pub(crate) fn parse(text: &str) -> Bundle {
    let mut graph = Graph {
        format: GRAPH_FORMAT.into(),
        project: "flights".into(),
        entities: Vec::new(),
        resolvers: Vec::new(),
        sources: Vec::new(),
        queries: Vec::new(),
    };
    let mut lock = PackageLock { python: "3.11".into(), packages: BTreeMap::new() };
    let lines: Vec<&str> = text.lines().collect();
    // Windows speak of their relation's target, which may be defined further down.
    let targets = relation_targets(&lines);
    for (number, line) in lines.iter().enumerate() {
        let location = Location { file: FILE.into(), line: number as u32 + 1 };
        let (head, options) = split_options(line.trim());
        if head.is_empty() || head.starts_with('#') {
            continue;
        }
        if line.starts_with("  ") {
            let entity = graph.entities.last_mut().expect("a member follows its entity");
            member(entity, head, &options, location, &targets);
            continue;
        }
        let (word, rest) = head.split_once(' ').expect("a definition starts with its kind");
        match word {
            "format" => graph.format = rest.into(),
            "entity" => graph.entities.push(entity(rest, &options, location)),
            "resolver" => graph.resolvers.push(resolver(rest, &options, location)),
            "source" => graph.sources.push(source(rest, &options, location)),
            "query" => graph.queries.push(query(rest, location)),
            "package" => {
                let (package, hash) = rest.split_once(' ').unwrap_or((rest, ""));
                let (package, version) = package.split_once("==").expect("name==version");
                let hashes = if hash.is_empty() { Vec::new() } else { vec![hash.into()] };
                lock.packages.insert(package.into(), LockedPackage { version: version.into(), hashes });
            }
            other => panic!("unknown definition `{other}`"),
        }
    }
    Bundle { format: BUNDLE_FORMAT.into(), graph, modules: BTreeMap::new(), lock }
}

pub(crate) fn name(text: &str) -> Name {
    Name::parse(text.trim()).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn path(text: &str) -> FeaturePath {
    FeaturePath::parse(text.trim()).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn paths(text: &str) -> Vec<FeaturePath> {
    text.split(',').map(str::trim).filter(|text| !text.is_empty()).map(path).collect()
}

type Options<'a> = BTreeMap<&'a str, &'a str>;

fn split_options(line: &str) -> (&str, Options<'_>) {
    let mut parts = line.split("  ");
    let head = parts.next().unwrap_or_default().trim();
    let options = parts.flat_map(|part| options_of(part.trim()));
    (head, options.collect())
}

/// `a=1 b="two words" c`.
fn options_of(text: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(['=', ' ']).unwrap_or(rest.len());
        let key = &rest[..end];
        if rest[end..].starts_with('=') {
            let value = &rest[end + 1..];
            let length = match value.strip_prefix('"') {
                Some(quoted) => quoted.find('"').expect("a closing quote") + 2,
                None => value.find(' ').unwrap_or(value.len()),
            };
            found.push((key, value[..length].trim_matches('"')));
            rest = value[length..].trim_start();
        } else {
            found.push((key, ""));
            rest = rest[end..].trim_start();
        }
    }
    found
}

fn relation_targets(lines: &[&str]) -> BTreeMap<(String, String), String> {
    let mut targets = BTreeMap::new();
    let mut entity = String::new();
    for line in lines {
        let trimmed = line.trim();
        if let Some(rest) = trimmed.strip_prefix("entity ") {
            entity = rest.split_whitespace().next().unwrap_or_default().to_owned();
        } else if let Some(rest) = trimmed.strip_prefix("many ").or_else(|| trimmed.strip_prefix("one ")) {
            let (relation, rest) = rest.split_once(':').expect("name: Target");
            let target = rest.split_whitespace().next().expect("a target");
            targets.insert((entity.clone(), relation.trim().to_owned()), target.to_owned());
        }
    }
    targets
}

fn tags(options: &Options<'_>) -> Vec<String> {
    options.get("tags").map_or_else(Vec::new, |tags| tags.split(',').map(str::to_owned).collect())
}

fn text(options: &Options<'_>, key: &str) -> Option<String> {
    options.get(key).map(|value| (*value).to_owned())
}

fn entity(head: &str, options: &Options<'_>, location: Location) -> Entity {
    Entity {
        name: name(head),
        doc: text(options, "doc").unwrap_or_default(),
        owner: text(options, "owner"),
        tags: tags(options),
        renamed_from: options.get("was").map(|was| name(was)),
        features: Vec::new(),
        relations: Vec::new(),
        location,
    }
}

fn member(
    entity: &mut Entity,
    head: &str,
    options: &Options<'_>,
    location: Location,
    targets: &BTreeMap<(String, String), String>,
) {
    let (word, rest) = head.split_once(' ').unwrap_or((head, ""));
    match word {
        "one" | "many" => {
            let kind = if word == "one" { RelationKind::One } else { RelationKind::Many };
            let (relation, rest) = rest.split_once(':').expect("name: Target on a = b");
            let (target, on) = rest.trim().split_once(" on").unwrap_or((rest, ""));
            let pairs = on.split(',').filter(|pair| !pair.trim().is_empty());
            let on = pairs.map(|pair| pair.split_once('=').map(|(a, b)| (name(a), name(b))).expect("a = b")).collect();
            entity.relations.push(Relation { name: name(relation), kind, target: name(target), on, location });
        }
        "key" => entity.features.push(feature(entity, rest, Role::Key, options, location, targets)),
        "event_time" => entity.features.push(feature(entity, rest, Role::EventTime, options, location, targets)),
        _ => entity.features.push(feature(entity, head, Role::Value, options, location, targets)),
    }
}

fn feature(
    entity: &Entity,
    head: &str,
    role: Role,
    options: &Options<'_>,
    location: Location,
    targets: &BTreeMap<(String, String), String>,
) -> Feature {
    let (feature_name, rest) = head.split_once(':').expect("name: type");
    let (ty, origin) = rest.split_once(" = ").map_or((rest, None), |(ty, origin)| (ty, Some(origin.trim())));
    let (ty, optional) = ty.trim().strip_suffix("| None").map_or((ty, false), |ty| (ty, true));
    let window = origin.filter(|origin| origin.contains(" last")).map(|origin| parse_window(entity, origin, targets));
    let expression = origin.filter(|_| window.is_none()).map(|origin| parse_expr(origin, entity.name.as_str()));
    let number = |key: &str| options.get(key).map(|value| value.parse().expect("a number"));
    let bounds = Validation {
        min: number("min"),
        max: number("max"),
        min_length: options.get("min_length").map(|n| n.parse().expect("a count")),
        max_length: options.get("max_length").map(|n| n.parse().expect("a count")),
        pattern: text(options, "pattern"),
    };
    Feature {
        name: name(feature_name),
        ty: parse_type(ty),
        optional,
        role,
        event_id: options.contains_key("event_id"),
        doc: text(options, "doc").unwrap_or_default(),
        owner: text(options, "owner"),
        tags: tags(options),
        unit: text(options, "unit"),
        default: options.get("default").map(|json| serde_json::from_str(json).unwrap_or_else(|_| (*json).into())),
        validation: (bounds != Validation::default()).then_some(bounds),
        max_age: options.get("max_age").map(|age| Span::parse(age).expect("a span")),
        version: options.get("version").map_or(1, |version| version.parse().expect("a version")),
        deprecated: text(options, "deprecated"),
        renamed_from: options.get("was").map(|was| name(was)),
        expression,
        window,
        location,
    }
}

/// `mean(flights: dep_delay) where dep_delay > 0 last 1h 1d now`.
fn parse_window(entity: &Entity, text: &str, targets: &BTreeMap<(String, String), String>) -> Window {
    let (text, spans) = text.rsplit_once(" last").expect("` last` and spans");
    let include_now = spans.contains("now");
    let last =
        spans.split_whitespace().filter(|span| *span != "now").map(|s| Span::parse(s).expect("a span")).collect();
    let (text, filter) = text.split_once(" where ").map_or((text, None), |(text, filter)| (text, Some(filter)));
    let (function, arguments) = text.trim().split_once('(').expect("function(relation)");
    let arguments = arguments.strip_suffix(')').expect("a closing parenthesis");
    let (relation, value) = arguments.split_once(':').map_or((arguments, None), |(r, value)| (r, Some(value)));
    let target = targets.get(&(entity.name.to_string(), relation.trim().to_owned()));
    let target = target.map_or(entity.name.as_str(), String::as_str);
    let aggregate = match function.split_once('[') {
        Some(("last_n", n)) => Aggregate::LastN { n: n.trim_end_matches(']').parse().expect("a count") },
        Some(("percentile", n)) => {
            Aggregate::Percentile { thousandths: n.trim_end_matches(']').parse().expect("thousandths") }
        }
        _ => serde_json::from_value(serde_json::json!({ "aggregate": function })).expect("an aggregate"),
    };
    Window {
        relation: name(relation),
        aggregate,
        value: value.map(|value| parse_expr(value, target)),
        filter: filter.map(|filter| parse_expr(filter, target)),
        last,
        include_now,
    }
}

pub(crate) fn parse_type(text: &str) -> Type {
    let text = text.trim();
    if let Some(item) = text.strip_prefix("list[").and_then(|rest| rest.strip_suffix(']')) {
        let (item, optional) = item.strip_suffix("| None").map_or((item, false), |item| (item, true));
        return Type::List { item: Box::new(parse_type(item)), optional };
    }
    let (kind, arguments) = text.split_once('(').map_or((text, ""), |(kind, rest)| (kind, rest.trim_end_matches(')')));
    match kind {
        "bool" => Type::Bool,
        "int" => Type::Int,
        "float" => Type::Float,
        "str" => Type::Str,
        "bytes" => Type::Bytes,
        "date" => Type::Date,
        "datetime" => Type::Datetime,
        "timedelta" => Type::Timedelta,
        "decimal" => Type::Decimal { scale: arguments.parse().expect("places") },
        "vector" => Type::Vector { size: arguments.parse().expect("a size") },
        "enum" => {
            let (name, members) = arguments.split_once(':').expect("enum(Name: a b)");
            Type::Enum { name: name.into(), members: members.split_whitespace().map(str::to_owned).collect() }
        }
        "struct" => {
            let (name, fields) = arguments.split_once(':').expect("struct(Name: field)");
            let field = |field: &str| StructField { name: field.into(), ty: Type::Float, optional: false };
            Type::Struct { name: name.into(), fields: fields.split_whitespace().map(field).collect() }
        }
        other => panic!("unknown type `{other}`"),
    }
}

fn resolver(head: &str, options: &Options<'_>, location: Location) -> Resolver {
    let (resolver_name, rest) = head.split_once('(').expect("name(inputs) -> outputs");
    let (inputs, outputs) = rest.split_once(") ->").expect(") -> outputs");
    let inputs = inputs.split(',').filter(|input| !input.trim().is_empty()).map(|input| {
        let (parameter, from) = input.split_once(':').expect("parameter: path");
        let (from, optional) = from.trim().strip_suffix("| None").map_or((from.trim(), false), |from| (from, true));
        let from = if from == "now" { InputSource::Now } else { InputSource::Path(path(from)) };
        ResolverInput { name: parameter.trim().into(), from, optional }
    });
    Resolver {
        name: name(resolver_name),
        module: "features".into(),
        mode: ResolverMode::Scalar,
        is_async: options.contains_key("async"),
        doc: text(options, "doc").unwrap_or_default(),
        owner: text(options, "owner"),
        inputs: inputs.collect(),
        outputs: paths(outputs),
        environments: options.get("env").map_or_else(Vec::new, |env| env.split(',').map(str::to_owned).collect()),
        timeout: options.get("timeout").map(|timeout| Span::parse(timeout).expect("a span")),
        retries: options.get("retries").map_or(0, |retries| retries.parse().expect("a count")),
        code: text(options, "code").unwrap_or_else(|| format!("def {}(): ...", resolver_name.trim())),
        location,
    }
}

/// `flights of Flight csv data/flights.csv`.
fn source(head: &str, options: &Options<'_>, location: Location) -> Source {
    let words: Vec<&str> = head.split_whitespace().collect();
    let [source_name, "of", entity, format, path] = words[..] else { panic!("name of Entity format path") };
    let path = path.to_owned();
    Source {
        name: name(source_name),
        entity: name(entity),
        format: match format {
            "parquet" => SourceFormat::Parquet { path },
            "csv" => SourceFormat::Csv { path },
            "arrow" => SourceFormat::Arrow { path },
            "sqlite" => SourceFormat::Sqlite { path, sql: text(options, "sql").unwrap_or_default() },
            other => panic!("unknown format `{other}`"),
        },
        columns: options.get("columns").map_or_else(BTreeMap::new, |columns| {
            let pair = |pair: &str| pair.split_once(':').map(|(f, c)| (name(f), c.to_owned())).expect("feature:column");
            columns.split(',').map(pair).collect()
        }),
        event_time: EventTime::Column(text(options, "event_time").unwrap_or_else(|| "at".into())),
        arrival: options.get("delay").map(|delay| Arrival::Delay(Span::parse(delay).expect("a span"))),
        zone: text(options, "zone"),
        location,
    }
}

/// `risk/1 (Flight.id) -> Flight.risk`.
fn query(head: &str, location: Location) -> NamedQuery {
    let (query, rest) = head.split_once('(').expect("name/version (inputs) -> outputs");
    let (query_name, version) = query.split_once('/').expect("name/version");
    let (inputs, outputs) = rest.split_once(") ->").expect(") -> outputs");
    NamedQuery {
        name: name(query_name),
        version: version.trim().parse().expect("a version"),
        inputs: paths(inputs),
        outputs: paths(outputs),
        doc: String::new(),
        owner: None,
        location,
    }
}
