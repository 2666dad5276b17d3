//! Separation of duties: what each identity may do and nothing else, and which rights nobody holds together.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use crate::{Action, IamError, Place, PrincipalId, Role};

/// A kind of identity, as far as rights go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Identity {
    /// The local account of an environment.
    Administrator,
    /// A person of this role.
    Person(Role),
    /// A service account of this role.
    Program(Role),
}

impl Identity {
    /// Every kind: the local administrator, each role of people and each role of programs.
    pub fn all() -> impl Iterator<Item = Identity> {
        let people = Role::OF_PEOPLE.iter().map(|role| Identity::Person(*role));
        let programs = Role::OF_PROGRAMS.iter().map(|role| Identity::Program(*role));
        [Identity::Administrator].into_iter().chain(people).chain(programs)
    }

    /// What it may do somewhere. Written down a second time, apart from the policies: a test holds them together, so that a
    /// policy that gives a role more is noticed by whoever did not mean it.
    pub fn may(self) -> &'static [Action] {
        use Action::*;
        match self {
            Identity::Administrator => &[
                TokenIssue,
                TenantCreate,
                TenantList,
                ServiceAccountCreate,
                ServiceAccountList,
                ServiceAccountRotate,
                ServiceAccountRevoke,
                AuditRead,
                TrustRead,
                TrustRun,
                InventoryDeclare,
                ReportDecide,
                AccessExplain,
                AccessAnalyze,
                AccessRevoke,
                PersonRead,
                PersonAssign,
                SessionRead,
                SessionRevoke,
                DeviceRead,
                DeviceRevoke,
                PolicyRead,
                PolicyPropose,
                ReviewRead,
                ExceptionPropose,
                ArtefactRecord,
                BreakGlassOpen,
            ],
            Identity::Person(Role::Viewer) => &[Query, Plan, CatalogueRead],
            Identity::Person(Role::DataScientist) => &[Query, Plan, CatalogueRead, Train, Synth],
            Identity::Person(Role::Developer) => &[
                Query,
                Plan,
                CatalogueRead,
                Train,
                Synth,
                Deploy,
                Check,
                Diff,
                Ingest,
                Verify,
                AuditRead,
                PolicyRead,
                DeclassifyPropose,
            ],
            Identity::Person(Role::Operator) => &[
                TenantList,
                ServiceAccountCreate,
                ServiceAccountList,
                ServiceAccountRotate,
                ServiceAccountRevoke,
                CatalogueRead,
                AuditRead,
                TrustRead,
                TrustRun,
                InventoryDeclare,
                ExceptionPropose,
                ArtefactRecord,
            ],
            Identity::Person(Role::SecurityLead) => &[
                ServiceAccountList,
                ServiceAccountRevoke,
                CatalogueRead,
                AuditRead,
                TrustRead,
                TrustRun,
                ReportDecide,
                AccessAnalyze,
                AccessApprove,
                AccessRevoke,
                PersonRead,
                PolicyRead,
                PolicyApprove,
                DeclassifyApprove,
                ReviewRead,
                ReviewDecide,
                ExceptionApprove,
                ArtefactRecord,
            ],
            Identity::Person(Role::Auditor) => &[
                TenantList,
                ServiceAccountList,
                CatalogueRead,
                AuditRead,
                TrustRead,
                AccessAnalyze,
                PersonRead,
                PolicyRead,
                ReviewRead,
            ],
            Identity::Person(Role::Administrator) => &[
                TenantCreate,
                TenantList,
                ServiceAccountCreate,
                ServiceAccountList,
                ServiceAccountRotate,
                ServiceAccountRevoke,
                AuditRead,
                TrustRead,
                InventoryDeclare,
                AccessRevoke,
                PersonRead,
                PersonAssign,
                PolicyRead,
                PolicyPropose,
                ExceptionPropose,
                ArtefactRecord,
                BreakGlassOpen,
            ],
            Identity::Program(Role::Developer) => {
                &[TokenIssue, Deploy, Check, Diff, Plan, Ingest, Query, Train, Synth, Verify, CatalogueRead, AuditRead]
            }
            Identity::Program(Role::Reader) => &[TokenIssue, Plan, Query, Train, Synth, CatalogueRead],
            Identity::Program(Role::Deployer) => &[TokenIssue, Deploy, Check, Diff],
            Identity::Program(Role::Ingester) => &[TokenIssue, Ingest],
            Identity::Program(Role::Provisioner) => &[TokenIssue, ScimWrite],
            Identity::Person(_) | Identity::Program(_) => &[],
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Identity::Administrator => f.write_str("local administrator"),
            Identity::Person(role) => write!(f, "person as {role}"),
            Identity::Program(role) => write!(f, "program as {role}"),
        }
    }
}

