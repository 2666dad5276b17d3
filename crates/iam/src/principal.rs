//! Who acts: the local administrator of an environment, a service account of one scope, or a person.

use std::fmt;
use std::sync::Arc;

use creta_model::{Environment, Scope};
use serde::{Deserialize, Serialize};

use crate::{IamError, Person, Place, Role, control_plane, is_reserved};

/// Name of a principal, unique among the administrators of an environment or the service accounts of a scope.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PrincipalId(Arc<str>);

impl PrincipalId {
    /// 1 to 64 lowercase letters, digits, `-`, `_`, `.` and `@`, starting with a letter or digit. ASCII only, so that no
    /// two principals look alike.
    pub fn parse(text: &str) -> Result<Self, IamError> {
        let bytes = text.as_bytes();
        let plain = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let valid = (1..=64).contains(&bytes.len())
            && bytes.first().is_some_and(plain)
            && bytes.iter().all(|b| plain(b) || b"-_.@".contains(b));
        if valid { Ok(Self(text.into())) } else { Err(IamError::PrincipalId { given: text.to_owned() }) }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for PrincipalId {
    type Error = IamError;
    fn try_from(text: String) -> Result<Self, IamError> {
        Self::parse(&text)
    }
}

impl From<PrincipalId> for String {
    fn from(id: PrincipalId) -> String {
        id.0.as_ref().to_owned()
    }
}

impl fmt::Display for PrincipalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who acts. It comes from authentication, never from a header or a body.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Principal {
    /// The local account that runs one environment: makes tenants and service accounts, reads the log, and sees no feature
    /// data. In environments of class production it can only break the seal of the emergency account.
    Administrator {
        /// Who.
        id: PrincipalId,
        /// The environment it runs.
        environment: Environment,
    },
    /// A program of one tenant in one environment, or of the environment itself.
    ServiceAccount {
        /// Who.
        id: PrincipalId,
        /// The only scope it can act in.
        scope: Scope,
        /// What it may do there.
        role: Role,
    },
    /// A human, signed in.
    Person(Person),
}

/// Who a principal is, whatever it may do at the moment: what revocation and grants go by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PrincipalKey {
    kind: &'static str,
    home: Place,
    id: PrincipalId,
}

impl PrincipalKey {
    /// The key of the person `id` of `home`.
    pub fn person(id: PrincipalId, home: Place) -> Self {
        Self { kind: PERSON, home, id }
    }

    /// Whether it is a person.
    pub fn is_person(&self) -> bool {
        self.kind == PERSON
    }

    /// Who.
    pub fn id(&self) -> &PrincipalId {
        &self.id
    }

    /// Where they belong.
    pub fn home(&self) -> &Place {
        &self.home
    }
}

const ADMINISTRATOR: &str = "administrator";
const SERVICE_ACCOUNT: &str = "service-account";
const PERSON: &str = "person";

impl Principal {
    /// An administrator of `environment`.
    pub fn administrator(id: PrincipalId, environment: Environment) -> Self {
        Self::Administrator { id, environment }
    }

    /// A service account of `scope`.
    pub fn service_account(id: PrincipalId, scope: Scope, role: Role) -> Self {
        Self::ServiceAccount { id, scope, role }
    }

    /// A service account of the environment itself, for example the one by which the company's directory provisions staff.
    pub fn environment_account(id: PrincipalId, environment: &Environment, role: Role) -> Self {
        Self::ServiceAccount { id, scope: control_plane(environment), role }
    }

    /// Who it is, without what it may do.
    pub fn key(&self) -> PrincipalKey {
        PrincipalKey { kind: self.kind(), home: self.home(), id: self.id().clone() }
    }

    /// Where it belongs. For a service account of the environment that is the environment.
    pub fn home(&self) -> Place {
        match self {
            Self::Administrator { environment, .. } => Place::Environment(environment.clone()),
            Self::ServiceAccount { scope, .. } if is_reserved(&scope.tenant) => {
                Place::Environment(scope.environment.clone())
            }
            Self::ServiceAccount { scope, .. } => Place::Scope(scope.clone()),
            Self::Person(person) => person.home().clone(),
        }
    }

    /// The person, if it is one.
    pub fn person(&self) -> Option<&Person> {
        match self {
            Self::Person(person) => Some(person),
            Self::Administrator { .. } | Self::ServiceAccount { .. } => None,
        }
    }

    /// Who.
    pub fn id(&self) -> &PrincipalId {
        match self {
            Self::Administrator { id, .. } | Self::ServiceAccount { id, .. } => id,
            Self::Person(person) => person.id(),
        }
    }

