//! Online values that are visible at once and written to their store later, many together.
//!
//! Values are derived from facts that are durable, so nothing is lost when a crash takes those that were not written yet:
//! the position of the store below says from where they are derived again. What this buys is that a load waits for one
//! sync of the log and for no other, and that the store below takes many values in one transaction, in its own order.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::{Merge, OnlineKey, OnlineStore, OnlineView, check_forward};
use crate::{Position, StoreError};

const STORE: &str = "online values";

/// Bytes of a key and value in a map, beside their own.
const ENTRY_BYTES: usize = 96;
/// Layers of more values are not merged.
const MERGED_VALUES_MAX: usize = 8192;

/// An online store in front of which the newest values wait in memory.
///
/// [`settle`](OnlineStore::settle) writes them; so does whoever brings more than memory may hold, who then waits for it. When it
/// is dropped they are written as well.
pub struct WriteBack<S: OnlineStore> {
    below: S,
    waiting: RwLock<Waiting>,
    /// The turn of whoever changes values.
    change: Mutex<()>,
    /// The turn of whoever writes what waits.
    settling: Mutex<()>,
    bytes_max: usize,
}

struct Waiting {
    /// Newest last. Small ones are merged, so there are few; large ones are not, so that nobody waits for that.
    layers: Vec<Arc<Layer>>,
    /// What is being written, all of it older.
    frozen: Vec<Arc<Layer>>,
    position: Position,
    /// Of all layers, those being written included.
    bytes: usize,
}

#[derive(Default)]
struct Layer {
    values: HashMap<OnlineKey, Option<Arc<[u8]>>>,
    bytes: usize,
}

impl Layer {
    fn insert(&mut self, key: OnlineKey, value: Option<Arc<[u8]>>) {
        let size = |key: &OnlineKey, value: &Option<Arc<[u8]>>| {
            ENTRY_BYTES + key.bytes().len() + value.as_ref().map_or(0, |value| value.len())
        };
        self.bytes += size(&key, &value);
        let key_bytes = key.bytes().len();
        if let Some(old) = self.values.insert(key, value) {
            self.bytes -= ENTRY_BYTES + key_bytes + old.map_or(0, |old| old.len());
        }
    }

    /// The values of both; those of `newer` count.
    fn under(self: Arc<Self>, newer: Arc<Self>) -> Self {
        let owned = |layer: Arc<Self>| {
            Arc::try_unwrap(layer).unwrap_or_else(|shared| Self { values: shared.values.clone(), bytes: shared.bytes })
        };
        let (mut all, newer) = (owned(self), owned(newer));
        newer.values.into_iter().for_each(|(key, value)| all.insert(key, value));
        all
    }
}

impl<S: OnlineStore> WriteBack<S> {
    /// In front of `below`, with at most about `bytes_max` bytes of values that wait.
    pub fn over(below: S, bytes_max: usize) -> Result<Self, StoreError> {
        let position = below.position()?;
        let waiting = Waiting { layers: Vec::new(), frozen: Vec::new(), position, bytes: 0 };
        Ok(Self {
            below,
            waiting: RwLock::new(waiting),
            change: Mutex::default(),
            settling: Mutex::default(),
            bytes_max,
        })
    }

    fn read(&self) -> RwLockReadGuard<'_, Waiting> {
        self.waiting.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Waiting> {
        self.waiting.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a layer and merges it with older ones that are small and not much larger, so that each value is moved a few times.
    fn push(&self, layer: Layer, position: Position) {
        let mut waiting = self.write();
        waiting.position = position;
        waiting.bytes += layer.bytes;
        let mut newest = Arc::new(layer);
        let fits = |older: &Layer, newest: &Layer| {
            let (old, new) = (older.values.len(), newest.values.len());
            old <= 2 * new && old + new <= MERGED_VALUES_MAX
        };
        while let Some(older) = waiting.layers.pop_if(|older| fits(older, &newest)) {
            let before = older.bytes + newest.bytes;
            newest = Arc::new(older.under(newest));
            waiting.bytes -= before - newest.bytes;
        }
        waiting.layers.push(newest);
    }

    /// Waits until there is room for more.
    fn make_room(&self) -> Result<(), StoreError> {
        if self.read().bytes > self.bytes_max { self.settle() } else { Ok(()) }
    }

    /// Everything that waits, newest last and not changed any more, and up to where it reaches.
    fn freeze(&self) -> (Vec<Arc<Layer>>, Position) {
        let mut waiting = self.write();
        // What could not be written the last time is older than everything else.
        let layers = std::mem::take(&mut waiting.layers);
        waiting.frozen.extend(layers);
        (waiting.frozen.clone(), waiting.position)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct WriteBackView<'a> {
    /// Newest first.
    layers: Vec<Arc<Layer>>,
    below: Box<dyn OnlineView + 'a>,
}

impl OnlineView for WriteBackView<'_> {
    fn get_many(&self, keys: &[OnlineKey]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        if self.layers.is_empty() {
            return self.below.get_many(keys);
        }
        let mut found = Vec::with_capacity(keys.len());
        let mut missing = Vec::new();
        for (index, key) in keys.iter().enumerate() {
            match self.layers.iter().find_map(|layer| layer.values.get(key)) {
                Some(value) => found.push(value.as_deref().map(<[u8]>::to_vec)),
                None => {
                    missing.push(index);
                    found.push(None);
                }
            }
        }
        if missing.is_empty() {
            return Ok(found);
        }
        let below = if missing.len() == keys.len() {
            self.below.get_many(keys)?
        } else {
            self.below.get_many(&missing.iter().map(|index| keys[*index].clone()).collect::<Vec<_>>())?
        };
        missing.into_iter().zip(below).for_each(|(index, value)| found[index] = value);
        Ok(found)
    }
}

impl<S: OnlineStore> OnlineStore for WriteBack<S> {
    fn view(&self) -> Result<Box<dyn OnlineView + '_>, StoreError> {
        // Nothing is added before the view below is there too, so both are of one moment; what is written below meanwhile
        // stands in these layers as well.
        let waiting = self.read();
        let layers: Vec<_> = waiting.layers.iter().rev().chain(waiting.frozen.iter().rev()).cloned().collect();
        let below = self.below.view()?;
        drop(waiting);
        if layers.is_empty() { Ok(below) } else { Ok(Box::new(WriteBackView { layers, below })) }
    }

