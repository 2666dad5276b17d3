//! What a clock tells of names and of others' data: nothing (T12). Each comparison was seen to fail with a shortcut that was
//! put in for the purpose; which one stands at each.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use creta_iam::{Principal, PrincipalId, Role};
use creta_identity::password::{Cost, Costs};
use creta_model::{Environment, TenantId};
use serde_json::{Value, json};

use crate::in_process::{Asked, InProcess, Program, Sent, project};
use crate::people::guesses::Door;
use crate::timing::{require_alike, require_alike_within, timed};

/// Red with `by_password` that answers at once where there is no such person, with one that does so where the door is
/// closed, and with a derivation for unknown names that has a pass less, or a twentieth less of memory.
#[test]
fn attack_t12_a_sign_in_by_password_takes_as_long_for_names_that_nobody_has() {
    const RIGHT: &str = "seven otters juggle plums";
    let server = InProcess::new("prod");
    let (people, control) = (&server.app.people, &server.app.control);
    // The whole path with a derivation of half a millisecond rather than twenty: what differs beside it shows all the more.
    let cheap = Cost { memory_kib: 512, passes: 2, lanes: 1 };
    people.local.cheap.set(Costs { floor: cheap, now: cheap }).expect("once");
    let tenant = TenantId::parse("acme").expect("valid");
    server.tenant("acme");
    let environment = Environment::parse("prod").expect("valid");
    let by = Principal::administrator(PrincipalId::parse("local").expect("valid"), environment);
    let now = control.platform().clock.now();
    let invite = |name: &str| {
        let need = Some("Answers what customers of the shop ask".to_owned());
        let roles = BTreeSet::from([Role::Viewer]);
        people.invite((control, &by), (name, &tenant), (roles, need), None, now).expect("invited").code
    };
    let names = ["nobody@acme.example", "anabel@acme.example", "closed@acme.example", "waited@acme.example"];
    for known in &names[1..3] {
        people.accept_invitation(control, &invite(known), RIGHT, now).expect("chosen");
    }
    invite(names[3]);
    let wrong = |name: &str| {
        let (done, time) = timed(|| people.by_password(control, (name, "seven otters juggles"), Door::Unknown));
        assert_eq!(done.expect_err("wrong").code, "auth/bad-password");
        time
    };
    for _ in 0..200 {
        wrong(names[2]);
    }
    let mut tries = 0_u32;
    let ways = ["an unknown name", "a known name", "one with too many wrong tries", "one that was invited"];
    // Looking a record up and counting takes a microsecond; a derivation as servers make it, twenty thousand.
    require_alike_within(Duration::from_micros(3), &ways, |way| {
        tries += u32::from(way == 1);
        if way == 1 && tries.is_multiple_of(8) {
            // Ana was there herself, so that her door never closes and nobody waits at it.
            people.by_password(control, (names[1], RIGHT), Door::Known).expect("right");
        }
        wrong(names[way])
    });
}

/// Red with `authenticate` that gives up before it computes a hash where there is no such account, and with one that does
/// so where the account was revoked: what a request costs besides hides neither.
#[test]
fn attack_t12_a_secret_is_compared_as_quickly_whatever_of_client_id_and_secret_is_wrong() {
    let server = InProcess::new("prod");
    server.tenant("acme");
    let tried = wrong_credentials(&server);
    // A hash takes a microsecond and more; where in the table a name stands, a tenth of one.
    require_alike_within(Duration::from_nanos(500), &CREDENTIALS, |way| {
        let (client_id, secret) = &tried[way];
        let (account, time) = timed(|| server.app.control.authenticate(client_id, secret));
        assert!(account.is_none());
        time
    });
}

const CREDENTIALS: [&str; 5] = [
    "an unknown client id",
    "one of an unknown tenant",
    "a wrong secret",
    "a revoked account's secret",
    "a wrong one for it",
];

/// Client ids and secrets, as [`CREDENTIALS`] names them.
fn wrong_credentials(server: &InProcess) -> [(String, String); 5] {
    let [known, revoked, other] = ["known", "ended", "other"].map(|name| server.program("acme", name, "reader"));
    server.revoke(&revoked);
    [
        ("never@acme".to_owned(), other.secret.clone()),
        ("known@none".to_owned(), other.secret.clone()),
        (known.client_id, other.secret.clone()),
        (revoked.client_id.clone(), revoked.secret),
        (revoked.client_id, other.secret),
    ]
}

/// The whole way of the request, of some forty microseconds. Red with fifty more for an account that is known, which is what a
/// look into the documents costs. An account that is there takes about half a microsecond more, its record being found in
/// memory: that is within the margin, and far below what an answer over a network shows.
#[test]
fn attack_t12_a_token_is_refused_as_quickly_whatever_of_client_id_and_secret_is_wrong() {
    let server = InProcess::new("prod");
    server.tenant("acme");
    let tried = wrong_credentials(&server);
    let mut tries = [0_u32; 5];
    require_alike_within(Duration::from_micros(2), &CREDENTIALS, |way| {
        let (client_id, secret) = &tried[way];
        // From another address each few times: whoever fails often waits, and that is another answer.
        tries[way] += 1;
        let from = IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + tries[way] / 4));
        let body = json!({"client_id": client_id, "client_secret": secret});
        let asked = Sent::from(Asked { from, ..Asked::post("/v1/token", None, &body) });
        let (told, time) = timed(|| server.send(asked));
        assert_eq!(told.problem(401), "auth/bad-credentials");
        time
    });
}

