//! `config.toml`: the few things about a server that differ from place to place.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use creta_compliance::{Mode, Organisation};
use creta_engine::DatasetLimits;
use creta_iam::Role;
use creta_identity::device::{Platform, Standard};
use creta_identity::key::Thumbprint;
use creta_model::{Environment, EnvironmentClass, MemorySize, TenantId};
use creta_proof::{KeyKind, VerifierKey};
use serde::{Deserialize, Serialize};

use crate::ServerError;
use crate::acme::AcmeConfig;
use crate::disclosure::{SinkConfig, StatisticsConfig};
use crate::environments::check_account;
use crate::intake::OnCall;
use crate::tls::{CertificateFiles, is_https};

/// The version that [`Config::format`] must carry.
pub const CONFIG_FORMAT: &str = "creta.server/1";

/// Where a server listens when nothing else is asked for: this machine only.
pub const LISTEN_DEFAULT: &str = "127.0.0.1:7443";

/// Contents of `config.toml`. Relative paths are relative to the data folder. Unknown fields are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// [`CONFIG_FORMAT`].
    pub format: String,
    /// The one environment this server serves.
    pub environment: Environment,
    /// What rules people and programs work under here.
    #[serde(default)]
    pub class: EnvironmentClass,
    /// Random name of this environment, made by `init`. Tokens are bound to it.
    pub environment_id: String,
    /// The account or project at a provider that this environment has to itself. Bound to the data folder once it is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Files with the fingerprints of other environments, as `creta keys fingerprint` prints them. None of them may share a
    /// root key, an id or an account with this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub known_environments: Vec<PathBuf>,
    /// Address and port.
    pub listen: SocketAddr,
    /// A second listener, for components of this environment alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub components: Option<ComponentsConfig>,
    /// Names and addresses that clients use for this server besides `localhost`, `127.0.0.1` and `::1`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// A certificate that others issued, shown to whoever names this server by anything but `localhost`; by default the
    /// local authority's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateFiles>,
    /// An authority that issues certificates by itself (ACME), instead of files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acme: Option<AcmeConfig>,
    /// The file that holds the root key. Without it nothing in the data folder can be read.
    pub root_key: PathBuf,
    /// Worker processes.
    #[serde(default)]
    pub workers: WorkerConfig,
    /// Who runs this, as the trust page says.
    #[serde(default = "unnamed")]
    pub organisation: Organisation,
    /// Where security issues can be reported besides the form: `mailto:` and `https:` addresses, the preferred first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub security_contacts: Vec<String>,
    /// Where people sign in. Without it there are service accounts and the local administrator only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign_in: Option<SignInConfig>,
    /// Passwords of tenants' own people who have no provider.
    #[serde(default, skip_serializing_if = "PasswordConfig::is_default")]
    pub passwords: PasswordConfig,
    /// What devices have to be like. Without it none can be enrolled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devices: Option<DeviceConfig>,
    /// Who cosigns the audit log.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub witness: Vec<WitnessConfig>,
    /// Processes of their own that take reports of security issues, also while this one is down.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub intake: Vec<IntakeConfig>,
    /// What may be told of feature data to those who do not see it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub statistics: StatisticsConfig,
    /// What is told of programs that act in a new way.
    #[serde(default, skip_serializing_if = "ProgramsConfig::is_default")]
    pub programs: ProgramsConfig,
    /// Where training sets of tenants may go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sinks: Vec<SinkConfig>,
    /// What the process may take at most while it builds a training set, all it holds included: `4GiB`. Beyond that, parts wait in
    /// sealed files. Without it a training set is built in memory, unless whoever asks sets a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training_memory: Option<MemorySize>,
    /// How much of datasets each tenant keeps.
    #[serde(default, skip_serializing_if = "DatasetsConfig::is_default")]
    pub datasets: DatasetsConfig,
    /// Who is woken by reports that come in by this server's own form.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_call: Vec<OnCall>,
}

