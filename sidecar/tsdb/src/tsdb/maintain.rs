//! What a tenant's storage does beside the writes: cuts blocks, maps finished chunks, truncates head and logs.
//!
//! One such thing at a time, under the maintenance lock; no step holds the head's lock across I/O.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use ulid::Ulid;

use super::Tsdb;
use crate::block::Meta;
use crate::chunks_head::HeadChunks;
use crate::cut::Cut;
use crate::error::Error;
use crate::head::Head;
use crate::timing::Timer;
use crate::wal::{self, Keep, Position};
use crate::{layout, lock};

/// What was done so far.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) head_truncations: Timer,
    pub(super) head_truncations_failed: AtomicU64,
    pub(super) log_truncations: Timer,
    pub(super) log_truncations_failed: AtomicU64,
    pub(super) checkpoints: AtomicU64,
    pub(super) chunks_mapped: AtomicU64,
}

/// A range whose block is being cut, or could not be cut yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sealed {
    range: (i64, i64),
    /// The first segment of the write-behind log that is needed once the block is there.
    wbl: Option<u64>,
}

/// Does it, counts it, and counts it apart if it fails.
fn counted<T>(
    timer: &Timer,
    failed: &AtomicU64,
    work: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    timer.time(work).inspect_err(|_| {
        failed.fetch_add(1, Ordering::Relaxed);
    })
}

impl Tsdb {
    /// True if a block is due: the head spans one and a half ranges.
    pub fn due(&self) -> bool {
        lock(&self.head).is_ok_and(|head| head.due().is_some())
    }

    /// Cuts the oldest range of the head into a block if it is due, with the samples out of order that belong to it, and
    /// drops it from the head. Samples that came out of order for ranges that had their block already get blocks of
    /// their own. Appends go on meanwhile. After an error the head still has everything, and the call may be repeated.
    /// The logs are truncated too; should that fail, [`Self::truncate_logs`] is to be called until it succeeds.
    pub fn cut_block(&self) -> Result<Option<Meta>, Error> {
        let _maintenance = lock(&self.maintenance)?;
        self.wal.check()?;
        let mut sealed = lock(&self.sealed)?;
        let Some(Sealed { range, wbl }) = self.seal_due(&mut sealed)? else { return Ok(None) };
        let meta = self.cut().block(Ulid::generate(), range, wbl)?;
        *sealed = None;
        if let Some(meta) = &meta {
            lock(&self.blocks)?.push(meta.clone());
        }
        let done = &self.done;
        counted(&done.head_truncations, &done.head_truncations_failed, || {
            truncate_head(&self.head, &self.head_chunks, range.1)
        })?;
        *lock(&self.log_truncation)? = Some((range.1, wbl));
        self.cut_late()?;
        // A failure shows in the next call of `truncate_logs`.
        let _ = self.truncate_logs_locked();
        Ok(meta)
    }

    /// Seals the range that is due, and begins the write-behind log anew with what does not belong to it: once, however
    /// often the cut is tried.
    fn seal_due(&self, sealed: &mut Option<Sealed>) -> Result<Option<Sealed>, Error> {
        let (range, position) = {
            let mut head = lock(&self.head)?;
            let Some(range) = head.due() else { return Ok(None) };
            if let Some(sealed) = sealed.as_ref().filter(|sealed| sealed.range == range) {
                return Ok(Some(*sealed));
            }
            let survivors = head.seal(range.1);
            (range, self.begin_wbl(head.has_out_of_order(), &survivors))
        };
        let wbl = self.wbl_begun(position)?;
        *sealed = Some(Sealed { range, wbl });
        Ok(*sealed)
    }

    /// Cuts the late samples into blocks.
    fn cut_late(&self) -> Result<(), Error> {
        let (late, position) = {
            let mut head = lock(&self.head)?;
            if !head.has_late() {
                return Ok(());
            }
            let late = head.take_late();
            let survivors = head.seal(i64::MIN);
            (late, self.begin_wbl(true, &survivors))
        };
        let cut = self.wbl_begun(position).and_then(|wbl| Ok((wbl, self.cut().late_blocks(&late, wbl)?)));
        match cut {
            Ok((wbl, metas)) => {
                lock(&self.blocks)?.extend(metas);
                if let Some(truncation) = lock(&self.log_truncation)?.as_mut() {
                    truncation.1 = wbl;
                }
                Ok(())
            }
            Err(error) => {
                lock(&self.head)?.give_back_late(late);
                Err(error)
            }
        }
    }

