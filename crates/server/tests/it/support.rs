//! A server for one test, and a client that shows everything of an answer.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use creta_model::{Environment, EnvironmentClass};
use creta_platform::{Clock, ManualClock};
use creta_server::{
    Credential, InitOptions, InitReport, RunningServer, ServeOptions, WorkerConfig, init, start, start_by,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

pub(crate) const ARROW: &str = "application/vnd.apache.arrow.stream";
pub(crate) const JSON: &str = "application/json";

pub(crate) struct Server {
    pub(crate) report: InitReport,
    pub(crate) admin: Credential,
    running: Option<RunningServer>,
    clock: Option<Arc<ManualClock>>,
    agent: Agent,
    data: PathBuf,
    _folder: Option<TempDir>,
}

/// A client id, its secret and a token.
pub(crate) struct Account {
    pub(crate) client_id: String,
    pub(crate) secret: String,
    pub(crate) token: String,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) headers: ureq::http::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The JSON of a success.
    pub(crate) fn ok(&self) -> Value {
        assert!((200..300).contains(&self.status), "{} {}", self.status, self.text());
        self.json()
    }

    /// The code of a problem, whose form is checked.
    pub(crate) fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.content_type, "application/problem+json");
        assert!(self.headers.contains_key("x-request-id"));
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert!(problem["message"].as_str().is_some_and(|message| !message.is_empty()));
        problem["code"].as_str().expect("a code").to_owned()
    }

    pub(crate) fn batch(&self) -> RecordBatch {
        assert_eq!(self.status, 200, "{}", self.text());
        assert_eq!(self.content_type, ARROW);
        let reader = StreamReader::try_new(self.body.as_slice(), None).expect("a stream");
        let schema = reader.schema();
        let batches: Vec<RecordBatch> = reader.map(|batch| batch.expect("a batch")).collect();
        arrow::compute::concat_batches(&schema, &batches).expect("of one schema")
    }
}

impl Server {
    pub(crate) fn new() -> Self {
        Self::with_workers(WorkerConfig::default())
    }

