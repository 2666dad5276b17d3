//! Documents of one kind, kept in memory and sealed in the metadata store: what is asked at every request.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use creta_model::Problem;
use creta_store::MetadataStore;
use serde::Serialize;

use crate::problem::{from_store, internal};

/// A document that has a name of its own and says which version of its form it is.
pub(crate) trait Record: Clone + Serialize {
    /// Kind in the metadata store.
    const KIND: &'static str;

    /// The name, unique in the kind.
    fn id(&self) -> String;

    /// Reads its JSON form; `None` for what this build did not write.
    fn read(body: &[u8]) -> Option<Self>;

    /// Its JSON form, as [`Record::read`] takes it.
    fn body(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a record has a JSON form")
    }
}

/// All documents of a kind. Reading takes no disk; a change is durable when it returns, and nobody sees it earlier.
pub(crate) struct Register<T> {
    metadata: Arc<dyn MetadataStore>,
    known: RwLock<BTreeMap<String, Stored<T>>>,
}

struct Stored<T> {
    record: T,
    version: u64,
}

impl<T: Record> Register<T> {
    /// Reads all there are. One that cannot be read stops the server: a missing revocation would be worse.
    pub(crate) fn load(metadata: Arc<dyn MetadataStore>) -> Result<Self, Problem> {
        let mut known = BTreeMap::new();
        for document in metadata.list(T::KIND).map_err(|e| from_store(&e))? {
            let Some(record) = T::read(&document.body).filter(|record| record.id() == document.id) else {
                let kind = T::KIND;
                tracing::error!(kind, "a document of the control plane cannot be read; restore `metadata.sqlite`");
                return Err(internal());
            };
            known.insert(document.id, Stored { record, version: document.version });
        }
        Ok(Self { metadata, known: RwLock::new(known) })
    }

    /// One by its name.
    pub(crate) fn find(&self, id: &str) -> Option<T> {
        self.read().get(id).map(|stored| stored.record.clone())
    }

    /// The first that `fits`, in the order of names.
    pub(crate) fn find_by(&self, fits: impl Fn(&T) -> bool) -> Option<T> {
        self.read().values().map(|stored| &stored.record).find(|record| fits(record)).cloned()
    }

    /// All that `fit`, in the order of names.
    pub(crate) fn list(&self, fits: impl Fn(&T) -> bool) -> Vec<T> {
        self.read().values().map(|stored| &stored.record).filter(|record| fits(record)).cloned().collect()
    }

    /// Something about one, without copying it.
    pub(crate) fn with<R>(&self, id: &str, ask: impl FnOnce(&T) -> R) -> Option<R> {
        self.read().get(id).map(|stored| ask(&stored.record))
    }

    /// Adds one. `None` if the name is taken, now or by one that was written meanwhile.
    pub(crate) fn add(&self, record: T) -> Result<Option<T>, Problem> {
        let mut known = self.write();
        if known.contains_key(&record.id()) {
            return Ok(None);
        }
        let version = self.keep(&record, None)?;
        known.insert(record.id(), Stored { record: record.clone(), version });
        Ok(Some(record))
    }

    /// Changes one, all or nothing: what `change` refuses leaves it as it was. `None` if there is no such document.
    pub(crate) fn change<E: From<Problem>>(
        &self,
        id: &str,
        change: impl FnOnce(&T) -> Result<T, E>,
    ) -> Result<Option<T>, E> {
        let mut known = self.write();
        let Some(stored) = known.get_mut(id) else { return Ok(None) };
        let record = change(&stored.record)?;
        stored.version = self.keep(&record, Some(stored.version))?;
        stored.record = record.clone();
        Ok(Some(record))
    }

    /// Forgets one.
    pub(crate) fn remove(&self, id: &str) -> Result<(), Problem> {
        let mut known = self.write();
        if let Some(stored) = known.get(id) {
            self.metadata.delete(T::KIND, id, stored.version).map_err(|e| from_store(&e))?;
            known.remove(id);
        }
        Ok(())
    }

    fn keep(&self, record: &T, version: Option<u64>) -> Result<u64, Problem> {
        self.metadata.write(T::KIND, &record.id(), version, &record.body()).map_err(|e| from_store(&e))
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<String, Stored<T>>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<String, Stored<T>>> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use creta_store::MemoryMetadata;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Note {
        format: String,
        name: String,
        text: String,
    }

    impl Record for Note {
        const KIND: &'static str = "note";
        fn id(&self) -> String {
            self.name.clone()
        }
        fn read(body: &[u8]) -> Option<Self> {
            serde_json::from_slice::<Self>(body).ok().filter(|note| note.format == "note/1")
        }
    }

    fn note(name: &str, text: &str) -> Note {
        Note { format: "note/1".into(), name: name.into(), text: text.into() }
    }

    #[test]
    fn what_was_kept_is_there_after_a_restart_and_a_refused_change_is_not() {
        let metadata: Arc<dyn MetadataStore> = Arc::new(MemoryMetadata::new());
        let notes = Register::<Note>::load(Arc::clone(&metadata)).expect("empty");
        assert_eq!(notes.add(note("a", "one")).expect("written"), Some(note("a", "one")));
        assert_eq!(notes.add(note("a", "two")).expect("asked"), None, "the name is taken");
        notes.change("a", |_| Ok::<_, Problem>(note("a", "three"))).expect("written");
        let refused = notes.change("a", |_| Err(Problem::new("conflict/no", "no")));
        assert!(refused.is_err());
        assert_eq!(notes.change("b", |b| Ok::<_, Problem>(b.clone())).expect("asked"), None);
        let again = Register::<Note>::load(Arc::clone(&metadata)).expect("readable");
        assert_eq!(again.list(|_| true), [note("a", "three")]);
        again.remove("a").expect("removed");
        assert_eq!(Register::<Note>::load(metadata).expect("readable").find("a"), None);
    }

    #[test]
    fn a_document_that_cannot_be_read_stops_the_start() {
        for body in [
            &b"{}"[..],
            b"not JSON",
            br#"{"format":"note/2","name":"a","text":""}"#,
            br#"{"format":"note/1","name":"b","text":""}"#,
        ] {
            let metadata = MemoryMetadata::new();
            metadata.write("note", "a", None, body).expect("written");
            assert!(Register::<Note>::load(Arc::new(metadata)).is_err(), "{}", String::from_utf8_lossy(body));
        }
    }
}
