//! Accounts: administrators of the environment and service accounts of its tenants, as documents of the control plane.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use creta_iam::{ClientSecret, Principal};
use creta_keys::ScopeKey;
use creta_model::{Instant, TenantId};
use creta_platform::Random;
use serde::{Deserialize, Serialize};

/// Kind of the documents.
pub(crate) const ACCOUNT_KIND: &str = "account";
const FORMAT: &str = "creta.account/1";
/// Separates keyed hashes of secrets from all others.
const SECRET_DOMAIN: &str = "client secret";

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
    pub(crate) created: Instant,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) revoked: Option<Instant>,
    /// The policy epoch it was made in; tokens of earlier ones cannot be its.
    pub(crate) epoch: u64,
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
        let mut bytes = [0; 32];
        random.fill(&mut bytes);
        let secret = ClientSecret::from_bytes(bytes);
        let client_id = client_id(principal.id().as_str(), tenant);
        let secret_hash = hex::encode(hash(key, &client_id, secret.expose_bytes()));
        let format = FORMAT.to_owned();
        (Self { format, client_id, principal, secret_hash, created: now, revoked: None, epoch }, secret)
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

/// Whether the secret is that of `account`. Takes the same steps whether or not there is such an account, and whether
/// or not it was revoked, so that neither answer nor time tells them apart.
pub(crate) fn is_secret_of(key: &ScopeKey, account: Option<&Account>, client_id: &str, secret: &ClientSecret) -> bool {
    let given = hash(key, client_id, secret.expose_bytes());
    let mut expected = [0; 32];
    let known = account.is_some_and(|account| hex::decode_to_slice(&account.secret_hash, &mut expected).is_ok());
    let equal = verify_slices_are_equal(&given, &expected).is_ok();
    equal & known & account.is_some_and(|account| account.revoked.is_none())
}

fn hash(key: &ScopeKey, client_id: &str, secret: &[u8; 32]) -> [u8; 32] {
    key.mac(SECRET_DOMAIN, &[client_id.as_bytes(), secret])
}

#[cfg(test)]
mod tests {
    use creta_iam::{PrincipalId, Role};
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
        let (mut etl, secret) = account(&platform, &key, "etl");
        let (other, other_secret) = account(&platform, &key, "other");
        assert!(is_secret_of(&key, Some(&etl), "etl@acme", &secret));
        assert!(!is_secret_of(&key, Some(&etl), "etl@acme", &other_secret));
        assert!(!is_secret_of(&key, Some(&other), "other@acme", &secret));
        assert!(!is_secret_of(&key, None, "etl@acme", &secret));
        let zero = ClientSecret::from_bytes([0; 32]);
        assert!(!is_secret_of(&key, None, "nobody@acme", &zero));
        etl.revoked = Some(platform.clock.now());
        assert!(!is_secret_of(&key, Some(&etl), "etl@acme", &secret));
    }
}
