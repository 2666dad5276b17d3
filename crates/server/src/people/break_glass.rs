//! The sealed emergency account: two people open it together, with halves of a secret that only they hold, while the
//! identity provider is away. The rules of an opening stand in `creta_programme::break_glass`.
//!
//! Who they are then shows without the provider: each half belongs to one person, the directory's word about that person
//! is kept here, and the authenticator that they registered here answers. Nobody ever sees both halves: an administrator
//! names the holders, and each of them takes their own. What opens is a session of the person who began, under a broken
//! seal, with the roles of [`EMERGENCY_ROLES`] and no others; no role of theirs sees a customer's values.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use creta_audit::{Details, Event};
use creta_iam::{
    Action, Assurance, ClientSecret, DeviceTrust, FeatureSet, GrantId, HeldGrant, Person, Place, Principal,
    PrincipalId, Role, Seal, Standing,
};
use creta_keys::ScopeKey;
use creta_model::{Instant, Problem, Span};
use creta_programme::access::Reason;
use creta_programme::break_glass::{
    BreakGlassError, Finding, HALF_LASTS, Half, OPEN_MINUTES_MAX, Opening, ReviewState,
};
use creta_programme::{PersonRef, RecordId};
use creta_store::MetadataStore;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::access::{record, record_id};
use super::authenticators::{About, Prompt, Then};
use super::session::Session;
use super::{People, PersonRecord};
use crate::context::resource;
use crate::control_plane::ControlPlane;
use crate::intake::{Pager, Urgency, not_noted};
use crate::problem::{from_audit, internal};
use crate::register::{Record, Register};

/// What the account may do while it is open: end what was stolen, give what is lacking, and look at what happened.
pub(crate) const EMERGENCY_ROLES: [Role; 2] = [Role::Administrator, Role::Operator];

const FORMAT: &str = "creta.seal/1";
/// There is one seal; the log knows those before it.
const CURRENT: &str = "current";
/// Separates keyed hashes of halves from all others.
const HALF_DOMAIN: &str = "break-glass half";
/// How long a prompt for a half waits, a little more than its ceremony.
const PROMPT_LASTS: Span = Span::seconds(360);

/// The halves that are out, kept as hashes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SealRecord {
    format: String,
    /// Random: halves of one seal are worth nothing for another.
    pub(crate) number: RecordId,
    pub(crate) made: Instant,
    /// Who named the holders.
    pub(crate) by: PrincipalId,
    pub(crate) slots: [Slot; 2],
    /// The opening that used the halves up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) spent: Option<RecordId>,
}

/// One half: whose, and once it was taken its keyed hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Slot {
    pub(crate) half: Half,
    pub(crate) holder: PersonRef,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) taken: Option<Instant>,
}

impl Record for SealRecord {
    const KIND: &'static str = "seal";

    fn id(&self) -> String {
        CURRENT.to_owned()
    }

    fn read(body: &[u8]) -> Option<Self> {
        let seal = serde_json::from_slice::<Self>(body).ok().filter(|seal| seal.format == FORMAT)?;
        let [first, second] = &seal.slots;
        let apart = first.half != second.half && !first.holder.is_same_human(&second.holder);
        apart.then_some(seal)
    }
}

impl SealRecord {
    /// Since when both halves are out; `None` before, and after they were used.
    pub(crate) fn ready(&self) -> Option<Instant> {
        let [first, second] = &self.slots;
        Some(first.taken?.max(second.taken?)).filter(|_| self.spent.is_none())
    }

    fn slot_of(&self, account: &str) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.holder.account.as_str() == account)
    }
}

impl Record for Opening {
    const KIND: &'static str = "break-glass";

    fn id(&self) -> String {
        self.id.to_string()
    }

    fn read(body: &[u8]) -> Option<Self> {
        Self::parse(body).ok()
    }

    fn body(&self) -> Vec<u8> {
        self.to_bytes()
    }
}

/// The seal and all its openings.
pub(crate) struct BreakGlass {
    seals: Register<SealRecord>,
    openings: Register<Opening>,
    /// Held from a look at the seal until what follows from it is stored.
    at_work: Mutex<()>,
}

