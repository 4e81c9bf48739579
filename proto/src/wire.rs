//! The protobuf encoding itself: varints, tags and lengths, read from a slice
//! without copying. It knows no message; `remote_write` and `labels` do.
//!
//! Invariant: a cursor never reads past its slice, and the offset of an error
//! counts from the start of the slice that the caller first handed in.

/// What is wrong with the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireFault {
    /// The bytes end inside a varint, a fixed-width value or a field.
    #[error("the message ends inside a field")]
    Truncated,
    /// A varint of more than 64 bits.
    #[error("a varint does not fit 64 bits")]
    Varint,
    /// A tag with field number 0 or above 2^29-1.
    #[error("a tag has no valid field number")]
    Tag,
    /// A known field with another wire type than its own.
    #[error("a known field has the wrong wire type")]
    WireType,
    /// Groups, or a wire type that does not exist.
    #[error("a field has a wire type that is not in use")]
    UnknownWireType,
}

/// Malformed bytes, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed protobuf at byte {offset}: {what}")]
pub struct WireError {
    /// Offset of the field or value at fault, in bytes from the start of the message.
    pub offset: usize,
    /// What is wrong there.
    pub what: WireFault,
}

const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const LEN: u32 = 2;
const FIXED32: u32 = 5;

/// The tag of a length-delimited field.
pub(crate) const fn len_tag(number: u32) -> u32 {
    number << 3 | LEN
}

/// The tag of a varint field.
pub(crate) const fn varint_tag(number: u32) -> u32 {
    number << 3 | VARINT
}

/// The tag of a 64-bit field.
pub(crate) const fn fixed64_tag(number: u32) -> u32 {
    number << 3 | FIXED64
}

/// A place in a message: what is left of it, and where the end is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
    end: usize,
}

impl<'a> Cursor<'a> {
    /// A cursor over `bytes`, which begin at `offset` of the message that errors refer to.
    #[inline]
    pub(crate) fn new(bytes: &'a [u8], offset: usize) -> Self {
        Self { rest: bytes, end: offset + bytes.len() }
    }

    /// A cursor with nothing left, at the same end. An iterator stops with it after an error.
    #[inline]
    pub(crate) fn stop(&mut self) {
        self.rest = &[];
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What is left.
    #[inline]
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// How far the cursor has come in the message that errors refer to.
    #[inline]
    pub(crate) fn offset(&self) -> usize {
        self.end - self.rest.len()
    }

    /// The place so many bytes further on, or the end.
    #[inline]
    pub(crate) fn after(&self, bytes: usize) -> Self {
        Self { rest: self.rest.get(bytes..).unwrap_or_default(), end: self.end }
    }

    /// The bytes between this place and a `later` one in the same message.
    #[inline]
    pub(crate) fn until(&self, later: &Self) -> &'a [u8] {
        let length = self.rest.len().saturating_sub(later.rest.len());
        self.rest.get(..length).unwrap_or_default()
    }

    #[cold]
    pub(crate) fn error(&self, what: WireFault) -> WireError {
        WireError { offset: self.offset(), what }
    }

