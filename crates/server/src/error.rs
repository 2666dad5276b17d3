//! What can go wrong before the server answers requests: making a data folder, and starting on one.

use std::io;
use std::path::PathBuf;

use creta_model::{InvalidName, Problem};

/// Why a data folder could not be made or a server not started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The folder is not empty, and nothing in it is overwritten.
    #[error("`{}` already holds {}; nothing was changed. start it with `creta server start --data {}`, or choose an empty folder", folder.display(), present.join(", "), folder.display())]
    AlreadyThere {
        /// The folder.
        folder: PathBuf,
        /// What stands in it, as names in backticks.
        present: Vec<String>,
    },
    /// No data folder.
    #[error("`{}` is not a data folder: it has no `config.toml`; make one with `creta server init --data {}`", folder.display(), folder.display())]
    NotADataFolder {
        /// The folder.
        folder: PathBuf,
    },
    /// Another server has it open.
    #[error("another process serves `{}`; stop it first: a data folder has one server", folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// The configuration cannot be used.
    #[error("`{}` cannot be used: {reason}", file.display())]
    Config {
        /// The configuration file.
        file: PathBuf,
        /// What is wrong and what to write instead.
        reason: String,
    },
    /// A file or folder could not be read or written.
    #[error("could not {action} `{}`", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The address could not be listened on.
    #[error("could not listen on `{address}`; choose a free one as `listen` in `config.toml`")]
    Listen {
        /// The address from the configuration.
        address: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A certificate or key could not be made or used.
    #[error("the server's certificate cannot be used: {reason}")]
    Certificate {
        /// What the library says; never key material.
        reason: String,
    },
    /// A name in the options is not one.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// A part of the server refused to start, in its own words.
    #[error("{0}")]
    Refused(Box<Problem>),
}

impl From<Problem> for ServerError {
    fn from(problem: Problem) -> Self {
        Self::Refused(Box::new(problem))
    }
}

impl ServerError {
    /// The form that every surface shows.
    pub fn to_problem(&self) -> Problem {
        let code = match self {
            Self::Refused(problem) => return problem.as_ref().clone(),
            Self::AlreadyThere { .. } => "server/already-there",
            Self::NotADataFolder { .. } => "server/no-data-folder",
            Self::InUse { .. } => "server/in-use",
            Self::Config { .. } => "server/config",
            Self::Io { .. } => "server/io",
            Self::Listen { .. } => "server/listen",
            Self::Certificate { .. } => "server/certificate",
            Self::Name(_) => "server/name",
        };
        let problem = Problem::new(code, self.to_string());
        match std::error::Error::source(self) {
            Some(source) => problem.with_note("caused by", source.to_string(), None),
            None => problem,
        }
    }
}
