//! A server for `bench/serving`: whole, with a tenant in it, and beside it in the same process a handler that does nothing.
//!
//! `cargo run -p creta-bench --profile demo --bin serving-bench -- FOLDER USERS`. Prints one line of JSON that says where
//! both listen and how to ask, and serves until its input ends. The handler has the TLS, the limits and the HTTP of the server,
//! reads the body, and returns the bytes of one of the server's own answers; it is part of no program that is shipped.

mod noop;

use std::error::Error;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::ipc::writer::StreamWriter;
use creta_model::Environment;
use creta_server::{Credential, InitOptions, RunningServer, ServeOptions, init, init_logging, start, tls_provider};
use serde_json::{Value, json};
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// Stored features of a user: 30 floats, 10 integers, 10 texts.
const FEATURES: usize = 50;
/// Rows of one load.
const LOAD_ROWS: usize = 20_000;

pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("name a folder")?;
    let users: usize = arguments.next().ok_or("say how many users there are")?.parse()?;
    let folder = Path::new(&folder);
    init_logging(); // Each answer is a line, as on any server.
    let whole = Whole::start(&folder.join("server"), users)?;
    let question = json!({"inputs": {"User.id": [7]}, "outputs": outputs()});
    let answer = whole.post("/v1/query", &whole.token, question.to_string().as_bytes(), JSON)?;
    let noop = noop::Noop::start(folder, answer.clone())?;
    let said = json!({
        "creta": format!("{}/v1/query", whole.running.url()), "noop": noop.url, "ca": whole.ca, "outputs": outputs(),
        "token_url": format!("{}/v1/token", whole.running.url()), "ingest": format!("{}/v1/ingest", whole.running.url()),
        "client_id": whole.client_id, "client_secret": whole.client_secret, "answer_bytes": answer.len(),
        "noop_certificate": noop.certificate, "noop_key": noop.key,
    });
    std::fs::write(folder.join("answer.json"), &answer)?;
    let mut out = std::io::stdout();
    writeln!(out, "{said}")?;
    out.flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    whole.running.stop()?;
    Ok(())
}

pub(crate) const JSON: &str = "application/json";

/// A server as `creta server start` runs it, with facts of so many users in it.
struct Whole {
    running: RunningServer,
    agent: Agent,
    ca: String,
    client_id: String,
    client_secret: String,
    token: String,
}

impl Whole {
    fn start(folder: &Path, users: usize) -> Outcome<Self> {
        let options = InitOptions { listen: "127.0.0.1:0".parse()?, ..InitOptions::default() };
        let made = init(folder, &Environment::parse("prod")?, &options)?;
        let running = start(&ServeOptions { folder: folder.to_owned(), listen: None })?;
        let agent = agent(&std::fs::read(&made.ca)?)?;
        let ca = made.ca.display().to_string();
        let (client_id, client_secret, token) = Default::default();
        let mut whole = Self { running, agent, ca, client_id, client_secret, token };
        let admin: Credential = serde_json::from_slice(&std::fs::read(&made.admin)?)?;
        let admin = whole.token_of(&admin.client_id, &admin.client_secret)?;
        whole.post("/v1/tenants", &admin, json!({"tenant": "acme"}).to_string().as_bytes(), JSON)?;
        let account = json!({"tenant": "acme", "name": "scoring", "role": "developer"}).to_string();
        let account = whole.post("/v1/service-accounts", &admin, account.as_bytes(), JSON)?;
        let account: Value = serde_json::from_slice(&account)?;
        let text = |name: &str| account[name].as_str().map(str::to_owned).ok_or("no credential");
        (whole.client_id, whole.client_secret) = (text("client_id")?, text("client_secret")?);
        whole.token = whole.token_of(&whole.client_id, &whole.client_secret)?;
        whole.post("/v1/deploy", &whole.token, bundle().to_string().as_bytes(), JSON)?;
        for first in (0..users).step_by(LOAD_ROWS) {
            let facts = facts(first..(first + LOAD_ROWS).min(users))?;
            let mut stream = StreamWriter::try_new(Vec::new(), &facts.schema())?;
            stream.write(&facts)?;
            let path = "/v1/ingest?entity=User&event_time=seen&arrival_delay=0s";
            whole.post(path, &whole.token, &stream.into_inner()?, "application/vnd.apache.arrow.stream")?;
        }
        Ok(whole)
    }

