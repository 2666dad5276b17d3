//! The trust page as its readers get it: whole, harmless, and saying of each promise what the report says.

mod hostile;
mod html;
mod json;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use creta_compliance::page::{CONTENT_SECURITY_POLICY, HEADERS, Intake, PageFile, Site, SiteOptions, text};
use creta_compliance::{Class, CommitmentId, Organisation, Outcome, State, TrustReport};
use creta_model::{EnvironmentClass, Span};
use creta_proof::Hash;
use html::{Element, Html};
use world::World;

type Files = BTreeMap<String, PageFile>;

static WORLD: LazyLock<World> = LazyLock::new(|| World::new(3_000));
static REPORT: LazyLock<TrustReport> = LazyLock::new(|| WORLD.report(&world::organisation()));
static SITE: LazyLock<Files> = LazyLock::new(|| rendered(&REPORT));

fn intake() -> Intake {
    Intake { acknowledge_within: Span::hours(24), decide_within: Span::days(7) }
}

fn rendered(report: &TrustReport) -> Files {
    let proof = |index: u64| Some(format!("proof of {index}\n"));
    // The store still has the text in force; what it has of the earlier one was edited.
    let text = WORLD.registry.canonical();
    let dated = |digest: &Hash| (Hash::of(&[&text]) == *digest).then(|| text.clone());
    Site::render(
        report,
        &WORLD.registry,
        &SiteOptions {
            version: "0.1.0",
            class: EnvironmentClass::Production,
            proof: &proof,
            text: &dated,
            intake: Some(intake()),
        },
    )
}

fn pages(files: &Files) -> impl Iterator<Item = (&str, Html)> {
    let html = files.iter().filter(|(_, file)| file.content_type == "text/html; charset=utf-8");
    html.map(|(path, file)| (path.as_str(), Html::parse(&file.bytes)))
}

fn page(files: &Files, path: &str) -> Html {
    Html::parse(&files.get(path).unwrap_or_else(|| panic!("there is a page `{path}`")).bytes)
}

fn word(state: State) -> &'static str {
    if state == State::NotStarted { "not started" } else { state.as_str() }
}

/// The file that an address leads to from a page.
fn target(from: &str, address: &str) -> String {
    let mut path: Vec<&str> = from.split('/').collect();
    path.pop();
    let (address, anchor) = address.split_once('#').unwrap_or((address, ""));
    if address.is_empty() {
        return format!("{from}#{anchor}");
    }
    for part in address.split('/') {
        match part {
            ".." => assert!(path.pop().is_some(), "`{address}` leads out of the site"),
            "." | "" => {}
            part => path.push(part),
        }
    }
    if address.ends_with('/') {
        path.push("index.html");
    }
    format!("{}#{anchor}", path.join("/"))
}

#[test]
fn pages_are_whole_and_every_link_leads_somewhere() {
    let anchors: BTreeMap<&str, BTreeSet<String>> = pages(&SITE)
        .map(|(path, page)| {
            let ids: BTreeSet<String> = page.ids().into_iter().map(str::to_owned).collect();
            assert_eq!(ids.len(), page.ids().len(), "{path}: ids occur once");
            (path, ids)
        })
        .collect();
    assert_eq!(anchors.len(), 91 + 6, "one page for each commitment, and six more");
    for (path, page) in pages(&SITE) {
        assert_eq!(page.of("h1").count(), 1, "{path}");
        assert_eq!(page.of("html").next().and_then(|html| html.get("lang")), Some("en"), "{path}");
        for element in &page.elements {
            let Some(address) = element.get("href") else { continue };
            let target = target(path, address);
            let (file, anchor) = target.split_once('#').expect("it was put there");
            assert!(SITE.contains_key(file), "{path}: `{address}` leads to `{file}`, which is not there");
            let is_there = anchor.is_empty() || anchors.get(file).is_some_and(|ids| ids.contains(anchor));
            assert!(is_there, "{path}: `{address}` leads to an anchor that is not there");
        }
    }
}

#[test]
fn nothing_asks_for_what_the_policy_refuses() {
    assert_eq!(
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    );
    assert!(HEADERS.contains(&("content-security-policy", CONTENT_SECURITY_POLICY)));
    assert!(HEADERS.contains(&("x-content-type-options", "nosniff")));
    let style = String::from_utf8(SITE["trust/style.css"].bytes.clone()).expect("text");
    for asks in ["url(", "@import", "@font-face", "image-set", "expression"] {
        assert!(!style.contains(asks), "the style sheet has `{asks}`");
    }
}

