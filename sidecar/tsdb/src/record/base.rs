//! References and times of samples, written as distances within their record.

use super::KEPT_BYTES_MAX;
use crate::encoding::{Decoder, Truncated, put_varint};

/// Where the distances of a record being read count from.
#[derive(Debug)]
pub(super) struct Base {
    start_timestamps: bool,
    /// Reference and time to count from, once read.
    from: Option<(u64, i64)>,
}

impl Base {
    /// The first reference and time stand in front, and every sample counts from them.
    pub(super) fn first_twice() -> Self {
        Self { start_timestamps: false, from: None }
    }

    /// References count from the sample before, times from the first, and each sample has a start timestamp.
    pub(super) fn with_start_timestamps() -> Self {
        Self { start_timestamps: true, from: None }
    }

    /// Reads the reference and the time of the next sample.
    #[inline]
    pub(super) fn next(&mut self, body: &mut Decoder<'_>) -> Result<(u64, i64), Truncated> {
        if self.start_timestamps {
            return self.next_with_start(body);
        }
        let from = match self.from {
            Some(from) => from,
            None => *self.from.insert((body.be64()?, body.be64()? as i64)),
        };
        let reference = from.0.wrapping_add(body.varint()? as u64);
        Ok((reference, from.1.wrapping_add(body.varint()?)))
    }

    fn next_with_start(&mut self, body: &mut Decoder<'_>) -> Result<(u64, i64), Truncated> {
        let Some((last_ref, first_t)) = self.from else {
            let first = (body.varint()? as u64, body.varint()?);
            body.varint()?;
            return Ok(*self.from.insert(first));
        };
        let reference = last_ref.wrapping_add(body.varint()? as u64);
        let t = first_t.wrapping_add(body.varint()?);
        // No start timestamp, or the same as before; any other number stands in front of one.
        if !matches!(body.byte()?, 0 | 1) {
            body.varint()?;
        }
        self.from = Some((reference, first_t));
        Ok((reference, t))
    }
}

/// The bytes of a record whose samples count from the first one; empty until then.
#[derive(Debug, Default)]
pub(super) struct BaseEncoder {
    bytes: Vec<u8>,
    first_ref: u64,
    first_t: i64,
}

impl BaseEncoder {
    /// Begins a sample, and the record of this `kind` if it is the first. Its value is the caller's to write.
    #[inline]
    pub(super) fn push(&mut self, kind: u8, reference: u64, t: i64) -> &mut Vec<u8> {
        if self.bytes.is_empty() {
            self.first_ref = reference;
            self.first_t = t;
            self.bytes.push(kind);
            self.bytes.extend_from_slice(&reference.to_be_bytes());
            self.bytes.extend_from_slice(&t.to_be_bytes());
        }
        put_varint(&mut self.bytes, reference.wrapping_sub(self.first_ref) as i64);
        put_varint(&mut self.bytes, t.wrapping_sub(self.first_t));
        &mut self.bytes
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES_MAX);
    }
}
