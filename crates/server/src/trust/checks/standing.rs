//! Nobody has standing access to production, and nobody gets to it with less than a grant, a verified person and a
//! trusted device (CH-17, CH-43).
//!
//! The policies in force are asked, whatever the class of this environment: what they would say in production is a promise
//! of every build and every policy that was added.

use std::collections::BTreeSet;

use creta_compliance::Observation;
use creta_iam::{
    Action, Assurance, DeviceTrust, FOR_THEMSELVES, GrantId, HeldGrant, Person, Place, Policies, Principal,
    PrincipalId, Resource, Role, Seal, Standing, decide,
};
use creta_model::{EnvironmentClass, Scope, TenantId};
use serde_json::json;

use super::{Check, Seen, World};

/// What lets others in or out, or is done when nothing else works: a role is needed, and no grant.
const WITHOUT_GRANT: [Action; 5] =
    [Action::AccessApprove, Action::AccessRevoke, Action::ReviewRead, Action::ReviewDecide, Action::BreakGlassOpen];

pub(super) struct StandingAccess;

impl Check for StandingAccess {
    fn id(&self) -> &'static str {
        "standing-access"
    }

    /// The same roles by the built-in policies of class development, where they permit a lot. These are loaded apart from those in
    /// force, so that the check is tried in production too.
    fn notices_planted_fault(&self, world: &World<'_>) -> Result<bool, String> {
        let policies = Policies::load().map_err(|error| error.to_string())?.in_class(EnvironmentClass::Development);
        let allows =
            |person: &Principal, action, resource: &Resource| decide(&policies, person, action, resource).is_allowed();
        let planted = ask(world, EnvironmentClass::Development, &allows).0.findings;
        Ok(planted.iter().any(|finding| finding.code == "access/standing"))
    }

    fn observe(&self, world: &World<'_>) -> Result<Observation, String> {
        let control = &world.app.control;
        let allows =
            |person: &Principal, action, resource: &Resource| control.decide(person, action, resource).is_allowed();
        let seen = ask(world, EnvironmentClass::Production, &allows);
        let questions = seen.0.subjects.len();
        Ok(seen.raw(json!({ "questions": questions })))
    }
}

/// Every role of people, every action, at home and in a tenant's scope: without a grant, and with one but less assurance.
fn ask(world: &World<'_>, class: EnvironmentClass, allows: &dyn Fn(&Principal, Action, &Resource) -> bool) -> Seen {
    let control = &world.app.control;
    let environment = Place::Environment(control.environment().clone());
    let tenant = TenantId::parse("trust-probe-a").expect("a name of our own is valid");
    let scope = Place::Scope(Scope::new(tenant, control.environment().clone()));
    let id = PrincipalId::parse("trust-check-person").expect("a name of our own is valid");
    let trusted = Assurance { user_verified: true, device: DeviceTrust::Trusted, seal: Seal::Intact };
    let less = [
        ("unverified", Assurance { user_verified: false, ..trusted }),
        ("device-in-software", Assurance { device: DeviceTrust::LowAssurance, ..trusted }),
        ("no-device", Assurance { device: DeviceTrust::None, ..trusted }),
    ];
    let mut seen = Seen::default();
    for (home, place) in [(&environment, &environment), (&environment, &scope), (&scope, &scope)] {
        let resource = match place {
            Place::Environment(environment) => Resource::environment(environment.clone()),
            Place::Scope(scope) => Resource::scope(scope.clone()),
        };
        for role in Role::OF_PEOPLE {
            let held = HeldGrant {
                id: GrantId::parse("trust-check").expect("a name of our own is valid"),
                role: *role,
                place: place.clone(),
            };
            let without = ("no-grant", BTreeSet::new(), trusted);
            let with = less.map(|(what, assurance)| (what, BTreeSet::from([held.clone()]), assurance));
            for (lacks, grants, assurance) in [without].into_iter().chain(with) {
                let standing = Standing { roles: BTreeSet::from([*role]), grants, assurance, class };
                let person = Principal::Person(Person::new(id.clone(), home.clone(), standing));
                for action in Action::ALL.iter().filter(|action| !FOR_THEMSELVES.contains(action)) {
                    if WITHOUT_GRANT.contains(action) {
                        continue;
                    }
                    let subject = format!("{lacks}:{role}:{action}:{}:{}", kind(home), kind(place));
                    if allows(&person, *action, &resource) {
                        let says = format!("`{role}` may `{action}` in class `{class}` with {lacks}");
                        seen.finding(&subject, "access/standing", says);
                    }
                    seen.subject(subject);
                }
            }
        }
    }
    seen
}

fn kind(place: &Place) -> &'static str {
    if place.scope().is_some() { "scope" } else { "environment" }
}
