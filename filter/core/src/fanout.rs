//! The writes under way: events in, effects out.
//!
//! Owns the way from a complete body to its parts, the time that a verdict may take, and the bounds on what is under
//! way. A verdict leaves as soon as it is fixed, and in remote write 2.0 what is written is, too; the remaining parts are
//! carried to their end (see `write`). It does no I/O and reads no clock: the host turns effects into calls, and calls
//! back with events.
//!
//! Invariants: a client gets at most one answer, and gets it within the write timeout. Each part of a write is
//! accounted for once. Nothing of a write but its deadline is kept beyond its last part, and its bodies not beyond their
//! dispatch.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use ringside_hashring::Hashring;
use ringside_proto::Protocol;

use crate::account::Account;
use crate::admission::{Admission, Admitted, admit, unwritten};
use crate::answer::Answer;
use crate::backlog::Backlog;
use crate::config::Config;
use crate::events::{Call, Counter, Dispatch, Effect, Event, RequestId};
use crate::limits::Limit;
use crate::quorum::{Outcome, Rule};
use crate::rate::SharedData;
use crate::reply::Response;
use crate::request::{Head, judge_length};
use crate::split::{Form, Incoming, Plan, Splitter};
use crate::tally::Tally;
use crate::tenant::{Lookup, TenantId};
use crate::waiting::Waiting;
use crate::write::{Charge, SentPart, Write};

/// How often the host sends [`Event::Tick`], in milliseconds.
pub const TICK_MS: u32 = 50;
/// The longest that one tick counts for, in milliseconds: a host's clock that jumps must not end every write at once.
const TICK_MS_MAX: u64 = 1000;
const HELD_BACK: &str = "not sent: too much is under way to it";
const NOT_DISPATCHED: &str = "not sent: no such cluster, or none of its hosts can take it";
const TOO_MANY_BYTES: &str = "too many bytes are under way";
const TOO_MUCH_KEPT: &str = "too many series are under way";
const TOO_MANY_REFUSED: &str = "the lists of refused series are too long together";
/// Less than this is not counted of what is kept of a write, in bytes.
const KEPT_BYTES_MIN: usize = 4 << 10;
/// The most writes under way in one worker, late ones included. Beyond it a write gets 503 at once.
pub const WRITES_MAX: usize = 1 << 16;

/// The writes under way in one worker.
pub struct Fanouts {
    config: Config,
    splitter: Rc<RefCell<Splitter>>,
    writes: BTreeMap<RequestId, Write>,
    /// When each write stops waiting for a verdict, in order; also of writes that have theirs.
    deadlines: VecDeque<(u64, RequestId)>,
    /// The sum of the ticks.
    now_ms: u64,
    /// The bodies that are not whole: what the host holds of them. What is whole is counted on its way (see `backlog`), so
    /// that slow clients take nothing from quick ones.
    arriving: Account<()>,
    /// The bodies without a verdict, whole or not, of tenants that have a limit on them. What a slow sidecar keeps of a
    /// write that has its verdict is no tenant's fault.
    unanswered: Account<TenantId>,
    /// What is kept of single series up to the verdict: where each is, and what was refused.
    kept: Account<()>,
    backlog: Backlog,
    waiting: Waiting,
    draining: bool,
}

impl Fanouts {
    /// With a splitter of its own.
    pub fn new(config: Config) -> Self {
        Self::sharing(config, Rc::default())
    }

