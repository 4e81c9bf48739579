//! The world around the filter: clients, a network, sidecars, a host that turns effects into calls, and time. What
//! happens next is drawn from the seed; nothing else decides.
//!
//! It keeps what a host keeps (see `filter/src/effects.rs`): one filter for each configuration, each call answered
//! once, an answer to a call that ran out of time in place of the late one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ringside_filter_core::limits::Limits;
use ringside_filter_core::{
    Admitted, Call, Config, Counter, Effect, Event, Fanouts, Rate, Reply, RequestId, Response, TICK_MS,
    TenantId,
};
use ringside_proto::{CONTENT_TYPE_REFUSED, Protocol};

use crate::check;
use crate::configs::Configs;
use crate::random::Random;
use crate::sidecar::{Answer, Manner, Sidecar};
use crate::traffic::{Series, Write};
use crate::witness::Witness;

pub(crate) const WRITE_TIMEOUT_MS: u64 = 1000;
pub(crate) const LATE_WRITE_TIMEOUT_MS: u32 = 3000;
/// How long clients go on sending.
const TRAFFIC_MS: u64 = 2000;
/// When sidecars are left in peace, so that all ends.
const PEACE_MS: u64 = 4000;
const END_MS: u64 = 20_000;
pub(crate) const TENANT: &str = "t";

/// Something that happens at its time.
enum Happening {
    Tick,
    Send(Write, u32),
    Leave(RequestId),
    Arrive { at: Place, sidecar: usize, protocol: Protocol, body: Vec<u8> },
    Synced { at: Place, sidecar: usize, run: u32, stored: Vec<Series>, answer: Answer },
    Reach { at: Place, answer: Option<Answer> },
    Crash(usize),
    Start(usize),
    Mood(usize),
    ChangeRing,
}

/// A call, and the filter that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) filter: usize,
    pub(crate) call: Call,
}

/// One configuration in force, or on its way out.
pub(crate) struct Filter {
    pub(crate) fanouts: Fanouts,
    pub(crate) config: Config,
    is_draining: bool,
    drained: u32,
}

pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) now_ms: u64,
    /// By time, and in the order of planning where times are equal.
    plan: BTreeMap<(u64, u64), Happening>,
    planned: u64,
    pub(crate) sidecars: Vec<Sidecar>,
    pub(crate) filters: Vec<Filter>,
    configs: Configs,
    /// The calls that have no answer yet, with the sidecar of each.
    calls: BTreeMap<Place, usize>,
    /// Those whose answers are to say what is written.
    asking: BTreeSet<Place>,
    /// From when on the host has the clusters of the sidecars, and the parts that came too early.
    known_from_ms: BTreeMap<usize, u64>,
    early: BTreeSet<Place>,
    pub(crate) witness: Witness,
    requests: u32,
    pool: u32,
    last_tick_ms: u64,
    /// How often a request, a reply or nothing at all gets lost or delayed, in a hundred cases.
    trouble: u64,
    has_rates: bool,
    /// What the tenant may have in flight.
    in_flight_bytes: Option<u64>,
}

