//! How Python writes values: `str`, `repr` and format specifications.

use std::fmt::Write as _;

use crate::raised::{Outcome, Raised};
use crate::times;
use crate::value::Value;

/// `repr` of a float: the fewest digits that read back as the same double.
pub(crate) fn float_repr(float: f64) -> String {
    if let Some(text) = not_finite(float) {
        return text.to_owned();
    }
    let (negative, digits, exponent) = shortest(float);
    let sign = if negative { "-" } else { "" };
    if (-4..16).contains(&exponent) {
        format!("{sign}{}", positional(&digits, exponent, true))
    } else {
        format!("{sign}{}", scientific(&digits, exponent, 'e'))
    }
}

fn not_finite(float: f64) -> Option<&'static str> {
    if float.is_nan() {
        Some("nan")
    } else if float.is_infinite() {
        Some(if float > 0.0 { "inf" } else { "-inf" })
    } else {
        None
    }
}

/// Sign, digits without trailing zeros, and the power of ten of the first digit. Of two texts with the fewest digits that
/// are as close, the one whose last digit is even, as CPython has it; the standard library takes the greater one.
fn shortest(float: f64) -> (bool, String, i32) {
    let found = split(&format!("{float:e}"));
    // Rounded exactly to as many digits, halves to even: that text, unless it is another double's.
    let even = format!("{float:.*e}", found.1.len() - 1);
    if even.parse::<f64>() == Ok(float) { split(&even) } else { found }
}

/// Exactly so many significant digits.
fn significant(float: f64, digits: usize) -> (bool, String, i32) {
    split(&format!("{float:.*e}", digits - 1))
}

fn split(text: &str) -> (bool, String, i32) {
    let (mantissa, exponent) = text.split_once('e').expect("scientific notation");
    let negative = mantissa.starts_with('-');
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    (negative, digits, exponent.parse().expect("an exponent"))
}

fn positional(digits: &str, exponent: i32, point: bool) -> String {
    if exponent < 0 {
        return format!("0.{}{digits}", "0".repeat((-exponent - 1) as usize));
    }
    let whole = exponent as usize + 1;
    if digits.len() <= whole {
        let zeros = "0".repeat(whole - digits.len());
        return if point { format!("{digits}{zeros}.0") } else { format!("{digits}{zeros}") };
    }
    format!("{}.{}", &digits[..whole], &digits[whole..])
}

fn scientific(digits: &str, exponent: i32, letter: char) -> String {
    let (first, rest) = digits.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{first}{point}{rest}{letter}{sign}{:02}", exponent.abs())
}

/// `str(value)`.
pub(crate) fn str_of(value: &Value) -> Outcome<String> {
    Ok(match value {
        Value::Str(text) => text.to_string(),
        Value::Enum(class, at) => member_name(class, *at)?,
        Value::Date(days) => times::date_text(*days),
        Value::Datetime(micros) => times::datetime_text(*micros, ' '),
        Value::Timedelta(micros) => times::timedelta_text(*micros),
        other => return repr(other),
    })
}

fn member_name(class: &crate::value::EnumClass, at: u32) -> Outcome<String> {
    let (name, _) = &class.members[at as usize];
    if name.is_empty() { Err(Raised::NOT_COMPILED) } else { Ok(format!("{}.{name}", class.name)) }
}

/// `repr(value)`.
pub(crate) fn repr(value: &Value) -> Outcome<String> {
    Ok(match value {
        Value::None => "None".to_owned(),
        Value::Bool(flag) => if *flag { "True" } else { "False" }.to_owned(),
        Value::Int(int) => int.to_string(),
        Value::Float(float) => float_repr(*float),
        Value::Str(text) => text_repr(text)?,
        Value::List(items) => format!("[{}]", items_repr(items)?),
        Value::Tuple(items) if items.len() == 1 => format!("({},)", repr(&items[0])?),
        Value::Tuple(items) => format!("({})", items_repr(items)?),
        // A read-only mapping is written in another way, and which of the two it is does not show here.
        _ => return Err(Raised::NOT_COMPILED),
    })
}

fn items_repr(items: &[Value]) -> Outcome<String> {
    Ok(items.iter().map(repr).collect::<Outcome<Vec<_>>>()?.join(", "))
}

fn text_repr(text: &str) -> Outcome<String> {
    if !text.is_ascii() {
        return Err(Raised::LETTERS);
    }
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut written = String::from(quote);
    for letter in text.chars() {
        match letter {
            '\n' => written.push_str("\\n"),
            '\r' => written.push_str("\\r"),
            '\t' => written.push_str("\\t"),
            '\\' => written.push_str("\\\\"),
            _ if letter == quote => {
                written.push('\\');
                written.push(letter);
            }
            ' '..='~' => written.push(letter),
            _ => write!(written, "\\x{:02x}", letter as u32).expect("a string"),
        }
    }
    written.push(quote);
    Ok(written)
}

