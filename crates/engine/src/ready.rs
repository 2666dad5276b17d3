//! Queries made ready: what follows from a request's shape, the definitions and the policy about data, kept for the next one.
//!
//! A cache lives and dies with the definitions and the policy that it was filled under: a deploy and a changed policy each
//! begin with an empty one. Nothing in it depends on who asks, on a row or on an instant.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use arrow::array::RecordBatch;
use creta_audit::Permit;
use creta_iam::{Action, FeatureSet, Level, Place, Principal};
use creta_model::{FeaturePath, Instant, Problem, Span};
use creta_planner::{Plan, Shape};
use creta_registry::{Declassified, FeatureRef, Registry};

use crate::answer::Answer;
use crate::answers::Brought;
use crate::masking::Output;
use crate::request::{QueryAnswer, QueryRequest, TrainingSetRequest};
use crate::rowwise::RowPlan;
use crate::run::{Rows, RunOptions};
use crate::scope_engine::{Deployment, OUTDATED, ReadyPolicy, ScopeEngine, engine_problem, store_problem};
use crate::written::WrittenQuery;
use crate::{answers, spine};

/// Shapes kept at most, and texts of shapes at most; one more, and the cache starts over.
const SHAPES_MAX: usize = 1024;

/// Longest text of a shape that is kept, in bytes.
const TEXT_BYTES_MAX: usize = 16 << 10;

/// What follows from a request's shape.
pub(crate) struct ReadyShape {
    pub(crate) plan: Arc<Plan>,
    /// What it would return, with the tags that flow along lineage.
    features: FeatureSet,
    /// In the order of the plan.
    pub(crate) outputs: Vec<Output>,
    /// How it is answered row by row.
    pub(crate) by_row: Option<RowPlan>,
}

type Shapes = HashMap<(Vec<FeaturePath>, Vec<FeaturePath>, Vec<(FeaturePath, Span)>), Arc<ReadyShape>>;

/// Shapes that were asked for before, and texts of requests that have them.
#[derive(Default)]
pub(crate) struct ReadyShapes {
    shapes: RwLock<Shapes>,
    texts: RwLock<HashMap<Box<[u8]>, ReadyText>>,
}

/// The shape of a text, and which of its inputs each given slot takes.
#[derive(Clone)]
struct ReadyText {
    shape: Arc<ReadyShape>,
    order: Arc<[usize]>,
}

/// An answer to a query as it goes over the wire: the JSON of a [`QueryAnswer`].
#[derive(Debug)]
pub struct JsonAnswer {
    /// How many rows.
    pub rows: usize,
    /// UTF-8.
    pub json: Vec<u8>,
}

/// A query that was planned, under the definitions and the policy it was planned for.
#[derive(Clone)]
pub struct ReadyQuery {
    pub(crate) deployment: Arc<Deployment>,
    pub(crate) policy: Arc<ReadyPolicy>,
    pub(crate) shape: Arc<ReadyShape>,
    /// For each given slot the input of the written query that holds its values.
    pub(crate) order: Option<Arc<[usize]>>,
}

impl ReadyQuery {
    /// What it would return, with tags: for the access decision, before anything is read. Cheap to clone and to compare
    /// with what the same shape gave before.
    pub fn features(&self) -> &FeatureSet {
        &self.shape.features
    }
}

impl ReadyShape {
    fn new(registry: &Registry, plan: Plan, declassified: &Declassified) -> Self {
        let catalog = registry.catalog();
        let feature_of = |path: &FeaturePath| {
            let target = catalog.follow(path).ok()?;
            Some(FeatureRef::new(&target.entity.name, &target.feature.name))
        };
        let outputs: Vec<Option<FeatureRef>> =
            plan.outputs.iter().map(|slot| feature_of(&plan.slots[slot.0].path)).collect();
        let distinct: BTreeSet<&FeatureRef> = outputs.iter().flatten().collect();
        let tagged =
            |feature: &&FeatureRef| (feature.to_string(), registry.tag_paths(feature, declassified).into_keys());
        Self {
            features: FeatureSet::new(distinct.iter().map(tagged)),
            by_row: RowPlan::of(&plan),
            outputs: Output::all(registry, &plan, &outputs),
            plan: Arc::new(plan),
        }
    }

    /// Whether a permit gives every output as it is. `false` says nothing: what is given then is looked at one by one.
    pub(crate) fn is_whole(&self, permit: &Permit) -> bool {
        permit.lowest_level() == Some(Level::Allow)
            && *permit.features() == self.features
            && self.outputs.iter().all(|output| output.feature.is_some())
    }
}

/// What a decision was made on is no longer what there is.
pub(crate) fn tags_changed(feature: &str) -> Problem {
    Problem::new("conflict/changed", format!("the tags of `{feature}` changed while this was asked"))
        .with_help("ask again")
}

impl ReadyShapes {
    fn find_text(&self, text: &[u8]) -> Option<ReadyText> {
        self.texts.read().unwrap_or_else(PoisonError::into_inner).get(text).cloned()
    }

