//! Programs of an environment and its tenants: made, shown their secret, given another one, ended.
//!
//! What they are is in `accounts.rs`; here they change, under the one lock of all accounts.

use std::sync::PoisonError;

use creta_audit::{Details, Event, Permit};
use creta_iam::{ClientSecret, Place, Principal, PrincipalId, Role, control_plane};
use creta_model::{Problem, Span, TenantId};

use super::{ControlPlane, State, Stored};
use crate::accounts::{ACCOUNT_KIND, Account, Binding, Rotation, client_id};
use crate::problem::{from_audit, from_store};
use crate::tokens::Bearer;

impl ControlPlane {
    /// Makes a service account of where the permit holds: a tenant's, or one of the environment. Its secret is in the answer
    /// and nowhere else. `is_here` says whether a person has not left: nobody is shown what would outlive them.
    pub(crate) fn create_service_account(
        &self,
        name: &PrincipalId,
        (role, binding): (Role, Binding),
        permit: &Permit,
        is_here: impl FnOnce(&PrincipalId) -> bool,
    ) -> Result<(Account, ClientSecret), Problem> {
        let scope = match permit.scope() {
            Some(scope) => self.require_tenant(&scope.tenant)?,
            None => control_plane(&self.environment),
        };
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let id = client_id(name.as_str(), &scope.tenant);
        if state.accounts.contains_key(&id) || self.planted().find(&id).is_some() {
            return Err(name_taken(&id));
        }
        let tenant = scope.tenant.clone();
        let principal = Principal::service_account(name.clone(), scope, role);
        let (now, random) = (self.platform.clock.now(), &*self.platform.random);
        let (mut account, secret) = Account::make(&self.key, random, principal, &tenant, now, state.epoch);
        account.binding = binding;
        account.shown_to = shown_to(permit, is_here)?;
        account.made_by = account.shown_to.clone();
        let version = self.metadata.write(ACCOUNT_KIND, &id, None, &account.to_bytes()).map_err(|e| from_store(&e))?;
        state.accounts.insert(id, Stored { account: account.clone(), version });
        drop(state);
        self.record_done(permit, "service-account.created");
        Ok((account, secret))
    }

    /// Refuses a name that an account of the tenant has or had.
    pub(crate) fn require_free(&self, name: &PrincipalId, tenant: &TenantId) -> Result<(), Problem> {
        let id = client_id(name.as_str(), tenant);
        let taken = self.account(&id).is_some() || self.planted().find(&id).is_some();
        if taken { Err(name_taken(&id)) } else { Ok(()) }
    }

