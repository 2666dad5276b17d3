//! Files in a folder of the local disk.
//!
//! A path is walked part by part from the open root folder, refusing links on the way, so nothing that is swapped in later
//! leads outside. New bytes go to a file under `.tmp`, are flushed, and then get their name by `link` (conditional) or
//! `rename`; after that the folder is flushed, since a name is durable only then.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use rustix::fs::{self, AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::files::{AppendFile, FileError, Files, LINK_RULE, TAKEN_RULE, check_path, check_prefix, invalid};

const TEMP: &str = ".tmp";
/// Temporary files older than this were left by a process that died.
const TEMP_AGE_MAX: Duration = Duration::from_secs(3_600);

/// A folder of the local disk: folders get mode 0700 and files 0600. The whole tree must be on one file system.
pub struct DiskFiles {
    root: OwnedFd,
    temp: OwnedFd,
    counter: AtomicU64,
}

impl DiskFiles {
    /// Opens the folder `root` and creates it if it is not there; the folder that contains it must exist. A root that
    /// others may enter is closed to them. Removes temporary files that a crashed process left more than an hour ago.
    ///
    /// Flushes every folder of the tree, so that no file that can be seen now loses its name later: an earlier process may
    /// have died, or failed, between changing a name and flushing it.
    pub fn open(root: impl AsRef<Path>) -> Result<Self, FileError> {
        let path = root.as_ref();
        let shown = path.display().to_string();
        match fs::mkdir(path, Mode::RWXU) {
            Ok(()) => {
                let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
                let parent = fs::open(parent, FOLDER, Mode::empty()).map_err(|errno| failed("open", &shown, errno))?;
                fs::fsync(&parent).map_err(|errno| failed("create", &shown, errno))?;
            }
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(failed("create", &shown, errno)),
        }
        let root = open_folder(CWD, path, &shown)?;
        let mode = fs::fstat(&root).map_err(|errno| failed("inspect", &shown, errno))?.st_mode;
        if mode & 0o077 != 0 {
            fs::fchmod(&root, Mode::RWXU).map_err(|errno| failed("close to other users", &shown, errno))?;
            tracing::warn!(folder = shown, "other users could enter this folder; its mode is now 0700");
        }
        let temp = enter_or_make(&root, TEMP, &shown)?;
        remove_old(&temp, &shown)?;
        flush_folders(&open_folder(&root, ".", &shown)?, &shown)?;
        Ok(Self { root, temp, counter: AtomicU64::new(0) })
    }

