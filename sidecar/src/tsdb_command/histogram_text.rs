//! A native histogram as Prometheus prints it: `{count:3, sum:2.5, [-0.001,0.001]:1, (0.5,1]:2}`.

use ringside_tsdb::histogram::{Bucket, CUSTOM_BUCKETS_SCHEMA, Count, NativeHistogram};

use super::go_text::float;

/// Count, sum, and every bucket that is not empty from the most negative to the most positive one.
pub(super) fn histogram<C: Count, B: Bucket>(
    histogram: &NativeHistogram<C, B>,
    count: impl Fn(&C) -> String,
    bucket: impl Fn(&B) -> String,
) -> String {
    let filled = |(_, count): &(i64, B)| *count != B::default();
    let mut parts =
        vec![format!("count:{}", count(&histogram.count)), format!("sum:{}", float(histogram.sum))];
    let mut negative: Vec<_> = histogram.negative().filter(filled).collect();
    negative.reverse();
    for (index, count) in negative {
        let (lower, upper) = bounds(histogram, index);
        parts.push(format!("[{},{}):{}", float(-upper), float(-lower), bucket(&count)));
    }
    if histogram.zero_count != C::default() {
        let threshold = histogram.zero_threshold;
        parts.push(format!("[{},{}]:{}", float(-threshold), float(threshold), count(&histogram.zero_count)));
    }
    for (index, count) in histogram.positive().filter(filled) {
        let (lower, upper) = bounds(histogram, index);
        // The first of custom buckets has no lower bound.
        let open = if lower.is_finite() { '(' } else { '[' };
        parts.push(format!("{open}{},{}]:{}", float(lower), float(upper), bucket(&count)));
    }
    format!("{{{}}}", parts.join(", "))
}

/// The bounds of the positive bucket with an index.
fn bounds<C, B>(histogram: &NativeHistogram<C, B>, index: i64) -> (f64, f64) {
    if histogram.schema == CUSTOM_BUCKETS_SCHEMA {
        let bound = |index: Option<i64>| histogram.custom_values.get(usize::try_from(index?).ok()?).copied();
        let upper = bound(Some(index)).unwrap_or(f64::INFINITY);
        return (bound(index.checked_sub(1)).unwrap_or(f64::NEG_INFINITY), upper);
    }
    let bound = |index: i64| (index as f64 * f64::from(-histogram.schema).exp2()).exp2().min(f64::MAX);
    (bound(index - 1), bound(index))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringside_tsdb::histogram::{FloatHistogram, Histogram, Span};

    #[test]
    fn buckets_are_printed_from_the_most_negative_on() {
        let span = |offset, length| Span { offset, length };
        let integer = Histogram {
            schema: 0,
            zero_threshold: 0.001,
            zero_count: 1,
            count: 9,
            sum: 2.5,
            positive_spans: vec![span(0, 2), span(1, 1)],
            positive_buckets: vec![2, -2, 1],
            negative_spans: vec![span(1, 2)],
            negative_buckets: vec![4, -3],
            ..Histogram::default()
        };
        let text = histogram(&integer, u64::to_string, i64::to_string);
        assert_eq!(text, "{count:9, sum:2.5, [-4,-2):1, [-2,-1):4, [-0.001,0.001]:1, (0.5,1]:2, (4,8]:1}");

        let custom = FloatHistogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            count: 3.5,
            sum: f64::NAN,
            positive_spans: vec![span(0, 3)],
            positive_buckets: vec![1.0, 0.0, 2.5],
            custom_values: vec![0.1, 5.0],
            ..FloatHistogram::default()
        };
        let text = histogram(&custom, |v| float(*v), |v| float(*v));
        assert_eq!(text, "{count:3.5, sum:NaN, [-Inf,0.1]:1, (5,+Inf]:2.5}");
    }
}
