//! Sign-ins against a provider made here, and everything that a forger of its answers could send.

use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use creta_model::{Instant, Span};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use openidconnect::url::Url;
use openidconnect::url::form_urlencoded;
use serde_json::{Value, json};

use super::*;
use crate::jws::{encode, sha256};
use crate::key::{KeyKind, SigningKey};

const ISSUER: &str = "https://login.example";

fn now() -> Instant {
    Instant::parse("2026-01-01T12:00:00Z").expect("valid")
}

fn after(seconds: u32) -> Instant {
    now().plus(Span::seconds(seconds))
}

fn seconds(at: Instant) -> i64 {
    at.micros() / 1_000_000
}

fn party() -> RelyingParty {
    client(None)
}

fn client(secret: Option<&str>) -> RelyingParty {
    let client_secret = secret.map(str::to_owned);
    RelyingParty::new(Client { issuer: ISSUER.to_owned(), client_id: "creta".to_owned(), client_secret })
        .expect("valid")
}

fn document(change: &Value) -> Vec<u8> {
    let mut document = json!({
        "issuer": ISSUER,
        "authorization_endpoint": "https://login.example/authorize?tenant=1",
        "token_endpoint": "https://login.example/token",
        "jwks_uri": "https://login.example/keys",
        "device_authorization_endpoint": "https://login.example/device",
        "code_challenge_methods_supported": ["S256"],
        "response_types_supported": ["code"],
    });
    for (name, value) in change.as_object().expect("an object") {
        document[name] = value.clone();
    }
    serde_json::to_vec(&document).expect("JSON")
}

fn discovery() -> Discovery {
    Discovery::parse(ISSUER, &document(&json!({}))).expect("valid")
}

/// A key of the provider.
fn key(seed: u8) -> SigningKey {
    SigningKey::from_random(KeyKind::P256, &[seed; 32])
}

fn jwk(key: &SigningKey, id: &str) -> Value {
    let mut jwk = key.public().to_jwk();
    jwk["kid"] = json!(id);
    jwk["use"] = json!("sig");
    jwk
}

fn jwks(keys: &[Value]) -> Vec<u8> {
    serde_json::to_vec(&json!({ "keys": keys })).expect("JSON")
}

fn keys() -> Keys {
    Keys::parse(&jwks(&[jwk(&key(1), "a")]), now()).expect("valid")
}

fn ana() -> BoundTo {
    BoundTo::Key(key(200).public().thumbprint())
}

fn begin(party: &RelyingParty, random: u8) -> (Attempt, Url) {
    let redirect = Redirect::Loopback { port: 40_123 };
    let begun = party.begin(&discovery(), &redirect, ana(), &[random; 96], now());
    let (attempt, url) = begun.expect("valid");
    (attempt, Url::parse(&url).expect("an address"))
}

fn attempt() -> Attempt {
    begin(&party(), 7).0
}

fn claims(attempt: &Attempt) -> Value {
    json!({
        "iss": ISSUER, "sub": "u-17", "aud": "creta", "exp": seconds(after(600)), "iat": seconds(after(20)),
        "nonce": attempt.nonce, "email": "ana@bank.example", "email_verified": true, "name": "Ana", "amr": ["hwk", "mfa"], "acr": "phr",
        "auth_time": seconds(after(10)),
    })
}

fn with(mut claims: Value, name: &str, value: Value) -> Value {
    if value.is_null() {
        claims.as_object_mut().expect("an object").remove(name);
    } else {
        claims[name] = value;
    }
    claims
}

fn token(key: &SigningKey, id: &str, claims: &Value) -> Tokens {
    let mut header = Header::new(Algorithm::ES256);
    header.kid = Some(id.to_owned());
    let signing = EncodingKey::from_ec_der(&key.to_pkcs8());
    Tokens { id_token: jsonwebtoken::encode(&header, claims, &signing).expect("signs") }
}

fn verify(tokens: &Tokens) -> Result<SignIn, OidcError> {
    party().verify(&keys(), &attempt(), tokens, after(30))
}

