//! No core files: a crash writes no memory to a disk (CH-14, T9).
//!
//! Two things see to it, and workers inherit both. The limit on core files keeps the kernel from writing one. Where the kernel
//! gives cores to a program instead, it does so whatever the limit; for that the filter of what a core holds is empty.

use std::path::Path;

use rustix::process::{Resource, Rlimit, setrlimit};

use crate::ServerError;

/// Which memory goes into a core file: none.
const FILTER: &str = "/proc/self/coredump_filter";

/// Turns core files off for this process and those it starts.
pub(crate) fn none() -> Result<(), ServerError> {
    let failed = |source| ServerError::Io { action: "write", path: FILTER.into(), source };
    let limit = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, limit).map_err(|error| failed(error.into()))?;
    std::fs::write(FILTER, "0").map_err(failed)
}

/// Why a process may leave a core file with memory in it, from its folder in `/proc`. None when it leaves none.
pub(crate) fn mistake(process: &Path) -> std::io::Result<Option<&'static str>> {
    let limits = std::fs::read_to_string(process.join("limits"))?;
    let filter = std::fs::read_to_string(process.join("coredump_filter"))?;
    let core = limits.lines().find_map(|line| line.strip_prefix("Max core file size"));
    let numbers: Vec<&str> = core.unwrap_or_default().split_whitespace().take(2).collect();
    if numbers != ["0", "0"] {
        return Ok(Some("core files are limited by nothing"));
    }
    let is_empty = u64::from_str_radix(filter.trim(), 16).is_ok_and(|filter| filter == 0);
    Ok((!is_empty).then_some("core files may hold memory"))
}

/// This process and all that it started, by their folders in `/proc`.
pub(crate) fn processes() -> std::io::Result<Vec<std::path::PathBuf>> {
    let own = std::path::PathBuf::from("/proc/self");
    let mut found = vec![own.clone()];
    for task in std::fs::read_dir(own.join("task"))? {
        let children = std::fs::read_to_string(task?.path().join("children")).unwrap_or_default();
        found.extend(children.split_whitespace().map(|child| Path::new("/proc").join(child)));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_ch14_a_crash_of_the_server_or_of_what_it_started_writes_no_memory() {
        none().expect("turned off");
        assert_eq!(mistake(Path::new("/proc/self")).expect("readable"), None);
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("started");
        let of_child = Path::new("/proc").join(child.id().to_string());
        assert_eq!(mistake(&of_child).expect("readable"), None, "it is inherited");
        let seen = processes().expect("listed").contains(&of_child);
        child.kill().and_then(|()| child.wait()).expect("ended");
        assert!(seen);
    }

    #[test]
    fn a_process_that_may_leave_a_core_is_noticed() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |limit: &str, filter: &str| {
            let limits = format!("Limit   Soft Limit   Hard Limit   Units\nMax core file size   {limit}   bytes\n");
            std::fs::write(folder.path().join("limits"), limits).expect("written");
            std::fs::write(folder.path().join("coredump_filter"), filter).expect("written");
            mistake(folder.path()).expect("readable")
        };
        assert_eq!(write("0 0", "00000000\n"), None);
        assert!(write("0 unlimited", "00000000\n").is_some());
        assert!(write("unlimited unlimited", "00000000\n").is_some());
        assert!(write("0 0", "00000033\n").is_some());
        assert!(write("0 0", "").is_some());
    }
}
