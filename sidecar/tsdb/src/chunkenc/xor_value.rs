//! Floats as the XOR with the float before: only the bits between its leading and trailing zeros are written, and
//! where those are is written only if they do not fit where the last ones were.

use super::bstream::{BitReader, Tail, put_bits};

const NONE: u8 = 0xff;

/// Where the bits of the last written XOR lie.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    leading: u8,
    trailing: u8,
}

impl Default for Window {
    /// No window yet: the first XOR opens one.
    fn default() -> Self {
        Self { leading: NONE, trailing: 0 }
    }
}

impl Window {
    /// Appends the XOR of a value's bits with those of the value before.
    #[inline]
    pub(crate) fn put(&mut self, bytes: &mut Vec<u8>, tail: &mut Tail, xor: u64) {
        if xor == 0 {
            put_bits(bytes, tail, 0, 1);
            return;
        }
        let leading = (xor.leading_zeros() as u8).min(31);
        let trailing = xor.trailing_zeros() as u8;
        if self.leading != NONE && leading >= self.leading && trailing >= self.trailing {
            put_bits(bytes, tail, 0b10, 2);
            let width = 64 - u32::from(self.leading) - u32::from(self.trailing);
            put_bits(bytes, tail, xor >> self.trailing, width);
            return;
        }
        *self = Self { leading, trailing };
        let width = 64 - u32::from(leading) - u32::from(trailing);
        let header = (0b11 << 11) | (u64::from(leading) << 6) | u64::from(width & 63);
        put_bits(bytes, tail, header, 13);
        put_bits(bytes, tail, xor >> trailing, width);
    }

    /// Reads what [`Self::put`] wrote. `None` at the end of the bits, and for bits without a window.
    #[inline]
    pub(crate) fn read(&mut self, bits: &mut BitReader<'_>) -> Option<u64> {
        if !bits.bit()? {
            return Some(0);
        }
        if bits.bit()? {
            let leading = bits.bits(5)? as u8;
            let width = match bits.bits(6)? as u8 {
                0 => 64,
                width => width,
            };
            let trailing = 64u8.checked_sub(leading)?.checked_sub(width)?;
            *self = Self { leading, trailing };
        }
        let width = 64u32.checked_sub(u32::from(self.leading) + u32::from(self.trailing))?;
        Some(bits.bits(width)? << self.trailing)
    }
}
