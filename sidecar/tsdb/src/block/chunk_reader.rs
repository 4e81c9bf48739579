//! Reads chunks from the segment files of a block, one at a time, by their references.
//!
//! Owns the framing, see [`super::chunks`]; what a chunk's bytes mean is its encoding's to say.

use std::path::{Path, PathBuf};

use super::chunks::MAGIC;
use crate::chunkenc::{ChunkIter, Encoding};
use crate::encoding::crc;
use crate::error::Error;
use crate::fs::Fs;
use crate::layout;
use crate::read_at::ReadAt;

/// A chunk's bytes, checked against their checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedChunk {
    /// How they are to be read.
    pub encoding: Encoding,
    /// The encoded samples.
    pub data: Vec<u8>,
}

/// The chunk files of a block, open for reading.
#[derive(Debug)]
pub struct ChunkReader {
    files: Vec<ReadAt>,
    path: PathBuf,
}

impl EncodedChunk {
    /// The samples, by time and value.
    pub(crate) fn samples(&self) -> ChunkIter<'_> {
        ChunkIter::new(self.encoding, &self.data)
    }
}

impl ChunkReader {
    /// Opens every file in a block's `chunks/`, which are numbered from 1 without a gap.
    pub fn open(fs: &dyn Fs, dir: &Path) -> Result<Self, Error> {
        let mut files = Vec::new();
        for (number, path) in layout::segments(fs, dir).map_err(Error::io("list", dir))? {
            if number != files.len() as u64 + 1 {
                return Err(Error::corrupt(&path, 0, format!("chunk file {} is missing", files.len() + 1)));
            }
            let file = ReadAt::open(fs, &path)?;
            let mut magic = Vec::new();
            file.read(0, MAGIC.len(), &mut magic)?;
            if magic.get(..5) != MAGIC.get(..5) {
                return Err(file.corrupt(0, "it does not begin as a chunk file of version 1 does"));
            }
            files.push(file);
        }
        Ok(Self { files, path: dir.to_owned() })
    }

    /// The chunk with this reference: `file number from 0 << 32 | offset`.
    pub fn chunk(&self, reference: u64) -> Result<EncodedChunk, Error> {
        let (file, offset) = self.find(reference)?;
        let mut cursor = file.cursor(offset, file.len());
        let len = cursor.length()?;
        // Encoding, data and checksum, so that one read of the file mostly serves all.
        let bytes = cursor.take(len + 1 + 4)?;
        let (body, stored) = bytes.split_at(len + 1);
        if stored != crc(body).to_be_bytes() {
            return Err(file.corrupt(offset, "the checksum of a chunk does not match"));
        }
        let (encoding, data) = body.split_first().unwrap_or((&0, &[]));
        let encoding = Encoding::try_from(*encoding).map_err(|e| file.corrupt(offset, e))?;
        Ok(EncodedChunk { encoding, data: data.to_vec() })
    }

    /// The error that something is wrong with the chunk of this reference.
    pub(crate) fn corrupt(&self, reference: u64, what: impl ToString) -> Error {
        match self.find(reference) {
            Ok((file, offset)) => file.corrupt(offset, what),
            Err(error) => error,
        }
    }

    fn find(&self, reference: u64) -> Result<(&ReadAt, u64), Error> {
        let (number, offset) = (reference >> 32, reference & u64::from(u32::MAX));
        let file = usize::try_from(number).ok().and_then(|number| self.files.get(number));
        let file = file.ok_or_else(|| {
            Error::corrupt(&self.path, 0, format!("there is no chunk file {}", number.saturating_add(1)))
        })?;
        if offset < MAGIC.len() as u64 || offset >= file.len() {
            return Err(file.corrupt(offset, "there can be no chunk"));
        }
        Ok((file, offset))
    }

    /// Bytes of all files.
    pub fn size_bytes(&self) -> u64 {
        self.files.iter().map(ReadAt::len).sum()
    }
}
