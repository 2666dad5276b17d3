//! Which of its planted values a tenant uses now: another one when somebody misuses the one before (CH-14).

use std::sync::Arc;

use creta_model::{Instant, Problem, Span, TenantId};
use creta_store::MetadataStore;
use serde::{Deserialize, Serialize};

use crate::problem::internal;
use crate::register::{Record, Register};

const FORMAT: &str = "creta.canary/1";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Canary {
    format: String,
    tenant: TenantId,
    /// How many there were before.
    generation: u64,
    /// When values were replaced, with their generations, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    replaced: Vec<Replaced>,
}

/// A value that was replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Replaced {
    generation: u64,
    at: Instant,
}

/// How long computers are searched for a value after another took its place: whoever copied it before is not rid of it by that.
pub(crate) const SEARCHED_AFTER: Span = Span::days(90);
/// Most values of a tenant that computers are searched for besides the present one.
pub(crate) const EARLIER_MAX: usize = 16;

impl Record for Canary {
    const KIND: &'static str = "canary";

    fn id(&self) -> String {
        self.tenant.to_string()
    }

    fn read(body: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(body).ok().filter(|canary| canary.format == FORMAT)
    }
}

/// Which value each tenant uses. The values themselves are kept nowhere.
pub(crate) struct Canaries(Register<Canary>);

impl Canaries {
    pub(crate) fn open(metadata: Arc<dyn MetadataStore>) -> Result<Self, Problem> {
        Ok(Self(Register::load(metadata)?))
    }

    /// How many values of a tenant there were before the present one.
    pub(crate) fn generation(&self, tenant: &TenantId) -> u64 {
        self.0.with(tenant.as_str(), |canary| canary.generation).unwrap_or(0)
    }

    /// The values that were replaced so lately that computers are searched for them still, oldest first.
    pub(crate) fn earlier(&self, tenant: &TenantId, now: Instant) -> Vec<u64> {
        let lately = |replaced: &&Replaced| now < replaced.at.plus(SEARCHED_AFTER);
        let of = |canary: &Canary| canary.replaced.iter().filter(lately).map(|replaced| replaced.generation).collect();
        self.0.with(tenant.as_str(), of).unwrap_or_default()
    }

    /// From now on a tenant uses another value. Computers are searched for the one before for [`SEARCHED_AFTER`] longer.
    pub(crate) fn rotate(&self, tenant: &TenantId, now: Instant) -> Result<u64, Problem> {
        let too_many = || {
            Problem::new("conflict/canary", format!("{EARLIER_MAX} values of `{tenant}` were replaced within 90 days"))
                .with_help("find out who keeps misusing them, then replace this one")
        };
        if self.earlier(tenant, now).len() >= EARLIER_MAX {
            return Err(too_many());
        }
        let next = |canary: &Canary| {
            let mut replaced = canary.replaced.clone();
            replaced.retain(|replaced| now < replaced.at.plus(SEARCHED_AFTER));
            replaced.push(Replaced { generation: canary.generation, at: now });
            Ok::<_, Problem>(Canary { generation: canary.generation + 1, replaced, ..canary.clone() })
        };
        if let Some(rotated) = self.0.change(tenant.as_str(), next)? {
            return Ok(rotated.generation);
        }
        let replaced = vec![Replaced { generation: 0, at: now }];
        let first = Canary { format: FORMAT.to_owned(), tenant: tenant.clone(), generation: 1, replaced };
        self.0.add(first)?.map(|canary| canary.generation).ok_or_else(internal)
    }
}
