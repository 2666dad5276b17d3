//! The trust page for everybody; checks, inventory and reports for administrators.

use std::sync::Arc;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use creta_audit::Details;
use creta_compliance::CommitmentId;
use creta_compliance::page::{PageFile, ReportProgress, report_status};
use creta_model::{Instant, Problem};
use creta_programme::exception::{ExceptionTerms, ExceptionVerdict};
use serde::Deserialize;
use serde_json::json;

use crate::context::{Admitted, Guarded, Input};
use crate::http::App;
use crate::intake::{Received, public, receipt, refused};
use crate::people::authenticators::{About, Agreed};
use crate::problem::{Refusal, from_audit};
use crate::routes::agreed::sign_first;
use crate::routes::{blocking, json as answer, typed};
use crate::trust::artefacts::NewArtefact;
use crate::trust::contact;
use crate::trust::exceptions::{Decision, ListedException, NewException};
use crate::trust::intake::{self, ACKNOWLEDGED_WITHIN, DECIDED_WITHIN, Report, Step, Verdict};
use crate::trust::outputs::PackRequest;

/// Published pages may be kept for so long by whoever stands between.
const CACHE: HeaderValue = HeaderValue::from_static("public, max-age=5");

/// The page's address without its last slash.
pub(super) async fn index(_app: Arc<App>, _input: Input) -> Result<Response, Refusal> {
    Ok(redirect("/trust/"))
}

/// The page itself.
pub(super) async fn page(app: Arc<App>, _input: Input) -> Result<Response, Refusal> {
    file(app, "trust/index.html".to_owned()).await
}

/// Any other file of the site.
pub(super) async fn part(app: Arc<App>, input: Input) -> Result<Response, Refusal> {
    let path = input.path("path").to_owned();
    if let Some(reference) = path.strip_prefix("report/").filter(|rest| !rest.is_empty()) {
        return status(app, reference.trim_end_matches('/').to_owned()).await;
    }
    if path.ends_with('/') {
        return file(app, format!("trust/{path}index.html")).await;
    }
    file(app, format!("trust/{path}")).await
}

async fn file(app: Arc<App>, path: String) -> Result<Response, Refusal> {
    // Links on the pages lead on from folders, so a folder without its last slash leads to itself with one.
    let folder = format!("{}/", path.rsplit('/').next().unwrap_or_default());
    let found = blocking(app, move |app| {
        let files = app.trust.site(&app.control)?;
        match files.get(&path) {
            Some(file) => Ok(Some(file.clone())),
            None if files.contains_key(&format!("{path}/index.html")) => Ok(None),
            None => Err(Problem::new("not-found/page", "the trust page has no such part")
                .with_help("`/trust/` shows what there is")),
        }
    });
    match found.await? {
        Some(PageFile { content_type, bytes }) => {
            let mut response = public(typed(content_type, bytes));
            response.headers_mut().insert(header::CACHE_CONTROL, CACHE);
            Ok(response)
        }
        None => Ok(redirect(&folder)),
    }
}

fn redirect(to: &str) -> Response {
    let text = typed("text/plain; charset=utf-8", format!("look at {to}\n"));
    (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, to.to_owned())], text).into_response()
}

/// The contact for security issues (RFC 9116).
pub(super) async fn security_txt(app: Arc<App>, _input: Input) -> Result<Response, Refusal> {
    let text = blocking(app, |app| app.trust.security_txt(&app.control)).await?;
    let text = text.ok_or_else(|| {
        Problem::new("not-found/security-contact", "no contact for security issues was configured")
            .with_help("reports can be sent with the form at `/trust/report/`")
    })?;
    Ok(typed("text/plain; charset=utf-8", text))
}

