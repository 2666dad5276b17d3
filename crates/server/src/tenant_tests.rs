//! Two tenants in each of two environments, in which everything has the same name: what one does, another never sees (T3,
//! CH-20). A hundred thousand operations in random order, each answer compared with a model of its own tenant.
//!
//! `scripts/mutate-tenant-keys` leaves the tenant out of one key after the other, in a copy of the sources, and expects this
//! test to fail each time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use creta_iam::Place;
use creta_model::{Instant, Scope, Span, TenantId};
use serde_json::{Value, json};

use crate::context::counted;
use crate::in_process::{Asked, InProcess, Program, project};
use crate::limits::{ARRIVING_SHARE_MAX, FAILURES_MAX, REQUESTS_SHARE_MAX};

const OPERATIONS: u64 = 100_000;
const ENVIRONMENTS: [&str; 2] = ["prod", "staging"];
const TENANTS: [&str; 2] = ["acme", "globex"];
/// Ids of entities, the same everywhere.
const IDS: u64 = 6;
/// Idempotency keys, the same everywhere.
const KEYS: u64 = 12;

/// Numbers that follow from a seed (xorshift, Marsaglia 2003).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

/// One tenant of one environment: what it has, by a model that knows of no other.
struct World {
    server: usize,
    tenant: &'static str,
    etl: Program,
    /// Its newest reader, and those before, which were revoked.
    reader: Program,
    revoked: Vec<Program>,
    cities: BTreeMap<u64, String>,
    has_town: bool,
    taken: BTreeMap<u64, Value>,
    loads: u32,
    rows_asked: u64,
}

impl World {
    fn new(servers: &[InProcess], server: usize, tenant: &'static str) -> Self {
        servers[server].tenant(tenant);
        let etl = servers[server].program(tenant, "etl", "developer");
        let reader = servers[server].program(tenant, "reader-0", "reader");
        servers[server].post("/v1/deploy", &etl.token, &project(&[("User", &["city"])])).ok();
        let (cities, taken, revoked) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        Self { server, tenant, etl, reader, revoked, cities, has_town: false, taken, loads: 0, rows_asked: 0 }
    }

    fn scope(&self) -> Scope {
        Scope::parse(self.tenant, ENVIRONMENTS[self.server]).expect("valid")
    }

    /// A load of some entities, each with a city that nobody else has.
    fn load(&mut self, numbers: &mut Numbers) -> Value {
        self.loads += 1;
        let at = Instant::parse("2025-03-01T12:00:00Z").expect("valid").plus(Span::seconds(self.loads));
        let ids: BTreeSet<u64> = (0..=numbers.below(2)).map(|_| numbers.below(IDS)).collect();
        let city = format!("{}-{}-{}", ENVIRONMENTS[self.server], self.tenant, self.loads);
        let rows: Vec<Value> = ids.iter().map(|id| json!({"id": id, "city": format!("{city}-{id}")})).collect();
        json!({
            "load": {"entity": "User", "event_time": {"constant": at.to_string()}, "arrival": {"delay": "0s"}},
            "rows": rows,
        })
    }

    /// What a load means.
    fn remember(&mut self, load: &Value) {
        for row in load["rows"].as_array().expect("rows") {
            let city = row["city"].as_str().expect("text").to_owned();
            self.cities.insert(row["id"].as_u64().expect("an id"), city);
        }
    }

    fn question(&self, numbers: &mut Numbers, ask: &dyn Fn(&Value) -> crate::in_process::Told) -> u64 {
        let ids: Vec<u64> = (0..=numbers.below(3)).map(|_| numbers.below(IDS)).collect();
        let town = numbers.below(4) == 0;
        let outputs: &[&str] = if town { &["User.city", "User.town"] } else { &["User.city"] };
        let told = ask(&json!({"inputs": {"User.id": ids}, "outputs": outputs}));
        if town && !self.has_town {
            assert_eq!(told.status, 404, "no town was deployed here: {told:?}");
            return 0;
        }
        let expected: Vec<Value> = ids.iter().map(|id| json!(self.cities.get(id))).collect();
        assert_eq!(told.ok()["columns"][0]["values"], json!(expected), "{} {}", ENVIRONMENTS[self.server], self.tenant);
        ids.len() as u64
    }
}

