//! Reviews of access: they open by themselves, nobody decides on their own, and what is revoked is gone.

use std::sync::Arc;

use creta_identity::key::{KeyKind, SigningKey};
use creta_model::{EnvironmentClass, Span};
use creta_platform::ManualClock;
use creta_programme::campaign::ReviewResult;
use creta_proof::{Hash, InclusionProof, VerifierKey};
use serde_json::{Value, json};

use crate::people::{Someone, answer_prompt, appoint, assign, authenticator, server_by, sign_in, sign_in_with};
use crate::provider::Provider;
use crate::support::{Reply, Server};

const QUARTER: Span = Span::days(93);
/// The one of class development, whose secret lies in the data folder.
const ADMINISTRATOR: &str = "local-administrator:admin@control-plane";
const WHY: &str = "Still builds the features of this team every week";

struct World {
    server: Server,
    clock: Arc<ManualClock>,
    provider: Provider,
}

impl World {
    fn new(class: EnvironmentClass) -> Self {
        let provider = Provider::start();
        let (server, clock) = server_by(&provider, class, "");
        if class == EnvironmentClass::Development {
            server.tenant("acme");
        }
        Self { server, clock, provider }
    }

    fn sign_in(&self, who: &str) -> Someone {
        sign_in(&self.server, &self.provider, who)
    }

    /// Does what the server does each minute.
    fn tick(&self) {
        self.server.running().keep_log().expect("kept");
    }

    /// The next quarter begins.
    fn quarter(&self) {
        self.clock.advance(QUARTER);
        self.tick();
    }

    fn log(&self) -> String {
        self.server.get("/v1/audit/entries?limit=1000", &self.server.admin_token()).text()
    }
}

fn the_review(world: &World, who: &Someone) -> String {
    let listed = who.get(&world.server, "/v1/reviews").ok();
    let all = listed["reviews"].as_array().expect("a list");
    all.last().expect("a review")["review"].as_str().expect("an id").to_owned()
}

fn lines(world: &World, who: &Someone, review: &str) -> Vec<Value> {
    let shown = who.get(&world.server, &format!("/v1/reviews/{review}")).ok();
    shown["lines"].as_array().expect("a list").clone()
}

fn decide(world: &World, who: &Someone, review: &str, line: &Value, verdict: &str) -> Reply {
    world.clock.advance(Span::seconds(3)); // They look at it.
    let body = json!({"subject": line["identity"]["subject"], "digest": line["digest"], "verdict": verdict,
        "reason": WHY});
    who.post(&world.server, &format!("/v1/reviews/{review}/decide"), &body)
}

fn line_of(world: &World, who: &Someone, review: &str, subject: &str) -> Value {
    let all = lines(world, who, review);
    let found = all.into_iter().find(|line| line["identity"]["subject"] == subject);
    found.unwrap_or_else(|| panic!("{subject} is not under review"))
}

fn close(world: &World, who: &Someone, review: &str) -> Value {
    who.post(&world.server, &format!("/v1/reviews/{review}/close"), &json!({})).ok()
}

