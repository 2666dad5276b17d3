//! Programs from a seed: every construct that is compiled, and some that are not.

use creta_model::Type;

use crate::support::parse_type;

/// A small generator of numbers (SplitMix64), so that a seed means the same program everywhere.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % sides as u64) as usize
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.roll(from.len())]
    }
}

/// What every module begins with.
const HEAD: &str = "import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from types import MappingProxyType
LIMITS = (3, 2.5, -1)
MAPPING = MappingProxyType({'a b': 1, '7': -3})
NAMES = frozenset({'a b', 'ABC', '7'})
class Sky(Enum):
    FINE = 'fine'
    ROUGH = 'rough'
@dataclass(frozen=True)
class Point:
    x: float
    y: float = 0.5
def helper(a, b=2):
    if a is None:
        return b
    return a + b if b else a
def early(items, limit):
    total = 0
    for item in items:
        if item == limit:
            break
        if not item:
            continue
        total += item
    else:
        return total, True
    return total, False
";

/// What now and then stands above that: other ways to give `abs` and `pow` another meaning.
const SHADOWS: &[&str] = &[
    "from math import *\n",
    "if (abs := float):\n    pass\n",
    "for abs in (float,):\n    pass\n",
    "def set_up():\n    global abs\n    abs = float\nset_up()\n",
    "from contextlib import nullcontext\nwith nullcontext(float) as abs:\n    pass\n",
    "match float:\n    case abs:\n        pass\n",
    "[abs := float for _ in (1, 2)]\n",
];

const TYPES: &[&str] = &[
    "int",
    "float",
    "str",
    "bool",
    "date",
    "datetime",
    "timedelta",
    "list int",
    "list float",
    "list str",
    "Sky",
    "Point",
];

/// A module with a function `f`, and its parameters.
pub(crate) struct Generated {
    pub(crate) source: String,
    pub(crate) parameters: Vec<(Type, bool)>,
}

struct Writer<'d> {
    dice: &'d mut Dice,
    /// Names with their types.
    names: Vec<(String, String)>,
    fresh: usize,
}

pub(crate) fn program(dice: &mut Dice) -> Generated {
    let count = 2 + dice.roll(4);
    let mut names = Vec::new();
    let mut parameters = Vec::new();
    for at in 0..count {
        let ty = TYPES[dice.roll(TYPES.len())];
        let optional = dice.roll(4) == 0;
        names.push((format!("p{at}"), ty.to_owned()));
        parameters.push((parse_type(ty), optional));
    }
    let arguments = names.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>().join(", ");
    let mut writer = Writer { dice, names, fresh: 0 };
    let mut body = String::new();
    // Half of the programs are one expression, in which a rare operation is not hidden behind what failed before it.
    let statements = [0, 0, 0, 1, 2, 4][writer.dice.roll(6)];
    for _ in 0..statements {
        writer.statement(1, &mut body);
    }
    let ty = TYPES[writer.dice.roll(TYPES.len())];
    let depth = [1, 1, 2, 3][writer.dice.roll(4)];
    let last = writer.expr(ty, depth);
    let shadow = if writer.dice.roll(25) == 0 { writer.dice.pick(SHADOWS) } else { "" };
    Generated { source: format!("{shadow}{HEAD}def f({arguments}):\n{body}    return {last}\n"), parameters }
}

