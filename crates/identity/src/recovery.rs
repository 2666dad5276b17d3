//! What two people sign before anything goes on from an older copy: a restore, an older store, a log behind its witnesses.
//!
//! Each of them has a recovery key of their own, which they registered while all was well: its digest stands in the audit
//! log. After a disaster no server may run, so nothing here needs one: whoever holds the root key draws a [`Statement`]
//! from the data folder, two people look at it and sign it on their own computers, and it counts once, for exactly the log
//! that it was drawn from. Accounts of one human are one.

use std::collections::BTreeSet;

use creta_model::{Environment, Instant, Span, TenantId};
use serde::{Deserialize, Serialize};

use crate::jws::{decode, encode, sha256};
use crate::key::{PublicKey, SigningKey};

/// Version of [`Statement`].
pub const STATEMENT_FORMAT: &str = "creta.recovery/1";
/// Version of [`Approval`].
pub const APPROVAL_FORMAT: &str = "creta.recovery-approval/1";
/// Version of what registers a key.
pub const KEY_FORMAT: &str = "creta.recovery-key/1";
/// How long a statement can be signed and used after it was drawn.
pub const STATEMENT_HOURS: u32 = 24;
/// Longest reason, in bytes.
const REASON_BYTES_MAX: usize = 1_000;

/// What is to happen to a data folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    format: String,
    /// The environment, by name.
    pub environment: Environment,
    /// And by its random id.
    pub environment_id: String,
    /// What is done.
    pub what: What,
    /// The log that goes on. One entry more, and this statement is good for nothing any more.
    pub log: LogAt,
    /// The moments that stores go on from.
    pub stores: Vec<StoreAt>,
    /// The newest moments of those stores that the log knows, or that stand in the folder: what lies between is left behind.
    pub newest: Vec<StoreAt>,
    /// Why.
    pub reason: String,
    /// When it was drawn.
    pub drawn: Instant,
}

/// Kinds of what is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum What {
    /// Stores that stand in the folder go on, although the log knows newer ones.
    AcceptOlder,
    /// Files of a backup are put in place, and go on.
    Restore {
        /// SHA-256 of the backup's manifest, in hexadecimal digits.
        copy: String,
        /// When the backup was complete.
        taken: Instant,
        /// Whether the log that goes on is the newest one.
        log: KeptLog,
    },
    /// The log goes on, although witnesses have seen another history of it.
    Fork {
        /// What is left behind, by each witness.
        left: Vec<LeftBehind>,
    },
}

/// Which log goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeptLog {
    /// The one that stands in the folder.
    Kept,
    /// None stands there: the backup's goes on, and what was recorded since is left behind.
    Lost,
}

/// The newest checkpoint that a witness cosigned of a history that does not go on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeftBehind {
    /// The witness's verifier key.
    pub witness: String,
    /// Entries.
    pub size: u64,
    /// Root, in base64.
    pub root: String,
}

/// A moment of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogAt {
    /// Entries.
    pub size: u64,
    /// Root, in base64.
    pub root: String,
}

/// A moment of a store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreAt {
    /// Whose; nobody's is the control plane's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// `facts`, `quarantine` or `metadata`.
    pub store: String,
    /// How much it holds.
    pub position: u64,
    /// What stands for its history, in hexadecimal digits.
    pub chain: String,
    /// Version of its manifest.
    pub manifest: u64,
}

/// Why a statement or an approval does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryError {
    /// Not of this form or version.
    #[error("it is not of the form `{0}`")]
    Format(&'static str),
    /// No reason, too long a one, or one with more than letters and marks.
    #[error("a reason has 1 to {REASON_BYTES_MAX} bytes on one line, and nothing that moves a cursor")]
    Reason,
    /// A text that is shown as something else than it is.
    #[error("a text in it holds characters that nobody sees")]
    Unseen,
    /// Drawn too long ago, or in the future.
    #[error("the statement was drawn at {drawn}, and counts for {STATEMENT_HOURS} hours; draw it again")]
    Stale {
        /// When it was drawn.
        drawn: Instant,
    },
    /// An approval of something else.
    #[error("`{account}` approved another statement than this one")]
    OtherStatement {
        /// Who.
        account: String,
    },
    /// A key that nobody registered, or that ended.
    #[error("`{account}` has not registered this recovery key, or it has ended")]
    UnknownKey {
        /// Who.
        account: String,
    },
    /// Signed by another key, or changed since.
    #[error("the signature of `{account}` does not belong to the approval")]
    Signature {
        /// Who.
        account: String,
    },
    /// Fewer than two humans.
    #[error("two different people have to approve it, and this is {humans}")]
    OneHuman {
        /// How many different ones there are.
        humans: usize,
    },
}

