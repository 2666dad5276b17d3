//! Recovery keys: with one of their own, staff agree that something goes on from an older copy. See `restore`.
//!
//! A key is made on its holder's computer and registered while all is well. Its digest stands in the audit log from then on:
//! after a disaster that, and no document alone, says who may agree.

use creta_audit::{AuditError, Details, Event};
use creta_iam::{Principal, PrincipalId};
use creta_identity::key::PublicKey;
use creta_identity::recovery::is_registration;
use creta_model::{Instant, Problem};
use creta_proof::Hash;
use serde::{Deserialize, Serialize};

use super::{People, PersonRecord};
use crate::control_plane::ControlPlane;
use crate::problem::from_audit;
use crate::register::Record;

const FORMAT: &str = "creta.recovery-key/1";
/// The entries that say who may agree.
pub(crate) const ADDED: &str = "recovery.key-added";
pub(crate) const ENDED: &str = "recovery.key-ended";
/// The entry that says which human somebody with such keys is from now on.
pub(crate) const HUMAN: &str = "recovery.key-human";

/// A key that somebody registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecoveryKey {
    format: String,
    /// Thumbprint of the key.
    pub(crate) id: String,
    pub(crate) account: PrincipalId,
    pub(crate) key: PublicKey,
    pub(crate) added: Instant,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended: Option<Instant>,
}

impl Record for RecoveryKey {
    const KIND: &'static str = "recovery-key";

    fn id(&self) -> String {
        self.id.clone()
    }

    fn read(body: &[u8]) -> Option<Self> {
        let key = serde_json::from_slice::<Self>(body).ok().filter(|key| key.format == FORMAT)?;
        (key.key.thumbprint().as_str() == key.id).then_some(key)
    }
}

impl RecoveryKey {
    /// What stands for the key in the log.
    pub(crate) fn digest(&self) -> Hash {
        Hash::of(&[self.id.as_bytes()])
    }

    fn details(&self) -> Result<Details, AuditError> {
        Details::none().name("person", self.account.as_str())?.digest("key", *self.digest().as_bytes())
    }
}

impl People {
    /// Registers a key of somebody's own, which they show to have. The log first.
    pub(crate) fn add_recovery_key(
        &self,
        control: &ControlPlane,
        by: &Principal,
        (person, key): (&PersonRecord, &PublicKey),
        proof: &str,
        now: Instant,
    ) -> Result<RecoveryKey, Problem> {
        let account = person.id.as_str();
        if !is_registration(control.environment_id(), account, key, proof) {
            return Err(Problem::new("recovery/proof", "the signature is not this key's, for this account, here")
                .with_help("make the key with `creta restore key`, which signs as it has to"));
        }
        let id = key.thumbprint().as_str().to_owned();
        let taken = || {
            Problem::new("conflict/recovery-key", "this key is or was registered already")
                .with_help("make another one: `creta restore key`; no key is used twice")
        };
        if self.recovery_keys.with(&id, |_| ()).is_some() {
            return Err(taken());
        }
        let added = RecoveryKey {
            format: FORMAT.to_owned(),
            id,
            account: person.id.clone(),
            key: key.clone(),
            added: now,
            ended: None,
        };
        let details = added.details().and_then(|details| details.name("human", person.behind().to_string()));
        let event = Event::new(ADDED, control.place()).by(by).with(details.map_err(|e| from_audit(&e))?);
        control.log().record(event.for_commitment("CH-35")).map_err(|e| from_audit(&e))?;
        self.recovery_keys.add(added)?.ok_or_else(taken)
    }

    /// Records which human counts as the one behind each of these accounts, for those that have recovery keys: documents may be
    /// lost, or put back as they were before.
    pub(crate) fn record_humans(
        &self,
        control: &ControlPlane,
        by: &Principal,
        accounts: &[PersonRecord],
    ) -> Result<(), Problem> {
        let keys = self.recovery_keys();
        for person in accounts.iter().filter(|person| keys.iter().any(|key| key.account == person.id)) {
            let details = Details::none().name("person", person.id.as_str());
            let details = details.and_then(|details| details.name("human", person.behind().to_string()));
            let event = Event::new(HUMAN, control.place()).by(by).with(details.map_err(|e| from_audit(&e))?);
            control.log().record(event.for_commitment("CH-35")).map_err(|e| from_audit(&e))?;
        }
        Ok(())
    }

    /// Keys that have not ended, by id.
    pub(crate) fn recovery_keys(&self) -> Vec<RecoveryKey> {
        self.recovery_keys.list(|key| key.ended.is_none())
    }

    /// How many different people could agree now: staff that is here, by the keys that they have. Whom somebody made counts as
    /// them until another vouched.
    pub(crate) fn who_could_recover(&self) -> usize {
        let holders = self.recovery_keys().into_iter().filter_map(|key| self.persons.find(key.account.as_str()));
        let here = holders.filter(|person| person.is_active() && person.tenant.is_none());
        here.map(|person| person.behind().clone()).collect::<std::collections::BTreeSet<_>>().len()
    }

    /// Ends a key of somebody's own. Harmless when repeated.
    pub(crate) fn end_recovery_key(
        &self,
        control: &ControlPlane,
        person: &PrincipalId,
        id: &str,
        now: Instant,
    ) -> Result<RecoveryKey, Problem> {
        let own = self.recovery_keys.find(id).filter(|key| key.account == *person);
        let own = own.ok_or_else(|| {
            Problem::new("not-found/recovery-key", "you have no such recovery key")
                .with_help("`creta restore keys` lists them")
        })?;
        if own.ended.is_some() {
            return Ok(own);
        }
        let details = own.details().map_err(|e| from_audit(&e))?;
        control.log().record(Event::new(ENDED, control.place()).with(details)).map_err(|e| from_audit(&e))?;
        let ended =
            self.recovery_keys.change(id, |key| Ok::<_, Problem>(RecoveryKey { ended: Some(now), ..key.clone() }))?;
        Ok(ended.unwrap_or(own))
    }

    /// Ends the keys of somebody who left.
    pub(super) fn end_recovery_keys_of(
        &self,
        control: &ControlPlane,
        person: &PrincipalId,
        now: Instant,
    ) -> Result<(), Problem> {
        let own = self.recovery_keys.list(|key| key.account == *person && key.ended.is_none());
        own.iter().try_for_each(|key| self.end_recovery_key(control, person, &key.id, now).map(drop))
    }
}
