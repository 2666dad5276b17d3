//! Frames between server and worker: a length (`u32`, little-endian, of what follows), one byte of kind, the body.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::limits::FRAME_BYTES_MAX;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// To the worker: the project and its resolvers, as JSON.
    Hello = 1,
    /// From the worker: it has imported the project.
    Ready = 2,
    /// From the worker: it could not, or a call as a whole failed.
    Failed = 3,
    /// To the worker: one call.
    Call = 4,
    /// From the worker: its results.
    Answer = 5,
}

impl Kind {
    fn parse(byte: u8) -> Option<Self> {
        [Self::Hello, Self::Ready, Self::Failed, Self::Call, Self::Answer].into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// Why no frame was sent or received. The worker is of no use afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameError {
    /// The deadline passed.
    Late,
    /// The other end is gone.
    Closed,
    /// Longer than [`FRAME_BYTES_MAX`], or of no known kind.
    Malformed,
}

/// The server's end of a worker's socket.
#[derive(Debug)]
pub(crate) struct Channel {
    stream: UnixStream,
}

impl Channel {
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self { stream }
    }

    /// Sends one frame whose body is `parts` in a row.
    pub(crate) fn send(&mut self, kind: Kind, parts: &[&[u8]], deadline: Instant) -> Result<(), FrameError> {
        let len = 1 + parts.iter().map(|part| part.len()).sum::<usize>();
        let len_u32 = u32::try_from(len).ok().filter(|_| len <= FRAME_BYTES_MAX).ok_or(FrameError::Malformed)?;
        let mut head = len_u32.to_le_bytes().to_vec();
        head.push(kind as u8);
        self.write(&head, deadline)?;
        parts.iter().try_for_each(|part| self.write(part, deadline))
    }

    /// Receives one frame. Memory grows with what arrives, not with what the length claims.
    pub(crate) fn receive(&mut self, deadline: Instant) -> Result<(Kind, Vec<u8>), FrameError> {
        let mut head = [0; 5];
        self.read_exact(&mut head, deadline)?;
        let len = u32::from_le_bytes(head[..4].try_into().expect("four bytes")) as usize;
        let kind = Kind::parse(head[4]).ok_or(FrameError::Malformed)?;
        let len = len.checked_sub(1).filter(|_| len <= FRAME_BYTES_MAX).ok_or(FrameError::Malformed)?;
        let mut body = Vec::new();
        while body.len() < len {
            let at = body.len();
            body.resize(len.min(at.max(64 << 10) * 2), 0);
            self.read_exact(&mut body[at..], deadline)?;
        }
        Ok((kind, body))
    }

    fn write(&mut self, mut bytes: &[u8], deadline: Instant) -> Result<(), FrameError> {
        while !bytes.is_empty() {
            self.stream.set_write_timeout(Some(left(deadline)?)).map_err(|_| FrameError::Closed)?;
            match self.stream.write(bytes) {
                Ok(0) => return Err(FrameError::Closed),
                Ok(n) => bytes = &bytes[n..],
                Err(error) => retry(&error)?,
            }
        }
        Ok(())
    }

    fn read_exact(&mut self, mut bytes: &mut [u8], deadline: Instant) -> Result<(), FrameError> {
        while !bytes.is_empty() {
            self.stream.set_read_timeout(Some(left(deadline)?)).map_err(|_| FrameError::Closed)?;
            match self.stream.read(bytes) {
                Ok(0) => return Err(FrameError::Closed),
                Ok(n) => bytes = &mut bytes[n..],
                Err(error) => retry(&error)?,
            }
        }
        Ok(())
    }
}

/// Time until the deadline; never zero, which a socket takes for no limit.
fn left(deadline: Instant) -> Result<Duration, FrameError> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(FrameError::Late) } else { Ok(left) }
}

/// A timeout of the socket ends at the deadline, which the next round sees.
fn retry(error: &io::Error) -> Result<(), FrameError> {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted => Ok(()),
        _ => Err(FrameError::Closed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Channel, UnixStream) {
        let (ours, theirs) = UnixStream::pair().expect("sockets");
        (Channel::new(ours), theirs)
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(50)
    }

    #[test]
    fn frames_survive_the_socket() {
        let (mut ours, theirs) = pair();
        let mut theirs = Channel::new(theirs);
        let big = vec![7; 300_000];
        let sender = std::thread::spawn(move || {
            theirs.send(Kind::Answer, &[b"ab", &big], Instant::now() + Duration::from_secs(5)).expect("sent");
        });
        let (kind, body) = ours.receive(Instant::now() + Duration::from_secs(5)).expect("received");
        sender.join().expect("no panic");
        assert_eq!((kind, body.len(), &body[..3]), (Kind::Answer, 300_002, b"ab\x07".as_slice()));
    }

    #[test]
    fn attack_lengths_that_lie_and_unknown_kinds_are_refused() {
        for head in [[0xff, 0xff, 0xff, 0xff, 5], [0, 0, 0, 0, 5], [1, 0, 0, 0, 9], [1, 0, 0, 0, 0]] {
            let (mut ours, mut theirs) = pair();
            theirs.write_all(&head).expect("written");
            assert_eq!(ours.receive(soon()).expect_err("refused"), FrameError::Malformed, "{head:?}");
        }
    }

    #[test]
    fn attack_a_frame_that_never_ends_runs_into_the_deadline() {
        let (mut ours, mut theirs) = pair();
        theirs.write_all(&[0, 0, 0, 8, 5, 1, 2, 3]).expect("written");
        assert_eq!(ours.receive(soon()).expect_err("late"), FrameError::Late);
        drop(theirs);
        assert_eq!(ours.receive(soon()).expect_err("gone"), FrameError::Closed);
    }

    #[test]
    fn attack_a_worker_that_does_not_read_runs_into_the_deadline() {
        let (mut ours, _theirs) = pair();
        assert_eq!(ours.send(Kind::Call, &[&vec![0; 8 << 20]], soon()), Err(FrameError::Late));
    }
}