impl Config {
    /// What clients may call this server besides its names on its own machine, in lower case: `names`, those that its
    /// certificate is issued for, the host of `public_url`, and the address where it listens.
    pub(crate) fn own_names(&self) -> BTreeSet<String> {
        let public = self.sign_in.as_ref().and_then(|sign_in| sign_in.public_url.as_deref());
        let public =
            public.and_then(|url| url.parse::<axum::http::Uri>().ok()).and_then(|url| Some(url.host()?.to_owned()));
        let certified = self.acme.iter().flat_map(|acme| acme.names.clone());
        let addresses =
            |name: String| if name.contains(':') && !name.starts_with('[') { format!("[{name}]") } else { name };
        let address = self.listen.ip();
        let listens = (!address.is_unspecified()).then(|| address.to_string());
        let all = self.names.iter().cloned().chain(certified).chain(public).chain(listens);
        all.map(|name| addresses(name.to_ascii_lowercase())).collect()
    }
}

fn is_default(config: &StatisticsConfig) -> bool {
    *config == StatisticsConfig::default()
}

/// What is told of service accounts that act from elsewhere, or otherwise, than they did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProgramsConfig {
    /// For how many days after its first use everything that a program does is learned in silence.
    pub learning_days: u32,
    /// How many leading bits of an IPv4 address make a network.
    pub network_v4_bits: u8,
    /// How many leading bits of an IPv6 address make a network.
    pub network_v6_bits: u8,
}

impl Default for ProgramsConfig {
    fn default() -> Self {
        Self { learning_days: 14, network_v4_bits: 24, network_v6_bits: 48 }
    }
}

impl ProgramsConfig {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    fn check(&self) -> Result<(), String> {
        if self.learning_days > 366 || self.network_v4_bits > 32 || self.network_v6_bits > 128 {
            return Err("`programs` learns for at most 366 days, of networks of at most 32 and 128 bits".to_owned());
        }
        Ok(())
    }
}

/// How much of datasets each tenant keeps at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatasetsConfig {
    /// Bytes of their rows: `50GiB` unless said otherwise.
    pub bytes_per_tenant: MemorySize,
    /// Versions with their rows: 1,000 unless said otherwise.
    pub versions_per_tenant: u64,
}

impl Default for DatasetsConfig {
    fn default() -> Self {
        Self { bytes_per_tenant: MemorySize::of_bytes(50 << 30), versions_per_tenant: 1_000 }
    }
}

impl DatasetsConfig {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn limits(self) -> DatasetLimits {
        DatasetLimits { versions_max: self.versions_per_tenant, bytes_max: self.bytes_per_tenant.bytes() }
    }
}

/// A listener that demands a certificate of this environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComponentsConfig {
    /// Address and port.
    pub listen: SocketAddr,
}

/// An intake of security reports beside this server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntakeConfig {
    /// What it is called.
    pub name: String,
    /// Its data folder, whose spool this server takes reports from.
    pub folder: PathBuf,
    /// By which what it spooled is recognised: an Ed25519 public key in hexadecimal.
    pub key: String,
    /// Address of its form.
    pub form: String,
}

impl IntakeConfig {
    /// The key, read.
    pub(crate) fn key(&self) -> Result<Vec<u8>, String> {
        let bytes = hex::decode(&self.key).ok().filter(|bytes| bytes.len() == 32);
        bytes.ok_or_else(|| format!("the key of intake `{}` is not the one that `creta intake init` showed", self.name))
    }

    fn check(&self) -> Result<(), String> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        if self.name.is_empty() || self.name.len() > 40 || !self.name.bytes().all(plain) {
            return Err(format!("`{}` cannot be the name of an intake: 1 to 40 letters, digits and `-`", self.name));
        }
        if !is_https(&self.form) {
            return Err(format!(
                "the form of intake `{}` is not at an https address; nothing else is spoken",
                self.name
            ));
        }
        self.key().map(drop)
    }
}

/// The organisation's identity provider (OpenID Connect), and who this server is to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignInConfig {
    /// The provider, exactly as it names itself: `https://login.example.com`.
    pub issuer: String,
    /// What the provider calls this server.
    pub client_id: String,
    /// File with the client's secret, if the provider gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret_file: Option<PathBuf>,
    /// The certificate authority of the provider, in PEM; without it the system's are trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// The address that browsers use for this server, if it is not its first name and its port: `https://creta.internal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_url: Option<String>,
    /// Whether only those may sign in whom the directory told us about (SCIM).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub provisioned: bool,
    /// Groups of the directory and what they give. Where any stand here, they decide the roles of everybody whom the
    /// directory told us about.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<String, GroupRole>,
}

