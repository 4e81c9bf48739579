//! Writes an index file in one pass: symbols, then series as they come, then postings and the tables.
//!
//! ```text
//! BAAAD700 02 | symbols | series (16-byte aligned) | postings (4-byte aligned) | postings offset table | TOC
//! ```
//! The postings lists stand back to back in the table's order, the last one right before the table: Thanos derives
//! the end of each list from the next one's start.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use crate::encoding::{crc, put_string, put_uvarint, put_varint};
use crate::error::Error;
use crate::fs::{File, Fs};

const HEADER: [u8; 5] = [0xba, 0xaa, 0xd7, 0x00, 2];
/// Series begin at multiples of this; their id is the offset divided by it.
pub(super) const SERIES_ALIGN: u64 = 16;
/// Postings are gathered for so many entries at a time at least; each time costs a walk over all series.
const POSTINGS_PER_WALK_MIN: usize = 1 << 16;

/// Where a chunk is and which times it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkMeta {
    /// Its first time, milliseconds.
    pub mint: i64,
    /// Its last time, milliseconds, inclusive.
    pub maxt: i64,
    /// File and offset, see [`crate::block::ChunkReader`].
    pub reference: u64,
}

/// An index being written.
#[derive(Debug)]
pub(crate) struct IndexWriter {
    path: PathBuf,
    file: BufWriter<Box<dyn File>>,
    offset: u64,
    symbols: Vec<Box<[u8]>>,
    series_start: u64,
    /// Ids of the series as they came.
    ids: Vec<u32>,
    /// How many series have a name, by the name's position in the symbols.
    names: BTreeMap<u32, usize>,
    buffer: Vec<u8>,
}

impl IndexWriter {
    /// Creates the file and writes the symbols, which are sorted and unique.
    pub(crate) fn create(fs: &dyn Fs, path: &Path, symbols: Vec<Box<[u8]>>) -> Result<Self, Error> {
        let file = fs.create_new(path).map_err(Error::io("create", path))?;
        let mut writer = Self {
            path: path.to_owned(),
            file: BufWriter::with_capacity(1 << 18, file),
            offset: 0,
            symbols,
            series_start: 0,
            ids: Vec::new(),
            names: BTreeMap::new(),
            buffer: Vec::new(),
        };
        writer.write(&HEADER)?;
        writer.write_symbols()?;
        writer.series_start = writer.offset;
        Ok(writer)
    }

    fn write_symbols(&mut self) -> Result<(), Error> {
        let mut body = Vec::new();
        body.extend_from_slice(&self.length(self.symbols.len())?.to_be_bytes());
        for symbol in &self.symbols {
            put_string(&mut body, symbol);
        }
        self.write_section(&body)
    }

    /// Adds a series: positions of its names and values in the symbols, and its chunks in order of time. Series
    /// come sorted by their labels.
    pub(crate) fn add_series(
        &mut self,
        labels: impl ExactSizeIterator<Item = (u32, u32)>,
        chunks: &[ChunkMeta],
    ) -> Result<(), Error> {
        self.pad(SERIES_ALIGN)?;
        let id = u32::try_from(self.offset / SERIES_ALIGN)
            .map_err(|_| Error::corrupt(&self.path, self.offset, "more series than an index can address"))?;
        let mut body = std::mem::take(&mut self.buffer);
        body.clear();
        put_uvarint(&mut body, labels.len() as u64);
        for (name, value) in labels {
            put_uvarint(&mut body, u64::from(name));
            put_uvarint(&mut body, u64::from(value));
            *self.names.entry(name).or_default() += 1;
        }
        put_uvarint(&mut body, chunks.len() as u64);
        let mut previous: Option<ChunkMeta> = None;
        for chunk in chunks {
            match previous {
                None => {
                    put_varint(&mut body, chunk.mint);
                    put_uvarint(&mut body, chunk.maxt.wrapping_sub(chunk.mint) as u64);
                    put_uvarint(&mut body, chunk.reference);
                }
                Some(before) => {
                    put_uvarint(&mut body, chunk.mint.wrapping_sub(before.maxt) as u64);
                    put_uvarint(&mut body, chunk.maxt.wrapping_sub(chunk.mint) as u64);
                    put_varint(&mut body, chunk.reference.wrapping_sub(before.reference) as i64);
                }
            }
            previous = Some(*chunk);
        }
        self.ids.push(id);
        let mut length = Vec::with_capacity(10);
        put_uvarint(&mut length, body.len() as u64);
        self.write(&length)?;
        let sum = crc(&body);
        self.write(&body)?;
        self.write(&sum.to_be_bytes())?;
        self.buffer = body;
        Ok(())
    }

