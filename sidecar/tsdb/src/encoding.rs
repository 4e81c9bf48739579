//! Integers and strings as Prometheus' formats write them: big-endian fixed integers, LEB128 varints,
//! zig-zag signed varints, length-prefixed strings; and the CRC-32C that guards them.
//!
//! Owns no format. The decoder never panics: what is missing is [`Truncated`].

/// The input ended, or a varint ran over ten bytes, at `offset` from the start of the decoded slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("truncated or overlong value at byte {offset}")]
pub(crate) struct Truncated {
    /// Where in the slice the value began.
    pub(crate) offset: usize,
}

/// CRC-32C (Castagnoli), as every Prometheus file uses it.
pub(crate) fn crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
}

/// Appends `v` as LEB128.
#[inline]
pub(crate) fn put_uvarint(out: &mut Vec<u8>, mut v: u64) {
    while v >= 0x80 {
        out.push(v as u8 | 0x80);
        v >>= 7;
    }
    out.push(v as u8);
}

/// Appends `v` zig-zag encoded, as Go's `binary.PutVarint` does.
#[inline]
pub(crate) fn put_varint(out: &mut Vec<u8>, v: i64) {
    put_uvarint(out, ((v as u64) << 1) ^ ((v >> 63) as u64));
}

/// Appends a string with its length in front.
#[inline]
pub(crate) fn put_string(out: &mut Vec<u8>, s: &[u8]) {
    put_uvarint(out, s.len() as u64);
    out.extend_from_slice(s);
}

/// A cursor over a slice that checks every read.
#[derive(Debug, Clone)]
pub(crate) struct Decoder<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Decoder<'a> {
    /// Reads `bytes` from its start.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    /// True when nothing is left to read.
    pub(crate) fn is_empty(&self) -> bool {
        self.offset >= self.bytes.len()
    }

    /// How many bytes were read.
    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    /// The next `n` bytes.
    pub(crate) fn take(&mut self, n: usize) -> Result<&'a [u8], Truncated> {
        let at = Truncated { offset: self.offset };
        let end = self.offset.checked_add(n).ok_or(at)?;
        let out = self.bytes.get(self.offset..end).ok_or(at)?;
        self.offset = end;
        Ok(out)
    }

    /// One byte.
    pub(crate) fn byte(&mut self) -> Result<u8, Truncated> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    /// A big-endian 32-bit integer.
    pub(crate) fn be32(&mut self) -> Result<u32, Truncated> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// A big-endian 64-bit integer.
    pub(crate) fn be64(&mut self) -> Result<u64, Truncated> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// An IEEE-754 double stored as its bits, big-endian.
    pub(crate) fn f64(&mut self) -> Result<f64, Truncated> {
        Ok(f64::from_bits(self.be64()?))
    }

    /// A LEB128 integer of at most ten bytes.
    #[inline]
    pub(crate) fn uvarint(&mut self) -> Result<u64, Truncated> {
        let at = Truncated { offset: self.offset };
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = *self.bytes.get(self.offset).ok_or(at)?;
            self.offset += 1;
            if shift == 63 && byte > 1 {
                return Err(at);
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(at)
    }

    /// A zig-zag encoded integer.
    #[inline]
    pub(crate) fn varint(&mut self) -> Result<i64, Truncated> {
        let u = self.uvarint()?;
        Ok((u >> 1) as i64 ^ -((u & 1) as i64))
    }

    /// A LEB128 integer of 32 bits.
    pub(crate) fn uvarint_u32(&mut self) -> Result<u32, Truncated> {
        let at = Truncated { offset: self.offset };
        u32::try_from(self.uvarint()?).map_err(|_| at)
    }

    /// A zig-zag encoded integer of 32 bits.
    pub(crate) fn varint_i32(&mut self) -> Result<i32, Truncated> {
        let at = Truncated { offset: self.offset };
        i32::try_from(self.varint()?).map_err(|_| at)
    }

    /// A string with its length in front.
    pub(crate) fn string(&mut self) -> Result<&'a [u8], Truncated> {
        let at = Truncated { offset: self.offset };
        let len = usize::try_from(self.uvarint()?).map_err(|_| at)?;
        self.take(len)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Truncated> {
        let at = Truncated { offset: self.offset };
        self.take(N)?.try_into().map_err(|_| at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn varints_round_trip(u in any::<u64>(), i in any::<i64>(), s in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut out = Vec::new();
            put_uvarint(&mut out, u);
            put_varint(&mut out, i);
            put_string(&mut out, &s);
            let mut d = Decoder::new(&out);
            prop_assert_eq!(d.uvarint(), Ok(u));
            prop_assert_eq!(d.varint(), Ok(i));
            prop_assert_eq!(d.string(), Ok(s.as_slice()));
            prop_assert!(d.is_empty());
            for cut in 0..out.len() {
                let mut d = Decoder::new(&out[..cut]);
                prop_assert!(d.uvarint().and_then(|_| d.varint()).and_then(|_| d.string()).is_err());
            }
        }
    }

    #[test]
    fn an_overlong_varint_is_refused() {
        assert_eq!(Decoder::new(&[0xff; 11]).uvarint(), Err(Truncated { offset: 0 }));
    }
}
