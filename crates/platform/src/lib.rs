//! creta-platform
