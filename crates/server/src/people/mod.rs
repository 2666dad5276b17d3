//! People: who signs in, on which device, with which roles and for how long.
//!
//! Nothing here permits anything. A session says who asks, and [`People::caller`] what is true of them at this moment;
//! `creta_iam` decides on that.

pub(crate) mod access;
pub(crate) mod analysis;
pub(crate) mod authenticators;
pub(crate) mod break_glass;
pub(crate) mod changes;
pub(crate) mod devices;
mod draft;
pub(crate) mod duties;
pub(crate) mod factors;
mod generations;
pub(crate) mod guesses;
pub(crate) mod local;
pub(crate) mod pages;
mod person;
pub(crate) mod programs;
mod provider;
pub(crate) mod provisioning;
pub(crate) mod recovery_keys;
pub(crate) mod reviews;
mod revived;
mod session;
mod sign_in;
pub(crate) mod vouched;
pub(crate) mod web;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use creta_audit::{Details, Event};
use creta_compliance::Mode;
use creta_iam::{Assurance, Person, Principal, PrincipalId, Role, Seal, Standing};
use creta_identity::dpop::{DpopError, Proof, Proven, ReplayCache};
use creta_model::{Environment, EnvironmentClass, Instant, Problem, TenantId};
use creta_programme::PersonId;
use creta_programme::access::{End, Reason};

use self::access::Access;
use self::break_glass::BreakGlass;
use self::devices::Devices;
pub(crate) use self::draft::details_of;
use self::duties::Given;
use self::generations::Generations;
use self::local::Local;
pub(crate) use self::person::PersonRecord;
pub(crate) use self::person::id_for;
use self::provider::Provider;
use self::provisioning::Provisioning;
use self::reviews::Reviews;
use self::session::Opening;
pub(crate) use self::session::{Client, Session};
pub(crate) use self::sign_in::{
    DEVICE_INTERVAL_SECONDS, DEVICE_SECONDS, Done, Known, Purpose, SignIns, Step, normal_code, over,
};
use crate::config::Config;
use crate::context::{Caller, Credential, KeyOf};
use crate::control_plane::ControlPlane;
use crate::problem::from_audit;
use crate::register::Register;
use crate::tokens::{Bearer, Claims, TokenError};
use crate::two_people::TwoPeople;

/// Everybody, and what they are allowed for hours.
pub(crate) struct People {
    environment: Environment,
    class: EnvironmentClass,
    /// Whether tenants are others' or one's own.
    mode: Mode,
    persons: Register<PersonRecord>,
    sessions: Register<Session>,
    pub(crate) access: Access,
    pub(crate) break_glass: BreakGlass,
    pub(crate) devices: Devices,
    provisioning: Provisioning,
    recovery_keys: Register<recovery_keys::RecoveryKey>,
    pub(crate) reviews: Reviews,
    pub(crate) shown_secrets: TwoPeople<programs::SecretShown>,
    pub(crate) person_changes: TwoPeople<changes::PersonChange>,
    /// Who vouches for people; none where only local accounts exist.
    provider: Option<Provider>,
    public_url: Option<String>,
    pub(crate) sign_ins: SignIns,
    pub(crate) generations: Generations,
    authenticators: Register<authenticators::Authenticators>,
    pub(crate) local: Local,
    pub(crate) prompts: authenticators::Prompts,
    /// Proofs of keys that sessions and tokens are bound to, and those of strangers.
    proofs: [Mutex<ReplayCache>; 2],
    /// Held while something is given to somebody; see [`duties`].
    giving: Mutex<()>,
}

/// What an administrator makes of somebody.
pub(crate) struct Assigned {
    pub(crate) tenant: Option<TenantId>,
    pub(crate) roles: BTreeSet<Role>,
    /// Whose account it is, where that is known.
    pub(crate) human: Option<PrincipalId>,
    /// Which need the roles serve that are new to them.
    pub(crate) need: Option<String>,
}

/// A session that was just opened.
pub(crate) struct Opened {
    pub(crate) session: Session,
    /// Renews it; shown once.
    pub(crate) renewal: zeroize::Zeroizing<String>,
    pub(crate) access_token: String,
}

