//! A disk that crashes, fills up and fails on command, from a seed.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::files::{AppendFile, FileError, Files, check_path, check_prefix};
use crate::memory::{check_free, range};
use crate::random::SeededRandom;

/// What goes wrong at a chosen operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The process dies in the middle of the operation. Whether a create, replace, delete or truncate took effect is drawn;
    /// of bytes appended since the last sync a prefix of drawn length survives. Everything afterwards is
    /// [`FileError::Crashed`].
    Crash,
    /// The disk is full for this one operation; an append leaves a drawn part of its bytes behind.
    Full,
    /// The operation fails without effect. A failed sync also loses what it was to save: later syncs succeed, but those
    /// bytes do not survive a crash, as on Linux.
    Error,
    /// Like `Error`, except that a create, replace or delete whose name is being published is visible all the same: the name
    /// was changed and flushing the folder failed. A crash may undo it until the next successful change in that folder or
    /// [`reopen`](FaultyFiles::reopen).
    Unflushed,
}

/// Files in memory that fail as a disk does.
///
/// Operations are counted over their steps at which something can go wrong: create and replace have two (writing the bytes,
/// publishing the name), the other changes have one, reads have none. Run a scenario once, ask for
/// [`operations`](Self::operations), then run it once per number with a fault there.
///
/// ```
/// use creta_platform::{Fault, FaultyFiles, FileError, Files};
///
/// let files = FaultyFiles::new(7);
/// files.inject(Fault::Crash, 0);
/// assert!(matches!(files.create("a", b"1"), Err(FileError::Crashed)));
/// let files = files.restart();
/// assert!(files.list("")?.is_empty());
/// # Ok::<(), FileError>(())
/// ```
#[derive(Clone)]
pub struct FaultyFiles {
    state: Arc<Mutex<State>>,
}

struct State {
    random: Arc<SeededRandom>,
    names: BTreeMap<String, usize>,
    /// Names that a crash may put back, with what they stood for.
    unflushed: BTreeMap<String, Option<usize>>,
    contents: Vec<Content>,
    operations: u64,
    fault: Option<(u64, Fault)>,
    crashed: bool,
}

/// The file's bytes as the process sees them; `durable` of them survive a crash for certain.
#[derive(Default)]
struct Content {
    bytes: Vec<u8>,
    durable: usize,
    /// A sync failed: the bytes beyond `durable` are lost to later syncs until they are cut off.
    sync_lost: bool,
}

impl FaultyFiles {
    /// An empty disk without faults. `seed` decides what survives a crash.
    pub fn new(seed: u64) -> Self {
        Self::over(Arc::new(SeededRandom::new(seed)), BTreeMap::new(), Vec::new())
    }

