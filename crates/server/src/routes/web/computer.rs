//! "This computer": asks the computer that a browser runs on to vouch for it. The command line opened this page, and listens on
//! the computer's own address for what the page's script brings there.

use axum::response::Response;
use creta_audit::Details;
use creta_iam::{Action, DeviceTrust};
use creta_model::Problem;
use maud::{Markup, html};
use serde::Deserialize;

use super::frame::{Frame, at, change};
use super::words::{left, moment};
use crate::context::{Guarded, PlaceOf};
use crate::problem::{Refusal, internal};

/// Ports that a command listens on: those below are the system's.
const PORT_MIN: u16 = 1024;

/// Which command opened the page: the port it listens on, and what it knows its own page by.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Opener {
    #[serde(default)]
    port: Option<u16>,
    #[serde(default)]
    state: Option<String>,
}

impl Opener {
    /// Where the word goes; `None` if nobody asks for one.
    fn asks(self) -> Result<Option<(u16, String)>, Problem> {
        let plain = |state: &String| {
            state.len() == 43 && state.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        };
        match (self.port, self.state) {
            (None, None) => Ok(None),
            (Some(port), Some(state)) if port >= PORT_MIN && plain(&state) => Ok(Some((port, state))),
            _ => Err(Problem::new("request/computer", "this is not an address that `creta device browser` makes")
                .with_help("run `creta device browser` on the computer that this browser runs on")),
        }
    }
}

/// What is true of this browser, and the button that asks its computer.
pub(super) async fn page(guarded: Guarded, opener: Opener) -> Result<Response, Refusal> {
    let frame = Frame::of(&guarded);
    let asks = opener.asks()?;
    let again = guarded.also(Action::DeviceRead, PlaceOf::Own);
    guarded.act(Details::none(), |_| Ok(())).await?;
    let (state, counts) = state(again).await?;
    let body = html! {
        (state)
        @match asks {
            None if counts => { p { "When that is over, run " code { "creta device browser" } " on it again." } },
            None => { p { "On the computer that this browser runs on, run " code { "creta device browser" } ". It opens this page again, with a button." } },
            Some((port, state)) => {
                p { "You started " code { "creta device browser" } " on this computer just now. If you did not, close this page." }
                (change("/view/computer", &html! {
                    input type="hidden" name="port" value=(port);
                    input type="hidden" name="state" value=(state);
                    button type="submit" { "Let this computer vouch for this browser" }
                }))
            },
        }
        p class="hint" { "It counts for some hours, for this session in this browser alone, and only while the computer is as it has to be. In production, roles count only so." }
    };
    Ok(frame.page("/my/computer", "This computer", &body))
}

/// Tells this browser a word, which its script brings to the command that opened the page.
pub(super) async fn offer(guarded: Guarded, opener: Opener) -> Result<Response, Refusal> {
    let frame = Frame::of(&guarded);
    let asks = opener.asks()?;
    let (port, state) =
        asks.ok_or_else(|| Problem::new("request/computer", "nobody on this computer asks for a word"))?;
    let word = guarded
        .act(Details::none(), |admitted| {
            let session = admitted.session.ok_or_else(internal)?;
            Ok(admitted.app.people.offer_browser(admitted.control, session, admitted.now())?)
        })
        .await?;
    let body = html! {
        p data-port=(port) data-state=(state) data-told=(word) role="status" { "Handing over to the command line on this computer. Go on there." }
    };
    Ok(at("/my/computer", frame.page("/my/computer", "This computer", &body)))
}

/// What the computer of this browser is worth now, and whether it vouched for it.
async fn state(guarded: Guarded) -> Result<(Markup, bool), Refusal> {
    guarded
        .act(Details::none(), |admitted| {
            let people = &admitted.app.people;
            let session = admitted.session.and_then(|session| people.session(session)).ok_or_else(internal)?;
            let trust = admitted.permit.principal().person().map(|person| person.standing().assurance.device);
            let trust = trust.unwrap_or(DeviceTrust::None);
            let now = admitted.now();
            let vouched = session.vouched.filter(|vouched| now < vouched.until);
            let named = vouched.and_then(|vouched| Some((people.devices.find(&vouched.by)?.name, vouched.until)));
            Ok(match named {
                Some((name, until)) => (html! {
                    p { "This browser counts as " strong { (name) } " (" (trust.as_str()) ") for " (left(now, until)) ", until " (moment(until)) "." }
                }, true),
                None => (html! { p { "This browser counts as no enrolled computer." } }, false),
            })
        })
        .await
}
