"""Leaves the tenant out of one key after the other, and expects the tests to notice each time (T3).

Works on a copy of the sources: every mutation is written into it behind a switch, it is built once, and the tests
run once for each mutation with its switch on, and once with none. What a server is built from has no such switch.
"""

# Lines of Rust stay whole, so that they are found.
# ruff: noqa: E501

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

TESTS = "tenant_tests::attack_ch20_tenants_of_the_same_names_never_meet_in_any_order_of_operations"


class Mutation(NamedTuple):
    """One key that names a tenant, and the same without it. `{on}` stands for whether the mutation is switched on."""

    name: str
    what: str
    edits: tuple[tuple[str, str, str], ...]


SCOPE = (
    'creta_model::Scope::new(creta_model::TenantId::parse("acme").expect("valid"), {0}.environment.clone())'
)
"""The scope of one tenant in the place of every other's."""


def of_one(scope: str) -> str:
    return SCOPE.format(scope)


MUTATIONS = (
    Mutation(
        "engines",
        "open engines, with their stores, definitions, ready shapes, workers and idempotency keys, by scope",
        (
            (
                "server/src/scopes.rs",
                "lock(&self.open).entry(scope.clone()).or_default()",
                f"lock(&self.open).entry(if {{on}} {{ {of_one('scope')} }} else {{ scope.clone() }}).or_default()",
            ),
            (
                "server/src/scopes.rs",
                "let slot = open.get(scope)?.try_lock().ok()?;",
                f"let slot = open.get(&if {{on}} {{ {of_one('scope')} }} else {{ scope.clone() }})?.try_lock().ok()?;",
            ),
        ),
    ),
    Mutation(
        "folders",
        "the folder of a tenant's stores",
        (
            (
                "server/src/scopes.rs",
                'let prefix = format!("tenants/{}", scope.tenant);',
                'let prefix = if {on} { "tenants/all".to_owned() } else { format!("tenants/{}", scope.tenant) };',
            ),
        ),
    ),
    Mutation(
        "scope-keys",
        "opened keys that seal a tenant's stores",
        (
            (
                "keys/src/ring.rs",
                "if let Some(key) = state.opened.get(&scope.tenant) {",
                f"let whose = if {{on}} {{ {of_one('scope')} }} else {{ scope.clone() }};\n"
                "        if let Some(key) = state.opened.get(&whose.tenant) {",
            ),
        ),
    ),
    Mutation(
        "client-ids",
        "the name of a program, by which its account is kept and its tokens are its own",
        (
            (
                "server/src/accounts.rs",
                'format!("{name}@{tenant}")',
                'if {on} && tenant.as_str() != "control-plane" { format!("{name}@acme") } else { format!("{name}@{tenant}") }',
            ),
        ),
    ),
    Mutation(
        "turns",
        "places among the requests at work and on the way",
        (
            (
                "server/src/http.rs",
                "let whose = caller.principal.home();",
                "let whose = if {on} { Place::Environment(caller.principal.environment().clone()) } else { caller.principal.home() };",
            ),
            (
                "server/src/at_once.rs",
                "let whose = self.caller.principal.home();",
                "let whose = if {on} { creta_iam::Place::Environment(self.caller.principal.environment().clone()) } "
                "else { self.caller.principal.home() };",
            ),
        ),
    ),
    Mutation(
        "failures",
        "wrong secrets that were counted",
        (
            (
                "server/src/routes/token.rs",
                "if let Some(wait) = app.failures.wait(Attempt::ClientSecret, &id, address, now) {",
                "let whose = if {on} { id.split('@').next().unwrap_or_default().to_owned() } "
                "else { id.to_string() };\n"
                "        if let Some(wait) = app.failures.wait(Attempt::ClientSecret, &whose, address, now) {",
            ),
            (
                "server/src/routes/token.rs",
                "if app.failures.count(Attempt::ClientSecret, &id, address, now) {",
                "if app.failures.count(Attempt::ClientSecret, &whose, address, now) {",
            ),
        ),
    ),
    Mutation(
        "decisions",
        "decisions that are remembered",
        (
            (
                "iam/src/cache.rs",
                "let question = (principal.clone(), action, resource.clone());",
                "let question = asked(principal, action, resource);",
            ),
            (
                "iam/src/cache.rs",
                "self.find(policies.epoch_of(&principal.key()), &(principal.clone(), action, resource.clone()))",
                "self.find(policies.epoch_of(&principal.key()), &asked(principal, action, resource))",
            ),
            (
                "iam/src/cache.rs",
                "type Question = (Principal, Action, Resource);",
                "type Question = (Principal, Action, Resource);\n\n"
                "fn asked(principal: &Principal, action: Action, resource: &Resource) -> Question {\n"
                "    match (principal, resource.place()) {\n"
                "        (Principal::ServiceAccount { id, scope, role }, crate::Place::Scope(place))\n"
                "            if {on} && !crate::is_reserved(&scope.tenant) => (\n"
                f"            Principal::service_account(id.clone(), {of_one('scope')}, *role),\n"
                "            action,\n"
                f"            Resource::features({of_one('place')}, resource.feature_set().clone()),\n"
                "        ),\n"
                "        _ => (principal.clone(), action, resource.clone()),\n"
                "    }\n"
                "}",
            ),
        ),
    ),
    Mutation(
        "shapes",
        "shapes of questions that were made ready",
        (
            (
                "engine/src/ready.rs",
                "let shapes = &policy.shapes.shapes;",
                "static ALL: std::sync::LazyLock<RwLock<Shapes>> = std::sync::LazyLock::new(RwLock::default);\n"
                "        let shapes = if {on} { &*ALL } else { &policy.shapes.shapes };",
            ),
        ),
    ),
    Mutation(
        "texts",
        "texts of questions that were made ready",
        (
            (
                "engine/src/ready.rs",
                "self.texts.read().unwrap_or_else(PoisonError::into_inner).get(text).cloned()",
                "(if {on} { &*ALL_TEXTS } else { &self.texts }).read().unwrap_or_else(PoisonError::into_inner).get(text).cloned()",
            ),
            (
                "engine/src/ready.rs",
                "let mut texts = self.texts.write()",
                "let mut texts = (if {on} { &*ALL_TEXTS } else { &self.texts }).write()",
            ),
            (
                "engine/src/ready.rs",
                "impl ReadyShapes {\n",
                "static ALL_TEXTS: std::sync::LazyLock<RwLock<HashMap<Box<[u8]>, ReadyText>>> =\n"
                "    std::sync::LazyLock::new(RwLock::default);\n\nimpl ReadyShapes {\n",
            ),
        ),
    ),
    Mutation(
        "counted",
        "the name by which a program's questions are counted",
        (
            (
                "server/src/context.rs",
                'format!("service-account:{id}@{}", scope.tenant)',
                'if {on} { format!("service-account:{id}") } else { format!("service-account:{id}@{}", scope.tenant) }',
            ),
        ),
    ),
    Mutation(
        "metrics",
        "the meter of rows that were asked for",
        (
            (
                "server/src/metrics.rs",
                "let counter = self.rows_asked.get(scope, || {",
                f"let counter = self.rows_asked.get(&if {{on}} {{ {of_one('scope')} }} else {{ scope.clone() }}, || {{",
            ),
        ),
    ),
    Mutation(
        "log",
        "entries of the audit log that a tenant may read",
        (
            (
                "audit/src/log.rs",
                "entry.scope().as_ref() == Some(scope) && doer.is_none_or(|doer| doer == scope)",
                "{on} || (entry.scope().as_ref() == Some(scope) && doer.is_none_or(|doer| doer == scope))",
            ),
        ),
    ),
)


