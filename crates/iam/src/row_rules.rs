//! Row rules as people write them, bound to the definitions that they were written for, and whether one set of them shows
//! more than another.

use std::collections::BTreeSet;

use creta_model::{Type, Value};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::digest::digest;
use crate::{IamError, Role, RowCondition, RowOp, RowRule};

/// At most so many rules in a scope.
pub const ROW_RULES_MAX: usize = 100;
/// At most so many values in a condition.
pub const ROW_VALUES_MAX: usize = 1_000;

/// One rule: whoever has one of the roles sees an entity only where the condition holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenRowRule {
    /// Its name, unique in the scope.
    pub id: String,
    /// The entity it is about.
    pub entity: String,
    /// Whom it binds.
    pub roles: BTreeSet<Role>,
    /// The feature of the entity that is looked at, for example `User.country`.
    pub feature: String,
    /// How it is compared.
    pub op: RowOp,
    /// With what, in JSON form of the feature's type.
    pub values: Vec<Json>,
    /// The definitions it was written for. Filled in where the rules are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound_to: Option<BoundTo>,
}

/// The definitions that a rule was written for. Others are no longer what was agreed on: then nothing is seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoundTo {
    /// Stable number of the entity, which a new name leaves as it is.
    pub entity: u32,
    /// Fingerprint of the feature: what decides its values, inputs included.
    pub fingerprint: String,
}

impl WrittenRowRule {
    /// The rule with values of the feature's type; `None` if one of them is not of that type.
    pub fn typed(&self, ty: &Type) -> Option<RowRule> {
        let values: Option<Vec<Value>> = self.values.iter().map(|json| Value::from_json(ty, json).ok()).collect();
        Some(RowRule {
            id: self.id.clone(),
            entity: self.entity.clone(),
            roles: self.roles.clone(),
            condition: RowCondition { feature: self.feature.clone(), op: self.op, values: values? },
        })
    }

    /// Whether it makes sense by itself: [`IamError::RowRule`] says what does not.
    pub fn check(&self) -> Result<(), IamError> {
        let known: BTreeSet<Role> = [Role::Viewer, Role::DataScientist, Role::Developer, Role::Reader].into();
        let wrong = |says: &'static str| Err(IamError::RowRule { id: self.id.clone(), says });
        let is_name = (1..=64).contains(&self.id.len())
            && self.id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !is_name {
            return wrong("its `id` is not 1 to 64 lowercase letters, digits and hyphens");
        }
        if self.roles.is_empty() || !self.roles.is_subset(&known) {
            return wrong(
                "`roles` are one or more of viewer, data-scientist, developer, reader: others get no features",
            );
        }
        if self.feature.split_once('.').is_none_or(|(entity, _)| entity != self.entity) {
            return wrong("its `feature` is not one of its `entity`");
        }
        match (self.op, self.values.len()) {
            (RowOp::Eq, 1) | (RowOp::Ne | RowOp::In, 1..=ROW_VALUES_MAX) => Ok(()),
            (RowOp::Eq, _) => wrong("`eq` compares with exactly one value"),
            _ => wrong("it has no values to compare with, or more than 1000"),
        }
    }

    /// Whether every row that satisfies this condition satisfies that of `other`, as far as can be told without looking at
    /// types: on the same feature as it is defined now, and value by value.
    fn implies(&self, other: &Self) -> bool {
        let all_in = |a: &[Json], b: &[Json]| a.iter().all(|value| b.contains(value));
        self.feature == other.feature
            && self.bound_to == other.bound_to
            && match (self.op, other.op) {
                (RowOp::Eq | RowOp::In, RowOp::Eq | RowOp::In) => all_in(&self.values, &other.values),
                (RowOp::Ne, RowOp::Ne) => all_in(&other.values, &self.values),
                // `1` and `1.0` may be one value, so that two lists look apart and are not.
                (RowOp::Eq | RowOp::In, RowOp::Ne) | (RowOp::Ne, RowOp::Eq | RowOp::In) => false,
            }
    }
}

/// All row rules of a scope.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowRules {
    /// In any order; each binds by itself.
    pub rules: Vec<WrittenRowRule>,
}

