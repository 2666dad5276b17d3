//! What is due again and again: when it opens, by when it is done, by whom, and what has to be shown for it.
//!
//! ```text
//! Occurrence  upcoming -> open -> done
//!                           |-> overdue -> done, late
//! ```
//!
//! A cadence has no end of its own and cannot be changed while something is open, so nothing overdue disappears. What
//! was shown once cannot be shown again. Instants are computed from `now` alone.

mod completion;
mod schedule;

use creta_model::{Instant, Span};
use serde::{Deserialize, Serialize};

pub use completion::{Actor, COMPLETION_FORMAT, Completion, Confirmed};
pub use schedule::Schedule;

use crate::SubjectId;
use crate::document::{digest, document};
use crate::draft::{Change, Draft};

/// The form of cadences that this build writes and reads.
pub const CADENCE_FORMAT: &str = "creta.cadence/1";

/// What a field of an artefact holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FieldKind {
    /// Words: 20 to 4,000 characters.
    Text,
    /// A name that people gave: 1 to 128 letters, digits and marks.
    Name,
    /// A SHA-256 in hexadecimal. The same one cannot stand for two occurrences.
    Digest,
    /// A whole number from 0 to 2^53.
    Count,
    /// An instant between the opening of the occurrence and now.
    Instant,
}

/// A field that an artefact must have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: FieldKind,
}

/// How many humans it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum People {
    /// Whoever has the owner's role.
    One,
    /// Whoever has the owner's role, and another human who confirms.
    Two,
}

/// Something that is due again and again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cadence {
    /// [`CADENCE_FORMAT`].
    pub format: String,
    /// Name, for example `access-review`.
    pub id: SubjectId,
    /// Counts changes.
    pub revision: u32,
    /// When it opens, by RFC 5545: `FREQ=MONTHLY;INTERVAL=3`. Daily at most; the time of day comes from `start`.
    pub rule: String,
    /// Local time from which the rule counts: `2026-01-01T09:00:00`.
    pub start: String,
    /// Zone of that time: `Europe/Vienna`.
    pub zone: String,
    /// Time from opening to due.
    pub due_within: Span,
    /// Role of who answers for it: `security-lead`.
    pub owner: String,
    /// What has to be shown.
    pub artefact: Vec<Field>,
    /// How many humans it takes.
    pub people: People,
}

document!(Cadence, CADENCE_FORMAT);

/// One time that it is due.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Occurrence {
    /// When it opens.
    pub opens: Instant,
    /// The last instant at which it is in time.
    pub due: Instant,
    /// Name, the same whenever it is computed: `access-review@2026-01-01T08:00:00Z`.
    pub id: String,
}

/// Where an occurrence stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OccurrenceState {
    /// Not to be done yet.
    Upcoming,
    /// To be done.
    Open,
    /// Should have been done.
    Overdue,
    /// Done.
    Done,
}

/// An occurrence and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Which.
    pub occurrence: Occurrence,
    /// Where it stands.
    pub state: OccurrenceState,
    /// When it was done.
    pub done_at: Option<Instant>,
}

impl Status {
    /// Whether it was done after it was due, or still is not and should be.
    pub fn is_late(&self, now: Instant) -> bool {
        self.occurrence.due < self.done_at.unwrap_or(now)
    }
}

/// Why a cadence or a completion was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CadenceError {
    /// The rule is not one that is taken here.
    #[error("`{given}` cannot be used as a rule: {rule}")]
    Rule {
        /// What was given.
        given: String,
        /// What is wrong with it.
        rule: &'static str,
    },
    /// Not a local time.
    #[error("`{given}` is not a local time; write it like `2026-01-01T09:00:00`, without a zone")]
    Start {
        /// What was given.
        given: String,
    },
    /// No zone of that name.
    #[error("`{given}` is not a time zone; write it like `Europe/Vienna` or `UTC`")]
    Zone {
        /// What was given.
        given: String,
    },
    /// The definition does not fit together.
    #[error("cadence `{cadence}` cannot be used: {rule}")]
    Definition {
        /// Which.
        cadence: SubjectId,
        /// What is wrong.
        rule: &'static str,
    },
    /// Something is open, so the cadence stays as it is.
    #[error("`{occurrence}` is not done; complete it before changing its cadence")]
    Unfinished {
        /// Which.
        occurrence: String,
    },
    /// No occurrence of that name.
    #[error("cadence `{cadence}` has no such occurrence; list them with their names")]
    NoOccurrence {
        /// Which cadence.
        cadence: SubjectId,
    },
    /// It has not opened.
    #[error("`{occurrence}` opens at {opens}; complete it then")]
    Early {
        /// Which.
        occurrence: String,
        /// When.
        opens: Instant,
    },
    /// It is done.
    #[error("`{occurrence}` is completed already")]
    Done {
        /// Which.
        occurrence: String,
    },
    /// Not by whom it has to be.
    #[error("`{occurrence}` {rule}")]
    WrongPerson {
        /// Which.
        occurrence: String,
        /// Whose it is.
        rule: &'static str,
    },
    /// A field lacks, is not known, or does not hold what it should. Its value is not repeated.
    #[error("the artefact cannot be taken: field `{field}` {rule}")]
    Artefact {
        /// Which field.
        field: String,
        /// What is wrong.
        rule: &'static str,
    },
    /// Somebody confirms something else than what was reported.
    #[error("what you confirm is not what was reported; look at it again and confirm anew")]
    Changed,
}