    /// The service accounts of a tenant, or of the environment, by client id, revoked ones included.
    pub(crate) fn service_accounts(&self, home: &Place) -> Vec<Account> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.accounts.values().map(|stored| &stored.account).filter(|account| is_of(account, home)).cloned().collect()
    }

    /// An account by its client id, revoked or not.
    pub(crate) fn account(&self, client_id: &str) -> Option<Account> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        Some(state.accounts.get(client_id)?.account.clone())
    }

    /// Gives a service account of the permit's scope a new secret; the present one is taken for `overlap` longer. Without any
    /// overlap the tokens that were got with it end as well. What its tokens are bound to stays unless it is said. `is_here` as for [`create_service_account`](Self::create_service_account).
    pub(crate) fn rotate_service_account(
        &self,
        client_id: &str,
        (overlap, binding): Rotation,
        permit: &Permit,
        is_here: impl FnOnce(&PrincipalId) -> bool,
    ) -> Result<(Account, ClientSecret), Problem> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let stored = state.accounts.get(client_id).filter(|stored| is_of(&stored.account, permit.place()));
        let Some(stored) = stored.filter(|stored| stored.account.revoked.is_none()) else {
            return Err(no_account(client_id));
        };
        let (now, version) = (self.platform.clock.now(), stored.version);
        let (mut account, secret) = stored.account.rotate(&self.key, &*self.platform.random, now, overlap);
        account.shown_to = shown_to(permit, is_here)?;
        account.binding = binding.unwrap_or(account.binding);
        self.record_first(permit, "service-account.rotated", ("service-account", client_id))?;
        if overlap == Span::ZERO {
            // First, so that a crash in between ends tokens rather than leaving some.
            self.begin_epoch(&mut state, std::slice::from_ref(&account.principal))?;
            account.epoch = state.epoch;
        }
        let written = self.metadata.write(ACCOUNT_KIND, client_id, Some(version), &account.to_bytes());
        let version = written.map_err(|e| from_store(&e))?;
        state.accounts.insert(client_id.to_owned(), Stored { account: account.clone(), version });
        Ok((account, secret))
    }

    /// Ends a service account of the permit's scope, and all its tokens with the next request. Harmless when repeated.
    pub(crate) fn revoke_service_account(&self, client_id: &str, permit: &Permit) -> Result<Account, Problem> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let stored = state.accounts.get(client_id).filter(|stored| is_of(&stored.account, permit.place()));
        let Some(stored) = stored else {
            return Err(no_account(client_id));
        };
        if stored.account.revoked.is_some() {
            return Ok(stored.account.clone());
        }
        self.record_first(permit, "service-account.revoked", ("service-account", client_id))?;
        self.end_account(&mut state, client_id)
    }

    /// Ends a service account, or the local administrator, because a review of access decided so; the log first. Harmless when
    /// repeated.
    pub(crate) fn revoke_for_review(&self, client_id: &str, campaign: &str) -> Result<(), Problem> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let Some(stored) = state.accounts.get(client_id) else { return Ok(()) };
        let (account, home) = (&stored.account, stored.account.principal.home());
        if account.revoked.is_some() {
            return Ok(());
        }
        let details = Details::none()
            .name("service-account", client_id)
            .and_then(|details| details.name("campaign", campaign))
            .map_err(|e| from_audit(&e))?;
        let event = Event::new("service-account.revoked", home).with(details);
        self.log.record(event).map_err(|e| from_audit(&e))?;
        self.end_account(&mut state, client_id).map(drop)
    }

    fn end_account(&self, state: &mut State, client_id: &str) -> Result<Account, Problem> {
        let stored = state.accounts.get(client_id).ok_or_else(|| no_account(client_id))?;
        let mut account = stored.account.clone();
        account.revoked = Some(self.platform.clock.now());
        let written = self.metadata.write(ACCOUNT_KIND, client_id, Some(stored.version), &account.to_bytes());
        let version = written.map_err(|e| from_store(&e))?;
        state.accounts.insert(client_id.to_owned(), Stored { account: account.clone(), version });
        self.begin_epoch(state, std::slice::from_ref(&account.principal))?;
        Ok(account)
    }

    /// Ends the secrets that somebody who left was shown, and the tokens got with them. The accounts stand; rotating gives
    /// each a secret again.
    pub(crate) fn end_secrets_of(&self, person: &PrincipalId) -> Result<(), Problem> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let (random, next) = (&*self.platform.random, state.epoch + 1);
        let without = |stored: &Stored| stored.account.without_secrets_of(person, &self.key, random, next);
        let ended: Vec<(Account, u64)> =
            state.accounts.values().filter_map(|stored| Some((without(stored)?, stored.version))).collect();
        if ended.is_empty() {
            return Ok(());
        }
        // First, so that a crash in between ends tokens rather than leaving some.
        let whose: Vec<Principal> = ended.iter().map(|(account, _)| account.principal.clone()).collect();
        self.begin_epoch(&mut state, &whose)?;
        for (account, version) in ended {
            let id = account.client_id.clone();
            let written = self.metadata.write(ACCOUNT_KIND, &id, Some(version), &account.to_bytes());
            let version = written.map_err(|e| from_store(&e))?;
            let place = account.principal.home();
            state.accounts.insert(id.clone(), Stored { account, version });
            let details = Details::none().name("service-account", id).map_err(|e| from_audit(&e))?;
            self.record(Event::new("service-account.locked", place).with(details).for_commitment("CH-33"));
        }
        Ok(())
    }

    /// Ends a program that was ended before an older copy of the documents was put in place. Whether there was anything to end.
    pub(crate) fn end_program(&self, client_id: &str) -> Result<bool, Problem> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let lives = state.accounts.get(client_id).is_some_and(|stored| stored.account.revoked.is_none());
        if lives {
            let home = state.accounts[client_id].account.principal.home();
            self.record_ended(client_id, "service-account.revoked", home)?;
            self.end_account(&mut state, client_id)?;
        }
        Ok(lives)
    }

    /// Takes the secret from a program that got another one since: rotating gives it one again.
    pub(crate) fn lock_program(&self, client_id: &str) -> Result<bool, Problem> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let Some(stored) = state.accounts.get(client_id).filter(|stored| stored.account.revoked.is_none()) else {
            return Ok(false);
        };
        let account = stored.account.locked(&self.key, &*self.platform.random, state.epoch + 1);
        let version = stored.version;
        self.record_ended(client_id, "service-account.locked", account.principal.home())?;
        // First, so that a crash in between ends tokens rather than leaving some.
        self.begin_epoch(&mut state, std::slice::from_ref(&account.principal))?;
        let written = self.metadata.write(ACCOUNT_KIND, client_id, Some(version), &account.to_bytes());
        let version = written.map_err(|e| from_store(&e))?;
        state.accounts.insert(client_id.to_owned(), Stored { account, version });
        Ok(true)
    }

    fn record_ended(&self, client_id: &str, name: &'static str, home: Place) -> Result<(), Problem> {
        let details = Details::none().name("service-account", client_id).map_err(|e| from_audit(&e))?;
        let event = Event::new(name, home).with(details).for_commitment("CH-33");
        self.log.record(event).map(drop).map_err(|e| from_audit(&e))
    }

    /// Every service account, revoked ones included, by client id.
    pub(crate) fn programs(&self) -> Vec<Account> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let programs = state.accounts.values().map(|stored| &stored.account);
        programs.filter(|account| account.principal.role().is_some()).cloned().collect()
    }

    /// By what every program is known, those that ended too.
    pub(crate) fn client_ids(&self) -> Vec<String> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let programs = state.accounts.iter().filter(|(_, stored)| stored.account.principal.role().is_some());
        programs.map(|(id, _)| id.clone()).collect()
    }

    /// Whether a token of an account, made as its token would be, is taken as every request's is.
    pub(crate) fn takes_token_of(&self, client_id: &str) -> bool {
        let Some(account) = self.account(client_id) else { return false };
        let tenant = account.principal.scope().map(|scope| scope.tenant.clone());
        // Bound to a key: an account that requires it takes no other, and would look as if it had ended.
        let bearer = Bearer::account(client_id, tenant, self.epoch());
        let token = self.tokens.issue(Bearer { thumbprint: Some("of-a-probe".to_owned()), ..bearer });
        self.claims_of(&token).and_then(|claims| self.caller_of(&claims)).is_ok()
    }
}

/// Who is shown a secret. Asked while the accounts are locked: whoever leaves is marked first and then loses the secrets that
/// they were shown, so either this sees that they left, or that sees what this shows them.
fn shown_to(permit: &Permit, is_here: impl FnOnce(&PrincipalId) -> bool) -> Result<Option<PrincipalId>, Problem> {
    let Some(person) = permit.principal().person() else { return Ok(None) };
    if is_here(person.id()) {
        return Ok(Some(person.id().clone()));
    }
    Err(Problem::new("auth/session-over", "your account ended while this was asked for"))
}

fn name_taken(client_id: &str) -> Problem {
    Problem::new("conflict/service-account", format!("there is or was a service account `{client_id}`"))
        .with_help("choose another name: names are not used twice, so that the log stays unambiguous")
}

pub(crate) fn no_account(client_id: &str) -> Problem {
    Problem::new("not-found/service-account", format!("there is no service account `{client_id}`"))
        .with_help("`GET /v1/service-accounts?tenant=...` lists them")
}

/// Whether it is a service account that belongs there. The local administrator is none.
fn is_of(account: &Account, home: &Place) -> bool {
    account.principal.role().is_some() && account.principal.home() == *home
}
