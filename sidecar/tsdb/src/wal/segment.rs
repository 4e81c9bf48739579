//! A directory of segments being written: which file is open, and when the next begins.
//!
//! Owns files and their durability. Used by the live log and by checkpoints. Every error names the file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::page::{Framer, HEADER, SNAPPY};
use crate::error::Error;
use crate::fs::{File, Fs};
use crate::layout;
use crate::record::SYNC_MARK;
use crate::timing::Timer;

/// Writes framed records into consecutive segments. Nothing is durable before [`SegmentWriter::sync`].
#[derive(Debug)]
pub(super) struct SegmentWriter {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    path: PathBuf,
    file: Box<dyn File>,
    index: u64,
    framer: Framer,
    snappy: snap::raw::Encoder,
    compressed: Vec<u8>,
    /// Framed bytes not yet given to the operating system.
    buffer: Vec<u8>,
    /// Something was written since the last sync.
    dirty: bool,
    /// All of the open segment is synced, and it does not say so yet.
    mark_due: bool,
    syncs: Arc<Timer>,
}

/// Framed bytes are handed to the operating system at the latest when so many are waiting.
const BUFFER_BYTES_MAX: usize = 1 << 20;

impl SegmentWriter {
    /// Creates segment `index` in `dir`; it must not exist.
    pub(super) fn create(
        fs: &Arc<dyn Fs>,
        dir: &Path,
        index: u64,
        segment_bytes: u64,
    ) -> Result<Self, Error> {
        let (path, file) = Self::open(fs.as_ref(), dir, index)?;
        Ok(Self {
            fs: Arc::clone(fs),
            dir: dir.to_owned(),
            path,
            file,
            index,
            framer: Framer::new(segment_bytes),
            snappy: snap::raw::Encoder::new(),
            compressed: Vec::new(),
            buffer: Vec::new(),
            dirty: false,
            mark_due: false,
            syncs: Arc::default(),
        })
    }

    /// Times its syncs by `syncs`.
    pub(super) fn timed(self, syncs: &Arc<Timer>) -> Self {
        Self { syncs: Arc::clone(syncs), ..self }
    }

    fn open(fs: &dyn Fs, dir: &Path, index: u64) -> Result<(PathBuf, Box<dyn File>), Error> {
        let path = dir.join(layout::segment_name(index));
        let file = fs.create_durable(&path).map_err(Error::io("create", &path))?;
        Ok((path, file))
    }

    /// The index of the open segment.
    pub(super) fn index(&self) -> u64 {
        self.index
    }

    /// True if something was written since the last sync.
    pub(super) fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Adds one record, compressed where that makes it smaller; behind a sync mark where one is due.
    pub(super) fn write(&mut self, record: &[u8]) -> Result<(), Error> {
        self.dirty = true;
        let room = snap::raw::max_compress_len(record.len());
        if self.compressed.len() < room {
            self.compressed.resize(room, 0);
        }
        let (bytes, flag) = match self.snappy.compress(record, &mut self.compressed) {
            Ok(n) if n < record.len() => (self.compressed.get(..n).unwrap_or(record), SNAPPY),
            // Larger than snappy's 4 GiB, or incompressible: stored plain.
            _ => (record, 0),
        };
        let mark_len = if self.mark_due { HEADER + SYNC_MARK.len() } else { 0 };
        if self.framer.is_full_for(mark_len + bytes.len()) {
            let (compressed, flag) = (bytes.to_vec(), flag);
            self.next_segment()?;
            self.framer.frame(&compressed, flag, &mut self.buffer);
        } else {
            if std::mem::take(&mut self.mark_due) {
                self.framer.frame(SYNC_MARK, 0, &mut self.buffer);
            }
            self.framer.frame(bytes, flag, &mut self.buffer);
        }
        if room > BUFFER_BYTES_MAX {
            self.compressed = Vec::new();
        }
        if self.buffer.len() >= BUFFER_BYTES_MAX { self.flush() } else { Ok(()) }
    }

    /// Hands all bytes to the operating system.
    pub(super) fn flush(&mut self) -> Result<(), Error> {
        self.file.write_all(&self.buffer).map_err(Error::io("write", &self.path))?;
        self.buffer.clear();
        self.buffer.shrink_to(2 * BUFFER_BYTES_MAX);
        Ok(())
    }

    /// Hands all bytes to the operating system and waits until the device has them.
    pub(super) fn sync(&mut self) -> Result<(), Error> {
        self.flush()?;
        self.syncs.time(|| self.file.sync_data()).map_err(Error::io("fdatasync", &self.path))?;
        self.dirty = false;
        self.mark_due = true;
        Ok(())
    }

    /// Pads and syncs the open segment and begins the next.
    pub(super) fn next_segment(&mut self) -> Result<(), Error> {
        self.finish()?;
        let (path, file) = Self::open(self.fs.as_ref(), &self.dir, self.index + 1)?;
        self.index += 1;
        self.path = path;
        self.file = file;
        self.framer.next_segment();
        self.mark_due = false;
        Ok(())
    }

    /// Pads the open segment to a whole page and syncs it.
    pub(super) fn finish(&mut self) -> Result<(), Error> {
        self.framer.pad(&mut self.buffer);
        self.sync()
    }

    /// Takes back what a failed write or sync left in the open segment behind `offset`: nobody was told that it is
    /// stored, and after a failed sync the device may not have what the operating system still shows. Best effort.
    pub(super) fn take_back(&mut self, offset: u64) {
        self.buffer.clear();
        let _ = self.file.set_len(offset).and_then(|()| self.file.sync_all());
    }

    /// Bytes in the open segment, written or about to be.
    pub(super) fn offset(&self) -> u64 {
        self.framer.offset()
    }
}

/// Writes records into new segments of `dir` from `index` on, and makes them durable; returns the index for the next
/// segment.
pub(crate) fn write_segments(
    fs: &Arc<dyn Fs>,
    dir: &Path,
    index: u64,
    segment_bytes: u64,
    records: &[Vec<u8>],
) -> Result<u64, Error> {
    fs.create_dir_durable(dir).map_err(Error::io("create", dir))?;
    let mut writer = SegmentWriter::create(fs, dir, index, segment_bytes)?;
    records.iter().try_for_each(|record| writer.write(record))?;
    writer.finish()?;
    Ok(writer.index() + 1)
}