    /// `administrator`, `service-account` or `person`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Administrator { .. } => ADMINISTRATOR,
            Self::ServiceAccount { .. } => SERVICE_ACCOUNT,
            Self::Person(_) => PERSON,
        }
    }

    /// The environment it belongs to: every principal has exactly one.
    pub fn environment(&self) -> &Environment {
        match self {
            Self::Administrator { environment, .. } => environment,
            Self::ServiceAccount { scope, .. } => &scope.environment,
            Self::Person(person) => person.home().environment(),
        }
    }

    /// The scope it belongs to; administrators and staff belong to no tenant.
    pub fn scope(&self) -> Option<&Scope> {
        match self {
            Self::Administrator { .. } => None,
            Self::ServiceAccount { scope, .. } => Some(scope),
            Self::Person(person) => person.home().scope(),
        }
    }

    /// The role of a service account. Administrators have none; people have a [`Standing`](crate::Standing).
    pub const fn role(&self) -> Option<Role> {
        match self {
            Self::Administrator { .. } | Self::Person(_) => None,
            Self::ServiceAccount { role, .. } => Some(*role),
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Administrator { id, environment } => write!(f, "administrator `{id}` of `{environment}`"),
            Self::ServiceAccount { id, scope, role } => write!(f, "{role} `{id}` of `{scope}`"),
            Self::Person(person) => write!(f, "person `{}` of {}", person.id(), person.home()),
        }
    }
}

#[cfg(test)]
mod tests {
    use creta_model::EnvironmentClass;

    use super::*;
    use crate::Standing;

    #[test]
    fn ids_that_look_alike_or_carry_structure_are_refused() {
        for bad in ["", "-a", "Ana", "ana b", "a/b", "a\"b", "a\nb", "аna", &"a".repeat(65)] {
            assert!(PrincipalId::parse(bad).is_err(), "{bad:?} must be refused");
            assert!(serde_json::from_value::<PrincipalId>(serde_json::json!(bad)).is_err(), "{bad:?} in JSON too");
        }
        for good in ["a", "7", "ana@example.com", "etl-nightly_2", &"a".repeat(64)] {
            assert_eq!(PrincipalId::parse(good).expect("valid").as_str(), good);
        }
    }

    #[test]
    fn principals_survive_writing_and_reading() {
        let id = PrincipalId::parse("etl").expect("valid");
        let scope = Scope::parse("acme", "prod").expect("valid");
        for principal in [
            Principal::administrator(id.clone(), scope.environment.clone()),
            Principal::service_account(id.clone(), scope.clone(), Role::Reader),
        ] {
            let json = serde_json::to_string(&principal).expect("serializes");
            assert_eq!(serde_json::from_str::<Principal>(&json).expect("own form"), principal);
        }
        let unknown_field = r#"{"kind":"administrator","id":"a","environment":"prod","tenant":"acme"}"#;
        assert!(serde_json::from_str::<Principal>(unknown_field).is_err());
    }

    #[test]
    fn attack_ch17_a_person_is_written_without_standing_and_read_with_none() {
        let id = PrincipalId::parse("ana").expect("valid");
        let scope = Scope::parse("acme", "prod").expect("valid");
        for (home, json) in [
            (
                Place::Scope(scope.clone()),
                r#"{"kind":"person","id":"ana","home":{"environment":"prod","tenant":"acme"}}"#,
            ),
            (
                Place::Environment(scope.environment.clone()),
                r#"{"kind":"person","id":"ana","home":{"environment":"prod"}}"#,
            ),
        ] {
            let class = EnvironmentClass::Development;
            let standing = Standing { roles: [Role::Developer].into(), ..Standing::none(class) };
            let person = Principal::Person(Person::new(id.clone(), home.clone(), standing));
            assert_eq!(serde_json::to_string(&person).expect("serializes"), json);
            let read: Principal = serde_json::from_str(json).expect("own form");
            assert_eq!(read.key(), person.key());
            let none = Standing::none(EnvironmentClass::Production);
            assert_eq!(read.person().map(Person::standing), Some(&none), "the strictest there is");
        }
        let with_roles = r#"{"kind":"person","id":"ana","home":{"environment":"prod"},"roles":["developer"]}"#;
        assert!(serde_json::from_str::<Principal>(with_roles).is_err());
        let with_scope = r#"{"kind":"person","id":"ana","home":{"environment":"prod","scope":"acme"}}"#;
        assert!(serde_json::from_str::<Principal>(with_scope).is_err());
    }

    #[test]
    fn keys_tell_principals_apart_by_kind_home_and_id() {
        let id = |text| PrincipalId::parse(text).expect("valid");
        let scope = Scope::parse("acme", "prod").expect("valid");
        let environment = scope.environment.clone();
        let person =
            |name, home| Principal::Person(Person::new(id(name), home, Standing::none(EnvironmentClass::Staging)));
        let all = [
            Principal::administrator(id("ana"), environment.clone()),
            Principal::service_account(id("ana"), scope.clone(), Role::Reader),
            Principal::environment_account(id("ana"), &environment, Role::Provisioner),
            person("ana", Place::Environment(environment)),
            person("ana", Place::Scope(scope.clone())),
            person("bob", Place::Scope(scope.clone())),
        ];
        let keys: std::collections::BTreeSet<PrincipalKey> = all.iter().map(Principal::key).collect();
        assert_eq!(keys.len(), all.len());
        let other_role = Principal::service_account(id("ana"), scope, Role::Developer);
        assert!(keys.contains(&other_role.key()), "what it may do is no part of who it is");
    }
}
