//! Backups, and the keys with which people agree to go on from one.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, HttpBody};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use creta_audit::{Details, Event};
use creta_identity::key::PublicKey;
use creta_model::Problem;
use http_body::Frame;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::backup::{Taker, copy};
use crate::context::{Guarded, Input};
use crate::copied::TAKEN;
use crate::people::recovery_keys::RecoveryKey;
use crate::problem::{Refusal, from_audit};
use crate::routes::{json as answer, typed};

/// Parts of a backup that wait to be sent.
const PARTS_WAITING: usize = 4;
/// How long a part may wait for a reader.
const READER_TIME_MAX: Duration = Duration::from_secs(60);
/// The slowest that a reader may be on the whole, in bytes a second: what is copied takes room on the disk, and nobody else
/// takes a backup meanwhile.
const READER_BYTES_PER_SECOND_MIN: u64 = 256 << 10;
/// Media type of a backup.
pub(crate) const BACKUP: &str = "application/vnd.creta.backup";

/// A copy of everything that is sealed, as it is sealed. One at a time.
pub(super) async fn backup(guarded: Guarded, _input: Input) -> Result<Response, Refusal> {
    let (app, turn) = (guarded.shared_app(), guarded.turn());
    let alone = app.copy_turn()?;
    let done =
        guarded.act(Details::none(), |admitted| Ok(Event::of(&admitted.permit, TAKEN).for_commitment("CH-35"))).await?;
    let (sender, receiver) = channel(PARTS_WAITING);
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        let mut sending = Sending { sender, runtime, pace: Pace::begin() };
        if copy(&app.control, done, &mut sending).is_err() {
            sending.break_off();
        }
        drop((alone, turn));
    });
    Ok(typed(BACKUP, Body::new(Parts(receiver))))
}

struct Sending {
    sender: Sender<io::Result<Bytes>>,
    runtime: Handle,
    pace: Pace,
}

/// How fast a reader is.
struct Pace {
    began: Instant,
    bytes: u64,
}

impl Pace {
    fn begin() -> Self {
        Self { began: Instant::now(), bytes: 0 }
    }

    /// Whether a reader who got so many bytes more by `now` keeps up.
    fn keeps_up(&mut self, bytes: usize, now: Instant) -> bool {
        let due = READER_TIME_MAX + Duration::from_secs(self.bytes / READER_BYTES_PER_SECOND_MIN);
        self.bytes += bytes as u64;
        now.saturating_duration_since(self.began) <= due
    }
}

impl Sending {
    fn send(&self, part: io::Result<Bytes>) -> io::Result<()> {
        let sent = async { tokio::time::timeout(READER_TIME_MAX, self.sender.send(part)).await };
        match self.runtime.block_on(sent) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(io::Error::other("the reader closed the connection")),
            Err(_) => Err(io::Error::other("the reader reads too slowly")),
        }
    }

    /// The reader sees a broken connection, never a backup that looks whole.
    fn break_off(&self) {
        let _ = self.send(Err(io::Error::other("the backup could not be completed"))); // Whoever is gone sees nothing.
    }
}

impl Taker for Sending {
    fn take(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        if !self.pace.keeps_up(bytes.len(), Instant::now()) {
            return Err(io::Error::other("the reader reads too slowly"));
        }
        self.send(Ok(Bytes::from(bytes)))
    }
}

struct Parts(Receiver<io::Result<Bytes>>);

impl HttpBody for Parts {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.get_mut().0.poll_recv(cx).map(|part| part.map(|part| part.map(Frame::data).map_err(axum::Error::new)))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Registration {
    /// The public key, as a JWK.
    key: PublicKey,
    /// Signature of the key over what is registered.
    proof: String,
}

/// Registers a recovery key of whoever asks.
pub(super) async fn add_key(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let Registration { key, proof } = input.json()?;
    let added = guarded
        .act(Details::none(), move |admitted| {
            let (person, by) = (admitted.person()?, admitted.permit.principal());
            let people = &admitted.app.people;
            Ok(people.add_recovery_key(admitted.control, by, (&person, &key), &proof, admitted.now())?)
        })
        .await?;
    Ok((StatusCode::CREATED, answer(&view(&added))?).into_response())
}

/// One's own recovery keys, and how many people could agree to a restore now.
pub(super) async fn keys(guarded: Guarded, _input: Input) -> Result<Response, Refusal> {
    let listed = guarded
        .act(Details::none(), |admitted| {
            let (person, people) = (admitted.person()?, &admitted.app.people);
            let own = people.recovery_keys().into_iter().filter(|key| key.account == person.id);
            let own: Vec<Value> = own.map(|key| view(&key)).collect();
            Ok(json!({
                "account": person.id,
                "environment_id": admitted.control.environment_id(),
                "keys": own,
                "people": people.who_could_recover(),
            }))
        })
        .await?;
    answer(&listed)
}

/// Ends a recovery key of whoever asks.
pub(super) async fn end_key(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let id = input.path("id").to_owned();
    let details = Details::none().keyed("key", id.as_bytes()).map_err(|e| from_audit(&e))?;
    let ended = guarded
        .act(details, move |admitted| {
            let (person, people) = (admitted.person()?, &admitted.app.people);
            Ok::<_, Refusal>(people.end_recovery_key(admitted.control, &person.id, &id, admitted.now())?)
        })
        .await?;
    answer(&view(&ended))
}

fn view(key: &RecoveryKey) -> Value {
    json!({ "key": key.id, "account": key.account, "added": key.added, "ended": key.ended })
}

/// Only one backup is taken at a time.
pub(crate) fn busy() -> Problem {
    Problem::new("busy/backup", "another backup is being taken").with_help("try again when it is complete")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_ch35_a_reader_who_reads_a_little_now_and_then_holds_no_backup() {
        let began = Instant::now();
        let at = |seconds: u64| began + Duration::from_secs(seconds);
        let mut fast = Pace { began, bytes: 0 };
        let megabyte = 1 << 20;
        assert!((0..1000).all(|second| fast.keeps_up(megabyte, at(second))), "a megabyte a second");
        let mut slow = Pace { began, bytes: 0 };
        let kept_up = (0..1000).take_while(|part| slow.keeps_up(256 << 10, at(part * 59))).count();
        assert_eq!(kept_up, 2, "a part in 59 seconds, each within the time of one");
    }
}
