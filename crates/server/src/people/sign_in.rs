//! Sign-ins under way: from the first step of a browser or command line to the session.
//!
//! A browser goes to the organisation's provider and comes back here. What happens then depends on why it went: the
//! command line on the same machine gets a code on its loopback address; one on another machine asks until its code was
//! entered; a browser by itself gets a page. Everything here is in memory: a restart asks people to begin again.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use creta_audit::{Details, Event};
use creta_iam::PrincipalId;
use creta_identity::oidc::{Attempt, Attempts, BoundTo, Callback, OidcError};
use creta_identity::totp;
use creta_model::{Instant, Problem, Span};
use creta_platform::Random;
use creta_proof::Hash;

use super::authenticators::Factor;
use super::guesses::Door;
use super::session::{Client, Opening};
use super::{Opened, People, PersonRecord};
use crate::control_plane::ControlPlane;
use crate::problem::internal;

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

/// What a page of ours waits for.
#[derive(Clone)]
pub(crate) enum Step {
    /// The provider, or name and password.
    Begin,
    /// The code of an authenticator that is known.
    Code(Known),
    /// A second factor: the first code of this authenticator, or another kind.
    Register {
        who: Known,
        authenticator: Box<totp::Authenticator>,
        /// `otpauth:` address, to be read by somebody's application.
        address: String,
    },
}

/// Somebody whose first factor was right, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) person: PrincipalId,
    pub(crate) methods: Vec<String>,
    /// Of what they sign in with, when that was looked at.
    pub(crate) generation: u64,
}

/// Why somebody signs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A command line on the browser's machine waits for a code.
    CommandLine {
        /// Its loopback address.
        back: String,
        /// Its word, given back to it.
        state: String,
        /// PKCE, S256.
        challenge: String,
        /// The key that the session will be bound to.
        thumbprint: String,
        /// Whether the person wants to register an authenticator.
        register: bool,
    },
    /// A command line elsewhere waits, and showed this code.
    Device {
        user_code: String,
        /// The key that the session will be bound to.
        thumbprint: String,
        /// From where the code was asked for.
        address: IpAddr,
    },
    /// Somebody who was invited registers a second factor. No session comes of it.
    Invitation,
}

impl Purpose {
    /// The key that the session will be bound to; none where there will be none.
    pub(crate) fn thumbprint(&self) -> Option<&str> {
        match self {
            Self::CommandLine { thumbprint, .. } | Self::Device { thumbprint, .. } => Some(thumbprint),
            Self::Invitation => None,
        }
    }

    /// What somebody is told who signs in for another machine: they may have been led here.
    pub(crate) fn elsewhere(&self) -> Option<String> {
        match self {
            Self::Device { user_code, address, .. } => {
                Some(format!("on the machine that shows the code {user_code}, which was asked for from {address}"))
            }
            Self::CommandLine { .. } | Self::Invitation => None,
        }
    }

    pub(crate) fn registers(&self) -> bool {
        matches!(self, Self::CommandLine { register: true, .. })
    }
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

/// Who signed in, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verified {
    pub(crate) known: Known,
    pub(crate) user_verified: bool,
}

/// A sign-in that was begun: where to send the browser, and the cookie it has to bring back.
pub(crate) struct Started {
    pub(crate) location: String,
    pub(crate) cookie: String,
}

/// What a device shows to the person before it.
pub(crate) struct DeviceStarted {
    pub(crate) device_code: String,
    pub(crate) user_code: String,
}

