//! One worker process.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use super::frame::{Channel, FrameError, Kind};
use super::protocol::Failed;
use crate::config::WorkerConfig;
use crate::limits::WORKER_START_TIME_MAX;

/// What every worker of a server is started with.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    configured: PathBuf,
    /// What `configured` stands for; looked up when it is first needed.
    python: Arc<OnceLock<PathBuf>>,
    python_path: Vec<PathBuf>,
}

/// Why a worker did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("the Python interpreter `{}` was not found", .0.display())]
    NoInterpreter(PathBuf),
    #[error("the worker process could not be started")]
    Spawn(#[source] io::Error),
    #[error("the worker was not ready within {} s", WORKER_START_TIME_MAX.as_secs())]
    Late,
    #[error("the worker ended before it was ready; the interpreter needs the package `creta`")]
    Ended,
    #[error("the worker does not speak this server's protocol; install the `creta` package of this release")]
    Protocol,
    /// The project's modules could not be imported. The text is Python's about the project's code; no data is near.
    #[error("{message}")]
    Project { code: String, message: String },
}

/// Why one call has no answer. The worker must be dropped, unless the answer was [`CallError::Failed`].
#[derive(Debug)]
pub(crate) enum CallError {
    Late,
    Crashed,
    BadAnswer,
    /// The worker says that the call failed, with a code.
    Failed(String),
}

impl Launch {
    pub(crate) fn new(config: &WorkerConfig) -> Self {
        Self { configured: config.interpreter(), python: Arc::default(), python_path: config.python_path.clone() }
    }

    /// The interpreter itself. What is configured may be a bare name or a script that chooses one by the environment,
    /// which a worker does not have; so it is asked once, in the server's environment, where it is.
    fn interpreter(&self) -> Result<&Path, StartError> {
        if let Some(known) = self.python.get() {
            return Ok(known);
        }
        let mut command = Command::new(&self.configured);
        command.args(["-I", "-c", "import sys; print(sys.executable)"]).stdin(Stdio::null()).stderr(Stdio::null());
        let output = {
            let _alone = SPAWNING.lock().unwrap_or_else(PoisonError::into_inner);
            command.output()
        };
        let printed = output.ok().filter(|output| output.status.success()).map(|output| output.stdout);
        let printed =
            printed.and_then(|bytes| String::from_utf8(bytes).ok()).map(|text| PathBuf::from(text.trim_end()));
        let found = printed.filter(|path| path.is_absolute() && path.is_file());
        let found = found.ok_or_else(|| StartError::NoInterpreter(self.configured.clone()))?;
        Ok(self.python.get_or_init(|| found))
    }
}

/// A process that has imported a project. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Worker {
    child: Child,
    channel: Channel,
    calls: u32,
    _folder: TempDir,
}

/// Held while a socket is inheritable, so that no other child inherits it.
static SPAWNING: Mutex<()> = Mutex::new(());

impl Worker {
    /// Starts a process and waits until it has imported the project that `hello` describes.
    pub(crate) fn start(launch: &Launch, hello: &[u8]) -> Result<Self, StartError> {
        let python = launch.interpreter()?;
        let folder = tempfile::Builder::new().prefix("creta-worker-").tempdir().map_err(StartError::Spawn)?;
        let (ours, theirs) = UnixStream::pair().map_err(StartError::Spawn)?;
        let child = spawn(python, launch, folder.path(), &theirs).map_err(StartError::Spawn)?;
        drop(theirs);
        let mut worker = Self { child, channel: Channel::new(ours), calls: 0, _folder: folder };
        worker.greet(hello, Instant::now() + WORKER_START_TIME_MAX)?;
        Ok(worker)
    }

    fn greet(&mut self, hello: &[u8], deadline: Instant) -> Result<(), StartError> {
        let frame = self.channel.send(Kind::Hello, &[hello], deadline).and_then(|()| self.channel.receive(deadline));
        match frame {
            Ok((Kind::Ready, _)) => Ok(()),
            Ok((Kind::Failed, body)) => {
                let failed: Failed = serde_json::from_slice(&body).map_err(|_| StartError::Protocol)?;
                Err(StartError::Project { code: plain_code(&failed.code), message: plain_text(&failed.message) })
            }
            Ok(_) | Err(FrameError::Malformed) => Err(StartError::Protocol),
            Err(FrameError::Late) => Err(StartError::Late),
            Err(FrameError::Closed) => Err(StartError::Ended),
        }
    }

