//! Duties apart: paths through groups, circles, and a slow reference.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use creta_iam::{Action, Identity, Role};
use creta_programme::SubjectId;
use creta_programme::duties::{Among, Duty, Holder, Roster, TOXIC};
use proptest::prelude::*;

use crate::golden;
use crate::testing::*;

const DUTIES: [Duty; 12] = [
    Duty::Deploy,
    Duty::ApprovePolicy,
    Duty::AssignRoles,
    Duty::Provision,
    Duty::ReadData,
    Duty::WriteData,
    Duty::Audit,
    Duty::WriteLog,
    Duty::DeleteLog,
    Duty::WriteBackup,
    Duty::DeleteBackup,
    Duty::ReadKeys,
];

fn duty(name: &str) -> Duty {
    *DUTIES.iter().find(|duty| duty.as_str() == name).unwrap_or_else(|| panic!("no duty `{name}`"))
}

/// `human person:ana ana`, `program service-account:etl`, `person:ana in group:a`, `group:a has deploy@prod`.
fn add(roster: &mut Roster, line: &str) {
    match *line.split_whitespace().collect::<Vec<_>>() {
        ["human", account, who] => drop(roster.accounts.insert(subject(account), Holder::Human(human(who)))),
        ["program", account] => drop(roster.accounts.insert(subject(account), Holder::Program(subject(account)))),
        [member, "in", group] => drop(roster.members.insert((subject(member), subject(group)))),
        [node, "has", given] => {
            let (name, at) = given.split_once('@').expect("a duty and a place");
            roster.given.push((subject(node), duty(name), place(at)));
        }
        _ => panic!("unknown line `{line}`"),
    }
}

fn answer(question: &str) -> String {
    let (mut roster, mut out) = (Roster::default(), String::new());
    for line in question.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let Some(assignment) = line.strip_prefix("assign ") else {
            add(&mut roster, line);
            continue;
        };
        let mut to = roster.clone();
        add(&mut to, assignment);
        match roster.require_change(&to) {
            Ok(()) => {
                roster = to;
                writeln!(out, "{line}: ok").expect("text");
            }
            Err(conflict) => writeln!(out, "{line}: {conflict}").expect("text"),
        }
    }
    for toxic in roster.toxic() {
        let who = match &toxic.holder {
            Holder::Human(person) => person.as_str(),
            Holder::Program(program) => program.as_str(),
        };
        writeln!(out, "{who} {}\n  {}\n  {}", toxic.why, toxic.left, toxic.right).expect("text");
    }
    if out.is_empty() { "nothing".to_owned() } else { out }
}

#[test]
fn golden_duties() {
    golden::run("programme/duties", answer);
}

#[test]
fn attack_ch35_one_human_does_not_hold_both_sides_through_nested_groups() {
    let mut roster = Roster::default();
    for line in [
        "human person:mallory mallory",
        "human person:mallory-ops mallory",
        "person:mallory in group:interns",
        "group:interns in group:platform",
        "group:platform has deploy@prod/acme",
        "group:policy-board has approve-policy@prod",
    ] {
        add(&mut roster, line);
    }
    assert!(roster.toxic().is_empty());
    let mut to = roster.clone();
    // By another account of the same human, through a group in a group.
    add(&mut to, "person:mallory-ops in group:friends");
    add(&mut to, "group:friends in group:policy-board");
    let refused = roster.require_change(&to).expect_err("one hand");
    assert_eq!((refused.code(), refused.commitment()), ("duties/toxic", "CH-35"));
    let message = refused.to_string();
    for path in [
        "person:mallory > group:interns > group:platform > deploy@prod/acme",
        "person:mallory-ops > group:friends > group:policy-board > approve-policy@prod",
    ] {
        assert!(message.contains(path), "{message}");
    }
    // What is wrong already does not keep anybody from changing something else, or from putting it right.
    let mut other = to.clone();
    add(&mut other, "human person:ana ana");
    assert!(to.require_change(&other).is_ok());
    assert!(to.require_change(&roster).is_ok());
}

/// Every pair of the table is refused at assignment, to a human as far as it is about humans, in both orders.
#[test]
fn attack_ch35_every_toxic_pair_is_refused_at_assignment() {
    for (left, right, among, _) in TOXIC {
        for (first, second) in [(left, right), (right, left)] {
            for (holder, refused) in [("human person:x x", *among == Among::Everyone), ("program person:x", true)] {
                let mut roster = Roster::default();
                add(&mut roster, holder);
                add(&mut roster, &format!("person:x has {}@prod", first.as_str()));
                let mut to = roster.clone();
                add(&mut to, &format!("person:x has {}@prod", second.as_str()));
                assert_eq!(roster.require_change(&to).is_err(), refused, "{holder}: {first:?} and {second:?}");
            }
        }
    }
}

#[test]
fn the_table_names_each_pair_once_and_no_duty_against_itself() {
    let pairs: BTreeSet<BTreeSet<Duty>> = TOXIC.iter().map(|(a, b, ..)| [*a, *b].into()).collect();
    assert_eq!(pairs.len(), TOXIC.len());
    assert!(pairs.iter().all(|pair| pair.len() == 2));
    // An auditor changes nothing at all, and so does not look at their own work.
    let writes = [
        Duty::Deploy,
        Duty::ApprovePolicy,
        Duty::AssignRoles,
        Duty::Provision,
        Duty::WriteData,
        Duty::WriteLog,
        Duty::DeleteLog,
        Duty::WriteBackup,
        Duty::DeleteBackup,
    ];
    for write in writes {
        assert!(pairs.contains(&[Duty::Audit, write].into()), "{write:?}");
    }
}

