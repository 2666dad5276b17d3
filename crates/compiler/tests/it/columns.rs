//! Many rows at once equal row by row, for generated programs and inputs.

use creta_compiler::{Lane, Raised, Value};

use crate::differential::{programs, stored};
use crate::generate::{Dice, program};
use crate::inputs::value;
use crate::support::{compile, exact};

const ROWS: usize = 40;

#[test]
fn columns_equal_rows() {
    let (mut compiled, mut failed) = (0, 0);
    for seed in 0..programs() {
        let mut dice = Dice(seed.wrapping_mul(0xD6E8_FEB8_6659_FD93));
        let generated = program(&mut dice);
        let Ok((program, shapes)) = compile(&generated.source, &generated.parameters) else { continue };
        compiled += 1;
        let rows: Vec<Vec<Value>> = (0..ROWS)
            .map(|_| {
                let cells = generated.parameters.iter().zip(&shapes);
                cells
                    .map(|((ty, optional), shape)| {
                        shape.read(&stored(&value(&mut dice, ty, *optional))).expect("its type")
                    })
                    .collect()
            })
            .collect();
        let lanes: Vec<Lane> =
            (0..shapes.len()).map(|at| Lane::of(rows.iter().map(|row| row[at].clone()).collect())).collect();
        let answers = program.call_rows(&lanes, ROWS);
        let mut raised = answers.raised.iter().peekable();
        for (at, row) in rows.iter().enumerate() {
            let columnar: Result<Value, Raised> = match raised.next_if(|(failed, _)| *failed == at) {
                Some((_, error)) => Err(*error),
                None => Ok(answers.values.value(at)),
            };
            let single = program.call(row);
            failed += usize::from(single.is_err());
            let same = match (&columnar, &single) {
                (Ok(a), Ok(b)) => exact(a) == exact(b),
                (Err(a), Err(b)) => a == b,
                _ => false,
            };
            assert!(
                same,
                "seed {seed}:\n{}row {at} {row:?}\ncolumns {columnar:?}\nrow     {single:?}",
                generated.source
            );
        }
    }
    eprintln!("{compiled} programs, {failed} rows that failed");
    assert!(compiled > 0 && failed > 0);
}

/// The loops over plain numbers, each with the values that are special to it.
#[test]
fn loops_over_numbers_equal_rows() {
    let edges = [0.0, -0.0, 1.0, -2.5, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, 9_007_199_254_740_992.0];
    let pairs: Vec<(f64, f64)> = edges.iter().flat_map(|a| edges.iter().map(|b| (*a, *b))).collect();
    let lanes =
        [Lane::Floats(pairs.iter().map(|(a, _)| *a).collect()), Lane::Floats(pairs.iter().map(|(_, b)| *b).collect())];
    for body in [
        "min(a, b)",
        "max(a, b)",
        "abs(a)",
        "a + b",
        "a - b",
        "a * b",
        "a / b",
        "a // b",
        "a % b",
        "a < b",
        "a >= b",
        "a == b",
        "a / 2",
        "2 - b",
    ] {
        let inputs = [(creta_model::Type::Float, false), (creta_model::Type::Float, false)];
        let (program, _) = compile(&format!("def f(a, b):\n    return {body}\n"), &inputs).expect("it compiles");
        let answers = program.call_rows(&lanes, pairs.len());
        for (row, (a, b)) in pairs.iter().enumerate() {
            let raised = answers.raised.iter().find(|(at, _)| *at == row);
            let columnar = raised.map_or_else(|| Ok(exact(&answers.values.value(row))), |(_, error)| Err(*error));
            let single = program.call(&[Value::Float(*a), Value::Float(*b)]).map(|value| exact(&value));
            assert_eq!(columnar, single, "{body} of {a} and {b}");
        }
    }
}
