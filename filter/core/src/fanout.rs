//! The writes under way: events in, effects out.
//!
//! Owns each request from its complete body to the last answer of a sidecar, which is later than the answer to
//! the client: a verdict leaves as soon as it is fixed, and the remaining parts are carried to their end. It does
//! no I/O and reads no clock; the host turns effects into calls and calls back with events.
//!
//! Invariants: a client gets at most one answer. Each part of a write is accounted for once. Nothing of a request
//! is kept beyond its last part, and its bodies and answers not beyond its verdict.

use std::collections::BTreeMap;
use std::rc::Rc;

use ringside_proto::HEADER_REFUSALS;

use crate::answer::Answer;
use crate::config::Config;
use crate::quorum::{Outcome, Rule};
use crate::reply::Response;
use crate::request::{Head, Judgement, judge, judge_length};
use crate::split::{Form, Splitter};
use crate::tally::Tally;
use crate::tenant::{Lookup, TenantId, choose};

/// The header that names the tenant to a sidecar, whatever header named it to the filter.
pub const SIDECAR_TENANT_HEADER: &str = "thanos-tenant";
/// The path of a sidecar's remote write.
const WRITE_PATH: &str = "/api/v1/receive";
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
    Body { request: RequestId, tenant: TenantId, body: Vec<u8> },
    /// A dispatch was refused by the host; no answer follows.
    NotDispatched { call: Call },
    /// A sidecar answered, or its stream was reset (`status` is `None`). Timeouts are answers with 504.
    Answered { call: Call, status: Option<u16>, content_type: Option<&'a [u8]>, body: &'a [u8] },
    /// The client's stream has ended, answered or not.
    ClientGone { request: RequestId },
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
    pub body: Rc<Vec<u8>>,
    pub timeout_ms: u32,
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
    /// A client left before its verdict.
    ClientGone,
}

/// What becomes of a request, judged from its headers.
#[derive(Debug)]
pub enum Admission {
    /// Not a write.
    Pass,
    Refuse(Response),
    /// Its body is to be read, and comes back with this tenant.
    Read(TenantId),
}

/// The writes under way in one worker.
pub struct Fanouts {
    config: Config,
    splitter: Splitter,
    writes: BTreeMap<RequestId, Write>,
    draining: bool,
}

/// One request, from its body to the last answer of a sidecar.
struct Write {
    addresses: Vec<Rc<str>>,
    /// By part: whether its answer is outstanding.
    outstanding: Vec<bool>,
    /// `None` once the verdict is given.
    tally: Option<Tally>,
    client_waits: bool,
}

impl Fanouts {
    pub fn new(config: Config) -> Self {
        Self { config, splitter: Splitter::default(), writes: BTreeMap::new(), draining: false }
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The number of writes under way, late ones included.
    pub fn writes(&self) -> usize {
        self.writes.len()
    }

    /// Judges a request from its headers and chooses its tenant.
    pub fn admit(&self, head: &Head<'_>, lookup: impl Fn(Lookup<'_>) -> Option<Vec<u8>>) -> Admission {
        match judge(head, self.config.body_bytes_max) {
            Judgement::Pass => return Admission::Pass,
            Judgement::Refuse(response) => return Admission::Refuse(response),
            Judgement::Read => {}
        }
        match choose(&self.config.tenant_header, &self.config.default_tenant, lookup) {
            Ok(tenant) => Admission::Read(tenant),
            Err(error) => Admission::Refuse(Response::refusal(400, error.to_string())),
        }
    }

    /// Judges how much of a body has arrived.
    pub fn judge_length(&self, bytes: usize) -> Option<Response> {
        judge_length(bytes, self.config.body_bytes_max)
    }

    /// Takes an event, and adds what is to be done to `effects`, in order.
    pub fn on(&mut self, event: Event<'_>, effects: &mut Vec<Effect>) {
        match event {
            Event::Body { request, tenant, body } => self.start(request, tenant, body, effects),
            Event::NotDispatched { call } => {
                self.answered(call, |_| Answer::whole(Outcome::Unavailable, NOT_DISPATCHED), effects);
            }
            Event::Answered { call, status, content_type, body } => {
                let read = |tally: Option<&Tally>| {
                    let holds = |index| tally.is_none_or(|tally| tally.layout().holds(call.part, index));
                    Answer::read(status, content_type, body, holds)
                };
                self.answered(call, read, effects);
            }
            Event::ClientGone { request } => {
                if let Some(write) = self.writes.get_mut(&request)
                    && std::mem::take(&mut write.client_waits)
                {
                    effects.push(Effect::Count(Counter::ClientGone));
                }
            }
            Event::Drain => {
                self.draining = true;
                self.drained(effects);
            }
        }
    }

