//! How each number of a histogram is written after the same number of the histogram before: integers as the change
//! of their difference, floats by XOR.

use crate::chunkenc::Encoding;
use crate::chunkenc::bstream::{BitReader, BitWriter};
use crate::chunkenc::varbit::{put_int, put_uint, read_int, read_uint};
use crate::chunkenc::xor_value::Window;
use crate::sample::STALE_NAN;

/// A number that a histogram chunk can hold.
pub(crate) trait Number: Copy {
    /// The encoding of chunks with this kind of number.
    const ENCODING: Encoding;
    /// The fewest bits of a first number.
    const FIRST_BITS_MIN: usize;
    /// What is kept of the number before.
    type Field: Field<Self>;
}

impl Number for u64 {
    const ENCODING: Encoding = Encoding::Histogram;
    const FIRST_BITS_MIN: usize = 1;
    type Field = CountField;
}

impl Number for i64 {
    const ENCODING: Encoding = Encoding::Histogram;
    const FIRST_BITS_MIN: usize = 1;
    type Field = DeltaField;
}

impl Number for f64 {
    const ENCODING: Encoding = Encoding::FloatHistogram;
    const FIRST_BITS_MIN: usize = 64;
    type Field = XorField;
}

/// The newest value of one field of a chunk, and what the next one is written by.
pub(crate) trait Field<N>: std::fmt::Debug + Clone + Default {
    /// The newest value.
    fn value(&self) -> N;
    /// Writes the field of the chunk's first sample.
    fn put_first(&mut self, out: &mut BitWriter, v: N);
    /// Writes the field of a later sample.
    fn put_next(&mut self, out: &mut BitWriter, v: N);
    /// Writes the field of a later sample that is a stale marker.
    fn put_stale(&mut self, out: &mut BitWriter);
    /// Reads the field of the chunk's first sample.
    fn read_first(bits: &mut BitReader<'_>) -> Option<Self>;
    /// Reads the field of a later sample.
    fn read_next(&mut self, bits: &mut BitReader<'_>) -> Option<()>;
}

/// A bucket or a time: signed, by the change of its difference.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct DeltaField {
    v: i64,
    delta: i64,
}

impl Field<i64> for DeltaField {
    fn value(&self) -> i64 {
        self.v
    }

    fn put_first(&mut self, out: &mut BitWriter, v: i64) {
        *self = Self { v, delta: 0 };
        put_int(out, v);
    }

    fn put_next(&mut self, out: &mut BitWriter, v: i64) {
        let delta = v.wrapping_sub(self.v);
        put_int(out, delta.wrapping_sub(self.delta));
        *self = Self { v, delta };
    }

    /// The difference goes on; readers do not look at the value.
    fn put_stale(&mut self, out: &mut BitWriter) {
        self.v = self.v.wrapping_add(self.delta);
        put_int(out, 0);
    }

    fn read_first(bits: &mut BitReader<'_>) -> Option<Self> {
        Some(Self { v: read_int(bits)?, delta: 0 })
    }

    fn read_next(&mut self, bits: &mut BitReader<'_>) -> Option<()> {
        self.delta = self.delta.wrapping_add(read_int(bits)?);
        self.v = self.v.wrapping_add(self.delta);
        Some(())
    }
}

/// A count: as [`DeltaField`], but the first one is written unsigned.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CountField(DeltaField);

impl Field<u64> for CountField {
    fn value(&self) -> u64 {
        self.0.v as u64
    }

    fn put_first(&mut self, out: &mut BitWriter, v: u64) {
        self.0 = DeltaField { v: v as i64, delta: 0 };
        put_uint(out, v);
    }

    fn put_next(&mut self, out: &mut BitWriter, v: u64) {
        self.0.put_next(out, v as i64);
    }

    fn put_stale(&mut self, out: &mut BitWriter) {
        self.0.put_stale(out);
    }

    fn read_first(bits: &mut BitReader<'_>) -> Option<Self> {
        Some(Self(DeltaField { v: read_uint(bits)? as i64, delta: 0 }))
    }

    fn read_next(&mut self, bits: &mut BitReader<'_>) -> Option<()> {
        self.0.read_next(bits)
    }
}

/// A float, by XOR in a window of its own.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct XorField {
    bits: u64,
    window: Window,
}

impl XorField {
    /// True if the float is the stale NaN.
    pub(super) fn is_stale(&self) -> bool {
        self.bits == STALE_NAN
    }
}

impl Field<f64> for XorField {
    fn value(&self) -> f64 {
        f64::from_bits(self.bits)
    }

    fn put_first(&mut self, out: &mut BitWriter, v: f64) {
        self.bits = v.to_bits();
        out.put(self.bits, 64);
    }

    fn put_next(&mut self, out: &mut BitWriter, v: f64) {
        out.put_xor(&mut self.window, v.to_bits() ^ self.bits);
        self.bits = v.to_bits();
    }

    fn put_stale(&mut self, out: &mut BitWriter) {
        self.put_next(out, 0.0);
    }

    fn read_first(bits: &mut BitReader<'_>) -> Option<Self> {
        Some(Self { bits: bits.bits(64)?, window: Window::default() })
    }

    fn read_next(&mut self, bits: &mut BitReader<'_>) -> Option<()> {
        self.bits ^= self.window.read(bits)?;
        Some(())
    }
}
