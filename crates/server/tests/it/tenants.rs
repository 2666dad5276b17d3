//! Tenants do not meet: not by name, by header, by body, by query string, nor on disk.

use creta_keys::{KeyRing, RootKey};
use creta_model::{Environment, Scope};
use creta_platform::Platform;
use creta_store::{SqliteStore, StoreError};
use serde_json::json;

use crate::support::{INGEST, JSON, Server, bundle, facts};

/// Two tenants with entities, features and keys of the same names; only `acme` has facts.
fn two(server: &Server) -> (String, String) {
    let (acme, globex) = (server.shop("acme"), server.shop("globex"));
    server.post_arrow(INGEST, &acme.token, &facts()).ok();
    (acme.token, globex.token)
}

#[test]
fn attack_ch03_anothers_feature_is_not_found_like_one_that_does_not_exist() {
    let server = Server::new();
    server.shop("acme");
    server.tenant("globex");
    let globex = server.account("globex", "etl", "developer").token;
    // `globex` has a project in which nothing is named like acme's.
    let other = bundle().to_string().replace("User", "Client").replace("city", "town");
    server.send("POST", "/v1/deploy", Some(&globex), Some((JSON, other.as_bytes()))).ok();

    let ask = |output: &str| {
        let entity = output.split('.').next().expect("a path");
        let question = json!({"inputs": {format!("{entity}.id"): [7]}, "outputs": [output]});
        server.post("/v1/query", &globex, &question)
    };
    for (theirs, nobodys) in [("User.city", "Nope.city"), ("Client.city", "Client.nope")] {
        let (theirs_reply, nobodys_reply) = (ask(theirs), ask(nobodys));
        let code = theirs_reply.problem(404);
        assert_eq!(code, nobodys_reply.problem(404));
        let named_alike = nobodys_reply.text().replace(nobodys, theirs);
        let named_alike = named_alike.replace("Nope", "User").replace("nope", "city");
        assert_eq!(theirs_reply.text(), named_alike, "the two answers differ in the name asked for only");
    }
    // Both attempts stand in the log, as refused reads of the scope that asked.
    let admin = server.admin_token();
    let found = || {
        let page = server.get("/v1/audit/entries?limit=1000", &admin).ok();
        let entries = page["entries"].as_array().expect("a list").clone();
        entries.into_iter().any(|line| {
            line["entry"]["tenant"] == "globex"
                && line["entry"]["details"]["refused"]
                    .as_str()
                    .is_some_and(|code| code.contains("unknown") || code.contains("not-found"))
        })
    };
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !found() {
        assert!(std::time::Instant::now() < deadline, "the attempt is not recorded");
    }
}

#[test]
fn attack_ch20_headers_bodies_and_query_strings_do_not_choose_the_tenant() {
    let server = Server::new();
    let (acme, globex) = two(&server);
    let question = json!({"inputs": {"User.id": [7]}, "outputs": ["User.city"]});
    assert_eq!(server.post("/v1/query", &acme, &question).ok()["columns"][0]["values"], json!(["Turin"]));

    let names = [
        "x-tenant",
        "x-creta-tenant",
        "tenant",
        "x-scope",
        "x-tenant-id",
        "creta-scope",
        "x-forwarded-tenant",
        "host-tenant",
        "cookie",
    ];
    for name in names {
        for value in ["acme", "prod/acme", "tenant=acme"] {
            let headers = [("content-type", JSON), (name, value)];
            let reply =
                server.send_with("POST", "/v1/query", Some(&globex), &headers, Some(question.to_string().as_bytes()));
            let answer = reply.ok();
            assert_eq!(answer["columns"][0]["values"], json!([null]), "{name}: {value}");
            assert_eq!(answer["columns"][0]["states"], json!({"0": "missing"}));
        }
    }
    for query in ["?tenant=acme", "?scope=prod/acme", "?tenant_id=acme&environment=prod"] {
        let answer = server.post(&format!("/v1/query{query}"), &globex, &question).ok();
        assert_eq!(answer["columns"][0]["values"], json!([null]), "{query}");
    }
    for member in ["tenant", "scope", "environment", "tenant_id"] {
        let mut body = question.clone();
        body[member] = json!("acme");
        assert_eq!(server.post("/v1/query", &globex, &body).problem(400), "request/malformed", "{member}");
    }
    for parameter in ["tenant=acme", "scope=prod/acme"] {
        let reply = server.post_arrow(&format!("{INGEST}&{parameter}"), &globex, &facts());
        assert_eq!(reply.problem(400), "request/query-string", "{parameter}");
    }
    // What those attempts wrote, nothing, is not seen by acme either.
    assert_eq!(server.get("/v1/status", &globex).ok()["facts"].get("User").cloned().unwrap_or(json!(0)), 0);
    assert_eq!(server.get("/v1/status", &acme).ok()["facts"]["User"], 3);
}

