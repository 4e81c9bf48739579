//! Finished chunks: with their bytes in memory, or written to a head chunk file and known by where they are.
//!
//! Owns neither encodings ([`crate::chunkenc`]) nor files.

use crate::chunkenc::{ChunkIter, Encoding};
use crate::sample::Value;

/// Where a chunk is in the head chunk files: the file's number and the offset of the chunk's entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ChunkRef(u64);

impl ChunkRef {
    /// The entry at `offset` of file number `file`.
    pub(crate) fn new(file: u32, offset: u32) -> Self {
        Self(u64::from(file) << 32 | u64::from(offset))
    }

    /// The file's number.
    pub(crate) fn file(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Where the entry begins in the file.
    pub(crate) fn offset(self) -> u32 {
        self.0 as u32
    }
}

/// A chunk with its bytes. Times are milliseconds, both inclusive.
#[derive(Debug, Clone)]
pub(crate) struct Chunk {
    pub(crate) mint: i64,
    pub(crate) maxt: i64,
    pub(crate) encoding: Encoding,
    pub(crate) data: Box<[u8]>,
}

impl Chunk {
    /// Its samples; ends early where the bytes are damaged.
    pub(crate) fn samples(&self) -> impl Iterator<Item = (i64, Value)> {
        ChunkIter::new(self.encoding, &self.data).map_while(Result::ok)
    }

    /// The value at `t`.
    pub(crate) fn value_at(&self, t: i64) -> Option<Value> {
        self.samples().take_while(|(at, _)| *at <= t).find(|(at, _)| *at == t).map(|(_, value)| value)
    }

    /// How many samples it holds.
    pub(crate) fn count(&self) -> u16 {
        self.data.first_chunk::<2>().map_or(0, |count| u16::from_be_bytes(*count))
    }
}

/// A chunk whose bytes are in a head chunk file. Times are milliseconds, both inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MappedChunk {
    pub(crate) mint: i64,
    pub(crate) maxt: i64,
    pub(crate) reference: ChunkRef,
}