/// Somebody who shows their half to begin.
pub(crate) struct AskedToOpen<'a> {
    /// The address of this server that browsers use.
    pub(crate) origin: &'a str,
    pub(crate) account: &'a str,
    pub(crate) half: &'a str,
    pub(crate) reason: &'a str,
    pub(crate) minutes: u8,
    /// The key that the session will be bound to.
    pub(crate) thumbprint: &'a str,
}

/// What is left to do: sign at the prompt, and then wait for the other half.
pub(crate) struct Began {
    pub(crate) opening: RecordId,
    pub(crate) prompt: Prompt,
    pub(crate) session: Session,
    pub(crate) renewal: Zeroizing<String>,
}

/// A half that was right, until its holder's authenticator answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HalfStep {
    account: PrincipalId,
    half: Half,
    seal: RecordId,
    opening: RecordId,
    /// What is begun; none for the second half.
    begins: Option<(Reason, u8)>,
}

impl BreakGlass {
    pub(super) fn open(metadata: Arc<dyn MetadataStore>) -> Result<Self, Problem> {
        let seals = Register::load(Arc::clone(&metadata))?;
        Ok(Self { seals, openings: Register::load(metadata)?, at_work: Mutex::default() })
    }

    /// The present seal, if there ever was one.
    pub(crate) fn seal(&self) -> Option<SealRecord> {
        self.seals.find(CURRENT)
    }

    /// All openings, oldest first.
    pub(crate) fn openings(&self) -> Vec<Opening> {
        let mut openings = self.openings.list(|_| true);
        openings.sort_by_key(|opening| opening.halves.first().map(|shown| shown.at));
        openings
    }

    pub(crate) fn require(&self, id: &str) -> Result<Opening, Problem> {
        self.openings.find(id).ok_or_else(|| {
            Problem::new("not-found/opening", format!("the emergency account has no opening `{id}`"))
                .with_help("`creta break-glass show` lists them")
        })
    }

    /// Halves that are out open nothing any more; the account has to be sealed anew.
    pub(super) fn void(&self, control: &ControlPlane) -> Result<(), Problem> {
        let spent = record_id(control);
        let void =
            |seal: &SealRecord| Ok::<_, Problem>(SealRecord { spent: seal.spent.or(Some(spent)), ..seal.clone() });
        self.seals.change(CURRENT, void).map(drop)
    }

    fn one_at_a_time(&self) -> MutexGuard<'_, ()> {
        self.at_work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a session under this opening is given now; nothing unless it is open.
    pub(super) fn held(&self, opening: &str, holder: &PrincipalId, place: &Place, now: Instant) -> BTreeSet<HeldGrant> {
        let opening = self.openings.find(opening).filter(|opening| opening.require_open(now).is_ok());
        let begun_by = |opening: &Opening| opening.halves.first().is_some_and(|shown| shown.by.account == *holder);
        let Some(opening) = opening.filter(begun_by) else { return BTreeSet::new() };
        let id = GrantId::parse(&opening.id.to_string()).expect("hexadecimal digits make an id");
        EMERGENCY_ROLES.map(|role| HeldGrant { id: id.clone(), role, place: place.clone() }).into()
    }

    /// Whether a session under this opening gets a token; else what it waits for.
    pub(super) fn require_open(&self, opening: &str, began: Instant, now: Instant) -> Result<(), Problem> {
        let waits = |for_what: &str| {
            Problem::new("conflict/break-glass-pending", format!("the emergency account waits for {for_what}"))
                .with_help("ask again in a few seconds")
        };
        match self.openings.find(opening) {
            None if now < began.plus(PROMPT_LASTS) => Err(waits("the authenticator of whoever began")),
            None => Err(of_error(&BreakGlassError::TooLate)),
            Some(opening) if opening.expires().is_some() => opening.require_open(now).map_err(|e| of_error(&e)),
            Some(opening) => match opening.halves.first() {
                Some(first) if now < first.at.plus(HALF_LASTS) => Err(waits("the other half")),
                _ => Err(of_error(&BreakGlassError::TooLate)),
            },
        }
    }
}

