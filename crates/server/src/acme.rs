//! Certificates from an ACME authority (RFC 8555), proven inside the own listener by TLS-ALPN-01 (RFC 8737).
//!
//! The account's key and the newest certificate with its key lie sealed among the control plane's documents. A certificate is
//! renewed when two thirds of its life are over, without a restart. What fails changes nothing: the certificate before stays,
//! the reason stands in the server's output, in the log and in a check, and it is tried again, less and less often.

use std::collections::BTreeSet;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use bytes::Bytes;
use creta_audit::{Details, Event};
use creta_model::{Instant, Problem};
use creta_proof::Hash;
use creta_store::MetadataStore;
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, BodyWrapper, BytesResponse, ChallengeType, Error, HttpClient,
    Identifier, NewAccount, NewOrder, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};
use serde::{Deserialize, Serialize};
use ureq::http::{Method, Request, Response};
use zeroize::Zeroizing;

use crate::control_plane::setting;
use crate::http::App;
use crate::problem::{from_store, internal};
use crate::tls::{Certificates, Client, Outbound, is_https};

/// How often it is looked whether something is due.
const LOOKED_AT: Duration = Duration::from_secs(1);
/// Longest wait after a failure.
const BACKOFF_MAX: Duration = Duration::from_secs(3_600);
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
const TIME_MAX: Duration = Duration::from_secs(60);
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Where certificates come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcmeConfig {
    /// The authority's directory: `https://acme.example.com/directory`.
    pub directory: String,
    /// Whom the authority can write to: `mailto:` addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contact: Vec<String>,
    /// What the certificate is for; each name leads to this listener's port 443.
    pub names: Vec<String>,
    /// Whether the operator agreed to the authority's terms of service.
    pub terms_of_service_agreed: bool,
    /// What the directory itself is checked against, in PEM; without it the system's authorities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
}

impl AcmeConfig {
    pub(crate) fn check(&self) -> Result<(), String> {
        if !is_https(&self.directory) {
            return Err(format!(
                "`acme.directory` is `{}`, not an https address; nothing else is spoken",
                self.directory
            ));
        }
        if self.names.is_empty() {
            return Err("`acme.names` names at least one host".to_owned());
        }
        let named = |name: &String| {
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
            name.contains('.') && name.bytes().all(plain) && name.parse::<std::net::IpAddr>().is_err()
        };
        if let Some(bad) = self.names.iter().find(|name| !named(name)) {
            return Err(format!(
                "`{bad}` in `acme.names` is no host name in small letters; addresses and wildcards have no such proof"
            ));
        }
        if let Some(bad) = self.contact.iter().find(|contact| !contact.starts_with("mailto:")) {
            return Err(format!("`{bad}` in `acme.contact` does not begin with `mailto:`"));
        }
        if !self.terms_of_service_agreed {
            return Err(
                "read the terms of service of `acme.directory` and set `terms_of_service_agreed = true`".to_owned()
            );
        }
        Ok(())
    }
}

/// A certificate as it is kept.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    directory: String,
    names: BTreeSet<String>,
    issued: Instant,
    chain: String,
    key: Zeroizing<String>,
}

/// What is kept of an authority, and what was made of it.
pub(crate) struct Acme {
    config: AcmeConfig,
    folder: PathBuf,
}

impl Acme {
    pub(crate) fn new(config: AcmeConfig, folder: &Path) -> Self {
        Self { config, folder: folder.to_owned() }
    }

    /// Serves what is kept, if it is good still. Gives when it has to be renewed; `None` if there is nothing that is served.
    pub(crate) fn load(
        &self,
        documents: &dyn MetadataStore,
        certificates: &Certificates,
        now: Instant,
    ) -> Result<Option<Instant>, Problem> {
        let Some(bytes) = read(documents, setting::ACME_CERTIFICATE)? else { return Ok(None) };
        let kept: Kept = serde_json::from_slice(&bytes).map_err(|_| internal())?;
        if kept.directory != self.config.directory || kept.names != self.names() {
            return Ok(None); // What was asked for since is something else.
        }
        match certificates.take_issued(kept.chain.as_bytes(), &kept.key, &self.config.names, now) {
            Ok(not_after) => Ok(Some(renewal(kept.issued, not_after))),
            Err(reason) => {
                tracing::warn!(reason, "the kept certificate of the ACME authority is not served");
                Ok(None)
            }
        }
    }

    fn names(&self) -> BTreeSet<String> {
        self.config.names.iter().cloned().collect()
    }

