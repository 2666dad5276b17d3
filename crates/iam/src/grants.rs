//! The grants that hold, found by the person who holds them: data, of which no policy knows.

use std::collections::{BTreeMap, HashMap};

use creta_model::{Instant, Span};

use crate::{GrantId, HeldGrant, IamError, PrincipalKey, Role};

/// A grant holds for at most this long, whoever approved it.
pub const GRANT_SPAN_MAX: Span = Span::hours(8);

/// A role that one person holds on a place from one instant until another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The role and the place.
    pub held: HeldGrant,
    /// Who holds it.
    pub holder: PrincipalKey,
    /// Holds from here on,
    pub from: Instant,
    /// and no longer at this instant.
    pub until: Instant,
}

impl Grant {
    /// Whether it holds at that instant.
    pub fn holds_at(&self, at: Instant) -> bool {
        self.from <= at && at < self.until
    }
}

/// All grants of an environment that have not been revoked. Asking for those of one person costs a look-up and the few that
/// they hold, however many there are.
#[derive(Debug, Default)]
pub struct GrantIndex {
    by_holder: HashMap<PrincipalKey, BTreeMap<GrantId, Grant>>,
    holder_of: HashMap<GrantId, PrincipalKey>,
}

impl GrantIndex {
    /// An index without grants.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a grant. An id that is there already is refused: a grant is not edited, it is revoked and asked for again. So are
    /// grants of more than [`GRANT_SPAN_MAX`], of no time at all, of roles that people do not have, and on a place that the
    /// holder cannot reach.
    pub fn insert(&mut self, grant: Grant) -> Result<(), IamError> {
        let wrong = |rule| Err(IamError::Grant { grant: grant.held.id.clone(), rule });
        if self.holder_of.contains_key(&grant.held.id) {
            return wrong("there is a grant of this id already, and grants are not edited; ask for a new one");
        }
        if grant.until <= grant.from || grant.until > grant.from.plus(GRANT_SPAN_MAX) {
            return wrong("it must hold for some time and for at most 8 hours");
        }
        if !Role::OF_PEOPLE.contains(&grant.held.role) {
            return wrong("its role is one of programs");
        }
        if !grant.holder.is_person() || !grant.holder.home().covers(&grant.held.place) {
            return wrong("its place is not within the reach of its holder");
        }
        let id = grant.held.id.clone();
        self.holder_of.insert(id.clone(), grant.holder.clone());
        self.by_holder.entry(grant.holder.clone()).or_default().insert(id, grant);
        Ok(())
    }

    /// Takes a grant out; `None` if there is none of this id. The caller starts a new epoch of its holder.
    pub fn remove(&mut self, id: &GrantId) -> Option<Grant> {
        let holder = self.holder_of.remove(id)?;
        let held = self.by_holder.get_mut(&holder)?;
        let grant = held.remove(id);
        if held.is_empty() {
            self.by_holder.remove(&holder);
        }
        grant
    }

    /// Takes out everything that one person holds, in the order of ids: they left.
    pub fn remove_all_of(&mut self, holder: &PrincipalKey) -> Vec<Grant> {
        let removed: Vec<Grant> = self.by_holder.remove(holder).unwrap_or_default().into_values().collect();
        removed.iter().for_each(|grant| drop(self.holder_of.remove(&grant.held.id)));
        removed
    }

    /// Takes out what no longer holds at `at` nor will later, in the order of ids.
    pub fn remove_expired(&mut self, at: Instant) -> Vec<Grant> {
        let all = self.by_holder.values().flat_map(BTreeMap::values);
        let mut expired: Vec<GrantId> = all.filter(|grant| grant.until <= at).map(|g| g.held.id.clone()).collect();
        expired.sort();
        expired.iter().filter_map(|id| self.remove(id)).collect()
    }

    /// What a person holds at that instant, in the order of ids: what their [`Standing`](crate::Standing) takes.
    pub fn grants_of(&self, holder: &PrincipalKey, at: Instant) -> Vec<HeldGrant> {
        self.of(holder).filter(|grant| grant.holds_at(at)).map(|grant| grant.held.clone()).collect()
    }

    /// The next instant after `at` at which [`grants_of`](Self::grants_of) gives another answer, because a grant ends or
    /// begins: until then an open stream may go on without asking. `None` if there is none.
    pub fn next_change(&self, holder: &PrincipalKey, at: Instant) -> Option<Instant> {
        self.of(holder).flat_map(|grant| [grant.from, grant.until]).filter(|instant| *instant > at).min()
    }

    /// The grant of that id.
    pub fn find(&self, id: &GrantId) -> Option<&Grant> {
        self.by_holder.get(self.holder_of.get(id)?)?.get(id)
    }

    /// How many grants there are.
    pub fn len(&self) -> usize {
        self.holder_of.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.holder_of.is_empty()
    }

    fn of(&self, holder: &PrincipalKey) -> impl Iterator<Item = &Grant> {
        self.by_holder.get(holder).into_iter().flat_map(BTreeMap::values)
    }
}

#[cfg(test)]
mod tests {
    use creta_model::{Environment, Scope};

