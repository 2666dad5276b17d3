//! A request, the orders that decide on it, and the grant that it becomes.

use std::collections::BTreeSet;

use creta_iam::{Place, Role};
use creta_model::{Instant, Span};
use creta_proof::Hash;
use serde::{Deserialize, Serialize};

use super::grant::{GRANT_FORMAT, Grant, GrantState};
use super::{AccessError, ORDER_LASTS, REQUEST_LASTS, Reason, Ticket};
use crate::document::{digest, document};
use crate::draft::{Change, Draft};
use crate::{PersonId, PersonRef, RecordId};

/// The form of requests that this build writes and reads.
pub const REQUEST_FORMAT: &str = "creta.access-request/1";
/// The form of decisions that this build accepts. There is no older one to fall back to.
pub const ORDER_FORMAT: &str = "creta.access-decision/1";

/// How much it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// One approval, at most eight hours.
    Ordinary,
    /// Two approvals, at most one hour.
    BreakGlass,
}

impl Kind {
    /// Different humans who have to approve.
    pub const fn approvals(self) -> usize {
        match self {
            Self::Ordinary => 1,
            Self::BreakGlass => 2,
        }
    }

    /// The most hours a grant of this kind lasts.
    pub const fn hours_max(self) -> u8 {
        match self {
            Self::Ordinary => 8,
            Self::BreakGlass => 1,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Ordinary => "ordinary",
            Self::BreakGlass => "break-glass",
        }
    }
}

/// What somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Who gets the access; often the requester.
    pub beneficiary: PersonRef,
    /// As what.
    pub role: Role,
    /// Where.
    pub place: Place,
    /// Why.
    pub reason: Reason,
    /// Where more about it stands.
    pub ticket: Ticket,
    /// For how long, from activation on.
    pub hours: u8,
    /// How much it takes.
    pub kind: Kind,
}

/// All that an approval covers. Its digest is what approvers agree to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// Name of the request.
    pub request: RecordId,
    /// Counts edits, so that taking an edit back does not bring an old approval back.
    pub revision: u32,
    /// Who asked.
    pub requester: PersonRef,
    /// Who gets the access.
    pub beneficiary: PersonRef,
    /// As what.
    pub role: Role,
    /// Where.
    pub place: Place,
    /// Why. For approvers and reviewers; in the log it stands as a keyed hash.
    pub reason: String,
    /// Where more about it stands.
    pub ticket: Ticket,
    /// For how long, from activation on.
    pub hours: u8,
    /// How much it takes.
    pub kind: Kind,
    /// When the request was first made. An edit does not move it.
    pub created: Instant,
}

impl Terms {
    /// SHA-256 of the canonical JSON.
    pub fn digest(&self) -> Hash {
        digest(self)
    }

    /// From when on nothing can be done with the request any more.
    pub fn void_at(&self) -> Instant {
        self.created.plus(REQUEST_LASTS)
    }

    /// How long the grant lasts.
    pub fn span(&self) -> Span {
        Span::hours(u32::from(self.hours))
    }

    fn of(
        request: RecordId,
        revision: u32,
        requester: &PersonRef,
        asked: Asked,
        created: Instant,
    ) -> Result<Self, AccessError> {
        let Asked { beneficiary, role, place, reason, ticket, hours, kind } = asked;
        if !(1..=kind.hours_max()).contains(&hours) {
            return Err(AccessError::Hours { given: hours, max: kind.hours_max() });
        }
        if !Role::OF_PEOPLE.contains(&role) {
            return Err(AccessError::Role { role });
        }
        let (requester, reason) = (requester.clone(), reason.as_str().to_owned());
        Ok(Self { request, revision, requester, beneficiary, role, place, reason, ticket, hours, kind, created })
    }

    pub(super) fn concerns(&self, person: &PersonId) -> bool {
        self.requester.person == *person || self.beneficiary.person == *person
    }

    /// Whether it is an account's own, whichever human it counts as.
    fn is_of(&self, account: &PersonRef) -> bool {
        [&self.requester, &self.beneficiary].iter().any(|own| own.account == account.account)
    }

    /// What an entry says of it.
    pub(super) fn describe(&self, entry: Draft) -> Draft {
        entry
            .name("request", self.request)
            .count("revision", self.revision as usize)
            .digest("terms", self.digest())
            .name("requester", &self.requester)
            .name("beneficiary", &self.beneficiary)
            .name("role", self.role)
            .name("place", self.place.path())
            .name("ticket", &self.ticket)
            .name("kind", self.kind.as_str())
            .count("hours", usize::from(self.hours))
            .keyed("reason", &self.reason)
    }
}

