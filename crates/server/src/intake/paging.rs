//! Who is on call, and when they are woken.
//!
//! What waits for a page is a file, so that a crash forgets nobody: it goes when one contact has accepted the page. A page
//! names the newest report and how many wait with it; it never holds a report's text. A tenant's urgent report pages at
//! once, always. Strangers can wake people as well, but only so often: what comes in between is in the next page.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use creta_model::{Instant, Problem};
use creta_platform::{Clock, FileError, Files};
use serde::{Deserialize, Serialize};
use ureq::http::Request;

use crate::tls::{Outbound, is_https};

/// Folder of what waits for a page.
const WAITING: &str = "paging";
/// Between two pages for urgent reports of strangers, and for ordinary ones.
const URGENT_EVERY: Duration = Duration::from_secs(60);
const ORDINARY_EVERY: Duration = Duration::from_secs(300);
/// Between attempts when no contact accepted.
const RETRY_EVERY: Duration = Duration::from_secs(10);
/// How often to look when nobody says that something waits.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A contact that has not accepted by then has not.
const CONTACT_TIME_MAX: Duration = Duration::from_secs(15);
/// Certificates that the system trusts, where distributions keep them.
const SYSTEM_CERTIFICATES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// One way to reach whoever is on call. Exactly one of `webhook` and `command` is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct OnCall {
    /// An `https:` address that takes the page as JSON with POST.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<String>,
    /// The certificate authority of the webhook in PEM; by default those that the system trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// A program with its arguments. It gets the reference, the urgency and how many wait, one per line, on standard input,
    /// and accepts the page by ending with 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
}

impl OnCall {
    /// Whether it can be used. The error says what to write instead.
    pub(crate) fn check(&self) -> Result<(), String> {
        match (&self.webhook, self.command.as_slice()) {
            (Some(url), []) if is_https(url) => Ok(()),
            (Some(url), []) => Err(format!("webhook `{url}` is not an https address; nothing else is spoken")),
            (None, [program, ..]) if Path::new(program).is_absolute() => Ok(()),
            (None, [program, ..]) => Err(format!("command `{program}` has to be named with its whole path")),
            _ => Err("somebody on call has either a `webhook` or a `command`".to_owned()),
        }
    }

    fn name(&self) -> String {
        self.webhook.clone().unwrap_or_else(|| self.command.first().cloned().unwrap_or_default())
    }

    fn page(&self, folder: &Path, page: &Page) -> Result<(), String> {
        match &self.webhook {
            Some(url) => post(url, self.ca.as_deref().map(|ca| folder.join(ca)).as_deref(), page),
            None => run(&self.command, page),
        }
    }
}

/// What a contact said to a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageResult {
    /// The webhook's address, or the program.
    pub contact: String,
    /// Why it did not accept; absent when it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// Whom a report wakes how fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Urgency {
    /// A tenant's urgent flag: at once, always.
    Tenant,
    /// A stranger's urgent flag.
    Urgent,
    /// Everything else.
    Ordinary,
}

impl Urgency {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Urgent => "urgent",
            Self::Ordinary => "ordinary",
        }
    }

    /// Time between two pages of this urgency.
    const fn every(self) -> Duration {
        match self {
            Self::Tenant => Duration::ZERO,
            Self::Urgent => URGENT_EVERY,
            Self::Ordinary => ORDINARY_EVERY,
        }
    }
}

/// A page as contacts get it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Page {
    format: &'static str,
    /// Which process pages.
    from: String,
    reference: String,
    received_at: Instant,
    urgency: Urgency,
    /// How many reports wait, this one among them.
    waiting: usize,
}

/// What waits for a page, as its file holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Waiting {
    reference: String,
    received_at: Instant,
    urgency: Urgency,
}

/// Pages whoever is on call, from a thread of its own.
pub(crate) struct Pager {
    from: String,
    folder: PathBuf,
    files: Arc<dyn Files>,
    clock: Arc<dyn Clock>,
    contacts: Vec<OnCall>,
    asked: (Mutex<bool>, Condvar),
    failing: Mutex<Option<String>>,
}

