//! Expressions that are no calls.

use ruff_python_ast::{
    CmpOp, Comprehension as Clause, ConversionFlag, Expr, ExprFString, FStringPart, InterpolatedStringElement, Number,
    Operator, UnaryOp,
};

use super::constants::{literal, text_literal};
use super::{Lower, Lowered, Scope};
use crate::builtins::Method;
use crate::operators::{Binary, Comparison, Unary};
use crate::program::{Comprehension, Generator, Into, Node, Op, Part, Place, Program};
use crate::project::place_of;
use crate::value::Value;
use crate::written::Spec;

/// Items of a set or dictionary that are evaluated before the first of them is hashed, in every version of Python.
const HASHED_MAX: usize = 15;

impl<'p> Lower<'p> {
    /// An expression whose value may be kept.
    pub(super) fn expr(&mut self, expr: &'p Expr, scope: &mut Scope) -> Lowered<Node> {
        let node = self.walked(expr, scope)?;
        self.kept(&node)?;
        Ok(node)
    }

    /// Refuses what is only good for one walk.
    fn kept(&self, node: &Node) -> Lowered<()> {
        let is_iterator = match &node.op {
            Op::Call(builtin, _) => builtin.is_iterator(),
            Op::Method(method, _) => method.is_view(),
            _ => false,
        };
        if is_iterator {
            let help = "loop over it here, or make a `list(...)` or `tuple(...)` of it";
            return self.refuse(node.place, "an iterator or view that is kept", help);
        }
        Ok(())
    }

    pub(super) fn stored(&mut self, expr: &'p Expr, scope: &mut Scope) -> Lowered<Node> {
        self.expr(expr, scope)
    }