    /// Nearly every tag and length of a write request has one byte, the rest nearly all two.
    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, WireError> {
        match self.rest {
            [a, rest @ ..] if *a < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*a))
            }
            [a, b, rest @ ..] if *b < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*a & 0x7f) | u64::from(*b) << 7)
            }
            _ => self.varint_long(),
        }
    }

    fn varint_long(&mut self) -> Result<u64, WireError> {
        let mut value = 0u64;
        for (i, &byte) in self.rest.iter().take(10).enumerate() {
            // The tenth byte holds the 64th bit and nothing else.
            if i == 9 && byte > 1 {
                return Err(self.error(WireFault::Varint));
            }
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                self.rest = self.rest.get(i + 1..).unwrap_or_default();
                return Ok(value);
            }
        }
        Err(self.error(WireFault::Truncated))
    }

    /// A tag: field number and wire type as one number.
    #[inline]
    pub(crate) fn tag(&mut self) -> Result<u32, WireError> {
        let at = *self;
        match u32::try_from(self.varint()?) {
            Ok(tag) if tag >> 3 != 0 => Ok(tag),
            _ => Err(at.error(WireFault::Tag)),
        }
    }

    /// A length and as many bytes. An error points at the length.
    #[inline]
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], WireError> {
        let at = *self;
        let length = self.varint()?;
        match usize::try_from(length).ok().and_then(|length| self.rest.split_at_checked(length)) {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(bytes)
            }
            None => Err(at.error(WireFault::Truncated)),
        }
    }

    /// A cursor over the next length-delimited value, with offsets in the same message.
    #[inline]
    pub(crate) fn nested(&mut self) -> Result<Cursor<'a>, WireError> {
        let bytes = self.bytes()?;
        Ok(Cursor { rest: bytes, end: self.offset() })
    }

    /// Takes the tag if it comes next, in its one byte. False, and nothing taken, otherwise.
    #[inline]
    pub(crate) fn take_short_tag(&mut self, tag: u32) -> bool {
        match self.rest {
            [byte, rest @ ..] if u32::from(*byte) == tag => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// Takes a length-delimited field with this tag if it comes next, its tag and its length in one byte each.
    #[inline]
    pub(crate) fn take_short(&mut self, tag: u32) -> Option<&'a [u8]> {
        match self.rest {
            [byte, length, rest @ ..] if u32::from(*byte) == tag && *length < 0x80 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(*length))?;
                self.rest = rest;
                Some(bytes)
            }
            _ => None,
        }
    }

    /// The bits and the timestamp of a sample message as nearly every sender writes it: both fields once and in order,
    /// the timestamp (1971 to 2109) in six bytes. `None`, and nothing taken, for any other.
    #[inline]
    pub(crate) fn usual_sample(&self) -> Option<(u64, i64)> {
        let &[0x09, a, b, c, d, e, f, g, h, 0x10, t0, t1, t2, t3, t4, t5 @ ..0x80] = self.rest else {
            return None;
        };
        if t0 & t1 & t2 & t3 & t4 < 0x80 {
            return None;
        }
        let low = |byte: u8| i64::from(byte & 0x7f);
        let timestamp =
            low(t0) | low(t1) << 7 | low(t2) << 14 | low(t3) << 21 | low(t4) << 28 | i64::from(t5) << 35;
        Some((u64::from_le_bytes([a, b, c, d, e, f, g, h]), timestamp))
    }

    /// Eight bytes, little endian.
    #[inline]
    pub(crate) fn fixed64(&mut self) -> Result<u64, WireError> {
        match self.rest.split_first_chunk() {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(u64::from_le_bytes(*bytes))
            }
            None => Err(self.error(WireFault::Truncated)),
        }
    }

    /// Skips a field of a message whose known fields are all length-delimited.
    #[inline]
    pub(crate) fn skip_among_len(&mut self, at: &Self, tag: u32, known: u32) -> Result<(), WireError> {
        if tag & 7 == LEN { self.bytes().map(drop) } else { self.skip(at, tag, known) }
    }

    /// Skips the value of a field whose tag was read at `at` and is none that
    /// the caller knows. `known` has a bit for each field number that the
    /// caller does know: such a field came with a wrong wire type.
    pub(crate) fn skip(&mut self, at: &Self, tag: u32, known: u32) -> Result<(), WireError> {
        let number = tag >> 3;
        if number < u32::BITS && known >> number & 1 == 1 {
            return Err(at.error(WireFault::WireType));
        }
        match tag & 7 {
            VARINT => self.varint().map(drop),
            FIXED64 => self.fixed64().map(drop),
            LEN => self.bytes().map(drop),
            FIXED32 => match self.rest.split_first_chunk::<4>() {
                Some((_, rest)) => {
                    self.rest = rest;
                    Ok(())
                }
                None => Err(self.error(WireFault::Truncated)),
            },
            _ => Err(at.error(WireFault::UnknownWireType)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn varint(bytes: &[u8]) -> Result<(u64, usize), WireError> {
        let mut cursor = Cursor::new(bytes, 0);
        cursor.varint().map(|value| (value, cursor.offset()))
    }

    #[test]
    fn varints_of_every_length() {
        assert_eq!(varint(&[0]), Ok((0, 1)));
        assert_eq!(varint(&[0x7f, 9]), Ok((127, 1)));
        assert_eq!(varint(&[0x80, 0x01]), Ok((128, 2)));
        assert_eq!(varint(&[0x80, 0x80, 0x01]), Ok((1 << 14, 3)));
        // Longer than needed, but valid.
        assert_eq!(varint(&[0x81, 0x00]), Ok((1, 2)));
        let mut max = [0xff; 10];
        max[9] = 0x01;
        assert_eq!(varint(&max), Ok((u64::MAX, 10)));
    }

    #[test]
    fn bad_varints() {
        let truncated = Err(WireError { offset: 0, what: WireFault::Truncated });
        assert_eq!(varint(&[]), truncated);
        assert_eq!(varint(&[0x80]), truncated);
        assert_eq!(varint(&[0xff; 9]), truncated);
        let overflow = Err(WireError { offset: 0, what: WireFault::Varint });
        assert_eq!(varint(&[0xff; 10]), overflow);
        let mut bits65 = [0x80; 10];
        bits65[9] = 0x02;
        assert_eq!(varint(&bits65), overflow);
    }

    #[test]
    fn a_length_beyond_the_end_is_refused_where_it_stands() {
        for length in [&[4, 1, 2, 3][..], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]] {
            let mut cursor = Cursor::new(length, 7);
            assert_eq!(cursor.bytes(), Err(WireError { offset: 7, what: WireFault::Truncated }));
        }
    }

    #[test]
    fn tags_without_a_field_number() {
        for bytes in [&[0x02][..], &[0x80, 0x80, 0x80, 0x80, 0x10]] {
            assert_eq!(
                Cursor::new(bytes, 0).tag(),
                Err(WireError { offset: 0, what: WireFault::Tag }),
                "{bytes:?}"
            );
        }
    }
}
