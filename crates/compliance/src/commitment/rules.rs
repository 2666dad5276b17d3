//! The rules of loading. What breaks one is refused with the file and line it stands in.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;

use creta_model::Instant;

use super::id::is_prefix;
use super::source::{Placed, Read, refused};
use super::{
    CheckDefinition, CheckKind, Class, Commitment, CommitmentId, Document, Framework, Freshness, Mappings, Place,
    RegistryError, Rule, Software, TITLE_CHARS_MAX,
};

/// Rows that ship, and the statements they carry, by prefix.
const ROWS: usize = 91;
const STATEMENTS: [(&str, u16); 2] = [("CH", 75), ("CI", 29)];
const FOLDED: usize = 13;

type Checked = Result<(), RegistryError>;

/// Checks everything that was read, and completes mappings with what frameworks say of commitments.
pub(super) fn keep(read: &mut Read) -> Checked {
    for placed in &read.checks {
        placed.check(check(placed))?;
    }
    unique(&read.checks, |check| check.id.clone())?;
    for placed in &read.frameworks {
        placed.check(framework(&placed.value))?;
    }
    unique(&read.frameworks, |framework| framework.id.clone())?;
    unique(&read.commitments, |commitment| commitment.id.to_string())?;
    let carried = carried(read)?;
    from_frameworks(read, &carried)?;
    for placed in &read.commitments {
        placed.check(commitment(placed, read))?;
    }
    for placed in &read.documents {
        placed.check(document(&placed.value, &carried))?;
    }
    unique(&read.documents, |document| document.id.clone())?;
    published(read)
}

impl<T> Placed<T> {
    fn check(&self, result: Result<(), Rule>) -> Checked {
        result.map_err(|rule| refused(self.place.clone(), rule))
    }
}

fn unique<T>(all: &[Placed<T>], id: impl Fn(&T) -> String) -> Checked {
    let mut seen: HashMap<String, &Place> = HashMap::new();
    for placed in all {
        if let Some(first) = seen.insert(id(&placed.value), &placed.place) {
            let rule = Rule::Twice { id: id(&placed.value), first: first.clone() };
            return Err(refused(placed.place.clone(), rule));
        }
    }
    Ok(())
}

fn once<T: Eq + Hash + Clone>(
    of: &str,
    field: &'static str,
    items: &[T],
    show: impl Fn(&T) -> String,
) -> Result<(), Rule> {
    let mut seen = std::collections::HashSet::new();
    match items.iter().find(|item| !seen.insert((*item).clone())) {
        Some(item) => Err(Rule::Repeated { of: of.to_owned(), field, item: show(item) }),
        None => Ok(()),
    }
}

fn filled(of: &str, fields: &[(&'static str, &str)]) -> Result<(), Rule> {
    match fields.iter().find(|(_, text)| text.trim().is_empty()) {
        Some((field, _)) => Err(Rule::Field { of: of.to_owned(), field, must: "must say something" }),
        None => Ok(()),
    }
}

/// Lowercase words joined with single hyphens, as in addresses.
fn is_name(text: &str) -> bool {
    text.split('-')
        .all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()))
}

fn named(id: &str, field: &'static str, text: &str) -> Result<(), Rule> {
    if is_name(text) {
        return Ok(());
    }
    Err(Rule::Field { of: id.to_owned(), field, must: "must be lowercase words joined with hyphens" })
}

fn check(placed: &Placed<CheckDefinition>) -> Result<(), Rule> {
    let check = &placed.value;
    named(&check.id, "id", &check.id)?;
    filled(
        &check.id,
        &[
            ("title", &check.title),
            ("observes", &check.observes),
            ("population", &check.population),
            ("place", &check.place),
            ("negative", &check.negative),
        ],
    )?;
    match check.kind {
        CheckKind::Probe if placed.is_own => Err(Rule::ForeignProbe { check: check.id.clone() }),
        CheckKind::Probe if check.issued_outside => {
            Err(Rule::Field { of: check.id.clone(), field: "issued_outside", must: "is for artefacts only" })
        }
        CheckKind::Probe if check.freshness > Freshness::MEASURED_MAX => {
            Err(Rule::TooOld { of: check.id.clone(), given: check.freshness, most: Freshness::MEASURED_MAX })
        }
        CheckKind::Probe | CheckKind::Artefact => Ok(()),
    }
}

