//! What an entry may say beyond who, what and where: names, counts, digests, instants, and keyed hashes of the rest.

use std::collections::BTreeMap;
use std::fmt;

use creta_model::Instant;

use crate::{AuditError, Hash};

const DETAILS_MAX: usize = 32;
const NAME_BYTES_MAX: usize = 128;

/// Facts about an action that belong in the log. There is no way to add free text: whatever stems from data goes in as
/// a keyed hash, by which equal values can be recognised and none can be read.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Details(BTreeMap<&'static str, Detail>);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Detail {
    Name(String),
    Count(u64),
    Digest(Hash),
    Instant(Instant),
    Keyed(Vec<u8>),
}

impl Details {
    /// Nothing to add.
    pub fn none() -> Self {
        Self::default()
    }

    /// A name that people gave to a definition, a principal or a file: at most 128 letters, digits and marks without
    /// spaces. Later details of the same key replace earlier ones.
    pub fn name(self, key: &'static str, name: impl Into<String>) -> Result<Self, AuditError> {
        let name = name.into();
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._:/@+#-".contains(&b);
        if (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(plain) {
            self.with(key, Detail::Name(name))
        } else {
            Err(AuditError::Detail { key, rule: "a name has 1 to 128 letters, digits and `._:/@+#-`" })
        }
    }

    /// How many: rows, features, bytes. In counted reads, counts add up.
    pub fn count(self, key: &'static str, count: u64) -> Result<Self, AuditError> {
        self.with(key, Detail::Count(count))
    }

    /// A SHA-256 digest of something that is not secret and not guessable: a bundle, a plan, a file.
    pub fn digest(self, key: &'static str, digest: [u8; 32]) -> Result<Self, AuditError> {
        self.with(key, Detail::Digest(Hash::from_bytes(digest)))
    }

    /// An instant, such as the `as_of` of a question.
    pub fn instant(self, key: &'static str, at: Instant) -> Result<Self, AuditError> {
        self.with(key, Detail::Instant(at))
    }

    /// A value that stems from data, or that somebody sent. Only its hash under the log's key is written.
    pub fn keyed(self, key: &'static str, value: &[u8]) -> Result<Self, AuditError> {
        self.with(key, Detail::Keyed(value.to_vec()))
    }

    fn with(mut self, key: &'static str, detail: Detail) -> Result<Self, AuditError> {
        self.0.insert(key, detail);
        if self.0.len() > DETAILS_MAX {
            return Err(AuditError::Detail { key, rule: "an entry has at most 32 details" });
        }
        Ok(self)
    }

    /// Parts that add up over several reads, and parts that tell reads apart.
    pub(crate) fn split_counts(self) -> (BTreeMap<&'static str, u64>, Details) {
        let (mut counts, mut rest) = (BTreeMap::new(), BTreeMap::new());
        for (key, detail) in self.0 {
            match detail {
                Detail::Count(count) => drop(counts.insert(key, count)),
                other => drop(rest.insert(key, other)),
            }
        }
        (counts, Details(rest))
    }

    /// As it is written. `mac` hashes a keyed value, given its key's name, and says by which version of the log's key.
    pub(crate) fn written(&self, mac: impl Fn(&str, &[u8]) -> (u32, [u8; 32])) -> BTreeMap<String, String> {
        let text = |key: &str, detail: &Detail| match detail {
            Detail::Name(name) => name.clone(),
            Detail::Count(count) => count.to_string(),
            Detail::Digest(digest) => format!("sha256:{digest}"),
            Detail::Instant(at) => at.to_string(),
            Detail::Keyed(value) => {
                let (version, hash) = mac(key, value);
                format!("hmac:{version}:{}", hex::encode(hash))
            }
        };
        self.0.iter().map(|(key, detail)| ((*key).to_owned(), text(key, detail))).collect()
    }
}

impl fmt::Debug for Details {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.written(|_, _| (0, [0; 32]));
        let hidden = |key: &str| matches!(self.0[key], Detail::Keyed(_));
        f.debug_map().entries(shown.iter().map(|(k, v)| (k, if hidden(k) { "hmac:..." } else { v }))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_written_in_its_own_form_and_values_only_as_hashes() {
        let details = Details::none()
            .name("bundle", "flights@3")
            .and_then(|d| d.count("rows", 12))
            .and_then(|d| d.digest("plan", [0xab; 32]))
            .and_then(|d| d.instant("as_of", Instant::parse("2013-07-01T12:00:00Z").expect("valid")))
            .and_then(|d| d.keyed("client", b"ana@example.com"))
            .expect("valid");
        let written = details.written(|key, value| {
            assert_eq!((key, value), ("client", b"ana@example.com".as_slice()));
            (3, [7; 32])
        });
        let expected = [
            ("as_of", "2013-07-01T12:00:00Z".to_owned()),
            ("bundle", "flights@3".to_owned()),
            ("client", format!("hmac:3:{}", "07".repeat(32))),
            ("plan", format!("sha256:{}", "ab".repeat(32))),
            ("rows", "12".to_owned()),
        ];
        assert_eq!(written.into_iter().collect::<Vec<_>>(), expected.map(|(k, v)| (k.to_owned(), v)));
        let shown = format!("{details:?}");
        assert!(shown.contains("hmac:...") && shown.contains("flights@3") && !shown.contains("ana"), "{shown}");
    }

    #[test]
    fn free_text_is_no_name_and_is_not_repeated() {
        for text in ["", "two words", "line\nbreak", "quote\"", "é", &"a".repeat(129)] {
            let message = Details::none().name("bundle", text).expect_err("refused").to_string();
            assert!(text.is_empty() || !message.contains(text), "{message}");
        }
    }

    #[test]
    fn the_number_of_details_is_bounded() {
        let keys: Vec<&'static str> = (0..40).map(|n| &*format!("key{n}").leak()).collect();
        let mut details = Details::none();
        for key in &keys[..DETAILS_MAX] {
            details = details.count(key, 1).expect("within the bound");
        }
        assert!(details.clone().count(keys[0], 2).is_ok(), "replacing adds none");
        assert!(details.count(keys[DETAILS_MAX], 1).is_err());
    }
}
