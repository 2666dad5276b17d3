//! Runs a program for many rows at once: each expression over all rows that reach it, in loops over plain numbers where
//! every row has the same type. Programs with loops of their own go row by row.
//!
//! A row's first failure counts, since what comes later in evaluation order would not have been reached; going on with a
//! stand-in value has no effect anybody sees. Equal to the row path for every program and row (property test).

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{Date32Type, DurationMicrosecondType, Float64Type, Int64Type, TimestampMicrosecondType};
use creta_model::Type;

use crate::attributes::attribute;
use crate::boundary::Shape;
use crate::budget;
use crate::operators::{Binary, Comparison, binary, compare, index, sliced, unary};
use crate::program::{Function, Line, Node, Op, Part, Place, Program, Stmt, Target};
use crate::raised::{Outcome, Raised};
use crate::value::{StructValue, Value};

/// Values of some rows, in their order.
#[derive(Debug, Clone)]
pub enum Lane {
    /// The same value in every row.
    Same(Value),
    /// Floats.
    Floats(Vec<f64>),
    /// Ints.
    Ints(Vec<i64>),
    /// Bools.
    Bools(Vec<bool>),
    /// Anything, row by row.
    Mixed(Vec<Value>),
}

/// Results of a batch.
#[derive(Debug)]
pub struct Answers {
    /// One per row; what stands in a failed row does not matter.
    pub values: Lane,
    /// Rows without a value, ascending.
    pub raised: Vec<(usize, Raised)>,
}

impl Lane {
    fn get(&self, at: usize) -> Value {
        match self {
            Self::Same(value) => value.clone(),
            Self::Floats(values) => Value::Float(values[at]),
            Self::Ints(values) => Value::Int(values[at]),
            Self::Bools(values) => Value::Bool(values[at]),
            Self::Mixed(values) => values[at].clone(),
        }
    }

    /// The value of one row.
    pub fn value(&self, row: usize) -> Value {
        self.get(row)
    }

    fn truths(&self, rows: usize) -> Vec<bool> {
        match self {
            Self::Same(value) => vec![value.truth(); rows],
            Self::Floats(values) => values.iter().map(|value| *value != 0.0).collect(),
            Self::Ints(values) => values.iter().map(|value| *value != 0).collect(),
            Self::Bools(values) => values.clone(),
            Self::Mixed(values) => values.iter().map(Value::truth).collect(),
        }
    }

    fn picked(&self, at: &[u32]) -> Self {
        fn of<T: Clone>(values: &[T], at: &[u32]) -> Vec<T> {
            at.iter().map(|at| values[*at as usize].clone()).collect()
        }
        match self {
            Self::Same(value) => Self::Same(value.clone()),
            Self::Floats(values) => Self::Floats(of(values, at)),
            Self::Ints(values) => Self::Ints(of(values, at)),
            Self::Bools(values) => Self::Bools(of(values, at)),
            Self::Mixed(values) => Self::of(of(values, at)),
        }
    }

    /// Plain numbers where all values are of one type.
    pub fn of(values: Vec<Value>) -> Self {
        macro_rules! all {
            ($variant:ident, $lane:ident) => {
                if let Some(plain) =
                    values.iter().map(|value| if let Value::$variant(v) = value { Some(*v) } else { None }).collect()
                {
                    return Self::$lane(plain);
                }
            };
        }
        match values.first() {
            Some(Value::Float(_)) => all!(Float, Floats),
            Some(Value::Int(_)) => all!(Int, Ints),
            Some(Value::Bool(_)) => all!(Bool, Bools),
            _ => {}
        }
        Self::Mixed(values)
    }

    /// Puts values of some rows into a lane of all rows; rows that have none yet are unbound.
    fn put(&mut self, rows: usize, at: &[u32], values: Self) {
        if at.len() == rows {
            *self = values;
            return;
        }
        macro_rules! scatter {
            ($own:ident, $new:ident) => {
                for (row, value) in at.iter().zip($new) {
                    $own[*row as usize] = value;
                }
            };
        }
        match (&mut *self, values) {
            (Self::Floats(own), Self::Floats(new)) => scatter!(own, new),
            (Self::Ints(own), Self::Ints(new)) => scatter!(own, new),
            (Self::Bools(own), Self::Bools(new)) => scatter!(own, new),
            (_, values) => {
                let mut mixed: Vec<Value> = match &mut *self {
                    Self::Mixed(own) => std::mem::take(own),
                    other => (0..rows).map(|row| other.get(row)).collect(),
                };
                for (position, row) in at.iter().enumerate() {
                    mixed[*row as usize] = values.get(position);
                }
                *self = Self::Mixed(mixed);
            }
        }
    }
}

