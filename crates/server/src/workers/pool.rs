//! A few workers of one project, shared by the requests of one tenant.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::process::{CallError, Launch, StartError, Worker};
use crate::limits::WORKER_CALLS_WAITING_MAX;

/// Workers of one bundle. They start when they are first needed and stay warm.
#[derive(Debug)]
pub(crate) struct Pool {
    launch: Launch,
    hello: Vec<u8>,
    size: usize,
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    idle: Vec<Worker>,
    alive: usize,
    /// Calls that wait for a worker.
    waiting: usize,
    /// Whether anybody ever took a worker.
    needed: bool,
}

/// Why a call has no answer.
#[derive(Debug)]
pub(crate) enum PoolError {
    /// All workers were busy for the whole time of the call, or as many calls waited as may.
    Busy,
    Start(StartError),
    Call(CallError),
}

impl Pool {
    /// `hello` is the JSON body of the first frame.
    pub(crate) fn new(launch: Launch, hello: Vec<u8>, size: usize) -> Self {
        Self { launch, hello, size, state: Mutex::default(), freed: Condvar::new() }
    }

    /// How many calls can run at the same time.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Starts one worker if there is none, so that a project that cannot be imported is noticed now.
    pub(crate) fn warm_up(&self) -> Result<(), StartError> {
        match self.take(WARM_UP_WAIT) {
            Ok(worker) => {
                self.give_back(worker);
                Ok(())
            }
            Err(PoolError::Start(error)) => Err(error),
            Err(PoolError::Busy | PoolError::Call(_)) => Ok(()), // Busy workers are warm.
        }
    }

    /// Asks every idle worker for a sign of life, and starts one if there were some once and none is left. `None` where nobody
    /// needed a worker yet. Those that give no sign are ended, so that the next call does not meet them; the first of their
    /// errors is returned.
    pub(crate) fn probe(&self, time: Duration) -> Option<Result<(), PoolError>> {
        let idle = {
            let mut state = self.state();
            if !state.needed {
                return None;
            }
            std::mem::take(&mut state.idle)
        };
        let mut outcome = Ok(());
        for mut worker in idle {
            match worker.ping(time) {
                Ok(()) => self.give_back(worker),
                Err(error) => {
                    drop(worker);
                    self.lose();
                    outcome = outcome.and(Err(PoolError::Call(error)));
                }
            }
        }
        Some(outcome.and_then(|()| self.warm_up().map_err(PoolError::Start)))
    }

    /// One call on any worker, whose answer `read` checks. A worker that is late, crashed or answered out of form is
    /// killed.
    pub(crate) fn call<T>(
        &self,
        index: u32,
        inputs: &[u8],
        time: Duration,
        read: impl FnOnce(Vec<u8>) -> Option<T>,
    ) -> Result<T, PoolError> {
        let mut worker = self.take(time)?;
        let answer = worker.call(index, inputs, time).and_then(|bytes| read(bytes).ok_or(CallError::BadAnswer));
        match answer {
            Ok(_) | Err(CallError::Failed(_)) => self.give_back(worker),
            Err(_) => {
                drop(worker);
                self.lose();
            }
        }
        answer.map_err(PoolError::Call)
    }

    fn take(&self, wait: Duration) -> Result<Worker, PoolError> {
        let until = Instant::now() + wait;
        let mut state = self.state();
        state.needed = true;
        loop {
            while let Some(mut worker) = state.idle.pop() {
                if !worker.has_ended() {
                    return Ok(worker);
                }
                // It was killed while nobody called it: no call has failed by it, and none has to.
                state.alive -= 1;
                tracing::warn!("a worker that nobody called has ended; another one takes its place");
            }
            if state.alive < self.size {
                state.alive += 1;
                drop(state); // Starting takes a while.
                return Worker::start(&self.launch, &self.hello).map_err(|error| {
                    self.lose();
                    PoolError::Start(error)
                });
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || state.waiting >= WORKER_CALLS_WAITING_MAX {
                return Err(PoolError::Busy);
            }
            state.waiting += 1;
            state = self.freed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            state.waiting -= 1;
        }
    }

    fn give_back(&self, worker: Worker) {
        self.state().idle.push(worker);
        self.freed.notify_one();
    }

    fn lose(&self) {
        self.state().alive -= 1;
        self.freed.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const WARM_UP_WAIT: Duration = Duration::from_millis(1);
