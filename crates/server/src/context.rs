//! From a request to a permit: who asks, whether they may, and that it stands in the log, before anything happens.
//!
//! A handler of a guarded route gets a [`Guarded`] and an [`Input`]. Neither gives access to anything; the only way on
//! is [`Guarded::act`] and its variants, which decide, record and then hand out an [`Admitted`].

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use creta_audit::{Details, Permit};
use creta_engine::ScopeEngine;
use creta_iam::{Action, FeatureSet, Place, Principal, Resource};
use creta_model::{Problem, Scope, TenantId};
use serde::de::DeserializeOwned;
use tokio::sync::OwnedSemaphorePermit;

use crate::arrow_body;
use crate::control_plane::ControlPlane;
use crate::http::App;
use crate::problem::{Refusal, internal, json_problem};
use crate::tls::Peer;
use crate::tokens::TokenError;

/// What a request brings besides who sends it. Already within the limits of its route.
pub(crate) struct Input {
    pub(crate) address: IpAddr,
    /// The component whose certificate the connection showed, if it showed one.
    pub(crate) peer: Option<Peer>,
    pub(crate) path: HashMap<String, String>,
    pub(crate) query: String,
    pub(crate) content_type: String,
    pub(crate) body: Bytes,
}

impl Input {
    /// The body as JSON.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        self.require_content_type("application/json")?;
        // Serde would take a list of a structure's members in order for the structure.
        if self.body.iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|first| *first != b'{') {
            return Err(Problem::new("request/malformed", "the body is not a JSON object"));
        }
        serde_json::from_slice(&self.body).map_err(|error| json_problem("request/malformed", "the body", &error))
    }

    /// The query string. Unknown and repeated parameters are refused as the type says.
    pub(crate) fn query<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let uri = format!("/?{}", self.query);
        let uri = uri.parse().map_err(|_| Problem::new("request/query-string", "the query string is not valid"))?;
        let parsed = axum::extract::Query::<T>::try_from_uri(&uri);
        parsed.map(|axum::extract::Query(query)| query).map_err(|rejection| {
            let text = std::error::Error::source(&rejection).map_or_else(String::new, ToString::to_string);
            let text = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
            Problem::new(
                "request/query-string",
                format!("the query string is not valid: {}", crate::problem::without_values(text)),
            )
            .with_help("the parameters of every route stand in `/openapi.json`")
        })
    }

    /// The same input with another query string: a form is read as one.
    pub(crate) fn with_query(&self, query: String) -> Self {
        Self {
            address: self.address,
            peer: self.peer.clone(),
            path: self.path.clone(),
            query,
            content_type: self.content_type.clone(),
            body: self.body.clone(),
        }
    }

    /// The body as one Arrow IPC stream.
    pub(crate) fn arrow(&self) -> Result<(SchemaRef, Vec<RecordBatch>), Problem> {
        self.require_content_type(arrow_body::ARROW_STREAM)?;
        arrow_body::decode(self.body.clone()).map_err(|error| error.to_problem())
    }

    /// A part of the path.
    pub(crate) fn path(&self, name: &str) -> &str {
        self.path.get(name).map_or("", String::as_str)
    }

    pub(crate) fn require_content_type(&self, expected: &'static str) -> Result<(), Problem> {
        let given = self.content_type.split(';').next().unwrap_or_default().trim();
        if given.eq_ignore_ascii_case(expected) {
            return Ok(());
        }
        Err(Problem::new("request/content-type", format!("this route takes `{expected}`"))
            .with_help(format!("send the header `content-type: {expected}`")))
    }
}

/// An authenticated request on its way to a permit.
pub(crate) struct Guarded {
    app: Arc<App>,
    principal: Principal,
    action: Action,
    place: PlaceOf,
    /// A place among the requests at work, kept until the work ends even when nobody waits for it any more.
    turn: OwnedSemaphorePermit,
}

/// Where a route acts. It follows from who asks, never from a header, and from the body only for administrators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlaceOf {
    /// The principal's own scope; the environment for an administrator.
    Own,
    /// The environment as a whole.
    Environment,
    /// A tenant that the request names, within the administrator's environment.
    NamedTenant,
}

impl PlaceOf {
    /// The word in the API's description.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Environment => "environment",
            Self::NamedTenant => "named-tenant",
        }
    }
}

/// A permit and what it is good for.
pub(crate) struct Admitted<'a> {
    pub(crate) control: &'a ControlPlane,
    pub(crate) app: &'a App,
    pub(crate) permit: Permit,
}

impl Admitted<'_> {
    /// The scope of the permit.
    pub(crate) fn scope(&self) -> Result<&Scope, Problem> {
        self.permit.scope().ok_or_else(internal)
    }

    /// The engine of the permit's scope.
    pub(crate) fn engine(&self) -> Result<Arc<ScopeEngine>, Problem> {
        self.control.engine(self.scope()?)
    }
}

