//! Values of tenants reach neither staff nor people's machines: statistics in groups, no downloads, sinks, and planted values
//! that are searched for in everything that staff can get.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use creta_model::EnvironmentClass;
use creta_platform::ManualClock;
use serde_json::{Value, json};

use crate::people::{Someone, assign, authenticator, prove, server, server_by, sign_in, sign_in_with};
use crate::provider::Provider;
use crate::support::{ARROW, INGEST, Reply, Server, bundle, instant, spine, stream};

/// What is planted as a value: an address, and a number that stands nowhere else.
const CANARY: &str = "canary-51f7@example.org";
const CANARY_SCORE: f64 = 48_151.623_42;

/// Users by number: their city is the planted address of their number, their score is a planted number.
fn users(ids: impl IntoIterator<Item = i64>, score: f64) -> RecordBatch {
    let ids: Vec<i64> = ids.into_iter().collect();
    let seen = vec![instant("2025-03-01T12:00:00Z"); ids.len()];
    let cities = ids.iter().map(|id| format!("{id}{CANARY}"));
    RecordBatch::try_from_iter([
        ("id", Arc::new(Int64Array::from(ids.clone())) as ArrayRef),
        ("seen", Arc::new(TimestampMicrosecondArray::from(seen).with_timezone("UTC"))),
        ("city", Arc::new(StringArray::from_iter_values(cities))),
        ("score", Arc::new(Float64Array::from(vec![score; ids.len()]))),
    ])
    .expect("columns of one length")
}

const STATISTICS: &str = "/v1/statistics?tenant=acme&feature=";

fn ask(someone: &Someone, server: &Server, feature: &str) -> Reply {
    someone.get(server, &format!("{STATISTICS}{feature}"))
}

/// Sixty users of a tenant, and an operator who is none of them.
fn world(provider: &Provider, tail: &str) -> (Server, Arc<ManualClock>, Someone, crate::support::Account) {
    let (server, clock) = server_by(provider, EnvironmentClass::Development, tail);
    let etl = server.shop("acme");
    server.post_arrow(INGEST, &etl.token, &users(0..60, CANARY_SCORE)).ok();
    let ben = sign_in(&server, provider, "ben");
    assign(&server, "ben", &json!({"roles": ["operator"]}));
    (server, clock, ben, etl)
}

fn holds_a_value(text: &str) -> bool {
    text.contains("canary-51f7") || text.contains("48151.6")
}

#[test]
fn staff_learn_ranges_and_forms_in_groups_and_nothing_else() {
    let provider = Provider::start();
    let (server, _, ben, etl) = world(&provider, "");
    let told = ask(&ben, &server, "User.city").ok();
    assert_eq!(told["entities"], 60);
    assert_eq!(told["bins"], json!([{"range": "17 to 32 characters", "count": 60}]), "{told}");
    assert_eq!(
        told["forms"],
        json!([{"form": "99xxx-99x9@xxx.xxx", "count": 40}]),
        "ten numbers have one digit: {told}"
    );
    let told = ask(&ben, &server, "User.doubled").ok();
    assert_eq!(told["bins"], json!([{"range": "10000 to below 100000", "count": 60}]), "{told}");
    assert!(!holds_a_value(&told.to_string()));
    // Of what is withheld from everybody not even that; of another tenant's feature, or for a tenant's own viewer, nothing.
    assert_eq!(ask(&ben, &server, "User.nothing").problem(404), "not-found/feature");
    assert_eq!(ben.get(&server, "/v1/statistics?tenant=beta&feature=User.city").problem(404), "not-found/tenant");
    let refused = server.get(&format!("{STATISTICS}User.city"), &etl.token);
    assert_eq!(refused.problem(403), "access/denied", "a program has no use for it");
    let eve = sign_in(&server, &provider, "eve");
    assign(&server, "eve", &json!({"roles": ["auditor"]}));
    assert_eq!(ask(&eve, &server, "User.city").problem(403), "access/denied");
}

