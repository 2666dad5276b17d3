//! Entries of the audit log as events of the Open Cybersecurity Schema Framework, for whoever watches many systems.
//!
//! [`event`] turns an entry into an event of one of eight classes; it keeps the entry's own bytes beside the translation,
//! so that the event can be compared with the log. [`validate`] checks events against the schema, which is data.

mod schema;

use creta_proof::{Hash, Time};
use serde_json::{Map, Value, json};

use crate::evidence::canonical;

use schema::{Class, Schema};
pub use schema::{Violation, validate};

/// What an attribute says that OCSF requires and the log does not hold.
const NOT_RECORDED: &str = "not recorded";

mod class {
    pub(super) const COMPLIANCE_FINDING: u64 = 2003;
    pub(super) const DETECTION_FINDING: u64 = 2004;
    pub(super) const ACCOUNT_CHANGE: u64 = 3001;
    pub(super) const AUTHENTICATION: u64 = 3002;
    pub(super) const ENTITY_MANAGEMENT: u64 = 3004;
    pub(super) const APPLICATION_LIFECYCLE: u64 = 6002;
    pub(super) const API_ACTIVITY: u64 = 6003;
    pub(super) const DATASTORE_ACTIVITY: u64 = 6005;
}

/// Actions and happenings with the class and the activity they are in OCSF. What is not here becomes API activity
/// "Other", under its own name.
const ACTIONS: &[(&str, u64, i64)] = &[
    ("access.analyze", class::API_ACTIVITY, 2),
    ("access.approve", class::API_ACTIVITY, 3),
    ("access.explain", class::API_ACTIVITY, 2),
    ("access.read", class::API_ACTIVITY, 2),
    ("access.refused", class::DETECTION_FINDING, 1),
    ("access.request", class::API_ACTIVITY, 1),
    ("access.unproven", class::DETECTION_FINDING, 1),
    ("access.revoke", class::API_ACTIVITY, 3),
    ("artefact.record", class::API_ACTIVITY, 1),
    ("artefact.recorded", class::API_ACTIVITY, 1),
    ("artefact.refused", class::API_ACTIVITY, 1),
    ("audit.read", class::API_ACTIVITY, 2),
    ("audit.tail-cut-off", class::DETECTION_FINDING, 1),
    ("duties.refused", class::DETECTION_FINDING, 1),
    ("authenticator.known", class::ACCOUNT_CHANGE, 99),
    ("authenticator.refused", class::AUTHENTICATION, 1),
    ("authenticator.registered", class::ACCOUNT_CHANGE, 99),
    ("authenticator.removed", class::ACCOUNT_CHANGE, 99),
    ("authenticator.reset", class::ACCOUNT_CHANGE, 99),
    ("authenticator.suspended", class::DETECTION_FINDING, 1),
    ("authenticator.taken-up", class::ACCOUNT_CHANGE, 99),
    ("authenticator.verified", class::AUTHENTICATION, 1),
    ("backup.broken-off", class::API_ACTIVITY, 99),
    ("backup.copying", class::API_ACTIVITY, 2),
    ("backup.read", class::API_ACTIVITY, 2),
    ("backup.restored", class::API_ACTIVITY, 3),
    ("backup.tenant-left-out", class::DETECTION_FINDING, 1),
    ("backup.taken", class::API_ACTIVITY, 2),
    ("break-glass.open", class::API_ACTIVITY, 3),
    ("break-glass.closed", class::API_ACTIVITY, 3),
    ("break-glass.half-shown", class::AUTHENTICATION, 99),
    ("break-glass.half-taken", class::ACCOUNT_CHANGE, 99),
    ("break-glass.opened", class::DETECTION_FINDING, 1),
    ("break-glass.refused", class::DETECTION_FINDING, 1),
    ("break-glass.reviewed", class::API_ACTIVITY, 3),
    ("break-glass.sealed", class::ACCOUNT_CHANGE, 99),
    ("break-glass.unsealed", class::AUTHENTICATION, 99),
    ("catalogue.read", class::API_ACTIVITY, 2),
    ("certificate.broken", class::APPLICATION_LIFECYCLE, 99),
    ("canary.ended", class::API_ACTIVITY, 4),
    ("canary.planted", class::API_ACTIVITY, 1),
    ("canary.rotated", class::API_ACTIVITY, 3),
    ("canary.used", class::DETECTION_FINDING, 1),
    ("certificate.failed", class::APPLICATION_LIFECYCLE, 99),
    ("certificate.issued", class::APPLICATION_LIFECYCLE, 99),
    ("certificate.replaced", class::APPLICATION_LIFECYCLE, 99),
    ("check", class::API_ACTIVITY, 2),
    ("check.fail", class::COMPLIANCE_FINDING, 1),
    ("check.pass", class::COMPLIANCE_FINDING, 1),
    ("check.planted", class::API_ACTIVITY, 99),
    ("check.unknown", class::COMPLIANCE_FINDING, 1),
    ("clock.set-back", class::DETECTION_FINDING, 1),
    ("component.added", class::API_ACTIVITY, 1),
    ("component.revoked", class::API_ACTIVITY, 4),
    ("dataset.kept", class::DATASTORE_ACTIVITY, 6),
    ("dataset.make", class::DATASTORE_ACTIVITY, 6),
    ("dataset.renamed", class::DATASTORE_ACTIVITY, 2),
    ("dataset.retire", class::DATASTORE_ACTIVITY, 7),
    ("dataset.retired", class::DATASTORE_ACTIVITY, 7),
    ("declassify.approve", class::API_ACTIVITY, 3),
    ("declassify.approved", class::API_ACTIVITY, 3),
    ("declassify.ended", class::API_ACTIVITY, 4),
    ("declassify.proposed", class::API_ACTIVITY, 1),
    ("declassify.propose", class::API_ACTIVITY, 1),
    ("deploy", class::API_ACTIVITY, 3),
    ("deploy.done", class::APPLICATION_LIFECYCLE, 8),
    ("deploy.refused", class::API_ACTIVITY, 3),
    ("device.enrol", class::API_ACTIVITY, 1),
    ("device.read", class::API_ACTIVITY, 2),
    ("device.revoke", class::API_ACTIVITY, 3),
    ("device.cloned", class::DETECTION_FINDING, 1),
    ("device.enrolled", class::API_ACTIVITY, 1),
    ("device.fell", class::DETECTION_FINDING, 1),
    ("device.imported", class::API_ACTIVITY, 3),
    ("device.refused", class::API_ACTIVITY, 99),
    ("device.reported", class::API_ACTIVITY, 3),
    ("device.values-found", class::DETECTION_FINDING, 1),
    ("device.revoked", class::API_ACTIVITY, 3),
    ("person.provisioned", class::ACCOUNT_CHANGE, 1),
    ("person.vouched", class::ACCOUNT_CHANGE, 99),
    ("restore.access-ended", class::DETECTION_FINDING, 1),
    ("session.bound", class::AUTHENTICATION, 99),
    ("session.vouched", class::AUTHENTICATION, 99),
    ("download.refused", class::DATASTORE_ACTIVITY, 4),
    ("diff", class::API_ACTIVITY, 2),
    ("environment.init", class::APPLICATION_LIFECYCLE, 1),
    ("environment.refused", class::APPLICATION_LIFECYCLE, 99),
    ("exception.approve", class::API_ACTIVITY, 3),
    ("exception.approved", class::API_ACTIVITY, 3),
    ("exception.ended", class::API_ACTIVITY, 3),
    ("exception.propose", class::API_ACTIVITY, 1),
    ("exception.proposed", class::API_ACTIVITY, 1),
    ("exception.refused", class::API_ACTIVITY, 3),
    ("handshake.refused", class::DETECTION_FINDING, 1),
    ("ingest", class::DATASTORE_ACTIVITY, 5),
    ("ingest.done", class::DATASTORE_ACTIVITY, 5),
    ("ingest.repeated", class::DATASTORE_ACTIVITY, 5),
    ("inventory.declare", class::API_ACTIVITY, 3),
    ("inventory.declared", class::API_ACTIVITY, 3),
    ("log.heartbeat", class::APPLICATION_LIFECYCLE, 99),
    ("metrics.read", class::API_ACTIVITY, 2),
    ("older-store.refused", class::DETECTION_FINDING, 1),
    ("page.refused", class::AUTHENTICATION, 1),
    ("peer.refused", class::AUTHENTICATION, 1),
    ("person.assign", class::API_ACTIVITY, 3),
    ("person.assign-refused", class::API_ACTIVITY, 3),
    ("person.assigned", class::API_ACTIVITY, 3),
    ("person.first-seen", class::ACCOUNT_CHANGE, 1),
    ("password.changed", class::ACCOUNT_CHANGE, 3),
    ("password.chosen", class::ACCOUNT_CHANGE, 99),
    ("password.refused", class::ACCOUNT_CHANGE, 99),
    ("password.suspended", class::DETECTION_FINDING, 1),
    ("password.tampered", class::DETECTION_FINDING, 1),
    ("person.invited", class::ACCOUNT_CHANGE, 1),
    ("person.agreed", class::API_ACTIVITY, 3),
    ("person.linked", class::ACCOUNT_CHANGE, 3),
    ("person.left", class::ACCOUNT_CHANGE, 5),
    ("person.readmitted", class::ACCOUNT_CHANGE, 2),
    ("person.refused", class::DETECTION_FINDING, 1),
    ("person.request-used", class::API_ACTIVITY, 3),
    ("person.requested", class::API_ACTIVITY, 1),
    ("person.read", class::API_ACTIVITY, 2),
    ("plan", class::API_ACTIVITY, 2),
    ("policy.adopted", class::API_ACTIVITY, 3),
    ("policy.proposed", class::API_ACTIVITY, 1),
    ("policy.refused", class::DETECTION_FINDING, 1),
    ("person.appointed", class::API_ACTIVITY, 3),
    ("policy.approve", class::API_ACTIVITY, 3),
    ("policy.propose", class::API_ACTIVITY, 1),
    ("policy.read", class::API_ACTIVITY, 2),
    ("proof.refused", class::AUTHENTICATION, 1),
    ("proposal.refused", class::DETECTION_FINDING, 1),
    ("query", class::DATASTORE_ACTIVITY, 4),
    ("recovery.agreed", class::API_ACTIVITY, 3),
    ("recovery.hold", class::API_ACTIVITY, 1),
    ("recovery.key-added", class::API_ACTIVITY, 1),
    ("recovery.key-ended", class::API_ACTIVITY, 4),
    ("recovery.key-human", class::API_ACTIVITY, 3),
    ("recovery.refused", class::DETECTION_FINDING, 1),
    ("report.decide", class::API_ACTIVITY, 3),
    ("report.decided", class::API_ACTIVITY, 3),
    ("report.received", class::API_ACTIVITY, 1),
    ("report.refused", class::API_ACTIVITY, 1),
    ("review.decide", class::API_ACTIVITY, 3),
    ("review.refused", class::DETECTION_FINDING, 1),
    ("review.read", class::API_ACTIVITY, 2),
    ("rows.adopted", class::API_ACTIVITY, 3),
    ("rows.approve", class::API_ACTIVITY, 3),
    ("rows.ended", class::API_ACTIVITY, 4),
    ("rows.propose", class::API_ACTIVITY, 1),
    ("rows.proposed", class::API_ACTIVITY, 1),
    ("rows.read", class::API_ACTIVITY, 2),
    ("scim.write", class::API_ACTIVITY, 3),
    ("security-txt.published", class::API_ACTIVITY, 3),
    ("server.start", class::APPLICATION_LIFECYCLE, 3),
    ("server.stop", class::APPLICATION_LIFECYCLE, 4),
    ("service-account.approved", class::API_ACTIVITY, 3),
    ("service-account.create", class::ACCOUNT_CHANGE, 1),
    ("service-account.created", class::ACCOUNT_CHANGE, 1),
    ("service-account.list", class::API_ACTIVITY, 2),
    ("service-account.locked", class::ACCOUNT_CHANGE, 5),
    ("service-account.new-network", class::DETECTION_FINDING, 1),
    ("service-account.new-use", class::DETECTION_FINDING, 1),
    ("service-account.refused", class::DETECTION_FINDING, 1),
    ("service-account.request-used", class::API_ACTIVITY, 3),
    ("service-account.requested", class::API_ACTIVITY, 1),
    ("service-account.revoke", class::ACCOUNT_CHANGE, 5),
    ("service-account.revoked", class::ACCOUNT_CHANGE, 5),
    ("service-account.rotate", class::ACCOUNT_CHANGE, 3),
    ("service-account.rotated", class::ACCOUNT_CHANGE, 3),
    ("session.opened", class::AUTHENTICATION, 1),
    ("session.read", class::API_ACTIVITY, 2),
    ("session.revoke", class::API_ACTIVITY, 3),
    ("session.revoked", class::AUTHENTICATION, 2),
    ("sign-in.refused", class::AUTHENTICATION, 1),
    ("sink.written", class::DATASTORE_ACTIVITY, 1),
    ("statistics.overspent", class::DETECTION_FINDING, 1),
    ("statistics.read", class::DATASTORE_ACTIVITY, 4),
    ("synth", class::API_ACTIVITY, 2),
    ("tenant.create", class::ENTITY_MANAGEMENT, 1),
    ("tenant.created", class::ENTITY_MANAGEMENT, 1),
    ("tenant.list", class::ENTITY_MANAGEMENT, 2),
    ("token.issue", class::AUTHENTICATION, 1),
    ("token.narrowed", class::AUTHENTICATION, 1),
    ("token.refused", class::AUTHENTICATION, 1),
    ("train", class::DATASTORE_ACTIVITY, 1),
    ("trust.read", class::API_ACTIVITY, 2),
    ("trust.run", class::API_ACTIVITY, 3),
    ("trust.text", class::API_ACTIVITY, 3),
    ("verify", class::DATASTORE_ACTIVITY, 1),
];

