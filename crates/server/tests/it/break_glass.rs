//! The sealed emergency account: two people, two halves, two authenticators, an hour at most, a page, and a review.

use std::sync::Arc;
use std::time::{Duration, Instant};

use creta_model::{EnvironmentClass, Span};
use creta_platform::ManualClock;
use serde_json::{Value, json};

use crate::people::{Someone, answer_prompt, appoint, authenticator, prove, prover, server_by, sign_in_with};
use crate::provider::Provider;
use crate::soft_authenticator::SoftAuthenticator;
use crate::strangers::{ELSEWHERE, post_from};
use crate::support::{JSON, Reply, Server};

const REASON: &str = "The identity provider is down and a stolen deploy token is in use";

/// A server of class staging with two administrators, a security lead, and somebody on call.
struct World {
    server: Server,
    provider: Option<Provider>,
    clock: Arc<ManualClock>,
    authenticators: Vec<SoftAuthenticator>,
    /// Ana, ben and eve, signed in.
    people: Vec<Someone>,
    pages: std::path::PathBuf,
    _folder: tempfile::TempDir,
}

const NAMES: [&str; 3] = ["ana", "ben", "eve"];

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let pages = folder.path().join("pages");
        let command = format!("cat >> {}", pages.to_str().expect("a plain path"));
        let tail = format!("[[on_call]]\ncommand = [\"/bin/sh\", \"-c\", \"{command}\"]\n");
        let provider = Provider::start();
        let (mut server, clock) = server_by(&provider, EnvironmentClass::Staging, &tail);
        let roles = [("ana", "administrator"), ("ben", "administrator"), ("eve", "security-lead")];
        appoint(&mut server, &provider, &roles);
        let authenticators = (1..=3).map(|seed| authenticator(&server, seed)).collect();
        let (provider, people) = (Some(provider), Vec::new());
        let mut world = Self { server, provider, clock, authenticators, people, pages, _folder: folder };
        world.people = (0..3).map(|who| world.sign_in(who)).collect();
        world
    }

    fn sign_in(&mut self, who: usize) -> Someone {
        let provider = self.provider.as_ref().expect("the provider is there");
        sign_in_with(&self.server, provider, NAMES[who], Some(&mut self.authenticators[who]))
    }

    fn seal(&self, holders: [&str; 2]) -> Reply {
        let holders = holders.map(|who| format!("{who}@example.com"));
        self.people[0].post(&self.server, "/v1/break-glass/seal", &json!({ "holders": holders }))
    }

    /// Both halves, in the hands of ana and ben.
    fn halves(&self) -> [String; 2] {
        let sealed = self.seal(["ana", "ben"]).ok();
        assert_eq!(sealed["ready"], false, "nobody has a half yet: {sealed}");
        [0, 1].map(|who: usize| {
            let taken = self.people[who].send(&self.server, "POST", "/v1/break-glass/half", None).ok();
            taken["secret"].as_str().expect("shown once").to_owned()
        })
    }

    fn assign(&self, who: &str, body: &Value) {
        let path = format!("/v1/persons/{who}@example.com/assign");
        let mut body = body.clone();
        body["need"] = json!("Looks after the shop while others sleep");
        self.people[0].post(&self.server, &path, &body).ok();
    }

    fn close(&self, someone: &Someone, opening: &str) -> Reply {
        someone.send(&self.server, "POST", &format!("/v1/break-glass/openings/{opening}/close"), None)
    }

    fn begin(&self, half: &str, who: &str, minutes: u8) -> (Reply, Someone) {
        let prover = prover();
        let path = "/v1/break-glass/openings";
        let proof = prove(&self.server, &prover, "POST", path, None);
        let headers = [("dpop", proof.as_str()), ("content-type", JSON)];
        let body = json!({"person": format!("{who}@example.com"), "half": half, "reason": REASON, "minutes": minutes});
        let reply = self.server.send_with("POST", path, None, &headers, Some(body.to_string().as_bytes()));
        let opened = if reply.status == 200 { reply.json() } else { Value::Null };
        (reply, Someone { prover, opened })
    }

    fn join(&self, half: &str, who: &str, opening: &str) -> Reply {
        let path = format!("/v1/break-glass/openings/{opening}/join");
        let body = json!({"person": format!("{who}@example.com"), "half": half}).to_string();
        self.server.send_with("POST", &path, None, &[("content-type", JSON)], Some(body.as_bytes()))
    }

    fn sign(&mut self, who: usize, asked: &Value) -> Reply {
        let prompt = asked["verify"].as_str().expect("where to sign").split("prompt=").nth(1).expect("a prompt");
        answer_prompt(&self.server, &mut self.authenticators[who], prompt, None)
    }

    /// The account, opened by ana and ben for `minutes`; ana's session and the opening.
    fn open(&mut self, halves: &[String; 2], minutes: u8) -> (Someone, String) {
        let (begun, mut ana) = self.begin(&halves[0], "ana", minutes);
        self.sign(0, &begun.ok()).ok();
        let opening = ana.opened["opening"].as_str().expect("an opening").to_owned();
        let joined = self.join(&halves[1], "ben", &opening).ok();
        self.sign(1, &joined).ok();
        ana.opened["access_token"] = self.token(&ana).ok()["access_token"].clone();
        (ana, opening)
    }

    fn token(&self, someone: &Someone) -> Reply {
        let proof = prove(&self.server, &someone.prover, "POST", "/v1/sessions/renew", None);
        let body = json!({"session": someone.opened["session"], "renewal": someone.opened["renewal"]}).to_string();
        let headers = [("dpop", proof.as_str()), ("content-type", JSON)];
        self.server.send_with("POST", "/v1/sessions/renew", None, &headers, Some(body.as_bytes()))
    }

    fn log(&self) -> String {
        self.people[2].get(&self.server, "/v1/audit/entries?limit=1000").text()
    }
}

