//! The users and groups that the organisation's directory told us about.

use std::collections::{BTreeMap, BTreeSet};

use creta_model::Instant;
use scim_v2::filter::{AttrPath, PatchPath};
use scim_v2::schema_urns;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Answer, Event, Kind, ScimError, filter, patch, schema};

/// Most resources of one answer.
pub const PAGE_MAX: usize = 200;
/// Most users and groups together.
pub const RESOURCES_MAX: usize = 200_000;
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Users and groups. Kept by the server, sealed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Directory {
    by_id: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    kind: Kind,
    attributes: Map<String, Value>,
    created: Instant,
    modified: Instant,
    /// Grows with each change.
    version: u64,
}

/// What a list is asked for: the parameters of the address, or the message of `/.search`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Query {
    /// RFC 7644 §3.4.2.2.
    pub filter: Option<String>,
    /// An attribute.
    pub sort_by: Option<String>,
    /// `ascending`, if it is not `descending`.
    pub sort_order: Option<String>,
    /// Counted from 1.
    pub start_index: Option<i64>,
    /// At most [`PAGE_MAX`].
    pub count: Option<i64>,
    /// Names separated by commas: send only these.
    pub attributes: Option<String>,
    /// Names separated by commas: leave these out.
    pub excluded_attributes: Option<String>,
}

impl Entry {
    fn is_active(&self) -> bool {
        self.kind == Kind::User && self.attributes.get("active") == Some(&Value::Bool(true))
    }

    fn etag(&self) -> String {
        format!("W/\"{}\"", self.version)
    }

    fn name(&self) -> &Value {
        let name = if self.kind == Kind::User { "userName" } else { "displayName" };
        self.attributes.get("displayName").or_else(|| self.attributes.get(name)).unwrap_or(&Value::Null)
    }

    fn members(&self) -> impl Iterator<Item = &str> {
        let members = self.attributes.get("members").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        members.iter().filter_map(|member| member["value"].as_str())
    }
}

impl Directory {
    /// `POST`. `random` becomes the id; `base` is our address without a slash at its end.
    pub fn create(
        &mut self,
        kind: Kind,
        body: &[u8],
        random: [u8; 16],
        base: &str,
        now: Instant,
    ) -> Result<Answer, ScimError> {
        let id = hex::encode(random);
        let mut attributes = schema::read(kind, &parse(body)?)?;
        if kind == Kind::User {
            attributes.entry("active").or_insert(Value::Bool(true));
        }
        self.check(kind, &id, &attributes)?;
        if self.by_id.len() >= RESOURCES_MAX || self.by_id.contains_key(&id) {
            return Err(ScimError::new(507, None, "there are too many users and groups"));
        }
        let entry = Entry { kind, attributes, created: now, modified: now, version: 1 };
        let events = match kind {
            Kind::User if entry.is_active() => vec![Event::Joined { user: id.clone() }],
            Kind::User => Vec::new(),
            Kind::Group => vec![Event::GroupChanged { group: id.clone() }],
        };
        self.by_id.insert(id.clone(), entry);
        Ok(Answer { status: 201, events, ..self.answer(&id, base) })
    }

    /// `GET` of one. `if_none_match` is the header of that name.
    pub fn get(
        &self,
        kind: Kind,
        id: &str,
        if_none_match: Option<&str>,
        query: &Query,
        base: &str,
    ) -> Result<Answer, ScimError> {
        let entry = self.entry(kind, id)?;
        if if_none_match.is_some_and(|tags| names(tags, &entry.etag())) {
            return Ok(Answer { status: 304, body: None, ..self.answer(id, base) });
        }
        let answer = self.answer(id, base);
        let body = answer.body.map(|resource| query.project(kind, resource)).transpose()?;
        Ok(Answer { body, ..answer })
    }