#[test]
fn duties_follow_from_actions() {
    assert_eq!(Duty::of_action(Action::Deploy), Some(Duty::Deploy));
    assert_eq!(Duty::of_action(Action::Train), Some(Duty::ReadData));
    assert_eq!(Duty::of_action(Action::Ingest), Some(Duty::WriteData));
    assert_eq!(Duty::of_action(Action::Diff), None);
    let duties = Duty::of_role(Role::Developer, [Action::Deploy, Action::Query, Action::Diff]);
    assert_eq!(duties, [Duty::Deploy, Duty::ReadData].into());
}

/// No role of people joins what must be apart, and of programs only the developer of the first day, which has no place in
/// production.
#[test]
fn attack_ch35_no_role_is_toxic_by_itself() {
    for identity in Identity::all() {
        let (holder, role) = match identity {
            Identity::Administrator | Identity::Program(Role::Developer) => continue,
            Identity::Person(role) => ("human person:x x", role),
            Identity::Program(role) => ("program person:x", role),
        };
        let mut roster = Roster::default();
        add(&mut roster, holder);
        for duty in Duty::of_role(role, identity.may().iter().copied()) {
            add(&mut roster, &format!("person:x has {}@prod", duty.as_str()));
        }
        assert_eq!(roster.toxic(), [], "{identity}");
    }
    let lead = Duty::of_role(Role::SecurityLead, Identity::Person(Role::SecurityLead).may().iter().copied());
    assert!(lead.contains(&Duty::ApprovePolicy), "the roles do have duties");
}

/// A roster of a few accounts and groups, with any edges between them, circles included.
fn roster() -> impl Strategy<Value = Roster> {
    let node = |n: usize| if n < 3 { format!("person:p{n}") } else { format!("group:g{n}") };
    let places = ["prod", "prod/acme", "prod/globex", "staging"];
    let members = proptest::collection::vec((0_usize..8, 3_usize..8), 0..12);
    let given = proptest::collection::vec((0_usize..8, 0..DUTIES.len(), 0..places.len()), 0..7);
    (members, given, 0_usize..3).prop_map(move |(members, given, programs)| {
        let mut roster = Roster::default();
        for n in 0..3 {
            // The first two accounts may be one human's.
            let line =
                if n < programs { format!("program {}", node(n)) } else { format!("human {} h{}", node(n), n / 2) };
            add(&mut roster, &line);
        }
        for (member, group) in members {
            add(&mut roster, &format!("{} in {}", node(member), node(group)));
        }
        for (who, duty, at) in given {
            add(&mut roster, &format!("{} has {}@{}", node(who), DUTIES[duty].as_str(), places[at]));
        }
        roster
    })
}

/// Slow reference: everything reachable, by going round until nothing is added; then every pair of everything.
fn reference(roster: &Roster) -> BTreeSet<(Holder, Duty, String, Duty, String)> {
    let mut found = BTreeSet::new();
    let holders: BTreeSet<&Holder> = roster.accounts.values().collect();
    for holder in holders {
        let mut reached: BTreeSet<SubjectId> =
            roster.accounts.iter().filter(|(_, h)| *h == holder).map(|(a, _)| a.clone()).collect();
        loop {
            let more: Vec<_> = roster
                .members
                .iter()
                .filter(|(m, g)| reached.contains(m) && !reached.contains(g))
                .map(|(_, g)| g.clone())
                .collect();
            if more.is_empty() {
                break;
            }
            reached.extend(more);
        }
        let held: Vec<_> = roster.given.iter().filter(|(node, ..)| reached.contains(node)).collect();
        for (_, left, a) in &held {
            for (_, right, b) in &held {
                let listed = TOXIC.iter().any(|(l, r, among, _)| {
                    (l, r) == (left, right) && (*among == Among::Everyone || matches!(holder, Holder::Program(_)))
                });
                let together =
                    a == b || (a.environment() == b.environment() && (a.scope().is_none() || b.scope().is_none()));
                if listed && together {
                    let text = |place: &creta_iam::Place| {
                        place.scope().map_or_else(|| place.environment().to_string(), creta_model::Scope::path)
                    };
                    found.insert((holder.clone(), *left, text(a), *right, text(b)));
                }
            }
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_is_found_is_what_the_slow_reference_finds_with_paths_that_are_there(roster in roster()) {
        let toxic = roster.toxic();
        let found: BTreeSet<_> = toxic.iter().map(|t| (t.holder.clone(), t.left.duty, t.left.place.clone(), t.right.duty, t.right.place.clone())).collect();
        prop_assert_eq!(found.len(), toxic.len(), "each once");
        prop_assert_eq!(found, reference(&roster));
        for t in &toxic {
            for path in [&t.left, &t.right] {
                prop_assert_eq!(&roster.accounts[&path.through[0]], &t.holder);
                prop_assert!(path.through.windows(2).all(|step| roster.members.contains(&(step[0].clone(), step[1].clone()))));
                let last = path.through.last().expect("an account at least");
                prop_assert!(roster.given.iter().any(|(node, duty, at)| node == last && *duty == path.duty && crate::testing::place(&path.place) == *at));
            }
        }
        prop_assert!(roster.require_change(&roster).is_ok());
    }
}
