//! Long answers, sent in parts for as long as their reader may have them.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http_body::Frame;

/// Bytes between two questions whether the reader may still have them.
const PART_BYTES: usize = 64 << 10;

/// A body that breaks off when `holds` says no: a revoked grant or session cuts what it was given for (CH-33, CH-43). The
/// reader sees a broken connection, never an answer that looks whole.
pub(crate) struct Watched<F> {
    body: Body,
    rest: Bytes,
    holds: F,
}

impl<F: Fn() -> bool> Watched<F> {
    pub(crate) fn new(body: Body, holds: F) -> Self {
        Self { body, rest: Bytes::new(), holds }
    }
}

impl<F: Fn() -> bool + Unpin> HttpBody for Watched<F> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let own = self.get_mut();
        if own.rest.is_empty() {
            match Pin::new(&mut own.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => own.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                other => return other,
            }
        }
        if !(own.holds)() {
            own.rest = Bytes::new();
            return Poll::Ready(Some(Err(axum::Error::new(std::io::Error::other(
                "the reader may no longer have this",
            )))));
        }
        let part = own.rest.split_to(own.rest.len().min(PART_BYTES));
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        let ahead = self.rest.len() as u64;
        let of_body = self.body.size_hint();
        let mut hint = http_body::SizeHint::new();
        hint.set_lower(of_body.lower() + ahead);
        if let Some(upper) = of_body.upper() {
            hint.set_upper(upper + ahead);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    async fn next(body: &mut Body) -> Option<Result<Bytes, axum::Error>> {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await?;
        Some(frame.map(|frame| frame.into_data().unwrap_or_default()))
    }

    #[tokio::test]
    async fn attack_ch33_a_long_answer_breaks_off_when_its_reader_may_no_longer_have_it() {
        let holds = Arc::new(AtomicBool::new(true));
        let asked = Arc::clone(&holds);
        let bytes = Bytes::from(vec![7; 3 * PART_BYTES + 1]);
        let mut body = Body::new(Watched::new(Body::from(bytes.clone()), move || asked.load(Ordering::Acquire)));
        assert_eq!(body.size_hint().exact(), Some(bytes.len() as u64));
        assert_eq!(next(&mut body).await.expect("a part").expect("allowed").len(), PART_BYTES);
        holds.store(false, Ordering::Release);
        assert!(next(&mut body).await.expect("an end").is_err(), "it does not look whole");
    }

    #[tokio::test]
    async fn otherwise_it_is_what_it_was() {
        for length in [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES] {
            let bytes: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            let mut body = Body::new(Watched::new(Body::from(bytes.clone()), || true));
            let mut read = Vec::new();
            while let Some(part) = next(&mut body).await {
                read.extend_from_slice(&part.expect("allowed"));
            }
            assert_eq!(read, bytes);
        }
    }
}
