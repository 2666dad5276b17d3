//! What the server knows about its environment: keys, the audit log, tenants and accounts.
//!
//! Everything here belongs to a scope of its own, whose name no tenant can have. The server asks first
//! (`guard` in `context.rs`); functions that change something take the permit.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use creta_audit::{Details, Event, Log, Permit};
use creta_engine::ScopeEngine;
use creta_iam::{
    Action, ClientSecret, Decision, Explanation, Need, Place, Principal, Remedy, Resource, control_plane, is_reserved,
    remedy,
};
use creta_keys::{KeyRing, RootKey, ScopeKey};
use creta_model::{Environment, EnvironmentClass, Instant, Problem, Scope, TenantId};
use creta_platform::Platform;
use creta_store::{MetadataEpoch, MetadataStore, SqliteStore, StoreError};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::ServerError;
use crate::accounts::{ACCOUNT_KIND, Account, Binding, is_secret_of};
use crate::canaries::Canaries;
use crate::components::own_certificate;
use crate::config::Config;
use crate::context::{Caller, Credential};
use crate::copied;
use crate::data_policy::{Agreed, ScopePolicy};
use crate::epochs::{Epochs, Gap, OLDER_COPY, Store};
use crate::planted::PlantedCredentials;
use crate::policies::PolicyBook;
use crate::problem::{from_audit, from_keys, from_store, internal};
use crate::scopes::Scopes;
use crate::seen::Sightings;
use crate::signatures::Signatures;
use crate::tls::{Authority, Components, Issued, KnownComponents, Reason, Turned, TurnedAway, certificate_thumbprint};
use crate::tokens::{Bearer, Claims, TokenError, Tokens};
use crate::trust::refusals::{self, Refusals};
use crate::witness::Witnesses;

mod components;
mod programs;

pub(crate) use programs::no_account;

/// Names of the settings kept among the control plane's documents.
pub(crate) mod setting {
    pub(crate) const KIND: &str = "setting";
    /// Signs tokens (PKCS #8).
    pub(crate) const TOKEN_KEY: &str = "token-key";
    /// The certificate authority's private key (PKCS #8).
    pub(crate) const AUTHORITY_KEY: &str = "authority-key";
    /// Which environment and account the documents belong to.
    pub(crate) const BINDING: &str = "binding";
    /// The newest certificate of an ACME authority, with its key.
    pub(crate) const ACME_CERTIFICATE: &str = "acme-certificate";
    /// Begins the names of accounts at ACME authorities.
    pub(crate) const ACME_ACCOUNT: &str = "acme-account";
    /// The policy epoch, as a decimal number.
    pub(crate) const EPOCH: &str = "policy-epoch";
}

const TENANT_KIND: &str = "tenant";

/// A tenant of the environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tenant {
    pub(crate) tenant: TenantId,
    pub(crate) created: Instant,
}

/// The open control plane of one environment.
pub(crate) struct ControlPlane {
    folder: PathBuf,
    environment: Environment,
    environment_id: String,
    class: EnvironmentClass,
    turned_away: Arc<TurnedAway>,
    components: Arc<KnownComponents>,
    refusals: Refusals,
    platform: Platform,
    ring: KeyRing,
    key: ScopeKey,
    log: Log,
    epochs: Epochs,
    witnesses: Witnesses,
    metadata: Arc<dyn MetadataStore>,
    documents: Arc<SqliteStore>,
    policies: PolicyBook,
    canaries: Canaries,
    planted: PlantedCredentials,
    sightings: Sightings,
    signatures: Signatures,
    tokens: Tokens,
    scopes: Scopes,
    state: RwLock<State>,
}

/// How a token is to be less than its account.
#[derive(Debug, Default)]
pub(crate) struct Narrowed {
    /// Thumbprint of the key that has to come along.
    pub(crate) thumbprint: Option<String>,
    /// The only features it is good for.
    pub(crate) features: Option<BTreeSet<String>>,
}

