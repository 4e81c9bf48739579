//! Turns effects of the core into host calls, as the root context.
//!
//! Owns the tokens of the calls under way and the order of host calls. It decides nothing.
//!
//! Calls belong to the root because the SDK hands the answer to a call to the context that made it, and drops it
//! when that context is gone: a late answer would be lost with the client's stream.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use proxy_wasm::hostcalls;
use proxy_wasm::types::{LogLevel, Status};
use ringside_filter_core::{
    Admitted, Call, Counter, Dispatch, Effect, Event, Fanouts, RequestId, Response, TenantId,
};

use crate::shared_data::HostData;
use crate::stats::Stats;

/// Names the queue by which an HTTP context has the root take its turn. The host uses no such id.
pub(crate) const TURN: u32 = u32::MAX;

#[expect(unsafe_code, reason = "the SDK exports its entry points to the host only, not to Rust")]
// SAFETY: the SDK defines this symbol with this signature, in safe Rust.
unsafe extern "C" {
    /// The SDK's own entry point for the host, which runs a callback as the root context.
    safe fn proxy_on_queue_ready(context_id: u32, queue_id: u32);
}

/// One configuration and the writes under it, shared by its root context and the HTTP contexts.
pub(crate) struct Worker {
    root_id: u32,
    /// Whether there is an access log to take note for.
    access_log: bool,
    stats: Stats,
    state: RefCell<State>,
}

struct State {
    fanouts: Fanouts,
    calls: BTreeMap<u32, Pending>,
    /// What HTTP contexts left for the root to do.
    effects: Vec<Effect>,
}

/// A call under way.
pub(crate) struct Pending {
    pub(crate) call: Call,
    pub(crate) asks_written: bool,
    pub(crate) asks_series: bool,
}

impl Worker {
    pub(crate) fn new(root_id: u32, fanouts: Fanouts, stats: Stats) -> Rc<Self> {
        let access_log = fanouts.config().access_log;
        let state = State { fanouts, calls: BTreeMap::new(), effects: Vec::new() };
        Rc::new(Self { root_id, access_log, stats, state: RefCell::new(state) })
    }

    /// Reads the core, for a judgement that changes nothing.
    pub(crate) fn judge<T>(&self, judge: impl FnOnce(&Fanouts) -> T) -> T {
        judge(&self.state.borrow().fanouts)
    }

    /// Takes note of how much of a body has arrived; the answer, if that is too much.
    pub(crate) fn arrived(&self, request: RequestId, admitted: &Admitted, bytes: usize) -> Option<Response> {
        self.state.borrow_mut().fanouts.arrived(request, admitted, bytes)
    }

    /// Takes an event in an HTTP context, and has the root do what follows.
    pub(crate) fn on_http(&self, event: Event<'_>) {
        let waits = {
            let State { fanouts, effects, .. } = &mut *self.state.borrow_mut();
            fanouts.on(event, effects);
            !effects.is_empty()
        };
        if waits {
            proxy_on_queue_ready(self.root_id, TURN);
        }
    }

    /// Does what HTTP contexts left. Runs as the root context.
    pub(crate) fn take_turn(&self) {
        let effects = std::mem::take(&mut self.state.borrow_mut().effects);
        self.run(effects);
    }

    /// Takes an event in the root context, and does what follows.
    pub(crate) fn on_root(&self, event: Event<'_>) {
        let mut effects = Vec::new();
        self.state.borrow_mut().fanouts.on(event, &mut effects);
        self.run(effects);
    }

    /// The call that a token stands for. It is answered once.
    pub(crate) fn take_call(&self, token: u32) -> Option<Pending> {
        self.state.borrow_mut().calls.remove(&token)
    }

