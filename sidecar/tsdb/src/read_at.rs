//! A file that is read at given places and never held whole, and a cursor over a part of it.
//!
//! Owns no format. Nothing is allocated for a length that the file itself cannot have, and every error names the
//! file and the offset.

use std::path::{Path, PathBuf};

use crate::encoding::{Decoder, Truncated};
use crate::error::Error;
use crate::fs::{File, Fs};

/// A cursor that was just placed reads so many bytes at once.
const READ_AHEAD_MIN: u64 = 1 << 10;
/// One that reads on for long.
const READ_AHEAD_MAX: u64 = 64 << 10;
/// The longest string or entry of a file that is believed: far above what anybody writes.
const ENTRY_BYTES_MAX: usize = 64 << 20;

/// A file open for reading, with the length that it had when it was opened.
#[derive(Debug)]
pub(crate) struct ReadAt {
    path: PathBuf,
    file: Box<dyn File>,
    len: u64,
}

impl ReadAt {
    /// Opens a file.
    pub(crate) fn open(fs: &dyn Fs, path: &Path) -> Result<Self, Error> {
        let file = fs.open(path).map_err(Error::io("open", path))?;
        let len = file.size().map_err(Error::io("stat", path))?;
        Ok(Self { path: path.to_owned(), file, len })
    }

    /// Where the file is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Its length in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// An error at a place of this file.
    pub(crate) fn corrupt(&self, offset: u64, what: impl ToString) -> Error {
        Error::corrupt(&self.path, offset, what)
    }

    /// Replaces `out` by the `len` bytes at `offset`.
    pub(crate) fn read(&self, offset: u64, len: usize, out: &mut Vec<u8>) -> Result<(), Error> {
        if self.len.checked_sub(len as u64).is_none_or(|last| offset > last) {
            return Err(self.corrupt(offset, format!("the file ends within the next {len} bytes")));
        }
        out.resize(len, 0);
        match self.file.read_at(out, offset).map_err(Error::io("read", &self.path))? {
            read if read == len => Ok(()),
            read => Err(self.corrupt(offset + read as u64, "the file has become shorter")),
        }
    }

    /// The checksum of `[start, end)`, read piece by piece.
    pub(crate) fn crc(&self, start: u64, end: u64) -> Result<u32, Error> {
        let (mut at, mut sum, mut piece) = (start, 0, Vec::new());
        while at < end {
            let len = (end - at).min(READ_AHEAD_MAX);
            self.read(at, len as usize, &mut piece)?;
            sum = crc32c::crc32c_append(sum, &piece);
            at += len;
        }
        Ok(sum)
    }

    /// Reads `[start, end)` from its start.
    pub(crate) fn cursor(&self, start: u64, end: u64) -> Cursor<'_> {
        Cursor {
            file: self,
            at: start,
            end: end.min(self.len),
            ahead: Vec::new(),
            ahead_at: start,
            step: READ_AHEAD_MIN / 2,
        }
    }

    /// A section: length be32, that many bytes, their checksum. Checks the checksum and that the section ends by
    /// `end`; returns a cursor over the bytes.
    pub(crate) fn section(&self, start: u64, end: u64, what: &str) -> Result<Cursor<'_>, Error> {
        let mut cursor = self.cursor(start, end);
        let len = cursor.be32()?;
        let body = cursor.at();
        let body_end = body + u64::from(len);
        if body_end + 4 > end.min(self.len) {
            return Err(self.corrupt(start, format!("{what} claims {len} bytes, more than there are")));
        }
        let stored = self.cursor(body_end, body_end + 4).be32()?;
        if stored != self.crc(body, body_end)? {
            return Err(self.corrupt(start, format!("the checksum of {what} does not match")));
        }
        cursor.end = body_end;
        Ok(cursor)
    }
}

