//! What somebody sends: text within bounds, and perhaps the code that tells a tenant from a stranger.

use std::net::IpAddr;

use aws_lc_rs::{constant_time, hmac};
use creta_compliance::page::{
    Intake, REPORT_CONTACT_CHARS_MAX, REPORT_DESCRIPTION_CHARS_MAX, REPORT_TITLE_CHARS_MAX, ReportDraft,
};
use creta_model::{Problem, Span, TenantId};
use creta_platform::{Clock, Random};
use creta_proof::Hash;
use serde::Deserialize;

use super::gate::{Arriving, Gate, Passed};
use super::paging::Urgency;

/// Longest description while a flood comes in, so that many short ones fit where few long ones would.
pub(crate) const FLOOD_DESCRIPTION_CHARS_MAX: usize = 2_000;
/// Longest code that is looked at.
const CODE_BYTES_MAX: usize = 128;
/// Bytes of a code's proof: guessed once in 2^64 attempts, and attempts are counted.
const PROOF_BYTES: usize = 8;

/// What is promised to whoever reports.
pub(crate) struct Promised;

impl Promised {
    /// A report is acknowledged by a person within this time.
    pub(crate) const ACKNOWLEDGED_WITHIN: Span = Span::hours(24);
    /// A report is decided on within this time.
    pub(crate) const DECIDED_WITHIN: Span = Span::days(14);

    pub(crate) fn terms() -> Intake {
        Intake { acknowledge_within: Self::ACKNOWLEDGED_WITHIN, decide_within: Self::DECIDED_WITHIN }
    }
}

/// What somebody sends. Text, and never anything else.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewReport {
    pub(crate) title: String,
    pub(crate) description: String,
    #[serde(default)]
    pub(crate) contact: String,
    /// Set by the form's checkbox.
    #[serde(default)]
    pub(crate) urgent: Option<String>,
    /// A tenant's code; empty for everybody else.
    #[serde(default)]
    pub(crate) code: String,
}

impl NewReport {
    /// A checkbox that is set sends any text; programs may say no.
    pub(crate) fn is_urgent(&self) -> bool {
        self.urgent.as_ref().is_some_and(|text| !matches!(text.as_str(), "" | "false" | "off" | "0"))
    }

    /// What goes back into the form when it is refused. The code does not: it is a secret.
    pub(crate) fn draft(&self) -> ReportDraft {
        ReportDraft {
            title: self.title.clone(),
            description: self.description.clone(),
            contact: self.contact.clone(),
            urgent: self.is_urgent(),
        }
    }

    /// Lets the report in, or says why not: bounds first, then the code, then the gate.
    pub(crate) fn take(
        &self,
        gate: &Gate,
        codes: &Codes,
        address: IpAddr,
        (clock, random): (&dyn Clock, &dyn Random),
    ) -> Result<Taken, Problem> {
        self.require_valid()?;
        let tenant = codes.read(&self.code)?;
        let mut reference = [0; 12];
        random.fill(&mut reference);
        let reference = hex::encode(reference);
        let arriving = Arriving {
            address,
            tenant: tenant.as_ref(),
            fingerprint: self.fingerprint(),
            chars: self.description.chars().count(),
            reference: &reference,
        };
        let passed = gate.pass(&arriving, clock.monotonic()).map_err(super::gate::Turned::to_problem)?;
        let urgency = match (&passed, &tenant, self.is_urgent()) {
            (_, Some(_), true) => Some(Urgency::Tenant),
            (Passed::Again(_) | Passed::Probe, ..) => None,
            (_, None, true) => Some(Urgency::Urgent),
            _ => Some(Urgency::Ordinary),
        };
        let same_as = if let Passed::Again(first) = passed { Some(first) } else { None };
        Ok(Taken { reference, tenant, same_as, urgency })
    }

    /// Checks the bounds that hold at any time.
    pub(crate) fn require_valid(&self) -> Result<(), Problem> {
        let limits = [
            ("title", &self.title, REPORT_TITLE_CHARS_MAX),
            ("description", &self.description, REPORT_DESCRIPTION_CHARS_MAX),
            ("contact", &self.contact, REPORT_CONTACT_CHARS_MAX),
        ];
        for (name, text, max) in limits {
            if text.chars().count() > max {
                return Err(Problem::new("too-large/report", format!("`{name}` has at most {max} characters")));
            }
        }
        if self.title.trim().is_empty() || self.description.trim().is_empty() {
            return Err(Problem::new("request/report", "a report needs a title and a description"));
        }
        Ok(())
    }

