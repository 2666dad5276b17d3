//! `creta backup`: copies of what is sealed, fetched by a program that can open none of it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use creta_model::Problem;
use creta_server::{BackupHead, BackupManifest, HEAD_BYTES_MAX, MANIFEST_FILE, VerifiedBackup, verify_backup};
use serde_json::json;

use super::connect;
use crate::args::BackupCommand;
use crate::failure::{Exit, Failure};
use crate::http::interrupted;
use crate::terminal::{Terminal, counted, grouped};

pub(crate) fn run(command: BackupCommand, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let (folder, done, fresh) = match command {
        BackupCommand::Write { folder, connection } => {
            require_empty(&folder)?;
            let (server, _) = connect(&connection)?;
            let mut answer = server.get_streamed("/v1/backup")?;
            let manifest = receive(&mut answer, &folder)?;
            write(&folder.join(MANIFEST_FILE), &manifest.to_bytes())?;
            (folder, "copied", true)
        }
        BackupCommand::Verify { folder } => (folder, "whole", false),
    };
    // What was just written is compared as well: what lies on this disk is what counts.
    let VerifiedBackup { manifest, digest } = verify_backup(&folder)?;
    let bytes: u64 = manifest.files.iter().map(|file| file.bytes).sum();
    let shown = json!({
        "folder": folder, "digest": digest, "environment": manifest.environment, "taken": manifest.taken,
        "files": manifest.files.len(), "bytes": bytes, "log": manifest.log, "stores": manifest.stores,
        "left_out": manifest.left_out,
    });
    terminal.show(&shown, || {
        format!(
            "{done}: {} of `{}`, {} bytes, taken {}\n  log      {} entries\n  stores   {}\n  manifest {digest}",
            counted(manifest.files.len() as u64, "file", "files"),
            manifest.environment,
            grouped(bytes),
            manifest.taken,
            grouped(manifest.log.size),
            manifest.stores.len(),
        )
    });
    let named: Vec<String> =
        manifest.left_out.iter().map(|left| format!("`{}` ({})", left.tenant, left.code)).collect();
    match named.is_empty() {
        true => Ok(()),
        false if fresh => Err(partial(&named)),
        false => {
            terminal.complain(&format!("not in it: {}", named.join(", ")));
            Ok(())
        }
    }
}

/// Whatever runs backups has to notice that one tenant has none.
fn partial(named: &[String]) -> Failure {
    let message = format!("the backup is without {}: their stores cannot be copied", named.join(", "));
    let help = "keep it, it is whole for all others; look at the server's log, and take another when that is mended";
    Failure::new(Exit::Failed, Problem::new("backup/partial", message).with_help(help))
}

/// Writes files as they come, and gives the manifest that ends them.
fn receive(answer: &mut impl Read, folder: &Path) -> Result<BackupManifest, Failure> {
    loop {
        let mut length = [0; 4];
        answer.read_exact(&mut length).map_err(|error| interrupted(&error))?;
        let length = u32::from_be_bytes(length) as usize;
        if length > HEAD_BYTES_MAX {
            return Err(unreadable());
        }
        let mut head = vec![0; length];
        answer.read_exact(&mut head).map_err(|error| interrupted(&error))?;
        match serde_json::from_slice(&head).map_err(|_| unreadable())? {
            BackupHead::Manifest { manifest } => return Ok(BackupManifest::parse(&manifest.to_bytes())?),
            BackupHead::LeftOut { left_out } => {
                let sent = folder.join("tenants").join(plain(left_out.as_str())?);
                match fs::remove_dir_all(&sent) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(Failure::file("remove", &sent, &error));
                    }
                    _ => {}
                }
            }
            BackupHead::File { file, bytes } => {
                let to = folder.join(plain(&file)?);
                let mut written = create(&to)?;
                let failed = |error: &io::Error| Failure::file("write", &to, error);
                let copied =
                    io::copy(&mut answer.by_ref().take(bytes), &mut written).map_err(|error| failed(&error))?;
                if copied != bytes {
                    return Err(interrupted(&io::ErrorKind::UnexpectedEof.into()));
                }
                written.sync_all().map_err(|error| failed(&error))?;
            }
        }
    }
}

/// A path that stays in its folder.
fn plain(path: &str) -> Result<&str, Failure> {
    let part = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains('\\');
    if path.split('/').all(part) { Ok(path) } else { Err(unreadable()) }
}

fn create(file: &Path) -> Result<File, Failure> {
    let failed = |error: &io::Error| Failure::file("write", file, error);
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).map_err(|error| failed(&error))?;
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).map_err(|error| failed(&error))
}

fn write(file: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut written = create(file)?;
    written.write_all(bytes).and_then(|()| written.sync_all()).map_err(|error| Failure::file("write", file, &error))
}

fn require_empty(folder: &Path) -> Result<(), Failure> {
    match fs::read_dir(folder).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => {
            let message = format!("`{}` holds something already", folder.display());
            Err(Failure::usage("file/already-there", message, "name a folder that is empty or not there yet"))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Failure::file("read", folder, &error)),
    }
}

fn unreadable() -> Failure {
    let problem = Problem::new("answer/unreadable", "what came is no backup");
    Failure::new(Exit::Failed, problem.with_help("the server and this command should be of the same version"))
}
