//! Bodies in both forms: every series on exactly its replicas, bytes untouched, and nothing believed of a body
//! before it is checked.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::collections::BTreeMap;

use prost::Message as _;
use ringside_hashring::{Endpoint, Hashring, SeriesHasher, series_hash};
use ringside_proto::limits::ContentLimits;
use ringside_proto::prometheus::{Label, MetricMetadata, Sample, TimeSeries, WriteRequest};
use ringside_proto::prometheus_v2 as v2;
use ringside_proto::remote_write::time_series;
use ringside_proto::remote_write_v2::{EXPANDED_BYTES_MAX, LABEL_BYTES_MAX, RequestError};
use ringside_proto::snappy::SnappyError;
use ringside_proto::{LABELS_MAX, Protocol};

use super::judge::SERIES_MAX;
use super::{BodyError, Form, Incoming, Plan, Splitter};

mod limited;
#[cfg(not(target_arch = "wasm32"))]
mod repeated;
#[cfg(not(target_arch = "wasm32"))]
mod versions;

const MAX: usize = 1 << 20;

fn ring(endpoints: usize) -> Hashring {
    let endpoint = |n| Endpoint { address: format!("node-{n}"), az: String::new() };
    Hashring::ketama((1..=endpoints).map(endpoint).collect(), 3).unwrap()
}

fn series(labels: &[(&str, &str)], timestamp: i64) -> TimeSeries {
    let label = |&(name, value): &(&str, &str)| Label { name: name.to_owned(), value: value.to_owned() };
    TimeSeries {
        labels: labels.iter().map(label).collect(),
        samples: vec![Sample { value: 1.5, timestamp }],
        ..TimeSeries::default()
    }
}

fn many(count: usize) -> Vec<TimeSeries> {
    let one = |n| series(&[("__name__", "up"), ("instance", &format!("host-{n}")), ("job", "test")], 1000);
    (0..count).map(one).collect()
}

fn compress(request: &WriteRequest) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(&request.encode_to_vec()).unwrap()
}

fn body(timeseries: Vec<TimeSeries>) -> Vec<u8> {
    compress(&WriteRequest { timeseries, metadata: Vec::new() })
}

fn decode(part: &[u8]) -> WriteRequest {
    let raw = snap::raw::Decoder::new().decompress_vec(part).unwrap();
    WriteRequest::decode(raw.as_slice()).unwrap()
}

fn incoming(tenant: &str, protocol: Protocol, decoded_bytes_max: usize) -> Incoming<'_> {
    let limits = ContentLimits::default();
    Incoming { tenant, protocol, limits, counts_samples: false, looks_inside: false, decoded_bytes_max }
}

fn plan(ring: &Hashring, body: Vec<u8>) -> Result<Plan, BodyError> {
    Splitter::default().plan(ring, &incoming("default-tenant", Protocol::V1, MAX), body)
}

fn sorted_labels(series: &TimeSeries) -> Vec<(&[u8], &[u8])> {
    let mut labels: Vec<_> =
        series.labels.iter().map(|label| (label.name.as_bytes(), label.value.as_bytes())).collect();
    labels.sort_by_key(|(name, _)| *name);
    labels
}

/// Checks a split plan against the ring itself, series by series.
fn check_split(ring: &Hashring, sent: &[TimeSeries], plan: &Plan) {
    assert_eq!(plan.form, Form::Split);
    let got: BTreeMap<usize, WriteRequest> =
        plan.parts.iter().map(|part| (part.endpoint.get(), decode(&part.body))).collect();
    assert_eq!(got.len(), plan.parts.len(), "one part per sidecar");
    let mut copies = 0;
    for series in sent {
        let hash = series_hash("default-tenant", sorted_labels(series));
        let wanted = ring.replicas(hash);
        for (endpoint, part) in &got {
            let here = part.timeseries.iter().filter(|other| *other == series).count();
            let there = sent.iter().filter(|other| *other == series).count();
            let expected = if wanted.iter().any(|index| index.get() == *endpoint) { there } else { 0 };
            assert_eq!(here, expected);
        }
        copies += wanted.len();
    }
    assert_eq!(copies, got.values().map(|part| part.timeseries.len()).sum::<usize>());
    check_layout(sent, plan);
}

