//! Routes of the sealed emergency account.

use super::operations::{TEXT, json, path};
use super::{Body, Operation};

const OPENING_ID: super::Parameter = path("id", TEXT, "The opening's id.");

/// For each route, by its operation id.
pub(super) static OPERATIONS: &[Operation] = &[
    Operation {
        id: "POST /v1/break-glass/seal",
        name: "seal_emergency_account",
        tag: "people",
        summary: "Name the two people who hold the halves of the emergency account's secret from now on. Halves that are out end.",
        parameters: &[],
        body: Body::Json("Sealing"),
        answer: json("EmergencySeal"),
        problems: &[404, 422, 507],
    },
    Operation {
        id: "POST /v1/break-glass/half",
        name: "take_half",
        tag: "people",
        summary: "Take one's own half, once.",
        parameters: &[],
        body: Body::None,
        answer: json("EmergencyHalf"),
        problems: &[404, 422, 507],
    },
    Operation {
        id: "POST /v1/break-glass/openings",
        name: "open_emergency_account",
        tag: "people",
        summary: "Show the first half. Needs a proof in the header `dpop`; the session is good once the other half was shown.",
        parameters: &[],
        body: Body::Json("FirstHalf"),
        answer: json("EmergencyOpening"),
        problems: &[401, 403, 404, 422, 429, 507],
    },
    Operation {
        id: "POST /v1/break-glass/openings/{id}/join",
        name: "join_opening",
        tag: "people",
        summary: "Show the second half, within 15 minutes of the first.",
        parameters: &[OPENING_ID],
        body: Body::Json("SecondHalf"),
        answer: json("HalfToSign"),
        problems: &[401, 403, 404, 422, 429],
    },
    Operation {
        id: "GET /v1/break-glass",
        name: "show_emergency_account",
        tag: "people",
        summary: "Who holds the halves, and every use of the account.",
        parameters: &[],
        body: Body::None,
        answer: json("EmergencyAccount"),
        problems: &[],
    },
    Operation {
        id: "POST /v1/break-glass/openings/{id}/close",
        name: "close_opening",
        tag: "people",
        summary: "Close the account before its time.",
        parameters: &[OPENING_ID],
        body: Body::None,
        answer: json("EmergencyUse"),
        problems: &[404, 422, 507],
    },
    Operation {
        id: "POST /v1/break-glass/openings/{id}/review",
        name: "review_opening",
        tag: "people",
        summary: "Say whether a use of the account was justified. Nobody who opened it may.",
        parameters: &[OPENING_ID],
        body: Body::Json("EmergencyReview"),
        answer: json("EmergencyUse"),
        problems: &[404, 422, 507],
    },
];
