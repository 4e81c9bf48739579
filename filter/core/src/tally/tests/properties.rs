//! Split writes over rings of every size: whatever the sidecars answer and in whatever order, the verdict is the one
//! that a model with an outcome for each replica of each series gives, and an early verdict is the final one.

use proptest::prelude::*;
use ringside_hashring::{Endpoint, Hashring, write_quorum};
use ringside_proto::Protocol;
use ringside_proto::ringside::Reason;

use crate::answer::{Answer, Missing, Refused};
use crate::quorum::{Outcome, Rule};
use crate::split::{Plan, Splitter};
use crate::tally::Tally;
use crate::tally::tests::incoming;

const SERIES_MAX: usize = 30;

fn outcome() -> impl Strategy<Value = Outcome> {
    proptest::sample::select(Outcome::ALL.to_vec())
}

/// What a sidecar does: one outcome for all that it gets, or one for each of the first series of its part.
#[derive(Clone, Debug)]
enum Behaviour {
    Whole(Outcome),
    Listed(Vec<Outcome>),
}

fn behaviour() -> impl Strategy<Value = Behaviour> {
    prop_oneof![
        2 => Just(Behaviour::Whole(Outcome::Stored)),
        1 => outcome().prop_map(Behaviour::Whole),
        3 => proptest::collection::vec(prop_oneof![3 => Just(Outcome::Stored), 1 => outcome()], 0..SERIES_MAX)
            .prop_map(Behaviour::Listed),
    ]
}

impl Behaviour {
    fn of(&self, index: u32) -> Outcome {
        match self {
            Self::Whole(outcome) => *outcome,
            Self::Listed(outcomes) => outcomes.get(index as usize).copied().unwrap_or(Outcome::Stored),
        }
    }

    fn answer(&self, series: u32) -> Answer {
        match self {
            Self::Whole(outcome) => Answer::whole(*outcome, ""),
            Self::Listed(_) => {
                let refused = (0..series).filter_map(|index| {
                    let (outcome, reason, missing) =
                        (self.of(index), Reason::Unspecified, Missing::default());
                    (outcome != Outcome::Stored).then_some(Refused { index, outcome, reason, missing })
                });
                Answer {
                    rest: Outcome::Stored,
                    refused: refused.collect(),
                    contents: None,
                    message: String::new(),
                }
            }
        }
    }
}

/// A body of series that differ in one label.
fn plan(endpoints: usize, replication_factor: usize, series: usize) -> (Hashring, Plan) {
    use prost::Message as _;
    use ringside_proto::prometheus::{Label, TimeSeries, WriteRequest};
    let endpoint = |n| Endpoint { address: format!("node-{n}"), az: String::new() };
    let ring = Hashring::ketama((0..endpoints).map(endpoint).collect(), replication_factor).unwrap();
    let one = |n| TimeSeries {
        labels: vec![Label { name: "n".to_owned(), value: format!("{n}") }],
        ..TimeSeries::default()
    };
    let request = WriteRequest { timeseries: (0..series).map(one).collect(), metadata: Vec::new() };
    let body = snap::raw::Encoder::new().compress_vec(&request.encode_to_vec()).unwrap();
    let plan = Splitter::default().plan(&ring, &incoming(Protocol::V1), body).unwrap();
    (ring, plan)
}

/// The definition, for one series whose replicas have all answered.
fn series_outcome(said: &[Outcome]) -> Outcome {
    let quorum = write_quorum(said.len());
    let blocking = said.len() - quorum + 1;
    let count = |wanted: &[Outcome]| said.iter().filter(|outcome| wanted.contains(outcome)).count();
    if count(&[Outcome::Stored]) >= quorum {
        Outcome::Stored
    } else if count(&[Outcome::Unsupported]) >= blocking {
        Outcome::Unsupported
    } else if count(&[Outcome::Invalid]) >= blocking {
        Outcome::Invalid
    } else if count(&[Outcome::TooLarge]) >= blocking {
        Outcome::TooLarge
    } else if count(&[Outcome::Unsupported, Outcome::Invalid, Outcome::TooLarge, Outcome::Conflict])
        >= blocking
    {
        Outcome::Conflict
    } else if count(&[Outcome::Limited]) >= blocking {
        Outcome::Limited
    } else {
        Outcome::Unavailable
    }
}

/// The model: each series by itself, found in each part by its label.
fn model(ring: &Hashring, series: usize, parts: &[(usize, Vec<String>)], sidecars: &[Behaviour]) -> Outcome {
    let of_series = |n: usize| {
        let name = n.to_string();
        let hash = ringside_hashring::series_hash("t", [(&b"n"[..], name.as_bytes())]);
        let said = ring.replicas(hash).iter().map(|endpoint| {
            let (_, names) = parts.iter().find(|(other, _)| *other == endpoint.get()).unwrap();
            let index = names.iter().position(|other| *other == name).unwrap();
            sidecars[endpoint.get()].of(index as u32)
        });
        series_outcome(&said.collect::<Vec<_>>())
    };
    (0..series).map(of_series).max().unwrap_or(Outcome::Stored)
}

/// Of each part: its sidecar, and the labels of its series in order.
fn contents(plan: &Plan) -> Vec<(usize, Vec<String>)> {
    let names = |body: &[u8]| {
        let raw = snap::raw::Decoder::new().decompress_vec(body).unwrap();
        let series = ringside_proto::remote_write::time_series(&raw).map(|series| {
            let label = series.unwrap().labels().next().unwrap().unwrap();
            String::from_utf8(label.value.to_vec()).unwrap()
        });
        series.collect()
    };
    plan.parts.iter().map(|part| (part.endpoint.get(), names(&part.body))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn the_verdict_is_the_models_in_every_order(
        replication_factor in 1_usize..=5,
        more in 1_usize..=4,
        series in 1..SERIES_MAX,
        sidecars in proptest::collection::vec(behaviour(), 9),
        order in Just((0..9_usize).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let (ring, plan) = plan(replication_factor + more, replication_factor, series);
        let parts = contents(&plan);
        let expected = model(&ring, series, &parts, &sidecars);
        let mut tally = Tally::new(Rule::new(replication_factor), plan.layout, None);
        let mut given = None;
        for number in order.into_iter().filter(|number| *number < parts.len()) {
            let (endpoint, names) = &parts[number];
            tally.count(number as u16, sidecars[*endpoint].answer(names.len() as u32));
            let verdict = tally.verdict();
            prop_assert!(given.is_none() || given == verdict, "a verdict is not taken back");
            given = verdict;
        }
        prop_assert_eq!(given, Some(expected));
        let cause = tally.cause(expected);
        prop_assert_eq!(cause.is_some(), expected != Outcome::Stored);
    }
}
