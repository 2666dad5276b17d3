//! Second factors as their owners see them: which there are, when they were used, and taking one away.
//!
//! Whoever takes one away signs that with another one that stays, so the last cannot be taken away: an administrator resets
//! it, as two people where it matters (`changes.rs`). Other sessions end with it, since whoever found a lost key may have
//! used it.

use creta_audit::{Details, Event, Permit};
use creta_model::{Instant, Problem};
use creta_proof::Hash;
use serde::Serialize;

use super::People;
use super::authenticators::{About, Agreement, Asked, Authenticators, Prompt, Then};
use crate::control_plane::ControlPlane;
use crate::problem::{from_audit, internal};

/// What an application that makes codes is called, of which somebody has one.
const CODES: &str = "codes";
/// The entry that says that one was taken away.
pub(super) const REMOVED: &str = "authenticator.removed";

/// A second factor of somebody's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Factor {
    /// In addresses.
    pub(crate) factor: String,
    pub(crate) kind: Kind,
    pub(crate) label: String,
    /// When it was registered, where that was kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) added: Option<Instant>,
    /// When it was last taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) used: Option<Instant>,
    /// A copy of it was used, so it counts no more.
    pub(crate) suspended: bool,
    /// Whether another one, which stays, can sign that it is taken away.
    pub(crate) removable: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// A security key, or a device's own.
    Key,
    /// An application that makes codes.
    Codes,
}

impl Authenticators {
    /// Without one of them; `None` if it is not there.
    fn without(&self, factor: &str) -> Option<Self> {
        let mut left = self.clone();
        if factor == CODES {
            left.codes.take()?;
            left.codes_used = None;
            return Some(left);
        }
        let id = left.credentials.summaries().into_iter().map(|key| key.id).find(|id| name_of(id) == factor)?;
        left.credentials.remove(&id).then_some(left)
    }

    fn factors(&self) -> Vec<Factor> {
        let removable = |name: &str| self.without(name).is_some_and(|left| left.credentials.can_verify());
        let key = |key: creta_identity::webauthn::Summary| {
            let name = name_of(&key.id);
            Factor {
                kind: Kind::Key,
                label: key.label,
                added: Some(key.added),
                used: key.used,
                suspended: key.is_suspended,
                removable: removable(&name),
                factor: name,
            }
        };
        let codes = self.codes.as_ref().map(|_| Factor {
            factor: CODES.to_owned(),
            kind: Kind::Codes,
            label: "codes of an application".to_owned(),
            added: None,
            used: self.codes_used,
            suspended: false,
            removable: removable(CODES),
        });
        self.credentials.summaries().into_iter().map(key).chain(codes).collect()
    }
}

/// The name of a key in addresses: its id may be long, and is nobody else's business.
fn name_of(id: &str) -> String {
    hex::encode(&Hash::of(&[id.as_bytes()]).as_bytes()[..16])
}

impl People {
    /// What somebody has registered, in that order.
    pub(crate) fn second_factors_of(&self, id: &str) -> Vec<Factor> {
        self.authenticators.with(id, Authenticators::factors).unwrap_or_default()
    }

    /// One of them.
    pub(crate) fn require_factor(&self, id: &str, factor: &str) -> Result<Factor, Problem> {
        let found = self.second_factors_of(id).into_iter().find(|own| own.factor == factor);
        let found = found.ok_or_else(no_factor)?;
        if found.removable {
            return Ok(found);
        }
        Err(Problem::new("access/last-authenticator", "no other authenticator of yours could sign that this one is taken away")
            .with_help("register another one first: `creta login --register-authenticator`; for one that is lost an administrator resets yours"))
    }

    /// A prompt that any key of somebody's may answer but the one that is to be taken away.
    pub(crate) fn ask_without(
        &self,
        control: &ControlPlane,
        origin: &str,
        (agreement, factor): (Agreement, &str),
        About { action, signed, text, document }: About,
        now: Instant,
    ) -> Result<Prompt, Problem> {
        let person = self.require_person(agreement.person.as_str())?;
        let own = self.authenticators.find(person.id.as_str());
        let left = own.and_then(|own| own.without(factor)).ok_or_else(no_factor)?;
        let about = creta_identity::webauthn::Purpose::agree(action, &signed);
        let asked = Asked { origin, browser: None, about, text, document, then: Then::Do(agreement) };
        self.prompt(control, &person, &left.credentials, false, asked, now)
    }

    /// Takes a second factor of the permit's person away, and ends their sessions but the one that asked: the log first.
    pub(crate) fn remove_factor(
        &self,
        control: &ControlPlane,
        (permit, session): (&Permit, &str),
        factor: &str,
        now: Instant,
    ) -> Result<Factor, Problem> {
        let id = permit.principal().person().ok_or_else(internal)?.id().clone();
        let removed = self.require_factor(id.as_str(), factor)?;
        let details = Details::none()
            .name("person", id.as_str())
            .and_then(|details| details.name("authenticator", factor))
            .map_err(|e| from_audit(&e))?;
        control.log().record(Event::of(permit, REMOVED).with(details)).map_err(|e| from_audit(&e))?;
        self.authenticators.change(id.as_str(), |own| {
            // Under the register's lock: of two that are taken away at once the second may be the last.
            let left = own.without(factor).ok_or_else(no_factor)?;
            if left.credentials.can_verify() { Ok(left) } else { Err(no_factor()) }
        })?;
        self.generations.begin(&id);
        for other in self.sessions.list(|other| other.person == id && other.revoked.is_none() && other.id != session) {
            self.end_session(&other.id, now)?;
        }
        Ok(removed)
    }

    /// Forgets one that its owner took away, of which an older copy of the documents knew nothing. It may be the last: then they
    /// register anew.
    pub(super) fn forget_factor(&self, id: &str, factor: &str) -> Result<(), Problem> {
        let without = |own: &Authenticators| Ok::<_, Problem>(own.without(factor).unwrap_or_else(|| own.clone()));
        self.authenticators.change(id, without).map(drop)
    }
}

fn no_factor() -> Problem {
    Problem::new("not-found/authenticator", "you have no such authenticator")
        .with_help("`/my` shows them, and `GET /v1/authenticators`")
}
