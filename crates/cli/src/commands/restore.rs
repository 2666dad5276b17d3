//! `creta restore`: going on from an older copy, which two people approve.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use creta_identity::key::SigningKey;
use creta_identity::recovery::{Approval, KeptLog, RecoveryError, Statement, What, sign_registration};
use creta_model::TenantId;
use creta_platform::{Clock as _, SystemClock};
use creta_server::{AskedRecovery, draw_recovery, recover};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::connect;
use super::server::failed;
use crate::args::{RestoreCommand, RestoreDraw};
use crate::failure::Failure;
use crate::held_key::{from_pkcs8, new_key, to_pkcs8};
use crate::http::encoded;
use crate::profile::read_secret;
use crate::terminal::{Align, Terminal, counted, table};

const KEYS: &str = "/v1/recovery/keys";
/// Digits of a digest that whoever approves it types.
const DIGITS_MIN: usize = 8;
const KEY_FILE_FORMAT: &str = "creta.recovery-key-file/1";

/// A recovery key on its holder's disk.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    format: String,
    account: String,
    /// PKCS #8, base64.
    key: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Keys {
    account: String,
    environment_id: String,
    keys: Vec<Key>,
    people: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Key {
    key: String,
    account: String,
    added: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended: Option<String>,
}

pub(crate) fn run(command: RestoreCommand, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    match command {
        RestoreCommand::Key { out, connection } => {
            let (server, _) = connect(&connection)?;
            let Keys { account, environment_id, .. } = server.get(KEYS)?;
            let key = new_key();
            let kept = KeyFile { format: KEY_FILE_FORMAT.to_owned(), account: account.clone(), key: to_pkcs8(&key) };
            // First: a key that is registered and kept nowhere would count as one of two people who could agree.
            write_new(&out, &serde_json::to_vec_pretty(&kept).expect("texts have a JSON form"), 0o600)?;
            let proof = sign_registration(&environment_id, &account, &key);
            let body = json!({ "key": key.public(), "proof": proof });
            let added: Key = server.post(KEYS, &body)?;
            terminal.show(&added, || {
                let file = out.display();
                format!(
                    "registered recovery key {} of {account}; it is in {file} and nowhere else\n\
                     next: keep a copy where you can reach it when nothing else works",
                    added.key
                )
            });
        }
        RestoreCommand::Keys(connection) => {
            let keys: Keys = connect(&connection)?.0.get(KEYS)?;
            terminal.show(&keys, || {
                let rows: Vec<_> = keys.keys.iter().map(|key| vec![key.key.clone(), key.added.clone()]).collect();
                let own = table(&[("your key", Align::Left), ("added", Align::Left)], &rows);
                let people = counted(keys.people, "person", "people");
                format!("{own}\n{people} could approve a restore; it takes two")
            });
        }
        RestoreCommand::End { key, connection } => {
            let ended: Key = connect(&connection)?.0.post_empty(&format!("{KEYS}/{}/end", encoded(&key)))?;
            terminal.show(&ended, || format!("recovery key {} has ended", ended.key));
        }
        RestoreCommand::Draw(draw) => self::draw(draw, terminal)?,
        RestoreCommand::Approve { statement, key, out, digest } => {
            let statement = read_statement(&statement)?;
            let (account, key) = read_key(&key)?;
            terminal.complain(&format!("you approve:\n{}\n", words(&statement)));
            require_looked(&statement, digest.as_deref())?;
            let approval = Approval::sign(&statement, &account, &key, SystemClock::new().now());
            write_new(&out, &approval.to_bytes(), 0o644)?;
            let shown = json!({ "approval": out, "account": account, "statement": statement.digest() });
            terminal.show(&shown, || format!("{account} approved it; the approval is in {}", out.display()));
        }
        RestoreCommand::Run { statement, data, approvals, copy, out } => {
            let statement = read_statement(&statement)?;
            let read = |file: &std::path::PathBuf| {
                let bytes = std::fs::read(file).map_err(|error| Failure::file("read", file, &error))?;
                Approval::parse(&bytes).map_err(|error| not_readable(file, &error))
            };
            let approvals = approvals.iter().map(read).collect::<Result<Vec<_>, _>>()?;
            let done = recover(&data, &statement, &approvals, copy.as_deref(), &out).map_err(|error| failed(&error))?;
            terminal.show(&done, || {
                let mut text = match done.approved_by.as_slice() {
                    [] => "done; in class development nobody else has to approve it".to_owned(),
                    all => format!("done, as {} approved", all.join(" and ")),
                };
                if let Some(replaced) = &done.replaced {
                    text += &format!("\nwhat stood there lies in {}", replaced.display());
                }
                if !done.notices.is_empty() {
                    let notices = counted(done.notices.len() as u64, "notice", "notices");
                    text += &format!("\n{notices} in {}, for the operators of the witnesses", out.display());
                }
                format!("{text}\nnext: creta server start --data {}", data.display())
            });
        }
    }
    Ok(())
}

/// Whoever signs names what they looked at.
fn require_looked(statement: &Statement, digits: Option<&str>) -> Result<(), Failure> {
    let digest = statement.digest();
    let help = "look at what it leaves behind, ask whoever drew it for the digest by another road, and run this again with \
                `--digest` and its first eight digits";
    match digits {
        Some(digits) if digits.len() >= DIGITS_MIN && digest.starts_with(digits) => Ok(()),
        Some(_) => Err(Failure::usage("restore/other-digest", "the statement's digest begins otherwise", help)),
        None => Err(Failure::usage("restore/not-looked-at", "nothing is signed unseen", help)),
    }
}

fn draw(draw: RestoreDraw, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let RestoreDraw { data, copy, fork, tenant, reason, out } = draw;
    let tenant = tenant.as_deref().map(TenantId::parse).transpose();
    let tenant =
        tenant.map_err(|error| Failure::usage("request/tenant", error.to_string(), "name it as it was made"))?;
    let asked = match (copy, fork) {
        (_, true) => AskedRecovery::Fork,
        (Some(copy), false) => AskedRecovery::Restore { copy, tenant },
        (None, false) => AskedRecovery::AcceptOlder(tenant),
    };
    let statement = draw_recovery(&data, &asked, &reason).map_err(|error| failed(&error))?;
    write_new(&out, &statement.to_bytes(), 0o644)?;
    let shown = json!({ "statement": out, "digest": statement.digest() });
    terminal.show(&shown, || {
        let file = out.display();
        format!(
            "{}\nthe statement is in {file}\n\
             next: two people run `creta restore approve {file} --key FILE --out FILE --digest DIGITS` within a day, then \
             you `creta restore run {file} --approval FILE --approval FILE`",
            words(&statement)
        )
    });
    Ok(())
}

/// What a statement says, for the people who approve it.
fn words(statement: &Statement) -> String {
    let of = format!("environment  {} ({})", statement.environment, statement.environment_id);
    let what = match &statement.what {
        What::AcceptOlder => "these stores go on, although the log knows newer ones".to_owned(),
        What::Restore { copy, taken, .. } => {
            format!("files of backup {copy}, taken {taken}, are put in place and go on")
        }
        What::Fork { left } => {
            let left = left.iter().map(|left| format!("\n             {} at {} entries", left.witness, left.size));
            format!("the log goes on without what witnesses have seen:{}", left.collect::<String>())
        }
    };
    let log = match &statement.what {
        What::Restore { log: KeptLog::Lost, .. } => {
            "LOST: the backup's goes on, what was recorded since is gone, and nobody here can say how much that is"
        }
        _ => "goes on",
    };
    let rows = statement.stores.iter().map(|store| {
        let whose = store.tenant.as_ref().map_or("control plane", TenantId::as_str);
        let newest = statement.newest.iter().find(|at| (&at.tenant, &at.store) == (&store.tenant, &store.store));
        let newest_position = newest.map_or_else(|| "not known".to_owned(), |at| at.position.to_string());
        let left = newest.map_or_else(
            || "not known".to_owned(),
            |at| match at.position.saturating_sub(store.position) {
                0 if at.chain == store.chain => "nothing".to_owned(),
                0 => "another history".to_owned(),
                left => left.to_string(),
            },
        );
        let chain = store.chain.chars().take(16).collect();
        vec![whose.to_owned(), store.store.clone(), store.position.to_string(), newest_position, left, chain]
    });
    let rows: Vec<_> = rows.collect();
    let stores = match rows.is_empty() {
        true => String::new(),
        false => table(
            &[
                ("of", Align::Left),
                ("store", Align::Left),
                ("goes on from", Align::Right),
                ("newest known", Align::Right),
                ("left behind", Align::Right),
                ("history", Align::Left),
            ],
            &rows,
        ),
    };
    format!(
        "{of}\nwhat         {what}\nlog          {log}; {} entries, root {}\nreason       {}\ndrawn        {}\ndigest       {}\n{stores}",
        statement.log.size,
        statement.log.root,
        statement.reason,
        statement.drawn,
        statement.digest(),
    )
}

fn read_statement(file: &Path) -> Result<Statement, Failure> {
    let bytes = std::fs::read(file).map_err(|error| Failure::file("read", file, &error))?;
    Statement::parse(&bytes).map_err(|error| not_readable(file, &error))
}

fn read_key(file: &Path) -> Result<(String, SigningKey), Failure> {
    let kept = serde_json::from_str::<KeyFile>(&read_secret(file)?).ok().filter(|kept| kept.format == KEY_FILE_FORMAT);
    let read = kept.and_then(|kept| Some((kept.account, from_pkcs8(&kept.key)?)));
    read.ok_or_else(|| {
        let message = format!("`{}` is not a recovery key of this version", file.display());
        Failure::usage("restore/not-a-key", message, "name the file that `creta restore key` wrote")
    })
}

fn not_readable(file: &Path, error: &RecoveryError) -> Failure {
    let message = format!("`{}`: {error}", file.display());
    Failure::usage("restore/unreadable", message, "name the file as `creta restore` wrote it")
}

/// Writes a file that is not there yet.
fn write_new(file: &Path, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    let written = OpenOptions::new().write(true).create_new(true).mode(mode).open(file);
    let written = written.and_then(|mut written| written.write_all(bytes).and_then(|()| written.sync_all()));
    written.map_err(|error| Failure::file("write", file, &error))
}

#[cfg(test)]
mod tests {
    use creta_identity::recovery::{LogAt, StoreAt};
    use creta_model::{Environment, Instant};

    use super::*;

    fn statement(log: KeptLog, newest: u64) -> Statement {
        let at = |position| StoreAt {
            tenant: Some(TenantId::parse("acme").expect("valid")),
            store: "facts".to_owned(),
            position,
            chain: "00ff".repeat(16),
            manifest: 1,
        };
        let taken = Instant::parse("2026-11-29T02:00:00Z").expect("an instant");
        let what = What::Restore { copy: "ab".repeat(32), taken, log };
        let of = Environment::parse("prod").expect("valid");
        let newest = if newest == 0 { vec![] } else { vec![at(newest)] };
        let moment = LogAt { size: 7, root: "root".to_owned() };
        Statement::draw((&of, "prod-00"), what, moment, (vec![at(3)], newest), "the disk was lost", taken)
            .expect("drawn")
    }

    #[test]
    fn attack_ch35_whoever_approves_sees_what_is_left_behind_and_signs_nothing_unseen() {
        let drawn = statement(KeptLog::Kept, 812);
        let text = words(&drawn);
        for part in ["2026-11-29T02:00:00", "812", "809", "00ff00ff00ff00ff", "goes on"] {
            assert!(text.contains(part), "{part} is missing:\n{text}");
        }
        let lost = words(&statement(KeptLog::Lost, 0));
        assert!(lost.contains("LOST") && lost.contains("not known"), "{lost}");
        assert!(words(&statement(KeptLog::Kept, 3)).contains("nothing"));

        let digest = drawn.digest();
        assert!(require_looked(&drawn, Some(&digest[..8])).is_ok() && require_looked(&drawn, Some(&digest)).is_ok());
        for digits in [None, Some(""), Some(&digest[..7]), Some("00000000x"), Some(&digest[1..])] {
            assert!(require_looked(&drawn, digits).is_err(), "{digits:?}");
        }
    }
}
