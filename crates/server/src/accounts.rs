//! Accounts: administrators of the environment and service accounts of its tenants, as documents of the control plane.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use creta_iam::{ClientSecret, Principal, PrincipalId};
use creta_keys::ScopeKey;
use creta_model::{Instant, Span, TenantId};
use creta_platform::Random;
use serde::{Deserialize, Serialize};

/// Kind of the documents.
pub(crate) const ACCOUNT_KIND: &str = "account";
const FORMAT: &str = "creta.account/1";
/// Separates keyed hashes of secrets from all others.
const SECRET_DOMAIN: &str = "client secret";

/// Whether an account's tokens are worth something by themselves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Binding {
    /// A token is bound to a key if whoever asks for it shows one.
    #[default]
    IfShown,
    /// Tokens are given and taken with proof of a key alone (RFC 9449): whoever copies one has nothing.
    Always,
}

impl Binding {
    /// As requests say it.
    pub(crate) const fn required(required: bool) -> Self {
        if required { Self::Always } else { Self::IfShown }
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// How an account changes with its secret: how long the present one stays good, and what its tokens are bound to from now on.
pub(crate) type Rotation = (Span, Option<Binding>);

/// One account. Its secret is known to its owner only; here stands a keyed hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Account {
    format: String,
    /// `name@tenant`; what the owner shows together with the secret.
    pub(crate) client_id: String,
    /// Who it is.
    pub(crate) principal: Principal,
    /// HMAC-SHA256 of the client id and the secret under a key of the control plane, in hexadecimal.
    secret_hash: String,
    /// The person to whom the secret was shown: it ends when they leave. None if it was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) shown_to: Option<PrincipalId>,
    /// The secret before this one, which stays good for a while so that nobody stops during a rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<PreviousSecret>,
    /// The account of the person who made it; none where it was the local administrator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) made_by: Option<PrincipalId>,
    /// What its tokens are bound to.
    #[serde(default, skip_serializing_if = "Binding::is_default")]
    pub(crate) binding: Binding,
    pub(crate) created: Instant,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) revoked: Option<Instant>,
    /// The policy epoch it was made in; tokens of earlier ones cannot be its.
    pub(crate) epoch: u64,
}

/// A secret that was replaced, until when it is still taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PreviousSecret {
    secret_hash: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shown_to: Option<PrincipalId>,
    until: Instant,
}

impl Account {
    /// A new account and its secret, which is shown once and kept nowhere.
    pub(crate) fn make(
        key: &ScopeKey,
        random: &dyn Random,
        principal: Principal,
        tenant: &TenantId,
        now: Instant,
        epoch: u64,
    ) -> (Self, ClientSecret) {
        let client_id = client_id(principal.id().as_str(), tenant);
        let (secret, secret_hash) = make_secret(key, random, &client_id);
        let format = FORMAT.to_owned();
        let (shown_to, previous, made_by, revoked) = (None, None, None, None);
        let account = Self {
            format,
            client_id,
            principal,
            secret_hash,
            shown_to,
            previous,
            made_by,
            binding: Binding::IfShown,
            created: now,
            revoked,
            epoch,
        };
        (account, secret)
    }

    /// The same account with a new secret. The present one is taken for `overlap` longer; one that was replaced before
    /// ends at once, so that never more than two are good.
    pub(crate) fn rotate(
        &self,
        key: &ScopeKey,
        random: &dyn Random,
        now: Instant,
        overlap: Span,
    ) -> (Self, ClientSecret) {
        let (secret, secret_hash) = make_secret(key, random, &self.client_id);
        let (shown_to, until) = (self.shown_to.clone(), now.plus(overlap));
        let previous = PreviousSecret { secret_hash: self.secret_hash.clone(), shown_to, until };
        (Self { secret_hash, shown_to: None, previous: Some(previous), ..self.clone() }, secret)
    }