impl CadenceError {
    /// A stable code for the API: `cadence/early`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Rule { .. } => "cadence/rule",
            Self::Start { .. } => "cadence/start",
            Self::Zone { .. } => "cadence/zone",
            Self::Definition { .. } => "cadence/definition",
            Self::Unfinished { .. } => "cadence/unfinished",
            Self::NoOccurrence { .. } => "cadence/no-occurrence",
            Self::Early { .. } => "cadence/early",
            Self::Done { .. } => "cadence/done",
            Self::WrongPerson { .. } => "cadence/wrong-person",
            Self::Artefact { .. } => "cadence/artefact",
            Self::Changed => "cadence/changed",
        }
    }
}

impl Cadence {
    /// Checks a definition and gives the entry that declares it.
    pub fn declare(self) -> Result<Change<Self>, CadenceError> {
        self.require_sound()?;
        let entry = self.describe("cadence.declared");
        Ok(Change { document: self, entry })
    }

    /// Replaces it by another definition, whose occurrences all lie ahead. Refused while something is open.
    pub fn revise(&self, to: Self, done: &[Completion], now: Instant) -> Result<Change<Self>, CadenceError> {
        let wrong = |rule| Err(CadenceError::Definition { cadence: self.id.clone(), rule });
        if let Some(status) = self
            .statuses(done, now)?
            .into_iter()
            .find(|status| matches!(status.state, OccurrenceState::Open | OccurrenceState::Overdue))
        {
            return Err(CadenceError::Unfinished { occurrence: status.occurrence.id });
        }
        if to.id != self.id {
            return wrong("a change keeps its name");
        }
        let document = Self { revision: self.revision + 1, ..to };
        document.require_sound()?;
        if !document.schedule()?.between(Instant::MIN, now.plus(Span::seconds(1))).is_empty() {
            return wrong("a change begins in the future; move its start");
        }
        let entry = document.describe("cadence.revised").digest("before", digest(self));
        Ok(Change { document, entry })
    }

    /// When it opens.
    pub fn schedule(&self) -> Result<Schedule, CadenceError> {
        Schedule::parse(&self.rule, &self.start, &self.zone)
    }

    /// Every occurrence that has opened, oldest first, and the next one. Time linear in their number.
    pub fn occurrences(&self, now: Instant) -> Result<Vec<Occurrence>, CadenceError> {
        let opens = self.schedule()?.until_after(now);
        Ok(opens.into_iter().map(|opens| self.occurrence(opens)).collect())
    }

    /// Where each of [`Self::occurrences`] stands. Completions of other cadences are passed over, and so are those that
    /// still wait for their confirmation.
    pub fn statuses(&self, done: &[Completion], now: Instant) -> Result<Vec<Status>, CadenceError> {
        let status = |occurrence: Occurrence| {
            let completion = done.iter().find(|c| c.occurrence == occurrence.id && c.is_final());
            let done_at = completion.map(Completion::final_at);
            let state = match done_at {
                Some(_) => OccurrenceState::Done,
                None if now < occurrence.opens => OccurrenceState::Upcoming,
                None if now <= occurrence.due => OccurrenceState::Open,
                None => OccurrenceState::Overdue,
            };
            Status { occurrence, state, done_at }
        };
        Ok(self.occurrences(now)?.into_iter().map(status).collect())
    }

    pub(crate) fn occurrence(&self, opens: Instant) -> Occurrence {
        Occurrence { opens, due: opens.plus(self.due_within), id: format!("{}@{opens}", self.id) }
    }

    fn describe(&self, action: &'static str) -> Draft {
        Draft::new(action)
            .name("cadence", &self.id)
            .count("revision", self.revision as usize)
            .digest("definition", digest(self))
            .name("owner", &self.owner)
            .count("fields", self.artefact.len())
            .count(
                "people",
                match self.people {
                    People::One => 1,
                    People::Two => 2,
                },
            )
    }

    fn require_sound(&self) -> Result<(), CadenceError> {
        self.schedule()?;
        match self.broken_rule() {
            Some(rule) => Err(CadenceError::Definition { cadence: self.id.clone(), rule }),
            None => Ok(()),
        }
    }

    pub(crate) fn broken_rule(&self) -> Option<&'static str> {
        let is_name = |name: &str| SubjectId::parse(name).is_ok();
        let mut names: Vec<&str> = self.artefact.iter().map(|field| field.name.as_str()).collect();
        names.sort_unstable();
        if self.id.as_str().len() > 64 || self.id.as_str().contains('@') {
            Some("its name has at most 64 characters, and no `@`")
        } else if self.schedule().is_err() {
            Some("its rule, start or zone cannot be read")
        } else if self.due_within < Span::hours(1) {
            Some("it gives less than an hour")
        } else if !is_name(&self.owner) {
            Some("its owner is not a role")
        } else if names.is_empty() {
            Some("nothing has to be shown for it")
        } else if !names.iter().all(|name| is_name(name)) || names.windows(2).any(|pair| pair[0] == pair[1]) {
            Some("its fields need different names of letters, digits and marks")
        } else {
            None
        }
    }
}