    fn keep_text(&self, text: Vec<u8>, ready: ReadyText) {
        if text.len() > TEXT_BYTES_MAX {
            return;
        }
        let mut texts = self.texts.write().unwrap_or_else(PoisonError::into_inner);
        if texts.len() >= SHAPES_MAX {
            texts.clear();
        }
        texts.insert(text.into(), ready);
    }
}

impl ScopeEngine {
    /// A query made ready to be answered: planned, with the features that it would return.
    pub fn ready(&self, request: &QueryRequest) -> Result<ReadyQuery, Problem> {
        let deployment = self.deployment()?;
        let policy = self.ready_policy(&deployment.registry);
        let shape = self.shape_of_query(&deployment, &policy, request)?;
        Ok(ReadyQuery { deployment, policy, shape, order: None })
    }

    /// What was made ready for a query of this text, if one was answered before, and if answering it to `principal` needs nothing
    /// but stored facts and compiled resolvers, so that neither this nor [`ScopeEngine::query_ready`] waits for anything. Spares
    /// reading the shape of a request; [`ScopeEngine::keep_ready`] is where it comes from.
    pub fn find_ready(&self, query: &WrittenQuery<'_>, principal: &Principal) -> Option<ReadyQuery> {
        let deployment = self.deployment_at_hand()?;
        let policy = self.ready_policy(&deployment.registry);
        let ReadyText { shape, order } = policy.shapes.find_text(&query.shape_text()?)?;
        let place = Place::Scope(self.scope().clone());
        if !shape.by_row.as_ref()?.is_at_hand(query.rows(), deployment.host.as_ref())
            || policy.rows.guard(principal, &place).is_some()
        {
            return None; // What a row rule looks at may be computed by a resolver.
        }
        Some(ReadyQuery { deployment, policy, shape, order: Some(order) })
    }

    /// Keeps what was made ready for `request`, so that queries written with the same text for their shape find it.
    pub fn keep_ready(&self, query: &WrittenQuery<'_>, request: &QueryRequest, ready: &ReadyQuery) {
        let Some(text) = query.shape_text() else { return };
        let order: Option<Vec<usize>> = request.inputs.keys().map(|path| query.position_of(path)).collect();
        let Some(order) = order.filter(|order| order.len() == query.inputs()) else { return };
        let kept = ReadyText { shape: Arc::clone(&ready.shape), order: order.into() };
        ready.policy.shapes.keep_text(text, kept);
    }

    /// Answers a query from the online store.
    pub fn query(&self, request: &QueryRequest, permit: &Permit) -> Result<QueryAnswer, Problem> {
        self.by_what_is_in_force(|| {
            let ready = self.ready(request)?;
            let (rows, known_to, answer) = self.columns_of(&ready, &Brought::of(request), permit)?;
            Ok(answers::to_json(&ready.shape.plan, &rows, known_to, &answer))
        })
    }

    /// As [`ScopeEngine::query`], in the form that goes over the wire.
    pub fn query_json(&self, request: &QueryRequest, permit: &Permit) -> Result<JsonAnswer, Problem> {
        self.by_what_is_in_force(|| self.json_of(&self.ready(request)?, &Brought::of(request), permit))
    }

    /// As [`ScopeEngine::query_json`], for what [`ScopeEngine::find_ready`] found for this very query. `None` when that would wait
    /// for something after all, or other definitions or another policy came into force since.
    pub fn query_ready(
        &self,
        ready: &ReadyQuery,
        query: &WrittenQuery<'_>,
        permit: &Permit,
    ) -> Result<Option<JsonAnswer>, Problem> {
        let Some(now) = self.deployment_at_hand() else { return Ok(None) };
        let in_force =
            Arc::ptr_eq(&ready.deployment, &now) && Arc::ptr_eq(&ready.policy, &self.ready_policy(&now.registry));
        let Some(order) = ready.order.as_ref().filter(|_| in_force) else { return Ok(None) };
        let brought = Brought {
            inputs: order.iter().map(|input| query.values(*input)).collect(),
            as_of: query.as_of(),
            known_as_of: query.known_as_of(),
        };
        match self.json_by_row(ready, &brought, permit) {
            Err(problem) if problem.code == OUTDATED => Ok(None),
            answered => answered,
        }
    }

    /// The answer made row by row; `None` when it has to be made over columns.
    fn json_by_row(
        &self,
        ready: &ReadyQuery,
        brought: &Brought<'_>,
        permit: &Permit,
    ) -> Result<Option<JsonAnswer>, Problem> {
        let ReadyQuery { deployment, shape, .. } = ready;
        let Some(by_row) = shape.by_row.as_ref().filter(|_| shape.is_whole(permit)) else { return Ok(None) };
        self.permitted_on(permit, Action::Query, shape)?;
        if self.guard(deployment, permit.principal(), permit.place()).is_some() {
            return Ok(None);
        }
        let rows = answers::value_rows(&shape.plan, brought, self.now())?;
        let view = deployment.index.view().map_err(|error| store_problem(&error))?;
        let cells = by_row.run(&view, deployment.host.as_ref(), &rows);
        let json = cells.and_then(|cells| cells.map(|cells| cells.json()).transpose());
        let json = json.map_err(|error| engine_problem(&error))?;
        Ok(json.map(|json| JsonAnswer { rows: rows.as_of.len(), json }))
    }

