//! The intake of security reports: what a report may be, how many are taken, who is paged. The server uses it for its own
//! form; a process of its own keeps the form open when the server is down (CH-63, CH-64, CI-29).
//!
//! | Module | What |
//! | --- | --- |
//! | `report` | what somebody sends, its bounds, and the codes by which tenants are told from strangers |
//! | `gate` | how many reports are taken from whom, and which are the same one again; pure |
//! | `paging` | who is on call, and when they are woken: durable, in groups, never with a report's text |
//! | `spool` | one sealed file per report, which only the server can open |
//! | `folder` | the intake's data folder: its key, its authority, what it knows of its server |
//! | `answers` | what whoever reports gets to see, as a page or as JSON |
//! | `service` | its listener |

mod answers;
mod folder;
mod gate;
mod paging;
mod report;
mod service;
pub(crate) mod spool;

pub use folder::{INTAKE_FORMAT, IntakeInit, IntakeOptions, init, page_contacts, tenant_code};
pub use paging::{OnCall, PageResult};
pub use service::{IntakeServeOptions, RunningIntake, serve, start};

pub(crate) use answers::{Received, public, receipt, refused};
pub(crate) use folder::CODES_LABEL;
pub(crate) use gate::{BUSY, Gate};
pub(crate) use paging::{Pager, Urgency, check_all, not_noted, trusted};
pub(crate) use report::{Codes, NewReport, Promised};
