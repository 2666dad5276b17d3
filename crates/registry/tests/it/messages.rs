//! Every message of the registry as users see it: `tests/golden/registry/*.case`.

use creta_model::Problem;
use creta_registry::{Applied, Registry, diff};

use crate::{dsl, golden};

fn shown(problems: &[Problem], label: &str) -> String {
    problems.iter().map(|problem| format!("{}\n", problem.to_string().replacen("error", label, 1))).collect()
}

/// Applies the definitions, and those after each `then` on top. The answer is the problems or warnings of the last,
/// and what it changes.
fn answer(question: &str) -> String {
    let mut registry: Option<Registry> = None;
    let mut text = String::new();
    for definitions in question.split("then\n") {
        text.clear();
        match Registry::apply(registry.as_ref(), dsl::parse(definitions)) {
            Err(problems) => return shown(&problems, "error"),
            Ok(Applied { registry: applied, warnings }) => {
                text.push_str(&shown(&warnings, "warning"));
                if let Some(before) = &registry {
                    text.push_str(&diff(Some(before), &applied).to_string());
                }
                registry = Some(applied);
            }
        }
    }
    if text.is_empty() { "ok".to_owned() } else { text }
}

#[test]
fn golden_messages() {
    golden::run("registry", answer);
}
