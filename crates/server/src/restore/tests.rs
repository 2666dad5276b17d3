use creta_iam::PrincipalId;
use creta_identity::key::{KeyKind, SigningKey};
use creta_identity::recovery::KeptLog;
use creta_model::{Environment, Instant};
use creta_programme::PersonId;
use serde_json::json;

use super::*;

/// An environment of class development that nobody serves.
struct Here {
    folder: tempfile::TempDir,
}

impl Here {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let environment = Environment::parse("prod").expect("valid");
        crate::init(&folder.path().join("data"), &environment, &crate::InitOptions::default()).expect("made");
        Self { folder }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn offline(&self) -> Offline {
        Offline::under_lock(&self.data()).expect("opens")
    }

    fn documents(&self) -> Arc<dyn MetadataStore> {
        let documents = SqliteStore::open(self.data().join("metadata.sqlite"), self.offline().key.clone());
        Arc::new(documents.expect("opens"))
    }
}

#[test]
fn attack_ch35_a_restore_that_the_log_does_not_take_leaves_everything_as_it_was() {
    let here = Here::new();
    let copy = here.folder.path().join("copy");
    std::fs::create_dir(&copy).expect("made");
    std::fs::copy(here.data().join("metadata.sqlite"), copy.join("metadata.sqlite")).expect("copied");
    let moment = SqliteStore::open(copy.join("metadata.sqlite"), here.offline().key.clone()).and_then(|c| c.epoch());
    let store = Moment::from(moment.expect("a store")).of_store(None, Store::Metadata);
    here.documents().write("note", "1", None, b"written since").expect("written");

    let bytes = std::fs::read(copy.join("metadata.sqlite")).expect("there");
    let sha256 = hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes));
    let offline = here.offline();
    let log = log_of(&offline).expect("read");
    let taken = offline.platform.clock.now();
    let manifest = json!({
        "format": crate::backup::BACKUP_FORMAT, "environment": "prod",
        "environment_id": offline.config.environment_id, "taken": taken, "log": log, "stores": [store],
        "files": [{"path": "metadata.sqlite", "bytes": bytes.len(), "sha256": sha256}],
    });
    let manifest = BackupManifest::parse(manifest.to_string().as_bytes()).expect("a manifest");
    let what = What::Restore { copy: manifest.digest(), taken, log: KeptLog::Kept };
    let of = (&offline.config.environment, offline.config.environment_id.as_str());
    let stores = (vec![store], Vec::new());
    let statement = Statement::draw(of, what, log, stores, "The disk was lost", taken).expect("drawn");
    drop(offline);

    let placed = Placed::put(&here.data(), &copy, &statement.environment, &manifest, &statement).expect("placed");
    assert!(here.documents().read("note", "1").expect("read").is_none(), "the older documents stand there");
    let offline = here.offline();
    offline.log.halt("the disk is full");
    let outcome = carry_out(&here.data(), &offline, &statement, &[], (here.folder.path(), Some(&placed)));
    assert!(outcome.is_err(), "nothing was recorded");
    let note = here.documents().read("note", "1").expect("read");
    assert_eq!(note.map(|note| note.body).as_deref(), Some(b"written since".as_slice()));
    assert_eq!(log_of(&here.offline()).expect("read"), statement.log);
}

#[test]
fn attack_ch35_a_recovery_key_counts_while_its_holder_is_here_by_log_and_documents() {
    let here = Here::new();
    let now = Instant::parse("2026-01-01T12:00:00Z").expect("valid");
    let persons = Register::<PersonRecord>::load(here.documents()).expect("read");
    let keys = Register::<RecoveryKey>::load(here.documents()).expect("read");
    let names = ["here", "left", "ended", "log-ended", "unknown", "tenants-own", "made"];
    let offline = here.offline();
    for (seed, name) in (1_u8..).zip(names) {
        let account = PrincipalId::parse(name).expect("a name");
        let tenant = (name == "tenants-own").then(|| TenantId::parse("acme").expect("valid"));
        let mut person = PersonRecord::new(account.clone(), tenant, now);
        person.left = (name == "left").then_some(now);
        // Somebody whom `here` invited, and for whom nobody else vouched yet.
        person.stands_for = (name == "made").then(|| PersonId::new(PrincipalId::parse("here").expect("a name")));
        persons.add(person).expect("written").expect("new");
        let public = SigningKey::from_random(KeyKind::P256, &[seed; 32]).public();
        let ended = if name == "ended" { json!(now) } else { json!(null) };
        let id = public.thumbprint();
        let mut key = json!({
            "format": "creta.recovery-key/1", "id": id, "account": name, "key": public, "added": now,
        });
        if !ended.is_null() {
            key["ended"] = ended;
        }
        let key: RecoveryKey = serde_json::from_value(key).expect("a key");
        let event = |action| {
            let details = Details::none().name("person", name).expect("a name");
            let details = details.digest("key", *key.digest().as_bytes()).expect("a digest");
            Event::new(action, Place::Environment(offline.config.environment.clone())).with(details)
        };
        // What the log knows, whatever the documents say.
        let known = match name {
            "unknown" => Vec::new(),
            "log-ended" => vec![event(ADDED), event(ENDED)],
            _ => vec![event(ADDED)],
        };
        offline.log.record_all(known).expect("recorded");
        keys.add(key).expect("written").expect("new");
    }
    drop(offline);
    let offline = here.offline();
    let log = log_of(&offline).expect("read");
    let of = (&offline.config.environment, offline.config.environment_id.as_str());
    let drawn = Statement::draw(of, What::AcceptOlder, log, (Vec::new(), Vec::new()), "The disk was lost", now);
    let counted = holders(&here.data(), &offline, &drawn.expect("drawn")).expect("read");
    let names: BTreeSet<&str> = counted.iter().map(|holder| holder.account.as_str()).collect();
    assert_eq!(names, BTreeSet::from(["here", "made"]));
    assert!(counted.iter().all(|holder| holder.human == "here"), "two accounts of one human");
}