/// What is wrong with an ID token of the right key that says `name` is `value`.
fn flaw(name: &str, value: Value) -> Flaw {
    let tokens = token(&key(1), "a", &with(claims(&attempt()), name, value.clone()));
    match verify(&tokens) {
        Err(OidcError::IdToken { flaw }) => flaw,
        other => panic!("{name} = {value}: {other:?}"),
    }
}

fn query(url: &Url, name: &str) -> String {
    url.query_pairs().find(|(n, _)| n == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
}

fn form(request: &Request) -> Vec<(String, String)> {
    form_urlencoded::parse(request.body.as_bytes()).into_owned().collect()
}

fn field(request: &Request, name: &str) -> String {
    form(request).into_iter().find(|(n, _)| n == name).map(|(_, value)| value).unwrap_or_default()
}

#[test]
fn a_person_signs_in_from_the_command_line() {
    let party = party();
    let (begun, url) = begin(&party, 7);
    assert_eq!(url.as_str().split('?').next(), Some("https://login.example/authorize"));
    assert_eq!((query(&url, "tenant"), query(&url, "prompt")), ("1".to_owned(), String::new()));
    assert_eq!(query(&url, "redirect_uri"), "http://127.0.0.1:40123/callback");
    assert_eq!(
        (query(&url, "response_type"), query(&url, "scope")),
        ("code".to_owned(), "openid email profile".to_owned())
    );
    let mut attempts = Attempts::default();
    attempts.put(begun, now());

    let callback = Callback { state: query(&url, "state"), code: Some("c-1".to_owned()), ..Callback::default() };
    let taken = attempts.take(&callback.state, &ana(), after(30)).expect("under way");
    let request = party.exchange(&discovery(), &taken, &callback).expect("a code");
    assert_eq!((request.url.as_str(), request.authorization.is_none()), ("https://login.example/token", true));
    assert_eq!((field(&request, "code"), field(&request, "client_id")), ("c-1".to_owned(), "creta".to_owned()));
    assert_eq!(field(&request, "redirect_uri"), query(&url, "redirect_uri"));
    // RFC 7636 §4.6: the provider hashes the verifier and compares.
    let challenge = encode(sha256(field(&request, "code_verifier").as_bytes()));
    assert_eq!((challenge, "S256".to_owned()), (query(&url, "code_challenge"), query(&url, "code_challenge_method")));

    let id_token = token(&key(1), "a", &with(claims(&taken), "nonce", json!(query(&url, "nonce")))).id_token.clone();
    let answer = json!({"access_token": "x", "token_type": "Bearer", "id_token": id_token});
    let tokens = Tokens::parse(200, answer.to_string().as_bytes()).expect("tokens");
    let signed_in = party.verify(&keys(), &taken, &tokens, after(30)).expect("valid");
    assert_eq!(signed_in.identity, Identity { issuer: ISSUER.to_owned(), subject: "u-17".to_owned() });
    assert_eq!((signed_in.email.as_deref(), signed_in.name.as_deref()), (Some("ana@bank.example"), Some("Ana")));
    assert_eq!((signed_in.amr, signed_in.acr.as_deref()), (vec!["hwk".to_owned(), "mfa".to_owned()], Some("phr")));
    assert_eq!((signed_in.auth_time, signed_in.issued), (Some(after(10)), after(20)));
}

#[test]
fn every_accepted_algorithm_is_verified() {
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).expect("generates");
    let der = aws_lc_rs::encoding::AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&rsa).expect("PKCS #8");
    let public = rsa.public_key();
    let part = |bytes: &[u8]| encode(bytes.iter().copied().skip_while(|byte| *byte == 0).collect::<Vec<_>>());
    let rsa_jwk = json!({
        "kty": "RSA", "kid": "r", "use": "sig",
        "n": part(public.modulus().big_endian_without_leading_zero()),
        "e": part(public.exponent().big_endian_without_leading_zero()),
    });
    let ed = SigningKey::from_random(KeyKind::Ed25519, &[9; 32]);
    let keys = Keys::parse(&jwks(&[rsa_jwk, jwk(&ed, "e"), jwk(&key(1), "a")]), now()).expect("valid");
    let attempt = attempt();
    let rsa_key = || EncodingKey::from_rsa_der(&pkcs1(der.as_ref()));
    for (algorithm, id, signing) in [
        (Algorithm::RS256, "r", rsa_key()),
        (Algorithm::PS256, "r", rsa_key()),
        (Algorithm::EdDSA, "e", EncodingKey::from_ed_der(&ed.to_pkcs8())),
        (Algorithm::ES256, "a", EncodingKey::from_ec_der(&key(1).to_pkcs8())),
    ] {
        let mut header = Header::new(algorithm);
        header.kid = Some(id.to_owned());
        let id_token = jsonwebtoken::encode(&header, &claims(&attempt), &signing).expect("signs");
        let verified = party().verify(&keys, &attempt, &Tokens { id_token }, after(30));
        assert!(verified.is_ok(), "{algorithm:?}: {verified:?}");
    }
    // The same RSA key with an algorithm that is not on the list.
    let mut header = Header::new(Algorithm::RS512);
    header.kid = Some("r".to_owned());
    let id_token = jsonwebtoken::encode(&header, &claims(&attempt), &rsa_key()).expect("signs");
    let refused = party().verify(&keys, &attempt, &Tokens { id_token }, after(30));
    assert_eq!(refused, Err(OidcError::flaw(Flaw::Algorithm)));
}

