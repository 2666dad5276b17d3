//! Nobody of the staff becomes a customer's person, or acts in somebody's name, alone.

use creta_model::EnvironmentClass;
use serde_json::{Value, json};

use crate::people::{Someone, answer_prompt, appoint, authenticator, server, sign_in_with};
use crate::provider::Provider;
use crate::soft_authenticator::SoftAuthenticator;
use crate::support::{Reply, Server};

const NEED: &str = "Looks after the shop while others sleep";
const ASKED: &str = "/v1/person-requests";

/// A server of class staging that serves other organisations, with staff: two administrators and two security leads.
struct World {
    provider: Provider,
    server: Server,
    keys: Vec<SoftAuthenticator>,
    people: Vec<Someone>,
}

const KIM: usize = 0;
const LEE: usize = 2;
const MEG: usize = 3;

impl World {
    fn new() -> Self {
        let provider = Provider::start();
        let mut server = server(&provider, EnvironmentClass::Staging);
        server.stop();
        let file = server.data().join("config.toml");
        let config = std::fs::read_to_string(&file).expect("written");
        let vendor = config.replace("mode = \"in-house\"", "mode = \"vendor\"");
        assert_ne!(vendor, config, "{config}");
        std::fs::write(&file, vendor).expect("written");
        server.start();
        let staff =
            [("kim", "administrator"), ("lou", "administrator"), ("lee", "security-lead"), ("meg", "security-lead")];
        appoint(&mut server, &provider, &staff);
        let mut keys: Vec<_> = (1..=4).map(|seed| authenticator(&server, seed)).collect();
        let people: Vec<_> = staff
            .iter()
            .zip(&mut keys)
            .map(|((who, _), key)| sign_in_with(&server, &provider, who, Some(key)))
            .collect();
        people[KIM].post(&server, "/v1/tenants", &json!({"tenant": "acme"})).ok();
        Self { provider, server, keys, people }
    }

    fn agree(&self, who: usize, asked: &Value) -> Reply {
        let path = format!("{ASKED}/{}/approve", asked["request"].as_str().expect("an id"));
        self.people[who].post(&self.server, &path, &json!({"digest": asked["digest"]}))
    }

    /// Agrees and signs it: what the page says.
    fn agreed(&mut self, who: usize, asked: &Value) -> String {
        let answer = self.agree(who, asked).ok();
        let prompt = answer["verify"].as_str().expect("where to sign").split("prompt=").nth(1).expect("a prompt");
        let said = answer_prompt(&self.server, &mut self.keys[who], prompt, None).ok();
        said["text"].as_str().expect("text").to_owned()
    }

    fn invite(&self) -> Reply {
        let body = json!({"email": "ana@acme.example", "tenant": "acme", "roles": ["administrator"], "need": NEED});
        self.people[KIM].post(&self.server, "/v1/persons/invite", &body)
    }

    fn log(&self) -> String {
        self.people[KIM].get(&self.server, "/v1/audit/entries?limit=1000").text()
    }
}

#[test]
fn attack_ch14_staff_invite_a_customers_person_only_by_two_and_neither_has_both_halves() {
    let mut world = World::new();
    assert_eq!(world.invite().problem(403), "access/second-person");
    let body = json!({"what": "invite", "person": "ana@acme.example", "tenant": "acme", "roles": ["administrator"],
        "need": NEED, "reason": "The first of their people, by their contract of May"});
    let asked = world.people[KIM].post(&world.server, ASKED, &body).ok();
    assert_eq!(world.agree(KIM, &asked).problem(403), "access/denied", "an administrator approves nothing");
    assert_eq!(world.invite().problem(403), "access/second-person", "asked is not agreed");
    let said = world.agreed(LEE, &asked);
    let word = said.split("nobody else: ").nth(1).expect("a word").split('.').next().expect("a word").to_owned();
    // Good for exactly that, once.
    let other = json!({"email": "eve@acme.example", "tenant": "acme", "roles": ["administrator"], "need": NEED});
    let reply = world.people[KIM].post(&world.server, "/v1/persons/invite", &other);
    assert_eq!(reply.problem(403), "access/second-person");
    let invited = world.invite().ok();
    assert_eq!(invited["word"], true);
    assert!(!invited.to_string().contains(&word), "whoever has the link is not told the word");
    assert_eq!(world.invite().problem(403), "access/second-person", "once");
    let link = invited["link"].as_str().expect("a link").to_owned();
    let code = link.split("code=").nth(1).expect("a code");
    let choose = |word: &str| {
        let form = format!("code={code}&word={word}&password=seven+otters+juggle&again=seven+otters+juggle");
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        world.server.post_form(&crate::people::origin(&world.server), "/sign-in/invited", &headers, form.as_bytes())
    };
    assert_eq!(choose("").status, 422, "the link alone makes nobody the customer's person");
    assert_eq!(choose(&word).status, 303);
    let log = world.log();
    for entry in ["person.requested", "person.agreed", "person.request-used", "person.invited", "person.refused"] {
        assert!(log.contains(entry), "{entry}: {log}");
    }
}

