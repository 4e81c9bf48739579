//! Every metric of the sidecar, named once.
//!
//! Names are Prometheus' and Thanos' where they have one, so that their dashboards and alerts go on working;
//! `ringside_*` is our own. The encoder appends `_total` to counters. What the storage counts itself is read from
//! it at scrape time by [`TenantCollector`], what the kernel counts by
//! [`ProcessCollector`](crate::process::ProcessCollector).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use ringside_tsdb::Stats;

use crate::limits::InFlight;
use crate::tenant_id::TenantId;
use crate::tenants::{TenantState, Tenants};

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
    pub(crate) exemplars_dropped: Family<TenantLabels, Counter>,
    pub(crate) metadata_bytes_dropped: Family<TenantLabels, Counter>,
    pub(crate) tenant_open_failures: Family<TenantLabels, Counter>,
    pub(crate) replay_duration: Family<TenantLabels, FloatGauge>,
    pub(crate) compactions: Family<TenantLabels, Counter>,
    pub(crate) compactions_failed: Family<TenantLabels, Counter>,
    pub(crate) compaction_duration: HistogramFamily<TenantLabels>,
    pub(crate) retention_deletions: Family<TenantLabels, Counter>,
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
            exemplars_dropped: Family::default(),
            metadata_bytes_dropped: Family::default(),
            tenant_open_failures: Family::default(),
            replay_duration: Family::default(),
            compactions: Family::default(),
            compactions_failed: Family::default(),
            compaction_duration: Family::new_with_constructor(compaction_seconds),
            retention_deletions: Family::default(),
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
        let help = "Exemplars that were sent and not kept";
        r.register("ringside_receive_exemplars_dropped", help, self.exemplars_dropped.clone());
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

    fn register_storage(&self, r: &mut Registry) {
        let help = "Attempts to open a tenant that failed";
        r.register("ringside_tenant_open_failures", help, self.tenant_open_failures.clone());
        let help = "Time that the tenant's replay took";
        r.register("prometheus_tsdb_data_replay_duration_seconds", help, self.replay_duration.clone());
        r.register("prometheus_tsdb_compactions", "Blocks cut from the head", self.compactions.clone());
        let help = "Block cuts that failed";
        r.register("prometheus_tsdb_compactions_failed", help, self.compactions_failed.clone());
        let help = "Time to cut a block";
        r.register("prometheus_tsdb_compaction_duration_seconds", help, self.compaction_duration.clone());
        let help = "Blocks deleted because they were older than the retention";
        r.register("prometheus_tsdb_time_retentions", help, self.retention_deletions.clone());
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

fn compaction_seconds() -> Histogram {
    Histogram::new([0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0])
}

/// Reads each tenant's storage, and the bytes in flight, when metrics are scraped.
pub(crate) struct TenantCollector {
    tenants: Arc<Tenants>,
    in_flight: InFlight,
}

impl TenantCollector {
    pub(crate) fn new(tenants: Arc<Tenants>, in_flight: InFlight) -> Self {
        Self { tenants, in_flight }
    }
}

impl fmt::Debug for TenantCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TenantCollector")
    }
}

type Read = fn(&Stats) -> Option<f64>;

/// Gauges that are read from each tenant's storage.
const GAUGES: &[(&str, &str, Read)] = &[
    ("prometheus_tsdb_head_series", "Series in the head", |s| Some(s.series as f64)),
    ("prometheus_tsdb_head_chunks", "Chunks in the head", |s| Some(s.chunks as f64)),
    ("prometheus_tsdb_head_min_time", "Oldest time in the head, milliseconds", |s| {
        s.head_time_range.map(|(min, _)| min as f64)
    }),
    ("prometheus_tsdb_head_max_time", "Newest time in the head, milliseconds", |s| {
        s.head_time_range.map(|(_, max)| max as f64)
    }),
    ("prometheus_tsdb_blocks_loaded", "Blocks on disk", |s| Some(s.blocks as f64)),
    ("prometheus_tsdb_wal_segment_current", "WAL segment being written", |s| Some(s.wal_segment as f64)),
    ("ringside_tsdb_head_symbol_bytes", "Bytes of label strings in the head", |s| {
        Some(s.symbol_bytes as f64)
    }),
    ("ringside_tsdb_bad_blocks", "Block directories that could not be read", |s| Some(s.bad_blocks as f64)),
    ("ringside_tsdb_wal_torn_bytes", "Bytes of a torn write cut off the WAL at start", |s| {
        Some(s.wal_torn_bytes as f64)
    }),
    ("ringside_tsdb_wal_unknown_refs", "WAL samples at start whose series no record named", |s| {
        Some(s.wal_unknown_refs as f64)
    }),
    ("ringside_tsdb_poisoned", "Whether the tenant takes no writes because its WAL failed", |s| {
        Some(f64::from(u8::from(s.poisoned)))
    }),
];

