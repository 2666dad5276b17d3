//! Tables that are written once and never change: training sets that were given a name.

use std::collections::BTreeSet;
use std::sync::Arc;

use creta_keys::{KeyError, ScopeKey, SealedFiles};
use creta_platform::{FileError, Platform, Random};
use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::sealing::sealed_failed;

/// Sealed tables of one scope. A table is a folder of parts under a random name; the bytes of a part are the caller's.
///
/// Nothing here says which tables count: that is what the metadata name. A table that they do not name is what a crash left
/// behind, and [`TableStore::keep_only`] removes it.
pub struct TableStore {
    files: SealedFiles,
    key: ScopeKey,
    random: Arc<dyn Random>,
    prefix: String,
}

/// What has to be known of a part to read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TablePart {
    /// Length of its plain bytes.
    pub bytes: u64,
    /// Keyed hash of them, in hexadecimal digits.
    pub digest: String,
}

impl TableStore {
    /// The tables below `prefix`. Does no I/O.
    pub fn new(platform: &Platform, key: ScopeKey, prefix: &str) -> Self {
        Self {
            files: SealedFiles::new(Arc::clone(&platform.files), key.clone(), "tables"),
            key,
            random: Arc::clone(&platform.random),
            prefix: format!("{prefix}/"),
        }
    }

    /// A name for a new table, which says nothing of what it holds.
    pub fn new_id(&self) -> String {
        let mut id = [0; 16];
        self.random.fill(&mut id);
        hex::encode(id)
    }

    /// Writes part `number` of a table, durably. A part is written once.
    pub fn write(&self, table: &str, number: usize, bytes: &[u8]) -> Result<TablePart, StoreError> {
        let path = self.path(table, number);
        self.files.create(&path, bytes).map_err(|error| sealed_failed(&path, error))?;
        Ok(TablePart { bytes: bytes.len() as u64, digest: self.digest(table, number, bytes) })
    }

    /// The bytes of a part, which must be those that `part` was told of; [`StoreError::Tampered`] otherwise.
    pub fn read(&self, table: &str, number: usize, part: &TablePart) -> Result<Vec<u8>, StoreError> {
        let path = self.path(table, number);
        let tampered = |reason: &str| StoreError::Tampered { store: path.clone(), reason: reason.to_owned() };
        let bytes = self.files.read(&path).map_err(|error| match error {
            KeyError::Foreign { .. } => tampered("it was changed, or belongs to another place"),
            other => sealed_failed(&path, other),
        })?;
        if self.digest(table, number, &bytes) == part.digest {
            Ok(bytes)
        } else {
            Err(tampered("it is not the part that was written"))
        }
    }

    /// Files of a table, each with its length, for whoever copies them as they lie on the disk.
    pub fn sealed_files(&self, table: &str) -> Result<Vec<String>, StoreError> {
        let within = format!("{}{table}/", self.prefix);
        self.files.list(&within).map_err(|error| sealed_failed(&within, error))
    }

    /// Removes a table, if it is there. A failure may leave some of its parts, which calling again removes.
    pub fn delete(&self, table: &str) -> Result<(), StoreError> {
        for path in self.sealed_files(table)? {
            match self.files.delete(&path) {
                Ok(()) | Err(KeyError::File(FileError::NotFound { .. })) => {}
                Err(error) => return Err(sealed_failed(&path, error)),
            }
        }
        Ok(())
    }

    /// Removes every table that `known` does not name.
    pub fn keep_only(&self, known: &BTreeSet<String>) -> Result<(), StoreError> {
        let paths = self.files.list(&self.prefix).map_err(|error| sealed_failed(&self.prefix, error))?;
        let table = |path: &String| Some(path.strip_prefix(&self.prefix)?.split_once('/')?.0.to_owned());
        let there: BTreeSet<String> = paths.iter().filter_map(table).collect();
        there.difference(known).try_for_each(|table| self.delete(table))
    }

    fn path(&self, table: &str, number: usize) -> String {
        format!("{}{table}/{number:06}", self.prefix)
    }

