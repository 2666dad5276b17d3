//! How tags flow: from the features that have them, along everything that is computed from those, until a reviewed
//! declassification stops them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::catalog::{Catalog, FeatureRef};
use crate::lineage::{Enabled, direct_inputs};

/// Tags that say how a feature itself may be used, and nothing about what is computed from it: an `internal` feature may
/// feed others that are returned. All other tags flow.
pub const TAGS_THAT_STAY: &[&str] = &["internal"];

/// Features that no longer carry a tag of what they are computed from, because somebody reviewed that. What a feature or
/// its entity has by itself stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Declassified(BTreeMap<FeatureRef, BTreeSet<String>>);

impl Declassified {
    /// Every tag flows.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// These tags do not flow into, and so not on from, these features.
    pub fn new(pairs: impl IntoIterator<Item = (FeatureRef, String)>) -> Self {
        let mut tags_by_feature = BTreeMap::<FeatureRef, BTreeSet<String>>::new();
        for (feature, tag) in pairs {
            tags_by_feature.entry(feature).or_default().insert(tag);
        }
        Self(tags_by_feature)
    }

    fn stops(&self, feature: &FeatureRef, tag: &str) -> bool {
        self.0.get(feature).is_some_and(|tags| tags.contains(tag))
    }
}

/// What a feature reads, directly or not, each with its direct inputs in any environment.
type Graph = BTreeMap<FeatureRef, BTreeSet<FeatureRef>>;

/// Every tag that `feature` carries, each with the shortest path from it to a feature that has the tag by itself.
pub(crate) fn flowing(
    catalog: Catalog<'_>,
    feature: &FeatureRef,
    declassified: &Declassified,
) -> BTreeMap<String, Vec<FeatureRef>> {
    let graph = graph(catalog, feature);
    let tags: BTreeSet<String> = graph.keys().flat_map(|read| own_tags(catalog, read)).collect();
    let path = |tag: String| {
        let (path, _) = search(catalog, &graph, feature, &tag, declassified);
        path.map(|path| (tag, path))
    };
    tags.into_iter().filter_map(path).collect()
}

/// The features that have `tag` by themselves and from which it would flow to `feature` if nothing were declassified.
pub(crate) fn sources(catalog: Catalog<'_>, feature: &FeatureRef, tag: &str) -> BTreeSet<FeatureRef> {
    let (_, sources) = search(catalog, &graph(catalog, feature), feature, tag, &Declassified::nothing());
    sources
}

fn graph(catalog: Catalog<'_>, feature: &FeatureRef) -> Graph {
    let (mut graph, mut open) = (Graph::new(), vec![feature.clone()]);
    while let Some(next) = open.pop() {
        graph.entry(next).or_insert_with_key(|next| {
            let inputs = direct_inputs(catalog, next, Enabled::Anywhere);
            open.extend(inputs.iter().cloned());
            inputs
        });
    }
    graph
}

fn own_tags(catalog: Catalog<'_>, feature: &FeatureRef) -> impl Iterator<Item = String> {
    let found = catalog.find_feature(feature).into_iter();
    found.flat_map(|(entity, definition)| entity.tags.iter().chain(&definition.tags).cloned())
}

/// Goes from `feature` to what it reads, nearest first and not beyond where the tag is stopped: the path to the first that
/// has the tag by itself, and all that have it.
fn search(
    catalog: Catalog<'_>,
    graph: &Graph,
    feature: &FeatureRef,
    tag: &str,
    declassified: &Declassified,
) -> (Option<Vec<FeatureRef>>, BTreeSet<FeatureRef>) {
    let (mut first, mut sources) = (None, BTreeSet::new());
    let mut seen = BTreeSet::from([feature]);
    let mut open = VecDeque::from([vec![feature]]);
    while let Some(path) = open.pop_front() {
        let here = *path.last().expect("a path has its beginning");
        let flows = path.len() == 1 || !TAGS_THAT_STAY.contains(&tag);
        if flows && own_tags(catalog, here).any(|own| own == tag) {
            first.get_or_insert_with(|| path.iter().map(|feature| (*feature).clone()).collect());
            sources.insert(here.clone());
        }
        if declassified.stops(here, tag) {
            continue;
        }
        for input in graph.get(here).into_iter().flatten().filter(|input| seen.insert(input)) {
            open.push_back(path.iter().copied().chain([input]).collect());
        }
    }
    (first, sources)
}
