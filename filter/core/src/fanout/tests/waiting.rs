//! Parts whose sidecar's cluster the host does not have yet, as after a change of the ring.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::{Call, Counter, Dispatch, Effect, Event, Host, REQUEST, RequestId, admitted, body, status_only};
use crate::waiting::WAITING_BYTES_MAX;

/// The calls that one more tick sends.
fn tick(host: &mut Host) -> Vec<Dispatch> {
    host.sent.clear();
    host.on(Event::Tick { elapsed_ms: 50 });
    std::mem::take(&mut host.sent)
}

/// Sends a write of three parts, of which the host has no cluster for the first.
fn write_early(host: &mut Host, request: RequestId) {
    let mut effects = Vec::new();
    let event = Event::Body { request, admitted: admitted("t"), body: body(5) };
    host.fanouts.on(event, &mut effects);
    for effect in effects {
        if let Effect::Dispatch(dispatch) = effect
            && dispatch.call.part == 0
        {
            host.on(Event::NoCluster { dispatch });
        }
    }
}

fn calls(dispatches: &[Dispatch]) -> Vec<Call> {
    dispatches.iter().map(|dispatch| dispatch.call).collect()
}

#[test]
fn a_part_waits_until_its_cluster_is_there() {
    let mut host = Host::new(3);
    write_early(&mut host, REQUEST);
    for _ in 0..3 {
        let tried = tick(&mut host);
        assert_eq!(calls(&tried), [Call { request: REQUEST, part: 0 }]);
        for dispatch in tried {
            host.on(Event::NoCluster { dispatch });
        }
    }
    assert!(host.responses.is_empty(), "nobody knows yet");
    assert_eq!(tick(&mut host).len(), 1);
    host.answer(0, 200);
    host.answer(1, 200);
    assert_eq!(host.statuses(), [200]);
    host.answer(2, 200);
    assert!(tick(&mut host).is_empty() && tick(&mut host).is_empty());
    (0..100).for_each(|_| drop(tick(&mut host)));
    assert!(host.fanouts.is_empty());
}

#[test]
fn others_for_the_same_sidecar_queue_up_and_one_is_tried() {
    let mut host = Host::new(3);
    let part = |request| Call { request: RequestId(request), part: 0 };
    for request in 0..3 {
        write_early(&mut host, RequestId(request));
    }
    let tried = tick(&mut host);
    assert_eq!(calls(&tried), [part(0)]);
    write_early(&mut host, RequestId(3));
    for dispatch in tried {
        host.on(Event::NoCluster { dispatch });
    }
    assert_eq!(calls(&tick(&mut host)), [part(0)]);
    assert_eq!(calls(&tick(&mut host)), [part(1), part(2), part(3)], "the first has gone through");
    let mut effects = Vec::new();
    host.fanouts
        .on(Event::Body { request: RequestId(4), admitted: admitted("t"), body: body(5) }, &mut effects);
    let sent = effects.iter().filter(|effect| matches!(effect, Effect::Dispatch(_))).count();
    assert_eq!(sent, 3, "nobody waits any more");
}

#[test]
fn what_waits_too_long_is_given_up() {
    let mut host = Host::new(3);
    write_early(&mut host, REQUEST);
    host.answer(1, 200);
    host.answer(2, 200);
    assert_eq!(host.statuses(), [200], "the others decide");
    for _ in 0..99 {
        for dispatch in tick(&mut host) {
            host.on(Event::NoCluster { dispatch });
        }
    }
    assert_eq!((host.fanouts.writes(), host.counted(Counter::LateWriteGivenUp)), (1, 0));
    tick(&mut host);
    assert_eq!((host.fanouts.writes(), host.counted(Counter::LateWriteGivenUp)), (0, 1));
    assert_eq!(host.counted(Counter::LateWrite { success: false }), 1);
}

#[test]
fn what_waits_is_bounded() {
    let mut host = Host::new(3);
    // A length of five bytes, which the unchanged form does not look beyond.
    let large = [&b"\x05"[..], &vec![0x80; WAITING_BYTES_MAX / 3]].concat();
    for request in 0..4 {
        let mut effects = Vec::new();
        let event = Event::Body { request: RequestId(request), admitted: admitted("t"), body: large.clone() };
        host.fanouts.on(event, &mut effects);
        for effect in effects {
            match effect {
                Effect::Dispatch(dispatch) if dispatch.call.part == 0 => {
                    host.on(Event::NoCluster { dispatch });
                }
                Effect::Count(counter) => host.counters.push(counter),
                _ => {}
            }
        }
        for part in 1..3 {
            let call = Call { request: RequestId(request), part };
            let mut effects = Vec::new();
            host.fanouts.on(Event::Answered { call, reply: status_only(200) }, &mut effects);
        }
    }
    assert_eq!(host.fanouts.writes(), 2, "two wait");
    assert_eq!(host.counted(Counter::Waits), 1, "the second waits behind the first");
    assert_eq!(host.counted(Counter::HeldBack), 2);
}
