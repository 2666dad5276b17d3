//! Training sets that were given a name: made once, sealed, numbered, and never changed.
//!
//! What is kept is what its maker was given, and never more than that: features that were masked for them are kept masked, and
//! rows that they did not see are kept unseen. Who may see what of it is decided anew at every look, by the rights that hold
//! then:
//! - a feature is worth the least of what its tags say now, under the name and under the number that it had, of what they
//!   said when the set was made, and of what is said now by those of all features that it was computed from then;
//! - whom a row rule binds gets only the rows that they would see if they asked for them, judged by the facts as they are now;
//! - columns that came with the spine and are no feature carry the tags that were declared for them. Where nothing was
//!   declared they carry every tag of the features of which the maker saw values, those that these get later too, since such a
//!   value may have been put into them.
//!
//! A set whose definitions no longer allow to judge a row rule is shown to nobody whom the rule binds.

mod diff;
mod digests;
mod kept;
mod making;
mod profile;
mod version;
mod view;

pub use diff::{Change, ChangedFeature, DatasetDiff, Why};
pub use kept::{DatasetLimits, Keeper};
pub(crate) use making::computed_from;
pub use making::{DatasetRequest, SpineTags};
pub use profile::{Bin, ColumnProfile, DatasetProfile, Numbers};
pub use version::{
    ColumnKind, DatasetColumn, DatasetEntry, DatasetName, DatasetPart, DatasetRef, DatasetState, DatasetVersion,
    FeatureMade, FeatureRead, VersionEntry,
};
pub use view::{DatasetRows, Selection};
