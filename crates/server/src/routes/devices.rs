//! Devices: enrolling them, what they report, what others report about them.

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use creta_audit::{Details, Event};
use creta_iam::{Action, FeatureSet, PrincipalId};
use creta_identity::device::{
    Device, DeviceError, Finding, KeyStorage, NONCE_MINUTES, Platform, Signed, Source, Trust, mdm, osquery,
};
use creta_model::{Instant, Problem, TenantId};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::context::{Admitted, Guarded, Input, resource};
use crate::failures::Attempt;
use crate::http::App;
use crate::intake::Urgency;
use crate::people::devices::{canary_of, degree, found_new, no_device, of_error};
use crate::problem::{Refusal, from_audit};
use crate::routes::access::require_assurance;
use crate::routes::{blocking, json as answer};

/// What people see of a device.
#[derive(Serialize)]
pub(super) struct DeviceView {
    pub(super) device: String,
    person: String,
    pub(super) name: String,
    platform: Platform,
    /// Where its key is.
    key: KeyStorage,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial: Option<String>,
    pub(super) enrolled: Instant,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) revoked: Option<Instant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reported: Option<Instant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Source>,
    /// What it is worth now, as policies call it.
    pub(super) trust: &'static str,
    /// Why it is worth nothing.
    pub(super) findings: Vec<Finding>,
}

impl DeviceView {
    pub(super) fn of(app: &App, device: Device) -> Self {
        let now = app.control.platform().clock.now();
        let trust = app.people.devices.judge(&device, now).unwrap_or(Trust::None(Vec::new()));
        Self {
            device: device.id.as_str().to_owned(),
            reported: device.reported(),
            source: device.source(),
            person: device.person,
            name: device.name,
            platform: device.platform,
            key: device.storage,
            serial: device.serial,
            enrolled: device.enrolled,
            revoked: device.revoked,
            trust: degree(&trust).as_str(),
            findings: if let Trust::None(findings) = trust { findings } else { Vec::new() },
        }
    }
}

/// A nonce for the person who asks, who enrols a device with it.
pub(super) async fn nonce(guarded: Guarded, _input: Input) -> Result<Response, Refusal> {
    let nonce = guarded
        .act(Details::none(), |admitted| {
            let person = admitted.person()?;
            Ok(admitted.app.people.devices.nonce(admitted.control, person.id.as_str(), admitted.now()))
        })
        .await?;
    answer(&json!({ "nonce": nonce, "minutes": NONCE_MINUTES }))
}

/// A nonce for a device, whoever asks: only what its key signs over it is worth anything.
pub(super) async fn nonce_of(app: Arc<App>, input: Input) -> Result<Response, Refusal> {
    let id = input.path("id");
    let devices = &app.people.devices;
    let device = devices.find(id).ok_or_else(|| no_device(id))?;
    let now = app.control.platform().clock.now();
    let nonce = devices.nonce(&app.control, device.id.as_str(), now);
    // What it is looked at for, so that a device can report with nobody signed in.
    let search = devices.search_asked(&app.control, device.id.as_str(), now);
    let mut told = json!({ "nonce": nonce, "minutes": NONCE_MINUTES, "standard": devices.require_standard().ok() });
    if let Some(search) = search {
        told["search"] = serde_json::to_value(search).expect("texts have a JSON form");
    }
    answer(&told)
}

