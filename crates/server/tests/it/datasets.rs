//! Datasets over the wire: kept, shown by the rights that hold now, and by no way around them.

use std::io::{Seek as _, Write as _};

use arrow::array::Array as _;
use creta_model::EnvironmentClass;
use serde_json::{Value, json};

use crate::people::{Someone, assign, authenticator, server, sign_in, sign_in_with};
use crate::provider::Provider;
use crate::support::{INGEST, Reply, Server, bundle, facts, spine};

const LEAKAGE: &str = "/v1/training-sets/leakage?features=User.score&as_of=at&labels=%7B%22User.id%22%3Anull%7D";
const MAKE: &str = "/v1/datasets?name=cities&features=User.city,User.score&as_of=at";

fn rows() -> arrow::array::RecordBatch {
    spine(&[(7, "2025-03-05T00:00:00Z"), (8, "2025-03-05T00:00:00Z"), (9, "2025-03-05T00:00:00Z")])
}

fn shop(server: &Server, tenant: &str, bundle: &Value) -> String {
    server.tenant(tenant);
    let etl = server.account(tenant, "etl", "developer");
    server.post("/v1/deploy", &etl.token, bundle).ok();
    server.post_arrow(INGEST, &etl.token, &facts()).ok();
    etl.token
}

fn tagged(tags: &Value) -> Value {
    let mut bundle = bundle();
    bundle["graph"]["entities"][0]["features"][2]["tags"] = tags.clone();
    bundle
}

fn scientist(server: &Server, provider: &Provider, who: &str) -> Someone {
    let person = sign_in(server, provider, who);
    assign(server, who, &json!({"roles": ["data-scientist"], "tenant": "acme"}));
    person
}

fn cities(reply: &Reply) -> Vec<Option<String>> {
    let batch = reply.batch();
    let column = batch.column_by_name("User.city").expect("the feature");
    arrow::array::AsArray::as_string::<i32>(column).iter().map(|city| city.map(str::to_owned)).collect()
}

fn some(city: &str) -> Option<String> {
    Some(city.to_owned())
}

fn entries(server: &Server) -> String {
    server.running().keep_log().expect("kept");
    server.get("/v1/audit/entries?limit=1000", &server.admin_token()).text()
}

#[test]
fn a_dataset_is_made_listed_shown_renamed_retired_and_outlives_a_restart() {
    let mut server = Server::new();
    let etl = shop(&server, "acme", &bundle());
    let made = server.post_arrow(MAKE, &etl, &rows()).ok();
    assert_eq!(
        (&made["version"], &made["rows"], &made["columns"][2]["name"]),
        (&json!(1), &json!(3), &json!("User.city"))
    );
    let again = server.post_arrow(MAKE, &etl, &rows()).ok();
    assert_eq!(again["version"], 2);
    let listed = server.get("/v1/datasets", &etl).ok();
    assert_eq!(
        (&listed["datasets"][0]["name"], &listed["datasets"][0]["versions"][0]["version"]),
        (&json!("cities"), &json!(2))
    );
    assert_eq!(server.get("/v1/datasets/cities@1", &etl).ok(), made);
    let expected = [some("Turin"), some("Bern"), None];
    let shown = server.get("/v1/datasets/cities/rows", &etl);
    assert_eq!(cities(&shown), expected);
    assert_eq!(shown.batch().schema().metadata()["creta.environment"], "prod", "it says where it is from");
    let file = server.get("/v1/datasets/cities/rows?format=parquet&columns=%5B%22User.city%22%5D", &etl);
    assert_eq!((file.status, file.content_type.as_str()), (200, "application/vnd.apache.parquet"));
    let mut kept = tempfile::tempfile().expect("a file");
    kept.write_all(&file.body).and_then(|()| kept.rewind()).expect("written");
    let file = creta_engine::read_parquet(kept).expect("a Parquet file");
    assert_eq!((file[0].num_rows(), file[0].num_columns()), (3, 1));

    let renamed = server.post("/v1/datasets/cities/rename", &etl, &json!({"to": "towns"})).ok();
    assert_eq!(renamed["name"], "towns");
    // What somebody wrote down is those rows still, and the old name is nobody else's.
    assert_eq!(server.get("/v1/datasets/cities@1", &etl).ok()["name"], "towns");
    assert_eq!(server.post_arrow(MAKE, &etl, &rows()).problem(409), "conflict/dataset");
    assert_eq!(server.post("/v1/datasets/towns@1/rename", &etl, &json!({"to": "x"})).problem(422), "dataset/whole");
    assert_eq!(server.post("/v1/datasets/towns/retire", &etl, &json!({})).problem(422), "dataset/no-version");
    let retired = server.post("/v1/datasets/towns@2/retire", &etl, &json!({})).ok();
    assert_eq!((&retired["state"]["is"], &retired["state"]["by"]), (&json!("retired"), &json!("etl")));
    server.stop();
    server.start();
    assert_eq!(server.get("/v1/datasets/towns@2/rows", &etl).problem(422), "dataset/retired");
    assert_eq!(cities(&server.get("/v1/datasets/towns/rows", &etl)), expected);
    for bad in ["Towns", "towns@0", "..%2Ftowns", "towns%00"] {
        assert_eq!(server.get(&format!("/v1/datasets/{bad}"), &etl).problem(422), "dataset/bad-name", "{bad}");
    }
    let log = entries(&server);
    for entry in ["dataset.make", "dataset.kept", "dataset.renamed", "dataset.retired", "towns@1", "cities@2"] {
        assert!(log.contains(entry), "{entry}: {log}");
    }
    assert!(!log.contains("Turin"));
    // The permit to build it is the entry that it names.
    let index = made["entry"].as_u64().expect("an entry");
    let page = server.get(&format!("/v1/audit/entries?start={index}&limit=1"), &server.admin_token()).ok();
    assert_eq!(page["entries"][0]["entry"]["action"], "train", "{page}");
}

