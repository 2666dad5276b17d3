//! Logs: JSON lines on stderr, without values and secrets.
//!
//! Lines are collected in memory and written by one thread, a fiftieth of a second later at most: a busy server would otherwise
//! ask the system once for each request. Warnings and errors are written at once, with all that came before them. Where stderr
//! takes lines more slowly than they come, whoever has one waits; none is left out. A process that is killed takes the lines of
//! that fiftieth of a second with it. What has to be durable before something happens
//! stands in the audit log, which is another thing.

use std::cell::RefCell;
use std::io::{self, Write as _};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use creta_model::Instant;
use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// How long lines wait for others at most.
const COLLECTED_FOR: Duration = Duration::from_millis(20);
/// Bytes that wait at most; whoever brings more writes them.
const WAITING_MAX: usize = 256 << 10;
/// What a request's line is filtered by.
const REQUESTS: &str = "creta_server::http";

static LINES: OnceLock<&'static Lines> = OnceLock::new();

/// Starts writing logs, unless the process does so already. `CRETA_LOG` chooses what (`info` by default), in the syntax of
/// `tracing-subscriber`; the libraries of TLS and HTTP stay at `warn`, since at finer levels they would write headers.
pub fn init_logging() {
    let filter = std::env::var("CRETA_LOG").unwrap_or_else(|_| "info".to_owned());
    let quiet = ["rustls", "h2", "hyper", "axum", "tower_http", "axum_server"];
    let mut filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    for library in quiet {
        filter = filter.add_directive(format!("{library}=warn").parse().expect("a plain directive"));
    }
    let lines: &'static Lines = Box::leak(Box::new(Lines::new(Box::new(io::stderr()))));
    let started = tracing_subscriber::fmt().json().flatten_event(true).with_env_filter(filter).with_writer(lines);
    if started.try_init().is_err() {
        return; // Somebody else writes logs in this process.
    }
    // Without the thread, whoever has a line writes it.
    if std::thread::Builder::new().name("creta-log".to_owned()).spawn(|| lines.keep_writing()).is_ok() {
        lines.lock().later = true;
    }
    let _ = LINES.set(lines);
}

/// Writes what waits when it is dropped: for the end of whatever logs.
pub(crate) struct Written;

impl Drop for Written {
    fn drop(&mut self) {
        if let Some(lines) = LINES.get() {
            lines.write_out();
        }
    }
}

/// A request that was answered.
pub(crate) struct Answered<'a> {
    pub(crate) id: &'a str,
    pub(crate) method: &'static str,
    pub(crate) route: &'static str,
    pub(crate) status: u16,
    pub(crate) elapsed: Duration,
}

impl Answered<'_> {
    /// Writes the line that a request leaves: who it was for says the audit log.
    pub(crate) fn log(&self) {
        if !tracing::enabled!(target: REQUESTS, Level::INFO) {
            return;
        }
        let Self { id, method, route, status, elapsed } = *self;
        let milliseconds = elapsed.as_millis() as u64;
        match LINES.get() {
            Some(lines) => LINE.with_borrow_mut(|line| {
                line.clear();
                self.write(line);
                lines.put(line, false);
            }),
            None => tracing::info!(target: REQUESTS, id, method, route, status, milliseconds, "answered"),
        }
    }

    /// The line as `tracing-subscriber` would write it for an event in a span of the request. Its words need no escapes.
    fn write(&self, line: &mut Vec<u8>) {
        let Self { id, method, route, status, elapsed } = self;
        line.extend(b"{\"timestamp\":\"");
        write_present(line);
        let milliseconds = elapsed.as_millis();
        let head = "\",\"level\":\"INFO\",\"message\":\"answered\"";
        let _ = write!(line, "{head},\"status\":{status},\"milliseconds\":{milliseconds},\"target\":\"{REQUESTS}\"");
        let of_request = |line: &mut Vec<u8>| {
            for part in
                ["{\"id\":\"", id, "\",\"method\":\"", method, "\",\"route\":\"", route, "\",\"name\":\"request\"}"]
            {
                line.extend(part.as_bytes());
            }
        };
        line.extend(b",\"span\":");
        of_request(line);
        line.extend(b",\"spans\":[");
        of_request(line);
        line.extend(b"]}\n");
    }
}

thread_local! {
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// The second that was written last, and its text up to the fraction.
    static SECOND: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
}

/// The present to the microsecond, RFC 3339.
fn write_present(line: &mut Vec<u8>) {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let second = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    SECOND.with_borrow_mut(|(last, text)| {
        if *last != second {
            let at = second.checked_mul(1_000_000).and_then(|micros| Instant::from_micros(micros).ok());
            *text = at.unwrap_or(Instant::MAX).to_string();
            text.truncate("2026-01-01T00:00:00".len());
            *last = second;
        }
        line.extend(text.as_bytes());
    });
    let _ = write!(line, ".{:06}Z", since.subsec_micros());
}

/// Lines on their way to where they are written.
struct Lines {
    waiting: Mutex<Waiting>,
    due: Condvar,
    /// Who holds this writes; what waits is taken while it is held, so that lines stay in order.
    out: Mutex<Out>,
}

#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// Whether somebody writes them later.
    later: bool,
}

struct Out {
    to: Box<dyn io::Write + Send>,
    /// Empty, with the room of what was written last.
    spare: Vec<u8>,
}

