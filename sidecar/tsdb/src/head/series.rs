//! One series in memory: its labels, its open chunk, its finished chunks, and its samples out of order.
//!
//! Finished chunks are mapped ones, oldest first, and then those with their bytes in memory.

use std::sync::Arc;

use super::ooo::OutOfOrder;
use super::open_chunk::OpenChunk;
use crate::chunk::{Chunk, ChunkRef, MappedChunk};
use crate::chunkenc::Encoding;
use crate::sample::Value;

/// A series of the head: two cache lines, beside each other.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Series {
    /// The reference that WAL records use; 0 in a vacant slot.
    pub(crate) reference: u64,
    /// Symbols of name and value, sorted by name.
    pub(crate) labels: Arc<[(u32, u32)]>,
    open: OpenChunk,
    /// The slot of the series that came after this one in a request.
    pub(super) next: u32,
    /// Hash of the series key.
    pub(crate) hash: u64,
    /// What a series has after some time only.
    rest: Option<Box<Rest>>,
}

#[derive(Debug, Default)]
struct Rest {
    /// Finished chunks whose bytes are in a file.
    mapped: Vec<MappedChunk>,
    /// Finished chunks after those.
    closed: Vec<Chunk>,
    out_of_order: OutOfOrder,
}

/// What a series has before some time.
#[derive(Debug, Default)]
pub(crate) struct Before {
    /// Chunks that are in files, oldest first.
    pub(crate) mapped: Vec<MappedChunk>,
    /// Chunks after those.
    pub(crate) chunks: Vec<Chunk>,
    /// Samples out of order, in order of time.
    pub(crate) out_of_order: Vec<(i64, Value)>,
}

/// What is stored at a time.
#[derive(Debug)]
pub(crate) enum Stored {
    /// This value.
    Value(Value),
    /// Nothing.
    Nothing,
    /// A chunk in a file may have it.
    InFile,
}

impl Series {
    pub(crate) fn new(reference: u64, hash: u64, labels: Arc<[(u32, u32)]>) -> Self {
        Self { reference, hash, labels, ..Self::default() }
    }

    /// The newest time in order.
    #[inline]
    pub(crate) fn newest(&self) -> Option<i64> {
        self.open.newest().or_else(|| self.newest_finished())
    }

    /// The newest time, where the open chunk has floats.
    #[inline]
    pub(crate) fn newest_float(&self) -> Option<i64> {
        self.open.newest_float()
    }

    /// The kind of samples in the open chunk.
    pub(crate) fn encoding(&self) -> Option<Encoding> {
        self.open.encoding()
    }

    #[cold]
    fn newest_finished(&self) -> Option<i64> {
        let rest = self.rest.as_ref()?;
        rest.closed.last().map(|chunk| chunk.maxt).or(rest.mapped.last().map(|chunk| chunk.maxt))
    }

    /// The newest value in order, unless it is in a finished chunk.
    pub(crate) fn last(&self) -> Option<Value> {
        self.open.last()
    }

    /// Adds a float newer than all before in order. Returns how many chunks it began (0 or 1).
    #[inline]
    pub(crate) fn push_float(&mut self, t: i64, v: f64, range: i64) -> u64 {
        let is_first = self.open.newest().is_none();
        match self.open.push_float(t, v, range) {
            None => u64::from(is_first),
            Some(ended) => self.finished(ended),
        }
    }

    /// Adds a sample newer than all before in order. Returns how many chunks it began (0 or 1).
    pub(crate) fn push(&mut self, t: i64, value: &Value, range: i64) -> u64 {
        let is_first = self.open.newest().is_none();
        match self.open.push(t, value, range) {
            None => u64::from(is_first),
            Some(ended) => self.finished(ended),
        }
    }

    #[cold]
    fn finished(&mut self, ended: Chunk) -> u64 {
        self.rest().closed.push(ended);
        1
    }

    fn rest(&mut self) -> &mut Rest {
        self.rest.get_or_insert_default()
    }

