//! Backups, and going on from one: a program that copies what is sealed and opens nothing, and two people who approve.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use creta_identity::key::{KeyKind, SigningKey};
use creta_identity::recovery::{Approval, Statement, sign_registration};
use creta_model::{EnvironmentClass, TenantId};
use creta_server::{
    AskedRecovery, BackupHead, BackupManifest, MANIFEST_FILE, Recovered, ServeOptions, ServerError, accept_older,
    declare_fork, draw_recovery, recover, start, verify_backup,
};
use serde_json::{Value, json};

use crate::people::{Someone, appoint, authenticator, now, random, sign_in_with};
use crate::provider::Provider;
use crate::soft_authenticator::SoftAuthenticator;
use crate::support::{Account, INGEST, Reply, Server, bundle, copy_folder, facts};
use crate::trust::outcome_of;

const REASON: &str = "The disk of the shop's facts was lost in the night";
const NEED: &str = "Looks after the shop while others sleep";

/// A server of class staging with a shop, an administrator ana who has a second account, a security lead ben, and somebody
/// of the shop who sees its values.
pub(crate) struct World {
    pub(crate) server: Server,
    provider: Provider,
    authenticators: [SoftAuthenticator; 4],
    feed: Account,
    scoring: Account,
    backup: Account,
    pub(crate) ana: Someone,
    ana_two: Someone,
    pub(crate) ben: Someone,
    vera: Someone,
    folder: tempfile::TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::where_ana_has_two_accounts(true)
    }

    /// With what is known of them or not.
    fn where_ana_has_two_accounts(known: bool) -> Self {
        let provider = Provider::start();
        let mut server = Server::configured(EnvironmentClass::Staging, &provider.config());
        server.tenant("acme");
        let programs = [("release", "deployer"), ("feed", "ingester"), ("scoring", "reader")];
        let [release, feed, scoring] = crate::secrets::programs_by_two(&server, &provider, programs);
        server.post("/v1/deploy", &release.token, &bundle()).ok();
        let body = json!({"name": "copies", "role": "backup"});
        let made = server.post("/v1/provisioners", &server.admin_token(), &body).ok();
        let text = |name: &str| made[name].as_str().expect("text").to_owned();
        let (client_id, secret) = (text("client_id"), text("client_secret"));
        let backup = Account { token: server.token(&client_id, &secret), client_id, secret };
        appoint(&mut server, &provider, &[("ana", "administrator"), ("ben", "security-lead")]);
        let mut authenticators = [1, 2, 3, 4].map(|seed| authenticator(&server, seed));
        let [ana, ana_two, ben, vera] = all_sign_in(&server, &provider, &mut authenticators);
        let same = known.then_some("ana@example.com");
        for (who, body) in [
            ("ana-two", json!({"roles": ["operator"], "need": NEED, "same_human_as": same})),
            ("vera", json!({"roles": ["viewer"], "need": NEED, "tenant": "acme"})),
        ] {
            ana.post(&server, &format!("/v1/persons/{who}@example.com/assign"), &body).ok();
        }
        let folder = tempfile::tempdir().expect("a folder");
        Self { server, provider, authenticators, feed, scoring, backup, ana, ana_two, ben, vera, folder }
    }

    /// Older documents went on, so everybody signs in anew.
    fn come_back(&mut self) {
        assert_eq!(self.ask().problem(401), "auth/bad-token", "no session outlives older documents");
        // The server came back at another port.
        self.authenticators.iter_mut().for_each(|own| own.origin = crate::people::origin(&self.server));
        let back = all_sign_in(&self.server, &self.provider, &mut self.authenticators);
        [self.ana, self.ana_two, self.ben, self.vera] = back;
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A recovery key of somebody, registered.
    pub(crate) fn key(&self, someone: &Someone) -> SigningKey {
        let known = someone.get(&self.server, "/v1/recovery/keys").ok();
        let text = |name: &str| known[name].as_str().expect("text").to_owned();
        let key = SigningKey::from_random(KeyKind::P256, &random());
        let proof = sign_registration(&text("environment_id"), &text("account"), &key);
        let added = someone.post(&self.server, "/v1/recovery/keys", &json!({"key": key.public(), "proof": proof}));
        assert_eq!(added.status, 201, "{}", added.text());
        key
    }

    fn ingest(&self) -> Reply {
        self.server.post_arrow(INGEST, &self.feed.token, &facts())
    }

    /// Vera's question, in her session, which outlives the server.
    fn ask(&self) -> Reply {
        let question = json!({"inputs": {"User.id": [7]}, "outputs": ["User.city"]});
        self.vera.post(&self.server, "/v1/query", &question)
    }

    fn keep_dataset(&self) {
        let rows = crate::support::spine(&[(7, "2025-03-05T00:00:00Z")]);
        let path = "/v1/datasets?name=cities&features=User.city&as_of=at";
        self.server.post_arrow(path, &self.scoring.token, &rows).ok();
    }

    /// The dataset is there with its rows.
    fn has_dataset(&self) {
        let token = self.server.token(&self.scoring.client_id, &self.scoring.secret);
        let rows = self.server.get("/v1/datasets/cities@1/rows", &token).batch();
        assert_eq!((rows.num_rows(), rows.num_columns()), (1, 3));
    }

    /// A backup in a folder, as a client writes it.
    pub(crate) fn back_up(&self, name: &str) -> PathBuf {
        let reply = self.server.get("/v1/backup", &self.backup.token);
        assert_eq!(reply.status, 200, "{}", reply.text());
        let folder = self.path(name);
        write_backup(&reply.body, &folder);
        folder
    }

    pub(crate) fn draw(&self, asked: &AskedRecovery) -> Statement {
        draw_recovery(&self.server.data(), asked, REASON).unwrap_or_else(|error| panic!("{}", error.to_problem()))
    }

    pub(crate) fn recover(
        &self,
        statement: &Statement,
        approvals: &[Approval],
        copy: Option<&Path>,
    ) -> Result<Recovered, ServerError> {
        recover(&self.server.data(), statement, approvals, copy, self.folder.path())
    }

    fn log(&self) -> String {
        self.ben.get(&self.server, "/v1/audit/entries?limit=1000").text()
    }

    fn check(&self) -> Value {
        let report = self.ben.post(&self.server, "/v1/trust/run", &json!({"checks": ["restores"]})).ok();
        outcome_of(&report["ran"], "restores").clone()
    }
}

