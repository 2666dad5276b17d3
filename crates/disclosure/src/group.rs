//! Counts that say nothing about fewer people than a group.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The least size of a group, which nobody can configure away.
pub const GROUP_MIN: u64 = 20;

/// How many entities a count must be about, at least. Never below [`GROUP_MIN`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct GroupSize(u64);

/// A group smaller than [`GROUP_MIN`] was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a group of {given} is too small: at least {GROUP_MIN}")]
pub struct GroupTooSmall {
    /// What was asked for.
    pub given: u64,
}

impl GroupSize {
    /// A size of at least [`GROUP_MIN`].
    pub fn new(size: u64) -> Result<Self, GroupTooSmall> {
        if size < GROUP_MIN { Err(GroupTooSmall { given: size }) } else { Ok(Self(size)) }
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// A count, rounded down to a multiple of the size.
    pub fn count(self, exact: u64) -> Count {
        Count(exact - exact % self.0)
    }

    /// Whether so many entities are between one and a group: what must not be learned about.
    pub(crate) fn is_too_few(self, entities: u64) -> bool {
        (1..self.0).contains(&entities)
    }
}

impl Default for GroupSize {
    fn default() -> Self {
        Self(GROUP_MIN)
    }
}

impl TryFrom<u64> for GroupSize {
    type Error = GroupTooSmall;
    fn try_from(size: u64) -> Result<Self, GroupTooSmall> {
        Self::new(size)
    }
}

impl From<GroupSize> for u64 {
    fn from(size: GroupSize) -> u64 {
        size.0
    }
}

/// How many there are at least, in whole groups. Zero means fewer than a group, and may be none. Only [`GroupSize::count`]
/// makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Count(u64);

impl Count {
    /// The number: a multiple of the group's size.
    pub const fn at_least(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_ch19_a_group_is_configured_upwards_only() {
        assert_eq!(GroupSize::new(19), Err(GroupTooSmall { given: 19 }));
        assert_eq!(GroupSize::new(0), Err(GroupTooSmall { given: 0 }));
        assert_eq!(GroupSize::new(50).map(GroupSize::get), Ok(50));
        assert!(serde_json::from_str::<GroupSize>("19").is_err());
        assert_eq!(serde_json::from_str::<GroupSize>("20").ok(), Some(GroupSize::default()));
    }

    #[test]
    fn counts_come_in_whole_groups() {
        let size = GroupSize::default();
        let shown: Vec<u64> = [0, 1, 19, 20, 39, 40, 1_001].map(|n| size.count(n).at_least()).to_vec();
        assert_eq!(shown, [0, 0, 0, 20, 20, 40, 1_000]);
        assert!(!size.is_too_few(0) && size.is_too_few(1) && size.is_too_few(19) && !size.is_too_few(20));
    }
}
