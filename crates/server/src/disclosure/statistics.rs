//! Statistics for those who do not see values: one question per feature and day, in groups, within a budget, and never two
//! answers that differ by fewer entities than a group ([why](../../../../docs/decisions/0010-statistics-for-staff.md)).

use std::sync::{Arc, Mutex, PoisonError};

use creta_audit::{Details, Event, Permit};
use creta_disclosure::{Overspent, Redacted, Spent, Summary};
use creta_engine::ScopeEngine;
use creta_model::{FeaturePath, Instant, Problem, Scope};
use creta_proof::Hash;
use serde::{Deserialize, Serialize};

use super::{DAY, StatisticsConfig, day_of};
use crate::control_plane::ControlPlane;
use crate::http::App;
use crate::intake::Urgency;
use crate::problem::{from_audit, internal};
use crate::register::{Record, Register};

/// Answers kept of one feature. A new one is compared with all of them, and those of the entity's other features.
const TOLD_MAX: usize = 8;

/// What somebody asked today.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SpentRecord {
    format: String,
    who: String,
    spent: Spent,
}

/// At which instants a feature of a tenant was told about. The answers themselves are made anew from the facts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ToldRecord {
    format: String,
    /// `acme/User.age`.
    about: String,
    path: String,
    at: Vec<Instant>,
}

const SPENT_FORMAT: &str = "creta.statistics-spent/1";
const TOLD_FORMAT: &str = "creta.statistics-told/1";

impl Record for SpentRecord {
    const KIND: &'static str = "statistics-spent";
    fn id(&self) -> String {
        self.who.clone()
    }
    fn read(body: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(body).ok().filter(|record| record.format == SPENT_FORMAT)
    }
}

impl Record for ToldRecord {
    const KIND: &'static str = "statistics-told";
    fn id(&self) -> String {
        self.about.clone()
    }
    fn read(body: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(body).ok().filter(|record| record.format == TOLD_FORMAT)
    }
}

/// What was asked and told.
pub(crate) struct Statistics {
    config: StatisticsConfig,
    spent: Register<SpentRecord>,
    told: Register<ToldRecord>,
    /// One answer at a time, so that two at once are compared with one another too.
    telling: Mutex<()>,
}

impl Statistics {
    pub(super) fn open(config: StatisticsConfig, control: &ControlPlane) -> Result<Self, Problem> {
        let metadata = control.shared_metadata();
        Ok(Self {
            config,
            spent: Register::load(Arc::clone(&metadata))?,
            told: Register::load(metadata)?,
            telling: Mutex::default(),
        })
    }

    /// What may be told about a feature now. Counts against the budget of whoever asks, whatever comes of it.
    pub(crate) fn tell(
        &self,
        app: &App,
        engine: &ScopeEngine,
        path: &FeaturePath,
        permit: &Permit,
    ) -> Result<Redacted<Summary>, Problem> {
        let _alone = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        let scope = permit.scope().ok_or_else(internal)?;
        let now = app.control.platform().clock.now();
        self.spend(app, scope, path, permit, now)?;
        // The beginning of the day, UTC: whoever asks again that day gets the same again.
        let today = Instant::from_micros(day_of(now) * DAY).map_err(|_| internal())?;
        let earlier = self.earlier(scope, path);
        let mut asked = vec![(path.clone(), today)];
        asked.extend(earlier.iter().cloned());
        let populations = engine.populations(&asked, permit)?;
        let (new, told) = populations.split_first().ok_or_else(internal)?;
        let group = self.config.group;
        let own =
            || earlier.iter().zip(told).filter(|((other, _), _)| other == path).map(|((_, at), told)| (*at, told));
        if own().any(|(at, told)| at == today || told.is_too_close_to(new, group)) {
            // Told today, or so little happened since that both together would tell about few: the newest answer stands.
            let (at, told) = own().max_by_key(|(at, _)| *at).ok_or_else(internal)?;
            return self.summarise(path, at, told);
        }
        if let Some(((other, at), _)) = earlier.iter().zip(told).find(|(_, told)| told.is_too_close_to(new, group)) {
            return Err(Problem::new(
                "access/too-close",
                format!(
                    "this would differ from what was told about `{other}` as of {at} by fewer than {} entities",
                    group.get()
                ),
            )
            .with_help("together the two would tell about single entities; the earlier answer can be had again"));
        }
        let summary = self.summarise(path, today, new)?;
        self.keep(scope, path, today)?;
        Ok(summary)
    }