/// Checks that the layout leads from every index of every part to the series of the client.
fn check_layout(sent: &[TimeSeries], plan: &Plan) {
    let mut seen = vec![0; sent.len()];
    for set in plan.layout.sets() {
        for place in 0..set.len.unwrap() {
            let index = plan.layout.client_index(set, place) as usize;
            seen[index] += 1;
            for member in &set.members {
                let part = decode(&plan.parts[usize::from(member.part)].body);
                assert_eq!(part.timeseries[(member.first + place) as usize], sent[index]);
            }
        }
    }
    assert!(seen.iter().all(|times| *times == 1), "each series is in one set, once");
    for (number, part) in (0..).zip(&plan.parts) {
        let series = decode(&part.body).timeseries.len() as u32;
        assert!(plan.layout.holds(number, series - 1) && !plan.layout.holds(number, series));
    }
}

#[test]
fn a_ring_of_as_many_as_replicas_gets_the_body_as_it_came() {
    let sent = body(many(10));
    let plan = plan(&ring(3), sent.clone()).unwrap();
    assert_eq!(plan.form, Form::Unchanged);
    assert_eq!(plan.parts.len(), 3);
    assert!(plan.parts.iter().all(|part| *part.body == sent));
    let mut endpoints: Vec<_> = plan.parts.iter().map(|part| part.endpoint.get()).collect();
    endpoints.sort_unstable();
    assert_eq!(endpoints, [0, 1, 2]);
}

#[test]
fn an_unchanged_body_is_not_looked_into() {
    // Declares five bytes and holds none that snappy knows: for the sidecars to refuse.
    assert!(plan(&ring(3), b"\x05\xff\xff\xff\xff".to_vec()).is_ok());
}

#[test]
fn an_unchanged_body_is_counted_where_nobody_else_does_it() {
    let plan = |endpoints, protocol, counts_samples, looks_inside, body| {
        let incoming = Incoming { counts_samples, looks_inside, ..incoming("t", protocol, MAX) };
        Splitter::default().plan(&ring(endpoints), &incoming, body)
    };
    let v2 = || body_v2(&["", "a", "b"], &[&[1, 2], &[1, 1], &[2, 2]]);
    for (protocol, body, samples) in [(Protocol::V1, body(many(10)), 10), (Protocol::V2, v2(), 3)] {
        let counted = plan(3, protocol, true, true, body.clone()).unwrap();
        assert_eq!((counted.form, counted.samples), (Form::Unchanged, Some(samples)));
        assert!(counted.parts.iter().all(|part| *part.body == body));
        for (counts_samples, looks_inside) in [(true, false), (false, true)] {
            let uncounted = plan(3, protocol, counts_samples, looks_inside, body.clone()).unwrap();
            assert_eq!((uncounted.form, uncounted.samples), (Form::Unchanged, None));
        }
    }
    let garbage = plan(3, Protocol::V1, true, true, b"\x05\xff\xff\xff\xff".to_vec());
    assert!(matches!(garbage, Err(BodyError::Snappy(SnappyError::NotSnappy { .. }))), "{garbage:?}");
}

#[test]
fn a_larger_ring_gets_each_series_on_its_replicas_only() {
    for endpoints in [4, 5, 9] {
        let ring = ring(endpoints);
        for count in [1, 2, 300] {
            let sent = many(count);
            check_split(&ring, &sent, &plan(&ring, body(sent.clone())).unwrap());
        }
    }
}

