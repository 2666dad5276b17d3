//! People: signing in, sessions bound to keys, and access for hours that another person approves.

use std::cell::RefCell;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use creta_identity::dpop::Prover;
use creta_identity::key::{KeyKind, SigningKey};
use creta_model::{EnvironmentClass, Instant};
use creta_platform::{Clock as _, ManualClock};
use serde_json::{Value, json};

use crate::provider::Provider;
use crate::soft_authenticator::SoftAuthenticator;
use crate::support::{JSON, Reply, Server};

/// Somebody with a key and, once signed in, a session.
pub(crate) struct Someone {
    pub(crate) prover: Prover,
    pub(crate) opened: Value,
}

thread_local! {
    /// The clock of the server that this test talks to, where it is not the machine's.
    static CLOCK: RefCell<Option<Arc<ManualClock>>> = const { RefCell::new(None) };
}

/// A server by a clock of its own, which people and their provider go by as well.
pub(crate) fn server_by(provider: &Provider, class: EnvironmentClass, tail: &str) -> (Server, Arc<ManualClock>) {
    let server = Server::configured(class, &format!("{tail}\n{}", provider.config()));
    CLOCK.set(None);
    let clock = Arc::new(ManualClock::new(now()));
    CLOCK.set(Some(Arc::clone(&clock)));
    let of_provider = Arc::clone(&clock);
    provider.forge(move |_, claims| {
        let now = of_provider.now().micros() / 1_000_000;
        (claims["iat"], claims["exp"]) = (now.into(), (now + 300).into());
    });
    (server.by(&clock), clock)
}

pub(crate) fn now() -> Instant {
    if let Some(clock) = CLOCK.with_borrow(Clone::clone) {
        return clock.now();
    }
    let micros = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_micros();
    Instant::from_micros(i64::try_from(micros).expect("in range")).expect("in range")
}

pub(crate) fn random<const N: usize>() -> [u8; N] {
    use creta_platform::Random as _;
    let mut bytes = [0; N];
    creta_platform::SystemRandom.fill(&mut bytes);
    bytes
}

pub(crate) fn prover() -> Prover {
    Prover::new(SigningKey::from_random(KeyKind::P256, &random()))
}

pub(crate) fn prove(server: &Server, prover: &Prover, method: &str, path: &str, token: Option<&str>) -> String {
    let path = path.split('?').next().expect("a path");
    prover.prove(method, &format!("{}{path}", server.running().url()), token, None, random(), now())
}

/// What browsers call this server: authenticators know servers by name.
pub(crate) fn origin(server: &Server) -> String {
    server.running().url().replace("127.0.0.1", "localhost")
}

/// The first step: the browser's address at the provider, and its cookie.
pub(crate) fn begin(server: &Server, thumbprint: &str, verifier: &str) -> (String, String) {
    begin_wishing(server, thumbprint, verifier, "")
}

/// The same with more in the query.
fn begin_wishing(server: &Server, thumbprint: &str, verifier: &str, wish: &str) -> (String, String) {
    let back = "redirect_uri=http%3A%2F%2F127.0.0.1%3A7000%2Fsigned-in&";
    begin_at(server, &format!("/sign-in?{back}{}{wish}", asks(thumbprint, verifier)))
}

/// What every client says when it begins.
pub(crate) fn asks(thumbprint: &str, verifier: &str) -> String {
    let challenge = URL_SAFE_NO_PAD.encode(creta_proof::Hash::of(&[verifier.as_bytes()]).as_bytes());
    let state = "s".repeat(43);
    format!("state={state}&code_challenge={challenge}&code_challenge_method=S256&dpop_jkt={thumbprint}")
}

fn begin_at(server: &Server, path: &str) -> (String, String) {
    let named = server.browse(path, None);
    assert_eq!(header(&named, "location"), format!("{}{path}", origin(server)), "{}", named.text());
    let reply = server.browse_at(&origin(server), path, None);
    assert_eq!(reply.status, 303, "{}", reply.text());
    (header(&reply, "location"), cookie_of(&reply))
}

pub(crate) fn header(reply: &Reply, name: &str) -> String {
    reply.headers.get(name).unwrap_or_else(|| panic!("{name}")).to_str().expect("text").to_owned()
}

pub(crate) fn cookie_of(reply: &Reply) -> String {
    let cookie = header(reply, "set-cookie");
    for word in ["Secure", "HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(cookie.contains(word), "{cookie}");
    }
    cookie.split(';').next().expect("a pair").to_owned()
}

/// All steps of a sign-in up to the code that comes back to the command line.
pub(crate) fn browse_through(
    server: &Server,
    provider: &Provider,
    who: &str,
    thumbprint: &str,
    verifier: &str,
) -> Reply {
    let begun = begin(server, thumbprint, verifier);
    browse_from(server, provider, who, begun, None)
}

