//! A person signs in: a new key on this machine, a browser here or elsewhere, and a session bound to the key.

use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use crate::args::Login;
use crate::commands::browser::{self, Return};
use crate::failure::Failure;
use crate::held_key::{DeviceFile, HeldKey, new_key, of_device, to_pkcs8};
use crate::http::{Server, query_string};
use crate::profile::{Profile, SESSION_FILE_FORMAT, SessionFile};
use crate::secret::random;
use crate::terminal::Terminal;

/// What the server answers when a session is open.
#[derive(Deserialize)]
struct Opened {
    person: String,
    session: String,
    renewal: String,
}

/// Signs in, and keeps the session in `file`. Gives who that is. On a computer that is enrolled, its key proves the session,
/// which is thereby on that computer; elsewhere a new key does.
pub(super) fn run(
    login: &Login,
    (server, profile): (&Server, &Profile),
    file: &Path,
    terminal: &mut Terminal<'_>,
) -> Result<String, Failure> {
    let device = DeviceFile::path(profile)?;
    let (key, kept) = match device.symlink_metadata() {
        Ok(_) => (DeviceFile::read(&device)?.key()?, of_device(&device)),
        Err(_) => {
            let key = new_key();
            let kept = to_pkcs8(&key);
            (HeldKey::Software(key), kept)
        }
    };
    let opened = match login.device {
        true => on_another_machine(server, &key, terminal)?,
        false => in_this_browser(login, server, &key, terminal)?,
    };
    let session = SessionFile {
        format: SESSION_FILE_FORMAT.to_owned(),
        person: opened.person.clone(),
        session: opened.session,
        renewal: opened.renewal,
        key: kept,
    };
    session.write(file)?;
    Ok(opened.person)
}

/// The authorization code with PKCE, on a loopback address (RFC 8252, RFC 7636).
fn in_this_browser(
    login: &Login,
    server: &Server,
    key: &HeldKey,
    terminal: &mut Terminal<'_>,
) -> Result<Opened, Failure> {
    let (state, verifier) = (random(), random());
    let back = Return::listen("/signed-in", "sign in with `creta login --device` instead")?;
    let path = query_string(
        "/sign-in",
        &[
            ("redirect_uri", Some(back.address())),
            ("state", Some(state.clone())),
            ("code_challenge", Some(challenge(&verifier))),
            ("code_challenge_method", Some("S256".to_owned())),
            ("dpop_jkt", Some(key.public().thumbprint().as_str().to_owned())),
            ("authenticator", login.register_authenticator.then(|| "register".to_owned())),
        ],
    );
    let address = server.address_of(&path);
    if login.no_browser || !browser::open(&address) {
        terminal.complain(&format!("open this address in a browser on this machine:\n  {address}\n"));
    } else {
        terminal.complain("sign in in the browser window that opened\n");
    }
    let came = back.wait(&state).ok_or_else(|| {
        Failure::usage("login/timeout", "nobody signed in within ten minutes", "run `creta login` again")
    })?;
    let request = serde_json::json!({ "code": came.code, "code_verifier": verifier });
    came.tell("You are signed in. You can close this window and go back to the terminal.");
    server.post_proven("/v1/sessions", &request, key)
}

/// The device authorization grant (RFC 8628), for machines without a browser.
fn on_another_machine(server: &Server, key: &HeldKey, terminal: &mut Terminal<'_>) -> Result<Opened, Failure> {
    #[derive(Deserialize)]
    struct Started {
        device_code: String,
        user_code: String,
        verification_uri: String,
        interval: u64,
        expires_in: u64,
    }
    let started: Started = server.post_proven("/v1/sign-in/device", &serde_json::json!({}), key)?;
    terminal.complain(&format!(
        "open {} in any browser, and enter this code: {}\n",
        started.verification_uri, started.user_code
    ));
    let deadline = Instant::now() + Duration::from_secs(started.expires_in);
    let request = serde_json::json!({ "device_code": started.device_code });
    while Instant::now() < deadline {
        std::thread::sleep(Duration::from_secs(started.interval.clamp(1, 60)));
        match server.post_proven("/v1/sessions", &request, key) {
            Err(failure) if failure.problems[0].code == "conflict/sign-in-pending" => {}
            other => return other,
        }
    }
    Err(Failure::usage("login/timeout", "nobody entered the code in time", "run `creta login --device` again"))
}

/// `S256` of a verifier (RFC 7636 section 4.2).
fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(creta_proof::Hash::of(&[verifier.as_bytes()]).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_is_that_of_the_specification() {
        // RFC 7636 appendix B.
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert_eq!(challenge(verifier), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        assert_ne!(random(), random());
    }
}
