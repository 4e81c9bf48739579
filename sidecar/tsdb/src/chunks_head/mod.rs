//! Head chunk files: finished chunks that left memory before their block is cut. Layout: `docs/format/chunks_head.md`.
//!
//! ```text
//! file  = 0130BC91 | version 1 | 000 | entry …
//! entry = series reference be64 | mint be64 | maxt be64 | encoding u8 | uvarint length | data | CRC-32C be32
//! ```
//! Nothing depends on these files: until a block has their samples, the write-ahead log has them too. So they are not
//! synced entry by entry, and what is damaged is cut off at start. Which chunks are written is the head's to say.

mod load;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::chunk::{Chunk, ChunkRef};
use crate::chunkenc::Encoding;
use crate::encoding::{Decoder, crc, put_uvarint};
use crate::error::Error;
use crate::fs::{File, Fs};
use crate::{layout, lock};

pub(crate) use load::{LoadedChunk, load};

const HEADER: [u8; 8] = [0x01, 0x30, 0xbc, 0x91, 1, 0, 0, 0];
/// A file takes no further chunk beyond this size.
const FILE_BYTES_MAX: u32 = 128 << 20;
/// Bytes of an entry in front of the length.
const ENTRY_HEAD: usize = 25;
/// The longest length and the checksum.
const ENTRY_REST_MAX: usize = 5 + 4;
/// The most data an entry may claim: far above what a chunk grows to.
const DATA_BYTES_MAX: usize = 16 << 20;
/// Marks a chunk of samples out of order.
const OUT_OF_ORDER: u8 = 0x80;
/// Read at once: most chunks are smaller.
const READ_BYTES: usize = 2048;
/// Buffered before it is written.
const BUFFER_BYTES_MAX: usize = 256 << 10;

/// The head chunk files of a tenant.
#[derive(Debug)]
pub(crate) struct HeadChunks {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    files: Mutex<Files>,
}

#[derive(Debug)]
struct Files {
    open: BTreeMap<u32, Arc<dyn File>>,
    next: u32,
    writing: Option<Writing>,
}

/// The file that chunks are added to; nothing is in `open` before it is written.
#[derive(Debug)]
struct Writing {
    number: u32,
    path: PathBuf,
    file: Box<dyn File>,
    /// Where the next entry goes.
    offset: u32,
    buffer: Vec<u8>,
}

impl HeadChunks {
    /// Adds to `dir`; files below `next` stay as they are.
    pub(crate) fn new(fs: &Arc<dyn Fs>, dir: &Path, next: u32) -> Self {
        let files = Files { open: BTreeMap::new(), next, writing: None };
        Self { fs: Arc::clone(fs), dir: dir.to_owned(), files: Mutex::new(files) }
    }

    /// Writes chunks of one series, and tells where they are. They can be read after [`Self::flush`]. After an error
    /// what was written since the last flush is not there.
    pub(crate) fn write(&self, series: u64, chunks: &[Chunk]) -> Result<Vec<ChunkRef>, Error> {
        let mut files = lock(&self.files)?;
        let written = self.write_to(&mut files, series, chunks);
        if written.is_err() {
            // Where the file ends now is unknown, so nothing is added to it.
            files.writing = None;
        }
        written
    }