#[test]
fn two_people_open_the_emergency_account_while_the_provider_is_away() {
    let mut world = World::new();
    let halves = world.halves();
    let again = world.people[0].send(&world.server, "POST", "/v1/break-glass/half", None);
    assert_eq!(again.problem(404), "not-found/half", "a half is shown once");
    drop(world.provider.take());

    let (begun, ana) = world.begin(&halves[0], "ana", 30);
    let begun = begun.ok();
    assert_eq!(world.token(&ana).problem(409), "conflict/break-glass-pending", "before she signed");
    world.sign(0, &begun).ok();
    assert_eq!(world.token(&ana).problem(409), "conflict/break-glass-pending", "the other half is lacking");
    let opening = begun["opening"].as_str().expect("an opening").to_owned();
    let joined = world.join(&halves[1], "ben", &opening).ok();
    assert_eq!(world.token(&ana).problem(409), "conflict/break-glass-pending", "before he signed");
    let said = world.sign(1, &joined).ok();
    assert!(said["text"].as_str().expect("text").contains("is open"), "{said}");

    let mut ana = ana;
    ana.opened["access_token"] = world.token(&ana).ok()["access_token"].clone();
    let me = ana.get(&world.server, "/v1/me").ok();
    assert_eq!(me["grants"].as_array().map(Vec::len), Some(2), "{me}");
    ana.post(&world.server, "/v1/tenants", &json!({"tenant": "acme"})).ok();
    ana.get(&world.server, "/v1/service-accounts?tenant=acme").ok();
    ana.send(&world.server, "POST", "/v1/persons/eve@example.com/leave", None).ok();
    assert_eq!(world.people[2].get(&world.server, "/v1/me").problem(401), "auth/bad-token", "and that took effect");

    let deadline = Instant::now() + Duration::from_secs(20);
    let paged = || std::fs::read_to_string(&world.pages).is_ok_and(|pages| pages.contains("break-glass-"));
    while !paged() {
        assert!(Instant::now() < deadline, "nobody was paged");
        std::thread::yield_now();
    }
    let own = world.people[0].get(&world.server, "/v1/audit/entries?limit=1000");
    assert_eq!(world.close(&ana, &opening).ok()["open"], false, "it can be closed early");
    assert_eq!(ana.get(&world.server, "/v1/tenants").problem(401), "auth/bad-token", "and then it is over at once");
    let log = format!("{}{}", own.text(), world.people[0].get(&world.server, "/v1/audit/entries?limit=1000").text());
    for entry in ["sealed", "half-taken", "half-shown", "unsealed", "opened", "closed"] {
        assert!(log.contains(&format!("\"break-glass.{entry}\"")), "{entry}: {log}");
    }
    assert!(!log.contains(REASON) && !halves.iter().any(|half| log.contains(half)), "neither words nor halves");
}

