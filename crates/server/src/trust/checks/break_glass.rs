//! Whether the sealed emergency account can be opened when it is needed, and every use of it was reviewed in time.

use creta_compliance::Observation;
use creta_model::{Environment, EnvironmentClass, Instant, Span};
use creta_programme::break_glass::{Half, Opening, REVIEW_WITHIN};
use creta_programme::{PersonId, PersonRef, RecordId};
use serde_json::json;

use super::{Check, Seen, World};
use crate::people::break_glass::faults_of_openings;

pub(super) struct EmergencyAccount;

impl Check for EmergencyAccount {
    fn id(&self) -> &'static str {
        "emergency-account"
    }

    /// A use that nobody looked at for a day and a second, looked at beside the real ones; no account at all; halves that nobody
    /// took.
    fn notices_planted_fault(&self, world: &World<'_>) -> Result<bool, String> {
        let now = world.app.control.platform().clock.now();
        let planted = used(world.app.control.environment(), now.minus(REVIEW_WITHIN).minus(Span::seconds(1)))?;
        let fresh = used(world.app.control.environment(), now)?;
        let faults = faults_of_openings(&[planted.clone(), fresh], now);
        let of_seal = |seal| faults_of_seal(EnvironmentClass::Production, seal, now).len();
        let forgotten = (now.minus(TAKEN_WITHIN), false);
        let noticed = [of_seal(None), of_seal(Some(forgotten)), of_seal(Some((now, true)))] == [1, 1, 0];
        Ok(noticed && faults.len() == 1 && faults[0].0 == planted.id.to_string())
    }

    fn observe(&self, world: &World<'_>) -> Result<Observation, String> {
        let (app, now) = (world.app, world.app.control.platform().clock.now());
        let glass = &app.people.break_glass;
        let mut seen = Seen::default();
        seen.subject("seal");
        let openings = glass.openings();
        openings.iter().for_each(|opening| seen.subject(opening.id.to_string()));
        for (opening, says) in faults_of_openings(&openings, now) {
            seen.finding(&opening, "break-glass/overdue-review", says);
        }
        let seal = glass.seal();
        for (code, says) in
            faults_of_seal(app.control.class(), seal.as_ref().map(|seal| (seal.made, seal.ready().is_some())), now)
        {
            seen.finding("seal", code, says);
        }
        if let Some(seal) = &seal {
            if seal.spent.is_some() {
                let says = "the halves were used; make new ones: `creta break-glass seal`";
                seen.finding("seal", "break-glass/spent", says);
            }
            for slot in &seal.slots {
                let person = app.people.require_person(slot.holder.account.as_str()).map_err(|p| p.message)?;
                if let Some(lacks) = app.people.lacks_as_holder(&app.control, &person, now) {
                    let says = format!("a holder of a half can no longer use it: {lacks}; make new halves");
                    seen.finding("seal", "break-glass/holder", says);
                }
            }
            if app.trust.pager.contacts() == 0 {
                let says = "nobody is on call, so the account cannot be opened; add `[[on_call]]` to `config.toml`";
                seen.finding("seal", "break-glass/nobody-on-call", says);
            }
        }
        let ready = seal.is_some_and(|seal| seal.ready().is_some());
        Ok(seen.raw(json!({ "openings": openings.len(), "ready": ready })))
    }
}

/// How long two holders may take to fetch their halves.
const TAKEN_WITHIN: Span = Span::days(3);

/// What an emergency account lacks that was never sealed, or whose halves lie where they were made; `seal` is when it was made
/// and whether both were taken. In class development there need be none: its local administrator is there.
fn faults_of_seal(
    class: EnvironmentClass,
    seal: Option<(Instant, bool)>,
    now: Instant,
) -> Vec<(&'static str, &'static str)> {
    match seal {
        _ if class == EnvironmentClass::Development => Vec::new(),
        None => {
            vec![("break-glass/none", "there is no emergency account; name two holders with `creta break-glass seal`")]
        }
        Some((made, false)) if made.plus(TAKEN_WITHIN) <= now => vec![(
            "break-glass/not-taken",
            "the halves were made and not taken by both holders; they take them with `creta break-glass take`, or make new ones",
        )],
        Some(_) => Vec::new(),
    }
}

/// An opening that was complete and paged at `at`. It is stored nowhere.
fn used(environment: &Environment, at: Instant) -> Result<Opening, String> {
    let person = |id: &str| {
        let account = creta_iam::PrincipalId::parse(id).map_err(|error| error.to_string())?;
        Ok::<_, String>(PersonRef { person: PersonId::new(account.clone()), account })
    };
    let reason =
        creta_programme::access::Reason::without_ticket("A planted use of the emergency account, for its check");
    let reason = reason.map_err(|fault| fault.to_string())?;
    let (one, other) = (person("planted-one")?, person("planted-other")?);
    let id = RecordId::from_bytes(at.micros().to_be_bytes().repeat(2).try_into().expect("twice eight bytes"));
    let opening = Opening::begin(id, environment.clone(), &reason, 1, (Half::First, &one), at);
    let opening = opening.and_then(|begun| begun.document.complete(Half::Second, &other, at));
    let opening = opening.and_then(|complete| complete.document.paged(at));
    opening.map(|paged| paged.document).map_err(|error| error.to_string())
}