/// Refusals that are recorded as happenings, since nobody was there to decide about.
const REFUSED: &[&str] = &[
    "access.refused",
    "artefact.refused",
    "authenticator.refused",
    "download.refused",
    "handshake.refused",
    "older-store.refused",
    "page.refused",
    "peer.refused",
    "person.assign-refused",
    "person.refused",
    "proof.refused",
    "proposal.refused",
    "recovery.refused",
    "report.refused",
    "service-account.refused",
    "sign-in.refused",
    "token.narrowed",
    "token.refused",
];

/// Who wrote the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    /// `Creta`.
    pub name: String,
    /// Who makes it.
    pub vendor: String,
    /// Version of the code.
    pub version: String,
}

/// Why something cannot be shown as an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the entry at {index} cannot be an event: {rule}; give an entry of the audit log of this version")]
pub struct OcsfError {
    /// Which entry.
    pub index: u64,
    /// What it lacks.
    pub rule: &'static str,
}

/// The version of OCSF that events follow.
pub fn version() -> &'static str {
    &Schema::of_this_build().version
}

/// The names of actions and happenings that have a class of their own; others become API activity "Other".
pub fn known_actions() -> impl Iterator<Item = &'static str> {
    ACTIONS.iter().map(|(action, ..)| *action)
}

