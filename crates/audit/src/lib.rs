//! creta-audit