/// Reads a part of a file from front to back, some way ahead, checking every read against the part's end.
#[derive(Debug)]
pub(crate) struct Cursor<'f> {
    file: &'f ReadAt,
    at: u64,
    end: u64,
    ahead: Vec<u8>,
    /// Offset in the file of `ahead`.
    ahead_at: u64,
    /// How much is read ahead next.
    step: u64,
}

impl Cursor<'_> {
    /// Offset in the file of the next byte.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// Where the part ends.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// True when nothing is left to read.
    pub(crate) fn is_empty(&self) -> bool {
        self.at >= self.end
    }

    /// Goes on at another place; what was read ahead stays.
    pub(crate) fn seek(&mut self, at: u64) {
        self.at = at;
    }

    /// The next bytes without passing them: `want` of them, fewer only where the part ends. Whoever reads on gets
    /// ever larger pieces of the file, whoever jumps begins with a small one again.
    fn peek(&mut self, want: usize) -> Result<&[u8], Error> {
        let left = self.end.saturating_sub(self.at);
        let want = (want as u64).min(left);
        let held = self.ahead_at + self.ahead.len() as u64;
        if want > 0 && (self.at < self.ahead_at || self.at + want > held) {
            let jumped = self.at < self.ahead_at || self.at > held;
            self.step = if jumped { READ_AHEAD_MIN } else { (self.step * 2).min(READ_AHEAD_MAX) };
            let len = left.min(self.step).max(want);
            self.ahead_at = self.at;
            if let Err(e) = self.file.read(self.at, len as usize, &mut self.ahead) {
                self.ahead.clear();
                return Err(e);
            }
        }
        let from = self.at.saturating_sub(self.ahead_at) as usize;
        Ok(self.ahead.get(from..from + want as usize).unwrap_or_default())
    }

    /// The next `n` bytes.
    pub(crate) fn take(&mut self, n: usize) -> Result<&[u8], Error> {
        if n > ENTRY_BYTES_MAX {
            return Err(self.file.corrupt(self.at, format!("an entry claims {n} bytes")));
        }
        if self.end.saturating_sub(self.at) < n as u64 {
            return Err(self.file.corrupt(self.at, "truncated value"));
        }
        self.peek(n)?;
        let from = (self.at - self.ahead_at) as usize;
        self.at += n as u64;
        Ok(self.ahead.get(from..from + n).unwrap_or_default())
    }

    fn decode<T>(
        &mut self,
        bytes_max: usize,
        read: impl FnOnce(&mut Decoder<'_>) -> Result<T, Truncated>,
    ) -> Result<T, Error> {
        let (file, at) = (self.file, self.at);
        let mut decoder = Decoder::new(self.peek(bytes_max)?);
        let value = read(&mut decoder).map_err(|_| file.corrupt(at, "truncated or overlong value"))?;
        self.at += decoder.offset() as u64;
        Ok(value)
    }

    /// A big-endian 32-bit integer.
    pub(crate) fn be32(&mut self) -> Result<u32, Error> {
        self.decode(4, |d| d.be32())
    }

    /// One byte.
    pub(crate) fn byte(&mut self) -> Result<u8, Error> {
        self.decode(1, |d| d.byte())
    }

    /// A LEB128 integer.
    pub(crate) fn uvarint(&mut self) -> Result<u64, Error> {
        self.decode(10, |d| d.uvarint())
    }

    /// A zig-zag encoded integer.
    pub(crate) fn varint(&mut self) -> Result<i64, Error> {
        self.decode(10, |d| d.varint())
    }

    /// A length that stands as LEB128, no more than what is believed of an entry.
    pub(crate) fn length(&mut self) -> Result<usize, Error> {
        let at = self.at;
        let len = self.uvarint()?;
        usize::try_from(len)
            .ok()
            .filter(|&len| len <= ENTRY_BYTES_MAX)
            .ok_or_else(|| self.file.corrupt(at, format!("an entry claims {len} bytes")))
    }

    /// A string with its length in front.
    pub(crate) fn string(&mut self) -> Result<&[u8], Error> {
        let len = self.length()?;
        self.take(len)
    }
}
