//! How deep code may be nested: every walk over it recurses, and a stack that runs out ends the process.

use crate::program::{Function, Line, Node, Op, Stmt};

/// Operators and brackets around a place of a source that is parsed.
const NESTED_MAX: usize = 500;

/// Columns of white space before a line.
const INDENT_MAX: usize = 400;

/// Expressions, statements and calls within one another in a program.
pub(crate) const DEPTH_MAX: usize = 200;

/// Functions that call one another.
pub(crate) const CALLS_MAX: usize = 50;

/// Stack of a thread that compiles: enough for the deepest source by these limits many times over.
pub(crate) const STACK_BYTES: usize = 256 << 20;

/// Whether a source may be parsed. Counts operators, words and brackets that could stand around one another, without
/// parsing: more than there are, never fewer.
pub(crate) fn is_shallow(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (mut at, mut open, mut around, mut here) = (0, Vec::new(), 0, 0);
    let mut indent = Some(0);
    while at < bytes.len() {
        let byte = bytes[at];
        if let (Some(columns), b' ' | b'\t' | b'\x0c') = (indent, byte) {
            if columns == INDENT_MAX {
                return false;
            }
            indent = Some(columns + 1);
            at += 1;
            continue;
        }
        indent = None;
        at += 1;
        match byte {
            b'#' => at += bytes[at..].iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len() - at),
            b'"' | b'\'' => at = after_text(bytes, at - 1),
            b'\\' => at += 1,
            b'\n' => {
                indent = Some(0);
                if open.is_empty() {
                    here = 0;
                }
            }
            b'(' | b'[' | b'{' => {
                open.push(here + 1);
                around += here + 1;
                here = 0;
            }
            b')' | b']' | b'}' => {
                here = open.pop().unwrap_or(0) + 1;
                around -= (here - 1).min(around);
            }
            b',' => here = 0,
            b if b.is_ascii_alphabetic() => {
                let len = bytes[at..].iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
                at += len;
                here += 1;
            }
            b if b.is_ascii_punctuation() && b != b'_' => here += 1,
            _ => {}
        }
        if around + here > NESTED_MAX {
            return false;
        }
    }
    true
}

/// The byte behind a text that begins at a quote.
fn after_text(bytes: &[u8], start: usize) -> usize {
    let quote = bytes[start];
    let long = bytes[start..].starts_with(&[quote; 3]);
    let end: &[u8] = if long { &[quote; 3] } else { &[quote] };
    let mut at = start + end.len();
    while at < bytes.len() {
        if bytes[at..].starts_with(end) {
            return at + end.len();
        }
        match bytes[at] {
            b'\\' => at += 2,
            // Without its end it is no text, which the parser says.
            b'\n' if !long => return at,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// How deep a call of the last function goes: statements, expressions and the functions that it calls.
pub(crate) fn depth(functions: &[Function]) -> usize {
    let mut known = Vec::with_capacity(functions.len());
    for function in functions {
        let depth = lines(&function.body, &known) + 1;
        known.push(depth);
    }
    known.last().copied().unwrap_or(0)
}

fn lines(body: &[Line], known: &[usize]) -> usize {
    let of = |line: &Line| match &line.stmt {
        Stmt::Assign(_, at) | Stmt::Expr(at) | Stmt::Return(at) => node(at, known),
        Stmt::If(test, then, otherwise) => node(test, known).max(lines(then, known)).max(lines(otherwise, known)),
        Stmt::For(_, items, body, otherwise) => node(items, known).max(lines(body, known)).max(lines(otherwise, known)),
        Stmt::Raise(_) | Stmt::Break | Stmt::Continue => 0,
    };
    body.iter().map(of).max().unwrap_or(0) + 1
}

fn node(of: &Node, known: &[usize]) -> usize {
    let mut deepest = 0;
    of.each_child(&mut |inner| deepest = deepest.max(node(inner, known)));
    1 + match &of.op {
        Op::Function(number, _) => deepest.max(known.get(*number).copied().unwrap_or(0)),
        // Each is within the one before it where many rows are run at once, and so are the parts of a comprehension.
        Op::Chain(_, rest) => deepest + rest.len(),
        Op::And(nodes) | Op::Or(nodes) => deepest + nodes.len(),
        Op::Comprehension(comprehension) => deepest + comprehension.generators.len(),
        _ => deepest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_sources_are_shallow() {
        let table: String = (0..10_000).map(|row| format!("    'key{row}': ({row}, -1.5),\n")).collect();
        for text in [
            "def f(a):\n    return (a + 1) * 2 if a else 'it''s' # ((((\n",
            "'''((((((\n'''\nx = \"\\\"((((\"\n",
            &format!("TABLE = {{\n{table}}}\n"),
            &"def g(x):\n    if x:\n        return {'a': [1, 2]}[0]\n".repeat(2_000),
        ] {
            assert!(is_shallow(text), "{text:.60}");
        }
    }

    #[test]
    fn attack_sources_that_would_exhaust_a_stack_are_not_parsed() {
        for text in [
            "x = ".to_owned() + &"(".repeat(100_000),
            "x = ".to_owned() + &"not ".repeat(100_000) + "1",
            "x = ".to_owned() + &"-".repeat(100_000) + "1",
            "x = 1".to_owned() + &" + 1".repeat(100_000),
            "x = a".to_owned() + &".b".repeat(100_000),
            "x = a".to_owned() + &"()".repeat(100_000),
            "x = ".to_owned() + &"1 if a else ".repeat(100_000) + "1",
            "x = ".to_owned() + &"[0, ".repeat(100_000),
            (0..5_000).map(|depth| format!("{}if x:\n", " ".repeat(depth))).collect(),
        ] {
            assert!(!is_shallow(&text), "{text:.40}");
        }
    }
}
