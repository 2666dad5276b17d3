//! What a store of documents remembers about all its rows, to notice when one is not the one written last.

use std::collections::HashMap;

/// A MAC that stands for a kind, or for a kind and id.
pub(super) type Key = [u8; 32];
/// A MAC of a whole row.
pub(super) type RowMac = [u8; 32];

/// The MAC of every row, and a summary of them all.
///
/// The sum of the rows' MACs modulo 2^256 stands for the set of rows and can be brought up to date row by row. It is kept
/// sealed, and who does not have the key cannot compute a single term of it.
#[derive(Clone, Default)]
pub(super) struct Index {
    /// How many writes there have been.
    pub(super) number: u64,
    /// Stands for all of them, in order.
    pub(super) chain: [u8; 32],
    sum: [u64; 4],
    rows: HashMap<Key, RowMac>,
    per_kind: HashMap<Key, usize>,
}

impl Index {
    pub(super) fn from_summary(number: u64, plain: &[u8]) -> Option<Self> {
        let (sum, chain) = plain.split_at_checked(32)?;
        Some(Self { number, chain: chain.try_into().ok()?, sum: limbs(sum.try_into().ok()?), ..Self::default() })
    }

    pub(super) fn sum(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (place, limb) in bytes.chunks_exact_mut(8).zip(self.sum) {
            place.copy_from_slice(&limb.to_le_bytes());
        }
        bytes
    }

    pub(super) fn agrees_with(&self, summary: &Self) -> bool {
        self.sum == summary.sum
    }

    pub(super) fn mac(&self, key: &Key) -> Option<&RowMac> {
        self.rows.get(key)
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// How many rows a kind has.
    pub(super) fn count(&self, kind: &Key) -> usize {
        self.per_kind.get(kind).copied().unwrap_or(0)
    }

    pub(super) fn add(&mut self, key: Key, kind: Key, mac: RowMac) {
        self.sum = add(self.sum, limbs(&mac));
        self.rows.insert(key, mac);
        *self.per_kind.entry(kind).or_default() += 1;
    }

    /// The summary, without rows, after `key`'s row becomes the one with `mac`.
    pub(super) fn summary_with(&self, key: &Key, mac: &RowMac) -> Self {
        let without = self.rows.get(key).map_or(self.sum, |old| subtract(self.sum, limbs(old)));
        Self { number: self.number, chain: self.chain, sum: add(without, limbs(mac)), ..Self::default() }
    }

    /// Takes over a summary that has become durable, and the row that it differs in.
    pub(super) fn apply(&mut self, summary: Self, key: Key, kind: Key, mac: RowMac) {
        (self.number, self.chain, self.sum) = (summary.number, summary.chain, summary.sum);
        if self.rows.insert(key, mac).is_none() {
            *self.per_kind.entry(kind).or_default() += 1;
        }
    }
}

fn limbs(bytes: &[u8; 32]) -> [u64; 4] {
    std::array::from_fn(|i| u64::from_le_bytes(bytes[8 * i..8 * i + 8].try_into().expect("eight bytes")))
}

fn add(a: [u64; 4], b: [u64; 4]) -> [u64; 4] {
    let mut carry = false;
    std::array::from_fn(|i| {
        let (sum, first) = a[i].overflowing_add(b[i]);
        let (sum, second) = sum.overflowing_add(u64::from(carry));
        carry = first || second;
        sum
    })
}

fn subtract(a: [u64; 4], b: [u64; 4]) -> [u64; 4] {
    let mut borrow = false;
    std::array::from_fn(|i| {
        let (difference, first) = a[i].overflowing_sub(b[i]);
        let (difference, second) = difference.overflowing_sub(u64::from(borrow));
        borrow = first || second;
        difference
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sums_carry_over_all_limbs() {
        let one = [1, 0, 0, 0];
        assert_eq!(add([u64::MAX; 4], one), [0; 4]);
        assert_eq!(subtract([0; 4], one), [u64::MAX; 4]);
        assert_eq!(add([u64::MAX, u64::MAX, 7, 0], one), [0, 0, 8, 0]);
    }

    proptest! {
        #[test]
        fn the_sum_does_not_depend_on_the_way_to_the_rows(rows: Vec<(u8, [u8; 32])>) {
            let mut index = Index::default();
            for (key, mac) in &rows {
                let summary = index.summary_with(&[*key; 32], mac);
                index.apply(summary, [*key; 32], [0; 32], *mac);
            }
            let mut direct = Index::default();
            let last: HashMap<u8, [u8; 32]> = rows.into_iter().collect();
            last.into_iter().for_each(|(key, mac)| direct.add([key; 32], [0; 32], mac));
            prop_assert!(direct.agrees_with(&index));
            prop_assert_eq!(direct.count(&[0; 32]), index.count(&[0; 32]));
        }
    }
}
