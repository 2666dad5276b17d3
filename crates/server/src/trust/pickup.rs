//! What intakes took while this server was up or down becomes cases here, each exactly once (CH-64).
//!
//! A spooled file is verified and opened, the log is told, the case is kept, and only then does the file go. What stops in
//! between is done again and finds the case that is there.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use creta_model::Problem;
use creta_platform::{FileError, Platform};
use serde_json::{Value, json};

use super::checks::Seen;
use super::client::Client;
use super::intake::{CameBy, Report, is_kept, keep};
use crate::config::IntakeConfig;
use crate::control_plane::ControlPlane;
use crate::intake::spool::{OpeningKey, Spool, Spooled, digest, open};
use crate::problem::internal;

/// The intakes that this server takes reports from.
pub(crate) struct Intakes {
    known: Vec<Known>,
    key: OpeningKey,
}

struct Known {
    name: String,
    folder: PathBuf,
    key: Vec<u8>,
    form: String,
    /// Opened when it is first looked at, and again after a failure: a folder may come later than the server.
    spool: Mutex<Option<Spool>>,
    /// Spooled files that cannot be taken, and why.
    refused: Mutex<BTreeMap<String, String>>,
}

impl Intakes {
    pub(super) fn new(configured: &[IntakeConfig], control: &ControlPlane) -> Result<Self, Problem> {
        let known = |intake: &IntakeConfig| {
            Ok(Known {
                name: intake.name.clone(),
                folder: intake.folder.clone(),
                key: intake.key().map_err(|reason| Problem::new("server/config", reason))?,
                form: intake.form.clone(),
                spool: Mutex::default(),
                refused: Mutex::default(),
            })
        };
        let known = configured.iter().map(known).collect::<Result<_, Problem>>()?;
        Ok(Self { known, key: OpeningKey::of(control.own_key()) })
    }

    /// Addresses of the forms.
    pub(super) fn forms(&self) -> impl Iterator<Item = &str> {
        self.known.iter().map(|intake| intake.form.as_str())
    }

    /// Names, with where each spools.
    pub(super) fn flows(&self) -> impl Iterator<Item = (&str, String)> {
        self.known.iter().map(|intake| (intake.name.as_str(), intake.folder.display().to_string()))
    }

    /// Takes everything that waits. Gives how many cases were made.
    pub(crate) fn pick_up(&self, control: &ControlPlane) -> Result<usize, Problem> {
        let mut made = 0;
        for intake in &self.known {
            let spool = match intake.open() {
                Ok(spool) => spool,
                Err(error) => {
                    tracing::error!(intake = intake.name, %error, "an intake's folder cannot be used");
                    continue;
                }
            };
            for reference in spool.list().map_err(|error| unusable(&error))? {
                made += usize::from(self.take(control, intake, &spool, &reference)?);
            }
        }
        Ok(made)
    }

    /// Takes one report; whether it became a case now.
    fn take(&self, control: &ControlPlane, intake: &Known, spool: &Spool, reference: &str) -> Result<bool, Problem> {
        if intake.refused().contains_key(reference) {
            return Ok(false);
        }
        let bytes = match spool.read(reference) {
            Ok(bytes) => bytes,
            Err(FileError::NotFound { .. }) => return Ok(false),
            Err(error) => return Err(unusable(&error)),
        };
        let opened = open(&bytes, &intake.key, &self.key).and_then(|report| {
            if report.reference == reference { Ok(report) } else { Err("its name is another report's".to_owned()) }
        });
        let report = match opened {
            Ok(report) => report,
            Err(reason) => {
                // It stays where it is, for people to look at, and the check turns red.
                tracing::error!(intake = intake.name, reference, reason, "a spooled report is refused");
                intake.refused().insert(reference.to_owned(), reason);
                return Ok(false);
            }
        };
        let fresh = !is_kept(control, reference)?;
        if fresh {
            keep(control, &intake.case(report, &bytes, control))?;
            tracing::info!(intake = intake.name, reference, "a report was taken from an intake");
        }
        spool.remove(reference).map_err(|error| unusable(&error))?;
        Ok(fresh)
    }

    /// Asks every intake how it is, as somebody outside would; each is a subject.
    pub(super) fn look(&self, seen: &mut Seen) -> Vec<Value> {
        self.known.iter().map(|intake| intake.look(seen)).collect()
    }
}

impl Known {
    fn open(&self) -> Result<Spool, FileError> {
        let mut spool = self.spool.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(spool) = spool.as_ref() {
            return Ok(spool.clone());
        }
        let opened = Spool::new(Arc::clone(&Platform::system(&self.folder)?.files));
        *spool = Some(opened.clone());
        Ok(opened)
    }

    fn refused(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn case(&self, spooled: Spooled, bytes: &[u8], control: &ControlPlane) -> Report {
        let now = control.platform().clock.now();
        let came = CameBy { name: self.name.clone(), spooled: digest(bytes), picked_up_at: now };
        Report {
            format: Report::FORMAT.to_owned(),
            reference: spooled.reference,
            // Nothing arrives later than it is taken (R3), whatever another clock says.
            received_at: spooled.received_at.min(now),
            title: spooled.title,
            description: spooled.description,
            contact: spooled.contact,
            urgent: spooled.urgent,
            tenant: spooled.tenant,
            same_as: spooled.same_as,
            intake: Some(came),
            acknowledged_at: None,
            decided: None,
        }
    }

    fn look(&self, seen: &mut Seen) -> Value {
        let subject = format!("flow:intake-{}", self.name);
        seen.subject(subject.as_str());
        let base = self.form.trim_end_matches("/trust/report/").to_owned();
        let health = Client::of_anybody(&self.folder.join("tls/ca.pem"), base)
            .and_then(|client| Ok((client.get("/health", None)?, client.get("/trust/report/", None)?)));
        match &health {
            Err(reason) => seen.finding(&subject, "intake/down", format!("an intake does not answer: {reason}")),
            Ok((health, form)) => {
                let health = health.json();
                if form.status != 200 {
                    seen.finding(&subject, "intake/no-form", "an intake does not show its form");
                }
                if health["on_call"].as_u64().unwrap_or_default() == 0 {
                    seen.finding(&subject, "intake/nobody-on-call", "an intake has nobody to page");
                }
                if health["paging_fails"] != json!(false) {
                    seen.finding(&subject, "intake/nobody-paged", "nobody on call accepted an intake's newest page");
                }
            }
        }
        let refused = self.refused().len();
        if refused > 0 {
            seen.finding(
                &subject,
                "intake/refused-spool",
                "a spooled report was not signed by its intake, or was edited",
            );
        }
        json!({ "name": self.name, "answers": health.is_ok(), "refused": refused })
    }
}

fn unusable(error: &FileError) -> Problem {
    tracing::error!(%error, "a spool cannot be used");
    internal()
}
