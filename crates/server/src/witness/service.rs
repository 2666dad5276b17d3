//! A witness's listener: TLS only, C2SP tlog-witness.
//!
//! `POST /add-checkpoint` cosigns. For monitors, `GET /checkpoint/<hash>` gives the newest checkpoint that was cosigned and
//! `GET /log/<hash>` all the witness keeps of a log, forks and evidence included; `<hash>` is the SHA-256 of the log's
//! origin in hexadecimal. All of it is public by nature, so nobody is asked who they are; a witness whose operator names
//! environments of the same organisation lets their components in and nobody else.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use creta_proof::witness::SIZE_MEDIA_TYPE;
use tokio::runtime::Runtime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::folder::{Declined, Witness};
use crate::data_folder::{lock, url_of};
use crate::http::GRACE;
use crate::limits::REQUESTS_MAX;
use crate::server::{listener_of, until_told_to_stop};
use crate::tls::{self, Authority, CERTIFICATE_RENEWAL, Certificates, Clients, Neighbours};
use crate::{ServerError, logging};

/// Largest request: 63 hashes and a checkpoint with 32 signatures take less than a fourth of it.
const BODY_BYTES_MAX: usize = 64 << 10;
/// Longest time for a request to arrive.
const BODY_TIME_MAX: Duration = Duration::from_secs(10);

/// What to serve.
#[derive(Debug, Clone)]
pub struct WitnessServeOptions {
    /// The witness's data folder.
    pub folder: PathBuf,
    /// Where to listen instead of what `witness.toml` says; port 0 takes a free one.
    pub listen: Option<SocketAddr>,
}

/// A witness at work. Dropping it stops it without grace; see [`RunningWitness::stop`].
pub struct RunningWitness {
    address: SocketAddr,
    key: String,
    handle: Handle<SocketAddr>,
    runtime: Option<Runtime>,
    _lock: File,
}

struct Serving {
    witness: Witness,
    turns: Arc<Semaphore>,
}

/// Serves until SIGTERM or SIGINT. `on_ready` gets the witness once connections are taken.
pub fn serve(options: &WitnessServeOptions, on_ready: impl FnOnce(&RunningWitness)) -> Result<(), ServerError> {
    logging::init_logging();
    let _written = logging::Written;
    let witness = start(options)?;
    on_ready(&witness);
    witness.runtime.as_ref().expect("it has just been started").block_on(until_told_to_stop());
    witness.stop();
    Ok(())
}

/// Starts a witness on threads of its own.
pub fn start(options: &WitnessServeOptions) -> Result<RunningWitness, ServerError> {
    // Explicit, since other crates of the graph bring a second provider; the first to install one wins.
    let _ = tls::provider().install_default();
    let witness = Witness::open(&options.folder)?;
    let lock = lock(&witness.folder)?;
    let listen = options.listen.unwrap_or(witness.config.listen);
    let not_free = |source| ServerError::Listen { address: listen.to_string(), source };
    let listener = TcpListener::bind(listen).map_err(not_free)?;
    listener.set_nonblocking(true).map_err(not_free)?;
    let address = listener.local_addr().map_err(not_free)?;

    let authority = Authority::new(&witness.config.name, witness.authority_key()?);
    let certificates = Certificates::new(&authority, &witness.config.names, None, witness.clock.now())?;
    let certificates = Arc::new(certificates);
    let clients = match witness.config.environment.as_slice() {
        [] => Clients::Anybody,
        named => Clients::Neighbours(Neighbours::new(named, &witness.folder)?),
    };
    let tls = RustlsConfig::from_config(tls::server_config(Arc::clone(&certificates), clients)?);
    let (key, folder) = (witness.verifier.to_string(), witness.folder.clone());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("creta-witness").build();
    let runtime = runtime.map_err(|source| ServerError::Io { action: "start threads for", path: folder, source })?;
    let handle = Handle::new();
    let guard = runtime.enter();
    let server = listener_of(listener, tls, handle.clone(), |_| {}).map_err(not_free)?;
    let serving = Arc::new(Serving { witness, turns: Arc::new(Semaphore::new(REQUESTS_MAX)) });
    let service = router(Arc::clone(&serving)).into_make_service();
    runtime.spawn(async move {
        if let Err(error) = server.serve(service).await {
            tracing::error!(%error, "the listener failed");
        }
    });
    runtime.spawn(renew_certificate(serving, authority, certificates));
    drop(guard);
    tracing::info!(%address, key, "witnessing");
    Ok(RunningWitness { address, key, handle, runtime: Some(runtime), _lock: lock })
}

impl RunningWitness {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where logs on this machine find it.
    pub fn url(&self) -> String {
        url_of(self.address)
    }

