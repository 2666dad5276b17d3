//! The intake's listener: TLS only, a form, the contact, nothing else. It has no token, no policy and no tenant's data.

use std::collections::HashMap;
use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use creta_compliance::page::{ReportDraft, assets, report_form};
use creta_compliance::{SECURITY_TXT_PATH, SecurityTxt};
use creta_model::{Instant, Problem, Span};
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

use super::answers::{Received, page, public, receipt, refused};
use super::folder::IntakeFolder;
use super::gate::Gate;
use super::paging::{Pager, not_noted};
use super::report::{Codes, NewReport, Promised};
use super::spool::{self, Spool, Spooled};
use crate::context::Input;
use crate::data_folder::{lock, url_of};
use crate::http::{GRACE, finish, request_id};
use crate::limits::{REPORT_BYTES_MAX, REQUESTS_MAX};
use crate::problem::Refusal;
use crate::server::{listener_of, until_told_to_stop};
use crate::tls::{self, Authority, CERTIFICATE_RENEWAL, Certificates, Clients, FILES_LOOKED_AT, Looked};
use crate::{ServerError, logging};

/// Longest time for a report to arrive.
const BODY_TIME_MAX: Duration = Duration::from_secs(20);
/// How long the contact is good for that the intake writes itself.
const CONTACT_GOOD_FOR: Span = Span::days(180);
/// A signed contact that somebody put into the folder.
const CONTACT_FILE: &str = "security.txt";
const FORM_PATH: &str = "/trust/report/";

/// What to serve.
#[derive(Debug, Clone)]
pub struct IntakeServeOptions {
    /// The intake's data folder.
    pub folder: PathBuf,
    /// Where to listen instead of what `intake.toml` says; port 0 takes a free one.
    pub listen: Option<SocketAddr>,
}

/// An intake at work. Dropping it stops it without grace; see [`RunningIntake::stop`].
pub struct RunningIntake {
    address: SocketAddr,
    handle: Handle<SocketAddr>,
    runtime: Option<Runtime>,
    _lock: File,
}

struct Serving {
    intake: IntakeFolder,
    key: aws_lc_rs::signature::Ed25519KeyPair,
    sealed_to: Vec<u8>,
    codes: Codes,
    gate: Gate,
    spool: Spool,
    pager: Arc<Pager>,
    turns: Semaphore,
}

/// Serves until SIGTERM or SIGINT. `on_ready` gets the intake once connections are taken.
pub fn serve(options: &IntakeServeOptions, on_ready: impl FnOnce(&RunningIntake)) -> Result<(), ServerError> {
    logging::init_logging();
    let _written = logging::Written;
    let intake = start(options)?;
    on_ready(&intake);
    intake.runtime.as_ref().expect("it has just been started").block_on(until_told_to_stop());
    intake.stop();
    Ok(())
}

/// Starts an intake on threads of its own.
pub fn start(options: &IntakeServeOptions) -> Result<RunningIntake, ServerError> {
    // Explicit, since other crates of the graph bring a second provider; the first to install one wins.
    let _ = tls::provider().install_default();
    let intake = IntakeFolder::open(&options.folder)?;
    let lock = lock(&intake.folder)?;
    let listen = options.listen.unwrap_or(intake.config.listen);
    let not_free = |source| ServerError::Listen { address: listen.to_string(), source };
    let listener = TcpListener::bind(listen).map_err(not_free)?;
    listener.set_nonblocking(true).map_err(not_free)?;
    let address = listener.local_addr().map_err(not_free)?;

    let folder = intake.folder.clone();
    let (files, clock) = (Arc::clone(&intake.platform.files), Arc::clone(&intake.platform.clock));
    let contacts = intake.config.on_call.clone();
    let pager = Arc::new(Pager::new(intake.config.name.clone(), &folder, Arc::clone(&files), clock, contacts));
    let serving = Arc::new(Serving {
        key: intake.signing_key()?,
        sealed_to: intake.sealed_to()?,
        codes: intake.codes()?,
        gate: Gate::default(),
        spool: Spool::new(files),
        pager: Arc::clone(&pager),
        turns: Semaphore::new(REQUESTS_MAX),
        intake,
    });
    let (authority, now) = (serving.intake.authority()?, serving.intake.platform.clock.now());
    let files = serving.intake.config.certificate.as_ref().map(|files| files.within(&serving.intake.folder));
    let certificates = Arc::new(Certificates::new(&authority, &serving.intake.config.names, files, now)?);
    let tls = RustlsConfig::from_config(tls::server_config(Arc::clone(&certificates), Clients::Anybody)?);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().thread_name("creta-intake").build();
    let runtime = runtime.map_err(|source| ServerError::Io { action: "start threads for", path: folder, source })?;
    let handle = Handle::new();
    let guard = runtime.enter();
    let server = listener_of(listener, tls, handle.clone(), |_| {}).map_err(not_free)?;
    let service = router(Arc::clone(&serving)).into_make_service_with_connect_info::<SocketAddr>();
    runtime.spawn(async move {
        if let Err(error) = server.serve(service).await {
            tracing::error!(%error, "the listener failed");
        }
    });
    pager.follow();
    if pager.contacts() == 0 {
        tracing::warn!("nobody is on call: reports are kept, and wake nobody; name somebody in `intake.toml`");
    }
    runtime.spawn(renew_certificate(serving, authority, certificates));
    drop(guard);
    tracing::info!(%address, "taking reports");
    Ok(RunningIntake { address, handle, runtime: Some(runtime), _lock: lock })
}

