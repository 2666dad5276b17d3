//! Exceptions: two people, a reason, an end within 90 days (R6). What holds is read from the log alone; the document keeps
//! the reason. Nothing here makes anything met.

use creta_audit::{Event, Permit};
use creta_compliance::{CommitmentId, LoggedException};
use creta_model::{Instant, Problem};
use creta_programme::access::Reason;
use creta_programme::exception::{Exception, ExceptionError, ExceptionTerms, ExceptionVerdict};
use creta_programme::{Change, PersonRef, RecordId};
use creta_proof::Hash;
use creta_store::StoreError;
use serde::{Deserialize, Serialize};

use super::{Trust, lock};
use crate::control_plane::ControlPlane;
use crate::people::details_of;
use crate::problem::{from_audit, from_store, logged};

const KIND: &str = "exception";

/// What somebody proposes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewException {
    commitment: CommitmentId,
    reason: String,
    expires: Instant,
}

/// What somebody else decides.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Decision {
    pub(crate) verdict: ExceptionVerdict,
    /// Digest of the terms that they saw, in hexadecimal.
    pub(crate) terms: Hash,
}

/// An exception as it is listed.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ListedException {
    exception: Exception,
    /// What a decision has to name.
    terms: Hash,
    /// Whether it holds now, by the log.
    holds: bool,
    /// Whether what is stored is what the log knows.
    as_logged: bool,
}

impl Trust {
    /// Proposes an exception.
    pub(crate) fn propose_exception(
        &self,
        control: &ControlPlane,
        new: &NewException,
        by: &PersonRef,
        permit: &Permit,
    ) -> Result<ListedException, Problem> {
        let row = self.registry.commitments().find(|row| row.ids().any(|id| *id == new.commitment));
        let row = row.ok_or_else(|| {
            Problem::new("not-found/commitment", format!("there is no commitment `{}`", new.commitment))
        })?;
        let reason = Reason::without_ticket(&new.reason)
            .map_err(|fault| Problem::new("exception/reason", format!("the reason does not do: {fault}")))?;
        let mut id = [0; 16];
        control.platform().random.fill(&mut id);
        let (id, now) = (RecordId::from_bytes(id), control.platform().clock.now());
        let change = Exception::propose(id, row.id.as_str(), &reason, by, new.expires, now).map_err(|e| refused(&e))?;
        self.write_exception(control, change, None, permit)
    }

    /// Approves or refuses an exception that somebody else proposed. `is_other` knows whether they are another human now.
    pub(crate) fn decide_exception(
        &self,
        control: &ControlPlane,
        id: &str,
        decision: &Decision,
        (by, is_other): (&PersonRef, impl FnOnce(&PersonRef) -> bool),
        permit: &Permit,
    ) -> Result<ListedException, Problem> {
        let (exception, version) = self.stored_exception(control, id)?;
        let logged = lock(&self.ledger).exception(id).cloned();
        // What the first one agreed to stands in the log; what is stored may have been edited since.
        if logged.is_none_or(|logged| logged.terms != exception.terms_digest()) {
            return Err(refused(&ExceptionError::Changed));
        }
        let now = control.platform().clock.now();
        if by.account == exception.terms.proposed_by.account || !is_other(&exception.terms.proposed_by) {
            return Err(refused(&ExceptionError::SamePerson));
        }
        let change = exception.decide(decision.verdict, by, decision.terms, now).map_err(|e| refused(&e))?;
        self.write_exception(control, change, Some(version), permit)
    }

    /// One as it is decided on, and its terms: what somebody signs. Its digest has to be the one that they saw.
    pub(crate) fn exception_seen(
        &self,
        control: &ControlPlane,
        id: &str,
        seen: &Hash,
    ) -> Result<(ListedException, ExceptionTerms), Problem> {
        let (exception, _) = self.stored_exception(control, id)?;
        if exception.terms_digest() != *seen {
            return Err(refused(&ExceptionError::Changed));
        }
        let terms = exception.terms.clone();
        Ok((self.listed_exception(control, exception), terms))
    }

    /// All exceptions, by name.
    pub(crate) fn exceptions(&self, control: &ControlPlane) -> Result<Vec<ListedException>, Problem> {
        self.catch_up(control)?;
        let documents = control.metadata().list(KIND).map_err(|e| from_store(&e))?;
        documents.iter().map(|document| Ok(self.listed_exception(control, parse(&document.body)?))).collect()
    }

    /// Whether an exception to `commitment` holds now, by the log.
    pub(crate) fn excepts(&self, id: &str, commitment: &str, now: Instant) -> bool {
        let ledger = lock(&self.ledger);
        let logged = ledger.exception(id);
        logged.is_some_and(|exception| exception.commitment == commitment && exception.holds(now))
    }

