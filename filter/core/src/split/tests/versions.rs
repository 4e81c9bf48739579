//! One set of series in both versions of remote write, labels in any order: each series goes to the same sidecars, and
//! what arrives there is what was sent.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message as _;
use ringside_hashring::{Hashring, series_hash};
use ringside_proto::Protocol;
use ringside_proto::prometheus::{Label, Sample, TimeSeries, WriteRequest};
use ringside_proto::prometheus_v2 as v2;
use ringside_proto::remote_write_v2::Contents;

use super::{incoming, ring};
use crate::split::{Form, Plan, Splitter};

/// A series of the model: its labels in order of name, and how much it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Model {
    labels: BTreeMap<String, String>,
    contents: [usize; 3],
}

fn models() -> impl Strategy<Value = Vec<Model>> {
    let labels = proptest::collection::btree_map("[a-d]{1,2}", "[x-z]{0,2}", 0..5);
    let model = (labels, 0_usize..3, 0_usize..3, 0_usize..3);
    let model = model.prop_map(|(labels, samples, histograms, exemplars)| Model {
        labels,
        contents: [samples, histograms, exemplars],
    });
    vec(model, 0..30)
}

/// The labels of a model in another order, the same for the same seed.
fn shuffled(model: &Model, seed: usize) -> Vec<(&str, &str)> {
    let mut labels: Vec<_> = model.labels.iter().map(|(name, value)| (&**name, &**value)).collect();
    if !labels.is_empty() {
        let at = seed % labels.len();
        labels.rotate_left(at);
    }
    labels
}

fn compress(raw: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(raw).unwrap()
}

/// The number of the series stands in its timestamps.
fn body_v1(models: &[Model], seed: usize) -> Vec<u8> {
    let series = |(number, model): (i64, &Model)| {
        let labels = shuffled(model, seed).into_iter();
        TimeSeries {
            labels: labels.map(|(name, value)| Label { name: name.into(), value: value.into() }).collect(),
            samples: vec![Sample { value: 1.0, timestamp: number }],
            ..TimeSeries::default()
        }
    };
    let timeseries = (0..).zip(models).map(series).collect();
    compress(&WriteRequest { timeseries, metadata: vec![] }.encode_to_vec())
}

fn request_v2(models: &[Model], seed: usize) -> v2::Request {
    let mut symbols = vec![String::new()];
    let mut refs = BTreeMap::new();
    let mut reference = |text: &str| {
        *refs.entry(text.to_owned()).or_insert_with(|| {
            symbols.push(text.to_owned());
            symbols.len() as u32 - 1
        })
    };
    let series = |(number, model): (i64, &Model)| {
        let labels = shuffled(model, seed);
        let [samples, histograms, exemplars] = model.contents;
        v2::TimeSeries {
            labels_refs: labels
                .iter()
                .flat_map(|(name, value)| [reference(name), reference(value)])
                .collect(),
            samples: vec![v2::Sample { timestamp: number, ..Default::default() }; samples],
            histograms: vec![v2::Histogram { timestamp: number, ..Default::default() }; histograms],
            exemplars: vec![
                v2::Exemplar {
                    labels_refs: vec![reference("trace"), reference(&number.to_string())],
                    timestamp: number,
                    value: 0.0
                };
                exemplars
            ],
            metadata: Some(v2::Metadata {
                r#type: number as i32,
                help_ref: reference(&format!("help {number}")),
                unit_ref: reference("seconds"),
            }),
        }
    };
    let timeseries = (0..).zip(models).map(series).collect();
    v2::Request { symbols, timeseries }
}

fn plan(ring: &Hashring, protocol: Protocol, body: Vec<u8>) -> Plan {
    Splitter::default().plan(ring, &incoming("t", protocol, 1 << 20), body).unwrap()
}

/// The sidecars of each series, by its number.
fn places(plan: &Plan, numbers: impl Fn(&[u8]) -> Vec<i64>) -> BTreeMap<i64, Vec<usize>> {
    let mut places: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for part in &plan.parts {
        let raw = snap::raw::Decoder::new().decompress_vec(&part.body).unwrap();
        for number in numbers(&raw) {
            places.entry(number).or_default().push(part.endpoint.get());
        }
    }
    places
}

