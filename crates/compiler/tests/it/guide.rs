//! The code in `docs/guide/resolvers.md`, compiled: its assertions hold, and what it says is refused is refused so.

use creta_compiler::Value;
use creta_model::Type;

use crate::support::compile;

#[test]
fn the_guide_is_true() {
    let text = include_str!("../../../../docs/guide/resolvers.md");
    let (mut held, mut refused) = (0, 0);
    let mut blocks = text.split("\n```").skip(1);
    while let Some(block) = blocks.next() {
        let (kind, code) = block.split_once('\n').unwrap_or((block, ""));
        match kind {
            "python" => {
                let asserts: Vec<&str> = code.lines().filter(|line| line.starts_with("assert ")).collect();
                let module: String =
                    code.lines().filter(|line| !line.starts_with("assert ")).map(|line| format!("{line}\n")).collect();
                let check = format!("{module}\ndef f():\n    {}\n", asserts.join("\n    "));
                let (program, _) = compile(&check, &[]).unwrap_or_else(|refusal| panic!("{refusal}\n{check}"));
                let outcome = program.call(&[]);
                assert!(matches!(outcome, Ok(Value::None)), "{outcome:?} of\n{check}");
                held += asserts.len();
            }
            "python refused" => {
                let name = code.split(['(', ' ']).nth(1).expect("a function");
                let refusal =
                    compile(&code.replacen(name, "f", 1), &[(Type::Float, false)]).expect_err("it is refused");
                let _closed = blocks.next().expect("the block ends");
                let said = blocks.next().expect("what is said").trim_start_matches("text").trim();
                assert_eq!(refusal.to_string(), said);
                refused += 1;
            }
            _ => {}
        }
    }
    assert!(held >= 5 && refused == 1, "{held} assertions held, {refused} refusals");
}
