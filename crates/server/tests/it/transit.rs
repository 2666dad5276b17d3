//! Who gets in by certificate or token, what the listener shows, and environments that share what they must not.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use creta_model::{Environment, EnvironmentClass};
use creta_server::{
    ComponentReport, ComponentRole, InitOptions, ServeOptions, add_component, fingerprint, init, revoke_component,
    start,
};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use ureq::Agent;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

use crate::support::{Server, bundle};

/// A client that trusts `ca` and shows a certificate.
pub(crate) fn showing(ca: &Path, certificate: &str, key: &str) -> Agent {
    let pem = std::fs::read(ca).expect("written");
    let client = ClientCert::new_with_certs(
        &[Certificate::from_pem(certificate.as_bytes()).expect("a certificate")],
        PrivateKey::from_pem(key.as_bytes()).expect("a key"),
    );
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&[Certificate::from_pem(&pem).expect("a certificate")]))
        .unversioned_rustls_crypto_provider(Arc::new(creta_server::tls_provider()))
        .client_cert(Some(client))
        .build();
    Agent::config_builder().tls_config(tls).https_only(true).http_status_as_error(false).build().new_agent()
}

pub(crate) fn component(server: &mut Server, name: &str, out: &Path) -> ComponentReport {
    server.stop();
    let made = add_component(&server.data(), name, ComponentRole::Worker, out).expect("made");
    server.start();
    made
}

pub(crate) fn of(report: &ComponentReport) -> (String, String) {
    let read = |path: &PathBuf| std::fs::read_to_string(path).expect("written");
    (read(&report.certificate), read(&report.key))
}

/// Whether the server answers a client with this certificate.
fn lets_in(server: &Server, (certificate, key): &(String, String)) -> bool {
    let agent = showing(&server.report.ca, certificate, key);
    match agent.get(format!("{}/health", server.running().url())).call() {
        Ok(answer) => {
            assert_eq!(answer.status(), 200);
            true
        }
        Err(_) => false,
    }
}

/// Entries of the log about what was turned away: what, why, and for which commitment.
pub(crate) fn turned_away(server: &Server) -> Vec<(String, String)> {
    server.running().keep_log().expect("kept");
    entries(server)
        .into_iter()
        .filter(|entry| entry["action"] == "peer.refused")
        .map(|entry| {
            assert_eq!(entry["commitment"], "CH-25");
            let text = |name: &str| entry["details"][name].as_str().expect("a detail").to_owned();
            (text("what"), text("reason"))
        })
        .collect()
}

fn entries(server: &Server) -> Vec<Value> {
    let answer = server.get("/v1/audit/entries?limit=1000", &server.admin_token()).ok();
    answer["entries"].as_array().expect("a list").iter().map(|row| row.get("entry").unwrap_or(row).clone()).collect()
}

pub(crate) fn environment(name: &str) -> Environment {
    Environment::parse(name).expect("valid")
}

/// Another environment that really runs.
pub(crate) fn staging() -> Server {
    Server::of(&environment("staging"))
}

#[test]
fn a_component_is_let_in_by_its_certificate_until_it_is_revoked() {
    let (mut server, out) = (Server::new(), tempfile::tempdir().expect("a folder"));
    let made = component(&mut server, "worker-1", out.path());
    let id = server.running().environment_id().to_owned();
    assert_eq!(made.uri, format!("creta://{id}/prod/component/worker-1"));
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&made.key).expect("there").permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert!(lets_in(&server, &of(&made)));
    assert_eq!(turned_away(&server), []);
    let again = add_component(&server.data(), "worker-1", ComponentRole::Worker, out.path());
    assert!(again.is_err(), "a server runs on the folder");

    server.stop();
    let overwrite = add_component(&server.data(), "worker-1", ComponentRole::Worker, out.path());
    assert!(overwrite.is_err(), "files that are there stay");
    revoke_component(&server.data(), "worker-1").expect("revoked");
    server.start();
    assert!(!lets_in(&server, &of(&made)));
    assert_eq!(turned_away(&server), [("certificate".to_owned(), "revoked".to_owned())]);
    let actions: Vec<String> =
        entries(&server).iter().filter_map(|entry| entry["action"].as_str().map(str::to_owned)).collect();
    assert!(actions.contains(&"component.added".to_owned()) && actions.contains(&"component.revoked".to_owned()));
}

