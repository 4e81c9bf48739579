//! Judges whether a histogram goes into a chunk, as Prometheus does, and what must change for it.

use super::HistogramAppender;
use super::field::{Field, Number};
use super::header::CounterResetHeader;
use super::merge::{Decreased, Merge};
use crate::histogram::{
    Bucket, Count, CounterResetHint, NativeHistogram, Span, absolute, indices, same_bounds, same_f64,
};

/// A chunk is not written anew if all its samples together would have more buckets than this. Each takes a bit or
/// more.
const RECODED_BUCKETS_MAX: usize = 1 << 18;

/// How a histogram relates to a chunk.
#[derive(Debug)]
pub(super) enum Fit {
    /// It goes in. Where its buckets differ from the chunk's, the set of both.
    In(Sides<Option<Merge>>),
    /// It begins another chunk.
    New(CounterResetHeader),
}

/// One thing for each side of a histogram.
#[derive(Debug)]
pub(super) struct Sides<T> {
    pub(super) positive: T,
    pub(super) negative: T,
}

impl Sides<Option<Merge>> {
    /// True if the chunk lacks buckets.
    pub(super) fn widen_chunk(&self) -> bool {
        self.merges().any(Merge::widens_chunk)
    }

    fn merges(&self) -> impl Iterator<Item = &Merge> {
        self.positive.iter().chain(&self.negative)
    }

    /// True if a chunk of so many samples would become too large with all buckets.
    fn too_wide(&self, samples: u16) -> bool {
        let buckets: usize = self.merges().map(Merge::len).sum();
        self.widen_chunk() && buckets.saturating_mul(usize::from(samples)) > RECODED_BUCKETS_MAX
    }
}

impl<C: Number + Count, B: Number + Bucket> HistogramAppender<C, B> {
    /// Judges a histogram for a chunk with samples.
    pub(super) fn fit(&self, h: &NativeHistogram<C, B>) -> Fit {
        let gauge = h.counter_reset_hint == CounterResetHint::Gauge;
        let unrelated = if gauge { CounterResetHeader::Gauge } else { CounterResetHeader::Unknown };
        if gauge != (self.header == CounterResetHeader::Gauge) {
            return Fit::New(unrelated.with(h.counter_reset_hint));
        }
        if h.counter_reset_hint == CounterResetHint::Reset {
            return Fit::New(CounterResetHeader::Reset);
        }
        if h.is_stale() {
            return self.fit_if_room(gauge, Sides { positive: None, negative: None });
        }
        if self.fields.sum.is_stale() {
            return Fit::New(unrelated);
        }
        match self.sides(h, gauge) {
            Ok(Some(sides)) => self.fit_if_room(gauge, sides),
            Ok(None) => Fit::New(unrelated),
            Err(Decreased) if gauge => Fit::New(unrelated),
            Err(Decreased) => Fit::New(CounterResetHeader::Reset),
        }
    }

    fn fit_if_room(&self, gauge: bool, sides: Sides<Option<Merge>>) -> Fit {
        let samples = self.count();
        match samples == u16::MAX || sides.too_wide(samples) {
            false => Fit::In(sides),
            true if gauge => Fit::New(CounterResetHeader::Gauge),
            true => Fit::New(CounterResetHeader::NotReset),
        }
    }

    /// What both sides become; `None` if their buckets have other bounds than the chunk's.
    fn sides(
        &self,
        h: &NativeHistogram<C, B>,
        gauge: bool,
    ) -> Result<Option<Sides<Option<Merge>>>, Decreased> {
        let (fields, layout) = (&self.fields, &self.layout);
        let decreased = |now: C, before: &C::Field| !gauge && now < before.value();
        if decreased(h.count, &fields.count) {
            return Err(Decreased);
        }
        if h.schema != layout.schema || !same_f64(h.zero_threshold, layout.zero_threshold) {
            return Ok(None);
        }
        if h.uses_custom_buckets() && !same_bounds(&h.custom_values, &layout.custom_values)
            || decreased(h.zero_count, &fields.zero_count)
        {
            return Err(Decreased);
        }
        let side = |spans: &[Span], fields: &[B::Field], new_spans: &[Span], new: &[B]| {
            let before = absolute(fields.iter().map(Field::value));
            let now = absolute(new.iter().copied());
            if spans == new_spans {
                let decreased = !gauge && before.zip(now).any(|(before, now)| before > now);
                return if decreased { Err(Decreased) } else { Ok(None) };
            }
            Merge::new(indices(spans).zip(before), indices(new_spans).zip(now), !gauge).map(Some)
        };
        let positive = side(&layout.positive, &fields.positive, &h.positive_spans, &h.positive_buckets)?;
        let negative = side(&layout.negative, &fields.negative, &h.negative_spans, &h.negative_buckets)?;
        Ok(Some(Sides { positive, negative }))
    }
}
