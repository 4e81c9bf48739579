//! What metrics are about: the type, unit and help text that senders give with a series, kept by metric name as long
//! as a series has that name.
//!
//! Owns when metadata is news, and so goes to the write-ahead log.

use std::collections::HashMap;

use super::append::{Appender, FRESH, SeriesRef};
use super::{Head, Symbols};
use crate::record::MetadataEntry;

const METRIC_NAME: &[u8] = b"__name__";
/// Longer units and help texts are not kept, in bytes.
const TEXT_BYTES_MAX: usize = 16 << 10;

/// What is known of one metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// The metric's name.
    pub metric: Vec<u8>,
    /// 0 unknown, 1 counter, 2 gauge, 3 histogram, 4 gauge histogram, 5 summary, 6 info, 7 state set.
    pub kind: u8,
    /// The unit; empty where none is known.
    pub unit: Vec<u8>,
    /// The help text; empty where none is known.
    pub help: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
struct Known {
    kind: u8,
    unit: Box<[u8]>,
    help: Box<[u8]>,
}

/// Metadata by the symbol of the metric's name, which each entry holds on to.
#[derive(Debug, Default)]
pub(super) struct Metrics(HashMap<u32, Known>);

impl Metrics {
    /// Remembers; true if that is news.
    fn learn(&mut self, symbols: &mut Symbols, name: u32, entry: &MetadataEntry<'_>) -> bool {
        if let Some(known) = self.0.get(&name)
            && known.kind == entry.kind
            && *known.unit == *entry.unit
            && *known.help == *entry.help
        {
            return false;
        }
        let known = Known { kind: entry.kind, unit: entry.unit.into(), help: entry.help.into() };
        if self.0.insert(name, known).is_none() {
            symbols.share(name);
        }
        true
    }

    /// Forgets metrics without a series.
    pub(super) fn forget_unused(&mut self, symbols: &mut Symbols) {
        self.0.retain(|&name, _| {
            let is_used = symbols.uses(name) > 1;
            if !is_used {
                symbols.release(name);
            }
            is_used
        });
    }
}

impl Head {
    /// What is known of the metrics, by name.
    pub(crate) fn metadata(&self) -> Vec<Metadata> {
        let metadata = |(&name, known): (&u32, &Known)| Metadata {
            metric: self.symbols.text(name).to_vec(),
            kind: known.kind,
            unit: known.unit.to_vec(),
            help: known.help.to_vec(),
        };
        let mut all: Vec<_> = self.metrics.0.iter().map(metadata).collect();
        all.sort_unstable_by(|one, other| one.metric.cmp(&other.metric));
        all
    }

    /// Remembers what a series' metric is about; true if that is news.
    pub(super) fn learn(&mut self, slot: u32, entry: &MetadataEntry<'_>) -> bool {
        let Some(series) = self.series.get(slot as usize) else { return false };
        let names = &mut series.labels.iter().filter(|&&(name, _)| self.symbols.text(name) == METRIC_NAME);
        let Some(&(_, name)) = names.next() else { return false };
        if entry.unit.len().max(entry.help.len()) > TEXT_BYTES_MAX {
            return false;
        }
        self.metrics.learn(&mut self.symbols, name, entry)
    }
}

impl Appender<'_> {
    /// Remembers what the metric of a series is about, where the series has a sample and a metric name.
    pub fn metadata(&mut self, series: SeriesRef, kind: u8, unit: &[u8], help: &[u8]) {
        let slot = if series.0 == FRESH { self.fresh.slot } else { Some(series.0) };
        let known = slot.and_then(|slot| Some((slot, self.head.series.get(slot as usize)?.reference)));
        let Some((slot, reference)) = known else { return };
        let entry = MetadataEntry { reference, kind, unit, help };
        if self.head.learn(slot, &entry) {
            self.records.metadata.push(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::series_key;
    use crate::{Options, Tsdb};

    #[test]
    fn the_newest_counts_and_outlives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Tsdb::open(dir.path(), Options::default()).unwrap();
        let tsdb = open();
        let mut appender = tsdb.appender().unwrap();
        let long = vec![b'x'; super::TEXT_BYTES_MAX + 1];
        let said = [("b", &b"older"[..]), ("a", b"of a"), ("b", b"newer"), ("b", b"newer"), ("b", &long)];
        for (n, (name, help)) in said.into_iter().enumerate() {
            let mut key = Vec::new();
            series_key::encode(&[(b"__name__", name.as_bytes()), (b"n", &[b'0' + n as u8])], &mut key);
            let series = appender.series(&key).unwrap();
            appender.metadata(series, 9, b"", b"of a series without a sample");
            appender.float(series, 1_700_000_000_000, 1.0).unwrap();
            appender.metadata(series, 1, b"seconds", help);
        }
        appender.commit().wait().unwrap();
        let metadata = tsdb.metadata().unwrap();
        let texts: Vec<_> =
            metadata.iter().map(|m| (&m.metric[..], m.kind, &m.unit[..], &m.help[..])).collect();
        assert_eq!(texts, [(&b"a"[..], 1, &b"seconds"[..], &b"of a"[..]), (b"b", 1, b"seconds", b"newer")]);
        tsdb.close().unwrap();
        drop(tsdb);
        assert_eq!(open().metadata().unwrap(), metadata);
    }
}
