//! Cases of the suite with metadata.

use ringside_e2e::clock::HOUR;

use super::case::Case;
use super::series::Has::{Negative, Positive, Zero};
use super::series::{COUNTER, GAUGE, HISTOGRAM, float, histogram};

pub(super) fn cases() -> Vec<Case> {
    let requests = |job: &str, value: f64| {
        float(&[("__name__", "http_requests_total"), ("job", job)], value).about(
            COUNTER,
            "How many requests there were.",
            "requests",
        )
    };
    let gauge = |labels: &[(&str, &str)], value: f64, unit: &str| {
        float(labels, value).about(GAUGE, "How much of it is used.", unit)
    };
    let mut cases = of_every_type();
    cases.extend([
        Case::twice(
            "TestCounterMetadataWithCreatedTimestamp",
            "",
            vec![requests("api", 150.0).created(-HOUR)],
        ),
        Case::twice("TestMetadataWithSamples", "", vec![requests("test", 42.0)]),
        Case::twice(
            "TestMultipleMetadata",
            "",
            vec![
                gauge(&[("__name__", "cpu_usage")], 85.5, "percent"),
                gauge(&[("__name__", "memory_usage")], 4_096_000_000.0, "bytes"),
                gauge(&[("__name__", "disk_usage"), ("device", "sda1")], 75.2, "percent"),
            ],
        ),
        Case::twice(
            "TestMetadataWithComplexLabels",
            "",
            vec![
                histogram(
                    &[
                        ("__name__", "http_request_duration_seconds"),
                        ("job", "api"),
                        ("instance", "localhost:8080"),
                        ("method", "GET"),
                        ("status", "200"),
                        ("endpoint", "/users"),
                    ],
                    0.25,
                    &[Positive, Negative, Zero],
                )
                .about(HISTOGRAM, "How long requests take.", "seconds"),
            ],
        ),
    ]);
    cases.extend(validation());
    cases
}

fn of_every_type() -> Vec<Case> {
    let help = "What it is.";
    [
        ("counter_metadata", "http_requests_total", COUNTER, help, "requests"),
        ("gauge_metadata", "cpu_usage_percent", GAUGE, help, "percent"),
        ("histogram_metadata", "request_duration_seconds", HISTOGRAM, help, "seconds"),
        ("metadata_no_help_no_unit", "simple_counter", COUNTER, "", ""),
        ("metadata_with_special_chars", "test_metric", GAUGE, "two\nlines and \"quotes\"", "bytes/s"),
        ("unspecified_metadata_type", "unknown_metric", 0, help, ""),
        ("info_metadata_type", "build_info", 6, help, ""),
        ("stateset_metadata_type", "node_state", 7, help, ""),
        ("summary_metadata_type", "request_latency_summary", 5, help, "seconds"),
        ("gauge_histogram_metadata_type", "temperature_histogram", 4, help, "celsius"),
    ]
    .into_iter()
    .map(|(subtest, name, kind, help, unit)| {
        let labels = [("__name__", name), ("job", "test")];
        let labels = if name == "test_metric" { &labels[..] } else { &labels[..1] };
        let series = match kind {
            HISTOGRAM => histogram(labels, 1.0, &[Positive, Negative, Zero]),
            _ => float(labels, 1.0),
        };
        Case::twice("TestMetadata", subtest, vec![series.about(kind, help, unit)])
    })
    .collect()
}

fn validation() -> Vec<Case> {
    let function = "TestMetadataValidation";
    let with = |labels: &[(&str, &str)], kind: u64| float(labels, 1.0).about(kind, "What it is.", "unit");
    // Where the name is missing, the suite leaves the metadata out too.
    let nameless = float(&[("job", "test")], 1.0).refused();
    let named = with(&[("__name__", "valid_metric_name")], COUNTER);
    vec![
        Case::once(function, "metadata_without_name_label", vec![nameless]),
        Case::once(function, "metadata_with_empty_name", vec![with(&[("__name__", "")], GAUGE).refused()]),
        Case::once(function, "metadata_with_valid_name", vec![named]),
    ]
}
