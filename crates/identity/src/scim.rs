//! Provisioning (SCIM 2.0: RFC 7643, RFC 7644): the organisation's directory tells who is here and who has left.
//!
//! [`Directory`] is the state, its methods are the requests, an [`Answer`] is what the server sends. What matters most comes
//! out beside it: [`Event::Left`], on which sessions, grants, tokens and devices end. Nothing that is not needed is kept:
//! attributes outside of our schemas are passed over, so that a request that says `active` is false takes effect
//! whatever else it says.

mod directory;
mod documents;
mod filter;
mod patch;
mod schema;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use directory::{Directory, PAGE_MAX, Query, RESOURCES_MAX};
pub use documents::{resource_types, schemas, service_provider_config};

/// Users or groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// `/Users`.
    User,
    /// `/Groups`.
    Group,
}

impl Kind {
    /// The last part of its address.
    pub const fn endpoint(self) -> &'static str {
        match self {
            Self::User => "Users",
            Self::Group => "Groups",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::Group => "Group",
        }
    }

    const fn urn(self) -> &'static str {
        match self {
            Self::User => scim_v2::schema_urns::USER,
            Self::Group => scim_v2::schema_urns::GROUP,
        }
    }
}

/// What a change means for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Event {
    /// A user is here, for the first time or again.
    Joined {
        /// Id of the user.
        user: String,
    },
    /// A user is inactive or deleted: everything of theirs ends within a minute (CH-33).
    Left {
        /// Id of the user.
        user: String,
    },
    /// Who belongs to a group changed, or the group is gone.
    GroupChanged {
        /// Id of the group.
        group: String,
    },
}

/// What to send, and what it means. Store the directory first.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `application/scim+json`; none for 204 and 304.
    pub body: Option<Value>,
    /// Header `ETag`.
    pub etag: Option<String>,
    /// Header `Location`.
    pub location: Option<String>,
    /// In the order of what happened.
    pub events: Vec<Event>,
}

/// A request that was refused (RFC 7644 §3.12).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct ScimError {
    /// HTTP status.
    pub status: u16,
    /// Keyword of the RFC, for some.
    pub keyword: Option<&'static str>,
    /// For people; holds no values.
    pub detail: String,
}

impl ScimError {
    /// What to send.
    pub fn body(&self) -> Value {
        let mut body = json!({
            "schemas": [scim_v2::schema_urns::ERROR], "status": self.status.to_string(), "detail": self.detail,
        });
        if let Some(keyword) = self.keyword {
            body["scimType"] = json!(keyword);
        }
        body
    }

    fn new(status: u16, keyword: Option<&'static str>, detail: impl Into<String>) -> Self {
        Self { status, keyword, detail: detail.into() }
    }

    fn value(detail: impl Into<String>) -> Self {
        Self::new(400, Some("invalidValue"), detail)
    }

    fn syntax(detail: impl Into<String>) -> Self {
        Self::new(400, Some("invalidSyntax"), detail)
    }
}

#[cfg(test)]
mod tests;
