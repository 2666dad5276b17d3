//! Authenticators that behave, and ones that do not.

use creta_model::Span;
use serde_json::Value;

use super::soft_authenticator::SoftAuthenticator;
use super::*;

const ANA: Person<'_> = Person { id: "p-1", name: "ana@bank.example", display_name: "Ana Lima" };

fn now() -> Instant {
    Instant::parse("2026-01-01T12:00:00Z").expect("valid")
}

fn after(seconds: u32) -> Instant {
    now().plus(Span::seconds(seconds))
}

fn site() -> Site {
    Site::new("https://creta.bank.example").expect("valid")
}

fn enrol() -> Purpose {
    Purpose::agree("person.enrol", b"p-1")
}

fn approve(request: &str) -> Purpose {
    Purpose::agree("access.approve", request.as_bytes())
}

fn register(authenticator: &mut SoftAuthenticator, credentials: &mut Credentials) -> Result<String, WebauthnError> {
    let (ceremony, options) = site().begin_registration(credentials, ANA, enrol(), &[1; 32], now()).expect("begins");
    site().finish_registration(ceremony, &authenticator.create(&options), credentials, " yubi ", now())
}

/// Ana with one authenticator.
fn ana() -> (SoftAuthenticator, Credentials) {
    let mut authenticator = SoftAuthenticator::new(9);
    let mut credentials = Credentials::new([4; 16]);
    register(&mut authenticator, &mut credentials).expect("registers");
    (authenticator, credentials)
}

fn begin(credentials: &Credentials, purpose: Purpose, random: u8) -> (Ceremony, Value) {
    site().begin(credentials, "p-1", purpose, &[random; 32], now()).expect("begins")
}

#[test]
fn a_person_registers_and_is_verified_for_what_they_do() {
    let (mut authenticator, mut credentials) = ana();
    let summary = &credentials.summaries()[0];
    assert_eq!((summary.label.as_str(), summary.is_suspended), ("yubi", false));
    let (ceremony, options) = begin(&credentials, approve("request 17"), 2);
    assert_eq!(options["publicKey"]["userVerification"], "required");
    assert_eq!(options["publicKey"]["challenge"], ceremony.id().as_str());
    // State and credentials survive being kept between the two halves.
    let ceremony: Ceremony = serde_json::from_str(&serde_json::to_string(&ceremony).expect("JSON")).expect("own JSON");
    let text = serde_json::to_string(&credentials).expect("JSON");
    credentials = serde_json::from_str(&text).expect("own JSON");
    let verified = site().finish(ceremony, &authenticator.get(&options), &mut credentials, after(9)).expect("verified");
    assert_eq!((verified.credential.as_str(), verified.is_synced), (encode(&authenticator.id).as_str(), false));
    assert_eq!((verified.statement.person.as_str(), &verified.statement.purpose), ("p-1", &approve("request 17")));
    // Whoever keeps the evidence can recompute what was signed.
    let client_data = verified.response["response"]["clientDataJSON"].as_str().expect("text");
    let client_data: Value =
        serde_json::from_slice(&crate::jws::decode(client_data).expect("base64url")).expect("JSON");
    assert_eq!(client_data["challenge"], encode(verified.statement.challenge()).as_str());
}

#[test]
fn the_challenge_commits_to_person_action_document_time_and_random() {
    let (_, credentials) = ana();
    let challenge = |person: &str, purpose, random: u8, at| {
        site().begin(&credentials, person, purpose, &[random; 32], at).expect("begins").0.id()
    };
    let base = challenge("p-1", approve("request 17"), 2, now());
    assert_eq!(base, challenge("p-1", approve("request 17"), 2, now()));
    for other in [
        challenge("p-2", approve("request 17"), 2, now()),
        challenge("p-1", approve("request 18"), 2, now()),
        challenge("p-1", Purpose { action: "access.revoke".to_owned(), ..approve("request 17") }, 2, now()),
        challenge("p-1", approve("request 17"), 3, now()),
        challenge("p-1", approve("request 17"), 2, after(1)),
    ] {
        assert_ne!(base, other);
    }
}

#[test]
fn attack_ci22_presence_without_verification_is_refused() {
    let mut lazy = SoftAuthenticator::new(9);
    lazy.verifies = false;
    let mut credentials = Credentials::new([4; 16]);
    assert_eq!(register(&mut lazy, &mut credentials), Err(WebauthnError::NotVerified));
    let (mut authenticator, mut credentials) = ana();
    authenticator.verifies = false;
    let (ceremony, options) = begin(&credentials, approve("r"), 2);
    let refused = site().finish(ceremony, &authenticator.get(&options), &mut credentials, now());
    assert_eq!(refused, Err(WebauthnError::NotVerified));
}

