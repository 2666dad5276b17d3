//! Browsers on enrolled computers: what a computer's word makes of a page's session, and attacks on it.

use creta_identity::device::{BrowserSession, Signed, State, Vouching};
use creta_identity::dpop::Prover;
use creta_identity::key::Thumbprint;
use creta_model::{Environment, EnvironmentClass, Instant, Span};
use serde_json::{Value, json};

use crate::browser::{Browser, attribute, refused};
use crate::devices::{Laptop, good, key, log, production, sign_in_on, standard};
use crate::people::{assign, authenticator, now, prover, server_by, sign_in_registering};
use crate::provider::Provider;
use crate::soft_authenticator::SoftAuthenticator;
use crate::support::{Reply, Server};

const STATE: &str = "sssssssssssssssssssssssssssssssssssssssssss";

/// The word that a browser is told when its user presses the button.
fn word_of(server: &Server, browser: &Browser) -> String {
    let page = browser.post(server, "/view/computer", &[("port", "7000"), ("state", STATE)]);
    assert_eq!(page.status, 200, "{}", page.text());
    assert_eq!((attribute(&page.text(), "port"), attribute(&page.text(), "state")), ("7000".into(), STATE.into()));
    attribute(&page.text(), "told")
}

/// What a computer does with a word: asks whose it is, and signs that.
struct Vouch<'a> {
    laptop: &'a Laptop<'a>,
    word: String,
    browser: BrowserSession,
    nonce: String,
}

impl<'a> Vouch<'a> {
    fn begin(laptop: &'a Laptop<'a>, word: &str) -> Self {
        let offered = laptop.owner.post(laptop.server, "/v1/sessions/browser/offered", &json!({"word": word})).ok();
        let text = |name: &str| offered[name].as_str().expect("text").to_owned();
        let browser = BrowserSession {
            environment: Environment::parse(text("environment")).expect("a name"),
            person: text("person"),
            session: text("session"),
            key: Thumbprint::parse(&text("key")).expect("a thumbprint"),
            word: word.to_owned(),
        };
        Self { laptop, word: word.to_owned(), browser, nonce: laptop.nonce() }
    }

    fn signed(&self) -> Signed {
        Signed::make(&Vouching::new(self.laptop.id(), self.browser.clone(), &self.nonce), &self.laptop.key)
    }

    fn send(&self) -> Reply {
        self.send_signed(&self.signed())
    }

    fn send_signed(&self, signed: &Signed) -> Reply {
        let body = json!({"device": self.laptop.id().as_str(), "word": self.word, "signed": signed});
        self.laptop.owner.post(self.laptop.server, "/v1/sessions/browser", &body)
    }
}

fn vouch(laptop: &Laptop<'_>, browser: &Browser) -> Value {
    Vouch::begin(laptop, &word_of(laptop.server, browser)).send().ok()
}

/// A computer with a TPM of a person with an authenticator, and their browser.
fn ready<'a>(
    server: &'a Server,
    provider: &Provider,
    (who, seed): (&str, u8),
    own: &mut SoftAuthenticator,
) -> (Laptop<'a>, Browser) {
    let owner = sign_in_registering(server, provider, who, Prover::new(key(seed)), own);
    let laptop = Laptop { server, owner, key: key(seed) };
    assert_eq!(laptop.enrol(true, None).status, 201);
    laptop.report(1, good()).ok();
    let laptop = Laptop { owner: sign_in_on(server, provider, who, seed, Some(own)), ..laptop };
    assert_eq!(laptop.worth(), "trusted");
    let browser = Browser::open_with(server, provider, who, Some(own));
    (laptop, browser)
}

/// What a page below `/my` reaches in production with a role that counts on trusted devices alone.
fn reach(server: &Server, browser: &Browser) -> u16 {
    browser.get(server, "/view/reviews").status
}

