//! People as rules see them, on a server that was just made.

use creta_iam::Place;
use creta_model::Scope;

use super::*;

/// Somebody of the staff who is signed in, by their account and their session.
pub(crate) fn somebody(
    people: &People,
    control: &ControlPlane,
    name: &str,
    role: Option<Role>,
) -> (PrincipalId, String) {
    let (id, now) = (PrincipalId::parse(name).expect("a name"), control.platform().clock.now());
    let mut person = PersonRecord::new(id.clone(), None, now);
    person.roles.extend(role);
    people.persons.add(person).expect("written").expect("new");
    let session = signed_in(people, control, (&id, name), now);
    (id, session)
}

/// A session of an account at a command line with a key of its own, by its id.
fn signed_in(people: &People, control: &ControlPlane, (id, key): (&PrincipalId, &str), now: Instant) -> String {
    let opening = Opening {
        person: id.clone(),
        thumbprint: key.to_owned(),
        client: Client::CommandLine,
        device: None,
        user_verified: true,
        methods: vec!["hwk".to_owned()],
    };
    people.open_session(control, opening, now).expect("opened").session.id
}

/// A server of a class, and the folder that it stands in.
pub(crate) fn started(class: EnvironmentClass) -> (crate::RunningServer, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let environment = Environment::parse("prod").expect("valid");
    crate::init(&data, &environment, &crate::InitOptions { class, ..crate::InitOptions::default() }).expect("made");
    let listen = Some("127.0.0.1:0".parse().expect("an address"));
    (crate::start(&crate::ServeOptions { folder: data, listen }).expect("starts"), folder)
}

/// The account of each, signed in, doing something about access.
struct Doing<'a> {
    app: &'a crate::http::App,
    now: Instant,
}

impl Doing<'_> {
    fn principal(&self, session: &str) -> Principal {
        self.app.people.principal_in(session, self.now).expect("signed in")
    }

    fn invite(&self, by: &(PrincipalId, String), name: &str, role: Role) -> (PrincipalId, String) {
        self.try_invite(by, name, role).expect("invited")
    }

    fn try_invite(&self, by: &(PrincipalId, String), name: &str, role: Role) -> Result<(PrincipalId, String), Problem> {
        let (people, control) = (&self.app.people, &self.app.control);
        let tenant = TenantId::parse("acme").expect("valid");
        let need = Some("Answers what customers of the shop ask".to_owned());
        let whom = (name, &tenant);
        let invited =
            people.invite((control, &self.principal(&by.1)), whom, (BTreeSet::from([role]), need), None, self.now);
        let id = invited?.person.id;
        let session = signed_in(people, control, (&id, name), self.now);
        Ok((id, session))
    }

    fn assign(&self, by: &(PrincipalId, String), whom: &PrincipalId, role: Role) -> Result<PersonRecord, Problem> {
        let tenant = self.app.people.require_person(whom.as_str()).expect("known").tenant;
        let need = Some("Looks after the shop, and after whoever else does".to_owned());
        let given = Assigned { tenant, roles: BTreeSet::from([role]), human: None, need };
        self.app.people.assign((&self.app.control, &self.principal(&by.1)), whom.as_str(), given)
    }

    fn actor<T>(&self, who: &(PrincipalId, String), act: impl FnOnce(&access::Actor<'_>) -> T) -> T {
        let person = self.app.people.require_person(who.0.as_str()).expect("known").reference();
        let principal = self.principal(&who.1);
        act(&access::Actor { control: &self.app.control, principal: &principal, person: &person, now: self.now })
    }

    /// Asks for access, and gives what an approval by somebody else comes to.
    fn approved(&self, by: &(PrincipalId, String), approver: &(PrincipalId, String)) -> String {
        use creta_programme::access::{Asked, Kind, Ticket, Verdict};
        let person = self.app.people.require_person(by.0.as_str()).expect("known").reference();
        let asked = Asked {
            role: Role::Developer,
            place: Place::Scope(Scope::parse("acme", "prod").expect("valid")),
            beneficiary: person,
            reason: Reason::without_ticket("Look into why last night's load of payments was refused").expect("words"),
            ticket: Ticket::parse("OPS-1234").expect("a ticket"),
            hours: 1,
            kind: Kind::Ordinary,
        };
        let access = &self.app.people.access;
        let request = self.actor(by, |actor| access.ask(actor, asked)).expect("asked");
        let (id, digest) = (request.terms.request.to_string(), request.digest.to_string());
        let decided = self.actor(approver, |actor| access.decide(actor, &[], (&id, &digest), Verdict::Approve, None));
        decided.map_or_else(|problem| problem.code, |request| request.state.as_str().to_owned())
    }

    fn vouch(&self, by: &(PrincipalId, String), whom: &(PrincipalId, String)) -> Result<PersonRecord, Problem> {
        let own = self.app.people.require_person(by.0.as_str()).expect("known");
        let by = self.principal(&by.1);
        let (people, by) = (&self.app.people, (&self.app.control, &by));
        let seen = people.to_vouch_for(by, &own, whom.0.as_str())?;
        people.vouch_for_person(by, &own, (whom.0.as_str(), &seen.digest))
    }
}

