//! One-time passwords by time (RFC 6238), for tenants' own users. Staff use [`webauthn`](crate::webauthn).
//!
//! A code works once: the step that it belongs to is stored, and no code of that step or an earlier one is taken again.
//! How often somebody may try is the caller's to limit.

use std::fmt;

use creta_model::Instant;
use serde::{Deserialize, Serialize};
use totp_rs::{Algorithm, Builder, Totp};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::jws::{decode, encode};

const STEP_SECONDS: u64 = 30;
const DIGITS: u8 = 6;
/// Steps before and after the current one whose codes are taken (RFC 6238 §5.2).
const SKEW_STEPS: u16 = 1;

/// Why a code was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// Not a code of this minute. Codes of the wrong shape too.
    #[error("the code is wrong or too old; type the one that your application shows now")]
    Wrong,
    /// The code, or a later one, was used.
    #[error("the code was used before; wait for the next one")]
    Used,
    /// So many were wrong in a row that none is looked at any more. The caller counts.
    #[error("too many codes were wrong; ask an administrator to reset your second factor")]
    Suspended,
    /// Its owner never showed that they can make codes.
    #[error("this authenticator was not confirmed; enrol it again")]
    Unconfirmed,
    /// A name that does not fit into the address that authenticators read, or a record of the wrong shape.
    #[error("the account's name cannot be shown by an authenticator; leave out `:`")]
    Name,
}

impl CodeError {
    /// The promise that a refusal keeps.
    pub const fn commitment(&self) -> &'static str {
        "CI-22"
    }
}

/// What is kept of a person's authenticator. Holds the secret: kept sealed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
pub struct Authenticator {
    /// 20 bytes, base64url.
    secret: String,
    /// The latest step whose code was used. None until the first.
    last_step: Option<u64>,
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator").field("last_step", &self.last_step).finish_non_exhaustive()
    }
}

impl Authenticator {
    /// A new one, from 20 random bytes, and the `otpauth` address that its owner's application reads (from a picture).
    /// Counts only after [`confirm`](Self::confirm).
    pub fn enrol(random: [u8; 20], issuer: &str, account: &str) -> Result<(Self, String), CodeError> {
        let authenticator = Self { secret: encode(random), last_step: None };
        let address = authenticator
            .builder()
            .with_issuer(Some(issuer))
            .with_account_name(account)
            .build()
            .and_then(|totp| totp.to_url())
            .map_err(|_| CodeError::Name)?;
        Ok((authenticator, address))
    }

    /// The first code: shows that the owner's application has the secret.
    pub fn confirm(&mut self, code: &str, now: Instant) -> Result<(), CodeError> {
        self.take(code, now)
    }

    /// Takes a code. On success the state changed and has to be stored before anything is answered.
    pub fn check(&mut self, code: &str, now: Instant) -> Result<(), CodeError> {
        if self.last_step.is_none() {
            return Err(CodeError::Unconfirmed);
        }
        self.take(code, now)
    }

    fn take(&mut self, code: &str, now: Instant) -> Result<(), CodeError> {
        // Digits only: the library also reads blanks between them, which would be a second text of one code.
        if code.len() != usize::from(DIGITS) || !code.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(CodeError::Wrong);
        }
        let seconds = u64::try_from(now.micros() / 1_000_000).map_err(|_| CodeError::Wrong)?;
        let step = self.totp().check(code, seconds).ok_or(CodeError::Wrong)?;
        if self.last_step.is_some_and(|last| step <= last) {
            return Err(CodeError::Used);
        }
        self.last_step = Some(step);
        Ok(())
    }

    fn totp(&self) -> Totp {
        self.builder().build().expect("the parameters are those of RFC 6238 and the secret has 20 bytes")
    }

    fn builder(&self) -> Builder {
        let secret = decode(&self.secret).unwrap_or_default();
        Builder::new()
            .with_algorithm(Algorithm::SHA1) // What every application supports; HMAC does not suffer from its collisions.
            .with_digits(DIGITS)
            .with_skew(SKEW_STEPS)
            .with_step_duration(STEP_SECONDS)
            .with_secret(secret)
    }
}

#[cfg(test)]
mod tests {
    use creta_model::Span;

    use super::*;

    /// The secret of RFC 6238 appendix B.
    const SECRET: [u8; 20] = *b"12345678901234567890";

