//! One file per report. The intake seals it to a key that only the server has (HPKE, RFC 9180, X25519 with AES-256-GCM), so
//! that whoever breaks into the process that strangers talk to reads nothing that came before. It signs it with its own
//! key, so that nobody else puts reports, or other times of arrival, where the server finds them.

use std::sync::Arc;

use aws_lc_rs::agreement::{PrivateKey, X25519};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use creta_keys::ScopeKey;
use creta_model::{Instant, TenantId};
use creta_platform::{FileError, Files};
use creta_proof::Hash;
use rustls::crypto::aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_256 as SUITE;
use rustls::crypto::hpke::{EncapsulatedSecret, Hpke as _, HpkePrivateKey, HpkePublicKey};
use serde::{Deserialize, Serialize};

/// Form of spooled files.
const FORMAT: &str = "creta.intake-spool/1";
/// Domain of the sealing.
const INFO: &[u8] = b"creta.intake/1 report";
/// Folder of the files below the intake's.
pub(crate) const FOLDER: &str = "spool";
/// Spooled reports that wait for the server; more are refused.
pub(crate) const FILES_MAX: usize = 20_000;

/// A report on its way to the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Spooled {
    pub(crate) reference: String,
    /// By the intake's clock.
    pub(crate) received_at: Instant,
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) contact: String,
    pub(crate) urgent: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tenant: Option<TenantId>,
    /// The report that said the same before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) same_as: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    format: String,
    reference: String,
    received_at: Instant,
    encapsulated: String,
    sealed: String,
    signature: String,
}

impl Sealed {
    /// What is signed: everything but the signature, each part on a line of its own.
    fn signed(&self) -> String {
        let Self { format, reference, received_at, encapsulated, sealed, .. } = self;
        format!("{format}\n{reference}\n{received_at}\n{encapsulated}\n{sealed}\n")
    }
}

/// The key with which a server opens what its intakes sealed. It follows from the server's own key and is stored nowhere.
pub(crate) struct OpeningKey {
    private: HpkePrivateKey,
    public: Vec<u8>,
}

impl OpeningKey {
    pub(crate) fn of(own: &ScopeKey) -> Self {
        let bytes = own.derive("creta.intake/1 opening key");
        let key = PrivateKey::from_private_key(&X25519, &bytes).expect("any 32 bytes are a key of X25519");
        let public = key.compute_public_key().expect("every key has a public one").as_ref().to_vec();
        Self { private: HpkePrivateKey::from(bytes.to_vec()), public }
    }

    pub(crate) fn public(&self) -> &[u8] {
        &self.public
    }
}

/// Seals and signs a report. `to` is the server's public key.
pub(crate) fn seal(report: &Spooled, to: &[u8], key: &Ed25519KeyPair) -> Result<Vec<u8>, String> {
    let plain = serde_json::to_vec(report).expect("a report has a JSON form");
    let to = HpkePublicKey(to.to_vec());
    let (encapsulated, sealed) =
        SUITE.seal(INFO, report.reference.as_bytes(), &plain, &to).map_err(|error| error.to_string())?;
    let mut file = Sealed {
        format: FORMAT.to_owned(),
        reference: report.reference.clone(),
        received_at: report.received_at,
        encapsulated: BASE64.encode(encapsulated.0),
        sealed: BASE64.encode(sealed),
        signature: String::new(),
    };
    file.signature = BASE64.encode(key.sign(file.signed().as_bytes()).as_ref());
    Ok(serde_json::to_vec(&file).expect("a sealed report has a JSON form"))
}

/// Verifies and opens a spooled file of an intake whose public key is `from`. The error holds nothing of the report.
pub(crate) fn open(bytes: &[u8], from: &[u8], key: &OpeningKey) -> Result<Spooled, String> {
    let file: Sealed = serde_json::from_slice(bytes).map_err(|_| "it has not the form of a spooled report")?;
    if file.format != FORMAT {
        return Err("its format is not known to this build".to_owned());
    }
    let decoded = |text: &str| BASE64.decode(text).map_err(|_| "it has not the form of a spooled report");
    UnparsedPublicKey::new(&ED25519, from)
        .verify(file.signed().as_bytes(), &decoded(&file.signature)?)
        .map_err(|_| "this intake did not sign it")?;
    let encapsulated = EncapsulatedSecret(decoded(&file.encapsulated)?);
    let plain = SUITE.open(&encapsulated, INFO, file.reference.as_bytes(), &decoded(&file.sealed)?, &key.private);
    let plain = plain.map_err(|_| "it was not sealed for this server")?;
    let report: Spooled = serde_json::from_slice(&plain).map_err(|_| "what was sealed is not a report")?;
    if report.reference != file.reference || report.received_at != file.received_at {
        return Err("it is signed for another report".to_owned());
    }
    Ok(report)
}

