//! Runs a program for one row.

use std::sync::Arc;

use crate::attributes::attribute;
use crate::budget::{spend, spend_on};
use crate::builtins::{self, Sum, improve, list_of};
use crate::operators::{binary, compare, index, sliced, unary};
use crate::program::{Comprehension, Function, Into, Line, Node, Op, Part, Program, Stmt, Target};
use crate::raised::{Outcome, Raised};
use crate::text::sized;
use crate::value::{StructValue, Table, Value};

/// What a statement did to the flow of its function.
enum Flow {
    Next,
    Return(Value),
    Break,
    Continue,
}

/// Frames of up to this many slots need no allocation.
const SMALL: usize = 8;

impl Program {
    pub(crate) fn run(&self, function: &Function, arguments: &[Value]) -> Outcome<Value> {
        if arguments.len() != function.parameters {
            return Err(Self::wrong_arity());
        }
        spend(1)?;
        if function.slots <= SMALL {
            let mut frame = [const { Value::Unbound }; SMALL];
            frame[..arguments.len()].clone_from_slice(arguments);
            self.body(function, &mut frame)
        } else {
            let mut frame = vec![Value::Unbound; function.slots];
            frame[..arguments.len()].clone_from_slice(arguments);
            self.body(function, &mut frame)
        }
    }

    fn body(&self, function: &Function, frame: &mut [Value]) -> Outcome<Value> {
        match self.block(&function.body, frame)? {
            Flow::Return(value) => Ok(value),
            _ => Ok(Value::None),
        }
    }

    fn block(&self, lines: &[Line], frame: &mut [Value]) -> Outcome<Flow> {
        for line in lines {
            match self.statement(&line.stmt, frame).map_err(|raised| raised.at(line.place))? {
                Flow::Next => {}
                other => return Ok(other),
            }
        }
        Ok(Flow::Next)
    }

    fn statement(&self, statement: &Stmt, frame: &mut [Value]) -> Outcome<Flow> {
        match statement {
            Stmt::Return(node) => return self.eval(node, frame).map(Flow::Return),
            Stmt::Assign(target, node) => {
                let value = self.eval(node, frame)?;
                assign(target, value, frame)?;
            }
            Stmt::Expr(node) => drop(self.eval(node, frame)?),
            Stmt::If(condition, then, otherwise) => {
                let taken = if self.condition(condition, frame)? { then } else { otherwise };
                return self.block(taken, frame);
            }
            Stmt::For(target, items, body, otherwise) => {
                for item in builtins::items(&self.eval(items, frame)?)?.iter() {
                    spend(1)?;
                    assign(target, item.clone(), frame)?;
                    match self.block(body, frame)? {
                        Flow::Next | Flow::Continue => {}
                        Flow::Break => return Ok(Flow::Next),
                        returned => return Ok(returned),
                    }
                }
                return self.block(otherwise, frame);
            }
            Stmt::Raise(exception) => return Err(Raised::Exception(exception)),
            Stmt::Break => return Ok(Flow::Break),
            Stmt::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Next)
    }

    /// The truth of an expression, without making a value of a comparison first.
    fn condition(&self, node: &Node, frame: &mut [Value]) -> Outcome<bool> {
        match &node.op {
            Op::Compare(op, sides) => self.compared(*op, sides, frame),
            _ => Ok(self.eval(node, frame)?.truth()),
        }
    }

    #[inline]
    fn compared(&self, op: crate::operators::Comparison, sides: &[Node; 2], frame: &mut [Value]) -> Outcome<bool> {
        let left = self.eval(&sides[0], frame)?;
        // A constant needs no copy.
        if let Op::Const(right) = &sides[1].op {
            return compare(op, &left, right);
        }
        let right = self.eval(&sides[1], frame)?;
        spend_on(std::slice::from_ref(&right))?;
        compare(op, &left, &right)
    }

