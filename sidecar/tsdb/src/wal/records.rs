//! The records of segments, one segment after the other: the one loop under replay, checkpoints and verification.
//!
//! Where there is much to read, a thread of its own reads, checks and decompresses while the caller works on what came
//! before. Three batches exist at most, so that memory is bounded whatever a log holds. Owns neither what a record means
//! nor what damage means.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

use super::reader::SegmentReader;
use crate::encoding::Truncated;
use crate::error::Error;
use crate::fs::Fs;

/// Bytes of records that are handed on at once; the last record may run over.
const BATCH_BYTES: usize = 256 << 10;
/// Fewer bytes are read by who wants them: a thread is not worth its while.
const READ_AHEAD_BYTES_MIN: u64 = 1 << 20;

/// What comes next in a log.
#[derive(Debug)]
pub(super) enum Step<'a> {
    /// A record's payload.
    Record(Place<'a>, &'a [u8]),
    /// Some records came, and more may.
    BatchEnd,
    /// A segment was read to its end.
    SegmentEnd,
}

/// Where a record begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    path: &'a Path,
    offset: u64,
}

impl Place<'_> {
    /// The record was read whole, and yet its payload is not one.
    pub(super) fn undecodable(self, e: Truncated) -> Error {
        Error::corrupt(self.path, self.offset, format!("undecodable record: {e}"))
    }
}

/// Why reading ended early.
#[derive(Debug)]
pub(super) struct Stopped {
    /// The segment's position among those that are read.
    pub(super) segment: usize,
    /// Where in it the last record that was taken ends.
    pub(super) taken: u64,
    pub(super) error: Error,
}

impl From<Stopped> for Error {
    fn from(stopped: Stopped) -> Self {
        stopped.error
    }
}

/// Hands everything in `segments` to `each`, in order; ends early where a segment cannot be read on, or `each` fails.
pub(super) fn for_each(
    fs: &dyn Fs,
    segments: &[PathBuf],
    each: &mut dyn FnMut(Step<'_>) -> Result<(), Error>,
) -> Result<(), Stopped> {
    let (mut segment, mut taken) = (0, 0);
    let mut outcome = Ok(());
    batches(fs, segments, &mut |batch| {
        if std::mem::replace(&mut segment, batch.segment) != batch.segment {
            taken = 0;
        }
        outcome = batch.hand_on(segments, &mut taken, each);
        outcome.is_ok()
    });
    outcome.map_err(|error| Stopped { segment, taken, error })
}

/// Records of one segment, back to back.
#[derive(Debug, Default)]
struct Batch {
    segment: usize,
    bytes: Vec<u8>,
    /// Where each record ends, in `bytes` and in the segment.
    ends: Vec<(usize, u64)>,
    /// In the segment's last batch: how reading it ended.
    end: Option<Result<(), Error>>,
}

impl Batch {
    /// Starts anew, and keeps the memory of a usual batch.
    fn begin(&mut self, segment: usize) {
        self.segment = segment;
        self.bytes.clear();
        self.bytes.shrink_to(2 * BATCH_BYTES);
        self.ends.clear();
        self.end = None;
    }

    /// Fills it with the next records.
    fn fill(&mut self, reader: &mut SegmentReader) {
        // An empty record takes memory, too.
        while self.bytes.len() + size_of_val(&*self.ends) < BATCH_BYTES && self.end.is_none() {
            match reader.next_record(&mut self.bytes) {
                Ok(true) => self.ends.push((self.bytes.len(), reader.good_offset())),
                Ok(false) => self.end = Some(Ok(())),
                Err(error) => self.end = Some(Err(error)),
            }
        }
    }

    fn hand_on(
        &self,
        segments: &[PathBuf],
        taken: &mut u64,
        each: &mut dyn FnMut(Step<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Some(path) = segments.get(self.segment) else { return Ok(()) };
        let mut start = 0;
        for &(end, next) in &self.ends {
            let payload = self.bytes.get(start..end).unwrap_or_default();
            each(Step::Record(Place { path, offset: *taken }, payload))?;
            (start, *taken) = (end, next);
        }
        each(Step::BatchEnd)?;
        match &self.end {
            Some(Ok(())) => each(Step::SegmentEnd),
            Some(Err(error)) => Err(error.clone()),
            None => Ok(()),
        }
    }
}

/// Reads `segments` and hands every batch to `each`, until that returns false or a segment cannot be read on.
fn batches(fs: &dyn Fs, segments: &[PathBuf], each: &mut dyn FnMut(&Batch) -> bool) {
    let bytes: u64 = segments.iter().map(|path| fs.size(path).ok().flatten().unwrap_or(0)).sum();
    if bytes < READ_AHEAD_BYTES_MIN {
        return read_here(fs, segments, each);
    }
    thread::scope(|scope| {
        let (full, batches) = mpsc::sync_channel(1);
        let (empty, spares) = mpsc::channel();
        let read_ahead = move || {
            read(fs, segments, &mut |batch| {
                full.send(batch).ok()?;
                Some(spares.try_recv().unwrap_or_default())
            });
        };
        let reader = thread::Builder::new().name("wal-reader".to_owned()).spawn_scoped(scope, read_ahead);
        if reader.is_err() {
            return read_here(fs, segments, each);
        }
        // When this ends early, nobody takes the reader's next batch, and it ends too.
        while let Ok(batch) = batches.recv() {
            if !each(&batch) {
                break;
            }
            // The reader may have ended.
            let _ = empty.send(batch);
        }
    });
}

/// The same without another thread.
fn read_here(fs: &dyn Fs, segments: &[PathBuf], each: &mut dyn FnMut(&Batch) -> bool) {
    read(fs, segments, &mut |batch| each(&batch).then_some(batch));
}

/// Reads until `hand_on` gives no batch to fill, or a segment cannot be read on.
fn read(fs: &dyn Fs, segments: &[PathBuf], hand_on: &mut dyn FnMut(Batch) -> Option<Batch>) {
    let mut batch = Batch::default();
    for (position, path) in segments.iter().enumerate() {
        let mut reader = SegmentReader::open(fs, path);
        loop {
            batch.begin(position);
            match &mut reader {
                Ok(reader) => batch.fill(reader),
                Err(error) => batch.end = Some(Err(error.clone())),
            }
            let (ended, failed) = (batch.end.is_some(), matches!(batch.end, Some(Err(_))));
            match hand_on(batch) {
                Some(spare) if !failed => batch = spare,
                _ => return,
            }
            if ended {
                break;
            }
        }
    }
}