#[test]
fn a_review_of_fifty_closes_with_fifty_decisions_and_a_refused_trial_of_each_revocation() {
    let world = World::new(EnvironmentClass::Development);
    for who in ["ben", "eve", "ana"] {
        world.sign_in(who);
    }
    assign(&world.server, "ben", &json!({"roles": ["security-lead"]}));
    assign(&world.server, "eve", &json!({"roles": ["security-lead"]}));
    assign(&world.server, "ana", &json!({"roles": ["developer"], "tenant": "acme"}));
    let accounts: Vec<_> =
        (0..47).map(|number| world.server.account("acme", &format!("job-{number:02}"), "reader")).collect();
    world.tick();
    let ben = world.sign_in("ben");
    assert_eq!(ben.get(&world.server, "/v1/reviews").ok()["reviews"], json!([]), "none before a quarter begins");
    world.quarter();
    let [ben, eve, ana] = ["ben", "eve", "ana"].map(|who| world.sign_in(who));
    let token = world.server.token(&accounts[0].client_id, &accounts[0].secret);
    ana.get(&world.server, "/v1/catalogue").ok();
    world.server.get("/v1/catalogue", &token).ok();
    let review = the_review(&world, &ben);
    let all = lines(&world, &ben, &review);
    assert_eq!(all.len(), 51, "and the local administrator");
    world.tick();
    assert_eq!(ben.get(&world.server, "/v1/reviews").ok()["reviews"].as_array().expect("a list").len(), 1);

    let undone = close(&world, &ben, &review);
    assert_eq!((&undone["closed"], undone["undone"].as_array().map(Vec::len)), (&json!(false), Some(51)));
    let revoked = ["person:ana@example.com", "service-account:job-00@acme", "service-account:job-01@acme"];
    for (number, line) in all.iter().enumerate() {
        let subject = line["identity"]["subject"].as_str().expect("a name");
        let verdict = if revoked.contains(&subject) { "revoke" } else { "keep" };
        let by = if subject == "person:ben@example.com" { &eve } else { &ben };
        let decided = decide(&world, by, &review, line, verdict).ok();
        assert_eq!(decided["decision"]["verdict"], verdict, "{number} {decided}");
        if verdict == "revoke" {
            assert_eq!(decided["probe"]["tried"], "refused", "{decided}");
        }
        if number == 40 {
            assert_eq!(close(&world, &ben, &review)["closed"], false, "some are missing");
        }
    }
    // What was revoked is gone: by the same roads on which it worked.
    assert_eq!(world.server.get("/v1/catalogue", &token).problem(401), "auth/bad-token");
    let again = world.server.ask_token(&accounts[1].client_id, &accounts[1].secret);
    assert_eq!(again.problem(401), "auth/bad-credentials");
    assert_eq!(ana.get(&world.server, "/v1/catalogue").problem(403), "access/denied");
    world.server.token(&accounts[2].client_id, &accounts[2].secret);

    let closed = close(&world, &ben, &review);
    assert_eq!(closed["closed"], true, "{closed}");
    // The result is proven by the log, without this server.
    let filed = ben.get(&world.server, &format!("/v1/reviews/{review}/result")).ok();
    let text = filed["result"].as_str().expect("canonical JSON");
    let result = ReviewResult::parse(text.as_bytes()).expect("a result");
    assert_eq!((result.kept, result.revoked, result.unanswered, result.lines.len()), (48, 3, 0, 51));
    let proof = InclusionProof::parse(filed["proof"].as_str().expect("a proof")).expect("a proof");
    proof.verify(&VerifierKey::parse(&world.server.report.audit_verifier_key).expect("a key")).expect("proven");
    let entry: Value = serde_json::from_slice(&proof.entry).expect("JSON");
    assert_eq!(entry["action"], "review.closed");
    assert_eq!(entry["details"]["result"], format!("sha256:{}", Hash::of(&[text.as_bytes()])));
    let other = text.replace("\"kept\":48", "\"kept\":49");
    assert_ne!(entry["details"]["result"], format!("sha256:{}", Hash::of(&[other.as_bytes()])));
    assert_eq!(decide(&world, &ben, &review, &all[3], "revoke").problem(422), "review/closed");
}