#[test]
fn every_page_shows_the_numbers_the_time_and_the_checkpoint() {
    for (path, page) in pages(&SITE) {
        let body = page.of("body").next().expect("a body").says();
        let mut expected = vec![
            format!("met {} of 91", REPORT.met),
            "2026-11-22 19:30:00 UTC".to_owned(),
            REPORT.log.origin.clone(),
            REPORT.log.root.clone(),
            REPORT.log.verifier_key.clone(),
            "creta-verify proof".to_owned(),
        ];
        if path != "trust/index.html" {
            expected.extend(REPORT.counts.iter().map(|(state, count)| match state {
                State::Met => format!("met {count} of"),
                state => format!("{} {count}", word(*state)),
            }));
        }
        for says in expected {
            assert!(body.contains(&says), "{path} does not say `{says}`");
        }
        let names_proven = body.replace("unproven", "").contains("proven");
        assert_eq!(names_proven, path == "trust/index.html", "{path}: the build's number is only explained, once");
    }
    let overview = page(&SITE, "trust/index.html");
    let counts = overview.with_class("counts").next().expect("counts").says();
    let expected: Vec<String> =
        REPORT.counts.iter().rev().map(|(state, count)| format!("{} {count}", word(*state))).collect();
    assert_eq!(counts, expected.join(""));
}

#[test]
fn every_state_occurs_with_its_word_and_its_shape_and_no_other() {
    let mut seen = BTreeSet::new();
    for commitment in &REPORT.commitments {
        let page = page(&SITE, &format!("trust/commitments/{}/index.html", commitment.id));
        let verdict = page.with_class("verdict").next().expect("a verdict");
        let inside = page.inside(verdict);
        let badge = inside.iter().find(|element| element.has_class("state")).expect("a state");
        assert!(badge.has_class(commitment.state.as_str()), "{}", commitment.id);
        assert_eq!(badge.says(), word(commitment.state), "{}", commitment.id);
        let shapes: Vec<&str> =
            inside.iter().filter(|element| element.name == "use").filter_map(|shape| shape.get("href")).collect();
        assert_eq!(shapes, [format!("#s-{}", commitment.state.as_str())], "{}", commitment.id);
        assert!(verdict.says().contains(&commitment.reason.replace('`', "")), "{}", commitment.id);
        seen.insert(commitment.state);
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), State::ALL);
}

#[test]
fn a_commitment_is_told_in_full() {
    let row = REPORT.commitment(&CommitmentId::parse("CI-12").expect("an id")).expect("a row");
    let page = page(&SITE, "trust/commitments/CI-12/index.html");
    let body = page.of("main").next().expect("content").says();
    let check = row.checks.iter().find(|check| check.state == State::Failing).expect("it fails");
    let mut expected = vec![
        row.text.clone(),
        row.behaviour.clone(),
        row.attack.clone(),
        row.owner.clone(),
        "Refusals0 recorded".to_owned(),
    ];
    expected.extend(row.attack_tests.clone());
    expected.extend(row.folded.iter().map(ToString::to_string));
    expected.extend(row.class.iter().map(|class: &Class| class.as_str().to_owned()));
    expected.extend(["CC6.1", "Mapping unreviewed", "Met for", "Planted faultnoticed", "1 min old"].map(str::to_owned));
    expected.push(check.findings[0].says.replace('`', ""));
    expected.push(format!("sha256:{}", check.evidence.as_deref().expect("evidence")));
    for says in expected {
        assert!(body.contains(&says), "the page does not say `{says}`:\n{body}");
    }
    let proof = format!("../../proofs/{}.txt", check.log_index.expect("an entry"));
    assert!(page.of("a").any(|link| link.get("href") == Some(&proof)), "the proof can be fetched");
    let refused = self::page(&SITE, "trust/commitments/CH-20/index.html");
    assert!(refused.of("main").next().expect("content").says().contains("Refusals1 recorded in 90 days"));
}

#[test]
fn a_document_is_shown_in_its_own_order_with_the_state_of_the_row_that_carries_each_line() {
    let mut folded = 0;
    for document in WORLD.registry.documents() {
        let page = page(&SITE, &format!("trust/{}/index.html", document.id));
        let lines: Vec<&Element> = page.of("li").filter(|line| line.get("id").is_some()).collect();
        let ids: Vec<&str> = lines.iter().filter_map(|line| line.get("id")).collect();
        assert_eq!(ids, document.lines().map(|line| line.id.as_str()).collect::<Vec<_>>());
        for (line, element) in document.lines().zip(&lines) {
            assert!(element.says().contains(&line.says), "{}", line.id);
            let carriers: Vec<_> = WORLD.registry.carriers(&line.id).map(|row| row.id.clone()).collect();
            let states = REPORT.commitments.iter().filter(|row| carriers.contains(&row.id)).map(|row| row.state);
            let expected = states.min().expect("somebody carries it");
            let inside = page.inside(element);
            let badge = inside.iter().find(|element| element.has_class("state")).expect("a state");
            assert_eq!(badge.says(), word(expected), "{}", line.id);
            for carrier in carriers.iter().filter(|carrier| **carrier != line.id) {
                folded += 1;
                assert!(element.says().contains(carrier.as_str()), "{} names {carrier}", line.id);
            }
        }
        let headings: Vec<String> = page
            .elements
            .iter()
            .filter(|element| matches!(element.name.as_str(), "h2" | "h3"))
            .map(Element::says)
            .take_while(|heading| heading != "Log checkpoint")
            .collect();
        let mut expected: Vec<&str> = Vec::new();
        let mut part = None;
        for section in &document.sections {
            if section.part != part {
                expected.extend(section.part.as_deref());
                part.clone_from(&section.part);
            }
            expected.push(&section.heading);
        }
        assert_eq!(headings, expected, "{}", document.id);
    }
    assert!(folded >= 13, "folded ids name the rows that carry them: {folded}");
}

