//! The one pure function that decides.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::question::Question;
use crate::{
    Action, FeatureSet, HeldGrant, Level, Place, Policies, Principal, Resource, Role, Withheld, is_reserved, level,
};

/// Why a decision came out as it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A policy permits it.
    Permitted,
    /// No policy permits it for this principal.
    NotPermitted,
    /// A policy forbids it.
    Forbidden,
    /// The resource belongs to another tenant.
    OtherTenant,
    /// The resource is the environment as a whole, which no tenant reaches, or its own scope, in which nobody acts.
    ControlPlane,
    /// The resource belongs to another environment.
    OtherEnvironment,
    /// A feature asked for has tags that withhold it from the principal.
    Withheld,
    /// The question could not be put to the policies. Nothing is allowed then.
    Unanswerable,
}

impl Reason {
    /// A short stable word for the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Permitted => "permitted",
            Self::NotPermitted => "not-permitted",
            Self::Forbidden => "forbidden",
            Self::OtherTenant => "other-tenant",
            Self::ControlPlane => "control-plane",
            Self::OtherEnvironment => "other-environment",
            Self::Withheld => "withheld",
            Self::Unanswerable => "unanswerable",
        }
    }

    /// The commitment that a refusal keeps: CH-20 (tenants apart), CH-25 (environments apart), CH-03 (features by tag),
    /// CI-20 (least privilege). A policy that forbids may name another.
    pub const fn commitment(self) -> Option<&'static str> {
        match self {
            Self::Permitted => None,
            Self::OtherTenant => Some("CH-20"),
            Self::OtherEnvironment => Some("CH-25"),
            Self::Withheld => Some("CH-03"),
            Self::ControlPlane | Self::NotPermitted | Self::Forbidden | Self::Unanswerable => Some("CI-20"),
        }
    }
}

/// The answer of [`decide`], and of nothing else: its fields are private and it has no constructor. Cheap to clone, and
/// to compare with a clone of itself.
#[derive(Debug, Clone)]
pub struct Decision(Arc<Decided>);

/// The level of each set of tags among the features asked for.
type Levels = BTreeMap<Vec<String>, level::Decided>;

#[derive(Debug, PartialEq, Eq)]
struct Decided {
    principal: Principal,
    action: Action,
    resource: Resource,
    reason: Reason,
    policies: Vec<String>,
    commitment: Option<&'static str>,
    grants: Vec<HeldGrant>,
    levels: Levels,
    withheld: Vec<Withheld>,
    epoch: u64,
}

impl PartialEq for Decision {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Eq for Decision {}

impl Hash for Decision {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.principal(), self.action(), self.resource()).hash(state); // The rest follows from these and the policies.
    }
}

impl Decision {
    /// Whether the principal may act.
    pub fn is_allowed(&self) -> bool {
        self.0.reason == Reason::Permitted
    }

    /// Who asked.
    pub fn principal(&self) -> &Principal {
        &self.0.principal
    }

    /// What for.
    pub fn action(&self) -> Action {
        self.0.action
    }

    /// On what.
    pub fn resource(&self) -> &Resource {
        &self.0.resource
    }

    /// Ids of the policies that decided, in order. Empty when nothing permitted it, which is a denial. Where features are
    /// withheld, those that withhold them.
    pub fn policies(&self) -> &[String] {
        &self.0.policies
    }

    /// Why.
    pub fn reason(&self) -> Reason {
        self.0.reason
    }

    /// The commitment a refusal keeps; `None` when allowed.
    pub fn commitment(&self) -> Option<&'static str> {
        self.0.commitment
    }

    /// The grants that a permission rests on: those of roles that decided, at the place asked about. Empty for denials.
    pub fn grants(&self) -> &[HeldGrant] {
        &self.0.grants
    }

    /// What the principal gets of a feature that was asked for. `None` for other features, for actions that give nothing of
    /// a feature ([`Action::level_min`]), and when the action itself is denied.
    pub fn level_of(&self, feature: &str) -> Option<Level> {
        let tags: Vec<String> = self.resource().feature_set().tags_of(feature)?.map(str::to_owned).collect();
        self.0.levels.get(&tags).map(|decided| decided.level)
    }

    /// The least that the principal gets of any feature that was asked for; `None` where [`level_of`](Self::level_of) is
    /// `None` for all. Time O(distinct sets of tags).
    pub fn lowest_level(&self) -> Option<Level> {
        self.0.levels.values().map(|decided| decided.level).min()
    }

    /// Ids of the policies that keep [`level_of`](Self::level_of) a feature from being higher, in order.
    pub fn policies_of(&self, feature: &str) -> &[String] {
        let tags = self.resource().feature_set().tags_of(feature);
        let tags: Option<Vec<String>> = tags.map(|tags| tags.map(str::to_owned).collect());
        tags.and_then(|tags| self.0.levels.get(&tags)).map_or(&[], |decided| &decided.policies)
    }

    /// The features of which the principal gets less than the action needs, in order: the reason of a denial that says
    /// [`Reason::Withheld`].
    pub fn withheld(&self) -> &[Withheld] {
        &self.0.withheld
    }

    /// The epoch of the principal that it was made in.
    pub fn epoch(&self) -> u64 {
        self.0.epoch
    }
}

