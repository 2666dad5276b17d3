//! [`Problem`] on the wire: one status for each code, one body for every error, axum's own included.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use creta_audit::AuditError;
use creta_identity::scim::ScimError;
use creta_keys::KeyError;
use creta_model::Problem;
use creta_store::StoreError;

/// Content type of every error (RFC 9457 names it; the members are those of [`Problem`]).
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// Content type of every body of provisioning (RFC 7644 section 3.1), errors included.
pub(crate) const SCIM_JSON: &str = "application/scim+json";

/// Codes whose status does not follow from their family.
const EXACT: &[(&str, StatusCode)] = &[
    ("request/method", StatusCode::METHOD_NOT_ALLOWED),
    ("request/content-type", StatusCode::UNSUPPORTED_MEDIA_TYPE),
    ("request/malformed", StatusCode::BAD_REQUEST),
    ("request/query-string", StatusCode::BAD_REQUEST),
    ("request/two-credentials", StatusCode::BAD_REQUEST),
    ("request/basic", StatusCode::BAD_REQUEST),
    ("request/idempotency-key", StatusCode::BAD_REQUEST),
    ("request/cut-short", StatusCode::BAD_REQUEST),
    ("request/slow-body", StatusCode::REQUEST_TIMEOUT),
    ("request/host", StatusCode::MISDIRECTED_REQUEST),
    ("auth/too-many-failures", StatusCode::TOO_MANY_REQUESTS),
    ("busy/reports", StatusCode::TOO_MANY_REQUESTS),
    ("dataset/class", StatusCode::FORBIDDEN),
    ("dataset/too-many", StatusCode::CONFLICT),
    ("dataset/no-room", StatusCode::INSUFFICIENT_STORAGE),
    ("audit/unavailable", StatusCode::SERVICE_UNAVAILABLE),
    ("audit/behind-witness", StatusCode::SERVICE_UNAVAILABLE),
    ("store/full", StatusCode::INSUFFICIENT_STORAGE),
    ("store/not-ready", StatusCode::SERVICE_UNAVAILABLE),
];

/// The status of each family of codes.
const FAMILIES: &[(&str, StatusCode)] = &[
    ("auth", StatusCode::UNAUTHORIZED),
    ("access", StatusCode::FORBIDDEN),
    ("not-found", StatusCode::NOT_FOUND),
    ("conflict", StatusCode::CONFLICT),
    ("too-large", StatusCode::PAYLOAD_TOO_LARGE),
    ("busy", StatusCode::SERVICE_UNAVAILABLE),
    ("internal", StatusCode::INTERNAL_SERVER_ERROR),
    ("store", StatusCode::INTERNAL_SERVER_ERROR),
    ("keys", StatusCode::INTERNAL_SERVER_ERROR),
    ("audit", StatusCode::INTERNAL_SERVER_ERROR),
    ("files", StatusCode::INTERNAL_SERVER_ERROR),
];

/// The HTTP status of a problem. What is left over is a request that was understood and makes no sense: 422.
pub(crate) fn status_of(problem: &Problem) -> StatusCode {
    let exact = EXACT.iter().find(|(code, _)| *code == problem.code);
    let family = problem.code.split('/').next().unwrap_or_default();
    let unknown_name = problem.code.ends_with("/not-found")
        || problem.code.split('/').nth(1).is_some_and(|rest| rest.starts_with("unknown-"));
    match exact.or_else(|| FAMILIES.iter().find(|(name, _)| *name == family)) {
        Some((_, status)) => *status,
        None if unknown_name => StatusCode::NOT_FOUND,
        None => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

/// What a handler that fails answers with.
pub(crate) struct Refusal(pub(crate) Vec<Problem>);

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl From<Vec<Problem>> for Refusal {
    fn from(problems: Vec<Problem>) -> Self {
        Self(problems)
    }
}

impl IntoResponse for Refusal {
    /// One problem is the body itself. Several, as when a bundle has many mistakes, come as the first one with all of them
    /// under `problems`.
    fn into_response(self) -> Response {
        let Self(problems) = self;
        let first = problems.first().cloned().unwrap_or_else(internal);
        let status = status_of(&first);
        let mut body = serde_json::to_value(&first).expect("a problem has a JSON form");
        body["status"] = status.as_u16().into();
        if problems.len() > 1 {
            body["problems"] = serde_json::to_value(&problems).expect("problems have a JSON form");
        }
        respond(status, PROBLEM_JSON, body.to_string())
    }
}

impl Refusal {
    /// As a directory reads it (RFC 7644 section 3.12). The problem's code begins the text.
    pub(crate) fn into_scim(self) -> Response {
        let first = self.0.into_iter().next().unwrap_or_else(internal);
        let status = status_of(&first);
        scim_error(&ScimError {
            status: status.as_u16(),
            keyword: None,
            detail: format!("{}: {}", first.code, first.message),
        })
    }
}

/// A refusal by the rules of SCIM.
pub(crate) fn scim_error(error: &ScimError) -> Response {
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    respond(status, SCIM_JSON, error.body().to_string())
}

fn respond(status: StatusCode, content_type: &'static str, body: String) -> Response {
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"creta\""));
    }
    if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// Something of ours broke. What it was stands in the server's log under the request's id, not in the answer.
