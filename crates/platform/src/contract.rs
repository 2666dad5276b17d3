//! One suite for every implementation of [`Files`].

use std::sync::Arc;

use crate::{DiskFiles, FaultyFiles, FileError, Files, MemoryFiles};

fn each(check: impl Fn(&str, Arc<dyn Files>)) {
    let folder = tempfile::tempdir().expect("temp folder");
    check("disk", Arc::new(DiskFiles::open(folder.path().join("root")).expect("opens")));
    check("memory", Arc::new(MemoryFiles::new()));
    check("faulty", Arc::new(FaultyFiles::new(1)));
}

#[test]
fn create_is_conditional_and_replace_is_not() {
    each(|kind, files| {
        assert!(matches!(files.read("a/b"), Err(FileError::NotFound { .. })), "{kind}");
        files.create("a/b", b"one").expect("new");
        assert!(matches!(files.create("a/b", b"two"), Err(FileError::Exists { .. })), "{kind}");
        assert_eq!(files.read("a/b").expect("there"), b"one", "{kind}");
        files.replace("a/b", b"three").expect("writes");
        assert_eq!(files.read("a/b").expect("there"), b"three", "{kind}");
        files.replace("a/new", b"").expect("writes");
        assert_eq!(files.size("a/new").expect("there"), 0, "{kind}");
    });
}

#[test]
fn of_concurrent_creates_exactly_one_wins() {
    each(|kind, files| {
        let contenders: Vec<_> = (0..4_u8)
            .map(|number| {
                let files = Arc::clone(&files);
                std::thread::spawn(move || files.create("a/first", &[number; 1000]).is_ok())
            })
            .collect();
        let wins: Vec<bool> = contenders.into_iter().map(|thread| thread.join().expect("no panic")).collect();
        assert_eq!(wins.iter().filter(|won| **won).count(), 1, "{kind}");
        let winner = u8::try_from(wins.iter().position(|won| *won).expect("one won")).expect("small");
        assert_eq!(files.read("a/first").expect("there"), [winner; 1000], "{kind}");
    });
}

#[test]
fn ranges_end_where_the_file_ends() {
    each(|kind, files| {
        files.create("f", b"0123456789").expect("new");
        let read = |offset, len| files.read_range("f", offset, len).expect("there");
        assert_eq!(read(2, 3), b"234", "{kind}");
        assert_eq!(read(8, 5), b"89", "{kind}");
        assert_eq!(read(10, 1), b"", "{kind}");
        assert_eq!(read(u64::MAX, usize::MAX), b"", "{kind}");
        assert_eq!(read(0, usize::MAX), b"0123456789", "{kind}");
        assert!(matches!(files.read_range("none", 0, 1), Err(FileError::NotFound { .. })), "{kind}");
    });
}

#[test]
fn append_grows_truncate_cuts_and_both_are_seen_by_readers() {
    each(|kind, files| {
        let mut log = files.append("logs/one").expect("creates");
        assert!(log.is_empty(), "{kind}");
        log.append(b"abc").expect("writes");
        log.append(b"def").expect("writes");
        log.sync().expect("flushes");
        assert_eq!((log.len(), files.size("logs/one").expect("there")), (6, 6), "{kind}");
        log.truncate(4).expect("cuts");
        assert!(matches!(log.truncate(5), Err(FileError::OutOfRange { len: 4, wanted: 5, .. })), "{kind}");
        log.append(b"X").expect("writes after the cut");
        assert_eq!(files.read("logs/one").expect("there"), b"abcdX", "{kind}");
        drop(log);
        let mut log = files.append("logs/one").expect("opens");
        assert_eq!(log.len(), 5, "{kind}");
        log.append(b"Y").expect("writes");
        assert_eq!(files.read("logs/one").expect("there"), b"abcdXY", "{kind}");
    });
}

#[test]
fn lists_are_sorted_recursive_and_by_prefix() {
    each(|kind, files| {
        for path in ["b", "a/2", "a/1", "a-b", "a/c/d", "ab/x"] {
            files.create(path, b"").expect("new");
        }
        files.append("a/log").expect("new");
        let list = |prefix| files.list(prefix).expect("lists");
        assert_eq!(list(""), ["a-b", "a/1", "a/2", "a/c/d", "a/log", "ab/x", "b"], "{kind}");
        assert_eq!(list("a/"), ["a/1", "a/2", "a/c/d", "a/log"], "{kind}");
        assert_eq!(list("a/c"), ["a/c/d"], "{kind}");
        assert_eq!(list("a"), ["a-b", "a/1", "a/2", "a/c/d", "a/log", "ab/x"], "{kind}");
        assert_eq!(list("zz/"), [""; 0], "{kind}");
        assert!(matches!(files.list("../"), Err(FileError::InvalidPath { .. })), "{kind}");
    });
}

#[test]
fn delete_removes_one_file_once() {
    each(|kind, files| {
        files.create("a/b", b"1").expect("new");
        files.create("a/c", b"2").expect("new");
        files.delete("a/b").expect("there");
        assert!(matches!(files.delete("a/b"), Err(FileError::NotFound { .. })), "{kind}");
        assert!(matches!(files.size("a/b"), Err(FileError::NotFound { .. })), "{kind}");
        assert_eq!(files.list("").expect("lists"), ["a/c"], "{kind}");
        files.create("a/b", b"3").expect("the name is free again");
    });
}

#[test]
fn a_name_is_a_file_or_a_folder() {
    each(|kind, files| {
        files.create("folder/file", b"1").expect("new");
        for path in ["folder", "folder/file/x", "folder/file/x/y"] {
            for outcome in [files.create(path, b""), files.replace(path, b""), files.append(path).map(drop)] {
                assert!(matches!(outcome, Err(FileError::InvalidPath { .. })), "{kind} {path}: {outcome:?}");
            }
            let read = files.read(path);
            assert!(matches!(read, Err(FileError::NotFound { .. })), "{kind} {path}: {read:?}");
            let deleted = files.delete(path);
            assert!(matches!(deleted, Err(FileError::NotFound { .. })), "{kind} {path}: {deleted:?}");
        }
        assert_eq!(files.read("folder/file").expect("there"), b"1", "{kind}");
    });
}

#[test]
fn attack_ch23_paths_outside_the_root_are_refused() {
    each(|kind, files| {
        for path in ["../x", "/etc/passwd", "a/../../x", "", "a//b", ".tmp/x", "a\0b"] {
            let outcomes = [
                files.create(path, b"").err(),
                files.replace(path, b"").err(),
                files.append(path).err(),
                files.read(path).err(),
                files.read_range(path, 0, 1).err(),
                files.size(path).err(),
                files.delete(path).err(),
            ];
            for outcome in outcomes {
                assert!(matches!(outcome, Some(FileError::InvalidPath { .. })), "{kind} {path:?}: {outcome:?}");
            }
        }
    });
}

#[test]
fn a_handle_to_a_replaced_or_deleted_file_does_not_reach_the_new_one() {
    each(|kind, files| {
        let mut log = files.append("log").expect("creates");
        log.append(b"old").expect("writes");
        files.replace("log", b"new").expect("writes");
        log.append(b"more").expect("writes to the file that lost its name");
        assert_eq!(files.read("log").expect("there"), b"new", "{kind}");
    });
}
