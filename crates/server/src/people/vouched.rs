//! Browsers on enrolled computers: a page is told a word, the browser hands it to the command line on its own computer, and
//! the computer signs, with the key in its TPM, that this session of this browser runs on it.
//!
//! The word goes over the computer's loopback address to a command that its owner started and that knows by its own secret
//! which browser it opened. So a link, a code that is read to somebody, or a page of a stranger brings no other session there;
//! and whoever's session it is has to be the device's owner. Why so:
//! `docs/decisions/0014-computers-vouch-for-browsers.md`.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use creta_audit::{Details, Event};
use creta_iam::{DeviceTrust, Principal};
use creta_identity::device::{BrowserSession, Device, Signed};
use creta_identity::key::Thumbprint;
use creta_model::{Instant, Problem, Span};
use creta_proof::Hash;

use super::devices::refused;
use super::session::Client;
use super::{People, Session};
use crate::control_plane::ControlPlane;
use crate::problem::{from_audit, internal};

/// How long a word waits for the computer: the browser hands it over at once.
const WORD_SECONDS: u32 = 120;
/// Most that wait at once; the oldest make room. Only sessions make one, and each has one.
const WORDS_MAX: usize = 1_000;

/// Words that were told to browsers.
#[derive(Default)]
pub(crate) struct Offers {
    waiting: Mutex<HashMap<Hash, Offer>>,
}

struct Offer {
    session: String,
    made: Instant,
}

impl Offers {
    /// The word of a session, instead of the one it had.
    fn make(&self, session: &str, random: &[u8; 32], now: Instant) -> String {
        let word = hex::encode(random);
        let mut waiting = self.lock(now);
        waiting.retain(|_, offer| offer.session != session);
        if waiting.len() >= WORDS_MAX {
            let oldest = waiting.iter().min_by_key(|(_, offer)| offer.made).map(|(word, _)| *word);
            oldest.map(|word| waiting.remove(&word));
        }
        waiting.insert(hash(&word), Offer { session: session.to_owned(), made: now });
        word
    }

    /// Whose word it is.
    fn session(&self, word: &str, now: Instant) -> Option<String> {
        self.lock(now).get(&hash(word)).map(|offer| offer.session.clone())
    }

    /// Takes it: no word is good twice.
    fn take(&self, word: &str, now: Instant) -> bool {
        self.lock(now).remove(&hash(word)).is_some()
    }

    fn lock(&self, now: Instant) -> MutexGuard<'_, HashMap<Hash, Offer>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|_, offer| now < offer.made.plus(Span::seconds(WORD_SECONDS)));
        waiting
    }
}

impl People {
    /// A word for the browser whose session asks: its computer gets it from there.
    pub(crate) fn offer_browser(&self, control: &ControlPlane, session: &str, now: Instant) -> Result<String, Problem> {
        self.devices.require_standard()?;
        let mut random = [0; 32];
        control.platform().random.fill(&mut random);
        Ok(self.devices.offers.make(session, &random, now))
    }

    /// The session that told its computer this word, if it is one of whoever asks. What their computer signs names all of it.
    pub(crate) fn offered_browser(
        &self,
        control: &ControlPlane,
        principal: &Principal,
        word: &str,
        now: Instant,
    ) -> Result<(Session, BrowserSession), Problem> {
        let own = |session: &Session| {
            session.person == *principal.id() && session.client == Client::Browser && session.is_open(now)
        };
        let session = self.devices.offers.session(word, now).and_then(|id| self.sessions.find(&id)).filter(own);
        let session = session.ok_or_else(|| {
            control.record(Event::new("device.refused", control.place()).by(principal).for_commitment("CH-18"));
            no_offer()
        })?;
        let browser = BrowserSession {
            environment: self.environment.clone(),
            person: session.person.to_string(),
            session: session.id.clone(),
            key: Thumbprint::parse(&session.thumbprint).ok_or_else(internal)?,
            word: word.to_owned(),
        };
        Ok((session, browser))
    }

    /// Takes the word of a device of whoever asks for the browser that it names. What that is worth is judged at each request
    /// of the browser, by what the device is worth then.
    pub(crate) fn vouch(
        &self,
        control: &ControlPlane,
        principal: &Principal,
        (device, signed): (&Device, &Signed),
        word: &str,
        now: Instant,
    ) -> Result<Session, Problem> {
        let (session, browser) = self.offered_browser(control, principal, word, now)?;
        let vouches = device.vouches_for(signed, &browser, &mut self.devices.lock(), now);
        vouches.map_err(|error| refused(control, principal, &error))?;
        if self.devices.worth(device, now) == DeviceTrust::None {
            return Err(Problem::new(
                "access/device-bad",
                "this computer is not as it has to be, so its word counts for nothing",
            )
            .with_help("look at what it lacks with `creta device status`, and mend it"));
        }
        if !self.devices.offers.take(word, now) {
            return Err(no_offer());
        }
        let details = Details::none().name("session", session.id.clone()).map_err(|e| from_audit(&e))?;
        self.log_device("session.vouched", control, Some(principal), device, details)?;
        let vouch = |session: &Session| match session.is_open(now) {
            true => Ok(session.vouched_for(device.id.as_str(), now)),
            false => Err(no_offer()),
        };
        self.sessions.change(&session.id, vouch)?.ok_or_else(internal)
    }
}

fn hash(word: &str) -> Hash {
    Hash::of(&[word.as_bytes()])
}

fn no_offer() -> Problem {
    Problem::new("not-found/browser", "no browser of yours asks for this computer's word")
        .with_help("begin again: `creta device browser`, and answer in the browser that opens within two minutes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_ch18_a_word_is_good_once_for_two_minutes_and_a_newer_one_ends_it() {
        let (offers, now) = (Offers::default(), Instant::parse("2026-01-01T12:00:00Z").expect("valid"));
        let word = offers.make("s1", &[1; 32], now);
        assert_eq!(offers.session(&word, now).as_deref(), Some("s1"));
        assert_eq!(offers.session("00", now), None);
        assert!(offers.take(&word, now) && !offers.take(&word, now), "once");
        let word = offers.make("s1", &[2; 32], now);
        assert_eq!(offers.session(&word, now.plus(Span::seconds(WORD_SECONDS))), None, "late");
        let (first, second) = (offers.make("s1", &[3; 32], now), offers.make("s1", &[4; 32], now));
        assert_eq!(offers.session(&first, now), None, "a newer one took its place");
        assert_eq!(offers.session(&second, now).as_deref(), Some("s1"));
    }

    #[test]
    fn attack_ch18_words_fill_no_memory() {
        let (offers, now) = (Offers::default(), Instant::parse("2026-01-01T12:00:00Z").expect("valid"));
        for number in 0..u32::try_from(WORDS_MAX + 5).expect("few") {
            let mut random = [0; 32];
            random[..4].copy_from_slice(&number.to_be_bytes());
            offers.make(&number.to_string(), &random, now);
        }
        assert_eq!(offers.lock(now).len(), WORDS_MAX);
    }
}
