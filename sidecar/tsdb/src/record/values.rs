//! Samples of every kind, each kind in records of its own.

use super::{HistogramsEncoder, SamplesEncoder};
use crate::sample::Value;

/// Samples by kind. A batch must not hold two kinds of one series: kinds are replayed one after the other. Histograms
/// with custom buckets are a kind of their own.
#[derive(Debug, Default)]
pub(crate) struct ValuesEncoder {
    pub(crate) floats: SamplesEncoder,
    histograms: HistogramsEncoder<u64, i64>,
    float_histograms: HistogramsEncoder<f64, f64>,
}

impl ValuesEncoder {
    /// Adds a sample.
    pub(crate) fn push(&mut self, reference: u64, t: i64, value: &Value) {
        match value {
            Value::Float(v) => self.floats.push(reference, t, *v),
            Value::Histogram(h) => self.histograms.push(reference, t, h),
            Value::FloatHistogram(h) => self.float_histograms.push(reference, t, h),
        }
    }

    /// The payloads; empty ones hold nothing.
    pub(crate) fn payloads(&self) -> [&[u8]; 5] {
        let [exponential, custom] = self.histograms.records();
        let [float_exponential, float_custom] = self.float_histograms.records();
        [self.floats.bytes(), exponential, custom, float_exponential, float_custom]
    }

    /// Copies of the payloads that hold something.
    pub(crate) fn to_records(&self) -> Vec<Vec<u8>> {
        self.payloads().into_iter().filter(|payload| !payload.is_empty()).map(<[u8]>::to_vec).collect()
    }

    /// Starts anew and keeps the memory that a usual request needs.
    pub(crate) fn clear(&mut self) {
        self.floats.clear();
        self.histograms.clear();
        self.float_histograms.clear();
    }
}
