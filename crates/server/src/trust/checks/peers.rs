//! Every server that this one asks speaks modern TLS (CH-32), and nothing of another environment gets in (CH-25).

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use creta_compliance::Observation;
use creta_model::{Environment, Instant};
use serde_json::json;

use super::{Check, Seen, World};
use crate::config::Config;
use crate::tls::{
    Authority, Component, ComponentName, ComponentRole, ComponentUri, Handshake, Issued, handshake, make_authority,
};
use crate::tokens::{Bearer, Tokens};
use crate::trust::client::{Client, Reply};

/// How long a peer may take to shake hands.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(5);

/// TLS 1.2, RSA key exchange, AES-128 in CBC mode: what no client of ours may agree to.
const WEAK_SUITE: [u8; 2] = [0x00, 0x2f];

pub(super) struct TlsPeers;

impl Check for TlsPeers {
    fn id(&self) -> &'static str {
        "tls-peers"
    }

    /// A peer that wants an old suite.
    fn notices_planted_fault(&self, world: &World<'_>) -> Result<bool, String> {
        let failed = |error: std::io::Error| format!("no peer could be planted: {error}");
        let planted = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
        let address = planted.local_addr().map_err(failed)?;
        let answering = std::thread::spawn(move || {
            let Ok((mut stream, _)) = planted.accept() else { return };
            let _ = stream.set_read_timeout(Some(HANDSHAKE_TIME_MAX));
            let _ = stream.read(&mut [0; 4_096]);
            let _ = stream.write_all(&weak_server_hello());
            let _ = stream.read(&mut [0; 64]); // Its alert, or its end.
        });
        let ca = own_authority(world)?;
        let seen = look(&[("planted".to_owned(), format!("https://localhost:{}", address.port()), ca)]);
        let _ = answering.join();
        Ok(seen?.findings.iter().any(|finding| finding.code == "tls/peer-weak"))
    }

    fn observe(&self, world: &World<'_>) -> Result<Observation, String> {
        let config = Config::load(world.folder).map_err(|error| error.to_string())?;
        // This server is a peer of its own checks.
        let own = format!("https://localhost:{}", world.address.port());
        let mut peers = vec![("this-server".to_owned(), own, own_authority(world)?)];
        for witness in &config.witness {
            let name = witness.verifier_key().map(|key| format!("witness-{}", key.name()))?;
            peers.push((name, witness.url.clone(), read(&world.folder.join(&witness.ca))?));
        }
        if let Some(acme) = &config.acme {
            let ca = acme.ca.as_ref().map(|file| world.folder.join(file));
            peers.push((
                "acme".to_owned(),
                acme.directory.clone(),
                crate::intake::trusted(ca.as_deref(), ca.is_none())?,
            ));
        }
        // Whom all sign-ins rest on, at each address that it is asked at; a provider on this machine is reached without TLS.
        if let Some(sign_in) = &config.sign_in {
            let ca = sign_in.ca.as_ref().map(|file| world.folder.join(file));
            let of_system = ca.is_none();
            for (what, url) in world.app.people.provider_addresses().iter().filter(|(_, url)| url.starts_with("https:"))
            {
                let trusted = crate::intake::trusted(ca.as_deref(), of_system)?;
                peers.push((format!("identity-provider-{what}"), url.clone(), trusted));
            }
        }
        for (number, on_call) in config.on_call.iter().enumerate() {
            let Some(url) = &on_call.webhook else { continue };
            let ca = on_call.ca.as_ref().map(|file| world.folder.join(file));
            peers.push((
                format!("on-call-{}", number + 1),
                url.clone(),
                crate::intake::trusted(ca.as_deref(), ca.is_none())?,
            ));
        }
        look(&peers)
    }
}

fn own_authority(world: &World<'_>) -> Result<Vec<u8>, String> {
    read(&world.folder.join("tls/ca.pem"))
}

fn read(path: &PathBuf) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("an authority's certificate cannot be read: {error}"))
}

