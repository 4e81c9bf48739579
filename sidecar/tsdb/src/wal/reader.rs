//! Reads the records of one segment, page by page, checking every fragment.
//!
//! A file that does not end on a page boundary is read as if zeros followed. What an error means (a torn tail to
//! repair, or corruption to refuse) is [`mod@super::replay`]'s to decide.

use std::io::Read;
use std::path::{Path, PathBuf};

use ruzstd::decoding::StreamingDecoder;

use super::page::{FIRST, FULL, HEADER, KIND_MASK, LAST, MIDDLE, PAGE, SNAPPY, ZSTD};
use crate::encoding::crc;
use crate::error::Error;
use crate::fs::{File, Fs};

/// The most bytes a record may decompress to: far above what one request can make.
const RECORD_BYTES_MAX: usize = 512 << 20;

/// Iterates over the records of one segment file.
#[derive(Debug)]
pub(crate) struct SegmentReader {
    path: PathBuf,
    file: Box<dyn File>,
    page: Box<[u8]>,
    /// Bytes of the file in `page`; the rest is zeros.
    filled: usize,
    /// Where in `page` the next fragment begins.
    at: usize,
    /// Where in `page` the fragment begins that was read last.
    fragment_at: usize,
    /// Offset in the file of `page`.
    page_offset: u64,
    /// A record as it is stored, while it has more than one fragment.
    stored: Vec<u8>,
    /// Offset in the file just past the last whole record.
    good: u64,
}

impl SegmentReader {
    /// Opens a segment.
    pub(crate) fn open(fs: &dyn Fs, path: &Path) -> Result<Self, Error> {
        Ok(Self {
            path: path.to_owned(),
            file: fs.open(path).map_err(Error::io("open", path))?,
            page: vec![0; PAGE].into_boxed_slice(),
            filled: 0,
            at: PAGE,
            fragment_at: 0,
            page_offset: 0,
            stored: Vec::new(),
            good: 0,
        })
    }

    /// Offset just past the last record returned.
    pub(crate) fn good_offset(&self) -> u64 {
        self.good
    }

    /// Adds the next record's payload to `out`; false at the end of the file. After an error `out` may have a part of it.
    pub(crate) fn next_record(&mut self, out: &mut Vec<u8>) -> Result<bool, Error> {
        self.stored.clear();
        // A first fragment may be empty, so the record's length does not tell whether one has begun.
        let mut begun = false;
        loop {
            let Some((kind, start, end)) = self.fragment()? else {
                return if begun { Err(self.error("the last record is torn")) } else { Ok(false) };
            };
            match (kind & KIND_MASK, begun) {
                (FULL | FIRST, true) => return Err(self.error("a record begins inside another")),
                (MIDDLE | LAST, false) => return Err(self.error("a record continues that never began")),
                _ => begun = true,
            }
            if self.stored.len() > RECORD_BYTES_MAX {
                return Err(self.error("a record has no end"));
            }
            let payload = self.page.get(start..end).unwrap_or_default();
            let compression = kind & (SNAPPY | ZSTD);
            let decompressed = match kind & KIND_MASK {
                FULL => decompress(compression, payload, out),
                LAST => {
                    self.stored.extend_from_slice(payload);
                    decompress(compression, &self.stored, out)
                }
                _ => {
                    self.stored.extend_from_slice(payload);
                    continue;
                }
            };
            decompressed.map_err(|what| self.error(what))?;
            self.good = self.page_offset + self.at as u64;
            return Ok(true);
        }
    }

    /// The next fragment's type byte and the range of its payload in the page.
    fn fragment(&mut self) -> Result<Option<(u8, usize, usize)>, Error> {
        loop {
            let is_there = PAGE - self.at >= HEADER || self.next_page()?;
            self.fragment_at = self.at;
            if !is_there {
                return Ok(None);
            }
            let rest = self.page.get(self.at..).unwrap_or_default();
            let Some((header, _)) = rest.split_first_chunk::<HEADER>() else { return Ok(None) };
            let [kind, len_hi, len_lo, c0, c1, c2, c3] = *header;
            if kind & KIND_MASK == 0 {
                if rest.iter().any(|&b| b != 0) {
                    return Err(self.error("a finished page is not zero to its end"));
                }
                self.at = PAGE;
                continue;
            }
            if kind & KIND_MASK > LAST || kind & !(KIND_MASK | SNAPPY | ZSTD) != 0 {
                return Err(self.error(format!("fragment type {kind:#04x} is unknown")));
            }
            let start = self.at + HEADER;
            let end = start + usize::from(u16::from_be_bytes([len_hi, len_lo]));
            let Some(payload) = self.page.get(start..end) else {
                return Err(self.error("a fragment runs over its page"));
            };
            if crc(payload) != u32::from_be_bytes([c0, c1, c2, c3]) {
                return Err(self.error("a fragment's checksum does not match"));
            }
            self.at = end;
            return Ok(Some((kind, start, end)));
        }
    }

    fn next_page(&mut self) -> Result<bool, Error> {
        self.page_offset += self.filled as u64;
        let filled =
            self.file.read_at(&mut self.page, self.page_offset).map_err(Error::io("read", &self.path))?;
        self.page.get_mut(filled..).unwrap_or_default().fill(0);
        self.filled = filled;
        self.at = 0;
        Ok(filled > 0)
    }

    /// An error at the fragment that was read last.
    fn error(&self, what: impl ToString) -> Error {
        Error::corrupt(&self.path, self.page_offset + self.fragment_at as u64, what)
    }
}

/// Adds the payload of a stored record to `out`.
fn decompress(compression: u8, stored: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    let start = out.len();
    match compression {
        0 => out.extend_from_slice(stored),
        SNAPPY => {
            let len = snap::raw::decompress_len(stored).map_err(|e| e.to_string())?;
            if len > RECORD_BYTES_MAX {
                return Err(format!("a record claims {len} bytes"));
            }
            out.resize(start + len, 0);
            let plain = out.get_mut(start..).unwrap_or_default();
            snap::raw::Decoder::new().decompress(stored, plain).map_err(|e| e.to_string())?;
        }
        ZSTD => {
            let decoder = StreamingDecoder::new(stored).map_err(|e| e.to_string())?;
            let read = decoder.take(RECORD_BYTES_MAX as u64 + 1).read_to_end(out);
            if read.map_err(|e| e.to_string())? > RECORD_BYTES_MAX {
                return Err("a record has more bytes than any can have".to_owned());
            }
        }
        _ => return Err("a record is compressed twice".to_owned()),
    }
    Ok(())
}
