//! The contact for security issues (RFC 9116): made from the configuration, and signed by a person of the organisation.
//!
//! The signature is an OpenPGP one, made with the tools that people have for it. This server holds no such key; it serves
//! what was signed, as long as that says what the configuration says.

use creta_audit::{Details, Event, Permit};
use creta_compliance::{SECURITY_TXT_PATH, SecurityTxt};
use creta_model::{Instant, Problem, Span};
use creta_proof::Hash;
use serde::{Deserialize, Serialize};

use super::Trust;
use crate::control_plane::ControlPlane;
use crate::problem::{from_audit, from_store, internal};

/// Where the key stands by which the signature is recognised.
pub(crate) const KEY_PATH: &str = "/.well-known/security-key.asc";
/// `security.txt` is good for this long from the moment it is made (RFC 9116 asks for less than a year).
const GOOD_FOR: Span = Span::days(180);
/// A signed one is to be renewed when it has no more than this left.
pub(crate) const RENEWED_BEFORE: Span = Span::days(30);
const KIND: &str = "security-contact";
const ID: &str = "signed";
const FORMAT: &str = "creta.security-contact/1";
const BEGIN: &str = "-----BEGIN PGP SIGNED MESSAGE-----";
const KEY_BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
const TEXT_BYTES_MAX: usize = 16 << 10;

/// A contact that somebody signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Signed {
    format: String,
    /// As it is served, signature included.
    pub(crate) text: String,
    /// The public key, in its armoured form.
    pub(crate) key: String,
    pub(crate) expires: Instant,
    by: String,
}

impl Trust {
    /// What is served now: the signed file while it holds, else one that is made at the moment. `None` when nobody named
    /// a contact.
    pub(crate) fn security_txt(&self, control: &ControlPlane) -> Result<Option<String>, Problem> {
        let Some(made) = self.contact_now(control, None)? else { return Ok(None) };
        let now = control.platform().clock.now();
        let signed = signed(control)?.filter(|signed| says_the_same(&signed.text, &made.contact, now).is_ok());
        match signed {
            Some(signed) => Ok(Some(signed.text)),
            None => made.to_text(now).map(Some).map_err(|error| unusable(&error)),
        }
    }

    /// The text to sign for a server that is reached at `origin` (`https://creta.example`).
    pub(crate) fn contact_to_sign(&self, control: &ControlPlane, origin: &str) -> Result<String, Problem> {
        let made = self.contact_now(control, Some(origin))?.ok_or_else(|| {
            Problem::new("not-found/security-contact", "no contact for security issues was configured")
                .with_help("set `security_contacts` in `config.toml`, and start the server again")
        })?;
        made.to_text(control.platform().clock.now())
            .map_err(|error| Problem::new("trust/security-txt", error.to_string()))
    }

    /// Publishes what somebody signed, if it says what the configuration says. The log has it first.
    pub(crate) fn publish_contact(
        &self,
        control: &ControlPlane,
        text: String,
        key: String,
        permit: &Permit,
    ) -> Result<Signed, Problem> {
        let refused = |why: &str| {
            Problem::new("trust/security-txt", format!("this signed contact is refused: {why}"))
                .with_help("sign what `creta trust security-txt show` prints, with `creta trust security-txt sign`")
        };
        if text.len() > TEXT_BYTES_MAX || key.len() > TEXT_BYTES_MAX {
            return Err(refused("it is too long"));
        }
        let (text, key) = (text.trim_end().to_owned() + "\n", key.trim_end().to_owned() + "\n");
        if !text.starts_with(BEGIN) || !text.contains("-----BEGIN PGP SIGNATURE-----") {
            return Err(refused("it is not a signed text"));
        }
        if !key.starts_with(KEY_BEGIN) {
            return Err(refused("the key is not a public key in its armoured form"));
        }
        let now = control.platform().clock.now();
        let made = self.contact_now(control, None)?.ok_or_else(|| refused("no contact is configured"))?;
        let expires = says_the_same(&text, &made.contact, now).map_err(|why| refused(&why))?;
        let by = permit.principal().id().to_string();
        let signed = Signed { format: FORMAT.to_owned(), text, key, expires, by };
        let details = Details::none()
            .digest("text", *Hash::of(&[signed.text.as_bytes()]).as_bytes())
            .and_then(|details| details.digest("key", *Hash::of(&[signed.key.as_bytes()]).as_bytes()))
            .and_then(|details| details.instant("expires", expires))
            .map_err(|e| from_audit(&e))?;
        let event = Event::of(permit, "security-txt.published").with(details).for_commitment("CI-29");
        control.log().record(event).map_err(|e| from_audit(&e))?;
        let body = serde_json::to_vec(&signed).expect("texts have a JSON form");
        let before = control.metadata().read(KIND, ID).map_err(|e| from_store(&e))?;
        let version = before.map(|document| document.version);
        control.metadata().write(KIND, ID, version, &body).map_err(|e| from_store(&e))?;
        Ok(signed)
    }

