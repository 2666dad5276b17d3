//! What somebody signs in with, by its generation: how often it was taken from them or replaced.
//!
//! A sign-in takes minutes and goes through several hands: a browser, a page, an authenticator, a command line. What begins
//! notes the generation; what comes of it, a session or a new second factor, is there only while that is the present one.
//! Whoever takes something away does so first, then begins another generation, then ends what came of earlier ones: so of two
//! who come at once either one sees the other. Sign-ins under way are in memory, and so is this.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use creta_iam::PrincipalId;

/// The generations of everybody; the first is 0.
#[derive(Default)]
pub(crate) struct Generations(Mutex<HashMap<String, u64>>);

impl Generations {
    /// The present one of somebody, by the name of their account, whether or not there is one.
    pub(crate) fn of(&self, account: &str) -> u64 {
        self.lock().get(account).copied().unwrap_or_default()
    }

    /// Another one: what began before comes to nothing. Only of accounts that exist, so that nobody fills it.
    pub(crate) fn begin(&self, account: &PrincipalId) {
        *self.lock().entry(account.to_string()).or_default() += 1;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
