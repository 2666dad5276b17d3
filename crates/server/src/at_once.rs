//! What answers at a connection: questions that were asked before on a way of their own, everything else by the routes.
//!
//! A program asks the same of other entities thousands of times a second. Where nothing in the answer waits for anything, such a
//! question is answered where its connection is read: the token was checked before, the decision was made before, what follows
//! from the question's shape is ready. Everything about it is asked on this way too: whether the account still is what it
//! was, whether the decision still holds, whether there is a place, and it counts in the audit log. Whatever is not so goes by
//! the routes, from the beginning.

use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderMap, Method, header, request::Parts};
use axum::response::Response;
use bytes::Bytes;
use creta_iam::{Action, Principal};
use tokio::time::Sleep;
use tower::{Service, ServiceExt as _};
use tracing::Instrument as _;

use crate::context::{AtOnce, Caller, Guarded, PlaceOf, authenticate_known, is_media_type, may_be_object};
use crate::http::{App, busy, conclude, drain, read_body, refused, request_id, router, timed_out};
use crate::limits::REQUEST_TIME_MAX;
use crate::problem::{Refusal, internal};
use crate::routes::{Access, JSON, ROUTES, Route, query_admitted, query_at_once};

/// Makes a [`Door`] for each connection.
pub(crate) struct Doors {
    app: Arc<App>,
    routes: Router,
}

impl Doors {
    pub(crate) fn new(app: &Arc<App>) -> Self {
        Self { app: Arc::clone(app), routes: router(Arc::clone(app)) }
    }
}

impl Service<SocketAddr> for Doors {
    type Response = Door;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Door, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, address: SocketAddr) -> Self::Future {
        std::future::ready(Ok(Door { app: Arc::clone(&self.app), routes: self.routes.clone(), address }))
    }
}

/// Answers the requests of one connection.
#[derive(Clone)]
pub(crate) struct Door {
    app: Arc<App>,
    routes: Router,
    address: SocketAddr,
}

impl<B> Service<axum::http::Request<B>> for Door
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: axum::http::Request<B>) -> Self::Future {
        let (app, address) = (Arc::clone(&self.app), self.address);
        let request = request.map(Body::new);
        match Asked::of(&app, request.method(), request.uri().path_and_query(), request.headers(), address.ip()) {
            Some(asked) => {
                let routes = self.routes.clone();
                Box::pin(async move {
                    match asked.answer(&app, request).await {
                        Ok(response) => Ok(response),
                        Err(request) => by_routes(routes, address, request).await,
                    }
                })
            }
            None => Box::pin(by_routes(self.routes.clone(), address, request)),
        }
    }
}

async fn by_routes(routes: Router, address: SocketAddr, mut request: Request) -> Result<Response, Infallible> {
    request.extensions_mut().insert(ConnectInfo(address));
    routes.oneshot(request).await
}

/// The route whose questions are answered here.
struct Query {
    route: &'static Route,
    action: Action,
    place: PlaceOf,
}

static QUERY: LazyLock<Query> = LazyLock::new(|| {
    let route = ROUTES.iter().find(|route| route.path == "/v1/query" && route.method == Method::POST);
    match route.map(|route| (route, &route.access)) {
        Some((route, Access::Guarded { action, place, .. })) => Query { route, action: *action, place: *place },
        _ => unreachable!("queries have a guarded route"),
    }
});

/// A program that may ask, which is all that its request has shown so far.
struct Asked {
    caller: Caller,
}

impl Asked {
    /// `None` for what goes by the routes.
    fn of(
        app: &App,
        method: &Method,
        asked: Option<&axum::http::uri::PathAndQuery>,
        headers: &HeaderMap,
        from: IpAddr,
    ) -> Option<Self> {
        if method != Method::POST || asked?.as_str() != QUERY.route.path {
            return None;
        }
        let content_type = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        let caller = authenticate_known(app, headers, from).filter(|_| is_media_type(content_type, JSON))?;
        let program = matches!(caller.principal, Principal::ServiceAccount { .. });
        (program && Guarded::is_known(app, &caller.principal, QUERY.action, QUERY.place)).then_some(Self { caller })
    }

