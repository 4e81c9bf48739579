//! Histogram chunks, with integer or float counts. Layout: `docs/format/chunks.md`.
//!
//! Owns the bytes of one chunk, and which histograms it can take: all of a chunk have one schema and one set of
//! buckets, and those of a counter never count less than before. When a chunk is full is the head's to say; see
//! [`HistogramChunkEnd`].

mod end;
mod field;
mod fields;
mod fit;
#[cfg(test)]
mod golden;
mod header;
mod iter;
mod layout;
mod merge;
#[cfg(test)]
mod tests;

use super::bstream::BitWriter;
use crate::histogram::{Bucket, Count, NativeHistogram, Span};
pub(crate) use end::{HistogramChunkEnd, predict_end};
pub(crate) use field::Number;
use fields::Fields;
use fit::{Fit, Sides};
pub(crate) use header::CounterResetHeader;
pub(crate) use iter::HistogramIter;
use layout::Layout;
use merge::Merge;

/// What became of a histogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Appended {
    /// It is in the chunk.
    Stored,
    /// It is not: it must begin a new chunk, with this header.
    NewChunk(CounterResetHeader),
}

/// A chunk of histograms that still grows. Empty until the first [`HistogramAppender::append`].
#[derive(Debug, Clone)]
pub(crate) struct HistogramAppender<C: Number, B: Number> {
    out: BitWriter,
    header: CounterResetHeader,
    layout: Layout,
    fields: Fields<C, B>,
}

impl<C: Number + Count, B: Number + Bucket> Default for HistogramAppender<C, B> {
    fn default() -> Self {
        Self::new(CounterResetHeader::Unknown)
    }
}

impl<C: Number + Count, B: Number + Bucket> HistogramAppender<C, B> {
    /// An empty chunk that will have this header, unless its first histogram says otherwise.
    pub(crate) fn new(header: CounterResetHeader) -> Self {
        Self { out: BitWriter::default(), header, layout: Layout::default(), fields: Fields::default() }
    }

    /// The number of samples.
    pub(crate) fn count(&self) -> u16 {
        self.out.bytes.first_chunk::<2>().map_or(0, |count| u16::from_be_bytes(*count))
    }

    /// The chunk's bytes so far, a complete chunk at any time; empty without samples.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.out.bytes
    }

    /// Time of the newest sample; 0 without samples.
    pub(crate) fn last_t(&self) -> i64 {
        self.fields.t()
    }

    /// The newest histogram, with the empty buckets that the chunk gave it.
    pub(crate) fn last(&self) -> Option<NativeHistogram<C, B>> {
        let at = self.count().checked_sub(1)?;
        Some(self.fields.histogram(&self.layout, self.header.hint(at)))
    }

    /// Takes the finished bytes and leaves an empty appender, whose chunk will have the header `next`.
    pub(crate) fn finish(&mut self, next: CounterResetHeader) -> Box<[u8]> {
        std::mem::replace(self, Self::new(next)).out.bytes.into_boxed_slice()
    }

    /// The header of a new chunk that goes on after this one with `h`.
    pub(crate) fn header_before(&self, h: &NativeHistogram<C, B>) -> CounterResetHeader {
        if self.count() == 0 {
            return self.header.with(h.counter_reset_hint);
        }
        match self.fit(h) {
            Fit::New(header) => header,
            Fit::In(_) => CounterResetHeader::NotReset.with(h.counter_reset_hint),
        }
    }

    /// Adds a valid histogram newer than all before. An empty chunk takes any.
    pub(crate) fn append(&mut self, t: i64, h: &NativeHistogram<C, B>) -> Appended {
        if self.count() == 0 {
            self.put_first(t, h);
            return Appended::Stored;
        }
        let sides = match self.fit(h) {
            Fit::New(header) => return Appended::NewChunk(header),
            Fit::In(sides) => sides,
        };
        if sides.widen_chunk() {
            self.recode(&sides);
        }
        let wide = |merge: &Option<Merge>, stored: &[B]| merge.as_ref().map(|m| m.spread_histogram(stored));
        let positive = wide(&sides.positive, &h.positive_buckets);
        let negative = wide(&sides.negative, &h.negative_buckets);
        self.put_next(
            t,
            h,
            positive.as_deref().unwrap_or(&h.positive_buckets),
            negative.as_deref().unwrap_or(&h.negative_buckets),
        );
        Appended::Stored
    }

    /// Writes the chunk anew with all buckets of both sides.
    fn recode(&mut self, sides: &Sides<Option<Merge>>) {
        let wide = |merge: &Option<Merge>, spans: &mut Vec<Span>, stored: &mut Vec<B>| {
            if let Some(merge) = merge {
                *stored = merge.spread_chunk(stored);
                *spans = merge.spans().to_vec();
            }
        };
        let mut wider = Self::new(self.header);
        for (t, mut h) in HistogramIter::new(self.bytes()).map_while(Result::ok) {
            wide(&sides.positive, &mut h.positive_spans, &mut h.positive_buckets);
            wide(&sides.negative, &mut h.negative_spans, &mut h.negative_buckets);
            match wider.count() {
                0 => wider.put_first(t, &h),
                _ => wider.put_next(t, &h, &h.positive_buckets, &h.negative_buckets),
            }
        }
        *self = wider;
    }

    fn put_first(&mut self, t: i64, h: &NativeHistogram<C, B>) {
        let stale;
        let h = match h.is_stale() {
            true => {
                stale =
                    NativeHistogram { counter_reset_hint: h.counter_reset_hint, ..NativeHistogram::stale() };
                &stale
            }
            false => h,
        };
        self.header = self.header.with(h.counter_reset_hint);
        self.layout = Layout::of(h);
        self.out.bytes.extend_from_slice(&[0, 1, self.header as u8]);
        self.layout.put(&mut self.out);
        self.fields.put_first(&mut self.out, t, h);
    }

    /// Writes a histogram whose buckets are brought to those of the chunk.
    fn put_next(&mut self, t: i64, h: &NativeHistogram<C, B>, positive: &[B], negative: &[B]) {
        self.fields.put_next(&mut self.out, t, h, positive, negative);
        let count = self.count() + 1;
        if let Some(head) = self.out.bytes.first_chunk_mut::<2>() {
            *head = count.to_be_bytes();
        }
    }
}
