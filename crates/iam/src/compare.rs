//! Whether one set of policies allows more than another: asked of everybody there can be, about everything.

use std::collections::{BTreeSet, HashMap};

use cedar_policy::{Effect, Policy, PolicySet};
use creta_model::{Environment, EnvironmentClass, Scope};
use serde::Serialize;

use crate::decision::out_of_reach;
use crate::digest::{canonical, digest};
use crate::policies::{PrincipalKind, questions, refused, words_in};
use crate::question::Question;
use crate::{
    Assurance, DeviceTrust, GrantId, HeldGrant, IamError, Identity, Person, Place, Policies, Principal, PrincipalId,
    Purpose, Reason, Role, Seal, Standing,
};

/// Most words of conditions that are combined in every way. A change that speaks of more is never said to allow no more.
const WORDS_MAX: usize = 6;
/// Most roles of policies of one's own that are combined in every way, for good and by a grant. As with words, a change that
/// speaks of more is never said to allow no more.
const ROLES_MAX: usize = 3;

/// Something that one set of policies allows and another does not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Allowance {
    /// Who, in words: `person as developer by grant, of the environment, user verified, trusted device`.
    pub who: String,
    /// What: an action, or `feature.return`, `feature.return-tokenised`, `feature.return-masked`, `feature.use`.
    pub action: String,
    /// Where: `own scope`, `scope of a tenant` or `environment`.
    pub place: &'static str,
    /// Class of the environment.
    pub class: EnvironmentClass,
    /// Tags of the features asked for.
    pub tags: Vec<String>,
    /// Purpose stated, if it matters which.
    pub purpose: Option<String>,
}

/// How a new set of policies differs from an old one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// What the new set allows and the old does not, in order.
    pub wider: Vec<Allowance>,
    /// What the old set allows and the new does not, in order.
    pub narrower: Vec<Allowance>,
}

impl Comparison {
    /// Whether the new set allows anything that the old does not. That needs a second person.
    pub fn is_widening(&self) -> bool {
        !self.wider.is_empty()
    }

    /// Canonical JSON (RFC 8785): what the second person looks at.
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical(self)
    }

    /// `sha256:<hex>` of it: what an approval names.
    pub fn digest(&self) -> String {
        digest(self)
    }
}

/// Compares two sets of policies on every question of a bounded world: each identity with its role for good, by a grant, and
/// with all roles at once; people of the environment and of a tenant, of each degree of assurance, with the seal intact and
/// broken; each action and each question about a feature; the own scope, that of a tenant, and the environment; each class;
/// every subset of the tags that policies speak of there together with one that they do not know; no purpose, another one, and
/// each that policies speak of.
///
/// If nothing wider is found so, and a permit was added or a forbid taken away, people are asked about who have the roles that
/// policies of one's own speak of in every combination, for good and by a grant, each with one role more. Any witness of a
/// widening has one among these: built-in policies need of it one role that permits, and one grant that a boundary asks for.
/// Where there are too many roles or words to combine, the change counts as wider, since nobody looked.
///
/// What is outside is what no policy distinguishes: names of people, tenants and features. A policy that does name one
/// (`principal == ...`, `resource == ...`) is refused with [`IamError::Policies`], since no bounded world shows its effect.
///
/// Some seconds when a boundary changed, less for a policy that applies to few.
pub fn compare(old: &Policies, new: &Policies) -> Result<Comparison, IamError> {
    let changes = Changes::between(old, new)?;
    let words: BTreeSet<String> = old.words()?.union(&new.words()?).cloned().collect();
    let purposes = if old.mentions("purpose")? || new.mentions("purpose")? { purposes(&words) } else { vec![None] };
    let mut asking = Asking { old, new, changes, purposes, tag_sets: HashMap::new(), unasked: false };
    let mut comparison = Comparison { wider: Vec::new(), narrower: Vec::new() };
    for somebody in everybody() {
        asking.ask(&somebody, &mut comparison)?;
    }
    if comparison.wider.is_empty() && asking.changes.may_widen() {
        let roles = roles_of_own(old, new)?;
        let sets = if roles.len() <= ROLES_MAX { combined(&roles) } else { Vec::new() };
        asking.unasked |= roles.len() > ROLES_MAX;
        let mut combined = Comparison { wider: Vec::new(), narrower: Vec::new() };
        if !asking.unasked {
            for somebody in people(sets) {
                asking.ask(&somebody, &mut combined)?;
            }
        }
        comparison.wider = if asking.unasked { asking.changes.unasked(new) } else { combined.wider };
    }
    comparison.wider.sort();
    comparison.narrower.sort();
    Ok(comparison)
}

