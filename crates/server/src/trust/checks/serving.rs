//! Questions are answered in time, and the workers behind them are alive (CH-05).

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use creta_compliance::Observation;
use serde_json::{Value, json};

use super::{Check, Seen, World};
use crate::trust::client::Client;
use crate::trust::probes::question;

/// How long somebody who waits for an answer can wait.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(1);
/// Answers are looked at so often before one is called late: a single pause of a busy machine is no outage.
const TRIES: usize = 3;

pub(super) struct Serving;

impl Check for Serving {
    fn id(&self) -> &'static str {
        "serving"
    }

    /// A listener that takes connections and says nothing.
    fn notices_planted_fault(&self, world: &World<'_>) -> Result<bool, String> {
        let failed = |error: std::io::Error| format!("no listener could be planted: {error}");
        let planted = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
        let mut seen = Seen::default();
        ask(world, planted.local_addr().map_err(failed)?, 1, &mut seen)?;
        Ok(seen.0.findings.iter().any(|finding| finding.code == "serving/no-answer"))
    }

    fn observe(&self, world: &World<'_>) -> Result<Observation, String> {
        let mut seen = Seen::default();
        let answers = ask(world, world.address, TRIES, &mut seen)?;
        let workers = workers(world, &mut seen);
        Ok(seen.raw(json!({ "answers": answers, "workers": workers })))
    }
}

/// Asks for each probe tenant's stored value at `address`, `tries` times at most.
fn ask(world: &World<'_>, address: SocketAddr, tries: usize, seen: &mut Seen) -> Result<Vec<Value>, String> {
    let client = Client::impatient(&world.folder.join("tls/ca.pem"), address, ANSWER_TIME_MAX)?;
    let mut raw = Vec::new();
    for (probe, subject) in world.probes.0.iter().zip(["probe:a-online", "probe:b-online"]) {
        seen.subject(subject);
        let mut attempt = || {
            let began = Instant::now();
            let reply = client.post("/v1/query", &probe.token, &question("Probe"));
            let took = began.elapsed();
            let right = reply.as_ref().is_ok_and(|reply| reply.status == 200 && reply.body.contains(&probe.canary));
            raw.push(json!({
                "of": subject, "status": reply.as_ref().map_or(0, |reply| reply.status), "right": right,
                "micros": u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            }));
            right
        };
        if !(0..tries).any(|_| attempt()) {
            let says = "an online question got no right answer within a second; look at the server's load and its log";
            seen.finding(subject, "serving/no-answer", says);
        }
    }
    Ok(raw)
}

/// Looks at the workers of every scope at work. Scopes are counted, not named: the page is public.
fn workers(world: &World<'_>, seen: &mut Seen) -> Vec<Value> {
    let probed = world.app.control.engines_at_work().into_iter().filter_map(|engine| engine.probe_resolvers());
    let mut raw = Vec::new();
    for (place, outcome) in probed.enumerate() {
        let subject = format!("workers-{}", place + 1);
        seen.subject(&subject);
        let code = outcome.as_ref().err().map(|error| error.code.clone());
        if let Err(error) = outcome {
            let says = format!("{}; it was ended and the next call starts another", error.message);
            seen.finding(&subject, "serving/worker", says);
        }
        raw.push(json!({ "of": subject, "error": code }));
    }
    raw
}
