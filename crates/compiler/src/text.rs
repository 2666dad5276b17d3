//! Methods of `str`, over code points. What depends on tables of letters that differ between versions of Python is
//! computed for ASCII and left to Python otherwise.

use std::sync::Arc;

use crate::budget::spend;
use crate::raised::{Outcome, Raised};
use crate::value::Value;

/// Longest text or list that compiled code makes, in bytes or items.
const SIZE_MAX: usize = 16 << 20;

/// A text of this size, unless it is too large.
pub(crate) fn sized(size: Option<usize>) -> Outcome<usize> {
    let size = size.filter(|size| *size <= SIZE_MAX).ok_or(Raised::LARGE)?;
    spend(size / 4)?;
    Ok(size)
}

/// Python's white space, which is a little more than Unicode's.
pub(crate) fn is_space(letter: char) -> bool {
    matches!(letter, '\t'..='\r' | '\x1c'..='\x1f' | ' ' | '\u{85}' | '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{2028}' | '\u{2029}' | '\u{202f}' | '\u{205f}' | '\u{3000}')
}

fn is_line_break(letter: char) -> bool {
    matches!(letter, '\n'..='\r' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// How many code points.
pub(crate) fn length(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().count() }
}

/// Byte position of a code point; the end of the text for what lies behind it.
fn byte_of(text: &str, point: usize) -> usize {
    if text.is_ascii() {
        return point.min(text.len());
    }
    text.char_indices().nth(point).map_or(text.len(), |(at, _)| at)
}

/// The code point at a position that may count from the end.
pub(crate) fn letter(text: &str, at: i64) -> Outcome<Value> {
    let points = length(text);
    let at = position(points, at).ok_or(Raised::INDEX)?;
    let start = byte_of(text, at);
    let one = text[start..].chars().next().expect("a position within the text");
    Ok(Value::text(one.encode_utf8(&mut [0; 4])))
}

/// An index from the start; `None` when it lies outside.
pub(crate) fn position(length: usize, at: i64) -> Option<usize> {
    let length = length as i64;
    let from_start = if at < 0 { at + length } else { at };
    (0..length).contains(&from_start).then_some(from_start as usize)
}

/// Positions that a slice takes, in order: start, count, step. `step` is not 0.
pub(crate) fn slice(length: usize, start: Option<i64>, stop: Option<i64>, step: i64) -> (i64, usize) {
    let length = length as i64;
    let clamp = |bound: i64, low: i64, high: i64| {
        let from_start = if bound < 0 { bound.saturating_add(length) } else { bound };
        from_start.clamp(low, high)
    };
    if step > 0 {
        let start = start.map_or(0, |bound| clamp(bound, 0, length));
        let stop = stop.map_or(length, |bound| clamp(bound, 0, length));
        let count = if stop > start { (stop - start - 1) / step + 1 } else { 0 };
        (start, count as usize)
    } else {
        let start = start.map_or(length - 1, |bound| clamp(bound, -1, length - 1));
        let stop = stop.map_or(-1, |bound| clamp(bound, -1, length - 1));
        let count = if start > stop { (start - stop - 1) / step.saturating_neg() + 1 } else { 0 };
        (start, count as usize)
    }
}

/// `text[start:stop:step]`.
pub(crate) fn sliced(text: &str, start: Option<i64>, stop: Option<i64>, step: i64) -> Value {
    let (from, count) = slice(length(text), start, stop, step);
    if step == 1 {
        let begin = byte_of(text, from as usize);
        let end = begin + byte_of(&text[begin..], count);
        return Value::text(&text[begin..end]);
    }
    let letters: Vec<char> = text.chars().collect();
    let picked: String = (0..count as i64).map(|n| letters[(from + n * step) as usize]).collect();
    Value::text(&picked)
}

/// Letters that have a case in one supported version of Python and none in another (Unicode 15 to 17).
fn is_recent(letter: char) -> bool {
    matches!(letter, '\u{1c89}' | '\u{1c8a}' | '\u{a7cb}'..='\u{a7cf}' | '\u{a7d2}' | '\u{a7d4}' | '\u{a7da}'..='\u{a7dc}' | '\u{264}' | '\u{19b}' | '\u{10d50}'..='\u{10d85}' | '\u{16ea0}'..='\u{16ed3}')
}

pub(crate) fn lower(text: &str) -> Outcome<String> {
    if text.chars().any(is_recent) { Err(Raised::LETTERS) } else { Ok(text.to_lowercase()) }
}

pub(crate) fn upper(text: &str) -> Outcome<String> {
    if text.chars().any(is_recent) { Err(Raised::LETTERS) } else { Ok(text.to_uppercase()) }
}

fn ascii(text: &str) -> Outcome<&str> {
    if text.is_ascii() { Ok(text) } else { Err(Raised::LETTERS) }
}

pub(crate) fn capitalize(text: &str) -> Outcome<String> {
    let text = ascii(text)?;
    let (first, rest) = text.split_at(text.len().min(1));
    Ok(first.to_ascii_uppercase() + &rest.to_ascii_lowercase())
}

pub(crate) fn title(text: &str) -> Outcome<String> {
    let mut in_word = false;
    let titled = ascii(text)?.chars().map(|letter| {
        let cased = if in_word { letter.to_ascii_lowercase() } else { letter.to_ascii_uppercase() };
        in_word = letter.is_ascii_alphabetic();
        cased
    });
    Ok(titled.collect())
}

pub(crate) fn swapcase(text: &str) -> Outcome<String> {
    let swapped = ascii(text)?.chars().map(|letter| {
        if letter.is_ascii_lowercase() { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() }
    });
    Ok(swapped.collect())
}

/// `isdigit`, `isalpha` and their like: not empty, and every letter is.
pub(crate) fn every(text: &str, is: fn(&char) -> bool) -> Outcome<bool> {
    let text = ascii(text)?;
    Ok(!text.is_empty() && text.chars().all(|letter| is(&letter)))
}

/// `islower`, `isupper`: some letter with a case, and none of the other.
pub(crate) fn cased(text: &str, is: fn(&char) -> bool) -> Outcome<bool> {
    let mut letters = ascii(text)?.chars().filter(char::is_ascii_alphabetic).peekable();
    Ok(letters.peek().is_some() && letters.all(|letter| is(&letter)))
}

pub(crate) fn istitle(text: &str) -> Outcome<bool> {
    let (mut in_word, mut any) = (false, false);
    for letter in ascii(text)?.chars() {
        if letter.is_ascii_alphabetic() {
            if letter.is_ascii_uppercase() == in_word {
                return Ok(false);
            }
            any = true;
        }
        in_word = letter.is_ascii_alphabetic();
    }
    Ok(any)
}

/// Which ends to strip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ends {
    Both,
    Left,
    Right,
}

