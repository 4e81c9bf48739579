//! Writes of a tenant with limits: what is beyond one is not sent, and what is stored is charged for once.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use prost::Message as _;
use ringside_proto::limits::ContentLimits;
use ringside_proto::prometheus::{Label, TimeSeries, WriteRequest};
use ringside_proto::ringside::{Reason, RefusedSeries, WriteRefused};
use ringside_proto::{CONTENT_TYPE_REFUSED, Protocol, prometheus_v2};

use super::{Host, REQUEST, admitted, status_only};
use crate::admission::Admitted;
use crate::answer::Reply;
use crate::config::Config;
use crate::events::{Call, Counter, Effect, Event, RequestId};
use crate::fanout::Fanouts;
use crate::limits::{Limit, Limits};
use crate::rate::Rate;

/// A tenant with a rate and a limit that needs a look inside.
fn limited() -> Admitted {
    let rate = Rate { samples_per_second: 10, burst: 10 };
    let content = ContentLimits { labels_per_series: Some(1), ..ContentLimits::default() };
    let limits = Limits { rate: Some(rate), body_bytes: Some(4096), in_flight_bytes: None, content };
    Admitted { limits, ..admitted("t") }
}

#[test]
fn a_split_write_is_charged_at_its_verdict() {
    let mut host = Host::new(5);
    let mut effects = Vec::new();
    let event = Event::Body { request: REQUEST, admitted: limited(), body: body_of(&[1, 1, 2]) };
    host.fanouts.on(event, &mut effects);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Charge { .. })));
    assert!(effects.iter().all(|effect| match effect {
        Effect::Dispatch(dispatch) => dispatch.headers().len() == 8,
        _ => true,
    }));
    for part in 0..5 {
        host.answer(part, 200);
    }
    assert_eq!(host.statuses(), [400]);
    assert_eq!(
        host.responses[0].body,
        "refused: 1 series, the first of them at index 2: series 2: more than 1 labels\n"
    );
    assert_eq!(host.charged, [2], "the series beyond a limit is neither sent nor charged");
}

#[test]
fn what_is_to_come_again_is_charged_then() {
    let mut host = Host::new(5);
    host.on(Event::Body { request: REQUEST, admitted: limited(), body: body_of(&[1]) });
    for (part, status) in [(0, 503), (1, 503), (2, 200)] {
        host.answer(part, status);
    }
    assert_eq!((host.statuses(), &host.charged[..]), (vec![503], &[][..]));
    host.on(Event::Body { request: REQUEST, admitted: limited(), body: body_of(&[1]) });
    for _ in 0..200 {
        host.on(Event::Tick { elapsed_ms: 50 });
    }
    for part in 0..3 {
        host.answer(part, 200);
    }
    assert_eq!((host.statuses(), &host.charged[..]), (vec![503, 503], &[][..]), "late writes come again too");
    host.on(Event::Body { request: REQUEST, admitted: limited(), body: body_of(&[1]) });
    for (part, status) in [(0, 503), (1, 200), (2, 200)] {
        host.answer(part, status);
    }
    assert_eq!((host.statuses(), &host.charged[..]), (vec![503, 503, 200], &[1][..]));
}

#[test]
fn an_unchanged_write_is_charged_by_a_late_answer() {
    let mut host = Host::new(3);
    host.on(Event::Body { request: REQUEST, admitted: limited(), body: body_of(&[1, 1]) });
    host.answer(0, 200);
    host.answer(1, 200);
    assert_eq!((host.statuses(), host.charged.len()), (vec![200], 0));
    let written = [Some(&b"2"[..]), Some(b"0"), Some(b"0")];
    let call = Call { request: REQUEST, part: 2 };
    host.on(Event::Answered { call, reply: Reply { written, ..status_only(200) } });
    assert_eq!((&host.charged[..], host.counted(Counter::ChargeLost)), (&[2][..], 0));
}

#[test]
fn an_unchanged_write_is_charged_once_by_what_the_sidecars_say() {
    let mut host = Host::new(3);
    host.on(Event::Body { request: REQUEST, admitted: limited(), body: body_of(&[1, 1, 2]) });
    for dispatch in &host.sent {
        assert_eq!(dispatch.headers().last(), Some(&("x-ringside-limits", "labels_per_series=1")));
    }
    host.answer(0, 503);
    assert!(host.charged.is_empty());
    let series = vec![RefusedSeries {
        index: 2,
        reason: Reason::Invalid.into(),
        samples_missing: 1,
        ..Default::default()
    }];
    let list = WriteRefused { message: String::new(), series }.encode_to_vec();
    for part in [1, 2] {
        let call = Call { request: REQUEST, part };
        let content_type = Some(CONTENT_TYPE_REFUSED.as_bytes());
        let written = [Some(&b"2"[..]), Some(b"0"), Some(b"0")];
        host.on(Event::Answered {
            call,
            reply: Reply { content_type, written, body: &list, ..status_only(400) },
        });
    }
    assert_eq!(host.charged, [3]);
    assert_eq!(host.statuses(), [400], "the same answer as from a split write");
}

