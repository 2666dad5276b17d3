//! The access policies: parsed, checked against their schema, and refused when they permit without saying to whom.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use cedar_policy::{
    ActionConstraint, Authorizer, Effect, EntityTypeName, Policy, PolicyId, PolicySet, PrincipalConstraint,
    ResourceConstraint, Schema, ValidationMode, Validator,
};
use creta_model::EnvironmentClass;

use crate::{IamError, PrincipalKey, Role};

pub(crate) const SCHEMA: &str = include_str!("../policies/creta.cedarschema");
pub(crate) const BUILT_IN: [&str; 4] = [
    include_str!("../policies/programs.cedar"),
    include_str!("../policies/people.cedar"),
    include_str!("../policies/features.cedar"),
    include_str!("../policies/boundaries.cedar"),
];

/// Commitments that a policy may name as the one it keeps.
const COMMITMENTS: &[&str] =
    &["CH-03", "CH-14", "CH-16", "CH-17", "CH-20", "CH-25", "CH-33", "CH-35", "CI-20", "CI-22"];

const STRIPES: usize = 256;

/// The access policies, parsed and validated. Built once; deciding takes a reference.
#[derive(Debug)]
pub struct Policies {
    pub(crate) schema: Schema,
    pub(crate) set: PolicySet,
    pub(crate) authorizer: Authorizer,
    pub(crate) types: Types,
    class: EnvironmentClass,
    notes: HashMap<String, Notes>,
    all: AtomicU64,
    own: [AtomicU64; STRIPES],
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
    /// permit that leaves open who, what or where: a wildcard permits what nobody thought of.
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
        Ok(Self {
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

pub(crate) fn refused(reason: impl ToString) -> IamError {
    IamError::Policies { reason: reason.to_string() }
}

#[cfg(test)]
#[path = "policies_tests.rs"]
mod tests;
