//! A certificate and key in files: from ACME, a company's authority, anywhere. Checked before anything is served with them.

use std::fs::File;
use std::io::Read as _;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use creta_model::Instant;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};
use x509_parser::public_key::PublicKey;
use zeroize::Zeroizing;

use super::provider;

/// Largest file that is looked at as a certificate or a key.
const FILE_BYTES_MAX: u64 = 256 << 10;
/// Longest chain.
const CHAIN_MAX: usize = 10;
/// Shortest RSA key, in bits (NIST SP 800-57 asks for as many until 2030).
const RSA_BITS_MIN: usize = 2_048;

/// Signatures over MD2, MD5 and SHA-1: RSA's (RFC 8017), ECDSA's (RFC 3279), DSA's.
const BROKEN_DIGESTS: [&str; 5] =
    ["1.2.840.113549.1.1.2", "1.2.840.113549.1.1.4", "1.2.840.113549.1.1.5", "1.2.840.10045.4.1", "1.2.840.10040.4.3"];

/// Where a certificate that others issued is found. Paths are relative to the data folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateFiles {
    /// The server's certificate and the authorities' above it, in PEM, the server's first.
    pub chain: PathBuf,
    /// Its private key in PEM, readable by its owner only.
    pub key: PathBuf,
}

/// What stands in the files, checked.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(super) key: Arc<CertifiedKey>,
    /// Whether clients that name no server may be shown it: it holds an address.
    pub(super) for_addresses: bool,
    pub(super) not_after: Instant,
}

/// The bytes of both files.
pub(super) struct Bytes {
    pub(super) chain: Vec<u8>,
    pub(super) key: Zeroizing<Vec<u8>>,
}

impl CertificateFiles {
    /// With paths from the data folder on.
    pub(crate) fn within(&self, folder: &Path) -> Self {
        Self { chain: folder.join(&self.chain), key: folder.join(&self.key) }
    }

    /// Reads both files. A key that other users can read is refused; whoever can read it may have copied it.
    pub(super) fn read(&self) -> Result<Bytes, String> {
        let (chain, _) = read(&self.chain)?;
        let (key, mode) = read(&self.key)?;
        if mode & 0o077 != 0 {
            return Err(format!(
                "other users can read the key in `{path}` (mode {mode:03o}); run `chmod 600 {path}`, and get a new key if \
                 somebody may have read it",
                path = self.key.display()
            ));
        }
        Ok(Bytes { chain: chain.to_vec(), key })
    }
}

fn read(path: &Path) -> Result<(Zeroizing<Vec<u8>>, u32), String> {
    let failed = |error: std::io::Error| format!("`{}` cannot be read: {error}", path.display());
    let file = File::open(path).map_err(failed)?;
    // Asked of the open file, so that it is the one that is read.
    let metadata = file.metadata().map_err(failed)?;
    if metadata.len() > FILE_BYTES_MAX {
        return Err(format!("`{}` is larger than certificates and keys are; name another file", path.display()));
    }
    // Room for all of it, so that no copy of a key is left behind by growing.
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX as usize));
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(failed)?;
    Ok((bytes, metadata.mode() & 0o777))
}