    fn stored_exception(&self, control: &ControlPlane, id: &str) -> Result<(Exception, u64), Problem> {
        self.catch_up(control)?;
        let document = control.metadata().read(KIND, id).map_err(|e| from_store(&e))?;
        let document = document.ok_or_else(|| Problem::new("not-found/exception", "there is no such exception"))?;
        Ok((parse(&document.body)?, document.version))
    }

    /// The log first, then the document.
    fn write_exception(
        &self,
        control: &ControlPlane,
        change: Change<Exception>,
        version: Option<u64>,
        permit: &Permit,
    ) -> Result<ListedException, Problem> {
        let Change { document, entry } = change;
        let details = details_of(&entry).map_err(|e| from_audit(&e))?;
        control.log().record(Event::of(permit, entry.action).with(details)).map_err(|e| from_audit(&e))?;
        let id = document.terms.id.to_string();
        control.metadata().write(KIND, &id, version, &document.to_bytes()).map_err(|error| match error {
            StoreError::Conflict { .. } => {
                Problem::new("conflict/exception", "somebody else decided at the same time; look again")
            }
            other => from_store(&other),
        })?;
        self.catch_up(control)?;
        Ok(self.listed_exception(control, document))
    }

    fn listed_exception(&self, control: &ControlPlane, exception: Exception) -> ListedException {
        let (terms, now) = (exception.terms_digest(), control.platform().clock.now());
        let logged = lock(&self.ledger).exception(&exception.terms.id.to_string()).cloned();
        let as_logged = logged.as_ref().is_some_and(|logged| logged.terms == terms);
        let holds = logged.as_ref().is_some_and(|logged: &LoggedException| logged.holds(now));
        ListedException { exception, terms, holds, as_logged }
    }
}

fn parse(bytes: &[u8]) -> Result<Exception, Problem> {
    Exception::parse(bytes).map_err(|error| logged("a stored exception cannot be read", &error))
}