    /// An expression that is walked on the spot, so it may be an iterator.
    pub(super) fn walked(&mut self, expr: &'p Expr, scope: &mut Scope) -> Lowered<Node> {
        let at = place_of(scope.file, expr);
        if let Some(value) = literal(expr) {
            return Ok(Self::constant_node(value, at));
        }
        let op = match expr {
            Expr::NumberLiteral(number) => {
                let what =
                    if matches!(number.value, Number::Int(_)) { "an int beyond 64 bits" } else { "a complex number" };
                return self.refuse(at, what, "use a float");
            }
            Expr::StringLiteral(text) => match text_literal(text.value.to_str()) {
                Some(value) => Op::Const(value),
                None => return self.refuse(at, "this text", "texts with half of a surrogate pair stay in Python"),
            },
            Expr::Name(name) => match scope.find(name.id.as_str()) {
                Some(slot) if scope.is_free(name.id.as_str()) => Op::Free(slot),
                Some(slot) => Op::Local(slot),
                None => return self.global(scope.file, name.id.as_str(), at),
            },
            Expr::BinOp(operation) => {
                let left = self.expr(&operation.left, scope)?;
                let right = self.expr(&operation.right, scope)?;
                return Ok(folded(Op::Binary(self.operator(operation.op, at)?, Box::new([left, right])), at));
            }
            Expr::UnaryOp(operation) => {
                let operand = self.expr(&operation.operand, scope)?;
                let operator = match operation.op {
                    UnaryOp::Not => Unary::Not,
                    UnaryOp::USub => Unary::Neg,
                    UnaryOp::UAdd => Unary::Pos,
                    UnaryOp::Invert => Unary::Invert,
                };
                return Ok(folded(Op::Unary(operator, Box::new(operand)), at));
            }
            Expr::BoolOp(operation) => {
                let operands = self.exprs(&operation.values, scope)?;
                match operation.op {
                    ruff_python_ast::BoolOp::And => Op::And(operands),
                    ruff_python_ast::BoolOp::Or => Op::Or(operands),
                }
            }
            Expr::Compare(chain) => {
                let first = self.expr(&chain.left, scope)?;
                let mut rest = Vec::with_capacity(chain.ops.len());
                for (op, right) in chain.ops.iter().zip(&chain.comparators) {
                    rest.push((comparison(*op), self.expr(right, scope)?));
                }
                if rest.len() == 1 {
                    let (op, right) = rest.remove(0);
                    Op::Compare(op, Box::new([first, right]))
                } else {
                    Op::Chain(Box::new(first), rest)
                }
            }
            Expr::If(choice) => Op::If(Box::new([
                self.expr(&choice.test, scope)?,
                self.expr(&choice.body, scope)?,
                self.expr(&choice.orelse, scope)?,
            ])),
            Expr::Named(named) => {
                let value = self.expr(&named.value, scope)?;
                let Expr::Name(name) = &*named.target else {
                    return self.refuse(at, "this `:=`", "assign on a line of its own");
                };
                match scope.locals.get(name.id.as_str()) {
                    Some(slot) => Op::Walrus(*slot, Box::new(value)),
                    None => return self.refuse(at, "this `:=`", "assign on a line of its own"),
                }
            }
            Expr::Tuple(tuple) => return Ok(folded(Op::Tuple(self.exprs(&tuple.elts, scope)?), at)),
            Expr::List(list) => return Ok(folded(Op::List(self.exprs(&list.elts, scope)?), at)),
            Expr::Set(set) => {
                let items = self.exprs(&set.elts, scope)?;
                self.hashed(items.iter(), at)?;
                return Ok(folded(Op::Set(items), at));
            }
            Expr::Dict(dict) => {
                let mut pairs = Vec::with_capacity(dict.items.len());
                for item in &dict.items {
                    let Some(key) = &item.key else {
                        return self.refuse(at, "`**` in a dictionary", "write its keys");
                    };
                    pairs.push((self.expr(key, scope)?, self.expr(&item.value, scope)?));
                }
                self.hashed(pairs.iter().map(|(key, _)| key), at)?;
                return Ok(folded(Op::Dict(pairs), at));
            }
            Expr::Attribute(attribute) => {
                if let Some(found) = self.find_static(expr, scope)? {
                    return self.value_of(found, at, &scope_text(self, scope, expr));
                }
                let of = self.expr(&attribute.value, scope)?;
                Op::Attribute(Self::texts(attribute.attr.as_str()), Box::new(of))
            }
            Expr::Subscript(subscript) => {
                let container = self.walked(&subscript.value, scope)?;
                if !matches!(container.op, Op::Method(Method::Isocalendar, _)) {
                    self.kept(&container)?;
                }
                if let Expr::Slice(slice) = &*subscript.slice {
                    let mut bound = |bound: &'p Option<Box<Expr>>, scope: &mut Scope| match bound {
                        Some(bound) => self.expr(bound, scope),
                        None => Ok(Self::constant_node(Value::None, at)),
                    };
                    let start = bound(&slice.lower, scope)?;
                    let stop = bound(&slice.upper, scope)?;
                    let step = bound(&slice.step, scope)?;
                    return Ok(folded(Op::Slice(Box::new([container, start, stop, step])), at));
                }
                let index = self.expr(&subscript.slice, scope)?;
                Op::Index(Box::new([container, index]))
            }
            Expr::ListComp(comp) => {
                return self.comprehension(Into::List, (&comp.elt, None), &comp.generators, at, scope);
            }
            Expr::SetComp(comp) => {
                return self.comprehension(Into::Set, (&comp.elt, None), &comp.generators, at, scope);
            }
            Expr::DictComp(comp) => {
                let Some(key) = comp.key.as_deref() else {
                    return self.refuse(at, "`**` in a dictionary", "write its keys");
                };
                return self.comprehension(Into::Dict, (key, Some(&comp.value)), &comp.generators, at, scope);
            }
            Expr::FString(text) => Op::Format(self.formatted(text, scope)?),
            Expr::Call(call) => return self.call(call, scope),
            other => {
                let (what, help) = refused(other);
                return self.refuse(at, what, help);
            }
        };
        Ok(Node { op, place: at })
    }

    /// CPython evaluates all items of a set or dictionary and then hashes them; of a large one it hashes some before it
    /// evaluates the others, and how many depends on the version.
    fn hashed<'n>(&self, mut keys: impl ExactSizeIterator<Item = &'n Node>, at: Place) -> Lowered<()> {
        if keys.len() <= HASHED_MAX || keys.all(|key| matches!(key.op, Op::Const(_))) {
            return Ok(());
        }
        let what = format!("a set or dictionary of more than {HASHED_MAX} items");
        self.refuse(at, what, "make a constant of the module of it")
    }

    pub(super) fn exprs(&mut self, exprs: &'p [Expr], scope: &mut Scope) -> Lowered<Vec<Node>> {
        exprs.iter().map(|expr| self.expr(expr, scope)).collect()
    }

    pub(super) fn operator(&self, operator: Operator, at: Place) -> Lowered<Binary> {
        Ok(match operator {
            Operator::Add => Binary::Add,
            Operator::Sub => Binary::Sub,
            Operator::Mult => Binary::Mul,
            Operator::Div => Binary::Div,
            Operator::FloorDiv => Binary::FloorDiv,
            Operator::Mod => Binary::Mod,
            Operator::Pow => Binary::Pow,
            Operator::BitAnd => Binary::BitAnd,
            Operator::BitOr => Binary::BitOr,
            Operator::BitXor => Binary::BitXor,
            Operator::LShift => Binary::ShiftLeft,
            Operator::RShift => Binary::ShiftRight,
            Operator::MatMult => return self.refuse(at, "`@` of matrices", "arrays stay in Python"),
        })
    }

    /// `into` of items and values. The names of its clauses are its own; what the first walks belongs to the outside.
    pub(super) fn comprehension(
        &mut self,
        into: Into,
        (item, value): (&'p Expr, Option<&'p Expr>),
        clauses: &'p [Clause],
        at: Place,
        scope: &mut Scope,
    ) -> Lowered<Node> {
        let first = self.walked(&clauses[0].iter, scope)?;
        scope.inner.push(std::collections::HashMap::new());
        let lowered = self.inner(into, (item, value), clauses, first, scope);
        scope.inner.pop();
        Ok(Node { op: Op::Comprehension(Box::new(lowered?)), place: at })
    }

    fn inner(
        &mut self,
        into: Into,
        (item, value): (&'p Expr, Option<&'p Expr>),
        clauses: &'p [Clause],
        first: Node,
        scope: &mut Scope,
    ) -> Lowered<Comprehension> {
        // All names are the comprehension's from its start, as in Python.
        let mut names = Vec::new();
        clauses.iter().for_each(|clause| bound(&clause.target, &mut names));
        for name in names {
            let slot = scope.new_slot();
            scope.inner.last_mut().expect("pushed above").insert(name, slot);
        }
        let mut first = Some(first);
        let mut generators = Vec::with_capacity(clauses.len());
        for clause in clauses {
            if clause.is_async {
                return self.refuse(
                    place_of(scope.file, clause),
                    "`async for`",
                    "what waits for others stays in Python",
                );
            }
            let items = match first.take() {
                Some(items) => items,
                None => self.walked(&clause.iter, scope)?,
            };
            let target = self.target(&clause.target, scope)?;
            let conditions = self.exprs(&clause.ifs, scope)?;
            generators.push(Generator { target, items, conditions });
        }
        let item = self.expr(item, scope)?;
        let value = value.map(|value| self.expr(value, scope)).transpose()?;
        Ok(Comprehension { into, item, value, generators, default: None })
    }

    fn formatted(&mut self, text: &'p ExprFString, scope: &mut Scope) -> Lowered<Vec<Part>> {
        let mut parts = Vec::new();
        for part in text.value.iter() {
            match part {
                FStringPart::Literal(literal) => parts.push(Part::Text(Self::texts(&literal.value))),
                FStringPart::FString(formatted) => {
                    for element in &formatted.elements {
                        match element {
                            InterpolatedStringElement::Literal(literal) => {
                                parts.push(Part::Text(Self::texts(&literal.value)));
                            }
                            InterpolatedStringElement::Interpolation(value) => {
                                let at = place_of(scope.file, value);
                                if value.debug_text.is_some() || value.conversion == ConversionFlag::Ascii {
                                    return self.refuse(at, "`=` or `!a` in an f-string", "write the name as text");
                                }
                                let node = self.expr(&value.expression, scope)?;
                                // `!s` and `!r` make a text of it, which is then formatted.
                                let node = if value.conversion == ConversionFlag::Str {
                                    let args = vec![node];
                                    Node { op: Op::Call(crate::builtins::Builtin::Str, args), place: at }
                                } else {
                                    node
                                };
                                let spec = match &value.format_spec {
                                    None => Some(Spec::PLAIN),
                                    Some(spec) => match &spec.elements[..] {
                                        [] => Some(Spec::PLAIN),
                                        [InterpolatedStringElement::Literal(spec)] => Spec::parse(&spec.value),
                                        _ => None,
                                    },
                                };
                                let Some(spec) = spec else {
                                    return self.refuse(
                                        at,
                                        "this format specification",
                                        "use a fixed width, precision and one of the types `d f e g % x b o s`",
                                    );
                                };
                                parts.push(Part::Value(node, value.conversion == ConversionFlag::Repr, spec));
                            }
                        }
                    }
                }
            }
        }
        Ok(parts)
    }
}