/// The RSAPrivateKey inside of a PKCS #8 document: what the signing library of these tests takes.
fn pkcs1(pkcs8: &[u8]) -> Vec<u8> {
    let start = pkcs8.windows(4).skip(4).position(|window| window[..2] == [0x30, 0x82]).expect("a sequence") + 4;
    pkcs8[start..].to_vec()
}

#[test]
fn attack_ci21_unsigned_tokens_and_other_algorithms_are_refused() {
    let good = token(&key(1), "a", &claims(&attempt())).id_token.clone();
    assert!(verify(&Tokens { id_token: good.clone() }).is_ok());
    let parts: Vec<&str> = good.split('.').collect();
    for alg in ["none", "None", "nOnE", "", "HS256", "HS384", "RS512", "ES384", "A128KW", "ES256 "] {
        let head = encode(json!({"alg": alg, "kid": "a"}).to_string());
        for signature in ["", "AAAA", parts[2]] {
            let id_token = format!("{head}.{}.{signature}", parts[1]);
            let refused = verify(&Tokens { id_token }).expect_err("refused");
            assert_eq!(refused, OidcError::flaw(Flaw::Algorithm), "{alg} {signature}");
        }
    }
    for text in ["", ".", "..", "a.b.c", &good[..good.len() - 3], &format!("{good}.x"), parts[1]] {
        assert!(verify(&Tokens { id_token: text.to_owned() }).is_err(), "{text}");
    }
}

#[test]
fn attack_ci21_a_public_key_is_no_shared_secret() {
    let public = key(1).public();
    let jwk_text = jwk(&key(1), "a").to_string();
    let raw = serde_json::to_vec(&public).expect("JSON");
    let attempt = attempt();
    for secret in [jwk_text.as_bytes(), &raw, b"creta", b"s3cret", b""] {
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some("a".to_owned());
        let signing = EncodingKey::from_secret(secret);
        let tokens = Tokens { id_token: jsonwebtoken::encode(&header, &claims(&attempt), &signing).expect("signs") };
        for party in [party(), client(Some("s3cret"))] {
            let refused = party.verify(&keys(), &attempt, &tokens, after(30));
            assert_eq!(refused, Err(OidcError::flaw(Flaw::Algorithm)));
        }
    }
}

#[test]
fn attack_ci21_a_token_of_another_issuer_or_for_another_client_is_refused() {
    for issuer in
        ["https://login.example/", "https://LOGIN.example", "https://evil.example", "http://login.example", ""]
    {
        assert!(matches!(flaw("iss", json!(issuer)), Flaw::Issuer | Flaw::Malformed), "{issuer}");
    }
    assert_eq!(flaw("iss", json!("https://evil.example")), Flaw::Issuer);
    for audience in [json!("other"), json!(["other"]), json!([]), json!(["creta", "other"]), json!("creta2"), json!("")]
    {
        assert_eq!(flaw("aud", audience), Flaw::Audience);
    }
    assert_eq!(flaw("azp", json!("other")), Flaw::Audience, "issued to another client for us");
    assert!(verify(&token(&key(1), "a", &with(claims(&attempt()), "azp", json!("creta")))).is_ok());
    assert!(verify(&token(&key(1), "a", &with(claims(&attempt()), "aud", json!(["creta"])))).is_ok());
}

