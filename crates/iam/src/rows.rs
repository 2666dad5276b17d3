//! Rules by which a principal sees only the entities that satisfy a condition.

use std::collections::BTreeSet;

use creta_model::Value;
use serde::{Deserialize, Serialize};

use crate::{Place, Principal, Role};

/// How a value is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RowOp {
    /// It is the one value.
    Eq,
    /// It is not any of the values.
    Ne,
    /// It is one of the values.
    In,
}

/// A condition on one feature of an entity.
#[derive(Debug, Clone, PartialEq)]
pub struct RowCondition {
    /// The feature, for example `User.country`. It belongs to the entity that the rule is about.
    pub feature: String,
    /// How its value is compared.
    pub op: RowOp,
    /// With what: values of the feature's type, one for [`RowOp::Eq`].
    pub values: Vec<Value>,
}

/// Whoever has one of the roles sees an entity only if it satisfies the condition.
#[derive(Debug, Clone, PartialEq)]
pub struct RowRule {
    /// Name of the rule, for the log and for explanations.
    pub id: String,
    /// The entity it is about, for example `User`.
    pub entity: String,
    /// The roles it binds.
    pub roles: BTreeSet<Role>,
    /// What has to be true.
    pub condition: RowCondition,
}

/// What a rule says of one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RowAccess {
    /// The row is answered.
    Allowed,
    /// Every cell of the row is `denied` (rule S12), whatever it holds.
    Denied,
}

impl RowCondition {
    /// Whether a row with this value of the feature satisfies the condition. Where there is no value (null, missing, expired,
    /// an error) nothing is known of the entity, so nothing of it is seen: also [`RowOp::Ne`] is not satisfied then. Values of
    /// another kind than the condition's do not satisfy it either.
    pub fn is_satisfied_by(&self, value: Option<&Value>) -> bool {
        let Some(value) = value.filter(|value| **value != Value::Null) else { return false };
        let comparable = self.values.iter().all(|own| std::mem::discriminant(own) == std::mem::discriminant(value));
        let is_any = self.values.contains(value);
        match self.op {
            _ if !comparable || self.values.is_empty() => false,
            RowOp::Eq => self.values.len() == 1 && is_any,
            RowOp::In => is_any,
            RowOp::Ne => !is_any,
        }
    }
}

/// The rules that bind `principal` when it asks about `entity` at `place`, in the order given. Rules bind by every role that
/// a principal has there, for good or by a grant: a further role never frees from a rule. Administrators see no data anyway.
pub fn row_rules_for<'r>(rules: &'r [RowRule], principal: &Principal, place: &Place, entity: &str) -> Vec<&'r RowRule> {
    let roles: BTreeSet<Role> = match principal {
        Principal::Administrator { .. } => BTreeSet::new(),
        Principal::ServiceAccount { role, .. } => BTreeSet::from([*role]),
        Principal::Person(person) => {
            person.standing().roles.iter().copied().chain(person.grants_at(place).map(|grant| grant.role)).collect()
        }
    };
    rules.iter().filter(|rule| rule.entity == entity && !rule.roles.is_disjoint(&roles)).collect()
}

/// Whether a row is answered under all these rules. `value_of` gives the row's value of a rule's feature, if it has one.
pub fn row_access<'v>(rules: &[&RowRule], value_of: impl Fn(&str) -> Option<&'v Value>) -> RowAccess {
    let satisfied = |rule: &&RowRule| rule.condition.is_satisfied_by(value_of(&rule.condition.feature));
    if rules.iter().all(satisfied) { RowAccess::Allowed } else { RowAccess::Denied }
}

#[cfg(test)]
mod tests {
    use creta_model::{EnvironmentClass, Scope};
    use proptest::prelude::*;

    use super::*;
    use crate::{Assurance, GrantId, HeldGrant, Person, PrincipalId, Standing};

    fn text(text: &str) -> Value {
        Value::Str(text.to_owned())
    }

    fn rule(id: &str, role: Role, op: RowOp, values: &[&str]) -> RowRule {
        let values = values.iter().map(|value| text(value)).collect();
        RowRule {
            id: id.to_owned(),
            entity: "User".to_owned(),
            roles: BTreeSet::from([role]),
            condition: RowCondition { feature: "User.country".to_owned(), op, values },
        }
    }

