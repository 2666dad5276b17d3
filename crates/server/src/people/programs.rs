//! Service accounts and those who see their secrets: an account that gets more of features than its maker, or changes what
//! is decided by, takes a second human, since a secret in somebody's hands is access for them (CI-20).

use creta_audit::{Event, Permit};
use creta_iam::{Place, Principal, PrincipalId, Role, excess, is_reserved, power_excess, row_excess};
use creta_model::{EnvironmentClass, Problem, Scope, Span};
use creta_programme::access::{End, Grant};
use creta_programme::{PersonId, PersonRef};
use serde::{Deserialize, Serialize};

use super::access::Actor;
use super::{People, PersonRecord};
use crate::accounts::client_id;
use crate::control_plane::{ControlPlane, no_account};
use crate::problem::logged;
use crate::two_people::{Matter, Proposal};

/// How a secret comes into somebody's hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Shown {
    /// With a new account.
    Create,
    /// As the new secret of one that is there.
    Rotate,
}

impl Shown {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Rotate => "rotate",
        }
    }
}

/// That somebody is to see a secret by which features can be had that they do not get themselves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SecretShown {
    pub(crate) what: Shown,
    pub(crate) scope: Scope,
    pub(crate) name: PrincipalId,
    pub(crate) role: Role,
}

impl Matter for SecretShown {
    const KIND: &'static str = "service-account-request";
    const FORMAT: &'static str = "creta.service-account-request/1";
    const EVENTS: [&'static str; 3] =
        ["service-account.requested", "service-account.approved", "service-account.request-used"];
    const COMMITMENT: &'static str = "CI-20";
    const VOID_AFTER: Span = Span::hours(24);
}

impl SecretShown {
    /// Where it is about: a tenant's scope, or the environment.
    pub(crate) fn place(&self) -> Place {
        self.principal().home()
    }

    fn principal(&self) -> Principal {
        Principal::service_account(self.name.clone(), self.scope.clone(), self.role)
    }
}

impl People {
    /// Shows a secret to whoever makes or rotates an account, if they get as much of features themselves, or another human
    /// approved it within the day. An approval is used up first: a crash in between costs a new one.
    pub(crate) fn show_secret<T>(
        &self,
        control: &ControlPlane,
        permit: &Permit,
        shown: &SecretShown,
        show: impl FnOnce() -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        let maker = permit.principal();
        let Some(excess) = self.exceeds(control, maker, shown)? else { return show() };
        self.require_own_people((control, permit), shown)?;
        let approved = match maker.person() {
            Some(person) => {
                let own = self.require_person(person.id().as_str())?.reference();
                self.approval_of(control, shown, &own)
            }
            None => None,
        };
        if let Some(approval) = approved
            && self.shown_secrets.use_up(control, permit, &approval.id.to_string())?
        {
            return show();
        }
        control.record(Event::of(permit, "service-account.refused").for_commitment(SecretShown::COMMITMENT));
        let message = format!("`{}` would get more than you do: {excess}", client_id_of(shown));
        if maker.person().is_none() {
            return Err(Problem::new("access/people-only", message).with_help(
                "a person has to ask for it, so that another can approve it: `creta login`, then `creta service-account request`",
            ));
        }
        let SecretShown { what, scope, name, role } = shown;
        let rotate = if *what == Shown::Rotate { " --rotate" } else { "" };
        let whose = match is_reserved(&scope.tenant) {
            true => "--environment".to_owned(),
            false => format!("--tenant {}", scope.tenant),
        };
        Err(Problem::new("access/second-person", message).with_help(format!(
            "ask for it: `creta service-account request {name} {whose} --role {role}{rotate} --reason \"...\"`; when \
             another person has approved it, repeat this within a day"
        )))
    }

    /// Refuses to show staff a secret of a tenant by which more can be had than they get: with it they would see the tenant's
    /// values, whoever agreed (CH-14). It is shown to the tenant's own people.
    pub(crate) fn require_own_people(
        &self,
        (control, permit): (&ControlPlane, &Permit),
        shown: &SecretShown,
    ) -> Result<(), Problem> {
        let of_tenant = permit.principal().scope() == Some(&shown.scope) || is_reserved(&shown.scope.tenant);
        if self.class == EnvironmentClass::Development || of_tenant {
            return Ok(());
        }
        control.record(Event::of(permit, "service-account.refused").for_commitment("CH-14"));
        let message = format!(
            "the secret of `{}` is shown to people of tenant `{}` alone",
            client_id_of(shown),
            shown.scope.tenant
        );
        Err(Problem::new("access/tenants-own", message)
            .with_help("an operator of the tenant asks for it; invite one with `creta person invite --role operator`"))
    }

    /// What an account gets beyond its maker, of features or of what they are decided by, where that matters: on a developer's
    /// own machine nothing of worth is within its reach.
    fn exceeds(
        &self,
        control: &ControlPlane,
        maker: &Principal,
        shown: &SecretShown,
    ) -> Result<Option<String>, Problem> {
        if self.class == EnvironmentClass::Development {
            return Ok(None);
        }
        let (ruling, account) = (control.policies().ruling(), shown.principal());
        let found = excess(&ruling.policies, maker, &account, &shown.scope);
        if let Some(excess) = found.map_err(|e| logged("the policies could not be asked", &e))? {
            return Ok(Some(excess.to_string()));
        }
        if let Some(action) = power_excess(&ruling.policies, maker, &account) {
            return Ok(Some(format!("it may `{action}`, which you may not for good")));
        }
        if is_reserved(&shown.scope.tenant) {
            return Ok(None); // There are no rows.
        }
        let rules = control.data_policy(&shown.scope)?.rules();
        let rule = row_excess(&rules, maker, &account);
        Ok(rule.map(|rule| format!("rows of `{}`: rule `{}` binds you and not it", rule.entity, rule.id)))
    }

