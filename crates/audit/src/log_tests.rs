use std::collections::BTreeSet;
use std::thread;

use creta_iam::{Action, FeatureSet, Purpose, Resource, Role, decide};
use creta_model::Span;
use creta_platform::{Fault, FaultyFiles};
use proptest::prelude::*;

use super::*;
use crate::testing::{CHECKPOINT, ENTRIES, POLICIES, World, account, ask, deploy, prod, scope};
use crate::{Outcome, READ_GROUPS_MAX, verify};

fn all_entries(log: &Log) -> Vec<Entry> {
    log.entries(0..log.size()).expect("within")
}

#[test]
fn a_permit_carries_what_was_decided_and_where_it_is_recorded() {
    let world = World::new();
    let log = world.open().expect("opens");
    let features = FeatureSet::new([("User.email", vec!["pii"]), ("User.age", vec![])]);
    let purpose = Purpose::parse("fraud model").expect("valid");
    let resource = Resource::features(scope("acme"), features).for_purpose(purpose.clone());
    let decision = decide(&POLICIES, &account("etl", "acme", Role::Developer), Action::Train, &resource);
    let permit = log.admit(decision, Details::none()).expect("allowed");

    assert_eq!((permit.action(), permit.scope(), permit.entry()), (Action::Train, Some(&scope("acme")), Some(0)));
    assert_eq!((permit.principal().id().as_str(), permit.purpose()), ("etl", Some(&purpose)));
    assert!(permit.covers(Action::Train, &scope("acme"), ["User.age", "User.email"]));
    let refused = |action, tenant, feature| {
        permit.require(action, &scope(tenant), [feature]).expect_err("not covered").to_string()
    };
    let message = refused(Action::Train, "acme", "User.name");
    assert!(message.contains("does not cover this: feature `User.name`"), "{message}");
    assert!(refused(Action::Query, "acme", "User.age").contains("action `query`"));
    assert!(refused(Action::Train, "globex", "User.age").contains("scope `prod/globex`"));

    let text = String::from_utf8(log.entry_bytes(0).expect("there")).expect("text");
    assert_eq!(
        text,
        r#"{"action":"train","actor":{"id":"etl","kind":"service-account","role":"developer","#.to_owned()
            + r#""scope":{"environment":"prod","tenant":"acme"}},"decision":"allow","environment":"prod","#
            + r#""features":{"count":2,"#
            // Computed apart: printf '{"User.age":[],"User.email":["pii"]}' | sha256sum
            + r#""digest":"fbe390be3a85acec10621856697ceb25bbcc91338259d1fb3cb8af8b151a4bea","names":["User.age","User.email"]},"#
            + r#""policies":["developer-in-own-scope"],"purpose":"fraud model","reason":"permitted","tenant":"acme","#
            + r#""time":"2026-03-01T12:00:00Z","version":"creta.audit/1"}"#
    );
}

#[test]
fn a_denied_change_is_recorded_and_has_no_permit() {
    let world = World::new();
    let log = world.open().expect("opens");
    let globex = Resource::scope(scope("globex"));
    let decision = decide(&POLICIES, &account("etl", "acme", Role::Developer), Action::Deploy, &globex);
    let error = log.admit(decision, Details::none()).expect_err("denied");
    assert_eq!(
        error.to_string(),
        "developer `etl` of `prod/acme` may not `deploy` on scope `prod/globex`; \
         ask an administrator of the environment for a role that may"
    );
    let [entry] = &all_entries(&log)[..] else { panic!("one entry") };
    assert_eq!((entry.decision, entry.reason.as_deref()), (Some(Outcome::Deny), Some("other-tenant")));
    assert_eq!((entry.commitment.as_deref(), entry.scope()), (Some("CH-20"), Some(scope("globex"))));
}

