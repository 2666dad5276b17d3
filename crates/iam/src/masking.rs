//! What a masked value looks like, and tokens in the place of values.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use creta_model::{Type, Value};
use zeroize::ZeroizeOnDrop;

/// A masked text has at most this many characters; what is longer is cut.
pub const MASKED_CHARS_MAX: usize = 32;

/// The value in the place of `value`, for whoever gets it masked: it shows the form and nothing of the content.
///
/// In texts each lowercase letter becomes `x`, each other letter `X`, each digit `9`; `@`, `.`, `-`, `_`, `+`, `:`, `/`, `(`,
/// `)`, `,` and spaces stay, so that an address still looks like one; everything else becomes `*`. Nothing of a number, a
/// truth value, a time, a member of an enumeration or a compound can be shown without telling something of it: these become
/// null, and the answer cell says so (rule S12).
///
/// The form itself tells a little: the length of a text up to [`MASKED_CHARS_MAX`]. Where that is too much, use a [`Tokeniser`]
/// or the tag `internal`.
pub fn masked(ty: &Type, value: &Value) -> Value {
    match (ty, value) {
        (Type::Str, Value::Str(text)) => Value::Str(text.chars().take(MASKED_CHARS_MAX).map(masked_char).collect()),
        _ => Value::Null,
    }
}

fn masked_char(c: char) -> char {
    match c {
        '@' | '.' | '-' | '_' | '+' | ':' | '/' | '(' | ')' | ',' | ' ' => c,
        c if c.is_lowercase() => 'x',
        c if c.is_alphabetic() => 'X',
        c if c.is_numeric() => '9',
        _ => '*',
    }
}

/// Gives equal values of one feature equal tokens, so that they can be counted and joined without being known. Without the
/// key nobody can tell which value a token stands for, nor make the token of a value that they guess.
#[derive(ZeroizeOnDrop)]
pub struct Tokeniser {
    version: u32,
    key: [u8; 32],
}

impl std::fmt::Debug for Tokeniser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokeniser(...)")
    }
}

impl Tokeniser {
    /// With a key of the scope whose values these are, and its version. Another key gives other tokens.
    pub fn new(version: u32, key: [u8; 32]) -> Self {
        Self { version, key }
    }

    /// The token of a value of `feature`: `tok`, the version of the key, `_` and 22 characters of base64url (128 bits of
    /// HMAC-SHA256 over the feature's name, the type and the value, each with its length). `None` for null, which stays null.
    pub fn token(&self, feature: &str, ty: &Type, value: &Value) -> Option<String> {
        if *value == Value::Null {
            return None;
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.key);
        let mut context = hmac::Context::with_key(&key);
        let json = value.to_json(ty).to_string();
        for part in ["creta.token/1", feature, &ty.python_name(), &json] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let tag = context.sign();
        Some(format!("tok{}_{}", self.version, URL_SAFE_NO_PAD.encode(&tag.as_ref()[..16])))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn masked_text(text: &str) -> String {
        match masked(&Type::Str, &Value::Str(text.to_owned())) {
            Value::Str(masked) => masked,
            other => panic!("a text is masked as a text, not {other:?}"),
        }
    }

    #[test]
    fn a_masked_text_keeps_its_form() {
        for (text, expected) in [
            ("ana.b-1@example.com", "xxx.x-9@xxxxxxx.xxx"),
            ("+41 (0)79 123 45 67", "+99 (9)99 999 99 99"),
            ("Zoë #7 日本", "Xxx *9 XX"),
            ("", ""),
            (&"a".repeat(100), &"x".repeat(32)),
        ] {
            assert_eq!(masked_text(text), expected);
        }
    }

    #[test]
    fn attack_ch14_values_without_a_form_show_nothing() {
        let members = Type::Enum { name: "Plan".to_owned(), members: vec!["gold".to_owned()] };
        for (ty, value) in [
            (Type::Int, Value::Int(7)),
            (Type::Bool, Value::Bool(true)),
            (Type::Float, Value::Float(1.5)),
            (Type::Bytes, Value::Bytes(vec![7])),
            (members, Value::Str("gold".to_owned())),
            (
                Type::List { item: Box::new(Type::Str), optional: false },
                Value::List(vec![Value::Str("ana".to_owned())]),
            ),
            (Type::Str, Value::Null),
        ] {
            assert_eq!(masked(&ty, &value), Value::Null, "{ty:?}");
        }
    }

    #[test]
    fn the_form_of_tokens_is_fixed() {
        // Computed apart, with the HMAC and base64 of Python's standard library.
        let token =
            Tokeniser::new(3, [7; 32]).token("User.email", &Type::Str, &Value::Str("ana@example.com".to_owned()));
        assert_eq!(token.as_deref(), Some("tok3_eRAzntbCgm4m68yiV2tULA"));
        assert_eq!(Tokeniser::new(3, [7; 32]).token("User.email", &Type::Str, &Value::Null), None);
        assert_eq!(format!("{:?}", Tokeniser::new(3, [7; 32])), "Tokeniser(...)");
    }

    proptest! {
        #[test]
        fn attack_ch14_no_letter_or_digit_of_a_text_survives_masking(text in any::<String>()) {
            let shown = masked_text(&text);
            prop_assert!(shown.chars().all(|c| "xX9*@.-_+:/(), ".contains(c)), "{shown:?}");
            prop_assert_eq!(shown.chars().count(), text.chars().count().min(MASKED_CHARS_MAX));
        }

        #[test]
        fn tokens_are_equal_exactly_when_key_feature_and_value_are(
            key in 0..2u8, feature in "[ab]{1,2}", value in "[ab\"]{0,2}",
            other_key in 0..2u8, other_feature in "[ab]{1,2}", other_value in "[ab\"]{0,2}",
        ) {
            let token = |key: u8, feature: &str, value: &str| {
                Tokeniser::new(1, [key; 32]).token(feature, &Type::Str, &Value::Str(value.to_owned()))
            };
            prop_assert_eq!(
                token(key, &feature, &value) == token(other_key, &other_feature, &other_value),
                (key, feature, value) == (other_key, other_feature, other_value)
            );
        }
    }
}
