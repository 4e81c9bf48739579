//! The metrics of the module, named once.
//!
//! Owns names, host ids and what is counted between two ticks: each call of the host costs more than counting, so what
//! was counted is handed over once a tick. Envoy shows them as `wasmcustom.<name>`; what follows `.result.`, `.code.` and the like
//! becomes a label by the `stats_tags` of the bootstrap, and `/stats/prometheus` leaves the prefix out. Names of the
//! `thanos_receive_` family and `http_requests_total` are those of Thanos Receive, so that its dashboards and alerts go
//! on working.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use proxy_wasm::hostcalls::{define_metric, increment_metric, record_metric};
use proxy_wasm::types::MetricType;
use ringside_filter_core::{
    Config, Counter, Fanouts, Form, LEVELS, Levels, Limit, Loaded, Response, SharedData,
};
use ringside_hashring::Tenants;

use crate::effects::now_ms;
use crate::shared_data::HostData;

/// The statuses that a write is answered with, the last two by Envoy alone.
const CODES: [u16; 12] = [200, 204, 400, 404, 405, 409, 413, 415, 429, 503, 408, 504];
/// Where the workers keep the names of all rings that they have shown.
const SHOWN: &str = "ringside.shown";

/// Host ids of the metrics. A metric that the host refuses is not counted.
pub(crate) struct Stats {
    /// All of them, some under their names below.
    counters: Vec<Rc<Metric>>,
    forward: ByResult,
    replication: ByResult,
    late_write: ByResult,
    late_write_given_up: Rc<Metric>,
    unchanged: Rc<Metric>,
    split: Rc<Metric>,
    empty: Rc<Metric>,
    received_bytes: Rc<Metric>,
    sent_bytes: Rc<Metric>,
    held_back: Rc<Metric>,
    waits: Rc<Metric>,
    client_gone: Rc<Metric>,
    charge_lost: Rc<Metric>,
    requests: Vec<(u16, Rc<Metric>)>,
    limits: Vec<(Limit, Rc<Metric>)>,
    refreshes: Rc<Metric>,
    changes: Rc<Metric>,
    errors: Rc<Metric>,
    reload_successful: Gauge,
    under_way: [Gauge; LEVELS],
    own: RefCell<Levels>,
}

/// A counter, and what the host has not heard of yet.
struct Metric {
    id: Option<u32>,
    counted: Cell<i64>,
}

struct Gauge(Option<u32>);

struct ByResult {
    success: Rc<Metric>,
    error: Rc<Metric>,
}

impl Metric {
    fn add_one(&self) {
        self.add(1);
    }

    fn add(&self, number: i64) {
        self.counted.set(self.counted.get().saturating_add(number));
    }

    fn hand_over(&self) {
        let counted = self.counted.take();
        if let (Some(id), 1..) = (self.id, counted) {
            let _ = increment_metric(id, counted);
        }
    }
}

impl Gauge {
    fn new(name: &str) -> Self {
        Self(define_metric(MetricType::Gauge, name).ok())
    }

    fn set(&self, value: u64) {
        if let Some(id) = self.0 {
            let _ = record_metric(id, value);
        }
    }
}

impl ByResult {
    fn of(&self, success: bool) -> &Metric {
        if success { &self.success } else { &self.error }
    }
}

impl Stats {
    /// Defines all counters, so that they are there with zero before the first request.
    pub(crate) fn define() -> Self {
        let counters = RefCell::new(Vec::new());
        let counter = |name: &str| {
            let id = define_metric(MetricType::Counter, name).ok();
            let metric = Rc::new(Metric { id, counted: Cell::new(0) });
            counters.borrow_mut().push(Rc::clone(&metric));
            metric
        };
        let by_result = |name: &str| ByResult {
            success: counter(&format!("{name}.result.success")),
            error: counter(&format!("{name}.result.error")),
        };
        let form = |form| counter(&format!("ringside_writes_total.form.{form}"));
        let request = |code| (code, counter(&format!("http_requests_total.code.{code}.handler.receive")));
        let limit =
            |limit: Limit| (limit, counter(&format!("ringside_limited_total.limit.{}", limit.name())));
        Self {
            forward: by_result("thanos_receive_forward_requests_total"),
            replication: by_result("thanos_receive_replications_total"),
            late_write: by_result("ringside_late_writes_total"),
            late_write_given_up: counter("ringside_late_writes_given_up_total"),
            unchanged: form("unchanged"),
            split: form("split"),
            empty: form("empty"),
            received_bytes: counter("ringside_received_bytes_total"),
            sent_bytes: counter("ringside_forwarded_bytes_total"),
            held_back: counter("ringside_parts_held_back_total"),
            waits: counter("ringside_parts_waited_for_cluster_total"),
            client_gone: counter("ringside_clients_gone_total"),
            charge_lost: counter("ringside_rate_charges_lost_total"),
            requests: CODES.into_iter().map(request).collect(),
            limits: Limit::ALL.into_iter().map(limit).collect(),
            refreshes: counter("thanos_receive_hashrings_file_refreshes_total"),
            changes: counter("thanos_receive_hashrings_file_changes_total"),
            errors: counter("thanos_receive_hashrings_file_errors_total"),
            reload_successful: Gauge::new("thanos_receive_config_last_reload_successful"),
            under_way: [
                Gauge::new("ringside_writes_in_flight"),
                Gauge::new("ringside_in_flight_bytes"),
                Gauge::new("ringside_late_write_bytes"),
                Gauge::new("ringside_arriving_bytes"),
            ],
            own: RefCell::new(Levels::new(&HostData)),
            counters: counters.take(),
        }
    }