    /// One certificate: account, order, proof for each name, certificate. Keeps it and serves it; gives when it ends.
    async fn obtain(&self, app: &App) -> Result<(Hash, Instant), String> {
        let said = |error: Error| error.to_string();
        let account = self.account(app).await?;
        let identifiers: Vec<Identifier> = self.config.names.iter().cloned().map(Identifier::Dns).collect();
        let mut order = account.new_order(&NewOrder::new(&identifiers)).await.map_err(said)?;
        let mut proofs = Proofs { certificates: &app.certificates, names: Vec::new() };
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(said)?;
            match authorization.status {
                AuthorizationStatus::Valid => continue,
                AuthorizationStatus::Pending => {}
                status => return Err(format!("an authorization is {status:?}")),
            }
            let mut challenge = authorization
                .challenge(ChallengeType::TlsAlpn01)
                .ok_or("the authority does not offer the challenge `tls-alpn-01`")?;
            let name = challenge.identifier().to_string();
            proofs.show(name, challenge.key_authorization().digest().as_ref())?;
            challenge.set_ready().await.map_err(said)?;
        }
        match order.poll_ready(&RetryPolicy::default()).await.map_err(said)? {
            OrderStatus::Ready | OrderStatus::Valid => {}
            status => {
                return Err(format!("the order is {status:?}: the authority could not check a name at this listener"));
            }
        }
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|error| error.to_string())?;
        let mut params = CertificateParams::new(self.config.names.clone()).map_err(|error| error.to_string())?;
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&key).map_err(|error| error.to_string())?;
        order.finalize_csr(request.der()).await.map_err(said)?;
        let chain = order.poll_certificate(&RetryPolicy::default()).await.map_err(said)?;
        drop(proofs);
        self.keep(app, chain, Zeroizing::new(key.serialize_pem()))
    }

    fn keep(&self, app: &App, chain: String, key: Zeroizing<String>) -> Result<(Hash, Instant), String> {
        let now = app.control.platform().clock.now();
        let digest = Hash::of(&[chain.as_bytes()]);
        let not_after = app.certificates.take_issued(chain.as_bytes(), &key, &self.config.names, now)?;
        let kept = Kept { directory: self.config.directory.clone(), names: self.names(), issued: now, chain, key };
        let body = Zeroizing::new(serde_json::to_vec(&kept).expect("a certificate has a JSON form"));
        write(app.control.metadata(), setting::ACME_CERTIFICATE, &body).map_err(|problem| problem.to_string())?;
        Ok((digest, not_after))
    }

    /// The account at the authority: the one that is kept, or a new one.
    async fn account(&self, app: &App) -> Result<Account, String> {
        let documents = app.control.metadata();
        let builder = Account::builder_with_http(Box::new(self.http()?));
        // Of another directory, it is another account.
        let name = format!(
            "{}-{}",
            setting::ACME_ACCOUNT,
            hex::encode(&Hash::of(&[self.config.directory.as_bytes()]).as_bytes()[..8])
        );
        if let Some(kept) = read(documents, &name).map_err(|problem| problem.to_string())? {
            let credentials: AccountCredentials =
                serde_json::from_slice(&kept).map_err(|_| "the kept account cannot be read")?;
            return builder.from_credentials(credentials).await.map_err(|error| error.to_string());
        }
        let contact: Vec<&str> = self.config.contact.iter().map(String::as_str).collect();
        let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let (account, credentials) =
            builder.create(&new, self.config.directory.clone(), None).await.map_err(|error| error.to_string())?;
        let body = Zeroizing::new(serde_json::to_vec(&credentials).map_err(|error| error.to_string())?);
        write(documents, &name, &body).map_err(|problem| problem.to_string())?;
        Ok(account)
    }

    /// What the authority is asked with: over TLS as everybody else is.
    fn http(&self) -> Result<Http, String> {
        let file = self.config.ca.as_ref().map(|file| self.folder.join(file));
        let ca = crate::intake::trusted(file.as_deref(), file.is_none())?;
        let outbound = Outbound { ca: &ca, connect: Some(CONNECT_TIME_MAX), whole: TIME_MAX, shows: None, at: None };
        Ok(Http(Arc::new(outbound.client()?)))
    }
}

/// When a certificate has to be renewed: after two thirds of its life.
fn renewal(issued: Instant, not_after: Instant) -> Instant {
    let life = not_after.micros().saturating_sub(issued.micros()).max(0);
    Instant::from_micros(issued.micros() + life / 3 * 2).unwrap_or(issued)
}

/// Renews for as long as the server runs.
pub(crate) async fn follow(app: Arc<App>, acme: Acme, mut due: Option<Instant>) {
    let mut interval = tokio::time::interval(LOOKED_AT);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut failures, mut next) = (0_u32, Duration::ZERO);
    loop {
        interval.tick().await;
        let clock = &app.control.platform().clock;
        if due.is_some_and(|due| clock.now() < due) || clock.monotonic() < next {
            continue;
        }
        let place = app.control.place();
        match acme.obtain(&app).await {
            Ok((chain, not_after)) => {
                tracing::info!(%not_after, "a certificate was issued and is served");
                (failures, next) = (0, Duration::ZERO);
                due = Some(renewal(clock.now(), not_after));
                app.certificates.acme_failed(None);
                app.metrics.certificate(true);
                let details = Details::none().digest("chain", *chain.as_bytes());
                record(
                    &app,
                    Event::new("certificate.issued", place),
                    details.and_then(|d| d.instant("not-after", not_after)),
                );
            }
            Err(reason) => {
                tracing::error!(reason, "no certificate was issued; the one before is still served");
                failures = failures.saturating_add(1);
                next = clock.monotonic() + Duration::from_secs(1 << failures.min(12)).min(BACKOFF_MAX);
                app.metrics.certificate(false);
                app.certificates.acme_failed(Some(reason));
                if failures == 1 {
                    record(&app, Event::new("certificate.failed", place), Ok(Details::none()));
                }
            }
        }
    }
}

