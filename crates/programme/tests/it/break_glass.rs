//! The sealed account: two people, a page, an hour, and somebody else who looks at it.

use creta_model::{Environment, Instant, Span};
use creta_programme::access::Reason;
use creta_programme::break_glass::{BreakGlassError, Finding, HALF_LASTS, Half, Opening, REVIEW_WITHIN, ReviewState};

use crate::testing::*;

const WHY: &str = "Identity provider is down and merchants cannot settle";

fn begin(minutes: u8) -> Result<Opening, BreakGlassError> {
    let environment = Environment::parse("prod").expect("an environment");
    let reason = Reason::without_ticket(WHY).expect("a reason");
    let change = Opening::begin(record(1), environment, &reason, minutes, (Half::First, &person("ana")), morning())?;
    require_loggable(&change.entry);
    assert_eq!(detail(&change.entry, "reason"), "hmac:...");
    Ok(change.document)
}

/// Unsealed and paged in the morning.
fn opened(minutes: u8) -> Opening {
    let unsealed = begin(minutes).expect("allowed").complete(Half::Second, &person("ben"), morning()).expect("allowed");
    require_loggable(&unsealed.entry);
    let opened = unsealed.document.paged(morning()).expect("allowed");
    require_loggable(&opened.entry);
    assert_eq!(opened.entry.action, "break-glass.opened");
    opened.document
}

fn require_closed(opening: &Opening, now: Instant, what: &str) {
    assert_eq!(opening.require_open(now).expect_err(what).code(), "break-glass/not-open", "{what}");
}

#[test]
fn attack_ch33_one_person_does_not_open_it() {
    let half = begin(60).expect("allowed");
    require_closed(&half, morning(), "one half");
    for (shown, by) in
        [(Half::Second, "ana"), (Half::Second, "ana-admin=ana"), (Half::First, "ben"), (Half::First, "ana")]
    {
        let refused = half.complete(shown, &person(by), morning()).expect_err(by);
        assert_eq!((refused.code(), refused.commitment()), ("break-glass/same-person", "CH-33"));
    }
    let unsealed = half.complete(Half::Second, &person("ben"), morning()).expect("allowed").document;
    assert_eq!(
        unsealed.complete(Half::First, &person("carl"), morning()).expect_err("full").code(),
        "break-glass/complete"
    );
}

#[test]
fn attack_ch33_nothing_happens_before_the_page_is_out() {
    let half = begin(60).expect("allowed");
    assert!(half.paged(morning()).is_err(), "a half is not paged for");
    let unsealed = half.complete(Half::Second, &person("ben"), morning()).expect("allowed").document;
    require_closed(&unsealed, morning(), "no page");
    assert!(unsealed.close(&person("ana"), morning()).is_err());
    let opened = unsealed.paged(morning()).expect("allowed").document;
    assert!(opened.require_open(morning()).is_ok());
    assert!(opened.paged(morning()).is_err(), "once");
    let end = morning().plus(Span::hours(1));
    assert!(unsealed.paged(end.minus(tick())).is_ok());
    assert!(unsealed.paged(end).is_err(), "a page does not give more time");
    assert!(unsealed.paged(morning().minus(tick())).is_err());
}

#[test]
fn it_is_open_for_its_minutes_to_the_microsecond() {
    for minutes in [0, 61, 255] {
        assert_eq!(begin(minutes).expect_err("not so long").code(), "break-glass/minutes");
    }
    for minutes in [1, 60] {
        let (opening, end) = (opened(minutes), morning().plus(Span::seconds(u32::from(minutes) * 60)));
        assert!(opening.require_open(morning()).is_ok() && opening.require_open(end.minus(tick())).is_ok());
        require_closed(&opening, end, "over");
        require_closed(&opening, morning().minus(tick()), "before");
    }
    let half = begin(60).expect("allowed");
    let end = morning().plus(HALF_LASTS);
    assert!(half.complete(Half::Second, &person("ben"), end.minus(tick())).is_ok());
    for wrong in [end, morning().minus(tick())] {
        assert_eq!(
            half.complete(Half::Second, &person("ben"), wrong).expect_err("late").code(),
            "break-glass/too-late"
        );
    }
}

#[test]
fn attack_ch33_whoever_opened_it_does_not_review_it() {
    let opening = opened(60);
    let review = |opening: &Opening, by: &str, now| {
        opening.review(&person(by), Finding::Justified, WHY, now).map(|c| c.document)
    };
    let over = morning().plus(Span::hours(1));
    for by in ["ana", "ben", "ben-2=ben"] {
        assert_eq!(review(&opening, by, over).expect_err(by).code(), "break-glass/review");
    }
    assert!(review(&opening, "carl", over.minus(tick())).is_err(), "it is still open");
    let closed = opening.close(&person("ana"), morning().plus(Span::seconds(60))).expect("open").document;
    require_closed(&closed, morning().plus(Span::seconds(61)), "closed");
    for (opening, now) in [(&opening, over), (&closed, morning().plus(Span::seconds(60)))] {
        let change = opening.review(&person("carl"), Finding::NotJustified, WHY, now).expect("over");
        require_loggable(&change.entry);
        assert_eq!(
            (detail(&change.entry, "finding"), detail(&change.entry, "words")),
            ("not-justified".into(), "hmac:...".into())
        );
        assert!(review(&change.document, "dora", now).is_err(), "one is enough");
    }
    assert!(review(&begin(60).expect("allowed"), "carl", over).is_err(), "it was never open");
}

#[test]
fn a_review_is_due_within_a_day_to_the_microsecond() {
    let (opening, end) = (opened(60), morning().plus(REVIEW_WITHIN));
    assert_eq!(begin(60).expect("allowed").review_state(end.plus(Span::days(9))), ReviewState::NotNeeded);
    assert_eq!(opening.review_state(end), ReviewState::Due);
    assert_eq!(opening.review_state(end.plus(tick())), ReviewState::Overdue);
    let reviewed =
        opening.review(&person("carl"), Finding::Justified, WHY, end.plus(tick())).expect("late, and counts").document;
    assert_eq!(reviewed.review_state(end.plus(tick())), ReviewState::Done);
}

#[test]
fn attack_ch33_an_opening_edited_where_it_is_stored_is_not_read() {
    let opening = opened(60);
    let reviewed = opening
        .review(&person("carl"), Finding::Justified, WHY, morning().plus(Span::hours(2)))
        .expect("over")
        .document;
    for whole in [&begin(60).expect("allowed"), &opening, &reviewed] {
        assert_eq!(&Opening::parse(&whole.to_bytes()).expect("own form"), whole);
    }
    let edits: [Edit<Opening>; 9] = [
        ("longer", |o| o.minutes = 61),
        ("one half", |o| drop(o.halves.pop())),
        ("no half", |o| o.halves.clear()),
        ("three halves", |o| o.halves.push(o.halves[0].clone())),
        ("one person", |o| o.halves[1].by = person("ana-2=ana")),
        ("one half twice", |o| o.halves[1].half = Half::First),
        ("halves far apart", |o| o.halves[1].at = o.halves[0].at.plus(HALF_LASTS)),
        ("no page", |o| o.paged_at = None),
        ("own review", |o| o.review.as_mut().expect("reviewed").by = person("ben-2=ben")),
    ];
    for (what, edit) in edits {
        let mut edited = reviewed.clone();
        edit(&mut edited);
        assert!(Opening::parse(&edited.to_bytes()).is_err(), "{what}");
    }
}