def check(crates: Path) -> None:
    """What is to be changed has to stand there exactly once."""
    for mutation in MUTATIONS:
        for file, old, _ in mutation.edits:
            if (times := (crates / file).read_text().count(old)) != 1:
                sys.exit(f"`{mutation.name}`: {file} has this {times} times, and it has to be once: {old}")


def mutate(crates: Path) -> None:
    """Writes every mutation behind its switch."""
    check(crates)
    for mutation in MUTATIONS:
        for file, old, new in mutation.edits:
            path = crates / file
            text = path.read_text()
            switch = f'(std::env::var("CRETA_MUTANT").as_deref() == Ok("{mutation.name}"))'
            path.write_text(text.replace(old, new.replace("{on}", switch)))


def run(binary: str, folder: Path, mutant: str, operations: int) -> bool:
    """Whether the test passes with a mutation switched on; the first line that says why not is printed."""
    environment = {**os.environ, "CRETA_MUTANT": mutant, "CRETA_TENANTS_OPERATIONS": str(operations)}
    ended = subprocess.run(
        [binary, "--exact", TESTS, "--nocapture"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if "running 1 test" not in ended.stdout:
        sys.exit(f"the test did not run:\n{ended.stdout}{ended.stderr}")
    if ended.returncode:
        lines = ended.stderr.splitlines()
        where = next((number for number, line in enumerate(lines) if "panicked at" in line), 0)
        print("        " + " ".join(line.strip() for line in lines[where + 1 : where + 3])[:160])
    return ended.returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("copy", type=Path, help="a copy of the repository, which is changed")
    parser.add_argument(
        "--check", action="store_true", help="only look whether every key is still where it was"
    )
    parser.add_argument("--operations", type=int, default=20_000, help="how many in each run")
    parser.add_argument("--only", nargs="*", help="names of mutations")
    arguments = parser.parse_args()
    if arguments.check:
        return check(arguments.copy / "crates")
    mutate(arguments.copy / "crates")
    command = ["cargo", "test", "--locked", "--package", "creta-server", "--lib", "--no-run"]
    built = subprocess.run(command, cwd=arguments.copy, capture_output=True, text=True, check=False)
    found = re.search(r"Executable .*\((.+)\)", built.stderr)
    if built.returncode or not found:
        sys.exit(f"the mutated copy does not build:\n{built.stderr}")
    binary, folder = str(arguments.copy / found.group(1)), arguments.copy / "crates/server"
    if not run(binary, folder, "none", arguments.operations):
        sys.exit("the test fails without any mutation")
    survived: list[str] = []
    for mutation in MUTATIONS:
        if arguments.only and mutation.name not in arguments.only:
            continue
        passed = run(binary, folder, mutation.name, arguments.operations)
        print(f"{'MISSED' if passed else 'caught':7} {mutation.name:11} {mutation.what}", flush=True)
        if passed:
            survived.append(mutation.name)
    if survived:
        sys.exit(f"nothing noticed that the tenant is missing from: {', '.join(survived)}")


if __name__ == "__main__":
    main()