    use super::*;
    use crate::{Place, PrincipalId};

    fn at(hour: u32) -> Instant {
        Instant::parse("2026-03-01T00:00:00Z").expect("valid").plus(Span::hours(hour))
    }

    fn prod() -> Place {
        Place::Environment(Environment::parse("prod").expect("valid"))
    }

    fn acme() -> Place {
        Place::Scope(Scope::parse("acme", "prod").expect("valid"))
    }

    fn person(name: &str, home: Place) -> PrincipalKey {
        PrincipalKey::person(PrincipalId::parse(name).expect("valid"), home)
    }

    fn grant(id: &str, holder: PrincipalKey, place: Place, from: u32, until: u32) -> Grant {
        let held = HeldGrant { id: GrantId::parse(id).expect("valid"), role: Role::Operator, place };
        Grant { held, holder, from: at(from), until: at(until) }
    }

    fn ids(grants: &[HeldGrant]) -> Vec<&str> {
        grants.iter().map(|grant| grant.id.as_str()).collect()
    }

    #[test]
    fn a_grant_holds_from_its_beginning_until_just_before_its_end() {
        let ana = person("ana", prod());
        let mut index = GrantIndex::new();
        index.insert(grant("g-1", ana.clone(), prod(), 1, 9)).expect("valid");
        index.insert(grant("g-2", ana.clone(), acme(), 2, 3)).expect("valid");
        index.insert(grant("g-3", person("bob", prod()), prod(), 0, 8)).expect("valid");

        let micro = Span::from_micros(1).expect("valid");
        assert_eq!(index.grants_of(&ana, at(1).minus(micro)), []);
        assert_eq!(ids(&index.grants_of(&ana, at(1))), ["g-1"]);
        assert_eq!(ids(&index.grants_of(&ana, at(2))), ["g-1", "g-2"]);
        assert_eq!(ids(&index.grants_of(&ana, at(9).minus(micro))), ["g-1"]);
        assert_eq!(index.grants_of(&ana, at(9)), []);
        assert_eq!(index.grants_of(&person("ana", acme()), at(2)), [], "another person of the same name");

        let changes: Vec<_> = [0, 1, 2, 3, 9].map(|hour| index.next_change(&ana, at(hour))).into();
        assert_eq!(changes, [Some(at(1)), Some(at(2)), Some(at(3)), Some(at(9)), None]);
    }

    #[test]
    fn what_is_removed_is_gone_everywhere() {
        let (ana, bob) = (person("ana", prod()), person("bob", prod()));
        let mut index = GrantIndex::new();
        for (id, holder, until) in [("a", &ana, 2), ("b", &ana, 3), ("c", &bob, 2), ("d", &bob, 8)] {
            index.insert(grant(id, holder.clone(), prod(), 1, until)).expect("valid");
        }
        let b = GrantId::parse("b").expect("valid");
        assert_eq!(index.find(&b).map(|grant| &grant.holder), Some(&ana));
        assert_eq!(index.remove(&b).map(|grant| grant.held.id), Some(b.clone()));
        assert_eq!((index.remove(&b), index.find(&b), index.len()), (None, None, 3));

        let expired: Vec<_> = index.remove_expired(at(2)).into_iter().map(|grant| grant.held.id.to_string()).collect();
        assert_eq!(expired, ["a", "c"], "ended at this very instant");
        assert_eq!(index.remove_all_of(&bob).len(), 1);
        assert!(index.is_empty() && index.grants_of(&bob, at(4)).is_empty());
        index.insert(grant("d", bob, prod(), 1, 2)).expect("the id is free again");
    }

    #[test]
    fn attack_ch17_grants_are_neither_edited_nor_long_nor_out_of_reach() {
        let (ana, tenants) = (person("ana", prod()), person("ana", acme()));
        let mut index = GrantIndex::new();
        index.insert(grant("g", ana.clone(), prod(), 0, 1)).expect("valid");
        let longer = index.insert(grant("g", ana.clone(), prod(), 0, 8)).expect_err("an edit");
        assert!(longer.to_string().contains("grants are not edited"), "{longer}");
        assert_eq!(index.grants_of(&ana, at(1)), [], "it still ends when it did");

        let mut of_programs = grant("p", ana.clone(), prod(), 0, 1);
        of_programs.held.role = Role::Reader;
        let scope = Scope::parse("acme", "prod").expect("valid");
        let program = crate::Principal::service_account(PrincipalId::parse("etl").expect("valid"), scope, Role::Reader);
        for (what, bad) in [
            ("nine hours", grant("x", ana.clone(), prod(), 0, 9)),
            ("no time", grant("x", ana.clone(), prod(), 3, 3)),
            ("backwards", grant("x", ana, prod(), 3, 2)),
            ("of programs", of_programs),
            ("to a program", grant("x", program.key(), acme(), 0, 1)),
            ("an environment to a tenant's own", grant("x", tenants, prod(), 0, 1)),
        ] {
            assert!(matches!(index.insert(bad), Err(IamError::Grant { .. })), "{what}");
        }
        assert_eq!(index.len(), 1);
    }
}
