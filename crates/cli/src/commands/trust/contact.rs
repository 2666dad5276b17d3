//! `creta trust security-txt`: the contact for security issues, signed with the machine's `gpg`.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::args::SecurityTxtCommand;
use crate::commands::connect;
use crate::failure::Failure;
use crate::http::query_string;
use crate::terminal::Terminal;

#[derive(Serialize, Deserialize)]
struct ToSign {
    text: String,
}

#[derive(Serialize, Deserialize)]
struct Published {
    text: String,
    expires: String,
}

pub(super) fn run(command: SecurityTxtCommand, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let (SecurityTxtCommand::Show(connection) | SecurityTxtCommand::Sign { connection, .. }) = &command;
    let (server, profile) = connect(connection)?;
    let path = query_string("/v1/trust/security-txt", &[("origin", Some(profile.url.clone()))]);
    let made: ToSign = server.get(&path)?;
    let SecurityTxtCommand::Sign { key, .. } = &command else {
        terminal.show(&made, || made.text.trim_end().to_owned());
        return Ok(());
    };
    let signed = gpg(&["--clearsign", "--local-user", key, "--output", "-"], made.text.as_bytes(), "sign")?;
    // What was made is checked by whoever made it, before anybody else relies on it.
    gpg(&["--verify"], &signed, "check the signature of")?;
    let public = gpg(&["--armor", "--export", key], &[], "export the key of")?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let body = json!({ "text": text(signed), "key": text(public) });
    let published: Published = server.post("/v1/trust/security-txt", &body)?;
    terminal.show(&published, || format!("published, signed by {key}; sign it anew before {}", published.expires));
    Ok(())
}

/// What the machine's `gpg` makes of some input. Its own words about what went wrong are passed on.
fn gpg(arguments: &[&str], input: &[u8], what: &str) -> Result<Vec<u8>, Failure> {
    let failed = |why: String| {
        let message = format!("`gpg` could not {what} the security contact: {why}");
        Failure::usage("gpg/failed", message, "install `gpg`, and see that it has the key: `gpg --list-secret-keys`")
    };
    let mut child = Command::new("gpg")
        .args(["--batch", "--yes"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let mut stdin = child.stdin.take().expect("it was asked for");
    let written = stdin.write_all(input); // A program that reads nothing says why it failed below.
    drop(stdin);
    let done = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    match done.status.success() && written.is_ok() {
        true => Ok(done.stdout),
        false => Err(failed(String::from_utf8_lossy(&done.stderr).trim().to_owned())),
    }
}
