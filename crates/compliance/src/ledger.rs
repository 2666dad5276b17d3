//! The ledger: all evidence that the audit log knows of, by check. It is made from entries of the log and from nothing
//! else, so what stands in no entry has no effect.

use std::collections::BTreeMap;

use creta_model::{Instant, Span};
use creta_proof::Hash;
use serde::{Deserialize, Serialize};

use crate::evidence::{Evidence, EvidenceError, Outcome};
use crate::state::Seen;

/// What the log says of one run of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// When it looked.
    pub observed_at: Instant,
    /// How it ended.
    pub outcome: Outcome,
    /// SHA-256 of the evidence.
    pub evidence: Hash,
    /// How many subjects it looked at.
    pub subjects: u64,
    /// Index of the entry in the log.
    pub index: u64,
    /// When the log took it.
    pub received_at: Instant,
}

/// A text of all promises, as the log dates it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatedText {
    /// SHA-256 of [`Registry::canonical`](crate::Registry::canonical).
    pub digest: Hash,
    /// From when it was the public one.
    pub since: Instant,
    /// Index of the entry in the log that says so.
    pub log_index: u64,
}

/// An entry of the log, as far as the ledger reads it.
#[derive(Debug, Clone, Copy)]
pub struct LogLine<'a> {
    /// Its index.
    pub index: u64,
    /// Its time.
    pub time: Instant,
    /// What was asked or what happened.
    pub action: &'a str,
    /// Whether it is a refusal.
    pub refused: bool,
    /// The commitment it names.
    pub commitment: Option<&'a str>,
    /// Its details.
    pub details: &'a BTreeMap<String, String>,
}

/// An artefact of somebody outside, as the log names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedArtefact {
    /// Its name.
    pub id: String,
    /// The commitment and which of its artefacts.
    pub commitment: String,
    /// Which of the artefacts that the commitment needs.
    pub kind: String,
    /// SHA-256 of the statement about it.
    pub statement: Hash,
    /// SHA-256 of its file.
    pub file: Hash,
    /// When it was issued.
    pub issued: Instant,
    /// The first instant at which it is good for nothing.
    pub expires: Instant,
    /// Index of its entry in the log.
    pub index: u64,
    /// When the log took it.
    pub received_at: Instant,
}

/// An exception, as the log tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedException {
    /// Its name.
    pub id: String,
    /// What it excepts from.
    pub commitment: String,
    /// SHA-256 of its terms, as they were proposed.
    pub terms: Hash,
    /// Who proposed it.
    pub proposed_by: String,
    /// When the log took that.
    pub proposed_at: Instant,
    /// The first instant at which it holds no more.
    pub expires: Instant,
    /// When somebody else approved these very terms, and where that stands.
    pub approved: Option<(Instant, u64)>,
    /// When it was ended or refused.
    pub ended: Option<Instant>,
}

impl LoggedException {
    /// Whether it holds at `now`.
    pub fn holds(&self, now: Instant) -> bool {
        self.approved.is_some_and(|(since, _)| since <= now) && now < self.expires && self.ended.is_none()
    }
}

/// Names of the details of a check's entry in the log.
pub mod detail {
    /// The check.
    pub const CHECK: &str = "check";
    /// SHA-256 of the evidence.
    pub const EVIDENCE: &str = "evidence";
    /// SHA-256 of the population.
    pub const POPULATION: &str = "population";
    /// How many subjects.
    pub const SUBJECTS: &str = "subjects";
    /// When it looked.
    pub const OBSERVED_AT: &str = "observed-at";
    /// Name of the run.
    pub const RUN: &str = "run";
    /// SHA-256 of the text of all promises, in an entry that dates it.
    pub const TEXT: &str = "text";
    /// Name of an artefact, the commitment that it is for, which of its artefacts, the statement about it, its file.
    pub const ARTEFACT: &str = "artefact";
    /// The commitment that it is for.
    pub const ARTEFACT_FOR: &str = "artefact-for";
    /// Which of the artefacts that the commitment needs.
    pub const KIND: &str = "kind";
    /// SHA-256 of the statement about an artefact.
    pub const STATEMENT: &str = "statement";
    /// SHA-256 of an artefact's file.
    pub const FILE: &str = "file";
    /// When an artefact was issued.
    pub const ISSUED: &str = "issued";
    /// When an artefact or an exception ends.
    pub const EXPIRES: &str = "expires";
    /// Name of an exception.
    pub const EXCEPTION: &str = "exception";
    /// The commitment that is excepted from.
    pub const EXCEPTED: &str = "excepted";
    /// SHA-256 of the terms of an exception.
    pub const TERMS: &str = "terms";
    /// Who proposed it.
    pub const PROPOSED_BY: &str = "proposed-by";
    /// Who decided.
    pub const BY: &str = "by";
    /// How many refusals an entry counts.
    pub const COUNT: &str = "count";
}