    pub(crate) fn with_workers(workers: WorkerConfig) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let report = make(folder.path(), workers);
        let mut server = Self::serving(report);
        server._folder = Some(folder);
        server
    }

    /// One whose `config.toml` ends with `tail`.
    pub(crate) fn configured(class: EnvironmentClass, tail: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let report = make_of(folder.path(), WorkerConfig::default(), class);
        let file = report.folder.join("config.toml");
        let text = std::fs::read_to_string(&file).expect("written");
        std::fs::write(&file, format!("{text}\n{tail}")).expect("written");
        let mut server = Self::serving(report);
        server._folder = Some(folder);
        server
    }

    /// One of another environment.
    pub(crate) fn of(environment: &Environment) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let options = InitOptions { listen: "127.0.0.1:0".parse().expect("valid"), ..InitOptions::default() };
        let mut server = Self::serving(init(&folder.path().join("data"), environment, &options).expect("made"));
        server._folder = Some(folder);
        server
    }

    /// One in `data` of a folder that the test keeps, made there if it is not there yet.
    pub(crate) fn at(folder: &std::path::Path) -> Self {
        let kept = folder.join("report.json");
        let report = match std::fs::read(&kept) {
            Ok(report) => serde_json::from_slice(&report).expect("a report"),
            Err(_) => {
                let report = make(folder, WorkerConfig::default());
                std::fs::write(&kept, serde_json::to_vec(&report).expect("JSON")).expect("written");
                report
            }
        };
        Self::serving(report)
    }

    fn serving(report: InitReport) -> Self {
        let admin = std::fs::read_to_string(&report.admin).expect("written");
        let admin = serde_json::from_str(&admin).expect("a credential");
        let (agent, data) = (agent(&report.ca), report.folder.clone());
        let mut server = Self { report, admin, running: None, clock: None, agent, data, _folder: None };
        server.start();
        server
    }

    /// The same by a clock that stands still until a test moves it.
    pub(crate) fn by(mut self, clock: &Arc<ManualClock>) -> Self {
        self.stop();
        self.clock = Some(Arc::clone(clock));
        self.start();
        self
    }

    pub(crate) fn start(&mut self) {
        let options = ServeOptions { folder: self.data(), listen: None };
        let started = match &self.clock {
            None => start(&options),
            Some(clock) => start_by(&options, Arc::clone(clock) as Arc<dyn Clock>),
        };
        self.running = Some(started.unwrap_or_else(|error| panic!("{}", error.to_problem())));
    }

    pub(crate) fn stop(&mut self) {
        self.running.take().expect("running").stop().expect("stopped");
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.data.clone()
    }

    /// The client that trusts this server's authority.
    pub(crate) fn agent(&self) -> &Agent {
        &self.agent
    }

    pub(crate) fn running(&self) -> &RunningServer {
        self.running.as_ref().expect("running")
    }

    pub(crate) fn send(&self, method: &str, path: &str, token: Option<&str>, body: Option<(&str, &[u8])>) -> Reply {
        let headers: Vec<(&str, &str)> = body.iter().map(|(media, _)| ("content-type", *media)).collect();
        self.send_with(method, path, token, &headers, body.map(|(_, bytes)| bytes))
    }

    pub(crate) fn send_with(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Reply {
        read_reply(self.begin(method, path, token, headers, body))
    }

    /// The same, with its body still to be read.
    pub(crate) fn begin(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> ureq::http::Response<ureq::Body> {
        let url = format!("{}{path}", self.running().url());
        let mut request = ureq::http::Request::builder().method(method).uri(url);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = match body {
            Some(body) => self.agent.run(request.body(body).expect("a request")),
            None if ["POST", "PUT", "PATCH"].contains(&method) => {
                self.agent.run(request.body([0_u8; 0].as_slice()).expect("a request"))
            }
            None => self.agent.run(request.body(()).expect("a request")),
        };
        response.expect("an answer")
    }

    /// As a browser asks for a page, without following where it is sent.
    pub(crate) fn browse(&self, path: &str, cookie: Option<&str>) -> Reply {
        self.browse_at(&self.running().url(), path, cookie)
    }

    /// The same at another of the server's names.
    pub(crate) fn browse_at(&self, origin: &str, path: &str, cookie: Option<&str>) -> Reply {
        let request = ureq::http::Request::get(format!("{origin}{path}"));
        let request = cookie.into_iter().fold(request, |request, cookie| request.header("cookie", cookie));
        let request = request.body(()).expect("a request");
        let request = self.agent.configure_request(request).max_redirects(0).build();
        read_reply(self.agent.run(request).expect("an answer"))
    }

    /// The administrator's token, or a word that is none where it gets none.
    pub(crate) fn admin_token_or_none(&self) -> String {
        let reply = self.ask_token(&self.admin.client_id, &self.admin.client_secret);
        if reply.status == 200 {
            reply.json()["access_token"].as_str().expect("a token").to_owned()
        } else {
            "none".into()
        }
    }

    /// As a browser sends a form of a page of this server, without following where it is sent.
    pub(crate) fn post_form(&self, origin: &str, path: &str, headers: &[(&str, &str)], form: &[u8]) -> Reply {
        let mut request = ureq::http::Request::post(format!("{origin}{path}"));
        if !headers.iter().any(|(name, _)| ["origin", "sec-fetch-site"].contains(name)) {
            request = request.header("origin", origin);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(form).expect("a request");
        let request = self.agent.configure_request(request).max_redirects(0).build();
        read_reply(self.agent.run(request).expect("an answer"))
    }

    pub(crate) fn get(&self, path: &str, token: &str) -> Reply {
        self.send("GET", path, Some(token), None)
    }

    pub(crate) fn post(&self, path: &str, token: &str, body: &Value) -> Reply {
        self.send("POST", path, Some(token), Some((JSON, body.to_string().as_bytes())))
    }

    pub(crate) fn post_arrow(&self, path: &str, token: &str, batch: &RecordBatch) -> Reply {
        self.send("POST", path, Some(token), Some((ARROW, &stream(batch))))
    }

    pub(crate) fn ask_token(&self, client_id: &str, secret: &str) -> Reply {
        let body = json!({"client_id": client_id, "client_secret": secret}).to_string();
        self.send("POST", "/v1/token", None, Some((JSON, body.as_bytes())))
    }

    pub(crate) fn token(&self, client_id: &str, secret: &str) -> String {
        self.ask_token(client_id, secret).ok()["access_token"].as_str().expect("a token").to_owned()
    }

    pub(crate) fn admin_token(&self) -> String {
        self.token(&self.admin.client_id, &self.admin.client_secret)
    }

    pub(crate) fn tenant(&self, tenant: &str) {
        let reply = self.post("/v1/tenants", &self.admin_token(), &json!({"tenant": tenant}));
        assert_eq!(reply.status, 201, "{}", reply.text());
    }

    pub(crate) fn account(&self, tenant: &str, name: &str, role: &str) -> Account {
        let body = json!({"tenant": tenant, "name": name, "role": role});
        let made = self.post("/v1/service-accounts", &self.admin_token(), &body).ok();
        let text = |name: &str| made[name].as_str().expect("text").to_owned();
        let (client_id, secret) = (text("client_id"), text("client_secret"));
        let token = self.token(&client_id, &secret);
        Account { client_id, secret, token }
    }

    /// Waits until so many requests of a weight are at work; asking counts as a light one.
    pub(crate) fn wait_for(&self, weight: &str, requests: usize) {
        let (line, admin) = (format!("creta_requests_at_work{{weight=\"{weight}\"}} {requests}\n"), self.admin_token());
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.get("/metrics", &admin).text().contains(&line) {
            assert!(Instant::now() < deadline, "{line} did not come");
        }
    }

    /// A tenant with a deployed project and a developer.
    pub(crate) fn shop(&self, tenant: &str) -> Account {
        self.tenant(tenant);
        let developer = self.account(tenant, "etl", "developer");
        self.post("/v1/deploy", &developer.token, &bundle()).ok();
        developer
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop().expect("stopped");
        }
    }
}

fn make(folder: &std::path::Path, workers: WorkerConfig) -> InitReport {
    make_of(folder, workers, EnvironmentClass::Development)
}

fn make_of(folder: &std::path::Path, workers: WorkerConfig, class: EnvironmentClass) -> InitReport {
    let listen = "127.0.0.1:0".parse().expect("valid");
    let options = InitOptions { listen, workers, class, ..InitOptions::default() };
    init(&folder.join("data"), &Environment::parse("prod").expect("valid"), &options).expect("made")
}

/// All of an answer.
pub(crate) fn read_reply(mut response: ureq::http::Response<ureq::Body>) -> Reply {
    let content_type = response.headers().get("content-type").map(|value| value.to_str().expect("text").to_owned());
    Reply {
        status: response.status().as_u16(),
        content_type: content_type.unwrap_or_default(),
        headers: response.headers().clone(),
        body: response.body_mut().read_to_vec().expect("a body"),
    }
}

/// Copies a folder and all in it.
pub(crate) fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).expect("made");
    std::fs::set_permissions(to, std::fs::metadata(from).expect("there").permissions()).expect("set");
    for entry in std::fs::read_dir(from).expect("readable") {
        let entry = entry.expect("readable");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("known").is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).expect("copied");
        }
    }
}

