//! Bounds the bytes of bodies that the write path holds in memory at once.
//!
//! Every byte of a request body, compressed or decoded, is accounted here before it is held. When the budget is
//! used up a write is refused at once instead of queued, so that memory stays bounded by configuration. It also knows
//! since when the bodies are being worked on that are here as a whole: a disk that hangs shows in them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Largest compressed body that is read, in bytes.
pub(crate) const BODY_BYTES_MAX: usize = 32 << 20;
/// Default of all bodies in memory at once, in bytes.
pub(crate) const IN_FLIGHT_BYTES_MAX: usize = 256 << 20;

/// The unit in which the budget is kept: a semaphore takes at most `u32::MAX` permits at a time.
const UNIT_BYTES: usize = 1024;

// One request of the largest size must fit, or it could never be served.
const _: () = assert!(IN_FLIGHT_BYTES_MAX > BODY_BYTES_MAX + ringside_proto::DECODED_BYTES_MAX);

/// The budget of body bytes in memory.
#[derive(Debug, Clone)]
pub(crate) struct InFlight {
    free: Arc<Semaphore>,
    units: usize,
    work: Work,
}

impl InFlight {
    /// A budget of `bytes_max`, rounded down to whole KiB.
    pub(crate) fn new(bytes_max: usize) -> Self {
        let units = (bytes_max / UNIT_BYTES).min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(units)), units, work: Work::default() }
    }

    /// An empty reservation, to be grown as bytes arrive.
    pub(crate) fn reserve(&self) -> Reservation {
        Reservation {
            free: Arc::clone(&self.free),
            held: None,
            bytes: 0,
            work: self.work.clone(),
            begun: None,
        }
    }

    /// For how long the oldest body is being worked on.
    pub(crate) fn oldest_work(&self) -> Option<Duration> {
        self.work.begun().begun.first().map(|(begun, _)| begun.elapsed())
    }

    /// Bytes reserved now.
    pub(crate) fn used_bytes(&self) -> usize {
        (self.units - self.free.available_permits()) * UNIT_BYTES
    }
}

/// Bytes held by one request; given back on drop.
#[derive(Debug)]
pub(crate) struct Reservation {
    free: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
    bytes: usize,
    work: Work,
    /// In the list of [`Work`].
    begun: Option<(Instant, u64)>,
}

/// When work on each body began.
#[derive(Debug, Clone, Default)]
struct Work(Arc<Mutex<Begun>>);

#[derive(Debug, Default)]
struct Begun {
    begun: BTreeSet<(Instant, u64)>,
    /// Tells those apart that began at once.
    next: u64,
}

impl Work {
    fn begun(&self) -> MutexGuard<'_, Begun> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reservation {
    /// The body is here as a whole, since `now`: until the reservation is dropped it is being worked on.
    pub(crate) fn begin_work(&mut self, now: Instant) {
        let mut work = self.work.begun();
        work.next += 1;
        let begun = (now, work.next);
        work.begun.insert(begun);
        drop(work);
        if let Some(before) = self.begun.replace(begun) {
            self.work.begun().begun.remove(&before);
        }
    }

    /// Adds `bytes`. False, and nothing changed, where the budget has no room for them.
    #[must_use]
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        let held_units = self.bytes.div_ceil(UNIT_BYTES);
        let want_units = (self.bytes + bytes).div_ceil(UNIT_BYTES);
        let Ok(more) = u32::try_from(want_units - held_units) else { return false };
        if more > 0 {
            let Ok(permit) = Arc::clone(&self.free).try_acquire_many_owned(more) else { return false };
            match &mut self.held {
                Some(held) => held.merge(permit),
                None => self.held = Some(permit),
            }
        }
        self.bytes += bytes;
        true
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(begun) = self.begun {
            self.work.begun().begun.remove(&begun);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_budget_refuses_and_drop_gives_back() {
        let budget = InFlight::new(10 * 1024);
        let mut first = budget.reserve();
        assert!(first.grow(100) && first.grow(900) && first.grow(8 * 1024));
        assert_eq!(budget.used_bytes(), 9 * 1024);
        let mut second = budget.reserve();
        assert!(!second.grow(2 * 1024));
        assert!(second.grow(1024));
        drop(first);
        assert!(second.grow(9 * 1024));
        drop(second);
        assert_eq!(budget.used_bytes(), 0);
    }

    #[test]
    fn the_oldest_work_is_known_until_it_ends() {
        let budget = InFlight::new(1024);
        let now = Instant::now();
        let [mut old, mut new] = [budget.reserve(), budget.reserve()];
        assert_eq!(budget.oldest_work(), None, "nothing is here as a whole");
        old.begin_work(now.checked_sub(Duration::from_secs(9)).unwrap());
        new.begin_work(now);
        assert!(budget.oldest_work() >= Some(Duration::from_secs(9)));
        drop(old);
        assert!(budget.oldest_work() < Some(Duration::from_secs(9)));
        drop(new);
        assert_eq!(budget.oldest_work(), None);
    }
}
