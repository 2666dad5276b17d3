//! Which types an expression may have, and whether each operation is compiled for them.
//!
//! There is no second table of what is compiled: each operation is tried on a few values of each type that its operands
//! may have. A type that no sample shows is missed, and then an operation may meet types at run time that were not
//! checked; it answers [`Raised::NOT_COMPILED`] there, and Python computes the row.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;

use creta_model::Type;

use crate::attributes::attribute;
use crate::builtins;
use crate::lower::Lowered;
use crate::operators::{Binary, Comparison, binary, compare, index, sliced, unary};
use crate::program::{Comprehension, Into, Line, Node, Op, Part, Place, Program, Stmt, Target};
use crate::project::Project;
use crate::raised::{Outcome, Raised};
use crate::value::{EnumClass, StructClass, StructValue, Table, Value};

/// The types a value may have; none for what never comes to be.
pub(crate) type Ty = BTreeSet<Kind>;

/// One type.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    None,
    Bool,
    Int,
    Float,
    Str,
    Date,
    Datetime,
    Timedelta,
    Enum(Arc<EnumClass>),
    Struct(Arc<StructClass>, Vec<Ty>),
    List(Ty),
    Tuple(Vec<Ty>),
    Set(Ty),
    Dict(Ty, Ty),
}

/// Containers within containers beyond this are not told apart.
const DEPTH_MAX: usize = 4;
/// Expressions looked at for one resolver; loops within loops are looked at several times, functions once per call.
const LOOKED_AT_MAX: u32 = 20_000;
/// Combinations of samples tried per operation.
const TRIED_MAX: usize = 4_000;

/// The types of a parameter.
pub(crate) fn parameter(project: &Project, ty: &Type, optional: bool) -> Ty {
    let kind = match ty {
        Type::Bool => Kind::Bool,
        Type::Int => Kind::Int,
        Type::Float => Kind::Float,
        Type::Date => Kind::Date,
        Type::Datetime => Kind::Datetime,
        Type::Timedelta => Kind::Timedelta,
        Type::Enum { name, members } => Kind::Enum(project.enum_named(name).unwrap_or_else(|| {
            let members = members.iter().map(|text| (String::new(), text.clone())).collect();
            Arc::new(EnumClass { name: name.clone(), members })
        })),
        Type::List { item, optional } => Kind::List(parameter(project, item, *optional)),
        Type::Struct { name, fields } => {
            let names = fields.iter().map(|field| field.name.clone()).collect();
            let class = Arc::new(StructClass { name: name.clone(), fields: names });
            Kind::Struct(class, fields.iter().map(|field| parameter(project, &field.ty, field.optional)).collect())
        }
        _ => Kind::Str,
    };
    let none = optional.then_some(Kind::None);
    std::iter::once(kind).chain(none).collect()
}

/// Checks the whole program for parameters of these types.
pub(crate) fn check(project: &Project, program: &Program, parameters: Vec<Ty>) -> Lowered<Ty> {
    let infer = Infer { project, program, looked_at: Cell::new(0) };
    infer.function(program.functions.len() - 1, parameters)
}

/// What is known of a value: itself, or its types.
#[derive(Clone)]
enum Known {
    Exactly(Value),
    Of(Ty),
}

impl Known {
    fn ty(&self) -> Ty {
        match self {
            Self::Exactly(Value::Unbound) => Ty::new(),
            Self::Exactly(value) => Ty::from([kind_of(value, 0)]),
            Self::Of(ty) => ty.clone(),
        }
    }

    fn samples(&self) -> Vec<Value> {
        match self {
            Self::Exactly(value) => vec![value.clone()],
            Self::Of(ty) => ty.iter().flat_map(samples).collect(),
        }
    }
}

