//! Passwords that attackers try first: a built-in list of obvious words, and files that an organisation provides.

use std::io;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};

/// Words that breached passwords are made of; variants of them (capitals, digits for letters, digits and signs around)
/// count too. Longer lists belong into a file.
const OBVIOUS: [&str; 64] = [
    "abc",
    "abcdef",
    "abcdefgh",
    "abcdefghijklmn",
    "admin",
    "administrator",
    "adminadmin",
    "asdf",
    "asdfgh",
    "asdfghjkl",
    "autumn",
    "azerty",
    "azertyuiop",
    "baseball",
    "batman",
    "changeit",
    "changeme",
    "company",
    "computer",
    "correcthorsebatterystaple",
    "creta",
    "default",
    "dragon",
    "fall",
    "football",
    "hello",
    "iloveyou",
    "internet",
    "letmein",
    "letmeinplease",
    "login",
    "master",
    "monkey",
    "mypassword",
    "newpassword",
    "nopassword",
    "pass",
    "passphrase",
    "passwd",
    "password",
    "passwordpassword",
    "princess",
    "qazwsx",
    "qazwsxedc",
    "qwerty",
    "qwertyqwerty",
    "qwertyuiop",
    "qwertyuiopasdf",
    "qwertz",
    "qwertzuiop",
    "root",
    "secret",
    "security",
    "shadow",
    "spring",
    "starwars",
    "summer",
    "sunshine",
    "superman",
    "test",
    "testtest",
    "welcome",
    "welcomewelcome",
    "winter",
];
/// Shortest prefix of a hash that counts as a hit: 64 bits, so that a billion entries hit by chance once in 10^10.
const HEX_MIN: usize = 16;
/// Longest line of a list.
const LINE_BYTES_MAX: usize = 128;

/// Whether nothing is left of `password` but one obvious word, once or repeated.
pub(super) fn is_obvious(password: &str) -> bool {
    let folded: String = password.to_lowercase().chars().filter_map(fold).collect();
    // Digits are letters in some variants (`p4ssw0rd`) and an ending in others (`password1234`): both readings count.
    let bare: String = password.to_lowercase().chars().filter(|c| c.is_alphabetic()).collect();
    let unended = password.to_lowercase();
    let unended = unended.trim_matches(|c: char| !c.is_alphabetic());
    let unended: String = unended.chars().filter_map(fold).collect();
    [folded, bare, unended].iter().any(|text| OBVIOUS.iter().any(|word| is_repeated(text, word)))
}

fn is_repeated(text: &str, word: &str) -> bool {
    !text.is_empty()
        && text.len().is_multiple_of(word.len())
        && text.as_bytes().chunks(word.len()).all(|chunk| chunk == word.as_bytes())
}

/// The letter that a character stands for; `None` for what only decorates.
fn fold(c: char) -> Option<char> {
    match c {
        '0' => Some('o'),
        '1' | '!' | '|' => Some('i'),
        '3' => Some('e'),
        '4' | '@' => Some('a'),
        '5' | '$' => Some('s'),
        '7' => Some('t'),
        c if c.is_alphabetic() => Some(c),
        _ => None,
    }
}

/// A file that is read at offsets. The server has one on disk, tests have one in memory.
pub trait Bytes {
    /// Its length.
    fn len(&self) -> io::Result<u64>;
    /// Whether it holds nothing.
    fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|length| length == 0)
    }
    /// Reads at most `buffer.len()` bytes from `offset`; 0 at the end.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
}

impl Bytes for Vec<u8> {
    fn len(&self) -> io::Result<u64> {
        u64::try_from(Self::len(self)).map_err(io::Error::other)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(Self::len(self));
        let count = buffer.len().min(Self::len(self) - start);
        buffer[..count].copy_from_slice(&self[start..start + count]);
        Ok(count)
    }
}

/// A list of breached passwords: one SHA-1 or SHA-256 per line in hexadecimal, sorted, each whole or cut to at least 16
/// digits, optionally followed by `:` and a count. This is how the large public lists come.
pub struct ListFile<'a> {
    file: &'a dyn Bytes,
    whole_digits: usize,
}

impl<'a> ListFile<'a> {
    /// Looks at the first line. Which hash it is follows from `sha256`'s 64 digits or SHA-1's 40; cut lines of 41 to 63
    /// digits are SHA-256, shorter ones SHA-1.
    pub fn open(file: &'a dyn Bytes) -> io::Result<Self> {
        let mut list = Self { file, whole_digits: 40 };
        let Some((_, first)) = list.line_from(0)? else {
            return Err(invalid("the list is empty"));
        };
        if first.len() > 40 {
            list.whole_digits = 64;
        }
        Ok(list)
    }

