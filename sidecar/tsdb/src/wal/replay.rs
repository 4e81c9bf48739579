//! Reads a log to its end: the newest checkpoint, then every later segment.
//!
//! Only the newest segment may be torn, and only where nothing behind the damage was acknowledged: its tail is cut off.
//! Damage anywhere else would lose acknowledged samples, so it is refused with file and offset. Owns no head: what a
//! record does is its [`Target`]'s to say.

use std::path::{Path, PathBuf};

use super::records::{self, Step};
use super::torn;
use crate::encoding::Truncated;
use crate::error::Error;
use crate::fs::Fs;
use crate::layout;

/// Takes what a log holds, in order.
pub(crate) trait Target {
    /// A record's payload.
    fn record(&mut self, payload: &[u8]) -> Result<(), Truncated>;
    /// Some records came, and more may; after the last one of a segment `segment_ended`.
    fn pause(&mut self, segment_ended: bool) -> Result<(), Error>;
}

/// What a replay found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Replayed {
    /// The index for the next segment.
    pub(crate) next_segment: u64,
    /// Bytes cut off the newest segment.
    pub(crate) torn_bytes: u64,
}

/// Replays the write-ahead log in `dir`, and removes segments that a checkpoint has replaced.
pub(crate) fn replay(fs: &dyn Fs, dir: &Path, target: &mut dyn Target) -> Result<Replayed, Error> {
    let (mut first, mut checkpoint) = (0, Vec::new());
    if let Some((last, path)) = layout::checkpoints(fs, dir).map_err(Error::io("list", dir))?.pop() {
        first = last + 1;
        checkpoint = layout::segments(fs, &path).map_err(Error::io("list", &path))?;
    }
    replay_live(fs, dir, checkpoint.into_iter().map(|(_, path)| path).collect(), first, target)
}

/// Replays the write-behind log in `dir` from segment `first` on; older segments are removed.
pub(crate) fn replay_out_of_order(
    fs: &dyn Fs,
    dir: &Path,
    first: Option<u64>,
    target: &mut dyn Target,
) -> Result<Replayed, Error> {
    let listed = layout::segments(fs, dir).map_err(Error::io("list", dir))?;
    let first = first.into_iter().chain(listed.first().map(|(index, _)| *index)).max();
    replay_live(fs, dir, Vec::new(), first.unwrap_or(0), target)
}

/// Replays `checkpoint` and the segments from `first` on, which must be without a gap; older ones are removed.
fn replay_live(
    fs: &dyn Fs,
    dir: &Path,
    checkpoint: Vec<PathBuf>,
    first: u64,
    target: &mut dyn Target,
) -> Result<Replayed, Error> {
    let live = live_segments(fs, dir, first)?;
    let mut done = Replayed { next_segment: first + live.len() as u64, torn_bytes: 0 };
    let newest = live.last().cloned();
    let segments = [checkpoint, live].concat();
    let read = records::for_each(fs, &segments, &mut |step| match step {
        Step::Record(place, payload) => target.record(payload).map_err(|e| place.undecodable(e)),
        Step::BatchEnd => target.pause(false),
        Step::SegmentEnd => target.pause(true),
    });
    if let Err(stopped) = read {
        match &newest {
            Some(path) if stopped.segment + 1 == segments.len() => {
                let torn = torn::end(fs, path, stopped)?;
                done.torn_bytes = torn::cut(fs, path, torn.taken)?;
            }
            _ => return Err(stopped.into()),
        }
    }
    if let Some(path) = &newest {
        sync(fs, path)?;
    }
    Ok(done)
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
