//! The resolvers of a bundle: which run compiled, with what their parameters and results need, and why the others do not.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array};
use creta_model::{Bundle, CellError, FeaturePath, Graph, InputSource, Name, Resolver, Type, Value as Stored};

use crate::boundary::{Mismatch, Shape, cell_error};
use crate::columns::Lane;
use crate::limits::STACK_BYTES;
use crate::raised::Outcome;
use crate::value::Value;
use crate::{Program, Project, Refusal, ResolverSource};

/// A resolver that runs without Python.
#[derive(Debug)]
pub struct CompiledResolver {
    name: Name,
    module: String,
    program: Program,
    inputs: Vec<Shape>,
    /// Whether each parameter may be `None`.
    optional: Vec<bool>,
    outputs: Vec<Output>,
}

#[derive(Debug)]
struct Output {
    path: String,
    shape: Shape,
    optional: bool,
}

/// Results of a batch.
#[derive(Debug)]
pub struct Batch {
    /// One per output, in the Arrow form of its type. What stands in a row of `errors` or `asked` does not matter.
    pub outputs: Vec<ArrayRef>,
    /// Rows that raised, or returned what they do not declare.
    pub errors: BTreeMap<usize, CellError>,
    /// Rows that only Python can answer, ascending.
    pub asked: Vec<usize>,
}

/// Why one row has no values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoValue {
    /// It is this error, as Python would give it.
    Error(CellError),
    /// Only Python can answer it.
    AskPython,
}

/// Makes a column of a type of values that are of it.
pub type BuildArray<'a> = &'a dyn Fn(&Type, &[Stored]) -> Option<ArrayRef>;

/// Compiles every resolver of a bundle, in the order of its graph. Takes well under a millisecond per resolver, on a thread
/// of its own, whose stack holds what is nested as deeply as is allowed.
pub fn compile_bundle(bundle: &Bundle) -> Vec<(Name, Result<CompiledResolver, Refusal>)> {
    if bundle.graph.resolvers.is_empty() {
        return Vec::new();
    }
    let compile_all = || {
        let project = Project::new(&bundle.modules);
        let resolvers = bundle.graph.resolvers.iter();
        resolvers.map(|resolver| (resolver.name.clone(), compile(&project, &bundle.graph, resolver))).collect()
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, compile_all);
        let compiled = thread.ok().and_then(|thread| thread.join().ok());
        // Without a thread, or should the compiler itself fail on a source, everything stays in Python.
        compiled.unwrap_or_else(|| {
            let refused = |resolver: &Resolver| Refusal {
                location: resolver.location.clone(),
                column: 1,
                what: "the compiler itself failed".into(),
                help: "report it with this project; answers come from Python meanwhile".into(),
            };
            let resolvers = bundle.graph.resolvers.iter();
            resolvers.map(|resolver| (resolver.name.clone(), Err(refused(resolver)))).collect()
        })
    })
}

fn compile(project: &Project, graph: &Graph, resolver: &Resolver) -> Result<CompiledResolver, Refusal> {
    let unknown = || Refusal {
        location: resolver.location.clone(),
        column: 1,
        what: "a feature that is not defined".into(),
        help: "define it".into(),
    };
    let mut inputs = Vec::with_capacity(resolver.inputs.len());
    for input in &resolver.inputs {
        let ty = match &input.from {
            InputSource::Now => Type::Datetime,
            InputSource::Path(path) => feature(graph, path).ok_or_else(unknown)?.0,
        };
        inputs.push((ty, input.optional));
    }
    let mut outputs = Vec::with_capacity(resolver.outputs.len());
    for path in &resolver.outputs {
        let (ty, optional) = feature(graph, path).ok_or_else(unknown)?;
        let shape = Shape::of(project, &ty);
        outputs.push(Output { path: path.to_string(), shape, optional });
    }
    let source = ResolverSource {
        name: resolver.name.as_str(),
        module: &resolver.module,
        mode: resolver.mode,
        is_async: resolver.is_async,
        code: &resolver.code,
        inputs,
    };
    let program = project.compile(&source)?;
    // The parameters' shapes are those of the types that the program was checked for.
    let inputs = source.inputs.iter().map(|(ty, _)| Shape::of(project, ty)).collect();
    // Results that are only made of what the program cannot hold would be refused row by row: say so once.
    if let Some(output) = outputs
        .iter()
        .find(|output| matches!(output.shape.ty(), Type::Bytes | Type::Decimal { .. } | Type::Vector { .. }))
    {
        return Err(Refusal {
            location: resolver.location.clone(),
            column: 1,
            what: format!("a result of type `{}`", output.shape.ty().python_name()),
            help: "leave the resolver in Python".into(),
        });
    }
    let optional = source.inputs.iter().map(|(_, optional)| *optional).collect();
    let (name, module) = (resolver.name.clone(), resolver.module.clone());
    Ok(CompiledResolver { name, module, program, inputs, optional, outputs })
}

