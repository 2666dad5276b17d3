//! A human who acts, and what is true of their sign-in at this moment.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use creta_model::EnvironmentClass;
use serde::{Deserialize, Serialize};

use crate::{IamError, Place, PrincipalId, Role};

/// A human. Whoever belongs to an environment is staff of the company that runs it; whoever belongs to a scope is a
/// tenant's own and acts there only.
///
/// Only the id and the home are written and read: what is read has no standing at all ([`Standing::none`]).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Person {
    id: PrincipalId,
    home: Place,
    standing: Arc<Standing>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    id: PrincipalId,
    home: Place,
}

impl From<Written> for Person {
    fn from(Written { id, home }: Written) -> Self {
        Self::new(id, home, Standing::none(EnvironmentClass::Production))
    }
}

impl From<Person> for Written {
    fn from(person: Person) -> Self {
        Self { id: person.id, home: person.home }
    }
}

impl Person {
    /// A person as they stand now. The server makes one per request, from its records.
    pub fn new(id: PrincipalId, home: Place, standing: Standing) -> Self {
        Self { id, home, standing: Arc::new(standing) }
    }

    /// Who.
    pub fn id(&self) -> &PrincipalId {
        &self.id
    }

    /// Where they belong.
    pub fn home(&self) -> &Place {
        &self.home
    }

    /// What is true of this sign-in now.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Whether they belong to the environment rather than to a tenant.
    pub fn is_staff(&self) -> bool {
        self.home.scope().is_none()
    }

    /// The grants that count at `place`, in order. A grant on an environment counts in its scopes as well, but never for a
    /// tenant's own people: theirs count in their own scope only.
    pub fn grants_at(&self, place: &Place) -> impl Iterator<Item = &HeldGrant> {
        let within = self.home.covers(place);
        self.standing
            .grants
            .iter()
            .filter(move |grant| within && grant.place.covers(place) && (self.is_staff() || grant.place == self.home))
    }
}

/// What is true of a person's sign-in at the moment of a request. Whatever expired or was revoked is not in it, so that
/// deciding needs no clock.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Standing {
    /// Roles they have for good, at home and, for staff, in the scopes of their environment.
    pub roles: BTreeSet<Role>,
    /// Grants that hold now.
    pub grants: BTreeSet<HeldGrant>,
    /// How sure we are that it is them, on a device of theirs.
    pub assurance: Assurance,
    /// Class of the environment.
    pub class: EnvironmentClass,
}

impl Standing {
    /// No roles, no grants and no assurance.
    pub fn none(class: EnvironmentClass) -> Self {
        Self { roles: BTreeSet::new(), grants: BTreeSet::new(), assurance: Assurance::default(), class }
    }
}

/// How sure we are that it is them, on a device of theirs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Assurance {
    /// Whether this sign-in checked that it is them (WebAuthn user verification, or what the class of the environment
    /// takes for it).
    pub user_verified: bool,
    /// What is known of the device.
    pub device: DeviceTrust,
    /// Whether they act under a broken seal.
    pub seal: Seal,
}

/// What is known of a device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DeviceTrust {
    /// Not enrolled, or its posture is stale or bad.
    #[default]
    None,
    /// Enrolled with a key in software.
    LowAssurance,
    /// Enrolled with a key in hardware, and its posture is fresh and good.
    Trusted,
}

impl DeviceTrust {
    /// All degrees, the least first.
    pub const ALL: &'static [DeviceTrust] = &[DeviceTrust::None, DeviceTrust::LowAssurance, DeviceTrust::Trusted];

    /// The word in policies.
    pub const fn as_str(self) -> &'static str {
        match self {
            DeviceTrust::None => "none",
            DeviceTrust::LowAssurance => "low-assurance",
            DeviceTrust::Trusted => "trusted",
        }
    }
}

/// Whether somebody acts through the sealed emergency account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Seal {
    /// An ordinary sign-in.
    #[default]
    Intact,
    /// Two people broke the seal and everybody was paged. Device and user verification are not asked for; a grant is.
    Broken,
}

/// A role that a person holds on a place for hours, because another person approved it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeldGrant {
    /// Which grant, for the log.
    pub id: GrantId,
    /// The role.
    pub role: Role,
    /// Where it holds.
    pub place: Place,
}

/// Name of a grant, unique in an environment.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GrantId(Arc<str>);

impl GrantId {
    /// 1 to 64 ASCII letters, digits, `-` and `_`.
    pub fn parse(text: &str) -> Result<Self, IamError> {
        let valid =
            (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if valid { Ok(Self(text.into())) } else { Err(IamError::GrantId { given: text.to_owned() }) }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for GrantId {
    type Error = IamError;
    fn try_from(text: String) -> Result<Self, IamError> {
        Self::parse(&text)
    }
}

impl From<GrantId> for String {
    fn from(id: GrantId) -> String {
        id.0.as_ref().to_owned()
    }
}

impl fmt::Display for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
