//! What is kept apart: environments share nothing (CH-27), each tenant has one store (CH-23), and metadata holds no values
//! (CH-22).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use creta_compliance::Observation;
use creta_keys::RootKey;
use creta_model::{Scope, TenantId};
use creta_store::{MetadataStore, SqliteStore};
use memchr::memmem;
use serde_json::{Value, json};

use super::{Check, Seen, World};
use crate::config::Config;
use crate::definition_text::{WRITTEN_BY_PEOPLE, each_text, looks_like_data, secret_in, value_in};
use crate::environments::{EnvironmentFingerprint, fingerprint_of, load_known, shared};
use crate::epochs::Store;

pub(super) struct EnvironmentIdentity;

impl Check for EnvironmentIdentity {
    fn id(&self) -> &'static str {
        "environment-identity"
    }

    /// Another environment with this one's root key.
    fn notices_planted_fault(&self, world: &World<'_>) -> Result<bool, String> {
        let (own, _) = known(world)?;
        let planted = EnvironmentFingerprint { environment_id: "planted-00".to_owned(), ..own.clone() };
        let seen = compare(&own, &[planted]);
        Ok(seen.0.findings.iter().any(|finding| finding.code == "environment/root-key-reused"))
    }

    fn observe(&self, world: &World<'_>) -> Result<Observation, String> {
        let (own, known) = known(world)?;
        let others = known.iter().filter(|other| !other.is(&own)).count();
        if others == 0 {
            return Err(
                "no other environment is known; hand this one their fingerprints (`creta keys fingerprint`) and \
                        name the files as `known_environments` in `config.toml`"
                    .to_owned(),
            );
        }
        let seen = compare(&own, &known);
        Ok(seen.raw(json!({ "known": known.len(), "account_named": own.account.is_some() })))
    }
}

fn known(world: &World<'_>) -> Result<(EnvironmentFingerprint, Vec<EnvironmentFingerprint>), String> {
    let config = Config::load(world.folder).map_err(|error| error.to_string())?;
    let root = RootKey::load_file(world.app.trust.root_key_file(), &config.environment);
    let own = fingerprint_of(&config, &root.map_err(|error| error.to_string())?);
    let files: Vec<PathBuf> = config.known_environments.iter().map(|file| world.folder.join(file)).collect();
    Ok((own, load_known(&files).map_err(|problem| problem.to_string())?))
}

fn compare(own: &EnvironmentFingerprint, known: &[EnvironmentFingerprint]) -> Seen {
    let mut seen = Seen::default();
    for other in known {
        let subject = format!("environment:{}", other.environment_id);
        seen.subject(&subject);
        for shared in shared(own, std::slice::from_ref(other)) {
            let problem = shared.to_problem();
            seen.finding(&subject, &problem.code, problem.message);
        }
    }
    seen
}

pub(super) struct TenantStores;

impl Check for TenantStores {
    fn id(&self) -> &'static str {
        "tenant-stores"
    }

    /// A folder of tenants in which one leads to another's, and a database that two share.
    fn notices_planted_fault(&self, _world: &World<'_>) -> Result<bool, String> {
        let failed = |error: std::io::Error| format!("no store could be planted: {error}");
        let planted = tempfile::tempdir().map_err(failed)?;
        let at = |path: &str| planted.path().join(path);
        for tenant in ["one", "two"] {
            fs::create_dir(at(tenant)).map_err(failed)?;
        }
        fs::write(at("one/metadata.sqlite"), "").map_err(failed)?;
        fs::hard_link(at("one/metadata.sqlite"), at("two/metadata.sqlite")).map_err(failed)?;
        std::os::unix::fs::symlink(at("one"), at("three")).map_err(failed)?;
        let tenants = BTreeSet::from(["one", "two", "three"].map(str::to_owned));
        let mut seen = Seen::default();
        stores(planted.path(), &tenants, &|name| format!("store:{name}"), &mut seen).map_err(failed)?;
        let found: BTreeSet<&str> = seen.0.findings.iter().map(|finding| finding.code.as_str()).collect();
        Ok(found.contains("stores/link") && found.contains("stores/shared"))
    }

    fn observe(&self, world: &World<'_>) -> Result<Observation, String> {
        let control = &world.app.control;
        let tenants: BTreeSet<String> = control.tenants().iter().map(|tenant| tenant.tenant.to_string()).collect();
        let subject = |name: &str| match TenantId::parse(name) {
            Ok(tenant) => world.app.trust.subject_of(control, &Scope::new(tenant, control.environment().clone())),
            Err(_) => "store:unknown".to_owned(),
        };
        let mut seen = Seen::default();
        let home = world.folder.join("tenants");
        let files = stores(&home, &tenants, &subject, &mut seen).map_err(|error| error.to_string())?;
        Ok(seen.raw(json!({ "tenants": tenants.len(), "files": files })))
    }
}