/// Reads frames as they are described, and nothing else.
fn write_backup(mut bytes: &[u8], folder: &Path) {
    loop {
        let (length, rest) = bytes.split_at(4);
        let length = u32::from_be_bytes(length.try_into().expect("four bytes")) as usize;
        let (head, rest) = rest.split_at(length);
        let write = |path: &str, bytes: &[u8]| {
            let to = folder.join(path);
            std::fs::create_dir_all(to.parent().expect("in a folder")).expect("made");
            std::fs::write(to, bytes).expect("written");
        };
        match serde_json::from_slice(head).expect("a head") {
            BackupHead::File { file, bytes: len } => {
                let (content, after) = rest.split_at(usize::try_from(len).expect("small"));
                write(&file, content);
                bytes = after;
            }
            BackupHead::LeftOut { left_out } => {
                let sent = folder.join("tenants").join(left_out.as_str());
                std::fs::remove_dir_all(sent).expect("removed");
                bytes = rest;
            }
            BackupHead::Manifest { manifest } => {
                assert!(rest.is_empty(), "the manifest is the end");
                return write(MANIFEST_FILE, &manifest.to_bytes());
            }
        }
    }
}

fn files_of(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).expect("readable") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(folder).expect("below it").to_string_lossy().into_owned();
                found.insert(name, std::fs::read(path).expect("readable"));
            }
        }
    }
    found
}

fn all_sign_in(server: &Server, provider: &Provider, own: &mut [SoftAuthenticator; 4]) -> [Someone; 4] {
    let mut own = own.iter_mut();
    ["ana", "ana-two", "ben", "vera"].map(|who| sign_in_with(server, provider, who, own.next()))
}

pub(crate) fn sign(statement: &Statement, account: &str, key: &SigningKey) -> Approval {
    Approval::sign(statement, &format!("{account}@example.com"), key, now())
}

pub(crate) fn refused(outcome: Result<Recovered, ServerError>) -> String {
    match outcome {
        Ok(done) => panic!("it was done: {done:?}"),
        Err(error) => error.to_problem().to_string(),
    }
}

fn acme() -> TenantId {
    TenantId::parse("acme").expect("valid")
}

