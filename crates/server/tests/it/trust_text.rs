//! What is said in public: the dated text of the promises, the contact for security problems, and that reports stay.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use creta_proof::Hash;
use serde_json::{Value, json};

use crate::support::{JSON, Server};

fn page(server: &Server, path: &str) -> String {
    let reply = server.send("GET", path, None, None);
    assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    reply.text()
}

/// The texts that the page dates, newest first.
fn texts(server: &Server) -> Vec<Value> {
    let report = server.get("/v1/trust", &server.admin_token()).ok();
    report["texts"].as_array().expect("a list").clone()
}

fn check(server: &Server, id: &str) -> Value {
    server.post("/v1/trust/run", &server.admin_token(), &json!({"checks": [id]})).ok()["ran"][0].clone()
}

fn state(server: &Server, id: &str) -> Value {
    let report = server.get("/v1/trust", &server.admin_token()).ok();
    let rows = report["commitments"].as_array().expect("a list");
    rows.iter().find(|row| row["id"] == id).unwrap_or_else(|| panic!("`{id}`"))["state"].clone()
}

/// Adds a line to what the organisation does not claim, which is a part of its text.
fn say_more(server: &Server, line: &str) {
    let folder = server.data().join("trust/commitments");
    std::fs::create_dir_all(&folder).expect("made");
    let text = format!("format = \"creta.not-claimed/1\"\nnot_claimed = [\"{line}\"]\n");
    std::fs::write(folder.join("not-claimed.toml"), text).expect("written");
}

#[test]
fn the_text_of_the_promises_is_dated_by_the_log_and_earlier_ones_stay_readable() {
    let mut server = Server::new();
    let first = texts(&server);
    assert_eq!(first.len(), 1);
    let index = first[0]["log_index"].as_u64().expect("an index");
    let entries = server.get(&format!("/v1/audit/entries?start={index}&limit=1"), &server.admin_token()).ok();
    let entry = &entries["entries"][0]["entry"];
    assert_eq!((&entry["action"], &entry["commitment"]), (&json!("trust.text"), &json!("CI-01")));
    assert_eq!((&entry["time"], &entry["environment"]), (&first[0]["since"], &json!("prod")));
    let digest = first[0]["digest"].as_str().expect("a digest").to_owned();
    assert_eq!(entry["details"]["text"], format!("sha256:{digest}"));

    server.stop();
    server.start();
    assert_eq!(texts(&server), first, "the same text is dated once");
    server.stop();
    say_more(&server, "That we never err.");
    server.start();
    let both = texts(&server);
    assert_eq!((both.len(), &both[1]), (2, &first[0]), "an earlier date stays");
    assert!(both[0]["since"].as_str() > first[0]["since"].as_str());
    let overview = page(&server, "/trust/");
    assert!(overview.contains("In force") && overview.contains("Earlier"), "{overview}");
    for text in &both {
        let digest = text["digest"].as_str().expect("a digest");
        let kept = page(&server, &format!("/trust/texts/{digest}.json"));
        assert_eq!(Hash::of(&[kept.as_bytes()]).to_string(), digest);
        assert_eq!(kept.contains("That we never err."), *text == both[0]);
        assert!(
            page(&server, &format!("/trust/proofs/{}.txt", text["log_index"])).starts_with("c2sp.org/tlog-proof@v1")
        );
    }
    assert_eq!(check(&server, "public-text")["outcome"], "pass");
    assert_eq!(state(&server, "CI-01"), "met");
}

#[test]
fn attack_ci01_a_text_that_the_log_does_not_know_is_not_shown() {
    let mut server = Server::new();
    let dated = texts(&server);
    // Whoever has the machine edits the organisation's folder. Nothing of it is shown: the log does not know it.
    say_more(&server, "That any of this is true.");
    assert!(!page(&server, "/trust/").contains("any of this"));
    assert_eq!(texts(&server), dated);
    assert_eq!(check(&server, "public-text")["outcome"], "pass");
    // Shown it is only with a date of its own, and taking it back takes another one: the edit stays in sight.
    server.stop();
    server.start();
    assert!(page(&server, "/trust/").contains("any of this"));
    server.stop();
    std::fs::remove_dir_all(server.data().join("trust/commitments")).expect("removed");
    server.start();
    let after = texts(&server);
    assert_eq!((after.len(), &after[0]["digest"]), (3, &dated[0]["digest"]));
    assert_ne!(after[0]["since"], dated[0]["since"]);
    assert!(!page(&server, "/trust/").contains("any of this"));
}

#[test]
fn attack_ci01_a_text_edited_in_the_database_is_not_shown() {
    let server = Server::new();
    let digest = texts(&server)[0]["digest"].as_str().expect("a digest").to_owned();
    let admin = server.admin_token();
    // The text is by far the longest document.
    let database = rusqlite::Connection::open(server.data().join("metadata.sqlite")).expect("opens");
    let longest = "rowid = (SELECT rowid FROM document ORDER BY length(sealed) DESC LIMIT 1)";
    let whole: Vec<u8> = database
        .query_row(&format!("SELECT sealed FROM document WHERE {longest}"), [], |row| row.get(0))
        .expect("a document");
    assert!(whole.len() > 50_000, "{}", whole.len());
    let edit = |sealed: &[u8]| {
        let edited = database.execute(&format!("UPDATE document SET sealed = ?1 WHERE {longest}"), [sealed]);
        assert_eq!(edited.expect("edited"), 1);
    };
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 1;
    edit(&changed);
    let overview = page(&server, "/trust/");
    assert!(overview.contains("what is kept of it is not what the log dates"), "{overview}");
    let refused = server.send("GET", &format!("/trust/texts/{digest}.json"), None, None);
    assert_eq!(refused.problem(404), "not-found/page");
    // Nor can anything be recorded over it as if nothing had happened.
    let ran = server.post("/v1/trust/run", &admin, &json!({"checks": ["public-text"]}));
    assert_eq!(ran.status, 500, "{}", ran.text());
    edit(&whole);
}

