//! Online values: derived from the facts, fast to read, rebuilt when in doubt.

use std::fmt;

use crate::{Position, StoreError};

mod lmdb;
mod memory;
#[cfg(test)]
mod tests;
mod write_back;

pub use lmdb::LmdbStore;
pub use memory::MemoryStore;
pub use write_back::WriteBack;

/// What an online value is stored under.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OnlineKey {
    kind: &'static str,
    bytes: Box<[u8]>,
}

impl OnlineKey {
    /// `kind` says what sort of value it is (`values`, `tiles`); `bytes` is the typed, length-prefixed encoding of the
    /// entity and its key (rule S19), so that no two keys of a kind share their bytes.
    pub fn new(kind: &'static str, bytes: impl Into<Box<[u8]>>) -> Self {
        Self { kind, bytes: bytes.into() }
    }

    /// What sort of value it is.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// The encoded entity and key.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Shows the kind only: keys are somebody's data.
impl fmt::Debug for OnlineKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OnlineKey({}, {} bytes)", self.kind, self.bytes.len())
    }
}

/// Decides a key's new value from its index in the call and its old value; `None` removes it.
pub type Merge<'a> = dyn FnMut(usize, Option<Vec<u8>>) -> Result<Option<Vec<u8>>, StoreError> + 'a;

/// Values derived from the facts of one scope, and the position of the facts up to which they are derived.
///
/// The owner starts by comparing [`position`](Self::position) with the facts. Behind: it applies what
/// [`FactStore::read_since`](crate::FactStore::read_since) returns. Ahead: acknowledged facts are missing, which
/// [`FactStore::open_known`](crate::FactStore::open_known) refuses, or these values come from elsewhere. A crash loses at most the latest
/// updates, whole calls of them and their positions with them, so catching up brings them back.
pub trait OnlineStore: Send + Sync {
    /// The values as they are now, for as long as the view lives: what is updated meanwhile does not show. No writer waits
    /// for it; what it still needs takes up space, so it is kept for one question and no longer.
    fn view(&self) -> Result<Box<dyn OnlineView + '_>, StoreError>;

    /// The values of `keys`, in their order, all from one moment. A value that does not belong to its key is
    /// [`StoreError::Tampered`].
    fn get_many(&self, keys: &[OnlineKey]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.view()?.get_many(keys)
    }

    /// Sets each key to what `merge` makes of its old value, and the position, all or nothing. A key that stands twice
    /// is merged twice, in order. `merge` must not use the store. [`StoreError::Behind`] if `position` is lower than the
    /// present one.
    fn update_many(&self, keys: &[OnlineKey], merge: &mut Merge<'_>, position: Position) -> Result<(), StoreError>;

    /// Sets each key to its value, `None` to remove it, and the position, all or nothing, whatever the old values are. No
    /// key stands twice. [`StoreError::Behind`] if `position` is lower than the present one.
    fn replace_many(&self, values: Vec<(OnlineKey, Option<Vec<u8>>)>, position: Position) -> Result<(), StoreError> {
        let (keys, mut values): (Vec<OnlineKey>, Vec<Option<Vec<u8>>>) = values.into_iter().unzip();
        self.update_many(&keys, &mut |index, _| Ok(values[index].take()), position)
    }

    /// As [`replace_many`](Self::replace_many), for values that somebody else holds on to.
    fn replace_all(&self, values: Vec<(&OnlineKey, Option<&[u8]>)>, position: Position) -> Result<(), StoreError> {
        let owned = values.into_iter().map(|(key, value)| (key.clone(), value.map(<[u8]>::to_vec))).collect();
        self.replace_many(owned, position)
    }

    /// Writes what was set and waits, if anything does. Meant to be called every few seconds; readers and writers go on
    /// meanwhile.
    fn settle(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Up to where the facts are applied; [`Position::START`] for an empty store.
    fn position(&self) -> Result<Position, StoreError>;

    /// Removes every value and goes back to [`Position::START`].
    fn clear(&self) -> Result<(), StoreError>;
}

/// One moment of a store's values.
pub trait OnlineView: Send + Sync {
    /// The values of `keys`, in their order. A value that does not belong to its key is [`StoreError::Tampered`].
    fn get_many(&self, keys: &[OnlineKey]) -> Result<Vec<Option<Vec<u8>>>, StoreError>;
}

fn check_forward(store: &str, present: Position, given: Position) -> Result<(), StoreError> {
    if given < present { Err(StoreError::Behind { store: store.to_owned(), given, present }) } else { Ok(()) }
}
