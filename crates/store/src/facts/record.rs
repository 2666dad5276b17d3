//! What stands in the write-ahead log. The first byte of a record says what it is; numbers are big-endian.
//!
//! | Kind | Then |
//! | --- | --- |
//! | 1 open | generation (8), base position (8), chain (32), manifest version (8) |
//! | 2 unit | position (8), random id (16), number of batches (4); per batch entity (4), length (8), Arrow IPC stream |
//! | 3 manifest | version (8) of a manifest that has become durable |
//! | 4 closed | generation (8) of the log that goes on from here |
//! | 5 unit that is taken once | as 2, then key (16), content (16), instant (8), length (4) and bytes of what was told |
//! | 6 remembered | number (4); per key of an earlier log position (8), key (16), content (16), instant (8), length (4), bytes |

use arrow::buffer::Buffer;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::StreamWriter;
use creta_model::{EntityId, Instant};

use super::once::Once;
use super::segment::memory;
use crate::{FactBatch, Position};

const OPEN: u8 = 1;
const UNIT: u8 = 2;
const MANIFEST: u8 = 3;
const CLOSED: u8 = 4;
const KEYED_UNIT: u8 = 5;
const REMEMBERED: u8 = 6;

/// A decoded record.
pub(crate) enum LogRecord {
    Open(Opened),
    Unit { position: Position, id: [u8; 16], batches: Vec<FactBatch>, once: Option<Once> },
    Remembered(Vec<(Position, Once)>),
    Manifest { version: u64 },
    Closed { next: u64 },
}

/// The first record of a log: what it goes on from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) generation: u64,
    /// Position before its first unit.
    pub(crate) base: Position,
    /// Stands for the history up to `base`.
    pub(crate) chain: [u8; 32],
    /// A manifest at least this new is durable.
    pub(crate) manifest: u64,
}

impl Opened {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![OPEN];
        bytes.extend_from_slice(&self.generation.to_be_bytes());
        bytes.extend_from_slice(&self.base.0.to_be_bytes());
        bytes.extend_from_slice(&self.chain);
        bytes.extend_from_slice(&self.manifest.to_be_bytes());
        bytes
    }
}

pub(crate) fn encode_manifest(version: u64) -> Vec<u8> {
    [&[MANIFEST][..], &version.to_be_bytes()].concat()
}

pub(crate) fn encode_closed(next: u64) -> Vec<u8> {
    [&[CLOSED][..], &next.to_be_bytes()].concat()
}

/// A unit's record, encoded once before its position is known.
pub(crate) struct UnitRecord(Vec<u8>);

impl UnitRecord {
    /// `id` must never come twice.
    pub(crate) fn encode(batches: &[FactBatch], id: [u8; 16], once: Option<&Once>) -> Result<Self, ArrowError> {
        // The schema of a stream takes some 100 bytes per column, a buffer at most 64 bytes of padding.
        let size = |facts: &FactBatch| memory(facts.batch()) as usize + 1024 + 384 * facts.batch().num_columns();
        let mut bytes = Vec::with_capacity(batches.iter().map(size).sum());
        bytes.push(if once.is_some() { KEYED_UNIT } else { UNIT });
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(&id);
        bytes.extend_from_slice(&u32::try_from(batches.len()).expect("fewer than 2^32 batches").to_be_bytes());
        for facts in batches {
            bytes.extend_from_slice(&facts.entity().0.to_be_bytes());
            let length_at = bytes.len();
            bytes.extend_from_slice(&[0; 8]);
            let mut writer = StreamWriter::try_new(&mut bytes, facts.batch().schema_ref())?;
            writer.write(facts.batch())?;
            writer.finish()?;
            drop(writer);
            let length = (bytes.len() - length_at - 8) as u64;
            bytes[length_at..length_at + 8].copy_from_slice(&length.to_be_bytes());
        }
        if let Some(once) = once {
            put_once(&mut bytes, once);
        }
        Ok(Self(bytes))
    }

    /// The record, once its position is known.
    pub(crate) fn at(&mut self, position: Position) -> &[u8] {
        self.0[1..9].copy_from_slice(&position.0.to_be_bytes());
        &self.0
    }

