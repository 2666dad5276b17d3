//! The access policies: parsed, checked against their schema, and refused when they permit without saying to whom.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use cedar_policy::{
    ActionConstraint, Authorizer, Effect, Entities, EntityId, EntityTypeName, EntityUid, Policy, PolicyId, PolicySet,
    PrincipalConstraint, ResourceConstraint, Schema, ValidationMode, Validator,
};
use creta_model::EnvironmentClass;
use serde_json::Value as Json;

use crate::{Action, IamError, Level, PrincipalKey, Role};

pub(crate) const SCHEMA: &str = include_str!("../policies/creta.cedarschema");
pub(crate) const BUILT_IN: [&str; 4] = [
    include_str!("../policies/programs.cedar"),
    include_str!("../policies/people.cedar"),
    include_str!("../policies/features.cedar"),
    include_str!("../policies/boundaries.cedar"),
];

/// Commitments that a policy may name as the one it keeps.
const COMMITMENTS: &[&str] =
    &["CH-03", "CH-14", "CH-16", "CH-17", "CH-19", "CH-20", "CH-25", "CH-33", "CH-35", "CI-20", "CI-22"];

const STRIPES: usize = 256;

/// The access policies, parsed and validated. Built once; deciding takes a reference.
#[derive(Debug)]
pub struct Policies {
    pub(crate) schema: Schema,
    pub(crate) set: PolicySet,
    pub(crate) authorizer: Authorizer,
    pub(crate) types: Types,
    actions: Entities,
    slices: HashMap<(PrincipalKind, &'static str), OnceLock<PolicySet>>,
    class: EnvironmentClass,
    notes: HashMap<String, Notes>,
    all: AtomicU64,
    own: [AtomicU64; STRIPES],
}

/// Kinds of principals that policies tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum PrincipalKind {
    Administrator,
    ServiceAccount,
    Person,
}

/// What the policies are asked about one feature, and what a yes gives of it.
pub(crate) const FEATURE_QUESTIONS: [(&str, Level); 4] = [
    ("feature.return", Level::Allow),
    ("feature.return-tokenised", Level::Tokenised),
    ("feature.return-masked", Level::Masked),
    ("feature.use", Level::Internal),
];

/// Everything that the policies can be asked: each action, and the questions about a feature.
pub(crate) fn questions() -> impl Iterator<Item = &'static str> {
    Action::ALL.iter().map(|action| action.as_str()).chain(FEATURE_QUESTIONS.map(|(question, _)| question))
}

/// What the annotations of a policy say.
#[derive(Debug, Clone, Copy)]
struct Notes {
    role: Option<Role>,
    commitment: Option<&'static str>,
}

#[derive(Debug)]
pub(crate) struct Types {
    pub(crate) environment: EntityTypeName,
    pub(crate) scope: EntityTypeName,
    pub(crate) role: EntityTypeName,
    pub(crate) granted: EntityTypeName,
    pub(crate) administrator: EntityTypeName,
    pub(crate) service_account: EntityTypeName,
    pub(crate) person: EntityTypeName,
    pub(crate) action: EntityTypeName,
}

impl PrincipalKind {
    pub(crate) const ALL: [Self; 3] = [Self::Administrator, Self::ServiceAccount, Self::Person];
}

impl Policies {
    /// Parses and strictly validates the policies that ship with this build, for an environment of class development. A few
    /// milliseconds.
    pub fn load() -> Result<Self, IamError> {
        Self::parse_with("")
    }