/// A client that trusts one authority only.
pub(crate) fn agent(ca: &std::path::Path) -> Agent {
    let pem = std::fs::read(ca).expect("written");
    let root = Certificate::from_pem(&pem).expect("a certificate");
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&[root]))
        .unversioned_rustls_crypto_provider(Arc::new(creta_server::tls_provider()))
        .build();
    Agent::config_builder()
        .tls_config(tls)
        .https_only(true)
        .http_status_as_error(false)
        .max_redirects(0)
        .build()
        .new_agent()
}

pub(crate) fn stream(batch: &RecordBatch) -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).expect("a schema");
    writer.write(batch).expect("written");
    writer.into_inner().expect("finished")
}

pub(crate) fn instant(text: &str) -> i64 {
    creta_model::Instant::parse(text).expect("an instant").micros()
}

fn feature(name: &str, ty: &str, role: &str) -> Value {
    json!({"name": name, "type": {"kind": ty}, "role": role, "location": {"file": "shop.py", "line": 1}})
}

/// One entity with a key, an event time and two features; `doubled` is an expression.
pub(crate) fn bundle() -> Value {
    let mut doubled = feature("doubled", "float", "value");
    doubled["expression"] = json!({"op": "call", "function": "add", "args": [
        {"op": "feature", "path": "User.score"}, {"op": "feature", "path": "User.score"}]});
    json!({
        "format": "creta.bundle/1",
        "graph": {
            "format": "creta.graph/1",
            "project": "shop",
            "entities": [{
                "name": "User",
                "features": [
                    feature("id", "int", "key"), feature("seen", "datetime", "event_time"),
                    feature("city", "str", "value"), feature("score", "float", "value"), doubled,
                ],
                "location": {"file": "shop.py", "line": 1},
            }],
        },
        "modules": {},
        "lock": {"python": "3.11", "packages": {}},
    })
}