/// The event of an entry that stands at `index` of the log. Every action has one. A refusal that names a commitment is a
/// detection finding; the outcome of a check is a compliance finding.
///
/// The event holds nothing that the entry does not hold: no feature values, no secrets. Where OCSF requires what the log
/// does not keep, such as the caller's address, the event says `not recorded`.
pub fn event(entry: &Value, index: u64, product: &Product) -> Result<Value, OcsfError> {
    let entry = Entry::read(entry).map_err(|rule| OcsfError { index, rule })?;
    let (uid, activity) = entry.class();
    let class = Schema::of_this_build().class(uid).expect("every class that is named here is in the schema");
    let refused = entry.is_refused();
    let mut event = Event { class, attributes: Map::new() };

    event.set("class_uid", uid);
    event.set("class_name", class.caption.as_str());
    event.set("category_uid", class.category_uid);
    event.set("category_name", class.category_name.as_str());
    event.number("activity_id", "activity_name", activity, entry.action);
    let activity_name = event.attributes["activity_name"].as_str().unwrap_or_default();
    event.set("type_name", format!("{}: {activity_name}", class.caption));
    event.set("type_uid", i64::try_from(uid).expect("a class has four digits") * 100 + activity);
    event.set("time", entry.time.micros().div_euclid(1000));
    event.set("timezone_offset", 0);
    event.set("message", entry.message());
    event.number("severity_id", "severity", entry.severity(), "");
    event.number("status_id", "status", entry.status(uid), "");
    if let Some(reason) = entry.text("reason") {
        event.set("status_detail", reason);
    }
    if refused || entry.text("decision").is_some() {
        let number = if refused { 2 } else { 1 };
        event.number("action_id", "action", number, "");
        event.number("disposition_id", "disposition", number, "");
    }
    event.set("metadata", entry.metadata(index, product, event.attributes.contains_key("action_id")));
    let bytes = canonical(entry.whole);
    event
        .set("raw_data_hash", json!({"algorithm_id": 3, "algorithm": "SHA-256", "value": hex::encode(sha256(&bytes))}));
    event.set("raw_data", String::from_utf8(bytes).expect("JSON is text"));
    event.set("unmapped", entry.unmapped());
    entry.describe(&mut event, product, index);
    Ok(Value::Object(event.attributes))
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    *Hash::of(&[bytes]).as_bytes()
}