/// Checks a chain and a key: they belong together, are in date, are strong, form a chain, and the certificate is for
/// servers and holds all `names`. The error says what is wrong and what to do.
pub(super) fn check(bytes: &Bytes, names: &[String], now: Instant) -> Result<Loaded, String> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&bytes.chain)
        .collect::<Result<_, _>>()
        .map_err(|_| "the chain is not in PEM form".to_owned())?;
    if chain.is_empty() || chain.len() > CHAIN_MAX {
        return Err(format!("the chain holds {} certificates; it takes 1 to {CHAIN_MAX}", chain.len()));
    }
    let key = PrivateKeyDer::from_pem_slice(&bytes.key).map_err(|_| {
        "the key file holds no private key in PEM form (PKCS #8, PKCS #1 or SEC 1, not encrypted)".to_owned()
    })?;
    let parsed = chain
        .iter()
        .map(|der| X509Certificate::from_der(der).map(|(_, parsed)| parsed))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| "the chain holds something that is not a certificate".to_owned())?;
    for certificate in &parsed {
        check_time(certificate, now)?;
        check_strength(certificate)?;
    }
    check_names(&chain[0], names)?;
    check_path(&chain, &parsed, now)?;
    let for_addresses = holds_address(&parsed[0]);
    let not_after = parsed.iter().map(|certificate| certificate.validity().not_after.timestamp()).min();
    let not_after = not_after.and_then(|seconds| Instant::from_micros(seconds.checked_mul(1_000_000)?).ok());
    let not_after = not_after.ok_or_else(|| "the certificate ends at no time that can be told".to_owned())?;
    let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            "the key does not belong to the first certificate of the chain; name the two that were issued together"
                .to_owned()
        }
        other => format!("the key cannot be used: {other}"),
    })?;
    Ok(Loaded { key: Arc::new(key), for_addresses, not_after })
}

fn check_time(certificate: &X509Certificate<'_>, now: Instant) -> Result<(), String> {
    let (seconds, validity) = (now.micros().div_euclid(1_000_000), certificate.validity());
    if seconds < validity.not_before.timestamp() {
        return Err(format!("`{}` is not valid before {}", certificate.subject(), validity.not_before));
    }
    if seconds >= validity.not_after.timestamp() {
        return Err(format!("`{}` ended at {}; renew it", certificate.subject(), validity.not_after));
    }
    Ok(())
}

fn check_strength(certificate: &X509Certificate<'_>) -> Result<(), String> {
    let subject = certificate.subject();
    match certificate.public_key().parsed() {
        Ok(PublicKey::RSA(key)) if key.key_size() < RSA_BITS_MIN => {
            return Err(format!(
                "the key of `{subject}` is RSA with {} bits; get one with {RSA_BITS_MIN} or more, or of P-256",
                key.key_size()
            ));
        }
        Ok(PublicKey::DSA(_)) | Err(_) => {
            return Err(format!("the key of `{subject}` is of a kind that TLS has given up"));
        }
        Ok(_) => {}
    }
    // A root's own signature convinces nobody, so its strength does not matter.
    let self_signed = certificate.subject() == certificate.issuer();
    if !self_signed && BROKEN_DIGESTS.contains(&certificate.signature_algorithm.algorithm.to_id_string().as_str()) {
        return Err(format!(
            "`{subject}` is signed with a broken digest; have it issued again, with SHA-256 or better"
        ));
    }
    Ok(())
}

fn check_names(leaf: &CertificateDer<'_>, names: &[String]) -> Result<(), String> {
    let parsed = rustls::server::ParsedCertificate::try_from(leaf).map_err(|error| format!("{error}"))?;
    for name in names {
        let wanted = ServerName::try_from(name.as_str())
            .map_err(|_| format!("`{name}` is neither a host name nor an address; correct `names` in `config.toml`"))?;
        rustls::client::verify_server_name(&parsed, &wanted)
            .map_err(|_| format!("the certificate does not hold the name `{name}`, which stands in `names`"))?;
    }
    Ok(())
}

/// That each certificate is signed by the next one, and the first is for servers. A chain of one whose authority stands
/// elsewhere is left to the clients, who have that authority.
fn check_path(chain: &[CertificateDer<'static>], parsed: &[X509Certificate<'_>], now: Instant) -> Result<(), String> {
    let Some(name) = first_name(&parsed[0]) else {
        return Err("the certificate holds no host name and no address among its alternative names".to_owned());
    };
    if parsed.len() == 1 && parsed[0].subject() != parsed[0].issuer() {
        let usage = parsed[0].extended_key_usage().ok().flatten();
        if usage.is_some_and(|usage| !usage.value.server_auth && !usage.value.any) {
            return Err("the certificate is not one for servers".to_owned());
        }
        return Ok(());
    }
    let mut roots = RootCertStore::empty();
    let last = chain.last().expect("a chain has a first certificate").clone();
    roots.add(last).map_err(|error| format!("the last certificate of the chain is no authority: {error}"))?;
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(provider()))
        .build()
        .map_err(|error| error.to_string())?;
    let seconds = u64::try_from(now.micros().div_euclid(1_000_000)).unwrap_or_default();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let verified = verifier.verify_server_cert(&chain[0], &chain[1..], &name, &[], now);
    verified.map(drop).map_err(|error| {
        format!(
            "the chain does not hold together: {error}; put the server's certificate first and each issuer after it"
        )
    })
}

