//! An append-only log of sealed records, the truth of the stores built on it.
//!
//! After the header (see `header.rs`; a log's data key is its own) come records:
//!
//! | Bytes | Field |
//! | --- | --- |
//! | 0..4 | length of what follows the check, big-endian |
//! | 4..20 | check: HMAC-SHA256 of number, previous tag and length, first 16 bytes |
//! | 20..32 | random nonce |
//! | 32.. | ciphertext, then its tag (16); number, previous tag and length are authenticated |
//!
//! Number and previous tag chain each record to the one before, the first to the header. So a record cannot be removed
//! from the middle, repeated, moved, or taken over from another log.
//!
//! A crash during an append leaves a prefix of what was written: a *torn tail*, a record that ends before its length says,
//! or a length that is itself incomplete. Only that is cut off. Since a complete length is authenticated, no change of a
//! byte can make a record look torn; every other damage is [`KeyError::Record`] and nothing is cut. What a log cannot
//! notice by itself is the loss of whole records at its end: compare [`SealedLog::position`] with one kept elsewhere.
//!
//! Nonces are random because a number is used again after a torn tail; a log may hold 2^32 records.

use std::sync::Arc;

use aws_lc_rs::hmac;
use creta_platform::{AppendFile, FileError, Files};

use crate::header::{HEADER_LEN, Header, LOG_FORMAT, Place};
use crate::primitives::{AesKey, NONCE_LEN, TAG_LEN, derive, mac, mac_key, random, same};
use crate::{KeyError, ScopeKey};

const CHECK_LEN: usize = 16;
const PREFIX_LEN: usize = 4 + CHECK_LEN;
/// What a record takes besides its bytes.
const OVERHEAD: usize = PREFIX_LEN + NONCE_LEN + TAG_LEN;
/// How much is read at once.
const BLOCK_LEN: usize = 1024 * 1024;

/// One record of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its number, from 0 without gaps.
    pub sequence: u64,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// How far a log reaches. Two logs with equal positions have equal content up to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogPosition {
    /// Number of the next record, which is how many there are.
    pub next: u64,
    /// Length of the file up to here.
    pub bytes: u64,
    /// Tag of the last record, or of the header: it stands for everything before.
    pub head: [u8; 16],
}

/// What a crash left at the end of a log and opening it cut off. It was never acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TornTail {
    /// How many bytes.
    pub bytes: u64,
}

/// A log that is open for appending. One at a time per file; the caller sees to that.
pub struct SealedLog {
    file: Box<dyn AppendFile>,
    what: String,
    keys: LogKeys,
    position: LogPosition,
    recovered: Option<TornTail>,
    poisoned: bool,
}

impl SealedLog {
    /// Opens the log, or creates it, and returns its records in order. Holds them all in memory; for a large log use
    /// [`open_each`](Self::open_each).
    pub fn open(
        files: &Arc<dyn Files>,
        key: &ScopeKey,
        store: &'static str,
        path: &str,
    ) -> Result<(Self, Vec<Record>), KeyError> {
        let mut records = Vec::new();
        let log = Self::open_each(files, key, store, path, |record| {
            records.push(record);
            Ok::<(), KeyError>(())
        })?;
        Ok((log, records))
    }

    /// Opens the log, or creates it, and hands its records to `visit` in order. An error of `visit` ends it. When it
    /// returns, every record visited is durable and a torn tail is gone; see [`recovered`](Self::recovered).
    pub fn open_each<E: From<KeyError>>(
        files: &Arc<dyn Files>,
        key: &ScopeKey,
        store: &'static str,
        path: &str,
        mut visit: impl FnMut(Record) -> Result<(), E>,
    ) -> Result<Self, E> {
        Self::create_if_missing(files, key, store, path)?;
        let mut reader = LogReader::open(files, key, store, path)?;
        for record in &mut reader {
            visit(record?)?;
        }
        Ok(Self::after(files, path, reader)?)
    }

    fn create_if_missing(files: &Arc<dyn Files>, key: &ScopeKey, store: &'static str, path: &str) -> Result<(), KeyError> {
        match files.size(path) {
            Err(FileError::NotFound { .. }) => {
                let (header, _) = Place { key, format: LOG_FORMAT, store, path }.new_header(0, 0);
                Ok(files.create(path, &header)?)
            }
            other => Ok(other.map(drop)?),
        }
    }

