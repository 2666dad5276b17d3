//! Texts that match a pattern.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use regex::Regex;
use regex_syntax::hir::{Capture, Class, ClassUnicode, ClassUnicodeRange, Hir, HirKind, Repetition};

/// How often an open repetition repeats at most, beyond its least.
const REPEAT_MAX: u32 = 12;
/// Larger classes mean "anything": plain letters and digits are as good.
const BROAD: usize = 200;
/// Attempts at a text that matches, and whose length is right.
const ATTEMPTS: usize = 400;

/// Makes texts of a pattern, as ingest understands it: the whole text has to match.
pub(crate) struct Pattern {
    generator: rand_regex::Regex,
    /// What is made is checked: anchors and word boundaries are left out when it is made.
    whole: Regex,
}

impl Pattern {
    /// `None` where the pattern is none, or matches nothing.
    pub(crate) fn new(pattern: &str) -> Option<Self> {
        let whole = Regex::new(&format!(r"\A(?:{pattern})\z")).ok()?;
        let plain = plain(regex_syntax::parse(pattern).ok()?.into_kind());
        let generator = rand_regex::Regex::with_hir(plain, REPEAT_MAX).ok()?;
        Some(Self { generator, whole })
    }

    /// Whether a text that was made elsewhere matches.
    pub(crate) fn matches(&self, text: &str) -> bool {
        self.whole.is_match(text)
    }

    /// A text that matches and that `fits`. `None` when none was found.
    pub(crate) fn text(&self, random: &mut ChaCha8Rng, fits: impl Fn(&str) -> bool) -> Option<String> {
        (0..ATTEMPTS).find_map(|_| {
            let text: rand_regex::EncodedString = random.sample(&self.generator);
            let text = text.as_str().ok()?;
            (self.whole.is_match(text) && fits(text)).then(|| text.to_owned())
        })
    }
}

/// The same pattern with fewer signs: of a broad class plain letters and digits, of others what ASCII has of them. Look-around
/// matches nothing by itself and is left out.
fn plain(kind: HirKind) -> Hir {
    match kind {
        HirKind::Empty | HirKind::Look(_) => Hir::empty(),
        HirKind::Literal(literal) => Hir::literal(literal.0),
        HirKind::Class(Class::Unicode(class)) => Hir::class(Class::Unicode(fewer(class))),
        HirKind::Class(class) => Hir::class(class),
        HirKind::Repetition(repetition) => {
            Hir::repetition(Repetition { sub: Box::new(plain(repetition.sub.into_kind())), ..repetition })
        }
        HirKind::Capture(capture) => Hir::capture(Capture { sub: Box::new(plain(capture.sub.into_kind())), ..capture }),
        HirKind::Concat(parts) => Hir::concat(parts.into_iter().map(|part| plain(part.into_kind())).collect()),
        HirKind::Alternation(parts) => {
            Hir::alternation(parts.into_iter().map(|part| plain(part.into_kind())).collect())
        }
    }
}

fn fewer(class: ClassUnicode) -> ClassUnicode {
    let size: usize = class.ranges().iter().map(ClassUnicodeRange::len).sum();
    let within = |ranges: &[(char, char)]| {
        let mut narrowed = class.clone();
        narrowed.intersect(&ClassUnicode::new(ranges.iter().map(|(from, to)| ClassUnicodeRange::new(*from, *to))));
        Some(narrowed).filter(|narrowed| !narrowed.ranges().is_empty())
    };
    let letters = if size > BROAD { within(&[('a', 'z'), ('0', '9')]) } else { None };
    letters.or_else(|| within(&[(' ', '~')])).unwrap_or(class)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn texts_match_their_pattern_and_read_like_text() {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        for pattern in [
            r".+@.+",
            r"[A-Z]{2}-[0-9]{3}",
            r"^\d{4}$",
            r"(a|bc)+",
            r"\w+ \w+",
            r"[^@]+@[^@]+\.(com|org)",
            r"a?b*",
            "",
            r"\bshop\b",
            r"[äöü]+",
            r"(?i)yes|no",
            r"\+41 \d{2} \d{3}",
            r"\p{Greek}{3}",
        ] {
            let made = Pattern::new(pattern).unwrap_or_else(|| panic!("{pattern}"));
            let whole = Regex::new(&format!(r"\A(?:{pattern})\z")).expect("valid");
            for _ in 0..50 {
                let text = made.text(&mut random, |_| true).unwrap_or_else(|| panic!("{pattern}"));
                assert!(whole.is_match(&text), "{pattern}: {text}");
                let foreign = pattern.contains('ä') || pattern.contains("Greek") || pattern.contains("(?i)");
                assert!(foreign || text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{pattern}: {text}");
            }
        }
    }

    #[test]
    fn a_pattern_that_nothing_matches_gives_nothing() {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        assert!(Pattern::new("(").is_none());
        for nothing in [r"a\bb", r"[^\s\S]"] {
            let text = Pattern::new(nothing).and_then(|pattern| pattern.text(&mut random, |_| true));
            assert_eq!(text, None, "{nothing}");
        }
        let two = Pattern::new("a{1,2}").expect("valid");
        assert_eq!(two.text(&mut random, |text| text.len() > 2), None);
    }
}