    /// `PUT`. What the body does not say is gone, `active` apart: leaving it out neither ends nor returns anybody.
    pub fn replace(
        &mut self,
        kind: Kind,
        id: &str,
        if_match: Option<&str>,
        body: &[u8],
        base: &str,
        now: Instant,
    ) -> Result<Answer, ScimError> {
        let entry = self.matched(kind, id, if_match)?;
        let mut attributes = schema::read(kind, &parse(body)?)?;
        if let (Kind::User, Some(active)) = (kind, entry.attributes.get("active")) {
            attributes.entry("active").or_insert(active.clone());
        }
        self.store(id, attributes, base, now)
    }

    /// `PATCH`.
    pub fn patch(
        &mut self,
        kind: Kind,
        id: &str,
        if_match: Option<&str>,
        body: &[u8],
        base: &str,
        now: Instant,
    ) -> Result<Answer, ScimError> {
        let mut attributes = self.matched(kind, id, if_match)?.attributes.clone();
        // `active` may be removed: somebody of whom nobody says that they are here is not.
        patch::apply(kind, &mut attributes, &parse(body)?)?;
        self.store(id, attributes, base, now)
    }

    /// `DELETE`. Who is deleted leaves all groups.
    pub fn delete(&mut self, kind: Kind, id: &str, if_match: Option<&str>, now: Instant) -> Result<Answer, ScimError> {
        self.matched(kind, id, if_match)?;
        self.by_id.remove(id);
        let mut events = vec![match kind {
            Kind::User => Event::Left { user: id.to_owned() },
            Kind::Group => Event::GroupChanged { group: id.to_owned() },
        }];
        for (group, entry) in &mut self.by_id {
            if entry.members().any(|member| member == id) {
                let members = entry.attributes.remove("members").unwrap_or_default();
                let mut members = members.as_array().cloned().unwrap_or_default();
                members.retain(|member| member["value"] != id);
                if !members.is_empty() {
                    entry.attributes.insert("members".to_owned(), Value::Array(members));
                }
                entry.version += 1;
                entry.modified = now;
                events.push(Event::GroupChanged { group: group.clone() });
            }
        }
        Ok(Answer { status: 204, body: None, etag: None, location: None, events })
    }

    /// `GET` of many, or `POST` of `/.search`, of one kind or of several. O(all of these kinds).
    pub fn list(&self, kinds: &[Kind], query: &Query, base: &str) -> Result<Answer, ScimError> {
        let wanted = query.filter.as_deref().map(filter::parse).transpose()?;
        let groups = self.groups_by_member();
        let groups_of = |id: &String| groups.get(id.as_str()).map(Vec::as_slice).unwrap_or_default();
        let of_kinds = self.by_id.iter().filter(|(_, entry)| kinds.contains(&entry.kind));
        let resources = of_kinds.map(|(id, entry)| (entry.kind, self.render(id, entry, groups_of(id), base)));
        let mut found: Vec<(Kind, Value)> = resources
            .filter(|(kind, resource)| wanted.as_ref().is_none_or(|filter| filter::matches(*kind, filter, resource)))
            .collect();
        if let Some(by) = &query.sort_by {
            let path = sort_path(by)?;
            found.sort_by_cached_key(|(kind, resource)| {
                let key = filter::sort_key(*kind, &path, resource);
                (key.is_none(), key)
            });
            if query.sort_order.as_deref() == Some("descending") {
                found.reverse();
            }
        }
        let total = found.len();
        let start = usize::try_from(query.start_index.unwrap_or(1).max(1)).unwrap_or(usize::MAX);
        let count = query.count.map_or(PAGE_MAX, |count| usize::try_from(count.max(0)).unwrap_or(PAGE_MAX));
        let page = found.into_iter().skip(start - 1).take(count.min(PAGE_MAX));
        let page = page.map(|(kind, resource)| query.project(kind, resource)).collect::<Result<Vec<_>, _>>()?;
        let body = json!({
            "schemas": [schema_urns::LIST_RESPONSE],
            "totalResults": total,
            "startIndex": start,
            "itemsPerPage": page.len(),
            "Resources": page,
        });
        Ok(Answer { status: 200, body: Some(body), etag: None, location: None, events: Vec::new() })
    }