/// The same for pages: they come back to one of this server's own addresses.
pub(crate) fn browse_for_pages(
    server: &Server,
    provider: &Provider,
    who: &str,
    (thumbprint, verifier): (&str, &str),
    authenticator: Option<&mut SoftAuthenticator>,
) -> Reply {
    let begun = begin_at(server, &format!("/sign-in/browser?{}", asks(thumbprint, verifier)));
    browse_from(server, provider, who, begun, authenticator)
}

fn browse_from(
    server: &Server,
    provider: &Provider,
    who: &str,
    (location, cookie): (String, String),
    authenticator: Option<&mut SoftAuthenticator>,
) -> Reply {
    let asked = provider.asked(&location);
    assert_eq!(asked.redirect, format!("{}/sign-in/callback", origin(server)));
    let code = provider.signs_in(who, &asked.nonce);
    let back = server.browse_at(
        &origin(server),
        &format!("/sign-in/callback?code={code}&state={}", asked.state),
        Some(&cookie),
    );
    // A tenant's people choose which second factor they register.
    let chooses = authenticator.is_some()
        && back.headers.get("location").is_some_and(|location| location == "/sign-in/second-factor");
    let back = match chooses {
        true => {
            let headers = [("content-type", "application/x-www-form-urlencoded"), ("cookie", cookie.as_str())];
            server.post_form(&origin(server), "/sign-in/second-factor", &headers, b"key=yes")
        }
        false => back,
    };
    let prompt = back
        .headers
        .get("location")
        .and_then(|location| location.to_str().ok()?.strip_prefix("/sign-in/verify?prompt="));
    let Some(prompt) = prompt.map(str::to_owned) else { return back };
    let authenticator = authenticator.expect("an authenticator is asked for");
    let said = answer_prompt(server, authenticator, &prompt, Some(&cookie));
    assert_eq!(said.status, 200, "{}", said.text());
    said
}

/// Shows the prompt to an authenticator, as the page's script does.
pub(crate) fn answer_prompt(
    server: &Server,
    authenticator: &mut SoftAuthenticator,
    prompt: &str,
    cookie: Option<&str>,
) -> Reply {
    let page = server.browse_at(&origin(server), &format!("/sign-in/verify?prompt={prompt}"), cookie);
    assert_eq!(page.status, 200, "{}", page.text());
    assert!(header(&page, "content-security-policy").contains("script-src 'self'"));
    let text = page.text();
    let attribute = |name: &str| {
        let value = text.split(&format!("data-{name}=\"")).nth(1).expect(name).split('"').next().expect(name);
        value.replace("&quot;", "\"").replace("&amp;", "&")
    };
    let options: Value = serde_json::from_str(&attribute("options")).expect("JSON");
    let response = match attribute("method").as_str() {
        "create" => authenticator.create(&options),
        _ => authenticator.get(&options),
    };
    let response: Value = serde_json::from_slice(&response).expect("JSON");
    send_answer(server, prompt, &response, cookie)
}

fn send_answer(server: &Server, prompt: &str, response: &Value, cookie: Option<&str>) -> Reply {
    let body = json!({"prompt": prompt, "response": response}).to_string();
    let mut headers = vec![("content-type", JSON)];
    headers.extend(cookie.map(|cookie| ("cookie", cookie)));
    server.send_with("POST", "/sign-in/verify", None, &headers, Some(body.as_bytes()))
}

/// An authenticator that knows `server`.
pub(crate) fn authenticator(server: &Server, seed: u8) -> SoftAuthenticator {
    let mut authenticator = SoftAuthenticator::new(seed);
    (authenticator.origin, authenticator.domain) = (origin(server), "localhost".to_owned());
    authenticator
}

pub(crate) fn code_in(reply: &Reply) -> String {
    let location = match reply.status {
        303 => header(reply, "location"),
        _ => reply.ok()["location"].as_str().expect("back to the command line").to_owned(),
    };
    let query = location.strip_prefix("http://127.0.0.1:7000/signed-in?").expect("back to the command line");
    query.split('&').find_map(|pair| pair.strip_prefix("code=")).expect("a code").to_owned()
}

pub(crate) fn sign_in(server: &Server, provider: &Provider, who: &str) -> Someone {
    sign_in_with(server, provider, who, None)
}

pub(crate) fn sign_in_with(
    server: &Server,
    provider: &Provider,
    who: &str,
    authenticator: Option<&mut SoftAuthenticator>,
) -> Someone {
    sign_in_holding(server, provider, who, prover(), authenticator)
}

/// The same with a key that is there already.
pub(crate) fn sign_in_holding(
    server: &Server,
    provider: &Provider,
    who: &str,
    prover: Prover,
    authenticator: Option<&mut SoftAuthenticator>,
) -> Someone {
    sign_in_wishing(server, provider, who, (prover, ""), authenticator)
}