#[test]
fn attack_ch20_datasets_of_another_tenant_are_not_found_by_any_name() {
    let server = Server::new();
    let acme = shop(&server, "acme", &bundle());
    let beta = shop(&server, "beta", &bundle());
    server.post_arrow(MAKE, &acme, &rows()).ok();
    assert_eq!(server.get("/v1/datasets", &beta).ok()["datasets"], json!([]));
    // What is there and what is not there answer alike.
    for name in ["cities", "cities@1", "nothing", "nothing@1"] {
        for path in ["", "/rows"] {
            let refused = server.get(&format!("/v1/datasets/{name}{path}"), &beta);
            assert_eq!(refused.problem(404), "not-found/dataset", "{name}{path}");
            let message = refused.json()["message"].as_str().expect("words").replace(name, "");
            assert_eq!(message, "there is no dataset ``");
        }
        let retired = server.post(&format!("/v1/datasets/{name}/retire"), &beta, &json!({}));
        assert!([404, 422].contains(&retired.status));
    }
    assert_eq!(server.post("/v1/datasets/cities/rename", &beta, &json!({"to": "x"})).problem(404), "not-found/dataset");
    // A name of one's own is one's own.
    assert_eq!(server.post_arrow(MAKE, &beta, &rows()).ok()["version"], 1);
    assert_eq!(server.get("/v1/datasets/cities@1/rows", &acme).status, 200);
    // By the content's name on the disk it does not open elsewhere.
    let copy = |from: &str, to: &str| {
        let folder = |tenant: &str| server.data().join(format!("tenants/{tenant}/facts/datasets"));
        let table =
            |tenant: &str| std::fs::read_dir(folder(tenant)).expect("there").next().expect("one").expect("read").path();
        std::fs::copy(table(from).join("000000"), table(to).join("000000")).expect("copied")
    };
    copy("acme", "beta");
    assert_eq!(server.get("/v1/datasets/cities/rows", &beta).json()["code"], "store/refused");
}

