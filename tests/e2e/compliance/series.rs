//! A series of a case: labels, and data whose times are relative to the moment of sending.

use ringside_e2e::contents::Labels;
use ringside_e2e::wire::{Counts, Histogram};
use ringside_e2e::wire_v2::{Data, Pairs, pairs};

/// Samples, histograms and exemplars, as many as are written.
pub(super) type Written = [u64; 3];

/// Adds to each kind.
pub(super) fn add(sum: &mut Written, more: Written) {
    sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
}

/// The types of a metric that the cases name by their word; the wire has a number for each.
pub(super) const COUNTER: u64 = 1;
pub(super) const GAUGE: u64 = 2;
pub(super) const HISTOGRAM: u64 = 3;

/// What becomes of a series of a case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Fate {
    /// All of it is written.
    #[default]
    Written,
    /// Nothing of it is.
    Refused,
    /// All of it is, at first. When the case comes again, its samples are older than what is taken out of order.
    TooOldAgain,
}

/// One series of a request. Its times are milliseconds after the moment of sending, and most are 0.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) labels: Pairs,
    pub(super) data: Data,
    fate: Fate,
}

/// A series with nothing but its labels, and the metadata that the suite's encoder writes where there is none.
pub(super) fn series(labels: &[(&str, &str)]) -> Series {
    let metadata = Some((0, String::new(), String::new()));
    Series { labels: pairs(labels), data: Data { metadata, ..Data::default() }, fate: Fate::default() }
}

/// A series with a float sample.
pub(super) fn float(labels: &[(&str, &str)], value: f64) -> Series {
    let mut series = series(labels);
    series.data.samples.push((0, value));
    series
}

/// What a histogram has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Has {
    Positive,
    Negative,
    Zero,
    /// Custom buckets, which exclude the others.
    Custom,
    /// A count that its buckets do not add up to.
    WrongCount,
}

/// A series with a histogram of whole numbers.
pub(super) fn histogram(labels: &[(&str, &str)], sum: f64, has: &[Has]) -> Series {
    let mut series = series(labels);
    let mut histogram = Histogram { sum, ..Histogram::default() };
    let (mut count, mut zero, mut negative, mut positive) = (0, 0, vec![], vec![]);
    for part in has {
        match part {
            Has::Positive => {
                histogram.positive_spans = vec![(0, 2), (1, 3)];
                // 2, 3, 2, 5, 5.
                positive = vec![2, 1, -1, 3, 0];
                count += 17;
            }
            Has::Negative => {
                histogram.negative_spans = vec![(1, 2)];
                // 4, 3.
                negative = vec![4, -1];
                count += 7;
            }
            Has::Zero => {
                zero = 2;
                count += 2;
            }
            Has::Custom => {
                histogram.schema = -53;
                series.data.custom_values = vec![0.25, 0.5, 1.0, 2.0, 4.0];
                histogram.positive_spans = vec![(0, 6)];
                // 1, 3, 4, 2, 5, and 4 above the last bound.
                positive = vec![1, 2, 1, -2, 3, -1];
                count += 19;
            }
            Has::WrongCount => count += 60,
        }
    }
    histogram.counts = Counts::Int { count, zero, negative, positive };
    series.data.histograms.push(histogram);
    series
}

impl Series {
    /// The same with its sample at another time.
    pub(super) fn at(mut self, offset_ms: i64) -> Self {
        self.data.samples.iter_mut().for_each(|(at, _)| *at = offset_ms);
        self
    }

    /// The same with one more exemplar.
    pub(super) fn exemplar(self, labels: &[(&str, &str)], value: f64) -> Self {
        self.exemplar_at(labels, value, 0)
    }

    /// The same at another time.
    pub(super) fn exemplar_at(mut self, labels: &[(&str, &str)], value: f64, offset_ms: i64) -> Self {
        self.data.exemplars.push((pairs(labels), value, offset_ms));
        self
    }

    /// The same with metadata.
    pub(super) fn about(mut self, kind: u64, help: &str, unit: &str) -> Self {
        self.data.metadata = Some((kind, help.to_owned(), unit.to_owned()));
        self
    }

    /// The same with field 6, which has the time of its creation.
    pub(super) fn created(mut self, offset_ms: i64) -> Self {
        self.data.created_timestamp = Some(offset_ms);
        self
    }

    /// The same, of which nothing is written.
    pub(super) fn refused(self) -> Self {
        Self { fate: Fate::Refused, ..self }
    }

    /// The same, whose sample is too old when the case comes again.
    pub(super) fn too_old_again(self) -> Self {
        Self { fate: Fate::TooOldAgain, ..self }
    }

    /// How much of each kind it has.
    pub(super) fn sent(&self) -> Written {
        let Data { samples, histograms, exemplars, .. } = &self.data;
        [samples.len() as u64, histograms.len() as u64, exemplars.len() as u64]
    }

    /// Whether the sending of this number writes all of it, counted from 0.
    pub(super) fn is_whole(&self, sending: usize) -> bool {
        match self.fate {
            Fate::Written => true,
            Fate::Refused => false,
            Fate::TooOldAgain => sending == 0,
        }
    }

    /// How much of it the sending of this number writes, counted from 0.
    pub(super) fn written(&self, sending: usize) -> Written {
        let [samples, histograms, exemplars] = self.sent();
        match self.fate {
            Fate::Refused => [0; 3],
            Fate::TooOldAgain if sending > 0 => [0, histograms, exemplars],
            Fate::Written | Fate::TooOldAgain => [samples, histograms, exemplars],
        }
    }

    /// The labels as a store has them.
    pub(super) fn sorted(&self) -> Labels {
        self.labels.iter().cloned().collect()
    }

    /// What goes on the wire at this moment: labels in an order by chance, as from a sender that does not sort, and
    /// times of the clock.
    pub(super) fn at_moment(&self, now: i64, random: &mut fastrand::Rng) -> (Pairs, Data) {
        let (mut labels, mut data) = (self.labels.clone(), self.data.clone());
        random.shuffle(&mut labels);
        data.samples.iter_mut().for_each(|(at, _)| *at += now);
        data.histograms.iter_mut().for_each(|histogram| histogram.timestamp += now);
        for (labels, _, at) in &mut data.exemplars {
            random.shuffle(labels);
            *at += now;
        }
        data.created_timestamp = data.created_timestamp.map(|at| at + now);
        (labels, data)
    }
}
