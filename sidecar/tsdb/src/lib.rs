//! A time series database for one tenant, in Prometheus' formats: write-ahead log, head, 2 h blocks.
//!
//! ```text
//! Appender → head (memory, one lock) → WAL queue ⇒ group commit (fdatasync) ⇒ acknowledged
//! head, when it spans 3 h → block in a temporary directory → fsync → rename → head and WAL truncated
//! ```
//! Synchronous: it knows no runtime, no HTTP and no bucket. Prometheus 2.42 and promtool open its directories.
#![deny(missing_docs)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::expect_used))]

#[doc(hidden)]
pub mod bench;
pub mod block;
mod chunk;
mod chunkenc;
mod chunks_head;
mod cut;
mod encoding;
mod error;
pub mod fs;
mod head;
pub mod histogram;
pub mod index;
#[cfg(any(test, feature = "judge"))]
pub mod judge;
mod layout;
mod limits;
mod read_at;
mod read_only;
mod record;
mod retention;
mod sample;
mod timing;
mod tsdb;
mod wal;

pub use chunkenc::{Encoding, UnknownEncoding};
pub use error::{Error, Refusal};
pub use head::{
    Appender, Cardinality, Count, Counters, Exemplar, Metadata, Pending, Scan, SeriesRef, display_series,
};
pub use limits::{LabelLimit, Limits, SeriesBudget, SeriesLimit};
pub use read_only::{MergedSeries, SeriesData, TsdbReadOnly};
pub use retention::{DiskUsage, Expiry, Removed};
pub use sample::{STALE_NAN, Value, is_stale};
pub use timing::{BUCKETS_SECONDS, Durations};
pub use tsdb::{Leader, Options, Stats, Tsdb};
pub use ulid::Ulid;
pub use wal::{Position, WalSummary, WalSync, verify_wal};

use std::sync::{Mutex, MutexGuard, TryLockError};

/// Takes a lock; after a panic in another holder nothing under it can be trusted any more.
fn lock<T>(mutex: &Mutex<T>) -> Result<MutexGuard<'_, T>, Error> {
    mutex.lock().map_err(|_| Error::Broken)
}

/// The same without waiting: `None` while another has it.
fn try_lock<T>(mutex: &Mutex<T>) -> Result<Option<MutexGuard<'_, T>>, Error> {
    match mutex.try_lock() {
        Ok(guard) => Ok(Some(guard)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Poisoned(_)) => Err(Error::Broken),
    }
}