#[test]
fn attack_ch14_staff_are_never_made_people_of_a_customer() {
    let world = World::new();
    let body = json!({"roles": ["viewer"], "tenant": "acme", "need": NEED});
    for who in ["lou", "lee"] {
        let reply = world.people[KIM].post(&world.server, &format!("/v1/persons/{who}@example.com/assign"), &body);
        assert_eq!(reply.problem(403), "access/staff", "{who}");
    }
    // Nor under an account that was made for it.
    sign_in_with(&world.server, &world.provider, "new", Some(&mut authenticator(&world.server, 7)));
    let reply = world.people[KIM].post(&world.server, "/v1/persons/new@example.com/assign", &body);
    assert_eq!(reply.problem(403), "access/staff");
    assert!(world.log().contains("CH-14"));
    let staff = json!({"roles": ["operator"], "need": NEED});
    world.people[KIM].post(&world.server, "/v1/persons/new@example.com/assign", &staff).ok();
}

#[test]
fn attack_ci22_one_administrator_alone_resets_nobody_who_approves_or_administers() {
    let mut world = World::new();
    let reset = |world: &World, who: &str| {
        let path = format!("/v1/persons/{who}@example.com/reset-authenticators");
        world.people[KIM].send(&world.server, "POST", &path, None)
    };
    for who in ["lou", "lee"] {
        assert_eq!(reset(&world, who).problem(403), "access/second-person", "{who}");
    }
    world.people[LEE].get(&world.server, "/v1/me").ok();
    let body = json!({"what": "reset-authenticators", "person": "lee@example.com",
        "reason": "The key fell into the lake on Sunday"});
    let asked = world.people[KIM].post(&world.server, ASKED, &body).ok();
    assert_eq!(world.agree(LEE, &asked).problem(403), "access/own-proposal", "not whom it is about");
    let said = world.agreed(MEG, &asked);
    assert!(said.contains("within a day"), "{said}");
    assert_eq!(reset(&world, "lou").problem(403), "access/second-person", "of nobody else");
    reset(&world, "lee").ok();
    assert_eq!(world.people[LEE].get(&world.server, "/v1/me").problem(401), "auth/bad-token");
    assert_eq!(reset(&world, "lee").problem(403), "access/second-person", "once");
    // Of whoever decides on nothing, as ever.
    sign_in_with(&world.server, &world.provider, "new", Some(&mut authenticator(&world.server, 7)));
    reset(&world, "new").ok();
}

/// Two of staff, a request and an approval: what they would be shown gets values that no staff may see.
#[test]
fn attack_ch14_two_of_staff_are_shown_no_secret_of_a_tenant() {
    let world = World::new();
    let mut key = authenticator(&world.server, 7);
    let olga = sign_in_with(&world.server, &world.provider, "olga", Some(&mut key));
    let staff = json!({"roles": ["operator"], "need": NEED});
    world.people[KIM].post(&world.server, "/v1/persons/olga@example.com/assign", &staff).ok();
    let asked = json!({"what": "create", "tenant": "acme", "name": "peek", "role": "reader",
        "reason": "The scoring service of the shop starts on Monday"});
    let refused = olga.post(&world.server, "/v1/service-account-requests", &asked);
    assert_eq!(refused.problem(403), "access/tenants-own");
    let account = json!({"tenant": "acme", "name": "peek", "role": "reader"});
    assert_eq!(olga.post(&world.server, "/v1/service-accounts", &account).problem(403), "access/tenants-own");
    assert!(world.log().contains("service-account.refused"));
}
