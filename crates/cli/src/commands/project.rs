//! `creta check`, `plan`, `diff` and `deploy`: a project's definitions, here and on a server.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use creta_engine::{BindingRule, CompiledHost, DIFFERS, NoResolvers, QueryRequest, ResolverHost as _, Running, Trial};
use creta_model::{Bundle, Environment, FeaturePath, NamedQuery, Problem};
use creta_planner::{Explanation, Runs, Shape};
use creta_registry::{Diff, Happened, Registry};
use creta_server::WorkerConfig;
use serde::{Deserialize, Serialize};

use super::connect;
use crate::args::{Check, Deploy, Plan};
use crate::failure::Failure;
use crate::python;
use crate::terminal::{Terminal, counted};

/// Changes that a deployment lists one by one.
const CHANGES_SHOWN: usize = 12;

/// Exports the project in a folder; from here on locations are shown with its lines.
pub(crate) fn export(folder: &Path, python: Option<&Path>, terminal: &mut Terminal<'_>) -> Result<Bundle, Failure> {
    terminal.set_project(folder);
    python::export(&python::interpreter(python), folder)
}

#[derive(Serialize)]
struct Checked {
    project: String,
    entities: usize,
    features: usize,
    resolvers: usize,
    sources: usize,
    queries: usize,
    /// How each resolver runs.
    running: Vec<Running>,
    warnings: Vec<Problem>,
}

pub(crate) fn check(check: &Check, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let bundle = export(&check.project.folder, check.project.python.as_deref(), terminal)?;
    let applied = Registry::apply(None, bundle).map_err(Failure::project)?;
    let registry = applied.registry;
    let environment = environment(&check.environment)?;
    plan_queries(&registry, &environment).map_err(Failure::project)?;
    let graph = registry.graph();
    let python = python::interpreter(check.project.python.as_deref());
    let (running, tried) = running(registry.bundle(), &python)?;
    let differs = running.iter().filter_map(|one| one.why.clone()).filter(|why| why.code == DIFFERS);
    let warnings = applied.warnings.into_iter().chain(differs).chain(tried).collect();
    let checked = Checked {
        project: graph.project.clone(),
        entities: graph.entities.len(),
        features: graph.entities.iter().map(|entity| entity.features.len()).sum(),
        resolvers: graph.resolvers.len(),
        sources: graph.sources.len(),
        queries: graph.queries.len(),
        running,
        warnings,
    };
    terminal.warn(&checked.warnings);
    terminal.show(&checked, || {
        format!(
            "{} checks: {}, {}, {}, {}, {}",
            checked.project,
            counted(checked.entities as u64, "entity", "entities"),
            counted(checked.features as u64, "feature", "features"),
            counted(checked.resolvers as u64, "resolver", "resolvers"),
            counted(checked.sources as u64, "source", "sources"),
            counted(checked.queries as u64, "query", "queries"),
        ) + &listed(&checked.running)
    });
    if check.require_compiled {
        let refused: Vec<Problem> = checked.running.iter().filter_map(|one| one.why.clone()).collect();
        if !refused.is_empty() {
            return Err(Failure::project(refused));
        }
    }
    if check.strict && !checked.warnings.is_empty() {
        return Err(Failure::project(checked.warnings));
    }
    Ok(())
}

/// How each resolver would run on a server with this interpreter; what is compiled is tried against it.
fn running(bundle: &Bundle, python: &Path) -> Result<(Vec<Running>, Option<Problem>), Failure> {
    let one = |problem| Failure::project(vec![problem]);
    let path = std::env::var_os("PYTHONPATH").unwrap_or_default();
    let config = WorkerConfig {
        python: Some(python.to_owned()),
        python_path: std::env::split_paths(&path).filter(|folder| folder.is_absolute()).collect(),
        processes: 1,
    };
    creta_server::resolvers_of(bundle, &config).map_err(one)
}

/// A line for each resolver, and why it is not compiled.
fn listed(running: &[Running]) -> String {
    let place = |one: &Running| {
        let at = one.why.as_ref().and_then(|why| why.location.as_ref()).unwrap_or(&one.location);
        format!("{}:{}", at.file, at.line)
    };
    let longest = |of: &dyn Fn(&Running) -> usize| running.iter().map(of).max().unwrap_or(0);
    let width = longest(&|one| one.resolver.as_str().len());
    let places = longest(&|one| if one.why.is_some() { place(one).len() } else { 0 });
    let line = |one: &Running| {
        let runs = match one.runs {
            Runs::Compiled => "compiled ",
            Runs::Python => "in Python",
        };
        let mut text = format!("\n  {runs}  {:width$}  ", one.resolver.as_str());
        if let Some(why) = &one.why {
            let reason = why.message.split_once(" runs in Python: ").map_or(why.message.as_str(), |(_, reason)| reason);
            text += &format!("{:places$}  {reason}", place(one));
            if let Some(help) = &why.help {
                text += &format!("\n{:indent$}help: {help}", "", indent = 15 + width + places + 2);
            }
        } else {
            text += &place(one);
        }
        text
    };
    running.iter().map(line).collect()
}

