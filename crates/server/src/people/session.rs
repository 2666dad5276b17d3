//! Sessions: a person signed in on one device, bound to a key that only that device holds.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use creta_iam::PrincipalId;
use creta_keys::ScopeKey;
use creta_model::{Instant, Span};
use creta_platform::Random;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::register::Record;

const FORMAT: &str = "creta.session/1";
/// Separates keyed hashes of renewal secrets from all others.
const RENEWAL_DOMAIN: &str = "session renewal";
/// How long a session lasts at most, whatever is done in it.
pub(crate) const SESSION_HOURS: u32 = 10;
/// How long a session lasts without being renewed.
pub(crate) const IDLE_HOURS: u32 = 1;
/// The same for pages in a browser, where others walk by: half an hour, and eight hours in all.
const BROWSER_IDLE_SECONDS: u32 = 30 * 60;
const BROWSER_HOURS: u32 = 8;
/// How long an enrolled computer's word for a browser counts: the browser's own key may be copied, and nothing tells.
pub(crate) const VOUCHED_HOURS: u32 = 4;

/// What a session is held in. Each is good for its own doors and for no others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Client {
    /// A command line or a program, with tokens for the API.
    #[default]
    CommandLine,
    /// A browser, with a cookie for pages.
    Browser,
}

impl Client {
    /// The longest time without use, and the longest at all.
    fn lasts(self) -> (Span, Span) {
        match self {
            Self::CommandLine => (Span::hours(IDLE_HOURS), Span::hours(SESSION_HOURS)),
            Self::Browser => (Span::seconds(BROWSER_IDLE_SECONDS), Span::hours(BROWSER_HOURS)),
        }
    }

    fn is_command_line(&self) -> bool {
        *self == Self::CommandLine
    }
}

/// One session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Session {
    format: String,
    pub(crate) id: String,
    pub(crate) person: PrincipalId,
    /// Thumbprint of the key (RFC 7638). Nothing is answered to whoever cannot prove to hold it.
    pub(crate) thumbprint: String,
    /// Keyed hash of the secret with which the session is renewed.
    renewal_hash: String,
    /// What it is held in.
    #[serde(default, skip_serializing_if = "Client::is_command_line")]
    pub(crate) client: Client,
    /// The enrolled device it runs on: the one whose key it is bound to, so that it works from nowhere else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) device: Option<String>,
    /// The enrolled device that vouched for it, where it is held in a browser.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) vouched: Option<Vouched>,
    /// Whether an authenticator verified its user at sign-in.
    pub(crate) user_verified: bool,
    /// What the person signed in with, as RFC 8176 abbreviates it.
    pub(crate) methods: Vec<String>,
    /// The opening of the emergency account that it acts under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) under: Option<String>,
    pub(crate) opened: Instant,
    /// Ends it unless it is renewed before.
    pub(crate) expires: Instant,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) revoked: Option<Instant>,
}

/// A computer's word that a browser runs on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Vouched {
    /// The enrolled device, by its id.
    pub(crate) by: String,
    /// Until when that counts. It never outlives the session.
    pub(crate) until: Instant,
}

/// What a session is opened with.
pub(crate) struct Opening {
    pub(crate) person: PrincipalId,
    pub(crate) thumbprint: String,
    pub(crate) client: Client,
    pub(crate) device: Option<String>,
    pub(crate) user_verified: bool,
    pub(crate) methods: Vec<String>,
}

impl Record for Session {
    const KIND: &'static str = "session";

    fn id(&self) -> String {
        self.id.clone()
    }

    fn read(body: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(body).ok().filter(|session| session.format == FORMAT)
    }
}

impl Session {
    /// A new session and the secret that renews it, which is shown once and is worth nothing without the key.
    pub(crate) fn open(
        key: &ScopeKey,
        random: &dyn Random,
        opening: Opening,
        now: Instant,
    ) -> (Self, Zeroizing<String>) {
        let (mut id, mut secret) = ([0; 16], Zeroizing::new([0; 32]));
        random.fill(&mut id);
        random.fill(secret.as_mut_slice());
        let id = hex::encode(id);
        let secret = Zeroizing::new(hex::encode(secret.as_slice()));
        let session = Self {
            format: FORMAT.to_owned(),
            renewal_hash: hex::encode(renewal_hash(key, &id, &secret)),
            id,
            person: opening.person,
            thumbprint: opening.thumbprint,
            client: opening.client,
            device: opening.device,
            vouched: None,
            user_verified: opening.user_verified,
            methods: opening.methods,
            under: None,
            opened: now,
            expires: now.plus(opening.client.lasts().0),
            revoked: None,
        };
        (session, secret)
    }