/// The questions of a comparison.
struct Asking<'a> {
    old: &'a Policies,
    new: &'a Policies,
    changes: Changes,
    purposes: Vec<Option<Purpose>>,
    /// The sets of tags that tell policies apart, by what is asked.
    tag_sets: HashMap<(PrincipalKind, &'static str), Vec<Vec<String>>>,
    /// Whether there were more words than are combined.
    unasked: bool,
}

impl Asking<'_> {
    fn ask(&mut self, somebody: &Somebody, comparison: &mut Comparison) -> Result<(), IamError> {
        let (old, new) = (self.old, self.new);
        for (place_name, place) in places() {
            let within_reach = out_of_reach(&somebody.principal, &place).is_none();
            let question = Question::new(old, &somebody.principal, &place, None).filter(|_| within_reach);
            let Some(mut question) = question else { continue };
            let kind = question.kind();
            let can_concern = questions().filter(|action| self.changes.can_apply(old, kind, action));
            let concerned: Vec<&'static str> =
                can_concern.filter(|action| self.changes.may_concern(&question, action)).collect();
            for action in &concerned {
                self.require_tag_sets(kind, action)?;
            }
            for (class, purpose) in
                EnvironmentClass::ALL.iter().flat_map(|c| self.purposes.iter().map(move |p| (*c, p)))
            {
                question.set_circumstances(class, purpose.as_ref());
                let sets = concerned.iter().flat_map(|a| self.tag_sets[&(kind, *a)].iter().map(move |tags| (*a, tags)));
                for (action, tags) in sets {
                    let asked = tags.iter().map(String::as_str).collect();
                    if !self.changes.concern(&question, action, &asked) {
                        continue;
                    }
                    let allowed = |policies| question.ask_policies(policies, action, &asked).0 == Reason::Permitted;
                    let side = match (allowed(old), allowed(new)) {
                        (false, true) => &mut comparison.wider,
                        (true, false) => &mut comparison.narrower,
                        (true, true) | (false, false) => continue,
                    };
                    side.push(Allowance {
                        who: somebody.who.clone(),
                        action: action.to_owned(),
                        place: place_name,
                        class,
                        tags: tags.clone(),
                        purpose: purpose.as_ref().map(|purpose| purpose.as_str().to_owned()),
                    });
                }
            }
        }
        Ok(())
    }

    /// Only words of policies that can have a say here tell anything apart here.
    fn require_tag_sets(&mut self, kind: PrincipalKind, action: &'static str) -> Result<(), IamError> {
        if !self.tag_sets.contains_key(&(kind, action)) {
            let mut words = words_in(self.old.slice(kind, action))?;
            words.extend(words_in(self.new.slice(kind, action))?);
            self.unasked |= words.len() > WORDS_MAX;
            self.tag_sets.insert((kind, action), subsets(&words));
        }
        Ok(())
    }
}

/// The policies in which two sets differ. Decisions can differ only where one of them has something to say, which is much
/// quicker to ask than both sets.
struct Changes {
    changed: [PolicySet; 2],
    /// The same without their conditions: whom, what and where they can concern at all.
    heads: [PolicySet; 2],
}

impl Changes {
    fn between(old: &Policies, new: &Policies) -> Result<Self, IamError> {
        let changed = [changed(old, new)?, changed(new, old)?];
        let heads = [heads(&changed[0])?, heads(&changed[1])?];
        Ok(Self { changed, heads })
    }

    /// Whether one of them can have a say there, by what stands before their conditions.
    fn can_apply(&self, policies: &Policies, kind: PrincipalKind, action: &str) -> bool {
        self.changed.iter().flat_map(PolicySet::policies).any(|policy| policies.can_apply(policy, kind, action))
    }

