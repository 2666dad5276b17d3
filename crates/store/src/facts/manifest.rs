//! Which segments and which log make up the store: one sealed document, replaced as a whole.

use creta_model::{EntityId, Instant};
use serde::{Deserialize, Serialize};

use crate::{Position, StoreError};

/// Name and version of the manifest's own form.
pub(crate) const MANIFEST_FORMAT: &str = "creta.facts-manifest/1";
/// How many earlier chain values a manifest remembers.
const ANCHORS_MAX: usize = 512;

/// The manifest. Its version is that of the sealed file it stands in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    pub(crate) format: String,
    pub(crate) layout: String,
    /// The first log that is not wholly in segments.
    pub(crate) generation: u64,
    /// Up to where the segments hold everything.
    pub(crate) base: Position,
    /// Stands for the history up to `base`.
    #[serde(with = "hex_bytes")]
    pub(crate) chain: [u8; 32],
    /// Number of the next segment; numbers are never used twice.
    pub(crate) next_segment: u64,
    pub(crate) segments: Vec<SegmentMeta>,
    /// Earlier values of `base` and `chain`, oldest first.
    pub(crate) anchors: Vec<Anchor>,
}

/// What the manifest knows about one segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SegmentMeta {
    /// Number and random part: `00000000000000000007-9f86d081884c7d65`.
    pub(crate) name: String,
    pub(crate) entity: EntityId,
    pub(crate) rows: u64,
    /// Length of the Parquet file before sealing.
    pub(crate) bytes: u64,
    /// Bytes of its decoded columns.
    pub(crate) memory: u64,
    /// MAC of the Parquet file.
    #[serde(with = "hex_bytes")]
    pub(crate) digest: [u8; 32],
    pub(crate) event_min: Instant,
    pub(crate) event_max: Instant,
    pub(crate) arrival_min: Instant,
    pub(crate) arrival_max: Instant,
    /// Positions of the first and last unit with rows in it.
    pub(crate) first: Position,
    pub(crate) last: Position,
}

/// A place in the history and what stands for everything up to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Anchor {
    pub(crate) position: Position,
    #[serde(with = "hex_bytes")]
    pub(crate) chain: [u8; 32],
}

impl Manifest {
    /// That of an empty store.
    pub(crate) fn first() -> Self {
        Self {
            format: MANIFEST_FORMAT.to_owned(),
            layout: crate::layout::LAYOUT.to_owned(),
            generation: 0,
            base: Position::START,
            chain: [0; 32],
            next_segment: 0,
            segments: Vec::new(),
            anchors: Vec::new(),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a manifest has text keys only")
    }

    pub(crate) fn decode(bytes: &[u8], store: &str) -> Result<Self, StoreError> {
        #[derive(Deserialize)]
        struct Formats {
            format: String,
            layout: String,
        }
        let decode_failed = |error| StoreError::Decode { store: store.to_owned(), source: Box::new(error) };
        let formats: Formats = serde_json::from_slice(bytes).map_err(decode_failed)?;
        for (found, ours) in [(formats.format, MANIFEST_FORMAT), (formats.layout, crate::layout::LAYOUT)] {
            if found != ours {
                return Err(StoreError::Format { store: store.to_owned(), format: found });
            }
        }
        serde_json::from_slice(bytes).map_err(decode_failed)
    }

    /// Moves the base on after the logs before `generation` went into segments.
    pub(crate) fn advance(&mut self, generation: u64, base: Position, chain: [u8; 32]) {
        self.anchors.push(Anchor { position: self.base, chain: self.chain });
        let surplus = self.anchors.len().saturating_sub(ANCHORS_MAX);
        self.anchors.drain(..surplus);
        (self.generation, self.base, self.chain) = (generation, base, chain);
    }
}

/// 32 bytes as hexadecimal text.
mod hex_bytes {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(D::Error::custom)?;
        Ok(bytes)
    }
}