    pub(crate) fn id(&self) -> [u8; 16] {
        self.0[9..25].try_into().expect("sixteen bytes")
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Reads a record; `None` if it is of no kind above or does not decode.
pub(crate) fn decode(bytes: Vec<u8>) -> Option<LogRecord> {
    let mut rest = Cursor(&bytes);
    match rest.take(1)?[0] {
        OPEN => Some(LogRecord::Open(Opened {
            generation: rest.u64()?,
            base: Position(rest.u64()?),
            chain: rest.take(32)?.try_into().ok()?,
            manifest: rest.u64()?,
        })),
        kind @ (UNIT | KEYED_UNIT) => {
            let position = Position(rest.u64()?);
            let id = rest.take(16)?.try_into().ok()?;
            let count = u32::from_be_bytes(rest.take(4)?.try_into().ok()?);
            let mut parts = Vec::new();
            for _ in 0..count {
                let entity = EntityId(u32::from_be_bytes(rest.take(4)?.try_into().ok()?));
                let len = usize::try_from(rest.u64()?).ok()?;
                let at = bytes.len() - rest.0.len();
                rest.take(len)?;
                parts.push((entity, at, len));
            }
            let once = if kind == KEYED_UNIT { Some(rest.once()?) } else { None };
            let whole = Buffer::from_vec(bytes);
            let batches =
                parts.into_iter().map(|(entity, at, len)| decode_batch(entity, whole.slice_with_length(at, len)));
            Some(LogRecord::Unit { position, id, batches: batches.collect::<Option<_>>()?, once })
        }
        MANIFEST => Some(LogRecord::Manifest { version: rest.u64()? }),
        CLOSED => Some(LogRecord::Closed { next: rest.u64()? }),
        REMEMBERED => {
            let count = u32::from_be_bytes(rest.take(4)?.try_into().ok()?);
            let each = (0..count).map(|_| Some((Position(rest.u64()?), rest.once()?)));
            Some(LogRecord::Remembered(each.collect::<Option<_>>()?))
        }
        _ => None,
    }
}

/// The columns share the record's memory where it is aligned.
fn decode_batch(entity: EntityId, mut stream: Buffer) -> Option<FactBatch> {
    let batch = StreamDecoder::new().decode(&mut stream).ok()??;
    Some(FactBatch::trusted(entity, batch))
}

/// Keys of earlier logs that are still remembered, as records of bounded length.
pub(crate) fn encode_remembered<'a>(all: impl Iterator<Item = (Position, &'a Once)>) -> Vec<Vec<u8>> {
    let all: Vec<_> = all.collect();
    let encode = |some: &[(Position, &Once)]| {
        let mut bytes = vec![REMEMBERED];
        bytes.extend_from_slice(&u32::try_from(some.len()).expect("a few").to_be_bytes());
        for (position, once) in some {
            bytes.extend_from_slice(&position.0.to_be_bytes());
            put_once(&mut bytes, once);
        }
        bytes
    };
    all.chunks(KEYS_PER_RECORD).map(encode).collect()
}

const KEYS_PER_RECORD: usize = 4096;

fn put_once(bytes: &mut Vec<u8>, once: &Once) {
    bytes.extend_from_slice(&once.key);
    bytes.extend_from_slice(&once.content);
    bytes.extend_from_slice(&once.at.micros().to_be_bytes());
    bytes.extend_from_slice(&u32::try_from(once.told.len()).expect("bounded by the append").to_be_bytes());
    bytes.extend_from_slice(&once.told);
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(self.take(8)?.try_into().ok()?))
    }

    fn once(&mut self) -> Option<Once> {
        let (key, content) = (self.take(16)?.try_into().ok()?, self.take(16)?.try_into().ok()?);
        let at = Instant::from_micros(i64::from_be_bytes(self.take(8)?.try_into().ok()?)).ok()?;
        let length = u32::from_be_bytes(self.take(4)?.try_into().ok()?);
        Some(Once { key, content, at, told: self.take(length as usize)?.to_vec() })
    }
}
