//! Searching this computer for values that were planted in customers' data.
//!
//! Reads every plain file below the folders that the standard names, on the same file system, without following links.
//! Nothing of what is read leaves the computer but how many files hold such a value; which ones, its owner is told here.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use creta_identity::device::{SearchAsked, Searched};

const BLOCK: usize = 1 << 20;

/// What a search says, and where a planted value lies.
pub(super) struct Outcome {
    pub(super) says: Searched,
    pub(super) holding: Vec<PathBuf>,
}

/// Searches every folder that is asked for. `home` stands for `~`; a folder that is not there holds nothing.
pub(super) fn search(asked: &SearchAsked, home: &Path) -> Outcome {
    let says = Searched { asked: asked.digest(), files: 0, bytes: 0, unreadable: 0, found: 0, found_earlier: 0 };
    let mut outcome = Outcome { says, holding: Vec::new() };
    for folder in &asked.folders {
        let folder = folder.strip_prefix("~/").map_or_else(|| PathBuf::from(folder), |rest| home.join(rest));
        match fs::symlink_metadata(&folder) {
            Ok(there) => outcome.walk(asked, &folder, there.dev()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => outcome.says.unreadable += 1,
        }
    }
    outcome
}

impl Outcome {
    fn walk(&mut self, asked: &SearchAsked, folder: &Path, device: u64) {
        let mut open = vec![folder.to_owned()];
        while let Some(next) = open.pop() {
            let Ok(entries) = fs::read_dir(&next) else {
                self.says.unreadable += 1;
                continue;
            };
            for entry in entries {
                // Without following a link: what it leads to is somewhere else.
                let Ok((path, there)) = entry.and_then(|entry| Ok((entry.path(), entry.metadata()?))) else {
                    self.says.unreadable += 1;
                    continue;
                };
                if there.dev() != device {
                    continue;
                }
                if there.is_dir() {
                    open.push(path);
                } else if there.is_file() {
                    self.read(asked, path);
                }
            }
        }
    }

    fn read(&mut self, asked: &SearchAsked, path: PathBuf) {
        let mut searching = asked.begin();
        let mut block = vec![0; BLOCK];
        let outcome = File::open(&path).and_then(|mut file| {
            loop {
                let len = file.read(&mut block)?;
                if len == 0 {
                    return Ok(());
                }
                self.says.bytes += len as u64;
                searching.add(&block[..len]);
            }
        });
        match outcome {
            Ok(()) => self.says.files += 1,
            Err(_) => self.says.unreadable += 1,
        }
        if searching.found() {
            self.says.found += 1;
        }
        if searching.found_earlier() {
            self.says.found_earlier += 1;
        }
        if searching.found() || searching.found_earlier() {
            self.holding.push(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use creta_identity::device::canary;

    use super::*;

    #[test]
    fn every_file_below_the_folders_is_read_and_links_lead_nowhere() {
        let place = tempfile::tempdir().expect("a folder");
        let home = place.path().join("home");
        let ours = canary(&[9; 16]);
        let write = |path: &str, text: &str| {
            let file = place.path().join(path);
            fs::create_dir_all(file.parent().expect("in a folder")).expect("made");
            fs::write(file, text).expect("written");
        };
        write("home/Downloads/deep/er/export.csv", &format!("id,mail\n7,{ours}\n"));
        write("home/Downloads/clean.csv", "id,mail\n7,creta-canary-\n");
        write("home/Elsewhere/export.csv", &ours);
        write("outside.csv", &ours);
        std::os::unix::fs::symlink(place.path().join("outside.csv"), home.join("Downloads/link.csv")).expect("linked");
        std::os::unix::fs::symlink(home.join("Elsewhere"), home.join("Downloads/linked")).expect("linked");

        let folders = ["~/Downloads".to_owned(), "~/Nowhere".to_owned()];
        let asked = SearchAsked::new(&folders, &[1; 32], [ours.clone()]);
        let found = search(&asked, &home);
        assert_eq!(found.holding, [home.join("Downloads/deep/er/export.csv")]);
        assert_eq!((found.says.files, found.says.found, found.says.unreadable), (2, 1, 0));
        assert_eq!(found.says.asked, asked.digest());
        assert!(!serde_json::to_string(&found.says).expect("JSON").contains("export"), "neither what nor where");
    }
}
