//! Authenticators: the second factor of a sign-in, and the signature under each approval (CI-22).
//!
//! A prompt is begun here, answered in a browser, and taken once. What happens when it was answered is remembered with it:
//! somebody's sign-in goes on, or what somebody agreed to is done, by the rules of that moment.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use creta_audit::{Details, Event};
use creta_iam::PrincipalId;
use creta_identity::key::Thumbprint;
use creta_identity::totp::{self, CodeError};
use creta_identity::webauthn::{self, Ceremonies, Credentials, Site, WebauthnError};
use creta_model::{EnvironmentClass, Instant, Problem, Span};
use creta_programme::access::{DecisionOrder, Verdict};
use creta_programme::{SubjectId, campaign};
use creta_proof::Hash;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::break_glass::HalfStep;
use super::guesses::{GUESSES_MAX, Noticed, has_to_wait, until};
use super::sign_in::{Known, Purpose, Verified};
use super::{People, PersonRecord};
use crate::control_plane::ControlPlane;
use crate::problem::{from_audit, internal};
use crate::register::Record;
use crate::signatures::REGISTERED;
use crate::trust::exceptions::Decision as ExceptionDecision;

const FORMAT: &str = "creta.authenticators/1";
/// How long a prompt waits, a little more than its ceremony.
const WAITS_SECONDS: u32 = 360;

/// The authenticators of one person.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Authenticators {
    format: String,
    person: PrincipalId,
    pub(super) credentials: Credentials,
    /// An application that makes codes; tenants' own people only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) codes: Option<totp::Authenticator>,
    /// When a code was last right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) codes_used: Option<Instant>,
    /// Wrong codes in a row.
    #[serde(default, skip_serializing_if = "is_zero")]
    wrong_codes: u32,
    /// When the last of them was typed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wrong_code_at: Option<Instant>,
    /// What their owner is told of wrong codes before right ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) noticed: Option<Noticed>,
}

