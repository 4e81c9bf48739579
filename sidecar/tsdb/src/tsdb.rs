//! One tenant's storage: opening, appending, cutting blocks, retention, closing.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use ulid::Ulid;

use crate::block::{self, Meta};
use crate::error::Error;
use crate::fs::{Fs, RealFs};
use crate::head::{self, Appender, Cardinality, Count, Counters, Head};
use crate::limits::{Limits, SeriesBudget};
use crate::retention::{self, Bounds, DiskUsage, Removed};
use crate::wal::{self, Keep, Wal, WalSync};
use crate::{cut, layout, lock};

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
}

/// One tenant's storage. Shared between threads; every method may block, and none of them panics on what a disk
/// or a sender gives it.
#[derive(Debug)]
pub struct Tsdb {
    dir: PathBuf,
    options: Options,
    head: Mutex<Head>,
    wal: Wal,
    blocks: Mutex<Vec<Meta>>,
    /// Held while a block is cut or removed, or the WAL truncated.
    maintenance: Mutex<()>,
    replayed: wal::Replayed,
    bad_blocks: Vec<Error>,
}

impl Tsdb {
    /// Opens or creates the storage in `dir`: removes what an interrupted run left, reads the blocks' descriptions
    /// and replays the WAL. Only one process may have it open.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where acknowledged samples would be lost, [`Error::Unsupported`] where data of another
    /// kind is there, [`Error::Io`].
    pub fn open(dir: &Path, options: Options) -> Result<Self, Error> {
        let fs = &options.fs;
        let wal_dir = dir.join(layout::WAL);
        fs.create_dir_durable(&wal_dir).map_err(Error::io("create", &wal_dir))?;
        // A killed process may have created them and not lived to make their names durable.
        fs.sync_parent(&wal_dir).and_then(|()| fs.sync_parent(dir)).map_err(Error::io("fsync", dir))?;
        layout::remove_leftovers(fs.as_ref(), dir).map_err(Error::io("clean", dir))?;
        let (blocks, bad_blocks) = block::read_all(fs.as_ref(), dir)?;
        let min_valid = blocks.iter().map(|block| block.max_time).max().unwrap_or(i64::MIN);
        let mut head = Head::new(options.block_range_ms, min_valid, Arc::clone(&options.series_budget));
        let replayed = wal::replay(fs.as_ref(), &wal_dir, &mut head)?;
        head.replay_done();
        let segment_bytes = options.wal_segment_bytes;
        let wal = Wal::create(fs, &wal_dir, replayed.next_segment, segment_bytes, options.wal_sync)?;
        Ok(Self {
            dir: dir.to_owned(),
            options,
            head: Mutex::new(head),
            wal,
            blocks: Mutex::new(blocks),
            maintenance: Mutex::new(()),
            replayed,
            bad_blocks,
        })
    }

    /// The directory that was opened.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Directories that look like blocks but could not be read when the tenant was opened, with the reason. They
    /// are left alone.
    pub fn bad_blocks(&self) -> &[Error] {
        &self.bad_blocks
    }

    /// Begins to append one request. Holds the head's lock until committed or dropped, so let nothing block
    /// meanwhile.
    pub fn appender(&self) -> Result<Appender<'_>, Error> {
        self.wal.check()?;
        let newest_ms = now_ms().saturating_add(self.options.future_window_ms);
        Ok(Appender::new(lock(&self.head)?, &self.wal, newest_ms))
    }

    /// Bounds new series from now on.
    ///
    /// # Errors
    /// [`Error::Broken`].
    pub fn set_limits(&self, limits: Limits) -> Result<(), Error> {
        lock(&self.head)?.set_limits(limits);
        Ok(())
    }

    /// True if a block is due: the head spans one and a half ranges.
    pub fn due(&self) -> bool {
        lock(&self.head).is_ok_and(|head| head.due().is_some())
    }

    /// Cuts the oldest range of the head into a block if it is due, drops it from the head and truncates the WAL.
    /// Appends go on meanwhile. After an error the head still has everything, and the call may be repeated.
    pub fn cut_block(&self) -> Result<Option<Meta>, Error> {
        let _maintenance = lock(&self.maintenance)?;
        self.wal.check()?;
        let Some((mint, maxt)) = lock(&self.head)?.due() else { return Ok(None) };
        let meta = cut::write_block(&self.options.fs, &self.dir, &self.head, Ulid::generate(), (mint, maxt))?;
        if let Some(meta) = &meta {
            lock(&self.blocks)?.push(meta.clone());
        }
        self.truncate(maxt)?;
        Ok(meta)
    }

    /// Drops everything before `mint` from the head and the WAL.
    fn truncate(&self, mint: i64) -> Result<(), Error> {
        let mut step = lock(&self.head)?.begin_truncate(mint);
        while !step.done {
            step = lock(&self.head)?.truncate_step(mint, step);
        }
        let references = {
            let mut head = lock(&self.head)?;
            head.end_truncate(mint, &step);
            head.references(mint)
        };
        // A series created from here on has its record in the newest finished segment or a later one, and a
        // checkpoint never reaches so far.
        let keep = Keep { mint, series: &|reference| references.contains(&reference) };
        let dir = self.dir.join(layout::WAL);
        wal::truncate(&self.options.fs, &self.wal, &dir, self.options.wal_segment_bytes, &keep)?;
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

    /// Makes everything appended so far durable; for [`WalSync::Interval`].
    pub fn sync(&self) -> Result<(), Error> {
        self.wal.sync()
    }

    /// Makes everything durable and ends the WAL's last page. Later appends fail with [`Error::Closed`].
    pub fn close(&self) -> Result<(), Error> {
        let _maintenance = lock(&self.maintenance)?;
        self.wal.close()
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
        let mut stats = Stats {
            blocks: self.blocks.lock().unwrap_or_else(PoisonError::into_inner).len() as u64,
            wal_segment,
            wal_segment_offset,
            wal_torn_bytes: self.replayed.torn_bytes,
            wal_unknown_refs: self.replayed.unknown_refs,
            bad_blocks: self.bad_blocks.len() as u64,
            poisoned: self.is_broken(),
            ..Stats::default()
        };
        if let Ok(head) = lock(&self.head) {
            stats.series = head.series_count() as u64;
            stats.counters = head.counters();
            stats.chunks = stats.counters.chunks_created.saturating_sub(stats.counters.chunks_removed);
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
