//! What a change of definitions changes, for the person who is about to deploy it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use creta_model::{Entity, Environment, Name, NamedQuery, Resolver};
use serde::{Deserialize, Serialize};

use crate::catalog::FeatureRef;
use crate::properties::{self, Properties};
use crate::registry::Registry;

/// What happened to a definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Happened {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It is still there, with other properties or another name.
    Changed,
}

/// One property that changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PropertyChange {
    /// `type`, `max_age`, `code`, ...
    pub property: String,
    /// What it was; absent when it was not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What it is; absent when it is no longer set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// One definition that was added, removed or changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What happened.
    pub happened: Happened,
    /// `entity`, `feature`, `relation`, `resolver`, `source`, `query` or `packages`.
    pub kind: Cow<'static, str>,
    /// Its name; for what was removed, the name it had.
    pub name: String,
    /// The name it had before, when it was renamed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renamed_from: Option<String>,
    /// Sorted by name. Empty for what was added or removed.
    pub properties: Vec<PropertyChange>,
}

/// All changes between two registries. `Display` writes one line for each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diff {
    /// Entities with their features and relations first, then resolvers, sources, queries and packages.
    pub changes: Vec<Change>,
    /// Computed features that were there before and whose fingerprint changed in some environment, by their present
    /// names: their values so far may not be mixed with new ones.
    pub recomputed: Vec<FeatureRef>,
}

impl Diff {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.recomputed.is_empty()
    }
}

/// What changes from `old` to `new`; everything is added when there is no old one.
pub fn diff(old: Option<&Registry>, new: &Registry) -> Diff {
    let mut changes = Vec::new();
    let before = old.map_or(&[][..], |old| &old.graph().entities);
    let entities = matched(before, &new.graph().entities, |e| &e.name, |e| e.renamed_from.as_ref());
    for (was, is) in &entities {
        let describe = |entity: &Entity| (entity.name.to_string(), properties::of_entity(entity));
        compare("entity", was.map(describe), is.map(describe), &mut changes);
        members(old, *was, new, *is, &mut changes);
    }
    let resolvers = old.map_or(&[][..], |old| &old.graph().resolvers);
    for (was, is) in matched(resolvers, &new.graph().resolvers, |r| &r.name, |_| None) {
        let describe = |resolver: &Resolver| (resolver.name.to_string(), properties::of_resolver(resolver));
        compare("resolver", was.map(describe), is.map(describe), &mut changes);
    }
    let sources = old.map_or(&[][..], |old| &old.graph().sources);
    for (was, is) in matched(sources, &new.graph().sources, |s| &s.name, |_| None) {
        let describe = |source: &creta_model::Source| (source.name.to_string(), properties::of_source(source));
        compare("source", was.map(describe), is.map(describe), &mut changes);
    }
    queries(old.map_or(&[], |old| &old.graph().queries), &new.graph().queries, &mut changes);
    if let Some(old) = old {
        let describe = |registry: &Registry| ("lock".to_owned(), properties::of_lock(&registry.bundle().lock));
        compare("packages", Some(describe(old)), Some(describe(new)), &mut changes);
    }
    Diff { changes, recomputed: old.map_or_else(Vec::new, |old| recomputed(old, new, &entities)) }
}

/// Features and relations of an entity, in order of name.
fn members(
    old: Option<&Registry>,
    was: Option<&Entity>,
    new: &Registry,
    is: Option<&Entity>,
    changes: &mut Vec<Change>,
) {
    let features = matched(
        was.map_or(&[][..], |entity| &entity.features),
        is.map_or(&[][..], |entity| &entity.features),
        |feature| &feature.name,
        |feature| feature.renamed_from.as_ref(),
    );
    for (before, after) in features {
        let before = old.zip(was).zip(before).map(|((old, entity), feature)| {
            (format!("{}.{}", entity.name, feature.name), properties::of_feature(old.catalog(), entity, feature))
        });
        let after = is.zip(after).map(|(entity, feature)| {
            (format!("{}.{}", entity.name, feature.name), properties::of_feature(new.catalog(), entity, feature))
        });
        compare("feature", before, after, changes);
    }
    let relations = matched(
        was.map_or(&[][..], |entity| &entity.relations),
        is.map_or(&[][..], |entity| &entity.relations),
        |relation| &relation.name,
        |_| None,
    );
    for (before, after) in relations {
        let describe = |entity: &Entity, relation: &creta_model::Relation| {
            (format!("{}.{}", entity.name, relation.name), properties::of_relation(relation))
        };
        let before = was.zip(before).map(|(entity, relation)| describe(entity, relation));
        let after = is.zip(after).map(|(entity, relation)| describe(entity, relation));
        compare("relation", before, after, changes);
    }
}

/// Queries stay what they are under one name and version.
fn queries(old: &[NamedQuery], new: &[NamedQuery], changes: &mut Vec<Change>) {
    let by_name = |queries: &[NamedQuery]| -> BTreeMap<(Name, u32), Properties> {
        queries.iter().map(|query| ((query.name.clone(), query.version), properties::of_query(query))).collect()
    };
    let (old, new) = (by_name(old), by_name(new));
    let all: BTreeSet<&(Name, u32)> = old.keys().chain(new.keys()).collect();
    for key @ (name, version) in all {
        let describe = |properties: &Properties| (format!("{name} version {version}"), properties.clone());
        compare("query", old.get(key).map(describe), new.get(key).map(describe), changes);
    }
}