#[test]
fn attack_ch25_a_certificate_of_staging_is_refused_by_production_and_recorded() {
    let (prod, mut staging) = (Server::new(), staging());
    let out = tempfile::tempdir().expect("a folder");
    let made = component(&mut staging, "worker-1", out.path());
    assert!(lets_in(&staging, &of(&made)), "at home it is good");
    assert!(!lets_in(&prod, &of(&made)));
    assert_eq!(turned_away(&prod), [("certificate".to_owned(), "other-environment".to_owned())]);
    assert_eq!(prod.send("GET", "/health", None, None).status, 200, "others are served");
}

#[test]
fn attack_ch25_an_authority_of_the_same_name_makes_no_certificate_for_production() {
    let prod = Server::new();
    let id = prod.running().environment_id();
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new([]).expect("no names");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("Creta authority of {id}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let issuer = Issuer::new(params, key);
    let mut leaf = CertificateParams::new([]).expect("no names");
    let uri = format!("creta://{id}/prod/component/worker-1");
    leaf.subject_alt_names = vec![rcgen::SanType::URI(uri.try_into().expect("ASCII"))];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().expect("a key");
    let certificate = leaf.signed_by(&key, &issuer).expect("signed");
    assert!(!lets_in(&prod, &(certificate.pem(), key.serialize_pem())));
    assert_eq!(turned_away(&prod), [("certificate".to_owned(), "other-authority".to_owned())]);
}

#[test]
fn attack_ch25_a_token_of_staging_is_refused_by_production_and_recorded() {
    let (prod, staging) = (Server::new(), staging());
    let token = staging.admin_token();
    assert_eq!(staging.get("/v1/tenants", &token).status, 200, "at home it is good");
    assert_eq!(prod.get("/v1/tenants", &token).problem(401), "auth/bad-token");
    assert_eq!(prod.get("/v1/tenants", "not.a.token").problem(401), "auth/bad-token");
    assert_eq!(turned_away(&prod), [("token".to_owned(), "other-environment".to_owned())], "junk is not recorded");
}

#[test]
fn attack_ch25_a_worker_of_staging_with_productions_address_reaches_nothing() {
    let (prod, mut staging) = (Server::new(), staging());
    let out = tempfile::tempdir().expect("a folder");
    let (certificate, key) = of(&component(&mut staging, "worker-1", out.path()));
    // It has the address, its own token, and even production's authority.
    let token = format!("Bearer {}", staging.admin_token());
    let agent = showing(&prod.report.ca, &certificate, &key);
    for path in ["/health", "/v1/tenants", "/trust/"] {
        let asked = agent.get(format!("{}{path}", prod.running().url())).header("authorization", &token).call();
        assert!(asked.is_err(), "{path}");
    }
    let seen = turned_away(&prod);
    assert_eq!(seen, vec![("certificate".to_owned(), "other-environment".to_owned()); 3]);
    // With staging's authority it does not even talk to production.
    let agent = showing(&staging.report.ca, &certificate, &key);
    assert!(agent.get(format!("{}/health", prod.running().url())).call().is_err());
}

fn write_private(path: &Path, text: &str) {
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path).expect("opened");
    std::io::Write::write_all(&mut file, text.as_bytes()).expect("written");
}

/// A self-signed certificate for a name, and its key.
fn certificate_for(name: &str) -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new([name.to_owned()]).expect("a name");
    (params.self_signed(&key).expect("signed").pem(), key.serialize_pem())
}

/// The certificate that a client is shown that asks for a name.
fn shown(server: &Server, name: &'static str) -> Vec<u8> {
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(creta_server::tls_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anything))
        .with_no_client_auth();
    let name = rustls::pki_types::ServerName::try_from(name).expect("a name");
    let mut connection = rustls::ClientConnection::new(Arc::new(config), name).expect("made");
    let mut socket = std::net::TcpStream::connect(server.running().address()).expect("connected");
    while connection.is_handshaking() {
        connection.complete_io(&mut socket).expect("a handshake");
    }
    connection.peer_certificates().expect("shown")[0].to_vec()
}

/// Looks, and believes everything.
#[derive(Debug)]
pub(crate) struct Anything;

impl rustls::client::danger::ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        creta_server::tls_provider().signature_verification_algorithms.supported_schemes()
    }
}