    /// Whether a user is here.
    pub fn is_active(&self, user: &str) -> bool {
        self.by_id.get(user).is_some_and(Entry::is_active)
    }

    /// Names of all groups that a user belongs to, also through other groups. Circles end.
    pub fn groups_of(&self, user: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut open = vec![user.to_owned()];
        let mut seen = BTreeSet::from([user.to_owned()]);
        while let Some(member) = open.pop() {
            for (id, entry) in &self.by_id {
                if entry.kind == Kind::Group && entry.members().any(|m| m == member) && seen.insert(id.clone()) {
                    found.extend(entry.attributes.get("displayName").and_then(Value::as_str).map(str::to_owned));
                    open.push(id.clone());
                }
            }
        }
        found
    }

    /// Ids of the groups that name a user themselves.
    pub fn groups_naming(&self, user: &str) -> Vec<String> {
        self.groups_with(user).map(|(id, _)| id.clone()).collect()
    }

    /// The directory's own id of a user: no two have one, active or not.
    pub fn external_id(&self, user: &str) -> Option<&str> {
        self.text_of(user, "externalId")
    }

    /// What a user signs in with at their provider.
    pub fn user_name(&self, user: &str) -> Option<&str> {
        self.text_of(user, "userName")
    }

    /// Whom to write to: the primary address, else the first.
    pub fn email(&self, user: &str) -> Option<&str> {
        let emails = self.by_id.get(user)?.attributes.get("emails")?.as_array()?;
        let primary = emails.iter().find(|email| email["primary"] == Value::Bool(true));
        primary.or_else(|| emails.first())?["value"].as_str()
    }

    /// Users that are here.
    pub fn active_users(&self) -> impl Iterator<Item = &str> {
        self.by_id.iter().filter(|(_, entry)| entry.is_active()).map(|(id, _)| id.as_str())
    }

    /// Whether nobody told us about anybody.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Users of the group that is called exactly so, also through other groups. Circles end. O(members on the way).
    pub fn members_of(&self, name: &str) -> BTreeSet<String> {
        let called = |entry: &Entry| entry.attributes.get("displayName").and_then(Value::as_str) == Some(name);
        let group = self.by_id.iter().find(|(_, entry)| entry.kind == Kind::Group && called(entry));
        let mut open: Vec<&str> = group.map(|(id, _)| id.as_str()).into_iter().collect();
        let (mut seen, mut users) = (BTreeSet::new(), BTreeSet::new());
        while let Some(id) = open.pop() {
            match self.by_id.get(id).filter(|_| seen.insert(id)) {
                Some(entry) if entry.kind == Kind::User => {
                    users.insert(id.to_owned());
                }
                Some(entry) => open.extend(entry.members()),
                None => {}
            }
        }
        users
    }

    /// The groups through which a user is in the group that is called exactly so: ids and names, from that group inwards, the
    /// shortest way. `None` for who is not in it.
    pub fn path_to(&self, name: &str, user: &str) -> Option<Vec<(String, String)>> {
        let called = |entry: &Entry| entry.attributes.get("displayName").and_then(Value::as_str) == Some(name);
        let (first, _) = self.by_id.iter().find(|(_, entry)| entry.kind == Kind::Group && called(entry))?;
        let mut ways = std::collections::VecDeque::from([vec![first.as_str()]]);
        let mut seen = BTreeSet::new();
        while let Some(way) = ways.pop_front() {
            let id = *way.last().expect("a way has a beginning");
            let Some(entry) = self.by_id.get(id).filter(|entry| entry.kind == Kind::Group && seen.insert(id)) else {
                continue;
            };
            if entry.members().any(|member| member == user) {
                let named = |id: &&str| {
                    let name = self.by_id.get(*id).and_then(|entry| entry.attributes.get("displayName")?.as_str());
                    ((*id).to_owned(), name.unwrap_or_default().to_owned())
                };
                return Some(way.iter().map(named).collect());
            }
            ways.extend(entry.members().map(|member| [way.clone(), vec![member]].concat()));
        }
        None
    }

