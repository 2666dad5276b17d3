//! The Merkle tree of RFC 6962 §2.1 over a log's entries, in memory: appended to, and asked for roots and proofs.

use std::ops::Range;

use crate::Hash;

/// Hashes of all complete subtrees, 64 bytes per entry. Height 0 holds the leaves; a node of height `h` and position
/// `p` covers the entries from `p << h` up to `(p + 1) << h`.
#[derive(Debug, Default)]
pub struct Tree {
    heights: Vec<Vec<Hash>>,
}

impl Tree {
    /// How many entries.
    pub fn len(&self) -> u64 {
        self.heights.first().map_or(0, |leaves| leaves.len() as u64)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends a leaf, and every subtree it completes. Amortized O(1).
    pub fn push(&mut self, leaf: Hash) {
        let mut completed = leaf;
        for height in 0.. {
            if height == self.heights.len() {
                self.heights.push(Vec::new());
            }
            let row = &mut self.heights[height];
            row.push(completed);
            if row.len() % 2 == 1 {
                return;
            }
            completed = Hash::node(&row[row.len() - 2], &row[row.len() - 1]);
        }
    }

    /// The node of a complete subtree, if there is one.
    pub fn node(&self, height: u32, position: u64) -> Option<Hash> {
        self.heights.get(height as usize)?.get(usize::try_from(position).ok()?).copied()
    }

    /// The root when the tree had `size` entries. `None` if it never had so many.
    pub fn root(&self, size: u64) -> Option<Hash> {
        if size > self.len() {
            return None;
        }
        Some(if size == 0 { Hash::empty() } else { self.hash(0..size) })
    }

    /// PATH(m, D[n]) of RFC 6962 §2.1.1: the siblings from entry `index` to the root of `size`, the lowest first.
    pub fn inclusion(&self, index: u64, size: u64) -> Option<Vec<Hash>> {
        if index >= size || size > self.len() {
            return None;
        }
        let (mut within, mut path) = (0..size, Vec::new());
        while within.end - within.start > 1 {
            let middle = split(&within);
            let (left, right) = (within.start..middle, middle..within.end);
            if index < middle {
                path.push(self.hash(right));
                within = left;
            } else {
                path.push(self.hash(left));
                within = right;
            }
        }
        path.reverse();
        Some(path)
    }

    /// PROOF(m, D[n]) of RFC 6962 §2.1.2: what shows that the tree of `old` entries is the beginning of that of `new`.
    pub fn consistency(&self, old: u64, new: u64) -> Option<Vec<Hash>> {
        if old > new || new > self.len() {
            return None;
        }
        if old == 0 || old == new {
            return Some(Vec::new());
        }
        // `known`: the old root itself covers the range, so whoever verifies has its hash already.
        let (mut within, mut known, mut path) = (0..new, true, Vec::new());
        while within.end != old {
            let middle = split(&within);
            if old <= middle {
                path.push(self.hash(middle..within.end));
                within = within.start..middle;
            } else {
                path.push(self.hash(within.start..middle));
                within = middle..within.end;
                known = false;
            }
        }
        if !known {
            path.push(self.hash(within));
        }
        path.reverse();
        Some(path)
    }

    /// MTH over a range that a recursive split of the tree visits.
    fn hash(&self, range: Range<u64>) -> Hash {
        let width = range.end - range.start;
        if width.is_power_of_two() {
            let height = width.trailing_zeros();
            return self.node(height, range.start >> height).expect("a complete subtree within the tree is kept");
        }
        let middle = split(&range);
        Hash::node(&self.hash(range.start..middle), &self.hash(middle..range.end))
    }
}

/// The largest power of two smaller than the width, counted from the start: RFC 6962 §2.1.
fn split(range: &Range<u64>) -> u64 {
    let width = range.end - range.start;
    range.start + (1 << (u64::BITS - 1 - (width - 1).leading_zeros()))
}

#[cfg(test)]
pub(crate) mod reference {
    //! RFC 6962 §2.1 as it is written: recursive, over all entries, obviously right and slow.

    use super::Hash;

    fn k(n: usize) -> usize {
        (0..).map(|power| 1 << power).take_while(|k| *k < n).last().expect("n is above 1")
    }

