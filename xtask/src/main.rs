//! Daily commands that are more than one step. Each only starts what stands in `.ci` and `scripts`.

mod commitments;

use std::path::Path;
use std::process::{Command, ExitCode};

const USAGE: &str = "\
usage: cargo xtask <command>

  check                    every check that CI runs
  commitments              which commitments this build proves, by the tests they name
  golden [--update]        compare answers, plans and messages with tests/golden, or rewrite them
  sim [--seed N]           the whole system in one thread, with faults; one seed replays
  dev                      build, start a server with example data, leave it running";

fn main() -> ExitCode {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = given.iter().map(String::as_str).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace");
    if words == ["commitments", "--prepared"] {
        // How `scripts/commitments` goes on when everything is built.
        return match commitments::run(root) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(why) => {
                eprintln!("{why}");
                ExitCode::FAILURE
            }
        };
    }
    let Some(mut command) = command(&words) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match command.current_dir(root).status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("could not start {}: {error}", command.get_program().display());
            ExitCode::FAILURE
        }
    }
}

fn command(words: &[&str]) -> Option<Command> {
    let run = |program: &str, args: &[&str]| {
        let mut command = Command::new(program);
        command.args(args);
        command
    };
    let tests = |args: &[&str]| run("cargo", &[&["nextest", "run"], args].concat());
    Some(match words {
        ["check"] => run("bash", &[".ci/run"]),
        ["commitments"] => run("bash", &["scripts/commitments"]),
        ["golden"] => tests(&["--workspace"]),
        ["golden", "--update"] => {
            let mut command = tests(&["--workspace"]);
            command.env("CRETA_UPDATE_GOLDEN", "1");
            command
        }
        ["sim"] => tests(&["--package", "creta-sim"]),
        ["sim", "--seed", seed] if seed.parse::<u64>().is_ok() => {
            let mut command = tests(&["--package", "creta-sim"]);
            command.env("CRETA_SIM_SEED", seed);
            command
        }
        ["dev"] => {
            let mut command = run("bash", &["scripts/demo"]);
            command.env("KEEP", "1");
            command
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_does_not_know_is_refused() {
        for words in
            [&[][..], &["chekc"], &["commitments", "CH-20"], &["sim", "--seed", "x"], &["golden", "--update", "all"]]
        {
            assert!(command(words).is_none(), "{words:?}");
        }
    }

    #[test]
    fn what_it_starts_is_there() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace");
        for name in ["check", "commitments", "dev"] {
            let command = command(&[name]).expect("known");
            let script = command.get_args().next().expect("a script");
            assert!(root.join(script).is_file(), "{name} needs {}", script.display());
        }
    }
}
