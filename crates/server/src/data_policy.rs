//! What was agreed on about the data of one scope: row rules, and tags that no longer flow. Kept in the scope's own metadata
//! under its own key; what holds is what the log says was agreed on, and a store that says otherwise is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use creta_audit::{Event, Log, Permit};
use creta_engine::{DataPolicy, ScopeEngine};
use creta_iam::{Declassification, IamError, PrincipalId, ProposedDeclassification, RowRules, RowsComparison};
use creta_model::{Instant, Problem, Scope, Span};
use creta_programme::PersonRef;
use creta_proof::Hash;
use creta_store::MetadataStore;
use serde::{Deserialize, Serialize};

use crate::control_plane::ControlPlane;
use crate::problem::{from_audit, internal, logged};
use crate::two_people::{Matter, Proposal, State, TwoPeople};
use crate::witness::entries_of;

/// Row rules instead of those that hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RowsProposed {
    pub(crate) rules: RowRules,
}

impl Matter for RowsProposed {
    const KIND: &'static str = "row-rules";
    const FORMAT: &'static str = "creta.row-rules/1";
    const EVENTS: [&'static str; 3] = ["rows.proposed", "rows.adopted", "rows.ended"];
    const COMMITMENT: &'static str = "CI-20";
    const VOID_AFTER: Span = Span::days(14);
}

/// That a computed feature no longer carries a tag of what it is computed from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TagLifted {
    pub(crate) feature: String,
    pub(crate) tag: String,
    /// What decides the feature's values, as they were looked at.
    pub(crate) fingerprint: String,
    /// Where the tag comes from.
    pub(crate) sources: BTreeSet<String>,
}

impl Matter for TagLifted {
    const KIND: &'static str = "declassification";
    const FORMAT: &'static str = "creta.declassification/1";
    const EVENTS: [&'static str; 3] = ["declassify.proposed", "declassify.approved", "declassify.ended"];
    const COMMITMENT: &'static str = "CH-35";
    const VOID_AFTER: Span = Span::days(14);
}

/// That a deploy takes tags from features whose values are there: what the tags masked or withheld would be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TagsDropped {
    /// SHA-256 of the bundle as it was sent.
    pub(crate) bundle: Hash,
    /// Feature and tag.
    pub(crate) dropped: BTreeSet<(String, String)>,
}

impl Matter for TagsDropped {
    const KIND: &'static str = "tag-removal";
    const FORMAT: &'static str = "creta.tag-removal/1";
    const EVENTS: [&'static str; 3] = ["tags.removal-proposed", "tags.removal-approved", "tags.removal-ended"];
    const COMMITMENT: &'static str = "CI-20";
    const VOID_AFTER: Span = Span::hours(24);
}

/// What the log says holds in each scope: names of proposals and digests of their terms.
#[derive(Default)]
pub(crate) struct Agreed(BTreeMap<String, AgreedHere>);

#[derive(Default, Clone)]
struct AgreedHere {
    /// The row rules that were adopted last: which, their terms, and when.
    rows: Option<(String, String, Instant)>,
    /// Terms of each declassification that was approved, and whether it ended.
    lifted: BTreeMap<String, (String, bool)>,
}

impl Agreed {
    /// Reads the whole log once.
    pub(crate) fn read(log: &Log) -> Result<Self, Problem> {
        let [_, adopted, _] = RowsProposed::EVENTS;
        let [_, approved, ended] = TagLifted::EVENTS;
        let mut agreed = Self::default();
        for (_, entry) in entries_of(log, &[adopted, approved, ended]).map_err(|e| from_audit(&e))? {
            let Some(scope) = entry.scope() else { continue };
            let detail = |name: &str| entry.details.get(name).cloned().unwrap_or_default();
            let (id, terms) = (detail("proposal"), detail("terms"));
            let here = agreed.0.entry(scope.path()).or_default();
            match entry.action.as_str() {
                action if action == adopted => here.rows = Some((id, terms, entry.time)),
                action if action == approved => drop(here.lifted.insert(id, (terms, false))),
                _ => {
                    if let Some((_, over)) = here.lifted.get_mut(&id) {
                        *over = true;
                    }
                }
            }
        }
        Ok(agreed)
    }
}

/// All that was proposed about the data of a scope, and what holds of it.
pub(crate) struct ScopePolicy {
    pub(crate) rows: TwoPeople<RowsProposed>,
    pub(crate) lifted: TwoPeople<TagLifted>,
    pub(crate) dropped: TwoPeople<TagsDropped>,
    changing: Mutex<()>,
}

/// A proposal of row rules beside what it would change now.
pub(crate) struct RowsCompared {
    pub(crate) proposal: Proposal<RowsProposed>,
    pub(crate) comparison: RowsComparison,
    /// What an approval names: the proposal beside the rules that hold.
    pub(crate) digest: Hash,
    pub(crate) in_force: bool,
}

impl ScopePolicy {
    /// Reads what the scope's metadata holds; refused where the log says that something else was agreed on.
    pub(crate) fn open(scope: &Scope, metadata: Arc<dyn MetadataStore>, agreed: &Agreed) -> Result<Self, Problem> {
        let policy = Self {
            rows: TwoPeople::open(Arc::clone(&metadata))?,
            lifted: TwoPeople::open(Arc::clone(&metadata))?,
            dropped: TwoPeople::open(metadata)?,
            changing: Mutex::default(),
        };
        let of_log = agreed.0.get(&scope.path()).cloned().unwrap_or_default();
        if policy.follow_rows(of_log.rows.as_ref())? && policy.follow_lifted(&of_log.lifted)? {
            return Ok(policy);
        }
        Err(Problem::new("store/refused", "what is stored about rows and tags is not what the log says was agreed on")
            .with_note("scope", scope.to_string(), None)
            .with_help(
                "put the newest copy of the tenant's `metadata.sqlite` back; such rules change by a proposal only",
            ))
    }

