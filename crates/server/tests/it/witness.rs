//! A witness as another operator runs it, a log that asks it to cosign, and what happens when the two disagree.

use std::path::{Path, PathBuf};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use creta_proof::witness::AddCheckpoint;
use creta_proof::{Checkpoint, Hash, KeyKind, SignedCheckpoint, Tree, VerifierKey};
use creta_server::witness::{
    ForkNotice, RunningWitness, WitnessClient, WitnessInit, WitnessOptions, WitnessServeOptions, accept_fork, add_log,
    init, start, watched_logs,
};
use creta_server::{ServeOptions, ServerError, add_witness, declare_fork};
use serde_json::json;
use tempfile::TempDir;
use ureq::Agent;

use crate::support::{Reply, Server, agent, copy_folder, read_reply};

const ORIGIN: &str = "creta/prod/audit";

/// A witness in a folder and on a port of its own.
pub(crate) struct Witness {
    pub(crate) made: WitnessInit,
    running: Option<RunningWitness>,
    address: std::net::SocketAddr,
    agent: Agent,
    folder: TempDir,
}

impl Witness {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let made = init(&folder.path().join("data"), &WitnessOptions::named("witness.example.com/w1")).expect("made");
        let running = serve(&made.folder, "127.0.0.1:0".parse().expect("valid"));
        let (agent, address) = (agent(&made.ca), running.address());
        Self { made, running: Some(running), address, agent, folder }
    }

    /// One that watches a log already.
    pub(crate) fn of(vkey: &str) -> Self {
        let witness = Self::new();
        add_log(&witness.made.folder, vkey).expect("watched");
        witness
    }

    pub(crate) fn stop(&mut self) {
        self.running.take().expect("running").stop();
    }

    /// At the address it had before.
    pub(crate) fn start(&mut self) {
        self.running = Some(serve(&self.made.folder, self.address));
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    fn key(&self) -> VerifierKey {
        VerifierKey::parse(&self.made.key).expect("its own")
    }

    fn post(&self, body: &str) -> Reply {
        let url = format!("{}/add-checkpoint", self.url());
        read_reply(self.agent.post(&url).send(body).expect("an answer"))
    }

    fn get(&self, path: &str) -> Reply {
        read_reply(self.agent.get(format!("{}{path}", self.url())).call().expect("an answer"))
    }

    /// The newest checkpoint that it cosigned.
    fn newest(&self) -> Option<SignedCheckpoint> {
        let hash = hex::encode(Hash::of(&[ORIGIN.as_bytes()]).as_bytes());
        let reply = self.get(&format!("/checkpoint/{hash}"));
        (reply.status == 200).then(|| SignedCheckpoint::parse(&reply.text()).expect("a note"))
    }

    fn file(&self) -> PathBuf {
        let hash = hex::encode(Hash::of(&[ORIGIN.as_bytes()]).as_bytes());
        self.folder.path().join(format!("data/logs/{hash}.json"))
    }
}

fn serve(folder: &Path, listen: std::net::SocketAddr) -> RunningWitness {
    start(&WitnessServeOptions { folder: folder.to_owned(), listen: Some(listen) }).expect("starts")
}

/// A log with a key that a test can also sign another history with.
struct FakeLog {
    pair: Ed25519KeyPair,
    key: VerifierKey,
    tree: Tree,
}

impl FakeLog {
    fn new(entries: u64, seed: u8) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("32 bytes");
        let key = VerifierKey::new(KeyKind::Log, ORIGIN, pair.public_key().as_ref().try_into().expect("32 bytes"));
        let mut log = Self { key: key.expect("a name"), pair, tree: Tree::default() };
        (0..entries).for_each(|n| log.tree.push(Hash::leaf(&n.to_be_bytes())));
        log
    }

    /// The same until `common`, then other entries.
    fn fork(&self, common: u64, entries: u64, seed: u8) -> Self {
        let mut fork = Self::new(common, seed);
        (common..entries).for_each(|_| fork.tree.push(Hash::leaf(b"another")));
        fork
    }

    fn checkpoint(&self, size: u64) -> SignedCheckpoint {
        let root = self.tree.root(size).expect("within");
        Checkpoint { origin: ORIGIN.to_owned(), size, root }
            .sign(&self.key, |text| self.pair.sign(text).as_ref().try_into().expect("64 bytes"))
    }

    fn request(&self, old: u64, new: u64) -> String {
        let proof = if old == 0 { Vec::new() } else { self.tree.consistency(old, new).expect("within") };
        AddCheckpoint { old, proof, checkpoint: self.checkpoint(new) }.to_string()
    }
}

