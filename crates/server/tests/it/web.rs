//! Pages: sessions of browsers, bound to keys; what is shown, what is done, and attacks on both.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use creta_iam::{Action, Policies, Principal, PrincipalId, Resource, Role, Standing, decide};
use creta_identity::dpop::Prover;
use creta_model::{EnvironmentClass, Scope, Span};
use serde_json::{Value, json};

use crate::browser::{Browser, Shown, arrive, attribute, log, refused, send};
use crate::people::{
    answer_prompt, assign, authenticator, browse_for_pages, header, now, origin, prover, random, server, server_by,
    sign_in, sign_in_with,
};
use crate::provider::Provider;
use crate::support::{INGEST, JSON};

#[test]
fn access_is_asked_for_approved_begun_and_given_back_on_pages() {
    let provider = Provider::start();
    let server = server(&provider, EnvironmentClass::Development);
    server.shop("acme");
    let [ana, ben] = ["ana", "ben"].map(|who| Browser::open(&server, &provider, who));
    assign(&server, "ana", &json!({"roles": [], "tenant": "acme"}));
    assign(&server, "ben", &json!({"roles": ["security-lead"]}));
    let page = ana.get(&server, "/view").ok_page();
    for text in [
        "ana@example.com",
        "tenant acme",
        "You have no request under way",
        "href=\"/my/ask?role=developer&amp;tenant=acme\"",
        "browser (this one)",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }

    // Empty talk is refused with the words that the terminal shows, and nothing is asked.
    let talk = [("role", "developer"), ("reason", "please"), ("ticket", "OPS-1"), ("hours", "1")];
    let refusal = ana.post(&server, "/view/ask", &talk);
    assert_eq!(refused(&refusal, 403), "access/reason");
    assert!(
        refusal.text().contains("A reason has at least 20 characters besides the ticket, not 6"),
        "{}",
        refusal.text()
    );
    assert!(ana.get(&server, "/view/requests").ok_page().contains("You asked for nothing yet"));

    let id = ana.ask(&server, "developer");
    let path = |what: &str| format!("/view/requests/{id}{what}");
    assert!(
        !ana.get(&server, &path("")).ok_page().contains("value=\"approve\""),
        "nobody is shown how to approve their own"
    );
    assert!(ben.get(&server, "/view").ok_page().contains("1 request waits for you"));
    let shown = ben.get(&server, &path("")).ok_page();
    assert!(
        shown.contains("Look into why last night&#39;s") || shown.contains("Look into why last night's"),
        "{shown}"
    );
    let digest = shown
        .split("name=\"digest\" value=\"")
        .nth(1)
        .expect("a digest")
        .split('"')
        .next()
        .expect("its end")
        .to_owned();

    // The rules of the API hold here, as its code is what runs.
    let approve = [("digest", digest.as_str()), ("verdict", "approve")];
    assert_eq!(refused(&ana.post(&server, &path("/decide"), &approve), 403), "access/denied");
    assert_eq!(
        refused(&ben.post(&server, &path("/decide"), &[("digest", "AAAA"), ("verdict", "approve")]), 409),
        "conflict/changed"
    );
    let decided = ben.post(&server, &path("/decide"), &approve);
    assert!(decided.ok_page().contains("The request is approved."), "{}", decided.text());
    assert_eq!(header(&decided, "content-location"), format!("/my/requests/{id}"));

    let begun = ana.post(&server, &path("/activate"), &[]).ok_page();
    assert!(begun.contains("2 h left") && begun.contains("Give it back"), "{begun}");
    // What was granted on a page holds everywhere.
    let terminal = sign_in(&server, &provider, "ana");
    terminal.get(&server, "/v1/catalogue").ok();
    let back = begun.split("/view/grants/").nth(1).expect("a form").split('"').next().expect("its end").to_owned();
    let returned = ana.post(&server, &format!("/view/grants/{back}"), &[]).ok_page();
    assert!(returned.contains("You are no longer developer"), "{returned}");
    assert_eq!(terminal.get(&server, "/v1/catalogue").problem(403), "access/denied");

    let (by_page, mark) = (log(&server), "access.grant.ended");
    let entries = |text: &str| -> Vec<String> {
        let log: Value = serde_json::from_str(text).expect("JSON");
        let entries = log["entries"].as_array().expect("a list");
        let actions = entries.iter().map(|entry| entry["entry"]["action"].as_str().expect("an action").to_owned());
        actions.filter(|action| action.starts_with("access.") && !action.ends_with("read")).collect()
    };
    let wanted = ["access.request", "access.request.opened", "access.approve"];
    for action in wanted {
        assert!(entries(&by_page).iter().any(|entry| entry == action), "{action} and {mark}: {by_page}");
    }
}

