//! The intake beside a server: what it takes while the server is away becomes cases, once, and nobody else makes any.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use creta_model::TenantId;
use creta_server::intake::{self, IntakeInit, IntakeOptions, IntakeServeOptions, OnCall, RunningIntake, tenant_code};
use serde_json::{Value, json};

use crate::support::{JSON, Reply, Server, agent, read_reply};

/// An intake whose pages end in a file, beside a server that knows it.
struct Beside {
    server: Server,
    made: IntakeInit,
    running: Option<RunningIntake>,
    pages: PathBuf,
    _folder: tempfile::TempDir,
}

/// An address that nobody listens at.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

fn pages_to(file: &Path) -> OnCall {
    let script = format!("cat >> '{0}'; echo --- >> '{0}'", file.display());
    OnCall { command: ["/bin/sh", "-c", &script].map(str::to_owned).to_vec(), ..OnCall::default() }
}

impl Beside {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let pages = folder.path().join("pages");
        let mut server = Server::at(folder.path());
        let options = IntakeOptions { listen: free(), on_call: vec![pages_to(&pages)], ..IntakeOptions::default() };
        let made = intake::init(&folder.path().join("intake"), &server.data(), &options).expect("made");
        server.stop();
        server.start();
        let mut beside = Self { server, made, running: None, pages, _folder: folder };
        beside.start();
        beside
    }

    fn start(&mut self) {
        let options = IntakeServeOptions { folder: self.made.folder.clone(), listen: None };
        self.running = Some(intake::start(&options).unwrap_or_else(|error| panic!("{}", error.to_problem())));
    }

    fn send(&self, method: &str, path: &str, body: Option<(&str, &str)>) -> Reply {
        let url = format!("{}{path}", self.running.as_ref().expect("running").url());
        let request = ureq::http::Request::builder().method(method).uri(url);
        let agent = agent(&self.made.ca);
        read_reply(
            match body {
                Some((media, text)) => {
                    agent.run(request.header("content-type", media).body(text.to_owned()).expect("a request"))
                }
                None => agent.run(request.body(()).expect("a request")),
            }
            .expect("an answer"),
        )
    }

    fn report(&self, body: &Value) -> Reply {
        self.send("POST", "/trust/report", Some((JSON, &body.to_string())))
    }

    fn cases(&self) -> Vec<Value> {
        let listed = self.server.get("/v1/trust/reports", &self.server.admin_token()).ok();
        listed["reports"].as_array().expect("a list").clone()
    }

    fn wait(&self, what: &str, is_so: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !is_so() {
            assert!(Instant::now() < deadline, "{what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn paged(&self) -> String {
        std::fs::read_to_string(&self.pages).unwrap_or_default()
    }

    fn spooled(&self) -> Vec<PathBuf> {
        let folder = std::fs::read_dir(self.made.folder.join("spool"));
        folder.map(|entries| entries.map(|entry| entry.expect("readable").path()).collect()).unwrap_or_default()
    }
}

fn reference(reply: &Reply) -> String {
    reply.ok()["reference"].as_str().expect("a reference").to_owned()
}

#[test]
fn attack_ch64_with_the_server_gone_a_report_still_pages_and_is_a_case_when_it_is_back() {
    let mut beside = Beside::new();
    beside.server.stop();
    let received = beside.report(&json!({"title": "keys are public", "description": "see pastebin", "urgent": "yes"}));
    let reference = reference(&received);
    beside.wait("it pages", || beside.paged().contains("---"));
    assert_eq!(beside.paged(), format!("{reference}\nurgent\n1\n---\n"), "and says nothing of what was reported");
    let spooled = beside.spooled();
    assert_eq!(spooled.len(), 1);
    let bytes = std::fs::read(&spooled[0]).expect("readable");
    assert!(!String::from_utf8_lossy(&bytes).contains("pastebin"), "what waits is sealed");

    beside.server.start();
    beside.wait("the case is made", || beside.cases().len() == 1);
    let case = &beside.cases()[0]["report"];
    assert_eq!((&case["reference"], &case["title"]), (&json!(reference), &json!("keys are public")));
    assert_eq!((&case["urgent"], &case["intake"]["name"]), (&json!(true), &json!("intake")));
    let time = |name: &Value| creta_model::Instant::parse(name.as_str().expect("an instant")).expect("valid");
    assert!(time(&case["received_at"]) <= time(&case["intake"]["picked_up_at"]));
    assert_eq!(case["received_at"], received.json()["received_at"]);
    beside.wait("the spool is empty", || beside.spooled().is_empty());
    assert_eq!(beside.server.send("GET", &format!("/trust/report/{reference}"), None, None).status, 200);

    // Put back by somebody, or after a crash between the two: one case all the same.
    std::fs::write(&spooled[0], &bytes).expect("written");
    beside.wait("it goes again", || beside.spooled().is_empty());
    assert_eq!(beside.cases().len(), 1);
    let log = beside.server.get("/v1/audit/entries?limit=1000", &beside.server.admin_token()).ok();
    let entries = log["entries"].as_array().expect("a list");
    let of_it = entries.iter().filter(|line| line["entry"]["action"] == "report.received").collect::<Vec<_>>();
    assert_eq!(of_it.len(), 1, "{of_it:?}");
    let details = &of_it[0]["entry"]["details"];
    assert_eq!((&details["intake"], &details["received-at"]), (&json!("intake"), &case["received_at"]));
    assert!(details["spooled"].as_str().is_some_and(|digest| digest.starts_with("sha256:")), "{details}");
}

#[test]
fn the_intake_shows_a_form_a_contact_and_nothing_else() {
    let beside = Beside::new();
    let root = beside.send("GET", "/", None);
    assert_eq!((root.status, root.headers["location"].to_str().ok()), (307, Some("/trust/report/")));
    let form = beside.send("GET", "/trust/report/", None);
    assert!(form.status == 200 && form.text().contains("Report a security problem"), "{}", form.text());
    let policy = form.headers.get("content-security-policy").expect("a policy").to_str().expect("text");
    assert!(policy.starts_with("default-src 'none'") && !form.text().contains("<script"), "{policy}");
    assert_eq!(beside.send("GET", "/trust/style.css", None).content_type, "text/css; charset=utf-8");
    let contact = beside.send("GET", "/.well-known/security.txt", None).text();
    assert!(contact.contains(&format!("Contact: {}\r\n", beside.made.form)), "{contact}");
    let of_server = beside.server.send("GET", "/.well-known/security.txt", None, None).text();
    assert!(of_server.contains(&format!("Contact: {}\r\n", beside.made.form)), "{of_server}");
    for other in ["/v1/trust", "/metrics", "/trust/trust.json", "/trust/report/../../intake.key"] {
        assert_eq!(beside.send("GET", other, None).status, 404, "{other}");
    }
    let hostile = "title=%3Cscript%3Ealert(1)%3C/script%3E&description=&contact=%22%3E%3Cscript%3E";
    let again = beside.send("POST", "/trust/report", Some(("application/x-www-form-urlencoded", hostile)));
    assert_eq!(again.status, 422);
    assert!(!again.text().contains("<script"), "{}", again.text());
    let large = "x".repeat(70_000);
    assert_eq!(beside.report(&json!({"title": "t", "description": large})).problem(413), "too-large/body");
    assert_eq!(beside.spooled().len(), 0);
}

#[test]
fn attack_ch64_a_flood_wakes_people_once_and_a_tenants_flag_always() {
    let mut beside = Beside::new();
    beside.server.stop();
    let junk = |n: u32| json!({"title": format!("buy {n}"), "description": "cheap pills", "urgent": "yes"});
    let taken = (0..30).filter(|n| beside.report(&junk(*n)).status == 201).count();
    assert_eq!(taken, 5, "from one address");
    beside.wait("it pages", || beside.paged().contains("---"));
    assert_eq!(beside.paged().matches("---").count(), 1, "{}", beside.paged());

    // From the very same address, since a tenant may stand behind it too.
    let code = tenant_code(&beside.made.folder, &TenantId::parse("acme").expect("valid")).expect("made");
    let urgent =
        |n: u32| json!({"title": format!("down {n}"), "description": "all of it", "urgent": "yes", "code": code});
    for n in 0..2 {
        let reference = reference(&beside.report(&urgent(n)));
        beside.wait("it pages", || beside.paged().contains(&format!("{reference}\ntenant\n1\n---\n")));
    }
    let wrong = json!({"title": "t", "description": "d", "urgent": "yes", "code": "acme.0000000000000000"});
    assert_eq!(beside.report(&wrong).problem(422), "request/code");

    beside.server.start();
    beside.wait("all are taken", || beside.spooled().is_empty());
    let cases = beside.cases();
    assert_eq!(cases.len(), 3, "five that say the same are one case: {cases:?}");
    assert_eq!((&cases[0]["again"], &cases[1]["report"]["tenant"]), (&json!(4), &json!("acme")));
    // What is decided about the first is decided about all that said the same.
    let admin = beside.server.admin_token();
    let first = cases[0]["report"]["reference"].as_str().expect("a reference");
    let verdict = json!({"verdict": "rejected", "reason": "junk"});
    beside.server.post(&format!("/v1/trust/reports/{first}"), &admin, &verdict).ok();
    let ran = beside.server.post("/v1/trust/run", &admin, &json!({"checks": ["report-intake"]})).ok();
    assert_eq!(ran["ran"][0]["outcome"], "pass", "{ran}");
}

#[test]
fn attack_ch64_nobody_else_puts_reports_into_the_spool() {
    let beside = Beside::new();
    let genuine = reference(&beside.report(&json!({"title": "genuine", "description": "text"})));
    beside.wait("it is taken", || beside.cases().len() == 1);
    let spool = beside.made.folder.join("spool");
    // Made by another intake, which the server does not know, for the same server.
    let other = tempfile::tempdir().expect("a folder");
    let config = std::fs::read(beside.server.data().join("config.toml")).expect("readable");
    let options = IntakeOptions { name: "other".to_owned(), listen: free(), ..IntakeOptions::default() };
    let made = intake::init(&other.path().join("intake"), &beside.server.data(), &options).expect("made");
    std::fs::write(beside.server.data().join("config.toml"), config).expect("written");
    let running = intake::start(&IntakeServeOptions { folder: made.folder.clone(), listen: None }).expect("started");
    let url = format!("{}/trust/report", running.url());
    let body = json!({"title": "forged", "description": "text"}).to_string();
    let request = ureq::http::Request::post(url).header("content-type", JSON).body(body).expect("a request");
    read_reply(agent(&made.ca).run(request).expect("an answer")).ok();
    let forged = std::fs::read_dir(made.folder.join("spool")).expect("there").next().expect("one").expect("readable");
    std::fs::copy(forged.path(), spool.join(forged.file_name())).expect("copied");
    std::fs::write(spool.join("0123456789abcdef01234567.report"), b"{}").expect("written");
    let admin = beside.server.admin_token();
    let refused = || {
        let ran = beside.server.post("/v1/trust/run", &admin, &json!({"checks": ["report-intake"]})).ok();
        ran["ran"][0]["findings"].to_string().contains("intake/refused-spool")
    };
    beside.wait("the check sees it", refused);
    let cases = beside.cases();
    assert_eq!((cases.len(), &cases[0]["report"]["reference"]), (1, &json!(genuine)), "{cases:?}");
}

#[test]
fn attack_ch63_an_intake_that_is_down_or_pages_nobody_is_found() {
    let mut beside = Beside::new();
    let admin = beside.server.admin_token();
    let run = |beside: &Beside| {
        beside.server.post("/v1/trust/run", &admin, &json!({"checks": ["report-intake"]})).ok()["ran"][0].clone()
    };
    assert_eq!(run(&beside)["outcome"], "pass", "{}", run(&beside));
    beside.running.take().expect("running").stop();
    assert!(run(&beside)["findings"].to_string().contains("intake/down"));

    let file = beside.made.folder.join("intake.toml");
    let text = std::fs::read_to_string(&file).expect("readable");
    let failing = text.replace("cat >>", "false && cat >>").replace("echo ---", "exit 1; echo ---");
    assert_ne!(failing, text);
    std::fs::write(&file, failing).expect("written");
    beside.start();
    reference(&beside.report(&json!({"title": "t", "description": "d", "urgent": "yes"})));
    beside.wait("it is noticed", || run(&beside)["findings"].to_string().contains("intake/nobody-paged"));
}
