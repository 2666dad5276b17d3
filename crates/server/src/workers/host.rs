//! The engine's view of the workers: arrays in, arrays and errors out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray as _, RecordBatch, StringArray, UInt64Array, new_null_array};
use arrow::compute::{concat, interleave, take_record_batch};
use creta_engine::{CompiledHost, ResolverAnswer, ResolverHost, ResolverHosts, Running, Trial, not_tried};
use creta_model::{Bundle, CellError, Problem, Scope};
use creta_planner::ResolverCall;

use super::details::Vocabulary;
use super::pool::{Pool, PoolError};
use super::process::{CallError, Launch, StartError};
use super::protocol::{Hello, PROTOCOL, Signature, signatures};
use crate::arrow_body;
use crate::config::WorkerConfig;
use crate::limits::{WORKER_CALL_TIME_MAX, WORKER_CHUNK_ROWS, WORKER_PING_TIME_MAX};

/// Makes the hosts of one scope: one pool of workers for each deployed bundle.
pub(crate) struct WorkerHosts {
    launch: Launch,
    processes: usize,
    /// Whether a project that cannot be imported is refused. Not while a server opens what was deployed long ago: there
    /// the calls fail, and everything else works.
    strict: AtomicBool,
}

impl WorkerHosts {
    pub(crate) fn new(config: &WorkerConfig) -> Self {
        Self { launch: Launch::new(config), processes: config.processes, strict: AtomicBool::new(false) }
    }

    /// From now on a bundle whose workers do not start is refused.
    pub(crate) fn refuse_what_does_not_start(&self) {
        self.strict.store(true, Ordering::Release);
    }
}

impl ResolverHosts for WorkerHosts {
    fn host(&self, _scope: &Scope, bundle: &Bundle) -> Result<Arc<dyn ResolverHost>, Problem> {
        let host = Workers::new(self.launch.clone(), self.processes, bundle)?;
        if self.strict.load(Ordering::Acquire) && !host.signatures.is_empty() {
            host.pool.warm_up().map_err(|error| start_problem(&error))?;
        }
        Ok(Arc::new(host))
    }
}

/// How a bundle's resolvers would run on a server with this interpreter: each compiled one is tried against Python in a
/// worker, which is started for that and ended. The warning says why Python could not be asked.
pub fn resolvers_of(bundle: &Bundle, config: &WorkerConfig) -> Result<(Vec<Running>, Option<Problem>), Problem> {
    let workers = Workers::new(Launch::new(config), 1, bundle)?;
    let host = CompiledHost::new(bundle, Arc::new(workers), Trial::AtDeploy);
    let tried = host.try_out().err().map(|error| not_tried(&error));
    Ok((host.running(), tried))
}

fn start_problem(error: &StartError) -> Problem {
    let problem = match error {
        StartError::Project { code, message } => Problem::new(
            code.clone(),
            "the project's modules cannot be imported by a worker",
        )
        .with_note("Python says", message.clone(), None),
        other => Problem::new("resolver/worker-start", other.to_string()),
    };
    problem.with_help("resolvers run with the interpreter named by `workers.python` in the server's `config.toml`")
}

/// Workers that run the resolvers of one bundle.
pub(crate) struct Workers {
    pool: Pool,
    signatures: Vec<Signature>,
    words: Vocabulary,
}

impl Workers {
    pub(crate) fn new(launch: Launch, processes: usize, bundle: &Bundle) -> Result<Self, Problem> {
        let signatures = signatures(bundle)?;
        let hello = Hello { protocol: PROTOCOL, modules: &bundle.modules, resolvers: &signatures };
        let hello = serde_json::to_vec(&hello).expect("a project has a JSON form");
        Ok(Self { pool: Pool::new(launch, hello, processes), signatures, words: Vocabulary::of(bundle) })
    }

    fn find(&self, call: &ResolverCall) -> Option<(u32, &Signature)> {
        let name = call.name.as_str();
        (0..).zip(&self.signatures).find(|(_, signature)| signature.name == name && signature.module == call.module)
    }

    /// One chunk, tried again as often as the resolver says.
    fn call_chunk(&self, job: &Job<'_>, inputs: &RecordBatch) -> Result<ResolverAnswer, CellError> {
        let mut answer = self.try_chunk(job, inputs);
        for _ in 0..job.call.retries {
            answer = match answer {
                Err(_) => self.try_chunk(job, inputs),
                Ok(answer) if answer.errors.is_empty() => return Ok(answer),
                Ok(answer) => Ok(self.retry_rows(job, inputs, answer)),
            };
        }
        answer
    }

