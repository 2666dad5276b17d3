//! Canonical bytes and digests (RFC 8785), without the one loss that RFC has.

use serde::Serialize;
use serde_json::Value;

/// Integers beyond this magnitude have no exact double, which is all that RFC 8785 knows.
const EXACT_IN_A_DOUBLE: u64 = 1 << 53;

/// Canonical JSON of `value` by RFC 8785. Integers beyond 2^53 are written as text, as the RFC's appendix D asks for:
/// otherwise two different literals would have one digest.
pub fn canonical_bytes(value: &impl Serialize) -> Vec<u8> {
    let mut json = serde_json::to_value(value).expect("definitions and plans have text keys and no failing serializer");
    widen(&mut json);
    serde_json_canonicalizer::to_vec(&json).expect("a JSON value can always be written")
}

/// `sha256:<hex>` over [`canonical_bytes`].
pub fn digest(value: &impl Serialize) -> String {
    let bytes = canonical_bytes(value);
    format!("sha256:{}", hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes)))
}

/// Lossless JSON with sorted members: what is stored and read again.
pub(crate) fn sorted_bytes(value: &impl Serialize) -> Vec<u8> {
    let mut json = serde_json::to_value(value).expect("definitions have text keys and no failing serializer");
    json.sort_all_objects();
    serde_json::to_vec(&json).expect("a JSON value can always be written")
}

fn widen(json: &mut Value) {
    match json {
        Value::Number(n) if !n.is_f64() => {
            let magnitude = n.as_i64().map_or_else(|| n.as_u64().unwrap_or(u64::MAX), i64::unsigned_abs);
            if magnitude > EXACT_IN_A_DOUBLE {
                *json = Value::String(n.to_string());
            }
        }
        Value::Array(items) => items.iter_mut().for_each(widen),
        Value::Object(members) => members.values_mut().for_each(widen),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_large_integers_have_different_digests() {
        let (a, b) = (9_007_199_254_740_993_i64, 9_007_199_254_740_992_i64);
        assert_ne!(digest(&a), digest(&b));
        assert_eq!(canonical_bytes(&a), br#""9007199254740993""#);
    }

    #[test]
    fn members_are_sorted_and_numbers_have_one_form() {
        let json: Value = serde_json::from_str(r#"{"b":1.0,"a":[1e2]}"#).expect("json");
        assert_eq!(canonical_bytes(&json), br#"{"a":[100],"b":1}"#);
    }
}
