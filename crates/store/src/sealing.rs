//! Sealing of single values, and what the errors of the layers below mean here.

use creta_keys::{KeyError, ScopeKey, SealContext};
use creta_platform::FileError;

use crate::StoreError;

/// Seals the values of one store for their places in it.
pub(crate) struct Sealer {
    key: ScopeKey,
    store: &'static str,
}

impl Sealer {
    pub(crate) fn new(key: ScopeKey, store: &'static str) -> Self {
        Self { key, store }
    }

    /// Seals one version of the value at `path`.
    pub(crate) fn seal(&self, path: &str, version: u64, bytes: &[u8]) -> Vec<u8> {
        self.key.seal(&self.context(path, version), bytes)
    }

    /// Opens what was sealed for this path and version; anything else is [`StoreError::Foreign`] or
    /// [`StoreError::Tampered`].
    pub(crate) fn open(&self, path: &str, version: u64, sealed: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.key.open(&self.context(path, version), sealed).map_err(|error| sealed_failed(self.store, error))
    }

    pub(crate) fn mac(&self, domain: &str, parts: &[&[u8]]) -> [u8; 32] {
        self.key.mac(domain, parts)
    }

    fn context(&self, path: &str, version: u64) -> SealContext {
        SealContext { store: self.store, path: path.to_owned(), version }
    }
}

/// What a failure of sealed bytes means for `store`.
pub(crate) fn sealed_failed(store: &str, error: KeyError) -> StoreError {
    let name = store.to_owned();
    let tampered = |reason: &str| StoreError::Tampered { store: store.to_owned(), reason: reason.to_owned() };
    match error {
        KeyError::File(error) => files_failed(store, error),
        KeyError::Foreign { .. } => StoreError::Foreign { store: name },
        KeyError::Truncated { .. } => tampered("it is cut short"),
        KeyError::Record { record, .. } => tampered(&format!("its record {record} was changed or belongs elsewhere")),
        KeyError::OtherVersion { .. } => tampered("an older or newer copy was put in its place"),
        KeyError::UnknownFormat { format, .. } => {
            StoreError::Format { store: name, format: format!("sealed/{format}") }
        }
        KeyError::TooLarge { bytes, .. } => {
            StoreError::TooLarge { store: name, bytes: bytes as u64, bytes_max: u64::from(u32::MAX) }
        }
        KeyError::Poisoned { .. } => StoreError::Stopped { store: name },
        source => StoreError::Keys { store: name, source },
    }
}

/// What a failure of files means for `store`.
pub(crate) fn files_failed(store: &str, error: FileError) -> StoreError {
    let store = store.to_owned();
    match error {
        FileError::Full { .. } => StoreError::Full { store },
        FileError::NotFound { path } => StoreError::Tampered { store, reason: format!("the file `{path}` is missing") },
        source => StoreError::Files { store, source },
    }
}