pub(crate) fn strip<'a>(text: &'a str, letters: Option<&str>, ends: Ends) -> &'a str {
    let strips = |letter: char| letters.map_or_else(|| is_space(letter), |letters| letters.contains(letter));
    let text = if ends == Ends::Right { text } else { text.trim_start_matches(strips) };
    if ends == Ends::Left { text } else { text.trim_end_matches(strips) }
}

/// `split` and `rsplit`, by white space without a separator.
pub(crate) fn split(text: &str, separator: Option<&str>, limit: i64, from_right: bool) -> Outcome<Vec<Value>> {
    let limit = if limit < 0 { usize::MAX } else { limit as usize };
    let mut parts: Vec<&str> = Vec::new();
    match separator {
        Some("") => return Err(Raised::VALUE),
        Some(separator) if from_right => {
            parts.extend(text.rsplitn(limit.saturating_add(1), separator));
            parts.reverse();
        }
        Some(separator) => parts.extend(text.splitn(limit.saturating_add(1), separator)),
        None if from_right => {
            let mut rest = text.trim_end_matches(is_space);
            while !rest.is_empty() {
                if parts.len() == limit {
                    parts.push(rest);
                    break;
                }
                let cut = rest.char_indices().rev().find(|(_, letter)| is_space(*letter));
                let start = cut.map_or(0, |(at, letter)| at + letter.len_utf8());
                parts.push(&rest[start..]);
                rest = rest[..start].trim_end_matches(is_space);
            }
            parts.reverse();
        }
        None => {
            let mut rest = text.trim_start_matches(is_space);
            while !rest.is_empty() {
                if parts.len() == limit {
                    parts.push(rest);
                    break;
                }
                let end = rest.find(is_space).unwrap_or(rest.len());
                parts.push(&rest[..end]);
                rest = rest[end..].trim_start_matches(is_space);
            }
        }
    }
    sized(Some(parts.len()))?;
    Ok(parts.into_iter().map(Value::text).collect())
}

/// `splitlines()`.
pub(crate) fn splitlines(text: &str) -> Vec<Value> {
    let mut lines = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let Some(end) = rest.find(is_line_break) else {
            lines.push(Value::text(rest));
            break;
        };
        lines.push(Value::text(&rest[..end]));
        let letter = rest[end..].chars().next().expect("a line break");
        let next = end + if rest[end..].starts_with("\r\n") { 2 } else { letter.len_utf8() };
        rest = &rest[next..];
    }
    lines
}

/// `partition` and `rpartition`.
pub(crate) fn partition(text: &str, separator: &str, from_right: bool) -> Outcome<Value> {
    if separator.is_empty() {
        return Err(Raised::VALUE);
    }
    let found = if from_right { text.rfind(separator) } else { text.find(separator) };
    let parts = match found {
        Some(at) => [&text[..at], separator, &text[at + separator.len()..]],
        None if from_right => ["", "", text],
        None => [text, "", ""],
    };
    Ok(Value::Tuple(parts.into_iter().map(Value::text).collect()))
}

