//! Online values that live and die with the process.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::{Merge, OnlineKey, OnlineStore, OnlineView, check_forward};
use crate::{Position, StoreError};

/// Online values in memory, for the embedded engine and for tests. Nothing is written anywhere, so nothing is sealed.
#[derive(Default)]
pub struct MemoryStore {
    /// Copied by a writer while somebody has a view of it.
    state: RwLock<Arc<State>>,
}

#[derive(Clone, Default)]
struct State {
    values: HashMap<OnlineKey, Arc<[u8]>>,
    position: Position,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }
}

impl MemoryStore {
    fn now(&self) -> Arc<State> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn get(&self, key: &OnlineKey) -> Option<Vec<u8>> {
        self.values.get(key).map(|value| value.to_vec())
    }
}

impl OnlineView for Arc<State> {
    fn get_many(&self, keys: &[OnlineKey]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        Ok(keys.iter().map(|key| self.get(key)).collect())
    }
}

// A caller's merge may panic under the lock; the state is only changed after the last merge, so it is whole then too.
impl OnlineStore for MemoryStore {
    fn view(&self) -> Result<Box<dyn OnlineView + '_>, StoreError> {
        Ok(Box::new(self.now()))
    }

    fn update_many(&self, keys: &[OnlineKey], merge: &mut Merge<'_>, position: Position) -> Result<(), StoreError> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        check_forward("online values", state.position, position)?;
        let mut changed: HashMap<&OnlineKey, Option<Vec<u8>>> = HashMap::with_capacity(keys.len());
        for (index, key) in keys.iter().enumerate() {
            let old = changed.remove(key).unwrap_or_else(|| state.get(key));
            changed.insert(key, merge(index, old)?);
        }
        let state = Arc::make_mut(&mut state);
        for (key, value) in changed {
            match value {
                Some(value) => state.values.insert(key.clone(), value.into()),
                None => state.values.remove(key),
            };
        }
        state.position = position;
        Ok(())
    }

    fn position(&self) -> Result<Position, StoreError> {
        Ok(self.now().position)
    }

    fn clear(&self) -> Result<(), StoreError> {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::default();
        Ok(())
    }
}
