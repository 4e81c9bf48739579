//! What makes a histogram valid, as Prometheus judges it, and within bounds that keep one sample small.

use super::{
    BUCKET_INDEX_MAX, Bucket, CUSTOM_BUCKETS_SCHEMA, Count, FloatHistogram, Histogram, NativeHistogram,
    SCHEMA_MAX, SCHEMA_MIN, Span, absolute,
};

/// Most buckets of a histogram, both sides together.
pub const BUCKETS_MAX: usize = 10_000;
/// Most spans of a histogram, both sides together.
pub const SPANS_MAX: usize = 10_000;
/// Most custom bounds of a histogram.
pub const CUSTOM_VALUES_MAX: usize = 10_000;

/// A side of a histogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Buckets of positive observations, and custom buckets.
    Positive,
    /// Buckets of negative observations.
    Negative,
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Positive => "positive",
            Self::Negative => "negative",
        })
    }
}

/// Why a histogram is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidHistogram {
    /// No schema that buckets can be read by.
    #[error("histogram schema {schema} is neither {SCHEMA_MIN} to {SCHEMA_MAX} nor {CUSTOM_BUCKETS_SCHEMA}")]
    Schema {
        /// The schema.
        schema: i32,
    },
    /// More buckets than a sample may have.
    #[error("histogram has {buckets} buckets, at most {BUCKETS_MAX} are taken")]
    Buckets {
        /// How many.
        buckets: usize,
    },
    /// More spans than a sample may have.
    #[error("histogram has {spans} spans, at most {SPANS_MAX} are taken")]
    Spans {
        /// How many.
        spans: usize,
    },
    /// More custom bounds than a sample may have.
    #[error("histogram has {bounds} custom bounds, at most {CUSTOM_VALUES_MAX} are taken")]
    CustomValues {
        /// How many.
        bounds: usize,
    },
    /// A span reaches back.
    #[error("histogram's {side} span {span} has the negative offset {offset}")]
    NegativeOffset {
        /// On which side.
        side: Side,
        /// Position of the span.
        span: usize,
        /// Its offset.
        offset: i32,
    },
    /// A bucket is too far from the others.
    #[error("histogram has a {side} bucket whose index is beyond {BUCKET_INDEX_MAX}")]
    BucketIndex {
        /// On which side.
        side: Side,
    },
    /// Spans and buckets do not fit together.
    #[error("histogram's {side} spans need {needed} buckets, there are {buckets}")]
    SpansBuckets {
        /// On which side.
        side: Side,
        /// Buckets of all spans.
        needed: u64,
        /// Buckets.
        buckets: usize,
    },
    /// A bucket has less than no observation.
    #[error("histogram's {side} bucket {bucket} has a negative count")]
    NegativeBucket {
        /// On which side.
        side: Side,
        /// Position of the bucket.
        bucket: usize,
    },
    /// The count, or that of the zero bucket, is negative.
    #[error("histogram has a negative count of observations")]
    NegativeCount,
    /// The sum is no NaN, so each observation must be in a bucket.
    #[error("histogram has {in_buckets} observations in its buckets, its count is {count}")]
    CountMismatch {
        /// Observations in all buckets.
        in_buckets: u128,
        /// The count of the histogram.
        count: u64,
    },
    /// Buckets have more observations than there are.
    #[error("histogram has {in_buckets} observations in its buckets, its count is only {count}")]
    CountTooSmall {
        /// Observations in all buckets.
        in_buckets: u128,
        /// The count of the histogram.
        count: u64,
    },
    /// Custom buckets have no zero bucket.
    #[error("histogram with custom buckets has a zero bucket")]
    CustomZeroBucket,
    /// Custom buckets are all on one side.
    #[error("histogram with custom buckets has a negative side")]
    CustomNegativeSide,
    /// The last custom bucket ends at +Inf, which is not to be written.
    #[error("histogram's custom bound {bound} is +Inf or no number")]
    CustomBoundInfinite {
        /// Position of the bound.
        bound: usize,
    },
    /// Each custom bound must be above the one before.
    #[error("histogram's custom bound {bound} is not above the one before")]
    CustomBoundOrder {
        /// Position of the bound.
        bound: usize,
    },
    /// Spans reach beyond the last custom bound.
    #[error("histogram's spans reach over {reach} buckets, its {bounds} custom bounds make fewer")]
    CustomBoundsFew {
        /// Buckets from the first to the last.
        reach: i64,
        /// How many bounds.
        bounds: usize,
    },
    /// Exponential buckets have bounds of their own.
    #[error("histogram with exponential buckets has custom bounds")]
    CustomBoundsUnused,
}

