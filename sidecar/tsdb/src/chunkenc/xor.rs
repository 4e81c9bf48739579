//! Float chunks: delta-of-delta timestamps and XORed values, after "Gorilla: A Fast, Scalable, In-Memory Time
//! Series Database" (Pelkonen et al., VLDB 2015) with Prometheus' bit widths. Layout: `docs/format/chunks.md`.
//!
//! Owns the bytes of one chunk. When a chunk is full is the head's to say.

use super::bstream::{BitReader, Tail, put_bits};
use super::xor_value::Window;
use super::{ChunkError, Encoding};
use crate::encoding::{put_uvarint, put_varint};

/// The most bytes that one more sample can add.
pub(crate) const SAMPLE_BYTES_MAX: usize = 19;

/// A chunk that still grows. Empty until the first [`XorAppender::append`].
#[derive(Debug, Clone, Default)]
pub(crate) struct XorAppender {
    bytes: Vec<u8>,
    t: i64,
    delta: u64,
    v: u64,
    /// The number of samples. It goes to the front of the bytes when they are handed out, so that adding a sample
    /// touches their end only.
    count: u16,
    /// What comes after the bytes. It is kept here, so that adding a sample does not read them.
    tail: Tail,
    window: Window,
}

impl XorAppender {
    /// The number of samples.
    #[inline]
    pub(crate) fn count(&self) -> u16 {
        self.count
    }

    /// The bytes that the chunk has so far.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() + usize::from(self.tail.bits > 0)
    }

    /// A copy of the chunk as it is; empty without samples.
    pub(crate) fn copy(&self) -> Box<[u8]> {
        let mut bytes = Vec::with_capacity(self.len());
        bytes.extend_from_slice(&self.bytes);
        self.complete(bytes)
    }

    /// Time and value bits of the newest sample; zeros without samples.
    #[inline]
    pub(crate) fn last(&self) -> (i64, u64) {
        (self.t, self.v)
    }

    /// Reads where the next sample will go.
    #[inline]
    pub(crate) fn look(&self) -> u64 {
        self.bytes.last().map_or(0, |&byte| byte.into())
    }

    /// Takes the finished bytes and leaves an empty appender.
    pub(crate) fn finish(&mut self) -> Box<[u8]> {
        let bytes = std::mem::take(&mut self.bytes);
        let bytes = self.complete(bytes);
        *self = Self::default();
        bytes
    }

    /// Adds to the whole bytes what is not among them.
    fn complete(&self, mut bytes: Vec<u8>) -> Box<[u8]> {
        if self.tail.bits > 0 {
            bytes.push(self.tail.byte);
        }
        if let Some(head) = bytes.first_chunk_mut::<2>() {
            *head = self.count.to_be_bytes();
        }
        bytes.into_boxed_slice()
    }

    /// Adds a sample newer than all before. At most 65,535 samples fit; the head cuts far below that.
    #[inline]
    pub(crate) fn append(&mut self, t: i64, value: f64) {
        let bits = value.to_bits();
        match self.count {
            0 => {
                self.bytes.reserve(24);
                self.bytes.extend_from_slice(&[0, 0]);
                put_varint(&mut self.bytes, t);
                put_bits(&mut self.bytes, &mut self.tail, bits, 64);
            }
            1 => {
                self.delta = t.wrapping_sub(self.t) as u64;
                put_uvarint(&mut self.bytes, self.delta);
                self.put_value(bits);
            }
            _ => {
                let delta = t.wrapping_sub(self.t) as u64;
                let dod = delta.wrapping_sub(self.delta) as i64;
                self.delta = delta;
                let (prefix, prefix_bits, width) = match dod {
                    0 => (0, 1, 0),
                    -8191..=8192 => (0b10, 2, 14),
                    -65535..=65536 => (0b110, 3, 17),
                    -524287..=524288 => (0b1110, 4, 20),
                    _ => (0b1111, 4, 64),
                };
                put_bits(&mut self.bytes, &mut self.tail, prefix, prefix_bits);
                if width > 0 {
                    put_bits(&mut self.bytes, &mut self.tail, dod as u64, width);
                }
                self.put_value(bits);
            }
        }
        self.t = t;
        self.v = bits;
        self.count += 1;
    }

    #[inline]
    fn put_value(&mut self, bits: u64) {
        self.window.put(&mut self.bytes, &mut self.tail, bits ^ self.v);
    }
}