impl World {
    pub(crate) fn new(seed: u64, configs: Configs) -> Self {
        let mut random = Random::new(seed);
        let count = random.within(5, 9) as usize;
        let manners: &[Manner] = match random.within(0, 3) {
            0 => &[Manner::Lists, Manner::Lists, Manner::Stock, Manner::Old],
            _ => &[Manner::Lists],
        };
        let sidecars = (0..count).map(|_| Sidecar::new(*random.pick(manners))).collect();
        let (pool, trouble) = (random.within(1, 12) as u32, *random.pick(&[0, 3, 10, 30]));
        let has_rates = random.percent(50);
        let in_flight_bytes = random.percent(30).then(|| random.within(1, 200));
        let mut world = Self {
            random,
            now_ms: 0,
            plan: BTreeMap::new(),
            planned: 0,
            sidecars,
            filters: Vec::new(),
            configs,
            calls: BTreeMap::new(),
            asking: BTreeSet::new(),
            known_from_ms: BTreeMap::new(),
            early: BTreeSet::new(),
            witness: Witness::default(),
            requests: 0,
            pool,
            last_tick_ms: 0,
            trouble,
            has_rates,
            in_flight_bytes,
        };
        world.change_ring();
        world.after(u64::from(TICK_MS), Happening::Tick);
        for _ in 0..world.random.within(1, 3) {
            world.next_write(0);
        }
        for _ in 0..world.random.within(0, 2) {
            let at = world.random.within(100, TRAFFIC_MS);
            world.after(at, Happening::ChangeRing);
        }
        for sidecar in 0..count {
            if world.random.percent(trouble * 3) {
                let at = world.random.within(0, TRAFFIC_MS);
                world.after(at, Happening::Crash(sidecar));
            }
            if world.random.percent(trouble * 2) {
                world.after(0, Happening::Mood(sidecar));
            }
        }
        world
    }

    /// Runs to the end of time, when nothing can happen any more.
    pub(crate) fn run(mut self) -> Witness {
        while let Some(((now_ms, _), happening)) = self.plan.pop_first() {
            self.now_ms = now_ms;
            self.happen(happening);
        }
        assert!(self.calls.is_empty(), "calls without an answer");
        for at in std::mem::take(&mut self.early) {
            self.witness.reached(at, None);
            self.witness.saw("part without a cluster");
        }
        check::end(&mut self);
        for filter in &self.filters {
            assert_eq!(
                filter.drained,
                u32::from(filter.is_draining),
                "an old filter says once that it is done"
            );
        }
        self.witness
    }