#[test]
fn one_splitter_for_many_requests_and_rings() {
    let mut splitter = Splitter::default();
    let incoming = incoming("default-tenant", Protocol::V1, MAX);
    for (endpoints, count) in [(5, 300), (9, 3), (4, 500), (5, 1), (9, 300)] {
        let (ring, sent) = (ring(endpoints), many(count));
        let plan = splitter.plan(&ring, &incoming, body(sent.clone())).unwrap();
        check_split(&ring, &sent, &plan);
        assert!(splitter.plan(&ring, &incoming, b"\x0a\x24garbage##".to_vec()).is_err());
    }
}

#[test]
fn labels_in_any_order_are_one_series() {
    let ring = ring(9);
    let sorted = series(&[("__name__", "up"), ("instance", "a"), ("job", "x")], 1);
    let shuffled = series(&[("job", "x"), ("__name__", "up"), ("instance", "a")], 2);
    let endpoints = |one: &TimeSeries| {
        let plan = plan(&ring, body(vec![one.clone()])).unwrap();
        plan.parts.iter().map(|part| part.endpoint).collect::<Vec<_>>()
    };
    assert_eq!(endpoints(&sorted), endpoints(&shuffled));
    let both = vec![sorted, shuffled];
    check_split(&ring, &both, &plan(&ring, body(both.clone())).unwrap());
}

#[test]
fn invalid_labels_are_for_the_sidecars_to_refuse() {
    let sent = vec![
        series(&[("a", "1"), ("a", "2")], 1),
        series(&[("", "x")], 1),
        series(&[], 1),
        series(&[("__name__", "up"), ("job", "")], 1),
    ];
    let ring = ring(5);
    check_split(&ring, &sent, &plan(&ring, body(sent.clone())).unwrap());
}

#[test]
fn the_same_series_twice_keeps_its_order() {
    let ring = ring(5);
    let twice = vec![series(&[("a", "1")], 1), series(&[("b", "1")], 1), series(&[("a", "1")], 2)];
    let plan = plan(&ring, body(twice)).unwrap();
    for part in &plan.parts {
        let times: Vec<_> = decode(&part.body)
            .timeseries
            .iter()
            .filter(|series| series.labels[0].name == "a")
            .map(|series| series.samples[0].timestamp)
            .collect();
        assert!(times.is_empty() || times == [1, 2]);
    }
}

#[test]
fn no_series_no_parts() {
    let metadata = vec![MetricMetadata { help: "h".to_owned(), ..MetricMetadata::default() }];
    let only_metadata = compress(&WriteRequest { timeseries: Vec::new(), metadata });
    for empty in [only_metadata, body(Vec::new())] {
        assert!(plan(&ring(5), empty).unwrap().parts.is_empty());
    }
}