pub(crate) fn internal() -> Problem {
    Problem::new("internal/unexpected", "the server failed to answer this request")
        .with_help("try again; if it stays, give the `x-request-id` of this answer to whoever runs the server")
}

/// A store that refused or failed. What went wrong inside stands in the log only.
pub(crate) fn from_store(error: &StoreError) -> Problem {
    match error {
        StoreError::Full { .. } => Problem::new("store/full", error.to_string()),
        StoreError::Conflict { .. } => Problem::new("conflict/changed", "somebody else changed this at the same time")
            .with_help("read it again and repeat the change"),
        StoreError::Tampered { .. } | StoreError::Foreign { .. } => {
            tracing::error!(%error, "a store is refused");
            Problem::new("store/refused", error.to_string())
        }
        other => logged("a store failed", other),
    }
}

/// A key that is missing, destroyed or does not fit.
pub(crate) fn from_keys(error: &KeyError) -> Problem {
    match error {
        KeyError::Destroyed { .. } => Problem::new("conflict/destroyed", error.to_string())
            .with_help("the name of a destroyed tenant cannot be used again; choose another one"),
        other => logged("a key could not be used", other),
    }
}

/// A decision that was not admitted, or a log that could not be read or written.
pub(crate) fn from_audit(error: &AuditError) -> Problem {
    match error {
        AuditError::Denied { .. } => Problem::new("access/denied", error.to_string()),
        AuditError::OutOfRange { .. } => Problem::new("not-found/entry", error.to_string()),
        AuditError::Detail { .. } | AuditError::EntryTooLong { .. } | AuditError::NotCovered { .. } => {
            logged("an action could not be recorded", error)
        }
        AuditError::Write { .. } | AuditError::ReadsPending { .. } => {
            tracing::error!(error = %causes(error), "the audit log cannot be written");
            Problem::new("audit/unavailable", error.to_string())
        }
        // Why it was halted stands in the server's log, once.
        AuditError::Halted { .. } => Problem::new("audit/behind-witness", error.to_string())
            .with_help("whoever runs the server has to put the newest copy back, or to declare a fork"),
        broken => {
            tracing::error!(error = %causes(broken), "the audit log does not verify");
            Problem::new("audit/broken", broken.to_string())
        }
    }
}

/// Logs an error of ours with its causes, none of which hold values, and hides it from the answer.
pub(crate) fn logged(what: &str, error: &dyn std::error::Error) -> Problem {
    tracing::error!(error = %causes(error), "{what}");
    internal()
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// What serde says about JSON, without the values it quotes.
pub(crate) fn json_problem(code: &str, what: &str, error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    let text = text.split_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    Problem::new(code, format!("{what} is not valid: {}", without_values(text)))
        .with_note("place", format!("line {} column {}", error.line(), error.column()), None)
        .with_help("the form of every body stands in `/openapi.json`")
}

/// Cuts the value out of `invalid type: string "secret", expected u32`. Names of fields stay.
pub(crate) fn without_values(text: &str) -> String {
    for kind in ["invalid type: ", "invalid value: "] {
        if let Some(rest) = text.strip_prefix(kind) {
            let given: String = rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == ' ').collect();
            let expected = rest.rfind(", expected ").map_or("", |at| &rest[at..]);
            return format!("{kind}{}{expected}", given.trim_end());
        }
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_family_has_its_status() {
        for (code, status) in [
            ("auth/no-token", 401),
            ("access/denied", 403),
            ("not-found/feature", 404),
            ("plan/unknown-feature", 404),
            ("request/method", 405),
            ("conflict/tenant", 409),
            ("too-large/body", 413),
            ("request/content-type", 415),
            ("request/malformed", 400),
            ("ingest/bad-arrow", 422),
            ("plan/no-resolver", 422),
            ("auth/too-many-failures", 429),
            ("internal/unexpected", 500),
            ("store/corrupt", 500),
            ("store/full", 507),
            ("store/not-ready", 503),
            ("busy/requests", 503),
        ] {
            assert_eq!(status_of(&Problem::new(code, "x")).as_u16(), status, "{code}");
        }
    }

    #[test]
    fn attack_values_in_a_bad_body_are_not_repeated() {
        #[derive(serde::Deserialize, Debug)]
        #[serde(deny_unknown_fields)]
        struct Body {
            #[allow(dead_code, reason = "only read by serde")]
            n: u32,
        }
        for (body, says) in [
            (r#"{"n":"hunter2, expected nothing"}"#, "invalid type: string, expected u32"),
            (r#"{"n":-4711}"#, "invalid value: integer, expected u32"),
            (r#"{"n":1,"m":2}"#, "unknown field `m`"),
            (r"{}", "missing field `n`"),
            (r#"{"n":"#, "EOF while parsing"),
        ] {
            let error = serde_json::from_str::<Body>(body).expect_err(body);
            let problem = json_problem("request/malformed", "the body", &error).to_string();
            assert!(problem.contains(says), "{problem}");
            assert!(!problem.contains("hunter2") && !problem.contains("4711"), "{problem}");
        }
    }
}
