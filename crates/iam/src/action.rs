//! What a principal can ask for.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::IamError;

/// Whether an action changes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Leaves everything as it was.
    Read,
    /// Changes data, definitions, principals or credentials.
    Change,
}

macro_rules! actions {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $kind:ident;)*) => {
        /// Something a principal can ask for. The text form stands in policies, in the audit log and in tokens.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Action {
            $($(#[$doc])* #[serde(rename = $text)] $variant,)*
        }

        impl Action {
            /// Every action, in the order of the documentation.
            pub const ALL: &'static [Action] = &[$(Action::$variant),*];

            /// The name in policies and in the log, for example `service-account.create`.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Action::$variant => $text,)*
                }
            }

            /// Whether it changes anything.
            pub const fn kind(self) -> Kind {
                match self {
                    $(Action::$variant => Kind::$kind,)*
                }
            }
        }
    };
}

actions! {
    /// Exchange a credential for a short-lived token.
    TokenIssue = "token.issue", Change;
    /// Make a tenant, with its keys and stores.
    TenantCreate = "tenant.create", Change;
    /// List the tenants of an environment.
    TenantList = "tenant.list", Read;
    /// Make a service account in a scope and hand out its secret, once.
    ServiceAccountCreate = "service-account.create", Change;
    /// List the service accounts of a scope.
    ServiceAccountList = "service-account.list", Read;
    /// Give a service account a new secret; the old one ends after an overlap.
    ServiceAccountRotate = "service-account.rotate", Change;
    /// End a service account and its tokens.
    ServiceAccountRevoke = "service-account.revoke", Change;
    /// Make a bundle of definitions the active one.
    Deploy = "deploy", Change;
    /// Check a bundle against the scope without deploying it.
    Check = "check", Read;
    /// Compare a bundle with the active one.
    Diff = "diff", Read;
    /// Show how a query would be answered, without answering it.
    Plan = "plan", Read;
    /// Append facts.
    Ingest = "ingest", Change;
    /// Ask for features of a few rows.
    Query = "query", Read;
    /// Build a training set.
    Train = "train", Read;
    /// Keep a training set under a name.
    DatasetMake = "dataset.make", Change;
    /// Give a kept training set another name, or remove what was kept.
    DatasetRetire = "dataset.retire", Change;
    /// Make data that has the shape of a schema and nobody's values.
    Synth = "synth", Read;
    /// Read how many entities have a feature, in which ranges: counts in groups, never a value.
    StatisticsRead = "statistics.read", Read;
    /// Replay facts and compare online with offline answers.
    Verify = "verify", Read;
    /// Read definitions, lineage and documentation.
    CatalogueRead = "catalogue.read", Read;
    /// Read entries of the audit log: an environment's, or those of one scope.
    AuditRead = "audit.read", Read;
    /// Read the trust report in full, the inventory, evidence, and reports of security issues.
    TrustRead = "trust.read", Read;
    /// Run checks now.
    TrustRun = "trust.run", Change;
    /// Declare what there is: the inventory, and who answers for it.
    InventoryDeclare = "inventory.declare", Change;
    /// Decide on a report of a security issue.
    ReportDecide = "report.decide", Change;
    /// Ask for a role on a place, for hours and with a reason.
    AccessRequest = "access.request", Change;
    /// Read one's own requests and grants; those of others take `access.analyze`.
    AccessRead = "access.read", Read;
    /// Approve or refuse the request of another person.
    AccessApprove = "access.approve", Change;
    /// End a grant or the sessions of another person before their time.
    AccessRevoke = "access.revoke", Change;
    /// Ask why something is allowed or denied; about others it takes `access.analyze`.
    AccessExplain = "access.explain", Read;
    /// Compare what is granted with what is used.
    AccessAnalyze = "access.analyze", Read;
    /// Read who there is, with roles.
    PersonRead = "person.read", Read;
    /// Make a person known, give and take roles.
    PersonAssign = "person.assign", Change;
    /// Read one's own sessions.
    SessionRead = "session.read", Read;
    /// End one's own sessions; those of others take `access.revoke`.
    SessionRevoke = "session.revoke", Change;
    /// Enrol a device of one's own.
    DeviceEnrol = "device.enrol", Change;
    /// Read one's own devices; those of others take `person.read`.
    DeviceRead = "device.read", Read;
    /// End a device of one's own; those of others take `access.revoke`.
    DeviceRevoke = "device.revoke", Change;
    /// Read the access policies.
    PolicyRead = "policy.read", Read;
    /// Propose other access policies.
    PolicyPropose = "policy.propose", Change;
    /// Approve access policies that somebody else proposed.
    PolicyApprove = "policy.approve", Change;
    /// Propose that a computed feature no longer carries a tag.
    DeclassifyPropose = "declassify.propose", Change;
    /// Approve a declassification that somebody else proposed.
    DeclassifyApprove = "declassify.approve", Change;
    /// Read the rules by which people and programs see only some rows.
    RowsRead = "rows.read", Read;
    /// Propose other row rules.
    RowsPropose = "rows.propose", Change;
    /// Approve row rules that somebody else proposed and that show more.
    RowsApprove = "rows.approve", Change;
    /// Read campaigns that review access.
    ReviewRead = "review.read", Read;
    /// Decide in a campaign whether access stays.
    ReviewDecide = "review.decide", Change;
    /// Make, change and end people as the directory of the company says.
    ScimWrite = "scim.write", Change;
    /// Propose that a rule does not hold for something, for a time.
    ExceptionPropose = "exception.propose", Change;
    /// Approve an exception that somebody else proposed.
    ExceptionApprove = "exception.approve", Change;
    /// Record what a programme of work produced.
    ArtefactRecord = "artefact.record", Change;
    /// Break the seal of the emergency account.
    BreakGlassOpen = "break-glass.open", Change;
    /// Read counts and times of the server. They name tenants, and hold no value.
    MetricsRead = "metrics.read", Read;
    /// Fetch a copy of an environment's sealed files, without any key.
    BackupRead = "backup.read", Read;
    /// Keep a recovery key of one's own, by which one of two people agrees to go on from an older copy.
    RecoveryHold = "recovery.hold", Change;
}

