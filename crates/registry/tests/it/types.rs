//! Types of expressions, one line a rule: what Python does (rule S31).

use creta_model::{FeaturePath, Type};
use creta_registry::{Node, Typed, infer, typed};

use crate::dsl::parse_type;
use crate::dsl_expr::parse_expr;

/// Features of the expressions below. A trailing `?` is optional.
const FEATURES: &[(&str, &str)] = &[
    ("b", "bool"),
    ("bo", "bool?"),
    ("i", "int"),
    ("io", "int?"),
    ("f", "float"),
    ("fo", "float?"),
    ("s", "str"),
    ("so", "str?"),
    ("y", "bytes"),
    ("d2", "decimal(2)"),
    ("d4", "decimal(4)"),
    ("d30", "decimal(30)"),
    ("day", "date"),
    ("at", "datetime"),
    ("td", "timedelta"),
    ("kind", "enum(Kind: x y)"),
    ("other", "enum(Other: x y)"),
    ("li", "list[int]"),
    ("lf", "list[float]"),
    ("v", "vector(3)"),
];

fn lookup(path: &FeaturePath) -> Option<(Type, bool)> {
    let (_, text) = FEATURES.iter().find(|(name, _)| *name == path.feature.as_str())?;
    let (ty, optional) = text.strip_suffix('?').map_or((*text, false), |ty| (ty, true));
    Some((parse_type(ty), optional))
}

fn type_of(text: &str) -> String {
    match infer(&parse_expr(text, "T"), &lookup) {
        Ok((Type::Decimal { scale }, optional)) => format!("decimal({scale}){}", if optional { "?" } else { "" }),
        Ok((ty, optional)) => format!("{}{}", ty.python_name(), if optional { "?" } else { "" }),
        Err(_) => "error".to_owned(),
    }
}