    /// Whether anything could be allowed that was not. A forbid more and a permit less allow nothing more.
    fn may_widen(&self) -> bool {
        self.widening().next().is_some()
    }

    fn widening(&self) -> impl Iterator<Item = &Policy> {
        let of = |set: usize, effect: Effect| self.changed[set].policies().filter(move |p| p.effect() == effect);
        of(0, Effect::Forbid).chain(of(1, Effect::Permit))
    }

    /// What could be wider and was not asked.
    fn unasked(&self, policies: &Policies) -> Vec<Allowance> {
        let mut all = Vec::new();
        for policy in self.widening() {
            let concerns = |action: &&str| PrincipalKind::ALL.iter().any(|k| policies.can_apply(policy, *k, action));
            let who = format!("perhaps somebody: `{}` tells more roles or words apart than are compared", policy.id());
            for (action, class) in questions().filter(concerns).flat_map(|a| EnvironmentClass::ALL.map(|c| (a, c))) {
                let (who, action) = (who.clone(), action.to_owned());
                all.push(Allowance { who, action, place: "some place", class, tags: Vec::new(), purpose: None });
            }
        }
        all
    }

    fn may_concern(&self, question: &Question<'_>, action: &str) -> bool {
        self.heads.iter().any(|heads| says_something(question, heads, action, &BTreeSet::new()))
    }

    fn concern(&self, question: &Question<'_>, action: &str, tags: &BTreeSet<&str>) -> bool {
        self.changed.iter().any(|changed| says_something(question, changed, action, tags))
    }
}

fn says_something(question: &Question<'_>, set: &PolicySet, action: &str, tags: &BTreeSet<&str>) -> bool {
    if set.is_empty() {
        return false;
    }
    let (reason, deciding) = question.ask_set(set, action, tags);
    reason == Reason::Unanswerable || !deciding.is_empty()
}

/// The policies of `here` that `there` has not, or otherwise.
fn changed(here: &Policies, there: &Policies) -> Result<PolicySet, IamError> {
    let mut changed = PolicySet::new();
    for policy in here.set.policies() {
        // In JSON, where neither spacing nor comments count.
        let json = policy.to_json().map_err(refused)?;
        let other = there.set.policy(policy.id()).map(|other| other.to_json().map_err(refused)).transpose()?;
        if other != Some(json) {
            changed.add(policy.clone()).map_err(refused)?;
        }
    }
    Ok(changed)
}

fn heads(set: &PolicySet) -> Result<PolicySet, IamError> {
    let mut heads = PolicySet::new();
    for policy in set.policies() {
        let mut json = policy.to_json().map_err(refused)?;
        json["conditions"] = serde_json::json!([]);
        heads.add(Policy::from_json(Some(policy.id().clone()), json).map_err(refused)?).map_err(refused)?;
    }
    Ok(heads)
}

struct Somebody {
    who: String,
    principal: Principal,
}

fn environment() -> Environment {
    Environment::parse("bounded").expect("a valid name")
}

fn scope(tenant: &str) -> Scope {
    Scope::parse(tenant, "bounded").expect("valid names")
}

