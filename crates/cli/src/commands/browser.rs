//! The browser of this machine: opening it, and its way back: a listener that takes one answer (RFC 8252 section 7.3).

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::failure::Failure;

/// How long somebody may take in the browser.
const IN_BROWSER_TIME_MAX: Duration = Duration::from_secs(600);
const REQUEST_BYTES_MAX: u64 = 16 << 10;
const REQUEST_TIME_MAX: Duration = Duration::from_secs(5);

/// Where the browser comes back to, at one path.
pub(super) struct Return {
    listener: TcpListener,
    port: u16,
    path: &'static str,
}

/// A browser that came back with a code and waits to be told what came of it.
pub(super) struct Came {
    pub(super) code: String,
    stream: TcpStream,
}

impl Return {
    /// Listens on a free port of the loopback address, which nobody else can reach. `help` says what to do where that fails.
    pub(super) fn listen(path: &'static str, help: &str) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| {
            Failure::usage("login/no-port", format!("the browser cannot come back to this machine: {error}"), help)
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        listener.set_nonblocking(true).map_err(failed)?;
        Ok(Self { listener, port, path })
    }

    /// The port of the address.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The address the browser is sent back to.
    pub(super) fn address(&self) -> String {
        format!("http://127.0.0.1:{}{}", self.port, self.path)
    }

    /// The browser that comes with our `state`; `None` if none did in time. Whatever else knocks is answered and forgotten.
    pub(super) fn wait(&self, state: &str) -> Option<Came> {
        let deadline = Instant::now() + IN_BROWSER_TIME_MAX;
        while Instant::now() < deadline {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    if let Some(came) = self.take(stream, state) {
                        return Some(came);
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(_) => {}
            }
        }
        None
    }

    /// One request. Its first line holds all that matters.
    fn take(&self, stream: TcpStream, state: &str) -> Option<Came> {
        stream.set_nonblocking(false).ok()?;
        stream.set_read_timeout(Some(REQUEST_TIME_MAX)).ok()?;
        let mut lines = BufReader::new(stream.try_clone().ok()?.take(REQUEST_BYTES_MAX));
        let mut first = String::new();
        lines.read_line(&mut first).ok()?;
        match code_of(&first, self.path, state) {
            Some(code) => Some(Came { code, stream }),
            None => {
                answer(stream, "404 Not Found", "", "There is nothing here. Go back to the terminal and run it again.");
                None
            }
        }
    }
}

impl Came {
    /// Shows the browser's user a sentence.
    pub(super) fn tell(self, text: &str) {
        answer(self.stream, "200 OK", "", text);
    }

    /// Sends the browser on.
    pub(super) fn send_to(self, address: &str) {
        answer(self.stream, "303 See Other", &format!("location: {address}\r\n"), "Go on.");
    }
}

/// Answers as far as the browser listens: whether it does changes nothing.
fn answer(mut stream: TcpStream, status: &str, header: &str, text: &str) {
    let answer = format!(
        "HTTP/1.1 {status}\r\n{header}content-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\nconnection: close\r\ncache-control: no-store\r\nx-content-type-options: nosniff\r\nreferrer-policy: no-referrer\r\n\r\n{text}",
        text.len()
    );
    let _ = stream.write_all(answer.as_bytes()); // What came is here, whether or not the browser reads the answer.
}

/// The code in `GET PATH?code=...&state=... HTTP/1.1`, if the path and the state are ours.
fn code_of(line: &str, path: &str, state: &str) -> Option<String> {
    let target = line.strip_prefix("GET ")?.split(' ').next()?;
    let query = target.strip_prefix(path)?.strip_prefix('?')?;
    let value = |name: &str| {
        let mut found = query.split('&').filter_map(|pair| pair.split_once('=')).filter(|(key, _)| *key == name);
        let (_, value) = found.next()?;
        found.next().is_none().then(|| value.to_owned())
    };
    let code = value("code").filter(|code| code.bytes().all(|b| b.is_ascii_hexdigit()) && code.len() == 64)?;
    (value("state")? == state).then_some(code)
}

/// Starts the system's browser. `false` where there is none.
pub(super) fn open(address: &str) -> bool {
    let program = std::env::var("BROWSER").ok().filter(|program| !program.is_empty());
    let program = program.unwrap_or_else(|| "xdg-open".to_owned());
    let mut command = Command::new(program);
    command.arg(address).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_ci21_only_an_answer_with_our_state_and_one_code_counts() {
        let code = "ab".repeat(32);
        let line = |query: &str| format!("GET /signed-in?{query} HTTP/1.1\r\n");
        let code_of = |line: &str, state: &str| code_of(line, "/signed-in", state);
        assert_eq!(code_of(&line(&format!("code={code}&state=s1")), "s1"), Some(code.clone()));
        for (what, bad) in [
            ("another state", line(&format!("code={code}&state=s2"))),
            ("no state", line(&format!("code={code}"))),
            ("two codes", line(&format!("code={code}&code={code}&state=s1"))),
            ("two states", line(&format!("code={code}&state=s1&state=s1"))),
            ("no code", line("state=s1")),
            ("not a code", line("code=%3Cscript%3E&state=s1")),
            ("another path", format!("GET /other?code={code}&state=s1 HTTP/1.1\r\n")),
            ("a longer path", format!("GET /signed-in/x?code={code}&state=s1 HTTP/1.1\r\n")),
            ("another method", format!("POST /signed-in?code={code}&state=s1 HTTP/1.1\r\n")),
            ("nothing", String::new()),
        ] {
            assert_eq!(code_of(&bad, "s1"), None, "{what}");
        }
    }
}
