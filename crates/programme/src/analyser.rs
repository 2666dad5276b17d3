//! Least privilege, measured: rights that were held and not used, and the smaller set that would do.
//!
//! A right is unused when more than [`WINDOW`] has passed since it was given and since it last did something. Whoever is
//! younger than the window is not judged, and neither is a right that is.
//!
//! Touching a right to keep it is not using it. Left out of account, and shown instead, are
//! - uses that had no effect;
//! - sweeps: [`SWEEP_ACTIONS`] different actions or more by one subject, with at most [`SWEEP_GAP`] between each and the
//!   next, as a script does that walks through everything;
//! - a human's uses of one right at even intervals: [`REGULAR_USES`] or more, none of the intervals further than a fiftieth
//!   from their mean. Programs are regular by nature, so theirs count when they have an effect.
//!
//! A grant of hours is too short for that. [`judge_grants`] looks at all grants of one role that somebody had on one place
//! together: how often it was granted, and what of it was used in any of them. After [`GRANTS_JUDGED`] that are over it says
//! what was not.

use std::collections::{BTreeMap, BTreeSet};

use creta_iam::{Action, Place, Role};
use creta_model::{Instant, Span};
use serde::{Serialize, Serializer};

use crate::SubjectId;

/// How long a right may be idle.
pub const WINDOW: Span = Span::days(90);
/// So many different actions in a row are a sweep.
pub const SWEEP_ACTIONS: usize = 5;
/// The longest pause within a sweep.
pub const SWEEP_GAP: Span = Span::seconds(2);
/// So many uses at even intervals are no human's.
pub const REGULAR_USES: usize = 5;
/// Shorter intervals say nothing: people do click fast.
const REGULAR_INTERVAL_MIN: Span = Span::seconds(60);

/// An action at a place.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Permission {
    /// Where.
    pub place: Place,
    /// What.
    pub action: Action,
}

impl std::fmt::Display for Permission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.action, self.place.path())
    }
}

impl Serialize for Permission {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// So many grants of one role, all over, say something about what it is asked for.
pub const GRANTS_JUDGED: usize = 3;

/// What kind of subject it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Nature {
    /// A human, or a token of one.
    Human,
    /// A program.
    Program,
}

/// Somebody who holds rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Who.
    pub id: SubjectId,
    /// What kind.
    pub nature: Nature,
    /// Since when there is such a subject.
    pub since: Instant,
}

/// A right that somebody holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Granted {
    /// Who.
    pub subject: SubjectId,
    /// What and where.
    pub permission: Permission,
    /// By which role.
    pub role: Role,
    /// Since when, without interruption.
    pub since: Instant,
}

/// Whether a use did anything: changed something, or gave something to whoever asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// It did.
    Some,
    /// It changed nothing and gave nothing.
    None,
}

/// A use of a right, from the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// Who.
    pub subject: SubjectId,
    /// What and where.
    pub permission: Permission,
    /// When.
    pub at: Instant,
    /// Whether it did anything.
    pub effect: Effect,
}

/// How a use looks that only keeps a right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeepAlive {
    /// It had no effect.
    NoEffect,
    /// It was part of a walk through many actions.
    Sweep,
    /// It came at even intervals.
    Regular,
}

/// Uses of a right that do not count.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Suspicious {
    /// What and where.
    pub permission: Permission,
    /// How they look.
    pub pattern: KeepAlive,
    /// How many.
    pub uses: usize,
}

/// What is not as it should be about one subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Who.
    pub subject: SubjectId,
    /// Rights that are not used, in order.
    pub unused: Vec<Permission>,
    /// Uses that do not count, in order.
    pub suspicious: Vec<Suspicious>,
}

/// Actions of a role that none of its holders uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RoleFinding {
    /// Which role.
    pub role: Role,
    /// The actions, in order.
    pub unused: Vec<Action>,
}

/// What the analyser found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Analysis {
    /// Subjects with something unused or suspicious, in order.
    pub findings: Vec<Finding>,
    /// Roles with actions that no holder uses, in order. A role with a holder or a right too young to judge keeps its
    /// actions.
    pub roles: Vec<RoleFinding>,
    /// Subjects that are too young to be judged, in order.
    pub young: Vec<SubjectId>,
    /// What would do: the rights given, without the unused ones, in their order.
    pub proposal: Vec<Granted>,
}