    /// The same account without the secrets that `person` saw; `None` if they saw none that is good. Until it is rotated,
    /// nobody has a secret for it, and its tokens of epochs before `epoch` end.
    pub(crate) fn without_secrets_of(
        &self,
        person: &PrincipalId,
        key: &ScopeKey,
        random: &dyn Random,
        epoch: u64,
    ) -> Option<Self> {
        let saw = |shown_to: &Option<PrincipalId>| shown_to.as_ref() == Some(person);
        let present = saw(&self.shown_to);
        let previous = self.previous.as_ref().is_some_and(|previous| saw(&previous.shown_to));
        if self.revoked.is_some() || !(present || previous) {
            return None;
        }
        let mut account = Self { epoch, ..self.clone() };
        if previous {
            account.previous = None;
        }
        if present {
            let (_, secret_hash) = make_secret(key, random, &self.client_id); // Shown to nobody.
            (account.secret_hash, account.shown_to) = (secret_hash, None);
        }
        Some(account)
    }

    /// The same account without any secret: until it is rotated nobody has one for it, and its tokens of epochs before `epoch`
    /// end.
    pub(crate) fn locked(&self, key: &ScopeKey, random: &dyn Random, epoch: u64) -> Self {
        let (_, secret_hash) = make_secret(key, random, &self.client_id); // Shown to nobody.
        Self { secret_hash, shown_to: None, previous: None, epoch, ..self.clone() }
    }

    /// Until when the secret before the present one is taken.
    pub(crate) fn previous_until(&self) -> Option<Instant> {
        self.previous.as_ref().map(|previous| previous.until)
    }

    /// Reads a document.
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(body).ok().filter(|account| account.format == FORMAT)
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an account has a JSON form")
    }
}

/// `name@tenant`: unique in the environment, since neither part holds an `@`.
pub(crate) fn client_id(name: &str, tenant: &TenantId) -> String {
    format!("{name}@{tenant}")
}

fn make_secret(key: &ScopeKey, random: &dyn Random, client_id: &str) -> (ClientSecret, String) {
    let mut bytes = [0; 32];
    random.fill(&mut bytes);
    let secret = ClientSecret::from_bytes(bytes);
    let secret_hash = hex::encode(hash(key, client_id, secret.expose_bytes()));
    (secret, secret_hash)
}

/// Whether the secret is that of `account`. Takes the same steps whether or not there is such an account, whether or not
/// it was revoked or rotated, so that neither answer nor time tells them apart.
pub(crate) fn is_secret_of(
    key: &ScopeKey,
    account: Option<&Account>,
    client_id: &str,
    secret: &ClientSecret,
    now: Instant,
) -> bool {
    let given = hash(key, client_id, secret.expose_bytes());
    let present = is_hash(&given, account.map(|account| account.secret_hash.as_str()));
    let previous = account.and_then(|account| account.previous.as_ref());
    let replaced = is_hash(&given, previous.map(|previous| previous.secret_hash.as_str()))
        & previous.is_some_and(|previous| now < previous.until);
    (present | replaced) & account.is_some_and(|account| account.revoked.is_none())
}

/// A hash of no secret: read where there is none, since reading one is work as well.
const NOBODYS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

fn is_hash(given: &[u8; 32], expected: Option<&str>) -> bool {
    let mut bytes = [0; 32];
    let read = hex::decode_to_slice(expected.unwrap_or(NOBODYS), &mut bytes).is_ok();
    verify_slices_are_equal(given, &bytes).is_ok() & read & expected.is_some()
}

fn hash(key: &ScopeKey, client_id: &str, secret: &[u8; 32]) -> [u8; 32] {
    key.mac(SECRET_DOMAIN, &[client_id.as_bytes(), secret])
}

#[cfg(test)]
mod tests {
    use creta_iam::Role;
    use creta_keys::{KeyRing, RootKey};
    use creta_model::{Environment, Scope};
    use creta_platform::Platform;

    use super::*;

    fn key() -> (Platform, ScopeKey) {
        let environment = Environment::parse("prod").expect("valid");
        let platform = Platform::in_memory();
        let root = RootKey::generate(&environment, &*platform.random);
        let ring = KeyRing::open(root, environment, platform.clone()).expect("opens");
        let key = ring.scope_or_create(&Scope::parse("creta-system", "prod").expect("valid")).expect("made");
        (platform, key)
    }

