//! What is kept of sign-ins until their clients come for them: attempts at the provider, codes, devices and pages. In memory,
//! bounded, and each thing is given out once.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use creta_identity::oidc::{Attempt, Attempts, BoundTo, OidcError};
use creta_model::{Instant, Problem, Span};
use creta_platform::Random;
use creta_proof::Hash;

use super::{DeviceStarted, Done, Purpose, Step, Verified, over};

/// How long a code that ends a sign-in is taken: the client asks at once.
const CODE_SECONDS: u32 = 60;
/// How long the code that somebody types is taken.
pub(crate) const DEVICE_SECONDS: u32 = 600;
/// How often a waiting client may ask.
pub(crate) const DEVICE_INTERVAL_SECONDS: u32 = 3;
/// Most of each that are under way; the oldest make room.
const UNDER_WAY_MAX: usize = 10_000;
/// Letters of codes that are typed: no vowels, so that they spell nothing, and none that look alike (RFC 8628 section 6.1).
const TYPED: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";

/// How often a code may be wrong before its sign-in begins anew.
const CODE_TRIES: u32 = 5;

/// Sign-ins under way.
#[derive(Default)]
pub(crate) struct SignIns(Mutex<UnderWay>);

#[derive(Default)]
struct UnderWay {
    attempts: Attempts,
    /// By the state of their attempt.
    purposes: HashMap<String, (Purpose, Instant)>,
    /// By the hash of the code.
    codes: HashMap<Hash, Completed>,
    /// By the hash of the device code.
    devices: HashMap<Hash, Device>,
    /// Sign-ins that go on by our own pages, by the hash of their browser's cookie.
    pages: HashMap<Hash, OnPage>,
}

/// A sign-in that waits for what somebody types.
struct OnPage {
    purpose: Purpose,
    began: Instant,
    step: Step,
    /// Codes so far.
    tries: u32,
}

/// Somebody who signed in, until their client asks for the session.
struct Completed {
    who: Verified,
    challenge: String,
    thumbprint: String,
    at: Instant,
}

struct Device {
    user_code: String,
    thumbprint: String,
    address: IpAddr,
    began: Instant,
    asked: Option<Instant>,
    state: DeviceState,
}

enum DeviceState {
    Waiting,
    Refused,
    SignedIn(Verified),
}

impl SignIns {
    fn lock(&self) -> MutexGuard<'_, UnderWay> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A code for a command line on another machine, which holds the key `thumbprint`.
    pub(crate) fn begin_device(
        &self,
        random: &dyn Random,
        thumbprint: &str,
        address: IpAddr,
        now: Instant,
    ) -> DeviceStarted {
        let device_code = hex::encode(bytes::<32>(random));
        let mut under_way = self.lock();
        under_way.forget_old(now);
        let user_code = loop {
            let code = typed_code(random);
            if !under_way.devices.values().any(|device| device.user_code == code) {
                break code;
            }
        };
        let device = Device {
            user_code: user_code.clone(),
            thumbprint: thumbprint.to_owned(),
            address,
            began: now,
            asked: None,
            state: DeviceState::Waiting,
        };
        under_way.devices.insert(hash(&device_code), device);
        DeviceStarted { device_code, user_code }
    }

    /// From where a typed code was asked for, and with which key, if somebody waits for it.
    pub(crate) fn device_of(&self, user_code: &str, now: Instant) -> Option<(IpAddr, String)> {
        let mut under_way = self.lock();
        under_way.forget_old(now);
        let waits = |device: &&Device| device.user_code == user_code && matches!(device.state, DeviceState::Waiting);
        under_way.devices.values().find(waits).map(|device| (device.address, device.thumbprint.clone()))
    }

    /// Somebody says that they did not ask for this.
    pub(crate) fn refuse_device(&self, user_code: &str) {
        let mut under_way = self.lock();
        let device = under_way.devices.values_mut().find(|device| device.user_code == user_code);
        device.into_iter().for_each(|device| device.state = DeviceState::Refused);
    }

    pub(super) fn put(&self, attempt: Attempt, purpose: Purpose, now: Instant) {
        let mut under_way = self.lock();
        under_way.forget_old(now);
        under_way.purposes.insert(attempt.state().to_owned(), (purpose, now));
        under_way.attempts.put(attempt, now);
    }