#[test]
fn two_people_restore_a_backup_that_was_taken_while_facts_came_in() {
    let mut world = World::new();
    let (of_ana, of_ben) = (world.key(&world.ana), world.key(&world.ben));
    assert_eq!(world.ben.get(&world.server, "/v1/recovery/keys").ok()["people"], 2);
    world.ingest().ok();
    // A dataset goes with what is written down about it.
    world.keep_dataset();
    let stop = AtomicBool::new(false);
    let copy = std::thread::scope(|threads| {
        let loading = threads.spawn(|| {
            let mut loads = 0;
            while !stop.load(Ordering::Acquire) || loads < 3 {
                world.ingest().ok();
                loads += 1;
            }
        });
        let copy = world.back_up("copy");
        stop.store(true, Ordering::Release);
        loading.join().expect("it loaded");
        copy
    });
    let manifest = verify_backup(&copy).expect("whole").manifest;
    assert_eq!(manifest.stores.len(), 4, "facts, quarantine and documents of acme, documents of the control plane");
    let position = manifest.stores.iter().find(|store| store.store == "facts").expect("copied").position;
    assert!(position >= 1, "{position}");
    assert!(world.log().contains("backup.taken"));
    // Only a copy of what is sealed: nobody finds a value, a name of a feature or a key in it.
    let files = files_of(&copy);
    for (path, bytes) in files.iter().filter(|(path, _)| *path != MANIFEST_FILE) {
        for planted in ["Turin", "Lyon", "User", "city", "PRIVATE KEY", "ana@example.com"] {
            assert!(memchr::memmem::find(bytes, planted.as_bytes()).is_none(), "{path} holds `{planted}`");
        }
    }

    // The disk of the tenant is lost.
    world.server.stop();
    std::fs::remove_dir_all(world.server.data().join("tenants/acme")).expect("removed");
    world.server.start();
    assert_eq!(world.ask().problem(500), "store/older-copy");
    world.server.stop();
    let asked = AskedRecovery::Restore { copy: copy.clone(), tenant: Some(acme()) };
    let statement = world.draw(&asked);
    let approvals = [sign(&statement, "ana", &of_ana), sign(&statement, "ben", &of_ben)];
    let done = world.recover(&statement, &approvals, Some(&copy)).expect("done");
    assert_eq!(done.approved_by, ["ana@example.com", "ben@example.com"]);
    assert_eq!(done.entries.len(), 3, "facts, quarantine, documents");
    world.server.start();
    assert_eq!(world.ask().ok()["columns"][0]["values"], json!(["Turin"]));
    world.has_dataset();
    world.ingest().ok();
    let log = world.log();
    for step in ["recovery.key-added", "recovery.agreed", "store.older-accepted", "backup.restored"] {
        assert!(log.contains(step), "{step} is missing");
    }
    assert!(!log.contains(REASON), "the log has its digest");
    assert_eq!(world.check()["outcome"], "pass", "{}", world.check());
    world.server.stop();

    // Everything but the keys is lost, the log with it.
    let keys = ["config.toml", "root.key", "admin.json", "keys", "tls", "prod/control-plane/audit/signing-key"];
    let (data, safe) = (world.server.data(), world.path("safe"));
    for kept in keys {
        let (from, to) = (data.join(kept), safe.join(kept));
        std::fs::create_dir_all(to.parent().expect("in a folder")).expect("made");
        if from.is_dir() {
            copy_folder(&from, &to);
        } else {
            std::fs::copy(&from, &to).expect("copied");
        }
    }
    std::fs::remove_dir_all(&data).expect("removed");
    copy_folder(&safe, &data);
    let statement = world.draw(&AskedRecovery::Restore { copy: copy.clone(), tenant: None });
    assert_eq!(statement.log, manifest.log, "the log goes on from the backup's");
    let alone = [sign(&statement, "ana", &of_ana)];
    assert!(refused(world.recover(&statement, &alone, Some(&copy))).contains("two different people"));
    assert!(!data.join("metadata.sqlite").exists(), "what was put in place is taken back");
    let approvals = [sign(&statement, "ana", &of_ana), sign(&statement, "ben", &of_ben)];
    world.recover(&statement, &approvals, Some(&copy)).expect("done");
    world.server.start();
    world.come_back();
    assert_eq!(world.ask().ok()["columns"][0]["values"], json!(["Turin"]));
    world.has_dataset();
    assert_eq!(world.check()["outcome"], "pass", "{}", world.check());
    // What was signed lies beside the log. Whoever loses the log once more does not use it a second time.
    world.server.stop();
    for lost in
        ["metadata.sqlite", "tenants", "prod/control-plane/audit/entries", "prod/control-plane/audit/checkpoint"]
    {
        let path = data.join(lost);
        let removed = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
        removed.expect("removed");
    }
    let again = refused(world.recover(&statement, &approvals, Some(&copy)));
    assert!(again.contains("a log that was lost, and it was used"), "{again}");
    assert!(!data.join("metadata.sqlite").exists(), "nothing was put in place");
    let statement = world.draw(&AskedRecovery::Restore { copy: copy.clone(), tenant: None });
    let approvals = [sign(&statement, "ana", &of_ana), sign(&statement, "ben", &of_ben)];
    world.recover(&statement, &approvals, Some(&copy)).expect("signed anew, it is done");
    world.server.start();
}

