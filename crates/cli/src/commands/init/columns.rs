//! The columns of a Parquet file as Creta would type them.

use std::path::Path;

use arrow::datatypes::{DataType, Schema, TimeUnit};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};

use crate::failure::Failure;

/// A column that can be a feature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    /// In the file.
    pub(super) name: String,
    /// As a Python developer writes the type.
    pub(super) python: String,
    /// Whether the type may be part of a key.
    pub(super) is_key_type: bool,
    /// Whether it holds a time, and if so whether it says its zone.
    pub(super) time: Option<Zone>,
    /// Whether it may hold nulls, by the file's own statistics.
    pub(super) optional: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Zone {
    Given,
    Missing,
}

impl Column {
    pub(super) fn is_number(&self) -> bool {
        self.python == "int" || self.python == "float"
    }
}

/// Columns that can be features, and the others with the reason.
pub(super) struct Columns {
    pub(super) usable: Vec<Column>,
    pub(super) left_out: Vec<(String, String)>,
    pub(super) rows: i64,
}

/// Reads the file's footer; no rows.
pub(super) fn read(file: &Path) -> Result<Columns, Failure> {
    let opened = std::fs::File::open(file).map_err(|error| Failure::file("read", file, &error))?;
    let metadata = ArrowReaderMetadata::load(&opened, ArrowReaderOptions::default()).map_err(|error| {
        let message = format!("`{}` is not a Parquet file that can be read: {error}", file.display());
        Failure::usage("project/not-parquet", message, "name a Parquet file")
    })?;
    let mut columns = describe(metadata.schema());
    columns.rows = metadata.metadata().file_metadata().num_rows();
    for column in &mut columns.usable {
        column.optional = may_hold_nulls(metadata.metadata(), &column.name);
    }
    Ok(columns)
}

fn describe(schema: &Schema) -> Columns {
    let mut columns = Columns { usable: Vec::new(), left_out: Vec::new(), rows: 0 };
    for field in schema.fields() {
        match python_type(field.data_type()) {
            Some((python, is_key_type)) => columns.usable.push(Column {
                name: field.name().clone(),
                python,
                is_key_type,
                time: match field.data_type() {
                    DataType::Timestamp(_, zone) => Some(zone.as_ref().map_or(Zone::Missing, |_| Zone::Given)),
                    _ => None,
                },
                optional: field.is_nullable(),
            }),
            None => columns.left_out.push((field.name().clone(), format!("no feature has type {}", field.data_type()))),
        }
    }
    columns
}

/// The type's Python form, and whether it may be part of a key.
fn python_type(ty: &DataType) -> Option<(String, bool)> {
    let plain = |name: &str, is_key_type| Some((name.to_owned(), is_key_type));
    match ty {
        DataType::Boolean => plain("bool", true),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => plain("int", true),
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => plain("int", true),
        DataType::Float16 | DataType::Float32 | DataType::Float64 => plain("float", false),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => plain("str", true),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => plain("bytes", true),
        DataType::Date32 => plain("date", true),
        DataType::Timestamp(_, _) => plain("datetime", true),
        DataType::Duration(TimeUnit::Microsecond | TimeUnit::Millisecond | TimeUnit::Second) => {
            plain("timedelta", false)
        }
        DataType::Decimal128(_, scale) if *scale >= 0 => Some((format!("Annotated[Decimal, Scale({scale})]"), false)),
        DataType::Dictionary(_, values) if values.as_ref() == &DataType::Utf8 => plain("str", true),
        _ => None,
    }
}

/// Whether the statistics of every row group say that there is no null; without statistics there may be.
fn may_hold_nulls(metadata: &parquet::file::metadata::ParquetMetaData, name: &str) -> bool {
    metadata.row_groups().iter().any(|group| {
        let column = group.columns().iter().find(|column| column.column_path().parts() == [name]);
        let nulls = column.and_then(|column| column.statistics()).and_then(|statistics| statistics.null_count_opt());
        nulls != Some(0)
    })
}