#[test]
fn attack_ci24_nobody_reviews_their_own_in_a_hurry_or_what_has_changed() {
    let world = World::new(EnvironmentClass::Development);
    for who in ["ben", "ben-two", "eve", "ana", "zoe"] {
        world.sign_in(who);
    }
    assign(&world.server, "ben", &json!({"roles": ["security-lead"]}));
    assign(&world.server, "eve", &json!({"roles": ["security-lead"]}));
    assign(
        &world.server,
        "ben-two",
        &json!({"roles": ["viewer"], "tenant": "acme", "same_human_as": "ben@example.com"}),
    );
    assign(&world.server, "ana", &json!({"roles": ["operator"]}));
    assign(&world.server, "zoe", &json!({"roles": ["administrator"]}));
    let zoe = world.sign_in("zoe");
    // Somebody who reviews gave something to somebody, in another role, before.
    assert_eq!(
        zoe.post(&world.server, "/v1/persons/ana@example.com/assign", &json!({"roles": ["operator"]})).status,
        200
    );
    let jobs: Vec<String> =
        (0..9).map(|n| world.server.account("acme", &format!("job-{n}"), "reader").client_id).collect();
    world.quarter();
    let (ben, eve, zoe) = (world.sign_in("ben"), world.sign_in("eve"), world.sign_in("zoe"));
    let review = the_review(&world, &ben);
    let of = |who: &Someone, subject: &str| line_of(&world, who, &review, subject);

    // Their own, by whichever account; what they gave; without the right at all.
    for subject in ["person:ben@example.com", "person:ben-two@example.com"] {
        let line = of(&ben, subject);
        assert_eq!(line["conflict"], "it is their own access, or that of something they use or own");
        assert_eq!(decide(&world, &ben, &review, &line, "keep").problem(422), "review/conflict");
    }
    let ana = of(&eve, "person:ana@example.com");
    assert_eq!(ana["identity"]["granted_by"], json!(["zoe@example.com"]));
    assert_eq!(decide(&world, &zoe, &review, &ana, "keep").problem(403), "access/denied");

    // What changed after it was shown, or came after the snapshot.
    assign(&world.server, "ana", &json!({"roles": ["operator", "auditor"]}));
    let late = world.server.account("acme", "late", "reader").client_id;
    assert_eq!(close(&world, &eve, &review)["closed"], false);
    assert_eq!(decide(&world, &eve, &review, &ana, "keep").problem(422), "review/changed");
    assert_eq!(of(&eve, "person:ana@example.com")["flags"], json!(["changed"]));
    assert_eq!(of(&eve, &format!("service-account:{late}"))["flags"], json!(["added"]));

    // Taken out of sight during the review, it stays in it.
    world.server.post("/v1/persons/zoe@example.com/leave", &world.server.admin_token(), &json!({})).ok();
    close(&world, &eve, &review);
    assert_eq!(of(&eve, "person:zoe@example.com")["flags"], json!(["vanished"]));

    // All at once.
    let mut answers = Vec::new();
    for job in &jobs {
        let line = of(&ben, &format!("service-account:{job}"));
        let body =
            json!({"subject": line["identity"]["subject"], "digest": line["digest"], "verdict": "keep", "reason": WHY});
        answers.push(ben.post(&world.server, &format!("/v1/reviews/{review}/decide"), &body));
    }
    assert_eq!(answers.last().expect("nine").problem(422), "review/too-fast");
    assert!(answers.iter().filter(|answer| answer.status == 200).count() <= 4);
    let shown = of(&ben, &format!("service-account:{}", jobs[1]));
    assert_eq!(shown["flags"], json!(["hasty"]));
    // And nobody takes a revocation back, or gives an empty reason.
    let line = of(&ben, &format!("service-account:{}", jobs[8]));
    world.clock.advance(Span::seconds(60));
    let body =
        json!({"subject": line["identity"]["subject"], "digest": line["digest"], "verdict": "keep", "reason": "ok"});
    assert_eq!(ben.post(&world.server, &format!("/v1/reviews/{review}/decide"), &body).problem(422), "review/reason");
    decide(&world, &ben, &review, &line, "revoke").ok();
    assert_eq!(decide(&world, &eve, &review, &line, "keep").problem(422), "review/decided");
    let log = world.log();
    assert!(log.contains("review.refused") && log.contains("CI-24"), "{log}");
}

