//! Distinct keys, numbered densely and found by their exact encoding (rules S14, S19).

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, StringArray, UInt32Array};
use arrow::datatypes::{
    Date32Type, Decimal128Type, DurationMicrosecondType, Float64Type, Int64Type, TimestampMicrosecondType,
};
use creta_model::{Type, Value};

use crate::error::EngineError;
use crate::value::is_of_type;

/// What encoding one row's key found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoded {
    /// Every part has a value; the bytes were appended.
    Complete,
    /// Some part is null: there is no key. Nothing was appended.
    Null,
    /// Some part is NaN, which is refused in keys (rule S14). Nothing was appended.
    Nan,
}

enum Part<'a> {
    Bool(&'a BooleanArray),
    Long(u8, &'a [i64], &'a dyn Array),
    Day(&'a [i32], &'a dyn Array),
    Float(&'a [f64], &'a dyn Array),
    Decimal(i8, &'a [i128], &'a dyn Array),
    Text(&'a StringArray),
    Bytes(&'a BinaryArray),
}

const BOOL: u8 = 1;
const INT: u8 = 2;
const TEXT: u8 = 3;
const BYTES: u8 = 4;
const DATE: u8 = 5;
const DATETIME: u8 = 6;
const FLOAT: u8 = 7;
const DECIMAL: u8 = 8;
const TIMEDELTA: u8 = 9;

/// Encodes composite keys row by row: per part a type byte, then big-endian bytes of a fixed width or a 32-bit length and
/// the bytes. Two keys have equal bytes exactly when their types and values are equal, where -0 equals 0 (rules S14, S19).
pub struct KeyEncoder<'a>(Vec<Part<'a>>);

impl<'a> KeyEncoder<'a> {
    /// Columns of the key's parts in order, of these types.
    pub fn new(types: &[Type], columns: &'a [ArrayRef]) -> Result<Self, EngineError> {
        let mut parts = Vec::with_capacity(types.len());
        for (ty, column) in types.iter().zip(columns) {
            if !is_of_type(column, ty) {
                return Err(EngineError::plan(format!("a key column is {}, its feature {ty:?}", column.data_type())));
            }
            parts.push(match ty {
                Type::Bool => Part::Bool(column.as_boolean()),
                Type::Int => Part::Long(INT, column.as_primitive::<Int64Type>().values(), column),
                Type::Datetime => {
                    Part::Long(DATETIME, column.as_primitive::<TimestampMicrosecondType>().values(), column)
                }
                Type::Timedelta => {
                    Part::Long(TIMEDELTA, column.as_primitive::<DurationMicrosecondType>().values(), column)
                }
                Type::Date => Part::Day(column.as_primitive::<Date32Type>().values(), column),
                Type::Float => Part::Float(column.as_primitive::<Float64Type>().values(), column),
                Type::Decimal { scale } => {
                    Part::Decimal(*scale as i8, column.as_primitive::<Decimal128Type>().values(), column)
                }
                Type::Str | Type::Enum { .. } => Part::Text(column.as_string()),
                Type::Bytes => Part::Bytes(column.as_binary()),
                Type::List { .. } | Type::Struct { .. } | Type::Vector { .. } => {
                    return Err(EngineError::KeyType { ty: ty.python_name() });
                }
            });
        }
        Ok(Self(parts))
    }

    /// Appends the key of `row` to `out`.
    pub fn encode(&self, row: usize, out: &mut Vec<u8>) -> Encoded {
        let start = out.len();
        for part in &self.0 {
            let valid = match part {
                Part::Bool(column) => column.is_valid(row),
                Part::Text(column) => column.is_valid(row),
                Part::Bytes(column) => column.is_valid(row),
                Part::Long(_, _, column)
                | Part::Day(_, column)
                | Part::Float(_, column)
                | Part::Decimal(_, _, column) => column.is_valid(row),
            };
            if !valid {
                out.truncate(start);
                return Encoded::Null;
            }
            match part {
                Part::Bool(column) => out.extend([BOOL, u8::from(column.value(row))]),
                Part::Long(tag, values, _) => fixed(out, *tag, &values[row].to_be_bytes()),
                Part::Day(values, _) => fixed(out, DATE, &values[row].to_be_bytes()),
                Part::Float(values, _) if values[row].is_nan() => {
                    out.truncate(start);
                    return Encoded::Nan;
                }
                // Adding 0 turns -0 into 0 and changes nothing else.
                Part::Float(values, _) => fixed(out, FLOAT, &(values[row] + 0.0).to_bits().to_be_bytes()),
                Part::Decimal(scale, values, _) => {
                    out.push(DECIMAL);
                    out.push(*scale as u8);
                    out.extend(values[row].to_be_bytes());
                }
                Part::Text(column) => sized(out, TEXT, column.value(row).as_bytes()),
                Part::Bytes(column) => sized(out, BYTES, column.value(row)),
            }
        }
        Encoded::Complete
    }
}

/// Appends one part of a key as [`KeyEncoder::encode`] does, from a value of type `ty`.
pub(crate) fn encode_value(ty: &Type, value: &Value, out: &mut Vec<u8>) -> Result<Encoded, EngineError> {
    match (ty, value) {
        (_, Value::Null) => return Ok(Encoded::Null),
        (Type::Float, Value::Float(value)) if value.is_nan() => return Ok(Encoded::Nan),
        (Type::Bool, Value::Bool(value)) => out.extend([BOOL, u8::from(*value)]),
        (Type::Int, Value::Int(value)) => fixed(out, INT, &value.to_be_bytes()),
        (Type::Datetime, Value::Datetime(value)) => fixed(out, DATETIME, &value.micros().to_be_bytes()),
        (Type::Timedelta, Value::Timedelta(value)) => fixed(out, TIMEDELTA, &value.to_be_bytes()),
        (Type::Date, Value::Date(value)) => fixed(out, DATE, &value.to_be_bytes()),
        (Type::Float, Value::Float(value)) => fixed(out, FLOAT, &(value + 0.0).to_bits().to_be_bytes()),
        (Type::Decimal { scale }, Value::Decimal(value)) => {
            out.extend([DECIMAL, *scale as i8 as u8]);
            out.extend(value.to_be_bytes());
        }
        (Type::Str | Type::Enum { .. }, Value::Str(value)) => sized(out, TEXT, value.as_bytes()),
        (Type::Bytes, Value::Bytes(value)) => sized(out, BYTES, value),
        _ => return Err(EngineError::KeyType { ty: ty.python_name() }),
    }
    Ok(Encoded::Complete)
}

fn fixed(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    out.extend(bytes);
}

fn sized(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    // Arrow's 32-bit offsets bound every text, so its length fits.
    out.extend((bytes.len() as u32).to_be_bytes());
    out.extend(bytes);
}

/// The key of one row of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowKey {
    /// Its number in the set.
    Id(u32),
    /// Some part has no value.
    Absent,
    /// Some part is NaN (rule S14).
    Nan,
}

