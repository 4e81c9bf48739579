//! Goes through a log record by record and changes nothing: every fragment, every record, every entry.
//!
//! Owns what counts as a fault. A torn end of the newest segment is none where it was never acknowledged: the
//! next start cuts it off.

use std::path::{Path, PathBuf};

use super::records::{self, Step, Stopped};
use super::torn;
use crate::encoding::Truncated;
use crate::error::Error;
use crate::fs::Fs;
use crate::layout;
use crate::record::{self, Record};

/// What a log holds.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct WalSummary {
    /// Segment files, those of the checkpoint among them.
    pub segments: u64,
    /// Records of every kind.
    pub records: u64,
    /// Series in series records; a series may have several.
    pub series: u64,
    /// Float samples and native histograms.
    pub samples: u64,
    /// The end of the newest segment, if it is torn.
    pub torn: Option<Error>,
}

/// Checks the log in `dir`: the newest checkpoint and the segments after it. Calls `fault` for everything that is
/// wrong, with file and offset. A directory that is not there is an empty log.
pub fn verify_wal(fs: &dyn Fs, dir: &Path, fault: &mut dyn FnMut(Error)) -> WalSummary {
    let mut summary = WalSummary::default();
    let segments = match live_segments(fs, dir, fault) {
        Ok(segments) => segments,
        Err(error) => {
            fault(error);
            return summary;
        }
    };
    for (position, path) in segments.iter().enumerate() {
        summary.segments += 1;
        let Err(stopped) = segment(fs, path, &mut summary, fault) else { continue };
        let end = match position + 1 == segments.len() {
            true => torn::end(fs, path, stopped),
            false => Err(stopped.into()),
        };
        match end {
            Ok(torn) => summary.torn = Some(torn.error),
            Err(error) => fault(error),
        }
    }
    summary
}

/// The files of the newest checkpoint, then the segments after it.
pub(super) fn live_segments(
    fs: &dyn Fs,
    dir: &Path,
    fault: &mut dyn FnMut(Error),
) -> Result<Vec<PathBuf>, Error> {
    let mut live = Vec::new();
    let mut next = 0;
    if let Some((last, path)) = layout::checkpoints(fs, dir).map_err(Error::io("list", dir))?.pop() {
        next = last + 1;
        let checkpoint = layout::segments(fs, &path).map_err(Error::io("list", &path))?;
        live.extend(checkpoint.into_iter().map(|(_, path)| path));
    }
    for (index, path) in layout::segments(fs, dir).map_err(Error::io("list", dir))? {
        if index < next {
            continue;
        }
        if index > next {
            fault(Error::corrupt(&dir.join(layout::segment_name(next)), 0, "the segment is missing"));
        }
        next = index + 1;
        live.push(path);
    }
    Ok(live)
}

/// Checks one segment; an error is where reading it ends early.
fn segment(
    fs: &dyn Fs,
    path: &PathBuf,
    summary: &mut WalSummary,
    fault: &mut dyn FnMut(Error),
) -> Result<(), Stopped> {
    records::for_each(fs, std::slice::from_ref(path), &mut |step| {
        if let Step::Record(place, payload) = step {
            summary.records += 1;
            if let Err(e) = count(payload, summary) {
                fault(place.undecodable(e));
            }
        }
        Ok(())
    })
}

/// Decodes every entry of a record.
pub(crate) fn count(payload: &[u8], summary: &mut WalSummary) -> Result<(), Truncated> {
    fn all<T>(entries: impl Iterator<Item = Result<T, Truncated>>) -> Result<u64, Truncated> {
        entries.map(|entry| entry.map(|_| 1)).sum()
    }
    match record::decode(payload) {
        Record::Series(entries) => summary.series += all(entries)?,
        Record::Samples(entries) => summary.samples += all(entries)?,
        Record::Histograms(entries) => summary.samples += all(entries)?,
        Record::FloatHistograms(entries) => summary.samples += all(entries)?,
        Record::Tombstones(entries) => drop(all(entries)?),
        Record::Exemplars(entries) => drop(all(entries)?),
        Record::MmapMarkers(entries) => drop(all(entries)?),
        Record::Metadata(entries) => drop(all(entries)?),
        Record::Skipped => {}
    }
    Ok(())
}
