//! `--storage.min-free`: with less than so much room on the data directory's disk the sidecar is read-only.
//!
//! What is refused early is refused cleanly: a disk that is full to the last block fails writes of the log instead,
//! and leaves no room for the blocks that free it. Shipping, cutting and retention go on and make room.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::Pressure;
use crate::config::Share;
use crate::logging::Throttle;
use crate::metrics::Metrics;

/// Between two looks at the disk.
const EVERY: Duration = Duration::from_secs(2);

/// Room on a disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Space {
    /// What this process may still use.
    pub(crate) free: u64,
    pub(crate) total: u64,
}

/// The room on the disk that holds `path`.
pub(crate) fn space(path: &Path) -> io::Result<Space> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(Space {
        free: stat.f_bavail.saturating_mul(stat.f_frsize),
        total: stat.f_blocks.saturating_mul(stat.f_frsize),
    })
}

/// Watches a disk and makes the sidecar read-only while it is nearly full.
pub(crate) struct DiskWatch<F> {
    min_free: Share,
    space: F,
    pressure: Arc<Pressure>,
    metrics: Arc<Metrics>,
    faults: Throttle,
}

impl<F: FnMut() -> io::Result<Space>> DiskWatch<F> {
    /// `space` tells the room there is; the first look is taken at once.
    pub(crate) fn new(min_free: Share, space: F, pressure: Arc<Pressure>, metrics: Arc<Metrics>) -> Self {
        let mut watch = Self { min_free, space, pressure, metrics, faults: Throttle::default() };
        watch.look();
        watch
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

    /// Read-only below the mark, and until a tenth more than the mark is free: a disk at its mark does not flutter.
    fn look(&mut self) {
        let Space { free, total } = match (self.space)() {
            Ok(space) => space,
            Err(error) => {
                if self.faults.ready() {
                    tracing::error!(%error, "the room on the disk cannot be read");
                }
                return;
            }
        };
        let min = self.min_free.of(total);
        self.metrics.storage_free_bytes.set(free as i64);
        self.metrics.storage_min_free_bytes.set(min as i64);
        self.pressure.disk_free.store(free, Ordering::Relaxed);
        self.pressure.disk_min.store(min, Ordering::Relaxed);
        let was = self.pressure.read_only.load(Ordering::Relaxed);
        let enough = if was { min.saturating_add(min / 10) } else { min };
        let is = free < enough;
        if is == was {
            return;
        }
        self.pressure.read_only.store(is, Ordering::Relaxed);
        self.metrics.read_only.set(i64::from(is));
        if is {
            tracing::error!(
                free,
                min,
                "the disk is nearly full, the sidecar is read-only until there is room"
            );
        } else {
            tracing::info!(free, min, "the disk has room again, writes are taken");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn read_only_below_the_mark_and_writable_again_above_it() {
        let (metrics, _) = Metrics::new();
        let pressure = Arc::new(Pressure::new(Arc::clone(&metrics)));
        let free = Arc::new(AtomicU64::new(100));
        let source = Arc::clone(&free);
        let space = move || match source.load(Ordering::Relaxed) {
            0 => Err(io::Error::other("gone")),
            free => Ok(Space { free, total: 1000 }),
        };
        let share = Share::parse("10%").unwrap();
        let mut watch = DiskWatch::new(share, space, Arc::clone(&pressure), Arc::clone(&metrics));
        let mut with_free = |bytes| {
            free.store(bytes, Ordering::Relaxed);
            watch.look();
            (pressure.admit().is_ok(), metrics.read_only.get())
        };
        assert_eq!(with_free(100), (true, 0));
        assert_eq!(with_free(99), (false, 1));
        assert_eq!(with_free(109), (false, 1), "not at once");
        assert_eq!(with_free(0), (false, 1), "what cannot be read changes nothing");
        assert_eq!(with_free(110), (true, 0));
        assert_eq!(with_free(100), (true, 0));
        assert_eq!(with_free(99), (false, 1));
        let error = pressure.admit().unwrap_err();
        assert_eq!((error.status().as_u16(), error.retry_after_seconds().is_some()), (503, true));
        assert!(error.to_string().contains("99 bytes are free"), "{error}");
    }

    #[test]
    fn a_mark_of_zero_never_trips_and_a_real_disk_is_read() {
        let (metrics, _) = Metrics::new();
        let pressure = Arc::new(Pressure::new(Arc::clone(&metrics)));
        let full = || Ok(Space { free: 0, total: 1000 });
        DiskWatch::new(Share::Bytes(0), full, Arc::clone(&pressure), metrics).look();
        assert!(pressure.admit().is_ok());
        let real = space(Path::new("/")).unwrap();
        assert!(real.total > 0 && real.free <= real.total);
    }
}