/// The same, asking for an authenticator to be registered.
pub(crate) fn sign_in_registering(
    server: &Server,
    provider: &Provider,
    who: &str,
    prover: Prover,
    authenticator: &mut SoftAuthenticator,
) -> Someone {
    sign_in_wishing(server, provider, who, (prover, "&authenticator=register"), Some(authenticator))
}

fn sign_in_wishing(
    server: &Server,
    provider: &Provider,
    who: &str,
    (prover, wish): (Prover, &str),
    authenticator: Option<&mut SoftAuthenticator>,
) -> Someone {
    let verifier = URL_SAFE_NO_PAD.encode(random::<32>());
    let begun = begin_wishing(server, prover.thumbprint().as_str(), &verifier, wish);
    let back = browse_from(server, provider, who, begun, authenticator);
    let body = json!({"code": code_in(&back), "code_verifier": verifier});
    let opened = open_session(server, &prover, &body).ok();
    assert_eq!(opened["token_type"], "DPoP");
    Someone { prover, opened }
}

pub(crate) fn open_session(server: &Server, prover: &Prover, body: &Value) -> Reply {
    let proof = prove(server, prover, "POST", "/v1/sessions", None);
    let headers = [("dpop", proof.as_str()), ("content-type", JSON)];
    server.send_with("POST", "/v1/sessions", None, &headers, Some(body.to_string().as_bytes()))
}

impl Someone {
    pub(crate) fn token(&self) -> &str {
        self.opened["access_token"].as_str().expect("a token")
    }

    pub(crate) fn send(&self, server: &Server, method: &str, path: &str, body: Option<&Value>) -> Reply {
        let proof = prove(server, &self.prover, method, path, Some(self.token()));
        self.send_proven(server, method, path, body, &proof)
    }

    pub(crate) fn send_proven(
        &self,
        server: &Server,
        method: &str,
        path: &str,
        body: Option<&Value>,
        proof: &str,
    ) -> Reply {
        let authorization = format!("DPoP {}", self.token());
        let mut headers = vec![("authorization", authorization.as_str()), ("dpop", proof)];
        if body.is_some() {
            headers.push(("content-type", JSON));
        }
        let body = body.map(Value::to_string);
        server.send_with(method, path, None, &headers, body.as_ref().map(String::as_bytes))
    }

    pub(crate) fn get(&self, server: &Server, path: &str) -> Reply {
        self.send(server, "GET", path, None)
    }

    pub(crate) fn post(&self, server: &Server, path: &str, body: &Value) -> Reply {
        self.send(server, "POST", path, Some(body))
    }

    /// What a renewal with a key says.
    pub(crate) fn renew(&self, server: &Server, prover: &Prover) -> Reply {
        let body = json!({"session": self.opened["session"], "renewal": self.opened["renewal"]});
        let proof = prove(server, prover, "POST", "/v1/sessions/renew", None);
        let headers = [("dpop", proof.as_str()), ("content-type", JSON)];
        server.send_with("POST", "/v1/sessions/renew", None, &headers, Some(body.to_string().as_bytes()))
    }

    pub(crate) fn send_arrow(&self, server: &Server, path: &str, batch: &arrow::array::RecordBatch) -> Reply {
        let proof = prove(server, &self.prover, "POST", path, Some(self.token()));
        let authorization = format!("DPoP {}", self.token());
        let headers = [
            ("authorization", authorization.as_str()),
            ("dpop", proof.as_str()),
            ("content-type", crate::support::ARROW),
        ];
        server.send_with("POST", path, None, &headers, Some(&crate::support::stream(batch)))
    }

    pub(crate) fn request(&self, server: &Server, role: &str, hours: u8) -> Reply {
        let body = json!({"role": role, "ticket": "OPS-1234", "hours": hours,
            "reason": "Look into why last night's load of payments was refused"});
        self.post(server, "/v1/access/requests", &body)
    }
}

/// Gives people their first roles, as whoever holds the root key does, while the server is stopped.
pub(crate) fn appoint(server: &mut Server, provider: &Provider, appointments: &[(&str, &str)]) {
    server.stop();
    for (who, role) in appointments {
        let appointment = creta_server::Appointment {
            issuer: provider.issuer(),
            subject: format!("sub-{who}"),
            email: Some(format!("{who}@example.com")),
            roles: [serde_json::from_value(json!(role)).expect("a role")].into(),
            need: Some("Looks after the shop while others sleep".to_owned()),
        };
        creta_server::appoint(&server.data(), &appointment).expect("appointed");
    }
    server.start();
}

/// A server whose people sign in at `provider`.
pub(crate) fn server(provider: &Provider, class: EnvironmentClass) -> Server {
    Server::configured(class, &provider.config())
}

/// Says a need, where the test does not.
pub(crate) fn assign(server: &Server, who: &str, body: &Value) -> Value {
    let mut body = body.clone();
    body.as_object_mut().expect("an object").entry("need").or_insert("Looks after the shop while others sleep".into());
    server.post(&format!("/v1/persons/{who}@example.com/assign"), &server.admin_token(), &body).ok()
}