    /// Writes postings, tables and TOC, and makes the file durable. `labels` gives, as often as it is called, the
    /// labels of all series in the order in which they were added.
    pub(crate) fn finish<I, L>(mut self, labels: impl Fn() -> I) -> Result<(), Error>
    where
        I: Iterator<Item = L>,
        L: Iterator<Item = (u32, u32)>,
    {
        let series_end = self.offset;
        self.pad(4)?;
        let postings_start = self.offset;
        let mut table = Vec::new();
        let mut entries = 0usize;

        let ids = std::mem::take(&mut self.ids);
        self.table_entry(&mut table, &[], &[]);
        self.write_postings(ids.len(), ids.iter().copied())?;
        entries += 1;
        let symbols = std::mem::take(&mut self.symbols);
        let text = |position: u32| symbols.get(position as usize).map_or(&[][..], |text| text);
        for (some, count) in walks(&std::mem::take(&mut self.names), ids.len()) {
            // Name, value and series id of every label with one of these names.
            let mut postings: Vec<(u32, u32, u32)> = Vec::with_capacity(count);
            for (labels, &id) in labels().zip(&ids) {
                let wanted = labels.filter(|(name, _)| some.contains(name));
                postings.extend(wanted.map(|(name, value)| (name, value, id)));
            }
            postings.sort_unstable();
            for same in postings.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
                let Some(&(name, value, _)) = same.first() else { continue };
                self.table_entry(&mut table, text(name), text(value));
                self.write_postings(same.len(), same.iter().map(|(_, _, id)| *id))?;
                entries += 1;
            }
        }

        let table_start = self.offset;
        let mut body = Vec::with_capacity(table.len() + 4);
        body.extend_from_slice(&self.length(entries)?.to_be_bytes());
        body.append(&mut table);
        self.write_section(&body)?;

        // Symbols, series, label indices (none: empty at the end of the series), their table, postings, table.
        let toc =
            [HEADER.len() as u64, self.series_start, series_end, table_start, postings_start, table_start];
        let toc: Vec<u8> = toc.iter().flat_map(|offset| offset.to_be_bytes()).collect();
        self.write(&toc)?;
        self.write(&crc(&toc).to_be_bytes())?;
        self.file.flush().map_err(Error::io("write", &self.path))?;
        self.file.get_ref().sync_all().map_err(Error::io("fsync", &self.path))
    }

    fn table_entry(&self, table: &mut Vec<u8>, name: &[u8], value: &[u8]) {
        table.push(2);
        put_string(table, name);
        put_string(table, value);
        put_uvarint(table, self.offset);
    }

    fn write_postings(&mut self, count: usize, ids: impl Iterator<Item = u32>) -> Result<(), Error> {
        let mut body = std::mem::take(&mut self.buffer);
        body.clear();
        body.extend_from_slice(&self.length(count)?.to_be_bytes());
        for id in ids {
            body.extend_from_slice(&id.to_be_bytes());
        }
        self.write_section(&body)?;
        self.buffer = body;
        Ok(())
    }

    /// Length, body, CRC of the body.
    fn write_section(&mut self, body: &[u8]) -> Result<(), Error> {
        self.write(&self.length(body.len())?.to_be_bytes())?;
        self.write(body)?;
        self.write(&crc(body).to_be_bytes())
    }

    fn length(&self, n: usize) -> Result<u32, Error> {
        u32::try_from(n).map_err(|_| Error::corrupt(&self.path, self.offset, "a section would pass 4 GiB"))
    }

    fn pad(&mut self, align: u64) -> Result<(), Error> {
        let over = self.offset % align;
        if over == 0 {
            return Ok(());
        }
        let zeros = [0u8; SERIES_ALIGN as usize];
        self.write(zeros.get(..(align - over) as usize).unwrap_or_default())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes).map_err(Error::io("write", &self.path))?;
        self.offset += bytes.len() as u64;
        Ok(())
    }
}

/// Splits the names into ranges for one walk each, so that what is gathered at once stays about as many entries as
/// there are series: memory in proportion to the rest of what writing a block needs. Gives each range with its
/// number of entries.
fn walks(names: &BTreeMap<u32, usize>, series: usize) -> Vec<(RangeInclusive<u32>, usize)> {
    let entries_max = series.max(POSTINGS_PER_WALK_MIN);
    let mut walks: Vec<(RangeInclusive<u32>, usize)> = Vec::new();
    for (&name, &count) in names {
        match walks.last_mut() {
            Some((range, entries)) if *entries + count <= entries_max => {
                *range = *range.start()..=name;
                *entries += count;
            }
            _ => walks.push((name..=name, count)),
        }
    }
    walks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_gathers_no_more_than_there_are_series_unless_one_name_has_more() {
        let names = BTreeMap::from([(1, 60_000), (4, 6_000), (5, 5_000), (9, 100_000), (11, 1)]);
        assert_eq!(walks(&names, 10), [(1..=1, 60_000), (4..=5, 11_000), (9..=9, 100_000), (11..=11, 1)]);
        assert_eq!(walks(&names, 200_000).len(), 1);
    }
}
