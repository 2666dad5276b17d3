//! Requests for access and the grants they become, kept and enforced. Their rules stand in `creta_programme::access`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use creta_audit::{Details, Event, Permit};
use creta_iam::{GrantId, HeldGrant, Place, Principal, PrincipalId};
use creta_identity::webauthn::Purpose;
use creta_model::{EnvironmentClass, Instant, Problem};
use creta_programme::access::{
    AccessError, Approval, Asked, Basis, DecisionOrder, End, Grant, Request, Terms, Verdict,
};
use creta_programme::{Change, Draft, PersonRef, RecordId};
use creta_proof::Hash;
use creta_store::MetadataStore;

use super::{People, PersonRecord, details_of};
use crate::control_plane::ControlPlane;
use crate::problem::from_audit;
use crate::register::{Record, Register};

impl Record for Request {
    const KIND: &'static str = "access-request";

    fn id(&self) -> String {
        self.terms.request.to_string()
    }

    fn read(body: &[u8]) -> Option<Self> {
        Self::parse(body).ok()
    }

    fn body(&self) -> Vec<u8> {
        self.to_bytes()
    }
}

impl Record for Grant {
    const KIND: &'static str = "access-grant";

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

/// All requests and grants.
pub(crate) struct Access {
    requests: Register<Request>,
    grants: Register<Grant>,
    /// Grants that have not ended, by whose account they are: asked at every request of a person.
    living: RwLock<BTreeMap<PrincipalId, BTreeMap<String, Grant>>>,
}

/// The order that somebody decides by: what their authenticator signs.
pub(crate) fn order(control: &ControlPlane, request: &Request, by: &PersonRef, verdict: Verdict) -> DecisionOrder {
    DecisionOrder::new(record_id(control), request, by, verdict, control.platform().clock.now())
}

/// The action of a statement by which somebody approves a request.
pub(crate) const APPROVE: &str = "access.approve";

/// Who does something to a request or grant, and where that stands in the log.
pub(crate) struct Actor<'a> {
    pub(crate) control: &'a ControlPlane,
    pub(crate) principal: &'a Principal,
    pub(crate) person: &'a PersonRef,
    pub(crate) now: Instant,
}

impl Access {
    pub(super) fn open(metadata: Arc<dyn MetadataStore>) -> Result<Self, Problem> {
        let access = Self {
            requests: Register::load(Arc::clone(&metadata))?,
            grants: Register::load(metadata)?,
            living: RwLock::default(),
        };
        for grant in access.grants.list(|grant| matches!(grant.state, creta_programme::access::GrantState::Active)) {
            access.remember(&grant);
        }
        Ok(access)
    }

    /// The grants that an account holds now.
    pub(super) fn held(&self, account: &PrincipalId, now: Instant) -> BTreeSet<HeldGrant> {
        let living = self.living.read().unwrap_or_else(PoisonError::into_inner);
        let own = living.get(account).into_iter().flat_map(BTreeMap::values);
        own.filter(|grant| grant.is_active(now))
            .map(|grant| HeldGrant {
                id: GrantId::parse(&grant.id.to_string()).expect("hexadecimal digits make an id"),
                role: grant.terms.role,
                place: grant.terms.place.clone(),
            })
            .collect()
    }

    /// Requests that `fit`, oldest first.
    pub(crate) fn requests(&self, fits: impl Fn(&Request) -> bool) -> Vec<Request> {
        let mut requests = self.requests.list(fits);
        requests.sort_by_key(|request| request.terms.created);
        requests
    }

    /// Grants that `fit`, oldest first.
    pub(crate) fn grants(&self, fits: impl Fn(&Grant) -> bool) -> Vec<Grant> {
        let mut grants = self.grants.list(fits);
        grants.sort_by_key(|grant| grant.activated);
        grants
    }

    pub(crate) fn require_request(&self, id: &str) -> Result<Request, Problem> {
        self.requests.find(id).ok_or_else(|| no_request(id))
    }

    pub(crate) fn require_grant(&self, id: &str) -> Result<Grant, Problem> {
        self.grants.find(id).ok_or_else(|| no_grant(id))
    }