/// Type of the feature at the end of a path, and whether null is one of its values.
fn feature(graph: &Graph, path: &FeaturePath) -> Option<(Type, bool)> {
    let mut entity = graph.find_entity(&path.root)?;
    for relation in &path.via {
        entity = graph.find_entity(&entity.find_relation(relation)?.target)?;
    }
    entity.find_feature(&path.feature).map(|feature| (feature.ty.clone(), feature.optional))
}

impl CompiledResolver {
    /// Name of the resolver.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Dotted module of the resolver.
    pub fn module(&self) -> &str {
        &self.module
    }

    /// Types of its parameters in order, and whether each may be `None`.
    pub fn parameters(&self) -> impl Iterator<Item = (&Type, bool)> {
        self.inputs.iter().map(Shape::ty).zip(self.optional.iter().copied())
    }

    /// Types of its results, in order.
    pub fn output_types(&self) -> impl Iterator<Item = &Type> {
        self.outputs.iter().map(|output| output.shape.ty())
    }

    /// So many rows of arguments to try it with, the same for the same seed: values at the edges of its types, and those
    /// that its own code compares with.
    pub fn made_up(&self, seed: u64, rows: usize) -> Vec<Vec<Stored>> {
        let parameters: Vec<(&Shape, bool)> = self.inputs.iter().zip(self.optional.iter().copied()).collect();
        self.program.made_up(&parameters, seed, rows)
    }

    /// Calls it for one row: one value per output.
    pub fn call_one(&self, arguments: &[&Stored]) -> Result<Vec<Stored>, NoValue> {
        let values = self.read(arguments.iter().copied())?;
        self.stored(self.program.call(&values))
    }

    /// As [`CompiledResolver::call_one`], with no more work than is left of [`bounded`](crate::bounded) around it: where that is
    /// not enough, Python is to be asked.
    pub fn call_bounded(&self, arguments: &[Stored]) -> Result<Vec<Stored>, NoValue> {
        let values = self.read(arguments.iter())?;
        self.stored(self.program.call_bounded(&values))
    }

