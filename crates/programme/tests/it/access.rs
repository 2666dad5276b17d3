//! Requests and grants: who may decide, for how long, and what the log gets.

use creta_iam::{Action, Role};
use creta_model::{Instant, Span};
use creta_programme::access::{
    AccessError, Asked, Basis, DecisionOrder, End, Grant, GrantState, Kind, REQUEST_LASTS, Request, RequestState,
    Verdict, active_of,
};
use proptest::prelude::*;

use crate::testing::*;

fn code(result: Result<impl Sized, AccessError>) -> &'static str {
    result.map(drop).expect_err("refused").code()
}

#[test]
fn a_grant_leaves_an_entry_for_each_step() {
    let now = morning();
    let opened = Request::open(record(1), &person("ana"), asked("ana", 2, Kind::Ordinary), now).expect("allowed");
    let order = order(2, &opened.document, "ben", now);
    let approved = opened.document.decide(&order, &[Basis::Standing], now).expect("allowed");
    let activation = approved.document.activate(record(3), &person("ana"), now).expect("allowed");
    let used = activation.grant.use_for(Action::Deploy, &place("prod/acme"), now).expect("allowed");
    let expired = activation.grant.expire(now.plus(Span::hours(2))).expect("over");
    let entries = [opened.entry, approved.entry, activation.entry, used, expired.entry];
    assert_eq!(
        entries.each_ref().map(|entry| entry.action),
        [
            "access.request.opened",
            "access.request.approved",
            "access.grant.activated",
            "access.grant.used",
            "access.grant.expired"
        ]
    );
    for entry in &entries {
        require_loggable(entry);
        assert_eq!(detail(entry, "request"), record(1).to_string(), "{entry:?}");
        assert_eq!(detail(entry, "place"), "prod/acme");
    }
    assert_eq!(detail(&entries[1], "by"), "ben");
    assert_eq!(detail(&entries[1], "order-digest"), format!("sha256:{}", order.digest()));
    assert_eq!(detail(&entries[2], "expires"), "2026-03-02T11:00:00Z");
    assert_eq!(detail(&entries[3], "action"), "deploy");
}

#[test]
fn attack_ch43_words_of_people_reach_the_log_only_as_hashes() {
    let now = morning();
    let activation = granted(1, "ana", "ben", now);
    let ended = activation.grant.end(End::Revoked { by: person("carl") }, now).expect("allowed");
    for entry in [activation.entry, ended.entry] {
        assert_eq!(detail(&entry, "reason"), "hmac:...");
        assert!(!format!("{entry:?}").contains("merchant"), "{entry:?}");
    }
}

#[test]
fn attack_ch43_a_grant_that_does_not_hold_gives_no_entry_to_act_under() {
    let now = morning();
    let grant = granted(1, "ana", "ben", now).grant;
    let over = now.plus(Span::hours(8));
    let here = place("prod/acme");
    assert!(grant.use_for(Action::Deploy, &here, over.minus(tick())).is_ok());
    assert_eq!(code(grant.use_for(Action::Deploy, &here, over)), "access/grant-over");
    assert_eq!(code(grant.use_for(Action::Deploy, &here, now.minus(tick()))), "access/grant-over");
    assert_eq!(code(grant.use_for(Action::Deploy, &place("prod/globex"), now)), "access/other-place");
    assert_eq!(code(grant.use_for(Action::Deploy, &place("prod"), now)), "access/other-place");
    assert_eq!(code(grant.use_for(Action::Deploy, &place("staging/acme"), now)), "access/other-place");
    let revoked = grant.end(End::Revoked { by: person("carl") }, now).expect("allowed").document;
    assert_eq!(code(revoked.use_for(Action::Deploy, &here, now)), "access/grant-over");
    assert_eq!(code(revoked.end(End::Returned, now)), "access/grant-over");
    assert_eq!(revoked.expire(over), None, "it ended already");
}

