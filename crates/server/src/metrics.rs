//! Counts and times for Prometheus. Labels hold routes, methods, statuses and scopes; never anything that came in.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use creta_model::Scope;
use metrics::{Counter, Histogram, counter, gauge, histogram, with_local_recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

/// Bounds of the latency histogram in seconds.
const SECONDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 10.0, 100.0];

/// A server's own registry, so that several servers in one process do not mix.
pub(crate) struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    /// What every request counts, by method, route and status. Routes are few, and so are statuses.
    requests: Kept<(&'static str, &'static str, u16), (Counter, Histogram)>,
    /// Rows asked, by scope; there are as many as tenants.
    rows_asked: Kept<Scope, Counter>,
}

/// Meters that were looked up before: finding one by its labels takes longer than counting.
struct Kept<K, M>(RwLock<HashMap<K, M>>);

impl<K: Hash + Eq + Clone, M: Clone> Kept<K, M> {
    fn new() -> Self {
        Self(RwLock::default())
    }

    fn get(&self, key: &K, make: impl FnOnce() -> M) -> M {
        if let Some(meter) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(key) {
            return meter.clone();
        }
        let meter = make();
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), meter.clone());
        meter
    }
}

/// The only way to a label that names a tenant.
struct ScopeLabel(String);

impl ScopeLabel {
    fn of(scope: &Scope) -> Self {
        Self(scope.path())
    }
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let builder = PrometheusBuilder::new().set_buckets(&SECONDS).expect("there are bounds");
        let recorder = builder.build_recorder();
        Self { handle: recorder.handle(), recorder, requests: Kept::new(), rows_asked: Kept::new() }
    }

    /// One answered request.
    pub(crate) fn request(&self, method: &'static str, route: &'static str, status: u16, time: Duration) {
        let (counter, histogram) = self.requests.get(&(method, route, status), || {
            with_local_recorder(&self.recorder, || {
                let status = status.to_string();
                (
                    counter!("creta_requests_total", "method" => method, "route" => route, "status" => status),
                    histogram!("creta_request_seconds", "method" => method, "route" => route),
                )
            })
        });
        counter.increment(1);
        histogram.record(time.as_secs_f64());
    }

    /// Rows that a scope was asked about.
    pub(crate) fn rows_asked(&self, scope: &Scope, rows: u64) {
        let counter = self.rows_asked.get(scope, || {
            let ScopeLabel(scope) = ScopeLabel::of(scope);
            with_local_recorder(&self.recorder, || counter!("creta_query_rows_total", "scope" => scope))
        });
        counter.increment(rows);
    }

    /// Rows of facts that a scope took in.
    pub(crate) fn rows_ingested(&self, scope: &Scope, rows: u64) {
        let ScopeLabel(scope) = ScopeLabel::of(scope);
        with_local_recorder(&self.recorder, || counter!("creta_ingested_rows_total", "scope" => scope).increment(rows));
    }

    /// Bytes of answers to those who run the environment.
    pub(crate) fn staff_bytes(&self, bytes: u64) {
        with_local_recorder(&self.recorder, || counter!("creta_staff_bytes_total").increment(bytes));
    }

    /// An attempt to get a token, by outcome: `issued`, `refused` or `waiting`.
    pub(crate) fn token(&self, outcome: &'static str) {
        with_local_recorder(&self.recorder, || counter!("creta_tokens_total", "outcome" => outcome).increment(1));
    }

    /// A certificate that was found in its files, and whether it could be used.
    pub(crate) fn certificate(&self, good: bool) {
        let outcome = if good { "replaced" } else { "broken" };
        with_local_recorder(&self.recorder, || {
            counter!("creta_certificates_total", "outcome" => outcome).increment(1);
            gauge!("creta_certificate_broken").set(if good { 0.0 } else { 1.0 });
        });
    }

    /// A witness that was asked to cosign, by what came of it.
    pub(crate) fn witness(&self, name: &str, outcome: &'static str) {
        let name = name.to_owned();
        with_local_recorder(&self.recorder, || {
            counter!("creta_witness_requests_total", "witness" => name, "outcome" => outcome).increment(1);
        });
    }

    /// Moves recorded times into their histograms; without that they are kept one by one.
    pub(crate) fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    /// The exposition format, version 0.0.4, with the numbers of light and bulk requests at work now.
    pub(crate) fn render(&self, light: usize, bulk: usize) -> String {
        with_local_recorder(&self.recorder, || {
            gauge!("creta_requests_at_work", "weight" => "light").set(light as f64);
            gauge!("creta_requests_at_work", "weight" => "bulk").set(bulk as f64);
        });
        self.handle.run_upkeep();
        self.handle.render()
    }
}
