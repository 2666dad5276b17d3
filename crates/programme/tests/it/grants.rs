//! Grants of hours, judged together.

use std::collections::BTreeSet;

use creta_iam::{Action, Role};
use creta_model::{Instant, Span};
use creta_programme::analyser::{GRANTS_JUDGED, GrantUsed, WINDOW, judge_grants};
use proptest::prelude::*;

use crate::testing::*;

const MAY: [Action; 3] = [Action::TenantList, Action::TrustRead, Action::TrustRun];

fn grant(holder: &str, role: Role, begun: Instant, over: Option<Instant>, used: &[Action]) -> GrantUsed {
    GrantUsed {
        holder: subject(holder),
        role,
        place: place("prod"),
        begun,
        over,
        may: BTreeSet::from(MAY),
        used: used.iter().copied().collect(),
    }
}

/// `days` before now, for an hour.
fn hour(days: u32, used: &[Action]) -> GrantUsed {
    let begun = morning().minus(Span::days(days));
    grant("person:ana", Role::Operator, begun, Some(begun.plus(Span::hours(1))), used)
}

#[test]
fn what_was_used_in_any_grant_is_used_and_few_grants_are_not_judged() {
    let now = morning();
    let two = [hour(9, &[Action::TenantList]), hour(5, &[])];
    let found = judge_grants(&two, now);
    let [found] = found.as_slice() else { panic!("one holder, role and place") };
    assert_eq!((found.grants, found.idle, found.judged), (2, 1, false));
    assert!(found.unused.is_empty() && !found.is_idle());

    let three = [hour(9, &[Action::TenantList]), hour(5, &[]), hour(2, &[Action::TrustRead])];
    let found = judge_grants(&three, now);
    assert_eq!((found[0].grants, found[0].idle, found[0].judged), (3, 1, true));
    assert_eq!(
        (found[0].used.as_slice(), found[0].unused.as_slice()),
        (&[Action::TenantList, Action::TrustRead][..], &[Action::TrustRun][..])
    );
    assert!(!found[0].is_idle());
    let idle = judge_grants(&[hour(9, &[]), hour(5, &[]), hour(2, &[])], now);
    assert!(idle[0].is_idle() && idle[0].unused.len() == MAY.len());
}

#[test]
fn a_grant_that_holds_or_is_older_than_the_window_is_not_judged() {
    let now = morning();
    let holds = grant("person:ana", Role::Operator, now.minus(Span::hours(1)), None, &[]);
    let ends_later =
        grant("person:ana", Role::Operator, now.minus(Span::hours(1)), Some(now.plus(Span::hours(1))), &[]);
    let old = hour(91, &[]);
    assert_eq!(judge_grants(&[holds.clone(), ends_later, old.clone()], now), []);
    assert_eq!(judge_grants(&[hour(3, &[]), hour(2, &[]), holds, old], now)[0].grants, 2);
    let other = GrantUsed { place: place("prod/acme"), ..hour(1, &[]) };
    assert_eq!(judge_grants(&[hour(3, &[]), hour(2, &[]), other], now).len(), 2, "each place by itself");
}

proptest! {
    #[test]
    fn grants_are_judged_as_the_slow_reference_says(
        given in prop::collection::vec((0..2usize, 0..2usize, 0..120u32, prop::option::of(0..5u32), 0..8u8), 0..14)
    ) {
        let now = morning();
        let all: Vec<GrantUsed> = given.iter().map(|(who, role, days, hours, used)| {
            let begun = now.minus(Span::days(*days));
            let used: Vec<Action> = (0..3).filter(|bit| used >> bit & 1 == 1).map(|bit| MAY[bit]).collect();
            let role = [Role::Operator, Role::Auditor][*role];
            grant(["person:ana", "person:ben"][*who], role, begun, hours.map(|hours| begun.plus(Span::hours(hours))), &used)
        }).collect();
        let found = judge_grants(&all, now);
        for who in ["person:ana", "person:ben"] {
            for role in [Role::Operator, Role::Auditor] {
                let own: Vec<&GrantUsed> = all.iter()
                    .filter(|g| g.holder == subject(who) && g.role == role && g.begun >= now.minus(WINDOW) && g.over.is_some_and(|over| over <= now))
                    .collect();
                let told: Vec<_> = found.iter().filter(|f| f.holder == subject(who) && f.role == role).collect();
                prop_assert_eq!(told.len(), usize::from(!own.is_empty()));
                let Some(told) = told.first() else { continue };
                prop_assert_eq!(told.grants, own.len());
                prop_assert_eq!(told.idle, own.iter().filter(|g| g.used.is_empty()).count());
                for action in MAY {
                    let used = own.iter().any(|g| g.used.contains(&action));
                    prop_assert_eq!(told.used.contains(&action), used);
                    prop_assert_eq!(told.unused.contains(&action), !used && own.len() >= GRANTS_JUDGED);
                }
            }
        }
    }
}
