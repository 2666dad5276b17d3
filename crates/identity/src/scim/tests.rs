//! Requests of a directory, as the ones in use send them.

use creta_model::{Instant, Span};

use super::*;

const BASE: &str = "https://creta.bank.example/scim/v2";

fn now() -> Instant {
    Instant::parse("2026-01-01T12:00:00Z").expect("valid")
}

fn later(seconds: u32) -> Instant {
    now().plus(Span::seconds(seconds))
}

fn bytes(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).expect("JSON")
}

fn user(name: &str) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"],
        "userName": name, "externalId": format!("ext-{name}"), "name": {"givenName": "Ana", "familyName": "Lima"},
        "emails": [{"value": format!("{name}@bank.example"), "type": "work", "primary": true}],
        "active": true, "password": "t0p secret", "nickName": "A", "id": "mine", "groups": [{"value": "admins"}],
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {"department": "risk"},
    })
}

fn group(name: &str, members: &[&str]) -> Value {
    let members: Vec<Value> = members.iter().map(|id| json!({"value": id, "display": "forged"})).collect();
    json!({"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": name, "members": members})
}

fn create(directory: &mut Directory, kind: Kind, body: &Value, seed: u8) -> Result<Answer, ScimError> {
    directory.create(kind, &bytes(body), [seed; 16], BASE, now())
}

/// Ana (id of ones), Bob (twos), and the group `ops` (nines) with Ana.
fn directory() -> (Directory, String, String, String) {
    let mut directory = Directory::default();
    let id = |answer: Answer| answer.body.expect("a body")["id"].as_str().expect("text").to_owned();
    let ana = id(create(&mut directory, Kind::User, &user("ana"), 1).expect("created"));
    let bob = id(create(&mut directory, Kind::User, &user("bob"), 2).expect("created"));
    let ops = id(create(&mut directory, Kind::Group, &group("ops", &[&ana]), 9).expect("created"));
    (directory, ana, bob, ops)
}

fn patched(directory: &mut Directory, kind: Kind, id: &str, operations: Value) -> Result<Answer, ScimError> {
    let body = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations});
    directory.patch(kind, id, None, &bytes(&body), BASE, later(5))
}

fn patch_user(operations: Value) -> Result<Value, ScimError> {
    let (mut directory, ana, ..) = directory();
    patched(&mut directory, Kind::User, &ana, operations).map(|answer| answer.body.expect("a body"))
}

fn got(directory: &Directory, kind: Kind, id: &str) -> Value {
    directory.get(kind, id, None, &Query::default(), BASE).expect("there").body.expect("a body")
}

fn listed(kind: Kind, filter: &str) -> Vec<String> {
    let (directory, ..) = directory();
    let query = Query { filter: Some(filter.to_owned()), ..Query::default() };
    let body = directory.list(&[kind], &query, BASE).expect("a filter").body.expect("a body");
    let resources = body["Resources"].as_array().expect("a list").clone();
    assert_eq!(body["totalResults"], resources.len());
    let name = if kind == Kind::User { "userName" } else { "displayName" };
    resources.iter().map(|resource| resource[name].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn a_user_is_created_read_and_described() {
    let mut directory = Directory::default();
    let answer = create(&mut directory, Kind::User, &user("ana"), 1).expect("created");
    let id = "01".repeat(16);
    assert_eq!((answer.status, answer.etag.as_deref()), (201, Some("W/\"1\"")));
    assert_eq!(answer.location, Some(format!("{BASE}/Users/{id}")));
    assert_eq!(answer.events, [Event::Joined { user: id.clone() }]);
    let body = answer.body.expect("a body");
    let expected = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "id": id, "userName": "ana", "externalId": "ext-ana",
        "name": {"givenName": "Ana", "familyName": "Lima"}, "active": true,
        "emails": [{"value": "ana@bank.example", "type": "work", "primary": true}],
        "meta": {
            "resourceType": "User", "created": "2026-01-01T12:00:00Z", "lastModified": "2026-01-01T12:00:00Z",
            "version": "W/\"1\"", "location": format!("{BASE}/Users/{id}"),
        },
    });
    assert_eq!(body, expected, "what is not needed is not kept: no password, no nickname, no department");
    // The library's own reader takes what we send.
    let read: scim_v2::models::user::User = serde_json::from_value(body).expect("a user of RFC 7643");
    assert_eq!(read.user_name, "ana");
    let text = serde_json::to_string(&directory).expect("JSON");
    assert_eq!(serde_json::from_str::<Directory>(&text).expect("own JSON"), directory);
}

