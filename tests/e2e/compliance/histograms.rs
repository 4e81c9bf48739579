//! Cases of the suite with native histograms.

use ringside_e2e::clock::MINUTE;

use super::case::Case;
use super::series::Has::{Custom, Negative, Positive, WrongCount, Zero};
use super::series::{HISTOGRAM, histogram};

pub(super) fn cases() -> Vec<Case> {
    let duration = [("__name__", "request_duration_seconds"), ("job", "api")];
    let mut cases = of_every_shape();
    cases.extend([
        Case::twice(
            "TestHistogramWithCreatedTimestamp",
            "",
            vec![histogram(&duration, 1.5, &[Positive, Negative, Zero]).created(-30 * MINUTE)],
        ),
        Case::twice(
            "TestMultipleHistograms",
            "",
            vec![
                histogram(&[("__name__", "hist1"), ("job", "test")], 10.5, &[Positive, Zero]),
                histogram(&[("__name__", "hist2"), ("job", "test")], 5.2, &[Negative]),
            ],
        ),
        Case::twice("TestEmptyHistogram", "", vec![histogram(&[("__name__", "empty_hist")], 0.0, &[])]),
        Case::twice(
            "TestHistogramWithMetadata",
            "",
            vec![histogram(&duration, 2.5, &[Positive, Negative, Zero]).about(
                HISTOGRAM,
                "How long requests take.",
                "seconds",
            )],
        ),
        Case::twice(
            "TestHistogramWithExemplar",
            "",
            vec![
                histogram(
                    &[("__name__", "http_request_duration_seconds"), ("method", "GET")],
                    1.23,
                    &[Positive, Zero],
                )
                .exemplar(&[("trace_id", "f00d"), ("span_id", "cafe")], 1.23),
            ],
        ),
        Case::twice(
            "TestHistogramWithMetadataAndExemplar",
            "",
            vec![
                histogram(
                    &[("__name__", "response_size_bytes"), ("service", "upload")],
                    10_485_760.0,
                    &[Positive, Negative, Zero],
                )
                .about(HISTOGRAM, "How large answers are.", "bytes")
                .exemplar(&[("trace_id", "large"), ("user_id", "7")], 10_485_760.0),
            ],
        ),
        Case::twice(
            "TestMultipleHistogramsWithMetadata",
            "",
            vec![
                histogram(&[("__name__", "cpu_usage_histogram"), ("instance", "a")], 0.75, &[Positive, Zero])
                    .about(HISTOGRAM, "How busy processors are.", "ratio"),
                histogram(
                    &[("__name__", "memory_usage_histogram"), ("instance", "a")],
                    8_589_934_592.0,
                    &[Positive, Negative],
                )
                .about(HISTOGRAM, "How much memory is used.", "bytes"),
            ],
        ),
    ]);
    cases
}

fn of_every_shape() -> Vec<Case> {
    let function = "TestHistograms";
    let plain = [("__name__", "test_histogram")];
    let minimal = [("__name__", "minimal_hist")];
    let (job, instance) = (("job", "test"), ("instance", "localhost"));
    let mut cases: Vec<Case> = [
        ("basic_histogram", &plain[..], &[Positive, Negative, Zero][..]),
        // After exponential buckets in the same series.
        ("custom_buckets_histogram", &plain, &[Custom]),
        ("positive_only_histogram", &[plain[0], job], &[Positive, Zero]),
        ("negative_only_histogram", &[plain[0], instance], &[Negative]),
        ("minimal_histogram", &minimal, &[Zero]),
    ]
    .into_iter()
    .map(|(subtest, labels, has)| Case::twice(function, subtest, vec![histogram(labels, 1.0, has)]))
    .collect();
    let wrong = histogram(&minimal, 1.0, &[Positive, WrongCount]).refused();
    cases.push(Case::once(function, "bad_count_histogram", vec![wrong]));
    cases
}
