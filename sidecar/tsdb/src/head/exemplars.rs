//! The newest exemplars of a tenant, in memory: as many as are configured, then the oldest goes for each new one.
//!
//! Owns which exemplars are taken. They live as long as their series is in the head, and are in the write-ahead log
//! like samples; blocks have none.

use std::collections::{HashMap, VecDeque};

use super::append::{Appender, FRESH, SeriesRef};
use super::{Head, series_key};
use crate::error::Refusal;
use crate::record::ExemplarEntry;

/// Most characters of an exemplar's labels, names and values together, as OpenMetrics has it.
const LABEL_CHARS_MAX: usize = 128;

/// So many of the newest exemplars of a series are looked at when another comes.
const COMPARED_MAX: usize = 64;

/// One exemplar.
#[derive(Debug, Clone, PartialEq)]
pub struct Exemplar {
    /// Labels of its series, sorted by name.
    pub series: Vec<(Vec<u8>, Vec<u8>)>,
    /// Its own labels, as sent.
    pub labels: Vec<(Vec<u8>, Vec<u8>)>,
    /// Milliseconds since the epoch.
    pub t_ms: i64,
    /// The value.
    pub value: f64,
}

/// A ring of exemplars, chained by series.
#[derive(Debug, Default)]
pub(super) struct Exemplars {
    max: usize,
    ring: VecDeque<Entry>,
    /// Number of the oldest entry of the ring.
    first: u64,
    /// The newest entry of each series, by the series' reference.
    newest: HashMap<u64, u64>,
}

#[derive(Debug)]
struct Entry {
    reference: u64,
    slot: u32,
    t: i64,
    value: f64,
    /// As label fields.
    labels: Box<[u8]>,
    /// The entry of the same series before this one.
    previous: Option<u64>,
}

impl Exemplars {
    /// An empty ring for `max` exemplars; 0 keeps none.
    pub(super) fn new(max: usize) -> Self {
        Self { max, ..Self::default() }
    }

    /// How many exemplars there are, and of how many series.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.ring.len() as u64, self.newest.len() as u64)
    }

    /// The latest entries of a series, the last one first.
    fn of(&self, reference: u64) -> impl Iterator<Item = &Entry> {
        let entry = |number: u64| self.ring.get(usize::try_from(number.checked_sub(self.first)?).ok()?);
        let newest = self.newest.get(&reference).and_then(|&number| entry(number));
        std::iter::successors(newest, move |newer| entry(newer.previous?)).take(COMPARED_MAX)
    }

    fn push(&mut self, mut entry: Entry) {
        if self.ring.len() >= self.max
            && let Some(oldest) = self.ring.pop_front()
        {
            if self.newest.get(&oldest.reference) == Some(&self.first) {
                self.newest.remove(&oldest.reference);
            }
            self.first += 1;
        }
        let number = self.first + self.ring.len() as u64;
        entry.previous = self.newest.insert(entry.reference, number);
        self.ring.push_back(entry);
    }

    /// Forgets that a series has exemplars; what it had leaves the ring in its turn.
    pub(super) fn forget(&mut self, reference: u64) {
        self.newest.remove(&reference);
    }
}

impl Head {
    /// Keeps so many exemplars from now on.
    pub(crate) fn set_exemplars_max(&mut self, max: usize) {
        self.exemplars = Exemplars::new(max);
    }

    /// How many exemplars there are, and of how many series.
    pub(crate) fn exemplar_counts(&self) -> (u64, u64) {
        self.exemplars.counts()
    }

    /// All exemplars whose series is in the head, oldest first.
    pub(crate) fn exemplars(&self) -> Vec<Exemplar> {
        let owned = |(name, value): (&[u8], &[u8])| (name.to_vec(), value.to_vec());
        let of_entry = |entry: &Entry| {
            let series = self.series.get(entry.slot as usize)?;
            (series.reference == entry.reference).then(|| Exemplar {
                series: self.labels(series).map(owned).collect(),
                labels: series_key::fields(&entry.labels).map(owned).collect(),
                t_ms: entry.t,
                value: entry.value,
            })
        };
        self.exemplars.ring.iter().filter_map(of_entry).collect()
    }

