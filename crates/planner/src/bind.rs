//! Expressions with features replaced by columns.

use creta_model::FeaturePath;
use creta_registry::{Node, Typed};

use crate::plan::BoundExpr;

/// The expression over columns; `column` gives the index of a feature it reads.
pub(crate) fn bind(expr: &Typed, column: &dyn Fn(&FeaturePath) -> usize) -> BoundExpr {
    let ty = expr.ty.clone();
    match &expr.node {
        Node::Feature(path) => BoundExpr::Column { index: column(path), ty },
        Node::Literal(value) => BoundExpr::Literal { ty, value: value.clone() },
        Node::Call(function, args) => {
            let args = args.iter().map(|arg| bind(arg, column)).collect();
            BoundExpr::Call { function: *function, args, ty }
        }
    }
}
