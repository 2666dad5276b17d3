//! The wire to a server: TLS, tokens, and problems as the server words them.

use std::cell::RefCell;
use std::io::Read;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use creta_model::Problem;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use ureq::http::request::Builder;
use ureq::http::{Method, Request, Response, StatusCode};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

use crate::failure::{Exit, Failure};
use crate::held_key::{HeldKey, new_key, to_pkcs8};
use crate::profile::{Profile, SessionFile, Whom, read_secret};

/// Media type of Arrow IPC streams.
pub(crate) const ARROW_STREAM: &str = "application/vnd.apache.arrow.stream";
const JSON: &str = "application/json";

/// Answers longer than this are no JSON answers of ours.
const JSON_BYTES_MAX: u64 = 256 << 20;

/// Where systems keep the certificate authorities they trust.
const SYSTEM_ROOTS: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// A server, asked as one service account or person. Tokens are kept in memory only.
pub(crate) struct Server {
    agent: Agent,
    profile: Profile,
    token: RefCell<Option<Token>>,
}

/// A token, and what proves that it is ours where it is bound to a key.
#[derive(Clone)]
struct Token {
    text: String,
    key: Option<Rc<HeldKey>>,
}

#[derive(Deserialize)]
struct IssuedToken {
    access_token: String,
}

