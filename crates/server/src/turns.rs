//! Places among the requests at work: a bounded number, and of it a bounded share for each of those who ask.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Places, shared between those who are told apart by a `K`: a tenant, a network.
pub(crate) struct Turns<K> {
    most: usize,
    share: usize,
    taken: Mutex<HashMap<K, usize>>,
}

/// A place, given back when it is dropped.
pub(crate) struct Turn<K: Eq + Hash> {
    turns: Arc<Turns<K>>,
    whose: K,
}

impl<K: Eq + Hash + Clone> Turns<K> {
    /// At most so many places, and at most `share` of them in one hand.
    pub(crate) fn new(most: usize, share: usize) -> Arc<Self> {
        Arc::new(Self { most, share, taken: Mutex::default() })
    }

    /// A place, if there is one left of all and of the share. O(number of those who hold one).
    pub(crate) fn take(self: &Arc<Self>, whose: K) -> Option<Turn<K>> {
        let mut taken = self.lock();
        if taken.values().sum::<usize>() >= self.most || taken.get(&whose).is_some_and(|own| *own >= self.share) {
            return None;
        }
        *taken.entry(whose.clone()).or_default() += 1;
        drop(taken);
        Some(Turn { turns: Arc::clone(self), whose })
    }

    /// How many are taken.
    pub(crate) fn taken(&self) -> usize {
        self.lock().values().sum()
    }
}

impl<K> Turns<K> {
    fn lock(&self) -> MutexGuard<'_, HashMap<K, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Drop for Turn<K> {
    fn drop(&mut self) {
        let mut taken = self.turns.lock();
        if let Some(own) = taken.get_mut(&self.whose) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.whose);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_ch03_nobody_takes_every_place() {
        let turns = Turns::new(5, 3);
        let mut acme: Vec<_> = (0..3).map(|_| turns.take("acme").expect("a place")).collect();
        assert!(turns.take("acme").is_none(), "its share is taken");
        let globex: Vec<_> = (0..2).map(|_| turns.take("globex").expect("a place")).collect();
        assert!(turns.take("initech").is_none(), "all are taken");
        acme.pop();
        assert!(turns.take("initech").is_some());
        assert_eq!(turns.taken(), 4);
        drop((acme, globex));
        assert_eq!((turns.taken(), turns.lock().len()), (0, 0), "nothing is kept of who is gone");
    }
}
