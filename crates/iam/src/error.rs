//! What can go wrong before a decision is made. A denial is not an error: it is a [`Decision`](crate::Decision).

/// Why a name, a secret or the policies were refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IamError {
    /// Not a principal's id.
    #[error(
        "`{given}` is not a valid principal id: use 1 to 64 lowercase letters, digits, `-`, `_`, `.` and `@`, starting with a letter or digit"
    )]
    PrincipalId {
        /// What was given.
        given: String,
    },
    /// Not a purpose. The text is not repeated: it may hold anything.
    #[error("this purpose cannot be recorded: use 1 to 200 characters on one line")]
    Purpose,
    /// Not a client secret. The text is not repeated.
    #[error("this is not a client secret: it starts with `creta_sk_` and has 58 characters; copy it again in full")]
    SecretShape,
    /// A client secret with a typing or copying mistake in it. The text is not repeated.
    #[error(
        "this client secret has a mistake in it: its last 6 characters do not match the rest; copy it again in full"
    )]
    SecretChecksum,
    /// No action of that name.
    #[error("`{given}` is not an action; actions are {}", crate::Action::names())]
    UnknownAction {
        /// What was given.
        given: String,
    },
    /// No role of that name.
    #[error("`{given}` is not a role here; use one of {}", crate::role::quoted(among))]
    UnknownRole {
        /// What was given.
        given: String,
        /// The roles that could have been.
        among: &'static [crate::Role],
    },
    /// Not a grant's id.
    #[error("`{given}` is not a valid grant id: use 1 to 64 letters, digits, `-` and `_`")]
    GrantId {
        /// What was given.
        given: String,
    },
    /// The policies do not parse or do not agree with their schema.
    #[error("the access policies cannot be used: {reason}")]
    Policies {
        /// What the policy language says, about policies only.
        reason: String,
    },
    /// A permit leaves open who, what or where.
    #[error(
        "policy `{policy}` permits any {open}; name the {open} that it is for, since a wildcard permits what nobody thought of"
    )]
    Wildcard {
        /// Id of the policy.
        policy: String,
        /// `principal`, `action` or `resource`.
        open: &'static str,
    },
    /// Somebody approves what they proposed themselves.
    #[error("`{by}` proposed this and cannot approve it; ask another person")]
    OwnProposal {
        /// Who.
        by: crate::PrincipalId,
    },
    /// What is approved is not what was shown.
    #[error("the proposal is not the one that was shown; look at it again before you approve it")]
    OtherProposal,
    /// A declassification that says too little, or speaks of a tag that the feature has by itself.
    #[error(
        "`{feature}` cannot be declassified so: give a reason, and change the definition if the tag is the feature's own"
    )]
    Declassification {
        /// The feature.
        feature: String,
    },
    /// A policy that names a person, a tenant or a pattern.
    #[error(
        "policy `{policy}` names somebody or some place; policies speak of roles, so give a role or a grant instead"
    )]
    Named {
        /// Id of the policy.
        policy: String,
    },
    /// A row rule that makes no sense. Its values are not repeated.
    #[error("row rule `{id}` cannot be: {says}")]
    RowRule {
        /// Which.
        id: String,
        /// What is wrong with it.
        says: &'static str,
    },
    /// Policies that allow more than those that hold.
    #[error("these policies allow {count} things more, for example {first}; another person has to approve them")]
    Widening {
        /// How many.
        count: usize,
        /// One of them.
        first: Box<crate::Allowance>,
    },
}