    /// As [`Policies::load`], together with policies of one's own. Theirs may permit and forbid more; a permit with the id of
    /// a built-in permit takes its place. Built-in forbids stay, whatever is added.
    ///
    /// Refused are policies without `@id`, policies that do not agree with the schema, an id that is there already, and a
    /// permit that leaves open who, what or where, and policies that name somebody or some place.
    pub fn parse_with(custom: &str) -> Result<Self, IamError> {
        let custom = named(custom)?;
        let mut all = Vec::new();
        for text in BUILT_IN {
            for policy in named(text)? {
                let replaced = policy.effect() == Effect::Permit
                    && custom.iter().any(|own| own.id() == policy.id() && own.effect() == Effect::Permit);
                if !replaced {
                    all.push(policy);
                }
            }
        }
        all.extend(custom);
        all.iter().try_for_each(require_no_wildcard)?;
        all.iter().try_for_each(require_nobody_named)?;
        Self::of(SCHEMA, all)
    }

    /// The same policies in an environment of `class`. Of the class here and the one in a person's
    /// [`Standing`](crate::Standing) the stricter counts, so that a slip in filling in one of them opens nothing.
    #[must_use]
    pub fn in_class(mut self, class: EnvironmentClass) -> Self {
        self.class = class;
        self
    }

    /// The class that counts at least.
    pub fn class(&self) -> EnvironmentClass {
        self.class
    }

    pub(crate) fn of(schema: &str, policies: Vec<Policy>) -> Result<Self, IamError> {
        let (schema, warnings) = Schema::from_cedarschema_str(schema).map_err(refused)?;
        if let Some(warning) = warnings.into_iter().next() {
            return Err(refused(warning));
        }
        let mut set = PolicySet::new();
        let mut notes = HashMap::new();
        for policy in policies {
            notes.insert(policy.id().to_string(), Notes::of(&policy)?);
            set.add(policy).map_err(refused)?;
        }
        let result = Validator::new(schema.clone()).validate(&set, ValidationMode::Strict);
        if !result.validation_passed_without_warnings() {
            return Err(refused(result));
        }
        let name = |text: &str| EntityTypeName::from_str(text).map_err(refused);
        let types = Types {
            environment: name("Creta::Environment")?,
            scope: name("Creta::Scope")?,
            role: name("Creta::Role")?,
            granted: name("Creta::Granted")?,
            administrator: name("Creta::Administrator")?,
            service_account: name("Creta::ServiceAccount")?,
            person: name("Creta::Person")?,
            action: name("Creta::Action")?,
        };
        let slices = PrincipalKind::ALL
            .into_iter()
            .flat_map(|kind| questions().map(move |asked| ((kind, asked), OnceLock::new())));
        Ok(Self {
            slices: slices.collect(),
            actions: schema.action_entities().map_err(refused)?,
            schema,
            set,
            authorizer: Authorizer::new(),
            types,
            class: EnvironmentClass::Development,
            notes,
            all: AtomicU64::new(0),
            own: [const { AtomicU64::new(0) }; STRIPES],
        })
    }

    /// The policies that can have a say when principals of that kind ask for `action`, by what stands before their conditions.
    /// Others never apply, so leaving them out changes no answer and spares most of the time.
    pub(crate) fn slice(&self, kind: PrincipalKind, action: &'static str) -> &PolicySet {
        let slice = self.slices.get(&(kind, action)).expect("all kinds and questions have a slice");
        slice.get_or_init(|| {
            let policies = self.set.policies().filter(|policy| self.can_apply(policy, kind, action));
            PolicySet::from_policies(policies.cloned()).expect("a part of a set is a set")
        })
    }

    pub(crate) fn can_apply(&self, policy: &Policy, kind: PrincipalKind, action: &str) -> bool {
        let own = match kind {
            PrincipalKind::Administrator => &self.types.administrator,
            PrincipalKind::ServiceAccount => &self.types.service_account,
            PrincipalKind::Person => &self.types.person,
        };
        let of_kind = match policy.principal_constraint() {
            PrincipalConstraint::Is(kind) | PrincipalConstraint::IsIn(kind, _) => kind == *own,
            PrincipalConstraint::Any | PrincipalConstraint::In(_) | PrincipalConstraint::Eq(_) => true,
        };
        let asked = EntityUid::from_type_name_and_id(self.types.action.clone(), EntityId::new(action));
        let is_in = |group: &EntityUid| *group == asked || self.actions.is_ancestor_of(group, &asked);
        of_kind
            && match policy.action_constraint() {
                ActionConstraint::Any => true,
                ActionConstraint::Eq(action) => action == asked,
                ActionConstraint::In(groups) => groups.iter().any(is_in),
            }
    }