/// What every signed-in person does for themselves at home, whatever their roles.
pub const FOR_THEMSELVES: &[Action] = &[
    Action::TokenIssue,
    Action::AccessRequest,
    Action::AccessRead,
    Action::AccessExplain,
    Action::SessionRead,
    Action::SessionRevoke,
    Action::DeviceEnrol,
    Action::DeviceRead,
    Action::DeviceRevoke,
];

/// Every pair of an identity and an action that it may do nowhere: the matrix that is probed, pair by pair.
pub fn forbidden_pairs() -> impl Iterator<Item = (Identity, Action)> {
    Identity::all().flat_map(|identity| {
        let own = move |action: &&Action| {
            !identity.may().contains(action)
                && !(matches!(identity, Identity::Person(_)) && FOR_THEMSELVES.contains(action))
        };
        Action::ALL.iter().filter(own).map(move |action| (identity, *action))
    })
}

/// One side of a combination that nobody may hold whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// Any role that may do this.
    Action(Action),
    /// This role.
    Role(Role),
}

impl Side {
    fn is_on(self, role: Role) -> bool {
        match self {
            Side::Action(action) => Identity::Person(role).may().contains(&action),
            Side::Role(own) => own == role,
        }
    }
}

/// Two rights that one human may not hold on the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ToxicPair {
    /// One of them.
    pub one: Side,
    /// The other.
    pub other: Side,
    /// What could be done with both.
    pub why: &'static str,
}

/// The combinations that are refused when roles are assigned.
pub const TOXIC_PAIRS: &[ToxicPair] = &[
    ToxicPair {
        one: Side::Action(Action::PersonAssign),
        other: Side::Action(Action::AccessApprove),
        why: "whoever assigns roles could approve the grants of accounts that they made",
    },
    ToxicPair {
        one: Side::Action(Action::PersonAssign),
        other: Side::Action(Action::ReviewDecide),
        why: "whoever assigns roles could keep them in the review",
    },
    ToxicPair {
        one: Side::Action(Action::PolicyPropose),
        other: Side::Action(Action::PolicyApprove),
        why: "one person could change the policies alone",
    },
    ToxicPair {
        one: Side::Action(Action::DeclassifyPropose),
        other: Side::Action(Action::DeclassifyApprove),
        why: "one person could take the tag off their own feature",
    },
    ToxicPair {
        one: Side::Action(Action::ExceptionPropose),
        other: Side::Action(Action::ExceptionApprove),
        why: "one person could except themselves from a rule",
    },
    ToxicPair {
        one: Side::Action(Action::Deploy),
        other: Side::Action(Action::AccessApprove),
        why: "whoever deploys could approve their own way to what was deployed",
    },
    ToxicPair {
        one: Side::Role(Role::Auditor),
        other: Side::Role(Role::Operator),
        why: "an auditor would audit their own work",
    },
    ToxicPair {
        one: Side::Role(Role::Auditor),
        other: Side::Role(Role::Administrator),
        why: "an auditor would audit their own work",
    },
    ToxicPair {
        one: Side::Role(Role::Auditor),
        other: Side::Role(Role::SecurityLead),
        why: "an auditor would audit their own decisions",
    },
];

/// A role on a place, as it is assigned to a person or a group.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Assignment {
    /// The role.
    pub role: Role,
    /// Where.
    pub place: Place,
}

/// Who has which roles: directly, and through groups in groups. One human may have several accounts; roles of all of them
/// are held by the one human.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roster {
    /// Each human with the roles assigned to any account of theirs.
    pub people: BTreeMap<PrincipalId, BTreeSet<Assignment>>,
    /// Each group by its name.
    pub groups: BTreeMap<String, Group>,
}

