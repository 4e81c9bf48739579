//! From a client's body to one body per sidecar.
//!
//! Owns the two forms of a write. *Unchanged*: the ring has as many endpoints as replicas, so the body goes to all of them
//! as it came; only its declared length is read, unless its samples are to be counted here. *Split*: the body is
//! decompressed once, each series is hashed where it lies or found by its bytes, and the series of a replica set are
//! compressed once for all its sidecars, or for each of them where they are few; also where nobody behind judges by the
//! tenant's limits. A part is of the same version of remote write as the request; one of 2.0 carries the symbols that its
//! series refer to at the places that they had, so that the references mean the same.
//!
//! It judges framing, not content: a series with labels that no sidecar can take goes to its replicas like any
//! other, and they refuse it by name.
//!
//! Invariant: nothing is allocated for a body before its declared length is within the limit and possible.

use std::rc::Rc;

use ringside_hashring::{EndpointIndex, Hashring, SeriesHasher};
use ringside_proto::limits::ContentLimits;
use ringside_proto::remote_write_v2::{Contents, Expansion, RequestError, SymbolTable};
use ringside_proto::snappy::{SnappyError, declared_bytes};
use ringside_proto::{Parts, Protocol, WireError, remote_write, remote_write_v2};

use self::groups::{Group, Groups};
use self::hash::{hash, hash_v2};
use self::judge::Judge;
use self::packer::Packer;
use self::placements::Placements;
use self::wanted::Wanted;
use crate::layout::Layout;
use crate::tally::RefusedHere;

mod groups;
mod hash;
mod judge;
mod packer;
mod placements;
mod wanted;

/// The series of a replica set are compressed once for all its sidecars where a set has so many bytes on the average;
/// smaller pieces would compress too badly.
const PIECE_BYTES_MIN: usize = 4 << 10;
/// The most that the parts of one request may hold together before they are compressed, in bytes, however large a body
/// may be: a module has a GiB for all that it does.
const PARTS_BYTES_MAX: usize = 512 << 20;
/// Buffers larger than this are given back after a request, in bytes.
const SCRATCH_BYTES_MAX: usize = 4 << 20;

/// What nearly every series of a request holds.
const ONE_SAMPLE: Contents = Contents { samples: 1, histograms: 0, exemplars: 0 };

/// Why a body cannot be sent on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    #[error(transparent)]
    Snappy(#[from] SnappyError),
    #[error("the body has more than {max} series")]
    TooManySeries { max: usize },
    #[error("the parts for its sidecars have more than {max} bytes together; send fewer series at once")]
    PartsTooLarge { max: usize },
    #[error("the body is not a remote-write request: {0}")]
    Malformed(#[from] RequestError),
}

impl From<WireError> for BodyError {
    fn from(error: WireError) -> Self {
        Self::Malformed(error.into())
    }
}

/// A request whose body is to be planned.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    pub tenant: &'a str,
    pub protocol: Protocol,
    pub limits: ContentLimits,
    /// Whether its samples are to be counted, where the body is looked into.
    pub counts_samples: bool,
    /// Whether what is behind neither counts nor judges, so that a body is looked into also where it would do to send it on
    /// as it came.
    pub looks_inside: bool,
    pub decoded_bytes_max: usize,
}

/// What goes where.
#[derive(Debug)]
pub struct Plan {
    pub form: Form,
    /// One per sidecar; none if there is no series to be sent.
    pub parts: Vec<Part>,
    pub layout: Layout,
    /// Samples and histograms in the parts, where somebody counted them.
    pub samples: Option<u64>,
    /// Series beyond a limit, which are in no part.
    pub refused: Option<RefusedHere>,
}

impl Plan {
    /// How many series the request has, where the body was looked into.
    pub fn series(&self) -> Option<u64> {
        let refused = self.refused.as_ref().map_or(0, |refused| refused.series);
        (self.form == Form::Split).then(|| self.layout.series() + refused)
    }
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

/// Plans writes, under one configuration or several. Keeps buffers from one request to the next.
#[derive(Default)]
pub struct Splitter {
    decoded: Vec<u8>,
    symbols: SymbolTable,
    wanted: Wanted,
    spans: Vec<Span>,
    groups: Groups,
    refused: Option<RefusedHere>,
    packer: Packer,
    placements: Placements,
}

/// Where a series lies in the decoded body, and the group that it is in.
struct Span {
    start: u32,
    len: u32,
    group: u32,
}

impl Span {
    /// The group of a series that is not sent.
    const NOWHERE: u32 = u32::MAX;

    fn ending(end: usize, len: usize, group: u32) -> Self {
        Self { start: (end - len) as u32, len: len as u32, group }
    }
}

impl Splitter {
    /// One that remembers series by hashes that only who knows the seed can foresee.
    pub fn seeded(seed: u64) -> Self {
        Self { placements: Placements::seeded(seed), ..Self::default() }
    }

