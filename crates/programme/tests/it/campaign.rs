//! Reviews of access: worked examples, and everything that must not get through one.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use creta_model::{Instant, Span};
use creta_programme::campaign::{
    Campaign, CampaignError, Closing, DECISION_BURST, DECISION_PACE, Flag, Identity, Pending, Population, Probe,
    ReviewResult, SNAPSHOT_LASTS, Tried, UNANSWERED_AFTER, Verdict,
};
use creta_programme::{PersonId, SubjectId};
use creta_proof::Hash;
use proptest::prelude::*;

use crate::golden;
use crate::testing::*;

const WHY: &str = "Builds the risk features every week";

/// `person:ana`, the humans it is or serves, who gave it rights, and which: names with commas between them, `-` for none.
fn identity(name: &str, people: &str, givers: &str, rights: &str) -> Identity {
    let list =
        |text: &str| text.split(',').filter(|name| !matches!(*name, "-" | "")).map(str::to_owned).collect::<Vec<_>>();
    let humans = |text: &str| list(text).iter().map(|name| human(name)).collect();
    Identity {
        subject: subject(name),
        people: humans(people),
        granted_by: humans(givers),
        rights: list(rights).iter().map(|right| subject(right)).collect(),
    }
}

fn probe(tried: Tried, at: Instant) -> Probe {
    Probe { tried, at, raw: Hash::of(&[b"asked and answered"]) }
}

/// What is there, the campaign over it, and what time it is.
struct World {
    identities: BTreeMap<SubjectId, Identity>,
    campaign: Option<Campaign>,
    now: Instant,
}

impl World {
    fn new() -> Self {
        Self { identities: BTreeMap::new(), campaign: None, now: morning() }
    }

    fn of(identities: impl IntoIterator<Item = Identity>) -> Self {
        let identities = identities.into_iter().map(|identity| (identity.subject.clone(), identity)).collect();
        let mut world = Self { identities, ..Self::new() };
        world.open().expect("usable");
        world
    }

    fn population(&self) -> Population {
        Population::new(self.now, self.identities.values().cloned().collect())
    }

    fn put(&mut self, identity: Identity) {
        self.identities.insert(identity.subject.clone(), identity);
    }

    fn wait(&mut self, span: Span) {
        self.now = self.now.plus(span);
    }

    fn campaign(&self) -> &Campaign {
        self.campaign.as_ref().expect("open")
    }

    fn open(&mut self) -> Result<(), CampaignError> {
        let change = Campaign::open(record(1), "access-review@2026-03-01T08:00:00Z", &self.population(), self.now)?;
        require_loggable(&change.entry);
        self.campaign = Some(change.document);
        Ok(())
    }

    fn decide(&mut self, name: &str, by: &str, verdict: Verdict, reason: &str) -> Result<(), CampaignError> {
        let subject = subject(name);
        let seen = self.campaign().line(&subject)?.digest();
        let change = self.campaign().decide((&subject, seen), &person(by), verdict, reason, self.now)?;
        require_loggable(&change.entry);
        self.campaign = Some(change.document);
        Ok(())
    }

    /// Decides after looking for a while.
    fn keep(&mut self, name: &str, by: &str) -> Result<(), CampaignError> {
        self.wait(Span::seconds(30));
        self.decide(name, by, Verdict::Keep, WHY)
    }

    fn revoke(&mut self, name: &str, by: &str) -> Result<(), CampaignError> {
        self.wait(Span::seconds(30));
        self.decide(name, by, Verdict::Revoke, "Moved to payments and builds nothing here")
    }

    fn try_rights(&mut self, name: &str, tried: Tried) -> Result<(), CampaignError> {
        let change = self.campaign().probed(&subject(name), probe(tried, self.now), self.now)?;
        require_loggable(&change.entry);
        self.campaign = Some(change.document);
        Ok(())
    }

    fn close(&mut self) -> Result<Result<ReviewResult, Vec<(SubjectId, Pending)>>, CampaignError> {
        let (change, result) = match self.campaign().close(&self.population(), self.now)? {
            Closing::Closed(change, result) => (change, Ok(*result)),
            Closing::NotYet(change, undone) => (change, Err(undone)),
        };
        require_loggable(&change.entry);
        self.campaign = Some(change.document);
        Ok(result)
    }

