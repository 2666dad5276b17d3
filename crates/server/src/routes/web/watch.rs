//! The stream that an open page listens to: it ends when its reader's session does, or anything they held is taken away, so
//! that a page left open shows nothing that its reader may no longer see (within five seconds, CH-33).

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::HttpBody;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Interval;

/// How often it is asked whether the reader still holds what they held.
const ASKED_EVERY: Duration = Duration::from_secs(1);
/// How many questions until the reader is sent a sign of life.
const LIFE_EVERY: u32 = 15;
/// How many questions until the page has to begin anew.
const QUESTIONS_MAX: u32 = 600;
/// The last word of a stream whose reader lost something.
pub(crate) const OVER: &[u8] = b"over\n";
const LIFE: &[u8] = b"holds\n";

/// The stream.
pub(super) struct Watch<F> {
    every: Interval,
    holds: F,
    asked: u32,
    over: bool,
    _turn: OwnedSemaphorePermit,
}

impl<F: Fn() -> bool> Watch<F> {
    pub(super) fn new(turn: OwnedSemaphorePermit, holds: F) -> Self {
        Self { every: tokio::time::interval(ASKED_EVERY), holds, asked: 0, over: false, _turn: turn }
    }
}

impl<F: Fn() -> bool + Unpin> HttpBody for Watch<F> {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    /// Some hundred bytes at most, so that listening takes nothing from what staff may read in a day.
    fn size_hint(&self) -> SizeHint {
        let words = u64::from(QUESTIONS_MAX / LIFE_EVERY) + 2;
        let mut hint = SizeHint::new();
        hint.set_upper(words * LIFE.len().max(OVER.len()) as u64);
        hint
    }

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let own = self.get_mut();
        loop {
            if own.over || own.asked >= QUESTIONS_MAX {
                return Poll::Ready(None);
            }
            ready!(own.every.poll_tick(cx));
            let first = own.asked == 0;
            own.asked += 1;
            if !(own.holds)() {
                own.over = true;
                return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(OVER)))));
            }
            if first || own.asked.is_multiple_of(LIFE_EVERY) {
                return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(LIFE)))));
            }
        }
    }
}
