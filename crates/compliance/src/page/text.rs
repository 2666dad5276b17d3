//! The report for a terminal of 80 columns.

use std::fmt::Write as _;

use super::words;
use crate::{CommitmentReport, State, TrustReport};

const COLUMNS: usize = 80;

/// The report as text, at most 80 columns wide: the numbers, every commitment that is not merely not started, and the log
/// it stands in. Control characters are left out, so no text of a check can write over another.
pub fn text(report: &TrustReport) -> String {
    let mut out = String::new();
    let mut line = |text: &str| {
        out.push_str(text.trim_end());
        out.push('\n');
    };
    if report.organisation.demonstration {
        line("DEMONSTRATION: checks or documents behind this are made up");
    }
    let place = format!("{} · {}", plain(&report.organisation.name), report.environment.as_str());
    line(&ends(&place, &words::instant(report.generated_at)));
    let others: Vec<String> = report
        .counts
        .iter()
        .filter(|(state, _)| *state != State::Met)
        .map(|(state, count)| format!("{} {count}", words::state(*state)))
        .collect();
    line(&ends(&format!("met {} of {}", report.met, report.total), &others.join("   ")));
    line("");
    for state in State::ALL.into_iter().filter(|state| *state != State::NotStarted) {
        for commitment in report.commitments.iter().filter(|commitment| commitment.state == state) {
            row(&mut line, commitment);
        }
    }
    let rest = report.commitments.iter().filter(|commitment| commitment.state == State::NotStarted);
    let (rest, held) =
        (rest.clone().count(), rest.filter(|commitment| commitment.held.as_deref() == Some("not held")).count());
    let mut not_started = format!("{} not started  {}", words::mark(State::NotStarted), rest);
    if held > 0 {
        let _ = write!(not_started, ", of which {held} need somebody outside: not held");
    }
    line(&not_started);
    for exception in &report.exceptions {
        let until = words::instant(exception.expires);
        line(&cut(
            &plain(&format!("  exception    {:<6}  until {until}; changes no state", exception.commitment)),
            COLUMNS,
        ));
    }
    line("");
    line(&cut(
        &plain(&format!("log    {}, {}", report.log.origin, words::counted(report.log.size, "entry", "entries"))),
        COLUMNS,
    ));
    line(&cut(&plain(&format!("root   {}", report.log.root)), COLUMNS));
    if let Some(text) = report.texts.first() {
        line(&format!("text   since {}, entry {}", words::instant(text.since), text.log_index));
    }
    out
}

fn row(line: &mut impl FnMut(&str), commitment: &CommitmentReport) {
    let age = commitment.evidence_age_s.map(words::age).unwrap_or_default();
    let head = format!(
        "{} {:<11}  {:<6}  ",
        words::mark(commitment.state),
        words::state(commitment.state),
        commitment.id.as_str()
    );
    let room = COLUMNS - head.chars().count() - 10;
    line(&format!("{head}{:<room$}{age:>10}", cut(&plain(&commitment.title), room)));
    if commitment.state < State::NotStarted {
        for part in wrapped(&plain(&commitment.reason), COLUMNS - 23) {
            line(&format!("{:23}{part}", ""));
        }
    }
}

/// Two texts at the two ends of a line; below each other where they do not fit.
fn ends(left: &str, right: &str) -> String {
    let (left, right) = (cut(left, COLUMNS), cut(right, COLUMNS));
    let used = left.chars().count() + right.chars().count();
    if used + 2 > COLUMNS { format!("{left}\n{right}") } else { format!("{left}{}{right}", " ".repeat(COLUMNS - used)) }
}

/// Without control characters, which could move the cursor or change colours.
fn plain(text: &str) -> String {
    let spaced = text.chars().map(|c| if c.is_whitespace() { ' ' } else { c });
    spaced.filter(|c| !c.is_control() && !is_direction(*c)).collect()
}

/// Characters that turn the order of what follows: they could make a line read as another.
fn is_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn cut(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    text.chars().take(columns - 1).chain(['…']).collect()
}

/// Lines of at most `columns` characters, broken at spaces where there are any; at most four, since the page has the rest.
fn wrapped(text: &str, columns: usize) -> Vec<String> {
    const LINES_MAX: usize = 4;
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split_whitespace() {
        let word = cut(word, columns);
        let last = lines.last_mut().expect("there is always one");
        if last.is_empty() {
            *last = word;
        } else if last.chars().count() + 1 + word.chars().count() <= columns {
            last.push(' ');
            last.push_str(&word);
        } else {
            lines.push(word);
        }
    }
    if lines.len() > LINES_MAX {
        lines.truncate(LINES_MAX);
        let last = lines.last_mut().expect("four");
        *last = cut(&format!("{last} …"), columns);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_broken_at_spaces_and_a_word_without_any_is_cut() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("unbreakable", 5), ["unbr…"]);
        assert_eq!(wrapped("a b c d e f", 1), ["a", "b", "c", "…"]);
    }

    #[test]
    fn a_terminal_is_not_told_to_do_anything() {
        assert_eq!(plain("a\u{1b}[2Jb\r\nc\u{202e}d\u{9b}e"), "a[2Jb  cde");
    }
}
