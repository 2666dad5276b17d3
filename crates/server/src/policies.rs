//! Policies of one's own beside the built-in ones: proposed, compared, agreed on by two where they allow more, and kept.
//!
//! What holds is what the log adopted last. The document keeps the text, and a text that is not the one in the log stops the
//! start of the server.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use creta_audit::{Details, Entry, Event, Log, Permit};
use creta_iam::{Comparison, DecisionCache, IamError, Policies, PrincipalId, ProposedPolicies};
use creta_identity::webauthn::Purpose;
use creta_model::{EnvironmentClass, Instant, Problem};
use creta_programme::{PersonRef, RecordId};
use creta_proof::Hash;
use creta_store::MetadataStore;
use serde::{Deserialize, Serialize};

use crate::control_plane::ControlPlane;
use crate::problem::{from_audit, internal};
use crate::register::{Record, Register};
use crate::signatures::Signatures;
use crate::witness::entries_of;

const FORMAT: &str = "creta.policy/1";
const ADOPTED: &str = "policy.adopted";
/// Longest text of policies, in bytes.
pub(crate) const TEXT_BYTES_MAX: usize = 64 << 10;
const DECISIONS_MAX: usize = 10_000;

/// A text that somebody proposed. Whether it holds, the log says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PolicyRecord {
    format: String,
    pub(crate) id: RecordId,
    /// All policies of one's own, instead of those that hold.
    pub(crate) text: String,
    /// Who; none for the local administrator, who can only take away.
    pub(crate) proposed_by: Option<PersonRef>,
    pub(crate) proposed: Instant,
}

impl Record for PolicyRecord {
    const KIND: &'static str = "policy";

    fn id(&self) -> String {
        self.id.to_string()
    }

    fn read(body: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(body).ok().filter(|record| record.format == FORMAT)
    }
}

impl PolicyRecord {
    /// SHA-256 of the text.
    pub(crate) fn digest(&self) -> Hash {
        Hash::of(&[self.text.as_bytes()])
    }

    /// The name by which the comparison knows who proposed: the human, not an account.
    fn proposer(&self) -> Result<PrincipalId, Problem> {
        let name = self.proposed_by.as_ref().map_or("local-administrator", |by| by.person.as_str());
        PrincipalId::parse(name).map_err(|_| internal())
    }
}

/// The policies that hold, and what was decided by them.
pub(crate) struct Ruling {
    pub(crate) policies: Policies,
    pub(crate) decisions: DecisionCache,
    /// The proposal that is in force; none where only the built-in policies hold.
    pub(crate) in_force: Option<PolicyRecord>,
}

impl Ruling {
    fn new(policies: Policies, class: EnvironmentClass, in_force: Option<PolicyRecord>) -> Arc<Self> {
        let policies = policies.in_class(class);
        Arc::new(Self { policies, decisions: DecisionCache::new(DECISIONS_MAX), in_force })
    }
}

/// All proposals, and what holds of them.
pub(crate) struct PolicyBook {
    class: EnvironmentClass,
    proposals: Register<PolicyRecord>,
    ruling: RwLock<Arc<Ruling>>,
    adopting: Mutex<()>,
}

/// A proposal beside what it would change now.
pub(crate) struct Compared {
    pub(crate) record: PolicyRecord,
    pub(crate) comparison: Comparison,
    /// What an approval names.
    pub(crate) digest: String,
    pub(crate) in_force: bool,
}

impl PolicyBook {
    /// Reads the proposals, and puts the one in force that the log adopted last.
    /// Where it allows more than those before it, somebody else signed for it.
    pub(crate) fn open(
        metadata: Arc<dyn MetadataStore>,
        (log, signatures): (&Log, &Signatures),
        class: EnvironmentClass,
    ) -> Result<Self, Problem> {
        let proposals = Register::<PolicyRecord>::load(metadata)?;
        let mut all = entries_of(log, &[ADOPTED]).map_err(|e| from_audit(&e))?;
        let adopted = all.pop();
        if let Some(adopted) = &adopted {
            require_agreed(&proposals, (log, signatures), class, adopted, all.last())?;
        }
        let in_force = match adopted {
            None => None,
            Some((index, entry)) => {
                let detail = |name: &str| entry.details.get(name).cloned().unwrap_or_default();
                let digest = detail("text");
                let record = proposals.find(&detail("proposal"));
                let same = record.filter(|record| format!("sha256:{}", record.digest()) == digest);
                Some(same.ok_or_else(|| {
                    Problem::new("server/policies", "the stored policies are not those that the log says hold")
                        .with_note("entry of the log", index.to_string(), None)
                        .with_help("put the newest copy of `metadata.sqlite` back; policies change by a proposal only")
                })?)
            }
        };
        let text = in_force.as_ref().map_or("", |record| record.text.as_str());
        let policies =
            Policies::parse_with(text).map_err(|e| crate::problem::logged("the policies do not load", &e))?;
        let ruling = RwLock::new(Ruling::new(policies, class, in_force));
        Ok(Self { class, proposals, ruling, adopting: Mutex::default() })
    }

