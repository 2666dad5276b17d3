//! Fingerprints (rule S28): equal exactly when values may be mixed.
//!
//! A fingerprint covers what decides a value: type and options, expression, window or code with its package lock, the
//! version of the semantics, and the fingerprints of everything read. It leaves out what people read (place, doc,
//! owner, tags, unit, deprecation), how patient a call is (timeout, retries), and which windows a feature lists: each
//! window's value is its own, and readers name the window they read.

use std::collections::BTreeMap;

use creta_model::{Entity, Environment, Expr, Feature, FeaturePath, InputSource, Relation, Resolver};
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

    /// `sha256:<hex>` of a resolver's code, package lock and inputs in that environment.
    pub fn resolver_fingerprint(&self, resolver: &Resolver, environment: &Environment) -> String {
        digest(&self.fingerprints_in(environment).resolver(resolver))
    }

    /// Fingerprints of many features of one environment, each computed once.
    pub fn fingerprints_in<'r>(&'r self, environment: &'r Environment) -> Fingerprints<'r> {
        let lock = &self.bundle().lock;
        let packages: BTreeMap<&str, &str> =
            lock.packages.iter().map(|(name, package)| (name.as_str(), package.version.as_str())).collect();
        let hashes: BTreeMap<&str, Vec<&String>> = lock
            .packages
            .iter()
            .map(|(name, package)| {
                let mut hashes: Vec<&String> = package.hashes.iter().collect();
                hashes.sort();
                (name.as_str(), hashes)
            })
            .collect();
        let lock = json!({ "python": lock.python, "packages": packages, "hashes": hashes });
        Fingerprints { catalog: self.catalog(), environment, lock, known: BTreeMap::new() }
    }
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
                let reads: BTreeMap<String, Value> = window
                    .value
                    .iter()
                    .chain(&window.filter)
                    .flat_map(|expr| self.expression_reads(expr))
                    .collect();
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
                        json!({ "resolver": self.resolver(resolver), "output": position })
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

    fn resolver(&mut self, resolver: &Resolver) -> Value {
        let inputs: Vec<Value> = resolver
            .inputs
            .iter()
            .map(|input| match &input.from {
                InputSource::Path(path) => json!([input.name, input.optional, path, self.path(path)]),
                InputSource::Now => json!([input.name, input.optional, "now"]),
            })
            .collect();
        json!({
            "semantics": SEMANTICS_VERSION,
            "mode": resolver.mode,
            "async": resolver.is_async,
            "inputs": inputs,
            "outputs": resolver.outputs,
            "code": resolver.code,
            "lock": self.lock,
        })
    }
}