    /// Asks for access.
    pub(crate) fn ask(&self, actor: &Actor<'_>, asked: Asked) -> Result<Request, Problem> {
        let id = record_id(actor.control);
        let change = Request::open(id, actor.person, asked, actor.now).map_err(|e| refused(actor, &e))?;
        log(actor, &change.entry, &change.document.terms.place)?;
        self.requests.add(change.document)?.ok_or_else(crate::problem::internal)
    }

    /// Approves or denies the request as it stood when its terms had this digest. `rights` are the grants that the right to do
    /// so rests on; none where it is a standing one.
    pub(crate) fn decide(
        &self,
        actor: &Actor<'_>,
        rights: &[HeldGrant],
        (id, digest): (&str, &str),
        verdict: Verdict,
        signed: Option<(&DecisionOrder, Hash)>,
    ) -> Result<Request, Problem> {
        let resting_on: Vec<Grant> = rights.iter().filter_map(|grant| self.grants.find(grant.id.as_str())).collect();
        self.change_request(actor, id, |request| {
            if request.digest.to_string() != digest {
                return Err(Problem::new("conflict/changed", "the request was changed after you read it")
                    .with_help(format!("read it again: `creta access show {id}`")));
            }
            let order = match signed {
                Some((order, _)) if order.by != *actor.person || order.verdict != verdict => {
                    let changed = "whose account yours is was changed after you were asked to sign";
                    return Err(Problem::new("conflict/changed", changed).with_help("decide again"));
                }
                Some((order, _)) => order.clone(),
                None => DecisionOrder::new(record_id(actor.control), request, actor.person, verdict, actor.now),
            };
            let bases: Vec<Basis<'_>> = match resting_on.as_slice() {
                [] => vec![Basis::Standing],
                grants => grants.iter().map(Basis::Granted).collect(),
            };
            let decided = request.decide(&order, &bases, actor.now).map_err(|e| refused(actor, &e))?;
            Ok(match signed {
                Some((order, signature)) => decided.signed(order.id, signature),
                None => decided,
            })
        })
    }

    /// Takes a request back.
    pub(crate) fn withdraw(&self, actor: &Actor<'_>, id: &str) -> Result<Request, Problem> {
        self.change_request(actor, id, |request| {
            request.withdraw(actor.person, actor.now).map_err(|e| refused(actor, &e))
        })
    }

    /// Begins approved access: the hours run from here.
    pub(crate) fn activate(&self, actor: &Actor<'_>, id: &str) -> Result<Grant, Problem> {
        let mut begun = None;
        self.change_request(actor, id, |request| {
            let activation =
                request.activate(record_id(actor.control), actor.person, actor.now).map_err(|e| refused(actor, &e))?;
            begun = Some(activation.grant);
            Ok(Change { document: activation.request, entry: activation.entry })
        })?;
        // The request is used up first: a crash in between costs a new request, and never gives two grants for one.
        let grant = begun.ok_or_else(crate::problem::internal)?;
        let grant = self.grants.add(grant)?.ok_or_else(crate::problem::internal)?;
        self.remember(&grant);
        Ok(grant)
    }

    /// Ends a grant before its time. It counts for nothing from the next decision on, and long answers under it end.
    pub(crate) fn end(&self, actor: &Actor<'_>, id: &str, end: End) -> Result<Grant, Problem> {
        let ended = self.grants.change(id, |grant| {
            let change = grant.end(end, actor.now).map_err(|e| refused(actor, &e))?;
            log(actor, &change.entry, &grant.terms.place)?;
            Ok::<_, Problem>(change.document)
        })?;
        let ended = ended.ok_or_else(|| no_grant(id))?;
        self.forget(&ended);
        Ok(ended)
    }

    /// Ends all grants of somebody.
    pub(super) fn end_all_of(
        &self,
        control: &ControlPlane,
        person: &PersonRecord,
        end: &End,
        now: Instant,
    ) -> Result<(), Problem> {
        let own = |grant: &Grant| grant.holder().account == person.id && grant.is_active(now);
        self.end_where(control, own, end, now).map(drop)
    }

    fn end_where(
        &self,
        control: &ControlPlane,
        ends: impl Fn(&Grant) -> bool,
        end: &End,
        now: Instant,
    ) -> Result<usize, Problem> {
        let ending = self.grants.list(ends);
        for grant in &ending {
            let ended = self.grants.change(&Record::id(grant), |grant| {
                let change = grant.end(end.clone(), now).map_err(|e| of_error(&e))?;
                record(control, &change.entry, &grant.terms.place)?;
                Ok::<_, Problem>(change.document)
            })?;
            ended.iter().for_each(|grant| self.forget(grant));
        }
        Ok(ending.len())
    }

    /// Records what ended with time. Whether it is recorded or not, it has ended.
    pub(crate) fn expire(&self, control: &ControlPlane, now: Instant) -> Result<(), Problem> {
        for grant in self.grants.list(|grant| grant.expire(now).is_some()) {
            let change = |grant: &Grant| {
                let Some(change) = grant.expire(now) else { return Ok(grant.clone()) };
                record(control, &change.entry, &grant.terms.place)?;
                Ok::<_, Problem>(change.document)
            };
            self.grants.change(&Record::id(&grant), change)?.iter().for_each(|grant| self.forget(grant));
        }
        for request in self.requests.list(|request| request.expire(now).is_some()) {
            self.requests.change(&Record::id(&request), |request| {
                let Some(change) = request.expire(now) else { return Ok(request.clone()) };
                record(control, &change.entry, &request.terms.place)?;
                Ok::<_, Problem>(change.document)
            })?;
        }
        Ok(())
    }

    /// Ends every grant, and every request that could still become one. Gives how many.
    pub(super) fn end_everything(
        &self,
        control: &ControlPlane,
        end: &End,
        now: Instant,
    ) -> Result<(usize, usize), Problem> {
        let grants = self.end_where(control, |grant| grant.is_active(now), end, now)?;
        let pending = self.requests.list(|request| request.lapse(now).is_some());
        for request in &pending {
            self.requests.change(&Record::id(request), |request| {
                let Some(change) = request.lapse(now) else { return Ok(request.clone()) };
                record(control, &change.entry, &request.terms.place)?;
                Ok::<_, Problem>(change.document)
            })?;
        }
        Ok((grants, pending.len()))
    }

    fn change_request(
        &self,
        actor: &Actor<'_>,
        id: &str,
        change: impl FnOnce(&Request) -> Result<Change<Request>, Problem>,
    ) -> Result<Request, Problem> {
        let changed = self.requests.change(id, |request| {
            let change = change(request)?;
            log(actor, &change.entry, &request.terms.place)?;
            Ok::<_, Problem>(change.document)
        })?;
        changed.ok_or_else(|| no_request(id))
    }

    fn remember(&self, grant: &Grant) {
        let mut living = self.living.write().unwrap_or_else(PoisonError::into_inner);
        living.entry(grant.holder().account.clone()).or_default().insert(Record::id(grant), grant.clone());
    }

    fn forget(&self, grant: &Grant) {
        let mut living = self.living.write().unwrap_or_else(PoisonError::into_inner);
        let account = &grant.holder().account;
        if let Some(own) = living.get_mut(account) {
            own.remove(&Record::id(grant));
            if own.is_empty() {
                living.remove(account);
            }
        }
    }
}

