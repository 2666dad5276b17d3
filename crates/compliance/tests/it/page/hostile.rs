//! Text that wants to be more than text: in findings, in an organisation's own files, in reports of strangers.

use creta_compliance::page::{
    ReportDraft, ReportProgress, Site, SiteOptions, report_form, report_received, report_status, text,
};
use creta_compliance::{Organisation, Registry, TrustReport};
use creta_model::{EnvironmentClass, Instant, Span};
use serde_json::Value;

use super::html::Html;
use super::{REPORT, WORLD, intake, pages, world};

/// Closes what may be open, runs what may run, and moves a terminal's cursor.
const HOSTILE: &str = "</title></textarea><script>alert(1)</script><img src=x onerror=alert(1)>\" onclick=\"alert(1)' style='x \
                       &lt;b&gt; `code \u{1b}[2J\u{202e}\r\n{{7*7}}";

/// Members whose values have a form of their own, which nobody can put text into.
const TYPED: [&str; 18] = [
    "format",
    "mode",
    "environment",
    "generated_at",
    "counts",
    "id",
    "folded",
    "class",
    "pillar",
    "state",
    "from",
    "until",
    "observed_at",
    "freshness",
    "origin",
    "criteria",
    "digest",
    "since",
];

/// The report with hostile text in every place that takes text.
fn hostile_report() -> TrustReport {
    let mut value = serde_json::to_value(&*REPORT).expect("JSON");
    let mut poisoned = 0;
    poison(&mut value, &mut poisoned);
    assert!(poisoned > 500, "{poisoned} texts");
    serde_json::from_value(value).expect("still a report")
}

fn poison(value: &mut Value, poisoned: &mut usize) {
    match value {
        Value::String(text) => {
            *text = HOSTILE.to_owned();
            *poisoned += 1;
        }
        Value::Array(values) => values.iter_mut().for_each(|value| poison(value, poisoned)),
        Value::Object(object) => {
            // A check's id is free text; a commitment's has its form.
            let is_check = object.contains_key("noticed_planted_fault");
            let fields =
                object.iter_mut().filter(|(name, _)| !TYPED.contains(&name.as_str()) || is_check && *name == "id");
            fields.for_each(|(_, value)| poison(value, poisoned));
        }
        _ => {}
    }
}

/// A registry with an organisation's own files, all of them hostile where they can be.
fn hostile_registry() -> Registry {
    let folder = tempfile::tempdir().expect("a folder");
    let text = toml::Value::String("</p><script>alert(1)</script>\" onclick=\"x".to_owned()).to_string();
    let write = |path: &str, content: String| {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, content).expect("written");
    };
    write(
        "commitments/own.toml",
        format!(
            "format = \"creta.commitments/1\"\n[[commitment]]\nid = \"OWN-01\"\ntitle = {text}\ntext = {text}\n\
             class = [\"programme\"]\npillar = [\"integrity\"]\nbehaviour = {text}\nattack = {text}\nowner = \"lead\"\n\
             software = \"to-come\"\nfreshness = \"7d\"\n"
        ),
    );
    write(
        "documents/own.toml",
        format!(
            "format = \"creta.document/1\"\nid = \"report\"\ntitle = {text}\ncovers = [\"OWN\"]\n[[section]]\npart = {text}\n\
             heading = {text}\nlines = [{{ id = \"OWN-01\", says = {text} }}]\n"
        ),
    );
    write("not-claimed.toml", format!("format = \"creta.not-claimed/1\"\nnot_claimed = [{text}]\n"));
    Registry::load(Some(folder.path())).expect("the loader takes it")
}

fn require_inert(path: &str, bytes: &[u8]) {
    // Reading it strictly already refuses elements and attributes that no page has.
    let page = Html::parse(bytes);
    assert_eq!(page.of("textarea").count(), page.of("button").count(), "{path}: nothing closed the field early");
    let text = String::from_utf8_lossy(bytes);
    assert!(!text.contains("<script") && !text.contains("<img"), "{path}");
    for element in &page.elements {
        for name in ["href", "action"] {
            let Some(to) = element.get(name) else { continue };
            assert!(!to.contains(':') && !to.starts_with("//") && !to.contains('<'), "{path}: `{to}`");
        }
    }
}

