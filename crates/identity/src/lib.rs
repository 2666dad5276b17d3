//! Who somebody is, proven.
