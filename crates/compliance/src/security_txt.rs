//! `/.well-known/security.txt`: whom to tell about a security problem, in the form of RFC 9116.

use std::fmt;

use creta_model::{Instant, Span};

/// Where the file is served, and nowhere else (RFC 9116 section 3).
pub const SECURITY_TXT_PATH: &str = "/.well-known/security.txt";

/// The file is good for at most so long: RFC 9116 section 2.5.5 recommends less than a year.
pub const SECURITY_TXT_SPAN_MAX: Span = Span::days(364);

/// The content of a security.txt. Members are in the order in which they are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecurityTxt {
    /// How to reach whoever is responsible, preferred ones first: `mailto:`, `tel:` or `https:`.
    pub contact: Vec<String>,
    /// After this instant nobody should rely on it. Whole seconds.
    pub expires: Instant,
    /// Addresses at which this file stands: `https:`.
    pub canonical: Vec<String>,
    /// Addresses of the policy on reports: `https:`.
    pub policy: Vec<String>,
    /// Where keys stand for writing to the contacts in secret, and by which a signature of this file is recognised:
    /// `https:`, `dns:` or `openpgp4fpr:`.
    pub encryption: Vec<String>,
    /// Languages in which reports are read, as in `en` or `pt-BR`; none means any.
    pub preferred_languages: Vec<String>,
}

/// Why a text is not a usable security.txt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecurityTxtError {
    /// Nobody can be reached.
    #[error("a security.txt needs a `Contact`; add `mailto:security@...` or the address of a form")]
    NoContact,
    /// A value has not the form of its field.
    #[error("`{field}: {value}` in security.txt: {rule}")]
    Value {
        /// Name of the field.
        field: &'static str,
        /// Its value, without control characters.
        value: String,
        /// What it has to be.
        rule: &'static str,
    },
    /// It has expired.
    #[error("the security.txt expired at {expires}; renew it")]
    Expired {
        /// When it did.
        expires: Instant,
    },
    /// It promises too far ahead.
    #[error(
        "the security.txt expires at {expires}, more than {SECURITY_TXT_SPAN_MAX} ahead; choose an earlier instant"
    )]
    TooFarAhead {
        /// When it would.
        expires: Instant,
    },
    /// A line of a text is not a field.
    #[error("line {line} of the security.txt {rule}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        rule: &'static str,
    },
    /// `Expires` or `Preferred-Languages` does not stand there exactly once, or at most once.
    #[error("the security.txt has {times} fields `{field}` and may have only one")]
    Repeated {
        /// Name of the field.
        field: &'static str,
        /// How often it stands there.
        times: usize,
    },
}

impl SecurityTxt {
    /// Checks every value, and that it is in force at `now`.
    pub fn require_valid(&self, now: Instant) -> Result<(), SecurityTxtError> {
        if self.contact.is_empty() {
            return Err(SecurityTxtError::NoContact);
        }
        let web: &[&str] = &["https://"];
        for (field, values, schemes) in [
            ("Contact", &self.contact, &["https://", "mailto:", "tel:"][..]),
            ("Canonical", &self.canonical, web),
            ("Policy", &self.policy, web),
            ("Encryption", &self.encryption, &["https://", "dns:", "openpgp4fpr:"][..]),
        ] {
            for value in values {
                require_uri(field, value, schemes)?;
            }
        }
        if let Some(bad) = self.preferred_languages.iter().find(|language| !is_language(language)) {
            return Err(invalid("Preferred-Languages", bad, "is not a language tag, as in `en` or `pt-BR`"));
        }
        if self.expires.micros() % 1_000_000 != 0 {
            return Err(invalid("Expires", &self.expires.to_string(), "has to be a whole second"));
        }
        if self.expires <= now {
            return Err(SecurityTxtError::Expired { expires: self.expires });
        }
        if self.expires > now.plus(SECURITY_TXT_SPAN_MAX) {
            return Err(SecurityTxtError::TooFarAhead { expires: self.expires });
        }
        Ok(())
    }

    /// The file's text at `now`. Lines end with CR LF.
    pub fn to_text(&self, now: Instant) -> Result<String, SecurityTxtError> {
        self.require_valid(now)?;
        Ok(self.to_string())
    }