    pub(super) fn take(&self, state: &str, bound_to: &BoundTo, now: Instant) -> Result<(Attempt, Purpose), OidcError> {
        let mut under_way = self.lock();
        let purpose = under_way.purposes.remove(state);
        let attempt = under_way.attempts.take(state, bound_to, now)?;
        purpose.map(|(purpose, _)| (attempt, purpose)).ok_or(OidcError::NoAttempt)
    }

    /// Hands over who signed in to whoever waits for it.
    pub(super) fn complete(
        &self,
        random: &dyn Random,
        purpose: Purpose,
        who: Verified,
        now: Instant,
    ) -> Result<Done, Problem> {
        let mut under_way = self.lock();
        under_way.forget_old(now);
        match purpose {
            Purpose::CommandLine { back, state, challenge, thumbprint, .. } => {
                let code = hex::encode(bytes::<32>(random));
                under_way.codes.insert(hash(&code), Completed { who, challenge, thumbprint, at: now });
                Ok(Done::Redirect(format!("{back}?code={code}&state={state}")))
            }
            Purpose::Device { user_code, .. } => {
                let waits = |device: &&mut Device| {
                    device.user_code == user_code && matches!(device.state, DeviceState::Waiting)
                };
                let device = under_way.devices.values_mut().find(waits).ok_or_else(over)?;
                device.state = DeviceState::SignedIn(who);
                Ok(Done::Page)
            }
            Purpose::Invitation => Ok(Done::Registered),
        }
    }

    /// Waits for what the browser with this cookie types.
    pub(super) fn put_page(&self, cookie: &[u8], purpose: Purpose, step: Step, now: Instant) {
        let mut under_way = self.lock();
        under_way.forget_old(now);
        under_way.pages.insert(Hash::of(&[cookie]), OnPage { purpose, began: now, step, tries: 0 });
    }

    /// What the page of this browser waits for.
    pub(crate) fn page(&self, cookie: &[u8], now: Instant) -> Option<(Purpose, Step)> {
        let mut under_way = self.lock();
        under_way.forget_old(now);
        under_way.pages.get(&Hash::of(&[cookie])).map(|page| (page.purpose.clone(), page.step.clone()))
    }

    pub(super) fn end_page(&self, cookie: &[u8]) {
        self.lock().pages.remove(&Hash::of(&[cookie]));
    }

    /// What the page of this browser waits for, with one try less: counted before the code is looked at, so that of many at
    /// once no more are looked at. After some, whoever types begins anew.
    pub(super) fn try_code(&self, cookie: &[u8], now: Instant) -> Option<(Purpose, Step)> {
        let mut under_way = self.lock();
        under_way.forget_old(now);
        let key = Hash::of(&[cookie]);
        let page = under_way.pages.get_mut(&key)?;
        page.tries += 1;
        let found = (page.purpose.clone(), page.step.clone());
        if page.tries >= CODE_TRIES {
            under_way.pages.remove(&key);
        }
        Some(found)
    }

    /// Who signed in for a code: once, with the verifier whose challenge began it and the key it was begun with.
    pub(in crate::people) fn redeem_code(
        &self,
        code: &str,
        verifier: &str,
        thumbprint: &str,
        now: Instant,
    ) -> Result<Verified, Problem> {
        let mut under_way = self.lock();
        under_way.forget_old(now);
        let completed = under_way.codes.remove(&hash(code)).ok_or_else(over)?;
        let challenge = URL_SAFE_NO_PAD.encode(Hash::of(&[verifier.as_bytes()]).as_bytes());
        let own = verify_slices_are_equal(challenge.as_bytes(), completed.challenge.as_bytes()).is_ok()
            & (completed.thumbprint == thumbprint);
        own.then_some(completed.who).ok_or_else(over)
    }