/// Two lanes of parts of the rows as one lane of all of them.
fn woven(rows: usize, (a, at_a): (Lane, &[u32]), (b, at_b): (Lane, &[u32])) -> Lane {
    if at_a.is_empty() {
        return b;
    }
    if at_b.is_empty() {
        return a;
    }
    macro_rules! weave {
        ($a:ident, $b:ident, $zero:expr, $lane:ident) => {{
            let mut all = vec![$zero; rows];
            at_a.iter().zip($a).for_each(|(row, value)| all[*row as usize] = value);
            at_b.iter().zip($b).for_each(|(row, value)| all[*row as usize] = value);
            Lane::$lane(all)
        }};
    }
    let spread = |lane: Lane, like: &Lane, count: usize| match (lane, like) {
        (Lane::Same(Value::Float(value)), Lane::Floats(_)) => Lane::Floats(vec![value; count]),
        (Lane::Same(Value::Int(value)), Lane::Ints(_)) => Lane::Ints(vec![value; count]),
        (Lane::Same(Value::Bool(value)), Lane::Bools(_)) => Lane::Bools(vec![value; count]),
        (Lane::Same(value), _) => Lane::of(vec![value; count]),
        (lane, _) => lane,
    };
    let a = spread(a, &b, at_a.len());
    let b = spread(b, &a, at_b.len());
    match (a, b) {
        (Lane::Floats(a), Lane::Floats(b)) => weave!(a, b, 0.0, Floats),
        (Lane::Ints(a), Lane::Ints(b)) => weave!(a, b, 0, Ints),
        (Lane::Bools(a), Lane::Bools(b)) => weave!(a, b, false, Bools),
        (a, b) => {
            let mut all = vec![Value::None; rows];
            at_a.iter().enumerate().for_each(|(position, row)| all[*row as usize] = a.get(position));
            at_b.iter().enumerate().for_each(|(position, row)| all[*row as usize] = b.get(position));
            Lane::Mixed(all)
        }
    }
}

/// One run over a batch. Rows are numbered within the batch throughout.
struct Run<'p> {
    program: &'p Program,
    failed: Vec<Option<Raised>>,
}

/// The rows that reach a place, ascending, and the local names of all rows.
struct Reach<'r> {
    rows: &'r [u32],
    total: usize,
    locals: &'r mut [Lane],
}

impl Program {
    /// Calls the resolver for `rows` rows, whose arguments are one lane per parameter.
    pub fn call_rows(&self, arguments: &[Lane], rows: usize) -> Answers {
        budget::within(budget::CALL + rows as u64 * budget::ROW, || self.run_rows(arguments, rows))
    }

    fn run_rows(&self, arguments: &[Lane], rows: usize) -> Answers {
        if self.is_straight {
            let mut run = Run { program: self, failed: vec![None; rows] };
            let all: Vec<u32> = (0..rows as u32).collect();
            let function = self.functions.last().expect("a program has its resolver");
            let values = run.function(function, arguments.to_vec(), &all);
            let raised = run.failed.iter().enumerate().filter_map(|(row, raised)| raised.map(|raised| (row, raised)));
            return Answers { values, raised: raised.collect() };
        }
        let function = self.functions.last().expect("a program has its resolver");
        let mut raised = Vec::new();
        let mut values = Vec::with_capacity(rows);
        let mut given = vec![Value::Unbound; arguments.len()];
        for row in 0..rows {
            given.iter_mut().zip(arguments).for_each(|(value, lane)| *value = lane.get(row));
            values.push(self.run(function, &given).unwrap_or_else(|error| {
                raised.push((row, error));
                Value::None
            }));
        }
        Answers { values: Lane::of(values), raised }
    }
}

