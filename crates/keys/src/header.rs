//! The header of a sealed file or log: a data key of its own, wrapped for one place.
//!
//! | Bytes | Field |
//! | --- | --- |
//! | 0 | format: 2 for a file, 3 for a log |
//! | 1..5 | version of the scope key, big-endian as all numbers |
//! | 5..13 | version of the file |
//! | 13..21 | length of the plain bytes; 0 in a log |
//! | 21..53 | commitment to the data key |
//! | 53..65 | nonce |
//! | 65..97, 97..113 | wrapped data key, tag |
//!
//! The tag covers all fields and the place: environment, tenant, store and path. Whoever finds two data keys with one
//! commitment has found a collision of HKDF-SHA256.

use crate::primitives::{AesKey, KEY_LEN, NONCE_LEN, Secret, TAG_LEN, derive, encode, random, random_secret, same};
use crate::{KeyError, ScopeKey};

/// Format byte of a sealed file.
pub(crate) const FILE_FORMAT: u8 = 2;
/// Format byte of a sealed log.
pub(crate) const LOG_FORMAT: u8 = 3;
/// Length of a header in bytes.
pub(crate) const HEADER_LEN: usize = FIXED_LEN + NONCE_LEN + KEY_LEN + TAG_LEN;

const COMMITMENT_AT: usize = 21;
const FIXED_LEN: usize = COMMITMENT_AT + KEY_LEN;

/// Where a file or log belongs.
pub(crate) struct Place<'a> {
    pub(crate) key: &'a ScopeKey,
    pub(crate) format: u8,
    pub(crate) store: &'static str,
    pub(crate) path: &'a str,
}

/// An opened header.
pub(crate) struct Header {
    pub(crate) version: u64,
    pub(crate) plain_len: u64,
    pub(crate) data_key: Secret,
    /// Different for every header.
    pub(crate) tag: [u8; TAG_LEN],
}

impl Place<'_> {
    /// Store and path, for errors.
    pub(crate) fn what(&self) -> String {
        format!("{}/{}", self.store, self.path)
    }

    /// A header with a fresh data key.
    pub(crate) fn new_header(&self, version: u64, plain_len: u64) -> (Vec<u8>, Header) {
        let key_version = self.key.newest_version();
        let store = self.key.store(self.store, key_version).expect("the newest version is present");
        let data_key = random_secret();
        let mut bytes = Vec::with_capacity(HEADER_LEN);
        bytes.push(self.format);
        bytes.extend_from_slice(&key_version.to_be_bytes());
        bytes.extend_from_slice(&version.to_be_bytes());
        bytes.extend_from_slice(&plain_len.to_be_bytes());
        bytes.extend_from_slice(&commitment(&data_key)[..]);
        let aad = self.aad(&bytes);
        let nonce = random::<NONCE_LEN>();
        bytes.extend_from_slice(&nonce);
        store.wrap.seal_onto(nonce, &aad, &data_key[..], &mut bytes);
        let tag = tag(&bytes);
        (bytes, Header { version, plain_len, data_key, tag })
    }

    /// Opens the header at the start of `bytes`.
    pub(crate) fn open_header(&self, bytes: &[u8]) -> Result<Header, KeyError> {
        match bytes.first() {
            Some(format) if *format != self.format => {
                return Err(KeyError::UnknownFormat { what: self.what(), format: *format });
            }
            _ if bytes.len() < HEADER_LEN => return Err(KeyError::Truncated { what: self.what() }),
            _ => {}
        }
        let bytes = &bytes[..HEADER_LEN];
        let number = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let key_version = u32::from_be_bytes(bytes[1..5].try_into().expect("four bytes"));
        let store =
            self.key.store(self.store, key_version).ok_or_else(|| self.key.no_version(self.what(), key_version))?;
        let (nonce, wrapped) = bytes[FIXED_LEN..].split_at(NONCE_LEN);
        let data_key = unwrap(&store.wrap, nonce, &self.aad(&bytes[..FIXED_LEN]), wrapped)
            .filter(|data_key| same(&commitment(data_key)[..], &bytes[COMMITMENT_AT..FIXED_LEN]))
            .ok_or_else(|| KeyError::Foreign { what: self.what() })?;
        Ok(Header { version: number(5), plain_len: number(13), data_key, tag: tag(bytes) })
    }

    fn aad(&self, fixed: &[u8]) -> Vec<u8> {
        let place = [self.key.environment(), self.key.tenant(), self.store.as_bytes(), self.path.as_bytes()];
        encode(&[b"data key", fixed, place[0], place[1], place[2], place[3]])
    }
}

/// Opens a wrapped 32-byte key without leaving a copy of it in memory.
pub(crate) fn unwrap(key: &AesKey, nonce: &[u8], aad: &[u8], wrapped: &[u8]) -> Option<Secret> {
    let mut plain = zeroize::Zeroizing::new(Vec::with_capacity(KEY_LEN));
    if wrapped.len() != KEY_LEN + TAG_LEN {
        return None;
    }
    key.open_onto(nonce, aad, wrapped, &mut plain)?;
    let mut secret = Secret::default();
    secret.copy_from_slice(&plain);
    Some(secret)
}

fn commitment(data_key: &Secret) -> Secret {
    derive(data_key, "data commitment", &[])
}

fn tag(header: &[u8]) -> [u8; TAG_LEN] {
    header[HEADER_LEN - TAG_LEN..HEADER_LEN].try_into().expect("the header ends with a tag")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scope_key::fixed_key;

    #[test]
    fn attack_ci12_an_authentic_header_that_commits_to_another_key_is_refused() {
        let key = fixed_key("acme", "prod");
        let place = Place { key: &key, format: FILE_FORMAT, store: "segments", path: "f" };
        // Built by somebody who has the scope's key and wants one file to open under two data keys.
        let forged = |committed: &Secret, wrapped: &Secret| {
            let (mut bytes, _) = place.new_header(1, 0);
            bytes.truncate(COMMITMENT_AT);
            bytes.extend_from_slice(&commitment(committed)[..]);
            let aad = place.aad(&bytes);
            bytes.extend_from_slice(&[0; NONCE_LEN]);
            let wrap = key.store("segments", 1).expect("version 1");
            wrap.wrap.seal_onto([0; NONCE_LEN], &aad, &wrapped[..], &mut bytes);
            place.open_header(&bytes).map(|header| header.data_key)
        };
        let (one, two) = (Secret::new([1; KEY_LEN]), Secret::new([2; KEY_LEN]));
        assert_eq!(forged(&one, &one).expect("honest"), one);
        assert!(matches!(forged(&one, &two), Err(KeyError::Foreign { .. })));
    }
}