    fn flags(&self, name: &str) -> Vec<Flag> {
        self.campaign().line(&subject(name)).expect("there").flags.iter().copied().collect()
    }
}

fn answer(question: &str) -> String {
    let mut world = World::new();
    let mut out = String::new();
    for line in question.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let told = match words.as_slice() {
            ["there", "is", name, people, givers, rights] => {
                world.put(identity(name, people, givers, rights));
                continue;
            }
            ["gone", name] => {
                world.identities.remove(&subject(name)).expect("was there");
                continue;
            }
            ["wait", span] => {
                world.wait(Span::parse(span).expect("a span"));
                continue;
            }
            ["open"] => world.open().map(|()| String::new()),
            [verdict @ ("keep" | "revoke"), name, "by", by, ..] => {
                let verdict = if *verdict == "keep" { Verdict::Keep } else { Verdict::Revoke };
                let reason =
                    line.split_once('"').and_then(|(_, rest)| rest.strip_suffix('"')).expect("a reason in quotes");
                world.decide(name, by, verdict, reason).map(|()| String::new())
            }
            ["try", name] => {
                let has_rights =
                    world.identities.get(&subject(name)).is_some_and(|identity| !identity.rights.is_empty());
                let tried = if has_rights { Tried::Allowed } else { Tried::Refused };
                world.try_rights(name, tried).map(|()| format!("{tried:?}").to_lowercase())
            }
            ["unanswered"] => Ok(match world.campaign().revoke_unanswered(world.now) {
                None => "nothing".to_owned(),
                Some((change, subjects)) => {
                    require_loggable(&change.entry);
                    world.campaign = Some(change.document);
                    format!("revoked {}", subjects.iter().map(SubjectId::as_str).collect::<Vec<_>>().join(", "))
                }
            }),
            ["ask", reviewers] => {
                let reviewers: Vec<_> = reviewers.split(',').map(person).collect();
                let found = world.campaign().escalations(&reviewers);
                let nobody = if found.is_empty() { "one of them may decide on each" } else { "" };
                Ok(found.iter().fold(nobody.to_owned(), |mut text, escalation| {
                    for (who, why) in &escalation.conflicts {
                        write!(text, "\n  {} not by {who}: {why}", escalation.subject).expect("text");
                    }
                    text
                }))
            }
            ["close"] => world.close().map(|closing| match closing {
                Ok(result) => format!(
                    "closed: {} kept, {} revoked, {} of them unanswered",
                    result.kept, result.revoked, result.unanswered
                ),
                Err(undone) => undone.iter().fold("not yet".to_owned(), |mut text, (subject, pending)| {
                    write!(text, "\n  {subject} lacks a {}", format!("{pending:?}").to_lowercase()).expect("text");
                    text
                }),
            }),
            _ => panic!("unknown line `{line}`"),
        };
        let step = line.split(" \"").next().expect("a first part").trim();
        match told {
            Ok(told) => writeln!(out, "{step}: {}", if told.is_empty() { "ok" } else { told.trim_end() }),
            Err(error) => writeln!(out, "{step}: {error}"),
        }
        .expect("text");
    }
    for line in &world.campaign().lines {
        if !line.flags.is_empty() {
            let flags: Vec<String> = line.flags.iter().map(|flag| format!("{flag:?}").to_lowercase()).collect();
            writeln!(out, "flagged {}: {}", line.identity.subject, flags.join(", ")).expect("text");
        }
    }
    out
}

#[test]
fn golden_reviews() {
    golden::run("programme/reviews", answer);
}