/// What is asked at every request, kept in memory.
#[derive(Default)]
struct State {
    tenants: BTreeMap<TenantId, Tenant>,
    accounts: BTreeMap<String, Stored>,
    epoch: u64,
    epoch_version: Option<u64>,
}

struct Stored {
    account: Account,
    version: u64,
}

impl ControlPlane {
    /// Opens the control plane of a data folder. `root` unlocks it.
    pub(crate) fn open(folder: &Path, config: &Config, platform: Platform, root: RootKey) -> Result<Self, Problem> {
        let environment = config.environment.clone();
        let ring = KeyRing::open(root, environment.clone(), platform.clone()).map_err(|e| from_keys(&e))?;
        let key = ring.scope(&control_plane(&environment)).map_err(|e| from_keys(&e))?;
        let log = Log::open(&platform, key.clone(), environment.clone()).map_err(|e| from_audit(&e))?;
        require_begun(&log)?;
        copied::require_own(&*platform.files, &log)?;
        let documents = SqliteStore::open(folder.join("metadata.sqlite"), key.clone()).map_err(|e| from_store(&e))?;
        let documents = Arc::new(documents);
        // Before anything is appended: what a witness has seen of this log must be the beginning of it.
        let own = own_certificate(&*documents, &config.environment_id, &environment, platform.clock.now())
            .map_err(|error| error.to_problem())?;
        let witnesses = Witnesses::new(&config.witness, folder, &platform, &own)?;
        witnesses.check_at_start(&log)?;
        let epochs = Epochs::read(&log)?;
        let place = Place::Environment(environment.clone());
        epochs.check(None, Store::Metadata, |kept| documents.check_epoch(&kept.metadata())).inspect_err(|_| {
            let refused = refusals::event(refusals::Kind::OlderStore, 1, place);
            if let Err(error) = refused.and_then(|event| log.record(event)) {
                tracing::error!(%error, "a refused older copy could not be recorded");
            }
        })?;
        copied::break_off(&*platform.files, &log)?;
        let metadata = Arc::clone(&documents) as Arc<dyn MetadataStore>;
        let signatures = Signatures::open(Arc::clone(&metadata));
        let policies = PolicyBook::open(Arc::clone(&metadata), (&log, &signatures), config.class)?;
        let canaries = Canaries::open(Arc::clone(&metadata))?;
        let planted = PlantedCredentials::open(Arc::clone(&metadata))?;
        let sightings = Sightings::open(Arc::clone(&metadata), config.programs)?;
        let token_key = require_setting(&*metadata, setting::TOKEN_KEY)?;
        let (clock, random) = (Arc::clone(&platform.clock), Arc::clone(&platform.random));
        let tokens = Tokens::new(&token_key, environment.clone(), &config.environment_id, clock, random);
        let state = RwLock::new(State::load(&*metadata)?);
        Ok(Self {
            folder: folder.to_owned(),
            scopes: Scopes::new(folder, platform.clone(), config.workers.clone(), Agreed::read(&log)?),
            tokens: tokens.ok_or_else(internal)?,
            environment,
            environment_id: config.environment_id.clone(),
            class: config.class,
            turned_away: Arc::default(),
            components: Arc::new(KnownComponents::new(Components(&*metadata).known()?)),
            refusals: Refusals::default(),
            platform,
            ring,
            key,
            log,
            epochs,
            witnesses,
            metadata,
            documents,
            policies,
            canaries,
            planted,
            sightings,
            signatures,
            state,
        })
    }

    pub(crate) fn environment(&self) -> &Environment {
        &self.environment
    }

    /// What rules people and programs work under.
    pub(crate) fn class(&self) -> EnvironmentClass {
        self.class
    }

    pub(crate) fn platform(&self) -> &Platform {
        &self.platform
    }

    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// The data folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes a copy of the control plane's documents, as sealed as they are; see [`SqliteStore::copy_to`].
    pub(crate) fn copy_documents(&self, path: &Path) -> Result<MetadataEpoch, StoreError> {
        self.documents.copy_to(path)
    }

    /// The control plane's documents.
    pub(crate) fn metadata(&self) -> &dyn MetadataStore {
        &*self.metadata
    }

