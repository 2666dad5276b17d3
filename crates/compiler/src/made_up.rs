//! Inputs for trying a program: values at the edges of their types, and those that the program itself compares with.

use std::sync::Arc;

use creta_model::{Instant, Type, Value as Stored};

use crate::boundary::Shape;
use crate::program::{Node, Op, Program};
use crate::value::Value;

/// A small generator of numbers (SplitMix64): a seed means the same inputs everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % sides.max(1) as u64) as usize
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.roll(from.len())]
    }
}

/// What a program's own constants are, by type.
#[derive(Default)]
struct Constants {
    ints: Vec<i64>,
    floats: Vec<f64>,
    texts: Vec<Arc<str>>,
    /// Texts that are made of these and of other words, to be split, searched and cut.
    around: Vec<String>,
}

impl Constants {
    fn of(program: &Program) -> Self {
        let mut found = Self::default();
        program.each_node(&mut |node: &Node| {
            if let Op::Const(value) = &node.op {
                found.take(value);
            }
        });
        let short = found.texts.iter().filter(|text| (1..=20).contains(&text.len()));
        found.around =
            short.flat_map(|text| [format!("7{text}a b{text}{text}-1.5"), format!("{text}12{text}")]).collect();
        found
    }

    fn take(&mut self, value: &Value) {
        match value {
            Value::Int(int) => {
                self.ints.extend([int.saturating_sub(1), *int, int.saturating_add(1)]);
                self.floats.push(*int as f64);
            }
            Value::Float(float) => self.floats.extend([float.next_down(), *float, float.next_up()]),
            Value::Str(text) => self.texts.push(Arc::clone(text)),
            Value::Tuple(items) | Value::List(items) => items.iter().for_each(|item| self.take(item)),
            Value::Set(table) | Value::Dict(table) => table.keys.iter().for_each(|key| self.take(key)),
            _ => {}
        }
    }
}

const INTS: &[i64] = &[
    0,
    1,
    -1,
    2,
    -2,
    3,
    -3,
    7,
    -7,
    10,
    59,
    60,
    100,
    -100,
    1_000,
    i32::MAX as i64,
    1 << 53,
    (1 << 53) + 1,
    i64::MAX,
    i64::MIN,
];
const FLOATS: &[f64] = &[
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -0.5,
    1.5,
    2.5,
    -2.5,
    0.1,
    0.125,
    3.7,
    -7.25,
    60.0,
    100.0,
    1e-9,
    9_007_199_254_740_993.0,
    // Halfway between two texts of the fewest digits.
    1_700_000_000_000_000.2,
    140_737_488_355_328.12,
    1e16,
    1e300,
    -1e300,
    5e-324,
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
];
const TEXTS: &[&str] = &[
    "",
    "a",
    "A",
    "ana@Example.com",
    "two words",
    " padded\t",
    "12",
    "-7",
    "1.5",
    "nan",
    "1_000",
    "ÄÖß",
    "İstanbul",
    "e\u{301}",
    "日本語",
    "\u{1F600}",
    "a\u{0}b",
    "line\nline",
    "\u{a0}",
    "True",
    // Separators of records and files, which are white space for some functions and not for others.
    "12\u{1d}",
    "\u{1f}1.5",
    "\u{1c}a\u{1e}b\u{1d}7",
    "\u{b}-3\u{c}",
    "a\u{7f}\u{1b}\u{85}b\r\n",
    "a,b;;c|d\te f 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20",
];
/// Lengths of lists that take other paths than short ones.
const LENGTHS: &[usize] = &[5, 6, 9, 17, 40];
/// Around the epoch, leap days, the ends of years, and the instants at which clocks change in Europe and the United States.
const DATETIMES: &[i64] = &[
    0,
    -1,
    1,
    951_782_400_000_000,
    1_709_164_799_999_999,
    1_735_689_599_999_999,
    1_735_689_600_000_000,
    1_741_503_600_000_000,
    1_743_296_400_000_000,
    1_743_296_399_999_999,
    1_761_440_400_000_000,
    -2_208_988_800_000_000,
    253_402_300_799_999_999,
    -62_135_596_800_000_000,
];
const DATES: &[i32] = &[0, -1, 11_016, 19_782, 20_088, 20_089, -25_567, 2_932_896, -719_162];
const TIMEDELTAS: &[i64] =
    &[0, 1, -1, 60_000_000, 3_600_000_000, 86_400_000_000, -86_400_000_001, 604_800_000_000, 31_536_000_000_000];

