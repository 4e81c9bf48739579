//! How a tenant's storage comes to be what it was: leftovers, blocks, head chunk files, then the logs.
//!
//! A log of many hours is replayed in the memory that the process had which wrote it: finished chunks go to files, and
//! ranges that are due into blocks, as they do while writes come. Owns the order of these steps; each leaves a directory
//! from which all of them can be repeated.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use ulid::Ulid;

use super::maintain::{self, Done};
use super::{Options, Tsdb};
use crate::block::{self, Meta};
use crate::chunk::Chunk;
use crate::chunkenc::Encoding;
use crate::chunks_head::{self, HeadChunks};
use crate::cut::Cut;
use crate::encoding::Truncated;
use crate::error::Error;
use crate::head::{Head, Replay};
use crate::layout;
use crate::wal::{self, NextSegments, Target, Wal};

/// Chunks are looked through at most so often in a block's range, besides at the end of each segment: most are not
/// finished, or may still get late samples.
const MAPS_PER_RANGE: i64 = 16;

impl Tsdb {
    /// Opens or creates the storage in `dir`: removes what an interrupted run left, reads the blocks' descriptions
    /// and replays the logs. What is due by then is cut into blocks. Only one process may have it open.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where acknowledged samples would be lost, [`Error::Unsupported`] where data of another
    /// kind is there, [`Error::Io`].
    pub fn open(dir: &Path, options: Options) -> Result<Self, Error> {
        let fs = Arc::clone(&options.fs);
        let wal_dir = dir.join(layout::WAL);
        fs.create_dir_durable(&wal_dir).map_err(Error::io("create", &wal_dir))?;
        // A killed process may have created them and not lived to make their names durable.
        fs.sync_parent(&wal_dir).and_then(|()| fs.sync_parent(dir)).map_err(Error::io("fsync", dir))?;
        layout::remove_leftovers(fs.as_ref(), dir).map_err(Error::io("clean", dir))?;
        let (blocks, bad_blocks) = block::read_all(fs.as_ref(), dir)?;

        let (mut opening, bad_chunks) = Opening::begin(dir, options, blocks)?;
        let replayed = wal::replay(fs.as_ref(), &wal_dir, &mut opening)?;
        let Opening { dir, options, mut head, head_chunks, replay, blocks, next_wbl, cut, mapped, .. } =
            opening;
        let unknown_refs = replay.done(get(&mut head));
        let next = NextSegments { wal: replayed.next_segment, wbl: next_wbl };
        let wal = Wal::create(&fs, &dir, next, options.wal_segment_bytes, options.wal_sync)?;
        let done = Done::default();
        done.chunks_mapped.store(mapped.chunks, Ordering::Relaxed);
        Ok(Self {
            dir,
            options,
            head,
            wal,
            head_chunks,
            sealed: Mutex::default(),
            log_truncation: Mutex::new(cut),
            bad_chunks,
            blocks: Mutex::new(blocks),
            maintenance: Mutex::new(()),
            done,
            torn_bytes: replayed.torn_bytes,
            unknown_refs,
            bad_blocks,
        })
    }
}

/// A storage that is being opened: what the logs are replayed into.
struct Opening {
    dir: PathBuf,
    options: Options,
    /// Nobody else has it yet; the lock is for what works on heads in use.
    head: Mutex<Head>,
    head_chunks: HeadChunks,
    replay: Replay,
    blocks: Vec<Meta>,
    /// The index for the write-behind log's next segment.
    next_wbl: u64,
    /// The newest time in the log when the last segment ended.
    settled: Option<i64>,
    /// The end of the last block that was cut, and the first segment of the write-behind log that is needed beside it.
    cut: Option<(i64, Option<u64>)>,
    may_cut: bool,
    mapped: Mapped,
}

/// When chunks were last written to files.
struct Mapped {
    /// How many were written.
    chunks: u64,
    /// How many had been begun when some were written.
    begun: u64,
    /// All before this time are written.
    before: i64,
    may_map: bool,
}

impl Opening {
    /// Reads all but the write-ahead log. Also returns what was wrong with the head chunk files.
    fn begin(dir: &Path, options: Options, blocks: Vec<Meta>) -> Result<(Self, Option<Error>), Error> {
        let fs = &options.fs;
        let min_valid = blocks.iter().filter(|block| block.is_in_order()).map(|block| block.max_time).max();
        let mut head = Head::new(
            options.block_range_ms,
            min_valid.unwrap_or(i64::MIN),
            options.out_of_order_window_ms,
            Arc::clone(&options.series_budget),
        );
        head.set_exemplars_max(options.exemplars_max);
        head.begin_replay();
        let mut replay = Replay::default();
        let chunks_dir = dir.join(layout::CHUNKS_HEAD);
        let mut foreign = Vec::new();
        let (next_file, bad_chunks) = chunks_head::load(fs.as_ref(), &chunks_dir, |entry| {
            match entry.out_of_order {
                true => foreign.push((entry.series, entry.chunk)),
                false => replay.load(&entry),
            }
            Ok(())
        })?;
        replay.loaded();

        let wbl_dir = dir.join(layout::WBL);
        let first = blocks.iter().filter_map(|block| block.wbl_first()).max();
        let mut wbl = OutOfOrder { replay: &mut replay, range: options.block_range_ms };
        let replayed = wal::replay_out_of_order(fs.as_ref(), &wbl_dir, first, &mut wbl)?;
        let mut opening = Self {
            dir: dir.to_owned(),
            head: Mutex::new(head),
            head_chunks: HeadChunks::new(fs, &chunks_dir, next_file),
            options,
            replay,
            blocks,
            next_wbl: replayed.next_segment,
            settled: None,
            cut: None,
            may_cut: true,
            mapped: Mapped { chunks: 0, begun: 0, before: i64::MIN, may_map: true },
        };
        if !foreign.is_empty() {
            opening.take_over(&foreign)?;
        }
        Ok((opening, bad_chunks))
    }

