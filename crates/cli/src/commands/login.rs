//! `creta login`: checks credentials against the server, then stores them as a profile.

use std::path::{Path, PathBuf};

use creta_model::Problem;
use creta_server::Credential;

use crate::args::Login;
use crate::failure::{Exit, Failure};
use crate::http::Server;
use crate::profile::{self, Profile};
use crate::terminal::Terminal;

pub(crate) fn run(login: Login, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let file = profile::default_file()?;
    let from = login.from.as_deref().map(read_credential).transpose()?;
    let url = login.url.or_else(|| from.as_ref().map(|from| from.url.clone()));
    let Some(url) = url else {
        let help = "add `--url https://HOST:PORT`";
        return Err(Failure::usage("profile/no-address", "no address of a server was given", help));
    };
    let ca_file = login.ca.or_else(|| from.as_ref().map(|from| from.ca.clone()));
    let (client_id, client_secret_file) = match (from, login.client_id, login.secret_file) {
        (Some(from), _, _) => {
            let secret_file = file.with_file_name(format!("{}.secret", login.name));
            check_name(&login.name)?;
            profile::write_private(&secret_file, from.client_secret.as_bytes())?;
            (from.client_id, secret_file)
        }
        (None, Some(client_id), Some(secret_file)) => (client_id, absolute(&secret_file)?),
        _ => unreachable!("the command line asks for both or for `--from`"),
    };
    let ca_file = ca_file.as_deref().map(absolute).transpose()?;
    let profile = Profile { url, ca_file, client_id, client_secret_file };
    // A profile that does not work is not stored.
    Server::new(profile.clone())?.fetch_token()?;
    profile::store(&file, &login.name, profile.clone())?;
    let shown = serde_json::json!({
        "profile": login.name, "file": file, "url": profile.url, "client_id": profile.client_id,
    });
    terminal
        .show(&shown, || format!("logged in to {} as {}; profile `{}`", profile.url, profile.client_id, login.name));
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
