//! From syntax to programs: names become slots, calls become what they call.

mod call;
mod classes;
mod constants;
mod expression;
mod names;
mod pattern;
mod statement;

use std::collections::{BTreeMap, HashMap};

use creta_model::{ResolverMode, Type};
use ruff_python_ast::comparable::ComparableStmt;
use ruff_python_ast::{Expr, ModModule, Stmt, StmtFunctionDef};
use ruff_python_parser::parse_module;

use crate::columns;
use crate::infer;
use crate::limits::{CALLS_MAX, DEPTH_MAX, depth, is_shallow};
use crate::program::{Function, Node, Op, Place, Program};
use crate::project::{Binding, Project, place_of};
use crate::refusal::Refusal;
use crate::value::Value;

const NESTED: &str = "code that is nested too deeply";

pub(crate) type Lowered<T> = Result<T, Refusal>;

/// A resolver as its graph describes it.
#[derive(Debug, Clone)]
pub struct ResolverSource<'a> {
    /// Name of the function.
    pub name: &'a str,
    /// Dotted module it stands in.
    pub module: &'a str,
    /// How it is called; only scalar functions are compiled.
    pub mode: ResolverMode,
    /// Whether it is `async def`.
    pub is_async: bool,
    /// Normalised text with the constants it captures (see [`creta_model::Resolver::code`]).
    pub code: &'a str,
    /// Types of its parameters in order, and whether each may be `None`.
    pub inputs: Vec<(Type, bool)>,
}

/// The state of compiling one resolver.
pub(crate) struct Lower<'p> {
    project: &'p Project,
    /// What the resolver captured, by name.
    captured: BTreeMap<String, Expr>,
    /// The functions it calls, as they were when it was exported.
    exported: ModModule,
    functions: Vec<Function>,
    /// Number of each lowered function, by place; `None` while it is being lowered.
    numbers: HashMap<(u16, u32), Option<usize>>,
}

/// The names of one function.
pub(crate) struct Scope {
    file: u16,
    locals: HashMap<String, usize>,
    /// Names of the comprehensions around an expression, innermost last.
    inner: Vec<HashMap<String, usize>>,
    slots: usize,
}

impl Scope {
    fn new_slot(&mut self) -> usize {
        self.slots += 1;
        self.slots - 1
    }

    /// Whether a comprehension reads it from the function around it.
    fn is_free(&self, name: &str) -> bool {
        !self.inner.is_empty() && !self.inner.iter().any(|names| names.contains_key(name))
    }

    fn find(&self, name: &str) -> Option<usize> {
        let inner = self.inner.iter().rev().find_map(|names| names.get(name));
        inner.or_else(|| self.locals.get(name)).copied()
    }
}

impl Project {
    /// The resolver as a program, or what prevents it.
    pub fn compile(&self, source: &ResolverSource<'_>) -> Result<Program, Refusal> {
        let Some(file) = self.find(source.module) else {
            return Err(Self::without_place(source.module, "its module is not there", "deploy the whole project"));
        };
        if !self.is_read(file) {
            let what = "its module is nested too deeply to be read";
            return Err(Self::without_place(source.module, what, "split its expressions into names of their own"));
        }
        let function = match self.binding(file, source.name) {
            Ok(Some(Binding::Function(function))) => function,
            _ => {
                let what = format!("`{}` is not defined once at the top of its module", source.name);
                return Err(Self::without_place(source.module, &what, "move it there, under a name of its own"));
            }
        };
        let at = place_of(file, &function.name);
        if source.mode != ResolverMode::Scalar {
            return Err(self.refusal(at, "a resolver over frames", "write it for one row to have it compiled"));
        }
        if source.is_async {
            return Err(self.refusal(at, "an `async` resolver", "what waits for others stays in Python"));
        }
        if let Some((ty, _)) = source.inputs.iter().find(|(ty, _)| !classes::is_compiled(ty)) {
            let what = format!("a parameter of type `{}`", ty.python_name());
            return Err(self.refusal(at, what, "convert it with an expression, or leave the resolver in Python"));
        }
        if let Some((ty, _)) = source.inputs.iter().find(|(ty, _)| !self.knows(ty)) {
            let what = format!("a parameter of type `{}`, whose class is more than its members", ty.python_name());
            return Err(self.refusal(at, what, "enums of texts and frozen dataclasses without methods are compiled"));
        }
        if !is_shallow(source.code) {
            return Err(self.refusal(at, NESTED, "split its expressions into names of their own"));
        }
        let exported = parse_module(source.code)
            .map_err(|_| self.refusal(at, "its exported code does not parse", "export the project again"))?
            .into_syntax();
        let captured = constants::captured(&exported);
        let mut lower = Lower { project: self, captured, exported, functions: Vec::new(), numbers: HashMap::new() };
        lower.function(file, function, at)?;
        if depth(&lower.functions) > DEPTH_MAX {
            return Err(self.refusal(at, NESTED, "split its expressions into names of their own"));
        }
        let is_straight = columns::are_straight(&lower.functions);
        let program = Program { functions: lower.functions, files: self.files(), is_straight };
        let samples = source.inputs.iter().map(|(ty, optional)| infer::parameter(self, ty, *optional)).collect();
        infer::check(self, &program, samples)?;
        Ok(program)
    }
}

