//! The few cryptographic operations everything here is made of, all from `aws-lc-rs`.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::{constant_time, hkdf, hmac, rand};
use zeroize::Zeroizing;

/// Length of a key in bytes.
pub(crate) const KEY_LEN: usize = 32;
/// Length of a nonce in bytes.
pub(crate) const NONCE_LEN: usize = 12;
/// Length of an authentication tag in bytes.
pub(crate) const TAG_LEN: usize = 16;

/// 32 secret bytes, overwritten when dropped.
pub(crate) type Secret = Zeroizing<[u8; KEY_LEN]>;

/// Random bytes for keys and nonces: always the library's generator, so that no simulated source can weaken them.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("the library's random generator must work");
    bytes
}

/// A fresh secret.
pub(crate) fn random_secret() -> Secret {
    let mut secret = Secret::default();
    rand::fill(&mut *secret).expect("the library's random generator must work");
    secret
}

/// Adds `part` with its length before it, so that no two lists of parts have the same encoding.
pub(crate) fn push_part(encoded: &mut Vec<u8>, part: &[u8]) {
    encoded.extend_from_slice(&(part.len() as u64).to_be_bytes());
    encoded.extend_from_slice(part);
}

/// The injective encoding of a list of parts.
pub(crate) fn encode(parts: &[&[u8]]) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
    parts.iter().for_each(|part| push_part(&mut encoded, part));
    encoded
}

struct KeyLength;

impl hkdf::KeyType for KeyLength {
    fn len(&self) -> usize {
        KEY_LEN
    }
}

/// HKDF-SHA256 (RFC 5869) of `secret` for one purpose: the `label` and its `parts`.
pub(crate) fn derive(secret: &[u8; KEY_LEN], label: &str, parts: &[&[u8]]) -> Secret {
    let mut info = Vec::new();
    push_part(&mut info, label.as_bytes());
    parts.iter().for_each(|part| push_part(&mut info, part));
    let mut derived = Secret::default();
    hkdf::Salt::new(hkdf::HKDF_SHA256, b"creta keys 1")
        .extract(secret)
        .expand(&[&info], KeyLength)
        .and_then(|okm| okm.fill(&mut *derived))
        .expect("32 bytes are within HKDF's limit");
    derived
}

/// An HMAC-SHA256 key.
pub(crate) fn mac_key(secret: &Secret) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, &secret[..])
}

/// HMAC-SHA256 over the injective encoding of `parts`.
pub(crate) fn mac(key: &hmac::Key, parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    context.sign().as_ref().try_into().expect("HMAC-SHA256 gives 32 bytes")
}

/// Compares in constant time.
pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

/// An AES-256-GCM key. The caller answers for nonces: random, at most 2^32 per key, or counted under a key used once.
pub(crate) struct AesKey(LessSafeKey);

impl AesKey {
    pub(crate) fn new(secret: &Secret) -> Self {
        Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &secret[..]).expect("the key has 32 bytes")))
    }

    /// Encrypts `plain` and appends ciphertext and tag to `sealed`.
    pub(crate) fn seal_onto(&self, nonce: [u8; NONCE_LEN], aad: &[u8], plain: &[u8], sealed: &mut Vec<u8>) {
        let start = sealed.len();
        sealed.extend_from_slice(plain);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce, Aad::from(aad), &mut sealed[start..])
            .expect("AES-GCM seals anything below 64 GiB");
        sealed.extend_from_slice(tag.as_ref());
    }

    /// Decrypts ciphertext and tag, and appends the plain bytes to `plain`; `None`, with `plain` as it was, if they are
    /// not authentic.
    pub(crate) fn open_onto(&self, nonce: &[u8], aad: &[u8], sealed: &[u8], plain: &mut Vec<u8>) -> Option<()> {
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let (cipher, tag) = sealed.split_at_checked(sealed.len().checked_sub(TAG_LEN)?)?;
        let start = plain.len();
        plain.resize(start + cipher.len(), 0);
        let opened = self.0.open_separate_gather(nonce, Aad::from(aad), cipher, tag, &mut plain[start..]);
        if opened.is_err() {
            plain.truncate(start);
        }
        opened.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn derived_keys_follow_rfc_5869_and_differ_by_label_and_parts() {
        let secret = [7_u8; KEY_LEN];
        let base = derive(&secret, "value", &[b"ab", b"c"]);
        // Computed independently: HMAC(HMAC("creta keys 1", secret), info || 0x01).
        let prk = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"creta keys 1"), &secret);
        let mut info = encode(&[b"value", b"ab", b"c"]);
        info.push(1);
        let expected = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, prk.as_ref()), &info);
        assert_eq!(&base[..], expected.as_ref());
        for other in [
            derive(&secret, "value", &[b"a", b"bc"]),
            derive(&secret, "valueab", &[b"c"]),
            derive(&[8; 32], "value", &[b"ab", b"c"]),
        ] {
            assert_ne!(base, other);
        }
    }

    proptest! {
        #[test]
        fn s19_the_encoding_of_parts_is_injective(a: Vec<Vec<u8>>, b: Vec<Vec<u8>>) {
            let encoded = |parts: &[Vec<u8>]| encode(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>());
            prop_assert_eq!(a == b, encoded(&a) == encoded(&b));
        }

        #[test]
        fn s19_moving_a_border_between_parts_changes_the_mac(bytes in proptest::collection::vec(any::<u8>(), 1..40), i in 0..40_usize, j in 0..40_usize) {
            let key = mac_key(&Secret::default());
            let (i, j) = (i % (bytes.len() + 1), j % (bytes.len() + 1));
            let cut = |at: usize| mac(&key, &[&bytes[..at], &bytes[at..]]);
            prop_assert_eq!(i == j, cut(i) == cut(j));
        }
    }
}