impl Run<'_> {
    fn fail(&mut self, row: u32, error: Raised) {
        self.failed[row as usize].get_or_insert(error);
    }

    /// Runs a function for the rows `at`, whose arguments are in their order. The lanes within are of these rows alone.
    fn function(&mut self, function: &Function, arguments: Vec<Lane>, at: &[u32]) -> Lane {
        let total = at.len();
        if let Err(error) = budget::spend(total) {
            at.iter().for_each(|row| self.fail(*row, error));
            return Lane::Same(Value::None);
        }
        let mut locals = arguments;
        locals.resize(function.slots, Lane::Same(Value::Unbound));
        let nowhere = Place { file: 0, offset: 0 };
        let mut inner = Inner { run: self, at, returned: Lane::Same(Value::None), place: nowhere };
        let all: Vec<u32> = (0..total as u32).collect();
        let rest = inner.block(&function.body, &mut Reach { rows: &all, total, locals: &mut locals });
        // What falls off the end returns None.
        if !rest.is_empty() {
            let none = Lane::Same(Value::None);
            inner.returned.put(total, &rest, none);
        }
        inner.returned
    }
}

/// The run of one function: positions of its rows in the batch, and what they returned.
struct Inner<'i, 'p> {
    run: &'i mut Run<'p>,
    at: &'i [u32],
    returned: Lane,
    /// Of the statement that runs.
    place: Place,
}

impl Inner<'_, '_> {
    fn fail(&mut self, row: u32, error: Raised) {
        self.run.fail(self.at[row as usize], error.at(self.place));
    }

    /// Runs statements for the rows that reach them; gives the rows that reach the end.
    fn block(&mut self, body: &[Line], reach: &mut Reach<'_>) -> Vec<u32> {
        let mut rows = reach.rows.to_vec();
        for Line { stmt, place } in body {
            if rows.is_empty() {
                break;
            }
            self.place = *place;
            let total = reach.total;
            let mut here = Reach { rows: &rows, total, locals: reach.locals };
            rows = match stmt {
                Stmt::Assign(Target::Slot(slot), node) => {
                    let values = self.node(node, &mut here);
                    here.locals[*slot].put(total, &rows, values);
                    continue;
                }
                Stmt::Assign(Target::Unpack(_), _) | Stmt::For(..) | Stmt::Break | Stmt::Continue => {
                    unreachable!("a program with these goes row by row")
                }
                Stmt::Expr(node) => {
                    self.node(node, &mut here);
                    continue;
                }
                Stmt::Return(node) => {
                    let values = self.node(node, &mut here);
                    self.returned.put(total, &rows, values);
                    Vec::new()
                }
                Stmt::Raise(exception) => {
                    rows.iter().for_each(|row| self.fail(*row, Raised::Exception(exception)));
                    Vec::new()
                }
                Stmt::If(test, then, otherwise) => {
                    let truths = self.node(test, &mut here).truths(rows.len());
                    let (yes, no) = split(&rows, &truths);
                    let yes = self.block(then, &mut Reach { rows: &yes, total, locals: here.locals });
                    let no = self.block(otherwise, &mut Reach { rows: &no, total, locals: here.locals });
                    merged(yes, no)
                }
            };
        }
        rows
    }