    /// The open folder that holds `path`, and the last part of it.
    fn parent<'p>(&self, path: &'p str, missing: Missing) -> Result<(OwnedFd, &'p str), FileError> {
        check_path(path)?;
        let (folders, name) = path.rsplit_once('/').map_or((None, path), |(folders, name)| (Some(folders), name));
        let mut folder = self.root.try_clone().map_err(|source| io_failed("open", path, source))?;
        for part in folders.into_iter().flat_map(|folders| folders.split('/')) {
            folder = match missing {
                Missing::Refuse => open_folder(&folder, part, path)?,
                Missing::Create => enter_or_make(&folder, part, path).map_err(|error| match error {
                    FileError::NotFound { path } => FileError::InvalidPath { path, rule: TAKEN_RULE },
                    other => other,
                })?,
            };
        }
        Ok((folder, name))
    }

    fn open_file(&self, path: &str) -> Result<(File, u64), FileError> {
        let (folder, name) = self.parent(path, Missing::Refuse)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file =
            File::from(fs::openat(&folder, name, flags, Mode::empty()).map_err(|errno| failed("open", path, errno))?);
        let metadata = file.metadata().map_err(|source| io_failed("inspect", path, source))?;
        if metadata.is_file() { Ok((file, metadata.len())) } else { Err(FileError::NotFound { path: path.to_owned() }) }
    }

    /// Writes and flushes `bytes` to a file without a public name, then lets `publish` name it in the folder of `path`.
    fn write(
        &self,
        path: &str,
        bytes: &[u8],
        publish: impl FnOnce(&str, &OwnedFd, &str) -> Result<(), Errno>,
    ) -> Result<(), FileError> {
        let (folder, name) = self.parent(path, Missing::Create)?;
        let (temp_name, mut file) = self.new_temp(path)?;
        let written = file
            .write_all(bytes)
            .and_then(|()| file.sync_all())
            .map_err(|source| io_failed("write", path, source))
            .and_then(|()| {
                publish(&temp_name, &folder, name).map_err(|errno| publish_failed(&folder, name, path, errno))
            });
        // After a rename the temporary name is gone; after a link or a failure it has to go.
        let _ = fs::unlinkat(&self.temp, &temp_name, AtFlags::empty());
        written?;
        fs::fsync(&folder).map_err(|errno| failed("make durable", path, errno))
    }

    fn new_temp(&self, path: &str) -> Result<(String, File), FileError> {
        loop {
            let number = self.counter.fetch_add(1, Ordering::Relaxed);
            let name = format!("{}-{number}", std::process::id());
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match fs::openat(&self.temp, &name, flags, Mode::RUSR | Mode::WUSR) {
                Ok(file) => return Ok((name, File::from(file))),
                // Left by an earlier process that had the same number.
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(failed("write", path, errno)),
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Missing {
    Refuse,
    Create,
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

fn open_folder<P: rustix::path::Arg + Copy>(parent: impl AsFd, name: P, path: &str) -> Result<OwnedFd, FileError> {
    fs::openat(&parent, name, FOLDER | OFlags::NOFOLLOW, Mode::empty()).map_err(|errno| match errno {
        // Linux reports a refused link as "not a directory" when a directory was asked for.
        Errno::NOTDIR | Errno::LOOP if is_link(&parent, name) => invalid(path, LINK_RULE),
        Errno::NOTDIR => FileError::NotFound { path: path.to_owned() },
        errno => failed("open", path, errno),
    })
}

fn enter_or_make(parent: &OwnedFd, name: &str, path: &str) -> Result<OwnedFd, FileError> {
    match fs::mkdirat(parent, name, Mode::RWXU) {
        Ok(()) => fs::fsync(parent).map_err(|errno| failed("make durable", path, errno))?,
        Err(Errno::EXIST) => {}
        Err(errno) => return Err(failed("create a folder for", path, errno)),
    }
    open_folder(parent, name, path)
}

fn is_link(parent: impl AsFd, name: impl rustix::path::Arg) -> bool {
    fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}

fn remove_old(temp: &OwnedFd, shown: &str) -> Result<(), FileError> {
    for (name, _) in entries(temp, shown)? {
        let Ok(stat) = fs::statat(temp, &name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(stat.st_mtime).unwrap_or(0));
        if modified.elapsed().is_ok_and(|age| age > TEMP_AGE_MAX) {
            let _ = fs::unlinkat(temp, &name, AtFlags::empty());
        }
    }
    Ok(())
}

fn flush_folders(folder: &OwnedFd, shown: &str) -> Result<(), FileError> {
    fs::fsync(folder).map_err(|errno| failed("make durable", shown, errno))?;
    for (name, kind) in entries(folder, shown)? {
        if kind == FileType::Directory {
            flush_folders(&open_folder(folder, name.as_str(), shown)?, shown)?;
        }
    }
    Ok(())
}

/// Names and types in a folder, without `.` and `..`, in no order.
fn entries(folder: &OwnedFd, path: &str) -> Result<Vec<(String, FileType)>, FileError> {
    let mut found = Vec::new();
    for entry in Dir::read_from(folder).map_err(|errno| failed("list", path, errno))? {
        let entry = entry.map_err(|errno| failed("list", path, errno))?;
        let Ok(name) = entry.file_name().to_str() else {
            return Err(invalid(&entry.file_name().to_string_lossy(), "its name is not text"));
        };
        if name == "." || name == ".." {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
                .map(|stat| FileType::from_raw_mode(stat.st_mode))
                .map_err(|errno| failed("inspect", path, errno))?,
            known => known,
        };
        found.push((name.to_owned(), kind));
    }
    Ok(found)
}

/// Adds the files below `folder`, whose own path is `at` (empty, or ending in `/`), that start with `prefix`.
fn walk(folder: &OwnedFd, at: &str, prefix: &str, found: &mut Vec<String>) -> Result<(), FileError> {
    for (name, kind) in entries(folder, at)? {
        let path = format!("{at}{name}");
        // What starts with a dot is not ours, as no valid path does.
        if name.starts_with('.') {
            continue;
        }
        match kind {
            FileType::Directory => {
                let inside = format!("{path}/");
                if inside.starts_with(prefix) || prefix.starts_with(&inside) {
                    match open_folder(folder, name.as_str(), &path) {
                        Err(FileError::NotFound { .. }) => {}
                        below => walk(&below?, &inside, prefix, found)?,
                    }
                }
            }
            _ if !path.starts_with(prefix) => {}
            FileType::RegularFile => found.push(path),
            FileType::Symlink => return Err(invalid(&path, LINK_RULE)),
            _ => return Err(invalid(&path, "it is neither a file nor a folder")),
        }
    }
    Ok(())
}

impl Files for DiskFiles {
    fn create(&self, path: &str, bytes: &[u8]) -> Result<(), FileError> {
        self.write(path, bytes, |temp_name, folder, name| {
            fs::linkat(&self.temp, temp_name, folder, name, AtFlags::empty())
        })
    }

    fn replace(&self, path: &str, bytes: &[u8]) -> Result<(), FileError> {
        self.write(path, bytes, |temp_name, folder, name| {
            // A rename would replace a link by the file, which hides that somebody put a link there.
            if is_link(folder, name) { Err(Errno::LOOP) } else { fs::renameat(&self.temp, temp_name, folder, name) }
        })
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, FileError> {
        let (mut file, size) = self.open_file(path)?;
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        io::Read::read_to_end(&mut file, &mut bytes).map_err(|source| io_failed("read", path, source))?;
        Ok(bytes)
    }

    fn read_range(&self, path: &str, offset: u64, len: usize) -> Result<Vec<u8>, FileError> {
        let (file, size) = self.open_file(path)?;
        let wanted = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX).min(len);
        let mut bytes = vec![0; wanted];
        let mut filled = 0;
        while filled < wanted {
            match file.read_at(&mut bytes[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(io_failed("read", path, source)),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    fn size(&self, path: &str) -> Result<u64, FileError> {
        Ok(self.open_file(path)?.1)
    }

    fn append(&self, path: &str) -> Result<Box<dyn AppendFile>, FileError> {
        let (folder, name) = self.parent(path, Missing::Create)?;
        let flags =
            OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = fs::openat(&folder, name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|errno| publish_failed(&folder, name, path, errno))?;
        let file = File::from(file);
        let metadata = file.metadata().map_err(|source| io_failed("inspect", path, source))?;
        if !metadata.is_file() {
            return Err(invalid(path, TAKEN_RULE));
        }
        fs::fsync(&folder).map_err(|errno| failed("make durable", path, errno))?;
        Ok(Box::new(DiskAppend { path: path.to_owned(), file, len: metadata.len() }))
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, FileError> {
        check_prefix(prefix)?;
        let mut found = Vec::new();
        // A folder that is open keeps its reading position, so each walk opens its own.
        let root = open_folder(&self.root, ".", prefix)?;
        walk(&root, "", prefix, &mut found)?;
        found.sort_unstable();
        Ok(found)
    }

    fn delete(&self, path: &str) -> Result<(), FileError> {
        let (folder, name) = self.parent(path, Missing::Refuse)?;
        fs::unlinkat(&folder, name, AtFlags::empty()).map_err(|errno| match errno {
            Errno::ISDIR | Errno::PERM => FileError::NotFound { path: path.to_owned() },
            errno => failed("delete", path, errno),
        })?;
        fs::fsync(&folder).map_err(|errno| failed("make durable", path, errno))
    }
}

struct DiskAppend {
    path: String,
    file: File,
    len: u64,
}

impl AppendFile for DiskAppend {
    fn append(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.file.write_all(bytes).map_err(|source| io_failed("append to", &self.path, source))?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), FileError> {
        self.file.sync_data().map_err(|source| io_failed("make durable", &self.path, source))
    }

    fn truncate(&mut self, wanted: u64) -> Result<(), FileError> {
        // The length on disk counts: after a failed append it is more than `self.len`.
        let len = self.file.metadata().map_err(|source| io_failed("inspect", &self.path, source))?.len();
        if wanted > len {
            return Err(FileError::OutOfRange { path: self.path.clone(), len, wanted });
        }
        self.file
            .set_len(wanted)
            .and_then(|()| self.file.sync_all())
            .map_err(|source| io_failed("truncate", &self.path, source))?;
        self.len = wanted;
        Ok(())
    }

    fn len(&self) -> u64 {
        self.len
    }
}

fn failed(action: &'static str, path: &str, errno: Errno) -> FileError {
    let path = path.to_owned();
    match errno {
        Errno::NOENT => FileError::NotFound { path },
        Errno::EXIST => FileError::Exists { path },
        Errno::LOOP => FileError::InvalidPath { path, rule: LINK_RULE },
        Errno::NOSPC | Errno::DQUOT => FileError::Full { path },
        errno => FileError::Io { action, path, source: errno.into() },
    }
}

fn io_failed(action: &'static str, path: &str, source: io::Error) -> FileError {
    match Errno::from_io_error(&source) {
        Some(errno @ (Errno::NOSPC | Errno::DQUOT)) => failed(action, path, errno),
        _ => FileError::Io { action, path: path.to_owned(), source },
    }
}

/// Giving a file its name failed: tells a folder or a link that stands there from a file.
fn publish_failed(folder: &OwnedFd, name: &str, path: &str, errno: Errno) -> FileError {
    let kind = fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| FileType::from_raw_mode(stat.st_mode));
    match (errno, kind) {
        (Errno::EXIST | Errno::ISDIR | Errno::NOTDIR, Ok(FileType::Directory)) => invalid(path, TAKEN_RULE),
        (_, Ok(FileType::Symlink)) => invalid(path, LINK_RULE),
        (errno, _) => failed("write", path, errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn mode(path: impl AsRef<Path>) -> u32 {
        std::fs::symlink_metadata(path).expect("there").permissions().mode() & 0o777
    }

    #[test]
    fn only_the_owner_may_enter_or_read() {
        let outer = tempfile::tempdir().expect("temp folder");
        let root = outer.path().join("data");
        std::fs::create_dir(&root).expect("fresh");
        std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o755)).expect("own folder");
        let files = DiskFiles::open(&root).expect("opens");
        files.create("a/b", b"1").expect("new");
        files.append("a/log").expect("new");
        assert_eq!([mode(&root), mode(root.join("a")), mode(root.join(".tmp"))], [0o700; 3]);
        assert_eq!([mode(root.join("a/b")), mode(root.join("a/log"))], [0o600; 2]);
    }

    #[test]
    fn attack_ch23_links_are_refused_by_every_operation() {
        let outer = tempfile::tempdir().expect("temp folder");
        let root = outer.path().join("data");
        let files = DiskFiles::open(&root).expect("opens");
        let secret = outer.path().join("secret");
        std::fs::write(&secret, b"other tenant").expect("own folder");
        std::fs::create_dir(outer.path().join("other")).expect("own folder");
        symlink(&secret, root.join("link")).expect("own folder");
        symlink(outer.path().join("other"), root.join("folder")).expect("own folder");
        symlink(outer.path().join("nowhere"), root.join("dangling")).expect("own folder");

        for path in ["link", "folder/x", "dangling"] {
            let outcomes = [
                files.read(path).err(),
                files.read_range(path, 0, 1).err(),
                files.size(path).err(),
                files.replace(path, b"x").err(),
                files.create(path, b"x").err(),
                files.append(path).err(),
            ];
            for (index, outcome) in outcomes.iter().enumerate() {
                assert!(
                    matches!(outcome, Some(FileError::InvalidPath { rule, .. }) if *rule == LINK_RULE),
                    "{path} {index}: {outcome:?}"
                );
            }
        }
        assert!(matches!(files.list(""), Err(FileError::InvalidPath { .. })));
        assert_eq!(std::fs::read(&secret).expect("there"), b"other tenant");
        assert!(!outer.path().join("nowhere").exists());
        assert_eq!(std::fs::read_dir(outer.path().join("other")).expect("there").count(), 0);
    }

    #[test]
    fn a_link_as_root_is_refused() {
        let outer = tempfile::tempdir().expect("temp folder");
        std::fs::create_dir(outer.path().join("real")).expect("own folder");
        symlink(outer.path().join("real"), outer.path().join("root")).expect("own folder");
        assert!(matches!(DiskFiles::open(outer.path().join("root")), Err(FileError::InvalidPath { .. })));
    }

    #[test]
    fn no_temporary_file_stays_and_old_ones_are_removed() {
        let outer = tempfile::tempdir().expect("temp folder");
        let files = DiskFiles::open(outer.path()).expect("opens");
        files.create("a", b"1").expect("new");
        files.create("a", b"2").expect_err("exists");
        files.replace("a", b"3").expect("writes");
        let temp = outer.path().join(".tmp");
        assert_eq!(std::fs::read_dir(&temp).expect("there").count(), 0);

        let two_hours_ago = SystemTime::now() - Duration::from_secs(7_200);
        for (name, modified) in [("old", two_hours_ago), ("young", SystemTime::now())] {
            File::create(temp.join(name)).and_then(|file| file.set_modified(modified)).expect("own folder");
        }
        DiskFiles::open(outer.path()).expect("opens again");
        assert!(!temp.join("old").exists() && temp.join("young").exists());
        assert_eq!(files.list("").expect("lists"), ["a"]);
    }

    #[test]
    fn a_temporary_file_of_another_process_is_not_touched() {
        let outer = tempfile::tempdir().expect("temp folder");
        let files = DiskFiles::open(outer.path()).expect("opens");
        let others = outer.path().join(".tmp").join(format!("{}-0", std::process::id()));
        std::fs::write(&others, b"half written").expect("own folder");
        files.create("a", b"1").expect("new");
        assert_eq!(files.read("a").expect("there"), b"1");
        assert_eq!(std::fs::read(&others).expect("there"), b"half written");
    }

    #[test]
    fn a_full_disk_says_what_to_do() {
        let error = io_failed("write", "facts/1", io::Error::from(Errno::NOSPC));
        assert!(matches!(error, FileError::Full { .. }));
        assert_eq!(
            error.to_string(),
            "the disk is full: `facts/1` could not be written; free space or enlarge the volume, then try again"
        );
        // /dev/full refuses every write with the real error of a full disk.
        let mut full = DiskAppend {
            path: "log".to_owned(),
            file: File::options().write(true).open("/dev/full").expect("there"),
            len: 0,
        };
        assert!(matches!(full.append(b"x"), Err(FileError::Full { .. })));
        assert_eq!(full.len(), 0);
    }
}
