//! What a worker says of a failed row beyond its code: which exception at which line, or which types.
//!
//! A worker runs a tenant's code on a tenant's data, so its words may hold values. Only words that were there before any
//! data are let through: names of built-in exceptions and types, classes and lines of the project itself.

use std::collections::{BTreeMap, HashSet};

use creta_model::{Bundle, Type};

/// Built-in exceptions that a resolver may raise.
const EXCEPTIONS: &[&str] = &[
    "ArithmeticError",
    "AssertionError",
    "AttributeError",
    "BlockingIOError",
    "BrokenPipeError",
    "BufferError",
    "CancelledError",
    "ChildProcessError",
    "ConnectionAbortedError",
    "ConnectionError",
    "ConnectionRefusedError",
    "ConnectionResetError",
    "EOFError",
    "Exception",
    "ExceptionGroup",
    "FileExistsError",
    "FileNotFoundError",
    "FloatingPointError",
    "GeneratorExit",
    "ImportError",
    "IndexError",
    "InterruptedError",
    "InvalidOperation",
    "IsADirectoryError",
    "JSONDecodeError",
    "KeyError",
    "LookupError",
    "MemoryError",
    "ModuleNotFoundError",
    "NameError",
    "NotADirectoryError",
    "NotImplementedError",
    "OSError",
    "OverflowError",
    "PermissionError",
    "ProcessLookupError",
    "RecursionError",
    "ReferenceError",
    "RuntimeError",
    "StopAsyncIteration",
    "StopIteration",
    "SystemExit",
    "TimeoutError",
    "TypeError",
    "UnboundLocalError",
    "UnicodeDecodeError",
    "UnicodeEncodeError",
    "UnicodeError",
    "ValueError",
    "ZeroDivisionError",
];

/// Built-in types that a resolver may return by mistake.
const TYPES: &[&str] = &[
    "bool",
    "bytes",
    "complex",
    "date",
    "datetime",
    "Decimal",
    "dict",
    "float",
    "frozenset",
    "generator",
    "int",
    "list",
    "NoneType",
    "set",
    "str",
    "timedelta",
    "tuple",
];

const BEYOND: &[&str] = &["an int beyond 64 bits", "a timedelta beyond 64 bits of microseconds"];

/// The words of one project.
#[derive(Debug)]
pub(crate) struct Vocabulary {
    /// Lines of each file.
    lines: BTreeMap<String, usize>,
    classes: HashSet<String>,
    /// What an output may be expected to be, and what could be there instead.
    expected: HashSet<String>,
    got: HashSet<String>,
}

impl Vocabulary {
    pub(crate) fn of(bundle: &Bundle) -> Self {
        let lines = bundle.modules.iter().map(|(path, text)| (path.clone(), text.lines().count())).collect();
        let classes: HashSet<String> = bundle.modules.values().flat_map(|text| classes(text)).collect();
        let mut words = Self { lines, classes, expected: HashSet::from(["a tuple".into()]), got: HashSet::new() };
        let known = TYPES.iter().map(|name| (*name).to_owned()).chain(words.classes.iter().cloned());
        words.got = known.flat_map(|name| [format!("a {name}"), name]).collect();
        words.got.extend(
            [
                "None",
                "a datetime without a time zone",
                "a text with half of a surrogate pair",
                "a decimal that is not finite",
                "a decimal of more than 38 digits",
                "a list with a `None` item",
            ]
            .map(str::to_owned),
        );
        for resolver in &bundle.graph.resolvers {
            words.expected.insert(format!("{} results", resolver.outputs.len()));
            for path in &resolver.outputs {
                let Ok((ty, _)) = super::protocol::output(&bundle.graph, resolver, path) else { continue };
                words.expected.insert(format!("{} for `{path}`", ty.python_name()));
                words.expect(&ty);
            }
        }
        words
    }

    fn expect(&mut self, ty: &Type) {
        self.expected.insert(ty.python_name());
        match ty {
            Type::Enum { name, .. } => drop(self.expected.insert(format!("a member of `{name}`"))),
            Type::List { item, .. } => self.expect(item),
            Type::Struct { fields, .. } => {
                for field in fields {
                    self.got.insert(format!("no `{}`", field.name));
                    self.expect(&field.ty);
                }
            }
            _ => {}
        }
    }

