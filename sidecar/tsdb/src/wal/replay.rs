//! Brings a head to where the log ends: the newest checkpoint, then every later segment.
//!
//! Only the newest segment may be torn: its tail was never acknowledged, and is cut off. Damage anywhere else
//! would lose acknowledged samples, so it is refused with file and offset.

use std::path::{Path, PathBuf};

use super::reader::SegmentReader;
use crate::error::Error;
use crate::fs::Fs;
use crate::head::Head;
use crate::record::{self, HistogramEntry, Record, SampleEntry};
use crate::sample::Value;
use crate::{encoding::Truncated, layout};

/// Bytes kept of what is cut off a segment.
const TORN_BYTES_MAX: u64 = 16 << 20;
/// How many such copies are kept.
const TORN_MAX: usize = 4;

/// What a replay found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Replayed {
    /// The index for the next segment.
    pub(crate) next_segment: u64,
    /// Bytes cut off the newest segment.
    pub(crate) torn_bytes: u64,
    /// Samples whose series no record names.
    pub(crate) unknown_refs: u64,
}

/// Replays the log in `dir` into `head`, and removes segments that a checkpoint has replaced.
pub(crate) fn replay(fs: &dyn Fs, dir: &Path, head: &mut Head) -> Result<Replayed, Error> {
    let mut done = Replayed::default();
    let checkpoint = layout::checkpoints(fs, dir).map_err(Error::io("list", dir))?.pop();
    if let Some((last, path)) = &checkpoint {
        done.next_segment = last + 1;
        for (_, segment) in layout::segments(fs, path).map_err(Error::io("list", path))? {
            let mut reader = SegmentReader::open(fs, &segment)?;
            replay_segment(&mut reader, &segment, Log::Wal, head, &mut done)?;
        }
    }
    replay_live(fs, dir, Log::Wal, head, &mut done)?;
    Ok(done)
}

/// Replays the write-behind log in `dir` into a head that has the write-ahead log, from segment `first` on; older
/// segments are removed.
pub(crate) fn replay_out_of_order(
    fs: &dyn Fs,
    dir: &Path,
    first: Option<u64>,
    head: &mut Head,
) -> Result<Replayed, Error> {
    let listed = layout::segments(fs, dir).map_err(Error::io("list", dir))?;
    let first = first.into_iter().chain(listed.first().map(|(index, _)| *index)).max();
    let mut done = Replayed { next_segment: first.unwrap_or(0), ..Replayed::default() };
    replay_live(fs, dir, Log::Wbl, head, &mut done)?;
    Ok(done)
}

/// Replays the segments from the next one on, which must be without a gap; older ones are removed.
fn replay_live(fs: &dyn Fs, dir: &Path, log: Log, head: &mut Head, done: &mut Replayed) -> Result<(), Error> {
    let segments = live_segments(fs, dir, done.next_segment)?;
    let newest = segments.len().saturating_sub(1);
    for (position, path) in segments.iter().enumerate() {
        let mut reader = SegmentReader::open(fs, path)?;
        match replay_segment(&mut reader, path, log, head, done) {
            // A record that cannot be decoded was read whole, so what is good ends before it.
            Err(Error::Corrupt { offset, .. }) if position == newest => {
                done.torn_bytes = cut_tail(fs, path, reader.good_offset().min(offset))?;
            }
            other => other?,
        }
        done.next_segment += 1;
    }
    if let Some(path) = segments.last() {
        sync(fs, path)?;
    }
    Ok(())
}

/// What was replayed may have been written and not synced when the process ended. From here on it counts as stored,
/// and a repetition of it is acknowledged, so it must be durable.
fn sync(fs: &dyn Fs, path: &Path) -> Result<(), Error> {
    let file = fs.open(path).map_err(Error::io("open", path))?;
    file.sync_all().map_err(Error::io("fsync", path))
}

/// Removes the segments in `dir` before `first`.
pub(crate) fn remove_segments_before(fs: &dyn Fs, dir: &Path, first: u64) -> Result<(), Error> {
    let listed = layout::segments(fs, dir).map_err(Error::io("list", dir))?;
    for (_, path) in listed.into_iter().filter(|(index, _)| *index < first) {
        fs.remove_file(&path).map_err(Error::io("remove", &path))?;
    }
    Ok(())
}

