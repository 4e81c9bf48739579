//! Which finished chunks may leave memory for the head chunk files, and that they have.
//!
//! A chunk stays in memory as long as late samples may fall into it, so that judging one needs no file. Writing
//! happens outside the head's lock and is the caller's.

use super::{Head, SLOTS_PER_STEP};
use crate::chunk::{Chunk, ChunkRef};

/// Chunks of one series to be written to a file.
#[derive(Debug)]
pub(crate) struct Mappable {
    slot: u32,
    /// The series' reference.
    pub(crate) reference: u64,
    /// Copies of the chunks, oldest first.
    pub(crate) chunks: Vec<Chunk>,
}

impl Head {
    /// No late sample falls into a chunk that ends before this time.
    pub(crate) fn mappable_before(&self) -> i64 {
        self.oldest_late().min(self.oldest_accepted())
    }

    /// Copies of the chunks that may leave memory, in the slots from `from` on; and where to go on.
    pub(crate) fn mappable(&self, from: usize) -> (Vec<Mappable>, Option<usize>) {
        let before = self.mappable_before();
        let end = from + SLOTS_PER_STEP;
        let found = self.series.range(from, end).filter_map(|(slot, series)| {
            let chunks = series.mappable(before);
            let some = Mappable { slot: slot as u32, reference: series.reference, chunks: chunks.to_vec() };
            (!chunks.is_empty()).then_some(some)
        });
        (found.collect(), (end < self.series.len()).then_some(end))
    }

    /// The chunks of `written` are at these places now. No truncation may have happened since they were copied.
    pub(crate) fn map(&mut self, written: &Mappable, references: &[ChunkRef]) {
        let series = self.series.get_mut(written.slot as usize);
        if let Some(series) = series.filter(|series| series.reference == written.reference) {
            series.map(references);
        }
    }
}
