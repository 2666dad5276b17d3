//! Rights held and not used: worked examples, edges, and a slow reference.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use creta_iam::{Action, Role};
use creta_model::{Instant, Span};
use creta_programme::SubjectId;
use creta_programme::analyser::{
    Analysis, Effect, Granted, KeepAlive, Nature, Permission, Subject, Use, WINDOW, analyse,
};
use proptest::prelude::*;

use crate::golden;
use crate::testing::*;

fn permission(text: &str) -> Permission {
    let (action, at) = text.split_once('@').expect("an action and a place");
    Permission { action: Action::parse(action).expect("an action"), place: place(at) }
}

#[derive(Debug, Default)]
struct Case {
    subjects: Vec<Subject>,
    granted: Vec<Granted>,
    uses: Vec<Use>,
}

impl Case {
    fn analyse(&self, now: Instant) -> Analysis {
        let analysis = analyse(&self.subjects, &self.granted, &self.uses, now);
        assert!(analysis.allows_subset_of(&self.granted));
        analysis
    }

    fn subject(&mut self, nature: Nature, name: &str, since: Instant) {
        self.subjects.push(Subject { id: subject(name), nature, since });
    }

    fn grant(&mut self, name: &str, role: Role, since: Instant, rights: &[&str]) {
        let of = |right: &&str| Granted { subject: subject(name), permission: permission(right), role, since };
        self.granted.extend(rights.iter().map(of));
    }

    fn used(&mut self, name: &str, right: &str, at: Instant, effect: Effect) {
        self.uses.push(Use { subject: subject(name), permission: permission(right), at, effect });
    }
}

fn names(permissions: &[Permission]) -> Vec<String> {
    permissions.iter().map(Permission::to_string).collect()
}

fn show(analysis: &Analysis, granted: usize) -> String {
    let mut out = String::new();
    for finding in &analysis.findings {
        writeln!(out, "{}", finding.subject).expect("text");
        for right in names(&finding.unused) {
            writeln!(out, "  unused {right}").expect("text");
        }
        for one in &finding.suspicious {
            let pattern = format!("{:?}", one.pattern).to_lowercase();
            writeln!(out, "  not counted {} {} times: {pattern}", one.permission, one.uses).expect("text");
        }
    }
    for role in &analysis.roles {
        let actions: Vec<&str> = role.unused.iter().map(|action| action.as_str()).collect();
        writeln!(out, "nobody uses of {}: {}", role.role, actions.join(", ")).expect("text");
    }
    for young in &analysis.young {
        writeln!(out, "too young: {young}").expect("text");
    }
    writeln!(out, "proposal: {} of {granted} rights", analysis.proposal.len()).expect("text");
    out
}

fn answer(question: &str) -> String {
    let (mut case, mut now) = (Case::default(), morning());
    for line in question.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["now", when] => now = at(when),
            [nature @ ("human" | "program"), name, "since", when] => {
                let nature = if *nature == "human" { Nature::Human } else { Nature::Program };
                case.subject(nature, name, at(when));
            }
            [name, "is", role, "since", when, rights @ ..] => {
                case.grant(name, Role::parse(role).expect("a role"), at(when), rights);
            }
            [name, "used", right, "at", when, rest @ ..] => {
                let (rest, effect) = match rest {
                    [rest @ .., "without", "effect"] => (rest, Effect::None),
                    _ => (rest, Effect::Some),
                };
                let (every, times) = match rest {
                    [] => (Span::ZERO, 1),
                    ["every", span, times, "times"] => {
                        (Span::parse(span).expect("a span"), times.parse().expect("a number"))
                    }
                    _ => panic!("unknown line `{line}`"),
                };
                let mut when = at(when);
                for _ in 0..times {
                    case.used(name, right, when, effect);
                    when = when.plus(every);
                }
            }
            _ => panic!("unknown line `{line}`"),
        }
    }
    show(&case.analyse(now), case.granted.len())
}

#[test]
fn golden_analyses() {
    golden::run("programme/analyser", answer);
}

const TEN: [&str; 10] = [
    "deploy@prod/acme",
    "check@prod/acme",
    "diff@prod/acme",
    "plan@prod/acme",
    "ingest@prod/acme",
    "query@prod/acme",
    "train@prod/acme",
    "verify@prod/acme",
    "catalogue.read@prod/acme",
    "audit.read@prod/acme",
];

fn long_ago() -> Instant {
    at("2025-01-01T00:00:00Z")
}