/// Where a browser goes when it is done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// Back to the command line.
    Redirect(String),
    /// Nowhere: the person goes back to the other machine.
    Page,
    /// To the page that asks for the person's authenticator.
    Prompt(String),
    /// To the page that asks for a code, or for a second factor to be registered.
    SecondFactor,
    /// Nowhere: whoever was invited can sign in now.
    Registered,
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

    fn put(&self, attempt: Attempt, purpose: Purpose, now: Instant) {
        let mut under_way = self.lock();
        under_way.forget_old(now);
        under_way.purposes.insert(attempt.state().to_owned(), (purpose, now));
        under_way.attempts.put(attempt, now);
    }

    fn take(&self, state: &str, bound_to: &BoundTo, now: Instant) -> Result<(Attempt, Purpose), OidcError> {
        let mut under_way = self.lock();
        let purpose = under_way.purposes.remove(state);
        let attempt = under_way.attempts.take(state, bound_to, now)?;
        purpose.map(|(purpose, _)| (attempt, purpose)).ok_or(OidcError::NoAttempt)
    }

    /// Hands over who signed in to whoever waits for it.
    fn complete(&self, random: &dyn Random, purpose: Purpose, who: Verified, now: Instant) -> Result<Done, Problem> {
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
    fn put_page(&self, cookie: &[u8], purpose: Purpose, step: Step, now: Instant) {
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

    fn end_page(&self, cookie: &[u8]) {
        self.lock().pages.remove(&Hash::of(&[cookie]));
    }

    /// What the page of this browser waits for, with one try less: counted before the code is looked at, so that of many at
    /// once no more are looked at. After some, whoever types begins anew.
    fn try_code(&self, cookie: &[u8], now: Instant) -> Option<(Purpose, Step)> {
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
    pub(super) fn redeem_code(
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
    fn redeem_device(&self, code: &str, thumbprint: &str, now: Instant) -> Result<Option<Verified>, Problem> {
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

impl People {
    /// Sends a browser to the provider. `url` is where it comes back to.
    pub(crate) fn begin_sign_in(
        &self,
        control: &ControlPlane,
        url: String,
        purpose: Purpose,
    ) -> Result<Started, Problem> {
        let random = &*control.platform().random;
        let now = control.platform().clock.now();
        let cookie = bytes::<32>(random);
        let began = self.require_provider()?.begin(url, BoundTo::browser(&cookie), &bytes::<96>(random), now);
        let (attempt, location) = began.map_err(|error| from_oidc(&error))?;
        self.sign_ins.put(attempt, purpose, now);
        Ok(Started { location, cookie: hex::encode(cookie) })
    }

    /// A browser came back from the provider with its cookie, to `origin`. `refused` is told what came of a sign-in that began
    /// here and is refused.
    pub(crate) fn finish_sign_in(
        &self,
        control: &ControlPlane,
        callback: &Callback,
        cookie: Option<&str>,
        origin: &str,
        refused: &dyn Fn(Event),
    ) -> Result<Done, Problem> {
        let now = control.platform().clock.now();
        let secret = cookie.and_then(|cookie| hex::decode(cookie).ok()).unwrap_or_default();
        let provider = self.require_provider()?;
        let taken = self.sign_ins.take(&callback.state, &BoundTo::browser(&secret), now);
        let signed_in = taken.and_then(|(attempt, purpose)| Ok((provider.finish(&attempt, callback, now)?, purpose)));
        let (signed_in, purpose) = signed_in.map_err(|error| {
            // What began nowhere is nobody's sign-in.
            if !matches!(error, OidcError::NoAttempt | OidcError::OtherClient) {
                let event = Event::new("sign-in.refused", control.place());
                refused(event.for_commitment(error.commitment()));
            }
            from_oidc(&error)
        })?;
        let person = self.recognise(control, &signed_in, refused, now)?;
        let generation = self.generations.of(person.id.as_str());
        let known = Known { person: person.id.clone(), methods: methods_of(&signed_in.amr), generation };
        self.after_first_factor(control, &person, (origin, secret.as_slice()), (purpose, known), now)
    }

    /// Shows a browser our own page, where it chooses how to sign in. Gives its cookie.
    pub(crate) fn begin_on_page(&self, control: &ControlPlane, purpose: Purpose) -> String {
        let cookie = bytes::<32>(&*control.platform().random);
        self.sign_ins.put_page(&cookie, purpose, Step::Begin, control.platform().clock.now());
        hex::encode(cookie)
    }

    /// Name and password were typed on that page.
    pub(crate) fn password_typed(
        &self,
        control: &ControlPlane,
        (cookie, origin): (&[u8], &str),
        (name, password): (&str, &str),
        door: Door,
    ) -> Result<Done, Problem> {
        let now = control.platform().clock.now();
        let Some((purpose, Step::Begin)) = self.sign_ins.page(cookie, now) else { return Err(over()) };
        let generation = self.generations.of(&account_named(name)); // Before the password is looked at.
        let person = self.by_password(control, (name, password), door)?;
        if !self.has_second_factor(&person) {
            // Registering one takes the invitation: a password alone must not be enough for it.
            return Err(Problem::new("access/no-second-factor", "no second factor was registered for this account")
                .with_help("ask an administrator to invite you anew"));
        }
        let known = Known { person: person.id.clone(), methods: vec!["pwd".to_owned()], generation };
        self.after_first_factor(control, &person, (origin, cookie), (purpose, known), now)
    }

    /// Whoever was invited chose a password, and registers a second factor now; `generation` is of before they did. Gives the
    /// browser's cookie.
    pub(crate) fn begin_registration(
        &self,
        control: &ControlPlane,
        person: &PersonRecord,
        generation: u64,
    ) -> Result<String, Problem> {
        let cookie = bytes::<32>(&*control.platform().random);
        let known = Known { person: person.id.clone(), methods: vec!["pwd".to_owned()], generation };
        self.ask_to_register(control, &cookie, person, (Purpose::Invitation, known), control.platform().clock.now())?;
        Ok(hex::encode(cookie))
    }

    /// What is asked once somebody's provider or password vouched for them.
    fn after_first_factor(
        &self,
        control: &ControlPlane,
        person: &PersonRecord,
        (origin, cookie): (&str, &[u8]),
        (purpose, known): (Purpose, Known),
        now: Instant,
    ) -> Result<Done, Problem> {
        match self.needs(person, &purpose) {
            Factor::Code => {
                self.sign_ins.put_page(cookie, purpose, Step::Code(known), now);
                Ok(Done::SecondFactor)
            }
            Factor::Choose => {
                self.ask_to_register(control, cookie, person, (purpose, known), now)?;
                Ok(Done::SecondFactor)
            }
            Factor::Nothing => {
                self.sign_ins.end_page(cookie);
                let who = Verified { known, user_verified: false };
                self.sign_ins.complete(&*control.platform().random, purpose, who, now)
            }
            factor => {
                let asked = (&purpose, &known);
                let prompt = self.second_factor(control, person, (origin, cookie), asked, factor, now)?;
                self.sign_ins.end_page(cookie);
                Ok(Done::Prompt(prompt.id))
            }
        }
    }

    fn ask_to_register(
        &self,
        control: &ControlPlane,
        cookie: &[u8],
        person: &PersonRecord,
        (purpose, who): (Purpose, Known),
        now: Instant,
    ) -> Result<(), Problem> {
        let issuer = format!("Creta {}", self.environment);
        let enrolled = totp::Authenticator::enrol(bytes(&*control.platform().random), &issuer, person.id.as_str());
        let (authenticator, address) = enrolled.map_err(|error| Problem::new("request/person", error.to_string()))?;
        let step = Step::Register { who, authenticator: Box::new(authenticator), address };
        self.sign_ins.put_page(cookie, purpose, step, now);
        Ok(())
    }

    /// A code was typed: that of an authenticator that is known, or the first of one that is being registered.
    /// Whoever wishes for another authenticator registers it after the code of the one they have.
    pub(crate) fn code_typed(
        &self,
        control: &ControlPlane,
        (cookie, origin): (&[u8], &str),
        code: &str,
    ) -> Result<Done, Problem> {
        let now = control.platform().clock.now();
        let (purpose, step) = self.sign_ins.try_code(cookie, now).ok_or_else(over)?;
        let goes_on = purpose.registers() && matches!(step, Step::Code(_));
        let (who, taken) = match step {
            Step::Begin => return Err(over()),
            Step::Code(who) => {
                let taken = self.take_code(control, &who.person, code.trim(), now);
                (who, taken)
            }
            Step::Register { who, authenticator, .. } => {
                let taken = self.register_code(control, &who, *authenticator, code.trim(), now);
                (who, taken)
            }
        };
        taken?;
        self.sign_ins.end_page(cookie);
        let mut known = who;
        known.methods.retain(|method| method != "provider");
        known.methods.push("otp".to_owned());
        if goes_on {
            return self.register_another(control, (origin, cookie), &purpose, &known);
        }
        let who = Verified { known, user_verified: true };
        self.sign_ins.complete(&*control.platform().random, purpose, who, now)
    }

    /// Instead of an application that makes codes, somebody registers a security key or their device.
    pub(crate) fn register_key_instead(
        &self,
        control: &ControlPlane,
        (cookie, origin): (&[u8], &str),
    ) -> Result<Done, Problem> {
        let now = control.platform().clock.now();
        let Some((purpose, Step::Register { who, .. })) = self.sign_ins.page(cookie, now) else { return Err(over()) };
        let person = self.require_person(who.person.as_str())?;
        let asked = (&purpose, &who);
        let prompt = self.second_factor(control, &person, (origin, cookie), asked, Factor::Register, now)?;
        Ok(Done::Prompt(prompt.id))
    }

    /// Whoever showed the second factor that they have registers another one in the same sign-in.
    pub(crate) fn register_another(
        &self,
        control: &ControlPlane,
        (origin, cookie): (&str, &[u8]),
        purpose: &Purpose,
        known: &Known,
    ) -> Result<Done, Problem> {
        let (person, now) = (self.require_person(known.person.as_str())?, control.platform().clock.now());
        self.require_begun(known)?;
        let asked = (purpose, known);
        let prompt = self.second_factor(control, &person, (origin, cookie), asked, Factor::Register, now)?;
        Ok(Done::Prompt(prompt.id))
    }

    /// The person of a sign-in used their authenticator: it goes on.
    pub(crate) fn go_on(&self, control: &ControlPlane, purpose: Purpose, known: Known) -> Result<Done, Problem> {
        let now = control.platform().clock.now();
        self.sign_ins.complete(&*control.platform().random, purpose, Self::verified(known), now)
    }

    /// The session for a code that the browser brought back to a command line.
    pub(crate) fn redeem_code(
        &self,
        control: &ControlPlane,
        code: &str,
        verifier: &str,
        thumbprint: &str,
    ) -> Result<Opened, Problem> {
        let now = control.platform().clock.now();
        let who = self.sign_ins.redeem_code(code, verifier, thumbprint, now)?;
        self.open_for(control, who, (thumbprint, Client::CommandLine), now)
    }

    /// The session for a device whose code was entered; `None` until it was.
    pub(crate) fn redeem_device(
        &self,
        control: &ControlPlane,
        code: &str,
        thumbprint: &str,
    ) -> Result<Option<Opened>, Problem> {
        let now = control.platform().clock.now();
        let who = self.sign_ins.redeem_device(code, thumbprint, now)?;
        who.map(|who| self.open_for(control, who, (thumbprint, Client::CommandLine), now)).transpose()
    }

    /// The session of a sign-in, unless what it was made with was taken away or replaced since it began (CH-33).
    pub(super) fn open_for(
        &self,
        control: &ControlPlane,
        Verified { known, user_verified }: Verified,
        (thumbprint, client): (&str, Client),
        now: Instant,
    ) -> Result<Opened, Problem> {
        let too_late = |over: Problem| {
            if let Ok(details) = Details::none().name("person", known.person.as_str()) {
                let event = Event::new("sign-in.refused", control.place()).with(details);
                control.record(event.for_commitment("CH-33"));
            }
            over
        };
        self.require_begun(&known).map_err(too_late)?;
        let Known { person, methods, .. } = known.clone();
        let thumbprint = thumbprint.to_owned();
        let opening = Opening { person, thumbprint, client, device: None, user_verified, methods };
        let opened = self.open_session(control, opening, now)?;
        // Once more now that the session can be seen by whoever ends sessions.
        if let Err(over) = self.require_begun(&known) {
            self.end_session(&opened.session.id, now)?;
            return Err(too_late(over));
        }
        Ok(opened)
    }
}

/// The account that somebody who types a name means.
pub(super) fn account_named(typed: &str) -> String {
    typed.trim().to_ascii_lowercase()
}

/// What the provider says about how somebody signed in, as far as it can stand in the log.
fn methods_of(amr: &[String]) -> Vec<String> {
    let plain = |method: &&String| {
        (1..=16).contains(&method.len()) && method.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let methods: Vec<String> = amr.iter().filter(plain).take(6).cloned().collect();
    if methods.is_empty() { vec!["provider".to_owned()] } else { methods }
}

fn from_oidc(error: &OidcError) -> Problem {
    match error {
        OidcError::Configuration { .. } | OidcError::Provider { .. } => {
            tracing::error!(%error, "the identity provider cannot be used");
            Problem::new("busy/identity-provider", "the organisation's identity provider cannot be used right now")
                .with_help("try again; if it stays, tell whoever runs this server")
        }
        OidcError::KeysNeeded => internal(),
        OidcError::NoAttempt | OidcError::OtherClient => over(),
        OidcError::Refused { .. } | OidcError::IdToken { .. } => {
            Problem::new("access/sign-in-refused", error.to_string()).with_help("start again: `creta login`")
        }
    }
}

/// One answer for whatever was used, ran out or never was.
pub(crate) fn over() -> Problem {
    Problem::new("auth/sign-in-over", "this sign-in was used, took too long, or began elsewhere")
        .with_help("start again: `creta login`")
}

fn hash(code: &str) -> Hash {
    Hash::of(&[code.as_bytes()])
}

fn bytes<const N: usize>(random: &dyn Random) -> [u8; N] {
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
    use creta_platform::SeededRandom;

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
