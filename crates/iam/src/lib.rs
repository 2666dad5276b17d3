//! creta-iam