/// CI-24: fifty identities need fifty decisions, and each revocation a refused trial.
#[test]
fn a_review_of_fifty_closes_with_fifty_decisions_and_tried_revocations() {
    let name = |n: usize| format!("person:p{n:02}");
    let all = (0..50).map(|n| identity(&name(n), &format!("p{n:02}"), "carl", "developer@prod/acme"));
    let mut world = World::of(all);
    for n in 0..50 {
        let undone = world.close().expect("usable").expect_err("undone");
        let decisions = undone.iter().filter(|(_, pending)| *pending == Pending::Decision).count();
        assert_eq!(decisions, 50 - n);
        if n % 10 == 3 { world.revoke(&name(n), "rita") } else { world.keep(&name(n), "rita") }.expect("allowed");
    }
    for n in [3, 13, 23, 33, 43] {
        assert!(world.close().expect("usable").is_err(), "a revocation is not tried");
        world.identities.remove(&subject(&name(n)));
        world.wait(Span::seconds(60));
        world.try_rights(&name(n), Tried::Refused).expect("revoked");
    }
    let before = world.campaign().population;
    let result = world.close().expect("usable").expect("closed");
    assert_eq!((result.kept, result.revoked, result.unanswered, result.lines.len()), (45, 5, 0, 50));
    assert_eq!((result.population_before, result.population_after), (before, world.population().digest()));
    assert_eq!(ReviewResult::parse(&result.to_bytes()).expect("own form"), result);
    assert_eq!(Campaign::parse(&world.campaign().to_bytes()).expect("own form"), *world.campaign());
    assert_eq!(world.keep(&name(1), "rita"), Err(CampaignError::Closed));
    assert_eq!(world.try_rights(&name(3), Tried::Refused), Err(CampaignError::Closed));
    assert!(world.close().is_err() && world.campaign().revoke_unanswered(world.now.plus(Span::days(99))).is_none());
}

#[test]
fn attack_ci24_nobody_reviews_what_is_theirs() {
    let mut world = World::of([
        identity("person:ana", "ana", "ben", "developer@prod/acme"),
        identity("service-account:prod/acme/etl", "ana,dora", "ben", "ingester@prod/acme"),
    ]);
    for name in ["person:ana", "service-account:prod/acme/etl"] {
        // The subject, who uses it, who approved it: by their own account or another.
        for by in ["ana", "ana-admin=ana", "ben", "ben-2=ben"] {
            for verdict in [Verdict::Keep, Verdict::Revoke] {
                world.wait(Span::seconds(30));
                let refused = world.decide(name, by, verdict, WHY).expect_err(by);
                assert_eq!((refused.code(), refused.commitment()), ("review/conflict", "CI-24"));
            }
        }
    }
    assert_eq!(
        world.keep("service-account:prod/acme/etl", "dora").expect_err("dora owns it").code(),
        "review/conflict"
    );
    world.keep("person:ana", "dora").expect("no part in it");
    world.keep("service-account:prod/acme/etl", "rita").expect("no part in it");
}

#[test]
fn attack_ci24_whoever_is_taken_out_of_sight_is_still_decided_on() {
    let mut world = World::of([
        identity("person:ana", "ana", "-", "developer@prod/acme"),
        identity("person:mallory", "mallory", "-", "security-lead@prod"),
    ]);
    world.keep("person:ana", "rita").expect("allowed");
    world.identities.remove(&subject("person:mallory"));
    let undone = world.close().expect("usable").expect_err("undone");
    assert_eq!(undone, [(subject("person:mallory"), Pending::Decision)]);
    assert_eq!(world.flags("person:mallory"), [Flag::Vanished]);
    world.revoke("person:mallory", "rita").expect("still there");
    assert_eq!(world.close().expect("usable").expect_err("untried"), [(subject("person:mallory"), Pending::Probe)]);
    world.try_rights("person:mallory", Tried::Refused).expect("revoked");
    assert!(world.close().expect("usable").is_ok());
}

#[test]
fn attack_ci24_what_was_added_after_the_snapshot_is_decided_on() {
    let mut world = World::of([identity("person:ana", "ana", "-", "developer@prod/acme")]);
    world.keep("person:ana", "rita").expect("allowed");
    // Somebody new, and a new right for somebody who was kept.
    world.put(identity("person:mallory", "mallory", "-", "security-lead@prod"));
    world.put(identity("person:ana", "ana", "-", "developer@prod/acme,operator@prod"));
    assert_eq!(world.close().expect("usable").expect_err("undone").len(), 2);
    assert_eq!(world.flags("person:mallory"), [Flag::Added]);
    assert_eq!(world.flags("person:ana"), [Flag::Changed]);
    assert_eq!(world.campaign().line(&subject("person:ana")).expect("there").identity.rights.len(), 2);
    for name in ["person:ana", "person:mallory"] {
        world.keep(name, "rita").expect("allowed");
    }
    let result = world.close().expect("usable").expect("closed");
    assert_eq!(
        result.lines.iter().map(|line| line.flags.len()).collect::<Vec<_>>(),
        [1, 1],
        "flags stay for the reader"
    );
}

