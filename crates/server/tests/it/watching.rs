//! Pages and answers that stand open when something is taken away: over within five seconds.

use std::io::Read as _;
use std::time::{Duration, Instant};

use creta_model::{EnvironmentClass, Span};
use serde_json::json;

use crate::browser::{Browser, refused};
use crate::people::{Someone, assign, server, server_by, sign_in};
use crate::provider::Provider;
use crate::support::{INGEST, Server};

/// Somebody's open stream: how long it went on after `then`, and its last word.
fn watched(browser: &Browser, server: &Server, then: impl FnOnce()) -> (Duration, String) {
    let reading = begin_stream(browser, server);
    then();
    let since = Instant::now();
    let text = reading.join().expect("read");
    (since.elapsed(), text)
}

fn begin_stream(browser: &Browser, server: &Server) -> std::thread::JoinHandle<String> {
    let shown = browser.shown(server, "GET", "/view/watch");
    let url = format!("{}/view/watch", server.running().url());
    let request = ureq::http::Request::get(url)
        .header("cookie", shown.cookie.expect("there"))
        .header("dpop", shown.proof.expect("there"))
        .header("sec-fetch-site", "same-origin");
    let response = server.agent().run(request.body(()).expect("a request")).expect("an answer");
    assert_eq!(response.status(), 200);
    let mut body = response.into_body().into_reader();
    let mut first = [0; 6];
    body.read_exact(&mut first).expect("a sign of life");
    assert_eq!(&first, b"holds\n");
    std::thread::spawn(move || {
        let mut text = String::new();
        body.read_to_string(&mut text).expect("an end");
        text
    })
}

const SOON: Duration = Duration::from_secs(5);

#[test]
fn attack_ch33_what_is_revoked_is_over_everywhere_within_five_seconds_open_streams_too() {
    let provider = Provider::start();
    let server = server(&provider, EnvironmentClass::Development);
    let etl = server.shop("acme");
    let terminal = sign_in(&server, &provider, "ana");
    assign(&server, "ana", &json!({"roles": ["data-scientist"], "tenant": "acme"}));
    let browser = Browser::open(&server, &provider, "ana");
    let listed = terminal.get(&server, "/v1/sessions").ok();
    let clients: Vec<&str> =
        listed["sessions"].as_array().expect("a list").iter().map(|s| s["client"].as_str().expect("a word")).collect();
    assert_eq!(clients, ["command-line", "browser"]);

    // A browser's session that the terminal ends.
    let end = |id: &str| terminal.post(&server, &format!("/v1/sessions/{id}/revoke"), &json!({})).ok();
    let (took, last) = watched(&browser, &server, || drop(end(&browser.session)));
    assert!(took < SOON && last.ends_with("over\n"), "{took:?} {last}");
    assert_eq!(refused(&browser.get(&server, "/view"), 401), "auth/session-over");

    // A terminal's session that a page ends, in the midst of a long answer.
    let browser = Browser::open(&server, &provider, "ana");
    let mut long = long_answer(&server, &etl.token, &terminal);
    let mut some = vec![0; 1 << 20];
    long.read_exact(&mut some).expect("it has begun");
    let mine = terminal.opened["session"].as_str().expect("an id");
    assert!(
        browser.post(&server, &format!("/view/sessions/{mine}/end"), &[]).ok_page().contains("The session is over")
    );
    let since = Instant::now();
    let mut rest = Vec::new();
    let broke = long.read_to_end(&mut rest);
    assert!(broke.is_err() && since.elapsed() < SOON, "{:?} after {:?}, {} bytes", broke, since.elapsed(), rest.len());
    assert_eq!(terminal.get(&server, "/v1/me").problem(401), "auth/bad-token");

    // A grant that is taken away, and a person who leaves.
    let ben = Browser::open(&server, &provider, "ben");
    assign(&server, "ben", &json!({"roles": ["security-lead"]}));
    let id = browser.ask(&server, "developer");
    let shown = ben.get(&server, &format!("/view/requests/{id}")).ok_page();
    let digest = shown.split("name=\"digest\" value=\"").nth(1).expect("a digest").split('"').next().expect("its end");
    ben.post(&server, &format!("/view/requests/{id}/decide"), &[("digest", digest), ("verdict", "approve")]).ok_page();
    let begun = browser.post(&server, &format!("/view/requests/{id}/activate"), &[]).ok_page();
    let grant = begun.split("/view/grants/").nth(1).expect("a form").split('/').next().expect("an id");
    let (took, last) = watched(&browser, &server, || {
        let taken = ben.post(&server, &format!("/view/grants/{grant}/revoke"), &[]).ok_page();
        assert!(taken.contains("ana@example.com is no longer developer"), "{taken}");
    });
    assert!(took < SOON && last.ends_with("over\n"), "{took:?} {last}");
    browser.get(&server, "/view").ok_page();
    let leave = || drop(server.post("/v1/persons/ana@example.com/leave", &server.admin_token(), &json!({})).ok());
    let (took, last) = watched(&browser, &server, leave);
    assert!(took < SOON && last.ends_with("over\n"), "{took:?} {last}");
    assert_eq!(refused(&browser.get(&server, "/view"), 401), "auth/session-over");

    // All pages that somebody left open; listening takes nothing from what staff may read in a day.
    let streams: Vec<_> = (0..10).map(|_| begin_stream(&ben, &server)).collect();
    let out = ben.post(&server, &format!("/view/sessions/{}/end", ben.session), &[]);
    assert!(out.ok_page().contains("Signed out"), "{}", out.text());
    for stream in streams {
        assert!(stream.join().expect("read").ends_with("over\n"));
    }
}