#[test]
fn attack_ch33_one_person_with_both_halves_opens_nothing() {
    let mut world = World::new();
    let halves = world.halves();
    let (begun, ana) = world.begin(&halves[0], "ana", 30);
    world.sign(0, &begun.ok()).ok();
    let opening = ana.opened["opening"].as_str().expect("an opening").to_owned();
    // Under her own name: the half is not hers, nor does hers count twice.
    assert_eq!(world.join(&halves[1], "ana", &opening).problem(401), "auth/bad-half");
    assert_eq!(world.join(&halves[0], "ana", &opening).problem(422), "break-glass/same-person");
    // Under his name: it is his authenticator that is asked.
    let joined = world.join(&halves[1], "ben", &opening).ok();
    assert_eq!(world.sign(0, &joined).problem(403), "access/authenticator");
    assert_eq!(world.token(&ana).problem(409), "conflict/break-glass-pending");
    // Nor can halves be given to one human, by whichever account, or to somebody who may not open it.
    assert_eq!(world.seal(["ana", "ana"]).problem(422), "break-glass/same-person");
    assert_eq!(world.seal(["ana", "eve"]).problem(422), "break-glass/holder");
    world.assign("ben", &json!({"roles": ["administrator"], "same_human_as": "ana@example.com"}));
    assert_eq!(world.seal(["ana", "ben"]).problem(422), "break-glass/same-person");
    // What was given while they passed for two is worth nothing now.
    assert_eq!(world.join(&halves[1], "ben", &opening).problem(422), "break-glass/same-person");
    assert!(world.log().contains("break-glass.refused"));
}

#[test]
fn attack_ch33_halves_are_used_once_and_an_opening_ends_by_itself() {
    let mut world = World::new();
    world.people[0].post(&world.server, "/v1/tenants", &json!({"tenant": "acme"})).ok();
    let halves = world.halves();
    // The other half comes too late.
    let (begun, late) = world.begin(&halves[0], "ana", 30);
    world.sign(0, &begun.ok()).ok();
    let opening = late.opened["opening"].as_str().expect("an opening").to_owned();
    world.clock.advance(Span::seconds(900));
    assert_eq!(world.join(&halves[1], "ben", &opening).problem(422), "break-glass/too-late");
    assert_eq!(world.token(&late).problem(422), "break-glass/too-late");

    for minutes in [0, 61] {
        assert_eq!(world.begin(&halves[0], "ana", minutes).0.problem(422), "break-glass/minutes");
    }
    let (ana, _) = world.open(&halves, 60);
    ana.get(&world.server, "/v1/tenants").ok();
    // No feature value, and nothing that is the tenant's own to decide.
    let question = json!({"features": ["User.city"], "rows": [{"User.id": 7}]});
    assert_eq!(ana.post(&world.server, "/v1/query", &question).problem(403), "access/denied");
    let own = json!({"roles": ["security-lead"]});
    let refused = ana.post(&world.server, "/v1/persons/ana@example.com/assign", &own);
    assert_eq!(refused.problem(403), "access/own-roles");
    // Both halves are used up.
    assert_eq!(world.begin(&halves[0], "ana", 30).0.problem(401), "auth/bad-half");
    assert_eq!(world.begin(&halves[1], "ben", 30).0.problem(401), "auth/bad-half");
    // A token that was got a minute before the end is worth nothing after it, and there is no other.
    world.clock.advance(Span::seconds(59 * 60));
    let mut ana = ana;
    ana.opened["access_token"] = world.token(&ana).ok()["access_token"].clone();
    ana.get(&world.server, "/v1/tenants").ok();
    world.clock.advance(Span::seconds(60));
    assert_eq!(ana.get(&world.server, "/v1/tenants").problem(401), "auth/bad-token");
    assert_eq!(world.token(&ana).problem(422), "break-glass/not-open");
}