    fn write_to(&self, files: &mut Files, series: u64, chunks: &[Chunk]) -> Result<Vec<ChunkRef>, Error> {
        let mut references = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            let writing = self.writing(files, chunk.data.len())?;
            references.push(ChunkRef::new(writing.number, writing.offset));
            let start = writing.buffer.len();
            let out = &mut writing.buffer;
            out.extend_from_slice(&series.to_be_bytes());
            out.extend_from_slice(&chunk.mint.to_be_bytes());
            out.extend_from_slice(&chunk.maxt.to_be_bytes());
            out.push(chunk.encoding as u8);
            put_uvarint(out, chunk.data.len() as u64);
            out.extend_from_slice(&chunk.data);
            let sum = crc(out.get(start..).unwrap_or_default());
            out.extend_from_slice(&sum.to_be_bytes());
            writing.offset += (out.len() - start) as u32;
            if out.len() >= BUFFER_BYTES_MAX {
                writing.flush()?;
            }
        }
        Ok(references)
    }

    /// Hands everything to the operating system, so that it can be read.
    pub(crate) fn flush(&self) -> Result<(), Error> {
        let mut files = lock(&self.files)?;
        let flushed = files.writing.as_mut().map_or(Ok(()), Writing::flush);
        if flushed.is_err() {
            files.writing = None;
        }
        flushed
    }

    /// The file for `len` more bytes of data.
    fn writing<'f>(&self, files: &'f mut Files, len: usize) -> Result<&'f mut Writing, Error> {
        let room = FILE_BYTES_MAX.saturating_sub((ENTRY_HEAD + ENTRY_REST_MAX + len) as u32);
        if files.writing.as_ref().is_some_and(|writing| writing.offset > room)
            && let Some(mut full) = files.writing.take()
        {
            full.flush()?;
            full.file.sync_all().map_err(Error::io("fsync", &full.path))?;
        }
        match &mut files.writing {
            Some(writing) => Ok(writing),
            none => {
                self.fs.create_dir_durable(&self.dir).map_err(Error::io("create", &self.dir))?;
                self.sync_newest()?;
                let number = files.next;
                let path = self.dir.join(layout::chunk_file_name(number));
                let file = self.fs.create_durable(&path).map_err(Error::io("create", &path))?;
                files.next += 1;
                let offset = HEADER.len() as u32;
                Ok(none.insert(Writing { number, path, file, offset, buffer: HEADER.to_vec() }))
            }
        }
    }

    /// Syncs the newest file, which another run, or a write that failed, may have left unsynced: a power cut must not take
    /// from a file and leave a later one.
    fn sync_newest(&self) -> Result<(), Error> {
        let files = layout::chunk_files(self.fs.as_ref(), &self.dir).map_err(Error::io("list", &self.dir))?;
        let Some((_, path)) = files.last() else { return Ok(()) };
        let synced = self.fs.open_write(path).and_then(|file| file.sync_all());
        synced.map_err(Error::io("fsync", path))
    }

    /// The chunk at `reference`, checked.
    ///
    /// # Errors
    /// [`Error::Corrupt`] with file and offset, [`Error::Io`].
    pub(crate) fn read(&self, reference: ChunkRef) -> Result<Chunk, Error> {
        let path = self.dir.join(layout::chunk_file_name(reference.file()));
        let file = self.open(reference.file(), &path)?;
        let bad = |what: &str| Error::corrupt(&path, u64::from(reference.offset()), what);
        let mut bytes = vec![0; READ_BYTES];
        let read = |bytes: &mut [u8]| {
            file.read_at(bytes, u64::from(reference.offset())).map_err(Error::io("read", &path))
        };
        let mut len = read(&mut bytes)?;
        let entry_len = |bytes: &[u8]| {
            let mut entry = Decoder::new(bytes);
            entry.take(ENTRY_HEAD)?;
            let data = entry.uvarint()?;
            Ok((entry.offset(), data))
        };
        let whole = entry_len(bytes.get(..len).unwrap_or_default());
        let (data_at, data_len) =
            whole.map_err(|_: crate::encoding::Truncated| bad("a chunk's head is cut off"))?;
        let data_len = usize::try_from(data_len).ok().filter(|&len| len <= DATA_BYTES_MAX);
        let data_end = data_at + data_len.ok_or_else(|| bad("a chunk claims too many bytes"))?;
        if data_end + 4 > len {
            bytes.resize(data_end + 4, 0);
            len = read(&mut bytes)?;
        }
        let entry = bytes.get(..len.min(data_end + 4)).unwrap_or_default();
        parse(entry, data_at, data_end).map_err(bad).map(|loaded| loaded.1)
    }

    fn open(&self, number: u32, path: &Path) -> Result<Arc<dyn File>, Error> {
        let mut files = lock(&self.files)?;
        if let Some(file) = files.open.get(&number) {
            return Ok(Arc::clone(file));
        }
        let file: Arc<dyn File> = Arc::from(self.fs.open(path).map_err(Error::io("open", path))?);
        files.open.insert(number, Arc::clone(&file));
        Ok(file)
    }

    /// Removes the files below the `oldest` that a chunk of the head is in; all where there is none.
    pub(crate) fn truncate(&self, oldest: Option<u32>) -> Result<(), Error> {
        let mut files = lock(&self.files)?;
        let listed =
            layout::chunk_files(self.fs.as_ref(), &self.dir).map_err(Error::io("list", &self.dir))?;
        let oldest = oldest.unwrap_or(files.next);
        if files.writing.as_ref().is_some_and(|writing| writing.number < oldest) {
            files.writing = None;
        }
        for (number, path) in listed.into_iter().filter(|(number, _)| *number < oldest) {
            files.open.remove(&number);
            self.fs.remove_file(&path).map_err(Error::io("remove", &path))?;
        }
        Ok(())
    }
}

impl Writing {
    fn flush(&mut self) -> Result<(), Error> {
        self.file.write_all(&self.buffer).map_err(Error::io("write", &self.path))?;
        self.buffer.clear();
        self.buffer.shrink_to(2 * BUFFER_BYTES_MAX);
        Ok(())
    }
}

/// A whole entry whose data is at `data_at..data_end`: the series' reference and the chunk.
fn parse(entry: &[u8], data_at: usize, data_end: usize) -> Result<(u64, Chunk, bool), &'static str> {
    let (body, sum) = entry.split_at_checked(data_end).ok_or("a chunk is cut off")?;
    if sum != crc(body).to_be_bytes() {
        return Err("a chunk's checksum does not match");
    }
    let mut head = Decoder::new(body);
    let mut number = || head.be64().map_err(|_| "a chunk's head is cut off");
    let (series, mint, maxt) = (number()?, number()? as i64, number()? as i64);
    let kind = body.get(ENTRY_HEAD - 1).copied().unwrap_or_default();
    let encoding = Encoding::try_from(kind & !OUT_OF_ORDER).map_err(|_| "a chunk's encoding is unknown")?;
    let data = body.get(data_at..).unwrap_or_default().into();
    Ok((series, Chunk { mint, maxt, encoding, data }, kind & OUT_OF_ORDER != 0))
}

#[cfg(test)]
mod tests;
