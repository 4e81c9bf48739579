//! The stream: a pure function of its seed, over some hours of data time.
//!
//! Most requests are ordinary scrapes. Between them come samples that a receiver may refuse, each alone in its
//! request, because Prometheus 2.42 takes back a whole request at the first refused sample.

use std::collections::VecDeque;
use std::fmt;

use anyhow::Result;
use fastrand::Rng;
use ringside_e2e::clock::{self, HOUR, MINUTE};
use ringside_e2e::contents::Labels;
use ringside_e2e::wire::{self, Histogram};

use super::histograms::HistogramSource;
use crate::kinds::{EXEMPLARS, HISTOGRAMS};

/// Prometheus' stale marker.
pub(crate) const STALE: u64 = 0x7ff0_0000_0000_0002;
/// Where data time begins: an edge of a block, long ago.
const BASE: i64 = 1_699_999_200_000 / (2 * HOUR) * (2 * HOUR);
/// Data time that one stream covers; enough for two blocks and a head.
pub(crate) const SPAN: i64 = 6 * HOUR;

/// One step of the stream.
pub(crate) enum Op {
    Write(Write),
    /// With the newest time sent so far.
    Restart(Restart, i64),
}

/// How both receivers end before they start again.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Restart {
    Kill,
    Terminate,
}

/// What a request is made to try. It says nothing about the right answer: that is Prometheus' to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    Scrape,
    RepeatNewest,
    OtherValueNewest,
    RepeatOlder,
    OtherValueOlder,
    Late,
    NewSeriesLate,
    SeveralInOrder,
    SeveralUnordered,
    Unsorted,
    EmptyValue,
    NoName,
    RepeatedName,
    NoLabels,
    TooManyLabels,
    Future,
}

/// Between scrapes; the others need a place of their own in the stream.
const ODD: [Case; 14] = [
    Case::RepeatNewest,
    Case::OtherValueNewest,
    Case::RepeatOlder,
    Case::OtherValueOlder,
    Case::Late,
    Case::Late,
    Case::Late,
    Case::NewSeriesLate,
    Case::SeveralInOrder,
    Case::SeveralUnordered,
    Case::Unsorted,
    Case::EmptyValue,
    Case::RepeatedName,
    Case::NoLabels,
];

const ODD_LABELS: [Case; 6] =
    [Case::Unsorted, Case::EmptyValue, Case::NoName, Case::RepeatedName, Case::NoLabels, Case::TooManyLabels];

/// One request.
pub(crate) struct Write {
    pub(crate) case: Case,
    /// True if it goes to the sidecar as remote write 2.0, which Prometheus 2.42 does not know.
    pub(crate) is_version_2: bool,
    pub(crate) series: Vec<Series>,
}

/// One series of a request; labels in the order in which they are sent.
#[derive(Clone)]
pub(crate) struct Series {
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) samples: Vec<Sample>,
    pub(crate) exemplar: Option<Exemplar>,
}

/// An example of what was observed.
#[derive(Clone)]
pub(crate) struct Exemplar {
    pub(crate) trace_id: u64,
    pub(crate) value: f64,
    pub(crate) timestamp: i64,
}

/// One sample.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Sample {
    Float(i64, f64),
    Histogram(Histogram),
}

impl Sample {
    pub(crate) fn timestamp(&self) -> i64 {
        match self {
            Self::Float(timestamp, _) => *timestamp,
            Self::Histogram(histogram) => histogram.timestamp,
        }
    }

    pub(crate) fn is_histogram(&self) -> bool {
        matches!(self, Self::Histogram(_))
    }

    /// True if it is the very same, NaNs by their bits.
    pub(crate) fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Float(t, v), Self::Float(u, w)) => t == u && v.to_bits() == w.to_bits(),
            (Self::Histogram(a), Self::Histogram(b)) => format!("{a:?}") == format!("{b:?}"),
            _ => false,
        }
    }
}

impl Exemplar {
    pub(crate) fn trace_id_text(&self) -> String {
        format!("{:016x}", self.trace_id)
    }
}

impl Series {
    fn new(labels: &Labels, samples: Vec<Sample>) -> Self {
        let labels = labels.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        Self { labels, samples, exemplar: None }
    }

    /// The label set that a store makes of it.
    pub(crate) fn label_set(&self) -> Labels {
        self.labels.iter().filter(|(_, value)| !value.is_empty()).cloned().collect()
    }
}

impl Write {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut request = Vec::new();
        for series in &self.series {
            let mut body = Vec::new();
            for (name, value) in &series.labels {
                wire::label(&mut body, name.as_bytes(), value.as_bytes());
            }
            for sample in &series.samples {
                match sample {
                    Sample::Float(timestamp, value) => wire::sample(&mut body, *timestamp, *value),
                    Sample::Histogram(histogram) => wire::histogram(&mut body, histogram),
                }
            }
            if let Some(exemplar) = &series.exemplar {
                let labels = [("trace_id".to_owned(), exemplar.trace_id_text())].into();
                wire::exemplar(&mut body, &labels, exemplar.value, exemplar.timestamp);
            }
            wire::bytes_field(&mut request, 1, &body);
        }
        wire::snappy(&request)
    }
}