    /// One user or group as a document of its own, so that a change need not write all of them.
    pub fn document(&self, id: &str) -> Option<Value> {
        let entry = self.by_id.get(id)?;
        Some(serde_json::to_value(entry).expect("texts have a JSON form"))
    }

    /// Puts a document back. False for one that this version did not write.
    pub fn restore(&mut self, id: &str, document: Value) -> bool {
        let entry = serde_json::from_value::<Entry>(document).ok();
        entry.map(|entry| self.by_id.insert(id.to_owned(), entry)).is_some()
    }

    fn text_of(&self, user: &str, attribute: &str) -> Option<&str> {
        let entry = self.by_id.get(user).filter(|entry| entry.kind == Kind::User)?;
        entry.attributes.get(attribute)?.as_str().filter(|text| !text.trim().is_empty())
    }

    fn entry(&self, kind: Kind, id: &str) -> Result<&Entry, ScimError> {
        let entry = self.by_id.get(id).filter(|entry| entry.kind == kind);
        entry.ok_or_else(|| ScimError::new(404, None, "there is no such resource"))
    }

    fn matched(&self, kind: Kind, id: &str, if_match: Option<&str>) -> Result<&Entry, ScimError> {
        let entry = self.entry(kind, id)?;
        if if_match.is_none_or(|tags| names(tags, &entry.etag())) {
            Ok(entry)
        } else {
            Err(ScimError::new(412, None, "the resource was changed meanwhile; read it again"))
        }
    }

    /// What no change may break: required values, unique names, members that exist.
    fn check(&self, kind: Kind, id: &str, attributes: &Map<String, Value>) -> Result<(), ScimError> {
        schema::require(kind, attributes)?;
        let folded = |attributes: &Map<String, Value>, name: &str| {
            attributes.get(name).and_then(Value::as_str).map(str::to_lowercase)
        };
        for attribute in schema::attributes(kind).iter().filter(|attribute| attribute.unique) {
            let mine = folded(attributes, attribute.name);
            let taken = |(other, entry): (&String, &Entry)| {
                other != id && entry.kind == kind && folded(&entry.attributes, attribute.name) == mine
            };
            if self.by_id.iter().any(taken) {
                let detail = format!("another resource has this `{}`", attribute.name);
                return Err(ScimError::new(409, Some("uniqueness"), detail));
            }
        }
        // By it a person is known: of two users with one id, ending one would leave the other standing.
        let external = attributes.get("externalId").filter(|_| kind == Kind::User);
        let taken = |(other, entry): (&String, &Entry)| {
            other != id && entry.kind == kind && entry.attributes.get("externalId") == external
        };
        if external.is_some() && self.by_id.iter().any(taken) {
            return Err(ScimError::new(409, Some("uniqueness"), "another user has this `externalId`"));
        }
        let members = attributes.get("members").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let mut seen = BTreeSet::new();
        for member in members.iter().filter_map(|member| member["value"].as_str()) {
            if member == id || !self.by_id.contains_key(member) || !seen.insert(member) {
                return Err(ScimError::value(
                    "`members` names the group itself, somebody twice, or nobody that we know",
                ));
            }
        }
        Ok(())
    }

    fn store(
        &mut self,
        id: &str,
        attributes: Map<String, Value>,
        base: &str,
        now: Instant,
    ) -> Result<Answer, ScimError> {
        let kind = self.by_id[id].kind;
        self.check(kind, id, &attributes)?;
        let entry = self.by_id.get_mut(id).expect("the caller looked it up");
        let (was_active, members) = (entry.is_active(), entry.attributes.get("members").cloned());
        let renamed = entry.attributes.get("displayName") != attributes.get("displayName");
        if entry.attributes != attributes {
            entry.attributes = attributes;
            entry.version += 1;
            entry.modified = now;
        }
        let events = match (kind, was_active, entry.is_active()) {
            (Kind::User, true, false) => vec![Event::Left { user: id.to_owned() }],
            (Kind::User, false, true) => vec![Event::Joined { user: id.to_owned() }],
            (Kind::User, ..) => Vec::new(),
            (Kind::Group, ..) if renamed || members.as_ref() != entry.attributes.get("members") => {
                vec![Event::GroupChanged { group: id.to_owned() }]
            }
            (Kind::Group, ..) => Vec::new(),
        };
        Ok(Answer { events, ..self.answer(id, base) })
    }

