//! Properties of plans over generated definitions and requests.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use creta_model::{Bundle, Environment, FeaturePath, Span};
use creta_planner::{BoundExpr, Plan, Shape, Step, explain, plan};
use creta_registry::Registry;
use proptest::prelude::*;

use crate::dsl;
use crate::show::show;

/// A stream of choices from a seed, so that a failing case is one number.
struct Choices(u64);

impl Choices {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    fn one_of<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

/// Definitions without cycles: entities lead to earlier ones, features are computed from earlier ones. The second value
/// lists every path that can be asked for from each entity.
fn definitions(choices: &mut Choices) -> (String, Vec<FeaturePath>) {
    let mut text = String::new();
    let mut resolvers = String::new();
    // What can be read of each entity, without its name.
    let mut readable: Vec<Vec<String>> = Vec::new();
    for entity in 0..=choices.below(4) {
        writeln!(text, "entity E{entity}\n  key k: str\n  r0: str\n  r1: str\n  lowered: str = lower(r1)")
            .expect("text");
        let mut numbers: Vec<String> = Vec::new();
        for stored in 0..3 {
            let age = if choices.below(2) == 0 { "  max_age=2h" } else { "" };
            writeln!(text, "  s{stored}: float{age}").expect("text");
            numbers.push(format!("s{stored}"));
        }
        for other in 0..=entity {
            if choices.below(3) > 0 {
                writeln!(text, "  many m{other}: E{other} on k = r0\n  w{other}: float = mean(m{other}: s0) where s1 > 0 last 1h 1d").expect("text");
                numbers.extend([format!("w{other}[1h]"), format!("w{other}[1d]")]);
            }
            let earlier = readable.get(other).filter(|_| choices.below(3) > 0);
            if let Some(features) = earlier {
                let by = choices.one_of(&["r0", "r1", "lowered"]);
                writeln!(text, "  one o{other}: E{other} on {by} = k").expect("text");
                numbers.extend(features.iter().map(|feature| format!("o{other}.{feature}")));
            }
        }
        for computed in 0..choices.below(5) {
            let (a, b) = (choices.one_of(&numbers).clone(), choices.one_of(&numbers).clone());
            let name = format!("c{computed}");
            match choices.below(3) {
                0 => writeln!(text, "  {name}: float = {a} + {b} * 2").expect("text"),
                kind => {
                    writeln!(text, "  {name}: float\n  {name}x: float").expect("text");
                    let environments = choices.one_of(&["", "  env=prod", "  env=staging"]);
                    let second = if kind == 1 { format!(", E{entity}.{name}x") } else { String::new() };
                    writeln!(resolvers, "resolver f{entity}_{computed}(a: E{entity}.{a}, b: E{entity}.{b} | None) -> E{entity}.{name}{second}{environments}").expect("text");
                    numbers.push(format!("{name}x"));
                }
            }
            numbers.push(name);
        }
        readable.push(numbers);
    }
    let mut askable = Vec::new();
    for (entity, features) in readable.iter().enumerate() {
        askable.extend(["k", "r0", "lowered"].iter().map(|feature| dsl::path(&format!("E{entity}.{feature}"))));
        askable.extend(features.iter().map(|feature| dsl::path(&format!("E{entity}.{feature}"))));
    }
    (text + &resolvers, askable)
}

fn shape(choices: &mut Choices, askable: &[FeaturePath]) -> Shape {
    let given: BTreeSet<FeaturePath> = (0..=choices.below(6)).map(|_| choices.one_of(askable).clone()).collect();
    let outputs: Vec<FeaturePath> = (0..=choices.below(4)).map(|_| choices.one_of(askable).clone()).collect();
    // A request that brings the keys of what it asks for can be planned more often than not.
    let roots = outputs.iter().filter(|_| choices.below(8) > 0).map(|output| output.root.clone());
    let keys: BTreeSet<FeaturePath> = roots.map(|root| FeaturePath::direct(root, dsl::name("k"))).collect();
    let mut given: Vec<FeaturePath> = given.union(&keys).cloned().collect();
    given.sort_by_cached_key(|_| choices.below(1 << 20));
    let limited = outputs[0].clone();
    let max_age = if choices.below(4) == 0 { BTreeMap::from([(limited, Span::hours(1))]) } else { BTreeMap::new() };
    Shape { environment: Environment::parse("prod").expect("a name"), given, outputs, max_age }
}

fn registry(bundle: Bundle) -> Registry {
    Registry::apply(None, bundle).unwrap_or_else(|problems| panic!("{}", problems[0])).registry
}

fn json(plan: &Plan) -> String {
    serde_json::to_string(plan).expect("a plan is JSON")
}

fn columns_of(expr: &BoundExpr, columns: &mut Vec<usize>) {
    match expr {
        BoundExpr::Column { index, .. } => columns.push(*index),
        BoundExpr::Literal { .. } => {}
        BoundExpr::Call { args, .. } => args.iter().for_each(|arg| columns_of(arg, columns)),
    }
}

/// Slots that a step reads, and slots it fills.
fn flow(step: &Step) -> (Vec<usize>, Vec<usize>) {
    match step {
        Step::Lookup { key_slots, columns, .. } => {
            (key_slots.iter().map(|s| s.0).collect(), columns.iter().map(|c| c.slot.0).collect())
        }
        Step::Windows { key_slots, aggregations, .. } => {
            (key_slots.iter().map(|s| s.0).collect(), aggregations.iter().map(|a| a.slot.0).collect())
        }
        Step::Expression { expr, slot, .. } => {
            let mut reads = Vec::new();
            columns_of(expr, &mut reads);
            (reads, vec![slot.0])
        }
        Step::Resolve { inputs, outputs, .. } => {
            (inputs.iter().filter_map(|i| i.slot.map(|s| s.0)).collect(), outputs.iter().map(|o| o.slot.0).collect())
        }
    }
}

/// The plan with the names of slots instead of their numbers.
fn without_numbers(plan: &Plan) -> Vec<String> {
    let text = show(plan);
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        let mut named = String::new();
        let mut rest = line;
        while let Some(at) = rest.find('#') {
            named.push_str(&rest[..at]);
            let digits = rest[at + 1..].bytes().take_while(u8::is_ascii_digit).count();
            let slot = &plan.slots[rest[at + 1..at + 1 + digits].parse::<usize>().expect("a number")];
            write!(named, "<{} {:?}>", slot.path, slot.origin).expect("text");
            rest = &rest[at + 1 + digits..];
        }
        lines.push(named + rest);
    }
    // The slots come in another order, the steps must not.
    lines[..plan.slots.len()].sort();
    lines
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_plan_is_the_same_whatever_the_order_of_definitions(seed in any::<u64>()) {
        let choices = &mut Choices(seed);
        let (text, askable) = definitions(choices);
        let shape = shape(choices, &askable);
        let mut bundle = dsl::parse(&text);
        let expected = plan(&registry(bundle.clone()), &shape);
        bundle.graph.entities.sort_by_cached_key(|_| choices.below(1 << 20));
        bundle.graph.resolvers.sort_by_cached_key(|_| choices.below(1 << 20));
        for entity in &mut bundle.graph.entities {
            entity.features.sort_by_cached_key(|_| choices.below(1 << 20));
            entity.relations.sort_by_cached_key(|_| choices.below(1 << 20));
        }
        let permuted = plan(&registry(bundle), &shape);
        match (expected, permuted) {
            (Ok(expected), Ok(permuted)) => prop_assert_eq!(json(&expected), json(&permuted)),
            (Err(expected), Err(permuted)) => prop_assert_eq!(expected.to_string(), permuted.to_string()),
            (expected, permuted) => prop_assert!(false, "{expected:?}\n{permuted:?}"),
        }
    }

