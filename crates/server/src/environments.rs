//! That environments share nothing: one process serves one environment, and no other one has its root key, its id or its
//! account (CH-27).
//!
//! What identifies an environment is exported as a fingerprint that reveals nothing of the key, and handed to the others.
//! They compare it with their own when they are made, whenever they start, and in a check.

use std::fs;
use std::path::{Path, PathBuf};

use creta_audit::{Details, Event};
use creta_keys::RootKey;
use creta_model::{Environment, EnvironmentClass, Problem};
use creta_store::MetadataStore;
use serde::{Deserialize, Serialize};

use crate::ServerError;
use crate::config::Config;
use crate::control_plane::{ControlPlane, setting};
use crate::hosting::{self, Named};
use crate::problem::{from_audit, from_store, internal};

/// The form of exported fingerprints that this build writes and reads.
pub const FINGERPRINT_FORMAT: &str = "creta.environment/1";

/// Longest name of an account.
const ACCOUNT_BYTES_MAX: usize = 100;

/// What identifies an environment to others. Nothing in it is secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentFingerprint {
    /// [`FINGERPRINT_FORMAT`].
    pub format: String,
    /// Its name.
    pub environment: Environment,
    /// What rules people and programs work under there.
    pub class: EnvironmentClass,
    /// Its random name.
    pub environment_id: String,
    /// Fingerprint of its root key: the same for the same key whatever environment uses it.
    pub root_key: String,
    /// The account or project at a provider that it has to itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Where its server listens, `host:port`, as others could reach it. None of them may.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
}

/// Something that two environments share and must not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shared {
    /// Another environment has this root key.
    RootKey { other: String },
    /// Another environment lives in this account.
    Account { other: String },
    /// Another environment has this id: another key, account, name or class goes with it.
    Id,
}

impl Shared {
    pub(crate) fn to_problem(&self) -> Problem {
        match self {
            Self::RootKey { other } => Problem::new(
                "environment/root-key-reused",
                format!("environment `{other}` has the same root key (CH-27)"),
            )
            .with_help("make this environment anew with `creta server init`, which makes a key of its own"),
            Self::Account { other } => Problem::new(
                "environment/account-reused",
                format!("environment `{other}` lives in the same account (CH-27)"),
            )
            .with_help(
                "give each environment an account or project of its own, and name it as `account` in `config.toml`",
            ),
            Self::Id => Problem::new(
                "environment/id-reused",
                "another environment has the same id, with another root key, account, name or class (CH-27)",
            )
            .with_help("make this environment anew with `creta server init`; an id is never copied"),
        }
    }
}

/// The fingerprint of a data folder, to be handed to other environments. Needs the root key and no server.
pub fn fingerprint(folder: &Path) -> Result<EnvironmentFingerprint, ServerError> {
    let config = Config::load(folder)?;
    let file = config.root_key_file(folder);
    let root = RootKey::load_file(&file, &config.environment).map_err(|error| {
        Problem::new("server/root-key", error.to_string()).with_note("file", file.display().to_string(), None)
    })?;
    Ok(fingerprint_of(&config, &root))
}

pub(crate) fn fingerprint_of(config: &Config, root: &RootKey) -> EnvironmentFingerprint {
    EnvironmentFingerprint {
        format: FINGERPRINT_FORMAT.to_owned(),
        environment: config.environment.clone(),
        class: config.class,
        environment_id: config.environment_id.clone(),
        root_key: root.fingerprint(),
        account: config.account.clone(),
        addresses: addresses(config),
    }
}

/// Where others could reach the server: its address if it is not this machine's alone, and its names.
fn addresses(config: &Config) -> Vec<String> {
    let ip = config.listen.ip();
    if ip.is_loopback() {
        return Vec::new();
    }
    let address = (!ip.is_unspecified()).then(|| config.listen.to_string());
    let port = config.listen.port();
    let names = config
        .names
        .iter()
        .map(|name| if name.contains(':') { format!("[{name}]:{port}") } else { format!("{name}:{port}") });
    address.into_iter().chain(names).collect()
}