    /// A session under an opening of the emergency account. It is good for nothing before that is open, and is not prolonged.
    pub(crate) fn under_seal(
        key: &ScopeKey,
        random: &dyn Random,
        (person, thumbprint): (PrincipalId, String),
        under: String,
        (now, expires): (Instant, Instant),
    ) -> (Self, Zeroizing<String>) {
        let methods = vec!["hwk".to_owned(), "user".to_owned()];
        let client = Client::CommandLine;
        let opening = Opening { person, thumbprint, client, device: None, user_verified: true, methods };
        let (session, secret) = Self::open(key, random, opening, now);
        (Self { under: Some(under), expires, ..session }, secret)
    }

    /// Whether it lives.
    pub(crate) fn is_open(&self, now: Instant) -> bool {
        self.revoked.is_none() && now < self.expires
    }

    /// Whether `secret` renews it.
    pub(crate) fn is_renewed_by(&self, key: &ScopeKey, secret: &str) -> bool {
        let mut expected = [0; 32];
        let known = hex::decode_to_slice(&self.renewal_hash, &mut expected).is_ok();
        verify_slices_are_equal(&renewal_hash(key, &self.id, secret), &expected).is_ok() & known
    }

    /// The same session for another while, and never beyond its longest time.
    pub(crate) fn renewed(&self, now: Instant) -> Self {
        if self.under.is_some() {
            return self.clone();
        }
        let (idle, whole) = self.client.lasts();
        Self { expires: now.plus(idle).min(self.opened.plus(whole)), ..self.clone() }
    }

    /// The same session on an enrolled device, by its id, which is the thumbprint of its key. From here on that key proves
    /// the session, and the one that did is worth nothing.
    pub(crate) fn on(&self, device: &str) -> Self {
        Self { device: Some(device.to_owned()), thumbprint: device.to_owned(), ..self.clone() }
    }

    /// The same session of a browser, for which a device vouched.
    pub(crate) fn vouched_for(&self, device: &str, now: Instant) -> Self {
        let until = now.plus(Span::hours(VOUCHED_HOURS));
        Self { vouched: Some(Vouched { by: device.to_owned(), until }), ..self.clone() }
    }

    /// The enrolled device that it comes from: the one whose own key proves each request, since what another key proves may be
    /// sent from anywhere; or, for a browser, the one that vouched for it, for as long as that counts.
    pub(crate) fn device_now(&self, now: Instant) -> Option<&str> {
        let own = self.device.as_deref().filter(|id| *id == self.thumbprint);
        let vouched = self.vouched.as_ref().filter(|vouched| self.client == Client::Browser && now < vouched.until);
        own.or(vouched.map(|vouched| vouched.by.as_str()))
    }

    /// Whether it has to do with a device, so that it ends when the device turns bad.
    pub(crate) fn names(&self, device: &str) -> bool {
        let vouched = self.vouched.as_ref().map(|vouched| vouched.by.as_str());
        self.device.as_deref() == Some(device) || vouched == Some(device)
    }

    /// The same session, ended. The first moment counts.
    pub(crate) fn ended(&self, now: Instant) -> Self {
        Self { revoked: self.revoked.or(Some(now)), ..self.clone() }
    }
}

fn renewal_hash(key: &ScopeKey, session: &str, secret: &str) -> [u8; 32] {
    key.mac(RENEWAL_DOMAIN, &[session.as_bytes(), secret.as_bytes()])
}

#[cfg(test)]
mod tests {
    use creta_keys::{KeyRing, RootKey};
    use creta_model::{Environment, Scope};
    use creta_platform::Platform;

    use super::*;

    fn fixture() -> (ScopeKey, Session, Zeroizing<String>, Instant) {
        fixture_in(Client::CommandLine)
    }

