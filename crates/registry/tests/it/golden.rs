//! Runs golden files: several cases a file, separated by `====`; a case is its text, `----`, and what it gives.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Runs every `.case` file of `tests/golden/<folder>`. With `CRETA_UPDATE_GOLDEN` set, writes the answers instead of
/// comparing them.
pub(crate) fn run(folder: &str, answer: impl Fn(&str) -> String) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(folder);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&root)
        .unwrap_or_else(|error| panic!("{}: {error}", root.display()))
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "case"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no cases in {}", root.display());
    let update = std::env::var_os("CRETA_UPDATE_GOLDEN").is_some();
    let mut failures = String::new();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a readable case");
        let mut written = String::new();
        for (position, case) in text.split("====\n").enumerate() {
            let (question, expected) = case.split_once("----\n").unwrap_or((case, ""));
            let got = answer(question);
            if position > 0 {
                written.push_str("====\n");
            }
            written.push_str(&format!("{question}----\n{}\n", got.trim_end()));
            if !update && expected.trim_end() != got.trim_end() {
                let title = question.lines().next().unwrap_or_default();
                writeln!(failures, "{} {title}\nexpected:\n{expected}\ngot:\n{got}\n", file.display())
                    .expect("a string");
            }
        }
        if update {
            std::fs::write(&file, written.trim_end().to_owned() + "\n").expect("a writable case");
        }
    }
    assert!(failures.is_empty(), "{failures}\nIf the new answers are right, run again with CRETA_UPDATE_GOLDEN=1.");
}