/// An account for whose maker it stands.
pub(crate) struct Unvouched {
    pub(crate) person: PersonRecord,
    /// Who made it.
    pub(crate) maker: PersonId,
    /// Of the account and of how it is signed in to: another one once it was invited anew.
    pub(crate) digest: String,
}

impl People {
    /// Reads everybody from the control plane's documents.
    pub(crate) fn open(folder: &Path, config: &Config, control: &ControlPlane) -> Result<Self, Problem> {
        let metadata = || control.shared_metadata();
        let people = Self {
            environment: config.environment.clone(),
            class: config.class,
            mode: config.organisation.mode,
            persons: Register::load(metadata())?,
            sessions: Register::load(metadata())?,
            access: Access::open(metadata())?,
            break_glass: BreakGlass::open(metadata())?,
            devices: Devices::open(metadata(), config.devices.clone())?,
            provisioning: Provisioning::open(metadata(), config.sign_in.as_ref(), config.class)?,
            recovery_keys: Register::load(metadata())?,
            reviews: Reviews::open(metadata(), control)?,
            shown_secrets: TwoPeople::open(metadata())?,
            person_changes: TwoPeople::open(metadata())?,
            provider: config.sign_in.as_ref().map(|sign_in| Provider::open(sign_in, folder)).transpose()?,
            public_url: config.sign_in.as_ref().and_then(|sign_in| sign_in.public_url.clone()),
            sign_ins: SignIns::default(),
            generations: Generations::default(),
            authenticators: Register::load(metadata())?,
            local: Local::open(metadata(), folder, &config.passwords.breached)?,
            prompts: authenticators::Prompts::default(),
            // Proofs that were made before this start may have been used before it.
            proofs: {
                let now = control.platform().clock.now();
                [Mutex::new(ReplayCache::new(now)), Mutex::new(ReplayCache::of_strangers(now))]
            },
            giving: Mutex::default(),
        };
        let now = control.platform().clock.now();
        people.end_revived(control, now)?;
        people.settle(control, now)?;
        people.take_up_authenticators(control)?;
        people.end_unproven(control, now)?;
        Ok(people)
    }

    /// Who vouches for people.
    pub(crate) fn require_provider(&self) -> Result<&Provider, Problem> {
        self.provider.as_ref().ok_or_else(|| {
            Problem::new("not-found/sign-in", "people do not sign in to this server: it has no identity provider")
                .with_help("add `[sign_in]` to `config.toml`, or use a service account")
        })
    }

    /// Where the provider is asked, by what for; none where there is no provider.
    pub(crate) fn provider_addresses(&self) -> Vec<(&'static str, String)> {
        self.provider.as_ref().map(Provider::addresses).unwrap_or_default()
    }

    /// The address that browsers use for this server: the configured one, else that of the request. On this machine that
    /// is `localhost`, since authenticators know servers by name. The provider checks it once more: it knows where this
    /// server's users come back.
    pub(crate) fn public_url(&self, requested: &str) -> Result<String, Problem> {
        if let Some(url) = &self.public_url {
            return Ok(url.trim_end_matches('/').to_owned());
        }
        let origin = requested.strip_prefix("https://").and_then(|rest| rest.split('/').next());
        let origin = origin
            .filter(|origin| !origin.is_empty())
            .ok_or_else(|| Problem::new("request/malformed", "the request does not say which host it is for"))?;
        let local = ["127.0.0.1", "[::1]"]
            .into_iter()
            .find_map(|address| origin.strip_prefix(address).filter(|rest| rest.is_empty() || rest.starts_with(':')));
        Ok(local.map_or_else(|| format!("https://{origin}"), |port| format!("https://localhost{port}")))
    }

    /// Takes a proof of possession once.
    pub(crate) fn admit(&self, proof: Proof, key: KeyOf, now: Instant) -> Result<Proven, DpopError> {
        let [of_somebody, of_anybody] = &self.proofs;
        let seen = if key == KeyOf::Somebody { of_somebody } else { of_anybody };
        proof.admit(&mut seen.lock().unwrap_or_else(PoisonError::into_inner), now)
    }