    /// The answer, or the request as it was for the routes to answer.
    async fn answer(self, app: &Arc<App>, request: Request) -> Result<Response, Request> {
        let (start, id) = (Instant::now(), request_id());
        let (parts, mut body) = request.into_parts();
        let response = match self.act(app, &parts, &mut body, &id).await {
            Ok(Outcome::Answer(response)) => response,
            Ok(Outcome::ByRoutes(read)) => return Err(Request::from_parts(parts, Body::from(read))),
            Err(refusal) => refused(QUERY.route.path, refusal),
        };
        drain(body).await;
        Ok(conclude(app, QUERY.route, &id, start, response))
    }

    async fn act(self, app: &Arc<App>, parts: &Parts, body: &mut Body, id: &str) -> Result<Outcome, Refusal> {
        app.require_own_name(QUERY.route, parts)?;
        let whose = self.caller.principal.home();
        let [at_work, arriving] = &app.light;
        let waiting = arriving.take(whose.clone()).ok_or_else(busy)?;
        let reading = read_body(&parts.headers, body, QUERY.route.body_bytes_max);
        let read = within(REQUEST_TIME_MAX, reading).await.ok_or_else(|| timed_out(REQUEST_TIME_MAX))??;
        drop(waiting);
        if !may_be_object(&read) {
            return Ok(Outcome::ByRoutes(read));
        }
        let turn = at_work.take(whose).ok_or_else(busy)?;
        let guarded = Guarded::new(Arc::clone(app), self.caller, QUERY.action, QUERY.place, turn);
        let answered = catch_unwind(AssertUnwindSafe(|| query_at_once(&guarded, &read)));
        let answered = answered.unwrap_or_else(|_| {
            tracing::error!("a question that was asked before made the server panic");
            Err(internal().into())
        });
        match answered? {
            AtOnce::Answer(response) => Ok(Outcome::Answer(response)),
            AtOnce::No => Ok(Outcome::ByRoutes(read)),
            AtOnce::Admitted(permit) => {
                let span = tracing::info_span!("request", id, method = %QUERY.route.method, route = QUERY.route.path);
                let rest = query_admitted(guarded, permit, &read).instrument(span);
                let rest = tokio::time::timeout(REQUEST_TIME_MAX, rest).await;
                Ok(Outcome::Answer(rest.map_err(|_| timed_out(REQUEST_TIME_MAX))??))
            }
        }
    }
}

enum Outcome {
    Answer(Response),
    /// The body, read to its end.
    ByRoutes(Bytes),
}

/// What `work` gives, if it does within `limit`. As tokio's timeout, for work that is mostly done when it is polled the second
/// time: until then no timer is set.
async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    let mut work = std::pin::pin!(work);
    let (mut polled, mut timer) = (false, None::<Pin<Box<Sleep>>>);
    std::future::poll_fn(move |cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        if !std::mem::replace(&mut polled, true) {
            cx.waker().wake_by_ref(); // There is a second time, whoever wakes this.
            return Poll::Pending;
        }
        timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit))).as_mut().poll(cx).map(|()| None)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn attack_who_sends_nothing_more_is_left_after_the_limit() {
        assert_eq!(within(Duration::from_millis(1), std::future::pending::<()>()).await, None);
        let late = async {
            for _ in 0..5 {
                tokio::task::yield_now().await;
            }
            7
        };
        assert_eq!(within(Duration::from_secs(600), late).await, Some(7));
        assert_eq!(within(Duration::ZERO, std::future::ready(7)).await, Some(7), "what is there needs no time");
    }

    #[test]
    fn questions_have_a_guarded_route() {
        assert_eq!((QUERY.action, QUERY.place), (Action::Query, PlaceOf::Own));
    }
}