/// The key by which the contact's signature is recognised.
pub(super) async fn security_key(app: Arc<App>, _input: Input) -> Result<Response, Refusal> {
    let signed = blocking(app, |app| contact::signed(&app.control)).await?;
    let signed = signed.ok_or_else(|| Problem::new("not-found/security-key", "the security contact is not signed"))?;
    Ok(typed("application/pgp-keys", signed.key))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ContactQuery {
    origin: String,
}

/// What is to be signed for a server at an address.
pub(super) async fn contact_to_sign(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let ContactQuery { origin } = input.query()?;
    let text = guarded
        .act(Details::none(), move |admitted| Ok(admitted.app.trust.contact_to_sign(admitted.control, &origin)?))
        .await?;
    answer(&json!({ "text": text }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignedContact {
    text: String,
    key: String,
}

/// Publishes the contact as somebody signed it.
pub(super) async fn publish_contact(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let SignedContact { text, key } = input.json()?;
    let signed = guarded
        .act(Details::none(), move |admitted| {
            Ok(admitted.app.trust.publish_contact(admitted.control, text, key, &admitted.permit)?)
        })
        .await?;
    answer(&json!({ "text": signed.text, "expires": signed.expires }))
}

/// Takes a report of a security issue, as a form or as JSON.
pub(super) async fn report(app: Arc<App>, input: Input) -> Result<Response, Refusal> {
    let received = Received::read(&input)?;
    let (address, new) = (input.address, received.new.clone());
    let organisation = app.trust.organisation().clone();
    match blocking(app, move |app| intake::receive(&app.control, &app.trust, address, new)).await {
        Ok(report) => {
            let link = format!("/trust/report/{}", report.reference);
            Ok(receipt(&organisation, received.as_form, &report.reference, report.received_at, &link))
        }
        Err(refusal) => Ok(refused(&organisation, &received, refusal)),
    }
}

/// How a report stands, for whoever knows its reference.
async fn status(app: Arc<App>, reference: String) -> Result<Response, Refusal> {
    let page = blocking(app, move |app| {
        let report = intake::find(&app.control, &reference)?;
        Ok(report_status(app.trust.organisation(), &progress(&report)))
    })
    .await?;
    Ok(public(typed(page.content_type, page.bytes)))
}

fn progress(report: &Report) -> ReportProgress {
    ReportProgress {
        reference: report.reference.clone(),
        received_at: report.received_at,
        acknowledge_by: report.received_at.plus(ACKNOWLEDGED_WITHIN),
        acknowledged_at: report.acknowledged_at,
        decide_by: report.received_at.plus(DECIDED_WITHIN),
        decision: report
            .decided
            .as_ref()
            .map(|decided| (decided.at, decided.verdict.as_str().to_owned(), decided.reason.clone())),
    }
}

// For administrators.

/// The report of this moment: every commitment, its state, and why.
pub(super) async fn state(guarded: Guarded, _input: Input) -> Result<Response, Refusal> {
    answer(&guarded.act(Details::none(), |admitted| Ok(admitted.app.trust.report(admitted.control)?)).await?)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RunRequest {
    /// Ids of checks; by default all.
    #[serde(default)]
    checks: Option<Vec<String>>,
}

/// Runs checks now.
pub(super) async fn run(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let RunRequest { checks } = input.json()?;
    let ran = guarded
        .act(Details::none(), move |admitted| Ok(admitted.app.trust.run(admitted.app, checks.as_deref())?))
        .await?;
    answer(&json!({ "ran": ran }))
}

/// What was declared, what runs, and how they differ.
pub(super) async fn inventory(guarded: Guarded, _input: Input) -> Result<Response, Refusal> {
    let found = guarded
        .act(Details::none(), |admitted| {
            let trust = &admitted.app.trust;
            let observed = trust.observed(admitted.control)?;
            let declared = trust.declared();
            let drift = declared.as_ref().ok().map(|declared| declared.drift(&observed));
            Ok(json!({
                "observed": observed, "declared": declared.as_ref().ok(), "drift": drift,
                "undeclared_because": declared.as_ref().err(),
            }))
        })
        .await?;
    answer(&found)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeclareRequest {
    /// Who answers for what nobody answers for yet.
    #[serde(default)]
    owner: Option<String>,
    /// Where it is.
    #[serde(default)]
    region: Option<String>,
}

/// Declares what runs, keeping every answer that people gave.
pub(super) async fn declare(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let DeclareRequest { owner, region } = input.json()?;
    for (name, text) in [("owner", &owner), ("region", &region)] {
        if text.as_ref().is_some_and(|text| text.trim().is_empty() || text.len() > 100) {
            return Err(Problem::new("request/declaration", format!("`{name}` has 1 to 100 characters")).into());
        }
    }
    let declared = guarded
        .act(Details::none(), move |admitted| {
            let (owner, region) = (owner.as_deref(), region.as_deref());
            Ok(admitted.app.trust.declare(admitted.control, owner, region, &admitted.permit)?)
        })
        .await?;
    answer(&declared)
}

/// All reports of security issues.
pub(super) async fn reports(guarded: Guarded, _input: Input) -> Result<Response, Refusal> {
    let reports = guarded.act(Details::none(), |admitted| Ok(intake::all(admitted.control)?)).await?;
    let now = |(report, again): &(Report, usize)| json!({"report": report, "status": report.status(), "again": again});
    let now = reports.iter().map(now).collect::<Vec<_>>();
    answer(&json!({ "reports": now }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepRequest {
    /// Absent: only acknowledge it.
    #[serde(default)]
    verdict: Option<Verdict>,
    #[serde(default)]
    reason: String,
}

/// Acknowledges a report, or decides on it.
pub(super) async fn decide(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let StepRequest { verdict, reason } = input.json()?;
    if verdict == Some(Verdict::Probe) {
        return Err(Problem::new("request/verdict", "`probe` is for reports that checks send").into());
    }
    let reference = input.path("id").to_owned();
    let details = Details::none().keyed("report", reference.as_bytes()).map_err(|e| from_audit(&e))?;
    let step = verdict.map_or(Step::Acknowledge, |verdict| Step::Decide(verdict, reason));
    let report = guarded
        .act(details, move |admitted| Ok(intake::step(admitted.control, &reference, step, &admitted.permit)?))
        .await?;
    answer(&report)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PackQuery {
    /// Ids of commitments, separated by commas.
    controls: String,
    from: Instant,
    until: Instant,
    seed: String,
    #[serde(default = "sample_default")]
    sample: u64,
}

fn sample_default() -> u64 {
    25
}

/// An evidence pack: everything that shows how some commitments were kept over a period.
pub(super) async fn pack(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let PackQuery { controls, from, until, seed, sample } = input.query()?;
    let controls = controls
        .split(',')
        .map(|id| CommitmentId::parse(id.trim()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Problem::new("request/controls", error.to_string()))?;
    let request = PackRequest { controls, from, until, seed, sample };
    let bytes =
        guarded.act(Details::none(), move |admitted| Ok(admitted.app.trust.pack(admitted.control, &request)?)).await?;
    Ok(typed("application/zip", bytes))
}

/// The commitments and the report of this moment as OSCAL documents, with the files that they refer to.
pub(super) async fn oscal(guarded: Guarded, _input: Input) -> Result<Response, Refusal> {
    answer(&guarded.act(Details::none(), |admitted| Ok(admitted.app.trust.oscal(admitted.control)?)).await?)
}

/// Records what somebody outside issued.
pub(super) async fn record_artefact(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let new: NewArtefact = input.json()?;
    let recorded = guarded
        .act(Details::none(), move |admitted| {
            Ok(admitted.app.trust.record_artefact(admitted.control, new, &admitted.permit)?)
        })
        .await?;
    Ok((StatusCode::CREATED, answer(&recorded)?).into_response())
}

/// All that others issued.
pub(super) async fn artefacts(guarded: Guarded, _input: Input) -> Result<Response, Refusal> {
    let all = guarded.act(Details::none(), |admitted| Ok(admitted.app.trust.artefacts(admitted.control)?)).await?;
    answer(&json!({ "artefacts": all }))
}

/// One of them.
pub(super) async fn artefact(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let id = input.path("id").to_owned();
    answer(&guarded.act(Details::none(), move |ok| Ok(ok.app.trust.artefact(ok.control, &id)?)).await?)
}

/// Its file, when it is what the log names.
pub(super) async fn artefact_file(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let id = input.path("id").to_owned();
    let bytes = guarded.act(Details::none(), move |ok| Ok(ok.app.trust.artefact_file(ok.control, &id)?)).await?;
    Ok(typed("application/octet-stream", bytes))
}

/// Proposes an exception.
pub(super) async fn propose_exception(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let new: NewException = input.json()?;
    let proposed = guarded
        .act(Details::none(), move |admitted| {
            Ok(admitted.app.trust.propose_exception(admitted.control, &new, &admitted.human()?, &admitted.permit)?)
        })
        .await?;
    Ok((StatusCode::CREATED, answer(&proposed)?).into_response())
}

/// All exceptions, with the digests that a decision has to name.
pub(super) async fn exceptions(guarded: Guarded, _input: Input) -> Result<Response, Refusal> {
    let all = guarded.act(Details::none(), |admitted| Ok(admitted.app.trust.exceptions(admitted.control)?)).await?;
    answer(&json!({ "exceptions": all }))
}

/// Approves or refuses an exception that somebody else proposed. Whoever has an authenticator signs it first: the answer then says
/// where.
pub(super) async fn decide_exception(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let (decision, id, url): (Decision, _, _) = (input.json()?, input.path("id").to_owned(), input.url.clone());
    let decided = guarded
        .act(Details::none(), move |admitted| {
            let of = |listed: &ListedException| serde_json::to_value(listed).expect("an exception has a JSON form");
            if admitted.permit.principal().person().is_some() {
                let (listed, terms) = admitted.app.trust.exception_seen(admitted.control, &id, &decision.terms)?;
                let agreed = Agreed::Exception { id: id.clone(), decision: decision.clone() };
                if let Some(verify) = sign_first(admitted, &url, agreed, about_exception(&terms, &decision))? {
                    let mut view = of(&listed);
                    view["verify"] = verify.into();
                    return Ok(view);
                }
            }
            Ok(of(&decide_exception_now(admitted, &id, &decision)?))
        })
        .await?;
    answer(&decided)
}

/// What somebody's authenticator signs: the terms, and how they decide.
fn about_exception(terms: &ExceptionTerms, decision: &Decision) -> About {
    let (action, word) = match decision.verdict {
        ExceptionVerdict::Approved => ("exception.approve", "Approve"),
        ExceptionVerdict::Refused => ("exception.refuse", "Refuse"),
    };
    let text = vec![
        format!(
            "{word} that {} does not hold until {}, as {} proposes. It stands on the public page.",
            terms.commitment, terms.expires, terms.proposed_by.account
        ),
        format!("Their reason: {}", terms.reason),
    ];
    About { action, signed: decision.terms.to_string().into_bytes(), text, document: None }
}

/// Decides, by the rules of this moment.
pub(super) fn decide_exception_now(
    admitted: &Admitted<'_>,
    id: &str,
    decision: &Decision,
) -> Result<ListedException, Refusal> {
    let by = admitted.human()?;
    let is_other = |proposer: &creta_programme::PersonRef| admitted.app.people.is_other_human(proposer, &by);
    let (trust, by) = (&admitted.app.trust, (&by, is_other));
    Ok(trust.decide_exception(admitted.control, id, decision, by, &admitted.permit)?)
}