impl<'p> Lower<'p> {
    fn refuse<T>(&self, place: Place, what: impl Into<String>, help: impl Into<String>) -> Lowered<T> {
        Err(self.project.refusal(place, what, help))
    }

    /// Number of a function of the project, lowered on first use.
    fn function(&mut self, file: u16, function: &'p StmtFunctionDef, used: Place) -> Lowered<usize> {
        let at = place_of(file, &function.name);
        match self.numbers.get(&(file, at.offset)) {
            Some(Some(number)) => return Ok(*number),
            Some(None) => {
                let what = format!("`{}` calls itself", function.name);
                return self.refuse(used, what, "write it as a loop over a list");
            }
            None => {}
        }
        if self.numbers.values().filter(|number| number.is_none()).count() > CALLS_MAX {
            return self.refuse(used, NESTED, "call fewer functions within one another");
        }
        self.check_definition(file, function)?;
        self.numbers.insert((file, at.offset), None);
        let mut scope = Scope { file, locals: HashMap::new(), inner: Vec::new(), slots: 0 };
        for parameter in function.parameters.posonlyargs.iter().chain(&function.parameters.args) {
            let slot = scope.new_slot();
            scope.locals.insert(parameter.parameter.name.to_string(), slot);
        }
        let parameters = scope.slots;
        let mut assigned = Vec::new();
        names::assigned(&function.body, &mut assigned);
        for name in assigned {
            if !scope.locals.contains_key(name) {
                let slot = scope.new_slot();
                scope.locals.insert(name.to_owned(), slot);
            }
        }
        let body = self.block(without_docstring(&function.body), &mut scope)?;
        let number = self.functions.len();
        self.functions.push(Function { parameters, slots: scope.slots, body });
        self.numbers.insert((file, at.offset), Some(number));
        Ok(number)
    }

    /// What a function may not be or have, whatever its body.
    fn check_definition(&self, file: u16, function: &StmtFunctionDef) -> Lowered<()> {
        let at = place_of(file, &function.name);
        if function.is_async {
            return self.refuse(at, format!("`{}` is `async`", function.name), "call it from a resolver in Python");
        }
        for decorator in &function.decorator_list {
            let called = match &decorator.expression {
                Expr::Call(call) => &call.func,
                other => other,
            };
            let name = match called {
                Expr::Name(name) => name.id.as_str(),
                Expr::Attribute(attribute) => attribute.attr.as_str(),
                _ => "",
            };
            if name != "resolver" {
                return self.refuse(
                    place_of(file, decorator),
                    format!("a decorator on `{}`", function.name),
                    "decorators other than `@resolver` stay in Python",
                );
            }
        }
        let parameters = &function.parameters;
        if parameters.vararg.is_some() || parameters.kwarg.is_some() || !parameters.kwonlyargs.is_empty() {
            return self.refuse(at, format!("`{}` has more than plain parameters", function.name), "name each one");
        }
        // The text must say what ran when the resolver was exported, or the fingerprint would speak of other code.
        let body: Vec<ComparableStmt<'_>> =
            without_docstring(&function.body).iter().map(ComparableStmt::from).collect();
        let same = self.exported.body.iter().any(|statement| match statement {
            Stmt::FunctionDef(exported) => {
                let own: Vec<ComparableStmt<'_>> =
                    without_docstring(&exported.body).iter().map(ComparableStmt::from).collect();
                exported.name.as_str() == function.name.as_str() && (own == body || (body.is_empty() && own.len() == 1))
            }
            _ => false,
        });
        if same {
            Ok(())
        } else {
            self.refuse(
                at,
                format!("`{}` is not what was exported", function.name),
                "define each function once, and do not replace it afterwards",
            )
        }
    }

    fn absent(place: Place) -> Node {
        Node { op: Op::Const(Value::Unbound), place }
    }
}

fn without_docstring(body: &[Stmt]) -> &[Stmt] {
    match body {
        [Stmt::Expr(first), rest @ ..] if matches!(*first.value, Expr::StringLiteral(_)) => rest,
        all => all,
    }
}
