//! The listener, and what happens to every request whatever its route.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::{ConnectInfo, FromRequestParts as _, Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, Uri, header, request::Parts};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodFilter, on};
use axum_server::tls::TlsInfo;
use bytes::{Bytes, BytesMut};
use creta_iam::{Action, Place, Principal};
use creta_model::Problem;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument as _;

use crate::context::{Caller, Guarded, Input, PlaceOf, Presented, authenticate, authenticate_known, counted};
use crate::control_plane::ControlPlane;
use crate::disclosure::{Disclosures, STAFF_ANSWER_BYTES_MAX, day_of, is_staff};
use crate::failures::{Failures, network_of};
use crate::limits::{
    ARRIVING_MAX, ARRIVING_SHARE_MAX, BODY_TIME_MAX, BULK_REQUEST_TIME_MAX, BULK_REQUESTS_MAX, BULK_REQUESTS_SHARE_MAX,
    DRAIN_BYTES_MAX, DRAIN_TIME_MAX, PUBLIC_ARRIVING_SHARE_MAX, PUBLIC_BODY_TIME_MAX, PUBLIC_REQUESTS_MAX,
    PUBLIC_REQUESTS_SHARE_MAX, QUERY_BYTES_MAX, REQUEST_TIME_MAX, REQUESTS_MAX, REQUESTS_SHARE_MAX, WATCHES_MAX,
};
use crate::logging::Answered;
use crate::metrics::Metrics;
use crate::people::{People, web};
use crate::problem::{Refusal, internal};
use crate::routes::{Access, PageFrame, ROUTES, Route, Weight, refused_page};
use crate::tls::{Certificates, EnvironmentVerifier};
use crate::trust::Trust;
use crate::turns::{Turn, Turns};
use crate::watched::Watched;

/// Everything that requests share.
pub(crate) struct App {
    pub(crate) control: ControlPlane,
    pub(crate) failures: Failures,
    pub(crate) metrics: Metrics,
    pub(crate) openapi: String,
    pub(crate) trust: Trust,
    pub(crate) people: People,
    pub(crate) disclosures: Disclosures,
    /// What the listener shows.
    pub(crate) certificates: Arc<Certificates>,
    /// What it makes of what clients show.
    pub(crate) verifier: Arc<EnvironmentVerifier>,
    /// False from the moment the server begins to stop.
    pub(crate) ready: AtomicBool,
    /// Light requests at work and their bodies on the way, by where who asks belongs.
    pub(crate) light: [Arc<Turns<Place>>; 2],
    /// Bulk requests from the first byte of their bodies on: few, since these are large.
    bulk: Arc<Turns<Place>>,
    /// Requests of strangers at work and their bodies on the way, by network.
    public: [Arc<Turns<IpAddr>>; 2],
    watch_turns: Arc<Semaphore>,
    copy_turns: Arc<Semaphore>,
    /// What this server is called, in lower case; none in class development, where it answers to any name.
    names: Option<BTreeSet<String>>,
}

impl App {
    pub(crate) fn new(
        control: ControlPlane,
        trust: Trust,
        people: People,
        disclosures: Disclosures,
        certificates: Arc<Certificates>,
        verifier: Arc<EnvironmentVerifier>,
        names: Option<BTreeSet<String>>,
    ) -> Self {
        Self {
            names,
            control,
            trust,
            people,
            disclosures,
            certificates,
            verifier,
            failures: Failures::default(),
            metrics: Metrics::new(),
            openapi: crate::openapi::document_text(),
            ready: AtomicBool::new(true),
            light: [Turns::new(REQUESTS_MAX, REQUESTS_SHARE_MAX), Turns::new(ARRIVING_MAX, ARRIVING_SHARE_MAX)],
            bulk: Turns::new(BULK_REQUESTS_MAX, BULK_REQUESTS_SHARE_MAX),
            public: [
                Turns::new(PUBLIC_REQUESTS_MAX, PUBLIC_REQUESTS_SHARE_MAX),
                Turns::new(ARRIVING_MAX, PUBLIC_ARRIVING_SHARE_MAX),
            ],
            watch_turns: Arc::new(Semaphore::new(WATCHES_MAX)),
            copy_turns: Arc::new(Semaphore::new(1)),
        }
    }

