//! What each tenant's storage counts itself, read from it when metrics are scraped.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use ringside_tsdb::{BUCKETS_SECONDS, DiskUsage, Durations, Options, Stats, Tsdb};

use crate::limits::InFlight;
use crate::tenant_id::TenantId;
use crate::tenants::{TenantState, Tenants};

/// Reads each tenant's storage, and what all tenants share, when metrics are scraped.
pub(crate) struct TenantCollector {
    tenants: Arc<Tenants>,
    in_flight: InFlight,
    options: Options,
}

impl TenantCollector {
    /// `options` are those of every storage.
    pub(crate) fn new(tenants: Arc<Tenants>, in_flight: InFlight, options: Options) -> Self {
        Self { tenants, in_flight, options }
    }
}

impl fmt::Debug for TenantCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TenantCollector")
    }
}

/// What is read of one tenant at a scrape.
struct Reading {
    tenant: TenantId,
    stats: Stats,
    disk: DiskUsage,
    /// Oldest time in the head or a block.
    lowest_ms: Option<i64>,
    retention_ms: i64,
    retention_bytes: u64,
    exemplars_max: usize,
}

type Read = fn(&Reading) -> Option<f64>;

/// Gauges that are read from each tenant's storage.
const GAUGES: &[(&str, &str, Read)] = &[
    ("prometheus_tsdb_head_series", "Series in the head", |r| Some(r.stats.series as f64)),
    ("prometheus_tsdb_head_chunks", "Chunks in the head", |r| Some(r.stats.chunks as f64)),
    ("prometheus_tsdb_head_min_time", "Oldest time in the head, milliseconds", |r| {
        r.stats.head_time_range.map(|(min, _)| min as f64)
    }),
    ("prometheus_tsdb_head_max_time", "Newest time in the head, milliseconds", |r| {
        r.stats.head_time_range.map(|(_, max)| max as f64)
    }),
    ("prometheus_tsdb_lowest_timestamp", "Oldest time in the head or a block, milliseconds", |r| {
        r.lowest_ms.map(|lowest| lowest as f64)
    }),
    ("prometheus_tsdb_blocks_loaded", "Blocks on disk", |r| Some(r.stats.blocks as f64)),
    ("prometheus_tsdb_symbol_table_size_bytes", "Bytes of label strings in memory", |r| {
        Some(r.stats.symbol_bytes as f64)
    }),
    ("prometheus_tsdb_storage_blocks_bytes", "Bytes of blocks", |r| Some(r.disk.blocks as f64)),
    ("prometheus_tsdb_wal_storage_size_bytes", "Bytes of the WAL", |r| Some(r.disk.wal as f64)),
    (
        "prometheus_tsdb_out_of_order_wbl_storage_size_bytes",
        "Bytes of the log of samples out of order",
        |r| Some(r.disk.wbl as f64),
    ),
    ("prometheus_tsdb_head_chunks_storage_size_bytes", "Bytes of the head's chunk files", |r| {
        Some(r.disk.chunks_head as f64)
    }),
    ("prometheus_tsdb_retention_limit_seconds", "How long blocks are kept, 0 for ever", |r| {
        Some(r.retention_ms as f64 / 1000.0)
    }),
    ("prometheus_tsdb_retention_limit_bytes", "Bytes that the tenant may have, 0 for any number", |r| {
        Some(r.retention_bytes as f64)
    }),
    ("prometheus_tsdb_wal_segment_current", "WAL segment being written", |r| {
        Some(r.stats.wal_segment as f64)
    }),
    ("prometheus_tsdb_exemplar_exemplars_in_storage", "Exemplars in memory", |r| {
        Some(r.stats.exemplars as f64)
    }),
    ("prometheus_tsdb_exemplar_series_with_exemplars_in_storage", "Series that have exemplars", |r| {
        Some(r.stats.series_with_exemplars as f64)
    }),
    ("prometheus_tsdb_exemplar_max_exemplars", "Exemplars that are kept at most", |r| {
        Some(r.exemplars_max as f64)
    }),
    ("ringside_tsdb_bad_blocks", "Block directories that could not be read", |r| {
        Some(r.stats.bad_blocks as f64)
    }),
    ("ringside_tsdb_wal_torn_bytes", "Bytes of a torn write cut off the WAL at start", |r| {
        Some(r.stats.wal_torn_bytes as f64)
    }),
    ("ringside_tsdb_poisoned", "Whether the tenant takes no writes because its WAL failed", |r| {
        Some(f64::from(u8::from(r.stats.poisoned)))
    }),
];

