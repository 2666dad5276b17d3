//! Key rings: a key that was handed out stays, a destroyed one stays destroyed.

use std::collections::BTreeMap;
use std::sync::Arc;

use creta_keys::{KeyError, KeyRing, RootKey, ScopeKey, SealContext};
use creta_model::{Environment, Instant, Scope};
use creta_platform::{Files, ManualClock, Platform, Random, SeededRandom};

use crate::workload::{Outcome, Trouble, Workload, ensure};

const TENANTS: [&str; 3] = ["acme", "beta", "gamma"];

/// What is known of a tenant's key.
#[derive(Debug, Clone, PartialEq)]
enum Key {
    Absent,
    /// A value sealed with each version.
    Present(Vec<Vec<u8>>),
    Destroyed,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Change {
    Create,
    Rotate,
    Destroy,
}

/// The keys of a few tenants, created, rotated and destroyed, under a root key that is rotated too.
pub struct KeyRings {
    random: Arc<SeededRandom>,
    environment: Environment,
    /// Seeds of the root key in force and, while it is being rotated, of the next one.
    root: u64,
    next_root: Option<u64>,
    promised: BTreeMap<&'static str, Key>,
    in_flight: Option<(&'static str, Change)>,
    open: Option<KeyRing>,
}

fn place() -> SealContext {
    SealContext { store: "online", path: "k".to_owned(), version: 0 }
}

impl KeyRings {
    fn root_key(&self, seed: u64) -> RootKey {
        RootKey::generate(&self.environment, &SeededRandom::new(seed))
    }

    fn scope(&self, tenant: &str) -> Scope {
        Scope::parse(tenant, self.environment.as_str()).expect("valid names")
    }

    /// Opens every promised value, and seals one with each version that is new.
    fn checked(tenant: &str, key: &ScopeKey, mut values: Vec<Vec<u8>>) -> Result<Key, Trouble> {
        for sealed in &values {
            let opened = key.open(&place(), sealed);
            ensure(opened.is_ok(), || format!("the key of `{tenant}` no longer opens what it sealed: {opened:?}"))?;
        }
        let newest = usize::try_from(key.newest_version()).expect("small");
        ensure(newest >= values.len(), || format!("a version of the key of `{tenant}` is gone"))?;
        while values.len() < newest {
            values.push(key.seal(&place(), b"value"));
        }
        Ok(Key::Present(values))
    }

    fn found(&self, ring: &KeyRing, tenant: &'static str) -> Result<Key, Trouble> {
        let values = match &self.promised[tenant] {
            Key::Present(values) => values.clone(),
            _ => Vec::new(),
        };
        match ring.scope(&self.scope(tenant)) {
            Ok(key) => Self::checked(tenant, &key, values),
            Err(KeyError::UnknownScope { .. }) => Ok(Key::Absent),
            Err(KeyError::Destroyed { .. }) => Ok(Key::Destroyed),
            Err(error) => Err(error.into()),
        }
    }
}

impl Workload for KeyRings {
    const NAME: &'static str = "key_rings";

    fn new(random: Arc<SeededRandom>) -> Self {
        let root = random.next_u64();
        Self {
            random,
            environment: Environment::parse("sim").expect("a valid name"),
            root,
            next_root: None,
            promised: TENANTS.map(|tenant| (tenant, Key::Absent)).into(),
            in_flight: None,
            open: None,
        }
    }

    fn open(&mut self, files: &Arc<dyn Files>) -> Outcome {
        let clock = Arc::new(ManualClock::new(Instant::from_micros(0).expect("in range")));
        let platform =
            Platform { clock, random: Arc::clone(&self.random) as Arc<dyn Random>, files: Arc::clone(files) };
        let ring = KeyRing::open(self.root_key(self.root), self.environment.clone(), platform)?;
        if let Some(next) = self.next_root {
            // As an operator does who finds a rotation unfinished.
            ring.rotate_root(self.root_key(next))?;
            (self.root, self.next_root) = (next, None);
        }
        let in_flight = self.in_flight.take();
        for tenant in TENANTS {
            let change = in_flight.filter(|(changed, _)| *changed == tenant).map(|(_, change)| change);
            let now = self.found(&ring, tenant)?;
            let before = &self.promised[tenant];
            let versions = |key: &Key| if let Key::Present(values) = key { values.len() } else { 0 };
            let right = match (before, &now) {
                (Key::Absent, Key::Absent) | (Key::Destroyed, Key::Destroyed) => true,
                (Key::Absent, Key::Present(_)) => change == Some(Change::Create) && versions(&now) == 1,
                (Key::Present(_), Key::Destroyed) => change == Some(Change::Destroy),
                (Key::Present(_), Key::Present(_)) => {
                    versions(&now) == versions(before)
                        || change == Some(Change::Rotate) && versions(&now) == versions(before) + 1
                }
                _ => false,
            };
            ensure(right, || {
                let (before, now) = (std::mem::discriminant(before), std::mem::discriminant(&now));
                format!("the key of `{tenant}` went from {before:?} to {now:?} while {change:?} was in flight")
            })?;
            self.promised.insert(tenant, now);
        }
        self.open = Some(ring);
        Ok(())
    }

    fn step(&mut self) -> Outcome {
        let ring = self.open.as_ref().expect("the driver opens before it works");
        if self.random.below(8) == 0 {
            let next = self.random.next_u64();
            self.next_root = Some(next);
            ring.rotate_root(self.root_key(next))?;
            (self.root, self.next_root) = (next, None);
            return Ok(());
        }
        let tenant = TENANTS[usize::try_from(self.random.below(TENANTS.len() as u64)).expect("small")];
        let scope = self.scope(tenant);
        let change = match self.random.below(10) {
            0 => Change::Destroy,
            1..=4 => Change::Rotate,
            _ => Change::Create,
        };
        self.in_flight = Some((tenant, change));
        let before = self.promised[tenant].clone();
        let outcome = match change {
            Change::Create => ring.create_scope(&scope).map(Some),
            Change::Rotate => ring.rotate_scope(&scope).map(Some),
            Change::Destroy => ring.destroy_scope(&scope).map(|()| None),
        };
        let refused = match (&before, change, &outcome) {
            (Key::Absent, Change::Rotate | Change::Destroy, Err(KeyError::UnknownScope { .. }))
            | (Key::Present(_), Change::Create, Err(KeyError::ScopeExists { .. }))
            | (Key::Destroyed, Change::Create | Change::Rotate, Err(KeyError::Destroyed { .. })) => true,
            (Key::Absent, Change::Rotate | Change::Destroy, Ok(_))
            | (Key::Present(_), Change::Create, Ok(_))
            | (Key::Destroyed, Change::Create | Change::Rotate, Ok(_)) => {
                return ensure(false, || format!("{change:?} of the key of `{tenant}` should have been refused"));
            }
            _ => false,
        };
        if !refused {
            let values = if let Key::Present(values) = before { values } else { Vec::new() };
            let after = match outcome? {
                Some(key) => Self::checked(tenant, &key, values)?,
                None => Key::Destroyed,
            };
            self.promised.insert(tenant, after);
        }
        self.in_flight = None;
        Ok(())
    }

    fn close(&mut self) {
        self.open = None;
    }
}
