//! The one pure function that decides, and what it decides with.

use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cedar_policy::{
    Authorizer, Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, PolicyId, PolicySet, Request,
    RestrictedExpression, Schema, ValidationMode, Validator,
};
use creta_model::{Environment, Scope};

use crate::{Action, IamError, Place, Principal, PrincipalId, Resource, is_reserved};

const SCHEMA: &str = include_str!("../policies/creta.cedarschema");
const POLICIES: &str = include_str!("../policies/creta.cedar");

/// The access policies, parsed and validated. Built once; deciding takes a reference.
#[derive(Debug)]
pub struct Policies {
    schema: Schema,
    policies: PolicySet,
    authorizer: Authorizer,
    types: Types,
    epoch: AtomicU64,
}

#[derive(Debug)]
struct Types {
    environment: EntityTypeName,
    scope: EntityTypeName,
    role: EntityTypeName,
    administrator: EntityTypeName,
    service_account: EntityTypeName,
    action: EntityTypeName,
}

impl Policies {
    /// Parses and strictly validates the policies that ship with this build. A few milliseconds.
    pub fn load() -> Result<Self, IamError> {
        Self::parse(SCHEMA, POLICIES)
    }

    fn parse(schema: &str, policies: &str) -> Result<Self, IamError> {
        let (schema, warnings) = Schema::from_cedarschema_str(schema).map_err(refused)?;
        if let Some(warning) = warnings.into_iter().next() {
            return Err(refused(warning));
        }
        let mut named = PolicySet::new();
        for policy in PolicySet::from_str(policies).map_err(refused)?.policies() {
            let id = policy.annotation("id").ok_or_else(|| refused("a policy has no `@id`, which the log needs"))?;
            named.add(policy.new_id(PolicyId::new(id))).map_err(refused)?;
        }
        let result = Validator::new(schema.clone()).validate(&named, ValidationMode::Strict);
        if !result.validation_passed_without_warnings() {
            return Err(refused(result));
        }
        let name = |text: &str| EntityTypeName::from_str(text).map_err(refused);
        let types = Types {
            environment: name("Creta::Environment")?,
            scope: name("Creta::Scope")?,
            role: name("Creta::Role")?,
            administrator: name("Creta::Administrator")?,
            service_account: name("Creta::ServiceAccount")?,
            action: name("Creta::Action")?,
        };
        Ok(Self { schema, policies: named, authorizer: Authorizer::new(), types, epoch: AtomicU64::new(0) })
    }

    /// The present epoch. A decision belongs to the epoch it was made in; caches drop decisions of earlier ones.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Starts a new epoch, so that no cached decision is used again. Called when a principal or role is revoked.
    pub fn start_epoch(&self) -> u64 {
        self.epoch.fetch_add(1, Ordering::AcqRel) + 1
    }
}

fn refused(reason: impl ToString) -> IamError {
    IamError::Policies { reason: reason.to_string() }
}

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
            Self::Unanswerable => "unanswerable",
        }
    }

    /// The commitment that a refusal keeps: CH-20 (tenants apart), CH-25 (environments apart), CI-20 (least privilege).
    pub const fn commitment(self) -> Option<&'static str> {
        match self {
            Self::Permitted => None,
            Self::OtherTenant => Some("CH-20"),
            Self::OtherEnvironment => Some("CH-25"),
            Self::ControlPlane | Self::NotPermitted | Self::Forbidden | Self::Unanswerable => Some("CI-20"),
        }
    }
}

/// The answer of [`decide`], and of nothing else: its fields are private and it has no constructor. Cheap to clone, and
/// to compare with a clone of itself.
#[derive(Debug, Clone)]
pub struct Decision(Arc<Decided>);

#[derive(Debug, PartialEq, Eq)]
struct Decided {
    principal: Principal,
    action: Action,
    resource: Resource,
    reason: Reason,
    policies: Vec<String>,
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

    /// Ids of the policies that decided, in order. Empty when nothing permitted it, which is a denial.
    pub fn policies(&self) -> &[String] {
        &self.0.policies
    }

    /// Why.
    pub fn reason(&self) -> Reason {
        self.0.reason
    }

    /// The commitment a refusal keeps; `None` when allowed.
    pub fn commitment(&self) -> Option<&'static str> {
        self.0.reason.commitment()
    }

    /// The policy epoch it was made in.
    pub fn epoch(&self) -> u64 {
        self.0.epoch
    }
}

/// Decides whether `principal` may do `action` on `resource`.
///
/// Pure: the same input gives the same answer. Denied unless a policy permits it, no policy forbids it, and the
/// resource is within the principal's reach; the last is asked here a second time, apart from the policies, so that a
/// mistake in them cannot open one tenant to another. A question that the policies cannot answer is denied.
///
/// Takes about 100 microseconds: cache by principal, action, resource and epoch ([`DecisionCache`](crate::DecisionCache)).
pub fn decide(policies: &Policies, principal: &Principal, action: Action, resource: &Resource) -> Decision {
    let epoch = policies.epoch();
    let (verdict, deciding) = ask_policies(policies, principal, action, resource);
    let reason = out_of_reach(principal, resource.place()).unwrap_or(verdict);
    Decision(Arc::new(Decided {
        principal: principal.clone(),
        action,
        resource: resource.clone(),
        reason,
        policies: deciding,
        epoch,
    }))
}