    #[test]
    fn s12_rows_are_denied_unless_their_value_satisfies_the_condition() {
        let (ch, de) = (text("CH"), text("DE"));
        for (op, values, expected) in [
            (RowOp::Eq, &["CH"][..], [true, false, false]),
            (RowOp::In, &["CH", "DE"], [true, true, false]),
            (RowOp::Ne, &["CH"], [false, true, false]),
            (RowOp::Ne, &["CH", "DE"], [false, false, false]),
            (RowOp::Eq, &["CH", "DE"], [false, false, false]),
            (RowOp::Eq, &[], [false, false, false]),
            (RowOp::In, &[], [false, false, false]),
            (RowOp::Ne, &[], [false, false, false]),
        ] {
            let rule = rule("home", Role::Viewer, op, values);
            let outcomes = [Some(&ch), Some(&de), None]
                .map(|value| row_access(&[&rule], |feature| value.filter(|_| feature == "User.country")));
            let expected = expected.map(|ok| if ok { RowAccess::Allowed } else { RowAccess::Denied });
            assert_eq!(outcomes, expected, "{op:?} {values:?}");
        }
        assert_eq!(row_access(&[], |_| None), RowAccess::Allowed, "without a rule every row is answered");
    }

    #[test]
    fn attack_ch03_no_other_kind_of_value_slips_through_a_rule() {
        for value in [Value::Null, Value::Int(1), Value::Bool(true), Value::Bytes(b"CH".to_vec()), Value::List(vec![])]
        {
            for op in [RowOp::Eq, RowOp::Ne, RowOp::In] {
                let rule = rule("home", Role::Viewer, op, &["CH"]);
                assert_eq!(row_access(&[&rule], |_| Some(&value)), RowAccess::Denied, "{op:?} {value:?}");
            }
        }
    }

    #[test]
    fn all_rules_of_all_roles_bind() {
        let rules = [rule("a", Role::Viewer, RowOp::In, &["CH", "DE"]), rule("b", Role::Developer, RowOp::Ne, &["DE"])];
        let scope = Scope::parse("acme", "prod").expect("valid");
        let place = Place::Scope(scope.clone());
        let person = |roles: &[Role], granted: &[Role]| {
            let grant = |role: &Role| HeldGrant {
                id: GrantId::parse(role.as_str()).expect("valid"),
                role: *role,
                place: place.clone(),
            };
            let standing = Standing {
                roles: roles.iter().copied().collect(),
                grants: granted.iter().map(grant).collect(),
                assurance: Assurance::default(),
                class: EnvironmentClass::Development,
            };
            Principal::Person(Person::new(PrincipalId::parse("ana").expect("valid"), place.clone(), standing))
        };
        let bound = |who: &Principal, entity: &str| -> Vec<String> {
            row_rules_for(&rules, who, &place, entity).iter().map(|rule| rule.id.clone()).collect()
        };
        assert_eq!(bound(&person(&[Role::Viewer], &[]), "User"), ["a"]);
        assert_eq!(bound(&person(&[Role::Viewer], &[Role::Developer]), "User"), ["a", "b"]);
        assert_eq!(bound(&person(&[Role::Viewer], &[]), "Order"), [""; 0]);
        assert_eq!(bound(&person(&[Role::Auditor], &[]), "User"), [""; 0]);
        let program =
            Principal::service_account(PrincipalId::parse("etl").expect("valid"), scope.clone(), Role::Developer);
        assert_eq!(bound(&program, "User"), ["b"]);

        let both: Vec<&RowRule> = rules.iter().collect();
        let (ch, de) = (text("CH"), text("DE"));
        assert_eq!(row_access(&both, |_| Some(&ch)), RowAccess::Allowed);
        assert_eq!(row_access(&both, |_| Some(&de)), RowAccess::Denied, "one of two rules is not enough");
    }

    proptest! {
        #[test]
        fn s12_a_further_rule_never_shows_more_rows(
            ops in prop::collection::vec((0..3usize, prop::collection::vec(0..4i64, 0..3)), 0..4),
            value in prop::option::of(0..4i64),
        ) {
            let rules: Vec<RowRule> = ops.iter().map(|(op, values)| {
                let op = [RowOp::Eq, RowOp::Ne, RowOp::In][*op];
                let values = values.iter().map(|value| Value::Int(*value)).collect();
                RowRule { condition: RowCondition { values, ..rule("r", Role::Viewer, op, &[]).condition }, ..rule("r", Role::Viewer, op, &[]) }
            }).collect();
            let value = value.map(Value::Int);
            let all: Vec<&RowRule> = rules.iter().collect();
            for shown in 0..all.len() {
                let fewer = row_access(&all[..shown], |_| value.as_ref());
                let more = row_access(&all[..=shown], |_| value.as_ref());
                prop_assert!(!(fewer == RowAccess::Denied && more == RowAccess::Allowed));
            }
        }
    }
}