    fn node(&mut self, node: &Node, reach: &mut Reach<'_>) -> Lane {
        let rows = reach.rows;
        match &node.op {
            Op::Const(value) => Lane::Same(value.clone()),
            Op::Local(slot) => {
                let lane = &reach.locals[*slot];
                let lane = if rows.len() == reach.total { lane.clone() } else { lane.picked(rows) };
                let unbound = |value: &Value| matches!(value, Value::Unbound);
                match &lane {
                    Lane::Same(value) if unbound(value) => {
                        rows.iter().for_each(|row| self.fail(*row, Raised::Exception("UnboundLocalError")));
                        return Lane::Same(Value::None);
                    }
                    Lane::Mixed(values) => {
                        for (row, _) in rows.iter().zip(values).filter(|(_, value)| unbound(value)) {
                            self.fail(*row, Raised::Exception("UnboundLocalError"));
                        }
                    }
                    _ => {}
                }
                lane
            }
            Op::Binary(op, sides) | Op::Augmented(op, sides) => {
                let (left, right) = (self.node(&sides[0], reach), self.node(&sides[1], reach));
                self.binary(*op, &left, &right, rows)
            }
            Op::Compare(op, sides) => {
                let (left, right) = (self.node(&sides[0], reach), self.node(&sides[1], reach));
                self.compared(*op, &left, &right, rows)
            }
            Op::Chain(first, rest) => {
                let left = self.node(first, reach);
                self.chain(left, rest, reach)
            }
            Op::And(nodes) => self.first(nodes, false, reach),
            Op::Or(nodes) => self.first(nodes, true, reach),
            Op::If(parts) => {
                let truths = self.node(&parts[0], reach).truths(rows.len());
                let (yes, no) = split(rows, &truths);
                let (total, positions) = (reach.total, split(&(0..rows.len() as u32).collect::<Vec<_>>(), &truths));
                let then = self.reached(&parts[1], &yes, total, reach.locals);
                let otherwise = self.reached(&parts[2], &no, total, reach.locals);
                woven(rows.len(), (then, &positions.0), (otherwise, &positions.1))
            }
            Op::Unary(op, operand) => {
                let operand = self.node(operand, reach);
                self.each(&[operand], rows, |args| unary(*op, &args[0]))
            }
            Op::Call(builtin, args) => {
                let lanes = self.nodes(args, reach);
                if let Some(fast) = crate::kernels::call(*builtin, &lanes) {
                    return fast;
                }
                self.each(&lanes, rows, |args| builtin.call(args))
            }
            Op::Method(method, args) => {
                let of = self.node(&args[0], reach);
                let of = self.each(&[of], rows, |args| {
                    if method.is_of(&args[0]) { Ok(args[0].clone()) } else { Err(Raised::ATTRIBUTE) }
                });
                let mut lanes = vec![of];
                lanes.extend(self.nodes(&args[1..], reach));
                self.each(&lanes, rows, |args| method.call(args))
            }
            Op::Attribute(name, of) => {
                let of = self.node(of, reach);
                self.each(&[of], rows, |args| attribute(&args[0], name))
            }
            Op::Index(sides) => {
                let lanes = self.nodes(&sides[..], reach);
                self.each(&lanes, rows, |args| index(&args[0], &args[1]))
            }
            Op::Slice(parts) => {
                let lanes = self.nodes(&parts[..], reach);
                self.each(&lanes, rows, |args| sliced(&args[0], &args[1], &args[2], &args[3]))
            }
            Op::List(nodes) => {
                let lanes = self.nodes(nodes, reach);
                self.each(&lanes, rows, |args| Ok(Value::List(args.into())))
            }
            Op::Tuple(nodes) => {
                let lanes = self.nodes(nodes, reach);
                self.each(&lanes, rows, |args| Ok(Value::Tuple(args.into())))
            }
            Op::Format(parts) => self.format(parts, reach),
            Op::Function(number, args) => {
                let lanes = self.nodes(args, reach);
                let at: Vec<u32> = rows.iter().map(|row| self.at[*row as usize]).collect();
                let program = self.run.program;
                self.run.function(&program.functions[*number], lanes, &at)
            }
            Op::Construct(class, args) => {
                let lanes = self.nodes(args, reach);
                self.each(&lanes, rows, |args| {
                    let values = args.to_vec();
                    Ok(Value::Struct(StructValue { class: std::sync::Arc::clone(class), values }.into()))
                })
            }
            Op::Member(class, value) => {
                let value = self.node(value, reach);
                self.each(&[value], rows, |args| crate::builtins::member(class, &args[0]))
            }
            Op::Free(_) | Op::Walrus(..) | Op::Bind(..) | Op::Set(_) | Op::Dict(_) | Op::Comprehension(_) => {
                unreachable!("a program with these goes row by row")
            }
        }
    }

    fn nodes(&mut self, nodes: &[Node], reach: &mut Reach<'_>) -> Vec<Lane> {
        nodes.iter().map(|node| self.node(node, reach)).collect()
    }

    fn reached(&mut self, node: &Node, rows: &[u32], total: usize, locals: &mut [Lane]) -> Lane {
        if rows.is_empty() {
            return Lane::Same(Value::None);
        }
        self.node(node, &mut Reach { rows, total, locals })
    }

    /// `and` and `or`: later operands only for the rows that earlier ones did not decide.
    fn first(&mut self, nodes: &[Node], wanted: bool, reach: &mut Reach<'_>) -> Lane {
        let (head, tail) = nodes.split_first().expect("one operand or more");
        let left = self.node(head, reach);
        if tail.is_empty() {
            return left;
        }
        let rows = reach.rows;
        let decided: Vec<bool> = left.truths(rows.len()).into_iter().map(|truth| truth == wanted).collect();
        let positions: Vec<u32> = (0..rows.len() as u32).collect();
        let (done, open) = split(&positions, &decided);
        let (_, rest) = split(rows, &decided);
        if rest.is_empty() {
            return left;
        }
        let right = self.first(tail, wanted, &mut Reach { rows: &rest, total: reach.total, locals: reach.locals });
        woven(rows.len(), (left.picked(&done), &done), (right, &open))
    }

