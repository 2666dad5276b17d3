//! What happens to a certificate that a client shows: it must come from this environment's authority, name this
//! environment, and be one of a component that was not revoked. Whatever else is refused in the handshake, and recorded
//! (CH-25).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use creta_model::{Environment, Instant};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, Error, RootCertStore};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::authority::Authority;
use super::component::{Component, ComponentName, ComponentUri};
use super::handshake::Judging;
use super::{certificate_thumbprint, provider, refused};
use crate::ServerError;

/// Refusals that are recorded one by one within [`REFUSALS_WINDOW`]; more are only counted, so that nobody fills the log.
const REFUSALS_RECORDED_MAX: usize = 60;
const REFUSALS_WINDOW: Duration = Duration::from_secs(60);

/// The certificates that are let in, by SHA-256 in hexadecimal, and whose each is: asked at every handshake and request.
#[derive(Debug, Default)]
pub(crate) struct KnownComponents(RwLock<BTreeMap<String, Component>>);

impl KnownComponents {
    pub(crate) fn new(known: BTreeMap<String, Component>) -> Self {
        Self(RwLock::new(known))
    }

    fn holds(&self, certificate: &[u8]) -> bool {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.contains_key(&hex::encode(certificate_thumbprint(certificate)))
    }

    /// Whether any certificate of a component is let in.
    pub(crate) fn lets_in(&self, name: &ComponentName) -> bool {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.values().any(|component| component.name == *name)
    }

    /// No certificate of a component is let in from now on.
    pub(crate) fn end(&self, name: &ComponentName) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).retain(|_, component| component.name != *name);
    }
}

/// Why something of another place was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// It says itself that it is of another environment.
    OtherEnvironment,
    /// Another authority signed it, whatever it says.
    OtherAuthority,
    /// Its time is over, or has not come.
    OutOfDate,
    /// It is this environment's, but no component has it any more.
    Revoked,
    /// It cannot be read, or is not for clients.
    Malformed,
}

impl Reason {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::OtherEnvironment => "other-environment",
            Self::OtherAuthority => "other-authority",
            Self::OutOfDate => "out-of-date",
            Self::Revoked => "revoked",
            Self::Malformed => "malformed",
        }
    }
}

/// Something that was turned away, to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Turned {
    /// `certificate` or `token`.
    pub(crate) what: &'static str,
    pub(crate) reason: Reason,
    /// SHA-256 of what was shown.
    pub(crate) digest: [u8; 32],
}

/// What was turned away and waits to be recorded, bounded.
#[derive(Debug, Default)]
pub(crate) struct TurnedAway(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    list: Vec<Turned>,
    recorded: usize,
    uncounted: u64,
    window: Duration,
}

impl TurnedAway {
    /// Notes one. Never waits for a disk: handshakes call it.
    pub(crate) fn note(&self, turned: Turned) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.recorded + waiting.list.len() < REFUSALS_RECORDED_MAX {
            waiting.list.push(turned);
        } else {
            waiting.uncounted += 1;
        }
    }

    /// Those to record now, and how many more there were. `now` is monotonic.
    pub(crate) fn take(&self, now: Duration) -> (Vec<Turned>, u64) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let list = std::mem::take(&mut waiting.list);
        waiting.recorded += list.len();
        let mut more = 0;
        if now >= waiting.window + REFUSALS_WINDOW {
            more = std::mem::take(&mut waiting.uncounted);
            (waiting.recorded, waiting.window) = (0, now);
        }
        (list, more)
    }
}

/// Tells the components of one environment from everybody else.
pub(super) struct Judge {
    pub(super) chain: Arc<dyn ClientCertVerifier>,
    environment_id: String,
    environment: Environment,
}

impl Judge {
    /// `roots` are the environment's authority.
    pub(super) fn new(
        roots: RootCertStore,
        environment_id: &str,
        environment: &Environment,
    ) -> Result<Self, ServerError> {
        let chain = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(provider()))
            .allow_unauthenticated()
            .build()
            .map_err(refused)?;
        Ok(Self { chain, environment_id: environment_id.to_owned(), environment: environment.clone() })
    }

    /// Whether a certificate says itself that it is of this environment, whoever signed it.
    pub(super) fn is_named_by(&self, certificate: &CertificateDer<'_>) -> bool {
        let named = uris(certificate).unwrap_or_default();
        named.iter().filter_map(|uri| ComponentUri::parse(uri)).any(|uri| self.is_own(&uri))
    }

    fn is_own(&self, uri: &ComponentUri) -> bool {
        uri.is_of(&self.environment_id, &self.environment)
    }

    /// Which component of the environment shows a certificate. Whether it is still one is for the caller.
    pub(super) fn judge(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(ClientCertVerified, ComponentName), (Reason, Error)> {
        let named = uris(certificate);
        let parsed = |uri: &String| ComponentUri::parse(uri).filter(|uri| self.is_own(uri));
        let foreign = named.iter().flatten().any(|uri| uri.starts_with("creta://") && parsed(uri).is_none());
        let verified = self.chain.verify_client_cert(certificate, intermediates, now).map_err(|error| {
            let reason = match &error {
                _ if foreign => Reason::OtherEnvironment,
                Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
                    Reason::OtherAuthority
                }
                Error::InvalidCertificate(
                    CertificateError::Expired
                    | CertificateError::ExpiredContext { .. }
                    | CertificateError::NotValidYet
                    | CertificateError::NotValidYetContext { .. },
                ) => Reason::OutOfDate,
                _ => Reason::Malformed,
            };
            (reason, error)
        })?;
        match named.as_deref() {
            _ if foreign => Err(not_let_in(Reason::OtherEnvironment)),
            Some([uri]) => match parsed(uri) {
                Some(uri) => Ok((verified, uri.name().clone())),
                None => Err(not_let_in(Reason::Malformed)),
            },
            _ => Err(not_let_in(Reason::Malformed)),
        }
    }
}