    /// Whether the host that a request names is this server. A proof names the address that its client used, and pages their
    /// origin: both are compared with the host, so it must not be whatever somebody says who passes requests on.
    pub(crate) fn require_own_name(&self, route: &Route, parts: &Parts) -> Result<(), Problem> {
        // Whoever looks whether it lives knows it by its address.
        let Some(names) = self.names.as_ref().filter(|_| !PROBED.contains(&route.path)) else { return Ok(()) };
        let host = host_of(parts).unwrap_or_default().to_ascii_lowercase();
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host.as_str(),
        };
        if LOOPBACK.contains(&name) || names.contains(name) {
            return Ok(());
        }
        Err(Problem::new("request/host", "this server is not called so")
            .with_help("use its name; whoever runs it lists them under `names` in `config.toml`, or as `public_url`"))
    }

    /// A place among the open pages that listen. They work on nothing, so they take no place from requests that do.
    pub(crate) fn watch_turn(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.watch_turns).try_acquire_owned().map_err(|_| busy())
    }

    /// The turn of the one backup that is taken at a time.
    pub(crate) fn copy_turn(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.copy_turns).try_acquire_owned().map_err(|_| crate::routes::backup_busy())
    }

    /// Whether who bears a program's or the local administrator's token counts here (CI-21, CH-33). The local administrator does in
    /// class development, and in staging until somebody is administrator by name; in production never. For when nobody can
    /// sign in, two people open the emergency account together.
    pub(crate) fn takes(&self, principal: &Principal) -> bool {
        let local = matches!(principal, Principal::Administrator { .. });
        !local || self.people.takes_local_administrator()
    }

    /// Counts and times so far, and how many requests are at work.
    pub(crate) fn render_metrics(&self) -> String {
        self.metrics.render(self.light.iter().map(|turns| turns.taken()).sum(), self.bulk.taken())
    }

    pub(crate) fn stopping(&self) {
        self.ready.store(false, Ordering::Release);
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }
}

/// Routes that say whether the server lives and nothing else.
const PROBED: [&str; 2] = ["/health", "/ready"];
/// What every machine calls itself.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

pub(crate) fn busy() -> Problem {
    Problem::new("busy/requests", "the server is working on as many requests as it takes at a time")
        .with_help("try again after the time in the header `retry-after`")
}

/// All routes, and one answer for what is none.
pub(crate) fn router(app: Arc<App>) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        let handler = move |State(app): State<Arc<App>>, request: Request| answer(app, route, request);
        router = router.route(route.path, on(filter(&route.method), handler));
    }
    router
        .method_not_allowed_fallback(async |uri: Uri| {
            let problem = Problem::new("request/method", "this path does not take this method");
            let problem = problem.with_help("the header `allow` names those it takes");
            finish(refused(uri.path(), problem.into()), &request_id())
        })
        .fallback(async |uri: Uri| {
            let problem = Problem::new("not-found/path", "there is nothing at this path");
            let problem = problem.with_help("every path stands in `/openapi.json`");
            finish(refused(uri.path(), problem.into()), &request_id())
        })
        .layer(CatchPanicLayer::custom(|_| {
            tracing::error!("a handler panicked");
            finish(Refusal::from(internal()).into_response(), &request_id())
        }))
        .with_state(app)
}

fn filter(method: &Method) -> MethodFilter {
    MethodFilter::try_from(method.clone()).expect("routes use plain methods")
}

/// A refusal in the form that whoever asks at this path reads.
pub(crate) fn refused(path: &str, refusal: Refusal) -> Response {
    match path {
        _ if path.starts_with("/scim/") => refusal.into_scim(),
        _ if path.starts_with(web::VIEWS) => refused_page(&refusal, None),
        _ => refusal.into_response(),
    }
}

