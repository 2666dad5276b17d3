//! creta-store
