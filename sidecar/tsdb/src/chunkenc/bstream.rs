//! A stream of bits, most significant first, zero padded in the last byte.

use super::xor_value::Window;

/// Appends `n` low bits of `value` to `bytes`, whose last byte has `free` unused low bits (0 to 7).
#[inline]
pub(crate) fn put_bits(bytes: &mut Vec<u8>, free: &mut u8, value: u64, n: u32) {
    debug_assert!(n <= 64);
    let mut left = n;
    if *free > 0 && left > 0 {
        let room = u32::from(*free);
        let take = room.min(left);
        let bits = (value >> (left - take)) & ((1u64 << take) - 1);
        if let Some(last) = bytes.last_mut() {
            *last |= (bits << (room - take)) as u8;
        }
        *free -= take as u8;
        left -= take;
    }
    while left >= 8 {
        left -= 8;
        bytes.push((value >> left) as u8);
    }
    if left > 0 {
        bytes.push((value << (8 - left)) as u8);
        *free = 8 - left as u8;
    }
}

/// A growing stream of bits.
#[derive(Debug, Clone, Default)]
pub(crate) struct BitWriter {
    pub(crate) bytes: Vec<u8>,
    /// Unused low bits in the last byte.
    free: u8,
}

impl BitWriter {
    /// Appends `n` low bits of `value`.
    #[inline]
    pub(crate) fn put(&mut self, value: u64, n: u32) {
        put_bits(&mut self.bytes, &mut self.free, value, n);
    }

    /// Appends the XOR of two floats' bits.
    pub(crate) fn put_xor(&mut self, window: &mut Window, xor: u64) {
        window.put(&mut self.bytes, &mut self.free, xor);
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