    /// Calls resolver number `index` with an Arrow stream of one batch; gives the stream that it answers with.
    pub(crate) fn call(&mut self, index: u32, inputs: &[u8], time: Duration) -> Result<Vec<u8>, CallError> {
        let deadline = Instant::now() + time;
        self.calls = self.calls.wrapping_add(1);
        let call = self.calls;
        let head = [index.to_le_bytes(), call.to_le_bytes()].concat();
        let sent = self.channel.send(Kind::Call, &[&head, inputs], deadline);
        match sent.and_then(|()| self.channel.receive(deadline)) {
            Ok((Kind::Answer, mut body)) if body.starts_with(&call.to_le_bytes()) => {
                body.drain(..4);
                Ok(body)
            }
            Ok((Kind::Failed, body)) => match serde_json::from_slice::<Failed>(&body) {
                Ok(failed) if failed.call == Some(call) => Err(CallError::Failed(plain_code(&failed.code))),
                _ => Err(CallError::BadAnswer),
            },
            Ok(_) | Err(FrameError::Malformed) => Err(CallError::BadAnswer),
            Err(FrameError::Late) => Err(CallError::Late),
            Err(FrameError::Closed) => Err(CallError::Crashed),
        }
    }
}

impl Worker {
    /// Whether the process is gone already.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }

    /// Asks for a resolver that no project has, which a worker that is well refuses by name.
    pub(crate) fn ping(&mut self, time: Duration) -> Result<(), CallError> {
        match self.call(u32::MAX, &[], time) {
            Err(CallError::Failed(code)) if code == NO_SUCH_RESOLVER => Ok(()),
            Err(CallError::Failed(_)) | Ok(_) => Err(CallError::BadAnswer),
            Err(error) => Err(error),
        }
    }
}

/// What a worker says to a call of a resolver that it does not have.
const NO_SUCH_RESOLVER: &str = "resolver/not-found";

impl Drop for Worker {
    fn drop(&mut self) {
        // The whole group, so that processes it started end too.
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(pid, Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(python: &Path, launch: &Launch, folder: &Path, socket: &UnixStream) -> io::Result<Child> {
    let mut command = Command::new(python);
    // -P: nothing is imported from the working folder. -s: nor from the home folder. -B: no bytecode is written.
    command.args(["-P", "-s", "-B", "-m", "creta._worker", "--socket-fd", &socket.as_raw_fd().to_string()]);
    command.env_clear().current_dir(folder).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if !launch.python_path.is_empty() {
        let joined = std::env::join_paths(&launch.python_path).map_err(io::Error::other)?;
        command.env("PYTHONPATH", joined);
    }
    let _alone = SPAWNING.lock().unwrap_or_else(PoisonError::into_inner);
    close_on_exec_all()?;
    fcntl_setfd(socket, FdFlags::empty())?;
    let child = command.spawn();
    fcntl_setfd(socket, FdFlags::CLOEXEC)?;
    child
}

/// Marks every descriptor of this process but the standard ones as not for children. Those opened here are so already; what
/// the server itself was started with need not be.
fn close_on_exec_all() -> io::Result<()> {
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let Some(fd) = entry?.file_name().to_str().and_then(|name| name.parse::<RawFd>().ok()) else { continue };
        if fd > 2 {
            // SAFETY: nothing is read, written or closed through it. Should another thread have closed it meanwhile, the call
            // fails, and should the number be in use again, that descriptor is one of ours and marked already.
            #[allow(unsafe_code, reason = "a listed descriptor has no owner to borrow it from")]
            let listed = unsafe { BorrowedFd::borrow_raw(fd) };
            let _ = fcntl_setfd(listed, FdFlags::CLOEXEC);
        }
    }
    Ok(())
}

/// A code as codes are; anything else that a worker says is replaced.
fn plain_code(code: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '/';
    if (1..=64).contains(&code.len()) && code.chars().all(plain) {
        code.to_owned()
    } else {
        "resolver/failed".to_owned()
    }
}

/// At most 500 characters without control characters.
fn plain_text(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(500).collect()
}