/// The longest that an exception may hold, from its proposal.
pub const EXCEPTION_SPAN_MAX: Span = Span::days(90);

/// All recorded evidence, oldest first, and the refusals by commitment.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    checks: BTreeMap<String, Vec<Recorded>>,
    refusals: BTreeMap<String, Vec<(Instant, u64)>>,
    texts: Vec<DatedText>,
    artefacts: Vec<RecordedArtefact>,
    exceptions: BTreeMap<String, LoggedException>,
    lines: u64,
}

impl Ledger {
    /// Name of the entry that dates the text of the promises.
    pub const TEXT_ACTION: &str = "trust.text";
    /// Name of the entry that names an artefact of somebody outside.
    pub const ARTEFACT_ACTION: &str = "artefact.recorded";

    /// Name of the entry for an outcome: `check.pass`.
    pub const fn action(outcome: Outcome) -> &'static str {
        match outcome {
            Outcome::Pass => "check.pass",
            Outcome::Fail => "check.fail",
            Outcome::Unknown => "check.unknown",
        }
    }

    /// How many entries of the log it has read.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// Takes the next entry of the log. Entries that are neither evidence, refusals nor dates of texts are passed over; evidence that is
    /// not later than what is known of its check, or later than its entry, does not count.
    pub fn read(&mut self, line: LogLine<'_>) {
        self.lines = line.index + 1;
        if line.refused
            && let Some(id) = line.commitment
        {
            // One entry stands for many where they came too fast to write one each.
            let count = line.details.get(detail::COUNT).and_then(|count| count.parse().ok()).unwrap_or(1);
            self.refusals.entry(id.to_owned()).or_default().push((line.time, count));
        }
        if line.action == Self::TEXT_ACTION {
            let digest = line.details.get(detail::TEXT).and_then(|text| digest(text));
            self.texts.extend(digest.map(|digest| DatedText { digest, since: line.time, log_index: line.index }));
        }
        if line.action == Self::ARTEFACT_ACTION {
            self.artefacts.extend(artefact(&line));
        }
        self.read_exception(&line);
        let outcomes = [Outcome::Pass, Outcome::Fail, Outcome::Unknown];
        let Some(outcome) = outcomes.into_iter().find(|outcome| Self::action(*outcome) == line.action) else { return };
        let text = |name: &str| line.details.get(name).map(String::as_str);
        let parsed = || {
            let observed_at = Instant::parse(text(detail::OBSERVED_AT)?).ok()?;
            let subjects = text(detail::SUBJECTS)?.parse().ok()?;
            let evidence = digest(text(detail::EVIDENCE)?)?;
            let (index, received_at) = (line.index, line.time);
            Some((text(detail::CHECK)?, Recorded { observed_at, outcome, evidence, subjects, index, received_at }))
        };
        if let Some((check, recorded)) = parsed()
            && recorded.observed_at <= recorded.received_at
            && self.latest(check).is_none_or(|latest| latest.observed_at < recorded.observed_at)
        {
            self.checks.entry(check.to_owned()).or_default().push(recorded);
        }
    }

    /// Whether new evidence may be recorded: it must be later than all that is known of its check, and say when that last
    /// looked (T15: nothing is sent twice, and no run can be left out unnoticed).
    pub fn require_new(&self, evidence: &Evidence) -> Result<(), EvidenceError> {
        evidence.require_consistent()?;
        match self.latest(&evidence.check) {
            Some(latest) if latest.observed_at >= evidence.observed_at => {
                Err(EvidenceError::Replayed { check: evidence.check.clone() })
            }
            Some(latest) if latest.observed_at != evidence.from => Err(EvidenceError::Contradiction {
                check: evidence.check.clone(),
                rule: "it does not follow the latest run of its check",
            }),
            _ => Ok(()),
        }
    }

    /// Follows an exception from its proposal on. A decision counts only when it is about the very terms that were proposed,
    /// by somebody else, in time.
    fn read_exception(&mut self, line: &LogLine<'_>) {
        let text = |name: &str| line.details.get(name).cloned();
        let Some(id) = text(detail::EXCEPTION) else { return };
        match line.action {
            "exception.proposed" => {
                let proposed = || {
                    let expires = Instant::parse(&text(detail::EXPIRES)?).ok()?;
                    let in_time = line.time < expires && expires <= line.time.plus(EXCEPTION_SPAN_MAX);
                    in_time.then_some(LoggedException {
                        id: id.clone(),
                        commitment: text(detail::EXCEPTED)?,
                        terms: digest(&text(detail::TERMS)?)?,
                        proposed_by: text(detail::PROPOSED_BY)?,
                        proposed_at: line.time,
                        expires,
                        approved: None,
                        ended: None,
                    })
                };
                if let Some(proposed) = proposed() {
                    self.exceptions.entry(id).or_insert(proposed);
                }
            }
            "exception.approved" => {
                let terms = text(detail::TERMS).and_then(|terms| digest(&terms));
                if let (Some(known), Some(by)) = (self.exceptions.get_mut(&id), text(detail::BY))
                    && known.approved.is_none()
                    && known.ended.is_none()
                    && terms == Some(known.terms)
                    && by != known.proposed_by
                    && line.time < known.expires
                {
                    known.approved = Some((line.time, line.index));
                }
            }
            "exception.ended" | "exception.refused" => {
                if let Some(known) = self.exceptions.get_mut(&id) {
                    known.ended = known.ended.or(Some(line.time));
                }
            }
            _ => {}
        }
    }

    /// All artefacts that the log names, oldest first.
    pub fn artefacts(&self) -> &[RecordedArtefact] {
        &self.artefacts
    }

    /// All exceptions, whether they hold or not.
    pub fn exceptions(&self) -> impl Iterator<Item = &LoggedException> {
        self.exceptions.values()
    }

    /// The exception of a name.
    pub fn exception(&self, id: &str) -> Option<&LoggedException> {
        self.exceptions.get(id)
    }

    /// The texts of the promises that the log dates, oldest first. The last one is the one in force.
    pub fn texts(&self) -> &[DatedText] {
        &self.texts
    }

    /// The latest run of a check.
    pub fn latest(&self, check: &str) -> Option<&Recorded> {
        self.runs(check).last()
    }

    /// All runs of a check, oldest first.
    pub fn runs(&self, check: &str) -> &[Recorded] {
        self.checks.get(check).map_or(&[], Vec::as_slice)
    }

    /// The runs of a check as states need them.
    pub fn seen(&self, check: &str) -> Vec<Seen> {
        self.runs(check).iter().map(|run| Seen { at: run.observed_at, outcome: run.outcome }).collect()
    }

    /// How many refusals named a commitment within `within` before `now` (R5).
    pub fn refusals(&self, commitment: &str, within: Span, now: Instant) -> u64 {
        let times = self.refusals.get(commitment).map_or(&[][..], Vec::as_slice);
        let since = now.minus(within);
        times[times.partition_point(|(time, _)| *time < since)..].iter().map(|(_, count)| count).sum()
    }
}

