//! What staff can get: no values by any right, statistics in groups only, and nothing from a crash (CH-14, CH-19).

use std::collections::BTreeSet;

use creta_compliance::Observation;
use creta_iam::{
    Action, Assurance, DeviceTrust, FeatureSet, GrantId, HeldGrant, Person, Place, Principal, PrincipalId, Resource,
    Role, Seal, Standing,
};
use creta_model::EnvironmentClass;
use serde_json::json;

use super::{Check, Seen, World};
use crate::cores;

/// What carries values, in or out.
const DATA: [Action; 4] = [Action::Query, Action::Train, Action::Verify, Action::Ingest];
/// Tags of which nobody is told even ranges.
const WITHHELD: [&str; 3] = ["internal", "secret", "credential"];

pub(super) struct StaffValues;

impl Check for StaffValues {
    fn id(&self) -> &'static str {
        "staff-values"
    }

    /// The same questions for a program of the tenant, which gets values.
    fn notices_planted_fault(&self, world: &World<'_>) -> Result<bool, String> {
        let scope = world.probes.0[0].scope.clone();
        let id = PrincipalId::parse("trust-check-program").expect("a name of our own is valid");
        let mut seen = Seen::default();
        ask(world, "planted", &Principal::service_account(id, scope, Role::Developer), &mut seen);
        Ok(DATA.iter().all(|action| seen.0.findings.iter().any(|finding| finding.says.contains(action.as_str()))))
    }

    fn observe(&self, world: &World<'_>) -> Result<Observation, String> {
        let mut seen = Seen::default();
        for (name, principal) in staff(world) {
            ask(world, &name, &principal, &mut seen);
        }
        let subjects = seen.0.subjects.len();
        Ok(seen.raw(json!({ "staff": subjects })))
    }
}

/// The local administrator, and a person of the environment in every role of people, with all that can be true of them.
fn staff(world: &World<'_>) -> Vec<(String, Principal)> {
    let environment = world.app.control.environment();
    let id = PrincipalId::parse("trust-check-person").expect("a name of our own is valid");
    let home = Place::Environment(environment.clone());
    let at = Place::Scope(world.probes.0[0].scope.clone());
    let mut all = vec![("administrator".to_owned(), Principal::administrator(id.clone(), environment.clone()))];
    for class in EnvironmentClass::ALL {
        for role in Role::OF_PEOPLE {
            let held = |place: &Place| HeldGrant {
                id: GrantId::parse("trust-check").expect("a name of our own is valid"),
                role: *role,
                place: place.clone(),
            };
            let standing = Standing {
                roles: BTreeSet::from([*role]),
                grants: BTreeSet::from([held(&home), held(&at)]),
                assurance: Assurance { user_verified: true, device: DeviceTrust::Trusted, seal: Seal::Intact },
                class,
            };
            let person = Person::new(id.clone(), home.clone(), standing);
            all.push((format!("{class}/{role}"), Principal::Person(person)));
        }
    }
    all
}

fn ask(world: &World<'_>, name: &str, principal: &Principal, seen: &mut Seen) {
    let subject = format!("staff:{name}");
    seen.subject(&subject);
    let control = &world.app.control;
    let scope = &world.probes.0[0].scope;
    for action in DATA {
        if control.decide(principal, action, &Resource::scope(scope.clone())).is_allowed() {
            seen.finding(&subject, "staff/values", format!("the policies permit `{action}` on a tenant's data"));
        }
    }
    for tag in WITHHELD {
        let features = FeatureSet::new([("Any.feature".to_owned(), BTreeSet::from([tag.to_owned()]))]);
        let resource = Resource::features(scope.clone(), features);
        if control.decide(principal, Action::StatisticsRead, &resource).is_allowed() {
            seen.finding(&subject, "staff/withheld", format!("statistics of features tagged `{tag}` are permitted"));
        }
    }
}

pub(super) struct CoreFiles;

impl Check for CoreFiles {
    fn id(&self) -> &'static str {
        "core-files"
    }

    /// A process as the system starts it, without a limit and with memory in its cores.
    fn notices_planted_fault(&self, _world: &World<'_>) -> Result<bool, String> {
        let failed = |error: std::io::Error| format!("no fault could be planted: {error}");
        let folder = tempfile::tempdir().map_err(failed)?;
        let limits = "Max core file size        unlimited            unlimited            bytes\n";
        std::fs::write(folder.path().join("limits"), limits).map_err(failed)?;
        std::fs::write(folder.path().join("coredump_filter"), "00000033\n").map_err(failed)?;
        Ok(cores::mistake(folder.path()).map_err(failed)?.is_some())
    }

    fn observe(&self, _world: &World<'_>) -> Result<Observation, String> {
        let mut seen = Seen::default();
        let processes = cores::processes().map_err(|error| error.to_string())?;
        for (number, process) in processes.iter().enumerate() {
            let subject = if number == 0 { "process:server" } else { "process:started" };
            match cores::mistake(process) {
                Ok(None) => seen.subject(subject),
                Ok(Some(why)) => {
                    seen.subject(subject);
                    seen.finding(subject, "cores/on", why);
                }
                Err(error) if number == 0 => return Err(error.to_string()),
                Err(_) => {} // It has ended.
            }
        }
        Ok(seen.raw(json!({ "processes": processes.len() })))
    }
}
