//! Tenants' own people without a provider: invitations, passwords, second factors.

use std::cell::RefCell;
use std::net::Ipv4Addr;
use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use creta_keys::{KeyRing, RootKey};
use creta_model::{Environment, EnvironmentClass, Span};
use creta_platform::{Clock as _, ManualClock, Platform};
use creta_store::{MetadataStore as _, SqliteStore};
use serde_json::{Value, json};

use crate::people::{
    Someone, answer_prompt, appoint, authenticator, begin, code_in, cookie_of, header, open_session, origin, prover,
    random, server_by, sign_in_with,
};
use crate::provider::Provider;
use crate::soft_authenticator::SoftAuthenticator;
use crate::strangers::{ELSEWHERE, form_from};
use crate::support::{Reply, Server};

mod second_factors;

const FORM: &str = "application/x-www-form-urlencoded";
const PASSWORD: &str = "seven otters juggle";

/// A server of class staging with an administrator and the tenant `acme`, which has no provider.
struct World {
    server: Server,
    provider: Provider,
    clock: Arc<ManualClock>,
    key: SoftAuthenticator,
    kim: Someone,
    /// Who agrees where it takes two.
    lee: (Someone, RefCell<SoftAuthenticator>),
}

/// An application that makes codes (RFC 6238).
struct Codes(Vec<u8>);

impl Codes {
    /// From the page that shows its secret.
    fn on(page: &str) -> Self {
        let secret = page.split("secret=").nth(1).expect("an address").split(['&', '"']).next().expect("a secret");
        let mut bits = String::new();
        for letter in secret.bytes() {
            let value = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".iter().position(|known| *known == letter).expect("base32");
            bits.push_str(&format!("{value:05b}"));
        }
        let bytes = bits.as_bytes().chunks_exact(8);
        let byte = |bits: &[u8]| u8::from_str_radix(std::str::from_utf8(bits).expect("digits"), 2).expect("binary");
        Self(bytes.map(byte).collect())
    }

    fn at(&self, clock: &ManualClock) -> String {
        let step = u64::try_from(clock.now().micros() / 30_000_000).expect("after 1970");
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.0);
        let tag = hmac::sign(&key, &step.to_be_bytes());
        let tag = tag.as_ref();
        let offset = usize::from(tag[19] & 15);
        let number = u32::from_be_bytes(tag[offset..offset + 4].try_into().expect("four bytes")) & 0x7fff_ffff;
        format!("{:06}", number % 1_000_000)
    }
}

const NEED: &str = "Answers what customers of the shop ask";

impl World {
    fn new() -> Self {
        Self::with("")
    }

    fn with(tail: &str) -> Self {
        let provider = Provider::start();
        let (mut server, clock) = server_by(&provider, EnvironmentClass::Staging, tail);
        appoint(&mut server, &provider, &[("kim", "administrator"), ("lee", "security-lead")]);
        let (mut key, mut of_lee) = (authenticator(&server, 9), authenticator(&server, 10));
        let kim = sign_in_with(&server, &provider, "kim", Some(&mut key));
        let lee = sign_in_with(&server, &provider, "lee", Some(&mut of_lee));
        kim.post(&server, "/v1/tenants", &json!({"tenant": "acme"})).ok();
        let lee = (lee, RefCell::new(of_lee));
        Self { server, provider, clock, key, kim, lee }
    }

    fn invite(&self, who: &str) -> Reply {
        let body = json!({"email": format!("{who}@acme.example"), "tenant": "acme", "roles": ["viewer"], "need": NEED});
        self.kim.post(&self.server, "/v1/persons/invite", &body)
    }

    /// The code of the link.
    fn invited(&self, who: &str) -> String {
        let reply = self.invite(who);
        assert_eq!(reply.status, 201, "{}", reply.text());
        let link = reply.json()["link"].as_str().expect("a link").to_owned();
        assert!(link.starts_with(&format!("{}/sign-in/invited?code=", origin(&self.server))), "{link}");
        link.split("code=").nth(1).expect("a code").to_owned()
    }

    /// The same of somebody who has an account: another human agrees. The code of the link, and the word that goes with it.
    fn invited_again(&self, who: &str) -> (String, String) {
        let person = format!("{who}@acme.example");
        let body = json!({"what": "invite", "person": person, "tenant": "acme", "roles": ["viewer"], "need": NEED,
            "reason": "They lost both the password and the phone on a trip"});
        let asked = self.kim.post(&self.server, "/v1/person-requests", &body).ok();
        let path = format!("/v1/person-requests/{}/approve", asked["request"].as_str().expect("an id"));
        let agreed = self.lee.0.post(&self.server, &path, &json!({"digest": asked["digest"]})).ok();
        let said = self.lee_signs(&agreed).ok();
        let word = said["text"].as_str().expect("text").split("nobody else: ").nth(1).expect("a word").to_owned();
        (self.invited(who), word.split('.').next().expect("a word").to_owned())
    }