    fn read<'a>(&self, arguments: impl ExactSizeIterator<Item = &'a Stored>) -> Result<Vec<Value>, NoValue> {
        if arguments.len() != self.inputs.len() {
            return Err(NoValue::AskPython);
        }
        let mut values = Vec::with_capacity(arguments.len());
        for (argument, shape) in arguments.zip(&self.inputs) {
            values.push(shape.read(argument).ok_or(NoValue::AskPython)?);
        }
        Ok(values)
    }

    /// Calls it for all rows of columns that are its parameters in order; `build` makes columns of lists and structs.
    pub fn call_rows(&self, columns: &[ArrayRef], rows: usize, build: BuildArray<'_>) -> Option<Batch> {
        if columns.len() != self.inputs.len() {
            return None;
        }
        let lanes: Vec<Lane> = columns.iter().zip(&self.inputs).map(|(column, shape)| shape.lane(column)).collect();
        let answers = self.program.call_rows(&lanes, rows);
        if answers.raised.is_empty()
            && let [output] = &self.outputs[..]
            && let Some(column) = plain_column(output.shape.ty(), &answers.values)
        {
            return Some(Batch { outputs: vec![column], errors: BTreeMap::new(), asked: Vec::new() });
        }
        let mut batch = Batch { outputs: Vec::new(), errors: BTreeMap::new(), asked: Vec::new() };
        let mut stored: Vec<Vec<Stored>> = vec![Vec::with_capacity(rows); self.outputs.len()];
        let mut raised = answers.raised.iter().peekable();
        for row in 0..rows {
            let outcome = match raised.next_if(|(failed, _)| *failed == row) {
                Some((_, error)) => Err(*error),
                None => Ok(answers.values.value(row)),
            };
            match self.stored(outcome) {
                Ok(values) => stored.iter_mut().zip(values).for_each(|(column, value)| column.push(value)),
                Err(why) => {
                    stored.iter_mut().for_each(|column| column.push(Stored::Null));
                    match why {
                        NoValue::Error(error) => drop(batch.errors.insert(row, error)),
                        NoValue::AskPython => batch.asked.push(row),
                    }
                }
            }
        }
        for (output, values) in self.outputs.iter().zip(&stored) {
            batch.outputs.push(build(output.shape.ty(), values)?);
        }
        Some(batch)
    }

    /// What a row returned, as a worker would take it.
    fn stored(&self, outcome: Outcome<Value>) -> Result<Vec<Stored>, NoValue> {
        let value = match outcome {
            // Dictionaries may stand for a dataclass, and what a set was made as is not known here.
            Ok(value) if has_table(&value) => return Err(NoValue::AskPython),
            Ok(value) => value,
            Err(raised) => {
                let at = self.program.location(raised);
                let error = cell_error(self.name.as_str(), raised, at.as_ref());
                return Err(error.map_or(NoValue::AskPython, NoValue::Error));
            }
        };
        if let [output] = &self.outputs[..] {
            return self.one(output, &value).map(|stored| vec![stored]);
        }
        let Value::Tuple(items) = &value else {
            let got = if matches!(value, Value::None) { "NoneType" } else { value.type_name() };
            return Err(self.wrong_type("a tuple", got));
        };
        if items.len() != self.outputs.len() {
            return Err(self.wrong_type(&format!("{} results", self.outputs.len()), &items.len().to_string()));
        }
        self.outputs.iter().zip(items.iter()).map(|(output, item)| self.one(output, item)).collect()
    }

    fn one(&self, output: &Output, value: &Value) -> Result<Stored, NoValue> {
        match value {
            Value::None if output.optional => Ok(Stored::Null),
            Value::None => {
                let expected = format!("{} for `{}`", output.shape.ty().python_name(), output.path);
                Err(self.wrong_type(&expected, "None"))
            }
            value => output.shape.store(value).map_err(|Mismatch { expected, got }| self.wrong_type(&expected, &got)),
        }
    }

    fn wrong_type(&self, expected: &str, got: &str) -> NoValue {
        let name = &self.name;
        let message = format!(
            "resolver `{name}` returned values of other types than it declares: expected {expected}, got {got}"
        );
        NoValue::Error(CellError { code: "resolver/wrong-type".into(), message })
    }
}

fn has_table(value: &Value) -> bool {
    match value {
        Value::Set(_) | Value::Dict(_) => true,
        Value::List(items) | Value::Tuple(items) => items.iter().any(has_table),
        Value::Struct(instance) => instance.values.iter().any(has_table),
        _ => false,
    }
}

/// A column of plain numbers without looking at each.
fn plain_column(ty: &Type, values: &Lane) -> Option<ArrayRef> {
    Some(match (ty, values) {
        (Type::Float, Lane::Floats(values)) => Arc::new(Float64Array::from(values.clone())),
        (Type::Int, Lane::Ints(values)) => Arc::new(Int64Array::from(values.clone())),
        (Type::Bool, Lane::Bools(values)) => Arc::new(BooleanArray::from(values.clone())),
        _ => return None,
    })
}