    fn account(platform: &Platform, key: &ScopeKey, name: &str) -> (Account, ClientSecret) {
        let scope = Scope::parse("acme", "prod").expect("valid");
        let tenant = scope.tenant.clone();
        let principal = Principal::service_account(PrincipalId::parse(name).expect("valid"), scope, Role::Reader);
        Account::make(key, &*platform.random, principal, &tenant, platform.clock.now(), 3)
    }

    #[test]
    fn an_account_survives_writing_and_reading_and_does_not_hold_its_secret() {
        let (platform, key) = key();
        let (account, secret) = account(&platform, &key, "etl");
        let bytes = account.to_bytes();
        assert_eq!(Account::parse(&bytes), Some(account));
        let text = String::from_utf8(bytes).expect("JSON");
        assert!(
            !text.contains(secret.expose().as_str()) && !text.contains(&hex::encode(secret.expose_bytes())),
            "{text}"
        );
    }

    #[test]
    fn attack_only_the_own_secret_of_a_living_account_is_right() {
        let (platform, key) = key();
        let now = platform.clock.now();
        let (mut etl, secret) = account(&platform, &key, "etl");
        let (other, other_secret) = account(&platform, &key, "other");
        assert!(is_secret_of(&key, Some(&etl), "etl@acme", &secret, now));
        assert!(!is_secret_of(&key, Some(&etl), "etl@acme", &other_secret, now));
        assert!(!is_secret_of(&key, Some(&other), "other@acme", &secret, now));
        assert!(!is_secret_of(&key, None, "etl@acme", &secret, now));
        let zero = ClientSecret::from_bytes([0; 32]);
        assert!(!is_secret_of(&key, None, "nobody@acme", &zero, now));
        etl.revoked = Some(platform.clock.now());
        assert!(!is_secret_of(&key, Some(&etl), "etl@acme", &secret, now));
    }

    #[test]
    fn attack_ch33_secrets_that_a_leaver_saw_end_and_others_do_not() {
        let (platform, key) = key();
        let now = platform.clock.now();
        let [ana, ben] = ["ana", "ben"].map(|id| PrincipalId::parse(id).expect("valid"));
        let (mut first, old) = account(&platform, &key, "etl");
        assert_eq!(first.without_secrets_of(&ana, &key, &*platform.random, 4), None, "nobody saw it");
        first.shown_to = Some(ana.clone());
        let good =
            |account: &Account, secret: &ClientSecret| is_secret_of(&key, Some(account), "etl@acme", secret, now);
        let without =
            |account: &Account, who: &PrincipalId| account.without_secrets_of(who, &key, &*platform.random, 4);
        assert_eq!(without(&first, &ben), None);
        let locked = without(&first, &ana).expect("she saw it");
        assert!(!good(&locked, &old) && locked.epoch == 4);
        let (mut second, new) = first.rotate(&key, &*platform.random, now, Span::hours(1));
        second.shown_to = Some(ben.clone());
        assert!(good(&second, &old) && good(&second, &new));
        let kept = without(&second, &ana).expect("she saw the one before");
        assert!(!good(&kept, &old) && good(&kept, &new), "what took its place is somebody else's");
        let other = without(&second, &ben).expect("he saw the present one");
        assert!(good(&other, &old) && !good(&other, &new));
    }

    #[test]
    fn attack_ch33_a_rotated_secret_ends_after_its_overlap_and_never_are_three_good() {
        let (platform, key) = key();
        let now = platform.clock.now();
        let (first, old) = account(&platform, &key, "etl");
        let (second, new) = first.rotate(&key, &*platform.random, now, Span::hours(1));
        let good =
            |account: &Account, secret: &ClientSecret, at| is_secret_of(&key, Some(account), "etl@acme", secret, at);
        let before = now.plus(Span::hours(1)).minus(Span::from_micros(1).expect("valid"));
        assert!(good(&second, &new, now) && good(&second, &old, before), "both are good while they overlap");
        assert!(!good(&second, &old, now.plus(Span::hours(1))) && good(&second, &new, now.plus(Span::hours(9))));
        let (third, newest) = second.rotate(&key, &*platform.random, now, Span::hours(1));
        assert!(good(&third, &newest, now) && good(&third, &new, now));
        assert!(!good(&third, &old, now), "the one before the previous ended at once");
        assert_eq!(Account::parse(&third.to_bytes()), Some(third));
    }
}