impl Analysis {
    /// Whether the proposal gives nothing that `granted` does not. Holds by construction; whoever applies a proposal asks
    /// again.
    pub fn allows_subset_of(&self, granted: &[Granted]) -> bool {
        let known: BTreeSet<&Granted> = granted.iter().collect();
        self.proposal.iter().all(|right| known.contains(right))
    }
}

/// Compares what was held with what was used.
///
/// `uses` may come in any order and reach back as far as the log does; only those within the window before `now` matter.
/// A subject that is granted something but missing in `subjects` counts as a human who came with its first right. Time
/// O((granted + uses) log (granted + uses)).
pub fn analyse(subjects: &[Subject], granted: &[Granted], uses: &[Use], now: Instant) -> Analysis {
    let begin = now.minus(WINDOW);
    let people = people(subjects, granted);
    let mut by_subject = BTreeMap::<&SubjectId, Vec<&Use>>::new();
    for one in uses.iter().filter(|one| begin <= one.at && one.at <= now) {
        by_subject.entry(&one.subject).or_default().push(one);
    }
    let mut rights = BTreeMap::<&SubjectId, Vec<&Granted>>::new();
    for right in granted {
        rights.entry(&right.subject).or_default().push(right);
    }

    let mut unused = BTreeSet::<&Granted>::new();
    let mut kept_actions = BTreeSet::<(Role, Action)>::new();
    let (mut findings, mut young) = (Vec::new(), Vec::new());
    for (subject, rights) in &rights {
        let (nature, since) = people[subject];
        let is_young = begin <= since;
        if is_young {
            young.push((*subject).clone());
        }
        let (used, suspicious) = weigh(by_subject.remove(subject).unwrap_or_default(), nature);
        let idle: BTreeSet<&Granted> = rights
            .iter()
            .copied()
            .filter(|right| !is_young && right.since < begin && !used.contains(&right.permission))
            .collect();
        let kept = rights.iter().filter(|right| !idle.contains(*right));
        kept_actions.extend(kept.map(|right| (right.role, right.permission.action)));
        let mut names: Vec<Permission> = idle.iter().map(|right| right.permission.clone()).collect();
        names.sort_unstable();
        names.dedup();
        if !names.is_empty() || !suspicious.is_empty() {
            findings.push(Finding { subject: (*subject).clone(), unused: names, suspicious });
        }
        unused.extend(idle);
    }

    let mut roles = BTreeMap::<Role, BTreeSet<Action>>::new();
    for right in granted.iter().filter(|right| !kept_actions.contains(&(right.role, right.permission.action))) {
        roles.entry(right.role).or_default().insert(right.permission.action);
    }
    let roles = roles.into_iter().map(|(role, actions)| RoleFinding { role, unused: actions.into_iter().collect() });
    let proposal = granted.iter().filter(|right| !unused.contains(right)).cloned().collect();
    Analysis { findings, roles: roles.collect(), young, proposal }
}

/// A grant of hours, as it was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantUsed {
    /// Who held it.
    pub holder: SubjectId,
    /// Which role.
    pub role: Role,
    /// Where.
    pub place: Place,
    /// When it began.
    pub begun: Instant,
    /// When it was over; none while it holds.
    pub over: Option<Instant>,
    /// What the role amounts to there, beyond what everybody may do.
    pub may: BTreeSet<Action>,
    /// The actions that rested on it and had an effect.
    pub used: BTreeSet<Action>,
}

/// What all grants of one role to one holder on one place come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GrantsFinding {
    /// Who.
    pub holder: SubjectId,
    /// Which role.
    pub role: Role,
    /// Where.
    pub place: Place,
    /// How often it was granted and is over.
    pub grants: usize,
    /// In how many of these nothing was used.
    pub idle: usize,
    /// Whether they are enough to be judged.
    pub judged: bool,
    /// When the first of them began.
    pub since: Instant,
    /// What was used in any of them, in order.
    pub used: Vec<Action>,
    /// What was used in none, in order; empty while they are too few to be judged.
    pub unused: Vec<Action>,
}

impl GrantsFinding {
    /// Whether the role was granted again and again, and for nothing.
    pub fn is_idle(&self) -> bool {
        self.judged && self.used.is_empty()
    }
}

