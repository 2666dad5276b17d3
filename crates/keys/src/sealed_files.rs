//! Whole files, sealed in chunks so that ranges can be read.
//!
//! After the header come chunks of 64 KiB, each followed by its tag; the last may be shorter, and an empty file has one
//! empty chunk. A data key seals one version of one file only, so the chunk's number serves as its nonce. The number and
//! whether the chunk is the last one are authenticated, and the length stands in the authenticated header: chunks cannot
//! be dropped, added, repeated or reordered, and chunks of another file have another key.

use std::sync::Arc;

use creta_platform::{FileError, Files};

use crate::header::{FILE_FORMAT, HEADER_LEN, Header, Place};
use crate::primitives::{AesKey, NONCE_LEN, TAG_LEN, derive};
use crate::{KeyError, ScopeKey};

const CHUNK_LEN: usize = 64 * 1024;
const SEALED_CHUNK_LEN: usize = CHUNK_LEN + TAG_LEN;

/// Sealed files of one store of one scope. Names are visible to whoever reads the disk: give opaque ones.
///
/// Each file carries a version, 1 when created and one more with each replacement. A caller that remembers it elsewhere
/// notices by [`read_version`](Self::read_version) when an older copy is put back.
#[derive(Clone)]
pub struct SealedFiles {
    files: Arc<dyn Files>,
    key: ScopeKey,
    store: &'static str,
}

impl SealedFiles {
    /// Seals for `store` with the newest version of `key`. The store's name is authenticated but not part of the path.
    pub fn new(files: Arc<dyn Files>, key: ScopeKey, store: &'static str) -> Self {
        Self { files, key, store }
    }

    /// Writes a new file, durably, and returns its version, 1. A present file is [`FileError::Exists`].
    pub fn create(&self, path: &str, bytes: &[u8]) -> Result<u64, KeyError> {
        self.files.create(path, &self.seal(path, 1, bytes))?;
        Ok(1)
    }

    /// Writes a file, durably, and returns its version: one more than that of the present file, which must be authentic.
    /// One writer per file at a time; the caller sees to that.
    pub fn replace(&self, path: &str, bytes: &[u8]) -> Result<u64, KeyError> {
        let version = match self.header(path) {
            Ok((_, header)) => header.version + 1,
            Err(KeyError::File(FileError::NotFound { .. })) => 1,
            Err(error) => return Err(error),
        };
        self.files.replace(path, &self.seal(path, version, bytes))?;
        Ok(version)
    }

    /// All bytes of a file, of whichever version.
    pub fn read(&self, path: &str) -> Result<Vec<u8>, KeyError> {
        Ok(self.read_all(path)?.1)
    }

    /// All bytes of a file that must be of version `expected`; otherwise [`KeyError::OtherVersion`].
    pub fn read_version(&self, path: &str, expected: u64) -> Result<Vec<u8>, KeyError> {
        match self.read_all(path)? {
            (found, bytes) if found == expected => Ok(bytes),
            (found, _) => Err(KeyError::OtherVersion { what: self.place(path).what(), expected, found }),
        }
    }

    /// The bytes from `offset`, at most `len` of them; fewer, or none, where the file ends earlier. Reads the header and
    /// the chunks that hold the range.
    pub fn read_range(&self, path: &str, offset: u64, len: usize) -> Result<Vec<u8>, KeyError> {
        self.settled(path, |header| {
            let end = offset.saturating_add(len as u64).min(header.plain_len);
            if offset >= end {
                return Ok(Vec::new());
            }
            let (first, last) = (offset / CHUNK_LEN as u64, (end - 1) / CHUNK_LEN as u64);
            let wanted = usize::try_from(last - first + 1)
                .ok()
                .and_then(|chunks| chunks.checked_mul(SEALED_CHUNK_LEN))
                .ok_or_else(|| self.foreign(path))?;
            let at = HEADER_LEN as u64 + first * SEALED_CHUNK_LEN as u64;
            let sealed = self.files.read_range(path, at, wanted)?;
            let plain = self.open_chunks(path, header, first, last, &sealed)?;
            let start = usize::try_from(offset - first * CHUNK_LEN as u64).expect("less than a chunk");
            let stop = start + usize::try_from(end - offset).expect("at most `len`");
            Ok(plain[start..stop].to_vec())
        })
    }

    /// Length of the plain bytes.
    pub fn size(&self, path: &str) -> Result<u64, KeyError> {
        self.settled(path, |header| Ok(header.plain_len))
    }

    /// The file's version, without reading its bytes.
    pub fn version(&self, path: &str) -> Result<u64, KeyError> {
        Ok(self.header(path)?.1.version)
    }

    /// Paths that start with `prefix`, sorted.
    pub fn list(&self, prefix: &str) -> Result<Vec<String>, KeyError> {
        Ok(self.files.list(prefix)?)
    }

