//! The site as JSON: the report, the documents' views and the list of exceptions. Its members are a closed list.

use serde::Serialize;

use super::{View, document};
use crate::{CommitmentId, State, TrustReport};

/// Most stretches of a commitment's history in the JSON, the newest ones. Its numbers always speak of the whole period.
pub const HISTORY_INTERVALS_MAX: usize = 100;

#[derive(Serialize)]
struct Published<'a> {
    #[serde(flatten)]
    report: TrustReport,
    documents: Vec<DocumentView<'a>>,
    /// Log indices for which there is a file `proofs/<index>.txt`.
    proofs: Vec<u64>,
    software: &'a str,
}

#[derive(Serialize)]
struct DocumentView<'a> {
    id: &'a str,
    title: &'a str,
    date: Option<&'a str>,
    met: usize,
    total: usize,
    sections: Vec<SectionView<'a>>,
}

#[derive(Serialize)]
struct SectionView<'a> {
    part: Option<&'a str>,
    heading: &'a str,
    lines: Vec<LineView<'a>>,
}

#[derive(Serialize)]
struct LineView<'a> {
    id: &'a CommitmentId,
    says: &'a str,
    state: State,
    answered_by: Vec<CommitmentId>,
}

pub(super) fn site(view: &View<'_>) -> String {
    let mut report = view.report.clone();
    for commitment in &mut report.commitments {
        let intervals = &mut commitment.history.intervals;
        intervals.drain(..intervals.len().saturating_sub(HISTORY_INTERVALS_MAX));
    }
    let published = Published {
        report,
        documents: view.registry.documents().map(|document| of_document(view, document)).collect(),
        proofs: view.proofs.keys().copied().collect(),
        software: view.version,
    };
    serde_json::to_string(&published).expect("a report is plain data")
}

fn of_document<'a>(view: &View<'a>, document: &'a crate::Document) -> DocumentView<'a> {
    let lines = |section: &'a crate::Section| {
        section.lines.iter().map(|line| LineView {
            id: &line.id,
            says: &line.says,
            state: document::state(view.report, &line.id),
            answered_by: document::carrier_ids(view.report, &line.id),
        })
    };
    let sections: Vec<SectionView<'a>> = document
        .sections
        .iter()
        .map(|section| SectionView {
            part: section.part.as_deref(),
            heading: &section.heading,
            lines: lines(section).collect(),
        })
        .collect();
    let states = || sections.iter().flat_map(|section| section.lines.iter().map(|line| line.state));
    DocumentView {
        id: &document.id,
        title: &document.title,
        date: document.date.as_deref(),
        met: states().filter(|state| *state == State::Met).count(),
        total: states().count(),
        sections,
    }
}
