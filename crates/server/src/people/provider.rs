//! The organisation's identity provider, asked over HTTP. What its answers mean is decided in `creta_identity::oidc`.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use creta_identity::oidc::{
    Attempt, BoundTo, Callback, Client, Discovery, Keys, OidcError, Redirect, RelyingParty, SignIn, Tokens,
    discovery_url,
};
use creta_model::{Instant, Problem};
use ureq::Agent;
use ureq::http::Request;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use crate::config::SignInConfig;

const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
const TIME_MAX: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: u64 = 1 << 20;
const SYSTEM_ROOTS: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// A provider and what it last said about itself.
pub(crate) struct Provider {
    party: RelyingParty,
    issuer: String,
    agent: Agent,
    known: Mutex<Option<Known>>,
}

#[derive(Clone)]
struct Known {
    discovery: Discovery,
    keys: Keys,
}

impl Provider {
    /// Reads the files that the configuration names; does not connect yet, so that a server starts while its provider
    /// is away.
    pub(crate) fn open(config: &SignInConfig, folder: &Path) -> Result<Self, Problem> {
        let unusable = |what: &str, file: &Path, why: String| {
            Problem::new("sign-in/configuration", format!("the {what} of the identity provider cannot be used: {why}"))
                .with_note("file", file.display().to_string(), None)
                .with_help("correct `[sign_in]` in `config.toml`")
        };
        let secret = config.client_secret_file.as_ref().map(|file| {
            let file = folder.join(file);
            std::fs::read_to_string(&file).map_err(|error| unusable("client secret", &file, error.to_string()))
        });
        let client_secret = secret.transpose()?.map(|secret| secret.trim_end().to_owned());
        let client = Client { issuer: config.issuer.clone(), client_id: config.client_id.clone(), client_secret };
        let party = RelyingParty::new(client).map_err(|error| {
            Problem::new("sign-in/configuration", error.to_string()).with_help("correct `[sign_in]` in `config.toml`")
        })?;
        let system = || SYSTEM_ROOTS.iter().map(Path::new).find(|path| path.is_file()).map(Path::to_owned);
        let ca = config.ca.as_ref().map(|ca| folder.join(ca)).or_else(system).unwrap_or_default();
        let pem = std::fs::read(&ca).map_err(|error| unusable("certificate authority", &ca, error.to_string()))?;
        let roots: Vec<Certificate<'static>> = parse_pem(&pem)
            .filter_map(|item| if let Ok(PemItem::Certificate(root)) = item { Some(root) } else { None })
            .collect();
        if roots.is_empty() {
            return Err(unusable("certificate authority", &ca, "it holds no certificate in PEM form".to_owned()));
        }
        Ok(Self { party, issuer: config.issuer.clone(), agent: agent(&roots), known: Mutex::default() })
    }

    /// Where it is asked, by what for: its own name, and what it said of itself when it was last asked.
    pub(crate) fn addresses(&self) -> Vec<(&'static str, String)> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let told = known.iter().flat_map(|known| {
            let discovery = &known.discovery;
            [("keys", discovery.keys_url().to_owned()), ("tokens", discovery.token_url().to_owned())]
        });
        std::iter::once(("issuer", self.issuer.clone())).chain(told).collect()
    }

    /// Begins a sign-in that comes back to `url`: what to remember, and the address to send the browser to.
    pub(crate) fn begin(
        &self,
        url: String,
        bound_to: BoundTo,
        random: &[u8; 96],
        now: Instant,
    ) -> Result<(Attempt, String), OidcError> {
        let known = self.known(now)?;
        self.party.begin(&known.discovery, &Redirect::Web { url }, bound_to, random, now)
    }

    /// Who signed in. Asks the provider for the tokens, and for its keys if it signs with one that is not known.
    pub(crate) fn finish(&self, attempt: &Attempt, callback: &Callback, now: Instant) -> Result<SignIn, OidcError> {
        let mut known = self.known(now)?;
        let request = self.party.exchange(&known.discovery, attempt, callback)?;
        let mut asking = Request::post(&request.url).header("content-type", "application/x-www-form-urlencoded");
        if let Some(authorization) = &request.authorization {
            asking = asking.header("authorization", authorization.as_str());
        }
        let asking = asking.body(request.body.as_bytes()).map_err(|_| away("answer", "its address is none"))?;
        let (status, body) = read("answer", self.agent.run(asking))?;
        let tokens = Tokens::parse(status, &body)?;
        let keys_url = known.discovery.keys_url().to_owned();
        let fetch = || self.fetch("keys", &keys_url);
        let signed_in = self.party.verify_refreshing(&mut known.keys, attempt, &tokens, now, fetch);
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
        signed_in
    }

    /// What the provider says about itself, at most an hour old.
    fn known(&self, now: Instant) -> Result<Known, OidcError> {
        let kept = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = kept.filter(|known| !known.keys.are_stale(now)) {
            return Ok(known);
        }
        let document = self.fetch("discovery document", &discovery_url(&self.issuer)?)?;
        let discovery = Discovery::parse(&self.issuer, &document)?;
        let keys = Keys::parse(&self.fetch("keys", discovery.keys_url())?, now)?;
        let known = Known { discovery, keys };
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(known.clone());
        Ok(known)
    }

    fn fetch(&self, document: &'static str, url: &str) -> Result<Vec<u8>, OidcError> {
        let request = Request::get(url).body(()).map_err(|_| away(document, "its address is none"))?;
        match read(document, self.agent.run(request))? {
            (200, body) => Ok(body),
            (status, _) => Err(away(document, &format!("the provider answered {status}"))),
        }
    }
}

fn agent(roots: &[Certificate<'static>]) -> Agent {
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(roots))
        .unversioned_rustls_crypto_provider(Arc::new(crate::tls::provider()))
        .build();
    // Plain addresses are refused where they are read, loopback apart.
    Agent::config_builder()
        .tls_config(tls)
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .timeout_connect(Some(CONNECT_TIME_MAX))
        .timeout_global(Some(TIME_MAX))
        .user_agent(concat!("creta/", env!("CARGO_PKG_VERSION")))
        .build()
        .new_agent()
}

fn read(
    document: &'static str,
    answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
) -> Result<(u16, Vec<u8>), OidcError> {
    let answer = answer.map_err(|error| away(document, &error.to_string()))?;
    let status = answer.status().as_u16();
    let body = answer.into_body().into_with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
    body.map(|body| (status, body)).map_err(|error| away(document, &error.to_string()))
}

fn away(document: &'static str, why: &str) -> OidcError {
    OidcError::Provider { document, why: why.to_owned() }
}
