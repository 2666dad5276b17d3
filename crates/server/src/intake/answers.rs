//! What whoever reports gets to see: a page for somebody with a browser, JSON for a program.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use creta_compliance::Organisation;
use creta_compliance::page::{HEADERS, PageFile, report_form, report_received};
use creta_model::Instant;
use serde_json::json;

use super::report::{NewReport, Promised};
use crate::context::Input;
use crate::problem::Refusal;

const FORM: &str = "application/x-www-form-urlencoded";

/// A report on its way in, and whether it came from a form.
pub(crate) struct Received {
    pub(crate) new: NewReport,
    pub(crate) as_form: bool,
}

impl Received {
    /// Reads the body of a request.
    pub(crate) fn read(input: &Input) -> Result<Self, Refusal> {
        let as_form = input.require_content_type(FORM).is_ok();
        let new = if as_form { input.form()? } else { input.json()? };
        Ok(Self { new, as_form })
    }
}

/// A page with the headers that pages are made for.
pub(crate) fn page(status: StatusCode, file: PageFile) -> Response {
    let mut response = (status, file.bytes).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(file.content_type));
    public(response)
}

/// With the headers that the pages are made for.
pub(crate) fn public(mut response: Response) -> Response {
    for (name, value) in HEADERS {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

/// The acknowledgement that a report came in. `link` is where its progress can be seen.
pub(crate) fn receipt(
    organisation: &Organisation,
    as_form: bool,
    reference: &str,
    received_at: Instant,
    link: &str,
) -> Response {
    if as_form {
        return page(StatusCode::CREATED, report_received(organisation, &Promised::terms(), reference, link));
    }
    let body = json!({"reference": reference, "received_at": received_at, "status": link}).to_string();
    let json = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (StatusCode::CREATED, json, body).into_response()
}

/// A refusal. Somebody with a browser gets the form again, with what they wrote in it.
pub(crate) fn refused(organisation: &Organisation, received: &Received, refusal: Refusal) -> Response {
    if !received.as_form {
        return refusal.into_response();
    }
    let says = refusal.0.first().map_or_else(String::new, |problem| problem.message.clone());
    let form = report_form(organisation, &Promised::terms(), &received.new.draft(), Some(&says));
    page(refusal.into_response().status(), form)
}