    fn answer(&self, id: &str, base: &str) -> Answer {
        let entry = &self.by_id[id];
        let groups: Vec<&str> = self.groups_with(id).map(|(id, _)| id.as_str()).collect();
        Answer {
            status: 200,
            body: Some(self.render(id, entry, &groups, base)),
            etag: Some(entry.etag()),
            location: Some(location(base, entry.kind, id)),
            events: Vec::new(),
        }
    }

    fn groups_with<'a>(&'a self, member: &'a str) -> impl Iterator<Item = (&'a String, &'a Entry)> {
        self.by_id.iter().filter(move |(_, entry)| entry.members().any(|id| id == member))
    }

    /// For lists, where asking each group about each user would take the product of both.
    fn groups_by_member(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (id, entry) in &self.by_id {
            entry.members().for_each(|member| groups.entry(member).or_default().push(id));
        }
        groups
    }

    /// A resource as it is sent. `groups` are the ids of those that it belongs to.
    fn render(&self, id: &str, entry: &Entry, groups: &[&str], base: &str) -> Value {
        let mut resource = Value::Object(entry.attributes.clone());
        resource["schemas"] = json!([entry.kind.urn()]);
        resource["id"] = json!(id);
        resource["meta"] = json!({
            "resourceType": entry.kind.name(),
            "created": entry.created,
            "lastModified": entry.modified,
            "version": entry.etag(),
            "location": location(base, entry.kind, id),
        });
        let reference = |(id, entry): (&String, &Entry)| json!({"value": id, "$ref": location(base, entry.kind, id), "display": entry.name(), "type": entry.kind.name()});
        match entry.kind {
            Kind::User => {
                let mine = groups.iter().filter_map(|group| self.by_id.get_key_value(*group));
                // A user's groups have no type in RFC 7643 §4.1.2 but `direct` or `indirect`; ours are direct.
                let groups: Vec<Value> = mine.map(reference).map(|group| without(group, "type")).collect();
                if !groups.is_empty() {
                    resource["groups"] = Value::Array(groups);
                }
            }
            Kind::Group => {
                let members = entry.members().filter_map(|id| self.by_id.get_key_value(id)).map(reference);
                let members: Vec<Value> = members.map(|member| without(member, "display")).collect();
                if !members.is_empty() {
                    resource["members"] = Value::Array(members);
                }
            }
        }
        resource
    }
}

impl Query {
    /// Reads the message of `/.search` (RFC 7644 §3.4.3), which says in lists what an address says with commas.
    pub fn from_message(body: &[u8]) -> Result<Self, ScimError> {
        const MESSAGE: &str = "urn:ietf:params:scim:api:messages:2.0:SearchRequest";
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Message {
            schemas: Vec<String>,
            #[serde(default)]
            attributes: Option<Vec<String>>,
            #[serde(default)]
            excluded_attributes: Option<Vec<String>>,
        }
        let body = parse(body)?;
        let wrong = |_| ScimError::syntax("the body is not the message of a search");
        let message = Message::deserialize(&body).map_err(wrong)?;
        if !message.schemas.iter().any(|urn| urn == MESSAGE) {
            return Err(ScimError::syntax("`schemas` does not name the message of a search"));
        }
        let Value::Object(mut rest) = body else { return Err(ScimError::syntax("the body is no JSON object")) };
        rest.retain(|name, _| !["schemas", "attributes", "excludedAttributes"].contains(&name.as_str()));
        let query = Self::deserialize(Value::Object(rest)).map_err(wrong)?;
        let joined = |names: Option<Vec<String>>| names.map(|names| names.join(","));
        let (attributes, excluded_attributes) = (joined(message.attributes), joined(message.excluded_attributes));
        Ok(Self { attributes, excluded_attributes, ..query })
    }

