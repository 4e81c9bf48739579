//! One series in memory: its labels, its open chunk, its finished chunks, and when a chunk is full.
//!
//! Finished chunks are mapped ones, oldest first, and then those with their bytes in memory.

use std::sync::Arc;

use crate::chunk::{Chunk, ChunkRef, MappedChunk};
use crate::chunkenc::Encoding;
use crate::chunkenc::xor::{SAMPLE_BYTES_MAX, XorAppender, XorIter};

/// Chunks aim at this many samples; a chunk never holds more than twice as many.
const SAMPLES_PER_CHUNK: u16 = 120;
/// A chunk with more bytes takes no further sample.
const CHUNK_BYTES_MAX: usize = 1024 - SAMPLE_BYTES_MAX;

/// A series of the head.
#[derive(Debug, Default)]
pub(crate) struct Series {
    /// The reference that WAL records use; 0 in a vacant slot.
    pub(crate) reference: u64,
    /// Hash of the series key.
    pub(crate) hash: u64,
    /// Symbols of name and value, sorted by name.
    pub(crate) labels: Arc<[(u32, u32)]>,
    /// The slot of the series that came after this one in a request.
    pub(super) next: u32,
    /// Finished chunks whose bytes are in a file.
    mapped: Box<[MappedChunk]>,
    /// Finished chunks after those.
    closed: Vec<Chunk>,
    open: XorAppender,
    /// First time in the open chunk.
    open_mint: i64,
    /// The open chunk ends before this time.
    next_at: i64,
}

/// The end of the aligned range that holds `t`: `(t / range) * range + range`, truncating as Go does.
pub(crate) fn range_end(t: i64, range: i64) -> i64 {
    (t / range).saturating_mul(range).saturating_add(range)
}

impl Series {
    pub(crate) fn new(reference: u64, hash: u64, labels: Arc<[(u32, u32)]>) -> Self {
        Self { reference, hash, labels, ..Self::default() }
    }

    /// The newest time stored.
    #[inline]
    pub(crate) fn newest(&self) -> Option<i64> {
        if self.open.count() > 0 {
            return Some(self.open.last().0);
        }
        self.closed.last().map(|chunk| chunk.maxt).or(self.mapped_maxt())
    }

    /// Time and value bits of the newest sample, unless it is in a finished chunk.
    #[inline]
    pub(crate) fn last(&self) -> Option<(i64, u64)> {
        (self.open.count() > 0).then(|| self.open.last())
    }

    /// Adds a sample newer than all before. Returns how many chunks it began (0 or 1).
    #[inline]
    pub(crate) fn push(&mut self, t: i64, v: f64, range: i64) -> u64 {
        let mut count = self.open.count();
        if count > 0 {
            if count == SAMPLES_PER_CHUNK / 4 {
                self.next_at = predict_end(self.open_mint, self.open.last().0, self.next_at);
            }
            if self.open.bytes().len() > CHUNK_BYTES_MAX
                || t >= self.next_at
                || count >= 2 * SAMPLES_PER_CHUNK
            {
                self.close_chunk();
                count = 0;
            }
        }
        if count == 0 {
            self.open_mint = t;
            self.next_at = range_end(t, range);
        }
        self.open.append(t, v);
        u64::from(count == 0)
    }

    fn close_chunk(&mut self) {
        let maxt = self.open.last().0;
        let (mint, data) = (self.open_mint, self.open.finish());
        self.closed.push(Chunk { mint, maxt, encoding: Encoding::Xor, data });
    }

    /// The value bits stored at `t`, as far as memory tells.
    pub(crate) fn value_at(&self, t: i64) -> Option<u64> {
        let data = if self.open.count() > 0 && t >= self.open_mint {
            self.open.bytes()
        } else {
            let after = self.closed.partition_point(|chunk| chunk.maxt < t);
            &self.closed.get(after).filter(|chunk| chunk.mint <= t)?.data
        };
        XorIter::new(data).map_while(Result::ok).find(|(at, _)| *at == t).map(|(_, v)| v.to_bits())
    }

    /// The mapped chunks that begin before `maxt`, and copies of the others, the open one included, oldest first. A
    /// chunk never crosses the end of a range, so none of them reaches `maxt`.
    pub(crate) fn chunks_before(&self, maxt: i64) -> (Vec<MappedChunk>, Vec<Chunk>) {
        let mapped = self.mapped.iter().take_while(|chunk| chunk.mint < maxt).copied().collect();
        let mut chunks: Vec<_> = self.closed.iter().take_while(|chunk| chunk.mint < maxt).cloned().collect();
        if self.open.count() > 0 && self.open_mint < maxt {
            let (last, _) = self.open.last();
            let data = self.open.bytes().into();
            chunks.push(Chunk { mint: self.open_mint, maxt: last, encoding: Encoding::Xor, data });
        }
        (mapped, chunks)
    }

