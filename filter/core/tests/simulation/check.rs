//! What must hold in every world.

use ringside_filter_core::limits::Limits;
use ringside_filter_core::{Admitted, Call, Effect, Event, Fanouts, RequestId, Response};
use ringside_hashring::{EndpointIndex, series_hash, write_quorum};
use ringside_proto::Protocol;

use crate::sidecar::Manner;
use crate::traffic::labels;
use crate::witness::{Request, Verdict};
use crate::world::{TENANT, WRITE_TIMEOUT_MS, World, tenant, with_reply};

/// An answer as it leaves: in time, once, and true of what is on the sidecars' disks now.
pub(crate) fn answer(world: &World, id: RequestId, response: &Response) {
    let request = &world.witness.requests[&id];
    let verdict = Verdict::of(response);
    assert!(request.verdict.is_none(), "a second answer");
    assert!(!request.has_left, "an answer to nobody");
    assert!(world.now_ms - request.start_ms <= WRITE_TIMEOUT_MS, "an answer too late");

    let (mut written, mut sent) = (0, 0);
    let mut is_whole = true;
    for series in &request.write.series {
        let (replicas, quorum) = replicas(world, request.filter, series.number);
        for sample in &series.samples {
            let holders: Vec<_> = { replicas.iter() }
                .filter(|sidecar| world.sidecars[**sidecar].holds(series.number, *sample))
                .collect();
            sent += 1;
            written += u64::from(holders.len() >= quorum);
            is_whole &= holders.len() >= quorum;
            // Whichever sidecar is lost, another has it.
            is_whole &= replicas.iter().all(|lost| holders.iter().any(|holder| *holder != lost));
        }
    }
    assert_eq!(sent, request.write.samples());
    if (200..300).contains(&response.status) {
        assert_eq!(response.status, request.write.protocol.success());
        assert!(is_whole && !request.write.is_garbage, "a success without a quorum of each series");
    }
    match request.write.protocol {
        Protocol::V1 => assert_eq!(verdict.written, [None, None, None]),
        Protocol::V2 => {
            let samples = verdict.samples().expect("the header of an answer to 2.0");
            let is_success = response.status == 204;
            assert!(samples <= written, "{samples} are said to be written, {written} are");
            assert!(!is_success || samples == sent, "{samples} of {sent} written in a success");
            assert_eq!(verdict.written[1..], [Some("0".to_owned()), Some("0".to_owned())]);
        }
    }
}

/// The sidecars of a series, and how many of them are a quorum.
fn replicas(world: &World, filter: usize, series: u32) -> (Vec<usize>, usize) {
    let ring = world.filters[filter].config.hashrings.for_tenant(TENANT).expect("a ring");
    let labels = labels(series);
    let labels = labels.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let address = |at: &EndpointIndex| ring.endpoints()[at.get()].address.parse().expect("an address");
    let replicas = ring.replicas(series_hash(TENANT, labels));
    (replicas.iter().map(address).collect(), write_quorum(replicas.len()))
}

pub(crate) fn nobody_waits_too_long(world: &World) {
    for id in &world.witness.waiting {
        let waited_ms = world.now_ms - world.witness.requests[id].start_ms;
        assert!(waited_ms < WRITE_TIMEOUT_MS, "{id:?} is unanswered after {waited_ms} ms");
    }
}