    /// The same, for those who keep documents of their own kind.
    pub(crate) fn shared_metadata(&self) -> Arc<dyn MetadataStore> {
        Arc::clone(&self.metadata)
    }

    /// The control plane's own key.
    pub(crate) fn own_key(&self) -> &ScopeKey {
        &self.key
    }

    /// The key of a tenant's scope.
    pub(crate) fn scope_key(&self, scope: &Scope) -> Result<ScopeKey, Problem> {
        self.ring.scope(scope).map_err(|e| from_keys(&e))
    }

    /// The environment's certificate authority.
    pub(crate) fn authority(&self) -> Result<Authority, Problem> {
        let key = Zeroizing::new(require_setting(&*self.metadata, setting::AUTHORITY_KEY)?);
        Ok(Authority::new(&self.environment_id, key))
    }

    /// A fresh certificate of the server itself, for processes of its organisation.
    pub(crate) fn own_certificate(&self, now: Instant) -> Result<Issued, ServerError> {
        own_certificate(&*self.metadata, &self.environment_id, &self.environment, now)
    }

    /// What came from other environments and waits to be recorded.
    pub(crate) fn turned_away(&self) -> &Arc<TurnedAway> {
        &self.turned_away
    }

    /// Random name of the environment.
    pub(crate) fn environment_id(&self) -> &str {
        &self.environment_id
    }

    // Who asks.

    /// A token for whoever knows the secret of a living account. `None` says no more than that it is not given.
    pub(crate) fn authenticate(&self, client_id: &str, secret: &str) -> Option<Account> {
        // An ill-formed secret is compared too, as one that nobody has.
        let secret = ClientSecret::parse(secret).unwrap_or_else(|_| ClientSecret::from_bytes([0; 32]));
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let account = state.accounts.get(client_id).map(|stored| &stored.account);
        let now = self.platform.clock.now();
        let own = is_secret_of(&self.key, account, client_id, &secret, now);
        account.filter(|_| own).cloned()
    }

