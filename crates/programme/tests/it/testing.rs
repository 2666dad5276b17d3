//! Short ways to say who, when and what.

use creta_iam::{Place, PrincipalId, Role};
use creta_model::{Environment, Instant, Scope, Span};
use creta_programme::access::{Activation, Asked, Basis, DecisionOrder, Kind, Reason, Request, Ticket, Verdict};
use creta_programme::{Detail, Draft, PersonId, PersonRef, RecordId, SubjectId};

/// One microsecond.
pub(crate) fn tick() -> Span {
    Span::from_micros(1).expect("positive")
}

pub(crate) fn at(text: &str) -> Instant {
    Instant::parse(text).expect("an instant")
}

/// The instant at which most tests begin.
pub(crate) fn morning() -> Instant {
    at("2026-03-02T09:00:00Z")
}

/// The `n`th random name.
pub(crate) fn record(n: u128) -> RecordId {
    RecordId::from_bytes(n.to_be_bytes())
}

pub(crate) fn subject(text: &str) -> SubjectId {
    SubjectId::parse(text).expect("a subject")
}

pub(crate) fn human(name: &str) -> PersonId {
    PersonId::new(PrincipalId::parse(name).expect("an id"))
}

/// `ana`, or `ana-admin=ana` for another account of Ana's.
pub(crate) fn person(text: &str) -> PersonRef {
    let (account, person) = text.split_once('=').unwrap_or((text, text));
    PersonRef { account: PrincipalId::parse(account).expect("an id"), person: human(person) }
}

/// `prod`, or `prod/acme`.
pub(crate) fn place(text: &str) -> Place {
    match text.split_once('/') {
        None => Place::Environment(Environment::parse(text).expect("an environment")),
        Some((environment, tenant)) => Place::Scope(Scope::parse(tenant, environment).expect("a scope")),
    }
}

/// A way to change a document where it is stored, and what it is called.
pub(crate) type Edit<T> = (&'static str, fn(&mut T));

pub(crate) const REASON: &str = "Deploy the corrected merchant risk resolver before the market opens";

/// What `beneficiary` gets: a developer's rights on `prod/acme`.
pub(crate) fn asked(beneficiary: &str, hours: u8, kind: Kind) -> Asked {
    let ticket = Ticket::parse("OPS-1234").expect("a ticket");
    Asked {
        beneficiary: person(beneficiary),
        role: Role::Developer,
        place: place("prod/acme"),
        reason: Reason::parse(REASON, &ticket, &[]).expect("a reason"),
        ticket,
        hours,
        kind,
    }
}

pub(crate) fn open(n: u128, requester: &str, hours: u8) -> Request {
    let asked = asked(requester, hours, Kind::Ordinary);
    Request::open(record(n), &person(requester), asked, morning()).expect("allowed").document
}

pub(crate) fn order(n: u128, request: &Request, by: &str, now: Instant) -> DecisionOrder {
    DecisionOrder::new(record(n), request, &person(by), Verdict::Approve, now)
}

/// A request of `requester`, approved by `approver` by a standing right and activated, all at once.
pub(crate) fn granted(n: u128, requester: &str, approver: &str, now: Instant) -> Activation {
    let asked = asked(requester, 8, Kind::Ordinary);
    let request = Request::open(record(n), &person(requester), asked, now).expect("allowed").document;
    let order = order(n + 1_000, &request, approver, now);
    let approved = request.decide(&order, &[Basis::Standing], now).expect("allowed").document;
    approved.activate(record(n + 2_000), &person(requester), now).expect("allowed")
}

/// Whether the audit log will take an entry as it is: names without blanks, each key once, no more than it holds.
pub(crate) fn require_loggable(entry: &Draft) {
    let mut keys: Vec<&str> = entry.details.iter().map(|(key, _)| *key).collect();
    keys.sort_unstable();
    let count = keys.len();
    keys.dedup();
    assert_eq!(keys.len(), count, "{entry:?} says something twice");
    assert!(count <= 32, "{entry:?} says too much");
    for (key, detail) in &entry.details {
        if let Detail::Name(name) = detail {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"._:/@+#-".contains(&b);
            assert!((1..=128).contains(&name.len()) && name.bytes().all(plain), "`{key}` is `{name}`");
        }
    }
}

/// What an entry says of `key`, as text.
pub(crate) fn detail(entry: &Draft, key: &str) -> String {
    let found = entry.details.iter().find(|(name, _)| *name == key);
    format!("{:?}", found.unwrap_or_else(|| panic!("no `{key}` in {entry:?}")).1)
}