impl Pager {
    /// `folder` is what relative paths of contacts start from; `files` are its files.
    pub(crate) fn new(
        from: String,
        folder: &Path,
        files: Arc<dyn Files>,
        clock: Arc<dyn Clock>,
        contacts: Vec<OnCall>,
    ) -> Self {
        let (asked, failing) = ((Mutex::new(false), Condvar::new()), Mutex::new(None));
        Self { from, folder: folder.to_owned(), files, clock, contacts, asked, failing }
    }

    /// How many can be paged.
    pub(crate) fn contacts(&self) -> usize {
        self.contacts.len()
    }

    /// Why the newest attempt reached nobody.
    pub(crate) fn failing(&self) -> Option<String> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes that somebody has to be paged: durable when this returns. Nothing happens where nobody is on call.
    pub(crate) fn ask(&self, reference: &str, received_at: Instant, urgency: Urgency) -> Result<(), FileError> {
        if self.contacts.is_empty() {
            return Ok(());
        }
        let waiting = Waiting { reference: reference.to_owned(), received_at, urgency };
        let bytes = serde_json::to_vec(&waiting).expect("what waits has a JSON form");
        match self.files.create(&format!("{WAITING}/{reference}.json"), &bytes) {
            Ok(()) | Err(FileError::Exists { .. }) => {}
            Err(error) => return Err(error),
        }
        let (asked, bell) = &self.asked;
        *asked.lock().unwrap_or_else(PoisonError::into_inner) = true;
        bell.notify_all();
        Ok(())
    }

    /// Pages until the process ends; what waited when the last one ended comes first. Where nobody is on call no thread is
    /// started.
    pub(crate) fn follow(self: &Arc<Self>) {
        if self.contacts.is_empty() {
            return;
        }
        let weak = Arc::downgrade(self);
        let work = move || {
            let mut last = Last::default();
            // Whoever owns the pager may end before it: nothing here keeps it alive but one round.
            while let Some(pager) = weak.upgrade() {
                pager.round(&mut last);
                pager.wait();
            }
        };
        if let Err(error) = std::thread::Builder::new().name("creta-pager".to_owned()).spawn(work) {
            tracing::error!(%error, "nobody can be paged");
        }
    }

    fn wait(&self) {
        let (asked, bell) = &self.asked;
        let asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut asked, _) =
            bell.wait_timeout_while(asked, LOOK_EVERY, |asked| !*asked).unwrap_or_else(PoisonError::into_inner);
        *asked = false;
    }

    fn round(&self, last: &mut Last) {
        let now = self.clock.monotonic();
        let waiting = match self.waiting() {
            Ok(waiting) => waiting,
            Err(error) => return tracing::error!(%error, "what waits for a page cannot be read"),
        };
        for urgency in last.due(&waiting, now) {
            let group: Vec<&Waiting> = waiting.iter().filter(|waiting| waiting.urgency == urgency).collect();
            let newest = group.last().expect("only what waits is due");
            let page = Page {
                format: "creta.page/1",
                from: self.from.clone(),
                reference: newest.reference.clone(),
                received_at: newest.received_at,
                urgency,
                waiting: group.len(),
            };
            let accepted = self.page(&page);
            last.paged(urgency, accepted, now);
            if accepted {
                for waiting in group {
                    if let Err(error) = self.files.delete(&format!("{WAITING}/{}.json", waiting.reference)) {
                        tracing::error!(%error, "what was paged will be paged again");
                    }
                }
            }
        }
    }

    /// What waits, oldest first.
    fn waiting(&self) -> Result<Vec<Waiting>, FileError> {
        let mut waiting = Vec::new();
        for path in self.files.list(&format!("{WAITING}/"))? {
            match serde_json::from_slice(&self.files.read(&path)?) {
                Ok(read) => waiting.push(read),
                Err(_) => tracing::error!(path, "this does not say who waits for a page"),
            }
        }
        waiting.sort_by(|a: &Waiting, b| (a.received_at, &a.reference).cmp(&(b.received_at, &b.reference)));
        Ok(waiting)
    }

    /// Tries every contact; whether one of them accepted.
    fn page(&self, page: &Page) -> bool {
        let results = try_all(&self.contacts, &self.folder, page);
        for result in &results {
            match &result.failed {
                None => tracing::info!(contact = result.contact, reference = page.reference, "paged"),
                Some(why) => tracing::error!(contact = result.contact, why, "a contact did not accept a page"),
            }
        }
        let accepted = results.iter().any(|result| result.failed.is_none());
        let why = results.into_iter().find_map(|result| result.failed);
        *self.failing.lock().unwrap_or_else(PoisonError::into_inner) = if accepted { None } else { why };
        accepted
    }
}