fn environment(name: &str) -> Result<Environment, Failure> {
    Environment::parse(name)
        .map_err(|error| Failure::usage("project/environment", error.to_string(), "name another one"))
}

/// A named query that nothing can answer is a mistake of the project.
fn plan_queries(registry: &Registry, environment: &Environment) -> Result<(), Vec<Problem>> {
    let problems: Vec<Problem> = registry
        .graph()
        .queries
        .iter()
        .filter_map(|query| {
            let problem = creta_planner::plan(registry, &shape(environment, &query.inputs, &query.outputs)).err()?;
            Some(problem.with_note("asked for by", format!("query `{}`", query.name), Some(&query.location)))
        })
        .collect();
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

fn shape(environment: &Environment, given: &[FeaturePath], outputs: &[FeaturePath]) -> Shape {
    Shape {
        environment: environment.clone(),
        given: given.to_vec(),
        outputs: outputs.to_vec(),
        max_age: std::collections::BTreeMap::new(),
    }
}

pub(crate) fn plan(plan: &Plan, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    if plan.deployed {
        let (server, _) = connect(&plan.connection)?;
        let (inputs, outputs) = match &plan.query {
            Some(name) => named_query(&server.get::<Catalogue>("/v1/catalogue")?.queries, name)?,
            None => (plan.input.clone(), plan.output.clone()),
        };
        // What would be given, without saying what it is.
        let inputs = inputs.into_iter().map(|path| (path, Vec::new())).collect();
        let request = QueryRequest { inputs, outputs, ..QueryRequest::default() };
        let explained: Explained = server.post("/v1/explain", &request)?;
        terminal.show(&explained, || explained.text());
        return Ok(());
    }
    let bundle = export(&plan.project, plan.python.as_deref(), terminal)?;
    let registry = Registry::apply(None, bundle).map_err(Failure::project)?.registry;
    let environment = environment(&plan.environment)?;
    let shape = match &plan.query {
        Some(name) => {
            let (inputs, outputs) = named_query(&registry.graph().queries, name)?;
            shape(&environment, &inputs, &outputs)
        }
        None => shape(&environment, &plan.input, &plan.output),
    };
    let made = creta_planner::plan(&registry, &shape).map_err(|problem| Failure::project(vec![problem]))?;
    let host = CompiledHost::new(registry.bundle(), Arc::new(NoResolvers), Trial::AtFirstCall);
    let running: BTreeMap<_, _> = host.running().into_iter().map(|one| (one.resolver, one.runs)).collect();
    let explanation = creta_planner::explain(&made, &registry).with_runs(&|resolver| running.get(resolver).copied());
    terminal.show(&explanation, || explanation.to_string());
    Ok(())
}

/// How a server would answer, and the row rules that bind whoever asks.
#[derive(Serialize, Deserialize)]
struct Explained {
    #[serde(flatten)]
    plan: Explanation,
    #[serde(default)]
    rows: Vec<BindingRule>,
}

impl Explained {
    fn text(&self) -> String {
        let line = |one: &BindingRule| {
            let BindingRule { rule, feature, entity } = one;
            format!("\nrows of `{entity}` are denied unless `{feature}` satisfies rule `{rule}`, which binds you")
        };
        self.plan.to_string() + &self.rows.iter().map(line).collect::<String>()
    }
}

/// What is needed of a server's definitions.
#[derive(Deserialize)]
struct Catalogue {
    queries: Vec<NamedQuery>,
}

/// `name` is the latest version, `name@2` that one.
fn named_query(queries: &[NamedQuery], text: &str) -> Result<(Vec<FeaturePath>, Vec<FeaturePath>), Failure> {
    let (name, version) = text.split_once('@').map_or((text, None), |(name, version)| (name, Some(version)));
    let matches = queries.iter().filter(|query| query.name.as_str() == name);
    let found = matches.filter(|query| version.is_none_or(|version| version == query.version.to_string()));
    let found = found.max_by_key(|query| query.version);
    found.map(|query| (query.inputs.clone(), query.outputs.clone())).ok_or_else(|| {
        let known: Vec<String> = queries.iter().map(|query| format!("`{}@{}`", query.name, query.version)).collect();
        let help = if known.is_empty() {
            "the project has no named query; name features with `--output`".to_owned()
        } else {
            format!("there are {}", known.join(", "))
        };
        Failure::usage("plan/unknown-query", format!("there is no query `{text}`"), help)
    })
}

/// What a server says about a bundle that is not deployed yet.
#[derive(Debug, Serialize, Deserialize)]
struct Difference {
    warnings: Vec<Problem>,
    diff: Diff,
}

pub(crate) fn diff(args: &Deploy, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let bundle = export(&args.project.folder, args.project.python.as_deref(), terminal)?;
    let (server, _) = connect(&args.connection)?;
    let difference: Difference = server.post("/v1/check", &bundle)?;
    terminal.warn(&difference.warnings);
    terminal.show(&difference, || difference.diff.to_string());
    Ok(())
}

/// What a deployment did.
#[derive(Debug, Serialize, Deserialize)]
struct Deployed {
    revision: u64,
    digest: String,
    diff: Diff,
    warnings: Vec<Problem>,
    queries: usize,
    #[serde(default)]
    resolvers: Vec<Running>,
}

pub(crate) fn deploy(args: &Deploy, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let bundle = export(&args.project.folder, args.project.python.as_deref(), terminal)?;
    let (server, profile) = connect(&args.connection)?;
    let bar = terminal.progress("deploying", 0);
    let deployed = server.post::<Deployed>("/v1/deploy", &bundle);
    bar.finish_and_clear();
    let deployed = deployed?;
    terminal.warn(&deployed.warnings);
    terminal.show(&deployed, || {
        format!(
            "{}\ndeployed revision {} to {} ({} planned{})\n  {}",
            summary(&deployed.diff),
            deployed.revision,
            profile.url,
            counted(deployed.queries as u64, "named query", "named queries"),
            compiled_of(&deployed.resolvers),
            deployed.digest,
        )
    });
    Ok(())
}

/// How many resolvers need no Python.
fn compiled_of(resolvers: &[Running]) -> String {
    let compiled = resolvers.iter().filter(|one| one.runs == Runs::Compiled).count();
    match resolvers.len() {
        0 => String::new(),
        all => format!(", {compiled} of {} compiled", counted(all as u64, "resolver", "resolvers")),
    }
}

/// All changes, or where they are many how many of each kind; `creta diff` shows them all beforehand.
fn summary(diff: &Diff) -> String {
    if diff.changes.len() <= CHANGES_SHOWN {
        return diff.to_string().trim_end().to_owned();
    }
    let mut lines = Vec::new();
    for (happened, word) in [(Happened::Added, "added"), (Happened::Changed, "changed"), (Happened::Removed, "removed")]
    {
        let mut kinds: Vec<(&str, u64)> = Vec::new();
        for change in diff.changes.iter().filter(|change| change.happened == happened) {
            match kinds.iter_mut().find(|(kind, _)| *kind == change.kind) {
                Some((_, count)) => *count += 1,
                None => kinds.push((&change.kind, 1)),
            }
        }
        let counts: Vec<String> = kinds.iter().map(|(kind, count)| counted(*count, kind, &plural(kind))).collect();
        if !counts.is_empty() {
            lines.push(format!("{word} {}", counts.join(", ")));
        }
    }
    if !diff.recomputed.is_empty() {
        lines.push(format!("recomputed {}", counted(diff.recomputed.len() as u64, "feature", "features")));
    }
    lines.join("\n")
}

fn plural(kind: &str) -> String {
    match kind.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{}s", kind.trim_end_matches('s')),
    }
}

#[cfg(test)]
mod tests {
    use creta_registry::Change;

    use super::*;

    fn change(happened: Happened, kind: &'static str, n: usize) -> Change {
        Change { happened, kind: kind.into(), name: format!("X{n}"), renamed_from: None, properties: Vec::new() }
    }

    #[test]
    fn few_changes_are_listed_and_many_are_counted() {
        let few = Diff { changes: vec![change(Happened::Added, "query", 1)], ..Diff::default() };
        assert_eq!(summary(&few), "+ query X1");
        let mut changes: Vec<Change> = (0..20).map(|n| change(Happened::Added, "feature", n)).collect();
        changes.extend([change(Happened::Added, "entity", 0), change(Happened::Added, "entity", 1)]);
        changes.push(change(Happened::Removed, "query", 0));
        let many = Diff { changes, ..Diff::default() };
        assert_eq!(summary(&many), "added 20 features, 2 entities\nremoved 1 query");
        assert_eq!(summary(&Diff::default()), "nothing changes");
    }
}
