//! Logs: JSON lines on stderr, without values and secrets.

use tracing_subscriber::EnvFilter;

/// Starts writing logs, unless the process does so already. `CRETA_LOG` chooses what (`info` by default), in the syntax of
/// `tracing-subscriber`; the libraries of TLS and HTTP stay at `warn`, since at finer levels they would write headers.
pub fn init_logging() {
    let filter = std::env::var("CRETA_LOG").unwrap_or_else(|_| "info".to_owned());
    let quiet = ["rustls", "h2", "hyper", "axum", "tower_http", "axum_server"];
    let mut filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    for library in quiet {
        filter = filter.add_directive(format!("{library}=warn").parse().expect("a plain directive"));
    }
    let writer =
        tracing_subscriber::fmt().json().flatten_event(true).with_env_filter(filter).with_writer(std::io::stderr);
    let _ = writer.try_init(); // Already started is fine.
}
