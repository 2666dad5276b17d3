//! creta-cli