    /// Prometheus keeps samples out of order in head chunk files too. They move to the write-behind log, and the
    /// write-ahead log gives the rest; but for histograms, which checkpoints of Prometheus 2.42 do not keep all of.
    fn take_over(&mut self, foreign: &[(u64, Chunk)]) -> Result<(), Error> {
        for (series, chunk) in foreign {
            self.wait(*series, chunk);
        }
        for (series, reference) in self.replay.take_loaded() {
            let chunk = self.head_chunks.read(reference)?;
            if chunk.encoding != Encoding::Xor {
                self.wait(series, &chunk);
            }
        }
        self.begin_wbl(&self.replay.waiting())?;
        self.head_chunks.truncate(None)
    }

    fn wait(&mut self, series: u64, chunk: &Chunk) {
        for (t, value) in chunk.samples() {
            self.replay.wait(series, t, value, self.options.block_range_ms);
        }
    }

    /// Makes `records` the beginning of a new segment of the write-behind log; returns its index.
    fn begin_wbl(&mut self, records: &[Vec<u8>]) -> Result<u64, Error> {
        let first = self.next_wbl;
        let dir = self.dir.join(layout::WBL);
        let segment_bytes = self.options.wal_segment_bytes;
        self.next_wbl = wal::write_segments(&self.options.fs, &dir, first, segment_bytes, records)?;
        Ok(first)
    }

    /// Cuts every range into a block that the log has left behind by a whole range, by what it had a segment ago. A
    /// request lies in one place of the log, which is less than a segment, so none of its samples is still to come that
    /// belongs there. What fails is left to be done when the storage is open.
    fn cut_due(&mut self, settled: i64) -> Result<(), Error> {
        while let Some(range) = get(&mut self.head).due_by(settled).filter(|_| self.may_cut) {
            let head = get(&mut self.head);
            let mut survivors = head.seal(range.1);
            survivors.extend(self.replay.waiting());
            let has_wbl = head.has_out_of_order() || self.next_wbl > 0;
            let wbl = if has_wbl { Some(self.begin_wbl(&survivors)?) } else { None };
            self.may_cut = self.cut_block(range, wbl).is_ok();
        }
        Ok(())
    }

    fn cut_block(&mut self, range: (i64, i64), wbl: Option<u64>) -> Result<(), Error> {
        let cut = Cut {
            fs: &self.options.fs,
            dir: &self.dir,
            head: &self.head,
            head_chunks: &self.head_chunks,
            range: self.options.block_range_ms,
        };
        self.blocks.extend(cut.block(Ulid::generate(), range, wbl)?);
        self.cut = Some((range.1, wbl));
        maintain::truncate_head(&self.head, &self.head_chunks, range.1)
    }

    /// Writes finished chunks to files, where `asked`, or where there may be one for every other series and the log has
    /// moved on. What fails is left to be done when the storage is open.
    fn map_chunks(&mut self, asked: bool) {
        let head = get(&mut self.head);
        let (begun, before) = (head.counters().chunks_created, head.mappable_before());
        let enough = self.mapped.begun + head.series_count() as u64 / 2;
        let later = self.mapped.before.saturating_add(self.options.block_range_ms / MAPS_PER_RANGE);
        if !self.mapped.may_map || !(asked || begun >= enough && before >= later) {
            return;
        }
        self.mapped.before = before;
        match maintain::map_chunks(&self.head, &self.head_chunks) {
            Ok(0) => {}
            Ok(count) => {
                self.mapped.chunks += count;
                self.mapped.begun = begun;
            }
            Err(_) => self.mapped.may_map = false,
        }
    }
}

impl Target for Opening {
    fn record(&mut self, payload: &[u8]) -> Result<(), Truncated> {
        self.replay.record(get(&mut self.head), payload)
    }

    fn pause(&mut self, segment_ended: bool) -> Result<(), Error> {
        self.map_chunks(segment_ended);
        if segment_ended && let Some(settled) = std::mem::replace(&mut self.settled, self.replay.newest()) {
            self.cut_due(settled)?;
        }
        Ok(())
    }
}

/// Takes the write-behind log.
struct OutOfOrder<'r> {
    replay: &'r mut Replay,
    range: i64,
}

impl Target for OutOfOrder<'_> {
    fn record(&mut self, payload: &[u8]) -> Result<(), Truncated> {
        self.replay.out_of_order(payload, self.range)
    }

    fn pause(&mut self, _: bool) -> Result<(), Error> {
        Ok(())
    }
}

/// The head, which no other thread has.
fn get(head: &mut Mutex<Head>) -> &mut Head {
    head.get_mut().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