/// Looks at the stores below `home`: one real folder for each tenant and no other, and no file that two of them share or
/// that is a link. Gives how many files there are.
fn stores(
    home: &Path,
    tenants: &BTreeSet<String>,
    subject: &dyn Fn(&str) -> String,
    seen: &mut Seen,
) -> std::io::Result<u64> {
    let (mut owners, mut files) = (BTreeMap::<(u64, u64), String>::new(), 0);
    for entry in fs::read_dir(home)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let subject = subject(&name);
        seen.subject(&subject);
        if !tenants.contains(&name) {
            seen.finding(&subject, "stores/nobodys", "a store belongs to no tenant there is");
        }
        let mut waiting = vec![entry.path()];
        while let Some(path) = waiting.pop() {
            // Of the link itself, where it is one. What is gone was temporary.
            let metadata = match fs::symlink_metadata(&path) {
                Ok(metadata) => metadata,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if metadata.is_symlink() {
                seen.finding(&subject, "stores/link", "a link leads out of a tenant's store, or within it");
                continue;
            }
            if metadata.is_dir() {
                for entry in fs::read_dir(&path)? {
                    waiting.push(entry?.path());
                }
                continue;
            }
            files += 1;
            let owner = owners.entry((metadata.dev(), metadata.ino())).or_insert_with(|| name.clone());
            if *owner != name {
                seen.finding(&subject, "stores/shared", "two tenants' stores share a file");
            }
        }
    }
    Ok(files)
}

/// Kinds of documents that the control plane keeps. A kind that is not here was not thought about.
const CONTROL_KINDS: &[&str] = &[
    "access-campaign",
    "access-grant",
    "access-request",
    "access-review",
    "account",
    "artefact",
    "artefact-file",
    "authenticators",
    "break-glass",
    "canary",
    "component",
    "counted",
    "device",
    "evidence",
    "exception",
    "local-account",
    "person",
    "person-request",
    "planted-credential",
    "policy",
    "program-seen",
    "recovery-key",
    "revived",
    "scim",
    "seal",
    "security-contact",
    "security-report",
    "service-account-request",
    "session",
    "setting",
    "signature",
    "statistics-spent",
    "statistics-told",
    "tenant",
    "trust-text",
];
/// Kinds that a tenant's metadata holds.
const TENANT_KINDS: &[&str] = &["declassification", "registry", "row-rules", "tag-removal"];
/// Keys of the environment, sealed like everything else; what strangers wrote, which is theirs; signatures; and files of others.
const NOT_WORDS: &[&str] = &["artefact-file", "security-report", "setting", "signature"];
pub(super) struct MetadataValues;