    /// The resource with what was asked for (RFC 7644 §3.9). `id`, `schemas` and `meta` always stay.
    fn project(&self, kind: Kind, resource: Value) -> Result<Value, ScimError> {
        let listed = |text: &Option<String>| -> Result<Option<Vec<AttrPath>>, ScimError> {
            let names = text.as_deref().map(|text| text.split(',').map(str::trim).filter(|name| !name.is_empty()));
            names.map(|names| names.map(sort_path).collect()).transpose()
        };
        let (only, without) = (listed(&self.attributes)?, listed(&self.excluded_attributes)?);
        if only.is_some() && without.is_some() {
            return Err(ScimError::value("`attributes` and `excludedAttributes` exclude one another"));
        }
        let Value::Object(members) = resource else {
            return Ok(resource);
        };
        let mut kept = Map::new();
        for (name, value) in members {
            let named = |paths: &[AttrPath]| -> Vec<Option<String>> {
                let paths = paths.iter().filter(|path| path.name.eq_ignore_ascii_case(&name));
                paths.map(|path| path.sub_attr.clone()).collect()
            };
            let always = matches!(name.as_str(), "id" | "schemas" | "meta");
            let value = match (&only, &without) {
                _ if always => Some(value),
                (Some(only), _) => {
                    let subs = named(only);
                    if subs.contains(&None) { Some(value) } else { parts(kind, &name, value, &subs, true) }
                }
                (_, Some(without)) => {
                    let subs = named(without);
                    if subs.contains(&None) { None } else { parts(kind, &name, value, &subs, false) }
                }
                (None, None) => Some(value),
            };
            kept.extend(value.map(|value| (name, value)));
        }
        Ok(Value::Object(kept))
    }
}

/// A complex value with only the parts named, or without them.
fn parts(kind: Kind, name: &str, mut value: Value, subs: &[Option<String>], only: bool) -> Option<Value> {
    let attribute = schema::find(kind, name)?;
    if subs.is_empty() {
        return (!only).then_some(value);
    }
    let names: Vec<&str> = subs.iter().flatten().filter_map(|sub| attribute.sub(sub)).map(|sub| sub.name).collect();
    let retain = |value: &mut Value| {
        if let Some(members) = value.as_object_mut() {
            members.retain(|name, _| names.contains(&name.as_str()) == only);
        }
    };
    match &mut value {
        Value::Array(values) => values.iter_mut().for_each(retain),
        one => retain(one),
    }
    Some(value)
}

fn without(mut value: Value, member: &str) -> Value {
    value.as_object_mut().and_then(|members| members.remove(member));
    value
}

fn location(base: &str, kind: Kind, id: &str) -> String {
    format!("{base}/{}/{id}", kind.endpoint())
}

/// Whether a header lists a tag; weak and strong ones are the same here (RFC 9110 §8.8.3.2).
fn names(header: &str, etag: &str) -> bool {
    let plain = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    header.split(',').any(|tag| tag.trim() == "*" || plain(tag) == plain(etag))
}

fn sort_path(text: &str) -> Result<AttrPath, ScimError> {
    match text.parse() {
        Ok(PatchPath::Attr(path)) => Ok(path),
        _ => Err(ScimError::value("an attribute's name cannot be read")),
    }
}

fn parse(body: &[u8]) -> Result<Value, ScimError> {
    if body.len() > BODY_BYTES_MAX {
        return Err(ScimError::new(413, None, "the body is larger than 4 MiB"));
    }
    serde_json::from_slice(body).map_err(|_| ScimError::syntax("the body is not JSON"))
}