/// One request from its head to its answer, measured and logged.
async fn answer(app: Arc<App>, route: &'static Route, request: Request) -> Response {
    let start = Instant::now();
    let id = request_id();
    let span = tracing::info_span!("request", id = id.as_str(), method = %route.method, route = route.path);
    let limit = if route.weight == Weight::Bulk { BULK_REQUEST_TIME_MAX } else { REQUEST_TIME_MAX };
    let (mut parts, mut body) = request.into_parts();
    if was_put_out(&app, &parts) {
        let problem = Problem::new(
            "auth/component-revoked",
            "the component whose certificate this connection showed was revoked",
        );
        return conclude(&app, route, &id, start, refused(route.path, problem.into()));
    }
    let work = tokio::time::timeout(limit, dispatch(Arc::clone(&app), route, &mut parts, &mut body));
    let response = match work.instrument(span).await {
        Ok(Ok(response)) => response,
        Ok(Err(refusal)) => refused(route.path, refusal),
        Err(_) => refused(route.path, timed_out(limit).into()),
    };
    drain(body).await;
    conclude(&app, route, &id, start, response)
}

pub(crate) fn timed_out(limit: Duration) -> Problem {
    Problem::new("busy/timeout", format!("this took longer than {} s", limit.as_secs()))
        .with_help("ask for less at a time")
}

/// The end of every request: counted, and a line in the log that holds no part of what came in.
pub(crate) fn conclude(app: &App, route: &Route, id: &str, start: Instant, response: Response) -> Response {
    let (method, status, elapsed) = (method_name(&route.method), response.status().as_u16(), start.elapsed());
    app.metrics.request(method, route.path, status, elapsed);
    Answered { id, method, route: route.path, status, elapsed }.log();
    finish(response, id)
}

async fn dispatch(
    app: Arc<App>,
    route: &'static Route,
    parts: &mut Parts,
    body: &mut Body,
) -> Result<Response, Refusal> {
    app.require_own_name(route, parts)?;
    match &route.access {
        Access::Public(handler) => {
            // Strangers have places of their own, and take none before all of what they say is here.
            let network = network_of(address_of(parts).await?);
            let [at_work, arriving] = &app.public;
            let waiting = arriving.take(network).ok_or_else(busy)?;
            let input = read_input(route, parts, body, PUBLIC_BODY_TIME_MAX).await?;
            drop(waiting);
            let turn = at_work.take(network).ok_or_else(busy)?;
            let response = handler(Arc::clone(&app), input).await;
            drop(turn);
            response
        }
        Access::Guarded { action, place, handler } => {
            let (caller, asked) = authenticate_first(Arc::clone(&app), route, parts, *action, *place).await?;
            if let Err(refusal) = asked {
                return refused_to(&app, route, &caller, refusal);
            }
            let (input, turn) = admit_body(&app, route, &caller, parts, body).await?;
            let guarded = Guarded::new(Arc::clone(&app), caller.clone(), *action, *place, turn);
            let answered = match handler(guarded, input).await {
                Ok(answered) => answered,
                Err(refusal) => return refused_to(&app, route, &caller, refusal),
            };
            let response = metered(&app, &caller, answered)?;
            Ok(match route.weight {
                Weight::Light => response,
                // What takes long to send ends when its reader loses what it was given for.
                Weight::Bulk => response.map(|body| Body::new(Watched::new(body, move || caller.still_holds(&app)))),
            })
        }
    }
}

/// A refusal of somebody who is known: on a page with what their pages have around them.
fn refused_to(app: &App, route: &Route, caller: &Caller, refusal: Refusal) -> Result<Response, Refusal> {
    if !route.path.starts_with(web::VIEWS) {
        return Err(refusal);
    }
    let frame = PageFrame::around(&app.control, &caller.principal, caller.session.as_deref().unwrap_or_default());
    Ok(refused_page(&refusal, Some(&frame)))
}