/// What a client is told of a certificate that is in order and lets nobody in.
pub(super) fn not_let_in(reason: Reason) -> (Reason, Error) {
    (reason, Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
}

/// Judges certificates of clients for one environment.
pub(crate) struct EnvironmentVerifier {
    judge: Judge,
    known: Arc<KnownComponents>,
    turned_away: Arc<TurnedAway>,
}

impl fmt::Debug for EnvironmentVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnvironmentVerifier")
            .field("environment_id", &self.judge.environment_id)
            .finish_non_exhaustive()
    }
}

impl EnvironmentVerifier {
    pub(crate) fn new(
        authority: &Authority,
        environment_id: &str,
        environment: &Environment,
        known: Arc<KnownComponents>,
        turned_away: Arc<TurnedAway>,
        now: Instant,
    ) -> Result<Self, ServerError> {
        let judge = Judge::new(authority.roots(now)?, environment_id, environment)?;
        Ok(Self { judge, known, turned_away })
    }

    /// Whether a certificate that was let in before still would be.
    pub(crate) fn knows(&self, der: &[u8]) -> bool {
        self.known.holds(der)
    }

    /// Lets a certificate in until it is forgotten: a check's own, which is nobody's component.
    pub(crate) fn admit(&self, thumbprint: [u8; 32], component: Component) {
        self.known.0.write().unwrap_or_else(PoisonError::into_inner).insert(hex::encode(thumbprint), component);
    }

    /// The opposite of [`admit`](Self::admit).
    pub(crate) fn forget(&self, thumbprint: [u8; 32]) {
        self.known.0.write().unwrap_or_else(PoisonError::into_inner).remove(&hex::encode(thumbprint));
    }

    fn judge(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, (Reason, Error)> {
        let (verified, _) = self.judge.judge(certificate, intermediates, now)?;
        if !self.knows(certificate) {
            return Err(not_let_in(Reason::Revoked));
        }
        Ok(verified)
    }
}

/// The URIs among the names of a certificate; `None` when it cannot be read.
fn uris(certificate: &CertificateDer<'_>) -> Option<Vec<String>> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let names = parsed.subject_alternative_name().ok()?;
    let names = names.map(|names| names.value.general_names.clone()).unwrap_or_default();
    Some(
        names
            .into_iter()
            .filter_map(|name| if let GeneralName::URI(uri) = name { Some(uri.to_owned()) } else { None })
            .collect(),
    )
}

impl Judging for EnvironmentVerifier {
    fn chain(&self) -> &dyn ClientCertVerifier {
        &*self.judge.chain
    }

    fn let_in(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.judge(certificate, intermediates, now).map_err(|(reason, error)| {
            let digest = certificate_thumbprint(certificate);
            self.turned_away.note(Turned { what: "certificate", reason, digest });
            error
        })
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::pem::PemObject as _;

    use super::super::authority::{Issued, make_authority};
    use super::super::component::ComponentRole;
    use super::*;

    struct World {
        authority: Authority,
        verifier: EnvironmentVerifier,
        turned_away: Arc<TurnedAway>,
        now: Instant,
    }

    fn environment(name: &str) -> Environment {
        Environment::parse(name).expect("valid")
    }

    fn authority(name: &str, now: Instant) -> Authority {
        Authority::new(name, make_authority(name, now).expect("made").1)
    }

    fn issue(authority: &Authority, id: &str, name: &str, now: Instant) -> Issued {
        let component = ComponentName::parse("worker-1").expect("valid");
        authority.component_certificate(&ComponentUri::new(id, environment(name), component), now).expect("issued")
    }

    impl World {
        fn new() -> Self {
            let now = Instant::parse("2026-01-01T00:00:00Z").expect("valid");
            let (authority, turned_away) = (authority("prod-00", now), Arc::new(TurnedAway::default()));
            let known = Arc::default();
            let away = Arc::clone(&turned_away);
            let verifier =
                EnvironmentVerifier::new(&authority, "prod-00", &environment("prod"), known, away, now).expect("made");
            Self { authority, verifier, turned_away, now }
        }

        fn admit(&self, issued: &Issued) {
            let component = Component {
                name: ComponentName::parse("worker-1").expect("valid"),
                role: ComponentRole::Worker,
                created: self.now,
                certificates: Vec::new(),
                revoked: None,
            };
            self.verifier.admit(issued.thumbprint, component);
        }

        /// Shows a certificate that the list names, so that nothing but the certificate is judged.
        fn shown(&self, issued: &Issued, after_days: u64) -> Result<(), Reason> {
            self.admit(issued);
            self.shown_unlisted(issued, after_days)
        }

        fn shown_unlisted(&self, issued: &Issued, after_days: u64) -> Result<(), Reason> {
            let der = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).expect("PEM");
            let seconds = u64::try_from(self.now.micros() / 1_000_000).expect("after 1970") + after_days * 86_400;
            let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
            let outcome = self.verifier.let_in(&der, &[], now);
            let noted = self.turned_away.take(Duration::ZERO).0.pop().map(|turned| turned.reason);
            assert_eq!(outcome.is_ok(), noted.is_none(), "what is refused is noted, and nothing else");
            noted.map_or(Ok(()), Err)
        }
    }