#[test]
fn attack_ch19_a_difference_of_few_is_told_to_nobody() {
    let provider = Provider::start();
    let (server, clock, ben, etl) = world(&provider, "");
    let first = ask(&ben, &server, "User.score").ok();
    let day = creta_model::Span::days(1);
    // One user changes: the next day's answer is the earlier one, whoever asks.
    server
        .post_arrow("/v1/ingest?entity=User&event_time=seen&arrival_delay=0s", &etl.token, &late(0..1, &clock, 5.0))
        .ok();
    clock.advance(day);
    let ben = sign_in(&server, &provider, "ben"); // Nobody's session lasts for a day.
    assert_eq!(ask(&ben, &server, "User.score").ok(), first);
    let eve = sign_in(&server, &provider, "eve");
    assign(&server, "eve", &json!({"roles": ["operator"]}));
    assert_eq!(ask(&eve, &server, "User.score").ok(), first);
    // A feature that says the same of all but that one would tell as well: it is refused.
    assert_eq!(ask(&ben, &server, "User.doubled").problem(403), "access/too-close");
    // Twenty change: that is a group.
    let token = server.token(&etl.client_id, &etl.secret);
    server
        .post_arrow("/v1/ingest?entity=User&event_time=seen&arrival_delay=0s", &token, &late(0..20, &clock, 5.0))
        .ok();
    clock.advance(day);
    let ben = sign_in(&server, &provider, "ben");
    let later = ask(&ben, &server, "User.score").ok();
    assert_ne!(later["as_of"], first["as_of"]);
    assert_eq!(
        later["bins"],
        json!([
            {"range": "1 to below 10", "count": 20}, {"range": "10000 to below 100000", "count": 40}
        ])
    );
}

/// Users seen now, by the clock of the server.
fn late(ids: std::ops::Range<i64>, clock: &ManualClock, score: f64) -> RecordBatch {
    use creta_platform::Clock as _;
    let table = users(ids, score);
    let at = vec![clock.now().micros(); table.num_rows()];
    let mut columns: Vec<ArrayRef> = table.columns().to_vec();
    columns[1] = Arc::new(TimestampMicrosecondArray::from(at).with_timezone("UTC"));
    RecordBatch::try_new(table.schema(), columns).expect("columns of one length")
}

#[test]
fn attack_ch19_thousands_of_small_questions_end_at_the_budget_and_somebody_is_woken() {
    let pages = tempfile::tempdir().expect("a folder");
    let out = pages.path().join("pages");
    let on_call = format!(
        "[statistics]\ngroup = 20\nbudget = {{ of_feature = 4, of_day = 6 }}\n\
         [[on_call]]\ncommand = [\"/bin/sh\", \"-c\", \"cat >> {}\"]\n",
        out.to_str().expect("a plain path")
    );
    let provider = Provider::start();
    let (mut server, clock, ben, _) = world(&provider, &on_call);
    let answers: Vec<u16> = (0..10).map(|_| ask(&ben, &server, "User.city").status).collect();
    assert_eq!(answers, [200, 200, 200, 200, 403, 403, 403, 403, 403, 403]);
    assert_eq!(ask(&ben, &server, "User.city").problem(403), "access/budget");
    // A restart gives no second budget; another feature has the rest of the day's.
    server.stop();
    server.start();
    assert_eq!(ask(&ben, &server, "User.city").problem(403), "access/budget");
    let answers: Vec<u16> = (0..4).map(|_| ask(&ben, &server, "User.score").status).collect();
    assert_eq!(answers, [200, 200, 403, 403]);
    let log = server.get("/v1/audit/entries?limit=1000", &server.admin_token()).text();
    assert!(log.contains("statistics.overspent") && log.contains("CH-19"), "{log}");
    assert!(!holds_a_value(&log));
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !std::fs::read_to_string(&out).is_ok_and(|pages| pages.contains("budget-")) {
        assert!(std::time::Instant::now() < deadline, "nobody was paged");
        std::thread::yield_now();
    }
    clock.advance(creta_model::Span::days(1));
    let ben = sign_in(&server, &provider, "ben");
    ask(&ben, &server, "User.city").ok();
}