impl Lines {
    fn new(to: Box<dyn io::Write + Send>) -> Self {
        Self { waiting: Mutex::default(), due: Condvar::new(), out: Mutex::new(Out { to, spare: Vec::new() }) }
    }

    fn put(&self, line: &[u8], urgent: bool) {
        let mut waiting = self.lock();
        let first = waiting.bytes.is_empty();
        waiting.bytes.extend_from_slice(line);
        let write_now = urgent || !waiting.later || waiting.bytes.len() > WAITING_MAX;
        drop(waiting);
        if write_now {
            self.write_out();
        } else if first {
            self.due.notify_one();
        }
    }

    fn write_out(&self) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let spare = std::mem::take(&mut out.spare);
        let mut bytes = std::mem::replace(&mut self.lock().bytes, spare);
        let _ = out.to.write_all(&bytes); // There is nowhere left to say that this failed.
        bytes.clear();
        out.spare = bytes;
    }

    fn keep_writing(&self) {
        loop {
            let waiting = self.lock();
            drop(self.due.wait_while(waiting, |waiting| waiting.bytes.is_empty()));
            std::thread::sleep(COLLECTED_FOR);
            self.write_out();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the line of one event.
struct Line {
    lines: &'static Lines,
    urgent: bool,
}

impl io::Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.lines.put(line, self.urgent);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for &'static Lines {
    type Writer = Line;

    fn make_writer(&self) -> Line {
        Line { lines: self, urgent: true }
    }

    fn make_writer_for(&self, event: &Metadata<'_>) -> Line {
        Line { lines: self, urgent: *event.level() <= Level::WARN }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::Value;

    use super::*;

    /// What was written, each time that something was.
    #[derive(Clone, Default)]
    struct Seen(Arc<Mutex<Vec<Vec<u8>>>>);

    impl io::Write for Seen {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("not poisoned").push(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Seen {
        fn lines(&self) -> (&'static Lines, Self) {
            (Box::leak(Box::new(Lines::new(Box::new(self.clone())))), self.clone())
        }

        fn times(&self) -> usize {
            self.0.lock().expect("not poisoned").len()
        }

        fn text(&self) -> String {
            String::from_utf8(self.0.lock().expect("not poisoned").concat()).expect("text")
        }
    }

    #[test]
    fn a_requests_line_is_what_the_library_would_write_for_it() {
        let (lines, seen) = Seen::default().lines();
        let library = tracing_subscriber::fmt().json().flatten_event(true).with_writer(lines).finish();
        tracing::subscriber::with_default(library, || {
            let span = tracing::info_span!("request", id = "00ff", method = %"POST", route = "/v1/query");
            let milliseconds = 12_u64;
            span.in_scope(|| tracing::info!(target: REQUESTS, status = 200_u16, milliseconds, "answered"));
        });
        lines.write_out();
        let mut own = Vec::new();
        let elapsed = Duration::from_micros(12_900);
        Answered { id: "00ff", method: "POST", route: "/v1/query", status: 200, elapsed }.write(&mut own);
        assert_eq!(own.last(), Some(&b'\n'));
        let [mut theirs, mut own] =
            [seen.text().as_bytes(), &own].map(|line| serde_json::from_slice::<Value>(line).expect("JSON"));
        let instants = [&mut theirs, &mut own].map(|line| line["timestamp"].take());
        assert_eq!(own, theirs);
        for instant in instants {
            let text = instant.as_str().expect("a text");
            assert_eq!((text.len(), text.as_bytes()[26]), (27, b'Z'), "{text}");
            Instant::parse(text).expect("an instant");
        }
    }

    #[test]
    fn lines_wait_for_others_and_none_is_lost_or_out_of_order() {
        let (lines, seen) = Seen::default().lines();
        lines.lock().later = true;
        std::thread::spawn(|| lines.keep_writing());
        for n in 0..20_000 {
            lines.put(format!("{n}\n").as_bytes(), false);
        }
        while lines.lock().bytes.is_empty() == seen.text().is_empty() || seen.text().lines().count() < 20_000 {
            std::thread::yield_now();
        }
        assert_eq!(seen.text(), (0..20_000).map(|n| format!("{n}\n")).collect::<String>());
        assert!(seen.times() < 2_000, "{} times", seen.times());
    }

    #[test]
    fn an_error_is_written_at_once_with_all_before_it() {
        let (lines, seen) = Seen::default().lines();
        lines.lock().later = true; // And nobody does.
        let library = tracing_subscriber::fmt().json().with_writer(lines).finish();
        tracing::subscriber::with_default(library, || {
            tracing::info!("first");
            assert_eq!(seen.text(), "");
            tracing::warn!("second");
            assert_eq!(seen.text().lines().count(), 2, "{}", seen.text());
        });
        assert!(seen.text().find("first") < seen.text().find("second"));
    }

    #[test]
    fn memory_is_bounded_where_nobody_writes() {
        let (lines, seen) = Seen::default().lines();
        lines.lock().later = true;
        let line = [b'x'; 1_000];
        for _ in 0..1_000 {
            lines.put(&line, false);
            assert!(lines.lock().bytes.len() <= WAITING_MAX + line.len());
        }
        lines.write_out();
        assert_eq!(seen.text().len(), 1_000_000, "none is lost");
    }

    #[test]
    fn where_no_thread_could_be_started_a_line_is_written_by_whoever_has_it() {
        let (lines, seen) = Seen::default().lines();
        lines.put(b"one\n", false);
        assert_eq!(seen.text(), "one\n");
    }
}
