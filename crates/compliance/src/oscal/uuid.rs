//! Names turned into UUIDs, so that the same thing has the same UUID in every document and at every time.

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};

/// The namespace of web addresses: RFC 9562 §6.6.
const URL_NAMESPACE: [u8; 16] =
    [0x6b, 0xa7, 0xb8, 0x11, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8];

/// The UUID of what the parts name together; parts cannot be shifted into one another.
pub(super) fn of(parts: &[&str]) -> String {
    let mut name = super::NAMESPACE.to_owned();
    for part in parts {
        name.push_str(&format!("/{}:{part}", part.len()));
    }
    text(version_5(&URL_NAMESPACE, name.as_bytes()))
}

/// Version 5: the first 16 bytes of SHA-1 over namespace and name, with version and variant set (RFC 9562 §5.5). SHA-1
/// keeps no secret here and proves nothing; what has to be proven is hashed with SHA-256 elsewhere.
fn version_5(namespace: &[u8; 16], name: &[u8]) -> [u8; 16] {
    let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    context.update(namespace);
    context.update(name);
    let mut bytes: [u8; 16] = *context.finish().as_ref().first_chunk().expect("SHA-1 has 20 bytes");
    bytes[6] = bytes[6] & 0x0f | 0x50;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    bytes
}

fn text(bytes: [u8; 16]) -> String {
    let hex = hex::encode(bytes);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc() {
        let dns = [0x6b, 0xa7, 0xb8, 0x10, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8];
        // RFC 9562, appendix A.4.
        assert_eq!(text(version_5(&dns, b"www.example.com")), "2ed6657d-e927-568b-95e1-2665a8aea6a2");
    }

    #[test]
    fn parts_do_not_run_into_one_another() {
        assert_ne!(of(&["control", "CH-20"]), of(&["controlCH", "-20"]));
        assert_ne!(of(&["a/1:b"]), of(&["a", "b"]));
        assert_eq!(of(&["control", "CH-20"]), of(&["control", "CH-20"]));
    }
}
