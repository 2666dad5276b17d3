//! Compiled programs against worked examples and against CPython.

mod budget;
mod bundle;
mod columns;
mod differential;
mod generate;
mod golden;
mod guide;
mod inputs;
mod support;