#[test]
fn attack_ci24_a_reviewer_does_not_decide_first_and_get_a_part_later() {
    let mut world = World::of([identity("person:ana", "ana", "-", "developer@prod/acme")]);
    world.keep("person:ana", "rita").expect("allowed");
    world.put(identity("person:ana", "ana", "rita", "developer@prod/acme"));
    assert_eq!(world.close().expect("usable").expect_err("undone").len(), 1);
    assert_eq!(world.keep("person:ana", "rita").expect_err("she gave it").code(), "review/conflict");
    // Nor what they come to own.
    world.keep("person:ana", "sam").expect("no part in it");
    world.put(identity("person:ana", "ana,sam", "rita", "developer@prod/acme"));
    assert_eq!(world.close().expect("usable").expect_err("undone").len(), 1);
    assert_eq!(world.keep("person:ana", "sam").expect_err("his too").code(), "review/conflict");
}

#[test]
fn attack_ci24_nobody_decides_on_rights_that_they_were_not_shown() {
    let mut world = World::of([identity("person:ana", "ana", "-", "developer@prod/acme")]);
    let subject = subject("person:ana");
    let seen = world.campaign().line(&subject).expect("there").digest();
    world.put(identity("person:ana", "ana", "-", "developer@prod/acme,security-lead@prod"));
    assert!(world.close().expect("usable").is_err());
    let decide = |seen| world.campaign().decide((&subject, seen), &person("rita"), Verdict::Keep, WHY, world.now);
    assert_eq!(decide(seen).expect_err("changed").code(), "review/changed");
    assert!(decide(world.campaign().line(&subject).expect("there").digest()).is_ok());
}

#[test]
fn fewer_rights_than_were_kept_are_fine() {
    let mut world = World::of([identity("person:ana", "ana", "ben", "developer@prod/acme,operator@prod")]);
    world.keep("person:ana", "rita").expect("allowed");
    world.put(identity("person:ana", "ana", "-", "operator@prod"));
    assert!(world.close().expect("usable").is_ok());
    assert!(world.flags("person:ana").is_empty());
}

#[test]
fn attack_ci24_a_revocation_that_took_no_effect_keeps_the_review_open() {
    let mut world = World::of([
        identity("person:ana", "ana", "-", "developer@prod/acme"),
        identity("person:ben", "ben", "-", "developer@prod/acme"),
    ]);
    world.keep("person:ben", "rita").expect("allowed");
    let early = world.try_rights("person:ana", Tried::Refused).expect_err("nothing was revoked");
    assert_eq!(early.code(), "review/probe");
    assert!(world.try_rights("person:ben", Tried::Refused).is_err(), "nor here");
    world.revoke("person:ana", "rita").expect("allowed");
    let (subject, revoked_at) = (subject("person:ana"), world.now);
    // A trial from before, or from later than now, shows nothing.
    for wrong in [revoked_at.minus(tick()), revoked_at.plus(tick())] {
        assert!(world.campaign().probed(&subject, probe(Tried::Refused, wrong), revoked_at).is_err());
    }
    world.try_rights("person:ana", Tried::Allowed).expect("revoked");
    assert_eq!(world.close().expect("usable").expect_err("it was allowed"), [(subject.clone(), Pending::Probe)]);
    assert_eq!(world.flags("person:ana"), [Flag::StillThere]);
    // A refused trial of something else does not help while the rights are there.
    world.try_rights("person:ana", Tried::Refused).expect("revoked");
    world.wait(Span::seconds(60));
    assert_eq!(world.close().expect("usable").expect_err("rights are there"), [(subject.clone(), Pending::Probe)]);
    world.put(identity("person:ana", "ana", "-", "-"));
    world.try_rights("person:ana", Tried::Refused).expect("revoked");
    assert!(world.close().expect("usable").is_ok());
}

#[test]
fn attack_ci24_what_is_kept_may_be_revoked_and_not_the_other_way_round() {
    let mut world = World::of([identity("person:ana", "ana", "-", "developer@prod/acme")]);
    world.keep("person:ana", "rita").expect("allowed");
    assert_eq!(world.keep("person:ana", "sam").expect_err("decided").code(), "review/decided");
    world.revoke("person:ana", "sam").expect("tightens");
    world.try_rights("person:ana", Tried::Refused).expect("revoked");
    for verdict in [Verdict::Keep, Verdict::Revoke] {
        world.wait(Span::seconds(30));
        assert_eq!(world.decide("person:ana", "rita", verdict, WHY).expect_err("decided").code(), "review/decided");
    }
}

