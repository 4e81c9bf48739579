//! Which samples are taken: order, repetitions, bounds, odd encodings of labels.

use ringside_tsdb::{Options, Refusal};

use crate::{Store, label_bytes, labels};

#[test]
fn the_same_samples_twice_are_stored_once_and_are_no_error() {
    let mut store = Store::new("twice", Options::default());
    let series = labels("a", 0);
    let samples: Vec<_> = (0..500).map(|i| (&series, i * 1000, i as f64)).collect();
    assert!(store.append(&samples).iter().all(Result::is_ok));
    assert!(store.append(&samples).iter().all(Result::is_ok), "a whole request repeated");
    assert_eq!(store.tsdb.stats().counters.samples_appended, 500);
    assert_eq!(store.tsdb.stats().counters.duplicates, 500);
    let mut store = store.crash();
    assert!(store.append(&samples).iter().all(Result::is_ok), "repeated after a restart");
    assert_eq!(store.tsdb.stats().counters.samples_appended, 0);
    store.check("after all repetitions");
    store.scratch.passed();
}

#[test]
fn what_cannot_be_stored_is_refused_with_its_reason() {
    let options = Options { out_of_order_window_ms: 0, ..Options::default() };
    let mut store = Store::new("refused", options);
    let a = labels("a", 0);
    assert!(store.append(&[(&a, 10_000_000, 1.0), (&a, 10_002_000, 2.0)]).iter().all(Result::is_ok));
    let results = store.append(&[
        (&a, 10_002_000, 3.0),
        (&a, 10_001_000, 3.0),
        (&a, 1_000, 3.0),
        (&a, i64::MAX, 3.0),
        (&a, 10_003_000, 4.0),
    ]);
    let text: Vec<_> =
        results.iter().map(|r| r.as_ref().map_or_else(ToString::to_string, |()| "ok".into())).collect();
    assert_eq!(text[0], "duplicate sample for timestamp: another value is stored at 10002000");
    assert_eq!(text[1], "out of order sample: got 10001000, the newest is at 10002000");
    assert_eq!(text[2], "out of bounds: 1000 is older than the oldest accepted time 6402000");
    assert!(text[3].starts_with("too far in the future: "), "{}", text[3]);
    assert_eq!(text[4], "ok");
    store.check("after refusals");
    store.scratch.passed();
}

#[test]
fn what_comes_late_within_the_window_is_stored() {
    let mut store = Store::new("late", Options::default());
    let a = labels("a", 0);
    assert!(store.append(&[(&a, 10_000_000, 1.0), (&a, 10_002_000, 2.0)]).iter().all(Result::is_ok));
    let late = [(&a, 10_001_000, 3.0), (&a, 9_402_000, 4.0), (&a, 10_001_000, 3.0)];
    assert!(store.append(&late).iter().all(Result::is_ok));
    let results = store.append(&[(&a, 10_001_000, 5.0), (&a, 9_401_999, 6.0)]);
    let text: Vec<_> = results.iter().map(|r| r.as_ref().unwrap_err().to_string()).collect();
    assert_eq!(text[0], "duplicate sample for timestamp: another value is stored at 10001000");
    assert_eq!(text[1], "too old sample: 9401999 is older than the oldest accepted time 9402000");
    let counters = store.tsdb.stats().counters;
    assert_eq!((counters.samples_appended, counters.out_of_order_appended, counters.duplicates), (4, 2, 1));
    let mut store = store.crash();
    assert!(store.append(&late).iter().all(Result::is_ok), "repeated after a restart");
    store.check("after late samples");
    store.scratch.passed();
}

#[test]
fn every_encoding_of_the_same_labels_names_the_same_series() {
    let mut store = Store::new("encodings", Options::default());
    let series = labels("a", 0);
    assert!(store.append(&[(&series, 1000, 1.0)])[0].is_ok());
    let canonical = label_bytes(&series);
    let mut unsorted = Vec::new();
    for (name, value) in series.iter().rev() {
        ringside_e2e::wire::label(&mut unsorted, name.as_bytes(), value.as_bytes());
    }
    ringside_e2e::wire::label(&mut unsorted, b"empty", b"");
    let mut appender = store.tsdb.appender().unwrap();
    assert_eq!(appender.series(&canonical), appender.series(&unsorted));
    drop(appender);
    assert_eq!(store.tsdb.stats().series, 1);
    store.check("one series");
    store.scratch.passed();
}

#[test]
fn a_series_whose_samples_are_all_refused_is_not_kept() {
    let mut store = Store::new("no-empty-series", Options::default());
    let (a, b) = (labels("a", 0), labels("b", 0));
    assert!(store.append(&[(&a, 10_000_000, 1.0)])[0].is_ok());
    for _ in 0..3 {
        let result = store.append(&[(&b, 0, 1.0)]).remove(0);
        assert!(matches!(result, Err(Refusal::TooOld { .. })));
    }
    assert_eq!(store.tsdb.stats().series, 1);
    assert_eq!(store.tsdb.stats().symbol_bytes, "__name__aijobstorage0".len() as u64);
    store.check("only the first series");
    store.scratch.passed();
}
