//! The same questions over HTTP: to a whole server, and to a bare one.

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::ipc::writer::StreamWriter;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum_server::tls_rustls::RustlsConfig;
use bytes::Bytes;
use creta_model::Environment;
use creta_server::{Credential, InitOptions, RunningServer, ServeOptions, init, start, tls_provider};
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::world::{World, bundle, facts, question_json};
use crate::{Outcome, alternate, seconds_of};

/// Names of the servers' threads, by which their processor time is found.
const THREADS: [&str; 2] = ["creta", "bare"];
const CLIENTS: usize = 2;

/// Processor time of a server's threads per question, whole server and bare, round by round.
pub(crate) fn rounds(folder: &Path, bare: &Arc<World>, rows: usize, seconds: f64) -> Outcome<Vec<[f64; 2]>> {
    let questions: Vec<String> = (0..64).map(|n| question_json(n, rows).to_string()).collect();
    let whole = Whole::start(&folder.join(format!("server-{rows}")))?;
    let bare = Bare::start(Arc::clone(bare))?;
    let targets = [&whole.target, &bare.target];
    alternate(|which| {
        let before = cpu_of(THREADS[which])?;
        let asked = ask(targets[which], &questions, Duration::from_secs_f64(seconds))?;
        Ok((cpu_of(THREADS[which])? - before) / f64::from(asked))
    })
}

/// A client of one of the servers.
struct Target {
    url: String,
    agent: Agent,
    token: Option<String>,
}

impl Target {
    fn post(&self, body: &[u8], media: &str) -> Outcome<Value> {
        let mut request = self.agent.post(&self.url).header("content-type", media);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        Ok(request.send(body)?.body_mut().read_json()?)
    }
}

/// Gives how many questions were answered.
fn ask(target: &Target, questions: &[String], time: Duration) -> Outcome<u32> {
    std::thread::scope(|threads| {
        let client = || -> Result<u32, String> {
            let (start, mut asked) = (Instant::now(), 0);
            while start.elapsed() < time {
                for question in questions {
                    let answer =
                        target.post(question.as_bytes(), "application/json").map_err(|error| error.to_string())?;
                    if answer["columns"][0]["values"][0].is_null() {
                        return Err(format!("no answer: {answer}"));
                    }
                    asked += 1;
                }
            }
            Ok(asked)
        };
        let clients: Vec<_> = (0..CLIENTS).map(|_| threads.spawn(client)).collect();
        let mut all = 0;
        for client in clients {
            all += client.join().map_err(|_| "a client failed")??;
        }
        Ok(all)
    })
}

/// Processor time so far of all threads of this name.
fn cpu_of(name: &str) -> Outcome<f64> {
    let mut seconds = 0.0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        let Ok(comm) = std::fs::read_to_string(task.join("comm")) else { continue };
        if comm.trim() == name {
            seconds += seconds_of(&task.join("schedstat").to_string_lossy()).unwrap_or(0.0);
        }
    }
    Ok(seconds)
}

fn agent(pem: &[u8]) -> Outcome<Agent> {
    let roots = RootCerts::new_with_certs(&[Certificate::from_pem(pem)?]);
    let provider = Arc::new(tls_provider());
    let tls = TlsConfig::builder().root_certs(roots).unversioned_rustls_crypto_provider(provider).build();
    Ok(Agent::config_builder().tls_config(tls).https_only(true).build().new_agent())
}

/// A server as `creta server start` runs it, with a tenant in it that holds the same facts.
struct Whole {
    target: Target,
    _running: RunningServer,
}

impl Whole {
    fn start(folder: &Path) -> Outcome<Self> {
        let options = InitOptions { listen: "127.0.0.1:0".parse()?, ..InitOptions::default() };
        let made = init(folder, &Environment::parse("prod")?, &options)?;
        let running = start(&ServeOptions { folder: folder.to_owned(), listen: None })?;
        let agent = agent(&std::fs::read(&made.ca)?)?;
        let at = |path: &str, token: &str| Target {
            url: format!("{}{path}", running.url()),
            agent: agent.clone(),
            token: Some(token.to_owned()),
        };
        let json = |target: Target, body: Value| target.post(body.to_string().as_bytes(), "application/json");
        let token = |id: &str, secret: &str| -> Outcome<String> {
            let answer =
                json(Target { token: None, ..at("/v1/token", "") }, json!({"client_id": id, "client_secret": secret}))?;
            Ok(answer["access_token"].as_str().ok_or("no token")?.to_owned())
        };
        let admin: Credential = serde_json::from_slice(&std::fs::read(&made.admin)?)?;
        let admin = token(&admin.client_id, &admin.client_secret)?;
        json(at("/v1/tenants", &admin), json!({"tenant": "acme"}))?;
        let account = json!({"tenant": "acme", "name": "scoring", "role": "developer"});
        let account = json(at("/v1/service-accounts", &admin), account)?;
        let text = |name: &str| account[name].as_str().ok_or("no credential");
        let token = token(text("client_id")?, text("client_secret")?)?;
        json(at("/v1/deploy", &token), bundle())?;
        let facts = facts()?;
        let mut stream = StreamWriter::try_new(Vec::new(), &facts.schema())?;
        stream.write(&facts)?;
        let ingest = at("/v1/ingest?entity=User&event_time=seen&arrival_delay=0s", &token);
        ingest.post(&stream.into_inner()?, "application/vnd.apache.arrow.stream")?;
        let target = at("/v1/query", &token);
        Ok(Self { target, _running: running })
    }
}

/// TLS as the server speaks it, and the engine.
struct Bare {
    target: Target,
    _runtime: Runtime,
}

impl Bare {
    fn start(world: Arc<World>) -> Outcome<Self> {
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        let key = PrivateKeyDer::try_from(own.signing_key.serialize_der())?;
        let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(tls_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let url = format!("https://localhost:{}/v1/query", listener.local_addr()?.port());
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("bare").build()?;
        let routes = Router::new().route("/v1/query", post(answer)).with_state(world);
        let guard = runtime.enter();
        let server = axum_server::from_tcp_rustls(listener, RustlsConfig::from_config(Arc::new(config)))?;
        drop(guard);
        runtime.spawn(server.serve(routes.into_make_service()));
        let target = Target { url, agent: agent(own.cert.pem().as_bytes())?, token: None };
        Ok(Self { target, _runtime: runtime })
    }
}

async fn answer(State(world): State<Arc<World>>, question: Bytes) -> Result<Vec<u8>, StatusCode> {
    world.ask(&question).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}
