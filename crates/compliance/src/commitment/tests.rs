//! What ships keeps the rules; what breaks one is refused by name.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::Path;

use super::source::{BUILT_IN, SourceFile, built_in};
use super::*;

mod schema;

/// An organisation's folder, complete and valid.
const OWN: &[(&str, &str)] = &[
    (
        "commitments/own.toml",
        r#"format = "creta.commitments/1"

[[commitment]]
id = "ACME-01"
folded = ["ACME-11"]
title = "Business units are kept apart"
text = "No business unit reads the features of another."
class = ["enforced"]
pillar = ["confidentiality"]
behaviour = "Each unit is a tenant."
attack = "A unit asks for another's feature: it must look as if it did not exist."
owner = "data-lead"
software = "here"
freshness = "1h"
checks = ["isolation"]
positive_tests = ["acme-features::it units::each_reads_its_own"]
attack_tests = ["pytest test_units.py::test_no_other_unit"]
[commitment.mappings]
soc2 = ["CC6.1"]
reviewed = true
reviewer = "A. Auditor"
reviewed_on = "2026-11-20"

[[commitment]]
id = "ACME-02"
title = "The works council has agreed"
text = "The works council has agreed to each use of personal data."
class = ["programme"]
pillar = ["confidentiality"]
behaviour = "An agreement is handed in every year."
attack = "An agreement is signed by its own author: it must not count."
owner = "people-lead"
outside = true
software = "here"
freshness = "366d"
checks = ["works-council"]
positive_tests = ["pytest test_council.py::test_agreement"]
"#,
    ),
    (
        "checks.toml",
        r#"format = "creta.checks/1"

[[check]]
id = "works-council"
title = "The works council's agreement is in date"
kind = "artefact"
pillar = "confidentiality"
observes = "The signed agreement."
population = "Every use of personal data."
place = "archive"
freshness = "366d"
negative = "An agreement whose end has passed."
issued_outside = true
"#,
    ),
    (
        "documents/own.toml",
        r#"format = "creta.document/1"
id = "acme-rules"
title = "Rules for data at Acme"
date = "2026-11-01"
covers = ["ACME"]

[[section]]
heading = "Data"
lines = [
    { id = "ACME-11", says = "Units are kept apart." },
    { id = "ACME-01", says = "No unit reads another's features." },
    { id = "ACME-02", says = "The works council has agreed." },
]
"#,
    ),
    (
        "frameworks/own.toml",
        r#"format = "creta.framework/1"
id = "acme-standard"
title = "Acme's standard for data"
edition = "4"

[[criterion]]
id = "D1"
title = "units apart"
commitments = ["CH-20", "ACME-11"]
"#,
    ),
];

fn files(texts: &[(&str, &str)]) -> Vec<SourceFile> {
    let file = |(path, text): &(&str, &str)| SourceFile {
        path: (*path).to_owned(),
        shown: format!("acme/{path}"),
        text: Cow::Owned((*text).to_owned()),
    };
    texts.iter().map(file).collect()
}

/// The registry after edits of the form (file, text, its replacement). A file is an organisation's own, or built in.
fn load(edits: &[(&str, &str, &str)]) -> Result<Registry, RegistryError> {
    let (mut shipped, mut own) = (built_in(), files(OWN));
    for (path, from, to) in edits {
        let file = own.iter_mut().chain(&mut shipped).find(|file| file.path == *path).expect("a file of this path");
        assert!(file.text.contains(from), "`{from}` does not stand in {path}");
        file.text = Cow::Owned(file.text.replacen(from, to, 1));
    }
    Registry::of(&shipped, &own)
}

fn id(text: &str) -> CommitmentId {
    CommitmentId::parse(text).expect("valid")
}