#[test]
fn attack_ch35_a_tenant_whose_stores_are_damaged_keeps_no_other_from_being_copied() {
    let mut world = World::new();
    let (of_ana, of_ben) = (world.key(&world.ana), world.key(&world.ben));
    world.ingest().ok();
    world.ana.post(&world.server, "/v1/tenants", &json!({"tenant": "aaron"})).ok();
    assert_eq!(verify_backup(&world.back_up("both")).expect("whole").manifest.stores.len(), 7);
    world.server.stop();
    let damaged = world.server.data().join("tenants/aaron/facts/truth/manifest");
    let mut bytes = std::fs::read(&damaged).expect("there");
    *bytes.last_mut().expect("bytes") ^= 1;
    std::fs::write(&damaged, &bytes).expect("written");
    world.server.start();

    let copy = world.back_up("copy");
    let manifest = verify_backup(&copy).expect("whole for whom it is").manifest;
    assert_eq!(manifest.stores.len(), 4, "acme and the control plane");
    let left: Vec<(&str, bool)> =
        manifest.left_out.iter().map(|left| (left.tenant.as_str(), left.code.is_empty())).collect();
    assert_eq!(left, [("aaron", false)]);
    let log = world.log();
    assert!(log.contains("backup.tenant-left-out") && log.contains("backup.taken"), "{log}");
    assert!(!world.server.data().join("copies/tenants").exists(), "nothing of it stays behind");
    // It is a backup of the others.
    world.server.stop();
    std::fs::remove_dir_all(world.server.data().join("tenants/acme")).expect("removed");
    let statement = world.draw(&AskedRecovery::Restore { copy: copy.clone(), tenant: Some(acme()) });
    let approvals = [sign(&statement, "ana", &of_ana), sign(&statement, "ben", &of_ben)];
    world.recover(&statement, &approvals, Some(&copy)).expect("done");
    world.server.start();
    assert_eq!(world.ask().status, 200);
}

#[test]
fn attack_ch35_what_takes_backups_gets_no_key_and_does_nothing_else() {
    let world = World::new();
    world.ingest().ok();
    let copy = world.back_up("copy");
    // No bytes of any key or credential, under whatever name.
    let data = world.server.data();
    let all = files_of(&copy).into_values().flatten().collect::<Vec<u8>>();
    let secrets = files_of(&data).into_iter().filter(|(path, _)| {
        path.starts_with("keys/") || path.ends_with("root.key") || path.ends_with("signing-key") || path == "admin.json"
    });
    let mut searched = 0;
    for (path, bytes) in secrets {
        let part = &bytes[bytes.len() / 2..bytes.len() / 2 + 24.min(bytes.len() / 2)];
        assert!(memchr::memmem::find(&all, part).is_none(), "{path} is in the backup");
        searched += 1;
    }
    assert!(searched >= 5, "{searched} files of keys");
    // What it asks for besides is refused, and stands in the log.
    let token = &world.backup.token;
    let question = json!({"features": ["User.city"], "rows": [{"User.id": 7}]});
    for (method, path, body) in [
        ("POST", "/v1/query", question),
        ("POST", "/v1/deploy", bundle()),
        ("POST", "/v1/access/policies", json!({"text": ""})),
        ("POST", "/v1/provisioners", json!({"name": "more", "role": "backup"})),
        ("POST", "/v1/service-accounts/feed@acme/revoke", json!({})),
        ("POST", "/v1/persons/ana@example.com/leave", json!({})),
    ] {
        let bytes = body.to_string();
        let reply = world.server.send(method, path, Some(token), Some((crate::support::JSON, bytes.as_bytes())));
        assert_eq!(reply.problem(403), "access/denied", "{method} {path}");
    }
    for path in ["/v1/audit/entries", "/v1/recovery/keys", "/v1/tenants", "/v1/trust"] {
        assert_eq!(world.server.get(path, token).problem(403), "access/denied", "{path}");
    }
    world.server.running().keep_log().expect("kept");
    let log = world.log();
    assert!(log.contains("backups-only-copy") && log.contains("CH-35"), "{log}");
    // Nobody else takes a backup, and no tenant has an account that does.
    assert_eq!(world.ana.get(&world.server, "/v1/backup").problem(403), "access/denied");
    assert_eq!(world.server.get("/v1/backup", &world.feed.token).problem(403), "access/denied");
    let body = json!({"tenant": "acme", "name": "copies", "role": "backup"});
    assert_eq!(world.ana.post(&world.server, "/v1/service-accounts", &body).problem(422), "request/role");

    // A copy that was changed is none.
    let damaged = |change: &dyn Fn(&Path)| {
        let folder = tempfile::tempdir().expect("a folder");
        copy_folder(&copy, folder.path());
        change(folder.path());
        verify_backup(folder.path()).expect_err("changed").code
    };
    let entries = "prod/control-plane/audit/entries";
    assert_eq!(damaged(&|folder| std::fs::remove_file(folder.join(entries)).expect("removed")), "backup/refused");
    assert_eq!(damaged(&|folder| std::fs::write(folder.join("more"), b"more").expect("written")), "backup/refused");
    let flipped = |folder: &Path| {
        let mut bytes = std::fs::read(folder.join(entries)).expect("there");
        *bytes.last_mut().expect("bytes") ^= 1;
        std::fs::write(folder.join(entries), bytes).expect("written");
    };
    assert_eq!(damaged(&flipped), "backup/refused");
    let way_out = |folder: &Path| {
        let manifest = std::fs::read_to_string(folder.join(MANIFEST_FILE)).expect("there");
        let edited = manifest.replace("\"metadata.sqlite\"", "\"../metadata.sqlite\"");
        assert!(BackupManifest::parse(edited.as_bytes()).is_err());
        std::fs::write(folder.join(MANIFEST_FILE), edited).expect("written");
    };
    assert_eq!(damaged(&way_out), "backup/manifest");
}

