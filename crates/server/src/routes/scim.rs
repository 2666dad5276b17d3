//! Provisioning by the organisation's directory (SCIM 2.0: RFC 7644). What requests mean stands in `creta_identity::scim`.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use creta_audit::Details;
use creta_identity::scim::{
    Answer, Directory, Kind, Query, ScimError, resource_types, schemas, service_provider_config,
};
use creta_model::{Instant, Problem};
use creta_platform::Random as _;
use serde_json::{Value, json};

use crate::context::{Admitted, Guarded, Input};
use crate::people::provisioning::Refused;
use crate::problem::{Refusal, SCIM_JSON, from_audit, internal, scim_error};

/// Which resources a route is about.
pub(super) trait Resource: 'static {
    const KIND: Kind;
}

pub(super) struct Users;
pub(super) struct Groups;

impl Resource for Users {
    const KIND: Kind = Kind::User;
}

impl Resource for Groups {
    const KIND: Kind = Kind::Group;
}

/// What this server can do.
pub(super) async fn config(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    describe(guarded, input, |base, _| Some(service_provider_config(base))).await
}

/// The schemas of users and groups.
pub(super) async fn all_schemas(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    describe(guarded, input, |base, _| Some(listed(schemas(base)))).await
}

/// One of them.
pub(super) async fn schema(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    describe(guarded, input, |base, id| one(schemas(base), id)).await
}

/// What kinds of resources there are.
pub(super) async fn all_resource_types(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    describe(guarded, input, |base, _| Some(listed(resource_types(base)))).await
}

/// One of them.
pub(super) async fn resource_type(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    describe(guarded, input, |base, id| one(resource_types(base), id)).await
}

/// Those that the query asks for.
pub(super) async fn list<R: Resource>(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let query: Query = input.query()?;
    read(guarded, input, Some(R::KIND), move |directory, _, base| directory.list(&[R::KIND], &query, base)).await
}

/// The same, asked for in a body, since an address may stand in logs.
pub(super) async fn search<R: Resource>(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    search_in(guarded, input, &[R::KIND]).await
}

/// As that, among users and groups.
pub(super) async fn search_all(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    search_in(guarded, input, &[Kind::User, Kind::Group]).await
}

async fn search_in(guarded: Guarded, input: Input, kinds: &'static [Kind]) -> Result<Response, Refusal> {
    require_scim(&input)?;
    read(guarded, input, None, move |directory, input, base| {
        directory.list(kinds, &Query::from_message(&input.body)?, base)
    })
    .await
}

/// One.
pub(super) async fn get<R: Resource>(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let query: Query = input.query()?;
    read(guarded, input, Some(R::KIND), move |directory, input, base| {
        directory.get(R::KIND, input.path("id"), header_of(input, "if-none-match"), &query, base)
    })
    .await
}

/// Makes one.
pub(super) async fn create<R: Resource>(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let mut random = [0; 16];
    creta_platform::SystemRandom.fill(&mut random);
    write(guarded, input, R::KIND, move |directory, input, base, now| {
        directory.create(R::KIND, &input.body, random, base, now)
    })
    .await
}

/// Puts another in its place.
pub(super) async fn replace<R: Resource>(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    write(guarded, input, R::KIND, |directory, input, base, now| {
        let id = input.path("id");
        directory.replace(R::KIND, id, header_of(input, "if-match"), &input.body, base, now)
    })
    .await
}

/// Changes parts of one.
pub(super) async fn patch<R: Resource>(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    write(guarded, input, R::KIND, |directory, input, base, now| {
        let id = input.path("id");
        directory.patch(R::KIND, id, header_of(input, "if-match"), &input.body, base, now)
    })
    .await
}

/// Removes one.
pub(super) async fn delete<R: Resource>(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    write(guarded, input, R::KIND, |directory, input, _, now| {
        directory.delete(R::KIND, input.path("id"), header_of(input, "if-match"), now)
    })
    .await
}

