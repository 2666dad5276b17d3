//! Client secrets: the text form, and a checksum by which scanners recognise a leaked one without asking anybody.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::IamError;

const PREFIX: &str = "creta_sk_";
const BODY: usize = 43; // 32 bytes in base64url without padding.
const CHECKSUM: usize = 6; // 4 bytes in base64url without padding.

/// A service account's secret: `creta_sk_`, 43 characters of base64url (32 random bytes) and 6 of checksum (the
/// CRC-32 of all that precedes, as in Ethernet, big-endian, in base64url).
///
/// Scanners match `creta_sk_[A-Za-z0-9_-]{49}` and confirm with [`ClientSecret::parse`]. It is shown once, when it is
/// made, and never printed by accident: `Debug` hides it, there is no `Display`, and its memory is cleared after use.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct ClientSecret([u8; 32]);

impl ClientSecret {
    /// From 32 bytes of a cryptographic random generator.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads the text form and checks it. Neither error repeats the text.
    pub fn parse(text: &str) -> Result<Self, IamError> {
        let rest = text.strip_prefix(PREFIX).ok_or(IamError::SecretShape)?;
        if !rest.is_ascii() || rest.len() != BODY + CHECKSUM {
            return Err(IamError::SecretShape);
        }
        let (body, checksum) = rest.split_at(BODY);
        if checksum != checksum_of(body) {
            return Err(IamError::SecretChecksum);
        }
        let mut bytes = Zeroizing::new([0; 32]);
        match URL_SAFE_NO_PAD.decode_slice_unchecked(body, bytes.as_mut_slice()) {
            Ok(32) => Ok(Self(*bytes)),
            _ => Err(IamError::SecretShape),
        }
    }

    /// The text form, to be shown once. The copy clears itself.
    pub fn expose(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + BODY + CHECKSUM));
        text.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_string(self.0, &mut text);
        let checksum = checksum_of(&text[PREFIX.len()..]);
        text.push_str(&checksum);
        text
    }

    /// The 32 bytes, to be hashed with a key. Nothing else should ask.
    pub fn expose_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecret(creta_sk_...)")
    }
}

fn checksum_of(body: &str) -> String {
    URL_SAFE_NO_PAD.encode(crc32(PREFIX.bytes().chain(body.bytes())).to_be_bytes())
}

/// CRC-32 with the reflected polynomial 0xEDB88320 (ISO 3309, as in Ethernet and PNG).
fn crc32(bytes: impl Iterator<Item = u8>) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_checksum_is_the_crc_that_everybody_has() {
        assert_eq!(crc32(b"123456789".iter().copied()), 0xCBF4_3926); // The check value of CRC-32/ISO-HDLC.
    }

    #[test]
    fn the_text_form_is_fixed() {
        // Computed apart, with the CRC-32 and base64 of Python's standard library.
        let text = ClientSecret::from_bytes([7; 32]).expose();
        assert_eq!(text.len(), 58);
        assert_eq!(text.as_str(), "creta_sk_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcyig7_Q");
    }

    #[test]
    fn debug_hides_the_secret() {
        let secret = ClientSecret::from_bytes([7; 32]);
        assert_eq!(format!("{secret:?}"), "ClientSecret(creta_sk_...)");
    }

    proptest! {
        #[test]
        fn secrets_survive_writing_and_reading(bytes: [u8; 32]) {
            let text = ClientSecret::from_bytes(bytes).expose();
            let read = ClientSecret::parse(&text).expect("own form");
            prop_assert_eq!(read.expose_bytes(), &bytes);
        }

        #[test]
        fn any_one_changed_character_is_noticed_and_not_repeated(bytes: [u8; 32], at in 0usize..58, with in "[A-Za-z0-9_é-]") {
            let text = ClientSecret::from_bytes(bytes).expose();
            let mut changed: Vec<char> = text.chars().collect();
            let with = with.chars().next().expect("one character");
            prop_assume!(changed[at] != with);
            changed[at] = with;
            let changed: String = changed.into_iter().collect();
            let message = ClientSecret::parse(&changed).expect_err("changed").to_string();
            let random_part: String = changed.chars().skip(PREFIX.len()).collect();
            prop_assert!(!message.contains(&random_part));
        }
    }
}
