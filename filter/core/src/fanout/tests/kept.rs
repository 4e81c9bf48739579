//! What is kept of single series up to the verdict is bounded for all writes together.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use prost::Message as _;
use ringside_proto::CONTENT_TYPE_REFUSED;
use ringside_proto::ringside::{Reason, RefusedSeries, WriteRefused};

use super::{admitted, body, status_only};
use crate::answer::Reply;
use crate::config::Config;
use crate::events::{Call, Effect, Event, RequestId};
use crate::fanout::Fanouts;

const IN_FLIGHT: &str = r#""in_flight_bytes_max":1048576"#;

fn fanouts(endpoints: usize) -> Fanouts {
    let endpoints: Vec<_> = (1..=endpoints).map(|n| format!("\"node-{n}:19291\"")).collect();
    let json = format!(r#"{{"hashrings":[{{"endpoints":[{}]}}],{IN_FLIGHT}}}"#, endpoints.join(","));
    Fanouts::new(Config::parse(json.as_bytes()).unwrap())
}

/// Sends a body; the status, if it is answered at once.
fn send(fanouts: &mut Fanouts, request: u32, body: Vec<u8>) -> Option<u16> {
    let mut effects = Vec::new();
    fanouts.on(Event::Body { request: RequestId(request), admitted: admitted("t"), body }, &mut effects);
    status(&effects)
}

/// Answers a part; the client's status, if that is fixed by it.
fn answer(fanouts: &mut Fanouts, request: u32, part: u16, reply: Reply<'_>) -> Option<u16> {
    let mut effects = Vec::new();
    fanouts.on(Event::Answered { call: Call { request: RequestId(request), part }, reply }, &mut effects);
    status(&effects)
}

fn status(effects: &[Effect]) -> Option<u16> {
    effects.iter().find_map(|effect| match effect {
        Effect::Respond { response, .. } => Some(response.status),
        _ => None,
    })
}

#[test]
fn lists_of_refused_series() {
    let one = |index| RefusedSeries { index, reason: Reason::TooOld.into(), ..RefusedSeries::default() };
    let list =
        WriteRefused { message: String::new(), series: (0..40_000).map(one).collect() }.encode_to_vec();
    let refused = Reply {
        status: Some(409),
        content_type: Some(CONTENT_TYPE_REFUSED.as_bytes()),
        body: &list,
        ..Reply::default()
    };
    let mut fanouts = fanouts(3);
    for request in 0..2 {
        assert_eq!(send(&mut fanouts, request, body(1)), None);
        assert_eq!(answer(&mut fanouts, request, 0, refused), None);
    }
    assert_eq!(answer(&mut fanouts, 1, 1, refused), Some(503), "neither list was read: two are unavailable");
    assert_eq!(answer(&mut fanouts, 0, 1, refused), Some(409), "one by itself may have any size");
    for request in 0..2 {
        assert_eq!(answer(&mut fanouts, request, 2, status_only(200)), None);
    }
    assert!(fanouts.kept.is_empty() && fanouts.writes() == 0);
}

#[test]
fn where_each_series_is() {
    let mut fanouts = fanouts(5);
    let many = snap::raw::Encoder::new().compress_vec(&[0x0a, 0].repeat(300_000)).unwrap();
    assert_eq!(send(&mut fanouts, 0, many.clone()), None, "one by itself may have any size");
    assert_eq!(send(&mut fanouts, 1, body(100)), None, "what nearly every write keeps is not counted");
    assert_eq!(send(&mut fanouts, 2, many.clone()), Some(503));
    for part in 0..5 {
        for request in 0..2 {
            answer(&mut fanouts, request, part, status_only(200));
        }
    }
    assert!(fanouts.kept.is_empty() && fanouts.writes() == 0);
    assert_eq!(send(&mut fanouts, 3, many), None);
}
