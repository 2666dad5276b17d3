use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::testing::{self, Key};
use crate::{Tree, bundle_of, tile_hashes};

type Files = BTreeMap<String, Vec<u8>>;

fn key() -> Key {
    Key::log("creta/prod/audit", 7)
}

fn tree_of(entries: &[Vec<u8>]) -> Tree {
    let mut tree = Tree::default();
    entries.iter().for_each(|entry| tree.push(Hash::leaf(entry)));
    tree
}

fn files_of(entries: &[Vec<u8>]) -> Files {
    let tree = tree_of(entries);
    let bytes = |path: &str| {
        let (level, index) = path.strip_prefix("tile/").and_then(|path| path.split_once('/')).expect("a tile");
        let (index, width) = parse_tile_index(index).expect("a tile");
        match level {
            "entries" => bundle_of(entries, index, width).expect("there"),
            level => tile_hashes(&tree, level.parse().expect("a level"), index, width).expect("there"),
        }
    };
    tile_paths(tree.len()).map(|path| (path.clone(), bytes(&path))).collect()
}

fn checkpoint_of(entries: &[Vec<u8>]) -> Checkpoint {
    let tree = tree_of(entries);
    key().sign(tree.len(), tree.root(tree.len()).expect("its own")).claimed().clone()
}

fn verify(checkpoint: &Checkpoint, since: Option<&Checkpoint>, files: &Files) -> Result<LogReport, ProofError> {
    verify_files(checkpoint, since, |path| Ok(files.get(path).cloned()))
}

#[test]
fn the_files_of_a_log_are_those_of_the_specification() {
    let paths: BTreeSet<String> = tile_paths(70_000).collect();
    assert_eq!(paths.iter().filter(|path| path.starts_with("tile/0/") && !path.contains(".p/")).count(), 273);
    for path in ["tile/0/273.p/112", "tile/entries/273.p/112", "tile/1/000", "tile/1/001.p/17", "tile/2/000.p/1"] {
        assert!(paths.contains(path), "{path}");
    }
    assert_eq!(paths.len(), 2 * 274 + 2 + 1);
    assert_eq!(tile_paths(256).collect::<Vec<_>>(), ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]);
    assert_eq!(tile_paths(0).count(), 0);
}

#[test]
fn logs_of_many_sizes_verify_and_every_file_is_asked_for_once() {
    for size in [0, 1, 2, 255, 256, 257, 511, 512, 700, 65_536, 66_000] {
        let (tree, entries) = testing::log(size);
        let (files, checkpoint) = (files_of(&entries), checkpoint_of(&entries));
        let mut asked = Vec::new();
        let report = verify_files::<ProofError>(&checkpoint, Some(&checkpoint), |path| {
            asked.push(path.to_owned());
            Ok(files.get(path).cloned())
        });
        let report = report.expect("whole");
        assert_eq!((report.entries, Some(report.root)), (size, tree.root(size)));
        asked.sort();
        assert_eq!(asked, files.into_keys().collect::<Vec<_>>(), "{size}");
    }
}

#[test]
fn attack_ch44_an_edited_entry_is_named() {
    let (_, mut entries) = testing::log(700);
    let (mut files, checkpoint) = (files_of(&entries), checkpoint_of(&entries));
    entries[300] = testing::entry(7, 300);
    files.insert("tile/entries/001".into(), bundle_of(&entries, 1, 256).expect("there"));
    let error = verify(&checkpoint, None, &files).expect_err("edited");
    assert_eq!(error, ProofError::Edited { index: 300, tile: "tile/0/001".into() });

    // With its tile: the level above tells which 256 entries.
    files.insert("tile/0/001".into(), tile_hashes(&tree_of(&entries), 0, 1, 256).expect("there"));
    let error = verify(&checkpoint, None, &files).expect_err("edited");
    assert_eq!(error, ProofError::Tile { tile: "tile/1/000.p/2".into(), first: 256, last: 511 });

    // With all tiles: nothing is left to compare but the root.
    let error = verify(&checkpoint, None, &files_of(&entries)).expect_err("edited");
    assert_eq!(error, ProofError::Inconsistent { size: 700 });
}

