//! Tenants' own users whose tenant has no identity provider: an administrator invites them, and they choose a password
//! and register a second factor. Staff never have a password.
//!
//! An account that does not exist costs a guess as much as one that does, and gets the same answer. Nothing here says who
//! may sign in: [`People`] knows the person behind an account.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use creta_audit::{Details, Event};
use creta_iam::{Place, Principal, PrincipalId, Role};
use creta_identity::password::{self, Bytes, Costs, ListFile, Password, PasswordError, PasswordHash, Verdict};
use creta_keys::ScopeKey;
use creta_model::{Instant, Problem, Scope, Span, TenantId};
use creta_store::MetadataStore;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::guesses::{Counts, Door, Guesses, Noticed};
use super::sign_in::{account_named, normal_code};
use super::{Assigned, People, PersonRecord};
use crate::control_plane::ControlPlane;
use crate::problem::{from_audit, internal};
use crate::register::{Record, Register};

const FORMAT: &str = "creta.local-account/1";
/// Separates keyed hashes of invitations from all others.
const INVITATION_DOMAIN: &str = "invitation";
/// How long an invitation waits.
pub(crate) const INVITATION_DAYS: u32 = 3;

/// How somebody without a provider signs in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LocalAccount {
    format: String,
    person: PrincipalId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    password: Option<PasswordHash>,
    /// When the password was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    chosen: Option<Instant>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    invitation: Option<Invitation>,
    /// Wrong passwords in a row: by browsers that nobody knows, and by those in which it was right before.
    #[serde(default, skip_serializing_if = "none_wrong")]
    wrong: [u32; 2],
    /// When the last of each was typed.
    #[serde(default, skip_serializing_if = "none_typed")]
    wrong_at: [Option<Instant>; 2],
    /// What their owner is told of wrong ones before right ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    noticed: Option<Noticed>,
}

fn none_typed(at: &[Option<Instant>; 2]) -> bool {
    *at == [None; 2]
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn none_wrong(wrong: &[u32; 2]) -> bool {
    *wrong == [0; 2]
}

/// An invitation that nobody used yet. Its code is known to whoever was invited; here stands a keyed hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Invitation {
    hash: String,
    /// Keyed hash of the word that whoever agreed to it passes on, where it took two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    word: Option<String>,
    expires: Instant,
}

impl Record for LocalAccount {
    const KIND: &'static str = "local-account";

    fn id(&self) -> String {
        self.person.to_string()
    }

    fn read(body: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(body).ok().filter(|account| account.format == FORMAT)
    }
}

/// All local accounts.
pub(crate) struct Local {
    accounts: Register<LocalAccount>,
    pub(super) guesses: Guesses,
    /// Lists of breached passwords.
    lists: Vec<PathBuf>,
    /// A guess takes 19 MiB and some milliseconds; so many at once as there are requests would exhaust the server.
    hashing: Mutex<()>,
    /// What guesses cost where a test takes thousands of times.
    #[cfg(test)]
    pub(crate) cheap: std::sync::OnceLock<Costs>,
}

/// Somebody who was invited.
pub(crate) struct Invited {
    pub(crate) person: PersonRecord,
    /// Shown once.
    pub(crate) code: Zeroizing<String>,
    pub(crate) expires: Instant,
}

impl Local {
    pub(super) fn open(metadata: Arc<dyn MetadataStore>, folder: &Path, lists: &[PathBuf]) -> Result<Self, Problem> {
        let lists: Vec<PathBuf> = lists.iter().map(|list| folder.join(list)).collect();
        for list in &lists {
            // What cannot be read protects nobody: found out now rather than by whoever chooses a password.
            with_lists(std::slice::from_ref(list), |_| Ok(())).map_err(|error| {
                Problem::new("server/breached-passwords", format!("`{}` cannot be used: {error}", list.display()))
                    .with_help("`[passwords] breached` names sorted lists of SHA-1 or SHA-256 in hexadecimal")
            })?;
        }
        let accounts = Register::<LocalAccount>::load(metadata)?;
        let counted = |account: &LocalAccount| account.wrong != [0; 2] || account.noticed.is_some();
        let kept = accounts.list(counted).into_iter().map(|account| {
            let ([unknown, known], at, noticed) = (account.wrong, account.wrong_at, account.noticed);
            (account.person, Counts { unknown, known, at, noticed, ..Counts::default() })
        });
        let guesses = Guesses::load(kept);
        Ok(Self {
            accounts,
            guesses,
            lists,
            hashing: Mutex::default(),
            #[cfg(test)]
            cheap: std::sync::OnceLock::new(),
        })
    }