#[test]
fn each_answer_is_the_one_of_the_specification() {
    let (log, witness) = (FakeLog::new(20, 7), Witness::new());
    let stranger = witness.post(&log.request(0, 5));
    assert_eq!(stranger.status, 404, "{}", stranger.text());
    add_log(&witness.made.folder, &log.key.to_string()).expect("watched while it runs");
    assert!(witness.newest().is_none());

    let first = witness.post(&log.request(0, 5));
    assert_eq!(first.status, 200, "{}", first.text());
    let cosigned = log.checkpoint(5).with_signatures(&first.text()).expect("a line");
    cosigned.cosigned(&witness.key()).expect("the witness's own");
    assert_eq!(first.text().lines().count(), 1);
    assert_eq!(witness.post(&log.request(5, 12)).status, 200, "larger, with a proof");
    assert_eq!(witness.post(&log.request(12, 12)).status, 200, "the same once more");

    for (what, old, new) in [("from the start", 0, 20), ("from before", 5, 20), ("the newest as if new", 0, 12)] {
        let elsewhere = witness.post(&log.request(old, new));
        assert_eq!((elsewhere.status, elsewhere.text().as_str()), (409, "12\n"), "{what}");
        assert_eq!(elsewhere.content_type, "text/x.tlog.size", "{what}");
    }
    let other_key = FakeLog::new(20, 8);
    assert_eq!(witness.post(&other_key.request(12, 20)).status, 403);
    let request = log.request(12, 20);
    for (what, status, body) in [
        ("an old size beyond the new", 400, request.replacen("old 12", "old 21", 1)),
        ("no old size", 400, request.replacen("old 12\n", "", 1)),
        ("no text", 400, "old \u{0}".to_owned()),
        (
            "a proof of something else",
            422,
            AddCheckpoint {
                old: 12,
                proof: log.tree.consistency(11, 20).expect("within"),
                checkpoint: log.checkpoint(20),
            }
            .to_string(),
        ),
        ("no proof", 422, AddCheckpoint { old: 12, proof: vec![], checkpoint: log.checkpoint(20) }.to_string()),
        ("too much", 413, "x".repeat(65 << 10)),
    ] {
        let refused = witness.post(&body);
        assert_eq!(refused.status, status, "{what}: {}", refused.text());
    }
    assert_eq!(witness.newest().expect("cosigned").claimed().size, 12, "no refusal changed anything");
    assert_eq!(witness.get("/checkpoint/../witness.key").status, 404);
    assert_eq!(witness.get(&format!("/checkpoint/{}", "0".repeat(64))).status, 404);
}

#[test]
fn attack_ch44_a_request_that_is_sent_again_later_leads_nowhere_back() {
    let (log, mut witness) = (FakeLog::new(20, 7), Witness::new());
    add_log(&witness.made.folder, &log.key.to_string()).expect("watched");
    let requests = [log.request(0, 5), log.request(5, 12), log.request(12, 20)];
    for request in &requests {
        assert_eq!(witness.post(request).status, 200);
    }
    witness.stop();
    witness.start();
    for request in &requests {
        let replayed = witness.post(request);
        assert_eq!((replayed.status, replayed.text().as_str()), (409, "20\n"));
    }
    assert_eq!(witness.newest().expect("cosigned").claimed(), log.checkpoint(20).claimed());
}

