//! Reads an index by positioned reads: symbols, series, postings.
//!
//! What stays in memory is the TOC and every 32nd entry of the symbols and of the postings table; both are read once
//! when the index is opened, with their checksums and their order. Series and postings lists are checked when they
//! are read. Ids of series ascend in the order of the labels.

use std::path::Path;

use super::postings::{Entries, Postings, PostingsTable};
use super::symbols::Symbols;
use super::toc::Toc;
use super::{ChunkMeta, SERIES_ALIGN};
use crate::encoding::{Decoder, Truncated, crc};
use crate::error::Error;
use crate::fs::Fs;
use crate::read_at::{Cursor, ReadAt};

const MAGIC: u32 = 0xbaaa_d700;

/// An index open for reading.
#[derive(Debug)]
pub struct IndexReader {
    file: ReadAt,
    toc: Toc,
    symbols: Symbols,
    table: PostingsTable,
}

/// One series as the index has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeriesEntry {
    /// Positions in the symbols of names and values.
    pub labels: Vec<(u32, u32)>,
    /// In order of time.
    pub chunks: Vec<ChunkMeta>,
}

impl IndexReader {
    /// Opens the file of version 2 at `path`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for version 1, [`Error::Corrupt`], [`Error::Io`].
    pub fn open(fs: &dyn Fs, path: &Path) -> Result<Self, Error> {
        let file = ReadAt::open(fs, path)?;
        let mut header = file.cursor(0, file.len());
        if header.be32()? != MAGIC {
            return Err(file.corrupt(0, "it does not begin as an index does"));
        }
        match header.byte()? {
            2 => {}
            1 => {
                let what = "an index of version 1";
                return Err(Error::Unsupported { path: file.path().to_owned(), what });
            }
            version => return Err(file.corrupt(4, format!("version {version} is unknown"))),
        }
        let toc = Toc::read(&file)?;
        let symbols = Symbols::read(&file, toc.symbols, toc.series)?;
        let table = PostingsTable::read(&file, toc.postings_table, toc.start)?;
        Ok(Self { file, toc, symbols, table })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// How many symbols there are.
    pub fn symbol_count(&self) -> u32 {
        self.symbols.count()
    }

    /// The symbol at a position.
    pub fn symbol(&self, position: u32) -> Result<Vec<u8>, Error> {
        self.symbols.get(&self.file, position)
    }

    /// The series with this id.
    pub fn series(&self, id: u32) -> Result<SeriesEntry, Error> {
        self.series_at(&mut self.series_section(), id)
    }

    /// All series, or none of them if there is no series.
    pub fn all_postings(&self) -> Result<Postings<'_>, Error> {
        self.list(self.table.all())
    }

    /// The series with this label; none if there is no such series.
    pub fn postings(&self, name: &[u8], value: &[u8]) -> Result<Postings<'_>, Error> {
        match self.table.find(&self.file, name, value)? {
            Some(list) => self.list(list),
            None => Ok(Postings::empty(&self.file)),
        }
    }

    /// The label names, sorted, with how many values each has.
    pub fn label_names(&self) -> impl Iterator<Item = (&[u8], u32)> {
        self.table.names()
    }

    /// The values of a label, sorted.
    pub fn label_values(&self, name: &[u8]) -> LabelValues<'_> {
        LabelValues { index: self, entries: self.table.entries_of(&self.file, name) }
    }

    /// A cursor for [`Self::series_at`].
    pub(crate) fn series_section(&self) -> Cursor<'_> {
        self.file.cursor(self.toc.series, self.toc.series_end)
    }

    /// The series with this id, and the cursor placed behind it.
    pub(crate) fn series_at(&self, cursor: &mut Cursor<'_>, id: u32) -> Result<SeriesEntry, Error> {
        let at = u64::from(id) * SERIES_ALIGN;
        if at < self.toc.series || at >= self.toc.series_end {
            return Err(self.file.corrupt(at, format!("there can be no series with id {id}")));
        }
        cursor.seek(at);
        let len = cursor.length()?;
        let body_at = cursor.at();
        // Body and checksum, so that what was read ahead serves both.
        let bytes = cursor.take(len + 4)?;
        let (body, stored) = bytes.split_at(len);
        if stored != crc(body).to_be_bytes() {
            return Err(self.file.corrupt(at, format!("the checksum of series {id} does not match")));
        }
        let mut decoder = Decoder::new(body);
        series_entry(&mut decoder).map_err(|what| {
            self.file.corrupt(body_at + decoder.offset() as u64, format!("series {id}: {what}"))
        })
    }

    /// The postings list at an offset.
    pub(super) fn list(&self, start: u64) -> Result<Postings<'_>, Error> {
        if start < self.toc.postings || start >= self.toc.postings_end {
            return Err(self.file.corrupt(start, "there can be no postings list"));
        }
        Postings::read(&self.file, start, self.toc.postings_end)
    }

    pub(super) fn file(&self) -> &ReadAt {
        &self.file
    }

    pub(super) fn toc(&self) -> &Toc {
        &self.toc
    }

    pub(super) fn table(&self) -> Entries<'_> {
        self.table.entries(&self.file)
    }
}