fn framework(framework: &Framework) -> Result<(), Rule> {
    named(&framework.id, "id", &framework.id)?;
    filled(&framework.id, &[("title", &framework.title), ("edition", &framework.edition)])?;
    for criterion in &framework.criteria {
        filled(&framework.id, &[("criterion.id", &criterion.id), ("criterion.title", &criterion.title)])?;
    }
    let ids: Vec<&String> = framework.criteria.iter().map(|criterion| &criterion.id).collect();
    once(&framework.id, "criterion", &ids, |id| (*id).clone())
}

/// Every id with a row behind it: those of rows, and those that rows carry.
fn carried(read: &Read) -> Result<BTreeSet<CommitmentId>, RegistryError> {
    let rows: BTreeMap<&CommitmentId, &Place> =
        read.commitments.iter().map(|placed| (&placed.value.id, &placed.place)).collect();
    let split: BTreeSet<&CommitmentId> = read.split.iter().map(|placed| &placed.value).collect();
    let mut carriers: BTreeMap<&CommitmentId, Vec<&CommitmentId>> = BTreeMap::new();
    for placed in &read.commitments {
        let row = &placed.value;
        for id in &row.folded {
            if let Some(place) = rows.get(id) {
                return placed
                    .check(Err(Rule::Twice { id: id.to_string(), first: (*place).clone() }))
                    .map(|()| BTreeSet::new());
            }
            let own_prefix = !CommitmentId::PUBLISHED.contains(&id.prefix());
            if placed.is_own && !own_prefix {
                return placed.check(Err(Rule::Reserved { id: id.clone() })).map(|()| BTreeSet::new());
            }
            let carriers = carriers.entry(id).or_default();
            if let Some(first) = carriers.first().filter(|_| !split.contains(id)) {
                let rule = Rule::CarriedTwice { id: id.clone(), first: (*first).clone(), second: row.id.clone() };
                return placed.check(Err(rule)).map(|()| BTreeSet::new());
            }
            carriers.push(&row.id);
        }
    }
    for placed in &read.split {
        if carriers.get(&placed.value).map_or(0, Vec::len) < 2 {
            placed.check(Err(Rule::NotSplit { id: placed.value.clone() }))?;
        }
    }
    Ok(rows.into_keys().chain(carriers.into_keys()).cloned().collect())
}

/// Adds to each commitment the criteria that frameworks say it answers. A reviewed mapping that grows is not reviewed any
/// more.
fn from_frameworks(read: &mut Read, carried: &BTreeSet<CommitmentId>) -> Checked {
    for placed in &read.frameworks {
        for criterion in &placed.value.criteria {
            for id in &criterion.commitments {
                if !carried.contains(id) {
                    let of = format!("{} {}", placed.value.id, criterion.id);
                    placed.check(Err(Rule::UnknownCommitment { of, id: id.clone() }))?;
                }
                let rows = read.commitments.iter_mut().filter(|row| row.value.ids().any(|own| own == id));
                for row in rows {
                    let mappings = &mut row.value.mappings;
                    let criteria = mappings.criteria.entry(placed.value.id.clone()).or_default();
                    if !criteria.contains(&criterion.id) {
                        criteria.push(criterion.id.clone());
                        (mappings.reviewed, mappings.reviewer, mappings.reviewed_on) = (false, None, None);
                    }
                }
            }
        }
    }
    Ok(())
}

fn commitment(placed: &Placed<Commitment>, read: &Read) -> Result<(), Rule> {
    let row = &placed.value;
    if placed.is_own && CommitmentId::PUBLISHED.contains(&row.id.prefix()) {
        return Err(Rule::Reserved { id: row.id.clone() });
    }
    words(row)?;
    let watching: Vec<&CheckDefinition> = row
        .checks
        .iter()
        .map(|id| {
            let found = read.checks.iter().map(|placed| &placed.value).find(|check| check.id == *id);
            found.ok_or_else(|| Rule::UnknownCheck { of: row.id.clone(), check: id.clone() })
        })
        .collect::<Result<_, _>>()?;
    match row.software {
        Software::ToCome => to_come(row)?,
        Software::Here => here(row, &watching)?,
    }
    freshness(row, &watching)?;
    artefacts(row)?;
    mappings(row, &read.frameworks)
}

