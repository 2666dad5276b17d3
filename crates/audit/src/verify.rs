//! Verification that stands apart from the log: it takes bytes, texts and the verifier key, and trusts nothing else.
//!
//! All of it is [`creta_proof`], which outsiders use without the rest of Creta.

pub use creta_proof::verify::{LogReport, verify_checkpoint, verify_consistency, verify_inclusion, verify_log};