#[test]
fn attack_ch03_rows_go_by_the_rights_that_hold_now() {
    let provider = Provider::start();
    let server = server(&provider, EnvironmentClass::Development);
    let etl = shop(&server, "acme", &tagged(&json!(["pii"])));
    let [ana, vic] = ["ana", "vic"].map(|who| scientist(&server, &provider, who));
    assign(&server, "vic", &json!({"roles": ["viewer"], "tenant": "acme"}));
    // A program that sees all makes it. What it brought may be anything that it sees, unless it says what it is.
    server.post_arrow(&format!("{MAKE}&spine_tags=%5B%5D"), &etl, &rows()).ok();
    let read = |who: &Someone, path: &str| who.get(&server, path);
    let rows_path = "/v1/datasets/cities/rows?states=true";
    assert_eq!(cities(&read(&ana, rows_path)), [some("Xxxxx"), some("Xxxx"), None]);
    assert_eq!(read(&vic, rows_path).problem(403), "access/denied", "a viewer builds no training sets");
    assert_eq!(read(&vic, "/v1/datasets/cities").status, 200, "what it is made of is in the catalogue");
    let made = server.post_arrow(MAKE, &etl, &rows()).ok();
    assert_eq!(made["columns"][1]["tags"], json!(["pii"]), "{made}");
    let shown = read(&ana, "/v1/datasets/cities@2/rows").batch();
    assert_eq!(shown.column_by_name("at").map(arrow::array::Array::null_count), Some(3));
    // What she makes herself holds what she gets, for everybody.
    let own = MAKE.replace("name=cities", "name=own");
    ana.send_arrow(&server, &own, &rows()).ok();
    assert_eq!(cities(&server.get("/v1/datasets/own/rows", &etl)), [some("Xxxxx"), some("Xxxx"), None]);
    assert_eq!(ana.get(&server, "/v1/datasets/own/rows").batch().column(1).null_count(), 0, "her instants are hers");
    let typo = format!("{MAKE}&spine_tags=%5B%22pi%22%5D");
    assert_eq!(server.post_arrow(&typo, &etl, &rows()).problem(404), "dataset/unknown-tag");
    // The feature becomes secret: nobody gets it, by name; the rest of the columns are left.
    server.post("/v1/deploy", &etl, &tagged(&json!(["pii", "secret"]))).ok();
    assert_eq!(server.get(rows_path, &etl).problem(403), "access/denied");
    let rest = "/v1/datasets/cities@1/rows?columns=%5B%22User.id%22,%22User.score%22%5D";
    assert_eq!(server.get(rest, &etl).batch().num_columns(), 2);
    // A role that is taken away ends it at once.
    assert_eq!(read(&ana, rest).status, 200);
    assign(&server, "ana", &json!({"roles": [], "tenant": "acme"}));
    assert_eq!(read(&ana, rest).problem(403), "access/denied");
    let own = ana.send_arrow(&server, &own, &rows());
    assert_eq!(own.problem(403), "access/denied");
}

#[test]
fn attack_ch33_revoked_and_narrowed_credentials_get_no_dataset() {
    let server = Server::new();
    let etl = shop(&server, "acme", &bundle());
    let reader = server.account("acme", "scoring", "reader");
    let [ingester, deployer] =
        [("load", "ingester"), ("release", "deployer")].map(|(name, role)| server.account("acme", name, role).token);
    server.post_arrow(MAKE, &etl, &rows()).ok();
    for other in [&ingester, &deployer] {
        for path in ["/v1/datasets", "/v1/datasets/cities", "/v1/datasets/cities/rows"] {
            assert_eq!(server.get(path, other).problem(403), "access/denied", "{path}");
        }
        assert_eq!(server.post_arrow(MAKE, other, &rows()).problem(403), "access/denied");
        assert_eq!(server.post("/v1/datasets/cities@1/retire", other, &json!({})).problem(403), "access/denied");
    }
    let narrow = json!({"client_id": reader.client_id, "client_secret": reader.secret, "scope": "User.score User.id"});
    let narrow =
        server.send("POST", "/v1/token", None, Some((crate::support::JSON, narrow.to_string().as_bytes()))).ok();
    let narrow = narrow["access_token"].as_str().expect("a token").to_owned();
    let columns = |names: &str| format!("/v1/datasets/cities/rows?columns={names}");
    assert_eq!(server.get("/v1/datasets/cities/rows", &narrow).problem(403), "access/token-features");
    assert_eq!(server.get(&columns("%5B%22User.score%22%5D"), &narrow).status, 200);
    assert_eq!(server.get(&columns("%5B%22User.city%22%5D"), &narrow).problem(403), "access/token-features");
    let score = "/v1/datasets?name=x&features=User.score&as_of=at";
    assert_eq!(
        server.post_arrow(score, &narrow, &rows()).problem(403),
        "access/token-features",
        "it asks, and keeps nothing"
    );
    assert_eq!(server.post_arrow(MAKE, &reader.token, &rows()).ok()["version"], 2);
    server.post(&format!("/v1/service-accounts/{}/revoke", reader.client_id), &server.admin_token(), &json!({})).ok();
    for path in ["/v1/datasets", "/v1/datasets/cities", "/v1/datasets/cities/rows"] {
        assert_eq!(server.get(path, &reader.token).problem(401), "auth/bad-token", "{path}");
    }
    assert_eq!(server.post_arrow(MAKE, &reader.token, &rows()).problem(401), "auth/bad-token");
    assert_eq!(server.get("/v1/datasets", &etl).ok()["datasets"][0]["versions"].as_array().map(Vec::len), Some(2));
}

