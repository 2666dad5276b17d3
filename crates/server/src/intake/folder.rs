//! The intake's data folder.
//!
//! ```text
//! intake.toml      creta.intake/1: address, whom to page          spool/    one sealed file per report, until the server
//! intake.key       signs what is spooled; for its owner only                has taken it
//! codes.key        tells tenants' codes from others               paging/   what waits for a page
//! tls/             its certificate authority                      lock      says that an intake is at work
//! security.txt     served instead of what it would write itself, while it is in date
//! ```
//!
//! Nothing in it opens what was spooled: the key for that is the server's.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use creta_compliance::Organisation;
use creta_iam::control_plane;
use creta_keys::{KeyRing, RootKey};
use creta_model::{Problem, TenantId};
use creta_platform::{FileError, Platform};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::paging::{OnCall, PageResult, check_all, test_page};
use super::report::Codes;
use super::spool::OpeningKey;
use crate::ServerError;
use crate::config::{Config, IntakeConfig};
use crate::data_folder::{file_failed, require_empty, url_of};
use crate::problem::from_keys;
use crate::tls::{Authority, CertificateFiles, make_authority};

/// Version of `intake.toml`.
pub const INTAKE_FORMAT: &str = "creta.intake/1";
/// Where an intake listens when nothing else is asked for.
const LISTEN_DEFAULT: &str = "127.0.0.1:7445";
/// What the key of tenants' codes is derived by from the server's own key.
pub(crate) const CODES_LABEL: &str = "creta.intake/1 tenant codes";

const CONFIG: &str = "intake.toml";
const KEY: &str = "intake.key";
const CODES: &str = "codes.key";
const AUTHORITY: &str = "tls/ca.pem";
const AUTHORITY_KEY: &str = "tls/ca.key";

/// What can be chosen when an intake is made.
#[derive(Debug, Clone)]
pub struct IntakeOptions {
    /// What it is called in pages, in the log and in the server's configuration: letters, digits and `-`.
    pub name: String,
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// Names and addresses that people use besides the local ones.
    pub names: Vec<String>,
    /// Where people find it: `https://...`; by default the address it listens on.
    pub url: Option<String>,
    /// Who is on call.
    pub on_call: Vec<OnCall>,
}

impl Default for IntakeOptions {
    fn default() -> Self {
        Self {
            name: "intake".to_owned(),
            listen: LISTEN_DEFAULT.parse().expect("the default is an address"),
            names: Vec::new(),
            url: None,
            on_call: Vec::new(),
        }
    }
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntakeInit {
    /// The data folder.
    pub folder: PathBuf,
    /// The address of the form.
    pub form: String,
    /// The certificate that signs its own ones.
    pub ca: PathBuf,
    /// By which the server knows what it spooled.
    pub key: String,
    /// How many can be paged.
    pub on_call: usize,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IntakeFile {
    format: String,
    pub(super) name: String,
    pub(super) listen: SocketAddr,
    /// Address of the form.
    pub(super) form: String,
    /// Where the server shows how a report stands: the beginning of that address.
    pub(super) status: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) names: Vec<String>,
    /// The server's public key, to which reports are sealed.
    sealed_to: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) security_contacts: Vec<String>,
    pub(super) organisation: Organisation,
    /// A certificate that others issued, for people who come by another name than the machine's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) certificate: Option<CertificateFiles>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) on_call: Vec<OnCall>,
}

/// Makes an intake for the server of a data folder, and names it to that server, which knows it from its next start on. The
/// server may run meanwhile. A folder that holds anything is [`ServerError::AlreadyThere`] and stays as it is.
pub fn init(folder: &Path, server: &Path, options: &IntakeOptions) -> Result<IntakeInit, ServerError> {
    let folder = std::path::absolute(folder).map_err(|source| failed("find", folder, source))?;
    let config = Config::load(server)?;
    let file = server.join(Config::FILE);
    let refused = |reason: String| ServerError::Config { file: file.clone(), reason };
    require_empty(&folder)?;
    check_all(&options.on_call).map_err(&refused)?;
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent).map_err(|source| failed("create", parent, source))?;
    }

    let of_server = Platform::system(server).map_err(|error| file_failed(server, error))?;
    let root =
        RootKey::load_file(config.root_key_file(server), &config.environment).map_err(|error| from_keys(&error))?;
    let ring = KeyRing::open(root, config.environment.clone(), of_server.clone()).map_err(|e| from_keys(&e))?;
    let own = ring.scope(&control_plane(&config.environment)).map_err(|e| from_keys(&e))?;
    let (opening, codes) = (OpeningKey::of(&own), Zeroizing::new(own.derive(CODES_LABEL)));

    let platform = Platform::system(&folder).map_err(|error| file_failed(&folder, error))?;
    let mut seed = Zeroizing::new([0; 32]);
    platform.random.fill(seed.as_mut_slice());
    let public = hex::encode(signing_key(&*seed)?.public_key().as_ref());
    let (authority, authority_key) = make_authority(&options.name, platform.clock.now())?;
    let base = options.url.clone().unwrap_or_else(|| url_of(options.listen));
    let form = format!("{}/trust/report/", base.trim_end_matches('/'));
    let made = IntakeFile {
        format: INTAKE_FORMAT.to_owned(),
        name: options.name.clone(),
        listen: options.listen,
        form: form.clone(),
        status: format!("{}/trust/report/", url_of(config.listen)),
        names: options.names.clone(),
        certificate: None,
        sealed_to: hex::encode(opening.public()),
        security_contacts: config.security_contacts.clone(),
        organisation: config.organisation.clone(),
        on_call: options.on_call.clone(),
    };
    let registered = IntakeConfig { name: options.name.clone(), folder: folder.clone(), key: public.clone(), form };
    let text = fs::read_to_string(&file).map_err(|source| failed("read", &file, source))?;
    let table = toml::to_string(&registered).expect("an intake has a TOML form");
    let text = format!("{}\n\n[[intake]]\n{table}", text.trim_end());
    Config::parse(&text).map_err(&refused)?;

    let body = toml::to_string(&made).expect("a configuration has a TOML form");
    let body = format!("# Configuration of an intake of security reports.\n{body}");
    for (path, bytes) in [
        (KEY, Zeroizing::new(format!("{}\n", hex::encode(seed.as_slice())))),
        (CODES, Zeroizing::new(format!("{}\n", hex::encode(codes.as_slice())))),
        (AUTHORITY, Zeroizing::new(authority)),
        (AUTHORITY_KEY, Zeroizing::new(format!("{}\n", hex::encode(authority_key.as_slice())))),
        (CONFIG, Zeroizing::new(body)), // Last: a folder without it is not an intake's yet.
    ] {
        platform.files.create(path, bytes.as_bytes()).map_err(|error| file_failed(&folder.join(path), error))?;
    }
    of_server.files.replace(Config::FILE, text.as_bytes()).map_err(|error| file_failed(&file, error))?;
    Ok(IntakeInit { form: made.form, ca: folder.join(AUTHORITY), key: public, on_call: options.on_call.len(), folder })
}

