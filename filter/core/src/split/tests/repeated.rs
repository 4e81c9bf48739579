//! Senders repeat their series: what a splitter remembers changes nothing but its speed.

use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message as _;
use ringside_proto::Protocol;
use ringside_proto::limits::ContentLimits;
use ringside_proto::prometheus::{Histogram, Label, Sample, TimeSeries};

use super::{MAX, incoming, ring};
use crate::split::{Incoming, Splitter};

/// The fields of a series, in any order.
#[derive(Clone, Debug)]
enum Field {
    Label(&'static str, &'static str),
    Sample(f64),
    Histogram,
    /// Bytes that look like a sample from behind.
    Disguised(Vec<u8>),
}

const TIMESTAMP: i64 = 1_700_000_000_000;

fn sample(value: f64) -> Vec<u8> {
    let samples = vec![Sample { value, timestamp: TIMESTAMP }];
    TimeSeries { samples, ..TimeSeries::default() }.encode_to_vec()
}

impl Field {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Label(name, value) => {
                let labels = vec![Label { name: (*name).to_owned(), value: (*value).to_owned() }];
                TimeSeries { labels, ..TimeSeries::default() }.encode_to_vec()
            }
            Self::Sample(value) => sample(*value),
            Self::Histogram => {
                let histograms = vec![Histogram { timestamp: TIMESTAMP, ..Histogram::default() }];
                TimeSeries { histograms, ..TimeSeries::default() }.encode_to_vec()
            }
            Self::Disguised(value) => {
                let value = [&[0x12, value.len() as u8][..], value].concat();
                [&[0x0a, value.len() as u8][..], &value].concat()
            }
        }
    }
}

fn fields() -> impl Strategy<Value = Vec<Field>> {
    let label = (prop::sample::select(vec!["a", "b", "c"]), prop::sample::select(vec!["", "x", "yy"]));
    let label = label.prop_map(|(name, value)| Field::Label(name, value)).boxed();
    let value = prop::sample::select(vec![0.0, 1.5, 2.5]);
    let odd = prop_oneof![
        label.clone(),
        value.clone().prop_map(Field::Sample),
        Just(Field::Histogram),
        value.clone().prop_map(|value| Field::Disguised(sample(value))),
    ];
    let sample_first = value
        .clone()
        .prop_map(|value| vec![Field::Sample(0.0), Field::Label("a", "x"), Field::Disguised(sample(value))]);
    let usual = (vec(label, 0..3), value).prop_map(|(mut fields, value)| {
        fields.push(Field::Sample(value));
        fields
    });
    prop_oneof![usual, sample_first, vec(odd, 0..5)]
}

/// A request of these series, with some bytes of it changed.
fn request(series: &[Vec<Field>], changes: &[(prop::sample::Index, u8)]) -> Vec<u8> {
    let mut raw = Vec::new();
    for fields in series {
        let bytes: Vec<u8> = fields.iter().flat_map(Field::bytes).collect();
        raw.push(0x0a);
        prost::encode_length_delimiter(bytes.len(), &mut raw).unwrap();
        raw.extend(bytes);
    }
    let len = raw.len();
    for (at, byte) in changes.iter().filter(|_| len > 0) {
        raw[at.index(len)] = *byte;
    }
    snap::raw::Encoder::new().compress_vec(&raw).unwrap()
}

fn limits(labels: Option<u64>) -> ContentLimits {
    ContentLimits { labels_per_series: labels, ..ContentLimits::default() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_is_remembered_changes_nothing(
        requests in vec(
            (
                vec(fields(), 0..12),
                vec((any::<prop::sample::Index>(), any::<u8>()), 0..2),
                prop::sample::select(vec!["a", "b"]),
                prop::sample::select(vec![4, 5]),
                prop::option::of(1_u64..3),
            ),
            1..8,
        ),
    ) {
        let mut splitter = Splitter::default();
        for round in 0..2 {
            for (series, changes, tenant, endpoints, most) in &requests {
                let body = request(series, if round == 0 { &[] } else { changes });
                let incoming = Incoming {
                    counts_samples: true,
                    limits: limits(*most),
                    ..incoming(tenant, Protocol::V1, MAX)
                };
                let ring = ring(*endpoints);
                let show = |splitter: &mut Splitter| {
                    let plan = splitter.plan(&ring, &incoming, body.clone());
                    plan.map(|plan| {
                        let parts: Vec<_> =
                            plan.parts.iter().map(|part| (part.endpoint, part.body.to_vec())).collect();
                        (parts, plan.samples, plan.series(), plan.refused.map(|refused| refused.message))
                    })
                };
                prop_assert_eq!(show(&mut splitter), show(&mut Splitter::default()));
            }
        }
    }
}
