//! The form of everything that a staff interface says about feature data.

use serde::{Serialize, Serializer};

mod sealed {
    /// Nobody outside of this crate decides what is fit for staff.
    pub trait Sealed {}
}

pub(crate) use sealed::Sealed;

/// What staff may be told: forms from which no value of a single entity can be read. Implemented in this crate, for such
/// forms only, and nowhere else.
#[diagnostic::on_unimplemented(
    message = "`{Self}` may hold values of a tenant, which staff never see",
    label = "not a redacted form",
    note = "answer with a `Summary` of a `Population`"
)]
pub trait ForStaff: Serialize + Sealed {}

/// An answer of a staff interface. Has no constructor for anything but redacted forms, so that a handler that would return
/// a value does not compile:
///
/// ```compile_fail,E0277
/// use creta_disclosure::Redacted;
///
/// fn answer(row: Vec<String>) {
///     let _ = Redacted::new(row);
/// }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Redacted<T: ForStaff>(T);

impl<T: ForStaff> Redacted<T> {
    /// An answer that is fit for staff.
    pub fn new(form: T) -> Self {
        Self(form)
    }
}

impl<T: ForStaff> Serialize for Redacted<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}