/// The code by which reports of a tenant are known. Whether there is such a tenant is not looked up.
pub fn tenant_code(folder: &Path, tenant: &TenantId) -> Result<String, ServerError> {
    Ok(IntakeFolder::open(folder)?.codes()?.of(tenant))
}

/// Sends a page that says it is a test to everybody on call, at once.
pub fn page_contacts(folder: &Path) -> Result<Vec<PageResult>, ServerError> {
    let intake = IntakeFolder::open(folder)?;
    let _ = crate::tls::provider().install_default();
    Ok(test_page(&intake.config.on_call, &intake.folder, intake.config.name.clone(), intake.platform.clock.now()))
}

/// An open intake: its configuration and its files.
pub(super) struct IntakeFolder {
    pub(super) folder: PathBuf,
    pub(super) config: IntakeFile,
    pub(super) platform: Platform,
}

impl IntakeFolder {
    pub(super) fn open(folder: &Path) -> Result<Self, ServerError> {
        let folder = std::path::absolute(folder).map_err(|source| failed("find", folder, source))?;
        let file = folder.join(CONFIG);
        let text = fs::read_to_string(&file).map_err(|source| failed("read", &file, source))?;
        let refused = |reason: String| ServerError::Config { file: file.clone(), reason };
        let config: IntakeFile = toml::from_str(&text).map_err(|error| refused(error.message().to_owned()))?;
        if config.format != INTAKE_FORMAT {
            return Err(refused(format!("its format is `{}`, and this build reads `{INTAKE_FORMAT}`", config.format)));
        }
        check_all(&config.on_call).map_err(&refused)?;
        let platform = Platform::system(&folder).map_err(|error| file_failed(&folder, error))?;
        Ok(Self { folder, config, platform })
    }

    pub(super) fn signing_key(&self) -> Result<Ed25519KeyPair, ServerError> {
        signing_key(&self.secret(KEY)?)
    }

    pub(super) fn codes(&self) -> Result<Codes, ServerError> {
        Ok(Codes::new(&self.secret(CODES)?))
    }

    pub(super) fn sealed_to(&self) -> Result<Vec<u8>, ServerError> {
        let bytes = hex::decode(&self.config.sealed_to).ok().filter(|bytes| bytes.len() == 32);
        bytes.ok_or_else(|| ServerError::Config {
            file: self.folder.join(CONFIG),
            reason: "`sealed_to` is not a server's key; make the intake anew".to_owned(),
        })
    }

    /// The folder's own certificate authority.
    pub(super) fn authority(&self) -> Result<Authority, ServerError> {
        Ok(Authority::new(&self.config.name, self.secret(AUTHORITY_KEY)?))
    }

    /// Reads a file of hexadecimal digits that holds a secret.
    fn secret(&self, path: &str) -> Result<Zeroizing<Vec<u8>>, ServerError> {
        let text =
            self.platform.files.read(path).map_err(|error: FileError| file_failed(&self.folder.join(path), error));
        let text = Zeroizing::new(text?);
        let plain = hex::decode(text.trim_ascii()).map(Zeroizing::new);
        plain.map_err(|_| Problem::new("intake/key", format!("`{path}` does not hold what was stored")).into())
    }
}

fn signing_key(seed: &[u8]) -> Result<Ed25519KeyPair, ServerError> {
    let unusable = || Problem::new("intake/key", "the intake's key is not the 32 bytes that were stored");
    Ok(Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| unusable())?)
}

fn failed(action: &'static str, path: &Path, source: std::io::Error) -> ServerError {
    ServerError::Io { action, path: path.to_owned(), source }
}