#[test]
fn attack_ci24_bulk_approval_is_flagged_and_then_refused() {
    let name = |n: i64| format!("person:p{n}");
    let mut world = World::of((0..10).map(|n| identity(&name(n), &format!("p{n}"), "-", "developer@prod/acme")));
    for n in 0..=DECISION_BURST {
        // Another account is the same person.
        let by = if n % 2 == 0 { "rita" } else { "rita-2=rita" };
        world.decide(&name(n), by, Verdict::Keep, WHY).expect("within the burst");
        assert_eq!(world.flags(&name(n)) == [Flag::Hasty], n > 0, "{n}");
    }
    assert_eq!(world.decide(&name(5), "rita", Verdict::Keep, WHY), Err(CampaignError::TooFast));
    world.wait(Span::from_micros(DECISION_PACE.micros() - 1).expect("positive"));
    assert_eq!(world.decide(&name(5), "rita-2=rita", Verdict::Keep, WHY), Err(CampaignError::TooFast));
    world.decide(&name(6), "sam", Verdict::Keep, WHY).expect("somebody else");
    world.wait(tick());
    world.decide(&name(5), "rita", Verdict::Keep, WHY).expect("two seconds later");
    assert!(world.flags(&name(5)).is_empty(), "two seconds are enough");
    assert_eq!(world.decide(&name(7), "rita", Verdict::Keep, WHY), Err(CampaignError::TooFast));
}

#[test]
fn attack_ci24_waiting_does_not_save_up_for_a_longer_burst() {
    let name = |n: i64| format!("person:p{n}");
    let mut world = World::of((0..10).map(|n| identity(&name(n), &format!("p{n}"), "-", "developer@prod/acme")));
    world.keep(&name(0), "rita").expect("allowed");
    world.wait(Span::days(1));
    for n in 1..=DECISION_BURST + 1 {
        world.decide(&name(n), "rita", Verdict::Keep, WHY).expect("within the burst");
    }
    assert_eq!(world.decide(&name(9), "rita", Verdict::Keep, WHY), Err(CampaignError::TooFast));
}

#[test]
fn a_population_from_before_the_trial_says_nothing_against_it() {
    let mut world = World::of([identity("person:ana", "ana", "-", "developer@prod/acme")]);
    world.revoke("person:ana", "rita").expect("allowed");
    let before = world.population();
    world.wait(Span::seconds(60));
    world.try_rights("person:ana", Tried::Refused).expect("revoked");
    let closing = world.campaign().close(&before, world.now).expect("usable");
    assert!(matches!(closing, Closing::Closed(..)), "the rights were still there when it was computed");
}

#[test]
fn what_changed_has_14_days_of_its_own() {
    let mut world = World::of([identity("person:ana", "ana", "-", "developer@prod/acme")]);
    let opened = world.now;
    world.wait(Span::days(1));
    world.put(identity("person:ana", "ana", "-", "operator@prod"));
    assert!(world.close().expect("usable").is_err());
    assert_eq!(world.campaign().revoke_unanswered(opened.plus(UNANSWERED_AFTER)), None);
    assert!(world.campaign().revoke_unanswered(world.now.plus(UNANSWERED_AFTER)).is_some());
}

#[test]
fn what_nobody_decided_on_is_revoked_after_14_days_to_the_microsecond() {
    let mut world = World::of([
        identity("person:ana", "ana", "-", "developer@prod/acme"),
        identity("person:ben", "ben", "-", "developer@prod/acme"),
    ]);
    let opened = world.now;
    world.keep("person:ben", "rita").expect("allowed");
    world.wait(Span::days(1));
    world.put(identity("person:new", "new", "-", "developer@prod/acme"));
    assert!(world.close().expect("usable").is_err());
    let end = opened.plus(UNANSWERED_AFTER);
    assert_eq!(world.campaign().revoke_unanswered(end.minus(tick())), None);
    let (change, revoked) = world.campaign().revoke_unanswered(end).expect("over");
    assert_eq!(revoked, [subject("person:ana")], "whoever came later has 14 days of their own");
    let line = change.document.line(&subject("person:ana")).expect("there").clone();
    assert_eq!(line.decision.as_ref().map(|d| (d.verdict, d.by.clone())), Some((Verdict::Revoke, None)));
    assert_eq!(line.pending(), Some(Pending::Probe));
    assert_eq!(change.document.revoke_unanswered(end), None, "once");
}

