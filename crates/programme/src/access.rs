//! Access for hours: a human asks with a reason, another human approves, and a grant begins that ends by itself.
//!
//! ```text
//! Request  open -> approved -> used           Grant  active -> expired
//!            |         |                               |
//!            |-> denied, withdrawn, expired            |-> ended: returned, revoked, review, left
//! ```
//!
//! What keeps it honest:
//! - A [`Reason`] that says something, and a [`Ticket`].
//! - An approval is an order that the approver's own key signs ([`DecisionOrder::digest`]). It names the request, the
//!   digest of what was asked, and its own end, so it is good for this request as it stands, once, for ten minutes.
//! - "Another human" compares persons, not accounts. Whoever has the right to approve only because the requester gave it
//!   to them cannot approve for the requester, however many people stand between them ([`Basis`]).
//! - An edit starts a new revision: approvals of an earlier one count for nothing, even if the edit is taken back.
//! - A grant lasts at most eight hours from its activation and is never extended: there is no function that does so.
//!   Whoever needs longer asks again, with another reason.

mod grant;
mod reason;
mod request;

use creta_iam::Role;
use creta_model::Span;

pub use grant::{End, GRANT_FORMAT, Grant, GrantState, active_of};
pub use reason::{REASON_CHARS_MAX, REASON_CHARS_MIN, REASON_WORDS_MIN, Reason, ReasonFault, Ticket};
pub use request::{
    Activation, Approval, Asked, Basis, DecisionOrder, Kind, ORDER_FORMAT, REQUEST_FORMAT, Request, RequestState,
    Terms, Verdict,
};

use crate::{PersonId, RecordId};

/// A request that nobody decided, or whose grant nobody activated, is void this long after it was made.
pub const REQUEST_LASTS: Span = Span::hours(24);

/// An approver's order is good for so long. It is made when the approver signs, so minutes are enough.
pub const ORDER_LASTS: Span = Span::seconds(600);

/// Why a transition was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// The reason says nothing.
    #[error(transparent)]
    Reason(#[from] ReasonFault),
    /// Not a ticket.
    #[error("this is not a ticket; write it like `OPS-1234`: 2 to 10 capital letters or digits, a hyphen, a number")]
    Ticket,
    /// More hours than a grant may last, or none.
    #[error("a grant of this kind lasts 1 to {max} hours, not {given}; ask for fewer, and again when they are over")]
    Hours {
        /// What was asked for.
        given: u8,
        /// The most.
        max: u8,
    },
    /// People cannot have this role.
    #[error("`{role}` is a role of programs; ask for one of people")]
    Role {
        /// Which.
        role: Role,
    },
    /// The request is not open any more.
    #[error("request `{request}` is {state}; make a new one with `creta access request`")]
    NotOpen {
        /// Which.
        request: RecordId,
        /// What it is instead.
        state: &'static str,
    },
    /// The request is older than [`REQUEST_LASTS`], or from the future.
    #[error("request `{request}` was void 24 hours after it was made; make a new one with `creta access request`")]
    RequestExpired {
        /// Which.
        request: RecordId,
    },
    /// The request lacks an approval.
    #[error("request `{request}` has {have} of {need} approvals; ask another person to approve it")]
    NotApproved {
        /// Which.
        request: RecordId,
        /// How many it has.
        have: usize,
        /// How many it needs.
        need: usize,
    },
    /// The approver asked for it, or would get it, perhaps by another account.
    #[error("`{person}` cannot decide on this request, being the person who asked or who gets the access")]
    SamePerson {
        /// Who.
        person: PersonId,
    },
    /// The approver decided before.
    #[error("`{person}` has already approved this request; a second approval must come from another person")]
    AlreadyApproved {
        /// Who.
        person: PersonId,
    },
    /// The approver's right to approve exists only through the requester or the beneficiary.
    #[error("the right of `{person}` to approve comes from whoever asked here; ask somebody whose right does not")]
    DependentRight {
        /// Who.
        person: PersonId,
    },
    /// The approver showed no right to approve that holds now.
    #[error("`{person}` has no right to approve that holds now; request it, or ask somebody who has it")]
    NoRight {
        /// Who.
        person: PersonId,
    },
    /// The order is not for this request as it stands.
    #[error("this decision does not fit: {rule}; look at the request again and decide anew")]
    Order {
        /// What does not fit.
        rule: &'static str,
    },
    /// Somebody else's request or grant.
    #[error("only `{person}` can do this")]
    NotYours {
        /// Whose it is.
        person: PersonId,
    },
    /// The grant does not hold now.
    #[error("grant `{grant}` {state}; make a new request with `creta access request`")]
    GrantOver {
        /// Which.
        grant: RecordId,
        /// How it ended.
        state: &'static str,
    },
    /// The grant holds elsewhere.
    #[error("grant `{grant}` is for another place; request access to this one")]
    OtherPlace {
        /// Which.
        grant: RecordId,
    },
}

impl AccessError {
    /// The commitment that the refusal keeps.
    pub const fn commitment(&self) -> &'static str {
        "CH-17"
    }

    /// A stable code for the API: `access/reason`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Reason(_) => "access/reason",
            Self::Ticket => "access/ticket",
            Self::Hours { .. } => "access/hours",
            Self::Role { .. } => "access/role",
            Self::NotOpen { .. } => "access/not-open",
            Self::RequestExpired { .. } => "access/request-expired",
            Self::NotApproved { .. } => "access/not-approved",
            Self::SamePerson { .. } => "access/same-person",
            Self::AlreadyApproved { .. } => "access/already-approved",
            Self::DependentRight { .. } => "access/dependent-right",
            Self::NoRight { .. } => "access/no-right",
            Self::Order { .. } => "access/order",
            Self::NotYours { .. } => "access/not-yours",
            Self::GrantOver { .. } => "access/grant-over",
            Self::OtherPlace { .. } => "access/other-place",
        }
    }
}
