//! The one shape in which every surface shows what went wrong.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Location;

/// What failed, where, and what to do: the same on HTTP, the command line, in Python and on pages.
///
/// Never holds a feature value or a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Stable and machine-readable: `plan/no-resolver`.
    pub code: String,
    /// One sentence in the user's words, names in backticks, starting lowercase.
    pub message: String,
    /// More to know, one fact a line: what asked for it, what is closest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// Where in the user's project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
}

/// One labelled line under a [`Problem`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// `asked for by`, `closest`, ...
    pub label: String,
    /// The fact.
    pub text: String,
    /// Where in the user's project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
}

impl Problem {
    /// A problem with a code and a message; the rest is added by the methods below.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), notes: Vec::new(), help: None, location: None }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds where it is.
    #[must_use]
    pub fn at(mut self, location: &Location) -> Self {
        self.location = Some(location.clone());
        self
    }

    /// Adds a labelled line.
    #[must_use]
    pub fn with_note(mut self, label: impl Into<String>, text: impl Into<String>, at: Option<&Location>) -> Self {
        self.notes.push(Note { label: label.into(), text: text.into(), location: at.cloned() });
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error[{}]: {}", self.code, self.message)?;
        if let Some(at) = &self.location {
            write!(f, "\n  at            {}:{}", at.file, at.line)?;
        }
        for note in &self.notes {
            write!(f, "\n  {:<13} {}", note.label, note.text)?;
            if let Some(at) = &note.location {
                write!(f, "   {}:{}", at.file, at.line)?;
            }
        }
        self.help.as_ref().map_or(Ok(()), |help| write!(f, "\n  help: {help}"))
    }
}

impl std::error::Error for Problem {}
