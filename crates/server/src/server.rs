//! A running server: start, stop, and what it does every second.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum_server::Handle;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use creta_audit::{Details, Event, SignedCheckpoint};
use creta_keys::RootKey;
use creta_model::{EnvironmentClass, Problem};
use creta_platform::{Clock, Platform, SystemClock};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::acme::Acme;
use crate::at_once::Doors;
use crate::config::Config;
use crate::control_plane::ControlPlane;
use crate::data_folder::{file_failed, lock, url_of};
use crate::disclosure::Disclosures;
use crate::environments::{fingerprint_of, require_own};
use crate::http::{App, GRACE};
use crate::limits::HANDSHAKE_TIME_MAX;
use crate::people::People;
use crate::placed::undo_unfinished;
use crate::planted;
use crate::problem::from_audit;
use crate::tls::{self, CERTIFICATE_RENEWAL, Certificates, Clients, EnvironmentVerifier, FILES_LOOKED_AT, Looked};
use crate::trust::{Trust, refusals};
use crate::witness::Asked;
use crate::{ServerError, cores, logging};

/// How often counted reads are written to the log.
const FLUSH_EVERY: Duration = Duration::from_secs(1);
/// How long after its start a server first looks at itself, and how often it asks which checks are due.
const FIRST_CHECKS_AFTER: Duration = Duration::from_secs(30);
const CHECK_EVERY: Duration = Duration::from_secs(10);
/// How often reports are taken from intakes.
const TAKE_REPORTS_EVERY: Duration = Duration::from_secs(2);
/// How often stores are looked at for what is due: logs that became long, segments that became many.
const STORES_KEPT_EVERY: Duration = Duration::from_secs(5);
/// How many seconds between two signed checkpoints.
const CHECKPOINT_EVERY: u32 = 10;
/// How many between two heartbeats, with which the epochs of tenants' stores are anchored.
const HEARTBEAT_EVERY: u32 = 60;

/// What to serve.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// The data folder.
    pub folder: PathBuf,
    /// Where to listen instead of what `config.toml` says; port 0 takes a free one.
    pub listen: Option<SocketAddr>,
}

/// A server at work. Dropping it stops it without grace; see [`RunningServer::stop`].
pub struct RunningServer {
    address: SocketAddr,
    components_address: Option<SocketAddr>,
    environment_id: String,
    app: Arc<App>,
    handle: Handle<SocketAddr>,
    runtime: Option<Runtime>,
    _lock: File,
}

/// Serves a data folder until SIGTERM or SIGINT, then finishes the requests at work and closes the stores. `on_ready` gets
/// the address once connections are taken. Writes logs to stderr and nothing to stdout.
pub fn serve(options: &ServeOptions, on_ready: impl FnOnce(&RunningServer)) -> Result<(), ServerError> {
    logging::init_logging();
    let _written = logging::Written;
    let server = start(options)?;
    on_ready(&server);
    server.runtime().block_on(until_told_to_stop());
    server.stop()
}

/// Ends with SIGTERM or SIGINT.
pub(crate) async fn until_told_to_stop() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals cannot be received; the process stops");
        return;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Starts a server on threads of its own.
pub fn start(options: &ServeOptions) -> Result<RunningServer, ServerError> {
    start_by(options, Arc::new(SystemClock::new()))
}

