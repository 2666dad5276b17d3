//! Loads a whole server over its API and says how long that took; see `bench/serving/ingest.py`.
//!
//! `cargo run -p creta-bench --profile demo --bin ingest-bench -- FOLDER ROWS ROUNDS SECONDS`. In each round it sends ROWS rows of
//! 20 features as Arrow, some thousand at a time on two connections, and writes and syncs the very same bytes to a plain file,
//! one after the other. Then 64 clients write single rows for SECONDS, each reading every row back after its answer. Prints
//! one line of JSON.

use std::error::Error;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::ipc::writer::StreamWriter;
use creta_model::Environment;
use creta_server::{Credential, InitOptions, RunningServer, ServeOptions, init, init_logging, start, tls_provider};
use serde_json::{Value, json};
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// Stored features of a user: 12 floats, 4 integers, 4 texts.
const FEATURES: usize = 20;
/// Rows of one load.
const LOAD_ROWS: usize = 20_000;
const BULK_CONNECTIONS: usize = 2;
const CLIENTS: usize = 64;
const JSON: &str = "application/json";
const ARROW: &str = "application/vnd.apache.arrow.stream";
const INGEST: &str = "/v1/ingest?entity=User&event_time=seen&arrival_delay=0s";

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("name a folder")?;
    let mut number = |what: &str| -> Outcome<usize> { Ok(arguments.next().ok_or(format!("say {what}"))?.parse()?) };
    let (rows, rounds) = (number("how many rows a round has")?, number("how many rounds there are")?);
    let seconds = number("how many seconds the clients write")?;
    let folder = Path::new(&folder);
    init_logging(); // Each answer is a line, as on any server.
    let server = Server::start(&folder.join("server"))?;

    let (mut bulk, mut plain, mut bytes) = (Vec::new(), Vec::new(), 0);
    // The first round finds caches empty, and counts for nothing.
    for round in 0..=rounds {
        let first = round * rows;
        let bodies: Vec<Vec<u8>> = (first..first + rows)
            .step_by(LOAD_ROWS)
            .map(|from| body(&facts(from..(from + LOAD_ROWS).min(first + rows))?))
            .collect::<Outcome<_>>()?;
        bytes = bodies.iter().map(Vec::len).sum::<usize>();
        let plainly = |plain: &mut Vec<f64>| -> Outcome<()> {
            plain.push(write_plainly(&folder.join("plain"), &bodies)?);
            Ok(())
        };
        if round % 2 == 0 {
            plainly(&mut plain)?;
        }
        bulk.push(load(&server, &bodies)?);
        if round % 2 == 1 {
            plainly(&mut plain)?;
        }
    }
    server.sees((rounds + 1) * rows - 1)?;
    bulk.remove(0);
    plain.remove(0);
    let singles = single_rows(&server, Duration::from_secs(seconds as u64), (rounds + 1) * rows)?;
    let said = json!({
        "rows": rows, "features": FEATURES, "bytes": bytes, "bulk_seconds": bulk, "plain_seconds": plain, "clients": CLIENTS,
        "singles": singles,
    });
    writeln!(std::io::stdout(), "{said}")?;
    let running = Arc::into_inner(server.running).ok_or("somebody still asks")?;
    running.stop().map_err(|error| error.to_string())?;
    Ok(())
}

/// Sends all bodies and returns the seconds until the last is answered.
fn load(server: &Server, bodies: &[Vec<u8>]) -> Outcome<f64> {
    let next = AtomicUsize::new(0);
    let begin = Instant::now();
    std::thread::scope(|threads| {
        let senders = (0..BULK_CONNECTIONS).map(|_| {
            threads.spawn(|| -> Outcome<()> {
                while let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
                    server.post(INGEST, body, ARROW)?;
                }
                Ok(())
            })
        });
        let senders: Vec<_> = senders.collect();
        senders.into_iter().try_for_each(|sender| sender.join().expect("a sender does not panic"))
    })?;
    Ok(begin.elapsed().as_secs_f64())
}

/// Appends the same bytes to a file and syncs after each, as a log without anything else would.
fn write_plainly(file: &Path, bodies: &[Vec<u8>]) -> Outcome<f64> {
    let mut file = std::fs::File::create(file)?;
    let begin = Instant::now();
    for body in bodies {
        file.write_all(body)?;
        file.sync_data()?;
    }
    Ok(begin.elapsed().as_secs_f64())
}