#[test]
fn reads_are_counted_per_principal_action_and_features() {
    let world = World::new();
    let log = world.open().expect("opens");
    let read = |id: &str, features: &[&str], rows: u64| {
        let details = Details::none().count("rows", rows).expect("valid");
        let permit = log.admit(ask(id, Role::Reader, Action::Query, features), details).expect("allowed");
        assert_eq!(permit.entry(), None);
        world.clock.advance(Span::from_micros(1000).expect("valid"));
    };
    read("scoring", &["User.age"], 1);
    read("scoring", &["User.age"], 2);
    read("scoring", &["User.age", "User.email"], 4);
    read("other", &["User.age"], 8);
    log.admit(ask("scoring", Role::Reader, Action::Verify, &[]), Details::none()).expect_err("a reader may not verify");
    assert_eq!(log.size(), 0, "nothing is written before the flush");

    assert_eq!(log.flush_reads().expect("written"), 4);
    assert_eq!(log.flush_reads().expect("nothing left"), 0);
    let told: Vec<_> = all_entries(&log)
        .into_iter()
        .map(|entry| {
            let who = entry.actor.expect("somebody").id().to_string();
            let features = entry.features.map_or(0, |features| features.count);
            let detail = |key: &str| entry.details.get(key).cloned().unwrap_or_default();
            (
                who,
                entry.action,
                entry.decision.expect("decided"),
                features,
                detail("reads"),
                detail("rows"),
                detail("last"),
            )
        })
        .collect();
    let row = |who: &str, action: &str, decision, features, reads: &str, rows: &str, last: &str| {
        let last = format!("2026-03-01T12:00:00{last}Z");
        (who.to_owned(), action.to_owned(), decision, features, reads.to_owned(), rows.to_owned(), last)
    };
    assert_eq!(
        told,
        [
            row("scoring", "query", Outcome::Allow, 1, "2", "3", ".001000"),
            row("scoring", "query", Outcome::Allow, 2, "1", "4", ".002000"),
            row("other", "query", Outcome::Allow, 1, "1", "8", ".003000"),
            row("scoring", "verify", Outcome::Deny, 0, "1", "", ".004000"),
        ]
    );
}

#[test]
fn a_read_flushes_those_that_waited_for_a_second() {
    let world = World::new();
    let log = world.open().expect("opens");
    let read = || drop(log.admit(ask("scoring", Role::Reader, Action::Query, &[]), Details::none()).expect("allowed"));
    read();
    world.clock.advance(Span::from_micros(999_999).expect("valid"));
    read();
    assert_eq!(log.size(), 0);
    world.clock.advance(Span::from_micros(1).expect("valid"));
    read();
    assert_eq!(log.size(), 1);
    assert_eq!(all_entries(&log)[0].details["reads"], "2");
    let signed = log.close().expect("closes");
    assert_eq!((log.size(), signed.claimed().size), (2, 2), "the last read is recorded when the log is closed");
}

#[test]
fn distinct_reads_that_wait_are_bounded() {
    let world = World::new();
    let log = world.open().expect("opens");
    for n in 0..=READ_GROUPS_MAX {
        let decision = ask("scoring", Role::Reader, Action::Query, &[&format!("User.f{n}")]);
        log.admit(decision, Details::none()).map(drop).expect("allowed");
    }
    assert_eq!(log.size(), READ_GROUPS_MAX as u64);
}

#[test]
fn when_the_disk_fails_changes_stop_at_once_and_reads_soon() {
    let files = Arc::new(FaultyFiles::new(1));
    let world = World::on(files.clone());
    let log = world.open().expect("opens");
    let change = || log.admit(deploy(), Details::none()).map(drop);
    let read = || log.admit(ask("scoring", Role::Reader, Action::Query, &[]), Details::none()).map(drop);
    change().expect("allowed");
    files.inject(Fault::Full, 0);
    assert!(matches!(change(), Err(AuditError::Write { .. })));
    assert!(matches!(change(), Err(AuditError::Write { .. })), "and stays so until the log is opened again");
    assert_eq!(log.size(), 1);

    for _ in 0..10 {
        read().expect("reads go on for a while");
        world.clock.advance(Span::seconds(1));
    }
    let error = read().expect_err("the oldest has waited for ten seconds");
    assert!(matches!(error, AuditError::ReadsPending { .. }), "{error:?}");
    assert!(matches!(log.record(Event::new("server.stop", Place::Environment(prod()))), Err(AuditError::Write { .. })));
    drop(log);

    let log = world.open().expect("opens again");
    assert_eq!(log.size(), 1);
    log.admit(deploy(), Details::none()).map(drop).expect("the disk has room again");
}

