//! How long a decision takes, warm and cold, for people who hold grants, with 10,000 grants in the index.
//!
//! `cargo run -p creta-iam --profile demo --example decision_speed -- [DECISIONS]`; prints medians and 99th percentiles. A
//! warm decision is what a request costs that was asked before: finding the grants, making the person, and the cache.

use std::error::Error;
use std::io::Write as _;
use std::time::{Duration, Instant as Stopwatch};

use creta_iam::{
    Action, Assurance, DecisionCache, DeviceTrust, FeatureSet, Grant, GrantId, GrantIndex, HeldGrant, Person, Place,
    Policies, Principal, PrincipalId, PrincipalKey, Resource, Role, Seal, Standing, decide,
};
use creta_model::{EnvironmentClass, Instant, Scope, Span};

const HOLDERS: usize = 2_500;
const GRANTS_EACH: usize = 4;

fn main() -> Result<(), Box<dyn Error>> {
    let decisions: usize = std::env::args().nth(1).map_or(Ok(5_000), |text| text.parse())?;
    let now = Instant::parse("2026-03-01T12:00:00Z")?;
    let scope = Scope::parse("acme", "prod")?;
    let policies = Policies::load()?.in_class(EnvironmentClass::Production);
    let grants = grants(&scope, now)?;
    let features = FeatureSet::new([("User.email", vec!["pii"]), ("User.age", vec![]), ("User.score", vec!["pii"])]);
    let resource = Resource::features(scope.clone(), features);
    let cache = DecisionCache::new(HOLDERS * 2);

    let (mut cold, mut warm) = (Vec::new(), Vec::new());
    for n in 0..decisions {
        let holder = holder(n % HOLDERS, &scope)?;
        let start = Stopwatch::now();
        let decision = decide(&policies, &person(&grants, &holder, now), Action::Query, &resource);
        cold.push(start.elapsed());
        assert!(decision.is_allowed(), "a developer by grant may ask");
    }
    for round in 0..2 {
        for n in 0..decisions {
            let holder = holder(n % HOLDERS, &scope)?;
            let start = Stopwatch::now();
            let decision = cache.decide(&policies, &person(&grants, &holder, now), Action::Query, &resource);
            if round == 1 {
                warm.push(start.elapsed());
            }
            assert!(decision.is_allowed());
        }
    }
    let mut out = std::io::stdout();
    writeln!(out, "{} grants of {HOLDERS} people, {decisions} decisions", grants.len())?;
    for (name, mut times) in [("cold", cold), ("warm", warm)] {
        times.sort();
        let at = |share: usize| micros(times[(times.len() - 1) * share / 100]);
        writeln!(out, "{name}: median {:.1} us, 99th percentile {:.1} us", at(50), at(99))?;
    }
    Ok(())
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn holder(n: usize, scope: &Scope) -> Result<PrincipalKey, Box<dyn Error>> {
    Ok(PrincipalKey::person(PrincipalId::parse(&format!("person-{n}"))?, Place::Scope(scope.clone())))
}

/// As a server does it for each request: from its records, at that instant.
fn person(grants: &GrantIndex, holder: &PrincipalKey, now: Instant) -> Principal {
    let standing = Standing {
        roles: [Role::Viewer].into(),
        grants: grants.grants_of(holder, now).into_iter().collect(),
        assurance: Assurance { user_verified: true, device: DeviceTrust::Trusted, seal: Seal::Intact },
        class: EnvironmentClass::Production,
    };
    Principal::Person(Person::new(holder.id().clone(), holder.home().clone(), standing))
}

fn grants(scope: &Scope, now: Instant) -> Result<GrantIndex, Box<dyn Error>> {
    let mut index = GrantIndex::new();
    let roles = [Role::Developer, Role::DataScientist, Role::Viewer, Role::Auditor];
    for (n, role) in (0..HOLDERS).flat_map(|n| roles.into_iter().cycle().take(GRANTS_EACH).map(move |role| (n, role))) {
        let held = HeldGrant { id: GrantId::parse(&format!("{n}-{role}"))?, role, place: Place::Scope(scope.clone()) };
        index.insert(Grant { held, holder: holder(n, scope)?, from: now, until: now.plus(Span::hours(8)) })?;
    }
    Ok(index)
}