/// What is needed from outside has plain names, each once, and stands only where somebody outside is needed.
fn artefacts(row: &Commitment) -> Result<(), Rule> {
    let of = row.id.to_string();
    if !row.outside && !row.artefacts.is_empty() {
        return Err(Rule::Field { of, field: "artefacts", must: "must be left out unless `outside` is set" });
    }
    row.artefacts.iter().try_for_each(|needed| named(&of, "artefacts", &needed.kind))?;
    let kinds: Vec<String> = row.artefacts.iter().map(|needed| needed.kind.clone()).collect();
    once(&of, "artefacts", &kinds, String::clone)
}

fn words(row: &Commitment) -> Result<(), Rule> {
    let of = row.id.as_str();
    filled(of, &[("title", &row.title), ("text", &row.text), ("behaviour", &row.behaviour), ("attack", &row.attack)])?;
    named(of, "owner", &row.owner)?;
    if row.title.chars().count() > TITLE_CHARS_MAX {
        return Err(Rule::Field { of: of.to_owned(), field: "title", must: "must have at most 60 characters" });
    }
    for (field, is_empty) in [("class", row.class.is_empty()), ("pillar", row.pillar.is_empty())] {
        if is_empty {
            return Err(Rule::Field { of: of.to_owned(), field, must: "must name at least one" });
        }
    }
    once(of, "class", &row.class, |class| class.as_str().to_owned())?;
    once(of, "pillar", &row.pillar, |pillar| pillar.as_str().to_owned())?;
    once(of, "folded", &row.folded, CommitmentId::to_string)?;
    for (field, items) in
        [("checks", &row.checks), ("positive_tests", &row.positive_tests), ("attack_tests", &row.attack_tests)]
    {
        once(of, field, items, String::clone)?;
    }
    match row.positive_tests.iter().chain(&row.attack_tests).find(|test| !is_test(test)) {
        Some(test) => Err(Rule::TestName { of: row.id.clone(), test: test.clone() }),
        None => Ok(()),
    }
}

/// `creta-server::it tenants::a_test`, `creta-audit attacks::a_test` or `pytest test_worker.py::test_a`.
fn is_test(text: &str) -> bool {
    let Some((runner, test)) = text.split_once(' ') else { return false };
    if runner == "pytest" {
        let is_part = |part: &str| !part.is_empty() && !part.contains(char::is_whitespace);
        return test
            .split_once("::")
            .is_some_and(|(file, name)| file.ends_with(".py") && is_part(file) && is_part(name));
    }
    let is_path = |text: &str| {
        text.split("::").all(|part| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
        })
    };
    is_path(runner) && is_path(test)
}

fn to_come(row: &Commitment) -> Result<(), Rule> {
    let fields =
        [("checks", &row.checks), ("positive_tests", &row.positive_tests), ("attack_tests", &row.attack_tests)];
    match fields.into_iter().find(|(_, items)| !items.is_empty()) {
        Some((field, _)) => Err(Rule::NotYet { of: row.id.clone(), field }),
        None => Ok(()),
    }
}

fn here(row: &Commitment, watching: &[&CheckDefinition]) -> Result<(), Rule> {
    let of = || row.id.clone();
    if watching.is_empty() {
        return Err(Rule::Unwatched { of: of() });
    }
    if row.positive_tests.is_empty() {
        return Err(Rule::Untested { of: of(), field: "positive_tests" });
    }
    if row.attack_tests.is_empty() && row.class.contains(&Class::Enforced) {
        return Err(Rule::Untested { of: of(), field: "attack_tests" });
    }
    if row.outside && !watching.iter().any(|check| check.issued_outside) {
        return Err(Rule::NobodyOutside { of: of() });
    }
    Ok(())
}

fn freshness(row: &Commitment, watching: &[&CheckDefinition]) -> Result<(), Rule> {
    let given = row.freshness;
    // What people do is done once a year at the least; what is measured is measured once a month.
    let by_people =
        row.class.contains(&Class::Programme) || watching.iter().any(|check| check.kind == CheckKind::Artefact);
    let most = if by_people { Freshness::MAX } else { Freshness::MEASURED_MAX };
    if given > most {
        return Err(Rule::TooOld { of: row.id.to_string(), given, most });
    }
    match watching.iter().find(|check| given < check.freshness) {
        Some(check) => {
            Err(Rule::TooFresh { of: row.id.clone(), given, check: check.id.clone(), every: check.freshness })
        }
        None => Ok(()),
    }
}