#[test]
fn attack_ch43_whom_somebody_made_approves_nothing_of_theirs_until_another_human_vouched() {
    let (running, _folder) = started(EnvironmentClass::Staging);
    let app = running.app();
    let doing = Doing { app, now: app.control.platform().clock.now() };
    let [kim, lee] = [("kim", Role::Operator), ("lee", Role::SecurityLead)]
        .map(|(name, role)| somebody(&app.people, &app.control, name, Some(role)));
    let one = doing.invite(&kim, "one@acme.example", Role::SecurityLead);
    let two = doing.invite(&kim, "two@acme.example", Role::Viewer);
    // The maker and whom they made, both ways; and whom those made.
    let three = doing.invite(&two, "three@acme.example", Role::SecurityLead);
    for (by, approver) in [(&kim, &one), (&one, &kim), (&two, &one), (&kim, &three), (&three, &one), (&one, &three)] {
        assert_eq!(doing.approved(by, approver), "access/same-person", "{} for {}", approver.0, by.0);
    }
    assert_eq!(doing.approved(&lee, &one), "approved", "of somebody else's, they approve what they may");
    assert_eq!(doing.approved(&one, &lee), "approved");

    // Nobody who has to do with the making vouches.
    for by in [&kim, &two, &three, &one] {
        assert_eq!(doing.vouch(by, &one).expect_err("no other human").code, "access/same-person", "{}", by.0);
    }
    doing.vouch(&lee, &one).expect("another human");
    assert_eq!(doing.vouch(&lee, &one).expect_err("once").code, "conflict/vouched");
    assert_eq!(doing.approved(&kim, &one), "approved");
    assert_eq!(doing.approved(&kim, &three), "access/same-person", "for the others nobody did");
    // Whoever is invited anew may be somebody else: the link is in the inviter's hands. Who was seen before, by whoever
    // signs just now, is nobody to vouch for.
    let (own, by) = (app.people.require_person(lee.0.as_str()).expect("known"), doing.principal(&lee.1));
    let seen = app.people.to_vouch_for((&app.control, &by), &own, two.0.as_str()).expect("theirs to vouch for");
    doing.invite(&kim, "two@acme.example", Role::Viewer);
    let late = app.people.vouch_for_person((&app.control, &by), &own, (two.0.as_str(), &seen.digest));
    assert_eq!(late.expect_err("another link is out").code, "conflict/invited-anew");
    assert_eq!(app.people.require_person(two.0.as_str()).expect("known").behind().as_str(), "kim");
    let one = doing.invite(&kim, "one@acme.example", Role::SecurityLead);
    assert_eq!(doing.approved(&kim, &one), "access/same-person");

    // Whose accounts become known as one human's are so for those that they made.
    let jo = somebody(&app.people, &app.control, "jo", Some(Role::Operator));
    let by = doing.principal(&lee.1);
    let given = Assigned {
        tenant: None,
        roles: BTreeSet::from([Role::Operator]),
        human: Some(jo.0.clone()),
        need: Some("Makes tenants and gives people their roles".to_owned()),
    };
    app.people.assign((&app.control, &by), "kim", given).expect("assigned");
    assert_eq!(doing.approved(&jo, &one), "access/same-person");
    running.stop().expect("stops");
}