    #[test]
    fn s24_the_order_of_what_is_given_only_numbers_slots(seed in any::<u64>()) {
        let choices = &mut Choices(seed);
        let (text, askable) = definitions(choices);
        let mut shape = shape(choices, &askable);
        let registry = registry(dsl::parse(&text));
        let expected = plan(&registry, &shape);
        shape.given.reverse();
        match (expected, plan(&registry, &shape)) {
            (Ok(expected), Ok(permuted)) => prop_assert_eq!(without_numbers(&expected), without_numbers(&permuted)),
            (Err(expected), Err(permuted)) => prop_assert_eq!(expected.code, permuted.code),
            (expected, permuted) => prop_assert!(false, "{expected:?}\n{permuted:?}"),
        }
    }

    #[test]
    fn steps_are_ready_needed_and_complete(seed in any::<u64>()) {
        let choices = &mut Choices(seed);
        let (text, askable) = definitions(choices);
        let shape = shape(choices, &askable);
        let registry = registry(dsl::parse(&text));
        let Ok(plan) = plan(&registry, &shape) else { return Ok(()) };

        prop_assert_eq!(plan.given.iter().map(|s| s.0).collect::<Vec<_>>(), (0..shape.given.len()).collect::<Vec<_>>());
        let mut ready: BTreeSet<usize> = plan.given.iter().map(|slot| slot.0).collect();
        for step in &plan.steps {
            let (reads, fills) = flow(step);
            prop_assert!(reads.iter().all(|slot| ready.contains(slot)), "{step:?} is not ready");
            for slot in fills {
                prop_assert!(ready.insert(slot), "slot {slot} is filled twice");
            }
        }
        prop_assert_eq!(ready.len(), plan.slots.len());

        let mut needed: BTreeSet<usize> = plan.outputs.iter().map(|slot| slot.0).collect();
        for step in plan.steps.iter().rev() {
            let (reads, fills) = flow(step);
            prop_assert!(fills.iter().any(|slot| needed.contains(slot)), "{step:?} is not needed");
            if !matches!(step, Step::Resolve { .. }) {
                prop_assert!(fills.iter().all(|slot| needed.contains(slot)), "{step:?} does more than is needed");
            }
            needed.extend(reads);
        }
        let distinct: BTreeSet<(String, String)> =
            plan.slots.iter().map(|slot| (slot.path.to_string(), format!("{:?}", slot.origin))).collect();
        prop_assert_eq!(distinct.len(), plan.slots.len(), "a sub-plan stands twice");

        let text = explain(&plan, &registry).to_string();
        for output in &plan.outputs {
            let path = plan.slots[output.0].path.to_string();
            prop_assert!(text.contains(&path), "{path} is not explained in\n{text}");
        }
    }