    // Who asks.

    /// Who bears a person's token: the session lives, is bound to the token's key, and its person is still here.
    pub(crate) fn caller(&self, claims: &Arc<Claims>, now: Instant) -> Result<Caller, TokenError> {
        let (Some(id), Some(bound)) = (&claims.sid, &claims.cnf) else { return Err(TokenError::Invalid) };
        let fits = |session: &Session| {
            let for_tokens = session.client == Client::CommandLine && session.thumbprint == bound.jkt;
            session.is_open(now) && session.person.as_str() == claims.sub && for_tokens
        };
        let session = self.sessions.find(id).filter(fits).ok_or(TokenError::Invalid)?;
        let principal = self.principal(&session, now).ok_or(TokenError::Invalid)?;
        let features = claims.features.clone().map(Arc::new);
        let credential = Credential::Token(Arc::clone(claims));
        Ok(Caller { principal, features, session: Some(session.id), credential })
    }

    /// The person of a session that lives, as they stand now.
    pub(crate) fn principal_in(&self, session: &str, now: Instant) -> Option<Principal> {
        let session = self.sessions.find(session).filter(|session| session.is_open(now))?;
        self.principal(&session, now)
    }

    /// The person of a session as they stand now.
    fn principal(&self, session: &Session, now: Instant) -> Option<Principal> {
        let person = self.persons.find(session.person.as_str()).filter(PersonRecord::is_active)?;
        if !self.provisioning.lets_in(&person) {
            return None;
        }
        let home = person.home(&self.environment);
        let (grants, roles, seal) = match &session.under {
            None => (self.access.held(&person.id, now), person.roles.clone(), Seal::Intact),
            // Under a broken seal somebody has what that gives and nothing of their own.
            Some(opening) => {
                let given = self.break_glass.held(opening, &person.id, &home, now);
                if given.is_empty() {
                    return None;
                }
                (given, BTreeSet::new(), Seal::Broken)
            }
        };
        let assurance =
            Assurance { user_verified: session.user_verified, device: self.devices.trust(session, now), seal };
        let standing = Standing { roles, grants, assurance, class: self.class };
        Some(Principal::Person(Person::new(person.id, home, standing)))
    }

    // People.

    /// The person that the provider vouches for, made known here at the first sign-in, without any role.
    pub(crate) fn recognise(
        &self,
        control: &ControlPlane,
        signed_in: &creta_identity::oidc::SignIn,
        refused: &dyn Fn(Event),
        now: Instant,
    ) -> Result<PersonRecord, Problem> {
        let is = |person: &PersonRecord| person.identity.as_ref() == Some(&signed_in.identity);
        // Who left and was told of again has a new account beside the one that ended.
        let active = self.persons.find_by(|person| is(person) && person.is_active());
        if let Some(person) = active.or_else(|| self.persons.find_by(is)) {
            if person.is_active() {
                return if self.provisioning.lets_in(&person) { Ok(person) } else { Err(stranger(control, refused)) };
            }
            let details = Details::none().name("person", person.id.as_str()).map_err(|e| from_audit(&e))?;
            refused(Event::new("sign-in.refused", control.place()).with(details).for_commitment("CH-33"));
            return Err(Problem::new("access/left", "this account was ended when its person left")
                .with_help("if you are back, ask an administrator for a new account"));
        }
        if !self.provisioning.takes_strangers() {
            return Err(stranger(control, refused));
        }
        let is_free = |id: &str| self.persons.with(id, |_| ()).is_none();
        let id = id_for(&signed_in.identity, signed_in.email.as_deref(), is_free);
        let mut person = PersonRecord::new(id, None, now);
        person.identity = Some(signed_in.identity.clone());
        person.email = signed_in.email.clone();
        let details = Details::none().name("person", person.id.as_str()).map_err(|e| from_audit(&e))?;
        let event = Event::new("person.first-seen", control.place()).with(details);
        control.log().record(event).map_err(|e| from_audit(&e))?;
        self.persons.add(person)?.ok_or_else(|| {
            Problem::new("conflict/changed", "somebody with this name signed in at the same time")
                .with_help("sign in again")
        })
    }

