//! A file that was changed, cut, or put in another's place is refused (CI-12, T9).

use std::fs;
use std::path::{Path, PathBuf};

use creta_compliance::Observation;
use creta_store::FactStore;
use serde_json::{Value, json};

use super::{Check, Seen, World};
use crate::trust::copy_tree;
use crate::trust::probes::Probe;

pub(super) struct FileRefusals;

/// What is done to a copy of one file.
type Harm = fn(&Path, &Path) -> std::io::Result<bool>;

const HARMS: [(&str, Harm); 3] = [("a changed byte", flip), ("a cut", cut), ("a foreign file", replace)];

impl Check for FileRefusals {
    fn id(&self) -> &'static str {
        "file-refusals"
    }

    /// A copy that nobody harmed, looked at as if somebody had.
    fn notices_planted_fault(&self, world: &World<'_>) -> Result<bool, String> {
        let mut seen = Seen::default();
        look(world, &[("nothing", |_, _| Ok(true))], &mut seen)?;
        Ok(seen.0.findings.iter().any(|finding| finding.code == "files/accepted"))
    }

    fn observe(&self, world: &World<'_>) -> Result<Observation, String> {
        let mut seen = Seen::default();
        let raw = look(world, &HARMS, &mut seen)?;
        Ok(seen.raw(json!({ "attempts": raw })))
    }
}

fn look(world: &World<'_>, harms: &[(&str, Harm)], seen: &mut Seen) -> Result<Vec<Value>, String> {
    let [own, other] = &world.probes.0;
    for probe in [own, other] {
        // So that there are segments and a manifest besides the log.
        let engine = world.app.control.engine(&probe.scope).map_err(|problem| problem.to_string())?;
        engine.flush().map_err(|problem| problem.to_string())?;
    }
    let home = |probe: &Probe| PathBuf::from(format!("tenants/{}/facts/truth", probe.tenant));
    let files = durable_files(&world.folder.join(home(own))).map_err(|error| error.to_string())?;
    let foreign = durable_files(&world.folder.join(home(other))).map_err(|error| error.to_string())?;
    let mut raw = Vec::new();
    for (number, file) in files.iter().enumerate() {
        let kind = kind_of(file);
        let subject = format!("probe-file:{kind}-{number}");
        seen.subject(&subject);
        let donor = foreign.iter().find(|candidate| kind_of(candidate) == kind);
        for (how, harm) in harms {
            let Some(donor) = donor else { continue };
            let outcome = attempt(world, own, &home(own), file, &world.folder.join(home(other)).join(donor), *harm)?;
            let Some(refusal) = outcome else { continue };
            if refusal.is_none() {
                seen.finding(&subject, "files/accepted", format!("a {kind} with {how} was read as if it were whole"));
            }
            raw.push(json!({"file": subject, "harm": how, "refused": refusal}));
        }
    }
    Ok(raw)
}

/// Harms one file in a copy and opens it. `None` when the harm does not apply; otherwise the refusal, if there was one.
fn attempt(
    world: &World<'_>,
    own: &Probe,
    home: &Path,
    file: &Path,
    donor: &Path,
    harm: Harm,
) -> Result<Option<Option<String>>, String> {
    let failed = |error: std::io::Error| format!("a copy of a probe's files cannot be made: {error}");
    let copy = tempfile::tempdir().map_err(failed)?;
    copy_tree(&world.folder.join(home), &copy.path().join(home)).map_err(failed)?;
    if !harm(&copy.path().join(home).join(file), donor).map_err(failed)? {
        return Ok(None);
    }
    let key = world.app.control.scope_key(&own.scope).map_err(|problem| problem.to_string())?;
    let platform = creta_platform::Platform::system(copy.path()).map_err(|error| error.to_string())?;
    let prefix = home.to_string_lossy().into_owned();
    let opened = FactStore::open(&platform, key, &prefix).and_then(|store| store.verify());
    Ok(Some(opened.err().map(|error| error.to_string())))
}

/// Files that hold what was flushed: a log may end in what a crash left, which is cut off and no harm.
fn durable_files(home: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = vec![PathBuf::from("manifest")];
    for entry in fs::read_dir(home.join("segment"))? {
        files.push(Path::new("segment").join(entry?.file_name()));
    }
    files.sort();
    Ok(files)
}

fn kind_of(file: &Path) -> &'static str {
    if file.starts_with("segment") { "segment" } else { "manifest" }
}

fn flip(file: &Path, _donor: &Path) -> std::io::Result<bool> {
    let mut bytes = fs::read(file)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(file, bytes).map(|()| true)
}

fn cut(file: &Path, _donor: &Path) -> std::io::Result<bool> {
    let bytes = fs::read(file)?;
    fs::write(file, &bytes[..bytes.len() / 2]).map(|()| true)
}

fn replace(file: &Path, donor: &Path) -> std::io::Result<bool> {
    fs::copy(donor, file).map(|_| true)
}
