//! Attacks on what lies on disk.
