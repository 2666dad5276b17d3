//! What people do on a schedule or for one another: requests for access and their approval, reviews, duties that come
//! round, exceptions that end.
//!
//! Everything here is a pure function over documents. Whoever calls it brings the instant and the random names; each
//! transition gives the document as it will be, together with a [`Draft`] of the entry that must stand in the audit log
//! before the document is stored. A refusal says which commitment it keeps.
//!
//! - [`access`]: a request with a reason, approved by another human, becomes a grant for hours.
//! - [`break_glass`]: the sealed account that two people open together when nothing else works.
//! - [`cadence`]: what is due again and again, by whom, and what has to be shown for it.
//! - [`campaign`]: reviews of access, in which nobody decides about their own.
//! - [`analyser`]: rights held and not used, and the smaller set that would do.
//! - [`duties`]: rights that one human must not hold together, found through nested groups.
//! - [`exception`]: a promise that is not kept for a while, agreed on by two people.
//!
//! ```
//! use creta_iam::{Place, PrincipalId, Role};
//! use creta_model::{Environment, Instant};
//! use creta_programme::access::{Asked, DecisionOrder, Kind, Basis, Reason, Request, Ticket, Verdict};
//! use creta_programme::{PersonId, PersonRef, RecordId};
//!
//! let person = |name: &str| -> Result<PersonRef, Box<dyn std::error::Error>> {
//!     let id = PrincipalId::parse(name)?;
//!     Ok(PersonRef { account: id.clone(), person: PersonId::new(id) })
//! };
//! let (ana, ben) = (person("ana")?, person("ben")?);
//! let now = Instant::parse("2026-03-02T09:00:00Z")?;
//! let ticket = Ticket::parse("OPS-1234")?;
//! let asked = Asked {
//!     beneficiary: ana.clone(),
//!     role: Role::Developer,
//!     place: Place::Environment(Environment::parse("prod")?),
//!     reason: Reason::parse("Deploy the corrected merchant risk resolver", &ticket, &[])?,
//!     ticket,
//!     hours: 2,
//!     kind: Kind::Ordinary,
//! };
//! let request = Request::open(RecordId::from_bytes([1; 16]), &ana, asked, now)?.document;
//!
//! // What Ben approves, and signs with his own key, names this request as it stands.
//! let order = DecisionOrder::new(RecordId::from_bytes([2; 16]), &request, &ben, Verdict::Approve, now);
//! let approved = request.decide(&order, &[Basis::Standing], now)?.document;
//! let grant = approved.activate(RecordId::from_bytes([3; 16]), &ana, now)?.grant;
//! assert!(grant.is_active(now));
//! assert_eq!(grant.expires.to_string(), "2026-03-02T11:00:00Z");
//!
//! // Nobody approves what they asked for.
//! let own = DecisionOrder::new(RecordId::from_bytes([4; 16]), &request, &ana, Verdict::Approve, now);
//! let refused = request.decide(&own, &[Basis::Standing], now).unwrap_err();
//! assert_eq!(refused.commitment(), "CH-17");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod access;
pub mod analyser;
pub mod break_glass;
pub mod cadence;
pub mod campaign;
mod document;
mod draft;
pub mod duties;
pub mod exception;
mod people;

pub use document::{DocumentError, RecordId};
pub use draft::{Change, Detail, Draft};
pub use people::{InvalidSubject, PersonId, PersonRef, SubjectId};
