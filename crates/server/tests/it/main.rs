//! A real server on a free port, over TLS, with a data folder of its own: the whole path, and attacks on it.

mod access;
mod artefacts;
mod bad_input;
mod coverage;
mod epochs;
mod intake;
mod lifecycle;
mod limits;
mod path;
mod people;
mod provider;
mod resolvers;
mod support;
mod tenants;
mod tls;
mod tokens;
mod transit;
mod trust;
mod trust_text;
mod witness;
