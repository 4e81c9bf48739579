use proptest::prelude::*;

use super::testing::drafts;
use super::*;

/// A case: its name, what makes the histogram invalid, and the fault.
type Spoiled = (&'static str, fn(&mut Histogram), InvalidHistogram);

fn spans(spans: &[(i32, u32)]) -> Vec<Span> {
    spans.iter().map(|&(offset, length)| Span { offset, length }).collect()
}

/// Buckets 0, 1, 4 with 2, 3 and 1 observations, and 4 in the zero bucket.
fn histogram() -> Histogram {
    Histogram {
        zero_count: 4,
        count: 10,
        sum: 12.5,
        positive_spans: spans(&[(0, 2), (2, 1)]),
        positive_buckets: vec![2, 1, -2],
        ..Histogram::default()
    }
}

fn custom() -> Histogram {
    Histogram {
        schema: CUSTOM_BUCKETS_SCHEMA,
        count: 3,
        positive_spans: spans(&[(1, 2)]),
        positive_buckets: vec![1, 1],
        custom_values: vec![0.5, 1.0],
        ..Histogram::default()
    }
}

proptest! {
    #[test]
    fn drafts_are_valid(drafts in drafts(30)) {
        for draft in drafts {
            prop_assert_eq!(draft.int().validate(), Ok(()));
            prop_assert_eq!(draft.float().validate(), Ok(()));
            prop_assert!(draft.int().equals(&draft.int()));
            prop_assert!(draft.float().same_observations(&draft.float()));
        }
    }

    #[test]
    fn reducing_keeps_every_observation(drafts in drafts(10), schema in 9i32..=52) {
        for draft in drafts {
            for mut h in [draft.int(), Histogram { schema, ..draft.int() }] {
                if h.uses_custom_buckets() || h.is_stale() || !h.custom_values.is_empty() {
                    continue;
                }
                let before: i64 = h.positive().chain(h.negative()).map(|(_, count)| count).sum();
                h.reduce_resolution().unwrap();
                prop_assert_eq!(h.validate(), Ok(()));
                let after: i64 = h.positive().chain(h.negative()).map(|(_, count)| count).sum();
                prop_assert_eq!(before, after);
            }
        }
    }

    #[test]
    fn anything_can_be_judged(
        numbers in proptest::collection::vec((any::<i32>(), any::<u32>(), any::<i64>()), 0..8),
        schema in -60i32..60,
        count in any::<u64>(),
    ) {
        let mut h = Histogram {
            schema,
            count,
            positive_spans: numbers.iter().map(|&(offset, length, _)| Span { offset, length: length % 4 }).collect(),
            positive_buckets: numbers.iter().map(|&(.., bucket)| bucket).collect(),
            ..Histogram::default()
        };
        let _ = h.reduce_resolution();
        let _ = h.validate();
        prop_assert!(h.equals(&h.clone()));
    }
}

#[test]
fn each_fault_is_named() {
    use InvalidHistogram::*;
    let side = Side::Positive;
    let faults: [Spoiled; 9] = [
        ("schema", |h| h.schema = 9, Schema { schema: 9 }),
        ("count", |h| h.count = 11, CountMismatch { in_buckets: 10, count: 11 }),
        ("count with NaN", |h| (h.count, h.sum) = (9, f64::NAN), CountTooSmall { in_buckets: 10, count: 9 }),
        ("span", |h| h.positive_spans[1].offset = -1, NegativeOffset { side, span: 1, offset: -1 }),
        ("length", |h| h.positive_spans[0].length = 9, SpansBuckets { side, needed: 10, buckets: 3 }),
        ("bucket", |h| h.positive_buckets[2] = -4, NegativeBucket { side, bucket: 2 }),
        ("overflow", |h| h.positive_buckets[1] = i64::MAX, NegativeBucket { side, bucket: 1 }),
        ("index", |h| h.positive_spans[1].offset = i32::MAX, BucketIndex { side }),
        ("bounds", |h| h.custom_values = vec![1.0], CustomBoundsUnused),
    ];
    assert_eq!(histogram().validate(), Ok(()));
    for (name, spoil, fault) in faults {
        let mut h = histogram();
        spoil(&mut h);
        assert_eq!(h.validate(), Err(fault), "{name}");
    }
    let nan = Histogram { count: 12, sum: f64::NAN, ..histogram() };
    assert_eq!(nan.validate(), Ok(()), "observations of NaN are in no bucket");
}

#[test]
fn each_fault_of_custom_buckets_is_named() {
    use InvalidHistogram::*;
    let side = Side::Positive;
    let faults: [Spoiled; 7] = [
        ("zero bucket", |h| h.zero_threshold = 1.0, CustomZeroBucket),
        ("negative side", |h| h.negative_spans = spans(&[(0, 0)]), CustomNegativeSide),
        ("infinite", |h| h.custom_values[1] = f64::INFINITY, CustomBoundInfinite { bound: 1 }),
        ("NaN", |h| h.custom_values[0] = f64::NAN, CustomBoundInfinite { bound: 0 }),
        ("order", |h| h.custom_values[1] = 0.5, CustomBoundOrder { bound: 1 }),
        ("few", |h| h.custom_values.truncate(1), CustomBoundsFew { reach: 3, bounds: 1 }),
        ("offset", |h| h.positive_spans[0].offset = -1, NegativeOffset { side, span: 0, offset: -1 }),
    ];
    assert_eq!(custom().validate(), Ok(()));
    for (name, spoil, fault) in faults {
        let mut h = custom();
        spoil(&mut h);
        assert_eq!(h.validate(), Err(fault), "{name}");
    }
}

#[test]
fn too_much_is_refused() {
    let buckets = BUCKETS_MAX + 1;
    let h = Histogram {
        positive_spans: spans(&[(0, buckets as u32)]),
        positive_buckets: vec![0; buckets],
        ..Histogram::default()
    };
    assert_eq!(h.validate(), Err(InvalidHistogram::Buckets { buckets }));
    let h = Histogram { positive_spans: vec![Span::default(); SPANS_MAX + 1], ..Histogram::default() };
    assert_eq!(h.validate(), Err(InvalidHistogram::Spans { spans: SPANS_MAX + 1 }));
    let custom_values = (0..=CUSTOM_VALUES_MAX).map(|v| v as f64).collect();
    let h = Histogram { schema: CUSTOM_BUCKETS_SCHEMA, custom_values, ..Histogram::default() };
    assert_eq!(h.validate(), Err(InvalidHistogram::CustomValues { bounds: CUSTOM_VALUES_MAX + 1 }));
}

#[test]
fn float_counts_may_not_be_negative() {
    let float = FloatHistogram { count: 1.5, sum: 2.0, ..FloatHistogram::default() };
    assert_eq!(float.validate(), Ok(()));
    let fault = Err(InvalidHistogram::NegativeCount);
    assert_eq!(FloatHistogram { count: -1.0, ..float.clone() }.validate(), fault);
    assert_eq!(FloatHistogram { zero_count: -1.0, ..float.clone() }.validate(), fault);
    let negative = FloatHistogram { positive_spans: spans(&[(0, 1)]), positive_buckets: vec![-0.5], ..float };
    let fault = Err(InvalidHistogram::NegativeBucket { side: Side::Positive, bucket: 0 });
    assert_eq!(negative.validate(), fault);
}

#[test]
fn equal_is_the_same_buckets_and_bits() {
    let h = histogram();
    let split = Histogram { positive_spans: spans(&[(0, 1), (0, 0), (0, 1), (1, 0), (1, 1)]), ..histogram() };
    assert!(h.equals(&split), "spans may be cut otherwise");
    assert!(h.equals(&Histogram { counter_reset_hint: CounterResetHint::Reset, ..histogram() }));
    let empty_bucket = Histogram {
        positive_spans: spans(&[(0, 3), (1, 1)]),
        positive_buckets: vec![2, 1, -3, 1],
        ..histogram()
    };
    assert!(!h.equals(&empty_bucket) && h.same_observations(&empty_bucket));
    assert!(!h.same_observations(&Histogram { sum: 12.0, ..histogram() }));
    let nan = |bits| Histogram { sum: f64::from_bits(bits), ..histogram() };
    assert!(nan(0x7ff8_0000_0000_0001).equals(&nan(0x7ff8_0000_0000_0001)));
    assert!(!nan(0x7ff8_0000_0000_0001).equals(&nan(0x7ff8_0000_0000_0002)));
    assert!(nan(STALE_NAN).is_stale() && nan(STALE_NAN).same_observations(&Histogram::stale()));
}

#[test]
fn resolution_is_reduced_as_prometheus_does() {
    // Four buckets of schema 9 around the border of 1, which is the upper bound of bucket 0.
    let mut h = Histogram {
        schema: 9,
        count: 10,
        positive_spans: spans(&[(-1, 4), (6, 1)]),
        positive_buckets: vec![1, 1, 1, 0, -2],
        ..Histogram::default()
    };
    h.reduce_resolution().unwrap();
    assert_eq!(h.schema, 8);
    assert_eq!(h.positive().collect::<Vec<_>>(), [(0, 3), (1, 6), (5, 1)]);
    assert_eq!(h.validate(), Ok(()));
    let mut wrong = Histogram { schema: 9, positive_buckets: vec![1], ..Histogram::default() };
    assert!(wrong.reduce_resolution().is_err());
}
