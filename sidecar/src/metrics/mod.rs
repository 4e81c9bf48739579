//! Every metric of the sidecar, named once.
//!
//! Names are Prometheus' and Thanos' where they have one, so that their dashboards and alerts go on working;
//! `ringside_*` is our own. The encoder appends `_total` to counters. What the storage counts itself is read from
//! it at scrape time by [`TenantCollector`], what the kernel counts by
//! [`ProcessCollector`](crate::process::ProcessCollector).

mod tenants;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

pub(crate) use tenants::TenantCollector;

use crate::tenant_id::TenantId;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct HttpLabels {
    pub(crate) code: u16,
    pub(crate) handler: &'static str,
    pub(crate) method: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct WriteLabels {
    pub(crate) code: u16,
    pub(crate) tenant: TenantId,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct TenantLabels {
    pub(crate) tenant: TenantId,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct LimitLabels {
    pub(crate) tenant: TenantId,
    pub(crate) limit: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ReasonLabel {
    pub(crate) reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct BucketLabels {
    pub(crate) bucket: String,
    pub(crate) operation: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct BucketName {
    pub(crate) bucket: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct HashringName {
    pub(crate) name: String,
}

type FloatGauge = Gauge<f64, AtomicU64>;
type HistogramFamily<L> = Family<L, Histogram, fn() -> Histogram>;

/// The metrics that the sidecar's own code sets.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) http_requests: Family<HttpLabels, Counter>,
    pub(crate) http_duration: HistogramFamily<HttpLabels>,
    pub(crate) write_timeseries: HistogramFamily<WriteLabels>,
    pub(crate) write_samples: HistogramFamily<WriteLabels>,
    pub(crate) series_refused: Family<TenantLabels, Counter>,
    pub(crate) metadata_bytes_dropped: Family<TenantLabels, Counter>,
    pub(crate) requests_turned_away: Family<ReasonLabel, Counter>,
    pub(crate) write_limits: Family<LimitLabels, Gauge>,
    pub(crate) write_limits_hit: HistogramFamily<LimitLabels>,
    pub(crate) head_series_limit: Family<TenantLabels, Gauge>,
    pub(crate) head_series_limited: Family<TenantLabels, Counter>,
    pub(crate) limits_reloads: Counter,
    pub(crate) limits_reload_errors: Counter,
    pub(crate) gate_max: Gauge,
    pub(crate) gate_in_flight: Gauge,
    pub(crate) gate_total: Counter,
    pub(crate) gate_duration: Histogram,
    pub(crate) read_only: Gauge,
    pub(crate) storage_free_bytes: Gauge,
    pub(crate) storage_min_free_bytes: Gauge,
    pub(crate) memory_max_bytes: Gauge,
    pub(crate) memory_new_series_refused: Gauge,
    pub(crate) memory_writes_refused: Gauge,
    pub(crate) tenant_open_failures: Family<TenantLabels, Counter>,
    pub(crate) replay_duration: Family<TenantLabels, FloatGauge>,
    pub(crate) compactions_triggered: Family<TenantLabels, Counter>,
    pub(crate) compactions: Family<TenantLabels, Counter>,
    pub(crate) compactions_failed: Family<TenantLabels, Counter>,
    pub(crate) compaction_duration: HistogramFamily<TenantLabels>,
    pub(crate) time_retentions: Family<TenantLabels, Counter>,
    pub(crate) size_retentions: Family<TenantLabels, Counter>,
    pub(crate) retention_failures: Family<TenantLabels, Counter>,
    pub(crate) shipper_dir_syncs: Family<TenantLabels, Counter>,
    pub(crate) shipper_dir_sync_failures: Family<TenantLabels, Counter>,
    pub(crate) shipper_uploads: Family<TenantLabels, Counter>,
    pub(crate) shipper_upload_failures: Family<TenantLabels, Counter>,
    pub(crate) shipper_blocks_waiting: Family<TenantLabels, Gauge>,
    pub(crate) bucket_operations: Family<BucketLabels, Counter>,
    pub(crate) bucket_failures: Family<BucketLabels, Counter>,
    pub(crate) bucket_last_upload: Family<BucketName, FloatGauge>,
    pub(crate) hashring_nodes: Family<HashringName, Gauge>,
    pub(crate) hashrings_file_errors: Counter,
    pub(crate) ready: Gauge,
}

impl Metrics {
    /// Creates all metrics and the registry that knows them. Collectors are added by their owners.
    pub(crate) fn new() -> (Arc<Self>, Registry) {
        let metrics = Self {
            http_requests: Family::default(),
            http_duration: Family::new_with_constructor(request_seconds),
            write_timeseries: Family::new_with_constructor(request_elements),
            write_samples: Family::new_with_constructor(request_elements),
            series_refused: Family::default(),
            metadata_bytes_dropped: Family::default(),
            requests_turned_away: Family::default(),
            write_limits: Family::default(),
            write_limits_hit: Family::new_with_constructor(excess),
            head_series_limit: Family::default(),
            head_series_limited: Family::default(),
            limits_reloads: Counter::default(),
            limits_reload_errors: Counter::default(),
            gate_max: Gauge::default(),
            gate_in_flight: Gauge::default(),
            gate_total: Counter::default(),
            gate_duration: request_seconds(),
            read_only: Gauge::default(),
            storage_free_bytes: Gauge::default(),
            storage_min_free_bytes: Gauge::default(),
            memory_max_bytes: Gauge::default(),
            memory_new_series_refused: Gauge::default(),
            memory_writes_refused: Gauge::default(),
            tenant_open_failures: Family::default(),
            replay_duration: Family::default(),
            compactions_triggered: Family::default(),
            compactions: Family::default(),
            compactions_failed: Family::default(),
            compaction_duration: Family::new_with_constructor(compaction_seconds),
            time_retentions: Family::default(),
            size_retentions: Family::default(),
            retention_failures: Family::default(),
            shipper_dir_syncs: Family::default(),
            shipper_dir_sync_failures: Family::default(),
            shipper_uploads: Family::default(),
            shipper_upload_failures: Family::default(),
            shipper_blocks_waiting: Family::default(),
            bucket_operations: Family::default(),
            bucket_failures: Family::default(),
            bucket_last_upload: Family::default(),
            hashring_nodes: Family::default(),
            hashrings_file_errors: Counter::default(),
            ready: Gauge::default(),
        };
        let mut registry = Registry::default();
        metrics.register_write_path(&mut registry);
        metrics.register_limits(&mut registry);
        metrics.register_room(&mut registry);
        metrics.register_storage(&mut registry);
        metrics.register_shipping(&mut registry);
        (Arc::new(metrics), registry)
    }

    fn register_write_path(&self, r: &mut Registry) {
        r.register("http_requests", "HTTP requests answered", self.http_requests.clone());
        r.register("http_request_duration_seconds", "Time to answer a request", self.http_duration.clone());
        let help = "Series per write request";
        r.register("thanos_receive_write_timeseries", help, self.write_timeseries.clone());
        r.register("thanos_receive_write_samples", "Samples per write request", self.write_samples.clone());
        let help = "Series that were refused while the rest of their request was stored";
        r.register("ringside_receive_series_refused", help, self.series_refused.clone());
        let help = "Bytes of metadata and unknown fields that were sent and not kept";
        r.register("ringside_receive_metadata_dropped_bytes", help, self.metadata_bytes_dropped.clone());
        let help = "Sidecars per hashring of --receive.hashrings-file";
        r.register("thanos_receive_hashring_nodes", help, self.hashring_nodes.clone());
        let help = "Times that --receive.hashrings-file could not be read or was not valid";
        r.register("thanos_receive_hashrings_file_errors", help, self.hashrings_file_errors.clone());
        r.register("ringside_ready", "Whether all tenants found at start have replayed", self.ready.clone());
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        r.register("ringside_build", "The version that runs", build);
    }

    fn register_limits(&self, r: &mut Registry) {
        let help = "Limits of a request, 0 for none";
        r.register("thanos_receive_write_limits", help, self.write_limits.clone());
        let help = "How far beyond its limit a refused request was";
        r.register("thanos_receive_write_limits_hit", help, self.write_limits_hit.clone());
        let help = "Series that the tenant's head may have, 0 for any number";
        r.register("thanos_receive_head_series_limit", help, self.head_series_limit.clone());
        let help = "Requests with series that were refused because there are too many";
        r.register("thanos_receive_head_series_limited_requests", help, self.head_series_limited.clone());
        let help = "Times that the limits file changed";
        r.register("thanos_receive_limits_config_reload", help, self.limits_reloads.clone());
        let help = "Times that the limits file changed and could not be read or was not valid";
        r.register("thanos_receive_limits_config_reload_err", help, self.limits_reload_errors.clone());
        let gate = |what| format!("thanos_receive_write_request_concurrent_gate_write_requests_{what}");
        r.register(gate("max"), "Writes at once, 0 for any number", self.gate_max.clone());
        r.register(gate("in_flight"), "Writes that had their turn and go on", self.gate_in_flight.clone());
        // The encoder puts _total behind a counter's name.
        let name = "thanos_receive_write_request_concurrent_gate_write_requests";
        r.register(name, "Writes that had their turn", self.gate_total.clone());
        r.register(gate("duration_seconds"), "Wait for the turn", self.gate_duration.clone());
    }

    fn register_room(&self, r: &mut Registry) {
        let help = "Requests refused unread because memory or disk is short";
        r.register("ringside_receive_requests_turned_away", help, self.requests_turned_away.clone());
        let help = "Whether writes are refused because the disk is nearly full";
        r.register("ringside_read_only", help, self.read_only.clone());
        let help = "Room on the disk of --tsdb.path";
        r.register("ringside_storage_free_bytes", help, self.storage_free_bytes.clone());
        let help = "Room below which writes are refused";
        r.register("ringside_storage_min_free_bytes", help, self.storage_min_free_bytes.clone());
        let help = "Ceiling of resident memory, 0 for none";
        r.register("ringside_memory_max_bytes", help, self.memory_max_bytes.clone());
        let help = "Whether new series are refused because memory is short";
        r.register("ringside_memory_new_series_refused", help, self.memory_new_series_refused.clone());
        let help = "Whether writes are refused because memory is at its ceiling";
        r.register("ringside_memory_writes_refused", help, self.memory_writes_refused.clone());
    }

    fn register_storage(&self, r: &mut Registry) {
        let help = "Attempts to open a tenant that failed";
        r.register("ringside_tenant_open_failures", help, self.tenant_open_failures.clone());
        let help = "Time that the tenant's replay took";
        r.register("prometheus_tsdb_data_replay_duration_seconds", help, self.replay_duration.clone());
        let help = "Block cuts begun";
        r.register("prometheus_tsdb_compactions_triggered", help, self.compactions_triggered.clone());
        r.register("prometheus_tsdb_compactions", "Blocks cut from the head", self.compactions.clone());
        let help = "Block cuts that failed";
        r.register("prometheus_tsdb_compactions_failed", help, self.compactions_failed.clone());
        let help = "Time to cut a block";
        r.register("prometheus_tsdb_compaction_duration_seconds", help, self.compaction_duration.clone());
        let help = "Blocks deleted because they were older than the retention";
        r.register("prometheus_tsdb_time_retentions", help, self.time_retentions.clone());
        let help = "Blocks deleted because the tenant had more bytes than it may";
        r.register("prometheus_tsdb_size_retentions", help, self.size_retentions.clone());
        let help = "Retention runs that failed";
        r.register("ringside_retention_failures", help, self.retention_failures.clone());
    }

    fn register_shipping(&self, r: &mut Registry) {
        r.register(
            "thanos_shipper_dir_syncs",
            "Passes over a tenant's blocks",
            self.shipper_dir_syncs.clone(),
        );
        let help = "Passes over a tenant's blocks that failed";
        r.register("thanos_shipper_dir_sync_failures", help, self.shipper_dir_sync_failures.clone());
        r.register("thanos_shipper_uploads", "Blocks uploaded", self.shipper_uploads.clone());
        let help = "Block uploads that failed";
        r.register("thanos_shipper_upload_failures", help, self.shipper_upload_failures.clone());
        let help = "Local blocks that the bucket does not have yet";
        r.register("ringside_shipper_blocks_waiting", help, self.shipper_blocks_waiting.clone());
        let help = "Operations on the bucket";
        r.register("thanos_objstore_bucket_operations", help, self.bucket_operations.clone());
        let help = "Operations on the bucket that failed";
        r.register("thanos_objstore_bucket_operation_failures", help, self.bucket_failures.clone());
        let help = "Unix time of the last upload";
        r.register(
            "thanos_objstore_bucket_last_successful_upload_time",
            help,
            self.bucket_last_upload.clone(),
        );
    }
}

fn request_seconds() -> Histogram {
    Histogram::new([0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0])
}

fn request_elements() -> Histogram {
    Histogram::new([10.0, 50.0, 100.0, 500.0, 1000.0, 2000.0, 5000.0, 10_000.0])
}

/// Bytes, series or samples beyond a limit.
fn excess() -> Histogram {
    Histogram::new((0..9).map(|power| 10_f64.powi(power)))
}

fn compaction_seconds() -> Histogram {
    Histogram::new([0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0])
}
