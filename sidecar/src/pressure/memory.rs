//! `--receive.memory-max`: a ceiling on the process' memory, kept by refusing work instead of by the kernel's killer.
//!
//! Series are what memory goes to, so new ones are refused while there is room left for the known ones to go on
//! and for requests under way. Only when that is used up as well are writes refused. What is measured is what the
//! kernel counts: resident memory.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ringside_tsdb::SeriesBudget;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::Pressure;
use crate::metrics::Metrics;

/// Between two looks: a flood of new series takes some hundred megabytes per second.
const EVERY: Duration = Duration::from_millis(20);
/// Percent of the ceiling at which new series are refused, and below which they are taken again. A series whose chunk
/// fills takes up to a third more than at first.
const SERIES_CLOSE: u64 = 75;
const SERIES_REOPEN: u64 = 70;
/// Percent of the ceiling below which writes are taken again.
const WRITES_REOPEN: u64 = 95;
const _: () = assert!(SERIES_REOPEN < SERIES_CLOSE && SERIES_CLOSE < WRITES_REOPEN && WRITES_REOPEN < 100);

/// Reads the resident memory of this process.
#[derive(Debug)]
pub(crate) struct Resident {
    statm: File,
    page_bytes: u64,
}

impl Resident {
    pub(crate) fn open() -> std::io::Result<Self> {
        let page_bytes = rustix::param::page_size() as u64;
        Ok(Self { statm: File::open("/proc/self/statm")?, page_bytes })
    }

    /// Bytes now; `None` where the kernel does not tell.
    pub(crate) fn bytes(&self) -> Option<u64> {
        let mut line = [0; 128];
        let length = self.statm.read_at(&mut line, 0).ok()?;
        let line = std::str::from_utf8(line.get(..length)?).ok()?;
        let pages: u64 = line.split_ascii_whitespace().nth(1)?.parse().ok()?;
        Some(pages * self.page_bytes)
    }
}

/// Watches memory and throws the two switches.
pub(crate) struct MemoryWatch<F> {
    max: u64,
    used: F,
    budget: Arc<SeriesBudget>,
    pressure: Arc<Pressure>,
    metrics: Arc<Metrics>,
}

impl<F: FnMut() -> Option<u64>> MemoryWatch<F> {
    /// `max` is the ceiling in bytes, `used` tells what is resident.
    pub(crate) fn new(
        max: u64,
        used: F,
        budget: Arc<SeriesBudget>,
        pressure: Arc<Pressure>,
        metrics: Arc<Metrics>,
    ) -> Self {
        pressure.memory_max.store(max, Ordering::Relaxed);
        metrics.memory_max_bytes.set(max as i64);
        Self { max, used, budget, pressure, metrics }
    }

    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut tick = interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => self.look(),
                () = stop.cancelled() => return,
            }
        }
    }

    fn look(&mut self) {
        let Some(used) = (self.used)() else { return };
        let percent = |share: u64| self.max / 100 * share;
        let (was_closed, was_full) =
            (self.budget.is_closed(), self.pressure.memory_full.load(Ordering::Relaxed));
        let closed = used >= percent(if was_closed { SERIES_REOPEN } else { SERIES_CLOSE });
        let full = used >= if was_full { percent(WRITES_REOPEN) } else { self.max };
        if closed != was_closed {
            if closed {
                self.budget.close();
                tracing::warn!(used, max = self.max, "memory is short, new series are refused");
            } else {
                self.budget.open();
                tracing::info!(used, max = self.max, "new series are taken again");
            }
        }
        if full != was_full {
            self.pressure.memory_full.store(full, Ordering::Relaxed);
            if full {
                tracing::error!(used, max = self.max, "memory is at its ceiling, writes are refused");
            } else {
                tracing::info!(used, max = self.max, "writes are taken again");
            }
        }
        self.metrics.memory_new_series_refused.set(i64::from(closed));
        self.metrics.memory_writes_refused.set(i64::from(full));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn first_new_series_then_all_writes_and_back() {
        let (metrics, _) = Metrics::new();
        let pressure = Arc::new(Pressure::new(Arc::clone(&metrics)));
        let budget = Arc::new(SeriesBudget::default());
        let used = Arc::new(AtomicU64::new(0));
        let source = Arc::clone(&used);
        let read = move || Some(source.load(Ordering::Relaxed)).filter(|&bytes| bytes > 0);
        let mut watch =
            MemoryWatch::new(1000, read, Arc::clone(&budget), Arc::clone(&pressure), Arc::clone(&metrics));
        let mut with_used = |bytes| {
            used.store(bytes, Ordering::Relaxed);
            watch.look();
            (budget.is_closed(), pressure.admit().is_err())
        };
        assert_eq!(with_used(749), (false, false));
        assert_eq!(with_used(750), (true, false));
        assert_eq!(with_used(710), (true, false), "not at once");
        assert_eq!(with_used(999), (true, false));
        assert_eq!(with_used(1000), (true, true));
        assert_eq!(with_used(960), (true, true), "not at once");
        assert_eq!(with_used(0), (true, true), "what cannot be read changes nothing");
        assert_eq!(with_used(940), (true, false));
        assert_eq!(with_used(699), (false, false));
        assert_eq!(with_used(2000), (true, true));
        let error = pressure.admit().unwrap_err();
        assert_eq!((error.status().as_u16(), error.retry_after_seconds().is_some()), (503, true));
        assert_eq!(with_used(1), (false, false));
        assert_eq!((metrics.memory_new_series_refused.get(), metrics.memory_max_bytes.get()), (0, 1000));
    }

    #[test]
    fn what_is_allocated_and_touched_is_resident() {
        let resident = Resident::open().unwrap();
        let block = vec![1_u8; 64 << 20];
        let bytes = resident.bytes().unwrap();
        assert!(bytes >= block.len() as u64, "{bytes}");
    }
}