    /// Removes a file durably. A file created later under the same path starts again at version 1.
    pub fn delete(&self, path: &str) -> Result<(), KeyError> {
        Ok(self.files.delete(path)?)
    }

    fn place<'a>(&'a self, path: &'a str) -> Place<'a> {
        Place { key: &self.key, format: FILE_FORMAT, store: self.store, path }
    }

    fn foreign(&self, path: &str) -> KeyError {
        KeyError::Foreign { what: self.place(path).what() }
    }

    fn seal(&self, path: &str, version: u64, bytes: &[u8]) -> Vec<u8> {
        let (mut sealed, header) = self.place(path).new_header(version, bytes.len() as u64);
        let key = chunk_key(&header);
        let last = last_chunk(header.plain_len);
        sealed.reserve_exact(bytes.len() + (bytes.len() / CHUNK_LEN + 1) * TAG_LEN);
        let chunks = bytes.chunks(CHUNK_LEN).chain(bytes.is_empty().then_some(&[][..]));
        for (index, chunk) in (0..).zip(chunks) {
            key.seal_onto(chunk_nonce(index), &chunk_aad(index, last), chunk, &mut sealed);
        }
        sealed
    }

    fn read_all(&self, path: &str) -> Result<(u64, Vec<u8>), KeyError> {
        let sealed = self.files.read(path)?;
        let header = self.place(path).open_header(&sealed)?;
        self.check_size(path, &header, sealed.len() as u64)?;
        let plain = self.open_chunks(path, &header, 0, last_chunk(header.plain_len), &sealed[HEADER_LEN..])?;
        Ok((header.version, plain))
    }

    /// `sealed` holds the chunks `first..=last` and nothing else.
    fn open_chunks(&self, path: &str, header: &Header, first: u64, last: u64, sealed: &[u8]) -> Result<Vec<u8>, KeyError> {
        let key = chunk_key(header);
        let last_of_file = last_chunk(header.plain_len);
        let mut plain = Vec::with_capacity(sealed.len());
        let mut chunks = sealed.chunks(SEALED_CHUNK_LEN);
        for index in first..=last {
            let chunk = chunks.next().ok_or_else(|| KeyError::Truncated { what: self.place(path).what() })?;
            key.open_onto(&chunk_nonce(index), &chunk_aad(index, last_of_file), chunk, &mut plain)
                .ok_or_else(|| self.foreign(path))?;
        }
        Ok(plain)
    }

    fn header(&self, path: &str) -> Result<(Vec<u8>, Header), KeyError> {
        let bytes = self.files.read_range(path, 0, HEADER_LEN)?;
        let header = self.place(path).open_header(&bytes)?;
        Ok((bytes, header))
    }

    fn check_size(&self, path: &str, header: &Header, size: u64) -> Result<(), KeyError> {
        let chunks = last_chunk(header.plain_len) + 1;
        let expected = (chunks.checked_mul(TAG_LEN as u64))
            .and_then(|tags| tags.checked_add(header.plain_len)?.checked_add(HEADER_LEN as u64))
            .ok_or_else(|| self.foreign(path))?;
        match size.cmp(&expected) {
            std::cmp::Ordering::Less => Err(KeyError::Truncated { what: self.place(path).what() }),
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Greater => Err(self.foreign(path)),
        }
    }

    /// Reads in several steps. When that fails because the file was replaced meanwhile, begins again.
    fn settled<T>(&self, path: &str, read: impl Fn(&Header) -> Result<T, KeyError>) -> Result<T, KeyError> {
        loop {
            let (bytes, header) = self.header(path)?;
            let outcome = self.check_size(path, &header, self.files.size(path)?).and_then(|()| read(&header));
            let unchanged = || Ok::<bool, KeyError>(self.files.read_range(path, 0, HEADER_LEN)? == bytes);
            if outcome.is_ok() || unchanged()? {
                return outcome;
            }
        }
    }
}

fn chunk_key(header: &Header) -> AesKey {
    AesKey::new(&derive(&header.data_key, "file chunks", &[]))
}

/// Index of the last chunk.
fn last_chunk(plain_len: u64) -> u64 {
    plain_len.saturating_sub(1) / CHUNK_LEN as u64
}

fn chunk_nonce(index: u64) -> [u8; NONCE_LEN] {
    let mut nonce = [0; NONCE_LEN];
    nonce[NONCE_LEN - 8..].copy_from_slice(&index.to_be_bytes());
    nonce
}

fn chunk_aad(index: u64, last: u64) -> [u8; 9] {
    let mut aad = [0; 9];
    aad[..8].copy_from_slice(&index.to_be_bytes());
    aad[8] = u8::from(index == last);
    aad
}
