//! Every route of the server, in one table: the router, the API's description and the coverage test are made from it.

mod access;
mod agreed;
mod approvals;
mod audit;
mod break_glass;
mod changes;
mod control;
mod datasets;
mod devices;
mod factors;
mod facts;
mod local;
mod people;
mod planted;
mod policies;
mod programs;
mod project;
mod queries;
mod recovery;
mod reviews;
mod rows;
mod scim;
mod sign_in;
mod statistics;
mod synth;
mod system;
mod token;
mod trust;
mod web;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::http::{HeaderValue, Method, header};
use axum::response::{IntoResponse as _, Response};
use creta_iam::Action;
use creta_model::Problem;
use serde::Serialize;

use crate::context::{Guarded, Input, PlaceOf};
use crate::http::App;
use crate::limits::{ARROW_BYTES_MAX, BUNDLE_BYTES_MAX, EXPORT_BYTES_MAX, JSON_BYTES_MAX, REPORT_BYTES_MAX};
use crate::problem::{Refusal, internal};
use crate::trust::artefacts;

pub(crate) use self::queries::{query_admitted, query_at_once};
pub(crate) use self::recovery::busy as backup_busy;
pub(crate) use self::web::{Frame as PageFrame, refused as refused_page};

type Answering = Pin<Box<dyn Future<Output = Result<Response, Refusal>> + Send>>;

/// One method of one path.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) access: Access,
    pub(crate) weight: Weight,
    pub(crate) body_bytes_max: usize,
}

/// Who may use a route. A handler that needs a permit cannot stand on a public one.
pub(crate) enum Access {
    /// Anybody.
    Public(fn(Arc<App>, Input) -> Answering),
    /// Principals to whom the policies allow the action on the place.
    Guarded { action: Action, place: PlaceOf, handler: fn(Guarded, Input) -> Answering },
}

/// Which limits of time and number a route has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    Light,
    Bulk,
}

/// Policies as a JSON text, in which a character may take several bytes.
const POLICY_BYTES_MAX: usize = 4 * crate::policies::TEXT_BYTES_MAX;
/// The form of a page: some words and a reason.
const FORM_BYTES_MAX: usize = 16 << 10;
/// A body that is read to its end and must be empty or nearly so.
const NO_BODY: usize = 1 << 10;

macro_rules! public {
    ($method:ident, $path:literal, $bytes:expr, $handler:path) => {
        Route {
            method: Method::$method,
            path: $path,
            access: Access::Public(|app, input| Box::pin($handler(app, input))),
            weight: Weight::Light,
            body_bytes_max: $bytes,
        }
    };
}

macro_rules! guarded {
    ($method:ident, $path:literal, $action:ident on $place:ident, $weight:ident, $bytes:expr, $handler:path) => {
        Route {
            method: Method::$method,
            path: $path,
            access: Access::Guarded {
                action: Action::$action,
                place: PlaceOf::$place,
                handler: |guarded, input| Box::pin($handler(guarded, input)),
            },
            weight: Weight::$weight,
            body_bytes_max: $bytes,
        }
    };
}

/// A route that staff may use on a tenant's data. What its handler returns has to be redacted: see `statistics::answer`.
macro_rules! for_staff {
    ($method:ident, $path:literal, $action:ident on $place:ident, $weight:ident, $bytes:expr, $handler:path) => {
        Route {
            method: Method::$method,
            path: $path,
            access: Access::Guarded {
                action: Action::$action,
                place: PlaceOf::$place,
                handler: |guarded, input| Box::pin(async { statistics::answer($handler(guarded, input).await) }),
            },
            weight: Weight::$weight,
            body_bytes_max: $bytes,
        }
    };
}