    fn after(files: &Arc<dyn Files>, path: &str, reader: LogReader) -> Result<Self, KeyError> {
        let mut file = files.append(path)?;
        let position = reader.position;
        let recovered = reader.torn;
        if let Some(TornTail { bytes }) = recovered {
            file.truncate(position.bytes)?;
            tracing::warn!(log = reader.what, bytes, records = position.next, "cut off what a crash left at the end of a log");
        }
        // A process that died between append and sync leaves records that can be read but could still be lost.
        file.sync()?;
        Ok(Self { file, what: reader.what, keys: reader.keys, position, recovered, poisoned: false })
    }

    /// Appends records in order and returns their numbers once all are durable: one write and one sync, however many.
    ///
    /// After a crash a prefix of the records may be there even though this did not return; what must stand together
    /// belongs in one record. After an error none of them counts, the file is cut back if the disk allows it, and the log
    /// is [`KeyError::Poisoned`] until it is opened again.
    pub fn append(&mut self, records: &[&[u8]]) -> Result<Vec<u64>, KeyError> {
        if self.poisoned {
            return Err(KeyError::Poisoned { what: self.what.clone() });
        }
        let mut sealed = Vec::with_capacity(records.iter().map(|record| record.len() + OVERHEAD).sum());
        let mut after = self.position;
        for record in records {
            self.keys.seal(&self.what, &mut after, record, &mut sealed)?;
        }
        if sealed.is_empty() {
            return Ok(Vec::new());
        }
        if let Err(error) = self.file.append(&sealed).and_then(|()| self.file.sync()) {
            self.poisoned = true;
            if let Err(second) = self.file.truncate(self.position.bytes) {
                tracing::warn!(log = self.what, error = %second, "a failed append could not be cut off; opening the log again decides");
            }
            return Err(error.into());
        }
        let numbers = (self.position.next..after.next).collect();
        self.position = after;
        Ok(numbers)
    }

    /// How far the log reaches; everything up to it is durable.
    pub fn position(&self) -> LogPosition {
        self.position
    }

    /// What opening the log cut off, if anything.
    pub fn recovered(&self) -> Option<TornTail> {
        self.recovered
    }
}

/// Reads a log record by record without changing it. After an error, or at the end, it yields nothing more.
pub struct LogReader {
    files: Arc<dyn Files>,
    path: String,
    what: String,
    keys: LogKeys,
    /// Length of the file when it was opened.
    size: u64,
    position: LogPosition,
    torn: Option<TornTail>,
    /// Bytes of the file from `position.bytes` on, beginning at `block_at`.
    block: Vec<u8>,
    block_at: usize,
    done: bool,
}

impl LogReader {
    /// Opens a log for reading. A log that is not there is [`FileError::NotFound`].
    pub fn open(files: &Arc<dyn Files>, key: &ScopeKey, store: &'static str, path: &str) -> Result<Self, KeyError> {
        let place = Place { key, format: LOG_FORMAT, store, path };
        let header = place.open_header(&files.read_range(path, 0, HEADER_LEN)?)?;
        Ok(Self {
            files: Arc::clone(files),
            path: path.to_owned(),
            what: place.what(),
            keys: LogKeys::new(&header),
            size: files.size(path)?,
            position: LogPosition { next: 0, bytes: HEADER_LEN as u64, head: header.tag },
            torn: None,
            block: Vec::new(),
            block_at: 0,
            done: false,
        })
    }

    /// How far has been read.
    pub fn position(&self) -> LogPosition {
        self.position
    }

    /// The incomplete record at the end, known once the reader has reached it.
    pub fn torn(&self) -> Option<TornTail> {
        self.torn
    }

    /// The next `len` bytes, or `None` if the file ends before them.
    fn peek(&mut self, len: usize) -> Result<Option<&[u8]>, KeyError> {
        if self.size - self.position.bytes < len as u64 {
            return Ok(None);
        }
        if self.block.len() - self.block_at < len {
            self.block = self.files.read_range(&self.path, self.position.bytes, len.max(BLOCK_LEN))?;
            self.block_at = 0;
        }
        // Shorter than the size said: somebody cut the file while it was being read.
        Ok(self.block.get(self.block_at..self.block_at + len))
    }

