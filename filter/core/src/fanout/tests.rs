//! Writes from body to last answer, as a host would drive them.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use prost::Message as _;
use ringside_proto::prometheus::{Label, TimeSeries, WriteRequest};
use ringside_proto::ringside::{Reason, RefusedSeries, WriteRefused};
use ringside_proto::{CONTENT_TYPE_REFUSED, Protocol};

use super::{Admitted, Call, Counter, Dispatch, Effect, Event, Fanouts, RequestId};
use crate::answer::Reply;
use crate::config::Config;
use crate::limits::Limits;
use crate::reply::Response;
use crate::split::Form;
use crate::tenant::TenantId;

mod kept;
mod limited;
#[cfg(not(target_arch = "wasm32"))]
mod properties;
mod replies;
mod waiting;

const REQUEST: RequestId = RequestId(7);

/// A core, and what it wants done, sorted by kind.
struct Host {
    fanouts: Fanouts,
    sent: Vec<Dispatch>,
    responses: Vec<Response>,
    counters: Vec<Counter>,
    charged: Vec<u64>,
    drained: bool,
}

impl Host {
    fn new(endpoints: usize) -> Self {
        let endpoints: Vec<_> = (1..=endpoints).map(|n| format!("\"node-{n}:19291\"")).collect();
        let ring = format!(r#"{{"hashrings":[{{"tenants":["t"],"endpoints":[{}]}}]}}"#, endpoints.join(","));
        let fanouts = Fanouts::new(Config::parse(ring.as_bytes()).unwrap());
        Self {
            fanouts,
            sent: Vec::new(),
            responses: Vec::new(),
            counters: Vec::new(),
            charged: Vec::new(),
            drained: false,
        }
    }

    fn on(&mut self, event: Event<'_>) {
        let mut effects = Vec::new();
        self.fanouts.on(event, &mut effects);
        for effect in effects {
            match effect {
                Effect::Dispatch(dispatch) => self.sent.push(dispatch),
                Effect::Respond { request, response, .. } => {
                    assert_eq!(request, REQUEST);
                    self.responses.push(response);
                }
                Effect::Count(counter) => self.counters.push(counter),
                Effect::Charge { samples, .. } => self.charged.push(samples),
                Effect::Drained => self.drained = true,
            }
        }
    }

    fn write(&mut self, body: Vec<u8>) {
        self.on(Event::Body { request: REQUEST, admitted: admitted("t"), body });
    }

    fn answer(&mut self, part: u16, status: u16) {
        let call = Call { request: REQUEST, part };
        self.on(Event::Answered { call, reply: status_only(status) });
    }

    fn statuses(&self) -> Vec<u16> {
        self.responses.iter().map(|response| response.status).collect()
    }

    fn counted(&self, counter: Counter) -> usize {
        self.counters.iter().filter(|other| **other == counter).count()
    }
}

fn admitted(tenant: &str) -> Admitted {
    Admitted {
        tenant: TenantId::new(tenant).unwrap(),
        protocol: Protocol::V1,
        limits: Limits::default(),
        hashring: None,
    }
}

fn status_only(status: u16) -> Reply<'static> {
    Reply { status: Some(status), ..Reply::default() }
}

fn body(series: usize) -> Vec<u8> {
    let one = |n| TimeSeries {
        labels: vec![Label { name: "n".to_owned(), value: format!("{n}") }],
        ..TimeSeries::default()
    };
    let request = WriteRequest { timeseries: (0..series).map(one).collect(), metadata: Vec::new() };
    snap::raw::Encoder::new().compress_vec(&request.encode_to_vec()).unwrap()
}

#[test]
fn the_answer_leaves_at_quorum_and_the_third_write_goes_on() {
    let mut host = Host::new(3);
    let sent = body(5).len();
    host.write(body(5));
    assert_eq!(host.sent.len(), 3);
    host.answer(1, 200);
    assert!(host.responses.is_empty());
    host.answer(2, 200);
    assert_eq!(host.statuses(), [200]);
    assert_eq!(host.fanouts.writes(), 1, "the third is under way");
    host.on(Event::ClientGone { request: REQUEST });
    host.answer(0, 200);
    assert_eq!(host.fanouts.writes(), 0);
    assert_eq!(host.statuses(), [200]);
    let expected = [
        Counter::Sent { form: Form::Unchanged, received: sent, sent: 3 * sent },
        Counter::Forward { success: true },
        Counter::Forward { success: true },
        Counter::Replication { success: true },
        Counter::Forward { success: true },
        Counter::LateWrite { success: true },
    ];
    assert_eq!(host.counters, expected);
}

#[test]
fn a_dispatch_carries_the_filters_own_headers() {
    let mut host = Host::new(3);
    let sent = body(1);
    host.write(sent.clone());
    let first = &host.sent[0];
    assert_eq!(*first.body, sent);
    assert_eq!((&*first.address, first.timeout_ms), ("node-1:19291", 15_000));
    let expected = [
        (":method", "POST"),
        (":path", "/api/v1/receive"),
        (":authority", "node-1:19291"),
        ("content-type", "application/x-protobuf"),
        ("content-encoding", "snappy"),
        ("x-prometheus-remote-write-version", "0.1.0"),
        ("thanos-tenant", "t"),
        ("x-ringside-refusals", "1"),
    ];
    assert_eq!(first.headers(), expected);
}