    /// What guesses cost.
    fn costs(&self) -> Costs {
        #[cfg(test)]
        if let Some(cheap) = self.cheap.get() {
            return *cheap;
        }
        Costs::OURS
    }

    /// Whether there is any account.
    pub(crate) fn is_used(&self) -> bool {
        self.accounts.find_by(|_| true).is_some()
    }

    /// Whether this person signs in with a password.
    pub(super) fn holds(&self, person: &PrincipalId) -> bool {
        self.accounts.with(person.as_str(), |_| ()).is_some()
    }

    /// What tells one way in from the next: another after each invitation and each password. None for whoever has neither.
    pub(super) fn round(&self, person: &str) -> (Option<String>, Option<Instant>) {
        let round = |account: &LocalAccount| {
            (account.invitation.as_ref().map(|invitation| invitation.hash.clone()), account.chosen)
        };
        self.accounts.with(person, round).unwrap_or_default()
    }

    /// Ends the password and the invitation of somebody: they are invited anew. Somebody without any stays so.
    pub(super) fn forget(&self, person: &str) -> Result<(), Problem> {
        let without = |account: &LocalAccount| {
            Ok::<_, Problem>(LocalAccount { password: None, chosen: None, invitation: None, ..account.clone() })
        };
        self.accounts.change(person, without).map(drop)
    }

    /// Keeps how often a password was wrong.
    pub(super) fn keep(&self, person: &PrincipalId, counts: Counts) -> Result<(), Problem> {
        let (wrong, wrong_at, noticed) = ([counts.unknown, counts.known], counts.at, counts.noticed);
        let kept =
            |account: &LocalAccount| Ok::<_, Problem>(LocalAccount { wrong, wrong_at, noticed, ..account.clone() });
        self.accounts.change(person.as_str(), kept).map(drop)
    }

    /// Whether somebody chose a password, or waits for an invitation that two people agreed to: one alone replaces neither.
    pub(super) fn is_settled(&self, person: &str) -> bool {
        let by_two = |account: &LocalAccount| account.invitation.as_ref().is_some_and(|i| i.word.is_some());
        self.accounts.with(person, |account| account.password.is_some() || by_two(account)).unwrap_or(false)
    }

    /// Every stored hash: for the check.
    pub(crate) fn hashes(&self) -> Vec<PasswordHash> {
        self.accounts.list(|_| true).into_iter().filter_map(|account| account.password).collect()
    }

    /// The hash of a password that may be used, on the thread that has its turn.
    fn make(&self, control: &ControlPlane, person: &PersonRecord, typed: &str) -> Result<PasswordHash, Problem> {
        let refused = |error: &PasswordError| {
            if let Ok(details) = Details::none().name("person", person.id.as_str()) {
                let event = Event::new("password.refused", control.place()).with(details);
                control.record(event.for_commitment(error.commitment()));
            }
            Problem::new("request/password", error.to_string())
        };
        let password = Password::parse(typed).map_err(|error| refused(&error))?;
        let id = person.id.as_str();
        let (email, tenant) =
            (person.email.as_deref().unwrap_or(id), person.tenant.as_ref().map_or("", TenantId::as_str));
        let accepted = with_lists(&self.lists, |lists| password.accept(&[id, email, tenant], lists));
        accepted.map_err(|error| refused(&error))?;
        let _turn = self.hashing.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(PasswordHash::make(&password, id, random(control), self.costs().now))
    }
}

impl People {
    /// Whether anybody can sign in here at all.
    pub(crate) fn require_sign_in(&self) -> Result<(), Problem> {
        if self.local.is_used() { Ok(()) } else { self.require_provider().map(drop) }
    }