#[test]
fn all_104_statements_stand_in_91_rows_of_which_13_are_carried() {
    let registry = Registry::embedded();
    assert_eq!((registry.commitments().count(), registry.statements()), (91, 104));
    for (prefix, last) in [("CI", 29), ("CH", 75)] {
        for number in 1..=last {
            let id = id(&format!("{prefix}-{number:02}"));
            let carriers: Vec<&str> = registry.carriers(&id).map(|row| row.id.as_str()).collect();
            match id.as_str() {
                "CH-21" => assert_eq!(carriers, ["CI-12", "CI-13"]),
                _ => assert_eq!(carriers.len(), 1, "{id}"),
            }
        }
    }
    let pairs = [
        ("CH-07", "CI-03"),
        ("CH-71", "CI-08"),
        ("CH-72", "CI-08"),
        ("CH-73", "CH-58"),
        ("CH-28", "CI-20"),
        ("CH-34", "CI-23"),
        ("CH-36", "CI-24"),
        ("CH-30", "CI-12"),
        ("CH-31", "CI-13"),
        ("CI-17", "CH-40"),
        ("CH-62", "CI-15"),
        ("CH-75", "CI-29"),
    ];
    for (folded, row) in pairs {
        assert_eq!(registry.commitment(&id(folded)).expect("carried").id.as_str(), row);
    }
    assert!(registry.commitment(&id("CH-76")).is_none());
    let outside: Vec<&str> = registry.commitments().filter(|row| row.outside).map(|row| row.id.as_str()).collect();
    assert_eq!(outside, ["CH-08", "CH-10", "CH-12", "CH-13", "CI-04", "CI-05"]);
    for row in registry.commitments() {
        assert!(!row.mappings.of("soc2").is_empty() && !row.mappings.of("iso27001").is_empty(), "{}", row.id);
        assert!(!row.mappings.reviewed, "{}: nobody has reviewed a mapping yet", row.id);
    }
}

#[test]
fn every_file_of_the_data_is_built_in() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
    let mut on_disk = BTreeSet::from(["checks.toml".to_owned(), "not-claimed.toml".to_owned()]);
    for part in ["commitments", "documents", "frameworks"] {
        for entry in std::fs::read_dir(data.join(part)).expect("a folder") {
            on_disk.insert(format!("{part}/{}", entry.expect("an entry").file_name().to_string_lossy()));
        }
    }
    assert_eq!(on_disk, BUILT_IN.iter().map(|(path, _)| (*path).to_owned()).collect());
}

#[test]
fn the_documents_keep_their_order_and_headings() {
    let registry = Registry::embedded();
    let read: Vec<(&str, Option<&str>, usize, &str)> = registry
        .documents()
        .map(|document| {
            let first = document.lines().next().expect("a line");
            (document.id.as_str(), document.date.as_deref(), document.lines().count(), first.id.as_str())
        })
        .collect();
    assert_eq!(read, [("chain-io", Some("2022-02-03"), 29, "CI-01"), ("chalk", None, 75, "CH-01")]);
    // Both documents number their promises in the order they make them.
    for document in registry.documents() {
        assert!(document.lines().map(|line| &line.id).is_sorted(), "{}", document.id);
    }
    let chalk = registry.document("chalk").expect("there");
    let under = |heading: &str| {
        let section = chalk.sections.iter().find(|section| section.heading == heading).expect("a section");
        (section.part.as_deref(), section.lines[0].id.as_str(), section.lines.len())
    };
    assert_eq!(under("Endpoint security"), (Some("Protecting Customer Data"), "CH-14", 6));
    assert_eq!(under("Change Management"), (Some("Monitoring and Risk Management"), "CH-52", 8));
    assert_eq!(under("Our People"), (None, "CH-10", 4));
}

/// `creta-server::it tenants::a` is a function `a` of the crate `server`, `pytest test_x.py::a` one of the SDK's tests.
#[test]
fn every_test_that_a_commitment_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().and_then(Path::parent).expect("in the workspace");
    let mut sources: std::collections::HashMap<std::path::PathBuf, String> = std::collections::HashMap::new();
    let mut named = 0;
    for row in Registry::embedded().commitments() {
        for test in row.positive_tests.iter().chain(&row.attack_tests) {
            let (runner, path) = test.split_once(' ').expect("two words");
            let name = path.rsplit("::").next().expect("a name");
            let (folder, wanted) = match runner.split_once("::") {
                _ if runner == "pytest" => ("sdk/python/tests".to_owned(), format!("def {name}(")),
                Some((package, _)) => (format!("{}/tests", of_package(package)), format!("fn {name}(")),
                None => (format!("{}/src", of_package(runner)), format!("fn {name}(")),
            };
            let folder = root.join(folder);
            let text = sources.entry(folder.clone()).or_insert_with(|| all_text(&folder));
            assert!(text.contains(&wanted), "`{}` names `{test}`, and {} has no `{wanted}`", row.id, folder.display());
            named += 1;
        }
    }
    assert!(named > 40, "{named}");
}