fn kind_of(value: &Value, depth: usize) -> Kind {
    let all = |values: &[Value]| -> Ty {
        if depth >= DEPTH_MAX { Ty::new() } else { values.iter().map(|value| kind_of(value, depth + 1)).collect() }
    };
    let each = |values: &[Value]| values.iter().map(|value| all(std::slice::from_ref(value))).collect();
    match value {
        Value::Unbound | Value::None => Kind::None,
        Value::Bool(_) => Kind::Bool,
        Value::Int(_) => Kind::Int,
        Value::Float(_) => Kind::Float,
        Value::Str(_) => Kind::Str,
        Value::Date(_) => Kind::Date,
        Value::Datetime(_) => Kind::Datetime,
        Value::Timedelta(_) => Kind::Timedelta,
        Value::Enum(class, _) => Kind::Enum(Arc::clone(class)),
        Value::Struct(instance) => Kind::Struct(Arc::clone(&instance.class), each(&instance.values)),
        Value::List(items) => Kind::List(all(items)),
        Value::Tuple(items) => Kind::Tuple(each(items)),
        Value::Set(table) => Kind::Set(all(&table.keys)),
        Value::Dict(table) => Kind::Dict(all(&table.keys), all(&table.values)),
    }
}

fn samples(kind: &Kind) -> Vec<Value> {
    let of = |ty: &Ty| -> Vec<Value> { ty.iter().flat_map(samples).collect() };
    // As many as the longest needs, the others begin again.
    let rows = |columns: &[Ty]| -> Vec<Vec<Value>> {
        let columns: Vec<Vec<Value>> = columns.iter().map(of).collect();
        let count = columns.iter().map(Vec::len).max().unwrap_or(1).min(4);
        if columns.iter().any(Vec::is_empty) {
            return Vec::new();
        }
        (0..count).map(|row| columns.iter().map(|column| column[row % column.len()].clone()).collect()).collect()
    };
    let table = |keys: Vec<Value>, values: Option<Vec<Value>>| {
        let mut table = Table::default();
        for (at, key) in keys.into_iter().enumerate() {
            let value =
                values.as_ref().filter(|values| !values.is_empty()).map(|values| values[at % values.len()].clone());
            if table.insert(key, value).is_err() {
                break;
            }
        }
        Arc::new(table)
    };
    match kind {
        Kind::None => vec![Value::None],
        Kind::Bool => vec![Value::Bool(false), Value::Bool(true)],
        Kind::Int => vec![Value::Int(0), Value::Int(2), Value::Int(-3)],
        Kind::Float => vec![Value::Float(0.0), Value::Float(1.5), Value::Float(-2.5)],
        Kind::Str => vec![Value::text("a b"), Value::text("7")],
        Kind::Date => vec![Value::Date(0)],
        Kind::Datetime => vec![Value::Datetime(0)],
        Kind::Timedelta => vec![Value::Timedelta(1_000_000), Value::Timedelta(-3)],
        Kind::Enum(class) => vec![Value::Enum(Arc::clone(class), 0)],
        Kind::Struct(class, members) => rows(members)
            .into_iter()
            .map(|values| Value::Struct(Arc::new(StructValue { class: Arc::clone(class), values })))
            .collect(),
        Kind::Tuple(members) => rows(members).into_iter().map(|values| Value::Tuple(values.into())).collect(),
        Kind::List(item) => {
            let mut lists = vec![Value::List([].into())];
            lists.extend(item.iter().map(|kind| Value::List(samples(kind).into())));
            if item.len() > 1 {
                lists.push(Value::List(of(item).into()));
            }
            lists
        }
        Kind::Set(item) => vec![Value::Set(table(of(item), None))],
        Kind::Dict(key, value) => vec![Value::Dict(table(of(key), Some(of(value))))],
    }
}

/// Local names of a function; `None` where the code is not reached.
type Locals = Option<Vec<Ty>>;

fn merged(a: Locals, b: Locals) -> Locals {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.into_iter().zip(b).map(|(a, b)| a.into_iter().chain(b).collect()).collect()),
        (one, other) => one.or(other),
    }
}

struct Infer<'a> {
    project: &'a Project,
    program: &'a Program,
    looked_at: Cell<u32>,
}

/// What leaves a block apart from its end.
#[derive(Default)]
struct Exits {
    returned: Ty,
    broken: Locals,
    continued: Locals,
}

