//! What must hold in every world when all is over.

use ringside_filter_core::limits::Limits;
use ringside_filter_core::{Admitted, Call, Effect, Event, Fanouts, RequestId};
use ringside_proto::Protocol;

use crate::sidecar::Manner;
use crate::witness::{Request, Verdict};
use crate::world::{TENANT, WRITE_TIMEOUT_MS, World, tenant, with_reply};

/// What does not hold, in words.
pub(crate) type Finding = String;

/// Ends a check with a finding where something does not hold.
macro_rules! hold {
    ($holds:expr, $($words:tt)+) => {
        if !$holds {
            return Err(format!($($words)+));
        }
    };
}
pub(crate) use hold;

/// Nothing is kept, and each verdict is the one of its replies in any other order.
pub(crate) fn end(world: &mut World) -> Result<(), Finding> {
    hold!(world.witness.waiting.is_empty(), "somebody waits");
    for filter in &world.filters {
        hold!(filter.fanouts.writes() == 0 && filter.fanouts.bytes_under_way() == 0, "a write is left over");
        hold!(filter.fanouts.is_empty(), "something is left over");
        hold!(filter.drained == u32::from(filter.is_draining), "an old filter says once that it is done");
    }
    let requests = std::mem::take(&mut world.witness.requests);
    let mut mirrors: Vec<_> =
        world.filters.iter().map(|filter| Fanouts::new(filter.config.clone())).collect();
    for request in requests.values() {
        hold!(request.parts.len() == request.replies.len(), "a part has not ended");
        charge(world, request)?;
        let Some(verdict) = &request.verdict else { continue };
        if request.is_one_too_many {
            hold!(request.parts.is_empty(), "parts of a request that is refused");
            world.witness.saw("too much in flight");
            continue;
        }
        let mirror = &mut mirrors[request.filter];
        let (verdict_ms, known) = request.verdict_at;
        let mut before: Vec<usize> = (0..known).collect();
        world.random.shuffle(&mut before);
        hold!(
            *verdict == replay(mirror, request, &before)?,
            "another verdict by another order; {}",
            request.in_words()
        );
        if verdict_ms < request.start_ms + WRITE_TIMEOUT_MS - 100 {
            let mut all: Vec<usize> = (0..request.replies.len()).collect();
            world.random.shuffle(&mut all);
            hold!(
                *verdict == replay(mirror, request, &all)?,
                "another verdict by all replies; {}",
                request.in_words()
            );
            if known < all.len() {
                world.witness.saw("early verdict");
            }
        } else {
            world.witness.saw("verdict by time");
        }
        if verdict.samples().is_some_and(|samples| samples > 0 && samples < request.write.samples()) {
            world.witness.saw("partial write");
        }
        if has_parts_of_series(request) {
            world.witness.saw("part of a series");
        }
        if request.filter + 1 < mirrors.len() {
            world.witness.saw("request before a ring change");
        }
        if request.parts.len() > 3 {
            world.witness.saw("split request");
        }
    }
    Ok(())
}

/// Whether a sidecar has some samples of a series, and not others.
fn has_parts_of_series(request: &Request) -> bool {
    let answers = request.replies.iter().filter_map(|(_, answer)| answer.as_ref());
    let mut held = answers.flat_map(|answer| &answer.holds);
    held.any(|held| {
        let mut sent = request.write.series.iter().filter(|sent| sent.number == held.number);
        sent.any(|sent| !held.samples.is_empty() && held.samples.len() < sent.samples.len())
    })
}

/// Who has a rate is charged once at most, for no more than was sent, and not for what is to come again; for what is
/// stored where it is known how much that is.
fn charge(world: &mut World, request: &Request) -> Result<(), Finding> {
    let sent = request.write.samples();
    let status = request.verdict.as_ref().map_or(0, |verdict| verdict.status);
    let Some(samples) = request.charged else {
        let ring = world.filters[request.filter].config.hashrings.for_tenant(TENANT).expect("a ring");
        let is_split = ring.endpoints().len() > ring.replication_factor();
        let is_known = is_split || world.sidecars.iter().all(|one| one.manner == Manner::Lists);
        let is_success = (200..300).contains(&status);
        hold!(!(request.has_rate && is_success && is_known && sent > 0), "stored and not charged");
        return Ok(());
    };
    hold!(request.has_rate && samples <= sent, "{samples} charged of {sent}");
    hold!(status != 503, "charged for what is to come again");
    world.witness.saw("charge");
    if samples < sent {
        world.witness.saw("charge for a part");
    }
    Ok(())
}

/// The verdict of the same request if these replies come in this order, and then time passes.
fn replay(fanouts: &mut Fanouts, request: &Request, order: &[usize]) -> Result<Verdict, Finding> {
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
    hold!(fanouts.is_empty(), "something is left over of a request alone");
    let mut verdicts = effects.iter().filter_map(|effect| match effect {
        Effect::Respond { response, .. } => Some(Verdict::of(response)),
        _ => None,
    });
    let verdict = verdicts.next();
    hold!(verdicts.next().is_none(), "two answers to a request alone");
    verdict.ok_or_else(|| "no answer to a request alone".to_owned())
}

/// What the whole of all worlds has to show, or they test little.
pub(crate) const EVENTS: [&str; 21] = [
    "charge",
    "too much in flight",
    "half a body",
    "status 200",
    "status 204",
    "status 400",
    "status 409",
    "status 413",
    "status 415",
    "status 429",
    "status 503",
    "early verdict",
    "verdict by time",
    "success without trouble",
    "partial write",
    "part of a series",
    "request before a ring change",
    "body after a ring change",
    "split request",
    "part without a cluster",
    "part that waited for a cluster",
];
