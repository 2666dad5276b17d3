//! Resolvers that need no Python: which of a bundle's they are, and a host that runs them in this process.
//!
//! What is compiled is the same to the last bit, or it is not used: before its first call a compiled resolver is tried
//! against Python on inputs made up for it, and a difference leaves it to Python for good. Rows that compiled code does
//! not answer (an int beyond 64 bits on the way, say) are asked of Python one batch at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::compute;
use creta_compiler::{CompiledResolver, NoValue, compile_bundle};
use creta_model::{Bundle, CellError, Location, Name, Problem, Resolver, Scope, Type, Value};
use creta_planner::{ResolverCall, Runs};
use serde::{Deserialize, Serialize};

use crate::host::{Argument, AtOnce, ResolverAnswer, ResolverHost};
use crate::resolve::{as_declared, wrong_count};
use crate::scope_engine::ResolverHosts;
use crate::trial::{Outcome, try_out};
use crate::value::build_array;

/// How a resolver runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Its name.
    pub resolver: Name,
    /// Where it stands in the user's project.
    pub location: Location,
    /// Compiled or in Python.
    pub runs: Runs,
    /// Why it is not compiled, with the line that prevents it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<Problem>,
}

/// Code of the reason why a resolver that could be compiled is not.
pub const DIFFERS: &str = "compile/differs";

/// When compiled resolvers are tried against Python.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trial {
    /// At each deploy, so that its answer says what differs, and otherwise before the first call.
    AtDeploy,
    /// Before the first call of each resolver: for a process in which opening a project must cost nothing.
    AtFirstCall,
}

/// Hosts whose resolvers run compiled where they can.
pub struct Compiling {
    hosts: Arc<dyn ResolverHosts>,
    trial: Trial,
}

impl Compiling {
    /// What is not compiled goes to these hosts.
    pub fn new(hosts: Arc<dyn ResolverHosts>, trial: Trial) -> Self {
        Self { hosts, trial }
    }
}

impl ResolverHosts for Compiling {
    fn host(&self, scope: &Scope, bundle: &Bundle) -> Result<Arc<dyn ResolverHost>, Problem> {
        let python = self.hosts.host(scope, bundle)?;
        Ok(Arc::new(CompiledHost::new(bundle, python, self.trial)))
    }
}

/// Runs the resolvers of a bundle, those that are not compiled through another host.
pub struct CompiledHost {
    entries: HashMap<Name, Entry>,
    /// Names in the order of the graph.
    order: Vec<Name>,
    python: Arc<dyn ResolverHost>,
    trial: Trial,
}

struct Entry {
    location: Location,
    module: String,
    compiled: Result<Arc<Ready>, Problem>,
}

struct Ready {
    resolver: CompiledResolver,
    /// As a trial calls it.
    call: ResolverCall,
    parameters: Vec<String>,
    seed: u64,
    /// Whether it agrees with Python, once that is known; else why not.
    verdict: OnceLock<Result<(), Problem>>,
    /// Held by who tries it.
    trying: Mutex<()>,
}

impl CompiledHost {
    /// Compiles a bundle: well under a millisecond per resolver.
    pub fn new(bundle: &Bundle, python: Arc<dyn ResolverHost>, trial: Trial) -> Self {
        let compiled = compile_bundle(bundle);
        let order = compiled.iter().map(|(name, _)| name.clone()).collect();
        let entries = bundle.graph.resolvers.iter().zip(compiled).map(|(resolver, (name, compiled))| {
            let compiled = compiled.map_err(|refusal| refusal.to_problem(name.as_str()));
            let compiled = compiled.map(|compiled| Arc::new(Ready::new(resolver, compiled)));
            let (location, module) = (resolver.location.clone(), resolver.module.clone());
            (name, Entry { location, module, compiled })
        });
        Self { entries: entries.collect(), order, python, trial }
    }

    /// The compiled form of a resolver that agrees with Python.
    fn ready(&self, call: &ResolverCall) -> Option<&Ready> {
        let entry = self.entries.get(&call.name).filter(|entry| entry.module == call.module)?;
        let ready = entry.compiled.as_ref().ok()?;
        let verdict = match ready.verdict.get() {
            Some(known) => known,
            None => self.tried(ready, &entry.location).ok()?,
        };
        verdict.as_ref().ok().map(|()| ready.as_ref())
    }

    /// Tries a resolver, unless that was done. The error says why Python could not be asked.
    fn tried<'a>(&self, ready: &'a Ready, at: &Location) -> Result<&'a Result<(), Problem>, CellError> {
        let _alone = ready.trying.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = ready.verdict.get() {
            return Ok(known);
        }
        let verdict = match try_out(&ready.resolver, &ready.call, &ready.parameters, ready.seed, self.python.as_ref()) {
            Outcome::Agrees => Ok(()),
            Outcome::Differs(difference) => {
                let name = &ready.call.name;
                tracing::warn!(resolver = %name, "a compiled resolver answers otherwise than Python and is left to it");
                let message = format!("resolver `{name}` runs in Python: compiled it would answer otherwise");
                Err(Problem::new(DIFFERS, message)
                    .with_note("tried with", difference, None)
                    .with_help("its answers are right as they are; report the difference, with the function, as a fault of the compiler")
                    .at(at))
            }
            Outcome::NotTried(error) => {
                tracing::warn!(resolver = %ready.call.name, code = error.code, "a compiled resolver could not be tried");
                return Err(error);
            }
        };
        Ok(ready.verdict.get_or_init(|| verdict))
    }
}

