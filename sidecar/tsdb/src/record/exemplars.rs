//! Records of exemplars.

use super::{Base, BaseEncoder, EXEMPLARS, Labels, labels, put_labels};
use crate::encoding::{Decoder, Truncated};

/// One exemplar of a record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ExemplarEntry<'a> {
    /// The series' reference.
    pub(crate) reference: u64,
    /// Milliseconds since the epoch.
    pub(crate) t: i64,
    /// The value.
    pub(crate) v: f64,
    /// The exemplar's own name and value pairs.
    pub(crate) labels: Labels<'a>,
}

/// Iterates over a record of exemplars.
#[derive(Debug)]
pub(crate) struct ExemplarRecords<'a> {
    body: Decoder<'a>,
    base: Base,
}

impl<'a> ExemplarRecords<'a> {
    pub(super) fn new(body: Decoder<'a>) -> Self {
        Self { body, base: Base::first_twice() }
    }

    fn entry(&mut self) -> Result<ExemplarEntry<'a>, Truncated> {
        let (reference, t) = self.base.next(&mut self.body)?;
        Ok(ExemplarEntry { reference, t, v: self.body.f64()?, labels: labels(&mut self.body)? })
    }
}

impl<'a> Iterator for ExemplarRecords<'a> {
    type Item = Result<ExemplarEntry<'a>, Truncated>;

    fn next(&mut self) -> Option<Self::Item> {
        (!self.body.is_empty()).then(|| self.entry())
    }
}

/// Builds one record of exemplars; empty until the first.
#[derive(Debug, Default)]
pub(crate) struct ExemplarsEncoder {
    record: BaseEncoder,
}

impl ExemplarsEncoder {
    /// Adds an exemplar with `count` labels.
    pub(crate) fn push<'a>(
        &mut self,
        reference: u64,
        t: i64,
        v: f64,
        count: usize,
        labels: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    ) {
        let bytes = self.record.push(EXEMPLARS, reference, t);
        bytes.extend_from_slice(&v.to_bits().to_be_bytes());
        put_labels(bytes, count, labels);
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
