//! creta-server
