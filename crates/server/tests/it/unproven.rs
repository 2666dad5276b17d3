//! What whoever has the root key can write into the documents, and what nobody else signed (T6).

use creta_audit::{Details, Event, Log};
use creta_keys::{KeyRing, RootKey, ScopeKey};
use creta_model::{Environment, EnvironmentClass};
use creta_platform::Platform;
use creta_programme::access::{Grant, Request, RequestState};
use creta_proof::Hash;
use creta_server::{ServeOptions, start};
use creta_store::{MetadataStore as _, SqliteStore};
use serde_json::{Value, json};

use crate::people::{Someone, answer_prompt, appoint, authenticator, origin, server, sign_in_with};
use crate::provider::Provider;
use crate::soft_authenticator::SoftAuthenticator;
use crate::support::{Reply, Server, copy_folder};

pub(crate) fn opened(server: &Server) -> (Platform, ScopeKey, Environment) {
    let environment = Environment::parse("prod").expect("valid");
    let root = RootKey::load_file(&server.report.root_key, &environment).expect("there");
    let platform = Platform::system(server.data()).expect("there");
    let ring = KeyRing::open(root, environment.clone(), platform.clone()).expect("opens");
    let key = ring.scope(&creta_iam::control_plane(&environment)).expect("there");
    (platform, key, environment)
}

/// Edits the only document of a kind while the server stands still.
fn edit(server: &Server, kind: &str, id: &str, edit: impl FnOnce(&[u8]) -> Vec<u8>) {
    let (_, key, _) = opened(server);
    let store = SqliteStore::open(server.data().join("metadata.sqlite"), key).expect("opens");
    let document = store.read(kind, id).expect("readable").expect("there");
    store.write(kind, id, Some(document.version), &edit(&document.body)).expect("written");
}

/// Edits a request and what follows from its terms, so that it reads as a whole one.
fn edit_request(body: &[u8], edit: impl FnOnce(&mut Request)) -> Vec<u8> {
    let mut request = Request::parse(body).expect("a request");
    edit(&mut request);
    request.digest = request.terms.digest();
    request.approvals.iter_mut().for_each(|approval| approval.terms = request.digest);
    if !request.approvals.is_empty() {
        request.state = RequestState::Approved;
    }
    request.to_bytes()
}

fn sign(server: &Server, key: &mut SoftAuthenticator, asked: &Reply) -> Reply {
    key.origin = origin(server); // Which has another port after each start.
    let asked = asked.ok();
    let prompt = asked["verify"].as_str().expect("where to sign").split("prompt=").nth(1).expect("a prompt").to_owned();
    answer_prompt(server, key, &prompt, None)
}

fn approve(server: &Server, ben: &Someone, key: &mut SoftAuthenticator, request: &Value) -> String {
    let id = request["request"].as_str().expect("an id").to_owned();
    let decision = json!({"verdict": "approve", "digest": request["digest"]});
    sign(server, key, &ben.post(server, &format!("/v1/access/requests/{id}/decide"), &decision)).ok();
    id
}

fn activate(server: &Server, who: &Someone, id: &str) -> Reply {
    who.post(server, &format!("/v1/access/requests/{id}/activate"), &json!({}))
}

/// Nobody is believed who gives the same reason twice.
const REASONS: [&str; 3] = [
    "Deploy the corrected score of merchants for the risk team",
    "Compare the catalogue with yesterday's list of sources by hand",
    "Build a training set for the quarterly evaluation of fraud models",
];

/// What somebody does to a stored request, for whose good.
type Forgery = fn(&mut Request, &Someone);