#[test]
fn attack_ch14_outside_of_development_people_guess_at_no_values_and_take_no_dataset_home() {
    let lake = tempfile::tempdir().expect("a folder");
    let folder = lake.path().to_str().expect("text");
    let tail = format!("[[sinks]]\nname = \"lake\"\ntenant = \"acme\"\nfolder = \"{folder}\"\n");
    let provider = Provider::start();
    let server = Server::configured(EnvironmentClass::Staging, &format!("{tail}\n{}", provider.config()));
    server.tenant("acme");
    let programs = [("release", "deployer"), ("load", "ingester"), ("scoring", "reader")];
    let accounts = crate::secrets::programs_by_two(&server, &provider, programs);
    let [release, load, scoring] = accounts.map(|account| account.token);
    server.post("/v1/deploy", &release, &bundle()).ok();
    server.post_arrow(INGEST, &load, &facts()).ok();
    let ana = sign_in_with(&server, &provider, "ana", Some(&mut authenticator(&server, 1)));
    assign(&server, "ana", &json!({"roles": ["data-scientist"], "tenant": "acme"}));
    // Whatever tells of a spine's rows which of them were guessed right is for programs.
    let required = format!("{MAKE}&required=User.city");
    for path in [required.as_str(), LEAKAGE] {
        let refused = ana.send_arrow(&server, path, &rows());
        assert_eq!(refused.problem(403), "dataset/class", "{path}");
        assert!(!refused.text().contains("Turin"));
    }
    assert_eq!(server.post_arrow(MAKE, &scoring, &rows()).ok()["rows"], 3);
    assert_eq!(server.post_arrow(MAKE, &scoring, &rows()).ok()["version"], 2);
    assert_eq!(server.post_arrow(LEAKAGE, &scoring, &rows()).ok()["rows"], 3);
    // To make one tells them nothing: what comes of it is looked at as any other, and counted.
    let own = MAKE.replace("name=cities", "name=own");
    let made = ana.send_arrow(&server, &own, &rows()).ok();
    assert_eq!((&made["version"], made.get("facts")), (&json!(1), None), "{made}");
    assert_eq!(ana.get(&server, "/v1/datasets/own/rows").problem(403), "access/no-download");
    let diff = "/v1/datasets/cities@1/diff?with=cities@2";
    assert_eq!(ana.get(&server, diff).problem(403), "dataset/class");
    assert_eq!(server.get(diff, &scoring).status, 200);
    for path in ["/v1/datasets/cities/rows", "/v1/datasets/cities/rows?format=parquet"] {
        let refused = ana.get(&server, path);
        assert_eq!(refused.problem(403), "access/no-download");
        assert!(!refused.text().contains("Turin"));
    }
    assert_eq!(ana.get(&server, "/v1/datasets/cities/rows?sink=pond").problem(404), "not-found/sink");
    let written = server.get("/v1/datasets/cities/rows?sink=lake", &scoring).ok();
    assert_eq!((&written["sink"], &written["rows"]), (&json!("lake"), &json!(3)));
    let file = lake.path().join(written["file"].as_str().expect("a name"));
    let table = creta_engine::read_parquet(std::fs::File::open(file).expect("written")).expect("a Parquet file");
    assert_eq!(table.iter().map(arrow::array::RecordBatch::num_rows).sum::<usize>(), 3);
    assert_eq!(cities(&server.get("/v1/datasets/cities/rows", &scoring)), [some("Turin"), some("Bern"), None]);
    let log = server.get("/v1/audit/entries?limit=1000", &server.admin_token_or_none()).text();
    assert!(log.contains("download.refused") && log.contains("sink.written") && !log.contains("Turin"), "{log}");
}

