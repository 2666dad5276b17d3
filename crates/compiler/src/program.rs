//! What Python source becomes: functions of statements and expressions, with names resolved to slots.

use std::sync::Arc;

use crate::builtins::{Builtin, Method};
use crate::operators::{Binary, Comparison, Unary};
use crate::raised::{Outcome, Raised};
use crate::value::{EnumClass, StructClass, Value};
use crate::written::Spec;

/// A resolver that needs no Python: its function and those it calls.
#[derive(Debug)]
pub struct Program {
    /// The resolver itself is the last one.
    pub(crate) functions: Vec<Function>,
}

/// One function.
#[derive(Debug)]
pub(crate) struct Function {
    /// How many of the first slots are parameters.
    pub(crate) parameters: usize,
    pub(crate) slots: usize,
    pub(crate) body: Vec<Stmt>,
}

/// A byte position in one of the project's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: u16,
    pub(crate) offset: u32,
}

/// A statement.
#[derive(Debug)]
pub(crate) enum Stmt {
    Assign(Target, Node),
    /// Evaluated for what it may raise.
    Expr(Node),
    If(Node, Vec<Stmt>, Vec<Stmt>),
    /// Target, items, body, `else`.
    For(Target, Node, Vec<Stmt>, Vec<Stmt>),
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

impl Program {
    /// Calls the resolver for one row. `arguments` are its parameters in order.
    pub fn call(&self, arguments: &[Value]) -> Outcome<Value> {
        self.run(self.functions.last().expect("a program has its resolver"), arguments)
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