    /// Plans a write whose tenant has this ring.
    pub fn plan(
        &mut self,
        ring: &Hashring,
        incoming: &Incoming<'_>,
        body: Vec<u8>,
    ) -> Result<Plan, BodyError> {
        let declared = declared_bytes(&body, incoming.decoded_bytes_max)?;
        let is_judged = incoming.looks_inside && !incoming.limits.is_none();
        let is_unchanged = ring.endpoints().len() == ring.replication_factor() && !is_judged;
        if is_unchanged && !(incoming.counts_samples && incoming.looks_inside) {
            return Ok(unchanged(ring, body, None));
        }
        self.decode(&body, declared)?;
        if is_unchanged {
            let samples = self.samples(incoming.protocol, declared);
            self.give_back();
            return Ok(unchanged(ring, body, Some(samples?)));
        }
        drop(body);
        self.spans.clear();
        self.groups.clear();
        self.refused = None;
        let placed = match incoming.protocol {
            Protocol::V1 => self.place(ring, incoming, declared),
            Protocol::V2 => self.place_v2(ring, incoming, declared),
        };
        let plan = placed.and_then(|()| self.split(ring, incoming, declared));
        self.give_back();
        plan
    }

    fn decode(&mut self, body: &[u8], declared: usize) -> Result<(), BodyError> {
        // Grows only: what a longer body left behind is overwritten or out of reach.
        if self.decoded.len() < declared {
            self.decoded.resize(declared, 0);
        }
        let decompressed = snap::raw::Decoder::new().decompress(body, &mut self.decoded);
        decompressed.map(drop).map_err(|error| SnappyError::from(error).into())
    }

    /// Counts the samples and histograms of a body.
    fn samples(&self, protocol: Protocol, declared: usize) -> Result<u64, BodyError> {
        let decoded = self.decoded.get(..declared).unwrap_or_default();
        let mut all = Contents::default();
        match protocol {
            Protocol::V1 => {
                for series in remote_write::time_series(decoded) {
                    all += count(&series?.parts()?);
                }
            }
            Protocol::V2 => {
                for series in remote_write_v2::time_series(decoded) {
                    all += series?.survey(|_| {})?.contents;
                }
            }
        }
        Ok(all.samples + all.histograms)
    }

    /// Finds the replica set of every series.
    fn place(&mut self, ring: &Hashring, incoming: &Incoming<'_>, declared: usize) -> Result<(), BodyError> {
        let decoded = self.decoded.get(..declared).unwrap_or_default();
        let judge = Judge::new(&incoming.limits);
        let scope = self.placements.scope(incoming.tenant, ring, &incoming.limits);
        let mut hasher = SeriesHasher::new(incoming.tenant);
        let mut unsorted = Vec::new();
        for series in remote_write::time_series(decoded) {
            let series = series?;
            judge.one_more(self.spans.len())?;
            let end = series.offset() + series.body().len();
            let len = series.field().len();
            let before = series.before_sample();
            let label_hash = before.map(|labels| scope.hash(labels));
            if let Some(set) = label_hash.and_then(|hash| self.placements.get(ring, hash)) {
                let group = self.groups.place(set);
                self.spans.push(Span::ending(end, len, self.groups.count(group, ONE_SAMPLE)));
                continue;
            }
            let labels = || series.labels().map_while(Result::ok);
            let group = if judge.refuses(labels, self.spans.len(), &mut self.refused) {
                Span::NOWHERE
            } else {
                let set = ring.replica_set(hash(&mut hasher, &series, &mut unsorted)?);
                let mut contents = Contents::default();
                if incoming.counts_samples || label_hash.is_some() {
                    let parts = series.parts()?;
                    contents = count(&parts);
                    let is_usual = contents == ONE_SAMPLE && parts.label_bytes == before;
                    if let Some(hash) = label_hash.filter(|_| is_usual) {
                        self.placements.add(hash, set);
                    }
                }
                let group = self.groups.place(set);
                self.groups.count(group, contents)
            };
            self.spans.push(Span::ending(end, len, group));
        }
        Ok(())
    }

    /// As [`Self::place`], for remote write 2.0. What each replica set gets is counted, for the answer owes the client
    /// these numbers.
    fn place_v2(
        &mut self,
        ring: &Hashring,
        incoming: &Incoming<'_>,
        declared: usize,
    ) -> Result<(), BodyError> {
        let decoded = self.decoded.get(..declared).unwrap_or_default();
        let symbols = self.symbols.read(decoded)?;
        self.wanted.start(symbols.len());
        let mut expansion = Expansion::default();
        let judge = Judge::new(&incoming.limits);
        let mut hasher = SeriesHasher::new(incoming.tenant);
        let mut unsorted = Vec::new();
        for series in remote_write_v2::time_series(decoded) {
            let series = series?;
            judge.one_more(self.spans.len())?;
            let end = series.offset() + series.body().len();
            let labels = || series.labels(symbols).map_while(Result::ok);
            let group = if judge.refuses(labels, self.spans.len(), &mut self.refused) {
                Span::NOWHERE
            } else {
                let (hash, label_bytes) = hash_v2(&mut hasher, &series, symbols, &mut unsorted)?;
                expansion.add(label_bytes)?;
                let group = self.groups.place(ring.replica_set(hash));
                self.groups.count(group, self.wanted.note(&series, group)?)
            };
            self.spans.push(Span::ending(end, series.field().len(), group));
        }
        Ok(())
    }