fn of_package(package: &str) -> String {
    format!("crates/{}", package.strip_prefix("creta-").expect("a crate of this workspace"))
}

fn all_text(folder: &Path) -> String {
    let mut text = String::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("an entry").path();
            match path.extension().and_then(|extension| extension.to_str()) {
                _ if path.is_dir() => folders.push(path),
                Some("rs" | "py") => text.push_str(&std::fs::read_to_string(&path).expect("text")),
                _ => {}
            }
        }
    }
    text
}

#[test]
fn an_organisation_adds_promises_checks_documents_and_frameworks() {
    let registry = load(&[]).expect("valid");
    assert_eq!((registry.commitments().count(), registry.statements()), (93, 107));
    assert_eq!(registry.commitment(&id("ACME-11")).expect("carried").id.as_str(), "ACME-01");
    assert!(registry.check("works-council").expect("added").issued_outside);
    assert_eq!(registry.watched_by("isolation").map(|row| row.id.as_str()).collect::<Vec<_>>()[0], "ACME-01");
    assert_eq!(registry.documents().len(), 3);
    // Its framework reaches what ships and what it added; a mapping that grows is not reviewed any more.
    for mapped in ["CH-20", "ACME-01"] {
        let mappings = &registry.commitment(&id(mapped)).expect("there").mappings;
        assert_eq!((mappings.of("acme-standard"), mappings.reviewed), (&["D1".to_owned()][..], false));
    }
    let unmapped = load(&[("frameworks/own.toml", "\"CH-20\", \"ACME-11\"", "")]).expect("valid");
    let reviewed = &unmapped.commitment(&id("ACME-01")).expect("there").mappings;
    assert_eq!((reviewed.reviewed, reviewed.reviewer.as_deref()), (true, Some("A. Auditor")));
    // The same files are the same text, and any change of it shows.
    assert_eq!(registry.canonical(), load(&[]).expect("valid").canonical());
    assert_ne!(registry.canonical(), unmapped.canonical());
}

type Case = (&'static [(&'static str, &'static str, &'static str)], fn(&Rule) -> bool, &'static str);

const OWN_ROWS: &str = "commitments/own.toml";
const PRODUCT: &str = "commitments/product.toml";
const IDENTITY: &str = "commitments/identity.toml";