fn refused(error: &ExceptionError) -> Problem {
    let code = match error {
        ExceptionError::State { .. } => "conflict/exception",
        other => other.code(),
    };
    Problem::new(code, error.to_string())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use creta_audit::Details;
    use creta_iam::{Action, FeatureSet, Person, Place, Principal, PrincipalId, Role, Standing};
    use creta_model::{Environment, EnvironmentClass, Span};
    use creta_platform::Platform;

    use super::*;
    use crate::config::Config;
    use crate::context::resource;

    /// A control plane with trust in a folder of its own.
    struct Here {
        control: ControlPlane,
        trust: Trust,
        _folder: tempfile::TempDir,
    }

    impl Here {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let data = folder.path().join("data");
            let environment = Environment::parse("prod").expect("valid");
            crate::init(&data, &environment, &crate::InitOptions::default()).expect("made");
            let config = Config::load(&data).expect("valid");
            let platform = Platform::system(&data).expect("opens");
            let root = creta_keys::RootKey::load_file(data.join("root.key"), &environment).expect("loads");
            let control = ControlPlane::open(&data, &config, platform, root).expect("opens");
            let trust = Trust::open(&data, &config, &control).expect("opens");
            Self { control, trust, _folder: folder }
        }

        fn permit(&self, principal: &Principal, action: Action) -> Result<Permit, Problem> {
            let place = self.control.place();
            let decision = self.control.decide(principal, action, &resource(&place, FeatureSet::none()));
            self.control.admit(decision, Details::none())
        }

        fn propose(&self, by: &Principal, days: u32) -> Result<ListedException, Problem> {
            let new = NewException {
                commitment: CommitmentId::parse("CI-12").expect("valid"),
                reason: "the disk of the archive is replaced in March and is not sealed before".to_owned(),
                expires: self.control.platform().clock.now().plus(Span::days(days)),
            };
            self.trust.propose_exception(
                &self.control,
                &new,
                &human(by, None),
                &self.permit(by, Action::ExceptionPropose)?,
            )
        }

        fn approve(&self, by: &Principal, id: &str, terms: Hash) -> Result<ListedException, Problem> {
            self.approve_as(by, None, id, terms)
        }

        fn approve_as(
            &self,
            by: &Principal,
            human_of: Option<&str>,
            id: &str,
            terms: Hash,
        ) -> Result<ListedException, Problem> {
            let decision = Decision { verdict: ExceptionVerdict::Approved, terms };
            let permit = self.permit(by, Action::ExceptionApprove)?;
            self.trust.decide_exception(&self.control, id, &decision, (&human(by, human_of), |_| true), &permit)
        }

        fn shown(&self) -> usize {
            self.trust.report(&self.control).expect("a report").exceptions.len()
        }
    }

    /// The account, and the human behind it: its own unless another is named.
    fn human(by: &Principal, of: Option<&str>) -> PersonRef {
        let account = by.id().clone();
        let human = of.map_or_else(|| account.clone(), |name| PrincipalId::parse(name).expect("valid"));
        PersonRef { account, person: creta_programme::PersonId::new(human) }
    }

    fn staff(name: &str, roles: &[Role]) -> Principal {
        let mut standing = Standing::none(EnvironmentClass::Development);
        standing.roles = roles.iter().copied().collect::<BTreeSet<Role>>();
        standing.assurance.user_verified = true;
        let environment = Environment::parse("prod").expect("valid");
        let id = PrincipalId::parse(name).expect("valid");
        Principal::Person(Person::new(id, Place::Environment(environment), standing))
    }

    #[test]
    fn an_exception_takes_two_people_and_changes_no_state() {
        let here = Here::new();
        let (operator, lead) = (staff("ana", &[Role::Operator]), staff("ben", &[Role::SecurityLead]));
        let proposed = here.propose(&operator, 30).expect("proposed");
        let id = proposed.exception.terms.id.to_string();
        assert_eq!((proposed.holds, here.shown()), (false, 0), "one alone excepts nothing");
        let before = here.trust.report(&here.control).expect("a report");
        let approved = here.approve(&lead, &id, proposed.terms).expect("approved");
        assert!(approved.holds && approved.as_logged);
        let after = here.trust.report(&here.control).expect("a report");
        assert_eq!((after.exceptions.len(), after.exceptions[0].commitment.as_str()), (1, "CI-12"));
        assert_eq!(after.met, before.met);
        let states = |report: &creta_compliance::TrustReport| -> Vec<_> {
            report.commitments.iter().map(|row| (row.id.clone(), row.state)).collect()
        };
        assert_eq!(states(&after), states(&before));
        assert_eq!(here.approve(&lead, &id, proposed.terms).expect_err("twice").code, "conflict/exception");
    }

    #[test]
    fn attack_r6_nobody_approves_their_own_exception() {
        let here = Here::new();
        let both = staff("eve", &[Role::Operator, Role::SecurityLead]);
        let proposed = here.propose(&both, 30).expect("proposed");
        let id = proposed.exception.terms.id.to_string();
        assert_eq!(here.approve(&both, &id, proposed.terms).expect_err("own").code, "exception/same-person");
        // Nor by another account of the same human.
        let alias = staff("eve-lead", &[Role::SecurityLead]);
        let refused = here.approve_as(&alias, Some("eve"), &id, proposed.terms).expect_err("own");
        assert_eq!(refused.code, "exception/same-person");
        let admin = Principal::administrator(
            PrincipalId::parse("admin").expect("valid"),
            Environment::parse("prod").expect("valid"),
        );
        assert_eq!(here.approve(&admin, &id, proposed.terms).expect_err("not a lead").code, "access/denied");
        assert_eq!(here.shown(), 0);
    }

    #[test]
    fn attack_r6_an_edited_text_is_not_what_was_proposed() {
        let here = Here::new();
        let (operator, lead) = (staff("ana", &[Role::Operator]), staff("ben", &[Role::SecurityLead]));
        let proposed = here.propose(&operator, 10).expect("proposed");
        let id = proposed.exception.terms.id.to_string();
        let other = Hash::of(&[b"other terms"]);
        assert_eq!(here.approve(&lead, &id, other).expect_err("other").code, "exception/changed");
        // Whoever has the machine writes a document of the right form with another end.
        let (mut edited, version) = here.trust.stored_exception(&here.control, &id).expect("stored");
        edited.terms.expires = edited.terms.expires.plus(Span::days(60));
        here.control.metadata().write(KIND, &id, Some(version), &edited.to_bytes()).expect("written");
        let refused = here.approve(&lead, &id, edited.terms_digest()).expect_err("edited");
        assert_eq!((refused.code.as_str(), here.shown()), ("exception/changed", 0));
        assert!(!here.trust.exceptions(&here.control).expect("listed")[0].as_logged);
    }

    #[test]
    fn attack_r6_an_exception_ends_and_nobody_gets_one_for_longer() {
        let here = Here::new();
        let operator = staff("ana", &[Role::Operator]);
        for days in [0, 91, 400] {
            assert_eq!(here.propose(&operator, days).expect_err("too long").code, "exception/span", "{days}");
        }
        let proposed = here.propose(&operator, 90).expect("proposed");
        let lead = staff("ben", &[Role::SecurityLead]);
        let id = proposed.exception.terms.id.to_string();
        here.approve(&lead, &id, proposed.terms).expect("approved");
        let ledger = lock(&here.trust.ledger);
        let logged = ledger.exception(&id).expect("logged");
        let end = proposed.exception.terms.expires;
        assert!(logged.holds(end.minus(Span::seconds(1))) && !logged.holds(end));
    }
}
