//! Witnesses: programs of other operators that remember how far an audit log was, and cosign only what continues it.
//!
//! What no log can show alone is that it was rolled back together with all it keeps. A witness stands elsewhere, has its
//! own key, and answers C2SP tlog-witness: the log sends each new checkpoint with a proof that it continues the one before,
//! the witness stores it and then signs it too. It holds no secret of the log and reads none of its entries.
//!
//! | Module | What |
//! | --- | --- |
//! | `folder` | a witness's data folder: its key, and one file per log, replaced durably before anything is signed |
//! | `service` | its listener |
//! | `client` | how a log or a monitor talks to it |
//! | `asking` | the server's side: every checkpoint goes to every witness; one that knows another history halts the log |
//! | `fork` | how an operator declares that a log goes on from an older copy, and how a witness accepts that |
//! | `monitor` | what somebody who trusts neither of them checks |

mod asking;
mod client;
mod folder;
mod fork;
pub mod monitor;
mod service;

pub(crate) use asking::{Asked, Witnesses, follow};
pub(crate) use fork::{NOTICE as FORK_NOTICE, entries_of, entries_since};

pub use client::WitnessClient;
pub use folder::{
    AcceptedFork, Evidence, WATCHED_LOG_FORMAT, WITNESS_FORMAT, WatchedLog, WitnessInit, WitnessOptions, accept_fork,
    add_log, admit, init, watched_logs,
};
pub use fork::{FORK_FORMAT, ForkNotice};
pub use service::{RunningWitness, WitnessServeOptions, serve, start};