    fn form(&self, path: &str, cookie: Option<&str>, fields: &[(&str, &str)]) -> Reply {
        let encoded = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
        let pairs: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let mut headers = vec![("content-type", FORM)];
        headers.extend(cookie.map(|cookie| ("cookie", cookie)));
        self.server.post_form(&origin(&self.server), path, &headers, pairs.join("&").as_bytes())
    }

    fn choose(&self, code: &str, password: &str) -> Reply {
        self.form("/sign-in/invited", None, &[("code", code), ("password", password), ("again", password)])
    }

    fn choose_with(&self, (code, word): &(String, String), password: &str) -> Reply {
        let fields = [("code", code.as_str()), ("word", word), ("password", password), ("again", password)];
        self.form("/sign-in/invited", None, &fields)
    }

    fn page(&self, path: &str, cookie: &str) -> Reply {
        self.server.browse_at(&origin(&self.server), path, Some(cookie))
    }

    /// Somebody who was invited, chose the password, and registered an application.
    fn registered(&self, who: &str) -> Codes {
        self.registered_by(&self.invited(who))
    }

    /// Lee signs what an answer says has to be signed; what the page says then.
    fn lee_signs(&self, asked: &Value) -> Reply {
        let prompt = asked["verify"].as_str().expect("where to sign").split("prompt=").nth(1).expect("a prompt");
        answer_prompt(&self.server, &mut self.lee.1.borrow_mut(), prompt, None)
    }

    /// Asks for access, Lee approves it: its id.
    fn approved(&self, who: &Someone, role: &str) -> String {
        let request = who.request(&self.server, role, 1).json();
        let id = request["request"].as_str().unwrap_or_else(|| panic!("{request}")).to_owned();
        let approve = json!({"verdict": "approve", "digest": request["digest"]});
        let asked = self.lee.0.post(&self.server, &format!("/v1/access/requests/{id}/decide"), &approve).ok();
        self.lee_signs(&asked).ok();
        id
    }

    fn registered_by(&self, code: &str) -> Codes {
        let chosen = self.choose(code, PASSWORD);
        assert_eq!(header(&chosen, "location"), "/sign-in/second-factor", "{}", chosen.text());
        let cookie = cookie_of(&chosen);
        let page = self.page("/sign-in/second-factor", &cookie);
        assert!(page.text().contains("<svg") && page.text().contains("otpauth://totp/"), "{}", page.text());
        let codes = Codes::on(&page.text());
        let done = self.form("/sign-in/second-factor", Some(&cookie), &[("code", &codes.at(&self.clock))]);
        assert!(done.status == 200 && done.text().contains("You can sign in now"), "{}", done.text());
        self.clock.advance(Span::seconds(30)); // That code is used up.
        codes
    }

    /// The page where a command line's browser begins: its cookie.
    fn begin(&self, thumbprint: &str, verifier: &str) -> String {
        let challenge = URL_SAFE_NO_PAD.encode(creta_proof::Hash::of(&[verifier.as_bytes()]).as_bytes());
        let path = format!(
            "/sign-in?redirect_uri=http%3A%2F%2F127.0.0.1%3A7000%2Fsigned-in&state={}&code_challenge={challenge}\
             &code_challenge_method=S256&dpop_jkt={thumbprint}",
            "s".repeat(43)
        );
        let page = self.server.browse_at(&origin(&self.server), &path, None);
        assert_eq!(page.status, 200, "{}", page.text());
        assert!(page.text().contains("Sign in with your organisation"), "both ways are there: {}", page.text());
        cookie_of(&page)
    }

    fn type_password(&self, cookie: &str, name: &str, password: &str) -> Reply {
        self.form("/sign-in/local", Some(cookie), &[("name", name), ("password", password)])
    }

    fn sign_in(&self, name: &str, password: &str, codes: &Codes) -> Someone {
        let (prover, verifier) = (prover(), URL_SAFE_NO_PAD.encode(random::<32>()));
        let cookie = self.begin(prover.thumbprint().as_str(), &verifier);
        let typed = self.type_password(&cookie, name, password);
        assert_eq!(header(&typed, "location"), "/sign-in/second-factor", "{}", typed.text());
        let back = self.form("/sign-in/second-factor", Some(&cookie), &[("code", &codes.at(&self.clock))]);
        self.clock.advance(Span::seconds(30));
        let body = json!({"code": code_in(&back), "code_verifier": verifier});
        let opened = open_session(&self.server, &prover, &body).ok();
        Someone { prover, opened }
    }

    /// A try from a browser that was just opened.
    fn try_password(&self, name: &str, password: &str) -> Reply {
        let cookie = self.begin(prover().thumbprint().as_str(), "v");
        self.type_password(&cookie, name, password)
    }

    fn log(&self) -> String {
        self.kim.get(&self.server, "/v1/audit/entries?limit=1000").text()
    }
}