/// Approve or deny.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It may be activated.
    Approve,
    /// It may not, whoever else approves.
    Deny,
}

/// A decision as its author signs it. Good for one request as it stands, once, for [`ORDER_LASTS`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecisionOrder {
    /// [`ORDER_FORMAT`].
    pub format: String,
    /// Random name, used once.
    pub id: RecordId,
    /// Which request.
    pub request: RecordId,
    /// [`Terms::digest`] as the author saw it.
    pub terms: Hash,
    /// Who decides.
    pub by: PersonRef,
    /// How.
    pub verdict: Verdict,
    /// When it was made.
    pub issued: Instant,
}

impl DecisionOrder {
    /// What the author is asked to sign: the request as it stands.
    pub fn new(id: RecordId, request: &Request, by: &PersonRef, verdict: Verdict, now: Instant) -> Self {
        Self {
            format: ORDER_FORMAT.to_owned(),
            id,
            request: request.terms.request,
            terms: request.digest,
            by: by.clone(),
            verdict,
            issued: now,
        }
    }

    /// What the author's key signs (the challenge of the passkey): SHA-256 of the canonical JSON.
    pub fn digest(&self) -> Hash {
        digest(self)
    }

    /// From when on it counts for nothing.
    pub fn void_at(&self) -> Instant {
        self.issued.plus(ORDER_LASTS)
    }

    fn require_for(&self, request: &Request, now: Instant) -> Result<(), AccessError> {
        let rule = if self.format != ORDER_FORMAT {
            "its form is not the one of this build"
        } else if self.request != request.terms.request {
            "it is for another request"
        } else if self.terms != request.digest {
            "the request was changed since"
        } else if self.issued < request.terms.created || now < self.issued || self.void_at() <= now {
            "it was not made in the last ten minutes"
        } else if request.approvals.iter().any(|approval| approval.order == self.id) {
            "it was used before"
        } else {
            return Ok(());
        };
        Err(AccessError::Order { rule })
    }
}

/// What somebody's right to approve rests on.
#[derive(Debug, Clone, Copy)]
pub enum Basis<'a> {
    /// A role that they hold without a grant.
    Standing,
    /// A grant, which somebody approved.
    Granted(&'a Grant),
}

/// An approval that counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// The order, which is used up.
    pub order: RecordId,
    /// SHA-256 of the order, which the approver signed.
    pub order_digest: Hash,
    /// When the order was made. None of approvals that older releases wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued: Option<Instant>,
    /// SHA-256 of the evidence that the approver signed the order; none where nobody has to sign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Hash>,
    /// The terms that were approved.
    pub terms: Hash,
    /// By whom.
    pub by: PersonRef,
    /// When.
    pub at: Instant,
    /// Humans without whom the approver would have no right to approve, in order. Empty when the right is a standing one.
    pub rests_on: BTreeSet<PersonId>,
}

impl Approval {
    /// The order that was signed, as it follows from what stands here and from the terms; `None` if that is not the one whose
    /// digest stands here.
    pub fn order_of(&self, terms: &Terms) -> Option<DecisionOrder> {
        let order = DecisionOrder {
            format: ORDER_FORMAT.to_owned(),
            id: self.order,
            request: terms.request,
            terms: terms.digest(),
            by: self.by.clone(),
            verdict: Verdict::Approve,
            issued: self.issued?,
        };
        (order.digest() == self.order_digest && order.terms == self.terms).then_some(order)
    }
}

/// Where a request stands. That it is void with time shows in [`Terms::void_at`], whether or not `Expired` was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case", deny_unknown_fields)]
pub enum RequestState {
    /// Lacks an approval.
    Open,
    /// Can be activated.
    Approved,
    /// Somebody said no.
    Denied {
        /// Who.
        by: PersonRef,
        /// When.
        at: Instant,
    },
    /// Taken back.
    Withdrawn {
        /// When.
        at: Instant,
    },
    /// Became a grant.
    Used {
        /// Which.
        grant: RecordId,
        /// When.
        at: Instant,
    },
    /// Nobody did in time what had to be done.
    Expired {
        /// When this was recorded.
        at: Instant,
    },
}

impl RequestState {
    /// In one word, for people.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Approved => "approved",
            Self::Denied { .. } => "denied",
            Self::Withdrawn { .. } => "withdrawn",
            Self::Used { .. } => "used",
            Self::Expired { .. } => "expired",
        }
    }
}

/// Somebody asks for access.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// [`REQUEST_FORMAT`].
    pub format: String,
    /// What is asked.
    pub terms: Terms,
    /// [`Terms::digest`].
    pub digest: Hash,
    /// Approvals of these terms, oldest first.
    pub approvals: Vec<Approval>,
    /// Where it stands.
    pub state: RequestState,
}