    fn summarise(
        &self,
        path: &FeaturePath,
        at: Instant,
        population: &creta_disclosure::Population,
    ) -> Result<Redacted<Summary>, Problem> {
        let summary = population.summary(&path.to_string(), at, self.config.group).map_err(|few| {
            Problem::new("access/too-few", few.to_string())
                .with_help("nothing is told about so few; ask when there are more")
        })?;
        Ok(Redacted::new(summary))
    }

    /// What was told about features of the same entity, oldest first for each.
    fn earlier(&self, scope: &Scope, path: &FeaturePath) -> Vec<(FeaturePath, Instant)> {
        let of_tenant = format!("{}/", scope.tenant);
        let told = self.told.list(|record| record.about.starts_with(&of_tenant));
        let told = told.into_iter().filter_map(|record| Some((FeaturePath::parse(&record.path).ok()?, record.at)));
        told.filter(|(other, _)| other.root == path.root)
            .flat_map(|(other, at)| at.into_iter().map(move |at| (other.clone(), at)))
            .collect()
    }

    fn keep(&self, scope: &Scope, path: &FeaturePath, at: Instant) -> Result<(), Problem> {
        let about = about(scope, path);
        let changed = self.told.change(&about, |record| {
            let mut record = record.clone();
            record.at.push(at);
            let more = record.at.len().saturating_sub(TOLD_MAX);
            record.at.drain(..more);
            Ok::<_, Problem>(record)
        })?;
        if changed.is_none() {
            let (format, path) = (TOLD_FORMAT.to_owned(), path.to_string());
            self.told.add(ToldRecord { format, about, path, at: vec![at] })?;
        }
        Ok(())
    }

    /// Takes one question from the budget of the day. Where it is used up it is refused, and somebody is woken.
    fn spend(
        &self,
        app: &App,
        scope: &Scope,
        path: &FeaturePath,
        permit: &Permit,
        now: Instant,
    ) -> Result<(), Problem> {
        let who = crate::context::counted(app, permit.principal());
        let about = about(scope, path);
        let ask = |spent: &Spent| spent.ask(day_of(now), &about, self.config.budget);
        let known = self.spent.with(&who, |record| record.spent.clone()).unwrap_or_default();
        match ask(&known) {
            Ok(spent) => {
                let record = SpentRecord { format: SPENT_FORMAT.to_owned(), who: who.clone(), spent };
                let changed = self.spent.change(&who, |_| Ok::<_, Problem>(record.clone()))?;
                if changed.is_none() {
                    self.spent.add(record)?;
                }
                Ok(())
            }
            Err(overspent) => Err(refuse(app, permit, &who, overspent)),
        }
    }
}

fn about(scope: &Scope, path: &FeaturePath) -> String {
    format!("{}/{path}", scope.tenant)
}

/// Records that somebody asked more than their budget, and has a page sent.
fn refuse(app: &App, permit: &Permit, who: &str, overspent: Overspent) -> Problem {
    let details = Details::none().count("budget", u64::from(overspent.questions)).map_err(|e| from_audit(&e));
    match details {
        Ok(details) => {
            app.control.record(Event::of(permit, "statistics.overspent").with(details).for_commitment("CH-19"));
        }
        Err(problem) => return problem,
    }
    let reference = format!("budget-{}", hex::encode(&Hash::of(&[who.as_bytes()]).as_bytes()[..8]));
    if let Err(error) = app.trust.pager.ask(&reference, app.control.platform().clock.now(), Urgency::Urgent) {
        tracing::error!(%error, "that somebody has to be paged could not be noted");
    }
    Problem::new("access/budget", overspent.to_string())
        .with_help("it is there again tomorrow, UTC; the on-call person was told")
}