    #[test]
    fn a_component_of_this_environment_is_let_in_until_it_is_revoked_or_its_certificate_ends() {
        let world = World::new();
        let issued = issue(&world.authority, "prod-00", "prod", world.now);
        assert_eq!(world.shown(&issued, 0), Ok(()));
        let der = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).expect("PEM");
        assert!(world.verifier.knows(&der));
        assert_eq!(world.shown(&issued, 91), Err(Reason::OutOfDate));
        world.verifier.forget(issued.thumbprint);
        assert_eq!(world.shown_unlisted(&issued, 0), Err(Reason::Revoked));
        assert!(!world.verifier.knows(&der));
        // By name: every certificate of it, and nobody else's.
        let again = issue(&world.authority, "prod-00", "prod", world.now);
        assert_eq!((world.shown(&issued, 0), world.shown(&again, 0)), (Ok(()), Ok(())));
        let named = |name: &str| ComponentName::parse(name).expect("valid");
        world.verifier.known.end(&named("worker-2"));
        assert!(world.verifier.known.lets_in(&named("worker-1")));
        world.verifier.known.end(&named("worker-1"));
        assert!(!world.verifier.known.lets_in(&named("worker-1")));
        assert_eq!(world.shown_unlisted(&issued, 0), Err(Reason::Revoked));
        assert_eq!(world.shown_unlisted(&again, 0), Err(Reason::Revoked));
    }

    #[test]
    fn attack_ch25_a_certificate_that_names_another_environment_is_refused_even_from_the_own_authority() {
        let world = World::new();
        for (id, name) in [("staging-00", "staging"), ("prod-00", "staging"), ("prod-01", "prod")] {
            let issued = issue(&world.authority, id, name, world.now);
            assert_eq!(world.shown(&issued, 0), Err(Reason::OtherEnvironment), "{id} {name}");
        }
    }

    #[test]
    fn attack_ch25_an_authority_of_the_same_name_vouches_for_nobody() {
        let world = World::new();
        let other = authority("prod-00", world.now);
        assert_eq!(world.shown(&issue(&other, "prod-00", "prod", world.now), 0), Err(Reason::OtherAuthority));
        let staging = authority("staging-00", world.now);
        let issued = issue(&staging, "staging-00", "staging", world.now);
        assert_eq!(world.shown(&issued, 0), Err(Reason::OtherEnvironment));
    }

    #[test]
    fn attack_ch25_a_certificate_for_servers_or_without_a_name_is_refused() {
        let world = World::new();
        let server = world.authority.server_certificate(&[], world.now).expect("made");
        let now = UnixTime::since_unix_epoch(Duration::from_secs(1_767_225_600));
        assert!(world.verifier.let_in(&server.cert[0], &[], now).is_err());
        assert_eq!(world.turned_away.take(Duration::ZERO).0[0].reason, Reason::Malformed);
        let junk = CertificateDer::from(vec![0x30, 0x03, 1, 2, 3]);
        assert!(world.verifier.let_in(&junk, &[], now).is_err());
    }

    #[test]
    fn attack_ch25_a_thousand_refusals_do_not_fill_the_log() {
        let turned_away = TurnedAway::default();
        let one = Turned { what: "certificate", reason: Reason::OtherAuthority, digest: [0; 32] };
        let (mut recorded, mut counted) = (0, 0);
        for second in 0..120 {
            (0..1_000).for_each(|_| turned_away.note(one.clone()));
            let (list, more) = turned_away.take(Duration::from_secs(second));
            recorded += list.len();
            counted += more;
        }
        assert!((60..=200).contains(&recorded), "{recorded} in two minutes");
        let (list, more) = turned_away.take(Duration::from_secs(1_000));
        assert_eq!(recorded as u64 + counted + list.len() as u64 + more, 120_000, "none is forgotten");
    }
}