/// The body and a place among the requests at work. No tenant takes all places from others, nor by sending slowly: a light
/// request has none before its body is here.
async fn admit_body(
    app: &App,
    route: &Route,
    caller: &Caller,
    parts: &mut Parts,
    body: &mut Body,
) -> Result<(Input, Turn<Place>), Refusal> {
    let whose = caller.principal.home();
    let [at_work, arriving] = &app.light;
    if route.weight == Weight::Bulk {
        let turn = app.bulk.take(whose).ok_or_else(busy)?;
        return Ok((read_input(route, parts, body, BODY_TIME_MAX).await?, turn));
    }
    let waiting = arriving.take(whose.clone()).ok_or_else(busy)?;
    let input = read_input(route, parts, body, BODY_TIME_MAX).await?;
    drop(waiting);
    Ok((input, at_work.take(whose).ok_or_else(busy)?))
}

/// Counts what goes to staff, and keeps back what is too much. An answer counts as much as it can come to; one
/// whose length is not bounded counts as the most.
fn metered(app: &App, caller: &Caller, response: Response) -> Result<Response, Refusal> {
    if is_staff(&caller.principal) {
        let bytes = response.body().size_hint().upper().unwrap_or(STAFF_ANSWER_BYTES_MAX);
        let who = counted(app, &caller.principal);
        app.disclosures.meter.pass(&who, day_of(app.control.platform().clock.now()), bytes)?;
        app.metrics.staff_bytes(bytes);
    }
    Ok(response)
}

/// Who asks, and whether they may use the route at all.
async fn authenticate_first(
    app: Arc<App>,
    route: &'static Route,
    parts: &mut Parts,
    action: Action,
    place: PlaceOf,
) -> Result<(Caller, Result<(), Refusal>), Refusal> {
    let address = address_of(parts).await?;
    if !route.path.starts_with(web::VIEWS)
        && let Some(caller) = authenticate_known(&app, &parts.headers, address)
        && Guarded::is_known(&app, &caller.principal, action, place)
    {
        return Ok((caller, Ok(())));
    }
    let (method, url, headers) = (parts.method.to_string(), url_of(parts), parts.headers.clone());
    // A decision that was made before is remembered; a denial waits for the log.
    let asked = tokio::task::spawn_blocking(move || {
        let presented = Presented { headers: &headers, method: &method, url: &url, address };
        // Tokens open the API and no page, cookies open pages and nothing else.
        let caller = match route.path.starts_with(web::VIEWS) {
            true => web::authenticate(&app, &presented, route.path),
            false => authenticate(&app, &presented),
        }?;
        let asked = Guarded::ask_first(&app, &caller.principal, action, place).map_err(Refusal::from);
        Ok::<_, Refusal>((caller, asked))
    });
    asked.await.map_err(|_| internal())?
}

async fn address_of(parts: &mut Parts) -> Result<IpAddr, Problem> {
    let address = ConnectInfo::<SocketAddr>::from_request_parts(parts, &()).await;
    address.map(|ConnectInfo(address)| address.ip()).map_err(|_| internal())
}

/// The address that the client wrote, without its query. Outside class development its host was found to be one of this
/// server's names before.
fn url_of(parts: &Parts) -> String {
    format!("https://{}{}", host_of(parts).unwrap_or_default(), parts.uri.path())
}

/// The host that a request is for, with its port.
fn host_of(parts: &Parts) -> Option<String> {
    let authority = parts.uri.authority().map(ToString::to_string);
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    match (authority, hosts.next(), hosts.next()) {
        (Some(authority), ..) => Some(authority),
        (None, Some(host), None) => host.to_str().ok().map(str::to_owned),
        _ => None,
    }
}

