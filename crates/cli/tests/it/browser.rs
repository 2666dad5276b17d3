//! `creta device browser`: a computer vouches for the browser that its owner opened, and for no other.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use creta_identity::dpop::Prover;
use creta_identity::key::{KeyKind, SigningKey};
use creta_platform::{Clock as _, Random as _, SystemClock, SystemRandom};
use serde_json::{Value, json};
use ureq::Agent;
use ureq::http::{Request, Response};

use crate::Place;
use crate::device::{Computer, agent, export, serve};
use crate::provider::Provider;
use crate::software_tpm::SoftwareTpm;

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom.fill(&mut bytes);
    bytes
}

/// A browser in which somebody is signed in, as its pages' script plays it.
struct Browser {
    agent: Agent,
    origin: String,
    prover: Prover,
    cookie: String,
}

impl Browser {
    fn sign_in(provider: &Provider, ca: &Path, url: &str, who: &str) -> Self {
        let (agent, origin) = (agent(ca), url.replace("127.0.0.1", "localhost"));
        let prover = Prover::new(SigningKey::from_random(KeyKind::P256, &random()));
        let verifier = URL_SAFE_NO_PAD.encode(random::<32>());
        let challenge = URL_SAFE_NO_PAD.encode(creta_proof::Hash::of(&[verifier.as_bytes()]).as_bytes());
        let begin = format!(
            "{origin}/sign-in/browser?state={}&code_challenge={challenge}&code_challenge_method=S256&dpop_jkt={}",
            "s".repeat(43),
            prover.thumbprint().as_str()
        );
        let text = |reply: &Response<ureq::Body>, name: &str| {
            reply.headers().get(name).map(|value| value.to_str().expect("text").to_owned()).unwrap_or_default()
        };
        let begun = agent.get(&begin).call().expect("an answer");
        let asked = provider.asked(&text(&begun, "location"));
        let code = provider.signs_in(who, &asked.nonce);
        let back = format!("{}?code={code}&state={}", asked.redirect, asked.state);
        let cookie = text(&begun, "set-cookie");
        let back = agent.get(&back).header("cookie", cookie.split(';').next().unwrap_or_default()).call();
        let location = text(&back.expect("an answer"), "location");
        let code = location.split("code=").nth(1).and_then(|rest| rest.split('&').next()).expect("a code");
        let mut browser = Self { agent, origin, prover, cookie: String::new() };
        let body = json!({"code": code, "code_verifier": verifier}).to_string();
        let opened = browser.send("POST", "/sign-in/browser", "application/json", "", &body);
        assert_eq!(opened.status(), 200);
        browser.cookie = text(&opened, "set-cookie").split(';').next().expect("a pair").to_owned();
        browser
    }

    fn send(&self, method: &str, path: &str, media: &str, word: &str, body: &str) -> Response<ureq::Body> {
        let url = format!("{}{}", self.origin, path.split('?').next().expect("a path"));
        let bound = self.cookie.split_once('=').map(|(_, value)| value);
        let proof = self.prover.prove(method, &url, bound, None, random(), SystemClock::new().now());
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.origin))
            .header("cookie", &self.cookie)
            .header("dpop", proof)
            .header("origin", &self.origin)
            .header("sec-fetch-site", "same-origin")
            .header("creta-form", word);
        let sent = match method {
            "GET" => self.agent.run(request.body(()).expect("a request")),
            _ => self.agent.run(request.header("content-type", media).body(body.to_owned()).expect("a request")),
        };
        sent.expect("an answer")
    }

    fn view(&self, path: &str) -> String {
        self.send("GET", path, "", "", "").into_body().read_to_string().expect("text")
    }

    /// Presses the button on the page that a command opened, and gives the word that the script brings to it.
    fn press(&self, opener: &str) -> String {
        let word = attribute(&self.view(&format!("/view/computer?{opener}")), "word");
        let page = self.send("POST", "/view/computer", "application/x-www-form-urlencoded", &word, opener);
        attribute(&page.into_body().read_to_string().expect("text"), "told")
    }
}

fn attribute(page: &str, name: &str) -> String {
    let value = page.split(&format!("data-{name}=\"")).nth(1).unwrap_or_else(|| panic!("{name} in {page}"));
    value.split('"').next().expect("an end").to_owned()
}

