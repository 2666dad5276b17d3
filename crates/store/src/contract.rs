//! What every implementation of a contract must do: one suite per contract, run once per implementation.

mod facts;
mod metadata;
mod online;
