//! What a revocation makes the server forget: what it knew of whom was revoked, and nothing of anybody else.

use creta_audit::{Details, Permit};
use creta_iam::{Action, FeatureSet, Place, Principal, PrincipalId, Role};
use creta_model::{Environment, Scope, TenantId};

use crate::context::resource;
use crate::control_plane::ControlPlane;

fn permit(control: &ControlPlane, action: Action, place: &Place) -> Permit {
    let checker = match place {
        Place::Scope(scope) => Principal::service_account(name("checks"), scope.clone(), Role::Checker),
        Place::Environment(environment) => Principal::environment_account(name("checks"), environment, Role::Checker),
    };
    let decision = control.decide(&checker, action, &resource(place, FeatureSet::none()));
    control.admit(decision, Details::none()).expect("allowed")
}

fn name(text: &str) -> PrincipalId {
    PrincipalId::parse(text).expect("a name")
}

#[test]
fn one_revocation_empties_nobody_elses_cache() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let environment = Environment::parse("prod").expect("valid");
    crate::init(&data, &environment, &crate::InitOptions::default()).expect("made");
    let listen = Some("127.0.0.1:0".parse().expect("an address"));
    let running = crate::start(&crate::ServeOptions { folder: data, listen }).expect("starts");
    let control = &running.app().control;
    let accounts = ["acme", "globex"].map(|tenant| {
        let tenant = TenantId::parse(tenant).expect("valid");
        control.create_tenant(&tenant, &permit(control, Action::TenantCreate, &control.place())).expect("made");
        let place = Place::Scope(Scope::new(tenant, environment.clone()));
        let may = permit(control, Action::ServiceAccountCreate, &place);
        control
            .create_service_account(&name("scoring"), (Role::Reader, crate::accounts::Binding::IfShown), &may, |_| true)
            .expect("made")
            .0
    });
    let ask = |account: &crate::accounts::Account| {
        (account.principal.clone(), resource(&account.principal.home(), FeatureSet::none()))
    };
    let known = |account| {
        let (principal, resource) = ask(account);
        control.decision_known(&principal, Action::Query, &resource).is_some()
    };
    for account in &accounts {
        let (principal, resource) = ask(account);
        assert!(control.decide(&principal, Action::Query, &resource).is_allowed());
        assert!(known(account));
    }
    control.revoke_for_review(&accounts[0].client_id, "a-review").expect("revoked");
    assert!(!known(&accounts[0]), "whoever was revoked is asked about anew");
    assert!(known(&accounts[1]), "and nobody else");
    running.stop().expect("stops");
}