#[test]
fn a_grant_for_an_environment_holds_in_its_scopes() {
    let now = morning();
    let asked = Asked { place: place("prod"), ..asked("ana", 2, Kind::Ordinary) };
    let request = Request::open(record(1), &person("ana"), asked, now).expect("allowed").document;
    let approved = request.decide(&order(2, &request, "ben", now), &[Basis::Standing], now).expect("allowed").document;
    let grant = approved.activate(record(3), &person("ana"), now).expect("allowed").grant;
    for (at, holds) in [("prod", true), ("prod/acme", true), ("staging", false), ("staging/acme", false)] {
        assert_eq!(grant.use_for(Action::Deploy, &place(at), now).is_ok(), holds, "{at}");
    }
    let used = grant.use_for(Action::Deploy, &place("prod/acme"), now).expect("allowed");
    assert_eq!((detail(&used, "place"), detail(&used, "at")), ("prod".to_owned(), "prod/acme".to_owned()));
    require_loggable(&used);
    let held = grant.held();
    assert_eq!(
        (held.id.as_str(), held.role, held.place),
        (record(3).to_string().as_str(), Role::Developer, place("prod"))
    );
}

#[test]
fn attack_ch35_people_do_not_get_roles_of_programs() {
    for role in Role::ALL {
        let asked = Asked { role: *role, ..asked("ana", 2, Kind::Ordinary) };
        let opened = Request::open(record(1), &person("ana"), asked, morning());
        assert_eq!(opened.is_ok(), Role::OF_PEOPLE.contains(role), "{role}");
    }
}

#[test]
fn attack_ch17_nobody_approves_their_own_request() {
    let now = morning();
    let request = open(1, "ana", 2);
    for own in ["ana", "ana-admin=ana"] {
        assert_eq!(code(request.decide(&order(2, &request, own, now), &[Basis::Standing], now)), "access/same-person");
    }
    // Nor what somebody else asked for them.
    let asked = asked("dora", 2, Kind::Ordinary);
    let for_dora = Request::open(record(3), &person("ana"), asked, now).expect("allowed").document;
    for part in ["ana", "dora", "dora-2=dora"] {
        assert_eq!(
            code(for_dora.decide(&order(4, &for_dora, part, now), &[Basis::Standing], now)),
            "access/same-person"
        );
    }
    assert!(for_dora.decide(&order(4, &for_dora, "ben", now), &[Basis::Standing], now).is_ok());
    // Denying is deciding too.
    let deny = DecisionOrder::new(record(5), &request, &person("ana"), Verdict::Deny, now);
    assert_eq!(code(request.decide(&deny, &[Basis::Standing], now)), "access/same-person");
}

#[test]
fn attack_ch17_two_people_do_not_approve_in_a_circle() {
    let now = morning();
    // Ana approved Ben; Ben approved Carl; Carl approves for nobody who asked Ana.
    let ben = granted(1, "ben", "ana", now).grant;
    let asked_by_carl =
        Request::open(record(2), &person("carl"), asked("carl", 8, Kind::Ordinary), now).expect("allowed");
    let approved =
        asked_by_carl.document.decide(&order(3, &asked_by_carl.document, "ben", now), &[Basis::Granted(&ben)], now);
    let carl = approved.expect("allowed").document.activate(record(4), &person("carl"), now).expect("allowed").grant;

    let request = open(5, "ana", 2);
    for (approver, grant) in [("ben", &ben), ("carl", &carl)] {
        let order = order(6, &request, approver, now);
        assert_eq!(code(request.decide(&order, &[Basis::Granted(grant)], now)), "access/dependent-right", "{approver}");
        // A right that does not come from Ana is enough.
        assert!(request.decide(&order, &[Basis::Granted(grant), Basis::Standing], now).is_ok());
        let other = granted(10, approver, "emil", now).grant;
        assert!(request.decide(&order, &[Basis::Granted(grant), Basis::Granted(&other)], now).is_ok());
    }
    // For somebody else's request Ben's right is as good as any.
    let of_dora = open(7, "dora", 2);
    assert!(of_dora.decide(&order(8, &of_dora, "ben", now), &[Basis::Granted(&ben)], now).is_ok());
}