/// Edits, the rule they break, and what the message has to name.
#[rustfmt::skip]
const REFUSALS: &[Case] = &[
    // Form.
    (&[(OWN_ROWS, "title =", "titel =")], |r| matches!(r, Rule::Form { .. }), "acme/commitments/own.toml:6: unknown field `titel`"),
    (&[(OWN_ROWS, "owner = \"data-lead\"\n", "")], |r| matches!(r, Rule::Form { .. }), "missing field `owner`"),
    (&[(OWN_ROWS, "freshness = \"1h\"\n", "")], |r| matches!(r, Rule::Form { .. }), "missing field `freshness`"),
    (&[(OWN_ROWS, "\"1h\"", "\"0h\"")], |r| matches!(r, Rule::Form { .. }), "own.toml:14: `0h` is no freshness"),
    (&[(OWN_ROWS, "\"366d\"", "\"367d\"")], |r| matches!(r, Rule::Form { .. }), "at most `366d`"),
    (&[(OWN_ROWS, "\"ACME-01\"", "\"acme-1\"")], |r| matches!(r, Rule::Form { .. }), "own.toml:4: `acme-1` is not the id"),
    (&[(OWN_ROWS, "\"enforced\"", "\"promised\"")], |r| matches!(r, Rule::Form { .. }), "unknown variant `promised`"),
    (&[(OWN_ROWS, "\"here\"", "\"soon\"")], |r| matches!(r, Rule::Form { .. }), "unknown variant `soon`"),
    (&[(OWN_ROWS, "reviewed = true", "reviewd = true")], |r| matches!(r, Rule::Form { .. }), "own.toml:"),
    (&[(OWN_ROWS, "[[commitment]]", "[[commitment]")], |r| matches!(r, Rule::Form { .. }), "own.toml:3: "),
    (&[(OWN_ROWS, "commitments/1", "commitments/2")], |r| matches!(r, Rule::Format { .. }), "this build reads `creta.commitments/1`"),
    (&[("checks.toml", "checks/1", "checks/2")], |r| matches!(r, Rule::Format { .. }), "`creta.checks/2`"),
    (&[("documents/own.toml", "document/1", "document/2")], |r| matches!(r, Rule::Format { .. }), "`creta.document/2`"),
    (&[("frameworks/own.toml", "framework/1", "framework/2")], |r| matches!(r, Rule::Format { .. }), "`creta.framework/2`"),
    (&[("not-claimed.toml", "not-claimed/1", "not-claimed/2")], |r| matches!(r, Rule::Format { .. }), "`creta.not-claimed/2`"),
    // Words.
    (&[(OWN_ROWS, "\"data-lead\"", "\"\"")], |r| matches!(r, Rule::Field { field: "owner", .. }), "`ACME-01`: `owner`"),
    (&[(OWN_ROWS, "\"data-lead\"", "\"Data lead\"")], |r| matches!(r, Rule::Field { field: "owner", .. }), "joined with hyphens"),
    (&[(OWN_ROWS, "\"Each unit is a tenant.\"", "\" \"")], |r| matches!(r, Rule::Field { field: "behaviour", .. }), "must say something"),
    (&[(OWN_ROWS, "Business units are", "Business units, wherever they are and whatever they do there, are")], |r| matches!(r, Rule::Field { field: "title", .. }), "at most 60 characters"),
    (&[(OWN_ROWS, "[\"enforced\"]", "[]")], |r| matches!(r, Rule::Field { field: "class", .. }), "at least one"),
    (&[(OWN_ROWS, "[\"confidentiality\"]", "[]")], |r| matches!(r, Rule::Field { field: "pillar", .. }), "at least one"),
    (&[(OWN_ROWS, "[\"enforced\"]", "[\"enforced\", \"enforced\"]")], |r| matches!(r, Rule::Repeated { field: "class", .. }), "`enforced` twice"),
    (&[(OWN_ROWS, "[\"isolation\"]", "[\"isolation\", \"isolation\"]")], |r| matches!(r, Rule::Repeated { field: "checks", .. }), "`isolation` twice"),
    (&[(OWN_ROWS, "[\"CC6.1\"]", "[\"CC6.1\", \"CC6.1\"]")], |r| matches!(r, Rule::Repeated { field: "mappings", .. }), "`CC6.1` twice"),
    (&[(OWN_ROWS, "units::each_reads_its_own", "each of them reads")], |r| matches!(r, Rule::TestName { .. }), "`ACME-01`: `acme-features::it each of them reads`"),
    (&[(OWN_ROWS, "test_units.py::", "test_units::")], |r| matches!(r, Rule::TestName { .. }), "names no test"),
    // Ids.
    (&[(OWN_ROWS, "\"ACME-02\"", "\"ACME-01\"")], |r| matches!(r, Rule::Twice { .. }), "acme/commitments/own.toml:24: `ACME-01` is already defined in acme/commitments/own.toml:3"),
    (&[(OWN_ROWS, "\"ACME-02\"", "\"ACME-11\"")], |r| matches!(r, Rule::Twice { .. }), "`ACME-11` is already defined in"),
    (&[(OWN_ROWS, "\"ACME-02\"", "\"CH-20\"")], |r| matches!(r, Rule::Twice { .. }), "commitments/network.toml:"),
    (&[(OWN_ROWS, "\"ACME-02\"", "\"CH-76\"")], |r| matches!(r, Rule::Reserved { .. }), "`CH-76`"),
    (&[(OWN_ROWS, "\"ACME-11\"", "\"CH-76\"")], |r| matches!(r, Rule::Reserved { .. }), "`CH-76`"),
    (&[(OWN_ROWS, "title = \"The works", "folded = [\"ACME-11\"]\ntitle = \"The works")], |r| matches!(r, Rule::CarriedTwice { .. }), "carried by `ACME-01` and by `ACME-02`"),
    (&[(OWN_ROWS, "\n\n", "\nsplit = [\"ACME-11\"]\n\n")], |r| matches!(r, Rule::NotSplit { .. }), "own.toml:2: `ACME-11` is listed in `split`"),
    (&[(IDENTITY, "split = [\"CH-21\"]", "")], |r| matches!(r, Rule::CarriedTwice { .. }), "`CH-21` is carried by `CI-12` and by `CI-13`"),
    (&[("checks.toml", "\"works-council\"", "\"isolation\"")], |r| matches!(r, Rule::Twice { .. }), "`isolation` is already defined in checks.toml:"),
    (&[("documents/own.toml", "\"acme-rules\"", "\"chalk\"")], |r| matches!(r, Rule::Twice { .. }), "`chalk` is already defined in documents/chalk.toml"),
    (&[("frameworks/own.toml", "\"acme-standard\"", "\"soc2\"")], |r| matches!(r, Rule::Twice { .. }), "`soc2` is already defined"),
    // What watches and tests it.
    (&[(OWN_ROWS, "[\"isolation\"]", "[\"isolatoin\"]")], |r| matches!(r, Rule::UnknownCheck { .. }), "`ACME-01`: no check is called `isolatoin`"),
    (&[(OWN_ROWS, "[\"isolation\"]", "[]")], |r| matches!(r, Rule::Unwatched { .. }), "own.toml:3: `ACME-01`"),
    (&[(OWN_ROWS, "[\"enforced\"]", "[\"checked\"]"), (OWN_ROWS, "[\"isolation\"]", "[]")], |r| matches!(r, Rule::Unwatched { .. }), "`ACME-01`"),
    (&[(OWN_ROWS, "[\"pytest test_units.py::test_no_other_unit\"]", "[]")], |r| matches!(r, Rule::Untested { field: "attack_tests", .. }), "`ACME-01`"),
    (&[(OWN_ROWS, "[\"pytest test_council.py::test_agreement\"]", "[]")], |r| matches!(r, Rule::Untested { field: "positive_tests", .. }), "`ACME-02`"),
    (&[(OWN_ROWS, "\"here\"", "\"to-come\"")], |r| matches!(r, Rule::NotYet { field: "checks", .. }), "`ACME-01`: its software is to come"),
    (&[(OWN_ROWS, "\"here\"", "\"to-come\""), (OWN_ROWS, "[\"isolation\"]", "[]")], |r| matches!(r, Rule::NotYet { field: "positive_tests", .. }), "`ACME-01`"),
    (&[("checks.toml", "issued_outside = true", "")], |r| matches!(r, Rule::NobodyOutside { .. }), "`ACME-02`"),
    (&[("checks.toml", "\"artefact\"", "\"probe\"")], |r| matches!(r, Rule::ForeignProbe { .. }), "`works-council`"),
    (&[("checks.toml", "pillar = \"confidentiality\"\n", "")], |r| matches!(r, Rule::Form { .. }), "missing field `pillar`"),
    (&[("checks.toml", "\"archive\"", "\"\"")], |r| matches!(r, Rule::Field { field: "place", .. }), "checks.toml:3: `works-council`"),
    (&[("checks.toml", "\"works-council\"", "\"Works council\"")], |r| matches!(r, Rule::Field { field: "id", .. }), "lowercase words"),
    // Ages.
    (&[(OWN_ROWS, "\"1h\"", "\"32d\"")], |r| matches!(r, Rule::TooOld { .. }), "`ACME-01`: observations of it may be at most `31d` old"),
    (&[(OWN_ROWS, "\"1h\"", "\"14m\"")], |r| matches!(r, Rule::TooFresh { .. }), "`14m` is less than `isolation` promises, which runs every `15m`"),
    // Mappings.
    (&[(OWN_ROWS, "soc2 =", "soc3 =")], |r| matches!(r, Rule::UnknownFramework { .. }), "no framework is called `soc3`"),
    (&[(OWN_ROWS, "CC6.1", "CC6.99")], |r| matches!(r, Rule::UnknownCriterion { .. }), "`soc2` has no criterion `CC6.99`"),
    (&[("frameworks/own.toml", "\"CH-20\", \"ACME-11\"", ""), (OWN_ROWS, "reviewer = \"A. Auditor\"\n", "")], |r| matches!(r, Rule::Review { .. }), "`ACME-01`"),
    (&[("frameworks/own.toml", "\"CH-20\", \"ACME-11\"", ""), (OWN_ROWS, "reviewed_on = \"2026-11-20\"\n", "")], |r| matches!(r, Rule::Review { .. }), "`reviewed_on`"),
    (&[("frameworks/own.toml", "\"CH-20\", \"ACME-11\"", ""), (OWN_ROWS, "2026-11-20", "2026-11-31")], |r| matches!(r, Rule::Review { .. }), "`ACME-01`"),
    (&[("frameworks/own.toml", "\"CH-20\", \"ACME-11\"", ""), (OWN_ROWS, "reviewed = true", "reviewed = false")], |r| matches!(r, Rule::Review { .. }), "`ACME-01`"),
    (&[("frameworks/own.toml", "\"CH-20\"", "\"CH-76\"")], |r| matches!(r, Rule::UnknownCommitment { .. }), "`acme-standard D1` names `CH-76`"),
    // Documents.
    (&[("documents/own.toml", "\"ACME-02\"", "\"ACME-03\"")], |r| matches!(r, Rule::UnknownCommitment { .. }), "`acme-rules` names `ACME-03`"),
    (&[("documents/own.toml", "\"ACME-02\"", "\"ACME-01\"")], |r| matches!(r, Rule::Repeated { field: "lines", .. }), "lists `ACME-01` twice"),
    (&[("documents/own.toml", "\"ACME-02\"", "\"CH-20\"")], |r| matches!(r, Rule::NotCovered { .. }), "lists `CH-20`"),
    (&[("documents/own.toml", "    { id = \"ACME-11\", says = \"Units are kept apart.\" },\n", "")], |r| matches!(r, Rule::LeftOut { .. }), "leaves out `ACME-11`"),
    (&[("documents/own.toml", "[\"ACME\"]", "[]")], |r| matches!(r, Rule::Field { field: "covers", .. }), "`acme-rules`"),
    (&[("documents/own.toml", "2026-11-01", "1 November")], |r| matches!(r, Rule::Field { field: "date", .. }), "`2026-11-22`"),
    (&[("documents/own.toml", "\"Data\"", "\"\"")], |r| matches!(r, Rule::Field { field: "section.heading", .. }), "`acme-rules`"),
    (&[("documents/chalk.toml", "    { id = \"CH-46\", says = \"Critical alerts reach people on call, who act at once.\" },\n", "")], |r| matches!(r, Rule::LeftOut { .. }), "documents/chalk.toml: document `chalk` covers `CH` but leaves out `CH-46`"),
    // The promises that ship.
    (&[(PRODUCT, "id = \"CH-01\"", "id = \"CH-76\""), ("documents/chalk.toml", "CH-01", "CH-76")], |r| matches!(r, Rule::Incomplete { .. }), "`CH-01` is missing"),
    (&[(PRODUCT, "id = \"CH-01\"", "id = \"CH-01\"\nfolded = [\"CH-76\"]"), ("documents/chalk.toml", "lines = [", "lines = [{ id = \"CH-76\", says = \"More.\" },")], |r| matches!(r, Rule::Incomplete { .. }), "`CH-76` is none of them"),
    (&[(PRODUCT, "[\"isolation\"]", "[]")], |r| matches!(r, Rule::Unwatched { .. }), "commitments/product.toml:"),
];

