//! Whether everything that holds data is encrypted: root, home and swap.

use super::Tree;
use crate::device::State;

/// How many devices may lie under a file system: LVM on RAID on LUKS is three.
const DEPTH_MAX: usize = 8;

/// On if root, home (where it is its own file system) and each swap device lie on dm-crypt. Swap in memory (zram) counts.
pub(super) fn encryption(tree: &dyn Tree) -> State {
    let Some(mounts) = tree.text("/proc/self/mountinfo") else {
        return State::Unknown;
    };
    let source_of = |point: &str| mounts.lines().rev().find_map(|line| mount(line).filter(|(at, _, _)| *at == point));
    let Some(root) = source_of("/") else {
        return State::Unknown;
    };
    let homes = mounts.lines().filter_map(mount).filter(|(at, kind, _)| {
        (at.starts_with("/home") || at.starts_with("/var")) && !["tmpfs", "overlay", "nsfs", "proc"].contains(kind)
    });
    let disks = std::iter::once(root).chain(homes).map(|(_, kind, source)| match kind {
        "zfs" | "overlay" | "nfs" | "nfs4" => State::Unknown,
        _ => device_state(tree, source),
    });
    let swaps = tree.text("/proc/swaps").unwrap_or_default();
    let swaps = swaps.lines().skip(1).filter_map(|line| line.split_whitespace().next()).map(|source| {
        match source.strip_prefix("/dev/") {
            Some(name) if name.starts_with("zram") => State::On,
            Some(_) => device_state(tree, source),
            // A file: on one of the file systems above, root if nothing else.
            None => device_state(tree, root.2),
        }
    });
    State::all(disks.chain(swaps).collect::<Vec<_>>())
}

/// Mount point, type and source of a line of `mountinfo` (proc(5)).
fn mount(line: &str) -> Option<(&str, &str, &str)> {
    let (before, after) = line.split_once(" - ")?;
    let mut after = after.split(' ');
    Some((before.split(' ').nth(4)?, after.next()?, after.next()?))
}

/// `/dev/sda2`, `/dev/dm-0` or `/dev/mapper/name`.
fn device_state(tree: &dyn Tree, source: &str) -> State {
    let Some(name) = source.strip_prefix("/dev/") else {
        return State::Unknown;
    };
    let block = match name.strip_prefix("mapper/") {
        Some(mapped) => tree.list("/sys/class/block").into_iter().find(|block| {
            tree.text(&format!("/sys/class/block/{block}/dm/name")).is_some_and(|name| name.trim() == mapped)
        }),
        None => Some(name.to_owned()),
    };
    block.map_or(State::Unknown, |block| block_state(tree, &block, DEPTH_MAX))
}

/// A block device is encrypted if it is dm-crypt, or if all that it lies on is.
fn block_state(tree: &dyn Tree, block: &str, depth: usize) -> State {
    let folder = format!("/sys/class/block/{block}");
    let kind = tree.text(&format!("{folder}/dm/uuid"));
    if kind.as_deref().is_some_and(|uuid| uuid.starts_with("CRYPT-")) {
        return State::On;
    }
    let below = tree.list(&format!("{folder}/slaves"));
    if below.is_empty() {
        // A disk or partition of its own, if the kernel knows it at all.
        return if tree.read(&format!("{folder}/dev")).is_some() { State::Off } else { State::Unknown };
    }
    if depth == 0 {
        return State::Unknown;
    }
    State::all(below.iter().map(|block| block_state(tree, block, depth - 1)))
}