impl Histogram {
    /// Checks all that a reader relies on.
    ///
    /// # Errors
    /// The first fault found.
    pub fn validate(&self) -> Result<(), InvalidHistogram> {
        self.check_sides()?;
        let counts = self.positive().chain(self.negative()).map(|(_, count)| count as u128);
        let in_buckets = counts.sum::<u128>() + u128::from(self.zero_count);
        let count = self.count;
        // An observation of NaN is in no bucket, and makes the sum NaN.
        match in_buckets.cmp(&u128::from(count)) {
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Less if self.sum.is_nan() => Ok(()),
            _ if self.sum.is_nan() => Err(InvalidHistogram::CountTooSmall { in_buckets, count }),
            _ => Err(InvalidHistogram::CountMismatch { in_buckets, count }),
        }
    }
}

impl FloatHistogram {
    /// Checks all that a reader relies on. Float counts need not add up.
    ///
    /// # Errors
    /// The first fault found.
    pub fn validate(&self) -> Result<(), InvalidHistogram> {
        self.check_sides()?;
        if self.count < 0.0 || self.zero_count < 0.0 {
            return Err(InvalidHistogram::NegativeCount);
        }
        Ok(())
    }
}

impl<C: Count, B: Bucket> NativeHistogram<C, B> {
    fn check_sides(&self) -> Result<(), InvalidHistogram> {
        self.check_bounds()?;
        if self.uses_custom_buckets() {
            self.check_custom()?;
        } else if !(SCHEMA_MIN..=SCHEMA_MAX).contains(&self.schema) {
            return Err(InvalidHistogram::Schema { schema: self.schema });
        } else if !self.custom_values.is_empty() {
            return Err(InvalidHistogram::CustomBoundsUnused);
        }
        check_side(Side::Positive, &self.positive_spans, &self.positive_buckets)?;
        check_side(Side::Negative, &self.negative_spans, &self.negative_buckets)
    }

    fn check_bounds(&self) -> Result<(), InvalidHistogram> {
        let buckets = self.positive_buckets.len() + self.negative_buckets.len();
        let spans = self.positive_spans.len() + self.negative_spans.len();
        let bounds = self.custom_values.len();
        if buckets > BUCKETS_MAX {
            return Err(InvalidHistogram::Buckets { buckets });
        }
        if spans > SPANS_MAX {
            return Err(InvalidHistogram::Spans { spans });
        }
        if bounds > CUSTOM_VALUES_MAX {
            return Err(InvalidHistogram::CustomValues { bounds });
        }
        Ok(())
    }

    fn check_custom(&self) -> Result<(), InvalidHistogram> {
        if self.zero_count != C::default() || self.zero_threshold != 0.0 {
            return Err(InvalidHistogram::CustomZeroBucket);
        }
        if !self.negative_spans.is_empty() || !self.negative_buckets.is_empty() {
            return Err(InvalidHistogram::CustomNegativeSide);
        }
        let mut last = None;
        for (bound, &value) in self.custom_values.iter().enumerate() {
            if value.is_nan() || value == f64::INFINITY {
                return Err(InvalidHistogram::CustomBoundInfinite { bound });
            }
            if last.is_some_and(|last| value <= last) {
                return Err(InvalidHistogram::CustomBoundOrder { bound });
            }
            last = Some(value);
        }
        let reach = |span: &Span| i64::from(span.offset) + i64::from(span.length);
        let reach = self.positive_spans.iter().map(reach).sum();
        let bounds = self.custom_values.len();
        if reach > bounds as i64 + 1 {
            return Err(InvalidHistogram::CustomBoundsFew { reach, bounds });
        }
        match self.positive_spans.first() {
            Some(&Span { offset, .. }) if offset < 0 => {
                Err(InvalidHistogram::NegativeOffset { side: Side::Positive, span: 0, offset })
            }
            _ => Ok(()),
        }
    }
}

fn check_side<B: Bucket>(side: Side, spans: &[Span], buckets: &[B]) -> Result<(), InvalidHistogram> {
    check_spans(side, spans, buckets.len())?;
    let (mut start, mut end) = (0i64, 0i64);
    for (at, span) in spans.iter().enumerate() {
        end += i64::from(span.offset) + i64::from(span.length);
        if at == 0 {
            start = i64::from(span.offset);
        }
    }
    if start < -BUCKET_INDEX_MAX || end > BUCKET_INDEX_MAX {
        return Err(InvalidHistogram::BucketIndex { side });
    }
    match absolute(buckets.iter().copied()).position(|count| count < B::default()) {
        Some(bucket) => Err(InvalidHistogram::NegativeBucket { side, bucket }),
        None => Ok(()),
    }
}

/// Spans go forward only, and name as many buckets as there are.
pub(super) fn check_spans(side: Side, spans: &[Span], buckets: usize) -> Result<(), InvalidHistogram> {
    let mut needed = 0;
    for (at, span) in spans.iter().enumerate() {
        if at > 0 && span.offset < 0 {
            return Err(InvalidHistogram::NegativeOffset { side, span: at, offset: span.offset });
        }
        needed += u64::from(span.length);
    }
    if needed != buckets as u64 {
        return Err(InvalidHistogram::SpansBuckets { side, needed, buckets });
    }
    Ok(())
}
