//! Where each feature comes from: the decisions of a plan, before steps are ordered and slots numbered.
//!
//! A *node* is an entity as seen from the request: its root and the `one` relations followed from there. Each feature
//! is resolved at a node, so a [`FeaturePath`] names both. The first that applies wins: given in the request (S24), the
//! key a relation goes by, an expression, a window, a resolver enabled in the environment, facts.

use std::collections::{BTreeMap, BTreeSet};

use creta_model::{
    Entity, Expr, Feature, FeaturePath, InputSource, Location, Name, RelationKind, Resolver, Role, Span, Type, Window,
};
use creta_registry::{Catalog, Production, Registry, Target, Typed, typed_as};

use crate::error::{Asker, Failure, PlanError};
use crate::plan::Origin;
use crate::shape::Shape;

/// Relations followed at most to reach the entity of an output.
const CHAIN_LENGTH_MAX: usize = 8;

/// An entity as seen from the request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Node {
    pub(crate) root: Name,
    pub(crate) via: Vec<Name>,
}

impl Node {
    fn of(path: &FeaturePath) -> Self {
        Self { root: path.root.clone(), via: path.via.clone() }
    }

    /// A feature of this node.
    pub(crate) fn feature(&self, name: &Name) -> FeaturePath {
        FeaturePath { root: self.root.clone(), via: self.via.clone(), feature: name.clone(), window: None }
    }

    /// A path rooted at this node's entity, as seen from the request.
    fn seen_from_here(&self, path: &FeaturePath) -> FeaturePath {
        let via = self.via.iter().chain(&path.via).cloned().collect();
        FeaturePath { root: self.root.clone(), via, feature: path.feature.clone(), window: path.window }
    }
}

/// A slot before it has its final number.
#[derive(Debug)]
pub(crate) struct DraftSlot {
    pub(crate) path: FeaturePath,
    pub(crate) ty: Type,
    pub(crate) optional: bool,
    pub(crate) origin: Origin,
}

/// A step whose inputs stand in earlier steps of the draft.
#[derive(Debug)]
pub(crate) enum DraftStep<'r> {
    /// Facts of one node.
    Lookup { node: Node, entity: &'r Entity, key_slots: Vec<usize>, columns: Vec<(&'r Feature, Option<Span>, usize)> },
    /// Windows over one relation of one node.
    Windows {
        node: Node,
        relation: &'r creta_model::Relation,
        target: &'r Entity,
        key_slots: Vec<usize>,
        aggregations: Vec<(&'r Feature, &'r Window, Span, usize)>,
    },
    /// `reads` by the paths of the expression.
    Expression {
        path: FeaturePath,
        feature: &'r Feature,
        expr: Typed,
        reads: BTreeMap<FeaturePath, usize>,
        slot: usize,
    },
    /// A call at one node; an input without a slot is the row's instant.
    Resolve { node: Node, resolver: &'r Resolver, inputs: Vec<Option<usize>>, outputs: Vec<(&'r Feature, usize)> },
}

/// All decisions of a plan.
#[derive(Debug)]
pub(crate) struct Draft<'r> {
    pub(crate) slots: Vec<DraftSlot>,
    pub(crate) given: Vec<usize>,
    pub(crate) steps: Vec<DraftStep<'r>>,
    pub(crate) outputs: Vec<usize>,
}

/// Decides where everything the shape asks for comes from.
pub(crate) fn resolve<'r>(registry: &'r Registry, shape: &'r Shape) -> Result<Draft<'r>, Failure> {
    let mut resolution = Resolution {
        catalog: registry.catalog(),
        shape,
        draft: Draft { slots: Vec::new(), given: Vec::new(), steps: Vec::new(), outputs: Vec::new() },
        known: BTreeMap::new(),
        max_age: BTreeMap::new(),
        lookups: BTreeMap::new(),
        windows: BTreeMap::new(),
        on_the_way: Vec::new(),
    };
    if shape.outputs.is_empty() {
        return Err(PlanError::NothingAsked.into());
    }
    resolution.given()?;
    resolution.max_age()?;
    for output in &shape.outputs {
        let path = resolution.as_seen(output)?;
        let slot = resolution.slot(&path)?;
        resolution.draft.outputs.push(slot);
    }
    for path in shape.max_age.keys() {
        if !resolution.known.contains_key(&resolution.as_seen(path)?) {
            return Err(PlanError::UnusedMaxAge { path: path.clone() }.into());
        }
    }
    Ok(resolution.draft)
}