/// What feast-dev/feast#5940 is about: whoever knows the name of another's project names it as their own, and has its data.
#[test]
fn attack_ch20_feast_5940_whoever_names_another_tenants_project_has_nothing_of_it() {
    let server = Server::new();
    let (acme, globex) = two(&server);
    // Everything is called as it is at `acme`, whose name is no secret either: the project, the entity, the program.
    let mut named = bundle();
    named["graph"]["project"] = json!("acme");
    server.post("/v1/deploy", &globex, &named).ok();
    named["graph"]["entities"][0]["features"][2]["doc"] = json!("Where the others' customers live");
    server.post("/v1/deploy", &acme, &named).ok();
    let question = json!({"inputs": {"User.id": [7, 8]}, "outputs": ["User.city"]});
    assert_eq!(server.post("/v1/query", &globex, &question).ok()["columns"][0]["values"], json!([null, null]));
    assert_eq!(server.get("/v1/status", &globex).ok()["facts"].get("User").cloned().unwrap_or(json!(0)), 0);
    for member in ["project", "store", "feature_store"] {
        let mut asked = question.clone();
        asked[member] = json!("acme");
        assert_eq!(server.post("/v1/query", &globex, &asked).problem(400), "request/malformed", "{member}");
    }
    assert_eq!(server.get("/v1/service-accounts?tenant=acme", &globex).problem(403), "access/denied");
    let catalogue = |query: &str, token| server.get(&format!("/v1/catalogue{query}"), token).text();
    assert!(catalogue("", &acme).contains("the others' customers"));
    for query in ["", "?tenant=acme", "?project=acme", "?scope=prod/acme"] {
        assert!(!catalogue(query, &globex).contains("the others' customers"), "{query}");
    }
    // The store's own credential, which is all that the other needed there, is here each tenant's, and good for that tenant.
    let etl = server.account("globex", "loads", "ingester");
    for client_id in ["etl@acme", "loads@acme", "loads"] {
        assert_eq!(server.ask_token(client_id, &etl.secret).problem(401), "auth/bad-credentials", "{client_id}");
    }
    // A second load under that name is the second tenant's; the first has what it had.
    server.post_arrow(INGEST, &globex, &facts().slice(2, 1)).ok();
    assert_eq!(server.post("/v1/query", &globex, &question).ok()["columns"][0]["values"], json!([null, "Bern"]));
    assert_eq!(server.post("/v1/query", &acme, &question).ok()["columns"][0]["values"], json!(["Turin", "Bern"]));
    assert_eq!(server.get("/v1/status", &acme).ok()["facts"]["User"], 3);
}

#[test]
fn attack_ch20_two_tokens_in_one_request_are_refused() {
    let server = Server::new();
    let (acme, globex) = two(&server);
    let headers = [("authorization", format!("Bearer {acme}")), ("authorization", format!("Bearer {globex}"))];
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(server.send_with("GET", "/v1/status", None, &headers, None).problem(401), "auth/no-token");
}

#[test]
fn attack_ch20_look_alike_and_reserved_tenant_names_are_refused() {
    let server = Server::new();
    server.tenant("acme");
    let admin = server.admin_token();
    for name in ["Acme", "аcme", "acme ", "acme/", "../acme", "acme\u{200b}", "ac--me", "", "a", "acme.prod", "acme%2f"]
    {
        let reply = server.post("/v1/tenants", &admin, &json!({"tenant": name}));
        assert_eq!(reply.problem(400), "request/malformed", "{name:?}");
    }
    assert_eq!(server.post("/v1/tenants", &admin, &json!({"tenant": "acme"})).problem(409), "conflict/tenant");
    assert_eq!(
        server.post("/v1/tenants", &admin, &json!({"tenant": "control-plane"})).problem(409),
        "conflict/reserved"
    );
    let tenants = server.get("/v1/tenants", &admin).ok();
    assert_eq!(tenants["tenants"].as_array().expect("a list").len(), 1, "{tenants}");
    for name in ["ETL", "etl@globex", "etl.acme", "", "еtl", &"a".repeat(41)] {
        let body = json!({"tenant": "acme", "name": name, "role": "reader"});
        assert_eq!(server.post("/v1/service-accounts", &admin, &body).problem(422), "request/name", "{name:?}");
    }
}

#[test]
fn attack_ch23_a_tenants_store_does_not_open_for_another() {
    let mut server = Server::new();
    let (_, globex) = two(&server);
    let tenants = server.data().join("tenants");
    let mut names: Vec<String> = std::fs::read_dir(&tenants)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(names, ["acme", "globex"], "one folder for each tenant");
    server.stop();

    // The keys differ: acme's file is nothing to globex's key.
    let environment = Environment::parse("prod").expect("valid");
    let root = RootKey::load_file(&server.report.root_key, &environment).expect("the root key");
    let ring = KeyRing::open(root, environment, Platform::system(server.data()).expect("files")).expect("opens");
    let key = ring.scope(&Scope::parse("globex", "prod").expect("valid")).expect("a key");
    let opened = SqliteStore::open(tenants.join("acme/metadata.sqlite"), key);
    assert!(matches!(opened, Err(StoreError::Foreign { .. })), "opened another tenant's documents");
    drop(ring);

    // The same through the server: globex's folder replaced by acme's.
    std::fs::remove_dir_all(tenants.join("globex")).expect("removed");
    copy(&tenants.join("acme"), &tenants.join("globex"));
    server.start();
    let reply = server.get("/v1/status", &globex);
    assert_eq!(reply.status, 500, "{}", reply.text());
    assert!(!reply.text().contains("Turin"));
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).expect("made");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copied");
        }
    }
}

#[test]
fn canaries_of_one_tenant_are_in_no_file_in_the_open() {
    let mut server = Server::new();
    let acme = server.shop("acme");
    server.post_arrow(INGEST, &acme.token, &facts()).ok();
    server.stop();
    let mut open = vec![server.data()];
    let mut files = 0;
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).expect("a folder").map(|entry| entry.expect("an entry").path()));
            continue;
        }
        files += 1;
        let bytes = std::fs::read(&path).expect("readable");
        let is_admin = path.ends_with("admin.json");
        for canary in
            ["Turin", "Bern", acme.secret.as_str(), &server.admin.client_secret, "BEGIN PRIVATE KEY", "BEGIN EC"]
        {
            let found = bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
            assert!(
                !found || (is_admin && canary == server.admin.client_secret),
                "`{canary}` stands in {}",
                path.display()
            );
        }
    }
    assert!(files > 10, "{files} files");
}
