//! What each tenant's storage counts itself, read from it when metrics are scraped.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use ringside_tsdb::Stats;

use crate::limits::InFlight;
use crate::tenant_id::TenantId;
use crate::tenants::{TenantState, Tenants};

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
