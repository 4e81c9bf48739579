//! Replaces the log's older segments by a checkpoint that holds only what the head still needs.
//!
//! A checkpoint is itself a directory of segments, written under a temporary name, synced and renamed, before
//! anything that it replaces is removed.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::records::{self, Step};
use super::segment::SegmentWriter;
use crate::error::Error;
use crate::fs::Fs;
use crate::layout;
use crate::record::{
    self, ExemplarEntry, ExemplarsEncoder, MetadataEncoder, MetadataEntry, SampleEntry, SeriesEncoder,
    ValuesEncoder, Visitor,
};
use crate::sample::Value;

/// Bytes of metadata in a record; the last entry may run over.
const METADATA_BYTES: usize = 1 << 20;

/// What a checkpoint must keep.
pub(crate) struct Keep<'a> {
    /// Samples from this time on.
    pub(crate) mint: i64,
    /// Series whose samples may still be in the log.
    pub(crate) series: &'a dyn Fn(u64) -> bool,
}

/// Replaces the older two thirds of the segments before `active` by a checkpoint if there are enough of them. Nothing is
/// written to them any more. Returns the index of the last replaced segment.
pub(crate) fn truncate(
    fs: &Arc<dyn Fs>,
    active: u64,
    dir: &Path,
    segment_bytes: u64,
    keep: &Keep<'_>,
) -> Result<Option<u64>, Error> {
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
    let mut copy = Copy {
        keep,
        series: SeriesEncoder::default(),
        values: ValuesEncoder::default(),
        exemplars: ExemplarsEncoder::default(),
        metadata: HashMap::new(),
        metadata_seen: 0,
    };
    records::for_each(fs.as_ref(), &copied, &mut |step| match step {
        Step::Record(place, payload) => {
            record::visit(payload, &mut copy).map_err(|e| place.undecodable(e))?;
            copy.write(&mut writer)
        }
        Step::BatchEnd | Step::SegmentEnd => Ok(()),
    })?;
    copy.write_metadata(&mut writer)?;
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

/// What is to be kept: of one record, and the newest metadata of each series for the end.
struct Copy<'a> {
    keep: &'a Keep<'a>,
    series: SeriesEncoder,
    values: ValuesEncoder,
    exemplars: ExemplarsEncoder,
    metadata: HashMap<u64, Metadata>,
    metadata_seen: u64,
}

struct Metadata {
    /// Of two series of one metric the later one counts, so their order is kept.
    number: u64,
    kind: u8,
    unit: Box<[u8]>,
    help: Box<[u8]>,
}

impl Copy<'_> {
    fn write(&mut self, writer: &mut SegmentWriter) -> Result<(), Error> {
        let records = [self.series.bytes()].into_iter().chain(self.values.payloads());
        for record in records.chain([self.exemplars.bytes()]).filter(|record| !record.is_empty()) {
            writer.write(record)?;
        }
        self.series.clear();
        self.values.clear();
        self.exemplars.clear();
        Ok(())
    }

    fn write_metadata(&mut self, writer: &mut SegmentWriter) -> Result<(), Error> {
        let mut all: Vec<_> = std::mem::take(&mut self.metadata).into_iter().collect();
        all.sort_unstable_by_key(|(_, metadata)| metadata.number);
        let mut record = MetadataEncoder::default();
        for (reference, Metadata { kind, unit, help, .. }) in all {
            record.push(MetadataEntry { reference, kind, unit: &unit, help: &help });
            if record.bytes().len() >= METADATA_BYTES {
                writer.write(record.bytes())?;
                record.clear();
            }
        }
        if record.bytes().is_empty() { Ok(()) } else { writer.write(record.bytes()) }
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

    fn exemplar(&mut self, entry: &ExemplarEntry<'_>) {
        let ExemplarEntry { reference, t, v, labels } = entry;
        if *t >= self.keep.mint {
            self.exemplars.push(*reference, *t, *v, labels.len(), labels.iter().copied());
        }
    }

    fn metadata(&mut self, entry: &MetadataEntry<'_>) {
        let &MetadataEntry { reference, kind, unit, help } = entry;
        if (self.keep.series)(reference) {
            self.metadata_seen += 1;
            let number = self.metadata_seen;
            self.metadata.insert(reference, Metadata { number, kind, unit: unit.into(), help: help.into() });
        }
    }
}