/// As [`start`], by another clock than the machine's: for whoever has to see what happens in a quarter without waiting.
pub fn start_by(options: &ServeOptions, clock: Arc<dyn Clock>) -> Result<RunningServer, ServerError> {
    // Explicit, since other crates of the graph bring a second provider; the first to install one wins.
    let _ = tls::provider().install_default();
    let folder = std::path::absolute(&options.folder).map_err(|source| ServerError::Io {
        action: "find",
        path: options.folder.clone(),
        source,
    })?;
    cores::none()?;
    let config = Config::load(&folder)?;
    let lock = lock(&folder)?;
    undo_unfinished(&folder)?;
    let control = open_control_plane(&folder, &config, clock)?;
    let trust = Trust::open(&folder, &config, &control)?;
    let people = People::open(&folder, &config, &control)?;
    let (certificates, verifier) = transit(&folder, &config, &control)?;
    let disclosures = Disclosures::open(&config, &control)?;
    let names = (config.class != EnvironmentClass::Development).then(|| config.own_names());
    let app = Arc::new(App::new(control, trust, people, disclosures, certificates, verifier, names));

    let acme = match config.acme.clone() {
        None => None,
        Some(acme) => {
            let (acme, now) = (Acme::new(acme, &folder), app.control.platform().clock.now());
            let due = acme.load(app.control.metadata(), &app.certificates, now)?;
            Some((acme, due))
        }
    };
    let api = bind(options.listen.unwrap_or(config.listen))?;
    let address = api.1;
    app.trust.serves_at(address);
    let mut listeners = vec![(api.0, Clients::Invited(Arc::clone(&app.verifier)))];
    let mut components_address = None;
    if let Some(components) = &config.components {
        let (listener, address) = bind(components.listen)?;
        app.trust.serves_components_at(address);
        components_address = Some(address);
        listeners.push((listener, Clients::Components(Arc::clone(&app.verifier))));
    }

    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("creta").build();
    let runtime =
        runtime.map_err(|source| ServerError::Io { action: "start threads for", path: folder.clone(), source })?;
    let handle = Handle::new();
    let guard = runtime.enter();
    for (listener, clients) in listeners {
        listen(&app, listener, clients, &handle, &runtime)?;
    }
    runtime.spawn(every_second(Arc::clone(&app)));
    for witness in 0..app.control.witnesses().len() {
        runtime.spawn(crate::witness::follow(Arc::clone(&app), witness));
    }
    runtime.spawn(keep_stores(Arc::clone(&app)));
    runtime.spawn(check(Arc::clone(&app)));
    runtime.spawn(take_reports(Arc::clone(&app)));
    app.trust.pager.follow();
    runtime.spawn(renew_certificate(Arc::clone(&app)));
    if config.certificate.is_some() {
        runtime.spawn(look_at_files(Arc::clone(&app)));
    }
    if let Some((acme, due)) = acme {
        runtime.spawn(crate::acme::follow(Arc::clone(&app), acme, due));
    }
    drop(guard);

    tracing::info!(%address, environment = %config.environment, "serving");
    Ok(RunningServer {
        address,
        components_address,
        environment_id: config.environment_id,
        app,
        handle,
        runtime: Some(runtime),
        _lock: lock,
    })
}

fn bind(listen: SocketAddr) -> Result<(TcpListener, SocketAddr), ServerError> {
    let not_free = |source| ServerError::Listen { address: listen.to_string(), source };
    let listener = TcpListener::bind(listen).map_err(not_free)?;
    listener.set_nonblocking(true).map_err(not_free)?;
    let address = listener.local_addr().map_err(not_free)?;
    Ok((listener, address))
}

/// Answers at a listener from now on. Every listener has the same routes; they differ in whom they let in.
fn listen(
    app: &Arc<App>,
    listener: TcpListener,
    clients: Clients,
    handle: &Handle<SocketAddr>,
    runtime: &Runtime,
) -> Result<(), ServerError> {
    let tls = RustlsConfig::from_config(tls::server_config(Arc::clone(&app.certificates), clients)?);
    let counting = Arc::clone(app);
    let refused = move |address: &SocketAddr| {
        // Checks knock in the clear to see that nobody opens; those are no attempts of anybody.
        if !(address.ip().is_loopback() && counting.trust.is_checking()) {
            counting.control.refusals().count(refusals::Kind::Handshake);
        }
    };
    let server = listener_of(listener, tls, handle.clone(), refused)
        .map_err(|source| ServerError::Listen { address: "a bound socket".to_owned(), source })?;
    let service = Doors::new(app);
    runtime.spawn(async move {
        if let Err(error) = server.serve(service).await {
            tracing::error!(%error, "the listener failed");
        }
    });
    Ok(())
}