impl Server {
    /// Reads the certificate authority; does not connect yet.
    pub(crate) fn new(profile: Profile) -> Result<Self, Failure> {
        if !profile.url.starts_with("https://") {
            return Err(Failure::usage(
                "profile/not-https",
                format!("`{}` is not an https address", profile.url),
                "write the address as `https://HOST:PORT`; the server speaks nothing else",
            ));
        }
        let roots = read_roots(profile.ca_file.as_deref())?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&roots))
            .unversioned_rustls_crypto_provider(provider)
            .build();
        let agent = Agent::config_builder()
            .tls_config(tls)
            .https_only(true)
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(Duration::from_secs(10)))
            .user_agent(concat!("creta/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Ok(Self { agent, profile, token: RefCell::new(None) })
    }

    /// Asks for JSON without telling who asks.
    pub(crate) fn get_open<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        read_json(self.send(Method::GET, path, None, None)?)
    }

    /// Asks for JSON.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        read_json(self.send_authenticated(Method::GET, path, None)?)
    }

    /// Sends JSON without telling who asks: what is signed in it says so, or nobody has to.
    pub(crate) fn post_open<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Failure> {
        let body = serde_json::to_vec(body).expect("requests have string keys and finite numbers");
        read_json(self.send(Method::POST, path, Some((JSON, &body)), None)?)
    }

    /// Asks for bytes.
    pub(crate) fn get_bytes(&self, path: &str) -> Result<Vec<u8>, Failure> {
        read_bytes(self.send_authenticated(Method::GET, path, None)?, JSON_BYTES_MAX)
    }

    /// Asks for an answer that is read as it comes.
    pub(crate) fn get_streamed(&self, path: &str) -> Result<impl Read + use<>, Failure> {
        let answer = self.send_authenticated(Method::GET, path, None)?;
        Ok(answer.into_body().into_with_config().limit(u64::MAX).reader())
    }

    /// Sends JSON, asks for JSON.
    pub(crate) fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Failure> {
        let body = serde_json::to_vec(body).expect("requests have string keys and finite numbers");
        read_json(self.send_authenticated(Method::POST, path, Some((JSON, &body)))?)
    }

    /// Asks the server to do something that needs no further words.
    pub(crate) fn post_empty<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        read_json(self.send_authenticated(Method::POST, path, Some((JSON, &[])))?)
    }

    /// Sends bytes of a media type; the answer is read by the caller.
    pub(crate) fn post_bytes(&self, path: &str, media: &str, body: &[u8]) -> Result<Response<Body>, Failure> {
        self.send_authenticated(Method::POST, path, Some((media, body)))
    }

    /// A token that the server refuses is renewed once: it may have run out since the last request.
    fn send_authenticated(
        &self,
        method: Method,
        path: &str,
        body: Option<(&str, &[u8])>,
    ) -> Result<Response<Body>, Failure> {
        let kept = self.token.borrow().clone();
        if let Some(token) = kept {
            match self.send(method.clone(), path, body, Some(&token)) {
                Err(failure) if failure.problems[0].code.starts_with("auth/") => {}
                other => return other,
            }
        }
        let token = self.fetch_token()?;
        let answer = self.send(method, path, body, Some(&token));
        *self.token.borrow_mut() = Some(token);
        answer
    }

    /// A token that works now: for the service account's secret, or in the person's session.
    pub(crate) fn check_token(&self) -> Result<(), Failure> {
        let token = self.fetch_token()?;
        *self.token.borrow_mut() = Some(token);
        Ok(())
    }

    /// Lets go of the token and of the key that proves it: what is asked next fetches another.
    pub(crate) fn forget_token(&self) {
        *self.token.borrow_mut() = None;
    }

    fn fetch_token(&self) -> Result<Token, Failure> {
        match &self.profile.whom {
            Whom::ServiceAccount { client_id, client_secret_file } => {
                let secret = read_secret(client_secret_file)?;
                let request = serde_json::json!({
                    "grant_type": "client_credentials",
                    "client_id": client_id,
                    "client_secret": secret,
                });
                let body = serde_json::to_vec(&request).expect("a table of texts");
                match self.send(Method::POST, "/v1/token", Some((JSON, &body)), None) {
                    Ok(answer) => Ok(Token { text: read_json::<IssuedToken>(answer)?.access_token, key: None }),
                    // The account's tokens are bound to a key: one for as long as this command runs.
                    Err(failure) if failure.problems[0].code == "auth/no-proof" => {
                        let key = Rc::new(HeldKey::Software(new_key()));
                        let token: IssuedToken = self.post_proven("/v1/token", &request, &key)?;
                        Ok(Token { text: token.access_token, key: Some(key) })
                    }
                    Err(failure) => Err(failure),
                }
            }
            Whom::Person { session_file } => {
                let kept = SessionFile::read(session_file)?;
                let key = Rc::new(key_of(&kept, session_file)?);
                let request = serde_json::json!({ "session": kept.session, "renewal": kept.renewal });
                let token: IssuedToken = self.post_proven("/v1/sessions/renew", &request, &key)?;
                Ok(Token { text: token.access_token, key: Some(key) })
            }
        }
    }

    /// Sends JSON with proof of a key, before there is a token that is bound to it.
    pub(crate) fn post_proven<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        key: &HeldKey,
    ) -> Result<T, Failure> {
        let body = serde_json::to_vec(body).expect("requests have string keys and finite numbers");
        let proof = key.prove("POST", &self.address_of(path), None)?;
        let request = Request::builder().method(Method::POST).uri(self.address_of(path)).header("dpop", proof);
        read_json(self.run(request, Some((JSON, &body)))?)
    }

    /// Where a path of this server is.
    pub(crate) fn address_of(&self, path: &str) -> String {
        format!("{}{path}", self.profile.url.trim_end_matches('/'))
    }

    fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<(&str, &[u8])>,
        token: Option<&Token>,
    ) -> Result<Response<Body>, Failure> {
        let address = self.address_of(path);
        let mut request = Request::builder().method(method.clone()).uri(&address);
        if let Some(Token { text, key }) = token {
            request = match key {
                Some(key) => request
                    .header("authorization", format!("DPoP {text}"))
                    .header("dpop", key.prove(method.as_str(), &address, Some(text))?),
                None => request.header("authorization", format!("Bearer {text}")),
            };
        }
        self.run(request, body)
    }

    fn run(&self, request: Builder, body: Option<(&str, &[u8])>) -> Result<Response<Body>, Failure> {
        let answer = match body {
            Some((media, body)) => {
                request.header("content-type", media).body(body).map(|request| self.agent.run(request))
            }
            None => request.body(()).map(|request| self.agent.run(request)),
        };
        let answer = answer.map_err(|_| {
            let message = format!("`{}` is not an address", self.profile.url);
            Failure::usage("profile/not-an-address", message, "write it as `https://HOST:PORT`")
        })?;
        let answer = answer.map_err(|error| self.unreachable(&error))?;
        if answer.status().is_success() { Ok(answer) } else { Err(refused(answer)) }
    }

    fn unreachable(&self, error: &ureq::Error) -> Failure {
        let url = &self.profile.url;
        let untrusted = match error {
            ureq::Error::Rustls(error) => Some(error.to_string()),
            // What fails in the handshake comes as an error of the connection.
            ureq::Error::Io(error) => {
                error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).map(ToString::to_string)
            }
            _ => None,
        };
        let (code, reason, help) = match error {
            _ if untrusted.is_some() => {
                let help = match &self.profile.ca_file {
                    Some(file) => format!("check that `{}` is this server's certificate authority", file.display()),
                    None => "name the server's certificate authority: `creta login --ca FILE`".to_owned(),
                };
                ("network/untrusted", untrusted.unwrap_or_default(), help)
            }
            ureq::Error::HostNotFound => {
                ("network/unknown-host", "no such host".to_owned(), "check the address in the profile".to_owned())
            }
            ureq::Error::Timeout(_) => (
                "network/timeout",
                "no answer in time".to_owned(),
                "check the address and that no firewall is in between".to_owned(),
            ),
            other => {
                let help = "start it with `creta server start`, or check the address in the profile".to_owned();
                ("network/unreachable", other.to_string(), help)
            }
        };
        let problem = Problem::new(code, format!("the server at `{url}` could not be reached: {reason}"));
        Failure::new(Exit::Unreachable, problem.with_help(help))
    }
}