    /// Who entered the code of a device: `None` until somebody did.
    pub(super) fn redeem_device(
        &self,
        code: &str,
        thumbprint: &str,
        now: Instant,
    ) -> Result<Option<Verified>, Problem> {
        let mut under_way = self.lock();
        under_way.forget_old(now);
        let code = hash(code);
        let device = under_way.devices.get_mut(&code).filter(|device| device.thumbprint == thumbprint);
        let device = device.ok_or_else(over)?;
        let interval = Span::seconds(DEVICE_INTERVAL_SECONDS - 1);
        if device.asked.is_some_and(|asked| now < asked.plus(interval)) {
            return Ok(None); // Too early to be told anything new.
        }
        device.asked = Some(now);
        match &device.state {
            DeviceState::Waiting => Ok(None),
            DeviceState::Refused => {
                under_way.devices.remove(&code);
                Err(Problem::new("access/sign-in-refused", "whoever entered the code did not sign in"))
            }
            DeviceState::SignedIn(who) => {
                let who = who.clone();
                under_way.devices.remove(&code);
                Ok(Some(who))
            }
        }
    }
}

impl UnderWay {
    fn forget_old(&mut self, now: Instant) {
        let after = |began: Instant, seconds: u32| now >= began.plus(Span::seconds(seconds));
        self.purposes.retain(|_, (_, began)| !after(*began, DEVICE_SECONDS));
        self.codes.retain(|_, completed| !after(completed.at, CODE_SECONDS));
        self.devices.retain(|_, device| !after(device.began, DEVICE_SECONDS));
        self.pages.retain(|_, page| !after(page.began, DEVICE_SECONDS));
        forget_oldest(&mut self.purposes, |(_, began)| *began);
        forget_oldest(&mut self.codes, |completed| completed.at);
        forget_oldest(&mut self.devices, |device| device.began);
        forget_oldest(&mut self.pages, |page| page.began);
    }
}

/// Room for one more. Refusing new ones instead would let a stranger keep everybody out.
fn forget_oldest<K: Clone + Eq + std::hash::Hash, V>(of: &mut HashMap<K, V>, began: impl Fn(&V) -> Instant) {
    if of.len() >= UNDER_WAY_MAX {
        let oldest = of.iter().min_by_key(|(_, value)| began(value)).map(|(key, _)| key.clone());
        oldest.map(|key| of.remove(&key));
    }
}

fn hash(code: &str) -> Hash {
    Hash::of(&[code.as_bytes()])
}

pub(super) fn bytes<const N: usize>(random: &dyn Random) -> [u8; N] {
    let mut bytes = [0; N];
    random.fill(&mut bytes);
    bytes
}

/// Eight letters, `BCDF-GHJK`: 34 bits for ten minutes, and every wrong one is counted.
fn typed_code(random: &dyn Random) -> String {
    let mut code = String::with_capacity(9);
    while code.len() < 9 {
        if code.len() == 4 {
            code.push('-');
        }
        let [byte] = bytes::<1>(random);
        // 240 is a multiple of 20: every letter is as likely as the others.
        if byte < 240 {
            code.push(char::from(TYPED[usize::from(byte) % TYPED.len()]));
        }
    }
    code
}

/// What somebody typed, as it was shown: case, spaces and hyphens do not matter.
pub(crate) fn normal_code(typed: &str) -> String {
    let letters: String = typed.chars().filter(char::is_ascii_alphabetic).map(|c| c.to_ascii_uppercase()).collect();
    match letters.len() {
        8 => format!("{}-{}", &letters[..4], &letters[4..]),
        _ => letters,
    }
}

#[cfg(test)]
mod tests {
    use creta_iam::PrincipalId;
    use creta_platform::SeededRandom;

    use super::super::Known;
    use super::*;

    fn now() -> Instant {
        Instant::parse("2026-01-01T12:00:00Z").expect("valid")
    }

    fn who() -> Verified {
        let person = PrincipalId::parse("ana").expect("valid");
        Verified { known: Known { person, methods: vec!["hwk".to_owned()], generation: 0 }, user_verified: true }
    }

    fn begun(verifier: &str) -> Purpose {
        Purpose::CommandLine {
            back: "http://127.0.0.1:7000/signed-in".into(),
            state: "s".into(),
            challenge: URL_SAFE_NO_PAD.encode(Hash::of(&[verifier.as_bytes()]).as_bytes()),
            thumbprint: "key".into(),
            register: false,
        }
    }