#[test]
fn attack_ci24_a_stale_shrunk_or_foreign_population_is_not_taken() {
    let ana = || identity("person:ana", "ana", "-", "developer@prod/acme");
    let now = morning();
    let open = |population: &Population, now| Campaign::open(record(1), "access-review@x", population, now).map(drop);
    let of = |at, identities| Population { snapshot_at: at, identities };
    assert!(open(&of(now, vec![ana()]), now).is_ok());
    assert!(open(&of(now, vec![ana()]), now.plus(SNAPSHOT_LASTS)).is_ok());
    for (what, population, later) in [
        ("old", of(now, vec![ana()]), now.plus(SNAPSHOT_LASTS).plus(tick())),
        ("from the future", of(now.plus(tick()), vec![ana()]), now),
        ("empty", of(now, vec![]), now),
        ("twice", of(now, vec![ana(), ana()]), now),
        ("out of order", of(now, vec![identity("person:ben", "ben", "-", "-"), ana()]), now),
    ] {
        assert_eq!(open(&population, later).expect_err(what).code(), "review/population", "{what}");
    }
    // Yesterday's population does not close today's review, even when it would be fresh.
    let world = World::of([ana()]);
    let older = of(world.now.minus(tick()), vec![ana()]);
    assert_eq!(world.campaign().close(&older, world.now).map(drop).expect_err("older").code(), "review/population");
    // The digest covers the instant and every member.
    let digest = of(now, vec![ana()]).digest();
    assert_ne!(of(now.plus(tick()), vec![ana()]).digest(), digest);
    assert_ne!(of(now, vec![identity("person:ana", "ana", "ben", "developer@prod/acme")]).digest(), digest);
    assert_ne!(of(now, vec![identity("person:ana", "ana", "-", "operator@prod")]).digest(), digest);
}

#[test]
fn attack_ci24_a_campaign_edited_where_it_is_stored_is_not_read() {
    let mut world = World::of([identity("person:ana", "ana", "ben", "developer@prod/acme")]);
    world.keep("person:ana", "rita").expect("allowed");
    let campaign = world.campaign().clone();
    let edits: [Edit<Campaign>; 5] = [
        ("own decision", |c| c.lines[0].decision.as_mut().expect("decided").by = Some(person("ana-2=ana"))),
        ("decided by the giver", |c| c.lines[0].decision.as_mut().expect("decided").by = Some(person("ben"))),
        ("nobody in it", |c| c.lines.clear()),
        ("a line twice", |c| c.lines.push(c.lines[0].clone())),
        ("closed undone", |c| (c.lines[0].decision, c.closed) = (None, Some(c.opened))),
    ];
    for (what, edit) in edits {
        let mut edited = campaign.clone();
        edit(&mut edited);
        assert!(Campaign::parse(&edited.to_bytes()).is_err(), "{what}");
    }
    let result = world.close().expect("usable").expect("closed");
    let edits: [Edit<ReviewResult>; 3] = [
        ("another sum", |r| r.kept = 2),
        ("an untried revocation", |r| (r.lines[0].verdict, r.kept, r.revoked) = (Verdict::Revoke, 0, 1)),
        ("hidden silence", |r| r.lines[0].by = None),
    ];
    for (what, edit) in edits {
        let mut edited = result.clone();
        edit(&mut edited);
        assert!(ReviewResult::parse(&edited.to_bytes()).is_err(), "{what}");
    }
}

#[derive(Debug, Clone)]
enum Step {
    Put { who: usize, rights: u8, giver: usize },
    Gone { who: usize },
    Decide { who: usize, by: usize, verdict: Verdict },
    Try { who: usize },
    Unanswered,
    Close,
    Wait { micros: i64 },
}

const NAMES: [&str; 4] = ["ana", "ben", "carl", "dora"];
const RIGHTS: [&str; 3] = ["developer@prod/acme", "operator@prod", "auditor@prod"];

