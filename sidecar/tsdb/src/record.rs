//! Payloads of WAL records: series and float samples. Layout: `docs/format/wal.md`.
//!
//! Owns neither framing nor compression (see [`crate::wal`]). Kinds that this version does not keep are named so
//! that the caller can refuse them rather than lose them.

use crate::encoding::{Decoder, Truncated, put_string, put_uvarint, put_varint};

const SERIES: u8 = 1;
const SAMPLES: u8 = 2;
const TOMBSTONES: u8 = 3;
const EXEMPLARS: u8 = 4;
const METADATA: u8 = 6;
const HISTOGRAMS: std::ops::RangeInclusive<u8> = 7..=10;
const V2: std::ops::RangeInclusive<u8> = 11..=13;

/// An encoder keeps at most this much memory between requests.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// What a record holds, by its first byte.
#[derive(Debug)]
pub(crate) enum Record<'a> {
    /// New series with their labels.
    Series(SeriesRecords<'a>),
    /// Float samples.
    Samples(SampleRecords<'a>),
    /// Exemplars, metadata, tombstones or a kind unknown to every reader: skipped, as Prometheus skips them.
    Skipped,
    /// Samples of a kind that this version cannot keep.
    Unsupported(&'static str),
}

/// Splits a record's payload by its type.
pub(crate) fn decode(payload: &[u8]) -> Record<'_> {
    let Some((&kind, body)) = payload.split_first() else { return Record::Skipped };
    match kind {
        SERIES => Record::Series(SeriesRecords { body: Decoder::new(body) }),
        SAMPLES => Record::Samples(SampleRecords { body: Decoder::new(body), first: None }),
        TOMBSTONES | EXEMPLARS | METADATA => Record::Skipped,
        k if HISTOGRAMS.contains(&k) => Record::Unsupported("native histograms"),
        k if V2.contains(&k) => Record::Unsupported("samples with start timestamps"),
        _ => Record::Skipped,
    }
}

/// One series of a series record.
#[derive(Debug)]
pub(crate) struct SeriesEntry<'a> {
    /// The reference that samples use.
    pub(crate) reference: u64,
    /// Name and value pairs, sorted by name.
    pub(crate) labels: Vec<(&'a [u8], &'a [u8])>,
}

/// Iterates over a series record.
#[derive(Debug)]
pub(crate) struct SeriesRecords<'a> {
    body: Decoder<'a>,
}

impl<'a> SeriesRecords<'a> {
    fn entry(&mut self) -> Result<SeriesEntry<'a>, Truncated> {
        let reference = self.body.be64()?;
        let count = self.body.uvarint()?;
        let mut labels = Vec::with_capacity(count.min(64) as usize);
        for _ in 0..count {
            labels.push((self.body.string()?, self.body.string()?));
        }
        Ok(SeriesEntry { reference, labels })
    }
}

impl<'a> Iterator for SeriesRecords<'a> {
    type Item = Result<SeriesEntry<'a>, Truncated>;

    fn next(&mut self) -> Option<Self::Item> {
        (!self.body.is_empty()).then(|| self.entry())
    }
}

/// One float sample of a samples record.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct SampleEntry {
    /// The series' reference.
    pub(crate) reference: u64,
    /// Milliseconds since the epoch.
    pub(crate) t: i64,
    /// The value.
    pub(crate) v: f64,
}

/// Iterates over a samples record.
#[derive(Debug)]
pub(crate) struct SampleRecords<'a> {
    body: Decoder<'a>,
    first: Option<(u64, i64)>,
}

impl SampleRecords<'_> {
    fn entry(&mut self) -> Result<SampleEntry, Truncated> {
        let (first_ref, first_t) = match self.first {
            Some(first) => first,
            None => {
                let first = (self.body.be64()?, self.body.be64()? as i64);
                self.first = Some(first);
                first
            }
        };
        let reference = first_ref.wrapping_add(self.body.varint()? as u64);
        let t = first_t.wrapping_add(self.body.varint()?);
        Ok(SampleEntry { reference, t, v: self.body.f64()? })
    }
}

impl Iterator for SampleRecords<'_> {
    type Item = Result<SampleEntry, Truncated>;

    fn next(&mut self) -> Option<Self::Item> {
        (!self.body.is_empty()).then(|| self.entry())
    }
}

/// Builds one series record; empty until the first series.
#[derive(Debug, Default)]
pub(crate) struct SeriesEncoder {
    bytes: Vec<u8>,
}

impl SeriesEncoder {
    /// Adds a series with `count` labels.
    pub(crate) fn push<'a>(
        &mut self,
        reference: u64,
        count: usize,
        labels: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    ) {
        if self.bytes.is_empty() {
            self.bytes.push(SERIES);
        }
        self.bytes.extend_from_slice(&reference.to_be_bytes());
        put_uvarint(&mut self.bytes, count as u64);
        for (name, value) in labels {
            put_string(&mut self.bytes, name);
            put_string(&mut self.bytes, value);
        }
    }

    /// The payload; empty when nothing was added.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Starts anew and keeps the memory that a usual request needs.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES_MAX);
    }
}

/// Builds one samples record; empty until the first sample.
#[derive(Debug, Default)]
pub(crate) struct SamplesEncoder {
    bytes: Vec<u8>,
    first_ref: u64,
    first_t: i64,
}

impl SamplesEncoder {
    /// Adds a sample.
    #[inline]
    pub(crate) fn push(&mut self, reference: u64, t: i64, v: f64) {
        if self.bytes.is_empty() {
            self.first_ref = reference;
            self.first_t = t;
            self.bytes.push(SAMPLES);
            self.bytes.extend_from_slice(&reference.to_be_bytes());
            self.bytes.extend_from_slice(&t.to_be_bytes());
        }
        put_varint(&mut self.bytes, reference.wrapping_sub(self.first_ref) as i64);
        put_varint(&mut self.bytes, t.wrapping_sub(self.first_t));
        self.bytes.extend_from_slice(&v.to_bits().to_be_bytes());
    }

    /// The payload; empty when nothing was added.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Starts anew and keeps the memory that a usual request needs.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn samples_round_trip(samples in proptest::collection::vec((any::<u64>(), any::<i64>(), any::<u64>()), 1..50)) {
            let mut enc = SamplesEncoder::default();
            for &(r, t, v) in &samples {
                enc.push(r, t, f64::from_bits(v));
            }
            let Record::Samples(records) = decode(enc.bytes()) else { panic!("not samples") };
            let back: Vec<_> = records.map(|s| { let s = s.unwrap(); (s.reference, s.t, s.v.to_bits()) }).collect();
            prop_assert_eq!(back, samples);
        }

        #[test]
        fn any_bytes_end(payload in proptest::collection::vec(any::<u8>(), 0..300)) {
            match decode(&payload) {
                Record::Series(s) => { s.take_while(Result::is_ok).count(); }
                Record::Samples(s) => { s.take_while(Result::is_ok).count(); }
                _ => {}
            }
        }
    }

    #[test]
    fn series_round_trip() {
        let mut enc = SeriesEncoder::default();
        enc.push(7, 2, [(b"__name__".as_slice(), b"up".as_slice()), (b"job", b"x")]);
        enc.push(8, 0, []);
        let Record::Series(records) = decode(enc.bytes()) else { panic!("not series") };
        let back: Vec<_> = records.map(Result::unwrap).collect();
        assert_eq!(back[0].labels, [(b"__name__".as_slice(), b"up".as_slice()), (b"job", b"x")]);
        assert_eq!((back[0].reference, back[1].reference, back.len()), (7, 8, 2));
    }
}
