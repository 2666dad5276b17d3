//! One entry of the log, as it is written: canonical JSON (RFC 8785) of version `creta.audit/1`.

use std::collections::BTreeMap;

use creta_iam::{Decision, FeatureSet, Place, Principal};
use creta_model::{Environment, Instant, Scope, TenantId};
use serde::{Deserialize, Serialize};

use crate::{AuditError, Hash};

/// The form of entries that this build writes and reads.
pub use creta_proof::ENTRY_VERSION;

const BYTES_MAX: usize = u16::MAX as usize; // C2SP tlog-tiles: entry bundles carry the length in 16 bits.
const NAMES_BYTES_MAX: usize = 16 * 1024;

/// Whether a decision allowed or denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was permitted.
    Allow,
    /// It was refused.
    Deny,
}

/// Features that an entry speaks of. Never their values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntryFeatures {
    /// How many.
    pub count: u32,
    /// SHA-256, in hexadecimal, of the canonical JSON object of names, each with its list of tags.
    pub digest: String,
    /// Their names in order; absent when they are too many for one entry, and then the digest tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub names: Option<Vec<String>>,
}

/// One entry. Its index is its place in the log. It never holds a feature value or a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// `creta.audit/1`.
    pub version: String,
    /// When it was recorded, by the environment's clock.
    pub time: Instant,
    /// Where it happened, or was refused.
    pub environment: Environment,
    /// Whose data or definitions it concerns; absent for the control plane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Who acted; absent when Creta did by itself, or when nobody was authenticated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<Principal>,
    /// What was asked for (`deploy`), or what happened (`deploy.done`).
    pub action: String,
    /// The decision; absent for what just happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Outcome>,
    /// Why it was so decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The policies that decided.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
    /// The commitment that a refusal or a check keeps, for example `CH-20`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commitment: Option<String>,
    /// The features asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<EntryFeatures>,
    /// Why, in the words of whoever asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// Names, counts, digests and keyed hashes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, String>,
}

impl Entry {
    /// Reads an entry. The error says what is wrong, without repeating anything of it.
    pub fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let entry: Self = serde_json::from_slice(bytes).map_err(|_| "it does not have the form of an entry")?;
        if entry.version != ENTRY_VERSION {
            return Err("its version is not known to this build");
        }
        match entry.to_bytes() {
            Ok(canonical) if canonical == bytes => Ok(entry),
            _ => Err("it is not canonical JSON"),
        }
    }

    /// The bytes that are hashed and stored.
    pub fn to_bytes(&self) -> Result<Vec<u8>, AuditError> {
        let bytes = canonical(self);
        if bytes.len() > BYTES_MAX { Err(AuditError::EntryTooLong { bytes: bytes.len() }) } else { Ok(bytes) }
    }

    /// The scope it concerns; `None` for the control plane.
    pub fn scope(&self) -> Option<Scope> {
        self.tenant.clone().map(|tenant| Scope::new(tenant, self.environment.clone()))
    }

    /// An entry that says only where and what.
    pub(crate) fn new(time: Instant, place: &Place, action: &str) -> Self {
        Self {
            version: ENTRY_VERSION.to_owned(),
            time,
            environment: place.environment().clone(),
            tenant: place.scope().map(|scope| scope.tenant.clone()),
            actor: None,
            action: action.to_owned(),
            decision: None,
            reason: None,
            policies: Vec::new(),
            commitment: None,
            features: None,
            purpose: None,
            details: BTreeMap::new(),
        }
    }

    /// The entry of a decision.
    pub(crate) fn of(time: Instant, decision: &Decision, details: BTreeMap<String, String>) -> Self {
        let resource = decision.resource();
        Self {
            actor: Some(decision.principal().clone()),
            decision: Some(if decision.is_allowed() { Outcome::Allow } else { Outcome::Deny }),
            reason: Some(decision.reason().as_str().to_owned()),
            policies: decision.policies().to_vec(),
            commitment: decision.commitment().map(str::to_owned),
            features: EntryFeatures::of(resource.feature_set()),
            purpose: resource.purpose().map(|purpose| purpose.as_str().to_owned()),
            details,
            ..Self::new(time, resource.place(), decision.action().as_str())
        }
    }
}

impl EntryFeatures {
    /// `None` when there are none.
    fn of(features: &FeatureSet) -> Option<Self> {
        if features.is_empty() {
            return None;
        }
        let tagged: BTreeMap<&str, Vec<&str>> = features.iter().map(|(name, tags)| (name, tags.collect())).collect();
        let names: Vec<String> = features.names().map(str::to_owned).collect();
        Some(Self {
            count: u32::try_from(features.len()).expect("fewer than four billion features"),
            digest: Hash::of(&[&canonical(&tagged)]).to_string(),
            names: (canonical(&names).len() <= NAMES_BYTES_MAX).then_some(names),
        })
    }
}

fn canonical(value: &impl Serialize) -> Vec<u8> {
    serde_json_canonicalizer::to_vec(value).expect("names, numbers and texts have a canonical form")
}