fn mappings(row: &Commitment, frameworks: &[Placed<Framework>]) -> Result<(), Rule> {
    let Mappings { reviewed, reviewer, reviewed_on, criteria } = &row.mappings;
    let is_signed = match (reviewer, reviewed_on) {
        (Some(reviewer), Some(day)) if *reviewed => !reviewer.trim().is_empty() && is_day(day),
        (None, None) => !reviewed,
        _ => false,
    };
    if !is_signed {
        return Err(Rule::Review { of: row.id.clone() });
    }
    for (framework, codes) in criteria {
        let Some(found) = frameworks.iter().map(|placed| &placed.value).find(|found| found.id == *framework) else {
            return Err(Rule::UnknownFramework { of: row.id.clone(), framework: framework.clone() });
        };
        if let Some(code) = codes.iter().find(|code| !found.criteria.iter().any(|known| known.id == **code)) {
            let (of, framework) = (row.id.clone(), framework.clone());
            return Err(Rule::UnknownCriterion { of, framework, criterion: code.clone() });
        }
        once(row.id.as_str(), "mappings", codes, String::clone)?;
    }
    Ok(())
}

fn is_day(text: &str) -> bool {
    text.len() == 10 && Instant::parse(&format!("{text}T00:00:00Z")).is_ok()
}

fn document(document: &Document, carried: &BTreeSet<CommitmentId>) -> Result<(), Rule> {
    named(&document.id, "id", &document.id)?;
    filled(&document.id, &[("title", &document.title)])?;
    if document.date.as_deref().is_some_and(|day| !is_day(day)) {
        return Err(Rule::Field { of: document.id.clone(), field: "date", must: "must be a day such as `2026-11-22`" });
    }
    if document.covers.is_empty() || !document.covers.iter().all(|prefix| is_prefix(prefix)) {
        let must = "must name the letters of the ids it holds, as in `CH`";
        return Err(Rule::Field { of: document.id.clone(), field: "covers", must });
    }
    for section in &document.sections {
        filled(&document.id, &[("section.heading", &section.heading)])?;
        if section.lines.is_empty() {
            return Err(Rule::Field { of: document.id.clone(), field: "section.lines", must: "must hold a line" });
        }
    }
    let lines: Vec<&CommitmentId> = document.lines().map(|line| &line.id).collect();
    for line in document.lines() {
        filled(line.id.as_str(), &[("says", &line.says)])?;
        if !carried.contains(&line.id) {
            return Err(Rule::UnknownCommitment { of: document.id.clone(), id: line.id.clone() });
        }
        if !document.covers.iter().any(|prefix| prefix == line.id.prefix()) {
            return Err(Rule::NotCovered { document: document.id.clone(), id: line.id.clone() });
        }
    }
    once(&document.id, "lines", &lines, |id| id.to_string())?;
    for prefix in &document.covers {
        let mut covered = carried.iter().filter(|id| id.prefix() == prefix);
        if let Some(id) = covered.find(|id| !lines.contains(id)) {
            let (document, prefix) = (document.id.clone(), prefix.clone());
            return Err(Rule::LeftOut { document, prefix, id: id.clone() });
        }
    }
    Ok(())
}

/// All statements of the two public documents are there, in as many rows as they make.
fn published(read: &Read) -> Checked {
    let shipped = || read.commitments.iter().filter(|placed| !placed.is_own).map(|placed| &placed.value);
    let incomplete = |says: String| Err(refused(Place::file("commitments"), Rule::Incomplete { says }));
    let ids: BTreeSet<&CommitmentId> = shipped().flat_map(Commitment::ids).collect();
    let expected: BTreeSet<CommitmentId> = STATEMENTS
        .iter()
        .flat_map(|(prefix, last)| (1..=*last).map(move |number| format!("{prefix}-{number:02}")))
        .map(|id| CommitmentId::parse(id).expect("has the form of an id"))
        .collect();
    if let Some(id) = expected.iter().find(|id| !ids.contains(id)) {
        return incomplete(format!("`{id}` is missing"));
    }
    if let Some(id) = ids.iter().find(|id| !expected.contains(**id)) {
        return incomplete(format!("`{id}` is none of them"));
    }
    let (rows, folded) = (shipped().count(), expected.len() - shipped().count());
    if (rows, folded) != (ROWS, FOLDED) {
        return incomplete(format!("{rows} rows carry {folded} others; they are {ROWS} and carry {FOLDED}"));
    }
    Ok(())
}
