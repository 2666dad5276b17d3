//! The command as a team uses it: a server, a tenant, a project, facts, questions, proofs. Python is played by a script
//! that prints a bundle, so that nothing but the command and its server is tested.

mod browser;
mod device;
mod intake;
#[allow(dead_code, reason = "the server's tests forge more than these")]
#[path = "../../../server/tests/it/provider.rs"]
mod provider;
mod rows;
mod software_tpm;
mod trust;
mod witness;

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

/// 2025-03-01T12:00:00Z
const NOON: i64 = 1_740_830_400_000_000;
const HOUR: i64 = 3_600_000_000;

/// A folder with a profile file, a project and a server of its own.
struct Place {
    folder: tempfile::TempDir,
    server: Option<Child>,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

/// What a command left: its exit code, its result as JSON, and what people would have read.
struct Done {
    code: i32,
    json: Value,
    stderr: String,
}

impl Place {
    fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().expect("temporary folder"), server: None };
        std::fs::create_dir_all(place.path("project/data")).expect("folder");
        std::fs::write(place.path("project/creta.toml"), "").expect("write");
        place.export(&bundle(&[7]));
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What the project's Python will export from now on.
    fn export(&self, bundle: &Value) {
        std::fs::write(self.path("bundle.json"), bundle.to_string()).expect("write");
        let python = self.path("python");
        std::fs::write(&python, format!("#!/bin/sh\ncat '{}'\n", self.path("bundle.json").display())).expect("write");
        std::fs::set_permissions(&python, std::fs::Permissions::from_mode(0o755)).expect("chmod");
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_creta"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_remove("CRETA_PROFILE")
            .env("CRETA_PROFILE_FILE", self.path("profiles.toml"))
            .env("CRETA_PYTHON", self.path("python"));
        command
    }

    fn run(&self, arguments: &[&str]) -> Done {
        let output = self.command(arguments).arg("--json").output().expect("the command starts");
        let stdout = String::from_utf8(output.stdout).expect("text");
        Done {
            code: output.status.code().expect("it ends by itself"),
            json: serde_json::from_str(&stdout).unwrap_or(Value::Null),
            stderr: String::from_utf8(output.stderr).expect("text"),
        }
    }

    /// Runs a command that has to succeed.
    fn ok(&self, arguments: &[&str]) -> Value {
        let done = self.run(arguments);
        assert_eq!(done.code, 0, "{arguments:?}: {} {}", done.json, done.stderr);
        done.json
    }

    /// Runs a command that has to be refused, and gives exit code and problem code.
    fn refused(&self, arguments: &[&str]) -> (i32, String) {
        let done = self.run(arguments);
        let code = done.json["problems"][0]["code"].as_str().unwrap_or_default().to_owned();
        assert_ne!(done.code, 0, "{arguments:?} must be refused");
        (done.code, code)
    }

