//! The machine that this command runs on.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use creta_identity::device::linux::Tree;

use crate::failure::Failure;

/// Largest file that is looked at.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Its files, as far as whoever runs the command may read them: everything that is looked at is readable without root.
pub(super) struct ThisComputer;

impl Tree for ThisComputer {
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path).ok()?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).ok()?;
        (bytes.len() as u64 <= FILE_BYTES_MAX).then_some(bytes)
    }

    fn list(&self, path: &str) -> Vec<String> {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }
}

/// Waits until no other report of this computer is under way; the turn ends when it is dropped.
pub(super) fn turn(device: &Path) -> Result<File, Failure> {
    let path = device.with_extension("device-lock");
    let failed = |error: &std::io::Error| Failure::file("lock", &path, error);
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(|error| failed(&error))?;
    file.lock().map_err(|error| failed(&error))?;
    Ok(file)
}