    fn read(&mut self) -> Result<Option<Record>, KeyError> {
        let rest = self.size - self.position.bytes;
        if rest == 0 {
            return Ok(None);
        }
        let position = self.position;
        let Some(prefix) = self.peek(PREFIX_LEN)? else {
            self.torn = Some(TornTail { bytes: rest });
            return Ok(None);
        };
        let len = u32::from_be_bytes(prefix[..4].try_into().expect("four bytes"));
        let check: [u8; CHECK_LEN] = prefix[4..].try_into().expect("the rest of the prefix");
        if !same(&check, &self.keys.check(&position, len)) {
            return Err(self.damaged());
        }
        let whole = PREFIX_LEN + len as usize;
        if self.peek(whole)?.is_none() {
            self.torn = Some(TornTail { bytes: rest });
            return Ok(None);
        }
        let body = &self.block[self.block_at + PREFIX_LEN..self.block_at + whole];
        let (bytes, head) = self.keys.open(&position, len, body).ok_or_else(|| self.damaged())?;
        self.block_at += whole;
        self.position = LogPosition { next: position.next + 1, bytes: position.bytes + whole as u64, head };
        Ok(Some(Record { sequence: position.next, bytes }))
    }

    fn damaged(&self) -> KeyError {
        KeyError::Record { what: self.what.clone(), record: self.position.next, offset: self.position.bytes }
    }
}

impl Iterator for LogReader {
    type Item = Result<Record, KeyError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.read().transpose();
        self.done = !matches!(next, Some(Ok(_)));
        next
    }
}

struct LogKeys {
    records: AesKey,
    checks: hmac::Key,
}

impl LogKeys {
    fn new(header: &Header) -> Self {
        Self {
            records: AesKey::new(&derive(&header.data_key, "log records", &[])),
            checks: mac_key(&derive(&header.data_key, "log headers", &[])),
        }
    }

    fn check(&self, at: &LogPosition, len: u32) -> [u8; CHECK_LEN] {
        let whole = mac(&self.checks, &[&at.next.to_be_bytes(), &at.head, &len.to_be_bytes()]);
        whole[..CHECK_LEN].try_into().expect("shorter than a hash")
    }

    /// Appends the record to `sealed` and moves `at` behind it.
    fn seal(&self, what: &str, at: &mut LogPosition, record: &[u8], sealed: &mut Vec<u8>) -> Result<(), KeyError> {
        let len = u32::try_from(NONCE_LEN + record.len() + TAG_LEN)
            .map_err(|_| KeyError::TooLarge { what: what.to_owned(), bytes: record.len() })?;
        sealed.extend_from_slice(&len.to_be_bytes());
        sealed.extend_from_slice(&self.check(at, len));
        let nonce = random::<NONCE_LEN>();
        sealed.extend_from_slice(&nonce);
        self.records.seal_onto(nonce, &aad(at, len), record, sealed);
        let head = sealed[sealed.len() - TAG_LEN..].try_into().expect("a record ends with its tag");
        *at = LogPosition { next: at.next + 1, bytes: at.bytes + PREFIX_LEN as u64 + u64::from(len), head };
        Ok(())
    }

    /// `body` is nonce, ciphertext and tag.
    fn open(&self, at: &LogPosition, len: u32, body: &[u8]) -> Option<(Vec<u8>, [u8; TAG_LEN])> {
        let (nonce, sealed) = body.split_at_checked(NONCE_LEN)?;
        let mut plain = Vec::with_capacity(sealed.len());
        self.records.open_onto(nonce, &aad(at, len), sealed, &mut plain)?;
        Some((plain, sealed[sealed.len() - TAG_LEN..].try_into().expect("a record ends with its tag")))
    }
}

fn aad(at: &LogPosition, len: u32) -> [u8; 28] {
    let mut aad = [0; 28];
    aad[..8].copy_from_slice(&at.next.to_be_bytes());
    aad[8..24].copy_from_slice(&at.head);
    aad[24..].copy_from_slice(&len.to_be_bytes());
    aad
}
