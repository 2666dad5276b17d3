//! Why a decision came out as it did, and what a person could ask for where it was a refusal.

use std::fmt;

use serde::Serialize;

use crate::{
    Assurance, Decision, DeviceTrust, GrantId, HeldGrant, Identity, Level, Person, Place, Policies, Principal, Reason,
    Role, Standing, Withheld, decide,
};

/// Why a decision came out as it did, for `creta access explain` and the page. Holds names only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Short stable word: `permitted`, `not-permitted`.
    pub reason: &'static str,
    /// The policies that decided, in order.
    pub policies: Vec<String>,
    /// The grants a permission rests on.
    pub grants: Vec<HeldGrant>,
    /// The commitment that a refusal keeps.
    pub commitment: Option<&'static str>,
    /// What of each feature asked for is given, in the order of names. Empty when the action itself is denied.
    pub features: Vec<ExplainedFeature>,
    /// What the person could do about a refusal; `None` when nothing would help, and when there is nothing to help.
    pub remedy: Option<Remedy>,
}

/// What is given of one feature, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExplainedFeature {
    /// The feature.
    pub feature: String,
    /// What is given of it.
    pub level: Level,
    /// The policies that keep the level from being higher, in order.
    pub policies: Vec<String>,
    /// Its tags in order, each with the path from the feature to the one that has the tag by itself.
    pub tags: Vec<ExplainedTag>,
}

/// Why a feature carries a tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExplainedTag {
    /// The tag.
    pub tag: String,
    /// From the feature itself to the one that has the tag; the feature alone if it is its own.
    pub path: Vec<String>,
}

/// What would turn a refusal into a permission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Remedy {
    /// A role on a place to ask for; `None` if they have what they need in that respect.
    pub grant: Option<Requestable>,
    /// What the sign-in lacks beside it.
    pub needs: Vec<Need>,
}

/// A role on a place that can be asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Requestable {
    /// The role.
    pub role: Role,
    /// Where.
    pub place: Place,
}

/// What a sign-in lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// To sign in again with an authenticator that checks who holds it.
    UserVerification,
    /// To come from an enrolled device with a key in hardware, whose posture is fresh and good.
    TrustedDevice,
}

impl fmt::Display for Requestable {
    /// The command to paste, with the reason and the ticket left to fill in.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "creta access request --role {} --env {}", self.role, self.place.environment())?;
        if let Some(scope) = self.place.scope() {
            write!(f, " --tenant {}", scope.tenant)?;
        }
        f.write_str(" --reason \"...\" --ticket ...")
    }
}

/// Explains a decision. `path` gives, for a feature and a tag that it carries, the features from it to where the tag is from
/// (`Registry::tag_paths`); where it knows none, the feature stands alone.
///
/// Asks the policies a few dozen questions when the decision is a refusal: some milliseconds, so not for every request.
pub fn explain(
    policies: &Policies,
    decision: &Decision,
    path: impl Fn(&str, &str) -> Option<Vec<String>>,
) -> Explanation {
    let features = decision.resource().feature_set().iter().filter_map(|(feature, tags)| {
        let level = decision.level_of(feature)?;
        let explained = |tag: &str| ExplainedTag {
            tag: tag.to_owned(),
            path: path(feature, tag).unwrap_or_else(|| vec![feature.to_owned()]),
        };
        let policies = decision.policies_of(feature).to_vec();
        Some(ExplainedFeature { feature: feature.to_owned(), level, policies, tags: tags.map(explained).collect() })
    });
    Explanation {
        allowed: decision.is_allowed(),
        reason: decision.reason().as_str(),
        policies: decision.policies().to_vec(),
        grants: decision.grants().to_vec(),
        commitment: decision.commitment(),
        features: features.collect(),
        remedy: remedy(policies, decision),
    }
}