#[test]
fn s31_every_function_takes_and_gives_what_python_does() {
    for (text, expected) in [
        // Arithmetic of numbers.
        ("i + i", "int"),
        ("i + f", "float"),
        ("f - i", "float"),
        ("i * io", "int?"),
        ("fo * f", "float?"),
        ("i / i", "float"),
        ("i / f", "float"),
        ("i // i", "int"),
        ("f // i", "float"),
        ("i % i", "int"),
        ("f % i", "float"),
        ("i ** 2", "int"),
        ("i ** -1", "float"),
        ("i ** i", "int"),
        ("f ** i", "float"),
        ("i ** f", "float"),
        ("d2 + d4", "decimal(4)"),
        ("d2 - i", "decimal(2)"),
        ("i + d2", "decimal(2)"),
        ("d2 * d4", "decimal(6)"),
        ("d2 * i", "decimal(2)"),
        ("d2 / i", "decimal(6)"),
        ("d30 / d2", "decimal(30)"),
        ("d2 // d4", "decimal(4)"),
        ("d2 % i", "decimal(2)"),
        ("d30 * d30", "error"),
        ("d2 + f", "error"),
        ("f / d2", "error"),
        ("d2 ** 2", "error"),
        ("b + i", "error"),
        ("s * 3", "error"),
        ("-i", "int"),
        ("-fo", "float?"),
        ("-d2", "decimal(2)"),
        ("-td", "timedelta"),
        ("-s", "error"),
        ("abs(i)", "int"),
        ("abs(td)", "timedelta"),
        ("abs(b)", "error"),
        // Text and times.
        ("s + s", "str"),
        ("s + so", "str?"),
        ("s + i", "error"),
        ("s - s", "error"),
        ("kind + s", "error"),
        ("at - at", "timedelta"),
        ("at + td", "datetime"),
        ("td + at", "datetime"),
        ("at - td", "datetime"),
        ("td - at", "error"),
        ("at + at", "error"),
        ("day + td", "date"),
        ("day - day", "timedelta"),
        ("day - td", "date"),
        ("td + td", "timedelta"),
        ("td - td", "timedelta"),
        ("day - at", "error"),
        ("at + i", "error"),
        ("td * 2", "error"),
        // Comparisons.
        ("i == f", "bool"),
        ("i < d2", "bool"),
        ("d2 < f", "bool"),
        ("d2 == d4", "bool"),
        ("so == s", "bool?"),
        ("s < i", "error"),
        ("s < s", "bool"),
        ("b == b", "bool"),
        ("b < b", "error"),
        ("y == y", "bool"),
        ("y < y", "error"),
        ("day < at", "error"),
        ("at >= at", "bool"),
        ("td > td", "bool"),
        ("kind == kind", "bool"),
        ("kind == other", "error"),
        ("kind == \"x\"", "bool"),
        ("kind != \"z\"", "error"),
        ("kind == s", "error"),
        ("kind < kind", "error"),
        ("li == li", "error"),
        ("v == v", "error"),
        ("i == None", "error"),
        ("i < None", "error"),
        ("b == i", "error"),
        // Logic.
        ("b and bo", "bool?"),
        ("b or not b", "bool"),
        ("b and i", "error"),
        ("not s", "error"),
        ("and(b, b, b)", "bool"),
        ("is_none(fo)", "bool"),
        ("is_none(i)", "bool"),
        ("if(b, i, f)", "float"),
        ("if(bo, i, i)", "int"),
        ("if(b, i, None)", "int?"),
        ("if(b, None, s)", "str?"),
        ("if(b, i, s)", "error"),
        ("if(i, i, i)", "error"),
        ("if(b, d2, i)", "decimal(2)"),
        ("if(b, d2, d4)", "decimal(4)"),
        ("if(b, d2, f)", "error"),
        ("if(b, kind, \"y\")", "Kind"),
        ("if(b, kind, \"z\")", "error"),
        ("coalesce(fo, 0)", "float"),
        ("coalesce(fo, io)", "float?"),
        ("coalesce(None, so, s)", "str"),
        ("coalesce(fo, s)", "error"),
        ("coalesce(so)", "str?"),
        ("min(i, f)", "float"),
        ("max(i)", "int"),
        ("min(s, s)", "str"),
        ("min(b, b)", "error"),
        ("min(i, None)", "error"),
        ("max(d2, 1)", "decimal(2)"),
        ("min(day, at)", "error"),
        // Text functions.
        ("lower(s)", "str"),
        ("upper(so)", "str?"),
        ("strip(i)", "error"),
        ("lower(kind)", "str"),
        ("length(s)", "int"),
        ("length(li)", "int"),
        ("length(v)", "error"),
        ("starts_with(s, \"a\")", "bool"),
        ("ends_with(s, i)", "error"),
        ("contains(s, so)", "bool?"),
        ("contains(li, i)", "bool"),
        ("contains(lf, i)", "bool"),
        ("contains(li, s)", "error"),
        ("replace(s, s, s)", "str"),
        ("replace(s, s)", "error"),
        ("slice(s, 1, None)", "str"),
        ("slice(s, io, 2)", "str"),
        ("slice(so, 0, 1)", "str?"),
        ("slice(s, f, 1)", "error"),
        ("slice(li, 0, 1)", "error"),
        // Numbers and conversions.
        ("sqrt(i)", "float"),
        ("exp(d2)", "float"),
        ("log(s)", "error"),
        ("floor(f)", "int"),
        ("ceil(d2)", "int"),
        ("floor(b)", "error"),
        ("round(f)", "int"),
        ("round(f, 2)", "float"),
        ("round(i, 2)", "int"),
        ("round(d4, 2)", "decimal(2)"),
        ("round(d2, 9)", "decimal(2)"),
        ("round(d4, i)", "decimal(4)"),
        ("round(d4, -1)", "decimal(4)"),
        ("round(s)", "error"),
        ("round(f, f)", "error"),
        ("to_float(i)", "float"),
        ("to_float(b)", "float"),
        ("to_float(s)", "error"),
        ("to_int(fo)", "int?"),
        ("to_int(b)", "int"),
        ("to_str(i)", "str"),
        ("to_str(b)", "str"),
        ("to_str(kind)", "str"),
        ("to_str(f)", "error"),
        // Parts of times.
        ("year(day)", "int"),
        ("month(at)", "int"),
        ("day(td)", "error"),
        ("weekday(day)", "int"),
        ("hour(at)", "int"),
        ("hour(day)", "error"),
        ("minute(at)", "int"),
        ("second(at)", "int"),
        ("date_of(at)", "date"),
        ("date_of(day)", "error"),
        ("total_seconds(td)", "float"),
        ("total_seconds(at)", "error"),
        // How many arguments.
        ("abs(i, i)", "error"),
        ("min()", "error"),
        ("is_none()", "error"),
        ("round(f, 1, 1)", "error"),
        ("if(b, i)", "error"),
        ("and(b)", "error"),
        // Unknown features and constants of other types.
        ("nowhere + 1", "error"),
        ("date(\"tomorrow\")", "error"),
        ("date(\"2013-07-01\") < day", "bool"),
    ] {
        assert_eq!(type_of(text), expected, "{text}");
    }
}

fn shown(typed: &Typed) -> String {
    match &typed.node {
        Node::Feature(path) => path.feature.to_string(),
        Node::Literal(value) => format!("{value}:{}", typed.ty.python_name()),
        Node::Call(function, args) => {
            format!("{function:?}({})", args.iter().map(shown).collect::<Vec<_>>().join(", "))
        }
    }
}

#[test]
fn s31_conversions_are_written_out_where_python_converts_and_nowhere_else() {
    for (text, expected) in [
        ("i + f", "Add(ToFloat(i), f)"),
        ("i / i", "Div(i, i)"),
        ("i / 3", "Div(i, 3:int)"),
        ("f * 2", "Mul(f, 2.0:float)"),
        ("f + 9007199254740993", "Add(f, ToFloat(9007199254740993:int))"),
        ("i == f", "Eq(i, f)"),
        ("d2 < f", "Lt(d2, f)"),
        ("sqrt(i)", "Sqrt(ToFloat(i))"),
        ("coalesce(d4, 0)", "Coalesce(d4, 0:Decimal)"),
        ("coalesce(d4, d2)", "Coalesce(d4, Add(d2, \"0\":Decimal))"),
        ("and(b, bo, b)", "And(And(b, bo), b)"),
        ("if(b, i, None)", "If(b, i, null:int)"),
        ("slice(s, None, 3)", "Slice(s, null:int, 3:int)"),
        ("contains(lf, i)", "Contains(lf, ToFloat(i))"),
    ] {
        let typed = typed(&parse_expr(text, "T"), &lookup).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(shown(&typed), expected, "{text}");
    }
}