#[test]
fn attack_ch17_a_cookie_that_was_copied_elsewhere_shows_nothing_and_changes_nothing() {
    let provider = Provider::start();
    let server = server(&provider, EnvironmentClass::Development);
    let (ana, eve) = (Browser::open(&server, &provider, "ana"), Browser::open(&server, &provider, "eve"));
    for (method, path) in [("GET", "/view"), ("GET", "/view/watch"), ("POST", "/view/ask")] {
        let right = |what: &dyn Fn(&mut Shown)| {
            let mut shown = ana.shown(&server, method, path);
            what(&mut shown);
            send(&server, method, path, &shown, (method == "POST").then_some("role=viewer"))
        };
        let name = format!("{method} {path}");
        // The cookie alone; with a thief's own key; with the thief's own session's proof.
        assert_eq!(refused(&right(&|shown| shown.proof = None), 401), "auth/no-proof", "{name}");
        let thief = Browser {
            prover: prover(),
            cookie: ana.cookie.clone(),
            word: ana.word.clone(),
            session: ana.session.clone(),
        };
        assert_eq!(
            refused(&right(&|shown| shown.proof = Some(thief.prove(&server, method, path))), 401),
            "auth/session-over",
            "{name}"
        );
        assert_eq!(
            refused(&right(&|shown| shown.proof = Some(eve.prove(&server, method, path))), 401),
            "auth/bad-proof",
            "{name}"
        );
        // A proof that was seen on its way: once more, for something else, for another cookie.
        if path == "/view/watch" {
            continue; // Answered, it goes on.
        }
        let used = ana.prove(&server, method, path);
        let first = right(&|shown| shown.proof = Some(used.clone()));
        assert_ne!(first.status, 401, "{name}: {}", first.text());
        assert_eq!(refused(&right(&|shown| shown.proof = Some(used.clone())), 401), "auth/bad-proof", "{name}");
        let elsewhere = ana.prove(&server, method, "/view/requests");
        assert_eq!(refused(&right(&|shown| shown.proof = Some(elsewhere.clone())), 401), "auth/bad-proof", "{name}");
        // The key without the cookie, with another's, with a changed one, with two.
        assert_eq!(refused(&right(&|shown| shown.cookie = None), 401), "auth/no-session", "{name}");
        assert_eq!(refused(&right(&|shown| shown.cookie = Some(eve.cookie.clone())), 401), "auth/bad-proof", "{name}");
        let twice = format!("{}; {}", eve.cookie, ana.cookie);
        assert_eq!(refused(&right(&|shown| shown.cookie = Some(twice.clone())), 401), "auth/no-session", "{name}");
    }
    // With its own key, another secret of the same session opens nothing.
    let forged = Browser {
        prover: Prover::new(creta_identity::key::SigningKey::from_random(creta_identity::key::KeyKind::P256, &[9; 32])),
        cookie: format!("__Host-creta-session={}.{}", ana.session, "0".repeat(64)),
        word: ana.word.clone(),
        session: ana.session.clone(),
    };
    assert_eq!(refused(&forged.get(&server, "/view"), 401), "auth/session-over");

    // A cookie is no token: the API does not take it, and it renews to none.
    let proof = |path: &str, method: &str, token: Option<&str>| {
        ana.prover.prove(method, &format!("{}{path}", server.running().url()), token, None, random(), now())
    };
    let as_token = format!("DPoP {}", ana.value());
    let given = proof("/v1/me", "GET", Some(ana.value()));
    let headers = [("authorization", as_token.as_str()), ("dpop", given.as_str()), ("cookie", ana.cookie.as_str())];
    assert_eq!(server.send_with("GET", "/v1/me", None, &headers, None).problem(401), "auth/bad-token");
    assert_eq!(server.send_with("GET", "/v1/me", None, &headers[1..], None).problem(401), "auth/no-token");
    let body = json!({"session": ana.session, "renewal": ana.value().split('.').nth(1)}).to_string();
    let given = proof("/v1/sessions/renew", "POST", None);
    let headers = [("dpop", given.as_str()), ("content-type", JSON)];
    let renewed = server.send_with("POST", "/v1/sessions/renew", None, &headers, Some(body.as_bytes()));
    assert_eq!(renewed.problem(401), "auth/session-over");
    // Nor is a token a cookie.
    let terminal = sign_in(&server, &provider, "ana");
    let text = |name: &str| terminal.opened[name].as_str().expect("text").to_owned();
    let cookie = format!("__Host-creta-session={}.{}", text("session"), text("renewal"));
    let posing = Browser { prover: terminal.prover, cookie, word: String::new(), session: text("session") };
    assert_eq!(refused(&posing.get(&server, "/view"), 401), "auth/session-over");

    ana.get(&server, "/view").ok_page();
    let log = log(&server);
    assert!(log.contains("proof.refused") && !log.contains(ana.value()), "{log}");
}

