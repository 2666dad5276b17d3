//! The intake as its operator uses it: the server is killed, and the form still pages.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::{Place, Serving};

fn wait(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn attack_ch64_the_server_is_killed_and_the_form_still_pages() {
    let place = Place::new();
    place.ok(&["server", "init", "--data", "data", "--environment", "dev"]);
    let page = place.path("page");
    let script = format!("#!/bin/sh\ncat >> '{}'\n", place.path("pages").display());
    std::fs::write(&page, script).expect("written");
    std::fs::set_permissions(&page, std::fs::Permissions::from_mode(0o755)).expect("set");
    let page = page.to_str().expect("text");
    let init = ["intake", "init", "--data", "intake", "--server", "data", "--listen", "127.0.0.1:0"];
    let made = place.ok(&[&init[..], &["--page-command", page]].concat());
    assert_eq!(made["on_call"], 1);
    assert_eq!(place.refused(&[&init[..], &["--page-command", page]].concat()).1, "server/already-there");
    assert_eq!(place.ok(&["intake", "page", "--data", "intake"])["pages"][0]["contact"], page);
    assert_eq!(std::fs::read_to_string(place.path("pages")).expect("written"), "test\nordinary\n0\n");

    let intake = Serving::start(&place, &["intake", "start", "--data", "intake"]);
    let server = Serving::server(&place);
    drop(server); // Killed, without a word.
    let code = place.ok(&["intake", "code", "--data", "intake", "--tenant", "acme"]);
    let form = format!(
        "title=all+is+open&description=look&contact=&urgent=yes&code={}",
        code["code"].as_str().expect("a code")
    );
    let pem = std::fs::read(place.path("intake/tls/ca.pem")).expect("readable");
    let root = Certificate::from_pem(&pem).expect("a certificate");
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&[root]))
        .unversioned_rustls_crypto_provider(Arc::new(creta_server::tls_provider()))
        .build();
    let agent = ureq::Agent::config_builder().tls_config(tls).build().new_agent();
    let url = format!("{}/trust/report", intake.url());
    let request = ureq::http::Request::post(url).header("content-type", "application/x-www-form-urlencoded");
    let mut answer = agent.run(request.body(form).expect("a request")).expect("an answer");
    assert_eq!(answer.status(), 201);
    let answer = answer.body_mut().read_to_string().expect("text");
    let pages = || std::fs::read_to_string(place.path("pages")).unwrap_or_default();
    wait("it pages", || pages().contains("tenant\n1\n"));
    let reference = pages().lines().nth(3).expect("a reference").to_owned();
    assert!(answer.contains(&reference) && !pages().contains("open"), "{answer}");

    let _server = Serving::server(&place);
    let cases = || place.ok(&["trust", "reports", "list", "--profile", "admin"])["reports"].clone();
    wait("the case is made", || cases().as_array().is_some_and(|cases| cases.len() == 1));
    let case: &Value = &cases()[0]["report"];
    assert_eq!((case["reference"].as_str(), case["tenant"].as_str()), (Some(&*reference), Some("acme")));
    let shown = place.text(&["trust", "reports", "list", "--profile", "admin"]);
    assert!(shown.contains("urgent") && shown.contains("acme") && shown.contains("all is open"), "{shown}");
}
