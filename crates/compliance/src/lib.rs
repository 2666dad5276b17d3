//! Promises as data, evidence as records, states as arithmetic: what the trust page shows is computed here.
