//! Versions of events: which facts share an event id, and from when on each is superseded (rule S8).
//!
//! One online value per event id:
//!
//! ```text
//! value    format u8, then each version
//! version  event_time i64, arrival_time i64, sequence u64, source length u32, source,
//!          then for each index of the entity: key length u32 (`u32::MAX` for no key), key
//! ```

use super::block::{FORMAT, NotABlock, take, take_i64, take_u32};

/// One version of an event, and where its fact lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) event_time: i64,
    pub(super) arrival_time: i64,
    pub(super) source: Box<[u8]>,
    pub(super) sequence: u64,
    /// Its key in each index of the entity, in their order.
    pub(super) keys: Vec<Option<Box<[u8]>>>,
}

impl Version {
    /// Rule S7.
    fn order(&self) -> (i64, i64, &[u8], u64) {
        (self.event_time, self.arrival_time, &self.source, self.sequence)
    }
}

/// For each version the smallest arrival time among those later in the order of rule S7, `i64::MAX` for none.
///
/// Sorts `versions`.
pub(super) fn superseded_at(versions: &mut [Version]) -> Vec<i64> {
    versions.sort_by(|a, b| a.order().cmp(&b.order()));
    let mut earliest = i64::MAX;
    let mut out: Vec<i64> = versions
        .iter()
        .rev()
        .map(|version| {
            let superseded = earliest;
            earliest = earliest.min(version.arrival_time);
            superseded
        })
        .collect();
    out.reverse();
    out
}

pub(super) fn write(versions: &[Version]) -> Vec<u8> {
    let mut out = vec![FORMAT];
    let bytes = |out: &mut Vec<u8>, bytes: &[u8]| {
        out.extend((bytes.len() as u32).to_le_bytes());
        out.extend(bytes);
    };
    for version in versions {
        out.extend(version.event_time.to_le_bytes());
        out.extend(version.arrival_time.to_le_bytes());
        out.extend(version.sequence.to_le_bytes());
        bytes(&mut out, &version.source);
        for key in &version.keys {
            match key {
                Some(key) => bytes(&mut out, key),
                None => out.extend(u32::MAX.to_le_bytes()),
            }
        }
    }
    out
}

pub(super) fn read(bytes: &[u8], indexes: usize) -> Result<Vec<Version>, NotABlock> {
    let (&format, mut bytes) = bytes.split_first().ok_or(NotABlock)?;
    if format != FORMAT {
        return Err(NotABlock);
    }
    let mut versions = Vec::new();
    while !bytes.is_empty() {
        let event_time = take_i64(&mut bytes)?;
        let arrival_time = take_i64(&mut bytes)?;
        let sequence = take_i64(&mut bytes)? as u64;
        let length = take_u32(&mut bytes)? as usize;
        let source = take(&mut bytes, length)?.into();
        let mut keys = Vec::with_capacity(indexes);
        for _ in 0..indexes {
            let length = take_u32(&mut bytes)?;
            keys.push(if length == u32::MAX { None } else { Some(take(&mut bytes, length as usize)?.into()) });
        }
        versions.push(Version { event_time, arrival_time, source, sequence, keys });
    }
    Ok(versions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn version() -> impl Strategy<Value = Version> {
        let key = prop::option::of(prop::collection::vec(any::<u8>(), 0..3));
        (0i64..4, 0i64..4, "[ab]", 0u64..4, prop::collection::vec(key, 2)).prop_map(
            |(event_time, arrival_time, source, sequence, keys)| Version {
                event_time,
                arrival_time,
                source: source.into_bytes().into(),
                sequence,
                keys: keys.into_iter().map(|key| key.map(Into::into)).collect(),
            },
        )
    }

    proptest! {
        #[test]
        fn s8_superseding_is_the_earliest_arrival_of_a_later_version(mut versions in prop::collection::vec(version(), 0..6)) {
            let found = superseded_at(&mut versions);
            for (index, version) in versions.iter().enumerate() {
                let later = versions.iter().enumerate().filter(|(i, v)| v.order() > version.order() || (v.order() == version.order() && *i > index));
                prop_assert_eq!(found[index], later.map(|(_, v)| v.arrival_time).min().unwrap_or(i64::MAX));
            }
        }

        #[test]
        fn versions_survive_their_bytes(versions in prop::collection::vec(version(), 0..4)) {
            prop_assert_eq!(read(&write(&versions), 2).expect("own form"), versions);
        }
    }
}
