//! From a request to a permit: who asks, whether they may, and that it stands in the log, before anything happens.
//!
//! A handler of a guarded route gets a [`Guarded`] and an [`Input`]. Neither gives access to anything; the only way on
//! is [`Guarded::act`] and its variants, which decide, record and then hand out an [`Admitted`].

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use creta_audit::{Details, Event, Permit};
use creta_engine::ScopeEngine;
use creta_iam::{Action, Decision, FeatureSet, Place, Principal, Resource};
use creta_model::{Instant, Problem, Scope};
use creta_programme::{PersonId, PersonRef};
use creta_proof::Hash;
use serde::de::DeserializeOwned;

use crate::arrow_body;
use crate::control_plane::ControlPlane;
use crate::http::App;
use crate::intake::Urgency;
use crate::people::PersonRecord;
use crate::problem::{Refusal, internal, json_problem};
use crate::tokens::{Claims, TokenError};
use crate::turns::Turn;

mod authenticating;

use authenticating::token_problem;
pub(crate) use authenticating::{
    KeyOf, admit_proof, authenticate, authenticate_known, check_proof, refused_unbound, require_proof,
};

/// What a request brings besides who sends it. Already within the limits of its route.
pub(crate) struct Input {
    pub(crate) address: IpAddr,
    pub(crate) path: HashMap<String, String>,
    pub(crate) query: String,
    pub(crate) content_type: String,
    pub(crate) headers: HeaderMap,
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) body: Bytes,
}

impl Input {
    /// The body as JSON.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        self.require_object()?;
        serde_json::from_slice(&self.body).map_err(|error| json_problem("request/malformed", "the body", &error))
    }

    /// Refuses a body that cannot be a JSON object.
    pub(crate) fn require_object(&self) -> Result<(), Problem> {
        self.require_content_type("application/json")?;
        if !may_be_object(&self.body) {
            return Err(Problem::new("request/malformed", "the body is not a JSON object"));
        }
        Ok(())
    }

    /// The query string. Unknown and repeated parameters are refused as the type says.
    pub(crate) fn query<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        parameters(&self.query, "request/query-string", "the query string")
    }

    /// The body as a form (`application/x-www-form-urlencoded`). Unknown and repeated fields are refused as the type says.
    pub(crate) fn form<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let not_text = |_| Problem::new("request/malformed", "the form is not text");
        let text = std::str::from_utf8(&self.body).map_err(not_text)?;
        parameters(text, "request/malformed", "the form")
    }

    /// What it shows of who sends it.
    pub(crate) fn presented(&self) -> Presented<'_> {
        Presented { headers: &self.headers, method: &self.method, url: &self.url, address: self.address }
    }

    /// A cookie, if there is exactly one of that name.
    pub(crate) fn cookie(&self, name: &str) -> Option<&str> {
        cookie_in(&self.headers, name)
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
        if is_media_type(&self.content_type, expected) {
            return Ok(());
        }
        Err(Problem::new("request/content-type", format!("this route takes `{expected}`"))
            .with_help(format!("send the header `content-type: {expected}`")))
    }
}

/// Names and values as query strings and forms write them.
fn parameters<T: DeserializeOwned>(text: &str, code: &'static str, what: &str) -> Result<T, Problem> {
    let uri = format!("/?{text}").parse().map_err(|_| Problem::new(code, format!("{what} is not valid")))?;
    let parsed = axum::extract::Query::<T>::try_from_uri(&uri);
    parsed.map(|axum::extract::Query(parsed)| parsed).map_err(|rejection| {
        let text = std::error::Error::source(&rejection).map_or_else(String::new, ToString::to_string);
        let text = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
        Problem::new(code, format!("{what} is not valid: {}", crate::problem::without_values(text)))
            .with_help("the parameters of every route stand in `/openapi.json`")
    })
}

/// Whether a header `content-type` says this one, with whatever parameters.
pub(crate) fn is_media_type(content_type: &str, expected: &str) -> bool {
    content_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(expected)
}

/// Whether a JSON text is that of an object or of nothing. Serde would take a list of a structure's members in order for the
/// structure.
pub(crate) fn may_be_object(body: &[u8]) -> bool {
    body.iter().find(|byte| !byte.is_ascii_whitespace()).is_none_or(|first| *first == b'{')
}

