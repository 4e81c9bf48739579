//! The table of symbols: where each string of a request lies in its body.
//!
//! It owns the rule that symbol 0 is empty. Whether symbols are valid UTF-8 is for the reader to judge.

use super::{EXPANDED_BYTES_MAX, REQUEST_KNOWN, SYMBOLS};
use crate::wire::{Cursor, WireError};

/// Why a request is unusable as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// Its framing is at fault.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// Reference 0 would not mean "none".
    #[error("the first symbol has {bytes} bytes; it must be empty")]
    FirstSymbol {
        /// Its length in bytes.
        bytes: usize,
    },
    /// Its series refer to too much text.
    #[error(
        "the labels of its series stand for more than {EXPANDED_BYTES_MAX} bytes; send fewer series at once"
    )]
    Expanded,
}

/// Finds the symbols of one request after the other, with one allocation for all.
#[derive(Debug, Clone, Default)]
pub struct SymbolTable {
    /// Where the length of each symbol stands in the body.
    offsets: Vec<u32>,
    /// Where the symbols begin and end in the body, unless other fields stand between them.
    run: Option<(usize, usize)>,
}

impl SymbolTable {
    /// Reads the symbols of a decompressed request body, wherever they stand. Walks the framing of the whole request,
    /// but not into its series.
    ///
    /// # Errors
    /// The first fault of the framing; a first symbol that is not empty.
    pub fn read<'t, 'a>(&'t mut self, body: &'a [u8]) -> Result<Symbols<'t, 'a>, RequestError> {
        self.offsets.clear();
        let mut cursor = Cursor::new(body, 0);
        let mut run: Option<(usize, usize)> = None;
        let mut contiguous = true;
        while !cursor.is_empty() {
            let at = cursor;
            match cursor.tag()? {
                SYMBOLS => {
                    // A body of 4 GiB is beyond every limit; its last symbols would be out of reach, not wrong.
                    self.offsets.push(u32::try_from(cursor.offset()).unwrap_or(u32::MAX));
                    cursor.bytes()?;
                    let (start, end) = run.unwrap_or((at.offset(), at.offset()));
                    contiguous &= end == at.offset();
                    run = Some((start, cursor.offset()));
                }
                tag => cursor.skip_among_len(&at, tag, REQUEST_KNOWN)?,
            }
        }
        self.run = contiguous.then(|| run.unwrap_or_default());
        let symbols = self.symbols(body);
        match symbols.get(0) {
            Some(first) if !first.is_empty() => Err(RequestError::FirstSymbol { bytes: first.len() }),
            _ => Ok(symbols),
        }
    }

    /// The symbols of the body that was read last. Those of another body are whatever stands there.
    pub fn symbols<'t, 'a>(&'t self, body: &'a [u8]) -> Symbols<'t, 'a> {
        let run = self.run.and_then(|(start, end)| body.get(start..end));
        Symbols { offsets: &self.offsets, body, run }
    }

    /// How much memory it holds for the next request, in bytes.
    pub fn bytes(&self) -> usize {
        self.offsets.capacity() * size_of::<u32>()
    }
}

/// The symbols of one request.
#[derive(Debug, Clone, Copy)]
pub struct Symbols<'t, 'a> {
    offsets: &'t [u32],
    body: &'a [u8],
    run: Option<&'a [u8]>,
}

impl<'a> Symbols<'_, 'a> {
    /// How many symbols there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Whether there is no symbol.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// The string that a reference stands for; `None` beyond the table.
    #[inline]
    pub fn get(&self, reference: u32) -> Option<&'a [u8]> {
        let offset = *self.offsets.get(reference as usize)? as usize;
        Cursor::new(self.body.get(offset..)?, offset).bytes().ok()
    }

    /// Appends the symbols as fields of a `Request`, in their order, but those that are not wanted as empty ones, so
    /// that references to the others stay right. Ends with the last one that is wanted.
    pub fn append_wanted_to(&self, wanted: impl Fn(usize) -> bool, out: &mut Vec<u8>) {
        let mut empty = 0;
        for (reference, offset) in self.offsets.iter().enumerate() {
            if !wanted(reference) {
                empty += 1;
                continue;
            }
            for _ in 0..std::mem::take(&mut empty) {
                out.extend_from_slice(&[SYMBOLS as u8, 0]);
            }
            out.push(SYMBOLS as u8);
            out.extend_from_slice(self.encoded(*offset));
        }
    }

    /// The symbol whose length stands at this offset, with its length.
    #[inline]
    fn encoded(&self, offset: u32) -> &'a [u8] {
        let mut cursor = Cursor::new(self.body.get(offset as usize..).unwrap_or_default(), 0);
        let at = cursor;
        // An empty symbol in place of one that is out of reach.
        if cursor.bytes().is_ok() { at.until(&cursor) } else { &[0] }
    }

    /// The contiguous run of symbol fields, tags included; empty where there is no symbol, `None` where other fields
    /// stand between symbols. Copied in front of series of this request, it makes their references mean the same.
    #[inline]
    pub fn run(&self) -> Option<&'a [u8]> {
        self.run
    }

    /// Appends the symbols as fields of a `Request`, in their order.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        if let Some(run) = self.run {
            return out.extend_from_slice(run);
        }
        for offset in self.offsets {
            out.push(SYMBOLS as u8);
            out.extend_from_slice(self.encoded(*offset));
        }
    }
}
