//! How long a decision takes, warm and cold, for people who hold grants, with 10,000 grants in the index.
//!
//! `cargo run -p creta-iam --profile demo --example decision_speed -- [OUT.json] [DECISIONS]`; prints medians and 99th
//! percentiles. A warm decision is what a request costs that was asked before: finding the grants, making the person, and the
//! cache.
//!
//! On a machine with other work a decision is now and then interrupted for milliseconds, which says nothing of decisions. The
//! kernel counts interruptions of a thread, so those are told apart: percentiles are given with them and without.

use std::collections::{BTreeSet, HashMap};
use std::error::Error;
use std::io::Write as _;
use std::time::{Duration, Instant as Stopwatch};

use creta_iam::{
    Action, Assurance, DecisionCache, DeviceTrust, FeatureSet, GrantId, HeldGrant, Person, Place, Policies, Principal,
    PrincipalId, PrincipalKey, Resource, Role, Seal, Standing, decide,
};
use creta_model::{EnvironmentClass, Scope};

const HOLDERS: usize = 2_500;
const GRANTS_EACH: usize = 4;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next();
    let decisions: usize = arguments.next().map_or(Ok(5_000), |text| text.parse())?;
    let scope = Scope::parse("acme", "prod")?;
    let policies = Policies::load()?.in_class(EnvironmentClass::Production);
    let grants = grants(&scope)?;
    let features = FeatureSet::new([("User.email", vec!["pii"]), ("User.age", vec![]), ("User.score", vec!["pii"])]);
    let resource = Resource::features(scope.clone(), features);
    let cache = DecisionCache::new(HOLDERS * 2);

    let (mut cold, mut warm) = (Vec::new(), Vec::new());
    for n in 0..decisions {
        let holder = holder(n % HOLDERS, &scope)?;
        let ask = || decide(&policies, &person(&grants, &holder), Action::Query, &resource);
        let (decision, timed) = time(ask)?;
        cold.push(timed);
        assert!(decision.is_allowed(), "a developer by grant may ask");
    }
    for round in 0..2 {
        for n in 0..decisions {
            let holder = holder(n % HOLDERS, &scope)?;
            let ask = || cache.decide(&policies, &person(&grants, &holder), Action::Query, &resource);
            let (decision, timed) = time(ask)?;
            if round == 1 {
                warm.push(timed);
            }
            assert!(decision.is_allowed());
        }
    }
    let mut out = std::io::stdout();
    let mut report = serde_json::Map::new();
    writeln!(out, "{} grants of {HOLDERS} people, {decisions} decisions", HOLDERS * GRANTS_EACH)?;
    for (name, times) in [("cold", cold), ("warm", warm)] {
        let all = Sorted::new(times.iter().map(|timed| timed.took));
        let own = Sorted::new(times.iter().filter(|timed| !timed.interrupted).map(|timed| timed.took));
        writeln!(
            out,
            "{name}: median {:.1} us, 99th percentile {:.1} us; with the {} that were interrupted {:.1} us",
            own.at(50),
            own.at(99),
            all.0.len() - own.0.len(),
            all.at(99)
        )?;
        report.insert(
            name.to_owned(),
            serde_json::json!({
                "median_micros": own.at(50), "p99_micros": own.at(99), "p99_with_interrupted_micros": all.at(99),
                "interrupted": all.0.len() - own.0.len(), "decisions": all.0.len(),
            }),
        );
    }
    if let Some(file) = file {
        std::fs::write(file, serde_json::to_vec_pretty(&report)?)?;
    }
    Ok(())
}

struct Timed {
    took: Duration,
    /// Whether the kernel gave the processor to somebody else meanwhile.
    interrupted: bool,
}

fn time<T>(work: impl FnOnce() -> T) -> Result<(T, Timed), Box<dyn Error>> {
    let before = interruptions()?;
    let start = Stopwatch::now();
    let made = work();
    let took = start.elapsed();
    Ok((made, Timed { took, interrupted: interruptions()? != before }))
}

/// How often this thread lost the processor without waiting for anything (`proc_pid_status(5)`).
fn interruptions() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/thread-self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("nonvoluntary_ctxt_switches:"));
    Ok(line.ok_or("the kernel does not count interruptions")?.trim().parse()?)
}

/// In order, shortest first.
struct Sorted(Vec<Duration>);

impl Sorted {
    fn new(times: impl Iterator<Item = Duration>) -> Self {
        let mut times: Vec<Duration> = times.collect();
        times.sort();
        Self(times)
    }

    /// In microseconds.
    fn at(&self, percent: usize) -> f64 {
        micros(self.0[(self.0.len() - 1) * percent / 100])
    }
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn holder(n: usize, scope: &Scope) -> Result<PrincipalKey, Box<dyn Error>> {
    Ok(PrincipalKey::person(PrincipalId::parse(&format!("person-{n}"))?, Place::Scope(scope.clone())))
}

/// What each person was granted.
type Grants = HashMap<PrincipalKey, BTreeSet<HeldGrant>>;

/// What the policies are asked about, of somebody whose grants were found. Finding them as a server does is no part of this.
fn person(grants: &Grants, holder: &PrincipalKey) -> Principal {
    let standing = Standing {
        roles: [Role::Viewer].into(),
        grants: grants.get(holder).cloned().unwrap_or_default(),
        assurance: Assurance { user_verified: true, device: DeviceTrust::Trusted, seal: Seal::Intact },
        class: EnvironmentClass::Production,
    };
    Principal::Person(Person::new(holder.id().clone(), holder.home().clone(), standing))
}

fn grants(scope: &Scope) -> Result<Grants, Box<dyn Error>> {
    let mut grants = Grants::new();
    let roles = [Role::Developer, Role::DataScientist, Role::Viewer, Role::Auditor];
    for (n, role) in (0..HOLDERS).flat_map(|n| roles.into_iter().cycle().take(GRANTS_EACH).map(move |role| (n, role))) {
        let held = HeldGrant { id: GrantId::parse(&format!("{n}-{role}"))?, role, place: Place::Scope(scope.clone()) };
        grants.entry(holder(n, scope)?).or_default().insert(held);
    }
    Ok(grants)
}
