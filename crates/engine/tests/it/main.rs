//! A scope as a whole: what goes in, what comes out, and that online and offline agree.

#![allow(missing_docs, unreachable_pub, reason = "tests")]

mod agreement;
mod bad_input;
mod datasets;
mod ingest;
mod leakage;
mod loading;
mod moments;
mod outages;
mod queries;
mod redeploy;
mod rows;
mod statistics;
mod support;
mod synth;