/// Decides whether `principal` may do `action` on `resource`.
///
/// Pure: the same input gives the same answer. Denied unless a policy permits it, no policy forbids it, and the
/// resource is within the principal's reach; the last is asked here a second time, apart from the policies, so that a
/// mistake in them cannot open one tenant to another. A question that the policies cannot answer is denied. Where the
/// action gives something of features, each must have the level that it needs ([`Action::level_min`]).
///
/// Takes about 100 microseconds: cache by principal, action, resource and epoch ([`DecisionCache`](crate::DecisionCache)).
pub fn decide(policies: &Policies, principal: &Principal, action: Action, resource: &Resource) -> Decision {
    let epoch = policies.epoch_of(&principal.key());
    let tags = resource.feature_set().tags();
    let question = Question::new(policies, principal, resource.place(), resource.purpose());
    let (verdict, mut deciding) = match &question {
        Some(question) => question.ask(action.as_str(), &tags),
        None => (Reason::Unanswerable, Vec::new()),
    };
    let mut reason = out_of_reach(principal, resource.place()).unwrap_or(verdict);
    let (mut levels, mut withheld) = (Levels::new(), Vec::new());
    if let (Reason::Permitted, Some(least), Some(question)) = (reason, action.level_min(), &question) {
        (levels, withheld) = levels_of(question, resource.feature_set(), least);
        if !withheld.is_empty() {
            reason = Reason::Withheld;
            let of = |withheld: &Withheld| levels[&withheld.tags].policies.clone();
            deciding = withheld.iter().flat_map(of).collect::<BTreeSet<_>>().into_iter().collect();
        }
    }
    let commitment = match reason {
        Reason::Forbidden => deciding.iter().find_map(|id| policies.commitment_of(id)).or(reason.commitment()),
        _ => reason.commitment(),
    };
    Decision(Arc::new(Decided {
        grants: if reason == Reason::Permitted {
            grants_used(policies, principal, resource, &deciding)
        } else {
            vec![]
        },
        principal: principal.clone(),
        action,
        resource: resource.clone(),
        reason,
        policies: deciding,
        commitment,
        levels,
        withheld,
        epoch,
    }))
}

/// The level of each set of tags among `features`, and the features that have less than `least`.
fn levels_of(question: &Question<'_>, features: &FeatureSet, least: Level) -> (Levels, Vec<Withheld>) {
    let (mut levels, mut withheld) = (Levels::new(), Vec::new());
    for (feature, tags) in features.iter() {
        let tags: Vec<String> = tags.map(str::to_owned).collect();
        let decided = levels
            .entry(tags.clone())
            .or_insert_with_key(|tags| level::level(question, &tags.iter().map(String::as_str).collect()));
        let level = decided.level;
        if level < least {
            withheld.push(Withheld { feature: feature.to_owned(), level, tags });
        }
    }
    (levels, withheld)
}

fn grants_used(policies: &Policies, principal: &Principal, resource: &Resource, deciding: &[String]) -> Vec<HeldGrant> {
    let Some(person) = principal.person() else { return Vec::new() };
    let roles: Vec<Role> = deciding.iter().filter_map(|id| policies.role_of(id)).collect();
    person.grants_at(resource.place()).filter(|grant| roles.contains(&grant.role)).cloned().collect()
}

/// The second layer: tenants' own people and programs reach their own scope; administrators and staff what lies in their
/// environment.
pub(crate) fn out_of_reach(principal: &Principal, place: &Place) -> Option<Reason> {
    if principal.environment() != place.environment() {
        return Some(Reason::OtherEnvironment);
    }
    if place.scope().is_some_and(|scope| is_reserved(&scope.tenant)) {
        return Some(Reason::ControlPlane);
    }
    match (principal, principal.home(), place) {
        (Principal::ServiceAccount { .. }, Place::Environment(_), Place::Environment(_)) => None,
        (Principal::ServiceAccount { .. }, Place::Environment(_), Place::Scope(_)) => Some(Reason::OtherTenant),
        (_, Place::Environment(_), _) => None,
        (_, Place::Scope(_), Place::Environment(_)) => Some(Reason::ControlPlane),
        (_, Place::Scope(own), Place::Scope(asked)) if own == *asked => None,
        (_, Place::Scope(_), Place::Scope(_)) => Some(Reason::OtherTenant),
    }
}

#[cfg(test)]
#[path = "decision_tests.rs"]
mod tests;
