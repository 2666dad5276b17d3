//! What people do on a schedule or for one another.