/// A cookie, if there is exactly one of that name.
fn cookie_in<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut named = all.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut own = named.by_ref().filter(|(key, _)| *key == name).map(|(_, value)| value);
    match (own.next(), own.next()) {
        (Some(value), None) => Some(value),
        _ => None,
    }
}

/// What somebody was let in by.
#[derive(Debug, Clone)]
pub(crate) enum Credential {
    /// A token, and what it says.
    Token(Arc<Claims>),
    /// The cookie of a browser's session, and its key.
    Browser,
}

/// Who sends a request, by their credential.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) principal: Principal,
    /// The only features that the credential is good for, if it was narrowed.
    pub(crate) features: Option<Arc<BTreeSet<String>>>,
    /// The session of a person.
    pub(crate) session: Option<String>,
    /// What they showed.
    pub(crate) credential: Credential,
}

impl Caller {
    /// The same as they are known now; `None` once the account, the session or its person is gone. Costs a few look-ups in memory.
    fn now(&self, app: &App) -> Option<Self> {
        match &self.credential {
            Credential::Token(claims) => caller_of(app, claims).ok(),
            Credential::Browser => self.session.as_deref().and_then(|session| app.people.in_browser_now(app, session)),
        }
    }

    /// The same, for what is decided at the end of a request: a body may have taken minutes to arrive, and whoever was revoked
    /// meanwhile, or belongs elsewhere now, acts no more (CH-33).
    fn require_now(&self, app: &App) -> Result<Self, Problem> {
        let same = |now: &Self| now.principal.home() == self.principal.home();
        self.now(app).filter(same).ok_or_else(|| match self.credential {
            Credential::Token(_) => token_problem(TokenError::Invalid),
            Credential::Browser => crate::people::web::over(),
        })
    }

    /// Whether they still are who they were: the account lives, the session is open, they belong where they did, nothing that
    /// they held when the request began was taken away, and sign-in and device are worth as much as they were.
    pub(crate) fn still_holds(&self, app: &App) -> bool {
        let Some(now) = self.now(app) else { return false };
        match (self.principal.person(), now.principal.person()) {
            (Some(then), Some(now)) => {
                let same_home = now.home() == then.home();
                let (then, now) = (then.standing(), now.standing());
                same_home
                    && now.assurance.user_verified >= then.assurance.user_verified
                    && now.assurance.seal == then.assurance.seal
                    && now.grants.is_superset(&then.grants)
                    && now.roles.is_superset(&then.roles)
                    && now.assurance.device >= then.assurance.device
            }
            _ => now.principal == self.principal,
        }
    }
}

/// Who bears a token that was checked, as they are now.
fn caller_of(app: &App, claims: &Arc<Claims>) -> Result<Caller, TokenError> {
    match claims.sid {
        Some(_) => app.people.caller(claims, app.control.platform().clock.now()),
        None => app.control.caller_of(claims).and_then(|caller| {
            let counts = app.takes(&caller.principal);
            counts.then_some(caller).ok_or(TokenError::Invalid)
        }),
    }
}

/// A whole number of a JSON body, however it is written: `1.0` is the integer 1 to JSON schema, and to us. Absent is `None`.
pub(crate) fn whole<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let given = deserializer.deserialize_option(WholeNumber)?;
    let number = |given: f64| {
        let whole = given.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&given);
        whole.then_some(given as u32).ok_or_else(|| serde::de::Error::custom("not a whole number that fits"))
    };
    given.map(number).transpose()
}

/// What is said of anything else speaks of numbers, not of how they are kept here.
struct WholeNumber;

impl<'de> serde::de::Visitor<'de> for WholeNumber {
    type Value = Option<f64>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a whole number")
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_f64(self)
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Some(number))
    }

    #[expect(clippy::cast_precision_loss, reason = "what is beyond 2^53 does not fit either")]
    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Some(number as f64))
    }

    #[expect(clippy::cast_precision_loss, reason = "what is beyond 2^53 does not fit either")]
    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Some(number as f64))
    }
}

/// An authenticated request on its way to a permit.
pub(crate) struct Guarded {
    app: Arc<App>,
    caller: Caller,
    action: Action,
    place: PlaceOf,
    /// A place among the requests at work, kept until the work ends even when nobody waits for it any more.
    turn: Arc<Turn<Place>>,
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
    /// Where the thing that the request names belongs: a request for access, a grant, a session.
    Named,
}

