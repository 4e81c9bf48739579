//! Whether the machine has room for more: memory and disk, watched, and the switches that they throw.
//!
//! Short of room the sidecar goes on shipping, cutting blocks, deleting old ones and answering; it takes no new
//! series, or no writes, until there is room again, without a restart. Owns no limits of tenants
//! ([`crate::limits`]).

pub(crate) mod cgroup;
pub(crate) mod disk;
pub(crate) mod memory;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::error::WriteError;
use crate::metrics::{Metrics, ReasonLabel};

/// What keeps writes out now. Set by the watchers, asked by every write before its body is read.
#[derive(Debug)]
pub(crate) struct Pressure {
    read_only: AtomicBool,
    disk_free: AtomicU64,
    disk_min: AtomicU64,
    memory_full: AtomicBool,
    memory_max: AtomicU64,
    metrics: Arc<Metrics>,
}

impl Pressure {
    /// Nothing is short.
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            read_only: AtomicBool::default(),
            disk_free: AtomicU64::default(),
            disk_min: AtomicU64::default(),
            memory_full: AtomicBool::default(),
            memory_max: AtomicU64::default(),
            metrics,
        }
    }

    /// Refuses a write while there is no room for any.
    pub(crate) fn admit(&self) -> Result<(), WriteError> {
        let (reason, error) = if self.read_only.load(Ordering::Relaxed) {
            let free_bytes = self.disk_free.load(Ordering::Relaxed);
            let min_bytes = self.disk_min.load(Ordering::Relaxed);
            ("read_only", WriteError::ReadOnly { free_bytes, min_bytes })
        } else if self.memory_full.load(Ordering::Relaxed) {
            ("memory", WriteError::MemoryFull { max_bytes: self.memory_max.load(Ordering::Relaxed) })
        } else {
            return Ok(());
        };
        self.metrics.requests_turned_away.get_or_create(&ReasonLabel { reason }).inc();
        Err(error)
    }
}
