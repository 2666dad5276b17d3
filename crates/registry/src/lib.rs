//! creta-registry