impl PlaceOf {
    /// Where a principal is asked about before the request is read; `None` where that stands in the request.
    fn first(self, principal: &Principal) -> Option<Place> {
        match (self, principal.scope()) {
            (PlaceOf::Named, _) | (PlaceOf::NamedTenant, None) => None,
            (PlaceOf::Environment, _) | (PlaceOf::Own, None) => {
                Some(Place::Environment(principal.environment().clone()))
            }
            (PlaceOf::Own | PlaceOf::NamedTenant, Some(own)) => Some(Place::Scope(own.clone())),
        }
    }

    /// The word in the API's description.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Environment => "environment",
            Self::NamedTenant => "named-tenant",
            Self::Named => "named",
        }
    }
}

/// What came of acting at once.
pub(crate) enum AtOnce<T> {
    Answer(T),
    /// Whoever asked was admitted, and it counts in the log; the rest is for a thread that may wait.
    Admitted(Permit),
    /// Nothing was asked: act in the ordinary way.
    No,
}

/// A permit and what it is good for.
pub(crate) struct Admitted<'a> {
    pub(crate) control: &'a ControlPlane,
    pub(crate) app: &'a App,
    pub(crate) permit: Permit,
    /// The session of the person who acts, if it is one.
    pub(crate) session: Option<&'a str>,
    /// Names the evidence that they signed what they do.
    pub(crate) signature: Option<Hash>,
}

impl Admitted<'_> {
    /// Who acts, if it is a person.
    pub(crate) fn person(&self) -> Result<PersonRecord, Problem> {
        let person = self.permit.principal().person().ok_or_else(|| {
            Problem::new("access/people-only", "only a person who signed in can do this")
                .with_help("sign in with `creta login`; service accounts and the local administrator cannot")
        })?;
        self.app.people.require_person(person.id().as_str())
    }

    /// The account that acts and the human behind it, for rules that take two people. Administrators and programs stand for
    /// themselves.
    pub(crate) fn human(&self) -> Result<PersonRef, Problem> {
        if self.permit.principal().person().is_some() {
            return Ok(self.person()?.reference());
        }
        let account = self.permit.principal().id().clone();
        Ok(PersonRef { person: PersonId::new(account.clone()), account })
    }

    /// Who it is whose questions and rows are counted: a human by whichever account, or a program.
    pub(crate) fn counted(&self) -> String {
        counted(self.app, self.permit.principal())
    }

    /// The present instant.
    pub(crate) fn now(&self) -> Instant {
        self.control.platform().clock.now()
    }

    /// The scope of the permit.
    pub(crate) fn scope(&self) -> Result<&Scope, Problem> {
        self.permit.scope().ok_or_else(internal)
    }

    /// The engine of the permit's scope, for those who belong to the scope. Staff get no engine, whatever their permit is for:
    /// no handler can answer them with values by mistake.
    pub(crate) fn engine(&self) -> Result<Arc<ScopeEngine>, Problem> {
        let scope = self.scope()?;
        if self.permit.principal().scope() != Some(scope) {
            tracing::error!("a handler asked for an engine for somebody who is not of its scope");
            return Err(internal());
        }
        self.control.engine(scope)
    }

    /// The engine, for what definitions say of row rules and tags: no values come of such a permit, so staff may have it.
    pub(crate) fn engine_for_policy(&self) -> Result<Arc<ScopeEngine>, Problem> {
        let about_policy = [
            Action::RowsRead,
            Action::RowsPropose,
            Action::RowsApprove,
            Action::DeclassifyPropose,
            Action::DeclassifyApprove,
            Action::PolicyRead,
        ];
        if !about_policy.contains(&self.permit.action()) {
            return Err(internal());
        }
        self.control.engine(self.scope()?)
    }

    /// The engine, for statistics alone: what it tells by such a permit are redacted forms.
    pub(crate) fn engine_for_statistics(&self) -> Result<Arc<ScopeEngine>, Problem> {
        if self.permit.action() != Action::StatisticsRead {
            return Err(internal());
        }
        self.control.engine(self.scope()?)
    }
}

