//! One tenant's storage: opening, appending, cutting blocks, retention, closing.

mod durable;
mod maintain;
mod opening;

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use ulid::Ulid;

use crate::block::Meta;
use crate::chunks_head::HeadChunks;
use crate::error::Error;
use crate::fs::{Fs, RealFs};
use crate::head::{self, Appender, Cardinality, Count, Counters, Exemplar, Head, Metadata};
use crate::limits::{Limits, SeriesBudget};
use crate::retention::{self, Bounds, DiskUsage, Removed};
use crate::timing::Durations;
use crate::wal::{Wal, WalSync};
use crate::{layout, lock, try_lock};

pub use self::durable::Leader;

/// How a tenant's storage works.
#[derive(Debug, Clone)]
pub struct Options {
    /// Length of a block's range, milliseconds. Default 2 h, Prometheus' own.
    pub block_range_ms: i64,
    /// A WAL segment takes no further record beyond this size. Default 128 MiB.
    pub wal_segment_bytes: u64,
    /// When an append counts as durable. Default [`WalSync::Group`].
    pub wal_sync: WalSync,
    /// Blocks whose newest sample is so much older than the newest block's may be deleted, milliseconds. 0 keeps
    /// them. Default 15 d.
    pub retention_ms: i64,
    /// The oldest blocks may be deleted while blocks, logs and head chunks have more bytes than this. 0, the
    /// default, sets no bound.
    pub retention_bytes: u64,
    /// Samples further ahead of the clock than this are refused, milliseconds. Default 10 min.
    pub future_window_ms: i64,
    /// How much older than the newest sample of the storage one that is not the newest of its series may be,
    /// milliseconds; 0 refuses all. Up to half a block's range such samples go into the block of their range; beyond,
    /// those that come too late for it get an overlapping block. Default 10 min.
    pub out_of_order_window_ms: i64,
    /// How many exemplars are kept, the oldest going for each new one. 0, the default, keeps none.
    pub exemplars_max: usize,
    /// Counts and bounds the series of all storages that share it.
    pub series_budget: Arc<SeriesBudget>,
    /// Where the files are. Default the machine's file system.
    pub fs: Arc<dyn Fs>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            block_range_ms: 2 * 3600 * 1000,
            wal_segment_bytes: 128 << 20,
            wal_sync: WalSync::Group,
            retention_ms: 15 * 24 * 3600 * 1000,
            retention_bytes: 0,
            future_window_ms: 10 * 60 * 1000,
            out_of_order_window_ms: 10 * 60 * 1000,
            exemplars_max: 0,
            series_budget: Arc::default(),
            fs: Arc::new(RealFs),
        }
    }
}

/// What a tenant's storage holds and has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Series in the head.
    pub series: u64,
    /// Chunks in the head.
    pub chunks: u64,
    /// Oldest and newest time in the head, milliseconds; `None` while it is empty.
    pub head_time_range: Option<(i64, i64)>,
    /// Exemplars in memory.
    pub exemplars: u64,
    /// Series that have any.
    pub series_with_exemplars: u64,
    /// Bytes of label strings in the head.
    pub symbol_bytes: u64,
    /// Totals since the tenant was opened.
    pub counters: Counters,
    /// Blocks on disk.
    pub blocks: u64,
    /// Index of the WAL segment being written.
    pub wal_segment: u64,
    /// Bytes in that segment.
    pub wal_segment_offset: u64,
    /// Bytes cut off the WAL's end when the tenant was opened: a torn write that was never acknowledged.
    pub wal_torn_bytes: u64,
    /// Samples of the WAL whose series no record named, when the tenant was opened.
    pub wal_unknown_refs: u64,
    /// Directories that look like blocks but could not be read when the tenant was opened.
    pub bad_blocks: u64,
    /// True once a write of the WAL failed: nothing is acknowledged until the tenant is opened again.
    pub poisoned: bool,
    /// Syncs of the WAL.
    pub wal_syncs: Durations,
    /// Syncs of the log of samples out of order.
    pub wbl_syncs: Durations,
    /// Times that the head was truncated.
    pub head_truncations: Durations,
    /// Times that it could not be.
    pub head_truncations_failed: u64,
    /// Times that the logs were truncated.
    pub log_truncations: Durations,
    /// Times that they could not be.
    pub log_truncations_failed: u64,
    /// Checkpoints written, each of which replaced an older one or the first segments.
    pub checkpoints: u64,
    /// Chunks moved from memory to head chunk files.
    pub chunks_mapped: u64,
    /// Head chunk files that were damaged when the tenant was opened.
    pub bad_chunk_files: u64,
}

