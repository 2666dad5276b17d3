//! Duties that must not lie in one hand, found through nested groups.
//!
//! Asking for something and approving the same thing for somebody else may lie in one hand: the two-person rule of each
//! request sees to that. What stands in [`TOXIC`] may not, because no single act would show it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use creta_iam::{Action, Place, Role};
use serde::{Deserialize, Serialize};

use crate::{PersonId, SubjectId};

/// What somebody is able to do, as far as it matters who else is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Duty {
    /// Makes definitions the active ones.
    Deploy,
    /// Approves changes of the access policies.
    ApprovePolicy,
    /// Gives roles to people.
    AssignRoles,
    /// Adds and removes people, from where identities come from.
    Provision,
    /// Reads feature data.
    ReadData,
    /// Changes feature data.
    WriteData,
    /// Judges what others did.
    Audit,
    /// Appends to the audit log.
    WriteLog,
    /// Removes parts of the audit log.
    DeleteLog,
    /// Writes backups.
    WriteBackup,
    /// Removes backups.
    DeleteBackup,
    /// Reads keys.
    ReadKeys,
}

/// Who must not hold a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Among {
    /// Nobody.
    Everyone,
    /// Programs. A human may, one after the other, with a grant for each.
    Programs,
}

/// Pairs of duties, who must not hold them together, and what they could do if they did.
pub const TOXIC: &[(Duty, Duty, Among, &str)] = &[
    (Duty::Deploy, Duty::ApprovePolicy, Among::Everyone, "could let their own definitions read anything"),
    (Duty::AssignRoles, Duty::ApprovePolicy, Among::Everyone, "could make a role for themselves"),
    (Duty::Provision, Duty::ApprovePolicy, Among::Everyone, "could make up a second person who agrees"),
    (Duty::Provision, Duty::AssignRoles, Among::Everyone, "could make up a person with every role"),
    (Duty::Audit, Duty::Deploy, Among::Everyone, "would judge their own work"),
    (Duty::Audit, Duty::ApprovePolicy, Among::Everyone, "would judge their own work"),
    (Duty::Audit, Duty::AssignRoles, Among::Everyone, "would judge their own work"),
    (Duty::Audit, Duty::Provision, Among::Everyone, "would judge their own work"),
    (Duty::Audit, Duty::WriteData, Among::Everyone, "would judge their own work"),
    (Duty::Audit, Duty::WriteLog, Among::Everyone, "could write what they later find"),
    (Duty::Audit, Duty::DeleteLog, Among::Everyone, "could remove what they should find"),
    (Duty::Audit, Duty::WriteBackup, Among::Everyone, "would judge their own work"),
    (Duty::Audit, Duty::DeleteBackup, Among::Everyone, "would judge their own work"),
    (Duty::WriteLog, Duty::DeleteLog, Among::Everyone, "could replace what happened"),
    (Duty::WriteBackup, Duty::DeleteBackup, Among::Everyone, "could replace all copies"),
    (Duty::WriteBackup, Duty::ReadKeys, Among::Everyone, "could carry data out and open it"),
    (Duty::Deploy, Duty::ReadData, Among::Programs, "would lose both with one stolen token"),
    (Duty::Deploy, Duty::WriteData, Among::Programs, "would lose both with one stolen token"),
];

impl Duty {
    /// The duty that an action is part of, if it matters.
    pub fn of_action(action: Action) -> Option<Self> {
        match action {
            Action::Deploy => Some(Self::Deploy),
            Action::PolicyApprove | Action::DeclassifyApprove | Action::RowsApprove => Some(Self::ApprovePolicy),
            Action::PersonAssign => Some(Self::AssignRoles),
            Action::ScimWrite => Some(Self::Provision),
            Action::Query | Action::Train => Some(Self::ReadData),
            Action::Ingest => Some(Self::WriteData),
            Action::BackupRead => Some(Self::WriteBackup),
            _ => None,
        }
    }

    /// The duties that a role stands for. Only `auditor` is one by name: what others may do shows in their actions.
    pub fn of_role(role: Role, actions: impl IntoIterator<Item = Action>) -> BTreeSet<Self> {
        let mut duties: BTreeSet<Self> = actions.into_iter().filter_map(Self::of_action).collect();
        if role == Role::Auditor {
            duties.insert(Self::Audit);
        }
        duties
    }

    /// The name in messages and on pages: `approve-policy`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::ApprovePolicy => "approve-policy",
            Self::AssignRoles => "assign-roles",
            Self::Provision => "provision",
            Self::ReadData => "read-data",
            Self::WriteData => "write-data",
            Self::Audit => "audit",
            Self::WriteLog => "write-log",
            Self::DeleteLog => "delete-log",
            Self::WriteBackup => "write-backup",
            Self::DeleteBackup => "delete-backup",
            Self::ReadKeys => "read-keys",
        }
    }
}

/// Who holds duties in the end: a human with all their accounts, or a program.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Holder {
    /// A human.
    Human(PersonId),
    /// A program.
    Program(SubjectId),
}

