//! What all histograms of a chunk share: schema, zero threshold, which buckets there are, and custom bounds.

use crate::chunkenc::bstream::{BitReader, BitWriter};
use crate::chunkenc::varbit::{put_int, put_uint, read_int, read_uint};
use crate::histogram::{
    Bucket, CUSTOM_BUCKETS_SCHEMA, Count, NativeHistogram, SCHEMA_MAX_RESERVED, SCHEMA_MIN_RESERVED, Span,
};

/// The largest custom bound, in thousandths, that is written as an integer.
const BOUND_MAX: f64 = 33_554_430.0;
/// Zero thresholds of 2^-243 to 2^10 are written as their exponent, from 1 up.
const THRESHOLD_EXPONENT_MIN: i32 = -243;
/// Stands before a zero threshold that is written in full.
const THRESHOLD_IN_FULL: i32 = 255;

/// The layout of a chunk.
#[derive(Debug, Clone, Default)]
pub(super) struct Layout {
    pub(super) schema: i32,
    pub(super) zero_threshold: f64,
    pub(super) positive: Vec<Span>,
    pub(super) negative: Vec<Span>,
    pub(super) custom_values: Vec<f64>,
}

impl Layout {
    pub(super) fn of<C: Count, B: Bucket>(h: &NativeHistogram<C, B>) -> Self {
        let bounds = if h.uses_custom_buckets() { h.custom_values.clone() } else { Vec::new() };
        Self {
            schema: h.schema,
            zero_threshold: h.zero_threshold,
            positive: h.positive_spans.clone(),
            negative: h.negative_spans.clone(),
            custom_values: bounds,
        }
    }

    pub(super) fn put(&self, out: &mut BitWriter) {
        put_zero_threshold(out, self.zero_threshold);
        put_int(out, i64::from(self.schema));
        for spans in [&self.positive, &self.negative] {
            put_uint(out, spans.len() as u64);
            for span in spans {
                put_uint(out, u64::from(span.length));
                put_int(out, i64::from(span.offset));
            }
        }
        if self.schema == CUSTOM_BUCKETS_SCHEMA {
            put_uint(out, self.custom_values.len() as u64);
            self.custom_values.iter().for_each(|&bound| put_bound(out, bound));
        }
    }

    /// Reads a layout. `None` where the bits end, or say what no writer says.
    pub(super) fn read(bits: &mut BitReader<'_>) -> Option<Self> {
        let zero_threshold = read_zero_threshold(bits)?;
        let schema = i32::try_from(read_int(bits)?).ok()?;
        let custom = schema == CUSTOM_BUCKETS_SCHEMA;
        if !custom && !(SCHEMA_MIN_RESERVED..=SCHEMA_MAX_RESERVED).contains(&schema) {
            return None;
        }
        let positive = read_list(bits, read_span)?;
        let negative = read_list(bits, read_span)?;
        let custom_values = if custom { read_list(bits, read_bound)? } else { Vec::new() };
        Some(Self { schema, zero_threshold, positive, negative, custom_values })
    }
}

/// A list with its length in front. Every item takes two bits or more, so memory grows with what was read, whatever
/// the length claims.
fn read_list<T>(bits: &mut BitReader<'_>, item: impl Fn(&mut BitReader<'_>) -> Option<T>) -> Option<Vec<T>> {
    let claimed = read_uint(bits)?;
    let mut items = Vec::new();
    for _ in 0..claimed {
        items.push(item(bits)?);
    }
    Some(items)
}

fn read_span(bits: &mut BitReader<'_>) -> Option<Span> {
    let length = u32::try_from(read_uint(bits)?).ok()?;
    Some(Span { offset: i32::try_from(read_int(bits)?).ok()?, length })
}

fn put_zero_threshold(out: &mut BitWriter, threshold: f64) {
    if threshold == 0.0 {
        out.put(0, 8);
        return;
    }
    match power_of_two(threshold).map(|power| power - THRESHOLD_EXPONENT_MIN + 1) {
        Some(exponent @ 1..THRESHOLD_IN_FULL) => out.put(exponent as u64, 8),
        _ => {
            out.put(THRESHOLD_IN_FULL as u64, 8);
            out.put(threshold.to_bits(), 64);
        }
    }
}

/// The exponent of a positive, normal power of two.
fn power_of_two(v: f64) -> Option<i32> {
    let exponent = (v.to_bits() >> 52) as i32;
    let mantissa = v.to_bits() & ((1 << 52) - 1);
    (mantissa == 0 && (1..=2046).contains(&exponent)).then(|| exponent - 1023)
}

fn read_zero_threshold(bits: &mut BitReader<'_>) -> Option<f64> {
    Some(match bits.bits(8)? as i32 {
        0 => 0.0,
        THRESHOLD_IN_FULL => f64::from_bits(bits.bits(64)?),
        exponent => 2f64.powi(exponent - 1 + THRESHOLD_EXPONENT_MIN),
    })
}

fn put_bound(out: &mut BitWriter, bound: f64) {
    let thousandths = (bound * 1000.0).round();
    if (0.0..=BOUND_MAX).contains(&(bound * 1000.0)) && thousandths / 1000.0 == bound {
        put_uint(out, thousandths as u64 + 1);
    } else {
        out.put(0, 1);
        out.put(bound.to_bits(), 64);
    }
}

fn read_bound(bits: &mut BitReader<'_>) -> Option<f64> {
    Some(match read_uint(bits)? {
        0 => f64::from_bits(bits.bits(64)?),
        thousandths => (thousandths - 1) as f64 / 1000.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(put: impl Fn(&mut BitWriter)) -> Vec<u8> {
        let mut out = BitWriter::default();
        put(&mut out);
        out.bytes
    }

    #[test]
    fn usual_zero_thresholds_take_one_byte() {
        for (threshold, len, first) in [
            (0.0, 1, 0),
            (2f64.powi(-128), 1, 116),
            (2f64.powi(-243), 1, 1),
            (2f64.powi(10), 1, 254),
            (2f64.powi(-244), 9, 255),
            (2f64.powi(11), 9, 255),
            (0.001, 9, 255),
            (-0.5, 9, 255),
            (f64::MIN_POSITIVE / 2.0, 9, 255),
            (f64::INFINITY, 9, 255),
        ] {
            let bytes = bytes_of(|out| put_zero_threshold(out, threshold));
            assert_eq!((bytes.len(), bytes[0]), (len, first), "{threshold}");
            assert_eq!(read_zero_threshold(&mut BitReader::new(&bytes)), Some(threshold));
        }
    }

    #[test]
    fn whole_thousandths_are_small() {
        for (bound, len) in [
            (0.0, 1),
            (0.005, 1),
            (0.1, 2),
            (10.0, 3),
            (33_554.430, 4),
            (33_554.431, 9),
            (0.0005, 9),
            (-1.0, 9),
            (1e300, 9),
        ] {
            let bytes = bytes_of(|out| put_bound(out, bound));
            assert_eq!(bytes.len(), len, "{bound}");
            assert_eq!(read_bound(&mut BitReader::new(&bytes)), Some(bound));
        }
    }

    #[test]
    fn a_claimed_length_takes_no_memory() {
        let bytes = bytes_of(|out| {
            out.put(0, 8);
            put_int(out, 0);
            put_uint(out, u64::MAX);
        });
        assert!(Layout::read(&mut BitReader::new(&bytes)).is_none());
    }
}
