//! creta-sim
