//! A plan in people's words: for each feature asked for, what it is and where it comes from.

use std::collections::BTreeSet;
use std::fmt;

use creta_model::{FeaturePath, Location, Name};
use creta_registry::{Registry, render_aggregate, render_expr, render_type};
use serde::{Deserialize, Serialize};

use crate::plan::{BoundExpr, KeyColumn, Origin, Plan, SlotId, Step};

/// A plan in people's words. `Display` writes one indented tree for each output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The plan's fingerprint.
    pub fingerprint: String,
    /// One for each feature asked for, in the order of the request.
    pub outputs: Vec<Explained>,
}

/// Where a resolver's code runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Runs {
    /// In the engine.
    Compiled,
    /// In a worker of its tenant, or in the process itself with `creta.local`.
    Python,
}

/// One feature and what it is computed from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explained {
    /// As seen from what is given.
    pub path: FeaturePath,
    /// As in an annotation: `float | None`.
    #[serde(rename = "type")]
    pub ty: String,
    /// The kind of its source.
    pub origin: Origin,
    /// The same in a sentence part.
    pub from: String,
    /// Where its resolver runs, when it has one and that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs: Option<Runs>,
    /// Where the resolver or the feature stands in the user's project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
    /// Whether it is explained further up, and its inputs with it.
    pub above: bool,
    /// What it is computed from, or found by; given keys stand in `from`.
    pub inputs: Vec<Explained>,
}

impl Explanation {
    /// The same, saying where each resolver runs.
    #[must_use]
    pub fn with_runs(mut self, runs: &dyn Fn(&Name) -> Option<Runs>) -> Self {
        fn say(explained: &mut Explained, runs: &dyn Fn(&Name) -> Option<Runs>) {
            if let Origin::Resolver(name) = &explained.origin {
                explained.runs = runs(name);
            }
            explained.inputs.iter_mut().for_each(|input| say(input, runs));
        }
        self.outputs.iter_mut().for_each(|output| say(output, runs));
        self
    }
}

/// Explains a plan made from this registry.
pub fn explain(plan: &Plan, registry: &Registry) -> Explanation {
    let mut teller = Teller { plan, registry, told: BTreeSet::new() };
    let outputs = plan.outputs.iter().map(|slot| teller.tell(*slot)).collect();
    Explanation { fingerprint: plan.fingerprint.clone(), outputs }
}

struct Teller<'a> {
    plan: &'a Plan,
    registry: &'a Registry,
    told: BTreeSet<SlotId>,
}