impl RecoveryError {
    /// The promise that the refusal keeps.
    pub const fn commitment(&self) -> &'static str {
        "CH-35"
    }
}

impl Statement {
    /// A new one.
    pub fn draw(
        (environment, environment_id): (&Environment, &str),
        what: What,
        log: LogAt,
        (stores, newest): (Vec<StoreAt>, Vec<StoreAt>),
        reason: &str,
        now: Instant,
    ) -> Result<Self, RecoveryError> {
        let reason = reason.trim();
        if !(1..=REASON_BYTES_MAX).contains(&reason.len()) || !is_seen(reason) {
            return Err(RecoveryError::Reason);
        }
        Ok(Self {
            format: STATEMENT_FORMAT.to_owned(),
            environment: environment.clone(),
            environment_id: environment_id.to_owned(),
            what,
            log,
            stores,
            newest,
            reason: reason.to_owned(),
            drawn: now,
        })
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote. Whoever reads it sees all of it: a text with characters that nobody
    /// sees is refused.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecoveryError> {
        let statement = serde_json::from_slice::<Self>(bytes).ok();
        let statement = statement.filter(|s| s.format == STATEMENT_FORMAT);
        let statement = statement.ok_or(RecoveryError::Format(STATEMENT_FORMAT))?;
        let texts = statement.stores.iter().chain(&statement.newest).flat_map(|at| [&at.store, &at.chain]);
        let texts = texts.chain([&statement.environment_id, &statement.log.root, &statement.reason]);
        let of_what: Vec<&String> = match &statement.what {
            What::AcceptOlder => Vec::new(),
            What::Restore { copy, .. } => vec![copy],
            What::Fork { left } => left.iter().flat_map(|left| [&left.witness, &left.root]).collect(),
        };
        let all_seen = texts.chain(of_what).all(|text| is_seen(text));
        if all_seen { Ok(statement) } else { Err(RecoveryError::Unseen) }
    }

    /// For people to look at: indented JSON.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("a statement has a JSON form")
    }

    /// SHA-256 of the canonical form (RFC 8785), in hexadecimal digits: what is approved.
    pub fn digest(&self) -> String {
        let canonical = serde_json_canonicalizer::to_vec(self).expect("a statement has a canonical form");
        hex::encode(sha256(&canonical))
    }
}

/// Somebody agrees to a statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    format: String,
    /// The account.
    pub account: String,
    /// [`Statement::digest`].
    pub statement: String,
    /// When they signed.
    pub at: Instant,
    /// Their recovery key.
    pub key: PublicKey,
    /// 64 bytes, base64url.
    signature: String,
}

impl Approval {
    /// Signs a statement.
    pub fn sign(statement: &Statement, account: &str, key: &SigningKey, at: Instant) -> Self {
        let mut approval = Self {
            format: APPROVAL_FORMAT.to_owned(),
            account: account.to_owned(),
            statement: statement.digest(),
            at,
            key: key.public(),
            signature: String::new(),
        };
        approval.signature = encode(key.sign(&approval.message()));
        approval
    }

    /// Reads an approval; believed in nothing yet.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecoveryError> {
        let approval = serde_json::from_slice::<Self>(bytes).ok();
        approval.filter(|a| a.format == APPROVAL_FORMAT).ok_or(RecoveryError::Format(APPROVAL_FORMAT))
    }

    /// As JSON.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("an approval has a JSON form")
    }

    fn message(&self) -> Vec<u8> {
        message(APPROVAL_FORMAT, &[&self.account, &self.statement, &self.at.to_string()])
    }
}

/// Somebody who registered a recovery key that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyHolder {
    /// The account.
    pub account: String,
    /// The human behind it.
    pub human: String,
    /// The key.
    pub key: PublicKey,
}

/// Whether two different humans agree to exactly this, now. Gives the approvals that count, each with its holder.
pub fn require_two<'a, 'h>(
    statement: &Statement,
    approvals: &'a [Approval],
    holders: &'h [KeyHolder],
    now: Instant,
) -> Result<Vec<(&'a Approval, &'h KeyHolder)>, RecoveryError> {
    let ends = statement.drawn.plus(Span::hours(STATEMENT_HOURS));
    if now < statement.drawn || ends <= now {
        return Err(RecoveryError::Stale { drawn: statement.drawn });
    }
    let digest = statement.digest();
    let mut counted = Vec::new();
    for approval in approvals {
        let account = || approval.account.clone();
        if approval.statement != digest {
            return Err(RecoveryError::OtherStatement { account: account() });
        }
        let holder = holders.iter().find(|holder| holder.account == approval.account && holder.key == approval.key);
        let holder = holder.ok_or_else(|| RecoveryError::UnknownKey { account: account() })?;
        let signature = decode(&approval.signature).unwrap_or_default();
        if !holder.key.verifies(&approval.message(), &signature) {
            return Err(RecoveryError::Signature { account: account() });
        }
        counted.push((approval, holder));
    }
    let humans: BTreeSet<&str> = counted.iter().map(|(_, holder)| holder.human.as_str()).collect();
    if humans.len() < 2 {
        return Err(RecoveryError::OneHuman { humans: humans.len() });
    }
    Ok(counted)
}

