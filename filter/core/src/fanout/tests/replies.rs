//! Every combination and every order of three replies to one write, as sidecars, stock receivers and the network give
//! them, for both forms and both versions: the one answer is what a plain model says, that asks of each series what
//! its three replicas have of it.
//!
//! The write has two series on the same three sidecars: one of two samples and an exemplar, one of a histogram.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use prost::Message as _;
use ringside_hashring::{Endpoint, Hashring, series_hash};
use ringside_proto::protocol::HEADERS_WRITTEN;
use ringside_proto::ringside::{Reason, RefusedSeries, WriteRefused};
use ringside_proto::{CONTENT_TYPE_REFUSED, Protocol, prometheus, prometheus_v2};

use crate::admission::Admitted;
use crate::answer::Reply;
use crate::config::Config;
use crate::events::{Call, Effect, Event, RequestId};
use crate::fanout::Fanouts;
use crate::limits::Limits;
use crate::quorum::Outcome;
use crate::reply::Response;
use crate::tenant::TenantId;

/// Samples, histograms and exemplars of each series.
const SENT: [[u32; 3]; 2] = [[2, 0, 1], [0, 1, 0]];

/// What happens to one part.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// A status and no list: of all series, or as a stock receiver has it.
    Status(u16),
    /// A success that does not say what is written.
    Unversed,
    /// A status with a list of one series, its reason, and what is missing of it.
    List(u16, usize, Reason, [u32; 3]),
    Reset,
    NotDispatched,
    /// Nothing within the write timeout, and a success after it.
    Late,
}

const KINDS: [Kind; 19] = [
    Kind::Status(204),
    Kind::Unversed,
    Kind::List(409, 0, Reason::OutOfOrder, [2, 0, 1]),
    Kind::List(409, 0, Reason::DuplicateTimestamp, [1, 0, 0]),
    Kind::List(409, 1, Reason::TooOld, [0, 1, 0]),
    Kind::List(400, 1, Reason::Invalid, [0, 1, 0]),
    Kind::List(400, 0, Reason::Invalid, [0, 0, 1]),
    Kind::List(429, 0, Reason::Limit, [2, 0, 1]),
    Kind::List(503, 1, Reason::Unavailable, [0, 1, 0]),
    Kind::Status(409),
    Kind::Status(400),
    Kind::Status(413),
    Kind::Status(415),
    Kind::Status(429),
    Kind::Status(503),
    Kind::Status(504),
    Kind::Reset,
    Kind::NotDispatched,
    Kind::Late,
];

impl Kind {
    /// What this replica makes of a series, and what it has of it.
    fn of(self, protocol: Protocol, series: usize) -> (Outcome, [u32; 3]) {
        let sent = SENT[series];
        match self {
            Self::Status(204) => (Outcome::Stored, sent),
            Self::Unversed if protocol == Protocol::V1 => (Outcome::Stored, sent),
            Self::Unversed | Self::Status(415) => (Outcome::Unsupported, [0; 3]),
            Self::List(_, listed, ..) if listed != series => (Outcome::Stored, sent),
            Self::List(status, _, _, missing) => {
                let has = [0, 1, 2].map(|kind| sent[kind] - missing[kind]);
                (Self::Status(status).of(protocol, series).0, has)
            }
            Self::Status(409) => (Outcome::Conflict, [0; 3]),
            Self::Status(400) => (Outcome::Invalid, [0; 3]),
            Self::Status(413) => (Outcome::TooLarge, [0; 3]),
            Self::Status(429) => (Outcome::Limited, [0; 3]),
            _ => (Outcome::Unavailable, [0; 3]),
        }
    }