struct Resolution<'r> {
    catalog: Catalog<'r>,
    shape: &'r Shape,
    draft: Draft<'r>,
    /// The slot of every path resolved so far.
    known: BTreeMap<FeaturePath, usize>,
    /// Limits of the request by the path as seen from what is given.
    max_age: BTreeMap<FeaturePath, Span>,
    /// The step that looks up facts of a node.
    lookups: BTreeMap<Node, usize>,
    /// The step that aggregates over a relation of a node.
    windows: BTreeMap<(Node, Name), usize>,
    on_the_way: Vec<Asker>,
}

impl<'r> Resolution<'r> {
    fn given(&mut self) -> Result<(), Failure> {
        for path in &self.shape.given {
            let target = self.catalog.follow(path).map_err(PlanError::Path)?;
            if self.known.contains_key(path) {
                return Err(PlanError::GivenTwice { path: path.clone() }.into());
            }
            let slot = self.new_slot(path, target.feature, Origin::Given);
            self.draft.given.push(slot);
            self.known.insert(path.clone(), slot);
        }
        Ok(())
    }

    fn max_age(&mut self) -> Result<(), Failure> {
        for (path, asked) in &self.shape.max_age {
            let seen = self.as_seen(path)?;
            let target = self.catalog.follow(path).map_err(PlanError::Path)?;
            if let Some(declared) = target.feature.max_age.filter(|declared| asked > declared) {
                return Err(PlanError::NotTighter { path: path.clone(), declared, asked: *asked }.into());
            }
            self.max_age.insert(seen, *asked);
        }
        Ok(())
    }

    /// The path as seen from what is given: itself when something of its entity is given, else through the one chain of
    /// `one` relations that leads to its entity, if there is any.
    fn as_seen(&self, path: &FeaturePath) -> Result<FeaturePath, Failure> {
        self.catalog.follow(path).map_err(PlanError::Path)?;
        let roots: BTreeSet<&Name> = self.shape.given.iter().map(|given| &given.root).collect();
        if roots.contains(&path.root) {
            return Ok(path.clone());
        }
        let mut choices = Vec::new();
        for root in roots {
            let mut chain = vec![root];
            self.chains(root, &mut chain, &mut Vec::new(), path, &mut choices);
        }
        choices.sort();
        match &choices[..] {
            [] => Ok(path.clone()),
            [only] => Ok(only.clone()),
            _ => Err(PlanError::Ambiguous { path: path.clone(), choices }.into()),
        }
    }

    /// All chains of `one` relations from `entity` to the root of `path` that visit no entity twice.
    fn chains(
        &self,
        entity: &Name,
        visited: &mut Vec<&'r Name>,
        via: &mut Vec<Name>,
        path: &FeaturePath,
        choices: &mut Vec<FeaturePath>,
    ) {
        let Some(definition) = self.catalog.find_entity(entity) else { return };
        for relation in definition.relations.iter().filter(|relation| relation.kind == RelationKind::One) {
            via.push(relation.name.clone());
            if relation.target == path.root {
                let start = Node { root: visited[0].clone(), via: via.clone() };
                choices.push(start.seen_from_here(path));
            } else if via.len() < CHAIN_LENGTH_MAX && !visited.contains(&&relation.target) {
                visited.push(&relation.target);
                self.chains(&relation.target, visited, via, path, choices);
                visited.pop();
            }
            via.pop();
        }
    }

    fn new_slot(&mut self, path: &FeaturePath, feature: &Feature, origin: Origin) -> usize {
        self.draft.slots.push(DraftSlot {
            path: path.clone(),
            ty: feature.ty.clone(),
            optional: feature.optional,
            origin,
        });
        self.draft.slots.len() - 1
    }