/// Judges grants of hours, those begun within the window before `now`, in the order of holder, role and place. One that
/// still holds is not judged. Time O(grants log grants).
pub fn judge_grants(grants: &[GrantUsed], now: Instant) -> Vec<GrantsFinding> {
    let begin = now.minus(WINDOW);
    let mut together = BTreeMap::<(&SubjectId, Role, &Place), Vec<&GrantUsed>>::new();
    for grant in grants.iter().filter(|grant| begin <= grant.begun && grant.over.is_some_and(|over| over <= now)) {
        together.entry((&grant.holder, grant.role, &grant.place)).or_default().push(grant);
    }
    let finding = |((holder, role, place), grants): ((&SubjectId, Role, &Place), Vec<&GrantUsed>)| {
        let used: BTreeSet<Action> = grants.iter().flat_map(|grant| grant.used.iter().copied()).collect();
        let may: BTreeSet<Action> = grants.iter().flat_map(|grant| grant.may.iter().copied()).collect();
        let judged = grants.len() >= GRANTS_JUDGED;
        GrantsFinding {
            holder: holder.clone(),
            role,
            place: place.clone(),
            grants: grants.len(),
            idle: grants.iter().filter(|grant| grant.used.is_empty()).count(),
            judged,
            since: grants.iter().map(|grant| grant.begun).min().unwrap_or(now),
            unused: if judged { may.difference(&used).copied().collect() } else { Vec::new() },
            used: used.into_iter().collect(),
        }
    };
    together.into_iter().map(finding).collect()
}

fn people<'a>(subjects: &'a [Subject], granted: &'a [Granted]) -> BTreeMap<&'a SubjectId, (Nature, Instant)> {
    let mut people = BTreeMap::new();
    for right in granted {
        let entry = people.entry(&right.subject).or_insert((Nature::Human, right.since));
        entry.1 = entry.1.min(right.since);
    }
    people.extend(subjects.iter().map(|subject| (&subject.id, (subject.nature, subject.since))));
    people
}

/// The permissions that one subject really used, and the uses that do not count.
fn weigh(mut uses: Vec<&Use>, nature: Nature) -> (BTreeSet<Permission>, Vec<Suspicious>) {
    uses.sort_by_key(|one| one.at);
    let sweeps = sweeps(&uses);
    let mut by_permission = BTreeMap::<&Permission, Vec<(&Use, bool)>>::new();
    for (one, swept) in uses.iter().zip(sweeps) {
        by_permission.entry(&one.permission).or_default().push((one, swept));
    }
    let (mut used, mut suspicious) = (BTreeSet::new(), Vec::new());
    for (permission, uses) in by_permission {
        let regular = nature == Nature::Human && is_regular(uses.iter().map(|(one, _)| one.at));
        let mut patterns = BTreeMap::<KeepAlive, usize>::new();
        for (one, swept) in uses {
            let pattern = match one.effect {
                Effect::None => KeepAlive::NoEffect,
                Effect::Some if swept => KeepAlive::Sweep,
                Effect::Some if regular => KeepAlive::Regular,
                Effect::Some => {
                    used.insert(permission.clone());
                    continue;
                }
            };
            *patterns.entry(pattern).or_default() += 1;
        }
        // Somebody who also really uses it may look at nothing now and then.
        if !used.contains(permission) {
            let of = |(pattern, uses)| Suspicious { permission: permission.clone(), pattern, uses };
            suspicious.extend(patterns.into_iter().map(of));
        }
    }
    (used, suspicious)
}

/// For each use, in order of time, whether it is part of a sweep.
fn sweeps(uses: &[&Use]) -> Vec<bool> {
    let mut swept = Vec::with_capacity(uses.len());
    for run in uses.chunk_by(|a, b| b.at <= a.at.plus(SWEEP_GAP)) {
        let actions: BTreeSet<Action> = run.iter().map(|one| one.permission.action).collect();
        swept.extend(std::iter::repeat_n(actions.len() >= SWEEP_ACTIONS, run.len()));
    }
    swept
}

/// Whether instants, in order, lie at even intervals.
fn is_regular(at: impl ExactSizeIterator<Item = Instant>) -> bool {
    let at: Vec<i64> = at.map(Instant::micros).collect();
    if at.len() < REGULAR_USES {
        return false;
    }
    let intervals = at.windows(2).map(|pair| pair[1] - pair[0]);
    let mean = (at[at.len() - 1] - at[0]) / (at.len() as i64 - 1);
    mean >= REGULAR_INTERVAL_MIN.micros()
        && intervals.map(|interval| (interval - mean).abs()).all(|off| off * 50 <= mean)
}
