//! Nothing durable is in the clear: the probes' planted values are searched for in every byte of the data folder (CI-12,
//! T9).

use std::fs::File;
use std::io::{Read, Result as IoResult};
use std::path::{Path, PathBuf};

use creta_compliance::Observation;
use memchr::memmem::Finder;
use serde_json::json;

use super::{Check, Seen, World};

const BLOCK: usize = 1 << 20;

pub(super) struct SealedBytes;

impl Check for SealedBytes {
    fn id(&self) -> &'static str {
        "sealed-bytes"
    }

    /// A file in the clear, with the value across the border of two blocks.
    fn notices_planted_fault(&self, world: &World<'_>) -> Result<bool, String> {
        let failed = |error: std::io::Error| format!("no fault could be planted: {error}");
        let folder = tempfile::tempdir().map_err(failed)?;
        let canary = &world.probes.0[0].canary;
        let mut bytes = vec![b'.'; BLOCK - canary.len() / 2];
        bytes.extend_from_slice(canary.as_bytes());
        std::fs::write(folder.path().join("leak"), bytes).map_err(failed)?;
        let mut seen = Seen::default();
        search(folder.path(), std::slice::from_ref(canary), &mut seen).map_err(failed)?;
        Ok(seen.0.findings.iter().any(|finding| finding.code == "sealed/canary"))
    }

    fn observe(&self, world: &World<'_>) -> Result<Observation, String> {
        let canaries: Vec<String> = world.probes.0.iter().map(|probe| probe.canary.clone()).collect();
        let mut seen = Seen::default();
        let (files, bytes) = search(world.folder, &canaries, &mut seen).map_err(|error| error.to_string())?;
        Ok(seen.raw(json!({ "files": files, "bytes": bytes, "values_searched": canaries.len() })))
    }
}

/// Reads every file below `folder`. Files that are gone when their turn comes were temporary.
fn search(folder: &Path, canaries: &[String], seen: &mut Seen) -> IoResult<(u64, u64)> {
    let finders: Vec<Finder<'_>> = canaries.iter().map(|canary| Finder::new(canary.as_bytes())).collect();
    let overlap = canaries.iter().map(String::len).max().unwrap_or(1) - 1;
    let mut folders: Vec<PathBuf> = vec![folder.to_owned()];
    let (mut files, mut total) = (0, 0);
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next)? {
            let entry = entry?;
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                folders.push(entry.path());
                continue;
            }
            let file = match File::open(entry.path()) {
                Ok(file) => file,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let (found, bytes) = contains(file, &finders, overlap)?;
            (files, total) = (files + 1, total + bytes);
            let top =
                entry.path().strip_prefix(folder).ok().and_then(|path| {
                    path.components().next().map(|part| part.as_os_str().to_string_lossy().into_owned())
                });
            let subject = format!("path:{}", top.unwrap_or_default());
            seen.subject(&subject);
            if found {
                seen.finding(&subject, "sealed/canary", "a value was found in the clear on disk");
            }
        }
    }
    Ok((files, total))
}

fn contains(mut file: impl Read, finders: &[Finder<'_>], overlap: usize) -> IoResult<(bool, u64)> {
    let mut buffer = vec![0; BLOCK + overlap];
    let (mut kept, mut total) = (0, 0);
    loop {
        let read = file.read(&mut buffer[kept..])?;
        if read == 0 {
            return Ok((false, total));
        }
        total += read as u64;
        let filled = kept + read;
        if finders.iter().any(|finder| finder.find(&buffer[..filled]).is_some()) {
            return Ok((true, total));
        }
        kept = overlap.min(filled);
        buffer.copy_within(filled - kept..filled, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one byte at a time, so that every border falls inside the value.
    struct Trickle<'a>(&'a [u8]);

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> IoResult<usize> {
            let Some((first, rest)) = self.0.split_first() else { return Ok(0) };
            buffer[0] = *first;
            self.0 = rest;
            Ok(1)
        }
    }

    #[test]
    fn a_value_is_found_whatever_borders_fall_inside_it() {
        let finders = [Finder::new(b"canary-1")];
        assert!(contains(Trickle(b"....canary-1...."), &finders, 7).expect("read").0);
        assert!(!contains(Trickle(b"....canary-2...."), &finders, 7).expect("read").0);
        assert!(contains(b"canary-1".as_slice(), &finders, 7).expect("read").0);
    }
}
