//! How a command ends when it does not end well.

use creta_model::Problem;

/// Exit codes, the same for every command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// What was asked for could not be done.
    Failed = 1,
    /// The command line, the profile or the project is wrong; nothing was tried.
    Usage = 2,
    /// The server does not answer.
    Unreachable = 3,
    /// The server knows who asks and refuses, or does not know.
    NotPermitted = 4,
}

/// What went wrong, ready to be shown. Never empty.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) problems: Vec<Problem>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, problem: Problem) -> Self {
        Self { exit, problems: vec![problem] }
    }

    /// A wrong command line, profile or folder.
    pub(crate) fn usage(code: &str, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(Exit::Usage, Problem::new(code, message).with_help(help))
    }

    /// A project that does not check.
    pub(crate) fn project(problems: Vec<Problem>) -> Self {
        Self { exit: Exit::Usage, problems }
    }

    /// Problems that a server answered with.
    pub(crate) fn answered(problems: Vec<Problem>) -> Self {
        let exit = problems.first().map_or(Exit::Failed, exit_of);
        Self { exit, problems }
    }

    /// A file of the user's that could not be read or written.
    pub(crate) fn file(action: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        Self::new(
            Exit::Failed,
            Problem::new("file/failed", format!("could not {action} `{}`: {error}", path.display())),
        )
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::answered(vec![problem])
    }
}

/// The part of a code before the slash says who has to do something about it; a place in the project says that its
/// author has.
fn exit_of(problem: &Problem) -> Exit {
    match problem.code.split('/').next().unwrap_or_default() {
        "auth" | "access" => Exit::NotPermitted,
        "network" => Exit::Unreachable,
        "plan" | "project" | "request" => Exit::Usage,
        _ if problem.location.is_some() => Exit::Usage,
        _ => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_can_tell_failures_apart() {
        let exit = |code: &str| Failure::from(Problem::new(code, "")).exit as u8;
        assert_eq!(
            [exit("internal/bug"), exit("plan/no-resolver"), exit("network/refused"), exit("access/denied")],
            [1, 2, 3, 4]
        );
        assert_eq!(exit("auth/expired"), 4);
        let placed =
            Problem::new("feature/bad-default", "").at(&creta_model::Location { file: "a.py".into(), line: 1 });
        assert_eq!(Failure::from(placed).exit as u8, 2);
    }
}
