//! Reasons, as worked examples and with hidden tricks.

use creta_programme::access::{REASON_CHARS_MAX, REASON_CHARS_MIN, Reason, ReasonFault, Ticket};
use proptest::prelude::*;

use crate::golden;

fn answer(question: &str) -> String {
    let (mut ticket, mut before, mut reason) = ("OPS-1234", Vec::new(), "");
    for line in question.lines().filter(|line| !line.starts_with('#')) {
        match line.split_once(' ').unwrap_or((line, "")) {
            ("ticket", rest) => ticket = rest,
            ("before", rest) => before.push(rest),
            ("reason", rest) => reason = rest,
            (other, _) => panic!("unknown line `{other}`"),
        }
    }
    match Ticket::parse(ticket) {
        Err(error) => format!("refused: {error}"),
        Ok(ticket) => match Reason::parse(reason, &ticket, &before) {
            Ok(_) => "taken".to_owned(),
            Err(fault) => format!("refused: {fault}"),
        },
    }
}

#[test]
fn golden_reasons() {
    golden::run("programme/reasons", answer);
}

fn ticket() -> Ticket {
    Ticket::parse("OPS-1234").expect("a ticket")
}

#[test]
fn attack_ch17_hidden_characters_do_not_make_a_reason() {
    let said = "Replace the expired certificate of the ledger";
    assert!(Reason::parse(said, &ticket(), &[]).is_ok());
    for hidden in ["\u{200b}", "\u{202e}", "\u{ad}", "\n", "\u{feff}", "\u{0}", "\u{2066}", "\u{e0041}", "\u{3164}"] {
        let with = said.replacen(' ', &format!(" {hidden}"), 1);
        assert_eq!(Reason::parse(&with, &ticket(), &[]), Err(ReasonFault::NotOneLine), "{hidden:?}");
    }
}

#[test]
fn attack_ch17_counting_up_does_not_make_a_new_reason() {
    let before = "Replay settlement batch 4711 for merchants in Lyon";
    for again in [
        "Replay settlement batch 4712 for merchants in Lyon",
        "REPLAY settlement batch 4711 for merchants in LYON!!",
        "merchants in Lyon: replay settlement batch, please",
        "OPS-9 Replay settlement batch 4711 for merchants in Lyon OPS-10",
    ] {
        assert_eq!(Reason::parse(again, &ticket(), &[before]), Err(ReasonFault::SameAsBefore), "{again}");
    }
    let new = "Replay settlement batch for merchants whose currency was wrong";
    assert!(Reason::parse(new, &ticket(), &[before]).is_ok());
}

#[test]
fn the_length_is_exact_at_both_ends() {
    let least = "move rows into lakes";
    assert_eq!(least.chars().count(), REASON_CHARS_MIN);
    assert!(Reason::parse("move rows over lakes", &ticket(), &[]).is_ok());
    let shorter = Reason::parse("move rows over lake", &ticket(), &[]);
    assert_eq!(shorter, Err(ReasonFault::TooShort { chars: REASON_CHARS_MIN - 1 }));
    let words = |chars: usize| "restore ledgers before merchants notice ".repeat(20)[..chars].to_owned();
    assert!(Reason::parse(&words(REASON_CHARS_MAX), &ticket(), &[]).is_ok());
    assert_eq!(Reason::parse(&words(REASON_CHARS_MAX + 1), &ticket(), &[]), Err(ReasonFault::TooLong));
}

#[test]
fn tickets_have_one_form() {
    for good in ["OPS-1", "OPS-123456789", "A1-7", "ABCDEFGHI9-10"] {
        assert_eq!(Ticket::parse(good).expect("a ticket").as_str(), good);
        let json = serde_json::to_string(&Ticket::parse(good).expect("a ticket")).expect("text");
        assert_eq!(serde_json::from_str::<Ticket>(&json).expect("own form").as_str(), good);
    }
    for bad in [
        "",
        "OPS",
        "OPS-",
        "-1",
        "ops-1",
        "OPS-01",
        "OPS-0",
        "O-1",
        "1PS-1",
        "OPS-1234567890",
        "ABCDEFGHIJK-1",
        "OPS-1 ",
        "OPS-1-2",
        "OPS-1\n",
        "ÖPS-1",
        "OPS-١",
    ] {
        assert!(Ticket::parse(bad).is_err(), "{bad:?}");
        assert!(serde_json::from_value::<Ticket>(serde_json::json!(bad)).is_err(), "{bad:?} in JSON too");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever is said, saying it again with other numbers, case and marks is saying it again.
    #[test]
    fn a_taken_reason_is_not_taken_twice(words in proptest::collection::vec("[a-z]{4,9}", 5..9), n in 0_u32..1000) {
        let said = words.join(" ");
        if Reason::parse(&said, &ticket(), &[]).is_ok() {
            let again = format!("{n}: {} ({n})", words.join(", ").to_uppercase());
            prop_assert_eq!(Reason::parse(&again, &ticket(), &["something else entirely", &said]), Err(ReasonFault::SameAsBefore));
        }
    }

    /// No refusal repeats what was said.
    #[test]
    fn a_refusal_does_not_repeat_what_was_said(said in "[A-Z]{12,40}") {
        let fault = Reason::parse(&said, &ticket(), &[]).expect_err("one word is no reason");
        prop_assert!(!fault.to_string().contains(&said));
    }
}
