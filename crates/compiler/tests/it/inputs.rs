//! Inputs from a seed: values at the edges of their types.

use creta_model::Type;
use serde_json::json;

use crate::generate::Dice;

/// An encoded value of a type, at its edges more often than not.
pub(crate) fn value(dice: &mut Dice, ty: &Type, optional: bool) -> serde_json::Value {
    if optional && dice.roll(4) == 0 {
        return json!(["none"]);
    }
    let float = |dice: &mut Dice| {
        let edges = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            0.1,
            2.5,
            -2.5,
            1e300,
            -1e300,
            5e-324,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::NAN,
            9.007199254740993e15,
            0.5,
            1.5,
            123456.789,
            1e-5,
            9.223372036854776e18,
        ];
        let float = match dice.roll(7) {
            0 | 1 => (dice.roll(2_000_001) as f64 - 1e6) / 1000.0,
            // Seconds or microseconds since 1970 with eighths: often halfway between two texts of the fewest digits.
            2 => {
                let power = 44 + dice.roll(8) as i32;
                (2f64.powi(power) + dice.roll(1 << 40) as f64) + dice.roll(8) as f64 / 8.0
            }
            _ => edges[dice.roll(edges.len())],
        };
        json!(["float", if float.is_nan() { "nan".to_owned() } else { format!("{:016x}", float.to_bits()) }])
    };
    match ty {
        Type::Bool => json!(["bool", dice.roll(2) == 0]),
        Type::Int => {
            let edges =
                [0, 1, -1, 2, 3, -7, 10, 100, 2024, i64::MAX, i64::MIN, 1 << 53, (1 << 53) + 1, -(1 << 62), 1 << 31];
            let int = match dice.roll(8) {
                0 | 1 => dice.roll(2001) as i64 - 1000,
                2 => (dice.roll(1 << 33) as i64) - (1 << 32),
                _ => edges[dice.roll(edges.len())],
            };
            json!(["int", int.to_string()])
        }
        Type::Float => float(dice),
        Type::Date => {
            let edges = [0, -719_162, 2_932_896, 19_782, 20_177, -1, 18_321];
            json!(["date", edges[dice.roll(7)]])
        }
        Type::Datetime => {
            let edges = [
                0i64,
                -1,
                1_743_296_400_000_000,
                1_709_251_199_999_999,
                -62_135_596_800_000_000,
                253_402_300_799_999_999,
                1_761_440_400_123_456,
            ];
            json!(["datetime", edges[dice.roll(7)].to_string()])
        }
        Type::Timedelta => {
            let edges = [
                0i64,
                1,
                -1,
                86_400_000_000,
                -86_399_999_999,
                3_600_000_000,
                90_061_000_001,
                i64::MAX / 4,
                -5_400_000_000,
            ];
            json!(["timedelta", edges[dice.roll(9)].to_string()])
        }
        Type::Enum { members, .. } => json!(["enum", members[dice.roll(2)]]),
        Type::Struct { .. } => json!(["struct", [float(dice), float(dice)]]),
        Type::List { item, .. } => {
            // Short ones mostly; long ones take other paths, and have few different items.
            let count = if dice.roll(6) == 0 { [5, 9, 17, 40][dice.roll(4)] } else { dice.roll(5) };
            let mut items: Vec<_> = (0..count.min(12)).map(|_| value(dice, item, false)).collect();
            while items.len() < count {
                items.push(items[dice.roll(items.len())].clone());
            }
            json!(["list", items])
        }
        _ => {
            let edges = [
                "",
                "a b",
                "ABC",
                " padded\t",
                "7",
                "-12",
                "3.5e2",
                "inf",
                "é",
                "e\u{301}",
                "\u{1F600}x",
                "a,b,,c",
                "İstanbul",
                "ΑΣ",
                "line\nnext\r\n",
                "0x1f",
                "1_0",
                "\u{a0}5\u{2003}",
                "12\u{1d}",
                "\u{1f}1.5",
                "\u{1c}a\u{1e}b\u{1d}\u{1d}7",
                "\u{b}-3\u{c}",
                "\u{1c}\u{a0}8",
                "a\u{0}\u{7f}b",
                "one two  three,four,,five;six 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22",
            ];
            json!(["str", edges[dice.roll(edges.len())]])
        }
    }
}