/// Facts of [`bundle`]'s entity: user 7 moves from Lyon to Turin, user 8 stays in Bern.
pub(crate) fn facts() -> RecordBatch {
    let seen = ["2025-03-01T12:00:00Z", "2025-03-02T12:00:00Z", "2025-03-01T00:00:00Z"].map(instant);
    RecordBatch::try_from_iter([
        ("id", Arc::new(Int64Array::from(vec![7, 7, 8])) as ArrayRef),
        ("seen", Arc::new(TimestampMicrosecondArray::from(seen.to_vec()).with_timezone("UTC"))),
        ("city", Arc::new(StringArray::from(vec!["Lyon", "Turin", "Bern"]))),
        ("score", Arc::new(Float64Array::from(vec![1.5, 2.5, 3.5]))),
    ])
    .expect("columns of one length")
}

/// How [`facts`] are ingested: known the moment they happened.
pub(crate) const INGEST: &str = "/v1/ingest?entity=User&event_time=seen&arrival_delay=0s";

/// Rows to ask about: user and instant.
pub(crate) fn spine(rows: &[(i64, &str)]) -> RecordBatch {
    let at: Vec<i64> = rows.iter().map(|(_, at)| instant(at)).collect();
    RecordBatch::try_from_iter([
        ("User.id", Arc::new(rows.iter().map(|(id, _)| *id).collect::<Int64Array>()) as ArrayRef),
        ("at", Arc::new(TimestampMicrosecondArray::from(at).with_timezone("UTC"))),
    ])
    .expect("columns of one length")
}

/// A body whose end comes when it is told to. Before it comes so much that it cannot all wait in the client's buffers.
pub(crate) struct Slow {
    pub(crate) padding: usize,
    pub(crate) end: Option<Vec<u8>>,
    pub(crate) started: Sender<()>,
    pub(crate) go_on: Receiver<()>,
}

impl Read for Slow {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.padding > 0 {
            let bytes = self.padding.min(buffer.len());
            buffer[..bytes].fill(b' ');
            self.padding -= bytes;
            return Ok(bytes);
        }
        let Some(end) = self.end.take() else { return Ok(0) };
        self.started.send(()).expect("the test waits");
        self.go_on.recv().expect("the test goes on");
        buffer[..end.len()].copy_from_slice(&end);
        Ok(end.len())
    }
}
