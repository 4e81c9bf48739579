//! What the host tells the core, and what it is to do.
//!
//! Owns the vocabulary between the two, and the headers of a part. What follows from an event is `fanout`'s.

use std::rc::Rc;

use ringside_proto::limits::HEADER_LIMITS;
use ringside_proto::{HEADER_REFUSALS, Protocol};

use crate::admission::Admitted;
use crate::answer::Reply;
use crate::limits::Limit;
use crate::rate::Rate;
use crate::reply::Response;
use crate::split::Form;
use crate::tenant::TenantId;

/// The header that names the tenant to a sidecar, whatever header named it to the filter.
pub const SIDECAR_TENANT_HEADER: &str = "thanos-tenant";
/// The path of a sidecar's remote write.
const WRITE_PATH: &str = "/api/v1/receive";

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
    /// The host has no cluster of the sidecar's name, and hands the part back: there may soon be one (see `waiting`).
    NoCluster { dispatch: Dispatch },
    /// A sidecar answered, or its stream was reset. Running out of time is an answer of 504.
    Answered { call: Call, reply: Reply<'a> },
    /// The client's stream has ended, answered or not; or it was answered before its body was whole.
    ClientGone { request: RequestId },
    /// Time has passed, about [`TICK_MS`](crate::TICK_MS) since the last one.
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
        /// How many series the request has, where somebody counted them.
        series: Option<u64>,
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
    /// Until when it is worth sending, by the core's clock.
    pub expires_ms: u64,
    /// The limits that are left to the sidecar, as a header has them.
    pub limits: Option<Rc<str>>,
    /// Whether the answer's [`HEADERS_WRITTEN`](crate::HEADERS_WRITTEN) are wanted: for the client, or because nobody has
    /// counted yet what its tenant's rate is charged for.
    pub asks_written: bool,
    /// Whether the answer's [`HEADER_SERIES`](crate::HEADER_SERIES) is wanted, for the access log.
    pub asks_series: bool,
}

/// Something that happened once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// A request was sent on in this form: the bytes that came, and those of all its parts.
    Sent { form: Form, received: usize, sent: usize },
    /// A request without series was answered without being sent on.
    Empty,
    /// A sidecar's answer to a part.
    Forward { success: bool },
    /// A verdict.
    Replication { success: bool },
    /// A sidecar's answer that came after the verdict.
    LateWrite { success: bool },
    /// A part that came to its end after the verdict, and its sidecar neither stored nor refused it.
    LateWriteGivenUp,
    /// A part was not sent, because too much is under way to its sidecar.
    HeldBack,
    /// A part waits for its sidecar's cluster.
    Waits,
    /// Something of a request that is sent on is beyond a limit.
    Limited(Limit),
    /// Something is stored that no balance was charged for.
    ChargeLost,
    /// A client left before its verdict.
    ClientGone,
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