    fn chain(&mut self, left: Lane, rest: &[(Comparison, Node)], reach: &mut Reach<'_>) -> Lane {
        let rows = reach.rows;
        let ((op, node), more) = rest.split_first().expect("one comparison or more");
        let right = self.node(node, reach);
        let held = self.compared(*op, &left, &right, rows);
        if more.is_empty() {
            return held;
        }
        let truths = held.truths(rows.len());
        let positions: Vec<u32> = (0..rows.len() as u32).collect();
        let (open, done) = split(&positions, &truths);
        let (next, _) = split(rows, &truths);
        if next.is_empty() {
            return held;
        }
        let right = right.picked(&open);
        let rest = self.chain(right, more, &mut Reach { rows: &next, total: reach.total, locals: reach.locals });
        woven(rows.len(), (rest, &open), (Lane::Same(Value::Bool(false)), &done))
    }

    fn format(&mut self, parts: &[Part], reach: &mut Reach<'_>) -> Lane {
        let rows = reach.rows;
        let mut texts = vec![String::new(); rows.len()];
        for part in parts {
            match part {
                Part::Text(literal) => texts.iter_mut().for_each(|text| text.push_str(literal)),
                Part::Value(node, is_repr, spec) => {
                    let values = self.node(node, reach);
                    for (position, row) in rows.iter().enumerate() {
                        let value = values.get(position);
                        let value = if *is_repr {
                            crate::written::repr(&value).map(|text| Value::text(&text))
                        } else {
                            Ok(value)
                        };
                        match value.and_then(|value| spec.format(&value)) {
                            Ok(text) => texts[position].push_str(&text),
                            Err(error) => self.fail(*row, error),
                        }
                    }
                }
            }
        }
        Lane::Mixed(texts.into_iter().map(|text| Value::Str(text.into())).collect())
    }

    fn binary(&mut self, op: Binary, left: &Lane, right: &Lane, rows: &[u32]) -> Lane {
        let mut failures = Vec::new();
        if let Some(fast) = crate::kernels::binary(op, left, right, &mut failures) {
            failures.into_iter().for_each(|(position, error)| self.fail(rows[position], error));
            return fast;
        }
        self.each(&[left.clone(), right.clone()], rows, |args| binary(op, &args[0], &args[1]))
    }

    fn compared(&mut self, op: Comparison, left: &Lane, right: &Lane, rows: &[u32]) -> Lane {
        if let Some(fast) = crate::kernels::compare(op, left, right) {
            return fast;
        }
        self.each(&[left.clone(), right.clone()], rows, |args| compare(op, &args[0], &args[1]).map(Value::Bool))
    }

    /// Row by row, for what has no loop of its own.
    fn each(&mut self, lanes: &[Lane], rows: &[u32], operation: impl Fn(&[Value]) -> Outcome<Value>) -> Lane {
        if lanes.iter().all(|lane| matches!(lane, Lane::Same(_))) {
            let args: Vec<Value> = lanes.iter().map(|lane| lane.get(0)).collect();
            return match budget::spend_on(&args).and_then(|()| operation(&args)) {
                Ok(value) => Lane::Same(value),
                Err(error) => {
                    rows.iter().for_each(|row| self.fail(*row, error));
                    Lane::Same(Value::None)
                }
            };
        }
        let mut args = vec![Value::Unbound; lanes.len()];
        let mut values = Vec::with_capacity(rows.len());
        for (position, row) in rows.iter().enumerate() {
            args.iter_mut().zip(lanes).for_each(|(arg, lane)| *arg = lane.get(position));
            values.push(budget::spend_on(&args).and_then(|()| operation(&args)).unwrap_or_else(|error| {
                self.fail(*row, error);
                Value::None
            }));
        }
        Lane::of(values)
    }
}

/// Rows for which it is true, and the others.
fn split(rows: &[u32], truths: &[bool]) -> (Vec<u32>, Vec<u32>) {
    let (mut yes, mut no) = (Vec::with_capacity(rows.len()), Vec::new());
    for (row, truth) in rows.iter().zip(truths) {
        if *truth { yes.push(*row) } else { no.push(*row) }
    }
    (yes, no)
}

