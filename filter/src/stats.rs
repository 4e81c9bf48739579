//! The metrics of the module, named once.
//!
//! Owns names and host ids. Envoy shows them as `wasmcustom.<name>`; what follows `.result.`, `.code.`, `.form.` and
//! `.name.` becomes a label by the `stats_tags` of the bootstrap. Names of the `thanos_receive_` family are those of
//! Thanos Receive, so that its dashboards and alerts go on working.

use proxy_wasm::hostcalls::{define_metric, increment_metric, record_metric};
use proxy_wasm::types::MetricType;
use ringside_filter_core::{Config, Counter, Form};

/// The statuses that the filter answers with.
const CODES: [u16; 9] = [200, 204, 400, 405, 409, 413, 415, 429, 503];

/// Host ids of the metrics. A metric that the host refuses is not counted.
pub(crate) struct Stats {
    forward: ByResult,
    replication: ByResult,
    late_write: ByResult,
    unchanged: Metric,
    split: Metric,
    empty: Metric,
    held_back: Metric,
    client_gone: Metric,
    charge_lost: Metric,
    requests: Vec<(u16, Metric)>,
}

#[derive(Clone, Copy)]
struct Metric(Option<u32>);

struct ByResult {
    success: Metric,
    error: Metric,
}

impl Metric {
    fn counter(name: &str) -> Self {
        Self(define_metric(MetricType::Counter, name).ok())
    }

    fn gauge(name: &str) -> Self {
        Self(define_metric(MetricType::Gauge, name).ok())
    }

    fn add_one(self) {
        if let Some(id) = self.0 {
            let _ = increment_metric(id, 1);
        }
    }

    fn set(self, value: u64) {
        if let Some(id) = self.0 {
            let _ = record_metric(id, value);
        }
    }
}

impl ByResult {
    fn counter(name: &str) -> Self {
        Self {
            success: Metric::counter(&format!("{name}.result.success")),
            error: Metric::counter(&format!("{name}.result.error")),
        }
    }

    fn of(&self, success: bool) -> Metric {
        if success { self.success } else { self.error }
    }
}

impl Stats {
    /// Defines all counters, so that they are there with zero before the first request.
    pub(crate) fn define() -> Self {
        let form = |form| Metric::counter(&format!("ringside_writes_total.form.{form}"));
        let request = |code| (code, Metric::counter(&format!("ringside_requests_total.code.{code}")));
        Self {
            forward: ByResult::counter("thanos_receive_forward_requests_total"),
            replication: ByResult::counter("thanos_receive_replications_total"),
            late_write: ByResult::counter("ringside_late_writes_total"),
            unchanged: form("unchanged"),
            split: form("split"),
            empty: form("empty"),
            held_back: Metric::counter("ringside_parts_held_back_total"),
            client_gone: Metric::counter("ringside_clients_gone_total"),
            charge_lost: Metric::counter("ringside_rate_charges_lost_total"),
            requests: CODES.into_iter().map(request).collect(),
        }
    }

    /// Shows a configuration.
    pub(crate) fn configured(&self, config: &Config) {
        Metric::gauge("thanos_receive_replication_factor").set(config.replication_factor as u64);
        for ring in config.hashrings.rings() {
            let name = format!("thanos_receive_hashring_nodes.name.{}", label_value(ring.name()));
            Metric::gauge(&name).set(ring.ring().endpoints().len() as u64);
        }
    }

    /// Counts an event of a write.
    pub(crate) fn count(&self, counter: Counter) {
        let metric = match counter {
            Counter::Sent(Form::Unchanged) => self.unchanged,
            Counter::Sent(Form::Split) => self.split,
            Counter::Empty => self.empty,
            Counter::Forward { success } => self.forward.of(success),
            Counter::Replication { success } => self.replication.of(success),
            Counter::LateWrite { success } => self.late_write.of(success),
            Counter::HeldBack => self.held_back,
            Counter::ClientGone => self.client_gone,
        };
        metric.add_one();
    }

    /// Counts a write that no balance was charged for.
    pub(crate) fn charge_lost(&self) {
        self.charge_lost.add_one();
    }

    /// Counts an answer to a client.
    pub(crate) fn responded(&self, status: u16) {
        if let Some((_, metric)) = self.requests.iter().find(|(code, _)| *code == status) {
            metric.add_one();
        }
    }
}

/// A ring's name as part of a metric's name, where a dot would end it.
fn label_value(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    if name.is_empty() { "default".to_owned() } else { name.chars().map(plain).collect() }
}