/// The key that proves a session.
fn key_of(session: &SessionFile, file: &Path) -> Result<HeldKey, Failure> {
    HeldKey::of_session(&session.key).ok_or_else(|| {
        let message = format!("the key in `{}` cannot be read", file.display());
        Failure::usage("profile/invalid-session", message, "sign in again: `creta login`")
    })
}

/// Proof that whoever has `key` (as it stands in a session file) makes a request with `token`, now. `None` if the key cannot
/// be read, or the TPM that has it does not sign.
pub fn prove_possession(key: &str, method: &str, address: &str, token: Option<&str>) -> Option<String> {
    thread_local! {
        /// The key of the last request: a program asks often, and a TPM takes long to load one.
        static LAST: RefCell<Option<(String, Rc<HeldKey>)>> = const { RefCell::new(None) };
    }
    let last = LAST.with_borrow(|last| last.as_ref().filter(|(text, _)| text == key).map(|(_, held)| Rc::clone(held)));
    let held = match last {
        Some(held) => held,
        None => Rc::new(HeldKey::of_session(key)?),
    };
    let proof = held.prove(method, address, token).ok();
    LAST.set(Some((key.to_owned(), held)));
    proof
}

/// A new key as [`prove_possession`] takes it, for a program that keeps it in memory.
pub fn make_key() -> String {
    to_pkcs8(&new_key())
}

/// A text as a part of an address, by RFC 3986.
pub(crate) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// A path with the parameters that have a value.
pub(crate) fn query_string(path: &str, parameters: &[(&str, Option<String>)]) -> String {
    let given = parameters.iter().filter_map(|(name, value)| Some(format!("{name}={}", encoded(value.as_ref()?))));
    let given: Vec<String> = given.collect();
    if given.is_empty() { path.to_owned() } else { format!("{path}?{}", given.join("&")) }
}

fn read_roots(ca_file: Option<&Path>) -> Result<Vec<Certificate<'static>>, Failure> {
    let system = || SYSTEM_ROOTS.iter().map(Path::new).find(|path| path.is_file());
    let Some(file) = ca_file.or_else(system) else {
        return Err(Failure::usage(
            "profile/no-roots",
            "this system has no list of trusted certificate authorities",
            "name the server's certificate authority: `creta login --ca FILE`",
        ));
    };
    let pem = std::fs::read(file).map_err(|error| Failure::file("read", file, &error))?;
    let roots: Vec<_> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if roots.is_empty() {
        let message = format!("`{}` holds no certificate in PEM form", file.display());
        return Err(Failure::usage("profile/no-certificate", message, "name the `ca.pem` that the server wrote"));
    }
    Ok(roots)
}

