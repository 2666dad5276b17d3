//! The log as static files: C2SP tlog-tiles. A full tile has 256 hashes, a partial one says how many it has.

use std::ops::Range;

use crate::Tree;

/// How many hashes or entries a full tile has.
pub const TILE_WIDTH: u64 = 256;

/// Path of a hash tile below the log's prefix. `width` is 1 to 256.
///
/// ```
/// assert_eq!(creta_proof::tile_path(0, 1_234_067, 256), "tile/0/x001/x234/067");
/// assert_eq!(creta_proof::tile_path(1, 0, 17), "tile/1/000.p/17");
/// ```
pub fn tile_path(level: u32, index: u64, width: u64) -> String {
    format!("tile/{level}/{}", index_path(index, width))
}

/// Path of an entry bundle below the log's prefix. `width` is 1 to 256.
pub fn entries_path(index: u64, width: u64) -> String {
    format!("tile/entries/{}", index_path(index, width))
}

fn index_path(index: u64, width: u64) -> String {
    let mut path = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    if width < TILE_WIDTH { format!("{path}.p/{width}") } else { path }
}

/// Reads what stands after the level in such a path: index and width of the tile.
pub fn parse_tile_index(path: &str) -> Option<(u64, u64)> {
    let (name, width) = match path.split_once(".p/") {
        Some((name, width)) => (name, width.parse().ok().filter(|width| (1..TILE_WIDTH).contains(width))?),
        None => (path, TILE_WIDTH),
    };
    let mut index = 0_u64;
    for part in name.split('/') {
        let digits = part.strip_prefix('x').unwrap_or(part);
        index = index.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
    }
    // Whatever is written otherwise comes back changed.
    (index_path(index, width) == path).then_some((index, width))
}

/// Hashes of tile `index` at `level`, 32 bytes each. `None` where the tree does not have them all, or for a width
/// outside 1 to 256.
pub fn tile_hashes(tree: &Tree, level: u32, index: u64, width: u64) -> Option<Vec<u8>> {
    let height = level.checked_mul(8).filter(|height| *height < u64::BITS)?;
    let mut tile = Vec::with_capacity(usize::try_from(width.min(TILE_WIDTH)).ok()? * 32);
    for position in positions(index, width)? {
        tile.extend_from_slice(tree.node(height, position)?.as_bytes());
    }
    Some(tile)
}

/// Entries of bundle `index` out of all `entries`, each after its length as a big-endian `u16`. `None` as for hashes.
/// No entry may be longer than 65,535 bytes.
pub fn bundle_of<E: AsRef<[u8]>>(entries: &[E], index: u64, width: u64) -> Option<Vec<u8>> {
    let positions = positions(index, width)?;
    let range = usize::try_from(positions.start).ok()?..usize::try_from(positions.end).ok()?;
    let mut bundle = Vec::new();
    for entry in entries.get(range)? {
        let entry = entry.as_ref();
        let length = u16::try_from(entry.len()).expect("entries are made no longer than a bundle can say");
        bundle.extend_from_slice(&length.to_be_bytes());
        bundle.extend_from_slice(entry);
    }
    Some(bundle)
}

/// Takes a bundle of `width` entries apart. The error says in which entry of the bundle, counted from 0, it goes wrong.
pub fn bundle_entries(bundle: &[u8], width: u64) -> Result<Vec<&[u8]>, (u64, &'static str)> {
    let (mut rest, mut entries) = (bundle, Vec::new());
    for at in 0..width {
        if rest.is_empty() {
            return Err((at, "the bundle ends before it"));
        }
        let cut = (at, "the bundle ends within it");
        let (length, after) = rest.split_first_chunk::<2>().ok_or(cut)?;
        let (entry, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or(cut)?;
        entries.push(entry);
        rest = after;
    }
    if rest.is_empty() { Ok(entries) } else { Err((width, "the bundle goes on after its last entry")) }
}

fn positions(index: u64, width: u64) -> Option<Range<u64>> {
    let start = index.checked_mul(TILE_WIDTH)?;
    (1..=TILE_WIDTH).contains(&width).then_some(start..start.checked_add(width)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Hash;
    use crate::tree::reference;

    #[test]
    fn tiles_hold_the_hashes_of_the_specification() {
        let entries: Vec<Vec<u8>> = (0..700).map(|n: u32| n.to_be_bytes().to_vec()).collect();
        let mut tree = Tree::default();
        entries.iter().for_each(|entry| tree.push(Hash::leaf(entry)));

        let third = tile_hashes(&tree, 0, 2, 188).expect("the partial tile of 700");
        let expected: Vec<u8> = entries[512..].iter().flat_map(|entry| *Hash::leaf(entry).as_bytes()).collect();
        assert_eq!(third, expected);
        let upper = tile_hashes(&tree, 1, 0, 2).expect("two full tiles lie below");
        assert_eq!(upper[..32], *reference::mth(&entries[..256]).as_bytes());
        assert_eq!(upper[32..], *reference::mth(&entries[256..512]).as_bytes());

        for (level, index, width) in
            [(0, 2, 189), (1, 0, 3), (2, 0, 1), (0, 0, 0), (0, 0, 257), (9, 0, 1), (0, u64::MAX, 1)]
        {
            assert_eq!(tile_hashes(&tree, level, index, width), None, "{level} {index} {width}");
        }
    }

    #[test]
    fn bundles_hold_each_entry_after_its_length() {
        let entries: Vec<Box<[u8]>> = (0..258).map(|n| vec![b'x'; n].into_boxed_slice()).collect();
        assert_eq!(bundle_of(&entries, 0, 3).expect("there"), b"\0\0\0\x01x\0\x02xx");
        let second = bundle_of(&entries, 1, 2).expect("there");
        assert_eq!((second.len(), &second[..3]), (2 + 256 + 2 + 257, b"\x01\0x".as_slice()));
        assert_eq!(bundle_of(&entries, 1, 3), None);

        let whole = bundle_of(&entries, 0, 256).expect("there");
        assert_eq!(bundle_entries(&whole, 256).expect("whole").concat(), entries[..256].concat());
        assert_eq!(bundle_entries(&whole, 255), Err((255, "the bundle goes on after its last entry")));
        assert_eq!(bundle_entries(&whole, 257), Err((256, "the bundle ends before it")));
        assert_eq!(bundle_entries(&whole[..whole.len() - 1], 256), Err((255, "the bundle ends within it")));
        assert_eq!(bundle_entries(&whole[..3], 256), Err((1, "the bundle ends within it")));
    }

    #[test]
    fn other_paths_are_no_tiles() {
        for bad in ["", "1", "0001", "x001", "001/002", "001.p/0", "001.p/256", "001.p/+7", "001.p/", ".p/3", "x1/002"]
        {
            assert_eq!(parse_tile_index(bad), None, "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn tile_paths_are_read_as_they_are_written(index in 0..10_000_000_000_u64, width in 1..=256_u64) {
            let path = tile_path(0, index, width);
            let read = path.strip_prefix("tile/0/").and_then(parse_tile_index);
            proptest::prop_assert_eq!(read, Some((index, width)));
        }
    }

    #[test]
    fn paths_are_those_of_the_specification() {
        assert_eq!(tile_path(0, 0, 256), "tile/0/000");
        assert_eq!(tile_path(3, 999, 1), "tile/3/999.p/1");
        assert_eq!(entries_path(1000, 256), "tile/entries/x001/000");
        assert_eq!(entries_path(1_234_067, 112), "tile/entries/x001/x234/067.p/112");
    }
}
