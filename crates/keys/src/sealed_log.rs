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
    ///
    /// When opening fails because the disk could not sync, start the machine again before the next attempt: Linux forgets
    /// what it could not write, so a later sync would claim success for records that are not on disk.
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

    fn create_if_missing(
        files: &Arc<dyn Files>,
        key: &ScopeKey,
        store: &'static str,
        path: &str,
    ) -> Result<(), KeyError> {
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
            tracing::warn!(
                log = reader.what,
                bytes,
                records = position.next,
                "cut off what a crash left at the end of a log"
            );
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scope_key::{fixed_key, test_key};
    use creta_platform::{Fault, FaultyFiles, MemoryFiles};
    use proptest::prelude::*;

    fn memory() -> Arc<dyn Files> {
        Arc::new(MemoryFiles::new())
    }

    fn open(files: &Arc<dyn Files>, key: &ScopeKey) -> Result<(SealedLog, Vec<Record>), KeyError> {
        SealedLog::open(files, key, "facts", "log")
    }

    fn written(files: &Arc<dyn Files>, key: &ScopeKey, records: &[&[u8]]) -> (Vec<u8>, LogPosition) {
        let (mut log, _) = open(files, key).expect("opens");
        log.append(records).expect("appends");
        (files.read("log").expect("there"), log.position())
    }

    fn numbered<B: AsRef<[u8]>>(records: &[B]) -> Vec<Record> {
        (0..).zip(records).map(|(sequence, bytes)| Record { sequence, bytes: bytes.as_ref().to_vec() }).collect()
    }

    const RECORDS: [&[u8]; 4] = [b"first", b"", b"the third record", b"last"];

    #[test]
    fn records_come_back_in_order_with_their_numbers() {
        let (files, key) = (memory(), test_key("acme", "prod"));
        let (mut log, none) = open(&files, &key).expect("creates");
        assert!(none.is_empty());
        assert_eq!(log.append(&RECORDS[..1]).expect("appends"), [0]);
        assert_eq!(log.append(&[]).expect("nothing to do"), [0; 0]);
        assert_eq!(log.append(&RECORDS[1..]).expect("appends"), [1, 2, 3]);
        let position = log.position();
        let (mut log, records) = open(&files, &key).expect("opens");
        assert_eq!(records, numbered(&RECORDS));
        assert_eq!((log.position(), log.recovered()), (position, None));
        assert_eq!(log.append(&[b"more"]).expect("appends"), [4]);
        assert_eq!(position.bytes + 4 + OVERHEAD as u64, log.position().bytes);
        assert_eq!(log.position().bytes, files.size("log").expect("there"));
    }

    #[test]
    fn a_log_cut_anywhere_is_a_prefix_of_its_records_and_goes_on() {
        let (files, key) = (memory(), test_key("acme", "prod"));
        let (whole, _) = written(&files, &key, &RECORDS);
        let mut lengths_seen = std::collections::BTreeSet::new();
        for cut in HEADER_LEN..whole.len() {
            files.replace("log", &whole[..cut]).expect("writes");
            let (mut log, records) = open(&files, &key).expect("a torn tail is no damage");
            assert_eq!(records, numbered(&RECORDS[..records.len()]), "cut at {cut}");
            lengths_seen.insert(records.len());
            let kept = log.position().bytes;
            assert_eq!(log.recovered(), (kept < cut as u64).then(|| TornTail { bytes: cut as u64 - kept }));
            assert_eq!(files.size("log").expect("there"), kept);
            log.append(&[b"after"]).expect("appends");
            let (log, again) = open(&files, &key).expect("opens");
            assert_eq!(again.last().map(|record| &record.bytes[..]), Some(&b"after"[..]));
            assert_eq!((again.len(), log.recovered()), (records.len() + 1, None));
        }
        assert_eq!(lengths_seen, (0..RECORDS.len()).collect());
        for cut in 0..HEADER_LEN {
            files.replace("log", &whole[..cut]).expect("writes");
            assert!(
                matches!(open(&files, &key), Err(KeyError::Truncated { .. })),
                "a log is created with its header: {cut}"
            );
        }
    }

    #[test]
    fn attack_ci12_a_log_with_any_byte_flipped_is_refused_and_left_as_it_is() {
        let (files, key) = (memory(), test_key("acme", "prod"));
        let (whole, _) = written(&files, &key, &RECORDS);
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut bad = whole.clone();
                bad[at] ^= 1 << bit;
                files.replace("log", &bad).expect("writes");
                let outcome = open(&files, &key).map(|(_, records)| records.len());
                let expected = match at {
                    0 => matches!(outcome, Err(KeyError::UnknownFormat { .. })),
                    1..=4 => matches!(outcome, Err(KeyError::KeyVersion { .. })),
                    5..HEADER_LEN => matches!(outcome, Err(KeyError::Foreign { .. })),
                    _ => matches!(outcome, Err(KeyError::Record { .. })),
                };
                assert!(expected, "byte {at} bit {bit}: {outcome:?}");
                assert_eq!(files.read("log").expect("there"), bad, "byte {at}");
            }
        }
    }

    #[test]
    fn attack_ci12_a_damaged_record_is_named() {
        let (files, key) = (memory(), test_key("acme", "prod"));
        let (mut whole, _) = written(&files, &key, &RECORDS);
        let second = HEADER_LEN + OVERHEAD + RECORDS[0].len();
        whole[second + PREFIX_LEN] ^= 1;
        files.replace("log", &whole).expect("writes");
        let error = open(&files, &key).err().expect("refused");
        assert_eq!(
            error.to_string(),
            format!(
                "record 1 of the log `facts/log`, at byte {second}, was changed or belongs elsewhere; nothing was cut off; \
                 restore the log from a backup"
            )
        );
    }

    #[test]
    fn attack_ci12_records_removed_repeated_moved_or_spliced_are_refused() {
        let (files, key) = (memory(), test_key("acme", "prod"));
        let same_length: [&[u8]; 3] = [b"one", b"two", b"six"];
        let (whole, _) = written(&files, &key, &same_length);
        let other_files = memory();
        let (other, _) = written(&other_files, &key, &same_length);
        let record = |file: &[u8], index: usize| file[HEADER_LEN + index * (OVERHEAD + 3)..][..OVERHEAD + 3].to_vec();
        let [a, b, c] = [0, 1, 2].map(|index| record(&whole, index));
        let forged = [
            (vec![b.clone(), c.clone()], 0),
            (vec![a.clone(), c.clone()], 1),
            (vec![a.clone(), c.clone(), b.clone()], 1),
            (vec![a.clone(), a.clone(), b.clone(), c.clone()], 1),
            (vec![a.clone(), record(&other, 1), c.clone()], 1),
            (vec![a.clone(), b.clone(), c.clone(), a.clone()], 3),
        ];
        for (records, damaged) in forged {
            files.replace("log", &[&whole[..HEADER_LEN], &records.concat()].concat()).expect("writes");
            let outcome = open(&files, &key).map(|(_, records)| records.len());
            assert!(matches!(outcome, Err(KeyError::Record { record, .. }) if record == damaged), "{outcome:?}");
        }
    }

    #[test]
    fn attack_ch23_a_log_at_another_place_is_refused() {
        let (files, key) = (memory(), test_key("acme", "prod"));
        let (whole, _) = written(&files, &key, &RECORDS);
        files.create("moved", &whole).expect("new");
        for other in [
            SealedLog::open(&files, &key, "facts", "moved"),
            SealedLog::open(&files, &key, "audit", "log"),
            open(&files, &test_key("beta", "prod")),
            open(&files, &test_key("acme", "staging")),
        ] {
            assert!(matches!(other.map(|(_, records)| records), Err(KeyError::Foreign { .. })));
        }
    }

    #[test]
    fn attack_ci12_whole_records_lost_at_the_end_show_in_the_position() {
        let (files, key) = (memory(), test_key("acme", "prod"));
        let (whole, position) = written(&files, &key, &RECORDS);
        files.replace("log", &whole[..whole.len() - OVERHEAD - RECORDS[3].len()]).expect("writes");
        let (mut log, _) = open(&files, &key).expect("a shorter log is a log");
        assert_eq!(log.position().next, position.next - 1);
        log.append(&[b"fake"]).expect("appends");
        assert_eq!((log.position().next, log.position().bytes), (position.next, position.bytes));
        assert_ne!(log.position().head, position.head, "equal length does not make it the same log");
    }

    #[test]
    fn a_failed_append_is_cut_off_and_poisons_the_log() {
        for fault in [Fault::Full, Fault::Error] {
            for step in 0..2 {
                let disk = FaultyFiles::new(9);
                let (files, key): (Arc<dyn Files>, _) = (Arc::new(disk.clone()), test_key("acme", "prod"));
                let (mut log, _) = open(&files, &key).expect("creates");
                log.append(&[b"kept"]).expect("appends");
                let before = log.position();
                disk.inject(fault, step);
                assert!(matches!(log.append(&[b"lost"]), Err(KeyError::File(_))));
                assert!(matches!(log.append(&[b"refused"]), Err(KeyError::Poisoned { .. })));
                assert_eq!(log.position(), before);
                assert_eq!(files.size("log").expect("there"), before.bytes, "{fault:?} {step}");
                let files: Arc<dyn Files> = Arc::new(disk.restart());
                let (mut log, records) = open(&files, &key).expect("opens");
                assert_eq!(records, numbered(&[b"kept"]));
                assert_eq!(log.append(&[b"again"]).expect("appends"), [1]);
            }
        }
    }

    #[test]
    fn records_found_on_opening_are_durable_afterwards() {
        let key = test_key("acme", "prod");
        let (whole, _) = written(&memory(), &key, &RECORDS);
        for seed in 0..20 {
            let disk = FaultyFiles::new(seed);
            let files: Arc<dyn Files> = Arc::new(disk.clone());
            // A process wrote the records and died before its sync, while the machine ran on.
            files.create("log", &whole[..HEADER_LEN]).expect("new");
            files.append("log").and_then(|mut file| file.append(&whole[HEADER_LEN..])).expect("writes");
            let (_, records) = open(&files, &key).expect("opens");
            assert_eq!(records, numbered(&RECORDS));
            let (_, after_power_loss) = open(&(Arc::new(disk.restart()) as Arc<dyn Files>), &key).expect("opens");
            assert_eq!(after_power_loss, records);
        }
    }

    #[test]
    fn large_records_and_many_small_ones_cross_the_blocks_of_the_reader() {
        let (files, key) = (memory(), test_key("acme", "prod"));
        let large: Vec<u8> = (0..BLOCK_LEN + 5).map(|at| (at % 249) as u8).collect();
        let small = [3_u8; 1000];
        let mut records: Vec<&[u8]> = vec![&small; 1500];
        records.insert(700, &large);
        let (_, position) = written(&files, &key, &records);
        let mut reader = LogReader::open(&files, &key, "facts", "log").expect("there");
        let read: Vec<Record> = (&mut reader).collect::<Result<_, _>>().expect("own");
        assert!(read == numbered(&records));
        assert_eq!((reader.position(), reader.torn()), (position, None));
        assert!(reader.next().is_none());
    }

    #[test]
    fn reading_changes_nothing_and_reports_the_torn_tail() {
        let (files, key) = (memory(), test_key("acme", "prod"));
        let (whole, _) = written(&files, &key, &RECORDS);
        files.replace("log", &whole[..whole.len() - 1]).expect("writes");
        let mut reader = LogReader::open(&files, &key, "facts", "log").expect("there");
        assert_eq!((&mut reader).filter_map(Result::ok).count(), 3);
        assert_eq!(reader.torn(), Some(TornTail { bytes: (OVERHEAD + RECORDS[3].len() - 1) as u64 }));
        assert_eq!(files.size("log").expect("there"), whole.len() as u64 - 1);
        assert!(matches!(
            LogReader::open(&files, &key, "facts", "none"),
            Err(KeyError::File(FileError::NotFound { .. }))
        ));
    }

    #[test]
    fn what_was_sealed_by_the_first_release_still_opens() {
        let files = memory();
        files.create("log", &hex::decode(SEALED_BY_FORMAT_3).expect("hex")).expect("new");
        let (_, records) = open(&files, &fixed_key("acme", "prod")).expect("format 3");
        assert_eq!(records, numbered(&[&b"Lyon"[..], b"Turin"]));
    }

    const SEALED_BY_FORMAT_3: &str = "\
        030000000100000000000000000000000000000000c3246a764f7b77e0a2830cfbb3de9b891c73601cedf24710a66418\
        a168a090791c0d4faf382b8196a2b387a7a8e503cc31f68c4046a704e0ac1d554e7b92f27f541a4f45e5326e7cd47731\
        9a7582893f000271517034b81a2bf626df00000020739bb46926c03aea976e942bd2a69c9f451d572688233480f59d34\
        d8e970e5d76f61f45129050f4dc47154bce572dcb20000002183d364271c860e89f541c227e4af163d7e4fae03474daf\
        52a0be2b2bce70607c3c12e19919e032a9c9c64b0dfc519fb8db";

    #[test]
    fn an_error_of_the_visitor_ends_the_opening() {
        let (files, key) = (memory(), test_key("acme", "prod"));
        written(&files, &key, &RECORDS);
        let mut seen = 0;
        let outcome = SealedLog::open_each(&files, &key, "facts", "log", |record| {
            seen += 1;
            if record.sequence == 1 { Err(KeyError::Truncated { what: "visitor".to_owned() }) } else { Ok(()) }
        });
        assert!(matches!(outcome, Err(KeyError::Truncated { what }) if what == "visitor"));
        assert_eq!(seen, 2);
    }

    #[test]
    fn attack_ci12_a_number_used_again_after_a_torn_tail_has_another_nonce() {
        let (files, key) = (memory(), test_key("acme", "prod"));
        written(&files, &key, &[b"kept"]);
        let mut nonces = std::collections::HashSet::new();
        for _ in 0..500 {
            let (mut log, _) = open(&files, &key).expect("opens");
            let start = log.position().bytes;
            log.append(&[b"same"]).expect("appends");
            assert!(nonces.insert(files.read_range("log", start + PREFIX_LEN as u64, NONCE_LEN).expect("there")));
            let len = files.size("log").expect("there");
            files.append("log").and_then(|mut file| file.truncate(len - 1)).expect("cuts");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_cut_gives_a_prefix_and_any_flip_before_the_cut_an_error(
            batches in proptest::collection::vec(proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..4), 1..6),
            cut in any::<prop::sample::Index>(),
            flip in any::<prop::sample::Index>(),
            bit in 0..8_u32,
        ) {
            let (files, key) = (memory(), test_key("acme", "prod"));
            let (mut log, _) = open(&files, &key).expect("creates");
            for batch in &batches {
                log.append(&batch.iter().map(Vec::as_slice).collect::<Vec<_>>()).expect("appends");
            }
            let records: Vec<Vec<u8>> = batches.concat();
            let whole = files.read("log").expect("there");
            let cut = HEADER_LEN + cut.index(whole.len() - HEADER_LEN + 1);
            files.replace("log", &whole[..cut]).expect("writes");
            let (log, found) = open(&files, &key).expect("a prefix");
            prop_assert_eq!(&found, &numbered(&records[..found.len()]));
            let complete = usize::try_from(log.position().bytes).expect("small");
            if complete > HEADER_LEN {
                let mut bad = whole[..cut].to_vec();
                bad[HEADER_LEN + flip.index(complete - HEADER_LEN)] ^= 1 << bit;
                files.replace("log", &bad).expect("writes");
                let refused = matches!(open(&files, &key), Err(KeyError::Record { .. }));
                prop_assert!(refused);
                prop_assert_eq!(files.read("log").expect("there"), bad);
            }
        }
    }
}