    fn digest(&self, table: &str, number: usize, bytes: &[u8]) -> String {
        hex::encode(self.key.mac("table part", &[table.as_bytes(), &number.to_be_bytes(), bytes]))
    }
}

#[cfg(test)]
mod tests {
    use creta_keys::{KeyRing, RootKey};
    use creta_model::{Environment, Scope};

    use super::*;

    struct Vault {
        platform: Platform,
        ring: KeyRing,
    }

    impl Vault {
        fn new() -> Self {
            let platform = Platform::in_memory();
            let dev = Environment::parse("dev").expect("valid");
            let root = RootKey::generate(&dev, &*platform.random);
            let ring = KeyRing::open(root, dev, platform.clone()).expect("opens");
            Self { platform, ring }
        }

        fn tables(&self, tenant: &str, prefix: &str) -> TableStore {
            let scope = Scope::parse(tenant, "dev").expect("valid");
            TableStore::new(&self.platform, self.ring.scope_or_create(&scope).expect("a key"), prefix)
        }
    }

    #[test]
    fn parts_are_read_as_they_were_written_until_the_table_is_deleted() {
        let vault = Vault::new();
        let tables = vault.tables("acme", "acme/tables");
        let id = tables.new_id();
        assert_ne!(id, tables.new_id());
        let parts = [&b"first"[..], b"", b"third"].map(Vec::from);
        let written: Vec<TablePart> = parts
            .iter()
            .enumerate()
            .map(|(number, bytes)| tables.write(&id, number, bytes).expect("written"))
            .collect();
        for (number, (bytes, part)) in parts.iter().zip(&written).enumerate() {
            assert_eq!(tables.read(&id, number, part).expect("there"), *bytes);
        }
        assert!(tables.write(&id, 1, b"again").is_err(), "a part is written once");
        assert_eq!(tables.sealed_files(&id).expect("listed").len(), 3);
        tables.delete(&id).expect("deleted");
        tables.delete(&id).expect("it is gone already");
        assert!(matches!(tables.read(&id, 0, &written[0]), Err(StoreError::Tampered { .. })));
    }

    #[test]
    fn tables_that_nobody_names_are_removed_and_no_others() {
        let vault = Vault::new();
        let tables = vault.tables("acme", "acme/tables");
        let (kept, left) = (tables.new_id(), tables.new_id());
        let part = tables.write(&kept, 0, b"kept").expect("written");
        tables.write(&left, 0, b"left").expect("written");
        tables.keep_only(&BTreeSet::from([kept.clone()])).expect("removed");
        assert_eq!(tables.read(&kept, 0, &part).expect("there"), b"kept");
        assert!(tables.sealed_files(&left).expect("listed").is_empty());
    }

    #[test]
    fn attack_ch20_parts_do_not_open_elsewhere_and_cannot_be_exchanged() {
        let vault = Vault::new();
        let own = vault.tables("acme", "acme/tables");
        let others = vault.tables("beta", "beta/tables");
        let id = own.new_id();
        let (first, second) =
            (own.write(&id, 0, b"ours").expect("written"), own.write(&id, 1, b"too").expect("written"));
        let files = &vault.platform.files;
        let bytes = files.read(&format!("acme/tables/{id}/000000")).expect("there");
        assert!(!bytes.windows(4).any(|window| window == b"ours"), "it is sealed");
        // In another tenant's folder, in the place of another part, or of another table.
        files.create(&format!("beta/tables/{id}/000000"), &bytes).expect("copied");
        assert!(others.read(&id, 0, &first).is_err());
        files.replace(&format!("acme/tables/{id}/000001"), &bytes).expect("copied");
        assert!(matches!(own.read(&id, 1, &second), Err(StoreError::Tampered { .. })));
        // A part of the right place whose bytes are others.
        let changed = own.files.replace(&format!("acme/tables/{id}/000000"), b"ourz").expect("sealed with the key");
        assert_eq!(changed, 2);
        assert!(matches!(own.read(&id, 0, &first), Err(StoreError::Tampered { .. })));
    }
}