/// Distinct complete keys, numbered from 0 in order of first appearance.
///
/// Finding is expected constant time and compares whole encodings, so a hash collision never merges two keys. The hash
/// is seeded per process; numbers and answers do not depend on the seed (rule S26).
#[derive(Debug)]
pub struct KeySet {
    types: Vec<Type>,
    columns: Vec<ArrayRef>,
    bytes: Vec<u8>,
    ends: Vec<usize>,
    slots: Vec<u32>,
    hasher: KeyHasher,
}

/// A quick hash of keys under two secret numbers, so that nobody can choose keys that collide.
#[derive(Debug)]
struct KeyHasher([u64; 2]);

impl KeyHasher {
    fn new() -> Self {
        let secret = RandomState::new();
        // Odd, so that multiplying by them loses nothing.
        Self([secret.hash_one(0_u8) | 1, secret.hash_one(1_u8) | 1])
    }

    fn hash(&self, key: &[u8]) -> u64 {
        let fold = |a: u64, b: u64| {
            let product = u128::from(a) * u128::from(b);
            product as u64 ^ (product >> 64) as u64
        };
        let mut hash = self.0[0] ^ key.len() as u64;
        let (words, rest) = key.as_chunks::<8>();
        for word in words {
            hash = fold(hash ^ u64::from_le_bytes(*word), self.0[1]);
        }
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            hash = fold(hash ^ u64::from_le_bytes(last), self.0[1]);
        }
        fold(hash, self.0[0])
    }
}