#[test]
fn attack_each_broken_rule_is_refused_by_name() {
    for (edits, is_rule, says) in REFUSALS {
        let error = load(edits).err().unwrap_or_else(|| panic!("accepted: {edits:?}"));
        let rule = error.rule().unwrap_or_else(|| panic!("{edits:?}: {error}"));
        assert!(is_rule(rule), "{edits:?}: {error}");
        assert!(error.to_string().contains(says), "`{says}` is not in: {error}");
    }
}

#[test]
fn attack_two_rows_made_one_are_counted() {
    // `CH-02` becomes a carried id of `CH-01`: every statement is there, but one row is missing.
    let mut shipped = built_in();
    let product = shipped.iter_mut().find(|file| file.path == PRODUCT).expect("there");
    let text = product.text.replacen("id = \"CH-01\"", "id = \"CH-01\"\nfolded = [\"CH-02\"]", 1);
    let (begin, end) = (text.find("[[commitment]]\nid = \"CH-02\""), text.find("[[commitment]]\nid = \"CH-03\""));
    let (begin, end) = (begin.expect("there"), end.expect("there"));
    product.text = Cow::Owned(format!("{}{}", &text[..begin], &text[end..]));
    let error = Registry::of(&shipped, &[]).expect_err("a row is missing");
    assert!(matches!(error.rule(), Some(Rule::Incomplete { .. })));
    assert!(error.to_string().contains("90 rows carry 14 others; they are 91 and carry 13"), "{error}");
}