    /// Calls again for the rows that failed, and puts their results in place.
    fn retry_rows(&self, job: &Job<'_>, inputs: &RecordBatch, answer: ResolverAnswer) -> ResolverAnswer {
        let failed: Vec<usize> = answer.errors.keys().copied().collect();
        let indices = UInt64Array::from_iter_values(failed.iter().map(|row| *row as u64));
        let again = take_record_batch(inputs, &indices).expect("the rows are within the batch");
        let Ok(again) = self.try_chunk(job, &again) else { return answer };
        let mut source: Vec<(usize, usize)> = (0..inputs.num_rows()).map(|row| (0, row)).collect();
        for (place, row) in failed.iter().enumerate() {
            source[*row] = (1, place);
        }
        let join = |(first, second): (&ArrayRef, &ArrayRef)| {
            interleave(&[first.as_ref(), second.as_ref()], &source).expect("both answers have the declared type")
        };
        let outputs = answer.outputs.iter().zip(&again.outputs).map(join).collect();
        let errors = again.errors.into_iter().map(|(place, error)| (failed[place], error)).collect();
        ResolverAnswer { outputs, errors }
    }

    fn try_chunk(&self, job: &Job<'_>, inputs: &RecordBatch) -> Result<ResolverAnswer, CellError> {
        let bytes =
            arrow_body::encode(&inputs.schema(), std::slice::from_ref(inputs)).expect("a batch has an IPC form");
        let read = |answer| read_answer(job, inputs.num_rows(), answer);
        self.pool.call(job.index, &bytes, job.time, read).map_err(|error| cell_error(job.call, error))
    }
}

/// What is the same for all chunks of a call.
struct Job<'a> {
    call: &'a ResolverCall,
    index: u32,
    signature: &'a Signature,
    time: Duration,
    words: &'a Vocabulary,
}

impl ResolverHost for Workers {
    fn probe(&self) -> Option<Result<(), CellError>> {
        let told = |error| {
            let (code, text) = failure(error);
            CellError { code, message: format!("a worker {text}") }
        };
        self.pool.probe(WORKER_PING_TIME_MAX).map(|outcome| outcome.map_err(told))
    }

    fn call(&self, call: &ResolverCall, inputs: &RecordBatch) -> Result<ResolverAnswer, CellError> {
        let Some((index, signature)) = self.find(call) else {
            let message = format!("resolver `{}` is not part of the deployed bundle", call.name);
            return Err(CellError { code: "resolver/not-deployed".into(), message });
        };
        let time = call.timeout.map_or(WORKER_CALL_TIME_MAX, |span| Duration::from_micros(span.micros() as u64));
        let job = Job { call, index, signature, time, words: &self.words };
        if inputs.num_rows() <= WORKER_CHUNK_ROWS {
            return self.call_chunk(&job, inputs);
        }
        let chunks: Vec<RecordBatch> = (0..inputs.num_rows())
            .step_by(WORKER_CHUNK_ROWS)
            .map(|at| inputs.slice(at, WORKER_CHUNK_ROWS.min(inputs.num_rows() - at)))
            .collect();
        let answers = self.call_all(&job, &chunks);
        Ok(join_chunks(&job, &chunks, answers))
    }
}

impl Workers {
    /// All chunks, as many at a time as there are workers, answered in order.
    fn call_all(&self, job: &Job<'_>, chunks: &[RecordBatch]) -> Vec<Result<ResolverAnswer, CellError>> {
        let next = AtomicUsize::new(0);
        let answers = Mutex::new(BTreeMap::new());
        std::thread::scope(|threads| {
            for _ in 0..self.pool.size().min(chunks.len()) {
                threads.spawn(|| {
                    while let Some((place, chunk)) = {
                        let place = next.fetch_add(1, Ordering::Relaxed);
                        chunks.get(place).map(|chunk| (place, chunk))
                    } {
                        let answer = self.call_chunk(job, chunk);
                        answers.lock().expect("no thread panics with the answers").insert(place, answer);
                    }
                });
            }
        });
        answers.into_inner().expect("no thread panics with the answers").into_values().collect()
    }
}

