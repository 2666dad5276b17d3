//! Everything that outsiders read of the promises: events, documents, packs.

mod ocsf;
mod oscal;
mod pack;
mod page;
mod pillars;
mod recorded;