    fn approval_of(
        &self,
        control: &ControlPlane,
        shown: &SecretShown,
        own: &PersonRef,
    ) -> Option<Proposal<SecretShown>> {
        let now = control.platform().clock.now();
        let fits = |proposal: &Proposal<SecretShown>| {
            proposal.matter == *shown
                && proposal.proposed_by.account == own.account
                && proposal.approved_by().is_some_and(|by| self.is_other_human(by, own))
                && now < proposal.void_at()
        };
        self.shown_secrets.list(fits).pop()
    }

    /// The human who was known by this name, as they are known now: of two accounts it may have turned out later that they are
    /// one human's.
    pub(crate) fn human_now(&self, human: &PersonId) -> PersonId {
        self.persons.with(human.as_str(), |person| person.human.clone()).unwrap_or_else(|| human.clone())
    }

    /// An account as it is known now.
    pub(crate) fn known_now(&self, account: &PersonRef) -> PersonRef {
        self.persons.with(account.account.as_str(), PersonRecord::reference).unwrap_or_else(|| account.clone())
    }

    /// Refuses to decide on what is one's own by what is known now, whatever was known when it was asked for.
    pub(crate) fn require_other_human<'a>(
        &self,
        (control, permit): (&ControlPlane, &Permit),
        own: &PersonRef,
        concerned: impl IntoIterator<Item = &'a PersonRef>,
    ) -> Result<(), Problem> {
        if concerned.into_iter().all(|other| self.is_other_human(other, own)) {
            return Ok(());
        }
        control.record(Event::of(permit, "access.refused").for_commitment("CH-43"));
        Err(Problem::new(
            "access/same-person",
            "you cannot decide on this request: it is your own, by this account or another of yours",
        )
        .with_help("another human has to decide"))
    }

    /// Whether an account is another human's, by what is known of both now.
    pub(crate) fn is_other_human(&self, account: &PersonRef, own: &PersonRef) -> bool {
        let human = self.persons.with(account.account.as_str(), |person| person.behind().clone());
        !account.is_same_human(own) && human.is_none_or(|human| human != own.person)
    }

    /// Whether an account is one's own: the same, or another of the same human by what is known now. Whom somebody made is not
    /// them: that an account stands for its maker counts where two people are needed ([`is_other_human`](Self::is_other_human)),
    /// and shows nobody what is another's.
    pub(crate) fn is_own(&self, own: &PersonRecord, account: &PrincipalId) -> bool {
        let human = || self.persons.with(account.as_str(), |person| person.human == own.human);
        *account == own.id || human() == Some(true)
    }

    /// Ends running grants whose approver turned out to be the human who holds them: asked for now, they would be refused.
    pub(crate) fn end_own_approvals(&self, actor: &Actor<'_>) -> Result<(), Problem> {
        let own = |grant: &Grant| {
            let holder = self.known_now(grant.holder());
            grant.is_active(actor.now) && grant.approvals.iter().any(|by| !self.is_other_human(&by.by, &holder))
        };
        for grant in self.access.grants(own) {
            self.access.end(actor, &grant.id.to_string(), End::Revoked { by: actor.person.clone() })?;
        }
        Ok(())
    }

    /// What somebody asks to be shown, of an account that is there where it is to be rotated.
    pub(crate) fn secret_asked_for(
        &self,
        control: &ControlPlane,
        what: Shown,
        scope: Scope,
        (name, role): (PrincipalId, Role),
    ) -> Result<SecretShown, Problem> {
        let asked = SecretShown { what, scope, name, role };
        match what {
            Shown::Create => control.require_free(&asked.name, &asked.scope.tenant).map(|()| asked),
            Shown::Rotate => self.secret_of(control, &client_id_of(&asked)),
        }
    }

    /// What rotating shows of an account.
    pub(crate) fn secret_of(&self, control: &ControlPlane, id: &str) -> Result<SecretShown, Problem> {
        let account = control.account(id).filter(|account| account.revoked.is_none());
        let Some(Principal::ServiceAccount { id: name, scope, role }) = account.map(|account| account.principal) else {
            return Err(no_account(id));
        };
        Ok(SecretShown { what: Shown::Rotate, scope, name, role })
    }
}

/// The client id of the account that a secret is of.
pub(crate) fn client_id_of(shown: &SecretShown) -> String {
    client_id(shown.name.as_str(), &shown.scope.tenant)
}

/// The words of a request, for whoever decides on it.
pub(crate) fn described(shown: &SecretShown) -> String {
    let whose = match shown.place().scope() {
        Some(scope) => format!("`{}`", scope.tenant),
        None => "the environment".to_owned(),
    };
    format!("{} `{}`, which is {} of {whose}", shown.what.as_str(), client_id_of(shown), shown.role)
}
