//! Canonical JSON and its digest: what a person approves is named by it.

use aws_lc_rs::digest::{SHA256, digest as hash};
use serde::Serialize;

/// Canonical JSON (RFC 8785). The types that come here hold texts, lists and booleans.
pub(crate) fn canonical(value: &impl Serialize) -> Vec<u8> {
    serde_json_canonicalizer::to_vec(value).expect("texts, lists and booleans have a canonical form")
}

/// `sha256:<hex>` over [`canonical`].
pub(crate) fn digest(value: &impl Serialize) -> String {
    format!("sha256:{}", hex::encode(hash(&SHA256, &canonical(value))))
}