#[test]
fn attack_ch18_a_browser_reaches_production_by_its_computers_word_and_only_while_the_computer_is_good() {
    let provider = Provider::start();
    let server = production(&provider, &[("ana", "leads")]);
    let mut yubikey = authenticator(&server, 1);
    let (mut laptop, browser) = ready(&server, &provider, ("ana", 7), &mut yubikey);
    let refusal = browser.get(&server, "/view/reviews");
    assert_eq!(refused(&refusal, 403), "access/denied");
    assert!(refusal.text().contains("creta device browser"), "it says what to do: {}", refusal.text());

    let told = vouch(&laptop, &browser);
    assert_eq!((&told["device"]["name"], &told["device"]["trust"]), (&json!("laptop"), &json!("trusted")));
    assert_eq!(reach(&server, &browser), 200);
    let page = browser.get(&server, "/view").text();
    assert!(page.contains("counts as your enrolled computer"), "{page}");
    assert!(browser.get(&server, "/view/computer").text().contains("<strong>laptop</strong>"));
    // Another browser of the same person on another machine has no part in it.
    let elsewhere = Browser::open_with(&server, &provider, "ana", Some(&mut yubikey));
    assert_eq!(reach(&server, &elsewhere), 403);

    // The computer turns bad: the browser's session is over with all others of that computer.
    let mut bad = good();
    bad.disk_encryption = State::Off;
    laptop.report(2, bad.clone()).ok();
    assert_eq!(refused(&browser.get(&server, "/view/reviews"), 401), "auth/session-over");
    assert_eq!(elsewhere.get(&server, "/view").status, 200, "which has nothing to do with it");
    // A computer that is bad vouches for nothing.
    laptop.owner = sign_in_on(&server, &provider, "ana", 7, Some(&mut yubikey));
    let refusal = Vouch::begin(&laptop, &word_of(&server, &elsewhere)).send();
    assert_eq!(refusal.problem(403), "access/device-bad");

    // Good again, it does; and revoked, it takes the browser with it.
    laptop.report(3, good()).ok();
    vouch(&laptop, &elsewhere);
    assert_eq!(reach(&server, &elsewhere), 200);
    laptop.owner.post(&server, &laptop.path("revoke"), &json!({})).ok();
    assert_eq!(refused(&elsewhere.get(&server, "/view/reviews"), 401), "auth/session-over");
}

#[test]
fn attack_ch18_a_computers_word_is_for_one_session_of_its_owner_once() {
    let provider = Provider::start();
    let server = production(&provider, &[("ana", "leads"), ("eve", "leads")]);
    let (mut of_ana, mut of_eve) = (authenticator(&server, 1), authenticator(&server, 2));
    let (ana, browser) = ready(&server, &provider, ("ana", 7), &mut of_ana);
    let (eve, of_attacker) = ready(&server, &provider, ("eve", 8), &mut of_eve);

    // Phishing: Eve's session has its word brought to Ana's computer. Ana's command asks whose it is, and is told nothing.
    let word = word_of(&server, &of_attacker);
    let asked = ana.owner.post(&server, "/v1/sessions/browser/offered", &json!({"word": word}));
    assert_eq!(asked.problem(404), "not-found/browser");
    // Whatever her computer signs: for Eve's session as Eve's, as Ana's, with Eve's word for Ana's own session.
    let own = Vouch::begin(&ana, &word_of(&server, &browser));
    let of_eve_ = Vouch::begin(&eve, &word);
    for wrong in [
        of_eve_.browser.clone(),
        BrowserSession { person: "ana@example.com".to_owned(), ..of_eve_.browser.clone() },
        BrowserSession { word: word.clone(), ..own.browser.clone() },
    ] {
        let lured = Vouch { laptop: &ana, word: word.clone(), browser: wrong, nonce: ana.nonce() };
        assert_eq!(lured.send().problem(404), "not-found/browser");
    }
    assert_eq!(reach(&server, &of_attacker), 403);
    // Eve brings Ana's word to her own computer, and names Ana's computer as hers.
    let stolen = Vouch { laptop: &eve, ..Vouch::begin(&ana, &own.word) };
    assert_eq!(stolen.send().problem(404), "not-found/browser");
    let body = json!({"device": ana.id().as_str(), "word": word, "signed": own.signed()});
    assert_eq!(eve.owner.post(&server, "/v1/sessions/browser", &body).problem(404), "not-found/device");

    // Another session of hers, another key, another environment, another computer's signature, another nonce.
    let second = Browser::open_with(&server, &provider, "ana", Some(&mut of_ana));
    let other = Vouch::begin(&ana, &word_of(&server, &second)).browser;
    let wrong: [(&str, BrowserSession); 4] = [
        ("session", BrowserSession { session: other.session.clone(), ..own.browser.clone() }),
        ("key", BrowserSession { key: prover().thumbprint(), ..own.browser.clone() }),
        (
            "environment",
            BrowserSession { environment: Environment::parse("staging").expect("a name"), ..own.browser.clone() },
        ),
        ("word", BrowserSession { word: "00".repeat(32), ..own.browser.clone() }),
    ];
    for (what, browser) in wrong {
        let vouching = Vouching::new(ana.id(), browser, &ana.nonce());
        let refusal = own.send_signed(&Signed::make(&vouching, &ana.key));
        assert_eq!(refusal.problem(422), "device/other-browser", "another {what}");
    }
    let foreign = Signed::make(&Vouching::new(ana.id(), own.browser.clone(), &ana.nonce()), &eve.key);
    assert_eq!(own.send_signed(&foreign).problem(422), "device/signature");
    let unasked = Signed::make(&Vouching::new(ana.id(), own.browser.clone(), "n"), &ana.key);
    assert_eq!(own.send_signed(&unasked).problem(422), "device/nonce");
    assert_eq!((reach(&server, &browser), reach(&server, &second)), (403, 403), "nothing of this counted");

    // What is right counts once: not again, and not for the session of a later sign-in.
    own.send().ok();
    assert_eq!((reach(&server, &browser), reach(&server, &second)), (200, 403));
    assert_eq!(own.send().problem(404), "not-found/browser", "the word was used");
    let again = Vouch::begin(&ana, &word_of(&server, &browser));
    assert_eq!(again.send_signed(&own.signed()).problem(422), "device/other-browser", "with a new word too");
    let path = format!("/view/sessions/{}/end", own.browser.session);
    assert_eq!(browser.post(&server, &path, &[]).status, 200);
    let later = Browser::open_with(&server, &provider, "ana", Some(&mut of_ana));
    assert_eq!(reach(&server, &later), 403, "the bond ended with the session");
    assert_eq!(again.send().problem(404), "not-found/browser", "nobody vouches for a session that is over");
}

