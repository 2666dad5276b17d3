//! Row rules at work: of which rows somebody sees nothing, whatever they ask.
//!
//! A rule is about an entity, and its condition is looked up in the facts by the entity's own key at the row's own instant,
//! never taken from what a request gives. Where it is not satisfied
//! - what is looked up of that entity is `denied`, along relations too, and so is what is computed from it (rule S32);
//! - every cell of a row whose features are asked of that entity is `denied`, also those that the request gave.
//!
//! An aggregate over facts of several entities that a rule is about is `denied` throughout: a number without the facts that
//! must not be seen would be another number than everybody else gets, and one with them would tell of them.
//!
//! What cannot be judged is not seen: a rule whose definitions are no longer those it was agreed on for, a row without the
//! key, an entity that does not exist. The last is why such an entity and one that is not seen look the same.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use creta_iam::{BoundTo, Place, Principal, RowAccess, RowRule, RowRules, WrittenRowRule, row_access, row_rules_for};
use creta_model::{CellState, EntityId, Environment, FeatureId, FeaturePath, Name, Problem, Type, Value};
use creta_planner::{KeyColumn, Plan, Shape, SlotId, Step};
use creta_registry::{FeatureRef, Registry};
use creta_store::{FactBatch, layout};

use crate::answer::AnswerColumn;
use crate::column::CellColumn;
use crate::error::EngineError;
use crate::facts::FactReader;
use crate::host::ResolverHost;
use crate::run::{Rows, RunOptions, execute};

/// Where the cells of a path are, as far as they are computed.
type SlotOf<'a> = dyn Fn(&FeaturePath) -> Option<(SlotId, Arc<CellColumn>)> + 'a;

/// The rules of a scope beside the definitions in force: made once for each pair of them.
#[derive(Debug, Default)]
pub(crate) struct ReadyRules {
    by_entity: BTreeMap<EntityId, ReadyEntity>,
}

#[derive(Debug)]
struct ReadyEntity {
    name: Name,
    /// Of which rules are about it, with the type of what each looks at.
    rules: Vec<(RowRule, Option<Type>)>,
    /// Names of its key features, in order.
    key: Vec<Name>,
    /// From its key to what the rules look at; none where there is no way.
    plan: Option<Arc<Plan>>,
}

impl ReadyRules {
    /// Looks up what each rule speaks of. What does not fit is kept as a rule that nothing satisfies.
    pub(crate) fn new(rules: &RowRules, registry: &Registry, environment: &Environment) -> Self {
        let mut by_entity = BTreeMap::<EntityId, ReadyEntity>::new();
        for rule in &rules.rules {
            // By number as well as by name: an entity that got another name, or whose name went to another, stays bound.
            let by_name = Name::parse(&rule.entity).ok().and_then(|name| registry.entity_id(&name));
            let by_number = rule.bound_to.as_ref().map(|bound| EntityId(bound.entity));
            let mut concerned: Vec<EntityId> = by_name.into_iter().chain(by_number).collect();
            concerned.dedup();
            for id in concerned {
                let Some(name) = registry.entity_name(id).cloned() else { continue };
                let Some(entity) = registry.entity(&name) else { continue };
                let ready = by_entity.entry(id).or_insert_with(|| ReadyEntity {
                    name: name.clone(),
                    rules: Vec::new(),
                    key: entity.keys().map(|feature| feature.name.clone()).collect(),
                    plan: None,
                });
                let fitting = fitting(rule, id, &name, registry, environment);
                ready.rules.push(match fitting {
                    Some((typed, ty)) => (typed, Some(ty)),
                    None => (unsatisfiable(rule, &name), None),
                });
            }
        }
        for ready in by_entity.values_mut() {
            ready.plan = ready.plan(registry, environment);
        }
        Self { by_entity }
    }

    /// The rules that bind somebody; `None` where none does.
    pub(crate) fn guard(&self, principal: &Principal, place: &Place) -> Option<RowGuard> {
        let bound = self.by_entity.iter().filter_map(|(id, ready)| {
            // By the name that the entity has now: the rule may have been written for another.
            let all: Vec<RowRule> = ready.rules.iter().map(|(rule, _)| rule.clone()).collect();
            let binding: Vec<String> = row_rules_for(&all, principal, place, ready.name.as_str())
                .into_iter()
                .map(|rule| rule.id.clone())
                .collect();
            let rules: Vec<_> = ready.rules.iter().filter(|(rule, _)| binding.contains(&rule.id)).cloned().collect();
            let of = EntityGuard { key: ready.key.clone(), name: ready.name.clone(), rules, plan: ready.plan.clone() };
            (!binding.is_empty()).then_some((*id, of))
        });
        let by_entity: BTreeMap<EntityId, EntityGuard> = bound.collect();
        (!by_entity.is_empty()).then_some(RowGuard { by_entity })
    }
}