/// Decodes the body of a series.
fn series_entry(body: &mut Decoder<'_>) -> Result<SeriesEntry, String> {
    let truncated = |e: Truncated| e.to_string();
    let symbol = |body: &mut Decoder<'_>| {
        let n = body.uvarint().map_err(truncated)?;
        u32::try_from(n).map_err(|_| format!("there is no symbol {n}"))
    };
    let mut entry = SeriesEntry::default();
    for _ in 0..body.uvarint().map_err(truncated)? {
        entry.labels.push((symbol(body)?, symbol(body)?));
    }
    let chunks = body.uvarint().map_err(truncated)?;
    let mut previous: Option<ChunkMeta> = None;
    for _ in 0..chunks {
        let chunk = chunk_meta(body, previous).map_err(truncated)?.ok_or("the time of a chunk overflows")?;
        entry.chunks.push(chunk);
        previous = Some(chunk);
    }
    if !body.is_empty() {
        return Err(format!("bytes after the last of {chunks} chunks"));
    }
    Ok(entry)
}

/// The next chunk, by its distance from the one before; `None` where a time overflows.
fn chunk_meta(body: &mut Decoder<'_>, previous: Option<ChunkMeta>) -> Result<Option<ChunkMeta>, Truncated> {
    let mint = match previous {
        None => Some(body.varint()?),
        Some(previous) => previous.maxt.checked_add_unsigned(body.uvarint()?),
    };
    let length = body.uvarint()?;
    let reference = match previous {
        None => body.uvarint()?,
        Some(previous) => previous.reference.wrapping_add_signed(body.varint()?),
    };
    let times = mint.and_then(|mint| Some((mint, mint.checked_add_unsigned(length)?)));
    Ok(times.map(|(mint, maxt)| ChunkMeta { mint, maxt, reference }))
}

/// The values of a label, sorted.
#[derive(Debug)]
pub struct LabelValues<'f> {
    index: &'f IndexReader,
    entries: Entries<'f>,
}

/// One value of a label.
#[derive(Debug)]
pub struct LabelValue<'f> {
    /// The value.
    pub value: Vec<u8>,
    index: &'f IndexReader,
    list: u64,
}

impl<'f> LabelValue<'f> {
    /// The series that have it.
    pub fn postings(&self) -> Result<Postings<'f>, Error> {
        self.index.list(self.list)
    }
}

impl<'f> Iterator for LabelValues<'f> {
    type Item = Result<LabelValue<'f>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.entries.advance() {
            Ok(true) => {
                let value = std::mem::take(&mut self.entries.value);
                Some(Ok(LabelValue { value, index: self.index, list: self.entries.list }))
            }
            Ok(false) => None,
            Err(error) => {
                self.entries.stop();
                Some(Err(error))
            }
        }
    }
}

#[cfg(test)]
mod tests;