#[test]
fn reads_that_could_not_be_written_are_written_later() {
    let files = Arc::new(FaultyFiles::new(1));
    let world = World::on(files.clone());
    let log = world.open().expect("opens");
    log.admit(ask("scoring", Role::Reader, Action::Query, &[]), Details::none()).map(drop).expect("allowed");
    files.inject(Fault::Error, 0);
    assert!(log.flush_reads().is_err());
    log.admit(ask("scoring", Role::Reader, Action::Query, &[]), Details::none()).map(drop).expect("allowed");
    assert_eq!(lock(&log.reads).in_order()[0].1.reads, 2, "both wait");
}

#[test]
fn values_and_secrets_do_not_reach_the_log() {
    let world = World::new();
    let log = world.open().expect("opens");
    let place = || Place::Scope(scope("acme"));
    let keyed = |value: &[u8]| Details::none().keyed("client", value).expect("valid");
    let hash = |index: u64| log.entries(index..index + 1).expect("there")[0].details["client"].clone();
    log.record(Event::new("token.refused", place()).with(keyed(b"canary-4711"))).expect("recorded");
    log.record(Event::new("token.refused", place()).with(keyed(b"canary-4711"))).expect("recorded");
    log.record(Event::new("token.refused", place()).with(keyed(b"canary-4712"))).expect("recorded");
    let elsewhere = Place::Scope(scope("globex"));
    log.record(Event::new("token.refused", elsewhere).with(keyed(b"canary-4711"))).expect("recorded");

    assert_eq!(hash(0), hash(1), "equal values of a tenant are recognised");
    assert_ne!(hash(0), hash(2));
    assert_ne!(hash(0), hash(3), "and not those of another");
    let said = format!("{:?}", all_entries(&log));
    assert!(!said.contains("canary"), "{said}");
    for (path, bytes) in world.backup() {
        assert!(!bytes.windows(5).any(|window| window == b"token"), "{path} is sealed");
    }
}

#[test]
fn a_log_goes_on_where_it_stopped() {
    let (world, first) = World::with_deploys(5);
    let log = world.open().expect("opens");
    assert_eq!(log.size(), 5);
    log.require_continues(&first).expect("the same log");
    let vkey = log.verifier_key();
    let second = world.deploys(&log, 4);
    assert_eq!(log.verifier_key(), vkey);

    let (old, new) = (first.claimed(), second.claimed());
    let proof = log.prove_consistency(old.size, new.size).expect("within");
    verify::verify_consistency(old.size, new.size, &old.root, &new.root, &proof).expect("it grew");
    let stored = world.bytes(CHECKPOINT);
    assert_eq!(log.checkpoint().expect("unchanged"), second);
    assert_eq!(world.bytes(CHECKPOINT), stored, "a log that did not grow writes no checkpoint");
}

#[test]
fn what_a_crash_left_half_written_is_cut_off_and_the_cut_is_recorded() {
    let (world, _) = World::with_deploys(2);
    let log = world.open().expect("opens");
    log.record(Event::new("server.start", Place::Environment(prod()))).expect("2: recorded");
    drop(log);
    let bytes = world.bytes(ENTRIES);
    world.put(ENTRIES, &bytes[..bytes.len() - 1]);
    let log = world.open().expect("opens: no checkpoint was signed after that entry");
    let last = &log.entries(2..log.size()).expect("within")[..];
    assert_eq!(last.iter().map(|entry| entry.action.as_str()).collect::<Vec<_>>(), ["audit.tail-cut-off"]);
    assert!(last[0].details.contains_key("bytes"));
    drop(log);
    assert_eq!(world.open().expect("opens").size(), 3, "it is recorded once");
}

