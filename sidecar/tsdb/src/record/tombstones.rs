//! Records of deleted time ranges.

use crate::encoding::{Decoder, Truncated};

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