    fn update_many(&self, keys: &[OnlineKey], merge: &mut Merge<'_>, position: Position) -> Result<(), StoreError> {
        self.make_room()?;
        let _change = lock(&self.change);
        check_forward(STORE, self.position()?, position)?;
        let mut old: HashMap<&OnlineKey, Option<Vec<u8>>> = keys.iter().zip(self.get_many(keys)?).collect();
        for (index, key) in keys.iter().enumerate() {
            let value = merge(index, old.remove(key).flatten())?;
            old.insert(key, value);
        }
        let mut layer = Layer::default();
        old.into_iter().for_each(|(key, value)| layer.insert(key.clone(), value.map(Arc::from)));
        self.push(layer, position);
        Ok(())
    }

    fn replace_many(&self, values: Vec<(OnlineKey, Option<Vec<u8>>)>, position: Position) -> Result<(), StoreError> {
        self.make_room()?;
        let _change = lock(&self.change);
        check_forward(STORE, self.position()?, position)?;
        let mut layer = Layer { values: HashMap::with_capacity(values.len()), bytes: 0 };
        values.into_iter().for_each(|(key, value)| layer.insert(key, value.map(Arc::from)));
        self.push(layer, position);
        Ok(())
    }

    fn position(&self) -> Result<Position, StoreError> {
        Ok(self.read().position)
    }

    fn clear(&self) -> Result<(), StoreError> {
        let _settling = lock(&self.settling);
        let _change = lock(&self.change);
        // Readers see all values or none.
        let mut waiting = self.write();
        self.below.clear()?;
        *waiting = Waiting { layers: Vec::new(), frozen: Vec::new(), position: Position::START, bytes: 0 };
        Ok(())
    }

    fn settle(&self) -> Result<(), StoreError> {
        let _settling = lock(&self.settling);
        let (frozen, position) = self.freeze();
        if frozen.is_empty() {
            return Ok(());
        }
        let mut newest: HashMap<&OnlineKey, Option<&[u8]>> = HashMap::new();
        for layer in &frozen {
            newest.extend(layer.values.iter().map(|(key, value)| (key, value.as_deref())));
        }
        self.below.replace_all(newest.into_iter().collect(), position)?;
        let mut waiting = self.write();
        let written = std::mem::take(&mut waiting.frozen);
        waiting.bytes = waiting.layers.iter().map(|layer| layer.bytes).sum();
        drop(waiting);
        drop((written, frozen)); // What takes long to free holds nobody up.
        Ok(())
    }
}

