use creta_audit::Permit;
use creta_iam::Decision;

fn forge(decision: Decision) -> Permit {
    Permit { decision, entry: None }
}

fn main() {}
