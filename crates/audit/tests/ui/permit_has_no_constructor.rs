use creta_audit::Permit;
use creta_iam::Decision;

fn forge(decision: Decision) -> Permit {
    Permit::new(decision, None)
}

fn main() {}
