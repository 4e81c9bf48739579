//! Replaces the log's older segments by a checkpoint that holds only what the head still needs.
//!
//! A checkpoint is itself a directory of segments, written under a temporary name, synced and renamed, before
//! anything that it replaces is removed.

use std::path::Path;
use std::sync::Arc;

use super::records::{self, Step};
use super::segment::SegmentWriter;
use super::writer::Wal;
use crate::error::Error;
use crate::fs::Fs;
use crate::layout;
use crate::record::{self, SampleEntry, SeriesEncoder, ValuesEncoder, Visitor};
use crate::sample::Value;

/// What a checkpoint must keep.
pub(crate) struct Keep<'a> {
    /// Samples from this time on.
    pub(crate) mint: i64,
    /// Series whose samples may still be in the log.
    pub(crate) series: &'a dyn Fn(u64) -> bool,
}

/// Begins a new segment, and replaces the older two thirds of the finished ones by a checkpoint if there are
/// enough of them. Returns the index of the last replaced segment.
pub(crate) fn truncate(
    fs: &Arc<dyn Fs>,
    wal: &Wal,
    dir: &Path,
    segment_bytes: u64,
    keep: &Keep<'_>,
) -> Result<Option<u64>, Error> {
    let active = wal.next_segment()?;
    let segments = layout::segments(fs.as_ref(), dir).map_err(Error::io("list", dir))?;
    let Some(first) = segments.first().map(|(index, _)| *index) else { return Ok(None) };
    let finished = active.saturating_sub(1);
    let last = first + finished.saturating_sub(first) * 2 / 3;
    if last <= first {
        return Ok(None);
    }
    let old = layout::checkpoints(fs.as_ref(), dir).map_err(Error::io("list", dir))?;
    let tmp = dir.join(layout::checkpoint_name(last) + layout::TMP);
    if fs.is_dir(&tmp) {
        fs.remove_dir_all(&tmp).map_err(Error::io("remove", &tmp))?;
    }
    fs.create_dir_durable(&tmp).map_err(Error::io("create", &tmp))?;
    let mut writer = SegmentWriter::create(fs, &tmp, 0, segment_bytes)?;
    let mut copied = Vec::new();
    if let Some((_, path)) = old.last() {
        copied = layout::segments(fs.as_ref(), path).map_err(Error::io("list", path))?;
    }
    copied.extend(segments.iter().take_while(|(index, _)| *index <= last).cloned());
    let copied: Vec<_> = copied.into_iter().map(|(_, path)| path).collect();
    let mut copy = Copy { keep, series: SeriesEncoder::default(), values: ValuesEncoder::default() };
    records::for_each(fs.as_ref(), &copied, &mut |step| match step {
        Step::Record(place, payload) => {
            record::visit(payload, &mut copy).map_err(|e| place.undecodable(e))?;
            copy.write(&mut writer)
        }
        Step::BatchEnd | Step::SegmentEnd => Ok(()),
    })?;
    writer.finish()?;
    let checkpoint = dir.join(layout::checkpoint_name(last));
    fs.rename_durable(&tmp, &checkpoint).map_err(Error::io("rename", &tmp))?;

    for (_, segment) in segments.iter().take_while(|(index, _)| *index <= last) {
        fs.remove_file(segment).map_err(Error::io("remove", segment))?;
    }
    for (_, path) in &old {
        fs.remove_dir_all(path).map_err(Error::io("remove", path))?;
    }
    fs.sync_dir(dir).map_err(Error::io("fsync", dir))?;
    Ok(Some(last))
}

/// What is to be kept of a record.
struct Copy<'a> {
    keep: &'a Keep<'a>,
    series: SeriesEncoder,
    values: ValuesEncoder,
}

impl Copy<'_> {
    fn write(&mut self, writer: &mut SegmentWriter) -> Result<(), Error> {
        for record in [self.series.bytes()].into_iter().chain(self.values.payloads()) {
            if !record.is_empty() {
                writer.write(record)?;
            }
        }
        self.series.clear();
        self.values.clear();
        Ok(())
    }
}

impl Visitor for Copy<'_> {
    fn series(&mut self, reference: u64, labels: &[(&[u8], &[u8])]) {
        if (self.keep.series)(reference) {
            self.series.push(reference, labels.len(), labels.iter().copied());
        }
    }

    fn floats(&mut self, samples: &[SampleEntry]) {
        for sample in samples.iter().filter(|sample| sample.t >= self.keep.mint) {
            self.values.floats.push(sample.reference, sample.t, sample.v);
        }
    }

    fn histogram(&mut self, reference: u64, t: i64, value: Value) {
        if t >= self.keep.mint {
            self.values.push(reference, t, &value);
        }
    }
}
