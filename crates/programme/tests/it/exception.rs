//! R6: exceptions end, take two people, and can be counted by everybody.

use creta_model::{Instant, Span};
use creta_programme::access::Reason;
use creta_programme::exception::{
    EXCEPTION_LASTS_MAX, Exception, ExceptionError, ExceptionState, ExceptionVerdict, in_force,
};

use crate::testing::*;

fn propose(n: u128, commitment: &str, expires: Instant) -> Result<Exception, ExceptionError> {
    let reason = Reason::without_ticket("The bank's tunnel still speaks an older protocol").expect("a reason");
    let change = Exception::propose(record(n), commitment, &reason, &person("ana"), expires, morning())?;
    require_loggable(&change.entry);
    assert_eq!(detail(&change.entry, "reason"), "hmac:...");
    Ok(change.document)
}

fn decide(
    exception: &Exception,
    verdict: ExceptionVerdict,
    by: &str,
    now: Instant,
) -> Result<Exception, ExceptionError> {
    let change = exception.decide(verdict, &person(by), exception.terms_digest(), now)?;
    require_loggable(&change.entry);
    Ok(change.document)
}

fn approved(n: u128, commitment: &str, expires: Instant) -> Exception {
    let proposed = propose(n, commitment, expires).expect("allowed");
    decide(&proposed, ExceptionVerdict::Approved, "ben", morning()).expect("allowed")
}

#[test]
fn attack_r6_one_person_makes_no_exception() {
    let exception = propose(1, "CH-29", morning().plus(Span::days(7))).expect("allowed");
    assert_eq!(exception.state(morning()), ExceptionState::Proposed);
    for by in ["ana", "ana-admin=ana"] {
        for verdict in [ExceptionVerdict::Approved, ExceptionVerdict::Refused] {
            let refused = decide(&exception, verdict, by, morning()).expect_err(by);
            assert_eq!((refused.code(), refused.commitment()), ("exception/same-person", "R6"));
        }
    }
    assert!(in_force([&exception], morning()).is_empty(), "a proposal is not an exception");
}

#[test]
fn attack_r6_an_exception_ends_within_90_days_to_the_microsecond() {
    let longest = morning().plus(EXCEPTION_LASTS_MAX);
    for (expires, allowed) in [
        (morning(), false),
        (morning().minus(tick()), false),
        (morning().plus(tick()), true),
        (longest, true),
        (longest.plus(tick()), false),
    ] {
        assert_eq!(propose(1, "CH-29", expires).is_ok(), allowed, "{expires}");
    }
    let exception = approved(1, "CH-29", longest);
    assert_eq!(exception.state(longest.minus(tick())), ExceptionState::InForce);
    assert_eq!(exception.state(longest), ExceptionState::Over);
    // Nobody decides on what is over, and what was decided on stays so.
    let late = propose(2, "CH-29", morning().plus(Span::hours(1))).expect("allowed");
    assert_eq!(
        decide(&late, ExceptionVerdict::Approved, "ben", morning().plus(Span::hours(1))).expect_err("over").code(),
        "exception/state"
    );
    assert_eq!(
        decide(&exception, ExceptionVerdict::Refused, "carl", morning()).expect_err("decided").code(),
        "exception/state"
    );
    assert_eq!(
        decide(&late, ExceptionVerdict::Approved, "ben", morning().minus(tick())).expect_err("early").code(),
        "exception/state"
    );
}

#[test]
fn attack_r6_nobody_agrees_to_other_terms_than_they_saw() {
    let shown = propose(1, "CH-29", morning().plus(Span::days(1))).expect("allowed");
    let stored = propose(1, "CH-29", morning().plus(Span::days(90))).expect("allowed");
    let refused = stored.decide(ExceptionVerdict::Approved, &person("ben"), shown.terms_digest(), morning());
    assert_eq!(refused.map(drop).expect_err("other terms").code(), "exception/changed");

    let exception = approved(1, "CH-29", morning().plus(Span::days(1)));
    assert_eq!(Exception::parse(&exception.to_bytes()).expect("own form"), exception);
    let edits: [Edit<Exception>; 6] = [
        ("longer", |e| e.terms.expires = e.terms.expires.plus(tick())),
        ("for something else", |e| e.terms.commitment = "CH-20".to_owned()),
        ("own approval", |e| e.decision.as_mut().expect("decided").by = person("ana-2=ana")),
        ("other terms", |e| e.decision.as_mut().expect("decided").terms = e.to_digest()),
        ("ended undecided", |e| (e.decision, e.ended) = (None, Some(e.terms.proposed))),
        ("no commitment", |e| e.terms.commitment = "everything".to_owned()),
    ];
    for (what, edit) in edits {
        let mut edited = exception.clone();
        edit(&mut edited);
        assert!(Exception::parse(&edited.to_bytes()).is_err(), "{what}");
    }
    let mut longer = propose(1, "CH-29", morning().plus(Span::days(90))).expect("allowed");
    longer.terms.expires = longer.terms.expires.plus(tick());
    assert!(Exception::parse(&longer.to_bytes()).is_err(), "longer than any may be");
    let mut other = propose(1, "CH-29", morning().plus(Span::days(90))).expect("allowed");
    other.terms.commitment = "everything".to_owned();
    assert!(Exception::parse(&other.to_bytes()).is_err(), "of no commitment");
}

trait ToDigest {
    fn to_digest(&self) -> creta_proof::Hash;
}

impl ToDigest for Exception {
    fn to_digest(&self) -> creta_proof::Hash {
        creta_proof::Hash::of(&[&self.to_bytes()])
    }
}

#[test]
fn exceptions_are_about_commitments() {
    for bad in ["", "CH-", "CH-1", "CH-123", "ch-17", "R6", "CH-1a", "CH-17 "] {
        assert_eq!(propose(1, bad, morning().plus(tick())).expect_err(bad).code(), "exception/commitment");
    }
    for good in ["CH-17", "CI-06"] {
        assert!(propose(1, good, morning().plus(tick())).is_ok(), "{good}");
    }
}

#[test]
fn everybody_sees_how_many_hold_and_until_when() {
    let (soon, later) = (morning().plus(Span::days(7)), morning().plus(Span::days(30)));
    let ended = approved(4, "CH-29", later).end(&person("ana"), morning()).expect("in force").document;
    assert_eq!(ended.state(morning()), ExceptionState::Over);
    assert!(ended.end(&person("ana"), morning()).is_err());
    let refused = propose(5, "CH-29", later).expect("allowed");
    let refused = decide(&refused, ExceptionVerdict::Refused, "ben", morning()).expect("allowed");
    assert_eq!(refused.state(later), ExceptionState::Refused);
    let all = [approved(1, "CH-29", later), approved(2, "CH-29", soon), approved(3, "CI-24", soon), ended, refused];
    let shown = in_force(&all, morning());
    assert_eq!(
        serde_json::to_value(&shown).expect("json"),
        serde_json::json!({
            "CH-29": {"in_force": 2, "last_expires": "2026-04-01T09:00:00Z"},
            "CI-24": {"in_force": 1, "last_expires": "2026-03-09T09:00:00Z"},
        })
    );
    assert_eq!(in_force(&all, soon).values().map(|count| count.in_force).collect::<Vec<_>>(), [1]);
    assert!(in_force(&all, later).is_empty());
}
