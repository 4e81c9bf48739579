//! What is written, over rings of every size and in both forms: whatever the sidecars miss and in whatever order they
//! say so, the counts are those of a model that asks each replica of each series what it has, and counts that are
//! given early are the final ones.

use proptest::prelude::*;
use prost::Message as _;
use ringside_hashring::{Endpoint, Hashring, write_quorum};
use ringside_proto::Protocol;
use ringside_proto::prometheus_v2 as v2;
use ringside_proto::remote_write_v2::Contents;
use ringside_proto::ringside::Reason;

use crate::answer::{Answer, Missing, Refused};
use crate::quorum::{Outcome, Rule};
use crate::split::{Plan, Splitter};
use crate::tally::Tally;
use crate::tally::tests::incoming;

const SERIES_MAX: usize = 20;

/// Samples, histograms and exemplars of the series of a number.
fn sent(number: u32) -> [u32; 3] {
    [number % 4, number % 3, number % 2]
}

/// What a sidecar does: nothing with its part, or it misses some of some series, by their number.
#[derive(Clone, Debug)]
enum Behaviour {
    Refuses(Outcome),
    Misses(Vec<Option<[u32; 3]>>),
}

fn behaviour() -> impl Strategy<Value = Behaviour> {
    let missing = proptest::option::weighted(0.3, any::<[u32; 3]>());
    prop_oneof![
        1 => proptest::sample::select(Outcome::ALL[1..].to_vec()).prop_map(Behaviour::Refuses),
        4 => proptest::collection::vec(missing, SERIES_MAX).prop_map(Behaviour::Misses),
    ]
}

impl Behaviour {
    /// How much it misses of a series; `None` where it misses nothing.
    fn misses(&self, number: u32) -> Option<[u32; 3]> {
        let sent = sent(number);
        match self {
            Self::Refuses(_) => Some(sent),
            Self::Misses(missing) => {
                missing[number as usize].map(|missing| [0, 1, 2].map(|kind| missing[kind] % (sent[kind] + 1)))
            }
        }
    }

    fn answer(&self, numbers: &[u32]) -> Answer {
        if let Self::Refuses(outcome) = self {
            return Answer::whole(*outcome, "");
        }
        let mut contents = Contents::default();
        let mut refused = Vec::new();
        for (index, number) in (0..).zip(numbers) {
            contents += all(sent(*number));
            if let Some([samples, histograms, exemplars]) = self.misses(*number) {
                let missing = Missing { samples, histograms, exemplars };
                refused.push(Refused { index, outcome: Outcome::Conflict, reason: Reason::TooOld, missing });
            }
        }
        Answer { rest: Outcome::Stored, refused, contents: Some(contents), message: String::new() }
    }
}

fn all(counts: [u32; 3]) -> Contents {
    let [samples, histograms, exemplars] = counts.map(u64::from);
    Contents { samples, histograms, exemplars }
}

fn plan(endpoints: usize, replication_factor: usize, series: u32) -> (Hashring, Plan) {
    let endpoint = |n| Endpoint { address: format!("node-{n}"), az: String::new() };
    let ring = Hashring::ketama((0..endpoints).map(endpoint).collect(), replication_factor).unwrap();
    let names = (0..series).map(|number| number.to_string());
    let symbols = [String::new(), "n".to_owned()].into_iter().chain(names).collect();
    let one = |number| {
        let [samples, histograms, exemplars] = sent(number).map(|count| count as usize);
        v2::TimeSeries {
            labels_refs: vec![1, 2 + number],
            samples: vec![Default::default(); samples],
            histograms: vec![Default::default(); histograms],
            exemplars: vec![Default::default(); exemplars],
            metadata: None,
        }
    };
    let request = v2::Request { symbols, timeseries: (0..series).map(one).collect() };
    let body = snap::raw::Encoder::new().compress_vec(&request.encode_to_vec()).unwrap();
    let plan = Splitter::default().plan(&ring, &incoming(Protocol::V2), body).unwrap();
    (ring, plan)
}

/// The numbers of the series of each part, in its order.
fn contents(plan: &Plan) -> Vec<(usize, Vec<u32>)> {
    let numbers = |body: &[u8]| {
        let raw = snap::raw::Decoder::new().decompress_vec(body).unwrap();
        let request = v2::Request::decode(raw.as_slice()).unwrap();
        request.timeseries.iter().map(|series| series.labels_refs[1] - 2).collect()
    };
    plan.parts.iter().map(|part| (part.endpoint.get(), numbers(&part.body))).collect()
}

/// The model: what the write quorum's worst member has of each series.
fn model(ring: &Hashring, series: u32, sidecars: &[Behaviour]) -> Contents {
    let mut written = Contents::default();
    for number in 0..series {
        let name = number.to_string();
        let replicas = ring.replicas(ringside_hashring::series_hash("t", [(&b"n"[..], name.as_bytes())]));
        let kind = |kind: usize| {
            let missing =
                replicas.iter().map(|at| sidecars[at.get()].misses(number).unwrap_or_default()[kind]);
            let mut has: Vec<_> = missing.map(|missing| sent(number)[kind] - missing).collect();
            has.sort_unstable_by_key(|has| std::cmp::Reverse(*has));
            has[write_quorum(replicas.len()) - 1]
        };
        written += all([kind(0), kind(1), kind(2)]);
    }
    written
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn counts_are_the_models_in_every_order(
        replication_factor in 1_usize..=5,
        more in 0_usize..=4,
        series in 1..SERIES_MAX as u32,
        sidecars in proptest::collection::vec(behaviour(), 9),
        order in Just((0..9_usize).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let (ring, plan) = plan(replication_factor + more, replication_factor, series);
        let parts = contents(&plan);
        let expected = model(&ring, series, &sidecars);
        let mut tally = Tally::new(Rule::new(replication_factor), plan.layout, None);
        let mut given = None;
        for number in order.into_iter().filter(|number| *number < parts.len()) {
            let (endpoint, numbers) = &parts[number];
            tally.count(number as u16, sidecars[*endpoint].answer(numbers));
            let written = tally.written();
            prop_assert!(given.is_none() || given == written, "counts are not taken back");
            given = written;
        }
        prop_assert_eq!(given, Some(expected));
    }

    #[test]
    fn a_success_waits_for_nobody(replication_factor in 3_usize..=5, more in 0_usize..=4, series in 1..SERIES_MAX as u32) {
        let (ring, plan) = plan(replication_factor + more, replication_factor, series);
        let parts = contents(&plan);
        let stores = Behaviour::Misses(vec![None; SERIES_MAX]);
        let mut tally = Tally::new(Rule::new(replication_factor), plan.layout, None);
        for (number, (_, numbers)) in (0..).zip(&parts) {
            tally.count(number, stores.answer(numbers));
            let sidecars = vec![stores.clone(); ring.endpoints().len()];
            let written = (tally.verdict() == Some(Outcome::Stored)).then(|| model(&ring, series, &sidecars));
            if written.is_some() {
                prop_assert_eq!(tally.written(), written);
            }
        }
    }
}
