//! Every route of the server, as it is described, with no token, a wrong one, and one of each role.

use creta_iam::{Action, Policies, Principal, PrincipalId, Resource, Role, decide};
use creta_model::Scope;
use serde_json::Value;

use crate::support::{ARROW, JSON, Server};

/// What anybody may ask for.
const PUBLIC: [&str; 40] = [
    "/health",
    "/ready",
    "/openapi.json",
    "/v1/token",
    "/trust",
    "/trust/",
    "/trust/{path}",
    "/trust/report",
    "/.well-known/security.txt",
    "/.well-known/security-key.asc",
    "/sign-in",
    "/sign-in/callback",
    "/sign-in/device",
    "/sign-in/style.css",
    "/sign-in/script.js",
    "/sign-in/verify",
    "/sign-in/browser",
    "/my",
    "/my/ask",
    "/my/requests",
    "/my/requests/nobody@acme",
    "/my/accesses",
    "/my/reviews",
    "/my/reviews/nobody@acme",
    "/my/policies",
    "/my/policies/nobody@acme",
    "/my/computer",
    "/my/signed-in",
    "/my/script.js",
    "/my/style.css",
    "/sign-in/local",
    "/sign-in/second-factor",
    "/sign-in/invited",
    "/v1/sign-in/device",
    "/v1/sessions",
    "/v1/sessions/renew",
    "/v1/devices/nobody@acme/nonce",
    "/v1/devices/nobody@acme/report",
    "/v1/break-glass/openings",
    "/v1/break-glass/openings/nobody@acme/join",
];

const SCIM: &str = "application/scim+json";
const FORM: &str = "application/x-www-form-urlencoded";

struct Described {
    method: String,
    path: String,
    action: Option<Action>,
    place: String,
    media: Option<String>,
}

fn routes() -> Vec<Described> {
    let document: Value = serde_json::from_str(&creta_server::openapi_document()).expect("JSON");
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let media = operation["requestBody"]["content"].as_object().map(|content| {
                let media = [SCIM, JSON, ARROW, FORM].into_iter().find(|media| content.contains_key(*media));
                media.expect("a media type that this test knows").to_owned()
            });
            routes.push(Described {
                method: method.to_uppercase(),
                path: path.replace("{id}", "nobody@acme").replace("{level}", "0").replace("{index}", "000"),
                action: operation["x-creta-action"].as_str().map(|action| Action::parse(action).expect("an action")),
                place: operation["x-creta-place"].as_str().unwrap_or_default().to_owned(),
                media,
            });
        }
    }
    assert!(routes.len() >= 27, "the description lists {} routes", routes.len());
    routes
}

fn ask(server: &Server, route: &Described, token: Option<&str>) -> crate::support::Reply {
    let body = route.media.as_deref().map(|media| (media, b"{}".as_slice()));
    server.send(&route.method, &route.path, token, body)
}

/// The code of a refusal, in the form of the path.
fn refused(reply: &crate::support::Reply, path: &str, status: u16) -> String {
    if path.starts_with("/view") {
        return crate::browser::refused(reply, status);
    }
    if !path.starts_with("/scim/") {
        return reply.problem(status);
    }
    assert_eq!((reply.status, reply.content_type.as_str()), (status, SCIM), "{}", reply.text());
    let error = reply.json();
    assert_eq!(error["schemas"], serde_json::json!(["urn:ietf:params:scim:api:messages:2.0:Error"]));
    assert_eq!(error["status"], status.to_string());
    error["detail"].as_str().expect("words").split(": ").next().expect("a code").to_owned()
}

