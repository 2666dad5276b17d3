//! `creta synth`: made-up facts by a project's definitions, as files.

use std::fs::File;
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::csv::WriterBuilder;
use arrow::ipc::writer::FileWriter;
use creta_model::Name;
use creta_registry::Registry;
use creta_synth::Options;
use parquet::arrow::ArrowWriter;

use super::project::export;
use crate::args::{Synth, TableFormat};
use crate::failure::Failure;
use crate::terminal::{Align, Terminal, counted, grouped, table};

pub(crate) fn run(synth: &Synth, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let options = options(synth)?;
    let bundle = export(&synth.project.folder, synth.project.python.as_deref(), terminal)?;
    let registry = Registry::apply(None, bundle).map_err(Failure::project)?.registry;
    let tables = creta_engine::synthesise(&registry, &options)?;
    std::fs::create_dir_all(&synth.out).map_err(|error| Failure::file("make", &synth.out, &error))?;
    let mut written = Vec::new();
    for (entity, batch) in &tables {
        let file = synth.out.join(format!("{entity}.{}", synth.format.extension()));
        write(&file, synth.format, batch)?;
        written.push((entity, file, batch.num_rows() as u64));
    }
    let shown: Vec<_> = written
        .iter()
        .map(|(entity, file, rows)| serde_json::json!({ "entity": entity, "file": file, "rows": rows }))
        .collect();
    terminal.show(&shown, || {
        let rows = |(entity, file, rows): &(&Name, std::path::PathBuf, u64)| {
            vec![entity.to_string(), grouped(*rows), file.display().to_string()]
        };
        let lines: Vec<_> = written.iter().map(rows).collect();
        let shown = table(&[("entity", Align::Left), ("rows", Align::Right), ("file", Align::Left)], &lines);
        format!("{shown}\n{} of made-up facts, seed {}", counted(written.len() as u64, "file", "files"), synth.seed)
    });
    Ok(())
}

/// `--rows 100 --rows User=10`: a number for all, and numbers for some.
fn options(synth: &Synth) -> Result<Options, Failure> {
    let plain = Options::default();
    let mut options = Options {
        seed: synth.seed,
        nulls: synth.nulls,
        from: synth.from.unwrap_or(plain.from),
        to: synth.to.unwrap_or(plain.to),
        ..plain
    };
    let bad = || {
        let message = "a number of rows is not one";
        Failure::usage("synth/rows", message, "write `--rows 1000`, and `--rows User=50` for a single entity")
    };
    for text in &synth.rows {
        match text.split_once('=') {
            None => options.rows = text.parse().map_err(|_| bad())?,
            Some((entity, rows)) => {
                let entity = Name::parse(entity).map_err(|_| bad())?;
                options.of_entity.insert(entity, rows.parse().map_err(|_| bad())?);
            }
        }
    }
    Ok(options)
}

fn write(file: &Path, format: TableFormat, batch: &RecordBatch) -> Result<(), Failure> {
    let failed =
        |error: &dyn std::fmt::Display| Failure::file("write", file, &std::io::Error::other(error.to_string()));
    let out = File::create(file).map_err(|error| Failure::file("write", file, &error))?;
    match format {
        TableFormat::Parquet => {
            let mut writer = ArrowWriter::try_new(out, batch.schema(), None).map_err(|e| failed(&e))?;
            writer.write(batch).map_err(|e| failed(&e))?;
            writer.close().map(drop).map_err(|e| failed(&e))
        }
        TableFormat::Arrow => {
            let mut writer = FileWriter::try_new(out, batch.schema_ref()).map_err(|e| failed(&e))?;
            writer.write(batch).map_err(|e| failed(&e))?;
            writer.finish().map_err(|e| failed(&e))
        }
        TableFormat::Csv => {
            let odd = |field: &&std::sync::Arc<arrow::datatypes::Field>| {
                field.data_type().is_nested() || matches!(field.data_type(), arrow::datatypes::DataType::Binary)
            };
            if let Some(field) = batch.schema_ref().fields().iter().find(odd) {
                let message = format!("`{}` holds values that CSV has no form for", field.name());
                return Err(Failure::usage("synth/csv", message, "write `--format parquet`"));
            }
            let mut writer = WriterBuilder::new().with_header(true).build(out);
            writer.write(batch).map_err(|e| failed(&e))
        }
    }
}