impl Check for MetadataValues {
    fn id(&self) -> &'static str {
        "metadata-values"
    }

    /// A description with a planted value, one with a secret, and one with random characters.
    fn notices_planted_fault(&self, world: &World<'_>) -> Result<bool, String> {
        let canary = &world.probes.0[0].canary;
        let secret = format!("creta_sk_{}", "aB3dE6gH".repeat(6));
        let random = "9f8Kx2LmQ4vZ7tRbY1wNcJ5hUeA3sDpG0oViXk6M";
        let mut codes = BTreeSet::new();
        for planted in [canary.as_str(), &secret, random] {
            let body = json!({"features": [{"name": "city", "doc": format!("it was {planted}")}]}).to_string();
            let mut seen = Seen::default();
            look_at("planted", "registry", body.as_bytes(), &canaries(world), &mut seen);
            codes.extend(seen.0.findings.into_iter().map(|finding| finding.code));
        }
        Ok(["metadata/value", "metadata/secret", "metadata/looks-like-data"].iter().all(|code| codes.contains(*code)))
    }

    fn observe(&self, world: &World<'_>) -> Result<Observation, String> {
        let control = &world.app.control;
        let (mut seen, canaries) = (Seen::default(), canaries(world));
        let mut documents = 0;
        let own = SqliteStore::open(world.folder.join(Store::Metadata.path(None)), control.own_key().clone());
        documents += scan("store:control-plane", &own.map_err(said)?, CONTROL_KINDS, &canaries, &mut seen)?;
        for tenant in control.tenants() {
            let scope = Scope::new(tenant.tenant.clone(), control.environment().clone());
            let subject = world.app.trust.subject_of(control, &scope);
            let path = world.folder.join(Store::Metadata.path(Some(&tenant.tenant)));
            if !path.exists() {
                seen.subject(&subject); // Nothing was ever deployed there.
                continue;
            }
            let key = control.scope_key(&scope).map_err(|problem| problem.to_string())?;
            let store = SqliteStore::open(path, key).map_err(said)?;
            documents += scan(&subject, &store, TENANT_KINDS, &canaries, &mut seen)?;
        }
        Ok(seen.raw(json!({ "documents": documents, "values_searched": canaries.len() })))
    }
}

fn said(error: creta_store::StoreError) -> String {
    error.to_string()
}

fn canaries(world: &World<'_>) -> Vec<String> {
    world.probes.0.iter().map(|probe| probe.canary.clone()).collect()
}

/// Looks at all documents of a store. Gives how many there are.
fn scan(
    subject: &str,
    store: &SqliteStore,
    kinds: &[&str],
    canaries: &[String],
    seen: &mut Seen,
) -> Result<u64, String> {
    seen.subject(subject);
    if store.beyond(kinds).map_err(said)? > 0 {
        seen.finding(subject, "metadata/unknown-kind", "there are documents of a kind that is not on the list");
    }
    let mut documents = 0;
    for kind in kinds {
        for document in store.list(kind).map_err(said)? {
            documents += 1;
            look_at(subject, kind, &document.body, canaries, seen);
        }
    }
    Ok(documents)
}

/// Looks at one document: for planted values everywhere, for secrets where people write, for data in descriptions.
fn look_at(subject: &str, kind: &str, body: &[u8], canaries: &[String], seen: &mut Seen) {
    if canaries.iter().any(|canary| memmem::find(body, canary.as_bytes()).is_some()) {
        seen.finding(subject, "metadata/value", format!("a document of kind `{kind}` holds a value of a feature"));
    }
    if NOT_WORDS.contains(&kind) {
        return;
    }
    let Ok(parsed) = serde_json::from_slice::<Value>(body) else { return };
    let mut codes = BTreeSet::new();
    each_text(&parsed, &mut Vec::new(), None, &mut |path, text, _| {
        if secret_in(text).is_some() {
            codes.insert(("metadata/secret", "a secret"));
        }
        let by_people = path.iter().any(|part| WRITTEN_BY_PEOPLE.contains(&part.as_str()));
        if kind == "registry" && by_people && looks_like_data(text).is_some() {
            codes.insert(("metadata/looks-like-data", "text that looks like data"));
        }
        let is_owner = path.iter().any(|part| part == "owner");
        if kind == "registry" && by_people && !is_owner && value_in(text).is_some() {
            codes.insert(("metadata/value", "what is somebody's"));
        }
    });
    for (code, what) in codes {
        seen.finding(subject, code, format!("a document of kind `{kind}` holds {what}"));
    }
}
