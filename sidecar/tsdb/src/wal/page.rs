//! Fragments and pages: how a record's bytes lie in a segment.
//!
//! ```text
//! page (32,768 bytes) = fragment … fragment, zeros to the end
//! fragment = type u8 | length be16 | CRC-32C be32 of the payload | payload
//! type     = bits 0-2 kind (0 end of page, 1 full, 2 first, 3 middle, 4 last), bit 3 snappy, bit 4 zstd
//! ```

use crate::encoding::crc;

/// Bytes of a page.
pub(super) const PAGE: usize = 32 * 1024;
/// Bytes in front of a fragment's payload.
pub(super) const HEADER: usize = 7;
pub(super) const KIND_MASK: u8 = 0b111;
pub(super) const FULL: u8 = 1;
pub(super) const FIRST: u8 = 2;
pub(super) const MIDDLE: u8 = 3;
pub(super) const LAST: u8 = 4;
pub(super) const SNAPPY: u8 = 0x08;
pub(super) const ZSTD: u8 = 0x10;

/// Frames records into bytes, knowing only where in its segment the next byte goes.
#[derive(Debug)]
pub(super) struct Framer {
    segment_bytes: u64,
    /// Offset in the segment of the next byte.
    offset: u64,
}

impl Framer {
    /// Starts at the head of an empty segment of at most `segment_bytes` (at least one page).
    pub(super) fn new(segment_bytes: u64) -> Self {
        Self { segment_bytes: segment_bytes.max(PAGE as u64), offset: 0 }
    }

    /// Offset in the segment of the next byte.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// True if a record of `len` bytes must start a new segment. An empty segment takes a record of any size.
    pub(super) fn is_full_for(&self, len: usize) -> bool {
        if self.offset == 0 || self.offset >= self.segment_bytes {
            return self.offset > 0;
        }
        let used = (self.offset % PAGE as u64) as usize;
        let in_page = (PAGE - used).saturating_sub(HEADER) as u64;
        let pages_left = (self.segment_bytes / PAGE as u64).saturating_sub(self.offset / PAGE as u64 + 1);
        len as u64 > in_page + pages_left * (PAGE - HEADER) as u64
    }

    /// Appends the framed record to `out`.
    pub(super) fn frame(&mut self, record: &[u8], compression: u8, out: &mut Vec<u8>) {
        let start = out.len();
        let mut rest = record;
        let mut first = true;
        loop {
            let used = ((self.offset + (out.len() - start) as u64) % PAGE as u64) as usize;
            let room = PAGE - used;
            if room < HEADER {
                out.resize(out.len() + room, 0);
                continue;
            }
            let (payload, tail) = rest.split_at(rest.len().min(room - HEADER));
            let kind = match (first, tail.is_empty()) {
                (true, true) => FULL,
                (true, false) => FIRST,
                (false, true) => LAST,
                (false, false) => MIDDLE,
            };
            out.push(kind | compression);
            out.extend_from_slice(&(payload.len() as u16).to_be_bytes());
            out.extend_from_slice(&crc(payload).to_be_bytes());
            out.extend_from_slice(payload);
            rest = tail;
            first = false;
            if rest.is_empty() {
                break;
            }
        }
        self.offset += (out.len() - start) as u64;
    }

    /// Appends zeros up to the end of the page, as a finished segment has them.
    pub(super) fn pad(&mut self, out: &mut Vec<u8>) {
        let used = (self.offset % PAGE as u64) as usize;
        if used > 0 {
            out.resize(out.len() + PAGE - used, 0);
            self.offset += (PAGE - used) as u64;
        }
    }

    /// The next byte goes to the start of a new segment.
    pub(super) fn next_segment(&mut self) {
        self.offset = 0;
    }
}
