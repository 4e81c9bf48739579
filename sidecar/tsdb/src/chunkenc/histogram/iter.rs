//! Reads histogram chunks.

use super::field::Number;
use super::fields::Fields;
use super::header::CounterResetHeader;
use super::layout::Layout;
use crate::chunkenc::ChunkError;
use crate::chunkenc::bstream::BitReader;
use crate::histogram::{Bucket, Count, NativeHistogram};

/// Iterates over `(time, histogram)` of a chunk's bytes.
#[derive(Debug, Clone)]
pub(crate) struct HistogramIter<'a, C: Number, B: Number> {
    bits: BitReader<'a>,
    header: CounterResetHeader,
    count: u16,
    read: u16,
    layout: Layout,
    fields: Fields<C, B>,
}

impl<'a, C: Number + Count, B: Number + Bucket> HistogramIter<'a, C, B> {
    /// Reads the bytes of one chunk, its header included.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        let mut bits = BitReader::new(bytes);
        let count = bits.bits(16).unwrap_or(0) as u16;
        let header = CounterResetHeader::of(bits.bits(8).unwrap_or(0) as u8);
        Self { bits, header, count, read: 0, layout: Layout::default(), fields: Fields::default() }
    }

    fn sample(&mut self) -> Option<(i64, NativeHistogram<C, B>)> {
        if self.read == 0 {
            self.layout = Layout::read(&mut self.bits)?;
            self.fields = Fields::read_first(&mut self.bits, &self.layout)?;
        } else {
            self.fields.read_next(&mut self.bits)?;
        }
        let mut h = self.fields.histogram(&self.layout, self.header.hint(self.read));
        h.reduce_resolution().ok()?;
        self.read += 1;
        Some((self.fields.t(), h))
    }
}

impl<C: Number + Count, B: Number + Bucket> Iterator for HistogramIter<'_, C, B> {
    type Item = Result<(i64, NativeHistogram<C, B>), ChunkError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.read >= self.count {
            return None;
        }
        let (sample, count) = (self.read, self.count);
        let item = self.sample().ok_or(ChunkError { encoding: C::ENCODING, sample, count });
        if item.is_err() {
            self.count = self.read;
        }
        Some(item)
    }
}
