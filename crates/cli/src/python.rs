//! The Python side of a project: which interpreter, and the definitions it exports.

use std::path::{Path, PathBuf};
use std::process::Command;

use creta_model::{Bundle, Problem};

use crate::failure::{Exit, Failure};

/// `--python`, `CRETA_PYTHON`, the active virtual environment, else `python3`.
pub(crate) fn interpreter(given: Option<&Path>) -> PathBuf {
    if let Some(path) = given {
        return path.to_owned();
    }
    if let Some(path) = std::env::var_os("CRETA_PYTHON").filter(|path| !path.is_empty()) {
        return path.into();
    }
    if let Some(folder) = std::env::var_os("VIRTUAL_ENV").filter(|path| !path.is_empty()) {
        return Path::new(&folder).join("bin").join("python");
    }
    "python3".into()
}

/// Imports the project's modules in the user's Python and takes what they define.
///
/// Runs the user's own code as the user; takes as long as importing it takes.
pub(crate) fn export(python: &Path, folder: &Path) -> Result<Bundle, Failure> {
    if !folder.join("creta.toml").is_file() {
        return Err(Failure::usage(
            "project/not-found",
            format!("there is no `creta.toml` in `{}`", folder.display()),
            "name the project's folder, or make a new one with `creta init FOLDER`",
        ));
    }
    let shown = python.display();
    let output = Command::new(python).args(["-m", "creta._export"]).arg(folder).output().map_err(|error| {
        Failure::usage(
            "project/no-python",
            format!("the interpreter `{shown}` could not be started: {error}"),
            "name one with `--python`, `CRETA_PYTHON` or an active virtual environment",
        )
    })?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    match output.status.code() {
        Some(0) => serde_json::from_str(&stdout).map_err(|error| unreadable(python, &error.to_string())),
        Some(2) => Err(Failure::project(problems(&stdout).ok_or_else(|| unreadable(python, "no problem was given"))?)),
        _ => Err(crashed(python, &String::from_utf8_lossy(&output.stderr))),
    }
}

/// One problem, a list of them, or `{"problems": [...]}`.
fn problems(text: &str) -> Option<Vec<Problem>> {
    let mut value: serde_json::Value = serde_json::from_str(text).ok()?;
    if let Some(list) = value.get_mut("problems") {
        value = list.take();
    }
    let list = if value.is_array() { value } else { serde_json::Value::Array(vec![value]) };
    serde_json::from_value::<Vec<Problem>>(list).ok().filter(|list| !list.is_empty())
}

fn crashed(python: &Path, stderr: &str) -> Failure {
    let shown = python.display();
    if stderr.contains("No module named creta") || stderr.contains("No module named 'creta'") {
        return Failure::usage(
            "project/no-package",
            format!("the package `creta` is not installed for `{shown}`"),
            format!("run `{shown} -m pip install creta`, or name another interpreter with `--python`"),
        );
    }
    let mut problem = Problem::new("project/import-failed", format!("the project could not be imported by `{shown}`"));
    for line in
        stderr.lines().rev().filter(|line| !line.trim().is_empty()).take(3).collect::<Vec<_>>().into_iter().rev()
    {
        problem = problem.with_note("python", line.trim(), None);
    }
    Failure::new(Exit::Usage, problem.with_help("import the modules in Python to see the whole traceback"))
}

fn unreadable(python: &Path, reason: &str) -> Failure {
    Failure::usage(
        "project/export-unreadable",
        format!("what `{}` exported could not be read: {reason}", python.display()),
        "the package `creta` and this command should be of the same version; compare `creta --version` and `pip show creta`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// A program in place of the interpreter, so that its answers are known.
    fn fake(folder: &Path, script: &str) -> PathBuf {
        let path = folder.join("python");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("write");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("chmod");
        path
    }

    fn code_of(script: &str) -> (String, Problem) {
        let folder = tempfile::tempdir().expect("temporary folder");
        std::fs::write(folder.path().join("creta.toml"), "").expect("write");
        let failure = export(&fake(folder.path(), script), folder.path()).expect_err("must fail");
        assert_eq!(failure.exit, Exit::Usage);
        (failure.problems[0].code.clone(), failure.problems[0].clone())
    }

    #[test]
    fn a_folder_without_a_project_is_refused_before_python_starts() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let failure = export(Path::new("/does/not/exist"), folder.path()).expect_err("no project");
        assert_eq!(failure.problems[0].code, "project/not-found");
    }

    #[test]
    fn each_way_to_fail_has_its_own_words() {
        let problem = r#"printf '{"code":"graph/cycle","message":"a loop"}'; exit 2"#;
        assert_eq!(code_of(problem).0, "graph/cycle");
        let many = r#"printf '{"problems":[{"code":"a/b","message":"one"},{"code":"c/d","message":"two"}]}'; exit 2"#;
        assert_eq!(code_of(many).0, "a/b");
        assert_eq!(code_of("echo \"python: No module named 'creta'\" >&2; exit 1").0, "project/no-package");
        let (code, problem) = code_of("echo Traceback >&2; echo 'ValueError: bad' >&2; exit 1");
        assert_eq!((code.as_str(), problem.notes[1].text.as_str()), ("project/import-failed", "ValueError: bad"));
        assert_eq!(code_of("echo hello; exit 0").0, "project/export-unreadable");
    }
}