/// What the person could do about a refusal: the least of it. A better sign-in alone if that is enough, else the role that
/// may do the fewest things, on the place that was asked about. `None` for programs, for what is out of reach, and where no role of
/// people would be allowed to.
pub fn remedy(policies: &Policies, decision: &Decision) -> Option<Remedy> {
    let hopeless = matches!(
        decision.reason(),
        Reason::Permitted | Reason::OtherTenant | Reason::OtherEnvironment | Reason::ControlPlane
    );
    let person = decision.principal().person().filter(|_| !hopeless)?;
    let asked = decision.resource().place();
    let role = |role: &Role| Some(Requestable { role: *role, place: asked.clone() });
    let mut candidates: Vec<Option<Requestable>> = [None].into_iter().chain(Role::OF_PEOPLE.iter().map(role)).collect();
    // Stable: among roles of equal breadth the order of the documentation.
    candidates.sort_by_key(|grant| grant.as_ref().map(|grant| Identity::Person(grant.role).may().len()));
    let grant = candidates.into_iter().find(|grant| {
        let best = with(person, grant.as_ref(), DeviceTrust::Trusted, true);
        decide(policies, &best, decision.action(), decision.resource()).is_allowed()
    })?;
    let standing = person.standing().assurance;
    let allowed = |device: DeviceTrust, verified: bool| {
        let who = with(person, grant.as_ref(), device, verified);
        decide(policies, &who, decision.action(), decision.resource()).is_allowed()
    };
    let mut needs = Vec::new();
    if !standing.user_verified && !allowed(DeviceTrust::Trusted, false) {
        needs.push(Need::UserVerification);
    }
    if standing.device != DeviceTrust::Trusted && !allowed(standing.device, true) {
        needs.push(Need::TrustedDevice);
    }
    Some(Remedy { grant, needs })
}

/// The person as they would be with that grant and that assurance.
fn with(person: &Person, grant: Option<&Requestable>, device: DeviceTrust, user_verified: bool) -> Principal {
    let Standing { roles, mut grants, assurance, class } = person.standing().clone();
    if let Some(Requestable { role, place }) = grant {
        let id = GrantId::parse("asked-for").expect("a valid id");
        grants.insert(HeldGrant { id, role: *role, place: place.clone() });
    }
    let assurance = Assurance { user_verified, device, ..assurance };
    let standing = Standing { roles, grants, assurance, class };
    Principal::Person(Person::new(person.id().clone(), person.home().clone(), standing))
}

impl fmt::Display for Withheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tags: Vec<String> = self.tags.iter().map(|tag| format!("`{tag}`")).collect();
        write!(f, "`{}` is tagged {}", self.feature, tags.join(", "))?;
        match self.level {
            Level::Internal => f.write_str(" and may feed other features, but is not returned"),
            _ => f.write_str(" and is withheld"),
        }
    }
}

#[cfg(test)]
mod tests {
    use creta_model::{Environment, EnvironmentClass, Scope};

    use super::*;
    use crate::{Action, FeatureSet, PrincipalId, Resource, Seal};

    const SURE: Assurance = Assurance { user_verified: true, device: DeviceTrust::Trusted, seal: Seal::Intact };

    fn scope() -> Scope {
        Scope::parse("acme", "prod").expect("valid")
    }

    fn person(home: Place, roles: &[Role], assurance: Assurance, class: EnvironmentClass) -> Principal {
        let standing = Standing { roles: roles.iter().copied().collect(), assurance, ..Standing::none(class) };
        Principal::Person(Person::new(PrincipalId::parse("ana").expect("valid"), home, standing))
    }

    fn remedy_of(who: &Principal, action: Action, resource: &Resource) -> Option<Remedy> {
        let policies = Policies::load().expect("valid");
        remedy(&policies, &decide(&policies, who, action, resource))
    }

    #[test]
    fn a_refusal_names_the_least_role_that_helps() {
        let class = EnvironmentClass::Production;
        let ana = person(Place::Scope(scope()), &[Role::Developer], SURE, class);
        let helps = |action| {
            let remedy = remedy_of(&ana, action, &Resource::scope(scope())).expect("a role would help");
            (remedy.grant.expect("a role is missing").to_string(), remedy.needs)
        };
        let command = |role: &str| {
            (
                format!("creta access request --role {role} --env prod --tenant acme --reason \"...\" --ticket ..."),
                vec![],
            )
        };
        assert_eq!(helps(Action::Query), command("viewer"));
        assert_eq!(helps(Action::Train), command("data-scientist"));
        assert_eq!(helps(Action::Deploy), command("developer"));
        assert_eq!(helps(Action::AuditRead), command("auditor"), "the one of five that may do the least");
        assert_eq!(helps(Action::ServiceAccountCreate), command("operator"));
    }