/// The segments from `first` on, which must be without a gap; older ones are removed.
fn live_segments(fs: &dyn Fs, dir: &Path, first: u64) -> Result<Vec<PathBuf>, Error> {
    let mut expected = first;
    let mut live = Vec::new();
    for (index, path) in layout::segments(fs, dir).map_err(Error::io("list", dir))? {
        if index < first {
            fs.remove_file(&path).map_err(Error::io("remove", &path))?;
            continue;
        }
        if index != expected {
            return Err(Error::corrupt(
                &dir.join(layout::segment_name(expected)),
                0,
                "the segment is missing",
            ));
        }
        expected += 1;
        live.push(path);
    }
    Ok(live)
}

/// Which log a record is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Log {
    /// The write-ahead log: series, and samples in order.
    Wal,
    /// The write-behind log: samples out of order.
    Wbl,
}

pub(super) fn replay_segment(
    reader: &mut SegmentReader,
    path: &Path,
    log: Log,
    head: &mut Head,
    done: &mut Replayed,
) -> Result<(), Error> {
    loop {
        let offset = reader.good_offset();
        let bad = |e: Truncated| Error::corrupt(path, offset, format!("undecodable record: {e}"));
        let Some(payload) = reader.next_record()? else { return Ok(()) };
        let mut replay = |reference, t, value| {
            let known = match log {
                Log::Wal => head.replay_sample(reference, t, &value),
                Log::Wbl => head.replay_out_of_order(reference, t, value),
            };
            done.unknown_refs += u64::from(!known);
        };
        match record::decode(payload) {
            Record::Series(entries) => {
                for entry in entries {
                    let entry = entry.map_err(bad)?;
                    head.replay_series(entry.reference, &entry.labels);
                }
            }
            Record::Samples(entries) => {
                for entry in entries {
                    let SampleEntry { reference, t, v } = entry.map_err(bad)?;
                    replay(reference, t, Value::Float(v));
                }
            }
            Record::Histograms(entries) => {
                for entry in entries {
                    let HistogramEntry { reference, t, h } = entry.map_err(bad)?;
                    replay(reference, t, Value::Histogram(h));
                }
            }
            Record::FloatHistograms(entries) => {
                for entry in entries {
                    let HistogramEntry { reference, t, h } = entry.map_err(bad)?;
                    replay(reference, t, Value::FloatHistogram(h));
                }
            }
            Record::Exemplars(entries) => {
                for entry in entries {
                    head.replay_exemplar(&entry.map_err(bad)?);
                }
            }
            Record::Metadata(entries) => {
                for entry in entries {
                    head.replay_metadata(&entry.map_err(bad)?);
                }
            }
            Record::Tombstones(_) | Record::MmapMarkers(_) | Record::Skipped => {}
        }
    }
}

/// Cuts a segment after `len` bytes and makes that durable; returns how many bytes went. Should they be more than a
/// torn write, somebody may want them: a copy stays beside it, under a name that no reader takes for a segment.
fn cut_tail(fs: &dyn Fs, path: &Path, len: u64) -> Result<u64, Error> {
    let file = fs.open_write(path).map_err(Error::io("open", path))?;
    let before = file.size().map_err(Error::io("stat", path))?;
    let mut tail = vec![0; before.saturating_sub(len).min(TORN_BYTES_MAX) as usize];
    file.read_at(&mut tail, len).map_err(Error::io("read", path))?;
    if let Some(dir) = path.parent().filter(|_| tail.iter().any(|&b| b != 0)) {
        let copy = path.with_extension(layout::TORN);
        fs.write_atomic(&copy, &tail).map_err(Error::io("write", &copy))?;
        let copies = layout::torn(fs, dir).map_err(Error::io("list", dir))?;
        for (_, old) in copies.iter().rev().skip(TORN_MAX) {
            fs.remove_file(old).map_err(Error::io("remove", old))?;
        }
    }
    file.set_len(len).and_then(|()| file.sync_all()).map_err(Error::io("truncate", path))?;
    fs.sync_parent(path).map_err(Error::io("fsync", path))?;
    Ok(before.saturating_sub(len))
}