fn artefact(line: &LogLine<'_>) -> Option<RecordedArtefact> {
    let text = |name: &str| line.details.get(name).cloned();
    let instant = |name: &str| Instant::parse(&text(name)?).ok();
    let recorded = RecordedArtefact {
        id: text(detail::ARTEFACT)?,
        commitment: text(detail::ARTEFACT_FOR)?,
        kind: text(detail::KIND)?,
        statement: digest(&text(detail::STATEMENT)?)?,
        file: digest(&text(detail::FILE)?)?,
        issued: instant(detail::ISSUED)?,
        expires: instant(detail::EXPIRES)?,
        index: line.index,
        received_at: line.time,
    };
    (recorded.issued <= recorded.received_at).then_some(recorded)
}

fn digest(text: &str) -> Option<Hash> {
    Hash::try_from(text.strip_prefix("sha256:")?.to_owned()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Instant {
        Instant::from_micros(seconds * 1_000_000).expect("in range")
    }

    fn details(observed: i64, evidence: u8) -> BTreeMap<String, String> {
        [
            (detail::CHECK, "clock".to_owned()),
            (detail::EVIDENCE, format!("sha256:{}", Hash::from_bytes([evidence; 32]))),
            (detail::SUBJECTS, "2".to_owned()),
            (detail::OBSERVED_AT, at(observed).to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    fn read(ledger: &mut Ledger, index: u64, time: i64, action: &str, details: &BTreeMap<String, String>) {
        ledger.read(LogLine { index, time: at(time), action, refused: false, commitment: None, details });
    }

    #[test]
    fn the_latest_run_counts_and_an_older_one_that_comes_again_does_not() {
        let mut ledger = Ledger::default();
        read(&mut ledger, 0, 10, "check.pass", &details(10, 1));
        read(&mut ledger, 1, 20, "check.fail", &details(20, 2));
        read(&mut ledger, 2, 30, "check.pass", &details(10, 1));
        let latest = ledger.latest("clock").expect("recorded");
        assert_eq!((latest.index, latest.outcome, latest.subjects), (1, Outcome::Fail, 2));
        assert_eq!((ledger.runs("clock").len(), ledger.lines()), (2, 3));
    }

    #[test]
    fn evidence_from_after_its_entry_does_not_count() {
        let mut ledger = Ledger::default();
        read(&mut ledger, 0, 10, "check.pass", &details(11, 1));
        assert_eq!(ledger.latest("clock"), None);
    }

    #[test]
    fn entries_that_lack_a_detail_or_are_no_evidence_are_passed_over() {
        let mut ledger = Ledger::default();
        for name in [detail::CHECK, detail::EVIDENCE, detail::SUBJECTS, detail::OBSERVED_AT] {
            let mut lacking = details(10, 1);
            lacking.remove(name);
            read(&mut ledger, 0, 10, "check.pass", &lacking);
        }
        read(&mut ledger, 1, 10, "query", &details(10, 1));
        assert_eq!(ledger.latest("clock"), None);
    }

    #[test]
    fn only_an_entry_with_a_digest_dates_a_text() {
        let mut ledger = Ledger::default();
        let of = |text: &str| BTreeMap::from([(detail::TEXT.to_owned(), text.to_owned())]);
        let (one, other) = (Hash::of(&[b"one"]), Hash::of(&[b"other"]));
        read(&mut ledger, 3, 10, Ledger::TEXT_ACTION, &of(&format!("sha256:{one}")));
        read(&mut ledger, 4, 11, "query", &of(&format!("sha256:{other}")));
        read(&mut ledger, 5, 12, Ledger::TEXT_ACTION, &of(&other.to_string()));
        read(&mut ledger, 6, 13, Ledger::TEXT_ACTION, &BTreeMap::new());
        assert_eq!(ledger.texts(), [DatedText { digest: one, since: at(10), log_index: 3 }]);
        read(&mut ledger, 7, 14, Ledger::TEXT_ACTION, &of(&format!("sha256:{other}")));
        assert_eq!(ledger.texts().last(), Some(&DatedText { digest: other, since: at(14), log_index: 7 }));
    }

    #[test]
    fn refusals_are_counted_by_commitment_and_time() {
        let (mut ledger, none) = (Ledger::default(), BTreeMap::new());
        for (index, time, refused, commitment) in [
            (0, 10, true, Some("CH-20")),
            (1, 20, true, Some("CH-20")),
            (2, 21, false, Some("CH-20")),
            (3, 22, true, None),
        ] {
            ledger.read(LogLine { index, time: at(time), action: "query", refused, commitment, details: &none });
        }
        assert_eq!(ledger.refusals("CH-20", Span::seconds(15), at(30)), 1);
        assert_eq!(ledger.refusals("CH-20", Span::seconds(20), at(30)), 2);
        assert_eq!(ledger.refusals("CH-03", Span::seconds(20), at(30)), 0);
    }
}