    pub(crate) fn eval(&self, node: &Node, frame: &mut [Value]) -> Outcome<Value> {
        match &node.op {
            Op::Const(value) => Ok(value.clone()),
            Op::Local(slot) => match &frame[*slot] {
                Value::Unbound => Err(Raised::Exception("UnboundLocalError")),
                value => Ok(value.clone()),
            },
            Op::Free(slot) => match &frame[*slot] {
                Value::Unbound => Err(Raised::Beyond("a name without a value in a comprehension")),
                value => Ok(value.clone()),
            },
            Op::Binary(op, sides) => {
                let left = self.eval(&sides[0], frame)?;
                if let Op::Const(right) = &sides[1].op {
                    return binary(*op, &left, right);
                }
                let right = self.eval(&sides[1], frame)?;
                binary(*op, &left, &right)
            }
            Op::Augmented(op, sides) => {
                let left = self.eval(&sides[0], frame)?;
                if matches!(left, Value::List(_) | Value::Set(_) | Value::Dict(_)) {
                    return Err(Raised::NOT_COMPILED);
                }
                let right = self.eval(&sides[1], frame)?;
                binary(*op, &left, &right)
            }
            Op::Compare(op, sides) => self.compared(*op, sides, frame).map(Value::Bool),
            Op::If(parts) => {
                let taken = if self.condition(&parts[0], frame)? { &parts[1] } else { &parts[2] };
                self.eval(taken, frame)
            }
            Op::And(nodes) => self.first(nodes, false, frame),
            Op::Or(nodes) => self.first(nodes, true, frame),
            Op::Unary(op, operand) => unary(*op, &self.eval(operand, frame)?),
            Op::Call(builtin, args) => self.with_all(args, frame, |args| {
                spend_on(args)?;
                builtin.call(args)
            }),
            Op::Method(method, args) => {
                // The method is looked up before its arguments are evaluated.
                let of = self.eval(&args[0], frame)?;
                if !method.is_of(&of) {
                    return Err(Raised::ATTRIBUTE);
                }
                let mut values = vec![of];
                for arg in &args[1..] {
                    values.push(self.eval(arg, frame)?);
                }
                spend_on(&values)?;
                method.call(&values)
            }
            Op::Attribute(name, of) => attribute(&self.eval(of, frame)?, name),
            Op::Function(number, args) => self.with_all(args, frame, |args| self.run(&self.functions[*number], args)),
            Op::Index(sides) => {
                let container = self.eval(&sides[0], frame)?;
                let key = self.eval(&sides[1], frame)?;
                if let Value::Str(_) = container {
                    spend_on(std::slice::from_ref(&container))?;
                }
                index(&container, &key)
            }
            Op::Slice(parts) => {
                let container = self.eval(&parts[0], frame)?;
                spend_on(std::slice::from_ref(&container))?;
                let start = self.eval(&parts[1], frame)?;
                let stop = self.eval(&parts[2], frame)?;
                let step = self.eval(&parts[3], frame)?;
                sliced(&container, &start, &stop, &step)
            }
            Op::Chain(first, rest) => {
                let mut left = self.eval(first, frame)?;
                for (op, node) in rest {
                    let right = self.eval(node, frame)?;
                    spend_on(std::slice::from_ref(&right))?;
                    if !compare(*op, &left, &right)? {
                        return Ok(Value::Bool(false));
                    }
                    left = right;
                }
                Ok(Value::Bool(true))
            }
            Op::Walrus(slot, value) => {
                let value = self.eval(value, frame)?;
                frame[*slot] = value.clone();
                Ok(value)
            }
            Op::Bind(slot, value) => {
                frame[*slot] = self.eval(value, frame)?;
                Ok(Value::Bool(true))
            }
            Op::List(nodes) => Ok(Value::List(self.all(nodes, frame)?.into())),
            Op::Tuple(nodes) => Ok(Value::Tuple(self.all(nodes, frame)?.into())),
            Op::Set(nodes) => {
                let mut table = Table::default();
                for value in self.all(nodes, frame)? {
                    table.insert(value, None)?;
                }
                Ok(Value::Set(table.into()))
            }
            Op::Dict(pairs) => {
                let mut table = Table::default();
                let mut evaluated = Vec::with_capacity(pairs.len());
                for (key, value) in pairs {
                    evaluated.push((self.eval(key, frame)?, self.eval(value, frame)?));
                }
                for (key, value) in evaluated {
                    table.insert(key, Some(value))?;
                }
                Ok(Value::Dict(table.into()))
            }
            Op::Comprehension(comprehension) => self.comprehension(comprehension, frame),
            Op::Format(parts) => {
                let mut text = String::new();
                for part in parts {
                    match part {
                        Part::Text(literal) => text.push_str(literal),
                        Part::Value(node, is_repr, spec) => {
                            let value = self.eval(node, frame)?;
                            let value = if *is_repr { Value::text(&crate::written::repr(&value)?) } else { value };
                            text.push_str(&spec.format(&value)?);
                        }
                    }
                    sized(Some(text.len()))?;
                }
                Ok(Value::Str(text.into()))
            }
            Op::Construct(class, args) => {
                let values = self.all(args, frame)?;
                Ok(Value::Struct(Arc::new(StructValue { class: Arc::clone(class), values })))
            }
            Op::Member(class, value) => builtins::member(class, &self.eval(value, frame)?),
        }
    }