struct Event<'a> {
    class: &'a Class,
    attributes: Map<String, Value>,
}

impl Event<'_> {
    /// Sets an attribute, where the class has it.
    fn set(&mut self, name: &str, value: impl Into<Value>) {
        if self.class.has(name) {
            self.attributes.insert(name.to_owned(), value.into());
        }
    }

    /// Sets a number and, beside it, the words for it: the schema's own, or `other` where it has none but "Other".
    fn number(&mut self, name: &str, beside: &str, number: i64, other: &str) {
        let caption = self.class.caption_of(name, number).unwrap_or_default();
        let text = if number == 99 { other } else { caption }.to_owned();
        self.set(name, number);
        self.set(beside, text);
    }
}

/// An entry, as far as events need it.
struct Entry<'a> {
    whole: &'a Value,
    members: &'a Map<String, Value>,
    action: &'a str,
    environment: &'a str,
    time: Time,
}

impl<'a> Entry<'a> {
    fn read(whole: &'a Value) -> Result<Self, &'static str> {
        let members = whole.as_object().ok_or("it is not a JSON object")?;
        let text = |name: &str| members.get(name).and_then(Value::as_str);
        if text("version") != Some(creta_proof::ENTRY_VERSION) {
            return Err("its version is not known to this build");
        }
        let time = text("time").and_then(Time::parse).ok_or("it has no time in UTC")?;
        let action = text("action").ok_or("it has no action")?;
        let environment = text("environment").ok_or("it has no environment")?;
        Ok(Self { whole, members, action, environment, time })
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        self.members.get(name)?.as_str()
    }

    fn detail(&self, name: &str) -> Option<&'a str> {
        self.members.get("details")?.get(name)?.as_str()
    }