    /// An exemplar of the write-ahead log.
    pub(super) fn replay_exemplar(&mut self, slot: u32, entry: &ExemplarEntry<'_>) {
        if self.exemplars.max > 0
            && let Some(series) = self.series.get(slot as usize)
        {
            let mut labels = Vec::new();
            series_key::encode(&entry.labels, &mut labels);
            let (reference, labels) = (series.reference, labels.into());
            self.exemplars.push(Entry {
                reference,
                slot,
                t: entry.t,
                value: entry.v,
                labels,
                previous: None,
            });
        }
    }
}

impl Appender<'_> {
    /// Keeps an exemplar of a series that has a sample, if any are kept. One that is kept already is accepted and not
    /// kept again. False where there is no such series, as none of its samples was taken.
    ///
    /// # Errors
    /// Labels that are too long; a time that is too far in the future, or older than what is taken out of order while
    /// the series has a newer one.
    pub fn exemplar(
        &mut self,
        series: SeriesRef,
        t_ms: i64,
        value: f64,
        labels: &[(&[u8], &[u8])],
    ) -> Result<bool, Refusal> {
        let head = &mut *self.head;
        let slot = if series.0 == FRESH { self.fresh.slot } else { Some(series.0) };
        let known = slot.and_then(|slot| Some((slot, head.series.get(slot as usize)?.reference)));
        let Some((slot, reference)) = known.filter(|_| head.exemplars.max > 0) else {
            head.counters.exemplars_dropped += 1;
            return Ok(head.exemplars.max == 0);
        };
        let mut key = Vec::new();
        let stored = judge(labels, t_ms, self.newest_ms).and_then(|()| {
            series_key::encode(labels, &mut key);
            let is_same = |entry: &Entry| {
                entry.t == t_ms && entry.value.to_bits() == value.to_bits() && *entry.labels == *key
            };
            let newest = head.exemplars.of(reference).map(|entry| entry.t).max();
            if head.exemplars.of(reference).any(is_same) {
                return Ok(false);
            }
            match newest {
                Some(last_ms) if t_ms < last_ms && t_ms < self.oldest_late_ms => {
                    Err(Refusal::OutOfOrderExemplar { t_ms, last_ms })
                }
                _ => Ok(true),
            }
        });
        match stored {
            Ok(true) => {
                self.records.exemplars.push(reference, t_ms, value, labels.len(), labels.iter().copied());
                let labels = key.into();
                head.exemplars.push(Entry { reference, slot, t: t_ms, value, labels, previous: None });
                head.counters.exemplars_appended += 1;
                Ok(true)
            }
            Ok(false) => Ok(true),
            Err(refusal) => {
                head.counters.exemplars_refused += 1;
                Err(refusal)
            }
        }
    }
}

