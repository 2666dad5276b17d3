use std::sync::Arc;

use creta_iam::Decision;

fn forge() -> Decision {
    Decision(Arc::default())
}

fn main() {}
