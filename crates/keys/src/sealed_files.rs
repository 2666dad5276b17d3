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
    fn open_chunks(
        &self,
        path: &str,
        header: &Header,
        first: u64,
        last: u64,
        sealed: &[u8],
    ) -> Result<Vec<u8>, KeyError> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scope_key::{fixed_key, test_key};
    use creta_platform::MemoryFiles;
    use proptest::prelude::*;

    fn vault() -> (Arc<dyn Files>, ScopeKey, SealedFiles) {
        let files: Arc<dyn Files> = Arc::new(MemoryFiles::new());
        let key = test_key("acme", "prod");
        (Arc::clone(&files), key.clone(), SealedFiles::new(files, key, "segments"))
    }

    fn pattern(len: usize) -> Vec<u8> {
        (0..len).map(|at| (at % 251) as u8).collect()
    }

    fn is_refused<T: std::fmt::Debug>(outcome: Result<T, KeyError>) -> bool {
        matches!(
            outcome,
            Err(KeyError::Foreign { .. }
                | KeyError::Truncated { .. }
                | KeyError::UnknownFormat { .. }
                | KeyError::KeyVersion { .. })
        )
    }

    #[test]
    fn files_of_every_length_around_a_chunk_are_given_back() {
        let (_, _, sealed) = vault();
        for len in [0, 1, CHUNK_LEN - 1, CHUNK_LEN, CHUNK_LEN + 1, 2 * CHUNK_LEN, 2 * CHUNK_LEN + 1] {
            let plain = pattern(len);
            sealed.replace("f", &plain).expect("writes");
            assert_eq!(sealed.read("f").expect("own"), plain, "{len}");
            assert_eq!(sealed.size("f").expect("own"), len as u64);
            assert_eq!(sealed.read_range("f", 0, usize::MAX).expect("own"), plain, "{len}");
        }
    }

    #[test]
    fn versions_count_and_conditional_creation_holds() {
        let (_, _, sealed) = vault();
        assert_eq!(sealed.create("f", b"1").expect("new"), 1);
        assert!(matches!(sealed.create("f", b"2"), Err(KeyError::File(FileError::Exists { .. }))));
        assert_eq!(sealed.replace("f", b"2").expect("writes"), 2);
        assert_eq!(sealed.replace("g", b"1").expect("writes"), 1);
        assert_eq!(sealed.version("f").expect("own"), 2);
        assert_eq!(sealed.list("").expect("lists"), ["f", "g"]);
        sealed.delete("f").expect("there");
        assert!(matches!(sealed.read("f"), Err(KeyError::File(FileError::NotFound { .. }))));
    }

    #[test]
    fn attack_ci12_a_file_rolled_back_is_noticed() {
        let (files, _, sealed) = vault();
        sealed.create("f", b"old").expect("new");
        let old = files.read("f").expect("there");
        let version = sealed.replace("f", b"new").expect("writes");
        assert_eq!(sealed.read_version("f", version).expect("own"), b"new");
        files.replace("f", &old).expect("writes");
        let outcome = sealed.read_version("f", version);
        assert!(matches!(outcome, Err(KeyError::OtherVersion { expected: 2, found: 1, .. })));
        // Claiming the newer version does not help.
        let mut claimed = old;
        claimed[5..13].copy_from_slice(&2_u64.to_be_bytes());
        files.replace("f", &claimed).expect("writes");
        assert!(matches!(sealed.read_version("f", version), Err(KeyError::Foreign { .. })));
    }

    #[test]
    fn attack_ci12_a_file_with_any_byte_flipped_is_refused() {
        let (files, _, sealed) = vault();
        sealed.create("small", b"thirty bytes of feature values").expect("new");
        sealed.create("large", &pattern(2 * CHUNK_LEN + 100)).expect("new");
        for (path, step) in [("small", 1), ("large", 997)] {
            let good = files.read(path).expect("there");
            let edges = [
                HEADER_LEN + CHUNK_LEN - 1,
                HEADER_LEN + CHUNK_LEN,
                HEADER_LEN + SEALED_CHUNK_LEN - 1,
                HEADER_LEN + SEALED_CHUNK_LEN,
            ];
            let edges = edges.into_iter().filter(|at| *at < good.len());
            for at in (0..HEADER_LEN).chain((HEADER_LEN..good.len()).step_by(step)).chain(edges).chain([good.len() - 1])
            {
                let mut bad = good.clone();
                bad[at] ^= 1 << (at % 8);
                files.replace(path, &bad).expect("writes");
                assert!(is_refused(sealed.read(path)), "{path} byte {at}");
                assert!(is_refused(sealed.read_range(path, 0, usize::MAX)), "{path} byte {at}");
                if at < HEADER_LEN {
                    assert!(is_refused(sealed.size(path)), "{path} byte {at}");
                    assert!(is_refused(sealed.version(path)), "{path} byte {at}");
                    assert!(
                        is_refused(sealed.replace(path, b"")),
                        "a replacement trusts the version before it: byte {at}"
                    );
                }
            }
            files.replace(path, &good).expect("writes");
            sealed.read(path).expect("own again");
        }
    }

    #[test]
    fn attack_ci12_a_file_cut_at_any_length_or_extended_is_refused() {
        let (files, _, sealed) = vault();
        sealed.create("small", b"thirty bytes of feature values").expect("new");
        sealed.create("large", &pattern(2 * CHUNK_LEN + 100)).expect("new");
        let small = files.read("small").expect("there");
        let large = files.read("large").expect("there");
        let chunk_edges = [1, 2].map(|chunks| HEADER_LEN + chunks * SEALED_CHUNK_LEN);
        let cuts =
            (0..small.len()).map(|len| ("small", &small[..len])).chain(chunk_edges.map(|len| ("large", &large[..len])));
        for (path, cut) in cuts {
            files.replace(path, cut).expect("writes");
            assert!(is_refused(sealed.read(path)), "{path} {}", cut.len());
            assert!(is_refused(sealed.read_range(path, 0, 1)), "{path} {}", cut.len());
            assert!(is_refused(sealed.size(path)), "{path} {}", cut.len());
        }
        sealed.create("even", &pattern(CHUNK_LEN)).expect("new");
        let even = files.read("even").expect("there");
        for (path, whole) in [("small", &small), ("large", &large), ("even", &even)] {
            for tail in [&b"x"[..], &large[HEADER_LEN..HEADER_LEN + SEALED_CHUNK_LEN]] {
                files.replace(path, &[&whole[..], tail].concat()).expect("writes");
                assert!(is_refused(sealed.read(path)), "{path}");
                assert!(is_refused(sealed.read_range(path, 0, 1)), "{path}");
                assert!(is_refused(sealed.size(path)), "{path}");
            }
        }
    }

    #[test]
    fn attack_ci12_chunks_moved_within_or_between_files_are_refused() {
        let (files, _, sealed) = vault();
        for path in ["a", "b"] {
            sealed.create(path, &pattern(3 * CHUNK_LEN)).expect("new");
        }
        let (a, b) = (files.read("a").expect("there"), files.read("b").expect("there"));
        let chunk =
            |file: &[u8], index: usize| file[HEADER_LEN + index * SEALED_CHUNK_LEN..][..SEALED_CHUNK_LEN].to_vec();
        let built = |chunks: &[Vec<u8>]| [vec![a[..HEADER_LEN].to_vec()], chunks.to_vec()].concat().concat();
        assert_eq!(built(&[chunk(&a, 0), chunk(&a, 1), chunk(&a, 2)]), a);
        let forged = [
            [chunk(&a, 1), chunk(&a, 0), chunk(&a, 2)],
            [chunk(&a, 0), chunk(&a, 0), chunk(&a, 2)],
            [chunk(&a, 0), chunk(&a, 2), chunk(&a, 1)],
            [chunk(&a, 0), chunk(&b, 1), chunk(&a, 2)],
        ];
        for chunks in forged {
            files.replace("a", &built(&chunks)).expect("writes");
            assert!(is_refused(sealed.read("a")));
        }
    }

    #[test]
    fn attack_ch23_a_file_at_another_place_is_refused() {
        let (files, key, sealed) = vault();
        sealed.create("a", b"1").expect("new");
        sealed.create("b", b"2").expect("new");
        let (a, b) = (files.read("a").expect("there"), files.read("b").expect("there"));
        files.replace("a", &b).expect("writes");
        files.replace("b", &a).expect("writes");
        assert!(is_refused(sealed.read("a")) && is_refused(sealed.read("b")));
        files.replace("a", &a).expect("writes");
        assert_eq!(sealed.read("a").expect("own"), b"1");
        for (key, store) in
            [(key, "tiles"), (test_key("beta", "prod"), "segments"), (test_key("acme", "staging"), "segments")]
        {
            let other = SealedFiles::new(Arc::clone(&files), key, store);
            assert!(is_refused(other.read("a")), "{store}");
            assert!(is_refused(other.read_range("a", 0, 1)), "{store}");
            assert!(is_refused(other.size("a")), "{store}");
        }
    }

    #[test]
    fn attack_ci12_each_writing_has_a_data_key_of_its_own() {
        let (files, _, sealed) = vault();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..500 {
            sealed.replace("f", b"the same bytes").expect("writes");
            let bytes = files.read("f").expect("there");
            assert!(seen.insert(bytes[21..53].to_vec()), "a commitment stands for a data key");
            assert!(seen.insert(bytes[53..65].to_vec()), "a nonce of the wrapping key");
            assert!(seen.insert(bytes[HEADER_LEN..].to_vec()), "a chunk");
        }
    }

    #[test]
    fn what_was_sealed_by_the_first_release_still_opens() {
        let files: Arc<dyn Files> = Arc::new(MemoryFiles::new());
        let sealed = SealedFiles::new(Arc::clone(&files), fixed_key("acme", "prod"), "segments");
        files.create("f", &hex::decode(SEALED_BY_FORMAT_2).expect("hex")).expect("new");
        assert_eq!(sealed.read_version("f", 1).expect("format 2"), b"Lyon");
    }

    const SEALED_BY_FORMAT_2: &str = "\
        020000000100000000000000010000000000000004fe66aaa72e3cb04e70864dc9ca42c42da10d90cf4e4f950d52d195\
        20f1cd90a35f009f10fbb6d0f4168d7de6b1287f6b1e653a93f51744cdd2e9dcaff719db7c60360f13b5669042308042\
        397b65b1de34481993ae9c916d817a2ff3caa4eabc4beaa290bfe057ddd19abac1f68889cc";

    #[test]
    fn a_range_reads_its_own_chunks_only() {
        let (files, _, sealed) = vault();
        let plain = pattern(3 * CHUNK_LEN);
        sealed.create("f", &plain).expect("new");
        let mut damaged = files.read("f").expect("there");
        damaged[HEADER_LEN] ^= 1;
        damaged[HEADER_LEN + 2 * SEALED_CHUNK_LEN] ^= 1;
        files.replace("f", &damaged).expect("writes");
        let middle = sealed.read_range("f", CHUNK_LEN as u64, CHUNK_LEN).expect("an undamaged chunk");
        assert_eq!(middle, plain[CHUNK_LEN..2 * CHUNK_LEN]);
        assert!(is_refused(sealed.read_range("f", CHUNK_LEN as u64 - 1, 2)));
        assert!(is_refused(sealed.read_range("f", 2 * CHUNK_LEN as u64 - 1, 2)));
    }

    #[test]
    fn a_reader_beside_a_writer_sees_one_version_or_the_other() {
        let (_, _, sealed) = vault();
        let versions = [pattern(CHUNK_LEN + 10), vec![9; 3 * CHUNK_LEN]];
        sealed.create("f", &versions[0]).expect("new");
        std::thread::scope(|threads| {
            let writer = threads.spawn(|| {
                for turn in 1..60 {
                    sealed.replace("f", &versions[turn % 2]).expect("writes");
                }
            });
            while !writer.is_finished() {
                let seen = sealed.read_range("f", 5, usize::MAX).expect("never a mixture");
                assert!(versions.iter().any(|version| version[5..] == seen));
            }
        });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn a_range_equals_the_slice(len in 0..3 * CHUNK_LEN, offset in 0..3 * CHUNK_LEN, wanted in prop_oneof![0..100_usize, 0..2 * CHUNK_LEN]) {
            let (_, _, sealed) = vault();
            let plain = pattern(len);
            sealed.create("f", &plain).expect("new");
            let start = offset.min(len);
            let expected = &plain[start..(start + wanted).min(len)];
            prop_assert_eq!(sealed.read_range("f", offset as u64, wanted).expect("own"), expected);
        }
    }
}