#[test]
fn attack_ci13_a_certificate_from_files_is_replaced_while_the_server_runs_and_a_broken_one_is_not() {
    let mut server = Server::new();
    server.stop();
    let (chain, key) = (server.data().join("tls/chain.pem"), server.data().join("tls/server.key"));
    let first = certificate_for("creta.example.com");
    std::fs::write(&chain, &first.0).expect("written");
    write_private(&key, &first.1);
    let config = server.data().join("config.toml");
    let text = std::fs::read_to_string(&config).expect("there");
    let text = format!("{text}\n[certificate]\nchain = \"tls/chain.pem\"\nkey = \"tls/server.key\"\n");
    std::fs::write(&config, &text).expect("written");
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o644)).expect("own file");
    let Err(error) = start(&ServeOptions { folder: server.data(), listen: None }) else { panic!("started") };
    assert!(error.to_string().contains("chmod 600"), "{error}");
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("own file");

    server.start();
    let pem = |text: &str| rustls::pki_types::pem::PemObject::from_pem_slice(text.as_bytes()).expect("PEM");
    let der = |text: &str| -> rustls::pki_types::CertificateDer<'static> { pem(text) };
    assert_eq!(shown(&server, "creta.example.com"), der(&first.0).to_vec());
    assert_ne!(shown(&server, "localhost"), der(&first.0).to_vec(), "clients here trust the local authority");
    assert_eq!(server.send("GET", "/health", None, None).status, 200);

    let second = certificate_for("creta.example.com");
    std::fs::write(&chain, &second.0).expect("written");
    server.running().keep_log().expect("kept");
    assert_eq!(shown(&server, "creta.example.com"), der(&first.0).to_vec(), "half a replacement is none");
    let ran = server.post("/v1/trust/run", &server.admin_token(), &json!({"checks": ["tls-listeners"]})).ok();
    assert!(ran.to_string().contains("tls/certificate-broken"), "{ran}");
    assert!(server.get("/metrics", &server.admin_token()).text().contains("creta_certificate_broken 1"));
    write_private(&key, &second.1);
    server.running().keep_log().expect("kept");
    assert_eq!(shown(&server, "creta.example.com"), der(&second.0).to_vec());
    let ran = server.post("/v1/trust/run", &server.admin_token(), &json!({"checks": ["tls-listeners"]})).ok();
    assert_eq!(ran["ran"][0]["outcome"], "pass", "{ran}");
    let entries = entries(&server);
    for action in ["certificate.broken", "certificate.replaced"] {
        let entry = entries.iter().find(|entry| entry["action"] == action).expect("recorded");
        assert_eq!(entry["commitment"], "CI-13");
    }
}

fn options() -> InitOptions {
    InitOptions { listen: "127.0.0.1:0".parse().expect("valid"), ..InitOptions::default() }
}

fn code(folder: &Path) -> String {
    match start(&ServeOptions { folder: folder.to_owned(), listen: None }) {
        Ok(server) => {
            server.stop().expect("stopped");
            "started".to_owned()
        }
        Err(error) => error.to_problem().code,
    }
}