    #[test]
    fn an_unneeded_resolver_changes_no_byte(seed in any::<u64>()) {
        let choices = &mut Choices(seed);
        let (text, askable) = definitions(choices);
        let shape = shape(choices, &askable);
        let mut bundle = dsl::parse(&text);
        let Ok(expected) = plan(&registry(bundle.clone()), &shape) else { return Ok(()) };
        let needed: BTreeSet<&str> = expected
            .steps
            .iter()
            .filter_map(|step| match step {
                Step::Resolve { resolver, .. } => Some(resolver.name.as_str()),
                _ => None,
            })
            .collect();
        bundle.graph.resolvers.retain(|resolver| needed.contains(resolver.name.as_str()));
        let without = plan(&registry(bundle), &shape).unwrap_or_else(|problem| panic!("{problem}"));
        prop_assert_eq!(json(&expected), json(&without));
    }
}

#[test]
fn most_generated_requests_are_planned_and_some_call_resolvers() {
    let (mut planned, mut calls, mut windows) = (0, 0, 0);
    for seed in 0..300_u64 {
        let choices = &mut Choices(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let (text, askable) = definitions(choices);
        let shape = shape(choices, &askable);
        if let Ok(plan) = plan(&registry(dsl::parse(&text)), &shape) {
            planned += 1;
            calls += usize::from(plan.steps.iter().any(|step| matches!(step, Step::Resolve { .. })));
            windows += usize::from(plan.steps.iter().any(|step| matches!(step, Step::Windows { .. })));
        }
    }
    assert!(
        planned > 150 && calls > 30 && windows > 60,
        "{planned} planned, {calls} with calls, {windows} with windows"
    );
}