/// Each client writes a row about a user of its own and asks for it, again and again.
fn single_rows(server: &Server, time: Duration, first: usize) -> Outcome<Value> {
    let end = Instant::now() + time;
    let begin = Instant::now();
    let clients = std::thread::scope(|threads| {
        let client = |id: usize| {
            move || -> Outcome<(Vec<f64>, Vec<f64>, usize)> {
                let server = server.another()?;
                let (mut writes, mut reads, mut unseen, mut n) = (Vec::new(), Vec::new(), 0, 0_u32);
                while Instant::now() < end {
                    n += 1;
                    let score = f64::from(n);
                    let started = Instant::now();
                    server.write(first + id, score, &format!("{id}-{n}"))?;
                    writes.push(started.elapsed().as_secs_f64());
                    let started = Instant::now();
                    let seen = server.read(first + id)?;
                    reads.push(started.elapsed().as_secs_f64());
                    unseen += usize::from(seen != score);
                }
                Ok((writes, reads, unseen))
            }
        };
        let clients: Vec<_> = (0..CLIENTS).map(|id| threads.spawn(client(id))).collect();
        clients.into_iter().map(|client| client.join().expect("a client does not panic")).collect::<Vec<_>>()
    });
    let seconds = begin.elapsed().as_secs_f64();
    let (mut writes, mut reads, mut unseen, mut errors) = (Vec::new(), Vec::new(), 0, Vec::new());
    for client in clients {
        match client {
            Ok((own_writes, own_reads, own_unseen)) => {
                writes.extend(own_writes);
                reads.extend(own_reads);
                unseen += own_unseen;
            }
            Err(error) => errors.push(error.to_string()),
        }
    }
    let quantiles = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times.get((times.len() as f64 * share) as usize).copied().unwrap_or(f64::NAN) * 1e3;
        json!({"count": times.len(), "p50_ms": at(0.5), "p99_ms": at(0.99), "p999_ms": at(0.999)})
    };
    let (writes, reads) = (quantiles(&mut writes), quantiles(&mut reads));
    Ok(json!({"seconds": seconds, "writes": writes, "reads": reads, "unseen": unseen, "errors": errors}))
}

/// A server as `creta server start` runs it, and somebody who may write and read.
struct Server {
    running: Arc<RunningServer>,
    pem: Arc<Vec<u8>>,
    agent: Agent,
    token: String,
}

impl Server {
    fn start(folder: &Path) -> Outcome<Self> {
        let options = InitOptions { listen: "127.0.0.1:0".parse()?, ..InitOptions::default() };
        let made = init(folder, &Environment::parse("prod")?, &options).map_err(|error| error.to_string())?;
        let running = start(&ServeOptions { folder: folder.to_owned(), listen: None }).map_err(|e| e.to_string())?;
        let pem = Arc::new(std::fs::read(&made.ca)?);
        let agent = agent(&pem)?;
        let mut server = Self { running: Arc::new(running), pem, agent, token: String::new() };
        let admin: Credential = serde_json::from_slice(&std::fs::read(&made.admin)?)?;
        server.sign_in(&admin.client_id, &admin.client_secret)?;
        server.post("/v1/tenants", json!({"tenant": "acme"}).to_string().as_bytes(), JSON)?;
        let account = json!({"tenant": "acme", "name": "etl", "role": "developer"}).to_string();
        let account: Value = serde_json::from_slice(&server.post("/v1/service-accounts", account.as_bytes(), JSON)?)?;
        let text = |name: &str| account[name].as_str().ok_or("no credential");
        server.sign_in(text("client_id")?, text("client_secret")?)?;
        server.post("/v1/deploy", bundle().to_string().as_bytes(), JSON)?;
        Ok(server)
    }

    /// The same with a connection of its own.
    fn another(&self) -> Outcome<Self> {
        let (running, pem, token) = (Arc::clone(&self.running), Arc::clone(&self.pem), self.token.clone());
        Ok(Self { agent: agent(&pem)?, running, pem, token })
    }

    fn sign_in(&mut self, id: &str, secret: &str) -> Outcome<()> {
        let asked = json!({"client_id": id, "client_secret": secret}).to_string();
        self.token.clear();
        let answer: Value = serde_json::from_slice(&self.post("/v1/token", asked.as_bytes(), JSON)?)?;
        self.token = answer["access_token"].as_str().ok_or("no token")?.to_owned();
        Ok(())
    }

