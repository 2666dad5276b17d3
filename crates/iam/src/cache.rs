//! Decisions already made, so that a busy server asks the policies once per question and epoch.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::{Action, Decision, Policies, Principal, Resource, decide};

/// Remembers decisions by principal, action and resource. A hit costs well under a microsecond.
///
/// Bounded: when `entries_max` is reached the cache starts over, which costs one decision per question. What was decided in
/// an earlier epoch of its principal is not used: [`Policies::start_epoch_of`] makes it forget one principal,
/// [`Policies::start_epoch`] everybody. A decision that was under way meanwhile belongs to the earlier epoch.
#[derive(Debug)]
pub struct DecisionCache {
    entries_max: usize,
    known: Mutex<HashMap<Question, Decision>>,
}

type Question = (Principal, Action, Resource);

impl DecisionCache {
    /// A cache of at most `entries_max` decisions.
    pub fn new(entries_max: usize) -> Self {
        Self { entries_max, known: Mutex::default() }
    }

    /// What [`decide`] answers, now or earlier in this epoch of the principal.
    pub fn decide(&self, policies: &Policies, principal: &Principal, action: Action, resource: &Resource) -> Decision {
        let question = (principal.clone(), action, resource.clone());
        if let Some(decision) = self.find(policies.epoch_of(&principal.key()), &question) {
            return decision;
        }
        let decision = decide(policies, principal, action, resource); // Outside the lock: it takes its time.
        self.keep(question, decision.clone());
        decision
    }

    /// What was answered earlier in this epoch of the principal, if it is still known.
    pub fn known(
        &self,
        policies: &Policies,
        principal: &Principal,
        action: Action,
        resource: &Resource,
    ) -> Option<Decision> {
        self.find(policies.epoch_of(&principal.key()), &(principal.clone(), action, resource.clone()))
    }

    fn find(&self, epoch: u64, question: &Question) -> Option<Decision> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(question).filter(|decision| decision.epoch() == epoch).cloned()
    }

    fn keep(&self, question: Question, decision: Decision) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.get(&question).is_some_and(|newer| newer.epoch() > decision.epoch()) {
            return; // A new epoch began while this decision was made.
        }
        if known.len() >= self.entries_max {
            known.clear();
        }
        known.insert(question, decision);
    }
}

#[cfg(test)]
mod tests {
    use creta_model::Scope;

    use super::*;
    use crate::{PrincipalId, Role};

    fn developer(id: &str) -> Principal {
        let scope = Scope::parse("acme", "prod").expect("valid");
        Principal::service_account(PrincipalId::parse(id).expect("valid"), scope, Role::Developer)
    }

    #[test]
    fn the_same_question_is_asked_once_per_epoch() {
        let policies = Policies::load().expect("valid");
        let cache = DecisionCache::new(8);
        let resource = Resource::scope(Scope::parse("acme", "prod").expect("valid"));
        let ask = || cache.decide(&policies, &developer("etl"), Action::Query, &resource);

        let first = ask();
        assert!(first.is_allowed());
        assert!(std::ptr::eq(first.principal(), ask().principal()), "the second answer is the first one, remembered");

        policies.start_epoch();
        let later = ask();
        assert!(!std::ptr::eq(first.principal(), later.principal()), "a new epoch asks again");
        assert_eq!(later.epoch(), 1);
    }

    #[test]
    fn a_decision_of_an_earlier_epoch_is_not_kept() {
        let policies = Policies::load().expect("valid");
        let cache = DecisionCache::new(8);
        let resource = Resource::scope(Scope::parse("acme", "prod").expect("valid"));
        let question = (developer("etl"), Action::Query, resource.clone());
        let slow = decide(&policies, &question.0, question.1, &question.2);
        policies.start_epoch();
        cache.decide(&policies, &developer("other"), Action::Query, &resource);
        cache.keep(question.clone(), slow);
        assert!(cache.find(policies.epoch_of(&question.0.key()), &question).is_none());
    }

    #[test]
    fn attack_ch33_what_was_decided_before_a_revocation_is_not_used_after_it() {
        let policies = Policies::load().expect("valid");
        let cache = DecisionCache::new(64);
        let resource = Resource::scope(Scope::parse("acme", "prod").expect("valid"));
        let ask = |id: &str| cache.decide(&policies, &developer(id), Action::Query, &resource);
        let kept: Vec<_> = (0..20).map(|n| ask(&format!("etl-{n}"))).collect();

        // A decision under way while the principal is revoked comes too late to be kept.
        let question = (developer("etl-0"), Action::Query, resource.clone());
        let under_way = decide(&policies, &question.0, question.1, &question.2);
        policies.start_epoch_of(&question.0.key());
        let after = ask("etl-0");
        assert!(after.epoch() > kept[0].epoch() && !std::ptr::eq(after.principal(), kept[0].principal()));
        cache.keep(question.clone(), under_way);
        assert!(std::ptr::eq(ask("etl-0").principal(), after.principal()), "the newer answer stays");

        let still = (1..20).filter(|n| std::ptr::eq(ask(&format!("etl-{n}")).principal(), kept[*n].principal()));
        assert!(still.count() >= 17, "others keep their answers");
    }

    #[test]
    fn it_stays_within_its_bound() {
        let policies = Policies::load().expect("valid");
        let cache = DecisionCache::new(2);
        let resource = Resource::scope(Scope::parse("acme", "prod").expect("valid"));
        for n in 0..7 {
            let decision = cache.decide(&policies, &developer(&format!("etl-{n}")), Action::Deploy, &resource);
            assert!(decision.is_allowed());
            assert!(cache.known.lock().expect("not poisoned").len() <= 2);
        }
    }
}
