//! The archive: a zip file whose bytes follow from its files, without compression. Nothing unfolds when it is read, and
//! there is one way to write each pack.

use std::collections::BTreeMap;
use std::io::{Cursor, Read as _, Write as _};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

use super::{PackError, files};

/// Largest pack, in bytes.
pub const ARCHIVE_BYTES_MAX: usize = 1 << 30;
/// Most files of a pack. A zip file without extensions has at most 65,535.
pub const FILES_MAX: usize = 60_000;
/// Largest file in a pack, in bytes.
pub const FILE_BYTES_MAX: u64 = 64 << 20;

/// The archive of these files, in the order of their paths.
pub(super) fn write(files: &BTreeMap<String, Vec<u8>>) -> Result<Vec<u8>, PackError> {
    let bytes: usize = files.values().map(Vec::len).sum();
    let largest = files.values().map(|content| content.len() as u64).max().unwrap_or_default();
    if files.len() > FILES_MAX || bytes > ARCHIVE_BYTES_MAX || largest > FILE_BYTES_MAX {
        return Err(PackError::Archive {
            rule: "it would be too large; ask for a shorter period or fewer commitments",
        });
    }
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(DateTime::default())
        .unix_permissions(0o644);
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let mut add = |path: &str, content: &[u8]| {
        archive.start_file(path, options)?;
        archive.write_all(content).map_err(zip::result::ZipError::from)
    };
    for (path, content) in files {
        add(path, content).map_err(|_| PackError::Archive { rule: "its files cannot be written" })?;
    }
    let written = archive.finish().map_err(|_| PackError::Archive { rule: "its files cannot be written" })?;
    Ok(written.into_inner())
}

/// The files of an archive. No path leads out of it, and no more is read than the archive has bytes.
pub(super) fn read(bytes: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, PackError> {
    let refuse = |rule| PackError::Archive { rule };
    if bytes.len() > ARCHIVE_BYTES_MAX {
        return Err(refuse("it is larger than any pack"));
    }
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|_| refuse("it is not a zip file"))?;
    if archive.len() > FILES_MAX {
        return Err(refuse("it has more files than any pack"));
    }
    let mut files = BTreeMap::new();
    for index in 0..archive.len() {
        let file = archive.by_index(index).map_err(|_| refuse("one of its files cannot be read"))?;
        if file.compression() != CompressionMethod::Stored || file.encrypted() {
            return Err(refuse("one of its files is compressed or encrypted"));
        }
        if file.size() > FILE_BYTES_MAX {
            return Err(refuse("one of its files is larger than any in a pack"));
        }
        let path = file.name().map_err(|_| refuse("one of its files has a path that is not text"))?.into_owned();
        if !files::is_path(&path) {
            return Err(refuse("one of its files has a path that none in a pack has"));
        }
        let mut content = Vec::new();
        let mut limited = file.take(FILE_BYTES_MAX + 1);
        limited.read_to_end(&mut content).map_err(|_| refuse("one of its files is damaged"))?;
        if content.len() as u64 > FILE_BYTES_MAX {
            return Err(refuse("one of its files is larger than any in a pack"));
        }
        if files.insert(path, content).is_some() {
            return Err(refuse("two of its files have one path"));
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(paths: &[&str]) -> BTreeMap<String, Vec<u8>> {
        paths.iter().map(|path| ((*path).to_owned(), path.as_bytes().to_vec())).collect()
    }

    fn zip_of(path: &str, content: &[u8], options: SimpleFileOptions) -> Vec<u8> {
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        archive.start_file(path, options).expect("starts");
        archive.write_all(content).expect("writes");
        archive.finish().expect("ends").into_inner()
    }

    #[test]
    fn files_are_read_as_they_are_written_and_bytes_do_not_change() {
        let files = files(&["manifest.json", "evidence/3.json", "README.txt"]);
        let bytes = write(&files).expect("written");
        assert_eq!(read(&bytes).expect("read"), files);
        assert_eq!(write(&files).expect("written"), bytes);
    }

    #[test]
    fn attack_other_paths_are_refused() {
        let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        for path in [
            "../evidence/3.json",
            "/evidence/3.json",
            "evidence/../3.json",
            "evidence/03.json",
            "evidence/3.json/",
            "evidence\\3.json",
            "evidence/18446744073709551616.json",
            "evidence/.json",
            "evidence/3.json\0",
            "run.sh",
            "",
        ] {
            assert!(matches!(read(&zip_of(path, b"x", stored)), Err(PackError::Archive { .. })), "{path:?}");
        }
        assert!(read(&zip_of("evidence/3.json", b"x", stored)).is_ok());
    }

    #[test]
    fn attack_a_bomb_is_refused_before_it_unfolds() {
        let deflated = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        let bomb = zip_of("manifest.json", &vec![0; 4 << 20], deflated);
        assert!(bomb.len() < 64 << 10, "small on the outside");
        assert_eq!(read(&bomb), Err(PackError::Archive { rule: "one of its files is compressed or encrypted" }));
    }

    #[test]
    fn attack_a_size_that_is_not_true_is_refused() {
        let good = write(&files(&["manifest.json"])).expect("written");
        // The size stands four times: stored and unpacked, at the file and in the directory.
        let size = (b"manifest.json".len() as u32).to_le_bytes();
        let places: Vec<usize> = (0..good.len() - 4).filter(|at| good[*at..at + 4] == size).collect();
        assert!(places.len() >= 4, "{places:?}");
        for at in places {
            for other in [0xffff_fff0_u32, 12, 14] {
                let mut bad = good.clone();
                bad[at..at + 4].copy_from_slice(&other.to_le_bytes());
                let read = read(&bad).and_then(|files| write(&files));
                assert_ne!(read, Ok(bad), "size {other} at {at}");
            }
        }
    }

    #[test]
    fn what_is_no_archive_is_refused() {
        let good = write(&files(&["manifest.json", "README.txt"])).expect("written");
        for bad in [&b""[..], b"PK", &good[..good.len() - 1], &good[1..]] {
            let read = read(bad).and_then(|files| write(&files));
            assert_ne!(read.as_deref(), Ok(bad));
        }
    }
}
