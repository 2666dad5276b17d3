//! Compiled resolvers beside the worker's own answers: the same project, every resolver, cells equal to the last bit.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

use arrow::array::{ArrayRef, RecordBatch};
use creta_compiler::{CompiledResolver, compile_bundle};
use creta_engine::{
    Argument, CompiledHost, ResolverAnswer, ResolverHost as _, Running, Trial, build_array, read_value,
};
use creta_model::{Bundle, CellError, Type, Value};
use creta_planner::{ResolverCall, Runs};
use proptest::prelude::*;

use super::host::Workers;
use super::process::Launch;
use crate::config::WorkerConfig;

/// Resolvers of the project that stay in Python, and why.
const IN_PYTHON: &[(&str, &str)] = &[("half", "a resolver over frames")];

/// The project, asked in both ways.
struct Both {
    bundle: Bundle,
    compiled: Vec<CompiledResolver>,
    workers: Arc<Workers>,
    host: CompiledHost,
}

/// An interpreter that has what a worker needs. Where none is found, `CRETA_REQUIRE_PYTHON` makes that an error.
fn python() -> Option<WorkerConfig> {
    let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdk/python/src");
    let config = WorkerConfig { python_path: vec![sdk.clone()], processes: 1, ..WorkerConfig::default() };
    let works = |python: &PathBuf| {
        let probe = Command::new(python).args(["-c", "import pyarrow, creta._worker"]).env("PYTHONPATH", &sdk).output();
        probe.is_ok_and(|output| output.status.success())
    };
    let found = works(&config.interpreter());
    assert!(found || std::env::var_os("CRETA_REQUIRE_PYTHON").is_none(), "no Python with pyarrow; set CRETA_PYTHON");
    found.then_some(config)
}

fn both() -> Option<&'static Both> {
    static BOTH: OnceLock<Option<Both>> = OnceLock::new();
    BOTH.get_or_init(|| {
        let config = python()?;
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/projects/kinds");
        let exported = Command::new(config.interpreter())
            .args(["-m", "creta._export"])
            .arg(folder)
            .env("PYTHONPATH", &config.python_path[0])
            .output()
            .expect("Python starts");
        let said = String::from_utf8_lossy(&exported.stdout);
        assert!(exported.status.success(), "{said}{}", String::from_utf8_lossy(&exported.stderr));
        let bundle: Bundle = serde_json::from_str(&said).expect("a bundle");
        let workers = Arc::new(Workers::new(Launch::new(&config), 1, &bundle).expect("a pool"));
        let host = CompiledHost::new(&bundle, Arc::clone(&workers) as _, Trial::AtDeploy);
        let compiled = compile_bundle(&bundle).into_iter().filter_map(|(_, compiled)| compiled.ok()).collect();
        Some(Both { bundle, compiled, workers, host })
    })
    .as_ref()
}

impl Both {
    fn call(&self, resolver: &CompiledResolver) -> (ResolverCall, Vec<String>) {
        let declared = self.bundle.graph.resolvers.iter().find(|one| one.name == *resolver.name()).expect("its own");
        let call = ResolverCall {
            name: declared.name.clone(),
            module: declared.module.clone(),
            mode: declared.mode,
            is_async: false,
            timeout: None,
            retries: 0,
            fingerprint: String::new(),
        };
        (call, declared.inputs.iter().map(|input| input.name.clone()).collect())
    }
}

fn batch(names: &[String], types: &[&Type], rows: &[Vec<Value>]) -> RecordBatch {
    let columns = types.iter().enumerate().map(|(at, ty)| {
        let values: Vec<Value> = rows.iter().map(|row| row[at].clone()).collect();
        build_array(ty, &values).expect("values of the type")
    });
    let columns: Vec<(&str, ArrayRef)> = names.iter().map(String::as_str).zip(columns).collect();
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
        .expect("columns of one length")
}

/// What stands in each row; floats by their bits, NaN as one value.
fn cells(answer: &ResolverAnswer, types: &[&Type], row: usize) -> Result<Vec<String>, CellError> {
    match answer.errors.get(&row) {
        Some(error) => Err(error.clone()),
        None => Ok(answer.outputs.iter().zip(types).map(|(array, ty)| exact(&read_value(array, ty, row))).collect()),
    }
}

fn exact(value: &Value) -> String {
    match value {
        Value::Float(float) if float.is_nan() => "NaN".into(),
        Value::Float(float) => format!("{float} {:016x}", float.to_bits()),
        Value::List(items) | Value::Struct(items) => format!("{:?}", items.iter().map(exact).collect::<Vec<_>>()),
        other => format!("{other:?}"),
    }
}

#[test]
fn every_resolver_of_the_project_is_compiled_and_agrees_when_tried() {
    let Some(both) = both() else { return };
    both.host.try_out().expect("Python can be asked");
    for Running { resolver, runs, why, .. } in both.host.running() {
        match IN_PYTHON.iter().find(|(name, _)| *name == resolver.as_str()) {
            None => assert_eq!((runs, why), (Runs::Compiled, None), "`{resolver}`"),
            Some((_, reason)) => {
                let why = why.expect("a reason");
                assert!(runs == Runs::Python && why.message.contains(reason), "{why}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(6), ..ProptestConfig::default() })]

    #[test]
    fn s31_compiled_cells_equal_the_workers_cells(seed in any::<u64>(), rows in 1usize..1000) {
        let Some(both) = both() else { return Ok(()) };
        for resolver in &both.compiled {
            let (call, names) = both.call(resolver);
            let types: Vec<&Type> = resolver.parameters().map(|(ty, _)| ty).collect();
            let outputs: Vec<&Type> = resolver.output_types().collect();
            let rows = resolver.made_up(seed, rows);
            let inputs = batch(&names, &types, &rows);
            let theirs = both.workers.call(&call, &inputs).expect("the worker answers");
            let ours = both.host.call(&call, &inputs).expect("it is answered");
            for (at, row) in rows.iter().enumerate() {
                let (theirs, ours) = (cells(&theirs, &outputs, at), cells(&ours, &outputs, at));
                prop_assert_eq!(&ours, &theirs, "`{}` of {:?}", call.name, row);
                // One row alone is the same as one among many.
                if at < 40 {
                    let arguments: Vec<Argument<'_>> = names.iter().zip(&types).zip(row)
                        .map(|((name, ty), value)| Argument { name, ty, value: value.clone() })
                        .collect();
                    let alone = both.host.call_one(&call, &arguments, &outputs);
                    let alone = alone.map(|values| values.iter().map(exact).collect::<Vec<_>>());
                    prop_assert_eq!(&alone, &theirs, "one row: `{}` of {:?}", call.name, row);
                }
            }
        }
    }
}
