//! Where training sets of a tenant may go: folders that it named, and that whoever runs the environment put into the
//! configuration at its word.

use std::io::Write as _;
use std::path::PathBuf;

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

    /// Writes an Arrow stream under a name of its own. It is there wholly or not at all.
    pub(crate) fn write(&self, scope: &Scope, name: &str, rows: u64, stream: &[u8]) -> Result<Written, Problem> {
        let sink = self.require(scope, name)?;
        let failed = |error: &std::io::Error| logged("a training set could not be written to a sink", error);
        let file = format!("training-set-{}.arrows", crate::http::request_id());
        let mut temporary = tempfile::NamedTempFile::new_in(&sink.folder).map_err(|error| failed(&error))?;
        temporary.write_all(stream).and_then(|()| temporary.as_file().sync_all()).map_err(|error| failed(&error))?;
        temporary.persist_noclobber(sink.folder.join(&file)).map_err(|error| failed(&error.error))?;
        Ok(Written { sink: sink.name.clone(), file, rows, bytes: stream.len() as u64 })
    }
}

#[cfg(test)]
mod tests {
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
        let written = sinks.write(&scope("acme"), "lake", 1, b"rows").expect("written");
        assert_eq!(std::fs::read(folder.path().join(&written.file)).expect("there"), b"rows");
        for (tenant, name) in [("beta", "lake"), ("acme", "pond"), ("acme", "../lake"), ("acme", "")] {
            let refused = sinks.write(&scope(tenant), name, 1, b"rows").expect_err(name);
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