#[test]
fn attack_t6_an_approval_that_is_edited_or_made_up_begins_nothing() {
    let provider = Provider::start();
    let mut server = server(&provider, EnvironmentClass::Staging);
    appoint(&mut server, &provider, &[("ben", "security-lead")]);
    let mut keys: Vec<_> = (1..=3).map(|seed| authenticator(&server, seed)).collect();
    let ben = sign_in_with(&server, &provider, "ben", Some(&mut keys[0]));
    let ana = sign_in_with(&server, &provider, "ana", Some(&mut keys[1]));
    let eve = sign_in_with(&server, &provider, "eve", Some(&mut keys[2]));
    let log_of = |server: &Server| ben.get(server, "/v1/audit/entries?limit=1000").text();

    // As it was signed it begins, over a restart too.
    let fair = ana.request(&server, "viewer", 1).ok();
    let fair = approve(&server, &ben, &mut keys[0], &fair);
    server.stop();
    server.start();
    assert!(activate(&server, &ana, &fair).ok()["holds"] == json!(true));
    assert!(log_of(&server).contains("\"signature\":\"sha256:"));

    // For somebody else, for longer, as something else: what Ben signed is not what stands there.
    let edits: [(&str, Forgery); 3] = [
        ("ana", |request, _| request.terms.hours = 8),
        ("ana", |request, _| request.terms.role = creta_iam::Role::Operator),
        ("eve", |request, eve| {
            let id = eve.opened["person"].as_str().expect("an id");
            let account = creta_iam::PrincipalId::parse(id).expect("an id");
            let person = creta_programme::PersonId::new(account.clone());
            request.terms.beneficiary = creta_programme::PersonRef { account, person };
        }),
    ];
    for (number, (who, change)) in edits.into_iter().enumerate() {
        let body = json!({"role": "auditor", "ticket": format!("OPS-{}", number + 1), "hours": 1,
            "reason": REASONS[number]});
        let request = ana.post(&server, "/v1/access/requests", &body).ok();
        let id = approve(&server, &ben, &mut keys[0], &request);
        server.stop();
        edit(&server, "access-request", &id, |body| edit_request(body, |request| change(request, &eve)));
        server.start();
        let who = if who == "eve" { &eve } else { &ana };
        let refused = activate(&server, who, &id);
        assert_eq!(refused.problem(403), "access/unproven", "{number}: {}", refused.text());
    }
    // From nothing: with no signature, and with that of another request.
    for with_signature in [false, true] {
        let body = json!({"role": "operator", "ticket": "OPS-9", "hours": 1,
            "reason": REASONS[usize::from(with_signature)]});
        let request = eve.post(&server, "/v1/access/requests", &body).ok();
        let id = request["request"].as_str().expect("an id").to_owned();
        server.stop();
        let (_, key, _) = opened(&server);
        let store = SqliteStore::open(server.data().join("metadata.sqlite"), key).expect("opens");
        let signed = store.read("access-request", &fair).expect("readable").expect("there");
        drop(store);
        let mut copied = Request::parse(&signed.body).expect("a request").approvals[0].clone();
        if !with_signature {
            copied.signature = None;
        }
        edit(&server, "access-request", &id, |body| {
            edit_request(body, |request| {
                copied.at = request.terms.created;
                request.approvals.push(copied);
            })
        });
        server.start();
        assert_eq!(activate(&server, &eve, &id).problem(403), "access/unproven");
    }
    let log = log_of(&server);
    assert_eq!(log.matches("\"access.unproven\"").count(), 5, "{log}");
}

#[test]
fn attack_t6_a_grant_that_is_edited_ends_at_the_start_and_is_reported() {
    let provider = Provider::start();
    let mut server = server(&provider, EnvironmentClass::Staging);
    appoint(&mut server, &provider, &[("ben", "security-lead"), ("kim", "operator")]);
    let mut keys: Vec<_> = (1..=3).map(|seed| authenticator(&server, seed)).collect();
    let ben = sign_in_with(&server, &provider, "ben", Some(&mut keys[0]));
    let ana = sign_in_with(&server, &provider, "ana", Some(&mut keys[1]));
    let kim = sign_in_with(&server, &provider, "kim", Some(&mut keys[2]));
    let request = ana.request(&server, "viewer", 1).ok();
    let id = approve(&server, &ben, &mut keys[0], &request);
    let grant = activate(&server, &ana, &id).ok()["grant"].as_str().expect("an id").to_owned();
    let check = |server: &Server| kim.post(server, "/v1/trust/run", &json!({"checks": ["access-grants"]})).text();
    assert!(!check(&server).contains("access/grant-"), "{}", check(&server));
    server.stop();
    edit(&server, "access-grant", &grant, |body| {
        let mut grant = Grant::parse(body).expect("a grant");
        grant.terms.role = creta_iam::Role::Operator;
        let digest = grant.terms.digest();
        grant.approvals.iter_mut().for_each(|approval| approval.terms = digest);
        grant.to_bytes()
    });
    server.start();
    let listed = ana.get(&server, "/v1/access/grants").ok();
    assert_eq!(listed["grants"][0]["holds"], false, "{listed}");
    assert_ne!(ana.post(&server, "/v1/trust/run", &json!({"checks": ["clock"]})).status, 200);
    let log = ben.get(&server, "/v1/audit/entries?limit=1000").text();
    assert!(log.contains("\"access.unproven\"") && log.contains("signature-check"), "{log}");
    assert!(check(&server).contains("access/grant-unproven"), "{}", check(&server));
}

