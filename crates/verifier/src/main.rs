//! `creta-verify`: the auditor's tool. It reads exported logs and proofs, offline, and believes nothing but keys.

fn main() {}