#[test]
fn attack_ci22_an_answer_is_worth_nothing_a_second_time_or_for_something_else() {
    let (mut authenticator, mut credentials) = ana();
    let mut waiting = Ceremonies::default();
    let (ceremony, options) = begin(&credentials, approve("request 17"), 2);
    let id = ceremony.id();
    waiting.put(ceremony, now()).expect("room");
    let answer = authenticator.get(&options);
    let taken = waiting.take(&id, "p-1", &approve("request 17"), after(299)).expect("waits");
    site().finish(taken, &answer, &mut credentials, after(299)).expect("verified");
    let again = waiting.take(&id, "p-1", &approve("request 17"), after(299)).map(|_| ());
    assert_eq!(again, Err(WebauthnError::NoCeremony), "replayed");
    // The same answer to a new prompt, for the same document or another one.
    for purpose in [approve("request 17"), approve("request 18")] {
        let (ceremony, _) = begin(&credentials, purpose, 3);
        assert_eq!(site().finish(ceremony, &answer, &mut credentials, now()), Err(WebauthnError::Refused));
    }
    // A prompt for one thing, taken for another, by another person, or too late; and it is used up.
    for (person, purpose, at) in [
        ("p-1", approve("request 18"), now()),
        ("p-1", Purpose { action: "access.revoke".to_owned(), ..approve("request 17") }, now()),
        ("p-2", approve("request 17"), now()),
        ("p-1", approve("request 17"), after(300)),
    ] {
        let (ceremony, _) = begin(&credentials, approve("request 17"), 4);
        let id = ceremony.id();
        waiting.put(ceremony, now()).expect("room");
        assert_eq!(waiting.take(&id, person, &purpose, at).map(|_| ()), Err(WebauthnError::NoCeremony));
        let late = waiting.take(&id, "p-1", &approve("request 17"), now()).map(|_| ());
        assert_eq!(late, Err(WebauthnError::NoCeremony));
    }
    let (ceremony, options) = begin(&credentials, approve("r"), 5);
    let late = site().finish(ceremony, &authenticator.get(&options), &mut credentials, after(300));
    assert_eq!(late, Err(WebauthnError::NoCeremony));
}

#[test]
fn attack_ci22_a_cloned_authenticator_is_suspended_with_its_original() {
    for stale in [0, 4, 5] {
        let (mut authenticator, mut credentials) = ana();
        authenticator.counter = 4;
        let (ceremony, options) = begin(&credentials, approve("r"), 2);
        site().finish(ceremony, &authenticator.get(&options), &mut credentials, now()).expect("verified");
        let (ceremony, options) = begin(&credentials, approve("r"), 3);
        let clone = authenticator.get_with(&options, stale);
        assert_eq!(site().finish(ceremony, &clone, &mut credentials, now()), Err(WebauthnError::Cloned), "{stale}");
        assert!(credentials.summaries()[0].is_suspended && !credentials.can_verify());
        let next = site().begin(&credentials, "p-1", approve("r"), &[5; 32], now()).map(|_| ());
        assert_eq!(next, Err(WebauthnError::NoCredential));
    }
}

#[test]
fn attack_ci22_a_clone_that_answers_a_prompt_begun_earlier_is_noticed() {
    let (mut authenticator, mut credentials) = ana();
    let (first, first_options) = begin(&credentials, approve("r"), 2);
    let (second, second_options) = begin(&credentials, approve("r"), 3);
    let (third, third_options) = begin(&credentials, approve("r"), 4);
    let own = authenticator.get(&first_options);
    let clone = authenticator.get_with(&second_options, 1);
    site().finish(first, &own, &mut credentials, now()).expect("verified");
    assert_eq!(site().finish(second, &clone, &mut credentials, now()), Err(WebauthnError::Cloned));
    let after_suspension = site().finish(third, &authenticator.get(&third_options), &mut credentials, now());
    assert_eq!(after_suspension, Err(WebauthnError::Suspended));
}

#[test]
fn an_authenticator_without_a_counter_stays_usable() {
    let (authenticator, mut credentials) = ana();
    for random in 2..5 {
        let (ceremony, options) = begin(&credentials, approve("r"), random);
        assert!(site().finish(ceremony, &authenticator.get_with(&options, 0), &mut credentials, now()).is_ok());
    }
}