#[test]
fn an_entry_stays_within_what_a_bundle_can_hold() {
    let log = World::new().open().expect("opens");
    let names: Vec<String> = (0..5000).map(|n| format!("Customer.feature_{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let permit = log.admit(ask("etl", Role::Developer, Action::Train, &names), Details::none()).expect("allowed");
    assert_eq!(permit.features().len(), 5000);
    let features = log.entries(0..1).expect("there").remove(0).features.expect("asked for");
    assert_eq!((features.count, features.names, features.digest.len()), (5000, None, 64));

    let key: &'static str = "k".repeat(70_000).leak();
    let event =
        Event::new("check.evidence", Place::Environment(prod())).with(Details::none().count(key, 1).expect("one"));
    assert!(matches!(log.record(event), Err(AuditError::EntryTooLong { bytes: 70_000.. })));
    assert_eq!(log.size(), 1);
}

#[test]
fn each_sees_of_the_log_what_concerns_it() {
    let world = World::new();
    let log = world.open().expect("opens");
    let developer = |tenant: &str| account("etl", tenant, Role::Developer);
    let root = Principal::administrator(creta_iam::PrincipalId::parse("root").expect("valid"), prod());
    let act = |who: &Principal, action, on: Resource| log.admit(decide(&POLICIES, who, action, &on), Details::none());
    let in_scope = |tenant: &str| Resource::scope(scope(tenant));

    act(&root, Action::TenantCreate, Resource::environment(prod())).map(drop).expect("0: allowed");
    act(&root, Action::ServiceAccountCreate, in_scope("acme")).map(drop).expect("1: allowed");
    act(&developer("acme"), Action::Deploy, in_scope("acme")).map(drop).expect("2: allowed");
    act(&developer("globex"), Action::Deploy, in_scope("globex")).map(drop).expect("3: allowed");
    act(&developer("globex"), Action::Deploy, in_scope("acme")).map(drop).expect_err("4: another tenant");
    log.record(Event::new("store.opened", Place::Scope(scope("acme")))).expect("5: recorded");

    let seen = |who: &Principal, on: Resource| {
        let permit = act(who, Action::AuditRead, on).expect("allowed");
        let entries = log.read(&permit, 0..u64::MAX).expect("covered");
        entries.into_iter().map(|(index, _)| index).collect::<Vec<_>>()
    };
    assert_eq!(seen(&root, Resource::environment(prod())), [0, 1, 2, 3, 4, 5]);
    assert_eq!(seen(&developer("acme"), in_scope("acme")), [1, 2, 5]);
    assert_eq!(seen(&developer("globex"), in_scope("globex")), [3]);

    let permit = act(&developer("acme"), Action::Query, in_scope("acme")).expect("allowed");
    assert!(matches!(log.read(&permit, 0..1), Err(AuditError::NotCovered { .. })), "a permit for something else");
    let permit = act(&root, Action::AuditRead, Resource::environment(prod())).expect("allowed");
    assert_eq!(log.read(&permit, 2..4).expect("covered").len(), 2);
    assert_eq!(log.read(&permit, 7..9).expect("covered"), []);
}

#[test]
fn principals_of_another_environment_have_no_business_here() {
    let log = World::new().open().expect("opens");
    let there = creta_model::Scope::parse("acme", "staging").expect("valid");
    let id = creta_iam::PrincipalId::parse("etl").expect("valid");
    let stranger = Principal::service_account(id, there.clone(), Role::Developer);
    let allowed_there = decide(&POLICIES, &stranger, Action::Deploy, &Resource::scope(there));
    assert!(allowed_there.is_allowed());
    let error = log.admit(allowed_there, Details::none()).map(drop).expect_err("another environment");
    assert!(matches!(error, AuditError::OtherEnvironment { .. }), "{error:?}");
    assert_eq!(log.size(), 0);
}

#[test]
fn verify_reads_the_storage_again() {
    let (world, signed) = World::with_deploys(5);
    let log = world.open().expect("opens");
    log.record(Event::new("server.start", Place::Environment(prod()))).expect("recorded");
    let report = log.verify().expect("intact");
    assert_eq!((report.entries, &report.checkpoint), (6, signed.claimed()));
    assert_eq!((report.root, report.verifier_key), (log.root(6).expect("within"), log.verifier_key()));
    assert_eq!(report.first_time.map(|at| at.to_string()).as_deref(), Some("2026-03-01T12:00:01Z"));
    assert_eq!(report.last_time.map(|at| at.to_string()).as_deref(), Some("2026-03-01T12:00:05Z"));
    assert_eq!(report.clock_set_back, [0; 0]);

    let mut entries = world.stolen_entries();
    entries.swap(0, 1);
    world.forge_entries(&entries);
    assert!(
        matches!(log.verify(), Err(AuditError::Proof(ProofError::Inconsistent { size: 5 }))),
        "memory alone would not notice"
    );
    world.forge_entries(&entries[..4]);
    assert!(matches!(log.verify(), Err(AuditError::Proof(ProofError::Shorter { entries: 4, checkpoint: 5 }))));
    world.put(ENTRIES, &world.bytes(ENTRIES)[1..]);
    assert!(matches!(log.verify(), Err(AuditError::Read { .. })));
}

#[test]
fn a_new_log_verifies_and_has_a_checkpoint_of_nothing() {
    let log = World::new().open().expect("opens");
    let report = log.verify().expect("intact");
    assert_eq!((report.entries, report.root, report.first_time), (0, Hash::empty(), None));
    assert_eq!(report.checkpoint.size, 0);
}

#[test]
fn beyond_the_end_is_an_error_that_says_where_the_end_is() {
    let (world, _) = World::with_deploys(2);
    let log = world.open().expect("opens");
    for error in [
        log.entries(1..3).map(drop).expect_err("beyond"),
        log.entries(u64::MAX - 1..u64::MAX).map(drop).expect_err("beyond"),
        log.entry_bytes(2).map(drop).expect_err("beyond"),
        log.root(3).map(drop).expect_err("beyond"),
        log.prove_inclusion(0, 3).map(drop).expect_err("beyond"),
        log.prove_consistency(1, 3).map(drop).expect_err("beyond"),
    ] {
        assert!(matches!(error, AuditError::OutOfRange { size: 2, .. }), "{error:?}");
    }
    assert_eq!((log.tile(0, 0, 2).map(|tile| tile.len()), log.tile(0, 0, 3)), (Some(64), None));
    assert!(log.entries_tile(0, 2).is_some() && log.entries_tile(0, 3).is_none());
}

#[test]
fn many_threads_share_one_dense_log() {
    let world = World::new();
    let log = world.open().expect("opens");
    let (threads, turns) = (8, 40);
    let indices: Vec<u64> = thread::scope(|threads_of_test| {
        let workers: Vec<_> = (0..threads)
            .map(|worker| {
                let (log, clock) = (&log, &world.clock);
                threads_of_test.spawn(move || {
                    let mut indices = Vec::new();
                    for turn in 0..turns {
                        let details = Details::none().count("turn", worker * turns + turn).expect("valid");
                        clock.advance(Span::from_micros(1).expect("valid"));
                        let permit = log.admit(deploy(), details).expect("allowed");
                        let index = permit.entry().expect("logged first");
                        let own = &log.entries(index..index + 1).expect("durable")[0];
                        assert_eq!(
                            own.details["turn"],
                            (worker * turns + turn).to_string(),
                            "a permit names its own entry"
                        );
                        indices.push(index);
                        let reader = ask(&format!("reader-{worker}"), Role::Reader, Action::Query, &[]);
                        log.admit(reader, Details::none()).map(drop).expect("allowed");
                        if turn % 16 == 0 {
                            log.checkpoint().expect("signed");
                        }
                    }
                    assert!(indices.is_sorted(), "a thread's entries stand in its order");
                    indices
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("no panic")).collect()
    });
    assert_eq!(indices.iter().copied().collect::<BTreeSet<_>>(), (0..threads * turns).collect());
    let signed = log.close().expect("closes");
    let entries = world.stolen_entries();
    assert_eq!(entries.len() as u64, threads * turns + threads, "each reader's reads are one entry");
    assert_eq!(signed.claimed().root, mth(&entries));
    for entry in &all_entries(&log)[(threads * turns) as usize..] {
        assert_eq!(entry.details["reads"], turns.to_string());
    }
    assert!(log.verify().expect("intact").clock_set_back.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    /// Wherever the process dies, what was admitted is there afterwards, and the log opens.
    #[test]
    fn admitted_changes_survive_a_crash_anywhere(seed: u64, after in 0u64..60, fault in prop::sample::select(vec![Fault::Crash, Fault::Full, Fault::Error])) {
        let files = Arc::new(FaultyFiles::new(seed));
        let world = World::on(files.clone());
        files.inject(fault, after);
        let mut admitted = 0;
        let mut signed = None;
        if let Ok(log) = world.open() {
            for turn in 0..12u64 {
                let details = Details::none().count("turn", turn).expect("valid");
                if log.admit(deploy(), details).is_err() {
                    break;
                }
                admitted += 1;
                if turn % 3 == 0 {
                    signed = log.checkpoint().ok().or(signed);
                }
            }
        }
        let world = world.moved_to(Arc::new(files.restart()));
        let log = world.open();
        prop_assert!(log.is_ok(), "{:?}", log.err());
        let log = log.expect("asserted");
        let entries = all_entries(&log);
        let turns: Vec<&str> = entries.iter().filter_map(|entry| entry.details.get("turn")).map(String::as_str).collect();
        let expected: Vec<String> = (0..12).map(|turn| turn.to_string()).collect();
        prop_assert!(turns.len() >= admitted && turns.len() <= admitted + 1, "{} of {}", turns.len(), admitted);
        prop_assert_eq!(&turns[..], &expected[..turns.len()]);
        if let Some(signed) = signed {
            prop_assert!(log.require_continues(&signed).is_ok());
        }
        log.checkpoint().expect("signed");
        prop_assert_eq!(log.verify().expect("intact").entries, log.size());
    }
}

/// RFC 6962 §2.1 as it is written: recursive, obviously right and slow.
fn mth(d: &[Vec<u8>]) -> Hash {
    match d.len() {
        0 => Hash::empty(),
        1 => Hash::leaf(&d[0]),
        n => {
            let k = n.next_power_of_two() / 2;
            Hash::node(&mth(&d[..k]), &mth(&d[k..]))
        }
    }
}

#[test]
fn a_halted_log_admits_appends_and_signs_nothing_until_it_is_opened_again() {
    let world = World::new();
    let log = world.open().expect("opens");
    drop(log.admit(deploy(), Details::none()).expect("allowed"));
    drop(log.admit(ask("etl", Role::Developer, Action::Query, &["User.age"]), Details::none()).expect("counted"));
    log.halt("a witness has seen more");
    log.halt("another reason");
    assert_eq!(log.halted(), Some("a witness has seen more"));

    let size = log.size();
    let happened = Event::new("server.start", Place::Environment(prod()));
    let outcomes = [
        log.admit(deploy(), Details::none()).map(drop),
        log.admit(ask("etl", Role::Developer, Action::Query, &["User.age"]), Details::none()).map(drop),
        log.record(happened.clone()).map(drop),
        log.flush_reads().map(drop),
        log.checkpoint().map(drop),
    ];
    for outcome in outcomes {
        assert!(matches!(outcome, Err(AuditError::Halted { .. })), "{outcome:?}");
    }
    assert_eq!(log.size(), size);
    drop(log);
    assert!(world.open().expect("opens").record(happened).is_ok());
}