    /// The slot that holds a path, resolving it first if need be.
    fn slot(&mut self, path: &FeaturePath) -> Result<usize, Failure> {
        if let Some(known) = self.known.get(path) {
            return Ok(*known);
        }
        let target = self.catalog.follow(path).map_err(|error| self.failure(PlanError::Path(error)))?;
        if self.on_the_way.iter().any(|asker| asker.path == *path) {
            return Err(self.failure(PlanError::Cycle { path: path.clone() }));
        }
        let slot = match self.key_of_relation(path, &target) {
            // A key needs no step of its own and asks for nothing in its own name.
            Some(parent) => self.slot(&parent)?,
            None => self.produce(path, &target)?,
        };
        self.known.insert(path.clone(), slot);
        Ok(slot)
    }

    /// What a key feature of a node reached by a relation equals: the feature that the relation goes by.
    fn key_of_relation(&self, path: &FeaturePath, target: &Target<'_>) -> Option<FeaturePath> {
        let hop = target.hops.last().filter(|_| target.feature.role == Role::Key)?;
        let (here, _) = hop.relation.on.iter().find(|(_, there)| *there == target.feature.name)?;
        let parent = Node { root: path.root.clone(), via: path.via[..path.via.len() - 1].to_vec() };
        Some(parent.feature(here))
    }

    fn produce(&mut self, path: &FeaturePath, target: &Target<'r>) -> Result<usize, Failure> {
        let (entity, feature) = (target.entity, target.feature);
        match self.catalog.production(entity, feature) {
            Production::Expression(expr) => self.expression(path, feature, expr),
            Production::Window(window) => self.window(path, entity, feature, window),
            Production::Resolvers(resolvers) => self.resolver(path, entity, &resolvers),
            Production::Facts => self.facts(path, entity, feature),
        }
    }