impl Infer<'_> {
    fn function(&self, number: usize, parameters: Vec<Ty>) -> Lowered<Ty> {
        let function = &self.program.functions[number];
        let mut locals = parameters;
        locals.resize(function.slots, Ty::new());
        let mut exits = Exits::default();
        if self.block(&function.body, Some(locals), &mut exits)?.is_some() {
            exits.returned.insert(Kind::None);
        }
        Ok(exits.returned)
    }

    fn block(&self, body: &[Line], mut locals: Locals, exits: &mut Exits) -> Lowered<Locals> {
        for line in body {
            let Some(reached) = locals else { return Ok(None) };
            locals = self.statement(&line.stmt, reached, exits)?;
        }
        Ok(locals)
    }

    fn statement(&self, statement: &Stmt, mut locals: Vec<Ty>, exits: &mut Exits) -> Lowered<Locals> {
        match statement {
            Stmt::Assign(target, node) => {
                let known = self.node(node, &mut locals)?;
                self.assign(target, &known.ty(), node.place, &mut locals)?;
            }
            Stmt::Expr(node) => drop(self.node(node, &mut locals)?),
            Stmt::If(test, then, otherwise) => {
                self.node(test, &mut locals)?;
                let then = self.block(then, Some(locals.clone()), exits)?;
                let otherwise = self.block(otherwise, Some(locals), exits)?;
                return Ok(merged(then, otherwise));
            }
            Stmt::For(target, items, body, otherwise) => {
                let walked = self.node(items, &mut locals)?;
                let item = self.items(&walked, items.place)?;
                let mut before = Some(locals);
                let mut inner = Exits::default();
                // A second round sees what the first assigned; types that still change are given up.
                for round in 0.. {
                    let Some(mut entered) = before.clone() else { break };
                    self.assign(target, &item, items.place, &mut entered)?;
                    inner.continued = None;
                    let end = self.block(body, Some(entered), &mut inner)?;
                    let after = merged(before.clone(), merged(end, inner.continued.take()));
                    if after == before {
                        break;
                    }
                    if round == 6 {
                        return self.refuse(
                            items.place,
                            "a value whose type grows in a loop",
                            "give each value one type",
                        );
                    }
                    before = after;
                }
                exits.returned.append(&mut inner.returned);
                let end = self.block(otherwise, before, exits)?;
                return Ok(merged(end, inner.broken));
            }
            Stmt::Return(node) => {
                let known = self.node(node, &mut locals)?;
                exits.returned.append(&mut known.ty());
                return Ok(None);
            }
            Stmt::Raise(_) => return Ok(None),
            Stmt::Break => {
                exits.broken = merged(exits.broken.take(), Some(locals));
                return Ok(None);
            }
            Stmt::Continue => {
                exits.continued = merged(exits.continued.take(), Some(locals));
                return Ok(None);
            }
        }
        Ok(Some(locals))
    }

    fn assign(&self, target: &Target, ty: &Ty, place: Place, locals: &mut [Ty]) -> Lowered<()> {
        match target {
            Target::Slot(slot) => locals[*slot].clone_from(ty),
            Target::Unpack(targets) => {
                for (at, target) in targets.iter().enumerate() {
                    let mut item = Ty::new();
                    for kind in ty {
                        match kind {
                            Kind::Tuple(members) if members.len() == targets.len() => {
                                item.extend(members[at].iter().cloned());
                            }
                            Kind::Tuple(_) => {}
                            other => item.append(&mut self.items(&Known::Of(Ty::from([other.clone()])), place)?),
                        }
                    }
                    self.assign(target, &item, place, locals)?;
                }
            }
        }
        Ok(())
    }

    /// Types of what a loop over the value gives.
    fn items(&self, walked: &Known, place: Place) -> Lowered<Ty> {
        let mut found = Ty::new();
        for kind in walked.ty() {
            match kind {
                Kind::List(item) | Kind::Dict(item, _) => found.extend(item),
                Kind::Tuple(members) => found.extend(members.into_iter().flatten()),
                Kind::Str => {
                    found.insert(Kind::Str);
                }
                Kind::Set(_) => {
                    return self.refuse(
                        place,
                        "a loop over a set",
                        "its order is not known: use a tuple, or `sorted(...)`",
                    );
                }
                _ => {}
            }
        }
        Ok(found)
    }

    fn node(&self, node: &Node, locals: &mut Vec<Ty>) -> Lowered<Known> {
        let place = node.place;
        self.looked_at.set(self.looked_at.get() + 1);
        if self.looked_at.get() > LOOKED_AT_MAX {
            return self.refuse(place, "loops or calls within one another too often", "write them flatter");
        }
        Ok(match &node.op {
            Op::Const(value) => Known::Exactly(value.clone()),
            Op::Local(slot) | Op::Free(slot) => Known::Of(locals[*slot].clone()),
            Op::Walrus(slot, value) => {
                let known = self.node(value, locals)?;
                // It may not have been reached, so what was before may still be.
                locals[*slot].append(&mut known.ty());
                known
            }
            Op::Bind(slot, value) => {
                let mut ty = self.node(value, locals)?.ty();
                locals[*slot].append(&mut ty);
                Known::Of(Ty::from([Kind::Bool]))
            }
            Op::Unary(op, operand) => {
                let operand = [self.node(operand, locals)?];
                self.tried(place, &operand, "this operator", |args| unary(*op, &args[0]))?
            }
            Op::Binary(op, sides) => {
                let sides = self.pair(sides, locals)?;
                self.tried(place, &sides, operator(*op), |args| binary(*op, &args[0], &args[1]))?
            }
            Op::Augmented(op, sides) => {
                let sides = self.pair(sides, locals)?;
                if sides[0].ty().iter().any(|kind| matches!(kind, Kind::List(_) | Kind::Set(_) | Kind::Dict(..))) {
                    return self.refuse(place, "a list, set or dictionary changed in place", "write a comprehension");
                }
                self.tried(place, &sides, operator(*op), |args| binary(*op, &args[0], &args[1]))?
            }
            Op::Compare(op, sides) => {
                let sides = self.pair(sides, locals)?;
                self.compared(*op, &sides, place)?
            }
            Op::Chain(first, rest) => {
                let mut left = self.node(first, locals)?;
                for (op, right) in rest {
                    let right = self.node(right, locals)?;
                    let sides = [left, right];
                    self.compared(*op, &sides, place)?;
                    [_, left] = sides;
                }
                Known::Of(Ty::from([Kind::Bool]))
            }
            Op::And(nodes) | Op::Or(nodes) => {
                let mut ty = Ty::new();
                for node in nodes {
                    ty.append(&mut self.node(node, locals)?.ty());
                }
                Known::Of(ty)
            }
            Op::If(parts) => {
                self.node(&parts[0], locals)?;
                let mut ty = self.node(&parts[1], locals)?.ty();
                ty.append(&mut self.node(&parts[2], locals)?.ty());
                Known::Of(ty)
            }
            Op::Call(builtin, args) => {
                let args = self.nodes(args, locals)?;
                let name = format!("`{}`", format!("{builtin:?}").to_lowercase());
                self.tried(place, &args, &name, |args| builtin.call(args))?
            }
            Op::Method(method, args) => {
                let args = self.nodes(args, locals)?;
                let name = format!("`.{}()`", format!("{method:?}").to_lowercase());
                self.tried(place, &args, &name, |args| method.call(args))?
            }
            Op::Attribute(name, of) => {
                let of = [self.node(of, locals)?];
                let found = self.tried(place, &of, &format!("`.{name}`"), |args| attribute(&args[0], name))?;
                // One that no type has is a mistake, or something that is not known here; `None` has none, and is often
                // asked after before.
                if found.ty().is_empty()
                    && let Some(sample) = of[0].samples().iter().find(|sample| !matches!(sample, Value::None))
                {
                    let what = format!("`.{name}` of `{}`", sample.type_name());
                    return self.refuse(place, what, "this is not compiled for these types");
                }
                found
            }
            Op::Index(sides) => {
                let sides = self.pair(sides, locals)?;
                let found = self.tried(place, &sides, "an index", |args| index(&args[0], &args[1]))?;
                // Which item it is may not show in samples.
                let mut ty = found.ty();
                for kind in sides[0].ty() {
                    match kind {
                        Kind::List(item) | Kind::Dict(_, item) => ty.extend(item),
                        Kind::Tuple(members) if !matches!(sides[1], Known::Exactly(_)) => {
                            ty.extend(members.into_iter().flatten());
                        }
                        _ => {}
                    }
                }
                Known::Of(ty)
            }
            Op::Slice(parts) => {
                let parts = [&parts[0], &parts[1], &parts[2], &parts[3]];
                let parts = parts.into_iter().map(|part| self.node(part, locals)).collect::<Lowered<Vec<_>>>()?;
                self.tried(place, &parts, "a slice", |args| sliced(&args[0], &args[1], &args[2], &args[3]))?
            }
            Op::List(nodes) => Known::Of(Ty::from([Kind::List(self.union(nodes, locals)?)])),
            Op::Set(nodes) => Known::Of(Ty::from([Kind::Set(self.union(nodes, locals)?)])),
            Op::Tuple(nodes) => {
                let members = self.nodes(nodes, locals)?.iter().map(Known::ty).collect();
                Known::Of(Ty::from([Kind::Tuple(members)]))
            }
            Op::Dict(pairs) => {
                let (mut keys, mut values) = (Ty::new(), Ty::new());
                for (key, value) in pairs {
                    keys.append(&mut self.node(key, locals)?.ty());
                    values.append(&mut self.node(value, locals)?.ty());
                }
                Known::Of(Ty::from([Kind::Dict(keys, values)]))
            }
            Op::Comprehension(comprehension) => self.comprehension(comprehension, place, locals)?,
            Op::Format(parts) => {
                for part in parts {
                    if let Part::Value(node, is_repr, spec) = part {
                        let value = [self.node(node, locals)?];
                        self.tried(node.place, &value, "a format", |args| {
                            let text =
                                if *is_repr { Value::text(&crate::written::repr(&args[0])?) } else { args[0].clone() };
                            spec.format(&text).map(|text| Value::text(&text))
                        })?;
                    }
                }
                Known::Of(Ty::from([Kind::Str]))
            }
            Op::Function(number, args) => {
                let args = self.nodes(args, locals)?.iter().map(Known::ty).collect();
                Known::Of(self.function(*number, args)?)
            }
            Op::Construct(class, args) => {
                let members = self.nodes(args, locals)?.iter().map(Known::ty).collect();
                Known::Of(Ty::from([Kind::Struct(Arc::clone(class), members)]))
            }
            Op::Member(class, value) => {
                self.node(value, locals)?;
                Known::Of(Ty::from([Kind::Enum(Arc::clone(class))]))
            }
        })
    }

    fn pair(&self, sides: &[Node; 2], locals: &mut Vec<Ty>) -> Lowered<[Known; 2]> {
        Ok([self.node(&sides[0], locals)?, self.node(&sides[1], locals)?])
    }

    fn nodes(&self, nodes: &[Node], locals: &mut Vec<Ty>) -> Lowered<Vec<Known>> {
        nodes.iter().map(|node| self.node(node, locals)).collect()
    }

    fn union(&self, nodes: &[Node], locals: &mut Vec<Ty>) -> Lowered<Ty> {
        Ok(self.nodes(nodes, locals)?.iter().flat_map(Known::ty).collect())
    }

    fn compared(&self, op: Comparison, sides: &[Known; 2], place: Place) -> Lowered<Known> {
        let is_single =
            |known: &Known| known.ty().iter().all(|kind| matches!(kind, Kind::None | Kind::Bool | Kind::Enum(_)));
        if matches!(op, Comparison::Is | Comparison::IsNot) {
            if !sides.iter().any(is_single) {
                return self.refuse(
                    place,
                    "`is` between values",
                    "compare with `==`; `is` is for `None`, bools and enums",
                );
            }
            return Ok(Known::Of(Ty::from([Kind::Bool])));
        }
        self.tried(place, sides, "a comparison", |args| compare(op, &args[0], &args[1]).map(Value::Bool))?;
        Ok(Known::Of(Ty::from([Kind::Bool])))
    }

    fn comprehension(&self, comprehension: &Comprehension, place: Place, locals: &mut Vec<Ty>) -> Lowered<Known> {
        for generator in &comprehension.generators {
            let walked = self.node(&generator.items, locals)?;
            let item = self.items(&walked, generator.items.place)?;
            self.assign(&generator.target, &item, place, locals)?;
            for condition in &generator.conditions {
                self.node(condition, locals)?;
            }
        }
        let item = self.node(&comprehension.item, locals)?.ty();
        let value = match &comprehension.value {
            Some(value) => self.node(value, locals)?.ty(),
            None => Ty::new(),
        };
        let list = || [Known::Of(Ty::from([Kind::List(item.clone())])), Known::Exactly(Value::Unbound)];
        let kind = match comprehension.into {
            Into::List => Kind::List(item),
            Into::Set => Kind::Set(item),
            Into::Dict => Kind::Dict(item, value),
            Into::Any | Into::All => Kind::Bool,
            Into::Tuple => return self.tried(place, &list(), "`tuple`", |args| builtins::Builtin::Tuple.call(args)),
            Into::Sum => return self.tried(place, &list(), "`sum`", |args| builtins::Builtin::Sum.call(args)),
            Into::Min | Into::Max => {
                let best = self.tried(place, &list(), "`min` or `max`", |args| builtins::Builtin::Max.call(args))?;
                let default = comprehension.default.iter().map(|value| kind_of(value, 0));
                return Ok(Known::Of(best.ty().into_iter().chain(default).collect()));
            }
        };
        Ok(Known::Of(Ty::from([kind])))
    }

    /// Tries an operation on every combination of samples. One for which it is not compiled refuses the program; those
    /// that raise have no type.
    fn tried(
        &self,
        place: Place,
        args: &[Known],
        name: &str,
        operation: impl Fn(&[Value]) -> Outcome<Value>,
    ) -> Lowered<Known> {
        let columns: Vec<Vec<Value>> = args.iter().map(Known::samples).collect();
        let total: usize = columns.iter().map(Vec::len).product();
        let mut ty = Ty::new();
        for number in 0..total.min(TRIED_MAX) {
            let mut rest = number;
            let combination: Vec<Value> = columns
                .iter()
                .map(|column| {
                    let value = column[rest % column.len()].clone();
                    rest /= column.len();
                    value
                })
                .collect();
            match operation(&combination) {
                Ok(value) => {
                    ty.insert(kind_of(&value, 0));
                }
                Err(error) if error == Raised::NOT_COMPILED => {
                    let types: Vec<String> = combination
                        .iter()
                        .filter(|value| !matches!(value, Value::Unbound))
                        .map(|value| format!("`{}`", value.type_name()))
                        .collect();
                    return self.refuse(
                        place,
                        format!("{name} of {}", types.join(" and ")),
                        "this is not compiled for these types",
                    );
                }
                Err(_) => {}
            }
        }
        Ok(Known::Of(ty))
    }

    fn refuse<T>(&self, place: Place, what: impl std::convert::Into<String>, help: &str) -> Lowered<T> {
        Err(self.project.refusal(place, what, help))
    }
}

fn operator(op: Binary) -> &'static str {
    match op {
        Binary::Add => "`+`",
        Binary::Sub => "`-`",
        Binary::Mul => "`*`",
        Binary::Div => "`/`",
        Binary::FloorDiv => "`//`",
        Binary::Mod => "`%`",
        Binary::Pow => "`**`",
        Binary::BitAnd => "`&`",
        Binary::BitOr => "`|`",
        Binary::BitXor => "`^`",
        Binary::ShiftLeft => "`<<`",
        Binary::ShiftRight => "`>>`",
    }
}