    /// What is stored at `t`, as far as memory tells.
    pub(crate) fn stored_at(&self, t: i64) -> Stored {
        if self.open.newest() == Some(t)
            && let Some(last) = self.open.last()
        {
            return Stored::Value(last);
        }
        let open = self.open.copy().filter(|chunk| chunk.mint <= t);
        let found = match &self.rest {
            None => open.and_then(|chunk| chunk.value_at(t)),
            Some(rest) => {
                let finished = || {
                    let after = rest.closed.partition_point(|chunk| chunk.maxt < t);
                    rest.closed.get(after).filter(|chunk| chunk.mint <= t)?.value_at(t)
                };
                open.map_or_else(finished, |chunk| chunk.value_at(t)).or_else(|| rest.out_of_order.get(t))
            }
        };
        match found {
            Some(value) => Stored::Value(value),
            None if self.mapped().iter().any(|chunk| chunk.mint <= t && t <= chunk.maxt) => Stored::InFile,
            None => Stored::Nothing,
        }
    }

    /// Adds a sample out of order whose time [`Self::stored_at`] does not know.
    pub(crate) fn push_out_of_order(&mut self, t: i64, value: Value, range: i64) {
        self.rest().out_of_order.insert(t, value, range);
    }

    /// Everything before `maxt`, copied. A chunk never crosses the end of a range, so none of them reaches `maxt` if it
    /// is the end of one.
    pub(crate) fn before(&self, maxt: i64) -> Before {
        let mut before = Before::default();
        if let Some(rest) = &self.rest {
            before.mapped.extend(rest.mapped.iter().take_while(|chunk| chunk.mint < maxt));
            before.chunks.extend(rest.closed.iter().take_while(|chunk| chunk.mint < maxt).cloned());
            before.out_of_order = rest.out_of_order.before(maxt);
        }
        before.chunks.extend(self.open.copy().filter(|chunk| chunk.mint < maxt));
        before
    }

    /// True if there are samples out of order.
    pub(crate) fn has_out_of_order(&self) -> bool {
        self.rest.as_ref().is_some_and(|rest| rest.out_of_order.mint().is_some())
    }

    /// The samples out of order, in order of time.
    pub(crate) fn out_of_order(&self) -> Vec<(i64, Value)> {
        self.rest.as_ref().map_or_else(Vec::new, |rest| rest.out_of_order.before(i64::MAX))
    }

    /// The finished chunks in memory that end before `t`, oldest first.
    pub(crate) fn mappable(&self, t: i64) -> &[Chunk] {
        let Some(rest) = &self.rest else { return &[] };
        let count = rest.closed.partition_point(|chunk| chunk.maxt < t);
        rest.closed.get(..count).unwrap_or_default()
    }

    /// Forgets the bytes of the oldest finished chunks in memory, which are at `references` now.
    pub(crate) fn map(&mut self, references: &[ChunkRef]) {
        let Some(rest) = &mut self.rest else { return };
        let count = references.len().min(rest.closed.len());
        rest.mapped.reserve_exact(count);
        let written = rest.closed.drain(..count).zip(references);
        let written = written.map(|(c, &reference)| MappedChunk { mint: c.mint, maxt: c.maxt, reference });
        rest.mapped.extend(written);
        rest.closed.shrink_to_fit();
    }

    /// Gives a series without samples in order the chunks that files hold of it, oldest first.
    pub(crate) fn attach(&mut self, mapped: Vec<MappedChunk>) {
        self.rest().mapped = mapped;
    }

    /// Drops the samples out of order whose time a chunk in memory has.
    pub(super) fn drop_repeated(&mut self, range: i64) {
        let Some(rest) = &mut self.rest else { return };
        let mut samples = std::mem::take(&mut rest.out_of_order).before(i64::MAX);
        samples.retain(|(t, _)| !matches!(self.stored_at(*t), Stored::Value(_)));
        for (t, value) in samples {
            self.push_out_of_order(t, value, range);
        }
    }

    /// Reads where the next sample will go.
    #[inline]
    pub(super) fn look(&self) -> u64 {
        self.open.look() ^ self.reference
    }

    /// Chunks that are in files, oldest first.
    pub(crate) fn mapped(&self) -> &[MappedChunk] {
        self.rest.as_ref().map_or(&[], |rest| &rest.mapped)
    }

