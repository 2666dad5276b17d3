//! The one place that makes clients for other servers: the same versions and suites as for the own listeners, nothing
//! without TLS, no redirects, no proxies.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use ureq::Agent;
use ureq::http::Uri;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

use super::{VERSIONS, provider};

/// A client that may be made.
pub(crate) struct Outbound<'a> {
    /// The authorities to trust, in PEM; one or more.
    pub(crate) ca: &'a [u8],
    /// How long a connection may take to stand; without it, as long as everything.
    pub(crate) connect: Option<Duration>,
    /// How long a request may take from its start to the end of its answer.
    pub(crate) whole: Duration,
    /// A certificate to show, and its key, in PEM.
    pub(crate) shows: Option<(&'a str, &'a str)>,
    /// Where every name leads, for looking at a listener under a name of its certificate.
    pub(crate) at: Option<SocketAddr>,
}

/// Sends requests to servers that its authority vouches for.
pub(crate) struct Client(Agent);

/// Leads every name to one address.
#[derive(Debug)]
struct Always(SocketAddr);

impl Resolver for Always {
    fn resolve(
        &self,
        _uri: &Uri,
        _config: &ureq::config::Config,
        _timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut addresses = self.empty();
        addresses.push(self.0);
        Ok(addresses)
    }
}

impl Outbound<'_> {
    /// The client. The error is a sentence without a name in it.
    pub(crate) fn client(&self) -> Result<Client, String> {
        let root = |item| if let Ok(PemItem::Certificate(root)) = item { Some(root) } else { None };
        let roots: Vec<Certificate<'static>> = parse_pem(self.ca).filter_map(root).collect();
        if roots.is_empty() {
            return Err("it holds no certificate in PEM form".to_owned());
        }
        let shows = self.shows.map(|(certificate, key)| {
            let certificate = Certificate::from_pem(certificate.as_bytes());
            let key = PrivateKey::from_pem(key.as_bytes());
            let pair = certificate.and_then(|certificate| Ok((certificate, key?)));
            pair.map(|(certificate, key)| ClientCert::new_with_certs(&[certificate], key))
        });
        let shows = shows.transpose().map_err(|_| "the certificate to show is not in PEM form".to_owned())?;
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&roots))
            .unversioned_rustls_crypto_provider(Arc::new(provider()))
            .client_cert(shows)
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .https_only(true)
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_connect(self.connect)
            .timeout_global(Some(self.whole))
            .user_agent(concat!("creta/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Client(match self.at {
            Some(address) => Agent::with_parts(config, DefaultConnector::new(), Always(address)),
            None => config.new_agent(),
        }))
    }
}

impl Client {
    /// Sends a request. An address without TLS is an error, before anything is sent.
    pub(crate) fn run(
        &self,
        request: ureq::http::Request<impl ureq::AsSendBody>,
    ) -> Result<ureq::http::Response<ureq::Body>, ureq::Error> {
        self.0.run(request)
    }
}

/// Whether an address is of a server that is spoken to over TLS, and names nothing else besides.
pub(crate) fn is_https(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    let named =
        uri.authority().is_some_and(|authority| !authority.as_str().contains('@') && !authority.host().is_empty());
    uri.scheme_str() == Some("https") && named
}

/// How a handshake ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Handshake {
    /// With this version and this suite.
    Agreed { version: String, suite: String },
    /// The peer offers nothing that is spoken here.
    Weak(String),
    /// The peer has no certificate that is trusted here.
    NotTrusted(String),
    /// There is nobody, or the connection ends.
    Unreachable(String),
}

/// Shakes hands with the server at `url`, trusting `ca` (PEM), and says how that ended. Sends nothing else.
pub(crate) fn handshake(url: &str, ca: &[u8], limit: Duration) -> Handshake {
    let unreachable = |error: &dyn std::fmt::Display| Handshake::Unreachable(error.to_string());
    if !is_https(url) {
        return Handshake::Weak("its address is not one of TLS".to_owned());
    }
    let uri: Uri = url.parse().expect("it was parsed a moment ago");
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let address = match (host.as_str(), uri.port_u16().unwrap_or(443)).to_socket_addrs().map(|mut all| all.next()) {
        Ok(Some(address)) => address,
        Ok(None) => return Handshake::Unreachable("its name leads nowhere".to_owned()),
        Err(error) => return unreachable(&error),
    };
    let mut roots = RootCertStore::empty();
    // Of a system's many authorities some may be of forms that are not read here.
    let (taken, _) = roots.add_parsable_certificates(CertificateDer::pem_slice_iter(ca).filter_map(Result::ok));
    if taken == 0 {
        return Handshake::NotTrusted("its authority's certificate cannot be read".to_owned());
    }
    let config = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(VERSIONS)
        .map(|builder| builder.with_root_certificates(roots).with_no_client_auth());
    let name = ServerName::try_from(host).map_err(|error| error.to_string());
    let connection = match (config, name) {
        (Ok(config), Ok(name)) => ClientConnection::new(Arc::new(config), name).map_err(|error| error.to_string()),
        (Err(error), _) => Err(error.to_string()),
        (_, Err(error)) => Err(error),
    };
    let (mut connection, mut socket) = match (connection, TcpStream::connect_timeout(&address, limit)) {
        (Ok(connection), Ok(socket)) => (connection, socket),
        (Err(error), _) => return Handshake::Unreachable(error),
        (_, Err(error)) => return unreachable(&error),
    };
    let limited = socket.set_read_timeout(Some(limit)).and_then(|()| socket.set_write_timeout(Some(limit)));
    let ended = limited.and_then(|()| complete(&mut connection, &mut socket));
    match ended {
        Ok(()) => Handshake::Agreed {
            version: connection.protocol_version().map_or_else(String::new, |version| format!("{version:?}")),
            suite: connection
                .negotiated_cipher_suite()
                .map_or_else(String::new, |suite| format!("{:?}", suite.suite())),
        },
        Err(error) => match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::InvalidCertificate(reason)) => Handshake::NotTrusted(format!("{reason:?}")),
            None => unreachable(&error),
            Some(rustls::Error::InvalidMessage(_)) => Handshake::Weak("it does not speak TLS".to_owned()),
            Some(refusal) => Handshake::Weak(refusal.to_string()),
        },
    }
}

fn complete(connection: &mut ClientConnection, socket: &mut TcpStream) -> io::Result<()> {
    while connection.is_handshaking() {
        connection.complete_io(socket)?;
    }
    connection.send_close_notify();
    let _ = connection.write_tls(socket); // Whether the farewell arrives does not matter.
    let _ = socket.flush();
    let _ = socket.read(&mut [0; 1]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_ci13_addresses_without_tls_are_told_apart() {
        for good in ["https://w1", "https://w1:7444/log", "https://[::1]:7444", "HTTPS://w1"] {
            assert!(is_https(good), "{good}");
        }
        for bad in [
            "http://w1",
            "w1:7444",
            "https:/w1",
            "https://",
            "ftp://w1",
            "https://user@w1",
            " https://w1",
            "httpsx://w1",
            "https://good@evil",
            "//w1",
            "",
        ] {
            assert!(!is_https(bad), "{bad}");
        }
    }
}
