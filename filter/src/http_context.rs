//! The HTTP context: one client's stream, turned into events.
//!
//! Owns the reading of headers, metadata and the body. It holds no write: once the body is handed over, the stream
//! waits for an answer that the root context sends.

use std::cell::OnceCell;
use std::rc::Rc;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, BufferType, MapType};
use ringside_filter_core::metadata;
use ringside_filter_core::pairs::Unreadable;
use ringside_filter_core::{
    Admission, Admitted, Event, HEADERS_WRITTEN, Head, Lookup, Place, Protocol, RequestId, Response,
};

use crate::effects::{Worker, now_ms};
use crate::header_map::HeaderMap;
use crate::shared_data::HostData;

pub(crate) struct Http {
    request: RequestId,
    /// `None` without a valid configuration. Envoy then serves no request through the module.
    worker: Option<Rc<Worker>>,
    state: State,
}

enum State {
    /// Not a write: the stream is none of our business.
    Passed,
    /// The body is arriving in Envoy's buffer.
    Reading(Admitted),
    /// The body is with the core.
    Waiting,
    /// Answered by this context.
    Answered,
}

impl Http {
    pub(crate) fn new(id: u32, worker: Option<Rc<Worker>>) -> Self {
        Self { request: RequestId(id), worker, state: State::Passed }
    }

    fn answer(&mut self, worker: &Worker, response: &Response) -> Action {
        if let State::Reading(_) = std::mem::replace(&mut self.state, State::Answered) {
            worker.on_http(Event::ClientGone { request: self.request });
        }
        worker.respond(response);
        Action::Pause
    }

    /// Hands the complete body to the core.
    fn hand_over(&mut self, worker: &Worker, admitted: Admitted) -> Action {
        let body = hostcalls::get_buffer(BufferType::HttpRequestBody, 0, usize::MAX).ok().flatten();
        let body = body.unwrap_or_default();
        if let Some(refusal) = worker.judge(|fanouts| fanouts.judge_length(&admitted, body.len())) {
            return self.answer(worker, &refusal);
        }
        self.state = State::Waiting;
        worker.on_http(Event::Body { request: self.request, admitted, body });
        Action::Pause
    }
}

impl Context for Http {
    fn on_done(&mut self) -> bool {
        if let (State::Reading(_) | State::Waiting, Some(worker)) = (&self.state, &self.worker) {
            if self.is_unanswered(worker)
                && let Some(status) = response_code()
            {
                worker.host_responded(status);
            }
            worker.on_http(Event::ClientGone { request: self.request });
        }
        true
    }
}

impl HttpContext for Http {
    fn on_http_request_headers(&mut self, _headers: usize, end_of_stream: bool) -> Action {
        let Some(worker) = self.worker.clone() else {
            self.state = State::Answered;
            let _ = hostcalls::send_http_response(503, Vec::new(), Some(b"ringside is not configured\n"));
            return Action::Pause;
        };
        let headers = HeaderMap::read(MapType::HttpRequestHeaders);
        #[cfg(feature = "trap")]
        if headers.get("x-ringside-trap").is_some() {
            std::process::abort();
        }
        let header = |name| headers.get(name).unwrap_or_default();
        let head = Head {
            method: header(":method"),
            path: header(":path"),
            content_type: header("content-type"),
            content_encoding: header("content-encoding"),
            content_length: headers.get("content-length"),
            // Envoy knows no cluster without a route, nor with one that answers itself or names none that is there.
            is_routed: property(&["xds", "cluster_name"]) != Ok(None),
            is_bodyless: end_of_stream,
        };
        let namespaces = Namespaces::default();
        let lookup = |wanted: Lookup<'_>| match wanted {
            Lookup::Header(name) => headers.get(name).map(<[u8]>::to_vec),
            Lookup::Metadata(place, key) => namespaces.value(place, key),
        };
        match worker.judge(|fanouts| fanouts.admit(&head, lookup, &HostData, now_ms)) {
            Admission::Pass => Action::Continue,
            Admission::Refuse { response, tenant } => {
                if let Some(tenant) = tenant {
                    worker.is_of(&tenant);
                }
                self.answer(&worker, &response)
            }
            Admission::Read(admitted) => {
                worker.is_of(&admitted.tenant);
                self.state = State::Reading(admitted);
                Action::Pause
            }
        }
    }

    fn on_http_request_body(&mut self, body_bytes: usize, end_of_stream: bool) -> Action {
        let (State::Reading(admitted), Some(worker)) = (&self.state, self.worker.clone()) else {
            return self.idle();
        };
        let admitted = admitted.clone();
        if let Some(refusal) = worker.judge(|fanouts| fanouts.judge_length(&admitted, body_bytes)) {
            return self.answer(&worker, &refusal);
        }
        if end_of_stream {
            return self.hand_over(&worker, admitted);
        }
        match worker.arrived(self.request, &admitted, body_bytes) {
            Some(refusal) => self.answer(&worker, &refusal),
            None => Action::Pause,
        }
    }

    fn on_http_response_headers(&mut self, _headers: usize, _end_of_stream: bool) -> Action {
        // Envoy's own answer, to a body that stopped half way: a sender of 2.0 is told also there that nothing is written.
        if let State::Reading(Admitted { protocol: Protocol::V2, .. }) = &self.state {
            for name in HEADERS_WRITTEN {
                let _ = hostcalls::set_map_value(MapType::HttpResponseHeaders, name, Some("0"));
            }
        }
        Action::Continue
    }

    fn on_http_request_trailers(&mut self, _trailers: usize) -> Action {
        // A stream with trailers ends here, not with its body.
        let (State::Reading(admitted), Some(worker)) = (&self.state, self.worker.clone()) else {
            return self.idle();
        };
        let admitted = admitted.clone();
        self.hand_over(&worker, admitted)
    }
}

impl Http {
    /// Whether no answer of the filter's has been given.
    fn is_unanswered(&self, worker: &Worker) -> bool {
        match self.state {
            State::Passed | State::Answered => false,
            State::Reading(_) => true,
            State::Waiting => worker.judge(|fanouts| fanouts.is_awaited(self.request)),
        }
    }

    /// What to do with data that is not read here.
    fn idle(&self) -> Action {
        if matches!(self.state, State::Passed) { Action::Continue } else { Action::Pause }
    }
}

/// Our namespace in the metadata of each place, read once for a request however many of its keys are looked up.
#[derive(Default)]
struct Namespaces([OnceCell<Result<Option<Vec<u8>>, Unreadable>>; Place::ALL.len()]);

impl Namespaces {
    fn value(&self, place: Place, key: &str) -> Option<Vec<u8>> {
        metadata::value(place, key, |path| match self.0.get(place as usize) {
            Some(namespace) if path == place.property_path() => {
                namespace.get_or_init(|| property(path)).clone()
            }
            _ => property(path),
        })
    }
}

/// The status that the client got, if it got any.
fn response_code() -> Option<u16> {
    let code = property(&["response", "code"]).ok()??;
    u16::try_from(i64::from_le_bytes(code.try_into().ok()?)).ok().filter(|code| *code > 0)
}

fn property(path: &[&str]) -> Result<Option<Vec<u8>>, Unreadable> {
    hostcalls::get_property(path.to_vec()).map_err(|_| Unreadable)
}