#[test]
fn attack_ci21_a_token_of_another_attempt_is_refused() {
    assert_eq!(flaw("nonce", json!(begin(&party(), 8).0.nonce)), Flaw::Nonce);
    assert_eq!(flaw("nonce", json!("")), Flaw::Nonce);
    assert_eq!(flaw("nonce", Value::Null), Flaw::Nonce);
    // The nonce depends on who began: the same random bytes for another key give another one.
    let other = BoundTo::Key(key(201).public().thumbprint());
    let redirect = Redirect::Loopback { port: 1 };
    let theirs = party().begin(&discovery(), &redirect, other, &[7; 96], now()).expect("valid").0;
    assert_ne!(theirs.nonce, attempt().nonce);
}

#[test]
fn attack_ci21_a_token_from_another_time_is_refused() {
    // The attempt began at 0 s, it is 30 s now, the leeway is 60 s.
    for (name, at, ok) in [
        ("iat", seconds(now()) + 90, true),
        ("iat", seconds(now()) + 91, false),
        ("iat", seconds(now()) - 60, true),
        ("iat", seconds(now()) - 61, false),
        ("exp", seconds(now()) - 29, true),
        ("exp", seconds(now()) - 30, false),
        ("exp", 0, false),
    ] {
        let verified = verify(&token(&key(1), "a", &with(claims(&attempt()), name, json!(at))));
        assert_eq!(verified.is_ok(), ok, "{name} {at}: {verified:?}");
        if !ok {
            assert_eq!(verified, Err(OidcError::flaw(Flaw::Time)));
        }
    }
    assert_eq!(flaw("exp", Value::Null), Flaw::Malformed);
    assert_eq!(flaw("iat", Value::Null), Flaw::Malformed);
}

#[test]
fn attack_ci21_a_state_works_once_and_for_who_began_it() {
    let mut attempts = Attempts::default();
    let begun = attempt();
    attempts.put(begun.clone(), now());
    assert_eq!(attempts.take("nothing", &ana(), now()), Err(OidcError::NoAttempt));
    assert_eq!(attempts.take(begun.state(), &ana(), after(599)), Ok(begun.clone()));
    assert_eq!(attempts.take(begun.state(), &ana(), after(599)), Err(OidcError::NoAttempt), "replayed");
    attempts.put(begun.clone(), now());
    assert_eq!(attempts.take(begun.state(), &ana(), after(600)), Err(OidcError::NoAttempt), "ten minutes");
    // A code that a thief caught, sent with the thief's key or in a browser: and it is used up.
    for thief in [BoundTo::Key(key(201).public().thumbprint()), BoundTo::browser(b"cookie")] {
        attempts.put(begun.clone(), now());
        assert_eq!(attempts.take(begun.state(), &thief, now()), Err(OidcError::OtherClient));
        assert_eq!(attempts.take(begun.state(), &ana(), now()), Err(OidcError::NoAttempt));
    }
    let callback = Callback { state: "other".to_owned(), code: Some("c".to_owned()), ..Callback::default() };
    assert!(matches!(party().exchange(&discovery(), &begun, &callback), Err(OidcError::NoAttempt)));
}

#[test]
fn attack_ci21_a_key_that_the_provider_withdrew_is_refused() {
    let attempt = attempt();
    let tokens = token(&key(1), "a", &claims(&attempt));
    let stale = after(3_601);
    assert_eq!(party().verify(&keys(), &attempt, &tokens, stale), Err(OidcError::KeysNeeded));
    // Fetched again, the key is gone, or its name is now another key's.
    for fresh in [jwk(&key(2), "b"), jwk(&key(2), "a")] {
        let mut cached = keys();
        let refused = party().verify_refreshing(&mut cached, &attempt, &tokens, stale, || Ok(jwks(&[fresh])));
        assert_eq!(refused, Err(OidcError::flaw(Flaw::Signature)));
        assert!(!cached.are_stale(stale), "the keys fetched are kept");
    }
    let thief = token(&key(2), "a", &claims(&attempt));
    assert_eq!(verify(&thief), Err(OidcError::flaw(Flaw::Signature)), "signed by a key that only names the other");
}

