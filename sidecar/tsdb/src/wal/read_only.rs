//! Replays a log without changing anything on disk, for tools that read a directory of others.

use std::path::Path;

use super::records::{self, Step};
use super::torn;
use super::verify::live_segments;
use crate::encoding::Truncated;
use crate::error::Error;
use crate::fs::Fs;
use crate::layout;

/// Which log.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Log {
    /// The write-ahead log: series, and samples in order.
    Wal,
    /// The write-behind log, samples out of order: the segments from this one on.
    Wbl(u64),
}

/// Hands every record of a log in `dir` to `each`. A torn end of the newest segment is passed over, all else is an error.
pub(crate) fn replay_read_only(
    fs: &dyn Fs,
    dir: &Path,
    log: Log,
    each: &mut dyn FnMut(&[u8]) -> Result<(), Truncated>,
) -> Result<(), Error> {
    let mut missing = None;
    let segments = match log {
        Log::Wal => live_segments(fs, dir, &mut |error| missing = Some(error))?,
        Log::Wbl(first) => {
            let listed = layout::segments(fs, dir).map_err(Error::io("list", dir))?;
            listed.into_iter().filter(|(index, _)| *index >= first).map(|(_, path)| path).collect()
        }
    };
    if let Some(error) = missing {
        return Err(error);
    }
    let read = records::for_each(fs, &segments, &mut |step| match step {
        Step::Record(place, payload) => each(payload).map_err(|e| place.undecodable(e)),
        Step::BatchEnd | Step::SegmentEnd => Ok(()),
    });
    match (read, segments.last()) {
        (Err(stopped), Some(newest)) if stopped.segment + 1 == segments.len() => {
            torn::end(fs, newest, stopped).map(drop)
        }
        (read, _) => Ok(read?),
    }
}
