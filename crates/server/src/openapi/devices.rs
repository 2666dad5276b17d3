//! Routes about devices.

use super::operations::{TEXT, created, json, path, query};
use super::{Body, Operation};

/// Id of a principal.
const PRINCIPAL: &str = r#"{"type":"string","pattern":"^[a-z0-9][a-z0-9._@-]{0,63}$"}"#;

/// For each route, by its operation id.
pub(super) static OPERATIONS: &[Operation] = &[
    Operation {
        id: "POST /v1/devices/nonce",
        name: "device_nonce",
        tag: "devices",
        summary: "A nonce, which a person's next enrolment has to answer.",
        parameters: &[],
        body: Body::None,
        answer: json("Nonce"),
        problems: &[],
    },
    Operation {
        id: "POST /v1/devices/{id}/nonce",
        name: "nonce_of_device",
        tag: "devices",
        summary: "A nonce, which the next document that a device signs has to answer.",
        parameters: &[path("id", TEXT, "The device's id.")],
        body: Body::None,
        answer: json("DeviceNonce"),
        problems: &[404],
    },
    Operation {
        id: "GET /v1/canary",
        name: "planted_value",
        tag: "devices",
        summary: "The value that is planted for one's own tenant. Enrolled computers are searched for it.",
        parameters: &[],
        body: Body::None,
        answer: json("Canary"),
        problems: &[],
    },
    Operation {
        id: "GET /v1/devices",
        name: "list_devices",
        tag: "devices",
        summary: "Somebody's devices, and the standard they have to meet.",
        parameters: &[query("person", PRINCIPAL, "Somebody else, whose access you may revoke.")],
        body: Body::None,
        answer: json("Devices"),
        problems: &[404],
    },
    Operation {
        id: "POST /v1/devices",
        name: "enrol_device",
        tag: "devices",
        summary: "Enrol the device that signed this.",
        parameters: &[],
        body: Body::Json("SignedDocument"),
        answer: created("Device"),
        problems: &[404, 409, 422],
    },
    Operation {
        id: "POST /v1/devices/{id}/report",
        name: "report_device",
        tag: "devices",
        summary: "How a device says it is set up. Its signature is its credential: nobody has to be signed in.",
        parameters: &[path("id", TEXT, "The device's id.")],
        body: Body::Json("SignedDocument"),
        answer: json("Device"),
        problems: &[404, 422],
    },
    Operation {
        id: "POST /v1/devices/{id}/revoke",
        name: "revoke_device",
        tag: "devices",
        summary: "End a device and the sessions on it.",
        parameters: &[path("id", TEXT, "The device's id.")],
        body: Body::None,
        answer: json("Device"),
        problems: &[404],
    },
    Operation {
        id: "POST /v1/devices/import",
        name: "import_posture",
        tag: "devices",
        summary: "What osquery or a device management tool says about devices, by their serial numbers.",
        parameters: &[],
        body: Body::Json("PostureImport"),
        answer: json("PostureImported"),
        problems: &[422],
    },
    Operation {
        id: "POST /v1/sessions/device",
        name: "bind_session",
        tag: "devices",
        summary: "Put the session that asks on a device, which signs that it is its own.",
        parameters: &[],
        body: Body::Json("DeviceBinding"),
        answer: json("Device"),
        problems: &[404, 422],
    },
];
