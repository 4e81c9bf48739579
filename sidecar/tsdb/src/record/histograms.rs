//! Records of native histograms. Histograms with custom buckets have kinds of their own, whose entries end with the
//! buckets' bounds.

use std::marker::PhantomData;

use super::{Base, BaseEncoder, CUSTOM_FLOAT_HISTOGRAMS, CUSTOM_HISTOGRAMS, FLOAT_HISTOGRAMS, HISTOGRAMS};
use crate::encoding::{Decoder, Truncated, put_uvarint, put_varint};
use crate::histogram::{Bucket, CUSTOM_BUCKETS_SCHEMA, Count, NativeHistogram, Span};

/// One histogram of a record, as it was written: neither valid nor reduced to a known schema.
#[derive(Debug, Clone)]
pub(crate) struct HistogramEntry<C, B> {
    /// The series' reference.
    pub(crate) reference: u64,
    /// Milliseconds since the epoch.
    pub(crate) t: i64,
    /// The histogram.
    pub(crate) h: NativeHistogram<C, B>,
}

/// Iterates over a record of histograms.
#[derive(Debug)]
pub(crate) struct HistogramRecords<'a, C, B> {
    body: Decoder<'a>,
    base: Base,
    of: PhantomData<(C, B)>,
}

impl<'a, C: Number + Count, B: Number + Bucket> HistogramRecords<'a, C, B> {
    pub(super) fn new(body: Decoder<'a>, base: Base) -> Self {
        Self { body, base, of: PhantomData }
    }

    fn entry(&mut self) -> Result<HistogramEntry<C, B>, Truncated> {
        let (reference, t) = self.base.next(&mut self.body)?;
        Ok(HistogramEntry { reference, t, h: histogram(&mut self.body)? })
    }
}

impl<C: Number + Count, B: Number + Bucket> Iterator for HistogramRecords<'_, C, B> {
    type Item = Result<HistogramEntry<C, B>, Truncated>;

    fn next(&mut self) -> Option<Self::Item> {
        (!self.body.is_empty()).then(|| self.entry())
    }
}

fn histogram<C: Number + Count, B: Number + Bucket>(
    body: &mut Decoder<'_>,
) -> Result<NativeHistogram<C, B>, Truncated> {
    let mut h = NativeHistogram {
        counter_reset_hint: body.byte()?.into(),
        schema: body.varint_i32()?,
        zero_threshold: body.f64()?,
        zero_count: C::get(body)?,
        count: C::get(body)?,
        sum: body.f64()?,
        positive_spans: list(body, span)?,
        negative_spans: list(body, span)?,
        positive_buckets: list(body, B::get)?,
        negative_buckets: list(body, B::get)?,
        custom_values: Vec::new(),
    };
    if h.schema == CUSTOM_BUCKETS_SCHEMA {
        h.custom_values = list(body, Decoder::f64)?;
    }
    Ok(h)
}

fn span(body: &mut Decoder<'_>) -> Result<Span, Truncated> {
    Ok(Span { offset: body.varint_i32()?, length: body.uvarint_u32()? })
}

/// A list with its length in front. An item takes at least a byte, so memory grows with what was read, whatever the
/// length claims.
fn list<'a, T>(
    body: &mut Decoder<'a>,
    item: impl Fn(&mut Decoder<'a>) -> Result<T, Truncated>,
) -> Result<Vec<T>, Truncated> {
    let claimed = body.uvarint()?;
    let mut items = Vec::with_capacity(claimed.min(256) as usize);
    for _ in 0..claimed {
        items.push(item(body)?);
    }
    items.shrink_to_fit();
    Ok(items)
}

/// How a count or a bucket is written.
pub(crate) trait Number: Copy {
    /// The kind of record for histograms with exponential buckets.
    const EXPONENTIAL: u8;
    /// The kind of record for histograms with custom buckets.
    const CUSTOM: u8;

    fn put(self, out: &mut Vec<u8>);
    fn get(body: &mut Decoder<'_>) -> Result<Self, Truncated>;
}

impl Number for u64 {
    const EXPONENTIAL: u8 = HISTOGRAMS;
    const CUSTOM: u8 = CUSTOM_HISTOGRAMS;

    fn put(self, out: &mut Vec<u8>) {
        put_uvarint(out, self);
    }

    fn get(body: &mut Decoder<'_>) -> Result<Self, Truncated> {
        body.uvarint()
    }
}

impl Number for i64 {
    const EXPONENTIAL: u8 = HISTOGRAMS;
    const CUSTOM: u8 = CUSTOM_HISTOGRAMS;

    fn put(self, out: &mut Vec<u8>) {
        put_varint(out, self);
    }

    fn get(body: &mut Decoder<'_>) -> Result<Self, Truncated> {
        body.varint()
    }
}

impl Number for f64 {
    const EXPONENTIAL: u8 = FLOAT_HISTOGRAMS;
    const CUSTOM: u8 = CUSTOM_FLOAT_HISTOGRAMS;

    fn put(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_bits().to_be_bytes());
    }

    fn get(body: &mut Decoder<'_>) -> Result<Self, Truncated> {
        body.f64()
    }
}

/// Builds the records of a request's histograms of one type: one for exponential buckets, one for custom ones.
#[derive(Debug)]
pub(crate) struct HistogramsEncoder<C, B> {
    exponential: BaseEncoder,
    custom: BaseEncoder,
    of: PhantomData<(C, B)>,
}

impl<C, B> Default for HistogramsEncoder<C, B> {
    fn default() -> Self {
        Self { exponential: BaseEncoder::default(), custom: BaseEncoder::default(), of: PhantomData }
    }
}

impl<C: Number + Count, B: Number + Bucket> HistogramsEncoder<C, B> {
    /// Adds a histogram.
    pub(crate) fn push(&mut self, reference: u64, t: i64, h: &NativeHistogram<C, B>) {
        let out = match h.uses_custom_buckets() {
            false => self.exponential.push(C::EXPONENTIAL, reference, t),
            true => self.custom.push(C::CUSTOM, reference, t),
        };
        put_histogram(out, h);
    }

    /// The payloads, in the order in which they are logged; empty ones hold nothing.
    pub(crate) fn records(&self) -> [&[u8]; 2] {
        [self.exponential.bytes(), self.custom.bytes()]
    }

    /// Starts anew and keeps the memory that a usual request needs.
    pub(crate) fn clear(&mut self) {
        self.exponential.clear();
        self.custom.clear();
    }
}

fn put_histogram<C: Number + Count, B: Number + Bucket>(out: &mut Vec<u8>, h: &NativeHistogram<C, B>) {
    out.push(h.counter_reset_hint as u8);
    put_varint(out, i64::from(h.schema));
    h.zero_threshold.put(out);
    h.zero_count.put(out);
    h.count.put(out);
    h.sum.put(out);
    for spans in [&h.positive_spans, &h.negative_spans] {
        put_uvarint(out, spans.len() as u64);
        for span in spans {
            put_varint(out, i64::from(span.offset));
            put_uvarint(out, u64::from(span.length));
        }
    }
    for buckets in [&h.positive_buckets, &h.negative_buckets] {
        put_uvarint(out, buckets.len() as u64);
        buckets.iter().for_each(|bucket| bucket.put(out));
    }
    if h.uses_custom_buckets() {
        put_uvarint(out, h.custom_values.len() as u64);
        h.custom_values.iter().for_each(|bound| bound.put(out));
    }
}