impl<S: OnlineStore> Drop for WriteBack<S> {
    fn drop(&mut self) {
        if let Err(error) = self.settle() {
            tracing::warn!(%error, "online values that could not be written are derived again when the scope is opened");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use proptest::prelude::*;

    use super::*;
    use crate::MemoryStore;

    fn key(name: u8) -> OnlineKey {
        OnlineKey::new("values", [name])
    }

    fn keys() -> Vec<OnlineKey> {
        (0..8).map(key).collect()
    }

    /// Below which nothing is written while it is full.
    #[derive(Default)]
    struct Full(Arc<MemoryStore>, AtomicBool);

    impl OnlineStore for Full {
        fn view(&self) -> Result<Box<dyn OnlineView + '_>, StoreError> {
            self.0.view()
        }
        fn update_many(&self, keys: &[OnlineKey], merge: &mut Merge<'_>, position: Position) -> Result<(), StoreError> {
            match self.1.load(Ordering::SeqCst) {
                true => Err(StoreError::Full { store: STORE.into() }),
                false => self.0.update_many(keys, merge, position),
            }
        }
        fn position(&self) -> Result<Position, StoreError> {
            self.0.position()
        }
        fn clear(&self) -> Result<(), StoreError> {
            self.0.clear()
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Put(Vec<(u8, Option<u8>)>),
        Settle,
        SettleFull,
        Clear,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let values = proptest::collection::btree_map(0..8_u8, proptest::option::of(any::<u8>()), 0..6);
        let step = prop_oneof![
            6 => values.prop_map(|values| Step::Put(values.into_iter().collect())),
            2 => Just(Step::Settle),
            1 => Just(Step::SettleFull),
            1 => Just(Step::Clear),
        ];
        proptest::collection::vec(step, 1..40)
    }

    proptest! {
        #[test]
        fn whatever_waits_and_whatever_is_written_the_values_are_those_of_a_plain_store(steps in steps()) {
            let below = Full::default();
            let kept = Arc::clone(&below.0);
            let (store, plain) = (WriteBack::over(below, 700).expect("readable"), MemoryStore::new());
            let mut position = 0;
            for step in steps {
                match step {
                    Step::Put(values) => {
                        position += 1;
                        let values = || values.iter().map(|(name, value)| (key(*name), value.map(|value| vec![value]))).collect();
                        store.replace_many(values(), Position(position)).expect("space");
                        plain.replace_many(values(), Position(position)).expect("space");
                    }
                    Step::Settle => store.settle().expect("space"),
                    Step::SettleFull => {
                        store.below.1.store(true, Ordering::SeqCst);
                        let waits = !store.read().frozen.is_empty() || !store.read().layers.is_empty();
                        prop_assert_eq!(store.settle().is_err(), waits);
                        store.below.1.store(false, Ordering::SeqCst);
                    }
                    Step::Clear => {
                        position = 0;
                        store.clear().expect("space");
                        plain.clear().expect("space");
                    }
                }
                prop_assert_eq!(store.get_many(&keys()).expect("readable"), plain.get_many(&keys()).expect("readable"));
                prop_assert_eq!(store.position().expect("readable"), plain.position().expect("readable"));
            }
            drop(store);
            prop_assert_eq!(kept.get_many(&keys()).expect("readable"), plain.get_many(&keys()).expect("readable"));
            prop_assert_eq!(kept.position().expect("readable"), plain.position().expect("readable"));
        }
    }

    #[test]
    fn what_was_not_written_is_missing_below_together_with_its_position() {
        let below = Arc::new(MemoryStore::new());
        let store = WriteBack::over(Full(Arc::clone(&below), AtomicBool::new(false)), 1 << 20).expect("readable");
        store.replace_many(vec![(key(1), Some(vec![1]))], Position(1)).expect("space");
        store.settle().expect("space");
        store.replace_many(vec![(key(1), Some(vec![2]))], Position(2)).expect("space");
        assert_eq!(
            (store.get_many(&[key(1)]).expect("readable"), below.position().expect("readable")),
            (vec![Some(vec![2])], Position(1))
        );
        assert_eq!(below.get_many(&[key(1)]).expect("readable"), [Some(vec![1])], "what a crash would leave");
    }

    #[test]
    fn who_brings_more_than_memory_may_hold_writes_and_is_refused_when_that_fails() {
        let below = Arc::new(MemoryStore::new());
        let store = WriteBack::over(Full(Arc::clone(&below), AtomicBool::new(false)), 4_000).expect("readable");
        let value = |n: u8| vec![(key(n % 8), Some(vec![n; 1_000]))];
        for n in 1..=20 {
            store.replace_many(value(n), Position(n.into())).expect("space");
            assert!(store.read().bytes < 6_000, "{}", store.read().bytes);
        }
        assert!(below.position().expect("readable") > Position(10));
        store.below.1.store(true, Ordering::SeqCst);
        let refused = (21..40).map(|n| store.replace_many(value(n), Position(n.into())));
        let refused: Vec<_> = refused.filter(Result::is_err).collect();
        assert!(refused.len() > 10, "{}", refused.len());
        store.below.1.store(false, Ordering::SeqCst);
        let position = store.position().expect("readable");
        store.settle().expect("space again");
        assert_eq!(below.position().expect("readable"), position);
    }

    #[test]
    fn a_view_stays_at_its_moment_while_values_are_added_and_written() {
        let store = WriteBack::over(Full::default(), 1 << 20).expect("readable");
        let put = |value: u8, position| {
            store.replace_many(keys().into_iter().map(|key| (key, Some(vec![value]))).collect(), Position(position))
        };
        put(1, 1).expect("space");
        let waiting = store.read().layers.len();
        let view = WriteBackView {
            layers: store.read().layers.clone(),
            below: Box::new(Below(store.below.0.get_many(&keys()).expect("readable"))),
        };
        put(2, 2).expect("space");
        store.settle().expect("space");
        put(3, 3).expect("space");
        assert_eq!((waiting, view.get_many(&keys()).expect("readable")), (1, vec![Some(vec![1]); 8]));
        assert_eq!(store.get_many(&keys()).expect("readable"), vec![Some(vec![3]); 8]);
    }

    /// A view of a store whose writers do not wait for views.
    struct Below(Vec<Option<Vec<u8>>>);

    impl OnlineView for Below {
        fn get_many(&self, _: &[OnlineKey]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
            Ok(self.0.clone())
        }
    }
}