    fn json_of(&self, ready: &ReadyQuery, brought: &Brought<'_>, permit: &Permit) -> Result<JsonAnswer, Problem> {
        if let Some(answer) = self.json_by_row(ready, brought, permit)? {
            return Ok(answer);
        }
        let shape = &ready.shape;
        let (rows, known_to, answer) = self.columns_of(ready, brought, permit)?;
        let json = serde_json::to_vec(&answers::to_json(&shape.plan, &rows, known_to, &answer));
        Ok(JsonAnswer { rows: answer.rows, json: json.expect("an answer has a JSON form") })
    }

    fn columns_of(
        &self,
        ready: &ReadyQuery,
        brought: &Brought<'_>,
        permit: &Permit,
    ) -> Result<(Rows, Option<Instant>, Answer), Problem> {
        let ReadyQuery { deployment, shape, .. } = ready;
        self.permitted_on(permit, Action::Query, shape)?;
        let rows = answers::value_rows(&shape.plan, brought, self.now())?;
        let (known_to, rows) = (rows.known_to, rows.columns(&shape.plan)?);
        let options = RunOptions::default();
        let view = deployment.index.view().map_err(|error| store_problem(&error))?;
        let mut answer = self.run(deployment, &shape.plan, &rows, permit, &view, &options)?;
        self.mask(shape, permit, &mut answer)?;
        Ok((rows, known_to, answer))
    }

    fn shape_of_query(
        &self,
        deployment: &Deployment,
        policy: &ReadyPolicy,
        request: &QueryRequest,
    ) -> Result<Arc<ReadyShape>, Problem> {
        let outputs = answers::outputs(&deployment.registry, request)?;
        self.shape_for(deployment, policy, request.inputs.keys().cloned().collect(), outputs, &request.max_age)
    }

    /// What follows from a request's shape, from the cache when it was asked before.
    pub(crate) fn shape_for(
        &self,
        deployment: &Deployment,
        policy: &ReadyPolicy,
        given: Vec<FeaturePath>,
        outputs: Vec<FeaturePath>,
        max_age: &BTreeMap<FeaturePath, Span>,
    ) -> Result<Arc<ReadyShape>, Problem> {
        let key = (given, outputs, max_age.iter().map(|(path, span)| (path.clone(), *span)).collect());
        let shapes = &policy.shapes.shapes;
        if let Some(shape) = shapes.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(Arc::clone(shape));
        }
        let shape = Shape {
            environment: self.scope().environment.clone(),
            given: key.0.clone(),
            outputs: key.1.clone(),
            max_age: max_age.clone(),
        };
        let plan = creta_planner::plan(&deployment.registry, &shape)?;
        let ready = Arc::new(ReadyShape::new(&deployment.registry, plan, &policy.declassified));
        let mut shapes = shapes.write().unwrap_or_else(PoisonError::into_inner);
        if shapes.len() >= SHAPES_MAX {
            shapes.clear();
        }
        shapes.insert(key, Arc::clone(&ready));
        Ok(ready)
    }

    /// What a query would return: for the access decision, before anything is read.
    pub fn features_of(&self, request: &QueryRequest) -> Result<FeatureSet, Problem> {
        Ok(self.ready(request)?.features().clone())
    }

    /// What a training set would return: for the access decision, before anything is read.
    pub fn features_of_training_set(
        &self,
        request: &TrainingSetRequest,
        spine: &[RecordBatch],
    ) -> Result<FeatureSet, Problem> {
        self.plan_of_training_set(request, spine).map(|(features, _)| features)
    }

    /// As [`ScopeEngine::features_of_training_set`], beside the fingerprint of the plan that would answer.
    pub fn plan_of_training_set(
        &self,
        request: &TrainingSetRequest,
        spine: &[RecordBatch],
    ) -> Result<(FeatureSet, String), Problem> {
        let deployment = self.deployment()?;
        let policy = self.ready_policy(&deployment.registry);
        let given = spine::given_columns(&deployment.registry, request, spine)?;
        let paths = given.into_iter().map(|(path, _)| path).collect();
        let shape = self.shape_for(&deployment, &policy, paths, request.features.clone(), &request.max_age)?;
        Ok((shape.features.clone(), shape.plan.fingerprint.clone()))
    }

    /// Refuses a permit that is not for this action on all features of a shape, with the tags that they have: where a
    /// deployment or a declassification came between, what was decided says nothing of them.
    pub(crate) fn permitted_on(&self, permit: &Permit, action: Action, shape: &ReadyShape) -> Result<(), Problem> {
        // The very set that was decided on needs no second look at its names.
        if permit.features() == &shape.features {
            return self.permitted(permit, action, []);
        }
        self.permitted(permit, action, shape.features.names())?;
        let mut others = shape.features.iter().filter_map(|(name, tags)| {
            let decided = permit.features().tags_of(name)?;
            (!decided.eq(tags)).then_some(name)
        });
        others.next().map_or(Ok(()), |name| Err(tags_changed(name)))
    }
}
