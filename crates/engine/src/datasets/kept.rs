//! Which datasets there are: names, versions, and what became of them.

use std::collections::BTreeSet;

use creta_audit::Permit;
use creta_iam::Action;
use creta_model::Problem;
use creta_store::StoreError;
use serde::{Deserialize, Serialize};

use super::version::{DatasetEntry, DatasetName, DatasetRef, DatasetState, DatasetVersion, FORMAT, VersionEntry};
use crate::scope_engine::{ScopeEngine, lock, store_problem};

/// Documents that say which dataset a name means; their id is the name.
const NAMES: &str = "dataset";
/// Versions of one dataset at most, retired ones among them: whoever looks at one without its number reads them all.
const VERSIONS_OF_ONE_MAX: u32 = 10_000;

/// Documents of the versions of one dataset; their id is the number. Each dataset's are of a kind of their own, so that whoever
/// looks at one reads nothing of the others.
fn versions_kind(dataset: &str) -> String {
    format!("dataset-version/{dataset}")
}

/// What a tenant keeps of datasets at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatasetLimits {
    /// Versions with their rows; retired ones do not count.
    pub versions_max: u64,
    /// Bytes of their rows, as Parquet.
    pub bytes_max: u64,
}

impl DatasetLimits {
    /// As much as there is room for.
    pub const NONE: Self = Self { versions_max: u64::MAX, bytes_max: u64::MAX };
}

/// What a name means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    dataset: String,
    /// What the dataset is called since. A name stays taken: what somebody wrote down as `name@version` is those rows or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    now: Option<DatasetName>,
}

/// Whose datasets somebody may rename and retire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeper {
    /// Everybody's.
    OfAll,
    /// Those of which they made every version concerned.
    OfOwn,
}

impl Keeper {
    fn may<'a>(self, permit: &Permit, mut versions: impl Iterator<Item = &'a DatasetVersion>) -> Result<(), Problem> {
        let own = |version: &DatasetVersion| version.made_by == permit.principal().id().to_string();
        if self == Self::OfAll || self == Self::OfOwn && versions.all(own) {
            return Ok(());
        }
        Err(Problem::new("access/dataset-keeper", "this dataset is not yours to rename or retire")
            .with_help("whoever made it does that, or somebody who may deploy here"))
    }
}

impl ScopeEngine {
    /// All datasets, by name.
    pub fn datasets(&self, permit: &Permit) -> Result<Vec<DatasetEntry>, Problem> {
        self.permitted(permit, Action::CatalogueRead, [])?;
        let mut listed = Vec::new();
        for (name, named) in self.names()?.into_iter().filter(|(_, named)| named.now.is_none()) {
            let mut versions = self.versions_of(&named.dataset)?;
            versions.sort_by_key(|version| std::cmp::Reverse(version.version));
            // A name without versions is one whose first was never finished.
            if !versions.is_empty() {
                listed.push(DatasetEntry { name, versions: versions.iter().map(VersionEntry::of).collect() });
            }
        }
        Ok(listed)
    }

    /// A version of a dataset, under the name that it has or had: the one that is named, or the newest that is kept, or else the newest.
    ///
    /// Says nothing of rights: what of it may be shown is decided by whoever shows it.
    pub fn dataset(&self, which: &DatasetRef) -> Result<DatasetVersion, Problem> {
        let (name, named) = self.called(&which.name)?.ok_or_else(|| no_such(which))?;
        let found = match which.version {
            None => {
                let versions = self.versions_of(&named.dataset)?.into_iter();
                versions.max_by_key(|version| (version.state == DatasetState::Kept, version.version))
            }
            Some(number) => {
                let document = self.metadata.read(&versions_kind(&named.dataset), &document_id(number));
                let document = document.map_err(|error| store_problem(&error))?;
                document.map(|document| read(&document.body)).transpose()?
            }
        };
        let found = found.ok_or_else(|| no_such(which))?;
        Ok(DatasetVersion { name, ..found })
    }

    /// Gives a dataset another name. Its versions stay what they are, and are found under the old name as well: that is never
    /// another dataset's.
    pub fn rename_dataset(
        &self,
        from: &DatasetName,
        to: &DatasetName,
        permit: &Permit,
        keeper: Keeper,
    ) -> Result<(), Problem> {
        self.permitted(permit, Action::DatasetRetire, [])?;
        let _naming = lock(&self.naming);
        let problem = |error: StoreError| store_problem(&error);
        let none = || no_such(&DatasetRef { name: from.clone(), version: None });
        let (from, named) = self.called(from)?.ok_or_else(none)?;
        keeper.may(permit, self.versions_of(&named.dataset)?.iter())?;
        let document = self.metadata.read(NAMES, from.as_str()).map_err(problem)?.ok_or_else(none)?;
        let taken = || {
            Problem::new("conflict/dataset", format!("`{to}` is or was the name of a dataset"))
                .with_help("choose another name: what somebody wrote down as `name@version` stays what it was")
        };
        if *to == from {
            return Err(taken());
        }
        // A dataset may have a name again that it had.
        let known = match self.metadata.read(NAMES, to.as_str()).map_err(problem)? {
            Some(known) if read_name(&known.body)?.dataset != named.dataset => return Err(taken()),
            known => known.map(|known| known.version),
        };
        let is_now = Named { dataset: named.dataset.clone(), now: None };
        self.metadata.write(NAMES, to.as_str(), known, &written(&is_now)).map_err(|error| match error {
            StoreError::Conflict { .. } => taken(),
            other => store_problem(&other),
        })?;
        // Until the old name points on, both mean the dataset.
        let was = Named { dataset: named.dataset, now: Some(to.clone()) };
        self.metadata.write(NAMES, from.as_str(), Some(document.version), &written(&was)).map_err(problem)?;
        Ok(())
    }

