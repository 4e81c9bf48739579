//! Cases of the suite with exemplars beside float samples.

use ringside_e2e::clock::{HOUR, MINUTE};

use super::case::Case;
use super::series::float;

pub(super) fn cases() -> Vec<Case> {
    let requests = [("__name__", "http_requests_total"), ("job", "api")];
    let mut cases = of_every_shape();
    cases.extend([
        Case::twice(
            "TestExemplarWithCreatedTimestamp",
            "",
            vec![
                float(&requests, 250.0)
                    .created(-2 * HOUR)
                    .exemplar(&[("trace_id", "f00d"), ("span_id", "cafe")], 250.0),
            ],
        ),
        Case::twice(
            "TestMultipleExemplars",
            "",
            [
                ("request_duration", ("method", "GET"), 0.1),
                ("request_duration", ("method", "POST"), 0.25),
                ("error_count", ("service", "payment"), 1.0),
            ]
            .into_iter()
            .map(|(name, label, value)| {
                let exemplar = [("trace_id", label.1), ("span_id", "cafe")];
                float(&[("__name__", name), label], value).exemplar(&exemplar, value)
            })
            .collect(),
        ),
    ]);
    cases.push(at_three_times());
    cases.extend(validation());
    cases.extend(special_values());
    cases
}

fn of_every_shape() -> Vec<Case> {
    let trace = ("trace_id", "f00d");
    [
        ("basic_exemplar", &[("__name__", "http_requests_total"), ("job", "api")][..], &[trace][..], 1.0),
        (
            "exemplar_with_span_id",
            &[("__name__", "request_duration_seconds"), ("method", "GET")],
            &[trace, ("span_id", "cafe")],
            0.125,
        ),
        (
            "exemplar_without_trace_id",
            &[("__name__", "cpu_usage"), ("instance", "host1")],
            &[("user_id", "7")],
            0.85,
        ),
        (
            "exemplar_with_multiple_labels",
            &[("__name__", "request_latency"), ("service", "auth")],
            &[trace, ("user", "admin"), ("endpoint", "/login")],
            0.05,
        ),
        ("exemplar_no_labels", &[("__name__", "simple_counter")], &[], 1.0),
        ("exemplar_with_special_chars", &[("__name__", "test_metric")], &[("trace_id", "a-b_c.d/e 1")], 42.0),
        (
            "exemplar_with_unicode",
            &[("__name__", "unicode_test"), ("region", "🌍")],
            &[("trace_id", "ü-日本")],
            100.0,
        ),
    ]
    .into_iter()
    .map(|(subtest, labels, exemplar, value)| {
        Case::twice("TestExemplars", subtest, vec![float(labels, value).exemplar(exemplar, value)])
    })
    .collect()
}

/// One series three times in a request, from old to new. Sent again, its oldest sample is an hour behind what the
/// series has by then, which is refused; the others are within what is taken out of order.
fn at_three_times() -> Case {
    let at = |offset_ms: i64, value: f64| {
        float(&[("__name__", "latency_hist")], value).at(offset_ms).exemplar_at(
            &[("trace_id", "f00d")],
            value,
            offset_ms,
        )
    };
    let series = vec![at(-HOUR, 0.05).too_old_again(), at(-MINUTE, 0.15), at(0, 0.08)];
    Case::twice("TestExemplarTimestamps", "", series)
}

fn validation() -> Vec<Case> {
    let function = "TestExemplarValidation";
    let with = |labels: &[(&str, &str)]| float(labels, 1.0).exemplar(&[("trace_id", "f00d")], 1.0);
    vec![
        Case::once(function, "exemplar_without_name_label", vec![with(&[("job", "test")]).refused()]),
        Case::once(function, "exemplar_with_empty_name", vec![with(&[("__name__", "")]).refused()]),
        Case::once(function, "exemplar_with_valid_name", vec![with(&[("__name__", "valid_metric")])]),
    ]
}

fn special_values() -> Vec<Case> {
    [
        ("zero_value", 0.0),
        ("negative_value", -123.456),
        ("large_value", 1e10),
        ("small_value", 1e-10),
        // The suite turns the bits of a NaN into a number.
        ("nan_value", 0x7ff8_0000_0000_0001_u64 as f64),
        ("inf_value", f64::INFINITY),
        ("-inf_value", f64::NEG_INFINITY),
    ]
    .into_iter()
    .map(|(subtest, value)| {
        let series = float(&[("__name__", "test_metric")], value).exemplar(&[("trace_id", "f00d")], value);
        Case::twice("TestExemplarSpecialValues", subtest, vec![series])
    })
    .collect()
}
