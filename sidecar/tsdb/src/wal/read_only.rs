//! Replays a log into a head without changing anything on disk, for tools that read a directory of others.

use std::path::Path;

use super::reader::SegmentReader;
use super::replay::{Log, Replayed, replay_segment};
use super::verify::live_segments;
use crate::error::Error;
use crate::fs::Fs;
use crate::head::Head;
use crate::layout;

/// Replays the segments of a log in `dir` from `first` on into `head`. A torn end of the newest segment is passed over,
/// all else is an error.
pub(crate) fn replay_read_only(
    fs: &dyn Fs,
    dir: &Path,
    log: Log,
    first: u64,
    head: &mut Head,
) -> Result<Replayed, Error> {
    let mut done = Replayed::default();
    let mut missing = None;
    let segments = match log {
        Log::Wal => live_segments(fs, dir, &mut |error| missing = Some(error))?,
        Log::Wbl => {
            let listed = layout::segments(fs, dir).map_err(Error::io("list", dir))?;
            listed.into_iter().filter(|(index, _)| *index >= first).map(|(_, path)| path).collect()
        }
    };
    if let Some(error) = missing {
        return Err(error);
    }
    for (position, path) in segments.iter().enumerate() {
        let mut reader = SegmentReader::open(fs, path)?;
        match replay_segment(&mut reader, path, log, head, &mut done) {
            Err(Error::Corrupt { .. }) if position + 1 == segments.len() => {}
            other => other?,
        }
    }
    Ok(done)
}