    fn over(random: Arc<SeededRandom>, names: BTreeMap<String, usize>, contents: Vec<Content>) -> Self {
        let unflushed = BTreeMap::new();
        let state = State { random, names, unflushed, contents, operations: 0, fault: None, crashed: false };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Plans `fault` for the operation that comes after `after` more; it replaces an earlier plan.
    pub fn inject(&self, fault: Fault, after: u64) {
        let mut state = self.state();
        state.fault = Some((state.operations + after, fault));
    }

    /// Operations counted since this disk was made or restarted.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Whether the planned fault has happened.
    pub fn fault_met(&self) -> bool {
        let state = self.state();
        state.fault.is_some_and(|(at, _)| at < state.operations)
    }

    /// Whether the process has crashed.
    pub fn is_crashed(&self) -> bool {
        self.state().crashed
    }

    /// Lets the process die now, between two operations.
    pub fn crash(&self) {
        self.state().crash();
    }

    /// The disk as the next process finds it: crashes first if that has not happened. Old handles stay dead.
    pub fn restart(&self) -> Self {
        let mut state = self.state();
        state.crash();
        let names = std::mem::take(&mut state.names);
        let contents = std::mem::take(&mut state.contents);
        Self::over(Arc::clone(&state.random), names, contents)
    }

    /// The same disk for the next process while the machine runs on: opening a folder flushes its names, as
    /// [`DiskFiles::open`](crate::DiskFiles::open) does.
    pub fn reopen(&self) -> Self {
        self.state().unflushed.clear();
        self.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds the disk")
    }

    fn write(&self, path: &str, bytes: &[u8], if_present: Present) -> Result<(), FileError> {
        check_path(path)?;
        let mut state = self.state();
        state.step()?.or_fail(path)?;
        if state.names.contains_key(path) && if_present == Present::Refuse {
            return Err(FileError::Exists { path: path.to_owned() });
        }
        check_free(&state.names, path)?;
        let publish = |state: &mut State| {
            state.contents.push(Content { bytes: bytes.to_vec(), durable: bytes.len(), sync_lost: false });
            let number = state.contents.len() - 1;
            state.names.insert(path.to_owned(), number);
        };
        state.publish(path, publish)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Present {
    Refuse,
    Replace,
}

/// What the plan holds for one step.
struct Step(Option<Fault>);

impl Step {
    /// Errors for a step without partial effects.
    fn or_fail(self, path: &str) -> Result<(), FileError> {
        match self.0 {
            None => Ok(()),
            Some(Fault::Crash) => Err(FileError::Crashed),
            Some(Fault::Full) => Err(FileError::Full { path: path.to_owned() }),
            Some(Fault::Error | Fault::Unflushed) => Err(io_failed(path)),
        }
    }
}

fn io_failed(path: &str) -> FileError {
    let source = io::Error::other("simulated failure of the disk");
    FileError::Io { action: "reach", path: path.to_owned(), source }
}

impl State {
    fn alive(&self) -> Result<(), FileError> {
        if self.crashed { Err(FileError::Crashed) } else { Ok(()) }
    }

    /// Counts a step and tells what is to happen in it. A crash is carried out here.
    fn step(&mut self) -> Result<Step, FileError> {
        self.alive()?;
        let number = self.operations;
        self.operations += 1;
        let planned = self.fault.filter(|(at, _)| *at == number).map(|(_, fault)| fault);
        if planned == Some(Fault::Crash) {
            self.crash();
        }
        Ok(Step(planned))
    }

    /// A step that happens wholly or not at all; in a crash that is drawn.
    fn change(&mut self, path: &str, effect: impl FnOnce(&mut Self)) -> Result<(), FileError> {
        let step = self.step()?;
        let happens = match step.0 {
            None => true,
            Some(Fault::Crash) => self.random.below(2) == 1,
            Some(_) => false,
        };
        if happens {
            effect(self);
        }
        step.or_fail(path)
    }

    /// A change of the name at `path`.
    fn publish(&mut self, path: &str, effect: impl FnOnce(&mut Self)) -> Result<(), FileError> {
        let before = self.names.get(path).copied();
        if self.crashed || self.fault != Some((self.operations, Fault::Unflushed)) {
            self.change(path, effect)?;
            let folder = |path: &str| path.rfind('/').map_or(0, |end| end + 1);
            let changed = &path[..folder(path)];
            self.unflushed.retain(|other, _| other[..folder(other)] != *changed);
            return Ok(());
        }
        let step = self.step()?;
        effect(self);
        self.unflushed.entry(path.to_owned()).or_insert(before);
        step.or_fail(path)
    }

    fn crash(&mut self) {
        if self.crashed {
            return;
        }
        self.crashed = true;
        for (path, before) in std::mem::take(&mut self.unflushed) {
            if self.random.below(2) == 1 {
                match before {
                    Some(number) => self.names.insert(path, number),
                    None => self.names.remove(&path),
                };
            }
        }
        for content in &mut self.contents {
            let unsynced = content.bytes.len() - content.durable;
            let kept = usize::try_from(self.random.below(unsynced as u64 + 1)).expect("not more than a length");
            content.bytes.truncate(content.durable + kept);
            content.durable = content.bytes.len();
            content.sync_lost = false;
        }
    }

    fn content(&self, path: &str) -> Result<&Content, FileError> {
        check_path(path)?;
        self.alive()?;
        let number = self.names.get(path).ok_or_else(|| FileError::NotFound { path: path.to_owned() })?;
        Ok(&self.contents[*number])
    }
}

impl Files for FaultyFiles {
    fn create(&self, path: &str, bytes: &[u8]) -> Result<(), FileError> {
        self.write(path, bytes, Present::Refuse)
    }

    fn replace(&self, path: &str, bytes: &[u8]) -> Result<(), FileError> {
        self.write(path, bytes, Present::Replace)
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, FileError> {
        Ok(self.state().content(path)?.bytes.clone())
    }

    fn read_range(&self, path: &str, offset: u64, len: usize) -> Result<Vec<u8>, FileError> {
        Ok(range(&self.state().content(path)?.bytes, offset, len))
    }

    fn size(&self, path: &str) -> Result<u64, FileError> {
        Ok(self.state().content(path)?.bytes.len() as u64)
    }

    fn append(&self, path: &str) -> Result<Box<dyn AppendFile>, FileError> {
        check_path(path)?;
        let mut state = self.state();
        state.alive()?;
        if !state.names.contains_key(path) {
            check_free(&state.names, path)?;
            state.publish(path, |state| {
                state.contents.push(Content::default());
                let number = state.contents.len() - 1;
                state.names.insert(path.to_owned(), number);
            })?;
        }
        let number = state.names[path];
        Ok(Box::new(FaultyAppend { state: Arc::clone(&self.state), path: path.to_owned(), number }))
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, FileError> {
        check_prefix(prefix)?;
        let state = self.state();
        state.alive()?;
        Ok(state.names.keys().filter(|path| path.starts_with(prefix)).cloned().collect())
    }

    fn delete(&self, path: &str) -> Result<(), FileError> {
        let mut state = self.state();
        state.content(path)?;
        state.publish(path, |state| {
            state.names.remove(path);
        })
    }
}

struct FaultyAppend {
    state: Arc<Mutex<State>>,
    path: String,
    number: usize,
}

impl FaultyAppend {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds the disk")
    }
}

impl AppendFile for FaultyAppend {
    fn append(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        let mut state = self.state();
        state.alive()?;
        // The bytes are in flight when the step happens, so that a crash may tear them.
        let before = state.contents[self.number].bytes.len();
        state.contents[self.number].bytes.extend_from_slice(bytes);
        let step = state.step()?;
        match step.0 {
            Some(Fault::Full) => {
                let kept = usize::try_from(state.random.below(bytes.len() as u64 + 1)).expect("not more than a length");
                state.contents[self.number].bytes.truncate(before + kept);
            }
            Some(Fault::Error | Fault::Unflushed) => state.contents[self.number].bytes.truncate(before),
            Some(Fault::Crash) | None => {}
        }
        step.or_fail(&self.path)
    }

    fn sync(&mut self) -> Result<(), FileError> {
        let mut state = self.state();
        let step = state.step()?;
        // After a crash the disk may have been handed over by `restart`, but not while this lock is held.
        let content = &mut state.contents[self.number];
        match step.0 {
            None if !content.sync_lost => content.durable = content.bytes.len(),
            None | Some(Fault::Crash) => {}
            Some(Fault::Full | Fault::Error | Fault::Unflushed) => content.sync_lost = true,
        }
        step.or_fail(&self.path)
    }

    fn truncate(&mut self, wanted: u64) -> Result<(), FileError> {
        let mut state = self.state();
        state.alive()?;
        let number = self.number;
        let len = state.contents[number].bytes.len() as u64;
        if wanted > len {
            return Err(FileError::OutOfRange { path: self.path.clone(), len, wanted });
        }
        let wanted = usize::try_from(wanted).expect("not more than a length");
        state.change(&self.path, |state| {
            let content = &mut state.contents[number];
            content.bytes.truncate(wanted);
            // Flushing the new length flushes the bytes before it, unless a failed sync has lost them.
            if !content.sync_lost || wanted <= content.durable {
                content.durable = content.bytes.len();
                content.sync_lost = false;
            }
        })
    }

    fn len(&self) -> u64 {
        self.state().contents.get(self.number).map_or(0, |content| content.bytes.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Outcomes after a restart over many seeds.
    fn outcomes(scenario: impl Fn(&FaultyFiles)) -> std::collections::BTreeSet<Option<Vec<u8>>> {
        (0..200)
            .map(|seed| {
                let files = FaultyFiles::new(seed);
                scenario(&files);
                files.restart().read("f").ok()
            })
            .collect()
    }

    fn bytes(texts: &[&str]) -> std::collections::BTreeSet<Option<Vec<u8>>> {
        texts.iter().map(|text| Some(text.as_bytes().to_vec())).collect()
    }

    #[test]
    fn unsynced_bytes_survive_as_any_prefix_and_synced_ones_for_certain() {
        let survived = outcomes(|files| {
            let mut log = files.append("f").expect("creates");
            log.append(b"ab").expect("writes");
            log.sync().expect("flushes");
            log.append(b"cde").expect("writes");
        });
        assert_eq!(survived, bytes(&["ab", "abc", "abcd", "abcde"]));
    }

    #[test]
    fn a_crash_inside_a_create_leaves_all_or_nothing() {
        let while_writing = outcomes(|files| {
            files.inject(Fault::Crash, 0);
            files.create("f", b"new").expect_err("crashes");
        });
        assert_eq!(while_writing, [None].into());
        let while_publishing = outcomes(|files| {
            files.inject(Fault::Crash, 1);
            files.create("f", b"new").expect_err("crashes");
        });
        assert_eq!(while_publishing, [None, Some(b"new".to_vec())].into());
        let replaced = outcomes(|files| {
            files.create("f", b"old").expect("new");
            files.inject(Fault::Crash, 1);
            files.replace("f", b"new").expect_err("crashes");
        });
        assert_eq!(replaced, bytes(&["old", "new"]));
    }

    #[test]
    fn a_failed_sync_loses_its_bytes_although_later_ones_succeed() {
        let survived = outcomes(|files| {
            let mut log = files.append("f").expect("creates");
            log.append(b"ab").expect("writes");
            files.inject(Fault::Error, 0);
            log.sync().expect_err("fails");
            log.sync().expect("claims to succeed");
        });
        assert_eq!(survived, bytes(&["", "a", "ab"]));
        let cut_off = outcomes(|files| {
            let mut log = files.append("f").expect("creates");
            log.append(b"ab").expect("writes");
            files.inject(Fault::Error, 0);
            log.sync().expect_err("fails");
            log.truncate(0).expect("cuts");
            log.append(b"X").expect("writes");
            log.sync().expect("flushes");
        });
        assert_eq!(cut_off, bytes(&["X"]));
    }

    #[test]
    fn a_truncation_is_durable_and_saves_what_stays() {
        let cut = outcomes(|files| {
            let mut log = files.append("f").expect("creates");
            log.append(b"abc").expect("writes");
            log.truncate(2).expect("cuts");
        });
        assert_eq!(cut, bytes(&["ab"]));
        let crashed = outcomes(|files| {
            let mut log = files.append("f").expect("creates");
            log.append(b"ab").expect("writes");
            log.sync().expect("flushes");
            files.inject(Fault::Crash, 0);
            log.truncate(1).expect_err("crashes");
        });
        assert_eq!(crashed, bytes(&["a", "ab"]));
    }

    #[test]
    fn a_full_disk_keeps_part_of_an_append_and_nothing_of_a_create() {
        let survived = outcomes(|files| {
            let mut log = files.append("f").expect("creates");
            files.inject(Fault::Full, 0);
            assert!(matches!(log.append(b"ab"), Err(FileError::Full { .. })));
            log.sync().expect("flushes");
        });
        assert_eq!(survived, bytes(&["", "a", "ab"]));
        let created = outcomes(|files| {
            files.inject(Fault::Full, 1);
            assert!(matches!(files.create("f", b"ab"), Err(FileError::Full { .. })));
        });
        assert_eq!(created, [None].into());
    }

    #[test]
    fn a_name_whose_folder_was_not_flushed_is_visible_and_may_be_undone() {
        let survived = |between: fn(&FaultyFiles)| {
            outcomes(|files| {
                files.create("f", b"old").expect("new");
                files.inject(Fault::Unflushed, 1);
                assert!(matches!(files.replace("f", b"new"), Err(FileError::Io { .. })));
                assert_eq!(files.read("f").expect("there"), b"new");
                between(files);
            })
        };
        assert_eq!(survived(|_| {}), bytes(&["old", "new"]));
        assert_eq!(survived(|files| files.create("elsewhere/g", b"").expect("new")), bytes(&["old", "new"]));
        assert_eq!(survived(|files| files.create("g", b"").expect("new")), bytes(&["new"]));
        assert_eq!(survived(|files| drop(files.reopen())), bytes(&["new"]));
    }

    #[test]
    fn a_fault_happens_once_at_the_planned_operation() {
        let files = FaultyFiles::new(1);
        files.create("a", b"").expect("new");
        files.inject(Fault::Full, 3);
        files.create("b", b"").expect("two operations without a fault");
        files.delete("b").expect("a third one");
        assert!(!files.fault_met());
        assert!(matches!(files.delete("a"), Err(FileError::Full { .. })));
        assert!(files.fault_met());
        files.delete("a").expect("the fault is over");
        assert_eq!(files.operations(), 7);
    }

    #[test]
    fn a_dead_process_reaches_nothing() {
        let files = FaultyFiles::new(1);
        let mut log = files.append("f").expect("creates");
        let after = files.restart();
        assert!(matches!(log.append(b"x"), Err(FileError::Crashed)));
        assert!(matches!(log.sync(), Err(FileError::Crashed)));
        assert!(matches!(log.truncate(0), Err(FileError::Crashed)));
        assert!(matches!(files.read("f"), Err(FileError::Crashed)));
        assert!(matches!(files.create("g", b""), Err(FileError::Crashed)));
        assert_eq!(after.list("").expect("lists"), ["f"]);
    }
}