    /// Reads a served text and checks it at `now`. Comments, empty lines and fields that are not known here are passed
    /// over, as RFC 9116 asks for. A signed file is read without its signature, which is not checked.
    pub fn parse(text: &str, now: Instant) -> Result<Self, SecurityTxtError> {
        let mut read = Self {
            contact: Vec::new(),
            expires: now,
            canonical: Vec::new(),
            policy: Vec::new(),
            encryption: Vec::new(),
            preferred_languages: Vec::new(),
        };
        let (mut expires, mut languages) = (0, 0);
        for (index, line) in body(text) {
            let bad = |rule| SecurityTxtError::Line { line: index + 1, rule };
            let line = line.trim_end_matches([' ', '\t']);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, value) = line.split_once(':').ok_or(bad("has no colon"))?;
            let value = value.strip_prefix(' ').ok_or(bad("has no space after its colon"))?.trim_start();
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_graphic()) {
                return Err(bad("does not begin with the name of a field"));
            }
            if value.is_empty() || value.chars().any(char::is_control) {
                return Err(bad("has no value, or one with control characters"));
            }
            match name.to_ascii_lowercase().as_str() {
                "contact" => read.contact.push(value.to_owned()),
                "canonical" => read.canonical.push(value.to_owned()),
                "policy" => read.policy.push(value.to_owned()),
                "encryption" => read.encryption.push(value.to_owned()),
                "expires" => {
                    expires += 1;
                    read.expires = Instant::parse(value).map_err(|_| bad("has no instant of RFC 3339"))?;
                }
                "preferred-languages" => {
                    languages += 1;
                    read.preferred_languages = value.split(',').map(|tag| tag.trim().to_owned()).collect();
                }
                _ => {}
            }
        }
        if expires != 1 {
            return Err(SecurityTxtError::Repeated { field: "Expires", times: expires });
        }
        if languages > 1 {
            return Err(SecurityTxtError::Repeated { field: "Preferred-Languages", times: languages });
        }
        read.require_valid(now)?;
        Ok(read)
    }
}

impl fmt::Display for SecurityTxt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut field = |name: &str, value: &str| write!(f, "{name}: {value}\r\n");
        self.contact.iter().try_for_each(|value| field("Contact", value))?;
        field("Expires", &self.expires.to_string())?;
        self.canonical.iter().try_for_each(|value| field("Canonical", value))?;
        self.policy.iter().try_for_each(|value| field("Policy", value))?;
        self.encryption.iter().try_for_each(|value| field("Encryption", value))?;
        if self.preferred_languages.is_empty() {
            return Ok(());
        }
        field("Preferred-Languages", &self.preferred_languages.join(", "))
    }
}

/// The numbered lines of a text, without the armour of a cleartext signature (RFC 4880 section 7).
fn body(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = || text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).enumerate();
    let signed = text.starts_with("-----BEGIN PGP SIGNED MESSAGE-----");
    let headers = if signed { lines().position(|(_, line)| line.is_empty()).map_or(0, |at| at + 1) } else { 0 };
    lines().skip(headers).take_while(move |(_, line)| !signed || *line != "-----BEGIN PGP SIGNATURE-----")
}

fn invalid(field: &'static str, value: &str, rule: &'static str) -> SecurityTxtError {
    SecurityTxtError::Value { field, value: value.chars().filter(|c| !c.is_control()).collect(), rule }
}

/// A URI of one of the schemes, with something behind it, of characters that RFC 3986 allows.
fn require_uri(field: &'static str, value: &str, schemes: &[&str]) -> Result<(), SecurityTxtError> {
    let rest = schemes.iter().find_map(|scheme| value.strip_prefix(scheme));
    let Some(rest) = rest else {
        let rule = match field {
            "Contact" => "has to begin with `https://`, `mailto:` or `tel:`",
            "Encryption" => "has to begin with `https://`, `dns:` or `openpgp4fpr:`",
            _ => "has to begin with `https://`",
        };
        return Err(invalid(field, value, rule));
    };
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&b);
    if rest.is_empty() || !rest.bytes().all(allowed) {
        return Err(invalid(field, value, "is not a URI: something is missing, or a character has to be escaped"));
    }
    let (is_mail, is_phone) = (value.starts_with("mailto:"), value.starts_with("tel:"));
    if is_mail && !rest.split_once('@').is_some_and(|(local, host)| !local.is_empty() && !host.is_empty()) {
        return Err(invalid(field, value, "has to name a mailbox, as in `mailto:security@example.com`"));
    }
    if is_phone && !rest.bytes().any(|b| b.is_ascii_digit()) {
        return Err(invalid(field, value, "has to name a number, as in `tel:+1-201-555-0123`"));
    }
    Ok(())
}

