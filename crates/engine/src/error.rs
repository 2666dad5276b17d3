//! What can go wrong with a whole run. Everything that concerns one cell is a state of that cell instead (rule S12).

/// Why a plan could not be run at all.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A permit for something else.
    #[error("a permit to `{action}` does not cover reading features; ask for `query`, `train` or `verify`")]
    NotPermitted {
        /// What the permit is for.
        action: &'static str,
    },
    /// The request's columns do not match the plan's.
    #[error(
        "the request brings {given} columns, its plan takes {expected}; plan the request again with its own columns"
    )]
    GivenCount {
        /// How many the plan takes.
        expected: usize,
        /// How many came.
        given: usize,
    },
    /// A column of the request has another type than its feature (rule S20).
    #[error("`{path}` is {expected}, the request brings {given}; convert the column before asking")]
    GivenType {
        /// The feature.
        path: String,
        /// Its type as a Python developer writes it.
        expected: String,
        /// The Arrow type that came.
        given: String,
    },
    /// A column of the request has another length than the others.
    #[error("`{column}` has {given} rows, the request has {expected}; give one value per row")]
    RowCount {
        /// A feature, `as_of` or `known_as_of`.
        column: String,
        /// Rows of the request.
        expected: usize,
        /// Rows of the column.
        given: usize,
    },
    /// A row without an instant, or outside the years 0001 to 9999 (rules S15, S17).
    #[error("row {row} has no usable `{column}`; give every row an instant between the years 0001 and 9999")]
    Instant {
        /// `as_of` or `known_as_of`.
        column: &'static str,
        /// First such row; the first row is 0.
        row: usize,
    },
    /// A type that cannot be compared for equality exactly (rule S19).
    #[error("`{ty}` cannot be part of a key; use text, whole numbers, dates or instants")]
    KeyType {
        /// The type as a Python developer writes it.
        ty: String,
    },
    /// More facts or rows than one run can number.
    #[error("one run holds at most {max} {what}; split the request into smaller parts")]
    TooMany {
        /// `facts` or `rows`.
        what: &'static str,
        /// The limit.
        max: u64,
    },
    /// A reader answered facts that break its contract.
    #[error("the facts of `{entity}` cannot be read: {detail}")]
    Facts {
        /// Whose facts.
        entity: String,
        /// What is wrong with them, without values.
        detail: String,
    },
    /// A plan that no planner of this version makes.
    #[error("the plan cannot be run: {detail}; deploy again so that it is planned by this version")]
    Plan {
        /// What is wrong with it.
        detail: String,
    },
    /// A reader could not reach its facts.
    #[error("facts could not be read")]
    Reader {
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The sealed files in which parts of a training set wait could not be written or read.
    #[error("parts of a training set could not be kept in sealed files")]
    Spill {
        /// Why.
        #[source]
        source: creta_keys::KeyError,
    },
    /// Arrow refused an operation on columns that were checked before.
    #[error("columns could not be put together")]
    Arrow(#[from] arrow::error::ArrowError),
}

impl EngineError {
    /// A plan that no planner of this version makes.
    pub(crate) fn plan(detail: impl Into<String>) -> Self {
        Self::Plan { detail: detail.into() }
    }
}