    /// Makes the rules hold that the log says were adopted last, and no others; a crash may have come between the two. False
    /// where they are not there, or others hold that the log knows nothing of.
    fn follow_rows(&self, agreed: Option<&(String, String, Instant)>) -> Result<bool, Problem> {
        let held = self.rows.list(|proposal| proposal.approved_by().is_some());
        let Some((id, terms, at)) = agreed else { return Ok(held.is_empty()) };
        let Some(adopted) = self.rows.find(id).filter(|adopted| terms_of(adopted) == *terms) else { return Ok(false) };
        if adopted.approved_by().is_none() {
            let by = adopted.proposed_by.clone();
            self.rows.complete(id, State::Approved { by, at: *at })?;
        }
        for other in held.iter().filter(|held| held.id != adopted.id) {
            self.rows.complete(&other.id.to_string(), State::Ended { at: *at })?;
        }
        Ok(true)
    }

    /// The same of tags: what the log says has ended ends. What was approved and not written down stays open, so that the tag
    /// goes on flowing.
    fn follow_lifted(&self, agreed: &BTreeMap<String, (String, bool)>) -> Result<bool, Problem> {
        for held in self.lifted.list(|proposal| proposal.approved_by().is_some()) {
            let id = held.id.to_string();
            match agreed.get(&id) {
                Some((terms, over)) if *terms == terms_of(&held) => {
                    if *over {
                        self.lifted.complete(&id, State::Ended { at: held.proposed })?;
                    }
                }
                _ => return Ok(false),
            }
        }
        let there = |(id, (terms, over)): (&String, &(String, bool))| {
            *over || self.lifted.find(id).is_some_and(|lifted| terms_of(&lifted) == *terms)
        };
        Ok(agreed.iter().all(there))
    }

    /// The proposal of row rules that holds.
    pub(crate) fn rows_in_force(&self) -> Option<Proposal<RowsProposed>> {
        let at = |proposal: &Proposal<RowsProposed>| match proposal.state {
            State::Approved { at, .. } => Some(at),
            _ => None,
        };
        self.rows.list(|proposal| at(proposal).is_some()).into_iter().max_by_key(at)
    }

    /// The row rules that hold.
    pub(crate) fn rules(&self) -> RowRules {
        self.rows_in_force().map(|held| held.matter.rules).unwrap_or_default()
    }

    /// Everything that holds, for the engine.
    pub(crate) fn for_engine(&self) -> Result<DataPolicy, Problem> {
        let human = |person: &PersonRef| PrincipalId::parse(person.person.as_str()).map_err(|_| internal());
        let mut declassifications = Vec::new();
        for held in self.lifted.list(|proposal| proposal.approved_by().is_some()) {
            let Some(by) = held.approved_by() else { continue };
            let TagLifted { feature, tag, fingerprint, sources } = held.matter.clone();
            let proposed = ProposedDeclassification {
                feature,
                tag,
                fingerprint,
                sources,
                reason: held.reason.clone(),
                proposed_by: human(&held.proposed_by)?,
            };
            let digest = proposed.digest();
            let approved: Result<Declassification, IamError> = proposed.approve(human(by)?, &digest);
            declassifications.push(approved.map_err(|e| logged("a stored declassification breaks a rule", &e))?);
        }
        Ok(DataPolicy { rows: Arc::new(self.rules()), declassifications: Arc::new(declassifications) })
    }