#[test]
fn attack_ch27_an_environment_whose_root_key_id_or_account_is_anothers_does_not_start() {
    let place = tempfile::tempdir().expect("a folder");
    let known = place.path().join("known.json");
    let data = place.path().join("data");
    let account = Some("123456789012".to_owned());
    let staging = InitOptions { account, class: EnvironmentClass::Staging, ..options() };
    init(&data, &environment("staging"), &staging).expect("made");
    let own = fingerprint(&data).expect("there");
    let config = data.join("config.toml");
    let text = std::fs::read_to_string(&config).expect("there");
    let text = text.replacen("listen =", "known_environments = [\"../known.json\"]\nlisten =", 1);
    std::fs::write(&config, &text).expect("written");
    let tell = |other: &creta_server::EnvironmentFingerprint| {
        let lines = [&own, other].map(|entry| serde_json::to_string(entry).expect("JSON"));
        std::fs::write(&known, lines.join("\n")).expect("written");
    };
    let prod = creta_server::EnvironmentFingerprint {
        environment: environment("prod"),
        class: EnvironmentClass::Production,
        environment_id: "prod-00".to_owned(),
        root_key: "00".repeat(32),
        account: Some("210987654321".to_owned()),
        ..own.clone()
    };
    tell(&prod);
    assert_eq!(code(&data), "started", "nothing is shared");
    tell(&creta_server::EnvironmentFingerprint { root_key: own.root_key.clone(), ..prod.clone() });
    assert_eq!(code(&data), "environment/root-key-reused");
    tell(&creta_server::EnvironmentFingerprint { account: own.account.clone(), ..prod.clone() });
    assert_eq!(code(&data), "environment/account-reused");
    tell(&creta_server::EnvironmentFingerprint { environment_id: own.environment_id.clone(), ..prod.clone() });
    assert_eq!(code(&data), "environment/id-reused");
    std::fs::write(&known, "{").expect("written");
    assert_eq!(code(&data), "environment/known", "a list that cannot be read is none");
    tell(&prod);
    for (from, to) in [("123456789012", "210987654321"), (own.environment_id.as_str(), "staging-00")] {
        std::fs::write(&config, text.replacen(from, to, 1)).expect("written");
        let refused = code(&data);
        assert!(["environment/other-binding", "environment/account-reused"].contains(&refused.as_str()), "{refused}");
    }
    std::fs::write(&config, &text).expect("written");
    let server = start(&ServeOptions { folder: data.clone(), listen: None }).expect("starts");
    server.stop().expect("stopped");
}

#[test]
fn attack_ch27_a_second_environment_is_not_made_with_what_the_first_has() {
    let place = tempfile::tempdir().expect("a folder");
    let (prod, staging) = (place.path().join("prod"), place.path().join("staging"));
    let account = Some("123456789012".to_owned());
    init(&prod, &environment("prod"), &InitOptions { account: account.clone(), ..options() }).expect("made");
    let known = place.path().join("prod.json");
    std::fs::write(&known, serde_json::to_vec(&fingerprint(&prod).expect("there")).expect("JSON")).expect("written");
    let with = |root_key: Option<PathBuf>, account| InitOptions {
        root_key,
        account,
        known_environments: vec![known.clone()],
        ..options()
    };
    let root_key = Some(prod.join("root.key"));
    let Err(error) = init(&staging, &environment("staging"), &with(root_key, None)) else { panic!("made") };
    assert!(error.to_problem().to_string().contains("root.key"), "{error}");
    let Err(error) = init(&place.path().join("two"), &environment("staging"), &with(None, account)) else {
        panic!("made")
    };
    assert_eq!(error.to_problem().code, "environment/account-reused");
    assert!(!place.path().join("two/config.toml").exists());
    let made = init(&place.path().join("three"), &environment("staging"), &with(None, None)).expect("made");
    assert_eq!(code(&made.folder), "started");
}

#[test]
fn attack_ch27_productions_root_key_in_stagings_folder_is_refused() {
    let place = tempfile::tempdir().expect("a folder");
    let (prod, staging) = (place.path().join("prod"), place.path().join("staging"));
    init(&prod, &environment("prod"), &options()).expect("made");
    init(&staging, &environment("staging"), &options()).expect("made");
    let (own, foreign) = (staging.join("root.key"), std::fs::read_to_string(prod.join("root.key")).expect("there"));
    std::fs::write(&own, &foreign).expect("own file");
    assert_eq!(code(&staging), "server/root-key");
    // Renamed by hand: its id no longer belongs to its key and environment.
    std::fs::write(&own, foreign.replacen("\"prod\"", "\"staging\"", 1)).expect("own file");
    assert_eq!(code(&staging), "server/root-key");
}

#[test]
fn attack_ch22_a_secret_in_a_definition_is_refused_at_check_and_at_deploy_and_recorded() {
    let server = Server::new();
    server.tenant("acme");
    let developer = server.account("acme", "etl", "developer");
    let secret = developer.secret.clone();
    for (place, value) in [
        ("doc", json!(format!("ask with {secret}"))),
        ("tags", json!([secret])),
        ("default", json!("-----BEGIN PRIVATE KEY-----")),
        ("default", json!("AKIAIOSFODNN7EXAMPLE")),
    ] {
        let mut bad = bundle();
        bad["graph"]["entities"][0]["features"][2][place] = value;
        for path in ["/v1/check", "/v1/deploy"] {
            let refused = server.post(path, &developer.token, &bad);
            assert_eq!(refused.problem(422), "definition/secret", "{place}");
            assert!(!refused.text().contains(&secret) && refused.text().contains("city"), "{}", refused.text());
        }
    }
    let refusals = entries_of_tenant(&server, &developer.token, "deploy.refused");
    assert_eq!(refusals.len(), 4);
    assert!(refusals.iter().all(|entry| entry["commitment"] == "CH-22"));
    server.post("/v1/deploy", &developer.token, &bundle()).ok();
    let ran = server.post("/v1/trust/run", &server.admin_token(), &json!({"checks": ["metadata-values"]})).ok();
    assert_eq!(ran["ran"][0]["outcome"], "pass", "{ran}");
}