/// Pairs of definitions before and after, sorted by their present name: those of one name belong together, else those
/// of which one was renamed from the other.
fn matched<'a, T>(
    old: &'a [T],
    new: &'a [T],
    name: impl Fn(&T) -> &Name,
    renamed_from: impl Fn(&T) -> Option<&Name>,
) -> Vec<(Option<&'a T>, Option<&'a T>)> {
    let known: BTreeMap<&Name, &'a T> = old.iter().map(|was| (name(was), was)).collect();
    let mut carried: BTreeSet<&Name> = BTreeSet::new();
    let mut pairs = Vec::new();
    for is in new {
        let was = known.get(name(is)).or_else(|| known.get(renamed_from(is)?)).copied();
        carried.extend(was.map(&name));
        pairs.push((was, Some(is)));
    }
    pairs.extend(old.iter().filter(|was| !carried.contains(name(was))).map(|was| (Some(was), None)));
    pairs.sort_by(|a, b| {
        let present = |pair: &(Option<&'a T>, Option<&'a T>)| pair.1.or(pair.0).map(|one| name(one).clone());
        present(a).cmp(&present(b))
    });
    pairs
}

/// Adds a change when one side is missing or a property differs.
fn compare(
    kind: &'static str,
    was: Option<(String, Properties)>,
    is: Option<(String, Properties)>,
    changes: &mut Vec<Change>,
) {
    let kind = Cow::Borrowed(kind);
    let change = match (was, is) {
        (None, None) => return,
        (None, Some((name, _))) => {
            Change { happened: Happened::Added, kind, name, renamed_from: None, properties: Vec::new() }
        }
        (Some((name, _)), None) => {
            Change { happened: Happened::Removed, kind, name, renamed_from: None, properties: Vec::new() }
        }
        (Some((old_name, old)), Some((name, new))) => {
            let all: BTreeSet<&&str> = old.keys().chain(new.keys()).collect();
            let properties: Vec<PropertyChange> = all
                .into_iter()
                .filter(|property| old.get(*property) != new.get(*property))
                .map(|property| PropertyChange {
                    property: (*property).to_owned(),
                    from: old.get(property).cloned(),
                    to: new.get(property).cloned(),
                })
                .collect();
            // Members of a renamed entity are renamed with it, which one line says.
            let own = |name: &str| name.rsplit_once('.').map_or(name.to_owned(), |(_, own)| own.to_owned());
            let renamed_from = (own(&old_name) != own(&name)).then_some(old_name);
            if properties.is_empty() && renamed_from.is_none() {
                return;
            }
            Change { happened: Happened::Changed, kind, name, renamed_from, properties }
        }
    };
    changes.push(change);
}

/// Computed features of both whose values may no longer be mixed, in any environment that either registry names or in
/// one that neither names.
fn recomputed(old: &Registry, new: &Registry, entities: &[(Option<&Entity>, Option<&Entity>)]) -> Vec<FeatureRef> {
    let named = |registry: &Registry| -> Vec<Environment> {
        let resolvers = registry.graph().resolvers.iter();
        resolvers
            .flat_map(|r| r.environments.iter().filter_map(|name| Environment::parse(name.as_str()).ok()))
            .collect()
    };
    let mut environments: BTreeSet<Environment> = named(old).into_iter().chain(named(new)).collect();
    let other = (0..).map(|n| format!("other-{n}")).filter_map(|name| Environment::parse(name).ok());
    environments.extend(other.into_iter().find(|name| !environments.contains(name)));

    let mut pairs = Vec::new();
    for (was, is) in entities.iter().filter_map(|(was, is)| was.zip(*is)) {
        let features = matched(&was.features, &is.features, |f| &f.name, |f| f.renamed_from.as_ref());
        for (before, after) in features.into_iter().filter_map(|(before, after)| before.zip(after)) {
            if !new.catalog().is_stored(is, after) {
                pairs.push((FeatureRef::new(&was.name, &before.name), FeatureRef::new(&is.name, &after.name)));
            }
        }
    }
    let mut changed = BTreeSet::new();
    for environment in &environments {
        let (mut was, mut is) = (old.fingerprints_in(environment), new.fingerprints_in(environment));
        changed.extend(pairs.iter().filter(|(before, after)| was.of(before) != is.of(after)).map(|(_, after)| after));
    }
    changed.into_iter().cloned().collect()
}

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return writeln!(f, "nothing changes");
        }
        self.changes.iter().try_for_each(|change| write!(f, "{change}"))?;
        if self.recomputed.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = self.recomputed.iter().map(FeatureRef::to_string).collect();
        writeln!(f, "recomputed: {}", names.join(", "))
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.happened {
            Happened::Added => '+',
            Happened::Removed => '-',
            Happened::Changed => '~',
        };
        write!(f, "{sign} {} {}", self.kind, self.name)?;
        if let Some(old) = &self.renamed_from {
            write!(f, ", renamed from {old}")?;
        }
        writeln!(f)?;
        for change in &self.properties {
            let shown = |side: &Option<String>| side.clone().unwrap_or_else(|| "none".to_owned());
            writeln!(f, "    {}: {} -> {}", change.property, shown(&change.from), shown(&change.to))?;
        }
        Ok(())
    }
}
