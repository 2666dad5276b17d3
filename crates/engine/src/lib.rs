//! creta-engine