    /// Texts that conditions compare with: tags and purposes, without the words that classes and devices are compared with.
    pub(crate) fn words(&self) -> Result<BTreeSet<String>, IamError> {
        words_in(&self.set)
    }

    /// Whether any condition looks at this attribute.
    pub(crate) fn mentions(&self, attribute: &str) -> Result<bool, IamError> {
        for policy in self.set.policies() {
            if mentions(&policy.to_json().map_err(refused)?["conditions"], attribute) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The role whose people a policy is about, if it is about one.
    pub(crate) fn role_of(&self, policy: &str) -> Option<Role> {
        self.notes.get(policy)?.role
    }

    /// The commitment that a policy keeps by forbidding.
    pub(crate) fn commitment_of(&self, policy: &str) -> Option<&'static str> {
        self.notes.get(policy)?.commitment
    }

    /// The present epoch of a principal. A decision belongs to the epoch it was made in; caches use none of an earlier one.
    /// It never decreases, and grows with [`Policies::start_epoch`] and [`Policies::start_epoch_of`].
    pub fn epoch_of(&self, principal: &PrincipalKey) -> u64 {
        // Both only grow, so the sum is the same at two moments only if neither grew in between.
        self.all.load(Ordering::Acquire) + self.stripe(principal).load(Ordering::Acquire)
    }

    /// Starts a new epoch for everybody, so that no cached decision is used again.
    pub fn start_epoch(&self) {
        self.all.fetch_add(1, Ordering::AcqRel);
    }

    /// Starts a new epoch for one principal: what was decided for it is not used again. Called when it, a role or a grant of
    /// it is revoked. One in 256 others is asked again as well, which costs time and nothing else.
    pub fn start_epoch_of(&self, principal: &PrincipalKey) {
        self.stripe(principal).fetch_add(1, Ordering::AcqRel);
    }

    fn stripe(&self, principal: &PrincipalKey) -> &AtomicU64 {
        let mut hasher = DefaultHasher::new();
        principal.hash(&mut hasher);
        &self.own[usize::try_from(hasher.finish() % STRIPES as u64).expect("less than the number of stripes")]
    }
}

impl Notes {
    fn of(policy: &Policy) -> Result<Self, IamError> {
        let role = policy.annotation("role").map(Role::parse).transpose()?;
        let commitment = match policy.annotation("commitment") {
            None => None,
            Some(given) => {
                let known = COMMITMENTS.iter().find(|known| **known == given);
                Some(*known.ok_or_else(|| refused(format!("policy `{}` keeps no known commitment", policy.id())))?)
            }
        };
        Ok(Self { role, commitment })
    }
}

/// The policies of a text, each under the name in its `@id`.
pub(crate) fn named(text: &str) -> Result<Vec<Policy>, IamError> {
    let set = PolicySet::from_str(text).map_err(refused)?;
    if set.templates().next().is_some() {
        return Err(refused("templates are not used here; write a policy, and give roles and grants as data"));
    }
    let id = |policy: &Policy| match policy.annotation("id") {
        Some(id) if !id.is_empty() => Ok(policy.new_id(PolicyId::new(id))),
        _ => Err(refused("a policy has no `@id`, which the log needs")),
    };
    set.policies().map(id).collect()
}

/// A permit says who, what and where; it may not leave one of them open.
fn require_no_wildcard(policy: &Policy) -> Result<(), IamError> {
    if policy.effect() == Effect::Forbid {
        return Ok(());
    }
    let open = [
        ("principal", matches!(policy.principal_constraint(), PrincipalConstraint::Any)),
        ("action", matches!(policy.action_constraint(), ActionConstraint::Any)),
        ("resource", matches!(policy.resource_constraint(), ResourceConstraint::Any)),
    ];
    match open.iter().find(|(_, open)| *open) {
        None => Ok(()),
        Some((what, _)) => Err(IamError::Wildcard { policy: policy.id().to_string(), open: what }),
    }
}

/// Texts that conditions of a set compare with, as [`Policies::words`].
pub(crate) fn words_in(set: &PolicySet) -> Result<BTreeSet<String>, IamError> {
    let mut words = BTreeSet::new();
    for policy in set.policies() {
        collect_texts(&policy.to_json().map_err(refused)?["conditions"], &mut words);
    }
    Ok(words)
}

fn collect_texts(json: &Json, texts: &mut BTreeSet<String>) {
    // Every class and every kind of device is asked about by itself. Elsewhere `production` is a tag as any other.
    let is_known = |json: &Json| matches!(json["."]["attr"].as_str(), Some("class" | "device"));
    let are_known = |one: &Json, other: &Json| is_known(one) && is_literal(other);
    match json {
        Json::Object(_) if are_known(&json["left"], &json["right"]) || are_known(&json["right"], &json["left"]) => {}
        Json::Object(members) => {
            members.get("Value").into_iter().for_each(|value| collect_literal(value, texts));
            members.values().for_each(|member| collect_texts(member, texts));
        }
        Json::Array(items) => items.iter().for_each(|item| collect_texts(item, texts)),
        _ => {}
    }
}

/// A text or a set of texts, written out.
fn is_literal(json: &Json) -> bool {
    json["Value"].is_string() || json["Set"].as_array().is_some_and(|items| items.iter().all(is_literal))
}

fn collect_literal(json: &Json, texts: &mut BTreeSet<String>) {
    match json {
        Json::String(text) => drop(texts.insert(text.clone())),
        Json::Array(items) => items.iter().for_each(|item| collect_literal(item, texts)),
        _ => {}
    }
}

fn mentions(json: &Json, attribute: &str) -> bool {
    match json {
        Json::Object(members) => {
            members.get("attr").and_then(Json::as_str) == Some(attribute)
                || members.values().any(|member| mentions(member, attribute))
        }
        Json::Array(items) => items.iter().any(|item| mentions(item, attribute)),
        _ => false,
    }
}

/// Policies speak of roles, actions and kinds of place. One that names a person, a tenant or a pattern would be a grant in
/// disguise, and its effect could not be compared.
fn require_nobody_named(policy: &Policy) -> Result<(), IamError> {
    let json = policy.to_json().map_err(refused)?;
    let heads = ["principal", "action", "resource"].map(|part| &json[part]);
    if heads.into_iter().chain([&json["conditions"]]).any(names_somebody) {
        return Err(IamError::Named { policy: policy.id().to_string() });
    }
    Ok(())
}

fn names_somebody(json: &Json) -> bool {
    const KINDS: [&str; 3] = ["Creta::Role", "Creta::Granted", "Creta::Action"];
    let is_kind = |entity: &Json| entity["type"].as_str().is_some_and(|kind| KINDS.contains(&kind));
    let is_path = |json: &Json| matches!(json["."]["attr"].as_str(), Some("home" | "path"));
    match json {
        Json::Object(members) => members.iter().any(|(key, member)| match key.as_str() {
            "like" => true,
            "entity" | "__entity" => !is_kind(member),
            // A path is compared with another path, never with the name of one.
            "left" | "right" if is_path(member) => !(is_path(&json["left"]) && is_path(&json["right"])),
            _ => names_somebody(member),
        }),
        Json::Array(items) => items.iter().any(names_somebody),
        _ => false,
    }
}

pub(crate) fn refused(reason: impl ToString) -> IamError {
    IamError::Policies { reason: reason.to_string() }
}

#[cfg(test)]
#[path = "policies_tests.rs"]
mod tests;
