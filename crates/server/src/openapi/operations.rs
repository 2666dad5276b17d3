//! What each route takes and gives, beside what the table of routes already says.

use super::{Answer, Body, Operation, Parameter};

const ARROW: &str = crate::arrow_body::ARROW_STREAM;

const fn query(name: &'static str, schema: &'static str, description: &'static str) -> Parameter {
    Parameter { name, place: "query", required: false, schema, description }
}

const fn required(name: &'static str, schema: &'static str, description: &'static str) -> Parameter {
    Parameter { name, place: "query", required: true, schema, description }
}

const fn path(name: &'static str, schema: &'static str, description: &'static str) -> Parameter {
    Parameter { name, place: "path", required: true, schema, description }
}

const TEXT: &str = r#"{"type":"string"}"#;
const COUNT: &str = r#"{"type":"integer","minimum":0,"maximum":18446744073709551615}"#;
const NAME: &str = r##"{"$ref":"#/components/schemas/Name"}"##;
const INSTANT: &str = r##"{"$ref":"#/components/schemas/Instant"}"##;
const SPAN: &str = r##"{"$ref":"#/components/schemas/Span"}"##;
const TENANT: &str = r##"{"$ref":"#/components/schemas/TenantName"}"##;

const SPINE: &[Parameter] = &[
    required("features", TEXT, "Paths, separated by commas."),
    required("as_of", TEXT, "Column of the spine that holds each row's instant."),
    query("known_as_of", TEXT, "`latest`, or a column of instants; by default what was known at `as_of`."),
    query("inputs", TEXT, "JSON object of path to column, for columns that are not named by a path."),
    query("states", r#"{"type":"boolean"}"#, "Whether to add a column `name__state` beside each feature."),
    query("max_age", TEXT, "JSON object of path to span: tighter limits than the features declare."),
];

const LOAD: &[Parameter] = &[
    required("entity", NAME, "Entity the facts are about."),
    query("event_time", TEXT, "Column of event times. Either this or `event_time_constant`."),
    query("event_time_constant", INSTANT, "The same event time for all rows."),
    query("arrival_column", TEXT, "Column of arrival times. Not together with `arrival_delay`."),
    query("arrival_delay", SPAN, "The facts arrived this long after their events."),
    query("event_id", TEXT, "Column whose equal values mark versions of one event."),
    query("source", TEXT, "Name of the source; by default `api`."),
    query("zone", TEXT, "IANA zone of naive datetimes."),
    query("retract", TEXT, "Bool column that marks retractions."),
    query("columns", TEXT, "JSON object of feature to column, where the names differ."),
];

const fn json(schema: &'static str) -> Answer {
    Answer { status: 200, content_type: "application/json", schema: Some(schema), description: "Done." }
}

const fn created(schema: &'static str) -> Answer {
    Answer { status: 201, content_type: "application/json", schema: Some(schema), description: "Made." }
}

const fn raw(content_type: &'static str, description: &'static str) -> Answer {
    Answer { status: 200, content_type, schema: None, description }
}

/// For each route, by its operation id.
pub(super) static OPERATIONS: &[Operation] = &[
    Operation {
        id: "GET /health",
        name: "health",
        tag: "server",
        summary: "The process answers.",
        parameters: &[],
        body: Body::None,
        answer: json("Health"),
        problems: &[],
    },
    Operation {
        id: "GET /ready",
        name: "ready",
        tag: "server",
        summary: "The server takes requests.",
        parameters: &[],
        body: Body::None,
        answer: json("Ready"),
        problems: &[],
    },
    Operation {
        id: "GET /openapi.json",
        name: "describe",
        tag: "server",
        summary: "This description.",
        parameters: &[],
        body: Body::None,
        answer: json("OpenApi"),
        problems: &[],
    },
    Operation {
        id: "GET /metrics",
        name: "metrics",
        tag: "server",
        summary: "Counts and times in Prometheus' text format. Scrape with `oauth2` client credentials of an administrator.",
        parameters: &[],
        body: Body::None,
        answer: raw("text/plain; version=0.0.4; charset=utf-8", "The metrics."),
        problems: &[],
    },
    Operation {
        id: "POST /v1/token",
        name: "issue_token",
        tag: "access",
        summary: "Exchange client credentials for a token of 15 minutes (RFC 6749 section 4.4).",
        parameters: &[],
        body: Body::JsonOrForm("TokenRequest"),
        answer: json("Token"),
        problems: &[401, 422, 429],
    },
    Operation {
        id: "POST /v1/tenants",
        name: "create_tenant",
        tag: "access",
        summary: "Make a tenant with keys and stores of its own.",
        parameters: &[],
        body: Body::Json("TenantRequest"),
        answer: created("Tenant"),
        problems: &[409, 507],
    },
    Operation {
        id: "GET /v1/tenants",
        name: "list_tenants",
        tag: "access",
        summary: "List the tenants of the environment.",
        parameters: &[],
        body: Body::None,
        answer: json("Tenants"),
        problems: &[],
    },
    Operation {
        id: "POST /v1/service-accounts",
        name: "create_service_account",
        tag: "access",
        summary: "Make a service account of a tenant. The answer holds its secret, once.",
        parameters: &[],
        body: Body::Json("ServiceAccountRequest"),
        answer: created("ServiceAccountMade"),
        problems: &[404, 409, 422, 507],
    },
    Operation {
        id: "GET /v1/service-accounts",
        name: "list_service_accounts",
        tag: "access",
        summary: "List the service accounts of a tenant, revoked ones included.",
        parameters: &[required("tenant", TENANT, "Whose.")],
        body: Body::None,
        answer: json("ServiceAccounts"),
        problems: &[404],
    },
    Operation {
        id: "POST /v1/service-accounts/{id}/revoke",
        name: "revoke_service_account",
        tag: "access",
        summary: "End a service account and all its tokens.",
        parameters: &[path("id", TEXT, "The client id.")],
        body: Body::None,
        answer: json("ServiceAccount"),
        problems: &[404, 507],
    },
    Operation {
        id: "POST /v1/check",
        name: "check",
        tag: "project",
        summary: "Check a bundle against the scope and say what deploying it would change.",
        parameters: &[],
        body: Body::Json("Bundle"),
        answer: json("Checked"),
        problems: &[404, 409, 422],
    },
    Operation {
        id: "POST /v1/deploy",
        name: "deploy",
        tag: "project",
        summary: "Make a bundle the active one.",
        parameters: &[],
        body: Body::Json("Bundle"),
        answer: json("Deployed"),
        problems: &[404, 409, 422, 507],
    },
    Operation {
        id: "GET /v1/catalogue",
        name: "catalogue",
        tag: "project",
        summary: "The active definitions with owners, tags and lineage.",
        parameters: &[],
        body: Body::None,
        answer: json("Catalogue"),
        problems: &[404],
    },
    Operation {
        id: "GET /v1/status",
        name: "status",
        tag: "project",
        summary: "Counts of the scope: facts, positions, revision.",
        parameters: &[],
        body: Body::None,
        answer: json("Status"),
        problems: &[404],
    },
    Operation {
        id: "POST /v1/verify",
        name: "verify",
        tag: "project",
        summary: "Replay the facts and compare online with offline answers.",
        parameters: &[],
        body: Body::Json("VerifyOptions"),
        answer: json("VerifyReport"),
        problems: &[404, 422],
    },
    Operation {
        id: "POST /v1/explain",
        name: "explain",
        tag: "questions",
        summary: "Show how a query would be answered, without answering it.",
        parameters: &[],
        body: Body::Json("QueryRequest"),
        answer: json("Explanation"),
        problems: &[404, 422],
    },
    Operation {
        id: "POST /v1/query",
        name: "query",
        tag: "questions",
        summary: "Answer a query of up to 10,000 rows.",
        parameters: &[],
        body: Body::Json("QueryRequest"),
        answer: json("QueryAnswer"),
        problems: &[404, 422],
    },
    Operation {
        id: "POST /v1/query/arrow",
        name: "query_arrow",
        tag: "questions",
        summary: "Answer many rows from the online store: the spine with features beside it.",
        parameters: SPINE,
        body: Body::Arrow,
        answer: raw(ARROW, "The spine's columns, then the features."),
        problems: &[404, 422],
    },
    Operation {
        id: "POST /v1/training-sets",
        name: "build_training_set",
        tag: "questions",
        summary: "Build a training set: the spine with features as they were at each row's instant.",
        parameters: SPINE,
        body: Body::Arrow,
        answer: raw(ARROW, "The spine's columns, then the features."),
        problems: &[404, 422],
    },
    Operation {
        id: "POST /v1/ingest",
        name: "ingest",
        tag: "facts",
        summary: "Store a table of facts. Durable and visible when it answers.",
        parameters: LOAD,
        body: Body::Arrow,
        answer: json("IngestReport"),
        problems: &[404, 422, 507],
    },
    Operation {
        id: "POST /v1/facts",
        name: "add_facts",
        tag: "facts",
        summary: "Store single facts given as JSON objects.",
        parameters: &[],
        body: Body::Json("FactsRequest"),
        answer: json("IngestReport"),
        problems: &[404, 422, 507],
    },
    Operation {
        id: "GET /v1/audit/entries",
        name: "read_entries",
        tag: "audit",
        summary: "Entries of the log in order: all for an administrator, those of the own scope for a developer.",
        parameters: &[
            query("start", COUNT, "Index of the first entry to look at."),
            query("limit", r#"{"type":"integer","minimum":1,"maximum":1000}"#, "How many entries to look at."),
        ],
        body: Body::None,
        answer: json("Entries"),
        problems: &[422],
    },
    Operation {
        id: "GET /v1/audit/checkpoint",
        name: "checkpoint",
        tag: "audit",
        summary: "The newest signed checkpoint (C2SP tlog-checkpoint).",
        parameters: &[],
        body: Body::None,
        answer: raw("text/plain; charset=utf-8", "A signed note."),
        problems: &[],
    },
    Operation {
        id: "GET /v1/audit/tile/{level}/{*index}",
        name: "tile",
        tag: "audit",
        summary: "A hash tile, or with level `entries` an entry bundle (C2SP tlog-tiles).",
        parameters: &[
            path("level", TEXT, "0 to 7, or `entries`."),
            path("index", TEXT, "As tlog-tiles writes it: `x001/x234/067`, partial ones with `.p/` and a width."),
        ],
        body: Body::None,
        answer: raw("application/octet-stream", "The tile."),
        problems: &[404],
    },
    Operation {
        id: "GET /v1/audit/proof/inclusion",
        name: "prove_inclusion",
        tag: "audit",
        summary: "What shows that an entry is in the log.",
        parameters: &[
            required("index", COUNT, "The entry."),
            query("size", COUNT, "Size of the tree; by default that of the newest checkpoint."),
        ],
        body: Body::None,
        answer: json("Inclusion"),
        problems: &[404],
    },
    Operation {
        id: "GET /v1/audit/proof/consistency",
        name: "prove_consistency",
        tag: "audit",
        summary: "What shows that a smaller log is the beginning of a larger one.",
        parameters: &[required("old", COUNT, "Size of the smaller."), required("new", COUNT, "Size of the larger.")],
        body: Body::None,
        answer: json("Consistency"),
        problems: &[404],
    },
    Operation {
        id: "POST /v1/audit/verify",
        name: "verify_log",
        tag: "audit",
        summary: "Read the whole log from disk and check it against its signed checkpoint.",
        parameters: &[],
        body: Body::None,
        answer: json("LogReport"),
        problems: &[],
    },
];