    fn is_refused(&self) -> bool {
        self.text("decision") == Some("deny") || REFUSED.contains(&self.action)
    }

    /// Class and activity.
    fn class(&self) -> (u64, i64) {
        if self.is_refused() && self.text("commitment").is_some() {
            return (class::DETECTION_FINDING, 1);
        }
        let known = ACTIONS.iter().find(|(action, ..)| *action == self.action);
        known.map_or((class::API_ACTIVITY, 99), |(_, class, activity)| (*class, *activity))
    }

    fn severity(&self) -> i64 {
        match self.action {
            "audit.tail-cut-off" | "clock.set-back" | "check.fail" => 4,
            "check.unknown" => 3,
            _ if self.is_refused() && self.text("commitment").is_some() => 3,
            _ if self.is_refused() => 2,
            _ => 1,
        }
    }

    /// Findings are new, or resolved where the check passed; everything else succeeded or failed.
    fn status(&self, class: u64) -> i64 {
        match class {
            class::COMPLIANCE_FINDING if self.action == "check.pass" => 4,
            class::COMPLIANCE_FINDING | class::DETECTION_FINDING => 1,
            _ if self.is_refused() => 2,
            _ => 1,
        }
    }

    fn message(&self) -> String {
        let action = self.action;
        match (self.is_refused(), self.text("decision"), self.text("commitment")) {
            (true, _, Some(commitment)) => format!("`{action}` was refused; this keeps {commitment}"),
            (true, ..) => format!("`{action}` was refused"),
            (false, Some(_), _) => format!("`{action}` was permitted"),
            (false, None, _) => format!("`{action}` happened"),
        }
    }

