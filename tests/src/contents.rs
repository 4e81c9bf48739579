//! What a store holds, as plain values: series to samples. Built by the generator (what was sent) and by
//! the oracle (what was found), and compared here.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Result, bail};

/// A label set; names in byte order, as every Prometheus tool prints them.
pub type Labels = BTreeMap<String, String>;

/// Timestamp in milliseconds to the bits of the value. Every NaN counts as the same one, because
/// promtool prints all of them as `NaN`.
pub type Samples = BTreeMap<i64, u64>;

/// Series to samples.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents(BTreeMap<Labels, Samples>);

impl Contents {
    /// Adds one sample; the same timestamp with another value is an error, for no store may hold both.
    pub fn add(&mut self, labels: &Labels, timestamp: i64, value: f64) -> Result<()> {
        let bits = if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() };
        let samples = match self.0.get_mut(labels) {
            Some(samples) => samples,
            None => self.0.entry(labels.clone()).or_default(),
        };
        match samples.insert(timestamp, bits) {
            Some(old) if old != bits => {
                bail!("{labels:?} has two values at {timestamp}: {} and {value}", f64::from_bits(old))
            }
            _ => Ok(()),
        }
    }

    /// Adds everything of `other`, under the same rule.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        for (labels, timestamp, value) in other.iter() {
            self.add(labels, timestamp, value)?;
        }
        Ok(())
    }

    /// The series, each with its samples.
    pub fn series(&self) -> impl Iterator<Item = (&Labels, &Samples)> {
        self.0.iter()
    }

    /// Every sample.
    pub fn iter(&self) -> impl Iterator<Item = (&Labels, i64, f64)> {
        self.0.iter().flat_map(|(labels, samples)| {
            samples.iter().map(move |(timestamp, bits)| (labels, *timestamp, f64::from_bits(*bits)))
        })
    }

    /// The number of samples.
    pub fn sample_count(&self) -> usize {
        self.0.values().map(Samples::len).sum()
    }

    /// The number of series.
    pub fn series_count(&self) -> usize {
        self.0.len()
    }

    /// True if this very sample is here.
    pub fn has(&self, labels: &Labels, timestamp: i64, value: f64) -> bool {
        let bits = if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() };
        self.0.get(labels).and_then(|samples| samples.get(&timestamp)) == Some(&bits)
    }

    /// The part whose series and samples satisfy the predicate.
    pub fn filter(&self, keep: impl Fn(&Labels, i64) -> bool) -> Self {
        let mut kept = Self::default();
        for (labels, samples) in &self.0 {
            let some: Samples =
                samples.iter().filter(|(t, _)| keep(labels, **t)).map(|(t, v)| (*t, *v)).collect();
            if !some.is_empty() {
                kept.0.insert(labels.clone(), some);
            }
        }
        kept
    }

    /// An error that says what differs, unless `self` has exactly what `expected` has.
    pub fn expect_equal(&self, whose: &str, expected: &Self) -> Result<()> {
        self.expect_at_least(whose, expected)?;
        self.expect_at_most(whose, expected)
    }

    /// An error unless everything in `expected` is here.
    pub fn expect_at_least(&self, whose: &str, expected: &Self) -> Result<()> {
        differ(whose, "lacks", expected.iter().filter(|(labels, t, v)| !self.has(labels, *t, *v)), expected)
    }

    /// An error if there is anything here that is not in `allowed`.
    pub fn expect_at_most(&self, whose: &str, allowed: &Self) -> Result<()> {
        let extra = self.iter().filter(|(labels, t, v)| !allowed.has(labels, *t, *v));
        differ(whose, "has, but should not,", extra, allowed)
    }
}

/// How many copies of every sample in `expected` the stores hold together, as copies → samples.
pub fn copies(expected: &Contents, stores: &[Contents]) -> BTreeMap<usize, usize> {
    let mut counted = BTreeMap::new();
    for (labels, timestamp, value) in expected.iter() {
        let copies = stores.iter().filter(|store| store.has(labels, timestamp, value)).count();
        *counted.entry(copies).or_default() += 1;
    }
    counted
}

fn differ<'a>(
    whose: &str,
    verb: &str,
    samples: impl Iterator<Item = (&'a Labels, i64, f64)>,
    whole: &Contents,
) -> Result<()> {
    const EXAMPLES: usize = 5;
    let (mut count, mut examples) = (0_usize, String::new());
    for (labels, timestamp, value) in samples {
        if count < EXAMPLES {
            write!(examples, "\n  {labels:?} {timestamp} {value}")?;
        }
        count += 1;
    }
    if count == 0 {
        return Ok(());
    }
    bail!(
        "{whose} {verb} {count} samples (compared with {} samples of {} series), such as:{examples}",
        whole.sample_count(),
        whole.series_count()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(name: &str) -> Labels {
        Labels::from([("__name__".to_owned(), name.to_owned())])
    }

    #[test]
    fn a_difference_in_either_direction_is_named() {
        let (mut left, mut right) = (Contents::default(), Contents::default());
        left.add(&labels("a"), 1, 1.0).unwrap();
        right.add(&labels("a"), 1, 1.0).unwrap();
        left.expect_equal("left", &right).unwrap();
        right.add(&labels("b"), 1, f64::NAN).unwrap();
        assert!(left.expect_equal("left", &right).unwrap_err().to_string().contains("left lacks 1 samples"));
        assert!(right.expect_equal("right", &left).unwrap_err().to_string().contains("should not"));
        right.expect_at_least("right", &left).unwrap();
        assert_eq!(copies(&right, &[left, right.clone()]), BTreeMap::from([(1, 1), (2, 1)]));
    }

    #[test]
    fn one_timestamp_holds_one_value() {
        let mut contents = Contents::default();
        contents.add(&labels("a"), 1, 1.0).unwrap();
        contents.add(&labels("a"), 1, 1.0).unwrap();
        assert!(contents.add(&labels("a"), 1, 2.0).is_err());
        // Zero and minus zero are different values.
        contents.add(&labels("a"), 2, 0.0).unwrap();
        assert!(!contents.has(&labels("a"), 2, -0.0));
    }
}