const FREE: u32 = u32::MAX;

impl KeySet {
    /// The distinct keys in `columns` (the key's parts in order, `rows` rows each) and each row's number among them.
    pub fn collect(types: &[Type], columns: &[ArrayRef], rows: usize) -> Result<(Self, Vec<RowKey>), EngineError> {
        if rows >= FREE as usize {
            return Err(EngineError::TooMany { what: "rows", max: u64::from(FREE) - 1 });
        }
        let encoder = KeyEncoder::new(types, columns)?;
        let mut set = Self {
            types: types.to_vec(),
            columns: Vec::new(),
            bytes: Vec::new(),
            ends: Vec::new(),
            slots: vec![FREE; 16],
            hasher: KeyHasher::new(),
        };
        let mut row_keys = Vec::with_capacity(rows);
        let mut first_rows = Vec::new();
        let mut key = Vec::new();
        for row in 0..rows {
            key.clear();
            row_keys.push(match encoder.encode(row, &mut key) {
                Encoded::Complete => {
                    let (id, new) = set.insert(&key);
                    if new {
                        first_rows.push(row as u32);
                    }
                    RowKey::Id(id)
                }
                Encoded::Null => RowKey::Absent,
                Encoded::Nan => RowKey::Nan,
            });
        }
        let first_rows = UInt32Array::from(first_rows);
        set.columns =
            columns.iter().map(|column| arrow::compute::take(column, &first_rows, None)).collect::<Result<_, _>>()?;
        Ok((set, row_keys))
    }

    /// How many distinct keys.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Types of the key's parts.
    pub fn types(&self) -> &[Type] {
        &self.types
    }

    /// The distinct keys as columns, one per part; row `n` is key `n`.
    pub fn columns(&self) -> &[ArrayRef] {
        &self.columns
    }

    /// The encoding of key `id`.
    pub fn encoded(&self, id: u32) -> &[u8] {
        let id = id as usize;
        let start = if id == 0 { 0 } else { self.ends[id - 1] };
        &self.bytes[start..self.ends[id]]
    }

    /// The number of the key with this encoding.
    pub fn find(&self, key: &[u8]) -> Option<u32> {
        let id = self.slots[self.slot(key)];
        (id != FREE).then_some(id)
    }

