//! A sidecar as the filter knows it: it judges samples, has them in memory, then on disk, and answers. A crash leaves
//! what is on disk.

use std::collections::BTreeMap;

use prost::Message as _;
use ringside_proto::Protocol;
use ringside_proto::ringside::{Reason, RefusedSeries, WriteRefused};

use crate::random::Random;
use crate::traffic::{Sample, Series, decode};

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
}

impl Answer {
    pub(crate) fn plain(status: u16) -> Self {
        Self { status, is_list: false, written: None, body: b"its words".to_vec() }
    }
}

pub(crate) struct Sidecar {
    pub(crate) manner: Manner,
    pub(crate) is_up: bool,
    /// Counts its starts: what one run began, another does not end.
    pub(crate) run: u32,
    /// The tenant is at a limit: series that are not there yet are refused.
    pub(crate) is_limited: bool,
    /// Replaying, or its disk is full.
    pub(crate) is_unready: bool,
    memory: Contents,
    disk: Contents,
}

impl Sidecar {
    pub(crate) fn new(manner: Manner) -> Self {
        Self {
            manner,
            is_up: true,
            run: 0,
            is_limited: false,
            is_unready: false,
            memory: Contents::new(),
            disk: Contents::new(),
        }
    }

    pub(crate) fn crash(&mut self) {
        self.is_up = false;
        self.run += 1;
    }

    pub(crate) fn start(&mut self) {
        self.is_up = true;
        self.memory = self.disk.clone();
    }

    /// Whether a sample is on disk.
    pub(crate) fn holds(&self, series: u32, (timestamp, value): Sample) -> bool {
        self.disk.get(&series).and_then(|samples| samples.get(&timestamp)) == Some(&value)
    }

    /// Takes a part into memory. What of it is to be on disk before the answer leaves, and the answer.
    pub(crate) fn append(&mut self, protocol: Protocol, body: &[u8]) -> (Vec<Series>, Answer) {
        if self.is_unready {
            return (Vec::new(), Answer::plain(503));
        }
        let success = Answer { body: Vec::new(), ..Answer::plain(protocol.success()) };
        if protocol == Protocol::V2 && self.manner == Manner::Old {
            return (Vec::new(), Answer { status: 200, ..success });
        }
        let Some(sent) = decode(protocol, body) else { return (Vec::new(), Answer::plain(400)) };
        let (mut stored, mut refused) = (Vec::new(), Vec::new());
        let mut written = 0;
        for (index, series) in (0..).zip(sent) {
            let (taken, worst) = self.append_series(&series);
            written += taken.len() as u64;
            if let Some(reason) = worst {
                refused.push(RefusedSeries {
                    index,
                    reason: reason.into(),
                    samples_missing: (series.samples.len() - taken.len()) as u32,
                    ..Default::default()
                });
            }
            stored.push(Series { samples: taken, ..series });
        }
        // One of ours says it to either version, for the filter's own use.
        let says = (protocol == Protocol::V2 || self.manner == Manner::Lists).then_some(written);
        let answer = match refused.iter().map(RefusedSeries::reason).max() {
            None => Answer { written: says, ..success },
            Some(worst) => {
                let status = if worst == Reason::Limit { 429 } else { 409 };
                let is_list = self.manner == Manner::Lists;
                let list = WriteRefused { message: "refused".to_owned(), series: refused };
                let body = if is_list { list.encode_to_vec() } else { b"conflict".to_vec() };
                Answer { status, is_list, written: says, body }
            }
        };
        (stored, answer)
    }

    /// The samples that are in memory now, and why others are not.
    fn append_series(&mut self, series: &Series) -> (Vec<Sample>, Option<Reason>) {
        if self.is_limited && !self.memory.contains_key(&series.number) {
            return (Vec::new(), Some(Reason::Limit));
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
    pub(crate) fn sync(&mut self, stored: &[Series]) {
        for series in stored {
            self.disk.entry(series.number).or_default().extend(series.samples.iter().copied());
        }
    }

    /// A crash may find some of what was not synced on disk all the same.
    pub(crate) fn half_sync(&mut self, random: &mut Random, stored: &[Series]) {
        let survivors: Vec<_> = stored.iter().filter(|_| random.percent(50)).cloned().collect();
        self.sync(&survivors);
    }
}