#[test]
fn attack_ch18_a_computers_word_for_a_browser_ends_by_itself_and_a_key_in_a_file_makes_no_trusted_browser() {
    let provider = Provider::start();
    let (server, clock) = server_by(&provider, EnvironmentClass::Development, &standard());
    let laptop = Laptop::ready(&server, &provider, "ana", 7);
    assign(&server, "ana", &json!({"roles": ["security-lead"]}));
    let browser = Browser::open(&server, &provider, "ana");
    let told = vouch(&laptop, &browser);
    let until = Instant::parse(told["until"].as_str().expect("an instant")).expect("an instant");
    assert_eq!(until, now().plus(Span::hours(4)));
    assert!(log(&server).contains("\"session.vouched\""), "{}", log(&server));
    let counts = |browser: &Browser| browser.get(&server, "/view").text().contains("counts as your enrolled computer");
    // A word that is late is none.
    let word = word_of(&server, &browser);
    clock.advance(Span::seconds(120));
    let asked = laptop.owner.post(&server, "/v1/sessions/browser/offered", &json!({"word": word}));
    assert_eq!(asked.problem(404), "not-found/browser");
    // Used all the time, it counts for four hours, and the report for what the standard says.
    while now() < until.minus(Span::seconds(1200)) {
        clock.advance(Span::seconds(1200));
        assert!(counts(&browser), "{}", now());
    }
    clock.advance(Span::seconds(1200));
    assert!(!counts(&browser), "it is over by itself");

    let soft = Laptop::of(&server, &provider, "ben", 9);
    assert_eq!(soft.enrol(false, None).status, 201);
    soft.bind().ok();
    soft.report(1, good()).ok();
    let of_ben = Browser::open(&server, &provider, "ben");
    assert_eq!(vouch(&soft, &of_ben)["device"]["trust"], "low-assurance");
    let page = of_ben.get(&server, "/view").text();
    assert!(page.contains("low-assurance") && !page.contains("\"good\">trusted"), "{page}");
}

#[test]
fn the_page_takes_only_what_the_command_makes_and_leads_nowhere_but_to_this_computer() {
    let provider = Provider::start();
    let (server, _clock) = server_by(&provider, EnvironmentClass::Development, &standard());
    let browser = Browser::open(&server, &provider, "ana");
    let form = browser.get(&server, &format!("/view/computer?port=7000&state={STATE}")).text();
    assert!(form.contains("value=\"7000\"") && form.contains("If you did not, close this page"), "{form}");
    assert!(browser.get(&server, "/view/computer").text().contains("creta device browser"));
    for bad in ["port=80", "port=7000", "state=x", "port=7000&state=x", "port=70000", "port=7000&state=%3Cscript%3E"] {
        let status = browser.get(&server, &format!("/view/computer?{bad}")).status;
        assert!([400, 422].contains(&status), "{bad}: {status}");
    }
    for bad in [[("port", "22"), ("state", STATE)], [("port", "7000"), ("state", "x")]] {
        assert_eq!(browser.post(&server, "/view/computer", &bad).status, 422, "{bad:?}");
    }
    // The script builds the address itself: nothing of a page names a host.
    let script = server.browse_at(&crate::people::origin(&server), "/my/script.js", None).text();
    assert!(script.contains("\"http://127.0.0.1:\" + Number(told.port) + \"/this-computer?\""), "{script}");
}
