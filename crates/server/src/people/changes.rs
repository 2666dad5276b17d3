//! Changes of somebody's account that would let whoever makes them act in that person's name: these take two people outside
//! class development (CH-14, CI-22).
//!
//! Whoever holds the link of an invitation can use it themselves. So one that takes two is in two halves: whoever asked for it
//! gets the link, whoever agreed a word, and the page where a password is chosen asks for both.

use std::collections::BTreeSet;

use creta_audit::{Event, Permit};
use creta_compliance::Mode;
use creta_iam::{Place, Principal, PrincipalId, Role};
use creta_keys::ScopeKey;
use creta_model::{EnvironmentClass, Problem, Scope, Span, TenantId};
use creta_programme::PersonRef;
use serde::{Deserialize, Serialize};

use super::{People, PersonRecord, no_person};
use crate::control_plane::ControlPlane;
use crate::two_people::{Matter, Proposal};

/// Separates the words of invitations from all other keyed hashes.
const WORD_DOMAIN: &str = "invitation word";
/// Letters of words that people pass on: no vowels, so that they spell nothing, and none that look alike.
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";

/// What is to be done with somebody's account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum PersonChange {
    /// They are invited to a tenant, for the first time or anew.
    Invite {
        person: PrincipalId,
        tenant: TenantId,
        /// None for somebody who is invited anew: these are given again afterwards.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        roles: BTreeSet<Role>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        need: Option<String>,
    },
    /// Their second factor is forgotten, and their sessions end.
    ResetAuthenticators { person: PrincipalId },
}

impl Matter for PersonChange {
    const KIND: &'static str = "person-request";
    const FORMAT: &'static str = "creta.person-request/1";
    const EVENTS: [&'static str; 3] = ["person.requested", "person.agreed", "person.request-used"];
    const COMMITMENT: &'static str = "CI-22";
    const VOID_AFTER: Span = Span::hours(24);
}

impl PersonChange {
    /// Whose account it is about.
    pub(crate) fn person(&self) -> &PrincipalId {
        match self {
            Self::Invite { person, .. } | Self::ResetAuthenticators { person } => person,
        }
    }

    /// Where it is decided on: in the tenant whose person it makes, or in the environment.
    pub(crate) fn place(&self, control: &ControlPlane) -> Place {
        match self {
            Self::Invite { tenant, .. } => Place::Scope(Scope::new(tenant.clone(), control.environment().clone())),
            Self::ResetAuthenticators { .. } => control.place(),
        }
    }

    /// In words, for whoever decides on it.
    pub(crate) fn says(&self) -> String {
        match self {
            Self::Invite { person, tenant, roles, .. } => {
                let names: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
                let roles =
                    if names.is_empty() { "without a role".to_owned() } else { format!("as {}", names.join(", ")) };
                format!(
                    "invite `{person}` to tenant `{tenant}` {roles}, which ends the password and second factor of that name"
                )
            }
            Self::ResetAuthenticators { person } => {
                format!("forget the second factor of `{person}`, who registers another at their next sign-in")
            }
        }
    }
}

/// The word of an agreed invitation: whoever agreed passes it on by another way than the link.
pub(crate) fn word_of(key: &ScopeKey, proposal: &Proposal<PersonChange>) -> String {
    let (mut word, digest) = (String::with_capacity(9), proposal.digest());
    for round in 0_u8.. {
        for byte in key.mac(WORD_DOMAIN, &[&digest.as_bytes()[..], &[round]]) {
            // 240 is a multiple of 20: every letter is as likely as the others.
            if byte < 240 && word.len() < 9 {
                word.push(char::from(LETTERS[usize::from(byte) % LETTERS.len()]));
                if word.len() == 4 {
                    word.push('-');
                }
            }
        }
        if word.len() == 9 {
            break;
        }
    }
    word
}

impl People {
    /// Whether an invitation takes two people: of somebody who chose a password and has access, whoever invites; in an
    /// organisation that serves others, whomever staff invite. Never where nothing of worth is within reach.
    fn inviting_takes_two(&self, by: &Principal, known: Option<&PersonRecord>, now: creta_model::Instant) -> bool {
        let of_worth =
            known.is_some_and(|person| self.has_access(person, now) && self.local.is_settled(person.id.as_str()));
        let for_others = self.mode == Mode::Vendor && by.scope().is_none();
        self.class != EnvironmentClass::Development && (of_worth || for_others)
    }

    /// Whether forgetting somebody's second factor takes two people: of whoever approves or administers.
    fn resetting_takes_two(&self, person: &PersonRecord, now: creta_model::Instant) -> bool {
        let decides = |role: Role| [Role::Administrator, Role::SecurityLead].contains(&role);
        let granted = || self.access.held(&person.id, now).iter().any(|grant| decides(grant.role));
        self.class != EnvironmentClass::Development && (person.roles.iter().any(|role| decides(*role)) || granted())
    }

