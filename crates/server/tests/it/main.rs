//! A real server on a free port, over TLS, with a data folder of its own: the whole path, and attacks on it.

mod access;
mod analysis;
mod artefacts;
mod bad_input;
mod break_glass;
mod browser;
mod browsers;
mod changes;
mod components;
mod coverage;
mod data_policy;
mod datasets;
mod devices;
mod disclosure;
mod duties;
mod epochs;
mod grants;
mod humans;
mod intake;
mod kept_out;
mod late;
mod lifecycle;
mod limits;
mod local;
mod metadata_source;
mod once;
mod path;
mod people;
mod pillars;
mod planted;
mod policies;
mod provider;
mod provisioning;
mod recovery;
mod resolvers;
mod reviews;
mod revived;
mod secrets;
mod serving;
#[path = "../../../identity/src/webauthn/soft_authenticator.rs"]
mod soft_authenticator;
mod stolen;
mod strangers;
mod support;
mod tenants;
mod tls;
mod tokens;
mod transit;
mod trust;
mod trust_text;
mod unproven;
mod watching;
mod web;
mod witness;

/// What the software authenticator, which the tests of `creta-identity` use too, asks of its crate.
mod jws {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
        URL_SAFE_NO_PAD.decode(text).ok()
    }

    pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
        *creta_proof::Hash::of(&[bytes]).as_bytes()
    }
}

mod key {
    pub(crate) use creta_identity::key::{KeyKind, SigningKey};
}
