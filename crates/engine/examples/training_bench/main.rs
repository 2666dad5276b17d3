//! Our side of `make bench-training`, and the floor under everybody's.
//!
//! ```text
//! training_bench load  SCOPE BUNDLE PROJECT       facts of a project's sources into sealed segments; not measured
//! training_bench scale SCOPE DATA ROWS FACTS TABLES  made-up facts and a spine, into sealed segments and Parquet files; not measured
//! training_bench train SCOPE SPINE OUT FEATURES [MEMORY]  a training set from those facts, from opening the scope to a written file,
//!                                                 within so much memory
//! training_bench floor DATA ANSWER OUT            reads what everybody reads, sorts it, writes what everybody writes
//! ```
//!
//! `train` is what a server does with a training set, without the wire: decide, record, plan, run, write Parquet. Nothing is warm:
//! each run opens the scope anew. What is measured is printed as JSON. A scope of `scale` has no online values, which a training
//! set does not read and which take long to make of so many facts.
#![allow(clippy::print_stdout, reason = "a benchmark reports on its standard output")]

mod made_up;

use std::error::Error;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{SortColumn, concat_batches, lexsort_to_indices, take_record_batch};
use creta_audit::{Details, Log, Permit};
use creta_engine::{
    NoResolvers, ParquetForm, ParquetWriter, ResolverHost, ResolverHosts, ScopeEngine, ScopeStores, TrainingOptions,
    TrainingProgress, TrainingSetRequest, load_request, read_parquet, read_source, write_parquet,
};
use creta_iam::{Action, FeatureSet, Policies, Principal, PrincipalId, Resource, Role, decide};
use creta_keys::{KeyRing, RootKey};
use creta_model::{Bundle, Environment, MemorySize, Problem, Scope};
use creta_platform::Platform;
use creta_store::{LmdbStore, OnlineStore, SqliteStore};
use parquet::errors::ParquetError;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// The same for all contenders; see `bench/training/workload.py`.
const LEVEL: i32 = 3;
const ROW_GROUP_ROWS: usize = 122_880;

const ONLINE_BYTES: usize = 4 << 30;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let path = |index: usize| -> Outcome<PathBuf> { Ok(arguments.get(index).ok_or("an argument is missing")?.into()) };
    match arguments.first().map(String::as_str) {
        Some("load") => load(&path(1)?, &path(2)?, &path(3)?),
        Some("train") => {
            let memory = arguments.get(5).map(|text| MemorySize::parse(text)).transpose()?;
            train(&path(1)?, &path(2)?, &path(3)?, arguments.get(4).ok_or("name the features")?, memory)
        }
        Some("scale") => {
            let number = |index: usize| -> Outcome<u64> { Ok(arguments.get(index).ok_or("how many?")?.parse()?) };
            made_up::make(&path(1)?, &path(2)?, number(3)?, number(4)?, number(5)?)
        }
        Some("floor") => floor(&path(1)?, &path(2)?, &path(3)?),
        _ => Err("load, scale, train or floor".into()),
    }
}

/// Wall and processor time since the start of the measured part.
struct Work {
    wall: Instant,
    cpu: f64,
}

impl Work {
    fn start() -> Outcome<Self> {
        Ok(Self { wall: Instant::now(), cpu: cpu()? })
    }

    fn report(&self) -> Outcome<()> {
        let (seconds, cpu) = (self.wall.elapsed().as_secs_f64(), cpu()? - self.cpu);
        println!("{}", serde_json::json!({ "seconds": seconds, "cpu": cpu }));
        Ok(())
    }
}

/// Processor seconds of this process so far, ended threads included, in steps of a hundredth.
fn cpu() -> Outcome<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The name of the program, in parentheses, may hold spaces; after it, the 12th and 13th field are user and system time.
    let after = stat.rsplit_once(')').ok_or("an unknown form of /proc/self/stat")?.1;
    let ticks: Vec<u64> = after.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<u64>() as f64 / 100.0)
}

struct NoHosts;

impl ResolverHosts for NoHosts {
    fn host(&self, _scope: &Scope, _bundle: &Bundle) -> Result<Arc<dyn ResolverHost>, Problem> {
        Ok(Arc::new(NoResolvers))
    }
}

/// A scope on disk and somebody who may do everything in it.
struct Opened {
    engine: ScopeEngine,
    log: Log,
    policies: Policies,
    principal: Principal,
}

impl Opened {
    fn open(folder: &Path) -> Outcome<Self> {
        let (environment, scope) = (Environment::parse("bench")?, Scope::parse("acme", "bench")?);
        std::fs::create_dir_all(folder)?;
        let platform = Platform::system(folder.join("store"))?;
        let root_file = folder.join("root.key");
        let root = if root_file.exists() {
            RootKey::load_file(&root_file, &environment)?
        } else {
            RootKey::create_file(&root_file, &environment, &*platform.random)?
        };
        let key = KeyRing::open(root, environment.clone(), platform.clone())?.scope_or_create(&scope)?;
        let online: Arc<dyn OnlineStore> = match made_up::end(folder) {
            Some(end) => Arc::new(made_up::Forgetful::new(end)),
            None => Arc::new(LmdbStore::open(folder.join("online"), key.clone(), ONLINE_BYTES)?),
        };
        let stores = ScopeStores {
            online,
            metadata: Arc::new(SqliteStore::open(folder.join("metadata.sqlite"), key.clone())?),
            platform,
            key,
            prefix: "facts".into(),
        };
        Ok(Self {
            engine: ScopeEngine::open(scope.clone(), stores, Arc::new(NoHosts)).map_err(said)?,
            log: Log::in_memory(environment)?,
            policies: Policies::load()?,
            principal: Principal::service_account(PrincipalId::parse("bench")?, scope, Role::Developer),
        })
    }

