//! Promises as data, evidence as records, states as arithmetic: what the trust page shows is computed here.
//!
//! [`Registry`] holds the commitments. A check gives an [`Observation`]; [`Evidence::judge`] turns it into evidence,
//! whose digest goes into the audit log before anything else. [`Ledger`] reads the log; [`report`] computes each
//! commitment's [`State`] from it. Nobody can type a state, and what stands in no entry of the log has no effect.

mod artefact;
mod commitment;
mod evidence;
mod inventory;
mod ledger;
pub mod ocsf;
pub mod oscal;
pub mod pack;
pub mod page;
mod report;
mod security_txt;
mod state;

pub use artefact::{ARTEFACT_BYTES_MAX, ARTEFACT_FORMAT, ARTEFACT_SPAN_MAX, Artefact, ArtefactError};
pub use commitment::{
    COMMITMENTS_FORMAT, CheckDefinition, CheckKind, Class, Commitment, CommitmentId, Criterion, Document, Framework,
    Freshness, InvalidCommitmentId, InvalidFreshness, Line, Mappings, NeededArtefact, Pillar, Place, Registry,
    RegistryError, Rule, Section, Software, TITLE_CHARS_MAX,
};
pub use evidence::{
    Collector, EVIDENCE_FORMAT, Evidence, EvidenceError, Finding, Observation, Outcome, RAW_BYTES_MAX, Run,
};
pub use inventory::{DataClass, INVENTORY_FORMAT, Inventory, InventoryError, Item, ItemKind, SingleSignOn};
pub use ledger::{DatedText, EXCEPTION_SPAN_MAX, Ledger, LogLine, LoggedException, Recorded, RecordedArtefact, detail};
pub use report::{
    ArtefactReport, CheckReport, CommitmentReport, ExceptionReport, HISTORY, LogPosition, Mode, Organisation,
    PillarReport, REPORT_FORMAT, ReportInput, TrustReport, report,
};
pub use security_txt::{SECURITY_TXT_PATH, SECURITY_TXT_SPAN_MAX, SecurityTxt, SecurityTxtError};
pub use state::{Interval, PeriodSummary, Seen, State, least, over_period, state_at};