#[test]
fn attack_ci22_answers_from_other_places_keys_and_ceremonies_are_refused() {
    let (_, mut credentials) = ana();
    let mut answer = |change: &dyn Fn(&mut SoftAuthenticator)| {
        let mut authenticator = SoftAuthenticator::new(9);
        change(&mut authenticator);
        let (ceremony, options) = begin(&credentials, approve("r"), 2);
        site().finish(ceremony, &authenticator.get(&options), &mut credentials, now()).map(|_| ())
    };
    assert_eq!(answer(&|a| a.origin = "https://creta.bank.evil.example".to_owned()), Err(WebauthnError::Refused));
    assert_eq!(answer(&|a| a.origin = "http://creta.bank.example".to_owned()), Err(WebauthnError::Refused));
    assert_eq!(answer(&|a| a.domain = "bank.example".to_owned()), Err(WebauthnError::Refused));
    assert_eq!(answer(&|a| *a = SoftAuthenticator::new(8)), Err(WebauthnError::Refused), "unknown");
    let other_key = |a: &mut SoftAuthenticator| {
        *a = SoftAuthenticator::new(8);
        a.id = vec![9; 16];
    };
    assert_eq!(answer(&other_key), Err(WebauthnError::Refused), "the name of one key, the signature of another");
    assert_eq!(answer(&|_| ()), Ok(()));
    // An answer of one kind of ceremony to the other.
    let mut authenticator = SoftAuthenticator::new(7);
    let (ceremony, options) = site().begin_registration(&credentials, ANA, enrol(), &[1; 32], now()).expect("begins");
    let get = authenticator.get(&options);
    assert_eq!(site().finish(ceremony.clone(), &get, &mut credentials, now()), Err(WebauthnError::NoCeremony));
    let get = site().finish_registration(ceremony, &get, &mut credentials, "x", now());
    assert_eq!(get, Err(WebauthnError::Malformed));
    let (ceremony, options) = begin(&credentials, approve("r"), 2);
    let create = site().finish_registration(ceremony, &authenticator.create(&options), &mut credentials, "x", now());
    assert_eq!(create, Err(WebauthnError::NoCeremony));
}

#[test]
fn attack_ci22_prompts_do_not_pile_up() {
    let (_, credentials) = ana();
    let mut waiting = Ceremonies::default();
    let prompt = |person: &str, random: u8, at| {
        site().begin(&credentials, person, approve("r"), &[random; 32], at).expect("begins").0
    };
    for random in 0..3 {
        assert_eq!(waiting.put(prompt("p-1", random, now()), now()), Ok(()));
    }
    assert_eq!(waiting.put(prompt("p-1", 4, now()), now()), Err(WebauthnError::TooManyPrompts));
    assert_eq!(waiting.put(prompt("p-2", 5, now()), now()), Ok(()), "another person is not kept out");
    assert_eq!(waiting.put(prompt("p-1", 6, after(300)), after(300)), Ok(()), "expired ones make room");
}

#[test]
fn authenticators_are_named_limited_unique_and_removable() {
    let (mut authenticator, mut credentials) = ana();
    assert_eq!(register(&mut authenticator, &mut credentials), Err(WebauthnError::Refused), "registered twice");
    for label in ["", "  ", "a\u{7}b", &"x".repeat(65)] {
        let (ceremony, options) =
            site().begin_registration(&credentials, ANA, enrol(), &[1; 32], now()).expect("begins");
        let answer = SoftAuthenticator::new(8).create(&options);
        let refused = site().finish_registration(ceremony, &answer, &mut credentials, label, now());
        assert_eq!(refused, Err(WebauthnError::Label), "{label:?}");
    }
    for seed in 20..29 {
        register(&mut SoftAuthenticator::new(seed), &mut credentials).expect("registers");
    }
    let full = site().begin_registration(&credentials, ANA, enrol(), &[1; 32], now()).map(|_| ());
    assert_eq!(full, Err(WebauthnError::TooManyCredentials));
    let id = encode([9; 16]);
    assert!(credentials.holds(&id) && credentials.remove(&id) && !credentials.holds(&id) && !credentials.remove(&id));
}

#[test]
fn a_site_needs_a_domain_and_tls() {
    for origin in ["http://creta.bank.example", "https://10.0.0.1", "creta", ""] {
        assert_eq!(Site::new(origin).map(|_| ()), Err(WebauthnError::Configuration), "{origin}");
    }
    assert!(Site::new("https://localhost:8443").is_ok() && Site::new("http://localhost:8080").is_ok());
}