    /// Refuses a change that takes two people, unless another human agreed to exactly that within the day. Gives the agreed
    /// proposal, which is used up; `None` where one person is enough.
    pub(crate) fn agreed_change(
        &self,
        control: &ControlPlane,
        permit: &Permit,
        change: &PersonChange,
    ) -> Result<Option<Proposal<PersonChange>>, Problem> {
        let now = control.platform().clock.now();
        let known = self.persons.find(change.person().as_str());
        let by = permit.principal();
        let takes_two = match change {
            PersonChange::Invite { .. } => self.inviting_takes_two(by, known.as_ref(), now),
            PersonChange::ResetAuthenticators { person } => {
                self.resetting_takes_two(known.as_ref().ok_or_else(|| no_person(person.as_str()))?, now)
            }
        };
        if !takes_two {
            return Ok(None);
        }
        let own = match by.person() {
            Some(person) => Some(self.require_person(person.id().as_str())?.reference()),
            None => None,
        };
        let agreed = |proposal: &Proposal<PersonChange>| {
            let own = own.as_ref().filter(|own| proposal.proposed_by.account == own.account);
            proposal.matter == *change
                && now < proposal.void_at()
                && own.is_some_and(|own| proposal.approved_by().is_some_and(|by| self.may_agree(change, own, by)))
        };
        if let Some(proposal) = self.person_changes.list(agreed).pop()
            && self.person_changes.use_up(control, permit, &proposal.id.to_string())?
        {
            return Ok(Some(proposal));
        }
        control.record(Event::of(permit, "person.refused").for_commitment(PersonChange::COMMITMENT));
        let command = match change {
            PersonChange::Invite { person, tenant, .. } => format!("invite {person} --tenant {tenant} ..."),
            PersonChange::ResetAuthenticators { person } => format!("reset-authenticators {person}"),
        };
        Err(Problem::new("access/second-person", format!("another human has to agree that you {}", change.says())).with_help(
            format!("ask for it: `creta person {command} --reason \"...\"`; when another person has agreed, repeat this within a day"),
        ))
    }

    /// Whether `by` is somebody else than whoever asks and whom it is about, and of the tenant where one there could agree.
    fn may_agree(&self, change: &PersonChange, asked: &PersonRef, by: &PersonRef) -> bool {
        let about = self.persons.find(change.person().as_str()).map(|person| person.reference());
        let others = self.is_other_human(by, asked) && about.is_none_or(|about| self.is_other_human(by, &about));
        let of_tenant = match change {
            PersonChange::Invite { tenant, person, .. } => {
                let agrees = |other: &PersonRecord| {
                    let decides = other.roles.contains(&Role::SecurityLead);
                    let apart = other.id != *person && self.is_other_human(&other.reference(), asked);
                    other.is_active() && other.tenant.as_ref() == Some(tenant) && decides && apart
                };
                let own = self.persons.with(by.account.as_str(), |person| person.tenant.as_ref() == Some(tenant));
                own == Some(true) || !self.persons().iter().any(agrees)
            }
            PersonChange::ResetAuthenticators { .. } => true,
        };
        others && of_tenant
    }

    /// Refuses to agree to what one asked for or what is about oneself, by whichever account, and to what a tenant's own people
    /// decide.
    pub(crate) fn require_may_agree(&self, proposal: &Proposal<PersonChange>, own: &PersonRef) -> Result<(), Problem> {
        if self.may_agree(&proposal.matter, &proposal.proposed_by, own) {
            return Ok(());
        }
        Err(Problem::new("access/own-proposal", "another human has to agree: not whoever asked, nor whom it is about")
            .with_help("where the tenant has a security lead of its own, that is who agrees"))
    }

    /// Refuses to make somebody of the staff a person of a tenant, in an organisation that serves others: by that they would see
    /// customers' values (CH-14). Whose people a customer's are, the directory says, or an invitation.
    pub(crate) fn require_no_staff(
        &self,
        (control, permit): (&ControlPlane, &Permit),
        person: &PersonRecord,
        tenant: Option<&TenantId>,
    ) -> Result<(), Problem> {
        let moves = tenant.is_some() && person.tenant.as_ref() != tenant;
        if self.mode != Mode::Vendor || self.class == EnvironmentClass::Development || !moves {
            return Ok(());
        }
        control.record(Event::of(permit, "person.assign-refused").for_commitment("CH-14"));
        Err(Problem::new("access/staff", format!("`{}` is not of that tenant, and nobody is moved into one", person.id)).with_help(
            "a tenant's people are invited (`creta person invite`), or come by a group of the directory that gives roles there",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_agreed_to_is_said_in_full() {
        let person = PrincipalId::parse("ana@acme.example").expect("valid");
        let tenant = TenantId::parse("acme").expect("valid");
        let change = PersonChange::Invite { person, tenant, roles: BTreeSet::from([Role::Viewer]), need: None };
        assert!(change.says().starts_with("invite `ana@acme.example` to tenant `acme` as viewer"), "{}", change.says());
    }
}
