//! Records of the WBL that say which out-of-order chunk of a series was written to a head chunk file: the samples
//! before the marker are in it.

use crate::encoding::{Decoder, Truncated};

/// One written chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MmapMarkerEntry {
    /// The series' reference.
    pub(crate) reference: u64,
    /// Where the chunk is: file number << 32 | offset.
    pub(crate) chunk: u64,
}

/// Iterates over a record of markers.
#[derive(Debug)]
pub(crate) struct MmapMarkerRecords<'a> {
    body: Decoder<'a>,
}

impl<'a> MmapMarkerRecords<'a> {
    pub(super) fn new(body: Decoder<'a>) -> Self {
        Self { body }
    }

    fn entry(&mut self) -> Result<MmapMarkerEntry, Truncated> {
        Ok(MmapMarkerEntry { reference: self.body.be64()?, chunk: self.body.be64()? })
    }
}

impl Iterator for MmapMarkerRecords<'_> {
    type Item = Result<MmapMarkerEntry, Truncated>;

    fn next(&mut self) -> Option<Self::Item> {
        (!self.body.is_empty()).then(|| self.entry())
    }
}
