//! Every listener of this process speaks TLS and nothing else (CI-13).

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use creta_compliance::Observation;
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
        look(world, &listeners)
    }
}

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
        let secure = Client::new(&authority, reachable).and_then(|client| client.get("/health", None));
        if secure.is_err() {
            seen.finding(&subject, "tls/not-trusted", format!("`{subject}` has no TLS that clients here can trust"));
        }
        raw.push(json!({
            "listener": listener.to_string(),
            "bytes_in_the_clear": clear.len(),
            "tls": secure.is_ok(),
        }));
    }
    Ok(seen.raw(json!({ "listeners": raw })))
}