/// Counters that are read from each tenant's storage; with the kind of sample where Prometheus names it.
const COUNTERS: &[(&str, &str, Option<&str>, Read)] = &[
    ("prometheus_tsdb_head_samples_appended", "Samples stored", Some("float"), |r| {
        Some((r.stats.counters.samples_appended - r.stats.counters.histograms_appended) as f64)
    }),
    ("ringside_tsdb_head_histograms_appended", "Native histograms stored", None, |r| {
        Some(r.stats.counters.histograms_appended as f64)
    }),
    (
        "prometheus_tsdb_head_out_of_order_samples_appended",
        "Samples stored after a newer one of their series",
        Some("float"),
        |r| Some(r.stats.counters.out_of_order_appended as f64),
    ),
    ("prometheus_tsdb_too_old_samples", "Samples refused as older than the window", Some("float"), |r| {
        Some(r.stats.counters.too_old as f64)
    }),
    ("prometheus_tsdb_exemplar_exemplars_appended", "Exemplars kept", None, |r| {
        Some(r.stats.counters.exemplars_appended as f64)
    }),
    ("ringside_tsdb_exemplars_refused", "Exemplars refused", None, |r| {
        Some(r.stats.counters.exemplars_refused as f64)
    }),
    ("ringside_tsdb_exemplars_dropped", "Exemplars that none are kept of", None, |r| {
        Some(r.stats.counters.exemplars_dropped as f64)
    }),
    ("prometheus_tsdb_head_truncations", "Truncations of the head", None, |r| {
        Some(r.stats.head_truncations.count() as f64)
    }),
    ("prometheus_tsdb_head_truncations_failed", "Truncations of the head that failed", None, |r| {
        Some(r.stats.head_truncations_failed as f64)
    }),
    ("prometheus_tsdb_wal_truncations", "Truncations of the logs", None, |r| {
        Some(r.stats.log_truncations.count() as f64)
    }),
    ("prometheus_tsdb_wal_truncations_failed", "Truncations of the logs that failed", None, |r| {
        Some(r.stats.log_truncations_failed as f64)
    }),
    ("prometheus_tsdb_checkpoint_creations", "Checkpoints of the WAL", None, |r| {
        Some(r.stats.checkpoints as f64)
    }),
    ("prometheus_tsdb_mmap_chunks", "Chunks moved from memory to files", None, |r| {
        Some(r.stats.chunks_mapped as f64)
    }),
    ("prometheus_tsdb_mmap_chunk_corruptions", "Damaged chunk files found at start", None, |r| {
        Some(r.stats.bad_chunk_files as f64)
    }),
    ("prometheus_tsdb_out_of_order_samples", "Samples refused as out of order", Some("float"), |r| {
        Some(r.stats.counters.out_of_order as f64)
    }),
    ("prometheus_tsdb_out_of_bound_samples", "Samples refused as out of bounds", Some("float"), |r| {
        Some(r.stats.counters.out_of_bounds as f64)
    }),
    ("ringside_tsdb_duplicate_samples", "Samples that were stored already", Some("float"), |r| {
        Some(r.stats.counters.duplicates as f64)
    }),
    ("prometheus_tsdb_head_series_created", "Series created", None, |r| {
        Some(r.stats.counters.series_created as f64)
    }),
    ("prometheus_tsdb_head_series_removed", "Series dropped", None, |r| {
        Some(r.stats.counters.series_removed as f64)
    }),
    ("ringside_tsdb_head_series_refused", "Series refused by a bound on series or labels", None, |r| {
        Some(r.stats.counters.series_refused as f64)
    }),
    ("prometheus_tsdb_head_chunks_created", "Chunks begun", None, |r| {
        Some(r.stats.counters.chunks_created as f64)
    }),
    ("prometheus_tsdb_head_chunks_removed", "Chunks dropped", None, |r| {
        Some(r.stats.counters.chunks_removed as f64)
    }),
    ("prometheus_tsdb_wal_corruptions", "Times that the end of the WAL was damaged", None, |r| {
        Some(f64::from(u8::from(r.stats.wal_torn_bytes > 0)))
    }),
    ("prometheus_tsdb_wal_writes_failed", "Writes of the WAL that failed", None, |r| {
        Some(f64::from(u8::from(r.stats.poisoned)))
    }),
    (
        "prometheus_tsdb_wal_replay_unknown_refs",
        "Samples in the WAL at start whose series no record named",
        Some("samples"),
        |r| Some(r.stats.wal_unknown_refs as f64),
    ),
];