impl ReadyEntity {
    fn plan(&self, registry: &Registry, environment: &Environment) -> Option<Arc<Plan>> {
        let path = |name: &Name| FeaturePath::direct(self.name.clone(), name.clone());
        let looked_at = self.rules.iter().filter(|(_, ty)| ty.is_some());
        let mut outputs: Vec<FeaturePath> =
            looked_at.filter_map(|(rule, _)| FeaturePath::parse(&rule.condition.feature).ok()).collect();
        outputs.sort();
        outputs.dedup();
        let shape = Shape {
            environment: environment.clone(),
            given: self.key.iter().map(path).collect(),
            outputs,
            max_age: BTreeMap::new(),
        };
        if shape.outputs.is_empty() { None } else { creta_planner::plan(registry, &shape).ok().map(Arc::new) }
    }
}

/// Whether a rule is about these definitions.
pub(crate) fn fits(rule: &WrittenRowRule, registry: &Registry, environment: &Environment) -> bool {
    let name = Name::parse(&rule.entity).ok();
    let id = name.as_ref().and_then(|name| Some((registry.entity_id(name)?, name)));
    id.is_some_and(|(id, name)| fitting(rule, id, name, registry, environment).is_some())
}

/// The rule, bound to these definitions.
pub(crate) fn bind(
    rule: &WrittenRowRule,
    registry: &Registry,
    environment: &Environment,
) -> Result<WrittenRowRule, Problem> {
    let refused = |says: String, help: &str| {
        Problem::new("rows/refused", format!("row rule `{}` cannot be: {says}", rule.id)).with_help(help)
    };
    let unknown = || refused(format!("there is no feature `{}`", rule.feature), "`creta diff` shows what is deployed");
    let path = FeaturePath::parse(&rule.feature).map_err(|_| unknown())?;
    if !path.via.is_empty() || path.window.is_some() {
        let says = format!("`{}` is not a feature of `{}` itself", rule.feature, rule.entity);
        return Err(refused(says, "give the entity a computed feature, and name that"));
    }
    let feature = FeatureRef::new(&path.root, &path.feature);
    let entity = registry.entity_id(&path.root).ok_or_else(unknown)?;
    let fingerprint = registry.feature_fingerprint(&feature, environment).ok_or_else(unknown)?;
    let bound = WrittenRowRule { bound_to: Some(BoundTo { entity: entity.0, fingerprint }), ..rule.clone() };
    let Some((typed, ty)) = fitting(&bound, entity, &path.root, registry, environment) else {
        return Err(refused(
            format!("its values are not of the type of `{}`", rule.feature),
            "`creta diff` shows the type",
        ));
    };
    let key = registry.entity(&path.root).map(|entity| entity.keys().map(|key| key.name.clone()).collect());
    let ready = ReadyEntity {
        name: path.root.clone(),
        rules: vec![(typed, Some(ty))],
        key: key.unwrap_or_default(),
        plan: None,
    };
    if ready.plan(registry, environment).is_none() {
        let says = format!("`{}` is not found by the key of `{}` alone", rule.feature, rule.entity);
        return Err(refused(says, "name a feature that is stored, or computed from stored ones"));
    }
    Ok(bound)
}

/// The rule with values of its feature's type, if it is about the definitions that are in force.
fn fitting(
    rule: &WrittenRowRule,
    id: EntityId,
    name: &Name,
    registry: &Registry,
    environment: &Environment,
) -> Option<(RowRule, Type)> {
    let bound = rule.bound_to.as_ref()?;
    let path = FeaturePath::parse(&rule.feature).ok().filter(|path| path.via.is_empty() && path.window.is_none())?;
    let feature = FeatureRef::new(&path.root, &path.feature);
    let same = name.as_str() == rule.entity
        && path.root == *name
        && bound.entity == id.0
        && registry.feature_fingerprint(&feature, environment).as_ref() == Some(&bound.fingerprint);
    let ty = registry.feature(&path.root, &path.feature).filter(|_| same)?.ty.clone();
    Some((rule.typed(&ty)?, ty))
}

/// A rule by which nothing is seen, for whom the written one binds.
fn unsatisfiable(rule: &WrittenRowRule, entity: &Name) -> RowRule {
    let condition =
        creta_iam::RowCondition { feature: rule.feature.clone(), op: creta_iam::RowOp::In, values: Vec::new() };
    RowRule { id: rule.id.clone(), entity: entity.to_string(), roles: rule.roles.clone(), condition }
}

