//! Why a resolver runs in Python.

use creta_model::{Location, Problem};

/// What could not be compiled, where, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// File relative to the project folder and line, from 1.
    pub location: Location,
    /// Code point within the line, from 1.
    pub column: u32,
    /// What it is: "`while` loops".
    pub what: String,
    /// What to do about it.
    pub help: String,
}

impl Refusal {
    /// The refusal as every surface shows it.
    pub fn to_problem(&self, resolver: &str) -> Problem {
        let message = format!("resolver `{resolver}` runs in Python: {}", self.what);
        Problem::new("compile/not-compiled", message).with_help(&self.help).at(&self.location)
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { location, column, what, help } = self;
        write!(f, "{}:{}:{column}: {what}\n  help: {help}", location.file, location.line)
    }
}