/// `acme`, whose program is not used here, and `globex` with entities of the same and of other names.
fn two_tenants(server: &InProcess) -> [Program; 2] {
    let entities: [&[(&str, &[&str])]; 2] =
        [&[("User", &["city"]), ("Client", &["city", "town"])], &[("Client", &["town"])]];
    let mut programs = ["acme", "globex"].map(|tenant| {
        server.tenant(tenant);
        server.program(tenant, "etl", "developer")
    });
    for (program, entities) in programs.iter_mut().zip(entities) {
        server.post("/v1/deploy", &program.token, &project(entities)).ok();
    }
    programs
}

fn question(output: &str) -> Value {
    let entity = output.split('.').next().expect("a path");
    json!({"inputs": {format!("{entity}.id"): [7]}, "outputs": [output]})
}

/// Red with fifty microseconds more where another tenant has what is asked for: a search for "did you mean" over all tenants
/// would cost more.
#[test]
fn attack_t12_a_feature_of_another_tenant_is_not_found_as_quickly_as_one_of_nobody() {
    let server = InProcess::new("prod");
    let [_, globex] = two_tenants(&server);
    // Nobody has the first; the entity of the second and the feature of the third are those of `acme`.
    let outputs = ["Nope.city", "User.city", "Client.nope", "Client.city"];
    for pair in [[0, 1], [2, 3]] {
        require_alike(&pair.map(|which| outputs[which]), |way| {
            let body = question(outputs[pair[way]]);
            let asked = Sent::from(Asked::post("/v1/query", Some(&globex.token), &body));
            let (told, time) = timed(|| server.send(asked));
            assert_eq!(told.status, 404, "{told:?}");
            time
        });
    }
}

/// The first is red with a hundred microseconds more for a feature that is there, spent before the caller is asked about. Of
/// the second, work behind that question is not seen, since nobody gets there.
#[test]
fn attack_t12_whoever_may_not_ask_is_refused_as_quickly_whether_or_not_it_exists() {
    let server = InProcess::new("prod");
    let [acme, _] = two_tenants(&server);
    let ingester = server.program("acme", "loads", "ingester");
    require_alike(&["a feature that is not there", "one that is"], |way| {
        let body = question(["Nope.city", "User.city"][way]);
        let (told, time) = refused(&server, Asked::post("/v1/query", Some(&ingester.token), &body));
        assert_eq!(told, 403);
        time
    });
    require_alike(&["a tenant that is not there", "one that is"], |way| {
        let path = ["/v1/service-accounts?tenant=nobody", "/v1/service-accounts?tenant=globex"][way];
        let (told, time) = refused(&server, Asked::get(path, Some(&acme.token)));
        assert_eq!(told, 403);
        time
    });
}

fn refused(server: &InProcess, asked: Asked<'_>) -> (u16, Duration) {
    let asked = Sent::from(asked);
    let (told, time) = timed(|| server.send(asked));
    (told.status, time)
}

/// Red with one table of ready shapes for all engines.
#[test]
fn attack_t12_what_another_tenant_asked_before_makes_no_question_quicker() {
    let server = InProcess::new("prod");
    let features: Vec<String> = (0..16).map(|number| format!("f{number:02}")).collect();
    let named: Vec<&str> = features.iter().map(String::as_str).collect();
    let [acme, globex] = ["acme", "globex"].map(|tenant| {
        server.tenant(tenant);
        let program = server.program(tenant, "etl", "developer");
        server.post("/v1/deploy", &program.token, &project(&[("User", &named)])).ok();
        program
    });
    let mut asked = 0_u32;
    // A shape that nobody asked for yet: which of the features, in the order of a number's bits.
    let mut shape = || {
        asked += 1;
        let outputs: Vec<String> = (0..16)
            .filter(|bit| asked.reverse_bits() >> 16 & (1 << bit) != 0)
            .map(|bit| format!("User.f{bit:02}"))
            .collect();
        json!({"inputs": {"User.id": [7]}, "outputs": outputs})
    };
    require_alike(&["what nobody asked", "what the other tenant asked"], |way| {
        let (one, other) = (shape(), shape());
        // The other tenant asks something in both ways, so that only what it asked can make a difference.
        server.post("/v1/query", &acme.token, if way == 1 { &one } else { &other }).ok();
        let sent = Sent::from(Asked::post("/v1/query", Some(&globex.token), &one));
        let (told, time) = timed(|| server.send(sent));
        told.ok();
        time
    });
}
