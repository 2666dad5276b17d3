//! T8: what was signed once counts once, in time, for the thing it was signed for, and in no older form.

use creta_model::Span;
use creta_programme::access::{AccessError, Basis, DecisionOrder, Kind, ORDER_LASTS, Request, Verdict};

use crate::testing::*;

/// Every way to present an order again. What each gives is the rule it breaks.
#[test]
fn attack_ch17_an_approval_is_not_replayed() {
    let now = morning();
    let glass =
        |n| Request::open(record(n), &person("ana"), asked("ana", 1, Kind::BreakGlass), now).expect("allowed").document;
    let request = glass(1);
    let order = order(2, &request, "ben", now);
    let present = |order: &DecisionOrder, to: &Request, later: Span| {
        to.decide(order, &[Basis::Standing], now.plus(later)).map(|change| change.document)
    };
    let once = present(&order, &request, Span::ZERO).expect("the first time");
    let edited = |edit: fn(&mut DecisionOrder)| {
        let mut order = order.clone();
        edit(&mut order);
        order
    };
    let end = ORDER_LASTS;
    let cases = [
        ("the same again", order.clone(), once.clone(), Span::ZERO, "it was used before"),
        ("under another name", edited(|o| o.by = person("carl")), once.clone(), Span::ZERO, "it was used before"),
        ("later", order.clone(), request.clone(), end, "it was not made in the last ten minutes"),
        ("a day later", order.clone(), request.clone(), Span::hours(23), "it was not made in the last ten minutes"),
        ("for another request", order.clone(), glass(3), Span::ZERO, "it is for another request"),
        (
            "for another request by name",
            edited(|o| o.request = record(3)),
            glass(3),
            Span::ZERO,
            "the request was changed since",
        ),
        (
            "in an older form",
            edited(|o| o.format = "creta.access-decision/0".to_owned()),
            request.clone(),
            Span::ZERO,
            "its form is not the one of this build",
        ),
        (
            "without a form",
            edited(|o| o.format.clear()),
            request.clone(),
            Span::ZERO,
            "its form is not the one of this build",
        ),
        (
            "from before the request",
            edited(|o| o.issued = o.issued.minus(tick())),
            request.clone(),
            Span::ZERO,
            "it was not made in the last ten minutes",
        ),
        (
            "from the future",
            edited(|o| o.issued = o.issued.plus(tick())),
            request.clone(),
            Span::ZERO,
            "it was not made in the last ten minutes",
        ),
        (
            "for a harmless request of the same name",
            order.clone(),
            Request::open(record(1), &person("ana"), asked("ana", 8, Kind::Ordinary), now).expect("allowed").document,
            Span::ZERO,
            "the request was changed since",
        ),
    ];
    for (what, order, to, later, rule) in cases {
        assert_eq!(present(&order, &to, later), Err(AccessError::Order { rule }), "{what}");
    }
    // Until the end it is good.
    assert!(present(&order, &request, end.minus_tick()).is_ok());
}

trait MinusTick {
    fn minus_tick(self) -> Span;
}

impl MinusTick for Span {
    fn minus_tick(self) -> Span {
        Span::from_micros(self.micros() - 1).expect("positive")
    }
}

/// What the approver's key signs changes with everything that matters.
#[test]
fn attack_ch17_a_signature_covers_the_whole_order() {
    let now = morning();
    let request = open(1, "ana", 2);
    let order = order(2, &request, "ben", now);
    let edits: [fn(&mut DecisionOrder); 7] = [
        |o| o.format.push('x'),
        |o| o.id = record(3),
        |o| o.request = record(3),
        |o| o.terms = o.digest(),
        |o| o.by = person("ben-2=ben"),
        |o| o.verdict = Verdict::Deny,
        |o| o.issued = o.issued.plus(tick()),
    ];
    for edit in edits {
        let mut other = order.clone();
        edit(&mut other);
        assert_ne!(other.digest(), order.digest(), "{other:?}");
    }
    // And the terms change with everything that was asked.
    let terms = &request.terms;
    let edits: [fn(&mut creta_programme::access::Terms); 11] = [
        |t| t.request = record(9),
        |t| t.revision += 1,
        |t| t.requester = person("carl"),
        |t| t.beneficiary = person("carl"),
        |t| t.role = creta_iam::Role::Reader,
        |t| t.place = place("prod"),
        |t| t.reason.push('!'),
        |t| t.ticket = creta_programme::access::Ticket::parse("OPS-1").expect("a ticket"),
        |t| t.hours += 1,
        |t| t.kind = Kind::BreakGlass,
        |t| t.created = t.created.plus(tick()),
    ];
    for edit in edits {
        let mut other = terms.clone();
        edit(&mut other);
        assert_ne!(other.digest(), terms.digest(), "{other:?}");
    }
}
