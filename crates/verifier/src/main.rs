//! `creta-verify`: the auditor's tool. It reads exported logs and proofs, offline, and believes nothing but keys.

mod args;
mod check;
mod pack;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

use crate::args::Cli;
use crate::check::{Failure, Verified, check};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let (shown, code) = match check(&cli.command) {
        Ok(verified) => (show(&verified, cli.json), 0),
        Err(failure) => (refuse(&failure, cli.json), if matches!(failure, Failure::Usage { .. }) { 2 } else { 1 }),
    };
    // Whoever reads it may be gone; the exit code still tells.
    let _ = if code == 0 || cli.json {
        writeln!(std::io::stdout(), "{shown}")
    } else {
        writeln!(std::io::stderr(), "{shown}")
    };
    ExitCode::from(code)
}

fn show(verified: &Verified, json: bool) -> String {
    if !json {
        return verified.text();
    }
    let mut value = serde_json::to_value(verified).expect("reports have string keys and no odd numbers");
    value["verified"] = true.into();
    format!("{value:#}")
}

fn refuse(failure: &Failure, json: bool) -> String {
    if json {
        format!("{:#}", serde_json::json!({ "verified": false, "code": failure.code(), "error": failure.to_string() }))
    } else {
        match failure {
            Failure::Usage { .. } => format!("error: {failure}"),
            Failure::NotVerified(_) | Failure::Pack(_) => format!("NOT verified: {failure}"),
        }
    }
}