/// Whether a text can be the reference of a report: what an intake or a server makes.
pub(crate) fn is_reference(text: &str) -> bool {
    text.len() == 24 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// The spool of an intake.
#[derive(Clone)]
pub(crate) struct Spool {
    files: Arc<dyn Files>,
}

impl Spool {
    /// `files` are those of the intake's data folder.
    pub(crate) fn new(files: Arc<dyn Files>) -> Self {
        Self { files }
    }

    /// Adds a sealed report: durable when this returns.
    pub(crate) fn add(&self, reference: &str, sealed: &[u8]) -> Result<(), FileError> {
        self.files.create(&Self::path(reference), sealed)
    }

    /// References of what waits.
    pub(crate) fn list(&self) -> Result<Vec<String>, FileError> {
        let files = self.files.list(&format!("{FOLDER}/"))?;
        let name =
            |path: &String| Some(path.strip_prefix(FOLDER)?.strip_prefix('/')?.strip_suffix(".report")?.to_owned());
        Ok(files.iter().filter_map(name).filter(|name| is_reference(name)).collect())
    }

    pub(crate) fn read(&self, reference: &str) -> Result<Vec<u8>, FileError> {
        self.files.read(&Self::path(reference))
    }

    pub(crate) fn remove(&self, reference: &str) -> Result<(), FileError> {
        self.files.delete(&Self::path(reference))
    }

    fn path(reference: &str) -> String {
        format!("{FOLDER}/{reference}.report")
    }
}

/// SHA-256 of a spooled file: what the log says came in.
pub(crate) fn digest(bytes: &[u8]) -> Hash {
    Hash::of(&[bytes])
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::KeyPair as _;
    use creta_keys::{KeyRing, RootKey};
    use creta_model::{Environment, Scope};
    use creta_platform::Platform;

    use super::*;

    fn server_key() -> OpeningKey {
        let environment = Environment::parse("dev").expect("valid");
        let platform = Platform::in_memory();
        let root = RootKey::generate(&environment, &*platform.random);
        let ring = KeyRing::open(root, environment, platform).expect("opens");
        OpeningKey::of(&ring.scope_or_create(&Scope::parse("acme", "dev").expect("valid")).expect("made"))
    }

    fn report() -> Spooled {
        Spooled {
            reference: "0123456789abcdef01234567".to_owned(),
            received_at: Instant::parse("2026-01-01T00:00:00Z").expect("valid"),
            title: "a genuine title".to_owned(),
            description: "what was seen".to_owned(),
            contact: String::new(),
            urgent: true,
            tenant: None,
            same_as: None,
        }
    }

    #[test]
    fn what_an_intake_seals_only_its_server_reads() {
        let (server, intake) = (server_key(), Ed25519KeyPair::from_seed_unchecked(&[1; 32]).expect("a key"));
        let bytes = seal(&report(), server.public(), &intake).expect("sealed");
        assert!(!String::from_utf8_lossy(&bytes).contains("genuine"));
        let from = intake.public_key().as_ref();
        assert_eq!(open(&bytes, from, &server), Ok(report()));
        assert_eq!(open(&bytes, from, &server_key()), Err("it was not sealed for this server".to_owned()));
    }

    #[test]
    fn attack_ch64_an_edited_or_foreign_spool_file_is_not_taken() {
        let (server, intake) = (server_key(), Ed25519KeyPair::from_seed_unchecked(&[1; 32]).expect("a key"));
        let from = intake.public_key().as_ref();
        let bytes = seal(&report(), server.public(), &intake).expect("sealed");
        let text = String::from_utf8(bytes.clone()).expect("text");
        let later = text.replacen("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", 1);
        let renamed = text.replacen("0123456789abcdef01234567", "0123456789abcdef01234568", 1);
        for edited in [&later, &renamed, &text.replacen("sealed\":\"", "sealed\":\"AAAA", 1)] {
            assert_ne!(*edited, text);
            assert_eq!(open(edited.as_bytes(), from, &server), Err("this intake did not sign it".to_owned()));
        }
        // Somebody who knows the server's public key, and writes to the spool.
        let stranger = Ed25519KeyPair::from_seed_unchecked(&[2; 32]).expect("a key");
        let forged = seal(&report(), server.public(), &stranger).expect("sealed");
        assert_eq!(open(&forged, from, &server), Err("this intake did not sign it".to_owned()));
        for length in 0..bytes.len() {
            assert!(open(&bytes[..length], from, &server).is_err());
        }
    }

    #[test]
    fn attack_ch64_a_report_in_another_form_or_for_another_server_is_not_taken() {
        let (server, intake) = (server_key(), Ed25519KeyPair::from_seed_unchecked(&[1; 32]).expect("a key"));
        let from = intake.public_key().as_ref();
        let bytes = seal(&report(), server.public(), &intake).expect("sealed");
        // Signed anew by the intake itself, in a form that this build does not write.
        let mut file: Sealed = serde_json::from_slice(&bytes).expect("own form");
        for format in ["creta.intake-spool/0", "creta.intake-spool/2", ""] {
            file.format = format.to_owned();
            file.signature = BASE64.encode(intake.sign(file.signed().as_bytes()).as_ref());
            let older = serde_json::to_vec(&file).expect("JSON");
            assert_eq!(
                open(&older, from, &server),
                Err("its format is not known to this build".to_owned()),
                "{format}"
            );
        }
        // Without the seal: what stands in it in the clear, under a good signature.
        file.format = FORMAT.to_owned();
        file.sealed = BASE64.encode(serde_json::to_vec(&report()).expect("JSON"));
        file.signature = BASE64.encode(intake.sign(file.signed().as_bytes()).as_ref());
        let clear = serde_json::to_vec(&file).expect("JSON");
        assert_eq!(open(&clear, from, &server), Err("it was not sealed for this server".to_owned()));
        let elsewhere = seal(&report(), server_key().public(), &intake).expect("sealed");
        assert!(open(&elsewhere, from, &server).is_err(), "sealed for another server");
    }

    #[test]
    fn a_spool_holds_reports_and_nothing_else() {
        let spool = Spool::new(Platform::in_memory().files);
        spool.add("0123456789abcdef01234567", b"x").expect("added");
        assert!(spool.add("0123456789abcdef01234567", b"y").is_err(), "nothing is written over");
        spool.files.create("spool/strange.report", b"x").expect("made");
        assert_eq!(spool.list().expect("listed"), ["0123456789abcdef01234567"]);
    }
}
