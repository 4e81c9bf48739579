//! Whatever arrives, and in whatever order: no panic, one answer for each client that waits, each part accounted for
//! once, nothing charged twice or for what is to come again, and nothing left over.

use std::collections::BTreeMap;

use proptest::prelude::*;
use ringside_proto::Protocol;

use super::body;
use crate::admission::Admitted;
use crate::answer::Reply;
use crate::config::Config;
use crate::events::{Call, Counter, Effect, Event, RequestId};
use crate::fanout::Fanouts;
use crate::limits::Limits;
use crate::rate::Rate;
use crate::tenant::TenantId;

/// One step of a host, on one of a few requests.
#[derive(Clone, Debug)]
enum Step {
    Body(u32, Protocol, Vec<u8>),
    Answer(Call, Option<u16>, bool, Vec<u8>),
    NotDispatched(Call),
    ClientGone(u32),
    Arrived(u32, usize),
    Tick(u64),
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        2 => (0_usize..40).prop_map(body),
        1 => proptest::collection::vec(any::<u8>(), 0..40),
        // Snappy, but of anything.
        1 => proptest::collection::vec(any::<u8>(), 0..40)
            .prop_map(|raw| snap::raw::Encoder::new().compress_vec(&raw).unwrap()),
        // A list of refusals, cut or whole.
        1 => (0_u8..5, 0_u8..8, 0_usize..7).prop_map(|(index, reason, length)| {
            [0x12, 4, 0x08, index, 0x10, reason][..length.min(6)].to_vec()
        }),
    ]
}

fn call() -> impl Strategy<Value = Call> {
    (0_u32..6, 0_u16..6).prop_map(|(request, part)| Call { request: RequestId(request), part })
}

fn step() -> impl Strategy<Value = Step> {
    let status = prop_oneof![
        3 => Just(Some(200)),
        3 => proptest::sample::select(vec![Some(400), Some(409), Some(413), Some(429), Some(503), None]),
        1 => any::<u16>().prop_map(Some),
    ];
    let protocol = proptest::sample::select(vec![Protocol::V1, Protocol::V2]);
    prop_oneof![
        2 => (0_u32..6, protocol, bytes()).prop_map(|(request, protocol, body)| Step::Body(request, protocol, body)),
        6 => (call(), status, any::<bool>(), bytes())
            .prop_map(|(call, status, is_list, body)| Step::Answer(call, status, is_list, body)),
        1 => call().prop_map(Step::NotDispatched),
        1 => (0_u32..6).prop_map(Step::ClientGone),
        1 => (0_u32..6, any::<u32>()).prop_map(|(request, bytes)| Step::Arrived(request, bytes as usize)),
        1 => any::<u64>().prop_map(Step::Tick),
    ]
}

/// What the host has seen of one request.
#[derive(Default)]
struct Seen {
    responses: usize,
    /// To come again, as it was told.
    again: bool,
    charges: usize,
    is_gone: bool,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn nothing_is_lost_or_answered_twice(
        endpoints in 3_usize..=6,
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        let endpoints: Vec<_> = (0..endpoints).map(|n| format!("\"node-{n}\"")).collect();
        let json = format!(r#"{{"hashrings":[{{"endpoints":[{}]}}]}}"#, endpoints.join(","));
        let mut fanouts = Fanouts::new(Config::parse(json.as_bytes()).unwrap());
        let tenant = TenantId::new("t").unwrap();
        let rate = Some(Rate { samples_per_second: 1, burst: 1 });
        let limits = Limits { rate, in_flight_bytes: Some(1 << 30), ..Limits::default() };
        // A host does not use the name of a request again: the same number means another one in the next round.
        let mut round: BTreeMap<u32, u32> = BTreeMap::new();
        let mut seen: BTreeMap<RequestId, Seen> = BTreeMap::new();
        let (mut sent, mut ended) = (Vec::new(), 0);
        let mut on = |fanouts: &mut Fanouts, seen: &mut BTreeMap<RequestId, Seen>, event: Event<'_>| {
            let mut effects = Vec::new();
            let about = match &event {
                Event::Body { request, .. } => Some(*request),
                Event::Answered { call, .. } | Event::NotDispatched { call } => Some(call.request),
                _ => None,
            };
            fanouts.on(event, &mut effects);
            for effect in effects {
                match effect {
                    Effect::Dispatch(dispatch) => sent.push(dispatch.call),
                    Effect::Respond { request, response, .. } => {
                        let seen = seen.entry(request).or_default();
                        seen.responses += 1;
                        seen.again = response.status == 503;
                    }
                    Effect::Charge { .. } => {
                        let request = about.expect("time is not charged for");
                        seen.entry(request).or_default().charges += 1;
                    }
                    Effect::Count(Counter::Forward { .. }) => ended += 1,
                    Effect::Count(_) | Effect::Drained => {}
                }
            }
        };
        let named = |round: &BTreeMap<u32, u32>, number: u32| {
            RequestId(number + 100 * round.get(&number).copied().unwrap_or(0))
        };
        for step in steps {
            match step {
                Step::Body(number, protocol, body) => {
                    *round.entry(number).or_default() += 1;
                    let request = named(&round, number);
                    seen.entry(request).or_default();
                    let admitted = Admitted { tenant: tenant.clone(), protocol, limits, hashring: None };
                    on(&mut fanouts, &mut seen, Event::Body { request, admitted, body });
                }
                Step::Answer(call, status, is_list, body) => {
                    let call = Call { request: named(&round, call.request.0), part: call.part };
                    let content_type = is_list.then_some(ringside_proto::CONTENT_TYPE_REFUSED.as_bytes());
                    let written = [is_list.then_some(&b"3"[..]), None, None];
                    let reply = Reply { status, content_type, written, series: None, body: &body };
                    on(&mut fanouts, &mut seen, Event::Answered { call, reply });
                }
                Step::NotDispatched(call) => {
                    let call = Call { request: named(&round, call.request.0), part: call.part };
                    on(&mut fanouts, &mut seen, Event::NotDispatched { call });
                }
                Step::ClientGone(number) => {
                    let request = named(&round, number);
                    if let Some(seen) = seen.get_mut(&request) {
                        seen.is_gone |= seen.responses == 0;
                    }
                    on(&mut fanouts, &mut seen, Event::ClientGone { request });
                }
                Step::Arrived(number, bytes) => {
                    let admitted = Admitted { tenant: tenant.clone(), protocol: Protocol::V1, limits, hashring: None };
                    let _ = fanouts.arrived(named(&round, number), &admitted, bytes);
                }
                Step::Tick(elapsed_ms) => on(&mut fanouts, &mut seen, Event::Tick { elapsed_ms }),
            }
        }
        for round in 0..=80 {
            for number in 0..6 {
                for part in 0..6 {
                    let call = Call { request: RequestId(number + 100 * round), part };
                    on(&mut fanouts, &mut seen, Event::NotDispatched { call });
                }
            }
        }
        for round in 0..=80 {
            for number in 0..6 {
                fanouts.on(Event::ClientGone { request: RequestId(number + 100 * round) }, &mut Vec::new());
            }
        }
        for (request, seen) in &seen {
            prop_assert!(seen.charges <= usize::from(!seen.again), "{:?} is charged {} times", request, seen.charges);
            prop_assert_eq!(seen.responses, usize::from(!seen.is_gone), "{:?}", request);
        }
        prop_assert_eq!(sent.len(), ended, "each part ends once");
        prop_assert_eq!(fanouts.writes(), 0);
        prop_assert!(fanouts.backlog.is_empty() && fanouts.arriving.is_empty() && fanouts.unanswered.is_empty());
    }
}
