//! Tests of the planner: golden plans, explanations and errors; properties over generated definitions.

#[path = "../../../registry/tests/it/dsl.rs"]
mod dsl;
#[path = "../../../registry/tests/it/dsl_expr.rs"]
mod dsl_expr;
#[path = "../../../registry/tests/it/golden.rs"]
mod golden;

mod plans;
mod properties;
mod show;
