//! creta-keys