impl People {
    /// Makes the halves anew, for two people who will each take their own. Those that were out are worth nothing any more.
    pub(crate) fn seal(
        &self,
        control: &ControlPlane,
        by: &Principal,
        holders: [&str; 2],
        on_call: usize,
        now: Instant,
    ) -> Result<SealRecord, Problem> {
        if on_call == 0 {
            return Err(nobody_on_call());
        }
        let [first, second] =
            [self.require_holder(control, holders[0], now)?, self.require_holder(control, holders[1], now)?];
        if first.reference().is_same_human(&second.reference()) {
            let problem = of_error(&BreakGlassError::SamePerson);
            return Err(problem.with_help("name two different people"));
        }
        let slot = |half, holder: &PersonRecord| Slot { half, holder: holder.reference(), hash: None, taken: None };
        let seal = SealRecord {
            format: FORMAT.to_owned(),
            number: record_id(control),
            made: now,
            by: by.id().clone(),
            slots: [slot(Half::First, &first), slot(Half::Second, &second)],
            spent: None,
        };
        let details = Details::none()
            .name("seal", seal.number.to_string())
            .and_then(|details| details.name("first", first.id.as_str()))
            .and_then(|details| details.name("second", second.id.as_str()))
            .map_err(|e| from_audit(&e))?;
        let _one = self.break_glass.one_at_a_time();
        let event = Event::new("break-glass.sealed", control.place()).by(by).with(details);
        control.log().record(event).map_err(|e| from_audit(&e))?;
        match self.break_glass.seals.change(CURRENT, |_| Ok::<_, Problem>(seal.clone()))? {
            Some(_) => {}
            None => self.break_glass.seals.add(seal.clone())?.map(drop).ok_or_else(internal)?,
        }
        Ok(seal)
    }

    /// Hands a holder their half, once. It is kept as a hash only.
    pub(crate) fn take_half(
        &self,
        control: &ControlPlane,
        by: &Principal,
        now: Instant,
    ) -> Result<(Half, ClientSecret), Problem> {
        let account = by.id().as_str();
        let none = || {
            Problem::new("not-found/half", "there is no half for you to take: none is yours, or it was taken")
                .with_help("a half that was lost is replaced by new ones for both: `creta break-glass seal`")
        };
        let _one = self.break_glass.one_at_a_time();
        let seal = self.break_glass.seal().ok_or_else(none)?;
        let slot = seal.slot_of(account).filter(|slot| slot.taken.is_none()).ok_or_else(none)?.clone();
        self.require_holder(control, account, now)?;
        let verified = by.person().is_some_and(|person| person.standing().assurance.user_verified);
        if !verified {
            return Err(Problem::new("access/authenticator", "this session was not verified by your authenticator")
                .with_help("sign in again: `creta login`"));
        }
        let mut bytes = Zeroizing::new([0; 32]);
        control.platform().random.fill(bytes.as_mut_slice());
        let secret = ClientSecret::from_bytes(*bytes);
        let hash = hex::encode(hash_of(control.own_key(), &seal.number, slot.half, secret.expose_bytes()));
        let details = Details::none()
            .name("seal", seal.number.to_string())
            .and_then(|details| details.name("half", word(slot.half)))
            .map_err(|e| from_audit(&e))?;
        let event = Event::new("break-glass.half-taken", control.place()).by(by).with(details);
        control.log().record(event).map_err(|e| from_audit(&e))?;
        let taken = self.break_glass.seals.change(CURRENT, |seal| {
            let mut seal = seal.clone();
            for slot in seal.slots.iter_mut().filter(|slot| slot.holder.account == *by.id()) {
                (slot.hash, slot.taken) = (Some(hash.clone()), Some(now));
            }
            Ok::<_, Problem>(seal)
        })?;
        taken.map(|_| (slot.half, secret)).ok_or_else(internal)
    }

