//! Where an environment is: in a network from which no other one is reached (CH-25), and in an account of its own (CH-27).

use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs as _};
use std::path::PathBuf;
use std::time::Duration;

use creta_compliance::Observation;
use creta_model::EnvironmentClass;
use serde_json::json;

use super::{Check, Seen, World};
use crate::config::Config;
use crate::environments::{EnvironmentFingerprint, fingerprint_of, load_known};
use crate::hosting::{self, Named, Planted, Provider, Told, Word};
use crate::trust::observed::reachable;

/// How long a connection to another environment may take to stand. One that takes longer leads nowhere.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(2);
/// Addresses of one environment that are tried.
const ADDRESSES_MAX: usize = 32;

pub(super) struct EnvironmentNetworks;

impl Check for EnvironmentNetworks {
    fn id(&self) -> &'static str {
        "environment-networks"
    }

    /// Another environment that listens where this one can reach it.
    fn notices_planted_fault(&self, _world: &World<'_>) -> Result<bool, String> {
        let failed = |error: std::io::Error| format!("no listener could be planted: {error}");
        let planted = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
        let address = planted.local_addr().map_err(failed)?;
        let (mut seen, mut raw) = (Seen::default(), Vec::new());
        cross("environment:planted", &[address.to_string()], &mut seen, &mut raw);
        Ok(seen.0.findings.iter().any(|finding| finding.code == "environment/reachable"))
    }

    fn observe(&self, world: &World<'_>) -> Result<Observation, String> {
        let others = others(world)?;
        if others.is_empty() {
            return Err(
                "no other environment is known; hand this one their fingerprints (`creta keys fingerprint`) and \
                        name the files as `known_environments` in `config.toml`"
                    .to_owned(),
            );
        }
        // Whoever is there is reached: what follows fails because of the networks, not because nothing works.
        let own = reachable(world.address);
        TcpStream::connect_timeout(&own, CONNECT_TIME_MAX)
            .map_err(|error| format!("the own listener was not reached: {error}"))?;
        let (mut seen, mut raw, mut silent) = (Seen::default(), Vec::new(), Vec::new());
        for other in &others {
            let subject = format!("environment:{}", other.environment_id);
            seen.subject(&subject);
            if other.addresses.is_empty() {
                silent.push(other.environment.to_string());
            }
            cross(&subject, &other.addresses, &mut seen, &mut raw);
        }
        // One without an address listens to its own machine alone, or did when its fingerprint was made: nothing was tried.
        if seen.0.findings.is_empty() && !silent.is_empty() {
            let names = silent.join("`, `");
            return Err(format!(
                "the fingerprint of `{names}` names no address to try; give it a `listen` address of its network and take \
                 its fingerprint anew"
            ));
        }
        Ok(seen.raw(json!({ "attempts": raw })))
    }
}

/// The environments that were made known to this one.
fn others(world: &World<'_>) -> Result<Vec<EnvironmentFingerprint>, String> {
    let config = Config::load(world.folder).map_err(|error| error.to_string())?;
    let root = creta_keys::RootKey::load_file(world.app.trust.root_key_file(), &config.environment);
    let own = fingerprint_of(&config, &root.map_err(|error| error.to_string())?);
    let files: Vec<PathBuf> = config.known_environments.iter().map(|file| world.folder.join(file)).collect();
    let mut known = load_known(&files).map_err(|problem| problem.to_string())?;
    known.retain(|other| !other.is(&own));
    Ok(known)
}

/// Tries to connect to every address of another environment. A connection that stands is a way between the two.
fn cross(subject: &str, addresses: &[String], seen: &mut Seen, raw: &mut Vec<serde_json::Value>) {
    for name in addresses.iter().take(ADDRESSES_MAX) {
        let all: Vec<SocketAddr> = name.to_socket_addrs().map(Iterator::collect).unwrap_or_default(); // No name, no way.
        for address in all.iter().take(ADDRESSES_MAX) {
            let ended = TcpStream::connect_timeout(address, CONNECT_TIME_MAX);
            if ended.is_ok() {
                let says = format!(
                    "`{subject}` is reached at {address} from here; take the route away, or close the port to this network"
                );
                seen.finding(subject, "environment/reachable", says);
            }
            let ended = ended.map_or_else(|error| error.kind().to_string(), |_| "connected".to_owned());
            raw.push(json!({ "environment": subject, "address": address.to_string(), "ended": ended }));
        }
        if all.is_empty() {
            raw.push(json!({ "environment": subject, "address": name, "ended": "no such name" }));
        }
    }
}

pub(super) struct EnvironmentAccount;

const SUBJECT: &str = "account";

impl Check for EnvironmentAccount {
    fn id(&self) -> &'static str {
        "environment-account"
    }

    /// A provider that says another account than the one named.
    fn notices_planted_fault(&self, _world: &World<'_>) -> Result<bool, String> {
        let planted = Planted::new(Provider::Aws, "999999999999");
        let planted = planted.map_err(|error| format!("no provider could be planted: {error}"))?;
        let (seen, _) = look(Some("aws:111111111111"), hosting::ask_at(&[planted.address])?.as_ref());
        Ok(seen.0.findings.iter().any(|finding| finding.code == "environment/account-differs"))
    }

    fn observe(&self, world: &World<'_>) -> Result<Observation, String> {
        let config = Config::load(world.folder).map_err(|error| error.to_string())?;
        if config.class == EnvironmentClass::Development && config.account.is_none() {
            return Err("an environment for development has no account named, and shares nothing that it would protect; name one \
                        as `account` in `config.toml` to have it compared"
                .to_owned());
        }
        let told = hosting::ask()?;
        let (seen, word) = look(config.account.as_deref(), told.as_ref());
        let named = config.account.as_deref().map(Named::parse);
        Ok(seen.raw(json!({
            "named": named.is_some(),
            "named_provider": named.and_then(|named| named.provider),
            "answered": told.map(|told| told.provider),
            "known_from": word,
        })))
    }
}

fn look(named: Option<&str>, told: Option<&Told>) -> (Seen, Option<Word>) {
    let mut seen = Seen::default();
    seen.subject(SUBJECT);
    let word = hosting::compare(named, told);
    if let Err(problem) = &word {
        let help = problem.help.clone().unwrap_or_default();
        seen.finding(SUBJECT, &problem.code, format!("{}; {help}", problem.message));
    }
    (seen, word.ok())
}