    /// Everybody, those who left included, by id.
    pub(crate) fn persons(&self) -> Vec<PersonRecord> {
        self.persons.list(|_| true)
    }

    /// Whether somebody who is here has a role, or a grant that holds now.
    pub(crate) fn has_access(&self, person: &PersonRecord, now: Instant) -> bool {
        person.is_active() && (!person.roles.is_empty() || !self.access.held(&person.id, now).is_empty())
    }

    /// One by id.
    pub(crate) fn person(&self, id: &str) -> Option<PersonRecord> {
        self.persons.find(id)
    }

    /// Whoever is called so, or the problem that nobody is.
    pub(crate) fn require_person(&self, id: &str) -> Result<PersonRecord, Problem> {
        self.persons.find(id).ok_or_else(|| no_person(id))
    }

    /// Gives somebody a home and roles instead of those they had, if that puts no two duties into one hand that must be
    /// apart (CH-35). Their sessions stand; what they may do changes with the next request.
    pub(crate) fn assign(
        &self,
        (control, by): (&ControlPlane, &Principal),
        id: &str,
        Assigned { tenant, roles, human, need }: Assigned,
    ) -> Result<PersonRecord, Problem> {
        let need = need.map(|need| checked_need(&need)).transpose()?;
        // Before its turn: whoever is told by the directory waits for a turn while the directory is held.
        let asked_again = self.are_given_again(&self.require_person(id)?, tenant.as_ref(), &roles)?;
        let _one_at_a_time = self.one_at_a_time();
        let mut person = self.persons.find(id).filter(PersonRecord::is_active).ok_or_else(|| no_person(id))?;
        let changed = (&tenant, &roles) != (&person.tenant, &person.roles);
        if self.provisioning.gives_roles_to(&person) && changed && !asked_again {
            return Err(Problem::new(
                "conflict/provisioned",
                "this person's roles follow from groups of the directory",
            )
            .with_help("change their groups in the directory, or `[sign_in.groups]` in `config.toml`"));
        }
        if tenant.is_none() && self.local.holds(&person.id) {
            return Err(Problem::new(
                "conflict/password",
                "this person signs in with a password, which staff never do",
            )
            .with_help("end the account with `creta person leave`, and let them sign in at the provider"));
        }
        let before = person.human.clone();
        person.human = human.map_or_else(|| before.clone(), PersonId::new);
        person.since = person.since_with(&roles, tenant.as_ref(), control.platform().clock.now());
        person.needs = person.needs_with(&roles, tenant.as_ref(), |_| need.clone());
        person.withheld.retain(|role| !roles.contains(role));
        (person.tenant, person.roles) = (tenant, roles);
        self.require_needs(&person)?;
        person.given_by = by.person().map(|giver| giver.id().clone());
        // Whoever was known to be the same human as this one is so still.
        let mut accounts = self.persons.list(|other| {
            (other.human == before || other.stands_for.as_ref() == Some(&before)) && other.id != person.id
        });
        let known_now = |human: &mut PersonId| {
            if *human == before {
                human.clone_from(&person.human);
            }
        };
        for other in &mut accounts {
            known_now(&mut other.human);
            other.stands_for.iter_mut().for_each(known_now);
        }
        person.stands_for.iter_mut().for_each(known_now);
        accounts.push(person.clone());
        self.require_apart(control, by, &Given::Accounts(&accounts), control.platform().clock.now())?;
        if person.human != before {
            self.record_humans(control, by, &accounts)?;
        }
        // Before any of it is written: what an older copy does not know, the log does.
        for account in &accounts {
            let (name, human) = (account.id.as_str(), account.human.to_string());
            let details = Details::none().name("person", name).and_then(|details| details.name("human", human));
            let what = if account.id == person.id { "person.assigned" } else { "person.linked" };
            let event = Event::new(what, control.place()).by(by).with(details.map_err(|e| from_audit(&e))?);
            control.log().record(event).map_err(|e| from_audit(&e))?;
        }
        for account in accounts {
            let changed = self.persons.change(account.id.as_str(), |current| match current.is_active() {
                _ if account.id != person.id => {
                    let (human, stands_for) = (account.human.clone(), account.stands_for.clone());
                    Ok(PersonRecord { human, stands_for, ..current.clone() })
                }
                true => Ok(account.clone()),
                false => Err(no_person(id)),
            })?;
            changed.ok_or_else(|| no_person(id))?;
        }
        Ok(person)
    }

