//! Where training sets of a tenant may go: folders that it named, and that whoever runs the environment put into the
//! configuration at its word.

use std::fs::File;
use std::path::PathBuf;

use arrow::array::RecordBatch;
use creta_engine::{ParquetForm, ParquetWriter};
use creta_model::{Problem, Scope, TenantId};
use serde::{Deserialize, Serialize};

use crate::problem::logged;

/// A place that a tenant named for its training sets: storage of its production, mounted where the server runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SinkConfig {
    /// What the tenant calls it.
    pub name: String,
    /// Whose it is. Nobody else's data goes there.
    pub tenant: TenantId,
    /// The folder, with its whole path. It has to be there.
    pub folder: PathBuf,
}

impl SinkConfig {
    pub(crate) fn check(&self) -> Result<(), String> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if self.name.is_empty() || self.name.len() > 40 || !self.name.bytes().all(plain) {
            return Err(format!(
                "`{}` cannot be the name of a sink: 1 to 40 lowercase letters, digits and `-`",
                self.name
            ));
        }
        if !self.folder.is_absolute() {
            return Err(format!("sink `{}` has to be named with its whole path", self.name));
        }
        Ok(())
    }
}

/// The sinks of all tenants.
pub(crate) struct Sinks(Vec<SinkConfig>);

/// A file that was written to a sink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Written {
    pub(crate) sink: String,
    pub(crate) file: String,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

impl Sinks {
    pub(crate) fn new(sinks: &[SinkConfig]) -> Self {
        Self(sinks.to_vec())
    }

    /// A sink of the scope's own tenant. Another tenant's is not found.
    fn require(&self, scope: &Scope, name: &str) -> Result<&SinkConfig, Problem> {
        let own = self.0.iter().find(|sink| sink.tenant == scope.tenant && sink.name == name);
        own.ok_or_else(|| {
            Problem::new("not-found/sink", "your tenant has no sink of this name")
                .with_help("ask whoever runs the environment to add it to `[[sinks]]` of `config.toml`")
        })
    }

    /// A Parquet file under a name of its own, which is there wholly once it is kept, and not at all before.
    pub(crate) fn create(&self, scope: &Scope, name: &str) -> Result<SinkFile, Problem> {
        let sink = self.require(scope, name)?.clone();
        let file = format!("training-set-{}.parquet", crate::http::request_id());
        let temporary = tempfile::NamedTempFile::new_in(&sink.folder).map_err(|error| failed(&error))?;
        Ok(SinkFile { sink, file, temporary, writer: None })
    }
}

/// A file on its way into a sink.
pub(crate) struct SinkFile {
    sink: SinkConfig,
    file: String,
    temporary: tempfile::NamedTempFile,
    writer: Option<ParquetWriter<File>>,
}

fn failed(error: &std::io::Error) -> Problem {
    logged("a training set could not be written to a sink", error)
}

impl SinkFile {
    /// Adds rows; all batches have one schema.
    pub(crate) fn write(&mut self, batch: RecordBatch) -> Result<(), Problem> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            None => {
                let (schema, file) = (batch.schema(), self.temporary.as_file().try_clone());
                let threads = std::thread::available_parallelism().map_or(1, usize::from);
                let file = file.map_err(|error| failed(&error))?;
                self.writer.insert(ParquetWriter::new(file, &schema, ParquetForm::of(&schema), threads))
            }
        };
        writer.write(batch).map_err(|error| failed(&std::io::Error::other(error)))
    }

    /// Puts the file where it belongs. At least one batch was written, perhaps without rows.
    pub(crate) fn keep(self) -> Result<Written, Problem> {
        let rows = self.writer.expect("a batch was written").finish();
        let rows = rows.map_err(|error| failed(&std::io::Error::other(error)))?;
        self.temporary.as_file().sync_all().map_err(|error| failed(&error))?;
        let bytes = self.temporary.as_file().metadata().map_err(|error| failed(&error))?.len();
        let path = self.sink.folder.join(&self.file);
        self.temporary.persist_noclobber(path).map_err(|error| failed(&error.error))?;
        Ok(Written { sink: self.sink.name, file: self.file, rows, bytes })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array};

    use super::*;

    fn sink(name: &str, tenant: &str, folder: &str) -> SinkConfig {
        SinkConfig { name: name.into(), tenant: TenantId::parse(tenant).expect("valid"), folder: folder.into() }
    }

    #[test]
    fn attack_ch14_a_sink_is_a_place_of_the_tenant_s_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().to_str().expect("text");
        let sinks = Sinks::new(&[sink("lake", "acme", path)]);
        let scope = |tenant| Scope::parse(tenant, "prod").expect("valid");
        let rows: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
        let rows = [RecordBatch::try_from_iter([("id", rows)]).expect("a table")];
        let mut given_up = sinks.create(&scope("acme"), "lake").expect("begun");
        given_up.write(rows[0].clone()).expect("written");
        drop(given_up);
        let mut begun = sinks.create(&scope("acme"), "lake").expect("begun");
        begun.write(rows[0].slice(0, 2)).expect("written");
        begun.write(rows[0].slice(2, 1)).expect("written");
        let written = begun.keep().expect("kept");
        let file = std::fs::File::open(folder.path().join(&written.file)).expect("there");
        assert_eq!((written.rows, file.metadata().expect("a file").len()), (3, written.bytes));
        assert_eq!(creta_engine::read_parquet(file).expect("a Parquet file"), rows);
        for (tenant, name) in [("beta", "lake"), ("acme", "pond"), ("acme", "../lake"), ("acme", "")] {
            let refused = sinks.create(&scope(tenant), name).err().expect(name);
            assert_eq!(refused.code, "not-found/sink");
        }
        assert_eq!(std::fs::read_dir(folder.path()).expect("there").count(), 1);
    }

    #[test]
    fn a_sink_has_a_plain_name_and_a_whole_path() {
        assert_eq!(sink("lake-2", "acme", "/srv/lake").check(), Ok(()));
        for (name, folder) in [("", "/srv"), ("a/b", "/srv"), ("..", "/srv"), ("lake", "srv"), ("Lake", "/srv")] {
            assert!(sink(name, "acme", folder).check().is_err(), "{name} {folder}");
        }
    }
}
