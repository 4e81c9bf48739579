//! What the head's series are made of: which metrics, labels and values there are most of.
//!
//! The head is read in steps, so that appends go on meanwhile; what is counted is counted outside of the lock. No
//! series may be dropped meanwhile, or a symbol would change its meaning.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::{Head, SLOTS_PER_STEP};
use crate::error::Error;
use crate::lock;

/// A name and how many there are of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// Of a metric, of a label, or `name=value`.
    pub name: String,
    /// Series, values or bytes.
    pub value: u64,
}

/// What the series of a head are made of; each list ordered, the largest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cardinality {
    /// Series in the head.
    pub series: u64,
    /// Distinct pairs of label and value.
    pub label_pairs: u64,
    /// Series by metric name.
    pub series_by_metric: Vec<Count>,
    /// Distinct values by label name.
    pub values_by_label: Vec<Count>,
    /// Bytes of values, counted once per series, by label name.
    pub bytes_by_label: Vec<Count>,
    /// Series by pair of label and value.
    pub series_by_pair: Vec<Count>,
}

const METRIC_NAME: &[u8] = b"__name__";

/// Symbols of a name and a value.
type Pair = (u32, u32);

/// Counts everything, and keeps the `limit` largest of each list.
pub(crate) fn cardinality(head: &Mutex<Head>, limit: usize) -> Result<Cardinality, Error> {
    let mut pairs: HashMap<Pair, u32> = HashMap::new();
    let mut series = 0;
    scan(head, |labels| {
        series += 1;
        labels.iter().for_each(|&pair| *pairs.entry(pair).or_default() += 1);
    })?;
    let pairs: Vec<(Pair, u64)> = pairs.into_iter().map(|(pair, count)| (pair, count.into())).collect();

    // Per label name: distinct values, and bytes of values.
    let mut labels: HashMap<u32, (u64, u64)> = HashMap::new();
    for some in pairs.chunks(SLOTS_PER_STEP) {
        let head = lock(head)?;
        for &((name, value), count) in some {
            let (values, bytes) = labels.entry(name).or_default();
            *values += 1;
            *bytes += count * head.symbols().text(value).len() as u64;
        }
    }

    let head = lock(head)?;
    let text = |symbol: u32| String::from_utf8_lossy(head.symbols().text(symbol));
    let by_pair = |(name, value): Pair| format!("{}={}", text(name), text(value));
    let metrics = pairs.iter().filter(|((name, _), _)| head.symbols().text(*name) == METRIC_NAME);
    Ok(Cardinality {
        series,
        label_pairs: pairs.len() as u64,
        series_by_metric: largest(metrics.copied(), limit, |(_, value)| text(value).into_owned()),
        values_by_label: largest(labels.iter().map(|(&n, &(v, _))| (n, v)), limit, |n| text(n).into_owned()),
        bytes_by_label: largest(labels.iter().map(|(&n, &(_, b))| (n, b)), limit, |n| text(n).into_owned()),
        series_by_pair: largest(pairs.iter().copied(), limit, by_pair),
    })
}

/// The metric with the most series; much cheaper than [`cardinality`].
pub(crate) fn largest_metric(head: &Mutex<Head>) -> Result<Option<Count>, Error> {
    let Some(name) = lock(head)?.symbols().find(METRIC_NAME) else { return Ok(None) };
    let mut metrics: HashMap<u32, u32> = HashMap::new();
    scan(head, |labels| {
        if let Some(&(_, value)) = labels.iter().find(|(label, _)| *label == name) {
            *metrics.entry(value).or_default() += 1;
        }
    })?;
    let head = lock(head)?;
    let text = |symbol: u32| String::from_utf8_lossy(head.symbols().text(symbol)).into_owned();
    Ok(largest(metrics.into_iter().map(|(m, count)| (m, count.into())), 1, text).pop())
}

