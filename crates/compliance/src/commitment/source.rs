//! Reads the files of a registry: those built in, and those of a folder.

use std::borrow::Cow;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::Spanned;

use super::check::CHECKS_FORMAT;
use super::document::DOCUMENT_FORMAT;
use super::framework::FRAMEWORK_FORMAT;
use super::{
    COMMITMENTS_FORMAT, CheckDefinition, Commitment, CommitmentId, Document, Framework, Place, RegistryError, Rule,
};

const NOT_CLAIMED_FORMAT: &str = "creta.not-claimed/1";
const CHECKS_FILE: &str = "checks.toml";
const NOT_CLAIMED_FILE: &str = "not-claimed.toml";
/// What a folder may hold, as messages name it.
const PARTS: &str = "`commitments/`, `documents/`, `frameworks/`, `checks.toml` and `not-claimed.toml`";

macro_rules! built_in {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("../../data/", $name)))),+]
    };
}

/// The files of this build. A test holds this list against the folder.
pub(super) const BUILT_IN: &[(&str, &str)] = built_in![
    "commitments/availability.toml",
    "commitments/endpoints.toml",
    "commitments/identity.toml",
    "commitments/incidents.toml",
    "commitments/monitoring.toml",
    "commitments/network.toml",
    "commitments/people.toml",
    "commitments/product.toml",
    "commitments/programme.toml",
    "commitments/vendors.toml",
    "commitments/change.toml",
    "documents/chain-io.toml",
    "documents/chalk.toml",
    "frameworks/iso27001.toml",
    "frameworks/soc2.toml",
    "checks.toml",
    "not-claimed.toml",
];

/// One file.
pub(super) struct SourceFile {
    /// Its path inside the registry's folder, by which its part is known.
    pub(super) path: String,
    /// Its name in messages.
    pub(super) shown: String,
    pub(super) text: Cow<'static, str>,
}

/// Something read, and where it stands.
pub(super) struct Placed<T> {
    pub(super) place: Place,
    pub(super) is_own: bool,
    pub(super) value: T,
}

/// All that the files say, as they say it.
#[derive(Default)]
pub(super) struct Read {
    pub(super) commitments: Vec<Placed<Commitment>>,
    pub(super) split: Vec<Placed<CommitmentId>>,
    pub(super) documents: Vec<Placed<Document>>,
    pub(super) frameworks: Vec<Placed<Framework>>,
    pub(super) checks: Vec<Placed<CheckDefinition>>,
    pub(super) not_claimed: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CommitmentsFile {
    format: String,
    #[serde(default)]
    split: Vec<Spanned<CommitmentId>>,
    commitment: Vec<Spanned<Commitment>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChecksFile {
    format: String,
    check: Vec<Spanned<CheckDefinition>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NotClaimedFile {
    format: String,
    not_claimed: Vec<String>,
}

/// The files of this build.
pub(super) fn built_in() -> Vec<SourceFile> {
    BUILT_IN
        .iter()
        .map(|(path, text)| SourceFile {
            path: (*path).to_owned(),
            shown: (*path).to_owned(),
            text: Cow::Borrowed(text),
        })
        .collect()
}

/// The files of a folder, in the order of their names. Files beside the parts are left to whoever put them there; an
/// unknown folder is refused, since a misspelt one would drop promises in silence.
pub(super) fn folder(root: &Path) -> Result<Vec<SourceFile>, RegistryError> {
    let mut files = Vec::new();
    for name in names(root)? {
        let path = root.join(&name);
        if name.starts_with('.') {
            continue;
        }
        if !path.is_dir() {
            if [CHECKS_FILE, NOT_CLAIMED_FILE].contains(&name.as_str()) {
                files.push(read(root, name)?);
            }
            continue;
        }
        if !["commitments", "documents", "frameworks"].contains(&name.as_str()) {
            return Err(refused(Place::file(&path.display().to_string()), Rule::UnknownPart { name, parts: PARTS }));
        }
        for file in names(&path)? {
            if file.ends_with(".toml") {
                files.push(read(root, format!("{name}/{file}"))?);
            }
        }
    }
    if files.is_empty() {
        return Err(refused(Place::file(&root.display().to_string()), Rule::NothingHere { parts: PARTS }));
    }
    Ok(files)
}

fn names(folder: &Path) -> Result<Vec<String>, RegistryError> {
    let unreadable = |source| RegistryError::Unreadable { path: folder.to_owned(), source };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        names.push(entry.map_err(unreadable)?.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names)
}

fn read(root: &Path, path: String) -> Result<SourceFile, RegistryError> {
    let full = root.join(&path);
    let text =
        std::fs::read_to_string(&full).map_err(|source| RegistryError::Unreadable { path: full.clone(), source })?;
    Ok(SourceFile { path, shown: full.display().to_string(), text: Cow::Owned(text) })
}

/// Adds what `files` say to `all`.
pub(super) fn parse(files: &[SourceFile], is_own: bool, all: &mut Read) -> Result<(), RegistryError> {
    for file in files {
        match file.path.split('/').next().expect("a split has a first part") {
            "commitments" => {
                let content: CommitmentsFile =
                    file.parse(COMMITMENTS_FORMAT, |content: &CommitmentsFile| &content.format)?;
                all.split.extend(content.split.into_iter().map(|id| file.placed(id, is_own)));
                all.commitments.extend(content.commitment.into_iter().map(|item| file.placed(item, is_own)));
            }
            "documents" => {
                let value: Document = file.parse(DOCUMENT_FORMAT, |content: &Document| &content.format)?;
                all.documents.push(Placed { place: Place::file(&file.shown), is_own, value });
            }
            "frameworks" => {
                let value: Framework = file.parse(FRAMEWORK_FORMAT, |content: &Framework| &content.format)?;
                all.frameworks.push(Placed { place: Place::file(&file.shown), is_own, value });
            }
            CHECKS_FILE => {
                let content: ChecksFile = file.parse(CHECKS_FORMAT, |content: &ChecksFile| &content.format)?;
                all.checks.extend(content.check.into_iter().map(|item| file.placed(item, is_own)));
            }
            NOT_CLAIMED_FILE => {
                let content: NotClaimedFile =
                    file.parse(NOT_CLAIMED_FORMAT, |content: &NotClaimedFile| &content.format)?;
                all.not_claimed.extend(content.not_claimed);
            }
            other => unreachable!("`{other}` is not read as a part"),
        }
    }
    Ok(())
}

impl SourceFile {
    fn parse<T: DeserializeOwned>(
        &self,
        expected: &'static str,
        format: impl Fn(&T) -> &String,
    ) -> Result<T, RegistryError> {
        let content: T = toml::from_str(&self.text).map_err(|error| {
            let line = error.span().map(|span| self.line(span.start));
            let place = Place { file: self.shown.clone(), line };
            refused(place, Rule::Form { says: error.message().to_owned() })
        })?;
        let given = format(&content).clone();
        if given == expected {
            Ok(content)
        } else {
            Err(refused(Place::file(&self.shown), Rule::Format { given, expected }))
        }
    }

    fn placed<T>(&self, item: Spanned<T>, is_own: bool) -> Placed<T> {
        let place = Place { file: self.shown.clone(), line: Some(self.line(item.span().start)) };
        Placed { place, is_own, value: item.into_inner() }
    }

    fn line(&self, at: usize) -> usize {
        1 + self.text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count()
    }
}

pub(super) fn refused(place: Place, rule: Rule) -> RegistryError {
    RegistryError::Refused { place, rule }
}