    fn at(seconds: i64) -> Instant {
        Instant::from_micros(seconds * 1_000_000).expect("valid")
    }

    fn confirmed() -> Authenticator {
        Authenticator { secret: encode(SECRET), last_step: Some(0) }
    }

    /// The code of a step, from the vectors' secret.
    fn code(step: i64) -> String {
        let seconds = u64::try_from(step * 30).expect("positive");
        confirmed().totp().generate(seconds).to_string()
    }

    #[test]
    fn the_codes_are_those_of_rfc_6238() {
        // Appendix B gives eight digits; six are their last.
        for (seconds, eight) in [
            (59, "94287082"),
            (1_111_111_109, "07081804"),
            (1_111_111_111, "14050471"),
            (1_234_567_890, "89005924"),
            (2_000_000_000, "69279037"),
            (20_000_000_000, "65353130"),
        ] {
            assert_eq!(confirmed().check(&eight[2..], at(seconds)), Ok(()), "{seconds}");
        }
    }

    #[test]
    fn an_authenticator_counts_once_its_owner_showed_a_code() {
        let (mut enrolled, address) = Authenticator::enrol(SECRET, "Creta", "ana@acme").expect("valid");
        assert!(
            address.starts_with("otpauth://totp/Creta:ana%40acme?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"),
            "{address}"
        );
        assert_eq!(enrolled.check(&code(100), at(3_000)), Err(CodeError::Unconfirmed));
        assert_eq!(enrolled.confirm("000000", at(3_000)), Err(CodeError::Wrong));
        assert_eq!(enrolled.confirm(&code(100), at(3_000)), Ok(()));
        assert_eq!(enrolled.check(&code(100), at(3_001)), Err(CodeError::Used), "the first code is used up");
        assert_eq!(enrolled.check(&code(101), at(3_030)), Ok(()));
        assert_eq!(Authenticator::enrol(SECRET, "Cre:ta", "ana"), Err(CodeError::Name));
        assert_eq!(Authenticator::enrol(SECRET, "Creta", "a:b"), Err(CodeError::Name));
    }

    #[test]
    fn attack_ci22_a_code_works_once_inside_of_its_window() {
        let mut mine = confirmed();
        assert_eq!(mine.check(&code(100), at(3_000)), Ok(()));
        for seconds in [3_000, 3_029, 3_030, 3_059] {
            assert_eq!(mine.check(&code(100), at(seconds)), Err(CodeError::Used), "{seconds}");
        }
        // An earlier code that nobody used is still inside of the window; the later one was used.
        assert_eq!(mine.check(&code(99), at(3_000)), Err(CodeError::Used));
        let kept = serde_json::to_string(&mine).expect("JSON");
        let mut again: Authenticator = serde_json::from_str(&kept).expect("own JSON");
        assert_eq!(again.check(&code(100), at(3_010)), Err(CodeError::Used), "also after a restart");
        assert_eq!(again.check(&code(101), at(3_010)), Ok(()));
    }

    #[test]
    fn attack_ci22_codes_of_other_times_and_shapes_are_refused() {
        for (step, ok) in [(98, false), (99, true), (100, true), (101, true), (102, false)] {
            let expected = if ok { Ok(()) } else { Err(CodeError::Wrong) };
            assert_eq!(confirmed().check(&code(step), at(3_000).plus(Span::seconds(15))), expected, "{step}");
        }
        let right = code(100);
        for text in [
            "",
            "12345",
            &format!("{right}0"),
            &format!(" {right}"),
            &format!("{} {}", &right[..3], &right[3..]),
            "１２３４５６",
            "-12345",
            "+12345",
        ] {
            assert_eq!(confirmed().check(text, at(3_000)), Err(CodeError::Wrong), "{text}");
        }
        assert_eq!(confirmed().check(&right, at(-3_000)), Err(CodeError::Wrong));
    }

    #[test]
    fn attack_ci22_a_code_is_none_of_another_authenticator() {
        let mut other = Authenticator { secret: encode(*b"another secret of 20"), last_step: Some(0) };
        assert_eq!(other.check(&code(100), at(3_000)), Err(CodeError::Wrong));
        assert_eq!(confirmed().check(&code(100), at(3_000)), Ok(()), "it is right where it belongs");
    }

    #[test]
    fn attack_ci22_a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", confirmed()), "Authenticator { last_step: Some(0), .. }");
    }
}
