//! What TLS, HTTP and as many bytes cost by themselves: a handler that does nothing.

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::routing::post;
use axum_server::tls_rustls::RustlsConfig;
use bytes::Bytes;
use creta_server::tls_provider;
use rustls::pki_types::PrivateKeyDer;
use tokio::runtime::Runtime;

use crate::{JSON, Outcome};

/// Where it listens, and the files of the certificate that it shows.
pub(crate) struct Noop {
    pub(crate) url: String,
    pub(crate) certificate: String,
    pub(crate) key: String,
    _runtime: Runtime,
}

impl Noop {
    pub(crate) fn start(folder: &Path, answer: Vec<u8>) -> Outcome<Self> {
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        let (certificate, key) = (folder.join("noop.pem"), folder.join("noop.key"));
        std::fs::write(&certificate, own.cert.pem())?;
        std::fs::write(&key, own.signing_key.serialize_pem())?;
        let der = PrivateKeyDer::try_from(own.signing_key.serialize_der())?;
        let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(tls_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], der)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let url = format!("https://127.0.0.1:{}/v1/query", listener.local_addr()?.port());
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("noop").build()?;
        let answer = Bytes::from(answer);
        let routes = Router::new().route("/v1/query", post(move |_body: Bytes| async { (headers(), answer) }));
        let guard = runtime.enter();
        let mut server = axum_server::from_tcp_rustls(listener, RustlsConfig::from_config(Arc::new(config)))?;
        server.http_builder().http1().header_read_timeout(Duration::from_secs(10)).max_buf_size(128 << 10);
        drop(guard);
        runtime.spawn(server.serve(routes.into_make_service()));
        let [certificate, key] = [certificate, key].map(|path| path.display().to_string());
        Ok(Self { url, certificate, key, _runtime: runtime })
    }
}

/// The headers of the server's answers.
fn headers() -> HeaderMap {
    HeaderMap::from_iter(
        [
            (header::CONTENT_TYPE, JSON),
            (header::CACHE_CONTROL, "no-store"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::STRICT_TRANSPORT_SECURITY, "max-age=31536000"),
            (header::HeaderName::from_static("x-request-id"), "0123456789abcdef"),
        ]
        .map(|(name, value)| (name, HeaderValue::from_static(value))),
    )
}
