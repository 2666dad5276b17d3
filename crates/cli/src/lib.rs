//! The command `creta`: everything a team does with its features, from a shell or a script.
//!
//! Each command prints its result on stdout, as text for people or with `--json` as one line of JSON, and everything
//! else on stderr. Exit codes: 0 done, 1 failed, 2 wrong usage or project, 3 server not reachable, 4 not permitted.
//!
//! ```
//! let (mut out, mut err) = (Vec::new(), Vec::new());
//! let mut terminal = creta_cli::Terminal::new(&mut out, &mut err);
//! let code = creta_cli::run(["creta", "check", "/no/such/folder"], &mut terminal);
//! assert_eq!(code, 2);
//! assert!(String::from_utf8(err)?.starts_with("error[project/not-found]: there is no `creta.toml`"));
//! # Ok::<(), std::string::FromUtf8Error>(())
//! ```

mod args;
mod commands;
mod failure;
mod held_key;
mod http;
mod profile;
mod python;
mod secret;
mod terminal;
mod tpm;

use std::ffi::OsString;
use std::io::Write;

use clap::Parser;
use clap::error::ErrorKind;

use args::Cli;
use failure::Exit;
pub use http::{make_key, prove_possession};
pub use terminal::Terminal;

/// Runs the command line on the process's own streams and returns its exit code.
pub fn main<I, T>(args: I) -> i32
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    run(args, &mut Terminal::for_process(&mut out, &mut err))
}

/// Runs the command line, writes to `terminal` and returns the exit code. The first argument is the program's name.
pub fn run<I, T>(args: I, terminal: &mut Terminal<'_>) -> i32
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, terminal),
    };
    terminal.set_json(cli.json);
    match commands::run(cli.command, terminal) {
        Ok(()) => 0,
        Err(failure) => {
            terminal.fail(&failure);
            failure.exit as i32
        }
    }
}

/// Help and version are results; everything else is wrong usage.
fn usage(error: &clap::Error, terminal: &mut Terminal<'_>) -> i32 {
    let text = error.render();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            terminal.print(&text.to_string());
            0
        }
        _ => {
            terminal.complain(&text.to_string());
            Exit::Usage as i32
        }
    }
}

/// Writes and forgets: a reader that has gone away is not an error.
fn write(to: &mut dyn Write, text: &str) {
    let _ = to.write_all(text.as_bytes());
    let _ = to.flush();
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn run_in_memory(args: &[&str]) -> (i32, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = run(args, &mut Terminal::new(&mut out, &mut err));
        (code, String::from_utf8(out).expect("text"), String::from_utf8(err).expect("text"))
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_is_a_result_and_wrong_usage_is_not() {
        let (code, out, _) = run_in_memory(&["creta", "--help"]);
        assert_eq!(code, 0);
        for command in ["init", "deploy", "service-account", "completion"] {
            assert!(out.contains(command), "{command}");
        }
        let (code, out, err) = run_in_memory(&["creta", "depoly"]);
        assert_eq!((code, out.as_str()), (2, ""));
        assert!(err.contains("deploy"), "{err}");
        let (code, _, err) = run_in_memory(&["creta", "query", "--output", "nonsense"]);
        assert_eq!(code, 2);
        assert!(err.contains("is not a feature path"), "{err}");
        let (code, _, err) = run_in_memory(&["creta", "query", "--output", "A.b", "--as-of", "2025-03-01T12:00:00"]);
        assert_eq!(code, 2);
        assert!(err.contains("has no time zone"), "{err}");
    }

    #[test]
    fn every_command_and_option_is_explained() {
        fn check(command: &clap::Command, path: &str) {
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{path}: {} has no help", argument.get_id());
            }
            for below in command.get_subcommands() {
                let path = format!("{path} {}", below.get_name());
                assert!(below.get_about().is_some(), "{path} has no help");
                check(below, &path);
            }
        }
        check(&Cli::command(), "creta");
    }

    #[test]
    fn completion_scripts_are_written_for_each_shell() {
        for shell in ["bash", "zsh", "fish"] {
            let (code, out, _) = run_in_memory(&["creta", "completion", shell]);
            assert_eq!(code, 0);
            assert!(out.contains("service-account"), "{shell}");
        }
    }
}