#[test]
fn attack_ch03_datasets_are_renamed_and_retired_by_their_maker_or_whoever_may_deploy() {
    let provider = Provider::start();
    let server = server(&provider, EnvironmentClass::Development);
    let etl = shop(&server, "acme", &bundle());
    let reader = server.account("acme", "scoring", "reader").token;
    let [ana, bea] = ["ana", "bea"].map(|who| scientist(&server, &provider, who));
    server.post_arrow(MAKE, &etl, &rows()).ok();
    let (retire, rename) = ("/v1/datasets/cities@1/retire", "/v1/datasets/cities/rename");
    let to = json!({"to": "towns"});
    for (path, body) in [(retire, &json!({})), (rename, &to)] {
        assert_eq!(server.post(path, &reader, body).problem(403), "access/denied", "a reader's token");
        assert_eq!(ana.post(&server, path, body).problem(403), "access/dataset-keeper");
    }
    // A program that only reads does not even end what it made.
    let of_reader = MAKE.replace("name=cities", "name=scores");
    server.post_arrow(&of_reader, &reader, &rows()).ok();
    assert_eq!(server.post("/v1/datasets/scores@1/retire", &reader, &json!({})).problem(403), "access/denied");
    assert_eq!(server.get("/v1/datasets/scores@1/rows", &reader).status, 200, "it is there");
    // Her own she may, nobody else with her role.
    ana.send_arrow(&server, &MAKE.replace("name=cities", "name=own"), &rows()).ok();
    assert_eq!(bea.post(&server, "/v1/datasets/own@1/retire", &json!({})).problem(403), "access/dataset-keeper");
    assert_eq!(ana.post(&server, "/v1/datasets/own/rename", &json!({"to": "mine"})).ok()["name"], "mine");
    ana.post(&server, "/v1/datasets/mine@1/retire", &json!({})).ok();
    server.post(retire, &etl, &json!({})).ok();
}