/// A format specification: `[[fill]align][sign][#][0][width][grouping][.precision][type]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spec {
    fill: char,
    align: Option<char>,
    sign: Option<char>,
    zero: bool,
    width: usize,
    grouping: Option<char>,
    precision: Option<usize>,
    kind: Option<char>,
}

impl Spec {
    /// Widths and precisions beyond this are not compiled.
    const SIZE_MAX: usize = 300;

    /// The specification `{x}`.
    pub(crate) const PLAIN: Self =
        Self { fill: ' ', align: None, sign: None, zero: false, width: 0, grouping: None, precision: None, kind: None };

    /// Reads one; `None` for what is not compiled, which includes what Python refuses.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let letters: Vec<char> = text.chars().collect();
        let mut spec = Self::PLAIN;
        let mut at = 0;
        let mut filled = false;
        let is_align = |at: usize| matches!(letters.get(at), Some('<' | '>' | '^' | '='));
        if letters.len() > 1 && is_align(1) {
            spec.fill = letters[0];
            spec.align = Some(letters[1]);
            at = 2;
            filled = true;
        } else if is_align(0) {
            spec.align = Some(letters[0]);
            at = 1;
        }
        if let Some(sign @ ('+' | '-' | ' ')) = letters.get(at) {
            spec.sign = Some(*sign);
            at += 1;
        }
        // Beside a fill of its own the zero only begins the width.
        if !filled && letters.get(at) == Some(&'0') {
            spec.zero = true;
            at += 1;
        }
        let number = |at: &mut usize| -> Option<usize> {
            let start = *at;
            while letters.get(*at).is_some_and(char::is_ascii_digit) {
                *at += 1;
            }
            letters[start..*at].iter().collect::<String>().parse().ok()
        };
        spec.width = number(&mut at).unwrap_or(0);
        if let Some(grouping @ (',' | '_')) = letters.get(at) {
            spec.grouping = Some(*grouping);
            at += 1;
        }
        if letters.get(at) == Some(&'.') {
            at += 1;
            spec.precision = Some(number(&mut at)?);
        }
        spec.kind = letters.get(at).copied();
        at += usize::from(spec.kind.is_some());
        let known = matches!(
            spec.kind,
            None | Some('s' | 'd' | 'f' | 'F' | 'e' | 'E' | 'g' | 'G' | '%' | 'x' | 'X' | 'b' | 'o')
        );
        let small = spec.width <= Self::SIZE_MAX && spec.precision.unwrap_or(0) <= Self::SIZE_MAX;
        (at == letters.len() && known && small).then_some(spec)
    }

    /// `format(value, spec)`.
    pub(crate) fn format(&self, value: &Value) -> Outcome<String> {
        match value {
            Value::Str(text) => self.format_text(text),
            Value::Int(int) => self.format_int(*int),
            // A bool without a type is its text, with one an int; padded without a type it is an int too.
            Value::Bool(flag) if *self == Self::PLAIN => Ok(if *flag { "True" } else { "False" }.to_owned()),
            Value::Bool(flag) => self.format_int((*flag).into()),
            Value::Float(float) => self.format_float(*float),
            // `Enum` formats as its text does.
            Value::Enum(..) => self.format_text(&str_of(value)?),
            _ if *self == Self::PLAIN => str_of(value),
            // `object.__format__` takes no specification; dates take the format of `strftime`.
            Value::Date(_) | Value::Datetime(_) => Err(Raised::NOT_COMPILED),
            _ => Err(Raised::TYPE),
        }
    }

    fn format_text(&self, text: &str) -> Outcome<String> {
        if !matches!(self.kind, None | Some('s'))
            || self.sign.is_some()
            || self.grouping.is_some()
            || self.align == Some('=')
        {
            return Err(Raised::VALUE);
        }
        let cut: String = match self.precision {
            Some(letters) => text.chars().take(letters).collect(),
            None => text.to_owned(),
        };
        // A leading zero fills texts with zeros, on the right.
        let fill = if self.zero { '0' } else { self.fill };
        Ok(self.padded(&cut, fill, self.align.unwrap_or('<')))
    }

    fn format_int(&self, int: i64) -> Outcome<String> {
        let magnitude = int.unsigned_abs();
        let digits = match self.kind {
            None | Some('d') => magnitude.to_string(),
            Some('x') => format!("{magnitude:x}"),
            Some('X') => format!("{magnitude:X}"),
            Some('b') => format!("{magnitude:b}"),
            Some('o') => format!("{magnitude:o}"),
            Some('e' | 'E' | 'f' | 'F' | 'g' | 'G' | '%') => return self.format_float(int as f64),
            _ => return Err(Raised::VALUE),
        };
        if self.precision.is_some() {
            return Err(Raised::VALUE);
        }
        let every = match self.kind {
            None | Some('d') => 3,
            _ if self.grouping == Some(',') => return Err(Raised::VALUE),
            _ => 4,
        };
        Ok(self.number(int < 0, &digits, "", every))
    }

    fn format_float(&self, float: f64) -> Outcome<String> {
        if !matches!(self.kind, None | Some('e' | 'E' | 'f' | 'F' | 'g' | 'G' | '%')) {
            return Err(Raised::VALUE);
        }
        let upper = matches!(self.kind, Some('E' | 'F' | 'G'));
        let negative = float.is_sign_negative() && !float.is_nan();
        let magnitude = float.abs();
        let percent = if self.kind == Some('%') { "%" } else { "" };
        if let Some(text) = not_finite(magnitude) {
            let text = if upper { text.to_uppercase() } else { text.to_owned() };
            return Ok(self.number(negative, "", &format!("{text}{percent}"), 3));
        }
        let text = match self.kind {
            Some('f' | 'F') => format!("{magnitude:.*}", self.precision.unwrap_or(6)),
            Some('%') => {
                let scaled = magnitude * 100.0;
                if scaled.is_infinite() {
                    return Ok(self.number(negative, "", "inf%", 3));
                }
                format!("{scaled:.*}", self.precision.unwrap_or(6))
            }
            Some('e' | 'E') => {
                let (_, digits, exponent) = significant(magnitude, self.precision.unwrap_or(6) + 1);
                scientific(&digits, exponent, if upper { 'E' } else { 'e' })
            }
            Some('g' | 'G') => self.general(magnitude, upper, false),
            // Without a type: like `repr`, or like `g` with a digit behind the point.
            _ if self.precision.is_none() => float_repr(magnitude),
            _ => self.general(magnitude, false, true),
        };
        let whole = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
        Ok(self.number(negative, &text[..whole], &format!("{}{percent}", &text[whole..]), 3))
    }

    fn general(&self, magnitude: f64, upper: bool, untyped: bool) -> String {
        let precision = self.precision.unwrap_or(6).max(1);
        let (_, digits, exponent) = significant(magnitude, precision);
        let kept = digits.trim_end_matches('0');
        let digits = if kept.is_empty() { "0" } else { kept };
        // Without a type the point needs a digit behind it, which counts.
        let limit = precision as i32 - i32::from(untyped);
        if exponent < -4 || exponent >= limit {
            return scientific(digits, exponent, if upper { 'E' } else { 'e' });
        }
        positional(digits, exponent, untyped)
    }

    /// Sign, grouped digits and what follows them, padded to the width.
    fn number(&self, negative: bool, digits: &str, rest: &str, every: usize) -> String {
        let sign = match (negative, self.sign) {
            (true, _) => "-",
            (false, Some('+')) => "+",
            (false, Some(' ')) => " ",
            _ => "",
        };
        let (fill, align) = match self.align {
            Some(align) => (self.fill, align),
            None if self.zero => ('0', '='),
            None => (self.fill, '>'),
        };
        // Beside an alignment of its own a leading zero only fills.
        let fill = if self.zero { '0' } else { fill };
        let zeros =
            if fill == '0' && align == '=' { self.width.saturating_sub(sign.len() + rest.chars().count()) } else { 0 };
        let digits = match self.grouping {
            Some(separator) if !digits.is_empty() => grouped(digits, separator, every, zeros),
            _ => digits.to_owned(),
        };
        let body = format!("{digits}{rest}");
        if align == '=' {
            let missing = self.width.saturating_sub(sign.len() + body.chars().count());
            return format!("{sign}{}{body}", fill.to_string().repeat(missing));
        }
        self.padded(&format!("{sign}{body}"), fill, align)
    }

    fn padded(&self, text: &str, fill: char, align: char) -> String {
        let missing = self.width.saturating_sub(text.chars().count());
        let left = match align {
            '<' => 0,
            '^' => missing / 2,
            _ => missing,
        };
        let fill = |count: usize| fill.to_string().repeat(count);
        format!("{}{text}{}", fill(left), fill(missing - left))
    }
}

/// Digits in groups, with leading zeros until they are at least `width` wide; a separator never leads.
fn grouped(digits: &str, separator: char, every: usize, width: usize) -> String {
    let mut reversed: Vec<char> = Vec::new();
    let mut count = 0;
    let mut source = digits.chars().rev();
    loop {
        let next = match source.next() {
            Some(digit) => digit,
            None if reversed.len() < width => '0',
            None => break,
        };
        if count > 0 && count % every == 0 {
            reversed.push(separator);
        }
        reversed.push(next);
        count += 1;
    }
    reversed.into_iter().rev().collect()
}