#[test]
fn attack_ch20_no_guarded_route_answers_without_a_valid_token() {
    let server = Server::new();
    let mut guarded = 0;
    for route in routes() {
        if route.action.is_none() {
            assert!(PUBLIC.contains(&route.path.as_str()), "{}", route.path);
            continue;
        }
        guarded += 1;
        let name = format!("{} {}", route.method, route.path);
        // Pages answer to a browser's session and to no token, the right ones included.
        let page = route.path.starts_with("/view");
        let none = if page { "auth/no-session" } else { "auth/no-token" };
        assert_eq!(refused(&ask(&server, &route, None), &route.path, 401), none, "{name}");
        for bad in ["", "x", "a.b.c", "null", "Bearer"] {
            let reply = ask(&server, &route, Some(bad));
            assert!(["auth/bad-token", none].contains(&refused(&reply, &route.path, 401).as_str()), "{name}");
            assert!(reply.headers.contains_key("www-authenticate"));
        }
    }
    assert!(guarded >= 23);
}

#[test]
fn attack_ch35_every_role_reaches_what_the_policies_allow_and_nothing_else() {
    let server = Server::new();
    server.tenant("acme");
    let scope = Scope::parse("acme", "prod").expect("valid");
    let id = |text| PrincipalId::parse(text).expect("valid");
    let who = [
        (Principal::administrator(id("admin"), scope.environment.clone()), server.admin_token()),
        (
            Principal::service_account(id("etl"), scope.clone(), Role::Developer),
            server.account("acme", "etl", "developer").token,
        ),
        (
            Principal::service_account(id("scoring"), scope.clone(), Role::Reader),
            server.account("acme", "scoring", "reader").token,
        ),
    ];
    let policies = Policies::load().expect("valid");
    let (mut allowed, mut denied) = (0, 0);
    for route in routes() {
        let Some(action) = route.action else { continue };
        for (principal, token) in &who {
            if route.path.starts_with("/view") {
                assert_eq!(refused(&ask(&server, &route, Some(token)), &route.path, 401), "auth/no-session");
                continue;
            }
            // What such a route is about stands in the request, and none of these principals is a person.
            if route.place == "named" {
                let reply = ask(&server, &route, Some(token));
                assert!(
                    [400, 403, 404, 422].contains(&reply.status),
                    "{} {}: {}",
                    route.method,
                    route.path,
                    reply.text()
                );
                continue;
            }
            let place = match (route.place.as_str(), principal.scope()) {
                ("environment", _) => Resource::environment(scope.environment.clone()),
                ("own", None) => Resource::environment(scope.environment.clone()),
                ("own" | "named-tenant", Some(own)) => Resource::scope(own.clone()),
                ("named-tenant", None) => Resource::scope(scope.clone()),
                (other, _) => panic!("{other} is no place"),
            };
            let reply = ask(&server, &route, Some(token));
            let name = format!("{principal}: {} {}", route.method, route.path);
            if decide(&policies, principal, action, &place).is_allowed() {
                allowed += 1;
                let for_people = reply.status == 403 && reply.json()["code"] == "access/people-only";
                assert!(for_people || ![401, 403, 500].contains(&reply.status), "{name}: {}", reply.text());
            } else {
                denied += 1;
                assert_eq!(refused(&reply, &route.path, 403), "access/denied", "{name}");
            }
        }
    }
    assert!(allowed > 25 && denied > 25, "{allowed} allowed, {denied} denied");
}

#[test]
fn unknown_paths_and_other_methods_are_problems_too() {
    let server = Server::new();
    for path in ["/", "/v1", "/v1/nothing", "/v2/query", "/v1/query/", "/%2e%2e/etc/passwd", "/v1/service-accounts/x"] {
        assert_eq!(server.send("GET", path, None, None).problem(404), "not-found/path", "{path}");
    }
    let known = routes();
    for route in &known {
        let methods: Vec<&str> = known.iter().filter(|r| r.path == route.path).map(|r| r.method.as_str()).collect();
        for other in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            if !methods.contains(&other) {
                let reply = server.send(other, &route.path, None, None);
                assert_eq!(refused(&reply, &route.path, 405), "request/method", "{other} {}", route.path);
                let allow = reply.headers.get("allow").expect("names methods").to_str().expect("text").to_owned();
                assert!(allow.contains(methods[0]), "{allow}");
            }
        }
    }
}
