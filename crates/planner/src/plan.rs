//! What to do to answer a request: data, without any instant inside.

use creta_model::{Aggregate, EntityId, FeatureId, FeaturePath, Function, Name, ResolverMode, Span, Type, Validation};
use serde::{Deserialize, Serialize};

/// Index of a column of intermediate or final cells, one cell per row of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct SlotId(pub usize);

/// The steps that turn given columns into the features asked for. The same registry and request shape give the same
/// plan, byte for byte in its JSON form.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// `sha256:<hex>` over the canonical form of everything below and the version of the semantics.
    pub fingerprint: String,
    /// One per slot.
    pub slots: Vec<Slot>,
    /// Columns the request brings, in the order of the request.
    pub given: Vec<SlotId>,
    /// In an order in which each step's inputs are ready. Steps of one stage do not depend on each other.
    pub steps: Vec<Step>,
    /// Slots to answer with, in the order of the request.
    pub outputs: Vec<SlotId>,
}

/// One column.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Slot {
    /// What it holds, rooted at the request's entity.
    pub path: FeaturePath,
    /// Type of its values.
    #[serde(rename = "type")]
    pub ty: Type,
    /// Whether null is one of its values.
    pub optional: bool,
    /// `resolver, expression, window, lookup, given or relation key`: shown as the source of a cell.
    pub origin: Origin,
}

/// Where the cells of a slot come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The request (rule S24).
    Given,
    /// Ingested facts.
    Facts,
    /// An aggregation over facts.
    Window,
    /// An expression.
    Expression,
    /// The resolver of that name.
    Resolver(Name),
}

/// A default that replaces `missing` and `expired` (rule S13), in JSON form of the slot's type.
pub type DefaultValue = Option<serde_json::Value>;

/// One thing to do for all rows at once.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// The latest facts of an entity at each row's instant (rule S2), several features in one pass.
    Lookup {
        /// Entity whose facts are read.
        entity: EntityId,
        /// Its name, for people.
        entity_name: Name,
        /// Its key features in order, with their types.
        key: Vec<KeyColumn>,
        /// Slots that hold each row's key, in the same order. A row whose key has no value gets `missing`
        /// (an `error` or `denied` key is passed on).
        key_slots: Vec<SlotId>,
        /// What to fetch.
        columns: Vec<LookupColumn>,
    },
    /// Aggregations over the facts of one entity found by equality of `key` features, several in one pass.
    Windows {
        /// Entity whose facts are aggregated.
        entity: EntityId,
        /// Its name, for people.
        entity_name: Name,
        /// The features of the facts that must equal `key_slots`, in order.
        key: Vec<KeyColumn>,
        /// Slots that hold each row's key, in the same order.
        key_slots: Vec<SlotId>,
        /// Features of the facts that values and filters read; `BoundExpr::Column(n)` is `columns[n]`.
        columns: Vec<KeyColumn>,
        /// What to compute.
        aggregations: Vec<Aggregation>,
    },
    /// An expression; `BoundExpr::Column(n)` is slot `n`.
    Expression {
        /// What to compute.
        expr: BoundExpr,
        /// Where it goes.
        slot: SlotId,
        /// Replaces `missing` and `expired`.
        default: DefaultValue,
    },
    /// A resolver call for all rows whose inputs allow it (rule S32).
    Resolve {
        /// What to call.
        resolver: ResolverCall,
        /// In parameter order.
        inputs: Vec<CallInput>,
        /// In the order the function returns them.
        outputs: Vec<CallOutput>,
    },
}

/// A feature of stored facts, by its stable id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct KeyColumn {
    /// Stable id.
    pub feature: FeatureId,
    /// Its name, for people.
    pub name: Name,
    /// Its type.
    #[serde(rename = "type")]
    pub ty: Type,
}

/// One feature to look up.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LookupColumn {
    /// Which feature.
    #[serde(flatten)]
    pub column: KeyColumn,
    /// Where it goes.
    pub slot: SlotId,
    /// Older values are `expired` (rule S5, inclusive).
    pub max_age: Option<Span>,
    /// Replaces `missing` and `expired`.
    pub default: DefaultValue,
}

/// One aggregation over one span.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Aggregation {
    /// How values become one.
    #[serde(flatten)]
    pub aggregate: Aggregate,
    /// What is aggregated; absent only for a count of rows.
    pub value: Option<BoundExpr>,
    /// Facts for which this is not true do not count.
    pub filter: Option<BoundExpr>,
    /// Length of the window.
    pub span: Span,
    /// Whether the upper end is closed.
    pub include_now: bool,
    /// Where it goes.
    pub slot: SlotId,
    /// Replaces `missing`.
    pub default: DefaultValue,
}

/// An expression whose types are checked and whose features are columns.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BoundExpr {
    /// A slot of the plan, or one of a window's columns.
    Column {
        /// Its index.
        index: usize,
        /// Its type.
        #[serde(rename = "type")]
        ty: Type,
    },
    /// A constant in JSON form of its type; null is Python's `None`.
    Literal {
        /// Its type.
        #[serde(rename = "type")]
        ty: Type,
        /// Its value.
        value: serde_json::Value,
    },
    /// A function of arguments.
    Call {
        /// Which function.
        function: Function,
        /// Its arguments, already of types the function takes.
        args: Vec<BoundExpr>,
        /// Type of the result.
        #[serde(rename = "type")]
        ty: Type,
    },
}

impl BoundExpr {
    /// Type of the result.
    pub fn ty(&self) -> &Type {
        match self {
            Self::Column { ty, .. } | Self::Literal { ty, .. } | Self::Call { ty, .. } => ty,
        }
    }
}

/// Which resolver to call and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ResolverCall {
    /// Name of the resolver; also of the function in its module.
    pub name: Name,
    /// Dotted module.
    pub module: String,
    /// How it is called.
    pub mode: ResolverMode,
    /// Whether it is `async def`.
    pub is_async: bool,
    /// Longest time one call may take.
    pub timeout: Option<Span>,
    /// How often a raising call is tried again.
    pub retries: u32,
    /// Of its code, package lock and parameters (rule S28); what feeds them stands in the plan itself.
    pub fingerprint: String,
}

/// One parameter of a call.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CallInput {
    /// Parameter name.
    pub name: String,
    /// Type of its values; `datetime` for the row's instant.
    #[serde(rename = "type")]
    pub ty: Type,
    /// The slot to read; `None` is the row's instant.
    pub slot: Option<SlotId>,
    /// Whether the resolver takes `None` (rule S32).
    pub optional: bool,
}

/// One result of a call.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CallOutput {
    /// Where it goes.
    pub slot: SlotId,
    /// Type of its values.
    #[serde(rename = "type")]
    pub ty: Type,
    /// Whether it may be null.
    pub optional: bool,
    /// Checked on each value; a violation is an error cell.
    pub validation: Option<Validation>,
    /// Replaces `missing` and `expired`.
    pub default: DefaultValue,
}