    /// With the splitter of other configurations: what one of them learnt of series is true for all of the same ring.
    pub fn sharing(config: Config, splitter: Rc<RefCell<Splitter>>) -> Self {
        let replicas = config.replication_factor.max(1);
        let backlog = Backlog::new(config.in_flight_bytes_max / replicas, config.late_write_bytes_max);
        Self {
            config,
            splitter,
            writes: BTreeMap::new(),
            deadlines: VecDeque::new(),
            now_ms: 0,
            arriving: Account::default(),
            unanswered: Account::default(),
            kept: Account::default(),
            backlog,
            waiting: Waiting::default(),
            draining: false,
        }
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The number of writes under way, late ones included.
    pub fn writes(&self) -> usize {
        self.writes.len()
    }

    /// Whether the client of a request waits for its verdict.
    pub fn is_awaited(&self, request: RequestId) -> bool {
        self.writes.get(&request).is_some_and(Write::is_awaited)
    }

    /// How much is there of bodies that are not whole, in bytes.
    pub fn arriving_bytes(&self) -> usize {
        self.arriving.bytes(&())
    }

    /// How much is under way to all sidecars, in bytes.
    pub fn bytes_under_way(&self) -> usize {
        self.backlog.bytes()
    }

    /// How much of that is of writes that have their verdict, in bytes.
    pub fn late_bytes(&self) -> usize {
        self.backlog.late_bytes()
    }

    /// Whether nothing is kept of any write: none is under way, and no client's time is watched.
    pub fn is_empty(&self) -> bool {
        let is_idle = self.writes.is_empty() && self.deadlines.is_empty() && self.arriving.is_empty();
        let is_settled = is_idle && self.unanswered.is_empty() && self.kept.is_empty();
        is_settled && self.backlog.is_empty() && self.waiting.is_empty()
    }

    /// Judges a request from its headers, and finds out its tenant and the limits of that.
    pub fn admit(
        &self,
        head: &Head<'_>,
        lookup: impl Fn(Lookup<'_>) -> Option<Vec<u8>>,
        shared: &impl SharedData,
        now_ms: impl FnOnce() -> u64,
    ) -> Admission {
        admit(&self.config, head, lookup, shared, now_ms)
    }

    /// Judges the length of a body, be it whole or not.
    pub fn judge_length(&self, admitted: &Admitted, bytes: usize) -> Option<Response> {
        let refusal = judge_length(bytes, admitted.body_bytes_max(&self.config))?;
        Some(unwritten(admitted.protocol, refusal))
    }

    /// Takes note of how much has arrived of a body that is not whole, until it is or its client is gone. Too much of all
    /// bodies together, or of the tenant's, is refused.
    pub fn arrived(&mut self, request: RequestId, admitted: &Admitted, bytes: usize) -> Option<Response> {
        let refusal = if self.arriving.note(request, &(), bytes, self.config.in_flight_bytes_max) {
            self.note(request, admitted, bytes).err()?
        } else {
            Response::over_limit(503, Limit::InFlight, TOO_MANY_BYTES)
        };
        Some(unwritten(admitted.protocol, refusal))
    }

    /// Takes note of how much of a tenant's body is there. An error is the answer where that is more than it may have.
    fn note(&mut self, request: RequestId, admitted: &Admitted, bytes: usize) -> Result<(), Response> {
        let Some(bytes_max) = admitted.limits.in_flight_bytes else { return Ok(()) };
        let at_most = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        if self.unanswered.note(request, &admitted.tenant, bytes, at_most) {
            return Ok(());
        }
        let message = format!("the tenant has more than {bytes_max} bytes in flight");
        Err(Response::over_limit(503, Limit::TenantInFlight, message))
    }

    /// Takes an event, and adds what is to be done to `effects`, in order.
    pub fn on(&mut self, event: Event<'_>, effects: &mut Vec<Effect>) {
        match event {
            Event::Body { request, admitted, body } => {
                self.arriving.end(request);
                if let Err(response) = self.start(request, &admitted, body, effects) {
                    self.settle(request);
                    let response = unwritten(admitted.protocol, response);
                    effects.push(Effect::Respond { request, response, series: None });
                }
            }
            Event::NotDispatched { call } => self.end(call, |_| Answer::none(NOT_DISPATCHED), effects),
            Event::NoCluster { dispatch } => {
                if let Err(Dispatch { call, .. }) = self.waiting.put_back(dispatch) {
                    self.end(call, |_| Answer::none(NOT_DISPATCHED), effects);
                }
            }
            Event::Answered { call, reply } => {
                if let Some(write) = self.writes.get_mut(&call.request) {
                    write.hear_of_series(reply.series);
                }
                let read = |write: &Write| {
                    Answer::read(write.protocol(), &reply, |index| write.holds(call.part, index))
                };
                self.end(call, read, effects);
            }
            Event::ClientGone { request } => {
                self.arriving.end(request);
                let Some(write) = self.writes.get_mut(&request) else {
                    self.unanswered.end(request);
                    return;
                };
                if write.leave() {
                    effects.push(Effect::Count(Counter::ClientGone));
                }
            }
            Event::Tick { elapsed_ms } => self.tick(elapsed_ms, effects),
            Event::Drain => {
                self.draining = true;
                self.drained(effects);
            }
        }
    }

    /// Plans a request and sends its parts. An error is the answer to a request that is not sent.
    fn start(
        &mut self,
        request: RequestId,
        admitted: &Admitted,
        body: Vec<u8>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Response> {
        if self.writes.len() >= WRITES_MAX {
            return Err(Response::over_limit(
                503,
                Limit::InFlight,
                format!("{WRITES_MAX} writes are under way"),
            ));
        }
        if self.backlog.bytes() >= self.config.in_flight_bytes_max {
            return Err(Response::over_limit(503, Limit::InFlight, TOO_MANY_BYTES));
        }
        let received = body.len();
        self.note(request, admitted, received)?;
        let ring = ring_of(&self.config, admitted)?;
        let limits = &admitted.limits;
        let incoming = Incoming {
            tenant: admitted.tenant.as_str(),
            protocol: admitted.protocol,
            limits: limits.content,
            counts_samples: limits.rate.is_some(),
            looks_inside: self.config.looks_inside,
            decoded_bytes_max: self.config.decoded_bytes_max,
        };
        let plan = self.splitter.borrow_mut().plan(ring, &incoming, body);
        let plan = plan.map_err(|error| Response::unusable_body(&error))?;
        if plan.parts.is_empty() && plan.refused.is_none() {
            effects.push(Effect::Count(Counter::Empty));
            return Err(Response::stored(admitted.protocol));
        }
        let sent = plan.parts.iter().map(|part| part.body.len()).sum();
        effects.push(Effect::Count(Counter::Sent { form: plan.form, received, sent }));
        if plan.refused.is_some() {
            effects.push(Effect::Count(Counter::Limited(Limit::Labels)));
        }
        let charge = limits.rate.map(|rate| Charge::new(admitted.tenant.clone(), rate, plan.samples));
        let rule = Rule::new(ring.replication_factor());
        let (dispatches, series) = (self.dispatches(ring, request, admitted, &plan), plan.series());
        let tally = Tally::new(rule, plan.layout, plan.refused);
        let write = Write::new(admitted.protocol, tally, series, charge);
        if !keep(&mut self.kept, request, write.kept_bytes(), self.config.in_flight_bytes_max) {
            return Err(Response::over_limit(503, Limit::InFlight, TOO_MUCH_KEPT));
        }
        self.send(request, write, dispatches, effects);
        Ok(())
    }

    /// The parts of a plan, ready to be sent.
    fn dispatches(
        &self,
        ring: &Hashring,
        request: RequestId,
        admitted: &Admitted,
        plan: &Plan,
    ) -> Vec<Dispatch> {
        let content = &admitted.limits.content;
        let left: Option<Rc<str>> =
            (plan.form == Form::Unchanged && !content.is_none()).then(|| content.to_string().into());
        let is_uncounted = admitted.limits.rate.is_some() && plan.samples.is_none();
        let asks_series = self.config.access_log && plan.series().is_none();
        let asks_written = admitted.protocol == Protocol::V2 || is_uncounted;
        let dispatch = |(part, planned): (u16, &crate::split::Part)| {
            let endpoint = ring.endpoints().get(planned.endpoint.get());
            Dispatch {
                call: Call { request, part },
                address: endpoint.map_or("", |endpoint| &endpoint.address).into(),
                tenant: admitted.tenant.clone(),
                protocol: admitted.protocol,
                body: Rc::clone(&planned.body),
                timeout_ms: self.config.late_write_timeout_ms,
                expires_ms: self.now_ms + u64::from(self.config.write_timeout_ms),
                limits: left.clone(),
                asks_written,
                asks_series,
            }
        };
        (0..).zip(&plan.parts).map(dispatch).collect()
    }

    /// Sends the parts of a write, but for those that a bound holds back.
    fn send(
        &mut self,
        request: RequestId,
        mut write: Write,
        dispatches: Vec<Dispatch>,
        effects: &mut Vec<Effect>,
    ) {
        if dispatches.is_empty() {
            // No series is left to be sent.
            write.decide(request, effects);
            self.settle(request);
            return;
        }
        let mut held_back = Vec::new();
        for dispatch in dispatches {
            let (call, address, bytes) = (dispatch.call, Rc::clone(&dispatch.address), dispatch.body.len());
            let is_admitted = self.backlog.admit(&address, bytes);
            write.push(SentPart::new(Rc::clone(&address), if is_admitted { bytes } else { 0 }));
            if !is_admitted {
                held_back.push(call);
            } else if !self.waiting.is_for(&address) {
                effects.push(Effect::Dispatch(dispatch));
            } else if self.waiting.push(dispatch).is_err() {
                held_back.push(call);
            } else {
                effects.push(Effect::Count(Counter::Waits));
            }
        }
        self.writes.insert(request, write);
        // One tick less: the client is answered within the timeout, not just after it. The clock may be a tick behind, so
        // that the shortest timeouts are two ticks.
        let wait = u64::from(self.config.write_timeout_ms.saturating_sub(TICK_MS).max(2 * TICK_MS));
        self.deadlines.push_back((self.now_ms + wait, request));
        for call in held_back {
            effects.push(Effect::Count(Counter::HeldBack));
            self.end(call, |_| Answer::none(HELD_BACK), effects);
        }
    }

    /// Accounts for the end of a part. What is not outstanding is not counted again.
    fn end(&mut self, call: Call, read: impl FnOnce(&Write) -> Answer, effects: &mut Vec<Effect>) {
        let Some(write) = self.writes.get_mut(&call.request) else { return };
        let Some(part) = write.end(call.part) else { return };
        self.backlog.release(&part.address, part.bytes, part.is_late);
        let mut answer = read(write);
        if !answer.refused.is_empty() && !write.has_verdict() {
            let (before, max) = (write.kept_bytes(), self.config.in_flight_bytes_max);
            let after = before + size_of_val(&*answer.refused);
            if !keep(&mut self.kept, call.request, after, max) {
                answer = Answer::whole(Outcome::Unavailable, TOO_MANY_REFUSED);
                keep(&mut self.kept, call.request, before, usize::MAX);
            }
        }
        write.count(call.request, call.part, answer, effects);
        let (has_verdict, is_over, is_uncharged) =
            (write.has_verdict(), write.is_over(), write.is_uncharged());
        if has_verdict {
            write.owe(&mut self.backlog);
            self.settle(call.request);
        }
        if is_over {
            if is_uncharged {
                effects.push(Effect::Count(Counter::ChargeLost));
            }
            self.writes.remove(&call.request);
            self.drained(effects);
        }
    }

    /// Nothing is kept any more of what only a verdict needs.
    fn settle(&mut self, request: RequestId) {
        self.unanswered.end(request);
        self.kept.end(request);
    }

    /// Ends the wait of writes whose time is up, and looks after the parts that wait for a cluster.
    fn tick(&mut self, elapsed_ms: u64, effects: &mut Vec<Effect>) {
        self.now_ms += elapsed_ms.clamp(u64::from(TICK_MS), TICK_MS_MAX);
        while let Some((_, request)) = self.deadlines.pop_front_if(|(deadline, _)| *deadline <= self.now_ms) {
            if let Some(write) = self.writes.get_mut(&request) {
                let message = format!("no answer within {} ms", self.config.write_timeout_ms);
                write.expire(request, &message, effects);
                write.owe(&mut self.backlog);
                self.settle(request);
            }
        }
        for call in self.waiting.expired(self.now_ms) {
            self.end(call, |_| Answer::none(NOT_DISPATCHED), effects);
        }
        effects.extend(self.waiting.due().into_iter().map(Effect::Dispatch));
    }

    fn drained(&self, effects: &mut Vec<Effect>) {
        if self.draining && self.writes.is_empty() {
            effects.push(Effect::Drained);
        }
    }
}

/// Takes note of what is kept of a write's series. False if that is too much with what is kept of others. What nearly
/// every write keeps is bounded by their number.
fn keep(kept: &mut Account<()>, request: RequestId, bytes: usize, bytes_max: usize) -> bool {
    bytes < KEPT_BYTES_MIN || kept.note(request, &(), bytes, bytes_max)
}

/// The ring of a request: the one that metadata names, or else the tenant's.
fn ring_of<'a>(config: &'a Config, admitted: &Admitted) -> Result<&'a Hashring, Response> {
    let refusal = |message| Response::refusal(503, message);
    match &admitted.hashring {
        Some(name) => {
            config.hashrings.named(name).ok_or_else(|| refusal(format!("no hashring is named {name:?}")))
        }
        None => {
            let tenant = admitted.tenant.as_str();
            let ring = config.hashrings.for_tenant(tenant);
            ring.ok_or_else(|| refusal(format!("no hashring serves the tenant {tenant}")))
        }
    }
}

#[cfg(test)]
mod tests;