#[test]
fn attack_ci21_a_code_that_reaches_another_browser_opens_nothing() {
    let provider = Provider::start();
    let server = server(&provider, EnvironmentClass::Development);
    let key = prover();
    let verifier = URL_SAFE_NO_PAD.encode(random::<32>());
    let code = || {
        let back = browse_for_pages(&server, &provider, "ana", (key.thumbprint().as_str(), &verifier), None);
        let location = header(&back, "location");
        location.split("code=").nth(1).expect("a code").split('&').next().expect("its end").to_owned()
    };
    let elsewhere = prover();
    assert_eq!(arrive(&server, &elsewhere, &code(), &verifier).problem(401), "auth/sign-in-over", "another key");
    assert_eq!(arrive(&server, &key, &code(), "another").problem(401), "auth/sign-in-over", "another verifier");
    let good = code();
    assert_eq!(arrive(&server, &key, &good, &verifier).status, 200);
    assert_eq!(arrive(&server, &key, &good, &verifier).problem(401), "auth/sign-in-over", "twice");
    // A page of another site cannot finish a sign-in of its own here.
    let url = format!("{}/sign-in/browser", server.running().url());
    let proof = key.prove("POST", &url, None, None, random(), now());
    let headers = [("dpop", proof.as_str()), ("content-type", JSON), ("origin", "https://evil.example")];
    let body = json!({"code": code(), "code_verifier": verifier}).to_string();
    let reply = server.send_with("POST", "/sign-in/browser", None, &headers, Some(body.as_bytes()));
    assert_eq!(reply.problem(403), "access/foreign-page");
    for bad in ["state=s", "state=s&code_challenge=x&code_challenge_method=plain&dpop_jkt=x"] {
        assert!(
            (400..500).contains(&server.browse_at(&origin(&server), &format!("/sign-in/browser?{bad}"), None).status)
        );
    }
}

#[test]
fn attack_ch33_another_sites_page_changes_nothing_whatever_it_brings() {
    let provider = Provider::start();
    let server = server(&provider, EnvironmentClass::Development);
    let (ana, eve) = (Browser::open(&server, &provider, "ana"), Browser::open(&server, &provider, "eve"));
    let document: Value = serde_json::from_str(&creta_server::openapi_document()).expect("JSON");
    let paths = document["paths"].as_object().expect("paths").iter().filter(|(path, _)| path.starts_with("/view"));
    let (mut changes, mut views) = (0, 0);
    for (path, methods) in paths {
        let path = path.replace("{id}", "3bc6a1134dbd392b450e3e809f0fb146");
        for method in methods.as_object().expect("methods").keys().map(|method| method.to_uppercase()) {
            let name = format!("{method} {path}");
            let with = |what: &dyn Fn(&mut Shown)| {
                let mut shown = ana.shown(&server, &method, &path);
                what(&mut shown);
                send(&server, &method, &path, &shown, (method == "POST").then_some("a=b"))
            };
            for site in ["cross-site", "same-site", "none", "Same-Origin"] {
                assert_eq!(
                    refused(&with(&|shown| shown.site = Some(site)), 403),
                    "access/foreign-page",
                    "{name} {site}"
                );
            }
            for origin in
                ["https://evil.example", "null", "https://localhost", &server.running().url().replace("https", "http")]
            {
                let reply = with(&|shown| shown.origin = Some(origin.to_owned()));
                assert_eq!(refused(&reply, 403), "access/foreign-page", "{name} {origin}");
            }
            if method == "GET" {
                views += 1;
                continue;
            }
            changes += 1;
            for word in [None, Some(String::new()), Some("0".repeat(64)), Some(eve.word.clone())] {
                assert_eq!(refused(&with(&|shown| shown.word = word.clone()), 403), "access/foreign-page", "{name}");
            }
            assert_eq!(refused(&with(&|shown| shown.origin = None), 403), "access/foreign-page", "{name}");
            // Old browsers do not say which site; the rest is enough.
            let reply = with(&|shown| shown.site = None);
            assert!(!reply.text().contains("access/foreign-page"), "{name}: {}", reply.text());
        }
    }
    assert!(changes >= 9 && views >= 9, "{changes} changes, {views} views");
    assert!(log(&server).contains("page.refused"));
}

