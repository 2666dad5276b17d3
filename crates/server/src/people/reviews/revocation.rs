//! Taking rights away for a review, and trying afterwards whether they are gone.

use std::collections::{BTreeMap, BTreeSet};

use creta_audit::{Details, Event};
use creta_iam::{Action, Assurance, DeviceTrust, FOR_THEMSELVES, FeatureSet, Person, Place, Principal, Seal, Standing};
use creta_model::{Instant, Problem, Scope, TenantId};
use creta_programme::access::End;
use creta_programme::campaign::{Probe, Tried};
use creta_programme::{RecordId, SubjectId};
use creta_proof::Hash;
use serde_json::json;

use super::population::{COMPONENT, DEVICE, LOCAL_ADMINISTRATOR};
use crate::context::resource;
use crate::control_plane::ControlPlane;
use crate::people::{People, PersonRecord};
use crate::problem::{from_audit, internal};

const PERSON: &str = "person:";
const PROGRAM: &str = "service-account:";

/// Whom a line of a review is about.
enum Subject<'a> {
    Person(&'a str),
    Program(&'a str),
    Device(&'a str),
    /// The local administrator.
    Administrator(&'a str),
    Component(&'a str),
}

impl<'a> Subject<'a> {
    fn of(subject: &'a SubjectId) -> Result<Self, Problem> {
        let named = |prefix| subject.as_str().strip_prefix(prefix);
        let person = named(PERSON).map(Self::Person);
        person
            .or_else(|| named(PROGRAM).map(Self::Program))
            .or_else(|| named(DEVICE).map(Self::Device))
            .or_else(|| named(LOCAL_ADMINISTRATOR).map(Self::Administrator))
            .or_else(|| named(COMPONENT).map(Self::Component))
            .ok_or_else(internal)
    }
}

impl People {
    /// Takes everything away that the subject holds. Harmless when repeated.
    pub(super) fn revoke_subject(
        &self,
        control: &ControlPlane,
        campaign: RecordId,
        subject: &SubjectId,
        now: Instant,
    ) -> Result<(), Problem> {
        match Subject::of(subject)? {
            Subject::Person(id) => {
                let Some(person) = self.persons.find(id) else { return Ok(()) };
                if !person.roles.is_empty() {
                    let event = Event::new("person.assigned", control.place());
                    let details = Details::none()
                        .name("person", id)
                        .and_then(|details| details.name("campaign", campaign.to_string()));
                    let event = event.with(details.map_err(|e| from_audit(&e))?);
                    control.log().record(event).map_err(|e| from_audit(&e))?;
                    let without = |person: &PersonRecord| {
                        Ok::<_, Problem>(PersonRecord {
                            roles: BTreeSet::new(),
                            needs: BTreeMap::new(),
                            given_by: None,
                            withheld: person.withheld.union(&person.roles).copied().collect(),
                            ..person.clone()
                        })
                    };
                    self.persons.change(id, without)?;
                }
                // A half of the emergency account is worth nothing in the hands of somebody without the role.
                self.end_recovery_keys_of(control, &person.id, now)?;
                self.access.end_all_of(control, &person, &End::Review { campaign }, now)
            }
            Subject::Program(id) | Subject::Administrator(id) => control.revoke_for_review(id, &campaign.to_string()),
            Subject::Component(name) => control.end_component_for_review(name, &campaign.to_string(), now),
            Subject::Device(id) => self.revoke_device_for_review(control, id, campaign, now),
        }
    }

    /// Asks once more for all that the subject could have: by the same records and the same policies as every request.
    pub(super) fn probe(&self, control: &ControlPlane, subject: &SubjectId, now: Instant) -> Result<Probe, Problem> {
        let (asked, allowed) = match Subject::of(subject)? {
            Subject::Person(id) => self.try_person(control, id, now),
            Subject::Program(id) | Subject::Administrator(id) => {
                (json!({ "token-of": id }), json!(control.takes_token_of(id)))
            }
            Subject::Component(name) => (json!({ "certificate-of": name }), json!(control.lets_in_component(name)?)),
            Subject::Device(id) => self.try_device(id, now),
        };
        let is_refused = allowed == json!([]) || allowed == json!(false);
        let answer = json!({ "subject": subject, "at": now, "asked": asked, "allowed": allowed });
        let raw = Hash::of(&[&serde_json::to_vec(&answer).expect("names have a JSON form")]);
        Ok(Probe { tried: if is_refused { Tried::Refused } else { Tried::Allowed }, at: now, raw })
    }

    /// What opening a session asks about a device, what each request does, and whether anybody works on it.
    fn try_device(&self, id: &str, now: Instant) -> (serde_json::Value, serde_json::Value) {
        let device = self.devices.find(id);
        let answers = [
            ("open-session", device.as_ref().is_some_and(|device| self.devices.of_key(id, &device.person).is_some())),
            ("request", device.as_ref().is_some_and(|device| self.devices.worth(device, now) != DeviceTrust::None)),
            ("session", self.has_session_on(id, now)),
        ];
        let allowed: Vec<&str> = answers.iter().filter(|(_, allowed)| *allowed).map(|(what, _)| *what).collect();
        (json!(answers.map(|(what, _)| what)), json!(allowed))
    }

    /// Every action at home and, for staff, in a scope, on the best of devices: what is asked and what of it is allowed.
    fn try_person(&self, control: &ControlPlane, id: &str, now: Instant) -> (serde_json::Value, serde_json::Value) {
        let Some(person) = self.persons.find(id).filter(PersonRecord::is_active) else {
            return (json!([]), json!([]));
        };
        let record = person.clone();
        let home = person.home(&self.environment);
        let standing = Standing {
            roles: person.roles.clone(),
            grants: self.access.held(&person.id, now),
            assurance: Assurance { user_verified: true, device: DeviceTrust::Trusted, seal: Seal::Intact },
            class: self.class,
        };
        let principal = Principal::Person(Person::new(person.id, home.clone(), standing));
        let mut places = vec![home.clone()];
        if let Place::Environment(environment) = &home {
            let any = TenantId::parse("any-tenant").expect("a valid name");
            places.push(Place::Scope(Scope::new(any, environment.clone())));
        }
        let of_roles = |action: &&Action| !FOR_THEMSELVES.contains(action);
        let questions: Vec<(Action, &Place)> = places
            .iter()
            .flat_map(|place| Action::ALL.iter().filter(of_roles).map(move |action| (*action, place)))
            .collect();
        let name = |(action, place): &(Action, &Place)| format!("{action}@{}", place.path());
        let is_allowed = |(action, place): &&(Action, &Place)| {
            control.decide(&principal, *action, &resource(place, FeatureSet::none())).is_allowed()
        };
        let mut allowed: Vec<String> = questions.iter().filter(is_allowed).map(name).collect();
        let mut asked: Vec<String> = questions.iter().map(name).collect();
        let half = self.holds_half(&record.id) && self.lacks_as_holder(control, &record, now).is_none();
        for (what, works) in [("recovery-key", self.holds_recovery_key(&record.id)), ("emergency-half", half)] {
            asked.push(what.to_owned());
            if works {
                allowed.push(what.to_owned());
            }
        }
        (json!(asked), json!(allowed))
    }
}
