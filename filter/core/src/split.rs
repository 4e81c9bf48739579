//! From a client's body to one body per sidecar.
//!
//! Owns the two forms of a write. *Unchanged*: the ring has as many endpoints as replicas, so the body goes to
//! all of them as it came; only its declared length is read. *Split*: the body is decompressed once, each series
//! is hashed where it lies, and its bytes are copied at most once per sidecar, however many replica sets that
//! sidecar is in.
//!
//! It judges framing, not content: a series with labels that no sidecar can take goes to its replicas like any
//! other, and they refuse it by name.
//!
//! Invariant: nothing is allocated for a body before its declared length is within the limit and possible.

use std::rc::Rc;

use ringside_hashring::{EndpointIndex, Hashring, SeriesHasher};
use ringside_proto::remote_write::{TimeSeries, time_series};
use ringside_proto::{LABELS_MAX, WireError};

use self::groups::{Group, Groups};
use crate::layout::Layout;

mod groups;

/// No snappy element stands for more bytes than this per byte of itself: three bytes copy 64.
const EXPANSION_MAX: usize = 22;
/// The most series of a split request, so that what is kept for each of them stays small beside the body. Real series
/// reach it in no body of an allowed size.
const SERIES_MAX: usize = 1 << 20;
/// Buffers larger than this are given back after a request, in bytes.
const SCRATCH_BYTES_MAX: usize = 4 << 20;

/// Why a body cannot be sent on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    #[error("the body is empty: a snappy block with a WriteRequest is needed")]
    Empty,
    #[error("the body declares {declared} bytes decompressed, more than {max}")]
    TooLarge { declared: usize, max: usize },
    #[error("the body has more than {max} series")]
    TooManySeries { max: usize },
    #[error("the body is not a snappy block: {reason}")]
    NotSnappy { reason: String },
    #[error("the body is not a WriteRequest: {0}")]
    Malformed(#[from] WireError),
}

/// What goes where.
#[derive(Debug)]
pub struct Plan {
    pub form: Form,
    /// One per sidecar; none if the request has no series.
    pub parts: Vec<Part>,
    pub layout: Layout,
}

/// The form of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Unchanged,
    Split,
}

/// The body for one sidecar, compressed.
#[derive(Debug)]
pub struct Part {
    pub endpoint: EndpointIndex,
    pub body: Rc<Vec<u8>>,
}

/// Plans writes. Keeps buffers from one request to the next.
pub struct Splitter {
    decoded: Vec<u8>,
    spans: Vec<Span>,
    groups: Groups,
    raw: Vec<u8>,
    packed: Vec<u8>,
    encoder: snap::raw::Encoder,
}

/// Where a series lies in the decoded body, and the group that it is in.
struct Span {
    start: u32,
    len: u32,
    group: u32,
}

impl Default for Splitter {
    fn default() -> Self {
        Self {
            decoded: Vec::new(),
            spans: Vec::new(),
            groups: Groups::default(),
            raw: Vec::new(),
            packed: Vec::new(),
            encoder: snap::raw::Encoder::new(),
        }
    }
}

impl Splitter {
    /// Plans a write of `tenant`, whose ring is `ring`.
    pub fn plan(
        &mut self,
        ring: &Hashring,
        tenant: &str,
        body: Vec<u8>,
        decoded_bytes_max: usize,
    ) -> Result<Plan, BodyError> {
        let declared = declared_len(&body, decoded_bytes_max)?;
        if ring.endpoints().len() == ring.replication_factor() {
            return Ok(unchanged(ring, body));
        }
        self.decode(&body, declared)?;
        drop(body);
        let plan = self.place(ring, tenant, declared).map(|()| self.split(ring));
        self.give_back();
        plan
    }

    fn decode(&mut self, body: &[u8], declared: usize) -> Result<(), BodyError> {
        // Grows only: what a longer body left behind is overwritten or out of reach.
        if self.decoded.len() < declared {
            self.decoded.resize(declared, 0);
        }
        match snap::raw::Decoder::new().decompress(body, &mut self.decoded) {
            Ok(_) => Ok(()),
            Err(error) => Err(BodyError::NotSnappy { reason: error.to_string() }),
        }
    }

    /// Finds the replica set of every series.
    fn place(&mut self, ring: &Hashring, tenant: &str, declared: usize) -> Result<(), BodyError> {
        self.spans.clear();
        self.groups.clear();
        let decoded = self.decoded.get(..declared).unwrap_or_default();
        let mut hasher = SeriesHasher::new(tenant);
        let mut unsorted = Vec::new();
        for series in time_series(decoded) {
            let series = series?;
            if self.spans.len() >= SERIES_MAX {
                return Err(BodyError::TooManySeries { max: SERIES_MAX });
            }
            let hash = hash(&mut hasher, &series, &mut unsorted)?;
            let group = self.groups.count(ring.replica_set(hash));
            let end = series.offset() + series.body().len();
            let len = series.field().len();
            self.spans.push(Span { start: (end - len) as u32, len: len as u32, group });
        }
        Ok(())
    }