#[test]
fn attack_ch44_two_histories_are_refused_and_kept_as_evidence() {
    let log = FakeLog::new(20, 7);
    let (fork, witness) = (log.fork(10, 25, 7), Witness::of(&log.key.to_string()));
    assert_eq!(witness.post(&log.request(0, 20)).status, 200);
    assert_eq!(witness.post(&fork.request(20, 25)).status, 422);
    let rewound = witness.post(&fork.request(10, 25));
    assert_eq!((rewound.status, rewound.text().as_str()), (409, "20\n"));
    for _ in 0..2 {
        assert_eq!(witness.post(&fork.request(20, 20)).status, 409, "the same size with another root");
    }
    assert_eq!(witness.newest().expect("cosigned").claimed(), log.checkpoint(20).claimed());

    let kept = watched_logs(&witness.made.folder).expect("readable").remove(0);
    let [evidence] = &kept.evidence[..] else { panic!("kept once: {kept:?}") };
    assert_eq!(evidence.contradicting, fork.checkpoint(20).to_string());
    let shown = WitnessClient::new(&witness.url(), &witness.made.ca).expect("a client").log(ORIGIN);
    assert_eq!(shown.expect("an answer"), Some(kept), "monitors see all of it");
}

#[test]
fn what_was_cosigned_is_on_disk_before_the_answer_and_outlives_a_restart() {
    let (log, mut witness) = (FakeLog::new(20, 7), Witness::new());
    add_log(&witness.made.folder, &log.key.to_string()).expect("watched");
    let line = witness.post(&log.request(0, 5)).text();
    let stored = std::fs::read_to_string(witness.file()).expect("written");
    let stored: serde_json::Value = serde_json::from_str(&stored).expect("JSON");
    let note = stored["checkpoint"].as_str().expect("a note").to_owned();
    assert!(note.ends_with(&line), "{note}");
    witness.stop();
    witness.start();
    assert_eq!(witness.newest().expect("cosigned").to_string(), note);
    assert_eq!(add_log(&witness.made.folder, &log.key.to_string()).expect("the same").checkpoint, Some(note));
    let other = add_log(&witness.made.folder, &FakeLog::new(1, 8).key.to_string()).expect_err("another key");
    assert_eq!(other.to_problem().code, "witness/other-key");
    let not_a_log = add_log(&witness.made.folder, &witness.made.key).expect_err("a witness's key");
    assert_eq!(not_a_log.to_problem().code, "witness/key");
}

#[test]
fn of_requests_that_come_at_once_one_wins_and_the_state_never_goes_back() {
    let log = FakeLog::new(40, 7);
    let witness = Witness::of(&log.key.to_string());
    assert_eq!(witness.post(&log.request(0, 10)).status, 200);
    let statuses: Vec<(u64, u16)> = std::thread::scope(|threads| {
        let (witness, log) = (&witness, &log);
        let asking: Vec<_> =
            (11..=26).map(|size| threads.spawn(move || (size, witness.post(&log.request(10, size)).status))).collect();
        asking.into_iter().map(|asked| asked.join().expect("no panic")).collect()
    });
    let won: Vec<u64> = statuses.iter().filter(|(_, status)| *status == 200).map(|(size, _)| *size).collect();
    assert_eq!(won.len(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|(_, status)| [200, 409].contains(status)), "{statuses:?}");
    assert_eq!(witness.newest().expect("cosigned").claimed().size, won[0]);
}

