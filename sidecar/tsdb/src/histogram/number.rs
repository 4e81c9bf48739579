//! What differs between the numbers of integer and float histograms.

use std::fmt::Debug;

/// A total: of all observations, or of those in the zero bucket.
pub trait Count: Copy + Debug + Default + PartialOrd {
    /// True if both are the same, floats by their bits.
    fn same(self, other: Self) -> bool;
}

/// A stored bucket.
pub trait Bucket: Copy + Debug + Default + PartialOrd {
    /// A bucket's count, given what is stored and the count of the bucket before.
    fn absolute(last: Self, stored: Self) -> Self;

    /// What to store for a count, given the count of the bucket before: the reverse of [`Self::absolute`].
    fn stored(last: Self, absolute: Self) -> Self;

    /// The count of two buckets that become one.
    fn plus(self, other: Self) -> Self;

    /// True if both are the same, floats by their bits.
    fn same(self, other: Self) -> bool;
}

impl Count for u64 {
    fn same(self, other: Self) -> bool {
        self == other
    }
}

impl Count for f64 {
    fn same(self, other: Self) -> bool {
        self.to_bits() == other.to_bits()
    }
}

/// Sums that leave the range wrap around, as they do in Prometheus: such a histogram is refused for its negative
/// bucket, or its count.
impl Bucket for i64 {
    fn absolute(last: Self, stored: Self) -> Self {
        last.wrapping_add(stored)
    }

    fn stored(last: Self, absolute: Self) -> Self {
        absolute.wrapping_sub(last)
    }

    fn plus(self, other: Self) -> Self {
        self.wrapping_add(other)
    }

    fn same(self, other: Self) -> bool {
        self == other
    }
}

impl Bucket for f64 {
    fn absolute(_: Self, stored: Self) -> Self {
        stored
    }

    fn stored(_: Self, absolute: Self) -> Self {
        absolute
    }

    fn plus(self, other: Self) -> Self {
        self + other
    }

    fn same(self, other: Self) -> bool {
        self.to_bits() == other.to_bits()
    }
}

/// Equal as numbers, or the same bits: a NaN is the same as itself.
pub(crate) fn same_f64(a: f64, b: f64) -> bool {
    a == b || a.to_bits() == b.to_bits()
}