impl Program {
    /// So many rows of arguments, the same for the same seed.
    pub(crate) fn made_up(&self, parameters: &[(&Shape, bool)], seed: u64, rows: usize) -> Vec<Vec<Stored>> {
        let constants = Constants::of(self);
        let mut dice = Dice(seed);
        let mut row = || -> Vec<Stored> {
            parameters.iter().map(|(shape, optional)| cell(shape.ty(), *optional, &constants, &mut dice)).collect()
        };
        (0..rows).map(|_| row()).collect()
    }
}

fn cell(ty: &Type, optional: bool, constants: &Constants, dice: &mut Dice) -> Stored {
    if optional && dice.roll(5) == 0 {
        return Stored::Null;
    }
    // Plain values half of the time, so that the edges of one argument do not hide the others; constants next.
    let (own, plain) = (dice.roll(3) == 0, dice.roll(2) == 0);
    match ty {
        Type::Bool => Stored::Bool(dice.roll(2) == 0),
        Type::Int if own && !constants.ints.is_empty() => Stored::Int(*dice.pick(&constants.ints)),
        Type::Int if plain && dice.roll(4) == 0 => Stored::Int(dice.roll(1 << 32) as i64 - (1 << 16)),
        Type::Int if plain => Stored::Int(dice.roll(200) as i64 - 50),
        Type::Int => Stored::Int(*dice.pick(INTS)),
        Type::Float if own && !constants.floats.is_empty() => Stored::Float(*dice.pick(&constants.floats)),
        Type::Float if plain => Stored::Float((dice.roll(20_000) as f64 - 5_000.0) / 100.0),
        Type::Float => Stored::Float(*dice.pick(FLOATS)),
        Type::Enum { members, .. } if !members.is_empty() => Stored::Str(dice.pick(members).clone()),
        Type::Date if plain => Stored::Date(18_000 + dice.roll(4_000) as i32),
        Type::Date => Stored::Date(*dice.pick(DATES)),
        Type::Datetime => {
            let micros = if plain {
                1_700_000_000_000_000 + dice.roll(60_000_000) as i64 * 1_000_003
            } else {
                *dice.pick(DATETIMES)
            };
            Instant::from_micros(micros).map_or(Stored::Null, Stored::Datetime)
        }
        Type::Timedelta if plain => Stored::Timedelta(dice.roll(1_000_000) as i64 * 1_000_003),
        Type::Timedelta => Stored::Timedelta(*dice.pick(TIMEDELTAS)),
        Type::List { item, optional } => {
            // Short mostly; of long ones the later items are among the earlier.
            let count = if dice.roll(4) == 0 { *dice.pick(LENGTHS) } else { dice.roll(5) };
            let mut items: Vec<Stored> = (0..count.min(12)).map(|_| cell(item, *optional, constants, dice)).collect();
            while items.len() < count {
                items.push(dice.pick(&items).clone());
            }
            Stored::List(items)
        }
        Type::Struct { fields, .. } => {
            Stored::Struct(fields.iter().map(|field| cell(&field.ty, field.optional, constants, dice)).collect())
        }
        _ if own && !constants.around.is_empty() && dice.roll(2) == 0 => {
            Stored::Str(dice.pick(&constants.around).clone())
        }
        _ if own && !constants.texts.is_empty() => Stored::Str(dice.pick(&constants.texts).to_string()),
        _ => Stored::Str((*dice.pick(TEXTS)).to_owned()),
    }
}
