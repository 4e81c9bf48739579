//! The postings of an index: for every label pair the ids of its series, ascending; and the table that says where
//! each list is.
//!
//! Of each name's values every 32nd stays in memory with its place in the table; the others are read from the file.

use crate::error::Error;
use crate::read_at::{Cursor, ReadAt};

/// Of so many values of one name one is remembered.
const EVERY: u32 = 32;
/// Strings in an entry of the table.
const KEY_PARTS: u8 = 2;

/// Where the postings lists are.
#[derive(Debug)]
pub(super) struct PostingsTable {
    /// Sorted by name.
    names: Vec<Name>,
    /// The list of all series.
    all: u64,
    /// Where the entries begin and end.
    start: u64,
    end: u64,
    entries: u32,
}

#[derive(Debug)]
struct Name {
    name: Box<[u8]>,
    values: u32,
    /// Every 32nd value, the first among them, and where its entry is.
    every: Vec<(Box<[u8]>, u64)>,
}

impl PostingsTable {
    /// Reads the table in `[start, end)` once: its checksum, its order, and what is to be remembered.
    pub(super) fn read(file: &ReadAt, start: u64, end: u64) -> Result<Self, Error> {
        let mut cursor = file.section(start, end, "the postings offset table")?;
        let entries = cursor.be32()?;
        let mut table = Self { names: Vec::new(), all: 0, start: cursor.at(), end: cursor.end(), entries };
        let mut walk = table.entries(file);
        if !(walk.advance()? && walk.name.is_empty() && walk.value.is_empty()) {
            return Err(file.corrupt(start, "the first postings are not those of all series"));
        }
        table.all = walk.list;
        let (mut name, mut value) = (Vec::new(), Vec::new());
        while walk.advance()? {
            if (&walk.name, &walk.value) <= (&name, &value) {
                return Err(file.corrupt(walk.at, "an entry does not sort after the one before"));
            }
            if table.names.is_empty() || walk.name != name {
                table.names.push(Name { name: walk.name.as_slice().into(), values: 0, every: Vec::new() });
            }
            if let Some(last) = table.names.last_mut() {
                if last.values.is_multiple_of(EVERY) {
                    last.every.push((walk.value.as_slice().into(), walk.at));
                }
                last.values += 1;
            }
            name.clone_from(&walk.name);
            value.clone_from(&walk.value);
        }
        if !walk.cursor.is_empty() {
            return Err(file.corrupt(walk.cursor.at(), format!("bytes after the last of {entries} entries")));
        }
        Ok(table)
    }

    /// Walks the table from its start.
    pub(super) fn entries<'f>(&self, file: &'f ReadAt) -> Entries<'f> {
        Entries::new(file, file.cursor(self.start, self.end), self.entries)
    }

    /// Offset of the list of all series.
    pub(super) fn all(&self) -> u64 {
        self.all
    }

    /// The label names, sorted, with how many values each has.
    pub(super) fn names(&self) -> impl Iterator<Item = (&[u8], u32)> {
        self.names.iter().map(|name| (&*name.name, name.values))
    }

    /// The entries of one name; none if no series has it.
    pub(super) fn entries_of<'f>(&self, file: &'f ReadAt, name: &[u8]) -> Entries<'f> {
        let found = self.names.binary_search_by(|n| (*n.name).cmp(name)).ok().and_then(|n| self.names.get(n));
        let first = found.and_then(|name| Some((name.every.first()?.1, name.values)));
        let (start, values) = first.unwrap_or((self.end, 0));
        Entries::new(file, file.cursor(start, self.end), values)
    }

    /// Offset of the list of one label pair.
    pub(super) fn find(&self, file: &ReadAt, name: &[u8], value: &[u8]) -> Result<Option<u64>, Error> {
        let found = self.names.binary_search_by(|n| (*n.name).cmp(name)).ok().and_then(|n| self.names.get(n));
        let Some(found) = found else { return Ok(None) };
        let after = found.every.partition_point(|(every, _)| **every <= *value);
        let Some((_, start)) = after.checked_sub(1).and_then(|before| found.every.get(before)) else {
            return Ok(None);
        };
        let mut walk = Entries::new(file, file.cursor(*start, self.end), EVERY);
        while walk.cursor.at() < self.end && walk.advance()? {
            if walk.name != name || walk.value.as_slice() > value {
                break;
            }
            if walk.value == value {
                return Ok(Some(walk.list));
            }
        }
        Ok(None)
    }
}