/// The name by which somebody is counted: of a person the human behind the account, as is known now, and apart from programs
/// and administrators of the same name.
pub(crate) fn counted(app: &App, principal: &Principal) -> String {
    let id = principal.id();
    match principal {
        Principal::Person(_) => format!("person:{}", app.people.human_now(&PersonId::new(id.clone()))),
        Principal::ServiceAccount { scope, .. } => format!("service-account:{id}@{}", scope.tenant),
        Principal::Administrator { .. } => format!("administrator:{id}"),
    }
}

/// What a request shows of who sends it.
pub(crate) struct Presented<'a> {
    pub(crate) headers: &'a HeaderMap,
    pub(crate) method: &'a str,
    /// The address as the client wrote it, without its query.
    pub(crate) url: &'a str,
    pub(crate) address: IpAddr,
}

impl Presented<'_> {
    /// A cookie, if there is exactly one of that name.
    pub(crate) fn cookie(&self, name: &str) -> Option<&str> {
        cookie_in(self.headers, name)
    }
}

impl Guarded {
    /// Asks whether the principal may use the route at all, before the body is read. A denial is recorded.
    pub(crate) fn ask_first(app: &App, principal: &Principal, action: Action, place: PlaceOf) -> Result<(), Problem> {
        let Some(place) = place.first(principal) else { return Ok(()) };
        let decision = app.control.decide(principal, action, &resource(&place, FeatureSet::none()));
        if decision.is_allowed() {
            return Ok(());
        }
        page_for(app, &decision);
        app.control.admit(decision, Details::none()).map(drop)
    }

    /// Whether it is remembered that the principal may use the route. `false` is no answer.
    pub(crate) fn is_known(app: &App, principal: &Principal, action: Action, place: PlaceOf) -> bool {
        place.first(principal).is_none_or(|place| {
            let resource = resource(&place, FeatureSet::none());
            app.control.decision_known(principal, action, &resource).is_some_and(|decision| decision.is_allowed())
        })
    }

    pub(crate) fn new(app: Arc<App>, caller: Caller, action: Action, place: PlaceOf, turn: Turn<Place>) -> Self {
        Self { app, caller, action, place, turn: Arc::new(turn) }
    }

    /// The same request's next question: a page shows what several routes of the API answer, each by its own permit.
    pub(crate) fn also(&self, action: Action, place: PlaceOf) -> Self {
        let (app, caller, turn) = (Arc::clone(&self.app), self.caller.clone(), Arc::clone(&self.turn));
        Self { app, caller, action, place, turn }
    }