impl Authenticators {
    fn new(person: PrincipalId, credentials: Credentials) -> Self {
        Self {
            format: FORMAT.to_owned(),
            person,
            credentials,
            codes: None,
            codes_used: None,
            wrong_codes: 0,
            wrong_code_at: None,
            noticed: None,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl Record for Authenticators {
    const KIND: &'static str = "authenticators";

    fn id(&self) -> String {
        self.person.to_string()
    }

    fn read(body: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(body).ok().filter(|own| own.format == FORMAT)
    }
}

/// Prompts under way.
#[derive(Default)]
pub(crate) struct Prompts(Mutex<UnderWay>);

#[derive(Default)]
struct UnderWay {
    ceremonies: Ceremonies,
    waiting: HashMap<String, Waiting>,
}

struct Waiting {
    person: PrincipalId,
    purpose: webauthn::Purpose,
    /// The address of this server that the browser uses.
    origin: String,
    then: Then,
    /// Hash of the cookie of the browser that may answer; any may where there is none.
    browser: Option<Hash>,
    page: Prompt,
    began: Instant,
}

/// What follows when a prompt was answered.
#[derive(Clone)]
pub(crate) enum Then {
    /// A sign-in goes on.
    SignIn {
        /// What for.
        purpose: Purpose,
        /// Whose, and how they signed in so far.
        known: Known,
    },
    /// What somebody agreed to is done.
    Do(Agreement),
    /// A half of the emergency account's secret counts.
    BreakGlass(HalfStep),
}

/// What somebody agrees to with their authenticator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Agreement {
    pub(crate) person: PrincipalId,
    pub(crate) session: String,
    pub(crate) to: Agreed,
}

/// What is done when they did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Agreed {
    /// A request for access is decided; the digest is of its terms.
    Request { id: String, digest: String, verdict: Verdict, order: Option<Box<DecisionOrder>> },
    /// One line of a review is decided; `seen` is the digest of the line as it was shown.
    Review { id: String, subject: SubjectId, seen: Hash, verdict: campaign::Verdict, reason: String },
    /// Proposed policies are put in force; the digest is of the proposal beside what held when it was shown.
    Policy { id: String, digest: String },
    /// Row rules that somebody else proposed; the digest is of them beside those that held when they were shown.
    Rows { id: String, digest: String },
    /// A declassification that somebody else proposed; the digest is of its terms.
    Lift { id: String, digest: String },
    /// That a deploy takes tags away; the digest is of which, and from what.
    Removal { id: String, digest: String },
    /// An exception that somebody else proposed is decided on.
    Exception { id: String, decision: ExceptionDecision },
    /// That somebody else changes an account; the digest is of what they asked for.
    Person { id: String, digest: String },
    /// That another human is behind an account than who made it; the digest is of the account.
    Vouch { id: String, digest: String },
    /// That an authenticator of their own is taken away.
    Factor { id: String },
    /// That somebody else is shown a program's secret; the digest is of what they asked for.
    Secret { id: String, digest: String },
}

/// What somebody is asked to agree to.
pub(crate) struct About {
    /// The kind of it, which stands in what is signed.
    pub(crate) action: &'static str,
    /// What is signed: everything that the decision depends on.
    pub(crate) signed: Vec<u8>,
    /// The words that they read, line by line.
    pub(crate) text: Vec<String>,
    /// A text that is part of it, shown as it is.
    pub(crate) document: Option<String>,
}

/// What a browser is shown.
#[derive(Clone)]
pub(crate) struct Prompt {
    pub(crate) id: String,
    /// `create` or `get`.
    pub(crate) method: &'static str,
    /// For `navigator.credentials`.
    pub(crate) options: Value,
    /// What it is about, line by line.
    pub(crate) text: Vec<String>,
    /// A text that is agreed to, as it is.
    pub(crate) document: Option<String>,
}

/// A prompt that was answered rightly.
pub(crate) struct Answered {
    /// Whether it registered an authenticator.
    pub(crate) registered: bool,
    pub(crate) person: PrincipalId,
    pub(crate) then: Then,
    /// Names the evidence, which is kept, of what somebody agreed to.
    pub(crate) signature: Option<Hash>,
}

impl Prompts {
    fn lock(&self) -> MutexGuard<'_, UnderWay> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a browser that was sent here is shown.
    pub(crate) fn find(&self, id: &str, now: Instant) -> Option<Prompt> {
        let mut under_way = self.lock();
        under_way.waiting.retain(|_, waiting| now < waiting.began.plus(Span::seconds(WAITS_SECONDS)));
        under_way.waiting.get(id).map(|waiting| waiting.page.clone())
    }
}

/// What a sign-in needs besides the word of a provider, or a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Factor {
    Nothing,
    /// A security key or device is registered.
    Register,
    /// The one that is known answers.
    Verify,
    /// The one that is known was seen twice.
    Suspended,
    /// An application's code.
    Code,
    /// Either kind is registered.
    Choose,
}

impl People {
    /// What this person's sign-in needs.
    ///
    /// Whoever has a second factor uses it. Outside development everybody has to have one, and registers it when they come for
    /// the first time: staff a security key or device, tenants' own people what they like. In development whoever wishes may.
    pub(super) fn needs(&self, person: &PersonRecord, purpose: &Purpose) -> Factor {
        let (can_verify, has_keys, has_codes) = self.factors_of(person);
        let asked = self.class != EnvironmentClass::Development || purpose.registers();
        match person.tenant {
            _ if can_verify => Factor::Verify,
            Some(_) if has_codes => Factor::Code,
            _ if has_keys => Factor::Suspended,
            None if asked => Factor::Register,
            Some(_) if asked => Factor::Choose,
            _ => Factor::Nothing,
        }
    }

    /// Whether somebody has what a second factor takes.
    pub(super) fn has_second_factor(&self, person: &PersonRecord) -> bool {
        let (can_verify, _, has_codes) = self.factors_of(person);
        can_verify || has_codes
    }

