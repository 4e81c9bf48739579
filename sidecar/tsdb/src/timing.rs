//! How often work on files was done and how long it took, to be read at any time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Upper bounds of the buckets, in seconds; one more bucket has what is beyond.
pub const BUCKETS_SECONDS: [f64; 12] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 1.0, 10.0];

/// What was counted since the tenant was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Durations {
    /// All of it together, nanoseconds.
    pub nanos: u64,
    /// How often it took so long: the buckets of [`BUCKETS_SECONDS`], each for itself, then what is beyond.
    pub counts: [u64; BUCKETS_SECONDS.len() + 1],
}

impl Durations {
    /// How often it was done.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// Counts and times one kind of work.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    nanos: AtomicU64,
    counts: [AtomicU64; BUCKETS_SECONDS.len() + 1],
}

impl Timer {
    /// Does it, and counts it if it succeeds.
    pub(crate) fn time<T, E>(&self, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let start = Instant::now();
        let result = work();
        if result.is_ok() {
            self.observe(start.elapsed());
        }
        result
    }

    fn observe(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
        let bucket = BUCKETS_SECONDS.partition_point(|&bound| bound < took.as_secs_f64());
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What was counted so far.
    pub(crate) fn durations(&self) -> Durations {
        Durations {
            nanos: self.nanos.load(Ordering::Relaxed),
            counts: self.counts.each_ref().map(|count| count.load(Ordering::Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn successes_are_counted_by_how_long_they_took() {
        let timer = Timer::default();
        for millis in [0, 1, 2, 3, 99_000] {
            timer.observe(Duration::from_millis(millis));
        }
        assert_eq!(timer.time(|| Ok::<_, ()>(7)), Ok(7));
        assert_eq!(timer.time(|| Err::<(), _>(8)), Err(8));
        let found = timer.durations();
        assert_eq!(found.count(), 6);
        assert_eq!((found.counts[3], found.counts[4], found.counts[5], found.counts[12]), (1, 1, 1, 1));
        assert!(found.nanos >= 99_006_000_000);
    }
}