#[test]
fn attack_ch33_an_answer_ends_when_its_reader_is_moved_to_another_tenant() {
    let provider = Provider::start();
    let server = server(&provider, EnvironmentClass::Development);
    let etl = server.shop("acme");
    server.tenant("globex");
    let terminal = sign_in(&server, &provider, "ana");
    assign(&server, "ana", &json!({"roles": ["data-scientist"], "tenant": "acme"}));
    let browser = Browser::open(&server, &provider, "ana");
    let mut long = long_answer(&server, &etl.token, &terminal);
    let mut some = vec![0; 1 << 20];
    long.read_exact(&mut some).expect("it has begun");
    let (took, last) = watched(&browser, &server, || {
        assign(&server, "ana", &json!({"roles": ["data-scientist"], "tenant": "globex"}));
    });
    assert!(took < SOON && last.ends_with("over\n"), "{took:?} {last}");
    let mut rest = Vec::new();
    assert!(long.read_to_end(&mut rest).is_err(), "{} bytes of acme's", rest.len());
}

/// A training set of many megabytes, of which nothing was read yet.
fn long_answer(server: &Server, etl: &str, who: &Someone) -> impl std::io::Read {
    let city = "x".repeat(200 << 10);
    let mut facts = crate::support::facts();
    let columns: Vec<_> = facts
        .columns()
        .iter()
        .enumerate()
        .map(|(index, column)| match index {
            2 => std::sync::Arc::new(arrow::array::StringArray::from(vec![city.as_str(); 3])) as arrow::array::ArrayRef,
            _ => std::sync::Arc::clone(column),
        })
        .collect();
    facts = arrow::array::RecordBatch::try_new(facts.schema(), columns).expect("of one form");
    server.post_arrow(INGEST, etl, &facts).ok();
    let rows: Vec<(i64, &str)> = vec![(7, "2025-03-03T00:00:00Z"); 200];
    let body = crate::support::stream(&crate::support::spine(&rows));
    let path = "/v1/training-sets?features=User.city&as_of=at";
    let proof = crate::people::prove(server, &who.prover, "POST", path, Some(who.token()));
    let request = ureq::http::Request::post(format!("{}{path}", server.running().url()))
        .header("authorization", format!("DPoP {}", who.token()))
        .header("dpop", proof)
        .header("content-type", crate::support::ARROW);
    let mut response = server.agent().run(request.body(body.as_slice()).expect("a request")).expect("an answer");
    assert_eq!(response.status(), 200, "{:?}", response.body_mut().read_to_string());
    response.into_body().into_with_config().limit(1 << 30).reader()
}

#[test]
fn attack_ch17_a_page_left_open_is_no_use_of_the_session_and_half_an_hour_ends_it() {
    let provider = Provider::start();
    let (server, clock) = server_by(&provider, EnvironmentClass::Development, "");
    let minutes = |minutes: u32| Span::seconds(60 * minutes);
    let ana = Browser::open(&server, &provider, "ana");
    for _ in 0..3 {
        clock.advance(minutes(20));
        ana.get(&server, "/view").ok_page();
    }
    clock.advance(minutes(20));
    let stream = begin_stream(&ana, &server);
    clock.advance(minutes(10));
    assert!(stream.join().expect("read").ends_with("over\n"), "listening kept nothing open");
    assert_eq!(refused(&ana.get(&server, "/view"), 401), "auth/session-over");
    // Eight hours are the end, whatever is done.
    let ben = Browser::open(&server, &provider, "ben");
    for _ in 0..23 {
        clock.advance(minutes(20));
        ben.get(&server, "/view").ok_page();
    }
    clock.advance(minutes(20));
    assert_eq!(refused(&ben.get(&server, "/view"), 401), "auth/session-over");
}