    /// Resolves what `asker` needs, remembering who asked.
    fn asked_by<T>(
        &mut self,
        asker: &FeaturePath,
        location: &Location,
        need: impl FnOnce(&mut Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.on_the_way.push(Asker { path: asker.clone(), location: location.clone() });
        let found = need(self);
        self.on_the_way.pop();
        found
    }

    fn failure(&self, error: PlanError) -> Failure {
        Failure { error: Box::new(error), asked_by: self.on_the_way.iter().rev().cloned().collect() }
    }

    fn expression(&mut self, path: &FeaturePath, feature: &'r Feature, expr: &Expr) -> Result<usize, Failure> {
        let node = Node::of(path);
        let mut reads = BTreeMap::new();
        expr.for_each_path(&mut |read| {
            reads.insert(read.clone(), 0);
        });
        self.asked_by(path, &feature.location, |this| {
            for (read, slot) in &mut reads {
                *slot = this.slot(&node.seen_from_here(read))?;
            }
            Ok(())
        })?;
        let catalog = self.catalog;
        let lookup = |path: &FeaturePath| {
            let target = catalog.follow(path).ok()?;
            Some((target.feature.ty.clone(), target.feature.optional))
        };
        let expr = typed_as(expr, &feature.ty, &lookup)
            .ok()
            .flatten()
            .expect("the registry checked the type of every expression");
        let slot = self.new_slot(path, feature, Origin::Expression);
        self.draft.steps.push(DraftStep::Expression { path: path.clone(), feature, expr, reads, slot });
        Ok(slot)
    }

    fn window(
        &mut self,
        path: &FeaturePath,
        entity: &'r Entity,
        feature: &'r Feature,
        window: &'r Window,
    ) -> Result<usize, Failure> {
        let node = Node::of(path);
        let span = path.window.expect("following a path checks that it names a window");
        let relation =
            entity.find_relation(&window.relation).expect("the registry checked the relation of every window");
        let target =
            self.catalog.find_entity(&relation.target).expect("the registry checked the target of every relation");
        let position = match self.windows.get(&(node.clone(), relation.name.clone())) {
            Some(position) => *position,
            None => {
                let key_slots = self.asked_by(path, &feature.location, |this| {
                    relation.on.iter().map(|(here, _)| this.slot(&node.feature(here))).collect::<Result<Vec<_>, _>>()
                })?;
                let key = (node.clone(), relation.name.clone());
                self.draft.steps.push(DraftStep::Windows {
                    node,
                    relation,
                    target,
                    key_slots,
                    aggregations: Vec::new(),
                });
                let position = self.draft.steps.len() - 1;
                self.windows.insert(key, position);
                position
            }
        };
        let slot = self.new_slot(path, feature, Origin::Window);
        if let DraftStep::Windows { aggregations, .. } = &mut self.draft.steps[position] {
            aggregations.push((feature, window, span, slot));
        }
        Ok(slot)
    }

    fn resolver(
        &mut self,
        path: &FeaturePath,
        entity: &'r Entity,
        resolvers: &[&'r Resolver],
    ) -> Result<usize, Failure> {
        let environment = &self.shape.environment;
        let enabled = resolvers.iter().find(|resolver| creta_registry::is_enabled(resolver, environment));
        let Some(resolver) = enabled.copied() else {
            let elsewhere = resolvers
                .iter()
                .map(|resolver| (resolver.name.clone(), resolver.location.clone(), resolver.environments.clone()))
                .collect();
            let path = path.clone();
            return Err(self.failure(PlanError::NoResolver { path, environment: environment.clone(), elsewhere }));
        };
        let node = Node::of(path);
        let inputs = self.asked_by(path, &resolver.location, |this| {
            let slot = |input: &creta_model::ResolverInput| match &input.from {
                InputSource::Path(read) => this.slot(&node.seen_from_here(read)).map(Some),
                InputSource::Now => Ok(None),
            };
            resolver.inputs.iter().map(slot).collect::<Result<Vec<_>, _>>()
        })?;
        let mut outputs = Vec::with_capacity(resolver.outputs.len());
        for output in &resolver.outputs {
            let feature =
                entity.find_feature(&output.feature).expect("the registry checked the outputs of every resolver");
            let made = node.feature(&output.feature);
            let slot = self.new_slot(&made, feature, Origin::Resolver(resolver.name.clone()));
            outputs.push((feature, slot));
            // What is given keeps its slot (S24); the call fills another that nothing reads.
            self.known.entry(made).or_insert(slot);
        }
        let slot = outputs.iter().find(|(feature, _)| feature.name == path.feature).expect("the resolver outputs it").1;
        self.draft.steps.push(DraftStep::Resolve { node, resolver, inputs, outputs });
        Ok(slot)
    }

    fn facts(&mut self, path: &FeaturePath, entity: &'r Entity, feature: &'r Feature) -> Result<usize, Failure> {
        let node = Node::of(path);
        if node.via.is_empty() && feature.role == Role::Key {
            return Err(self.failure(PlanError::KeyNotGiven { path: path.clone() }));
        }
        let position = match self.lookups.get(&node) {
            Some(position) => *position,
            None => {
                let key: Vec<FeaturePath> = entity.keys().map(|key| node.feature(&key.name)).collect();
                let missing: Vec<FeaturePath> =
                    key.iter().filter(|key| node.via.is_empty() && !self.known.contains_key(*key)).cloned().collect();
                if !missing.is_empty() {
                    return Err(self.failure(PlanError::MissingKey { path: path.clone(), missing }));
                }
                let key_slots = self.asked_by(path, &feature.location, |this| {
                    key.iter().map(|key| this.slot(key)).collect::<Result<Vec<_>, _>>()
                })?;
                let step = DraftStep::Lookup { node: node.clone(), entity, key_slots, columns: Vec::new() };
                self.draft.steps.push(step);
                self.lookups.insert(node, self.draft.steps.len() - 1);
                self.draft.steps.len() - 1
            }
        };
        let max_age = match (feature.max_age, self.max_age.get(path)) {
            (Some(declared), Some(asked)) => Some(declared.min(*asked)),
            (declared, asked) => declared.or(asked.copied()),
        };
        let slot = self.new_slot(path, feature, Origin::Facts);
        if let DraftStep::Lookup { columns, .. } = &mut self.draft.steps[position] {
            columns.push((feature, max_age, slot));
        }
        Ok(slot)
    }
}