    /// Asked again and again whether whoever asks still holds what they held when they did.
    pub(crate) fn still_holds(&self) -> impl Fn() -> bool + Send + Unpin + 'static + use<> {
        let (app, caller) = (Arc::clone(&self.app), self.caller.clone());
        move || caller.still_holds(&app)
    }

    /// What all requests share, for work that goes on after the answer began.
    pub(crate) fn shared_app(&self) -> Arc<App> {
        Arc::clone(&self.app)
    }

    /// This request's place among those at work, for work that goes on after the answer began.
    pub(crate) fn turn(&self) -> Arc<Turn<Place>> {
        Arc::clone(&self.turn)
    }

    /// What all requests share.
    pub(crate) fn app(&self) -> &App {
        &self.app
    }

    /// Who asks, as they are now.
    pub(crate) fn principal(&self) -> &Principal {
        &self.caller.principal
    }

    /// The session of the person who asks.
    pub(crate) fn session(&self) -> &str {
        self.caller.session.as_deref().unwrap_or_default()
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

    /// As [`act`](Self::act), where the thing that the request names belongs.
    pub(crate) async fn act_at<T: Send + 'static>(
        self,
        place: impl FnOnce(&App) -> Result<Place, Problem> + Send + 'static,
        details: Details,
        act: impl FnOnce(&Admitted<'_>) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        self.run(move |app, ask| {
            let place = place(app)?;
            act(&ask.admit(app, &place, FeatureSet::none(), details)?)
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

    /// As [`act_on_features`](Self::act_on_features), where what is asked about has to be looked up first: `prepare` names the
    /// features, says what the log keeps of the request, and hands on what it found.
    pub(crate) async fn act_on_prepared<X, T: Send + 'static>(
        self,
        prepare: impl FnOnce(&ScopeEngine) -> Result<(FeatureSet, Details, X), Problem> + Send + 'static,
        act: impl FnOnce(&Admitted<'_>, X) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let place = self.own_place();
        self.run(move |app, ask| {
            let Place::Scope(scope) = &place else { return Err(internal().into()) };
            match prepare(&*app.control.engine(scope)?) {
                Ok((features, details, found)) => act(&ask.admit(app, &place, features, details)?, found),
                Err(problem) => {
                    let details = Details::none().name("refused", problem.code.clone());
                    let details = details.map_err(|e| crate::problem::from_audit(&e))?;
                    ask.admit(app, &place, FeatureSet::none(), details)?;
                    Err(problem.into())
                }
            }
        })
        .await
    }

    /// As [`act_on_features`](Self::act_on_features), by two permits: one for what the route does, which is asked for first,
    /// and one for `also` on the features.
    pub(crate) async fn act_and_also<T: Send + 'static>(
        self,
        also: Action,
        details: Details,
        features: impl FnOnce(&ScopeEngine) -> Result<FeatureSet, Problem> + Send + 'static,
        act: impl FnOnce(&Admitted<'_>, &Permit) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let place = self.own_place();
        let own = Asking { caller: self.caller.clone(), action: self.action };
        let on_features = Self { action: also, ..self };
        on_features
            .run(move |app, ask| {
                let Place::Scope(scope) = &place else { return Err(internal().into()) };
                let features = features(&*app.control.engine(scope)?);
                let refused = features.as_ref().err().map(|problem| problem.code.clone());
                let of_own = match refused {
                    Some(code) => details.clone().name("refused", code).map_err(|e| crate::problem::from_audit(&e))?,
                    None => details.clone(),
                };
                let permitted = own.admit(app, &place, FeatureSet::none(), of_own)?;
                act(&ask.admit(app, &place, features?, details)?, &permitted.permit)
            })
            .await
    }

    /// As [`act_on_features`](Self::act_on_features), on this very thread, where nothing in it waits: for a program that was
    /// let in before, on features that were decided on before, by a permit for which nothing is written first. What `features`
    /// and `act` do has to be as quick; where `act` finds that it is not, it gives nothing, and the permit is there still.
    pub(crate) fn act_at_once<R, T>(
        &self,
        features: impl FnOnce(&ScopeEngine, &Principal) -> Option<(FeatureSet, R)>,
        act: impl FnOnce(&Admitted<'_>, &ScopeEngine, R) -> Result<Option<T>, Refusal>,
    ) -> Result<AtOnce<T>, Refusal> {
        let Caller { principal, features: narrowed, .. } = &self.caller;
        let (Principal::ServiceAccount { .. }, None) = (principal, narrowed) else { return Ok(AtOnce::No) };
        if self.caller.now(&self.app).is_none_or(|now| now.principal != *principal) {
            return Ok(AtOnce::No);
        }
        let place = self.own_place();
        let engine = place.scope().and_then(|scope| self.app.control.engine_at_hand(scope));
        let Some(engine) = engine else { return Ok(AtOnce::No) };
        let Some((features, ready)) = features(&engine, principal) else { return Ok(AtOnce::No) };
        let control = &self.app.control;
        let decision = control.decision_known(principal, self.action, &resource(&place, features));
        let permit = decision.and_then(|decision| control.admit_at_once(&decision, Details::none()));
        let Some(permit) = permit else { return Ok(AtOnce::No) };
        let admitted = Admitted { control, app: &self.app, permit, session: None, signature: None };
        Ok(match act(&admitted, &engine, ready)? {
            Some(answer) => AtOnce::Answer(answer),
            None => AtOnce::Admitted(admitted.permit),
        })
    }

    /// Acts by a permit that [`act_at_once`](Self::act_at_once) left, on a thread that may wait.
    pub(crate) async fn act_by<T: Send + 'static>(
        self,
        permit: Permit,
        act: impl FnOnce(&Admitted<'_>) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        self.run(move |app, _| act(&Admitted { control: &app.control, app, permit, session: None, signature: None }))
            .await
    }

    /// As [`act_on_features`](Self::act_on_features), where the request says. Whoever has nothing to ask there is refused before
    /// anything of that place is looked at.
    pub(crate) async fn act_on_features_at<T: Send + 'static>(
        self,
        place: impl FnOnce(&App) -> Result<Place, Problem> + Send + 'static,
        details: Details,
        features: impl FnOnce(&ScopeEngine) -> Result<FeatureSet, Problem> + Send + 'static,
        act: impl FnOnce(&Admitted<'_>) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        self.run(move |app, ask| {
            let place = place(app)?;
            let Place::Scope(scope) = &place else { return Err(internal().into()) };
            let resource = resource(&place, FeatureSet::none());
            if !app.control.decide(&ask.caller.principal, ask.action, &resource).is_allowed() {
                ask.admit(app, &place, FeatureSet::none(), details)?;
                return Err(internal().into()); // What is not allowed has no permit.
            }
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
        let principal = &self.caller.principal;
        match (self.place, principal.scope()) {
            (PlaceOf::Own, Some(own)) => Place::Scope(own.clone()),
            _ => Place::Environment(principal.environment().clone()),
        }
    }

    async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce(&App, &Asking) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let Self { app, caller, action, turn, .. } = self;
        let span = tracing::Span::current();
        let work = move || {
            let _turn = turn;
            // Only now is the whole request here: what follows is decided on whoever they are at this moment.
            span.in_scope(|| work(&app, &Asking { caller: caller.require_now(&app)?, action }))
        };
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|panic| {
            tracing::error!(%panic, "a request failed");
            Err(internal().into())
        })
    }
}