#[test]
fn attack_ch17_a_right_to_approve_must_hold_and_be_the_approvers_own() {
    let now = morning();
    let (request, later) = (open(1, "ana", 2), now.plus(Span::hours(8)));
    let ben = granted(2, "ben", "emil", now).grant;
    let by_ben = order(3, &request, "ben", now);
    assert_eq!(code(request.decide(&by_ben, &[], now)), "access/no-right");
    let carls = granted(4, "carl", "emil", now).grant;
    assert_eq!(code(request.decide(&by_ben, &[Basis::Granted(&carls)], now)), "access/no-right");
    let ended = ben.end(End::Left, now).expect("allowed").document;
    assert_eq!(code(request.decide(&by_ben, &[Basis::Granted(&ended)], now)), "access/no-right");
    assert_eq!(
        code(request.decide(&order(5, &request, "ben", later), &[Basis::Granted(&ben)], later)),
        "access/no-right"
    );
    assert!(request.decide(&by_ben, &[Basis::Granted(&ben)], now).is_ok());
}

#[test]
fn break_glass_takes_two_other_people_and_lasts_an_hour() {
    let now = morning();
    let opened = |hours| Request::open(record(1), &person("ana"), asked("ana", hours, Kind::BreakGlass), now);
    assert_eq!(code(opened(2)), "access/hours");
    let request = opened(1).expect("allowed").document;
    let once = request.decide(&order(2, &request, "ben", now), &[Basis::Standing], now).expect("allowed").document;
    assert_eq!(once.state, RequestState::Open);
    assert_eq!(code(once.activate(record(9), &person("ana"), now)), "access/not-approved");
    for again in ["ben", "ben-2=ben"] {
        assert_eq!(code(once.decide(&order(3, &once, again, now), &[Basis::Standing], now)), "access/already-approved");
    }
    let twice = once.decide(&order(4, &once, "carl", now), &[Basis::Standing], now).expect("allowed").document;
    let grant = twice.activate(record(9), &person("ana"), now).expect("allowed").grant;
    assert_eq!(grant.expires, now.plus(Span::hours(1)));
    // What came from two people hangs on neither alone.
    assert!(grant.rests_on().is_empty());
    assert_eq!(granted(20, "ana", "ben", now).grant.rests_on(), [human("ben")].into());
}

#[test]
fn hours_are_bounded_by_kind() {
    for (kind, hours, allowed) in [
        (Kind::Ordinary, 0, false),
        (Kind::Ordinary, 1, true),
        (Kind::Ordinary, 8, true),
        (Kind::Ordinary, 9, false),
        (Kind::Ordinary, 255, false),
        (Kind::BreakGlass, 0, false),
        (Kind::BreakGlass, 1, true),
        (Kind::BreakGlass, 8, false),
    ] {
        let opened = Request::open(record(1), &person("ana"), asked("ana", hours, kind), morning());
        assert_eq!(opened.is_ok(), allowed, "{kind:?} {hours}");
    }
}

#[test]
fn a_request_is_void_after_a_day_to_the_microsecond() {
    let (request, end) = (open(1, "ana", 2), morning().plus(REQUEST_LASTS));
    let (before, by_ben) = (end.minus(tick()), |now| order(2, &request, "ben", now));
    assert!(request.decide(&by_ben(before), &[Basis::Standing], before).is_ok());
    assert_eq!(code(request.decide(&by_ben(end), &[Basis::Standing], end)), "access/request-expired");
    let approved = request.decide(&by_ben(morning()), &[Basis::Standing], morning()).expect("allowed").document;
    assert!(approved.activate(record(3), &person("ana"), before).is_ok());
    assert_eq!(code(approved.activate(record(3), &person("ana"), end)), "access/request-expired");
    for pending in [&request, &approved] {
        assert_eq!(pending.expire(before), None);
        assert_eq!(pending.expire(end).expect("void").document.state, RequestState::Expired { at: end });
    }
    // A clock that went back does not bring it to life before it was made.
    let early = morning().minus(tick());
    assert_eq!(code(approved.activate(record(3), &person("ana"), early)), "access/request-expired");
}