#[test]
fn whoever_is_invited_chooses_a_password_registers_a_factor_and_signs_in() {
    let world = World::new();
    let codes = world.registered("ana");
    let ana = world.sign_in("Ana@acme.example ", PASSWORD, &codes);
    let me = ana.get(&world.server, "/v1/me").ok();
    assert_eq!((&me["home"], &me["user_verified"]), (&json!("scope `prod/acme`"), &json!(true)), "{me}");
    ana.get(&world.server, "/v1/catalogue").ok();
    // Another password, with the present one; other sessions end.
    let other = world.sign_in("ana@acme.example", PASSWORD, &codes);
    let change =
        |current: &str, new: &str| ana.post(&world.server, "/v1/me/password", &json!({"current": current, "new": new}));
    assert_eq!(change("wrong wrong wrong", "eight lamps over a river").problem(403), "access/bad-password");
    assert_eq!(change(PASSWORD, "Password1234567!").problem(422), "request/password");
    change(PASSWORD, "eight lamps over a river").ok();
    assert_eq!(other.get(&world.server, "/v1/me").problem(401), "auth/bad-token");
    ana.get(&world.server, "/v1/me").ok();
    assert_eq!(world.try_password("ana@acme.example", PASSWORD).status, 401);
    world.sign_in("ana@acme.example", "eight lamps over a river", &codes);
    let log = world.log();
    for entry in
        ["person.invited", "password.chosen", "authenticator.registered", "authenticator.verified", "password.changed"]
    {
        assert!(log.contains(entry), "{entry}");
    }
    assert!(!log.contains(PASSWORD));
}

#[test]
fn attack_ci25_weak_and_breached_passwords_are_refused_and_nothing_is_used_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let list = folder.path().join("breached.txt");
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"nine herons dislike rain");
    std::fs::write(&list, format!("{}\n", hex::encode(digest))).expect("written");
    let world = World::with(&format!("[passwords]\nbreached = [{list:?}]\n"));
    let code = world.invited("ana");
    let long = "x".repeat(300);
    for (bad, says) in [
        ("short", "too short"),
        ("Password1234567!", "known from breaches"),
        ("nine herons dislike rain", "known from breaches"),
        ("ｎｉｎｅ herons dislike rain", "known from breaches"),
        ("ana.acme.example", "easily guessed"),
        (long.as_str(), "too long"),
    ] {
        let page = world.choose(&code, bad);
        assert!(page.status == 422 && page.text().contains(says), "{bad}: {} {}", page.status, page.text());
        assert!(!page.text().contains(bad) || bad == "short", "a page does not show what was typed");
    }
    let two = world.form("/sign-in/invited", None, &[("code", &code), ("password", PASSWORD), ("again", "other")]);
    assert!(two.status == 422 && two.text().contains("not the same"), "{}", two.text());
    assert_eq!(world.choose(&code, PASSWORD).status, 303);
    assert!(world.log().contains("password.refused"));
}

#[test]
fn attack_ci25_accounts_are_not_told_apart_and_guessing_is_slow() {
    let world = World::new();
    world.registered("ana");
    let said = |name: &str| {
        let reply = world.try_password(name, "seven otters juggles");
        assert_eq!(reply.status, 401, "{}", reply.text());
        reply.text()
    };
    let known = said("ana@acme.example");
    assert!(known.contains("Name or password is wrong"), "{known}");
    for other in ["nobody@acme.example", "kim@example.com", "", "' OR 1=1"] {
        assert_eq!(said(other), known, "{other}: also staff, whose password there is none");
    }
    for _ in 0..5 {
        said("ana@acme.example");
    }
    assert_eq!(world.try_password("ana@acme.example", PASSWORD).status, 429, "the right one waits too");
    let log = world.log();
    assert!(log.contains("sign-in.refused") && log.contains("CI-25"), "{log}");
}

