//! Every scope has a key of its own, wrapped for it alone (CH-23, CI-12).

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use creta_compliance::Observation;
use creta_iam::control_plane;
use creta_keys::{KeyRing, RootKey};
use creta_model::Scope;
use creta_platform::Platform;
use serde_json::json;

use super::{Check, Seen, World};
use crate::trust::copy_tree;

pub(super) struct KeyHierarchy;

impl Check for KeyHierarchy {
    fn id(&self) -> &'static str {
        "key-hierarchy"
    }

    /// A key ring whose files stayed where they were, looked at as if two had been exchanged.
    fn notices_planted_fault(&self, world: &World<'_>) -> Result<bool, String> {
        let mut seen = Seen::default();
        exchanged(world, |_, _| Ok(()), &mut seen)?;
        Ok(seen.0.findings.iter().any(|finding| finding.code == "keys/foreign-accepted"))
    }

    fn observe(&self, world: &World<'_>) -> Result<Observation, String> {
        let mut seen = Seen::default();
        let control = &world.app.control;
        let ring = open(world, world.folder)?;
        let scopes: BTreeSet<Scope> = ring.list().map_err(|error| error.to_string())?.into_iter().collect();
        let mut expected: BTreeSet<Scope> = control
            .tenants()
            .into_iter()
            .map(|tenant| Scope::new(tenant.tenant, control.environment().clone()))
            .collect();
        expected.insert(control_plane(control.environment()));
        for scope in scopes.symmetric_difference(&expected) {
            let subject = world.app.trust.subject_of(control, scope);
            seen.finding(&subject, "keys/population", "the scopes with a key are not the tenants there are");
        }
        let mut marks = BTreeSet::new();
        for scope in &scopes {
            let subject = world.app.trust.subject_of(control, scope);
            seen.subject(&subject);
            match ring.scope(scope) {
                Ok(key) if !marks.insert(key.mac("creta.trust/1 distinct", &[b"same input"])) => {
                    seen.finding(&subject, "keys/shared", "two scopes have the same key");
                }
                Ok(_) => {}
                Err(error) => seen.finding(&subject, "keys/unreadable", error.to_string()),
            }
        }
        exchanged(world, exchange, &mut seen)?;
        Ok(seen.raw(json!({ "scopes": scopes.len(), "tenants": expected.len() - 1, "distinct": marks.len() })))
    }
}

fn open(world: &World<'_>, folder: &Path) -> Result<KeyRing, String> {
    let environment = world.app.control.environment();
    let root = RootKey::load_file(world.app.trust.root_key_file(), environment).map_err(|error| error.to_string())?;
    let platform = Platform::system(folder).map_err(|error| error.to_string())?;
    KeyRing::open(root, environment.clone(), platform).map_err(|error| error.to_string())
}

fn exchange(a: &Path, b: &Path) -> std::io::Result<()> {
    let (first, second) = (fs::read(a)?, fs::read(b)?);
    fs::write(a, second)?;
    fs::write(b, first)
}

/// Copies the key files, lets `change` work on those of the two probes, and asks for their keys.
fn exchanged(
    world: &World<'_>,
    change: impl Fn(&Path, &Path) -> std::io::Result<()>,
    seen: &mut Seen,
) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("a copy of the keys cannot be made: {error}");
    let copy = tempfile::tempdir().map_err(failed)?;
    copy_tree(&world.folder.join("keys"), &copy.path().join("keys")).map_err(failed)?;
    let [a, b] = &world.probes.0;
    let file = |tenant: &creta_model::TenantId| copy.path().join(format!("keys/{tenant}.json"));
    change(&file(&a.tenant), &file(&b.tenant)).map_err(failed)?;
    let accepted = open(world, copy.path()).and_then(|ring| ring.scope(&a.scope).map_err(|error| error.to_string()));
    if accepted.is_ok() {
        seen.finding("store:scope-keys", "keys/foreign-accepted", "a key wrapped for another scope was accepted");
    }
    Ok(())
}
