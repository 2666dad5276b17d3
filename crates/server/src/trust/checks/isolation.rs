//! Tenants stay apart: asked from outside, with every trick a request offers (CH-20, CH-03, T3).

use creta_compliance::Observation;
use serde_json::{Value, json};

use super::{Check, Seen, World};
use crate::trust::client::Reply;
use crate::trust::probes::{Probe, question};

/// Attempts that name the other tenant's entity themselves.
const NAMED: [&str; 3] = ["foreign entity", "foreign entity explained", "forwarded host"];

pub(super) struct Isolation;

impl Check for Isolation {
    fn id(&self) -> &'static str {
        "isolation"
    }

    /// Asks with the other tenant's own token, as a server would that mixed the two up.
    fn notices_planted_fault(&self, world: &World<'_>) -> Result<bool, String> {
        let (asker, other) = world.probes.pairs()[0];
        let mut seen = Seen::default();
        attempts(world, &other.token, asker, other, &mut seen)?;
        Ok(seen.0.findings.iter().any(|finding| finding.code == "isolation/leak"))
    }

    fn observe(&self, world: &World<'_>) -> Result<Observation, String> {
        let mut seen = Seen::default();
        let mut raw = Vec::new();
        for (asker, other) in world.probes.pairs() {
            raw.extend(attempts(world, &asker.token, asker, other, &mut seen)?);
        }
        Ok(seen.raw(json!({ "attempts": raw })))
    }
}

/// Everything that `asker` can try, with `token`, to see what is `other`'s.
fn attempts(
    world: &World<'_>,
    token: &str,
    asker: &Probe,
    other: &Probe,
    seen: &mut Seen,
) -> Result<Vec<Value>, String> {
    let client = world.client;
    let bearer = format!("Bearer {token}");
    let tenant = other.tenant.as_str();
    let named = |body: Value| {
        let mut body = body;
        body["tenant"] = json!(tenant);
        body
    };
    let with = |header: &str, value: &str, body: &Value| {
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json"), (header, value)];
        client.send("POST", "/v1/query", &headers, Some(&body.to_string()))
    };
    let foreign = question(other.own_entity);
    let same_names = question("Probe");
    let answers: Vec<(&str, Reply)> = vec![
        ("own value", client.post("/v1/query", token, &same_names)?),
        ("foreign entity", client.post("/v1/query", token, &foreign)?),
        ("foreign entity explained", client.post("/v1/explain", token, &foreign)?),
        ("tenant in the body", client.post("/v1/query", token, &named(same_names.clone()))?),
        ("tenant in the query string", client.post(&format!("/v1/query?tenant={tenant}"), token, &same_names)?),
        ("tenant in a header", with("x-creta-tenant", tenant, &same_names)?),
        ("tenant in another header", with("x-tenant-id", tenant, &same_names)?),
        ("forwarded host", with("x-forwarded-host", tenant, &foreign)?),
        ("second token", with("authorization", &format!("Bearer {}", other.token), &same_names)?),
        ("catalogue", client.get("/v1/catalogue", Some(token))?),
        ("log", client.get("/v1/audit/entries?limit=1000", Some(token))?),
        ("accounts", client.get(&format!("/v1/service-accounts?tenant={tenant}"), Some(token))?),
    ];
    let subject = if asker.own_entity < other.own_entity { "probe:a-asks-b" } else { "probe:b-asks-a" };
    seen.subject(subject);
    let mut raw = Vec::new();
    for (how, reply) in &answers {
        // What was asked for by name may be named in the answer; what was not may not.
        let unasked = !NAMED.contains(how) && reply.body.contains(other.own_entity);
        if reply.body.contains(&other.canary) || unasked {
            seen.finding(subject, "isolation/leak", format!("one tenant saw what is another's ({how})"));
        }
        raw.push(json!({"from": subject, "how": how, "status": reply.status, "code": reply.code()}));
    }
    let status_of = |wanted: &str| answers.iter().find(|(how, _)| *how == wanted).map_or(0, |(_, reply)| reply.status);
    if !answers[0].1.body.contains(&asker.canary) {
        seen.finding(subject, "isolation/own", "a tenant did not get its own value, so nothing is proven");
    }
    for how in ["foreign entity", "foreign entity explained"] {
        if status_of(how) != 404 {
            seen.finding(subject, "isolation/not-404", format!("what is another's was not answered as absent ({how})"));
        }
    }
    if status_of("accounts") != 403 {
        seen.finding(subject, "isolation/accounts", "the accounts of another tenant were not refused");
    }
    Ok(raw)
}