document!(Request, REQUEST_FORMAT);

impl Change<Request> {
    /// The same decision, with the evidence that its author signed `order`: the entry names it, and an approval keeps it.
    pub fn signed(mut self, order: RecordId, signature: Hash) -> Self {
        self.entry = self.entry.digest("signature", signature);
        let approval = self.document.approvals.iter_mut().find(|approval| approval.order == order);
        approval.into_iter().for_each(|approval| approval.signature = Some(signature));
        self
    }
}

/// What activating gives: both documents are stored under one entry.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "nothing has happened until the entry is logged and both documents stored"]
pub struct Activation {
    /// The request, used up.
    pub request: Request,
    /// The grant.
    pub grant: Grant,
    /// To log first.
    pub entry: Draft,
}

impl Request {
    /// Asks. `requester` comes from authentication.
    pub fn open(id: RecordId, requester: &PersonRef, asked: Asked, now: Instant) -> Result<Change<Self>, AccessError> {
        let terms = Terms::of(id, 0, requester, asked, now)?;
        let entry = terms.describe(Draft::new("access.request.opened")).at("void-at", terms.void_at());
        let digest = terms.digest();
        let (format, approvals) = (REQUEST_FORMAT.to_owned(), Vec::new());
        Ok(Change { document: Self { format, terms, digest, approvals, state: RequestState::Open }, entry })
    }

    /// Approves or denies. `order` was signed by its author, which the caller has checked; `bases` is everything that
    /// gives the author the right to approve at this place now.
    pub fn decide(
        &self,
        order: &DecisionOrder,
        bases: &[Basis<'_>],
        now: Instant,
    ) -> Result<Change<Self>, AccessError> {
        self.require_state(&RequestState::Open, now)?;
        order.require_for(self, now)?;
        let (by, person) = (order.by.clone(), order.by.person.clone());
        if self.terms.concerns(&person) {
            return Err(AccessError::SamePerson { person });
        }
        if self.approvals.iter().any(|approval| approval.by.person == person) {
            return Err(AccessError::AlreadyApproved { person });
        }
        let rests_on = rests_on(&by, bases, now)?;
        if rests_on.iter().any(|other| self.terms.concerns(other)) {
            return Err(AccessError::DependentRight { person });
        }
        let mut document = self.clone();
        let entry = match order.verdict {
            Verdict::Deny => {
                document.state = RequestState::Denied { by, at: now };
                Draft::new("access.request.denied")
            }
            Verdict::Approve => {
                let (order_digest, terms) = (order.digest(), self.digest);
                let (order, issued, signature) = (order.id, Some(order.issued), None);
                let approval = Approval { order, order_digest, issued, signature, terms, by, at: now, rests_on };
                document.approvals.push(approval);
                if document.approvals.len() >= self.terms.kind.approvals() {
                    document.state = RequestState::Approved;
                }
                Draft::new("access.request.approved")
            }
        };
        let entry = self
            .terms
            .describe(entry)
            .name("by", &order.by)
            .name("order", order.id)
            .digest("order-digest", order.digest())
            .count("approvals", document.approvals.len())
            .count("approvals-needed", self.terms.kind.approvals());
        Ok(Change { document, entry })
    }

    /// Takes it back. Only the accounts that asked or that it is for can do so: whose human somebody counts as where two are
    /// needed makes nothing theirs.
    pub fn withdraw(&self, by: &PersonRef, now: Instant) -> Result<Change<Self>, AccessError> {
        self.require_undecided(now)?;
        if !self.terms.is_of(by) {
            return Err(AccessError::NotYours { person: self.terms.requester.person.clone() });
        }
        let entry = self.terms.describe(Draft::new("access.request.withdrawn")).name("by", by);
        Ok(Change { document: Self { state: RequestState::Withdrawn { at: now }, ..self.clone() }, entry })
    }

    /// Begins the access. Only the account that gets it can do so, once; the hours run from here.
    pub fn activate(&self, grant: RecordId, by: &PersonRef, now: Instant) -> Result<Activation, AccessError> {
        if self.state == RequestState::Open {
            let (have, need) = (self.approvals.len(), self.terms.kind.approvals());
            self.require_undecided(now)?;
            return Err(AccessError::NotApproved { request: self.terms.request, have, need });
        }
        self.require_state(&RequestState::Approved, now)?;
        if by.account != self.terms.beneficiary.account {
            return Err(AccessError::NotYours { person: self.terms.beneficiary.person.clone() });
        }
        let request = Self { state: RequestState::Used { grant, at: now }, ..self.clone() };
        let grant = Grant {
            format: GRANT_FORMAT.to_owned(),
            id: grant,
            terms: self.terms.clone(),
            approvals: self.approvals.clone(),
            activated: now,
            expires: now.plus(self.terms.span()),
            state: GrantState::Active,
        };
        // Whatever way the request came here, no grant exists that would be refused when it is read.
        if let Some(rule) = grant.broken_rule() {
            return Err(AccessError::Order { rule });
        }
        let entry = grant.describe(Draft::new("access.grant.activated")).at("expires", grant.expires);
        Ok(Activation { request, grant, entry })
    }

    /// Records that it is void, if it is; `None` while it is not, or when it ended otherwise.
    pub fn expire(&self, now: Instant) -> Option<Change<Self>> {
        let pending = matches!(self.state, RequestState::Open | RequestState::Approved);
        (pending && self.terms.void_at() <= now).then(|| Change {
            document: Self { state: RequestState::Expired { at: now }, ..self.clone() },
            entry: self.terms.describe(Draft::new("access.request.expired")),
        })
    }

    /// Ends it before its time, whoever agreed, since an older copy of it was put in place; `None` when it ended before.
    pub fn lapse(&self, now: Instant) -> Option<Change<Self>> {
        let pending = matches!(self.state, RequestState::Open | RequestState::Approved);
        pending.then(|| Change {
            document: Self { state: RequestState::Expired { at: now }, ..self.clone() },
            entry: self.terms.describe(Draft::new("access.request.expired")).name("by", "restore"),
        })
    }

    pub(crate) fn broken_rule(&self) -> Option<&'static str> {
        let need = self.terms.kind.approvals();
        let enough = self.approvals.len() >= need;
        if self.digest != self.terms.digest() {
            Some("its digest is not that of its terms")
        } else if !(1..=self.terms.kind.hours_max()).contains(&self.terms.hours) {
            Some("it asks for more hours than there are")
        } else if let Some(rule) = approvals_rule(&self.terms, &self.approvals) {
            Some(rule)
        } else if matches!(self.state, RequestState::Approved | RequestState::Used { .. }) && !enough {
            Some("it lacks approvals")
        } else if self.state == RequestState::Open && enough {
            Some("it is open with all approvals")
        } else {
            None
        }
    }