/// Two ascending lists as one.
fn merged(a: Vec<u32>, b: Vec<u32>) -> Vec<u32> {
    if b.is_empty() {
        return a;
    }
    let mut all = a;
    all.extend(b);
    all.sort_unstable();
    all
}

/// Whether functions are run for many rows at once: no loops, and no names bound within expressions.
pub(crate) fn are_straight(functions: &[Function]) -> bool {
    functions.iter().all(|function| function.body.iter().all(is_straight))
}

fn is_straight(line: &Line) -> bool {
    match &line.stmt {
        Stmt::Assign(Target::Slot(_), node) | Stmt::Expr(node) | Stmt::Return(node) => is_plain(node),
        Stmt::If(test, then, otherwise) => {
            is_plain(test) && then.iter().all(is_straight) && otherwise.iter().all(is_straight)
        }
        Stmt::Raise(_) => true,
        Stmt::Assign(Target::Unpack(_), _) | Stmt::For(..) | Stmt::Break | Stmt::Continue => false,
    }
}

fn is_plain(node: &Node) -> bool {
    match &node.op {
        Op::Const(_) | Op::Local(_) => true,
        Op::Free(_) | Op::Walrus(..) | Op::Bind(..) | Op::Set(_) | Op::Dict(_) | Op::Comprehension(_) => false,
        Op::Unary(_, node) | Op::Attribute(_, node) | Op::Member(_, node) => is_plain(node),
        Op::Binary(_, nodes) | Op::Augmented(_, nodes) | Op::Compare(_, nodes) | Op::Index(nodes) => {
            nodes.iter().all(is_plain)
        }
        Op::If(nodes) => nodes.iter().all(is_plain),
        Op::Slice(nodes) => nodes.iter().all(is_plain),
        Op::Chain(first, rest) => is_plain(first) && rest.iter().all(|(_, node)| is_plain(node)),
        Op::And(nodes)
        | Op::Or(nodes)
        | Op::Call(_, nodes)
        | Op::Method(_, nodes)
        | Op::List(nodes)
        | Op::Tuple(nodes)
        | Op::Function(_, nodes)
        | Op::Construct(_, nodes) => nodes.iter().all(is_plain),
        Op::Format(parts) => parts.iter().all(|part| match part {
            Part::Text(_) => true,
            Part::Value(node, ..) => is_plain(node),
        }),
    }
}

impl Shape {
    /// A column of this type as a lane.
    pub fn lane(&self, column: &ArrayRef) -> Lane {
        if column.null_count() == 0 {
            match self.ty() {
                Type::Float => return Lane::Floats(column.as_primitive::<Float64Type>().values().to_vec()),
                Type::Int => return Lane::Ints(column.as_primitive::<Int64Type>().values().to_vec()),
                Type::Bool => return Lane::Bools(column.as_boolean().values().iter().collect()),
                _ => {}
            }
        }
        Lane::Mixed((0..column.len()).map(|row| self.read_row(column, row)).collect())
    }

    /// One row of a column of this type.
    pub fn read_row(&self, column: &dyn Array, row: usize) -> Value {
        if column.is_null(row) {
            return Value::None;
        }
        match self.ty() {
            Type::Bool => Value::Bool(column.as_boolean().value(row)),
            Type::Int => Value::Int(column.as_primitive::<Int64Type>().value(row)),
            Type::Float => Value::Float(column.as_primitive::<Float64Type>().value(row)),
            Type::Date => Value::Date(column.as_primitive::<Date32Type>().value(row)),
            Type::Datetime => Value::Datetime(column.as_primitive::<TimestampMicrosecondType>().value(row)),
            Type::Timedelta => Value::Timedelta(column.as_primitive::<DurationMicrosecondType>().value(row)),
            Type::List { .. } => {
                let items = column.as_list::<i32>().value(row);
                let shape = &self.inner()[0];
                Value::List((0..items.len()).map(|at| shape.read_row(&items, at)).collect())
            }
            Type::Struct { .. } => {
                let members = column.as_struct().columns().iter().zip(self.inner());
                self.instance(members.map(|(column, shape)| shape.read_row(column, row)).collect())
            }
            Type::Enum { .. } => self.member_named(column.as_string::<i32>().value(row)),
            _ => Value::text(column.as_string::<i32>().value(row)),
        }
    }
}
