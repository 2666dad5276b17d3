//! Secrets that this process makes and keeps for itself.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use creta_platform::{Random as _, SystemRandom};

/// 32 random bytes, base64url: 43 characters that nobody guesses.
pub(crate) fn random() -> String {
    let mut bytes = [0; 32];
    SystemRandom.fill(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}