#[test]
fn a_folder_is_read_as_it_lies_and_a_misspelt_part_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        std::fs::write(path, text).expect("written");
    };
    let refused = |says: &str| {
        let error = Registry::load(Some(folder.path())).expect_err("not valid");
        assert!(error.to_string().contains(says), "{error}");
    };
    refused("nothing is here for a registry");
    for (path, text) in OWN {
        write(path, text);
    }
    write("README.md", "ours");
    write(".git/config", "not ours");
    write("commitments/README.md", "how to");
    write("inventory.toml", "somebody else's");
    assert_eq!(Registry::load(Some(folder.path())).expect("valid").commitments().count(), 93);
    write("not-claimed.toml", "format = \"creta.not-claimed/1\"\nnot_claimed = [\"That we never err.\"]\n");
    let registry = Registry::load(Some(folder.path())).expect("valid");
    assert_eq!(registry.not_claimed().last(), Some("That we never err."));
    assert_eq!(registry.not_claimed().len(), Registry::embedded().not_claimed().len() + 1);

    write("commitment/more.toml", "");
    refused("a registry has no part `commitment`");
    std::fs::remove_dir_all(folder.path().join("commitment")).expect("removed");
    std::fs::write(folder.path().join("commitments/bad.toml"), [0xff, 0xfe]).expect("written");
    assert!(
        matches!(Registry::load(Some(folder.path())), Err(RegistryError::Unreadable { path, .. }) if path.ends_with("commitments/bad.toml"))
    );
    let missing = folder.path().join("nowhere");
    assert!(matches!(Registry::load(Some(&missing)), Err(RegistryError::Unreadable { path, .. }) if path == missing));
}