#[test]
fn pages_hold_nothing_and_let_nothing_in() {
    let provider = Provider::start();
    let server = server(&provider, EnvironmentClass::Development);
    let ana = Browser::open(&server, &provider, "ana");
    let by_number = server.browse("/my/ask?role=viewer", None);
    assert_eq!(
        (by_number.status, header(&by_number, "location")),
        (303, format!("{}/my/ask?role=viewer", origin(&server)))
    );
    let without = |page: &str| {
        let (start, rest) = page.split_once("data-now=\"").expect("the clock");
        format!("{start}{}", rest.split_once('"').expect("its end").1)
    };
    let first = server.browse_at(&origin(&server), "/my", None);
    for path in [
        "/my",
        "/my/ask",
        "/my/requests",
        "/my/requests/x",
        "/my/reviews",
        "/my/policies/x",
        "/my/accesses",
        "/my/computer",
        "/my/signed-in",
    ] {
        let page = server.browse_at(&origin(&server), path, Some(&ana.cookie));
        assert_eq!(without(&page.ok_page()), without(&first.text()), "{path} is the same for everybody");
    }
    let view = ana.get(&server, "/view");
    for page in [&first, &view] {
        let policy = header(page, "content-security-policy");
        for rule in [
            "default-src 'none'",
            "script-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        ] {
            assert!(policy.contains(rule), "{policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
        for (name, value) in [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(header(page, name), value);
        }
        let text = page.text();
        assert!(
            !text.contains("style=") && !text.contains("<style") && !text.contains(" on") || !text.contains("onclick"),
            "{text}"
        );
        assert!(!text.contains("http://") && !text.contains("https://"), "nothing of anybody else: {text}");
    }
    let script = server.browse_at(&origin(&server), "/my/script.js", None).text();
    for unsafe_way in
        ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "localStorage", "sessionStorage"]
    {
        assert!(!script.contains(unsafe_way), "{unsafe_way}");
    }
}

#[test]
fn attack_ch35_each_page_is_for_whom_the_policies_say_and_its_refusal_says_what_to_ask_for() {
    let provider = Provider::start();
    let server = server(&provider, EnvironmentClass::Development);
    server.shop("acme");
    let people: [(&str, &[Role], Option<&str>); 4] = [
        ("ana", &[], Some("acme")),
        ("ben", &[Role::SecurityLead], None),
        ("eve", &[], None),
        ("zoe", &[Role::Developer], Some("acme")),
    ];
    let document: Value = serde_json::from_str(&creta_server::openapi_document()).expect("JSON");
    let policies = Policies::load().expect("valid").in_class(EnvironmentClass::Development);
    let (mut shown, mut hidden) = (0, 0);
    for (who, roles, tenant) in people {
        let browser = Browser::open(&server, &provider, who);
        assign(&server, who, &json!({"roles": roles, "tenant": tenant}));
        let scope = Scope::parse("acme", "prod").expect("valid");
        let (home, own) = match tenant {
            Some(_) => (creta_iam::Place::Scope(scope.clone()), Resource::scope(scope.clone())),
            None => (
                creta_iam::Place::Environment(scope.environment.clone()),
                Resource::environment(scope.environment.clone()),
            ),
        };
        let standing =
            Standing { roles: roles.iter().copied().collect(), ..Standing::none(EnvironmentClass::Development) };
        let id = PrincipalId::parse(&format!("{who}@example.com")).expect("valid");
        let principal = Principal::Person(creta_iam::Person::new(id, home, standing));
        for (path, methods) in document["paths"].as_object().expect("paths") {
            let Some(action) = methods["get"]["x-creta-action"].as_str() else { continue };
            if !path.starts_with("/view") || path.contains('{') || path == "/view/watch" {
                continue;
            }
            let action = Action::parse(action).expect("an action");
            let place = match methods["get"]["x-creta-place"].as_str() {
                Some("environment") => Resource::environment(scope.environment.clone()),
                _ => own.clone(),
            };
            let reply = browser.get(&server, path);
            if decide(&policies, &principal, action, &place).is_allowed() {
                shown += 1;
                assert_eq!(reply.status, 200, "{who} {path}: {}", reply.text());
            } else {
                hidden += 1;
                assert_eq!(refused(&reply, 403), "access/denied", "{who} {path}");
                let asks = reply.text().contains("href=\"/my/ask?role=");
                assert!(asks || tenant.is_some(), "{who} {path} says what to ask for: {}", reply.text());
            }
        }
    }
    assert!(shown >= 16 && hidden >= 6, "{shown} shown, {hidden} hidden");
    // The form comes filled in, and nothing that an address says is markup.
    let eve = Browser::open(&server, &provider, "eve");
    let form = eve
        .get(&server, "/view/ask?role=auditor&place=environment&hours=3&reason=%3Cscript%3E&ticket=%22onload")
        .ok_page();
    assert!(form.contains("<option value=\"auditor\" selected") && form.contains("value=\"3\""), "{form}");
    assert!(form.contains("&lt;script&gt;") && !form.contains("<script") && form.contains("&quot;onload"), "{form}");
}

#[test]
fn a_tenant_sees_who_saw_its_data_staff_included() {
    let provider = Provider::start();
    let server = server(&provider, EnvironmentClass::Development);
    let etl = server.shop("acme");
    server.shop("other");
    server.account("other", "of-another", "reader");
    server.post_arrow(INGEST, &etl.token, &crate::support::facts()).ok();
    let ana = Browser::open(&server, &provider, "ana");
    assign(&server, "ana", &json!({"roles": ["developer"], "tenant": "acme"}));
    let ask = json!({"inputs": {"User.id": [7]}, "outputs": ["User.city"]});
    server.post("/v1/query", &etl.token, &ask).ok();
    server.account("acme", "made-by-staff", "reader");
    let page = ana.get(&server, "/view/accesses").ok_page();
    for text in [">etl</td>", "User.city", "ingest", "staff", "service-account.create"] {
        assert!(page.contains(text), "{text}: {page}");
    }
    assert!(!page.contains("of-another") && !page.contains("Turin"), "{page}");
    let older = ana.get(&server, "/view/accesses?before=1").ok_page();
    assert!(older.contains("Newest") && !older.contains(">etl</td>"), "{older}");
}

/// Where something has to be signed first, and the prompt in it.
fn prompt_in(address: &str) -> String {
    address.split("prompt=").nth(1).expect("a prompt").to_owned()
}

#[test]
fn attack_ci22_what_staff_decide_on_pages_is_signed_and_done_only_then() {
    let provider = Provider::start();
    let server = server(&provider, EnvironmentClass::Staging);
    let (mut bens, mut anas) = (authenticator(&server, 1), authenticator(&server, 2));
    let ben = Browser::open_with(&server, &provider, "ben", Some(&mut bens));
    let ana = Browser::open_with(&server, &provider, "ana", Some(&mut anas));
    assign(&server, "ben", &json!({"roles": ["security-lead"]}));
    let id = ana.ask(&server, "operator");
    let path = format!("/view/requests/{id}");
    let shown = ben.get(&server, &path).ok_page();
    let digest = shown
        .split("name=\"digest\" value=\"")
        .nth(1)
        .expect("a digest")
        .split('"')
        .next()
        .expect("its end")
        .to_owned();
    let approve = || {
        let asked = ben.post(&server, &format!("{path}/decide"), &[("digest", &digest), ("verdict", "approve")]);
        prompt_in(&attribute(&asked.ok_page(), "go"))
    };
    let state = || {
        let page = ana.get(&server, &path).ok_page();
        page.split("class=\"state ").nth(1).expect("a state").split('"').next().expect("its end").to_owned()
    };
    let prompt = approve();
    assert_eq!(state(), "open", "nothing is decided before it is signed");
    assert_eq!(answer_prompt(&server, &mut anas, &prompt, None).problem(403), "access/authenticator");
    bens.verifies = false;
    assert_eq!(answer_prompt(&server, &mut bens, &approve(), None).problem(403), "access/authenticator");
    bens.verifies = true;
    assert_eq!(state(), "open");
    let said = answer_prompt(&server, &mut bens, &approve(), None).ok();
    assert_eq!(
        (said["location"].as_str(), state().as_str()),
        (Some(format!("/my/requests/{id}").as_str()), "approved")
    );

    // Signed when the session that asked was over, it is not done.
    let id = ana.ask_because(&server, "auditor", "Read which policies held when the quarterly report was written");
    let path = format!("/view/requests/{id}");
    let shown = ben.get(&server, &path).ok_page();
    let digest = shown
        .split("name=\"digest\" value=\"")
        .nth(1)
        .expect("a digest")
        .split('"')
        .next()
        .expect("its end")
        .to_owned();
    let asked = ben.post(&server, &format!("{path}/decide"), &[("digest", &digest), ("verdict", "approve")]);
    let prompt = prompt_in(&attribute(&asked.ok_page(), "go"));
    let out = ben.post(&server, &format!("/view/sessions/{}/end", ben.session), &[]);
    assert!(out.ok_page().contains("Signed out") && header(&out, "set-cookie").contains("Max-Age=0"));
    assert_eq!(answer_prompt(&server, &mut bens, &prompt, None).problem(401), "auth/session-over");
    assert!(ana.get(&server, &path).ok_page().contains("class=\"state open\""));
    assert!(log(&server).contains(r#""signed":"authenticator""#));
}

const AUDITORS_RUN_CHECKS: &str = r#"
@id("auditors-run-checks")
permit (
  principal is Creta::Person in Creta::Role::"auditor",
  action == Creta::Action::"trust.run",
  resource is Creta::Environment
)
when { principal.environment == resource.environment };"#;

#[test]
fn attack_ci22_wider_policies_are_signed_by_whoever_approves_them() {
    let provider = Provider::start();
    let server = server(&provider, EnvironmentClass::Staging);
    let (mut bens, mut anas) = (authenticator(&server, 1), authenticator(&server, 2));
    let ben = sign_in_with(&server, &provider, "ben", Some(&mut bens));
    let ana = sign_in_with(&server, &provider, "ana", Some(&mut anas));
    assign(&server, "ben", &json!({"roles": ["security-lead"]}));
    assign(&server, "ana", &json!({"roles": ["administrator"]})); // From here on the local administrator is nobody.
    let proposed = ana.post(&server, "/v1/access/policies", &json!({"text": AUDITORS_RUN_CHECKS})).ok();
    let path = format!("/v1/access/policies/{}", proposed["policy"].as_str().expect("an id"));
    let approve = |digest: &Value| ben.post(&server, &format!("{path}/approve"), &json!({"digest": digest})).ok();
    let in_force = || ben.get(&server, &path).ok()["in_force"] == true;
    let prompt = prompt_in(approve(&proposed["digest"])["verify"].as_str().expect("where to sign"));
    assert!(!in_force(), "nothing is in force before it is signed");
    let page = server.browse_at(&origin(&server), &format!("/sign-in/verify?prompt={prompt}"), None).text();
    assert!(
        page.contains("auditors-run-checks") && page.contains("Newly allowed"),
        "who signs reads all of it: {page}"
    );
    assert_eq!(answer_prompt(&server, &mut anas, &prompt, None).problem(403), "access/authenticator");
    assert!(!in_force());
    // Signed for another text than the one that is there.
    let prompt = prompt_in(approve(&json!("sha256:00"))["verify"].as_str().expect("where to sign"));
    assert_eq!(answer_prompt(&server, &mut bens, &prompt, None).problem(409), "conflict/changed");
    assert!(!in_force());
    // On a page, in the end.
    let browser = Browser::open_with(&server, &provider, "ben", Some(&mut bens));
    let view = path.replace("/v1/access/policies", "/view/policies");
    let shown = browser.get(&server, &view).ok_page();
    let digest = shown
        .split("name=\"digest\" value=\"")
        .nth(1)
        .expect("a digest")
        .split('"')
        .next()
        .expect("its end")
        .to_owned();
    let asked = browser.post(&server, &format!("{view}/approve"), &[("digest", &digest)]);
    let said = answer_prompt(&server, &mut bens, &prompt_in(&attribute(&asked.ok_page(), "go")), None).ok();
    assert_eq!(said["location"].as_str(), Some(view.replace("/view/", "/my/").as_str()));
    assert!(in_force() && browser.get(&server, &view).ok_page().contains("In force"));
}

#[test]
fn attack_ci22_decisions_in_reviews_are_signed_line_by_line() {
    let provider = Provider::start();
    let (server, clock) = server_by(&provider, EnvironmentClass::Staging, "");
    let (mut bens, mut anas) = (authenticator(&server, 1), authenticator(&server, 2));
    sign_in_with(&server, &provider, "ben", Some(&mut bens));
    sign_in_with(&server, &provider, "ana", Some(&mut anas));
    assign(&server, "ana", &json!({"roles": ["operator"]}));
    assign(&server, "ben", &json!({"roles": ["security-lead"]}));
    clock.advance(Span::days(93));
    server.running().keep_log().expect("kept");
    let ben = sign_in_with(&server, &provider, "ben", Some(&mut bens));
    let review = ben.get(&server, "/v1/reviews").ok()["reviews"][0]["review"].as_str().expect("an id").to_owned();
    let path = format!("/v1/reviews/{review}");
    let line = || {
        let shown = ben.get(&server, &path).ok();
        let lines = shown["lines"].as_array().expect("a list").clone();
        lines.into_iter().find(|line| line["identity"]["subject"] == "person:ana@example.com").expect("hers")
    };
    let why = "Still looks after the tenants of this team every week";
    let body =
        json!({"subject": "person:ana@example.com", "digest": line()["digest"], "verdict": "keep", "reason": why});
    let asked = ben.post(&server, &format!("{path}/decide"), &body).ok();
    let prompt = prompt_in(asked["verify"].as_str().expect("where to sign"));
    assert!(line()["decision"].is_null(), "nothing is decided before it is signed");
    let page = server.browse_at(&origin(&server), &format!("/sign-in/verify?prompt={prompt}"), None).text();
    assert!(page.contains("person:ana@example.com keeps") && page.contains(why), "{page}");
    assert_eq!(answer_prompt(&server, &mut anas, &prompt, None).problem(403), "access/authenticator");
    assert!(line()["decision"].is_null());
    let asked = ben.post(&server, &format!("{path}/decide"), &body).ok();
    answer_prompt(&server, &mut bens, &prompt_in(asked["verify"].as_str().expect("where to sign")), None).ok();
    assert_eq!(line()["decision"]["verdict"], "keep");
    // What is kept can still be taken away; on a page this time.
    clock.advance(Span::seconds(10));
    let browser = Browser::open_with(&server, &provider, "ben", Some(&mut bens));
    let page = browser.get(&server, &path.replace("/v1/", "/view/")).ok_page();
    assert!(page.contains("Kept by ben@example.com") && page.contains("Not yours to decide"), "{page}");
    let digest = line()["digest"].as_str().expect("a digest").to_owned();
    let fields = [
        ("subject", "person:ana@example.com"),
        ("digest", &digest),
        ("verdict", "revoke"),
        ("reason", "Moved to another team and looks after nothing here"),
    ];
    let asked = browser.post(&server, &format!("{}/decide", path.replace("/v1/", "/view/")), &fields);
    answer_prompt(&server, &mut bens, &prompt_in(&attribute(&asked.ok_page(), "go")), None).ok();
    assert_eq!(line()["decision"]["verdict"], "revoke");
}
