//! Samples of one series that came after newer ones, until the range that they belong to is cut into a block.
//!
//! A short sorted buffer takes them; a full one is encoded into a chunk. Chunks may overlap each other, but no two
//! samples here have the same time. Owns no durability: the write-behind log has every sample.

use super::open_chunk::encode;
use crate::chunk::Chunk;
use crate::sample::Value;

/// Samples in the buffer before they are encoded; Prometheus' default.
const BUFFER_MAX: usize = 32;

/// The out-of-order samples of a series.
#[derive(Debug, Default)]
pub(crate) struct OutOfOrder {
    /// Sorted by time.
    buffer: Vec<(i64, Value)>,
    chunks: Vec<Chunk>,
}

impl OutOfOrder {
    /// Adds a sample whose time [`Self::get`] does not know.
    pub(super) fn insert(&mut self, t: i64, value: Value, range: i64) {
        if self.buffer.len() >= BUFFER_MAX {
            self.chunks.extend(encode(self.buffer.drain(..), range));
        }
        let at = self.buffer.partition_point(|(before, _)| *before < t);
        self.buffer.insert(at, (t, value));
    }

    /// The value stored at `t`.
    pub(super) fn get(&self, t: i64) -> Option<Value> {
        match self.buffer.binary_search_by_key(&t, |(at, _)| *at) {
            Ok(at) => self.buffer.get(at).map(|(_, value)| value.clone()),
            Err(_) => self.chunks.iter().filter(|c| c.mint <= t && t <= c.maxt).find_map(|c| c.value_at(t)),
        }
    }

    /// The samples before `maxt` in order of time.
    pub(super) fn before(&self, maxt: i64) -> Vec<(i64, Value)> {
        let encoded = self.chunks.iter().filter(|chunk| chunk.mint < maxt).flat_map(Chunk::samples);
        let mut samples: Vec<_> =
            encoded.chain(self.buffer.iter().cloned()).filter(|(t, _)| *t < maxt).collect();
        samples.sort_by_key(|(t, _)| *t);
        samples
    }

    /// Drops the samples before `mint`. A chunk never crosses the end of a range, so whole chunks go.
    pub(super) fn truncate(&mut self, mint: i64) {
        self.chunks.retain(|chunk| chunk.maxt >= mint);
        let gone = self.buffer.partition_point(|(t, _)| *t < mint);
        self.buffer.drain(..gone);
    }

    /// The oldest time.
    pub(super) fn mint(&self) -> Option<i64> {
        let chunks = self.chunks.iter().map(|chunk| chunk.mint);
        chunks.chain(self.buffer.first().map(|(t, _)| *t)).min()
    }

    /// How many chunks there are.
    pub(super) fn chunk_count(&self) -> usize {
        self.chunks.len()
    }
}
