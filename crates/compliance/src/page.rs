//! The trust page: a report as static HTML without scripts, as JSON and as text for a terminal.
//!
//! Everything shown comes from a [`TrustReport`] and from the registry; a page has no state of its own. Text is escaped
//! where it is written, so what a check found or a stranger reported stays text. Addresses within the site are relative:
//! the files work below any folder, and on another host when the server is down.

mod commitment;
mod document;
mod framework;
mod history;
mod intake;
mod json;
mod layout;
mod overview;
mod parts;
mod pillar;
mod text;
mod words;

use std::collections::BTreeMap;

use creta_model::EnvironmentClass;
use creta_proof::Hash;
use maud::Markup;

use crate::{Registry, TrustReport};

pub use intake::{
    Intake, REPORT_CONTACT_CHARS_MAX, REPORT_DESCRIPTION_CHARS_MAX, REPORT_TITLE_CHARS_MAX, ReportDraft,
    ReportProgress, report_form, report_received, report_status,
};
pub use json::HISTORY_INTERVALS_MAX;
pub use text::text;

/// What a browser may do with these pages: show them, style them with their own file, send their own form. To be sent with
/// every one of them.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; \
                                           form-action 'self'; frame-ancestors 'none'";

/// Headers to be sent with every file of the site, names in lowercase.
pub const HEADERS: [(&str, &str); 6] = [
    ("content-security-policy", CONTENT_SECURITY_POLICY),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
];

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = include_str!("page/style.css");
const ICON: &str = include_str!("page/icon.svg");

/// The style and the icon, by their names in the site's folder: all that a page without the site needs.
pub fn assets() -> [(&'static str, PageFile); 2] {
    [("style.css", PageFile::text("text/css; charset=utf-8", CSS)), ("icon.svg", PageFile::text("image/svg+xml", ICON))]
}

/// One file of the site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageFile {
    /// Its media type, for the header `content-type`.
    pub content_type: &'static str,
    /// Its content.
    pub bytes: Vec<u8>,
}

impl PageFile {
    fn text(content_type: &'static str, text: impl Into<String>) -> Self {
        Self { content_type, bytes: text.into().into_bytes() }
    }

    fn html(markup: Markup) -> Self {
        Self::text(HTML, markup.into_string())
    }
}

/// What the site says besides the report.
pub struct SiteOptions<'a> {
    /// Version of the software that renders it.
    pub version: &'a str,
    /// Class of the environment.
    pub class: EnvironmentClass,
    /// The proof file for an entry of the log, as text; none when there is no proof yet. Asked once for every entry that
    /// the report names.
    pub proof: &'a dyn Fn(u64) -> Option<String>,
    /// A text of the promises by its digest, as canonical JSON; none when what is kept of it is not what the log dates. Asked
    /// once for every text that the report names.
    pub text: &'a dyn Fn(&Hash) -> Option<Vec<u8>>,
    /// How reports of security problems are taken in; without it there is no form.
    pub intake: Option<Intake>,
}

/// The trust page as files.
pub struct Site;

impl Site {
    /// Every file of the site by its path: `trust/index.html` stands for the address `/trust/`. Addresses of folders end
    /// with `/`; a server redirects those without.
    ///
    /// Time and memory O(size of the report); no I/O apart from `site.proof`.
    pub fn render(report: &TrustReport, registry: &Registry, site: &SiteOptions<'_>) -> BTreeMap<String, PageFile> {
        let proofs: BTreeMap<u64, String> = report
            .commitments
            .iter()
            .flat_map(|commitment| commitment.checks.iter().filter_map(|check| check.log_index))
            .chain(report.texts.iter().map(|text| text.log_index))
            .collect::<std::collections::BTreeSet<u64>>()
            .into_iter()
            .filter_map(|index| Some((index, (site.proof)(index)?)))
            .collect();
        let texts: BTreeMap<Hash, Vec<u8>> =
            report.texts.iter().filter_map(|text| Some((text.digest, (site.text)(&text.digest)?))).collect();
        let view = View {
            report,
            registry,
            proofs: &proofs,
            texts: &texts,
            version: site.version,
            class: site.class,
            intake: site.intake.as_ref(),
        };
        let mut files = BTreeMap::new();
        let mut put = |path: String, file: PageFile| {
            files.insert(format!("trust/{path}"), file);
        };
        for document in registry.documents() {
            put(format!("{}/index.html", folder(&document.id)), PageFile::html(document::page(&view, document)));
        }
        for commitment in &report.commitments {
            put(
                format!("commitments/{}/index.html", commitment.id),
                PageFile::html(commitment::page(&view, commitment)),
            );
        }
        put("index.html".to_owned(), PageFile::html(overview::page(&view)));
        put("pillars/index.html".to_owned(), PageFile::html(pillar::page(&view)));
        put("frameworks/index.html".to_owned(), PageFile::html(framework::page(&view)));
        if let Some(intake) = &site.intake {
            let form =
                intake::form_page(&layout::Frame::of(&view, "../", "report/"), intake, &ReportDraft::default(), None);
            put("report/index.html".to_owned(), PageFile::html(form));
        }
        put("trust.json".to_owned(), PageFile::text("application/json", json::site(&view)));
        for (name, file) in assets() {
            put(name.to_owned(), file);
        }
        for (index, proof) in &proofs {
            put(format!("proofs/{index}.txt"), PageFile::text("text/plain; charset=utf-8", proof.clone()));
        }
        for (digest, bytes) in texts {
            put(format!("texts/{digest}.json"), PageFile { content_type: "application/json", bytes });
        }
        files
    }
}

/// All that pages are made of.
struct View<'a> {
    report: &'a TrustReport,
    registry: &'a Registry,
    proofs: &'a BTreeMap<u64, String>,
    texts: &'a BTreeMap<Hash, Vec<u8>>,
    version: &'a str,
    class: EnvironmentClass,
    intake: Option<&'a Intake>,
}

/// Folder of a document's view. Ids that name another part of the site, or would need escaping, get a name of their own.
fn folder(document: &str) -> String {
    const TAKEN: [&str; 6] = ["commitments", "frameworks", "pillars", "proofs", "report", "texts"];
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !document.is_empty() && document.chars().all(plain) && !TAKEN.contains(&document) {
        return document.to_owned();
    }
    format!("document-{}", hex::encode(document))
}