    /// Counts what is new about a configuration, good or bad.
    pub(crate) fn loaded(&self, loaded: Loaded) {
        if loaded.configuration {
            self.refreshes.add_one();
        }
        if loaded.hashrings {
            self.changes.add_one();
        }
    }

    /// Counts a configuration that is refused.
    pub(crate) fn refused(&self, loaded: Loaded) {
        if loaded.configuration {
            self.errors.add_one();
        }
        self.reload_successful.set(0);
    }

    /// Shows a configuration that is in force.
    pub(crate) fn configured(&self, config: &Config, loaded: Loaded) {
        if loaded.refusal {
            self.errors.add_one();
        }
        self.reload_successful.set(u64::from(config.refusal.is_none()));
        if loaded.configuration && config.refusal.is_none() {
            Gauge::new("thanos_receive_config_last_reload_success_timestamp_seconds").set(now_ms() / 1000);
        }
        Gauge::new("thanos_receive_config_hash").set(config.hashrings_hash >> 12);
        Gauge::new("thanos_receive_replication_factor").set(config.replication_factor as u64);
        let mut shown = Vec::new();
        for named in config.hashrings.rings() {
            let name = label_value(named.name());
            let tenants = match named.tenants() {
                Tenants::Exact(tenants) => tenants.len(),
                Tenants::Glob(patterns) => patterns.len(),
                Tenants::All => 0,
            };
            show_ring(&name, named.ring().endpoints().len(), tenants);
            shown.push(name);
        }
        forget_rings(shown);
    }

    /// Counts an event of a write.
    pub(crate) fn count(&self, counter: Counter) {
        let metric = match counter {
            Counter::Sent { form, received, sent } => {
                self.received_bytes.add(received as i64);
                self.sent_bytes.add(sent as i64);
                match form {
                    Form::Unchanged => &self.unchanged,
                    Form::Split => &self.split,
                }
            }
            Counter::Empty => &self.empty,
            Counter::Forward { success } => self.forward.of(success),
            Counter::Replication { success } => self.replication.of(success),
            Counter::LateWrite { success } => self.late_write.of(success),
            Counter::LateWriteGivenUp => &self.late_write_given_up,
            Counter::HeldBack => &self.held_back,
            Counter::Waits => &self.waits,
            Counter::Limited(limit) => return self.limited(limit),
            Counter::ChargeLost => &self.charge_lost,
            Counter::ClientGone => &self.client_gone,
        };
        metric.add_one();
    }

    /// Counts an answer to a client.
    pub(crate) fn responded(&self, response: &Response) {
        self.answered(response.status);
        if let Some(limit) = response.limit {
            self.limited(limit);
        }
    }

    /// Counts a status that a client got.
    pub(crate) fn answered(&self, status: u16) {
        if let Some((_, metric)) = self.requests.iter().find(|(code, _)| *code == status) {
            metric.add_one();
        }
    }

    /// Hands over what was counted.
    pub(crate) fn hand_over(&self) {
        self.counters.iter().for_each(|counter| counter.hand_over());
    }

    /// Shows how much is under way in all workers, as far as it is known in this one.
    pub(crate) fn under_way(&self, fanouts: &Fanouts) {
        let own =
            [fanouts.writes(), fanouts.bytes_under_way(), fanouts.late_bytes(), fanouts.arriving_bytes()];
        let sums = self.own.borrow_mut().set(&HostData, own.map(|level| level as u64), now_ms());
        for (gauge, sum) in self.under_way.iter().zip(sums.into_iter().flatten()) {
            gauge.set(sum);
        }
    }

    fn limited(&self, limit: Limit) {
        if let Some((_, metric)) = self.limits.iter().find(|(known, _)| *known == limit) {
            metric.add_one();
        }
    }
}

fn show_ring(name: &str, nodes: usize, tenants: usize) {
    Gauge::new(&format!("thanos_receive_hashring_nodes.name.{name}")).set(nodes as u64);
    Gauge::new(&format!("thanos_receive_hashring_tenants.name.{name}")).set(tenants as u64);
}

/// Shows rings of earlier configurations as empty: the host forgets no metric.
fn forget_rings(mut shown: Vec<String>) {
    let known = HostData.get(SHOWN);
    let (names, version) = known.map_or_else(Default::default, |(names, version)| (names, Some(version)));
    for name in String::from_utf8_lossy(&names).lines() {
        if !shown.iter().any(|other| other == name) {
            show_ring(name, 0, 0);
            shown.push(name.to_owned());
        }
    }
    HostData.set(SHOWN, shown.join("\n").as_bytes(), version);
}

/// A ring's name as part of a metric's name, where a dot would end it.
fn label_value(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    if name.is_empty() { "default".to_owned() } else { name.chars().map(plain).collect() }
}