    fn cut(&self) -> Cut<'_> {
        Cut {
            fs: &self.options.fs,
            dir: &self.dir,
            head: &self.head,
            head_chunks: &self.head_chunks,
            range: self.options.block_range_ms,
        }
    }

    /// Under the head's lock: queues a new write-behind log that begins with the survivors, if there is any such log.
    fn begin_wbl(&self, has_out_of_order: bool, survivors: &[Vec<u8>]) -> Option<Position> {
        (has_out_of_order || self.wal.has_wbl()).then(|| self.wal.queue_wbl_segment(survivors))
    }

    /// Waits until what [`Self::begin_wbl`] queued is durable; returns the index of the segment.
    fn wbl_begun(&self, position: Option<Position>) -> Result<Option<u64>, Error> {
        let Some(position) = position else { return Ok(None) };
        self.wal.wait(position)?;
        self.wal.sync()?;
        Ok(Some(self.wal.wbl_first()))
    }

    /// True if a cut left the logs longer than they need to be, because truncating them failed.
    pub fn log_truncation_due(&self) -> bool {
        lock(&self.log_truncation).is_ok_and(|truncation| truncation.is_some())
    }

    /// Truncates the logs if a cut left that to be done.
    pub fn truncate_logs(&self) -> Result<(), Error> {
        let _maintenance = lock(&self.maintenance)?;
        self.truncate_logs_locked()
    }

    fn truncate_logs_locked(&self) -> Result<(), Error> {
        let Some((mint, wbl)) = *lock(&self.log_truncation)? else { return Ok(()) };
        let done = &self.done;
        counted(&done.log_truncations, &done.log_truncations_failed, || {
            self.truncate_logs_before(mint, wbl)
        })?;
        *lock(&self.log_truncation)? = None;
        Ok(())
    }

    /// Drops samples before `mint` from the write-ahead log, and segments before `wbl` from the other one.
    fn truncate_logs_before(&self, mint: i64, wbl: Option<u64>) -> Result<(), Error> {
        let active = self.wal.next_segment()?;
        // A series created from here on has its record in the active segment or a later one, which stay.
        let references = lock(&self.head)?.references(mint);
        let keep = Keep { mint, series: &|reference| references.binary_search(&reference).is_ok() };
        let fs = &self.options.fs;
        let dir = self.dir.join(layout::WAL);
        let checkpoint = wal::truncate(fs, active, &dir, self.options.wal_segment_bytes, &keep)?;
        self.done.checkpoints.fetch_add(u64::from(checkpoint.is_some()), Ordering::Relaxed);
        match wbl {
            Some(first) => wal::remove_segments_before(fs.as_ref(), &self.dir.join(layout::WBL), first),
            None => Ok(()),
        }
    }

    /// Writes finished chunks that no late sample can fall into to the head chunk files, which takes them out of memory.
    /// Appends go on meanwhile. Returns how many chunks were written.
    pub fn map_chunks(&self) -> Result<u64, Error> {
        let _maintenance = lock(&self.maintenance)?;
        // No file names a series that the write-ahead log could not take.
        self.wal.check()?;
        let count = map_chunks(&self.head, &self.head_chunks)?;
        self.done.chunks_mapped.fetch_add(count, Ordering::Relaxed);
        Ok(count)
    }
}

/// Drops everything before `mint` from the head and the head chunk files.
pub(super) fn truncate_head(head: &Mutex<Head>, files: &HeadChunks, mint: i64) -> Result<(), Error> {
    let mut step = lock(head)?.begin_truncate(mint);
    while !step.done {
        step = lock(head)?.truncate_step(mint, step);
    }
    lock(head)?.end_truncate(mint, &step);
    files.truncate(step.oldest_file)
}

/// Writes finished chunks that no late sample can fall into to files. Returns how many chunks were written.
pub(super) fn map_chunks(head: &Mutex<Head>, files: &HeadChunks) -> Result<u64, Error> {
    let (mut next, mut count) = (Some(0), 0);
    while let Some(from) = next {
        let (mappable, then) = lock(head)?.mappable(from);
        next = then;
        let written = mappable.iter().map(|some| files.write(some.reference, &some.chunks));
        let written = written.collect::<Result<Vec<_>, _>>()?;
        files.flush()?;
        let mut head = lock(head)?;
        for (some, references) in mappable.iter().zip(&written) {
            head.map(some, references);
            count += references.len() as u64;
        }
    }
    Ok(count)
}