fn bound(target: &Expr, names: &mut Vec<String>) {
    match target {
        Expr::Name(name) => names.push(name.id.to_string()),
        Expr::Tuple(tuple) => tuple.elts.iter().for_each(|item| bound(item, names)),
        Expr::List(list) => list.elts.iter().for_each(|item| bound(item, names)),
        _ => {}
    }
}

fn scope_text(lower: &Lower<'_>, scope: &Scope, expr: &Expr) -> String {
    lower.project.text(scope.file)[ruff_text_size::Ranged::range(expr)].to_owned()
}

/// The operation, or its value where all operands are constants and it has one.
pub(super) fn folded(op: Op, place: Place) -> Node {
    let is_const = |node: &Node| matches!(node.op, Op::Const(_));
    let foldable = match &op {
        Op::List(nodes) | Op::Tuple(nodes) | Op::Set(nodes) | Op::Call(_, nodes) => nodes.iter().all(is_const),
        Op::Binary(_, nodes) => nodes.iter().all(is_const),
        Op::Slice(nodes) => nodes.iter().all(is_const),
        Op::Unary(_, node) => is_const(node),
        Op::Dict(pairs) => pairs.iter().all(|(key, value)| is_const(key) && is_const(value)),
        _ => false,
    };
    let node = Node { op, place };
    if foldable && let Ok(value) = Program::default().eval(&node, &mut []) {
        return Node { op: Op::Const(value), place };
    }
    node
}