    /// By which its cosignatures are recognised.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Takes no more connections and lets the requests at work finish.
    pub fn stop(mut self) {
        self.handle.graceful_shutdown(Some(GRACE));
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(GRACE);
        }
    }
}

impl Drop for RunningWitness {
    fn drop(&mut self) {
        self.handle.shutdown();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn renew_certificate(serving: Arc<Serving>, authority: Authority, certificates: Arc<Certificates>) {
    let mut interval = tokio::time::interval(CERTIFICATE_RENEWAL);
    interval.tick().await; // The first comes at once, and the certificate is fresh.
    loop {
        interval.tick().await;
        if let Err(error) = certificates.renew(&authority, serving.witness.clock.now()) {
            tracing::error!(%error, "the witness's certificate could not be renewed");
        }
    }
}

fn router(serving: Arc<Serving>) -> Router {
    Router::new()
        .route("/add-checkpoint", post(add_checkpoint))
        .route("/checkpoint/{hash}", get(newest))
        .route("/log/{hash}", get(log))
        .with_state(serving)
}

async fn add_checkpoint(State(serving): State<Arc<Serving>>, body: Body) -> Response {
    let Some(turn) = serving.turn() else { return busy() };
    let body = match tokio::time::timeout(BODY_TIME_MAX, to_bytes(body, BODY_BYTES_MAX)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return plain(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large or was cut short\n"),
        Err(_) => return plain(StatusCode::REQUEST_TIMEOUT, "the body came too slowly\n"),
    };
    let answer = blocking(turn, move || match std::str::from_utf8(&body) {
        Ok(text) => serving.witness.add_checkpoint(text),
        Err(_) => Err(Declined::Refused(creta_proof::witness::Refusal::Malformed { rule: "it is not text" })),
    });
    match answer.await {
        Some(Ok(line)) => plain(StatusCode::OK, line),
        Some(Err(Declined::Refused(refusal))) => {
            tracing::warn!(status = refusal.status(), %refusal, "not cosigned");
            let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
            match refusal.known_size() {
                Some(size) => typed(status, SIZE_MEDIA_TYPE, format!("{size}\n")),
                None => plain(status, format!("{refusal}\n")),
            }
        }
        Some(Err(Declined::Broken(error))) => broken(&error),
        None => plain(StatusCode::INTERNAL_SERVER_ERROR, "the witness failed\n"),
    }
}

async fn newest(state: State<Arc<Serving>>, hash: Path<String>) -> Response {
    match load(state, hash).await {
        Ok(log) => log.checkpoint.map_or_else(nothing, |note| plain(StatusCode::OK, note)),
        Err(answer) => answer,
    }
}

async fn log(state: State<Arc<Serving>>, hash: Path<String>) -> Response {
    match load(state, hash).await {
        Ok(log) => {
            let body = serde_json::to_string(&log).expect("a log's file has a JSON form");
            typed(StatusCode::OK, "application/json", body)
        }
        Err(answer) => answer,
    }
}

async fn load(
    State(serving): State<Arc<Serving>>,
    Path(hash): Path<String>,
) -> Result<super::folder::WatchedLog, Response> {
    // Nothing else is the name of a file of ours.
    if hash.len() != 64 || !hash.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        return Err(nothing());
    }
    let turn = serving.turn().ok_or_else(busy)?;
    match blocking(turn, move || serving.witness.load(&hash)).await {
        Some(Ok(Some(log))) => Ok(log),
        Some(Ok(None)) => Err(nothing()),
        Some(Err(error)) => Err(broken(&error)),
        None => Err(plain(StatusCode::INTERNAL_SERVER_ERROR, "the witness failed\n")),
    }
}

impl Serving {
    fn turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.turns).try_acquire_owned().ok()
    }
}

/// Runs what reads and writes files; the turn is kept until it ends. `None` when it panicked.
async fn blocking<T: Send + 'static>(
    turn: OwnedSemaphorePermit,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let work = move || {
        let _turn = turn;
        work()
    };
    tokio::task::spawn_blocking(work).await.ok()
}

fn broken(error: &ServerError) -> Response {
    tracing::error!(%error, "the witness's files cannot be used");
    plain(StatusCode::INTERNAL_SERVER_ERROR, "the witness's files cannot be used\n")
}

fn busy() -> Response {
    plain(StatusCode::SERVICE_UNAVAILABLE, "too many requests are at work\n")
}

fn nothing() -> Response {
    plain(StatusCode::NOT_FOUND, "nothing of such a log was cosigned here\n")
}

fn plain(status: StatusCode, body: impl Into<Body>) -> Response {
    typed(status, "text/plain; charset=utf-8", body)
}

fn typed(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = (status, body.into()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
