//! Native histograms off the wire, as the storage takes them.
//!
//! Remote write 1.0 and 2.0 encode them alike, but for a start timestamp of 2.0, which is passed over. Owns what of a
//! message is a histogram; whether its series takes it is the storage's to say.

use std::mem::take;

use prost::Message;
use ringside_proto::prometheus::histogram::{Count as WireCount, ZeroCount};
use ringside_proto::prometheus::{BucketSpan, Histogram as Wire};
use ringside_tsdb::Value;
use ringside_tsdb::histogram::{
    BUCKETS_MAX, Bucket, CUSTOM_VALUES_MAX, Count, CounterResetHint, FloatHistogram, Histogram,
    InvalidHistogram, NativeHistogram, SPANS_MAX, Span,
};

/// The largest message that is decoded: a histogram of as many buckets, spans and bounds as the storage takes, each
/// at its longest. A byte can become eight in memory.
const MESSAGE_BYTES_MAX: usize = 128 + BUCKETS_MAX * 11 + SPANS_MAX * 14 + CUSTOM_VALUES_MAX * 9;

/// Why a message is no histogram that can be stored.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum HistogramError {
    #[error("histogram of {bytes} bytes is larger than {MESSAGE_BYTES_MAX}")]
    TooLarge { bytes: usize },
    #[error("malformed histogram: {0}")]
    Malformed(#[from] prost::DecodeError),
    #[error("histogram has both integer and float counts")]
    MixedCounts,
    #[error(transparent)]
    Invalid(#[from] InvalidHistogram),
}

/// Decodes and validates an encoded `Histogram` message: its time in milliseconds, and its value.
pub(crate) fn decode(message: &[u8]) -> Result<(i64, Value), HistogramError> {
    if message.len() > MESSAGE_BYTES_MAX {
        return Err(HistogramError::TooLarge { bytes: message.len() });
    }
    let wire = Wire::decode(message)?;
    Ok((wire.timestamp, value(wire)?))
}

fn value(mut wire: Wire) -> Result<Value, HistogramError> {
    let (positive_counts, negative_counts) =
        (take(&mut wire.positive_counts), take(&mut wire.negative_counts));
    let (positive_deltas, negative_deltas) =
        (take(&mut wire.positive_deltas), take(&mut wire.negative_deltas));
    let no_counts = positive_counts.is_empty() && negative_counts.is_empty();
    let no_deltas = positive_deltas.is_empty() && negative_deltas.is_empty();
    match totals(&wire) {
        Some(Totals::Integer(count, zero_count)) if no_counts => {
            let mut h: Histogram = model(wire, count, zero_count, positive_deltas, negative_deltas);
            h.reduce_resolution()?;
            h.validate()?;
            Ok(Value::Histogram(h))
        }
        Some(Totals::Float(count, zero_count)) if no_deltas => {
            let mut h: FloatHistogram = model(wire, count, zero_count, positive_counts, negative_counts);
            h.reduce_resolution()?;
            h.validate()?;
            Ok(Value::FloatHistogram(h))
        }
        _ => Err(HistogramError::MixedCounts),
    }
}

/// The count and the zero count of a histogram.
enum Totals {
    Integer(u64, u64),
    Float(f64, f64),
}

/// What is not there is zero. `None` if one is an integer and the other a float.
fn totals(wire: &Wire) -> Option<Totals> {
    match (wire.count.unwrap_or(WireCount::CountInt(0)), wire.zero_count) {
        (WireCount::CountInt(count), None) => Some(Totals::Integer(count, 0)),
        (WireCount::CountInt(count), Some(ZeroCount::ZeroCountInt(zero))) => {
            Some(Totals::Integer(count, zero))
        }
        (WireCount::CountFloat(count), None) => Some(Totals::Float(count, 0.0)),
        (WireCount::CountFloat(count), Some(ZeroCount::ZeroCountFloat(zero))) => {
            Some(Totals::Float(count, zero))
        }
        _ => None,
    }
}

/// The model of a message. Of a stale marker only that it is one is kept.
fn model<C: Count, B: Bucket>(
    wire: Wire,
    count: C,
    zero_count: C,
    positive_buckets: Vec<B>,
    negative_buckets: Vec<B>,
) -> NativeHistogram<C, B> {
    // A number without meaning is no hint.
    let counter_reset_hint = u8::try_from(wire.reset_hint).map_or(CounterResetHint::Unknown, Into::into);
    if ringside_tsdb::is_stale(wire.sum) {
        return NativeHistogram { counter_reset_hint, ..NativeHistogram::stale() };
    }
    NativeHistogram {
        counter_reset_hint,
        schema: wire.schema,
        zero_threshold: wire.zero_threshold,
        zero_count,
        count,
        sum: wire.sum,
        positive_spans: spans(&wire.positive_spans),
        negative_spans: spans(&wire.negative_spans),
        positive_buckets,
        negative_buckets,
        custom_values: wire.custom_values,
    }
}

fn spans(wire: &[BucketSpan]) -> Vec<Span> {
    wire.iter().map(|span| Span { offset: span.offset, length: span.length }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringside_proto::prometheus_v2;
    use ringside_tsdb::STALE_NAN;

    fn integer() -> Wire {
        Wire {
            count: Some(WireCount::CountInt(6)),
            zero_count: Some(ZeroCount::ZeroCountInt(1)),
            sum: 12.5,
            schema: 3,
            zero_threshold: 0.001,
            positive_spans: vec![BucketSpan { offset: -1, length: 2 }],
            positive_deltas: vec![2, 1],
            reset_hint: 2,
            timestamp: 1_700_000_000_000,
            ..Wire::default()
        }
    }

    fn float() -> Wire {
        Wire {
            count: Some(WireCount::CountFloat(1.5)),
            zero_count: Some(ZeroCount::ZeroCountFloat(0.5)),
            negative_spans: vec![BucketSpan { offset: 4, length: 1 }],
            negative_counts: vec![1.0],
            reset_hint: 3,
            ..Wire::default()
        }
    }

    fn decoded(wire: &Wire) -> Result<(i64, Value), HistogramError> {
        decode(&wire.encode_to_vec())
    }

    #[test]
    fn integer_counts() {
        let (t, Value::Histogram(h)) = decoded(&integer()).unwrap() else { panic!("not integers") };
        assert_eq!((t, h.count, h.zero_count, h.sum, h.schema), (1_700_000_000_000, 6, 1, 12.5, 3));
        assert_eq!(h.positive().collect::<Vec<_>>(), [(-1, 2), (0, 3)]);
        assert_eq!(h.counter_reset_hint, CounterResetHint::NotReset);
    }

    #[test]
    fn float_counts() {
        let (_, Value::FloatHistogram(h)) = decoded(&float()).unwrap() else { panic!("not floats") };
        assert_eq!((h.count, h.zero_count), (1.5, 0.5));
        assert_eq!(h.negative().collect::<Vec<_>>(), [(4, 1.0)]);
        assert_eq!(h.counter_reset_hint, CounterResetHint::Gauge);
    }

    #[test]
    fn custom_buckets() {
        let wire = Wire {
            schema: -53,
            custom_values: vec![0.5, 1.0],
            zero_count: None,
            zero_threshold: 0.0,
            count: Some(WireCount::CountInt(5)),
            positive_spans: vec![BucketSpan { offset: 1, length: 2 }],
            ..integer()
        };
        let (_, Value::Histogram(h)) = decoded(&wire).unwrap() else { panic!("not integers") };
        assert_eq!(h.custom_values, [0.5, 1.0]);
        let few = decoded(&Wire { custom_values: vec![0.5], ..wire }).unwrap_err();
        assert_eq!(few, InvalidHistogram::CustomBoundsFew { reach: 3, bounds: 1 }.into());
    }

    #[test]
    fn remote_write_2_is_the_same() {
        use prometheus_v2::histogram::{Count, ZeroCount};
        let message = prometheus_v2::Histogram {
            count: Some(Count::CountInt(2)),
            zero_count: Some(ZeroCount::ZeroCountInt(2)),
            timestamp: 7,
            start_timestamp: 5,
            ..Default::default()
        };
        let (t, Value::Histogram(h)) = decode(&message.encode_to_vec()).unwrap() else {
            panic!("not integers")
        };
        assert_eq!((t, h.count, h.zero_count), (7, 2, 2));
    }

    #[test]
    fn a_stale_marker_is_nothing_else() {
        let sum = f64::from_bits(STALE_NAN);
        for wire in [Wire { sum, ..integer() }, Wire { sum, ..float() }, Wire { sum, ..Wire::default() }] {
            let (_, value) = decoded(&wire).unwrap();
            assert!(value.is_stale());
            if let Value::Histogram(h) = value {
                assert!(h.equals(&Histogram::stale()));
            }
        }
    }

    #[test]
    fn fine_schemas_are_reduced() {
        let (_, value) = decoded(&Wire { schema: 52, ..integer() }).unwrap();
        let Value::Histogram(h) = value else { panic!("not integers") };
        assert_eq!(h.schema, 8);
        assert_eq!(h.positive().collect::<Vec<_>>(), [(0, 5)]);
        for schema in [53, -5] {
            let error = decoded(&Wire { schema, ..integer() }).unwrap_err();
            assert_eq!(error, InvalidHistogram::Schema { schema }.into());
        }
    }

    #[test]
    fn what_is_no_histogram_is_refused() {
        let mixed = [
            Wire { positive_counts: vec![1.0], ..integer() },
            Wire { zero_count: Some(ZeroCount::ZeroCountFloat(1.0)), ..integer() },
            Wire { positive_deltas: vec![1], ..float() },
            Wire { zero_count: Some(ZeroCount::ZeroCountInt(1)), ..float() },
        ];
        for wire in mixed {
            assert_eq!(decoded(&wire).unwrap_err(), HistogramError::MixedCounts);
        }
        let mismatch = decoded(&Wire { count: Some(WireCount::CountInt(7)), ..integer() }).unwrap_err();
        assert_eq!(mismatch, InvalidHistogram::CountMismatch { in_buckets: 6, count: 7 }.into());
        assert!(matches!(decode(&[0xff]), Err(HistogramError::Malformed(_))));
        let bytes = MESSAGE_BYTES_MAX + 1;
        assert_eq!(decode(&vec![0; bytes]).unwrap_err(), HistogramError::TooLarge { bytes });
    }
}