    /// Invites somebody to a tenant, or once more somebody who lost their password or their second factor: what they had
    /// ends now. `word` is the other half of an invitation that took two people; whoever is invited anew by two has no role
    /// until somebody gives them one again.
    pub(crate) fn invite(
        &self,
        (control, by): (&ControlPlane, &Principal),
        (email, tenant): (&str, &TenantId),
        (roles, need): (BTreeSet<Role>, Option<String>),
        word: Option<&str>,
        now: Instant,
    ) -> Result<Invited, Problem> {
        let id = PrincipalId::parse(&email.to_ascii_lowercase()).map_err(|error| {
            Problem::new("request/person", error.to_string()).with_help("name an address, such as `ana@acme.example`")
        })?;
        let taken = |why: &str| {
            Problem::new("conflict/person", format!("`{id}` cannot be invited: {why}")).with_help("invite another name")
        };
        let known = self.persons.find(id.as_str());
        // In class development one person may play all parts; an invitation in two halves is used by neither of the two.
        let alone = self.class != creta_model::EnvironmentClass::Development && word.is_none();
        let maker = alone.then(|| self.behind(by));
        let fresh = match &known {
            Some(person) if !person.is_active() => return Err(taken("somebody of this name has left")),
            Some(person) if person.tenant.as_ref() != Some(tenant) => return Err(taken("the name is taken")),
            Some(person) if !self.local.holds(&person.id) => return Err(taken("they sign in at the provider")),
            Some(_) => false,
            None => true,
        };
        if fresh {
            let mut person = PersonRecord::new(id.clone(), Some(tenant.clone()), now);
            person.email = Some(id.to_string());
            person.stands_for.clone_from(&maker);
            self.persons.add(person)?.ok_or_else(|| taken("the name is taken"))?;
        }
        let anew = word.is_some() && known.is_some_and(|person| !person.roles.is_empty());
        if fresh || anew || !roles.is_empty() {
            let given = Assigned { tenant: Some(tenant.clone()), roles, human: None, need };
            let assigned = self.assign((control, by), id.as_str(), given);
            if let Err(problem) = assigned {
                if fresh {
                    self.persons.remove(id.as_str())?;
                }
                return Err(problem);
            }
        }
        let code = Zeroizing::new(URL_SAFE_NO_PAD.encode(random::<32>(control)));
        let expires = now.plus(Span::days(INVITATION_DAYS));
        let word = word.map(|word| word_hash(control.own_key(), word));
        let invitation = Invitation { hash: hash_of(control.own_key(), &code), word, expires };
        let details = Details::none()
            .name("person", id.as_str())
            .and_then(|details| details.name("tenant", tenant.as_str()))
            .and_then(|details| details.instant("expires", expires))
            .map_err(|e| from_audit(&e))?;
        // In the tenant's own part of the log: whoever invites somebody could use the link themselves, and the tenant sees it.
        let place = Place::Scope(Scope::new(tenant.clone(), self.environment.clone()));
        let event = Event::new("person.invited", place).by(by).with(details);
        control.log().record(event).map_err(|e| from_audit(&e))?;
        let (format, person) = (FORMAT.to_owned(), id.clone());
        let account = LocalAccount {
            format,
            person,
            password: None,
            chosen: None,
            invitation: Some(invitation),
            wrong: [0; 2],
            wrong_at: [None; 2],
            noticed: None,
        };
        self.local.guesses.forget(&id);
        {
            // In one turn, so that nobody vouches in between for whoever holds the link: that is whoever was invited, and what
            // others vouched for was somebody with the old password, or with none.
            let _one_at_a_time = self.one_at_a_time();
            let made =
                |person: &PersonRecord| Ok::<_, Problem>(PersonRecord { stands_for: maker.clone(), ..person.clone() });
            let made = self.persons.change(id.as_str(), made)?.ok_or_else(internal)?;
            self.record_humans(control, by, std::slice::from_ref(&made))?;
            match self.local.accounts.change(id.as_str(), |_| Ok::<_, Problem>(account.clone()))? {
                Some(_) => {}
                None => self.local.accounts.add(account)?.map(drop).ok_or_else(internal)?,
            }
        }
        // In this order: whoever was about to sign in, or to register a factor, with what was just taken away comes too late.
        self.generations.begin(&id);
        self.authenticators.remove(id.as_str())?;
        self.end_sessions_of(&id, now)?;
        Ok(Invited { person: self.require_person(id.as_str())?, code, expires })
    }

