//! Least privilege: nobody keeps what they do not use, and every role that is given for good serves a need that is written
//! down (CI-20, CI-23).

use creta_compliance::Observation;
use creta_iam::{Action, Place, Role};
use creta_model::{EnvironmentClass, Instant, Span};
use creta_programme::SubjectId;
use creta_programme::analyser::{Effect, Granted, Nature, Permission, Subject, Use, WINDOW};
use serde_json::json;

use super::{Check, Seen, World};
use crate::people::analysis::{Held, Overdue, StandingRole};

/// How long something unused may stand after it was found: time to look into it and to take it away.
const GRACE: Span = Span::days(30);

pub(super) struct UnusedRights;

impl Check for UnusedRights {
    fn id(&self) -> &'static str {
        "unused-rights"
    }

    /// Somebody who was given a role long ago and never used it, beside somebody who did.
    fn notices_planted_fault(&self, world: &World<'_>) -> Result<bool, String> {
        let now = world.app.control.platform().clock.now();
        let found = Overdue::find(&planted(world, now)?.0, &planted(world, now)?.1, now, GRACE);
        let idle: Vec<&str> = found.roles.iter().map(|(subject, _)| subject.as_str()).collect();
        let codes: Vec<String> = look(&found).findings.into_iter().map(|finding| finding.code).collect();
        Ok(idle == ["person:planted-idle"] && codes.iter().any(|code| code == "access/unused-role"))
    }

    fn observe(&self, world: &World<'_>) -> Result<Observation, String> {
        let control = &world.app.control;
        let now = control.platform().clock.now();
        let found = world.app.people.overdue(control, now, GRACE);
        Ok(look(&found.map_err(|problem| problem.message)?))
    }
}

fn planted(world: &World<'_>, now: Instant) -> Result<(Held, Vec<Use>), String> {
    let place = Place::Environment(world.app.control.environment().clone());
    let since = now.minus(WINDOW).minus(GRACE).minus(Span::days(1));
    let permission = Permission { place, action: Action::TenantList };
    let (mut held, mut uses) = (Held::default(), Vec::new());
    for name in ["person:planted-idle", "person:planted-busy"] {
        let subject = SubjectId::parse(name).map_err(|error| error.to_string())?;
        held.subjects.push(Subject { id: subject.clone(), nature: Nature::Human, since });
        let role = Role::Operator;
        held.granted.push(Granted { subject: subject.clone(), permission: permission.clone(), role, since });
        if name.ends_with("busy") {
            let at = [now.minus(GRACE).minus(Span::days(1)), now.minus(Span::days(1))];
            let of = |at| Use { subject: subject.clone(), permission: permission.clone(), at, effect: Effect::Some };
            uses.extend(at.map(of));
        }
    }
    Ok((held, uses))
}

/// People and programs are counted and not named: the trust page is everybody's.
fn look(found: &Overdue) -> Observation {
    let mut seen = Seen::default();
    seen.subject("rights");
    let more = "`creta access analyze` names them";
    if !found.roles.is_empty() {
        let count = found.roles.len();
        let says =
            format!("{count} roles that were given for good have not been used for 120 days; {more}; take them away");
        seen.finding("rights", "access/unused-role", says);
    }
    if !found.actions.is_empty() {
        let count = found.actions.len();
        let says = format!(
            "{count} actions of roles have been used by no holder for 120 days; \
             `creta access analyze --policy FILE` writes a policy that takes them away"
        );
        seen.finding("rights", "access/unused-actions", says);
    }
    if !found.grants.is_empty() {
        let count = found.grants.len();
        let says = format!("{count} roles are granted for hours again and again and never used; {more}");
        seen.finding("rights", "access/idle-grants", says);
    }
    seen.raw(json!({
        "roles": found.looked_at, "unused_roles": found.roles.len(), "unused_actions": found.actions.len(),
        "idle_grants": found.grants.len(),
    }))
}

pub(super) struct RoleNeeds;

impl Check for RoleNeeds {
    fn id(&self) -> &'static str {
        "role-needs"
    }

    /// A role of which nobody knows what it is for, looked at as in production.
    fn notices_planted_fault(&self, _world: &World<'_>) -> Result<bool, String> {
        let subject = SubjectId::parse("person:planted").map_err(|error| error.to_string())?;
        let role = |need: Option<&str>| StandingRole {
            subject: subject.clone(),
            role: Role::Operator,
            need: need.map(str::to_owned),
        };
        let with = roles_seen(&[role(Some("runs the loads of every night"))], EnvironmentClass::Production);
        let without = roles_seen(&[role(None)], EnvironmentClass::Production);
        Ok(with.findings.is_empty() && without.findings.iter().any(|finding| finding.code == "access/no-need"))
    }

    fn observe(&self, world: &World<'_>) -> Result<Observation, String> {
        let roles = world.app.people.standing_roles().map_err(|problem| problem.message)?;
        Ok(roles_seen(&roles, world.app.control.class()))
    }
}

/// In class development a need may be left out: nothing of worth is within reach there.
fn roles_seen(roles: &[StandingRole], class: EnvironmentClass) -> Observation {
    let mut seen = Seen::default();
    seen.subject("standing-roles");
    let without = roles.iter().filter(|role| role.need.is_none()).count();
    if without > 0 && class != EnvironmentClass::Development {
        let says = format!(
            "{without} of {} roles that people have for good serve no need that is written down; \
             `creta person list` shows which, and `creta person assign ... --need` writes it down",
            roles.len()
        );
        seen.finding("standing-roles", "access/no-need", says);
    }
    seen.raw(json!({ "roles": roles.len(), "without_need": without, "class": class }))
}
