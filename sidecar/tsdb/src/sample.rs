//! What a series holds at one time: a float or a native histogram; and the stale marker.

use crate::chunkenc::Encoding;
use crate::histogram::{FloatHistogram, Histogram};

/// The bits of the NaN that says that a series has ended: as a float sample's value, or as a histogram's sum.
pub const STALE_NAN: u64 = 0x7ff0_0000_0000_0002;

/// True for the one NaN that is a stale marker.
#[inline]
pub fn is_stale(v: f64) -> bool {
    v.to_bits() == STALE_NAN
}

/// One sample's value.
#[derive(Debug, Clone)]
pub enum Value {
    /// A float.
    Float(f64),
    /// A native histogram with integer counts.
    Histogram(Histogram),
    /// A native histogram with float counts.
    FloatHistogram(FloatHistogram),
}

impl Value {
    /// True if both say the same in the same kind, down to the bits of floats. Buckets without an observation do
    /// not count: see [`Histogram::same_observations`].
    pub fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Float(a), Self::Float(b)) => a.to_bits() == b.to_bits(),
            (Self::Histogram(a), Self::Histogram(b)) => a.same_observations(b),
            (Self::FloatHistogram(a), Self::FloatHistogram(b)) => a.same_observations(b),
            _ => false,
        }
    }

    /// The encoding of chunks with such values.
    pub(crate) fn encoding(&self) -> Encoding {
        match self {
            Self::Float(_) => Encoding::Xor,
            Self::Histogram(_) => Encoding::Histogram,
            Self::FloatHistogram(_) => Encoding::FloatHistogram,
        }
    }

    /// True if its kind of record is the same as `other`'s.
    pub(crate) fn is_logged_with(&self, other: &Self) -> bool {
        let custom = |value: &Self| match value {
            Self::Float(_) => false,
            Self::Histogram(h) => h.uses_custom_buckets(),
            Self::FloatHistogram(h) => h.uses_custom_buckets(),
        };
        self.encoding() == other.encoding() && custom(self) == custom(other)
    }

    /// The stale marker that ends a series of such values.
    pub(crate) fn stale_of_its_kind(&self) -> Self {
        match self {
            Self::Float(_) => Self::Float(f64::from_bits(STALE_NAN)),
            Self::Histogram(_) => Self::Histogram(Histogram::stale()),
            Self::FloatHistogram(_) => Self::FloatHistogram(FloatHistogram::stale()),
        }
    }

    /// True for a stale marker of any kind.
    pub fn is_stale(&self) -> bool {
        match self {
            Self::Float(v) => is_stale(*v),
            Self::Histogram(h) => h.is_stale(),
            Self::FloatHistogram(h) => h.is_stale(),
        }
    }
}
