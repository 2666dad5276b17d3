//! Tests of the programme: golden cases that read as worked examples, properties at the edges of every span, and attacks.

#[path = "../../../registry/tests/it/golden.rs"]
mod golden;

mod access;
mod analyser;
mod break_glass;
mod cadence;
mod campaign;
mod duties;
mod exception;
mod grants;
mod reasons;
mod replay;
mod testing;
