//! What an outsider needs to check an audit log: hashes, checkpoints, proofs. Nothing here can write one.
