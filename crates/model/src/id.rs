//! Names and identifiers, checked once at the edge so that the rest of the system can trust them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a valid {what}: {rule}")]
pub struct InvalidName {
    /// What the name was meant to be, in the user's words.
    pub what: &'static str,
    /// The rejected text.
    pub given: String,
    /// The rule it broke.
    pub rule: &'static str,
}

const LABEL_RULE: &str =
    "use 2 to 40 lowercase letters, digits and single hyphens, starting with a letter and not ending with a hyphen";

fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    (2..=40).contains(&bytes.len())
        && bytes[0].is_ascii_lowercase()
        && bytes[bytes.len() - 1] != b'-'
        && !text.contains("--")
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

const IDENTIFIER_RULE: &str = "use a letter followed by at most 99 letters, digits and underscores";

/// A Python identifier of ASCII letters, digits and underscores that does not start with an underscore.
fn is_identifier(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=100).contains(&bytes.len())
        && bytes[0].is_ascii_alphabetic()
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_')
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:ident, $rule:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks `text`; the error names the rule that was broken.
            pub fn parse(text: impl Into<String>) -> Result<Self, InvalidName> {
                let text = text.into();
                if $check(&text) {
                    Ok(Self(text))
                } else {
                    Err(InvalidName { what: $what, given: text, rule: $rule })
                }
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                Self::parse(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type!(
    /// Who owns the data. ASCII only, so that no two tenants look alike.
    TenantId, "tenant name", is_label, LABEL_RULE
);
name_type!(
    /// Which deployment of the data: `prod`, `staging`, `dev`.
    Environment, "environment name", is_label, LABEL_RULE
);
name_type!(
    /// Name of an entity, feature, relation, resolver or query: one Python identifier.
    Name, "name", is_identifier, IDENTIFIER_RULE
);

/// How much depends on an environment: what rules people and programs work under there. Set once, in `config.toml`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EnvironmentClass {
    /// Made-up data; the first administrator may do everything.
    #[default]
    Development,
    /// As production in form, without its data and credentials.
    Staging,
    /// Customers' data. People have no standing access.
    Production,
}

impl EnvironmentClass {
    /// All classes, the least strict first.
    pub const ALL: [EnvironmentClass; 3] = [Self::Development, Self::Staging, Self::Production];

    /// The word in files and on pages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Staging => "staging",
            Self::Production => "production",
        }
    }

    /// The class of a word; the error names the words there are.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let found = Self::ALL.into_iter().find(|class| class.as_str() == text);
        found.ok_or_else(|| InvalidName {
            what: "environment class",
            given: text.to_owned(),
            rule: "use `development`, `staging` or `production`",
        })
    }
}

impl fmt::Display for EnvironmentClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The tenant and environment that own a byte. There is no default and no global scope: every storage path, key, cache
/// entry, queue and metric label is built from one.
///
/// On a server the only source of a `Scope` is the authenticated principal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// Who owns the data.
    pub tenant: TenantId,
    /// Which deployment of it.
    pub environment: Environment,
}

impl Scope {
    /// Both parts, already checked.
    pub fn new(tenant: TenantId, environment: Environment) -> Self {
        Self { tenant, environment }
    }

    /// Checks both parts.
    pub fn parse(tenant: &str, environment: &str) -> Result<Self, InvalidName> {
        Ok(Self { tenant: TenantId::parse(tenant)?, environment: Environment::parse(environment)? })
    }

    /// `environment/tenant`: an injective storage prefix, since neither part may hold a slash.
    pub fn path(&self) -> String {
        format!("{}/{}", self.environment, self.tenant)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.environment, self.tenant)
    }
}

/// Stable number of an entity in its scope. Names map to it by version, so a rename keeps its history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EntityId(pub u32);

/// Stable number of a feature in its scope, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FeatureId(pub u32);

impl fmt::Display for EntityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "e{}", self.0)
    }
}

impl fmt::Display for FeatureId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "f{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn look_alike_and_path_like_tenants_are_refused() {
        for bad in ["", "a", "Acme", "acme/..", "аcme", "acme-", "-acme", "ac--me", "acme corp", &"a".repeat(41)] {
            assert!(TenantId::parse(bad).is_err(), "{bad:?} must be refused");
        }
        for good in ["acme", "a1", "acme-eu-1"] {
            assert_eq!(TenantId::parse(good).expect("valid").as_str(), good);
        }
    }

    #[test]
    fn a_class_is_the_same_word_everywhere_and_development_unless_said() {
        for class in EnvironmentClass::ALL {
            assert_eq!(EnvironmentClass::parse(class.as_str()), Ok(class));
            assert_eq!(serde_json::to_value(class).expect("JSON"), class.as_str());
        }
        for bad in ["", "prod", "Production", "production "] {
            assert!(EnvironmentClass::parse(bad).is_err(), "{bad:?} must be refused");
        }
        assert_eq!(EnvironmentClass::default(), EnvironmentClass::Development);
        assert!(EnvironmentClass::Staging < EnvironmentClass::Production);
    }

    #[test]
    fn names_are_python_identifiers() {
        for bad in ["", "_hidden", "1st", "é", "a-b", "a.b"] {
            assert!(Name::parse(bad).is_err(), "{bad:?} must be refused");
        }
        assert!(Name::parse("dep_delay").is_ok());
    }
}