/// Whoever came since it opened is to be decided on, and seen to be before anybody tries to close.
#[test]
fn attack_ci24_whoever_came_during_a_review_is_shown_and_decided_on_before_it_closes() {
    let world = World::new(EnvironmentClass::Development);
    // What checks of this server use belongs to nobody, and asks nobody for anything.
    world.server.post("/v1/trust/run", &world.server.admin_token(), &json!({"checks": ["isolation"]})).ok();
    let programs = world.server.get("/v1/service-accounts?tenant=creta-probe-a", &world.server.admin_token()).ok();
    assert_eq!(programs["service_accounts"][0]["client_id"], "probe@creta-probe-a", "{programs}");
    for who in ["ben", "eve"] {
        world.sign_in(who);
        assign(&world.server, who, &json!({"roles": ["security-lead"]}));
    }
    world.server.account("creta-probe-a", "somebody", "reader");
    world.quarter();
    let (ben, eve) = (world.sign_in("ben"), world.sign_in("eve"));
    let review = the_review(&world, &ben);
    let all = lines(&world, &ben, &review);
    let subjects: Vec<&str> = all.iter().filter_map(|line| line["identity"]["subject"].as_str()).collect();
    assert_eq!(
        subjects,
        [ADMINISTRATOR, "person:ben@example.com", "person:eve@example.com", "service-account:somebody@creta-probe-a"],
        "an account beside that of the checks is anybody's"
    );
    for line in &all {
        let by = if line["identity"]["subject"] == "person:ben@example.com" { &eve } else { &ben };
        decide(&world, by, &review, line, "keep").ok();
    }
    world.sign_in("new");
    assign(&world.server, "new", &json!({"roles": ["security-lead"]}));
    let shown = ben.get(&world.server, &format!("/v1/reviews/{review}")).ok();
    assert_eq!((&shown["undone"], &shown["identities"], &shown["decided"]), (&json!(1), &json!(5), &json!(4)));
    let new = line_of(&world, &ben, &review, "person:new@example.com");
    assert_eq!((&new["pending"], &new["flags"]), (&json!("decision"), &json!(["added"])));
    // Looking at it changed nothing: whoever looks may only look.
    assert!(!world.log().contains("review.reconciled"));
    decide(&world, &ben, &review, &new, "keep").ok();
    assert!(world.log().contains("review.reconciled"));
    // What was shown before somebody gained something is not what is decided on.
    let ben_before = line_of(&world, &eve, &review, "person:ben@example.com");
    assign(&world.server, "ben", &json!({"roles": ["security-lead", "viewer"]}));
    assert_eq!(decide(&world, &eve, &review, &ben_before, "keep").problem(422), "review/changed");
    let ben_now = line_of(&world, &eve, &review, "person:ben@example.com");
    assert_eq!((&ben_now["pending"], &ben_now["flags"]), (&json!("decision"), &json!(["changed"])));
    decide(&world, &eve, &review, &ben_now, "keep").ok();
    let closed = close(&world, &ben, &review);
    assert_eq!(closed["closed"], true, "{closed}");
    let analysed = world.server.get("/v1/access/analysis", &world.server.admin_token());
    assert!(!analysed.text().contains("probe@creta-probe"), "{}", analysed.text());
}