    /// A proposal of row rules beside what it would change now.
    pub(crate) fn compared(&self, proposal: Proposal<RowsProposed>) -> RowsCompared {
        let held = self.rows_in_force();
        let rules = held.as_ref().map(|held| held.matter.rules.clone()).unwrap_or_default();
        let in_force = held.as_ref().is_some_and(|held| held.id == proposal.id);
        let comparison = proposal.matter.rules.compare(&rules);
        let digest = Hash::of(&[proposal.digest().as_bytes(), rules.digest().as_bytes()]);
        RowsCompared { proposal, comparison, digest, in_force }
    }

    /// Proposes rules instead of those that hold. What shows nothing more takes effect at once.
    pub(crate) fn propose_rows(
        &self,
        (control, engine, permit): (&ControlPlane, &ScopeEngine, &Permit),
        by: PersonRef,
        rules: RowRules,
        reason: &str,
    ) -> Result<RowsCompared, Problem> {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let rules = bound(engine, rules)?;
        let comparison = rules.compare(&self.rules());
        if !comparison.wider.is_empty() && permit.principal().person().is_none() {
            return Err(Problem::new("access/people-only", "these rules show more than those that hold")
                .with_note("for example", comparison.wider[0].clone(), None)
                .with_help("a person has to propose them, so that another can approve them: `creta login`"));
        }
        let proposal = self.rows.propose(control, permit, by.clone(), RowsProposed { rules }, reason)?;
        if !comparison.wider.is_empty() {
            return Ok(self.compared(proposal));
        }
        let before = self.rows_in_force();
        let adopted = self.rows.adopt(control, permit, by, &proposal.id.to_string())?;
        self.take_effect(control, engine, permit, before)?;
        let digest = adopted.digest();
        Ok(RowsCompared { proposal: adopted, comparison, digest, in_force: true })
    }

    /// Puts rules in force that another human proposed, as they were shown: `seen` is the digest of [`Self::compared`].
    pub(crate) fn approve_rows(
        &self,
        (control, engine, permit): (&ControlPlane, &ScopeEngine, &Permit),
        by: PersonRef,
        (id, seen): (&str, &str),
        other_human: impl FnOnce(&PersonRef) -> Result<(), Problem>,
    ) -> Result<RowsCompared, Problem> {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let compared = self.compared(self.rows.require(id)?);
        // The terms alone are not enough: they were shown beside the rules that held then.
        let terms =
            if compared.digest.to_string() == seen { compared.proposal.digest().to_string() } else { String::new() };
        let before = self.rows_in_force();
        let comparison = compared.comparison;
        let adopted = self.rows.approve(control, permit, by, (id, &terms), |proposal| {
            other_human(&proposal.proposed_by)?;
            if bound(engine, proposal.matter.rules.clone())? == proposal.matter.rules {
                return Ok(());
            }
            Err(Problem::new("conflict/changed", "the definitions that these rules speak of have changed since")
                .with_help("propose the rules again"))
        })?;
        self.take_effect(control, engine, permit, before)?;
        Ok(RowsCompared { digest: adopted.digest(), proposal: adopted, comparison, in_force: true })
    }

    /// Asks now what [`approve_rows`](Self::approve_rows) asks later, so that a mistake shows before anybody signs.
    pub(crate) fn require_rows_approvable(
        &self,
        (control, permit): (&ControlPlane, &Permit),
        by: &PersonRef,
        (id, seen): (&str, &str),
        other_human: impl FnOnce(&PersonRef) -> Result<(), Problem>,
    ) -> Result<RowsCompared, Problem> {
        let compared = self.compared(self.rows.require(id)?);
        let terms =
            if compared.digest.to_string() == seen { compared.proposal.digest().to_string() } else { String::new() };
        self.rows.require_approvable(control, permit, by, (id, &terms), |p| other_human(&p.proposed_by))?;
        Ok(compared)
    }

    /// What was agreed on holds for every request from here on; what held before has ended.
    fn take_effect(
        &self,
        control: &ControlPlane,
        engine: &ScopeEngine,
        permit: &Permit,
        before: Option<Proposal<RowsProposed>>,
    ) -> Result<(), Problem> {
        if let Some(before) = before {
            self.rows.end(control, permit, &before.id.to_string())?;
        }
        engine.set_policy(self.for_engine()?);
        Ok(())
    }

    /// Proposes that a feature no longer carries a tag, as the feature and the tag's sources are now.
    pub(crate) fn propose_lift(
        &self,
        (control, engine, permit): (&ControlPlane, &ScopeEngine, &Permit),
        by: PersonRef,
        (feature, tag): (String, String),
        reason: &str,
    ) -> Result<Proposal<TagLifted>, Problem> {
        let none = || {
            Problem::new("not-found/tag", format!("`{feature}` carries no tag `{tag}`"))
                .with_help(format!("`creta access explain query --feature {feature}` shows its tags"))
        };
        let (fingerprint, sources) = engine.declassification_of(&feature, &tag).ok_or_else(none)?;
        if sources.is_empty() {
            return Err(none());
        }
        if sources.contains(&feature) {
            return Err(Problem::new("declassify/own-tag", format!("`{feature}` has the tag `{tag}` by itself"))
                .with_help("change its definition if that is wrong"));
        }
        let matter = TagLifted { feature: feature.clone(), tag: tag.clone(), fingerprint, sources };
        self.lifted.propose(control, permit, by, matter, reason)
    }