    fn start(&mut self, request: RequestId, tenant: TenantId, body: Vec<u8>, effects: &mut Vec<Effect>) {
        if self.writes.len() >= WRITES_MAX {
            let response = Response::refusal(503, format!("{WRITES_MAX} writes are under way"));
            return effects.push(Effect::Respond { request, response });
        }
        let Some(ring) = self.config.hashrings.for_tenant(tenant.as_str()) else {
            let response =
                Response::refusal(503, format!("no hashring serves the tenant {}", tenant.as_str()));
            return effects.push(Effect::Respond { request, response });
        };
        let plan = match self.splitter.plan(ring, tenant.as_str(), body, self.config.decoded_bytes_max) {
            Ok(plan) => plan,
            Err(error) => {
                let response = Response::unusable_body(&error);
                return effects.push(Effect::Respond { request, response });
            }
        };
        if plan.parts.is_empty() {
            effects.push(Effect::Count(Counter::Empty));
            return effects.push(Effect::Respond { request, response: Response::stored() });
        }
        effects.push(Effect::Count(Counter::Sent(plan.form)));
        let mut addresses = Vec::with_capacity(plan.parts.len());
        for (part, planned) in (0..).zip(plan.parts) {
            let endpoint = ring.endpoints().get(planned.endpoint.get());
            let address: Rc<str> = endpoint.map_or("", |endpoint| &endpoint.address).into();
            addresses.push(Rc::clone(&address));
            effects.push(Effect::Dispatch(Dispatch {
                call: Call { request, part },
                address,
                tenant: tenant.clone(),
                body: planned.body,
                timeout_ms: self.config.write_timeout_ms,
            }));
        }
        let outstanding = vec![true; addresses.len()];
        let tally = Some(Tally::new(Rule::new(ring.replication_factor()), plan.layout));
        self.writes.insert(request, Write { addresses, outstanding, tally, client_waits: true });
    }

    /// Accounts for the end of a part. What is not outstanding is not counted again.
    fn answered(
        &mut self,
        call: Call,
        read: impl FnOnce(Option<&Tally>) -> Answer,
        effects: &mut Vec<Effect>,
    ) {
        let Some(write) = self.writes.get_mut(&call.request) else { return };
        match write.outstanding.get_mut(usize::from(call.part)) {
            Some(outstanding @ true) => *outstanding = false,
            _ => return,
        }
        let answer = read(write.tally.as_ref());
        let success = answer.rest == Outcome::Stored && answer.refused.is_empty();
        effects.push(Effect::Count(Counter::Forward { success }));
        match &mut write.tally {
            None => effects.push(Effect::Count(Counter::LateWrite { success })),
            Some(tally) => {
                tally.count(call.part, answer);
                if let Some(verdict) = tally.verdict() {
                    write.decide(call.request, verdict, effects);
                }
            }
        }
        if !write.outstanding.contains(&true) {
            self.writes.remove(&call.request);
            self.drained(effects);
        }
    }

    fn drained(&self, effects: &mut Vec<Effect>) {
        if self.draining && self.writes.is_empty() {
            effects.push(Effect::Drained);
        }
    }
}

impl Write {
    /// Gives the verdict, and with it up all that only a verdict needs.
    fn decide(&mut self, request: RequestId, verdict: Outcome, effects: &mut Vec<Effect>) {
        let Some(tally) = self.tally.take() else { return };
        effects.push(Effect::Count(Counter::Replication { success: verdict == Outcome::Stored }));
        let addresses = std::mem::take(&mut self.addresses);
        if std::mem::take(&mut self.client_waits) {
            let address = |part: u16| addresses.get(usize::from(part)).map(AsRef::as_ref);
            let response = Response::verdict(verdict, &tally, address);
            effects.push(Effect::Respond { request, response });
        }
    }
}

impl Dispatch {
    /// The request headers, pseudo-headers first. Nothing of the client's own headers is among them.
    pub fn headers(&self) -> [(&str, &str); 8] {
        [
            (":method", "POST"),
            (":path", WRITE_PATH),
            (":authority", &self.address),
            ("content-type", "application/x-protobuf"),
            ("content-encoding", "snappy"),
            ("x-prometheus-remote-write-version", "0.1.0"),
            (SIDECAR_TENANT_HEADER, self.tenant.as_str()),
            (HEADER_REFUSALS, "1"),
        ]
    }
}

#[cfg(test)]
mod tests;