    /// Whom `own` would vouch for, as they are now; refuses whoever has to do with the making of the account.
    pub(crate) fn to_vouch_for(
        &self,
        (control, by): (&ControlPlane, &Principal),
        own: &PersonRecord,
        id: &str,
    ) -> Result<Unvouched, Problem> {
        let person = self.persons.find(id).filter(PersonRecord::is_active).ok_or_else(|| no_person(id))?;
        let Some(maker) = person.stands_for.clone() else {
            return Err(Problem::new("conflict/vouched", "nobody has to vouch for this person any more"));
        };
        if *own.behind() == maker || *own.behind() == person.human || own.id == person.id {
            let event = Event::new("access.refused", control.place()).by(by).for_commitment("CH-43");
            control.record(event);
            return Err(Problem::new(
                "access/same-person",
                "whoever made an account does not vouch for it, by whichever account",
            )
            .with_help("let somebody vouch who knows them and did not invite them: `creta person vouch`"));
        }
        let seen = (&person.id, &person.human, &maker, &person.tenant, self.local.round(id));
        let seen = serde_json::to_vec(&seen).expect("texts have a JSON form");
        Ok(Unvouched { digest: creta_proof::Hash::of(&[&seen]).to_string(), person, maker })
    }

    /// Somebody else than whoever made an account says that another human is behind it: from here on it counts as theirs. `seen`
    /// is the digest of the account as they saw it: whom its maker invited anew since, nobody saw.
    pub(crate) fn vouch_for_person(
        &self,
        (control, by): (&ControlPlane, &Principal),
        own: &PersonRecord,
        (id, seen): (&str, &str),
    ) -> Result<PersonRecord, Problem> {
        let _one_at_a_time = self.one_at_a_time();
        let Unvouched { person, maker, digest } = self.to_vouch_for((control, by), own, id)?;
        let anew = || {
            Problem::new("conflict/invited-anew", format!("`{id}` is not as you saw them any more")).with_help(
                "they chose a password, or were invited anew; ask them, and vouch again: `creta person vouch`",
            )
        };
        if digest != seen {
            return Err(anew());
        }
        let details = Details::none().name("person", person.id.as_str()).map_err(|e| from_audit(&e))?;
        let event = Event::new("person.vouched", person.home(&self.environment)).by(by).with(details);
        control.log().record(event.for_commitment("CH-43")).map_err(|e| from_audit(&e))?;
        self.record_humans(control, by, &[PersonRecord { stands_for: None, ..person }])?;
        let vouched = |person: &PersonRecord| match person.stands_for.as_ref() == Some(&maker) {
            true => Ok(PersonRecord { stands_for: None, ..person.clone() }),
            false => Err(anew()),
        };
        self.persons.change(id, vouched)?.ok_or_else(|| no_person(id))
    }

    /// The human who stands behind whatever this principal makes.
    pub(crate) fn behind(&self, principal: &Principal) -> PersonId {
        let person = principal.person().and_then(|person| self.persons.find(person.id().as_str()));
        person.map_or_else(|| PersonId::new(principal.id().clone()), |person| person.behind().clone())
    }

    /// Outside class development every role that is given for good serves a need that is written down (CI-20).
    fn require_needs(&self, person: &PersonRecord) -> Result<(), Problem> {
        match person.without_need().next() {
            Some(role) if self.class != EnvironmentClass::Development => Err(no_need(role)),
            _ => Ok(()),
        }
    }

    /// Whether somebody has an account that has not ended.
    pub(crate) fn is_here(&self, id: &PrincipalId) -> bool {
        self.persons.with(id.as_str(), PersonRecord::is_active).unwrap_or(false)
    }