#[test]
fn a_grant_holds_for_its_hours_to_the_microsecond() {
    for hours in 1..=8 {
        let request = open(1, "ana", hours);
        let approved = request.decide(&order(2, &request, "ben", morning()), &[Basis::Standing], morning());
        let later = morning().plus(Span::hours(5));
        let grant =
            approved.expect("allowed").document.activate(record(3), &person("ana"), later).expect("allowed").grant;
        let end = later.plus(Span::hours(u32::from(hours)));
        assert!(!grant.is_active(later.minus(tick())));
        assert!(grant.is_active(later) && grant.is_active(end.minus(tick())));
        assert!(!grant.is_active(end));
        assert_eq!(grant.expire(end.minus(tick())), None);
        assert_eq!(grant.expire(end).expect("over").document.state, GrantState::Expired { at: end });
    }
}

#[test]
fn only_the_account_that_gets_it_activates_it_and_once() {
    let now = morning();
    let request = open(1, "ana", 2);
    assert_eq!(code(request.activate(record(9), &person("ana"), now)), "access/not-approved");
    let approved = request.decide(&order(2, &request, "ben", now), &[Basis::Standing], now).expect("allowed").document;
    for other in ["ben", "carl", "ana-admin=ana"] {
        assert_eq!(code(approved.activate(record(3), &person(other), now)), "access/not-yours", "{other}");
    }
    // Whose human an account counts as may change meanwhile; it is the same account.
    let used = approved.activate(record(3), &person("ana=maker"), now).expect("allowed").request;
    assert_eq!(code(used.activate(record(4), &person("ana"), now)), "access/not-open");
    assert_eq!(code(used.withdraw(&person("ana"), now)), "access/not-open");
    assert_eq!(used.expire(now.plus(Span::days(2))), None);
}

#[test]
fn a_denied_or_withdrawn_request_stays_so() {
    let now = morning();
    let request = open(1, "ana", 2);
    let deny = DecisionOrder::new(record(2), &request, &person("ben"), Verdict::Deny, now);
    let denied = request.decide(&deny, &[Basis::Standing], now).expect("allowed");
    assert_eq!(denied.entry.action, "access.request.denied");
    assert_eq!(code(request.withdraw(&person("ben"), now)), "access/not-yours");
    assert_eq!(code(request.withdraw(&person("ana-admin=ana"), now)), "access/not-yours", "accounts, not humans");
    let withdrawn = request.withdraw(&person("ana"), now).expect("allowed").document;
    for over in [denied.document, withdrawn] {
        assert_eq!(code(over.decide(&order(3, &over, "carl", now), &[Basis::Standing], now)), "access/not-open");
        assert_eq!(code(over.activate(record(4), &person("ana"), now)), "access/not-open");
        assert_eq!(over.expire(now.plus(Span::days(2))), None);
    }
}

