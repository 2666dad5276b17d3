//! Promises from the command line: a server, no project, no tenant of its own.

use serde_json::Value;

use super::Place;

#[test]
fn a_security_lead_and_an_auditor_get_all_they_need_from_the_command_line() {
    let mut place = Place::new();
    let made = place.serve();
    let key = made["audit_verifier_key"].as_str().expect("a key");
    let admin = ["--profile", "admin"];
    let with = |arguments: &[&'static str]| [arguments, &admin].concat();

    let before = place.text(&with(&["trust", "inventory"]));
    assert!(before.contains("creta trust inventory --declare"), "{before}");
    place.ok(&with(&["trust", "inventory", "--declare", "--owner", "platform", "--region", "eu"]));
    let after = place.text(&with(&["trust", "inventory"]));
    assert!(after.contains("what runs is what was declared") && after.contains("platform"), "{after}");

    let ran = place.ok(&with(&["trust", "run", "isolation", "route-permits", "clock"]));
    for run in ran["ran"].as_array().expect("a list") {
        assert_eq!(run["outcome"], "pass", "{run}");
    }
    assert_eq!(place.refused(&with(&["trust", "run", "nonsense"])), (1, "not-found/check".into()));
    let shown = place.text(&with(&["trust", "status"]));
    assert!(shown.contains("met 2 of 91") && shown.contains("CH-20") && shown.contains("/trust/"), "{shown}");
    // Nothing looks at anything wrong here, so a pipeline goes on.
    place.ok(&with(&["trust", "status", "--strict"]));

    let pack =
        ["trust", "pack", "--control", "CH-20", "--from", "2020-01-01T00:00:00Z", "--to", "2100-01-01T00:00:00Z"];
    place.ok(&with(&[&pack[..], &["--seed", "theirs", "--out", "pack.zip"]].concat()));
    let bytes = std::fs::read(place.path("pack.zip")).expect("written");
    creta_proof::pack::verify(&bytes, key).expect("it verifies");
    assert_eq!(
        place.refused(&with(&[&pack[..], &["--seed", "theirs", "--out", "pack.zip"]].concat())),
        (2, "file/not-written".into()),
        "nothing is written over"
    );
    place.ok(&with(&["trust", "oscal", "--out", "oscal"]));
    assert!(place.path("oscal/assessment-results.json").exists() && place.path("oscal/evidence").is_dir());
    assert_eq!(place.text(&with(&["trust", "reports", "list"])), "no reports of security issues\n");

    let events = place.text(&with(&["audit", "show", "--limit", "1000", "--ocsf"]));
    let events: Vec<Value> = events.lines().map(|line| serde_json::from_str(line).expect("an event")).collect();
    assert!(events.len() > 20, "{}", events.len());
    for event in &events {
        creta_compliance::ocsf::validate(event).unwrap_or_else(|violations| panic!("{violations:?}: {event}"));
    }
}

#[test]
fn outside_artefacts_exceptions_and_accesses_from_the_command_line() {
    let mut place = Place::new();
    let made = place.serve();
    let admin = ["--profile", "admin"];
    let with = |arguments: &[&'static str]| [arguments, &admin].concat();
    std::fs::write(place.path("report.pdf"), "findings: none").expect("written");
    use creta_platform::Clock as _;
    let now = creta_platform::SystemClock::new().now();
    let (issued, expires) = (now.minus(creta_model::Span::days(5)), now.plus(creta_model::Span::days(300)));
    let days =
        [issued.minus(creta_model::Span::days(9)), issued, issued, expires].map(|at| at.to_string()[..10].to_owned());
    let add = ["trust", "artefact", "add", "--commitment", "CI-05", "report.pdf", "--scope-from", &days[0]];
    let add = [&add[..], &["--scope-to", &days[1], "--issued", &days[2], "--expires", &days[3]], &admin].concat();
    let own = [&add[..], &["--issuer", "An Organisation without a Name, Ltd"]].concat();
    assert_eq!(place.refused(&own), (1, "artefact/own-issuer".into()));
    let done = place.ok(&[&add[..], &["--issuer", "Nordwind Security"]].concat());
    let shown = place.text(&with(&["trust", "artefact", "list"]));
    assert!(shown.contains("Nordwind Security") && shown.contains("counts"), "{shown}");
    let id = done["id"].as_str().expect("a name");
    place.ok(&["trust", "artefact", "show", id, "--out", "copy.pdf", "--profile", "admin"]);
    assert_eq!(std::fs::read_to_string(place.path("copy.pdf")).expect("written"), "findings: none");
    assert_eq!(place.text(&with(&["trust", "exception", "list"])), "no exceptions\n");
    let long = ["trust", "exception", "propose", "--commitment", "CI-12", "--until", "2099-01-01", "--reason"];
    let long = [&long[..], &["the archive is sealed when its new disk is there"], &admin].concat();
    assert_eq!(place.refused(&long).1, "exception/span");

    place.ok(&["deploy", "project"]);
    let accesses = place.ok(&["audit", "access", "--prove", "proofs"]);
    let deploy = accesses["accesses"].as_array().expect("a list").iter().find(|access| access["action"] == "deploy");
    let index = deploy.expect("it is one")["index"].as_u64().expect("an index");
    let key = made["audit_verifier_key"].as_str().expect("key");
    let file = format!("proofs/{index}.tlog-proof");
    assert_eq!(place.ok(&["audit", "check", &file, "--key", key])["entry"]["action"], "deploy");
    let shown = place.text(&["audit", "access"]);
    assert!(shown.contains("deploy") && shown.contains("STAFF") && shown.contains("of your own"), "{shown}");
}

#[test]
fn the_security_contact_is_signed_with_gpg_and_published_with_its_key() {
    let mut place = Place::new();
    place.serve_with(&["--security-contact", "mailto:security@example.org"]);
    let home = place.path("gnupg");
    std::fs::create_dir(&home).expect("made");
    std::fs::set_permissions(&home, std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("set");
    let gpg = |arguments: &[&str]| {
        let mut command = std::process::Command::new("gpg");
        command.env("GNUPGHOME", &home).args(["--batch", "--yes"]).args(arguments).output().expect("gpg is installed")
    };
    let made = gpg(&["--passphrase", "", "--quick-gen-key", "security@example.org", "ed25519", "sign", "never"]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

    let arguments = ["trust", "security-txt", "sign", "--key", "security@example.org", "--profile", "admin"];
    let done = place.command(&arguments).env("GNUPGHOME", &home).output().expect("it starts");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let ran = place.ok(&["trust", "run", "security-txt", "--profile", "admin"]);
    assert_eq!(ran["ran"][0]["outcome"], "pass", "{ran}");

    // What is served is what was signed, and anybody can check it with the key beside it.
    let url = place.ok(&["whoami", "--profile", "admin"])["url"].as_str().expect("an address").to_owned();
    let fetch = |path: &str| {
        let pem = std::fs::read(place.path("data/tls/ca.pem")).expect("written");
        let root = ureq::tls::Certificate::from_pem(&pem).expect("a certificate");
        let tls = ureq::tls::TlsConfig::builder()
            .root_certs(ureq::tls::RootCerts::new_with_certs(&[root]))
            .unversioned_rustls_crypto_provider(std::sync::Arc::new(creta_server::tls_provider()))
            .build();
        let agent = ureq::Agent::config_builder().tls_config(tls).build().new_agent();
        agent.get(format!("{url}{path}")).call().expect("served").body_mut().read_to_vec().expect("read")
    };
    std::fs::write(place.path("served.txt"), fetch("/.well-known/security.txt")).expect("written");
    std::fs::write(place.path("key.asc"), fetch("/.well-known/security-key.asc")).expect("written");
    let other = place.path("other");
    std::fs::create_dir(&other).expect("made");
    std::fs::set_permissions(&other, std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("set");
    let stranger = |arguments: &[&str]| {
        let mut command = std::process::Command::new("gpg");
        command.env("GNUPGHOME", &other).current_dir(place.path("")).args(["--batch"]).args(arguments);
        command.output().expect("gpg is installed").status.success()
    };
    assert!(stranger(&["--import", "key.asc"]) && stranger(&["--verify", "served.txt"]));
    let served = std::fs::read_to_string(place.path("served.txt")).expect("written");
    std::fs::write(place.path("edited.txt"), served.replace("security@", "attacker@")).expect("written");
    assert!(!stranger(&["--verify", "edited.txt"]), "an edited contact is nobody's");
    let arguments = ["trust", "security-txt", "sign", "--key", "nobody@example.org", "--profile", "admin", "--json"];
    let refused = place.command(&arguments).env("GNUPGHOME", &home).output().expect("it starts");
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stdout).contains("gpg/failed"));
    for home in [&home, &other] {
        let _ = std::process::Command::new("gpgconf").env("GNUPGHOME", home).args(["--kill", "all"]).status();
    }
}