impl Writer<'_> {
    fn any_type(&mut self) -> &'static str {
        TYPES[self.dice.roll(TYPES.len())]
    }

    fn statement(&mut self, indent: usize, out: &mut String) {
        let pad = "    ".repeat(indent);
        let depth = if indent > 2 { 0 } else { self.dice.roll(9) };
        match depth {
            1 => {
                let test = self.expr("bool", 2);
                out.push_str(&format!("{pad}if {test}:\n"));
                let before = self.names.len();
                self.statement(indent + 1, out);
                self.names.truncate(before);
                if self.dice.roll(2) == 0 {
                    out.push_str(&format!("{pad}elif {}:\n", self.expr("bool", 1)));
                    let ty = self.any_type();
                    out.push_str(&format!("{pad}    return {}\n", self.expr(ty, 2)));
                    out.push_str(&format!("{pad}else:\n"));
                    self.statement(indent + 1, out);
                    self.names.truncate(before);
                }
            }
            2 => {
                let list = ["list int", "list float", "list str"][self.dice.roll(3)];
                let items = self.expr(list, 1);
                let numbered = self.dice.roll(6) == 0;
                let items = if numbered { self.lazily(list, &items, 1) } else { items };
                let name = self.name(&list[5..]);
                if numbered {
                    let number = self.name("int");
                    out.push_str(&format!("{pad}for {number}, {name} in enumerate({items}):\n"));
                } else {
                    out.push_str(&format!("{pad}for {name} in {items}:\n"));
                }
                self.statement(indent + 1, out);
                if self.dice.roll(3) == 0 {
                    out.push_str(&format!("{pad}    if {}:\n{pad}        break\n", self.expr("bool", 1)));
                }
            }
            3 => {
                let ty = ["int", "str", "Sky"][self.dice.roll(3)];
                let subject = self.expr(ty, 1);
                let (one, two) = (self.constant(ty), self.constant(ty));
                let three = self.constant(ty);
                let plain = |text: &str| !text.contains(['(', '+']) && text.len() < 25;
                if ![&one, &two, &three].iter().all(|text| plain(text)) {
                    return self.statement(indent, out);
                }
                out.push_str(&format!("{pad}match {subject}:\n{pad}    case {one}:\n"));
                self.statement(indent + 2, out);
                let guard = self.expr("bool", 1);
                out.push_str(&format!("{pad}    case {two} | {three} if {guard}:\n{pad}        pass\n"));
                out.push_str(&format!("{pad}    case _:\n{pad}        pass\n"));
            }
            4 => {
                let ty = self.any_type();
                out.push_str(&format!("{pad}if {}:\n{pad}    return {}\n", self.expr("bool", 2), self.expr(ty, 2)));
            }
            5 => {
                let found = self.names.iter().rposition(|(_, ty)| matches!(&**ty, "int" | "float"));
                let Some(at) = found else { return self.statement(indent, out) };
                let (name, ty) = self.names[at].clone();
                let op = self.dice.pick(&["+", "-", "*", "//", "%", "/"]);
                out.push_str(&format!("{pad}{name} {op}= {}\n", self.expr(&ty, 1)));
            }
            _ => {
                let ty = self.any_type();
                let value = self.expr(ty, 3);
                let name = self.name(ty);
                out.push_str(&format!("{pad}{name} = {value}\n"));
            }
        }
    }

    /// Items made of the items of a list: now and then each when it is drawn, which is refused beside anything else.
    fn lazily(&mut self, list: &str, items: &str, d: usize) -> String {
        let x = self.name(&list[5..]);
        let result = self.expr(&list[5..], d);
        self.names.retain(|(name, _)| *name != x);
        let (open, close) = if self.dice.roll(5) == 0 { ('(', ')') } else { ('[', ']') };
        format!("{open}{result} for {x} in {items}{close}")
    }

    fn name(&mut self, ty: &str) -> String {
        self.fresh += 1;
        let name = format!("v{}", self.fresh);
        self.names.push((name.clone(), ty.to_owned()));
        name
    }

    fn constant(&mut self, ty: &str) -> String {
        match ty {
            "int" => self
                .dice
                .pick(&["0", "1", "2", "-1", "3", "7", "-10", "100", "9223372036854775807", "-9223372036854775808"])
                .to_owned(),
            "float" => self
                .dice
                .pick(&[
                    "0.0",
                    "-0.0",
                    "1.5",
                    "0.1",
                    "-2.5",
                    "1e16",
                    "1e-7",
                    "3.0",
                    "1e300",
                    "math.inf",
                    "math.nan",
                    "0.5",
                    "2.675",
                    // Halfway between two texts of the fewest digits.
                    "1700000000000000.25",
                    "140737488355328.125",
                ])
                .to_owned(),
            "str" => self
                .dice
                .pick(&[
                    "''",
                    "'a b'",
                    "'ABC'",
                    "' x '",
                    "'7'",
                    "'-12'",
                    "'1e3'",
                    "'é'",
                    "'e\\u0301'",
                    "'\\U0001F600!'",
                    "'ß'",
                    "'a,b,,c'",
                    "'\\t\\x1f'",
                    "'12\\x1d'",
                    "'\\x1f1.5'",
                    "'\\x0b-3\\x0c'",
                    "'nan'",
                    "'1_000'",
                ])
                .to_owned(),
            "bool" => self.dice.pick(&["True", "False"]).to_owned(),
            "date" => self
                .dice
                .pick(&["date(2024, 2, 29)", "date(1, 1, 1)", "date(9999, 12, 31)", "date(2025, 3, 30)"])
                .to_owned(),
            "datetime" => self
                .dice
                .pick(&[
                    "datetime(2025, 3, 30, 1, 0, tzinfo=UTC)",
                    "datetime(2024, 2, 29, 23, 59, 59, 999999, tzinfo=UTC)",
                    "datetime(1969, 12, 31, tzinfo=UTC)",
                ])
                .to_owned(),
            "timedelta" => self
                .dice
                .pick(&[
                    "timedelta(days=1)",
                    "timedelta(hours=-3)",
                    "timedelta(microseconds=1)",
                    "timedelta(days=400, seconds=7)",
                    "timedelta(0)",
                    "timedelta(hours=1.5)",
                ])
                .to_owned(),
            "Sky" => self.dice.pick(&["Sky.FINE", "Sky.ROUGH"]).to_owned(),
            "Point" => "Point(1.0)".to_owned(),
            "list int" => self.dice.pick(&["[]", "[1, 2, 3]", "[-1, 0]", "[7, 7, -7]"]).to_owned(),
            "list float" => self.dice.pick(&["[0.1, 0.2, 0.3]", "[1e16, 1.0, -1e16]", "[]", "[-0.0, 2.5]"]).to_owned(),
            _ => self.dice.pick(&["['a', 'B']", "[]", "['', 'é', 'a b']"]).to_owned(),
        }
    }

    /// An expression of a type; now and then of another, since programs fail too.
    fn expr(&mut self, wanted: &str, depth: usize) -> String {
        let ty = if self.dice.roll(40) == 0 { self.any_type() } else { wanted };
        let matching: Vec<String> =
            self.names.iter().filter(|(_, own)| own == ty).map(|(name, _)| name.clone()).collect();
        if depth == 0 || self.dice.roll(5) == 0 {
            if !matching.is_empty() && self.dice.roll(4) > 0 {
                return matching[self.dice.roll(matching.len())].clone();
            }
            return self.constant(ty);
        }
        let d = depth - 1;
        let general = self.dice.roll(14);
        match general {
            0 => return format!("({} if {} else {})", self.expr(ty, d), self.expr("bool", d), self.expr(ty, d)),
            1 => return format!("({} or {})", self.expr(ty, d), self.expr(ty, d)),
            2 => return format!("({} and {})", self.expr(ty, d), self.expr(ty, d)),
            3 => {
                let other = self.any_type();
                return format!("({}, {})[{}]", self.expr(ty, d), self.expr(other, d), 0);
            }
            _ => {}
        }
        match ty {
            "int" => self.int(d),
            "float" => self.float(d),
            "str" => self.text(d),
            "bool" => self.truth(d),
            "date" | "datetime" | "timedelta" => self.time(ty, d),
            "Sky" => match self.dice.roll(2) {
                0 => format!("Sky({})", self.dice.pick(&["'fine'", "'rough'", "'other'", "p0"])),
                _ => self.constant("Sky"),
            },
            "Point" => format!("Point({}, y={})", self.expr("float", d), self.expr("float", d)),
            list => self.list(list, d),
        }
    }

    /// An expression of one of these types.
    fn expr_of(&mut self, types: &[&'static str], depth: usize) -> String {
        let ty = types[self.dice.roll(types.len())];
        self.expr(ty, depth)
    }

    fn number(&mut self, d: usize) -> String {
        let ty = ["int", "float", "int", "float", "bool"][self.dice.roll(5)];
        self.expr(ty, d)
    }

    fn int(&mut self, d: usize) -> String {
        match self.dice.roll(28) {
            22 => {
                let items = self.expr("list int", d);
                let lazy = self.lazily("list int", &items, d);
                format!("sum({lazy}, {})", self.number(d))
            }
            23 => {
                let items = self.expr("list int", d);
                let lazy = self.lazily("list int", &items, d);
                format!("sum(a * b for a, b in zip({}, {lazy}))", self.expr("list int", d))
            }
            24 => {
                format!("({}).{}", self.expr("int", d), self.dice.pick(&["real", "imag", "numerator", "denominator"]))
            }
            25 => format!("ord(chr({}))", self.expr("int", d)),
            26 => self.displayed(d),
            27 => format!("pow({}, {})", self.expr("int", d), self.dice.roll(4)),
            0..=3 => {
                let op = self.dice.pick(&["+", "-", "*", "//", "%", "&", "|", "^"]);
                format!("({} {op} {})", self.expr("int", d), self.expr("int", d))
            }
            4 => format!("({} ** {})", self.expr("int", d), self.dice.roll(4)),
            5 => format!("(-{})", self.expr("int", d)),
            6 => format!("abs({})", self.expr("int", d)),
            7 => format!("round({})", self.expr("float", d)),
            8 => format!("round({}, {})", self.expr("int", d), self.dice.pick(&["-1", "-2", "0", "3", "None", "-25"])),
            9 => format!("int({})", self.number(d)),
            10 => format!("int({})", self.expr("str", d)),
            11 => format!("len({})", self.expr_of(&["str", "list int", "list str"], d)),
            12 => format!("math.{}({})", ["floor", "ceil", "trunc"][self.dice.roll(3)], self.number(d)),
            13 => format!("{}({}, {})", ["min", "max"][self.dice.roll(2)], self.number(d), self.number(d)),
            14 => format!("{}({})", ["sum", "min", "max"][self.dice.roll(3)], self.expr("list int", d)),
            15 => {
                let ty = ["date", "datetime"][self.dice.roll(2)];
                let part =
                    ["year", "month", "day", "weekday()", "isoweekday()", "toordinal()", "isocalendar()[1]", "hour"]
                        [self.dice.roll(8)];
                format!("{}.{part}", self.expr(ty, d))
            }
            16 => format!("{}.{}", self.expr("timedelta", d), ["days", "seconds", "microseconds"][self.dice.roll(3)]),
            17 => format!(
                "{}.{}({})",
                self.expr("str", d),
                ["find", "count", "index", "rfind"][self.dice.roll(4)],
                self.expr("str", d)
            ),
            18 => format!("helper({}, {})", self.expr("int", d), self.expr("int", d)),
            19 => format!("early({}, {})[0]", self.expr("list int", d), self.expr("int", d)),
            20 => format!("{}[{}]", self.expr("list int", d), self.expr("int", d)),
            _ => {
                let x = self.name("int");
                let items = self.expr("list int", d);
                let (item, test) = (self.expr("int", d), self.expr("bool", d));
                self.names.pop();
                self.names.retain(|(name, _)| *name != x);
                format!("{}({item} for {x} in {items} if {test})", ["sum", "max", "min"][self.dice.roll(3)])
            }
        }
    }

    /// The size of a set or dictionary that is written down: few items or many, some that raise or have no hash.
    fn displayed(&mut self, d: usize) -> String {
        let count = [2, 17, 33][self.dice.roll(3)];
        let is_set = self.dice.roll(2) == 0;
        let items: Vec<String> = (0..count)
            .map(|at| {
                let item = match self.dice.roll(12) {
                    0 => format!("({} // {})", self.expr("int", 0), self.expr("int", 0)),
                    1 => self.expr("list int", 0),
                    2 => self.expr("str", 0),
                    3 => self.expr("int", d.min(1)),
                    _ => at.to_string(),
                };
                if is_set { item } else { format!("{item}: {}", self.expr("int", 0)) }
            })
            .collect();
        format!("len({{{}}})", items.join(", "))
    }

    fn float(&mut self, d: usize) -> String {
        match self.dice.roll(18) {
            17 => format!("{}.{}", self.expr("float", d), self.dice.pick(&["real", "imag"])),
            0..=4 => {
                let op = self.dice.pick(&["+", "-", "*", "/", "//", "%"]);
                format!("({} {op} {})", self.number(d), self.number(d))
            }
            // The exponent is a float: the power of two large ints would never end in CPython.
            5 => format!("({} ** float({}))", self.number(d), self.number(d)),
            6 => format!(
                "round({}, {})",
                self.expr("float", d),
                self.dice.pick(&["2", "0", "-1", "1", "17", "-300", "400"])
            ),
            7 => format!("float({})", self.number(d)),
            8 => format!("float({})", self.expr("str", d)),
            9 | 10 => {
                let function = [
                    "sqrt", "exp", "log", "log10", "log2", "log1p", "expm1", "sin", "cos", "tan", "atan", "asin",
                    "acos", "tanh", "sinh", "cosh", "fabs", "degrees", "radians",
                ][self.dice.roll(19)];
                format!("math.{function}({})", self.number(d))
            }
            11 => {
                let function = ["atan2", "fmod", "copysign", "pow", "log"][self.dice.roll(5)];
                format!("math.{function}({}, {})", self.number(d), self.number(d))
            }
            12 if self.dice.roll(2) == 0 => {
                let best = ["min", "max"][self.dice.roll(2)];
                format!("{best}({}, {})", self.expr("float", d), self.expr("float", d))
            }
            12 => format!(
                "{}({}, {}, {})",
                ["min", "max"][self.dice.roll(2)],
                self.expr("float", d),
                self.number(d),
                self.expr("float", d)
            ),
            13 => format!("{}({})", ["sum", "min", "max"][self.dice.roll(3)], self.expr("list float", d)),
            14 => format!("{}.total_seconds()", self.expr("timedelta", d)),
            15 => format!("{}.{}", self.expr("Point", d), ["x", "y"][self.dice.roll(2)]),
            _ => format!(
                "({} {} {})",
                self.expr("timedelta", d),
                self.dice.pick(&["/", "//"]),
                self.expr("timedelta", d)
            ),
        }
    }

    fn text(&mut self, d: usize) -> String {
        match self.dice.roll(21) {
            20 => self
                .dice
                .pick(&["f'{MAPPING!r}'", "str(MAPPING)", "f'{MAPPING}'", "repr({'a': 1.5})", "f'{[0.1, 1e16]!r:>20}'"])
                .to_owned(),
            0 => format!("({} + {})", self.expr("str", d), self.expr("str", d)),
            1 => format!("({} * {})", self.expr("str", d), self.dice.roll(4)),
            2 | 3 => {
                let method = ["lower", "upper", "strip", "title", "capitalize", "swapcase", "lstrip", "rstrip"]
                    [self.dice.roll(8)];
                format!("{}.{method}()", self.expr("str", d))
            }
            4 => format!("{}.replace({}, {})", self.expr("str", d), self.expr("str", 0), self.expr("str", 0)),
            5 => format!("{}[{}:{}]", self.expr("str", d), self.bound(), self.bound()),
            6 => format!(
                "{}[{}:{}:{}]",
                self.expr("str", d),
                self.bound(),
                self.bound(),
                self.dice.pick(&["2", "-1", "-2", "1"])
            ),
            7 => format!("{}[{}]", self.expr("str", d), self.expr("int", 0)),
            8 => {
                let ty =
                    ["int", "float", "bool", "str", "date", "datetime", "timedelta", "Sky", "list int", "list float"]
                        [self.dice.roll(10)];
                format!("str({})", self.expr(ty, d))
            }
            9..=11 => {
                let spec = self.dice.pick(&[
                    "", ":.2f", ":5d", ":05d", ":,", ":+.3e", ":g", ":.3g", ":>8", ":*^9", ":<6", ":x", ":.1%", ":_",
                    ":08.2f", ":,.2f", ":.4", "!r", "!s:>6", ":=+7", ":b", ": d", ":010,.1f",
                ]);
                let ty = ["int", "float", "str", "bool", "int", "float"][self.dice.roll(6)];
                let value = self.expr(ty, d).replace(['\\', '"'], "");
                let value = if value.contains(['\'', '{', '!', ':']) { "p0".to_owned() } else { value };
                format!("f'<{{{value}{spec}}}>'")
            }
            12 => format!("{}.join({})", self.expr("str", 0), self.expr("list str", d)),
            13 => {
                let ty = ["date", "datetime"][self.dice.roll(2)];
                format!(
                    "{}.{}",
                    self.expr(ty, d),
                    self.dice.pick(&["isoformat()", "strftime('%Y-%m-%d %H:%M:%S.%f %j%%')"])
                )
            }
            14 => format!("{}.{}", self.expr("Sky", d), ["value", "name"][self.dice.roll(2)]),
            15 => format!(
                "{}.{}({})",
                self.expr("str", d),
                ["zfill", "center", "ljust", "rjust"][self.dice.roll(4)],
                self.dice.roll(9)
            ),
            16 => format!(
                "{}.{}({})[{}]",
                self.expr("str", d),
                ["partition", "rpartition"][self.dice.roll(2)],
                self.expr("str", 0),
                self.dice.roll(3)
            ),
            17 => format!(
                "{}.{}({})",
                self.expr("str", d),
                ["removeprefix", "removesuffix", "strip", "lstrip"][self.dice.roll(4)],
                self.expr("str", 0)
            ),
            18 => format!("repr({})", self.expr_of(&["str", "float", "list str", "int"], d)),
            _ => format!("{{'a b': 'one', '7': 'two'}}.get({}, {})", self.expr("str", d), self.expr("str", d)),
        }
    }

    fn bound(&mut self) -> &'static str {
        self.dice.pick(&["", "0", "1", "2", "-1", "-2", "5", "-9", "100"])
    }

    fn truth(&mut self, d: usize) -> String {
        match self.dice.roll(17) {
            16 => match self.dice.roll(4) {
                0 => format!("({}.tzinfo is None)", self.expr("datetime", d)),
                1 => format!("bool({}.{})", self.expr("str", d), self.dice.pick(&["isdigit", "lower", "count"])),
                2 => format!("({}.{} is None)", self.expr("date", d), self.dice.pick(&["__class__", "min", "weekday"])),
                _ => format!("({}.{} is None)", self.expr("Point", d), self.dice.pick(&["__doc__", "z"])),
            },
            0..=3 => {
                let op = self.dice.pick(&["<", "<=", ">", ">=", "==", "!="]);
                format!("({} {op} {})", self.number(d), self.number(d))
            }
            // Ints and floats beyond 2**53 are compared without rounding.
            4 if self.dice.roll(2) == 0 => {
                let op = self.dice.pick(&["<", "==", ">="]);
                format!("({} {op} float({}))", self.expr("int", d), self.expr("int", d))
            }
            4 => format!("({} < {} <= {})", self.number(d), self.number(d), self.number(d)),
            5 => format!("(not {})", self.expr("bool", d)),
            6 => {
                let ty = self.any_type();
                format!("({} is {}None)", self.expr(ty, d), self.dice.pick(&["", "not "]))
            }
            7 => format!(
                "({} in {})",
                self.expr("str", d),
                self.dice.pick(&["NAMES", "('7', 'é')", "{'a b': 1}", "'xABCy'", "{'', '7'}"])
            ),
            8 => format!(
                "({} not in {})",
                self.number(d),
                self.dice.pick(&["LIMITS", "(1, 2, 3)", "[0.1, True]", "{0, 7}"])
            ),
            9 => {
                let ty = ["date", "datetime", "timedelta", "str", "list int", "list float"][self.dice.roll(6)];
                format!("({} {} {})", self.expr(ty, d), self.dice.pick(&["<", ">=", "==", "!="]), self.expr(ty, d))
            }
            10 => format!("({} is Sky.FINE)", self.expr("Sky", d)),
            11 => {
                let method = [
                    "isdigit()",
                    "isalpha()",
                    "isupper()",
                    "islower()",
                    "isspace()",
                    "istitle()",
                    "isalnum()",
                    "isascii()",
                    "startswith(('a', '7'))",
                    "endswith('b')",
                ][self.dice.roll(10)];
                format!("{}.{method}", self.expr("str", d))
            }
            12 => {
                let ty = self.any_type();
                format!("bool({})", self.expr(ty, d))
            }
            13 => format!("math.{}({})", ["isnan", "isinf", "isfinite"][self.dice.roll(3)], self.number(d)),
            14 => format!(
                "{}({})",
                ["any", "all"][self.dice.roll(2)],
                self.expr_of(&["list int", "list str", "list float"], d)
            ),
            _ => {
                let x = self.name("float");
                let items = self.expr("list float", d);
                let test = self.expr("bool", d);
                self.names.retain(|(name, _)| *name != x);
                format!("{}({test} for {x} in {items})", ["any", "all"][self.dice.roll(2)])
            }
        }
    }

    fn time(&mut self, ty: &str, d: usize) -> String {
        match (ty, self.dice.roll(7)) {
            ("datetime", 6) => self.moment(d),
            ("date" | "datetime", 0 | 1) => {
                format!("({} {} {})", self.expr(ty, d), self.dice.pick(&["+", "-"]), self.expr("timedelta", d))
            }
            ("date", 2) => format!("{}.date()", self.expr("datetime", d)),
            ("date", 3) => format!(
                "date({}, {}, {})",
                self.dice.pick(&["2024", "2023", "p0"]),
                self.dice.roll(13),
                self.dice.roll(32)
            ),
            ("date" | "datetime", 4) => {
                format!("{}.replace(month=2, day={})", self.expr(ty, d), 27 + self.dice.roll(4))
            }
            ("timedelta", 0) => format!("({} - {})", self.expr("datetime", d), self.expr("datetime", d)),
            ("timedelta", 1) => format!("({} - {})", self.expr("date", d), self.expr("date", d)),
            ("timedelta", 2) => format!(
                "({} {} {})",
                self.expr("timedelta", d),
                self.dice.pick(&["+", "-", "%"]),
                self.expr("timedelta", d)
            ),
            ("timedelta", 3) => {
                format!("({} {} {})", self.expr("timedelta", d), self.dice.pick(&["*", "/", "//"]), self.expr("int", d))
            }
            ("timedelta", 4) => format!("timedelta(days={}, hours={})", self.expr("int", d), self.expr("int", d)),
            _ => self.constant(ty),
        }
    }

    /// A call of `datetime`, its keywords in any order, now and then with what it does not take.
    fn moment(&mut self, d: usize) -> String {
        let mut arguments = vec![self.dice.pick(&["2024", "2023", "p0"]).to_owned()];
        let mut keywords = vec!["tzinfo=UTC".to_owned()];
        for (name, usual) in [("month", 12), ("day", 31), ("hour", 24), ("minute", 60), ("second", 60)] {
            let value = match self.dice.roll(6) {
                0 => self.expr("int", d),
                1 => format!("(12 // {})", self.expr("int", 0)),
                _ => (1 + self.dice.roll(usual)).to_string(),
            };
            if keywords.len() == 1 && self.dice.roll(3) > 0 {
                arguments.push(value);
            } else if name == "month" || name == "day" || self.dice.roll(2) == 0 {
                keywords.push(format!("{name}={value}"));
            }
        }
        if self.dice.roll(3) == 0 {
            keywords.push(self.dice.pick(&["hours=3", "year=2030", "fold=1", "microsecond=7", "tz=UTC"]).to_owned());
        }
        for at in (1..keywords.len()).rev() {
            let other = self.dice.roll(at + 1);
            keywords.swap(at, other);
        }
        if self.dice.roll(12) == 0 {
            let rest = self.dice.pick(&["0, 0, 0, 0, UTC", "0, 0, 0, 0, UTC, 7"]);
            return format!("datetime({}, 1, 1, {rest})", arguments[0]);
        }
        arguments.extend(keywords);
        format!("datetime({})", arguments.join(", "))
    }

    fn list(&mut self, list: &str, d: usize) -> String {
        let item = list[5..].to_owned();
        match self.dice.roll(10) {
            8 => {
                let items = self.expr(list, d);
                let lazy = self.lazily(list, &items, d);
                let other = self.expr("list int", 0);
                let (n, x) = (self.name("int"), self.name(&item));
                let result = self.expr(&item, d);
                self.names.retain(|(name, _)| *name != x && *name != n);
                let walked = match self.dice.roll(3) {
                    0 => format!("enumerate({lazy})"),
                    1 => format!("zip({other}, {lazy})"),
                    _ => return format!("[{result} for {x}, {n} in zip({lazy}, {other})]"),
                };
                format!("[{result} for {n}, {x} in {walked}]")
            }
            9 => {
                let reverse = match self.dice.roll(5) {
                    0 => self.expr("bool", d),
                    other => ["None", "1", "0.5", "-9"][other - 1].to_owned(),
                };
                format!("sorted({}, reverse={reverse})", self.expr(list, d))
            }
            0 => format!("[{}, {}]", self.expr(&item, d), self.expr(&item, d)),
            1 => format!("sorted({}{})", self.expr(list, d), self.dice.pick(&["", ", reverse=True"])),
            2 => format!("({} + {})", self.expr(list, d), self.expr(list, d)),
            3 => format!("{}[{}:{}]", self.expr(list, d), self.bound(), self.bound()),
            4 if item == "str" => {
                format!(
                    "{}.{}",
                    self.expr("str", d),
                    self.dice.pick(&[
                        "split()",
                        "split(',')",
                        "rsplit(' ', 1)",
                        "splitlines()",
                        "split(maxsplit=1)",
                        "split(',', 1)",
                        "rsplit(',', 2)",
                        "split('')"
                    ])
                )
            }
            4 if item == "int" => format!("list(range({}))", self.dice.roll(5)),
            5 => {
                let (n, x) = (self.name("int"), self.name(&item));
                let items = self.expr(list, d);
                let result = self.expr(&item, d);
                self.names.retain(|(name, _)| *name != x && *name != n);
                format!("[{result} for {n}, {x} in enumerate({items})]")
            }
            _ => {
                let x = self.name(&item);
                let items = self.expr(list, d);
                let (result, test) = (self.expr(&item, d), self.expr("bool", d));
                self.names.retain(|(name, _)| *name != x);
                format!("[{result} for {x} in {items} if {test}]")
            }
        }
    }
}
