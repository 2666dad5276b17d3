//! What one person proposes and another one approves, exactly as it was shown.

use std::sync::Arc;

use creta_audit::{Details, Event, Permit};
use creta_model::{Instant, Problem, Span};
use creta_programme::access::Reason;
use creta_programme::{PersonRef, RecordId};
use creta_proof::Hash;
use creta_store::MetadataStore;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::control_plane::ControlPlane;
use crate::problem::{from_audit, internal};
use crate::register::{Record, Register};

/// What is proposed.
pub(crate) trait Matter: Clone + Serialize + DeserializeOwned {
    /// Kind of the documents.
    const KIND: &'static str;
    /// Their format.
    const FORMAT: &'static str;
    /// Names of the log's entries: proposed, approved, ended.
    const EVENTS: [&'static str; 3];
    /// What keeps it, for refusals.
    const COMMITMENT: &'static str;
    /// How long a proposal waits for its approval, and an approval for its use.
    const VOID_AFTER: Span;
}

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum State {
    /// Nobody approved it yet.
    Open,
    /// Another human approved it.
    Approved { by: PersonRef, at: Instant },
    /// It was taken back, used up, or took effect and ended.
    Ended { at: Instant },
}

/// A proposal and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Proposal<M> {
    format: String,
    pub(crate) id: RecordId,
    pub(crate) matter: M,
    pub(crate) reason: String,
    pub(crate) proposed_by: PersonRef,
    pub(crate) proposed: Instant,
    pub(crate) state: State,
}

impl<M: Matter> Record for Proposal<M> {
    const KIND: &'static str = M::KIND;

    fn id(&self) -> String {
        self.id.to_string()
    }

    fn read(body: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(body).ok().filter(|record| record.format == M::FORMAT)
    }
}

impl<M: Matter> Proposal<M> {
    /// SHA-256 of everything that is proposed: what an approval names.
    pub(crate) fn digest(&self) -> Hash {
        let terms = (&self.format, &self.id, &self.matter, &self.reason, &self.proposed_by, self.proposed);
        let bytes = serde_json::to_vec(&terms).expect("a proposal has a JSON form");
        Hash::of(&[&bytes])
    }

    /// The word of its state now.
    pub(crate) fn state_at(&self, now: Instant) -> &'static str {
        match &self.state {
            State::Ended { .. } => "ended",
            State::Open if self.void_at() <= now => "void",
            State::Open => "open",
            State::Approved { .. } => "approved",
        }
    }

    /// When nobody can approve it any more.
    pub(crate) fn void_at(&self) -> Instant {
        self.proposed.plus(M::VOID_AFTER)
    }

    /// Who approved it, if it is approved.
    pub(crate) fn approved_by(&self) -> Option<&PersonRef> {
        match &self.state {
            State::Approved { by, .. } => Some(by),
            _ => None,
        }
    }

    fn details(&self) -> Result<Details, Problem> {
        let details = Details::none().name("proposal", self.id.to_string());
        details.and_then(|details| details.digest("terms", *self.digest().as_bytes())).map_err(|e| from_audit(&e))
    }
}

/// All proposals of a kind.
pub(crate) struct TwoPeople<M> {
    proposals: Register<Proposal<M>>,
}

impl<M: Matter> TwoPeople<M> {
    /// Reads them.
    pub(crate) fn open(metadata: Arc<dyn MetadataStore>) -> Result<Self, Problem> {
        Ok(Self { proposals: Register::load(metadata)? })
    }

    /// Those that `fit`, oldest first.
    pub(crate) fn list(&self, fits: impl Fn(&Proposal<M>) -> bool) -> Vec<Proposal<M>> {
        let mut proposals = self.proposals.list(fits);
        proposals.sort_by_key(|proposal| proposal.proposed);
        proposals
    }

    /// One of them.
    pub(crate) fn require(&self, id: &str) -> Result<Proposal<M>, Problem> {
        self.proposals.find(id).ok_or_else(|| {
            Problem::new("not-found/proposal", format!("there is no proposal `{id}` that you can see"))
                .with_help("the list shows those that you can")
        })
    }

    /// One of them, if it is there.
    pub(crate) fn find(&self, id: &str) -> Option<Proposal<M>> {
        self.proposals.find(id)
    }

    /// Writes down a state that stands in the log already: a crash came between the two.
    pub(crate) fn complete(&self, id: &str, state: State) -> Result<(), Problem> {
        self.proposals.change(id, |proposal| Ok::<_, Problem>(Proposal { state, ..proposal.clone() })).map(drop)
    }

    /// Proposes something; the log first.
    pub(crate) fn propose(
        &self,
        control: &ControlPlane,
        permit: &Permit,
        by: PersonRef,
        matter: M,
        reason: &str,
    ) -> Result<Proposal<M>, Problem> {
        let reason = Reason::without_ticket(reason)
            .map_err(|fault| Problem::new("access/reason", format!("the reason does not do: {fault}")))?;
        let mut id = [0; 16];
        control.platform().random.fill(&mut id);
        let proposal = Proposal {
            format: M::FORMAT.to_owned(),
            id: RecordId::from_bytes(id),
            matter,
            reason: reason.as_str().to_owned(),
            proposed_by: by,
            proposed: control.platform().clock.now(),
            state: State::Open,
        };
        record(control, permit, M::EVENTS[0], &proposal)?;
        self.proposals.add(proposal)?.ok_or_else(internal)
    }

