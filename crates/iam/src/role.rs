//! Sets of actions with a name, for people and for programs.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::IamError;

/// A set of actions with a name. What each may do stands in `policies/`, and as a table in `tests/golden/iam/roles.case`.
///
/// People and programs both have developers. A person's role that a program is given, or the other way round, allows
/// nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Person: reads the catalogue and asks for features, personal data masked.
    Viewer,
    /// Person: builds training sets too.
    DataScientist,
    /// Person or program: deploys definitions and ingests facts, and does all that a data scientist or reader does.
    Developer,
    /// Person: looks after tenants, service accounts and the running of an environment.
    Operator,
    /// Person: approves access, policies, declassifications and exceptions, and decides on reports.
    SecurityLead,
    /// Person: reads the log, the trust report, policies and reviews.
    Auditor,
    /// Person: makes tenants, assigns roles and proposes policies.
    Administrator,
    /// Program: asks for features and training sets, and reads the catalogue.
    Reader,
    /// Program: deploys, checks and compares definitions. Never sees data.
    Deployer,
    /// Program: ingests facts and reads nothing.
    Ingester,
    /// Program: writes people as a directory says (SCIM), and does nothing else.
    Provisioner,
    /// Program: fetches copies of an environment's sealed files. Never sees a key or a value.
    Backup,
    /// Program: reads the server's metrics, and does nothing else.
    Monitor,
    /// Program: the checks of a server on itself. Nobody logs in as one.
    Checker,
}

impl Role {
    /// All roles.
    pub const ALL: &'static [Role] = &[
        Role::Viewer,
        Role::DataScientist,
        Role::Developer,
        Role::Operator,
        Role::SecurityLead,
        Role::Auditor,
        Role::Administrator,
        Role::Reader,
        Role::Deployer,
        Role::Ingester,
        Role::Provisioner,
        Role::Backup,
        Role::Monitor,
        Role::Checker,
    ];

    /// The roles that people can have.
    pub const OF_PEOPLE: &'static [Role] = &[
        Role::Viewer,
        Role::DataScientist,
        Role::Developer,
        Role::Operator,
        Role::SecurityLead,
        Role::Auditor,
        Role::Administrator,
    ];

    /// The roles that service accounts can have.
    pub const OF_PROGRAMS: &'static [Role] = &[
        Role::Developer,
        Role::Reader,
        Role::Deployer,
        Role::Ingester,
        Role::Provisioner,
        Role::Backup,
        Role::Monitor,
        Role::Checker,
    ];

    /// The name, for example `data-scientist`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::DataScientist => "data-scientist",
            Role::Developer => "developer",
            Role::Operator => "operator",
            Role::SecurityLead => "security-lead",
            Role::Auditor => "auditor",
            Role::Administrator => "administrator",
            Role::Reader => "reader",
            Role::Deployer => "deployer",
            Role::Ingester => "ingester",
            Role::Provisioner => "provisioner",
            Role::Backup => "backup",
            Role::Monitor => "monitor",
            Role::Checker => "checker",
        }
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Result<Self, IamError> {
        Self::parse_among(text, Self::ALL)
    }

    /// Reads the text form of a role that people can have.
    pub fn parse_of_person(text: &str) -> Result<Self, IamError> {
        Self::parse_among(text, Self::OF_PEOPLE)
    }

    /// Reads the text form of a role that service accounts can have.
    pub fn parse_of_program(text: &str) -> Result<Self, IamError> {
        Self::parse_among(text, Self::OF_PROGRAMS)
    }

    /// As [`Role::parse_of_person`], for `#[serde(deserialize_with)]`.
    pub fn deserialize_of_person<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse_of_person(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }

    /// As [`Role::parse_of_program`], for `#[serde(deserialize_with)]`.
    pub fn deserialize_of_program<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse_of_program(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }

    fn parse_among(text: &str, among: &'static [Role]) -> Result<Self, IamError> {
        let found = among.iter().find(|role| role.as_str() == text);
        found.copied().ok_or_else(|| IamError::UnknownRole { given: text.to_owned(), among })
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

pub(crate) fn quoted(roles: &[Role]) -> String {
    let quoted: Vec<String> = roles.iter().map(|role| format!("`{role}`")).collect();
    quoted.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_writing_and_reading() {
        for role in Role::ALL {
            assert_eq!(Role::parse(role.as_str()).expect("own form"), *role);
            assert_eq!(serde_json::to_string(role).expect("serializes"), format!("\"{role}\""));
            assert!(Role::OF_PEOPLE.contains(role) || Role::OF_PROGRAMS.contains(role), "{role} is of somebody");
            assert_eq!(Role::parse_of_person(role.as_str()).is_ok(), Role::OF_PEOPLE.contains(role));
            assert_eq!(Role::parse_of_program(role.as_str()).is_ok(), Role::OF_PROGRAMS.contains(role));
        }
        let message = Role::parse_of_program("viewer").expect_err("of people").to_string();
        assert_eq!(
            message,
            "`viewer` is not a role here; use one of `developer`, `reader`, `deployer`, `ingester`, `provisioner`, `backup`, `monitor`, `checker`"
        );
    }
}