fn record(app: &App, event: Event, details: Result<Details, creta_audit::AuditError>) {
    match details {
        Ok(details) => app.control.record(event.with(details).for_commitment("CI-13")),
        Err(error) => tracing::error!(%error, "a certificate could not be recorded"),
    }
}

fn read(documents: &dyn MetadataStore, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Problem> {
    let document = documents.read(setting::KIND, name).map_err(|error| from_store(&error))?;
    Ok(document.map(|document| Zeroizing::new(document.body)))
}

fn write(documents: &dyn MetadataStore, name: &str, body: &[u8]) -> Result<(), Problem> {
    let present = documents.read(setting::KIND, name).map_err(|error| from_store(&error))?;
    let written = documents.write(setting::KIND, name, present.map(|document| document.version), body);
    written.map(drop).map_err(|error| from_store(&error))
}

/// Proofs that are shown while an order lasts.
struct Proofs<'a> {
    certificates: &'a Certificates,
    names: Vec<String>,
}

impl Proofs<'_> {
    fn show(&mut self, name: String, digest: &[u8]) -> Result<(), String> {
        self.certificates.show_proof(&name, digest)?;
        self.names.push(name);
        Ok(())
    }
}

impl Drop for Proofs<'_> {
    fn drop(&mut self) {
        self.names.iter().for_each(|name| self.certificates.forget_proof(name));
    }
}

/// The library's requests, by the client that all outbound connections take.
struct Http(Arc<Client>);

impl HttpClient for Http {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let client = Arc::clone(&self.0);
        let other = |error: String| Error::Other(error.into());
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = to_bytes(Body::new(body), ANSWER_BYTES_MAX).await.map_err(|error| other(error.to_string()))?;
            let asked = tokio::task::spawn_blocking(move || {
                let response = match parts.method {
                    Method::GET | Method::HEAD => client.run(Request::from_parts(parts, ())),
                    _ => client.run(Request::from_parts(parts, body.as_ref())),
                };
                let (parts, mut body) = response.map_err(|error| error.to_string())?.into_parts();
                let body = body.with_config().limit(ANSWER_BYTES_MAX as u64).read_to_vec();
                Ok::<_, String>(Response::from_parts(parts, Body::from(body.map_err(|error| error.to_string())?)))
            });
            let answered = asked.await.map_err(|error| other(error.to_string()))?;
            answered.map(BytesResponse::from).map_err(other)
        })
    }
}

#[cfg(test)]
mod tests {
    use creta_model::Span;

    use super::*;

    fn config() -> AcmeConfig {
        AcmeConfig {
            directory: "https://acme.example.com/directory".to_owned(),
            contact: vec!["mailto:ops@example.com".to_owned()],
            names: vec!["creta.example.com".to_owned()],
            terms_of_service_agreed: true,
            ca: None,
        }
    }

    #[test]
    fn what_could_never_be_issued_is_refused_when_it_is_read() {
        assert_eq!(config().check(), Ok(()));
        let bad = |change: &dyn Fn(&mut AcmeConfig)| {
            let mut config = config();
            change(&mut config);
            config.check().expect_err("refused")
        };
        assert!(bad(&|config| config.directory = "http://acme.example.com/directory".into()).contains("https"));
        assert!(bad(&|config| config.names.clear()).contains("at least one"));
        for name in ["*.example.com", "10.0.0.1", "localhost", "Creta.example.com", "creta.example.com:443"] {
            assert!(bad(&|config| config.names = vec![name.to_owned()]).contains(name));
        }
        assert!(bad(&|config| config.contact = vec!["ops@example.com".into()]).contains("mailto:"));
        assert!(bad(&|config| config.terms_of_service_agreed = false).contains("terms of service"));
    }

    #[test]
    fn two_thirds_of_a_life_pass_before_a_renewal() {
        let at = |text| Instant::parse(text).expect("valid");
        let due = renewal(at("2026-01-01T00:00:00Z"), at("2026-04-01T00:00:00Z"));
        assert_eq!(due, at("2026-03-02T00:00:00Z"));
        let ended = at("2026-01-01T00:00:00Z");
        assert_eq!(renewal(ended.plus(Span::days(1)), ended), ended.plus(Span::days(1)), "what ended is due at once");
    }
}
