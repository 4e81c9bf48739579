//! The entries of a record, whatever its kind: the one loop under replay and checkpoints.
//!
//! Floats come in runs, so that who takes them can look at many series at once.

use super::{ExemplarEntry, HistogramEntry, MetadataEntry, Record, SampleEntry, decode};
use crate::encoding::Truncated;
use crate::sample::Value;

/// Floats of a run at most.
pub(crate) const RUN_MAX: usize = 64;

/// What is done with the entries of a log. A kind of record that has no function here is passed over.
pub(crate) trait Visitor {
    /// Labels that a reference stands for.
    fn series(&mut self, reference: u64, labels: &[(&[u8], &[u8])]);
    /// Up to [`RUN_MAX`] float samples.
    fn floats(&mut self, samples: &[SampleEntry]);
    /// A native histogram.
    fn histogram(&mut self, reference: u64, t: i64, value: Value);
    /// An exemplar.
    fn exemplar(&mut self, _: &ExemplarEntry<'_>) {}
    /// What a series' metric is about.
    fn metadata(&mut self, _: &MetadataEntry<'_>) {}
}

/// Hands every entry of a record to `visitor`, in order. After an error it has those in front of the damage.
pub(crate) fn visit(payload: &[u8], visitor: &mut impl Visitor) -> Result<(), Truncated> {
    match decode(payload) {
        Record::Series(entries) => {
            for entry in entries {
                let entry = entry?;
                visitor.series(entry.reference, &entry.labels);
            }
        }
        Record::Samples(mut entries) => {
            let mut run = [SampleEntry { reference: 0, t: 0, v: 0.0 }; RUN_MAX];
            loop {
                let mut len = 0;
                for (place, entry) in run.iter_mut().zip(&mut entries) {
                    *place = entry?;
                    len += 1;
                }
                visitor.floats(run.get(..len).unwrap_or_default());
                if len < RUN_MAX {
                    break;
                }
            }
        }
        Record::Histograms(entries) => {
            for entry in entries {
                let HistogramEntry { reference, t, h } = entry?;
                visitor.histogram(reference, t, Value::Histogram(h));
            }
        }
        Record::FloatHistograms(entries) => {
            for entry in entries {
                let HistogramEntry { reference, t, h } = entry?;
                visitor.histogram(reference, t, Value::FloatHistogram(h));
            }
        }
        Record::Exemplars(entries) => {
            for entry in entries {
                visitor.exemplar(&entry?);
            }
        }
        Record::Metadata(entries) => {
            for entry in entries {
                visitor.metadata(&entry?);
            }
        }
        Record::Tombstones(_) | Record::MmapMarkers(_) | Record::Skipped => {}
    }
    Ok(())
}