    /// Whether a key can answer, whether there are any, and whether an application makes codes.
    fn factors_of(&self, person: &PersonRecord) -> (bool, bool, bool) {
        let factors = |own: &Authenticators| {
            (own.credentials.can_verify(), !own.credentials.summaries().is_empty(), own.codes.is_some())
        };
        self.authenticators.with(person.id.as_str(), factors).unwrap_or_default()
    }

    /// A prompt that has to be answered before somebody is signed in.
    pub(super) fn second_factor(
        &self,
        control: &ControlPlane,
        person: &PersonRecord,
        (origin, cookie): (&str, &[u8]),
        (purpose, known): (&Purpose, &Known),
        factor: Factor,
        now: Instant,
    ) -> Result<Prompt, Problem> {
        if factor == Factor::Suspended {
            return Err(refused(control, person, &WebauthnError::Suspended));
        }
        let own = self.authenticators.find(person.id.as_str());
        let credentials = own.map_or_else(|| Credentials::new(random(control)), |own| own.credentials);
        let about = match purpose.thumbprint() {
            Some(key) => webauthn::Purpose::sign_in(&Thumbprint::parse(key).ok_or_else(internal)?),
            None => webauthn::Purpose::agree("authenticator.register", person.id.as_str().as_bytes()),
        };
        let text = match factor {
            Factor::Register if self.has_second_factor(person) => {
                vec![format!("Register another authenticator of {}: a security key, or this device's own.", person.id)]
            }
            Factor::Register => vec![
                match purpose.elsewhere() {
                    Some(elsewhere) => format!("{} has no authenticator here, and signs in {elsewhere}.", person.id),
                    None => format!("{} has no authenticator here.", person.id),
                },
                "Register the authenticator with which you will sign in from now on: a security key, or this device's own.".to_owned(),
            ],
            _ => vec![match purpose.elsewhere() {
                Some(elsewhere) => format!("Sign in as {}, {elsewhere}.", person.id),
                None => format!("Sign in as {}.", person.id),
            }],
        };
        let then = Then::SignIn { purpose: purpose.clone(), known: known.clone() };
        let asked = Asked { origin, browser: Some(Hash::of(&[cookie])), about, text, document: None, then };
        self.prompt(control, person, &credentials, factor == Factor::Register, asked, now)
    }

    /// Takes the code of somebody's application: each works once, and after a hundred wrong ones in a row none does.
    pub(super) fn take_code(
        &self,
        control: &ControlPlane,
        id: &PrincipalId,
        code: &str,
        now: Instant,
    ) -> Result<(), Problem> {
        let person = self.require_person(id.as_str())?;
        let (mut outcome, mut closed, mut waits) = (Err(CodeError::Unconfirmed), false, None);
        self.authenticators.change(id.as_str(), |own| {
            let mut own = own.clone();
            if let Some(codes) = own.codes.as_mut().filter(|_| person.tenant.is_some()) {
                waits = until(own.wrong_codes, own.wrong_code_at).filter(|until| now < *until);
                outcome = match own.wrong_codes < GUESSES_MAX {
                    true if waits.is_some() => return Ok(own),
                    true => codes.check(code, now),
                    false => Err(CodeError::Suspended),
                };
                match outcome {
                    Ok(()) => {
                        own.noticed = Noticed::after(own.noticed, own.wrong_codes, own.wrong_code_at);
                        (own.wrong_codes, own.wrong_code_at, own.codes_used) = (0, None, Some(now));
                    }
                    Err(CodeError::Wrong) => (own.wrong_codes, own.wrong_code_at) = (own.wrong_codes + 1, Some(now)),
                    Err(_) => {}
                }
                closed = outcome == Err(CodeError::Wrong) && own.wrong_codes == GUESSES_MAX;
            }
            Ok::<_, Problem>(own)
        })?;
        if let Some(until) = waits.filter(|_| outcome == Err(CodeError::Unconfirmed)) {
            return Err(has_to_wait(now, until));
        }
        if closed {
            record_factor(control, &person, "authenticator.suspended", "code")?;
        }
        outcome.map_err(|error| refused_code(control, &person, error))?;
        record_factor(control, &person, "authenticator.verified", "code")
    }