#[test]
fn two_dead_of_three_is_503_at_once() {
    let mut host = Host::new(3);
    host.write(body(5));
    host.on(Event::NotDispatched { call: host.sent[0].call });
    let reset = Event::Answered { call: host.sent[1].call, reply: Reply::default() };
    host.on(reset);
    assert_eq!(host.statuses(), [503]);
    assert!(host.responses[0].body.contains("node-1:19291"), "{}", host.responses[0].body);
    host.answer(2, 200);
    assert_eq!(host.fanouts.writes(), 0);
    assert_eq!(host.counted(Counter::LateWrite { success: true }), 1);
    assert_eq!(host.counted(Counter::Replication { success: false }), 1);
}

#[test]
fn no_dispatch_possible_leaves_nothing_behind() {
    let mut host = Host::new(5);
    host.write(body(50));
    for call in host.sent.iter().map(|dispatch| dispatch.call).collect::<Vec<_>>() {
        host.on(Event::NotDispatched { call });
    }
    assert_eq!(host.statuses(), [503]);
    assert_eq!(host.fanouts.writes(), 0);
}

#[test]
fn the_client_waits_for_the_write_timeout_and_the_write_goes_on() {
    let mut host = Host::new(3);
    host.write(body(5));
    host.answer(0, 200);
    // The clock may stand still, or jump: 39 ticks of at least 50 ms, and three of at most a second.
    for elapsed_ms in [0; 39].into_iter().chain([u64::MAX, 1000, 1 << 40]) {
        assert!(host.responses.is_empty());
        host.on(Event::Tick { elapsed_ms });
    }
    assert_eq!(host.statuses(), [503]);
    assert!(host.responses[0].body.ends_with("by node-2:19291: no answer within 5000 ms\n"));
    assert_eq!(host.fanouts.writes(), 1);
    host.answer(1, 200);
    host.answer(2, 200);
    assert_eq!(host.counted(Counter::LateWrite { success: true }), 2);
    assert_eq!((host.statuses(), host.fanouts.writes()), (vec![503], 0));
}

#[test]
fn the_time_of_a_decided_write_passes_unnoticed() {
    let mut host = Host::new(3);
    host.write(body(5));
    for part in 0..2 {
        host.answer(part, 200);
    }
    for _ in 0..200 {
        host.on(Event::Tick { elapsed_ms: 50 });
    }
    assert_eq!(host.statuses(), [200]);
    host.answer(2, 200);
    assert!(host.fanouts.deadlines.is_empty());
}

#[test]
fn a_sidecar_that_does_not_answer_is_not_sent_more_than_its_bound() {
    let mut host = Host::new(3);
    // The default of all that may be under way, a third of it for each.
    let large = vec![0x80; (256 << 20) / 3 / 4];
    // A length of five bytes, which the unchanged form does not look beyond.
    let body = [&b"\x05"[..], &large].concat();
    for number in 0..9 {
        let request = RequestId(number);
        let mut effects = Vec::new();
        let event = Event::Body { request, admitted: admitted("t"), body: body.clone() };
        host.fanouts.on(event, &mut effects);
        let sent = effects.iter().filter(|effect| matches!(effect, Effect::Dispatch(_))).count();
        assert_eq!(sent, if number < 3 { 3 } else { 2 }, "{number}");
        for part in 0..2 {
            let call = Call { request, part };
            host.fanouts.on(Event::Answered { call, reply: status_only(200) }, &mut effects);
        }
        let statuses: Vec<_> = effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Respond { response, .. } => Some(response.status),
                _ => None,
            })
            .collect();
        assert_eq!(statuses, [200]);
    }
    assert_eq!(host.fanouts.writes(), 3, "only what was sent is waited for");
    host.on(Event::Answered { call: Call { request: RequestId(0), part: 2 }, reply: Reply::default() });
    host.write(body);
    assert_eq!(host.sent.len(), 3, "there is room again");
}

#[test]
fn a_part_counts_once() {
    let mut host = Host::new(3);
    host.write(body(5));
    for _ in 0..3 {
        host.answer(0, 503);
        host.answer(9, 503);
    }
    assert!(host.responses.is_empty());
    assert_eq!(host.counted(Counter::Forward { success: false }), 1);
    let unknown = Call { request: RequestId(8), part: 0 };
    host.on(Event::NotDispatched { call: unknown });
    assert_eq!(host.counters.len(), 2);
}

#[test]
fn refusal_lists_decide_series_by_series() {
    let mut host = Host::new(3);
    host.write(body(5));
    let series =
        vec![RefusedSeries { index: 4, reason: Reason::DuplicateTimestamp.into(), ..Default::default() }];
    let list = WriteRefused { message: "n=4".to_owned(), series }.encode_to_vec();
    for part in [0, 2] {
        let call = Call { request: REQUEST, part };
        let content_type = Some(CONTENT_TYPE_REFUSED.as_bytes());
        host.on(Event::Answered { call, reply: Reply { content_type, body: &list, ..status_only(409) } });
    }
    assert_eq!(host.statuses(), [409], "the other series have their quorum, this one never will");
    assert!(host.responses[0].body.contains("index 4 (duplicate timestamp"), "{}", host.responses[0].body);
}