#[test]
fn attack_ch35_one_human_restores_nothing_by_any_account_or_class() {
    let mut world = World::new();
    let keys = [world.key(&world.ana), world.key(&world.ana_two)];
    let of_ben = world.key(&world.ben);
    assert_eq!(world.ben.get(&world.server, "/v1/recovery/keys").ok()["people"], 2, "ana's accounts are one");
    // Vera is a tenant's own: she holds none.
    assert_eq!(world.vera.get(&world.server, "/v1/recovery/keys").problem(403), "access/denied");
    // A key that is somebody else's, or that nobody shows to have, is not registered.
    let stolen = json!({"key": of_ben.public(), "proof": sign_registration("prod-00", "ana@example.com", &of_ben)});
    assert_eq!(world.ana.post(&world.server, "/v1/recovery/keys", &stolen).problem(422), "recovery/proof");
    world.ingest().ok();
    world.server.stop();
    let (place, yesterday) = (world.server.data().join("tenants/acme"), world.path("yesterday"));
    copy_folder(&place, &yesterday);
    world.server.start();
    world.ingest().ok();
    world.server.stop();
    std::fs::remove_dir_all(&place).expect("removed");
    copy_folder(&yesterday, &place);
    world.server.start();
    let refusal = world.ask();
    assert_eq!(refusal.problem(500), "store/older-copy");
    assert!(refusal.text().contains("creta restore draw"), "{}", refusal.text());
    world.server.stop();

    // The holder of the root key alone, under another class too.
    let data = world.server.data();
    let alone = || {
        let error = accept_older(&data, Some(&acme()), REASON).expect_err("alone").to_problem();
        assert!(error.help.as_ref().is_some_and(|help| help.contains("creta restore draw")), "{error}");
        let fork = declare_fork(&data, REASON, world.folder.path()).expect_err("alone").to_problem();
        [error.code, fork.code]
    };
    assert_eq!(alone(), ["restore/two-people", "restore/two-people"]);
    let config = data.join("config.toml");
    let text = std::fs::read_to_string(&config).expect("there");
    std::fs::write(&config, text.replace("class = \"staging\"", "class = \"development\"")).expect("written");
    assert_eq!(alone(), ["restore/two-people", "restore/two-people"], "the log knows the class");
    std::fs::write(&config, text).expect("written");

    let statement = world.draw(&AskedRecovery::AcceptOlder(Some(acme())));
    let attempt = |approvals: &[Approval]| refused(world.recover(&statement, approvals, None));
    let one = sign(&statement, "ana", &keys[0]);
    for (approvals, says) in [(vec![], "two different people"), (vec![one.clone()], "two different people")] {
        assert!(attempt(&approvals).contains(says));
    }
    let size = || draw_recovery(&data, &AskedRecovery::AcceptOlder(Some(acme())), REASON).expect("drawn").log.size;
    assert_eq!(size(), statement.log.size, "one who is missing still is no attempt");
    assert!(attempt(&[one.clone(), one.clone()]).contains("two different people"));
    // What was attempted stands in the log, so everything is drawn anew.
    assert!(size() > statement.log.size);
    assert!(attempt(&[one, sign(&statement, "ben", &of_ben)]).contains("is about the log at"));
    let statement = world.draw(&AskedRecovery::AcceptOlder(Some(acme())));
    let accounts = [sign(&statement, "ana", &keys[0]), sign(&statement, "ana-two", &keys[1])];
    assert!(refused(world.recover(&statement, &accounts, None)).contains("two different people"));
    let statement = world.draw(&AskedRecovery::AcceptOlder(Some(acme())));
    let made_up = [sign(&statement, "ana", &keys[0]), sign(&statement, "ben", &keys[1])];
    assert!(refused(world.recover(&statement, &made_up, None)).contains("has not registered"));
    world.server.start();
    assert_eq!(world.ask().problem(500), "store/older-copy", "nothing went on");
    assert_eq!(world.log().matches("recovery.refused").count(), 3);

    // Whoever left agrees to nothing.
    world.ana.post(&world.server, "/v1/persons/ben@example.com/leave", &json!({})).ok();
    assert_eq!(world.ana.get(&world.server, "/v1/recovery/keys").ok()["people"], 1);
    world.server.stop();
    let statement = world.draw(&AskedRecovery::AcceptOlder(Some(acme())));
    let gone = [sign(&statement, "ana", &keys[0]), sign(&statement, "ben", &of_ben)];
    assert!(refused(world.recover(&statement, &gone, None)).contains("it has ended"));
    world.server.start();
}