    /// `and` and `or` return the operand that decided.
    fn first(&self, nodes: &[Node], wanted: bool, frame: &mut [Value]) -> Outcome<Value> {
        let (last, before) = nodes.split_last().expect("two operands or more");
        for node in before {
            let value = self.eval(node, frame)?;
            if value.truth() == wanted {
                return Ok(value);
            }
        }
        self.eval(last, frame)
    }

    fn all(&self, nodes: &[Node], frame: &mut [Value]) -> Outcome<Vec<Value>> {
        nodes.iter().map(|node| self.eval(node, frame)).collect()
    }

    /// Evaluates arguments without an allocation where they are few.
    fn with_all(
        &self,
        nodes: &[Node],
        frame: &mut [Value],
        then: impl FnOnce(&[Value]) -> Outcome<Value>,
    ) -> Outcome<Value> {
        if nodes.len() <= 4 {
            let mut values = [const { Value::Unbound }; 4];
            for (value, node) in values.iter_mut().zip(nodes) {
                *value = self.eval(node, frame)?;
            }
            then(&values[..nodes.len()])
        } else {
            then(&self.all(nodes, frame)?)
        }
    }

    fn comprehension(&self, comprehension: &Comprehension, frame: &mut [Value]) -> Outcome<Value> {
        let mut sink = Sink::new(comprehension.into)?;
        self.generate(comprehension, 0, frame, &mut sink)?;
        sink.finish(comprehension.default.as_ref())
    }

    /// Whether the sink wants more.
    fn generate(
        &self,
        comprehension: &Comprehension,
        depth: usize,
        frame: &mut [Value],
        sink: &mut Sink,
    ) -> Outcome<bool> {
        let Some(generator) = comprehension.generators.get(depth) else {
            let item = self.eval(&comprehension.item, frame)?;
            let value = comprehension.value.as_ref().map(|value| self.eval(value, frame)).transpose()?;
            return sink.take(item, value);
        };
        'items: for item in builtins::items(&self.eval(&generator.items, frame)?)?.iter() {
            spend(1)?;
            assign(&generator.target, item.clone(), frame)?;
            for condition in &generator.conditions {
                if !self.condition(condition, frame)? {
                    continue 'items;
                }
            }
            if !self.generate(comprehension, depth + 1, frame, sink)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Assigns to a name, or unpacks; another number of items is a `ValueError`.
fn assign(target: &Target, value: Value, frame: &mut [Value]) -> Outcome<()> {
    match target {
        Target::Slot(slot) => frame[*slot] = value,
        Target::Unpack(targets) => {
            let items = builtins::items(&value)?;
            if items.len() != targets.len() {
                return Err(Raised::VALUE);
            }
            for (target, item) in targets.iter().zip(items.iter()) {
                assign(target, item.clone(), frame)?;
            }
        }
    }
    Ok(())
}

/// Where the items of a comprehension go, one after the other as Python takes them.
enum Sink {
    Items(Vec<Value>, bool),
    Table(Table, bool),
    /// What decides, and whether it has come.
    Until(bool, bool),
    Sum(Sum),
    Best(Option<Value>, bool),
}

impl Sink {
    fn new(into: Into) -> Outcome<Self> {
        Ok(match into {
            Into::List => Self::Items(Vec::new(), false),
            Into::Tuple => Self::Items(Vec::new(), true),
            Into::Set => Self::Table(Table::default(), false),
            Into::Dict => Self::Table(Table::default(), true),
            Into::Any => Self::Until(true, false),
            Into::All => Self::Until(false, false),
            Into::Sum => Self::Sum(Sum::from(Value::Int(0))?),
            Into::Min => Self::Best(None, false),
            Into::Max => Self::Best(None, true),
        })
    }

    fn take(&mut self, item: Value, value: Option<Value>) -> Outcome<bool> {
        match self {
            Self::Items(items, _) => {
                sized(Some(items.len()))?;
                items.push(item);
            }
            Self::Table(table, _) => table.insert(item, value)?,
            Self::Until(wanted, found) => {
                *found = item.truth() == *wanted;
                return Ok(!*found);
            }
            Self::Sum(sum) => sum.add(&item)?,
            Self::Best(best, largest) => improve(best, &item, *largest)?,
        }
        Ok(true)
    }

    fn finish(self, default: Option<&Value>) -> Outcome<Value> {
        Ok(match self {
            Self::Items(items, false) => Value::List(list_of(items)?),
            Self::Items(items, true) => Value::Tuple(list_of(items)?),
            Self::Table(table, false) => Value::Set(table.into()),
            Self::Table(table, true) => Value::Dict(table.into()),
            Self::Until(wanted, found) => Value::Bool(found == wanted),
            Self::Sum(sum) => return sum.total(),
            Self::Best(best, _) => best.or_else(|| default.cloned()).ok_or(Raised::VALUE)?,
        })
    }
}
