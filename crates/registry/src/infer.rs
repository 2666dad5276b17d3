//! Types of expressions by Python's rules (rule S31), shared by the check and by whoever binds an expression to columns.

use creta_model::{Expr, FeaturePath, Function, Type, TypeMismatch, Value};
use serde_json::Value as Json;

use crate::functions;
use crate::render::{function_name, render_expr};

/// An expression whose types are known. Conversions that Python does silently stand as calls of
/// [`Function::ToFloat`], and literals have the type they are used as.
#[derive(Debug, Clone, PartialEq)]
pub struct Typed {
    /// What it is.
    pub node: Node,
    /// Type of its value.
    pub ty: Type,
    /// Whether its value may be null.
    pub optional: bool,
}

/// One node of a [`Typed`] expression.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// A feature, by the path it was written with.
    Feature(FeaturePath),
    /// A constant in JSON form of its type.
    Literal(Json),
    /// A function of arguments it is defined for. `and` and `or` have exactly two.
    Call(Function, Vec<Typed>),
}

/// Why an expression has no type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExprError {
    /// The lookup does not know the feature.
    #[error("`{0}` is not a feature that can be read here")]
    UnknownFeature(FeaturePath),
    /// A literal is not of the type it claims.
    #[error("a constant is not of its type: {0}")]
    Literal(TypeMismatch),
    /// Too few or too many arguments.
    #[error("`{function}` takes {takes}, not {given}, in `{expression}`")]
    Arity {
        /// Which function, in Python's words.
        function: &'static str,
        /// How many it takes: `two arguments`.
        takes: &'static str,
        /// How many it got.
        given: usize,
        /// The expression as Python.
        expression: String,
    },
    /// The function is not defined for these types.
    #[error("`{function}` is not defined for {operands} in `{expression}`")]
    Operands {
        /// Which function, in Python's words.
        function: &'static str,
        /// The types, in Python's words: `` `float` and `str` ``.
        operands: String,
        /// The expression as Python.
        expression: String,
        /// What to write instead, where that is known.
        help: Option<String>,
    },
}

impl ExprError {
    /// What to write instead, where that is known.
    pub fn help(&self) -> Option<&str> {
        match self {
            Self::Operands { help, .. } => help.as_deref(),
            _ => None,
        }
    }
}

/// Type of an expression and whether it may be null. `lookup` gives the same for features. Time linear in the
/// expression's size.
pub fn infer(expr: &Expr, lookup: &dyn Fn(&FeaturePath) -> Option<(Type, bool)>) -> Result<(Type, bool), ExprError> {
    typed(expr, lookup).map(|typed| (typed.ty, typed.optional))
}

/// The expression with the type of every part and with Python's silent conversions written out.
pub fn typed(expr: &Expr, lookup: &dyn Fn(&FeaturePath) -> Option<(Type, bool)>) -> Result<Typed, ExprError> {
    match expr {
        Expr::Feature { path } => {
            let (ty, optional) = lookup(path).ok_or_else(|| ExprError::UnknownFeature(path.clone()))?;
            Ok(Typed { node: Node::Feature(path.clone()), ty, optional })
        }
        Expr::Literal { ty, value } => {
            Value::from_json(ty, value).map_err(ExprError::Literal)?;
            Ok(Typed { node: Node::Literal(value.clone()), ty: ty.clone(), optional: value.is_null() })
        }
        Expr::Call { function, args } => {
            let args = args.iter().map(|arg| typed(arg, lookup)).collect::<Result<Vec<_>, _>>()?;
            functions::apply(*function, args).map_err(|refusal| refusal.explain(*function, expr))
        }
    }
}

/// The expression as a value of `ty`, where Python would take it for one: an int where a float is declared. `None` when it
/// would not.
pub fn typed_as(
    expr: &Expr,
    ty: &Type,
    lookup: &dyn Fn(&FeaturePath) -> Option<(Type, bool)>,
) -> Result<Option<Typed>, ExprError> {
    typed(expr, lookup).map(|typed| functions::coerce(typed, ty))
}

/// Why a function does not take its arguments, before it is known where that stands.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// How many it takes, and how many it got.
    Arity(&'static str, usize),
    /// The types it got, and what to write instead.
    Operands(Vec<String>, Option<String>),
}

impl Refusal {
    pub(crate) fn operands(args: &[Typed]) -> Self {
        Self::Operands(args.iter().map(Typed::type_name).collect(), None)
    }

    pub(crate) fn with_help(self, help: impl Into<String>) -> Self {
        match self {
            Self::Operands(operands, _) => Self::Operands(operands, Some(help.into())),
            arity => arity,
        }
    }

    fn explain(self, function: Function, expr: &Expr) -> ExprError {
        let (function, expression) = (function_name(function), render_expr(expr));
        match self {
            Self::Arity(takes, given) => ExprError::Arity { function, takes, given, expression },
            Self::Operands(operands, help) => {
                ExprError::Operands { function, operands: crate::error::listed(operands, "and"), expression, help }
            }
        }
    }
}

impl Typed {
    /// Whether it is the constant `None`.
    pub(crate) fn is_none(&self) -> bool {
        self.node == Node::Literal(Json::Null)
    }

    /// Its type in Python's words.
    pub(crate) fn type_name(&self) -> String {
        if self.is_none() { "None".to_owned() } else { self.ty.python_name() }
    }
}