/// Reads exported fingerprints: any number in each file, one after another.
pub(crate) fn load_known(files: &[PathBuf]) -> Result<Vec<EnvironmentFingerprint>, Problem> {
    let mut known = Vec::new();
    for file in files {
        let unusable = |reason: String| {
            Problem::new("environment/known", format!("the known environments cannot be read: {reason}"))
                .with_note("file", file.display().to_string(), None)
                .with_help(
                    "name a file with what `creta keys fingerprint` prints with `--json`, one line per environment",
                )
        };
        let text = fs::read_to_string(file).map_err(|error| unusable(error.to_string()))?;
        let before = known.len();
        for entry in serde_json::Deserializer::from_str(&text).into_iter::<EnvironmentFingerprint>() {
            let entry = entry.map_err(|error| unusable(error.to_string()))?;
            if entry.format != FINGERPRINT_FORMAT {
                return Err(unusable(format!("its format is `{}`, not `{FINGERPRINT_FORMAT}`", entry.format)));
            }
            known.push(entry);
        }
        if known.len() == before {
            return Err(unusable("it is empty".to_owned()));
        }
    }
    Ok(known)
}

impl EnvironmentFingerprint {
    /// Whether both are of one environment, wherever it may have listened when each was made.
    pub(crate) fn is(&self, other: &Self) -> bool {
        let identity = |of: &Self| Self { addresses: Vec::new(), ..of.clone() };
        identity(self) == identity(other)
    }
}

/// What `own` shares with any of `known`. An entry that is `own` itself is no other environment.
pub(crate) fn shared(own: &EnvironmentFingerprint, known: &[EnvironmentFingerprint]) -> Vec<Shared> {
    let mut found = Vec::new();
    for other in known.iter().filter(|other| !other.is(own)) {
        if other.environment_id == own.environment_id {
            found.push(Shared::Id);
            continue;
        }
        let name = || other.environment.to_string();
        if other.root_key == own.root_key {
            found.push(Shared::RootKey { other: name() });
        }
        let account =
            |of: &'_ EnvironmentFingerprint| of.account.as_deref().map(|text| Named::parse(text).account.to_owned());
        if own.account.is_some() && account(other) == account(own) {
            found.push(Shared::Account { other: name() });
        }
    }
    found
}

/// Whether an environment that has no root key yet may be made: its account and id are nobody's.
pub(crate) fn require_nothing_shared(config: &Config, known: &[EnvironmentFingerprint]) -> Result<(), Problem> {
    let own = EnvironmentFingerprint {
        format: FINGERPRINT_FORMAT.to_owned(),
        environment: config.environment.clone(),
        class: config.class,
        environment_id: config.environment_id.clone(),
        root_key: String::new(),
        account: config.account.clone(),
        addresses: Vec::new(),
    };
    shared(&own, known).first().map_or(Ok(()), |shared| Err(shared.to_problem()))
}

/// Checks the form of an account's name.
pub(crate) fn check_account(account: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/-".contains(&byte);
    if (1..=ACCOUNT_BYTES_MAX).contains(&account.len()) && account.bytes().all(plain) {
        return Ok(());
    }
    Err(format!("`account` has 1 to {ACCOUNT_BYTES_MAX} letters, digits and `._:/-`"))
}

/// What a data folder belongs to since its first start. Kept sealed, so that no edit of `config.toml` moves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Binding {
    environment_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    account: Option<String>,
}

/// Whether the server may start: the folder is of this environment and account, and no known environment shares what it
/// must not. A refusal is recorded.
pub(crate) fn require_own(
    folder: &Path,
    config: &Config,
    control: &ControlPlane,
    own: &EnvironmentFingerprint,
) -> Result<(), ServerError> {
    let known: Vec<PathBuf> = config.known_environments.iter().map(|file| folder.join(file)).collect();
    let refusal = match bind(control.metadata(), config)? {
        Err(refusal) => Some(refusal),
        Ok(()) => {
            let shared = shared(own, &load_known(&known)?).first().map(Shared::to_problem);
            shared.or_else(|| hosting::require(config.account.as_deref()).err())
        }
    };
    let Some(refusal) = refusal else { return Ok(()) };
    let details = Details::none().name("reason", refusal.code.clone()).map_err(|error| from_audit(&error))?;
    let event = Event::new("environment.refused", control.place()).with(details).for_commitment("CH-27");
    control.log().record(event).map_err(|error| from_audit(&error))?;
    control.close()?;
    Err(refusal.into())
}

