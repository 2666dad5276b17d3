//! Definitions as named properties in people's words, so that two versions can be compared line by line.

use std::collections::BTreeMap;

use creta_model::{
    Arrival, Entity, EventTime, Feature, FeaturePath, InputSource, NamedQuery, PackageLock, Relation, RelationKind,
    Resolver, ResolverMode, Role, Source, SourceFormat, Validation,
};

use crate::canonical::digest;
use crate::catalog::{Catalog, Production};
use crate::render::{render_expr, render_spans, render_type, render_window};

/// Properties that are set, by name.
pub(crate) type Properties = BTreeMap<&'static str, String>;

/// Leaves out what is not set, so that setting it shows as a change from nothing.
fn set<const N: usize>(properties: [(&'static str, Option<String>); N]) -> Properties {
    properties.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.lines().map(str::trim).collect::<Vec<_>>().join(" "))
}

fn list(items: &[String]) -> Option<String> {
    let mut items = items.to_vec();
    items.sort();
    (!items.is_empty()).then(|| items.join(", "))
}

fn flag(flag: bool) -> Option<String> {
    flag.then(|| "yes".to_owned())
}

fn paths(paths: &[FeaturePath]) -> Option<String> {
    (!paths.is_empty()).then(|| paths.iter().map(FeaturePath::to_string).collect::<Vec<_>>().join(", "))
}

pub(crate) fn of_entity(entity: &Entity) -> Properties {
    set([
        ("doc", text(&entity.doc)),
        ("owner", entity.owner.clone()),
        ("tags", list(&entity.tags)),
        ("key", text(&entity.keys().map(|key| key.name.to_string()).collect::<Vec<_>>().join(", "))),
    ])
}

pub(crate) fn of_feature(catalog: Catalog<'_>, entity: &Entity, feature: &Feature) -> Properties {
    let found = entity.find_feature(&feature.name).expect("the feature is one of the entity's");
    let from = match catalog.production(entity, found) {
        Production::Facts => "facts".to_owned(),
        Production::Expression(expr) => render_expr(expr),
        Production::Window(window) => render_window(window),
        Production::Resolvers(resolvers) => {
            let names = resolvers.iter().map(|resolver| format!("resolver {}", resolver.name));
            names.collect::<Vec<_>>().join(" or ")
        }
    };
    let role = match feature.role {
        Role::Key => Some("key".to_owned()),
        Role::EventTime => Some("event time".to_owned()),
        Role::Value => None,
    };
    set([
        ("type", Some(render_type(&feature.ty, feature.optional))),
        ("members", members(&feature.ty)),
        ("from", Some(from)),
        ("role", role),
        ("event id", flag(feature.event_id)),
        ("windows", feature.window.as_ref().map(|window| render_spans(&window.last))),
        ("default", feature.default.as_ref().map(ToString::to_string)),
        ("check", feature.validation.as_ref().map(bounds)),
        ("max_age", feature.max_age.map(|age| age.to_string())),
        ("version", Some(feature.version.to_string())),
        ("deprecated", feature.deprecated.clone()),
        ("doc", text(&feature.doc)),
        ("owner", feature.owner.clone()),
        ("tags", list(&feature.tags)),
        ("unit", feature.unit.clone()),
    ])
}

/// What the name of a type leaves out.
fn members(ty: &creta_model::Type) -> Option<String> {
    match ty {
        creta_model::Type::Decimal { scale } => Some(format!("{scale} places")),
        creta_model::Type::Enum { members, .. } => Some(members.join(", ")),
        creta_model::Type::Struct { fields, .. } => {
            let fields =
                fields.iter().map(|field| format!("{}: {}", field.name, render_type(&field.ty, field.optional)));
            Some(fields.collect::<Vec<_>>().join(", "))
        }
        creta_model::Type::List { item, .. } => members(item),
        _ => None,
    }
}

fn bounds(bounds: &Validation) -> String {
    let given = [
        bounds.min.map(|min| format!("min {min}")),
        bounds.max.map(|max| format!("max {max}")),
        bounds.min_length.map(|min| format!("min length {min}")),
        bounds.max_length.map(|max| format!("max length {max}")),
        bounds.pattern.as_ref().map(|pattern| format!("pattern {pattern}")),
    ];
    given.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

pub(crate) fn of_relation(relation: &Relation) -> Properties {
    let kind = match relation.kind {
        RelationKind::One => "one",
        RelationKind::Many => "many",
    };
    let on: Vec<String> =
        relation.on.iter().map(|(here, there)| format!("{here} = {}.{there}", relation.target)).collect();
    set([("to", Some(format!("{kind} {}", relation.target))), ("on", Some(on.join(" and ")))])
}

pub(crate) fn of_resolver(resolver: &Resolver) -> Properties {
    let mode = match resolver.mode {
        ResolverMode::Scalar => "plain values",
        ResolverMode::Pandas => "pandas",
        ResolverMode::Polars => "polars",
        ResolverMode::Arrow => "arrow",
    };
    let inputs = resolver.inputs.iter().map(|input| {
        let from = match &input.from {
            InputSource::Path(path) => path.to_string(),
            InputSource::Now => "now".to_owned(),
        };
        format!("{}: {from}{}", input.name, if input.optional { " | None" } else { "" })
    });
    set([
        ("module", text(&resolver.module)),
        ("frame", Some(mode.to_owned())),
        ("async", flag(resolver.is_async)),
        ("inputs", text(&inputs.collect::<Vec<_>>().join(", "))),
        ("outputs", paths(&resolver.outputs)),
        ("environments", list(&resolver.environments)),
        ("timeout", resolver.timeout.map(|timeout| timeout.to_string())),
        ("retries", (resolver.retries > 0).then(|| resolver.retries.to_string())),
        ("code", Some(digest(&resolver.code)[..19].to_owned())),
        ("doc", text(&resolver.doc)),
        ("owner", resolver.owner.clone()),
    ])
}

pub(crate) fn of_source(source: &Source) -> Properties {
    let (format, path, sql) = match &source.format {
        SourceFormat::Parquet { path } => ("parquet", path, None),
        SourceFormat::Csv { path } => ("csv", path, None),
        SourceFormat::Arrow { path } => ("arrow", path, None),
        SourceFormat::Sqlite { path, sql } => ("sqlite", path, Some(sql)),
    };
    let columns: Vec<String> = source.columns.iter().map(|(feature, column)| format!("{feature} = {column}")).collect();
    let event_time = match &source.event_time {
        EventTime::Column(column) => format!("column {column}"),
        EventTime::Constant(at) => at.to_string(),
    };
    let arrival = source.arrival.as_ref().map(|arrival| match arrival {
        Arrival::Column(column) => format!("column {column}"),
        Arrival::Delay(delay) => format!("event time + {delay}"),
    });
    set([
        ("entity", Some(source.entity.to_string())),
        ("format", Some(format.to_owned())),
        ("path", Some(path.clone())),
        ("sql", sql.and_then(|sql| text(sql))),
        ("columns", text(&columns.join(", "))),
        ("event_time", Some(event_time)),
        ("arrival", arrival),
        ("zone", source.zone.clone()),
    ])
}

pub(crate) fn of_query(query: &NamedQuery) -> Properties {
    set([
        ("inputs", paths(&query.inputs)),
        ("outputs", paths(&query.outputs)),
        ("doc", text(&query.doc)),
        ("owner", query.owner.clone()),
    ])
}

pub(crate) fn of_lock(lock: &PackageLock) -> Properties {
    let packages: Vec<String> =
        lock.packages.iter().map(|(name, package)| format!("{name} {}", package.version)).collect();
    let hashes = (!lock.packages.is_empty()).then(|| digest(&lock.packages)[..19].to_owned());
    set([("python", text(&lock.python)), ("packages", text(&packages.join(", "))), ("files", hashes)])
}
