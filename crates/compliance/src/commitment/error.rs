//! Why a registry is refused.

use std::fmt;
use std::path::PathBuf;

use super::{CommitmentId, Freshness};

/// A registry that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// A file or folder cannot be read.
    #[error("`{path}` cannot be read; check that it is there and may be read", path = .path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file says something that a registry may not hold.
    #[error("{place}: {rule}")]
    Refused {
        /// Where it says so.
        place: Place,
        /// Which rule it breaks.
        rule: Rule,
    },
}

impl RegistryError {
    /// The broken rule, if it is one.
    pub fn rule(&self) -> Option<&Rule> {
        match self {
            Self::Refused { rule, .. } => Some(rule),
            Self::Unreadable { .. } => None,
        }
    }
}

/// A place in a file of the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file, as `commitments/people.toml`; with its folder for an organisation's own.
    pub file: String,
    /// The line, counted from 1, where there is one.
    pub line: Option<usize>,
}

impl Place {
    pub(super) fn file(file: &str) -> Self {
        Self { file: file.to_owned(), line: None }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}", self.file),
            None => f.write_str(&self.file),
        }
    }
}

/// What a registry may not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rule {
    /// Not TOML, a field that is missing, unknown or of the wrong kind.
    #[error("{says}")]
    Form {
        /// What the parser says.
        says: String,
    },
    /// A form this build does not read.
    #[error("the format is `{given}`; this build reads `{expected}`")]
    Format {
        /// What the file says.
        given: String,
        /// What it should say.
        expected: &'static str,
    },
    /// A folder that would be passed over in silence.
    #[error("a registry has no part `{name}`; its parts are {parts}")]
    UnknownPart {
        /// The name.
        name: String,
        /// Those there are.
        parts: &'static str,
    },
    /// A folder without anything to read.
    #[error("nothing is here for a registry; add {parts}")]
    NothingHere {
        /// Those there are.
        parts: &'static str,
    },
    /// A field that says nothing, or not in the form it must have.
    #[error("`{of}`: `{field}` {must}")]
    Field {
        /// Whose.
        of: String,
        /// Which.
        field: &'static str,
        /// What it must be.
        must: &'static str,
    },
    /// Something listed twice in one field.
    #[error("`{of}`: `{field}` lists `{item}` twice; remove one")]
    Repeated {
        /// Whose.
        of: String,
        /// Which.
        field: &'static str,
        /// What.
        item: String,
    },
    /// The same id given twice.
    #[error("`{id}` is already defined in {first}; give this one another id or remove it")]
    Twice {
        /// Which.
        id: String,
        /// Where it stands already.
        first: Place,
    },
    /// An id of the promises that ship, in an organisation's folder.
    #[error("`{id}`: ids that begin with `CH-` or `CI-` belong to the promises that ship; choose letters of your own")]
    Reserved {
        /// Which.
        id: CommitmentId,
    },
    /// An id carried by several rows that is not declared as split.
    #[error(
        "`{id}` is carried by `{first}` and by `{second}`; keep it in one, or list it in `split` if each carries half"
    )]
    CarriedTwice {
        /// Which.
        id: CommitmentId,
        /// One row.
        first: CommitmentId,
        /// The other.
        second: CommitmentId,
    },
    /// An id declared as split that fewer than two rows carry.
    #[error("`{id}` is listed in `split` but fewer than two rows carry it; remove it there or add it to `folded`")]
    NotSplit {
        /// Which.
        id: CommitmentId,
    },
    /// An id that nothing defines.
    #[error("`{of}` names `{id}`, which no commitment defines or carries")]
    UnknownCommitment {
        /// Who names it.
        of: String,
        /// Which.
        id: CommitmentId,
    },
    /// A check that nothing defines.
    #[error("`{of}`: no check is called `{check}`; define it in `checks.toml` or correct the name")]
    UnknownCheck {
        /// Whose.
        of: CommitmentId,
        /// Which.
        check: String,
    },
    /// Code that only a build can bring, in an organisation's folder.
    #[error("`{check}`: an organisation's own checks are of kind `artefact`; probes come with the software")]
    ForeignProbe {
        /// Which.
        check: String,
    },
    /// Software to come with something to run.
    #[error("`{of}`: its software is to come, so `{field}` must be empty")]
    NotYet {
        /// Whose.
        of: CommitmentId,
        /// Which field.
        field: &'static str,
    },
    /// Software that is here and that nothing watches.
    #[error("`{of}`: its software is here, so `checks` must name what watches it")]
    Unwatched {
        /// Whose.
        of: CommitmentId,
    },
    /// Software that is here and that no test shows.
    #[error("`{of}`: its software is here, so `{field}` must name at least one test")]
    Untested {
        /// Whose.
        of: CommitmentId,
        /// Which field.
        field: &'static str,
    },
    /// A promise that needs somebody outside, watched by nothing that somebody outside issues.
    #[error(
        "`{of}`: only somebody outside can show it, so one of its checks must be an artefact that is `issued_outside`"
    )]
    NobodyOutside {
        /// Whose.
        of: CommitmentId,
    },
    /// A test named in another way than test runners do.
    #[error(
        "`{of}`: `{test}` names no test; write `<test binary> <test>` as nextest lists it, or `pytest <file>::<test>`"
    )]
    TestName {
        /// Whose.
        of: CommitmentId,
        /// What is written.
        test: String,
    },
    /// An observation that may be older than it should.
    #[error("`{of}`: observations of it may be at most `{most}` old, not `{given}`")]
    TooOld {
        /// Whose.
        of: String,
        /// What is written.
        given: Freshness,
        /// The bound.
        most: Freshness,
    },
    /// An observation that has to be newer than its check makes it.
    #[error(
        "`{of}`: `{given}` is less than `{check}` promises, which runs every `{every}`; it would be stale between runs"
    )]
    TooFresh {
        /// Whose.
        of: CommitmentId,
        /// What is written.
        given: Freshness,
        /// Which check.
        check: String,
        /// How often it runs.
        every: Freshness,
    },
    /// A framework that nothing defines.
    #[error("`{of}`: no framework is called `{framework}`; define it in `frameworks/` or correct the name")]
    UnknownFramework {
        /// Whose.
        of: CommitmentId,
        /// Which.
        framework: String,
    },
    /// A criterion that its framework does not have.
    #[error("`{of}`: `{framework}` has no criterion `{criterion}`; add it to the framework or correct the code")]
    UnknownCriterion {
        /// Whose.
        of: CommitmentId,
        /// Of which framework.
        framework: String,
        /// Which.
        criterion: String,
    },
    /// A review without reviewer or day, or the reverse.
    #[error(
        "`{of}`: a mapping is reviewed by somebody on a day: give `reviewer` and `reviewed_on`, or say `reviewed = false` without them"
    )]
    Review {
        /// Whose.
        of: CommitmentId,
    },
    /// A document that leaves out a promise.
    #[error("document `{document}` covers `{prefix}` but leaves out `{id}`")]
    LeftOut {
        /// Which.
        document: String,
        /// Of which prefix.
        prefix: String,
        /// What it leaves out.
        id: CommitmentId,
    },
    /// A document with a promise of others.
    #[error("document `{document}` lists `{id}`, whose letters are not in its `covers`")]
    NotCovered {
        /// Which.
        document: String,
        /// What.
        id: CommitmentId,
    },
    /// The promises that ship are not all there.
    #[error("the promises that ship: {says}")]
    Incomplete {
        /// What is missing or too many.
        says: String,
    },
}
