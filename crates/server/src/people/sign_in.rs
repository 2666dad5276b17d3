//! Sign-ins under way: from the first step of a browser or command line to the session.
//!
//! A browser goes to the organisation's provider and comes back here. What happens then depends on why it went: the
//! command line on the same machine gets a code on its loopback address; one on another machine asks until its code was
//! entered; a browser by itself gets a page. Everything here is in memory: a restart asks people to begin again.

use std::net::IpAddr;

use creta_audit::{Details, Event};
use creta_iam::PrincipalId;
use creta_identity::oidc::{BoundTo, Callback, OidcError};
use creta_identity::totp;
use creta_model::{Instant, Problem};

use super::authenticators::Factor;
use super::guesses::Door;
use super::session::{Client, Opening};
use super::{Opened, People, PersonRecord};
use crate::control_plane::ControlPlane;
use crate::problem::internal;

mod under_way;

use under_way::bytes;
pub(crate) use under_way::{DEVICE_INTERVAL_SECONDS, DEVICE_SECONDS, SignIns, normal_code};

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