/// A group: its roles are those of all its members, and of the members of groups in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Group {
    /// Humans in it.
    pub people: BTreeSet<PrincipalId>,
    /// Groups in it, by name.
    pub groups: BTreeSet<String>,
    /// What it gives.
    pub roles: BTreeSet<Assignment>,
}

/// A role that a human holds, and by which way.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HeldRole {
    /// The role and the place.
    pub assignment: Assignment,
    /// Groups from the one they are a member of to the one that has the role; empty for a role of their own.
    pub via: Vec<String>,
}

/// A human who would hold both sides of a toxic pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToxicCombination {
    /// Who.
    pub human: PrincipalId,
    /// The pair.
    pub pair: ToxicPair,
    /// How they hold one side,
    pub one: HeldRole,
    /// and the other.
    pub other: HeldRole,
}

impl fmt::Display for HeldRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` on {}", self.assignment.role, self.assignment.place)?;
        match self.via.as_slice() {
            [] => Ok(()),
            via => write!(f, " through group `{}`", via.join("` in `")),
        }
    }
}

impl fmt::Display for ToxicCombination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` would be {} and {}: {}", self.human, self.one, self.other, self.pair.why)
    }
}

impl Roster {
    /// The roles of a human, each by the shortest way, in order. Groups that contain each other in a circle are followed once.
    pub fn roles_of(&self, human: &PrincipalId) -> Vec<HeldRole> {
        let own = self.people.get(human).into_iter().flatten();
        let mut held: BTreeMap<Assignment, Vec<String>> = own.map(|role| (role.clone(), Vec::new())).collect();
        let member_of = |(name, group): (&String, &Group)| group.people.contains(human).then(|| vec![name.clone()]);
        let mut open: VecDeque<Vec<String>> = self.groups.iter().filter_map(member_of).collect();
        let mut seen: BTreeSet<String> = open.iter().flatten().cloned().collect();
        while let Some(via) = open.pop_front() {
            let here = via.last().expect("a way has its beginning");
            for role in self.groups.get(here).into_iter().flat_map(|group| &group.roles) {
                held.entry(role.clone()).or_insert_with(|| via.clone());
            }
            for (name, _) in self.groups.iter().filter(|(_, group)| group.groups.contains(here)) {
                if seen.insert(name.clone()) {
                    open.push_back(via.iter().chain([name]).cloned().collect());
                }
            }
        }
        held.into_iter().map(|(assignment, via)| HeldRole { assignment, via }).collect()
    }

    /// Every toxic combination that somebody holds, in the order of names. Linear in people times what they hold.
    pub fn toxic_combinations(&self) -> Vec<ToxicCombination> {
        let in_groups = self.groups.values().flat_map(|group| &group.people);
        let humans: BTreeSet<&PrincipalId> = self.people.keys().chain(in_groups).collect();
        humans.into_iter().flat_map(|human| self.toxic_combinations_of(human)).collect()
    }

    /// Refuses a roster in which somebody holds a toxic combination: asked before an assignment, a membership or a group is
    /// stored, of the roster as it would be.
    pub fn require_separate_duties(&self) -> Result<(), IamError> {
        match self.toxic_combinations().into_iter().next() {
            None => Ok(()),
            Some(combination) => Err(IamError::ToxicCombination(Box::new(combination))),
        }
    }

    fn toxic_combinations_of(&self, human: &PrincipalId) -> Vec<ToxicCombination> {
        let held = self.roles_of(human);
        let mut found = Vec::new();
        for pair in TOXIC_PAIRS {
            let sides = |side: Side| held.iter().filter(move |held| side.is_on(held.assignment.role));
            for (one, other) in sides(pair.one).flat_map(|one| sides(pair.other).map(move |other| (one, other))) {
                let (here, there) = (&one.assignment.place, &other.assignment.place);
                if here.covers(there) || there.covers(here) {
                    let (one, other) = (one.clone(), other.clone());
                    found.push(ToxicCombination { human: human.clone(), pair: *pair, one, other });
                }
            }
        }
        found
    }
}

#[cfg(test)]
#[path = "duties_tests.rs"]
mod tests;
