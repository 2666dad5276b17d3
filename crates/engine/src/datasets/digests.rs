//! Digests of cells: the same for the same values, whatever holds them and however they are cut into batches.

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeBinaryArray, FixedSizeListArray, GenericListArray, OffsetSizeTrait, StructArray,
    downcast_primitive_array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, ToByteSlice as _};
use creta_audit::Hash;
use creta_model::Problem;

/// Cells that are hashed at once. Part of the format: another number gives other digests.
const CHUNK: usize = 1 << 12;

/// The digest of a column that comes in pieces.
pub(super) struct ColumnDigest {
    so_far: Hash,
    cells: usize,
    waiting: Vec<u8>,
}

impl ColumnDigest {
    /// Begins with the column's name and type.
    pub(super) fn new(field: &Field) -> Self {
        let ty = field.data_type().to_string();
        let so_far =
            Hash::of(&[b"creta.dataset/1 column", &length(field.name().len()), field.name().as_bytes(), ty.as_bytes()]);
        Self { so_far, cells: 0, waiting: Vec::new() }
    }

    /// Adds cells. Time and memory O(their bytes).
    pub(super) fn add(&mut self, cells: &ArrayRef) -> Result<(), Problem> {
        let mut from = 0;
        while from < cells.len() {
            let len = (CHUNK - self.cells).min(cells.len() - from);
            encode(&cells.slice(from, len), &mut self.waiting)?;
            (self.cells, from) = (self.cells + len, from + len);
            if self.cells == CHUNK {
                self.take();
            }
        }
        Ok(())
    }

    fn take(&mut self) {
        self.so_far = Hash::of(&[self.so_far.as_bytes(), &self.waiting]);
        self.waiting.clear();
        self.cells = 0;
    }

    /// In hexadecimal digits.
    pub(super) fn finish(mut self) -> String {
        self.take();
        self.so_far.to_string()
    }
}

/// The digest of columns, by theirs.
pub(super) fn of_columns<'a>(columns: impl IntoIterator<Item = &'a str>) -> String {
    let digests: Vec<&[u8]> = columns.into_iter().map(str::as_bytes).collect();
    Hash::of(&[&[b"creta.dataset/1".as_slice()], digests.as_slice()].concat()).to_string()
}

fn length(len: usize) -> [u8; 8] {
    (len as u64).to_le_bytes()
}

/// Adds to `out`, for each cell, whether it has a value, and the value so that no two ways of cutting bytes agree.
fn encode(cells: &ArrayRef, out: &mut Vec<u8>) -> Result<(), Problem> {
    macro_rules! each {
        ($array:expr, |$array_name:ident, $row:ident| $add:expr) => {{
            let $array_name = $array;
            for $row in 0..$array_name.len() {
                out.push(u8::from($array_name.is_valid($row)));
                if $array_name.is_valid($row) {
                    $add;
                }
            }
        }};
    }
    macro_rules! bytes {
        ($array:expr) => {
            each!($array, |array, row| {
                let bytes: &[u8] = array.value(row).as_ref();
                out.extend(length(bytes.len()));
                out.extend(bytes);
            })
        };
    }
    downcast_primitive_array!(
        cells => each!(cells, |array, row| out.extend(array.value(row).to_byte_slice())),
        DataType::Null => out.extend(std::iter::repeat_n(0, cells.len())),
        DataType::Boolean => each!(cells.as_boolean(), |array, row| out.push(u8::from(array.value(row)))),
        DataType::Utf8 => bytes!(cells.as_string::<i32>()),
        DataType::LargeUtf8 => bytes!(cells.as_string::<i64>()),
        DataType::Utf8View => bytes!(cells.as_string_view()),
        DataType::Binary => bytes!(cells.as_binary::<i32>()),
        DataType::LargeBinary => bytes!(cells.as_binary::<i64>()),
        DataType::BinaryView => bytes!(cells.as_binary_view()),
        DataType::FixedSizeBinary(_) => bytes!(cells.as_any().downcast_ref::<FixedSizeBinaryArray>().expect("of this type")),
        DataType::List(_) => lists(cells.as_list::<i32>(), out)?,
        DataType::LargeList(_) => lists(cells.as_list::<i64>(), out)?,
        DataType::FixedSizeList(_, _) => fixed_lists(cells.as_fixed_size_list(), out)?,
        DataType::Struct(_) => structs(cells.as_struct(), out)?,
        DataType::Dictionary(_, values) => {
            let plain = cast(cells, values).map_err(|_| unreadable(cells.data_type()))?;
            encode(&plain, out)?;
        }
        other => return Err(unreadable(other)),
    );
    Ok(())
}

fn unreadable(ty: &DataType) -> Problem {
    let kind: String = ty.to_string().chars().take_while(char::is_ascii_alphanumeric).collect();
    Problem::new("dataset/column-type", format!("a column of type `{kind}` cannot be kept in a dataset"))
        .with_help("cast it to a plain type, or leave it out of the spine")
}