    #[test]
    fn what_a_sign_in_lacks_is_named_and_a_role_only_if_it_is_missing() {
        let staff = Place::Environment(Environment::parse("prod").expect("valid"));
        let environment = Resource::environment(Environment::parse("prod").expect("valid"));
        let lax = Assurance { user_verified: false, device: DeviceTrust::LowAssurance, seal: Seal::Intact };
        let both = vec![Need::UserVerification, Need::TrustedDevice];
        let ask = |roles: &[Role], assurance, class, action| {
            remedy_of(&person(staff.clone(), roles, assurance, class), action, &environment)
        };
        let (production, staging) = (EnvironmentClass::Production, EnvironmentClass::Staging);
        let lead = &[Role::SecurityLead][..];
        assert_eq!(
            ask(lead, lax, production, Action::AccessApprove),
            Some(Remedy { grant: None, needs: both.clone() }),
            "the first grant has to come from somebody"
        );
        assert_eq!(
            ask(lead, lax, staging, Action::PolicyApprove),
            Some(Remedy { grant: None, needs: vec![Need::UserVerification] })
        );
        let remedy = ask(&[], lax, production, Action::TrustRead).expect("a role would help");
        assert_eq!((remedy.grant.map(|grant| grant.role), remedy.needs), (Some(Role::Auditor), both));
        let remedy = ask(&[], lax, staging, Action::TrustRead).expect("a role would help");
        assert_eq!((remedy.grant.map(|grant| grant.role), remedy.needs), (Some(Role::Auditor), vec![]));
    }

    #[test]
    fn there_is_no_remedy_where_nothing_may_help() {
        let class = EnvironmentClass::Development;
        let tenants = person(Place::Scope(scope()), &[], SURE, class);
        let staff = person(Place::Environment(scope().environment), &[], SURE, class);
        let program = Principal::service_account(PrincipalId::parse("etl").expect("valid"), scope(), Role::Reader);
        let globex = Resource::scope(Scope::parse("globex", "prod").expect("valid"));
        let own = Resource::scope(scope());
        let secret = Resource::features(scope(), FeatureSet::new([("User.token", ["secret"])]));
        for (what, who, action, resource) in [
            ("another tenant", &tenants, Action::Query, &globex),
            ("staff and data", &staff, Action::Query, &own),
            ("staff and definitions of a tenant", &staff, Action::Deploy, &own),
            ("a program", &program, Action::Deploy, &own),
            ("a secret", &tenants, Action::Query, &secret),
            ("what is allowed", &program, Action::Query, &own),
        ] {
            assert_eq!(remedy_of(who, action, resource), None, "{what}");
        }
    }

    #[test]
    fn an_explanation_names_levels_and_where_tags_come_from() {
        let policies = Policies::load().expect("valid");
        let who = person(Place::Scope(scope()), &[Role::Viewer], SURE, EnvironmentClass::Development);
        let features = FeatureSet::new([("User.age", vec![]), ("User.domain", vec!["pii"])]);
        let decision = decide(&policies, &who, Action::Query, &Resource::features(scope(), features));
        let path = |feature: &str, tag: &str| {
            let known = (feature, tag) == ("User.domain", "pii");
            known.then(|| ["User.domain", "User.email"].map(str::to_owned).into())
        };
        let json = serde_json::to_value(explain(&policies, &decision, path)).expect("serializes");
        assert_eq!(
            json,
            serde_json::json!({
                "allowed": true, "reason": "permitted", "policies": ["viewer-of-scope"], "grants": [],
                "commitment": null, "remedy": null,
                "features": [
                    {"feature": "User.age", "level": "allow", "policies": [], "tags": []},
                    {"feature": "User.domain", "level": "masked", "policies": ["pii-is-masked"],
                     "tags": [{"tag": "pii", "path": ["User.domain", "User.email"]}]},
                ],
            })
        );
        let unknown = explain(&policies, &decision, |_, _| None);
        assert_eq!(unknown.features[1].tags[0].path, ["User.domain"]);
    }
}