/// Ana holds ten rights since long ago, and really used three of them a week ago, minutes apart.
fn ten() -> Case {
    let mut case = Case::default();
    case.subject(Nature::Human, "person:ana", long_ago());
    case.grant("person:ana", Role::Developer, long_ago(), &TEN);
    for (n, right) in [TEN[0], TEN[4], TEN[5]].iter().enumerate() {
        let when = morning().minus(Span::days(7)).plus(Span::seconds(300 * n as u32));
        case.used("person:ana", right, when, Effect::Some);
    }
    case
}

/// CI-23: ten permissions, three used, and a finding with exactly the other seven.
#[test]
fn of_ten_permissions_the_seven_unused_are_found_and_the_three_kept() {
    let (case, now) = (ten(), morning());
    let analysis = case.analyse(now);
    let [finding] = analysis.findings.as_slice() else { panic!("one finding") };
    let unused: BTreeSet<String> = names(&finding.unused).into_iter().collect();
    let used = ["deploy@prod/acme", "ingest@prod/acme", "query@prod/acme"];
    let expected: BTreeSet<String> =
        TEN.iter().filter(|right| !used.contains(right)).map(ToString::to_string).collect();
    assert_eq!((unused, finding.unused.len()), (expected, 7));
    let kept: Vec<String> = analysis.proposal.iter().map(|right| right.permission.to_string()).collect();
    assert_eq!(kept, used);
    // With the proposal applied, nothing is left to find.
    let tightened = Case { granted: analysis.proposal, ..case };
    let again = tightened.analyse(now);
    assert!(again.findings.is_empty() && again.roles.is_empty());
    assert_eq!(again.proposal.len(), 3);
}

#[test]
fn attack_ci23_touching_everything_does_not_keep_it() {
    // With no effect, slowly and unevenly.
    let mut case = ten();
    for (n, right) in TEN.iter().enumerate() {
        for week in 0..3 {
            let when = morning().minus(Span::hours(24 * (10 + 20 * week) + 7 * n as u32 * week));
            case.used("person:ana", right, when, Effect::None);
        }
    }
    let analysis = case.analyse(morning());
    assert_eq!(analysis.findings[0].unused.len(), 7);
    assert_eq!(analysis.findings[0].suspicious.len(), 7, "what is really used is not suspicious");
    assert!(analysis.findings[0].suspicious.iter().all(|one| one.pattern == KeepAlive::NoEffect && one.uses == 3));

    // With an effect, all in a row, by a human or a program.
    for nature in [Nature::Human, Nature::Program] {
        let mut case = ten();
        case.subjects[0].nature = nature;
        for (n, right) in TEN.iter().enumerate() {
            let when = morning().minus(Span::days(1)).plus(Span::seconds(2 * n as u32));
            case.used("person:ana", right, when, Effect::Some);
        }
        let analysis = case.analyse(morning());
        assert_eq!(analysis.findings[0].unused.len(), 7);
        assert!(analysis.findings[0].suspicious.iter().all(|one| one.pattern == KeepAlive::Sweep));
    }

    // With an effect, one at a time, by the clock.
    let mut case = ten();
    for (n, right) in TEN.iter().enumerate() {
        for week in 1..=5 {
            let when = morning().minus(Span::days(7 * week)).plus(Span::seconds(600 * n as u32));
            case.used("person:ana", right, when, Effect::Some);
        }
    }
    let analysis = case.analyse(morning());
    assert_eq!(analysis.findings[0].unused.len(), 7, "the three were really used besides");
    assert!(analysis.findings[0].suspicious.iter().all(|one| one.pattern == KeepAlive::Regular && one.uses == 5));
}

#[test]
fn attack_ci23_the_young_are_not_accused() {
    let (now, begin) = (morning(), morning().minus(WINDOW));
    for (since, judged) in [(begin.minus(tick()), true), (begin, false), (begin.plus(tick()), false)] {
        // The subject is young; its right is as old as it can be.
        let mut case = Case::default();
        case.grant("person:new", Role::Developer, since, &TEN);
        let analysis = case.analyse(now);
        assert_eq!(analysis.findings.len(), usize::from(judged), "{since}");
        assert_eq!(analysis.young.is_empty(), judged);
        assert_eq!(analysis.proposal.len(), if judged { 0 } else { 10 });
        assert_eq!(analysis.roles.is_empty(), !judged, "a role keeps what a young holder may come to use");
        // The right is young; its subject is not.
        case.subject(Nature::Human, "person:new", long_ago());
        let analysis = case.analyse(now);
        assert_eq!(analysis.findings.len(), usize::from(judged), "{since}");
        assert!(analysis.young.is_empty());
    }
    // A subject that is young is not judged by rights that somebody says are old.
    let mut case = Case::default();
    case.subject(Nature::Program, "person:new", begin);
    case.grant("person:new", Role::Developer, long_ago(), &TEN);
    assert!(case.analyse(now).findings.is_empty());
}