#[test]
fn names_are_unique_and_required() {
    let (mut directory, ..) = directory();
    let refused = create(&mut directory, Kind::User, &user("ANA"), 3).expect_err("taken");
    assert_eq!((refused.status, refused.keyword), (409, Some("uniqueness")));
    assert_eq!(refused.body()["schemas"][0], "urn:ietf:params:scim:api:messages:2.0:Error");
    assert_eq!(
        (refused.body()["status"].clone(), refused.body()["scimType"].clone()),
        (json!("409"), json!("uniqueness"))
    );
    assert_eq!(create(&mut directory, Kind::Group, &group("OPS", &[]), 3).expect_err("taken").status, 409);
    for (name, value) in [
        ("userName", Value::Null),
        ("userName", json!(" ")),
        ("userName", json!(7)),
        ("userName", json!("a\u{0}b")),
        ("userName", json!("x".repeat(1_025))),
        ("schemas", json!([])),
        ("schemas", json!(["urn:ietf:params:scim:schemas:core:2.0:Group"])),
        ("active", json!("perhaps")),
        ("name", json!("Ana")),
        ("emails", json!([{"value": "a", "primary": true}, {"value": "b", "primary": true}])),
        ("USERNAME", json!("twice")),
    ] {
        let mut body = user("carol");
        body[name] = value.clone();
        let refused = create(&mut directory, Kind::User, &body, 3).expect_err("refused");
        assert_eq!(refused.status, 400, "{name} {value}");
    }
    let unreadable = directory.create(Kind::User, b"{", [3; 16], BASE, now()).expect_err("refused");
    assert_eq!((unreadable.status, unreadable.keyword), (400, Some("invalidSyntax")));
    let large = directory.create(Kind::User, &vec![b' '; 5 << 20], [3; 16], BASE, now()).expect_err("refused");
    assert_eq!(large.status, 413);
}