/// One tenant's storage. Shared between threads; every method may block, and none of them panics on what a disk
/// or a sender gives it.
#[derive(Debug)]
pub struct Tsdb {
    dir: PathBuf,
    options: Options,
    head: Mutex<Head>,
    wal: Wal,
    head_chunks: HeadChunks,
    /// The range that the last cut began with, while it has no block.
    sealed: Mutex<Option<maintain::Sealed>>,
    /// What a cut left to be dropped from the logs: the time before which a block has everything, and the first segment
    /// of the write-behind log that is needed.
    log_truncation: Mutex<Option<(i64, Option<u64>)>>,
    blocks: Mutex<Vec<Meta>>,
    /// Held while a block is cut or removed, or the WAL truncated.
    maintenance: Mutex<()>,
    done: maintain::Done,
    torn_bytes: u64,
    unknown_refs: u64,
    bad_blocks: Vec<Error>,
    bad_chunks: Option<Error>,
}

impl Tsdb {
    /// The directory that was opened.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Directories that look like blocks but could not be read when the tenant was opened, with the reason. They
    /// are left alone.
    pub fn bad_blocks(&self) -> &[Error] {
        &self.bad_blocks
    }

    /// What was wrong with the head chunk files when the tenant was opened. They were removed from there on, and the
    /// write-ahead log gave what they had.
    pub fn bad_chunks(&self) -> Option<&Error> {
        self.bad_chunks.as_ref()
    }