fn step() -> impl Strategy<Value = Step> {
    let who = 0..NAMES.len();
    let verdict = prop_oneof![3 => Just(Verdict::Keep), 1 => Just(Verdict::Revoke)];
    let edges = [1, 1_999_999, 2_000_000, 60_000_000, 1_209_599_999_999, 1_209_600_000_000];
    prop_oneof![
        2 => (who.clone(), 0_u8..8, who.clone()).prop_map(|(who, rights, giver)| Step::Put { who, rights, giver }),
        1 => who.clone().prop_map(|who| Step::Gone { who }),
        6 => (who.clone(), who.clone(), verdict).prop_map(|(who, by, verdict)| Step::Decide { who, by, verdict }),
        3 => who.prop_map(|who| Step::Try { who }),
        1 => Just(Step::Unanswered),
        2 => Just(Step::Close),
        3 => proptest::sample::select(edges.to_vec()).prop_map(|micros| Step::Wait { micros }),
    ]
}

fn some_identity(who: usize, rights: u8, giver: usize) -> Identity {
    let rights: Vec<&str> = (0..3).filter(|bit| rights & (1 << bit) != 0).map(|bit| RIGHTS[bit]).collect();
    identity(&format!("person:{}", NAMES[who]), NAMES[who], NAMES[giver], &rights.join(","))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever happens meanwhile, a closed review has a decision of somebody without a part on everybody and everything
    /// that is there, and nobody whose rights were revoked still has any.
    #[test]
    fn a_closed_review_left_nobody_out(steps in proptest::collection::vec(step(), 1..80)) {
        let mut world = World::of((0..3).map(|who| some_identity(who, 1, 3)));
        let mut accepted = Vec::<(PersonId, Instant)>::new();
        for step in steps {
            let name = |who: usize| format!("person:{}", NAMES[who]);
            match step {
                Step::Put { who, rights, giver } => world.put(some_identity(who, rights, giver)),
                Step::Gone { who } if world.identities.len() > 1 => drop(world.identities.remove(&subject(&name(who)))),
                Step::Gone { .. } => {}
                Step::Decide { who, by, verdict } => {
                    if world.decide(&name(who), NAMES[by], verdict, WHY).is_ok() {
                        accepted.push((human(NAMES[by]), world.now));
                    }
                }
                Step::Try { who } => {
                    let rights = world.identities.get(&subject(&name(who))).is_some_and(|identity| !identity.rights.is_empty());
                    let _ = world.try_rights(&name(who), if rights { Tried::Allowed } else { Tried::Refused });
                }
                Step::Unanswered => {
                    if let Some((change, _)) = world.campaign().revoke_unanswered(world.now) {
                        world.campaign = Some(change.document);
                    }
                }
                Step::Wait { micros } => world.wait(Span::from_micros(micros).expect("positive")),
                Step::Close => {
                    let Ok(Ok(result)) = world.close() else { continue };
                    for identity in world.identities.values() {
                        let line = world.campaign().line(&identity.subject).expect("nobody is left out");
                        let decision = line.decision.as_ref().expect("decided");
                        match decision.verdict {
                            Verdict::Keep => prop_assert!(identity.rights.is_subset(&line.identity.rights)),
                            Verdict::Revoke => prop_assert!(identity.rights.is_empty() || line.probe.as_ref().expect("tried").at > world.population().snapshot_at),
                        }
                        if let Some(by) = &decision.by {
                            prop_assert!(!identity.people.contains(&by.person) && !identity.granted_by.contains(&by.person));
                        }
                    }
                    prop_assert_eq!(result.kept + result.revoked, world.campaign().lines.len());
                    prop_assert_eq!(ReviewResult::parse(&result.to_bytes()).expect("own form"), result);
                    break;
                }
            }
            prop_assert_eq!(&Campaign::parse(&world.campaign().to_bytes()).expect("own form"), world.campaign());
        }
        // Slow reference of the pace: between any two decisions of one person there are no more than the burst and what
        // the time between them allows.
        for (i, (who, from)) in accepted.iter().enumerate() {
            let mut count = 0;
            for (_, to) in accepted[i..].iter().filter(|(other, _)| other == who) {
                count += 1;
                let time = to.micros() - from.micros();
                prop_assert!((count - 1 - DECISION_BURST) * DECISION_PACE.micros() <= time, "{count} in {time} us");
            }
        }
    }
}