/// Iterates over `(time, value)` of a chunk's bytes.
#[derive(Debug, Clone)]
pub(crate) struct XorIter<'a> {
    bits: BitReader<'a>,
    count: u16,
    read: u16,
    t: i64,
    delta: u64,
    v: u64,
    window: Window,
}

impl<'a> XorIter<'a> {
    /// Reads the bytes of one chunk, its two count bytes included.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        let mut bits = BitReader::new(bytes);
        let count = bits.bits(16).unwrap_or(0) as u16;
        Self { bits, count, read: 0, t: 0, delta: 0, v: 0, window: Window::default() }
    }

    fn sample(&mut self) -> Option<(i64, f64)> {
        match self.read {
            0 => {
                self.t = self.bits.varint()?;
                self.v = self.bits.bits(64)?;
            }
            1 => {
                self.delta = self.bits.uvarint()?;
                self.t = self.t.wrapping_add(self.delta as i64);
                self.value()?;
            }
            _ => {
                let dod = self.delta_of_delta()?;
                self.delta = self.delta.wrapping_add(dod as u64);
                self.t = self.t.wrapping_add(self.delta as i64);
                self.value()?;
            }
        }
        self.read += 1;
        Some((self.t, f64::from_bits(self.v)))
    }

    fn delta_of_delta(&mut self) -> Option<i64> {
        let mut ones = 0;
        while ones < 4 && self.bits.bit()? {
            ones += 1;
        }
        let width = match ones {
            0 => return Some(0),
            1 => 14,
            2 => 17,
            3 => 20,
            _ => return Some(self.bits.bits(64)? as i64),
        };
        let raw = self.bits.bits(width)? as i64;
        Some(if raw > 1 << (width - 1) { raw - (1 << width) } else { raw })
    }

    fn value(&mut self) -> Option<()> {
        self.v ^= self.window.read(&mut self.bits)?;
        Some(())
    }
}

impl Iterator for XorIter<'_> {
    type Item = Result<(i64, f64), ChunkError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.read >= self.count {
            return None;
        }
        let sample = self.sample();
        if sample.is_none() {
            let error = ChunkError { encoding: Encoding::Xor, sample: self.read, count: self.count };
            self.read = self.count;
            return Some(Err(error));
        }
        sample.map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encode(samples: &[(i64, f64)]) -> Vec<u8> {
        let mut appender = XorAppender::default();
        for &(t, v) in samples {
            let before = appender.len();
            appender.append(t, v);
            if before > 0 {
                assert!(appender.len() - before <= SAMPLE_BYTES_MAX);
            }
        }
        appender.copy().to_vec()
    }

    fn bits(samples: &[(i64, f64)]) -> Vec<(i64, u64)> {
        samples.iter().map(|(t, v)| (*t, v.to_bits())).collect()
    }

    proptest! {
        #[test]
        fn samples_round_trip(start in -1_000_000_000_000i64..2_000_000_000_000,
                              steps in proptest::collection::vec((1i64..2_000_000, any::<u64>()), 0..300)) {
            let mut t = start;
            let samples: Vec<_> = steps.iter().map(|&(dt, v)| { t += dt; (t, f64::from_bits(v)) }).collect();
            let bytes = encode(&samples);
            let back: Result<Vec<_>, _> = XorIter::new(&bytes).collect();
            prop_assert_eq!(bits(&back.unwrap()), bits(&samples));
        }

        #[test]
        fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(XorIter::new(&bytes).count() <= usize::from(u16::MAX));
        }
    }

    #[test]
    fn the_edges_of_every_width_round_trip() {
        for dod in [
            0,
            1,
            -1,
            -8191,
            8192,
            -8192,
            8193,
            -65535,
            65536,
            -65536,
            65537,
            -524287,
            524288,
            524289,
            1 << 40,
        ] {
            let base = 1_000_000_000_000i64;
            let samples = [(base, 1.0), (base + (2 << 40), 1.5), (base + (4 << 40) + dod, f64::NAN)];
            let bytes = encode(&samples);
            let back: Vec<_> = XorIter::new(&bytes).map(Result::unwrap).collect();
            assert_eq!(bits(&back), bits(&samples), "dod {dod}");
        }
    }

    #[test]
    fn regular_samples_are_small() {
        let samples: Vec<_> = (0..120).map(|i| (1_700_000_000_000 + i * 15_000, i as f64)).collect();
        assert!(encode(&samples).len() < 300);
    }
}