#[test]
fn attack_ci24_what_nobody_answers_for_two_weeks_is_revoked_outside_development() {
    for class in [EnvironmentClass::Staging, EnvironmentClass::Development] {
        let mut world = World::new(class);
        let job = json!({"tenant": "acme", "name": "scoring", "role": "ingester"});
        // Where there is no local administrator, people by name.
        if class != EnvironmentClass::Development {
            let roles = [("ana", "operator"), ("ben", "security-lead"), ("kim", "administrator")];
            appoint(&mut world.server, &world.provider, &roles);
        }
        let mut keys = [7, 8].map(|seed| authenticator(&world.server, seed));
        let [kims, bens] = &mut keys;
        let made = match class {
            EnvironmentClass::Development => {
                world.sign_in("ana");
                assign(&world.server, "ana", &json!({"roles": ["operator"]}));
                world.server.post("/v1/service-accounts", &world.server.admin_token(), &job).ok()
            }
            _ => {
                let kim = sign_in_with(&world.server, &world.provider, "kim", Some(kims));
                kim.post(&world.server, "/v1/tenants", &json!({"tenant": "acme"})).ok();
                let ben = sign_in_with(&world.server, &world.provider, "ben", Some(bens));
                let mut key = authenticator(&world.server, 9);
                let max = sign_in_with(&world.server, &world.provider, "max", Some(&mut key));
                let operator = json!({"roles": ["operator"], "tenant": "acme", "need": WHY});
                kim.post(&world.server, "/v1/persons/max@example.com/assign", &operator).ok();
                crate::secrets::made_by_two(&world.server, &max, (&ben, bens), "scoring", "ingester")
            }
        };
        let [id, secret] = ["client_id", "client_secret"].map(|name| made[name].as_str().expect("text").to_owned());
        world.quarter();
        if class != EnvironmentClass::Development {
            // Somebody answers for kim, who looks at what became of the others.
            let ben = sign_in_with(&world.server, &world.provider, "ben", Some(bens));
            let review = the_review(&world, &ben);
            let line = line_of(&world, &ben, &review, "person:kim@example.com");
            let asked = decide(&world, &ben, &review, &line, "keep").json();
            let prompt = asked["verify"].as_str().expect("where to sign").split("prompt=").nth(1).expect("an id");
            answer_prompt(&world.server, bens, prompt, None).ok();
        }
        world.clock.advance(Span::days(13));
        world.tick();
        world.server.token(&id, &secret);
        world.clock.advance(Span::days(1));
        world.tick();
        let answer = world.server.ask_token(&id, &secret);
        let read = ["/v1/persons", "/v1/audit/entries?limit=1000"];
        let [persons, log] = match class {
            EnvironmentClass::Development => read.map(|path| world.server.get(path, &world.server.admin_token()).ok()),
            _ => {
                let kim = sign_in_with(&world.server, &world.provider, "kim", Some(kims));
                read.map(|path| kim.get(&world.server, path).ok())
            }
        };
        let (roles, log) = (persons["persons"][0]["roles"].clone(), log.to_string());
        if class == EnvironmentClass::Development {
            assert_eq!(
                (answer.status, roles),
                (200, json!(["operator"])),
                "nothing is lost where people try things out"
            );
            assert!(log.contains("review.opened") && !log.contains("review.unanswered"), "{log}");
        } else {
            assert_eq!((answer.problem(401).as_str(), roles), ("auth/bad-credentials", json!([])));
            for event in ["review.opened", "review.unanswered", "review.probed", "review.closed"] {
                assert!(log.contains(event), "{event}: {log}");
            }
        }
        // All of it can be read again.
        world.server.stop();
        world.server.start();
    }
}

/// Two recovery keys let a server go on from an older store: whoever holds one is under review, whatever their role.
#[test]
fn attack_ci24_whoever_holds_a_recovery_key_is_under_review_without_any_role() {
    let world = World::new(EnvironmentClass::Development);
    for who in ["ben", "ana"] {
        world.sign_in(who);
    }
    assign(&world.server, "ben", &json!({"roles": ["security-lead"]}));
    assign(&world.server, "ana", &json!({"roles": ["operator"]}));
    let ana = world.sign_in("ana");
    let known = ana.get(&world.server, "/v1/recovery/keys").ok();
    let text = |name: &str| known[name].as_str().expect("text").to_owned();
    let key = SigningKey::from_random(KeyKind::P256, &crate::people::random());
    let proof = creta_identity::recovery::sign_registration(&text("environment_id"), &text("account"), &key);
    ana.post(&world.server, "/v1/recovery/keys", &json!({"key": key.public(), "proof": proof})).ok();
    assign(&world.server, "ana", &json!({"roles": []}));
    world.quarter();
    let ben = world.sign_in("ben");
    let review = the_review(&world, &ben);
    let line = line_of(&world, &ben, &review, "person:ana@example.com");
    let rights = line["identity"]["rights"].as_array().expect("a list");
    assert!(
        rights.len() == 1 && rights[0].as_str().is_some_and(|right| right.starts_with("holds:recovery-key@")),
        "{line}"
    );
    let decided = decide(&world, &ben, &review, &line, "revoke").ok();
    assert_eq!(decided["probe"]["tried"], "refused", "{decided}");
    let log = world.log();
    assert!(log.contains("recovery.key-ended"), "{log}");
}

