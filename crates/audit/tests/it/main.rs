//! What must not compile: the proof that nothing runs without a recorded decision.

#[test]
fn nothing_runs_without_a_permit_and_nobody_makes_one() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
