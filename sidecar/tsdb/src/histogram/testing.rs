//! Histograms for tests: drafts that change as a series' histograms do, and what they are as models.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// A histogram as a table of its buckets.
#[derive(Debug, Clone, Default)]
pub(crate) struct Draft {
    pub(crate) hint: CounterResetHint,
    pub(crate) schema: i32,
    pub(crate) zero_threshold: f64,
    pub(crate) zero: u64,
    pub(crate) positive: BTreeMap<i64, u64>,
    pub(crate) negative: BTreeMap<i64, u64>,
    pub(crate) custom_values: Vec<f64>,
    pub(crate) sum: f64,
    pub(crate) stale: bool,
}

impl Draft {
    fn count(&self) -> u64 {
        self.zero + self.positive.values().sum::<u64>() + self.negative.values().sum::<u64>()
    }

    /// With integer counts.
    pub(crate) fn int(&self) -> Histogram {
        self.model(self.zero, self.count(), |count| count as i64)
    }

    /// With float counts, not all of them whole.
    pub(crate) fn float(&self) -> FloatHistogram {
        self.model(self.zero as f64 / 3.0, self.count() as f64 / 3.0, |count| count as f64 / 3.0)
    }

    fn model<C: Count, B: Bucket>(
        &self,
        zero_count: C,
        count: C,
        as_bucket: impl Fn(u64) -> B,
    ) -> NativeHistogram<C, B> {
        if self.stale {
            return NativeHistogram::stale();
        }
        let (positive_spans, positive_buckets) = side(&self.positive, &as_bucket);
        let (negative_spans, negative_buckets) = side(&self.negative, &as_bucket);
        NativeHistogram {
            counter_reset_hint: self.hint,
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero_count,
            count,
            sum: self.sum,
            positive_spans,
            negative_spans,
            positive_buckets,
            negative_buckets,
            custom_values: self.custom_values.clone(),
        }
    }
}

fn side<B: Bucket>(table: &BTreeMap<i64, u64>, as_bucket: impl Fn(u64) -> B) -> (Vec<Span>, Vec<B>) {
    let mut spans = SpanBuilder::default();
    let mut last = B::default();
    let mut buckets = Vec::new();
    for (&index, &count) in table {
        spans.push(index).unwrap();
        buckets.push(B::stored(last, as_bucket(count)));
        last = as_bucket(count);
    }
    (spans.finish(), buckets)
}

/// What happens between two samples of a series.
#[derive(Debug, Clone)]
enum Step {
    /// Observations: which bucket, how many.
    Observe(Vec<(i64, bool, u64)>, f64),
    /// Empty buckets leave.
    Compact,
    /// A bucket leaves, whatever it holds.
    Drop(usize),
    /// All counts start from zero.
    Reset,
    Schema(i32),
    ZeroThreshold(f64),
    Custom(Vec<f64>),
    Hint(CounterResetHint),
    Stale,
}

fn step() -> impl Strategy<Value = Step> {
    let observed = vec((-30i64..30, any::<bool>(), prop_oneof![0u64..5, 0u64..1 << 40]), 0..6);
    let threshold = prop_oneof![Just(0.0), Just(2f64.powi(-128)), Just(1024.0), Just(1e-3), Just(1e300)];
    let hint = (0u8..4).prop_map(CounterResetHint::from);
    prop_oneof![
        20 => (observed, prop_oneof![Just(1.5), any::<f64>()]).prop_map(|(o, sum)| Step::Observe(o, sum)),
        2 => Just(Step::Compact),
        1 => any::<usize>().prop_map(Step::Drop),
        1 => Just(Step::Reset),
        1 => (SCHEMA_MIN..=SCHEMA_MAX).prop_map(Step::Schema),
        1 => threshold.prop_map(Step::ZeroThreshold),
        1 => vec(prop_oneof![1u64..100_000, any::<u64>()], 1..12).prop_map(|steps| Step::Custom(bounds(&steps))),
        2 => hint.prop_map(Step::Hint),
        1 => Just(Step::Stale),
    ]
}

/// Ascending bounds, some of them whole thousandths.
fn bounds(steps: &[u64]) -> Vec<f64> {
    let mut bounds: Vec<_> = steps.iter().map(|&step| step as f64 / 1000.0 - 3.0).collect();
    bounds.sort_by(f64::total_cmp);
    bounds.dedup();
    bounds
}

impl Draft {
    fn step(&mut self, step: Step) {
        self.stale = false;
        match step {
            Step::Observe(observed, sum) => {
                for (index, negative, count) in observed {
                    let custom = self.schema == CUSTOM_BUCKETS_SCHEMA;
                    let slots = self.custom_values.len() as i64 + 1;
                    match (custom, negative) {
                        (true, _) => *self.positive.entry(index.rem_euclid(slots)).or_default() += count,
                        (false, false) => *self.positive.entry(index).or_default() += count,
                        (false, true) if index < 20 => *self.negative.entry(index).or_default() += count,
                        (false, true) => self.zero += count,
                    }
                }
                self.sum = if is_stale(sum) { 0.0 } else { sum };
            }
            Step::Compact => {
                self.positive.retain(|_, count| *count > 0);
                self.negative.retain(|_, count| *count > 0);
            }
            Step::Drop(at) => {
                if let Some(&index) = self.positive.keys().nth(at % self.positive.len().max(1)) {
                    self.positive.remove(&index);
                }
            }
            Step::Reset => *self = Self { hint: self.hint, ..Self::default() },
            Step::Schema(schema) => *self = Self { hint: self.hint, schema, ..Self::default() },
            Step::ZeroThreshold(t) if self.schema != CUSTOM_BUCKETS_SCHEMA => self.zero_threshold = t,
            Step::ZeroThreshold(_) => {}
            Step::Custom(custom_values) => {
                let schema = CUSTOM_BUCKETS_SCHEMA;
                *self = Self { hint: self.hint, schema, custom_values, ..Self::default() };
            }
            Step::Hint(hint) => self.hint = hint,
            Step::Stale => self.stale = true,
        }
    }
}

/// The histograms of one series, up to `len` of them.
pub(crate) fn drafts(len: usize) -> impl Strategy<Value = Vec<Draft>> {
    vec(step(), 1..len).prop_map(|steps| {
        let mut draft = Draft::default();
        let mut all = Vec::new();
        for step in steps {
            draft.step(step);
            all.push(draft.clone());
        }
        all
    })
}