    /// Whether no write is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.state.borrow().fanouts.writes() == 0
    }

    fn run(&self, effects: Vec<Effect>) {
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Dispatch(dispatch) => effects.extend(self.dispatch(dispatch)),
                Effect::Respond { request, response, series } => self.respond_to(request, &response, series),
                Effect::Count(counter) => self.stats.count(counter),
                Effect::Charge { tenant, rate, samples } => {
                    if !rate.charge(&HostData, &tenant, samples, now_ms()) {
                        self.stats.count(Counter::ChargeLost);
                    }
                }
                Effect::Drained => {
                    let _ = hostcalls::set_effective_context(self.root_id);
                    self.end();
                    let _ = hostcalls::done();
                }
            }
        }
    }

    /// Sends a part. Returns what follows if the host refuses it.
    fn dispatch(&self, dispatch: Dispatch) -> Vec<Effect> {
        let token = send(&dispatch);
        let State { fanouts, calls, .. } = &mut *self.state.borrow_mut();
        let mut effects = Vec::new();
        match token {
            Ok(token) => {
                let Dispatch { call, asks_written, asks_series, .. } = dispatch;
                calls.insert(token, Pending { call, asks_written, asks_series });
            }
            // Of all that a call is made of, only the name of the cluster can be wrong.
            Err(Status::BadArgument) => fanouts.on(Event::NoCluster { dispatch }, &mut effects),
            Err(_) => fanouts.on(Event::NotDispatched { call: dispatch.call }, &mut effects),
        }
        effects
    }

    /// Answers a client's request from the root context.
    fn respond_to(&self, request: RequestId, response: &Response, series: Option<u64>) {
        if hostcalls::set_effective_context(request.0).is_ok() {
            if let Some(series) = series {
                self.note("ringside.series", &series.to_string());
            }
            self.respond(response);
        } else {
            let _ = hostcalls::log(LogLevel::Warn, "an answer found its client's stream gone");
        }
        let _ = hostcalls::set_effective_context(self.root_id);
    }

    /// Lets the access log of the current context's request know its tenant.
    pub(crate) fn is_of(&self, tenant: &TenantId) {
        self.note("ringside.tenant", tenant.as_str());
    }

    /// Sets what an access log reads as `%FILTER_STATE(wasm.<name>:PLAIN)%`.
    fn note(&self, name: &str, value: &str) {
        if self.access_log {
            let _ = hostcalls::set_property(vec![name], Some(value.as_bytes()));
        }
    }

    /// The last that the root does. Envoy's timer would go on for ever, since the virtual machine does.
    pub(crate) fn end(&self) {
        self.show();
        let _ = hostcalls::set_tick_period(Duration::ZERO);
    }

    /// Shows what was counted, and how much is under way.
    pub(crate) fn show(&self) {
        self.stats.hand_over();
        self.stats.under_way(&self.state.borrow().fanouts);
    }

    /// Counts an answer that the host gave in place of the filter.
    pub(crate) fn host_responded(&self, status: u16) {
        self.stats.answered(status);
    }

    /// Answers the request of the current context.
    pub(crate) fn respond(&self, response: &Response) {
        self.stats.responded(response);
        self.note("ringside.verdict", response.verdict_name());
        let headers = response.headers.iter().map(|(name, value)| (*name, &**value)).collect();
        let _ =
            hostcalls::send_http_response(response.status.into(), headers, Some(response.body.as_bytes()));
    }
}

/// The host's clock, in milliseconds since the Unix epoch; 0 if it has none, which refills no balance.
pub(crate) fn now_ms() -> u64 {
    now_ns() / 1_000_000
}

/// The same in nanoseconds.
pub(crate) fn now_ns() -> u64 {
    let since_epoch = hostcalls::get_current_time().ok().and_then(|now| now.duration_since(UNIX_EPOCH).ok());
    since_epoch.map_or(0, |elapsed| elapsed.as_nanos() as u64)
}

fn send(dispatch: &Dispatch) -> Result<u32, Status> {
    let timeout = Duration::from_millis(dispatch.timeout_ms.into());
    hostcalls::dispatch_http_call(
        &dispatch.address,
        dispatch.headers(),
        Some(&dispatch.body),
        Vec::new(),
        timeout,
    )
}
