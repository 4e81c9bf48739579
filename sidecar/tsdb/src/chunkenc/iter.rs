//! Reads a chunk of any encoding.

use super::histogram::HistogramIter;
use super::xor::XorIter;
use super::{ChunkError, Encoding};
use crate::sample::Value;

/// Iterates over `(time, value)` of a chunk's bytes.
#[derive(Debug, Clone)]
pub(crate) enum ChunkIter<'a> {
    /// Floats.
    Xor(XorIter<'a>),
    /// Histograms with integer counts.
    Histogram(HistogramIter<'a, u64, i64>),
    /// Histograms with float counts.
    FloatHistogram(HistogramIter<'a, f64, f64>),
}

impl<'a> ChunkIter<'a> {
    /// Reads the bytes of one chunk.
    pub(crate) fn new(encoding: Encoding, bytes: &'a [u8]) -> Self {
        match encoding {
            Encoding::Xor => Self::Xor(XorIter::new(bytes)),
            Encoding::Histogram => Self::Histogram(HistogramIter::new(bytes)),
            Encoding::FloatHistogram => Self::FloatHistogram(HistogramIter::new(bytes)),
        }
    }
}

impl Iterator for ChunkIter<'_> {
    type Item = Result<(i64, Value), ChunkError>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(match self {
            Self::Xor(iter) => iter.next()?.map(|(t, v)| (t, Value::Float(v))),
            Self::Histogram(iter) => iter.next()?.map(|(t, h)| (t, Value::Histogram(h))),
            Self::FloatHistogram(iter) => iter.next()?.map(|(t, h)| (t, Value::FloatHistogram(h))),
        })
    }
}