impl fmt::Debug for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {} series", self.case, self.series.len())?;
        for series in self.series.iter().take(1) {
            write!(f, ", the first {:?} with {:?}", series.label_set(), series.samples)?;
        }
        Ok(())
    }
}

/// One series of the stream, and what was sent for it.
struct Source {
    labels: Labels,
    values: Values,
    sent: Vec<Sample>,
}

enum Values {
    Counter(f64),
    Gauge,
    Special,
    Histogram(Box<HistogramSource>),
}

impl Values {
    fn next(&mut self, rng: &mut Rng, timestamp: i64) -> Sample {
        const SPECIAL: [f64; 7] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 5e-324, f64::MAX, 0.0];
        let value = match self {
            Self::Counter(value) => {
                *value += rng.u32(0..1000) as f64;
                *value
            }
            Self::Gauge => (rng.f64() * 1e4).round() / 100.0,
            Self::Special => SPECIAL[rng.usize(..SPECIAL.len())],
            Self::Histogram(source) => return Sample::Histogram(source.next(rng, timestamp)),
        };
        Sample::Float(timestamp, if rng.u8(..) == 0 { f64::from_bits(STALE) } else { value })
    }
}

impl Source {
    fn newest(&self) -> i64 {
        self.sent.iter().map(Sample::timestamp).max().unwrap_or(BASE)
    }

    fn sample(&mut self, rng: &mut Rng, timestamp: i64) -> Sample {
        let sample = self.values.next(rng, timestamp);
        self.sent.push(sample.clone());
        sample
    }

    /// One of the last samples; the newest counts from behind with 0.
    fn sent_before(&self, back: usize) -> Option<&Sample> {
        self.sent.get(self.sent.len().checked_sub(1 + back)?)
    }
}

/// The stream itself.
pub(crate) struct Stream {
    rng: Rng,
    now: i64,
    /// The newest time sent so far, from which both receivers count their bounds.
    newest: i64,
    end: i64,
    live: Vec<Source>,
    created: usize,
    ready: VecDeque<Op>,
    future: Option<i64>,
}

impl Stream {
    pub(crate) fn new(seed: u64) -> Result<Self> {
        let mut rng = Rng::with_seed(seed);
        let now = BASE + rng.i64(0..2 * HOUR);
        let future = Some(clock::now()? + 20 * MINUTE);
        let mut stream = Self {
            rng,
            now,
            newest: now,
            end: now + SPAN,
            live: Vec::new(),
            created: 0,
            ready: VecDeque::new(),
            future,
        };
        for _ in 0..stream.rng.usize(10..40) {
            stream.create();
        }
        Ok(stream)
    }

    /// The newest time that any stream reaches.
    pub(crate) const END: i64 = BASE + 2 * HOUR + SPAN + HOUR;

    fn create(&mut self) {
        let number = self.created;
        self.created += 1;
        let labels = [
            ("__name__", format!("metric_{}", number % 7)),
            ("job", "differential".to_owned()),
            ("number", number.to_string()),
            ("path", ["/", "C:\\x \"q\"", "ü\n日本"][number % 3].to_owned()),
        ];
        let values = match self.rng.u8(0..8) {
            0..3 => Values::Counter(0.0),
            3 => Values::Special,
            4..6 if HISTOGRAMS => Values::Histogram(Box::new(HistogramSource::new(&mut self.rng))),
            _ => Values::Gauge,
        };
        let labels = labels.map(|(name, value)| (name.to_owned(), value)).into();
        self.live.push(Source { labels, values, sent: Vec::new() });
    }

    fn tick(&mut self) {
        self.now += match self.rng.u8(0..40) {
            0 => self.rng.i64(5 * MINUTE..40 * MINUTE),
            1..10 => self.rng.i64(MINUTE..3 * MINUTE),
            _ => self.rng.i64(15_000..MINUTE),
        };
        if self.rng.u8(0..30) == 0 {
            let gone = self.rng.usize(..self.live.len());
            self.live.swap_remove(gone);
            self.create();
        }
        self.scrape();
        for _ in 0..self.rng.u8(0..5) {
            let case = ODD[self.rng.usize(..ODD.len())];
            let odd = self.odd(case);
            self.push(case, odd);
        }
        if self.rng.u8(0..90) == 0 {
            let end = if self.rng.bool() { Restart::Kill } else { Restart::Terminate };
            self.ready.push_back(Op::Restart(end, self.newest));
        }
    }