    fn token_of(&self, id: &str, secret: &str) -> Outcome<String> {
        let asked = json!({"client_id": id, "client_secret": secret}).to_string();
        let answer: Value = serde_json::from_slice(&self.post("/v1/token", "", asked.as_bytes(), JSON)?)?;
        Ok(answer["access_token"].as_str().ok_or("no token")?.to_owned())
    }

    fn post(&self, path: &str, token: &str, body: &[u8], media: &str) -> Outcome<Vec<u8>> {
        let mut request = self.agent.post(format!("{}{path}", self.running.url())).header("content-type", media);
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let mut response = request.send(body)?;
        let answer = response.body_mut().read_to_vec()?;
        match response.status().is_success() {
            true => Ok(answer),
            false => Err(format!("{path}: {}", String::from_utf8_lossy(&answer)).into()),
        }
    }
}

fn agent(pem: &[u8]) -> Outcome<Agent> {
    let roots = RootCerts::new_with_certs(&[Certificate::from_pem(pem)?]);
    let provider = Arc::new(tls_provider());
    let tls = TlsConfig::builder().root_certs(roots).unversioned_rustls_crypto_provider(provider).build();
    let config = Agent::config_builder().tls_config(tls).https_only(true).http_status_as_error(false);
    Ok(config.build().new_agent())
}

fn outputs() -> Vec<String> {
    (0..FEATURES).map(|n| format!("User.f{n}")).collect()
}

/// The kind of the `n`th feature.
fn kind(n: usize) -> &'static str {
    match n % 5 {
        0..=2 => "float",
        3 => "int",
        _ => "str",
    }
}

fn bundle() -> Value {
    let location = json!({"file": "bench.py", "line": 1});
    let feature = |name: String, ty: &str, role: &str| json!({"name": name, "type": {"kind": ty}, "role": role, "location": location});
    let mut features = vec![feature("id".into(), "int", "key"), feature("seen".into(), "datetime", "event_time")];
    features.extend((0..FEATURES).map(|n| feature(format!("f{n}"), kind(n), "value")));
    json!({
        "format": "creta.bundle/1",
        "graph": {
            "format": "creta.graph/1", "project": "bench",
            "entities": [{"name": "User", "features": features, "location": location}],
        },
        "modules": {},
        "lock": {"python": "3.11", "packages": {}},
    })
}

/// One fact of each user; `bench/serving/with_feast.py` makes the same values.
fn facts(users: std::ops::Range<usize>) -> Outcome<RecordBatch> {
    let seen = creta_model::Instant::parse("2026-03-01T00:00:00Z")?.micros();
    let mut columns: Vec<(String, ArrayRef)> = vec![
        ("id".into(), Arc::new(Int64Array::from_iter_values(users.clone().map(|user| user as i64)))),
        ("seen".into(), Arc::new(TimestampMicrosecondArray::from(vec![seen; users.len()]).with_timezone("UTC"))),
    ];
    for n in 0..FEATURES {
        let column: ArrayRef = match kind(n) {
            "float" => Arc::new(Float64Array::from_iter_values(users.clone().map(|user| (user * n) as f64 / 7.0))),
            "int" => Arc::new(Int64Array::from_iter_values(users.clone().map(|user| (user * n % 100_003) as i64))),
            _ => Arc::new(StringArray::from_iter_values(users.clone().map(|user| format!("city-{}", user * n % 997)))),
        };
        columns.push((format!("f{n}"), column));
    }
    Ok(RecordBatch::try_from_iter(columns)?)
}