    fn code_of(done: Done) -> String {
        let Done::Redirect(address) = done else { panic!("a command line waits") };
        address.split("code=").nth(1).expect("a code").split('&').next().expect("a code").to_owned()
    }

    #[test]
    fn attack_ci21_a_code_is_good_once_for_its_verifier_and_its_key_within_a_minute() {
        let random = SeededRandom::new(1);
        let sign_ins = SignIns::default();
        let code = || code_of(sign_ins.complete(&random, begun("v"), who(), now()).expect("done"));
        let code_ = |problem: Result<Verified, Problem>| problem.expect_err("refused").code;
        let first = code();
        assert_eq!(sign_ins.redeem_code(&first, "v", "key", now()), Ok(who()));
        assert_eq!(code_(sign_ins.redeem_code(&first, "v", "key", now())), "auth/sign-in-over", "twice");
        assert_eq!(code_(sign_ins.redeem_code(&code(), "other", "key", now())), "auth/sign-in-over", "verifier");
        assert_eq!(code_(sign_ins.redeem_code(&code(), "v", "stolen", now())), "auth/sign-in-over", "key");
        let wrong = code();
        assert!(sign_ins.redeem_code(&wrong, "v", "stolen", now()).is_err());
        assert!(sign_ins.redeem_code(&wrong, "v", "key", now()).is_err(), "a code that leaked is used up");
        assert!(sign_ins.redeem_code(&code(), "v", "key", now().plus(Span::seconds(59))).is_ok());
        assert!(sign_ins.redeem_code(&code(), "v", "key", now().plus(Span::seconds(60))).is_err());
    }

    #[test]
    fn attack_ci21_a_device_gets_its_session_once_and_only_with_its_key() {
        let random = SeededRandom::new(2);
        let sign_ins = SignIns::default();
        let address = IpAddr::from([192, 0, 2, 1]);
        let device = sign_ins.begin_device(&random, "key", address, now());
        assert_eq!(sign_ins.device_of(&device.user_code, now()), Some((address, "key".to_owned())));
        let ask = |key: &str, seconds: u32| {
            sign_ins.redeem_device(&device.device_code, key, now().plus(Span::seconds(seconds)))
        };
        assert_eq!(ask("key", 0), Ok(None));
        assert!(ask("stolen", 3).is_err());
        let (user_code, thumbprint) = (device.user_code.clone(), "key".into());
        let purpose = Purpose::Device { user_code, thumbprint, address };
        assert_eq!(sign_ins.complete(&random, purpose.clone(), who(), now()), Ok(Done::Page));
        assert!(sign_ins.complete(&random, purpose, who(), now()).is_err(), "nobody signs in over somebody else");
        assert_eq!(ask("key", 1), Ok(None), "asking too often tells nothing");
        assert_eq!(ask("key", 4), Ok(Some(who())));
        assert!(ask("key", 8).is_err(), "once");
        let refused = sign_ins.begin_device(&random, "key", address, now());
        sign_ins.refuse_device(&refused.user_code);
        let answer = sign_ins.redeem_device(&refused.device_code, "key", now()).expect_err("refused");
        assert_eq!(answer.code, "access/sign-in-refused");
        let late = sign_ins.begin_device(&random, "key", address, now());
        assert_eq!(sign_ins.device_of(&late.user_code, now().plus(Span::seconds(DEVICE_SECONDS))), None);
    }

    #[test]
    fn codes_are_typed_as_people_type() {
        let random = SeededRandom::new(3);
        let codes: Vec<String> = (0..200).map(|_| typed_code(&random)).collect();
        assert!(codes.iter().all(|code| code.len() == 9 && code.as_bytes()[4] == b'-'));
        assert!(codes.iter().all(|code| normal_code(code) == *code));
        assert_eq!(normal_code(" bcdf ghjk "), "BCDF-GHJK");
        assert_ne!(normal_code("BCDFGHJ"), "BCDF-GHJ");
        let different: std::collections::BTreeSet<&String> = codes.iter().collect();
        assert_eq!(different.len(), codes.len());
    }
}