/// What passwords are compared with besides the built-in list of obvious ones.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PasswordConfig {
    /// Lists of breached ones: sorted lines of SHA-1 or SHA-256 in hexadecimal, as the large public lists come.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub breached: Vec<PathBuf>,
}

impl PasswordConfig {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What a group of the directory gives to its members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupRole {
    /// One that people can have.
    #[serde(deserialize_with = "Role::deserialize_of_person")]
    pub role: Role,
    /// The tenant whose users they are; without it they are staff.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Which need of its members the role serves. Outside class development it has to be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub need: Option<String>,
}

/// What devices have to be like, and whose word is taken that a key is in a TPM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceConfig {
    /// Thumbprints (RFC 7638) of the attestation keys of the organisation's TPMs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attesters: Vec<Thumbprint>,
    /// The standard.
    pub standard: Standard,
}

impl DeviceConfig {
    /// The agent of Linux computers names a manager's signer by a digest: another text is never what it says, and then no
    /// computer has an approved manager.
    fn check(&self) -> Result<(), String> {
        let is_digest =
            |signer: &str| signer.len() == 64 && signer.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let of_linux = self.standard.password_managers.iter().filter(|approved| approved.platform == Platform::Linux);
        match of_linux.map(|approved| &approved.package).find(|package| !is_digest(&package.signer)) {
            None => Ok(()),
            Some(package) => Err(format!(
                "the signer of the password manager `{}` is not a digest: on Linux it is 64 hexadecimal digits in lower case, as \
                 `sha256sum` shows them for the keyring of its repository",
                package.id
            )),
        }
    }
}

/// A witness of the audit log, run by somebody else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessConfig {
    /// Where it is: `https://host:port`, with the submission prefix of C2SP tlog-witness as its path.
    pub url: String,
    /// Its verifier key, by which cosignatures are recognised.
    pub key: String,
    /// The certificate authority to trust, in PEM.
    pub ca: PathBuf,
}

impl WitnessConfig {
    /// The key, read.
    pub(crate) fn verifier_key(&self) -> Result<VerifierKey, String> {
        let key =
            VerifierKey::parse(&self.key).map_err(|error| format!("the key of witness `{}`: {error}", self.url))?;
        if key.kind() != KeyKind::Witness {
            return Err(format!(
                "the key of witness `{}` is a log's; give the one that `creta witness init` showed",
                self.url
            ));
        }
        Ok(key)
    }

    fn check(&self) -> Result<(), String> {
        if !is_https(&self.url) {
            return Err(format!("witness `{}` is not an https address; nothing else is spoken", self.url));
        }
        self.verifier_key().map(drop)
    }
}

/// An organisation that has not said its name.
pub(crate) fn unnamed() -> Organisation {
    Organisation { name: "an organisation without a name".to_owned(), mode: Mode::InHouse, demonstration: false }
}

/// How resolvers that are not compiled are run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorkerConfig {
    /// The Python interpreter; by default `$CRETA_PYTHON`, and without that `python3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub python: Option<PathBuf>,
    /// Folders that the interpreter finds packages in, besides its own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub python_path: Vec<PathBuf>,
    /// Workers of each tenant.
    pub processes: usize,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self { python: None, python_path: Vec::new(), processes: 2 }
    }
}

impl WorkerConfig {
    /// The interpreter to start.
    pub fn interpreter(&self) -> PathBuf {
        let from_environment = || std::env::var_os("CRETA_PYTHON").map(PathBuf::from);
        self.python.clone().or_else(from_environment).unwrap_or_else(|| PathBuf::from("python3"))
    }
}

impl Config {
    /// Name of the file in a data folder.
    pub const FILE: &'static str = "config.toml";