    /// The first half: if it is right, its holder is asked to sign what they begin.
    pub(crate) fn ask_to_open(
        &self,
        control: &ControlPlane,
        asked: &AskedToOpen<'_>,
        now: Instant,
    ) -> Result<Began, Problem> {
        let (seal, half, person) = self.whose_half(control, asked.account, asked.half, now)?;
        let reason =
            Reason::without_ticket(asked.reason).map_err(|fault| Problem::new("request/reason", fault.to_string()))?;
        let opening = record_id(control);
        // Asked now as it will be later, so that a mistake shows before anybody signs.
        let begun = Opening::begin(
            opening,
            control.environment().clone(),
            &reason,
            asked.minutes,
            (half, &person.reference()),
            now,
        );
        let document = begun.map_err(|error| of_error(&error))?.document;
        let text = vec![
            format!("Open the emergency account of `{}` for {} minutes.", document.environment, asked.minutes),
            format!("Reason: {}", reason.as_str()),
            "Somebody else has to show the other half within 15 minutes. Whoever is on call is paged.".to_owned(),
        ];
        let step = HalfStep {
            account: person.id.clone(),
            half,
            seal: seal.number,
            opening,
            begins: Some((reason, asked.minutes)),
        };
        let about = About { action: "break-glass.open", signed: document.to_bytes(), text, document: None };
        let prompt = self.ask_with(control, asked.origin, &person, about, Then::BreakGlass(step), now)?;
        let prompt = prompt.ok_or_else(|| unfit(person.id.as_str(), "they have no authenticator"))?;
        let latest = now.plus(PROMPT_LASTS).plus(HALF_LASTS).plus(Span::seconds(u32::from(OPEN_MINUTES_MAX) * 60));
        let (session, renewal) = Session::under_seal(
            control.own_key(),
            &*control.platform().random,
            (person.id, asked.thumbprint.to_owned()),
            opening.to_string(),
            (now, latest),
        );
        let session = self.sessions.add(session)?.ok_or_else(internal)?;
        Ok(Began { opening, prompt, session, renewal })
    }

    /// The second half: if it is right, its holder is asked to sign what the other began.
    pub(crate) fn ask_to_join(
        &self,
        control: &ControlPlane,
        origin: &str,
        (opening, account, half): (&str, &str, &str),
        now: Instant,
    ) -> Result<Prompt, Problem> {
        let (seal, half, person) = self.whose_half(control, account, half, now)?;
        let opening = self.break_glass.require(opening)?;
        // Asked now as it will be later, so that a mistake shows before anybody signs.
        let _ = opening.complete(half, &person.reference(), now).map_err(|e| refused(control, &person, &e))?;
        let began = opening.halves.first().ok_or_else(internal)?;
        let text = vec![
            format!(
                "Open the emergency account of `{}` for {} minutes, for {}.",
                opening.environment, opening.minutes, began.by.account
            ),
            format!("Their reason: {}", opening.reason),
            "Call them before you agree. Whoever is on call is paged, and somebody else reviews what was done."
                .to_owned(),
        ];
        let about = About { action: "break-glass.open", signed: opening.to_bytes(), text, document: None };
        let step = HalfStep { account: person.id.clone(), half, seal: seal.number, opening: opening.id, begins: None };
        let prompt = self.ask_with(control, origin, &person, about, Then::BreakGlass(step), now)?;
        prompt.ok_or_else(|| unfit(person.id.as_str(), "they have no authenticator"))
    }