fn places() -> [(&'static str, Place); 3] {
    [
        ("own scope", Place::Scope(scope("own"))),
        ("scope of a tenant", Place::Scope(scope("tenant"))),
        ("environment", Place::Environment(environment())),
    ]
}

fn everybody() -> Vec<Somebody> {
    let id = PrincipalId::parse("somebody").expect("a valid id");
    let mut all = Vec::new();
    for identity in Identity::all() {
        let who = identity.to_string();
        match identity {
            Identity::Administrator => {
                all.push(Somebody { who, principal: Principal::administrator(id.clone(), environment()) });
            }
            Identity::Program(role) => {
                let own = Principal::service_account(id.clone(), scope("own"), role);
                all.push(Somebody { who: format!("{who}, of a tenant"), principal: own });
                let of_environment = Principal::environment_account(id.clone(), &environment(), role);
                all.push(Somebody { who: format!("{who}, of the environment"), principal: of_environment });
            }
            Identity::Person(_) => {}
        }
    }
    all.extend(people(role_sets()));
    all
}

/// People with these roles, of a tenant and of the environment, of each degree of assurance.
fn people(role_sets: Vec<RoleSet>) -> Vec<Somebody> {
    let id = PrincipalId::parse("somebody").expect("a valid id");
    let mut all = Vec::new();
    for (home_name, home) in
        [("a tenant", Place::Scope(scope("own"))), ("the environment", Place::Environment(environment()))]
    {
        for RoleSet { name, roles, granted } in &role_sets {
            for (assurance_name, assurance) in assurances() {
                let grant = |role: &Role| HeldGrant {
                    id: GrantId::parse(role.as_str()).expect("names of roles are valid ids"),
                    role: *role,
                    place: home.clone(),
                };
                let standing = Standing {
                    roles: roles.iter().copied().collect(),
                    grants: granted.iter().map(grant).collect(),
                    assurance,
                    class: EnvironmentClass::Development, // The question says which.
                };
                all.push(Somebody {
                    who: format!("person {name}, of {home_name}, {assurance_name}"),
                    principal: Principal::Person(Person::new(id.clone(), home.clone(), standing)),
                });
            }
        }
    }
    all
}

/// Roles for good and by grants, with words for them.
struct RoleSet {
    name: String,
    roles: Vec<Role>,
    granted: Vec<Role>,
}

/// No role, each for good, each by a grant, and all of them both ways.
fn role_sets() -> Vec<RoleSet> {
    let set = |name: &str, roles: &[Role], granted: &[Role]| RoleSet {
        name: name.to_owned(),
        roles: roles.to_vec(),
        granted: granted.to_vec(),
    };
    let mut sets = vec![set("without a role", &[], &[])];
    for role in Role::OF_PEOPLE {
        sets.push(set(&format!("as {role}"), &[*role], &[]));
        sets.push(set(&format!("as {role} by grant"), &[], &[*role]));
    }
    sets.push(set("in every role", Role::OF_PEOPLE, &[]));
    sets.push(set("in every role by grant", &[], Role::OF_PEOPLE));
    sets
}

/// These roles in every combination, each not at all, for good, or by a grant, and each of the others beside one of these.
fn combined(roles: &BTreeSet<Role>) -> Vec<RoleSet> {
    let mut states: Vec<Vec<(Role, bool)>> = vec![Vec::new()];
    for role in roles {
        let with = |state: &Vec<(Role, bool)>, granted| state.iter().copied().chain([(*role, granted)]).collect();
        let more: Vec<_> = states.iter().flat_map(|state| [with(state, false), with(state, true)]).collect();
        states.extend(more);
    }
    let others: Vec<Role> = Role::OF_PEOPLE.iter().copied().filter(|role| !roles.contains(role)).collect();
    let mut sets = Vec::new();
    for state in states {
        let beside = others.iter().flat_map(|role| [Some((*role, false)), Some((*role, true))]);
        for other in [None].into_iter().chain(beside) {
            let all: Vec<(Role, bool)> = state.iter().copied().chain(other).collect();
            let of = |by_grant: bool| all.iter().filter(|(_, g)| *g == by_grant).map(|(role, _)| *role).collect();
            let word = |(role, granted): &(Role, bool)| format!("{role}{}", if *granted { " by grant" } else { "" });
            let name = format!("as {}", all.iter().map(word).collect::<Vec<_>>().join(" and "));
            sets.push(RoleSet { name, roles: of(false), granted: of(true) });
        }
    }
    sets
}

/// The roles that policies of one's own speak of, and the built-in ones that they take the place of.
fn roles_of_own(old: &Policies, new: &Policies) -> Result<BTreeSet<Role>, IamError> {
    let built_in = Policies::load()?;
    let mut roles = BTreeSet::new();
    for set in [old, new] {
        for own in [changed(set, &built_in)?, changed(&built_in, set)?] {
            for policy in own.policies() {
                collect_roles(&policy.to_json().map_err(refused)?, &mut roles);
            }
        }
    }
    Ok(roles)
}

fn collect_roles(json: &serde_json::Value, roles: &mut BTreeSet<Role>) {
    match json {
        serde_json::Value::Object(members) => {
            let kind = members.get("type").and_then(serde_json::Value::as_str);
            if matches!(kind, Some("Creta::Role" | "Creta::Granted")) {
                let named = |role: &&Role| members.get("id").and_then(serde_json::Value::as_str) == Some(role.as_str());
                roles.extend(Role::OF_PEOPLE.iter().find(named));
            }
            members.values().for_each(|member| collect_roles(member, roles));
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| collect_roles(item, roles)),
        _ => {}
    }
}

fn assurances() -> Vec<(String, Assurance)> {
    let mut all = Vec::new();
    for (seal, seal_name) in [(Seal::Intact, ""), (Seal::Broken, "under a broken seal, ")] {
        for (user_verified, verified) in [(false, "not verified"), (true, "user verified")] {
            for device in DeviceTrust::ALL {
                let assurance = Assurance { user_verified, device: *device, seal };
                all.push((format!("{seal_name}{verified}, device {}", device.as_str()), assurance));
            }
        }
    }
    all
}

pub(crate) fn subsets(words: &BTreeSet<String>) -> Vec<Vec<String>> {
    let words: Vec<&String> = words.iter().collect();
    let known: Vec<Vec<String>> = if words.len() <= WORDS_MAX {
        (0..1usize << words.len())
            .map(|mask| (0..words.len()).filter(|n| mask >> n & 1 == 1).map(|n| words[n].clone()).collect())
            .collect()
    } else {
        let pairs = (0..words.len()).flat_map(|a| (0..=a).map(move |b| (a, b)));
        let pair = |(a, b): (usize, usize)| {
            if a == b { vec![words[a].clone()] } else { vec![words[a].clone(), words[b].clone()] }
        };
        let all = words.iter().map(|word| (*word).clone()).collect();
        [Vec::new()].into_iter().chain(pairs.map(pair)).chain([all]).collect()
    };
    let other = "another-tag".to_owned();
    let with_other = known.iter().map(|tags| tags.iter().chain([&other]).cloned().collect());
    known.iter().cloned().chain(with_other).collect()
}

/// None, one that nobody speaks of, and each word that could be one.
fn purposes(words: &BTreeSet<String>) -> Vec<Option<Purpose>> {
    let another = Some(Purpose::parse("another purpose").expect("a valid purpose"));
    [None, another].into_iter().chain(words.iter().filter_map(|word| Purpose::parse(word).ok()).map(Some)).collect()
}

/// Policies that somebody proposes, with what they change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProposedPolicies {
    /// The text that is added to the built-in policies.
    pub text: String,
    /// What it changes.
    pub comparison: Comparison,
    /// The human who proposes it, as the one source of identities names them.
    pub proposed_by: PrincipalId,
}