/// That whoever registers a key has it: a signature, in base64url.
pub fn sign_registration(environment_id: &str, account: &str, key: &SigningKey) -> String {
    encode(key.sign(&registration(environment_id, account, &key.public())))
}

/// Checks what [`sign_registration`] gives.
pub fn is_registration(environment_id: &str, account: &str, key: &PublicKey, signature: &str) -> bool {
    decode(signature).is_some_and(|signature| key.verifies(&registration(environment_id, account, key), &signature))
}

fn registration(environment_id: &str, account: &str, key: &PublicKey) -> Vec<u8> {
    message(KEY_FORMAT, &[environment_id, account, key.thumbprint().as_str()])
}

/// Whether a text has no characters that end a line, command a terminal or turn round how others are shown.
fn is_seen(text: &str) -> bool {
    let unseen = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    !text.contains(unseen)
}

/// Texts under a format, which keeps these signatures apart from all others.
fn message(format: &str, texts: &[&str]) -> Vec<u8> {
    let texts = serde_json::to_vec(texts).expect("texts have a JSON form");
    [format.as_bytes(), b"\n", &texts].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::KeyKind;

    fn now() -> Instant {
        Instant::parse("2026-11-30T12:00:00Z").expect("an instant")
    }

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_random(KeyKind::Ed25519, &[seed; 32])
    }

    fn statement(size: u64) -> Statement {
        let environment = Environment::parse("prod").expect("valid");
        let log = LogAt { size, root: "root".into() };
        let store = StoreAt {
            tenant: Some(TenantId::parse("acme").expect("valid")),
            store: "facts".into(),
            position: 3,
            chain: "00".into(),
            manifest: 1,
        };
        let of = (&environment, "prod-00");
        let newest = StoreAt { position: 9, ..store.clone() };
        Statement::draw(of, What::AcceptOlder, log, (vec![store], vec![newest]), "the disk was lost", now())
            .expect("drawn")
    }

    fn holder(account: &str, human: &str, seed: u8) -> KeyHolder {
        KeyHolder { account: account.into(), human: human.into(), key: key(seed).public() }
    }

    /// Ana has two accounts, Ben one.
    fn holders() -> Vec<KeyHolder> {
        vec![holder("ana", "ana", 1), holder("ana-two", "ana", 2), holder("ben", "ben", 3)]
    }

    #[test]
    fn two_people_agree_to_exactly_what_they_saw() {
        let statement = statement(7);
        let read = Statement::parse(&statement.to_bytes()).expect("own form");
        assert_eq!((&read, read.digest()), (&statement, statement.digest()));
        let approvals = [Approval::sign(&read, "ana", &key(1), now()), Approval::sign(&read, "ben", &key(3), now())];
        let approvals = approvals.map(|approval| Approval::parse(&approval.to_bytes()).expect("own form"));
        let holders = holders();
        let counted = require_two(&statement, &approvals, &holders, now()).expect("agreed");
        assert_eq!(counted.iter().map(|(_, holder)| holder.human.as_str()).collect::<Vec<_>>(), ["ana", "ben"]);
    }

    #[test]
    fn attack_ch35_one_human_never_makes_two_by_accounts_keys_or_copies() {
        let (statement, holders) = (statement(7), holders());
        let sign = |account: &str, seed| Approval::sign(&statement, account, &key(seed), now());
        for (approvals, humans) in [
            (vec![], 0),
            (vec![sign("ana", 1)], 1),
            (vec![sign("ana", 1), sign("ana", 1)], 1),
            (vec![sign("ana", 1), sign("ana-two", 2)], 1),
        ] {
            let refused = require_two(&statement, &approvals, &holders, now()).expect_err("one human");
            assert_eq!(refused, RecoveryError::OneHuman { humans });
            assert_eq!(refused.commitment(), "CH-35");
        }
        // Under another's name.
        let forged = [sign("ana", 1), sign("ben", 1)];
        let refused = require_two(&statement, &forged, &holders, now()).expect_err("forged");
        assert_eq!(refused, RecoveryError::UnknownKey { account: "ben".into() });
    }

    #[test]
    fn attack_ch35_a_statement_shows_all_that_it_says() {
        let (statement, of) = (statement(7), Environment::parse("prod").expect("valid"));
        let log = LogAt { size: 7, root: "root".into() };
        for hidden in ["lost\nposition 900", "lost\u{1b}[2A", "lost\u{202e}tsol", "lost\u{200b}", "\u{7}lost"] {
            let draw = |reason: &str| {
                Statement::draw((&of, "prod-00"), What::AcceptOlder, log.clone(), (vec![], vec![]), reason, now())
            };
            assert_eq!(draw(hidden), Err(RecoveryError::Reason), "{hidden:?}");
            assert!(draw("Prüfung: die Platte „A“ war leer").is_ok(), "letters of any language");
            // By a program of one's own.
            let mut edited = statement.clone();
            edited.reason = hidden.into();
            assert_eq!(Statement::parse(&edited.to_bytes()), Err(RecoveryError::Unseen));
            edited.reason = "lost".into();
            edited.what =
                What::Fork { left: vec![LeftBehind { witness: hidden.into(), size: 1, root: "root".into() }] };
            assert_eq!(Statement::parse(&edited.to_bytes()), Err(RecoveryError::Unseen));
        }
    }

    #[test]
    fn attack_ch35_an_approval_is_of_one_statement_and_of_no_later_log() {
        let (first, holders) = (statement(7), holders());
        let approvals = [Approval::sign(&first, "ana", &key(1), now()), Approval::sign(&first, "ben", &key(3), now())];
        require_two(&first, &approvals, &holders, now()).expect("agreed");
        // The log went on, which is what using it does.
        let mut others = vec![statement(8)];
        let mut edit = |change: fn(&mut Statement)| {
            let mut edited = first.clone();
            change(&mut edited);
            others.push(edited);
        };
        edit(|s| s.environment_id = "prod-01".into());
        edit(|s| s.stores[0].position = 2);
        edit(|s| s.reason.push('!'));
        edit(|s| s.newest[0].position = 3);
        edit(|s| s.what = What::Restore { copy: "00".into(), taken: now(), log: KeptLog::Kept });
        edit(|s| s.log.root = "other".into());
        edit(|s| s.drawn = s.drawn.plus(Span::seconds(1)));
        for other in others {
            let refused = require_two(&other, &approvals, &holders, now().plus(Span::seconds(2))).expect_err("other");
            assert_eq!(refused, RecoveryError::OtherStatement { account: "ana".into() });
        }
    }

    #[test]
    fn attack_ch35_a_statement_counts_for_a_day_and_not_before_it_was_drawn() {
        let (statement, holders) = (statement(7), holders());
        let approvals =
            [Approval::sign(&statement, "ana", &key(1), now()), Approval::sign(&statement, "ben", &key(3), now())];
        let at = |at: Instant| require_two(&statement, &approvals, &holders, at).map(|counted| counted.len());
        let last = now().plus(Span::hours(STATEMENT_HOURS)).minus(Span::seconds(1));
        assert_eq!(at(last), Ok(2));
        for other in [last.plus(Span::seconds(1)), now().minus(Span::seconds(1))] {
            assert_eq!(at(other), Err(RecoveryError::Stale { drawn: now() }));
        }
    }

    #[test]
    fn attack_ch35_an_edited_approval_and_other_signatures_of_the_key_are_none() {
        let (statement, holders) = (statement(7), holders());
        let good = Approval::sign(&statement, "ben", &key(3), now());
        let ana = Approval::sign(&statement, "ana", &key(1), now());
        let mut later = good.clone();
        later.at = later.at.plus(Span::seconds(1));
        let mut of_registration = good.clone();
        of_registration.signature = sign_registration("prod-00", "ben", &key(3));
        let mut empty = good.clone();
        empty.signature.clear();
        for bad in [later, of_registration, empty] {
            let approvals = [ana.clone(), bad];
            let refused = require_two(&statement, &approvals, &holders, now()).expect_err("edited");
            assert_eq!(refused, RecoveryError::Signature { account: "ben".into() });
        }
        assert!(is_registration("prod-00", "ben", &key(3).public(), &sign_registration("prod-00", "ben", &key(3))));
        for (id, account, seed) in [("prod-01", "ben", 3), ("prod-00", "ana", 3), ("prod-00", "ben", 1)] {
            let signature = sign_registration("prod-00", "ben", &key(3));
            assert!(!is_registration(id, account, &key(seed).public(), &signature));
        }
        assert!(Approval::parse(&statement.to_bytes()).is_err() && Statement::parse(&good.to_bytes()).is_err());
    }
}