/// What an environment is made with is under review like everything else: the administrator whose secret lies in the data
/// folder, and components with certificates.
#[test]
fn attack_ci24_the_local_administrator_and_components_are_reviewed_and_end_at_once() {
    let mut world = World::new(EnvironmentClass::Development);
    let folder = tempfile::tempdir().expect("a folder");
    let made = crate::transit::component(&mut world.server, "worker-1", &folder.path().join("own"));
    world.sign_in("ben");
    assign(&world.server, "ben", &json!({"roles": ["security-lead"]}));
    world.quarter();
    let ben = world.sign_in("ben");
    let review = the_review(&world, &ben);
    let (certificate, key) = crate::transit::of(&made);
    let agent = crate::transit::showing(&world.server.report.ca, &certificate, &key);
    let health = format!("{}/health", world.server.running().url());
    let asked = |agent: &ureq::Agent| agent.get(&health).call().map(|answer| answer.status().as_u16());
    assert_eq!(asked(&agent).expect("let in"), 200);
    let line = line_of(&world, &ben, &review, "component:worker-1");
    assert_eq!(line["identity"]["rights"], json!(["certificate:worker@prod"]));
    let decided = decide(&world, &ben, &review, &line, "revoke").ok();
    assert_eq!(decided["probe"]["tried"], "refused", "{decided}");
    // On the connection that it has, and on a new one.
    assert!(!matches!(asked(&agent), Ok(200)));
    let anew = crate::transit::showing(&world.server.report.ca, &certificate, &key);
    assert!(asked(&anew).is_err(), "one that was revoked");

    let token = world.server.admin_token();
    assert_eq!(world.server.get("/v1/tenants", &token).status, 200);
    let line = line_of(&world, &ben, &review, ADMINISTRATOR);
    let rights = line["identity"]["rights"].as_array().expect("a list");
    assert!(rights.contains(&json!("local-administrator@prod")) && rights.contains(&json!("may:tenant.create@prod")));
    let decided = decide(&world, &ben, &review, &line, "revoke").ok();
    assert_eq!(decided["probe"]["tried"], "refused", "{decided}");
    assert_eq!(world.server.get("/v1/tenants", &token).problem(401), "auth/bad-token");
    let (id, secret) = (world.server.admin.client_id.clone(), world.server.admin.client_secret.clone());
    assert_eq!(world.server.ask_token(&id, &secret).problem(401), "auth/bad-credentials");
    // Nor does it come back with the next start.
    world.server.stop();
    let known = creta_server::components(&world.server.data()).expect("listed");
    assert!(known[0].revoked.is_some() && known[0].expires.is_none(), "{known:?}");
}

/// What is decided on is what somebody may do, not the name of a role: a policy that allows more asks again.
#[test]
fn attack_ci24_a_policy_that_allows_more_makes_lines_that_were_decided_on_open_again() {
    let world = World::new(EnvironmentClass::Development);
    for (who, role) in
        [("ben", "security-lead"), ("zoe", "security-lead"), ("eve", "auditor"), ("ana", "administrator")]
    {
        world.sign_in(who);
        assign(&world.server, who, &json!({"roles": [role]}));
    }
    world.quarter();
    let [ben, zoe, ana] = ["ben", "zoe", "ana"].map(|who| world.sign_in(who));
    let review = the_review(&world, &ben);
    let of = |subject: &str| line_of(&world, &ben, &review, subject);
    let (eve, lead) = (of("person:eve@example.com"), of("person:zoe@example.com"));
    let run = json!("may:trust.run@prod");
    let may = |line: &Value| line["identity"]["rights"].as_array().expect("a list").contains(&run);
    assert!(!may(&eve), "{eve}");
    assert!(eve["identity"]["rights"].as_array().expect("a list").contains(&json!("may:trust.read@prod")), "{eve}");
    decide(&world, &ben, &review, &eve, "keep").ok();
    decide(&world, &ben, &review, &lead, "keep").ok();

    let text = json!({ "text": crate::policies::AUDITORS_RUN_CHECKS });
    let proposed = ana.post(&world.server, "/v1/access/policies", &text).ok();
    let path = format!("/v1/access/policies/{}/approve", proposed["policy"].as_str().expect("an id"));
    zoe.post(&world.server, &path, &json!({"digest": proposed["digest"]})).ok();
    let now = of("person:eve@example.com");
    assert!(may(&now) && now["digest"] != eve["digest"], "{now}");
    assert_eq!((&now["pending"], &now["flags"]), (&json!("decision"), &json!(["changed"])));
    assert_eq!(of("person:zoe@example.com")["pending"], Value::Null, "who gained nothing is not asked about again");
    decide(&world, &ben, &review, &now, "revoke").ok();
}