    fn event(self, call: Call, send: impl FnOnce(Event<'_>)) {
        let body;
        let mut written = SENT.iter().fold([0; 3], |sum, sent| [0, 1, 2].map(|kind| sum[kind] + sent[kind]));
        let (status, content_type, body) = match self {
            Self::NotDispatched => return send(Event::NotDispatched { call }),
            Self::Reset => return send(Event::Answered { call, reply: Reply::default() }),
            Self::Late | Self::Status(204) => (204, None, &b""[..]),
            Self::Unversed => {
                let reply = Reply { status: Some(200), ..Reply::default() };
                return send(Event::Answered { call, reply });
            }
            Self::Status(status) => {
                written = [0; 3];
                (status, Some(&b"text/plain"[..]), &b"its words"[..])
            }
            Self::List(status, index, reason, missing) => {
                written = [0, 1, 2].map(|kind| written[kind] - missing[kind]);
                let series = RefusedSeries {
                    index: index as u32,
                    reason: reason.into(),
                    samples_missing: missing[0],
                    histograms_missing: missing[1],
                    exemplars_missing: missing[2],
                };
                body = WriteRefused { message: "why".to_owned(), series: vec![series] }.encode_to_vec();
                (status, Some(CONTENT_TYPE_REFUSED.as_bytes()), &body[..])
            }
        };
        let written = written.map(|count| count.to_string());
        let written = written.each_ref().map(|count| Some(count.as_bytes()));
        send(Event::Answered {
            call,
            reply: Reply { status: Some(status), content_type, written, series: None, body },
        });
    }
}

/// The model's answer: a status, and what is written.
fn expected(protocol: Protocol, kinds: [Kind; 3]) -> (u16, [u32; 3]) {
    use Outcome::{Conflict, Invalid, Limited, Stored, TooLarge, Unavailable, Unsupported};
    let mut written = [0; 3];
    let mut outcomes = Vec::new();
    for series in 0..SENT.len() {
        let replicas = kinds.map(|kind| kind.of(protocol, series));
        let said = |outcomes: &[Outcome]| {
            replicas.iter().filter(|(outcome, _)| outcomes.contains(outcome)).count() >= 2
        };
        let one = [Stored, Unsupported, Invalid, TooLarge].into_iter().find(|outcome| said(&[*outcome]));
        let for_good = said(&[Unsupported, Invalid, TooLarge, Conflict]).then_some(Conflict);
        let limited = said(&[Limited]).then_some(Limited);
        outcomes.push(one.or(for_good).or(limited).unwrap_or(Unavailable));
        for (kind, written) in written.iter_mut().enumerate() {
            // What two of three have.
            let mut has = replicas.map(|(_, has)| has[kind]);
            has.sort_unstable();
            *written += has[1];
        }
    }
    // A retry that may save one series goes before the refusal of another.
    let conflict = if protocol == Protocol::V2 { 400 } else { 409 };
    let statuses = [
        (Unavailable, 503),
        (Limited, 429),
        (Unsupported, 415),
        (Invalid, 400),
        (TooLarge, 413),
        (Conflict, conflict),
    ];
    let worst = statuses.into_iter().find(|(outcome, _)| outcomes.contains(outcome));
    (worst.map_or(protocol.success(), |(_, status)| status), written)
}

/// Values of the only label of two series that a ring of five puts onto the same sidecars.
fn neighbours() -> [String; 2] {
    let endpoint = |n| Endpoint { address: format!("node-{n}:19291"), az: String::new() };
    let ring = Hashring::ketama((1..=5).map(endpoint).collect(), 3).unwrap();
    let set = |value: &str| ring.replica_set(series_hash("t", [(&b"n"[..], value.as_bytes())]));
    let other = (1..).map(|n: u32| n.to_string()).find(|value| set(value) == set("0")).unwrap();
    ["0".to_owned(), other]
}

fn body(protocol: Protocol) -> Vec<u8> {
    let values = neighbours();
    let raw = match protocol {
        Protocol::V1 => {
            let series = values.map(|value| prometheus::TimeSeries {
                labels: vec![prometheus::Label { name: "n".to_owned(), value }],
                ..Default::default()
            });
            prometheus::WriteRequest { timeseries: series.into(), metadata: vec![] }.encode_to_vec()
        }
        Protocol::V2 => {
            let series = SENT.iter().zip(2..).map(|(sent, value)| prometheus_v2::TimeSeries {
                labels_refs: vec![1, value],
                samples: vec![Default::default(); sent[0] as usize],
                histograms: vec![Default::default(); sent[1] as usize],
                exemplars: vec![Default::default(); sent[2] as usize],
                metadata: None,
            });
            let symbols = [String::new(), "n".to_owned()].into_iter().chain(values).collect();
            prometheus_v2::Request { symbols, timeseries: series.collect() }.encode_to_vec()
        }
    };
    snap::raw::Encoder::new().compress_vec(&raw).unwrap()
}

fn fanouts(endpoints: usize) -> Fanouts {
    let endpoints: Vec<_> = (1..=endpoints).map(|n| format!("\"node-{n}:19291\"")).collect();
    let json =
        format!(r#"{{"hashrings":[{{"endpoints":[{}]}}],"write_timeout_ms":100}}"#, endpoints.join(","));
    Fanouts::new(Config::parse(json.as_bytes()).unwrap())
}

fn written(response: &Response) -> Option<[u32; 3]> {
    let value = |name| {
        let header = response.headers.iter().find(|(other, _)| *other == name)?;
        header.1.parse().ok()
    };
    let [samples, histograms, exemplars] = HEADERS_WRITTEN.map(value);
    Some([samples?, histograms?, exemplars?])
}

/// One write from its body to its last reply; its answer.
fn run(
    fanouts: &mut Fanouts,
    admitted: &Admitted,
    body: &[u8],
    kinds: [Kind; 3],
    order: [u16; 3],
) -> Response {
    let request = RequestId(1);
    let mut effects = Vec::new();
    let mut late = Vec::new();
    fanouts.on(Event::Body { request, admitted: admitted.clone(), body: body.to_vec() }, &mut effects);
    let sent = effects.iter().filter(|effect| matches!(effect, Effect::Dispatch(_))).count();
    assert_eq!(sent, 3);
    for part in order {
        let (call, kind) = (Call { request, part }, kinds[usize::from(part)]);
        if kind == Kind::Late {
            late.push(call);
        } else {
            kind.event(call, |event| fanouts.on(event, &mut effects));
        }
    }
    let in_time = effects.iter().any(|effect| matches!(effect, Effect::Respond { .. }));
    assert!(in_time || !late.is_empty(), "all replies are there");
    for _ in 0..2 {
        fanouts.on(Event::Tick { elapsed_ms: 50 }, &mut effects);
    }
    let answers = effects.len();
    for call in late {
        Kind::Late.event(call, |event| fanouts.on(event, &mut effects));
    }
    assert_eq!(fanouts.writes(), 0);
    assert!(fanouts.backlog.is_empty());
    assert!(!effects.drain(answers..).any(|effect| matches!(effect, Effect::Respond { .. })), "in time");
    let mut responses = effects.into_iter().filter_map(|effect| match effect {
        Effect::Respond { response, .. } => Some(response),
        _ => None,
    });
    let response = responses.next().unwrap();
    assert!(responses.next().is_none(), "one answer");
    response
}

fn check(endpoints: usize, protocol: Protocol) {
    let admitted =
        Admitted { tenant: TenantId::new("t").unwrap(), protocol, limits: Limits::default(), hashring: None };
    let (mut fanouts, body) = (fanouts(endpoints), body(protocol));
    for a in KINDS {
        for b in KINDS {
            for c in KINDS {
                let kinds = [a, b, c];
                let (status, counts) = expected(protocol, kinds);
                for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
                    let response = run(&mut fanouts, &admitted, &body, kinds, order);
                    assert_eq!(response.status, status, "{kinds:?} {order:?}: {}", response.body);
                    let counts = (protocol == Protocol::V2).then_some(counts);
                    assert_eq!(written(&response), counts, "{kinds:?} {order:?}");
                    let may_retry = matches!(status, 429 | 503);
                    let asks = response.headers.iter().any(|(name, _)| *name == "retry-after");
                    assert_eq!(asks, may_retry, "{kinds:?}");
                }
            }
        }
    }
}

#[test]
fn unchanged_1_0() {
    check(3, Protocol::V1);
}

#[test]
fn unchanged_2_0() {
    check(3, Protocol::V2);
}

#[test]
fn split_1_0() {
    check(5, Protocol::V1);
}

#[test]
fn split_2_0() {
    check(5, Protocol::V2);
}

#[test]
fn mixed_refusals_by_example() {
    let status = |kinds: [Kind; 3]| expected(Protocol::V1, kinds).0;
    let [stored, conflict, invalid, limited, gone] = [204, 409, 400, 429, 503].map(Kind::Status);
    assert_eq!(status([conflict, conflict, gone]), 409, "no retry can reach a quorum");
    assert_eq!(status([conflict, gone, gone]), 503, "the two may store it yet");
    assert_eq!(status([stored, conflict, gone]), 503);
    assert_eq!(status([stored, stored, conflict]), 200);
    assert_eq!(status([conflict, invalid, gone]), 409);
    assert_eq!(status([limited, limited, conflict]), 429);
    assert_eq!(status([limited, conflict, conflict]), 409);
    // Two sidecars refuse two different series: each has a quorum.
    let one = Kind::List(409, 0, Reason::OutOfOrder, [1, 0, 0]);
    let other = Kind::List(409, 1, Reason::TooOld, [0, 1, 0]);
    assert_eq!(status([one, other, stored]), 200);
    assert_eq!(status([one, other, gone]), 503, "both series may reach a quorum yet");
    assert_eq!(status([one, other, conflict]), 409);
}