    fn after(&mut self, delay_ms: u64, happening: Happening) {
        self.planned += 1;
        self.plan.insert((self.now_ms + delay_ms, self.planned), happening);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Tick => self.tick(),
            Happening::Send(write, tries) => self.send(write, tries),
            Happening::Leave(request) => self.leave(request),
            Happening::Arrive { at, sidecar, protocol, body } => self.arrive(at, sidecar, protocol, &body),
            Happening::Synced { at, sidecar, run, stored, answer } => {
                let delay = self.delay();
                let it = &mut self.sidecars[sidecar];
                if it.run == run {
                    it.sync(&stored);
                    self.reply_after(delay, at, Some(answer));
                } else {
                    it.half_sync(&mut self.random, &stored);
                }
            }
            Happening::Reach { at, answer } => self.reach(at, answer.as_ref()),
            Happening::Crash(sidecar) => self.crash(sidecar),
            Happening::Start(sidecar) => self.sidecars[sidecar].start(),
            Happening::Mood(sidecar) => {
                let is_peace = self.now_ms >= PEACE_MS;
                let (limited, unready) = (self.random.percent(50), self.random.percent(50));
                let it = &mut self.sidecars[sidecar];
                (it.is_limited, it.is_unready) = (limited && !is_peace, unready && !is_peace);
                if !is_peace {
                    let until = self.random.within(100, 2000);
                    self.after(until, Happening::Mood(sidecar));
                }
            }
            Happening::ChangeRing => self.change_ring(),
        }
    }

    /// A ring of some of the sidecars, which those that are there now know nothing of.
    fn change_ring(&mut self) {
        let count = self.sidecars.len() as u64;
        let replicas = *self.random.pick(&[3, 3, 3, 5]);
        let size = if self.random.percent(30) { replicas } else { self.random.within(replicas, count) };
        let first = self.random.within(0, count - size);
        let config = self.configs.get(first, size, replicas);
        for sidecar in first..first + size {
            let is_early = self.random.percent(self.trouble);
            let wait = if is_early { self.random.within(1, 2 * WRITE_TIMEOUT_MS) } else { 0 };
            self.known_from_ms.entry(sidecar as usize).or_insert(self.now_ms + wait);
        }
        for filter in 0..self.filters.len() {
            if !std::mem::replace(&mut self.filters[filter].is_draining, true) {
                self.on(filter, Event::Drain);
            }
        }
        let fanouts = Fanouts::new(config.clone());
        self.filters.push(Filter { fanouts, config, is_draining: false, drained: 0 });
    }

    fn tick(&mut self) {
        let elapsed_ms = self.now_ms - std::mem::replace(&mut self.last_tick_ms, self.now_ms);
        for filter in 0..self.filters.len() {
            self.on(filter, Event::Tick { elapsed_ms });
        }
        check::nobody_waits_too_long(self);
        let is_over = self.plan.is_empty() && self.filters.iter().all(|filter| filter.fanouts.is_empty());
        // Ends also where something is left for ever, which the check at the end then finds.
        if !is_over && self.now_ms < END_MS {
            self.after(u64::from(TICK_MS), Happening::Tick);
        }
    }

    /// Plans the next write of a client.
    fn next_write(&mut self, delay_ms: u64) {
        if self.now_ms + delay_ms < TRAFFIC_MS {
            // As long as timestamps of today.
            let time = 1_700_000_000_000 + (self.now_ms + delay_ms) as i64;
            let write = Write::random(&mut self.random, self.pool, time);
            self.after(delay_ms, Happening::Send(write, 0));
        }
    }

    fn send(&mut self, write: Write, tries: u32) {
        let request = RequestId(self.requests);
        self.requests += 1;
        let filter = self.filters.len() - 1;
        let admitted = Admitted {
            tenant: tenant(),
            protocol: write.protocol,
            limits: Limits {
                rate: self.has_rates.then(|| rate_of(request)),
                in_flight_bytes: self.in_flight_bytes,
                ..Limits::default()
            },
            hashring: None,
        };
        let body = write.body.clone();
        self.witness.sent(request, filter, self.now_ms, tries, write, self.has_rates);
        if self.random.percent(self.trouble / 2) {
            let patience = self.random.within(1, WRITE_TIMEOUT_MS);
            self.after(patience, Happening::Leave(request));
        }
        if self.random.percent(30) {
            let bytes = self.random.within(1, body.len() as u64) as usize;
            if let Some(refusal) = self.filters[filter].fanouts.arrived(request, &admitted, bytes) {
                self.on(filter, Event::ClientGone { request });
                return self.respond(request, &refusal);
            }
            if self.random.percent(self.trouble / 3) {
                self.witness.saw("half a body");
                return self.leave(request);
            }
        }
        self.on(filter, Event::Body { request, admitted, body });
    }

    fn leave(&mut self, request: RequestId) {
        // A stream ends answered or not; who has an answer is not among those that leave without one.
        let (filter, waited) = self.witness.leaves(request);
        self.on(filter, Event::ClientGone { request });
        if waited {
            let pause = self.random.within(1, 300);
            self.next_write(pause);
        }
    }

    /// A part reaches its sidecar, if that is up.
    fn arrive(&mut self, at: Place, sidecar: usize, protocol: Protocol, body: &[u8]) {
        let it = &mut self.sidecars[sidecar];
        if !it.is_up {
            let refused = Some(Answer::plain(503));
            return self.reply_after(1, at, refused);
        }
        let (run, (stored, answer)) = (it.run, it.append(protocol, body));
        let sync = self.random.within(1, 5);
        self.after(sync, Happening::Synced { at, sidecar, run, stored, answer });
    }

    fn crash(&mut self, sidecar: usize) {
        if !self.sidecars[sidecar].is_up {
            return;
        }
        self.sidecars[sidecar].crash();
        let under_way: Vec<_> =
            self.calls.iter().filter(|(_, to)| **to == sidecar).map(|(at, _)| *at).collect();
        for at in under_way {
            let delay = self.delay();
            self.reply_after(delay, at, None);
        }
        let down = self.random.within(10, 3000);
        self.after(down, Happening::Start(sidecar));
        if self.now_ms < TRAFFIC_MS && self.random.percent(30) {
            let again = down + self.random.within(1, 2000);
            self.after(again, Happening::Crash(sidecar));
        }
    }

    /// Mostly some milliseconds, sometimes longer than anybody waits.
    fn delay(&mut self) -> u64 {
        if self.random.percent(self.trouble) {
            self.random.within(50, 4000)
        } else {
            self.random.within(1, 20)
        }
    }

    fn reply_after(&mut self, delay_ms: u64, at: Place, answer: Option<Answer>) {
        if self.random.percent(self.trouble / 3) {
            return; // Lost: the call runs out of time.
        }
        if self.random.percent(self.trouble / 3) {
            let twice = delay_ms + self.random.within(0, 50);
            self.after(twice, Happening::Reach { at, answer: answer.clone() });
        }
        self.after(delay_ms, Happening::Reach { at, answer });
    }

    /// An answer reaches the host. It knows each call once, but the filter must not rely on it.
    fn reach(&mut self, at: Place, answer: Option<&Answer>) {
        if self.calls.remove(&at).is_none() && !self.random.percent(20) {
            return;
        }
        self.witness.reached(at, answer.cloned());
        let asks_written = self.asking.contains(&at);
        with_reply(answer, asks_written, |reply| {
            self.on(at.filter, Event::Answered { call: at.call, reply })
        });
    }

    /// Has a filter take an event, and does what it wants done, as the module's root context does.
    fn on(&mut self, filter: usize, event: Event<'_>) {
        let mut effects = Vec::new();
        self.filters[filter].fanouts.on(event, &mut effects);
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Dispatch(dispatch) => {
                    let at = Place { filter, call: dispatch.call };
                    let sidecar = dispatch.address.parse::<usize>().expect("an address");
                    let was_early = self.early.remove(&at);
                    if !was_early {
                        self.witness.dispatched(at, sidecar);
                    }
                    if self.now_ms < self.known_from_ms[&sidecar] {
                        self.early.insert(at);
                        let mut follows = Vec::new();
                        self.filters[filter].fanouts.on(Event::NoCluster { dispatch }, &mut follows);
                        effects.extend(follows);
                        continue;
                    }
                    if was_early {
                        self.witness.saw("part that waited for a cluster");
                    }
                    let is_known_dead = !self.sidecars[sidecar].is_up && self.random.percent(70);
                    if is_known_dead {
                        self.witness.reached(at, None);
                        let mut follows = Vec::new();
                        let event = Event::NotDispatched { call: dispatch.call };
                        self.filters[filter].fanouts.on(event, &mut follows);
                        effects.extend(follows);
                        continue;
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
                }
                Effect::Respond { request, response, .. } => self.respond(request, &response),
                Effect::Count(counter) => assert_ne!(counter, Counter::HeldBack, "so little is under way"),
                Effect::Charge { rate, samples, .. } => self.witness.charged(request_of(rate), samples),
                Effect::Drained => self.filters[filter].drained += 1,
            }
        }
    }

    fn respond(&mut self, request: RequestId, response: &Response) {
        check::answer(self, request, response);
        let (write, tries) = self.witness.answered(request, response, self.now_ms);
        if matches!(response.status, 429 | 503) && tries < 3 {
            let backoff = self.random.within(20, 500);
            self.after(backoff, Happening::Send(write, tries + 1));
        } else {
            let pause = self.random.within(1, 300);
            self.next_write(pause);
        }
    }
}

pub(crate) fn tenant() -> TenantId {
    TenantId::new(TENANT).expect("a tenant")
}

/// A rate that tells one request from all others.
fn rate_of(request: RequestId) -> Rate {
    Rate { samples_per_second: u64::from(request.0) + 1, burst: 1 }
}

fn request_of(rate: Rate) -> RequestId {
    RequestId((rate.samples_per_second - 1) as u32)
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
