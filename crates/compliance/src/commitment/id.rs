//! Ids of commitments.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Two to eight capital letters, a hyphen, two or three digits: `CH-20`. Ordered by letters, then by number.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommitmentId(String);

/// A text that is no id of a commitment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{given}` is not the id of a commitment; write 2 to 8 capital letters, a hyphen and 2 or 3 digits, as in `CH-20`"
)]
pub struct InvalidCommitmentId {
    /// The refused text.
    pub given: String,
}

impl CommitmentId {
    /// Prefixes of the promises that ship; an organisation's own have others.
    pub const PUBLISHED: [&'static str; 2] = ["CH", "CI"];

    /// Reads an id.
    pub fn parse(text: impl Into<String>) -> Result<Self, InvalidCommitmentId> {
        let text = text.into();
        let is_id = text.split_once('-').is_some_and(|(prefix, number)| {
            is_prefix(prefix) && (2..=3).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit())
        });
        if is_id { Ok(Self(text)) } else { Err(InvalidCommitmentId { given: text }) }
    }

    /// The whole id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The letters: `CH`.
    pub fn prefix(&self) -> &str {
        self.parts().0
    }

    fn parts(&self) -> (&str, u16) {
        let (prefix, number) = self.0.split_once('-').expect("an id has a hyphen");
        (prefix, number.parse().expect("an id ends with digits"))
    }
}

/// Whether `text` can stand before the hyphen of an id.
pub(super) fn is_prefix(text: &str) -> bool {
    (2..=8).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

impl Ord for CommitmentId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(&other.parts()).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for CommitmentId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl TryFrom<String> for CommitmentId {
    type Error = InvalidCommitmentId;

    fn try_from(text: String) -> Result<Self, InvalidCommitmentId> {
        Self::parse(text)
    }
}

impl From<CommitmentId> for String {
    fn from(id: CommitmentId) -> String {
        id.0
    }
}

impl fmt::Display for CommitmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_one_form_and_sort_by_number() {
        for good in ["CH-01", "CI-29", "AB-100", "ABCDEFGH-99"] {
            assert_eq!(CommitmentId::parse(good).expect("valid").as_str(), good);
        }
        for bad in [
            "",
            "CH",
            "CH-1",
            "CH-1000",
            "ch-01",
            "C-01",
            "ABCDEFGHI-01",
            "CH01",
            "CH-0a",
            "CH-01 ",
            "ÄÖ-01",
            "CH--01",
            "CH-+1",
        ] {
            assert_eq!(CommitmentId::parse(bad), Err(InvalidCommitmentId { given: bad.to_owned() }));
        }
        let mut ids: Vec<CommitmentId> =
            ["CI-02", "AB-100", "CH-10", "AB-99", "CH-09"].map(|id| CommitmentId::parse(id).expect("valid")).into();
        ids.sort();
        assert_eq!(
            ids.iter().map(CommitmentId::as_str).collect::<Vec<_>>(),
            ["AB-99", "AB-100", "CH-09", "CH-10", "CI-02"]
        );
    }
}
