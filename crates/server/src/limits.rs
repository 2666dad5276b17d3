//! Bounds on everything that comes in. Constants in code rather than options: a server without them is not on offer.

use std::time::Duration;

/// Largest JSON body, except bundles.
pub const JSON_BYTES_MAX: usize = 4 << 20;
/// Largest bundle.
pub const BUNDLE_BYTES_MAX: usize = 32 << 20;
/// Largest export of a device management tool: about 50,000 devices.
pub const EXPORT_BYTES_MAX: usize = 20 << 20;
/// Largest Arrow body.
pub const ARROW_BYTES_MAX: usize = 256 << 20;
/// Most rows of a JSON query or of single facts.
pub const JSON_ROWS_MAX: usize = 10_000;
/// Most rows of one Arrow body.
pub const ARROW_ROWS_MAX: usize = 20_000_000;
/// Most columns of one Arrow body, nested ones included.
pub const ARROW_COLUMNS_MAX: usize = 4_096;
/// Deepest nesting of an Arrow type.
pub const ARROW_DEPTH_MAX: usize = 16;
/// Longest query string.
pub const QUERY_BYTES_MAX: usize = 64 << 10;
/// Bytes of a report of a security issue: text, and no attachments.
pub const REPORT_BYTES_MAX: usize = 64 << 10;
/// Entries of the audit log in one answer.
pub const AUDIT_ENTRIES_MAX: u64 = 1_000;

/// Requests at work at the same time, bulk requests and strangers apart; more are told to come back.
pub const REQUESTS_MAX: usize = 96;
/// Those of one tenant, or of staff together.
pub const REQUESTS_SHARE_MAX: usize = 64;
/// Bulk requests (Arrow in or out, deploy, verify) at work at the same time.
pub const BULK_REQUESTS_MAX: usize = 4;
/// Those of one tenant, or of staff together.
pub const BULK_REQUESTS_SHARE_MAX: usize = 3;
/// Requests of strangers at work at the same time: routes that anybody may use.
pub const PUBLIC_REQUESTS_MAX: usize = 64;
/// Those of one network.
pub const PUBLIC_REQUESTS_SHARE_MAX: usize = 16;
/// Bodies that are on their way at the same time, of light routes and of public ones each, before their requests are at work.
pub const ARRIVING_MAX: usize = 128;
/// Those of one tenant.
pub const ARRIVING_SHARE_MAX: usize = 64;
/// Those of one network's strangers.
pub const PUBLIC_ARRIVING_SHARE_MAX: usize = 16;
/// Open pages that listen whether their reader's session is over.
pub const WATCHES_MAX: usize = 1_000;

/// Longest time for an ordinary request, from the first byte of its body.
pub const REQUEST_TIME_MAX: Duration = Duration::from_secs(30);
/// Longest time for a bulk request.
pub const BULK_REQUEST_TIME_MAX: Duration = Duration::from_secs(900);
/// Longest time for a body to arrive, so that nobody keeps a place among the requests at work by sending slowly.
pub const BODY_TIME_MAX: Duration = Duration::from_secs(120);
/// The same for routes that anybody may use, whose bodies are small.
pub const PUBLIC_BODY_TIME_MAX: Duration = Duration::from_secs(10);
/// Most bytes that are taken of a body after its request was refused, so that the client reads why.
pub const DRAIN_BYTES_MAX: usize = 64 << 20;
/// Longest time for that.
pub const DRAIN_TIME_MAX: Duration = Duration::from_secs(10);
/// Longest time for a TLS handshake, and again for the first request's head.
pub const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);

/// How long a token is valid.
pub const TOKEN_SECONDS: u64 = 900;
/// Failed attempts of one client id from one address before it has to wait.
pub const FAILURES_MAX: u32 = 10;
/// How long failed attempts count.
pub const FAILURE_MEMORY: Duration = Duration::from_secs(60);
/// Failed attempts of a kind that are written to the log within that time, whosesoever; more are counted in the metrics only.
pub const FAILURES_RECORDED_MAX: u32 = 30;
/// How many pairs of name and network failed attempts of a kind are counted for.
pub const FAILURE_ENTRIES_MAX: usize = 10_000;

/// Largest frame between the server and a worker.
pub const FRAME_BYTES_MAX: usize = 256 << 20;
/// Rows of one worker call; larger inputs are split and run on several workers.
pub const WORKER_CHUNK_ROWS: usize = 16_384;
/// Calls of a tenant that wait for one of its workers; more fail at once, so that what is slow takes no places from requests
/// that need no worker.
pub const WORKER_CALLS_WAITING_MAX: usize = 16;
/// Longest time of one worker call, unless its resolver says otherwise.
pub const WORKER_CALL_TIME_MAX: Duration = Duration::from_secs(10);
/// Longest time in which an idle worker has to give a sign of life.
pub const WORKER_PING_TIME_MAX: Duration = Duration::from_secs(2);
/// Longest time for a worker to import the project and be ready.
pub const WORKER_START_TIME_MAX: Duration = Duration::from_secs(60);
