//! The host of the filters: hands over events, and turns effects into calls. It keeps what a host keeps (see
//! `filter/src/effects.rs`): each call is answered once, and one that ran out of time by that in place of the late answer.

use std::collections::{BTreeSet, VecDeque};

use ringside_filter_core::{Call, Counter, Dispatch, Effect, Event, Reply};
use ringside_proto::CONTENT_TYPE_REFUSED;

use super::clients::request_of;
use super::{Happening, LATE_WRITE_TIMEOUT_MS, Place, World};
use crate::answer;
use crate::check::{Finding, hold};
use crate::faults::Fault;
use crate::sidecar::Answer;
use crate::traffic::decode;
use crate::witness::Request;

impl World {
    /// Has a filter take an event, and does what it wants done, as the module's root context does.
    pub(super) fn on(&mut self, filter: usize, event: Event<'_>) {
        let mut about: BTreeSet<_> = match &event {
            Event::Body { request, .. } => [*request].into(),
            Event::Answered { call, .. } => [call.request].into(),
            _ => BTreeSet::new(),
        };
        let mut effects = Vec::new();
        self.filters[filter].fanouts.on(event, &mut effects);
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Dispatch(dispatch) => {
                    about.insert(dispatch.call.request);
                    effects.extend(self.dispatch(filter, dispatch));
                }
                Effect::Respond { request, response, .. } => self.respond(request, response),
                Effect::Count(counter) => assert_ne!(counter, Counter::HeldBack, "so little is under way"),
                Effect::Charge { rate, samples, .. } => self.witness.charged(request_of(rate), samples),
                Effect::Drained => self.filters[filter].drained += 1,
            }
        }
        for request in about {
            self.found_of(request, answer::nobody_waits_in_vain(self, request));
        }
    }

    /// Sends a part. Returns what follows if that cannot be.
    fn dispatch(&mut self, filter: usize, dispatch: Dispatch) -> Vec<Effect> {
        let at = Place { filter, call: dispatch.call };
        let sidecar = dispatch.address.parse::<usize>().expect("an address");
        let mut follows = Vec::new();
        let was_early = self.early.remove(&at);
        if !was_early {
            self.witness.dispatched(at, sidecar);
            let (id, requests) = (at.call.request, &self.witness.requests);
            self.found_of(id, is_the_part_of(&requests[&id], sidecar, &dispatch));
        }
        if self.now_ms < self.known_from_ms[&sidecar] {
            self.early.insert(at);
            self.filters[filter].fanouts.on(Event::NoCluster { dispatch }, &mut follows);
            return follows;
        }
        if was_early {
            self.witness.saw("part that waited for a cluster");
        }
        let is_known_dead = !self.sidecars[sidecar].is_up && self.random.percent(70);
        if is_known_dead {
            self.witness.reached(at, None);
            let event = Event::NotDispatched { call: dispatch.call };
            self.filters[filter].fanouts.on(event, &mut follows);
            return follows;
        }
        self.calls.insert(at, sidecar);
        if dispatch.asks_written {
            self.asking.insert(at);
        }
        assert_eq!(dispatch.timeout_ms, LATE_WRITE_TIMEOUT_MS);
        let timeout = Happening::Reach { at, answer: Some(Answer::plain(504)) };
        self.after(dispatch.timeout_ms.into(), timeout);
        if !self.random.percent(self.trouble / 3) {
            let body = dispatch.body.to_vec();
            let arrive = Happening::Arrive { at, sidecar, protocol: dispatch.protocol, body };
            let delay = self.delay();
            self.after(delay, arrive);
        }
        follows
    }

    /// An answer reaches the host. It knows each call once, but the filter must not rely on it.
    pub(super) fn reach(&mut self, at: Place, answer: Option<&Answer>) {
        if self.calls.remove(&at).is_none() && !self.random.percent(20) {
            return;
        }
        let is_first = self.witness.reached(at, answer.cloned());
        let request = at.call.request;
        let mut calls = vec![at.call];
        if is_first && self.fault == Some(Fault::LosesReplies) {
            calls.clear();
            self.found_of(request, answer::nobody_waits_in_vain(self, request));
        } else if is_first && self.fault == Some(Fault::CountsTwice) {
            let request = self.witness.request(request);
            let is_open = |part: &&u16| request.replies.iter().all(|(other, _)| other != *part);
            let also = request.parts.keys().find(is_open);
            calls.extend(also.map(|part| Call { part: *part, ..at.call }));
        }
        let asks_written = self.asking.contains(&at);
        for call in calls {
            with_reply(answer, asks_written, |reply| self.on(at.filter, Event::Answered { call, reply }));
        }
    }

    /// Tells an old filter that nothing further comes, once that is so.
    pub(super) fn drain(&mut self, filter: usize) {
        let it = &mut self.filters[filter];
        if it.is_old && it.arriving.is_empty() && !std::mem::replace(&mut it.is_draining, true) {
            self.on(filter, Event::Drain);
        }
    }
}

/// A part has the series of its sidecar, and no others.
fn is_the_part_of(request: &Request, sidecar: usize, part: &Dispatch) -> Result<(), Finding> {
    let is_whole = request.placement.is_unchanged;
    hold!(part.protocol == request.write.protocol, "a part of another version");
    hold!(!is_whole || *part.body == request.write.body, "a body is changed");
    let Some(mut series) = decode(part.protocol, &part.body) else {
        return if is_whole { Ok(()) } else { Err("a part that nobody can read".to_owned()) };
    };
    series.sort_unstable_by_key(|series| series.number);
    let all = request.write.series.iter().zip(&request.placement.replicas);
    let mut its: Vec<_> =
        all.filter(|(_, replicas)| replicas.contains(&sidecar)).map(|(series, _)| series).collect();
    its.sort_unstable_by_key(|series| series.number);
    hold!(series.iter().eq(its), "a part of other series than those of its sidecar");
    Ok(())
}

/// An answer as the host hands it over, with what is written where that is asked for.
pub(crate) fn with_reply<T>(
    answer: Option<&Answer>,
    asks_written: bool,
    take: impl FnOnce(Reply<'_>) -> T,
) -> T {
    let Some(answer) = answer else { return take(Reply::default()) };
    let written = answer.written.filter(|_| asks_written).map(|samples| samples.to_string());
    take(Reply {
        status: Some(answer.status),
        content_type: answer.is_list.then_some(CONTENT_TYPE_REFUSED.as_bytes()),
        written: written
            .as_deref()
            .map_or([None; 3], |samples| [Some(samples.as_bytes()), Some(b"0"), Some(b"0")]),
        body: &answer.body,
        ..Reply::default()
    })
}