/// Somebody or a group, by name. Accounts and groups have different names: `person:ana`, `group:deployers`.
pub type Node = SubjectId;

/// Who is in which group, and what was given to whom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roster {
    /// Accounts, and whose they are.
    pub accounts: BTreeMap<Node, Holder>,
    /// Accounts and groups, each with a group that it is in.
    pub members: BTreeSet<(Node, Node)>,
    /// Accounts and groups, each with a duty that it was given and where.
    pub given: Vec<(Node, Duty, Place)>,
}

/// How somebody comes to hold a duty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Path {
    /// The account, then each group up to the one that was given the duty.
    pub through: Vec<Node>,
    /// The duty.
    pub duty: Duty,
    /// Where: `prod` or `prod/acme`.
    pub place: String,
}

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for node in &self.through {
            write!(f, "{node} > ")?;
        }
        write!(f, "{}@{}", self.duty.as_str(), self.place)
    }
}

/// Two duties in one hand that must not be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Toxic {
    /// Whose hand.
    pub holder: Holder,
    /// How they come to the one.
    pub left: Path,
    /// How they come to the other.
    pub right: Path,
    /// What they could do.
    pub why: &'static str,
}

/// An assignment would put two duties into one hand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this would let one hand hold two duties that must be apart: {left} and {right}; they {why}")]
pub struct DutyConflict {
    /// How they come to the one.
    pub left: Path,
    /// How they come to the other.
    pub right: Path,
    /// What they could do.
    pub why: &'static str,
}

impl DutyConflict {
    /// The commitment that the refusal keeps.
    pub const fn commitment(&self) -> &'static str {
        "CH-35"
    }

    /// A stable code for the API.
    pub const fn code(&self) -> &'static str {
        "duties/toxic"
    }
}

impl Roster {
    /// Every toxic combination, each once with the shortest paths to it, in order. Groups may contain one another in
    /// circles. Time O(accounts x (members + given)).
    pub fn toxic(&self) -> Vec<Toxic> {
        let mut held = BTreeMap::<&Holder, Vec<(Path, &Place)>>::new();
        for (account, holder) in &self.accounts {
            held.entry(holder).or_default().extend(self.duties_of(account));
        }
        let mut found = BTreeMap::new();
        for (holder, mut paths) in held {
            paths.sort_by(|(a, _), (b, _)| (a.through.len(), a).cmp(&(b.through.len(), b)));
            for (left, right, among, why) in TOXIC {
                if *among == Among::Programs && matches!(holder, Holder::Human(_)) {
                    continue;
                }
                let of = |duty: Duty| paths.iter().filter(move |(path, _)| path.duty == duty);
                for ((a, at), (b, bt)) in of(*left).flat_map(|a| of(*right).map(move |b| (a, b))) {
                    if overlap(at, bt) {
                        let key = (holder, left, right, a.place.clone(), b.place.clone());
                        let toxic = || Toxic { holder: holder.clone(), left: a.clone(), right: b.clone(), why };
                        found.entry(key).or_insert_with(toxic);
                    }
                }
            }
        }
        found.into_values().collect()
    }

    /// Whether the roster may become `to`: refused if that makes a toxic combination that is not there now. The error
    /// shows the first one.
    pub fn require_change(&self, to: &Self) -> Result<(), DutyConflict> {
        let key = |toxic: &Toxic| {
            let Toxic { holder, left, right, .. } = toxic;
            (holder.clone(), left.duty, left.place.clone(), right.duty, right.place.clone())
        };
        let before: BTreeSet<_> = self.toxic().iter().map(key).collect();
        match to.toxic().into_iter().find(|toxic| !before.contains(&key(toxic))) {
            Some(Toxic { left, right, why, .. }) => Err(DutyConflict { left, right, why }),
            None => Ok(()),
        }
    }

    /// The duties of an account, each with the shortest path to every place where it was given.
    fn duties_of<'a>(&'a self, account: &'a Node) -> Vec<(Path, &'a Place)> {
        let mut reached = BTreeMap::<&Node, Option<&Node>>::from([(account, None)]);
        let mut waiting = VecDeque::from([account]);
        while let Some(node) = waiting.pop_front() {
            for (member, group) in &self.members {
                if member == node && !reached.contains_key(group) {
                    reached.insert(group, Some(node));
                    waiting.push_back(group);
                }
            }
        }
        let path = |mut node: &'a Node| {
            let mut through = vec![node.clone()];
            while let Some(Some(from)) = reached.get(node) {
                through.push((*from).clone());
                node = from;
            }
            through.reverse();
            through
        };
        let given = self.given.iter().filter(|(node, ..)| reached.contains_key(node));
        given
            .map(|(node, duty, place)| (Path { through: path(node), duty: *duty, place: place.path() }, place))
            .collect()
    }
}

/// Whether what is done at one place matters at the other: the same place, or an environment and a scope in it.
fn overlap(a: &Place, b: &Place) -> bool {
    a.covers(b) || b.covers(a)
}