#[test]
fn attack_ch19_of_fewer_than_a_group_and_of_withheld_features_nothing_is_told() {
    let provider = Provider::start();
    let (server, _) = server_by(&provider, EnvironmentClass::Development, "[statistics]\ngroup = 61\n");
    server.tenant("acme");
    let etl = server.account("acme", "etl", "developer");
    let mut tagged = bundle();
    for (feature, tag) in [(2, "secret"), (3, "pii"), (4, "internal")] {
        tagged["graph"]["entities"][0]["features"][feature]["tags"] = json!([tag]);
    }
    server.post("/v1/deploy", &etl.token, &tagged).ok();
    server.post_arrow(INGEST, &etl.token, &users(0..60, CANARY_SCORE)).ok();
    let ben = sign_in(&server, &provider, "ben");
    assign(&server, "ben", &json!({"roles": ["operator"]}));
    assert_eq!(ask(&ben, &server, "User.score").problem(403), "access/too-few");
    for withheld in ["User.city", "User.doubled"] {
        assert_eq!(ask(&ben, &server, withheld).problem(403), "access/denied", "{withheld}");
    }
}

fn bulk(someone: &Someone, server: &Server, path: &str, rows: &RecordBatch) -> Reply {
    let proof = prove(server, &someone.prover, "POST", path, Some(someone.token()));
    let authorization = format!("DPoP {}", someone.token());
    let headers = [("authorization", authorization.as_str()), ("dpop", &proof), ("content-type", ARROW)];
    server.send_with("POST", path, None, &headers, Some(&stream(rows)))
}

#[test]
fn attack_ch14_people_take_no_values_home_in_bulk_and_exports_go_to_sinks_of_the_tenant() {
    let lake = tempfile::tempdir().expect("a folder");
    let (own, others) = (lake.path().join("acme"), lake.path().join("beta"));
    [&own, &others].into_iter().for_each(|folder| std::fs::create_dir(folder).expect("made"));
    let sink = |tenant: &str, name: &str, folder: &std::path::Path| {
        format!(
            "[[sinks]]\nname = \"{name}\"\ntenant = \"{tenant}\"\nfolder = \"{}\"\n",
            folder.to_str().expect("text")
        )
    };
    let tail = sink("acme", "lake", &own) + &sink("beta", "pond", &others);
    let provider = Provider::start();
    let server = Server::configured(EnvironmentClass::Staging, &format!("{tail}\n{}", provider.config()));
    server.tenant("acme");
    // Outside of development one program deploys, another loads, and a third one reads.
    let programs = [("release", "deployer"), ("load", "ingester"), ("scoring", "reader")];
    let accounts = crate::secrets::programs_by_two(&server, &provider, programs);
    let [release, load, scoring] = accounts.map(|account| account.token);
    server.post("/v1/deploy", &release, &bundle()).ok();
    server.post_arrow(INGEST, &load, &users(0..60, CANARY_SCORE)).ok();
    let ana = sign_in_with(&server, &provider, "ana", Some(&mut authenticator(&server, 1)));
    assign(&server, "ana", &json!({"roles": ["data-scientist"], "tenant": "acme"}));
    let question = "?features=User.city,User.score&as_of=at";
    let rows = spine(&[(7, "2025-03-03T00:00:00Z"), (8, "2025-03-03T00:00:00Z")]);
    for path in ["/v1/training-sets", "/v1/query/arrow"] {
        let refused = bulk(&ana, &server, &format!("{path}{question}"), &rows);
        assert_eq!(refused.problem(403), "access/no-download");
        assert!(!holds_a_value(&refused.text()));
        for name in ["pond", "nothing", "..%2Fbeta", ""] {
            let elsewhere = bulk(&ana, &server, &format!("{path}{question}&sink={name}"), &rows);
            assert_eq!(elsewhere.problem(404), "not-found/sink", "{name}");
        }
        let written = bulk(&ana, &server, &format!("{path}{question}&sink=lake"), &rows).ok();
        assert_eq!((&written["sink"], &written["rows"]), (&json!("lake"), &json!(2)));
        let file = own.join(written["file"].as_str().expect("a name"));
        let table = creta_engine::read_parquet(std::fs::File::open(file).expect("written")).expect("a Parquet file");
        assert_eq!(table.iter().map(arrow::array::RecordBatch::num_rows).sum::<usize>(), 2);
        assert_eq!(table[0].schema().metadata()["creta.class"], "staging", "the table says where it is from");
    }
    assert_eq!(std::fs::read_dir(&others).expect("there").count(), 0);
    // Nor a row at a time, nor in one question; a program of the tenant does its work.
    let ask = |ids: Vec<i64>| json!({"inputs": {"User.id": ids}, "outputs": ["User.score"]});
    ana.post(&server, "/v1/query", &ask(vec![7])).ok();
    assert_eq!(ana.post(&server, "/v1/query", &ask((0..101).collect())).problem(403), "access/no-download");
    let statuses: Vec<u16> = (0..11).map(|_| ana.post(&server, "/v1/query", &ask((0..100).collect())).status).collect();
    assert_eq!((statuses[8], statuses[9], statuses[10]), (200, 403, 403), "a thousand rows a day: {statuses:?}");
    server.post_arrow(&format!("/v1/training-sets{question}"), &scoring, &rows).batch();
    let log = server.get("/v1/audit/entries?limit=1000", &server.admin_token_or_none()).text();
    assert!(log.contains("download.refused") && log.contains("sink.written"), "{log}");
    assert!(!holds_a_value(&log));
}