    /// The contact as the configuration says it, in whole seconds. With an origin, where it stands and its key too.
    fn contact_now(&self, control: &ControlPlane, origin: Option<&str>) -> Result<Option<SecurityTxt>, Problem> {
        let contact: Vec<String> =
            self.contacts().iter().cloned().chain(self.intakes.forms().map(str::to_owned)).collect();
        if contact.is_empty() {
            return Ok(None);
        }
        let micros = control.platform().clock.now().micros();
        let now = Instant::from_micros(micros - micros.rem_euclid(1_000_000)).map_err(|_| internal())?;
        let at =
            |path: &str| origin.map(|origin| format!("{}{path}", origin.trim_end_matches('/'))).into_iter().collect();
        Ok(Some(SecurityTxt {
            contact,
            expires: now.plus(GOOD_FOR),
            canonical: at(SECURITY_TXT_PATH),
            policy: Vec::new(),
            encryption: at(KEY_PATH),
            preferred_languages: vec!["en".to_owned()],
        }))
    }
}

/// The signed contact, if one was published.
pub(crate) fn signed(control: &ControlPlane) -> Result<Option<Signed>, Problem> {
    let document = control.metadata().read(KIND, ID).map_err(|e| from_store(&e))?;
    let read = document.map(|document| serde_json::from_slice::<Signed>(&document.body));
    let read = read.transpose().map_err(|_| internal())?;
    Ok(read.filter(|signed| signed.format == FORMAT))
}

/// Until when a signed text may be served: it is in force, and its contacts are those that are configured.
fn says_the_same(text: &str, contact: &[String], now: Instant) -> Result<Instant, String> {
    let read = SecurityTxt::parse(text, now).map_err(|error| error.to_string())?;
    match read.contact == contact {
        true => Ok(read.expires),
        false => Err("its contacts are not those of `config.toml`".to_owned()),
    }
}

fn unusable(error: &creta_compliance::SecurityTxtError) -> Problem {
    tracing::error!(%error, "`security_contacts` in config.toml are not valid");
    internal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_ci29_a_signed_contact_with_other_addresses_or_out_of_date_is_not_served() {
        let now = Instant::parse("2026-01-01T00:00:00Z").expect("valid");
        let contact = ["mailto:security@example.org".to_owned()];
        let text = |contact: &str, expires: &str| {
            format!(
                "{BEGIN}\nHash: SHA512\n\nContact: {contact}\nExpires: {expires}\n\
                 -----BEGIN PGP SIGNATURE-----\n\nAAAA\n-----END PGP SIGNATURE-----\n"
            )
        };
        let good = text("mailto:security@example.org", "2026-06-01T00:00:00Z");
        assert_eq!(says_the_same(&good, &contact, now).expect("good").to_string(), "2026-06-01T00:00:00Z");
        for bad in [
            text("mailto:attacker@example.net", "2026-06-01T00:00:00Z"),
            text("mailto:security@example.org", "2026-01-01T00:00:00Z"),
            text("mailto:security@example.org", "2027-06-01T00:00:00Z"),
            good.replace("Expires", "expires-not"),
        ] {
            assert!(says_the_same(&bad, &contact, now).is_err(), "{bad}");
        }
    }
}