    /// `ValueError at features/risk.py:41` as the middle of a sentence; what is not known is left out.
    pub(crate) fn raised(&self, detail: &str) -> String {
        let (kind, place) = detail.split_once(" at ").map_or((detail, None), |(kind, place)| (kind, Some(place)));
        let known = EXCEPTIONS.contains(&kind) || self.classes.contains(kind);
        let kind = if known { format!("`{kind}`") } else { "an exception".to_owned() };
        let place = place.filter(|place| self.is_place(place));
        place.map_or_else(|| format!("raised {kind}"), |place| format!("raised {kind} at {place}"))
    }

    fn is_place(&self, place: &str) -> bool {
        let Some((file, line)) = place.rsplit_once(':') else { return false };
        let lines = self.lines.get(file).copied().unwrap_or(0);
        line.parse::<usize>().is_ok_and(|number| (1..=lines).contains(&number) && number.to_string() == line)
    }

    /// `expected float, got a str`, where both are types that can be.
    pub(crate) fn mismatch<'d>(&self, detail: &'d str) -> Option<&'d str> {
        let (expected, got) = detail.strip_prefix("expected ")?.rsplit_once(", got ")?;
        let is_count = got.len() <= 4 && !got.is_empty() && got.bytes().all(|byte| byte.is_ascii_digit());
        let known = self.expected.contains(expected)
            && (self.got.contains(got) || (is_count && expected.ends_with(" results")));
        known.then_some(detail)
    }

    /// What a result was that 64 bits do not hold.
    pub(crate) fn beyond(detail: &str) -> &'static str {
        BEYOND.iter().find(|known| **known == detail).unwrap_or(&BEYOND[0])
    }
}

/// Names of the classes that a module's text defines.
fn classes(text: &str) -> impl Iterator<Item = String> + '_ {
    let name = |line: &str| {
        let rest = line.trim_start().strip_prefix("class ")?.trim_start();
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        (end > 0).then(|| rest[..end].to_owned())
    };
    text.lines().filter_map(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn words() -> Vocabulary {
        let place = json!({"file": "shop.py", "line": 1});
        let feature = |name: &str, role: &str, ty: &str| json!({"name": name, "type": {"kind": ty}, "role": role, "location": place});
        let bundle = json!({
            "format": "creta.bundle/1", "lock": {"python": "3.11"},
            "modules": {"shop.py": "class Closed(Exception):\n    pass\n\ndef next(id):\n    raise Closed\n"},
            "graph": {
                "format": "creta.graph/1", "project": "shop",
                "entities": [{"name": "User", "location": place,
                              "features": [feature("id", "key", "int"), feature("next", "value", "float")]}],
                "resolvers": [{"name": "next", "module": "shop", "mode": "scalar", "code": "", "location": place,
                               "inputs": [{"name": "id", "from": {"path": "User.id"}}], "outputs": ["User.next"]}],
            },
        });
        Vocabulary::of(&serde_json::from_value(bundle).expect("a bundle"))
    }

    #[test]
    fn exceptions_lines_and_types_of_the_project_are_told() {
        let words = words();
        assert_eq!(words.raised("ValueError at shop.py:5"), "raised `ValueError` at shop.py:5");
        assert_eq!(words.raised("Closed"), "raised `Closed`");
        for known in
            ["expected float, got a str", "expected float for `User.next`, got None", "expected a tuple, got int"]
        {
            assert_eq!(words.mismatch(known), Some(known));
        }
    }

    #[test]
    fn attack_a_worker_cannot_tell_values_in_what_it_says_of_errors() {
        let words = words();
        for (said, told) in [
            ("Hunter2Error at shop.py:5", "raised an exception at shop.py:5"),
            ("ValueError at shop.py:6", "raised `ValueError`"),
            ("ValueError at shop.py:05", "raised `ValueError`"),
            ("ValueError at hunter2.py:1", "raised `ValueError`"),
            ("ValueError at shop.py:5 hunter2", "raised `ValueError`"),
            ("", "raised an exception"),
        ] {
            assert_eq!(words.raised(said), told, "{said}");
        }
        for said in
            ["expected float, got hunter2", "expected hunter2, got a str", "hunter2", "expected float, got 4111"]
        {
            assert_eq!(words.mismatch(said), None, "{said}");
        }
        assert_eq!(Vocabulary::beyond("hunter2"), "an int beyond 64 bits");
    }
}
