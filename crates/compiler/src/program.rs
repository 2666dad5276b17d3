//! What Python source becomes: functions of statements and expressions, with names resolved to slots.

use std::sync::Arc;

use creta_model::Location;

use crate::budget;
use crate::builtins::{Builtin, Method};
use crate::operators::{Binary, Comparison, Unary};
use crate::raised::{Outcome, Raised};
use crate::value::{EnumClass, StructClass, Value};
use crate::written::Spec;

/// A resolver that needs no Python: its function and those it calls.
#[derive(Debug, Default)]
pub struct Program {
    /// The resolver itself is the last one.
    pub(crate) functions: Vec<Function>,
    /// The project's files and where their lines begin, to say where something was raised.
    pub(crate) files: Arc<Files>,
    /// Whether all of it is run for many rows at once.
    pub(crate) is_straight: bool,
}

/// One function.
#[derive(Debug)]
pub(crate) struct Function {
    /// How many of the first slots are parameters.
    pub(crate) parameters: usize,
    pub(crate) slots: usize,
    pub(crate) body: Vec<Line>,
}

/// A byte position in one of the project's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub(crate) file: u16,
    pub(crate) offset: u32,
}

/// Paths of files, and the byte at which each line begins.
#[derive(Debug, Default)]
pub(crate) struct Files(pub(crate) Vec<(String, Vec<u32>)>);

impl Files {
    pub(crate) fn location(&self, place: Place) -> Option<Location> {
        let (file, starts) = self.0.get(place.file as usize)?;
        let line = starts.partition_point(|start| *start <= place.offset);
        Some(Location { file: file.clone(), line: line as u32 })
    }
}

/// A statement and where it stands.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) stmt: Stmt,
    pub(crate) place: Place,
}

/// What a statement does.
#[derive(Debug)]
pub(crate) enum Stmt {
    Assign(Target, Node),
    /// Evaluated for what it may raise.
    Expr(Node),
    If(Node, Vec<Line>, Vec<Line>),
    /// Target, items, body, `else`.
    For(Target, Node, Vec<Line>, Vec<Line>),
    Return(Node),
    Raise(&'static str),
    Break,
    Continue,
}

/// Where a value goes.
#[derive(Debug)]
pub(crate) enum Target {
    Slot(usize),
    Unpack(Vec<Target>),
}

/// An expression and where it stands.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) op: Op,
    pub(crate) place: Place,
}

/// What an expression does.
#[derive(Debug)]
pub(crate) enum Op {
    Const(Value),
    Local(usize),
    /// A local of the function, read within a comprehension. Without a value it is one exception or another, by version.
    Free(usize),
    /// `name := value`.
    Walrus(usize, Box<Node>),
    /// Gives the slot the value and is true: a capture in a pattern.
    Bind(usize, Box<Node>),
    Unary(Unary, Box<Node>),
    Binary(Binary, Box<[Node; 2]>),
    /// `a op= b`: the same, except that lists would change in place.
    Augmented(Binary, Box<[Node; 2]>),
    /// One comparison, the common case of a chain.
    Compare(Comparison, Box<[Node; 2]>),
    /// `a < b < c`: each operand once, as far as needed.
    Chain(Box<Node>, Vec<(Comparison, Node)>),
    And(Vec<Node>),
    Or(Vec<Node>),
    /// Condition, then, otherwise.
    If(Box<[Node; 3]>),
    /// An argument that was left out is [`Value::Unbound`].
    Call(Builtin, Vec<Node>),
    /// The first is what it is called on.
    Method(Method, Vec<Node>),
    Attribute(Arc<str>, Box<Node>),
    Index(Box<[Node; 2]>),
    /// Container, start, stop, step.
    Slice(Box<[Node; 4]>),
    List(Vec<Node>),
    Tuple(Vec<Node>),
    Set(Vec<Node>),
    Dict(Vec<(Node, Node)>),
    Comprehension(Box<Comprehension>),
    Format(Vec<Part>),
    Function(usize, Vec<Node>),
    Construct(Arc<StructClass>, Vec<Node>),
    /// `Sky("fine")`.
    Member(Arc<EnumClass>, Box<Node>),
}

/// A comprehension, or a generator that is consumed on the spot.
#[derive(Debug)]
pub(crate) struct Comprehension {
    pub(crate) into: Into,
    /// The item; for a dictionary its key.
    pub(crate) item: Node,
    /// The value of a dictionary's key.
    pub(crate) value: Option<Node>,
    pub(crate) generators: Vec<Generator>,
    /// What `min` or `max` of nothing is.
    pub(crate) default: Option<Value>,
}