impl ProposedPolicies {
    /// Parses, lints and compares `text` with the policies that hold.
    pub fn new(old: &Policies, text: &str, proposed_by: PrincipalId) -> Result<Self, IamError> {
        let comparison = compare(old, &Policies::parse_with(text)?)?;
        Ok(Self { text: text.to_owned(), comparison, proposed_by })
    }

    /// `sha256:<hex>` of the text, what it changes and who proposes it: what an approval names.
    pub fn digest(&self) -> String {
        digest(self)
    }

    /// The policies, where they allow nothing more. [`IamError::Widening`] says how much more they do.
    pub fn adopt(&self) -> Result<Policies, IamError> {
        match self.comparison.wider.first() {
            None => Policies::parse_with(&self.text),
            Some(first) => {
                Err(IamError::Widening { count: self.comparison.wider.len(), first: Box::new(first.clone()) })
            }
        }
    }

    /// The policies, approved by another human than the one who proposed them. `seen` is the digest of what they saw.
    pub fn approve(&self, by: &PrincipalId, seen: &str) -> Result<Policies, IamError> {
        if *by == self.proposed_by {
            return Err(IamError::OwnProposal { by: by.clone() });
        }
        if seen != self.digest() {
            return Err(IamError::OtherProposal);
        }
        Policies::parse_with(&self.text)
    }
}

impl std::fmt::Display for Allowance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { who, action, place, class, tags, .. } = self;
        write!(f, "{who}: `{action}` on {place}, class {class}")?;
        if tags.is_empty() { Ok(()) } else { write!(f, ", tags {}", tags.join(", ")) }
    }
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