#[test]
fn a_check_is_named_with_the_version_of_its_code() {
    let registry = Registry::embedded();
    let check = registry.check("isolation").expect("there");
    assert_eq!(check.digest("0.1.0"), check.clone().digest("0.1.0"));
    assert_ne!(check.digest("0.1.0"), check.digest("0.1.1"));
    let mut edited = check.clone();
    edited.population.push('.');
    assert_ne!(edited.digest("0.1.0"), check.digest("0.1.0"));
}

/// The page tells how to add a commitment; its files are read here as a reader would make them.
#[test]
fn the_how_to_works_as_written() {
    let page = include_str!("../../../../docs/how-to/add-a-commitment.md");
    let mut blocks: Vec<(&str, &str)> = page
        .split("\n```toml file=")
        .skip(1)
        .map(|block| block.split_once('\n').expect("a first line"))
        .map(|(path, rest)| (path, &rest[..rest.find("\n```").expect("an end") + 1]))
        .collect();
    assert_eq!(blocks.len(), 4);
    let registry = Registry::of(&built_in(), &files(&blocks)).expect("valid");
    assert_eq!(registry.statements(), 106);
    assert_eq!(registry.commitment(&id("CH-23")).expect("there").mappings.of("acme-standard"), ["D1"]);

    // The step that the page describes for later, and the message that it shows.
    let rows = blocks[0].1;
    let later = rows.replace("software = \"to-come\"", "software = \"here\"\nchecks = [\"works-council\"]");
    let later = format!("{later}positive_tests = [\"pytest test_council.py::test_agreement\"]\n");
    blocks[0].1 = &later;
    Registry::of(&built_in(), &files(&blocks)).expect("valid");
    let untested = rows.replace("[\"pytest test_units.py::test_no_unit_reads_another\"]", "[]");
    blocks[0].1 = &untested;
    let error = Registry::of(&built_in(), &files(&blocks)).expect_err("no attack").to_string();
    assert!(page.contains(error.strip_prefix("acme/").expect("its folder")), "{error}");
}
