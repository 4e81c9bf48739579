//! Reads all head chunk files at start, and cuts off what cannot be read with all that came after it.

use std::path::Path;

use super::{DATA_BYTES_MAX, ENTRY_HEAD, ENTRY_REST_MAX, HEADER, parse};
use crate::chunk::{Chunk, ChunkRef};
use crate::encoding::Decoder;
use crate::error::Error;
use crate::fs::{File, Fs};
use crate::layout;

/// Read at once.
const WINDOW_BYTES: usize = 1 << 20;

/// An entry of a head chunk file.
#[derive(Debug)]
pub(crate) struct LoadedChunk {
    /// The series' reference.
    pub(crate) series: u64,
    /// Where the entry is.
    pub(crate) reference: ChunkRef,
    /// True if its samples came out of order.
    pub(crate) out_of_order: bool,
    pub(crate) chunk: Chunk,
}

/// Hands every chunk in the files of `dir` to `each`, in the order of the files. What stands from the first damage on is
/// removed, since the write-ahead log has it and a series must not have a gap; the damage is returned. Also tells the
/// number of the next file.
pub(crate) fn load(
    fs: &dyn Fs,
    dir: &Path,
    mut each: impl FnMut(LoadedChunk) -> Result<(), Error>,
) -> Result<(u32, Option<Error>), Error> {
    let files = layout::chunk_files(fs, dir).map_err(Error::io("list", dir))?;
    let next = files.last().map_or(1, |(number, _)| number + 1);
    for (position, (number, path)) in files.iter().enumerate() {
        let Some((offset, damage)) = load_file(fs, *number, path, &mut each)? else { continue };
        // The later files go first: should this be interrupted, the damage is still there to be seen.
        let later = files.get(position + 1..).unwrap_or_default();
        for (_, later) in later.iter().rev() {
            fs.remove_file(later).map_err(Error::io("remove", later))?;
        }
        fs.sync_dir(dir).map_err(Error::io("fsync", dir))?;
        if offset == 0 {
            fs.remove_file(path).map_err(Error::io("remove", path))?;
        } else {
            let file = fs.open_write(path).map_err(Error::io("open", path))?;
            file.set_len(offset).and_then(|()| file.sync_all()).map_err(Error::io("truncate", path))?;
        }
        return Ok((next, Some(damage)));
    }
    Ok((next, None))
}

/// Reads one file; what is wrong with it is returned, with the place from which on nothing is read.
fn load_file(
    fs: &dyn Fs,
    number: u32,
    path: &Path,
    each: &mut impl FnMut(LoadedChunk) -> Result<(), Error>,
) -> Result<Option<(u64, Error)>, Error> {
    let file = fs.open(path).map_err(Error::io("open", path))?;
    let mut window = Window { file: file.as_ref(), path, start: 0, bytes: Vec::new() };
    let bad = |offset: u64, what: &str| Ok(Some((offset, Error::corrupt(path, offset, what))));
    if window.at(0, HEADER.len())? != HEADER {
        return bad(0, "it does not begin as a head chunk file");
    }
    let mut offset = HEADER.len() as u64;
    loop {
        let head = window.at(offset, ENTRY_HEAD + ENTRY_REST_MAX)?;
        if head.iter().all(|&byte| byte == 0) {
            // The end, or what a preallocated file has behind it.
            return Ok(None);
        }
        let mut decoder = Decoder::new(head);
        let length = decoder.take(ENTRY_HEAD).and_then(|_| decoder.uvarint());
        let Some(length) =
            length.ok().and_then(|len| usize::try_from(len).ok()).filter(|&l| l <= DATA_BYTES_MAX)
        else {
            return bad(offset, "a chunk's head is damaged");
        };
        let data_at = decoder.offset();
        let entry_len = data_at + length + 4;
        let (series, chunk, out_of_order) =
            match parse(window.at(offset, entry_len)?, data_at, data_at + length) {
                Ok(parsed) => parsed,
                Err(what) => return bad(offset, what),
            };
        let Ok(at) = u32::try_from(offset) else { return bad(offset, "the file is too large") };
        each(LoadedChunk { series, reference: ChunkRef::new(number, at), out_of_order, chunk })?;
        offset += entry_len as u64;
    }
}

/// A part of a file in memory.
struct Window<'f> {
    file: &'f dyn File,
    path: &'f Path,
    start: u64,
    bytes: Vec<u8>,
}

impl Window<'_> {
    /// Up to `len` bytes at `offset`; fewer at the end of the file.
    fn at(&mut self, offset: u64, len: usize) -> Result<&[u8], Error> {
        let from = offset.wrapping_sub(self.start) as usize;
        if offset < self.start || from.saturating_add(len) > self.bytes.len() {
            self.bytes.resize(len.max(WINDOW_BYTES), 0);
            let read = self.file.read_at(&mut self.bytes, offset).map_err(Error::io("read", self.path))?;
            self.bytes.truncate(read);
            self.start = offset;
        }
        let from = (offset - self.start) as usize;
        let to = self.bytes.len().min(from + len);
        Ok(self.bytes.get(from..to).unwrap_or_default())
    }
}