fn open_control_plane(folder: &Path, config: &Config, clock: Arc<dyn Clock>) -> Result<ControlPlane, ServerError> {
    let platform = Platform::system(folder).map_err(|error| file_failed(folder, error))?;
    let platform = Platform { clock, ..platform };
    let root_key = config.root_key_file(folder);
    let root = RootKey::load_file(&root_key, &config.environment).map_err(|error| {
        Problem::new("server/root-key", error.to_string()).with_note("file", root_key.display().to_string(), None)
    })?;
    let own = fingerprint_of(config, &root);
    let control = ControlPlane::open(folder, config, platform, root)?;
    require_own(folder, config, &control, &own)?;
    let details = Details::none()
        .name("environment-id", config.environment_id.clone())
        .and_then(|details| details.name("class", config.class.as_str()))
        .map_err(|e| from_audit(&e))?;
    let started = Event::new("server.start", control.place()).with(details);
    control.log().record(started).map_err(|e| from_audit(&e))?;
    control.anchor_documents()?;
    control.checkpoint()?; // Witnesses are asked at once.
    Ok(control)
}

/// What the listener shows, and what it makes of what clients show.
fn transit(
    folder: &Path,
    config: &Config,
    control: &ControlPlane,
) -> Result<(Arc<Certificates>, Arc<EnvironmentVerifier>), ServerError> {
    let (authority, now) = (control.authority()?, control.platform().clock.now());
    let files = config.certificate.as_ref().map(|files| files.within(folder));
    let certificates = Certificates::new(&authority, &config.names, files, now)?;
    let (id, environment) = (control.environment_id(), control.environment());
    let known = Arc::clone(control.known_components());
    let turned_away = Arc::clone(control.turned_away());
    let verifier = EnvironmentVerifier::new(&authority, id, environment, known, turned_away, now)?;
    Ok((Arc::new(certificates), Arc::new(verifier)))
}

/// TLS on a listener, with bounds on what one connection may hold and take.
pub(crate) fn listener_of(
    listener: TcpListener,
    tls: RustlsConfig,
    handle: Handle<SocketAddr>,
    refused: impl Fn(&SocketAddr) + Send + Sync + 'static,
) -> std::io::Result<axum_server::Server<SocketAddr, RustlsAcceptor>> {
    let mut server = axum_server::from_tcp(listener)?
        .acceptor(RustlsAcceptor::new(tls).handshake_timeout(HANDSHAKE_TIME_MAX))
        .handle(handle)
        .first_request_timeout(HANDSHAKE_TIME_MAX)
        .accept_error_handler(move |address, error| {
            tracing::debug!(%error, "a connection was refused");
            address.into_iter().for_each(&refused);
        });
    limit(&mut server);
    Ok(server)
}

/// Bounds on what one connection may hold.
fn limit<A>(server: &mut axum_server::Server<SocketAddr, A>) {
    let builder = server.http_builder();
    builder.http1().header_read_timeout(HANDSHAKE_TIME_MAX).max_buf_size(128 << 10);
    builder
        .http2()
        .max_concurrent_streams(64)
        .max_header_list_size(64 << 10)
        .keep_alive_interval(Duration::from_secs(30));
}

async fn every_second(app: Arc<App>) {
    let mut interval = tokio::time::interval(FLUSH_EVERY);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut round = 0_u32;
    loop {
        interval.tick().await;
        round = round.wrapping_add(1);
        let app = Arc::clone(&app);
        let work = tokio::task::spawn_blocking(move || {
            app.metrics.upkeep();
            record_turned_away(&app.control);
            refusals::write(&app.control, false);
            tell_of_programs(&app);
            let now = app.control.platform().clock.now();
            if round % HEARTBEAT_EVERY == 1 {
                review(&app, now);
            }
            app.people.access.expire(&app.control, now).and(keep_log(&app.control, round))
        });
        if let Ok(Err(problem)) = work.await {
            tracing::error!(%problem, "the audit log cannot be kept");
        }
    }
}

/// Does what reviews of access have due, and keeps how often passwords were guessed. The log halted, nothing is decided, and so nothing is reviewed.
fn review(app: &App, now: creta_model::Instant) {
    if app.control.log().halted().is_some() {
        return;
    }
    if let Err(problem) = app.people.review(&app.control, now) {
        tracing::error!(%problem, "a review of access could not be carried on");
    }
    if let Err(problem) = app.people.keep_guesses(&app.control, &app.trust.pager, now) {
        tracing::error!(%problem, "how often passwords were guessed could not be kept");
    }
}