async fn read_input(route: &Route, parts: &mut Parts, body: &mut Body, time_max: Duration) -> Result<Input, Refusal> {
    let query = parts.uri.query().unwrap_or_default().to_owned();
    if query.len() > QUERY_BYTES_MAX {
        return Err(Problem::new(
            "too-large/query-string",
            format!("a query string has at most {QUERY_BYTES_MAX} bytes"),
        )
        .into());
    }
    let path = if route.path.contains('{') {
        let path = Path::<HashMap<String, String>>::from_request_parts(parts, &()).await;
        path.map(|Path(path)| path).map_err(|_| Problem::new("request/malformed", "the path is not valid UTF-8"))?
    } else {
        HashMap::new()
    };
    let address = address_of(parts).await?;
    let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default().to_owned();
    let reading = tokio::time::timeout(time_max, read_body(&parts.headers, body, route.body_bytes_max));
    let body = reading.await.map_err(|_| {
        let seconds = time_max.as_secs();
        Problem::new("request/slow-body", format!("the body did not arrive within {seconds} s"))
            .with_help("send it in smaller parts")
    })??;
    let (method, url) = (route.method.to_string(), url_of(parts));
    let headers = std::mem::take(&mut parts.headers); // Nobody reads them after this.
    Ok(Input { address, path, query, content_type, headers, method, url, body })
}

/// Whether the connection showed a component's certificate that would not be let in any more.
fn was_put_out(app: &App, parts: &Parts) -> bool {
    let info = parts.extensions.get::<Arc<TlsInfo>>();
    let shown = info.and_then(|info| info.peer_certificates.first());
    shown.is_some_and(|certificate| !app.verifier.knows(certificate))
}

/// Reads a body up to a limit. Memory grows with what arrives.
pub(crate) async fn read_body(headers: &HeaderMap, body: &mut Body, limit: usize) -> Result<Bytes, Problem> {
    let too_large = || {
        Problem::new("too-large/body", format!("the body has more than the {limit} bytes that this route takes"))
            .with_help("send it in parts")
    };
    let claimed = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if claimed.is_some_and(|claimed| claimed > limit as u64) {
        return Err(too_large());
    }
    // Most come in one part, which stays where it is.
    let (mut first, mut bytes) = (Bytes::new(), BytesMut::new());
    while let Some(part) = next_part(body).await {
        let part = part.map_err(|_| Problem::new("request/cut-short", "the connection ended before the body did"))?;
        if first.len() + bytes.len() + part.len() > limit {
            return Err(too_large());
        }
        if bytes.is_empty() && first.is_empty() {
            first = part;
            continue;
        }
        bytes.extend_from_slice(&std::mem::take(&mut first));
        bytes.extend_from_slice(&part);
    }
    Ok(if bytes.is_empty() { first } else { bytes.freeze() })
}

/// The next part of a body; trailers count as an empty one.
async fn next_part(body: &mut Body) -> Option<Result<Bytes, axum::Error>> {
    let frame = std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await?;
    Some(frame.map(|frame| frame.into_data().unwrap_or_default()))
}

/// Takes what is left of a body whose request was refused early. Many clients look for an answer only when they have sent
/// everything, and would see a broken connection instead of the reason.
pub(crate) async fn drain(mut body: Body) {
    let rest = async {
        let mut left = DRAIN_BYTES_MAX;
        while let Some(Ok(part)) = next_part(&mut body).await {
            let Some(rest) = left.checked_sub(part.len()) else { break };
            left = rest;
        }
    };
    let _ = tokio::time::timeout(DRAIN_TIME_MAX, rest).await; // Late or not, the answer follows.
}

/// Headers of every answer.
pub(crate) fn finish(mut response: Response, id: &str) -> Response {
    let headers = response.headers_mut();
    headers.insert("x-request-id", HeaderValue::from_str(id).expect("hexadecimal digits make a header"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    response
}

/// Made here, never taken from a header, so that nobody writes into the log. A count under a key that each process draws: no
/// request waits for the system's random numbers.
pub(crate) fn request_id() -> String {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    hex::encode(KEY.hash_one(COUNT.fetch_add(1, Ordering::Relaxed)).to_be_bytes())
}

fn method_name(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        _ => "POST",
    }
}

/// How long requests at work may take to end when the server stops.
pub(crate) const GRACE: Duration = Duration::from_secs(20);
