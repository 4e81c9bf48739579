//! Native histograms as Prometheus models them: sparse buckets on a scale that the schema names.
//!
//! Integer and float histograms differ in the type of their counts, and in what a bucket stores: an integer bucket
//! the difference to the one before, a float bucket its own count. Owns what is a valid histogram. Neither bytes
//! (`chunkenc`, `record`) nor the wire are known here.

mod number;
mod reduce;
mod spans;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod validate;

pub use number::{Bucket, Count};
pub use spans::{BUCKET_INDEX_MAX, Span};
pub(crate) use spans::{SpanBuilder, indices};
pub use validate::{BUCKETS_MAX, CUSTOM_VALUES_MAX, InvalidHistogram, SPANS_MAX, Side};

use crate::sample::{STALE_NAN, is_stale};
pub(crate) use number::same_f64;

/// The schema of histograms whose buckets have the bounds of [`NativeHistogram::custom_values`].
pub const CUSTOM_BUCKETS_SCHEMA: i32 = -53;
/// The coarsest exponential schema.
pub const SCHEMA_MIN: i32 = -4;
/// The coarsest exponential schema that Prometheus has set aside; chunks with it can be read.
pub const SCHEMA_MIN_RESERVED: i32 = -9;
/// The finest exponential schema.
pub const SCHEMA_MAX: i32 = 8;
/// The finest exponential schema that is taken; what is finer than [`SCHEMA_MAX`] is reduced to it.
pub const SCHEMA_MAX_RESERVED: i32 = 52;

/// What is known about a counter reset between a histogram and the one before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum CounterResetHint {
    /// Nothing: who reads must compare.
    #[default]
    Unknown = 0,
    /// There was one.
    Reset = 1,
    /// There was none.
    NotReset = 2,
    /// A gauge histogram, which has no resets.
    Gauge = 3,
}

impl From<u8> for CounterResetHint {
    /// The hint that WAL records and the wire write so; [`CounterResetHint::Unknown`] for a number without meaning.
    fn from(hint: u8) -> Self {
        match hint {
            1 => Self::Reset,
            2 => Self::NotReset,
            3 => Self::Gauge,
            _ => Self::Unknown,
        }
    }
}

/// A native histogram with counts of type `C` and stored buckets of type `B`; see [`Histogram`] and
/// [`FloatHistogram`].
#[derive(Debug, Clone, Default)]
pub struct NativeHistogram<C, B> {
    /// What is known about a counter reset before this sample.
    pub counter_reset_hint: CounterResetHint,
    /// -4 to 8: a bucket's bounds grow by 2^(2^-schema) each; -53: the bounds are `custom_values`.
    pub schema: i32,
    /// Upper bound of the zero bucket's absolute values.
    pub zero_threshold: f64,
    /// Observations in the zero bucket.
    pub zero_count: C,
    /// All observations.
    pub count: C,
    /// The sum of all observations; the stale NaN makes the histogram a stale marker.
    pub sum: f64,
    /// Which positive buckets there are.
    pub positive_spans: Vec<Span>,
    /// Which negative buckets there are.
    pub negative_spans: Vec<Span>,
    /// One number for each positive bucket.
    pub positive_buckets: Vec<B>,
    /// One number for each negative bucket.
    pub negative_buckets: Vec<B>,
    /// Upper bounds of custom buckets; empty for exponential schemas.
    pub custom_values: Vec<f64>,
}

/// A histogram with integer counts; buckets after the first are differences to the one before.
pub type Histogram = NativeHistogram<u64, i64>;

/// A histogram with float counts; buckets are counts of their own.
pub type FloatHistogram = NativeHistogram<f64, f64>;

impl<C: Count, B: Bucket> NativeHistogram<C, B> {
    /// The marker that ends a series.
    pub fn stale() -> Self {
        Self { sum: f64::from_bits(STALE_NAN), ..Self::default() }
    }

    /// True for a stale marker, whose other fields mean nothing.
    pub fn is_stale(&self) -> bool {
        is_stale(self.sum)
    }

    /// True if the buckets' bounds are `custom_values`.
    pub fn uses_custom_buckets(&self) -> bool {
        self.schema == CUSTOM_BUCKETS_SCHEMA
    }

    /// True if both are the same data with the same buckets, empty ones included: Prometheus' `Equals`. The
    /// counter reset hint is no part of it, and spans are the same when they name the same buckets.
    pub fn equals(&self, other: &Self) -> bool {
        self.same_totals(other)
            && same_buckets(self.positive(), other.positive())
            && same_buckets(self.negative(), other.negative())
    }

    /// True if both say the same about every observation. Storing a histogram may add empty buckets to it, so this
    /// tells whether a histogram is the one that was stored.
    pub fn same_observations(&self, other: &Self) -> bool {
        let used = |(_, count): &(i64, B)| *count != B::default();
        self.is_stale() && other.is_stale()
            || self.same_totals(other)
                && same_buckets(self.positive().filter(used), other.positive().filter(used))
                && same_buckets(self.negative().filter(used), other.negative().filter(used))
    }

    fn same_totals(&self, other: &Self) -> bool {
        self.schema == other.schema
            && self.count.same(other.count)
            && self.zero_count.same(other.zero_count)
            && self.sum.to_bits() == other.sum.to_bits()
            && same_f64(self.zero_threshold, other.zero_threshold)
            && (!self.uses_custom_buckets() || same_bounds(&self.custom_values, &other.custom_values))
    }

    /// Index and count of each positive bucket.
    pub fn positive(&self) -> impl Iterator<Item = (i64, B)> {
        indices(&self.positive_spans).zip(absolute(self.positive_buckets.iter().copied()))
    }

    /// Index and count of each negative bucket.
    pub fn negative(&self) -> impl Iterator<Item = (i64, B)> {
        indices(&self.negative_spans).zip(absolute(self.negative_buckets.iter().copied()))
    }
}

/// The counts of stored buckets.
pub(crate) fn absolute<B: Bucket>(stored: impl IntoIterator<Item = B>) -> impl Iterator<Item = B> {
    stored.into_iter().scan(B::default(), |last, stored| {
        *last = B::absolute(*last, stored);
        Some(*last)
    })
}

/// True if both have the same custom bounds.
pub(crate) fn same_bounds(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a == b)
}

fn same_buckets<B: Bucket>(
    mut a: impl Iterator<Item = (i64, B)>,
    mut b: impl Iterator<Item = (i64, B)>,
) -> bool {
    loop {
        match (a.next(), b.next()) {
            (None, None) => return true,
            (Some((i, m)), Some((j, n))) if i == j && m.same(n) => {}
            _ => return false,
        }
    }
}
