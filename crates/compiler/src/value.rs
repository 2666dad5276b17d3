//! Python values as the row path holds them: immutable, so that no two names can share a change.

use std::collections::HashMap;
use std::sync::Arc;

use crate::numbers::compare_int_float;
use crate::raised::{Outcome, Raised};

/// One Python value. Cloning never copies text or items.
#[derive(Debug, Clone)]
pub enum Value {
    /// No value at all: a local before its assignment, an argument that was left out. Never reaches a user.
    Unbound,
    /// `None`.
    None,
    /// `bool`.
    Bool(bool),
    /// `int` within 64 bits; what leaves them is [`Raised::Beyond`].
    Int(i64),
    /// `float`.
    Float(f64),
    /// `str`, without lone surrogates.
    Str(Arc<str>),
    /// `date`: days since 1970-01-01.
    Date(i32),
    /// `datetime` in UTC: microseconds since 1970-01-01.
    Datetime(i64),
    /// `timedelta`: microseconds.
    Timedelta(i64),
    /// A member of an enum, by its position.
    Enum(Arc<EnumClass>, u32),
    /// An instance of a frozen dataclass.
    Struct(Arc<StructValue>),
    /// `list`.
    List(Arc<[Value]>),
    /// `tuple`.
    Tuple(Arc<[Value]>),
    /// `set` or `frozenset`: only looked into, never walked, since its order is not ours to know.
    Set(Arc<Table>),
    /// `dict`, in the order of insertion.
    Dict(Arc<Table>),
}

/// A class `Sky(Enum)` of the project.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EnumClass {
    /// Name of the class; one project has one class of a name, or none is compiled.
    pub name: String,
    /// Names and texts of its members in order. The names are empty when only the values are known.
    pub members: Vec<(String, String)>,
}

/// A frozen dataclass of the project.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StructClass {
    /// Name of the class.
    pub name: String,
    /// Names of its members in order.
    pub fields: Vec<String>,
}

/// An instance of a dataclass.
#[derive(Debug)]
pub struct StructValue {
    /// Its class.
    pub class: Arc<StructClass>,
    /// One per field.
    pub values: Vec<Value>,
}

/// Keys, values, and where a key is: `values` is empty for a set.
#[derive(Debug, Default)]
pub struct Table {
    pub(crate) keys: Vec<Value>,
    pub(crate) values: Vec<Value>,
    by_hash: HashMap<u64, Vec<u32>>,
}

impl Table {
    /// Up to this many keys are compared one after the other.
    const SEARCHED_MAX: usize = 8;

    /// Adds a key and its value; a key that is there keeps its place and takes the value, as in Python.
    pub(crate) fn insert(&mut self, key: Value, value: Option<Value>) -> Outcome<()> {
        if let Some(at) = self.find(&key)? {
            if let Some(value) = value {
                self.values[at] = value;
            }
            return Ok(());
        }
        let at = self.keys.len() as u32;
        self.by_hash.entry(hash(&key)?).or_default().push(at);
        self.keys.push(key);
        self.values.extend(value);
        Ok(())
    }

    /// Position of an equal key. A key that cannot be hashed raises.
    pub(crate) fn find(&self, key: &Value) -> Outcome<Option<usize>> {
        let hashed = hash(key)?;
        if self.keys.len() <= Self::SEARCHED_MAX {
            for (at, own) in self.keys.iter().enumerate() {
                if same_item(own, key)? {
                    return Ok(Some(at));
                }
            }
            return Ok(None);
        }
        for at in self.by_hash.get(&hashed).into_iter().flatten() {
            if same_item(&self.keys[*at as usize], key)? {
                return Ok(Some(*at as usize));
            }
        }
        Ok(None)
    }
}

fn mix(seed: u64, more: u64) -> u64 {
    (seed ^ more).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23)
}

/// Equal values hash alike, whatever their types: `1`, `1.0` and `True` are one key.
fn hash(value: &Value) -> Outcome<u64> {
    Ok(match value {
        Value::Unbound | Value::None => 1,
        Value::Bool(flag) => mix(2, u64::from(*flag)),
        Value::Int(int) => mix(2, *int as u64),
        Value::Float(float) => {
            let int = *float as i64;
            if int as f64 == *float { mix(2, int as u64) } else { mix(3, float.to_bits()) }
        }
        Value::Str(text) => text.bytes().fold(4, |seed, byte| mix(seed, byte.into())),
        Value::Date(days) => mix(5, *days as u64),
        Value::Datetime(micros) => mix(6, *micros as u64),
        Value::Timedelta(micros) => mix(7, *micros as u64),
        Value::Enum(_, at) => mix(8, (*at).into()),
        Value::Struct(instance) => {
            instance.values.iter().try_fold(9, |seed, item| hash(item).map(|own| mix(seed, own)))?
        }
        Value::Tuple(items) => items.iter().try_fold(10, |seed, item| hash(item).map(|own| mix(seed, own)))?,
        Value::List(_) | Value::Dict(_) | Value::Set(_) => return Err(Raised::TYPE),
    })
}