fn entries_of_tenant(server: &Server, token: &str, action: &str) -> Vec<Value> {
    let answer = server.get("/v1/audit/entries?limit=1000", token).ok();
    let entries = answer["entries"].as_array().expect("a list").iter();
    entries.map(|row| row.get("entry").unwrap_or(row).clone()).filter(|entry| entry["action"] == action).collect()
}

#[test]
fn attack_ch23_a_link_and_a_shared_file_among_tenants_stores_are_found() {
    let server = Server::new();
    server.shop("acme");
    server.shop("other");
    let run = || {
        let ran = server.post("/v1/trust/run", &server.admin_token(), &json!({"checks": ["tenant-stores"]})).ok();
        ran["ran"][0].clone()
    };
    assert_eq!(run()["outcome"], "pass");
    let tenants = server.data().join("tenants");
    std::os::unix::fs::symlink(tenants.join("acme"), tenants.join("third")).expect("linked");
    let found = run();
    let codes: Vec<&str> =
        found["findings"].as_array().expect("a list").iter().filter_map(|row| row["code"].as_str()).collect();
    assert_eq!((found["outcome"].as_str(), codes), (Some("fail"), vec!["stores/link", "stores/nobodys"]), "{found}");
    std::fs::remove_file(tenants.join("third")).expect("own link");
    std::fs::hard_link(tenants.join("acme/metadata.sqlite"), tenants.join("other/extra")).expect("linked");
    let found = run();
    assert_eq!(found["findings"][0]["code"], "stores/shared", "{found}");
    assert!(!found.to_string().contains("acme"), "no tenant is named");
}

#[test]
fn attack_ch32_a_witness_that_offers_only_weak_suites_fails_by_name() {
    let mut server = Server::new();
    server.stop();
    let weak = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("https://localhost:{}", weak.local_addr().expect("bound").port());
    std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        while let Ok((mut stream, _)) = weak.accept() {
            let _ = stream.read(&mut [0; 4_096]);
            let _ = stream.write_all(&[21, 3, 3, 0, 2, 2, 40]); // handshake failure
        }
    });
    let key = "witness.example.com/w1+833da816+BAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
    let authority = server.report.ca.clone();
    creta_server::add_witness(&server.data(), &url, key, &authority).expect("added");
    server.start();
    let ran = server.post("/v1/trust/run", &server.admin_token(), &json!({"checks": ["tls-peers"]})).ok();
    let found = &ran["ran"][0];
    assert_eq!(found["outcome"], "fail", "{ran}");
    assert_eq!(found["findings"][0]["code"], "tls/peer-weak");
    assert_eq!(found["findings"][0]["subject"], "peer:witness-witness.example.com/w1");
    let plain = creta_server::add_witness(&server.data(), "http://localhost:1", key, &authority);
    assert!(plain.is_err(), "nothing is asked in the clear");
}

#[test]
fn attack_ch25_the_probe_sees_that_every_foreign_credential_is_refused() {
    let server = Server::new();
    let ran = server.post("/v1/trust/run", &server.admin_token(), &json!({"checks": ["foreign-peers"]})).ok();
    assert_eq!(ran["ran"][0]["outcome"], "pass", "{ran}");
    assert_eq!(ran["ran"][0]["subjects"], 5);
    let reasons: Vec<String> = turned_away(&server).into_iter().map(|(what, why)| format!("{what} {why}")).collect();
    for expected in [
        "certificate other-authority",
        "certificate other-environment",
        "certificate revoked",
        "token other-environment",
    ] {
        assert!(reasons.contains(&expected.to_owned()), "{expected}: {reasons:?}");
    }
}
