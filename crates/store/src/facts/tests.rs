//! The fact store against a naive model, crashes at every step, and whoever can write its files.

mod attacks;
mod concurrency;
mod crashes;
mod model;
