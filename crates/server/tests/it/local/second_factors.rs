//! Second factors of one's own: another one is registered after one that is there, and taken away by another.

use super::*;

/// Whoever chose an application for codes first is not kept from what takes a key: they register one after their code.
#[test]
fn whoever_has_codes_registers_a_key_as_well_and_a_key_another_key() {
    let world = World::new();
    let codes = world.registered("ana");
    let (prover, verifier) = (prover(), URL_SAFE_NO_PAD.encode(random::<32>()));
    let begin = |wish: &str| {
        let challenge = URL_SAFE_NO_PAD.encode(creta_proof::Hash::of(&[verifier.as_bytes()]).as_bytes());
        let path = format!(
            "/sign-in?redirect_uri=http%3A%2F%2F127.0.0.1%3A7000%2Fsigned-in&state={}&code_challenge={challenge}\
             &code_challenge_method=S256&dpop_jkt={}{wish}",
            "s".repeat(43),
            prover.thumbprint().as_str()
        );
        let cookie = cookie_of(&world.server.browse_at(&origin(&world.server), &path, None));
        let typed = world.type_password(&cookie, "ana@acme.example", PASSWORD);
        (cookie, header(&typed, "location"))
    };
    let prompt_in = |location: &str| location.split("prompt=").nth(1).expect("a prompt").to_owned();
    let (cookie, asks) = begin("&authenticator=register");
    assert_eq!(asks, "/sign-in/second-factor", "first the factor that she has");
    let back = world.form("/sign-in/second-factor", Some(&cookie), &[("code", &codes.at(&world.clock))]);
    let mut key = authenticator(&world.server, 21);
    let said = answer_prompt(&world.server, &mut key, &prompt_in(&header(&back, "location")), Some(&cookie));
    let body = json!({"code": code_in(&said), "code_verifier": verifier});
    open_session(&world.server, &prover, &body).ok();
    // From now on her key is asked for; and with it she registers another.
    let (cookie, asks) = begin("&authenticator=register");
    let shown = answer_prompt(&world.server, &mut key, &prompt_in(&asks), Some(&cookie)).ok();
    let next = prompt_in(shown["location"].as_str().expect("the next page"));
    let mut second = authenticator(&world.server, 22);
    let said = answer_prompt(&world.server, &mut second, &next, Some(&cookie));
    let body = json!({"code": code_in(&said), "code_verifier": verifier});
    open_session(&world.server, &prover, &body).ok();
    let (cookie, asks) = begin("");
    let said = answer_prompt(&world.server, &mut second, &prompt_in(&asks), Some(&cookie));
    let body = json!({"code": code_in(&said), "code_verifier": verifier});
    let opened = open_session(&world.server, &prover, &body).ok();
    let ana = Someone { prover, opened };
    takes_away(&world, &ana, &mut key, &mut second);
}

/// What somebody has registered they see and take away, signed with another one that stays.
fn takes_away(world: &World, ana: &Someone, first: &mut SoftAuthenticator, second: &mut SoftAuthenticator) {
    let server = &world.server;
    let listed = || ana.get(server, "/v1/authenticators").ok()["authenticators"].as_array().expect("a list").clone();
    let all = listed();
    let kinds: Vec<_> = all.iter().map(|one| one["kind"].as_str().expect("a kind")).collect();
    assert_eq!(kinds, ["key", "key", "codes"]);
    assert!(all.iter().all(|one| one["used"].is_string() && one["removable"] == true), "{all:?}");
    let ask = |factor: &Value| {
        let path = format!("/v1/authenticators/{}/remove", factor["factor"].as_str().expect("a name"));
        ana.send(server, "POST", &path, None)
    };
    let prompt = |asked: &Reply| {
        let verify = asked.json()["verify"].as_str().expect("where to sign").to_owned();
        verify.split("prompt=").nth(1).expect("a prompt").to_owned()
    };
    // Not by the one that is taken away, by whoever found it; and none of somebody else's.
    let refused = answer_prompt(server, first, &prompt(&ask(&all[0])), None);
    assert_eq!(refused.problem(403), "access/authenticator");
    assert_eq!(
        world.lee.0.send(server, "POST", "/v1/authenticators/codes/remove", None).problem(404),
        "not-found/authenticator"
    );
    assert_eq!(listed().len(), 3);
    let sessions = || ana.get(server, "/v1/sessions").ok();
    let open = |sessions: Value| {
        let all = sessions["sessions"].as_array().expect("a list").clone();
        all.iter().filter(|session| session["open"] == true).count()
    };
    assert!(open(sessions()) > 1);
    let said = answer_prompt(server, second, &prompt(&ask(&all[0])), None).ok();
    assert!(said["text"].as_str().expect("text").contains("Your other sessions are over"), "{said}");
    assert_eq!((listed().len(), open(sessions())), (2, 1));
    assert_eq!(ask(&all[0]).problem(404), "not-found/authenticator");
    answer_prompt(server, second, &prompt(&ask(&all[2])), None).ok();
    let left = listed();
    assert_eq!(left[0]["label"], "authenticator 2");
    assert_eq!((left.len(), &left[0]["removable"]), (1, &json!(false)), "{left:?}");
    assert_eq!(ask(&left[0]).problem(403), "access/last-authenticator");
    assert!(world.log().contains("authenticator.removed"));
}
