//! Plans, explanations and errors as people see them: `tests/golden/planner/*.case`.

use std::collections::BTreeMap;

use creta_model::{Environment, Span};
use creta_planner::{Shape, explain, plan};
use creta_registry::Registry;

use crate::show::show;
use crate::{dsl, golden};

/// `environment prod`, `given A.x, B.y`, `ask A.z`, `max_age A.x 1h`, a line each.
pub(crate) fn parse_shape(text: &str) -> Shape {
    let mut shape = Shape {
        environment: Environment::parse("prod").expect("a name"),
        given: Vec::new(),
        outputs: Vec::new(),
        max_age: BTreeMap::new(),
    };
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "environment" => shape.environment = Environment::parse(rest).expect("a name"),
            "given" => shape.given = dsl::paths(rest),
            "ask" => shape.outputs = dsl::paths(rest),
            "max_age" => {
                let (path, age) = rest.split_once(' ').expect("a path and a span");
                shape.max_age.insert(dsl::path(path), Span::parse(age).expect("a span"));
            }
            other => panic!("unknown line `{other}`"),
        }
    }
    shape
}

fn answer(question: &str) -> String {
    let (definitions, request) = question.split_once("request\n").expect("definitions, then a request");
    let applied = Registry::apply(None, dsl::parse(definitions));
    let registry = applied.unwrap_or_else(|problems| panic!("{definitions}\n{}", problems[0])).registry;
    match plan(&registry, &parse_shape(request)) {
        Ok(plan) => format!("{}\n{}", show(&plan), explain(&plan, &registry)),
        Err(problem) => problem.to_string(),
    }
}

#[test]
fn golden_plans() {
    golden::run("planner", answer);
}