impl People {
    /// What is wrong with approvals of these terms: by whom, and what. Every one has to be signed outside class development, and
    /// one that is signed has to be signed as it stands everywhere.
    pub(crate) fn unproven(
        &self,
        control: &ControlPlane,
        terms: &Terms,
        approvals: &[Approval],
    ) -> Result<Option<(PrincipalId, &'static str)>, Problem> {
        for approval in approvals {
            let rule = match approval.signature {
                None if self.class == EnvironmentClass::Development => None,
                None => Some("nobody signed it"),
                Some(signature) => match approval.order_of(terms) {
                    None => Some("what was signed is something else"),
                    Some(order) => {
                        let purpose = Purpose::agree(APPROVE, order.digest().to_string().as_bytes());
                        let by = approval.by.account.as_str();
                        control.signatures().broken_rule(control.log(), &signature, by, &purpose)?
                    }
                },
            };
            if let Some(rule) = rule {
                return Ok(Some((approval.by.account.clone(), rule)));
            }
        }
        Ok(None)
    }

    /// Refuses to go by approvals that nobody signed as they stand: somebody wrote them who could not have given them.
    pub(crate) fn require_signed(
        &self,
        (control, permit): (&ControlPlane, &Permit),
        terms: &Terms,
        approvals: &[Approval],
    ) -> Result<(), Problem> {
        let Some((by, rule)) = self.unproven(control, terms, approvals)? else { return Ok(()) };
        let details = Details::none()
            .name("request", terms.request.to_string())
            .and_then(|details| details.name("approver", by.as_str()))
            .map_err(|e| from_audit(&e))?;
        control.record(Event::of(permit, UNPROVEN).with(details).for_commitment("CH-43"));
        let message = format!("the approval of `{by}` does not count: {rule}");
        Err(Problem::new("access/unproven", message)
            .with_help("ask again; and look at who can write the server's files"))
    }