#[test]
fn attack_ch35_an_approval_is_used_once_and_for_nothing_else() {
    let mut world = World::new();
    let (of_ana, of_ben) = (world.key(&world.ana), world.key(&world.ben));
    world.ingest().ok();
    world.server.stop();
    let (place, yesterday) = (world.server.data().join("tenants/acme"), world.path("yesterday"));
    copy_folder(&place, &yesterday);
    world.server.start();
    world.ingest().ok();
    world.server.stop();
    let put_back = || {
        std::fs::remove_dir_all(&place).expect("removed");
        copy_folder(&yesterday, &place);
    };
    put_back();
    let statement = world.draw(&AskedRecovery::AcceptOlder(Some(acme())));
    let approvals = [sign(&statement, "ana", &of_ana), sign(&statement, "ben", &of_ben)];

    // Other words, or another store, under the same approvals.
    let edited = |from: &str, to: &str| {
        let text = String::from_utf8(statement.to_bytes()).expect("text");
        assert!(text.contains(from), "{text}");
        Statement::parse(text.replacen(from, to, 1).as_bytes()).expect("a statement")
    };
    for other in [edited("in the night", "at noon"), edited("\"position\": 1", "\"position\": 2")] {
        // Each attempt is recorded, so the log that both are about is put back beside it.
        let log = world.server.data().join("prod");
        let kept = world.path("log");
        copy_folder(&log, &kept);
        assert!(refused(world.recover(&other, &approvals, None)).contains("approved another statement"));
        std::fs::remove_dir_all(&log).expect("removed");
        std::fs::rename(&kept, &log).expect("moved");
    }
    world.recover(&statement, &approvals, None).expect("done");
    assert!(refused(world.recover(&statement, &approvals, None)).contains("it was used"));
    world.server.start();
    assert_eq!(world.ask().status, 200);
    assert_eq!(world.check()["outcome"], "pass", "{}", world.check());
    world.ingest().ok();
    world.server.stop();
    // The same copy once more: the approvals of the first time are not for it.
    put_back();
    assert!(refused(world.recover(&statement, &approvals, None)).contains("it was used"));
    world.server.start();
    assert_eq!(world.ask().problem(500), "store/older-copy");
    world.server.stop();

    // A store that moved on after the statement was drawn is not what was agreed to.
    let statement = world.draw(&AskedRecovery::AcceptOlder(Some(acme())));
    let approvals = [sign(&statement, "ana", &of_ana), sign(&statement, "ben", &of_ben)];
    std::fs::remove_dir_all(place.join("facts")).expect("removed");
    assert!(refused(world.recover(&statement, &approvals, None)).contains("is not where the statement says"));
    assert!(start(&ServeOptions { folder: world.server.data(), listen: None }).is_ok());
    world.server.start();
}

/// What is kept apart from backups, in an empty data folder; the rest is gone.
fn lose_all_but_keys(data: &Path, safe: &Path) {
    for kept in ["config.toml", "root.key", "admin.json", "keys", "tls", "prod/control-plane/audit/signing-key"] {
        let (from, to) = (data.join(kept), safe.join(kept));
        std::fs::create_dir_all(to.parent().expect("in a folder")).expect("made");
        if from.is_dir() {
            copy_folder(&from, &to);
        } else {
            std::fs::copy(&from, &to).expect("copied");
        }
    }
    std::fs::remove_dir_all(data).expect("removed");
    copy_folder(safe, data);
}