#[test]
fn attack_ch35_whom_somebody_made_holds_nothing_that_must_be_apart_from_their_makers_duties() {
    let (running, _folder) = started(EnvironmentClass::Staging);
    let app = running.app();
    let doing = Doing { app, now: app.control.platform().clock.now() };
    let [kim, pat, lee] = [("kim", Role::Administrator), ("pat", Role::Operator), ("lee", Role::SecurityLead)]
        .map(|(name, role)| somebody(&app.people, &app.control, name, Some(role)));
    let apart = |refused: Result<PersonRecord, Problem>| refused.expect_err("in one hand").code;
    // Whoever gives roles would make themselves a lead by another name, at once or in two steps.
    let refused = doing.try_invite(&kim, "one@acme.example", Role::SecurityLead);
    assert_eq!(refused.expect_err("in one hand").code, "duties/toxic");
    let one = doing.invite(&kim, "one@acme.example", Role::Viewer);
    assert_eq!(apart(doing.assign(&lee, &one.0, Role::SecurityLead)), "duties/toxic");
    // Through whom those made in turn, too.
    let next = doing.invite(&one, "next@acme.example", Role::Viewer);
    assert_eq!(apart(doing.assign(&lee, &next.0, Role::SecurityLead)), "duties/toxic");
    // And the other way round: it is the maker who is given the other half.
    let two = doing.invite(&pat, "two@acme.example", Role::SecurityLead);
    assert_eq!(apart(doing.assign(&lee, &pat.0, Role::Administrator)), "duties/toxic");
    // Once another human said whose the account is, it is theirs.
    doing.vouch(&lee, &one).expect("another human");
    doing.assign(&lee, &one.0, Role::SecurityLead).expect("in two hands");
    doing.vouch(&lee, &two).expect("another human");
    doing.assign(&lee, &pat.0, Role::Administrator).expect("in two hands");
    running.stop().expect("stops");
}

#[test]
fn attack_ch35_two_recovery_keys_are_one_humans_until_another_vouched_for_the_second_account() {
    use creta_identity::key::{KeyKind, SigningKey};
    let (running, _folder) = started(EnvironmentClass::Staging);
    let (people, control) = (&running.app().people, &running.app().control);
    let now = control.platform().clock.now();
    let [kim, one] = ["kim", "one"].map(|name| somebody(people, control, name, Some(Role::Operator)));
    let made = |maker: Option<&str>| {
        let maker = maker.map(|maker| PersonId::new(PrincipalId::parse(maker).expect("a name")));
        let made =
            |person: &PersonRecord| Ok::<_, Problem>(PersonRecord { stands_for: maker.clone(), ..person.clone() });
        people.persons.change("one", made).expect("written").expect("known")
    };
    made(Some("kim"));
    for (seed, who) in (1_u8..).zip([&kim, &one]) {
        let key = SigningKey::from_random(KeyKind::P256, &[seed; 32]);
        let proof = creta_identity::recovery::sign_registration(control.environment_id(), who.0.as_str(), &key);
        let person = people.require_person(who.0.as_str()).expect("known");
        let by = people.principal_in(&who.1, now).expect("signed in");
        people.add_recovery_key(control, &by, (&person, &key.public()), &proof, now).expect("registered");
    }
    assert_eq!(people.who_could_recover(), 1);
    let (_, entry) = crate::witness::entries_of(control.log(), &[recovery_keys::ADDED]).expect("read").remove(1);
    assert_eq!(entry.details["human"], "kim", "a restore, which has the log alone, knows as much");
    made(None);
    assert_eq!(people.who_could_recover(), 2);
    running.stop().expect("stops");
}

#[test]
fn in_development_one_person_plays_all_parts() {
    let (running, _folder) = started(EnvironmentClass::Development);
    let app = running.app();
    let doing = Doing { app, now: app.control.platform().clock.now() };
    let kim = somebody(&app.people, &app.control, "kim", Some(Role::Administrator));
    let one = doing.invite(&kim, "one@acme.example", Role::SecurityLead);
    assert_eq!(doing.approved(&kim, &one), "approved");
    running.stop().expect("stops");
}