/// So many series are refused that a sidecar does not list them: a tenant must not evade its rate by that.
#[test]
fn a_refusal_without_a_list_is_charged_for_what_is_stored() {
    let mut host = Host::new(3);
    host.on(Event::Body { request: REQUEST, admitted: limited(), body: body_of(&[1, 1]) });
    for (part, (status, samples)) in (0..).zip([(503, "0"), (400, "9"), (400, "9")]) {
        let written = [Some(samples.as_bytes()), Some(b"0"), Some(b"0")];
        let call = Call { request: REQUEST, part };
        host.on(Event::Answered { call, reply: Reply { written, ..status_only(status) } });
    }
    assert_eq!((host.statuses(), &host.charged[..]), (vec![400], &[9][..]));
}

#[test]
fn a_charge_is_lost_where_something_is_stored_and_nobody_says_how_much() {
    for (statuses, lost) in [([200, 200, 200], 1), ([503, 503, 200], 0), ([400, 400, 503], 0)] {
        let mut host = Host::new(3);
        host.on(Event::Body { request: REQUEST, admitted: limited(), body: body_of(&[1]) });
        for (part, status) in (0..).zip(statuses) {
            host.answer(part, status);
        }
        assert_eq!((host.charged.len(), host.counted(Counter::ChargeLost)), (0, lost), "{statuses:?}");
        assert_eq!(host.fanouts.writes(), 0);
    }
}

#[test]
fn with_every_series_beyond_a_limit_nothing_is_sent() {
    for protocol in [Protocol::V1, Protocol::V2] {
        let mut host = Host::new(5);
        let body = match protocol {
            Protocol::V1 => body_of(&[2, 2]),
            Protocol::V2 => {
                let series =
                    prometheus_v2::TimeSeries { labels_refs: vec![1, 1, 2, 2], ..Default::default() };
                let symbols = ["", "a", "b"].map(str::to_owned).into();
                let request = prometheus_v2::Request { symbols, timeseries: vec![series] };
                snap::raw::Encoder::new().compress_vec(&request.encode_to_vec()).unwrap()
            }
        };
        host.on(Event::Body { request: REQUEST, admitted: Admitted { protocol, ..limited() }, body });
        assert_eq!((host.statuses(), host.sent.len(), host.fanouts.writes()), (vec![400], 0, 0));
        let says_written = host.responses[0].headers.iter().any(|(name, _)| name.ends_with("-written"));
        assert_eq!(says_written, protocol == Protocol::V2);
        assert!(host.fanouts.is_empty());
    }
}

/// A body of series with one sample each and so many labels.
fn body_of(labels: &[usize]) -> Vec<u8> {
    let label = |n| Label { name: format!("l{n}"), value: String::new() };
    let series = |labels: &usize| TimeSeries {
        labels: (0..*labels).map(label).collect(),
        samples: vec![Default::default()],
        ..TimeSeries::default()
    };
    let request = WriteRequest { timeseries: labels.iter().map(series).collect(), metadata: Vec::new() };
    snap::raw::Encoder::new().compress_vec(&request.encode_to_vec()).unwrap()
}

#[test]
fn what_one_tenant_has_in_flight_is_bounded_until_its_verdict() {
    let [a, b, c] = [1, 2, 3].map(RequestId);
    let of = |tenant| {
        let limits = Limits { in_flight_bytes: Some(1_000_000), ..Limits::default() };
        Admitted { limits, ..admitted(tenant) }
    };
    let json = br#"{"hashrings":[{"endpoints":["a","b","c"]}]}"#;
    let mut fanouts = Fanouts::new(Config::parse(json).unwrap());
    let on = |fanouts: &mut Fanouts, event| {
        let mut effects = Vec::new();
        fanouts.on(event, &mut effects);
        effects
    };
    // A length of five bytes, which the unchanged form does not look beyond.
    let body = [&b"\x05"[..], &[0x80; 600_000]].concat();
    let write = |request, tenant| Event::Body { request, admitted: of(tenant), body: body.clone() };
    let end = |request, part| Event::NotDispatched { call: Call { request, part } };

    on(&mut fanouts, write(a, "t"));
    let refused = on(&mut fanouts, write(b, "t"));
    assert!(matches!(&refused[..], [Effect::Respond { response, .. }]
        if response.status == 503 && response.limit == Some(Limit::TenantInFlight)));
    assert!(fanouts.arrived(b, &of("t"), 500_000).is_some(), "nor does a body begin to arrive");
    on(&mut fanouts, Event::ClientGone { request: b });
    on(&mut fanouts, write(c, "another"));
    assert_eq!(fanouts.writes(), 2);

    on(&mut fanouts, Event::ClientGone { request: a });
    assert!(fanouts.arrived(b, &of("t"), 500_000).is_some(), "a client that leaves frees nothing");
    on(&mut fanouts, end(a, 0));
    on(&mut fanouts, end(a, 1));
    assert!(fanouts.arrived(b, &of("t"), 500_000).is_none(), "the verdict does, before the last part");
    on(&mut fanouts, Event::ClientGone { request: b });
    for (request, part) in [(a, 2), (c, 0), (c, 1), (c, 2)] {
        on(&mut fanouts, end(request, part));
    }
    assert!(fanouts.unanswered.is_empty());
}