impl RunningIntake {
    /// Where people on this machine find it.
    pub fn url(&self) -> String {
        url_of(self.address)
    }

    /// Takes no more connections and lets the requests at work finish.
    pub fn stop(mut self) {
        self.handle.graceful_shutdown(Some(GRACE));
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(GRACE);
        }
    }
}

impl Drop for RunningIntake {
    fn drop(&mut self) {
        self.handle.shutdown();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Makes a new certificate of the own authority every day, and looks at that of others every few seconds.
async fn renew_certificate(serving: Arc<Serving>, authority: Authority, certificates: Arc<Certificates>) {
    let mut renewal = tokio::time::interval(CERTIFICATE_RENEWAL);
    let mut files = tokio::time::interval(FILES_LOOKED_AT);
    renewal.tick().await; // The first comes at once, and the certificate is fresh.
    loop {
        let now = || serving.intake.platform.clock.now();
        tokio::select! {
            _ = renewal.tick() => {
                if let Err(error) = certificates.renew(&authority, now()) {
                    tracing::error!(%error, "the intake's certificate could not be renewed");
                }
            }
            _ = files.tick() => match certificates.look(now()) {
                Looked::Same => {}
                Looked::Replaced { chain, .. } => tracing::info!(%chain, "another certificate is served"),
                Looked::Broken(reason) => tracing::error!(reason, "the certificate in files cannot be used"),
            },
        }
    }
}

impl Serving {
    /// Takes a report: spooled durably, and whoever is on call noted to be paged, when this returns.
    fn receive(&self, new: &NewReport, address: std::net::IpAddr) -> Result<Spooled, Refusal> {
        let platform = &self.intake.platform;
        let full = self.spool.list().map_err(|error| broken(&error))?.len() >= spool::FILES_MAX;
        if full {
            tracing::error!("the spool is full: the server has not taken reports for long");
            let full = Problem::new("busy/reports", "no more reports can be kept here just now");
            return Err(full.with_help("the contacts in `/.well-known/security.txt` still reach us").into());
        }
        let taken = new.take(&self.gate, &self.codes, address, (&*platform.clock, &*platform.random))?;
        let report = Spooled {
            reference: taken.reference,
            received_at: platform.clock.now(),
            title: new.title.clone(),
            description: new.description.clone(),
            contact: new.contact.clone(),
            urgent: new.is_urgent(),
            tenant: taken.tenant,
            same_as: taken.same_as,
        };
        let sealed = spool::seal(&report, &self.sealed_to, &self.key).map_err(|error| {
            tracing::error!(error, "a report could not be sealed");
            crate::problem::internal()
        })?;
        self.spool.add(&report.reference, &sealed).map_err(|error| broken(&error))?;
        if let Some(urgency) = taken.urgency {
            self.pager.ask(&report.reference, report.received_at, urgency).map_err(|error| not_noted(&error))?;
        }
        tracing::info!(reference = report.reference, urgent = report.urgent, "a report came in");
        Ok(report)
    }

    /// The contact: what somebody put into the folder while that is in date, and otherwise one that the intake writes.
    fn contact(&self) -> Result<String, Problem> {
        let IntakeFolder { config, platform, .. } = &self.intake;
        let now = platform.clock.now();
        if let Ok(kept) = platform.files.read(CONTACT_FILE)
            && let Ok(text) = String::from_utf8(kept)
            && SecurityTxt::parse(&text, now).is_ok()
        {
            return Ok(text);
        }
        let micros = now.micros();
        let seconds = Instant::from_micros(micros - micros.rem_euclid(1_000_000));
        let now = seconds.map_err(|_| crate::problem::internal())?;
        let mut contact = config.security_contacts.clone();
        contact.push(config.form.clone());
        let file = SecurityTxt {
            contact,
            expires: now.plus(CONTACT_GOOD_FOR),
            canonical: Vec::new(),
            policy: Vec::new(),
            preferred_languages: vec!["en".to_owned()],
            encryption: Vec::new(),
        };
        file.to_text(now).map_err(|error| {
            tracing::error!(%error, "the contact in `intake.toml` is not valid");
            crate::problem::internal()
        })
    }
}

fn broken(error: &creta_platform::FileError) -> Problem {
    crate::problem::logged("the spool cannot be used", error)
}

fn router(serving: Arc<Serving>) -> Router {
    let form = || async { redirect() };
    let mut router = Router::new()
        .route("/", get(form))
        .route("/trust", get(form))
        .route("/trust/", get(form))
        .route("/trust/report", get(form).post(report))
        .route(FORM_PATH, get(show_form))
        .route("/trust/report/{reference}", get(status))
        .route(SECURITY_TXT_PATH, get(contact))
        .route("/health", get(health));
    for (name, file) in assets() {
        router = router.route(
            &format!("/trust/{name}"),
            get(move || {
                let file = file.clone();
                async move { page(StatusCode::OK, file) }
            }),
        );
    }
    router
        .fallback(async || {
            let problem = Problem::new("not-found/path", "only reports of security issues are taken here");
            Refusal::from(problem.with_help("the form is at `/trust/report/`")).into_response()
        })
        .layer(axum::middleware::map_response(async |response: Response| finish(response, &request_id())))
        .with_state(serving)
}

fn redirect() -> Response {
    let text = [(header::LOCATION, FORM_PATH), (header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    public((StatusCode::TEMPORARY_REDIRECT, text, format!("look at {FORM_PATH}\n")).into_response())
}

async fn show_form(State(serving): State<Arc<Serving>>) -> Response {
    let organisation = &serving.intake.config.organisation;
    page(StatusCode::OK, report_form(organisation, &Promised::terms(), &ReportDraft::default(), None))
}

async fn report(
    State(serving): State<Arc<Serving>>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let Ok(_turn) = serving.turns.try_acquire() else {
        return Refusal::from(Problem::new("busy/requests", "too many requests are at work; try again"))
            .into_response();
    };
    let body = match tokio::time::timeout(BODY_TIME_MAX, to_bytes(body, REPORT_BYTES_MAX)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => {
            let says = format!("a report has at most {REPORT_BYTES_MAX} bytes");
            return Refusal::from(Problem::new("too-large/body", says)).into_response();
        }
        Err(_) => {
            return Refusal::from(Problem::new("request/slow-body", "the report came too slowly")).into_response();
        }
    };
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let address = address.ip();
    let input = Input {
        address,
        path: HashMap::new(),
        query: String::new(),
        content_type: content_type.to_owned(),
        headers: HeaderMap::new(),
        method: String::new(),
        url: String::new(),
        body,
    };
    let received = match Received::read(&input) {
        Ok(received) => received,
        Err(refusal) => return refusal.into_response(),
    };
    let work = Arc::clone(&serving);
    let done = tokio::task::spawn_blocking(move || (work.receive(&received.new, address), received)).await;
    let organisation = &serving.intake.config.organisation;
    match done {
        Ok((Ok(report), received)) => {
            let link = format!("{}{}", serving.intake.config.status, report.reference);
            receipt(organisation, received.as_form, &report.reference, report.received_at, &link)
        }
        Ok((Err(refusal), received)) => refused(organisation, &received, refusal),
        Err(_) => Refusal::from(crate::problem::internal()).into_response(),
    }
}

/// How a report stands is known to the server; here it is known whether it has been handed over.
async fn status(State(serving): State<Arc<Serving>>, Path(reference): Path<String>) -> Response {
    let missing = || {
        let problem = Problem::new("not-found/report", "no report of this reference waits here");
        let at = format!("once the server has taken it, it is at `{}`", serving.intake.config.status);
        Refusal::from(problem.with_help(at)).into_response()
    };
    if !spool::is_reference(&reference) || serving.spool.read(&reference).is_err() {
        return missing();
    }
    let says = format!("{reference} has come in and waits to be handed over; nothing more is known here\n");
    public(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], says).into_response())
}

async fn contact(State(serving): State<Arc<Serving>>) -> Response {
    match tokio::task::spawn_blocking(move || serving.contact()).await {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response(),
        Ok(Err(problem)) => Refusal::from(problem).into_response(),
        Err(_) => Refusal::from(crate::problem::internal()).into_response(),
    }
}

/// For the server's check: whether somebody can be paged, and whether the newest page reached anybody.
async fn health(State(serving): State<Arc<Serving>>) -> Response {
    let (contacts, failing) = (serving.pager.contacts(), serving.pager.failing().is_some());
    let body = json!({"name": serving.intake.config.name, "on_call": contacts, "paging_fails": failing}).to_string();
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}