#[test]
fn attack_ch33_who_is_inactive_or_deleted_has_left_however_it_is_said() {
    let left = |id: &str| vec![Event::Left { user: id.to_owned() }];
    for operations in [
        json!([{"op": "replace", "path": "active", "value": false}]),
        json!([{"op": "Replace", "path": "active", "value": "False"}]),
        json!([{"op": "replace", "value": {"active": false}}]),
        json!([{"op": "add", "value": {"Active": false}}]),
        json!([{"op": "remove", "path": "active"}]),
        json!([{"op": "replace", "path": "urn:ietf:params:scim:schemas:core:2.0:User:active", "value": false}]),
        json!([{"op": "replace", "path": "department", "value": "x"}, {"op": "replace", "path": "active", "value": false}]),
        json!([{"op": "replace", "path": "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager", "value": "x"},
            {"op": "replace", "value": {"active": false, "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {}}}]),
    ] {
        let (mut directory, ana, ..) = directory();
        let answer = patched(&mut directory, Kind::User, &ana, operations.clone()).expect("patched");
        assert_eq!((answer.events, directory.is_active(&ana)), (left(&ana), false), "{operations}");
        let again =
            patched(&mut directory, Kind::User, &ana, json!([{"op": "replace", "path": "active", "value": true}]));
        assert_eq!(again.expect("patched").events, [Event::Joined { user: ana.clone() }]);
    }
    let (mut directory, ana, bob, ops) = directory();
    let mut body = user("ana");
    body["active"] = json!(false);
    let replaced = directory.replace(Kind::User, &ana, None, &bytes(&body), BASE, later(1)).expect("replaced");
    assert_eq!(replaced.events, left(&ana));
    // A body that does not say it brings nobody back.
    body.as_object_mut().expect("an object").remove("active");
    let silent = directory.replace(Kind::User, &ana, None, &bytes(&body), BASE, later(2)).expect("replaced");
    assert_eq!((silent.events, directory.is_active(&ana)), (vec![], false));
    let deleted = directory.delete(Kind::User, &ana, None, later(3)).expect("deleted");
    assert_eq!((deleted.status, deleted.body), (204, None));
    assert_eq!(deleted.events, [left(&ana), vec![Event::GroupChanged { group: ops.clone() }]].concat());
    assert_eq!(got(&directory, Kind::Group, &ops).get("members"), None);
    assert!(!directory.is_active(&ana) && directory.is_active(&bob));
    assert_eq!(directory.delete(Kind::User, &ana, None, later(3)).expect_err("gone").status, 404);
    // Created inactive: never here.
    let mut inactive = user("eve");
    inactive["active"] = json!(false);
    let answer = create(&mut directory, Kind::User, &inactive, 5).expect("created");
    assert_eq!(answer.events, []);
}

#[test]
fn attack_ch33_no_two_users_have_one_id_of_the_directory() {
    let (mut directory, ana, bob, _) = directory();
    assert_eq!(directory.external_id(&ana), Some("ext-ana"));
    let mut twin = user("twin");
    twin["externalId"] = json!("ext-ana");
    let refused = create(&mut directory, Kind::User, &twin, 6).expect_err("ana has it");
    assert_eq!((refused.status, refused.keyword), (409, Some("uniqueness")));
    let take = json!([{"op": "replace", "path": "externalId", "value": "ext-ana"}]);
    assert_eq!(patched(&mut directory, Kind::User, &bob, take).expect_err("ana has it").status, 409);
    // Whoever left has it still, so that nobody comes back through another; whoever was deleted has not.
    patched(&mut directory, Kind::User, &ana, json!([{"op": "replace", "path": "active", "value": false}]))
        .expect("patched");
    assert_eq!(create(&mut directory, Kind::User, &twin, 6).expect_err("ana has it").status, 409);
    directory.delete(Kind::User, &ana, None, later(3)).expect("deleted");
    create(&mut directory, Kind::User, &twin, 6).expect("free");
    assert_eq!(
        patched(&mut directory, Kind::User, &bob, json!([{"op": "replace", "path": "title", "value": "x"}])).err(),
        None
    );
}

#[test]
fn patches_of_one_value_and_of_many() {
    let name = |operations| patch_user(operations).expect("patched")["name"].clone();
    assert_eq!(
        name(json!([{"op": "replace", "path": "name.familyName", "value": "Reis"}])),
        json!({"givenName": "Ana", "familyName": "Reis"})
    );
    assert_eq!(name(json!([{"op": "replace", "value": {"name.familyName": "Reis"}}]))["familyName"], "Reis");
    assert_eq!(name(json!([{"op": "add", "path": "name", "value": {"formatted": "A. Lima"}}]))["givenName"], "Ana");
    assert_eq!(name(json!([{"op": "remove", "path": "name.givenName"}])), json!({"familyName": "Lima"}));
    assert_eq!(name(json!([{"op": "remove", "path": "name"}])), Value::Null);
    let emails = |operations| patch_user(operations).expect("patched")["emails"].clone();
    let work = json!({"value": "ana@bank.example", "type": "work", "primary": true});
    let home = json!({"value": "a@home.example", "type": "home"});
    assert_eq!(emails(json!([{"op": "add", "path": "emails", "value": [home]}])), json!([work, home]));
    assert_eq!(emails(json!([{"op": "add", "path": "emails", "value": work}])), json!([work]), "once");
    assert_eq!(emails(json!([{"op": "replace", "path": "emails", "value": [home]}])), json!([home]));
    assert_eq!(emails(json!([{"op": "remove", "path": "emails[type eq \"work\"]"}])), Value::Null);
    assert_eq!(emails(json!([{"op": "remove", "path": "emails[type eq \"home\"]"}])), json!([work]));
    let at_work = json!([{"op": "replace", "path": "emails[type eq \"work\"].value", "value": "b@bank.example"}]);
    assert_eq!(emails(at_work)[0]["value"], "b@bank.example");
    let new = json!([{"op": "add", "path": "emails[type eq \"home\"].value", "value": "a@home.example"}]);
    assert_eq!(emails(new), json!([work, home]), "what is not there yet is made from the filter");
    let primary = json!([{"op": "add", "path": "emails", "value": {"value": "x", "primary": true}}]);
    let primary: Vec<Value> =
        emails(primary).as_array().expect("a list").iter().map(|email| email["primary"].clone()).collect();
    assert_eq!(primary, [json!(false), json!(true)]);
    let whole = json!([{"op": "replace", "path": "emails[type eq \"work\"]", "value": {"VALUE": "x", "secret": "y"}}]);
    assert_eq!(emails(whole), json!([{"value": "x"}]), "what we do not keep is not kept");
    assert_eq!(emails(json!([{"op": "remove", "path": "emails.primary"}]))[0].get("primary"), None);
}

#[test]
fn patches_that_cannot_be_are_refused_and_change_nothing() {
    for (operations, keyword) in [
        (json!([{"op": "replace", "path": "userName", "value": ""}]), "invalidValue"),
        (json!([{"op": "remove", "path": "userName"}]), "invalidValue"),
        (json!([{"op": "replace", "path": "userName", "value": "BOB"}]), "uniqueness"),
        (json!([{"op": "replace", "path": "id", "value": "x"}]), "mutability"),
        (json!([{"op": "add", "path": "groups", "value": [{"value": "x"}]}]), "mutability"),
        (json!([{"op": "replace", "path": "meta.version", "value": "x"}]), "mutability"),
        (json!([{"op": "replace", "path": "emails[type eq \"home\"].value", "value": "x"}]), "noTarget"),
        (json!([{"op": "remove"}]), "noTarget"),
        (json!([{"op": "replace", "path": "emails[type eq", "value": "x"}]), "invalidPath"),
        (json!([{"op": "replace", "path": 7, "value": "x"}]), "invalidPath"),
        (json!([{"op": "replace", "path": "name[type eq \"x\"].givenName", "value": "x"}]), "invalidPath"),
        (json!([{"op": "replace", "path": "active", "value": 1}]), "invalidValue"),
        (json!([{"op": "replace", "value": true}]), "invalidValue"),
        (json!([{"op": "move", "path": "active"}]), "invalidSyntax"),
        (json!([]), "invalidSyntax"),
    ] {
        let (mut directory, ana, ..) = directory();
        let before = directory.clone();
        let mut both = vec![json!({"op": "replace", "path": "active", "value": false})];
        both.extend(operations.as_array().expect("a list").clone());
        let all = if operations.as_array().is_some_and(Vec::is_empty) { operations.clone() } else { json!(both) };
        let refused = patched(&mut directory, Kind::User, &ana, all).expect_err("refused");
        assert_eq!(refused.keyword, Some(keyword), "{operations}");
        assert_eq!(directory, before, "all or nothing");
    }
}

#[test]
fn groups_have_members_that_exist_and_people_their_groups() {
    let (mut directory, ana, bob, ops) = directory();
    let members = |directory: &Directory| {
        let group = got(directory, Kind::Group, &ops);
        let members = group["members"].as_array().cloned().unwrap_or_default();
        members.iter().map(|member| member["value"].as_str().expect("an id").to_owned()).collect::<Vec<_>>()
    };
    let member = &got(&directory, Kind::Group, &ops)["members"][0];
    assert_eq!(*member, json!({"value": ana, "$ref": format!("{BASE}/Users/{ana}"), "type": "User"}));
    let groups = &got(&directory, Kind::User, &ana)["groups"];
    assert_eq!(*groups, json!([{"value": ops, "$ref": format!("{BASE}/Groups/{ops}"), "display": "ops"}]));
    let mut patch = |operations| patched(&mut directory, Kind::Group, &ops, operations).map(|answer| answer.events);
    let changed = vec![Event::GroupChanged { group: ops.clone() }];
    assert_eq!(
        patch(json!([{"op": "add", "path": "members", "value": [{"value": bob}, {"value": ana}]}])),
        Ok(changed.clone())
    );
    assert_eq!(patch(json!([{"op": "add", "path": "members", "value": [{"value": bob}]}])), Ok(vec![]), "nothing new");
    assert_eq!(patch(json!([{"op": "remove", "path": "members", "value": [{"value": ana}]}])), Ok(changed.clone()));
    for bad in [json!([{"value": "nobody"}]), json!([{"value": ops}]), json!([{"display": "x"}]), json!([{"value": 7}])]
    {
        let refused = patch(json!([{"op": "add", "path": "members", "value": bad}])).expect_err("refused");
        assert_eq!((refused.status, refused.keyword), (400, Some("invalidValue")));
    }
    assert_eq!(members(&directory), std::slice::from_ref(&bob));
    let path = format!("members[value eq \"{bob}\"]");
    let removed = patched(&mut directory, Kind::Group, &ops, json!([{"op": "remove", "path": path}]));
    assert_eq!((removed.expect("patched").events, members(&directory)), (changed, vec![]));
}

#[test]
fn groups_within_groups_count_and_circles_end() {
    let (mut directory, ana, _, ops) = directory();
    let shown = json!([{"op": "add", "path": "displayName", "value": "outer"}]);
    patched(&mut directory, Kind::User, &ana, shown).expect("a person may be shown as a group is named");
    let outer =
        create(&mut directory, Kind::Group, &group("outer", &[&ops]), 10).expect("created").body.expect("a body");
    let outer = outer["id"].as_str().expect("text").to_owned();
    let circle = json!([{"op": "add", "path": "members", "value": [{"value": outer}]}]);
    patched(&mut directory, Kind::Group, &ops, circle).expect("patched");
    let names: Vec<String> = directory.groups_of(&ana).into_iter().collect();
    assert_eq!(names, ["ops", "outer"]);
    assert!(directory.groups_of("nobody").is_empty());
}

#[test]
fn filters_mean_what_rfc_7644_says() {
    for (filter, expected) in [
        ("userName eq \"ANA\"", vec!["ana"]),
        ("userName ne \"ana\"", vec!["bob"]),
        ("USERNAME sw \"a\"", vec!["ana"]),
        ("userName ew \"b\"", vec!["bob"]),
        ("userName co \"n\"", vec!["ana"]),
        ("userName gt \"ana\"", vec!["bob"]),
        ("userName ge \"ana\" and userName lt \"b\"", vec!["ana"]),
        ("userName le \"ana\"", vec!["ana"]),
        ("externalId eq \"ext-ana\"", vec!["ana"]),
        ("externalId eq \"EXT-ANA\"", vec![]),
        ("active eq true", vec!["ana", "bob"]),
        ("active eq false", vec![]),
        ("not (active eq true)", vec![]),
        ("emails pr", vec!["ana", "bob"]),
        ("displayName pr", vec![]),
        ("displayName eq null", vec!["ana", "bob"]),
        ("emails co \"ANA@\"", vec!["ana"]),
        ("emails.type eq \"work\"", vec!["ana", "bob"]),
        ("emails[type eq \"work\" and value sw \"bob\"]", vec!["bob"]),
        ("emails[type eq \"work\" and not (value sw \"bob\")]", vec!["ana"]),
        ("emails[type eq \"home\"] or userName eq \"bob\"", vec!["bob"]),
        ("name.familyName eq \"lima\"", vec!["ana", "bob"]),
        ("name.middleName eq \"x\"", vec![]),
        ("groups.display eq \"ops\"", vec!["ana"]),
        ("meta.created ge \"2026-01-01T00:00:00Z\"", vec!["ana", "bob"]),
        ("nonsense eq \"x\"", vec![]),
        ("password eq \"t0p secret\"", vec![]),
        ("urn:ietf:params:scim:schemas:core:2.0:User:userName eq \"bob\"", vec!["bob"]),
    ] {
        assert_eq!(listed(Kind::User, filter), expected, "{filter}");
    }
    assert_eq!(listed(Kind::Group, &format!("members eq \"{}\"", "01".repeat(16))), ["ops"]);
    assert_eq!(listed(Kind::Group, "userName eq \"ana\""), Vec::<String>::new());
    let (directory, ..) = directory();
    for bad in [
        "",
        "userName",
        "userName eq",
        "userName xx \"a\"",
        &"(".repeat(100),
        &format!("userName eq \"{}\"", "x".repeat(5_000)),
    ] {
        let query = Query { filter: Some(bad.to_owned()), ..Query::default() };
        let refused = directory.list(&[Kind::User], &query, BASE).expect_err("refused");
        assert_eq!((refused.status, refused.keyword), (400, Some("invalidFilter")), "{bad}");
    }
}

#[test]
fn lists_are_sorted_cut_into_pages_and_projected() {
    let (directory, ..) = directory();
    let list = |query: Value| {
        let query: Query = serde_json::from_value(query).expect("a query");
        let body = directory.list(&[Kind::User], &query, BASE).expect("a list").body.expect("a body");
        let names = body["Resources"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|user| user["userName"].to_string())
            .collect::<String>();
        (names, body["totalResults"].clone(), body["startIndex"].clone(), body["itemsPerPage"].clone())
    };
    let page = |names: &str, start: u64, count: u64| (names.to_owned(), json!(2), json!(start), json!(count));
    assert_eq!(list(json!({"sortBy": "userName", "sortOrder": "descending"})), page("\"bob\"\"ana\"", 1, 2));
    assert_eq!(list(json!({"startIndex": 2})), page("\"bob\"", 2, 1));
    assert_eq!(list(json!({"startIndex": -5, "count": 1})), page("\"ana\"", 1, 1));
    assert_eq!(list(json!({"count": 0})), page("", 1, 0));
    assert_eq!(list(json!({"count": -1, "startIndex": 99})), page("", 99, 0));
    let ana = "01".repeat(16);
    let project = |query: Value| {
        let query: Query = serde_json::from_value(query).expect("a query");
        directory.get(Kind::User, &ana, None, &query, BASE).map(|answer| answer.body.expect("a body"))
    };
    let names = |value: Value| {
        value
            .as_object()
            .expect("an object")
            .keys()
            .cloned()
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names(project(json!({"attributes": "username, name.givenName"})).expect("read")),
        ["id", "meta", "name", "schemas", "userName"]
    );
    assert_eq!(project(json!({"attributes": "name.givenName"})).expect("read")["name"], json!({"givenName": "Ana"}));
    let without = project(json!({"excludedAttributes": "emails,name.givenName,id,groups"})).expect("read");
    assert_eq!(names(without.clone()), ["active", "externalId", "id", "meta", "name", "schemas", "userName"]);
    assert_eq!(without["name"], json!({"familyName": "Lima"}));
    assert_eq!(project(json!({"attributes": "name", "excludedAttributes": "name"})).expect_err("both").status, 400);
    assert_eq!(project(json!({"attributes": "a b"})).expect_err("no name").status, 400);
}

#[test]
fn versions_notice_changes_in_between() {
    let (mut directory, ana, ..) = directory();
    let get = |directory: &Directory, tag: &str| {
        directory.get(Kind::User, &ana, Some(tag), &Query::default(), BASE).expect("there").status
    };
    assert_eq!((get(&directory, "W/\"1\""), get(&directory, "\"1\""), get(&directory, "W/\"2\"")), (304, 304, 200));
    let change = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [{"op": "replace", "path": "displayName", "value": "A"}]});
    let mut patch = |tag: &str| directory.patch(Kind::User, &ana, Some(tag), &bytes(&change), BASE, later(5));
    assert_eq!(patch("W/\"7\"").expect_err("changed meanwhile").status, 412);
    assert_eq!(patch("W/\"7\", W/\"1\"").expect("matches").etag.as_deref(), Some("W/\"2\""));
    assert_eq!(patch("W/\"1\"").expect_err("changed meanwhile").status, 412);
    assert_eq!(patch("*").expect("any").etag.as_deref(), Some("W/\"2\""), "nothing changed");
    let body = got(&directory, Kind::User, &ana);
    assert_eq!(
        (body["meta"]["lastModified"].clone(), body["displayName"].clone()),
        (json!("2026-01-01T12:00:05Z"), json!("A"))
    );
    let replaced = directory.replace(Kind::User, &ana, Some("W/\"1\""), &bytes(&user("ana")), BASE, later(6));
    assert_eq!(replaced.expect_err("changed meanwhile").status, 412);
    assert_eq!(
        directory.delete(Kind::User, &ana, Some("W/\"1\""), later(6)).expect_err("changed meanwhile").status,
        412
    );
    assert_eq!(directory.delete(Kind::Group, &ana, None, later(6)).expect_err("a user").status, 404);
    let replaced =
        directory.replace(Kind::User, &ana, Some("W/\"2\""), &bytes(&user("ana")), BASE, later(6)).expect("replaced");
    assert_eq!(replaced.body.expect("a body").get("displayName"), None, "what the body does not say is gone");
}

#[test]
fn the_documents_describe_what_is_kept() {
    let schemas = super::schemas(BASE);
    let read = |value: &Value| {
        serde_json::from_value::<scim_v2::models::scim_schema::Schema>(value.clone()).expect("a schema")
    };
    let user = read(&schemas[0]);
    let names: Vec<&str> = user.attributes.iter().map(|attribute| attribute.name.as_str()).collect();
    assert_eq!(names, ["userName", "name", "displayName", "active", "emails", "groups"]);
    assert_eq!((user.attributes[0].uniqueness.as_deref(), user.attributes[0].required), (Some("server"), Some(true)));
    assert_eq!(read(&schemas[1]).attributes[1].name, "members");
    let config: scim_v2::models::service_provider_config::ServiceProviderConfig =
        serde_json::from_value(service_provider_config(BASE)).expect("a configuration");
    assert!(config.patch.supported && config.etag.supported && !config.bulk.supported);
    let types = resource_types(BASE);
    assert_eq!(
        (types[1]["endpoint"].clone(), types[0]["schema"].clone()),
        (json!("/Groups"), schemas[0]["id"].clone())
    );
}

#[test]
fn a_search_message_says_what_an_address_says() {
    let message = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"],
        "filter": "userName eq \"ana\"", "attributes": ["userName", "emails.value"], "startIndex": 1, "count": 5,
    });
    let query = Query::from_message(&bytes(&message)).expect("a message");
    let expected = Query {
        filter: Some("userName eq \"ana\"".to_owned()),
        attributes: Some("userName,emails.value".to_owned()),
        start_index: Some(1),
        count: Some(5),
        ..Query::default()
    };
    assert_eq!(query, expected);
    let mut other = message.clone();
    other["schemas"] = json!(["urn:ietf:params:scim:api:messages:2.0:PatchOp"]);
    for bad in [other, json!({}), json!([]), json!({"schemas": message["schemas"], "count": "many"})] {
        assert!(Query::from_message(&bytes(&bad)).is_err(), "{bad}");
    }
    let mut directory = Directory::default();
    create(&mut directory, Kind::User, &user("ana"), 1).expect("created");
    create(&mut directory, Kind::Group, &group("ops", &[]), 2).expect("created");
    let found = |kinds: &[Kind]| {
        directory.list(kinds, &Query::default(), BASE).expect("a list").body.expect("a body")["totalResults"].clone()
    };
    assert_eq!((found(&[Kind::User]), found(&[Kind::User, Kind::Group])), (json!(1), json!(2)));
}