/// Sends a page that says it is a test to every contact.
pub(super) fn test_page(contacts: &[OnCall], folder: &Path, from: String, now: Instant) -> Vec<PageResult> {
    let page = Page {
        format: "creta.page/1",
        from,
        reference: "test".to_owned(),
        received_at: now,
        urgency: Urgency::Ordinary,
        waiting: 0,
    };
    try_all(contacts, folder, &page)
}

fn try_all(contacts: &[OnCall], folder: &Path, page: &Page) -> Vec<PageResult> {
    let one = |contact: &OnCall| PageResult { contact: contact.name(), failed: contact.page(folder, page).err() };
    contacts.iter().map(one).collect()
}

/// When what was last paged. Pure.
#[derive(Debug, Default)]
struct Last {
    paged: Vec<(Urgency, Duration)>,
    failed: Option<Duration>,
}

impl Last {
    /// The urgencies that are due to be paged at `now`, the most urgent first.
    fn due(&self, waiting: &[Waiting], now: Duration) -> Vec<Urgency> {
        if self.failed.is_some_and(|failed| now < failed + RETRY_EVERY) {
            return Vec::new();
        }
        let quiet = |urgency: Urgency| {
            let last = self.paged.iter().rev().find(|(of, _)| *of == urgency);
            last.is_none_or(|(_, at)| now >= *at + urgency.every())
        };
        let waits = |urgency: &Urgency| waiting.iter().any(|waiting| waiting.urgency == *urgency);
        [Urgency::Tenant, Urgency::Urgent, Urgency::Ordinary]
            .into_iter()
            .filter(waits)
            .filter(|urgency| quiet(*urgency))
            .collect()
    }

    fn paged(&mut self, urgency: Urgency, accepted: bool, now: Duration) {
        if accepted {
            self.paged.retain(|(of, _)| *of != urgency);
            self.paged.push((urgency, now));
        }
        self.failed = (!accepted).then_some(now);
    }
}

fn post(url: &str, ca: Option<&Path>, page: &Page) -> Result<(), String> {
    let pem = trusted(ca, ca.is_none())?;
    let outbound = Outbound { ca: &pem, connect: None, whole: CONTACT_TIME_MAX, shows: None, at: None };
    let body = serde_json::to_string(page).expect("a page has a JSON form");
    let request = Request::post(url).header("content-type", "application/json").body(body);
    let request = request.map_err(|error| error.to_string())?;
    let response = outbound.client()?.run(request).map_err(|error| error.to_string())?;
    let status = response.status();
    if status.is_success() { Ok(()) } else { Err(format!("it answered {}", status.as_u16())) }
}

/// The authorities in a file, and where asked for those that the system trusts, in PEM.
pub(crate) fn trusted(ca: Option<&Path>, with_system: bool) -> Result<Vec<u8>, String> {
    let mut pem = match ca {
        Some(path) => std::fs::read(path).map_err(|error| format!("`{}`: {error}", path.display()))?,
        None => Vec::new(),
    };
    if with_system {
        let of_system = SYSTEM_CERTIFICATES.iter().find_map(|path| std::fs::read(path).ok());
        pem.push(b'\n');
        pem.extend(of_system.unwrap_or_default());
    }
    Ok(pem)
}

fn run(command: &[String], page: &Page) -> Result<(), String> {
    let [program, arguments @ ..] = command else { return Err("it names no program".to_owned()) };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    let text = format!("{}\n{}\n{}\n", page.reference, page.urgency.as_str(), page.waiting);
    if let Some(mut stdin) = child.stdin.take() {
        let _ = stdin.write_all(text.as_bytes()); // A program that reads nothing may still accept.
    }
    let started = std::time::Instant::now();
    loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(format!("it ended with {status}")),
            None if started.elapsed() >= CONTACT_TIME_MAX => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("it took longer than {} s", CONTACT_TIME_MAX.as_secs()));
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Whether contacts from a configuration can be used.
pub(crate) fn check_all(contacts: &[OnCall]) -> Result<(), String> {
    contacts.iter().try_for_each(OnCall::check)
}