#[test]
fn attack_ch35_a_backup_that_is_copied_into_place_by_hand_does_not_start() {
    let mut world = World::new();
    let (of_ana, of_ben) = (world.key(&world.ana), world.key(&world.ben));
    world.ingest().ok();
    let copy = world.back_up("copy");
    world.ingest().ok();
    world.server.stop();
    let (data, safe) = (world.server.data(), world.path("safe"));
    lose_all_but_keys(&data, &safe);
    for (path, bytes) in files_of(&copy).into_iter().filter(|(path, _)| path != MANIFEST_FILE) {
        std::fs::create_dir_all(data.join(&path).parent().expect("in a folder")).expect("made");
        std::fs::write(data.join(path), bytes).expect("written");
    }
    let code = |error: ServerError| error.to_problem().code;
    let started = start(&ServeOptions { folder: data.clone(), listen: None });
    assert_eq!(code(started.err().expect("refused")), "restore/copied-log");
    // Nor does it go on by another road, or store by store.
    assert_eq!(code(accept_older(&data, None, REASON).expect_err("refused")), "restore/copied-log");
    let draw = |asked: &AskedRecovery| code(draw_recovery(&data, asked, REASON).expect_err("refused"));
    assert_eq!(draw(&AskedRecovery::AcceptOlder(Some(acme()))), "restore/copied-log");
    assert_eq!(draw(&AskedRecovery::Restore { copy: copy.clone(), tenant: Some(acme()) }), "restore/log-lost");
    // Two people may say that all of it goes on.
    let statement = world.draw(&AskedRecovery::Restore { copy: copy.clone(), tenant: None });
    assert!(refused(world.recover(&statement, &[], Some(&copy))).contains("two different people"));
    let approvals = [sign(&statement, "ana", &of_ana), sign(&statement, "ben", &of_ben)];
    world.recover(&statement, &approvals, Some(&copy)).expect("done");
    world.server.start();
    world.come_back();
    assert_eq!(world.ask().status, 200);
    // A copy of this log closes nothing of the next one.
    world.back_up("another");
    world.server.stop();
    world.server.start();
}

#[test]
fn attack_ch35_a_backup_of_which_something_was_left_out_is_not_restored() {
    let mut world = World::new();
    world.ingest().ok();
    let copy = world.back_up("copy");
    world.ingest().ok();
    let later = world.back_up("later");
    world.server.stop();
    let draw = |copy: &Path| {
        let asked = AskedRecovery::Restore { copy: copy.to_owned(), tenant: None };
        draw_recovery(&world.server.data(), &asked, REASON).map_err(|error| error.to_problem().code)
    };
    let statement = draw(&copy).expect("drawn");
    let facts = |of: &[creta_identity::recovery::StoreAt]| {
        of.iter().find(|at| at.store == "facts").map(|at| at.position).expect("facts")
    };
    assert!(facts(&statement.newest) > facts(&statement.stores), "it says what is left behind: {statement:?}");
    // The tenant is dropped, and the manifest says so.
    let read = |folder: &Path| -> Value {
        serde_json::from_slice(&std::fs::read(folder.join(MANIFEST_FILE)).expect("there")).expect("JSON")
    };
    let write = |folder: &Path, manifest: &Value| {
        std::fs::write(folder.join(MANIFEST_FILE), manifest.to_string()).expect("written");
    };
    let dropped = world.path("dropped");
    copy_folder(&copy, &dropped);
    std::fs::remove_dir_all(dropped.join("tenants")).expect("removed");
    let mut manifest = read(&dropped);
    manifest["stores"].as_array_mut().expect("stores").retain(|store| store["tenant"].is_null());
    let in_tenant = |file: &Value| file["path"].as_str().is_some_and(|path| path.starts_with("tenants/"));
    manifest["files"].as_array_mut().expect("files").retain(|file| !in_tenant(file));
    write(&dropped, &manifest);
    verify_backup(&dropped).expect("whole by itself");
    assert_eq!(draw(&dropped).expect_err("dropped"), "restore/unknown-copy");
    // One day's tenant with another day's control plane.
    let mixed = world.path("mixed");
    copy_folder(&later, &mixed);
    std::fs::remove_dir_all(mixed.join("tenants")).expect("removed");
    copy_folder(&copy.join("tenants"), &mixed.join("tenants"));
    let (mut manifest, earlier) = (read(&mixed), read(&copy));
    for (list, is_old) in [("stores", false), ("files", true)] {
        let of_tenant = |at: &Value| if is_old { in_tenant(at) } else { !at["tenant"].is_null() };
        let mut all: Vec<Value> = manifest[list].as_array().expect("there").clone();
        all.retain(|at| !of_tenant(at));
        all.extend(earlier[list].as_array().expect("there").iter().filter(|at| of_tenant(at)).cloned());
        manifest[list] = Value::Array(all);
    }
    write(&mixed, &manifest);
    verify_backup(&mixed).expect("whole by itself");
    assert_eq!(draw(&mixed).expect_err("mixed"), "restore/unknown-copy");
    world.server.start();
}