#[test]
fn a_use_counts_for_90_days_to_the_microsecond() {
    let (now, begin) = (morning(), morning().minus(WINDOW));
    for (when, counts) in [(begin.minus(tick()), false), (begin, true), (now, true), (now.plus(tick()), false)] {
        let mut case = Case::default();
        case.grant("person:ana", Role::Developer, long_ago(), &["deploy@prod/acme"]);
        case.used("person:ana", "deploy@prod/acme", when, Effect::Some);
        assert_eq!(case.analyse(now).findings.is_empty(), counts, "{when}");
    }
    // The same action elsewhere, another action here, and somebody else's use are other uses.
    for (name, right) in
        [("person:ana", "deploy@prod/globex"), ("person:ana", "diff@prod/acme"), ("person:ben", "deploy@prod/acme")]
    {
        let mut case = Case::default();
        case.grant("person:ana", Role::Developer, long_ago(), &["deploy@prod/acme"]);
        case.used(name, right, now, Effect::Some);
        assert_eq!(case.analyse(now).findings.len(), 1, "{name} {right}");
    }
}

#[test]
fn patterns_have_exact_edges() {
    let day = morning().minus(Span::days(40));
    let unused =
        |case: &Case| case.analyse(morning()).findings.iter().map(|finding| finding.unused.len()).sum::<usize>();
    let sweep = |rights: &[&str], gap: i64| {
        let mut case = Case::default();
        case.grant("person:ana", Role::Developer, long_ago(), rights);
        for (n, right) in rights.iter().enumerate() {
            let after = Span::from_micros(gap * n as i64).expect("positive");
            case.used("person:ana", right, day.plus(after), Effect::Some);
        }
        unused(&case)
    };
    assert_eq!(sweep(&TEN[..4], 0), 0, "four actions are a deployment");
    assert_eq!(sweep(&TEN[..5], 2_000_000), 5);
    assert_eq!(sweep(&TEN[..5], 2_000_001), 0);
    // One action at many places is no sweep: that is what somebody does who looks after many tenants.
    let many = ["query@prod/aa", "query@prod/bb", "query@prod/cc", "query@prod/dd", "query@prod/ee", "query@prod/ff"];
    assert_eq!(sweep(&many, 0), 0);

    let regular = |times: i64, interval: i64, off: i64, nature| {
        let mut case = Case::default();
        case.subject(nature, "person:ana", long_ago());
        case.grant("person:ana", Role::Developer, long_ago(), &TEN[..1]);
        for n in 0..times {
            let after = interval * n + if n == 2 { off } else { 0 };
            case.used("person:ana", TEN[0], day.plus(Span::from_micros(after).expect("positive")), Effect::Some);
        }
        unused(&case)
    };
    let (hour, minute) = (3_600_000_000, 60_000_000);
    assert_eq!(regular(5, hour, 0, Nature::Human), 1);
    assert_eq!(regular(4, hour, 0, Nature::Human), 0, "four times may be chance");
    assert_eq!(regular(5, hour, 0, Nature::Program), 0, "programs are regular by nature");
    assert_eq!(regular(5, hour, hour / 50, Nature::Human), 1);
    assert_eq!(regular(5, hour, hour / 50 + 1, Nature::Human), 0);
    assert_eq!(regular(5, minute, 0, Nature::Human), 1);
    assert_eq!(regular(5, minute - 1, 0, Nature::Human), 0, "people do click fast");
}

/// Slow reference, right by right: what a use looks like is asked anew for each, by looking at all the others.
fn reference(case: &Case, now: Instant) -> BTreeSet<Granted> {
    let begin = now.minus(WINDOW);
    let nature =
        |id: &SubjectId| case.subjects.iter().find(|subject| subject.id == *id).map_or(Nature::Human, |s| s.nature);
    let born = |id: &SubjectId| {
        let told = case.subjects.iter().find(|subject| subject.id == *id).map(|subject| subject.since);
        told.unwrap_or_else(|| {
            case.granted.iter().filter(|g| g.subject == *id).map(|g| g.since).min().expect("granted")
        })
    };
    let mut unused = BTreeSet::new();
    for right in &case.granted {
        let mut own: Vec<&Use> =
            case.uses.iter().filter(|u| u.subject == right.subject && begin <= u.at && u.at <= now).collect();
        own.sort_by_key(|u| u.at);
        let counts = |index: usize| {
            let one = own[index];
            // Walk to both sides while the pauses are short.
            let (mut from, mut to) = (index, index);
            while from > 0 && own[from].at.micros() - own[from - 1].at.micros() <= 2_000_000 {
                from -= 1;
            }
            while to + 1 < own.len() && own[to + 1].at.micros() - own[to].at.micros() <= 2_000_000 {
                to += 1;
            }
            let swept = own[from..=to].iter().map(|u| u.permission.action).collect::<BTreeSet<_>>().len() >= 5;
            let same: Vec<i64> = own.iter().filter(|u| u.permission == one.permission).map(|u| u.at.micros()).collect();
            let regular = nature(&one.subject) == Nature::Human && same.len() >= 5 && {
                let mean = (same[same.len() - 1] - same[0]) / (same.len() as i64 - 1);
                mean >= 60_000_000 && (1..same.len()).all(|n| ((same[n] - same[n - 1]) - mean).abs() * 50 <= mean)
            };
            one.effect == Effect::Some && !swept && !regular
        };
        let used = (0..own.len()).any(|index| own[index].permission == right.permission && counts(index));
        if !used && right.since < begin && born(&right.subject) < begin {
            unused.insert(right.clone());
        }
    }
    unused
}