fn lists<O: OffsetSizeTrait>(lists: &GenericListArray<O>, out: &mut Vec<u8>) -> Result<(), Problem> {
    for row in 0..lists.len() {
        out.push(u8::from(lists.is_valid(row)));
        if lists.is_valid(row) {
            out.extend(length(lists.value_length(row).as_usize()));
            encode(&lists.value(row), out)?;
        }
    }
    Ok(())
}

fn fixed_lists(lists: &FixedSizeListArray, out: &mut Vec<u8>) -> Result<(), Problem> {
    for row in 0..lists.len() {
        out.push(u8::from(lists.is_valid(row)));
        if lists.is_valid(row) {
            encode(&lists.value(row), out)?;
        }
    }
    Ok(())
}

fn structs(structs: &StructArray, out: &mut Vec<u8>) -> Result<(), Problem> {
    for row in 0..structs.len() {
        out.push(u8::from(structs.is_valid(row)));
        if structs.is_valid(row) {
            structs.columns().iter().try_for_each(|member| encode(&member.slice(row, 1), out))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{DictionaryArray, Float64Array, Int32Array, Int64Array, ListArray, StringArray, UnionArray};
    use arrow::buffer::{NullBuffer, ScalarBuffer};
    use arrow::datatypes::{Int32Type, Int64Type, UnionFields};
    use proptest::prelude::*;

    use super::*;

    fn of(name: &str, pieces: &[ArrayRef]) -> String {
        let mut digest = ColumnDigest::new(&Field::new(name, pieces[0].data_type().clone(), true));
        pieces.iter().for_each(|piece| digest.add(piece).expect("a plain type"));
        digest.finish()
    }

    fn texts(texts: &[Option<&str>]) -> ArrayRef {
        Arc::new(StringArray::from(texts.to_vec()))
    }

    #[test]
    fn digests_follow_values_and_nothing_that_lies_below_a_null() {
        let with = |below: i64| -> ArrayRef {
            let nulls = NullBuffer::from(vec![true, false, true]);
            Arc::new(Int64Array::new(ScalarBuffer::from(vec![1, below, 3]), Some(nulls)))
        };
        assert_eq!(of("x", &[with(7)]), of("x", &[with(8)]), "what lies below a null is no value");
        assert_ne!(of("x", &[with(7)]), of("y", &[with(7)]), "the name belongs to it");
        let floats = |bits: u64| -> ArrayRef { Arc::new(Float64Array::from(vec![f64::from_bits(bits)])) };
        assert_ne!(of("x", &[floats(0)]), of("x", &[floats(1 << 63)]), "-0 is another value than 0");
        assert_ne!(of("x", &[texts(&[Some("ab"), Some("c")])]), of("x", &[texts(&[Some("a"), Some("bc")])]));
        assert_ne!(of("x", &[texts(&[Some("")])]), of("x", &[texts(&[None])]));
        let lists = |lists: Vec<Option<Vec<Option<i64>>>>| -> ArrayRef {
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists))
        };
        let (one, other) = (vec![Some(vec![Some(1)]), Some(vec![])], vec![Some(vec![]), Some(vec![Some(1)])]);
        assert_ne!(of("x", &[lists(one)]), of("x", &[lists(other)]));
        let keys = |keys: Vec<i32>, values: &[Option<&str>]| -> ArrayRef {
            Arc::new(DictionaryArray::<Int32Type>::new(Int32Array::from(keys), texts(values)))
        };
        let same = (keys(vec![0, 1], &[Some("a"), Some("b")]), keys(vec![1, 0], &[Some("b"), Some("a")]));
        assert_eq!(of("x", &[same.0]), of("x", &[same.1]), "which number a word has in a dictionary is no value");
    }

    #[test]
    fn a_type_without_a_digest_is_refused() {
        let fields = UnionFields::from_fields([Field::new("a", DataType::Int64, true)]);
        let union =
            UnionArray::try_new(fields, vec![0_i8].into(), None, vec![Arc::new(Int64Array::from(vec![1])) as _]);
        let union: ArrayRef = Arc::new(union.expect("a union"));
        let refused = ColumnDigest::new(&Field::new("x", union.data_type().clone(), true)).add(&union);
        assert_eq!(refused.expect_err("no digest").code, "dataset/column-type");
    }

    proptest! {
        #[test]
        fn digests_do_not_depend_on_how_a_column_is_cut(
            values in prop::collection::vec(prop::option::of(any::<i64>()), 1..9_000), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        ) {
            let whole: ArrayRef = Arc::new(values.iter().copied().collect::<Int64Array>());
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(values.len())).chain([0, values.len()]).collect();
            at.sort_unstable();
            let pieces: Vec<ArrayRef> = at.windows(2).map(|pair| whole.slice(pair[0], pair[1] - pair[0])).collect();
            prop_assert_eq!(of("x", &[Arc::clone(&whole)]), of("x", &pieces));
            let mut other = values.clone();
            let last = other.len() - 1;
            other[last] = Some(other[last].map_or(0, |value| value.wrapping_add(1)));
            let other: ArrayRef = Arc::new(other.into_iter().collect::<Int64Array>());
            prop_assert_ne!(of("x", &[whole]), of("x", &[other]));
        }
    }
}
