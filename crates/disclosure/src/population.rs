//! The values of one feature at one instant, already put into bins, and what may be told of them.

use std::collections::BTreeMap;
use std::fmt;

use creta_iam::masked;
use creta_model::{Instant, Type, Value};
use serde::Serialize;

use crate::redacted::Sealed;
use crate::{Bin, Count, ForStaff, GroupSize, Partition};

/// Longest run of one sign in a form: longer ones are cut to it, so that a form does not tell lengths.
const RUN_MAX: usize = 3;

/// Each entity's bin, and form if it is a text. Holds keys, which are values too: it shows nothing of itself, and gives out
/// nothing but differences and summaries.
pub struct Population {
    partition: Partition,
    entities: BTreeMap<String, (Bin, Option<String>)>,
}

impl fmt::Debug for Population {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Population(...)")
    }
}

/// Fewer entities than a group: nothing can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there are fewer than {} entities", .group.get())]
pub struct TooFew {
    /// The size of a group.
    pub group: GroupSize,
}

impl Population {
    /// From each entity's key, as a text that is its alone, and its value of type `ty`. Values are put into bins at once and
    /// not kept.
    pub fn new(partition: Partition, ty: &Type, values: impl IntoIterator<Item = (String, Value)>) -> Self {
        let entities = values.into_iter().map(|(key, value)| (key, (partition.bin(ty, &value), form(ty, &value))));
        Self { entities: entities.collect(), partition }
    }

    /// How many entities there are.
    pub fn len(&self) -> u64 {
        self.entities.len() as u64
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entities.is_empty()
    }

    /// For how many entities the two say something else: another range, another form, or that there is such an entity.
    pub fn difference(&self, other: &Self) -> u64 {
        let says =
            |population: &Self, (bin, form): &(Bin, Option<String>)| (population.partition.range(*bin), form.clone());
        let shared = self.entities.iter().filter_map(|(key, value)| Some((value, other.entities.get(key)?)));
        let (mut both, mut same) = (0, 0);
        for (value, theirs) in shared {
            both += 1;
            same += u64::from(says(self, value) == says(other, theirs));
        }
        self.len() + other.len() - both - same
    }

    /// Whether telling both would tell of fewer entities than a group: they differ, but for fewer.
    pub fn is_too_close_to(&self, other: &Self, group: GroupSize) -> bool {
        group.is_too_few(self.difference(other))
    }

    /// What may be told: counts in whole groups. Nothing, where all together are fewer than one.
    pub fn summary(&self, feature: &str, as_of: Instant, group: GroupSize) -> Result<Summary, TooFew> {
        if self.len() < group.get() {
            return Err(TooFew { group });
        }
        let (mut bins, mut forms) = (BTreeMap::<Bin, u64>::new(), BTreeMap::<&str, u64>::new());
        for (bin, form) in self.entities.values() {
            *bins.entry(*bin).or_default() += 1;
            if let Some(form) = form {
                *forms.entry(form).or_default() += 1;
            }
        }
        let nulls = group.count(bins.get(&Bin::Null).copied().unwrap_or_default());
        let entities = group.count(self.len());
        let told = |exact: u64| Some(group.count(exact)).filter(|count| count.at_least() > 0);
        let bins = bins.into_iter().filter(|(bin, _)| *bin != Bin::Null);
        Ok(Summary {
            feature: feature.to_owned(),
            as_of,
            group,
            entities,
            nulls,
            null_share: nulls.at_least() as f64 / entities.at_least() as f64,
            bins: bins
                .filter_map(|(bin, exact)| Some(BinCount { range: self.partition.range(bin), count: told(exact)? }))
                .collect(),
            forms: forms
                .into_iter()
                .filter_map(|(form, exact)| Some(FormCount { form: form.to_owned(), count: told(exact)? }))
                .collect(),
        })
    }
}

/// `xxx.xxx@xxx.xxx` for an address: the masked text (see [`masked`]) with runs of one sign cut to three.
fn form(ty: &Type, value: &Value) -> Option<String> {
    let (Type::Str, Value::Str(masked)) = (ty, masked(ty, value)) else { return None };
    let mut form = String::with_capacity(masked.len());
    let (mut last, mut run) = (None, 0);
    for c in masked.chars() {
        run = if last == Some(c) { run + 1 } else { 1 };
        last = Some(c);
        if run <= RUN_MAX {
            form.push(c);
        }
    }
    Some(form)
}

/// What staff may know of a feature: how many entities have a value, in which ranges, and what texts look like. Every count
/// is in whole groups; ranges and forms of fewer entities than a group are left out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    feature: String,
    as_of: Instant,
    group: GroupSize,
    entities: Count,
    nulls: Count,
    null_share: f64,
    bins: Vec<BinCount>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    forms: Vec<FormCount>,
}

/// How many entities have a value in a range.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BinCount {
    range: String,
    count: Count,
}

/// How many texts look alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FormCount {
    form: String,
    count: Count,
}

