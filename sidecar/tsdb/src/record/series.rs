//! Series records: the labels that a reference stands for.

use super::{KEPT_BYTES_MAX, Labels, SERIES, labels, put_labels};
use crate::encoding::{Decoder, Truncated};

/// One series of a series record.
#[derive(Debug)]
pub(crate) struct SeriesEntry<'a> {
    /// The reference that samples use.
    pub(crate) reference: u64,
    /// Name and value pairs, sorted by name.
    pub(crate) labels: Labels<'a>,
}

/// Iterates over a series record.
#[derive(Debug)]
pub(crate) struct SeriesRecords<'a> {
    body: Decoder<'a>,
}

impl<'a> SeriesRecords<'a> {
    pub(super) fn new(body: Decoder<'a>) -> Self {
        Self { body }
    }

    fn entry(&mut self) -> Result<SeriesEntry<'a>, Truncated> {
        Ok(SeriesEntry { reference: self.body.be64()?, labels: labels(&mut self.body)? })
    }
}

impl<'a> Iterator for SeriesRecords<'a> {
    type Item = Result<SeriesEntry<'a>, Truncated>;

    fn next(&mut self) -> Option<Self::Item> {
        (!self.body.is_empty()).then(|| self.entry())
    }
}

/// Builds one series record; empty until the first series.
#[derive(Debug, Default)]
pub(crate) struct SeriesEncoder {
    bytes: Vec<u8>,
}

impl SeriesEncoder {
    /// Adds a series with `count` labels.
    pub(crate) fn push<'a>(
        &mut self,
        reference: u64,
        count: usize,
        labels: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    ) {
        if self.bytes.is_empty() {
            self.bytes.push(SERIES);
        }
        self.bytes.extend_from_slice(&reference.to_be_bytes());
        put_labels(&mut self.bytes, count, labels);
    }

    /// The payload; empty when nothing was added.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Starts anew and keeps the memory that a usual request needs.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES_MAX);
    }
}