const WHO: [&str; 3] = ["person:ana", "person:ben", "service-account:prod/acme/etl"];

fn case() -> impl Strategy<Value = Case> {
    let days = prop_oneof![Just(0_i64), Just(89), Just(90), Just(91), 0_i64..200];
    let born = proptest::collection::vec((any::<bool>(), any::<bool>(), days.clone()), 3);
    let granted = proptest::collection::vec((0_usize..3, 0_usize..10, any::<bool>(), days.clone(), -1_i64..2), 1..12);
    // Bursts: who, from which right on, how many rights, days back, gap, repeats, interval, effect.
    let gaps = proptest::sample::select(vec![0_i64, 1_999_999, 2_000_000, 2_000_001, 5_000_000]);
    let intervals = proptest::sample::select(vec![60_000_000_i64, 3_600_000_000, 3_600_000_001]);
    let bursts = proptest::collection::vec(
        (0_usize..3, 0_usize..10, 1_usize..7, days, gaps, 1_i64..7, intervals, proptest::bool::weighted(0.8)),
        0..6,
    );
    (born, granted, bursts).prop_map(|(born, granted, bursts)| {
        let back = |days: i64, off: i64| {
            Instant::from_micros(morning().micros() - days * 86_400_000_000 + off).expect("in range")
        };
        let mut case = Case::default();
        for (n, (told, program, days)) in born.into_iter().enumerate() {
            if told {
                case.subject(if program { Nature::Program } else { Nature::Human }, WHO[n], back(days, 0));
            }
        }
        for (who, right, reader, days, off) in granted {
            let role = if reader { Role::Reader } else { Role::Developer };
            case.grant(WHO[who], role, back(days, off), &[TEN[right]]);
        }
        for (who, right, rights, days, gap, repeats, interval, effect) in bursts {
            for repeat in 0..repeats {
                for n in 0..rights {
                    let when = back(days, interval * repeat + gap * n as i64);
                    let effect = if effect { Effect::Some } else { Effect::None };
                    case.used(WHO[who], TEN[(right + n) % 10], when, effect);
                }
            }
        }
        case
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_is_unused_is_what_the_slow_reference_says(case in case(), shuffle in any::<u64>()) {
        let now = morning();
        let analysis = case.analyse(now);
        let unused = reference(&case, now);
        // The proposal is what was given without the unused, in its order, and nothing else.
        let kept: Vec<Granted> = case.granted.iter().filter(|right| !unused.contains(right)).cloned().collect();
        prop_assert_eq!(&analysis.proposal, &kept);
        let mut found = BTreeMap::<SubjectId, BTreeSet<Permission>>::new();
        for right in &unused {
            found.entry(right.subject.clone()).or_default().insert(right.permission.clone());
        }
        let told = analysis.findings.iter().filter(|finding| !finding.unused.is_empty());
        let told: BTreeMap<_, BTreeSet<_>> = told.map(|f| (f.subject.clone(), f.unused.iter().cloned().collect())).collect();
        prop_assert_eq!(told, found);
        // A role loses an action when all its holders do.
        let roles: BTreeSet<(Role, Action)> = analysis.roles.iter().flat_map(|f| f.unused.iter().map(move |a| (f.role, *a))).collect();
        let all: BTreeSet<(Role, Action)> = case.granted.iter().map(|g| (g.role, g.permission.action)).collect();
        let kept: BTreeSet<(Role, Action)> = kept.iter().map(|g| (g.role, g.permission.action)).collect();
        prop_assert_eq!(roles, all.difference(&kept).copied().collect());
        // The order of the log does not matter.
        let mut uses = case.uses.clone();
        let len = uses.len().max(1);
        uses.rotate_left(shuffle as usize % len);
        uses.reverse();
        prop_assert_eq!(analyse(&case.subjects, &case.granted, &uses, now), analysis);
    }
}