impl Summary {
    /// The instant that it is about.
    pub fn as_of(&self) -> Instant {
        self.as_of
    }

    /// How many entities there are.
    pub fn entities(&self) -> Count {
        self.entities
    }

    /// How many of them have no value.
    pub fn nulls(&self) -> Count {
        self.nulls
    }
}

impl Sealed for Summary {}
impl ForStaff for Summary {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at() -> Instant {
        Instant::parse("2026-03-01T00:00:00Z").expect("valid")
    }

    fn of(values: &[(u32, Value)], ty: &Type) -> Population {
        let values = values.iter().map(|(key, value)| (key.to_string(), value.clone()));
        Population::new(Partition::of(ty, None), ty, values)
    }

    fn ints(values: impl IntoIterator<Item = (u32, i64)>) -> Population {
        of(&values.into_iter().map(|(key, value)| (key, Value::Int(value))).collect::<Vec<_>>(), &Type::Int)
    }

    #[test]
    fn attack_ch19_ranges_and_forms_of_fewer_than_a_group_are_not_told() {
        let common = (0..40).map(|key| (key, Value::Str(format!("ana{key}@example.com"))));
        let rare = (40..59).map(|key| (key, Value::Str(format!("#CANARY-{key}"))));
        let population = of(&common.chain(rare).collect::<Vec<_>>(), &Type::Str);
        let told = serde_json::to_string(&population.summary("User.email", at(), GroupSize::default()).expect("59"))
            .expect("JSON");
        assert!(told.contains(r#""forms":[{"form":"xxx99@xxx.xxx","count":20}]"#), "{told}");
        assert!(!told.contains('#') && !told.contains("CANARY") && !told.contains("ana"), "{told}");
        assert!(told.contains(r#""entities":40"#), "59 in whole groups: {told}");
        assert_eq!(format!("{population:?}"), "Population(...)");
    }

    #[test]
    fn attack_ch19_of_fewer_than_a_group_nothing_is_told() {
        let population = ints((0..19).map(|key| (key, 7)));
        assert!(population.summary("User.age", at(), GroupSize::default()).is_err());
        assert!(ints([]).summary("User.age", at(), GroupSize::default()).is_err());
    }

    #[test]
    fn attack_ch19_two_populations_that_differ_by_few_are_too_close() {
        let all = ints((0..100).map(|key| (key, 7)));
        let group = GroupSize::default();
        assert!(!all.is_too_close_to(&all, group), "the same again tells nothing new");
        let one_more = ints((0..101).map(|key| (key, 7)));
        assert_eq!(all.difference(&one_more), 1);
        assert!(all.is_too_close_to(&one_more, group) && one_more.is_too_close_to(&all, group));
        let one_changed = ints((0..100).map(|key| (key, if key == 3 { 700 } else { 7 })));
        assert_eq!(all.difference(&one_changed), 1);
        let same_range = ints((0..100).map(|key| (key, if key == 3 { 8 } else { 7 })));
        assert_eq!(all.difference(&same_range), 0);
        let twenty = ints((0..100).map(|key| (key, if key < 20 { 700 } else { 7 })));
        assert!(!all.is_too_close_to(&twenty, group));
        let nineteen_gone = ints((19..100).map(|key| (key, 7)));
        assert!(all.is_too_close_to(&nineteen_gone, group));
    }

    proptest! {
        #[test]
        fn the_difference_is_what_counting_by_hand_gives(
            one in proptest::collection::btree_map(0..40_u32, 0..3_i64, 0..40),
            other in proptest::collection::btree_map(0..40_u32, 0..3_i64, 0..40),
        ) {
            let power = |n: i64| 10_i64.pow(u32::try_from(n).expect("small"));
            let by_hand = (0..40).filter(|key| one.get(key) != other.get(key)).count() as u64;
            let populations = [&one, &other].map(|of| ints(of.iter().map(|(key, n)| (*key, power(*n)))));
            prop_assert_eq!(populations[0].difference(&populations[1]), by_hand);
        }

        #[test]
        fn attack_ch19_every_count_that_is_told_is_in_whole_groups(
            values in proptest::collection::vec(proptest::option::of(-1_000..1_000_i64), 20..200), size in 20..60_u64
        ) {
            let group = GroupSize::new(size).expect("large enough");
            let values: Vec<(u32, Value)> = (0_u32..).zip(values).map(|(k, v)| (k, v.map_or(Value::Null, Value::Int))).collect();
            if let Ok(summary) = of(&values, &Type::Int).summary("A.b", at(), group) {
                let counts = summary.bins.iter().map(|bin| bin.count).chain([summary.entities, summary.nulls]);
                prop_assert!(counts.clone().all(|count| count.at_least() % size == 0));
                prop_assert!(summary.bins.iter().all(|bin| bin.count.at_least() >= size));
                let told: u64 = summary.bins.iter().map(|bin| bin.count.at_least()).sum();
                prop_assert!(told + summary.nulls.at_least() <= values.len() as u64);
            }
        }
    }
}