/// Restarts a server with contacts for security problems.
fn with_contacts(contacts: &str) -> Server {
    let mut server = Server::new();
    server.stop();
    let file = server.data().join("config.toml");
    let text = std::fs::read_to_string(&file).expect("readable");
    let lines = text.lines().filter(|line| !line.starts_with("security_contacts"));
    let text = lines.fold(format!("security_contacts = [{contacts}]\n"), |text, line| text + line + "\n");
    std::fs::write(&file, text).expect("written");
    server.start();
    server
}

#[test]
fn a_contact_is_published_and_in_date() {
    let server = with_contacts("\"mailto:security@example.org\", \"https://example.org/report\"");
    let text = page(&server, "/.well-known/security.txt");
    assert!(
        text.starts_with("Contact: mailto:security@example.org\r\nContact: https://example.org/report\r\nExpires: ")
    );
    assert_eq!(check(&server, "security-txt")["outcome"], "pass");
    assert_eq!(check(&server, "report-intake")["outcome"], "pass");
    assert_eq!(state(&server, "CI-29"), "met");
}

#[test]
fn attack_ci29_no_contact_or_one_that_nobody_can_use_is_failing() {
    for contacts in ["", "\"http://example.org/report\"", "\"security@example.org\"", "\"mailto:security\""] {
        let server = with_contacts(contacts);
        assert_ne!(server.send("GET", "/.well-known/security.txt", None, None).status, 200, "{contacts}");
        let ran = check(&server, "security-txt");
        assert_eq!((&ran["outcome"], &ran["findings"][0]["code"]), (&json!("fail"), &json!("security-txt/absent")));
        assert_eq!(state(&server, "CI-29"), "failing", "{contacts}");
    }
}

#[test]
fn attack_ci29_the_contact_is_not_served_without_tls() {
    let server = with_contacts("\"mailto:security@example.org\"");
    let address = server.running().address();
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.write_all(b"GET /.well-known/security.txt HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("sent");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer); // A reset is an answer too.
    let answer = String::from_utf8_lossy(&answer);
    assert!(!answer.contains("HTTP/1") && !answer.contains("Contact"), "{answer}");
}

#[test]
fn attack_ch63_nobody_takes_a_report_away_or_back() {
    let server = Server::new();
    let admin = server.admin_token();
    let body = json!({"title": "a hole", "description": "here"}).to_string();
    let sent = server.send("POST", "/trust/report", None, Some((JSON, body.as_bytes()))).ok();
    let reference = sent["reference"].as_str().expect("a reference").to_owned();
    let paths = [
        format!("/trust/report/{reference}"),
        format!("/v1/trust/reports/{reference}"),
        "/v1/trust/reports".to_owned(),
    ];
    for path in &paths {
        for method in ["DELETE", "PUT", "PATCH"] {
            let reply = server.send(method, path, Some(&admin), None);
            assert!([404, 405].contains(&reply.status), "{method} {path}: {}", reply.text());
        }
    }
    let path = &paths[1];
    let probe = json!({"verdict": "probe", "reason": "hides it from the list"});
    assert_eq!(server.post(path, &admin, &probe).problem(422), "request/verdict");
    server.post(path, &admin, &json!({"verdict": "accepted", "reason": "a hole"})).ok();
    let other = json!({"verdict": "rejected", "reason": "none"});
    assert_eq!(server.post(path, &admin, &other).problem(409), "conflict/report");
    let listed = server.get("/v1/trust/reports", &admin).ok();
    assert_eq!(listed["reports"][0]["report"]["decided"]["verdict"], "accepted");
    assert_eq!(listed["reports"][0]["report"]["title"], "a hole");
}

#[test]
fn attack_ch63_bombs_are_refused_and_the_genuine_report_comes_through() {
    let server = Server::new();
    let send = |media: &str, body: &[u8]| server.send("POST", "/trust/report", None, Some((media, body)));
    let long = json!({"title": "x".repeat(1 << 20), "description": "x"}).to_string();
    assert_eq!(send(JSON, long.as_bytes()).status, 413);
    assert_eq!(send(JSON, "[".repeat(10_000).as_bytes()).status, 400);
    let archive = send("multipart/form-data; boundary=x", b"--x\r\ncontent-type: application/zip\r\n\r\nPK\r\n--x--");
    assert!([400, 415].contains(&archive.status), "{}", archive.text());
    let attached = json!({"title": "t", "description": "d", "attachment": "PK"}).to_string();
    assert!([400, 422].contains(&send(JSON, attached.as_bytes()).status));
    assert_eq!(send(JSON, json!({"title": "genuine", "description": "d"}).to_string().as_bytes()).status, 201);
    let listed = server.get("/v1/trust/reports", &server.admin_token()).ok();
    assert_eq!(listed["reports"].as_array().map(Vec::len), Some(1), "{listed}");
}