/// Binds the documents to what the configuration says at the first start, and compares ever after. An account may be named
/// later, and not changed.
fn bind(documents: &dyn MetadataStore, config: &Config) -> Result<Result<(), Problem>, Problem> {
    let wanted = Binding { environment_id: config.environment_id.clone(), account: config.account.clone() };
    let present = documents.read(setting::KIND, setting::BINDING).map_err(|error| from_store(&error))?;
    let (version, bound) = match &present {
        None => (None, None),
        Some(document) => {
            let bound: Binding = serde_json::from_slice(&document.body).map_err(|_| internal())?;
            (Some(document.version), Some(bound))
        }
    };
    let refuse = |what: &str| {
        let message = format!("this data folder belongs to another {what} than `config.toml` says (CH-27)");
        Ok(Err(Problem::new("environment/other-binding", message)
            .with_help("put the old value back; another environment or account gets a data folder of its own")))
    };
    match bound {
        Some(bound) if bound.environment_id != wanted.environment_id => return refuse("environment id"),
        Some(bound) if bound.account.is_some() && !same_account(&bound, &wanted) => return refuse("account"),
        Some(bound) if bound == wanted => return Ok(Ok(())),
        _ => {}
    }
    let body = serde_json::to_vec(&wanted).expect("a binding has a JSON form");
    documents.write(setting::KIND, setting::BINDING, version, &body).map_err(|error| from_store(&error))?;
    Ok(Ok(()))
}

/// Whether both name one account. That its provider is named now, who then has to confirm it, moves nothing.
fn same_account(bound: &Binding, wanted: &Binding) -> bool {
    let (Some(bound), Some(wanted)) = (&bound.account, &wanted.account) else { return bound.account == wanted.account };
    let (before, now) = (Named::parse(bound), Named::parse(wanted));
    before.account == now.account && (before.provider.is_none() || before.provider == now.provider)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(environment: &str, id: &str, root_key: &str, account: Option<&str>) -> EnvironmentFingerprint {
        EnvironmentFingerprint {
            format: FINGERPRINT_FORMAT.to_owned(),
            environment: Environment::parse(environment).expect("valid"),
            class: EnvironmentClass::Staging,
            environment_id: id.to_owned(),
            root_key: root_key.to_owned(),
            account: account.map(str::to_owned),
            addresses: Vec::new(),
        }
    }

    #[test]
    fn attack_ch27_a_shared_key_account_or_id_is_found_and_nothing_else_is() {
        let own = of("prod", "prod-00", "aa", Some("acc-1"));
        let clean = [own.clone(), of("staging", "staging-00", "bb", Some("acc-2")), of("dev", "dev-00", "cc", None)];
        assert_eq!(shared(&own, &clean), []);
        let key = of("staging", "staging-00", "aa", Some("acc-2"));
        assert_eq!(shared(&own, &[key]), [Shared::RootKey { other: "staging".to_owned() }]);
        let account = of("staging", "staging-00", "bb", Some("acc-1"));
        assert_eq!(shared(&own, &[account]), [Shared::Account { other: "staging".to_owned() }]);
        for other in [
            of("prod", "prod-00", "bb", Some("acc-1")),
            of("prod", "prod-00", "aa", Some("acc-2")),
            of("prod", "prod-00", "aa", None),
            of("staging", "prod-00", "aa", Some("acc-1")),
        ] {
            assert_eq!(shared(&own, &[other]), [Shared::Id]);
        }
        let named = of("staging", "staging-00", "bb", Some("aws:acc-1"));
        assert_eq!(shared(&own, &[named]), [Shared::Account { other: "staging".to_owned() }], "however it is named");
        let moved = EnvironmentFingerprint { addresses: vec!["10.0.0.1:7443".to_owned()], ..own.clone() };
        assert_eq!(shared(&own, &[moved]), [], "an environment that listens elsewhere is itself");
        let without = of("prod", "prod-00", "aa", None);
        assert_eq!(shared(&without, &[of("dev", "dev-00", "cc", None)]), [], "no account is not a shared one");
    }

    #[test]
    fn lists_of_fingerprints_are_read_one_after_another_and_damaged_ones_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("known.json");
        let line = |id| serde_json::to_string(&of("staging", id, "bb", None)).expect("JSON");
        fs::write(&file, format!("{}\n{}\n", line("staging-00"), line("staging-01"))).expect("written");
        assert_eq!(load_known(std::slice::from_ref(&file)).expect("read").len(), 2);
        let good = line("staging-00");
        for bad in
            [String::new(), "{}".to_owned(), good[1..].to_owned(), good.replace("environment/1", "environment/2")]
        {
            fs::write(&file, &bad).expect("written");
            assert_eq!(load_known(std::slice::from_ref(&file)).expect_err(&bad).code, "environment/known");
        }
        assert!(load_known(&[folder.path().join("missing")]).is_err());
    }
}