#[test]
fn attack_ch17_documents_edited_where_they_are_stored_are_not_read() {
    let now = morning();
    let activation = granted(1, "ana", "ben", now);
    let (request, grant) = (&activation.request, &activation.grant);
    assert_eq!(&Request::parse(&request.to_bytes()).expect("own form"), request);
    assert_eq!(&Grant::parse(&grant.to_bytes()).expect("own form"), grant);

    let edits: &[Edit<Grant>] = &[
        ("longer", |g| g.expires = g.expires.plus(Span::hours(1))),
        ("longer by a microsecond", |g| g.expires = g.expires.plus(tick())),
        ("moved", |g| (g.activated, g.expires) = (g.activated.plus(Span::days(1)), g.expires.plus(Span::days(1)))),
        ("more hours", |g| (g.terms.hours, g.expires) = (9, g.activated.plus(Span::hours(9)))),
        ("another role", |g| g.terms.role = Role::Reader),
        ("another place", |g| g.terms.place = place("prod/globex")),
        ("another holder", |g| g.terms.beneficiary = person("mallory")),
        ("no approval", |g| g.approvals.clear()),
        ("one approval twice", |g| g.approvals.push(g.approvals[0].clone())),
        ("own approval", |g| g.approvals[0].by = person("ana-admin=ana")),
        ("approval of other terms", |g| g.approvals[0].terms = g.approvals[0].order_digest),
        ("approval that rests on the requester", |g| g.approvals[0].rests_on = [human("ana")].into()),
        ("approved later", |g| g.approvals[0].at = g.activated.plus(tick())),
        ("another form", |g| g.format = "creta.access-grant/0".to_owned()),
        ("fewer approvals", |g| g.terms.kind = Kind::BreakGlass),
    ];
    for (what, edit) in edits {
        let mut edited = grant.clone();
        edit(&mut edited);
        assert!(Grant::parse(&edited.to_bytes()).is_err(), "{what}");
    }
    let edits: &[Edit<Request>] = &[
        ("more hours", |r| r.terms.hours = 3),
        ("own approval", |r| r.approvals[0].by = person("ana")),
        ("no approval", |r| r.approvals.clear()),
        ("approved and open", |r| r.state = RequestState::Open),
        ("other digest", |r| r.digest = r.approvals[0].order_digest),
    ];
    for (what, edit) in edits {
        let mut edited = request.clone();
        edit(&mut edited);
        assert!(Request::parse(&edited.to_bytes()).is_err(), "{what}");
    }
    // Members that nobody knows, another order of members, and half a document are no documents.
    let text = String::from_utf8(grant.to_bytes()).expect("text");
    assert!(Grant::parse(text.replacen('{', "{\"extended\":true,", 1).as_bytes()).is_err());
    assert!(Grant::parse(format!(" {text}").as_bytes()).is_err());
    assert!(Grant::parse(&text.as_bytes()[..text.len() / 2]).is_err());
    let message = Grant::parse(b"{}").expect_err("no document").to_string();
    assert!(message.contains("creta.access-grant/1"), "{message}");
}

#[test]
fn a_forged_approval_in_memory_becomes_no_grant() {
    let mut request = open(1, "ana", 2);
    request.state = RequestState::Approved;
    assert!(request.activate(record(2), &person("ana"), morning()).is_err());
}

#[test]
fn active_grants_are_found_by_person_whatever_the_account() {
    let now = morning();
    let (one, other) = (granted(1, "ana", "ben", now).grant, granted(2, "ana-admin=ana", "ben", now).grant);
    let bens = granted(3, "ben", "carl", now).grant;
    let ended = granted(4, "ana", "ben", now).grant.end(End::Returned, now).expect("allowed").document;
    let all = [one.clone(), bens, ended, other.clone()];
    assert_eq!(active_of(&all, &human("ana"), now).collect::<Vec<_>>(), [&one, &other]);
    assert_eq!(active_of(&all, &human("ana"), now.plus(Span::hours(8))).count(), 0);
    assert_eq!(active_of(&all, &human("dora"), now).count(), 0);
}

const PEOPLE: [&str; 5] = ["ana", "ana-admin=ana", "ben", "carl", "carl-2=carl"];