#[test]
fn a_program_gets_a_table_that_says_where_it_is_from_and_made_up_data_of_the_schema() {
    let server = Server::new();
    let etl = server.shop("acme");
    server.post_arrow(INGEST, &etl.token, &users(0..3, CANARY_SCORE)).ok();
    let rows = spine(&[(1, "2025-03-03T00:00:00Z")]);
    let table = server.post_arrow("/v1/query/arrow?features=User.city&as_of=at", &etl.token, &rows).batch();
    assert_eq!(table.schema().metadata()["creta.environment"], "prod");
    assert_eq!(table.schema().metadata()["creta.class"], "development");
    let made = server.post("/v1/synth", &etl.token, &json!({"entity": "User", "rows": 50, "seed": 7}));
    let table = made.batch();
    assert_eq!((table.num_rows(), table.num_columns()), (50, 4), "what is computed is not made up");
    assert!(!holds_a_value(&format!("{table:?}")));
    assert_eq!(server.post("/v1/synth", &etl.token, &json!({"entity": "User", "rows": 50, "seed": 7})).body, made.body);
    assert_eq!(server.post("/v1/synth", &etl.token, &json!({"entity": "Nobody"})).problem(404), "not-found/entity");
    let many = json!({"entity": "User", "rows": 100_001});
    assert_eq!(server.post("/v1/synth", &etl.token, &many).problem(413), "too-large/rows");
}

/// Everything that the description of the API lists, asked by staff of every role and by the local administrator.
#[test]
fn attack_ch14_no_planted_value_is_in_anything_that_staff_get() {
    let provider = Provider::start();
    let server = server(&provider, EnvironmentClass::Development);
    let etl = server.shop("acme");
    server.post_arrow(INGEST, &etl.token, &users(0..60, CANARY_SCORE)).ok();
    // Values are in use, and in mistakes.
    let ask = json!({"inputs": {"User.id": [7]}, "outputs": ["User.city", "User.score"]});
    assert!(holds_a_value(&server.post("/v1/query", &etl.token, &ask).text()), "the tenant's program gets them");
    for wrong in [
        json!({"inputs": {"User.city": [CANARY]}, "outputs": ["User.nothing"]}),
        json!({"inputs": {"User.id": [CANARY]}, "outputs": ["User.score"]}),
        json!({"inputs": {CANARY: [1]}, "outputs": [CANARY]}),
        json!({ CANARY: CANARY_SCORE }),
    ] {
        let refused = server.post("/v1/query", &etl.token, &wrong);
        assert!((400..500).contains(&refused.status), "{}", refused.text());
    }
    let roles = ["operator", "security-lead", "auditor", "administrator"];
    let staff: Vec<Someone> = roles
        .iter()
        .map(|role| {
            let someone = sign_in(&server, &provider, role);
            assign(&server, role, &json!({"roles": [role]}));
            someone
        })
        .collect();
    let document: Value = serde_json::from_str(&creta_server::openapi_document()).expect("JSON");
    let (mut answers, mut given) = (0, 0);
    for (path, item) in document["paths"].as_object().expect("paths") {
        let path = path.replace("{id}", "ana@example.com").replace("{level}", "0").replace("{index}", "000");
        for method in item.as_object().expect("operations").keys() {
            let method = method.to_uppercase();
            if path.ends_with("/leave") || path.contains("/sessions") || method == "DELETE" {
                continue; // These end those who ask.
            }
            for query in ["", "?tenant=acme", "?tenant=acme&feature=User.city", "?limit=1000"] {
                let path = format!("{path}{query}");
                let body = (method != "GET").then(|| ask.clone());
                for someone in &staff {
                    let reply = someone.send(&server, &method, &path, body.as_ref());
                    answers += 1;
                    given += u32::from(reply.status == 200);
                    let text = reply.text();
                    assert!(!holds_a_value(&text), "{method} {path}: {text}");
                    assert!(!format!("{:?}", reply.headers).contains("canary"), "{method} {path}");
                }
            }
        }
    }
    assert!(answers > 1_000 && given > 50, "{answers} answers, {given} of them given");
    for path in ["/metrics", "/v1/audit/entries?limit=1000", "/v1/tenants", "/trust/", "/trust/trust.json"] {
        assert!(!holds_a_value(&server.get(path, &server.admin_token()).text()), "{path}");
    }
}