#[test]
fn what_somebody_outside_has_to_issue_is_not_held() {
    let outside: Vec<&str> =
        WORLD.registry.commitments().filter(|row| row.outside).map(|row| row.id.as_str()).collect();
    assert!(outside.contains(&"CH-08") && outside.contains(&"CI-05"), "{outside:?}");
    for id in outside {
        let page = page(&SITE, &format!("trust/commitments/{id}/index.html"));
        let verdict = page.with_class("verdict").next().expect("a verdict");
        let tags: Vec<String> =
            page.inside(verdict).iter().filter(|inside| inside.has_class("tag")).map(|tag| tag.says()).collect();
        assert_eq!(tags, ["not held"], "{id}");
        assert!(!verdict.says().contains("met"), "{id}: {}", verdict.says());
        let pillars = self::page(&SITE, "trust/pillars/index.html");
        let rows: Vec<String> =
            pillars.of("li").map(Element::says).filter(|row| row.contains(&format!(" {id} "))).collect();
        assert!(!rows.is_empty() && rows.iter().all(|row| row.contains("not held")), "{id}: {rows:?}");
    }
    let overview = page(&SITE, "trust/index.html").of("main").next().expect("content").says();
    assert!(overview.contains("Not held: somebody outside has to issue what it needs"), "{overview}");
}

#[test]
fn the_overview_says_what_is_excused_and_what_is_not_claimed() {
    let overview = page(&SITE, "trust/index.html").of("main").next().expect("content").says();
    assert!(overview.contains("ExceptionsNone holds. An exception takes two people"), "{overview}");
    for line in WORLD.registry.not_claimed() {
        assert!(overview.contains(line), "{line}");
    }
    for commitment in &REPORT.commitments {
        let times = overview.matches(commitment.id.as_str()).count();
        assert_eq!(times, 1, "{} stands there once", commitment.id);
        // A space between state, id and title: what is read aloud is not one long word.
        let read_aloud = format!("{} {} {}", word(commitment.state), commitment.id, commitment.title);
        assert!(overview.contains(&read_aloud), "`{read_aloud}`");
    }
}

#[test]
fn frameworks_and_pillars_show_every_row_that_answers_and_say_that_nobody_reviewed_the_mapping() {
    let frameworks = page(&SITE, "trust/frameworks/index.html");
    let note = frameworks.with_class("note").next().expect("a note").says();
    assert!(note.contains("Unreviewed mapping") && note.contains("91 of 91"), "{note}");
    let links = |page: &Html, id: &str| {
        page.of("a").filter(|link| link.get("href") == Some(&format!("../commitments/{id}/"))).count()
    };
    let pillars = page(&SITE, "trust/pillars/index.html");
    for commitment in &REPORT.commitments {
        let criteria: usize = commitment.mappings.criteria.values().map(Vec::len).sum();
        assert_eq!(links(&frameworks, commitment.id.as_str()), criteria, "{}", commitment.id);
        assert_eq!(links(&pillars, commitment.id.as_str()), commitment.pillar.len(), "{}", commitment.id);
    }
}

#[test]
fn a_demonstration_is_marked_on_every_page_and_nothing_else_is() {
    let real = rendered(&WORLD.report(&Organisation { demonstration: false, ..world::organisation() }));
    for (files, marked) in [(&*SITE, true), (&real, false)] {
        for (path, page) in pages(files) {
            assert_eq!(page.with_class("demonstration").count(), usize::from(marked), "{path}");
            let title = page.of("title").next().expect("a title").says();
            assert_eq!(title.contains("[demonstration]"), marked, "{path}");
        }
    }
    assert!(text(&REPORT).starts_with("DEMONSTRATION"));
}