/// `find` and `rfind`: a position in code points, -1 when it is not there.
pub(crate) fn find(text: &str, part: &str, from_right: bool) -> i64 {
    let found = if from_right { text.rfind(part) } else { text.find(part) };
    found.map_or(-1, |at| length(&text[..at]) as i64)
}

/// `count`: occurrences that do not overlap; the empty text is between all code points.
pub(crate) fn count(text: &str, part: &str) -> i64 {
    if part.is_empty() { length(text) as i64 + 1 } else { text.matches(part).count() as i64 }
}

pub(crate) fn replace(text: &str, old: &str, new: &str, limit: i64) -> Outcome<String> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let times = (count(text, old) as usize).min(limit);
    sized(new.len().checked_mul(times).and_then(|added| added.checked_add(text.len())))?;
    Ok(text.replacen(old, new, limit))
}

pub(crate) fn join(separator: &str, items: &[Value]) -> Outcome<Value> {
    let mut texts: Vec<&Arc<str>> = Vec::with_capacity(items.len());
    let mut size = 0usize;
    for item in items {
        let Value::Str(text) = item else { return Err(Raised::TYPE) };
        size = sized(Some(size + text.len() + separator.len()))?;
        texts.push(text);
    }
    let mut joined = String::with_capacity(size);
    for (at, text) in texts.into_iter().enumerate() {
        if at > 0 {
            joined.push_str(separator);
        }
        joined.push_str(text);
    }
    Ok(Value::text(&joined))
}

/// `ljust`, `rjust` and `center`.
pub(crate) fn justify(text: &str, width: i64, fill: &str, side: char) -> Outcome<String> {
    let mut letters = fill.chars();
    let (Some(fill), None) = (letters.next(), letters.next()) else { return Err(Raised::TYPE) };
    let have = length(text);
    let missing = usize::try_from(width).unwrap_or(0).saturating_sub(have);
    sized(missing.checked_mul(fill.len_utf8()))?;
    let left = match side {
        'l' => 0,
        'r' => missing,
        // CPython gives the odd one to the left only where the width is odd.
        _ => missing / 2 + (missing & width as usize & 1),
    };
    let fill = |count: usize| fill.to_string().repeat(count);
    Ok(format!("{}{text}{}", fill(left), fill(missing - left)))
}

pub(crate) fn zfill(text: &str, width: i64) -> Outcome<String> {
    let missing = sized(Some(usize::try_from(width).unwrap_or(0).saturating_sub(length(text))))?;
    let (sign, rest) = text.split_at(usize::from(text.starts_with(['+', '-'])));
    Ok(format!("{sign}{}{rest}", "0".repeat(missing)))
}

/// `int(text)`: digits with single underscores between them.
pub(crate) fn parse_int(text: &str) -> Outcome<i64> {
    let digits = plain(text)?;
    let (negative, digits) = match digits.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, digits.strip_prefix('+').unwrap_or(&digits)),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Raised::VALUE);
    }
    // More digits than Python converts at all are an error of its own there.
    if digits.len() > 4000 {
        return Err(Raised::INT);
    }
    let signed = if negative { format!("-{digits}") } else { digits.to_owned() };
    signed.parse().map_err(|_| Raised::INT)
}

/// `float(text)`.
pub(crate) fn parse_float(text: &str) -> Outcome<f64> {
    let written = plain(text)?.to_ascii_lowercase();
    let unsigned = written.strip_prefix(['+', '-']).unwrap_or(&written);
    let is_word = matches!(unsigned, "nan" | "inf" | "infinity");
    let number = unsigned.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'+' | b'-'));
    let first = unsigned.bytes().next().is_some_and(|byte| byte.is_ascii_digit() || byte == b'.');
    let is_number = number && first && unsigned.bytes().any(|byte| byte.is_ascii_digit());
    if !is_word && !is_number {
        return Err(Raised::VALUE);
    }
    written.parse().map_err(|_| Raised::VALUE)
}

/// A number's text without white space around it and underscores between digits. Digits of other scripts are left to Python.
fn plain(text: &str) -> Outcome<String> {
    // The separators \x1c to \x1f are white space for `strip`, and no part of a number here.
    let around = |letter: char| is_space(letter) && !matches!(letter, '\x1c'..='\x1f');
    let text = text.trim_matches(around);
    if !text.is_ascii() {
        return Err(Raised::LETTERS);
    }
    let bytes = text.as_bytes();
    let digit = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
    for (at, byte) in bytes.iter().enumerate() {
        if *byte == b'_' && !(digit(at.checked_sub(1)) && digit(Some(at + 1))) {
            return Err(Raised::VALUE);
        }
    }
    Ok(text.replace('_', ""))
}