impl Teller<'_> {
    fn tell(&mut self, id: SlotId) -> Explained {
        let slot = &self.plan.slots[id.0];
        let (from, inputs, location) = self.source(id);
        // Repeating a single line is clearer than pointing at it.
        let above = !self.told.insert(id) && !inputs.is_empty();
        Explained {
            path: slot.path.clone(),
            ty: render_type(&slot.ty, slot.optional),
            origin: slot.origin.clone(),
            from,
            runs: None,
            location,
            above,
            inputs: if above { Vec::new() } else { inputs.into_iter().map(|input| self.tell(input)).collect() },
        }
    }

    /// Where a slot's cells come from, the slots read for them, and the place of the definition.
    fn source(&self, id: SlotId) -> (String, Vec<SlotId>, Option<Location>) {
        self.plan
            .steps
            .iter()
            .find_map(|step| self.step_source(step, id))
            .unwrap_or_else(|| ("given".to_owned(), Vec::new(), None))
    }

    fn step_source(&self, step: &Step, id: SlotId) -> Option<(String, Vec<SlotId>, Option<Location>)> {
        match step {
            Step::Lookup { entity_name, key, key_slots, columns, .. } => {
                let column = columns.iter().find(|column| column.slot == id)?;
                let age = column.max_age.map_or_else(String::new, |age| format!(", at most {age} old"));
                let by = self.equal(key, key_slots);
                let from = format!("latest fact of {entity_name} where {by}{age}{}", default(&column.default));
                Some((from, self.not_given(key_slots), None))
            }
            Step::Windows { entity_name, key, key_slots, aggregations, .. } => {
                let aggregation = aggregations.iter().find(|aggregation| aggregation.slot == id)?;
                let target = self.registry.catalog().follow(&self.plan.slots[id.0].path).ok()?;
                let window = target.feature.window.as_ref()?;
                let value = window.value.as_ref().map(render_expr);
                let filter = window.filter.as_ref().map(|filter| format!(" and {}", render_expr(filter)));
                let from = format!(
                    "{} over the last {}{} of facts of {entity_name} where {}{}{}",
                    render_aggregate(aggregation.aggregate, value.as_deref()),
                    aggregation.span,
                    if aggregation.include_now { ", now included," } else { "" },
                    self.equal(key, key_slots),
                    filter.unwrap_or_default(),
                    default(&aggregation.default),
                );
                Some((from, self.not_given(key_slots), self.definition(id)))
            }
            Step::Expression { slot, default: value, .. } => {
                if *slot != id {
                    return None;
                }
                let target = self.registry.catalog().follow(&self.plan.slots[id.0].path).ok()?;
                let text = target.feature.expression.as_ref().map_or_else(String::new, render_expr);
                let mut reads = Vec::new();
                columns_of(step, &mut reads);
                Some((format!("{text}{}", default(value)), reads, self.definition(id)))
            }
            Step::Resolve { resolver, inputs, outputs } => {
                let output = outputs.iter().find(|output| output.slot == id)?;
                let reads: Vec<SlotId> = inputs.iter().filter_map(|input| input.slot).collect();
                let now = inputs.iter().filter(|input| input.slot.is_none()).map(|input| input.name.as_str());
                let now = now.map(|name| format!(", `{name}` is the row's instant")).collect::<String>();
                let from = format!("resolver `{}`{now}{}", resolver.name, default(&output.default));
                let location = self.registry.graph().resolvers.iter().find(|r| r.name == resolver.name);
                Some((from, reads, location.map(|resolver| resolver.location.clone())))
            }
        }
    }

    fn definition(&self, id: SlotId) -> Option<Location> {
        let target = self.registry.catalog().follow(&self.plan.slots[id.0].path).ok()?;
        Some(target.feature.location.clone())
    }

    /// `carrier = Flight.carrier and ...`: features of facts beside the slots they must equal.
    fn equal(&self, key: &[KeyColumn], slots: &[SlotId]) -> String {
        let pairs = key.iter().zip(slots).map(|(column, id)| {
            let slot = &self.plan.slots[id.0];
            let given = if slot.origin == Origin::Given { " (given)" } else { "" };
            format!("{} = {}{given}", column.name, slot.path)
        });
        pairs.collect::<Vec<_>>().join(" and ")
    }

    /// Keys that need a line of their own.
    fn not_given(&self, keys: &[SlotId]) -> Vec<SlotId> {
        keys.iter().copied().filter(|id| self.plan.slots[id.0].origin != Origin::Given).collect()
    }
}

fn default(value: &Option<serde_json::Value>) -> String {
    value.as_ref().map_or_else(String::new, |value| format!(", else {value}"))
}

/// Slots read by an expression step, in order of appearance, without repeats.
fn columns_of(step: &Step, reads: &mut Vec<SlotId>) {
    fn walk(expr: &BoundExpr, reads: &mut Vec<SlotId>) {
        match expr {
            BoundExpr::Column { index, .. } => {
                if !reads.contains(&SlotId(*index)) {
                    reads.push(SlotId(*index));
                }
            }
            BoundExpr::Literal { .. } => {}
            BoundExpr::Call { args, .. } => args.iter().for_each(|arg| walk(arg, reads)),
        }
    }
    if let Step::Expression { expr, .. } = step {
        walk(expr, reads);
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.outputs.iter().try_for_each(|output| output.write(f, 0))
    }
}

impl Explained {
    fn write(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        write!(f, "{:indent$}{}: {}", "", self.path, self.ty, indent = depth * 2)?;
        write!(f, "  {}", self.from)?;
        match self.runs {
            Some(Runs::Compiled) => f.write_str(", compiled")?,
            Some(Runs::Python) => f.write_str(", in Python")?,
            None => {}
        }
        if let Some(at) = &self.location {
            write!(f, "  ({}:{})", at.file, at.line)?;
        }
        writeln!(f, "{}", if self.above { "  (see above)" } else { "" })?;
        self.inputs.iter().try_for_each(|input| input.write(f, depth + 1))
    }
}
