//! `creta keys`: what can be told of keys without telling them.

use super::server::failed;
use crate::args::KeysCommand;
use crate::failure::Failure;
use crate::terminal::Terminal;

pub(crate) fn run(command: KeysCommand, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let KeysCommand::Fingerprint { data } = command;
    let fingerprint = creta_server::fingerprint(&data).map_err(|error| failed(&error))?;
    terminal.show(&fingerprint, || {
        format!(
            "environment  {} ({})\nid           {}\nroot key     {}\naccount      {}\naddresses    {}\n\
             next: give the output of this command with `--json` to your other environments",
            fingerprint.environment,
            fingerprint.class,
            fingerprint.environment_id,
            fingerprint.root_key,
            fingerprint.account.as_deref().unwrap_or("none named"),
            if fingerprint.addresses.is_empty() { "none".to_owned() } else { fingerprint.addresses.join(", ") },
        )
    });
    Ok(())
}