/// Who sends a request, by its bearer token.
pub(crate) fn authenticate(control: &ControlPlane, headers: &HeaderMap) -> Result<Principal, Problem> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let help = "get one with `POST /v1/token` and send it as `authorization: Bearer ...`";
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(Problem::new("auth/no-token", "this request needs one access token").with_help(help));
    };
    let token = value.to_str().ok().and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    });
    let token =
        token.ok_or_else(|| Problem::new("auth/no-token", "this request needs a bearer token").with_help(help))?;
    control.principal_of(token).map_err(|error| match error {
        TokenError::Expired => Problem::new("auth/expired-token", "the access token has expired").with_help(help),
        TokenError::Invalid => Problem::new("auth/bad-token", "the access token is not valid here").with_help(help),
    })
}

impl Guarded {
    /// Asks whether the principal may use the route at all, before the body is read. A denial is recorded.
    pub(crate) fn ask_first(app: &App, principal: &Principal, action: Action, place: PlaceOf) -> Result<(), Problem> {
        let place = match (place, principal.scope()) {
            (PlaceOf::Environment, _) => Place::Environment(principal.environment().clone()),
            (_, Some(own)) => Place::Scope(own.clone()),
            (PlaceOf::Own, None) => Place::Environment(principal.environment().clone()),
            (PlaceOf::NamedTenant, None) => return Ok(()), // Which tenant stands in the request; it is asked then.
        };
        let decision = app.control.decide(principal, action, &resource(&place, FeatureSet::none()));
        if decision.is_allowed() { Ok(()) } else { app.control.admit(decision, Details::none()).map(drop) }
    }

    pub(crate) fn new(
        app: Arc<App>,
        principal: Principal,
        action: Action,
        place: PlaceOf,
        turn: OwnedSemaphorePermit,
    ) -> Self {
        Self { app, principal, action, place, turn }
    }

    /// Decides, records, and acts. All of it runs on a thread that may wait for disks.
    pub(crate) async fn act<T: Send + 'static>(
        self,
        details: Details,
        act: impl FnOnce(&Admitted<'_>) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let place = self.own_place();
        self.run(move |app, ask| act(&ask.admit(app, &place, FeatureSet::none(), details)?)).await
    }

    /// As [`act`](Self::act), on a tenant that an administrator names.
    pub(crate) async fn act_on_tenant<T: Send + 'static>(
        self,
        tenant: impl FnOnce(&ControlPlane) -> Result<TenantId, Problem> + Send + 'static,
        details: Details,
        act: impl FnOnce(&Admitted<'_>) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        self.run(move |app, ask| {
            let scope = app.control.require_tenant(&tenant(&app.control)?)?;
            act(&ask.admit(app, &Place::Scope(scope), FeatureSet::none(), details)?)
        })
        .await
    }

    /// As [`act`](Self::act), on features that `features` names with their tags. What does not exist in the principal's
    /// own scope is not found, whatever other scopes hold (CH-03); the attempt is counted in the log.
    pub(crate) async fn act_on_features<T: Send + 'static>(
        self,
        details: Details,
        features: impl FnOnce(&ScopeEngine) -> Result<FeatureSet, Problem> + Send + 'static,
        act: impl FnOnce(&Admitted<'_>) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let place = self.own_place();
        self.run(move |app, ask| {
            let Place::Scope(scope) = &place else { return Err(internal().into()) };
            let engine = app.control.engine(scope)?;
            match features(&engine) {
                Ok(features) => act(&ask.admit(app, &place, features, details)?),
                Err(problem) => {
                    let details =
                        details.name("refused", problem.code.clone()).map_err(|e| crate::problem::from_audit(&e))?;
                    ask.admit(app, &place, FeatureSet::none(), details)?;
                    Err(problem.into())
                }
            }
        })
        .await
    }

    fn own_place(&self) -> Place {
        match (self.place, self.principal.scope()) {
            (PlaceOf::Own, Some(own)) => Place::Scope(own.clone()),
            _ => Place::Environment(self.principal.environment().clone()),
        }
    }

    async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce(&App, &Asking) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let Self { app, principal, action, turn, .. } = self;
        let span = tracing::Span::current();
        let work = move || {
            let _turn = turn;
            span.in_scope(|| work(&app, &Asking { principal, action }))
        };
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|panic| {
            tracing::error!(%panic, "a request failed");
            Err(internal().into())
        })
    }
}

struct Asking {
    principal: Principal,
    action: Action,
}

impl Asking {
    fn admit<'a>(
        &self,
        app: &'a App,
        place: &Place,
        features: FeatureSet,
        details: Details,
    ) -> Result<Admitted<'a>, Problem> {
        let decision = app.control.decide(&self.principal, self.action, &resource(place, features));
        Ok(Admitted { control: &app.control, app, permit: app.control.admit(decision, details)? })
    }
}

pub(crate) fn resource(place: &Place, features: FeatureSet) -> Resource {
    match place {
        Place::Environment(environment) => Resource::environment(environment.clone()),
        Place::Scope(scope) => Resource::features(scope.clone(), features),
    }
}