#[test]
fn attack_ch44_an_edited_tile_is_told_from_an_edited_entry() {
    let (_, entries) = testing::log(700);
    for (path, at, first, last) in [("tile/0/001", 44, 300, 300), ("tile/1/000.p/2", 1, 256, 511)] {
        let (mut files, checkpoint) = (files_of(&entries), checkpoint_of(&entries));
        files.get_mut(path).expect("there")[at * 32] ^= 1;
        let error = verify(&checkpoint, None, &files).expect_err("edited");
        assert_eq!(error, ProofError::Tile { tile: path.into(), first, last });
        files.get_mut(path).expect("there").pop();
        assert!(matches!(verify(&checkpoint, None, &files), Err(ProofError::Tile { .. })), "cut");
    }
}

#[test]
fn attack_ch44_a_log_put_back_is_noticed_by_an_older_checkpoint_only() {
    let (_, entries) = testing::log(700);
    let (files, checkpoint) = (files_of(&entries[..600]), checkpoint_of(&entries[..600]));
    verify(&checkpoint, None, &files).expect("consistent with itself");
    let kept = checkpoint_of(&entries);
    let error = verify(&checkpoint, Some(&kept), &files).expect_err("put back");
    assert_eq!(error, ProofError::Shorter { entries: 600, checkpoint: 700 });

    // Grown again over the gap, with other entries.
    let mut forked = entries[..600].to_vec();
    forked.extend((600..750).map(|turn| testing::entry(turn, turn + 1)));
    let (files, checkpoint) = (files_of(&forked), checkpoint_of(&forked));
    let error = verify(&checkpoint, Some(&kept), &files).expect_err("another history");
    assert_eq!(error, ProofError::Inconsistent { size: 700 });
    verify(&checkpoint, Some(&checkpoint_of(&entries[..600])), &files).expect("continues what they share");
}

#[test]
fn attack_ch44_the_clock_set_back_is_reported() {
    let (_, mut entries) = testing::log(9);
    entries[5] = testing::entry(5, 3);
    entries[7] = testing::entry(7, 6); // The same time as the one before is none.
    let report = verify(&checkpoint_of(&entries), None, &files_of(&entries)).expect("signed as it is");
    assert_eq!(report.clock_set_back, [5]);
}

#[test]
fn the_first_thing_wrong_is_named() {
    let (_, mut entries) = testing::log(1500);
    let (mut files, checkpoint) = (files_of(&entries), checkpoint_of(&entries));
    entries[300] = b"{}".to_vec();
    files.insert("tile/entries/001".into(), bundle_of(&entries, 1, 256).expect("there"));
    files.remove("tile/entries/003");
    let error = verify(&checkpoint, None, &files).expect_err("edited and missing");
    assert_eq!(error, ProofError::Edited { index: 300, tile: "tile/0/001".into() });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn attack_ch44_change_any_byte_of_any_file(file: prop::sample::Index, at: prop::sample::Index, bit in 0u8..8) {
        let (_, entries) = testing::log(600);
        let (mut files, checkpoint) = (files_of(&entries), checkpoint_of(&entries));
        let path = file.get(&files.keys().cloned().collect::<Vec<_>>()).clone();
        let bytes = files.get_mut(&path).expect("there");
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(verify(&checkpoint, None, &files).is_err(), "byte {} of {}", at, path);
        files.remove(&path);
        let missing = matches!(verify(&checkpoint, None, &files), Err(ProofError::Missing { .. }));
        prop_assert!(missing, "{} is gone", path);
    }

    #[test]
    fn attack_ch44_any_two_entries_swapped(a in 0usize..600, b in 0usize..600) {
        prop_assume!(a != b);
        let (_, mut entries) = testing::log(600);
        let (tiles, checkpoint) = (files_of(&entries), checkpoint_of(&entries));
        entries.swap(a, b);
        let mut files = files_of(&entries);
        prop_assert!(verify(&checkpoint, None, &files).is_err(), "with all tiles");
        files.extend(tiles.into_iter().filter(|(path, _)| !path.contains("entries")));
        let first = a.min(b) as u64;
        let named = matches!(verify(&checkpoint, None, &files), Err(ProofError::Edited { index, .. }) if index == first);
        prop_assert!(named, "first of {} and {}", a, b);
    }
}