/// The rules that bind whoever asks, by entity.
#[derive(Debug)]
pub(crate) struct RowGuard {
    by_entity: BTreeMap<EntityId, EntityGuard>,
}

#[derive(Debug)]
struct EntityGuard {
    name: Name,
    key: Vec<Name>,
    rules: Vec<(RowRule, Option<Type>)>,
    plan: Option<Arc<Plan>>,
}

/// What a run asks of a guard more than once.
#[derive(Debug, Default)]
pub(crate) struct Judged(HashMap<(EntityId, Vec<SlotId>), Arc<[bool]>>);

/// What rules are judged by.
#[derive(Clone, Copy)]
pub(crate) struct Evidence<'a> {
    pub(crate) rows: &'a Rows,
    pub(crate) facts: &'a dyn FactReader,
    pub(crate) host: &'a dyn ResolverHost,
}

impl RowGuard {
    /// Names of the rules that bind, each with the feature that it looks at and the entity that it is about; in order.
    pub(crate) fn names(&self) -> Vec<(String, String, String)> {
        let all = self.by_entity.values().flat_map(|guard| {
            let name = guard.name.to_string();
            guard.rules.iter().map(move |(rule, _)| (rule.id.clone(), rule.condition.feature.clone(), name.clone()))
        });
        let mut names: Vec<_> = all.collect();
        names.sort();
        names
    }

    /// Refuses facts by which a rule that binds would be judged otherwise: those of a feature that its condition is computed
    /// from, and those of its entity that take an earlier fact's place or are counted.
    pub(crate) fn require_unread(&self, facts: &FactBatch) -> Result<(), Problem> {
        let columns = facts.batch();
        let replaces = columns.column_by_name(layout::EVENT_ID).is_some_and(|ids| ids.null_count() < ids.len());
        let has = |feature: FeatureId| columns.column_by_name(&layout::feature_column(feature)).is_some();
        let is_read = |step: &Step| match step {
            Step::Lookup { entity, columns, .. } => {
                *entity == facts.entity() && (replaces || columns.iter().any(|read| has(read.column.feature)))
            }
            Step::Windows { entity, .. } => *entity == facts.entity(),
            Step::Expression { .. } | Step::Resolve { .. } => false,
        };
        let reads = |guard: &&EntityGuard| guard.plan.iter().any(|plan| plan.steps.iter().any(is_read));
        let Some(guard) = self.by_entity.values().find(reads) else { return Ok(()) };
        let ids: Vec<String> = guard.rules.iter().map(|(rule, _)| format!("`{}`", rule.id)).collect();
        let message = format!("these facts decide on which rows of `{}` you see", guard.name);
        Err(Problem::new("access/rows", message).with_note("row rules that bind you", ids.join(", "), None).with_help(
            "leave out the columns that they look at, and ids of events; an account that no row rule binds can write them",
        ))
    }

    /// Whether a rule that binds is about an entity that a plan of `root` reads facts of, or about that entity.
    pub(crate) fn concerns(&self, root: Option<EntityId>, plan: &Plan) -> bool {
        let read = plan.steps.iter().filter_map(|step| match step {
            Step::Lookup { entity, .. } | Step::Windows { entity, .. } => Some(*entity),
            Step::Expression { .. } | Step::Resolve { .. } => None,
        });
        root.into_iter().chain(read).any(|entity| self.by_entity.contains_key(&entity))
    }

    /// Whether a rule that binds is about this entity.
    pub(crate) fn binds(&self, entity: EntityId) -> bool {
        self.by_entity.contains_key(&entity)
    }

