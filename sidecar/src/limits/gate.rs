//! `max_concurrency`: how many writes are read and stored at once. More wait for their turn; none is refused.

use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::metrics::Metrics;

/// Lets so many in at once.
#[derive(Debug)]
pub(super) struct Gate {
    /// `None` for any number. Whoever waits at a gate that was replaced waits for those before it only.
    turns: RwLock<Option<Arc<Semaphore>>>,
    metrics: Arc<Metrics>,
}

/// A write that was let in; it makes room on drop.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    _permit: Option<OwnedSemaphorePermit>,
    metrics: &'a Metrics,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.metrics.gate_in_flight.dec();
    }
}

impl Gate {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { turns: RwLock::default(), metrics }
    }

    /// Lets `max` in at once from now on, not counting those who are in; 0 for any number.
    pub(super) fn set_max(&self, max: usize) {
        let mut turns = self.turns.write().unwrap_or_else(PoisonError::into_inner);
        if i64::try_from(max).ok() != Some(self.metrics.gate_max.get()) {
            *turns = (max > 0).then(|| Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS))));
            self.metrics.gate_max.set(max as i64);
        }
    }

    pub(super) async fn enter(&self) -> Turn<'_> {
        let start = Instant::now();
        let turns = self.turns.read().unwrap_or_else(PoisonError::into_inner).clone();
        let permit = match turns {
            // Nobody closes the semaphore.
            Some(turns) => turns.acquire_owned().await.ok(),
            None => None,
        };
        self.metrics.gate_duration.observe(start.elapsed().as_secs_f64());
        self.metrics.gate_total.inc();
        self.metrics.gate_in_flight.inc();
        Turn { _permit: permit, metrics: &self.metrics }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn so_many_at_once_and_the_next_when_one_leaves() {
        let (metrics, _) = Metrics::new();
        let gate = Gate::new(Arc::clone(&metrics));
        let unlimited = [gate.enter().await, gate.enter().await];
        gate.set_max(1);
        let first = gate.enter().await;
        assert!(gate.enter().now_or_never().is_none());
        assert_eq!(metrics.gate_in_flight.get(), 3);
        drop(unlimited);
        gate.set_max(1);
        assert!(gate.enter().now_or_never().is_none(), "the same limit again changes nothing");
        drop(first);
        assert!(gate.enter().now_or_never().is_some());
        assert_eq!((metrics.gate_in_flight.get(), metrics.gate_total.get()), (0, 4));
    }
}
