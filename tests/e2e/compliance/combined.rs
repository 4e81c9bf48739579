//! Cases of the suite with samples or histograms, metadata and exemplars together.

use ringside_e2e::clock::{HOUR, MINUTE};

use super::case::{Asked, Case};
use super::series::Has::{Custom, Negative, Positive, Zero};
use super::series::{COUNTER, GAUGE, HISTOGRAM, Series, float, histogram, series};

const TRACE: (&str, &str) = ("trace_id", "f00d");

pub(super) fn cases() -> Vec<Case> {
    let mut cases = with_samples();
    cases.extend(with_histograms());
    cases.extend(edge_cases());
    cases.push(many_samples());
    cases.push(many_histograms());
    cases
}

fn with_samples() -> Vec<Case> {
    let requests = "How many requests there were.";
    vec![
        Case::twice(
            "TestSamplesWithMetadataAndExemplars",
            "",
            vec![
                float(&[("__name__", "http_requests_total"), ("job", "api"), ("method", "POST")], 1.0)
                    .about(COUNTER, requests, "requests")
                    .exemplar(&[TRACE, ("user_id", "7")], 1.0),
            ],
        ),
        Case::twice(
            "TestComplexSamplesRequest",
            "",
            vec![
                float(&[("__name__", "cpu_usage"), ("instance", "server1")], 0.85)
                    .about(GAUGE, "How busy processors are.", "ratio")
                    .exemplar(&[TRACE, ("process", "worker")], 0.85),
                float(&[("__name__", "memory_usage"), ("instance", "server1")], 8_589_934_592.0).about(
                    GAUGE,
                    "How much memory is used.",
                    "bytes",
                ),
            ],
        ),
        Case::twice(
            "TestMultipleMetricFamiliesSamples",
            "",
            vec![
                float(&[("__name__", "http_requests_total"), ("status", "200")], 1000.0)
                    .about(COUNTER, requests, "requests")
                    .exemplar(&[TRACE], 1000.0),
                float(&[("__name__", "temperature_celsius"), ("location", "cellar")], 23.5).about(
                    GAUGE,
                    "How warm it is.",
                    "celsius",
                ),
            ],
        ),
        Case::twice(
            "TestSpecialCharactersCombined",
            "",
            vec![
                float(
                    &[
                        ("__name__", "test_metric"),
                        ("job", "a-b_c.d@e"),
                        ("instance", "localhost:9090"),
                        ("environment", "🚀"),
                    ],
                    42.0,
                )
                .about(GAUGE, "ä, a new\nline and \"quotes\"", "a/b")
                .exemplar(&[("trace_id", "äöü-1"), ("span_id", "a.b-c_d")], 42.0),
            ],
        ),
    ]
}

fn with_histograms() -> Vec<Case> {
    let duration = "How long requests take.";
    vec![
        Case::twice(
            "TestHistogramsWithMetadataAndExemplars",
            "",
            vec![
                histogram(
                    &[("__name__", "request_duration_seconds"), ("service", "auth")],
                    0.456,
                    &[Positive, Negative, Zero],
                )
                .about(HISTOGRAM, duration, "seconds")
                .exemplar(&[TRACE, ("endpoint", "/login")], 0.456),
            ],
        ),
        Case::twice(
            "TestComplexHistogramsRequest",
            "",
            vec![
                histogram(
                    &[("__name__", "response_time_hist"), ("endpoint", "/users")],
                    0.125,
                    &[Positive, Zero],
                )
                .about(HISTOGRAM, duration, "seconds")
                .exemplar(&[TRACE, ("user", "premium")], 0.125),
                histogram(
                    &[("__name__", "request_size_hist"), ("method", "POST")],
                    1024.0,
                    &[Negative, Zero],
                )
                .about(HISTOGRAM, "How large requests are.", "bytes"),
            ],
        ),
        Case::twice(
            "TestMultipleMetricFamiliesHistograms",
            "",
            vec![
                histogram(
                    &[("__name__", "request_duration_seconds"), ("handler", "/metrics")],
                    0.003,
                    &[Positive, Zero],
                )
                .about(HISTOGRAM, duration, "seconds")
                .exemplar(&[TRACE, ("scraper", "prometheus")], 0.003),
            ],
        ),
        Case::twice(
            "TestCustomBucketsHistogramWithExemplar",
            "",
            vec![
                histogram(&[("__name__", "custom_latency_hist"), ("version", "v2")], 0.05, &[Custom])
                    .exemplar(&[TRACE, ("bucket", "0.25")], 0.05),
            ],
        ),
    ]
}

/// A series without a sample or histogram is against the specification, and is refused. The suite hopes for success, and
/// takes a refusal.
fn edge_cases() -> Vec<Case> {
    let function = "TestEdgeCaseCombinations";
    let orphan = |subtest: &str, one: fn(Series) -> Series| {
        let orphan = one(series(&[("__name__", "orphan_metric")])).refused();
        let case = Case::once(function, subtest, vec![orphan]);
        Case { asked: Asked { success: true, ..case.asked }, ..case }
    };
    let old = float(&[("__name__", "old_metric")], 1.0).at(-HOUR).exemplar_at(&[TRACE], 1.0, -30 * MINUTE);
    let new = float(&[("__name__", "new_metric")], 2.0);
    vec![
        orphan("metadata_without_data", |one| one.about(COUNTER, "What it is.", "count")),
        orphan("exemplars_without_data", |one| one.exemplar(&[TRACE], 42.0)),
        Case::once(function, "mixed_timestamp_data", vec![old, new]),
    ]
}

fn many_samples() -> Case {
    let one = |n: u32| {
        let (name, number, value) = (format!("counter_metric_{n}"), n.to_string(), f64::from(n * 100));
        float(&[("__name__", &name), ("series", &number)], value)
            .about(COUNTER, &format!("Counter {n}."), "count")
            .exemplar(&[("trace_id", &number)], value)
    };
    Case::twice("TestManySamples", "", (0..50).map(one).collect())
}

fn many_histograms() -> Case {
    let one = |n: u32| {
        let (name, number, sum) = (format!("histogram_metric_{n}"), n.to_string(), f64::from(n) / 10.0);
        let has = if n.is_multiple_of(2) { &[Positive, Zero, Negative][..] } else { &[Positive, Zero] };
        histogram(&[("__name__", &name), ("bucket", &number)], sum, has)
            .about(HISTOGRAM, &format!("Histogram {n}."), "seconds")
            .exemplar(&[("trace_id", &number)], sum)
    };
    Case::twice("TestManyHistograms", "", (0..50).map(one).collect())
}
