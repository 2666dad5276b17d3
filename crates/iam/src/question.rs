//! A question in Cedar's terms: who asks, where, and what is true of them.

use std::collections::{BTreeSet, HashMap, HashSet};

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, PolicySet, Request, RestrictedExpression, Schema,
};
use creta_model::{Environment, EnvironmentClass, Scope};

use crate::policies::{Policies, PrincipalKind, Types};
use crate::{Person, Place, Principal, PrincipalId, Purpose, Reason, Role, Seal, is_reserved};

/// One principal at one place, made once and asked about several actions and features.
pub(crate) struct Question<'a> {
    policies: &'a Policies,
    who: EntityUid,
    what: EntityUid,
    kind: PrincipalKind,
    entities: Entities,
    class: EnvironmentClass,
    purpose: Option<&'a Purpose>,
}

impl<'a> Question<'a> {
    /// `None` if it does not conform to the schema; then nothing is allowed.
    pub(crate) fn new(
        policies: &'a Policies,
        principal: &Principal,
        place: &Place,
        purpose: Option<&'a Purpose>,
    ) -> Option<Self> {
        let types = &policies.types;
        let mut entities = HashMap::new();
        let who = add_principal(&mut entities, types, principal, place)?;
        let what = add_place(&mut entities, types, place)?;
        let entities = Entities::from_entities(entities.into_values(), Some(&policies.schema)).ok()?;
        let own = principal.person().map_or(EnvironmentClass::Development, |person| person.standing().class);
        let kind = match principal {
            Principal::Administrator { .. } => PrincipalKind::Administrator,
            Principal::ServiceAccount { .. } => PrincipalKind::ServiceAccount,
            Principal::Person(_) => PrincipalKind::Person,
        };
        Some(Self { kind, policies, who, what, entities, class: own.max(policies.class()), purpose })
    }

    /// What kind of principal asks.
    pub(crate) fn kind(&self) -> PrincipalKind {
        self.kind
    }

    /// The same principal and place under other circumstances, exactly these.
    pub(crate) fn set_circumstances(&mut self, class: EnvironmentClass, purpose: Option<&'a Purpose>) {
        (self.class, self.purpose) = (class, purpose);
    }

    /// What the policies say about `action`, on features of these tags, with the ids of those that decided.
    pub(crate) fn ask(&self, action: &'static str, tags: &BTreeSet<&str>) -> (Reason, Vec<String>) {
        self.ask_policies(self.policies, action, tags)
    }

    /// As [`ask`](Self::ask), of other policies of the same schema.
    pub(crate) fn ask_policies(
        &self,
        policies: &Policies,
        action: &'static str,
        tags: &BTreeSet<&str>,
    ) -> (Reason, Vec<String>) {
        self.ask_set(policies.slice(self.kind, action), action, tags)
    }