#[test]
fn attack_ch35_a_restore_that_fails_or_is_killed_leaves_what_was_there() {
    let mut world = World::new();
    let (of_ana, of_ben) = (world.key(&world.ana), world.key(&world.ben));
    world.ingest().ok();
    let copy = world.back_up("copy");
    world.ingest().ok();
    world.server.stop();
    let data = world.server.data();
    let asked = AskedRecovery::Restore { copy: copy.clone(), tenant: Some(acme()) };
    let statement = world.draw(&asked);
    let sealed = || files_of(&data.join("tenants/acme/facts"));
    let before = sealed();
    // Without two people nothing is moved at all, not even there and back.
    let moved =
        || std::fs::metadata(data.join("tenants/acme/facts")).and_then(|facts| facts.modified()).expect("there");
    let stands = moved();
    assert!(refused(world.recover(&statement, &[], Some(&copy))).contains("two different people"));
    assert_eq!(moved(), stands);
    // What was signed cannot be kept: nothing is recorded, and everything is as it was.
    let approvals = [sign(&statement, "ana", &of_ana), sign(&statement, "ben", &of_ben)];
    std::fs::write(data.join("recoveries"), b"").expect("written");
    refused(world.recover(&statement, &approvals, Some(&copy)));
    assert_eq!(sealed(), before);
    std::fs::remove_file(data.join("recoveries")).expect("removed");
    // Killed while files were moved: the journal stands, and one store is aside.
    let aside = data.join("replaced/killed");
    let truth = "tenants/acme/facts/truth";
    let places = [json!({"path": truth, "stood": true}), json!({"path": "tenants/acme/facts/more", "stood": false})];
    std::fs::create_dir_all(aside.join("tenants/acme/facts")).expect("made");
    std::fs::write(aside.join("journal.json"), json!({"format": "creta.placing/1", "places": places}).to_string())
        .expect("written");
    std::fs::rename(data.join(truth), aside.join(truth)).expect("moved");
    copy_folder(&copy.join(truth), &data.join(truth));
    copy_folder(&copy.join(truth), &data.join("tenants/acme/facts/more"));
    world.server.start();
    assert_eq!(world.ask().status, 200);
    assert!(!aside.exists() && !data.join("tenants/acme/facts/more").exists());
    world.server.stop();
    // And the statement, drawn again, is carried out.
    let statement = world.draw(&asked);
    let approvals = [sign(&statement, "ana", &of_ana), sign(&statement, "ben", &of_ben)];
    let done = world.recover(&statement, &approvals, Some(&copy)).expect("done");
    assert!(done.replaced.is_some_and(|replaced| replaced.join(truth).exists()));
    world.server.start();
}

#[test]
fn attack_ch35_accounts_that_were_linked_stay_one_human_under_older_documents() {
    let mut world = World::where_ana_has_two_accounts(false);
    let keys = [world.key(&world.ana), world.key(&world.ana_two)];
    assert_eq!(world.ben.get(&world.server, "/v1/recovery/keys").ok()["people"], 2, "not linked yet");
    world.ingest().ok();
    let copy = world.back_up("copy");
    world.server.stop();
    let (documents, kept) = (world.server.data().join("metadata.sqlite"), world.path("metadata.sqlite"));
    std::fs::copy(&documents, &kept).expect("copied");
    world.server.start();
    let human = json!({"roles": ["operator"], "need": NEED, "same_human_as": "ana@example.com"});
    world.ana.post(&world.server, "/v1/persons/ana-two@example.com/assign", &human).ok();
    world.server.stop();
    let newer = world.path("newer.sqlite");
    std::fs::copy(&documents, &newer).expect("copied");
    std::fs::copy(&kept, &documents).expect("put back");
    for (tenant, says) in [(Some(acme()), "an older copy"), (None, "two different people")] {
        let statement = world.draw(&AskedRecovery::Restore { copy: copy.clone(), tenant });
        let approvals = [sign(&statement, "ana", &keys[0]), sign(&statement, "ana-two", &keys[1])];
        let refusal = refused(world.recover(&statement, &approvals, Some(&copy)));
        assert!(refusal.contains(says), "{refusal}");
    }
    std::fs::copy(&newer, &documents).expect("put back");
    world.server.start();
}
