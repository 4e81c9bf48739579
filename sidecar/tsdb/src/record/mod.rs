//! Payloads of WAL and WBL records, all kinds that Prometheus writes. Layout: `docs/format/wal.md`.
//!
//! Owns neither framing nor compression (see [`crate::wal`]), nor what is valid: a histogram comes back as it was
//! written. Start timestamps are read past. A kind unknown to every reader is named as such.

mod base;
mod exemplars;
mod histograms;
mod metadata;
mod mmap_markers;
mod samples;
mod series;
mod tombstones;
mod values;
mod visit;

use crate::encoding::{Decoder, Truncated, put_string, put_uvarint};
use base::{Base, BaseEncoder};
pub(crate) use exemplars::{ExemplarEntry, ExemplarRecords, ExemplarsEncoder};
#[cfg(test)]
pub(crate) use histograms::Number;
pub(crate) use histograms::{HistogramEntry, HistogramRecords, HistogramsEncoder};
pub(crate) use metadata::{MetadataEncoder, MetadataEntry, MetadataRecords};
pub(crate) use mmap_markers::MmapMarkerRecords;
pub(crate) use samples::{SampleEntry, SampleRecords, SamplesEncoder};
pub(crate) use series::{SeriesEncoder, SeriesRecords};
pub(crate) use tombstones::TombstoneRecords;
pub(crate) use values::ValuesEncoder;
pub(crate) use visit::{RUN_MAX, Visitor, visit};

const SERIES: u8 = 1;
const SAMPLES: u8 = 2;
const TOMBSTONES: u8 = 3;
const EXEMPLARS: u8 = 4;
const MMAP_MARKERS: u8 = 5;
const METADATA: u8 = 6;
const HISTOGRAMS: u8 = 7;
const FLOAT_HISTOGRAMS: u8 = 8;
const CUSTOM_HISTOGRAMS: u8 = 9;
const CUSTOM_FLOAT_HISTOGRAMS: u8 = 10;
const SAMPLES_V2: u8 = 11;
const HISTOGRAMS_V2: u8 = 12;
const FLOAT_HISTOGRAMS_V2: u8 = 13;

/// A record without an entry, which says that what the log has in front of it was synced before it was written.
pub(crate) const SYNC_MARK: &[u8] = &[TOMBSTONES];

/// An encoder keeps at most this much memory between requests.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// What a record holds, by its first byte.
#[derive(Debug)]
pub(crate) enum Record<'a> {
    /// New series with their labels.
    Series(SeriesRecords<'a>),
    /// Float samples.
    Samples(SampleRecords<'a>),
    /// Deleted time ranges.
    Tombstones(TombstoneRecords<'a>),
    /// Exemplars.
    Exemplars(ExemplarRecords<'a>),
    /// Which out-of-order samples went to head chunk files; in the WBL only.
    MmapMarkers(MmapMarkerRecords<'a>),
    /// Type, unit and help of series.
    Metadata(MetadataRecords<'a>),
    /// Histograms with integer counts.
    Histograms(HistogramRecords<'a, u64, i64>),
    /// Histograms with float counts.
    FloatHistograms(HistogramRecords<'a, f64, f64>),
    /// A kind unknown to every reader: skipped, as Prometheus skips it.
    Skipped,
}

/// Splits a record's payload by its type.
pub(crate) fn decode(payload: &[u8]) -> Record<'_> {
    let Some((&kind, body)) = payload.split_first() else { return Record::Skipped };
    let body = Decoder::new(body);
    match kind {
        SERIES => Record::Series(SeriesRecords::new(body)),
        SAMPLES => Record::Samples(SampleRecords::new(body, Base::first_twice())),
        SAMPLES_V2 => Record::Samples(SampleRecords::new(body, Base::with_start_timestamps())),
        TOMBSTONES => Record::Tombstones(TombstoneRecords::new(body)),
        EXEMPLARS => Record::Exemplars(ExemplarRecords::new(body)),
        MMAP_MARKERS => Record::MmapMarkers(MmapMarkerRecords::new(body)),
        METADATA => Record::Metadata(MetadataRecords::new(body)),
        HISTOGRAMS | CUSTOM_HISTOGRAMS => {
            Record::Histograms(HistogramRecords::new(body, Base::first_twice()))
        }
        FLOAT_HISTOGRAMS | CUSTOM_FLOAT_HISTOGRAMS => {
            Record::FloatHistograms(HistogramRecords::new(body, Base::first_twice()))
        }
        HISTOGRAMS_V2 => Record::Histograms(HistogramRecords::new(body, Base::with_start_timestamps())),
        FLOAT_HISTOGRAMS_V2 => {
            Record::FloatHistograms(HistogramRecords::new(body, Base::with_start_timestamps()))
        }
        _ => Record::Skipped,
    }
}

/// Name and value pairs, as they stand in a record.
type Labels<'a> = Vec<(&'a [u8], &'a [u8])>;

/// Reads labels with their count in front.
fn labels<'a>(body: &mut Decoder<'a>) -> Result<Labels<'a>, Truncated> {
    let count = body.uvarint()?;
    let mut labels = Vec::with_capacity(count.min(64) as usize);
    for _ in 0..count {
        labels.push((body.string()?, body.string()?));
    }
    Ok(labels)
}

/// Writes `count` labels, with their count in front.
fn put_labels<'a>(out: &mut Vec<u8>, count: usize, labels: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) {
    put_uvarint(out, count as u64);
    for (name, value) in labels {
        put_string(out, name);
        put_string(out, value);
    }
}

#[cfg(test)]
mod tests;
