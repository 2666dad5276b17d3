//! The browser's way back: a listener on this machine that takes one answer (RFC 8252 section 7.3).

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::failure::Failure;

/// How long somebody may take to sign in.
pub(super) const SIGN_IN_TIME_MAX: Duration = Duration::from_secs(600);
const REQUEST_BYTES_MAX: u64 = 16 << 10;
const REQUEST_TIME_MAX: Duration = Duration::from_secs(5);

/// Where the browser comes back to.
pub(super) struct Return {
    listener: TcpListener,
    port: u16,
}

impl Return {
    /// Listens on a free port of the loopback address, which nobody else can reach.
    pub(super) fn listen() -> Result<Self, Failure> {
        let failed = |error: std::io::Error| {
            Failure::usage(
                "login/no-port",
                format!("the browser cannot come back to this machine: {error}"),
                "sign in with `creta login --device` instead",
            )
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        listener.set_nonblocking(true).map_err(failed)?;
        Ok(Self { listener, port })
    }

    /// The address the browser is sent back to.
    pub(super) fn address(&self) -> String {
        format!("http://127.0.0.1:{}/signed-in", self.port)
    }

    /// The code that comes with our `state`. Whatever else knocks is answered and forgotten.
    pub(super) fn wait(&self, state: &str) -> Result<String, Failure> {
        let deadline = Instant::now() + SIGN_IN_TIME_MAX;
        while Instant::now() < deadline {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    if let Some(code) = answer(stream, state) {
                        return Ok(code);
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(_) => {}
            }
        }
        Err(Failure::usage("login/timeout", "nobody signed in within ten minutes", "run `creta login` again"))
    }
}

/// One request. Its first line holds all that matters.
fn answer(stream: TcpStream, state: &str) -> Option<String> {
    stream.set_nonblocking(false).ok()?;
    stream.set_read_timeout(Some(REQUEST_TIME_MAX)).ok()?;
    let mut lines = BufReader::new(stream.try_clone().ok()?.take(REQUEST_BYTES_MAX));
    let mut first = String::new();
    lines.read_line(&mut first).ok()?;
    let code = code_of(&first, state);
    let (status, text) = match code {
        Some(_) => ("200 OK", "You are signed in. You can close this window and go back to the terminal."),
        None => ("404 Not Found", "There is nothing here. Go back to the terminal and run creta login again."),
    };
    let mut stream = stream;
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\nconnection: close\r\ncache-control: no-store\r\nx-content-type-options: nosniff\r\n\r\n{text}",
        text.len()
    );
    let _ = stream.write_all(answer.as_bytes()); // The code is here, whether or not the browser reads the answer.
    code
}

/// The code in `GET /signed-in?code=...&state=... HTTP/1.1`, if the state is ours.
fn code_of(line: &str, state: &str) -> Option<String> {
    let target = line.strip_prefix("GET ")?.split(' ').next()?;
    let query = target.strip_prefix("/signed-in?")?;
    let value = |name: &str| {
        let mut found = query.split('&').filter_map(|pair| pair.split_once('=')).filter(|(key, _)| *key == name);
        let (_, value) = found.next()?;
        found.next().is_none().then(|| value.to_owned())
    };
    let code = value("code").filter(|code| code.bytes().all(|b| b.is_ascii_hexdigit()) && code.len() == 64)?;
    (value("state")? == state).then_some(code)
}

/// Starts the system's browser. `false` where there is none.
pub(in crate::commands) fn open(address: &str) -> bool {
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
        assert_eq!(code_of(&line(&format!("code={code}&state=s1")), "s1"), Some(code.clone()));
        for (what, bad) in [
            ("another state", line(&format!("code={code}&state=s2"))),
            ("no state", line(&format!("code={code}"))),
            ("two codes", line(&format!("code={code}&code={code}&state=s1"))),
            ("two states", line(&format!("code={code}&state=s1&state=s1"))),
            ("no code", line("state=s1")),
            ("not a code", line("code=%3Cscript%3E&state=s1")),
            ("another path", format!("GET /other?code={code}&state=s1 HTTP/1.1\r\n")),
            ("another method", format!("POST /signed-in?code={code}&state=s1 HTTP/1.1\r\n")),
            ("nothing", String::new()),
        ] {
            assert_eq!(code_of(&bad, "s1"), None, "{what}");
        }
    }
}