impl Action {
    /// Reads the text form.
    pub fn parse(text: &str) -> Result<Self, IamError> {
        let found = Self::ALL.iter().find(|action| action.as_str() == text);
        found.copied().ok_or_else(|| IamError::UnknownAction { given: text.to_owned() })
    }

    /// Whether the decision must stand in the log, durably, before anything happens.
    ///
    /// Changes are, and so are a training set and a backup: they carry data out in bulk and take long enough that one more
    /// write does not matter; a training set names the entry it was built under (rule S30). Other reads are counted per
    /// second.
    pub const fn is_logged_first(self) -> bool {
        matches!(self.kind(), Kind::Change) || matches!(self, Action::Train | Action::BackupRead)
    }

    pub(crate) fn names() -> String {
        let quoted: Vec<String> = Self::ALL.iter().map(|action| format!("`{action}`")).collect();
        quoted.join(", ")
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_survive_writing_and_reading() {
        for action in Action::ALL {
            assert_eq!(Action::parse(action.as_str()).expect("own form"), *action);
            let json = serde_json::to_string(action).expect("serializes");
            assert_eq!(json, format!("\"{action}\""));
            assert_eq!(serde_json::from_str::<Action>(&json).expect("own form"), *action);
        }
        let message = Action::parse("delete").expect_err("no such action").to_string();
        assert!(
            message.starts_with("`delete` is not an action; actions are `token.issue`, `tenant.create`"),
            "{message}"
        );
    }

    #[test]
    fn every_change_and_whatever_carries_data_out_in_bulk_is_logged_first() {
        let later: Vec<&str> = Action::ALL.iter().filter(|a| !a.is_logged_first()).map(|a| a.as_str()).collect();
        assert_eq!(
            later,
            [
                "tenant.list",
                "service-account.list",
                "check",
                "diff",
                "plan",
                "query",
                "synth",
                "statistics.read",
                "verify",
                "catalogue.read",
                "audit.read",
                "trust.read",
                "access.read",
                "access.explain",
                "access.analyze",
                "person.read",
                "session.read",
                "device.read",
                "policy.read",
                "rows.read",
                "review.read",
                "metrics.read"
            ]
        );
    }
}
