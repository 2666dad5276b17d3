//! A witness and a monitor as their operators use them, beside a server that is rolled back.

use std::path::Path;
use std::time::{Duration, Instant};

use super::{Done, Place, Serving};

fn copy(from: &Path, to: &Path) {
    let done = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().expect("it starts");
    assert!(done.success());
}

fn alarms(done: &Done) -> Vec<&str> {
    let alarms = done.json["problems"].as_array().map_or(&[][..], Vec::as_slice);
    alarms.iter().map(|alarm| alarm["code"].as_str().expect("a code").trim_start_matches("monitor/")).collect()
}

#[test]
fn a_log_is_witnessed_rolled_back_noticed_and_goes_on_in_the_open() {
    let place = Place::new();
    let made = place.ok(&["witness", "init", "--data", "witness", "--name", "witness.example.com/w1"]);
    let witness_key = made["key"].as_str().expect("a key");
    let witness = Serving::start(&place, &["witness", "start", "--data", "witness", "--listen", "127.0.0.1:0"]);
    let address = witness.url().trim_start_matches("https://").to_owned();

    let made = place.ok(&["server", "init", "--data", "data", "--environment", "dev"]);
    let log_key = made["audit_verifier_key"].as_str().expect("a key");
    place.ok(&["witness", "add-log", "--data", "witness", "--key", log_key]);
    let (ca, url) = ("witness/tls/ca.pem", &*witness.url().to_owned());
    place.ok(&["server", "witness", "add", "--data", "data", "--url", url, "--key", witness_key, "--ca", ca]);
    copy(&place.path("data"), &place.path("yesterday"));

    let server = Serving::server(&place);
    let watch = ["witness", "monitor", "--once", "--profile", "admin", "--state", "seen.json", "--log-key", log_key];
    let watch = [&watch[..], &["--witness-url", url, "--witness-key", witness_key, "--witness-ca", ca]].concat();
    // The server asks for the first cosignature while it already serves.
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let round = place.run(&watch);
        if round.code == 0 {
            break assert!(round.json["entries"].as_u64().expect("a number") > 2, "{}", round.json);
        }
        assert_eq!(alarms(&round), ["not-cosigned"]);
        assert!(Instant::now() < deadline, "{}", round.json);
    }
    place.ok(&["tenant", "create", "acme", "--profile", "admin"]);
    assert_eq!(place.run(&watch).code, 0, "the log grew");
    let tight = place.run(&[&watch[..], &["--cosignature-age-max", "0s"]].concat());
    assert_eq!((tight.code, alarms(&tight)), (1, vec!["not-cosigned"]), "older than allowed");
    let other_key = place.run(&[&watch[..6], &["other.json", "--log-key", witness_key]].concat());
    assert_eq!((other_key.code, alarms(&other_key)), (1, vec!["not-signed"]));
    drop(witness);
    let down = place.run(&watch);
    assert_eq!((down.code, alarms(&down)), (1, vec!["not-cosigned"]));
    drop(server);
    let down = place.run(&watch);
    assert_eq!((down.code, alarms(&down)), (1, vec!["unreachable"]));

    // Somebody puts yesterday's folder back, while the witness is away.
    std::fs::remove_dir_all(place.path("data")).expect("removed");
    copy(&place.path("yesterday"), &place.path("data"));
    let server = Serving::server(&place);
    let rolled_back = place.run(&watch);
    assert_eq!((rolled_back.code, alarms(&rolled_back)), (1, vec!["rolled-back"]));
    drop(server);
    let listen = ["witness", "start", "--data", "witness", "--listen", &address];
    let _witness = Serving::start(&place, &listen);
    let start = ["server", "start", "--data", "data", "--listen", "127.0.0.1:0"];
    assert_eq!(place.refused(&start), (1, "audit/behind-witness".to_owned()));

    place.ok(&["audit", "fork", "--data", "data", "--reason", "the disk was lost"]);
    place.ok(&["witness", "accept-fork", "--data", "witness", "fork-1.json"]);
    assert_eq!(place.refused(&["witness", "accept-fork", "--data", "witness", "fork-1.json"]).1, "witness/fork-notice");
    let status = place.text(&["witness", "status", "--data", "witness"]);
    for part in ["the disk was lost", "left", "taken", log_key] {
        assert!(status.contains(part), "{part} is missing: {status}");
    }
    let _server = Serving::server(&place);
    // Whoever saw the history that was left is told for ever; whoever begins anew is told once.
    assert_eq!(alarms(&place.run(&watch)), ["rolled-back"]);
    let mut anew = watch.clone();
    anew[6] = "anew.json";
    assert!(alarms(&place.run(&anew)).contains(&"fork-accepted"));
    assert!(!alarms(&place.run(&anew)).contains(&"fork-accepted"));
}
