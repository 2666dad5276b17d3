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
    /// Nothing while the server stops: the stream ends without a last word, and the page asks again.
    holds: F,
    asked: u32,
    over: bool,
    _turn: OwnedSemaphorePermit,
}

impl<F: Fn() -> Option<bool>> Watch<F> {
    pub(super) fn new(turn: OwnedSemaphorePermit, holds: F) -> Self {
        Self { every: tokio::time::interval(ASKED_EVERY), holds, asked: 0, over: false, _turn: turn }
    }
}

impl<F: Fn() -> Option<bool> + Unpin> HttpBody for Watch<F> {
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
            match (own.holds)() {
                Some(true) => {}
                Some(false) => {
                    own.over = true;
                    return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(OVER)))));
                }
                None => return Poll::Ready(None),
            }
            if first || own.asked.is_multiple_of(LIFE_EVERY) {
                return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(LIFE)))));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;

    async fn told(holds: impl Fn() -> Option<bool> + Unpin) -> Bytes {
        let turn = std::sync::Arc::new(Semaphore::new(1)).acquire_owned().await.expect("is open");
        let mut stream = Box::pin(Watch::new(turn, holds));
        let mut told = Vec::new();
        while let Some(Ok(frame)) = std::future::poll_fn(|cx| stream.as_mut().poll_frame(cx)).await {
            told.extend_from_slice(&frame.into_data().expect("a stream of words"));
        }
        told.into()
    }

    #[tokio::test]
    async fn a_stream_ends_with_a_word_for_what_is_over_and_without_one_when_the_server_stops() {
        assert_eq!(told(|| Some(false)).await, OVER);
        assert!(told(|| None).await.is_empty(), "the page asks again, of whoever serves then");
    }
}
