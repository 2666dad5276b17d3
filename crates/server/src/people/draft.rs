//! Entries that `creta_programme` asks for, in the form of the audit log.

use creta_audit::{AuditError, Details};
use creta_programme::{Detail, Draft};

/// The details of a draft. Words of people become keyed hashes.
pub(crate) fn details_of(draft: &Draft) -> Result<Details, AuditError> {
    let mut details = Details::none();
    for (key, detail) in &draft.details {
        details = match detail {
            Detail::Name(name) => details.name(key, name.clone()),
            Detail::Count(count) => details.count(key, *count),
            Detail::Digest(digest) => details.digest(key, *digest.as_bytes()),
            Detail::Instant(at) => details.instant(key, *at),
            Detail::Keyed(words) => details.keyed(key, words.as_bytes()),
        }?;
    }
    Ok(details)
}
