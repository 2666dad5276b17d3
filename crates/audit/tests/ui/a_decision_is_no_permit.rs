use creta_audit::Permit;
use creta_iam::Decision;

fn run(_plan: &str, _permit: &Permit) {}

fn handle(decision: &Decision) {
    run("plan", decision);
}

fn main() {}