    fn fixture_in(client: Client) -> (ScopeKey, Session, Zeroizing<String>, Instant) {
        let environment = Environment::parse("prod").expect("valid");
        let platform = Platform::in_memory();
        let root = RootKey::generate(&environment, &*platform.random);
        let ring = KeyRing::open(root, environment, platform.clone()).expect("opens");
        let key = ring.scope_or_create(&Scope::parse("control-plane", "prod").expect("valid")).expect("made");
        let now = Instant::parse("2026-01-01T08:00:00Z").expect("valid");
        let opening = Opening {
            person: PrincipalId::parse("ana").expect("valid"),
            thumbprint: "t".to_owned(),
            client,
            device: None,
            user_verified: true,
            methods: vec!["hwk".to_owned()],
        };
        let (session, secret) = Session::open(&key, &*platform.random, opening, now);
        (key, session, secret, now)
    }

    #[test]
    fn attack_ch17_a_session_ends_after_an_idle_hour_and_after_ten_whatever_is_done() {
        let (_, session, _, opened) = fixture();
        let micro = Span::from_micros(1).expect("valid");
        assert!(session.is_open(opened.plus(Span::hours(1)).minus(micro)));
        assert!(!session.is_open(opened.plus(Span::hours(1))));
        let mut kept = session.clone();
        for minute in 1..=20 * 60 {
            let now = opened.plus(Span::seconds(minute * 60));
            if kept.is_open(now) {
                kept = kept.renewed(now);
            }
        }
        assert_eq!(kept.expires, opened.plus(Span::hours(SESSION_HOURS)));
        assert!(!kept.renewed(opened.plus(Span::hours(11))).is_open(opened.plus(Span::hours(11))));
        let ended = session.ended(opened.plus(micro));
        assert!(!ended.is_open(opened.plus(micro)));
        assert_eq!(ended.ended(opened.plus(Span::hours(2))), ended, "the first moment counts");
    }

    #[test]
    fn attack_ch17_a_session_in_a_browser_ends_sooner() {
        let (_, session, _, opened) = fixture_in(Client::Browser);
        let minutes = |minutes: u32| opened.plus(Span::seconds(minutes * 60));
        assert!(session.is_open(minutes(29)) && !session.is_open(minutes(30)));
        let kept = (1..=8 * 60).map(minutes).fold(session, |session, now| match session.is_open(now) {
            true => session.renewed(now),
            false => session,
        });
        assert_eq!(kept.expires, minutes(8 * 60), "whatever is done");
        let (_, command_line, _, _) = fixture();
        let text = serde_json::to_string(&command_line).expect("JSON");
        assert!(!text.contains("client"), "documents of before are read as what they are: {text}");
        assert_eq!(Session::read(text.as_bytes()), Some(command_line));
    }

    #[test]
    fn attack_ch18_a_computers_word_for_a_browser_counts_for_some_hours_and_for_no_command_line() {
        let (_, browser, _, opened) = fixture_in(Client::Browser);
        assert_eq!(browser.device_now(opened), None);
        let vouched = browser.vouched_for("laptop", opened);
        let micro = Span::from_micros(1).expect("valid");
        let end = opened.plus(Span::hours(VOUCHED_HOURS));
        assert_eq!(vouched.device_now(end.minus(micro)), Some("laptop"));
        assert_eq!(vouched.device_now(end), None, "it is over by itself");
        assert!(vouched.names("laptop") && !vouched.names("desktop"));
        let (_, command_line, _, _) = fixture();
        assert_eq!(command_line.vouched_for("laptop", opened).device_now(opened), None, "its own key has to prove it");
    }

    #[test]
    fn attack_ch17_only_the_own_secret_renews_and_the_document_does_not_hold_it() {
        let (key, session, secret, _) = fixture();
        assert!(session.is_renewed_by(&key, &secret));
        assert!(!session.is_renewed_by(&key, &"0".repeat(64)) && !session.is_renewed_by(&key, ""));
        let moved = Session { id: "0".repeat(32), ..session.clone() };
        assert!(!moved.is_renewed_by(&key, &secret), "a hash moved to another session is worth nothing");
        assert!(!serde_json::to_string(&session).expect("JSON").contains(secret.as_str()));
    }
}