    /// What people see of a result.
    fn text(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().expect("the command starts");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    /// Makes a data folder and serves it on a free port; `admin` and `default` are profiles then.
    fn serve(&mut self) -> Value {
        self.serve_with(&[])
    }

    /// The same with more said to `server init`.
    fn serve_with(&mut self, more: &[&str]) -> Value {
        let made = self.ok(&[&["server", "init", "--data", "data", "--environment", "dev"], more].concat());
        let mut server = self
            .command(&["server", "start", "--data", "data", "--listen", "127.0.0.1:0", "--json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts");
        let stdout = server.stdout.take().expect("piped");
        self.server = Some(server);
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("it says where it serves");
        let started: Value = serde_json::from_str(&line).expect("json");
        let url = started["url"].as_str().expect("url");
        self.ok(&["login", "--name", "admin", "--from", "data/admin.json", "--url", url]);
        self.ok(&["tenant", "create", "acme", "--profile", "admin"]);
        self.account("demo", "developer");
        self.ok(&["login", "--from", "demo.json"]);
        made
    }

    fn account(&self, name: &str, role: &str) {
        let file = format!("{name}.json");
        let who = ["service-account", "create", name, "--tenant", "acme", "--role", role];
        self.ok(&[&who[..], &["--out", &file, "--profile", "admin"]].concat());
    }

    fn parquet(&self, name: &str, columns: Vec<(&str, ArrayRef)>) {
        let batch = RecordBatch::try_from_iter(columns).expect("a batch");
        let file = std::fs::File::create(self.path(name)).expect("file");
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("writer");
        writer.write(&batch).expect("writes");
        writer.close().expect("closes");
    }

    /// Three readings of sensor `a`, an hour apart; the last one at noon.
    fn readings(&self) {
        let at = TimestampMicrosecondArray::from(vec![NOON - 2 * HOUR, NOON - HOUR, NOON]).with_timezone("UTC");
        self.parquet(
            "project/data/readings.parquet",
            vec![
                ("id", Arc::new(Int64Array::from(vec![1, 2, 3]))),
                ("sensor", Arc::new(StringArray::from(vec!["a"; 3]))),
                ("value", Arc::new(Float64Array::from(vec![1.0, 2.0, 4.0]))),
                ("at", Arc::new(at)),
            ],
        );
    }
}

/// A program that serves until it is killed.
struct Serving {
    child: Child,
    /// What it said when it took connections.
    said: Value,
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Serving {
    fn start(place: &Place, arguments: &[&str]) -> Self {
        let mut command = place.command(arguments);
        let mut child = command.arg("--json").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("it says where it serves");
        Self { said: serde_json::from_str(&line).expect("json"), child }
    }

    fn server(place: &Place) -> Self {
        let server = Self::start(place, &["server", "start", "--data", "data", "--listen", "127.0.0.1:0"]);
        let login = ["login", "--name", "admin", "--from", "data/admin.json", "--url", server.url()];
        place.ok(&login);
        server
    }

    fn url(&self) -> &str {
        self.said["url"].as_str().expect("a url")
    }
}

/// Readings of sensors, and how many and how high they were in the last days.
fn bundle(days: &[u32]) -> Value {
    let last: Vec<String> = days.iter().map(|n| format!("{n}d")).collect();
    let feature = |name: &str, kind: &str, role: &str| json!({"name": name, "type": {"kind": kind}, "role": role, "location": at(1)});
    let windowed = |name: &str, kind: &str, aggregate: Value| {
        let mut window = json!({"relation": "readings", "last": last});
        window.as_object_mut().expect("object").extend(aggregate.as_object().expect("object").clone());
        json!({"name": name, "type": {"kind": kind}, "window": window, "location": at(2)})
    };
    let mut id = feature("id", "int", "key");
    id["event_id"] = true.into();
    json!({
        "format": "creta.bundle/1",
        "modules": {},
        "lock": {"python": "3.11"},
        "graph": {
            "format": "creta.graph/1",
            "project": "sensors",
            "entities": [
                {"name": "Reading", "location": at(1), "features": [
                    id, feature("sensor", "str", "value"), feature("value", "float", "value"), feature("at", "datetime", "event_time"),
                ]},
                {"name": "Sensor", "location": at(2),
                 "features": [
                    feature("name", "str", "key"),
                    windowed("readings_count", "int", json!({"aggregate": "count"})),
                    windowed("highest", "float", json!({"aggregate": "max", "value": {"op": "feature", "path": "Reading.value"}})),
                 ],
                 "relations": [{"name": "readings", "kind": "many", "target": "Reading", "on": [["name", "sensor"]], "location": at(2)}]},
            ],
            "sources": [{
                "name": "readings", "entity": "Reading", "format": "parquet", "path": "data/readings.parquet",
                "event_time": {"column": "at"}, "arrival": {"delay": "0s"}, "location": at(3),
            }],
            "queries": [{
                "name": "state", "version": 1, "inputs": ["Sensor.name"], "outputs": ["Sensor.highest[7d]"], "location": at(4),
            }],
        },
    })
}

fn at(line: u32) -> Value {
    json!({"file": "features.py", "line": line})
}

fn rows_of(file: &Path) -> RecordBatch {
    let file = std::fs::File::open(file).expect("file");
    let mut reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("parquet").build().expect("reader");
    reader.next().expect("a batch").expect("readable")
}

#[test]
fn a_team_gets_from_nothing_to_verified_answers() {
    let mut place = Place::new();
    let made = place.serve();
    place.readings();

    let checked = place.ok(&["check", "project"]);
    assert_eq!((&checked["entities"], &checked["features"], &checked["queries"]), (&json!(2), &json!(7), &json!(1)));
    let plan = place.text(&["plan", "state", "--project", "project"]);
    assert!(plan.contains("largest Reading.value over the last 7d"), "{plan}");

    assert_eq!(place.ok(&["deploy", "project"])["revision"], 1);
    assert_eq!(place.text(&["diff", "project"]), "nothing changes\n");
    let loaded = place.ok(&["ingest", "--all", "--project", "project"]);
    assert_eq!((&loaded[0]["rows"], &loaded[0]["accepted"]), (&json!(3), &json!(3)));

    // The reading at noon is not before noon.
    let asked = ["query", "-i", "Sensor.name=a", "-o", "Sensor.highest[7d],Sensor.readings_count[7d]"];
    let answer = place.ok(&[&asked[..], &["--as-of", "2025-03-01T12:00:00Z"]].concat());
    assert_eq!((&answer["columns"][0]["values"][0], &answer["columns"][1]["values"][0]), (&json!(2.0), &json!(2)));
    let named = place.ok(&["query", "-i", "Sensor.name=a", "--name", "state@1", "--as-of", "2025-03-01T12:00:01Z"]);
    assert_eq!(named["columns"][0]["values"][0], 4.0);
    let explained = place.text(&["plan", "state", "--deployed"]);
    assert_eq!(explained, plan, "server and command explain alike");

    let asked_at = TimestampMicrosecondArray::from(vec![NOON, NOON - HOUR, NOON - 9 * HOUR]).with_timezone("UTC");
    let names: ArrayRef = Arc::new(StringArray::from(vec!["a", "a", "b"]));
    place.parquet("spine.parquet", vec![("name", names), ("as_of", Arc::new(asked_at))]);
    let train = ["train", "--spine", "spine.parquet", "--as-of", "as_of", "--input", "Sensor.name=name"];
    let trained =
        place.ok(&[&train[..], &["--features", "Sensor.highest[7d]", "--states", "--out", "set.parquet"]].concat());
    assert_eq!((&trained["rows"], &trained["columns"]), (&json!(3), &json!(4)));
    let set = rows_of(&place.path("set.parquet"));
    let highest = set.column(2).as_any().downcast_ref::<Float64Array>().expect("floats");
    assert_eq!(highest.iter().collect::<Vec<_>>(), [Some(2.0), Some(1.0), None]);

    let named = [&train[..], &["--features", "Sensor.highest[7d]", "--name", "peaks"]].concat();
    assert_eq!(place.ok(&named)["version"], 1);
    let kept = place.text(&named);
    assert!(kept.starts_with("3 rows and 1 feature, kept as `peaks@2`"), "{kept}");
    assert_eq!(place.ok(&["dataset", "list"])["datasets"][0]["versions"][1]["rows"], 3);
    assert!(place.text(&["dataset", "list"]).contains("peaks@2"));
    assert!(place.text(&["dataset", "describe", "peaks@1"]).contains("Sensor.highest[7d]"));
    let profile = place.text(&["dataset", "profile", "peaks", "--columns", "Sensor.highest[7d]", "--preview", "2"]);
    assert!(profile.contains("1 missing") && profile.contains("1.5000") && profile.contains("row 2"), "{profile}");
    let diff = place.text(&["dataset", "diff", "peaks@1", "peaks@2"]);
    assert_eq!(diff.trim_end(), "peaks@1 to peaks@2: 3 rows in both, 0 only before, 0 only after\nthe same");
    place.ok(&["dataset", "download", "peaks@1", "--out", "peaks.parquet"]);
    assert_eq!(rows_of(&place.path("peaks.parquet")).num_columns(), 3);
    place.ok(&["dataset", "download", "peaks@1", "--out", "peaks.arrows", "--states"]);
    assert!(place.path("peaks.arrows").metadata().expect("written").len() > 100);
    assert_eq!(place.ok(&["dataset", "rename", "peaks", "summits"])["name"], "summits");
    assert_eq!(place.ok(&["dataset", "retire", "summits@1"])["state"]["is"], "retired");
    assert_eq!(place.refused(&["dataset", "profile", "summits@1"]).1, "dataset/retired");

    let audit = [&train[..], &["--features", "Sensor.highest[7d]", "--audit-leakage"]].concat();
    let clean = place.text(&audit);
    assert_eq!(clean.trim_end(), "1 feature and 3 rows looked at: no leak found");

    let verified = place.text(&["verify", "--samples", "100"]);
    assert!(verified.contains("planted fault: seen\nverify: compared "), "{verified}");
    assert!(verified.trim_end().ends_with("differences 0"), "{verified}");

    place.export(&bundle(&[1, 7]));
    let difference = place.text(&["diff", "project"]);
    assert!(difference.starts_with("~ feature Sensor.highest"), "{difference}");

    let log = place.ok(&["audit", "show", "--limit", "1000", "--profile", "admin"]);
    let lines = log["entries"].as_array().expect("entries");
    let deploy = lines.iter().find(|line| line["entry"]["action"] == "deploy").expect("the deploy was recorded");
    assert_eq!(place.ok(&["audit", "verify", "--profile", "admin"])["verified"], true);
    let index = deploy["index"].to_string();
    let key = made["audit_verifier_key"].as_str().expect("key");
    let exported = place.ok(&["audit", "export", "--out", "log", "--key", key, "--profile", "admin"]);
    assert_eq!(exported["since"], json!(null));
    std::fs::copy(place.path("log/checkpoint"), place.path("older")).expect("copied");

    place.ok(&["audit", "prove", &index, "--out", "entry.tlog-proof", "--profile", "admin"]);
    assert_eq!(place.ok(&["audit", "check", "entry.tlog-proof", "--key", key])["entry"]["action"], "deploy");
    place.ok(&["audit", "prove", "--since", "older", "--out", "growth", "--profile", "admin"]);
    let grown = place.ok(&["audit", "check", "growth", "--key", key]);
    assert_eq!(grown["old"]["size"], exported["entries"]);
    assert!(grown["new"]["size"].as_u64() > grown["old"]["size"].as_u64(), "{grown}");

    // An older export is brought up to date, and verifies without the server.
    let updated = place.ok(&["audit", "export", "--out", "log", "--profile", "admin"]);
    assert_eq!(updated["since"], exported["entries"]);
    let offline = ["audit", "verify", "--export", "log", "--key", key];
    let verified = place.ok(&[&offline[..], &["--since", "older"]].concat());
    assert_eq!((&verified["root"], &verified["since"]), (&updated["root"], &exported["entries"]));
    let bundle = place.path(&format!("log/tile/entries/000.p/{}", updated["entries"]));
    let mut edited = std::fs::read(&bundle).expect("there");
    let at = edited.windows(11).position(|part| part == b"deploy.done").expect("it was deployed");
    edited[at + 7] = b'g';
    std::fs::write(&bundle, edited).expect("write");
    assert_eq!(place.refused(&offline), (1, "audit/not-proven".into()));

    let forged = std::fs::read_to_string(place.path("entry.tlog-proof")).expect("file");
    let forged = forged.replacen(&format!("index {index}"), "index 0", 1);
    std::fs::write(place.path("entry.tlog-proof"), forged).expect("write");
    assert_eq!(place.refused(&["audit", "check", "entry.tlog-proof", "--key", key]), (1, "audit/not-proven".into()));
}

#[test]
fn an_account_that_requires_proof_works_as_any_other_and_a_planted_one_gets_nothing() {
    let mut place = Place::new();
    place.serve();
    let create = ["service-account", "create", "bound", "--tenant", "acme", "--role", "reader", "--require-proof"];
    place.ok(&[&create[..], &["--out", "bound.json", "--profile", "admin"]].concat());
    place.ok(&["login", "--name", "bound", "--from", "bound.json"]);
    place.ok(&["server", "status", "--profile", "bound"]);
    let listed = place.text(&["service-account", "list", "--tenant", "acme", "--profile", "admin"]);
    assert!(listed.contains("required") && listed.contains("if shown"), "{listed}");
    let rotate = ["service-account", "rotate", "bound@acme", "--require-proof=false", "--out", "free.json"];
    place.ok(&[&rotate[..], &["--profile", "admin"]].concat());
    place.ok(&["login", "--name", "free", "--from", "free.json"]);
    let listed = place.text(&["service-account", "list", "--tenant", "acme", "--profile", "admin"]);
    assert!(!listed.contains("required"), "{listed}");

    let plant = ["canary", "token", "root", "--tenant", "acme", "--out", "root.json", "--profile", "admin"];
    assert_eq!(place.ok(&plant)["client_id"], "root@acme");
    assert_eq!(place.refused(&["login", "--name", "root", "--from", "root.json"]).1, "auth/bad-credentials");
    let list = ["canary", "list", "--tenant", "acme", "--profile", "admin"];
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while place.ok(&list)["canary_tokens"][0]["times"] != 1 {
        assert!(std::time::Instant::now() < deadline, "its use is not told");
    }
    assert!(place.text(&list).contains("1 times"), "{}", place.text(&list));
    place.ok(&["canary", "end", "root@acme", "--profile", "admin"]);
}

#[test]
fn refusals_have_exit_codes_and_the_servers_own_words() {
    let mut place = Place::new();
    assert_eq!(place.refused(&["query", "-o", "Sensor.name"]), (2, "profile/unknown".into()));
    place.serve();

    place.account("reader", "reader");
    place.ok(&["login", "--name", "reader", "--from", "reader.json"]);
    assert_eq!(place.refused(&["deploy", "project", "--profile", "reader"]), (4, "access/denied".into()));
    assert_eq!(place.refused(&["tenant", "list"]), (4, "access/denied".into()));
    assert_eq!(place.refused(&["query", "-o", "Sensor.name"]), (1, "not-found/deployment".into()));

    place.ok(&["deploy", "project"]);
    let done = place.run(&["query", "-i", "Sensor.name=a", "-o", "Sensor.hihgest[7d]"]);
    assert_eq!(done.code, 2);
    assert!(done.json.to_string().contains("Sensor.highest"), "the closest name is shown: {}", done.json);

    place.ok(&["service-account", "revoke", "reader@acme", "--profile", "admin"]);
    assert_eq!(place.refused(&["server", "status", "--profile", "missing"]), (2, "profile/unknown".into()));
    assert_eq!(place.refused(&["query", "-o", "Sensor.name", "--profile", "reader"]).0, 4);

    // A secret is written once, to a file that must be new, before anything is made.
    let again = ["service-account", "create", "x", "--tenant", "acme", "--role", "reader", "--out", "demo.json"];
    assert_eq!(place.refused(&[&again[..], &["--profile", "admin"]].concat()), (2, "file/already-there".into()));
    let mode = std::fs::metadata(place.path("demo.json")).expect("file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let mut broken = bundle(&[7]);
    broken["graph"]["entities"][1]["relations"][0]["target"] = "Raeding".into();
    place.export(&broken);
    assert_eq!(place.run(&["check", "project"]).code, 2);
    assert_eq!(place.run(&["deploy", "project"]).code, 2);

    let server = place.server.as_mut().expect("running");
    server.kill().and_then(|()| server.wait()).expect("ends");
    assert_eq!(place.refused(&["query", "-o", "Sensor.name"]), (3, "network/unreachable".into()));
}
