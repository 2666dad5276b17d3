//! `creta device browser`: this computer vouches for the browser that runs on it.
//!
//! The command opens the browser itself and listens on this computer's own address. The page tells it a word there, together
//! with the secret that only the browser it opened knows: so no link and no code of somebody else's brings another session
//! here. What is signed names person, environment, session and key of the browser.

use creta_identity::device::{BrowserSession, Signed, Vouching};
use creta_identity::key::Thumbprint;
use creta_model::Environment;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Device, Nonce, nonce_for, people_only, require_linux};
use crate::args::Connection;
use crate::commands::browser::{self, Return};
use crate::commands::connect;
use crate::failure::Failure;
use crate::held_key::DeviceFile;
use crate::http::{Server, query_string};
use crate::profile::Whom;
use crate::secret::random;
use crate::terminal::Terminal;

/// What the server says of the session that told its word.
#[derive(Deserialize)]
struct Offered {
    environment: Environment,
    person: String,
    session: String,
    key: Thumbprint,
    opened: String,
    methods: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Vouched {
    session: String,
    device: Device,
    until: String,
}

pub(super) fn run(no_browser: bool, connection: &Connection, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    require_linux()?;
    let (server, profile) = connect(connection)?;
    let Whom::Person { .. } = &profile.whom else { return Err(people_only(connection)) };
    let kept = DeviceFile::read(&DeviceFile::path(&profile)?)?;
    server.check_token()?; // Whoever has to sign in anew learns it before the browser opens.
    let back = Return::listen("/this-computer", "run it where programs may listen on 127.0.0.1")?;
    let state = random();
    let query = [("port", Some(back.port().to_string())), ("state", Some(state.clone()))];
    let address = server.address_of(&query_string("/my/computer", &query));
    if no_browser || !browser::open(&address) {
        terminal.complain(&format!("open this address in a browser on this computer:\n  {address}\n"));
    } else {
        terminal.complain("answer in the browser window that opened\n");
    }
    let came = back.wait(&state).ok_or_else(|| {
        Failure::usage(
            "device/no-browser",
            "no browser on this computer answered within ten minutes",
            "run `creta device browser` again, sign in in the browser that opens, and press the button there",
        )
    })?;
    match vouch(&server, &kept, &came.code, terminal) {
        Ok(vouched) => {
            came.send_to(&server.address_of("/my"));
            terminal.show(&vouched, || {
                let Vouched { device, until, .. } = &vouched;
                format!(
                    "your browser counts as `{}` ({}) until {until}, while this computer is as it has to be",
                    device.name, device.trust
                )
            });
            Ok(())
        }
        Err(failure) => {
            came.tell("This computer did not vouch for this browser. The terminal says why.");
            Err(failure)
        }
    }
}

/// Signs that the browser with this word runs here, if it is one of whoever is signed in here.
fn vouch(server: &Server, kept: &DeviceFile, word: &str, terminal: &mut Terminal<'_>) -> Result<Vouched, Failure> {
    let offered: Offered = server.post("/v1/sessions/browser/offered", &json!({ "word": word }))?;
    let Offered { environment, person, session, key: browser, opened, methods } = offered;
    let with = methods.join("+");
    terminal.complain(&format!("a browser of {person} in `{environment}`, signed in {opened} with {with}\n"));
    if !terminal.agrees("Is that the browser in front of you?")? {
        let help = "if you did not open it, end its session: `creta session list`, `creta session end`";
        return Err(Failure::usage("device/not-this-browser", "nothing was signed", help));
    }
    let browser = BrowserSession { environment, person, session, key: browser, word: word.to_owned() };
    let Nonce { nonce, .. } = nonce_for(server, kept)?;
    // A software TPM serves one at a time, and the session's proofs need it before this and after.
    server.forget_token();
    let key = kept.key()?;
    let vouching = Vouching::new(key.public().thumbprint(), browser, &nonce);
    let signed = Signed::make_with(&vouching, |message| key.sign(message))?;
    drop(key);
    let body = json!({ "device": kept.device, "word": word, "signed": signed });
    server.post("/v1/sessions/browser", &body)
}