    /// For each row whether it is about an entity that is not seen: the entity that its columns are asked of, or one that a
    /// key in it names. `roots` are the entities that columns are asked of or given for; `cells_of` gives the cells of a slot that is computed. What cannot be judged is not seen.
    pub(crate) fn unseen_rows(
        &self,
        (registry_id, roots): (impl Fn(&Name) -> Option<EntityId>, BTreeSet<&Name>),
        given: &[(FeaturePath, SlotId, Arc<CellColumn>)],
        judged: &mut Judged,
        evidence: Evidence<'_>,
        cells_of: impl Fn(SlotId) -> Result<Arc<CellColumn>, EngineError>,
    ) -> Result<Vec<bool>, EngineError> {
        let mut unseen = vec![false; evidence.rows.as_of.len()];
        let mut hide = |hidden: &dyn Fn(usize) -> bool| {
            unseen.iter_mut().enumerate().for_each(|(row, unseen)| *unseen |= hidden(row));
        };
        for root in roots {
            let Some((id, guard)) = registry_id(root).and_then(|id| Some((id, self.by_entity.get(&id)?))) else {
                continue;
            };
            let of_key = |name: &Name| {
                given.iter().find(|(path, _, _)| *path == FeaturePath::direct(root.clone(), name.clone()))
            };
            let Some(keys) = guard.key.iter().map(of_key).collect::<Option<Vec<_>>>() else {
                hide(&|_| true);
                continue;
            };
            let names: Vec<&Name> = guard.key.iter().collect();
            let slots: Vec<SlotId> = keys.iter().map(|(_, slot, _)| *slot).collect();
            let cells: Vec<Arc<CellColumn>> = keys.iter().map(|(_, _, cells)| Arc::clone(cells)).collect();
            let seen = guard.seen(id, &names, (&slots, &cells), judged, evidence)?;
            hide(&|row| !seen[row]);
        }
        for ((_, slots), seen) in &judged.0 {
            let keys = slots.iter().map(|slot| cells_of(*slot)).collect::<Result<Vec<_>, _>>()?;
            hide(&|row| !seen[row] && keys.iter().all(|cells| cells.state(row) == CellState::Value));
        }
        Ok(unseen)
    }

    /// Denies what was looked up of an entity that a rule is about. `key_slots` hold the keys in the order of `key`.
    pub(crate) fn deny_looked_up(
        &self,
        entity: EntityId,
        (key, key_slots, cells): (&[KeyColumn], &[SlotId], &[Arc<CellColumn>]),
        answers: Vec<CellColumn>,
        judged: &mut Judged,
        evidence: Evidence<'_>,
    ) -> Result<Vec<CellColumn>, EngineError> {
        let Some(guard) = self.by_entity.get(&entity) else { return Ok(answers) };
        let names: Vec<&Name> = key.iter().map(|part| &part.name).collect();
        let seen = guard.seen(entity, &names, (key_slots, cells), judged, evidence)?;
        // A row without a key asks about no entity, and keeps what its key says.
        let keyed = |row: usize| cells.iter().all(|cells| cells.state(row) == CellState::Value);
        answers.into_iter().map(|column| column.deny(|row| keyed(row) && !seen[row])).collect()
    }

    /// Denies aggregates over facts of an entity that a rule is about: row by row where they are facts of the one entity
    /// whose key the row has, and throughout otherwise.
    pub(crate) fn deny_aggregated(
        &self,
        entity: EntityId,
        keyed: (&[KeyColumn], &[SlotId], &[Arc<CellColumn>]),
        answers: Vec<CellColumn>,
        judged: &mut Judged,
        evidence: Evidence<'_>,
    ) -> Result<Vec<CellColumn>, EngineError> {
        let Some(guard) = self.by_entity.get(&entity) else { return Ok(answers) };
        let own = guard.key.len() == keyed.0.len()
            && guard.key.iter().all(|name| keyed.0.iter().any(|part| part.name == *name));
        match own {
            true => self.deny_looked_up(entity, keyed, answers, judged, evidence),
            false => answers.into_iter().map(|column| column.deny(|_| true)).collect(),
        }
    }

    /// Denies what belongs to an entity that a path reaches along relations, where a rule is about it, whatever it was
    /// computed from. `slot_of` gives the cells of a path as far as they are computed: each relation goes by features of
    /// where it starts, and those name the entity that it reaches.
    pub(crate) fn deny_reached(
        &self,
        registry: &Registry,
        path: &FeaturePath,
        slot_of: &SlotOf<'_>,
        mut column: CellColumn,
        judged: &mut Judged,
        evidence: Evidence<'_>,
    ) -> Result<CellColumn, EngineError> {
        let mut entity = registry.entity(&path.root);
        for (hop, name) in path.via.iter().enumerate() {
            let Some(relation) = entity.and_then(|entity| entity.find_relation(name)) else { break };
            let id = registry.entity_id(&relation.target);
            if let Some((id, guard)) = id.and_then(|id| Some((id, self.by_entity.get(&id)?))) {
                let there: Vec<&Name> = relation.on.iter().map(|(_, there)| there).collect();
                let from = |here: &Name| FeaturePath {
                    root: path.root.clone(),
                    via: path.via[..hop].to_vec(),
                    feature: here.clone(),
                    window: None,
                };
                let keys: Option<Vec<_>> = relation.on.iter().map(|(here, _)| slot_of(&from(here))).collect();
                let whole = guard.key.len() == there.len() && guard.key.iter().all(|name| there.contains(&name));
                column = match keys.filter(|_| whole) {
                    None => column.deny(|_| true)?,
                    Some(keys) => {
                        let (slots, cells): (Vec<SlotId>, Vec<Arc<CellColumn>>) = keys.into_iter().unzip();
                        let seen = guard.seen(id, &there, (&slots, &cells), judged, evidence)?;
                        let keyed = |row: usize| cells.iter().all(|cells| cells.state(row) == CellState::Value);
                        column.deny(|row| keyed(row) && !seen[row])?
                    }
                };
            }
            entity = registry.entity(&relation.target);
        }
        Ok(column)
    }

