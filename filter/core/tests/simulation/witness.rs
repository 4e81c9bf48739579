//! What was seen of each request: what its client sent, where its parts went, what came back and in which order; and what
//! follows of that, by the plain model of `verdict`.

use std::collections::{BTreeMap, BTreeSet};

use ringside_filter_core::{Call, Config, HEADERS_WRITTEN, Limit, RequestId, Response};
use ringside_hashring::{EndpointIndex, series_hash, write_quorum};

use crate::sidecar::Answer;
use crate::traffic::{Sample, Write, labels};
use crate::verdict;
use crate::world::{Place, TENANT};

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

/// Where a write belongs, by the ring of the filter that took it.
#[derive(Debug)]
pub(crate) struct Placement {
    pub(crate) quorum: usize,
    /// All sidecars of the ring.
    pub(crate) ring: Vec<usize>,
    /// Those of each series, in the order of the write.
    pub(crate) replicas: Vec<Vec<usize>>,
    /// Whether the body goes to all of the ring as it is.
    pub(crate) is_unchanged: bool,
}

impl Placement {
    pub(crate) fn of(write: &Write, config: &Config) -> Self {
        let ring = config.hashrings.for_tenant(TENANT).expect("a ring");
        let address = |at: &EndpointIndex| ring.endpoints()[at.get()].address.parse().expect("an address");
        let replicas = write.series.iter().map(|series| {
            let labels = labels(series.number);
            let labels = labels.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            ring.replicas(series_hash(TENANT, labels)).iter().map(address).collect()
        });
        Self {
            quorum: write_quorum(ring.replication_factor()),
            ring: ring.endpoints().iter().map(|at| at.address.parse().expect("an address")).collect(),
            replicas: replicas.collect(),
            is_unchanged: ring.endpoints().len() == ring.replication_factor(),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) filter: usize,
    /// Since when its body is whole; before, since when it is there.
    pub(crate) start_ms: u64,
    pub(crate) is_whole: bool,
    /// How much of its body is there, in bytes.
    pub(crate) bytes: usize,
    pub(crate) tries: u32,
    pub(crate) write: Write,
    pub(crate) placement: Placement,
    pub(crate) has_left: bool,
    pub(crate) verdict: Option<Verdict>,
    /// The time of the verdict, and how many replies had come by then.
    pub(crate) verdict_at: (u64, usize),
    /// The replies in order; `None` is a reset, or a part that could not be sent.
    pub(crate) replies: Vec<(u16, Option<Answer>)>,
    /// The parts that were sent, and the sidecar of each.
    pub(crate) parts: BTreeMap<u16, usize>,
    pub(crate) has_rate: bool,
    /// Its tenant had too much in flight already.
    pub(crate) is_one_too_many: bool,
    /// The samples that its tenant was charged for.
    pub(crate) charged: Option<u64>,
}

impl Request {
    pub(crate) fn new(
        filter: usize,
        start_ms: u64,
        tries: u32,
        write: Write,
        placement: Placement,
        has_rate: bool,
    ) -> Self {
        Self {
            filter,
            start_ms,
            is_whole: false,
            bytes: 0,
            tries,
            write,
            placement,
            has_left: false,
            verdict: None,
            verdict_at: (0, 0),
            replies: Vec::new(),
            parts: BTreeMap::new(),
            has_rate,
            is_one_too_many: false,
            charged: None,
        }
    }

    /// The best and the worst that its replies leave, whatever the missing ones will be. A sidecar may say of each series
    /// what it likes, so that any end of one goes with any of another.
    pub(crate) fn ends(&self) -> (u16, u16) {
        self.verdict(|said, missing| verdict::ends(said, missing, self.placement.quorum))
    }

    /// What its replies make of it, if those that are missing will never come.
    pub(crate) fn end(&self) -> u16 {
        let end = |said: &[u16], missing| {
            let said = [said, &vec![503; missing]].concat();
            let end = verdict::of_series(&said, self.placement.quorum);
            (end, end)
        };
        self.verdict(end).0
    }

    fn verdict(&self, of_series: impl Fn(&[u16], usize) -> (u16, u16)) -> (u16, u16) {
        if self.write.is_garbage && !self.placement.is_unchanged {
            return (400, 400); // The filter finds out itself.
        }
        let of = |number: Option<u32>, replicas: &[usize]| {
            let (said, missing) = self.replies_of(replicas);
            let said = said.iter().map(|answer| verdict::said(self.write.protocol, *answer, number));
            of_series(&said.collect::<Vec<_>>(), missing)
        };
        let series =
            self.write.series.iter().zip(&self.placement.replicas).filter(|_| !self.write.is_garbage);
        let mut ends: Vec<(u16, u16)> =
            series.map(|(series, replicas)| of(Some(series.number), replicas)).collect();
        if self.placement.is_unchanged {
            // Nobody counted the series: there may be one that no list names.
            ends.push(of(None, &self.placement.ring));
        }
        let (best, worst): (Vec<_>, Vec<_>) = ends.into_iter().unzip();
        (verdict::worst(best), verdict::worst(worst))
    }