#[derive(Debug, Clone)]
enum Step {
    Ask { by: usize, for_: usize, hours: u8, glass: bool },
    Sign { by: usize, deny: bool },
    Decide { order: usize, with_grants: bool },
    Activate { by: usize },
    Wait { micros: i64 },
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..PEOPLE.len();
    let edges = [1, 599_999_999, 600_000_000, 3_600_000_000, 28_800_000_000, 86_399_999_999, 86_400_000_000];
    prop_oneof![
        2 => (who.clone(), who.clone(), 0_u8..10, any::<bool>()).prop_map(|(by, for_, hours, glass)| Step::Ask { by, for_, hours, glass }),
        4 => (who.clone(), proptest::bool::weighted(0.1)).prop_map(|(by, deny)| Step::Sign { by, deny }),
        5 => (0_usize..6, any::<bool>()).prop_map(|(order, with_grants)| Step::Decide { order, with_grants }),
        4 => who.prop_map(|by| Step::Activate { by }),
        1 => proptest::sample::select(edges.to_vec()).prop_map(|micros| Step::Wait { micros }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever people do in whatever order, nobody gets access without another human, nor for longer than was approved;
    /// what is stored can be read again, and every step can be logged.
    #[test]
    fn nobody_gets_access_alone(steps in proptest::collection::vec(step(), 1..60)) {
        let mut now = morning();
        let mut names = 1_u128..;
        let mut name = || record(names.next().expect("endless"));
        let (mut requests, mut orders, mut grants) = (Vec::<Request>::new(), Vec::<DecisionOrder>::new(), Vec::<Grant>::new());
        let asked_for = |for_: usize, hours, kind| -> Asked { asked(PEOPLE[for_], hours, kind) };
        for step in steps {
            let last = requests.len().checked_sub(1);
            match (step, last) {
                (Step::Ask { by, for_, hours, glass }, _) => {
                    let kind = if glass { Kind::BreakGlass } else { Kind::Ordinary };
                    if let Ok(change) = Request::open(name(), &person(PEOPLE[by]), asked_for(for_, hours, kind), now) {
                        require_loggable(&change.entry);
                        requests.push(change.document);
                    }
                }
                (Step::Sign { by, deny }, Some(last)) => {
                    let verdict = if deny { Verdict::Deny } else { Verdict::Approve };
                    orders.push(DecisionOrder::new(name(), &requests[last], &person(PEOPLE[by]), verdict, now));
                }
                (Step::Decide { order, with_grants }, Some(last)) => {
                    let Some(order) = orders.iter().rev().nth(order) else { continue };
                    let own: Vec<Basis<'_>> = grants.iter().map(Basis::Granted).collect();
                    let bases = if with_grants { own } else { vec![Basis::Standing] };
                    if let Ok(change) = requests[last].decide(order, &bases, now) {
                        require_loggable(&change.entry);
                        prop_assert!(!order.by.is_same_human(&requests[last].terms.requester));
                        prop_assert!(order.issued <= now && now < order.issued.plus(Span::seconds(600)));
                        requests[last] = change.document;
                    }
                }
                (Step::Activate { by }, Some(last)) => {
                    if let Ok(activation) = requests[last].activate(name(), &person(PEOPLE[by]), now) {
                        require_loggable(&activation.entry);
                        let grant = activation.grant;
                        let terms = &grant.terms;
                        let others: std::collections::BTreeSet<_> = grant.approvals.iter().map(|a| a.by.person.clone()).collect();
                        prop_assert_eq!(others.len(), terms.kind.approvals());
                        prop_assert!(!others.contains(&terms.requester.person) && !others.contains(&terms.beneficiary.person));
                        prop_assert!(grant.approvals.iter().all(|approval| approval.terms == terms.digest()));
                        prop_assert!(!grant.is_active(now.plus(Span::hours(8))));
                        prop_assert!(now < terms.created.plus(Span::hours(24)));
                        prop_assert_eq!(Grant::parse(&grant.to_bytes()).expect("own form"), grant.clone());
                        requests[last] = activation.request;
                        grants.push(grant);
                    }
                }
                (Step::Wait { micros }, _) => now = now.plus(Span::from_micros(micros).expect("positive")),
                (_, None) => {}
            }
            for request in &requests {
                prop_assert_eq!(&Request::parse(&request.to_bytes()).expect("own form"), request);
            }
        }
        let holds = |grant: &&Grant, at: Instant| grant.is_active(at);
        prop_assert!(grants.iter().all(|grant| !holds(&grant, grant.activated.plus(Span::hours(8)))));
    }
}
