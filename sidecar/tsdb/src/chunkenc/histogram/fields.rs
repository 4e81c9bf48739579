//! The fields of a chunk's samples, in the order in which they are written: time, count, zero count, sum, positive
//! buckets, negative buckets.

use super::field::{DeltaField, Field, Number, XorField};
use super::layout::Layout;
use crate::chunkenc::bstream::{BitReader, BitWriter};
use crate::histogram::{Bucket, Count, CounterResetHint, NativeHistogram, Span};

/// The newest values of all fields, and what the next ones are written by.
#[derive(Debug, Clone)]
pub(super) struct Fields<C: Number, B: Number> {
    t: DeltaField,
    pub(super) count: C::Field,
    pub(super) zero_count: C::Field,
    pub(super) sum: XorField,
    pub(super) positive: Vec<B::Field>,
    pub(super) negative: Vec<B::Field>,
}

impl<C: Number, B: Number> Default for Fields<C, B> {
    fn default() -> Self {
        Self {
            t: DeltaField::default(),
            count: C::Field::default(),
            zero_count: C::Field::default(),
            sum: XorField::default(),
            positive: Vec::new(),
            negative: Vec::new(),
        }
    }
}

impl<C: Number + Count, B: Number + Bucket> Fields<C, B> {
    /// Time of the newest sample.
    pub(super) fn t(&self) -> i64 {
        self.t.value()
    }

    /// Writes the first sample of a chunk.
    pub(super) fn put_first(&mut self, out: &mut BitWriter, t: i64, h: &NativeHistogram<C, B>) {
        self.t.put_first(out, t);
        self.count.put_first(out, h.count);
        self.zero_count.put_first(out, h.zero_count);
        self.sum.put_first(out, h.sum);
        self.positive = h.positive_buckets.iter().map(|&bucket| first(out, bucket)).collect();
        self.negative = h.negative_buckets.iter().map(|&bucket| first(out, bucket)).collect();
    }

    /// Writes a later sample: the totals of `h`, and its buckets brought to the chunk's.
    pub(super) fn put_next(
        &mut self,
        out: &mut BitWriter,
        t: i64,
        h: &NativeHistogram<C, B>,
        positive: &[B],
        negative: &[B],
    ) {
        self.t.put_next(out, t);
        if h.is_stale() {
            self.count.put_stale(out);
            self.zero_count.put_stale(out);
            self.sum.put_next(out, h.sum);
            return;
        }
        self.count.put_next(out, h.count);
        self.zero_count.put_next(out, h.zero_count);
        self.sum.put_next(out, h.sum);
        for (fields, buckets) in [(&mut self.positive, positive), (&mut self.negative, negative)] {
            // A valid histogram has a bucket for each field; what lacks one is empty, so that the chunk stays whole.
            let buckets = buckets.iter().copied().chain(std::iter::repeat(B::default()));
            fields.iter_mut().zip(buckets).for_each(|(field, bucket)| field.put_next(out, bucket));
        }
    }

    /// Reads the first sample of a chunk.
    pub(super) fn read_first(bits: &mut BitReader<'_>, layout: &Layout) -> Option<Self> {
        let t = DeltaField::read_first(bits)?;
        let count = C::Field::read_first(bits)?;
        let zero_count = C::Field::read_first(bits)?;
        let sum = XorField::read_first(bits)?;
        let positive = read_buckets::<B>(bits, &layout.positive)?;
        let negative = read_buckets::<B>(bits, &layout.negative)?;
        Some(Self { t, count, zero_count, sum, positive, negative })
    }

    /// Reads a later sample.
    pub(super) fn read_next(&mut self, bits: &mut BitReader<'_>) -> Option<()> {
        self.t.read_next(bits)?;
        self.count.read_next(bits)?;
        self.zero_count.read_next(bits)?;
        self.sum.read_next(bits)?;
        if self.sum.is_stale() {
            return Some(());
        }
        let buckets = self.positive.iter_mut().chain(&mut self.negative);
        buckets.map(|field| field.read_next(bits)).collect()
    }

    /// The newest histogram.
    pub(super) fn histogram(&self, layout: &Layout, hint: CounterResetHint) -> NativeHistogram<C, B> {
        if self.sum.is_stale() {
            return NativeHistogram::stale();
        }
        NativeHistogram {
            counter_reset_hint: hint,
            schema: layout.schema,
            zero_threshold: layout.zero_threshold,
            zero_count: self.zero_count.value(),
            count: self.count.value(),
            sum: self.sum.value(),
            positive_spans: layout.positive.clone(),
            negative_spans: layout.negative.clone(),
            positive_buckets: values::<B>(&self.positive),
            negative_buckets: values::<B>(&self.negative),
            custom_values: layout.custom_values.clone(),
        }
    }
}

fn first<B: Number>(out: &mut BitWriter, bucket: B) -> B::Field {
    let mut field = B::Field::default();
    field.put_first(out, bucket);
    field
}

fn values<B: Number>(fields: &[B::Field]) -> Vec<B> {
    fields.iter().map(Field::value).collect()
}

/// Reads a first bucket for each that the spans claim, if there are bits for as many.
fn read_buckets<B: Number>(bits: &mut BitReader<'_>, spans: &[Span]) -> Option<Vec<B::Field>> {
    let claimed: u64 = spans.iter().map(|span| u64::from(span.length)).sum();
    if claimed > (bits.remaining() / B::FIRST_BITS_MIN) as u64 {
        return None;
    }
    (0..claimed).map(|_| B::Field::read_first(bits)).collect()
}