    /// The replies of some sidecars, and how many more have not replied.
    fn replies_of(&self, sidecars: &[usize]) -> (Vec<Option<&Answer>>, usize) {
        let from = |part| self.parts.get(part).is_some_and(|sidecar| sidecars.contains(sidecar));
        let replies = self.replies.iter().filter(|(part, _)| from(part));
        let replies: Vec<_> = replies.map(|(_, answer)| answer.as_ref()).collect();
        let missing = sidecars.len() - replies.len();
        (replies, missing)
    }

    /// How many of its samples a quorum has by the replies, if those that are missing have nothing, and if they have
    /// everything. `None` where replicas have parts of a series of which neither holds the other: how much a quorum has is
    /// not known then by how much each of them has.
    pub(crate) fn written(&self) -> Option<(u64, u64)> {
        let (mut at_least, mut at_most) = (0, 0);
        let quorum = self.placement.quorum;
        for (series, replicas) in self.write.series.iter().zip(&self.placement.replicas) {
            let (replies, missing) = self.replies_of(replicas);
            let samples = |answer: &Answer| answer.samples(series.number).iter().copied().collect();
            let mut held: Vec<BTreeSet<Sample>> = replies.into_iter().flatten().map(samples).collect();
            held.sort_by_key(BTreeSet::len);
            if !held.is_sorted_by(|less, more| less.is_subset(more)) {
                return None;
            }
            for sample in &series.samples {
                let holders = held.iter().filter(|held| held.contains(sample)).count();
                at_least += u64::from(holders >= quorum);
                at_most += u64::from(holders + missing >= quorum);
            }
        }
        Some((at_least, at_most))
    }

    /// Whether no missing reply can change that.
    pub(crate) fn is_written_certain(&self) -> bool {
        self.written().is_some_and(|(at_least, at_most)| at_least == at_most)
    }

    /// What was sent, and what came back.
    pub(crate) fn in_words(&self) -> String {
        let mut words = format!("{:?}, a quorum is {}", self.write.protocol, self.placement.quorum);
        for (series, replicas) in self.write.series.iter().zip(&self.placement.replicas) {
            words += &format!("\n  series {} to {replicas:?}: {:?}", series.number, series.samples);
        }
        for (part, answer) in &self.replies {
            words += &format!("\n  {:?} replied ", self.parts.get(part));
            words += &match answer {
                None => "nothing".to_owned(),
                Some(Answer { status, is_list: false, written, .. }) => {
                    format!("{status}, written {written:?}")
                }
                Some(Answer { refused, written, .. }) => format!("{refused:?}, written {written:?}"),
            };
        }
        words
    }

    /// Whether every sidecar that it is for has replied.
    pub(crate) fn is_complete(&self) -> bool {
        let Placement { is_unchanged, ring, replicas, .. } = &self.placement;
        let mut sets = replicas.iter().chain(is_unchanged.then_some(ring));
        sets.all(|set| self.replies_of(set).1 == 0)
    }
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

    pub(crate) fn sent(&mut self, id: RequestId, request: Request) {
        self.requests.insert(id, request);
        self.waiting.insert(id);
    }

    pub(crate) fn request(&mut self, id: RequestId) -> &mut Request {
        self.requests.get_mut(&id).expect("a request that was sent")
    }

    fn request_at(&mut self, Place { filter, call }: Place) -> &mut Request {
        let request = self.request(call.request);
        assert_eq!(request.filter, filter, "a request stays with its filter");
        request
    }

    pub(crate) fn dispatched(&mut self, at: Place, sidecar: usize) {
        let request = self.request_at(at);
        assert!(request.parts.insert(at.call.part, sidecar).is_none(), "a part is sent once");
    }

    /// Only the first reply to a part counts; whether this is one.
    pub(crate) fn reached(&mut self, at: Place, answer: Option<Answer>) -> bool {
        let Call { part, .. } = at.call;
        let request = self.request_at(at);
        let is_first = request.replies.iter().all(|(other, _)| *other != part);
        if is_first {
            request.replies.push((part, answer));
        }
        is_first
    }

    pub(crate) fn charged(&mut self, id: RequestId, samples: u64) {
        assert_eq!(self.request(id).charged.replace(samples), None, "charged twice");
    }

    /// The filter of a request, and whether its client still waited.
    pub(crate) fn leaves(&mut self, id: RequestId) -> (usize, bool) {
        let waited = self.waiting.remove(&id);
        let request = self.request(id);
        request.has_left |= waited;
        (request.filter, waited)
    }

    /// Notes an answer; what was sent, and how often before.
    pub(crate) fn answered(&mut self, id: RequestId, response: &Response, now_ms: u64) -> (Write, u32) {
        assert!(self.waiting.remove(&id), "one answer, to a client that waits");
        let request = self.request(id);
        request.verdict = Some(Verdict::of(response));
        request.verdict_at = (now_ms, request.replies.len());
        request.is_one_too_many = response.limit == Some(Limit::TenantInFlight);
        let (write, tries) = (request.write.clone(), request.tries);
        self.saw(format!("status {}", response.status));
        (write, tries)
    }
}