    /// The chunks in memory that end before `t` and can be written to a file, oldest first.
    pub(crate) fn mappable(&self, t: i64) -> &[Chunk] {
        let count = self.closed.partition_point(|chunk| chunk.maxt < t);
        self.closed.get(..count).unwrap_or_default()
    }

    /// Forgets the bytes of the oldest chunks in memory, which are at `references` now.
    pub(crate) fn map(&mut self, references: &[ChunkRef]) {
        let count = references.len().min(self.closed.len());
        let written = self.closed.drain(..count).zip(references);
        let written = written.map(|(c, &reference)| MappedChunk { mint: c.mint, maxt: c.maxt, reference });
        self.mapped = self.mapped.iter().copied().chain(written).collect();
        self.closed.shrink_to_fit();
    }

    /// Gives a series that has no sample yet the chunks that a file holds, oldest first.
    pub(crate) fn attach(&mut self, mapped: Box<[MappedChunk]>) {
        self.mapped = mapped;
    }

    /// The newest time of the mapped chunks.
    pub(crate) fn mapped_maxt(&self) -> Option<i64> {
        self.mapped.last().map(|chunk| chunk.maxt)
    }

    /// The oldest file that a mapped chunk is in.
    pub(crate) fn oldest_file(&self) -> Option<u32> {
        self.mapped.first().map(|chunk| chunk.reference.file())
    }

    /// Drops the chunks that end before `mint`; returns how many.
    pub(crate) fn truncate(&mut self, mint: i64) -> u64 {
        let unmapped = self.mapped.partition_point(|chunk| chunk.maxt < mint);
        if unmapped > 0 {
            self.mapped = self.mapped.get(unmapped..).unwrap_or_default().into();
        }
        let gone = self.closed.partition_point(|chunk| chunk.maxt < mint);
        self.closed.drain(..gone);
        if self.closed.is_empty() {
            self.closed = Vec::new();
        }
        let open_gone = self.open.count() > 0 && self.open.last().0 < mint;
        if open_gone {
            self.open = XorAppender::default();
        }
        (unmapped + gone) as u64 + u64::from(open_gone)
    }

    /// The oldest time stored.
    pub(crate) fn mint(&self) -> Option<i64> {
        let closed =
            self.mapped.first().map(|chunk| chunk.mint).or(self.closed.first().map(|chunk| chunk.mint));
        closed.or((self.open.count() > 0).then_some(self.open_mint))
    }
}

/// Spreads what is left of a range over chunks of about equal length, judging by the first quarter of a chunk.
fn predict_end(mint: i64, maxt: i64, next_at: i64) -> i64 {
    let n = (next_at - mint) as f64 / ((maxt - mint + 1) as f64 * 4.0);
    if n <= 1.0 { next_at } else { (mint as f64 + (next_at - mint) as f64 / n.floor()) as i64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGE: i64 = 7_200_000;

    #[test]
    fn a_15_s_scrape_over_two_hours_makes_four_chunks_of_120() {
        let mut series = Series::new(1, 1, Arc::from([]));
        for i in 0..480 {
            series.push(i * 15_000, i as f64, RANGE);
        }
        let counts: Vec<_> = series.chunks_before(RANGE).1.iter().map(Chunk::count).collect();
        assert_eq!(counts, [120; 4]);
        assert_eq!(series.push(RANGE, 1.0, RANGE), 1);
        assert_eq!(series.chunks_before(RANGE).1.len(), 4);
        assert_eq!(series.truncate(RANGE), 4);
        assert_eq!(series.mint(), Some(RANGE));
    }

    #[test]
    fn a_stored_value_is_found_in_any_chunk() {
        let mut series = Series::new(1, 1, Arc::from([]));
        for i in 0..500 {
            series.push(i * 1000, i as f64, RANGE);
        }
        for i in 0..500 {
            assert_eq!(series.value_at(i * 1000), Some((i as f64).to_bits()));
            assert_eq!(series.value_at(i * 1000 + 1), None);
        }
    }

    #[test]
    fn noisy_values_end_a_chunk_by_its_bytes() {
        let mut series = Series::new(1, 1, Arc::from([]));
        for i in 0..300i64 {
            series.push(
                i * 1009 + i % 7,
                f64::from_bits((i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
                RANGE,
            );
        }
        assert!(series.chunks_before(RANGE).1.iter().all(|chunk| chunk.data.len() <= 1024));
    }
}
