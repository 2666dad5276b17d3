//! Which of its planted values a tenant uses now: another one when somebody misuses the one before (CH-14).

use std::sync::Arc;

use creta_model::{Problem, TenantId};
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
}

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

    /// From now on a tenant uses another value, and computers are searched for none of those before.
    pub(crate) fn rotate(&self, tenant: &TenantId) -> Result<u64, Problem> {
        let next = |canary: &Canary| Ok::<_, Problem>(Canary { generation: canary.generation + 1, ..canary.clone() });
        if let Some(rotated) = self.0.change(tenant.as_str(), next)? {
            return Ok(rotated.generation);
        }
        let first = Canary { format: FORMAT.to_owned(), tenant: tenant.clone(), generation: 1 };
        self.0.add(first)?.map(|canary| canary.generation).ok_or_else(internal)
    }
}