    fn permit(&self, action: Action, features: FeatureSet) -> Outcome<Permit> {
        let resource = Resource::features(self.engine.scope().clone(), features);
        let decision = decide(&self.policies, &self.principal, action, &resource);
        Ok(self.log.admit(decision, Details::none())?)
    }
}

fn said(problem: Problem) -> Box<dyn Error> {
    problem.to_string().into()
}

fn load(folder: &Path, bundle: &Path, project: &Path) -> Outcome<()> {
    let opened = Opened::open(folder)?;
    let bundle: Bundle = serde_json::from_slice(&std::fs::read(bundle)?)?;
    let deployed = opened.engine.deploy(bundle, &opened.permit(Action::Deploy, FeatureSet::none())?);
    deployed.map_err(|problems| said(problems.into_iter().next().expect("a refusal has a reason")))?;
    let registry = opened.engine.registry().expect("just deployed");
    for source in &registry.graph().sources {
        let batches = read_source(project, registry.graph(), source).map_err(said)?;
        let permit = opened.permit(Action::Ingest, FeatureSet::none())?;
        let report = opened.engine.ingest(&load_request(source), &batches, &permit).map_err(said)?;
        println!("{:<12}{:>9} facts", source.name.as_str(), report.accepted);
    }
    opened.engine.flush().map_err(said)
}

fn train(folder: &Path, spine: &Path, out: &Path, features: &str, memory: Option<MemorySize>) -> Outcome<()> {
    let work = Work::start()?;
    let opened = Opened::open(folder)?;
    let features: Vec<&str> = features.split(',').collect();
    let request: TrainingSetRequest =
        serde_json::from_value(serde_json::json!({ "features": features, "as_of": "as_of" }))?;
    let spine = read_parquet(File::open(spine)?)?;
    let asked = opened.engine.features_of_training_set(&request, &spine).map_err(said)?;
    let permit = opened.permit(Action::Train, asked)?;
    let show = |progress: &TrainingProgress| show(&work, progress);
    let options = TrainingOptions { memory_bytes: memory.map(MemorySize::bytes), progress: Some(&show) };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let form = ParquetForm { level: LEVEL, row_group_rows: ROW_GROUP_ROWS };
    let mut writer: Option<ParquetWriter<File>> = None;
    let failed = |error: &dyn Error| Problem::new("bench/write", error.to_string());
    let mut take = |batch: RecordBatch| {
        let writer = match &mut writer {
            Some(writer) => writer,
            None => {
                let file = File::create(out).map_err(|error| failed(&error))?;
                writer.insert(ParquetWriter::new(file, &batch.schema(), form, threads))
            }
        };
        writer.write(batch).map_err(|error| failed(&error))
    };
    opened.engine.training_set_in_parts(&request, spine, &permit, &options, &mut take).map_err(said)?;
    writer.ok_or("a training set has a batch at least")?.finish()?;
    work.report()
}

/// Rows, bytes that wait, and about how long it still takes.
fn show(work: &Work, progress: &TrainingProgress) {
    let (done, total) = (progress.rows_done as f64, progress.rows_total as f64);
    let left = work.wall.elapsed().as_secs_f64() / done * (total - done);
    let (share, spilled) = (100.0 * done / total, progress.spilled_bytes >> 20);
    eprintln!("{share:5.1} % of {total} rows, {spilled} MiB in sealed files, {left:.0} s left");
}

fn floor(data: &Path, answer: &Path, out: &Path) -> Outcome<()> {
    let answer = read_parquet(File::open(answer)?)?;
    let work = Work::start()?;
    let read = |name: &str, columns: &[&str]| -> Outcome<RecordBatch> {
        let batches = read_parquet(File::open(data.join(name))?)?;
        let whole = concat_batches(&batches[0].schema(), &batches)?;
        let indices = columns.iter().map(|name| whole.schema_ref().index_of(name)).collect::<Result<Vec<_>, _>>()?;
        Ok(whole.project(&indices)?)
    };
    let departures = read("departures.parquet", &["carrier", "origin", "tailnum", "departed", "dep_delay"])?;
    for key in 0..3 {
        sorted(&departures, &[key, 3])?;
    }
    let weather = read("weather.parquet", &["airport", "hour", "temp", "wind_speed", "wind_gust", "precip", "visib"])?;
    sorted(&weather, &[0, 1])?;
    let spine = read("spine.parquet", &["Flight.carrier", "Flight.origin", "Flight.tailnum", "as_of"])?;
    for key in 0..3 {
        sorted(&spine, &[key, 3])?;
    }
    write(out, &answer)?;
    work.report()
}

fn sorted(rows: &RecordBatch, by: &[usize]) -> Outcome<RecordBatch> {
    let columns: Vec<SortColumn> =
        by.iter().map(|index| SortColumn { values: ArrayRef::clone(rows.column(*index)), options: None }).collect();
    Ok(take_record_batch(rows, &lexsort_to_indices(&columns, None)?)?)
}

fn write(out: &Path, batches: &[RecordBatch]) -> Outcome<()> {
    let form = ParquetForm { level: LEVEL, row_group_rows: ROW_GROUP_ROWS };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let given = batches.iter().cloned().map(Ok::<_, ParquetError>);
    write_parquet(File::create(out)?, &batches[0].schema(), given, form, threads)?;
    Ok(())
}
