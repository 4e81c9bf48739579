//! The last 52 bytes of an index: where its sections begin.
//!
//! ```text
//! symbols | series | label indices | label index table | postings | postings table, be64 each | CRC-32C
//! ```
//! No reader of version 2 needs the label indices, but writers up to Prometheus 2.42 put their table between the
//! postings and the postings table, so it tells where the postings end.

use crate::encoding::{Decoder, crc};
use crate::error::Error;
use crate::read_at::ReadAt;

/// Bytes of the TOC, its checksum included.
pub(super) const TOC_BYTES: u64 = 6 * 8 + 4;
/// Magic and version stand in front of everything.
const HEADER_BYTES: u64 = 5;

/// Where the sections of an index begin and end, checked to lie in order within the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Toc {
    pub(super) symbols: u64,
    /// Where the symbols end; the first series may be up to 15 bytes later.
    pub(super) series: u64,
    pub(super) series_end: u64,
    pub(super) postings: u64,
    /// The last postings list ends here, up to 3 bytes earlier.
    pub(super) postings_end: u64,
    pub(super) postings_table: u64,
    /// Where the TOC itself begins.
    pub(super) start: u64,
}

impl Toc {
    /// Reads the end of the file.
    pub(super) fn read(file: &ReadAt) -> Result<Self, Error> {
        let Some(start) = file.len().checked_sub(TOC_BYTES).filter(|&start| start > HEADER_BYTES) else {
            return Err(file.corrupt(0, format!("{} bytes are too few for an index", file.len())));
        };
        let mut bytes = Vec::new();
        file.read(start, TOC_BYTES as usize, &mut bytes)?;
        let mut decoder = Decoder::new(&bytes);
        let mut next = || decoder.be64().map_err(|e| file.corrupt(start, e));
        let [symbols, series, indices, index_table, postings, postings_table] =
            [next()?, next()?, next()?, next()?, next()?, next()?];
        let stored = decoder.be32().map_err(|e| file.corrupt(start, e))?;
        if crc(bytes.get(..TOC_BYTES as usize - 4).unwrap_or_default()) != stored {
            return Err(file.corrupt(start, "the checksum of the TOC does not match"));
        }
        let or = |offset: u64, other: u64| if offset == 0 { other } else { offset };
        let toc = Self {
            symbols,
            series,
            series_end: or(indices, postings),
            postings,
            postings_end: or(index_table, postings_table),
            postings_table,
            start,
        };
        let order = [
            HEADER_BYTES,
            toc.symbols,
            toc.series,
            toc.series_end,
            toc.postings,
            toc.postings_end,
            toc.postings_table,
            toc.start,
        ];
        if !order.is_sorted() {
            return Err(file.corrupt(start, format!("the sections of the TOC are out of order: {order:?}")));
        }
        Ok(toc)
    }
}