    /// Removes the content of a version for good. That it was there, and what it was made of, stays written down; its number is
    /// not given again.
    pub fn retire_dataset(
        &self,
        which: &DatasetRef,
        permit: &Permit,
        keeper: Keeper,
    ) -> Result<DatasetVersion, Problem> {
        self.permitted(permit, Action::DatasetRetire, [])?;
        if which.version.is_none() {
            return Err(Problem::new("dataset/no-version", "which version is to be retired is not said")
                .with_help(format!("name it: `{}@1`", which.name)));
        }
        let _naming = lock(&self.naming);
        let mut version = self.dataset(which)?;
        keeper.may(permit, std::iter::once(&version))?;
        if version.state != DatasetState::Kept {
            return Err(retired(&version));
        }
        let (kind, id) = (versions_kind(&version.dataset), document_id(version.version));
        let document = self.metadata.read(&kind, &id).map_err(|error| store_problem(&error))?;
        let document = document.ok_or_else(|| no_such(which))?;
        let by = permit.principal().id().to_string();
        version.state = DatasetState::Retired { by, at: self.platform.clock.now() };
        let (table, parts) = (std::mem::take(&mut version.table), std::mem::take(&mut version.parts));
        self.metadata
            .write(&kind, &id, Some(document.version), &written(&version))
            .map_err(|error| store_problem(&error))?;
        drop(parts);
        // From here on nothing names the content.
        self.remove_table(&table);
        Ok(version)
    }

    /// Removes content that no version names. What a failure leaves of it goes when the scope is opened again.
    pub(super) fn remove_table(&self, table: &str) {
        if let Err(error) = self.tables.delete(table) {
            tracing::warn!(scope = %self.scope(), %error, "parts of a dataset stay until the scope is opened again");
        }
    }

    /// Refuses a name that a dataset had before it was renamed.
    pub(super) fn require_free(&self, name: &DatasetName) -> Result<(), Problem> {
        match self.named(name)?.and_then(|named| named.now) {
            None => Ok(()),
            Some(now) => Err(Problem::new("conflict/dataset", format!("`{name}` is the name that `{now}` had"))
                .with_help("make the next version under the new name, or another dataset under another one")),
        }
    }

    /// Refuses to keep so much more than there is, where that is beyond what the tenant may keep.
    pub(super) fn require_room(&self, limits: &DatasetLimits, more_bytes: u64) -> Result<(), Problem> {
        if *limits == DatasetLimits::NONE {
            return Ok(());
        }
        let (mut versions, mut bytes) = (0, 0);
        for version in self.all_versions()?.iter().filter(|version| version.state == DatasetState::Kept) {
            versions += 1;
            bytes += version.bytes();
        }
        let help = "retire versions that nobody needs (`creta dataset list` shows them), or ask whoever runs the environment for more \
                    room (`[datasets]` of `config.toml`)";
        if versions >= limits.versions_max {
            let says = format!("{versions} versions of datasets are kept here, and no more may be");
            return Err(Problem::new("dataset/too-many", says).with_help(help));
        }
        if bytes.saturating_add(more_bytes) > limits.bytes_max {
            let says = format!(
                "datasets take {bytes} bytes here, this one {more_bytes}, and all together may take {}",
                limits.bytes_max
            );
            return Err(Problem::new("dataset/no-room", says).with_help(help));
        }
        Ok(())
    }

    /// Names a version whose content is written, with the next number of its dataset. A refusal removes the content.
    pub(super) fn keep_version(
        &self,
        mut version: DatasetVersion,
        limits: &DatasetLimits,
    ) -> Result<DatasetVersion, Problem> {
        let _naming = lock(&self.naming);
        (version.dataset, version.version) =
            self.next_of(&version, limits).inspect_err(|_| self.remove_table(&version.table))?;
        let (kind, id) = (versions_kind(&version.dataset), document_id(version.version));
        self.metadata.write(&kind, &id, None, &written(&version)).map_err(|error| store_problem(&error))?;
        Ok(version)
    }

