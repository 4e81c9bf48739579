//! Records of float samples.

use super::{Base, BaseEncoder, SAMPLES};
use crate::encoding::{Decoder, Truncated};

/// One float sample of a samples record.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct SampleEntry {
    /// The series' reference.
    pub(crate) reference: u64,
    /// Milliseconds since the epoch.
    pub(crate) t: i64,
    /// The value.
    pub(crate) v: f64,
}

/// Iterates over a samples record.
#[derive(Debug)]
pub(crate) struct SampleRecords<'a> {
    body: Decoder<'a>,
    base: Base,
}

impl<'a> SampleRecords<'a> {
    pub(super) fn new(body: Decoder<'a>, base: Base) -> Self {
        Self { body, base }
    }

    fn entry(&mut self) -> Result<SampleEntry, Truncated> {
        let (reference, t) = self.base.next(&mut self.body)?;
        Ok(SampleEntry { reference, t, v: self.body.f64()? })
    }
}

impl Iterator for SampleRecords<'_> {
    type Item = Result<SampleEntry, Truncated>;

    fn next(&mut self) -> Option<Self::Item> {
        (!self.body.is_empty()).then(|| self.entry())
    }
}

/// Builds one samples record; empty until the first sample.
#[derive(Debug, Default)]
pub(crate) struct SamplesEncoder {
    record: BaseEncoder,
}

impl SamplesEncoder {
    /// Adds a sample.
    #[inline]
    pub(crate) fn push(&mut self, reference: u64, t: i64, v: f64) {
        let bytes = self.record.push(SAMPLES, reference, t);
        bytes.extend_from_slice(&v.to_bits().to_be_bytes());
    }

    /// The payload; empty when nothing was added.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.record.bytes()
    }

    /// Starts anew and keeps the memory that a usual request needs.
    pub(crate) fn clear(&mut self) {
        self.record.clear();
    }
}
