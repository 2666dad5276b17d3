//! Principals, roles and grants; one pure function decides.
//!
//! [`decide`] answers whether a [`Principal`] may do an [`Action`] on a [`Resource`]. It reads no clock, no file and no
//! network: the policies are compiled in, written in Cedar (`policies/`), deny by default, and are checked
//! against their schema when they are loaded. `tests/golden/iam/roles.case` shows every role, action and place.
//!
//! A [`Decision`] comes from `decide` alone. It is worth nothing by itself: the audit log admits it and hands out the
//! permit that the engine asks for.
//!
//! ```
//! use creta_iam::{Action, Policies, Principal, PrincipalId, Resource, Role, decide};
//! use creta_model::Scope;
//!
//! let policies = Policies::load()?;
//! let acme = Scope::parse("acme", "prod")?;
//! let reader = Principal::service_account(PrincipalId::parse("scoring")?, acme.clone(), Role::Reader);
//!
//! let own = decide(&policies, &reader, Action::Query, &Resource::scope(acme.clone()));
//! assert!(own.is_allowed());
//! assert_eq!(own.policies(), ["reader-in-own-scope"]);
//!
//! assert!(!decide(&policies, &reader, Action::Ingest, &Resource::scope(acme)).is_allowed());
//!
//! let globex = decide(&policies, &reader, Action::Query, &Resource::scope(Scope::parse("globex", "prod")?));
//! assert!(!globex.is_allowed());
//! assert_eq!(globex.commitment(), Some("CH-20"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod action;
mod cache;
mod compare;
mod decision;
mod declassification;
mod digest;
mod duties;
mod error;
mod explain;
mod level;
mod masking;
mod person;
mod policies;
mod principal;
mod question;
mod reach;
mod resource;
mod role;
mod row_rules;
mod rows;
mod secret;

pub use action::{Action, Kind};
pub use cache::DecisionCache;
pub use compare::{Allowance, Comparison, ProposedPolicies, compare};
pub use decision::{Decision, Reason, decide};
pub use declassification::{Declassification, ProposedDeclassification, declassified};
pub use duties::{FOR_THEMSELVES, Identity, forbidden_pairs};
pub use error::IamError;
pub use explain::{ExplainedFeature, ExplainedTag, Explanation, Need, Remedy, Requestable, explain, remedy};
pub use level::{Level, Withheld};
pub use masking::{MASKED_CHARS_MAX, Tokeniser, masked};
pub use person::{Assurance, DeviceTrust, GrantId, HeldGrant, Person, Seal, Standing};
pub use policies::Policies;
pub use principal::{Principal, PrincipalId, PrincipalKey};
pub use reach::{Excess, excess, power_excess, row_excess};
pub use resource::{FeatureSet, Place, Purpose, Resource, control_plane, is_reserved};
pub use role::Role;
pub use row_rules::{BoundTo, ROW_RULES_MAX, ROW_VALUES_MAX, RowRules, RowsComparison, WrittenRowRule};
pub use rows::{RowAccess, RowCondition, RowOp, RowRule, row_access, row_rules_for};
pub use secret::ClientSecret;
