//! Why nobody was signed in.

/// Why a sign-in failed. What people see is the text; strangers see only that it failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OidcError {
    /// Ours to repair: what was configured cannot be right.
    #[error("single sign-on is not set up right: {what}")]
    Configuration {
        /// What, without secrets.
        what: String,
    },
    /// The provider's discovery document or keys cannot be used.
    #[error("the sign-in provider's {document} cannot be used: {why}")]
    Provider {
        /// `discovery document`, `keys`, `answer`.
        document: &'static str,
        /// Why, without anything that the document holds.
        why: String,
    },
    /// The keys are too old, or do not hold the one that signed. Fetch them once and try again.
    #[error("the sign-in provider's keys have to be fetched again")]
    KeysNeeded,
    /// No such attempt: never begun, used, or longer ago than ten minutes.
    #[error("this sign-in was used, or began too long ago; start again with `creta login`")]
    NoAttempt,
    /// The attempt belongs to another key or browser.
    #[error("this sign-in began on another device or in another browser; start again with `creta login`")]
    OtherClient,
    /// The provider did not sign the person in.
    #[error("the sign-in provider refused: `{code}`")]
    Refused {
        /// An error code of RFC 6749 or RFC 8628; `unknown` for what is none.
        code: String,
    },
    /// The ID token is not one for this attempt.
    #[error("the sign-in provider's answer is refused: {flaw}")]
    IdToken {
        /// In what.
        flaw: Flaw,
    },
}

/// What is wrong with an ID token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// Not an ID token.
    #[error("it is not an ID token")]
    Malformed,
    /// `none`, a shared secret, or another that is not accepted.
    #[error("its algorithm is not accepted")]
    Algorithm,
    /// Not the key's.
    #[error("its signature is wrong")]
    Signature,
    /// Another provider's.
    #[error("another provider issued it")]
    Issuer,
    /// For another client, or for several.
    #[error("it was issued for another client")]
    Audience,
    /// Another attempt's, or none.
    #[error("it belongs to another sign-in")]
    Nonce,
    /// Expired, from before the attempt, or from the future.
    #[error("it was not issued now")]
    Time,
    /// No subject, or too long a one.
    #[error("it does not say who signed in")]
    Subject,
}

impl OidcError {
    /// The promise that a refusal keeps.
    pub const fn commitment(&self) -> &'static str {
        "CI-21"
    }

    pub(super) const fn flaw(flaw: Flaw) -> Self {
        Self::IdToken { flaw }
    }
}
