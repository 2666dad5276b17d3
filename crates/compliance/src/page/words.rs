//! How states, lengths of time and numbers are put into words; the same on pages and in terminals.

use creta_model::{Instant, Span};

use crate::{Class, Mode, Pillar, State};

/// The word for a state.
pub(super) fn state(state: State) -> &'static str {
    match state {
        State::NotStarted => "not started",
        other => other.as_str(),
    }
}

/// What a state means.
pub(super) fn meaning(state: State) -> &'static str {
    match state {
        State::Failing => "Evidence shows that it does not hold. A failure stays until a later look says otherwise.",
        State::Unknown => "A check could not look, or did not notice the fault planted for it. Never counted as met.",
        State::Stale => "It held when last looked at, and that is too long ago to count.",
        State::NotStarted => "Nothing watches all of it yet, or nobody outside has issued what it needs.",
        State::Met => "Every check of it looked in time and found nothing wrong.",
    }
}

/// A mark for terminals, where there are no pictures.
pub(super) fn mark(state: State) -> char {
    match state {
        State::Failing => '×',
        State::Unknown => '?',
        State::Stale => '~',
        State::NotStarted => '·',
        State::Met => '✓',
    }
}

/// How a class of promises is kept.
pub(super) fn class(class: Class) -> &'static str {
    match class {
        Class::Enforced => "The software refuses the bad case; no setting turns that off.",
        Class::Checked => "It is measured on a schedule, and the measurements are kept.",
        Class::Programme => "People do it; the software asks for it and records what shows that it was done.",
    }
}

/// `enforced and checked`.
pub(super) fn classes(classes: &[Class]) -> String {
    let words: Vec<&str> = classes.iter().map(|class| class.as_str()).collect();
    words.join(" and ")
}

/// The pillar as a heading.
pub(super) fn pillar(pillar: Pillar) -> &'static str {
    match pillar {
        Pillar::Confidentiality => "Confidentiality",
        Pillar::Integrity => "Integrity",
        Pillar::Availability => "Availability",
    }
}

/// What a pillar is about.
pub(super) fn pillar_meaning(pillar: Pillar) -> &'static str {
    match pillar {
        Pillar::Confidentiality => "Only those who may know it do.",
        Pillar::Integrity => "It is what it was, and a change shows.",
        Pillar::Availability => "It is there when it is needed.",
    }
}

/// Whom the organisation serves.
pub(super) fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Vendor => "serves other organisations",
        Mode::InHouse => "serves itself",
    }
}

/// `12,345`.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 commitment`, `2 commitments`.
pub(super) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(count), if count == 1 { one } else { many })
}

/// An age in its largest whole unit: `42 s`, `3 min`, `5 h`, `12 d`. Never rounded up.
pub(super) fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", number(seconds / 86_400)),
    }
}

/// A length of time as people say it: `1 hour`, `7 days`.
pub(super) fn span(span: Span) -> String {
    let seconds = u64::try_from(span.micros() / 1_000_000).expect("a span is not negative");
    match seconds {
        _ if span.micros() % 1_000_000 != 0 => span.to_string(),
        0 => "no time".to_owned(),
        s if s.is_multiple_of(86_400) => counted(s / 86_400, "day", "days"),
        s if s.is_multiple_of(3_600) => counted(s / 3_600, "hour", "hours"),
        s if s.is_multiple_of(60) => counted(s / 60, "minute", "minutes"),
        s => counted(s, "second", "seconds"),
    }
}

/// `2026-11-22 19:28:03 UTC`: whole seconds, never rounded up.
pub(super) fn instant(at: Instant) -> String {
    let text = at.to_string();
    format!("{} {} UTC", &text[..10], &text[11..19])
}

/// Parts of a million as a percentage with one decimal, never rounded up to more than there was.
pub(super) fn percent(ppm: u64) -> String {
    match ppm {
        0 => "0 %".to_owned(),
        1..1_000 => "under 0.1 %".to_owned(),
        ppm => format!("{}.{} %", ppm / 10_000, ppm / 1_000 % 10),
    }
}

/// Parts of a million as a percentage with three decimals, never rounded up: `99.998 %` is not `100 %`.
pub(super) fn share(ppm: u64) -> String {
    format!("{}.{:03} %", ppm / 10_000, ppm / 10 % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_time_shows_what_was_missed() {
        let shown = [0, 9, 10, 999_989, 999_999, 1_000_000].map(share);
        assert_eq!(shown, ["0.000 %", "0.000 %", "0.001 %", "99.998 %", "99.999 %", "100.000 %"]);
    }

    #[test]
    fn numbers_and_ages_are_never_rounded_up() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0, 59, 60, 3_599, 3_600, 172_799, 172_800].map(age),
            ["0 s", "59 s", "1 min", "59 min", "1 h", "47 h", "2 d"]
        );
        assert_eq!(
            [0, 1, 999, 1_000, 999_999, 1_000_000].map(percent),
            ["0 %", "under 0.1 %", "under 0.1 %", "0.1 %", "99.9 %", "100.0 %"]
        );
    }

    #[test]
    fn spans_and_instants_read_like_sentences() {
        let spans =
            [Span::seconds(1), Span::seconds(90), Span::seconds(300), Span::hours(1), Span::days(7), Span::ZERO];
        assert_eq!(spans.map(span), ["1 second", "90 seconds", "5 minutes", "1 hour", "7 days", "no time"]);
        let at = Instant::parse("2026-11-22T19:28:03.999999Z").expect("valid");
        assert_eq!(instant(at), "2026-11-22 19:28:03 UTC");
    }
}
