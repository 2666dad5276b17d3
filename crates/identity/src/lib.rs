//! Who somebody is, proven: sign-in, keys that sessions are bound to, passwords, second factors, devices, provisioning.
//!
//! Everything here is pure. State, instants and random bytes come in, results go out; requests to others are values that
//! the server sends and whose answers it hands back. What has to be remembered is a serializable struct that the server
//! keeps sealed.
//!
//! | Module | Proves | Commitments |
//! | --- | --- | --- |
//! | [`oidc`] | that the organisation's provider knows a person | CI-21 |
//! | [`dpop`] | that a request comes from the holder of a key | CH-16, CH-33 |
//! | [`password`] | that a person knows a secret worth knowing | CI-25 |
//! | [`webauthn`] | that a person agrees to this very thing, now | CI-22 |
//! | [`totp`] | that a tenant's user holds their authenticator | CI-22 |
//! | [`device`] | that a computer is ours and set up right | CH-16, CH-18, CI-26 |
//! | [`recovery`] | that two people agree to go on from an older copy | CH-35 |
//! | [`scim`] | who is here and who has left | CH-33 |
//! | [`key`] | the keys of both, and of devices | |
//! | [`signed`] | that nothing signed counts twice: every kind, and the attacks on it | CH-17, CH-18, CI-07 |
//!
//! ```
//! use creta_identity::dpop::{Expected, Proof, Prover, ReplayCache};
//! use creta_identity::key::{KeyKind, SigningKey};
//! use creta_model::Instant;
//!
//! let now = Instant::parse("2026-01-01T12:00:00Z")?;
//! let prover = Prover::new(SigningKey::from_random(KeyKind::P256, &[7; 32]));
//! let sent = prover.prove("POST", "https://creta.example/v1/token", None, None, [9; 16], now);
//!
//! let mut seen = ReplayCache::new(now);
//! let expected = Expected { method: "POST", url: "https://creta.example/v1/token", ..Expected::default() };
//! let proven = Proof::check(&sent, &expected, now)?.admit(&mut seen, now)?;
//! assert_eq!(proven.thumbprint, prover.thumbprint());
//! // The same proof a second time is nobody's.
//! assert!(Proof::check(&sent, &expected, now)?.admit(&mut seen, now).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod device;
pub mod dpop;
mod jws;
pub mod key;
pub mod oidc;
pub mod password;
pub mod recovery;
pub mod scim;
pub mod signed;
#[cfg(test)]
mod timing;
pub mod totp;
pub mod webauthn;