/// Shakes hands with each: name, address, authority. One that is not there could not be looked at, unless something worse
/// was found.
fn look(peers: &[(String, String, Vec<u8>)]) -> Result<Observation, String> {
    let (mut seen, mut raw, mut missing) = (Seen::default(), Vec::new(), None);
    for (name, url, ca) in peers {
        let subject = format!("peer:{name}");
        seen.subject(&subject);
        let ended = handshake(url, ca, HANDSHAKE_TIME_MAX);
        match &ended {
            Handshake::Agreed { version, suite } => {
                raw.push(json!({"peer": subject, "version": version, "suite": suite}));
            }
            Handshake::Weak(why) => {
                seen.finding(&subject, "tls/peer-weak", format!("`{subject}` offers no modern TLS: {why}"));
            }
            Handshake::NotTrusted(why) => {
                let says = format!("`{subject}` shows a certificate that is not trusted here: {why}");
                seen.finding(&subject, "tls/peer-not-trusted", says);
            }
            Handshake::Unreachable(why) => missing = Some(format!("`{subject}` does not answer: {why}")),
        }
    }
    match missing {
        Some(missing) if seen.0.findings.is_empty() => Err(missing),
        _ => Ok(seen.raw(json!({ "peers": raw }))),
    }
}

/// A server hello that chooses [`WEAK_SUITE`] (RFC 5246 section 7.4.1.3).
fn weak_server_hello() -> Vec<u8> {
    let mut hello = vec![3, 3];
    hello.extend([9; 32]); // random
    hello.push(0); // no session
    hello.extend(WEAK_SUITE);
    hello.push(0); // no compression
    let length = u16::try_from(hello.len()).expect("a hello is short");
    let mut record = vec![22, 3, 3];
    record.extend((length + 4).to_be_bytes());
    record.extend([2, 0]);
    record.extend(length.to_be_bytes());
    record.extend(hello);
    record
}

pub(super) struct ForeignPeers;

/// What is tried at the own listener.
enum Attempt {
    Certificate(Issued),
    Token(String),
}

impl Check for ForeignPeers {
    fn id(&self) -> &'static str {
        "foreign-peers"
    }

    /// A certificate of this environment, let in, looked at as if it were foreign.
    fn notices_planted_fault(&self, world: &World<'_>) -> Result<bool, String> {
        let own =
            issue(&authority(world)?, world, world.app.control.environment_id(), world.app.control.environment())?;
        let admitted = Admitted::new(world, &own);
        let seen = try_all(world, &[("planted", Attempt::Certificate(own))]);
        drop(admitted);
        Ok(seen?.0.findings.iter().any(|finding| finding.code == "environment/foreign-accepted"))
    }

    fn observe(&self, world: &World<'_>) -> Result<Observation, String> {
        let control = &world.app.control;
        let (id, environment) = (control.environment_id(), control.environment());
        // Whoever is right gets in: what follows is refused for what it is, not because nothing works.
        let own = issue(&authority(world)?, world, id, environment)?;
        let admitted = Admitted::new(world, &own);
        let answered = show(world, &own)?.get("/health", None);
        drop(admitted);
        answered.map_err(|error| format!("a certificate of this environment was not let in: {error}"))?;

        let elsewhere = Environment::parse("elsewhere").expect("a name of our own is valid");
        let (_, key) = make_authority(id, now(world)).map_err(|error| error.to_string())?;
        let same_name = Authority::new(id, key);
        let token = |environment: &Environment, audience: &str| {
            let (clock, random) = (control.platform().clock.clone(), control.platform().random.clone());
            let key = Tokens::make_key(&*random);
            let tokens = Tokens::new(&key, environment.clone(), audience, clock, random);
            let tokens = tokens.ok_or("a token of another environment cannot be made")?;
            Ok::<_, String>(Attempt::Token(tokens.issue(Bearer::account("admin", None, 0))))
        };
        let attempts = [
            (
                "certificate-of-an-authority-of-the-same-name",
                Attempt::Certificate(issue(&same_name, world, id, environment)?),
            ),
            (
                "certificate-of-another-environment",
                Attempt::Certificate(issue(&authority(world)?, world, id, &elsewhere)?),
            ),
            ("certificate-of-nobody", Attempt::Certificate(issue(&authority(world)?, world, id, environment)?)),
            ("token-of-another-environment", token(&elsewhere, "elsewhere-00")?),
            ("token-by-another-key", token(environment, id)?),
        ];
        let seen = try_all(world, &attempts)?;
        Ok(seen.raw(json!({ "attempts": attempts.len() })))
    }
}

