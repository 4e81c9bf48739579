//! One series in memory: its labels, its open chunk, its finished chunks, and when a chunk is full.

use std::sync::Arc;

use crate::chunkenc::xor::{SAMPLE_BYTES_MAX, XorAppender, XorIter};

/// Chunks aim at this many samples; a chunk never holds more than twice as many.
const SAMPLES_PER_CHUNK: u16 = 120;
/// A chunk with more bytes takes no further sample.
const CHUNK_BYTES_MAX: usize = 1024 - SAMPLE_BYTES_MAX;

/// A finished chunk. Times are milliseconds, both inclusive.
#[derive(Debug, Clone)]
pub(crate) struct Chunk {
    pub(crate) mint: i64,
    pub(crate) maxt: i64,
    pub(crate) data: Box<[u8]>,
}

impl Chunk {
    /// How many samples it holds.
    pub(crate) fn samples(&self) -> u16 {
        self.data.first_chunk::<2>().map_or(0, |count| u16::from_be_bytes(*count))
    }
}

/// A series of the head.
#[derive(Debug, Default)]
pub(crate) struct Series {
    /// The reference that WAL records use; 0 in a vacant slot.
    pub(crate) reference: u64,
    /// Hash of the series key.
    pub(crate) hash: u64,
    /// Symbols of name and value, sorted by name.
    pub(crate) labels: Arc<[(u32, u32)]>,
    /// Finished chunks, oldest first.
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

    /// Time and value bits of the newest sample.
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
        self.closed.push(Chunk { mint: self.open_mint, maxt, data: self.open.finish() });
    }

    /// The value bits stored at `t`.
    pub(crate) fn value_at(&self, t: i64) -> Option<u64> {
        let data = if self.open.count() > 0 && t >= self.open_mint {
            self.open.bytes()
        } else {
            let after = self.closed.partition_point(|chunk| chunk.maxt < t);
            &self.closed.get(after).filter(|chunk| chunk.mint <= t)?.data
        };
        XorIter::new(data).map_while(Result::ok).find(|(at, _)| *at == t).map(|(_, v)| v.to_bits())
    }

    /// Copies of the chunks that begin before `maxt`, the open one included, oldest first. A chunk never crosses
    /// the end of a range, so none of them reaches `maxt`.
    pub(crate) fn chunks_before(&self, maxt: i64) -> Vec<Chunk> {
        let mut chunks: Vec<_> = self.closed.iter().take_while(|chunk| chunk.mint < maxt).cloned().collect();
        if self.open.count() > 0 && self.open_mint < maxt {
            let (last, _) = self.open.last();
            chunks.push(Chunk { mint: self.open_mint, maxt: last, data: self.open.bytes().into() });
        }
        chunks
    }

    /// Drops the chunks that end before `mint`; returns how many.
    pub(crate) fn truncate(&mut self, mint: i64) -> u64 {
        let gone = self.closed.partition_point(|chunk| chunk.maxt < mint);
        self.closed.drain(..gone);
        if self.closed.is_empty() {
            self.closed = Vec::new();
        }
        let open_gone = self.open.count() > 0 && self.open.last().0 < mint;
        if open_gone {
            self.open = XorAppender::default();
        }
        gone as u64 + u64::from(open_gone)
    }

    /// The oldest time stored.
    pub(crate) fn mint(&self) -> Option<i64> {
        match self.closed.first() {
            Some(chunk) => Some(chunk.mint),
            None => (self.open.count() > 0).then_some(self.open_mint),
        }
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
        let counts: Vec<_> = series.chunks_before(RANGE).iter().map(Chunk::samples).collect();
        assert_eq!(counts, [120; 4]);
        assert_eq!(series.push(RANGE, 1.0, RANGE), 1);
        assert_eq!(series.chunks_before(RANGE).len(), 4);
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
        assert!(series.chunks_before(RANGE).iter().all(|chunk| chunk.data.len() <= 1024));
    }
}