#[test]
fn a_witness_speaks_tls_only_and_its_key_is_its_owners() {
    use std::io::{Read as _, Write as _};
    use std::os::unix::fs::PermissionsExt as _;
    let witness = Witness::new();
    let mut stream = std::net::TcpStream::connect(witness.address).expect("listens");
    stream.write_all(b"GET /checkpoint/0 HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("sent");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer); // A reset is an answer too: none.
    assert!(!answer.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&answer));
    for file in ["witness.key", "tls/ca.key", "witness.toml"] {
        let mode = std::fs::metadata(witness.made.folder.join(file)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let again = init(&witness.made.folder, &WitnessOptions::named("w2")).expect_err("there already");
    assert!(matches!(again, ServerError::AlreadyThere { .. }));
    let bad = init(&witness.folder.path().join("bad"), &WitnessOptions::named("two words")).expect_err("no name");
    assert_eq!(bad.to_problem().code, "witness/name");
}

/// A server whose log a witness cosigns.
fn witnessed() -> (Server, Witness) {
    let mut server = Server::new();
    let witness = Witness::of(&server.report.audit_verifier_key);
    server.stop();
    name_witness(&server, &witness);
    server.start();
    (server, witness)
}

fn name_witness(server: &Server, witness: &Witness) {
    add_witness(&server.data(), &witness.url(), &witness.made.key, &witness.made.ca).expect("added");
}

fn refused_start(server: &Server) -> creta_model::Problem {
    let Err(error) = creta_server::start(&ServeOptions { folder: server.data(), listen: None }) else {
        panic!("it started")
    };
    error.to_problem()
}

/// The data folder as it is now, for putting back later.
fn copied(server: &Server) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let copy = folder.path().join("copy");
    copy_folder(&server.data(), &copy);
    (folder, copy)
}

fn put_back(server: &Server, copy: &Path) {
    std::fs::remove_dir_all(server.data()).expect("removed");
    copy_folder(copy, &server.data());
}

#[test]
fn every_checkpoint_is_cosigned_and_served_with_both_signatures() {
    let (mut server, witness) = witnessed();
    let cosigned = server.running().keep_log().expect("kept").expect("cosigned");
    let log_key = VerifierKey::parse(&server.report.audit_verifier_key).expect("its own");
    cosigned.cosigned(&witness.key()).expect("by the witness");
    assert_eq!(witness.newest().expect("cosigned").claimed(), cosigned.claimed());

    server.tenant("acme");
    let grown = server.running().keep_log().expect("kept").expect("cosigned");
    assert!(grown.claimed().size > cosigned.claimed().size);
    let admin = server.admin_token();
    let served = SignedCheckpoint::parse(&server.get("/v1/audit/checkpoint", &admin).text()).expect("a note");
    served.verify(&log_key).expect("by the log");
    served.cosigned(&witness.key()).expect("by the witness");
    let newest = server.get("/v1/audit/checkpoint?newest=true", &admin).text();
    let newest = SignedCheckpoint::parse(&newest).expect("a note");
    assert!(newest.claimed().size > served.claimed().size && newest.cosigned(&witness.key()).is_err());

    let entries = server.get("/v1/audit/entries?limit=1000", &admin).text();
    assert!(entries.contains("log.heartbeat"), "{entries}");
    // The end of a run is cosigned too, and known again after a restart.
    server.stop();
    let last = witness.newest().expect("cosigned");
    assert!(last.claimed().size > newest.claimed().size);
    server.start();
    let served = server.get("/v1/audit/checkpoint", &server.admin_token()).text();
    let served = SignedCheckpoint::parse(&served).expect("a note");
    assert!(served.claimed().size >= last.claimed().size && served.cosigned(&witness.key()).is_ok());
}

#[test]
fn a_witness_that_is_down_or_another_one_costs_nothing_but_its_cosignature() {
    let (mut server, mut witness) = witnessed();
    let before = server.running().keep_log().expect("kept").expect("cosigned");
    witness.stop();
    server.tenant("acme");
    let kept = server.running().keep_log().expect("kept").expect("the one before");
    assert_eq!(kept.claimed(), before.claimed());
    server.stop();
    server.start();
    server.tenant("globex");
    witness.start();
    let after = server.running().keep_log().expect("kept").expect("cosigned");
    assert!(after.claimed().size > before.claimed().size);
    let metrics = server.get("/metrics", &server.admin_token()).text();
    assert!(metrics.contains("creta_witness_requests_total"), "{metrics}");

    // Another witness at that address, with the authority that is trusted, signs with a key that nobody named.
    let mut other = Server::new();
    let impostor = Witness::of(&other.report.audit_verifier_key);
    other.stop();
    add_witness(&other.data(), &impostor.url(), &witness.made.key, &impostor.made.ca).expect("added");
    other.start();
    assert_eq!(other.running().keep_log().expect("kept"), None);
}

#[test]
fn attack_ch44_yesterdays_data_folder_is_noticed_through_the_witness() {
    let (mut server, witness) = witnessed();
    server.tenant("acme");
    let [stolen, kept] = ["stolen", "kept"].map(|name| server.account("acme", name, "reader"));
    server.stop();
    let (_folder, yesterday) = copied(&server);
    server.start();
    server.tenant("globex");
    // What takes this away is lost with the log.
    server.post(&format!("/v1/service-accounts/{}/revoke", stolen.client_id), &server.admin_token(), &json!({})).ok();
    server.stop();
    let left = witness.newest().expect("cosigned");
    put_back(&server, &yesterday);

    let entries = || std::fs::metadata(server.data().join("prod/control-plane/audit/entries")).expect("there").len();
    let before = entries();
    let problem = refused_start(&server);
    assert_eq!(problem.code, "audit/behind-witness");
    let text = problem.to_string();
    for part in ["witness.example.com/w1", &left.claimed().size.to_string(), "older copy", "creta audit fork"] {
        assert!(text.contains(part), "{part} is missing: {text}");
    }
    assert_eq!(entries(), before, "nothing was appended");

    // The operator declares it; the witness's operator has not accepted it yet.
    let out = tempfile::tempdir().expect("a folder");
    let notices = declare_fork(&server.data(), "the disk was lost", out.path()).expect("declared");
    let [notice] = &notices[..] else { panic!("one for each witness: {notices:?}") };
    assert_eq!(notice.left.lines().nth(1), left.as_str().lines().nth(1), "it names the head that is left");
    server.start();
    // Nobody knows what was taken away since: no secret opens anything until it is rotated, at this start and no other.
    for account in [&stolen, &kept] {
        assert_eq!(server.ask_token(&account.client_id, &account.secret).status, 401, "{}", account.client_id);
    }
    let rotate = format!("/v1/service-accounts/{}/rotate", kept.client_id);
    let new = server.post(&rotate, &server.admin_token(), &json!({"overlap_hours": 0})).ok();
    server.stop();
    server.start();
    server.token(&kept.client_id, new["client_secret"].as_str().expect("a secret"));
    server.running().keep_log().expect("kept");
    assert_eq!(witness.newest().expect("cosigned").claimed(), left.claimed(), "the witness does not follow by itself");
    let entries = server.get("/v1/audit/entries?limit=1000", &server.admin_token()).text();
    assert!(entries.contains("fork.notice") && !entries.contains("the disk was lost"), "{entries}");

    // What was changed, meant for somebody else or without its entry is no notice.
    let written: ForkNotice =
        serde_json::from_slice(&std::fs::read(out.path().join("fork-1.json")).expect("written")).expect("a notice");
    assert_eq!(&written, notice);
    let other = Witness::of(&server.report.audit_verifier_key);
    for (what, folder, bad) in [
        ("another reason", &witness, ForkNotice { reason: "nothing was lost".to_owned(), ..written.clone() }),
        ("another head", &witness, ForkNotice { left: written.checkpoint.clone(), ..written.clone() }),
        (
            "another entry",
            &witness,
            ForkNotice { entry: written.entry.replacen("left-size", "left-s1ze", 1), ..written.clone() },
        ),
        ("another place", &witness, ForkNotice { index: written.index - 1, ..written.clone() }),
        ("another witness", &other, written.clone()),
        ("another format", &witness, ForkNotice { format: "creta.fork/2".to_owned(), ..written.clone() }),
    ] {
        let error = accept_fork(&folder.made.folder, &bad).expect_err(what);
        assert_eq!(error.to_problem().code, "witness/fork-notice", "{what}");
    }
    assert_eq!(witness.newest().expect("cosigned").claimed(), left.claimed());

    let log = accept_fork(&witness.made.folder, &written).expect("accepted");
    assert_eq!((log.forks[0].reason.as_str(), log.forks[0].left.as_str()), ("the disk was lost", left.as_str()));
    let again = accept_fork(&witness.made.folder, &written).expect_err("it works once");
    assert!(again.to_problem().message.contains("used before"), "{again}");
    let cosigned = server.running().keep_log().expect("kept").expect("cosigned");
    assert_eq!(witness.newest().expect("cosigned").claimed(), cosigned.claimed());
    let kept = watched_logs(&witness.made.folder).expect("readable").remove(0);
    assert_eq!(kept.forks, log.forks, "both heads stay");

    // What was accepted is no leave for the history that was left.
    server.stop();
    let nothing = declare_fork(&server.data(), "again", out.path()).expect_err("there is no fork");
    assert_eq!(nothing.to_problem().code, "audit/no-fork");
}

#[test]
fn attack_ch44_a_rolled_back_log_is_halted_when_its_witness_comes_back() {
    let (mut server, mut witness) = witnessed();
    server.stop();
    let (_folder, yesterday) = copied(&server);
    server.start();
    server.tenant("acme");
    server.stop();
    put_back(&server, &yesterday);
    witness.stop();
    server.start(); // Nobody can be asked.
    let admin = server.admin_token();
    server.tenant("globex");
    witness.start();
    let error = server.running().keep_log().expect_err("the witness knows more");
    assert_eq!(error.to_problem().code, "audit/behind-witness");
    for reply in [
        server.get("/v1/tenants", &admin),
        server.post("/v1/tenants", &admin, &json!({"tenant": "initech"})),
        server.get("/v1/audit/checkpoint?newest=true", &admin),
    ] {
        assert_eq!(reply.problem(503), "audit/behind-witness");
    }
    server.stop(); // A halted server still stops in order.
    assert_eq!(refused_start(&server).code, "audit/behind-witness");
    put_back(&server, &yesterday);
    assert_eq!(refused_start(&server).code, "audit/behind-witness");
}

#[test]
fn attack_ch44_a_lying_witness_cannot_stop_a_log() {
    let (mut server, mut witness) = witnessed();
    server.running().keep_log().expect("kept").expect("cosigned");
    server.stop();
    witness.stop();
    // It claims to have seen a thousand entries, and shows a checkpoint that somebody else signed.
    let mut state: serde_json::Value =
        serde_json::from_slice(&std::fs::read(witness.file()).expect("there")).expect("JSON");
    state["checkpoint"] = FakeLog::new(1_000, 7).checkpoint(1_000).to_string().into();
    std::fs::write(witness.file(), state.to_string()).expect("written");
    witness.start();
    server.start();
    server.tenant("acme");
    server.running().keep_log().expect("kept");
    server.tenant("globex");
}

#[test]
fn a_witness_is_named_once_with_its_own_key_and_over_tls() {
    let (server, witness) = witnessed();
    let text = || std::fs::read_to_string(server.data().join("config.toml")).expect("readable");
    let before = text();
    assert!(before.starts_with("# Configuration of a Creta server"), "comments stay: {before}");
    let ca = &witness.made.ca;
    let log_key = &server.report.audit_verifier_key;
    for (what, url, key) in [
        ("again", witness.url(), witness.made.key.as_str()),
        ("a log's key", witness.url(), log_key.as_str()),
        ("no TLS", witness.url().replacen("https", "http", 1), Witness::new().made.key.as_str()),
    ] {
        let error = add_witness(&server.data(), &url, key, ca).expect_err(what);
        assert_eq!(error.to_problem().code, "server/config", "{what}");
    }
    assert_eq!(text(), before);
}

#[test]
fn attack_ci12_documents_that_were_edited_do_not_keep_the_log_from_being_signed_and_seen() {
    let (mut server, witness) = witnessed();
    let before = server.running().keep_log().expect("kept").expect("cosigned");
    let database = rusqlite::Connection::open(server.data().join("metadata.sqlite")).expect("opens");
    database.execute("UPDATE document SET sealed = x'00'", []).expect("edited");
    server.running().keep_log().expect_err("the epoch cannot be read");
    let seen = witness.newest().expect("cosigned");
    assert!(seen.claimed().size > before.claimed().size);
    server.stop(); // In order, and that is seen too.
    assert!(witness.newest().expect("cosigned").claimed().size > seen.claimed().size);
}