    /// Whether the password's hash is there. O(log n) reads. A line that is no hash is an error: half a list protects
    /// half.
    pub fn holds(&self, password: &str) -> io::Result<bool> {
        let algorithm = if self.whole_digits == 64 { &SHA256 } else { &SHA1_FOR_LEGACY_USE_ONLY };
        let wanted = hex::encode_upper(digest(algorithm, password.as_bytes()));
        // The first line that starts at or after `low` is where the wanted one is, if it is anywhere.
        let (mut low, mut high) = (0, self.file.len()?);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.line_from(middle)? {
                Some((next, line)) if precedes(&line, &wanted) => low = next,
                _ => high = middle,
            }
        }
        Ok(self.line_from(low)?.is_some_and(|(_, line)| wanted.starts_with(&line)))
    }

    /// The digits of the first line that starts at or after `offset`, and where the next one starts.
    fn line_from(&self, offset: u64) -> io::Result<Option<(u64, String)>> {
        let mut buffer = [0; 2 * LINE_BYTES_MAX];
        let start = offset.saturating_sub(1);
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read_at(start + filled as u64, &mut buffer[filled..])? {
                0 => break,
                count => filled += count,
            }
        }
        let read = &buffer[..filled];
        let skipped = match (offset, read.iter().position(|byte| *byte == b'\n')) {
            (0, _) => 0,
            (_, Some(end)) => end + 1,
            (_, None) if filled == buffer.len() => return Err(invalid("a line of the list is too long")),
            (_, None) => return Ok(None),
        };
        let rest = &read[skipped..];
        if rest.is_empty() {
            return Ok(None);
        }
        let end = rest.iter().position(|byte| *byte == b'\n');
        if end.is_none() && filled == buffer.len() {
            return Err(invalid("a line of the list is too long"));
        }
        let line = &rest[..end.unwrap_or(rest.len())];
        let digits: String = line
            .iter()
            .map(|byte| char::from(*byte).to_ascii_uppercase())
            .take_while(|c| !":\r".contains(*c))
            .collect();
        if digits.len() < HEX_MIN || digits.len() > 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(invalid("a line of the list is no SHA-1 or SHA-256 in hexadecimal of at least 16 digits"));
        }
        let next = start + (skipped + end.map_or(rest.len(), |end| end + 1)) as u64;
        Ok(Some((next, digits)))
    }
}

/// Whether a line sorts before the wanted hash and is not a prefix of it.
fn precedes(line: &str, wanted: &str) -> bool {
    line < wanted && !wanted.starts_with(line)
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sha1(text: &str) -> String {
        hex::encode_upper(digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()))
    }

    fn sha256(text: &str) -> String {
        hex::encode(digest(&SHA256, text.as_bytes()))
    }

    fn list(mut lines: Vec<String>, end: &str) -> Vec<u8> {
        lines.sort();
        lines.iter().flat_map(|line| format!("{line}{end}").into_bytes()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_listed_password_is_found_and_no_other(
            words in proptest::collection::btree_set("[a-z]{1,12}", 1..60),
            digits in 16_usize..=40,
            counted in proptest::bool::ANY,
        ) {
            let words: Vec<String> = words.into_iter().collect();
            let (listed, others) = words.split_at(words.len().div_ceil(2));
            for hash in [sha1, sha256] {
                let cut = |text: &String| if hash("").len() == 40 { digits } else { digits.max(17) + 24 }.min(hash(text).len());
                let line = |text: &String| format!("{}{}", &hash(text)[..cut(text)], if counted { ":17" } else { "" });
                let bytes = list(listed.iter().map(line).collect(), if counted { "\r\n" } else { "\n" });
                let file = ListFile::open(&bytes).expect("a list");
                for word in listed { prop_assert!(file.holds(word).expect("reads")); }
                for word in others { prop_assert!(!file.holds(word).expect("reads")); }
            }
        }
    }

    #[test]
    fn attack_ci25_a_damaged_list_accepts_nothing() {
        for bad in [
            "",
            "\n",
            "password\n",
            "0123456789abcde\n",
            &"0".repeat(65),
            &format!("{}\nx\n", sha1("a")),
            &"0".repeat(900),
        ] {
            let holds = ListFile::open(&bad.as_bytes().to_vec()).and_then(|list| list.holds("\u{7f}"));
            assert!(holds.is_err(), "{bad:?}");
        }
        struct Broken;
        impl Bytes for Broken {
            fn len(&self) -> io::Result<u64> {
                Ok(1_000)
            }
            fn read_at(&self, _: u64, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("the disk is gone"))
            }
        }
        assert!(ListFile::open(&Broken).is_err());
    }

    #[test]
    fn attack_ci25_variants_of_obvious_words_are_obvious() {
        for password in [
            "Password1234567!",
            "P4ssw0rd!!!!!!!!",
            "p@$$w0rd20262026",
            "PASSWORD-PASSWORD",
            "!!!!changeme!!!!",
            "Summer2026Summer2026",
            "qwertyuiop123456",
            "Correct Horse Battery Staple",
            "W3lc0m3-W3lc0m3",
        ] {
            assert!(is_obvious(password), "{password}");
        }
        for password in
            ["the wet dragon paints", "pass the salt quickly", "winter came too late", "83412907756120394", ""]
        {
            assert!(!is_obvious(password), "{password}");
        }
    }
}