/// Counters that are read from each tenant's storage; with the kind of sample where Prometheus names it.
const COUNTERS: &[(&str, &str, Option<&str>, Read)] = &[
    ("prometheus_tsdb_head_samples_appended", "Samples stored", Some("float"), |s| {
        Some(s.counters.samples_appended as f64)
    }),
    ("prometheus_tsdb_out_of_order_samples", "Samples refused as out of order", Some("float"), |s| {
        Some(s.counters.out_of_order as f64)
    }),
    ("prometheus_tsdb_out_of_bound_samples", "Samples refused as out of bounds", Some("float"), |s| {
        Some(s.counters.out_of_bounds as f64)
    }),
    ("ringside_tsdb_duplicate_samples", "Samples that were stored already", Some("float"), |s| {
        Some(s.counters.duplicates as f64)
    }),
    ("prometheus_tsdb_head_series_created", "Series created", None, |s| {
        Some(s.counters.series_created as f64)
    }),
    ("prometheus_tsdb_head_series_removed", "Series dropped", None, |s| {
        Some(s.counters.series_removed as f64)
    }),
    ("prometheus_tsdb_head_chunks_created", "Chunks begun", None, |s| Some(s.counters.chunks_created as f64)),
    ("prometheus_tsdb_head_chunks_removed", "Chunks dropped", None, |s| {
        Some(s.counters.chunks_removed as f64)
    }),
];

impl Collector for TenantCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let stats: Vec<(TenantId, Stats)> =
            self.tenants.open().into_iter().map(|(tenant, tsdb)| (tenant, tsdb.stats())).collect();
        for (name, help, read) in GAUGES {
            let kind = ConstGauge::new(0.0_f64).metric_type();
            let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
            for (labels, value) in values(&stats, None, *read) {
                ConstGauge::new(value).encode(metric.encode_family(&labels)?)?;
            }
        }
        for (name, help, sample_type, read) in COUNTERS {
            let kind = ConstCounter::new(0.0_f64).metric_type();
            let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
            for (labels, value) in values(&stats, *sample_type, *read) {
                ConstCounter::new(value).encode(metric.encode_family(&labels)?)?;
            }
        }
        self.encode_process_wide(&mut encoder)
    }
}

fn values<'a>(
    stats: &'a [(TenantId, Stats)],
    sample_type: Option<&'a str>,
    read: Read,
) -> impl Iterator<Item = (Vec<(&'static str, &'a str)>, f64)> {
    stats.iter().filter_map(move |(tenant, stats)| {
        let mut labels = vec![("tenant", tenant.as_str())];
        labels.extend(sample_type.map(|kind| ("type", kind)));
        Some((labels, read(stats)?))
    })
}

impl TenantCollector {
    fn encode_process_wide(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let states = self.tenants.states();
        let kind = ConstGauge::new(0_i64).metric_type();
        let mut metric = encoder.encode_descriptor("ringside_tenants", "Tenants by state", None, kind)?;
        for state in TenantState::ALL {
            let count = states.iter().filter(|s| **s == state).count() as i64;
            ConstGauge::new(count).encode(metric.encode_family(&[("state", state.name())])?)?;
        }
        let used = ConstGauge::new(self.in_flight.used_bytes() as i64);
        let help = "Bytes of request bodies in memory";
        let name = "ringside_receive_in_flight_bytes";
        used.encode(encoder.encode_descriptor(name, help, None, used.metric_type())?)
    }
}
