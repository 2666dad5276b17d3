//! Whether one set of policies allows more than another: asked of everybody there can be, about everything.

use std::collections::BTreeSet;

use cedar_policy::{Policy, PolicySet};
use creta_model::{Environment, EnvironmentClass, Scope};
use serde::Serialize;

use crate::decision::out_of_reach;
use crate::digest::{canonical, digest};
use crate::policies::{questions, refused};
use crate::question::Question;
use crate::{
    Assurance, DeviceTrust, GrantId, HeldGrant, IamError, Identity, Person, Place, Policies, Principal, PrincipalId,
    Purpose, Reason, Role, Seal, Standing,
};

/// More words than these in conditions of added policies are combined in pairs only, not in every way.
const WORDS_MAX: usize = 5;

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
/// with all roles at once; people of the environment and of a tenant, of each degree of assurance; each action and each
/// question about a feature; the own scope, that of a tenant, and the environment; each class; every subset of the tags that
/// policies speak of together with one that they do not know; no purpose, another one, and each that policies speak of.
///
/// What is outside is what no policy distinguishes: names of people, tenants and features. A policy that does name one
/// (`principal == ...`, `resource == ...`) is refused with [`IamError::Policies`], since no bounded world shows its effect.
///
/// Some seconds when a boundary changed, less for a policy that applies to few.
pub fn compare(old: &Policies, new: &Policies) -> Result<Comparison, IamError> {
    let mut comparison = Comparison { wider: Vec::new(), narrower: Vec::new() };
    let changes = Changes::between(old, new)?;
    let words: BTreeSet<String> = old.words()?.union(&new.words()?).cloned().collect();
    let tag_sets = subsets(&words);
    let purposes = if old.mentions("purpose")? || new.mentions("purpose")? { purposes(&words) } else { vec![None] };
    for Somebody { who, principal } in everybody() {
        for (place_name, place) in places() {
            let within_reach = out_of_reach(&principal, &place).is_none();
            let question = Question::new(old, &principal, &place, None).filter(|_| within_reach);
            let Some(mut question) = question else { continue };
            let concerned: Vec<&'static str> =
                questions().filter(|action| changes.may_concern(&question, action)).collect();
            for (class, purpose) in EnvironmentClass::ALL.iter().flat_map(|c| purposes.iter().map(move |p| (*c, p))) {
                question.set_circumstances(class, purpose.as_ref());
                for (action, tags) in concerned.iter().flat_map(|a| tag_sets.iter().map(move |tags| (*a, tags))) {
                    let asked = tags.iter().map(String::as_str).collect();
                    if !changes.concern(&question, action, &asked) {
                        continue;
                    }
                    let allowed = |policies| question.ask_policies(policies, action, &asked).0 == Reason::Permitted;
                    let side = match (allowed(old), allowed(new)) {
                        (false, true) => &mut comparison.wider,
                        (true, false) => &mut comparison.narrower,
                        (true, true) | (false, false) => continue,
                    };
                    side.push(Allowance {
                        who: who.clone(),
                        action: action.to_owned(),
                        place: place_name,
                        class,
                        tags: tags.clone(),
                        purpose: purpose.as_ref().map(|purpose| purpose.as_str().to_owned()),
                    });
                }
            }
        }
    }
    comparison.wider.sort();
    comparison.narrower.sort();
    Ok(comparison)
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
    for (home_name, home) in
        [("a tenant", Place::Scope(scope("own"))), ("the environment", Place::Environment(environment()))]
    {
        for (roles_name, roles, granted) in role_sets() {
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
                    who: format!("person {roles_name}, of {home_name}, {assurance_name}"),
                    principal: Principal::Person(Person::new(id.clone(), home.clone(), standing)),
                });
            }
        }
    }
    all
}

/// No role, each for good, each by a grant, and all of them both ways.
fn role_sets() -> Vec<(String, Vec<Role>, Vec<Role>)> {
    let mut sets = vec![("without a role".to_owned(), Vec::new(), Vec::new())];
    for role in Role::OF_PEOPLE {
        sets.push((format!("as {role}"), vec![*role], Vec::new()));
        sets.push((format!("as {role} by grant"), Vec::new(), vec![*role]));
    }
    sets.push(("in every role".to_owned(), Role::OF_PEOPLE.to_vec(), Vec::new()));
    sets.push(("in every role by grant".to_owned(), Vec::new(), Role::OF_PEOPLE.to_vec()));
    sets
}

fn assurances() -> Vec<(String, Assurance)> {
    let mut all = Vec::new();
    for (user_verified, verified) in [(false, "not verified"), (true, "user verified")] {
        for device in DeviceTrust::ALL {
            let assurance = Assurance { user_verified, device: *device, seal: Seal::Intact };
            all.push((format!("{verified}, device {}", device.as_str()), assurance));
        }
    }
    let broken = Assurance { user_verified: false, device: DeviceTrust::None, seal: Seal::Broken };
    all.push(("under a broken seal".to_owned(), broken));
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

/// None, one that nobody speaks of, and each word that could be one. Built-in policies speak of no purpose.
fn purposes(words: &BTreeSet<String>) -> Vec<Option<Purpose>> {
    let built_in = ["credential", "internal", "pii", "pseudonymous", "secret"];
    let own = words.iter().filter(|word| !built_in.contains(&word.as_str()));
    let another = Some(Purpose::parse("another purpose").expect("a valid purpose"));
    [None, another].into_iter().chain(own.filter_map(|word| Purpose::parse(word).ok()).map(Some)).collect()
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