    fn require_undecided(&self, now: Instant) -> Result<(), AccessError> {
        let state = if self.state == RequestState::Approved { RequestState::Approved } else { RequestState::Open };
        self.require_state(&state, now)
    }

    fn require_state(&self, state: &RequestState, now: Instant) -> Result<(), AccessError> {
        let request = self.terms.request;
        if self.state != *state {
            return Err(AccessError::NotOpen { request, state: self.state.as_str() });
        }
        let alive = self.terms.created <= now && now < self.terms.void_at();
        if alive { Ok(()) } else { Err(AccessError::RequestExpired { request }) }
    }
}

/// Humans without whom `approver` could not approve. With several bases each alone suffices, so only who is behind all of
/// them counts. A grant hangs on who approved it and on whom their right hung; of two approvers, on who is behind both.
fn rests_on(approver: &PersonRef, bases: &[Basis<'_>], now: Instant) -> Result<BTreeSet<PersonId>, AccessError> {
    let of = |basis: &Basis<'_>| match basis {
        Basis::Standing => Some(BTreeSet::new()),
        Basis::Granted(grant) if grant.holder().account == approver.account && grant.is_active(now) => {
            Some(grant.rests_on())
        }
        Basis::Granted(_) => None,
    };
    let held = bases.iter().filter_map(of);
    held.reduce(|a, b| &a & &b).ok_or_else(|| AccessError::NoRight { person: approver.person.clone() })
}

/// The rule that approvals of `terms` break, if any. How many there are is not its question.
pub(super) fn approvals_rule(terms: &Terms, approvals: &[Approval]) -> Option<&'static str> {
    let digest = terms.digest();
    let people: BTreeSet<&PersonId> = approvals.iter().map(|approval| &approval.by.person).collect();
    let void_at = terms.void_at();
    if approvals.iter().any(|approval| approval.terms != digest) {
        Some("an approval is of other terms")
    } else if people.len() != approvals.len() {
        Some("one person approved twice")
    } else if people.iter().any(|person| terms.concerns(person)) {
        Some("somebody approved their own request")
    } else if approvals.iter().any(|approval| approval.rests_on.iter().any(|person| terms.concerns(person))) {
        Some("an approval rests on whoever asked")
    } else if approvals.iter().any(|approval| approval.at < terms.created || void_at <= approval.at) {
        Some("an approval was given when the request was void")
    } else {
        None
    }
}
