//! No guarded route answers without a decision: every route of this server, without a token and with forged ones (CH-33,
//! T4).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use creta_compliance::Observation;
use serde_json::{Value, json};

use super::{Check, Seen, World};
use crate::context::PlaceOf;
use crate::people::web::{COOKIE, VIEWS};
use crate::routes::{Access, ROUTES, Route};

pub(super) struct RoutePermits;

impl Check for RoutePermits {
    fn id(&self) -> &'static str {
        "route-permits"
    }

    /// A route that answers everybody, looked at as if it were guarded.
    fn notices_planted_fault(&self, world: &World<'_>) -> Result<bool, String> {
        let open = ROUTES.iter().find(|route| route.path == "/health").ok_or("there is no open route to look at")?;
        let mut seen = Seen::default();
        look(world, open, false, &forgeries(world), &mut seen)?;
        Ok(seen.0.findings.iter().any(|finding| finding.code == "permits/answered"))
    }

    fn observe(&self, world: &World<'_>) -> Result<Observation, String> {
        let (mut seen, forged) = (Seen::default(), forgeries(world));
        let mut raw = Vec::new();
        for route in ROUTES {
            if let Access::Guarded { place, .. } = &route.access {
                raw.push(look(world, route, *place == PlaceOf::Environment, &forged, &mut seen)?);
            }
        }
        Ok(seen.raw(json!({ "routes": raw })))
    }
}

/// Tokens that nobody issued: nonsense, unsigned, and signed with a secret that everybody knows.
fn forgeries(world: &World<'_>) -> Vec<(&'static str, String)> {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let environment = world.app.control.environment();
    let now = world.app.control.platform().clock.now().micros() / 1_000_000;
    let claims = encode(&json!({
        "iss": "creta", "aud": environment, "sub": "admin@control-plane", "environment": environment,
        "iat": now, "exp": now + 600, "jti": "forged", "epoch": 0,
    }));
    let unsigned = format!("{}.{claims}.", encode(&json!({"alg": "none", "typ": "JWT"})));
    let head = format!("{}.{claims}", encode(&json!({"alg": "HS256", "typ": "JWT"})));
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, b"secret");
    let signature = URL_SAFE_NO_PAD.encode(aws_lc_rs::hmac::sign(&key, head.as_bytes()));
    vec![("nonsense", "a.b.c".to_owned()), ("unsigned", unsigned), ("constant secret", format!("{head}.{signature}"))]
}

fn look(
    world: &World<'_>,
    route: &Route,
    for_administrators: bool,
    forged: &[(&'static str, String)],
    seen: &mut Seen,
) -> Result<Value, String> {
    let name = format!("{} {}", route.method, route.path);
    let path = route.path.replace("{id}", "nobody").replace("{level}", "0").replace("{*index}", "000");
    let path = path.replace("{*path}", "nothing").replace("{index}", "0");
    let subject = format!("route:{name}");
    seen.subject(&subject);
    let method = route.method.as_str();
    let mut statuses = Vec::new();
    let none = world.client.send(method, &path, &[], None)?;
    statuses.push(("no token", none.status, 401));
    for (how, token) in forged {
        let bearer = format!("Bearer {token}");
        let reply = world.client.send(method, &path, &[("authorization", &bearer)], None)?;
        statuses.push((how, reply.status, 401));
    }
    // Pages take no tokens at all, and no cookie that somebody made up.
    let page = route.path.starts_with(VIEWS);
    if page {
        let cookie = format!("{COOKIE}={}.{}", "0".repeat(32), "0".repeat(64));
        let reply = world.client.send(method, &path, &[("cookie", &cookie)], None)?;
        statuses.push(("a cookie that nobody issued", reply.status, if method == "GET" { 401 } else { 403 }));
    }
    if for_administrators {
        let bearer = format!("Bearer {}", world.probes.0[0].token);
        let reply = world.client.send(method, &path, &[("authorization", &bearer)], None)?;
        statuses.push(("a tenant's developer", reply.status, if page { 401 } else { 403 }));
    }
    for (how, status, expected) in &statuses {
        if status != expected {
            seen.finding(&subject, "permits/answered", format!("`{name}` answered {status} to {how}"));
        }
    }
    let raw: Vec<Value> = statuses.iter().map(|(how, status, _)| json!([how, status])).collect();
    Ok(json!({"route": name, "answers": raw}))
}