    /// What holds now.
    pub(crate) fn ruling(&self) -> Arc<Ruling> {
        Arc::clone(&self.ruling.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// All proposals, oldest first.
    pub(crate) fn proposals(&self) -> Vec<PolicyRecord> {
        let mut proposals = self.proposals.list(|_| true);
        proposals.sort_by_key(|record| record.proposed);
        proposals
    }

    /// One of them beside what it would change now. Takes some seconds where much differs.
    pub(crate) fn compared(&self, id: &str) -> Result<Compared, Problem> {
        let record = self.proposals.find(id).ok_or_else(|| no_proposal(id))?;
        let ruling = self.ruling();
        let proposed = ProposedPolicies::new(&ruling.policies, &record.text, record.proposer()?);
        let proposed = proposed.map_err(|error| of_iam(&error))?;
        let in_force = ruling.in_force.as_ref().is_some_and(|other| other.id == record.id);
        let digest = proposed.digest();
        Ok(Compared { record, digest, comparison: proposed.comparison, in_force })
    }

    /// What a text would change, without proposing it.
    pub(crate) fn check(&self, text: &str) -> Result<Comparison, Problem> {
        require_bounded(text)?;
        let new = Policies::parse_with(text).map_err(|error| of_iam(&error))?;
        creta_iam::compare(&self.ruling().policies, &new).map_err(|error| of_iam(&error))
    }

    /// Proposes a text instead of the policies of one's own that hold. One that allows nothing more takes effect at once.
    /// `apart` looks at what would come to lie in one hand.
    pub(crate) fn propose(
        &self,
        control: &ControlPlane,
        permit: &Permit,
        by: Option<PersonRef>,
        text: String,
        apart: impl FnOnce(&Policies) -> Result<(), Problem>,
    ) -> Result<Compared, Problem> {
        require_bounded(&text)?;
        let _one_at_a_time = self.adopting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut id = [0; 16];
        control.platform().random.fill(&mut id);
        let now = control.platform().clock.now();
        let (format, id) = (FORMAT.to_owned(), RecordId::from_bytes(id));
        let record = PolicyRecord { format, id, text, proposed_by: by, proposed: now };
        let refused = |error: &IamError| refused(control, permit, error);
        let proposed = ProposedPolicies::new(&self.ruling().policies, &record.text, record.proposer()?);
        let proposed = proposed.map_err(|error| refused(&error))?;
        let widens = proposed.comparison.is_widening();
        if widens && record.proposed_by.is_none() {
            return Err(Problem::new("access/people-only", "these policies allow more than those that hold")
                .with_note("for example", proposed.comparison.wider[0].to_string(), None)
                .with_help("a person has to propose them, so that another can approve them: `creta login`"));
        }
        let details = details_of(&record)?.count("wider", proposed.comparison.wider.len() as u64);
        let details = details.and_then(|details| details.count("narrower", proposed.comparison.narrower.len() as u64));
        let event = Event::of(permit, "policy.proposed").with(details.map_err(|e| from_audit(&e))?);
        control.log().record(event).map_err(|e| from_audit(&e))?;
        let record = self.proposals.add(record)?.ok_or_else(internal)?;
        let digest = proposed.digest();
        if !widens {
            let policies = proposed.adopt().map_err(|error| refused(&error))?;
            apart(&policies)?;
            self.adopt(control, permit, &record, policies, None)?;
        }
        Ok(Compared { digest, comparison: proposed.comparison, in_force: !widens, record })
    }

    /// Puts a proposal in force that another human proposed, as it was shown: `seen` is its digest beside the policies that
    /// held then. `other` looks whether they are another human still, `apart` at what would come to lie in one hand.
    pub(crate) fn approve(
        &self,
        control: &ControlPlane,
        permit: &Permit,
        by: &PersonRef,
        id: &str,
        (seen, signature): (&str, Option<Hash>),
        (other, apart): (impl FnOnce(&PersonRef) -> Result<(), Problem>, impl FnOnce(&Policies) -> Result<(), Problem>),
    ) -> Result<Compared, Problem> {
        let _one_at_a_time = self.adopting.lock().unwrap_or_else(PoisonError::into_inner);
        let record = self.proposals.find(id).ok_or_else(|| no_proposal(id))?;
        let refused = |error: &IamError| refused(control, permit, error);
        let proposed = ProposedPolicies::new(&self.ruling().policies, &record.text, record.proposer()?);
        let proposed = proposed.map_err(|error| refused(&error))?;
        let human = PrincipalId::parse(by.person.as_str()).map_err(|_| internal())?;
        let policies = proposed.approve(&human, seen).map_err(|error| refused(&error))?;
        record.proposed_by.as_ref().map_or(Ok(()), other)?;
        apart(&policies)?;
        let agreed = signature.map(|signature| Agreement { by, seen, signature });
        self.adopt(control, permit, &record, policies, agreed)?;
        Ok(Compared { digest: proposed.digest(), comparison: proposed.comparison, in_force: true, record })
    }

    /// The log first: from this entry on the proposal holds, at the latest after the next start.
    fn adopt(
        &self,
        control: &ControlPlane,
        permit: &Permit,
        record: &PolicyRecord,
        policies: Policies,
        agreed: Option<Agreement<'_>>,
    ) -> Result<(), Problem> {
        let mut details = details_of(record)?;
        if let Some(Agreement { by, seen, signature }) = agreed {
            details = details
                .name("approver", by.account.as_str())
                .and_then(|details| details.name("seen", seen))
                .and_then(|details| details.digest("signature", *signature.as_bytes()))
                .map_err(|e| from_audit(&e))?;
        }
        let event = Event::of(permit, ADOPTED).with(details);
        control.log().record(event).map_err(|e| from_audit(&e))?;
        // What was decided before is remembered with the policies it was decided by, and goes with them.
        let ruling = Ruling::new(policies, self.class, Some(record.clone()));
        *self.ruling.write().unwrap_or_else(PoisonError::into_inner) = ruling;
        Ok(())
    }
}

/// Who agreed to a proposal, as they saw it.
struct Agreement<'a> {
    by: &'a PersonRef,
    seen: &'a str,
    signature: Hash,
}

/// What somebody's authenticator signs to put a text in force: the text, and the proposal beside what held, by its digest.
pub(crate) fn signed_by_approver(seen: &str, text: &Hash) -> Vec<u8> {
    format!("{seen} sha256:{text}").into_bytes()
}

/// Refuses to start by policies that the log says were adopted, if they allow more than those before and nobody signed that, or if
/// what was signed is something else. What older releases adopted is taken as it is: they kept no signature.
fn require_agreed(
    proposals: &Register<PolicyRecord>,
    (log, signatures): (&Log, &Signatures),
    class: EnvironmentClass,
    (index, entry): &(u64, Entry),
    before: Option<&(u64, Entry)>,
) -> Result<(), Problem> {
    let record = |entry: &Entry| entry.details.get("proposal").and_then(|id| proposals.find(id));
    let Some(own) = record(entry) else { return Ok(()) }; // Refused by whoever asks for it.
    let detail = |name: &str| entry.details.get(name).map(String::as_str).unwrap_or_default();
    let signature = detail("signature").strip_prefix("sha256:").and_then(|hex| Hash::try_from(hex.to_owned()).ok());
    let rule = match signature {
        Some(signature) => {
            let signed = signed_by_approver(detail("seen"), &own.digest());
            let purpose = Purpose::agree("policy.approve", &signed);
            signatures.broken_rule(log, &signature, detail("approver"), &purpose)?
        }
        None if class == EnvironmentClass::Development || !signatures.taken_up_before(log, *index)? => None,
        None => {
            let before = before.and_then(|(_, entry)| record(entry));
            let parsed = |text: &str| Policies::parse_with(text).map_err(|error| of_iam(&error));
            let (old, new) = (parsed(before.as_ref().map_or("", |before| &before.text))?, parsed(&own.text)?);
            let widens = creta_iam::compare(&old, &new).map_err(|error| of_iam(&error))?.is_widening();
            widens.then_some("they allow more than those before, and nobody signed that")
        }
    };
    let Some(rule) = rule else { return Ok(()) };
    Err(Problem::new("server/policies", format!("the policies that the log says hold do not count: {rule}"))
        .with_note("entry of the log", index.to_string(), None)
        .with_help("put the newest copy of `metadata.sqlite` back, and look at who could write to the data folder"))
}

fn require_bounded(text: &str) -> Result<(), Problem> {
    if text.len() <= TEXT_BYTES_MAX {
        return Ok(());
    }
    Err(Problem::new("policy/too-long", format!("policies have at most {TEXT_BYTES_MAX} bytes")))
}

fn details_of(record: &PolicyRecord) -> Result<Details, Problem> {
    Details::none()
        .name("proposal", record.id.to_string())
        .and_then(|details| details.digest("text", *record.digest().as_bytes()))
        .map_err(|e| from_audit(&e))
}

fn refused(control: &ControlPlane, permit: &Permit, error: &IamError) -> Problem {
    control.record(Event::of(permit, "policy.refused").for_commitment("CI-20"));
    of_iam(error)
}

fn of_iam(error: &IamError) -> Problem {
    let (code, help) = match error {
        IamError::OwnProposal { .. } => ("access/own-proposal", "another human has to approve it"),
        IamError::OtherProposal => ("conflict/changed", "look at it again: `creta access policy show ID`"),
        IamError::Wildcard { .. } | IamError::Named { .. } => {
            ("policy/refused", "say which role may do what, and where")
        }
        _ => ("policy/refused", "`creta access policy show` shows the policies that hold"),
    };
    Problem::new(code, error.to_string()).with_help(help)
}

fn no_proposal(id: &str) -> Problem {
    Problem::new("not-found/policy", format!("nobody proposed policies `{id}`"))
        .with_help("`creta access policy show` lists the proposals")
}