    /// Registers an application, whose first code is this.
    pub(super) fn register_code(
        &self,
        control: &ControlPlane,
        who: &Known,
        mut authenticator: totp::Authenticator,
        code: &str,
        now: Instant,
    ) -> Result<(), Problem> {
        let id = &who.person;
        let person = self.require_person(id.as_str())?;
        if person.tenant.is_none() {
            return Err(Problem::new("access/authenticator", "codes are for tenants' own people; use a security key"));
        }
        authenticator.confirm(code, now).map_err(|error| refused_code(control, &person, error))?;
        record_factor(control, &person, REGISTERED, "code")?;
        let changed = self.authenticators.change(id.as_str(), |own| {
            // Under the register's lock: what a reset removes it removes after this, or this sees that there was one.
            self.require_begun(who)?;
            Ok::<_, Problem>(Authenticators {
                codes: Some(authenticator.clone()),
                codes_used: Some(now),
                wrong_codes: 0,
                wrong_code_at: None,
                ..own.clone()
            })
        })?;
        if changed.is_none() {
            let made = Authenticators::new(id.clone(), Credentials::new(random(control)));
            let own = Authenticators { codes: Some(authenticator), codes_used: Some(now), ..made };
            self.authenticators.add(own)?.ok_or_else(internal)?;
            if let Err(over) = self.require_begun(who) {
                self.authenticators.remove(id.as_str())?;
                return Err(over);
            }
        }
        Ok(())
    }

    /// Refuses what began before somebody's means of signing in were taken away or replaced.
    pub(super) fn require_begun(&self, who: &Known) -> Result<(), Problem> {
        if self.generations.of(who.person.as_str()) == who.generation { Ok(()) } else { Err(super::over()) }
    }

    /// A prompt to agree to something; `None` for somebody without an authenticator.
    pub(crate) fn ask_to_agree(
        &self,
        control: &ControlPlane,
        origin: &str,
        agreement: Agreement,
        about: About,
        now: Instant,
    ) -> Result<Option<Prompt>, Problem> {
        let person = self.require_person(agreement.person.as_str())?;
        self.ask_with(control, origin, &person, about, Then::Do(agreement), now)
    }

    /// A prompt for what `then` says; `None` for somebody without an authenticator, in class development. Elsewhere everybody
    /// registered one when they signed in: whoever has none any more had it taken from them, and nothing is done unsigned.
    pub(super) fn ask_with(
        &self,
        control: &ControlPlane,
        origin: &str,
        person: &PersonRecord,
        About { action, signed, text, document }: About,
        then: Then,
        now: Instant,
    ) -> Result<Option<Prompt>, Problem> {
        let Some(own) = self.authenticators.find(person.id.as_str()) else {
            if self.class == EnvironmentClass::Development {
                return Ok(None);
            }
            record_refusal(control, person, WebauthnError::NoCredential.commitment());
            return Err(Problem::new(
                "access/authenticator",
                "this is signed with your authenticator, and you have none any more",
            )
            .with_help("sign in again with `creta login`, which registers one"));
        };
        let about = webauthn::Purpose::agree(action, &signed);
        let asked = Asked { origin, browser: None, about, text, document, then };
        self.prompt(control, person, &own.credentials, false, asked, now).map(Some)
    }

    /// Whether somebody has an authenticator that counts.
    pub(super) fn has_authenticator(&self, id: &str) -> bool {
        self.authenticators.with(id, |own| own.credentials.can_verify()).unwrap_or(false)
    }