fn judge(labels: &[(&[u8], &[u8])], t_ms: i64, newest_ms: i64) -> Result<(), Refusal> {
    let chars = |text: &[u8]| String::from_utf8_lossy(text).chars().count();
    let bytes: usize = labels.iter().map(|(name, value)| name.len() + value.len()).sum();
    // No character has more than four bytes, nor do bytes that are none and count as one.
    let is_long = bytes > 4 * LABEL_CHARS_MAX
        || labels.iter().map(|(name, value)| chars(name) + chars(value)).sum::<usize>() > LABEL_CHARS_MAX;
    if is_long {
        return Err(Refusal::ExemplarLabels { max: LABEL_CHARS_MAX as u64 });
    }
    if t_ms > newest_ms {
        return Err(Refusal::TooFarInFuture { t_ms, bound_ms: newest_ms });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(reference: u64, t: i64) -> Entry {
        Entry { reference, slot: 0, t, value: 1.0, labels: Box::default(), previous: None }
    }

    #[test]
    fn the_oldest_goes_for_each_new_one() {
        let mut exemplars = Exemplars::new(3);
        for (reference, t) in [(1, 1), (2, 2), (1, 3), (1, 4)] {
            exemplars.push(entry(reference, t));
        }
        let times = |exemplars: &Exemplars, reference| {
            exemplars.of(reference).map(|entry| entry.t).collect::<Vec<_>>()
        };
        assert_eq!(times(&exemplars, 1), [4, 3]);
        assert_eq!(times(&exemplars, 2), [2]);
        assert_eq!(exemplars.counts(), (3, 2));
        exemplars.push(entry(3, 5));
        assert!(times(&exemplars, 2).is_empty());
        exemplars.forget(1);
        assert!(times(&exemplars, 1).is_empty());
        exemplars.push(entry(1, 6));
        assert_eq!(times(&exemplars, 1), [6]);
        assert_eq!(exemplars.counts(), (3, 2));
    }

    #[test]
    fn kept_over_a_restart_and_judged() {
        let dir = tempfile::tempdir().unwrap();
        let open = || {
            let options = crate::Options { exemplars_max: 10, ..crate::Options::default() };
            crate::Tsdb::open(dir.path(), options).unwrap()
        };
        let mut key = Vec::new();
        series_key::encode(&[(b"__name__", b"a")], &mut key);
        let t = 1_700_000_000_000;
        let tsdb = open();
        let mut appender = tsdb.appender().unwrap();
        let series = appender.series(&key).unwrap();
        appender.exemplar(series, t, 9.0, &[]).unwrap();
        appender.float(series, t, 1.0).unwrap();
        appender.commit().wait().unwrap();
        for _ in 0..2 {
            let mut appender = tsdb.appender().unwrap();
            let series = appender.series(&key).unwrap();
            // In and out of order, and far too late.
            for t in [t, t + 2, t + 1] {
                appender.exemplar(series, t, 1.0, &[(b"trace", b"x")]).unwrap();
            }
            let late = appender.exemplar(series, t - 3_600_000, 1.0, &[]);
            assert!(matches!(late, Err(Refusal::OutOfOrderExemplar { .. })), "{late:?}");
            appender.commit().wait().unwrap();
        }
        let exemplars = tsdb.exemplars().unwrap();
        assert_eq!(exemplars.iter().map(|e| e.t_ms - t).collect::<Vec<_>>(), [0, 2, 1]);
        assert_eq!(exemplars[0].series, [(b"__name__".to_vec(), b"a".to_vec())]);
        assert_eq!(exemplars[0].labels, [(b"trace".to_vec(), b"x".to_vec())]);
        let counters = tsdb.stats().counters;
        assert_eq!((counters.exemplars_appended, counters.exemplars_refused), (3, 2));
        tsdb.close().unwrap();
        drop(tsdb);
        assert_eq!(open().exemplars().unwrap(), exemplars);
    }

    #[test]
    fn long_labels_are_refused() {
        let long = "x".repeat(LABEL_CHARS_MAX);
        let judged = judge(&[(b"a", long.as_bytes())], 1, 2);
        assert_eq!(judged, Err(Refusal::ExemplarLabels { max: 128 }));
        for longest in ["ü", "🐢"] {
            assert_eq!(judge(&[(b"", longest.repeat(LABEL_CHARS_MAX).as_bytes())], 1, 2), Ok(()));
        }
        // Three bytes that begin a character of four are one that is none.
        assert_eq!(judge(&[(b"", &b"\xf0\x9f\x90".repeat(LABEL_CHARS_MAX))], 1, 2), Ok(()));
        assert!(judge(&[(b"", &b"\xf0\x9f\x90".repeat(LABEL_CHARS_MAX + 1))], 1, 2).is_err());
        assert!(judge(&[], 3, 2).is_err());
    }
}
