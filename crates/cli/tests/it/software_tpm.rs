//! A TPM in software for tests: `swtpm` (Debian's package of that name; `scripts/prepare swtpm` installs it), a new one in a
//! folder of its own.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub(crate) struct SoftwareTpm {
    process: Child,
    folder: tempfile::TempDir,
}

impl SoftwareTpm {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let named = |name: &str, value: &str| format!("{name}={}", folder.path().join(value).display());
        let process = Command::new("swtpm")
            .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"])
            .args(["--tpmstate", &named("dir", "")])
            .args(["--server", &format!("type=unixio,{}", named("path", "socket"))])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("`swtpm` is installed; `scripts/prepare swtpm` sees to it");
        let tpm = Self { process, folder };
        let deadline = Instant::now() + Duration::from_secs(20);
        // The file of the socket is there before anybody listens at it.
        while UnixStream::connect(tpm.socket()).is_err() {
            assert!(Instant::now() < deadline, "the TPM does not listen");
            std::thread::yield_now();
        }
        tpm
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }
}

impl Drop for SoftwareTpm {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
