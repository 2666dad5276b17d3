//! How a log or a monitor talks to a witness.

use std::path::Path;
use std::time::Duration;

use creta_model::Problem;
use creta_proof::SignedCheckpoint;
use creta_proof::witness::AddCheckpoint;
use ureq::http::{Request, Response};

use super::folder::{WatchedLog, origin_hash};
use crate::tls::{Client, Outbound};

const CONNECT_TIME_MAX: Duration = Duration::from_secs(3);
const TIME_MAX: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// A client of one witness, over TLS, trusting one certificate authority. Redirects are not followed and no proxy is used.
pub struct WitnessClient {
    client: Client,
    url: String,
}

/// What a witness answers to a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// Signature lines.
    Cosigned(String),
    /// It stands elsewhere: at this size.
    Known(u64),
    /// The proof does not lead on from what it cosigned.
    NotConsistent,
    /// Anything else.
    Refused { status: u16, reason: String },
}

impl WitnessClient {
    /// `url` is the witness's submission prefix (`https://...`), `ca` its certificate authority in PEM.
    pub fn new(url: &str, ca: &Path) -> Result<Self, Problem> {
        Self::showing(url, ca, None)
    }

    /// As [`new`](Self::new), with a component's certificate and its key, both in PEM, for a witness that asks for one.
    pub fn showing(url: &str, ca: &Path, shows: Option<(&str, &str)>) -> Result<Self, Problem> {
        let unusable = |reason: String| {
            Problem::new("witness/ca", format!("the certificate authority of witness `{url}` cannot be used: {reason}"))
                .with_note("file", ca.display().to_string(), None)
                .with_help("name the `tls/ca.pem` of the witness's data folder, or a copy of it")
        };
        let pem = std::fs::read(ca).map_err(|error| unusable(error.to_string()))?;
        let outbound = Outbound { ca: &pem, connect: Some(CONNECT_TIME_MAX), whole: TIME_MAX, shows, at: None };
        let client = outbound.client().map_err(unusable)?;
        Ok(Self { client, url: url.trim_end_matches('/').to_owned() })
    }

    /// Asks for a cosignature. The error says why there is no answer.
    pub(crate) fn add_checkpoint(&self, request: &AddCheckpoint) -> Result<Reply, String> {
        let address = format!("{}/add-checkpoint", self.url);
        let request = Request::post(address).body(request.to_string()).map_err(|error| error.to_string())?;
        let (status, text) = read(self.client.run(request))?;
        Ok(match status {
            200 => Reply::Cosigned(text),
            409 => match text.trim_end().parse() {
                Ok(size) => Reply::Known(size),
                Err(_) => Reply::Refused { status, reason: "it did not say which size it knows".to_owned() },
            },
            422 => Reply::NotConsistent,
            _ => Reply::Refused { status, reason: first_line(&text) },
        })
    }

    /// The newest checkpoint of a log that the witness cosigned; `None` if there is none, or where it does not tell. Not
    /// verified.
    pub fn newest(&self, origin: &str) -> Result<Option<SignedCheckpoint>, String> {
        let text = self.get(&format!("checkpoint/{}", origin_hash(origin)))?;
        text.map(|text| SignedCheckpoint::parse(&text).map_err(|error| error.to_string())).transpose()
    }

    /// All that the witness keeps of a log: forks and evidence too.
    pub fn log(&self, origin: &str) -> Result<Option<WatchedLog>, String> {
        let text = self.get(&format!("log/{}", origin_hash(origin)))?;
        text.map(|text| serde_json::from_str(&text).map_err(|error| error.to_string())).transpose()
    }

    fn get(&self, path: &str) -> Result<Option<String>, String> {
        let request = Request::get(format!("{}/{path}", self.url)).body(()).map_err(|error| error.to_string())?;
        match read(self.client.run(request))? {
            (200, text) => Ok(Some(text)),
            (404, _) => Ok(None),
            (status, text) => Err(format!("it answered {status}: {}", first_line(&text))),
        }
    }
}

fn read(response: Result<Response<ureq::Body>, ureq::Error>) -> Result<(u16, String), String> {
    let mut response = response.map_err(|error| error.to_string())?;
    let status = response.status().as_u16();
    let text = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
    Ok((status, text.map_err(|error| error.to_string())?))
}

/// Enough to understand, not enough to fill a log.
fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).take(200).collect()
}
