//! Backups, and keys for going on from one.

use super::operations::{TEXT, created, json, path, raw};
use super::{Body, Operation};

/// For each route, by its operation id.
pub(super) static OPERATIONS: &[Operation] = &[
    Operation {
        id: "GET /v1/backup",
        name: "take_backup",
        tag: "backups",
        summary: "A copy of everything that is sealed, as it is sealed, without any key: frames of a head and bytes, the manifest last.",
        parameters: &[],
        body: Body::None,
        answer: raw("application/vnd.creta.backup", "The copy. Without a manifest at its end it is none."),
        problems: &[507],
    },
    Operation {
        id: "POST /v1/recovery/keys",
        name: "add_recovery_key",
        tag: "backups",
        summary: "Register a recovery key of one's own, with which one of two people approves a restore.",
        parameters: &[],
        body: Body::Json("RecoveryKeyRequest"),
        answer: created("RecoveryKey"),
        problems: &[404, 409, 422, 507],
    },
    Operation {
        id: "GET /v1/recovery/keys",
        name: "list_recovery_keys",
        tag: "backups",
        summary: "One's own recovery keys, and how many people could approve a restore now.",
        parameters: &[],
        body: Body::None,
        answer: json("RecoveryKeys"),
        problems: &[404],
    },
    Operation {
        id: "POST /v1/recovery/keys/{id}/end",
        name: "end_recovery_key",
        tag: "backups",
        summary: "End a recovery key of one's own.",
        parameters: &[path("id", TEXT, "The key.")],
        body: Body::None,
        answer: json("RecoveryKey"),
        problems: &[404, 507],
    },
];