    /// The tenant and environment, or the environment alone.
    fn place(&self) -> String {
        match self.text("tenant") {
            Some(tenant) => format!("{tenant}/{}", self.environment),
            None => self.environment.to_owned(),
        }
    }

    fn origin(&self) -> String {
        format!("creta/{}/audit", self.environment)
    }

    fn metadata(&self, index: u64, product: &Product, has_decision: bool) -> Value {
        let mut metadata = json!({
            "version": version(),
            "product": product_object(product),
            "uid": format!("{}#{index}", self.origin()),
            "log_name": self.origin(),
            "log_version": creta_proof::ENTRY_VERSION,
            "sequence": i64::try_from(index).unwrap_or(i64::MAX),
            "event_code": self.action,
            "original_time": self.time.to_string(),
        });
        if has_decision {
            metadata["profiles"] = json!([Schema::of_this_build().profile]);
        }
        if let Some(tenant) = self.text("tenant") {
            metadata["tenant_uid"] = tenant.into();
        }
        metadata
    }

    /// What has no attribute of its own in OCSF.
    fn unmapped(&self) -> Value {
        let mapped = ["version", "time", "action", "reason"];
        let rest = self.members.iter().filter(|(name, _)| !mapped.contains(&name.as_str()));
        Value::Object(rest.map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    fn user(&self) -> Option<Value> {
        let actor = self.members.get("actor")?;
        let id = actor.get("id")?.as_str()?;
        if let Some(home) = actor.get("home") {
            let parts = ["environment", "tenant"].map(|part| home.get(part).and_then(Value::as_str));
            let path: Vec<&str> = parts.into_iter().flatten().collect();
            return Some(json!({"name": id, "uid": format!("{}/{id}", path.join("/")), "type_id": 1, "type": "User"}));
        }
        let at = |name: &str| actor.get("scope").and_then(|scope| scope.get(name)).and_then(Value::as_str);
        Some(match (at("tenant"), at("environment")) {
            (Some(tenant), Some(environment)) => json!({
                "name": id, "uid": format!("{tenant}/{environment}/{id}"), "type_id": 4, "type": "Service",
                "org": {"name": tenant},
            }),
            _ => json!({"name": id, "uid": format!("{}/{id}", self.environment), "type_id": 2, "type": "Admin"}),
        })
    }

    /// Who acted; where nobody did, the product itself.
    fn actor(&self, product: &Product) -> Value {
        let Some(user) = self.user() else { return json!({"app_name": product.name}) };
        let policies: Vec<&str> = match self.members.get("policies").and_then(Value::as_array) {
            Some(policies) => policies.iter().filter_map(Value::as_str).collect(),
            None => Vec::new(),
        };
        let mut actor = json!({"user": user});
        if !policies.is_empty() {
            let decision = self.text("decision").unwrap_or(NOT_RECORDED);
            let of = |policy: &&str| json!({"decision": decision, "policy": {"uid": policy}});
            actor["authorizations"] = policies.iter().map(of).collect();
        }
        actor
    }

    /// The account that a change concerns, as far as the entry names it.
    fn account(&self) -> Value {
        let tenant = json!({"name": self.place()});
        match (self.detail("service-account"), self.detail("client")) {
            (Some(name), _) => json!({"name": name, "type_id": 4, "type": "Service", "account": tenant}),
            (None, Some(hash)) => json!({"uid": hash, "type_id": 4, "type": "Service", "account": tenant}),
            (None, None) => json!({"type_id": 4, "type": "Service", "account": tenant}),
        }
    }

    /// Attributes that differ from class to class.
    fn describe(&self, event: &mut Event<'_>, product: &Product, index: u64) {
        let place = self.place();
        let actor = self.actor(product);
        let source = match self.user() {
            Some(_) => json!({"name": NOT_RECORDED}),
            None => json!({"svc_name": product.name}),
        };
        let api = json!({"operation": self.action, "service": {"name": product.name}});
        event.set("actor", actor.clone());
        match event.attributes["class_uid"].as_u64().unwrap_or_default() {
            class::ACCOUNT_CHANGE => event.set("user", self.account()),
            class::AUTHENTICATION => {
                let unknown = json!({"name": NOT_RECORDED, "type_id": 0, "type": "Unknown"});
                event.set("user", self.user().unwrap_or(unknown));
                event.set("service", json!({"name": product.name}));
            }
            class::ENTITY_MANAGEMENT => {
                let name = self.detail("tenant").unwrap_or(&place);
                event.set("entity", json!({"name": name, "type": "Organization", "type_id": 4}));
            }
            class::APPLICATION_LIFECYCLE if self.action == "deploy.done" => {
                event.set("app", json!({"name": format!("definitions of {place}"), "vendor_name": place}));
            }
            class::APPLICATION_LIFECYCLE => event.set("app", product_object(product)),
            class::API_ACTIVITY => {
                event.set("api", api);
                event.set("src_endpoint", source);
                event.set("resources", json!([{"name": place, "type": "scope"}]));
            }
            class::DATASTORE_ACTIVITY => {
                event.set("databucket", json!({"name": place, "type_id": 99, "type": "Feature store"}));
                event.number("type_id", "type", 2, "");
                event.set("src_endpoint", source);
            }
            class::COMPLIANCE_FINDING => {
                event.set("finding_info", self.finding(index, "Outcome of a check"));
                event.set("compliance", self.compliance());
            }
            class::DETECTION_FINDING => {
                event.set("finding_info", self.finding(index, "Attempt refused, or sign of manipulation"));
                event.set("evidences", json!([{"actor": actor, "api": api}]));
                event.set("resources", json!([{"name": place, "type": "scope"}]));
                event.set("is_alert", self.severity() == 4);
            }
            _ => {}
        }
    }

    fn finding(&self, index: u64, title: &str) -> Value {
        let mut finding = json!({
            "uid": format!("{}#{index}", self.origin()),
            "title": title,
            "desc": self.message(),
            "created_time": self.time.micros().div_euclid(1000),
        });
        if let Some(commitment) = self.text("commitment") {
            finding["types"] = json!([commitment]);
        }
        finding
    }

    fn compliance(&self) -> Value {
        let commitments: Vec<&str> = match (self.detail("commitments"), self.text("commitment")) {
            (Some(joined), _) => joined.split('+').collect(),
            (None, Some(one)) => vec![one],
            (None, None) => Vec::new(),
        };
        let (number, word) = match self.action {
            "check.pass" => (1, "Pass"),
            "check.fail" => (3, "Fail"),
            _ => (0, "Unknown"),
        };
        let mut compliance = json!({
            "requirements": commitments,
            "standards": ["Creta commitments"],
            "status_id": number,
            "status": word,
        });
        if let Some(check) = self.detail("check") {
            compliance["control"] = check.into();
            compliance["checks"] = json!([{"uid": check, "status_id": number, "status": word}]);
        }
        compliance
    }
}

fn product_object(product: &Product) -> Value {
    json!({"name": product.name, "vendor_name": product.vendor, "version": product.version})
}