/// What a comprehension's items become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Into {
    List,
    Tuple,
    Set,
    Dict,
    Any,
    All,
    Sum,
    Min,
    Max,
}

/// `for target in items if ...`.
#[derive(Debug)]
pub(crate) struct Generator {
    pub(crate) target: Target,
    pub(crate) items: Node,
    pub(crate) conditions: Vec<Node>,
}

/// A piece of an f-string.
#[derive(Debug)]
pub(crate) enum Part {
    Text(Arc<str>),
    /// Value, whether `!r`, specification.
    Value(Node, bool, Spec),
}

impl Node {
    /// Visits the expressions right within.
    pub(crate) fn each_child<'n>(&'n self, visit: &mut dyn FnMut(&'n Node)) {
        match &self.op {
            Op::Const(_) | Op::Local(_) | Op::Free(_) => {}
            Op::Walrus(_, inner)
            | Op::Bind(_, inner)
            | Op::Unary(_, inner)
            | Op::Attribute(_, inner)
            | Op::Member(_, inner) => visit(inner),
            Op::Binary(_, nodes) | Op::Augmented(_, nodes) | Op::Compare(_, nodes) | Op::Index(nodes) => {
                nodes.iter().for_each(visit);
            }
            Op::If(nodes) => nodes.iter().for_each(visit),
            Op::Slice(nodes) => nodes.iter().for_each(visit),
            Op::Chain(first, rest) => {
                visit(first);
                rest.iter().for_each(|(_, inner)| visit(inner));
            }
            Op::And(nodes)
            | Op::Or(nodes)
            | Op::Call(_, nodes)
            | Op::Method(_, nodes)
            | Op::List(nodes)
            | Op::Tuple(nodes)
            | Op::Set(nodes)
            | Op::Function(_, nodes)
            | Op::Construct(_, nodes) => nodes.iter().for_each(visit),
            Op::Dict(pairs) => pairs.iter().for_each(|(key, value)| {
                visit(key);
                visit(value);
            }),
            Op::Comprehension(comprehension) => {
                for generator in &comprehension.generators {
                    visit(&generator.items);
                    generator.conditions.iter().for_each(&mut *visit);
                }
                visit(&comprehension.item);
                comprehension.value.iter().for_each(visit);
            }
            Op::Format(parts) => parts.iter().for_each(|part| {
                if let Part::Value(inner, ..) = part {
                    visit(inner);
                }
            }),
        }
    }
}

impl Program {
    /// Visits every expression.
    pub(crate) fn each_node<'p>(&'p self, visit: &mut dyn FnMut(&'p Node)) {
        fn node<'p>(of: &'p Node, visit: &mut dyn FnMut(&'p Node)) {
            visit(of);
            of.each_child(&mut |inner| node(inner, visit));
        }
        fn lines<'p>(body: &'p [Line], visit: &mut dyn FnMut(&'p Node)) {
            for line in body {
                match &line.stmt {
                    Stmt::Assign(_, at) | Stmt::Expr(at) | Stmt::Return(at) => node(at, visit),
                    Stmt::If(test, then, otherwise) => {
                        node(test, visit);
                        lines(then, visit);
                        lines(otherwise, visit);
                    }
                    Stmt::For(_, items, body, otherwise) => {
                        node(items, visit);
                        lines(body, visit);
                        lines(otherwise, visit);
                    }
                    Stmt::Raise(_) | Stmt::Break | Stmt::Continue => {}
                }
            }
        }
        self.functions.iter().for_each(|function| lines(&function.body, visit));
    }

    /// Calls the resolver for one row. `arguments` are its parameters in order.
    pub fn call(&self, arguments: &[Value]) -> Outcome<Value> {
        let function = self.functions.last().expect("a program has its resolver");
        budget::within(budget::CALL, || self.run(function, arguments))
    }

    /// As [`Program::call`], with no more work than is left of [`bounded`](crate::bounded) around it.
    pub(crate) fn call_bounded(&self, arguments: &[Value]) -> Outcome<Value> {
        self.run(self.functions.last().expect("a program has its resolver"), arguments)
    }

    /// The line of the user's file that raised, where that is known.
    pub fn location(&self, raised: Raised) -> Option<Location> {
        match raised {
            Raised::At(_, place) => self.files.location(place),
            Raised::Exception(_) | Raised::Beyond(_) => None,
        }
    }

    /// How many arguments [`Program::call`] takes.
    pub fn arity(&self) -> usize {
        self.functions.last().map_or(0, |function| function.parameters)
    }

    /// A row for which a program of this kind has no answer to give: more or fewer arguments than parameters.
    pub(crate) fn wrong_arity() -> Raised {
        Raised::TYPE
    }
}