    /// Approves it, if the feature is still what was looked at.
    pub(crate) fn approve_lift(
        &self,
        (control, engine, permit): (&ControlPlane, &ScopeEngine, &Permit),
        by: PersonRef,
        seen: (&str, &str),
        other_human: impl FnOnce(&PersonRef) -> Result<(), Problem>,
    ) -> Result<Proposal<TagLifted>, Problem> {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let approved = self.lifted.approve(control, permit, by, seen, |proposal| {
            other_human(&proposal.proposed_by)?;
            if self.holds(engine, &proposal.matter) {
                return Ok(());
            }
            Err(Problem::new("conflict/changed", "the feature, or where its tag comes from, has changed since")
                .with_help("look at the definitions, and propose it again"))
        })?;
        engine.set_policy(self.for_engine()?);
        Ok(approved)
    }

    /// Ends one, before or after it was approved.
    pub(crate) fn withdraw_lift(
        &self,
        (control, engine, permit): (&ControlPlane, &ScopeEngine, &Permit),
        id: &str,
    ) -> Result<Proposal<TagLifted>, Problem> {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = self.lifted.end(control, permit, id)?;
        engine.set_policy(self.for_engine()?);
        Ok(ended)
    }

    /// Ends for good what the definitions in force have voided: putting the old ones back does not bring it back.
    pub(crate) fn settle(
        &self,
        (control, engine, permit): (&ControlPlane, &ScopeEngine, &Permit),
    ) -> Result<(), Problem> {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let void = self.lifted.list(|held| held.approved_by().is_some() && !self.holds(engine, &held.matter));
        for held in &void {
            self.lifted.end(control, permit, &held.id.to_string())?;
        }
        if void.is_empty() { Ok(()) } else { self.for_engine().map(|policy| engine.set_policy(policy)) }
    }

    /// Lets a deploy take tags away that another human agreed to within the day; the agreement is used up. Else the removal
    /// waits for one from here on, and the deploy is refused.
    pub(crate) fn drop_tags(
        &self,
        (control, permit): (&ControlPlane, &Permit),
        by: PersonRef,
        matter: TagsDropped,
    ) -> Result<(), Problem> {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let now = control.platform().clock.now();
        let same = self.dropped.list(|known| known.matter == matter && now < known.void_at());
        if let Some(agreed) = same.iter().find(|known| known.approved_by().is_some()) {
            return self.dropped.end(control, permit, &agreed.id.to_string()).map(drop);
        }
        control.record(Event::of(permit, "deploy.refused").for_commitment(TagsDropped::COMMITMENT));
        let waiting = match same.into_iter().find(|known| known.state_at(now) == "open") {
            Some(waiting) => waiting,
            None => {
                let reason = "A deploy takes tags from features whose values are there already";
                self.dropped.propose(control, permit, by, matter, reason)?
            }
        };
        let id = waiting.id;
        let all: Vec<String> =
            waiting.matter.dropped.iter().map(|(feature, tag)| format!("`{feature}` loses `{tag}`")).collect();
        Err(Problem::new("access/second-person", "this deploy takes tags from features whose values are there already")
            .with_note("it would change", all.join(", "), None)
            .with_help(format!(
                "another person of the tenant agrees first: `creta access declassify approve-removal {id}`; then deploy the \
                 same project again within a day"
            )))
    }

    /// Whether a declassification would hold for the definitions in force.
    pub(crate) fn holds(&self, engine: &ScopeEngine, lifted: &TagLifted) -> bool {
        engine.declassification_of(&lifted.feature, &lifted.tag).is_some_and(|(fingerprint, sources)| {
            fingerprint == lifted.fingerprint && sources.is_subset(&lifted.sources)
        })
    }
}

fn terms_of<M: Matter>(proposal: &Proposal<M>) -> String {
    format!("sha256:{}", proposal.digest())
}

/// The rules, bound to the definitions in force.
fn bound(engine: &ScopeEngine, rules: RowRules) -> Result<RowRules, Problem> {
    rules.check().map_err(|error| Problem::new("rows/refused", error.to_string()))?;
    let rules = rules.rules.iter().map(|rule| engine.bind_row_rule(rule)).collect::<Result<_, _>>()?;
    Ok(RowRules { rules })
}