    /// Begins to append one request. Holds the head's lock until committed or dropped, so let nothing block
    /// meanwhile.
    pub fn appender(&self) -> Result<Appender<'_>, Error> {
        self.wal.check()?;
        Ok(Appender::new(lock(&self.head)?, &self.wal, self.newest_ms()))
    }

    /// The same as [`Self::appender`] for callers that must not block: `None` while another holds the lock.
    pub fn try_appender(&self) -> Result<Option<Appender<'_>>, Error> {
        self.wal.check()?;
        Ok(try_lock(&self.head)?.map(|head| Appender::new(head, &self.wal, self.newest_ms())))
    }

    /// The newest time that a sample may have now.
    fn newest_ms(&self) -> i64 {
        now_ms().saturating_add(self.options.future_window_ms)
    }

    /// Bounds new series from now on.
    ///
    /// # Errors
    /// [`Error::Broken`].
    pub fn set_limits(&self, limits: Limits) -> Result<(), Error> {
        lock(&self.head)?.set_limits(limits);
        Ok(())
    }

    /// The complete blocks on disk, oldest first.
    pub fn blocks(&self) -> Vec<Meta> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Removes blocks past their retention that `deletable` agrees to, and returns them.
    pub fn apply_retention(&self, deletable: &dyn Fn(&Ulid) -> bool) -> Result<Vec<Removed>, Error> {
        let _maintenance = lock(&self.maintenance)?;
        let fs = self.options.fs.as_ref();
        let bounds = Bounds { age_ms: self.options.retention_ms, bytes: self.options.retention_bytes };
        let (mut blocks, mut head_bytes) = (Vec::new(), 0);
        if bounds.bytes > 0 {
            let usage = retention::disk_usage(fs, &self.dir, &[]);
            head_bytes = usage.wal + usage.wbl + usage.chunks_head;
        }
        for block in self.blocks() {
            let path = self.dir.join(block.ulid.to_string());
            let bytes = if bounds.bytes > 0 { retention::tree_bytes(fs, &path) } else { Ok(0) };
            blocks.push((block, bytes.map_err(Error::io("stat", &path))?));
        }
        let mut removed = Vec::new();
        for block in retention::expired(&blocks, head_bytes, bounds) {
            if !deletable(&block.ulid) {
                continue;
            }
            let path = self.dir.join(block.ulid.to_string());
            let deleting = self.dir.join(format!("{}{}", block.ulid, layout::TMP_DELETION));
            fs.remove_dir_durable(&path, &deleting).map_err(Error::io("remove", &path))?;
            lock(&self.blocks)?.retain(|kept| kept.ulid != block.ulid);
            removed.push(block);
        }
        Ok(removed)
    }

    /// Bytes of the files now.
    pub fn disk_usage(&self) -> DiskUsage {
        retention::disk_usage(self.options.fs.as_ref(), &self.dir, &self.blocks())
    }

    /// What the head's series are made of: the `limit` largest of each kind. Appends go on meanwhile.
    ///
    /// # Errors
    /// [`Error::Broken`].
    pub fn cardinality(&self, limit: usize) -> Result<Cardinality, Error> {
        // Nothing is dropped from the head while this is held.
        let _maintenance = lock(&self.maintenance)?;
        head::cardinality(&self.head, limit)
    }

    /// The metric with the most series, where there is one and no block is being cut. Appends go on meanwhile.
    pub fn largest_metric(&self) -> Option<Count> {
        let _maintenance = self.maintenance.try_lock().ok()?;
        head::largest_metric(&self.head).ok().flatten()
    }

    /// The exemplars that are kept, oldest first.
    ///
    /// # Errors
    /// [`Error::Broken`].
    pub fn exemplars(&self) -> Result<Vec<Exemplar>, Error> {
        Ok(lock(&self.head)?.exemplars())
    }

    /// What senders said of the metrics in the head, by metric name.
    ///
    /// # Errors
    /// [`Error::Broken`].
    pub fn metadata(&self) -> Result<Vec<Metadata>, Error> {
        Ok(lock(&self.head)?.metadata())
    }

    /// Makes everything appended so far durable; for [`WalSync::Interval`].
    pub fn sync(&self) -> Result<(), Error> {
        self.wal.sync()
    }

    /// Makes everything durable and ends the WAL's last page. Later appends fail with [`Error::Closed`].
    pub fn close(&self) -> Result<(), Error> {
        let _maintenance = lock(&self.maintenance)?;
        self.wal.close()
    }

    /// Has it acknowledge nothing any more, and gives the memory of its head back: for a tenant that is to be opened anew
    /// while somebody may still hold this. Blocks until the commit under way is done.
    pub fn abandon(&self) {
        self.wal.abandon();
        let range = self.options.block_range_ms;
        let empty = Head::new(range, i64::MIN, 0, Arc::clone(&self.options.series_budget));
        let mut head = self.head.lock().unwrap_or_else(PoisonError::into_inner);
        let abandoned = std::mem::replace(&mut *head, empty);
        drop(head);
        drop(abandoned);
    }

    /// True once nothing can be acknowledged until the tenant is opened again: a write of the WAL failed, or an
    /// operation panicked.
    pub fn is_broken(&self) -> bool {
        matches!(self.wal.check(), Err(Error::Poisoned(_)))
            || self.head.is_poisoned()
            || self.maintenance.is_poisoned()
    }

    /// Counts and sizes now.
    pub fn stats(&self) -> Stats {
        let (wal_segment, wal_segment_offset) = self.wal.end();
        let [wal_syncs, wbl_syncs] = self.wal.syncs();
        let mut stats = Stats {
            blocks: self.blocks.lock().unwrap_or_else(PoisonError::into_inner).len() as u64,
            wal_segment,
            wal_segment_offset,
            wal_torn_bytes: self.torn_bytes,
            wal_unknown_refs: self.unknown_refs,
            bad_blocks: self.bad_blocks.len() as u64,
            poisoned: self.is_broken(),
            wal_syncs,
            wbl_syncs,
            head_truncations: self.done.head_truncations.durations(),
            head_truncations_failed: self.done.head_truncations_failed.load(Ordering::Relaxed),
            log_truncations: self.done.log_truncations.durations(),
            log_truncations_failed: self.done.log_truncations_failed.load(Ordering::Relaxed),
            checkpoints: self.done.checkpoints.load(Ordering::Relaxed),
            chunks_mapped: self.done.chunks_mapped.load(Ordering::Relaxed),
            bad_chunk_files: u64::from(self.bad_chunks.is_some()),
            ..Stats::default()
        };
        if let Ok(head) = lock(&self.head) {
            stats.series = head.series_count() as u64;
            stats.counters = head.counters();
            stats.chunks = stats.counters.chunks_created.saturating_sub(stats.counters.chunks_removed);
            (stats.exemplars, stats.series_with_exemplars) = head.exemplar_counts();
            stats.head_time_range = head.time_range();
            stats.symbol_bytes = head.symbols().bytes() as u64;
        }
        stats
    }
}

/// Milliseconds since the epoch.
fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod crash_tests;
