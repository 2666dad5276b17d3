//! What people signed with their authenticators: kept with what they decided, and checked again when it is used (CH-17, CH-43).
//!
//! A signature is kept with the statement that it is over, and with the public key that made it, under the digest of all of that. A
//! decision names the digest, and so does its entry in the log. Whoever has the root key can write any document; a
//! signature they cannot write. So an approval counts only if its approver's authenticator signed exactly what stands there,
//! and the log says that the authenticator was theirs.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use creta_audit::{Details, Event, Log};
use creta_identity::webauthn::{AuthenticatorKey, Purpose, Site, Verified};
use creta_model::Problem;
use creta_proof::Hash;
use creta_store::MetadataStore;
use serde::{Deserialize, Serialize};

use crate::control_plane::ControlPlane;
use crate::problem::from_audit;
use crate::register::Record;
use crate::witness::entries_since;

const FORMAT: &str = "creta.signature/1";
/// Says whose an authenticator is, when it is registered.
pub(crate) const REGISTERED: &str = "authenticator.registered";
/// The same about authenticators that were registered by releases whose entries do not say which.
const KNOWN: &str = "authenticator.known";
/// That there are no more of these.
const TAKEN_UP: &str = "authenticator.taken-up";

/// Evidence that somebody signed something.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signature {
    format: String,
    /// The address of this server that the browser used.
    origin: String,
    evidence: Verified,
}

impl Signature {
    fn digest(&self) -> Hash {
        Hash::of(&[&serde_json::to_vec(self).expect("evidence has a JSON form")])
    }
}

impl Record for Signature {
    const KIND: &'static str = "signature";

    fn id(&self) -> String {
        self.digest().to_string()
    }

    fn read(body: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(body).ok().filter(|signature| signature.format == FORMAT)
    }
}

/// All signatures, and whose authenticators are, as the log says.
pub(crate) struct Signatures {
    metadata: Arc<dyn MetadataStore>,
    registered: Mutex<Registered>,
}

/// Read from the log as far as it was looked at.
#[derive(Default)]
struct Registered {
    looked_at: u64,
    /// Accounts and digests of keys, as entries say them.
    keys: BTreeSet<(String, String)>,
    taken_up: bool,
}

impl Signatures {
    pub(crate) fn open(metadata: Arc<dyn MetadataStore>) -> Self {
        Self { metadata, registered: Mutex::default() }
    }

    /// Keeps evidence; gives the digest by which decisions name it. Durable when it returns.
    pub(crate) fn keep(&self, origin: &str, evidence: Verified) -> Result<Hash, Problem> {
        let signature = Signature { format: FORMAT.to_owned(), origin: origin.to_owned(), evidence };
        let digest = signature.digest();
        self.metadata
            .write(Signature::KIND, &signature.id(), None, &signature.body())
            .map_err(|e| crate::problem::from_store(&e))?;
        Ok(digest)
    }

    /// What is wrong with a signature that is said to be `person`'s under `purpose`; `None` if nothing is. Costs a signature check and
    /// a look at what the log grew by.
    pub(crate) fn broken_rule(
        &self,
        log: &Log,
        digest: &Hash,
        person: &str,
        purpose: &Purpose,
    ) -> Result<Option<&'static str>, Problem> {
        let kept = self.metadata.read(Signature::KIND, &digest.to_string());
        let kept = kept.map_err(|e| crate::problem::from_store(&e))?;
        let Some(signature) = kept.and_then(|document| Signature::read(&document.body)) else {
            return Ok(Some("the signature under it is gone"));
        };
        let evidence = &signature.evidence;
        if signature.digest() != *digest {
            return Ok(Some("the signature under it was changed"));
        }
        if evidence.statement.person != person || evidence.statement.purpose != *purpose {
            return Ok(Some("what was signed is something else"));
        }
        if Site::new(&signature.origin).is_err()
            || Site::new(&signature.origin).is_ok_and(|s| s.check(evidence).is_err())
        {
            return Ok(Some("the signature under it is not good"));
        }
        if !self.is_registered(log, person, &evidence.key)? {
            return Ok(Some("the log does not know the authenticator that signed it as theirs"));
        }
        Ok(None)
    }

    fn is_registered(&self, log: &Log, person: &str, key: &AuthenticatorKey) -> Result<bool, Problem> {
        let digest = format!("sha256:{}", Hash::from_bytes(key.digest()));
        self.looked_at(log, |registered| registered.keys.contains(&(person.to_owned(), digest)))
    }

    fn looked_at<T>(&self, log: &Log, ask: impl FnOnce(&Registered) -> T) -> Result<T, Problem> {
        let mut registered = self.registered.lock().unwrap_or_else(PoisonError::into_inner);
        let size = log.size();
        let new = entries_since(log, registered.looked_at, &[REGISTERED, KNOWN, TAKEN_UP]);
        for (_, entry) in new.map_err(|e| from_audit(&e))? {
            registered.taken_up |= entry.action == TAKEN_UP;
            if let (Some(person), Some(key)) = (entry.details.get("person"), entry.details.get("key")) {
                registered.keys.insert((person.clone(), key.clone()));
            }
        }
        registered.looked_at = size;
        Ok(ask(&registered))
    }

    /// Whether the log knew every authenticator when it had `before` entries: older releases signed nothing that was kept.
    pub(crate) fn taken_up_before(&self, log: &Log, before: u64) -> Result<bool, Problem> {
        let found = entries_since(log, 0, &[TAKEN_UP]).map_err(|e| from_audit(&e))?;
        Ok(found.first().is_some_and(|(index, _)| *index < before))
    }

    /// Has the log know the authenticators that older releases registered, once: what is added to the documents later is none of
    /// them.
    pub(crate) fn take_up(
        &self,
        control: &ControlPlane,
        keys: impl IntoIterator<Item = (String, AuthenticatorKey)>,
    ) -> Result<(), Problem> {
        if self.looked_at(control.log(), |registered| registered.taken_up)? {
            return Ok(());
        }
        let mut count = 0;
        for (person, key) in keys {
            if self.is_registered(control.log(), &person, &key)? {
                continue;
            }
            let details = Details::none().name("person", person);
            let details = details.and_then(|details| details.digest("key", key.digest()));
            let event = Event::new(KNOWN, control.place()).with(details.map_err(|e| from_audit(&e))?);
            control.log().record(event).map_err(|e| from_audit(&e))?;
            count += 1;
        }
        let details = Details::none().count("authenticators", count).map_err(|e| from_audit(&e))?;
        let event = Event::new(TAKEN_UP, control.place()).with(details);
        control.log().record(event).map(drop).map_err(|e| from_audit(&e))
    }
}