    pub(crate) fn mth(d: &[Vec<u8>]) -> Hash {
        match d.len() {
            0 => Hash::empty(),
            1 => Hash::leaf(&d[0]),
            n => Hash::node(&mth(&d[..k(n)]), &mth(&d[k(n)..])),
        }
    }

    pub(crate) fn path(m: usize, d: &[Vec<u8>]) -> Vec<Hash> {
        let n = d.len();
        if n == 1 {
            return Vec::new();
        }
        let k = k(n);
        if m < k {
            [path(m, &d[..k]), vec![mth(&d[k..])]].concat()
        } else {
            [path(m - k, &d[k..]), vec![mth(&d[..k])]].concat()
        }
    }

    pub(crate) fn proof(m: usize, d: &[Vec<u8>]) -> Vec<Hash> {
        subproof(m, d, true)
    }

    fn subproof(m: usize, d: &[Vec<u8>], b: bool) -> Vec<Hash> {
        let n = d.len();
        if m == n {
            return if b { Vec::new() } else { vec![mth(d)] };
        }
        let k = k(n);
        if m <= k {
            [subproof(m, &d[..k], b), vec![mth(&d[k..])]].concat()
        } else {
            [subproof(m - k, &d[k..], false), vec![mth(&d[..k])]].concat()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::{verify_consistency, verify_inclusion};
    use proptest::prelude::*;

    fn entries(n: usize) -> Vec<Vec<u8>> {
        (0..n).map(|i| format!("entry {i}").into_bytes()).collect()
    }

    fn tree_of(entries: &[Vec<u8>]) -> Tree {
        let mut tree = Tree::default();
        for entry in entries {
            tree.push(Hash::leaf(entry));
        }
        tree
    }

    #[test]
    fn known_roots() {
        // SHA-256 of nothing, and the first roots of the test tree that Certificate Transparency implementations share.
        assert_eq!(Hash::empty().to_string(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        let shared: [&[u8]; 8] = [
            &[],
            &[0x00],
            &[0x10],
            &[0x20, 0x21],
            &[0x30, 0x31],
            &[0x40, 0x41, 0x42, 0x43],
            &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
            &[0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f],
        ];
        let tree = tree_of(&shared.map(<[u8]>::to_vec));
        let root = |size| tree.root(size).expect("within").to_string();
        assert_eq!(root(1), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
        assert_eq!(root(8), "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328");
    }

    #[test]
    fn roots_and_proofs_are_those_of_the_rfc_for_every_size_up_to_70() {
        let all = entries(70);
        let tree = tree_of(&all);
        for n in 0..=all.len() {
            let d = &all[..n];
            let root = tree.root(n as u64).expect("within");
            assert_eq!(root, reference::mth(d), "root of {n}");
            for (m, entry) in d.iter().enumerate() {
                let path = tree.inclusion(m as u64, n as u64).expect("within");
                assert_eq!(path, reference::path(m, d), "path of {m} in {n}");
                verify_inclusion(entry, m as u64, n as u64, &path, &root).expect("a true proof verifies");
            }
            for m in 1..=n {
                let proof = tree.consistency(m as u64, n as u64).expect("within");
                assert_eq!(proof, reference::proof(m, d), "proof of {m} in {n}");
                let old = tree.root(m as u64).expect("within");
                verify_consistency(m as u64, n as u64, &old, &root, &proof).expect("a true proof verifies");
            }
        }
        assert_eq!(tree.root(71), None);
        assert_eq!(tree.inclusion(70, 70), None);
        assert_eq!(tree.inclusion(0, 71), None);
        assert_eq!(tree.consistency(2, 1), None);
        assert_eq!(tree.consistency(1, 71), None);
    }

    #[test]
    fn attack_ch44_a_proof_of_the_wrong_length_does_not_verify_even_if_its_hashes_fit() {
        let (one, two) = (Hash::leaf(b"one"), Hash::leaf(b"two"));
        let both = Hash::node(&one, &two);
        verify_inclusion(b"one", 0, 2, &[two], &both).expect("a true proof");
        for (size, proof, root) in
            [(2, vec![], one), (4, vec![two], both), (1, vec![two], Hash::node(&two, &one)), (0, vec![], one)]
        {
            assert!(verify_inclusion(b"one", 0, size, &proof, &root).is_err(), "{size} {proof:?}");
        }
        verify_consistency(1, 2, &one, &both, &[two]).expect("a true proof");
        for (old, new, proof, root) in
            [(1, 2, vec![], one), (1, 4, vec![two], both), (2, 2, vec![two], one), (2, 1, vec![], one)]
        {
            assert!(verify_consistency(old, new, &one, &root, &proof).is_err(), "{old} {new} {proof:?}");
        }
        let (x, old, new) = (Hash::leaf(b"x"), Hash::node(&both, &one), Hash::node(&both, &both));
        verify_consistency(3, 4, &old, &new, &[one, two, both]).expect("a true proof, of one, two, one, two");
        let (old, new) = (Hash::node(&x, &old), Hash::node(&x, &new));
        assert!(verify_consistency(3, 4, &old, &new, &[one, two, both, x]).is_err(), "one hash too many");
        verify_consistency(0, 2, &Hash::empty(), &both, &[]).expect("everything begins with nothing");
        assert!(verify_consistency(0, 2, &one, &both, &[]).is_err(), "nothing has one root only");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn larger_trees_agree_with_the_rfc_too(n in 70usize..600, a: prop::sample::Index, b: prop::sample::Index) {
            let all = entries(n);
            let tree = tree_of(&all);
            let (m, index) = (a.index(n) + 1, b.index(n));
            prop_assert_eq!(tree.root(n as u64).expect("within"), reference::mth(&all));
            prop_assert_eq!(tree.inclusion(index as u64, n as u64).expect("within"), reference::path(index, &all));
            prop_assert_eq!(tree.consistency(m as u64, n as u64).expect("within"), reference::proof(m, &all));
        }

        #[test]
        fn attack_ch44_a_changed_proof_does_not_verify(
            n in 2usize..200, a: prop::sample::Index, b: prop::sample::Index, at: prop::sample::Index, bit in 0u8..8, how in 0u8..6,
        ) {
            let all = entries(n);
            let tree = tree_of(&all);
            let (index, m) = (a.index(n) as u64, (b.index(n - 1) + 1) as u64);
            let n = n as u64;
            let (root, old) = (tree.root(n).expect("within"), tree.root(m).expect("within"));
            let entry = &all[a.index(all.len())];

            let change = |proof: &mut Vec<Hash>| match how {
                0 => proof.push(Hash::empty()),
                1 => drop(proof.pop()),
                2 => proof.insert(0, root),
                _ => if !proof.is_empty() {
                    let at = at.index(proof.len());
                    let mut bytes = *proof[at].as_bytes();
                    bytes[usize::from(bit)] ^= 1 << bit;
                    proof[at] = Hash::from_bytes(bytes);
                },
            };
            let mut path = tree.inclusion(index, n).expect("within");
            change(&mut path);
            prop_assert!(verify_inclusion(entry, index, n, &path, &root).is_err());
            let mut proof = tree.consistency(m, n).expect("within");
            change(&mut proof);
            prop_assert!(verify_consistency(m, n, &old, &root, &proof).is_err());
        }

        #[test]
        fn attack_ch44_a_proof_shows_nothing_else(n in 2u64..120, m in 1u64..120, i in 0u64..120, other in 0u64..121) {
            let all = entries(usize::try_from(n).expect("small"));
            let tree = tree_of(&all);
            let (i, m) = (i % n, m % n + 1);
            let root = tree.root(n).expect("within");
            let path = tree.inclusion(i, n).expect("within");
            let entry = &all[usize::try_from(i).expect("small")];
            if other != i {
                prop_assert!(verify_inclusion(entry, other, n, &path, &root).is_err(), "another index");
                prop_assert!(verify_inclusion(b"entry x", i, n, &path, &root).is_err(), "another entry");
            }
            if other != m && other <= n {
                let (old, proof) = (tree.root(m).expect("within"), tree.consistency(m, n).expect("within"));
                prop_assert!(verify_consistency(other, n, &old, &root, &proof).is_err(), "another old size {other} for {m} of {n}");
            }
        }
    }
}
