//! Replaces the log's older segments by a checkpoint that holds only what the head still needs.
//!
//! A checkpoint is itself a directory of segments, written under a temporary name, synced and renamed, before
//! anything that it replaces is removed.

use std::path::Path;
use std::sync::Arc;

use super::reader::SegmentReader;
use super::segment::SegmentWriter;
use super::writer::Wal;
use crate::error::Error;
use crate::fs::Fs;
use crate::record::{self, HistogramEntry, Record, SeriesEncoder, ValuesEncoder};
use crate::sample::Value;
use crate::{encoding::Truncated, layout};

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
    let mut copy = Copy {
        fs: fs.as_ref(),
        writer: &mut writer,
        keep,
        series: Default::default(),
        values: Default::default(),
    };
    if let Some((_, path)) = old.last() {
        for (_, segment) in layout::segments(fs.as_ref(), path).map_err(Error::io("list", path))? {
            copy.segment(&segment)?;
        }
    }
    for (_, segment) in segments.iter().take_while(|(index, _)| *index <= last) {
        copy.segment(segment)?;
    }
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

/// Copies what is to be kept, record by record.
struct Copy<'a> {
    fs: &'a dyn Fs,
    writer: &'a mut SegmentWriter,
    keep: &'a Keep<'a>,
    series: SeriesEncoder,
    values: ValuesEncoder,
}

impl Copy<'_> {
    fn segment(&mut self, path: &Path) -> Result<(), Error> {
        let mut reader = SegmentReader::open(self.fs, path)?;
        loop {
            let offset = reader.good_offset();
            let bad = |e: Truncated| Error::corrupt(path, offset, format!("undecodable record: {e}"));
            let Some(payload) = reader.next_record()? else { return Ok(()) };
            match record::decode(payload) {
                Record::Series(entries) => {
                    for entry in entries {
                        let entry = entry.map_err(bad)?;
                        if (self.keep.series)(entry.reference) {
                            self.series.push(entry.reference, entry.labels.len(), entry.labels);
                        }
                    }
                }
                Record::Samples(entries) => {
                    for entry in entries {
                        let entry = entry.map_err(bad)?;
                        if entry.t >= self.keep.mint {
                            self.values.floats.push(entry.reference, entry.t, entry.v);
                        }
                    }
                }
                Record::Histograms(entries) => {
                    for entry in entries {
                        let HistogramEntry { reference, t, h } = entry.map_err(bad)?;
                        if t >= self.keep.mint {
                            self.values.push(reference, t, &Value::Histogram(h));
                        }
                    }
                }
                Record::FloatHistograms(entries) => {
                    for entry in entries {
                        let HistogramEntry { reference, t, h } = entry.map_err(bad)?;
                        if t >= self.keep.mint {
                            self.values.push(reference, t, &Value::FloatHistogram(h));
                        }
                    }
                }
                Record::Tombstones(_)
                | Record::Exemplars(_)
                | Record::MmapMarkers(_)
                | Record::Metadata(_)
                | Record::Skipped => {}
            }
            for record in [self.series.bytes()].into_iter().chain(self.values.payloads()) {
                if !record.is_empty() {
                    self.writer.write(record)?;
                }
            }
            self.series.clear();
            self.values.clear();
        }
    }
}