/// Something that one tenant does.
fn operate(numbers: &mut Numbers, servers: &[InProcess], worlds: &mut [World], number: u32) {
    let which = numbers.below(worlds.len() as u64) as usize;
    let other = (which + 1 + numbers.below(worlds.len() as u64 - 1) as usize) % worlds.len();
    let (others, elsewhere) = (worlds[other].reader.clone(), worlds[other].server != worlds[which].server);
    let server = &servers[worlds[which].server];
    // From another address each time: whoever fails often waits, which is an operation of its own below.
    let from = IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number));
    let token = |client_id: &str, secret: &str| {
        let body = json!({"client_id": client_id, "client_secret": secret});
        server.send(Asked { from, ..Asked::post("/v1/token", None, &body) })
    };
    let world = &mut worlds[which];
    let ask = |question: &Value| server.post("/v1/query", &world.reader.token, question);
    match numbers.below(1_000) {
        0..880 => {
            let rows = world.question(numbers, &ask);
            world.rows_asked += rows;
        }
        // By what is another's of the same name.
        880..900 if elsewhere => {
            let question = json!({"inputs": {"User.id": [0]}, "outputs": ["User.city"]});
            assert_eq!(server.post("/v1/query", &others.token, &question).problem(401), "auth/bad-token");
        }
        900..920 => assert_eq!(token(&world.reader.client_id, &others.secret).status, 401),
        920..940 => {
            if let Some(revoked) = world.revoked.last() {
                assert_eq!(token(&revoked.client_id, &revoked.secret).status, 401);
                let question = json!({"inputs": {"User.id": [0]}, "outputs": ["User.city"]});
                assert_eq!(server.post("/v1/query", &revoked.token, &question).status, 401);
            }
        }
        940..955 => {
            let given = token(&world.reader.client_id, &world.reader.secret).ok();
            world.reader.token = given["access_token"].as_str().expect("a token").to_owned();
        }
        955..970 => {
            let load = world.load(numbers);
            let told = server.post("/v1/facts", &world.etl.token, &load).ok();
            assert_eq!(told["accepted"], load["rows"].as_array().expect("rows").len(), "{told}");
            world.remember(&load);
        }
        970..985 => {
            let key = numbers.below(KEYS);
            let again = world.taken.get(&key).filter(|_| numbers.below(2) == 0).cloned();
            let load = again.clone().unwrap_or_else(|| world.load(numbers));
            let name = format!("night-{key}");
            let headers = [("idempotency-key", name.as_str())];
            let told =
                server.send(Asked { headers: &headers, ..Asked::post("/v1/facts", Some(&world.etl.token), &load) });
            match (world.taken.contains_key(&key), again) {
                (false, _) => {
                    assert!(!told.repeated, "{told:?}");
                    told.ok();
                    world.remember(&load);
                    world.taken.insert(key, load);
                }
                (true, Some(_)) => {
                    told.ok();
                    assert!(told.repeated, "it was taken before: {told:?}");
                }
                (true, None) => assert_eq!(told.problem(422), "ingest/key-reused"),
            }
        }
        985..989 => {
            world.has_town = !world.has_town;
            let features: &[&str] = if world.has_town { &["city", "town"] } else { &["city"] };
            server.post("/v1/deploy", &world.etl.token, &project(&[("User", features)])).ok();
        }
        989..992 => {
            server.revoke(&world.reader);
            let name = format!("reader-{}", world.revoked.len() + 1);
            let new = server.program(world.tenant, &name, "reader");
            world.revoked.push(std::mem::replace(&mut world.reader, new));
        }
        992..995 => crowd(numbers, servers, worlds, (which, other)),
        995..997 => {
            // Whoever guesses at one tenant's program keeps nobody else's of that name waiting, at the same address.
            for _ in 0..FAILURES_MAX {
                assert_eq!(token(&world.etl.client_id, &world.reader.secret).status, 401);
            }
            assert_eq!(token(&world.etl.client_id, &world.etl.secret).status, 429);
            let other = &worlds[other];
            let body = json!({"client_id": other.etl.client_id, "client_secret": other.etl.secret});
            let asked = Asked { from, ..Asked::post("/v1/token", None, &body) };
            servers[other.server].send(asked).ok();
        }
        _ => {
            let size = server.app.control.log().size();
            let path = format!("/v1/audit/entries?start={}&limit=100", size.saturating_sub(100));
            let told = server.send(Asked::get(&path, Some(&world.etl.token))).ok();
            for line in told["entries"].as_array().expect("a list") {
                assert_eq!(line["entry"]["tenant"], world.tenant, "another's entry: {line}");
            }
        }
    }
}

