//! The symbols of an index: every label name and value once, sorted, found by position.
//!
//! The offset of every 32nd stays in memory; the others are read from the file.

use std::collections::HashMap;
use std::sync::Arc;

use super::reader::IndexReader;
use crate::error::Error;
use crate::read_at::ReadAt;

/// Of so many symbols one is remembered.
const EVERY: u32 = 32;
/// A [`SymbolCache`] keeps so many bytes.
const CACHE_BYTES_MAX: usize = 8 << 20;

/// A name or a value of a label. Series that come from one iterator mostly share them.
pub type Symbol = Arc<[u8]>;

/// Where the symbols are.
#[derive(Debug)]
pub(super) struct Symbols {
    count: u32,
    end: u64,
    /// Offsets of the symbols at multiples of [`EVERY`].
    offsets: Vec<u64>,
}

impl Symbols {
    /// Reads the section in `[start, end)` once: its checksum, its order, and what is to be remembered.
    pub(super) fn read(file: &ReadAt, start: u64, end: u64) -> Result<Self, Error> {
        let mut cursor = file.section(start, end, "the symbol table")?;
        let count = cursor.be32()?;
        let mut offsets = Vec::new();
        let mut previous = Vec::new();
        for n in 0..count {
            let at = cursor.at();
            if n % EVERY == 0 {
                offsets.push(at);
            }
            let symbol = cursor.string()?;
            if n > 0 && symbol <= previous.as_slice() {
                return Err(file.corrupt(at, format!("symbol {n} does not sort after the one before")));
            }
            previous.clear();
            previous.extend_from_slice(symbol);
        }
        if !cursor.is_empty() {
            return Err(file.corrupt(cursor.at(), format!("bytes after the last of {count} symbols")));
        }
        Ok(Self { count, end: cursor.end(), offsets })
    }

    /// How many there are.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// The symbol at position `n`.
    pub(super) fn get(&self, file: &ReadAt, n: u32) -> Result<Vec<u8>, Error> {
        let start = self.offsets.get((n / EVERY) as usize).filter(|_| n < self.count);
        let Some(&start) = start else {
            return Err(file.corrupt(self.end, format!("there is no symbol {n}, only {}", self.count)));
        };
        let mut cursor = file.cursor(start, self.end);
        for _ in 0..n % EVERY {
            cursor.string()?;
        }
        cursor.string().map(<[u8]>::to_vec)
    }
}

/// The symbols met lately, forgotten all at once when they become too many.
#[derive(Debug)]
pub(crate) struct SymbolCache<'i> {
    index: &'i IndexReader,
    symbols: HashMap<u32, Symbol>,
    bytes: usize,
}

impl<'i> SymbolCache<'i> {
    /// Knows none yet.
    pub(crate) fn new(index: &'i IndexReader) -> Self {
        Self { index, symbols: HashMap::new(), bytes: 0 }
    }

    /// The symbol at a position.
    pub(crate) fn get(&mut self, position: u32) -> Result<Symbol, Error> {
        /// What an entry costs beside its bytes.
        const ENTRY_BYTES: usize = 64;
        if let Some(symbol) = self.symbols.get(&position) {
            return Ok(Arc::clone(symbol));
        }
        let symbol = Symbol::from(self.index.symbol(position)?);
        if self.bytes > CACHE_BYTES_MAX {
            self.symbols.clear();
            self.bytes = 0;
        }
        self.bytes += symbol.len() + ENTRY_BYTES;
        self.symbols.insert(position, Arc::clone(&symbol));
        Ok(symbol)
    }
}
