//! What was seen of each request: what its client sent, where its parts went, what came back and in which order.

use std::collections::{BTreeMap, BTreeSet};

use ringside_filter_core::{Call, HEADERS_WRITTEN, Limit, RequestId, Response};

use crate::sidecar::Answer;
use crate::traffic::Write;
use crate::world::Place;

/// An answer to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) status: u16,
    pub(crate) written: [Option<String>; 3],
}

impl Verdict {
    pub(crate) fn of(response: &Response) -> Self {
        let value = |name| {
            let header = response.headers.iter().find(|(other, _)| *other == name);
            header.map(|(_, value)| value.clone().into_owned())
        };
        Self { status: response.status, written: HEADERS_WRITTEN.map(value) }
    }

    /// The written samples, where the answer says so.
    pub(crate) fn samples(&self) -> Option<u64> {
        self.written[0].as_ref().map(|samples| samples.parse().expect("a number"))
    }
}

pub(crate) struct Request {
    pub(crate) filter: usize,
    pub(crate) start_ms: u64,
    tries: u32,
    pub(crate) write: Write,
    pub(crate) has_left: bool,
    pub(crate) verdict: Option<Verdict>,
    /// The time of the verdict, and how many replies had come by then.
    pub(crate) verdict_at: (u64, usize),
    /// The replies in order; `None` is a reset, or a part that could not be sent.
    pub(crate) replies: Vec<(u16, Option<Answer>)>,
    pub(crate) parts: BTreeMap<u16, usize>,
    pub(crate) has_rate: bool,
    /// Its tenant had too much in flight already.
    pub(crate) is_one_too_many: bool,
    /// The samples that its tenant was charged for.
    pub(crate) charged: Option<u64>,
}

#[derive(Default)]
pub(crate) struct Witness {
    pub(crate) requests: BTreeMap<RequestId, Request>,
    /// Those whose client waits.
    pub(crate) waiting: BTreeSet<RequestId>,
    /// How often the worst is said to have happened, by name.
    pub(crate) events: BTreeMap<String, u64>,
}

impl Witness {
    pub(crate) fn saw(&mut self, event: impl Into<String>) {
        *self.events.entry(event.into()).or_default() += 1;
    }

    pub(crate) fn sent(
        &mut self,
        id: RequestId,
        filter: usize,
        start_ms: u64,
        tries: u32,
        write: Write,
        has_rate: bool,
    ) {
        let request = Request {
            filter,
            start_ms,
            tries,
            write,
            has_left: false,
            verdict: None,
            verdict_at: (0, 0),
            replies: Vec::new(),
            parts: BTreeMap::new(),
            has_rate,
            is_one_too_many: false,
            charged: None,
        };
        self.requests.insert(id, request);
        self.waiting.insert(id);
    }

    fn request(&mut self, Place { filter, call }: Place) -> &mut Request {
        let request = self.requests.get_mut(&call.request).expect("a request that was sent");
        assert_eq!(request.filter, filter, "a request stays with its filter");
        request
    }

    pub(crate) fn dispatched(&mut self, at: Place, sidecar: usize) {
        let request = self.request(at);
        assert!(request.parts.insert(at.call.part, sidecar).is_none(), "a part is sent once");
    }

    /// Only the first reply to a part counts.
    pub(crate) fn reached(&mut self, at: Place, answer: Option<Answer>) {
        let Call { part, .. } = at.call;
        let request = self.request(at);
        if request.replies.iter().all(|(other, _)| *other != part) {
            request.replies.push((part, answer));
        }
    }

    pub(crate) fn charged(&mut self, id: RequestId, samples: u64) {
        let request = self.requests.get_mut(&id).expect("a request that was sent");
        assert_eq!(request.charged.replace(samples), None, "charged twice");
    }

    /// The filter of a request, and whether its client still waited.
    pub(crate) fn leaves(&mut self, id: RequestId) -> (usize, bool) {
        let waited = self.waiting.remove(&id);
        let request = self.requests.get_mut(&id).expect("a request that was sent");
        request.has_left |= waited;
        (request.filter, waited)
    }

    /// Notes an answer; what was sent, and how often before.
    pub(crate) fn answered(&mut self, id: RequestId, response: &Response, now_ms: u64) -> (Write, u32) {
        assert!(self.waiting.remove(&id), "one answer, to a client that waits");
        let request = self.requests.get_mut(&id).expect("a request that was sent");
        request.verdict = Some(Verdict::of(response));
        request.verdict_at = (now_ms, request.replies.len());
        request.is_one_too_many = response.limit == Some(Limit::TenantInFlight);
        let (write, tries) = (request.write.clone(), request.tries);
        self.saw(format!("status {}", response.status));
        (write, tries)
    }
}
