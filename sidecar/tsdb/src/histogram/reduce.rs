//! Takes histograms finer than the finest schema by merging neighbouring buckets.

use super::validate::check_spans;
use super::{
    Bucket, Count, InvalidHistogram, NativeHistogram, SCHEMA_MAX, SCHEMA_MAX_RESERVED, Side, Span,
    SpanBuilder, absolute, indices,
};

impl<C: Count, B: Bucket> NativeHistogram<C, B> {
    /// Reduces schemas 9 to 52 to schema 8; leaves any other alone.
    ///
    /// # Errors
    /// When spans and buckets do not fit together.
    pub fn reduce_resolution(&mut self) -> Result<(), InvalidHistogram> {
        if !(SCHEMA_MAX + 1..=SCHEMA_MAX_RESERVED).contains(&self.schema) {
            return Ok(());
        }
        let shift = (self.schema - SCHEMA_MAX) as u32;
        let positive = merge(Side::Positive, &self.positive_spans, &self.positive_buckets, shift)?;
        let negative = merge(Side::Negative, &self.negative_spans, &self.negative_buckets, shift)?;
        (self.positive_spans, self.positive_buckets) = positive;
        (self.negative_spans, self.negative_buckets) = negative;
        self.schema = SCHEMA_MAX;
        Ok(())
    }
}

/// Merges 2^`shift` buckets into one. A bucket's upper bound is inclusive, so it is the last of its group that has
/// the group's bound.
fn merge<B: Bucket>(
    side: Side,
    spans: &[Span],
    buckets: &[B],
    shift: u32,
) -> Result<(Vec<Span>, Vec<B>), InvalidHistogram> {
    check_spans(side, spans, buckets.len())?;
    let mut layout = SpanBuilder::default();
    let mut counts: Vec<B> = Vec::new();
    let mut last = None;
    for (index, count) in indices(spans).zip(absolute(buckets.iter().copied())) {
        let target = ((index - 1) >> shift) + 1;
        match counts.last_mut() {
            Some(merged) if last == Some(target) => *merged = merged.plus(count),
            _ => {
                layout.push(target).ok_or(InvalidHistogram::BucketIndex { side })?;
                counts.push(count);
            }
        }
        last = Some(target);
    }
    let mut before = B::default();
    for count in &mut counts {
        let stored = B::stored(before, *count);
        before = std::mem::replace(count, stored);
    }
    Ok((layout.finish(), counts))
}