impl Ready {
    fn new(resolver: &Resolver, compiled: CompiledResolver) -> Self {
        let call = ResolverCall {
            name: resolver.name.clone(),
            module: resolver.module.clone(),
            mode: resolver.mode,
            is_async: resolver.is_async,
            timeout: resolver.timeout,
            retries: 0,
            fingerprint: String::new(),
        };
        let parameters = resolver.inputs.iter().map(|input| input.name.clone()).collect();
        // FNV-1a of what the fingerprint is made of: the same code is tried with the same inputs everywhere.
        let seed = resolver
            .code
            .bytes()
            .fold(0xCBF2_9CE4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3));
        Self { resolver: compiled, call, parameters, seed, verdict: OnceLock::new(), trying: Mutex::new(()) }
    }
}

impl AtOnce for Ready {
    fn call(&self, arguments: &[Value]) -> Option<Result<Vec<Value>, CellError>> {
        match self.resolver.call_bounded(arguments) {
            Ok(values) => Some(Ok(values)),
            Err(NoValue::Error(error)) => Some(Err(error)),
            Err(NoValue::AskPython) => None,
        }
    }
}

impl ResolverHost for CompiledHost {
    fn call(&self, call: &ResolverCall, inputs: &RecordBatch) -> Result<ResolverAnswer, CellError> {
        let Some(ready) = self.ready(call) else { return self.python.call(call, inputs) };
        let build = |ty: &Type, values: &[Value]| build_array(ty, values).ok();
        let Some(batch) = ready.resolver.call_rows(inputs.columns(), inputs.num_rows(), &build) else {
            return self.python.call(call, inputs);
        };
        let answer = ResolverAnswer { outputs: batch.outputs, errors: batch.errors };
        if batch.asked.is_empty() {
            return Ok(answer);
        }
        let types: Vec<&Type> = ready.resolver.output_types().collect();
        Ok(self.ask(call, inputs, &types, answer, &batch.asked))
    }

    fn call_one(
        &self,
        call: &ResolverCall,
        arguments: &[Argument<'_>],
        outputs: &[&Type],
    ) -> Result<Vec<Value>, CellError> {
        let Some(ready) = self.ready(call) else { return self.python.call_one(call, arguments, outputs) };
        let values: Vec<&Value> = arguments.iter().map(|argument| &argument.value).collect();
        match ready.resolver.call_one(&values) {
            Ok(values) => Ok(values),
            Err(NoValue::Error(error)) => Err(error),
            Err(NoValue::AskPython) => self.python.call_one(call, arguments, outputs),
        }
    }

    fn at_once(&self, call: &ResolverCall) -> Option<Arc<dyn AtOnce>> {
        let entry = self.entries.get(&call.name).filter(|entry| entry.module == call.module)?;
        let ready = entry.compiled.as_ref().ok()?;
        matches!(ready.verdict.get(), Some(Ok(()))).then(|| Arc::clone(ready) as Arc<dyn AtOnce>)
    }

    fn probe(&self) -> Option<Result<(), CellError>> {
        self.python.probe()
    }

    fn running(&self) -> Vec<Running> {
        let one = |name: &Name| {
            let entry = &self.entries[name];
            let why = match &entry.compiled {
                Err(refused) => Some(refused.clone()),
                Ok(ready) => ready.verdict.get().and_then(|verdict| verdict.as_ref().err()).cloned(),
            };
            let runs = if why.is_none() { Runs::Compiled } else { Runs::Python };
            Running { resolver: name.clone(), location: entry.location.clone(), runs, why }
        };
        self.order.iter().map(one).collect()
    }

    fn try_out(&self) -> Result<(), CellError> {
        if self.trial == Trial::AtFirstCall {
            return Ok(());
        }
        let mut outcome = Ok(());
        for entry in self.order.iter().map(|name| &self.entries[name]) {
            if let Ok(ready) = &entry.compiled {
                outcome = outcome.and(self.tried(ready, &entry.location).map(drop));
                if matches!(&outcome, Err(error) if error.code == "resolver/worker-start") {
                    break; // Nor could the others be tried.
                }
            }
        }
        outcome
    }
}

impl CompiledHost {
    /// Puts Python's answers for some rows in place.
    fn ask(
        &self,
        call: &ResolverCall,
        inputs: &RecordBatch,
        types: &[&Type],
        mut answer: ResolverAnswer,
        rows: &[usize],
    ) -> ResolverAnswer {
        let fail = |errors: &mut std::collections::BTreeMap<usize, CellError>, error: &CellError| {
            errors.extend(rows.iter().map(|row| (*row, error.clone())));
        };
        let indices = UInt32Array::from_iter_values(rows.iter().map(|row| *row as u32));
        let asked = compute::take_record_batch(inputs, &indices).expect("the rows are within the batch");
        let theirs = match self.python.call(call, &asked) {
            Ok(theirs) if theirs.outputs.len() == types.len() => theirs,
            Ok(_) => {
                fail(&mut answer.errors, &wrong_count(call));
                return answer;
            }
            Err(error) => {
                fail(&mut answer.errors, &error);
                return answer;
            }
        };
        let mut source: Vec<(usize, usize)> = (0..inputs.num_rows()).map(|row| (0, row)).collect();
        for (place, row) in rows.iter().enumerate() {
            source[*row] = (1, place);
        }
        for (own, (array, ty)) in answer.outputs.iter_mut().zip(theirs.outputs.iter().zip(types)) {
            let declared = as_declared(call, ty, array).ok().filter(|array| array.len() == rows.len());
            let Some(array) = declared else {
                fail(&mut answer.errors, &crate::resolve::wrong_type(call));
                continue;
            };
            let joined: ArrayRef = compute::interleave(&[own.as_ref(), array.as_ref()], &source)
                .expect("both have the declared type and the rows are within them");
            *own = joined;
        }
        let errors = theirs.errors.into_iter().filter(|(place, _)| *place < rows.len());
        answer.errors.extend(errors.map(|(place, error)| (rows[place], error)));
        answer
    }
}