    /// Every live series, nearly, with one sample newer than all of its own.
    fn scrape(&mut self) {
        let (rng, now) = (&mut self.rng, self.now);
        let mut series = Vec::new();
        for source in &mut self.live {
            let timestamp = now + rng.i64(0..3000);
            if rng.u8(0..10) > 0 && timestamp > source.newest() {
                let sample = source.sample(rng, timestamp);
                let mut scraped = Series::new(&source.labels, vec![sample]);
                if EXEMPLARS && rng.u8(0..8) == 0 {
                    scraped.exemplar = Some(Exemplar { trace_id: rng.u64(..), value: rng.f64(), timestamp });
                }
                series.push(scraped);
                self.newest = self.newest.max(timestamp);
            }
        }
        self.push(Case::Scrape, series);
    }

    /// Adds a request, unless it has no series.
    fn push(&mut self, case: Case, series: impl IntoIterator<Item = Series>) {
        let series: Vec<_> = series.into_iter().collect();
        // Labels that are odd are odd in 1.0.
        let is_version_2 = !ODD_LABELS.contains(&case) && self.rng.bool();
        if !series.is_empty() {
            self.ready.push_back(Op::Write(Write { case, is_version_2, series }));
        }
    }

    /// How far back a late sample goes: often near a bound.
    fn lateness(&mut self) -> i64 {
        let bound = [10 * MINUTE, HOUR, 2 * HOUR, 0][self.rng.usize(..4)];
        match self.rng.u8(0..4) {
            0 => bound + self.rng.i64(-2..3),
            1 => bound + self.rng.i64(-5000..5000),
            2 => self.rng.i64(0..10 * MINUTE),
            _ => self.rng.i64(0..90 * MINUTE),
        }
    }

    /// One series that may be refused; none where the chosen one has nothing to repeat.
    fn odd(&mut self, case: Case) -> Option<Series> {
        let late = self.newest - self.lateness();
        let now = self.now;
        if case == Case::NewSeriesLate {
            self.create();
        }
        let rng = &mut self.rng;
        let chosen =
            if case == Case::NewSeriesLate { self.live.len() - 1 } else { rng.usize(..self.live.len()) };
        let source = &mut self.live[chosen];
        let mut series = Series::new(&source.labels, Vec::new());
        match case {
            Case::RepeatNewest => series.samples.push(source.sent_before(0)?.clone()),
            Case::RepeatOlder => series.samples.push(source.sent_before(rng.usize(1..60))?.clone()),
            Case::OtherValueNewest | Case::OtherValueOlder => {
                let back = if case == Case::OtherValueNewest { 0 } else { rng.usize(1..60) };
                let timestamp = source.sent_before(back)?.timestamp();
                series.samples.push(source.values.next(rng, timestamp));
            }
            Case::Late | Case::NewSeriesLate => series.samples.push(source.sample(rng, late)),
            Case::SeveralInOrder | Case::SeveralUnordered => {
                let first = source.newest().max(now - 5 * MINUTE) + 1;
                series.samples = (0..5).map(|i| source.sample(rng, first + i * 7)).collect();
                if case == Case::SeveralUnordered {
                    rng.shuffle(&mut series.samples);
                }
            }
            Case::Unsorted => {
                rng.shuffle(&mut series.labels);
                let timestamp = source.newest().max(now) + 1;
                series.samples.push(source.sample(rng, timestamp));
            }
            Case::EmptyValue => {
                series.labels.push(("zone".to_owned(), String::new()));
                let timestamp = source.newest().max(now) + 1;
                series.samples.push(source.sample(rng, timestamp));
            }
            Case::RepeatedName => {
                series.labels.push(("path".to_owned(), "again".to_owned()));
                series.samples.push(Sample::Float(now, 1.0));
            }
            Case::NoLabels => {
                series.labels.clear();
                series.samples.push(Sample::Float(now, 1.0));
            }
            Case::NoName => {
                series.labels.remove(0);
                series.samples.push(Sample::Float(now, 1.0));
            }
            Case::TooManyLabels => {
                series.labels.extend((0..1000).map(|i| (format!("x{i:04}"), "1".to_owned())));
                series.samples.push(Sample::Float(now, 1.0));
            }
            Case::Future => {
                series.labels = vec![("__name__".to_owned(), "future".to_owned())];
                series.samples.push(Sample::Float(self.future.take()?, 1.0));
            }
            Case::Scrape => return None,
        }
        if case != Case::Future {
            let newest = series.samples.iter().map(Sample::timestamp).max();
            self.newest = self.newest.max(newest.unwrap_or(self.newest));
        }
        Some(series)
    }
}

impl Iterator for Stream {
    type Item = Op;

    fn next(&mut self) -> Option<Op> {
        if self.ready.is_empty() && self.now < self.end {
            self.tick();
        } else if self.ready.is_empty() && self.future.is_some() {
            // Last, because it moves Prometheus' idea of the newest time by years.
            for case in [Case::NoName, Case::TooManyLabels, Case::Future] {
                let odd = self.odd(case);
                self.push(case, odd);
            }
        }
        self.ready.pop_front()
    }
}
