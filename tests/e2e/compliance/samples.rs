//! Cases of the suite with float samples alone.

use ringside_e2e::clock::HOUR;

use super::case::Case;
use super::series::{Series, float};

/// The suite's values under its names. It turns the bits of its NaNs into numbers, and so do these two lines.
const VALUES: [(&str, f64); 5] = [
    ("1.0", 1.0),
    ("StaleNaN", 0x7ff0_0000_0000_0002_u64 as f64),
    ("NaN", 0x7ff8_0000_0000_0001_u64 as f64),
    ("Inf", f64::INFINITY),
    ("-Inf", f64::NEG_INFINITY),
];

pub(super) fn cases() -> Vec<Case> {
    let labels = [("__name__", "http_requests_total"), ("job", "api")];
    let created = float(&labels, 100.0).created(-HOUR);
    let mut cases = vec![Case::twice("TestCounterWithCreatedTimestamp", "", vec![created])];
    for (name, value) in VALUES {
        cases.extend(single(name, value));
        cases.extend(multiple(name, value));
    }
    cases
}

fn single(name: &str, value: f64) -> Vec<Case> {
    let case = |subtest: &str, labels: &[(&str, &str)]| {
        let subtest = format!("{name}/{subtest}");
        Case::twice("TestSingleMetric", subtest, vec![float(labels, value)])
    };
    let nameless = |subtest: &str, labels: &[(&str, &str)]| {
        let subtest = format!("{name}/{subtest}");
        Case::once("TestSingleMetric", subtest, vec![float(labels, value).refused()])
    };
    let (job, instance) = (("job", "testjob"), ("instance", "localhost:9090"));
    vec![
        case("simple metric", &[("__name__", "up")]),
        case("simple metric with multiple labels", &[("__name__", "up"), job, instance]),
        case("simple metric with newlines", &[("__name__", "up"), ("job", "one\ntwo\n"), instance]),
        case(
            "simple metric with dots",
            &[("__name__", "resource.cpu.usage"), ("job.name", "a"), ("instance.name", "b")],
        ),
        case(
            "simple metric with spaces",
            &[("__name__", "resource cpu usage"), ("job name", "a"), ("instance name", "b")],
        ),
        nameless("simple metric without name label", &[job, instance]),
        nameless("empty metric", &[]),
    ]
}

fn multiple(name: &str, value: f64) -> Vec<Case> {
    // Four targets, of which the first ones have no name.
    let targets = |nameless: usize| -> Vec<Series> {
        let target = |n: usize| {
            let instance = format!("localhost:{}", 9090 + n);
            let labels = [("job", "testjob"), ("instance", instance.as_str()), ("__name__", "up")];
            match n < nameless {
                true => float(&labels[..2], value).refused(),
                false => float(&labels, value),
            }
        };
        (0..4).map(target).collect()
    };
    let subtest = |text: &str| format!("{name}/{text}");
    let function = "TestMultipleMetrics";
    let mut cases = vec![
        Case::twice(function, subtest("multiple metrics"), targets(0)),
        Case::once(function, subtest("multiple metrics, without name label"), targets(4)),
        Case::once(function, subtest("multiple metrics, 1 without name label"), targets(1)),
    ];
    // Of these the suite bounds what is written by what is valid, and not by what is sent.
    cases[1].asked.written = [0; 3];
    cases[2].asked.written = [3, 0, 0];
    cases
}