    /// Local administrators that were not revoked.
    pub(crate) fn local_administrators(&self) -> Vec<String> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let accounts = state.accounts.values().map(|stored| &stored.account);
        let local = accounts.filter(|account| matches!(account.principal, Principal::Administrator { .. }));
        local.filter(|account| account.revoked.is_none()).map(|account| account.client_id.clone()).collect()
    }

    /// A token for an account. The permit is that of `token.issue`.
    pub(crate) fn issue_token(&self, account: &Account, narrowed: Narrowed, _permit: &Permit) -> String {
        let Narrowed { thumbprint, features } = narrowed;
        let tenant = account.principal.scope().map(|scope| scope.tenant.clone());
        let subject = account.client_id.clone();
        self.tokens.issue(Bearer { subject, tenant, epoch: self.epoch(), session: None, thumbprint, features })
    }

    /// A token for somebody whose session was checked.
    pub(crate) fn issue(&self, bearer: Bearer) -> String {
        self.tokens.issue(bearer)
    }

    /// What a token says, if it was issued here and has not expired.
    pub(crate) fn claims_of(&self, token: &str) -> Result<Arc<Claims>, TokenError> {
        self.tokens.check(token).inspect_err(|_| self.note_foreign(token))
    }

    /// As [`claims_of`](Self::claims_of), for a token whose signature was checked before.
    pub(crate) fn claims_known(&self, token: &str) -> Option<Arc<Claims>> {
        self.tokens.check_known(token)
    }

    /// The account behind a token. It is looked up, so that a revoked one ends its tokens at once.
    pub(crate) fn caller_of(&self, claims: &Arc<Claims>) -> Result<Caller, TokenError> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let account = state.accounts.get(&claims.sub).map(|stored| &stored.account).ok_or(TokenError::Invalid)?;
        if !is_current(claims, account, state.epoch) {
            return Err(TokenError::Invalid);
        }
        if account.binding == Binding::Always && claims.cnf.is_none() {
            return Err(TokenError::Unbound);
        }
        let features = claims.features.clone().map(Arc::new);
        let credential = Credential::Token(Arc::clone(claims));
        Ok(Caller { principal: account.principal.clone(), features, session: None, credential })
    }

    fn epoch(&self) -> u64 {
        self.state.read().unwrap_or_else(PoisonError::into_inner).epoch
    }

    /// Has a refused token recorded if it is of another environment (CH-25).
    fn note_foreign(&self, token: &str) {
        if self.tokens.is_of_elsewhere(token) {
            let digest = certificate_thumbprint(token.as_bytes());
            self.turned_away.note(Turned { what: "token", reason: Reason::OtherEnvironment, digest });
        }
    }

    /// The decision of the policies, remembered until something is revoked.
    pub(crate) fn decide(&self, principal: &Principal, action: Action, resource: &Resource) -> Decision {
        let ruling = self.policies.ruling();
        ruling.decisions.decide(&ruling.policies, principal, action, resource)
    }

    /// The decision of the policies, if it is remembered.
    pub(crate) fn decision_known(
        &self,
        principal: &Principal,
        action: Action,
        resource: &Resource,
    ) -> Option<Decision> {
        let ruling = self.policies.ruling();
        ruling.decisions.known(&ruling.policies, principal, action, resource)
    }

    /// Leave to act on a decision for which nothing has to be written first and which rests on no grant; see
    /// [`Log::admit_at_once`].
    pub(crate) fn admit_at_once(&self, decision: &Decision, details: Details) -> Option<Permit> {
        decision.grants().is_empty().then(|| self.log.admit_at_once(decision, details))?
    }

    /// The policies of one's own: what holds, what is proposed.
    pub(crate) fn policies(&self) -> &PolicyBook {
        &self.policies
    }

    /// Records a decision and gives leave to act. The grants that a permission rests on stand in the entry: each use of
    /// one is recorded (CH-43). A refusal says what a person could ask for.
    pub(crate) fn admit(&self, decision: Decision, details: Details) -> Result<Permit, Problem> {
        let details = match decision.grants() {
            [] => details,
            [grant, ..] => details.name("grant", grant.id.as_str()).map_err(|e| from_audit(&e))?,
        };
        let refused = (!decision.is_allowed()).then(|| decision.clone());
        self.log.admit(decision, details).map_err(|error| {
            let problem = from_audit(&error);
            match refused.and_then(|decision| remedy(&self.policies.ruling().policies, &decision)) {
                Some(remedy) => problem.with_help(help_of(&remedy)),
                None => problem,
            }
        })
    }

    /// Whether whoever was refused would be let do it had they signed in otherwise, or from another computer: nothing else is
    /// missing, so they may know why.
    pub(crate) fn lacks_assurance_alone(&self, decision: &Decision) -> bool {
        let remedy = remedy(&self.policies.ruling().policies, decision);
        remedy.is_some_and(|remedy| remedy.grant.is_none() && !remedy.needs.is_empty())
    }

    /// Why a decision comes out as it does. `path` says through which features one carries a tag.
    pub(crate) fn explain(&self, decision: &Decision, path: impl Fn(&str, &str) -> Option<Vec<String>>) -> Explanation {
        creta_iam::explain(&self.policies.ruling().policies, decision, path)
    }

    // Tenants.

    /// Makes a tenant: its key first, then its document. Repeating after a crash completes it.
    pub(crate) fn create_tenant(&self, tenant: &TenantId, permit: &Permit) -> Result<Tenant, Problem> {
        if is_reserved(tenant) {
            let message = format!("`{tenant}` is the name of the control plane and cannot be a tenant's");
            return Err(Problem::new("conflict/reserved", message).with_help("choose another name"));
        }
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if state.tenants.contains_key(tenant) {
            return Err(Problem::new("conflict/tenant", format!("there is already a tenant `{tenant}`")));
        }
        let scope = Scope::new(tenant.clone(), self.environment.clone());
        self.ring.scope_or_create(&scope).map_err(|e| from_keys(&e))?;
        let document = Tenant { tenant: tenant.clone(), created: self.platform.clock.now() };
        let body = serde_json::to_vec(&document).expect("a tenant has a JSON form");
        self.metadata.write(TENANT_KIND, tenant.as_str(), None, &body).map_err(|e| from_store(&e))?;
        state.tenants.insert(tenant.clone(), document.clone());
        self.record_done(permit, "tenant.created");
        Ok(document)
    }

    /// All tenants by name.
    pub(crate) fn tenants(&self) -> Vec<Tenant> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).tenants.values().cloned().collect()
    }

    /// The scope of a tenant here, if there is such a tenant.
    pub(crate) fn require_tenant(&self, tenant: &TenantId) -> Result<Scope, Problem> {
        let known = self.state.read().unwrap_or_else(PoisonError::into_inner).tenants.contains_key(tenant);
        let missing = || {
            Problem::new("not-found/tenant", format!("there is no tenant `{tenant}`"))
                .with_help("`GET /v1/tenants` lists them")
        };
        known.then(|| Scope::new(tenant.clone(), self.environment.clone())).ok_or_else(missing)
    }

    /// The engine of a scope that a permit is for.
    pub(crate) fn engine(&self, scope: &Scope) -> Result<Arc<ScopeEngine>, Problem> {
        self.opened(scope).map(|(engine, _)| engine)
    }

    /// The engine of a scope that a permit is for, if it is open; waits for nothing.
    pub(crate) fn engine_at_hand(&self, scope: &Scope) -> Option<Arc<ScopeEngine>> {
        self.require_tenant(&scope.tenant).ok()?;
        self.scopes.at_hand(scope)
    }

    /// What was agreed on about the data of a scope that a permit is for.
    pub(crate) fn data_policy(&self, scope: &Scope) -> Result<Arc<ScopePolicy>, Problem> {
        self.opened(scope).map(|(_, policy)| policy)
    }

    /// The stores of a tenant, for whoever copies them as they are sealed.
    pub(crate) fn stores_of(&self, tenant: &TenantId) -> Result<(Arc<ScopeEngine>, Arc<SqliteStore>), Problem> {
        let scope = self.require_tenant(tenant)?;
        let (engine, _) = self.opened(&scope)?;
        let documents = self.scopes.documents(&scope).ok_or_else(internal)?;
        Ok((engine, documents))
    }

    fn opened(&self, scope: &Scope) -> Result<(Arc<ScopeEngine>, Arc<ScopePolicy>), Problem> {
        let scope = self.require_tenant(&scope.tenant).map(|_| scope)?;
        let key = || self.ring.scope(scope).map_err(|e| from_keys(&e));
        self.scopes.open(scope, &self.epochs, &self.log, key).inspect_err(|problem| {
            if problem.code == OLDER_COPY {
                refusals::count(self, refusals::Kind::OlderStore);
            }
        })
    }

    /// The engines that serve somebody now, for checks that look at their workers.
    pub(crate) fn engines_at_work(&self) -> Vec<Arc<ScopeEngine>> {
        self.scopes.at_work()
    }

    /// Does what the stores of the open scopes have due; one that fails is tried again the next time.
    pub(crate) fn maintain_scopes(&self) {
        for engine in self.scopes.at_work() {
            if let Err(problem) = engine.maintain() {
                tracing::error!(scope = %engine.scope(), %problem, "the stores of a scope could not be kept");
            }
        }
    }

    /// Which planted value each tenant uses.
    pub(crate) fn canaries(&self) -> &Canaries {
        &self.canaries
    }

    /// Credentials that belong to nobody.
    pub(crate) fn planted(&self) -> &PlantedCredentials {
        &self.planted
    }

    /// Where programs act from, and what they do.
    pub(crate) fn sightings(&self) -> &Sightings {
        &self.sightings
    }

    /// What people signed.
    pub(crate) fn signatures(&self) -> &Signatures {
        &self.signatures
    }

    /// What was refused and waits to be counted in the log.
    pub(crate) fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// Names of everybody with an account of the environment, revoked ones too.
    pub(crate) fn account_names(&self) -> Vec<String> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.accounts.values().map(|stored| stored.account.principal.id().to_string()).collect()
    }

    /// The part of the log that older documents, which were accepted, know nothing of; `None` if none ever were.
    pub(crate) fn documents_lost(&self) -> Option<Gap> {
        self.epochs.documents_lost()
    }

    /// Another epoch of tokens. What was remembered of decisions for `whose` counts no more; everybody else's stands.
    fn begin_epoch(&self, state: &mut State, whose: &[Principal]) -> Result<(), Problem> {
        let ruling = self.policies.ruling();
        whose.iter().for_each(|principal| ruling.policies.start_epoch_of(&principal.key()));
        let epoch = state.epoch + 1;
        let text = epoch.to_string();
        let written = self.metadata.write(setting::KIND, setting::EPOCH, state.epoch_version, text.as_bytes());
        (state.epoch, state.epoch_version) = (epoch, Some(written.map_err(|e| from_store(&e))?));
        Ok(())
    }

    /// Records that a permitted action came to its end. The action stands in the log already, so a failure here is not
    /// the caller's.
    pub(crate) fn record_done(&self, permit: &Permit, name: &'static str) {
        self.record(Event::of(permit, name));
    }

    /// The same about something with a name that is no secret: what was taken away is known again by it.
    pub(crate) fn record_done_to(&self, permit: &Permit, name: &'static str, (kind, id): (&'static str, &str)) {
        match Details::none().name(kind, id) {
            Ok(details) => self.record(Event::of(permit, name).with(details)),
            Err(error) => tracing::error!(%error, name, "an event could not be recorded"),
        }
    }

    /// Records that something is about to be taken away, by its name, before it is: an older copy that is put back later knows
    /// nothing of it, and the log has to.
    pub(crate) fn record_first(
        &self,
        permit: &Permit,
        name: &'static str,
        (kind, id): (&'static str, &str),
    ) -> Result<(), Problem> {
        let details = Details::none().name(kind, id).map_err(|e| from_audit(&e))?;
        self.log.record(Event::of(permit, name).with(details)).map(drop).map_err(|e| from_audit(&e))
    }

    /// Records something that happened; a failure is logged.
    pub(crate) fn record(&self, event: Event) {
        if let Err(error) = self.log.record(event) {
            tracing::error!(%error, "an event could not be recorded");
        }
    }

    /// The place of the whole environment.
    pub(crate) fn place(&self) -> Place {
        Place::Environment(self.environment.clone())
    }

    // The log's upkeep.

    /// Records how far the control plane's documents are, if they changed.
    pub(crate) fn anchor_documents(&self) -> Result<(), Problem> {
        let moment = self.documents.epoch().map_err(|e| from_store(&e))?.into();
        self.epochs.anchor(&self.log, &self.place(), Store::Metadata, moment).map_err(|e| from_audit(&e))
    }

    /// Records how far the stores of the open scopes are, where they changed.
    pub(crate) fn anchor_scopes(&self) -> Result<(), Problem> {
        self.scopes.anchor(&self.epochs, &self.log)
    }

    /// Records that the server runs, so that a gap shows.
    pub(crate) fn heartbeat(&self) -> Result<(), Problem> {
        let beat = || {
            let newest = self.log.checkpoint()?;
            let details = Details::none().count("checkpoint", newest.claimed().size)?;
            self.log.record(Event::new("log.heartbeat", self.place()).with(details))
        };
        beat().map(drop).map_err(|error| from_audit(&error))
    }

    /// Signs a checkpoint if the log grew, and shows it to whoever asks the witnesses.
    pub(crate) fn checkpoint(&self) -> Result<(), Problem> {
        let signed = self.log.checkpoint().map_err(|e| from_audit(&e))?;
        self.witnesses.publish(signed);
        Ok(())
    }

    /// Who cosigns the log.
    pub(crate) fn witnesses(&self) -> &Witnesses {
        &self.witnesses
    }

    /// Writes what waits: scopes, counted reads, the last checkpoint, which the witnesses get to see.
    pub(crate) fn close(&self) -> Result<(), Problem> {
        let scopes = self.scopes.close(&self.epochs, &self.log);
        if self.log.halted().is_some() {
            return Ok(()); // Nothing can be recorded, and why stands in the server's log.
        }
        if let Err(problem) = self.anchor_documents() {
            tracing::error!(code = problem.code, "how far the control plane's documents are is not recorded");
        }
        refusals::write(self, true);
        self.record(Event::new("server.stop", self.place()));
        self.witnesses.publish(self.log.close().map_err(|error| from_audit(&error))?);
        self.witnesses.ask_all(&self.log);
        scopes
    }
}