fn numbers_v1(raw: &[u8]) -> Vec<i64> {
    let request = WriteRequest::decode(raw).unwrap();
    request.timeseries.iter().map(|series| series.samples[0].timestamp).collect()
}

fn numbers_v2(raw: &[u8]) -> Vec<i64> {
    let request = v2::Request::decode(raw).unwrap();
    request.timeseries.iter().map(|series| series.metadata.unwrap().r#type.into()).collect()
}

fn labels_of(request: &v2::Request, series: &v2::TimeSeries) -> BTreeMap<String, String> {
    let text = |at: u32| request.symbols[at as usize].clone();
    series.labels_refs.chunks(2).map(|pair| (text(pair[0]), text(pair[1]))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn both_versions_place_a_series_alike(models in models(), endpoints in 4_usize..9, seeds: [usize; 2]) {
        let ring = ring(endpoints);
        let v1 = plan(&ring, Protocol::V1, body_v1(&models, seeds[0]));
        let v2 = plan(&ring, Protocol::V2, compress(&request_v2(&models, seeds[1]).encode_to_vec()));
        let expected: BTreeMap<_, _> = (0_i64..).zip(&models).map(|(number, model)| {
            let labels = model.labels.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            let mut replicas: Vec<_> =
                ring.replicas(series_hash("t", labels)).iter().map(|at| at.get()).collect();
            replicas.sort_unstable();
            (number, replicas)
        }).collect();
        prop_assert_eq!(&places(&v1, numbers_v1), &expected);
        prop_assert_eq!(&places(&v2, numbers_v2), &expected);
    }

    #[test]
    fn parts_of_2_0_hold_what_was_sent(models in models(), endpoints in 4_usize..9, seed: usize, symbols_late: bool) {
        let ring = ring(endpoints);
        let sent = request_v2(&models, seed);
        let body = if symbols_late {
            // Series, then symbols, then the other series.
            let (symbols, timeseries) = (sent.symbols.clone(), sent.timeseries.clone());
            let (first, second) = timeseries.split_at(timeseries.len() / 2);
            let first = v2::Request { symbols: vec![], timeseries: first.to_vec() };
            let second = v2::Request { symbols, timeseries: second.to_vec() };
            [first.encode_to_vec(), second.encode_to_vec()].concat()
        } else {
            sent.encode_to_vec()
        };
        let plan = plan(&ring, Protocol::V2, compress(&body));
        prop_assert!(plan.form == Form::Split);
        for part in &plan.parts {
            let raw = snap::raw::Decoder::new().decompress_vec(&part.body).unwrap();
            let request = v2::Request::decode(raw.as_slice()).unwrap();
            for series in &request.timeseries {
                let number = series.metadata.unwrap().r#type as usize;
                prop_assert_eq!(series, &sent.timeseries[number], "its bytes are untouched");
                prop_assert_eq!(&labels_of(&request, series), &models[number].labels);
                let text = |at: u32| request.symbols[at as usize].as_str();
                let metadata = series.metadata.unwrap();
                prop_assert_eq!(text(metadata.help_ref), format!("help {number}"));
                prop_assert_eq!(text(metadata.unit_ref), "seconds");
                for exemplar in &series.exemplars {
                    prop_assert_eq!(text(exemplar.labels_refs[0]), "trace");
                    prop_assert_eq!(text(exemplar.labels_refs[1]), number.to_string());
                }
            }
        }
        for set in plan.layout.sets() {
            let mut expected = Contents::default();
            for place in 0..set.len.unwrap() {
                let [samples, histograms, exemplars] =
                    models[plan.layout.client_index(set, place) as usize].contents.map(|count| count as u64);
                expected += Contents { samples, histograms, exemplars };
            }
            prop_assert_eq!(set.contents, Some(expected));
        }
    }
}