    /// Reads and checks `config.toml` of a data folder.
    pub fn load(folder: &Path) -> Result<Self, ServerError> {
        let file = folder.join(Self::FILE);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(ServerError::NotADataFolder { folder: folder.to_owned() });
            }
            Err(source) => return Err(ServerError::Io { action: "read", path: file, source }),
        };
        Self::parse(&text).map_err(|reason| ServerError::Config { file, reason })
    }

    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let config: Self = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        if config.format != CONFIG_FORMAT {
            return Err(format!("its format is `{}`, and this build reads `{CONFIG_FORMAT}`", config.format));
        }
        if !(1..=64).contains(&config.workers.processes) {
            return Err("`workers.processes` must be 1 to 64".to_owned());
        }
        config.account.as_deref().map_or(Ok(()), check_account)?;
        config.acme.as_ref().map_or(Ok(()), AcmeConfig::check)?;
        if config.acme.is_some() && config.certificate.is_some() {
            return Err("a certificate comes from `certificate` or from `acme`; take one of the two out".to_owned());
        }
        config.witness.iter().try_for_each(WitnessConfig::check)?;
        config.intake.iter().try_for_each(IntakeConfig::check)?;
        config.devices.as_ref().map_or(Ok(()), DeviceConfig::check)?;
        let names: BTreeSet<&str> = config.intake.iter().map(|intake| intake.name.as_str()).collect();
        if names.len() < config.intake.len() {
            return Err("two intakes have the same name; choose another with `--name`".to_owned());
        }
        config.statistics.check()?;
        config.programs.check()?;
        config.sinks.iter().try_for_each(SinkConfig::check)?;
        crate::intake::check_all(&config.on_call)?;
        let keys: BTreeSet<&str> = config.witness.iter().map(|witness| witness.key.as_str()).collect();
        if keys.len() < config.witness.len() {
            return Err("two witnesses have the same key; name each one once".to_owned());
        }
        Ok(config)
    }

    pub(crate) fn to_toml(&self) -> String {
        let body = toml::to_string(self).expect("a configuration has a TOML form");
        format!("# Configuration of a Creta server. Paths are relative to this folder.\n{body}")
    }

    /// The root key's file, given the data folder.
    pub fn root_key_file(&self, folder: &Path) -> PathBuf {
        folder.join(&self.root_key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "witness.example.com/w1+833da816+BAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
    const LOG_KEY: &str = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";

    #[test]
    fn a_linux_password_manager_is_known_by_a_digest() {
        let with = |platform: &str, signer: &str| {
            let device = format!(
                "[devices]\nattesters = []\n[devices.standard]\nscreen_lock_seconds_max = 300\nreport_hours_max = 24\n\
                 password_managers = [{{ platform = \"{platform}\", package = {{ id = \"1password\", signer = \"{signer}\" }} }}]\n\
                 [devices.standard.os_versions_min]\nubuntu = \"22.04\"\n"
            );
            Config::parse(&format!("{}{device}", config().to_toml())).map(drop)
        };
        let digest = "0123456789abcdef".repeat(4);
        assert_eq!(with("linux", &digest), Ok(()));
        assert_eq!(with("macos", "2BUA8C4S2C"), Ok(()));
        for wrong in ["SHA-256 OF THE KEYRING", "", &digest[1..], &format!("{digest}0"), &digest.to_uppercase()] {
            let refused = with("linux", wrong).expect_err("no computer would ever say so");
            assert!(refused.contains("64 hexadecimal digits") && refused.contains("`1password`"), "{refused}");
        }
    }

    fn config() -> Config {
        Config {
            format: CONFIG_FORMAT.to_owned(),
            environment: Environment::parse("prod").expect("valid"),
            class: EnvironmentClass::Production,
            environment_id: "prod-00".to_owned(),
            account: None,
            known_environments: Vec::new(),
            listen: LISTEN_DEFAULT.parse().expect("valid"),
            components: None,
            names: Vec::new(),
            certificate: None,
            acme: None,
            root_key: "root.key".into(),
            workers: WorkerConfig::default(),
            organisation: unnamed(),
            security_contacts: Vec::new(),
            sign_in: None,
            passwords: PasswordConfig::default(),
            devices: None,
            witness: Vec::new(),
            intake: Vec::new(),
            statistics: StatisticsConfig::default(),
            programs: ProgramsConfig::default(),
            sinks: Vec::new(),
            training_memory: None,
            datasets: DatasetsConfig::default(),
            on_call: Vec::new(),
        }
    }

    #[test]
    fn a_configuration_survives_writing_and_reading() {
        let mut config = config();
        assert_eq!(Config::parse(&config.to_toml()), Ok(config.clone()));
        config.account = Some("123456789012".to_owned());
        config.known_environments = vec!["known/staging.json".into()];
        config.components = Some(ComponentsConfig { listen: "10.0.0.1:7445".parse().expect("valid") });
        config.names = vec!["creta.internal".to_owned()];
        config.certificate = Some(CertificateFiles { chain: "tls/chain.pem".into(), key: "tls/server.key".into() });
        config.workers.python = Some("/usr/bin/python3".into());
        config.witness =
            vec![WitnessConfig { url: "https://w1:7444".to_owned(), key: KEY.to_owned(), ca: "w1.pem".into() }];
        assert_eq!(Config::parse(&config.to_toml()), Ok(config.clone()));
    }

    #[test]
    fn attack_ch19_statistics_are_configured_to_tell_less_and_never_more() {
        let with = |text: &str| Config::parse(&format!("{}\n{text}", config().to_toml()));
        let less = with("[statistics]\ngroup = 50\nbudget = { of_day = 5 }\n").expect("less");
        assert_eq!((less.statistics.group.get(), less.statistics.budget.of_day), (50, 5));
        assert_eq!(Config::parse(&less.to_toml()), Ok(less));
        for more in
            ["group = 19", "group = 0", "budget = { of_day = 51 }", "budget = { of_feature = 11 }", "off = true"]
        {
            assert!(with(&format!("[statistics]\n{more}\n")).is_err(), "{more}");
        }
    }

    #[test]
    fn another_version_an_unknown_field_and_no_workers_are_refused() {
        let good = config().to_toml();
        for (from, to, says) in [
            ("creta.server/1", "creta.server/2", "this build reads `creta.server/1`"),
            ("environment =", "plaintext = true\nenvironment =", "plaintext"),
            ("processes = 2", "processes = 0", "1 to 64"),
            ("environment_id =", "account = \"\"\nenvironment_id =", "`account` has 1 to"),
            (
                "environment =",
                "acme = { directory = \"http://ca/dir\", names = [\"a.b\"], terms_of_service_agreed = true }\nenvironment =",
                "not an https address",
            ),
            ("class = \"production\"", "class = \"prod\"", "`development`, `staging`, `production`"),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good, "`{from}` stands in the file");
            let reason = Config::parse(&bad).expect_err(to);
            assert!(reason.contains(says), "{reason}");
        }
    }

    #[test]
    fn attack_ch27_two_environments_in_one_configuration_are_refused() {
        let good = config().to_toml();
        for two in [
            "environment = \"prod\"\nenvironment = \"staging\"",
            "environment = [\"prod\", \"staging\"]",
            "environment = \"prod\"\nenvironments = [\"staging\"]",
            "environment = { name = \"prod\", also = \"staging\" }",
            "environment = \"prod staging\"",
            "environment = \"prod\"\nenvironment_id = \"staging-00\"",
        ] {
            let bad = good.replacen("environment = \"prod\"", two, 1);
            assert_ne!(bad, good);
            assert!(Config::parse(&bad).is_err(), "{two}");
        }
        let second = format!("{good}\n[second]\nenvironment = \"staging\"\n");
        assert!(Config::parse(&second).is_err());
    }

    #[test]
    fn an_environment_is_for_development_unless_its_class_is_said() {
        let old = config().to_toml().replacen("class = \"production\"\n", "", 1);
        assert_eq!(Config::parse(&old).expect("valid").class, EnvironmentClass::Development);
        assert_eq!(Config::parse(&config().to_toml()).expect("valid").class, EnvironmentClass::Production);
    }

    #[test]
    fn a_witness_is_asked_over_tls_and_known_by_a_key_of_its_own() {
        let witness = |url: &str, key: &str| format!("[[witness]]\nurl = \"{url}\"\nkey = \"{key}\"\nca = \"w.pem\"\n");
        let good = witness("https://w1:7444", KEY);
        assert_eq!(Config::parse(&(config().to_toml() + &good)).expect("valid").witness.len(), 1);
        for (bad, says) in [
            (witness("http://w1:7444", KEY), "not an https address"),
            (witness("https://somebody@w1:7444", KEY), "not an https address"),
            (witness("https://w1:7444", LOG_KEY), "is a log's"),
            (witness("https://w1:7444", "w1"), "not a verifier key"),
            (good.repeat(2), "the same key"),
        ] {
            let reason = Config::parse(&(config().to_toml() + &bad)).expect_err(says);
            assert!(reason.contains(says), "{reason}");
        }
    }
}
