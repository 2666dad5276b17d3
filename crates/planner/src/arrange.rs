//! Orders the steps of a draft, numbers its slots, and writes the plan.

use std::collections::BTreeSet;

use creta_model::{Entity, Feature, FeaturePath, InputSource, Name, Span, Type, Window};
use creta_registry::{Registry, SEMANTICS_VERSION, Typed, digest, typed, typed_value};

use crate::bind::bind;
use crate::plan::{
    Aggregation, CallInput, CallOutput, KeyColumn, LookupColumn, Plan, ResolverCall, Slot, SlotId, Step,
};
use crate::resolve::{Draft, DraftStep, Node};

/// Independent steps stand in one stage, sorted by kind and path; slots are numbered given first, then in the order of
/// steps. So nothing depends on the order in which features were resolved.
pub(crate) fn arrange(registry: &Registry, mut draft: Draft<'_>) -> Plan {
    sort_columns(&mut draft);
    let order = step_order(&draft);
    let numbers = slot_numbers(&draft, &order);
    let writer = Writer { registry, numbers: &numbers };
    let steps: Vec<Step> = order.iter().map(|position| writer.step(&draft.steps[*position])).collect();
    let given = writer.slots(&draft.given);
    let outputs = writer.slots(&draft.outputs);
    let mut slots: Vec<Option<Slot>> = draft.slots.iter().map(|_| None).collect();
    for (slot, number) in draft.slots.into_iter().zip(&numbers) {
        let slot = Slot { path: slot.path, ty: slot.ty, optional: slot.optional, origin: slot.origin };
        slots[*number] = Some(slot);
    }
    let slots = slots.into_iter().map(|slot| slot.expect("every slot has its own number")).collect();
    let mut plan = Plan { fingerprint: String::new(), slots, given, steps, outputs };
    plan.fingerprint = digest(&(SEMANTICS_VERSION, &plan.slots, &plan.given, &plan.steps, &plan.outputs));
    plan
}

/// Columns of one step in order of name, windows of one feature the shortest first.
fn sort_columns(draft: &mut Draft<'_>) {
    for step in &mut draft.steps {
        match step {
            DraftStep::Lookup { columns, .. } => columns.sort_by(|a, b| a.0.name.cmp(&b.0.name)),
            DraftStep::Windows { aggregations, .. } => {
                aggregations.sort_by(|a, b| (&a.0.name, a.2).cmp(&(&b.0.name, b.2)));
            }
            DraftStep::Expression { .. } | DraftStep::Resolve { .. } => {}
        }
    }
}

impl DraftStep<'_> {
    fn inputs(&self) -> Vec<usize> {
        match self {
            Self::Lookup { key_slots, .. } | Self::Windows { key_slots, .. } => key_slots.clone(),
            Self::Expression { reads, .. } => reads.values().copied().collect(),
            Self::Resolve { inputs, .. } => inputs.iter().flatten().copied().collect(),
        }
    }

    fn outputs(&self) -> Vec<usize> {
        match self {
            Self::Lookup { columns, .. } => columns.iter().map(|(_, _, slot)| *slot).collect(),
            Self::Windows { aggregations, .. } => aggregations.iter().map(|(_, _, _, slot)| *slot).collect(),
            Self::Expression { slot, .. } => vec![*slot],
            Self::Resolve { outputs, .. } => outputs.iter().map(|(_, slot)| *slot).collect(),
        }
    }

    /// Tells steps of one stage apart.
    fn sort_key(&self) -> (u8, Node, &Name) {
        let of = |path: &FeaturePath| Node { root: path.root.clone(), via: path.via.clone() };
        match self {
            Self::Lookup { node, entity, .. } => (0, node.clone(), &entity.name),
            Self::Windows { node, relation, .. } => (1, node.clone(), &relation.name),
            Self::Expression { path, .. } => (2, of(path), &path.feature),
            Self::Resolve { node, resolver, .. } => (3, node.clone(), &resolver.name),
        }
    }
}

/// Positions of the draft's steps, stage by stage. A draft's step comes after the steps it reads, so one pass is enough.
fn step_order(draft: &Draft<'_>) -> Vec<usize> {
    let mut ready_after = vec![0_usize; draft.slots.len()];
    let mut stages = Vec::with_capacity(draft.steps.len());
    for step in &draft.steps {
        let stage = 1 + step.inputs().into_iter().map(|slot| ready_after[slot]).max().unwrap_or(0);
        step.outputs().into_iter().for_each(|slot| ready_after[slot] = stage);
        stages.push(stage);
    }
    let mut order: Vec<usize> = (0..draft.steps.len()).collect();
    order.sort_by_cached_key(|position| {
        let (kind, node, name) = draft.steps[*position].sort_key();
        (stages[*position], kind, node, name.clone())
    });
    order
}

/// The final number of each of the draft's slots.
fn slot_numbers(draft: &Draft<'_>, order: &[usize]) -> Vec<usize> {
    let produced = order.iter().flat_map(|position| draft.steps[*position].outputs());
    let mut numbers = vec![0; draft.slots.len()];
    for (number, slot) in draft.given.iter().copied().chain(produced).enumerate() {
        numbers[slot] = number;
    }
    numbers
}

struct Writer<'a> {
    registry: &'a Registry,
    numbers: &'a [usize],
}