#[test]
fn attack_ci21_an_unknown_key_is_looked_up_once_and_not_more_often_than_once_a_minute() {
    let attempt = attempt();
    let tokens = token(&key(2), "b", &claims(&attempt));
    let refuse = || panic!("must not be fetched");
    let mut cached = keys();
    let soon = party().verify_refreshing(&mut cached, &attempt, &tokens, after(59), refuse);
    assert_eq!(soon, Err(OidcError::flaw(Flaw::Signature)));
    let both = || Ok(jwks(&[jwk(&key(1), "a"), jwk(&key(2), "b")]));
    assert!(party().verify_refreshing(&mut cached, &attempt, &tokens, after(60), both).is_ok(), "a rotated key");
    assert!(party().verify(&cached, &attempt, &tokens, after(60)).is_ok());
    let offline = || Err(OidcError::Provider { document: "keys", why: "no answer".to_owned() });
    let unknown = token(&key(3), "c", &claims(&attempt));
    assert!(matches!(
        party().verify_refreshing(&mut cached, &attempt, &unknown, after(120), offline),
        Err(OidcError::Provider { .. })
    ));
}

#[test]
fn attack_ci21_an_address_links_nobody() {
    let first = verify(&token(&key(1), "a", &claims(&attempt()))).expect("valid");
    let same_mail = verify(&token(&key(1), "a", &with(claims(&attempt()), "sub", json!("u-18")))).expect("valid");
    assert_eq!(first.email, same_mail.email);
    assert_ne!(first.identity, same_mail.identity, "another person with the address of the first");
    let verified = with(claims(&attempt()), "email_verified", json!(true));
    let without = with(verified, "sub", Value::Null);
    assert!(verify(&token(&key(1), "a", &without)).is_err(), "an address, but nobody");
    assert_eq!(flaw("sub", json!("")), Flaw::Subject);
    assert_eq!(flaw("sub", json!("x".repeat(256))), Flaw::Subject);
    let renamed = with(claims(&attempt()), "email", json!("ana.new@bank.example"));
    assert_eq!(verify(&token(&key(1), "a", &renamed)).expect("valid").identity, first.identity);
}

#[test]
fn attack_ci21_an_answer_of_another_provider_is_refused() {
    let begun = attempt();
    let callback = |iss: Option<&str>| Callback {
        state: begun.state().to_owned(),
        code: Some("c".to_owned()),
        iss: iss.map(str::to_owned),
        error: None,
    };
    let wary = Discovery::parse(ISSUER, &document(&json!({"authorization_response_iss_parameter_supported": true})));
    let wary = wary.expect("valid");
    let exchange = |discovery: &Discovery, iss| party().exchange(discovery, &begun, &callback(iss)).map(|_| ());
    assert_eq!(exchange(&discovery(), Some("https://evil.example")), Err(OidcError::flaw(Flaw::Issuer)));
    assert_eq!(exchange(&wary, None), Err(OidcError::flaw(Flaw::Issuer)));
    assert_eq!((exchange(&wary, Some(ISSUER)), exchange(&discovery(), None)), (Ok(()), Ok(())));
    let refused = Callback { error: Some("<script>".to_owned()), ..callback(None) };
    let error = party().exchange(&discovery(), &begun, &refused).map(|_| ());
    assert_eq!(error, Err(OidcError::Refused { code: "unknown".to_owned() }), "foreign text is not repeated");
}