    pub(super) fn prompt(
        &self,
        control: &ControlPlane,
        person: &PersonRecord,
        credentials: &Credentials,
        register: bool,
        asked: Asked<'_>,
        now: Instant,
    ) -> Result<Prompt, Problem> {
        let site = site(asked.origin)?;
        let id = person.id.as_str();
        let name = person.email.as_deref().unwrap_or(id);
        let whom = webauthn::Person { id, name, display_name: name };
        let begun = match register {
            true => site.begin_registration(credentials, whom, asked.about.clone(), &random(control), now),
            false => site.begin(credentials, id, asked.about.clone(), &random(control), now),
        };
        let (ceremony, options) = begun.map_err(|error| refused(control, person, &error))?;
        let method = if register { "create" } else { "get" };
        let prompt = Prompt { id: ceremony.id(), method, options, text: asked.text, document: asked.document };
        if register {
            // Kept now, so that the handle by which authenticators know the person stays the same.
            self.authenticators.add(Authenticators::new(person.id.clone(), credentials.clone()))?;
        }
        let mut under_way = self.prompts.lock();
        under_way.waiting.retain(|_, waiting| now < waiting.began.plus(Span::seconds(WAITS_SECONDS)));
        under_way.ceremonies.put(ceremony, now).map_err(|error| refused(control, person, &error))?;
        let waiting = Waiting {
            person: person.id.clone(),
            purpose: asked.about,
            origin: asked.origin.to_owned(),
            then: asked.then,
            browser: asked.browser,
            page: prompt.clone(),
            began: now,
        };
        under_way.waiting.insert(prompt.id.clone(), waiting);
        Ok(prompt)
    }

    /// Takes the answer to a prompt: once, from the browser it was shown to, by an authenticator of its person who was
    /// verified.
    pub(crate) fn answer_prompt(
        &self,
        control: &ControlPlane,
        id: &str,
        response: &[u8],
        cookie: &[u8],
        now: Instant,
    ) -> Result<Answered, Problem> {
        let (waiting, ceremony) = {
            let mut under_way = self.prompts.lock();
            let waiting = under_way.waiting.remove(id).ok_or_else(over)?;
            let other = waiting.browser.as_ref().is_some_and(|browser| *browser != Hash::of(&[cookie]));
            let taken = under_way.ceremonies.take(id, waiting.person.as_str(), &waiting.purpose, now);
            if other {
                return Err(over());
            }
            (waiting, taken)
        };
        let person = self.require_person(waiting.person.as_str())?;
        let ceremony = ceremony.map_err(|error| refused(control, &person, &error))?;
        let site = site(&waiting.origin)?;
        let register = waiting.page.method == "create";
        let (mut outcome, mut signed, mut key) = (Err(WebauthnError::NoCredential), None, None);
        self.authenticators.change(person.id.as_str(), |own| {
            if let Then::SignIn { known, .. } = &waiting.then {
                self.require_begun(known)?;
            }
            let mut own = own.clone();
            outcome = match register {
                true => {
                    // One was taken away, perhaps: no two have one name.
                    let taken = own.credentials.summaries();
                    let mut labels = (1_usize..).map(|number| format!("authenticator {number}"));
                    let label = labels.find(|label| taken.iter().all(|key| key.label != *label)).unwrap_or_default();
                    site.finish_registration(ceremony, response, &mut own.credentials, &label, now)
                }
                false => site.finish(ceremony, response, &mut own.credentials, now).map(|verified| {
                    let credential = verified.credential.clone();
                    signed = Some(verified);
                    credential
                }),
            };
            key = outcome.as_ref().ok().and_then(|id| own.credentials.key_of(id));
            Ok::<_, Problem>(own) // Kept also when it is refused: a cloned authenticator is suspended.
        })?;
        let credential = outcome.map_err(|error| refused(control, &person, &error))?;
        // One authenticator vouches for one account: whoever finds it with somebody else takes it back.
        let with_another = |own: &Authenticators| own.person != person.id && own.credentials.holds(&credential);
        if register && self.authenticators.find_by(with_another).is_some() {
            self.authenticators.change(person.id.as_str(), |own| {
                let mut own = own.clone();
                own.credentials.remove(&credential);
                Ok::<_, Problem>(own)
            })?;
            return Err(refused(control, &person, &WebauthnError::Refused));
        }
        // Before anything is done by it: what is decided names the evidence.
        let signature = match (&waiting.then, signed) {
            (Then::Do(_), Some(verified)) => Some(control.signatures().keep(&waiting.origin, verified)?),
            _ => None,
        };
        let name = if register { REGISTERED } else { "authenticator.verified" };
        let details = Details::none()
            .name("person", person.id.as_str())
            .and_then(|details| details.keyed("authenticator", credential.as_bytes()))
            .and_then(|details| match &key {
                Some(key) if register => details.digest("key", key.digest()),
                _ => Ok(details),
            })
            .map_err(|e| from_audit(&e))?;
        control.log().record(Event::new(name, control.place()).with(details)).map_err(|e| from_audit(&e))?;
        Ok(Answered { registered: register, person: person.id, then: waiting.then, signature })
    }