impl Writer<'_> {
    fn slot(&self, draft: usize) -> SlotId {
        SlotId(self.numbers[draft])
    }

    fn slots(&self, drafts: &[usize]) -> Vec<SlotId> {
        drafts.iter().map(|draft| self.slot(*draft)).collect()
    }

    fn entity_id(&self, entity: &Entity) -> creta_model::EntityId {
        self.registry.entity_id(&entity.name).expect("every defined entity has a number")
    }

    fn column(&self, entity: &Entity, feature: &Feature) -> KeyColumn {
        let id = self.registry.feature_id(&entity.name, &feature.name).expect("every defined feature has a number");
        KeyColumn { feature: id, name: feature.name.clone(), ty: feature.ty.clone() }
    }

    fn named_column(&self, entity: &Entity, feature: &Name) -> KeyColumn {
        let feature = entity.find_feature(feature).expect("the registry checked what relations and windows read");
        self.column(entity, feature)
    }

    fn step(&self, step: &DraftStep<'_>) -> Step {
        match step {
            DraftStep::Lookup { entity, key_slots, columns, .. } => Step::Lookup {
                entity: self.entity_id(entity),
                entity_name: entity.name.clone(),
                key: entity.keys().map(|key| self.column(entity, key)).collect(),
                key_slots: self.slots(key_slots),
                columns: columns
                    .iter()
                    .map(|(feature, max_age, slot)| LookupColumn {
                        column: self.column(entity, feature),
                        slot: self.slot(*slot),
                        max_age: *max_age,
                        default: feature.default.clone(),
                    })
                    .collect(),
            },
            DraftStep::Windows { relation, target, key_slots, aggregations, .. } => {
                let names = column_names(aggregations);
                Step::Windows {
                    entity: self.entity_id(target),
                    entity_name: target.name.clone(),
                    key: relation.on.iter().map(|(_, there)| self.named_column(target, there)).collect(),
                    key_slots: self.slots(key_slots),
                    columns: names.iter().map(|name| self.named_column(target, name)).collect(),
                    aggregations: aggregations
                        .iter()
                        .map(|(feature, window, span, slot)| {
                            self.aggregation(&names, feature, window, *span, self.slot(*slot))
                        })
                        .collect(),
                }
            }
            DraftStep::Expression { feature, expr, reads, slot, .. } => Step::Expression {
                expr: bind(expr, &|path| self.numbers[reads[path]]),
                slot: self.slot(*slot),
                default: feature.default.clone(),
            },
            DraftStep::Resolve { resolver, inputs, outputs, .. } => Step::Resolve {
                resolver: ResolverCall {
                    name: resolver.name.clone(),
                    module: resolver.module.clone(),
                    mode: resolver.mode,
                    is_async: resolver.is_async,
                    timeout: resolver.timeout,
                    retries: resolver.retries,
                    fingerprint: self.registry.resolver_fingerprint(resolver),
                },
                inputs: resolver.inputs.iter().zip(inputs).map(|(input, slot)| self.input(input, *slot)).collect(),
                outputs: outputs
                    .iter()
                    .map(|(feature, slot)| CallOutput {
                        slot: self.slot(*slot),
                        ty: feature.ty.clone(),
                        optional: feature.optional,
                        validation: feature.validation.clone(),
                        default: feature.default.clone(),
                    })
                    .collect(),
            },
        }
    }

    fn input(&self, input: &creta_model::ResolverInput, slot: Option<usize>) -> CallInput {
        let ty = match &input.from {
            InputSource::Now => Type::Datetime,
            InputSource::Path(path) => self.type_of(path).0,
        };
        CallInput { name: input.name.clone(), ty, slot: slot.map(|slot| self.slot(slot)), optional: input.optional }
    }

    fn type_of(&self, path: &FeaturePath) -> (Type, bool) {
        let target = self.registry.catalog().follow(path).expect("the registry checked every path");
        (target.feature.ty.clone(), target.feature.optional)
    }

    fn aggregation(
        &self,
        columns: &BTreeSet<&Name>,
        feature: &Feature,
        window: &Window,
        span: Span,
        slot: SlotId,
    ) -> Aggregation {
        let lookup = |path: &FeaturePath| Some(self.type_of(path));
        let value = typed_value(window, &feature.ty, &lookup);
        let filter = window.filter.as_ref().map(|filter| typed(filter, &lookup)).transpose();
        let bound = |expr: Typed| {
            let column = |path: &FeaturePath| columns.iter().position(|name| **name == path.feature);
            bind(&expr, &|path| column(path).expect("the columns are those that the expressions read"))
        };
        Aggregation {
            aggregate: window.aggregate,
            value: value.expect("the registry checked the types of every window").map(bound),
            filter: filter.expect("the registry checked the types of every window").map(bound),
            span,
            include_now: window.include_now,
            slot,
            default: feature.default.clone(),
        }
    }
}

/// Features of the facts that the aggregations of one step read, sorted, without repeats.
fn column_names<'d>(aggregations: &'d [(&Feature, &'d Window, Span, usize)]) -> BTreeSet<&'d Name> {
    let mut names = BTreeSet::new();
    for (_, window, _, _) in aggregations {
        for expr in window.value.iter().chain(&window.filter) {
            expr.for_each_path(&mut |path| {
                names.insert(&path.feature);
            });
        }
    }
    names
}
