//! How checks look at the server: from outside, over TLS, as any client.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use crate::tls::{self, Outbound};

const TIMEOUT: Duration = Duration::from_secs(20);
const ANSWER_BYTES_MAX: u64 = 4 << 20;

/// A client that trusts one authority and reaches one address.
pub(crate) struct Client {
    client: tls::Client,
    base: String,
}

/// An answer, whatever its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Reply {
    /// The body as JSON; null when it is none.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// The code of a problem.
    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl Client {
    /// A client of the server at `address`, whose authority's certificate is in `ca`.
    pub(crate) fn new(ca: &Path, address: SocketAddr) -> Result<Self, String> {
        let pem = std::fs::read(ca).map_err(|error| format!("the authority's certificate cannot be read: {error}"))?;
        Self::showing(&pem, address, None)
    }

    /// As [`new`](Self::new), but it waits for no answer longer than `whole`.
    pub(crate) fn impatient(ca: &Path, address: SocketAddr, whole: Duration) -> Result<Self, String> {
        let pem = std::fs::read(ca).map_err(|error| format!("the authority's certificate cannot be read: {error}"))?;
        Self::asking(&Outbound { ca: &pem, connect: None, whole, shows: None, at: Some(address) }, address)
    }

    /// A client of a process beside the server, at `base`: it trusts the authority in `ca` and those of the system.
    pub(crate) fn of_anybody(ca: &Path, base: String) -> Result<Self, String> {
        let pem = crate::intake::trusted(Some(ca), true)?;
        let outbound = Outbound { ca: &pem, connect: None, whole: TIMEOUT, shows: None, at: None };
        Ok(Self { client: outbound.client()?, base })
    }

    /// As [`new`](Self::new), with a certificate and its key in PEM. The server is asked under the name that its local
    /// authority's certificate holds, whatever else it shows to others.
    pub(crate) fn showing(ca: &[u8], address: SocketAddr, shows: Option<(&str, &str)>) -> Result<Self, String> {
        Self::asking(&Outbound { ca, connect: None, whole: TIMEOUT, shows, at: Some(address) }, address)
    }

    fn asking(outbound: &Outbound<'_>, address: SocketAddr) -> Result<Self, String> {
        let client =
            outbound.client().map_err(|error| format!("the authority's certificate cannot be used: {error}"))?;
        Ok(Self { client, base: format!("https://localhost:{}", address.port()) })
    }

    /// Sends a request. The error says why there is no answer.
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> Result<Reply, String> {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let failed = |error: ureq::Error| format!("the server does not answer: {error}");
        let malformed = |_| "the request cannot be built".to_owned();
        let mut response = match body {
            Some(body) => self.client.run(request.body(body.to_owned()).map_err(malformed)?).map_err(failed)?,
            None => self.client.run(request.body(()).map_err(malformed)?).map_err(failed)?,
        };
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string().map_err(failed)?;
        Ok(Reply { status: response.status().as_u16(), body })
    }

    /// Sends JSON with a bearer token.
    pub(crate) fn post(&self, path: &str, token: &str, body: &serde_json::Value) -> Result<Reply, String> {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        self.send("POST", path, &headers, Some(&body.to_string()))
    }

    /// Asks with a bearer token.
    pub(crate) fn get(&self, path: &str, token: Option<&str>) -> Result<Reply, String> {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let headers: Vec<(&str, &str)> = bearer.iter().map(|bearer| ("authorization", bearer.as_str())).collect();
        self.send("GET", path, &headers, None)
    }
}

/// What a listener says to a request without TLS; empty when it says nothing or closes.
pub(crate) fn ask_in_the_clear(address: SocketAddr) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut answer = vec![0; 512];
    let length = stream.read(&mut answer).unwrap_or(0); // A reset is an answer too: none.
    answer.truncate(length);
    Ok(answer)
}