/// The command, and what its address says after the question mark.
fn begin(computer: &Computer<'_>) -> (Child, String) {
    let mut command = computer.command(&["device", "browser", "--no-browser", "--json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines().map(|line| line.expect("text"));
    let address = lines.find_map(|line| line.trim().split_once("/my/computer?").map(|(_, query)| query.to_owned()));
    std::thread::spawn(move || lines.for_each(drop));
    (child, address.expect("an address"))
}

fn ends(child: Child) -> (bool, Value) {
    let output = child.wait_with_output().expect("it ends");
    (output.status.success(), serde_json::from_slice(&output.stdout).unwrap_or(Value::Null))
}

#[test]
fn attack_ch18_a_computer_vouches_for_its_owners_browser_that_it_opened_and_for_no_other() {
    let (place, provider, chip) = (Place::new(), Provider::start(), SoftwareTpm::start());
    let laptop = Computer { place: &place, name: "laptop", tpm: &chip };
    let attester = laptop.ok(&["device", "attester"])["attester"].as_str().expect("a thumbprint").to_owned();
    let server = serve(&place, &provider, &[&attester]);
    let ca = place.path("data/tls/ca.pem");
    assert_eq!(laptop.refused(&["device", "browser"]), "profile/unknown", "nobody is signed in");
    laptop.login(&provider, server.url(), "ana");
    assert_eq!(laptop.refused(&["device", "browser"]), "device/not-enrolled");
    laptop.ok(&["device", "enrol", "--name", "ana's laptop", "--serial", "C02X"]);
    std::fs::write(place.path("export.json"), export("C02X")).expect("written");
    // Nobody brings an export about their own computer.
    let other = Computer { place: &place, name: "other", tpm: &chip };
    other.login(&provider, server.url(), "lead");
    place.ok(&["person", "assign", "lead@example.com", "--role", "security-lead", "--profile", "admin"]);
    other.ok(&["device", "import", "--mdm", "export.json"]);

    let (ana, eve) =
        (Browser::sign_in(&provider, &ca, server.url(), "ana"), Browser::sign_in(&provider, &ca, server.url(), "eve"));
    let (command, opener) = begin(&laptop);
    let port = opener.split("port=").nth(1).and_then(|rest| rest.split('&').next()).expect("a port").to_owned();
    let state = opener.split("state=").nth(1).and_then(|rest| rest.split('&').next()).expect("a state").to_owned();
    let come_back = |word: &str, state: &str| {
        let address = format!("http://127.0.0.1:{port}/this-computer?code={word}&state={state}");
        let reply = ana.agent.get(&address).call().expect("an answer");
        let to = reply.headers().get("location").map(|to| to.to_str().expect("text").to_owned());
        (reply.status().as_u16(), to.unwrap_or_default())
    };
    // A page that the command did not open brings nothing, whoever pressed what.
    let lured = eve.press(&format!("port={port}&state={}", "e".repeat(43)));
    assert_eq!(come_back(&lured, &"e".repeat(43)).0, 404);
    let word = ana.press(&opener);
    let (status, to) = come_back(&word, &state);
    assert_eq!((status, to), (303, format!("{}/my", server.url())));
    let (done, told) = ends(command);
    assert!(done, "{told}");
    assert_eq!((&told["device"]["name"], &told["device"]["trust"]), (&json!("ana's laptop"), &json!("trusted")));
    assert!(ana.view("/view").contains("counts as your enrolled computer"));

    // Somebody else's browser, though it is this page and this computer: its owner's command asks whose it is, and ends.
    let (command, opener) = begin(&laptop);
    let (port, state) = opener.strip_prefix("port=").and_then(|rest| rest.split_once("&state=")).expect("both");
    let word = eve.press(&opener);
    let reply = eve.agent.get(format!("http://127.0.0.1:{port}/this-computer?code={word}&state={state}")).call();
    let said = reply.expect("an answer").into_body().read_to_string().expect("text");
    assert!(said.contains("did not vouch"), "{said}");
    let (done, told) = ends(command);
    assert_eq!((done, &told["problems"][0]["code"]), (false, &json!("not-found/browser")), "{told}");
    assert!(!eve.view("/view").contains("counts as your enrolled computer"));
}
