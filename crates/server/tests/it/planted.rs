//! Planted values in the hands of somebody who means harm.

use creta_model::{EnvironmentClass, Span};
use serde_json::json;

use crate::devices::{Laptop, log, report_searching, standard};
use crate::people::server_by;
use crate::provider::Provider;

/// Whoever copied data with planted values, and may rotate secrets, has the value replaced before their computer is searched.
#[test]
fn attack_ch14_a_thief_who_has_the_planted_value_replaced_is_found_all_the_same() {
    let provider = Provider::start();
    let folder = tempfile::tempdir().expect("a folder");
    let pages = folder.path().join("pages");
    let tail = format!(
        "[[on_call]]\ncommand = [\"/bin/sh\", \"-c\", \"cat >> {}\"]\n{}[devices.standard.search]\nfolders = [\"~/Downloads\"]\n",
        pages.to_str().expect("a plain path"),
        standard()
    );
    let (server, clock) = server_by(&provider, EnvironmentClass::Development, &tail);
    let etl = server.shop("acme");
    let canary = || server.get("/v1/canary", &server.token(&etl.client_id, &etl.secret)).ok()["canary"].clone();
    let copied = format!("id,mail\n7,{}\n", canary().as_str().expect("a value"));
    let laptop = Laptop::ready(&server, &provider, "ana", 7);
    server.post("/v1/canary/rotate", &server.admin_token(), &json!({"tenant": "acme"})).ok();
    server.post("/v1/canary/rotate", &server.admin_token(), &json!({"tenant": "acme"})).ok();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !std::fs::read_to_string(&pages).is_ok_and(|pages| pages.contains("canary-rotated-")) {
        assert!(std::time::Instant::now() < deadline, "nobody was paged");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    report_searching(&laptop, 2, &copied).0.ok();
    let found = |log: &str| log.matches("device.values-found").count();
    assert_eq!(found(&log(&server)), 1);
    clock.advance(Span::seconds(1));
    let ran = server.post("/v1/trust/run", &server.admin_token(), &json!({"checks": ["workstation-values"]})).ok();
    assert!(ran.to_string().contains("workstation/earlier-value"), "{ran}");
    // After ninety days the old ones are searched for no more.
    clock.advance(Span::days(90));
    let given = report_searching(&laptop, 3, "").1;
    assert!(given.contains("canaries") && !given.contains("earlier"), "{given}");
}

#[test]
fn attack_ch14_a_planted_value_that_is_sent_to_somebody_locks_nobody_out_and_is_replaced() {
    let provider = Provider::start();
    let tail = format!("{}[devices.standard.search]\nfolders = [\"~/Downloads\"]\n", standard());
    let (server, clock) = server_by(&provider, EnvironmentClass::Development, &tail);
    let etl = server.shop("acme");
    let canary = || {
        server.get("/v1/canary", &server.token(&etl.client_id, &etl.secret)).ok()["canary"]
            .as_str()
            .expect("a value")
            .to_owned()
    };
    let planted = canary();
    let check = || {
        clock.advance(Span::seconds(1)); // The same seen twice at one moment is no evidence.
        let ran = server.post("/v1/trust/run", &server.admin_token(), &json!({"checks": ["workstation-values"]})).ok();
        crate::trust::outcome_of(&ran["ran"], "workstation-values")["outcome"].clone()
    };
    let laptop = Laptop::ready(&server, &provider, "ana", 7);
    let mail = format!("Dear Ana, look at this: {planted}");
    // Somebody who knows the value sends it to Ana. That is told to who has to know, and her work goes on.
    report_searching(&laptop, 2, &mail).0.ok();
    assert_eq!((laptop.worth(), check()), (json!("trusted"), json!("fail")));
    assert!(log(&server).contains("device.values-found"));
    // She removes it within the day; sent again and again, it does not add up.
    let mut sequence = 3;
    for _ in 0..3 {
        clock.advance(Span::hours(20));
        for text in ["", &mail] {
            assert_eq!(report_searching(&laptop, sequence, text).0.ok()["trust"], "trusted");
            sequence += 1;
        }
    }
    // What stays for longer than a day ends it.
    clock.advance(Span::hours(23));
    assert_eq!(report_searching(&laptop, sequence, &mail).0.ok()["trust"], "trusted");
    clock.advance(Span::hours(1));
    let told = report_searching(&laptop, sequence + 1, &mail).0.ok();
    assert_eq!((&told["trust"], &told["findings"][0]["item"]), (&json!("none"), &json!("customers-values")), "{told}");

    // The tenant uses another value: what is about with the old one puts nobody out any more.
    let rotate = |token: &str, tenant: &str| server.post("/v1/canary/rotate", token, &json!({"tenant": tenant}));
    assert_eq!(
        rotate(&server.token(&etl.client_id, &etl.secret), "acme").problem(403),
        "access/denied",
        "not for who only uses it"
    );
    assert_eq!(rotate(&server.admin_token(), "acme").ok(), json!({"tenant": "acme", "generation": 1}));
    assert_eq!(rotate(&server.admin_token(), "none").problem(404), "not-found/tenant");
    let new = canary();
    assert_ne!(new, planted);
    assert_eq!(report_searching(&laptop, sequence + 2, &mail).0.ok()["trust"], "trusted");
    assert_eq!(check(), "fail", "whoever copied the old one is not rid of it by that");
    assert_eq!(report_searching(&laptop, sequence + 3, "").0.ok()["trust"], "trusted");
    assert_eq!(check(), "pass");
    report_searching(&laptop, sequence + 4, &new).0.ok();
    assert_eq!(check(), "fail", "the new one is searched for");
    let log = log(&server);
    assert!(log.contains("canary.rotated") && !log.contains(&new) && !log.contains(&planted), "{log}");
}
