//! Every listener of this process speaks TLS and nothing else (CI-13).

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use creta_compliance::{Finding, Observation};
use creta_model::Span;
use serde_json::json;

use super::{Check, Seen, World};
use crate::trust::client::{Client, ask_in_the_clear};
use crate::trust::observed::listeners_of_this_process;

pub(super) struct TlsListeners;

impl Check for TlsListeners {
    fn id(&self) -> &'static str {
        "tls-listeners"
    }

    fn notices_planted_fault(&self, world: &World<'_>) -> Result<bool, String> {
        let failed = |error: std::io::Error| format!("no listener could be planted: {error}");
        let planted = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
        let address = planted.local_addr().map_err(failed)?;
        let ended = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&ended);
        let answering = std::thread::spawn(move || {
            while let Ok((mut stream, _)) = planted.accept() {
                if end.load(Ordering::Acquire) {
                    return;
                }
                let _ = stream.read(&mut [0; 512]);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            }
        });
        let seen = look(world, &BTreeSet::from([address]));
        // It must be gone before anybody looks at the real listeners.
        ended.store(true, Ordering::Release);
        let _ = TcpStream::connect(address); // Wakes it; whether it is let in does not matter.
        let _ = answering.join();
        let seen = seen?;
        Ok(seen.findings.iter().any(|finding| finding.code == "tls/in-the-clear"))
    }

    fn observe(&self, world: &World<'_>) -> Result<Observation, String> {
        let listeners = listeners_of_this_process().map_err(|error| format!("listeners cannot be listed: {error}"))?;
        if !listeners.iter().any(|listener| listener.port() == world.address.port()) {
            return Err("the server's own listener is not among those that were found".to_owned());
        }
        let mut seen = look(world, &listeners)?;
        let subject = format!("listener:{}", world.address);
        let mut finding = |code, says: &str| seen.findings.push(Finding::new(&subject, code, says));
        let certificates = &world.app.certificates;
        if certificates.broken().is_some() {
            finding("tls/certificate-broken", "the certificate's files cannot be used; the one before is still shown");
        }
        let soon = world.app.control.platform().clock.now().plus(RENEWED_BEFORE);
        if certificates.acme_failure().is_some() {
            finding("tls/certificate-not-issued", "the ACME authority issued no certificate when one was due");
        }
        if certificates.is_from_files() && certificates.not_after().is_some_and(|end| end <= soon) {
            finding("tls/certificate-ends", "the certificate in files ends within a week, and was not renewed");
        }
        Ok(seen)
    }
}

/// A certificate in files that ends so soon should have been renewed long ago.
const RENEWED_BEFORE: Span = Span::days(7);

/// What must be refused: a name, the version (0x0303 is TLS 1.2) and the suites of a client hello.
const OLD: [(&str, u16, &[u16]); 3] = [
    ("TLS 1.0", 0x0301, &[0xc02b, 0xc02f, 0xc009, 0xc013]),
    ("TLS 1.1", 0x0302, &[0xc02b, 0xc02f, 0xc009, 0xc013]),
    // CBC with ephemeral keys, RSA key exchange, 3DES, RC4, NULL, export.
    (
        "weak suites",
        0x0303,
        &[0xc009, 0xc00a, 0xc013, 0xc014, 0xc023, 0xc027, 0x009c, 0x002f, 0x0035, 0x000a, 0x0005, 0x0002, 0x0003],
    ),
];

/// Whether a listener goes on with a handshake that offers nothing but these (RFC 5246 section 7.4.1.2).
fn agrees_to(address: SocketAddr, version: u16, suites: &[u16]) -> std::io::Result<bool> {
    let list = |id: u16, body: &[u8]| [&id.to_be_bytes(), &(body.len() as u16).to_be_bytes(), body].concat();
    let groups_formats_signatures =
        [list(10, &[0, 4, 0, 23, 0, 29]), list(11, &[1, 0]), list(13, &[0, 6, 4, 3, 8, 4, 4, 1])].concat();
    let suites: Vec<u8> = suites.iter().flat_map(|suite| suite.to_be_bytes()).collect();
    let mut hello = version.to_be_bytes().to_vec();
    hello.extend([7; 32]);
    hello.push(0);
    hello.extend((suites.len() as u16).to_be_bytes());
    hello.extend(suites);
    hello.extend([1, 0]);
    hello.extend((groups_formats_signatures.len() as u16).to_be_bytes());
    hello.extend(groups_formats_signatures);
    let mut record = vec![22, 3, 1];
    record.extend((hello.len() as u16 + 4).to_be_bytes());
    record.extend([1, 0]);
    record.extend((hello.len() as u16).to_be_bytes());
    record.extend(hello);
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_TIME_MAX)?;
    stream.set_read_timeout(Some(ANSWER_TIME_MAX))?;
    stream.write_all(&record)?;
    let mut kind = [0; 1];
    let answered = stream.read(&mut kind).unwrap_or(0); // A reset is an answer too: none.
    Ok(answered == 1 && kind[0] == 22)
}

const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

fn look(world: &World<'_>, listeners: &BTreeSet<SocketAddr>) -> Result<Observation, String> {
    let mut seen = Seen::default();
    let mut raw = Vec::new();
    let authority = world.folder.join("tls/ca.pem");
    for listener in listeners {
        let subject = format!("listener:{listener}");
        seen.subject(&subject);
        let reachable = crate::trust::observed::reachable(*listener);
        let clear = ask_in_the_clear(reachable).map_err(|error| format!("`{subject}` cannot be reached: {error}"))?;
        if clear.starts_with(b"HTTP/") {
            seen.finding(&subject, "tls/in-the-clear", format!("`{subject}` answers without TLS; stop it"));
        }
        let anybody = Client::new(&authority, reachable).and_then(|client| client.get("/health", None));
        let for_components = world.app.trust.components_address().is_some_and(|own| own.port() == listener.port());
        if for_components && anybody.is_ok() {
            let says = format!("`{subject}` is for components alone, and answers whoever shows no certificate");
            seen.finding(&subject, "tls/components-open", says);
        }
        let secure = if for_components { super::peers::ask_as_component(world, reachable) } else { anybody };
        if secure.is_err() {
            seen.finding(&subject, "tls/not-trusted", format!("`{subject}` has no TLS that clients here can trust"));
        }
        for (name, version, suites) in OLD {
            let agreed = agrees_to(reachable, version, suites);
            if agreed.map_err(|error| format!("`{subject}` cannot be reached: {error}"))? {
                seen.finding(&subject, "tls/old", format!("`{subject}` goes on with a client that offers only {name}"));
            }
        }
        raw.push(json!({
            "listener": listener.to_string(),
            "bytes_in_the_clear": clear.len(),
            "tls": secure.is_ok(),
        }));
    }
    Ok(seen.raw(json!({ "listeners": raw })))
}
