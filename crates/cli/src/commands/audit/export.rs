//! Downloads the log as static files. What is written was verified; an older export is continued or left as it is.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use creta_model::Problem;
use creta_proof::export::{CHECKPOINT_FILE, ExportReport, VERIFIER_KEY_FILE, tile_paths, verify_files};
use creta_proof::{ExportedLog, SignedCheckpoint, VerifierKey};

use super::{newest, read_key, verify_on_server};
use crate::failure::{Exit, Failure};
use crate::http::Server;
use crate::terminal::Terminal;

/// Writes the newest state of the server's log to `out`. An export that is there already has to be one of this log that
/// the newest state continues; its full tiles are not downloaded again.
pub(super) fn export(
    server: &Server,
    out: &Path,
    key: Option<VerifierKey>,
    terminal: &Terminal<'_>,
) -> Result<ExportReport, Failure> {
    let older = Older::find(out)?;
    let key = match (key, &older) {
        (Some(key), _) => key,
        (None, Some(older)) => older.key()?,
        (None, None) => read_key(&verify_on_server(server, terminal)?.verifier_key)?,
    };
    let signed = newest(server)?;
    let checkpoint = signed.verify(&key)?;
    let since = older.as_ref().map(|older| older.checkpoint.verify(&key)).transpose()?;

    let staged = Staged::beside(out)?;
    let bar = terminal.progress("downloading the log", tile_paths(checkpoint.size).count() as u64);
    let log = verify_files(&checkpoint, since.as_ref(), |path| {
        bar.inc(1);
        // A full tile never changes; whether this one is right is seen like that of any other.
        let kept = older.as_ref().filter(|_| !path.contains(".p/")).and_then(|older| older.log.read(path).ok()?);
        let bytes = match kept {
            Some(kept) => kept,
            None => match server.get_bytes(&format!("/v1/audit/{path}")) {
                Err(failure) if failure.problems[0].code == "not-found/tile" => return Ok(None),
                fetched => fetched?,
            },
        };
        staged.put(path, &bytes)?;
        Ok::<_, Failure>(Some(bytes))
    });
    bar.finish_and_clear();
    let log = log?;
    staged.put(VERIFIER_KEY_FILE, format!("{key}\n").as_bytes())?;
    staged.put(CHECKPOINT_FILE, signed.as_str().as_bytes())?;
    staged.publish(out)?;
    Ok(ExportReport { origin: checkpoint.origin, log, since: since.map(|since| since.size), witnessed: Vec::new() })
}

/// An export that is there already.
struct Older {
    log: ExportedLog,
    checkpoint: SignedCheckpoint,
}

impl Older {
    /// `None` where the folder is not there or empty; a folder of other things is refused.
    fn find(out: &Path) -> Result<Option<Self>, Failure> {
        let is_empty = match fs::read_dir(out) {
            Ok(mut listed) => listed.next().is_none(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) => return Err(Failure::file("read", out, &error)),
        };
        if is_empty {
            return Ok(None);
        }
        let log = ExportedLog::new(out);
        let checkpoint = log.checkpoint().map_err(|_| {
            let message = format!("`{}` holds other things than an exported log", out.display());
            Failure::usage("audit/not-an-export", message, "name a new folder, or one that `creta audit export` wrote")
        })?;
        Ok(Some(Self { log, checkpoint }))
    }

    fn key(&self) -> Result<VerifierKey, Failure> {
        let bytes = self.log.read(VERIFIER_KEY_FILE)?.unwrap_or_default();
        read_key(String::from_utf8_lossy(&bytes).trim_end())
    }
}

/// A folder beside the one to be written, gone again unless it takes its place.
struct Staged(tempfile::TempDir);

impl Staged {
    fn beside(out: &Path) -> Result<Self, Failure> {
        let parent = match out.parent() {
            Some(parent) if parent != Path::new("") => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        fs::create_dir_all(&parent).map_err(|error| Failure::file("make", &parent, &error))?;
        let made = tempfile::Builder::new().prefix(".audit-export-").tempdir_in(&parent);
        Ok(Self(made.map_err(|error| Failure::file("write to", &parent, &error))?))
    }

    fn new_folder(&self) -> PathBuf {
        self.0.path().join("new")
    }

    fn put(&self, path: &str, bytes: &[u8]) -> Result<(), Failure> {
        let file = self.new_folder().join(path);
        let folder = file.parent().expect("it lies in the folder");
        let written = fs::create_dir_all(folder).and_then(|()| fs::File::create(&file)).and_then(|mut opened| {
            io::Write::write_all(&mut opened, bytes)?;
            opened.sync_data()
        });
        written.map_err(|error| Failure::file("write", &file, &error))
    }

    /// Takes the place of `out`. If that fails halfway, the older export is put back.
    fn publish(self, out: &Path) -> Result<(), Failure> {
        let failed = |error: io::Error| Failure::file("replace", out, &error);
        let old = self.0.path().join("old");
        let had_one = match fs::rename(out, &old) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(failed(error)),
        };
        let Err(error) = fs::rename(self.new_folder(), out) else { return Ok(()) };
        if had_one && fs::rename(&old, out).is_err() {
            let kept = self.0.keep();
            let message = format!("the older export could not be put back: it is in `{}`", kept.join("old").display());
            return Err(Failure::new(Exit::Failed, Problem::new("audit/export-moved", message)));
        }
        Err(failed(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_other_things_is_not_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(Older::find(folder.path()).expect("empty").is_none());
        assert!(Older::find(&folder.path().join("none")).expect("not there").is_none());
        fs::write(folder.path().join("thesis.txt"), "years of work").expect("written");
        let failure = Older::find(folder.path()).err().expect("refused");
        assert_eq!((failure.exit, failure.problems[0].code.as_str()), (Exit::Usage, "audit/not-an-export"));
    }

    #[test]
    fn a_staged_folder_takes_the_place_of_the_older_one_or_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path().join("export");
        for text in ["one", "two"] {
            let staged = Staged::beside(&out).expect("made");
            staged.put("tile/0/000.p/1", text.as_bytes()).expect("written");
            staged.publish(&out).expect("replaced");
            assert_eq!(fs::read_to_string(out.join("tile/0/000.p/1")).expect("there"), text);
        }
        drop(Staged::beside(&out).expect("made"));
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1, "only the export is left");
    }
}