/// When all is over: nothing is kept, and each verdict is the one of its replies in any other order.
pub(crate) fn end(world: &mut World) {
    assert!(world.witness.waiting.is_empty(), "somebody waits");
    for filter in &world.filters {
        assert_eq!((filter.fanouts.writes(), filter.fanouts.bytes_under_way()), (0, 0));
        assert!(filter.fanouts.is_empty(), "something is left over");
    }
    let requests = std::mem::take(&mut world.witness.requests);
    let mut mirrors: Vec<_> =
        world.filters.iter().map(|filter| Fanouts::new(filter.config.clone())).collect();
    for request in requests.values() {
        assert_eq!(request.parts.len(), request.replies.len(), "each part ends once");
        charge(world, request);
        let Some(verdict) = &request.verdict else { continue };
        if request.is_one_too_many {
            assert_eq!((verdict.status, request.parts.len()), (503, 0));
            world.witness.saw("too much in flight");
            continue;
        }
        let mirror = &mut mirrors[request.filter];
        let (verdict_ms, known) = request.verdict_at;
        let mut before: Vec<usize> = (0..known).collect();
        world.random.shuffle(&mut before);
        assert_eq!(&replay(mirror, request, &before), verdict, "the replies before the verdict");
        if verdict_ms < request.start_ms + WRITE_TIMEOUT_MS - 100 {
            let mut all: Vec<usize> = (0..request.replies.len()).collect();
            world.random.shuffle(&mut all);
            assert_eq!(&replay(mirror, request, &all), verdict, "all replies");
            if known < all.len() {
                world.witness.saw("early verdict");
            }
        } else {
            world.witness.saw("verdict by time");
        }
        if verdict.samples().is_some_and(|samples| samples > 0 && samples < request.write.samples()) {
            world.witness.saw("partial write");
        }
        if request.filter + 1 < mirrors.len() {
            world.witness.saw("request before a ring change");
        }
        if request.parts.len() > 3 {
            world.witness.saw("split request");
        }
    }
}

/// Who has a rate is charged once at most, for no more than was sent, and not for what is to come again; for what is
/// stored where it is known how much that is.
fn charge(world: &mut World, request: &Request) {
    let sent = request.write.samples();
    let status = request.verdict.as_ref().map_or(0, |verdict| verdict.status);
    let Some(samples) = request.charged else {
        let ring = world.filters[request.filter].config.hashrings.for_tenant(TENANT).expect("a ring");
        let is_split = ring.endpoints().len() > ring.replication_factor();
        let is_known = is_split || world.sidecars.iter().all(|one| one.manner == Manner::Lists);
        let is_success = (200..300).contains(&status);
        assert!(!(request.has_rate && is_success && is_known && sent > 0), "stored and not charged");
        return;
    };
    assert!(request.has_rate && samples <= sent, "{samples} charged of {sent}");
    assert_ne!(status, 503, "charged for what is to come again");
    world.witness.saw("charge");
    if samples < sent {
        world.witness.saw("charge for a part");
    }
}

/// The verdict of the same request if these replies come in this order, and then time passes.
fn replay(fanouts: &mut Fanouts, request: &Request, order: &[usize]) -> Verdict {
    let id = RequestId(0);
    let admitted = Admitted {
        tenant: tenant(),
        protocol: request.write.protocol,
        limits: Limits::default(),
        hashring: None,
    };
    let mut effects = Vec::new();
    fanouts.on(Event::Body { request: id, admitted, body: request.write.body.clone() }, &mut effects);
    for at in order {
        let (part, answer) = &request.replies[*at];
        let call = Call { request: id, part: *part };
        let asks_written = request.write.protocol == Protocol::V2;
        with_reply(answer.as_ref(), asks_written, |reply| {
            fanouts.on(Event::Answered { call, reply }, &mut effects)
        });
    }
    for _ in 0..2 {
        fanouts.on(Event::Tick { elapsed_ms: WRITE_TIMEOUT_MS }, &mut effects);
    }
    // Those without a reply, and those that never left because they waited for a cluster.
    for part in 0..16 {
        let call = Call { request: id, part };
        fanouts.on(Event::NotDispatched { call }, &mut effects);
    }
    assert!(fanouts.is_empty());
    let mut verdicts = effects.iter().filter_map(|effect| match effect {
        Effect::Respond { response, .. } => Some(Verdict::of(response)),
        _ => None,
    });
    let verdict = verdicts.next().expect("a verdict");
    assert!(verdicts.next().is_none(), "one verdict");
    verdict
}

/// What the whole of all worlds has to show, or they test little.
pub(crate) const EVENTS: [&str; 17] = [
    "charge",
    "too much in flight",
    "half a body",
    "status 200",
    "status 204",
    "status 400",
    "status 409",
    "status 415",
    "status 429",
    "status 503",
    "early verdict",
    "verdict by time",
    "partial write",
    "request before a ring change",
    "split request",
    "part without a cluster",
    "part that waited for a cluster",
];