    /// Where the key is, or the free slot where it would go.
    fn slot(&self, key: &[u8]) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = self.hasher.hash(key) as usize & mask;
        while self.slots[at] != FREE && self.encoded(self.slots[at]) != key {
            at = (at + 1) & mask;
        }
        at
    }

    fn insert(&mut self, key: &[u8]) -> (u32, bool) {
        let at = self.slot(key);
        if self.slots[at] != FREE {
            return (self.slots[at], false);
        }
        let id = self.ends.len() as u32;
        self.slots[at] = id;
        self.bytes.extend(key);
        self.ends.push(self.bytes.len());
        if self.ends.len() * 2 > self.slots.len() {
            self.slots = vec![FREE; self.slots.len() * 2];
            for id in 0..self.ends.len() as u32 {
                let at = self.slot(self.encoded(id));
                self.slots[at] = id;
            }
        }
        (id, true)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, Int64Array};
    use creta_model::Value;
    use proptest::prelude::*;

    use super::*;
    use crate::value::build_array;

    fn encode(types: &[Type], values: &[Value]) -> (Encoded, Vec<u8>) {
        let columns: Vec<ArrayRef> = types
            .iter()
            .zip(values)
            .map(|(ty, value)| build_array(ty, std::slice::from_ref(value)).expect("typed"))
            .collect();
        let mut bytes = Vec::new();
        let found = KeyEncoder::new(types, &columns).expect("key types").encode(0, &mut bytes);
        let mut of_values = Vec::new();
        let parts = types.iter().zip(values).map(|(ty, value)| encode_value(ty, value, &mut of_values).expect("typed"));
        let first = parts.collect::<Vec<_>>().into_iter().find(|part| *part != Encoded::Complete);
        assert_eq!(first.unwrap_or(Encoded::Complete), found, "values are encoded as columns are");
        assert!(found != Encoded::Complete || of_values == bytes);
        (found, bytes)
    }

    #[test]
    fn s14_minus_zero_is_zero_and_nan_is_refused_in_keys() {
        let keys: ArrayRef =
            Arc::new(Float64Array::from(vec![Some(0.0), Some(-0.0), Some(f64::NAN), None, Some(5e-324)]));
        let (set, rows) = KeySet::collect(&[Type::Float], &[keys], 5).expect("floats");
        assert_eq!(rows, [RowKey::Id(0), RowKey::Id(0), RowKey::Nan, RowKey::Absent, RowKey::Id(1)]);
        assert_eq!(set.len(), 2);
    }

    #[test]
    fn s19_a_refused_part_leaves_no_bytes_behind() {
        let types = [Type::Int, Type::Float];
        let (found, bytes) = encode(&types, &[Value::Int(7), Value::Float(f64::NAN)]);
        assert_eq!((found, bytes.len()), (Encoded::Nan, 0));
        let (found, bytes) = encode(&types, &[Value::Int(7), Value::Null]);
        assert_eq!((found, bytes.len()), (Encoded::Null, 0));
    }

    #[test]
    fn s20_a_key_column_of_another_type_is_an_error_and_not_a_miss() {
        let texts = build_array(&Type::Str, &[Value::Str("7".into())]).expect("text");
        assert!(KeySet::collect(&[Type::Int], &[texts], 1).is_err());
        let list = Type::List { item: Box::new(Type::Int), optional: false };
        let lists = build_array(&list, &[Value::List(vec![])]).expect("list");
        assert!(matches!(KeySet::collect(&[list], &[lists], 1), Err(EngineError::KeyType { .. })));
    }

    #[test]
    fn s19_a_thousand_keys_are_found_again_and_strangers_are_not() {
        let ints: ArrayRef = Arc::new(Int64Array::from_iter_values((0..3000).map(|row| row % 1000)));
        let (set, rows) = KeySet::collect(&[Type::Int], std::slice::from_ref(&ints), 3000).expect("ints");
        assert_eq!(set.len(), 1000);
        for (row, key) in rows.iter().enumerate() {
            assert_eq!(*key, RowKey::Id((row % 1000) as u32));
        }
        for id in 0..1000 {
            assert_eq!(set.find(set.encoded(id)), Some(id));
        }
        let (_, stranger) = encode(&[Type::Int], &[Value::Int(1000)]);
        assert_eq!(set.find(&stranger), None);
    }

    /// Values that look alike across types and when glued together.
    fn part() -> impl Strategy<Value = (Type, Value)> {
        prop_oneof![
            prop::sample::select(vec![
                "", "1", "12", "23", "3", "123", "\0", "1\0", "\u{3}", "1\u{3}2", "1\u{3}", "\u{3}2"
            ])
            .prop_map(|text| (Type::Str, Value::Str(text.into()))),
            prop::sample::select(vec!["", "1", "12", "3"]).prop_map(|text| (Type::Bytes, Value::Bytes(text.into()))),
            (-2i64..3).prop_map(|int| (Type::Int, Value::Int(int))),
            (-2i64..3).prop_map(|int| (Type::Timedelta, Value::Timedelta(int))),
            (-2i32..3).prop_map(|day| (Type::Date, Value::Date(day))),
            any::<bool>().prop_map(|bool| (Type::Bool, Value::Bool(bool))),
            prop::sample::select(vec![0.0, -0.0, 1.0, -1.0]).prop_map(|float| (Type::Float, Value::Float(float))),
            ((0u8..3), -2i128..3).prop_map(|(scale, digits)| (Type::Decimal { scale }, Value::Decimal(digits))),
        ]
    }

    proptest! {
        #[test]
        fn s19_encodings_are_equal_exactly_when_keys_are(
            a in prop::collection::vec(part(), 0..4), b in prop::collection::vec(part(), 0..4),
        ) {
            let encoded = |parts: &[(Type, Value)]| {
                let (types, values): (Vec<Type>, Vec<Value>) = parts.iter().cloned().unzip();
                encode(&types, &values)
            };
            prop_assert_eq!(encoded(&a).0, Encoded::Complete);
            // `Value` compares floats by value, so -0 is 0 here too.
            prop_assert_eq!(encoded(&a).1 == encoded(&b).1, a == b);
        }
    }
}