    /// How many chunks there are.
    pub(crate) fn chunk_count(&self) -> usize {
        let rest = self.rest.as_ref();
        let finished = rest.map_or(0, |r| r.mapped.len() + r.closed.len() + r.out_of_order.chunk_count());
        finished + usize::from(self.open.newest().is_some())
    }

    /// Drops the chunks that end before `mint`, and the samples out of order before it; returns how many chunks went.
    pub(crate) fn truncate(&mut self, mint: i64) -> u64 {
        let before = self.chunk_count();
        if let Some(rest) = &mut self.rest {
            let gone = rest.mapped.partition_point(|chunk| chunk.maxt < mint);
            rest.mapped.drain(..gone);
            rest.mapped.shrink_to_fit();
            let gone = rest.closed.partition_point(|chunk| chunk.maxt < mint);
            rest.closed.drain(..gone);
            rest.closed.shrink_to_fit();
            rest.out_of_order.truncate(mint);
            if rest.mapped.is_empty() && rest.closed.is_empty() && rest.out_of_order.mint().is_none() {
                self.rest = None;
            }
        }
        if self.open.newest().is_some_and(|newest| newest < mint) {
            self.open = OpenChunk::default();
        }
        (before - self.chunk_count()) as u64
    }

    /// The oldest time stored.
    pub(crate) fn mint(&self) -> Option<i64> {
        let rest = self.rest.as_ref().and_then(|rest| {
            let mapped = rest.mapped.first().map(|chunk| chunk.mint);
            let in_order = mapped.or(rest.closed.first().map(|chunk| chunk.mint));
            in_order.into_iter().chain(rest.out_of_order.mint()).min()
        });
        rest.into_iter().chain(self.open.mint()).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGE: i64 = 7_200_000;

    fn series() -> Series {
        Series::new(1, 1, Arc::from([]))
    }

    #[test]
    fn a_series_is_two_cache_lines() {
        assert_eq!(size_of::<Series>(), 128);
    }

    #[test]
    fn a_15_s_scrape_over_two_hours_makes_four_chunks_of_120() {
        let mut series = series();
        for i in 0..480 {
            series.push_float(i * 15_000, i as f64, RANGE);
        }
        let counts: Vec<_> = series.before(RANGE).chunks.iter().map(Chunk::count).collect();
        assert_eq!(counts, [120; 4]);
        assert_eq!(series.push_float(RANGE, 1.0, RANGE), 1);
        assert_eq!(series.before(RANGE).chunks.len(), 4);
        assert_eq!(series.truncate(RANGE), 4);
        assert_eq!(series.mint(), Some(RANGE));
    }

    #[test]
    fn a_stored_value_is_found_wherever_it_is() {
        let mut series = series();
        for i in 0..500 {
            series.push_float(i * 1000, i as f64, RANGE);
            if i % 7 == 3 {
                series.push_out_of_order(i * 1000 - 500, Value::Float(0.5), RANGE);
            }
        }
        for i in 0..500 {
            let is = |t, v| matches!(series.stored_at(t), Stored::Value(Value::Float(found)) if found == v);
            assert!(is(i * 1000, i as f64));
            assert!(matches!(series.stored_at(i * 1000 + 1), Stored::Nothing));
            assert_eq!(is(i * 1000 - 500, 0.5), i % 7 == 3);
        }
        let references: Vec<_> = (0..2).map(|i| ChunkRef::new(1, i)).collect();
        assert!(series.mappable(i64::MAX).len() > 2);
        series.map(&references);
        assert!(matches!(series.stored_at(1000), Stored::InFile));
        assert_eq!(series.before(RANGE).out_of_order.len(), 71);
    }

    #[test]
    fn noisy_values_end_a_chunk_by_its_bytes() {
        let mut series = series();
        for i in 0..300i64 {
            let bits = (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            series.push_float(i * 1009 + i % 7, f64::from_bits(bits), RANGE);
        }
        assert!(series.before(RANGE).chunks.iter().all(|chunk| chunk.data.len() <= 1024));
    }
}
