//! Documents that live and die with the process.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use super::{Document, MetadataStore, check_expected};
use crate::StoreError;

/// Documents in memory, for the embedded engine and for tests.
#[derive(Default)]
pub struct MemoryMetadata {
    documents: Mutex<BTreeMap<(String, String), Entry>>,
}

/// A deleted document leaves its version behind, so that no version is used twice.
struct Entry {
    version: u64,
    body: Option<Vec<u8>>,
}

impl MemoryMetadata {
    /// No documents.
    pub fn new() -> Self {
        Self::default()
    }

    fn documents(&self) -> MutexGuard<'_, BTreeMap<(String, String), Entry>> {
        self.documents.lock().expect("no code panics while it holds the documents")
    }
}

fn document((kind, id): &(String, String), entry: &Entry) -> Option<Document> {
    let body = entry.body.clone()?;
    Some(Document { kind: kind.clone(), id: id.clone(), version: entry.version, body })
}

impl MetadataStore for MemoryMetadata {
    fn read(&self, kind: &str, id: &str) -> Result<Option<Document>, StoreError> {
        let documents = self.documents();
        let found = documents.get_key_value(&(kind.to_owned(), id.to_owned()));
        Ok(found.and_then(|(key, entry)| document(key, entry)))
    }

    fn write(&self, kind: &str, id: &str, expected: Option<u64>, body: &[u8]) -> Result<u64, StoreError> {
        let mut documents = self.documents();
        let key = (kind.to_owned(), id.to_owned());
        let entry = documents.get(&key);
        check_expected(kind, expected, entry.filter(|entry| entry.body.is_some()).map(|entry| entry.version))?;
        let version = entry.map_or(0, |entry| entry.version) + 1;
        documents.insert(key, Entry { version, body: Some(body.to_vec()) });
        Ok(version)
    }

    fn list(&self, kind: &str) -> Result<Vec<Document>, StoreError> {
        let documents = self.documents();
        let from_kind = documents.range((kind.to_owned(), String::new())..);
        let of_kind = from_kind.take_while(|((other, _), _)| other == kind);
        Ok(of_kind.filter_map(|(key, entry)| document(key, entry)).collect())
    }

    fn delete(&self, kind: &str, id: &str, expected: u64) -> Result<(), StoreError> {
        let mut documents = self.documents();
        let entry = documents.get_mut(&(kind.to_owned(), id.to_owned()));
        let present = entry.as_ref().filter(|entry| entry.body.is_some()).map(|entry| entry.version);
        check_expected(kind, Some(expected), present)?;
        entry.expect("a document with a version is there").body = None;
        Ok(())
    }
}