/// What a person can do about a refusal, ready to paste.
pub(crate) fn help_of(remedy: &Remedy) -> String {
    let mut steps = Vec::new();
    for need in &remedy.needs {
        steps.push(match need {
            Need::UserVerification => "sign in again with your authenticator: `creta login`".to_owned(),
            Need::TrustedDevice => "use an enrolled device with a key in hardware and a fresh report; for a browser, run `creta device browser` on it".to_owned(),
        });
    }
    if let Some(wanted) = &remedy.grant {
        let place = match wanted.place.scope() {
            Some(scope) => format!(" --tenant {}", scope.tenant),
            None => " --environment".to_owned(),
        };
        steps.push(format!(
            "ask for access: `creta access request --role {}{place} --hours 1 --ticket OPS-1234 --reason \"...\"`",
            wanted.role
        ));
    }
    steps.join("; ")
}

/// A token is its account's while that lives, in the tenant it was issued for, and not from an epoch that is not.
fn is_current(claims: &Claims, account: &Account, epoch: u64) -> bool {
    account.revoked.is_none()
        && claims.tenant.as_ref() == account.principal.scope().map(|scope| &scope.tenant)
        && claims.environment == *account.principal.environment()
        && (account.epoch..=epoch).contains(&claims.epoch)
}

/// A data folder is made with an entry in its log.
fn require_begun(log: &Log) -> Result<(), Problem> {
    if log.size() > 0 {
        return Ok(());
    }
    Err(Problem::new("audit/gone", "the audit log is empty, and the one that was made with this data folder is gone")
        .with_help("put the newest copy of its folder back, which bears the environment's name"))
}

