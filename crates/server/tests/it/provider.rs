//! An identity provider for tests: OpenID Connect on a loopback address, which signs whatever a test wants signed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use creta_identity::key::{KeyKind, SigningKey};
use serde_json::{Value, json};

pub(crate) const CLIENT: &str = "creta-test";

/// Changes header and claims of the next ID token.
type Forge = Box<dyn Fn(&mut Value, &mut Value) + Send>;

#[derive(Default)]
struct Shared {
    /// Code to who signed in and the nonce of the attempt.
    codes: HashMap<String, (String, String)>,
    forge: Option<Forge>,
}

#[derive(Clone)]
struct Provides {
    issuer: String,
    key: Arc<SigningKey>,
    shared: Arc<Mutex<Shared>>,
}

/// The running provider.
pub(crate) struct Provider {
    provides: Provides,
    _runtime: tokio::runtime::Runtime,
}

/// What a browser learns from an address of the provider.
pub(crate) struct Asked {
    pub(crate) redirect: String,
    pub(crate) state: String,
    pub(crate) nonce: String,
}

impl Provider {
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("made");
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let issuer = format!("http://{}", listener.local_addr().expect("bound"));
        let key = Arc::new(SigningKey::from_random(KeyKind::P256, &[7; 32]));
        let provides = Provides { issuer, key, shared: Arc::default() };
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(keys))
            .route("/token", post(token))
            .with_state(provides.clone());
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { provides, _runtime: runtime }
    }

    /// What it calls itself.
    pub(crate) fn issuer(&self) -> String {
        self.provides.issuer.clone()
    }

    /// What stands in `config.toml` of its client.
    pub(crate) fn config(&self) -> String {
        format!("[sign_in]\nissuer = \"{}\"\nclient_id = \"{CLIENT}\"\n", self.provides.issuer)
    }

    /// Reads the address that a browser was sent to.
    pub(crate) fn asked(&self, location: &str) -> Asked {
        assert!(location.starts_with(&format!("{}/authorize?", self.provides.issuer)), "{location}");
        let value = |name: &str| {
            let query = location.split('?').nth(1).expect("a query");
            let pair = query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")));
            percent_decoded(pair.unwrap_or_else(|| panic!("{name} in {location}")))
        };
        assert_eq!(value("client_id"), CLIENT);
        assert_eq!(value("code_challenge_method"), "S256");
        Asked { redirect: value("redirect_uri"), state: value("state"), nonce: value("nonce") }
    }

    /// Somebody signs in: the code that the browser brings back.
    pub(crate) fn signs_in(&self, who: &str, nonce: &str) -> String {
        let code = format!("code-{}", self.provides.shared.lock().expect("not poisoned").codes.len());
        let mut shared = self.provides.shared.lock().expect("not poisoned");
        shared.codes.insert(code.clone(), (who.to_owned(), nonce.to_owned()));
        code
    }

    /// Has the next tokens changed.
    pub(crate) fn forge(&self, forge: impl Fn(&mut Value, &mut Value) + Send + 'static) {
        self.provides.shared.lock().expect("not poisoned").forge = Some(Box::new(forge));
    }

    /// Has them left alone again.
    pub(crate) fn is_honest(&self) {
        self.provides.shared.lock().expect("not poisoned").forge = None;
    }
}

fn percent_decoded(text: &str) -> String {
    let pairs: Vec<(String, String)> =
        axum::extract::Query::try_from_uri(&format!("/?x={text}").parse().expect("an address")).expect("pairs").0;
    pairs[0].1.clone()
}

async fn discovery(State(provides): State<Provides>) -> Json<Value> {
    let issuer = &provides.issuer;
    Json(json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/keys"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "code_challenge_methods_supported": ["S256"],
    }))
}

async fn keys(State(provides): State<Provides>) -> Json<Value> {
    let mut key = provides.key.public().to_jwk();
    key["kid"] = "k1".into();
    key["use"] = "sig".into();
    key["alg"] = "ES256".into();
    Json(json!({ "keys": [key] }))
}

async fn token(State(provides): State<Provides>, body: String) -> Json<Value> {
    let code = body.split('&').find_map(|pair| pair.strip_prefix("code=")).expect("a code").to_owned();
    let mut shared = provides.shared.lock().expect("not poisoned");
    let (who, nonce) = shared.codes.remove(&code).expect("a code that was given, once");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let mut header = json!({"alg": "ES256", "typ": "JWT", "kid": "k1"});
    let mut claims = json!({
        "iss": provides.issuer, "sub": format!("sub-{who}"), "aud": CLIENT, "nonce": nonce, "iat": now,
        "exp": now + 300, "email": format!("{who}@example.com"), "email_verified": true, "amr": ["pwd"],
    });
    if let Some(forge) = &shared.forge {
        forge(&mut header, &mut claims);
    }
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&header), part(&claims));
    let signature = match header["alg"].as_str() {
        Some("none") => String::new(),
        _ => URL_SAFE_NO_PAD.encode(provides.key.sign(signed.as_bytes())),
    };
    Json(json!({"access_token": "a", "token_type": "Bearer", "id_token": format!("{signed}.{signature}")}))
}
