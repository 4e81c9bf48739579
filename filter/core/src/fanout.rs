//! The writes under way: events in, effects out.
//!
//! Owns the way from a complete body to its parts, the time that a verdict may take, and the bounds on what is under
//! way. A verdict leaves as soon as it is fixed; the remaining parts are carried to their end (see `write`). It does
//! no I/O and reads no clock: the host turns effects into calls, and calls back with events.
//!
//! Invariants: a client gets at most one answer, and gets it within the write timeout. Each part of a write is
//! accounted for once. Nothing of a write is kept beyond its last part, and its bodies not beyond their dispatch.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use ringside_proto::limits::{ContentLimits, HEADER_LIMITS};
use ringside_proto::{HEADER_REFUSALS, Protocol};

use crate::admission::{Admission, Admitted, admit, unwritten};
use crate::answer::{Answer, Reply};
use crate::backlog::Backlog;
use crate::config::Config;
use crate::quorum::{Outcome, Rule};
use crate::rate::{Rate, SharedData};
use crate::reply::Response;
use crate::request::{Head, judge_length};
use crate::split::{Form, Incoming, Splitter};
use crate::tally::Tally;
use crate::tenant::{Lookup, TenantId};
use crate::write::{SentPart, Write};

/// The header that names the tenant to a sidecar, whatever header named it to the filter.
pub const SIDECAR_TENANT_HEADER: &str = "thanos-tenant";
/// The path of a sidecar's remote write.
const WRITE_PATH: &str = "/api/v1/receive";
/// How often the host sends [`Event::Tick`], in milliseconds.
pub const TICK_MS: u32 = 50;
/// The longest that one tick counts for, in milliseconds: a host's clock that jumps must not end every write at once.
const TICK_MS_MAX: u64 = 1000;
const HELD_BACK: &str = "not sent: too much is under way to it";
const NOT_DISPATCHED: &str = "not sent: no such cluster, or none of its hosts can take it";
/// The most writes under way in one worker, late ones included. Beyond it a write gets 503 at once.
pub const WRITES_MAX: usize = 1 << 16;

/// The host's name for a client's request. Not used again while parts of it are under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u32);

/// One part of a request, sent to one sidecar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Call {
    pub request: RequestId,
    pub part: u16,
}

/// What the host tells.
#[derive(Debug)]
pub enum Event<'a> {
    /// A request's body is complete.
    Body { request: RequestId, admitted: Admitted, body: Vec<u8> },
    /// A dispatch was refused by the host; no answer follows.
    NotDispatched { call: Call },
    /// A sidecar answered, or its stream was reset. Running out of time is an answer of 504.
    Answered { call: Call, reply: Reply<'a> },
    /// The client's stream has ended, answered or not.
    ClientGone { request: RequestId },
    /// Time has passed, about [`TICK_MS`] since the last one.
    Tick { elapsed_ms: u64 },
    /// No further request will come.
    Drain,
}

/// What the host is to do.
#[derive(Debug)]
pub enum Effect {
    Dispatch(Dispatch),
    Respond {
        request: RequestId,
        response: Response,
    },
    Count(Counter),
    /// A tenant's balance is to be charged, by [`Rate::charge`].
    Charge {
        tenant: TenantId,
        rate: Rate,
        samples: u64,
    },
    /// The last write under way has ended after [`Event::Drain`].
    Drained,
}

/// One part to be sent.
#[derive(Debug)]
pub struct Dispatch {
    pub call: Call,
    /// The sidecar's address, which is also the name of its cluster in Envoy.
    pub address: Rc<str>,
    pub tenant: TenantId,
    pub protocol: Protocol,
    pub body: Rc<Vec<u8>>,
    pub timeout_ms: u32,
    /// The limits that are left to the sidecar, as a header has them.
    pub limits: Option<Rc<str>>,
}

/// Something that happened once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// A request was sent on in this form.
    Sent(Form),
    /// A request without series was answered without being sent on.
    Empty,
    /// A sidecar's answer to a part.
    Forward { success: bool },
    /// A verdict.
    Replication { success: bool },
    /// A sidecar's answer that came after the verdict.
    LateWrite { success: bool },
    /// A part was not sent, because too much is under way to its sidecar.
    HeldBack,
    /// A client left before its verdict.
    ClientGone,
}

