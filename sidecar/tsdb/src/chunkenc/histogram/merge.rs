//! Brings the buckets of a chunk and those of its next histogram to one set. All histograms of a chunk have the
//! same buckets, so whichever side lacks one gets it, empty.

use crate::histogram::{Bucket, Span, SpanBuilder, absolute};

/// Buckets of two origins in one set.
#[derive(Debug, Default)]
pub(super) struct Merge {
    spans: SpanBuilder,
    /// For each bucket of the set, whether the chunk has it.
    chunk: Vec<bool>,
    /// For each bucket of the set, whether the histogram has it.
    histogram: Vec<bool>,
}

/// A bucket that counted observations has fewer of them, or is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Decreased;

impl Merge {
    /// Merges the buckets of a chunk, with the counts of its newest sample, and of the histogram to come. With
    /// `counter`, no bucket may count less than before.
    pub(super) fn new<B: Bucket>(
        chunk: impl Iterator<Item = (i64, B)>,
        histogram: impl Iterator<Item = (i64, B)>,
        counter: bool,
    ) -> Result<Self, Decreased> {
        let (mut chunk, mut histogram) = (chunk.peekable(), histogram.peekable());
        let mut merge = Self::default();
        loop {
            let (index, before, now) = match (chunk.peek(), histogram.peek()) {
                (None, None) => return Ok(merge),
                (Some(&(i, before)), Some(&(j, now))) if i == j => (i, Some(before), Some(now)),
                (Some(&(i, before)), next) if next.is_none_or(|&(j, _)| i < j) => (i, Some(before), None),
                (_, Some(&(j, now))) => (j, None, Some(now)),
                (Some(&(i, before)), None) => (i, Some(before), None),
            };
            let decreased = match (before, now) {
                (Some(before), Some(now)) => before > now,
                (Some(before), None) => before != B::default(),
                _ => false,
            };
            if counter && decreased {
                return Err(Decreased);
            }
            if before.is_some() {
                chunk.next();
            }
            if now.is_some() {
                histogram.next();
            }
            // Indices of valid histograms are never too far apart.
            merge.spans.push(index).ok_or(Decreased)?;
            merge.chunk.push(before.is_some());
            merge.histogram.push(now.is_some());
        }
    }

    /// How many buckets the set has.
    pub(super) fn len(&self) -> usize {
        self.chunk.len()
    }

    /// True if the chunk lacks buckets.
    pub(super) fn widens_chunk(&self) -> bool {
        self.chunk.contains(&false)
    }

    /// The chunk's buckets, with the empty ones that it lacks.
    pub(super) fn spread_chunk<B: Bucket>(&self, stored: &[B]) -> Vec<B> {
        spread(stored, &self.chunk)
    }

    /// The histogram's buckets, with the empty ones that it lacks.
    pub(super) fn spread_histogram<B: Bucket>(&self, stored: &[B]) -> Vec<B> {
        spread(stored, &self.histogram)
    }

    /// The spans of the set.
    pub(super) fn spans(&self) -> &[Span] {
        self.spans.spans()
    }
}

fn spread<B: Bucket>(stored: &[B], present: &[bool]) -> Vec<B> {
    let mut counts = absolute(stored.iter().copied());
    let mut last = B::default();
    let mut place = |&present: &bool| {
        let count = if present { counts.next().unwrap_or_default() } else { B::default() };
        let stored = B::stored(last, count);
        last = count;
        stored
    };
    present.iter().map(&mut place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merge(chunk: &[(i64, i64)], histogram: &[(i64, i64)], counter: bool) -> Result<Merge, Decreased> {
        Merge::new(chunk.iter().copied(), histogram.iter().copied(), counter)
    }

    #[test]
    fn each_side_gets_what_it_lacks() {
        let set = merge(&[(0, 0), (1, 3), (5, 2)], &[(1, 3), (2, 1), (5, 2), (6, 9)], true).unwrap();
        assert!(set.widens_chunk());
        assert_eq!(set.len(), 5);
        assert_eq!(set.spread_chunk(&[0, 3, -1]), [0, 3, -3, 2, -2]);
        assert_eq!(set.spread_histogram(&[3, -2, 1, 7]), [0, 3, -2, 1, 7]);
        assert_eq!(set.spans(), [Span { offset: 0, length: 3 }, Span { offset: 2, length: 2 }]);
    }

    #[test]
    fn a_counter_does_not_go_back() {
        assert!(merge(&[(0, 1)], &[(0, 0)], true).is_err());
        assert!(merge(&[(0, 1)], &[(1, 1)], true).is_err());
        assert!(merge(&[(0, 1), (3, 1)], &[(0, 1)], true).is_err());
        let gauge = merge(&[(0, 1), (3, 1)], &[(3, 0)], false).unwrap();
        assert!(!gauge.widens_chunk());
        assert_eq!(gauge.spread_histogram(&[0]), [0, 0]);
    }
}
