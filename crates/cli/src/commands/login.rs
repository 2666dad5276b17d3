//! `creta login`: a profile for a service account's credentials, or a person's sign-in through the browser.

mod sign_in;

use std::path::{Path, PathBuf};

use creta_model::Problem;
use creta_server::Credential;

use crate::args::Login;
use crate::failure::{Exit, Failure};
use crate::http::Server;
use crate::profile::{self, Profile, Whom};
use crate::terminal::Terminal;

pub(crate) fn run(login: Login, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let file = profile::default_file()?;
    check_name(&login.name)?;
    let from = login.from.as_deref().map(read_credential).transpose()?;
    let known = profile::load(&file)?.remove(&login.name);
    let url = login.url.clone().or_else(|| from.as_ref().map(|from| from.url.clone()));
    let Some(url) = url.or_else(|| known.as_ref().map(|known| known.url.clone())) else {
        let help = "add `--url https://HOST:PORT`";
        return Err(Failure::usage("profile/no-address", "no address of a server was given", help));
    };
    let ca_file = login.ca.clone().or_else(|| from.as_ref().map(|from| from.ca.clone()));
    let ca_file = ca_file.as_deref().map(absolute).transpose()?;
    // The authority that is known belongs to the address that is known.
    let ca_file = ca_file.or_else(|| known.filter(|known| known.url == url).and_then(|known| known.ca_file));
    let whom = match (from, &login.client_id, &login.secret_file) {
        (Some(from), _, _) => {
            let client_secret_file = file.with_file_name(format!("{}.secret", login.name));
            profile::write_private(&client_secret_file, from.client_secret.as_bytes())?;
            Whom::ServiceAccount { client_id: from.client_id, client_secret_file }
        }
        (None, Some(client_id), Some(secret_file)) => {
            Whom::ServiceAccount { client_id: client_id.clone(), client_secret_file: absolute(secret_file)? }
        }
        _ => Whom::Person { session_file: file.with_file_name(format!("{}.session", login.name)) },
    };
    let profile = Profile { url, ca_file, whom };
    let server = Server::new(profile.clone())?;
    let who = match &profile.whom {
        // A profile that does not work is not stored.
        Whom::ServiceAccount { client_id, .. } => server.check_token().map(|()| client_id.clone())?,
        Whom::Person { session_file } => sign_in::run(&login, (&server, &profile), session_file, terminal)?,
    };
    profile::store(&file, &login.name, profile.clone())?;
    let shown = serde_json::json!({ "profile": login.name, "file": file, "url": profile.url, "client_id": who });
    terminal.show(&shown, || format!("logged in to {} as {who}; profile `{}`", profile.url, login.name));
    Ok(())
}

fn read_credential(file: &Path) -> Result<Credential, Failure> {
    let text = profile::read_secret(file)?;
    serde_json::from_str(&text).map_err(|error| {
        let message = format!("`{}` is not a credentials file: line {}", file.display(), error.line());
        let problem = Problem::new("profile/invalid-credentials", message);
        Failure::new(Exit::Usage, problem.with_help("name a file that `creta service-account create` wrote"))
    })
}

/// The name becomes a file name.
fn check_name(name: &str) -> Result<(), Failure> {
    let valid = !name.is_empty()
        && name.len() <= 100
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if valid {
        return Ok(());
    }
    let message = format!("`{name}` cannot be the name of a profile");
    Err(Failure::usage("profile/invalid-name", message, "use letters, digits, hyphens, dots and underscores"))
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| Failure::file("find", path, &error))
}