/// A language tag of RFC 5646 as far as its form goes: letters, then groups of letters and digits.
fn is_language(tag: &str) -> bool {
    let mut parts = tag.split('-');
    let primary =
        parts.next().is_some_and(|part| (2..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphabetic()));
    primary && parts.all(|part| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Instant {
        Instant::parse("2026-11-22T12:00:00Z").expect("valid")
    }

    fn file() -> SecurityTxt {
        SecurityTxt {
            contact: vec!["mailto:security@example.com".to_owned(), "https://example.com/trust/report/".to_owned()],
            expires: now().plus(Span::days(180)),
            canonical: vec!["https://example.com/.well-known/security.txt".to_owned()],
            policy: vec!["https://example.com/trust/report/".to_owned()],
            encryption: vec!["https://example.com/.well-known/security-key.asc".to_owned()],
            preferred_languages: vec!["en".to_owned(), "pt-BR".to_owned()],
        }
    }

    #[test]
    fn the_text_is_one_field_a_line() {
        let text = file().to_text(now()).expect("valid");
        assert_eq!(
            text,
            "Contact: mailto:security@example.com\r\n\
             Contact: https://example.com/trust/report/\r\n\
             Expires: 2027-05-21T12:00:00Z\r\n\
             Canonical: https://example.com/.well-known/security.txt\r\n\
             Policy: https://example.com/trust/report/\r\n\
             Encryption: https://example.com/.well-known/security-key.asc\r\n\
             Preferred-Languages: en, pt-BR\r\n"
        );
        assert_eq!(SecurityTxt::parse(&text, now()), Ok(file()));
    }

    #[test]
    fn values_that_would_mislead_are_refused() {
        let with = |change: &dyn Fn(&mut SecurityTxt)| {
            let mut file = file();
            change(&mut file);
            file.to_text(now())
        };
        assert_eq!(with(&|file| file.contact.clear()), Err(SecurityTxtError::NoContact));
        for contact in [
            "security@example.com",
            "http://example.com/",
            "https://",
            "mailto:security",
            "mailto:@example.com",
            "tel:+",
            "mailto:a@example.com\r\nExpires: 2099-01-01T00:00:00Z",
            "https://example.com/ a",
            "https://example.com/ü",
            "javascript:alert(1)",
        ] {
            let refused = with(&|file| file.contact = vec![contact.to_owned()]).expect_err(contact);
            assert!(matches!(refused, SecurityTxtError::Value { field: "Contact", .. }), "{refused}");
            assert!(!refused.to_string().contains('\n'), "{refused}");
        }
        for address in ["http://example.com/", "mailto:a@example.com"] {
            assert!(with(&|file| file.canonical = vec![address.to_owned()]).is_err(), "{address}");
            assert!(with(&|file| file.policy = vec![address.to_owned()]).is_err(), "{address}");
        }
        for language in ["", "e", "en_US", "en,de", "english language", "12"] {
            assert!(with(&|file| file.preferred_languages = vec![language.to_owned()]).is_err(), "{language}");
        }
    }

    #[test]
    fn it_is_good_for_less_than_a_year_and_not_after_it_has_expired() {
        let at = |expires: Instant| SecurityTxt { expires, ..file() }.to_text(now());
        assert_eq!(at(now()), Err(SecurityTxtError::Expired { expires: now() }));
        assert!(at(now().plus(Span::seconds(1))).is_ok());
        assert!(at(now().plus(SECURITY_TXT_SPAN_MAX)).is_ok());
        let late = now().plus(SECURITY_TXT_SPAN_MAX).plus(Span::seconds(1));
        assert_eq!(at(late), Err(SecurityTxtError::TooFarAhead { expires: late }));
    }

    #[test]
    fn a_served_text_is_read_as_the_rfc_asks_for() {
        let good = "# Whom to tell\r\n\r\ncontact: tel:+1-201-555-0123 \nEXPIRES: 2026-12-01T00:00:00+01:00\nX-New: something\n";
        let read = SecurityTxt::parse(good, now()).expect("valid");
        assert_eq!(read.contact, ["tel:+1-201-555-0123"]);
        assert_eq!(read.expires, Instant::parse("2026-11-30T23:00:00Z").expect("valid"));
        let signed = format!(
            "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n{}-----BEGIN PGP SIGNATURE-----\n\nabcd\n-----END PGP SIGNATURE-----\n",
            file().to_text(now()).expect("valid")
        );
        assert_eq!(SecurityTxt::parse(&signed, now()), Ok(file()));
        for (bad, says) in [
            ("Contact mailto:a@example.com\nExpires: 2026-12-01T00:00:00Z\n", "line 1"),
            ("Contact:mailto:a@example.com\nExpires: 2026-12-01T00:00:00Z\n", "no space"),
            ("Contact: mailto:a@example.com\n", "0 fields `Expires`"),
            (
                "Contact: mailto:a@example.com\nExpires: 2026-12-01T00:00:00Z\nExpires: 2026-12-01T00:00:00Z\n",
                "2 fields",
            ),
            ("Contact: mailto:a@example.com\nExpires: tomorrow\n", "line 2"),
            ("Contact: mailto:a@example.com\nExpires: 2026-11-01T00:00:00Z\n", "expired"),
            ("Expires: 2026-12-01T00:00:00Z\n", "needs a `Contact`"),
        ] {
            let refused = SecurityTxt::parse(bad, now()).expect_err(bad).to_string();
            assert!(refused.contains(says), "{refused}");
        }
    }
}
