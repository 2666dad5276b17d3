//! What is signed with an authenticator, in a browser, while the command waits: decisions on access, in reviews, on policies.

use std::time::{Duration, Instant};

use super::browser;
use crate::failure::Failure;
use crate::terminal::Terminal;

/// As long as a prompt waits.
const WAITS: Duration = Duration::from_secs(300);
const ASKS_EVERY: Duration = Duration::from_secs(2);

/// Opens the page where it is signed, and asks `done` until it says what came of it.
pub(super) fn wait_for_signature<T>(
    address: &str,
    terminal: &mut Terminal<'_>,
    look: &str,
    mut done: impl FnMut() -> Result<Option<T>, Failure>,
) -> Result<T, Failure> {
    if !browser::open(address) {
        terminal.complain("sign it with your authenticator, in any browser:\n");
    }
    terminal.complain(&format!("  {address}\n"));
    let deadline = Instant::now() + WAITS;
    while Instant::now() < deadline {
        std::thread::sleep(ASKS_EVERY);
        if let Some(done) = done()? {
            return Ok(done);
        }
    }
    let help = format!("run the command again: {look} says where it stands");
    Err(Failure::usage("access/not-signed", "nobody signed the decision within five minutes", help))
}