#[test]
fn a_directory_is_put_together_again_from_its_documents() {
    let mut directory = Directory::default();
    let made = create(&mut directory, Kind::User, &user("ana"), 1).expect("created");
    let ana = made.body.expect("a body")["id"].as_str().expect("an id").to_owned();
    let made = create(&mut directory, Kind::Group, &group("ops", &[&ana]), 2).expect("created");
    let ops = made.body.expect("a body")["id"].as_str().expect("an id").to_owned();
    let made = create(&mut directory, Kind::Group, &group("outer", &[&ops]), 3).expect("created");
    let outer = made.body.expect("a body")["id"].as_str().expect("an id").to_owned();
    let mut again = Directory::default();
    for id in [&outer, &ops, &ana] {
        assert!(again.restore(id, directory.document(id).expect("there")));
    }
    assert_eq!(again, directory);
    assert!(!again.restore(&ana, json!({"kind": "Device"})), "what this version did not write");
    assert_eq!(again.document("nobody"), None);
    assert_eq!(again.members_of("outer"), std::collections::BTreeSet::from([ana.clone()]));
    assert!(again.members_of("Outer").is_empty() && again.members_of("nobody").is_empty());
    assert_eq!(again.external_id(&ana), Some("ext-ana"));
    assert_eq!((again.email(&ana), again.user_name(&ana)), (Some("ana@bank.example"), Some("ana")));
    assert_eq!(again.active_users().collect::<Vec<_>>(), [ana.as_str()]);
}