/// Tells who has to know of planted credentials that were used, and of programs that act in a new way.
fn tell_of_programs(app: &App) {
    planted::tell(&app.control, &app.trust.pager);
    if let Err(problem) = app.control.sightings().keep(&app.control, &app.trust.pager) {
        tracing::error!(%problem, "what programs do could not be kept");
    }
}

/// Records what came from other environments since the last round (CH-25).
fn record_turned_away(control: &ControlPlane) {
    if control.log().halted().is_some() {
        return;
    }
    let (list, more) = control.turned_away().take(control.platform().clock.monotonic());
    let refused = |details: Result<Details, creta_audit::AuditError>| match details {
        Ok(details) => {
            control.record(Event::new("peer.refused", control.place()).with(details).for_commitment("CH-25"));
        }
        Err(error) => tracing::error!(%error, "a refusal could not be recorded"),
    };
    for turned in list {
        tracing::warn!(
            what = turned.what,
            reason = turned.reason.as_str(),
            "something of another place was turned away"
        );
        let details = Details::none().name("what", turned.what);
        let details = details.and_then(|details| details.name("reason", turned.reason.as_str()));
        refused(details.and_then(|details| details.digest("shown", turned.digest)));
    }
    if more > 0 {
        refused(Details::none().count("more", more));
    }
}

/// What the log needs in some round: counted reads, a heartbeat, epochs, a checkpoint.
fn keep_log(control: &ControlPlane, round: u32) -> Result<(), Problem> {
    if control.log().halted().is_some() {
        return Ok(()); // Why was said when it was halted.
    }
    control.log().flush_reads().map_err(|e| from_audit(&e))?;
    // Stores that cannot be read are no reason to sign nothing.
    let mut anchored = Ok(());
    if round.is_multiple_of(HEARTBEAT_EVERY) {
        control.heartbeat()?;
        anchored = control.anchor_scopes();
    }
    if round.is_multiple_of(CHECKPOINT_EVERY) {
        anchored = anchored.and(control.anchor_documents());
        control.checkpoint()?;
    }
    anchored
}

/// Keeps memory, logs and numbers of files of the open scopes within bounds.
async fn keep_stores(app: Arc<App>) {
    let mut interval = tokio::time::interval(STORES_KEPT_EVERY);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let app = Arc::clone(&app);
        if let Err(error) = tokio::task::spawn_blocking(move || app.control.maintain_scopes()).await {
            tracing::error!(%error, "stores could not be kept");
        }
    }
}

/// Runs the checks whose evidence will soon be out of date.
async fn check(app: Arc<App>) {
    let mut interval = tokio::time::interval_at(tokio::time::Instant::now() + FIRST_CHECKS_AFTER, CHECK_EVERY);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let app = Arc::clone(&app);
        match tokio::task::spawn_blocking(move || app.trust.run_due(&app)).await {
            Ok(Ok(0)) => {}
            Ok(Ok(checks)) => tracing::info!(checks, "checks ran"),
            Ok(Err(problem)) => tracing::error!(code = problem.code, "checks could not be run"),
            Err(error) => tracing::error!(%error, "checks could not be run"),
        }
    }
}

/// Takes what intakes spooled.
async fn take_reports(app: Arc<App>) {
    let mut interval = tokio::time::interval(TAKE_REPORTS_EVERY);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let app = Arc::clone(&app);
        match tokio::task::spawn_blocking(move || app.trust.intakes.pick_up(&app.control)).await {
            Ok(Ok(_)) => {}
            Ok(Err(problem)) => tracing::error!(code = problem.code, "reports could not be taken from an intake"),
            Err(error) => tracing::error!(%error, "reports could not be taken from an intake"),
        }
    }
}

async fn renew_certificate(app: Arc<App>) {
    let mut interval = tokio::time::interval(CERTIFICATE_RENEWAL);
    interval.tick().await; // The first comes at once, and the certificate is fresh.
    loop {
        interval.tick().await;
        let authority = app.control.authority().map_err(ServerError::from);
        let now = app.control.platform().clock.now();
        if let Err(error) = authority.and_then(|authority| app.certificates.renew(&authority, now)) {
            tracing::error!(%error, "the server's certificate could not be renewed");
        }
        let shown = app.control.own_certificate(now).and_then(|own| Ok(app.control.witnesses().show(&own)?));
        if let Err(error) = shown {
            tracing::error!(%error, "the certificate that witnesses are shown could not be renewed");
        }
    }
}

