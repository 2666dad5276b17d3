use creta_audit::Permit;

/// What the engine's functions look like.
fn run(_plan: &str, _permit: &Permit) {}

fn main() {
    run("plan");
}
