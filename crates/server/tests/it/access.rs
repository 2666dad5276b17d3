//! Whose data was looked at by whom, as its owner reads it.

use serde_json::{Value, json};

use crate::support::{INGEST, Server, facts};

fn accesses(server: &Server, token: &str) -> Vec<Value> {
    let page = server.get("/v1/audit/access", token).ok();
    page["accesses"].as_array().expect("a list").clone()
}

#[test]
fn a_tenant_sees_every_access_to_its_own_data_staffs_too() {
    let server = Server::new();
    let developer = server.shop("acme");
    server.post_arrow(INGEST, &developer.token, &facts()).ok();
    let reader = server.account("acme", "scoring", "reader");
    let question = json!({"inputs": {"User.id": [7]}, "outputs": ["User.city"]});
    server.post("/v1/query", &reader.token, &question).ok();
    let seen = accesses(&server, &developer.token);
    let of = |action: &str| seen.iter().find(|access| access["action"] == action).unwrap_or(&Value::Null).clone();
    let query = of("query");
    assert_eq!(
        (&query["kind"], &query["id"], &query["staff"]),
        (&json!("service-account"), &json!("scoring"), &json!(false))
    );
    assert_eq!((&query["features"]["names"], &query["decision"]), (&json!(["User.city"]), &json!("allow")), "{query}");
    // An administrator made the account: somebody of the company that runs this acted on the tenant.
    let made = of("service-account.create");
    assert_eq!((&made["kind"], &made["staff"]), (&json!("administrator"), &json!(true)), "{seen:?}");

    let index = query["index"].as_u64().expect("an index");
    let proof = server.get(&format!("/v1/audit/access/{index}/proof"), &developer.token).ok();
    assert!(proof["entry"].as_str().is_some_and(|entry| entry.contains("\"query\"")), "{proof}");
    assert_eq!(server.get("/v1/audit/access", &reader.token).problem(403), "access/denied");
}

#[test]
fn attack_ch20_no_tenant_sees_accesses_to_another_or_a_proof_of_one() {
    let server = Server::new();
    let (acme, globex) = (server.shop("acme"), server.shop("globex"));
    for tenant in [&acme, &globex] {
        server.post_arrow(INGEST, &tenant.token, &facts()).ok();
    }
    let (of_acme, of_globex) = (accesses(&server, &acme.token), accesses(&server, &globex.token));
    let indexes = |accesses: &[Value]| -> std::collections::BTreeSet<u64> {
        accesses.iter().map(|access| access["index"].as_u64().expect("an index")).collect()
    };
    assert!(!of_acme.is_empty() && !of_globex.is_empty());
    assert!(indexes(&of_acme).is_disjoint(&indexes(&of_globex)));
    for accesses in [&of_acme, &of_globex] {
        assert!(!json!(accesses).to_string().contains(if std::ptr::eq(accesses, &of_acme) {
            "globex"
        } else {
            "acme"
        }));
    }
    for index in indexes(&of_globex) {
        let path = format!("/v1/audit/access/{index}/proof");
        assert_eq!(server.get(&path, &acme.token).problem(404), "not-found/entry", "{index}");
        assert_eq!(server.get(&path, &globex.token).status, 200);
    }
    // Nor of what concerns nobody's tenant.
    assert_eq!(server.get("/v1/audit/access/0/proof", &acme.token).problem(404), "not-found/entry");
    assert_eq!(server.get("/v1/audit/access/x/proof", &acme.token).problem(404), "not-found/entry");
}