#[test]
fn attack_ci21_a_provider_without_tls_or_with_another_name_is_refused() {
    let parse = |change: Value| Discovery::parse(ISSUER, &document(&change)).map(|_| ());
    assert_eq!(parse(json!({})), Ok(()));
    for change in [
        json!({"issuer": "https://login.example/"}),
        json!({"issuer": "https://evil.example"}),
        json!({"jwks_uri": "http://login.example/keys"}),
        json!({"token_endpoint": "http://login.example/token"}),
        json!({"authorization_endpoint": "http://login.example/authorize"}),
        json!({"device_authorization_endpoint": "javascript:alert(1)"}),
        json!({"code_challenge_methods_supported": ["plain"]}),
        json!({"jwks_uri": null}),
    ] {
        assert!(matches!(parse(change.clone()), Err(OidcError::Provider { .. })), "{change}");
    }
    for issuer in
        ["http://login.example", "http://localhost:80", "https://u:p@login.example", "login.example", "https://a#b"]
    {
        assert!(discovery_url(issuer).is_err(), "{issuer}");
    }
    for issuer in ["http://127.0.0.1:9000/realm/", "http://[::1]:9000/realm", "https://login.example/realm"] {
        let url = discovery_url(issuer).expect("reached safely");
        assert!(url.ends_with("/realm/.well-known/openid-configuration"), "{url}");
    }
    assert!(matches!(Keys::parse(br#"{"keys": []}"#, now()), Err(OidcError::Provider { .. })));
    assert!(matches!(Keys::parse(br#"{"keys": [{"kty": "secret"}]}"#, now()), Err(OidcError::Provider { .. })));
}

#[test]
fn a_confidential_client_shows_its_secret_as_the_provider_wants() {
    let begun = attempt();
    let callback = Callback { state: begun.state().to_owned(), code: Some("c".to_owned()), ..Callback::default() };
    let party = client(Some("s3 cret"));
    let basic = party.exchange(&discovery(), &begun, &callback).expect("valid");
    // `creta:s3+cret`: RFC 6749 §2.3.1 encodes both as form values first.
    assert_eq!(basic.authorization.as_deref().map(String::as_str), Some("Basic Y3JldGE6czMrY3JldA=="));
    assert_eq!(field(&basic, "client_secret"), "");
    let post = json!({"token_endpoint_auth_methods_supported": ["client_secret_post"]});
    let discovery = Discovery::parse(ISSUER, &document(&post)).expect("valid");
    let post = party.exchange(&discovery, &begun, &callback).expect("valid");
    assert_eq!((post.authorization.is_none(), field(&post, "client_secret").as_str()), (true, "s3 cret"));
    for shown in [format!("{party:?}"), format!("{post:?}"), format!("{begun:?}"), format!("{callback:?}")] {
        assert!(!shown.contains("s3") && !shown.contains(&field(&post, "code_verifier")), "{shown}");
    }
}

#[test]
fn state_survives_being_kept_and_unknown_members_are_refused() {
    let mut attempts = Attempts::default();
    attempts.put(attempt(), now());
    let text = serde_json::to_string(&attempts).expect("JSON");
    let mut again: Attempts = serde_json::from_str(&text).expect("own JSON");
    assert_eq!(again.take(attempt().state(), &ana(), now()), Ok(attempt()));
    assert!(serde_json::from_str::<Attempts>(&text.replacen("nonce", "nonces", 1)).is_err());
    let keys_text = serde_json::to_string(&keys()).expect("JSON");
    assert_eq!(serde_json::from_str::<Keys>(&keys_text).expect("own JSON"), keys());
}

#[test]
fn a_flood_of_attempts_pushes_out_the_oldest_only() {
    let mut attempts = Attempts::default();
    let party = party();
    let numbered = |n: u32, at: Instant| {
        let mut random = [0; 96];
        random[..4].copy_from_slice(&n.to_le_bytes());
        let redirect = Redirect::Web { url: "https://creta.example/login/callback".to_owned() };
        party.begin(&discovery(), &redirect, ana(), &random, at).expect("valid").0
    };
    let oldest = numbered(0, now());
    attempts.put(oldest.clone(), now());
    let count = u32::try_from(ATTEMPTS_MAX).expect("small");
    (1..=count).for_each(|n| attempts.put(numbered(n, after(1)), after(1)));
    assert_eq!(attempts.len(), ATTEMPTS_MAX);
    assert_eq!(attempts.take(oldest.state(), &ana(), after(1)), Err(OidcError::NoAttempt));
    assert!(attempts.take(numbered(1, after(1)).state(), &ana(), after(1)).is_ok());
    // Expired ones go first.
    attempts.put(numbered(1, after(1)), after(700));
    attempts.put(numbered(count + 1, after(700)), after(700));
    assert_eq!(attempts.len(), 1);
}