    /// Has the log know whose the authenticators are that older releases registered.
    pub(super) fn take_up_authenticators(&self, control: &ControlPlane) -> Result<(), Problem> {
        let keys = self.authenticators.list(|_| true).into_iter().flat_map(|own| {
            let ids = own.credentials.summaries().into_iter().map(|summary| summary.id);
            let keys: Vec<_> = ids.filter_map(|id| own.credentials.key_of(&id)).collect();
            keys.into_iter().map(move |key| (own.person.to_string(), key))
        });
        control.signatures().take_up(control, keys)
    }

    /// Forgets the authenticators of somebody who lost them; they register anew at their next sign-in. Their sessions end, and
    /// sign-ins under way: whoever found the key may have used it already.
    pub(crate) fn reset_authenticators(&self, id: &str, now: Instant) -> Result<(), Problem> {
        let person = self.require_person(id)?.id;
        self.generations.begin(&person);
        self.authenticators.remove(id)?;
        self.end_sessions_of(&person, now)
    }

    /// How somebody signed in, once their authenticator answered.
    pub(super) fn verified(mut known: Known) -> Verified {
        known.methods.retain(|method| !["provider", "hwk", "user"].contains(&method.as_str()));
        known.methods.extend(["hwk".to_owned(), "user".to_owned()]);
        Verified { known, user_verified: true }
    }
}

pub(super) struct Asked<'a> {
    pub(super) origin: &'a str,
    pub(super) browser: Option<Hash>,
    pub(super) about: webauthn::Purpose,
    pub(super) text: Vec<String>,
    pub(super) document: Option<String>,
    pub(super) then: Then,
}

fn site(origin: &str) -> Result<Site, Problem> {
    Site::new(origin).map_err(|_| {
        Problem::new("sign-in/configuration", "authenticators need this server's address to be a name, not a number")
            .with_help("use the server by its name, and set `public_url` under `[sign_in]` in `config.toml`")
    })
}

fn random<const N: usize>(control: &ControlPlane) -> [u8; N] {
    let mut bytes = [0; N];
    control.platform().random.fill(&mut bytes);
    bytes
}

fn record_refusal(control: &ControlPlane, person: &PersonRecord, commitment: &'static str) {
    if let Ok(details) = Details::none().name("person", person.id.as_str()) {
        let event = Event::new("authenticator.refused", control.place()).with(details);
        control.record(event.for_commitment(commitment));
    }
}

fn refused(control: &ControlPlane, person: &PersonRecord, error: &WebauthnError) -> Problem {
    record_refusal(control, person, error.commitment());
    Problem::new("access/authenticator", error.to_string())
}

/// Records that a second factor answered or was registered.
fn record_factor(control: &ControlPlane, person: &PersonRecord, what: &'static str, kind: &str) -> Result<(), Problem> {
    let details = Details::none()
        .name("person", person.id.as_str())
        .and_then(|details| details.name("kind", kind))
        .map_err(|e| from_audit(&e))?;
    control.log().record(Event::new(what, control.place()).with(details)).map(drop).map_err(|e| from_audit(&e))
}

fn refused_code(control: &ControlPlane, person: &PersonRecord, error: CodeError) -> Problem {
    record_refusal(control, person, error.commitment());
    Problem::new("access/authenticator", error.to_string())
}

fn over() -> Problem {
    Problem::new("auth/sign-in-over", "this prompt was answered, took too long, or began in another browser")
        .with_help("start again")
}