/// The writes under way in one worker.
pub struct Fanouts {
    config: Config,
    splitter: Splitter,
    writes: BTreeMap<RequestId, Write>,
    /// When each write stops waiting for a verdict, in order; also of writes that have theirs.
    deadlines: VecDeque<(u64, RequestId)>,
    /// The sum of the ticks.
    now_ms: u64,
    backlog: Backlog,
    draining: bool,
}

impl Fanouts {
    pub fn new(config: Config) -> Self {
        Self {
            config,
            splitter: Splitter::default(),
            writes: BTreeMap::new(),
            deadlines: VecDeque::new(),
            now_ms: 0,
            backlog: Backlog::default(),
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

    /// How much is under way to all sidecars, in bytes.
    pub fn bytes_under_way(&self) -> usize {
        self.backlog.bytes()
    }

    /// Whether nothing is kept of any write: none is under way, and no client's time is watched.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.deadlines.is_empty() && self.backlog.is_empty()
    }

    /// Judges a request from its headers, and finds out its tenant and the limits of that.
    pub fn admit(
        &self,
        head: &Head<'_>,
        lookup: impl Fn(Lookup<'_>) -> Option<Vec<u8>>,
        shared: &impl SharedData,
        now_ms: u64,
    ) -> Admission {
        admit(&self.config, head, lookup, shared, now_ms)
    }

    /// Judges how much of a body has arrived.
    pub fn judge_length(&self, admitted: &Admitted, bytes: usize) -> Option<Response> {
        let refusal = judge_length(bytes, admitted.body_bytes_max(&self.config))?;
        Some(unwritten(admitted.protocol, refusal))
    }

    /// Takes an event, and adds what is to be done to `effects`, in order.
    pub fn on(&mut self, event: Event<'_>, effects: &mut Vec<Effect>) {
        match event {
            Event::Body { request, admitted, body } => {
                if let Err(response) = self.start(request, &admitted, body, effects) {
                    let response = unwritten(admitted.protocol, response);
                    effects.push(Effect::Respond { request, response });
                }
            }
            Event::NotDispatched { call } => {
                self.end(call, |_| Answer::whole(Outcome::Unavailable, NOT_DISPATCHED), effects);
            }
            Event::Answered { call, reply } => {
                let read = |write: &Write| {
                    Answer::read(write.protocol(), &reply, |index| write.holds(call.part, index))
                };
                self.end(call, read, effects);
            }
            Event::ClientGone { request } => {
                if self.writes.get_mut(&request).is_some_and(Write::leave) {
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

    /// Splits a request and sends its parts. An error is the answer to a request that is not sent.
    fn start(
        &mut self,
        request: RequestId,
        admitted: &Admitted,
        body: Vec<u8>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Response> {
        if self.writes.len() >= WRITES_MAX {
            return Err(Response::refusal(503, format!("{WRITES_MAX} writes are under way")));
        }
        if self.backlog.bytes() >= self.config.in_flight_bytes_max {
            return Err(Response::refusal(503, "too many bytes are under way"));
        }
        let Admitted { tenant, protocol, limits } = admitted;
        let Some(ring) = self.config.hashrings.for_tenant(tenant.as_str()) else {
            return Err(Response::refusal(503, format!("no hashring serves the tenant {}", tenant.as_str())));
        };
        let incoming = Incoming {
            tenant: tenant.as_str(),
            protocol: *protocol,
            limits: limits.content,
            counts_samples: limits.rate.is_some(),
            decoded_bytes_max: self.config.decoded_bytes_max,
        };
        let plan = self.splitter.plan(ring, &incoming, body);
        let plan = plan.map_err(|error| Response::unusable_body(&error))?;
        if plan.parts.is_empty() && plan.refused.is_none() {
            effects.push(Effect::Count(Counter::Empty));
            return Err(Response::stored(*protocol));
        }
        effects.push(Effect::Count(Counter::Sent(plan.form)));
        let mut charge = limits.rate.map(|rate| (tenant.clone(), rate));
        if let Some(samples) = plan.samples
            && let Some((tenant, rate)) = charge.take()
        {
            effects.push(Effect::Charge { tenant, rate, samples });
        }
        let limits = match plan.form {
            Form::Unchanged if !limits.content.is_none() => Some(header_of(&limits.content)),
            _ => None,
        };
        let mut parts = Vec::with_capacity(plan.parts.len());
        let mut held_back = Vec::new();
        for (part, planned) in (0..).zip(plan.parts) {
            let endpoint = ring.endpoints().get(planned.endpoint.get());
            let address: Rc<str> = endpoint.map_or("", |endpoint| &endpoint.address).into();
            let (call, bytes) = (Call { request, part }, planned.body.len());
            if self.backlog.admit(&address, bytes) {
                effects.push(Effect::Dispatch(Dispatch {
                    call,
                    address: Rc::clone(&address),
                    tenant: tenant.clone(),
                    protocol: *protocol,
                    body: planned.body,
                    timeout_ms: self.config.late_write_timeout_ms,
                    limits: limits.clone(),
                }));
                parts.push(SentPart { address, bytes, is_outstanding: true });
            } else {
                held_back.push(call);
                parts.push(SentPart { address, bytes: 0, is_outstanding: true });
            }
        }
        let tally = Tally::new(Rule::new(ring.replication_factor()), plan.layout, plan.refused);
        let mut write = Write::new(*protocol, tally, parts, charge);
        if write.is_over() {
            // No series is left to be sent.
            write.decide(request, effects);
            return Ok(());
        }
        self.writes.insert(request, write);
        // One tick less: the client is answered within the timeout, not just after it.
        let wait = u64::from(self.config.write_timeout_ms.saturating_sub(TICK_MS));
        self.deadlines.push_back((self.now_ms + wait, request));
        for call in held_back {
            effects.push(Effect::Count(Counter::HeldBack));
            self.end(call, |_| Answer::whole(Outcome::Unavailable, HELD_BACK), effects);
        }
        Ok(())
    }

    /// Accounts for the end of a part. What is not outstanding is not counted again.
    fn end(&mut self, call: Call, read: impl FnOnce(&Write) -> Answer, effects: &mut Vec<Effect>) {
        let Some(write) = self.writes.get_mut(&call.request) else { return };
        let Some(part) = write.end(call.part) else { return };
        self.backlog.release(&part.address, part.bytes);
        let answer = read(write);
        write.count(call.request, call.part, answer, effects);
        if write.is_over() {
            self.writes.remove(&call.request);
            self.drained(effects);
        }
    }

    /// Ends the wait of writes whose time is up.
    fn tick(&mut self, elapsed_ms: u64, effects: &mut Vec<Effect>) {
        self.now_ms += elapsed_ms.clamp(u64::from(TICK_MS), TICK_MS_MAX);
        while let Some((_, request)) = self.deadlines.pop_front_if(|(deadline, _)| *deadline <= self.now_ms) {
            if let Some(write) = self.writes.get_mut(&request) {
                let message = format!("no answer within {} ms", self.config.write_timeout_ms);
                write.expire(request, &message, effects);
            }
        }
    }

    fn drained(&self, effects: &mut Vec<Effect>) {
        if self.draining && self.writes.is_empty() {
            effects.push(Effect::Drained);
        }
    }
}

fn header_of(limits: &ContentLimits) -> Rc<str> {
    limits.to_string().into()
}

impl Dispatch {
    /// The request headers, pseudo-headers first. Nothing of the client's own headers is among them, and none that
    /// asks Envoy to retry: the other replicas decide sooner than a sidecar is back, and Envoy would hold a copy of the
    /// body for the retry until the answer.
    pub fn headers(&self) -> Vec<(&str, &str)> {
        let mut headers = vec![
            (":method", "POST"),
            (":path", WRITE_PATH),
            (":authority", &self.address),
            ("content-type", self.protocol.content_type()),
            ("content-encoding", "snappy"),
            ("x-prometheus-remote-write-version", self.protocol.version()),
            (SIDECAR_TENANT_HEADER, self.tenant.as_str()),
            (HEADER_REFUSALS, "1"),
        ];
        headers.extend(self.limits.as_deref().map(|limits| (HEADER_LIMITS, limits)));
        headers
    }
}

#[cfg(test)]
mod tests;