    /// Approves what another human proposed. `seen` is the digest of what was shown. `may` has the last word.
    pub(crate) fn approve(
        &self,
        control: &ControlPlane,
        permit: &Permit,
        by: PersonRef,
        (id, seen): (&str, &str),
        may: impl FnOnce(&Proposal<M>) -> Result<(), Problem>,
    ) -> Result<Proposal<M>, Problem> {
        let now = control.platform().clock.now();
        let approved = self.proposals.change(id, |proposal| {
            approvable(control, permit, proposal, (&by, seen))?;
            may(proposal)?;
            let approved = Proposal { state: State::Approved { by, at: now }, ..proposal.clone() };
            record(control, permit, M::EVENTS[1], &approved)?;
            Ok::<_, Problem>(approved)
        })?;
        approved.map_or_else(|| self.require(id), Ok)
    }

    /// Asks now what approving asks later, so that a mistake shows before anybody signs.
    pub(crate) fn require_approvable(
        &self,
        control: &ControlPlane,
        permit: &Permit,
        by: &PersonRef,
        (id, seen): (&str, &str),
        may: impl FnOnce(&Proposal<M>) -> Result<(), Problem>,
    ) -> Result<Proposal<M>, Problem> {
        let proposal = self.require(id)?;
        approvable(control, permit, &proposal, (by, seen))?;
        may(&proposal)?;
        Ok(proposal)
    }

    /// Puts what was proposed in force without another human, where it takes none. The caller has made sure of that.
    pub(crate) fn adopt(
        &self,
        control: &ControlPlane,
        permit: &Permit,
        by: PersonRef,
        id: &str,
    ) -> Result<Proposal<M>, Problem> {
        let now = control.platform().clock.now();
        let adopted = self.proposals.change(id, |proposal| {
            let adopted = Proposal { state: State::Approved { by, at: now }, ..proposal.clone() };
            record(control, permit, M::EVENTS[1], &adopted)?;
            Ok::<_, Problem>(adopted)
        })?;
        adopted.map_or_else(|| self.require(id), Ok)
    }

    /// Uses up an approval. Says whether it was there to be used: of two who come at once, one uses it.
    pub(crate) fn use_up(&self, control: &ControlPlane, permit: &Permit, id: &str) -> Result<bool, Problem> {
        let (now, mut used) = (control.platform().clock.now(), false);
        self.proposals.change(id, |proposal| {
            if !matches!(proposal.state, State::Approved { .. }) {
                return Ok(proposal.clone());
            }
            record(control, permit, M::EVENTS[2], proposal)?;
            used = true;
            Ok::<_, Problem>(Proposal { state: State::Ended { at: now }, ..proposal.clone() })
        })?;
        Ok(used)
    }

    /// Ends one: it was used, or is taken back. Harmless when repeated.
    pub(crate) fn end(&self, control: &ControlPlane, permit: &Permit, id: &str) -> Result<Proposal<M>, Problem> {
        let now = control.platform().clock.now();
        let ended = self.proposals.change(id, |proposal| {
            if matches!(proposal.state, State::Ended { .. }) {
                return Ok(proposal.clone());
            }
            record(control, permit, M::EVENTS[2], proposal)?;
            Ok::<_, Problem>(Proposal { state: State::Ended { at: now }, ..proposal.clone() })
        })?;
        ended.map_or_else(|| self.require(id), Ok)
    }
}

/// Whether this account may approve what was seen, and it still waits for that.
fn approvable<M: Matter>(
    control: &ControlPlane,
    permit: &Permit,
    proposal: &Proposal<M>,
    (by, seen): (&PersonRef, &str),
) -> Result<(), Problem> {
    let refused = |problem: Problem| {
        control.record(Event::of(permit, "proposal.refused").for_commitment(M::COMMITMENT));
        problem
    };
    if proposal.proposed_by.is_same_human(by) {
        return Err(refused(own_proposal()));
    }
    if proposal.digest().to_string() != seen {
        let problem = Problem::new("conflict/changed", "this is not what was proposed");
        return Err(refused(problem.with_help("look at it again, then approve it")));
    }
    let state = proposal.state_at(control.platform().clock.now());
    if state == "open" {
        return Ok(());
    }
    Err(Problem::new("conflict/settled", format!("this proposal is {state}")).with_help("propose it again"))
}

/// Nobody approves what is theirs, by whichever account.
pub(crate) fn own_proposal() -> Problem {
    Problem::new("access/own-proposal", "nobody approves what they proposed themselves")
        .with_help("another human has to approve it")
}

fn record<M: Matter>(
    control: &ControlPlane,
    permit: &Permit,
    name: &'static str,
    proposal: &Proposal<M>,
) -> Result<u64, Problem> {
    let event = Event::of(permit, name).with(proposal.details()?);
    control.log().record(event).map_err(|e| from_audit(&e))
}
