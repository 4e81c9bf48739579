//! A stream of bits, most significant first, zero padded in the last byte.

use super::xor_value::Window;

/// The bits after the last whole byte.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tail {
    /// The bits, from the highest on; zeros after them.
    pub(crate) byte: u8,
    /// How many: 0 to 7.
    pub(crate) bits: u8,
}

/// Appends `n` low bits of `value` to whole bytes and the bits after those. What was written before is not read, so
/// that appending waits for no memory.
#[inline]
pub(crate) fn put_bits(bytes: &mut Vec<u8>, tail: &mut Tail, value: u64, n: u32) {
    debug_assert!(n <= 64);
    if n > 32 {
        put_few(bytes, tail, value >> 32, n - 32);
        put_few(bytes, tail, value, 32);
    } else {
        put_few(bytes, tail, value, n);
    }
}

/// The same for at most 32 bits.
#[inline]
fn put_few(bytes: &mut Vec<u8>, tail: &mut Tail, value: u64, n: u32) {
    let total = u32::from(tail.bits) + n;
    let value = value & ((1u64 << n) - 1);
    let mut all = u64::from(tail.byte) << 56 | (value << 1) << (63 - total);
    for _ in 0..total / 8 {
        bytes.push((all >> 56) as u8);
        all <<= 8;
    }
    *tail = Tail { byte: (all >> 56) as u8, bits: (total % 8) as u8 };
}

/// A growing stream of bits.
#[derive(Debug, Clone, Default)]
pub(crate) struct BitWriter {
    /// All bytes, the last one padded by zeros.
    pub(crate) bytes: Vec<u8>,
    tail: Tail,
}

impl BitWriter {
    /// Appends `n` low bits of `value`.
    #[inline]
    pub(crate) fn put(&mut self, value: u64, n: u32) {
        self.put_with(|bytes, tail| put_bits(bytes, tail, value, n));
    }

    /// Appends the XOR of two floats' bits.
    pub(crate) fn put_xor(&mut self, window: &mut Window, xor: u64) {
        self.put_with(|bytes, tail| window.put(bytes, tail, xor));
    }

    #[inline]
    fn put_with(&mut self, put: impl FnOnce(&mut Vec<u8>, &mut Tail)) {
        if self.tail.bits > 0 {
            self.bytes.pop();
        }
        put(&mut self.bytes, &mut self.tail);
        if self.tail.bits > 0 {
            self.bytes.push(self.tail.byte);
        }
    }
}

/// Reads bits back. Every read past the end is `None`.
#[derive(Debug, Clone)]
pub(crate) struct BitReader<'a> {
    bytes: &'a [u8],
    /// Bits consumed so far.
    at: usize,
}

impl<'a> BitReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bits are left.
    pub(crate) fn remaining(&self) -> usize {
        (self.bytes.len() * 8).saturating_sub(self.at)
    }

    #[inline]
    pub(crate) fn bit(&mut self) -> Option<bool> {
        let byte = *self.bytes.get(self.at / 8)?;
        let bit = byte & (0x80 >> (self.at % 8)) != 0;
        self.at += 1;
        Some(bit)
    }

    #[inline]
    pub(crate) fn bits(&mut self, n: u32) -> Option<u64> {
        debug_assert!(n <= 64);
        let mut value = 0u64;
        let mut left = n;
        while left > 0 {
            let byte = *self.bytes.get(self.at / 8)?;
            let in_byte = 8 - (self.at % 8) as u32;
            let take = in_byte.min(left);
            let bits = (u32::from(byte) >> (in_byte - take)) & ((1 << take) - 1);
            value = (value << take) | u64::from(bits);
            self.at += take as usize;
            left -= take;
        }
        Some(value)
    }

    /// A LEB128 integer whose bytes need not be aligned.
    pub(crate) fn uvarint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.bits(8)?;
            value |= (byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// The zig-zag form of [`Self::uvarint`].
    pub(crate) fn varint(&mut self) -> Option<i64> {
        let u = self.uvarint()?;
        Some((u >> 1) as i64 ^ -((u & 1) as i64))
    }
}
