//! What must hold of an answer when it leaves, and of a client that waits for one.
//!
//! An answer is judged twice: by what is on the sidecars' disks at that moment, and by what the replies make of the request
//! in the plain model of `verdict`.

use ringside_filter_core::{Limit, RequestId, Response, TICK_MS};
use ringside_proto::Protocol;

use crate::check::{Finding, hold};
use crate::sidecar::Manner;
use crate::verdict;
use crate::witness::{Request, Verdict};
use crate::world::{WRITE_TIMEOUT_MS, World};

/// A client that has waited so long may be answered though replies are missing: the core's clock is up to a tick behind,
/// and the last tick before the timeout is the last one to answer.
const TIME_IS_OVER_MS: u64 = WRITE_TIMEOUT_MS - 2 * TICK_MS as u64;
/// The longest that an answer takes where nothing is slow: there, to the disk, and back.
const PROMPT_MS: u64 = 20 + 5 + 20;

/// An answer as it leaves: in time, once, and true.
pub(crate) fn judge(world: &World, id: RequestId, response: &Response) -> Result<(), Finding> {
    let request = &world.witness.requests[&id];
    let waited_ms = world.now_ms - request.start_ms;
    hold!(request.verdict.is_none(), "a second answer");
    hold!(!request.has_left, "an answer to nobody");
    hold!(!request.is_whole || waited_ms <= WRITE_TIMEOUT_MS, "an answer too late");
    let verdict = Verdict::of(response);
    if response.limit == Some(Limit::TenantInFlight) {
        hold!(has_too_much_in_flight(world, id), "there is room for it");
        hold!(verdict.status == 503, "a refusal by {}", verdict.status);
        return written(world, request, &verdict);
    }
    hold!(request.is_whole, "an answer to half a body");
    status(request, waited_ms, verdict.status)?;
    if is_undisturbed(world, id) {
        hold!(verdict.status == request.write.protocol.success(), "{} without any trouble", verdict.status);
        hold!(waited_ms <= PROMPT_MS, "{waited_ms} ms without any trouble");
    }
    if (200..300).contains(&verdict.status) {
        hold!(!request.write.is_garbage, "a success of what nobody can read");
        hold!(is_stored(world, request), "a success without a quorum of each series");
    }
    written(world, request, &verdict)
}

/// The status is the one that the replies make, and leaves no earlier than they make it.
fn status(request: &Request, waited_ms: u64, got: u16) -> Result<(), Finding> {
    let of = |verdict| verdict::status(request.write.protocol, verdict);
    let (best, worst) = request.ends();
    let (best, worst, end) = (of(best), of(worst), of(request.end()));
    let is_time_over = waited_ms >= TIME_IS_OVER_MS;
    hold!(
        best == worst || is_time_over,
        "{got} after {waited_ms} ms, where {best} to {worst} may be to come"
    );
    hold!(got == end, "{got} in place of {end}");
    Ok(())
}

/// Whether a quorum has each sample on disk, and whichever sidecar is lost, another has it.
fn is_stored(world: &World, request: &Request) -> bool {
    let quorum = request.placement.quorum;
    holders(world, request).all(|holders| holders >= quorum && (holders > 1 || quorum == 1))
}

/// How many of its replicas have each sample on disk.
fn holders(world: &World, request: &Request) -> impl Iterator<Item = usize> {
    let series = request.write.series.iter().zip(&request.placement.replicas);
    series.flat_map(move |(series, replicas)| {
        series.samples.iter().map(move |sample| {
            let has = |sidecar: &&usize| world.sidecars[**sidecar].holds(series.number, *sample);
            replicas.iter().filter(has).count()
        })
    })
}

/// What is said to be written is on the disks of a quorum; and where the replies tell exactly how much of it is, all of it
/// is said.
fn written(world: &World, request: &Request, verdict: &Verdict) -> Result<(), Finding> {
    if request.write.protocol == Protocol::V1 {
        hold!(verdict.written == [None, None, None], "a header that 1.0 does not have");
        return Ok(());
    }
    let Some(said) = verdict.samples() else { return Err("no header in an answer to 2.0".to_owned()) };
    hold!(verdict.written[1..] == [Some("0".to_owned()), Some("0".to_owned())], "histograms or exemplars");
    let sent = request.write.samples();
    hold!(verdict.status != 204 || said == sent, "{said} of {sent} written in a success");
    let Some((at_least, _)) = request.written() else {
        hold!(said <= sent, "{said} of {sent} written");
        return Ok(());
    };
    let quorum = request.placement.quorum;
    let stored = holders(world, request).filter(|holders| *holders >= quorum).count();
    hold!(said <= stored as u64, "{said} are said to be written, {stored} are");
    if all_list(world, request) {
        hold!(said == at_least, "{said} are said to be written, by the replies it is {at_least}");
    }
    Ok(())
}

fn all_list(world: &World, request: &Request) -> bool {
    request.placement.ring.iter().all(|sidecar| world.sidecars[*sidecar].manner == Manner::Lists)
}

/// Whether the tenant has other bodies in flight, and with this one more than it may have.
fn has_too_much_in_flight(world: &World, id: RequestId) -> bool {
    let mine = &world.witness.requests[&id];
    let others = world.witness.requests.iter().filter(|(other, request)| {
        // A verdict that nobody waits for is not seen; it is there in time.
        let is_over = request.verdict.is_some() || request.has_left && !request.is_whole;
        **other != id
            && request.filter == mine.filter
            && !is_over
            && (!request.is_whole || world.now_ms - request.start_ms <= WRITE_TIMEOUT_MS)
    });
    let others: usize = others.map(|(_, request)| request.bytes).sum();
    others > 0 && world.in_flight_bytes.is_some_and(|most| (others + mine.bytes) as u64 > most)
}

/// Whether nothing is in the way of a write: no trouble in its world, no sidecar that does not know its version, and
/// nothing sent before it that it may conflict with.
pub(crate) fn is_undisturbed(world: &World, id: RequestId) -> bool {
    let request = &world.witness.requests[&id];
    let knows = |sidecar: &usize| {
        request.write.protocol == Protocol::V1 || world.sidecars[*sidecar].manner != Manner::Old
    };
    let mut others = world.witness.requests.iter().filter(|(other, _)| **other != id);
    world.trouble == 0
        && !request.write.is_garbage
        && request.placement.ring.iter().all(knows)
        && request.write.is_in_order()
        && others.all(|(_, other)| request.write.follows(&other.write))
}

/// No client waits where nothing that is to come can change its answer.
pub(crate) fn nobody_waits_in_vain(world: &World, id: RequestId) -> Result<(), Finding> {
    let request = &world.witness.requests[&id];
    if !request.is_whole || !world.witness.waiting.contains(&id) {
        return Ok(());
    }
    hold!(!request.is_complete(), "no answer to all replies");
    let (best, worst) = request.ends();
    // In remote write 2.0 what is written is to be told, too.
    let is_told =
        request.write.protocol == Protocol::V1 || all_list(world, request) && request.is_written_certain();
    hold!(best != worst || !is_told, "a wait in vain for {best}");
    Ok(())
}

/// Each client is answered within the write timeout.
pub(crate) fn nobody_waits_too_long(world: &World) -> Result<(), Finding> {
    for id in &world.witness.waiting {
        let request = &world.witness.requests[id];
        let waited_ms = world.now_ms - request.start_ms;
        hold!(!request.is_whole || waited_ms < WRITE_TIMEOUT_MS, "{id:?} is unanswered after {waited_ms} ms");
    }
    Ok(())
}
