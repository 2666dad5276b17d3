//! What belongs to a server and has no business in a process of its own: data folders, root keys, credentials, and tables
//! that an environment handed out (CH-14, CH-19).

use std::fs::File;
use std::io::Read;
use std::path::Path;

use arrow::datatypes::Schema;
use creta_disclosure::Label;
use creta_model::Problem;
use serde_json::Value;

/// The most that a key, a credential or a configuration takes; what is larger is none.
const TEXT_BYTES_MAX: u64 = 64 << 10;

const HELP: &str = "facts of a process are those given in it, public data, or data that `creta synth` makes; for an environment's own use \
     `creta.connect()`";

/// Refuses a path at which something of a server lies, links followed. What is not there is left to who reads it.
pub(crate) fn refuse_belongings(path: &Path) -> Result<(), Problem> {
    let Ok(real) = path.canonicalize() else { return Ok(()) };
    let shown = path.display();
    if let Some(environment) = real.ancestors().find_map(served_by) {
        let message = format!("`{shown}` is of the data folder of a server, environment `{environment}`");
        return Err(Problem::new("access/local-only", message).with_help(HELP));
    }
    match text_of(&real).as_deref().and_then(secret_of) {
        Some(what) => {
            let message = format!("`{shown}` is {what}, which a process of its own does not take");
            Err(Problem::new("access/local-only", message).with_help(HELP))
        }
        None => Ok(()),
    }
}

/// Refuses a table that says it is from an environment other than one for development.
pub(crate) fn refuse_labelled(schema: &Schema) -> Result<(), Problem> {
    Label::refuse_elsewhere(schema.metadata())
        .map_err(|refused| Problem::new("access/local-only", refused.to_string()).with_help(HELP))
}

/// The environment whose server has its data in this folder.
fn served_by(folder: &Path) -> Option<String> {
    let config: toml::Table = text_of(&folder.join("config.toml"))?.parse().ok()?;
    let format = config.get("format")?.as_str()?;
    format
        .starts_with("creta.server/")
        .then(|| config.get("environment").and_then(toml::Value::as_str).unwrap_or("without a name").to_owned())
}

fn text_of(file: &Path) -> Option<String> {
    let opened = File::open(file).ok().filter(|file| file.metadata().is_ok_and(|found| found.is_file()))?;
    let mut text = String::new();
    opened.take(TEXT_BYTES_MAX + 1).read_to_string(&mut text).ok()?;
    (text.len() as u64 <= TEXT_BYTES_MAX).then_some(text)
}

/// What sort of secret a text is, if it is one.
fn secret_of(text: &str) -> Option<&'static str> {
    if let Ok(json) = serde_json::from_str::<Value>(text) {
        let format = json["format"].as_str().unwrap_or_default();
        return match format {
            _ if format.starts_with("creta.root-key/") => Some("the root key of an environment"),
            _ if format.starts_with("creta.session-file/") => Some("a person's session"),
            _ if json["client_secret"].is_string() => Some("a credential"),
            _ => None,
        };
    }
    let profiles: toml::Table = text.parse().ok()?;
    let is_profile = |entry: &toml::Value| {
        let has = |name: &str| entry.get(name).is_some_and(toml::Value::is_str);
        has("url") && (has("client_id") || has("session_file"))
    };
    profiles.values().any(is_profile).then_some("a file of profiles")
}