/// The routes.
pub(crate) static ROUTES: &[Route] = &[
    public!(GET, "/health", NO_BODY, system::health),
    public!(GET, "/ready", NO_BODY, system::ready),
    public!(GET, "/openapi.json", NO_BODY, system::openapi),
    public!(POST, "/v1/token", NO_BODY, token::issue_token),
    public!(GET, "/sign-in", NO_BODY, sign_in::begin),
    public!(GET, "/sign-in/callback", NO_BODY, sign_in::callback),
    public!(GET, "/sign-in/device", NO_BODY, sign_in::device_page),
    public!(POST, "/sign-in/device", 4 << 10, sign_in::device_entered),
    public!(GET, "/sign-in/verify", NO_BODY, sign_in::prompt),
    public!(POST, "/sign-in/verify", 64 << 10, sign_in::verify),
    public!(POST, "/sign-in/local", 4 << 10, local::password),
    public!(GET, "/sign-in/second-factor", NO_BODY, local::second_factor),
    public!(POST, "/sign-in/second-factor", 4 << 10, local::factor_typed),
    public!(GET, "/sign-in/invited", NO_BODY, local::invited),
    public!(POST, "/sign-in/invited", 8 << 10, local::choose),
    public!(GET, "/sign-in/script.js", NO_BODY, sign_in::script),
    public!(GET, "/sign-in/style.css", NO_BODY, sign_in::style),
    public!(GET, "/sign-in/browser", NO_BODY, web::begin),
    public!(POST, "/sign-in/browser", 4 << 10, web::arrive),
    public!(GET, "/my", NO_BODY, web::shell),
    public!(GET, "/my/ask", NO_BODY, web::shell),
    public!(GET, "/my/requests", NO_BODY, web::shell),
    public!(GET, "/my/requests/{id}", NO_BODY, web::shell),
    public!(GET, "/my/accesses", NO_BODY, web::shell),
    public!(GET, "/my/reviews", NO_BODY, web::shell),
    public!(GET, "/my/reviews/{id}", NO_BODY, web::shell),
    public!(GET, "/my/policies", NO_BODY, web::shell),
    public!(GET, "/my/policies/{id}", NO_BODY, web::shell),
    public!(GET, "/my/computer", NO_BODY, web::shell),
    public!(GET, "/my/signed-in", NO_BODY, web::shell),
    public!(GET, "/my/script.js", NO_BODY, web::script),
    public!(GET, "/my/style.css", NO_BODY, web::style),
    // What pages show and do: by cookie and key, with the actions of the API's routes that do the same.
    guarded!(GET, "/view", AccessRead on Own, Light, NO_BODY, web::overview),
    guarded!(GET, "/view/ask", AccessRequest on Own, Light, NO_BODY, web::ask),
    guarded!(POST, "/view/ask", AccessRequest on Own, Light, FORM_BYTES_MAX, web::asked),
    guarded!(GET, "/view/requests", AccessRead on Own, Light, NO_BODY, web::requests),
    guarded!(GET, "/view/requests/{id}", AccessRead on Own, Light, NO_BODY, web::request),
    guarded!(POST, "/view/requests/{id}/decide", AccessApprove on Named, Light, FORM_BYTES_MAX, web::decide),
    guarded!(POST, "/view/requests/{id}/activate", AccessRequest on Own, Light, NO_BODY, web::activate),
    guarded!(POST, "/view/requests/{id}/withdraw", AccessRequest on Own, Light, NO_BODY, web::withdraw),
    guarded!(POST, "/view/grants/{id}/return", AccessRequest on Own, Light, NO_BODY, web::give_back),
    guarded!(POST, "/view/grants/{id}/revoke", AccessRevoke on Named, Light, NO_BODY, web::revoke),
    guarded!(POST, "/view/sessions/{id}/end", SessionRevoke on Own, Light, NO_BODY, web::end_session),
    guarded!(POST, "/view/authenticators/{id}/remove", SessionRevoke on Own, Light, NO_BODY, web::remove_factor),
    guarded!(GET, "/view/computer", DeviceEnrol on Own, Light, NO_BODY, web::computer),
    guarded!(POST, "/view/computer", DeviceEnrol on Own, Light, FORM_BYTES_MAX, web::offer),
    guarded!(GET, "/view/accesses", AuditRead on Own, Light, NO_BODY, web::accesses),
    guarded!(GET, "/view/reviews", ReviewRead on Environment, Light, NO_BODY, web::reviews),
    guarded!(GET, "/view/reviews/{id}", ReviewRead on Environment, Light, NO_BODY, web::review),
    guarded!(POST, "/view/reviews/{id}/decide", ReviewDecide on Environment, Light, FORM_BYTES_MAX, web::decide_review),
    guarded!(GET, "/view/policies", PolicyRead on Environment, Light, NO_BODY, web::policies),
    guarded!(GET, "/view/policies/{id}", PolicyRead on Environment, Bulk, NO_BODY, web::policy),
    guarded!(POST, "/view/policies/{id}/approve", PolicyApprove on Environment, Bulk, FORM_BYTES_MAX, web::approve_policy),
    guarded!(GET, "/view/watch", SessionRead on Own, Light, NO_BODY, web::watch),
    public!(POST, "/v1/sign-in/device", NO_BODY, sign_in::begin_device),
    public!(POST, "/v1/sessions", 16 << 10, sign_in::open_session),
    public!(POST, "/v1/sessions/renew", 16 << 10, sign_in::renew_session),
    guarded!(GET, "/v1/sessions", SessionRead on Own, Light, NO_BODY, people::sessions),
    guarded!(GET, "/v1/authenticators", SessionRead on Own, Light, NO_BODY, factors::list),
    guarded!(POST, "/v1/authenticators/{id}/remove", SessionRevoke on Own, Light, NO_BODY, factors::remove),
    guarded!(POST, "/v1/sessions/{id}/revoke", SessionRevoke on Own, Light, NO_BODY, people::end_session),
    guarded!(GET, "/v1/me", AccessRead on Own, Light, NO_BODY, people::me),
    guarded!(POST, "/v1/me/password", SessionRevoke on Own, Light, 8 << 10, local::change),
    guarded!(POST, "/v1/persons/invite", PersonAssign on NamedTenant, Light, JSON_BYTES_MAX, local::invite),
    guarded!(GET, "/v1/persons", PersonRead on Environment, Light, NO_BODY, people::list),
    guarded!(POST, "/v1/persons/{id}/assign", PersonAssign on Environment, Light, JSON_BYTES_MAX, people::assign),
    guarded!(POST, "/v1/persons/{id}/reset-authenticators", PersonAssign on Environment, Light, NO_BODY, people::reset_authenticators),
    guarded!(POST, "/v1/persons/{id}/vouch", AccessApprove on Named, Light, NO_BODY, people::vouch),
    guarded!(POST, "/v1/persons/{id}/leave", PersonAssign on Environment, Light, NO_BODY, people::leave),
    guarded!(POST, "/v1/persons/{id}/readmit", PersonAssign on Environment, Light, NO_BODY, people::readmit),
    guarded!(POST, "/v1/person-requests", PersonAssign on NamedTenant, Light, JSON_BYTES_MAX, changes::ask),
    guarded!(GET, "/v1/person-requests", AccessRead on Own, Light, NO_BODY, changes::list),
    guarded!(POST, "/v1/person-requests/{id}/approve", AccessApprove on Named, Light, JSON_BYTES_MAX, changes::agree),
    guarded!(POST, "/v1/access/requests", AccessRequest on Own, Light, JSON_BYTES_MAX, access::request),
    guarded!(GET, "/v1/access/requests", AccessRead on Own, Light, NO_BODY, access::requests),
    guarded!(GET, "/v1/access/requests/{id}", AccessRead on Own, Light, NO_BODY, access::show),
    guarded!(POST, "/v1/access/requests/{id}/decide", AccessApprove on Named, Light, JSON_BYTES_MAX, access::decide),
    guarded!(POST, "/v1/access/requests/{id}/activate", AccessRequest on Own, Light, NO_BODY, access::activate),
    guarded!(POST, "/v1/access/requests/{id}/withdraw", AccessRequest on Own, Light, NO_BODY, access::withdraw),
    guarded!(GET, "/v1/access/explain", AccessExplain on Own, Light, NO_BODY, access::explain),
    guarded!(GET, "/v1/access/grants", AccessRead on Own, Light, NO_BODY, access::grants),
    guarded!(POST, "/v1/access/grants/{id}/return", AccessRequest on Own, Light, NO_BODY, access::give_back),
    guarded!(POST, "/v1/access/grants/{id}/revoke", AccessRevoke on Named, Light, NO_BODY, access::revoke),
    guarded!(POST, "/v1/sessions/device", DeviceEnrol on Own, Light, 16 << 10, devices::bind),
    guarded!(POST, "/v1/sessions/browser/offered", DeviceEnrol on Own, Light, 4 << 10, devices::offered),
    guarded!(POST, "/v1/sessions/browser", DeviceEnrol on Own, Light, 16 << 10, devices::vouch),
    guarded!(POST, "/v1/devices/nonce", DeviceEnrol on Own, Light, NO_BODY, devices::nonce),
    guarded!(GET, "/v1/devices", DeviceRead on Own, Light, NO_BODY, devices::list),
    guarded!(POST, "/v1/devices", DeviceEnrol on Own, Light, 16 << 10, devices::enrol),
    // A device signs what it says, with nobody signed in: its key is its credential, and the nonce makes it good once.
    public!(POST, "/v1/devices/{id}/nonce", NO_BODY, devices::nonce_of),
    public!(POST, "/v1/devices/{id}/report", 16 << 10, devices::report),
    guarded!(POST, "/v1/devices/{id}/revoke", DeviceRevoke on Own, Light, NO_BODY, devices::revoke),
    // What a tool says makes devices trusted, so whoever approves access may bring it.
    guarded!(POST, "/v1/devices/import", AccessApprove on Environment, Light, EXPORT_BYTES_MAX, devices::import),
    guarded!(POST, "/v1/provisioners", PersonAssign on Environment, Light, JSON_BYTES_MAX, control::create_provisioner),
    guarded!(POST, "/v1/provisioner-requests", PersonAssign on Environment, Light, JSON_BYTES_MAX, programs::request_provisioner),
    guarded!(GET, "/v1/provisioners", PersonRead on Environment, Light, NO_BODY, control::list_provisioners),
    guarded!(POST, "/v1/provisioners/{id}/rotate", PersonAssign on Environment, Light, JSON_BYTES_MAX, control::rotate_provisioner),
    guarded!(POST, "/v1/provisioners/{id}/revoke", PersonAssign on Environment, Light, NO_BODY, control::revoke_provisioner),
    guarded!(GET, "/v1/canary", CatalogueRead on Own, Light, NO_BODY, devices::canary),
    // Like a secret of the tenant's: whoever rotates those rotates this one.
    guarded!(POST, "/v1/canary-tokens", ServiceAccountCreate on NamedTenant, Light, JSON_BYTES_MAX, planted::plant),
    guarded!(GET, "/v1/canary-tokens", ServiceAccountList on NamedTenant, Light, NO_BODY, planted::list),
    guarded!(POST, "/v1/canary-tokens/{id}/end", ServiceAccountRevoke on NamedTenant, Light, NO_BODY, planted::end),
    guarded!(POST, "/v1/canary/rotate", ServiceAccountRotate on NamedTenant, Light, JSON_BYTES_MAX, devices::rotate_canary),
    guarded!(GET, "/v1/backup", BackupRead on Environment, Bulk, NO_BODY, recovery::backup),
    guarded!(POST, "/v1/recovery/keys", RecoveryHold on Environment, Light, 4 << 10, recovery::add_key),
    guarded!(GET, "/v1/recovery/keys", RecoveryHold on Environment, Light, NO_BODY, recovery::keys),
    guarded!(POST, "/v1/recovery/keys/{id}/end", RecoveryHold on Environment, Light, NO_BODY, recovery::end_key),
    guarded!(GET, "/scim/v2/ServiceProviderConfig", ScimWrite on Environment, Light, NO_BODY, scim::config),
    guarded!(GET, "/scim/v2/Schemas", ScimWrite on Environment, Light, NO_BODY, scim::all_schemas),
    guarded!(GET, "/scim/v2/Schemas/{id}", ScimWrite on Environment, Light, NO_BODY, scim::schema),
    guarded!(GET, "/scim/v2/ResourceTypes", ScimWrite on Environment, Light, NO_BODY, scim::all_resource_types),
    guarded!(GET, "/scim/v2/ResourceTypes/{id}", ScimWrite on Environment, Light, NO_BODY, scim::resource_type),
    guarded!(POST, "/scim/v2/.search", ScimWrite on Environment, Light, JSON_BYTES_MAX, scim::search_all),
    guarded!(POST, "/scim/v2/Users/.search", ScimWrite on Environment, Light, JSON_BYTES_MAX, scim::search::<scim::Users>),
    guarded!(POST, "/scim/v2/Groups/.search", ScimWrite on Environment, Light, JSON_BYTES_MAX, scim::search::<scim::Groups>),
    guarded!(GET, "/scim/v2/Users", ScimWrite on Environment, Light, NO_BODY, scim::list::<scim::Users>),
    guarded!(POST, "/scim/v2/Users", ScimWrite on Environment, Light, JSON_BYTES_MAX, scim::create::<scim::Users>),
    guarded!(GET, "/scim/v2/Users/{id}", ScimWrite on Environment, Light, NO_BODY, scim::get::<scim::Users>),
    guarded!(PUT, "/scim/v2/Users/{id}", ScimWrite on Environment, Light, JSON_BYTES_MAX, scim::replace::<scim::Users>),
    guarded!(PATCH, "/scim/v2/Users/{id}", ScimWrite on Environment, Light, JSON_BYTES_MAX, scim::patch::<scim::Users>),
    guarded!(DELETE, "/scim/v2/Users/{id}", ScimWrite on Environment, Light, NO_BODY, scim::delete::<scim::Users>),
    guarded!(GET, "/scim/v2/Groups", ScimWrite on Environment, Light, NO_BODY, scim::list::<scim::Groups>),
    guarded!(POST, "/scim/v2/Groups", ScimWrite on Environment, Light, JSON_BYTES_MAX, scim::create::<scim::Groups>),
    guarded!(GET, "/scim/v2/Groups/{id}", ScimWrite on Environment, Light, NO_BODY, scim::get::<scim::Groups>),
    guarded!(PUT, "/scim/v2/Groups/{id}", ScimWrite on Environment, Light, JSON_BYTES_MAX, scim::replace::<scim::Groups>),
    guarded!(PATCH, "/scim/v2/Groups/{id}", ScimWrite on Environment, Light, JSON_BYTES_MAX, scim::patch::<scim::Groups>),
    guarded!(DELETE, "/scim/v2/Groups/{id}", ScimWrite on Environment, Light, NO_BODY, scim::delete::<scim::Groups>),
    guarded!(GET, "/v1/access/analysis", AccessAnalyze on Environment, Bulk, NO_BODY, access::analyze),
    guarded!(GET, "/v1/access/policies", PolicyRead on Environment, Light, NO_BODY, policies::list),
    guarded!(POST, "/v1/access/policies", PolicyPropose on Environment, Bulk, POLICY_BYTES_MAX, policies::propose),
    guarded!(POST, "/v1/access/policies/check", PolicyRead on Environment, Bulk, POLICY_BYTES_MAX, policies::check),
    guarded!(GET, "/v1/access/policies/{id}", PolicyRead on Environment, Bulk, NO_BODY, policies::show),
    guarded!(POST, "/v1/access/policies/{id}/approve", PolicyApprove on Environment, Bulk, NO_BODY, policies::approve),
    guarded!(GET, "/v1/access/rows", RowsRead on NamedTenant, Light, NO_BODY, rows::list),
    guarded!(POST, "/v1/access/rows", RowsPropose on NamedTenant, Light, JSON_BYTES_MAX, rows::propose),
    guarded!(GET, "/v1/access/rows/{id}", RowsRead on NamedTenant, Light, NO_BODY, rows::show),
    guarded!(POST, "/v1/access/rows/{id}/approve", RowsApprove on Own, Light, JSON_BYTES_MAX, approvals::approve::<approvals::Rows>),
    guarded!(GET, "/v1/access/declassifications", PolicyRead on Own, Light, NO_BODY, rows::lifted),
    guarded!(POST, "/v1/access/declassifications", DeclassifyPropose on Own, Light, JSON_BYTES_MAX, rows::propose_lift),
    guarded!(POST, "/v1/access/declassifications/{id}/approve", DeclassifyApprove on Own, Light, JSON_BYTES_MAX, approvals::approve::<approvals::Lift>),
    guarded!(POST, "/v1/access/declassifications/{id}/withdraw", DeclassifyPropose on Own, Light, NO_BODY, rows::withdraw_lift),
    guarded!(GET, "/v1/access/tag-removals", PolicyRead on Own, Light, NO_BODY, rows::removals),
    guarded!(POST, "/v1/access/tag-removals/{id}/approve", DeclassifyApprove on Own, Light, JSON_BYTES_MAX, approvals::approve::<approvals::Removal>),
    guarded!(GET, "/v1/reviews", ReviewRead on Environment, Light, NO_BODY, reviews::list),
    guarded!(GET, "/v1/reviews/{id}", ReviewRead on Environment, Light, NO_BODY, reviews::show),
    guarded!(POST, "/v1/reviews/{id}/decide", ReviewDecide on Environment, Light, JSON_BYTES_MAX, reviews::decide),
    guarded!(POST, "/v1/reviews/{id}/close", ReviewDecide on Environment, Light, NO_BODY, reviews::close),
    guarded!(GET, "/v1/reviews/{id}/result", ReviewRead on Environment, Light, NO_BODY, reviews::result),
    guarded!(POST, "/v1/break-glass/seal", PersonAssign on Environment, Light, JSON_BYTES_MAX, break_glass::seal),
    guarded!(POST, "/v1/break-glass/half", AccessRequest on Own, Light, NO_BODY, break_glass::take),
    // Whoever opens the account has no session: the provider may be away. The halves and the authenticators decide, and the
    // action `break-glass.open` is asked for each holder.
    public!(POST, "/v1/break-glass/openings", 16 << 10, break_glass::begin),
    public!(POST, "/v1/break-glass/openings/{id}/join", 16 << 10, break_glass::join),
    guarded!(GET, "/v1/break-glass", ReviewRead on Environment, Light, NO_BODY, break_glass::show),
    guarded!(POST, "/v1/break-glass/openings/{id}/close", AccessRevoke on Environment, Light, NO_BODY, break_glass::close),
    guarded!(POST, "/v1/break-glass/openings/{id}/review", ReviewDecide on Environment, Light, JSON_BYTES_MAX, break_glass::review),
    guarded!(GET, "/metrics", MetricsRead on Environment, Light, NO_BODY, system::metrics),
    guarded!(POST, "/v1/tenants", TenantCreate on Environment, Light, JSON_BYTES_MAX, control::create_tenant),
    guarded!(GET, "/v1/tenants", TenantList on Environment, Light, NO_BODY, control::list_tenants),
    guarded!(POST, "/v1/service-accounts", ServiceAccountCreate on NamedTenant, Light, JSON_BYTES_MAX, control::create_service_account),
    guarded!(GET, "/v1/service-accounts", ServiceAccountList on NamedTenant, Light, NO_BODY, control::list_service_accounts),
    guarded!(POST, "/v1/service-accounts/{id}/rotate", ServiceAccountRotate on NamedTenant, Light, JSON_BYTES_MAX, control::rotate_service_account),
    guarded!(POST, "/v1/service-accounts/{id}/revoke", ServiceAccountRevoke on NamedTenant, Light, NO_BODY, control::revoke_service_account),
    guarded!(POST, "/v1/service-account-requests", ServiceAccountCreate on NamedTenant, Light, JSON_BYTES_MAX, programs::request_secret),
    guarded!(GET, "/v1/service-account-requests", AccessRead on Own, Light, NO_BODY, programs::secret_requests),
    guarded!(POST, "/v1/service-account-requests/{id}/approve", AccessApprove on Named, Light, JSON_BYTES_MAX, programs::approve_secret),
    guarded!(POST, "/v1/check", Check on Own, Bulk, BUNDLE_BYTES_MAX, project::check),
    guarded!(POST, "/v1/deploy", Deploy on Own, Bulk, BUNDLE_BYTES_MAX, project::deploy),
    guarded!(GET, "/v1/catalogue", CatalogueRead on Own, Light, NO_BODY, project::catalogue),
    guarded!(GET, "/v1/status", CatalogueRead on Own, Light, NO_BODY, project::status),
    guarded!(POST, "/v1/verify", Verify on Own, Bulk, JSON_BYTES_MAX, project::verify),
    guarded!(POST, "/v1/explain", Plan on Own, Light, JSON_BYTES_MAX, queries::explain),
    guarded!(POST, "/v1/query", Query on Own, Light, JSON_BYTES_MAX, queries::query),
    guarded!(POST, "/v1/query/arrow", Query on Own, Bulk, ARROW_BYTES_MAX, queries::query_arrow),
    guarded!(POST, "/v1/training-sets", Train on Own, Bulk, ARROW_BYTES_MAX, queries::training_set),
    guarded!(POST, "/v1/training-sets/leakage", Train on Own, Bulk, ARROW_BYTES_MAX, queries::audit_leakage),
    guarded!(POST, "/v1/datasets", DatasetMake on Own, Bulk, ARROW_BYTES_MAX, datasets::make),
    guarded!(GET, "/v1/datasets", CatalogueRead on Own, Light, NO_BODY, datasets::list),
    guarded!(GET, "/v1/datasets/{id}", CatalogueRead on Own, Light, NO_BODY, datasets::describe),
    guarded!(GET, "/v1/datasets/{id}/rows", Train on Own, Bulk, NO_BODY, datasets::rows),
    guarded!(GET, "/v1/datasets/{id}/profile", Train on Own, Bulk, NO_BODY, datasets::profile),
    guarded!(GET, "/v1/datasets/{id}/diff", Train on Own, Bulk, NO_BODY, datasets::diff),
    guarded!(POST, "/v1/datasets/{id}/rename", DatasetRetire on Own, Light, JSON_BYTES_MAX, datasets::rename),
    guarded!(POST, "/v1/datasets/{id}/retire", DatasetRetire on Own, Light, NO_BODY, datasets::retire),
    guarded!(POST, "/v1/synth", Synth on Own, Bulk, JSON_BYTES_MAX, synth::synth),
    for_staff!(GET, "/v1/statistics", StatisticsRead on NamedTenant, Bulk, NO_BODY, statistics::statistics),
    guarded!(POST, "/v1/ingest", Ingest on Own, Bulk, ARROW_BYTES_MAX, facts::ingest),
    guarded!(POST, "/v1/facts", Ingest on Own, Light, JSON_BYTES_MAX, facts::single),
    guarded!(GET, "/v1/audit/entries", AuditRead on Own, Light, NO_BODY, audit::entries),
    guarded!(GET, "/v1/audit/access", AuditRead on Own, Light, NO_BODY, audit::access),
    guarded!(GET, "/v1/audit/access/{id}/proof", AuditRead on Own, Light, NO_BODY, audit::prove_access),
    guarded!(GET, "/v1/audit/checkpoint", AuditRead on Environment, Light, NO_BODY, audit::checkpoint),
    guarded!(GET, "/v1/audit/tile/{level}/{*index}", AuditRead on Environment, Light, NO_BODY, audit::tile),
    guarded!(GET, "/v1/audit/proof/inclusion", AuditRead on Environment, Light, NO_BODY, audit::prove_inclusion),
    guarded!(GET, "/v1/audit/proof/consistency", AuditRead on Environment, Light, NO_BODY, audit::prove_consistency),
    public!(GET, "/trust", NO_BODY, trust::index),
    public!(GET, "/trust/", NO_BODY, trust::page),
    public!(GET, "/trust/{*path}", NO_BODY, trust::part),
    public!(POST, "/trust/report", REPORT_BYTES_MAX, trust::report),
    public!(GET, "/.well-known/security.txt", NO_BODY, trust::security_txt),
    public!(GET, "/.well-known/security-key.asc", NO_BODY, trust::security_key),
    guarded!(GET, "/v1/trust/security-txt", TrustRead on Environment, Light, NO_BODY, trust::contact_to_sign),
    guarded!(POST, "/v1/trust/security-txt", InventoryDeclare on Environment, Light, JSON_BYTES_MAX, trust::publish_contact),
    guarded!(GET, "/v1/trust", TrustRead on Environment, Light, NO_BODY, trust::state),
    guarded!(POST, "/v1/trust/run", TrustRun on Environment, Bulk, JSON_BYTES_MAX, trust::run),
    guarded!(GET, "/v1/trust/pack", TrustRead on Environment, Bulk, NO_BODY, trust::pack),
    guarded!(GET, "/v1/trust/oscal", TrustRead on Environment, Bulk, NO_BODY, trust::oscal),
    guarded!(POST, "/v1/trust/artefacts", ArtefactRecord on Environment, Bulk, artefacts::REQUEST_BYTES_MAX, trust::record_artefact),
    guarded!(GET, "/v1/trust/artefacts", TrustRead on Environment, Light, NO_BODY, trust::artefacts),
    guarded!(GET, "/v1/trust/artefacts/{id}", TrustRead on Environment, Light, NO_BODY, trust::artefact),
    guarded!(GET, "/v1/trust/artefacts/{id}/file", TrustRead on Environment, Bulk, NO_BODY, trust::artefact_file),
    guarded!(POST, "/v1/trust/exceptions", ExceptionPropose on Environment, Light, JSON_BYTES_MAX, trust::propose_exception),
    guarded!(GET, "/v1/trust/exceptions", TrustRead on Environment, Light, NO_BODY, trust::exceptions),
    guarded!(POST, "/v1/trust/exceptions/{id}", ExceptionApprove on Environment, Light, JSON_BYTES_MAX, trust::decide_exception),
    guarded!(GET, "/v1/trust/inventory", TrustRead on Environment, Light, NO_BODY, trust::inventory),
    guarded!(POST, "/v1/trust/inventory", InventoryDeclare on Environment, Light, JSON_BYTES_MAX, trust::declare),
    guarded!(GET, "/v1/trust/reports", TrustRead on Environment, Light, NO_BODY, trust::reports),
    guarded!(POST, "/v1/trust/reports/{id}", ReportDecide on Environment, Light, JSON_BYTES_MAX, trust::decide),
    guarded!(POST, "/v1/audit/verify", AuditRead on Environment, Bulk, NO_BODY, audit::verify),
];

/// Runs `work` for a public route where it may wait for disks.
async fn blocking<T: Send + 'static>(
    app: Arc<App>,
    work: impl FnOnce(&App) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Refusal> {
    Ok(tokio::task::spawn_blocking(move || work(&app)).await.map_err(|_| internal())??)
}

pub(crate) const JSON: &str = "application/json";

/// A JSON answer.
fn json(body: &impl Serialize) -> Result<Response, Refusal> {
    let text = serde_json::to_vec(body).expect("an answer has a JSON form");
    Ok(typed(JSON, text))
}

/// An answer of some content type.
fn typed(content_type: &'static str, body: impl Into<axum::body::Body>) -> Response {
    let mut response = body.into().into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
