//! Demonstrating proof of possession (RFC 9449): a request carries a short signed statement, and a session whose token
//! was stolen is worth nothing without the key.

mod proof;
mod prover;
mod replay;

pub use proof::{AGE_SECONDS_MAX, DpopError, Expected, Proof, Proven};
pub use prover::Prover;
pub use replay::{PROOFS_MAX, ReplayCache};

use crate::jws::{encode, sha256};

/// `ath` of a proof: SHA-256 of the access token as it is sent, base64url (RFC 9449 §4.2).
pub fn access_token_hash(token: &str) -> String {
    encode(sha256(token.as_bytes()))
}
