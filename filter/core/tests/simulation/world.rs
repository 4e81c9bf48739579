//! The world around the filter: clients, a network, sidecars, a host with one filter for each configuration, and time.
//! What happens next is drawn from the seed; nothing else decides.

use std::collections::{BTreeMap, BTreeSet};

use ringside_filter_core::{Call, Config, Event, Fanouts, RequestId, TICK_MS, TenantId};
use ringside_proto::Protocol;
use ringside_proto::ringside::Reason;

use crate::answer;
use crate::check::{self, Finding, hold};
use crate::configs::Configs;
use crate::faults::Fault;
use crate::random::Random;
use crate::sidecar::{Answer, Manner, Sidecar};
use crate::traffic::Write;
use crate::witness::Witness;

pub(crate) use self::host::with_reply;

mod clients;
mod host;

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
    /// More of a body is there, or all of it.
    More(RequestId),
    Leave(RequestId),
    Arrive {
        at: Place,
        sidecar: usize,
        protocol: Protocol,
        body: Vec<u8>,
    },
    Synced {
        at: Place,
        sidecar: usize,
        run: u32,
        answer: Answer,
    },
    Reach {
        at: Place,
        answer: Option<Answer>,
    },
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
    /// Another takes what comes now.
    is_old: bool,
    /// The requests that it took whose bodies are not whole. Until they are, or gone, it is not told to drain.
    arriving: BTreeSet<RequestId>,
    pub(crate) is_draining: bool,
    pub(crate) drained: u32,
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
    pub(crate) trouble: u64,
    has_rates: bool,
    /// What the tenant may have in flight.
    pub(crate) in_flight_bytes: Option<u64>,
    /// Why sidecars refuse new series when they are in the mood, and by which status anything.
    refusals: (Reason, u16),
    usual_mood: u64,
    /// What is wrong with this world, so that a check has to find it.
    fault: Option<Fault>,
    /// The first check that failed. With it the world ends.
    finding: Option<Finding>,
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
        let reason = *random.pick(&[Reason::Limit, Reason::Limit, Reason::Invalid, Reason::Unavailable]);
        let refusals = (reason, *random.pick(&[429, 413, 413, 400, 422, 415, 404]));
        let usual_mood = random.within(0, 2);
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
            refusals,
            usual_mood,
            fault: None,
            finding: None,
        };
        let moody = if trouble > 0 { *world.random.pick(&[0, 0, 40, 100]) } else { 0 };
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
            if world.random.percent(moody) {
                world.after(0, Happening::Mood(sidecar));
            }
        }
        world
    }

    /// The world of a seed in which something is wrong.
    pub(crate) fn with_fault(seed: u64, configs: Configs, fault: Fault) -> Self {
        Self { fault: Some(fault), ..Self::new(seed, configs) }
    }

    /// Runs to the end of time, when nothing can happen any more, or to the first check that fails.
    pub(crate) fn run(mut self) -> Result<Witness, Finding> {
        while let Some(((now_ms, _), happening)) = self.plan.pop_first() {
            self.now_ms = now_ms;
            self.happen(happening);
            if let Some(finding) = self.finding {
                return Err(finding);
            }
        }
        hold!(self.calls.is_empty(), "calls without an answer");
        for at in std::mem::take(&mut self.early) {
            self.witness.reached(at, None);
            self.witness.saw("part without a cluster");
        }
        check::end(&mut self)?;
        Ok(self.witness)
    }

    fn found(&mut self, result: Result<(), Finding>) {
        self.finding = self.finding.take().or(result.err());
    }

    /// The same of a check that is about a request.
    fn found_of(&mut self, id: RequestId, result: Result<(), Finding>) {
        let request = &self.witness.requests[&id];
        self.found(result.map_err(|finding| format!("{finding}; {}", request.in_words())));
    }

    fn after(&mut self, delay_ms: u64, happening: Happening) {
        self.planned += 1;
        self.plan.insert((self.now_ms + delay_ms, self.planned), happening);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Tick => self.tick(),
            Happening::Send(write, tries) => self.send(write, tries),
            Happening::More(request) => self.more(request),
            Happening::Leave(request) => self.leave(request),
            Happening::Arrive { at, sidecar, protocol, body } => self.arrive(at, sidecar, protocol, &body),
            Happening::Synced { at, sidecar, run, answer } => {
                if self.sidecars[sidecar].run == run {
                    self.sidecars[sidecar].sync(at);
                    let delay = self.delay();
                    self.reply_after(delay, at, Some(answer));
                }
            }
            Happening::Reach { at, answer } => self.reach(at, answer.as_ref()),
            Happening::Crash(sidecar) => self.crash(sidecar),
            Happening::Start(sidecar) => self.sidecars[sidecar].start(),
            Happening::Mood(sidecar) => self.change_mood(sidecar),
            Happening::ChangeRing => self.change_ring(),
        }
    }

    fn change_mood(&mut self, sidecar: usize) {
        let is_peace = self.now_ms >= PEACE_MS;
        let (reason, status) = self.refusals;
        // Sidecars of one tenant, behind one thing, mostly have the same.
        let any = self.random.within(0, 3);
        let mood = match if self.random.percent(60) { self.usual_mood } else { any } {
            _ if is_peace => (None, None),
            0 => (Some(reason), None),
            1 => (None, Some(status)),
            2 => (None, Some(503)),
            _ => (None, None),
        };
        let it = &mut self.sidecars[sidecar];
        (it.refuses_new, it.refuses_all) = mood;
        if !is_peace {
            let until = self.random.within(100, 2000);
            self.after(until, Happening::Mood(sidecar));
        }
    }

    /// A ring of some of the sidecars, which those that are there now know nothing of.
    fn change_ring(&mut self) {
        let count = self.sidecars.len() as u64;
        let replicas = *self.random.pick(&[3, 3, 3, 3, 5, 5, 4, 2]);
        let size = if self.random.percent(30) { replicas } else { self.random.within(replicas, count) };
        let first = self.random.within(0, count - size);
        let config = self.configs.get(first, size, replicas);
        for sidecar in first..first + size {
            let is_early = self.random.percent(self.trouble);
            let wait = if is_early { self.random.within(1, 2 * WRITE_TIMEOUT_MS) } else { 0 };
            self.known_from_ms.entry(sidecar as usize).or_insert(self.now_ms + wait);
        }
        let fanouts = Fanouts::new(config.clone());
        let arriving = BTreeSet::new();
        self.filters.push(Filter {
            fanouts,
            config,
            is_old: false,
            arriving,
            is_draining: false,
            drained: 0,
        });
        for filter in 0..self.filters.len() - 1 {
            self.filters[filter].is_old = true;
            self.drain(filter);
        }
    }

    fn tick(&mut self) {
        let elapsed_ms = self.now_ms - std::mem::replace(&mut self.last_tick_ms, self.now_ms);
        for filter in 0..self.filters.len() {
            self.on(filter, Event::Tick { elapsed_ms });
        }
        self.found(answer::nobody_waits_too_long(self));
        let is_over = self.plan.is_empty() && self.filters.iter().all(|filter| filter.fanouts.is_empty());
        // Ends also where something is left for ever, which the check at the end then finds.
        if !is_over && self.now_ms < END_MS {
            self.after(u64::from(TICK_MS), Happening::Tick);
        }
    }

    /// A part reaches its sidecar, if that is up.
    fn arrive(&mut self, at: Place, sidecar: usize, protocol: Protocol, body: &[u8]) {
        let it = &mut self.sidecars[sidecar];
        if !it.is_up {
            let refused = Some(Answer::plain(503));
            return self.reply_after(1, at, refused);
        }
        let (run, answer) = (it.run, it.append(at, protocol, body));
        let sync = self.random.within(1, 5);
        self.after(sync, Happening::Synced { at, sidecar, run, answer });
    }

    fn crash(&mut self, sidecar: usize) {
        if !self.sidecars[sidecar].is_up {
            return;
        }
        self.sidecars[sidecar].crash(&mut self.random);
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
}

pub(crate) fn tenant() -> TenantId {
    TenantId::new(TENANT).expect("a tenant")
}