const WIDER: &str = r#"
@id("viewers-run-checks")
permit (
  principal is Creta::Person in Creta::Role::"viewer",
  action == Creta::Action::"trust.run",
  resource is Creta::Environment
)
when { principal.environment == resource.environment };"#;

#[test]
fn attack_t6_policies_that_nobody_signed_for_do_not_come_into_force_by_an_entry_of_the_log() {
    let provider = Provider::start();
    let mut server = server(&provider, EnvironmentClass::Staging);
    appoint(&mut server, &provider, &[("ben", "security-lead"), ("kim", "administrator")]);
    let mut keys: Vec<_> = (1..=2).map(|seed| authenticator(&server, seed)).collect();
    let ben = sign_in_with(&server, &provider, "ben", Some(&mut keys[0]));
    let kim = sign_in_with(&server, &provider, "kim", Some(&mut keys[1]));
    let propose = |text: &str| kim.post(&server, "/v1/access/policies", &json!({ "text": text })).ok();
    let first = propose(&WIDER.replace("viewer", "auditor"));
    let id = first["policy"].as_str().expect("an id");
    let asked = ben.post(&server, &format!("/v1/access/policies/{id}/approve"), &json!({"digest": first["digest"]}));
    sign(&server, &mut keys[0], &asked).ok();
    let wider = propose(WIDER)["policy"].as_str().expect("an id").to_owned();
    let entries = ben.get(&server, "/v1/audit/entries?limit=1000").ok();
    let adopted = entries["entries"].as_array().expect("a list").iter();
    let mut adopted = adopted.map(|entry| if entry["entry"].is_object() { &entry["entry"] } else { entry });
    let adopted = adopted.rfind(|entry| entry["action"] == "policy.adopted").expect("adopted").clone();
    let detail = |name: &str| adopted["details"][name].as_str().expect(name).to_owned();
    let bytes = |text: &str| *Hash::try_from(text.trim_start_matches("sha256:").to_owned()).expect("a hash").as_bytes();
    server.stop();
    server.start(); // What was signed holds.
    for signature in [None, Some(bytes(&detail("signature")))] {
        server.stop();
        let kept = tempfile::tempdir().expect("a folder");
        let before = kept.path().join("data");
        copy_folder(&server.data(), &before);
        let (platform, key, environment) = opened(&server);
        let log = Log::open(&platform, key, environment.clone()).expect("opens");
        let mut details = Details::none()
            .name("proposal", wider.as_str())
            .and_then(|details| details.digest("text", *Hash::of(&[WIDER.as_bytes()]).as_bytes()))
            .expect("details");
        if let Some(signature) = signature {
            details = details
                .digest("signature", signature)
                .and_then(|details| details.name("approver", detail("approver")))
                .and_then(|details| details.name("seen", detail("seen")))
                .expect("details");
        }
        log.record(Event::new("policy.adopted", creta_iam::Place::Environment(environment)).with(details))
            .expect("recorded");
        log.close().expect("closed");
        drop(log);
        let refused = start(&ServeOptions { folder: server.data(), listen: None }).err().expect("refused");
        assert_eq!(refused.to_problem().code, "server/policies");
        std::fs::remove_dir_all(server.data()).expect("removed");
        copy_folder(&before, &server.data());
        server.start();
    }
}