    /// Builds the parts from the spans.
    fn split(&mut self, ring: &Hashring) -> Plan {
        let order = self.groups.order(&self.spans);
        let members =
            |group: &Group| ring.replica_sets().get(group.set.get()).map_or(&[][..], |set| set.members());
        let mut endpoints: Vec<EndpointIndex> = self.groups.used.iter().flat_map(members).copied().collect();
        endpoints.sort_unstable();
        endpoints.dedup();
        let part_of = |endpoint: &EndpointIndex| endpoints.binary_search(endpoint).unwrap_or(0) as u16;

        let mut parts = Vec::with_capacity(endpoints.len());
        for endpoint in &endpoints {
            self.raw.clear();
            for group in self.groups.used.iter().filter(|group| members(group).contains(endpoint)) {
                for index in group.range().filter_map(|at| order.get(at)) {
                    self.raw.extend_from_slice(bytes(&self.decoded, &self.spans, *index));
                }
            }
            parts.push(Part {
                endpoint: *endpoint,
                body: Rc::new(pack(&mut self.encoder, &mut self.packed, &self.raw)),
            });
        }
        let mut layout = Layout::split(endpoints.len() as u16, order);
        for group in &self.groups.used {
            layout.push_set(members(group).iter().map(part_of), group.len);
        }
        Plan { form: Form::Split, parts, layout }
    }

    fn give_back(&mut self) {
        for buffer in [&mut self.decoded, &mut self.raw, &mut self.packed] {
            if buffer.capacity() > SCRATCH_BYTES_MAX {
                *buffer = Vec::new();
            }
        }
        if self.spans.capacity() * size_of::<Span>() > SCRATCH_BYTES_MAX {
            self.spans = Vec::new();
        }
    }
}

/// Reads the length that a snappy block declares and judges it.
fn declared_len(body: &[u8], decoded_bytes_max: usize) -> Result<usize, BodyError> {
    if body.is_empty() {
        return Err(BodyError::Empty);
    }
    let declared = match snap::raw::decompress_len(body) {
        Ok(declared) => declared,
        Err(error) => return Err(BodyError::NotSnappy { reason: error.to_string() }),
    };
    if declared > decoded_bytes_max {
        return Err(BodyError::TooLarge { declared, max: decoded_bytes_max });
    }
    if declared > body.len().saturating_mul(EXPANSION_MAX) {
        let reason = format!("its {} bytes cannot stand for the {declared} that it declares", body.len());
        return Err(BodyError::NotSnappy { reason });
    }
    Ok(declared)
}

fn unchanged(ring: &Hashring, body: Vec<u8>) -> Plan {
    let body = Rc::new(body);
    // As many endpoints as replicas: there is one replica set, and it holds them all.
    let endpoints = ring.replica_sets().first().map_or(&[][..], |set| set.members());
    let parts: Vec<_> =
        endpoints.iter().map(|endpoint| Part { endpoint: *endpoint, body: Rc::clone(&body) }).collect();
    let layout = Layout::unchanged(parts.len() as u16);
    Plan { form: Form::Unchanged, parts, layout }
}

/// The hash of a series, with its labels in order of name.
fn hash<'a>(
    hasher: &mut SeriesHasher,
    series: &TimeSeries<'a>,
    labels: &mut Vec<(&'a [u8], &'a [u8])>,
) -> Result<u64, WireError> {
    let mut last: &[u8] = &[];
    for label in series.labels() {
        let label = label?;
        if label.name < last {
            hasher.finish_series(); // Forgets what was fed so far.
            return sorted_hash(hasher, series, labels);
        }
        hasher.label(label.name, label.value);
        last = label.name;
    }
    Ok(hasher.finish_series())
}

/// As [`hash`], for labels that arrived in another order. Equal names keep their order. More labels than a sidecar
/// takes are not collected: whichever sidecars get the series, they refuse it.
fn sorted_hash<'a>(
    hasher: &mut SeriesHasher,
    series: &TimeSeries<'a>,
    labels: &mut Vec<(&'a [u8], &'a [u8])>,
) -> Result<u64, WireError> {
    labels.clear();
    for label in series.labels() {
        let label = label?;
        if labels.len() == LABELS_MAX {
            return unsorted_hash(hasher, series);
        }
        labels.push((label.name, label.value));
    }
    labels.sort_by_key(|(name, _)| *name);
    for (name, value) in labels {
        hasher.label(name, value);
    }
    Ok(hasher.finish_series())
}

fn unsorted_hash(hasher: &mut SeriesHasher, series: &TimeSeries<'_>) -> Result<u64, WireError> {
    for label in series.labels() {
        let label = label?;
        hasher.label(label.name, label.value);
    }
    Ok(hasher.finish_series())
}

fn bytes<'a>(decoded: &'a [u8], spans: &[Span], index: u32) -> &'a [u8] {
    let span = spans.get(index as usize);
    span.and_then(|span| decoded.get(span.start as usize..)?.get(..span.len as usize)).unwrap_or_default()
}

/// Compresses through a buffer that is kept, into a vector of just the size.
fn pack(encoder: &mut snap::raw::Encoder, packed: &mut Vec<u8>, raw: &[u8]) -> Vec<u8> {
    let most = snap::raw::max_compress_len(raw.len());
    if packed.len() < most {
        packed.resize(most, 0);
    }
    // Fails only for a buffer that is too small or more than 4 GiB of input, and both are excluded.
    let length = encoder.compress(raw, packed).unwrap_or(0);
    packed.get(..length).unwrap_or_default().to_vec()
}

#[cfg(test)]
mod tests;
