//! Interned label names and values, counted by use, so that dropped series give their strings back.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use rapidhash::v3::{RapidSecrets, rapidhash_v3_seeded};

/// Hash of attacker-chosen bytes, seeded per process.
#[derive(Debug)]
pub(super) struct KeyHasher(RapidSecrets);

impl Default for KeyHasher {
    fn default() -> Self {
        Self(RapidSecrets::seed(RandomState::new().hash_one(0u64)))
    }
}

impl KeyHasher {
    #[inline]
    pub(super) fn hash(&self, bytes: &[u8]) -> u64 {
        rapidhash_v3_seeded(bytes, &self.0)
    }
}

/// A string table: symbols are small integers, valid while something uses them.
#[derive(Debug, Default)]
pub(crate) struct Symbols {
    hasher: KeyHasher,
    table: HashTable<u32>,
    entries: Vec<Entry>,
    vacant: Vec<u32>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    text: Box<[u8]>,
    uses: u32,
}

impl Symbols {
    /// The symbol of `text`, with one more use.
    pub(crate) fn acquire(&mut self, text: &[u8]) -> u32 {
        let hash = self.hasher.hash(text);
        let found = self.table.find(hash, |&symbol| self.text(symbol) == text).copied();
        if let Some(symbol) = found {
            if let Some(entry) = self.entries.get_mut(symbol as usize) {
                entry.uses += 1;
            }
            return symbol;
        }
        let entry = Entry { text: text.into(), uses: 1 };
        self.bytes += text.len();
        let symbol = match self.vacant.pop() {
            Some(symbol) => symbol,
            None => {
                self.entries.push(Entry { text: Box::default(), uses: 0 });
                (self.entries.len() - 1) as u32
            }
        };
        if let Some(slot) = self.entries.get_mut(symbol as usize) {
            *slot = entry;
        }
        let (hasher, entries) = (&self.hasher, &self.entries);
        self.table.insert_unique(hash, symbol, |&s| {
            entries.get(s as usize).map_or(0, |entry| hasher.hash(&entry.text))
        });
        symbol
    }

    /// The symbol of `text`, where something uses it.
    pub(crate) fn find(&self, text: &[u8]) -> Option<u32> {
        self.table.find(self.hasher.hash(text), |&symbol| self.text(symbol) == text).copied()
    }

    /// Adds one more use of a symbol that is in use.
    pub(crate) fn share(&mut self, symbol: u32) {
        if let Some(entry) = self.entries.get_mut(symbol as usize) {
            entry.uses += 1;
        }
    }

    /// How often a symbol is used.
    pub(crate) fn uses(&self, symbol: u32) -> u32 {
        self.entries.get(symbol as usize).map_or(0, |entry| entry.uses)
    }

    /// Gives one use back; the last one frees the string.
    pub(crate) fn release(&mut self, symbol: u32) {
        let Some(entry) = self.entries.get_mut(symbol as usize) else { return };
        entry.uses -= 1;
        if entry.uses > 0 {
            return;
        }
        let text = std::mem::take(&mut entry.text);
        self.bytes -= text.len();
        if let Ok(occupied) = self.table.find_entry(self.hasher.hash(&text), |&s| s == symbol) {
            occupied.remove();
        }
        self.vacant.push(symbol);
    }

    /// The string of a symbol in use.
    #[inline]
    pub(crate) fn text(&self, symbol: u32) -> &[u8] {
        self.entries.get(symbol as usize).map_or(&[], |entry| &entry.text)
    }

    /// One more than the largest symbol ever in use at once.
    pub(crate) fn bound(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of all strings.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_strings_share_a_symbol_until_the_last_use_ends() {
        let mut symbols = Symbols::default();
        let a = symbols.acquire(b"job");
        assert_eq!(symbols.acquire(b"job"), a);
        let b = symbols.acquire(b"instance");
        symbols.release(a);
        assert_eq!(symbols.text(a), b"job");
        symbols.release(a);
        let c = symbols.acquire(b"pod");
        assert_eq!((c, symbols.text(b), symbols.bytes()), (a, b"instance".as_slice(), 11));
    }
}