/// The problem of a page that could not be noted.
pub(crate) fn not_noted(error: &FileError) -> Problem {
    crate::problem::logged("that somebody has to be paged could not be noted", error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(number: u32, urgency: Urgency) -> Waiting {
        let received_at = Instant::from_micros(i64::from(number)).expect("valid");
        Waiting { reference: number.to_string(), received_at, urgency }
    }

    #[test]
    fn attack_ch64_strangers_page_only_so_often_and_tenants_always() {
        let mut last = Last::default();
        let all = [Urgency::Ordinary, Urgency::Urgent, Urgency::Tenant].map(|urgency| waiting(1, urgency));
        let second = Duration::from_secs;
        assert_eq!(last.due(&all, second(1)), [Urgency::Tenant, Urgency::Urgent, Urgency::Ordinary]);
        for urgency in [Urgency::Tenant, Urgency::Urgent, Urgency::Ordinary] {
            last.paged(urgency, true, second(1));
        }
        assert_eq!(last.due(&all, second(2)), [Urgency::Tenant]);
        assert_eq!(last.due(&all, second(61)), [Urgency::Tenant, Urgency::Urgent]);
        assert_eq!(last.due(&all, second(301)), [Urgency::Tenant, Urgency::Urgent, Urgency::Ordinary]);
        assert_eq!(last.due(&[], second(301)), []);
    }

    #[test]
    fn a_page_that_nobody_accepted_is_tried_again() {
        let mut last = Last::default();
        let one = [waiting(1, Urgency::Tenant)];
        last.paged(Urgency::Tenant, false, Duration::from_secs(1));
        assert_eq!(last.due(&one, Duration::from_secs(2)), []);
        assert_eq!(last.due(&one, Duration::from_secs(11)), [Urgency::Tenant]);
    }

    #[test]
    fn a_contact_is_an_https_address_or_a_whole_path() {
        let webhook = |url: &str| OnCall { webhook: Some(url.to_owned()), ..OnCall::default() };
        let command =
            |words: &[&str]| OnCall { command: words.iter().map(ToString::to_string).collect(), ..OnCall::default() };
        assert_eq!(webhook("https://pager.example/x").check(), Ok(()));
        assert_eq!(command(&["/usr/bin/page", "on-call"]).check(), Ok(()));
        for bad in [webhook("http://pager.example/x"), command(&["page"]), OnCall::default(), {
            OnCall { command: vec!["/bin/true".to_owned()], ..webhook("https://pager.example/x") }
        }] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_waits_is_kept_until_somebody_accepts() {
        let folder = tempfile::tempdir().expect("a folder");
        let platform = creta_platform::Platform::in_memory();
        let out = folder.path().join("out");
        let script = format!("cat >> {}", out.display());
        let contacts = |script: &str| {
            vec![OnCall { command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(), ..OnCall::default() }]
        };
        let pager = |script: &str| {
            let (files, clock) = (Arc::clone(&platform.files), Arc::clone(&platform.clock));
            Pager::new("test".to_owned(), folder.path(), files, clock, contacts(script))
        };
        let refusing = pager("exit 1");
        refusing.ask("r1", Instant::from_micros(1).expect("valid"), Urgency::Urgent).expect("noted");
        refusing.ask("r2", Instant::from_micros(2).expect("valid"), Urgency::Urgent).expect("noted");
        refusing.round(&mut Last::default());
        assert!(refusing.failing().is_some_and(|why| why.contains("exit status: 1")), "{:?}", refusing.failing());
        assert_eq!(refusing.waiting().expect("read").len(), 2);

        // Another process takes up what waits: one page for both.
        let accepting = pager(&script);
        accepting.round(&mut Last::default());
        assert_eq!(std::fs::read_to_string(&out).expect("written"), "r2\nurgent\n2\n");
        assert_eq!((accepting.waiting().expect("read"), accepting.failing()), (Vec::new(), None));
    }
}