#[test]
fn declared_lengths_are_judged_before_anything_else() {
    for ring in [ring(3), ring(5)] {
        let error = |body: &[u8]| plan(&ring, body.to_vec()).unwrap_err();
        assert_eq!(error(b""), BodyError::Snappy(SnappyError::Empty));
        let four_gib = b"\xff\xff\xff\xff\x0f\x00\x00";
        assert_eq!(error(four_gib), SnappyError::TooLarge { declared: u32::MAX as usize, max: MAX }.into());
        assert!(matches!(
            error(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
            BodyError::Snappy(SnappyError::NotSnappy { .. })
        ));
        assert!(
            matches!(error(b"\x80"), BodyError::Snappy(SnappyError::NotSnappy { .. })),
            "an unfinished length"
        );
        // A megabyte cannot come out of seven bytes.
        assert!(matches!(
            error(b"\x80\x80\x40\x00\x00\x00\x00"),
            BodyError::Snappy(SnappyError::NotSnappy { .. })
        ));
    }
}

#[test]
fn the_best_compression_is_not_taken_for_a_lie() {
    let zeros = snap::raw::Encoder::new().compress_vec(&vec![0; MAX]).unwrap();
    // All zeros is no WriteRequest; but it is snappy, and the sidecars or the walk will say so.
    assert!(plan(&ring(3), zeros.clone()).is_ok());
    assert!(matches!(plan(&ring(5), zeros), Err(BodyError::Malformed(_))));
}

#[test]
fn what_is_not_a_write_request_is_refused_with_an_offset() {
    let raw = |bytes: &[u8]| snap::raw::Encoder::new().compress_vec(bytes).unwrap();
    let error = |bytes: &[u8]| plan(&ring(5), raw(bytes)).unwrap_err();
    let truncated = WriteRequest { timeseries: many(3), metadata: Vec::new() }.encode_to_vec();
    assert!(matches!(error(&truncated[..truncated.len() - 4]), BodyError::Malformed(_)));
    let BodyError::Malformed(fault) = error(&[0x0a, 2, 0x0a, 9]) else { panic!() };
    let RequestError::Wire(fault) = fault else { panic!() };
    assert_eq!(fault.offset, 3, "within the second length");
    assert!(matches!(
        plan(&ring(5), b"\x09\x20abcdefgh".to_vec()),
        Err(BodyError::Snappy(SnappyError::NotSnappy { .. }))
    ));
}

#[test]
fn the_number_of_series_is_bounded() {
    let empty_series = |count: usize| {
        let raw = [0x0a, 0].repeat(count);
        let body = snap::raw::Encoder::new().compress_vec(&raw).unwrap();
        Splitter::default().plan(&ring(5), &incoming("t", Protocol::V1, 32 << 20), body)
    };
    assert!(empty_series(SERIES_MAX).is_ok());
    assert_eq!(empty_series(SERIES_MAX + 1).unwrap_err(), BodyError::TooManySeries { max: SERIES_MAX });
}

#[test]
fn labels_beyond_what_a_sidecar_takes_are_not_collected() {
    let unsorted = |more: usize| {
        let mut inner = vec![0x0a, 3, 0x0a, 1, b'a'];
        inner.extend([0x0a, 0].repeat(more));
        let mut raw = vec![0x0a];
        prost::encode_length_delimiter(inner.len(), &mut raw).unwrap();
        raw.extend(inner);
        raw
    };
    for (more, is_sorted) in [(LABELS_MAX - 1, true), (LABELS_MAX, false), (1_000_000, false)] {
        let raw = unsorted(more);
        let series = time_series(&raw).next().unwrap().unwrap();
        let mut labels: Vec<_> = series.labels().map(|l| l.map(|l| (l.name, l.value)).unwrap()).collect();
        if is_sorted {
            labels.sort_by_key(|(name, _)| *name);
        }
        let mut collected = Vec::new();
        let hash = super::hash(&mut SeriesHasher::new("t"), &series, &mut collected).unwrap();
        assert_eq!(hash, series_hash("t", labels), "{more}");
        assert!(collected.capacity() <= 2 * LABELS_MAX, "{}", collected.capacity());
    }

    let body = snap::raw::Encoder::new().compress_vec(&unsorted(1_000_000)).unwrap();
    let plan = Splitter::default().plan(&ring(5), &incoming("t", Protocol::V1, 32 << 20), body).unwrap();
    assert_eq!(plan.parts.len(), 3, "its replicas refuse it");
}

#[test]
fn large_buffers_are_given_back() {
    let mut splitter = Splitter::default();
    let ring = ring(5);
    let long = "x".repeat(9 << 20);
    let large = body(vec![series(&[("a", &long)], 1)]);
    splitter.plan(&ring, &incoming("t", Protocol::V1, 32 << 20), large).unwrap();
    assert!(splitter.decoded.capacity() + splitter.packer.capacity() < 1 << 20);
}

/// A body of remote write 2.0: the symbols, and series of these references with one sample each.
fn body_v2(symbols: &[&str], series: &[&[u32]]) -> Vec<u8> {
    let one = |refs: &&[u32]| v2::TimeSeries {
        labels_refs: refs.to_vec(),
        samples: vec![v2::Sample { value: 1.0, timestamp: 5, start_timestamp: 0 }],
        ..Default::default()
    };
    let request = v2::Request {
        symbols: symbols.iter().map(|&symbol| symbol.to_owned()).collect(),
        timeseries: series.iter().map(one).collect(),
    };
    snap::raw::Encoder::new().compress_vec(&request.encode_to_vec()).unwrap()
}

fn plan_v2(ring: &Hashring, body: Vec<u8>) -> Result<Plan, BodyError> {
    Splitter::default().plan(ring, &incoming("default-tenant", Protocol::V2, MAX), body)
}

#[test]
fn a_part_of_2_0_carries_the_symbols_that_it_needs() {
    let ring = ring(5);
    let both = plan_v2(&ring, body_v2(&["", "a", "1", "2"], &[&[1, 2], &[1, 3]])).unwrap();
    assert_eq!(both.form, Form::Split);
    let mut copies = 0;
    for part in &both.parts {
        let raw = snap::raw::Decoder::new().decompress_vec(&part.body).unwrap();
        let request = v2::Request::decode(raw.as_slice()).unwrap();
        for series in &request.timeseries {
            let label = |at: usize| &*request.symbols[series.labels_refs[at] as usize];
            assert_eq!(label(0), "a");
            assert!(["1", "2"].contains(&label(1)));
        }
        let carried = request.symbols.iter().filter(|symbol| !symbol.is_empty()).count();
        assert_eq!(carried, 1 + request.timeseries.len(), "and no others");
        copies += request.timeseries.len();
    }
    assert_eq!(copies, 6, "each series on three sidecars");
    let one_of_1_0 = plan(&ring, body(vec![series(&[("a", "1")], 5)])).unwrap();
    let alone = plan_v2(&ring, body_v2(&["", "1", "a"], &[&[2, 1]])).unwrap();
    let endpoints = |plan: &Plan| plan.parts.iter().map(|part| part.endpoint).collect::<Vec<_>>();
    assert_eq!(endpoints(&alone), endpoints(&one_of_1_0), "one series, whatever the version");
}

#[test]
fn references_that_lead_nowhere_are_for_the_sidecars_to_refuse() {
    for refs in [&[1, 9][..], &[9, 1], &[1, 2, 1], &[1]] {
        let plan = plan_v2(&ring(5), body_v2(&["", "a", "1"], &[refs])).unwrap();
        assert_eq!(plan.parts.len(), 3, "{refs:?}");
    }
}

/// References of a byte that stand for MiBs: the work that they make is bounded, not only the memory.
#[test]
fn what_references_stand_for_is_bounded() {
    let incoming = incoming("t", Protocol::V2, 32 << 20);
    let plan = |body| Splitter::default().plan(&ring(5), &incoming, body);
    let long = "x".repeat(LABEL_BYTES_MAX - 1);
    let symbols = ["", "a", &long, "b"];
    // A label that goes beyond what a series may have ends its labels here, and its sidecars refuse it.
    let refs = [&[1, 2][..], &[3, 2].repeat(4_000_000)].concat();
    assert_eq!(plan(body_v2(&symbols, &[&refs])).unwrap().parts.len(), 3);
    let most = EXPANDED_BYTES_MAX / LABEL_BYTES_MAX;
    assert!(plan(body_v2(&symbols, &vec![&[1, 2][..]; most])).is_ok());
    let error = plan(body_v2(&symbols, &vec![&[1, 2][..]; 500_000])).unwrap_err();
    assert_eq!(error, BodyError::Malformed(RequestError::Expanded));
    assert_eq!(crate::reply::Response::unusable_body(&error).status, 413);
}

#[test]
fn a_request_of_2_0_that_is_none_is_refused() {
    let error = plan_v2(&ring(5), body_v2(&["a"], &[])).unwrap_err();
    assert_eq!(error, BodyError::Malformed(RequestError::FirstSymbol { bytes: 1 }));
    let raw = |bytes: &[u8]| snap::raw::Encoder::new().compress_vec(bytes).unwrap();
    for broken in [&[0x2a, 2, 0x12, 9][..], &[0x22, 9], &[0x2a, 3, 0x0a, 1, 0x80]] {
        assert!(matches!(plan_v2(&ring(5), raw(broken)), Err(BodyError::Malformed(_))), "{broken:?}");
    }
    assert!(plan_v2(&ring(5), body_v2(&[""], &[])).unwrap().parts.is_empty(), "no series, no parts");
    // With as many sidecars as replicas they are the ones to say so.
    assert_eq!(plan_v2(&ring(3), body_v2(&["a"], &[])).unwrap().form, Form::Unchanged);
}

#[test]
fn a_field_of_senders_to_come_may_need_any_symbol() {
    let symbol = |text: &[u8]| [&[0x22, text.len() as u8][..], text].concat();
    // A label and a sample, then a field of number 9 that refers to symbol 3.
    let series = [&[0x2a, 8, 0x0a, 2, 1, 2, 0x12, 0, 0x48, 3][..]].concat();
    let raw = [symbol(b""), symbol(b"a"), symbol(b"1"), symbol(b"x"), series].concat();
    let parts = plan_v2(&ring(5), snap::raw::Encoder::new().compress_vec(&raw).unwrap()).unwrap().parts;
    assert_eq!(parts.len(), 3);
    for part in parts {
        assert_eq!(snap::raw::Decoder::new().decompress_vec(&part.body).unwrap(), raw);
    }
}

#[test]
fn many_symbols_on_many_sidecars_are_not_sorted_out() {
    let symbols: Vec<String> =
        (0..300_000).map(|n| if n == 0 { String::new() } else { n.to_string() }).collect();
    let symbols: Vec<&str> = symbols.iter().map(String::as_str).collect();
    let refs: Vec<[u32; 2]> = (1..300).map(|n| [n, n + 1000]).collect();
    let series: Vec<&[u32]> = refs.iter().map(|refs| &refs[..]).collect();
    let body = body_v2(&symbols, &series);
    let incoming = incoming("t", Protocol::V2, 32 << 20);
    let parts = Splitter::default().plan(&ring(9), &incoming, body).unwrap().parts;
    for part in parts {
        let raw = snap::raw::Decoder::new().decompress_vec(&part.body).unwrap();
        let request = v2::Request::decode(raw.as_slice()).unwrap();
        assert_eq!(request.symbols, symbols);
    }
}

/// What every part carries is bounded: a symbol that all series have, or all symbols where nobody knows which are meant.
#[test]
fn parts_that_are_too_large_together_are_refused() {
    let refs: Vec<[u32; 4]> = (0..200).map(|n| [1, 3 + n, 1, 2]).collect();
    let refused = |endpoints, large: usize, unknown| {
        let mut symbols = vec![String::new(), "a".to_owned(), "x".repeat(large)];
        symbols.extend((0..200).map(|n| n.to_string()));
        let mut request = v2::Request { symbols, ..Default::default() }.encode_to_vec();
        for refs in &refs {
            // Known fields: all series refer to the large symbol. Else field 7, of four bytes, and none does.
            let (refs, further) =
                if unknown { (&refs[..2], &[0x3d, 0, 0, 0, 0][..]) } else { (&refs[..], &[][..]) };
            let series = v2::TimeSeries { labels_refs: refs.to_vec(), ..Default::default() };
            let series = [&series.encode_to_vec(), further].concat();
            request.extend([&[0x2a, series.len() as u8][..], &series].concat());
        }
        let body = snap::raw::Encoder::new().compress_vec(&request).unwrap();
        match plan_v2(&ring(endpoints), body) {
            Ok(plan) => {
                assert_eq!(plan.parts.len(), endpoints);
                false
            }
            Err(BodyError::PartsTooLarge { max }) => {
                assert_eq!(max, 4 * MAX);
                true
            }
            Err(error) => panic!("{error}"),
        }
    };
    for unknown in [false, true] {
        assert!(!refused(40, MAX / 20, unknown));
        assert!(refused(40, MAX / 2, unknown));
        assert!(!refused(4, MAX / 2, unknown));
    }
}