pub(crate) fn read_json<T: DeserializeOwned>(answer: Response<Body>) -> Result<T, Failure> {
    let bytes = read_bytes(answer, JSON_BYTES_MAX)?;
    // No content reads as null.
    let bytes: &[u8] = if bytes.is_empty() { b"null" } else { &bytes };
    serde_json::from_slice(bytes).map_err(|error| {
        let message = format!("the server's answer could not be read: {error}");
        let help = "the server and this command should be of the same version; compare with `creta server status`";
        Failure::new(Exit::Failed, Problem::new("answer/unreadable", message).with_help(help))
    })
}

fn read_bytes(answer: Response<Body>, bytes_max: u64) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let mut body = answer.into_body().into_with_config().limit(bytes_max).reader();
    body.read_to_end(&mut bytes).map_err(|error| interrupted(&error))?;
    Ok(bytes)
}

/// The connection ended while an answer was read.
pub(crate) fn interrupted(error: &std::io::Error) -> Failure {
    let problem = Problem::new("network/interrupted", format!("the connection ended during the answer: {error}"));
    Failure::new(Exit::Unreachable, problem.with_help("try again; if it happens again, read the server's log"))
}

/// The server's own problems; a status in words where something else answered.
fn refused(answer: Response<Body>) -> Failure {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Refusal {
        Many { problems: Vec<Problem> },
        One(Problem),
    }
    let status = answer.status();
    let bytes = read_bytes(answer, 4 << 20).unwrap_or_default();
    match serde_json::from_slice(&bytes) {
        Ok(Refusal::Many { problems }) if !problems.is_empty() => Failure::answered(problems),
        Ok(Refusal::One(problem)) => Failure::answered(vec![problem]),
        _ => {
            let code = match status {
                StatusCode::UNAUTHORIZED => "auth/refused",
                StatusCode::FORBIDDEN => "access/refused",
                _ => "answer/unexpected",
            };
            let problem = Problem::new(code, format!("the server answered {status} without saying why"));
            Failure::from(problem.with_help("check that the profile's address is that of a Creta server"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn profile(url: &str, ca_file: Option<PathBuf>) -> Profile {
        let whom = Whom::ServiceAccount { client_id: "test".into(), client_secret_file: "/nowhere".into() };
        Profile { url: url.into(), ca_file, whom }
    }

    fn certificate(folder: &Path) -> PathBuf {
        let file = folder.join("ca.pem");
        // Only the frame is read before a connection is made.
        std::fs::write(&file, "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n").expect("write");
        file
    }

    #[test]
    fn a_server_that_is_not_there_says_what_to_do() {
        let folder = tempfile::tempdir().expect("temporary folder");
        // The port is free again as soon as the listener is dropped.
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("port").port();
        let url = format!("https://127.0.0.1:{port}");
        let server = Server::new(profile(&url, Some(certificate(folder.path())))).expect("valid profile");
        let failure = server.get_open::<serde_json::Value>("/v1/status").expect_err("nobody listens");
        assert_eq!(failure.exit, Exit::Unreachable);
        assert!(failure.problems[0].message.contains(&url));
        assert!(failure.problems[0].help.as_ref().expect("help").contains("creta server start"));
    }

    #[test]
    fn parameters_cannot_become_other_parameters() {
        let path = query_string("/v1/x", &[("a", Some("1&b=2 ü".into())), ("c", None), ("d", Some(String::new()))]);
        assert_eq!(path, "/v1/x?a=1%26b%3D2%20%C3%BC&d=");
        assert_eq!(query_string("/v1/x", &[("a", None)]), "/v1/x");
    }

    #[test]
    fn plain_http_and_missing_certificates_are_refused() {
        let code = |failure: Option<Failure>| failure.expect("refused").problems[0].code.clone();
        assert_eq!(code(Server::new(profile("http://127.0.0.1:1", None)).err()), "profile/not-https");
        let folder = tempfile::tempdir().expect("temporary folder");
        let empty = folder.path().join("ca.pem");
        std::fs::write(&empty, "nothing").expect("write");
        assert_eq!(code(Server::new(profile("https://127.0.0.1:1", Some(empty))).err()), "profile/no-certificate");
    }
}
