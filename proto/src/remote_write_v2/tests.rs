//! Requests by hand: every part handed out, every rule broken once, every error where it belongs.

use prost::Message;

use super::*;
use crate::prometheus_v2 as v2;
use crate::wire::WireFault;

const SYMBOLS: [&str; 7] = ["", "__name__", "up", "job", "a", "trace", "ff"];

fn symbols() -> Vec<String> {
    SYMBOLS.map(str::to_owned).into()
}

fn series() -> v2::TimeSeries {
    v2::TimeSeries {
        labels_refs: vec![1, 2, 3, 4],
        samples: vec![v2::Sample { value: 1.5, timestamp: -5, start_timestamp: 7 }],
        exemplars: vec![v2::Exemplar { labels_refs: vec![5, 6], value: 2.5, timestamp: 9 }],
        metadata: Some(v2::Metadata { r#type: 1, help_ref: 2, unit_ref: 0 }),
        ..Default::default()
    }
}

fn encode(symbols: Vec<String>, timeseries: Vec<v2::TimeSeries>) -> Vec<u8> {
    v2::Request { symbols, timeseries }.encode_to_vec()
}

fn only(body: &[u8]) -> TimeSeries<'_> {
    time_series(body).next().unwrap().unwrap()
}

/// A field of a request or a series: one-byte tag, one-byte length.
fn field(tag: u32, body: &[u8]) -> Vec<u8> {
    [&[tag as u8, body.len() as u8], body].concat()
}

#[test]
fn hands_out_every_part() {
    let histogram = v2::Histogram { sum: 2.5, ..Default::default() };
    let of_histograms = v2::TimeSeries { samples: vec![], histograms: vec![histogram.clone()], ..series() };
    let body = encode(symbols(), vec![series(), of_histograms]);
    let mut table = SymbolTable::default();
    let symbols = table.read(&body).unwrap();
    assert_eq!((symbols.len(), symbols.get(2), symbols.get(7)), (7, Some(&b"up"[..]), None));

    let walked: Vec<_> = time_series(&body).map(Result::unwrap).collect();
    let [floats, histograms] = walked[..] else { panic!("{walked:?}") };
    let labels: Vec<_> =
        floats.labels(symbols).map(Result::unwrap).map(|label| (label.name, label.value)).collect();
    assert_eq!(labels, [(&b"__name__"[..], &b"up"[..]), (b"job", b"a")]);
    let sample = floats.samples().next().unwrap().unwrap();
    assert_eq!((sample.value, sample.timestamp, sample.start_timestamp), (1.5, -5, 7));
    let exemplar = floats.exemplars().next().unwrap().unwrap();
    assert_eq!((exemplar.value, exemplar.timestamp), (2.5, 9));
    assert_eq!(exemplar.label_refs().labels(symbols).next().unwrap().unwrap().value, b"ff");
    let metadata = floats.metadata().unwrap().unwrap();
    assert_eq!((metadata.metric_type, metadata.help_ref, metadata.unit_ref), (1, 2, 0));
    assert_eq!(floats.check(symbols), Ok(Contents { samples: 1, histograms: 0, exemplars: 1 }));
    assert_eq!(histograms.check(symbols), Ok(Contents { samples: 0, histograms: 1, exemplars: 1 }));
    assert_eq!(v2::Histogram::decode(histograms.histograms().next().unwrap().unwrap()).unwrap(), histogram);

    // Symbols and a slice of one series are a request with this series.
    let copy = [symbols.run().unwrap(), histograms.field()].concat();
    let copy = v2::Request::decode(&copy[..]).unwrap();
    assert_eq!((copy.symbols.len(), copy.timeseries[0].histograms.len()), (7, 1));
}

#[test]
fn references_packed_single_and_both() {
    for refs in [
        &[0x0a, 4, 1, 2, 3, 4][..],
        &[0x08, 1, 0x08, 2, 0x08, 3, 0x08, 4],
        &[0x0a, 3, 1, 2, 3, 0x08, 4],
        &[0x08, 1, 0x0a, 0, 0x0a, 2, 2, 3, 0x12, 0, 0x08, 4],
        // A reference of five bytes, with bits beyond the 32nd.
        &[0x0a, 8, 0x81, 0x80, 0x80, 0x80, 0x70, 2, 3, 4],
    ] {
        let body = field(0x2a, refs);
        let walked: Vec<_> = only(&body).label_refs().map(Result::unwrap).collect();
        assert_eq!(walked, [1, 2, 3, 4], "{refs:?}");
    }
}

#[test]
fn symbols_stand_anywhere() {
    let series = field(0x2a, &[0x0a, 2, 1, 1]);
    let body = [&series[..], &field(0x22, b""), &series, &field(0x22, b"name")].concat();
    let mut table = SymbolTable::default();
    let symbols = table.read(&body).unwrap();
    assert_eq!((symbols.len(), symbols.get(1), symbols.run()), (2, Some(&b"name"[..]), None));
    let mut copy = Vec::new();
    symbols.append_to(&mut copy);
    assert_eq!(copy, [field(0x22, b""), field(0x22, b"name")].concat());
    for series in time_series(&body) {
        assert_eq!(series.unwrap().labels(symbols).next().unwrap().unwrap().name, b"name");
    }
    // One table serves many requests.
    let symbols = table.read(&[]).unwrap();
    assert!(symbols.is_empty() && symbols.get(0).is_none() && symbols.run() == Some(&[]));
    assert!(table.bytes() >= 8);
}

#[test]
fn the_first_symbol_is_empty() {
    let body = encode(vec!["up".into(), String::new()], vec![]);
    let error = SymbolTable::default().read(&body).unwrap_err();
    assert_eq!(error, RequestError::FirstSymbol { bytes: 2 });
    assert_eq!(error.to_string(), "the first symbol has 2 bytes; it must be empty");
}

#[test]
fn rules_of_a_series() {
    let check = |series: v2::TimeSeries| {
        let body = encode(symbols(), vec![series]);
        only(&body).check(SymbolTable::default().read(&body).unwrap())
    };
    let beyond = |reference| Err(SeriesError::RefRange { reference, symbols: 7 });
    assert!(check(series()).is_ok());
    assert_eq!(check(v2::TimeSeries { labels_refs: vec![1, 2, 3], ..series() }), Err(SeriesError::OddRefs));
    assert_eq!(check(v2::TimeSeries { labels_refs: vec![1, 7], ..series() }), beyond(7));
    assert_eq!(check(v2::TimeSeries { samples: vec![], ..series() }), Err(SeriesError::NoSamples));
    let histograms = vec![v2::Histogram::default()];
    assert_eq!(check(v2::TimeSeries { histograms, ..series() }), Err(SeriesError::TwoKinds));
    let exemplar = |labels_refs| vec![v2::Exemplar { labels_refs, ..Default::default() }];
    assert_eq!(check(v2::TimeSeries { exemplars: exemplar(vec![9, 1]), ..series() }), beyond(9));
    assert_eq!(check(v2::TimeSeries { exemplars: exemplar(vec![1]), ..series() }), Err(SeriesError::OddRefs));
    for (help_ref, unit_ref, reference) in [(7, 0, 7), (0, 8, 8)] {
        let metadata = Some(v2::Metadata { r#type: 0, help_ref, unit_ref });
        assert_eq!(check(v2::TimeSeries { metadata, ..series() }), beyond(reference));
    }
}

#[test]
fn labels_end_with_the_first_bad_reference() {
    let body = encode(symbols(), vec![v2::TimeSeries { labels_refs: vec![1, 2, 3, 99, 1, 2], ..series() }]);
    let mut table = SymbolTable::default();
    let mut labels = only(&body).labels(table.read(&body).unwrap());
    assert!(labels.next().unwrap().is_ok());
    assert_eq!(labels.next(), Some(Err(SeriesError::RefRange { reference: 99, symbols: 7 })));
    assert_eq!(labels.next(), None);
}

#[test]
fn a_creation_time_of_old_senders_is_skipped() {
    let body = field(0x2a, &[0x12, 2, 0x10, 1, 0x30, 0x85, 0x01]);
    assert_eq!(only(&body).check(SymbolTable::default().read(&body).unwrap()).unwrap().samples, 1);
}

#[test]
fn errors_say_where() {
    let fault = |body: &[u8]| {
        let mut table = SymbolTable::default();
        let error = match table.read(body) {
            Err(RequestError::Wire(error)) => error,
            Err(error) => panic!("{error}"),
            Ok(symbols) => {
                let errors = time_series(body).filter_map(|series| match series.unwrap().check(symbols) {
                    Err(SeriesError::Wire(error)) => Some(error),
                    _ => None,
                });
                { errors }.next().unwrap()
            }
        };
        (error.offset, error.what)
    };
    assert_eq!(fault(&[0x22, 5, 0]), (1, WireFault::Truncated), "a symbol beyond the end");
    assert_eq!(fault(&[0x20, 0]), (0, WireFault::WireType), "symbols as varints");
    assert_eq!(fault(&[0x2a, 2, 0x0d, 0]), (2, WireFault::WireType), "references as fixed32");
    assert_eq!(fault(&[0x2a, 3, 0x0a, 1, 0x80]), (4, WireFault::Truncated), "half a reference");
    assert_eq!(fault(&[0x2a, 2, 0x10, 0]), (2, WireFault::WireType), "samples as a varint");
    assert_eq!(fault(&[0x2a, 4, 0x12, 2, 0x1a, 0]), (4, WireFault::WireType), "start as bytes");
    assert_eq!(fault(&[0x2a, 4, 0x22, 2, 0x10, 0]), (4, WireFault::WireType), "exemplar's value as a varint");
    assert_eq!(fault(&[0x2a, 4, 0x2a, 2, 0x1a, 0]), (4, WireFault::WireType), "help as bytes");
    assert_eq!(fault(&[0x2a, 2, 0x28, 0]), (2, WireFault::WireType), "metadata as a varint");
}

#[test]
fn labels_end_where_they_are_too_long_together() {
    let symbols = vec![String::new(), "x".repeat(LABEL_BYTES_MAX), "y".to_owned()];
    let series = |labels_refs| v2::TimeSeries { labels_refs, ..Default::default() };
    let body = encode(symbols, vec![series(vec![0, 1]), series(vec![2, 2, 2, 1, 2, 2])]);
    let mut table = SymbolTable::default();
    let symbols = table.read(&body).unwrap();
    let walked: Vec<_> = time_series(&body).map(Result::unwrap).collect();
    assert!(walked[0].labels(symbols).all(|label| label.is_ok()));
    assert_eq!(walked[0].label_bytes(symbols), LABEL_BYTES_MAX);
    let labels: Vec<_> = walked[1].labels(symbols).map(|label| label.map(|label| label.bytes())).collect();
    assert_eq!(labels, [Ok(2), Err(SeriesError::LabelBytes)]);
    assert_eq!(walked[1].label_bytes(symbols), 2);
    let mut expansion = Expansion::default();
    assert_eq!(expansion.add(EXPANDED_BYTES_MAX), Ok(()));
    assert_eq!(expansion.add(1), Err(RequestError::Expanded));
}

#[test]
fn a_survey_finds_every_reference() {
    let mut series = series();
    series.metadata = Some(v2::Metadata { r#type: 1, help_ref: 2, unit_ref: 5 });
    let body = encode(symbols(), vec![series]);
    let survey = |body: &[u8]| {
        let mut found = std::collections::BTreeSet::new();
        let survey = only(body).survey(|reference| found.extend([reference])).unwrap();
        (found.into_iter().collect::<Vec<_>>(), survey)
    };
    let contents = Contents { samples: 1, histograms: 0, exemplars: 1 };
    let expected = Survey { contents, has_unknown_fields: false };
    assert_eq!(survey(&body), (vec![1, 2, 3, 4, 5, 6], expected));
    // Single references; a creation time of old senders; a field of senders to come, at each level.
    let has_unknown = |series: &[u8]| survey(&field(0x2a, series)).1.has_unknown_fields;
    assert_eq!(survey(&field(0x2a, &[0x08, 9, 0x30, 1])).0, [9]);
    assert!(!has_unknown(&[0x08, 9, 0x30, 1]));
    assert!(has_unknown(&[0x38, 1]));
    assert!(!has_unknown(&[0x22, 4, 0x08, 1, 0x18, 1]) && has_unknown(&[0x22, 2, 0x20, 1]));
    assert!(!has_unknown(&[0x2a, 4, 0x08, 1, 0x18, 1]) && has_unknown(&[0x2a, 2, 0x28, 1]));
}

#[test]
fn symbols_that_are_not_wanted_are_empty() {
    let body = encode(symbols(), vec![]);
    let mut table = SymbolTable::default();
    let symbols = table.read(&body).unwrap();
    let mut copy = Vec::new();
    symbols.append_wanted_to(|reference| matches!(reference, 2 | 4), &mut copy);
    assert_eq!(v2::Request::decode(&copy[..]).unwrap().symbols, ["", "", "up", "", "a"]);
    copy.clear();
    symbols.append_wanted_to(|_| false, &mut copy);
    assert!(copy.is_empty());
    symbols.append_wanted_to(|_| true, &mut copy);
    assert_eq!(copy, symbols.run().unwrap());
}