    /// The holder of a half signed: an opening begins, or is complete and opens once the page is handed over.
    pub(crate) fn half_was_signed(
        &self,
        control: &ControlPlane,
        pager: &Pager,
        step: &HalfStep,
        now: Instant,
    ) -> Result<&'static str, Problem> {
        let _one = self.break_glass.one_at_a_time();
        let person = self.require_holder(control, step.account.as_str(), now)?;
        let seal = self.break_glass.seal().filter(|seal| seal.number == step.seal).ok_or_else(replaced)?;
        let ready = seal.ready().ok_or_else(replaced)?;
        let place = control.place();
        let asked = resource(&place, FeatureSet::none());
        let decision = control.decide(&self.as_holder(&person, now), Action::BreakGlassOpen, &asked);
        let details = Details::none()
            .name("opening", step.opening.to_string())
            .and_then(|details| details.name("half", word(step.half)))
            .map_err(|e| from_audit(&e))?;
        let _permit = control.admit(decision, details)?;
        let by = person.reference();
        if let Some((reason, minutes)) = &step.begins {
            let environment = control.environment().clone();
            let change = Opening::begin(step.opening, environment, reason, *minutes, (step.half, &by), now);
            let change = change.map_err(|e| refused(control, &person, &e))?;
            record(control, &change.entry, &place)?;
            self.break_glass.openings.add(change.document)?.ok_or_else(internal)?;
            return Ok("Your half counts. Now the other holder has to show theirs, within 15 minutes.");
        }
        let opening = self.break_glass.require(&step.opening.to_string())?;
        // An opening that was begun with a half of another seal is not completed with one of this.
        if opening.halves.first().is_none_or(|shown| shown.at < ready) {
            return Err(replaced());
        }
        let complete = opening.complete(step.half, &by, now).map_err(|e| refused(control, &person, &e))?;
        if pager.contacts() == 0 {
            return Err(nobody_on_call());
        }
        let reference = format!("break-glass-{}", opening.id);
        pager.ask(&reference, now, Urgency::Tenant).map_err(|error| not_noted(&error))?;
        // From here on the halves are used up, whatever becomes of this opening.
        let spent = |seal: &SealRecord| Ok::<_, Problem>(SealRecord { spent: Some(opening.id), ..seal.clone() });
        self.break_glass.seals.change(CURRENT, spent)?.ok_or_else(internal)?;
        record(control, &complete.entry, &place)?;
        let opened = complete.document.paged(now).map_err(|e| refused(control, &person, &e))?;
        record(control, &opened.entry, &place)?;
        let id = Record::id(&opened.document);
        self.break_glass.openings.change(&id, |_| Ok::<_, Problem>(opened.document))?.ok_or_else(internal)?;
        Ok("The emergency account is open. Whoever is on call is being paged.")
    }

    /// Closes the account before its time; nothing is answered under it any more.
    pub(crate) fn close_opening(
        &self,
        control: &ControlPlane,
        by: &PersonRef,
        id: &str,
        now: Instant,
    ) -> Result<Opening, Problem> {
        let closed = self.change_opening(control, id, |opening| opening.close(by, now))?;
        for session in self.sessions.list(|session| session.under.as_deref() == Some(id)) {
            self.end_session(&session.id, now)?;
        }
        Ok(closed)
    }

    /// Somebody who did not open it says what they found.
    pub(crate) fn review_opening(
        &self,
        control: &ControlPlane,
        by: &PersonRef,
        (id, finding, words): (&str, Finding, &Reason),
        now: Instant,
    ) -> Result<Opening, Problem> {
        self.change_opening(control, id, |opening| {
            // Two accounts may have been known as one human only after the opening.
            let human_now =
                |account: &PrincipalId| self.persons.with(account.as_str(), |person| person.behind().clone());
            if opening.halves.iter().any(|shown| human_now(&shown.by.account).as_ref() == Some(&by.person)) {
                return Err(BreakGlassError::Review {
                    rule: "it must come from somebody who did not open the account",
                });
            }
            opening.review(by, finding, words.as_str(), now)
        })
    }

    fn change_opening(
        &self,
        control: &ControlPlane,
        id: &str,
        change: impl FnOnce(&Opening) -> Result<creta_programme::Change<Opening>, BreakGlassError>,
    ) -> Result<Opening, Problem> {
        let _one = self.break_glass.one_at_a_time();
        let opening = self.break_glass.require(id)?;
        let change = change(&opening).map_err(|error| {
            let event = Event::new("break-glass.refused", control.place());
            control.record(event.for_commitment(error.commitment()));
            of_error(&error)
        })?;
        record(control, &change.entry, &control.place())?;
        self.break_glass.openings.change(id, |_| Ok::<_, Problem>(change.document))?.ok_or_else(internal)
    }

    /// Whose half it is. One answer, after the same work, for whatever is wrong: no seal, no such holder, another half, one
    /// that was used, somebody who left.
    fn whose_half(
        &self,
        control: &ControlPlane,
        account: &str,
        typed: &str,
        now: Instant,
    ) -> Result<(SealRecord, Half, PersonRecord), Problem> {
        let seal = self.break_glass.seal();
        let slot = seal.as_ref().and_then(|seal| seal.slot_of(account)).cloned();
        let typed = ClientSecret::parse(typed.trim());
        let secret = typed.as_ref().map_or([0; 32], |secret| *secret.expose_bytes());
        let number = seal.as_ref().map_or(RecordId::from_bytes([0; 16]), |seal| seal.number);
        let half = slot.as_ref().map_or(Half::First, |slot| slot.half);
        let mut expected = [0; 32];
        let hash = slot.as_ref().and_then(|slot| slot.hash.as_ref());
        let known = hash.is_some_and(|hash| hex::decode_to_slice(hash, &mut expected).is_ok());
        let given = hash_of(control.own_key(), &number, half, &secret);
        let own = verify_slices_are_equal(&given, &expected).is_ok() & known & typed.is_ok();
        let seal = seal.filter(|seal| own && seal.ready().is_some());
        let person = seal.as_ref().and_then(|_| self.require_holder(control, account, now).ok());
        match (seal, person) {
            (Some(seal), Some(person)) => Ok((seal, half, person)),
            _ => Err(Problem::new("auth/bad-half", "this is not a half that this person can open the account with")
                .with_help("look at both again; halves that were used or replaced are worth nothing")),
        }
    }

    /// Somebody who can hold a half: staff, here, with an authenticator, and by their role one who may open the account.
    fn require_holder(&self, control: &ControlPlane, account: &str, now: Instant) -> Result<PersonRecord, Problem> {
        let person = self.require_person(account)?;
        let lacks = self.lacks_as_holder(control, &person, now);
        lacks.map_or(Ok(person), |lacks| Err(unfit(account, lacks)))
    }

    /// What keeps somebody from holding a half.
    pub(crate) fn lacks_as_holder(
        &self,
        control: &ControlPlane,
        person: &PersonRecord,
        now: Instant,
    ) -> Option<&'static str> {
        let asked = resource(&control.place(), FeatureSet::none());
        let may = || control.decide(&self.as_holder(person, now), Action::BreakGlassOpen, &asked).is_allowed();
        match () {
            () if !person.is_active() || !self.provisioning.lets_in(person) => Some("they have left"),
            () if person.tenant.is_some() => Some("they are a tenant's own and not staff"),
            () if !self.has_authenticator(person.id.as_str()) => Some("they have no authenticator"),
            () if !may() => Some("they do not have the role `administrator`"),
            () => None,
        }
    }

    /// A holder who was verified by their authenticator, on no device that is known.
    fn as_holder(&self, person: &PersonRecord, now: Instant) -> Principal {
        let assurance = Assurance { user_verified: true, device: DeviceTrust::None, seal: Seal::Intact };
        let grants = self.access.held(&person.id, now);
        let standing = Standing { roles: person.roles.clone(), grants, assurance, class: self.class };
        Principal::Person(Person::new(person.id.clone(), person.home(&self.environment), standing))
    }
}

