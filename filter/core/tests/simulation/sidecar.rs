//! A sidecar as the filter knows it: it judges samples, has them in memory, then on disk, and answers. A crash leaves
//! what is on disk.

use std::collections::BTreeMap;

use prost::Message as _;
use ringside_proto::Protocol;
use ringside_proto::ringside::{Reason, RefusedSeries, WriteRefused};

use crate::random::Random;
use crate::traffic::{Sample, Series, decode};
use crate::world::Place;

type Contents = BTreeMap<u32, BTreeMap<i64, u64>>;

/// How a sidecar answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// With the list of what it refuses, and what is written.
    Lists,
    /// With a status, as a stock receiver does that knows both versions.
    Stock,
    /// As a stock receiver of 1.0, which finds no series in a request of 2.0.
    Old,
}

/// An answer on its way.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) is_list: bool,
    pub(crate) written: Option<u64>,
    pub(crate) body: Vec<u8>,
    /// What the list means: the refused series by their numbers.
    pub(crate) refused: BTreeMap<u32, Reason>,
    /// What the sidecar has of its part, which no answer says sample by sample.
    pub(crate) holds: Vec<Series>,
}

impl Answer {
    pub(crate) fn plain(status: u16) -> Self {
        let (refused, holds) = (BTreeMap::new(), Vec::new());
        Self { status, is_list: false, written: None, body: b"its words".to_vec(), refused, holds }
    }

    /// What the sidecar has of a series.
    pub(crate) fn samples(&self, number: u32) -> &[Sample] {
        let series = self.holds.iter().find(|series| series.number == number);
        series.map_or(&[], |series| &series.samples)
    }
}

pub(crate) struct Sidecar {
    pub(crate) manner: Manner,
    pub(crate) is_up: bool,
    /// Counts its starts: what one run began, another does not end.
    pub(crate) run: u32,
    /// Series that are not there yet are refused, for this reason.
    pub(crate) refuses_new: Option<Reason>,
    /// Whatever comes is answered so: it is replaying, its disk is full, or something in front of it has its own mind.
    pub(crate) refuses_all: Option<u16>,
    memory: Contents,
    /// What is in memory and is to be on disk before its answer leaves.
    unsynced: BTreeMap<Place, Vec<Series>>,
    disk: Contents,
}

impl Sidecar {
    pub(crate) fn new(manner: Manner) -> Self {
        Self {
            manner,
            is_up: true,
            run: 0,
            refuses_new: None,
            refuses_all: None,
            memory: Contents::new(),
            unsynced: BTreeMap::new(),
            disk: Contents::new(),
        }
    }

    /// Some of what was not synced is on disk all the same.
    pub(crate) fn crash(&mut self, random: &mut Random) {
        self.is_up = false;
        self.run += 1;
        let unsynced = std::mem::take(&mut self.unsynced);
        for series in unsynced.into_values().flatten().filter(|_| random.percent(50)) {
            self.put_on_disk(series);
        }
    }

    pub(crate) fn start(&mut self) {
        self.is_up = true;
        self.memory = self.disk.clone();
    }

    /// Whether a sample is on disk.
    pub(crate) fn holds(&self, series: u32, (timestamp, value): Sample) -> bool {
        self.disk.get(&series).and_then(|samples| samples.get(&timestamp)) == Some(&value)
    }

    /// Takes a part into memory. What it has of it is to be on disk before the answer leaves.
    pub(crate) fn append(&mut self, at: Place, protocol: Protocol, body: &[u8]) -> Answer {
        if let Some(status) = self.refuses_all {
            return Answer::plain(status);
        }
        let success = Answer { body: Vec::new(), ..Answer::plain(protocol.success()) };
        if protocol == Protocol::V2 && self.manner == Manner::Old {
            return Answer { status: 200, ..success };
        }
        let Some(sent) = decode(protocol, body) else { return Answer::plain(400) };
        let (mut holds, mut list, mut refused) = (Vec::new(), Vec::new(), BTreeMap::new());
        let mut written = 0;
        for (index, series) in (0..).zip(sent) {
            let (taken, worst) = self.append_series(&series);
            written += taken.len() as u64;
            if let Some(reason) = worst {
                list.push(RefusedSeries {
                    index,
                    reason: reason.into(),
                    samples_missing: (series.samples.len() - taken.len()) as u32,
                    ..Default::default()
                });
                refused.insert(series.number, reason);
            }
            holds.push(Series { samples: taken, ..series });
        }
        self.unsynced.insert(at, holds.clone());
        // One of ours says it to either version, for the filter's own use.
        let says = (protocol == Protocol::V2 || self.manner == Manner::Lists).then_some(written);
        match refused.values().max() {
            None => Answer { written: says, holds, ..success },
            Some(worst) => {
                let status = match worst {
                    Reason::Invalid => 400,
                    Reason::Limit => 429,
                    Reason::Unavailable => 503,
                    _ => 409,
                };
                let is_list = self.manner == Manner::Lists;
                let list = WriteRefused { message: "refused".to_owned(), series: list };
                let body = if is_list { list.encode_to_vec() } else { b"refused".to_vec() };
                Answer { status, is_list, written: says, body, refused, holds }
            }
        }
    }

    /// The samples that are in memory now, and why others are not.
    fn append_series(&mut self, series: &Series) -> (Vec<Sample>, Option<Reason>) {
        if let Some(reason) = self.refuses_new
            && !self.memory.contains_key(&series.number)
        {
            return (Vec::new(), Some(reason));
        }
        let known = self.memory.entry(series.number).or_default();
        let (mut taken, mut worst) = (Vec::new(), None);
        for &(timestamp, value) in &series.samples {
            let newest = known.last_key_value().map(|(newest, _)| *newest);
            let reason = match known.get(&timestamp) {
                Some(same) if *same == value => None,
                Some(_) => Some(Reason::DuplicateTimestamp),
                None if newest.is_some_and(|newest| timestamp < newest) => Some(Reason::OutOfOrder),
                None => None,
            };
            if reason.is_none() {
                known.insert(timestamp, value);
                taken.push((timestamp, value));
            }
            worst = worst.max(reason);
        }
        (taken, worst)
    }

    /// Puts on disk what a part brought.
    pub(crate) fn sync(&mut self, at: Place) {
        for series in self.unsynced.remove(&at).unwrap_or_default() {
            self.put_on_disk(series);
        }
    }

    fn put_on_disk(&mut self, series: Series) {
        self.disk.entry(series.number).or_default().extend(series.samples);
    }
}