    /// Who was invited by this code, if it is still good.
    pub(crate) fn invited(&self, control: &ControlPlane, code: &str, now: Instant) -> Result<PersonRecord, Problem> {
        let hash = hash_of(control.own_key(), code);
        let waits = |account: &LocalAccount| {
            account.invitation.as_ref().is_some_and(|invitation| invitation.hash == hash && now < invitation.expires)
        };
        let account = self.local.accounts.find_by(waits).ok_or_else(no_invitation)?;
        self.persons
            .find(account.person.as_str())
            .filter(|person| self.may_use_password(person))
            .ok_or_else(no_invitation)
    }

    /// Whether an invitation has another half, which whoever was invited has to know.
    pub(crate) fn asks_for_word(&self, person: &PersonRecord) -> bool {
        let has_word = |account: &LocalAccount| account.invitation.as_ref().is_some_and(|i| i.word.is_some());
        self.local.accounts.with(person.id.as_str(), has_word).unwrap_or(false)
    }

    /// Refuses an invitation without its other half. A guess is counted by whoever lets somebody try.
    pub(crate) fn require_word(
        &self,
        control: &ControlPlane,
        person: &PersonRecord,
        typed: &str,
    ) -> Result<(), Problem> {
        let given = word_hash(control.own_key(), &normal_code(typed));
        let fits = |account: &LocalAccount| {
            let word = account.invitation.as_ref().and_then(|invitation| invitation.word.as_ref());
            word.is_none_or(|word| verify_slices_are_equal(word.as_bytes(), given.as_bytes()).is_ok())
        };
        match self.local.accounts.with(person.id.as_str(), fits) {
            Some(true) => Ok(()),
            _ => Err(Problem::new("access/invitation-word", "this is not the word of the invitation")
                .with_help("somebody else than whoever sent you the link knows it, and tells it to you alone")),
        }
    }

    /// Whoever was invited chooses a password. The invitation is used up.
    pub(crate) fn accept_invitation(
        &self,
        control: &ControlPlane,
        code: &str,
        typed: &str,
        now: Instant,
    ) -> Result<PersonRecord, Problem> {
        let person = self.invited(control, code, now)?;
        let password = self.local.make(control, &person, typed)?;
        self.record_password(control, &person, "password.chosen")?;
        let hash = hash_of(control.own_key(), code);
        let changed = self.local.accounts.change(person.id.as_str(), |account| {
            // Asked once more under the register's lock: two browsers may hold one code.
            let own = account.invitation.as_ref().is_some_and(|invitation| invitation.hash == hash);
            let chosen =
                LocalAccount { password: Some(password), chosen: Some(now), invitation: None, ..account.clone() };
            own.then_some(chosen).ok_or_else(no_invitation)
        })?;
        changed.map(|_| person).ok_or_else(no_invitation)
    }

    /// Who this is, if the password is theirs. One answer, after one derivation, for whatever is wrong, and for a right one after
    /// a hundred wrong ones in a row at this door, or too soon after the last of more than ten.
    pub(crate) fn by_password(
        &self,
        control: &ControlPlane,
        (name, typed): (&str, &str),
        door: Door,
    ) -> Result<PersonRecord, Problem> {
        let id = account_named(name);
        let person = self.persons.find(&id).filter(|person| self.may_use_password(person));
        let stored = person.as_ref().and_then(|person| self.local.accounts.find(person.id.as_str()));
        let now = control.platform().clock.now();
        let looked_at = person.as_ref().is_none_or(|person| self.local.guesses.may(&person.id, door, now));
        let stored = stored.and_then(|account| account.password).filter(|_| looked_at);
        let verdict = {
            let _turn = self.local.hashing.lock().unwrap_or_else(PoisonError::into_inner);
            password::verify(stored.as_ref(), &id, typed, random(control), self.local.costs())
        };
        if let (Some(person), true) = (&person, looked_at) {
            match &verdict {
                Ok(Verdict::Right | Verdict::RightRehashed(_)) => self.local.guesses.right(&person.id, door),
                _ => drop(self.local.guesses.wrong(&person.id, door, now)),
            }
        }
        let person = match (verdict, person) {
            (Ok(Verdict::Right), Some(person)) => Some(person),
            (Ok(Verdict::RightRehashed(dearer)), Some(person)) => {
                self.local.accounts.change(&id, |account| {
                    // Whoever changed it meanwhile has a new hash already.
                    let same = account.password == stored;
                    let password = if same { Some(dearer) } else { account.password.clone() };
                    Ok::<_, Problem>(LocalAccount { password, ..account.clone() })
                })?;
                Some(person)
            }
            (Err(error), Some(person)) => {
                tracing::error!(%error, "a stored password cannot be used");
                self.record_refusal(control, &person, "password.tampered", &error)?;
                None
            }
            _ => None,
        };
        person.ok_or_else(|| {
            Problem::new("auth/bad-password", "name or password is wrong")
                .with_help(
                    "after ten wrong ones in a row wait longer before each further one, up to an hour; whoever forgot theirs is \
                     invited anew by an administrator",
                )
        })
    }

