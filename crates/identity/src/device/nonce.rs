//! Nonces that the server gives and takes back once.

use std::collections::BTreeMap;

use creta_model::{Instant, Span};
use serde::{Deserialize, Serialize};

use super::DeviceError;
use crate::jws::encode;

/// How long a nonce waits for its answer.
pub const NONCE_MINUTES: u32 = 10;
/// Most that wait at once; the oldest make room.
pub const NONCES_MAX: usize = 10_000;
/// Most that wait for one person or device: whoever asks in somebody's name pushes out that one's nonces and no others.
const NONCES_OF_ONE_MAX: usize = 16;

/// Nonces that wait for their answer.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nonces {
    waiting: BTreeMap<String, Waiting>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Waiting {
    /// A person who enrols, or a device that reports.
    who: String,
    given: Instant,
}

impl Nonces {
    /// A new one, from random bytes, for a person who enrols a device or a device (by its id) that reports.
    pub fn give(&mut self, who: &str, random: &[u8; 32], now: Instant) -> String {
        if self.waiting.len() >= NONCES_MAX {
            self.waiting.retain(|_, waiting| !waiting.is_over(now));
        }
        if self.waiting.len() >= NONCES_MAX {
            let oldest = self.waiting.iter().min_by_key(|(_, waiting)| waiting.given).map(|(nonce, _)| nonce.clone());
            oldest.and_then(|nonce| self.waiting.remove(&nonce));
        }
        let of_one = || self.waiting.iter().filter(|(_, waiting)| waiting.who == who);
        if of_one().count() >= NONCES_OF_ONE_MAX {
            let oldest = of_one().min_by_key(|(_, waiting)| waiting.given).map(|(nonce, _)| nonce.clone());
            oldest.and_then(|nonce| self.waiting.remove(&nonce));
        }
        let nonce = encode(random);
        self.waiting.insert(nonce.clone(), Waiting { who: who.to_owned(), given: now });
        nonce
    }

    /// Takes one back, whatever comes of it.
    pub(super) fn take(&mut self, nonce: &str, who: &str, now: Instant) -> Result<(), DeviceError> {
        let waiting = self.waiting.remove(nonce).filter(|waiting| !waiting.is_over(now) && waiting.who == who);
        waiting.map(|_| ()).ok_or(DeviceError::Nonce)
    }
}

impl Waiting {
    fn is_over(&self, now: Instant) -> bool {
        now >= self.given.plus(Span::seconds(NONCE_MINUTES * 60)) || now < self.given.minus(Span::seconds(60))
    }
}