fn comparison(op: CmpOp) -> Comparison {
    match op {
        CmpOp::Eq => Comparison::Eq,
        CmpOp::NotEq => Comparison::Ne,
        CmpOp::Lt => Comparison::Lt,
        CmpOp::LtE => Comparison::Le,
        CmpOp::Gt => Comparison::Gt,
        CmpOp::GtE => Comparison::Ge,
        CmpOp::Is => Comparison::Is,
        CmpOp::IsNot => Comparison::IsNot,
        CmpOp::In => Comparison::In,
        CmpOp::NotIn => Comparison::NotIn,
    }
}

fn refused(expr: &Expr) -> (&'static str, &'static str) {
    match expr {
        Expr::Lambda(_) => ("a `lambda`", "write a function at the top of the module"),
        Expr::Generator(_) => ("a generator that is kept", "make a list of it: `[... for ... in ...]`"),
        Expr::Await(_) | Expr::Yield(_) | Expr::YieldFrom(_) => {
            ("`await` or `yield`", "what waits for others stays in Python")
        }
        Expr::BytesLiteral(_) => ("bytes", "use text"),
        Expr::TString(_) => ("a template string", "use an f-string"),
        Expr::Starred(_) => ("`*` in a call or literal", "name each item"),
        Expr::EllipsisLiteral(_) => ("`...` as a value", "use `None`"),
        _ => ("this expression", "write it with operators and calls"),
    }
}