    /// As [`ask`](Self::ask), of any set of policies.
    pub(crate) fn ask_set(&self, set: &PolicySet, action: &str, tags: &BTreeSet<&str>) -> (Reason, Vec<String>) {
        let Some(request) = self.request(action, tags, None) else {
            return (Reason::Unanswerable, Vec::new());
        };
        let response = self.policies.authorizer.is_authorized(&request, set, &self.entities);
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

    /// Not checked against the schema unless one is given: that every question conforms is a test's matter, and checking each
    /// would take as long as answering it.
    pub(crate) fn request(&self, action: &str, tags: &BTreeSet<&str>, schema: Option<&Schema>) -> Option<Request> {
        let tags = RestrictedExpression::new_set(tags.iter().map(|tag| text(tag)));
        let mut context = vec![("tags".to_owned(), tags), ("class".to_owned(), text(self.class.as_str()))];
        if let Some(purpose) = self.purpose {
            context.push(("purpose".to_owned(), text(purpose.as_str())));
        }
        let context = Context::from_pairs(context).ok()?;
        let action = uid(&self.policies.types.action, action);
        Request::new(self.who.clone(), action, self.what.clone(), context, schema).ok()
    }
}

type Known = HashMap<EntityUid, Entity>;

fn add_principal(entities: &mut Known, types: &Types, principal: &Principal, place: &Place) -> Option<EntityUid> {
    let environment = add_environment(entities, types, principal.environment())?;
    // Ids are unique per home only, so the home is part of Cedar's id.
    let uid_at = |kind: &EntityTypeName, home: &str, id: &PrincipalId| uid(kind, &format!("{home}/{id}"));
    let mut attributes = HashMap::from([("environment".to_owned(), reference(&environment))]);
    let entity = match principal {
        Principal::Administrator { id, environment: home } => {
            Entity::new(uid_at(&types.administrator, home.as_str(), id), attributes, HashSet::new())
        }
        Principal::ServiceAccount { id, scope, role } => {
            let home = add_scope(entities, types, scope)?;
            let role = add_role(entities, types, *role);
            attributes.insert("scope".to_owned(), reference(&home));
            attributes.insert("ofEnvironment".to_owned(), RestrictedExpression::new_bool(is_reserved(&scope.tenant)));
            Entity::new(uid_at(&types.service_account, &scope.path(), id), attributes, HashSet::from([role]))
        }
        Principal::Person(person) => {
            let assurance = &person.standing().assurance;
            attributes.extend([
                ("home".to_owned(), text(&person.home().path())),
                ("staff".to_owned(), RestrictedExpression::new_bool(person.is_staff())),
                ("userVerified".to_owned(), RestrictedExpression::new_bool(assurance.user_verified)),
                ("device".to_owned(), text(assurance.device.as_str())),
                ("breakGlass".to_owned(), RestrictedExpression::new_bool(assurance.seal == Seal::Broken)),
            ]);
            let roles = add_roles_of(entities, types, person, place)?;
            Entity::new(uid_at(&types.person, &person.home().path(), person.id()), attributes, roles)
        }
    };
    let entity = entity.ok()?;
    let who = entity.uid();
    entities.insert(who.clone(), entity);
    Some(who)
}

/// The roles a person has at `place`: for good, and by grants that count there.
fn add_roles_of(entities: &mut Known, types: &Types, person: &Person, place: &Place) -> Option<HashSet<EntityUid>> {
    let mut roles: HashSet<EntityUid> =
        person.standing().roles.iter().map(|role| add_role(entities, types, *role)).collect();
    for grant in person.grants_at(place) {
        let role = add_role(entities, types, grant.role);
        let granted = uid(&types.granted, grant.role.as_str());
        entities.insert(granted.clone(), Entity::new(granted.clone(), HashMap::new(), HashSet::from([role])).ok()?);
        roles.insert(granted);
    }
    Some(roles)
}

fn add_role(entities: &mut Known, types: &Types, role: Role) -> EntityUid {
    let uid = uid(&types.role, role.as_str());
    entities.insert(uid.clone(), Entity::new_no_attrs(uid.clone(), HashSet::new()));
    uid
}

fn add_place(entities: &mut Known, types: &Types, place: &Place) -> Option<EntityUid> {
    match place {
        Place::Environment(environment) => add_environment(entities, types, environment),
        Place::Scope(scope) => add_scope(entities, types, scope),
    }
}

fn add_environment(entities: &mut Known, types: &Types, environment: &Environment) -> Option<EntityUid> {
    let uid = uid(&types.environment, environment.as_str());
    let attributes =
        HashMap::from([("environment".to_owned(), reference(&uid)), ("path".to_owned(), text(environment.as_str()))]);
    entities.insert(uid.clone(), Entity::new(uid.clone(), attributes, HashSet::new()).ok()?);
    Some(uid)
}

fn add_scope(entities: &mut Known, types: &Types, scope: &Scope) -> Option<EntityUid> {
    let environment = add_environment(entities, types, &scope.environment)?;
    let path = scope.path();
    let uid = uid(&types.scope, &path);
    let attributes =
        HashMap::from([("environment".to_owned(), reference(&environment)), ("path".to_owned(), text(&path))]);
    entities.insert(uid.clone(), Entity::new(uid.clone(), attributes, HashSet::from([environment])).ok()?);
    Some(uid)
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

fn reference(uid: &EntityUid) -> RestrictedExpression {
    RestrictedExpression::new_entity_uid(uid.clone())
}

fn text(text: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(text.to_owned())
}
