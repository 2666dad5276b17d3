//! Files that live and die with the process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::files::{AppendFile, FileError, Files, TAKEN_RULE, check_path, check_prefix, invalid};

type Content = Arc<Mutex<Vec<u8>>>;

/// Files in memory. Every operation costs a lock and a copy.
#[derive(Default)]
pub struct MemoryFiles {
    files: Mutex<BTreeMap<String, Content>>,
}

impl MemoryFiles {
    /// An empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<String, Content>> {
        self.files.lock().expect("no code panics while it holds the tree")
    }

    fn content(&self, path: &str) -> Result<Content, FileError> {
        check_path(path)?;
        self.files().get(path).cloned().ok_or_else(|| FileError::NotFound { path: path.to_owned() })
    }
}

fn lock(content: &Content) -> MutexGuard<'_, Vec<u8>> {
    content.lock().expect("no code panics while it holds a file")
}

/// Refuses a new file where a folder is, or under a name that is a file. `names` are those of all present files.
pub(crate) fn check_free<V>(names: &BTreeMap<String, V>, path: &str) -> Result<(), FileError> {
    let beneath = format!("{path}/");
    let is_folder = names.range(beneath.clone()..).next().is_some_and(|(name, _)| name.starts_with(&beneath));
    let under_file = path.match_indices('/').any(|(at, _)| names.contains_key(&path[..at]));
    if is_folder || under_file { Err(invalid(path, TAKEN_RULE)) } else { Ok(()) }
}

/// At most `len` bytes of `bytes` from `offset`.
pub(crate) fn range(bytes: &[u8], offset: u64, len: usize) -> Vec<u8> {
    let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
    bytes[start..start.saturating_add(len).min(bytes.len())].to_vec()
}

impl Files for MemoryFiles {
    fn create(&self, path: &str, bytes: &[u8]) -> Result<(), FileError> {
        check_path(path)?;
        let mut files = self.files();
        if files.contains_key(path) {
            return Err(FileError::Exists { path: path.to_owned() });
        }
        check_free(&files, path)?;
        files.insert(path.to_owned(), Arc::new(Mutex::new(bytes.to_vec())));
        Ok(())
    }

    fn replace(&self, path: &str, bytes: &[u8]) -> Result<(), FileError> {
        check_path(path)?;
        let mut files = self.files();
        check_free(&files, path)?;
        files.insert(path.to_owned(), Arc::new(Mutex::new(bytes.to_vec())));
        Ok(())
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, FileError> {
        Ok(lock(&self.content(path)?).clone())
    }

    fn read_range(&self, path: &str, offset: u64, len: usize) -> Result<Vec<u8>, FileError> {
        Ok(range(&lock(&self.content(path)?), offset, len))
    }

    fn size(&self, path: &str) -> Result<u64, FileError> {
        Ok(lock(&self.content(path)?).len() as u64)
    }

    fn append(&self, path: &str) -> Result<Box<dyn AppendFile>, FileError> {
        check_path(path)?;
        let mut files = self.files();
        check_free(&files, path)?;
        let content = Arc::clone(files.entry(path.to_owned()).or_default());
        Ok(Box::new(MemoryAppend { path: path.to_owned(), content }))
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, FileError> {
        check_prefix(prefix)?;
        let files = self.files();
        let from_prefix = files.range(prefix.to_owned()..).map(|(path, _)| path);
        Ok(from_prefix.take_while(|path| path.starts_with(prefix)).cloned().collect())
    }

    fn delete(&self, path: &str) -> Result<(), FileError> {
        check_path(path)?;
        self.files().remove(path).map(drop).ok_or_else(|| FileError::NotFound { path: path.to_owned() })
    }
}

struct MemoryAppend {
    path: String,
    content: Content,
}

impl AppendFile for MemoryAppend {
    fn append(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        lock(&self.content).extend_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), FileError> {
        Ok(())
    }

    fn truncate(&mut self, wanted: u64) -> Result<(), FileError> {
        let mut content = lock(&self.content);
        let len = content.len() as u64;
        match usize::try_from(wanted) {
            Ok(wanted) if wanted <= content.len() => {
                content.truncate(wanted);
                Ok(())
            }
            _ => Err(FileError::OutOfRange { path: self.path.clone(), len, wanted }),
        }
    }

    fn len(&self) -> u64 {
        lock(&self.content).len() as u64
    }
}