#[test]
fn attack_ch33_halves_are_not_guessed_and_tell_nothing() {
    let world = World::new();
    let halves = world.halves();
    let none = format!("{}x", &halves[0][..halves[0].len() - 1]);
    let said: Vec<String> =
        [(halves[1].as_str(), "ana"), (&none, "ana"), (&none, "eve"), (&none, "nobody"), ("", "ana")]
            .iter()
            .map(|(half, who)| {
                let reply = world.begin(half, who, 30).0;
                assert_eq!(reply.problem(401), "auth/bad-half", "{who}");
                let mut said = reply.json();
                said["message"].take().to_string()
            })
            .collect();
    assert!(said.windows(2).all(|two| two[0] == two[1]), "one answer for all: {said:?}");
    for _ in 0..5 {
        assert_eq!(world.begin(&none, "ana", 30).0.problem(401), "auth/bad-half");
    }
    assert_eq!(world.begin(&none, "ben", 30).0.problem(429), "auth/too-many-failures");
    assert_eq!(world.begin(&halves[0], "ana", 30).0.problem(429), "auth/too-many-failures", "right ones wait too");
}

#[test]
fn attack_t04_junk_from_elsewhere_keeps_no_holder_out() {
    let mut world = World::new();
    let halves = world.halves();
    let junk = |path: &str| {
        let body = json!({"person": "ana@example.com", "half": "x"});
        post_from(&world.server, ELSEWHERE, path, &body)
    };
    let path = "/v1/break-glass/openings/x/join";
    let said: Vec<u16> = (0..12).map(|_| junk(path)).collect();
    assert_eq!((said[0], said[11]), (401, 429), "whoever tries has to wait: {said:?}");
    world.open(&halves, 30);
}

#[test]
fn attack_ch33_nobody_reviews_what_they_opened_and_an_overdue_review_is_found() {
    let mut world = World::new();
    let halves = world.halves();
    let (ana, opening) = world.open(&halves, 10);
    let path = format!("/v1/break-glass/openings/{opening}/review");
    let review = json!({"finding": "justified", "words": "The token was ended, and the log shows nothing else"});
    let early = world.people[2].post(&world.server, &path, &review);
    assert_eq!(early.problem(422), "break-glass/review", "it is still open");
    world.clock.advance(Span::seconds(600));
    assert!((400..500).contains(&ana.post(&world.server, &path, &review).status), "its session is over");
    // An opener who meanwhile became security lead.
    world.assign("ben", &json!({"roles": ["security-lead"]}));
    assert_eq!(world.people[1].post(&world.server, &path, &review).problem(422), "break-glass/review");
    let found = |world: &World, who: &Someone| {
        world.clock.advance(Span::seconds(1)); // No observation counts twice.
        who.post(&world.server, "/v1/trust/run", &json!({"checks": ["emergency-account"]})).ok().to_string()
    };
    assert!(!found(&world, &world.people[2]).contains("overdue-review"));
    world.clock.advance(Span::hours(24));
    let eve = world.sign_in(2);
    assert!(found(&world, &eve).contains("overdue-review"));
    let shown = eve.get(&world.server, "/v1/break-glass").ok();
    assert_eq!(shown["openings"][0]["review"], "overdue", "{shown}");
    assert_eq!(eve.post(&world.server, &path, &review).ok()["review"], "done");
    assert_eq!(eve.post(&world.server, &path, &review).problem(422), "break-glass/review", "once");
    assert!(!found(&world, &eve).contains("overdue-review"));
}