fn first_name(leaf: &X509Certificate<'_>) -> Option<ServerName<'static>> {
    let names = leaf.subject_alternative_name().ok().flatten()?;
    names.value.general_names.iter().find_map(|name| match name {
        // Some host below a wildcard stands for all.
        GeneralName::DNSName(name) => ServerName::try_from(name.replacen('*', "any", 1)).ok(),
        GeneralName::IPAddress(bytes) => address(bytes).map(|ip| ServerName::IpAddress(ip.into())),
        _ => None,
    })
}

fn holds_address(leaf: &X509Certificate<'_>) -> bool {
    let names = leaf.subject_alternative_name().ok().flatten();
    names.is_some_and(|names| names.value.general_names.iter().any(|name| matches!(name, GeneralName::IPAddress(_))))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes).map(IpAddr::from).or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

#[cfg(test)]
pub(super) mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
    use time::OffsetDateTime;

    use super::*;

    pub(crate) const NOW: &str = "2026-01-15T00:00:00Z";

    /// An authority of a company, and what it issues.
    pub(crate) struct Company {
        certificate: rcgen::Certificate,
        issuer: Issuer<'static, KeyPair>,
    }

    fn at(text: &str) -> OffsetDateTime {
        let micros = Instant::parse(text).expect("valid").micros();
        OffsetDateTime::from_unix_timestamp(micros / 1_000_000).expect("in range")
    }

    pub(crate) fn params(names: &[&str], from: &str, until: &str) -> CertificateParams {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name.push(rcgen::DnType::CommonName, "creta.example.com");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        (params.not_before, params.not_after) = (at(from), at(until));
        params
    }

    impl Company {
        pub(crate) fn new() -> Self {
            let key = KeyPair::generate().expect("a key");
            let mut params = params(&[], "2025-01-01T00:00:00Z", "2035-01-01T00:00:00Z");
            params.distinguished_name.push(rcgen::DnType::CommonName, "Company authority");
            params.extended_key_usages = Vec::new();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let certificate = params.self_signed(&key).expect("signed");
            Self { certificate, issuer: Issuer::new(params, key) }
        }

        /// A chain and a key, in PEM.
        pub(crate) fn issue(&self, params: &CertificateParams) -> (String, String) {
            let key = KeyPair::generate().expect("a key");
            let certificate = params.signed_by(&key, &self.issuer).expect("signed");
            (certificate.pem() + &self.certificate.pem(), key.serialize_pem())
        }
    }

    fn good() -> (String, String) {
        Company::new().issue(&params(&["creta.example.com"], "2026-01-01T00:00:00Z", "2026-04-01T00:00:00Z"))
    }

    fn checked((chain, key): (String, String), names: &[&str]) -> Result<Loaded, String> {
        let bytes = Bytes { chain: chain.into_bytes(), key: Zeroizing::new(key.into_bytes()) };
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        check(&bytes, &names, Instant::parse(NOW).expect("valid"))
    }

    #[test]
    fn a_chain_and_its_key_are_taken_as_they_were_issued() {
        let loaded = checked(good(), &["creta.example.com"]).expect("good");
        assert_eq!(loaded.not_after, Instant::parse("2026-04-01T00:00:00Z").expect("valid"), "the earliest end counts");
        assert!(!loaded.for_addresses);
        let (chain, key) = good();
        let leaf = chain.split_inclusive("-----END CERTIFICATE-----\n").next().expect("a leaf").to_owned();
        checked((leaf, key), &[]).expect("clients may have the authority themselves");
        let wild = Company::new().issue(&params(
            &["*.example.com", "10.0.0.1"],
            "2026-01-01T00:00:00Z",
            "2026-04-01T00:00:00Z",
        ));
        assert!(checked(wild, &["creta.example.com"]).expect("good").for_addresses);
    }

    #[test]
    fn attack_ci13_a_certificate_that_would_not_protect_is_refused() {
        let company = Company::new();
        let issue = |names: &[&str], from: &str, until: &str| company.issue(&params(names, from, until));
        let name = ["creta.example.com"];
        let (chain, key) = good();
        let backwards: String = {
            let mut parts: Vec<&str> = chain.split_inclusive("-----END CERTIFICATE-----\n").collect();
            parts.reverse();
            parts.concat()
        };
        let mut for_clients = params(&name, "2026-01-01T00:00:00Z", "2026-04-01T00:00:00Z");
        for_clients.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let foreign_chain = {
            let leaf = chain.split_inclusive("-----END CERTIFICATE-----\n").next().expect("a leaf");
            format!("{leaf}{}", Company::new().certificate.pem())
        };
        for (files, says) in [
            (issue(&name, "2025-10-01T00:00:00Z", "2026-01-14T00:00:00Z"), "ended at"),
            (issue(&name, "2026-02-01T00:00:00Z", "2026-04-01T00:00:00Z"), "is not valid before"),
            (issue(&["other.example.com"], "2026-01-01T00:00:00Z", "2026-04-01T00:00:00Z"), "does not hold the name"),
            (issue(&[], "2026-01-01T00:00:00Z", "2026-04-01T00:00:00Z"), "name"),
            (company.issue(&for_clients), "does not hold together"),
            ((chain.clone(), good().1), "does not belong"),
            ((backwards, key.clone()), "does not hold"),
            ((foreign_chain, key.clone()), "does not hold together"),
            ((chain.clone(), String::new()), "no private key"),
            ((String::new(), key.clone()), "0 certificates"),
            ((chain.replace("CERTIFICATE", "CERTIFICAT"), key.clone()), "0 certificates"),
            ((chain.repeat(6), key), "12 certificates"),
        ] {
            let error = checked(files, &name).err().unwrap_or_else(|| panic!("accepted where it {says}"));
            assert!(error.contains(says), "{says}: {error}");
        }
    }

    /// Certificates with an RSA key of 1024 bits, one of 2048, and one that is signed with SHA-1 (made by `openssl`). What
    /// is strong enough is refused for the key of another.
    #[test]
    fn attack_ci13_a_short_key_and_a_broken_digest_are_refused() {
        for (name, says) in [
            ("rsa-1024", "RSA with 1024 bits"),
            ("sha1", "a broken digest"),
            ("rsa-2048", "does not belong to the first certificate"),
        ] {
            let path = format!("{}/tests/it/certificates/{name}.pem", env!("CARGO_MANIFEST_DIR"));
            let chain = std::fs::read(path).expect("there");
            let bytes = Bytes { chain, key: Zeroizing::new(good().1.into_bytes()) };
            let now = Instant::parse("2027-01-01T00:00:00Z").expect("valid");
            let error = check(&bytes, &[], now).expect_err("refused");
            assert!(error.contains(says), "{says}: {error}");
        }
    }

    #[test]
    fn attack_ci13_a_key_that_others_can_read_is_refused_with_the_command_that_closes_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = CertificateFiles { chain: "chain.pem".into(), key: "server.key".into() }.within(folder.path());
        let (chain, key) = good();
        std::fs::write(&files.chain, chain).expect("written");
        std::fs::write(&files.key, key).expect("written");
        for mode in [0o640, 0o604, 0o666] {
            std::fs::set_permissions(&files.key, std::fs::Permissions::from_mode(mode)).expect("own file");
            let error = files.read().err().expect("refused");
            assert!(error.contains(&format!("chmod 600 {}", files.key.display())), "{error}");
        }
        std::fs::set_permissions(&files.key, std::fs::Permissions::from_mode(0o600)).expect("own file");
        files.read().expect("closed");
        std::fs::remove_file(&files.chain).expect("own file");
        assert!(files.read().err().expect("refused").contains("chain.pem"));
    }
}
