//! Promises as data, evidence as records, states as arithmetic: what the trust page shows is computed here.
//!
//! [`Registry`] holds the commitments. A check gives an [`Observation`]; [`Evidence::judge`] turns it into evidence,
//! whose digest goes into the audit log before anything else. [`Ledger`] reads the log; [`report`] computes each
//! commitment's [`State`] from it. Nobody can type a state, and what stands in no entry of the log has no effect.

mod evidence;
mod inventory;
mod ledger;
mod report;
mod state;

pub use evidence::{
    Collector, EVIDENCE_FORMAT, Evidence, EvidenceError, Finding, Observation, Outcome, RAW_BYTES_MAX, Run,
};
pub use inventory::{DataClass, INVENTORY_FORMAT, Inventory, InventoryError, Item, ItemKind};
pub use ledger::{Ledger, LogLine, Recorded, detail};
pub use report::{
    CheckReport, CommitmentReport, HISTORY, LogPosition, Mode, Organisation, PillarReport, REPORT_FORMAT, ReportInput,
    TrustReport, report,
};
pub use state::{Interval, PeriodSummary, Seen, State, least, over_period, state_at};