struct Asking {
    caller: Caller,
    action: Action,
}

impl Asking {
    fn admit<'a>(
        &'a self,
        app: &'a App,
        place: &Place,
        features: FeatureSet,
        details: Details,
    ) -> Result<Admitted<'a>, Problem> {
        self.require_within_token(app, place, &features)?;
        let decision = app.control.decide(&self.caller.principal, self.action, &resource(place, features.clone()));
        page_for(app, &decision);
        let permit = app.control.admit(decision, details)?;
        // Decisions that are answered at once were made here before.
        app.control.sightings().note_use(&self.caller.principal, self.action.as_str(), features.tags());
        let session = self.caller.session.as_deref();
        Ok(Admitted { control: &app.control, app, permit, session, signature: None })
    }
}

impl Asking {
    /// A token for some features is good for asking for these and for nothing else, whatever its account may do.
    fn require_within_token(&self, app: &App, place: &Place, features: &FeatureSet) -> Result<(), Problem> {
        let Some(good_for) = &self.caller.features else { return Ok(()) };
        let outside = features.names().filter(|name| !good_for.contains(*name)).count();
        let asks = matches!(self.action, Action::Query | Action::Train | Action::Plan);
        if asks && outside == 0 {
            return Ok(());
        }
        let details = Details::none()
            .name("refused", self.action.as_str())
            .and_then(|details| details.count("features", outside as u64))
            .map_err(|e| crate::problem::from_audit(&e))?;
        let event = Event::new("token.narrowed", place.clone()).by(&self.caller.principal);
        app.control
            .log()
            .record(event.with(details).for_commitment("CH-33"))
            .map_err(|e| crate::problem::from_audit(&e))?;
        let says = match asks {
            true => "this token is not good for all of these features",
            false => "this token is good for asking for its features and for nothing else",
        };
        Err(Problem::new("access/token-features", says)
            .with_help("ask for a token that names them, or for one that names none"))
    }
}

/// A program that tries what its one purpose forbids is broken or stolen: somebody is woken (CH-35).
fn page_for(app: &App, decision: &Decision) {
    if decision.is_allowed() || decision.commitment() != Some("CH-35") {
        return;
    }
    let who = decision.principal().to_string();
    let reference = format!("duties-{}", hex::encode(&creta_proof::Hash::of(&[who.as_bytes()]).as_bytes()[..8]));
    let now = app.control.platform().clock.now();
    if let Err(error) = app.trust.pager.ask(&reference, now, Urgency::Urgent) {
        tracing::error!(%error, "that somebody has to be paged could not be noted");
    }
}

pub(crate) fn resource(place: &Place, features: FeatureSet) -> Resource {
    match place {
        Place::Environment(environment) => Resource::environment(environment.clone()),
        Place::Scope(scope) => Resource::features(scope.clone(), features),
    }
}