async fn describe(
    guarded: Guarded,
    input: Input,
    describe: fn(&str, &str) -> Option<Value>,
) -> Result<Response, Refusal> {
    let described =
        guarded.act(Details::none(), move |admitted| Ok(describe(&base(admitted, &input)?, input.path("id")))).await?;
    match described {
        Some(body) => respond(StatusCode::OK, Some(&body)),
        None => Err(Problem::new("not-found/scim", "there is no such resource").into()),
    }
}

async fn read(
    guarded: Guarded,
    input: Input,
    kind: Option<Kind>,
    ask: impl FnOnce(&Directory, &Input, &str) -> Result<Answer, ScimError> + Send + 'static,
) -> Result<Response, Refusal> {
    let details = details(kind, &input)?;
    let answered = guarded
        .act(details, move |admitted| {
            let base = base(admitted, &input)?;
            Ok(admitted.app.people.directory(|directory| ask(directory, &input, &base))?)
        })
        .await?;
    answer(answered)
}

async fn write(
    guarded: Guarded,
    input: Input,
    kind: Kind,
    change: impl FnOnce(&mut Directory, &Input, &str, Instant) -> Result<Answer, ScimError> + Send + 'static,
) -> Result<Response, Refusal> {
    if input.method != "DELETE" {
        require_scim(&input)?;
    }
    let details = details(Some(kind), &input)?;
    let answered = guarded
        .act(details, move |admitted| {
            let (base, now) = (base(admitted, &input)?, admitted.now());
            let about = Some(input.path("id")).filter(|id| !id.is_empty());
            let change = |directory: &mut Directory| change(directory, &input, &base, now);
            match admitted.app.people.provision(admitted.control, about, change, now) {
                Ok(answer) => Ok(Ok(answer)),
                Err(Refused::Scim(error)) => Ok(Err(error)),
                Err(Refused::Failed(problem)) => Err(problem.into()),
            }
        })
        .await?;
    answer(answered)
}

fn require_scim(input: &Input) -> Result<(), Problem> {
    let plain = || input.require_content_type("application/json");
    input.require_content_type(SCIM_JSON).or_else(|problem| plain().map_err(|_| problem))
}

/// Our address for directories, without a slash at its end.
fn base(admitted: &Admitted<'_>, input: &Input) -> Result<String, Problem> {
    Ok(format!("{}/scim/v2", admitted.app.people.public_url(&input.url)?))
}

fn details(kind: Option<Kind>, input: &Input) -> Result<Details, Problem> {
    let kind = kind.map_or("any", |kind| kind.endpoint());
    let details = Details::none().name("kind", kind.to_ascii_lowercase());
    let details = match input.path("id") {
        "" => details,
        id => details.and_then(|details| details.keyed("resource", id.as_bytes())),
    };
    details.map_err(|e| from_audit(&e))
}

fn header_of<'a>(input: &'a Input, name: &str) -> Option<&'a str> {
    input.headers.get(name).and_then(|value| value.to_str().ok())
}

fn listed(resources: Vec<Value>) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
        "totalResults": resources.len(), "startIndex": 1, "itemsPerPage": resources.len(), "Resources": resources,
    })
}

fn one(resources: Vec<Value>, id: &str) -> Option<Value> {
    resources.into_iter().find(|resource| resource["id"].as_str().is_some_and(|own| own.eq_ignore_ascii_case(id)))
}

fn answer(answered: Result<Answer, ScimError>) -> Result<Response, Refusal> {
    let answer = match answered {
        Ok(answer) => answer,
        Err(error) => return Ok(scim_error(&error)),
    };
    let status = StatusCode::from_u16(answer.status).map_err(|_| internal())?;
    let mut response = respond(status, answer.body.as_ref())?;
    for (name, value) in [(header::ETAG, &answer.etag), (header::LOCATION, &answer.location)] {
        if let Some(value) = value {
            response.headers_mut().insert(name, HeaderValue::from_str(value).map_err(|_| internal())?);
        }
    }
    Ok(response)
}

fn respond(status: StatusCode, body: Option<&Value>) -> Result<Response, Refusal> {
    let Some(body) = body else { return Ok(status.into_response()) };
    Ok((status, super::typed(SCIM_JSON, body.to_string())).into_response())
}