    /// Equal for texts that differ only in digits, marks, spaces and case: the same junk again, with a number in it.
    pub(crate) fn fingerprint(&self) -> Hash {
        let letters = |text: &str| text.chars().filter(|c| c.is_alphabetic()).flat_map(char::to_lowercase).collect();
        let (title, description): (String, String) = (letters(&self.title), letters(&self.description));
        if title.len() + description.len() < 4 {
            return Hash::of(&[self.title.as_bytes(), b"\0", self.description.as_bytes()]); // Nothing left to compare.
        }
        Hash::of(&[title.as_bytes(), b"\0", description.as_bytes()])
    }
}

/// A report that was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Random: whoever knows it may see how the report stands.
    pub(crate) reference: String,
    /// The tenant whose code it bears.
    pub(crate) tenant: Option<TenantId>,
    /// The report that said the same before.
    pub(crate) same_as: Option<String>,
    /// Who has to be woken how fast; nobody for what was said before, and for probes.
    pub(crate) urgency: Option<Urgency>,
}

/// Makes and reads tenants' codes: `acme.` and a proof under a key that server and intake share.
pub(crate) struct Codes(hmac::Key);

impl Codes {
    pub(crate) fn new(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The code of a tenant. It stays the same; whoever knows it can page.
    pub(crate) fn of(&self, tenant: &TenantId) -> String {
        format!("{tenant}.{}", hex::encode(self.proof(tenant)))
    }

    /// Whose code it is; `None` for an empty one. A wrong one is refused, so that nobody believes that it worked.
    pub(crate) fn read(&self, code: &str) -> Result<Option<TenantId>, Problem> {
        let code = code.trim();
        if code.is_empty() {
            return Ok(None);
        }
        let read = || {
            let (tenant, proof) = code.get(..CODE_BYTES_MAX.min(code.len()))?.rsplit_once('.')?;
            let (tenant, proof) = (TenantId::parse(tenant).ok()?, hex::decode(proof).ok()?);
            constant_time::verify_slices_are_equal(&proof, &self.proof(&tenant)).ok()?;
            Some(tenant)
        };
        read().map(Some).ok_or_else(|| {
            Problem::new("request/code", "this is not the code of a customer")
                .with_help("leave it empty to report without one")
        })
    }

    fn proof(&self, tenant: &TenantId) -> [u8; PROOF_BYTES] {
        let tag = hmac::sign(&self.0, format!("creta.intake/1 tenant {tenant}").as_bytes());
        tag.as_ref()[..PROOF_BYTES].try_into().expect("a tag has 32 bytes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(title: &str, description: &str) -> NewReport {
        let (title, description) = (title.to_owned(), description.to_owned());
        NewReport { title, description, contact: String::new(), urgent: None, code: String::new() }
    }

    #[test]
    fn the_same_junk_with_another_number_is_the_same() {
        let junk = report("Buy now 17", "cheap!!  pills 4711");
        assert_eq!(junk.fingerprint(), report("BUY NOW 18", "cheap pills, 99").fingerprint());
        assert_ne!(junk.fingerprint(), report("Buy now", "your tenants can read each other").fingerprint());
        assert_ne!(report("1", "2").fingerprint(), report("1", "3").fingerprint(), "without letters all of it counts");
        assert_ne!(report("ab", "cdef").fingerprint(), report("abc", "def").fingerprint());
    }

    #[test]
    fn attack_ch64_only_a_tenants_own_code_makes_a_tenant() {
        let (codes, tenant) = (Codes::new(&[7; 32]), TenantId::parse("acme").expect("valid"));
        let code = codes.of(&tenant);
        assert_eq!(codes.read(&code).ok(), Some(Some(tenant.clone())));
        assert_eq!(codes.read(&format!(" {code} ")).ok(), Some(Some(tenant)));
        assert_eq!(codes.read("").ok(), Some(None));
        let proof = code.split_once('.').expect("two parts").1;
        let other = Codes::new(&[8; 32]).of(&TenantId::parse("acme").expect("valid"));
        for bad in [&format!("globex.{proof}"), &other, "acme.", "acme", ".", &code[..code.len() - 2], &"a".repeat(500)]
        {
            assert_eq!(codes.read(bad).expect_err(bad).code, "request/code");
        }
    }

    #[test]
    fn the_code_does_not_come_back_in_the_form() {
        let mut new = report("t", "d");
        new.code = "acme.0011223344556677".to_owned();
        assert!(!format!("{:?}", new.draft()).contains("0011"));
    }
}
