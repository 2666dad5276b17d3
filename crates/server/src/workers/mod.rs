//! Resolvers that are not compiled run in worker processes, never in the server.
//!
//! Each tenant has workers of its own; a process that has run one tenant's code never runs another's. A worker starts
//! with an empty environment in an empty folder and reaches the server over one socket, in frames of bounded size that
//! hold JSON or Arrow. Nothing that comes back is trusted: lengths, types and row counts are checked, and a worker that
//! answers out of form, too late or not at all is killed and replaced.

mod details;
#[cfg(test)]
mod equality;
mod frame;
mod host;
mod pool;
mod process;
mod protocol;
#[cfg(test)]
mod tests;

pub(crate) use host::WorkerHosts;
pub use host::resolvers_of;