    /// Denies the rows of features that are asked of an entity that a rule is about. `given` are the columns of the request
    /// by path, each with its slot.
    pub(crate) fn deny_rows(
        &self,
        registry_id: impl Fn(&Name) -> Option<EntityId>,
        columns: &mut [AnswerColumn],
        given: &[(FeaturePath, SlotId, Arc<CellColumn>)],
        judged: &mut Judged,
        evidence: Evidence<'_>,
    ) -> Result<(), EngineError> {
        for column in columns {
            let Some((id, guard)) = registry_id(&column.path.root).and_then(|id| Some((id, self.by_entity.get(&id)?)))
            else {
                continue;
            };
            let of_key = |name: &Name| {
                given.iter().find(|(path, _, _)| *path == FeaturePath::direct(guard.name.clone(), name.clone()))
            };
            let keys: Option<Vec<_>> = guard.key.iter().map(of_key).collect();
            let denied = match keys {
                None => column.cells.clone().deny(|_| true)?,
                Some(keys) => {
                    let names: Vec<&Name> = guard.key.iter().collect();
                    let slots: Vec<SlotId> = keys.iter().map(|(_, slot, _)| *slot).collect();
                    let cells: Vec<Arc<CellColumn>> = keys.iter().map(|(_, _, cells)| Arc::clone(cells)).collect();
                    let seen = guard.seen(id, &names, (&slots, &cells), judged, evidence)?;
                    column.cells.clone().deny(|row| !seen[row])?
                }
            };
            column.ages = column.ages.as_ref().map(|ages| {
                let age = |row: usize| {
                    (denied.state(row) != CellState::Denied && ages.is_valid(row)).then(|| ages.value(row))
                };
                (0..ages.len()).map(age).collect()
            });
            column.cells = denied;
        }
        Ok(())
    }
}

impl EntityGuard {
    /// For each row, whether the entity that its key names is seen.
    fn seen(
        &self,
        entity: EntityId,
        names: &[&Name],
        (slots, cells): (&[SlotId], &[Arc<CellColumn>]),
        judged: &mut Judged,
        evidence: Evidence<'_>,
    ) -> Result<Arc<[bool]>, EngineError> {
        let known = (entity, slots.to_vec());
        if let Some(seen) = judged.0.get(&known) {
            return Ok(Arc::clone(seen));
        }
        let rows = evidence.rows.as_of.len();
        let seen: Arc<[bool]> = match &self.plan {
            Some(plan) if self.rules.iter().all(|(_, ty)| ty.is_some()) => {
                self.judge(plan, names, cells, evidence)?.into()
            }
            _ => vec![false; rows].into(),
        };
        judged.0.insert(known, Arc::clone(&seen));
        Ok(seen)
    }

    fn judge(
        &self,
        plan: &Plan,
        names: &[&Name],
        cells: &[Arc<CellColumn>],
        evidence: Evidence<'_>,
    ) -> Result<Vec<bool>, EngineError> {
        let column_of = |slot: &SlotId| -> Option<ArrayRef> {
            let at = names.iter().position(|name| **name == plan.slots[slot.0].path.feature)?;
            Some(Arc::clone(cells[at].values()))
        };
        let given: Option<Vec<ArrayRef>> = plan.given.iter().map(column_of).collect();
        let rows = evidence.rows.as_of.len();
        let Some(given) = given else { return Ok(vec![false; rows]) };
        let asked = Rows { given, as_of: evidence.rows.as_of.clone(), known_as_of: evidence.rows.known_as_of.clone() };
        let answer = execute(plan, &asked, evidence.facts, evidence.host, &RunOptions::default(), None)?;
        let rules: Vec<&RowRule> = self.rules.iter().map(|(rule, _)| rule).collect();
        let seen = |row: usize| {
            let values: BTreeMap<String, Option<Value>> = answer
                .columns
                .iter()
                .map(|column| (column.path.to_string(), column.cells.value(&column.ty, row)))
                .collect();
            row_access(&rules, |feature| values.get(feature)?.as_ref()) == RowAccess::Allowed
        };
        Ok((0..rows).map(seen).collect())
    }
}