/// The second layer: a service account reaches its own scope, an administrator what lies in its environment.
fn out_of_reach(principal: &Principal, place: &Place) -> Option<Reason> {
    if principal.environment() != place.environment() {
        return Some(Reason::OtherEnvironment);
    }
    if place.scope().is_some_and(|scope| is_reserved(&scope.tenant)) {
        return Some(Reason::ControlPlane);
    }
    match (principal, place) {
        (Principal::Administrator { .. }, _) => None,
        (Principal::ServiceAccount { .. }, Place::Environment(_)) => Some(Reason::ControlPlane),
        (Principal::ServiceAccount { scope: own, .. }, Place::Scope(asked)) if own == asked => None,
        (Principal::ServiceAccount { .. }, Place::Scope(_)) => Some(Reason::OtherTenant),
    }
}

/// The first layer: what the policies say, with the ids of those that decided.
fn ask_policies(
    policies: &Policies,
    principal: &Principal,
    action: Action,
    resource: &Resource,
) -> (Reason, Vec<String>) {
    let Some((request, entities)) = question(policies, principal, action, resource) else {
        return (Reason::Unanswerable, Vec::new());
    };
    let response = policies.authorizer.is_authorized(&request, &policies.policies, &entities);
    let mut deciding: Vec<String> = response.diagnostics().reason().map(ToString::to_string).collect();
    deciding.sort();
    let reason = match response.decision() {
        // A policy that fails is skipped by Cedar, also when it forbids: no answer is trusted then.
        _ if response.diagnostics().errors().next().is_some() => Reason::Unanswerable,
        cedar_policy::Decision::Allow => Reason::Permitted,
        cedar_policy::Decision::Deny if deciding.is_empty() => Reason::NotPermitted,
        cedar_policy::Decision::Deny => Reason::Forbidden,
    };
    (reason, deciding)
}

/// The question in Cedar's terms. `None` if it does not conform to the schema, which `decide` answers with a denial.
fn question(
    policies: &Policies,
    principal: &Principal,
    action: Action,
    resource: &Resource,
) -> Option<(Request, Entities)> {
    let types = &policies.types;
    let mut entities = HashMap::new();
    let who = add_principal(&mut entities, types, principal)?;
    let what = add_place(&mut entities, types, resource.place())?;
    let act = uid(&types.action, action.as_str());

    let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
    let tags = RestrictedExpression::new_set(resource.feature_set().tags().into_iter().map(text));
    let mut context = vec![("tags".to_owned(), tags)];
    if let Some(purpose) = resource.purpose() {
        context.push(("purpose".to_owned(), text(purpose.as_str())));
    }
    let context = Context::from_pairs(context).ok()?;

    let request = Request::new(who, act, what, context, Some(&policies.schema)).ok()?;
    let entities = Entities::from_entities(entities.into_values(), Some(&policies.schema)).ok()?;
    Some((request, entities))
}

type Known = HashMap<EntityUid, Entity>;

fn add_principal(entities: &mut Known, types: &Types, principal: &Principal) -> Option<EntityUid> {
    let environment = add_environment(entities, types, principal.environment());
    // Ids are unique per home only, so the home is part of Cedar's id.
    let uid_at = |kind: &EntityTypeName, home: &str, id: &PrincipalId| uid(kind, &format!("{home}/{id}"));
    let entity = match principal {
        Principal::Administrator { id, environment: home } => {
            let attributes = HashMap::from([("environment".to_owned(), reference(&environment))]);
            Entity::new(uid_at(&types.administrator, home.as_str(), id), attributes, HashSet::new())
        }
        Principal::ServiceAccount { id, scope, role } => {
            let home = add_scope(entities, types, scope)?;
            let role = uid(&types.role, role.as_str());
            entities.insert(role.clone(), Entity::new_no_attrs(role.clone(), HashSet::new()));
            let attributes = HashMap::from([
                ("scope".to_owned(), reference(&home)),
                ("environment".to_owned(), reference(&environment)),
            ]);
            Entity::new(uid_at(&types.service_account, &scope.path(), id), attributes, HashSet::from([role]))
        }
    };
    let entity = entity.ok()?;
    let who = entity.uid();
    entities.insert(who.clone(), entity);
    Some(who)
}

fn add_place(entities: &mut Known, types: &Types, place: &Place) -> Option<EntityUid> {
    match place {
        Place::Environment(environment) => Some(add_environment(entities, types, environment)),
        Place::Scope(scope) => add_scope(entities, types, scope),
    }
}

fn add_environment(entities: &mut Known, types: &Types, environment: &Environment) -> EntityUid {
    let uid = uid(&types.environment, environment.as_str());
    entities.insert(uid.clone(), Entity::new_no_attrs(uid.clone(), HashSet::new()));
    uid
}

fn add_scope(entities: &mut Known, types: &Types, scope: &Scope) -> Option<EntityUid> {
    let environment = add_environment(entities, types, &scope.environment);
    let uid = uid(&types.scope, &scope.path());
    let attributes = HashMap::from([("environment".to_owned(), reference(&environment))]);
    let entity = Entity::new(uid.clone(), attributes, HashSet::from([environment])).ok()?;
    entities.insert(uid.clone(), entity);
    Some(uid)
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

fn reference(uid: &EntityUid) -> RestrictedExpression {
    RestrictedExpression::new_entity_uid(uid.clone())
}

#[cfg(test)]
#[path = "decision_tests.rs"]
mod tests;