/// The value that is planted for one's own tenant: whoever puts it into their data has computers searched for it.
pub(super) async fn canary(guarded: Guarded, _input: Input) -> Result<Response, Refusal> {
    let canary =
        guarded.act(Details::none(), |admitted| Ok(canary_of(admitted.control, &admitted.scope()?.tenant))).await?;
    answer(&json!({ "canary": canary }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfTenant {
    tenant: TenantId,
}

/// Another planted value for a tenant, instead of one that somebody misused. It is shown to the tenant's own people alone.
pub(super) async fn rotate_canary(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let OfTenant { tenant } = input.json()?;
    let place = tenant.clone();
    let rotated = guarded
        .act_at(
            move |app| super::control::home_of(app, &place),
            Details::none(),
            move |admitted| {
                admitted.control.require_tenant(&tenant)?;
                let now = admitted.now();
                let generation = admitted.control.canaries().rotate(&tenant, now)?;
                let details = Details::none().count("generation", generation).map_err(|e| from_audit(&e))?;
                admitted.control.record(Event::of(&admitted.permit, "canary.rotated").with(details));
                // Whoever has the old value where it should not be would like this as much as its tenant does.
                let tenant_digest = creta_proof::Hash::of(&[tenant.as_str().as_bytes()]);
                let reference = format!("canary-rotated-{}", hex::encode(&tenant_digest.as_bytes()[..8]));
                if let Err(error) = admitted.app.trust.pager.ask(&reference, now, Urgency::Urgent) {
                    tracing::error!(%error, "that somebody has to be paged could not be noted");
                }
                Ok(json!({ "tenant": tenant, "generation": generation }))
            },
        )
        .await?;
    answer(&rotated)
}

/// Enrols the device that signed this.
pub(super) async fn enrol(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let signed: Signed = input.json()?;
    let enrolled = guarded
        .act(Details::none(), move |admitted| {
            let (people, principal) = (&admitted.app.people, admitted.permit.principal());
            let device =
                people.enrol_device(admitted.control, principal, &admitted.person()?, &signed, admitted.now())?;
            Ok(DeviceView::of(admitted.app, device))
        })
        .await?;
    Ok((StatusCode::CREATED, answer(&enrolled)?).into_response())
}

/// How a device says it is set up.
pub(super) async fn report(app: Arc<App>, input: Input) -> Result<Response, Refusal> {
    let signed: Signed = input.json()?;
    let (id, address) = (input.path("id").to_owned(), input.address);
    let reported = blocking(app, move |app| {
        let now = app.control.platform().clock.now();
        let was = app.people.devices.find(&id);
        let taken = app.people.take_report(&app.control, &id, &signed, now)?;
        if let (Some(was), Ok(is)) = (&was, &taken)
            && found_new(was, is).is_some()
        {
            // Customers' data lies about on somebody's computer: that waits for nobody to look at a page.
            let reference = format!("values-{}", is.id.as_str().get(..12).unwrap_or_default());
            if let Err(error) = app.trust.pager.ask(&reference, now, Urgency::Urgent) {
                tracing::error!(%error, "that somebody has to be paged could not be noted");
            }
        }
        taken.map(|device| DeviceView::of(app, device)).map_err(|error| refused(app, address, &error))
    })
    .await?;
    answer(&reported)
}

/// A report that the rules refuse may be forged: it is counted, and written to the log as far as failures are.
fn refused(app: &App, address: IpAddr, error: &DeviceError) -> Problem {
    if app.failures.count(Attempt::DeviceReport, "", address, app.control.platform().clock.monotonic()) {
        app.control.record(Event::new("device.refused", app.control.place()).for_commitment(error.commitment()));
    }
    of_error(error)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Binding {
    device: String,
    signed: Signed,
}

/// Puts the session that asks on a device.
pub(super) async fn bind(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let Binding { device, signed } = input.json()?;
    let bound = guarded
        .act(about(&device)?, move |admitted| {
            let device = own(admitted, &device)?;
            let session = admitted.session.ok_or_else(crate::problem::internal)?;
            let (people, principal) = (&admitted.app.people, admitted.permit.principal());
            people.bind_session(admitted.control, principal, session, &device, &signed, admitted.now())?;
            Ok(DeviceView::of(admitted.app, device))
        })
        .await?;
    answer(&bound)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Word {
    /// What the browser told its computer.
    word: String,
}

/// Which session of a browser told its computer this word: what the computer signs, and what its owner is shown before.
pub(super) async fn offered(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let Word { word } = input.json()?;
    let offered = guarded
        .act(Details::none(), move |admitted| {
            let (people, principal) = (&admitted.app.people, admitted.permit.principal());
            let (session, browser) = people.offered_browser(admitted.control, principal, &word, admitted.now())?;
            Ok(json!({
                "environment": browser.environment,
                "person": browser.person,
                "session": browser.session,
                "key": browser.key,
                "opened": session.opened,
                "methods": session.methods,
            }))
        })
        .await?;
    answer(&offered)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vouches {
    device: String,
    word: String,
    signed: Signed,
}

/// Takes a device's word for a browser of its owner.
pub(super) async fn vouch(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let Vouches { device, word, signed } = input.json()?;
    let vouched = guarded
        .act(about(&device)?, move |admitted| {
            let device = own(admitted, &device)?;
            let (people, principal, now) = (&admitted.app.people, admitted.permit.principal(), admitted.now());
            let session = people.vouch(admitted.control, principal, (&device, &signed), &word, now)?;
            let until = session.vouched.map(|vouched| vouched.until);
            Ok(json!({
                "session": session.id,
                "device": DeviceView::of(admitted.app, device),
                "until": until,
            }))
        })
        .await?;
    answer(&vouched)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Whose {
    /// Somebody else, for those who may revoke their access.
    #[serde(default)]
    person: Option<PrincipalId>,
}

/// Somebody's devices, and what they have to be like.
pub(super) async fn list(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let Whose { person } = input.query()?;
    let listed = guarded
        .act(Details::none(), move |admitted| {
            let person = match person {
                Some(other) => {
                    let nobody =
                        || Problem::new("not-found/person", "there is nobody of that name whose devices you can see");
                    let holder = admitted.app.people.require_person(other.as_str()).map_err(|_| nobody())?;
                    let own = admitted.permit.principal().person().is_some_and(|person| *person.id() == holder.id);
                    if !own && !looks_after(admitted, holder.id.as_str())? {
                        return Err(nobody().into());
                    }
                    holder
                }
                None => admitted.person()?,
            };
            let devices = admitted.app.people.devices.of(person.id.as_str());
            let devices: Vec<_> = devices.into_iter().map(|device| DeviceView::of(admitted.app, device)).collect();
            Ok(json!({ "devices": devices, "standard": admitted.app.people.devices.require_standard().ok() }))
        })
        .await?;
    answer(&listed)
}

/// Ends a device: one's own, or that of somebody whose access one may revoke.
pub(super) async fn revoke(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let id = input.path("id").to_owned();
    let revoked = guarded
        .act(about(&id)?, move |admitted| {
            let people = &admitted.app.people;
            let device = people.devices.find(&id).ok_or_else(|| no_device(&id))?;
            let own = admitted.permit.principal().person().is_some_and(|person| person.id().as_str() == device.person);
            if !own && !looks_after(admitted, &device.person)? {
                return Err(no_device(&id).into());
            }
            let (control, by) = (admitted.control, admitted.permit.principal());
            people.log_device("device.revoked", control, Some(by), &device, Details::none())?;
            let revoked = people.revoke_device(&id, admitted.now())?;
            Ok(DeviceView::of(admitted.app, revoked))
        })
        .await?;
    answer(&revoked)
}

/// What wrote an export.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Tool {
    Osquery,
    MdmCsv,
    MdmJson,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Import {
    tool: Tool,
    /// The file as it is.
    export: String,
}

/// Takes what a management tool says about the devices of everybody.
pub(super) async fn import(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let Import { tool, export } = input.json()?;
    let export = export.into_bytes();
    let digest = *creta_proof::Hash::of(&[&export]).as_bytes();
    let read = match tool {
        Tool::Osquery => osquery::from_json(&export).map(|one| (Source::Osquery, vec![one])),
        Tool::MdmCsv => mdm::from_csv(&export).map(|rows| (Source::Mdm, rows)),
        Tool::MdmJson => mdm::from_json(&export).map(|rows| (Source::Mdm, rows)),
    };
    let (source, rows) = read.map_err(|error| of_error(&error))?;
    // What was taken can be told apart later: whoever has the export finds its digest in the log.
    let details = Details::none()
        .count("devices", rows.len() as u64)
        .and_then(|details| details.digest("export", digest))
        .map_err(|e| from_audit(&e))?;
    let imported = guarded
        .act(details, move |admitted| {
            let people = &admitted.app.people;
            let own = admitted.permit.principal().person().map(|person| person.id().as_str().to_owned());
            let own = own.map(|id| people.require_person(&id)).transpose()?.map(|person| person.reference());
            let imported = people.import_posture(admitted.control, (source, own.as_ref()), rows, admitted.now())?;
            admitted.control.record_done(&admitted.permit, "device.imported");
            if imported.own > 0 {
                let event = Event::of(&admitted.permit, "device.refused");
                admitted.control.record(event.for_commitment("CH-18"));
            }
            Ok(imported)
        })
        .await?;
    answer(&imported)
}

/// A device of the person who asks.
fn own(admitted: &Admitted<'_>, id: &str) -> Result<Device, Problem> {
    let person = admitted.person()?;
    let device = admitted.app.people.devices.find(id).filter(|device| device.person == person.id.as_str());
    device.ok_or_else(|| no_device(id))
}

/// Whether whoever asks may revoke the access of `person`, and so look at their devices and end them.
fn looks_after(admitted: &Admitted<'_>, person: &str) -> Result<bool, Problem> {
    let Ok(holder) = admitted.app.people.require_person(person) else { return Ok(false) };
    let home = holder.home(admitted.control.environment());
    let asked = resource(&home, FeatureSet::none());
    let decision = admitted.control.decide(admitted.permit.principal(), Action::AccessRevoke, &asked);
    if !decision.is_allowed() {
        require_assurance(admitted, Action::AccessRevoke, &home)?;
        return Ok(false);
    }
    admitted.control.admit(decision, Details::none()).map(|_| true)
}

fn about(device: &str) -> Result<Details, Problem> {
    Details::none().keyed("device", device.as_bytes()).map_err(|e| from_audit(&e))
}