    /// Whether the local administrator counts: in class development, and in staging until somebody is administrator by name.
    pub(crate) fn takes_local_administrator(&self) -> bool {
        match self.class {
            EnvironmentClass::Development => true,
            EnvironmentClass::Staging => !self.has_administrator(),
            EnvironmentClass::Production => false,
        }
    }

    /// Ends all sessions of somebody, and whatever sign-ins of theirs are under way.
    fn end_sessions_of(&self, id: &PrincipalId, now: Instant) -> Result<(), Problem> {
        self.generations.begin(id);
        for session in self.sessions.list(|session| session.person == *id && session.revoked.is_none()) {
            self.end_session(&session.id, now)?;
        }
        Ok(())
    }

    /// Somebody here ended an account by name: it stays ended, whatever the directory goes on to say. Harmless when repeated.
    pub(crate) fn end_by_name(&self, control: &ControlPlane, id: &str, now: Instant) -> Result<PersonRecord, Problem> {
        let marked = |person: &PersonRecord| Ok::<_, Problem>(PersonRecord { ended_by_name: true, ..person.clone() });
        self.persons.change(id, marked)?.ok_or_else(|| no_person(id))?;
        self.leave(control, id, now)
    }

    /// Somebody left: sessions, devices, grants and the secrets of programs that they were shown end now, and nobody signs in
    /// to the account any more. Harmless when repeated.
    pub(crate) fn leave(&self, control: &ControlPlane, id: &str, now: Instant) -> Result<PersonRecord, Problem> {
        let left = self.persons.change(id, |person| {
            let mut person = person.clone();
            person.left = person.left.or(Some(now));
            person.roles.clear();
            person.needs.clear();
            Ok::<_, Problem>(person)
        })?;
        let left = left.ok_or_else(|| no_person(id))?;
        for session in self.sessions.list(|session| session.person.as_str() == id && session.revoked.is_none()) {
            self.end_session(&session.id, now)?;
        }
        self.end_devices_of(id, now)?;
        control.end_secrets_of(&left.id)?;
        self.end_recovery_keys_of(control, &left.id, now)?;
        self.access.end_all_of(control, &left, &End::Left, now)?;
        Ok(left)
    }

    // Sessions.

    /// Opens a session for a person who has proven who they are and which key they hold.
    pub(crate) fn open_session(
        &self,
        control: &ControlPlane,
        opening: Opening,
        now: Instant,
    ) -> Result<Opened, Problem> {
        let device = self.devices.of_key(&opening.thumbprint, opening.person.as_str());
        let opening = Opening { device, ..opening };
        let (session, renewal) = Session::open(control.own_key(), &*control.platform().random, opening, now);
        let principal = self.principal(&session, now).ok_or_else(|| no_person(session.person.as_str()))?;
        let details = Details::none()
            .name("session", session.id.clone())
            .and_then(|details| details.name("methods", session.methods.join("+")))
            .and_then(|details| details.name("verified", if session.user_verified { "yes" } else { "no" }))
            .and_then(|details| details.name("device", principal.person().map_or("none", device_word)))
            .map_err(|e| from_audit(&e))?;
        let event = Event::new("session.opened", principal.home()).by(&principal).with(details);
        control.log().record(event).map_err(|e| from_audit(&e))?;
        let session = self.sessions.add(session)?.ok_or_else(crate::problem::internal)?;
        let access_token = control.issue(self.bearer(&session));
        Ok(Opened { session, renewal, access_token })
    }

    /// A new access token for a session that lives, if both the secret and the key are its own.
    pub(crate) fn renew(
        &self,
        control: &ControlPlane,
        id: &str,
        secret: &str,
        thumbprint: &str,
        now: Instant,
    ) -> Result<(Session, String), Problem> {
        let over = || {
            Problem::new("auth/session-over", "this session is over, or is not yours")
                .with_help("sign in again: `creta login`")
        };
        let session = self.sessions.find(id).ok_or_else(over)?;
        // A browser's session is worth no tokens: its secret lies in a cookie, and pages are its only door.
        let own = session.is_renewed_by(control.own_key(), secret) & (session.thumbprint == thumbprint);
        let fits = own && session.client == Client::CommandLine;
        if let Some(opening) = session.under.as_ref().filter(|_| fits && session.is_open(now)) {
            self.break_glass.require_open(opening, session.opened, now)?;
        }
        if !fits || !session.is_open(now) || self.principal(&session, now).is_none() {
            return Err(over());
        }
        let session = self.keep_open(session, now)?.ok_or_else(over)?;
        let token = control.issue(self.bearer(&session));
        Ok((session, token))
    }