/// All places that one tenant may take are taken: it waits, and the other does not.
fn crowd(numbers: &mut Numbers, servers: &[InProcess], worlds: &mut [World], (which, other): (usize, usize)) {
    let server = &servers[worlds[which].server];
    let home = Place::Scope(worlds[which].scope());
    let [at_work, arriving] = &server.app.light;
    let (turns, share) = match numbers.below(2) {
        0 => (at_work, REQUESTS_SHARE_MAX),
        _ => (arriving, ARRIVING_SHARE_MAX),
    };
    let taken: Vec<_> = (0..share).filter_map(|_| turns.take(home.clone())).collect();
    let question = json!({"inputs": {"User.id": [0]}, "outputs": ["User.city"]});
    assert_eq!(server.post("/v1/query", &worlds[which].reader.token, &question).problem(503), "busy/requests");
    let world = &mut worlds[other];
    let token = world.reader.token.clone();
    let rows = world.question(numbers, &|question| servers[world.server].post("/v1/query", &token, question));
    world.rows_asked += rows;
    drop(taken);
}

#[test]
fn attack_ch20_tenants_of_the_same_names_never_meet_in_any_order_of_operations() {
    let servers = ENVIRONMENTS.map(InProcess::new);
    let mut worlds: Vec<World> = (0..ENVIRONMENTS.len())
        .flat_map(|server| TENANTS.map(|tenant| (server, tenant)))
        .map(|(server, tenant)| World::new(&servers, server, tenant))
        .collect();
    let of_environment = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let mut numbers = Numbers(of_environment("CRETA_TENANTS_SEED").unwrap_or(4_711));
    let operations = of_environment("CRETA_TENANTS_OPERATIONS").unwrap_or(OPERATIONS);
    for number in 0..u32::try_from(operations).expect("fewer") {
        operate(&mut numbers, &servers, &mut worlds, number);
    }
    for world in &worlds {
        let app = &servers[world.server].app;
        // What is counted is counted for whose it is.
        let metrics = app.render_metrics();
        let line = format!("creta_query_rows_total{{scope=\"{}\"}} {}\n", world.scope().path(), world.rows_asked);
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
    // Nothing that stands for one tenant stands for another: keys, what they seal, and names that are counted by.
    let key = |world: &World| servers[world.server].app.control.scope_key(&world.scope()).expect("a key");
    let name = |world: &World| {
        let tenant = TenantId::parse(world.tenant).expect("valid");
        let accounts = servers[world.server].app.control.service_accounts(&Place::Scope(world.scope()));
        let etl = accounts.into_iter().find(|account| account.client_id == format!("etl@{tenant}")).expect("made");
        counted(&servers[world.server].app, &etl.principal)
    };
    let macs: BTreeSet<_> = worlds.iter().map(|world| key(world).mac("of a test", &[b"the same"])).collect();
    assert_eq!(macs.len(), worlds.len(), "two tenants have one key");
    for pair in worlds.chunks(TENANTS.len()) {
        assert_ne!(name(&pair[0]), name(&pair[1]), "two tenants' programs are counted as one");
    }
}