/// Visits the labels of every series, without the lock.
fn scan(head: &Mutex<Head>, mut visit: impl FnMut(&[Pair])) -> Result<(), Error> {
    let mut copied = Vec::new();
    let mut from = 0;
    loop {
        let slots = {
            let head = lock(head)?;
            let series = head.slots().range(from, from + SLOTS_PER_STEP).map(|(_, series)| series);
            let live = series.filter(|series| series.reference != 0);
            copied.extend(live.map(|series| Arc::clone(&series.labels)));
            head.slots().len()
        };
        copied.drain(..).for_each(|labels: Arc<[Pair]>| visit(&labels));
        from += SLOTS_PER_STEP;
        if from >= slots {
            return Ok(());
        }
    }
}

/// The `limit` largest, with their names.
fn largest<K: Ord + Copy>(
    counts: impl Iterator<Item = (K, u64)>,
    limit: usize,
    name: impl Fn(K) -> String,
) -> Vec<Count> {
    let mut counts: Vec<_> = counts.collect();
    counts.sort_unstable_by_key(|&(key, count)| (std::cmp::Reverse(count), key));
    counts.truncate(limit);
    counts.into_iter().map(|(key, value)| Count { name: name(key), value }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(series: &[&[(&str, &str)]]) -> Mutex<Head> {
        let mut head = Head::new(7_200_000, i64::MIN, 0, Arc::default());
        let mut replay = crate::head::Replay::default();
        for (reference, labels) in (1..).zip(series) {
            let labels: Vec<_> = labels.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
            let mut record = crate::record::SeriesEncoder::default();
            record.push(reference, labels.len(), labels);
            replay.record(&mut head, record.bytes()).unwrap();
        }
        Mutex::new(head)
    }

    fn pairs(counts: &[Count]) -> Vec<(&str, u64)> {
        counts.iter().map(|count| (count.name.as_str(), count.value)).collect()
    }

    #[test]
    fn counts_as_prometheus_does() {
        let head = head(&[
            &[("__name__", "http"), ("code", "200"), ("pod", "a")],
            &[("__name__", "http"), ("code", "200"), ("pod", "bb")],
            &[("__name__", "http"), ("code", "500"), ("pod", "a")],
            &[("__name__", "up"), ("pod", "a")],
            &[("pod", "http")],
        ]);
        let found = cardinality(&head, 10).unwrap();
        assert_eq!((found.series, found.label_pairs), (5, 7));
        assert_eq!(pairs(&found.series_by_metric), [("http", 3), ("up", 1)]);
        assert_eq!(found.values_by_label.first().map(|c| c.name.as_str()), Some("pod"));
        assert_eq!(found.values_by_label.iter().map(|c| c.value).collect::<Vec<_>>(), [3, 2, 2]);
        assert_eq!(pairs(&found.bytes_by_label), [("__name__", 14), ("code", 9), ("pod", 9)]);
        assert_eq!(pairs(&found.series_by_pair)[..2], [("__name__=http", 3), ("pod=a", 3)]);
        assert_eq!(cardinality(&head, 1).unwrap().series_by_pair.len(), 1);
        assert_eq!(largest_metric(&head).unwrap(), Some(Count { name: "http".to_owned(), value: 3 }));
    }

    #[test]
    fn a_head_of_many_steps_and_an_empty_one() {
        let names: Vec<String> = (0..SLOTS_PER_STEP * 2 + 5).map(|n| n.to_string()).collect();
        let labels: Vec<[(&str, &str); 2]> =
            names.iter().map(|n| [("__name__", "m"), ("id", n.as_str())]).collect();
        let series: Vec<&[(&str, &str)]> = labels.iter().map(|l| l.as_slice()).collect();
        let full = head(&series);
        assert_eq!(cardinality(&full, 1).unwrap().series, names.len() as u64);
        assert_eq!(largest_metric(&full).unwrap().map(|c| c.value), Some(names.len() as u64));
        assert_eq!(cardinality(&head(&[]), 10).unwrap(), Cardinality::default());
        assert_eq!(largest_metric(&head(&[])).unwrap(), None);
    }
}