#[test]
fn attack_ci25_of_many_codes_at_once_no_more_are_looked_at_than_one_after_the_other() {
    let world = World::new();
    let codes = world.registered("ana");
    let cookie = world.begin(prover().thumbprint().as_str(), "v");
    world.type_password(&cookie, "ana@acme.example", PASSWORD);
    let wrong = if codes.at(&world.clock) == "000000" { "code=000001" } else { "code=000000" };
    let said: Vec<u16> = std::thread::scope(|scope| {
        let send = || form_from(&world.server, Ipv4Addr::LOCALHOST, "/sign-in/second-factor", &cookie, wrong);
        let threads: Vec<_> = (0..14).map(|_| scope.spawn(send)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    assert!(said.iter().filter(|status| **status == 403).count() <= 5, "{said:?}");
    assert!(said.iter().all(|status| [403, 401, 429, 503].contains(status)), "{said:?}");
}

#[test]
fn attack_t04_guesses_from_elsewhere_keep_out_no_browser_in_which_the_password_was_right() {
    let world = World::new();
    world.registered("ana");
    let cookie = world.begin(prover().thumbprint().as_str(), "v");
    let typed = world.type_password(&cookie, "ana@acme.example", PASSWORD);
    let kept = typed.headers.get_all("set-cookie").iter().filter_map(|value| value.to_str().ok());
    let kept = kept.filter_map(|cookie| cookie.split(';').next()).find(|pair| pair.starts_with("__Host-creta-known="));
    let kept = kept.expect("the browser is known from now on").to_owned();
    // A stranger elsewhere tries the name, and invitations.
    let begun = world.begin(prover().thumbprint().as_str(), "v");
    let form = "name=ana%40acme.example&password=not+the+right+one";
    let said: Vec<u16> = (0..12).map(|_| form_from(&world.server, ELSEWHERE, "/sign-in/local", &begun, form)).collect();
    assert_eq!((said[0], said[11]), (401, 429), "{said:?}");
    assert_eq!(world.try_password("ana@acme.example", PASSWORD).status, 429, "browsers that nobody knows wait");
    let again = world.begin(prover().thumbprint().as_str(), "v");
    let both = format!("{again}; {kept}");
    assert_eq!(world.type_password(&both, "ana@acme.example", PASSWORD).status, 303, "this one does not");
    // It is known for that name, as it is, and guesses in it count too.
    let again = world.begin(prover().thumbprint().as_str(), "v");
    let last = if kept.ends_with('0') { "1" } else { "0" };
    let forged = format!("{again}; {}{last}", &kept[..kept.len() - 1]);
    assert_eq!(world.type_password(&forged, "ana@acme.example", PASSWORD).status, 429);
    let both = format!("{again}; {kept}");
    for _ in 0..10 {
        assert_eq!(world.type_password(&both, "ana@acme.example", "not the right one").status, 401);
    }
    assert_eq!(world.type_password(&both, "ana@acme.example", PASSWORD).status, 429);
    let invitation = "code=none&password=seven+otters+juggle&again=seven+otters+juggle";
    let said: Vec<u16> =
        (0..12).map(|_| form_from(&world.server, ELSEWHERE, "/sign-in/invited", "a=b", invitation)).collect();
    assert_eq!((said[0], said[11]), (404, 429), "{said:?}");
    assert_eq!(world.choose(&world.invited("eve"), PASSWORD).status, 303);
}

#[test]
fn attack_ci25_hashes_that_were_weakened_in_storage_are_refused() {
    let mut world = World::new();
    world.registered("ana");
    world.server.stop();
    // Whoever can write the documents, and knows the password, would make guessing cheap for others.
    change_document(&world.server, "local-account", "ana@acme.example", |document| {
        assert_eq!(document["password"]["cost"], json!({"memory_kib": 19_456, "passes": 2, "lanes": 1}));
        document["password"]["cost"]["memory_kib"] = json!(8);
    });
    world.server.start();
    assert_eq!(world.try_password("ana@acme.example", PASSWORD).status, 401);
    let mut key = std::mem::replace(&mut world.key, authenticator(&world.server, 8));
    key.origin = origin(&world.server); // It has another port now.
    let kim = sign_in_where_both_are(&world, "kim", &mut key);
    let log = kim.get(&world.server, "/v1/audit/entries?limit=1000").text();
    assert!(log.contains("password.tampered"), "{log}");
}

/// Writes into a document of the control plane as whoever has the root key could.
fn change_document(server: &Server, kind: &str, id: &str, change: impl FnOnce(&mut Value)) {
    let environment = Environment::parse("prod").expect("valid");
    let platform = Platform::system(server.data()).expect("a folder");
    let root = RootKey::load_file(&server.report.root_key, &environment).expect("the key");
    let ring = KeyRing::open(root, environment.clone(), platform).expect("opens");
    let key = ring.scope(&creta_iam::control_plane(&environment)).expect("there");
    let store = SqliteStore::open(server.data().join("metadata.sqlite"), key).expect("opens");
    let document = store.list(kind).expect("readable").into_iter().find(|document| document.id == id).expect("there");
    let mut body: Value = serde_json::from_slice(&document.body).expect("JSON");
    change(&mut body);
    store.write(kind, id, Some(document.version), body.to_string().as_bytes()).expect("written");
}

/// Somebody signs in at the provider where the page asks which way.
fn sign_in_where_both_are(world: &World, who: &str, key: &mut SoftAuthenticator) -> Someone {
    let (prover, verifier) = (prover(), URL_SAFE_NO_PAD.encode(random::<32>()));
    let cookie = world.begin(prover.thumbprint().as_str(), &verifier);
    let sent = world.form("/sign-in/local", Some(&cookie), &[("with", "provider")]);
    let (location, cookie) = (header(&sent, "location"), cookie_of(&sent));
    let asked = world.provider.asked(&location);
    let code = world.provider.signs_in(who, &asked.nonce);
    let path = format!("/sign-in/callback?code={code}&state={}", asked.state);
    let back = world.page(&path, &cookie);
    let prompt = header(&back, "location").split("prompt=").nth(1).expect("a prompt").to_owned();
    let said = answer_prompt(&world.server, key, &prompt, Some(&cookie));
    let body = json!({"code": code_in(&said), "code_verifier": verifier});
    Someone { opened: open_session(&world.server, &prover, &body).ok(), prover }
}

#[test]
fn attack_ci22_a_code_works_once_and_a_password_alone_registers_nothing() {
    let world = World::new();
    let codes = world.registered("ana");
    let (prover, verifier) = (prover(), URL_SAFE_NO_PAD.encode(random::<32>()));
    let begin = || {
        let cookie = world.begin(prover.thumbprint().as_str(), &verifier);
        world.type_password(&cookie, "ana@acme.example", PASSWORD);
        cookie
    };
    let enter = |cookie: &str, code: &str| world.form("/sign-in/second-factor", Some(cookie), &[("code", code)]);
    let code = codes.at(&world.clock);
    let back = enter(&begin(), &code);
    code_in(&back);
    let again = enter(&begin(), &code);
    assert!(again.status == 403 && again.text().contains("was used before"), "{}", again.text());
    // A code without a password, from another browser, or guessed.
    world.clock.advance(Span::seconds(30));
    let unknown = format!("__Host-creta-sign-in={}", "0".repeat(64));
    assert_eq!(enter(&unknown, &codes.at(&world.clock)).status, 401);
    let at_once = world.begin(prover.thumbprint().as_str(), &verifier);
    assert_eq!(enter(&at_once, &codes.at(&world.clock)).status, 401, "before the password");
    let cookie = begin();
    for _ in 0..5 {
        assert_eq!(enter(&cookie, "000000").status, 403);
    }
    assert_eq!(enter(&cookie, &codes.at(&world.clock)).status, 401, "five wrong ones end it");
    // Somebody whose password is known and who never registered a factor: nobody registers one for them.
    let chosen = world.choose(&world.invited("eve"), PASSWORD);
    assert_eq!(chosen.status, 303);
    world.clock.advance(Span::seconds(61));
    let refused = world.try_password("eve@acme.example", PASSWORD);
    assert!(refused.status == 403 && refused.text().contains("No second factor"), "{}", refused.text());
}

#[test]
fn attack_ci22_an_invitation_is_used_once_within_three_days_and_a_new_one_ends_everything() {
    let world = World::new();
    let (first, second) = (world.invited("ana"), world.invited("ana"));
    assert_eq!(world.choose(&first, PASSWORD).status, 404, "a newer one replaced it");
    assert_eq!(world.choose(&second, PASSWORD).status, 303);
    assert_eq!(world.choose(&second, "eight lamps over a river").status, 404, "once");
    world.clock.advance(Span::seconds(61));
    let late = world.invited("ben");
    world.clock.advance(Span::days(3));
    assert_eq!(world.choose(&late, PASSWORD).status, 404, "too late");
}

#[test]
fn attack_ci22_whoever_is_invited_anew_has_lost_password_factor_and_sessions() {
    let world = World::new();
    let codes = world.registered("ana");
    let ana = world.sign_in("ana@acme.example", PASSWORD, &codes);
    // Whoever has the link acts in her name, so one administrator alone gets none, and not the word that goes with it.
    assert_eq!(world.invite("ana").problem(403), "access/second-person");
    ana.get(&world.server, "/v1/me").ok();
    let (code, word) = world.invited_again("ana");
    assert_eq!(ana.get(&world.server, "/v1/me").problem(401), "auth/bad-token");
    assert_eq!(world.try_password("ana@acme.example", PASSWORD).status, 401);
    assert_eq!(world.invite("ana").problem(403), "access/second-person", "nor instead of what two agreed to");
    assert_eq!(world.choose(&code, PASSWORD).status, 422, "without the word");
    let wrong = (code.clone(), "BCDF-GHJK".to_owned());
    assert_eq!(world.choose_with(&wrong, PASSWORD).status, 422, "with another");
    assert!(world.log().contains("person.agreed") && world.log().contains("person.refused"));
    assert_eq!(world.choose_with(&(code, word.to_lowercase().replace('-', " ")), PASSWORD).status, 303);
    assert_eq!(world.try_password("ana@acme.example", PASSWORD).status, 403, "and registers a factor anew");
    // Nobody is invited under the name of somebody else, or invites themselves.
    let invite = |who: &Someone, name: &str| {
        let body = json!({"email": name, "tenant": "acme", "roles": []});
        who.post(&world.server, "/v1/persons/invite", &body)
    };
    assert_eq!(invite(&world.kim, "kim@example.com").problem(403), "access/own-roles");
    let mut key = authenticator(&world.server, 6);
    sign_in_where_both_are(&world, "lou", &mut key);
    assert_eq!(invite(&world.kim, "lou@example.com").problem(409), "conflict/person");
}

/// A sign-in takes minutes and several hands: what was taken away meanwhile is worth nothing at its end.
#[test]
fn attack_ci22_what_began_with_an_old_password_or_invitation_comes_to_nothing() {
    let world = World::new();
    let codes = world.registered("ana");
    let (key, verifier) = (prover(), URL_SAFE_NO_PAD.encode(random::<32>()));
    // All steps up to the code that a command line would collect.
    let complete = |password: &str| {
        let cookie = world.begin(key.thumbprint().as_str(), &verifier);
        world.type_password(&cookie, "ana@acme.example", password);
        let back = world.form("/sign-in/second-factor", Some(&cookie), &[("code", &codes.at(&world.clock))]);
        world.clock.advance(Span::seconds(30));
        json!({"code": code_in(&back), "code_verifier": verifier})
    };
    let ana = world.sign_in("ana@acme.example", PASSWORD, &codes);
    let collected_late = complete(PASSWORD);
    let other = "eight lamps over a river";
    ana.post(&world.server, "/v1/me/password", &json!({"current": PASSWORD, "new": other})).ok();
    assert_eq!(open_session(&world.server, &key, &collected_late).problem(401), "auth/sign-in-over");
    // A page that has the password and waits for the code, and one where somebody invited registers a factor.
    let waiting = world.begin(key.thumbprint().as_str(), &verifier);
    world.type_password(&waiting, "ana@acme.example", other);
    let collected_late = complete(other);
    let chosen = world.choose_with(&world.invited_again("ana"), PASSWORD);
    assert_eq!(open_session(&world.server, &key, &collected_late).problem(401), "auth/sign-in-over");
    let late = world.form("/sign-in/second-factor", Some(&waiting), &[("code", &codes.at(&world.clock))]);
    assert!((400..500).contains(&late.status), "{}", late.text());
    let registering = cookie_of(&chosen);
    let found = Codes::on(&world.page("/sign-in/second-factor", &registering).text());
    let newest = world.invited_again("ana");
    let late = world.form("/sign-in/second-factor", Some(&registering), &[("code", &found.at(&world.clock))]);
    assert_eq!(late.status, 401, "{}", late.text());
    let chosen = world.choose_with(&newest, PASSWORD);
    assert_eq!(header(&chosen, "location"), "/sign-in/second-factor");
    let cookie = cookie_of(&chosen);
    assert!(world.page("/sign-in/second-factor", &cookie).text().contains("otpauth"), "nobody registered one for her");
}

#[test]
fn attack_ci21_staff_have_no_password_and_there_is_no_route_for_one() {
    let provider = Provider::start();
    let (server, _) = server_by(&provider, EnvironmentClass::Development, "");
    for (method, path) in [("POST", "/sign-in/local"), ("GET", "/sign-in/invited?code=x"), ("POST", "/sign-in/invited")]
    {
        assert_eq!(server.send(method, path, None, None).problem(404), "not-found/path", "{path}");
    }
    let world = World::new();
    // Nor does the local administrator get in beside somebody who is administrator by name.
    let local = world.server.ask_token(&world.server.admin.client_id, &world.server.admin.client_secret);
    assert_eq!(local.problem(401), "auth/bad-credentials");
    let without = json!({"email": "staff@acme.example"});
    assert_eq!(world.kim.post(&world.server, "/v1/persons/invite", &without).problem(400), "request/malformed");
    world.registered("ana");
    let staff = json!({"roles": ["operator"], "need": NEED});
    let moved = world.kim.post(&world.server, "/v1/persons/ana@acme.example/assign", &staff);
    assert_eq!(moved.problem(409), "conflict/password", "nobody with a password becomes staff");
    assert_eq!(world.try_password("kim@example.com", PASSWORD).status, 401);
}

#[test]
fn tenants_own_people_who_sign_in_at_the_provider_register_a_second_factor_as_well() {
    let world = World::new();
    let mut key = authenticator(&world.server, 4);
    sign_in_with(&world.server, &world.provider, "ben", Some(&mut key));
    world
        .kim
        .post(
            &world.server,
            "/v1/persons/ben@example.com/assign",
            &json!({"roles": ["viewer"], "tenant": "acme", "need": NEED}),
        )
        .ok();
    world.kim.send(&world.server, "POST", "/v1/persons/ben@example.com/reset-authenticators", None).ok();
    let (prover, verifier) = (prover(), URL_SAFE_NO_PAD.encode(random::<32>()));
    let callback = |world: &World| {
        let (location, cookie) = begin(&world.server, prover.thumbprint().as_str(), &verifier);
        let asked = world.provider.asked(&location);
        let code = world.provider.signs_in("ben", &asked.nonce);
        let back = world.page(&format!("/sign-in/callback?code={code}&state={}", asked.state), &cookie);
        assert_eq!(header(&back, "location"), "/sign-in/second-factor", "{}", back.text());
        cookie
    };
    // He does not get on without one.
    let cookie = callback(&world);
    let page = world.page("/sign-in/second-factor", &cookie);
    let codes = Codes::on(&page.text());
    assert_eq!(world.form("/sign-in/second-factor", Some(&cookie), &[("code", "000000")]).status, 403);
    let back = world.form("/sign-in/second-factor", Some(&cookie), &[("code", &codes.at(&world.clock))]);
    let body = json!({"code": code_in(&back), "code_verifier": verifier});
    let ben = Someone { opened: open_session(&world.server, &prover, &body).ok(), prover: crate::people::prover() };
    assert_eq!(ben.opened["person"], "ben@example.com");
    // From now on it is asked for each time, and works once.
    let cookie = callback(&world);
    let page = world.page("/sign-in/second-factor", &cookie);
    assert!(page.text().contains("Enter your code") && !page.text().contains("otpauth"), "{}", page.text());
    let used = world.form("/sign-in/second-factor", Some(&cookie), &[("code", &codes.at(&world.clock))]);
    assert!(used.status == 403 && used.text().contains("was used before"), "{}", used.text());
    // Or a security key instead, after a reset.
    world.kim.send(&world.server, "POST", "/v1/persons/ben@example.com/reset-authenticators", None).ok();
    let cookie = callback(&world);
    let sent = world.form("/sign-in/second-factor", Some(&cookie), &[("key", "yes")]);
    let prompt = header(&sent, "location").split("prompt=").nth(1).expect("a prompt").to_owned();
    let said = answer_prompt(&world.server, &mut world.key_of_ben(), &prompt, Some(&cookie));
    code_in(&said);
}

impl World {
    fn key_of_ben(&self) -> SoftAuthenticator {
        authenticator(&self.server, 5)
    }
}

#[test]
fn attack_ci22_prompts_do_not_pile_up_until_somebody_gives_in() {
    let mut world = World::new();
    let prompt = |world: &mut World| {
        let (location, cookie) = begin(&world.server, prover().thumbprint().as_str(), "v");
        let asked = world.provider.asked(&location);
        let code = world.provider.signs_in("kim", &asked.nonce);
        world.page(&format!("/sign-in/callback?code={code}&state={}", asked.state), &cookie)
    };
    for _ in 0..3 {
        assert_eq!(prompt(&mut world).status, 303);
    }
    let refused = prompt(&mut world);
    assert!(refused.status == 403 && refused.text().contains("Too many prompts"), "{}", refused.text());
    assert!(world.log().contains("authenticator.refused"));
    world.clock.advance(Span::seconds(300));
    assert_eq!(prompt(&mut world).status, 303, "after a while");
}

/// Slowing down alone ends no guessing: NIST SP 800-63B section 3.2.2 allows a hundred wrong ones in a row.
#[test]
fn attack_ci25_after_a_hundred_wrong_ones_in_a_row_the_right_one_counts_for_nothing_either() {
    let mut world = World::new();
    let codes = world.registered("ana");
    let wrong = |codes: &Codes, clock: &ManualClock| match codes.at(clock).as_str() {
        "000000" => "000001",
        _ => "000000",
    };
    // Whoever knows her password guesses at her codes: ten without delay, then one an hour.
    for number in 0..100 {
        let cookie = world.begin(prover().thumbprint().as_str(), "v");
        assert_eq!(world.type_password(&cookie, "ana@acme.example", PASSWORD).status, 303);
        let guess = |world: &World| {
            let code = wrong(&codes, &world.clock);
            world.form("/sign-in/second-factor", Some(&cookie), &[("code", code)])
        };
        assert_eq!(guess(&world).status, 403, "{number}");
        if number == 20 {
            let early = guess(&world);
            assert!(early.status == 429 && early.text().contains("Too many wrong ones in a row"), "{}", early.text());
        }
        world.clock.advance(Span::seconds(if number < 9 { 7 } else { 3_600 }));
    }
    let cookie = world.begin(prover().thumbprint().as_str(), "v");
    world.type_password(&cookie, "ana@acme.example", PASSWORD);
    let right = world.form("/sign-in/second-factor", Some(&cookie), &[("code", &codes.at(&world.clock))]);
    assert!(right.status == 403 && right.text().contains("Too many codes were wrong"), "{}", right.text());

    // A stranger guesses at a password.
    world.clock.advance(Span::seconds(61));
    let mut key = std::mem::replace(&mut world.key, authenticator(&world.server, 8));
    world.kim = sign_in_where_both_are(&world, "kim", &mut key); // Tokens last a quarter of an hour.
    world.key = key;
    let mut of_lee = world.lee.1.replace(authenticator(&world.server, 8));
    let lee = sign_in_where_both_are(&world, "lee", &mut of_lee);
    world.lee = (lee, RefCell::new(of_lee));
    let chosen = world.choose_with(&world.invited_again("ana"), PASSWORD);
    let cookie = cookie_of(&chosen);
    let codes = Codes::on(&world.page("/sign-in/second-factor", &cookie).text());
    world.form("/sign-in/second-factor", Some(&cookie), &[("code", &codes.at(&world.clock))]);
    world.clock.advance(Span::seconds(61));
    let known = world.begin(prover().thumbprint().as_str(), "v");
    let typed = world.type_password(&known, "ana@acme.example", PASSWORD);
    let kept = typed.headers.get_all("set-cookie").iter().filter_map(|value| value.to_str().ok());
    let kept = kept.filter_map(|cookie| cookie.split(';').next()).find(|pair| pair.starts_with("__Host-creta-known="));
    let kept = kept.expect("her browser is known").to_owned();
    for number in 0..100 {
        assert_eq!(world.try_password("ana@acme.example", "not the right one").status, 401, "{number}");
        if number == 20 {
            assert_eq!(world.try_password("ana@acme.example", PASSWORD).status, 401, "too early");
        }
        world.clock.advance(Span::seconds(if number < 9 { 7 } else { 3_600 }));
        world.server.running().keep_log().expect("kept");
    }
    assert_eq!(world.try_password("ana@acme.example", PASSWORD).status, 401, "nobody gets in by guessing on");
    // She does, where it was right before; then it counts everywhere.
    let again = world.begin(prover().thumbprint().as_str(), "v");
    assert_eq!(world.type_password(&format!("{again}; {kept}"), "ana@acme.example", PASSWORD).status, 303);
    assert_eq!(world.try_password("ana@acme.example", PASSWORD).status, 303);
    world.server.running().keep_log().expect("kept");
    let mut key = std::mem::replace(&mut world.key, authenticator(&world.server, 8));
    key.origin = origin(&world.server);
    let kim = sign_in_where_both_are(&world, "kim", &mut key);
    let log = kim.get(&world.server, "/v1/audit/entries?limit=1000").text();
    assert!(log.contains("authenticator.suspended"), "{log}");
}

#[test]
fn attack_ch14_whoever_one_person_invited_sees_and_ends_nothing_of_theirs_nor_of_each_others() {
    let world = World::new();
    let server = &world.server;
    world.kim.post(server, "/v1/tenants", &json!({"tenant": "globex"})).ok();
    let codes = world.registered("eve");
    let eve = world.sign_in("eve@acme.example", PASSWORD, &codes);
    let body = json!({"email": "zed@globex.example", "tenant": "globex", "roles": ["viewer"], "need": NEED});
    let link = world.kim.post(server, "/v1/persons/invite", &body).json()["link"].as_str().expect("a link").to_owned();
    let codes = world.registered_by(link.split("code=").nth(1).expect("a code"));
    let zed = world.sign_in("zed@globex.example", PASSWORD, &codes);
    let running = world.approved(&world.kim, "operator");
    let grant = world.kim.post(server, &format!("/v1/access/requests/{running}/activate"), &json!({})).ok();
    let waiting = zed.request(server, "developer", 1).json();
    let waiting = waiting["request"].as_str().unwrap_or_else(|| panic!("{waiting}")).to_owned();

    // All three stand for Kim where two people are needed; what they ask for and hold is each one's own.
    let listed = |path: &str, of: &str| eve.get(server, path).ok()[of].as_array().map(Vec::len);
    assert_eq!(listed("/v1/access/requests", "requests"), Some(0));
    assert_eq!(listed("/v1/access/grants", "grants"), Some(0));
    for id in [&running, &waiting] {
        assert_eq!(eve.get(server, &format!("/v1/access/requests/{id}")).status, 404);
        let withdrawn = eve.post(server, &format!("/v1/access/requests/{id}/withdraw"), &json!({}));
        assert!((400..500).contains(&withdrawn.status), "{}", withdrawn.text());
    }
    let grant = grant["grant"].as_str().expect("an id");
    assert_eq!(eve.post(server, &format!("/v1/access/grants/{grant}/return"), &json!({})).status, 404);
    assert_eq!(world.kim.get(server, "/v1/access/grants").ok()["grants"][0]["holds"], true);
    assert_eq!(zed.get(server, &format!("/v1/access/requests/{waiting}")).ok()["state"], "open");
    assert_eq!(listed("/v1/access/requests", "requests"), Some(0));
    let own = eve.request(server, "developer", 1).ok();
    assert_eq!(listed("/v1/access/requests", "requests"), Some(1), "{own}");
}

#[test]
fn attack_ch43_vouching_is_signed_and_what_was_asked_for_before_stays_ones_own() {
    let world = World::new();
    let server = &world.server;
    let codes = world.registered("eve");
    let eve = world.sign_in("eve@acme.example", PASSWORD, &codes);
    let vouch = || world.lee.0.post(server, "/v1/persons/eve@acme.example/vouch", &json!({})).ok();
    let first = vouch();
    let stands = |who: &Value| who["stands_for"].is_string();
    let of_eve = || world.kim.get(server, "/v1/persons").ok()["persons"].as_array().expect("a list").clone();
    let of_eve = || of_eve().into_iter().find(|one| one["person"] == "eve@acme.example").expect("listed");
    assert!(stands(&first) && first["verify"].is_string() && stands(&of_eve()), "a session alone vouches for nobody");
    // Asked for and approved while the account stood for whoever invited it.
    let id = world.approved(&eve, "developer");
    assert!(world.lee_signs(&vouch()).ok()["text"].as_str().expect("text").contains("human of their own"));
    assert!(!stands(&of_eve()));
    // It is one and the same account that begins it and gives it back, and nobody else's.
    let grant = eve.post(server, &format!("/v1/access/requests/{id}/activate"), &json!({})).ok();
    let back = format!("/v1/access/grants/{}/return", grant["grant"].as_str().expect("an id"));
    assert_eq!(world.kim.post(server, &back, &json!({})).status, 404);
    eve.post(server, &back, &json!({})).ok();
    let log = world.kim.get(server, "/v1/audit/entries?limit=1000").text();
    assert!(log.contains("person.vouched") && log.contains(r#""signed":"authenticator""#), "{log}");
}