/// Serves what is put into the certificate's files, without a restart.
async fn look_at_files(app: Arc<App>) {
    let mut interval = tokio::time::interval(FILES_LOOKED_AT);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let app = Arc::clone(&app);
        if let Err(error) = tokio::task::spawn_blocking(move || look_at_certificate(&app)).await {
            tracing::error!(%error, "the certificate's files could not be looked at");
        }
    }
}

fn look_at_certificate(app: &App) {
    let control = &app.control;
    let (event, details) = match app.certificates.look(control.platform().clock.now()) {
        Looked::Same => return,
        Looked::Replaced { chain, not_after } => {
            tracing::info!(%not_after, "a new certificate is served");
            let details = Details::none().digest("chain", *chain.as_bytes());
            ("certificate.replaced", details.and_then(|details| details.instant("not-after", not_after)))
        }
        Looked::Broken(reason) => {
            tracing::error!(reason, "the new certificate cannot be used; the one before is still served");
            ("certificate.broken", Ok(Details::none()))
        }
    };
    app.metrics.certificate(event == "certificate.replaced");
    let event = Event::new(event, control.place()).for_commitment("CI-13");
    match details {
        Ok(details) => control.record(event.with(details)),
        Err(error) => tracing::error!(%error, "a new certificate could not be recorded"),
    }
}

impl RunningServer {
    /// What its requests share.
    #[cfg(test)]
    pub(crate) fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens for components alone, if it does.
    pub fn components_address(&self) -> Option<SocketAddr> {
        self.components_address
    }

    /// Where clients on this machine find it.
    pub fn url(&self) -> String {
        url_of(self.address)
    }

    /// The random name of its environment.
    pub fn environment_id(&self) -> &str {
        &self.environment_id
    }

    /// Does at once what otherwise comes each minute: writes counted reads, records a heartbeat and the epochs of the
    /// stores, carries reviews of access on, signs a checkpoint, and asks every witness to cosign it. Gives the newest cosigned checkpoint, if any.
    pub fn keep_log(&self) -> Result<Option<SignedCheckpoint>, ServerError> {
        let control = &self.app.control;
        record_turned_away(control);
        refusals::write(control, true);
        tell_of_programs(&self.app);
        look_at_certificate(&self.app);
        review(&self.app, control.platform().clock.now());
        let kept = keep_log(control, HEARTBEAT_EVERY);
        let asked = control.witnesses().ask_all(control.log());
        match asked
            .into_iter()
            .find_map(|asked| if let Asked::OtherHistory(problem) = asked { Some(problem) } else { None })
        {
            Some(problem) => Err(ServerError::Refused(problem)),
            None => Ok(kept.map(|()| control.witnesses().cosigned())?),
        }
    }

    /// Runs checks now that otherwise run when they are due: those named, or all. Gives what came of each, as JSON.
    pub fn run_checks(&self, checks: &[&str]) -> Result<serde_json::Value, ServerError> {
        let named: Vec<String> = checks.iter().map(|check| (*check).to_owned()).collect();
        let ran = self.app.trust.run(&self.app, Some(&named).filter(|named| !named.is_empty()).map(Vec::as_slice))?;
        Ok(serde_json::to_value(ran).expect("results have a JSON form"))
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("a server has its runtime until it stops")
    }

    /// Takes no more connections, lets the requests at work finish, writes what waits, and closes the stores.
    pub fn stop(mut self) -> Result<(), ServerError> {
        tracing::info!("stopping");
        self.app.stopping();
        self.handle.graceful_shutdown(Some(GRACE));
        if let Some(runtime) = self.runtime.take() {
            runtime.block_on(async {
                let deadline = tokio::time::Instant::now() + GRACE;
                while self.handle.connection_count() > 0 && tokio::time::Instant::now() < deadline {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            });
            runtime.shutdown_timeout(GRACE);
        }
        Ok(self.app.control.close()?)
    }
}
