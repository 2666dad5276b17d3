//! Fingerprints (rule S28): equal exactly when values may be mixed.
//!
//! A fingerprint covers what decides a value: type and options, expression, window or code with its package lock, the
//! version of the semantics, and the fingerprints of everything read. It leaves out what people read (place, doc,
//! owner, tags, unit, deprecation), how patient a call is (timeout, retries), and which windows a feature lists: each
//! window's value is its own, and readers name the window they read.

use std::collections::{BTreeMap, BTreeSet};

use creta_model::{Entity, Environment, Expr, Feature, FeaturePath, InputSource, PackageLock, Relation, Resolver};
use serde_json::{Value, json};

use crate::canonical::digest;
use crate::catalog::{Catalog, FeatureRef, Production, is_enabled};
use crate::registry::Registry;

/// Version of the meaning of answers. Raised, with a decision page, when a rule of the semantics changes.
pub const SEMANTICS_VERSION: u32 = 1;

impl Registry {
    /// `sha256:<hex>` of what decides the feature's values in that environment; `None` for an unknown feature. Linear
    /// in the definitions it is computed from.
    pub fn feature_fingerprint(&self, feature: &FeatureRef, environment: &Environment) -> Option<String> {
        self.fingerprints_in(environment).of(feature)
    }

    /// `sha256:<hex>` of what a call of the resolver runs: its code, package lock, parameters and outputs. What feeds
    /// the parameters is left out: it may be given, and else stands in the plan and in the features' fingerprints.
    pub fn resolver_fingerprint(&self, resolver: &Resolver) -> String {
        digest(&json!({ "semantics": SEMANTICS_VERSION, "call": call(resolver, &lock(&self.bundle().lock)) }))
    }

    /// Fingerprints of many features of one environment, each computed once.
    pub fn fingerprints_in<'r>(&'r self, environment: &'r Environment) -> Fingerprints<'r> {
        let lock = lock(&self.bundle().lock);
        Fingerprints { catalog: self.catalog(), environment, lock, known: BTreeMap::new() }
    }
}

/// The order of hashes means nothing.
fn lock(lock: &PackageLock) -> Value {
    let packages: BTreeMap<&String, (&String, BTreeSet<&String>)> = lock
        .packages
        .iter()
        .map(|(name, package)| (name, (&package.version, package.hashes.iter().collect())))
        .collect();
    json!({ "python": lock.python, "packages": packages })
}

fn call(resolver: &Resolver, lock: &Value) -> Value {
    json!({
        "mode": resolver.mode,
        "async": resolver.is_async,
        "inputs": resolver.inputs,
        "outputs": resolver.outputs,
        "code": resolver.code,
        "lock": lock,
    })
}

/// Computes fingerprints for one environment and remembers them.
#[derive(Debug)]
pub struct Fingerprints<'r> {
    catalog: Catalog<'r>,
    environment: &'r Environment,
    lock: Value,
    known: BTreeMap<FeatureRef, String>,
}

impl Fingerprints<'_> {
    /// The feature's fingerprint; `None` for an unknown feature.
    pub fn of(&mut self, feature: &FeatureRef) -> Option<String> {
        if let Some(known) = self.known.get(feature) {
            return Some(known.clone());
        }
        let (entity, definition) = self.catalog.find_feature(feature)?;
        let origin = self.origin(entity, definition);
        let fingerprint = digest(&json!({
            "semantics": SEMANTICS_VERSION,
            "feature": feature.to_string(),
            "type": definition.ty,
            "optional": definition.optional,
            "role": definition.role,
            "default": definition.default,
            "validation": definition.validation,
            "max_age": definition.max_age,
            "version": definition.version,
            "origin": origin,
        }));
        self.known.insert(feature.clone(), fingerprint.clone());
        Some(fingerprint)
    }

    fn origin(&mut self, entity: &Entity, feature: &Feature) -> Value {
        match self.catalog.production(entity, feature) {
            Production::Facts => json!({ "facts": self.facts(entity) }),
            Production::Expression(expr) => {
                let reads = self.expression_reads(expr);
                json!({ "expression": expr, "reads": reads })
            }
            Production::Window(window) => {
                let relation = entity.find_relation(&window.relation).map(|relation| self.relation(entity, relation));
                let target = entity.find_relation(&window.relation).and_then(|r| self.catalog.find_entity(&r.target));
                let reads: BTreeMap<String, Value> =
                    window.value.iter().chain(&window.filter).flat_map(|expr| self.expression_reads(expr)).collect();
                json!({
                    "aggregate": window.aggregate,
                    "value": window.value,
                    "where": window.filter,
                    "include_now": window.include_now,
                    "relation": relation,
                    "facts": target.map(|target| self.facts(target)),
                    "reads": reads,
                })
            }
            Production::Resolvers(resolvers) => {
                match resolvers.into_iter().find(|resolver| is_enabled(resolver, self.environment)) {
                    Some(resolver) => {
                        let position = resolver.outputs.iter().position(|output| output.feature == feature.name);
                        let paths = resolver.inputs.iter().filter_map(|input| match &input.from {
                            InputSource::Path(path) => Some(path),
                            InputSource::Now => None,
                        });
                        let reads: BTreeMap<String, Value> =
                            paths.map(|path| (path.to_string(), self.path(path))).collect();
                        json!({ "resolver": call(resolver, &self.lock), "output": position, "reads": reads })
                    }
                    // Nothing makes it here: it can only be given.
                    None => Value::Null,
                }
            }
        }
    }

    /// How facts of an entity are told apart: its key, and what marks versions of one event (rule S8).
    fn facts(&self, entity: &Entity) -> Value {
        let key: Vec<Value> = entity.keys().map(|key| json!([key.name, key.ty])).collect();
        let event_id = entity.features.iter().find(|feature| feature.event_id).map(|feature| &feature.name);
        json!({ "entity": entity.name, "key": key, "event_id": event_id })
    }

    fn relation(&mut self, entity: &Entity, relation: &Relation) -> Value {
        let mut on: Vec<Value> = Vec::new();
        for (here, there) in &relation.on {
            let left = self.of(&FeatureRef::new(&entity.name, here));
            let right = self.of(&FeatureRef::new(&relation.target, there));
            on.push(json!([there, left, right]));
        }
        on.sort_by_cached_key(Value::to_string);
        json!({ "kind": relation.kind, "target": relation.target, "on": on })
    }

    fn expression_reads(&mut self, expr: &Expr) -> BTreeMap<String, Value> {
        let mut reads = BTreeMap::new();
        expr.for_each_path(&mut |path| {
            reads.insert(path.to_string(), self.path(path));
        });
        reads
    }

    /// A path's fingerprint: the relations it follows, the feature it ends at, and which window.
    fn path(&mut self, path: &FeaturePath) -> Value {
        let Ok(target) = self.catalog.follow(path) else {
            return Value::Null;
        };
        let hops: Vec<Value> = target.hops.iter().map(|hop| self.relation(hop.from, hop.relation)).collect();
        let feature = self.of(&FeatureRef::new(&target.entity.name, &target.feature.name));
        json!({ "hops": hops, "feature": feature, "window": path.window })
    }
}