/// Walks entries of the table.
#[derive(Debug)]
pub(super) struct Entries<'f> {
    file: &'f ReadAt,
    cursor: Cursor<'f>,
    left: u32,
    /// The label pair of the current entry.
    pub(super) name: Vec<u8>,
    pub(super) value: Vec<u8>,
    /// Where its postings list is.
    pub(super) list: u64,
    /// Where the entry itself is.
    pub(super) at: u64,
}

impl<'f> Entries<'f> {
    fn new(file: &'f ReadAt, cursor: Cursor<'f>, left: u32) -> Self {
        Self { file, cursor, left, name: Vec::new(), value: Vec::new(), list: 0, at: 0 }
    }

    /// Ends the walk.
    pub(super) fn stop(&mut self) {
        self.left = 0;
    }

    /// Makes the next entry the current one; false after the last.
    pub(super) fn advance(&mut self) -> Result<bool, Error> {
        if self.left == 0 {
            return Ok(false);
        }
        self.left -= 1;
        self.at = self.cursor.at();
        let parts = self.cursor.byte()?;
        if parts != KEY_PARTS {
            return Err(self.file.corrupt(self.at, format!("an entry has {parts} strings, not {KEY_PARTS}")));
        }
        copy(self.cursor.string()?, &mut self.name);
        copy(self.cursor.string()?, &mut self.value);
        self.list = self.cursor.uvarint()?;
        Ok(true)
    }
}

fn copy(from: &[u8], to: &mut Vec<u8>) {
    to.clear();
    to.extend_from_slice(from);
}

/// The ids of some series in ascending order, which is the order of their labels.
#[derive(Debug)]
pub struct Postings<'f> {
    file: &'f ReadAt,
    /// Nothing, or what is left of the list.
    cursor: Option<Cursor<'f>>,
    len: u32,
    previous: Option<u32>,
    list_end: u64,
}

impl<'f> Postings<'f> {
    /// Of no series.
    pub(super) fn empty(file: &'f ReadAt) -> Self {
        Self { file, cursor: None, len: 0, previous: None, list_end: 0 }
    }

    /// The list at `start`, which ends by `end`.
    pub(super) fn read(file: &'f ReadAt, start: u64, end: u64) -> Result<Self, Error> {
        let mut cursor = file.section(start, end, "a postings list")?;
        let len = cursor.be32()?;
        if cursor.end() - cursor.at() != u64::from(len) * 4 {
            return Err(file.corrupt(start, format!("a postings list claims {len} ids and has others")));
        }
        let list_end = cursor.end() + 4;
        Ok(Self { file, cursor: Some(cursor), len, previous: None, list_end })
    }

    /// How many ids the whole list has.
    pub fn list_len(&self) -> u32 {
        self.len
    }

    /// Offset just past the list's checksum.
    pub(crate) fn list_end(&self) -> u64 {
        self.list_end
    }
}

impl Iterator for Postings<'_> {
    type Item = Result<u32, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let cursor = self.cursor.as_mut().filter(|cursor| !cursor.is_empty())?;
        let at = cursor.at();
        let id = match cursor.be32() {
            Ok(id) if self.previous.is_none_or(|previous| previous < id) => Ok(id),
            Ok(id) => Err(self.file.corrupt(at, format!("id {id} of a postings list does not ascend"))),
            Err(error) => Err(error),
        };
        match id {
            Ok(id) => self.previous = Some(id),
            Err(_) => self.cursor = None,
        }
        Some(id)
    }
}