#[test]
fn no_text_of_a_report_becomes_markup() {
    let report = hostile_report();
    let proof = |_: u64| Some(HOSTILE.to_owned());
    let site = SiteOptions {
        version: HOSTILE,
        class: EnvironmentClass::Production,
        proof: &proof,
        text: &|_| Some(HOSTILE.as_bytes().to_vec()),
        intake: Some(intake()),
    };
    let files = Site::render(&report, &WORLD.registry, &site);
    for (path, file) in files.iter().filter(|(path, _)| path.ends_with(".html")) {
        require_inert(path, &file.bytes);
    }
    let shown = pages(&files).filter(|(_, page)| page.of("main").any(|main| main.text.contains("<script>"))).count();
    assert!(shown > 90, "it is shown as what it is, on {shown} pages");
    assert_eq!(files["trust/trust.json"].content_type, "application/json");
    let proof = files.iter().find(|(path, _)| path.starts_with("trust/proofs/")).expect("a proof").1;
    assert_eq!(proof.content_type, "text/plain; charset=utf-8");
}

#[test]
fn no_text_of_a_report_moves_a_terminals_cursor() {
    let shown = text(&hostile_report());
    assert!(shown.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{202e}'), "{shown:?}");
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
}

#[test]
fn no_text_of_an_organisations_files_becomes_markup_or_takes_the_place_of_a_page() {
    let registry = hostile_registry();
    let report = WORLD.report_by(&registry, &world::organisation(), &|_, evidence| evidence);
    let site = SiteOptions {
        version: "0.1.0",
        class: EnvironmentClass::Production,
        proof: &|_| None,
        text: &|_| None,
        intake: Some(intake()),
    };
    let files = Site::render(&report, &registry, &site);
    for (path, file) in files.iter().filter(|(path, _)| path.ends_with(".html")) {
        require_inert(path, &file.bytes);
    }
    let form = Html::parse(&files["trust/report/index.html"].bytes);
    assert_eq!(form.of("form").count(), 1, "a document named `report` leaves the form alone");
    assert!(files.contains_key("trust/document-7265706f7274/index.html"), "{:?}", files.keys());
}

#[test]
fn no_text_of_a_stranger_becomes_markup() {
    let organisation = Organisation { name: HOSTILE.to_owned(), ..world::organisation() };
    let draft = ReportDraft {
        title: HOSTILE.to_owned(),
        description: HOSTILE.to_owned(),
        contact: HOSTILE.to_owned(),
        urgent: true,
    };
    let now = Instant::parse("2026-11-22T19:30:00Z").expect("valid");
    let progress = ReportProgress {
        reference: HOSTILE.to_owned(),
        received_at: now,
        acknowledge_by: now.plus(Span::days(1)),
        acknowledged_at: Some(now.plus(Span::days(2))),
        decide_by: now.plus(Span::days(7)),
        decision: Some((now.plus(Span::days(3)), HOSTILE.to_owned(), HOSTILE.to_owned())),
    };
    let again = report_form(&organisation, &intake(), &draft, Some(HOSTILE));
    for (name, file) in [("form", &again), ("status", &report_status(&organisation, &progress))] {
        require_inert(name, &file.bytes);
    }
    let form = Html::parse(&again.bytes);
    let value = |id: &str| form.elements.iter().find(|element| element.get("id") == Some(id)).expect(id);
    assert_eq!(value("title").get("value"), Some(HOSTILE));
    assert_eq!(value("description").text, format!("\n{HOSTILE}"));
    assert!(value("urgent").get("checked").is_some());
    let status = Html::parse(&report_status(&organisation, &progress).bytes).of("main").next().expect("content").says();
    assert!(status.contains("later than promised"), "a late answer is called late: {status}");
}

#[test]
fn only_an_address_of_ours_is_linked() {
    let linked = |address: &str| {
        let file = report_received(&world::organisation(), &intake(), "R-1", address);
        let page = Html::parse(&file.bytes);
        page.of("a").any(|link| link.get("href") == Some(address))
    };
    assert!(linked("/trust/report/R-1"));
    for address in
        ["javascript:alert(1)", "https://example.com/", "//example.com/", "/\\example.com", "trust/report", ""]
    {
        assert!(!linked(address), "{address}");
    }
}
