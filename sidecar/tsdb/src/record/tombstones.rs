//! Records of deleted time ranges.

use super::{KEPT_BYTES_MAX, TOMBSTONES};
use crate::encoding::{Decoder, Truncated, put_varint};

/// One deleted range of a series. Times are milliseconds, both inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TombstoneEntry {
    /// The series' reference.
    pub(crate) reference: u64,
    /// The first deleted time.
    pub(crate) mint: i64,
    /// The last deleted time.
    pub(crate) maxt: i64,
}

/// Iterates over a record of tombstones.
#[derive(Debug)]
pub(crate) struct TombstoneRecords<'a> {
    body: Decoder<'a>,
}

impl<'a> TombstoneRecords<'a> {
    pub(super) fn new(body: Decoder<'a>) -> Self {
        Self { body }
    }

    fn entry(&mut self) -> Result<TombstoneEntry, Truncated> {
        let body = &mut self.body;
        Ok(TombstoneEntry { reference: body.be64()?, mint: body.varint()?, maxt: body.varint()? })
    }
}

impl Iterator for TombstoneRecords<'_> {
    type Item = Result<TombstoneEntry, Truncated>;

    fn next(&mut self) -> Option<Self::Item> {
        (!self.body.is_empty()).then(|| self.entry())
    }
}

/// Builds one record of tombstones; empty until the first.
#[derive(Debug, Default)]
pub(crate) struct TombstonesEncoder {
    bytes: Vec<u8>,
}

impl TombstonesEncoder {
    /// Adds a deleted range.
    pub(crate) fn push(&mut self, entry: TombstoneEntry) {
        if self.bytes.is_empty() {
            self.bytes.push(TOMBSTONES);
        }
        self.bytes.extend_from_slice(&entry.reference.to_be_bytes());
        put_varint(&mut self.bytes, entry.mint);
        put_varint(&mut self.bytes, entry.maxt);
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