type Timed = fn(&Stats) -> &Durations;

/// What is timed by each tenant's storage.
const DURATIONS: &[(&str, &str, Timed)] = &[
    ("prometheus_tsdb_wal_fsync_duration_seconds", "Syncs of the WAL", |s| &s.wal_syncs),
    (
        "prometheus_tsdb_out_of_order_wbl_fsync_duration_seconds",
        "Syncs of the log of samples out of order",
        |s| &s.wbl_syncs,
    ),
    ("prometheus_tsdb_wal_truncate_duration_seconds", "Truncations of the logs", |s| &s.log_truncations),
    ("prometheus_tsdb_head_gc_duration_seconds", "Truncations of the head", |s| &s.head_truncations),
];

impl Collector for TenantCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let open = self.tenants.open();
        let readings: Vec<Reading> =
            open.into_iter().map(|(tenant, tsdb)| self.read(tenant, &tsdb)).collect();
        for (name, help, read) in GAUGES {
            let kind = ConstGauge::new(0.0_f64).metric_type();
            let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
            for (labels, value) in values(&readings, None, *read) {
                ConstGauge::new(value).encode(metric.encode_family(&labels)?)?;
            }
        }
        for (name, help, sample_type, read) in COUNTERS {
            let kind = ConstCounter::new(0.0_f64).metric_type();
            let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
            for (labels, value) in values(&readings, *sample_type, *read) {
                ConstCounter::new(value).encode(metric.encode_family(&labels)?)?;
            }
        }
        for (name, help, read) in DURATIONS {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
            for reading in &readings {
                let durations = read(&reading.stats);
                let bounds = BUCKETS_SECONDS.into_iter().chain([f64::MAX]);
                let buckets: Vec<_> = bounds.zip(durations.counts).collect();
                let sum = durations.nanos as f64 / 1e9;
                let labels = [("tenant", reading.tenant.as_str())];
                let mut family = metric.encode_family(&labels)?;
                family.encode_histogram::<NoLabelSet>(sum, durations.count(), &buckets, None)?;
            }
        }
        self.encode_process_wide(&mut encoder)
    }
}

fn values<'a>(
    readings: &'a [Reading],
    sample_type: Option<&'a str>,
    read: Read,
) -> impl Iterator<Item = (Vec<(&'static str, &'a str)>, f64)> {
    readings.iter().filter_map(move |reading| {
        let mut labels = vec![("tenant", reading.tenant.as_str())];
        labels.extend(sample_type.map(|kind| ("type", kind)));
        Some((labels, read(reading)?))
    })
}

impl TenantCollector {
    fn read(&self, tenant: TenantId, tsdb: &Tsdb) -> Reading {
        let stats = tsdb.stats();
        let oldest_block = tsdb.blocks().iter().map(|block| block.min_time).min();
        let lowest_ms = oldest_block.into_iter().chain(stats.head_time_range.map(|(min, _)| min)).min();
        Reading {
            tenant,
            stats,
            disk: tsdb.disk_usage(),
            lowest_ms,
            retention_ms: self.options.retention_ms,
            retention_bytes: self.options.retention_bytes,
            exemplars_max: self.options.exemplars_max,
        }
    }

    fn encode_process_wide(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let states = self.tenants.states();
        let kind = ConstGauge::new(0_i64).metric_type();
        let mut metric = encoder.encode_descriptor("ringside_tenants", "Tenants by state", None, kind)?;
        for state in TenantState::ALL {
            let count = states.iter().filter(|s| **s == state).count() as i64;
            ConstGauge::new(count).encode(metric.encode_family(&[("state", state.name())])?)?;
        }
        let budget = &self.options.series_budget;
        for (name, help, value) in [
            (
                "ringside_receive_in_flight_bytes",
                "Bytes of request bodies in memory",
                self.in_flight.used_bytes() as i64,
            ),
            ("ringside_head_series", "Series in the heads of all tenants", budget.used() as i64),
            (
                "ringside_head_series_limit",
                "Series that the heads of all tenants may have together, 0 for any number",
                budget.max() as i64,
            ),
        ] {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}