#[test]
fn a_client_that_left_gets_no_answer_and_its_write_goes_on() {
    let mut host = Host::new(3);
    host.write(body(5));
    host.on(Event::ClientGone { request: REQUEST });
    host.on(Event::ClientGone { request: REQUEST });
    for part in 0..3 {
        host.answer(part, 200);
    }
    assert!(host.responses.is_empty());
    assert_eq!(host.counted(Counter::ClientGone), 1);
    assert_eq!(host.counted(Counter::Replication { success: true }), 1);
    assert_eq!(host.fanouts.writes(), 0);
}

#[test]
fn a_split_write_asks_only_the_sidecars_that_it_needs() {
    let mut host = Host::new(9);
    host.write(body(1));
    assert_eq!(host.sent.len(), 3);
    assert!(matches!(host.counters[0], Counter::Sent { form: Form::Split, .. }));
    host.answer(0, 200);
    host.answer(1, 200);
    assert_eq!(host.statuses(), [200]);
}

#[test]
fn an_empty_write_needs_no_sidecar() {
    let mut host = Host::new(5);
    host.write(body(0));
    assert_eq!(host.statuses(), [200]);
    assert_eq!(host.counters, [Counter::Empty]);
    assert_eq!(host.fanouts.writes(), 0);
}

#[test]
fn what_cannot_be_sent_is_answered_at_once() {
    let mut host = Host::new(5);
    host.write(Vec::new());
    host.write(b"\xff\xff\xff\xff\x0fxx".to_vec());
    host.write(b"not snappy".to_vec());
    host.on(Event::Body { request: REQUEST, admitted: admitted("nobody"), body: body(1) });
    assert_eq!(host.statuses(), [400, 413, 400, 503]);
    assert!(host.responses[3].body.contains("nobody"));
    assert!(host.sent.is_empty() && host.fanouts.writes() == 0);
}

#[test]
fn draining_ends_with_the_last_late_write() {
    let mut host = Host::new(3);
    host.write(body(5));
    host.answer(0, 200);
    host.answer(1, 200);
    host.on(Event::Drain);
    assert!(!host.drained);
    host.answer(2, 504);
    assert!(host.drained);
    assert_eq!(host.counted(Counter::LateWrite { success: false }), 1);
    let mut idle = Host::new(3);
    idle.on(Event::Drain);
    assert!(idle.drained);
}

#[test]
fn what_is_under_way_from_one_worker_is_bounded() {
    let json = br#"{"hashrings":[{"endpoints":["a","b","c"]}],"in_flight_bytes_max":1048576}"#;
    let mut host = Host { fanouts: Fanouts::new(Config::parse(json).unwrap()), ..Host::new(3) };
    // A length of five bytes, which the unchanged form does not look beyond.
    let body = [&b"\x05"[..], &[0x80; 600_000]].concat();
    host.write(body.clone());
    assert_eq!(host.sent.len(), 3, "one is let through whole");
    let mut effects = Vec::new();
    let event = Event::Body { request: RequestId(8), admitted: admitted("t"), body: body.clone() };
    host.fanouts.on(event, &mut effects);
    assert!(matches!(&effects[..], [Effect::Respond { response, .. }] if response.status == 503));
    for part in 0..3 {
        host.answer(part, 200);
    }
    host.write(body);
    assert_eq!(host.sent.len(), 6, "there is room again");
}

#[test]
fn bodies_that_are_not_whole_are_bounded() {
    let json = br#"{"hashrings":[{"endpoints":["a","b","c"]}],"in_flight_bytes_max":1048576}"#;
    let mut host = Host { fanouts: Fanouts::new(Config::parse(json).unwrap()), ..Host::new(3) };
    let [a, b] = [1, 2].map(RequestId);
    let v2 = Admitted { protocol: Protocol::V2, ..admitted("t") };
    assert_eq!(host.fanouts.arrived(a, &v2, 600_000), None);
    let refusal = host.fanouts.arrived(b, &v2, 600_000).unwrap();
    assert_eq!((refusal.status, host.fanouts.arriving_bytes()), (503, 600_000));
    assert!(refusal.headers.iter().any(|(name, _)| *name == "x-prometheus-remote-write-samples-written"));
    assert_eq!(host.fanouts.arrived(REQUEST, &v2, 400_000), None);
    host.write(body(1));
    assert_eq!((host.sent.len(), host.fanouts.arriving_bytes()), (3, 600_000), "what is whole has arrived");
    for part in 0..3 {
        host.answer(part, 200);
    }
    assert!(!host.fanouts.arriving.is_empty());
    host.on(Event::ClientGone { request: a });
    assert_eq!((host.fanouts.arriving_bytes(), host.counted(Counter::ClientGone)), (0, 0));
}