#[test]
fn s1_s30_a_table_names_the_entry_it_was_built_under_and_what_was_known() {
    let server = Server::new();
    let etl = shop(&server, "acme", &bundle());
    // A spine that was a training set itself says nothing about this one.
    let old = [("creta.entry", "1"), ("creta.known_as_of", "latest"), ("creta.dataset", "x@1"), ("mine", "kept")];
    let old = old.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let schema = rows().schema().as_ref().clone().with_metadata(old.into());
    let labelled = rows().with_schema(std::sync::Arc::new(schema)).expect("the same columns");
    let entry = |said: &std::collections::HashMap<String, String>| {
        let index: u64 = said["creta.entry"].parse().expect("the index of an entry");
        let page = format!("/v1/audit/entries?start={index}&limit=1");
        server.get(&page, &server.admin_token()).ok()["entries"][0]["entry"].clone()
    };
    for (asked, known) in [("", "as_of"), ("&known_as_of=latest", "latest"), ("&known_as_of=at", "column")] {
        let path = format!("/v1/training-sets?features=User.city&as_of=at{asked}");
        let said = server.post_arrow(&path, &etl, &labelled).batch().schema().metadata().clone();
        assert_eq!((said["creta.known_as_of"].as_str(), said["mine"].as_str()), (known, "kept"));
        assert!(!said.contains_key("creta.dataset") && said["creta.position"].parse::<u64>().is_ok());
        let entry = entry(&said);
        assert_eq!(entry["action"], "train", "{entry}");
        let text = entry.to_string();
        assert!(text.contains("User.city") && text.contains(&said["creta.plan"]), "{text}");
        assert_eq!(text.contains(r#""known-as-of""#), known != "as_of", "{text}");
        assert!(known == "as_of" || text.contains(known), "{text}");
    }
    // Rows that were kept say under what they were built, whoever looks at them.
    let made = server.post_arrow(MAKE, &etl, &labelled).ok();
    let said = server.get("/v1/datasets/cities/rows", &etl).batch().schema().metadata().clone();
    assert_eq!((said["creta.dataset"].as_str(), &said["creta.plan"]), ("cities@1", &text(&made["plan"])));
    assert_eq!(said["creta.entry"], made["entry"].to_string());
    // Answers about the present are counted, not logged one by one.
    let present = server.post_arrow("/v1/query/arrow?features=User.city&as_of=at", &etl, &labelled).batch();
    let said = present.schema().metadata().clone();
    assert!(!said.contains_key("creta.entry") && !said.contains_key("creta.position"), "{said:?}");
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

#[test]
fn attack_t04_a_tenant_keeps_no_more_than_the_configuration_lets_it() {
    let provider = Provider::start();
    let limits = "[datasets]\nversions_per_tenant = 1\nbytes_per_tenant = \"1MiB\"\n";
    let server = Server::configured(EnvironmentClass::Development, &format!("{limits}\n{}", provider.config()));
    let etl = shop(&server, "acme", &bundle());
    server.post_arrow(MAKE, &etl, &rows()).ok();
    assert_eq!(server.post_arrow(MAKE, &etl, &rows()).problem(409), "dataset/too-many");
    // Another tenant has its own room.
    let beta = shop(&server, "beta", &bundle());
    server.post_arrow(MAKE, &beta, &rows()).ok();
    server.post("/v1/datasets/cities@1/retire", &etl, &json!({})).ok();
    assert_eq!(server.post_arrow(MAKE, &etl, &rows()).ok()["version"], 2);
}

#[test]
fn attack_ch03_a_viewer_learns_of_no_counts_and_of_no_later_tags_less_than_everybody() {
    let provider = Provider::start();
    let server = server(&provider, EnvironmentClass::Development);
    let etl = shop(&server, "acme", &bundle());
    let vic = sign_in(&server, &provider, "vic");
    assign(&server, "vic", &json!({"roles": ["viewer"], "tenant": "acme"}));
    let ana = scientist(&server, &provider, "ana");
    let made = server.post_arrow(&format!("{MAKE}&required=User.city"), &etl, &rows()).ok();
    assert_eq!(made["rows"], 2, "who made it got these rows");
    let described = vic.get(&server, "/v1/datasets/cities").ok();
    assert_eq!((described.get("rows"), described.get("facts")), (None, None), "{described}");
    let listed = vic.get(&server, "/v1/datasets").ok();
    assert_eq!(listed["datasets"][0]["versions"][0].get("rows"), None, "{listed}");
    // Nothing was tagged when it was made, and nothing was said of the spine's own columns.
    assert_eq!(ana.get(&server, "/v1/datasets/cities/rows").batch().column(1).null_count(), 0);
    server.post("/v1/deploy", &etl, &tagged(&json!(["pii"]))).ok();
    let later = ana.get(&server, "/v1/datasets/cities/rows?columns=%5B%22at%22%5D");
    assert_eq!(later.problem(403), "access/required", "the city chose the rows, and is personal by now");
}

#[test]
fn attack_ch14_an_audit_looks_at_few_labels() {
    let server = Server::new();
    let etl = shop(&server, "acme", &bundle());
    let labels: serde_json::Map<String, Value> = (0..9).map(|n| (format!("guess{n}"), Value::Null)).collect();
    let labels: String = Value::Object(labels)
        .to_string()
        .bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect();
    let path = format!("/v1/training-sets/leakage?features=User.city&as_of=at&labels={labels}");
    assert_eq!(server.post_arrow(&path, &etl, &rows()).json()["code"], "too-large/labels");
}

#[test]
fn attack_ch03_row_rules_bind_at_a_dataset_as_they_do_at_a_question() {
    let provider = Provider::start();
    let server = server(&provider, EnvironmentClass::Development);
    let etl = shop(&server, "acme", &bundle());
    let ana = scientist(&server, &provider, "ana");
    server.post_arrow(MAKE, &etl, &rows()).ok();
    let ids = |who: &Someone| -> Vec<i64> {
        let batch = who.get(&server, "/v1/datasets/cities/rows").batch();
        let ids = arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(batch.column(0)).clone();
        ids.values().to_vec()
    };
    assert_eq!(ids(&ana), [7, 8, 9]);
    let rule = json!({"id": "home", "entity": "User", "roles": ["data-scientist"], "feature": "User.city", "op": "in",
        "values": ["Bern"]});
    let rules = json!({"tenant": "acme", "rules": {"rules": [rule]}, "reason": "Each market looks after its own customers only"});
    server.post("/v1/access/rows", &server.admin_token(), &rules).ok();
    assert_eq!(ids(&ana), [8]);
    assert_eq!(cities(&server.get("/v1/datasets/cities/rows", &etl)).len(), 3);
}