/// Whether a container takes two values for one: equal, or the very same object. Which NaNs are one object is not known
/// here, so such a comparison is left to Python.
pub(crate) fn same_item(a: &Value, b: &Value) -> Outcome<bool> {
    if let (Value::Float(a), Value::Float(b)) = (a, b)
        && a.is_nan()
        && b.is_nan()
    {
        return Err(Raised::Beyond("whether two NaNs are the same object"));
    }
    equal(a, b)
}

/// `a == b`.
pub(crate) fn equal(a: &Value, b: &Value) -> Outcome<bool> {
    use Value as V;
    Ok(match (a, b) {
        (V::None, V::None) => true,
        (V::Str(a), V::Str(b)) => a == b,
        (V::Int(a), V::Int(b)) => a == b,
        (V::Float(a), V::Float(b)) => a == b,
        (V::Bool(a), V::Bool(b)) => a == b,
        (V::Int(a), V::Float(b)) | (V::Float(b), V::Int(a)) => {
            compare_int_float(*a, *b) == Some(std::cmp::Ordering::Equal)
        }
        (V::Bool(a), V::Int(b)) | (V::Int(b), V::Bool(a)) => i64::from(*a) == *b,
        (V::Bool(a), V::Float(b)) | (V::Float(b), V::Bool(a)) => f64::from(u8::from(*a)) == *b,
        (V::Date(a), V::Date(b)) => a == b,
        (V::Datetime(a), V::Datetime(b)) | (V::Timedelta(a), V::Timedelta(b)) => a == b,
        (V::Enum(class, a), V::Enum(other, b)) => a == b && class.name == other.name,
        (V::Struct(a), V::Struct(b)) => a.class.name == b.class.name && equal_items(&a.values, &b.values)?,
        (V::List(a), V::List(b)) | (V::Tuple(a), V::Tuple(b)) => equal_items(a, b)?,
        (V::Set(a), V::Set(b)) => a.keys.len() == b.keys.len() && contains_all(a, b)?,
        (V::Dict(a), V::Dict(b)) => {
            if a.keys.len() != b.keys.len() {
                return Ok(false);
            }
            for (key, value) in a.keys.iter().zip(&a.values) {
                match b.find(key)? {
                    Some(at) if same_item(value, &b.values[at])? => {}
                    _ => return Ok(false),
                }
            }
            true
        }
        _ => false,
    })
}

fn contains_all(a: &Table, b: &Table) -> Outcome<bool> {
    for key in &a.keys {
        if b.find(key)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn equal_items(a: &[Value], b: &[Value]) -> Outcome<bool> {
    if a.len() != b.len() {
        return Ok(false);
    }
    for (a, b) in a.iter().zip(b) {
        if !same_item(a, b)? {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Value {
    /// A text.
    pub fn text(text: &str) -> Self {
        Self::Str(text.into())
    }

    /// Whether an `if` takes it for true.
    pub(crate) fn truth(&self) -> bool {
        match self {
            Self::Unbound | Self::None => false,
            Self::Bool(flag) => *flag,
            Self::Int(int) => *int != 0,
            Self::Float(float) => *float != 0.0,
            Self::Str(text) => !text.is_empty(),
            Self::Timedelta(micros) => *micros != 0,
            Self::Date(_) | Self::Datetime(_) | Self::Enum(..) | Self::Struct(_) => true,
            Self::List(items) | Self::Tuple(items) => !items.is_empty(),
            Self::Set(table) | Self::Dict(table) => !table.keys.is_empty(),
        }
    }

    /// `x is y` where the compiler lets it stand: `None`, bools and enum members.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::None, Self::None) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Enum(class, a), Self::Enum(of, b)) => a == b && class.name == of.name,
            _ => false,
        }
    }

    /// An int, or a bool as one.
    pub(crate) fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(int) => Some(*int),
            Self::Bool(flag) => Some((*flag).into()),
            _ => None,
        }
    }

    /// A number as a float, as C functions take it.
    pub(crate) fn as_float(&self) -> Option<f64> {
        match self {
            Self::Float(float) => Some(*float),
            _ => self.as_int().map(|int| int as f64),
        }
    }

    /// Name of its type in messages: those of Python.
    pub fn type_name(&self) -> &str {
        match self {
            Self::Unbound => "nothing",
            Self::None => "None",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Str(_) => "str",
            Self::Date(_) => "date",
            Self::Datetime(_) => "datetime",
            Self::Timedelta(_) => "timedelta",
            Self::Enum(class, _) => &class.name,
            Self::Struct(instance) => &instance.class.name,
            Self::List(_) => "list",
            Self::Tuple(_) => "tuple",
            Self::Set(_) => "set",
            Self::Dict(_) => "dict",
        }
    }
}
