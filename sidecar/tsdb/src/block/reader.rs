//! A block open for reading: its description, its series in the order of their labels, and their chunks.
//!
//! Nothing of it is held whole; see [`IndexReader`]. Readers share it freely, since files are read at given places.

use std::path::{Path, PathBuf};

use super::chunk_reader::{ChunkReader, EncodedChunk};
use super::meta::Meta;
use super::tombstones::Tombstones;
use crate::error::Error;
use crate::fs::Fs;
use crate::index::{ChunkMeta, IndexReader, Postings, SeriesEntry, Symbol, SymbolCache};
use crate::read_at::Cursor;

/// A block open for reading.
#[derive(Debug)]
pub struct Block {
    dir: PathBuf,
    meta: Meta,
    index: IndexReader,
    chunks: ChunkReader,
    tombstones: Tombstones,
}

/// One series of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    /// Its id in the block.
    pub id: u32,
    /// Names and values, sorted by name.
    pub labels: Vec<(Symbol, Symbol)>,
    /// In order of time.
    pub chunks: Vec<ChunkMeta>,
}

impl Block {
    /// Opens the block in a directory that its ULID names.
    pub fn open(fs: &dyn Fs, dir: &Path) -> Result<Self, Error> {
        Ok(Self {
            dir: dir.to_owned(),
            meta: Meta::read_from(fs, dir)?,
            index: IndexReader::open(fs, &dir.join("index"))?,
            chunks: ChunkReader::open(fs, &dir.join("chunks"))?,
            tombstones: Tombstones::read(fs, &dir.join("tombstones"))?,
        })
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its description.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Its index: symbols, label names and values, postings.
    pub fn index(&self) -> &IndexReader {
        &self.index
    }

    /// What of it is deleted. Chunks still hold the deleted samples.
    pub fn tombstones(&self) -> &Tombstones {
        &self.tombstones
    }

    /// All series in the order of their labels.
    pub fn series(&self) -> Result<SeriesIter<'_, Postings<'_>>, Error> {
        Ok(self.series_of(self.index.all_postings()?))
    }

    /// The series with these ids, in the order of the ids; ascending ids give ascending labels.
    pub fn series_of<P: Iterator<Item = Result<u32, Error>>>(&self, postings: P) -> SeriesIter<'_, P> {
        let symbols = SymbolCache::new(&self.index);
        SeriesIter {
            index: &self.index,
            postings,
            section: self.index.series_section(),
            symbols,
            failed: false,
        }
    }

    /// The bytes of a chunk.
    pub fn chunk(&self, chunk: &ChunkMeta) -> Result<EncodedChunk, Error> {
        self.chunks.chunk(chunk.reference)
    }

    /// The error that something is wrong with a chunk.
    pub fn corrupt_chunk(&self, chunk: &ChunkMeta, what: impl ToString) -> Error {
        self.chunks.corrupt(chunk.reference, what)
    }

    pub(crate) fn chunk_reader(&self) -> &ChunkReader {
        &self.chunks
    }
}

/// Iterates over series; ends after the first error.
#[derive(Debug)]
pub struct SeriesIter<'b, P> {
    index: &'b IndexReader,
    postings: P,
    section: Cursor<'b>,
    symbols: SymbolCache<'b>,
    failed: bool,
}

impl<P: Iterator<Item = Result<u32, Error>>> SeriesIter<'_, P> {
    fn read(&mut self, id: Result<u32, Error>) -> Result<Series, Error> {
        let id = id?;
        let SeriesEntry { labels, chunks } = self.index.series_at(&mut self.section, id)?;
        let labels =
            labels.iter().map(|&(name, value)| Ok((self.symbols.get(name)?, self.symbols.get(value)?)));
        Ok(Series { id, labels: labels.collect::<Result<_, Error>>()?, chunks })
    }
}

impl<P: Iterator<Item = Result<u32, Error>>> Iterator for SeriesIter<'_, P> {
    type Item = Result<Series, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let id = self.postings.next()?;
        let series = self.read(id);
        self.failed = series.is_err();
        Some(series)
    }
}

#[cfg(test)]
mod tests;
