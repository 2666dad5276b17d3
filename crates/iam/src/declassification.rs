//! Reviewed statements that a computed feature no longer carries a tag of what it is computed from.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::digest::digest;
use crate::{IamError, PrincipalId};

/// What somebody proposes: that `feature`, as defined now, does not carry `tag`, although it is computed from what does.
/// Tags that a feature or its entity has by itself are no matter of declassification: the definition says them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProposedDeclassification {
    /// The feature, for example `User.email_domain`.
    pub feature: String,
    /// The tag that is no longer to flow from it.
    pub tag: String,
    /// Fingerprint of the feature in its environment: what decides its values, inputs included.
    pub fingerprint: String,
    /// The features from which the tag comes to it. Another source of the same tag is another question.
    pub sources: BTreeSet<String>,
    /// Why the values no longer tell what the tag protects.
    pub reason: String,
    /// The human who proposes it, as the one source of identities names them.
    pub proposed_by: PrincipalId,
}

/// A declassification that another human approved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Declassification {
    proposed: ProposedDeclassification,
    approved_by: PrincipalId,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    proposed: ProposedDeclassification,
    approved_by: PrincipalId,
}

impl TryFrom<Written> for Declassification {
    type Error = IamError;
    fn try_from(written: Written) -> Result<Self, IamError> {
        let digest = written.proposed.digest();
        written.proposed.approve(written.approved_by, &digest)
    }
}

impl From<Declassification> for Written {
    fn from(Declassification { proposed, approved_by }: Declassification) -> Self {
        Self { proposed, approved_by }
    }
}

impl ProposedDeclassification {
    /// `sha256:<hex>` of the proposal: what an approval names, so that nobody approves something else than they saw.
    pub fn digest(&self) -> String {
        digest(self)
    }

    /// The declassification, approved by another human than the one who proposed it. `seen` is the digest of what they saw.
    pub fn approve(self, by: PrincipalId, seen: &str) -> Result<Declassification, IamError> {
        if by == self.proposed_by {
            return Err(IamError::OwnProposal { by });
        }
        if seen != self.digest() {
            return Err(IamError::OtherProposal);
        }
        if self.reason.trim().is_empty() || self.sources.is_empty() || self.sources.contains(&self.feature) {
            return Err(IamError::Declassification { feature: self.feature });
        }
        Ok(Declassification { proposed: self, approved_by: by })
    }
}

impl Declassification {
    /// What was approved.
    pub fn proposed(&self) -> &ProposedDeclassification {
        &self.proposed
    }

    /// The human who approved it.
    pub fn approved_by(&self) -> &PrincipalId {
        &self.approved_by
    }

    /// Whether it holds for the feature as it is now. It is void once the definition differs, also that of an input, and once
    /// the tag comes from anywhere else than it did: what was reviewed is then no longer what runs.
    pub fn holds(&self, fingerprint: &str, sources: &BTreeSet<String>) -> bool {
        self.proposed.fingerprint == fingerprint && sources.is_subset(&self.proposed.sources)
    }
}

/// The (feature, tag) pairs that are declassified as things are now. `now` gives a feature's present fingerprint and the
/// features from which it gets the tag; `None` for a feature that there no longer is.
pub fn declassified<'d>(
    all: impl IntoIterator<Item = &'d Declassification>,
    now: impl Fn(&str, &str) -> Option<(String, BTreeSet<String>)>,
) -> BTreeSet<(String, String)> {
    let holds = |declassification: &&Declassification| {
        let proposed = declassification.proposed();
        now(&proposed.feature, &proposed.tag)
            .is_some_and(|(fingerprint, sources)| declassification.holds(&fingerprint, &sources))
    };
    let pair = |declassification: &Declassification| {
        (declassification.proposed.feature.clone(), declassification.proposed.tag.clone())
    };
    all.into_iter().filter(holds).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> PrincipalId {
        PrincipalId::parse(text).expect("valid")
    }

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(ToString::to_string).collect()
    }

    fn proposed() -> ProposedDeclassification {
        ProposedDeclassification {
            feature: "User.email_domain".to_owned(),
            tag: "pii".to_owned(),
            fingerprint: "sha256:aa".to_owned(),
            sources: names(&["User.email"]),
            reason: "domains of the ten largest providers only".to_owned(),
            proposed_by: id("ana"),
        }
    }

    fn approved() -> Declassification {
        let digest = proposed().digest();
        proposed().approve(id("bob"), &digest).expect("another person, the same proposal")
    }

    #[test]
    fn attack_ch35_nobody_approves_their_own_declassification_nor_another_than_they_saw() {
        let digest = proposed().digest();
        assert!(matches!(proposed().approve(id("ana"), &digest), Err(IamError::OwnProposal { .. })));
        let other = ProposedDeclassification { tag: "secret".to_owned(), ..proposed() };
        assert!(matches!(other.approve(id("bob"), &digest), Err(IamError::OtherProposal)));
        for empty in [
            ProposedDeclassification { reason: " ".to_owned(), ..proposed() },
            ProposedDeclassification { sources: names(&[]), ..proposed() },
            ProposedDeclassification { sources: names(&["User.email", "User.email_domain"]), ..proposed() },
        ] {
            let digest = empty.digest();
            assert!(matches!(empty.approve(id("bob"), &digest), Err(IamError::Declassification { .. })));
        }
    }

    #[test]
    fn attack_ch35_a_document_in_which_one_person_did_both_is_not_read() {
        let json = serde_json::to_string(&approved()).expect("serializes");
        assert_eq!(serde_json::from_str::<Declassification>(&json).expect("own form"), approved());
        let forged = json.replace("\"bob\"", "\"ana\"");
        assert_ne!(forged, json);
        assert!(serde_json::from_str::<Declassification>(&forged).is_err());
    }

    #[test]
    fn it_is_void_when_the_definition_or_the_source_differs() {
        let all = [approved()];
        let now = |fingerprint: &str, sources: &[&str]| {
            let known = Some((fingerprint.to_owned(), names(sources)));
            declassified(&all, |feature, tag| known.clone().filter(|_| (feature, tag) == ("User.email_domain", "pii")))
        };
        let pair = ("User.email_domain".to_owned(), "pii".to_owned());
        assert_eq!(now("sha256:aa", &["User.email"]), BTreeSet::from([pair.clone()]));
        assert_eq!(now("sha256:aa", &[]), BTreeSet::from([pair]), "less flows than was reviewed");
        assert_eq!(now("sha256:bb", &["User.email"]), BTreeSet::new());
        assert_eq!(now("sha256:aa", &["User.email", "User.name"]), BTreeSet::new(), "a name became personal data");
        assert_eq!(declassified(&all, |_, _| None), BTreeSet::new(), "the feature is gone");
    }
}
