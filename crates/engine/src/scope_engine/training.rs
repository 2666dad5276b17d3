//! Features beside the rows of a spine: all at once, or a range of rows after the other within a limit of memory.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use creta_audit::Permit;
use creta_iam::Action;
use creta_model::{Instant, Problem};
use creta_store::{FactSnapshot, Position};

use super::{Deployment, ScopeEngine, engine_problem, store_problem};
use crate::answer::Answer;
use crate::bounded::{BoundedRun, Budget, TrainingOptions, resident_bytes, run_id};
use crate::error::EngineError;
use crate::facts::FactReader;
use crate::ready::ReadyShape;
use crate::request::TrainingSetRequest;
use crate::run::{Rows, RunOptions};
use crate::scan::SnapshotReader;
use crate::selecting::{sampled, with_required};
use crate::spine;

/// Key of a schema's metadata: up to where what had arrived was known for rows of later instants.
pub const KNOWN_TO: &str = "creta.known_to";

/// A question about the rows of a spine, with everything that asking takes.
struct Asked<'a> {
    deployment: Arc<Deployment>,
    shape: Arc<ReadyShape>,
    request: &'a TrainingSetRequest,
    permit: &'a Permit,
    table: RecordBatch,
    rows: Rows,
    /// Times of the spine that were floored.
    floored: u64,
    /// Position in the log of facts, where one holds for all.
    position: Option<Position>,
    options: RunOptions,
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        engine_problem(&error)
    }
}

impl ScopeEngine {
    /// The spine with features beside it, out of the truth: point-in-time correct, rows and their order as given, but for those
    /// that a sample or a required feature leaves out.
    pub fn training_set(
        &self,
        request: &TrainingSetRequest,
        spine: &[RecordBatch],
        permit: &Permit,
    ) -> Result<Vec<RecordBatch>, Problem> {
        let snapshot = self.facts.snapshot();
        let position = snapshot.position();
        let reader = SnapshotReader::new(snapshot);
        let facts = (&reader as &dyn FactReader, position);
        let spine = sampled(spine, request.sample.as_ref())?;
        with_required(self.beside_spine(&self.deployment()?, request, &spine, permit, Action::Train, facts)?, request)
    }

    /// The spine with features beside it by what `deployment` defines, every row of it, from the facts up to a position.
    pub(crate) fn beside_spine(
        &self,
        deployment: &Arc<Deployment>,
        request: &TrainingSetRequest,
        spine: &[RecordBatch],
        permit: &Permit,
        action: Action,
        (reader, position): (&dyn FactReader, Position),
    ) -> Result<Vec<RecordBatch>, Problem> {
        let asked = self.ask(Arc::clone(deployment), request, spine.to_vec(), permit, action)?;
        let asked = Asked { position: Some(position), ..asked };
        Ok(vec![self.answer_all(&asked, reader)?])
    }

    /// As [`ScopeEngine::training_set`], a range of rows after the other: `visit` is called with at least one batch, and its
    /// first error ends the run.
    ///
    /// Where `options` limit memory and the run would take more, facts and answers wait in sealed files. What comes out is the
    /// same. A run that was stopped goes on from there when the same is asked over the same facts within a day. Whoever a row
    /// rule binds is answered in memory, whatever the limit: what the rule looks at is found row by row. Where features are
    /// required the answer is in memory too: how many rows were left out is said with its first batch.
    pub fn training_set_in_parts(
        &self,
        request: &TrainingSetRequest,
        spine: Vec<RecordBatch>,
        permit: &Permit,
        options: &TrainingOptions<'_>,
        visit: &mut dyn FnMut(RecordBatch) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        if request.required.is_empty() {
            return self.every_row_in_parts(request, spine, permit, options, visit);
        }
        let mut built = Vec::new();
        self.every_row_in_parts(request, spine, permit, options, &mut |batch| {
            built.push(batch);
            Ok(())
        })?;
        with_required(built, request)?.into_iter().try_for_each(visit)
    }

    fn every_row_in_parts(
        &self,
        request: &TrainingSetRequest,
        spine: Vec<RecordBatch>,
        permit: &Permit,
        options: &TrainingOptions<'_>,
        visit: &mut dyn FnMut(RecordBatch) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        let snapshot = self.facts.snapshot();
        let spine = match &request.sample {
            None => spine,
            sample => sampled(&spine, sample.as_ref())?,
        };
        let asked = self.ask(self.deployment()?, request, spine, permit, Action::Train)?;
        let asked = Asked { position: Some(snapshot.position()), ..asked };
        let rows = asked.rows.as_of.len();
        let bound = self.guard(&asked.deployment, permit.principal(), permit.place()).is_some();
        let budget = match options.memory_bytes {
            Some(memory_bytes) if rows > 0 && !bound => {
                Budget::of(memory_bytes, resident_bytes(), &asked.shape.plan, rows as u64, &snapshot)?
            }
            _ => None,
        };
        let Some(budget) = budget else {
            visit(self.answer_all(&asked, &SnapshotReader::new(snapshot))?)?;
            return Ok(());
        };
        self.answer_in_parts(&asked, &snapshot, budget, options, visit)
    }

