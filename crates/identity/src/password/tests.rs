//! What may become a password.

use super::*;

fn accept(typed: &str) -> Result<(), PasswordError> {
    Password::parse(typed)?.accept(&["Ana Lima", "ana.lima@bank.example", "acme"], &[])
}

#[test]
fn long_and_unusual_is_enough() {
    for good in [
        "seven otters juggle",
        "vrtule nad mlhou letí",
        "猫が七匹で屋根の上に座っている朝",
        "xK9#mQ2$vL5@wN8",
        "kfhqwlzmxnrtyp", // No kinds of characters are asked for.
    ] {
        assert!(accept(good).is_ok(), "{good}: {:?}", accept(good));
    }
    let long = "otters juggle seven lamps over a cold river at dawn, ".repeat(4);
    assert!(long.len() > 128 && accept(&long).is_ok());
    let longest: String = (0..CHARACTERS_MAX).map(|n| char::from(b"qzxjvkwpyg"[n * n % 10])).collect();
    assert!(Password::parse(&longest).is_ok());
    assert!(matches!(Password::parse(&format!("{longest}q")), Err(PasswordError::TooLong)));
}

#[test]
fn attack_ci25_short_obvious_and_guessable_passwords_are_refused() {
    assert!(matches!(accept("xK9#mQ2$vL5@w"), Err(PasswordError::TooShort)), "thirteen");
    assert!(matches!(accept(""), Err(PasswordError::TooShort)));
    for variant in [
        "Password1234567!",
        "password1234567!",
        "P@ssw0rd1234567!",
        "1234567Password!",
        "Pa55word!!!!!!",
        "PASSWORD1234567",
    ] {
        assert!(matches!(accept(variant), Err(PasswordError::Breached)), "{variant}: {:?}", accept(variant));
    }
    for guessable in [
        "aaaaaaaaaaaaaaaaaa",
        "ana.lima@bank.example",
        "AnaLimaAcme2026",
        "abcabcabcabcabc",
        "acmeacmeacmeacme",
        "12345678901234567890",
        ".................",
    ] {
        let refused = accept(guessable);
        assert!(matches!(refused, Err(PasswordError::Guessable | PasswordError::Breached)), "{guessable}: {refused:?}");
    }
    assert!(matches!(accept("seven otters\njuggle"), Err(PasswordError::Control)));
}

#[test]
fn attack_ci25_listed_passwords_are_refused_however_they_are_typed() {
    let listed = "seven otters juggle".to_owned();
    let line = |text: &str| hex::encode_upper(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes()));
    let bytes = format!("{}\n", line(&listed)).into_bytes();
    let list = ListFile::open(&bytes).expect("a list");
    let accept = |typed: &str| Password::parse(typed).and_then(|password| password.accept(&[], &[&list]));
    assert!(matches!(accept(&listed), Err(PasswordError::Breached)));
    // Full-width letters and a no-break space: another text, the same password.
    assert!(matches!(accept("ｓｅｖｅｎ\u{a0}otters juggle"), Err(PasswordError::Breached)));
    assert!(accept("seven otters juggled").is_ok());
}

#[test]
fn attack_ci25_forms_of_one_text_are_one_password_and_expansion_is_no_length() {
    let same = |a: &str, b: &str| Password::parse(a).expect("valid") == Password::parse(b).expect("valid");
    // Precomposed and decomposed, a ligature, a full-width letter: what the keyboard of another computer sends.
    assert_eq!(
        Password::parse("vrtule letí").expect("valid").bytes(),
        Password::parse("vrtule leti\u{301}").expect("valid").bytes()
    );
    assert_eq!(Password::parse("ﬁve").expect("valid").bytes(), Password::parse("five").expect("valid").bytes());
    assert!(!same("Five", "five"), "case counts");
    assert!(!same("five", "fıve"), "so do other letters");
    // U+FDFA alone becomes eighteen characters; U+2160 XII three.
    assert!(matches!(accept("\u{fdfa}"), Err(PasswordError::TooShort)));
    assert!(matches!(accept("\u{216b}\u{216b}\u{216b}\u{216b}\u{216b}"), Err(PasswordError::TooShort)));
    // Decomposed letters are fewer after composing: fourteen code points, seven letters.
    assert!(matches!(accept(&"e\u{301}".repeat(7)), Err(PasswordError::TooShort)));
    assert!(matches!(Password::parse(&"\u{fdfa}".repeat(256)), Err(PasswordError::TooLong)));
}

#[test]
fn a_password_is_not_shown() {
    let password = Password::parse("seven otters juggle").expect("valid");
    assert_eq!(format!("{password:?}"), "Password(…)");
    assert_eq!(PasswordError::TooShort.commitment(), "CI-25");
}