fn try_all(world: &World<'_>, attempts: &[(&str, Attempt)]) -> Result<Seen, String> {
    let mut seen = Seen::default();
    for (name, attempt) in attempts {
        let subject = format!("attempt:{name}");
        seen.subject(&subject);
        let let_in = match attempt {
            Attempt::Certificate(issued) => show(world, issued)?.get("/health", None).is_ok(),
            Attempt::Token(token) => world.client.get("/v1/tenants", Some(token))?.status != 401,
        };
        if let_in {
            let says = format!("`{subject}` was let in by the listener of this environment");
            seen.finding(&subject, "environment/foreign-accepted", says);
        }
    }
    Ok(seen)
}

fn now(world: &World<'_>) -> Instant {
    world.app.control.platform().clock.now()
}

fn authority(world: &World<'_>) -> Result<Authority, String> {
    world.app.control.authority().map_err(|problem| problem.to_string())
}

fn probe_name() -> ComponentName {
    ComponentName::parse("creta-probe").expect("a name of our own is valid")
}

fn issue(authority: &Authority, world: &World<'_>, id: &str, environment: &Environment) -> Result<Issued, String> {
    let uri = ComponentUri::new(id, environment.clone(), probe_name());
    authority.component_certificate(&uri, now(world)).map_err(|error| error.to_string())
}

/// What the listener at `address` answers a component of this environment.
pub(super) fn ask_as_component(world: &World<'_>, address: SocketAddr) -> Result<Reply, String> {
    let control = &world.app.control;
    let own = issue(&authority(world)?, world, control.environment_id(), control.environment())?;
    let admitted = Admitted::new(world, &own);
    let client = Client::showing(&own_authority(world)?, address, Some((&own.certificate, &own.key)));
    let answered = client.and_then(|client| client.get("/health", None));
    drop(admitted);
    answered
}

/// A client that shows a certificate.
fn show(world: &World<'_>, issued: &Issued) -> Result<Client, String> {
    let address = crate::trust::observed::reachable(world.address);
    let ca = own_authority(world)?;
    Client::showing(&ca, address, Some((&issued.certificate, &issued.key)))
}

/// A certificate that is let in for as long as this lives.
struct Admitted<'a> {
    world: &'a World<'a>,
    thumbprint: [u8; 32],
}

impl<'a> Admitted<'a> {
    fn new(world: &'a World<'a>, issued: &Issued) -> Self {
        let component = Component {
            name: probe_name(),
            role: ComponentRole::Collector,
            created: now(world),
            certificates: Vec::new(),
            revoked: None,
        };
        world.app.verifier.admit(issued.thumbprint, component);
        Self { world, thumbprint: issued.thumbprint }
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        self.world.app.verifier.forget(self.thumbprint);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_ch32_a_peer_that_offers_only_weak_suites_is_refused_and_found() {
        let answers: [Vec<u8>; 3] = [
            weak_server_hello(),
            vec![21, 3, 3, 0, 2, 2, 40], // fatal: handshake failure
            b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
        ];
        let now = Instant::parse("2026-01-01T00:00:00Z").expect("valid");
        let (ca, _) = make_authority("somebody", now).expect("made");
        for answer in answers {
            let planted = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let address = planted.local_addr().expect("bound");
            let sent = answer.clone();
            let answering = std::thread::spawn(move || {
                let (mut stream, _) = planted.accept().expect("asked");
                let _ = stream.read(&mut [0; 4_096]).expect("a hello");
                stream.write_all(&sent).expect("sent");
                let _ = stream.read(&mut [0; 64]);
            });
            let url = format!("https://localhost:{}", address.port());
            let seen = look(&[("weak".to_owned(), url, ca.clone().into_bytes())]).expect("looked");
            assert_eq!(seen.findings[0].code, "tls/peer-weak", "{answer:?}");
            assert_eq!(seen.findings[0].subject, "peer:weak", "it is named");
            answering.join().expect("ended");
        }
        let nobody = look(&[("gone".to_owned(), "https://localhost:1".to_owned(), ca.into_bytes())]);
        assert!(nobody.is_err(), "nobody there is no pass");
    }
}