    /// As [`ScopeEngine::training_set`], answered from the online store: for many rows about the present. Rows whose instant
    /// lies after it are answered by what has arrived, as [`QueryAnswer::known_to`](crate::QueryAnswer::known_to) says;
    /// the schema's metadata then holds that instant as [`KNOWN_TO`].
    pub fn query_batch(
        &self,
        request: &TrainingSetRequest,
        spine: &[RecordBatch],
        permit: &Permit,
    ) -> Result<Vec<RecordBatch>, Problem> {
        self.by_what_is_in_force(|| {
            let spine = sampled(spine, request.sample.as_ref())?;
            let mut asked = self.ask(self.deployment()?, request, spine, permit, Action::Query)?;
            let known_to = match request.known_as_of {
                None => asked.rows.know_at_most(self.now()),
                Some(_) => None,
            };
            let view = asked.deployment.index.view().map_err(|error| store_problem(&error))?;
            let answered = vec![said_with(self.answer_all(&asked, &view)?, known_to)?];
            with_required(answered, request)
        })
    }

    fn ask<'a>(
        &self,
        deployment: Arc<Deployment>,
        request: &'a TrainingSetRequest,
        spine: Vec<RecordBatch>,
        permit: &'a Permit,
        action: Action,
    ) -> Result<Asked<'a>, Problem> {
        let table = spine::one_table(&spine)?;
        let given = spine::given_columns(&deployment.registry, request, &spine)?;
        drop(spine);
        let paths = given.iter().map(|(path, _)| path.clone()).collect();
        let policy = self.ready_policy(&deployment.registry);
        let shape = self.shape_for(&deployment, &policy, paths, request.features.clone(), &request.max_age)?;
        self.permitted_on(permit, action, &shape)?;
        let (rows, floored) = spine::rows(&shape.plan, request, &table, &given)?;
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let options = RunOptions { threads, ..RunOptions::default() };
        Ok(Asked { deployment, shape, request, permit, table, rows, floored, position: None, options })
    }

    fn answer_all(&self, asked: &Asked<'_>, reader: &dyn FactReader) -> Result<RecordBatch, Problem> {
        let Asked { deployment, shape, permit, rows, options, .. } = asked;
        let answer = self.run(deployment, &shape.plan, rows, permit, reader, options)?;
        self.finish(asked, 0..asked.table.num_rows(), answer)
    }

    /// Masks answers and puts them beside their rows of the spine.
    fn finish(&self, asked: &Asked<'_>, range: Range<usize>, mut answer: Answer) -> Result<RecordBatch, Problem> {
        self.mask(&asked.shape, asked.permit, &mut answer)?;
        let plan = &asked.shape.plan.fingerprint;
        let made = spine::Made { plan, position: asked.position.map(|position| position.0), floored: asked.floored };
        spine::beside(&asked.table.slice(range.start, range.len()), asked.request, &made, &answer)
    }

    fn answer_in_parts(
        &self,
        asked: &Asked<'_>,
        snapshot: &FactSnapshot,
        budget: Budget,
        options: &TrainingOptions<'_>,
        visit: &mut dyn FnMut(RecordBatch) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        let question = serde_json::json!({
            "plan": asked.shape.plan.fingerprint, "request": asked.request, "facts": snapshot.position().0,
        });
        let id = run_id(&self.spill, question.to_string().as_bytes(), &asked.table)?;
        let run = self.spill.begin(&id, self.platform.clock.now(), budget.block_rows)?.ok_or_else(|| {
            Problem::new("training/under-way", "the same training set is being built already")
                .with_help("wait for it, or ask for other rows or features")
        })?;
        let nobody = |_: &crate::bounded::TrainingProgress| {};
        let run = BoundedRun {
            plan: &asked.shape.plan,
            rows: &asked.rows,
            snapshot,
            host: asked.deployment.host.as_ref(),
            options: &asked.options,
            budget,
            run,
            progress: options.progress.unwrap_or(&nobody),
        };
        run.run(|range, answer| visit(self.finish(asked, range, answer)?))
    }
}

/// A table whose schema says up to where what had arrived was known.
fn said_with(batch: RecordBatch, known_to: Option<Instant>) -> Result<RecordBatch, Problem> {
    let Some(known_to) = known_to else { return Ok(batch) };
    let schema = batch.schema();
    let mut metadata = schema.metadata().clone();
    metadata.insert(KNOWN_TO.to_owned(), known_to.to_string());
    let schema = Arc::new(Schema::new_with_metadata(schema.fields().clone(), metadata));
    RecordBatch::try_new(schema, batch.columns().to_vec()).map_err(|error| engine_problem(&error.into()))
}
