//! Separation of duties: what each kind of identity may do, and the matrix of what it may not.

use std::fmt;

use crate::{Action, Role};

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
                MetricsRead,
                ServiceAccountCreate,
                StatisticsRead,
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
                RowsRead,
                RowsPropose,
                ReviewRead,
                ExceptionPropose,
                ArtefactRecord,
                BreakGlassOpen,
            ],
            Identity::Person(Role::Viewer) => &[Query, Plan, CatalogueRead],
            Identity::Person(Role::DataScientist) => {
                &[Query, Plan, CatalogueRead, Train, DatasetMake, DatasetRetire, Synth, StatisticsRead]
            }
            Identity::Person(Role::Developer) => &[
                Query,
                Plan,
                CatalogueRead,
                Train,
                DatasetMake,
                DatasetRetire,
                Synth,
                StatisticsRead,
                Deploy,
                Check,
                Diff,
                Ingest,
                Verify,
                AuditRead,
                PolicyRead,
                DeclassifyPropose,
                RowsRead,
            ],
            Identity::Person(Role::Operator) => &[
                RecoveryHold,
                TenantList,
                MetricsRead,
                ServiceAccountCreate,
                ServiceAccountList,
                ServiceAccountRotate,
                ServiceAccountRevoke,
                CatalogueRead,
                StatisticsRead,
                AuditRead,
                TrustRead,
                TrustRun,
                InventoryDeclare,
                ExceptionPropose,
                ArtefactRecord,
            ],
            Identity::Person(Role::SecurityLead) => &[
                RecoveryHold,
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
                RowsRead,
                RowsApprove,
                ReviewRead,
                ReviewDecide,
                ExceptionApprove,
                ArtefactRecord,
            ],
            Identity::Person(Role::Auditor) => &[
                TenantList,
                MetricsRead,
                ServiceAccountList,
                CatalogueRead,
                AuditRead,
                TrustRead,
                AccessAnalyze,
                PersonRead,
                PolicyRead,
                RowsRead,
                ReviewRead,
            ],
            Identity::Person(Role::Administrator) => &[
                RecoveryHold,
                TenantCreate,
                TenantList,
                MetricsRead,
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
                RowsRead,
                RowsPropose,
                ExceptionPropose,
                ArtefactRecord,
                BreakGlassOpen,
            ],
            Identity::Program(Role::Developer) => &[
                TokenIssue,
                Deploy,
                Check,
                Diff,
                Plan,
                Ingest,
                Query,
                Train,
                DatasetMake,
                DatasetRetire,
                Synth,
                Verify,
                CatalogueRead,
                AuditRead,
            ],
            Identity::Program(Role::Reader) => &[TokenIssue, Plan, Query, Train, DatasetMake, Synth, CatalogueRead],
            Identity::Program(Role::Deployer) => &[TokenIssue, Deploy, Check, Diff],
            Identity::Program(Role::Ingester) => &[TokenIssue, Ingest],
            Identity::Program(Role::Provisioner) => &[TokenIssue, ScimWrite],
            Identity::Program(Role::Backup) => &[TokenIssue, BackupRead],
            Identity::Program(Role::Monitor) => &[TokenIssue, MetricsRead],
            Identity::Program(Role::Checker) => &[TenantCreate, ServiceAccountCreate, ReportDecide],
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
        let themselves = if matches!(identity, Identity::Person(_)) { FOR_THEMSELVES } else { &[] };
        let forbidden = move |action: &&Action| !identity.may().contains(action) && !themselves.contains(action);
        Action::ALL.iter().filter(forbidden).map(move |action| (identity, *action))
    })
}

#[cfg(test)]
#[path = "duties_tests.rs"]
mod tests;