/// What is wrong with the emergency account, by what it is about: for the check.
pub(crate) fn faults_of_openings(openings: &[Opening], now: Instant) -> Vec<(String, String)> {
    let overdue = openings.iter().filter(|opening| opening.review_state(now) == ReviewState::Overdue);
    let says = |opening: &Opening| {
        let id = opening.id.to_string();
        let says = format!("opening {id} was not reviewed within a day; review it: `creta break-glass review {id}`");
        (id, says)
    };
    overdue.map(says).collect()
}

fn hash_of(key: &ScopeKey, seal: &RecordId, half: Half, secret: &[u8; 32]) -> [u8; 32] {
    key.mac(HALF_DOMAIN, &[seal.to_string().as_bytes(), word(half).as_bytes(), secret])
}

/// The word for a half.
pub(crate) const fn word(half: Half) -> &'static str {
    match half {
        Half::First => "first",
        Half::Second => "second",
    }
}

fn unfit(account: &str, lacks: &str) -> Problem {
    Problem::new("break-glass/holder", format!("`{account}` cannot hold a half: {lacks}")).with_help(
        "holders are two members of staff with the role `administrator` and an authenticator: `creta login --register-authenticator`",
    )
}

fn nobody_on_call() -> Problem {
    Problem::new(
        "break-glass/nobody-on-call",
        "the emergency account pages somebody when it opens, and nobody is on call",
    )
    .with_help("add `[[on_call]]` to `config.toml`")
}

fn replaced() -> Problem {
    Problem::new("break-glass/replaced", "these halves were used or replaced")
        .with_help("begin with the halves that are out now, or make new ones: `creta break-glass seal`")
}

/// A rule that was kept against somebody: recorded with the promise that it keeps.
fn refused(control: &ControlPlane, person: &PersonRecord, error: &BreakGlassError) -> Problem {
    if let Ok(details) = Details::none().name("person", person.id.as_str()) {
        let event = Event::new("break-glass.refused", control.place()).with(details);
        control.record(event.for_commitment(error.commitment()));
    }
    of_error(error)
}

fn of_error(error: &BreakGlassError) -> Problem {
    Problem::new(error.code(), error.to_string())
}