#[test]
fn without_a_proof_there_is_no_link_to_one_and_without_an_intake_no_form() {
    let class = EnvironmentClass::Staging;
    let site = SiteOptions { version: "0.1.0", class, proof: &|_| None, text: &|_| None, intake: None };
    let files = Site::render(&REPORT, &WORLD.registry, &site);
    assert!(files.keys().all(|path| !path.starts_with("trust/proofs/") && !path.starts_with("trust/report")));
    let overview = page(&files, "trust/index.html");
    assert!(overview.of("main").next().expect("content").says().contains("Environment prod (staging)"));
    let page = page(&files, "trust/commitments/CI-12/index.html");
    assert!(page.of("main").next().expect("content").says().contains("no proof yet"));
    for (path, page) in pages(&files) {
        let dangling =
            page.of("a").filter_map(|link| link.get("href")).find(|to| to.contains("proofs/") || to.contains("report"));
        assert_eq!(dangling, None, "{path}");
    }
}

#[test]
fn the_text_of_the_promises_is_dated_and_an_edited_one_is_not_shown() {
    let (in_force, earlier) = (&REPORT.texts[0], &REPORT.texts[1]);
    let of = |digest: &Hash| format!("trust/texts/{digest}.json");
    assert_eq!(SITE[&of(&in_force.digest)].bytes, WORLD.registry.canonical());
    assert!(!SITE.contains_key(&of(&earlier.digest)), "what is kept of it is not what the log dates");
    let overview = page(&SITE, "trust/index.html");
    let section = overview.elements.iter().find(|element| element.get("id") == Some("texts")).expect("a section");
    let says = section.says();
    let (now, before) = says.split_once("Earlier").expect("both");
    assert!(now.contains("In force since 2026-11-19") && now.contains(&in_force.digest.to_string()), "{now}");
    assert!(now.contains(&format!("entry {}", in_force.log_index)) && !now.contains("not shown"), "{now}");
    assert!(before.contains("since 2026-10-13") && before.contains("not shown"), "{before}");
    let changed = "The promises were last changed at 2026-11-19";
    for (path, page) in pages(&SITE).filter(|(path, _)| !path.starts_with("trust/report")) {
        assert!(page.of("footer").next().expect("a foot").says().contains(changed), "{path}");
    }
    let shown = text(&REPORT);
    let line = shown.lines().find(|line| line.starts_with("text   since 2026-11-19")).expect("a line");
    assert!(line.ends_with(&format!(", entry {}", in_force.log_index)), "{line}");

    let undated = TrustReport { texts: Vec::new(), ..REPORT.clone() };
    let files = rendered(&undated);
    assert!(files.keys().all(|path| !path.starts_with("trust/texts/")));
    assert!(
        page(&files, "trust/index.html").of("main").next().expect("content").says().contains("does not date it yet")
    );
}

#[test]
fn evidence_that_is_not_what_the_log_says_turns_its_commitments_red() {
    let report = WORLD.report_by(&WORLD.registry, &world::organisation(), &|recorded, evidence| {
        if recorded.outcome == Outcome::Pass { Err("its digest differs".to_owned()) } else { evidence }
    });
    let files = rendered(&report);
    let page = page(&files, "trust/commitments/CH-32/index.html");
    let verdict = page.with_class("verdict").next().expect("a verdict").says();
    assert!(verdict.starts_with("failing") && verdict.contains("its digest differs"), "{verdict}");
    assert_eq!(report.met, 0);
}

#[test]
fn pages_stay_small_however_much_has_happened() {
    let busy = World::new(60_000);
    let files = rendered(&busy.report(&world::organisation()));
    for (path, file) in &files {
        // For machines, with the text of every promise: it grows with these, and with nothing that happens.
        let most = if path == "trust/trust.json" { 350_000 } else { 200_000 };
        assert!(file.bytes.len() < most, "{path} has {} bytes", file.bytes.len());
    }
    let first = ["trust/index.html", "trust/style.css", "trust/icon.svg"].map(|path| files[path].bytes.len());
    assert!(first.iter().sum::<usize>() < 80_000, "the first view has {first:?} bytes");
}

#[test]
fn the_terminal_shows_the_same_in_80_columns() {
    let shown = text(&REPORT);
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    assert!(shown.contains(&format!("met {} of 91", REPORT.met)), "{shown}");
    for commitment in REPORT.commitments.iter().filter(|row| row.state != State::NotStarted) {
        let line = shown.lines().find(|line| line.contains(commitment.id.as_str())).expect("a line");
        assert!(line.contains(word(commitment.state)) && line.contains(&commitment.title), "{line}");
    }
    let not_started = REPORT.commitments.iter().filter(|row| row.state == State::NotStarted).count();
    let lines: Vec<&str> = shown.lines().filter(|line| line.starts_with('·')).collect();
    assert_eq!(lines, [format!("· not started  {not_started}, of which 6 need somebody outside: not held")]);
}
