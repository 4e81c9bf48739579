//! The clients: each sends a write, waits for its answer or not, and sends it again or the next one.

use ringside_filter_core::limits::Limits;
use ringside_filter_core::{Admitted, Event, Rate, RequestId, Response};

use super::{Happening, TRAFFIC_MS, WRITE_TIMEOUT_MS, World, tenant};
use crate::answer;
use crate::traffic::Write;
use crate::witness::{Placement, Request};

impl World {
    /// Plans the next write of a client.
    pub(super) fn next_write(&mut self, delay_ms: u64) {
        if self.now_ms + delay_ms < TRAFFIC_MS {
            // As long as timestamps of today.
            let time = 1_700_000_000_000 + (self.now_ms + delay_ms) as i64;
            let write = Write::random(&mut self.random, self.pool, time);
            self.after(delay_ms, Happening::Send(write, 0));
        }
    }

    pub(super) fn send(&mut self, write: Write, tries: u32) {
        let id = RequestId(self.requests);
        self.requests += 1;
        let filter = self.filters.len() - 1;
        let placement = Placement::of(&write, &self.filters[filter].config);
        let request = Request::new(filter, self.now_ms, tries, write, placement, self.has_rates);
        self.witness.sent(id, request);
        self.filters[filter].arriving.insert(id);
        if self.random.percent(self.trouble / 2) {
            let patience = self.random.within(1, WRITE_TIMEOUT_MS);
            self.after(patience, Happening::Leave(id));
        }
        self.more(id);
    }

    /// Some of a body is there, and the rest comes later or never; or all of it is there.
    pub(super) fn more(&mut self, id: RequestId) {
        if !self.witness.waiting.contains(&id) {
            return;
        }
        let admitted = self.admitted(id);
        let request = self.witness.request(id);
        let (filter, whole) = (request.filter, request.write.body.len());
        if !self.random.percent(30) {
            (request.start_ms, request.is_whole, request.bytes) = (self.now_ms, true, whole);
            let body = request.write.body.clone();
            if self.filters[filter].is_old {
                self.witness.saw("body after a ring change");
            }
            self.on(filter, Event::Body { request: id, admitted, body });
            return self.ends_arriving(id);
        }
        request.bytes = self.random.within(request.bytes.max(1) as u64, whole as u64) as usize;
        let refusal = self.filters[filter].fanouts.arrived(id, &admitted, request.bytes);
        if let Some(refusal) = refusal {
            self.on(filter, Event::ClientGone { request: id });
            self.ends_arriving(id);
            self.respond(id, refusal);
        } else if self.random.percent(self.trouble / 3) {
            self.witness.saw("half a body");
            self.leave(id);
        } else {
            let wait = self.random.within(1, 200);
            self.after(wait, Happening::More(id));
        }
    }

    fn admitted(&self, id: RequestId) -> Admitted {
        let limits = Limits {
            rate: self.has_rates.then(|| rate_of(id)),
            in_flight_bytes: self.in_flight_bytes,
            ..Limits::default()
        };
        let protocol = self.witness.requests[&id].write.protocol;
        Admitted { tenant: tenant(), protocol, limits, hashring: None }
    }

    fn ends_arriving(&mut self, id: RequestId) {
        let filter = self.witness.request(id).filter;
        self.filters[filter].arriving.remove(&id);
        self.drain(filter);
    }

    pub(super) fn leave(&mut self, request: RequestId) {
        // A stream ends answered or not; who has an answer is not among those that leave without one.
        let (filter, waited) = self.witness.leaves(request);
        self.on(filter, Event::ClientGone { request });
        self.ends_arriving(request);
        if waited {
            let pause = self.random.within(1, 300);
            self.next_write(pause);
        }
    }

    pub(super) fn respond(&mut self, request: RequestId, mut response: Response) {
        if self.fault.is_some_and(|fault| fault.changes(&mut response)) {
            self.witness.saw("changed answer");
        }
        self.found_of(request, answer::judge(self, request, &response));
        if answer::is_undisturbed(self, request) && (200..300).contains(&response.status) {
            self.witness.saw("success without trouble");
        }
        let response = &response;
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

/// A rate that tells one request from all others.
fn rate_of(request: RequestId) -> Rate {
    Rate { samples_per_second: u64::from(request.0) + 1, burst: 1 }
}

pub(super) fn request_of(rate: Rate) -> RequestId {
    RequestId((rate.samples_per_second - 1) as u32)
}