    fn post(&self, path: &str, body: &[u8], media: &str) -> Outcome<Vec<u8>> {
        self.post_as(path, body, media, None)
    }

    fn post_as(&self, path: &str, body: &[u8], media: &str, key: Option<&str>) -> Outcome<Vec<u8>> {
        let mut request = self.agent.post(format!("{}{path}", self.running.url())).header("content-type", media);
        if !self.token.is_empty() {
            request = request.header("authorization", format!("Bearer {}", self.token));
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let mut response = request.send(body)?;
        let answer = response.body_mut().read_to_vec()?;
        match response.status().is_success() {
            true => Ok(answer),
            false => Err(format!("{path}: {}", String::from_utf8_lossy(&answer)).into()),
        }
    }

    fn write(&self, user: usize, score: f64, key: &str) -> Outcome<()> {
        let mut row = json!({"id": user, "seen": now()});
        for n in 0..FEATURES {
            row[format!("f{n}")] = match kind(n) {
                "float" => score.into(),
                "int" => 7.into(),
                _ => "Lyon".into(),
            };
        }
        let load = json!({"entity": "User", "event_time": {"column": "seen"}});
        let body = json!({"load": load, "rows": [row]}).to_string();
        self.post_as("/v1/facts", body.as_bytes(), JSON, Some(key)).map(drop)
    }

    fn read(&self, user: usize) -> Outcome<f64> {
        let outputs: Vec<String> = (0..FEATURES).map(|n| format!("User.f{n}")).collect();
        let asked = json!({"inputs": {"User.id": [user]}, "outputs": outputs}).to_string();
        let answer: Value = serde_json::from_slice(&self.post("/v1/query", asked.as_bytes(), JSON)?)?;
        Ok(answer["columns"][0]["values"][0].as_f64().unwrap_or(f64::NAN))
    }

    /// That the last of the loaded users is there.
    fn sees(&self, user: usize) -> Outcome<()> {
        let found = self.read(user)?;
        (found == user as f64 / 7.0).then_some(()).ok_or_else(|| format!("user {user} is {found}").into())
    }
}

fn agent(pem: &[u8]) -> Outcome<Agent> {
    let roots = RootCerts::new_with_certs(&[Certificate::from_pem(pem)?]);
    let provider = Arc::new(tls_provider());
    let tls = TlsConfig::builder().root_certs(roots).unversioned_rustls_crypto_provider(provider).build();
    let config = Agent::config_builder().tls_config(tls).https_only(true).http_status_as_error(false);
    Ok(config.build().new_agent())
}

fn now() -> String {
    let micros = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_micros();
    creta_model::Instant::from_micros(micros as i64).expect("in range").to_string()
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

/// One fact of each user; `bench/serving/feast_ingest.py` makes the same values.
fn facts(users: std::ops::Range<usize>) -> Outcome<RecordBatch> {
    let seen = creta_model::Instant::parse("2026-03-01T00:00:00Z")?.micros();
    let mut columns: Vec<(String, ArrayRef)> = vec![
        ("id".into(), Arc::new(Int64Array::from_iter_values(users.clone().map(|user| user as i64)))),
        ("seen".into(), Arc::new(TimestampMicrosecondArray::from(vec![seen; users.len()]).with_timezone("UTC"))),
    ];
    for n in 0..FEATURES {
        let column: ArrayRef = match kind(n) {
            "float" => Arc::new(Float64Array::from_iter_values(users.clone().map(|user| (user + n) as f64 / 7.0))),
            "int" => Arc::new(Int64Array::from_iter_values(users.clone().map(|user| (user * n % 100_003) as i64))),
            _ => Arc::new(StringArray::from_iter_values(users.clone().map(|user| format!("city-{}", user * n % 997)))),
        };
        columns.push((format!("f{n}"), column));
    }
    Ok(RecordBatch::try_from_iter(columns)?)
}

fn body(facts: &RecordBatch) -> Outcome<Vec<u8>> {
    let mut stream = StreamWriter::try_new(Vec::new(), &facts.schema())?;
    stream.write(facts)?;
    stream.finish()?;
    Ok(stream.into_inner()?)
}