    /// A session that is used lasts on. Written at most once a minute: a busy client asks more often than that.
    fn keep_open(&self, session: Session, now: Instant) -> Result<Option<Session>, Problem> {
        let gained = session.renewed(now).expires.micros() - session.expires.micros();
        if gained < 60_000_000 {
            return Ok(Some(session));
        }
        // From what is stored now, so that whoever ended it meanwhile has ended it.
        let kept = self.sessions.change(&session.id, |stored| Ok::<_, Problem>(stored.renewed(now)))?;
        Ok(kept.filter(|session| session.is_open(now)))
    }

    /// The sessions of one person, newest last.
    pub(crate) fn sessions_of(&self, person: &str) -> Vec<Session> {
        let mut sessions = self.sessions.list(|session| session.person.as_str() == person);
        sessions.sort_by_key(|session| session.opened);
        sessions
    }

    /// Sessions that live, whosesoever.
    pub(crate) fn living_sessions(&self, now: Instant) -> Vec<Session> {
        self.sessions.list(|session| session.is_open(now))
    }

    /// Whether somebody of the staff is administrator by name.
    pub(crate) fn has_administrator(&self) -> bool {
        let is = |person: &PersonRecord| {
            person.is_active() && person.tenant.is_none() && person.roles.contains(&Role::Administrator)
        };
        self.persons.find_by(is).is_some()
    }

    /// People with a password who are not a tenant's own.
    pub(crate) fn staff_with_password(&self) -> usize {
        self.persons.list(|person| person.is_active() && person.tenant.is_none() && self.local.holds(&person.id)).len()
    }

    /// Ends a session; its tokens end with it. `None` if there is none of that id.
    pub(crate) fn end_session(&self, id: &str, now: Instant) -> Result<Option<Session>, Problem> {
        self.sessions.change(id, |session| Ok::<_, Problem>(session.ended(now)))
    }

    /// Whose session it is.
    pub(crate) fn session(&self, id: &str) -> Option<Session> {
        self.sessions.find(id)
    }

    fn bearer(&self, session: &Session) -> Bearer {
        Bearer {
            subject: session.person.to_string(),
            tenant: self.persons.with(session.person.as_str(), |person| person.tenant.clone()).flatten(),
            epoch: 0,
            session: Some(session.id.clone()),
            thumbprint: Some(session.thumbprint.clone()),
            features: None,
        }
    }
}

/// What the device of a session is worth.
fn device_word(person: &Person) -> &'static str {
    person.standing().assurance.device.as_str()
}

/// A need says something, by the rules of reasons.
pub(crate) fn checked_need(text: &str) -> Result<String, Problem> {
    let need = Reason::without_ticket(text);
    need.map(|need| need.as_str().to_owned()).map_err(|fault| {
        Problem::new("access/need", format!("this is no need that a role serves: {fault}"))
            .with_help("say in a sentence which work of theirs needs the role")
    })
}

pub(crate) fn no_need(role: Role) -> Problem {
    Problem::new("access/need", format!("nothing says which need the role `{role}` serves"))
        .with_help("say it with `--need`, in a sentence: which work of theirs needs the role")
}

/// Whoever the provider vouches for and the directory does not know.
fn stranger(control: &ControlPlane, refused: &dyn Fn(Event)) -> Problem {
    refused(Event::new("sign-in.refused", control.place()).for_commitment("CH-33"));
    Problem::new("access/not-provisioned", "the organisation's directory has not told this server about you")
        .with_help("ask whoever looks after the directory to give you this application")
}

pub(crate) fn no_person(id: &str) -> Problem {
    Problem::new("not-found/person", format!("there is nobody here called `{id}`"))
        .with_help("`creta person list` shows everybody who signed in")
}

#[cfg(test)]
pub(crate) mod tests;