    /// Ends running grants whose approvals nobody signed as they stand, when the server starts.
    pub(super) fn end_unproven(&self, control: &ControlPlane, now: Instant) -> Result<(), Problem> {
        for grant in self.access.grants(|grant| grant.is_active(now)) {
            let Some((by, rule)) = self.unproven(control, &grant.terms, &grant.approvals)? else { continue };
            tracing::warn!(grant = %grant.id, approver = %by, rule, "a grant is ended: its approval does not count");
            let details = Details::none()
                .name("grant", grant.id.to_string())
                .and_then(|details| details.name("approver", by.as_str()))
                .map_err(|e| from_audit(&e))?;
            let event = Event::new(UNPROVEN, grant.terms.place.clone()).with(details).for_commitment("CH-43");
            control.log().record(event).map_err(|e| from_audit(&e))?;
            self.access.end_where(control, |other| other.id == grant.id, &End::Unproven, now)?;
        }
        Ok(())
    }
}

/// An approval that nobody signed as it stands.
const UNPROVEN: &str = "access.unproven";

pub(super) fn record_id(control: &ControlPlane) -> RecordId {
    let mut id = [0; 16];
    control.platform().random.fill(&mut id);
    RecordId::from_bytes(id)
}

/// The entry that has to be durable before the document changes; gives its index.
pub(super) fn log(actor: &Actor<'_>, entry: &Draft, place: &Place) -> Result<u64, Problem> {
    let details = details_of(entry).map_err(|e| from_audit(&e))?;
    let event = Event::new(entry.action, place.clone()).by(actor.principal).with(details);
    actor.control.log().record(event).map_err(|e| from_audit(&e))
}

/// As [`log`], of what happens by itself.
pub(super) fn record(control: &ControlPlane, entry: &Draft, place: &Place) -> Result<u64, Problem> {
    let details = details_of(entry).map_err(|e| from_audit(&e))?;
    let event = Event::new(entry.action, place.clone()).with(details);
    control.log().record(event).map_err(|e| from_audit(&e))
}

/// A rule of requests and grants that was kept against somebody: recorded with the promise that it keeps.
fn refused(actor: &Actor<'_>, error: &AccessError) -> Problem {
    let event = Event::new("access.refused", actor.control.place()).by(actor.principal);
    actor.control.record(event.for_commitment(error.commitment()));
    of_error(error)
}

fn of_error(error: &AccessError) -> Problem {
    Problem::new(error.code(), error.to_string())
}

pub(crate) fn no_request(id: &str) -> Problem {
    Problem::new("not-found/access-request", format!("there is no request `{id}` that you can see"))
        .with_help("`creta access list` shows those that you can")
}

pub(crate) fn no_grant(id: &str) -> Problem {
    Problem::new("not-found/access-grant", format!("there is no grant `{id}` that you can see"))
        .with_help("`creta access list` shows those that you can")
}