/// One answer for all chunks; a chunk that failed is errors for its rows only.
fn join_chunks(
    job: &Job<'_>,
    chunks: &[RecordBatch],
    answers: Vec<Result<ResolverAnswer, CellError>>,
) -> ResolverAnswer {
    let mut errors = BTreeMap::new();
    let mut parts: Vec<Vec<ArrayRef>> = vec![Vec::new(); job.signature.outputs.len()];
    let mut start = 0;
    for (chunk, answer) in chunks.iter().zip(answers) {
        let rows = chunk.num_rows();
        let outputs = match answer {
            Ok(answer) => {
                errors.extend(answer.errors.into_iter().map(|(row, error)| (start + row, error)));
                answer.outputs
            }
            Err(error) => {
                errors.extend((start..start + rows).map(|row| (row, error.clone())));
                job.signature.outputs.iter().map(|output| new_null_array(&output.ty.to_arrow(), rows)).collect()
            }
        };
        parts.iter_mut().zip(outputs).for_each(|(part, array)| part.push(array));
        start += rows;
    }
    let join = |arrays: Vec<ArrayRef>| {
        let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
        concat(&arrays).expect("chunks have the declared type")
    };
    ResolverAnswer { outputs: parts.into_iter().map(join).collect(), errors }
}

/// Checks a worker's answer: columns `o0..` of the declared types, `e0..` of codes and perhaps `detail`, one batch of as many
/// rows as asked.
fn read_answer(job: &Job<'_>, rows: usize, answer: Vec<u8>) -> Option<ResolverAnswer> {
    let (_, batches) = arrow_body::decode(answer.into()).ok()?;
    let [batch] = batches.as_slice() else { return None };
    let details: Option<&StringArray> = match batch.column_by_name("detail") {
        Some(column) => Some(column.as_string_opt()?),
        None => None,
    };
    let columns = 2 * job.signature.outputs.len() + usize::from(details.is_some());
    if batch.num_rows() != rows || batch.num_columns() != columns {
        return None;
    }
    let (mut outputs, mut errors) = (Vec::new(), BTreeMap::new());
    for (place, output) in job.signature.outputs.iter().enumerate() {
        let values = batch.column_by_name(&format!("o{place}"))?;
        let codes: &StringArray = batch.column_by_name(&format!("e{place}"))?.as_string_opt()?;
        if *values.data_type() != output.ty.to_arrow() {
            return None;
        }
        for row in (0..rows).filter(|row| codes.is_valid(*row)) {
            let detail = details.filter(|details| details.is_valid(row)).map_or("", |details| details.value(row));
            errors.entry(row).or_insert_with(|| row_error(job, codes.value(row), detail));
        }
        outputs.push(values.clone());
    }
    Some(ResolverAnswer { outputs, errors })
}

fn row_error(job: &Job<'_>, code: &str, detail: &str) -> CellError {
    let (code, text) = match code {
        "resolver/raised" => ("resolver/raised", job.words.raised(detail)),
        "resolver/wrong-type" => {
            let text = "returned values of other types than it declares".to_owned();
            (
                "resolver/wrong-type",
                job.words.mismatch(detail).map_or(text.clone(), |detail| format!("{text}: {detail}")),
            )
        }
        "resolver/overflow" => {
            ("resolver/overflow", format!("returned {}, which no feature holds", Vocabulary::beyond(detail)))
        }
        _ => ("resolver/failed", "failed".to_owned()),
    };
    CellError { code: code.into(), message: format!("resolver `{}` {text}", job.call.name) }
}

fn cell_error(call: &ResolverCall, error: PoolError) -> CellError {
    let (code, text) = failure(error);
    CellError { code, message: format!("resolver `{}` {text}", call.name) }
}

/// Code, and what happened as the end of a sentence.
fn failure(error: PoolError) -> (String, &'static str) {
    match error {
        PoolError::Busy => ("resolver/busy".into(), "waited for a worker for too long"),
        PoolError::Start(_) => ("resolver/worker-start".into(), "has no worker: it could not be started"),
        PoolError::Call(CallError::Late) => ("resolver/timeout".into(), "took longer than it may and was ended"),
        PoolError::Call(CallError::Crashed) => ("resolver/crashed".into(), "ended its worker process"),
        PoolError::Call(CallError::BadAnswer) => {
            ("resolver/bad-answer".into(), "answered with other rows or types than it declares")
        }
        PoolError::Call(CallError::Failed(code)) => (code, "failed"),
    }
}