#[test]
fn a_person_signs_in_has_no_role_gets_one_and_leaves() {
    let provider = Provider::start();
    let server = server(&provider, EnvironmentClass::Development);
    let ana = sign_in(&server, &provider, "ana");
    assert_eq!(ana.opened["person"], "ana@example.com");
    let me = ana.get(&server, "/v1/me").ok();
    assert_eq!(me["person"]["roles"], json!([]), "whoever comes for the first time has no role");
    assert_eq!(ana.get(&server, "/v1/catalogue").problem(403), "access/denied");

    server.shop("acme");
    assign(&server, "ana", &json!({"roles": ["developer"], "tenant": "acme"}));
    assert_eq!(
        ana.get(&server, "/v1/me").ok()["home"],
        "scope `acme` in `prod`".replace("`acme` in `prod`", "`prod/acme`")
    );
    ana.get(&server, "/v1/catalogue").ok();
    assert_eq!(ana.get(&server, "/v1/tenants").problem(403), "access/denied");

    // Another sign-in is the same person; another subject with the same address is not.
    let again = sign_in(&server, &provider, "ana");
    assert_eq!(again.opened["person"], "ana@example.com");
    assert_ne!(again.opened["session"], ana.opened["session"]);
    provider.forge(|_, claims| claims["sub"] = "sub-somebody-else".into());
    let impostor = sign_in(&server, &provider, "ana");
    provider.is_honest();
    assert_ne!(impostor.opened["person"], "ana@example.com");
    assert_eq!(impostor.get(&server, "/v1/catalogue").problem(403), "access/denied");

    let renewed = ana.renew(&server, &ana.prover);
    assert_ne!(renewed.ok()["access_token"], ana.opened["access_token"]);

    server.post("/v1/persons/ana@example.com/leave", &server.admin_token(), &json!({})).ok();
    assert_eq!(ana.get(&server, "/v1/me").problem(401), "auth/bad-token");
    let verifier = URL_SAFE_NO_PAD.encode(random::<32>());
    let back = browse_through(&server, &provider, "ana", prover().thumbprint().as_str(), &verifier);
    assert_eq!(back.status, 403, "nobody comes back under the same account");
    assert!(back.text().contains("ended when its person left"), "{}", back.text());
}

#[test]
fn attack_ch17_a_stolen_session_is_worth_nothing_on_another_machine() {
    let provider = Provider::start();
    let server = server(&provider, EnvironmentClass::Development);
    let ana = sign_in(&server, &provider, "ana");
    ana.get(&server, "/v1/me").ok();
    let thief = prover();

    // The token alone, as a bearer token.
    assert_eq!(server.get("/v1/me", ana.token()).problem(401), "auth/no-proof");
    // The token with another key's proof.
    let proof = prove(&server, &thief, "GET", "/v1/me", Some(ana.token()));
    assert_eq!(ana.send_proven(&server, "GET", "/v1/me", None, &proof).problem(401), "auth/bad-proof");
    // A proof that was seen before, or was made for something else.
    let proof = prove(&server, &ana.prover, "GET", "/v1/me", Some(ana.token()));
    ana.send_proven(&server, "GET", "/v1/me", None, &proof).ok();
    assert_eq!(ana.send_proven(&server, "GET", "/v1/me", None, &proof).problem(401), "auth/bad-proof");
    let elsewhere = prove(&server, &ana.prover, "GET", "/v1/sessions", Some(ana.token()));
    assert_eq!(ana.send_proven(&server, "GET", "/v1/me", None, &elsewhere).problem(401), "auth/bad-proof");
    // The renewal secret with another key.
    let body = json!({"session": ana.opened["session"], "renewal": ana.opened["renewal"]}).to_string();
    let proof = prove(&server, &thief, "POST", "/v1/sessions/renew", None);
    let headers = [("dpop", proof.as_str()), ("content-type", JSON)];
    let reply = server.send_with("POST", "/v1/sessions/renew", None, &headers, Some(body.as_bytes()));
    assert_eq!(reply.problem(401), "auth/session-over");

    let log = server.get("/v1/audit/entries?limit=1000", &server.admin_token()).text();
    assert!(log.contains("proof.refused") && log.contains("CH-16"), "{log}");
    // Ended, all of it ends.
    ana.post(&server, &format!("/v1/sessions/{}/revoke", ana.opened["session"].as_str().expect("an id")), &json!({}))
        .ok();
    assert_eq!(ana.get(&server, "/v1/me").problem(401), "auth/bad-token");
}