fn require_setting(metadata: &dyn MetadataStore, name: &str) -> Result<Vec<u8>, Problem> {
    let document = metadata.read(setting::KIND, name).map_err(|e| from_store(&e))?;
    document.map(|document| document.body).ok_or_else(|| {
        tracing::error!(
            setting = name,
            "a setting of the control plane is missing; restore `metadata.sqlite` from a copy"
        );
        internal()
    })
}

impl State {
    fn load(metadata: &dyn MetadataStore) -> Result<Self, Problem> {
        let mut state = Self::default();
        let unreadable = |kind: &str| {
            tracing::error!(
                kind,
                "a document of the control plane cannot be read; restore `metadata.sqlite` from a copy"
            );
            internal()
        };
        for document in metadata.list(TENANT_KIND).map_err(|e| from_store(&e))? {
            let tenant: Tenant = serde_json::from_slice(&document.body).map_err(|_| unreadable(TENANT_KIND))?;
            state.tenants.insert(tenant.tenant.clone(), tenant);
        }
        for document in metadata.list(ACCOUNT_KIND).map_err(|e| from_store(&e))? {
            let account = Account::parse(&document.body).filter(|account| account.client_id == document.id);
            let account = account.ok_or_else(|| unreadable(ACCOUNT_KIND))?;
            state.accounts.insert(document.id, Stored { account, version: document.version });
        }
        if let Some(document) = metadata.read(setting::KIND, setting::EPOCH).map_err(|e| from_store(&e))? {
            let epoch = std::str::from_utf8(&document.body).ok().and_then(|text| text.parse().ok());
            state.epoch = epoch.ok_or_else(|| unreadable(setting::EPOCH))?;
            state.epoch_version = Some(document.version);
        }
        Ok(state)
    }
}