/// Names the folder for the process whose log is read.
const CHILD: &str = "CRETA_TEST_LOGGED_SERVER";

/// What a server does whose own log and folder are searched: values come in, are asked for a row at a time, and stand in
/// mistakes of every kind.
fn work_with_values(folder: &std::path::Path) {
    let mut server = Server::at(folder);
    let etl = server.shop("acme");
    server.post_arrow(INGEST, &etl.token, &users(0..60, CANARY_SCORE)).ok();
    for id in 0..20 {
        let page = json!({"inputs": {"User.id": [id]}, "outputs": ["User.city", "User.score"]});
        assert!(holds_a_value(&server.post("/v1/query", &etl.token, &page).text()), "values are in use");
    }
    let rows = spine(&[(7, "2025-03-03T00:00:00Z")]);
    server.post_arrow("/v1/training-sets?features=User.city,User.score&as_of=at", &etl.token, &rows).batch();
    server.post("/v1/verify", &etl.token, &json!({})).ok();
    for (path, wrong) in [
        ("/v1/query", json!({"inputs": {"User.id": [CANARY]}, "outputs": ["User.score"]})),
        ("/v1/query", json!({"inputs": {CANARY: [1]}, "outputs": [CANARY]})),
        ("/v1/explain", json!({"inputs": {"User.city": [CANARY]}, "outputs": [CANARY]})),
        ("/v1/facts", json!({"load": {"entity": "User"}, "rows": [{"id": CANARY, "city": CANARY_SCORE}]})),
    ] {
        let refused = server.post(path, &etl.token, &wrong);
        assert!((400..500).contains(&refused.status), "{}", refused.text());
    }
    let unread = format!("{{\"inputs\": \"{CANARY}\", {CANARY_SCORE}");
    server.send("POST", "/v1/query", Some(&etl.token), Some((crate::support::JSON, unread.as_bytes())));
    server.get(&format!("/v1/query/{CANARY}?{CANARY}={CANARY_SCORE}"), &etl.token);
    server.get("/v1/catalogue", CANARY);
    assert!(!holds_a_value(&server.get("/metrics", &server.admin_token()).text()));
    server.stop();
    server.start();
}

#[test]
fn attack_ch14_no_planted_value_is_in_the_servers_own_log_or_in_the_clear_in_its_folder() {
    if let Some(folder) = std::env::var_os(CHILD) {
        creta_server::init_logging();
        return work_with_values(std::path::Path::new(&folder));
    }
    let folder = tempfile::tempdir().expect("a folder");
    let name = "disclosure::attack_ch14_no_planted_value_is_in_the_servers_own_log_or_in_the_clear_in_its_folder";
    let ran = std::process::Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, folder.path())
        .env("CRETA_LOG", "trace,ureq=off,ureq_proto=off")
        .output()
        .expect("started");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{said}");
    assert!(said.contains("answered") && said.len() > 10_000, "it logged everything: {} bytes", said.len());
    assert!(!holds_a_value(&said));
    let (mut files, mut open) = (0, vec![folder.path().to_owned()]);
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).expect("readable") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).expect("readable");
            for planted in [CANARY.as_bytes(), b"canary-51f7", &CANARY_SCORE.to_le_bytes(), b"48151.6"] {
                assert!(memchr::memmem::find(&bytes, planted).is_none(), "{} holds a value", path.display());
            }
            files += 1;
        }
    }
    assert!(files >= 10, "{files} files");
}