#[test]
fn attack_ci21_forged_and_replayed_sign_ins_are_refused() {
    let provider = Provider::start();
    let server = server(&provider, EnvironmentClass::Development);
    let verifier = URL_SAFE_NO_PAD.encode(random::<32>());
    let key = prover();
    let thumbprint = key.thumbprint().as_str().to_owned();
    type Forgery = (&'static str, fn(&mut Value, &mut Value));
    let forgeries: [Forgery; 7] = [
        ("unsigned", |header, _| header["alg"] = "none".into()),
        ("a shared secret", |header, _| header["alg"] = "HS256".into()),
        ("another client's", |_, claims| claims["aud"] = "other".into()),
        ("another provider's", |_, claims| claims["iss"] = "https://evil.example".into()),
        ("another attempt's", |_, claims| claims["nonce"] = "x".into()),
        ("expired", |_, claims| claims["exp"] = 1.into()),
        ("an unknown key's", |header, _| header["kid"] = "k2".into()),
    ];
    for (what, forge) in forgeries {
        provider.forge(forge);
        let back = browse_through(&server, &provider, "ana", &thumbprint, &verifier);
        assert_eq!(back.status, 403, "{what}: {}", back.text());
        assert_eq!(back.content_type, "text/html; charset=utf-8");
    }
    provider.is_honest();

    // Another browser: the state without the cookie, or with another attempt's.
    let (location, _) = begin(&server, &thumbprint, &verifier);
    let asked = provider.asked(&location);
    let (_, other) = begin(&server, &thumbprint, &verifier);
    for cookie in [None, Some(other.as_str()), Some("__Host-creta-sign-in=00")] {
        let code = provider.signs_in("ana", &asked.nonce);
        let reply =
            server.browse_at(&origin(&server), &format!("/sign-in/callback?code={code}&state={}", asked.state), cookie);
        assert_eq!(reply.status, 401, "{cookie:?}: {}", reply.text());
    }
    // The same answer twice.
    let (location, cookie) = begin(&server, &thumbprint, &verifier);
    let asked = provider.asked(&location);
    let code = provider.signs_in("ana", &asked.nonce);
    let path = format!("/sign-in/callback?code={code}&state={}", asked.state);
    let back = server.browse_at(&origin(&server), &path, Some(&cookie));
    assert_eq!(server.browse_at(&origin(&server), &path, Some(&cookie)).status, 401);
    // The code with another key, then with the right one: it is used up.
    let body = json!({"code": code_in(&back), "code_verifier": verifier});
    assert_eq!(open_session(&server, &prover(), &body).problem(401), "auth/sign-in-over");
    assert_eq!(open_session(&server, &key, &body).problem(401), "auth/sign-in-over");
    let log = server.get("/v1/audit/entries?limit=1000", &server.admin_token()).text();
    assert!(log.matches("sign-in.refused").count() >= 7 && log.contains("CI-21"), "{log}");
}

#[test]
fn access_is_asked_for_approved_by_somebody_else_used_and_given_back() {
    let provider = Provider::start();
    let server = server(&provider, EnvironmentClass::Development);
    server.shop("acme");
    let [ana, ben, eve] = ["ana", "ben", "eve"].map(|who| sign_in(&server, &provider, who));
    assign(&server, "ana", &json!({"roles": [], "tenant": "acme"}));
    assign(&server, "eve", &json!({"roles": ["viewer"], "tenant": "acme"}));
    assign(&server, "ben", &json!({"roles": ["security-lead"]}));
    assert_eq!(ana.get(&server, "/v1/catalogue").problem(403), "access/denied");

    for (what, body) in [
        ("reason", json!({"role": "developer", "ticket": "OPS-1", "hours": 1, "reason": "please"})),
        (
            "ticket",
            json!({"role": "developer", "ticket": "soon", "hours": 1, "reason": "Look into why payments were refused"}),
        ),
        (
            "hours",
            json!({"role": "developer", "ticket": "OPS-1", "hours": 9, "reason": "Look into why payments were refused"}),
        ),
    ] {
        let reply = ana.post(&server, "/v1/access/requests", &body);
        assert!([403, 422].contains(&reply.status), "{what}: {} {}", reply.status, reply.text());
    }
    let request = ana.request(&server, "developer", 2);
    assert_eq!(request.status, 201, "{}", request.text());
    let request = request.json();
    let path = |what: &str| format!("/v1/access/requests/{}{what}", request["request"].as_str().expect("an id"));
    let approve = json!({"verdict": "approve", "digest": request["digest"]});

    // Not by whoever asked, not by whoever may not, not another text; not before it is approved.
    assert_eq!(ana.post(&server, &path("/decide"), &approve).problem(403), "access/denied");
    assert_eq!(eve.post(&server, &path("/decide"), &approve).problem(403), "access/denied");
    assert_eq!(eve.get(&server, &path("")).problem(404), "not-found/access-request");
    let other = json!({"verdict": "approve", "digest": "AAAA"});
    assert_eq!(ben.post(&server, &path("/decide"), &other).problem(409), "conflict/changed");
    assert!((400..500).contains(&ana.post(&server, &path("/activate"), &json!({})).status));

    assert_eq!(ben.get(&server, "/v1/access/requests").ok()["requests"].as_array().expect("a list").len(), 1);
    assert_eq!(ben.post(&server, &path("/decide"), &approve).ok()["state"], "approved");
    assert_eq!(ana.get(&server, "/v1/catalogue").problem(403), "access/denied", "approved is not activated");
    let grant = ana.post(&server, &path("/activate"), &json!({})).ok();
    assert_eq!((&grant["holds"], &grant["approved_by"]), (&json!(true), &json!(["ben@example.com"])));
    ana.get(&server, "/v1/catalogue").ok();
    assert!((400..500).contains(&ana.post(&server, &path("/activate"), &json!({})).status), "once");

    // Revoked, it counts for nothing from the next decision on.
    let revoke = format!("/v1/access/grants/{}/revoke", grant["grant"].as_str().expect("an id"));
    assert_eq!(eve.post(&server, &revoke, &json!({})).problem(403), "access/denied");
    assert_eq!(ben.post(&server, &revoke, &json!({})).ok()["holds"], false);
    assert_eq!(ana.get(&server, "/v1/catalogue").problem(403), "access/denied");
    let log = server.get("/v1/audit/entries?limit=1000", &server.admin_token()).text();
    for entry in ["access.request.opened", "access.grant.revoked", "session.opened"] {
        assert!(log.contains(entry), "{entry}");
    }
}

#[test]
fn requests_and_grants_outlive_a_restart() {
    let provider = Provider::start();
    let mut server = server(&provider, EnvironmentClass::Development);
    let [ana, ben, eve] = ["ana", "ben", "eve"].map(|who| sign_in(&server, &provider, who));
    assign(&server, "ben", &json!({"roles": ["security-lead"]}));
    let (waiting, approved) = (eve.request(&server, "viewer", 1).ok(), ana.request(&server, "operator", 1).ok());
    let path = |what: &str| format!("/v1/access/requests/{}/{what}", approved["request"].as_str().expect("an id"));
    ben.post(&server, &path("decide"), &json!({"verdict": "approve", "digest": approved["digest"]})).ok();
    let grant = ana.post(&server, &path("activate"), &json!({})).ok();
    let seen = |server: &Server| ["requests", "grants"].map(|what| ben.get(server, &format!("/v1/access/{what}")).ok());
    let [requests, grants] = seen(&server);
    server.stop();
    server.start();
    assert_eq!(seen(&server), [requests.clone(), grants.clone()]);
    assert_eq!((&requests["requests"][0]["state"], &waiting["state"]), (&json!("open"), &json!("open")));
    assert_eq!((&grants["grants"][0]["holds"], &grants["grants"][0]["grant"]), (&json!(true), &grant["grant"]));
}

#[test]
fn attack_ch43_nobody_approves_their_own_request_by_another_account() {
    let provider = Provider::start();
    let server = server(&provider, EnvironmentClass::Development);
    let ana = sign_in(&server, &provider, "ana");
    let alias = sign_in(&server, &provider, "ana-admin");
    assign(&server, "ana-admin", &json!({"roles": ["security-lead"], "same_human_as": "ana@example.com"}));
    let request = ana.request(&server, "operator", 1).json();
    let path = format!("/v1/access/requests/{}/decide", request["request"].as_str().expect("an id"));
    let approve = json!({"verdict": "approve", "digest": request["digest"]});
    let refused = alias.post(&server, &path, &approve);
    assert!((400..500).contains(&refused.status), "{}", refused.text());
    assert!(refused.text().contains("cannot decide on this request"), "{}", refused.text());
    let log = server.get("/v1/audit/entries?limit=1000", &server.admin_token()).text();
    assert!(log.contains("access.refused"), "{log}");
    assert!((400..500).contains(&ana.post(&server, &path.replace("decide", "activate"), &json!({})).status));
}

#[test]
fn attack_ch43_in_production_a_role_without_a_grant_permits_nothing() {
    let provider = Provider::start();
    let server = server(&provider, EnvironmentClass::Production);
    let ana = sign_in_with(&server, &provider, "ana", Some(&mut authenticator(&server, 1)));
    // The local administrator of `init` is nobody there.
    let reply = server.ask_token(&server.admin.client_id, &server.admin.client_secret);
    assert_eq!(reply.problem(401), "auth/bad-credentials");
    assert_eq!(ana.get(&server, "/v1/tenants").problem(403), "access/denied");
    ana.get(&server, "/v1/me").ok();
}

/// The shop with an address that is `pii`, a copy of it that is computed, and a score that is `internal`.
fn tagged_bundle() -> Value {
    let mut bundle = crate::support::bundle();
    let features = bundle["graph"]["entities"][0]["features"].as_array_mut().expect("features");
    for feature in features.iter_mut() {
        match feature["name"].as_str() {
            Some("city") => feature["tags"] = json!(["pii"]),
            Some("doubled") => feature["tags"] = json!(["internal"]),
            _ => {}
        }
    }
    features.push(json!({"name": "shout", "type": {"kind": "str"}, "role": "value",
        "location": {"file": "shop.py", "line": 2},
        "expression": {"op": "call", "function": "upper", "args": [{"op": "feature", "path": "User.city"}]}}));
    bundle
}

#[test]
fn attack_ch14_tagged_features_are_masked_or_withheld_whatever_is_computed_from_them() {
    let provider = Provider::start();
    let server = server(&provider, EnvironmentClass::Development);
    server.tenant("acme");
    let etl = server.account("acme", "etl", "developer");
    server.post("/v1/deploy", &etl.token, &tagged_bundle()).ok();
    server.post_arrow(crate::support::INGEST, &etl.token, &crate::support::facts()).ok();
    let ana = sign_in(&server, &provider, "ana");
    assign(&server, "ana", &json!({"roles": ["data-scientist"], "tenant": "acme"}));

    let ask = |outputs: Value| json!({"inputs": {"User.id": [7, 8, 9]}, "outputs": outputs});
    let program = server.post("/v1/query", &etl.token, &ask(json!(["User.city", "User.shout"]))).ok();
    assert_eq!(program["columns"][0]["values"], json!(["Turin", "Bern", null]), "programs do their work: {program}");
    let answer = ana.post(&server, "/v1/query", &ask(json!(["User.city", "User.shout", "User.score"]))).ok();
    assert_eq!(answer["columns"][0]["values"], json!(["Xxxxx", "Xxxx", null]), "{answer}");
    assert_eq!(
        answer["columns"][1]["states"],
        json!({"0": "denied", "1": "denied", "2": "denied"}),
        "what is computed from it has the form that its author likes: {answer}"
    );
    assert_eq!(answer["columns"][2]["values"], json!([2.5, 3.5, null]), "what is not tagged is given: {answer}");
    let withheld = ana.post(&server, "/v1/query", &ask(json!(["User.doubled"])));
    assert_eq!(withheld.problem(403), "access/denied");
    assert!(!withheld.text().contains("5.0"), "{}", withheld.text());

    // Nor in bulk, nor in any answer, nor in the log.
    let spine = crate::support::spine(&[(7, "2025-03-03T00:00:00Z")]);
    let path = "/v1/training-sets?features=User.city&as_of=at";
    let proof = prove(&server, &ana.prover, "POST", path, Some(ana.token()));
    let authorization = format!("DPoP {}", ana.token());
    let headers =
        [("authorization", authorization.as_str()), ("dpop", &proof), ("content-type", crate::support::ARROW)];
    let bulk = server.send_with("POST", path, None, &headers, Some(&crate::support::stream(&spine)));
    assert_eq!(bulk.status, 200, "{}", bulk.text());
    let explained = ana.get(&server, "/v1/access/explain?action=query&features=User.shout,User.doubled").ok();
    assert_eq!(explained["features"].as_array().map(Vec::len), Some(2), "{explained}");
    let shown = explained.to_string();
    assert!(shown.contains(r#""path":["User.shout","User.city"]"#), "the path of the tag is shown: {shown}");
    let log = server.get("/v1/audit/entries?limit=1000", &server.admin_token()).text();
    for (what, text) in [("bulk", bulk.text()), ("explanation", shown), ("log", log)] {
        assert!(!["Turin", "TURIN", "Lyon", "Bern"].iter().any(|value| text.contains(value)), "{what} holds a value");
    }
}

#[test]
fn a_refusal_says_what_to_ask_for() {
    let provider = Provider::start();
    let server = server(&provider, EnvironmentClass::Development);
    server.shop("acme");
    let ana = sign_in(&server, &provider, "ana");
    assign(&server, "ana", &json!({"roles": [], "tenant": "acme"}));
    let refused = ana.get(&server, "/v1/catalogue");
    assert_eq!(refused.problem(403), "access/denied");
    let help = refused.json()["help"].as_str().expect("help").to_owned();
    assert!(help.contains("creta access request --role viewer --tenant acme"), "{help}");
}

#[test]
fn staff_register_an_authenticator_use_it_and_sign_their_approvals() {
    let provider = Provider::start();
    let mut server = server(&provider, EnvironmentClass::Staging);
    appoint(&mut server, &provider, &[("ben", "security-lead")]);
    let (mut first, mut second) = (authenticator(&server, 1), authenticator(&server, 2));
    let ben = sign_in_with(&server, &provider, "ben", Some(&mut first));
    assert_eq!(ben.get(&server, "/v1/me").ok()["user_verified"], true);
    let ben = sign_in_with(&server, &provider, "ben", Some(&mut first));
    let ana = sign_in_with(&server, &provider, "ana", Some(&mut second));

    let request = ana.request(&server, "operator", 1).json();
    let path = format!("/v1/access/requests/{}", request["request"].as_str().expect("an id"));
    let approve = json!({"verdict": "approve", "digest": request["digest"]});
    let asked = ben.post(&server, &format!("{path}/decide"), &approve).ok();
    assert_eq!(asked["state"], "open", "nothing is decided before it is signed");
    let prompt = asked["verify"].as_str().expect("where to sign").split("prompt=").nth(1).expect("an id").to_owned();
    let page = server.browse_at(&origin(&server), &format!("/sign-in/verify?prompt={prompt}"), None);
    assert!(page.text().contains("Look into why last night"), "the approver reads what is asked");
    let wrong = answer_prompt(&server, &mut second, &prompt, None);
    assert_eq!(wrong.problem(403), "access/authenticator", "another person's authenticator signs nothing here");
    assert_eq!(ana.get(&server, &path).ok()["state"], "open");
    let asked = ben.post(&server, &format!("{path}/decide"), &approve).ok();
    let prompt = asked["verify"].as_str().expect("where to sign").split("prompt=").nth(1).expect("an id").to_owned();
    let said = answer_prompt(&server, &mut first, &prompt, None);
    assert!(said.ok()["text"].as_str().expect("text").contains("approved"), "{}", said.text());
    assert_eq!(ana.get(&server, &path).ok()["state"], "approved");
    let log = ben.get(&server, "/v1/audit/entries?limit=1000").text();
    for entry in
        ["authenticator.registered", "authenticator.verified", "authenticator.refused", r#""signed":"authenticator""#]
    {
        assert!(log.contains(entry), "{entry}");
    }
}

#[test]
fn attack_ci22_a_second_factor_that_is_absent_copied_replayed_or_unverified_signs_nobody_in() {
    let provider = Provider::start();
    let mut server = server(&provider, EnvironmentClass::Staging);
    appoint(&mut server, &provider, &[("ana", "administrator")]);
    let mut own = authenticator(&server, 1);
    sign_in_with(&server, &provider, "ben", Some(&mut own));
    let verifier = URL_SAFE_NO_PAD.encode(random::<32>());
    let key = prover();
    let begin_prompt = || {
        let (location, cookie) = begin(&server, key.thumbprint().as_str(), &verifier);
        let asked = provider.asked(&location);
        let code = provider.signs_in("ben", &asked.nonce);
        let path = format!("/sign-in/callback?code={code}&state={}", asked.state);
        let back = server.browse_at(&origin(&server), &path, Some(&cookie));
        let prompt = header(&back, "location").split("prompt=").nth(1).expect("a prompt").to_owned();
        (prompt, cookie)
    };
    // Present, and not verified.
    own.verifies = false;
    let (prompt, cookie) = begin_prompt();
    assert_eq!(answer_prompt(&server, &mut own, &prompt, Some(&cookie)).problem(403), "access/authenticator");
    own.verifies = true;
    // Somebody else's.
    let (prompt, cookie) = begin_prompt();
    let mut other = authenticator(&server, 9);
    assert_eq!(answer_prompt(&server, &mut other, &prompt, Some(&cookie)).problem(403), "access/authenticator");
    // From a look-alike site.
    let (prompt, cookie) = begin_prompt();
    own.origin = "https://localhost.evil.example".to_owned();
    assert_eq!(answer_prompt(&server, &mut own, &prompt, Some(&cookie)).problem(403), "access/authenticator");
    own.origin = origin(&server);
    // Another browser's prompt.
    let (prompt, _) = begin_prompt();
    assert_eq!(answer_prompt(&server, &mut own, &prompt, None).problem(401), "auth/sign-in-over");
    // A right answer, twice; the second time for another prompt too.
    let (prompt, cookie) = begin_prompt();
    answer_prompt(&server, &mut own, &prompt, Some(&cookie)).ok();
    assert_eq!(server.browse_at(&origin(&server), &format!("/sign-in/verify?prompt={prompt}"), None).status, 404);
    // A copy whose counter is behind: refused, and the authenticator is suspended until it is reset.
    let (prompt, cookie) = begin_prompt();
    let mut copy = authenticator(&server, 1);
    assert_eq!(answer_prompt(&server, &mut copy, &prompt, Some(&cookie)).problem(403), "access/authenticator");
    let (location, cookie) = begin(&server, key.thumbprint().as_str(), &verifier);
    let asked = provider.asked(&location);
    let code = provider.signs_in("ben", &asked.nonce);
    let back = server.browse_at(
        &origin(&server),
        &format!("/sign-in/callback?code={code}&state={}", asked.state),
        Some(&cookie),
    );
    assert_eq!(back.status, 403, "{}", back.text());
    let ana = sign_in_with(&server, &provider, "ana", Some(&mut authenticator(&server, 2)));
    ana.post(&server, "/v1/persons/ben@example.com/reset-authenticators", &json!({})).ok();
    sign_in_with(&server, &provider, "ben", Some(&mut authenticator(&server, 3)));
}
