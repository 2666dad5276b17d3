//! A server for `bench/serving`: whole, with a tenant in it, and beside it in the same process a handler that does nothing.
//!
//! `serving-bench FOLDER USERS BUNDLE SDK [HOT]`, with the bundle of the project that `bench/serving/project.py` writes and the
//! folder that workers find the package `creta` in. Prints one line of JSON that says where both listen and how to ask, and
//! serves until its input ends. The handler has the TLS, the limits and the HTTP of the server, reads the body, and returns
//! the bytes of one of the server's own answers; it is part of no program that is shipped.

mod facts;
mod noop;

use std::error::Error;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::ipc::writer::StreamWriter;
use creta_model::Environment;
use creta_server::{
    Credential, InitOptions, RunningServer, ServeOptions, WorkerConfig, init, init_logging, start, tls_provider,
};
use serde_json::{Value, json};
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use facts::{THING_FEATURES, USER_FEATURES};

/// Rows of one load.
const LOAD_ROWS: usize = 20_000;
/// How many things there are.
const THINGS: usize = 10_000;
/// Purchases of one buyer with many, unless said otherwise, and of one with few.
const HOT: i64 = 1_000_000;
const MILD: i64 = 1_000;

pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, users, bundle, sdk, hot @ ..] = arguments.as_slice() else {
        return Err("say FOLDER USERS BUNDLE SDK".into());
    };
    let (folder, users) = (Path::new(folder), users.parse()?);
    let hot = hot.first().map_or(Ok(HOT), |hot| hot.parse())?;
    init_logging(); // Each answer is a line, as on any server.
    let bundle: Value = serde_json::from_slice(&std::fs::read(bundle)?)?;
    let whole = Whole::start(&folder.join("server"), &bundle, Path::new(sdk))?;
    let loaded = whole.load(users, hot)?;
    let question = json!({"inputs": {"User.id": [7]}, "outputs": outputs("User.f", USER_FEATURES)});
    let answer = whole.post("/v1/query", &whole.token, question.to_string().as_bytes(), JSON)?;
    let noop = noop::Noop::start(folder, answer.clone())?;
    let url = whole.running.url();
    let said = json!({
        "creta": format!("{url}/v1/query"), "arrow": format!("{url}/v1/query/arrow"), "noop": noop.url, "ca": whole.ca,
        "outputs": outputs("User.f", USER_FEATURES), "stored": outputs("Thing.s", THING_FEATURES),
        "computed": outputs("Thing.c", THING_FEATURES), "things": THINGS, "token_url": format!("{url}/v1/token"),
        "client_id": whole.client_id, "client_secret": whole.client_secret, "answer_bytes": answer.len(),
        "noop_certificate": noop.certificate, "noop_key": noop.key, "loaded": loaded,
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

/// A server as `creta server start` runs it.
struct Whole {
    running: RunningServer,
    agent: Agent,
    ca: String,
    client_id: String,
    client_secret: String,
    token: String,
}

impl Whole {
    fn start(folder: &Path, bundle: &Value, sdk: &Path) -> Outcome<Self> {
        let workers = WorkerConfig { python_path: vec![sdk.to_owned()], ..WorkerConfig::default() };
        let options = InitOptions { listen: "127.0.0.1:0".parse()?, workers, ..InitOptions::default() };
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
        let deployed = whole.post("/v1/deploy", &whole.token, bundle.to_string().as_bytes(), JSON)?;
        require_compiled(&serde_json::from_slice(&deployed)?)?;
        Ok(whole)
    }

    /// Loads everything; says how many bytes the online index takes on disk for a user.
    fn load(&self, users: usize, hot: i64) -> Outcome<Value> {
        let chunks = |all: usize| (0..all).step_by(LOAD_ROWS).map(move |first| first..(first + LOAD_ROWS).min(all));
        let online = self.running_folder("online");
        let before = bytes_on_disk(&online)?;
        for users in chunks(users) {
            self.ingest("User", "seen", &facts::users(users)?)?;
        }
        let of_users = bytes_on_disk(&online)? - before;
        for things in chunks(THINGS) {
            self.ingest("Thing", "seen", &facts::things(things)?)?;
        }
        for (buyer, purchases) in [("mild", MILD), ("hottest", hot)] {
            for first in (0..purchases).step_by(50_000) {
                let numbers = first..(first + 50_000).min(purchases);
                self.ingest("Purchase", "bought", &facts::purchases(buyer, numbers, purchases)?)?;
            }
        }
        Ok(json!({"users": users, "online_bytes_per_user": of_users as f64 / users as f64, "hot": hot, "mild": MILD}))
    }

    fn running_folder(&self, store: &str) -> std::path::PathBuf {
        Path::new(&self.ca).ancestors().nth(2).unwrap_or(Path::new(".")).join("tenants/acme").join(store)
    }

    fn ingest(&self, entity: &str, event_time: &str, facts: &RecordBatch) -> Outcome<()> {
        let mut stream = StreamWriter::try_new(Vec::new(), &facts.schema())?;
        stream.write(facts)?;
        let path = format!("/v1/ingest?entity={entity}&event_time={event_time}&arrival_delay=0s");
        self.post(&path, &self.token, &stream.into_inner()?, "application/vnd.apache.arrow.stream")?;
        Ok(())
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

/// All but the one that is meant not to.
fn require_compiled(deployed: &Value) -> Outcome<()> {
    let resolvers = deployed["resolvers"].as_array().ok_or("no resolvers were deployed")?;
    let in_python = resolvers.iter().filter(|resolver| resolver["runs"] != "compiled");
    let names: Vec<_> = in_python.filter_map(|resolver| resolver["resolver"].as_str()).collect();
    if names == ["slow"] { Ok(()) } else { Err(format!("these run in Python: {names:?} ({deployed})").into()) }
}

fn bytes_on_disk(folder: &Path) -> Outcome<u64> {
    use std::os::unix::fs::MetadataExt as _;
    if !folder.exists() {
        return Ok(0);
    }
    // What is allocated: the file is sparse where nothing was written.
    std::fs::read_dir(folder)?.try_fold(0, |sum, file| Ok(sum + file?.metadata()?.blocks() * 512))
}

fn agent(pem: &[u8]) -> Outcome<Agent> {
    let roots = RootCerts::new_with_certs(&[Certificate::from_pem(pem)?]);
    let provider = Arc::new(tls_provider());
    let tls = TlsConfig::builder().root_certs(roots).unversioned_rustls_crypto_provider(provider).build();
    let config = Agent::config_builder().tls_config(tls).https_only(true).http_status_as_error(false);
    Ok(config.build().new_agent())
}

fn outputs(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{prefix}{n}")).collect()
}
