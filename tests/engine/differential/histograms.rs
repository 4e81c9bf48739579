//! Native histograms as instrumented programs make them: they grow, gain buckets, start over, change their
//! resolution and go stale.

use std::collections::BTreeMap;

use fastrand::Rng;
use ringside_e2e::wire::{Counts, Histogram};

use super::stream::STALE;

/// One instrumented histogram.
pub(super) struct HistogramSource {
    float: bool,
    gauge: bool,
    schema: i32,
    zero_threshold: f64,
    zero: u64,
    sum: f64,
    positive: BTreeMap<i32, u64>,
    negative: BTreeMap<i32, u64>,
}

impl HistogramSource {
    pub(super) fn new(rng: &mut Rng) -> Self {
        Self {
            float: rng.bool(),
            gauge: rng.u8(0..4) == 0,
            schema: rng.i32(-4..9),
            zero_threshold: [0.0, 2.938_735_877_055_719e-39, 0.001][rng.usize(..3)],
            zero: 0,
            sum: 0.0,
            positive: BTreeMap::new(),
            negative: BTreeMap::new(),
        }
    }

    /// The next sample.
    pub(super) fn next(&mut self, rng: &mut Rng, timestamp: i64) -> Histogram {
        if rng.u8(..) == 0 {
            return stale(self.float, timestamp);
        }
        if rng.u8(0..40) == 0 {
            (self.zero, self.sum) = (0, 0.0);
            self.positive.clear();
            self.negative.clear();
        }
        if rng.u8(0..60) == 0 {
            self.schema = rng.i32(-4..9);
        }
        for _ in 0..rng.u8(0..6) {
            let index = rng.i32(-20..20) * rng.i32(0..5);
            match rng.u8(0..6) {
                0 => self.zero += rng.u64(1..10),
                1 => *self.negative.entry(index).or_default() += rng.u64(1..10),
                _ => *self.positive.entry(index).or_default() += rng.u64(1..1000),
            }
            self.sum += rng.f64();
        }
        self.sample(timestamp)
    }

    fn sample(&self, timestamp: i64) -> Histogram {
        let count = self.zero + self.positive.values().sum::<u64>() + self.negative.values().sum::<u64>();
        let counts = if self.float {
            Counts::Float {
                count: count as f64,
                zero: self.zero as f64,
                negative: self.negative.values().map(|n| *n as f64).collect(),
                positive: self.positive.values().map(|n| *n as f64).collect(),
            }
        } else {
            Counts::Int {
                count,
                zero: self.zero,
                negative: deltas(&self.negative),
                positive: deltas(&self.positive),
            }
        };
        Histogram {
            timestamp,
            counts,
            sum: self.sum,
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            negative_spans: spans(&self.negative),
            positive_spans: spans(&self.positive),
            reset_hint: if self.gauge { 3 } else { 0 },
        }
    }
}

/// The stale marker of a histogram series.
fn stale(float: bool, timestamp: i64) -> Histogram {
    let counts = if float {
        Counts::Float { count: 0.0, zero: 0.0, negative: Vec::new(), positive: Vec::new() }
    } else {
        Counts::default()
    };
    Histogram { timestamp, counts, sum: f64::from_bits(STALE), ..Histogram::default() }
}

fn deltas(buckets: &BTreeMap<i32, u64>) -> Vec<i64> {
    let mut last = 0;
    let delta = |count: &u64| {
        let count = count.cast_signed();
        count - std::mem::replace(&mut last, count)
    };
    buckets.values().map(delta).collect()
}

/// Runs of neighbouring buckets; the offset of all but the first counts from the end of the run before.
fn spans(buckets: &BTreeMap<i32, u64>) -> Vec<(i32, u32)> {
    let mut spans: Vec<(i32, u32)> = Vec::new();
    let mut end = 0;
    for index in buckets.keys() {
        match spans.last_mut() {
            Some((_, length)) if *index == end => *length += 1,
            _ => spans.push((index - end, 1)),
        }
        end = index + 1;
    }
    spans
}