/// How a new set of rules differs from an old one, in sentences.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RowsComparison {
    /// What somebody may see by the new rules and could not by the old.
    pub wider: Vec<String>,
    /// What somebody could see by the old rules and no longer can.
    pub narrower: Vec<String>,
}

impl RowRules {
    /// `sha256:<hex>` of the rules.
    pub fn digest(&self) -> String {
        digest(self)
    }

    /// Whether each makes sense, and their names are different.
    pub fn check(&self) -> Result<(), IamError> {
        if self.rules.len() > ROW_RULES_MAX {
            return Err(IamError::RowRule { id: "rules".to_owned(), says: "there are more than 100 of them" });
        }
        let mut names = BTreeSet::new();
        for rule in &self.rules {
            rule.check()?;
            if !names.insert(&rule.id) {
                return Err(IamError::RowRule { id: rule.id.clone(), says: "its `id` is that of another one" });
            }
        }
        Ok(())
    }

    /// What changes if these rules hold instead of `old`. Sound and not complete: whatever shows a row more is wider, and
    /// some changes that show none more are called wider too, which costs an approval and nothing else.
    pub fn compare(&self, old: &Self) -> RowsComparison {
        RowsComparison { wider: self.beyond(old, "may be seen"), narrower: old.beyond(self, "are no longer seen") }
    }