    /// Builds the parts from the spans. Series are in as many parts as they have replicas; symbols may be in all, so what
    /// the parts hold is bounded here.
    fn split(
        &mut self,
        ring: &Hashring,
        incoming: &Incoming<'_>,
        declared: usize,
    ) -> Result<Plan, BodyError> {
        let decoded = self.decoded.get(..declared).unwrap_or_default();
        let order = self.groups.order(&self.spans);
        let members =
            |group: &Group| ring.replica_sets().get(group.set.get()).map_or(&[][..], |set| set.members());
        let mut endpoints: Vec<EndpointIndex> = self.groups.used.iter().flat_map(members).copied().collect();
        endpoints.sort_unstable();
        endpoints.dedup();
        let part_of = |endpoint: &EndpointIndex| endpoints.binary_search(endpoint).unwrap_or(0) as u16;

        let series_of = |group: &Group| {
            let indexes = group.range().filter_map(|at| order.get(at));
            indexes.map(|index| bytes(decoded, &self.spans, *index))
        };
        let used = &self.groups.used;
        self.packer.start();
        if used.len() * PIECE_BYTES_MIN <= declared {
            used.iter().for_each(|group| self.packer.keep(series_of(group)));
        }
        let max =
            (ring.replication_factor() + 1).saturating_mul(incoming.decoded_bytes_max).min(PARTS_BYTES_MAX);
        let mut parts_bytes = 0;
        let mut parts = Vec::with_capacity(endpoints.len());
        for endpoint in &endpoints {
            let held = || (0..).zip(used).filter(|(_, group)| members(group).contains(endpoint));
            if incoming.protocol == Protocol::V2 {
                let symbols = self.symbols.symbols(decoded);
                let places = held().map(|(place, _)| place);
                self.packer.write(|raw| self.wanted.append_to(places, symbols, raw));
            }
            for (place, group) in held() {
                if !self.packer.splice(place as usize) {
                    self.packer
                        .write(|raw| series_of(group).for_each(|series| raw.extend_from_slice(series)));
                }
            }
            parts_bytes += self.packer.bytes();
            if parts_bytes > max {
                return Err(BodyError::PartsTooLarge { max });
            }
            parts.push(Part { endpoint: *endpoint, body: Rc::new(self.packer.finish()) });
        }
        let mut layout = Layout::split(endpoints.len() as u16, order);
        for group in &self.groups.used {
            layout.push_set(members(group).iter().map(part_of), group.len, group.contents);
        }
        let samples = |group: &Group| group.contents.samples + group.contents.histograms;
        let samples = incoming.counts_samples.then(|| self.groups.used.iter().map(samples).sum());
        Ok(Plan { form: Form::Split, parts, layout, samples, refused: self.refused.take() })
    }

    fn give_back(&mut self) {
        if self.decoded.capacity() > SCRATCH_BYTES_MAX {
            self.decoded = Vec::new();
        }
        self.packer.give_back(SCRATCH_BYTES_MAX);
        if self.spans.capacity() * size_of::<Span>() > SCRATCH_BYTES_MAX {
            self.spans = Vec::new();
        }
        if self.symbols.bytes() > SCRATCH_BYTES_MAX {
            self.symbols = SymbolTable::default();
        }
    }
}

fn unchanged(ring: &Hashring, body: Vec<u8>, samples: Option<u64>) -> Plan {
    let body = Rc::new(body);
    // As many endpoints as replicas: there is one replica set, and it holds them all.
    let endpoints = ring.replica_sets().first().map_or(&[][..], |set| set.members());
    let parts: Vec<_> =
        endpoints.iter().map(|endpoint| Part { endpoint: *endpoint, body: Rc::clone(&body) }).collect();
    let layout = Layout::unchanged(parts.len() as u16);
    Plan { form: Form::Unchanged, parts, layout, samples, refused: None }
}

/// How much a series of remote write 1.0 holds.
fn count(parts: &Parts<'_>) -> Contents {
    Contents {
        samples: parts.samples as u64,
        histograms: parts.histograms as u64,
        exemplars: parts.exemplars as u64,
    }
}

fn bytes<'a>(decoded: &'a [u8], spans: &[Span], index: u32) -> &'a [u8] {
    let span = spans.get(index as usize);
    span.and_then(|span| decoded.get(span.start as usize..)?.get(..span.len as usize)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