    /// The dataset that a version belongs to, and its number there. A name that is new is taken: a crash after that leaves a
    /// name without versions, which the next one gets.
    fn next_of(&self, version: &DatasetVersion, limits: &DatasetLimits) -> Result<(String, u32), Problem> {
        self.require_free(&version.name)?; // Somebody may have renamed a dataset meanwhile.
        self.require_room(limits, version.bytes())?;
        let Some(named) = self.named(&version.name)? else {
            let named = Named { dataset: self.tables.new_id(), now: None };
            self.metadata
                .write(NAMES, version.name.as_str(), None, &written(&named))
                .map_err(|error| store_problem(&error))?;
            return Ok((named.dataset, 1));
        };
        let newest = self.versions_of(&named.dataset)?.iter().map(|version| version.version).max().unwrap_or(0);
        if newest >= VERSIONS_OF_ONE_MAX {
            let says = format!("`{}` has {newest} versions, and a dataset has no more", version.name);
            return Err(Problem::new("dataset/too-many", says).with_help("make the next one under another name"));
        }
        Ok((named.dataset, newest + 1))
    }

    /// Removes what a crash left behind: tables that no version has.
    pub(crate) fn remove_unnamed_tables(&self) -> Result<(), Problem> {
        let kept: BTreeSet<String> = self.all_versions()?.into_iter().map(|version| version.table).collect();
        self.tables.keep_only(&kept).map_err(|error| store_problem(&error))
    }

    /// Runs `copy` with the paths of the sealed parts of all datasets while none comes or goes: makers, who wait at the end of
    /// their work, wait for it.
    pub fn while_datasets_stay<T>(&self, copy: impl FnOnce(&[String]) -> T) -> Result<T, Problem> {
        let _naming = lock(&self.naming);
        Ok(copy(&self.dataset_files()?))
    }

    fn dataset_files(&self) -> Result<Vec<String>, Problem> {
        let kept = self.all_versions()?.into_iter().filter(|version| !version.table.is_empty());
        let files = kept.map(|version| self.tables.sealed_files(&version.table).map_err(|error| store_problem(&error)));
        files.collect::<Result<Vec<_>, _>>().map(|files| files.into_iter().flatten().collect())
    }

    fn names(&self) -> Result<Vec<(DatasetName, Named)>, Problem> {
        let documents = self.metadata.list(NAMES).map_err(|error| store_problem(&error))?;
        let name = |document: &creta_store::Document| {
            Ok((DatasetName::parse(&document.id).map_err(|_| unreadable())?, read_name(&document.body)?))
        };
        documents.iter().map(name).collect()
    }

    fn named(&self, name: &DatasetName) -> Result<Option<Named>, Problem> {
        let document = self.metadata.read(NAMES, name.as_str()).map_err(|error| store_problem(&error))?;
        document.map(|document| read_name(&document.body)).transpose()
    }

    /// What a dataset is called now that has or had a name.
    fn called(&self, name: &DatasetName) -> Result<Option<(DatasetName, Named)>, Problem> {
        let (mut name, mut seen) = (name.clone(), BTreeSet::new());
        loop {
            let Some(named) = self.named(&name)? else { return Ok(None) };
            let Some(now) = named.now.clone() else { return Ok(Some((name, named))) };
            // Names lead to the one in use; if they were made to lead in circles, nowhere.
            if !seen.insert(std::mem::replace(&mut name, now)) {
                return Err(unreadable());
            }
        }
    }

    /// Every version of every dataset.
    fn all_versions(&self) -> Result<Vec<DatasetVersion>, Problem> {
        let datasets: BTreeSet<String> = self.names()?.into_iter().map(|(_, named)| named.dataset).collect();
        let versions = datasets.iter().map(|dataset| self.versions_of(dataset)).collect::<Result<Vec<_>, _>>()?;
        Ok(versions.into_iter().flatten().collect())
    }

    fn versions_of(&self, dataset: &str) -> Result<Vec<DatasetVersion>, Problem> {
        let documents = self.metadata.list(&versions_kind(dataset)).map_err(|error| store_problem(&error))?;
        documents.iter().map(|document| read(&document.body)).collect()
    }
}

fn document_id(version: u32) -> String {
    format!("{version:06}")
}

fn written(document: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(document).expect("it has a JSON form")
}

fn read_name(body: &[u8]) -> Result<Named, Problem> {
    serde_json::from_slice(body).map_err(|_| unreadable())
}

fn read(body: &[u8]) -> Result<DatasetVersion, Problem> {
    let version: DatasetVersion = serde_json::from_slice(body).map_err(|_| unreadable())?;
    if version.format == FORMAT { Ok(version) } else { Err(unreadable()) }
}

fn unreadable() -> Problem {
    Problem::new("store/refused", "what is stored about a dataset was written by another release")
        .with_help("use the release that wrote it; nothing in it was changed")
}

/// There is none here, whatever other scopes hold.
fn no_such(which: &DatasetRef) -> Problem {
    Problem::new("not-found/dataset", format!("there is no dataset `{which}`"))
        .with_help("`creta dataset list` shows those that there are")
}

/// The content is gone.
pub(super) fn retired(version: &DatasetVersion) -> Problem {
    Problem::new("dataset/retired", format!("`{}` was retired: its rows are gone", version.reference()))
        .with_help("make it anew from the same spine: `creta dataset describe` shows what was asked for")
}