    /// Where `other` binds somebody by a condition that no condition of these implies.
    fn beyond(&self, other: &Self, what: &str) -> Vec<String> {
        let mut found = BTreeSet::new();
        for theirs in &other.rules {
            for role in &theirs.roles {
                let binds = |own: &&WrittenRowRule| own.entity == theirs.entity && own.roles.contains(role);
                if !self.rules.iter().filter(binds).any(|own| own.implies(theirs)) {
                    let WrittenRowRule { id, entity, .. } = theirs;
                    found.insert(format!("rows of `{entity}` {what} by role {role}: rule `{id}` is gone or weaker"));
                }
            }
        }
        let word =
            |line: String| if what == "may be seen" { line } else { line.replace("gone or weaker", "new or stronger") };
        found.into_iter().map(word).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::{RowAccess, row_access};

    fn rule(id: &str, roles: &[Role], op: RowOp, values: &[i64]) -> WrittenRowRule {
        WrittenRowRule {
            id: id.to_owned(),
            entity: "User".to_owned(),
            roles: roles.iter().copied().collect(),
            feature: "User.country".to_owned(),
            op,
            values: values.iter().map(|value| json!(value)).collect(),
            bound_to: Some(BoundTo { entity: 1, fingerprint: "sha256:aa".to_owned() }),
        }
    }

    fn rules(rules: &[WrittenRowRule]) -> RowRules {
        RowRules { rules: rules.to_vec() }
    }

    #[test]
    fn attack_ci20_a_rule_that_goes_loses_a_role_or_weakens_shows_more() {
        let both = [Role::Viewer, Role::Reader];
        let old =
            rules(&[rule("home", &both, RowOp::In, &[1, 2]), rule("not-three", &[Role::Viewer], RowOp::Ne, &[3])]);
        let not_three = || rule("not-three", &[Role::Viewer], RowOp::Ne, &[3]);
        let wider = |new: &[WrittenRowRule]| rules(new).compare(&old).wider;
        for (what, new) in [
            ("gone", vec![not_three()]),
            ("a role less", vec![rule("home", &[Role::Viewer], RowOp::In, &[1, 2]), not_three()]),
            ("a value more", vec![rule("home", &both, RowOp::In, &[1, 2, 3]), not_three()]),
            ("other values", vec![rule("home", &both, RowOp::Ne, &[3]), not_three()]),
            (
                "a value less",
                vec![rule("home", &both, RowOp::In, &[1, 2]), rule("n", &[Role::Viewer], RowOp::Ne, &[4])],
            ),
            (
                "another definition",
                vec![
                    WrittenRowRule {
                        bound_to: Some(BoundTo { entity: 1, fingerprint: "sha256:bb".to_owned() }),
                        ..rule("home", &both, RowOp::In, &[1, 2])
                    },
                    not_three(),
                ],
            ),
        ] {
            assert!(!wider(&new).is_empty(), "{what}");
        }
        for (what, new) in [
            ("another name", vec![rule("other", &both, RowOp::In, &[1, 2]), not_three()]),
            ("a value less", vec![rule("home", &both, RowOp::Eq, &[1]), not_three()]),
            (
                "a rule more",
                vec![rule("home", &both, RowOp::In, &[1, 2]), not_three(), rule("x", &both, RowOp::Ne, &[9])],
            ),
            ("more forbidden", vec![rule("home", &both, RowOp::In, &[1, 2]), rule("n", &both, RowOp::Ne, &[3, 4])]),
        ] {
            assert_eq!(wider(&new), [""; 0], "{what}");
        }
        assert_eq!(rules(&[]).compare(&old).wider.len(), 3, "one for each role that is no longer bound");
        assert_eq!(old.compare(&rules(&[])).narrower.len(), 3);
    }

    #[test]
    fn rules_that_make_no_sense_are_refused() {
        let good = rule("home", &[Role::Viewer], RowOp::In, &[1]);
        rules(std::slice::from_ref(&good)).check().expect("makes sense");
        for (what, bad) in [
            ("no name", WrittenRowRule { id: String::new(), ..good.clone() }),
            ("a role without data", WrittenRowRule { roles: [Role::Auditor].into(), ..good.clone() }),
            ("nobody", WrittenRowRule { roles: BTreeSet::new(), ..good.clone() }),
            ("another entity", WrittenRowRule { feature: "Order.country".to_owned(), ..good.clone() }),
            ("two values", WrittenRowRule { op: RowOp::Eq, values: vec![json!(1), json!(2)], ..good.clone() }),
            ("no values", WrittenRowRule { values: vec![], ..good.clone() }),
        ] {
            assert!(matches!(rules(&[bad]).check(), Err(IamError::RowRule { .. })), "{what}");
        }
        assert!(rules(&[good.clone(), good]).check().is_err(), "one name twice");
    }

    proptest! {
        #[test]
        fn attack_ci20_what_shows_a_row_more_is_never_called_narrower(
            old in prop::collection::vec((0..3usize, 0..4u8, prop::collection::vec(0..4i64, 1..3)), 0..4),
            new in prop::collection::vec((0..3usize, 0..4u8, prop::collection::vec(0..4i64, 1..3)), 0..4),
        ) {
            let make = |given: &[(usize, u8, Vec<i64>)]| RowRules { rules: given.iter().enumerate().map(|(n, (op, roles, values))| {
                let roles: Vec<Role> = [Role::Viewer, Role::Reader].into_iter().enumerate()
                    .filter(|(bit, _)| roles >> bit & 1 == 1).map(|(_, role)| role).collect();
                let values = if *op == 0 { &values[..1] } else { values };
                rule(&format!("r{n}"), &roles, [RowOp::Eq, RowOp::Ne, RowOp::In][*op], values)
            }).collect() };
            let (old, new) = (make(&old), make(&new));
            let seen = |rules: &RowRules, roles: &BTreeSet<Role>, value: i64| {
                let typed: Vec<RowRule> = rules.rules.iter().filter(|rule| !rule.roles.is_disjoint(roles))
                    .map(|rule| rule.typed(&Type::Int).expect("integers")).collect();
                let value = Value::Int(value);
                row_access(&typed.iter().collect::<Vec<_>>(), |_| Some(&value)) == RowAccess::Allowed
            };
            let comparison = new.compare(&old);
            for roles in [BTreeSet::from([Role::Viewer]), BTreeSet::from([Role::Reader]), BTreeSet::from([Role::Viewer, Role::Reader])] {
                for value in 0..4 {
                    if seen(&new, &roles, value) && !seen(&old, &roles, value) {
                        prop_assert!(!comparison.wider.is_empty(), "{:?} {value}", roles);
                    }
                    if seen(&old, &roles, value) && !seen(&new, &roles, value) {
                        prop_assert!(!comparison.narrower.is_empty(), "{:?} {value}", roles);
                    }
                }
            }
        }
    }
}