    /// Somebody who is signed in chooses another password. Their other sessions end.
    pub(crate) fn change_password(
        &self,
        control: &ControlPlane,
        (person, session): (&PersonRecord, Option<&str>),
        (current, new): (&str, &str),
        now: Instant,
    ) -> Result<(), Problem> {
        if !self.local.holds(&person.id) {
            return Err(Problem::new("not-found/password", "you have no password here: you sign in at the provider"));
        }
        self.by_password(control, (person.id.as_str(), current), Door::Known)?;
        let password = self.local.make(control, person, new)?;
        self.record_password(control, person, "password.changed")?;
        self.local.accounts.change(person.id.as_str(), |account| {
            Ok::<_, Problem>(LocalAccount { password: Some(password), chosen: Some(now), ..account.clone() })
        })?;
        self.generations.begin(&person.id); // Sign-ins under way with the old one.
        let other = |other: &super::Session| other.person == person.id && session != Some(other.id.as_str());
        for session in self.sessions.list(|session| other(session) && session.revoked.is_none()) {
            self.end_session(&session.id, now)?;
        }
        Ok(())
    }

    /// Only a tenant's own people, for as long as they are here.
    fn may_use_password(&self, person: &PersonRecord) -> bool {
        person.is_active() && person.tenant.is_some() && person.identity.is_none()
    }

    fn record_password(
        &self,
        control: &ControlPlane,
        person: &PersonRecord,
        what: &'static str,
    ) -> Result<(), Problem> {
        let details = Details::none().name("person", person.id.as_str()).map_err(|e| from_audit(&e))?;
        control.log().record(Event::new(what, control.place()).with(details)).map(drop).map_err(|e| from_audit(&e))
    }

    fn record_refusal(
        &self,
        control: &ControlPlane,
        person: &PersonRecord,
        what: &'static str,
        error: &PasswordError,
    ) -> Result<(), Problem> {
        let details = Details::none().name("person", person.id.as_str()).map_err(|e| from_audit(&e))?;
        control.record(Event::new(what, control.place()).with(details).for_commitment(error.commitment()));
        Ok(())
    }
}

/// A list on disk, read at offsets.
struct OnDisk(File);

impl Bytes for OnDisk {
    fn len(&self) -> io::Result<u64> {
        self.0.metadata().map(|metadata| metadata.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }
}

/// Does something with the lists of breached passwords. One that cannot be read is an error: half of them protect half.
fn with_lists<T>(
    lists: &[PathBuf],
    act: impl FnOnce(&[&ListFile<'_>]) -> Result<T, PasswordError>,
) -> Result<T, PasswordError> {
    let files = lists.iter().map(|list| File::open(list).map(OnDisk)).collect::<io::Result<Vec<_>>>();
    let files = files.map_err(PasswordError::List)?;
    let opened = files.iter().map(|file| ListFile::open(file)).collect::<io::Result<Vec<_>>>();
    let opened = opened.map_err(PasswordError::List)?;
    let opened: Vec<&ListFile<'_>> = opened.iter().collect();
    act(&opened)
}

fn hash_of(key: &ScopeKey, code: &str) -> String {
    hex::encode(key.mac(INVITATION_DOMAIN, &[code.as_bytes()]))
}

fn word_hash(key: &ScopeKey, word: &str) -> String {
    hex::encode(key.mac(INVITATION_DOMAIN, &[b"word", word.as_bytes()]))
}

fn random<const N: usize>(control: &ControlPlane) -> [u8; N] {
    let mut bytes = [0; N];
    control.platform().random.fill(&mut bytes);
    bytes
}

fn no_invitation() -> Problem {
    Problem::new("not-found/invitation", "this invitation was used, has expired, or was replaced by a newer one")
        .with_help("ask whoever invited you for another one")
}
